#!/usr/bin/python3
"""One file id is not one file, and a reader allocates nothing by the numbers of a seal that it has
no key for."""

import hashlib
import mmap
import os

import common
import sealedformat as sf
import sealwriter as sw
from common import CHUNK, MIB, NOT_AUTHENTIC
from common_sealctl import peak_rss


class Made(common.Case):
    """Objects of the second writer, which can do what no honest sealer does."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.kek = sf.load_kek(cls.key)

    def setUp(self):
        self.source = self.lab.path(self.id().rpartition(".")[2], make=True)

    def draft(self, plain, *, file_id=b"same file id".ljust(32), data_key=None, path=b"m.gguf",
              kek=None, **more):
        data_key = data_key or os.urandom(32)
        slot = sw.keyfile_slot(kek or self.kek, data_key, file_id, os.urandom(12))
        return sw.Draft(plain, path=path, file_id=file_id, data_key=data_key, slots=[slot], **more)

    def mount(self, *more):
        return self.lab.mount(self.source, "key-file=" + self.key, "attest=none",
                              *(more or ("measure=none",)))

    def reload(self, mount):
        self.lab.run(common.SEALEDFS, "--reload", mount.path)


class Identity(Made):
    """One file id in two seals: a malicious owner chooses it. Two seals are two files."""

    SIZE = 8 * CHUNK

    def test_another_plaintext_under_the_same_file_id(self):
        """B replaces A: whoever has A open gets nothing of B, whoever opens B nothing of A."""
        a, b = (common.model_bytes(self.SIZE, seed) for seed in (1, 2))
        self.draft(a).write(self.source, "m.gguf")
        with self.mount() as mount:
            with open(mount.join("m.gguf"), "rb", buffering=0) as held:
                self.assertEqual(held.read(CHUNK), a[:CHUNK])
                # Mapped, so that no other case's dropping of caches takes these pages away.
                pinned = mmap.mmap(held.fileno(), CHUNK, mmap.MAP_SHARED, mmap.PROT_READ)
                self.assertEqual(pinned[:], a[:CHUNK])
                self.draft(b).write(self.source, "m.gguf")
                self.reload(mount)
                old, new = os.fstat(held.fileno()), os.stat(mount.join("m.gguf"))
                self.assertNotEqual(old.st_ino, new.st_ino)
                with open(mount.join("m.gguf"), "rb") as opened:
                    self.assertEqual(opened.read(), b)
                self.assertEqual(os.pread(held.fileno(), CHUNK, 0), a[:CHUNK])
                for at in range(0, self.SIZE, CHUNK):
                    try:
                        got = os.pread(held.fileno(), CHUNK, at)
                    except OSError:
                        continue
                    self.assertEqual(got, a[at:at + len(got)], at)
                pinned.close()
            self.reload(mount)
            self.assertEqual(common.digest(mount.join("m.gguf")), hashlib.sha256(b).hexdigest())

    def test_whatever_differs_is_another_file(self):
        plain = common.model_bytes(CHUNK + 1)
        key = b"k" * 32
        self.draft(plain, data_key=key).write(self.source, "m.gguf")
        with self.mount() as mount:
            seen = {os.stat(mount.join("m.gguf")).st_ino}
            common.digest(mount.join("m.gguf"))
            for number, made in enumerate((
                    self.draft(plain[:-1], data_key=key), self.draft(plain, data_key=b"l" * 32),
                    self.draft(plain, data_key=key, sha256=bytes(32)),
                    self.draft(plain, data_key=key, facts=b"kind=gguf\n"),
                    self.draft(plain, data_key=key, sealed_at=1),
                    self.draft(plain, data_key=key, path=b"p/m.gguf"),
                    self.draft(plain, data_key=key, file_id=b"other".ljust(32)))):
                with self.subTest(number):
                    made.write(self.source, "m.gguf")
                    self.reload(mount)
                    inode = os.stat(mount.join("m.gguf")).st_ino
                    self.assertNotIn(inode, seen)
                    seen.add(inode)
                    wanted = plain[:-1] if number == 0 else plain
                    self.assertEqual(common.digest(mount.join("m.gguf")),
                                     hashlib.sha256(wanted).hexdigest())

    def test_other_recipients_are_the_same_file(self):
        """Slots are not part of what a model is: who reads goes on without a key."""
        plain = common.model_bytes(3 * CHUNK)
        made = self.draft(plain, data_key=b"k" * 32)
        made.write(self.source, "m.gguf")
        with self.mount() as mount:
            inode = os.stat(mount.join("m.gguf")).st_ino
            common.digest(mount.join("m.gguf"))
            made.slots = [sw.keyfile_slot(b"o" * 32, b"k" * 32, b"same file id".ljust(32),
                                          bytes(12))]
            made.fix_mac()
            with open(os.path.join(self.source, "m.gguf.seal"), "wb") as seal:
                seal.write(made.to_bytes())
            self.reload(mount)
            self.assertEqual(os.stat(mount.join("m.gguf")).st_ino, inode)
            self.assertEqual(common.digest(mount.join("m.gguf")), hashlib.sha256(plain).hexdigest())

    def test_two_at_once(self):
        """Under two names: neither shows a byte of the other, whoever is read first."""
        one, two = (common.model_bytes(self.SIZE, seed) for seed in (3, 4))
        self.draft(one, path=b"x/m.gguf").write(self.source, "x/m.gguf")
        self.draft(two, path=b"y/m.gguf").write(self.source, "y/m.gguf")
        with self.mount() as mount:
            with open(mount.join("x/m.gguf"), "rb") as x, open(mount.join("y/m.gguf"), "rb") as y:
                for at in range(0, self.SIZE, CHUNK):
                    self.assertEqual(x.read(CHUNK), one[at:at + CHUNK])
                    self.assertEqual(y.read(CHUNK), two[at:at + CHUNK])


class Order(Made):
    """Head, owner, key, slot MAC, and only then tables: sparse seals of 400 MB cost nothing."""

    LENGTH = 1 << 42
    MAX = 100 * MIB  # of either program; the tables alone have 384 MiB

    def sparse(self, made):
        """A seal with tables of zeros, as large as its head says, and its payload."""
        made.tags = made.entries = b""
        target = os.path.join(self.source, "m.gguf")
        count = self.LENGTH // CHUNK
        with open(target + ".seal", "wb") as seal:
            seal.write(made.to_bytes())
            seal.truncate(4096 + 48 * count)
        with open(sf.payload_name(target, b"same file id".ljust(32)), "wb") as payload:
            payload.truncate(self.LENGTH)

    def huge(self, **more):
        return self.draft(b"", length=self.LENGTH, count=self.LENGTH // CHUNK, **more)

    def test_nothing_is_read_before_the_slot_mac(self):
        private, public = self.lab.owner_key()
        stranger = self.huge(kek=b"o" * 32)
        wrong = self.huge()
        wrong.keys = sf.derive_keys(os.urandom(32), wrong.core)
        wrong.fix_commitment()
        changed = self.huge()
        changed.set_facts(b"kind=other\n")
        for made, owner, words, code in (
                (self.huge(), public, "unsigned", NOT_AUTHENTIC),
                (stranger, None, "no recipient", common.REFUSED),
                (wrong, None, "wrong key", NOT_AUTHENTIC),
                (changed, None, "altered slots", NOT_AUTHENTIC)):
            with self.subTest(words):
                self.sparse(made)
                owners = (["owner-key=" + owner], ["--owner-key", owner]) if owner else ([], [])
                with self.mount("measure=none", *owners[0]) as mount:
                    for _ in range(3):
                        self.assert_io_error(mount.join("m.gguf"))
                    self.assertIn(words, mount.log().lower())
                    self.assertLess(common.peak_memory(mount.pid), self.MAX)
                if owner:
                    continue  # check goes on to the key, which is a good one here
                code_seen, peak, err = peak_rss(self.lab, "check", self.source, "--key-file",
                                                self.key, "-q")
                self.assertEqual(code_seen, code, err)
                self.assertLess(peak, self.MAX)

    def test_tables_are_read_with_the_right_key(self):
        """The same seal with a right slot MAC: its tables are looked at, and are wrong."""
        self.sparse(self.huge())
        with self.mount("measure=none", "memory=2G") as mount:
            self.assert_io_error(mount.join("m.gguf"))
            self.assertIn("altered tables", mount.log().lower())


if __name__ == "__main__":
    common.main()
