#!/usr/bin/python3
"""What strangers have put into a source: huge listings, tables of huge models. The daemon stays
within memory= and its group, and refuses with a message that tells what would do."""

import contextlib
import errno
import json
import os
import random
import re
import shutil
import struct
import unittest

import common
import common_sets
from common_cgroup import Cgroup
from common import CHUNK, FAILURE, MIB, NOT_AUTHENTIC, OK, USAGE
from common_local import Local

import sealedformat as sf
import sealwriter
import verity

BASE_MAX = 48 * MIB  # of a process with nothing in its budget: programs, libraries, threads
GB = 10 ** 9


def junk_seals(folder, directories, each, size=200):
    """Seals of six bytes below long names. One file with many names, which is made much faster."""
    junk = os.path.join(os.path.dirname(folder), "junk")
    with open(junk, "wb") as out:
        out.write(b"junk!!")
    for number in range(directories):
        below = os.path.join(folder, "d" * 100 + f"{number:03}")
        os.makedirs(below)
        for index in range(each):
            os.link(junk, os.path.join(below, "n" * size + f"{index:05}.seal"))


class Listings(Local):
    """The budget counts bytes, whatever the number of objects."""

    def test_what_does_not_fit_is_refused_and_the_advice_is_right(self):
        plain, folder = self.sealed("large")
        junk_seals(folder, 10, 2000)
        done = self.mount_fails(folder, "memory=32M")
        self.assert_result(done, FAILURE, "20004 objects", "of memory", "memory=")
        wanted = int(re.search(r"memory=(\d+)M", done.err).group(1))
        self.assertLess(wanted, 256)
        with self.mount(folder, f"memory={wanted}M") as mount:
            self.same(mount, plain, "a.bin", "b.bin")
            self.assertEqual(len(os.listdir(mount.path)), 12)
            common.read_bytes(mount.join(".sealedfs", "status.json"))
            self.assertLess(common.peak_memory(mount.pid), wanted * MIB + BASE_MAX)

    def test_a_report_of_many_models_takes_little(self):
        """One model at a time, within the budget; it says how many it omits."""
        plain, folder = self.sealed("reported")
        junk_seals(folder, 10, 2000)
        with self.mount(folder, "memory=256M") as mount:
            self.same(mount, plain, "b.bin")
            before = common.peak_memory(mount.pid)
            text = {name: common.read_bytes(mount.join(".sealedfs", name)).decode()
                    for name in ("status.json", "status", "metrics")}
            self.assertLess(common.peak_memory(mount.pid), before + 32 * MIB)
            seen = json.loads(text["status.json"])
            self.assertEqual(len(seen["models"]) + seen["models_omitted"], 20002)
            # What was opened comes first, whatever there is no room for.
            self.assertIn("b.bin", [model["name"] for model in seen["models"]])
            self.assertGreater(seen["models_omitted"], 0)
            self.assertIn("more models are not shown", text["status"])
            self.assertIn("\nsealedfs_models 20002\n", text["metrics"])
            self.assertRegex(text["metrics"], r"\nsealedfs_models_omitted [1-9]")
            self.assert_result(self.lab.sealctl("status", mount.path), NOT_AUTHENTIC)

    def test_half_of_the_advice_is_not_enough(self):
        _, folder = self.sealed("half")
        junk_seals(folder, 10, 2000)
        wanted = int(re.search(r"memory=(\d+)M", self.mount_fails(folder, "memory=32M").err)[1])
        self.assert_result(self.mount_fails(folder, f"memory={max(wanted // 2, 32)}M"), FAILURE)

    def test_reload_keeps_the_old_listing(self):
        plain, folder = self.sealed("reload")
        with self.mount(folder, "memory=32M") as mount:
            with common.opened(mount.join("a.bin")) as descriptor:
                junk_seals(folder, 10, 2000)
                done = self.lab.run(common.SEALEDFS, "--reload", mount.path)
                self.assert_result(done, FAILURE, "could not be read")
                self.assertIn("the listing stays as it was", mount.log())
                self.assertRegex(mount.log(), r"20004 objects needs .* memory=\d+M")
                self.assertEqual(sorted(os.listdir(mount.path)), ["a.bin", "b.bin"])
                self.assertEqual(len(os.pread(descriptor, 100, 0)), 100)
            self.same(mount, plain, "a.bin", "b.bin")
            for name in os.listdir(folder):
                if name.startswith("ddd"):
                    shutil.rmtree(os.path.join(folder, name))
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.assertLess(common.peak_memory(mount.pid), 32 * MIB + BASE_MAX)

    def test_reloads_give_their_memory_back(self):
        _, folder = self.sealed("again")
        junk_seals(folder, 2, 500)
        with self.mount(folder, "memory=64M") as mount:
            kept = []
            for number in range(6):
                with open(os.path.join(folder, f"new{number}.seal"), "wb") as out:
                    out.write(b"junk!!")
                self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
                report = self.status(mount, NOT_AUTHENTIC)
                kept.append(report["memory"]["kept_bytes"])
            self.assertLess(max(kept) - min(kept), 100_000, kept)

    def test_links_and_depth(self):
        """Loops are not followed, and depth ends."""
        plain, folder = self.sealed("deep")
        os.symlink(".", os.path.join(folder, "loop"))
        os.symlink(folder, os.path.join(folder, "self.seal"))
        at = folder
        for _ in range(80):
            at = os.path.join(at, "d")
        os.makedirs(at)
        with self.mount(folder, "memory=32M") as mount:
            self.same(mount, plain, "a.bin", "b.bin")
            self.assertEqual(sorted(os.listdir(mount.path)), ["a.bin", "b.bin"])


