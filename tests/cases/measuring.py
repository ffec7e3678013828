#!/usr/bin/python3
"""What goes into the PCR, when, and what it is worth afterwards.

Values are predicted here from attest/PCRS.md with hashlib and read with tpm2_pcrread, event logs
are replayed from their RFC 7464 records: nothing of the product is asked about itself, except that
sealctl hash must predict the same. In the flat modes an attacker who holds the data key replaces
chunks behind the reader's back, with tags that fit.
"""

import hashlib
import json
import os
import subprocess
import threading

import common
from common import CHUNK

import sealedformat as sf
import verity
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BANKS = ("sha256", "sha384")
MEASURING = ("verity", "sha384", "sha256", "declared")


# ---------------------------------------------------------------- PCRS.md, once more

def hashed(bank, data):
    return hashlib.new(bank, data).digest()


def event_digest(mode, bank, path):
    """What mode extends into bank for this plain file: the plaintext's digest by the bank's own
    algorithm where the seal states it, else the hash of a text that names one."""
    own = {"sha384": ("sha384", "sha256"), "declared": ("sha384", "sha256"), "sha256": ("sha256",)}
    if bank in own.get(mode, ()):
        return bytes.fromhex(common.digest(path, bank))
    name = {"verity": "verity:sha256", "sha256": "sha256"}.get(mode, "sha384")
    value = verity.digest_of_file(path).hex() if mode == "verity" else common.digest(path, name)
    return hashed(bank, f"sealedfs:{name}:{value}".encode())


def extended(bank, digests, start=None):
    """The PCR's value in hex after these digests, from zero."""
    value = start or bytes(hashlib.new(bank).digest_size)
    for one in digests:
        value = hashed(bank, value + one)
    return value.hex()


def predicted(mode, bank, *paths):
    return extended(bank, [event_digest(mode, bank, path) for path in paths])


def records(path):
    """The records of an event log: each is 0x1E, one JSON object, LF."""
    with open(path, "rb") as log:
        raw = log.read()
    if not raw:
        return []
    pieces = raw.split(b"\x1e")
    if pieces[0] != b"" or not all(piece.endswith(b"\n") for piece in pieces[1:]):
        raise AssertionError(f"not an RFC 7464 sequence: {raw!r}")
    return [json.loads(piece) for piece in pieces[1:]]


def replayed(path, bank, index=15):
    """The PCR's value in hex that the log leads to."""
    digests = []
    for record in records(path):
        if record["pcr"] == index:
            found = {entry["hashAlg"]: entry["digest"] for entry in record["digests"]}
            digests.append(bytes.fromhex(found[bank]))
    return extended(bank, digests)


class Measured(common.Case):
    """Three models in a directory, unlocked with a key file, and a TPM that is new in each case."""

    PARTS = ("tpm",)
    NAMES = ("a.gguf", "b.gguf", "c.gguf")
    SIZE = 2 * CHUNK + 4097

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.tpm = lab.tpm
        cls.plain = {name: common.make_model(lab.path("plain", name), cls.SIZE, seed)
                     for seed, name in enumerate(cls.NAMES)}
        cls.key = lab.key_file()
        cls.source = lab.path("sealed")
        lab.seal(lab.path("plain"), cls.source, "--key-file", cls.key)

    def setUp(self):
        self.tpm.ask("POST", "reboot", {})
        self.tpm.clear_log()
        self.events = self.lab.path("events." + self.id().rpartition(".")[2])

    def mount(self, *options, source=None, **how):
        return self.lab.mount(source or self.source, "key-file=" + self.key,
                              "event-log=" + self.events, *options, **how)

    def read(self, mount, *names):
        """Opens models in order and reads one byte of each, which must be right."""
        for name in names:
            with open(mount.join(name), "rb", buffering=0) as sealed, \
                    open(self.plain[name], "rb") as plain:
                self.assertEqual(sealed.read(1), plain.read(1))

    def assert_pcr(self, mode, *names, index=15, tpm=None, banks=BANKS):
        """The PCR in every bank is as predicted, and so is the log's."""
        for bank in banks:
            want = predicted(mode, bank, *(self.plain[name] for name in names))
            self.assertEqual((tpm or self.tpm).pcr(bank, index), want, f"{mode} {bank}")
            if names:
                self.assertEqual(replayed(self.events, bank, index), want, "the log")

    def extensions(self):
        return [entry for entry in self.tpm.log() if entry["command"] == "extend"]