class Tables(Local):
    """Tags and hashes of chunks: 48 bytes for each 512 KiB, read when somebody opens the model."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kek = sf.load_kek(cls.key)
        cls.chunk = common.model_bytes(CHUNK, 7)

    def sparse(self, folder, name, size, kek=None, slots=1, seed=None):
        """A model whose first chunk alone is there. Its tables are whole, and right."""
        count = size // CHUNK
        chance = random.Random(seed or name)
        file_id, data_key = chance.randbytes(32), chance.randbytes(32)
        slot = [sealwriter.keyfile_slot(kek or self.kek, data_key, file_id, bytes(12))]
        slot += [sealwriter.keyfile_slot(chance.randbytes(32), data_key, file_id, bytes(12))
                 for _ in range(slots - 1)]
        draft = sealwriter.Draft(b"", path=name.encode(), file_id=file_id, data_key=data_key,
                                 slots=slot, length=count * CHUNK, count=count)
        first, tag = draft.encrypt_chunk(self.chunk, 0, False)
        draft.tags = bytearray(tag + chance.randbytes(16) * (count - 1))
        draft.entries = bytearray(verity.chunk_entry(self.chunk, count * CHUNK)
                                  + chance.randbytes(32) * (count - 1))
        draft.fix_tables()
        draft.fix_verity()
        draft.fix_commitment()
        draft.fix_mac()
        draft.payload = first
        draft.write(folder, name)
        for entry in os.listdir(folder):
            if entry.startswith(name + ".") and entry.endswith(".sealed"):
                os.truncate(os.path.join(folder, entry), count * CHUNK)
        return name

    def first_bytes(self, descriptor):
        self.assertEqual(os.pread(descriptor, 1000, 1000), self.chunk[1000:2000])

    def test_many_models_and_few_open(self):
        folder = self.lab.path("many", make=True)
        names = [self.sparse(folder, f"m{number:02}.bin", 40 * GB) for number in range(20)]
        for option in ("ready=open", "ready=unlocked"):
            with self.subTest(option), self.mount(folder, "memory=64M", "fill=off",
                                                  option) as mount:
                for _ in range(2):
                    for name in names:
                        with common.opened(mount.join(name)) as descriptor:
                            self.first_bytes(descriptor)
                self.assertLess(common.peak_memory(mount.pid), 64 * MIB + BASE_MAX)
                self.status(mount, OK)

    def test_too_many_at_a_time(self):
        folder = self.lab.path("crowd", make=True)
        names = [self.sparse(folder, f"m{number}.bin", 40 * GB) for number in range(8)]
        with self.mount(folder, "memory=64M", "fill=off") as mount:
            with contextlib.ExitStack() as stack:
                opened = []
                for name in names:
                    try:
                        opened.append(stack.enter_context(common.opened(mount.join(name))))
                    except OSError as failure:
                        self.assertEqual(failure.errno, errno.ENOMEM)
                        break
                self.assertIn(len(opened), (2, 3, 4))
                self.assertRegex(mount.log(), r"of 40\.0 GB, needs 3\.7 MB of memory.*memory=\d+M")
                for descriptor in opened:
                    self.first_bytes(descriptor)
            for name in names:
                with common.opened(mount.join(name)) as descriptor:
                    self.first_bytes(descriptor)

    def test_a_seal_that_its_writer_moved(self):
        """A member's seal was read where a writer had put it first; its tables had to make room, and
        are where the writer has put it since."""
        folder = self.lab.path("moved", make=True)
        names = [self.sparse(folder, f"m{number}.bin", 40 * GB) for number in range(8)]
        members = common_sets.SetWriter(folder, self.key)
        members.admit()
        members.put()
        seal = members.seal_path(names[0])
        file_id = common.read_bytes(seal)[0x10:0x18].hex()
        pending = os.path.join(folder, f"{names[0]}.{file_id}.next")
        os.rename(seal, pending)
        with self.mount(folder, "memory=64M", "fill=off") as mount:
            with common.opened(mount.join(names[0])) as descriptor:
                self.first_bytes(descriptor)
            os.rename(pending, seal)
            for name in names[1:] + names[:1]:
                with common.opened(mount.join(name)) as descriptor:
                    self.first_bytes(descriptor)
            self.status(mount, OK)

    def test_one_that_is_too_large(self):
        folder = self.lab.path("huge", make=True)
        self.sparse(folder, "huge.bin", 300 * GB)
        self.sparse(folder, "small.bin", GB)
        with self.mount(folder, "memory=32M", "ready=unlocked", "fill=off") as mount:
            with common.opened(mount.join("small.bin")) as descriptor:
                self.first_bytes(descriptor)
            self.assert_io_error(mount.join("huge.bin"), errno.ENOMEM)
            wanted = int(re.search(r"left out.*memory=(\d+)M", mount.log())[1])
            self.assertLess(common.peak_memory(mount.pid), 32 * MIB + BASE_MAX)
        self.assert_result(self.mount_fails(folder, "memory=32M", "ready=unlocked",
                                            "model=huge.bin"), FAILURE, "memory=")
        with self.mount(folder, f"memory={wanted}M", "ready=unlocked", "fill=off") as mount:
            with common.opened(mount.join("huge.bin")) as descriptor:
                self.first_bytes(descriptor)
            self.assertLess(common.peak_memory(mount.pid), wanted * MIB + BASE_MAX)

    def test_sparse_seals_of_a_stranger(self):
        """Nothing is read or allocated by a number that no key stands for."""
        folder = self.lab.path("hostile", make=True)
        self.sparse(folder, "good.bin", GB)
        for number in range(3):
            name = self.sparse(folder, f"evil{number}.bin", 10 * GB, kek=bytes([number + 1]) * 32)
            seal = os.path.join(folder, name + ".seal")
            with open(seal, "r+b") as out:
                out.seek(sealwriter.AT["length"].start)
                count = 16 << 40 >> 19
                out.write(struct.pack("<QQ", count * CHUNK, count))
            os.truncate(seal, sf.seal_length(count * CHUNK, 1))
            for entry in os.listdir(folder):
                if entry.startswith(name + ".") and entry.endswith(".sealed"):
                    payload = os.path.join(folder, entry)
                    try:
                        os.truncate(payload, count * CHUNK)
                    except OSError:
                        os.remove(payload)  # the file system has smaller files only
        for option in ("ready=open", "ready=unlocked"):
            with self.subTest(option), self.mount(folder, "memory=32M", option,
                                                  "fill=off") as mount:
                for number in range(3):
                    self.assert_io_error(mount.join(f"evil{number}.bin"))
                with common.opened(mount.join("good.bin")) as descriptor:
                    self.first_bytes(descriptor)
                self.assertLess(common.peak_memory(mount.pid), 32 * MIB + BASE_MAX)

    def test_a_seal_that_was_written_anew(self):
        """Its tables are elsewhere in the object now; whoever opens it again finds them."""
        folder = self.lab.path("anew", make=True)
        names = [self.sparse(folder, f"m{number}.bin", 40 * GB) for number in range(6)]
        with self.mount(folder, "memory=64M", "fill=off") as mount:
            for name in names:
                with common.opened(mount.join(name)) as descriptor:
                    self.first_bytes(descriptor)
            self.sparse(folder, names[0], 40 * GB, slots=9)
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            for name in names:
                with common.opened(mount.join(name)) as descriptor:
                    self.first_bytes(descriptor)

    def test_tables_that_changed_meanwhile(self):
        folder = self.lab.path("changed", make=True)
        names = [self.sparse(folder, f"m{number}.bin", 40 * GB) for number in range(6)]
        with self.mount(folder, "memory=64M", "fill=off") as mount:
            for name in names:
                with common.opened(mount.join(name)) as descriptor:
                    self.first_bytes(descriptor)
            with open(os.path.join(folder, names[0] + ".seal"), "r+b") as out:
                out.seek(-5, os.SEEK_END)
                out.write(b"wrong")
            self.assert_io_error(mount.join(names[0]), errno.EBADMSG)
            self.assertIn("altered tables", mount.log())


class SmallGroup(Local):
    """A container with little memory: the daemon keeps within half of it, or does not start."""

    PARTS = ("s3",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = cls.lab.path("plain", make=True)
        for number, name in enumerate(("a.bin", "b.bin")):
            common.make_model(os.path.join(cls.plain, name), 100 * MIB + number, seed=number)
        cls.lab.seal(cls.plain, cls.lab.s3_url("prod"), "--key-file", cls.key)

    def test_it_is_never_killed(self):
        for limit, options in ((64, ()), (64, ("fill=all",)), (64, ("stage=STAGE",)),
                               (64, ("stage=STAGE", "fill=all")), (56, ("stage=STAGE",))):
            with self.subTest(limit=limit, options=options):
                group = Cgroup(self, limit * MIB)
                options = [option.replace("STAGE", self.lab.path(f"stage{group.number}"))
                           for option in options]
                with group.inside():
                    mount = self.lab.start_mount(self.lab.s3_url("prod"), *self.options, *options)
                try:
                    for _ in range(2):
                        self.same(mount, self.plain, "a.bin", "b.bin")
                        common.drop_cache(mount.join("a.bin"))
                finally:
                    mount.unmount()
                self.assertEqual(group.kills(), 0)

    def test_too_little_is_refused(self):
        group = Cgroup(self, 48 * MIB)
        with group.inside():
            done = self.mount_fails(self.lab.s3_url("prod"))
        self.assert_result(done, USAGE, "50 MB of memory", "59 MB are the least")
        self.assertEqual(group.kills(), 0)


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")
    common.main()