class Value(Measured):
    """Which value, and how often."""

    def test_first_open_extends_and_nothing_else_does(self):
        with self.mount() as mount:
            for name in os.listdir(mount.path):
                os.stat(mount.join(name))
                os.getxattr(mount.join(name), "user.sealedfs.sha256")
            self.assert_pcr("verity")
            self.read(mount, "b.gguf")
            self.assert_pcr("verity", "b.gguf")
            self.read(mount, "b.gguf", "b.gguf")
            self.assertEqual(common.digest(mount.join("b.gguf")),
                             common.digest(self.plain["b.gguf"]))
            self.assert_pcr("verity", "b.gguf")
        self.assert_pcr("verity", "b.gguf")
        for bank in BANKS:
            self.assertEqual(int(self.tpm.pcr(bank, 14), 16), 0)
            self.assertEqual(int(self.tpm.pcr(bank, 16), 16), 0)

    def test_sealctl_hash_predicts_every_mode_and_bank(self):
        path = self.plain["a.gguf"]
        found = self.lab.hash(path)
        digests = found.get("digests", found)
        self.assertEqual(digests["sha256"], common.digest(path))
        self.assertEqual(digests["sha384"], common.digest(path, "sha384"))
        self.assertEqual(digests["verity"].rpartition(":")[2], verity.digest_of_file(path).hex())
        for mode in MEASURING:
            for bank in BANKS:
                self.assertEqual(found["pcr"][mode][bank], predicted(mode, bank, path),
                                 f"{mode} {bank}")

    def test_modes(self):
        for mode in MEASURING:
            with self.subTest(mode=mode):
                self.tpm.ask("POST", "reboot", {})
                self.events = self.lab.path("events.modes." + mode)
                with self.mount("measure=" + mode) as mount:
                    self.read(mount, "c.gguf", "a.gguf")
                    self.assert_pcr(mode, "c.gguf", "a.gguf")
                    self.assertEqual(common.digest(mount.join("a.gguf")),
                                     common.digest(self.plain["a.gguf"]))

    def test_sha384_is_what_the_aws_sample_extends(self):
        """E(zero, SHA-384 of the file), by sha384sum and nothing else."""
        with self.mount("measure=sha384") as mount:
            self.read(mount, "a.gguf")
        done = subprocess.run(["sha384sum", self.plain["a.gguf"]], stdout=subprocess.PIPE,
                              check=True)
        file_digest = bytes.fromhex(done.stdout.split()[0].decode())
        self.assertEqual(self.tpm.pcr("sha384"),
                         hashlib.sha384(bytes(48) + file_digest).hexdigest())

    def test_none_touches_neither_tpm_nor_log(self):
        with self.mount("measure=none", "attest=none") as mount:
            self.read(mount, *self.NAMES)
        self.assert_pcr("verity")
        self.assertEqual(self.extensions(), [])
        self.assertFalse(os.path.exists(self.events))

    def test_second_and_third_model_extend_once_more_each(self):
        with self.mount() as mount:
            self.read(mount, "b.gguf")
            self.assert_pcr("verity", "b.gguf")
            self.read(mount, "a.gguf", "b.gguf")
            self.assert_pcr("verity", "b.gguf", "a.gguf")
            self.read(mount, "c.gguf", "a.gguf")
            self.assert_pcr("verity", "b.gguf", "a.gguf", "c.gguf")
        self.assertEqual(len(records(self.events)), 3)

    def test_other_pcr(self):
        with self.mount("pcr=14") as mount:
            self.read(mount, "a.gguf")
        self.assert_pcr("verity", "a.gguf", index=14)
        self.assert_pcr("verity")

    def test_pcrs_that_software_resets_are_refused(self):
        for pcr in ("16", "23", "17", "22", "24", "-1", "15x", ""):
            with self.subTest(pcr=pcr):
                result = self.lab.mount_fails(self.source, "key-file=" + self.key, "pcr=" + pcr)
                self.assert_result(result, common.USAGE, "pcr")

    def test_machine_with_only_sha384(self):
        tpm = common.Tpm(self.lab, "tpm-sha384", banks=["sha384"])
        with self.mount(tpm=tpm) as mount:
            self.read(mount, "a.gguf", "b.gguf")
        self.assert_pcr("verity", "a.gguf", "b.gguf", tpm=tpm, banks=["sha384"])
        for record in records(self.events):
            self.assertEqual([entry["hashAlg"] for entry in record["digests"]], ["sha384"])

    def test_machine_with_four_banks(self):
        banks = ("sha1", "sha256", "sha384", "sha512")
        tpm = common.Tpm(self.lab, "tpm-banks", banks=banks)
        with self.mount(tpm=tpm) as mount:
            self.read(mount, "a.gguf")
        for bank in banks:
            value = tpm.pcr(bank)
            self.assertNotEqual(int(value, 16), 0, bank)
            self.assertEqual(value, replayed(self.events, bank), bank)
        self.assert_pcr("verity", "a.gguf", tpm=tpm)

    def test_log_records(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf")
        self.assertEqual(os.stat(self.events).st_mode & 0o7777, 0o600)
        (record,) = records(self.events)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot_id:
            self.assertEqual(record["content"]["bootId"],
                             boot_id.read().strip().replace("-", ""))
        self.assertEqual(record["pcr"], 15)
        self.assertEqual({entry["hashAlg"]: entry["digest"] for entry in record["digests"]},
                         {bank: event_digest("verity", bank, self.plain["a.gguf"]).hex()
                          for bank in BANKS})
        self.assertIsInstance(record["content"]["timestamp"], int)
        self.assertIn("content_type", record)
        self.assertNotIn("recnum", record)
        # In the mode verity the string is what was hashed.
        self.assertEqual(record["content"]["string"], "sealedfs:verity:sha256:"
                         + verity.digest_of_file(self.plain["a.gguf"]).hex())


class Restart(Measured):
    """Daemons come and go; the PCR stays."""

    def test_killed_and_restarted(self):
        for mode in MEASURING:
            with self.subTest(mode=mode):
                self.tpm.ask("POST", "reboot", {})
                self.events = self.lab.path("events.killed." + mode)
                with self.mount("measure=" + mode) as mount:
                    self.read(mount, "a.gguf", "b.gguf")
                    mount.kill()
                self.assert_pcr(mode, "a.gguf", "b.gguf")
                with self.mount("measure=" + mode) as mount:
                    self.read(mount, "b.gguf", "a.gguf")
                    self.assert_pcr(mode, "a.gguf", "b.gguf")
                    self.read(mount, "c.gguf")
                    self.assert_pcr(mode, "a.gguf", "b.gguf", "c.gguf")

    def test_another_mode_is_another_event(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf")
        with self.mount("measure=sha384") as mount:
            self.read(mount, "a.gguf")
        for bank in BANKS:
            self.assertEqual(self.tpm.pcr(bank), extended(bank, [
                event_digest(mode, bank, self.plain["a.gguf"]) for mode in ("verity", "sha384")]))
            self.assertEqual(replayed(self.events, bank), self.tpm.pcr(bank))

    def open_from_two(self, first, second):
        """Two daemons on this machine, opening at the same moment."""
        failures = []

        def reader(mount, names, start):
            try:
                start.wait()
                self.read(mount, *names)
            except (OSError, AssertionError) as failure:
                failures.append(failure)

        with self.mount() as one, self.mount() as two:
            start = threading.Barrier(2 * len(first))
            threads = [threading.Thread(target=reader, args=(mount, [name], start))
                       for mount, names in ((one, first), (two, second)) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        digests = [{entry["hashAlg"]: entry["digest"] for entry in record["digests"]}["sha384"]
                   for record in records(self.events)]
        self.assertEqual(sorted(digests), sorted(
            event_digest("verity", "sha384", self.plain[name]).hex()
            for name in set(first) | set(second)))
        for bank in BANKS:
            self.assertEqual(self.tpm.pcr(bank), replayed(self.events, bank))

    def test_two_daemons_same_models(self):
        self.open_from_two(self.NAMES, self.NAMES)

    def test_two_daemons_different_models(self):
        self.open_from_two(["a.gguf", "b.gguf"], ["b.gguf", "c.gguf"])


class Refusal(Measured):
    """No measurement, no byte."""

    def refused(self, mount, name="a.gguf"):
        failure = self.assert_io_error(mount.join(name))
        return failure, mount.log()

    def test_foreign_extension(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf")
            self.tpm.extend(15, sha256="11" * 32, sha384="22" * 48)
            between = self.tpm.pcr("sha384")
            _, log = self.refused(mount, "b.gguf")
            self.assertIn("15", log)
            self.assertIn("b.gguf", log)
            # Open already and measured already: it goes on.
            self.read(mount, "a.gguf")
        self.assertEqual(self.tpm.pcr("sha384"), between)
        self.assertEqual(len(records(self.events)), 1)
        with self.mount() as mount:
            self.refused(mount, "b.gguf")
        self.assertEqual(self.tpm.pcr("sha384"), between)
        with self.mount("allow-foreign-extend") as mount:
            self.read(mount, "b.gguf")
            self.assertEqual(self.tpm.pcr("sha384"), extended(
                "sha384", [event_digest("verity", "sha384", self.plain["b.gguf"])],
                bytes.fromhex(between)))
            self.read(mount, "a.gguf", "b.gguf")
        self.assertEqual(len(records(self.events)), 2)

    def test_foreign_extension_fails_the_mount(self):
        self.tpm.extend(15, sha384="22" * 48)
        result = self.lab.mount_fails(self.source, "key-file=" + self.key, "measure-when=mount",
                                      "event-log=" + self.events)
        self.assert_result(result, common.REFUSED, "PCR 15", self.tpm.pcr("sha384")[:16])

    def test_log_gone_or_changed(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf", "b.gguf")
        with open(self.events, "rb") as log:
            good = log.read()
        one, two = (b"\x1e" + record for record in good[1:].split(b"\x1e"))
        before = self.tpm.pcr("sha384")
        digest = event_digest("verity", "sha384", self.plain["a.gguf"]).hex().encode()
        for what, content in (("gone", None), ("empty", b""), ("one is missing", one),
                              ("the other is missing", two), ("exchanged", two + one),
                              ("one twice", one + two + two), ("half", good[:-20]),
                              ("garbage", b"\x1e{}\n" + good),
                              ("changed", good.replace(digest[:6], b"000000"))):
            with self.subTest(what):
                if content is None:
                    os.unlink(self.events)
                else:
                    with open(self.events, "wb") as log:
                        log.write(content)
                with self.mount() as mount:
                    for name in self.NAMES:
                        self.refused(mount, name)
                self.assertEqual(self.tpm.pcr("sha384"), before)

    def test_tpm_that_refuses(self):
        for rc in ("0x101", "0x921", "0x0"):  # failure, lockout, "success" and nothing done
            with self.subTest(rc=rc), self.mount() as mount:
                with self.tpm.fault(op="extend", kind="rc", rc=rc):
                    self.refused(mount)
                self.assert_pcr("verity")
                self.assertEqual(records(self.events) if os.path.exists(self.events) else [], [])

    def test_tpm_that_cuts_the_connection(self):
        with self.mount() as mount, self.tpm.fault(op="extend", kind="drop"):
            self.refused(mount)

    def test_no_tpm(self):
        with self.mount(extra={"SEALEDFS_TCTI": "swtpm:host=127.0.0.1,port=1"}) as mount:
            self.refused(mount)
        self.assertFalse(os.path.exists(self.events) and records(self.events))

    def test_event_log_that_cannot_be_written(self):
        folder = self.lab.path("a-folder", make=True)
        self.events = folder
        with self.mount() as mount:
            self.refused(mount)
        self.assert_pcr("verity")


# ---------------------------------------------------------------- who holds the data key

def gf_multiply(x, y):
    """The product of two blocks in GHASH's field (NIST SP 800-38D, 6.3)."""
    z, v = 0, int.from_bytes(y, "big")
    for bit in range(127, -1, -1):
        if int.from_bytes(x, "big") >> bit & 1:
            z ^= v
        v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
    return z.to_bytes(16, "big")


def same_tag(payload_key, chunk, at=0, change=b"forged content!!"):
    """Another ciphertext of the chunk with the same GCM tag: its plaintext has change XORed at
    byte `at` (a multiple of 16) and the next block made up for it: d x H cancels d x H."""
    subkey = Cipher(algorithms.AES(payload_key), modes.ECB()).encryptor().update(bytes(16))
    mask = change + gf_multiply(change, subkey)
    forged = bytes(c ^ m for c, m in zip(chunk[at:at + 32], mask))
    return chunk[:at] + forged + chunk[at + 32:]


class Forging:
    """Chunk 1 of a.gguf is replaced by one that has the right tag and another plaintext."""

    FILLER = "filler.gguf"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain[cls.FILLER] = common.make_model(cls.lab.path("plain", cls.FILLER), 64 << 20, 9)
        cls.source = cls.target()
        cls.lab.seal(cls.lab.path("plain"), cls.source, "--key-file", cls.key)

    def make_daemon_forget(self, mount):
        """Chunks that it still holds decrypted are displaced, the kernel's pages dropped."""
        common.digest(mount.join(self.FILLER))
        common.drop_cache(mount.join("a.gguf"))

    def forge(self, folder):
        """Returns a function that puts the old payload back."""
        with open(os.path.join(folder, "a.gguf.seal"), "rb") as seal_file:
            seal, keys = sf.open_seal(seal_file.read(), kek=sf.load_kek(self.key))
        path = os.path.join(folder, sf.payload_name("a.gguf", seal.file_id))
        with open(path, "rb") as payload:
            old = payload.read()
        new = old[:CHUNK] + same_tag(keys.payload, old[CHUNK:2 * CHUNK]) + old[2 * CHUNK:]
        # The tag really fits: decrypting with it must work and give something else.
        with self.assertRaises(sf.Refused) as caught:
            sf.open_chunk(seal, keys, 1, new[CHUNK:2 * CHUNK])
        self.assertEqual(caught.exception.word, "bad-chunk-hash")

        def put(content):
            status = os.stat(path)
            with open(path, "r+b") as payload:
                payload.write(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        put(new)
        self.addCleanup(put, old)

    def read_again(self, mount):
        """Everything but chunk 1 is still right; of chunk 1 not a byte comes out."""
        path = mount.join("a.gguf")
        with open(self.plain["a.gguf"], "rb") as source:
            plain = source.read()
        for flags in (0, os.O_DIRECT):
            try:
                with common.opened(path, flags) as sealed:
                    got = os.pread(sealed, 4096, CHUNK)
            except OSError:
                continue
            self.assertNotEqual(got, plain[CHUNK:CHUNK + 4096], "nothing was replaced")
            self.fail("the forged chunk came out")
        self.assertIn("replaced chunk", mount.log())

    def test_after_the_first_read(self):
        for mode in ("verity", "sha384", "sha256"):
            with self.subTest(mode=mode):
                self.tpm.ask("POST", "reboot", {})
                self.events = self.lab.path("events.forged." + mode)
                with self.mount("measure=" + mode, "memory=32M") as mount:
                    self.assertEqual(common.digest(mount.join("a.gguf")),
                                     common.digest(self.plain["a.gguf"]))
                    self.assert_pcr(mode, "a.gguf")
                    self.make_daemon_forget(mount)
                    self.forge(self.folder)
                    self.read_again(mount)
                self.doCleanups()

    def test_before_the_first_read(self):
        """The pass of the flat modes must see it, and then nothing is measured or served."""
        self.forge(self.folder)
        for mode in ("sha384", "sha256"):
            with self.subTest(mode=mode), self.mount("measure=" + mode) as mount:
                self.assert_io_error(mount.join("a.gguf"))
                self.assert_pcr(mode)
                self.assertEqual(self.extensions(), [])
        with self.mount() as mount:
            self.read_again(mount)


class ForgedDirectory(Forging, Measured):
    """The payload is changed in place: same inode, size and mtime."""

    @classmethod
    def target(cls):
        cls.folder = cls.lab.path("forged")
        return cls.folder


class ForgedS3(Forging, Measured):
    """The object is changed in the bucket, and the server says that the ETag is the same."""

    PARTS = ("tpm", "s3")

    @classmethod
    def target(cls):
        cls.folder = cls.lab.s3.file("forged")
        return cls.lab.s3_url("forged/")


class ForgedEmptyAndOneByte(Measured):
    """Flat modes at the smallest sizes: one pass over nothing is a measurement too."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for seed, (name, size) in enumerate((("empty.gguf", 0), ("byte.gguf", 1))):
            cls.plain[name] = common.make_model(cls.lab.path("small", name), size, seed)
        cls.source = cls.lab.path("small-sealed")
        cls.lab.seal(cls.lab.path("small"), cls.source, "--key-file", cls.key)

    def test_flat(self):
        for mode in MEASURING:
            with self.subTest(mode=mode):
                self.tpm.ask("POST", "reboot", {})
                self.events = self.lab.path("events.small." + mode)
                with self.mount("measure=" + mode) as mount:
                    self.read(mount, "empty.gguf", "byte.gguf")
                self.assert_pcr(mode, "empty.gguf", "byte.gguf")


if __name__ == "__main__":
    common.main()
