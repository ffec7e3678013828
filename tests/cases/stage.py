#!/usr/bin/python3
"""fs/stage: a local disk in front of S3 (-o stage=): what is read from it, and what damage, a full disk, a
crash and a second daemon do."""

import contextlib
import os
import re
import shutil
import stat
import subprocess
import threading

import common
from common import CHUNK, FAILURE, MIB, USAGE

EXTENT = 8 * MIB
SIZE = 3 * EXTENT + 5 * CHUNK + 4097


def staged_bytes(folder):
    """What the files of a folder take up on the disk."""
    total = 0
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat().st_blocks * 512
    return total


def extents_of(folder):
    """The files of extents, in order."""
    return sorted(os.path.join(folder, name) for name in os.listdir(folder)
                  if re.fullmatch(r"[0-9a-f]{16}\.[0-9a-f]{8}\.[0-9a-f]{4}", name))


def chunks_of(path):
    """How many chunks are in a file, by its name."""
    return int(path[-4:], 16).bit_count()


class Staging(common.Case):
    """Helpers. One model, sealed.gguf, in S3 under a prefix of its own for each case."""

    PARTS = ("s3",)

    def setUp(self):
        self.name = self.id().rsplit(".", maxsplit=1)[-1]
        self.dir = self.lab.path(self.name, make=True)
        self.stage = os.path.join(self.dir, "stage")
        self.source = self.lab.s3_url(self.name)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()

    def seal(self, name="m.gguf", size=SIZE, seed=0):
        plain = common.make_model(os.path.join(self.dir, name), size, seed)
        self.lab.seal(plain, self.source + "/", "--key-file", self.key, "-q")
        return plain

    def options(self, *more, stage=None, size="1G"):
        return ("key-file=" + self.key, "attest=none", "measure=none",
                "stage=" + (stage or self.stage), "stage-size=" + size, *more)

    def mount(self, *more, **how):
        return self.lab.mount(self.source, *self.options(*more, **how))

    def payload_bytes(self):
        """Bytes of payloads that S3 has sent since the log was cleared."""
        return sum(entry["bytes"] for entry in self.lab.s3.log()
                   if entry["method"] == "GET" and (entry["key"] or "").endswith(".sealed"))

    def assert_reads(self, mount, plain):
        path = mount.join(os.path.basename(plain))
        common.drop_cache(path)
        self.assertEqual(common.digest(path), common.digest(plain))

    def staged_chunks(self, stage=None):
        return sum(map(chunks_of, extents_of(stage or self.stage)))

    def fill(self, plain, *more, **how):
        """Reads a model until all of it is staged: what the writer had no buffer for comes with
        another mount, since this one may have it in memory."""
        chunks = -(-os.path.getsize(plain) // CHUNK)
        for _attempt in range(20):
            with self.mount(*more, **how) as mount:
                self.assert_reads(mount, plain)
                with contextlib.suppress(AssertionError):
                    common.wait_for("the stage", lambda: self.staged_chunks() >= chunks, timeout_s=1 + _attempt)
                    return
        self.fail(f"{self.staged_chunks()} of {chunks} chunks are staged")

    def read_until_staged(self, mount, plain, most=0):
        """Reads a model again until S3 sends no more than so many bytes of it."""
        def reads():
            self.lab.s3.clear_log()
            self.assert_reads(mount, plain)
            return self.payload_bytes() <= most
        common.wait_for("the stage to have " + plain, reads)


class Reuse(Staging):
    def test_second_mount_reads_nothing_from_s3(self):
        plain = self.seal()
        self.fill(plain)
        self.lab.s3.clear_log()
        with self.mount() as mount:
            self.assert_reads(mount, plain)
            with common.opened(mount.join("m.gguf")) as descriptor:
                self.assertEqual(os.pread(descriptor, 5000, SIZE - 5000),
                                 common.model_bytes(SIZE)[-5000:])
            self.assertNotIn("damaged", mount.log())
        self.assertEqual(self.payload_bytes(), 0)

    def test_same_mount_reads_nothing_again(self):
        plain = self.seal()
        with self.mount() as mount:
            self.read_until_staged(mount, plain)

    def test_no_plaintext_and_nobody_elses(self):
        plain = self.seal()
        self.fill(plain)
        folder = os.stat(self.stage)
        self.assertEqual(stat.S_IMODE(folder.st_mode), 0o700)
        needles = [common.model_bytes(SIZE)[at:at + 24]
                   for at in (0, CHUNK - 24, EXTENT + 100, SIZE - 24)]
        with open(self.lab.s3.file(self.name) + "/" + self.payload(), "rb") as sealed:
            cipher = sealed.read()
        for name in os.listdir(self.stage):
            path = os.path.join(self.stage, name)
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600, name)
            with open(path, "rb") as staged:
                content = staged.read()
            for needle in needles:
                self.assertNotIn(needle, content)
        copy = b"".join(common.read_bytes(path) for path in extents_of(self.stage))
        self.assertEqual(copy[:SIZE], cipher)

    def payload(self):
        return next(name for name in os.listdir(self.lab.s3.file(self.name))
                    if name.endswith(".sealed"))

    def test_another_etag_is_not_fetched_again(self):
        """A payload never changes: what is staged is known by its file id."""
        plain = self.seal()
        self.fill(plain)
        path = os.path.join(self.lab.s3.file(self.name), self.payload())
        with open(path, "rb") as sealed:
            cipher = sealed.read()
        self.lab.run("/usr/bin/python3", os.path.join(common.EMU, "s3_client.py"), self.lab.s3.url,
                     self.lab.credentials, "rm", common.BUCKET, f"{self.name}/{self.payload()}")
        if os.path.exists(path):
            os.unlink(path)
        with open(path, "wb") as sealed:
            sealed.write(cipher)
        staged = extents_of(self.stage)
        self.lab.s3.clear_log()
        with self.mount() as mount:
            self.assert_reads(mount, plain)
        self.assertEqual(self.payload_bytes(), 0)
        self.assertEqual(extents_of(self.stage), staged)

    def test_many_readers_and_little_memory(self):
        plain = self.seal()
        self.fill(plain)
        self.lab.s3.clear_log()
        with self.mount("memory=32M") as mount:
            threads = [threading.Thread(target=self.assert_reads, args=(mount, plain))
                       for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(self.payload_bytes(), 0)


class Damage(Staging):
    def damage(self, what):
        """what(files): damages the files of a model that is staged whole, extent by extent."""
        plain = self.seal()
        self.fill(plain)
        what(extents_of(self.stage))
        with self.mount() as mount:
            self.assert_reads(mount, plain)
            log = mount.log()
            self.assert_reads(mount, plain)
        self.fill(plain)
        self.lab.s3.clear_log()
        with self.mount() as mount:
            self.assert_reads(mount, plain)
            self.assertNotIn("damaged", mount.log())
        self.assertEqual(self.payload_bytes(), 0, "the copy was not mended")
        return log

    @staticmethod
    def overwrite(path, at, size):
        with open(path, "r+b") as data:
            data.seek(at)
            data.write(os.urandom(size))

    def test_one_byte_is_wrong(self):
        self.assertIn("damaged", self.damage(lambda files: self.overwrite(files[1], 77, 1)))

    def test_everything_is_wrong(self):
        def overwrite_all(files):
            for path in files:
                self.overwrite(path, 0, os.path.getsize(path))
        log = self.damage(overwrite_all)
        self.assertIn("damaged", log)
        self.assertLess(log.count("damaged"), 5)

    def test_cut_off(self):
        self.assertIn("cut off", self.damage(lambda files: os.truncate(files[1], CHUNK + 5)))

    def test_empty(self):
        def empty_all(files):
            for path in files:
                os.truncate(path, 0)
        self.assertIn("cut off", self.damage(empty_all))

    def test_zeros(self):
        def punch(files):
            subprocess.run(["fallocate", "-p", "-o", "0", "-l", str(EXTENT), files[0]], check=True)
        self.assertIn("damaged", self.damage(punch))

    def test_exchanged(self):
        """Each is a good extent, but not this one."""
        def exchange(files):
            os.rename(files[0], files[0] + ".x")
            os.rename(files[1], files[0])
            os.rename(files[0] + ".x", files[1])
        self.assertIn("damaged", self.damage(exchange))

    def test_while_mounted(self):
        plain = self.seal()
        self.fill(plain)
        with self.mount() as mount:
            os.truncate(extents_of(self.stage)[0], 100)
            self.assert_reads(mount, plain)
            self.assertIn("fetched again", mount.log())
            self.overwrite(extents_of(self.stage)[0], 0, EXTENT)
            self.assert_reads(mount, plain)

    def test_of_an_older_version(self):
        """Removed, with one line in the log."""
        plain = self.seal()
        self.fill(plain)
        staged = extents_of(self.stage)
        old = [os.path.join(self.stage, f"{number:016x}{suffix}")
               for number in range(3) for suffix in (".data", ".index")]
        for path in old:
            with open(path, "wb") as out:
                out.write(b"sealedfs stage 1" + bytes(4080))
        self.lab.s3.clear_log()
        with self.mount() as mount:
            self.assert_reads(mount, plain)
            self.assertEqual(mount.log().count("removed 6 files"), 1, mount.log())
        self.assertEqual(self.payload_bytes(), 0)
        self.assertEqual([path for path in old if os.path.exists(path)], [])
        self.assertEqual(extents_of(self.stage), staged)

    def test_name_claims_what_is_not_there(self):
        plain = self.seal()
        with self.mount() as mount, common.opened(mount.join("m.gguf")) as descriptor:
            os.pread(descriptor, 10, 0)
        for path in extents_of(self.stage):
            os.rename(path, path[:-4] + "ffff")
        with self.mount() as mount:
            self.assert_reads(mount, plain)

    def test_links_are_not_followed(self):
        plain = self.seal()
        victim = os.path.join(self.dir, "victim")
        with open(victim, "wb") as out:
            out.write(b"untouched")
        os.chmod(victim, 0o600)
        for make in (os.symlink, os.link):
            self.fill(plain)
            for path in extents_of(self.stage)[:2]:
                os.unlink(path)
                make(victim, path)
            with self.mount() as mount:
                self.assert_reads(mount, plain)
                self.assertEqual(mount.log().count("removed 2 files"), 1, mount.log())
            with open(victim, "rb") as source:
                self.assertEqual(source.read(), b"untouched")

    def test_killed_while_writing(self):
        plain = self.seal(size=96 * MIB)
        for after in (1, 40, 100):
            mount = self.lab.start_mount(self.source, *self.options())
            reader = threading.Thread(target=self.read_quietly, args=(mount.join("m.gguf"),))
            reader.start()
            with contextlib.suppress(AssertionError):
                common.wait_for("some chunks", lambda want=after: os.path.isdir(self.stage) and
                                self.staged_chunks() >= want, timeout_s=20)
            mount.kill()
            reader.join()
            with self.mount() as again:
                self.assertEqual([name for name in os.listdir(self.stage)
                                  if name.endswith(".0000")], [])
                self.assert_reads(again, plain)
                self.assertNotIn("damaged", again.log())

    @staticmethod
    def read_quietly(path):
        with contextlib.suppress(OSError):
            common.digest(path)


class Room(Staging):
    def test_stays_below_its_size(self):
        plains = [self.seal(f"m{number}.gguf", 40 * MIB, number) for number in range(3)]
        peak = 0
        with self.mount(size="64M") as mount:
            for number in range(20):
                for plain in plains:
                    self.assert_reads(mount, plain)
                    peak = max(peak, staged_bytes(self.stage))
                if number > 0 and peak > 32 * MIB:  # the writer skips what it has no time for
                    break
        self.assertLessEqual(peak, 64 * MIB)
        self.assertGreater(peak, 32 * MIB)
        with self.mount(size="16M") as mount:
            self.assertLessEqual(staged_bytes(self.stage), 16 * MIB)
            self.assert_reads(mount, plains[0])
        self.assertLessEqual(staged_bytes(self.stage), 16 * MIB)

    def test_what_was_read_last_stays(self):
        plains = [self.seal(f"m{number}.gguf", 24 * MIB, number) for number in range(3)]
        with self.mount(size="64M") as mount:
            for plain in plains:
                self.read_until_staged(mount, plain)

    def test_larger_than_the_stage(self):
        plain = self.seal(size=48 * MIB)
        with self.mount(size="20M") as mount:
            for _pass in range(3):
                self.assert_reads(mount, plain)
            self.assertLessEqual(staged_bytes(self.stage), 20 * MIB)
            self.read_until_staged(mount, plain, 40 * MIB)
            self.assertLessEqual(staged_bytes(self.stage), 20 * MIB)

    def test_smaller_than_an_extent(self):
        """What fits of each extent is kept, and evicted for another model."""
        plains = [self.seal(f"m{number}.gguf", 20 * MIB, number) for number in range(2)]
        for size, limit in (("1M", MIB), ("5M", 5 * MIB), ("8192K", 8 * MIB)):
            with self.mount(size=size) as mount:
                for _pass in range(2):
                    for plain in plains:
                        self.assert_reads(mount, plain)
                        self.assertLessEqual(staged_bytes(self.stage), limit)
                common.wait_for("something staged",
                                lambda least=limit // 2: staged_bytes(self.stage) >= least)
            self.assertLessEqual(staged_bytes(self.stage), limit)
            with self.mount(size=size) as mount:
                self.lab.s3.clear_log()
                self.assert_reads(mount, plains[1])
                self.assertLess(self.payload_bytes(), 20 * MIB + limit)

    def test_full_disk(self):
        plain = self.seal(size=64 * MIB)
        disk = os.path.join(self.dir, "disk")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m,mode=0755", "none", disk],
                       check=True)
        try:
            with self.mount(stage=os.path.join(disk, "stage")) as mount:
                for _pass in range(3):
                    self.assert_reads(mount, plain)
                log = mount.log()
        finally:
            subprocess.run(["umount", disk], check=True)
        self.assertEqual(log.count("No space left"), 1, log)

    def test_full_disk_at_start(self):
        """Not even room for the folder, or for the lock in it."""
        plain = self.seal()
        disk = os.path.join(self.dir, "disk")
        os.mkdir(disk)
        for inodes in (1, 2):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"nr_inodes={inodes},mode=0755", "none",
                            disk], check=True)
            try:
                with self.mount(stage=os.path.join(disk, "stage")) as mount:
                    self.assert_reads(mount, plain)
                    self.assertEqual(mount.log().count("without a stage"), 1, mount.log())
            finally:
                subprocess.run(["umount", disk], check=True)

    def test_disk_is_read_only_at_the_next_start(self):
        """As ext4 makes itself after an error: refused, with the file's name and the reason."""
        plain = self.seal()
        disk = os.path.join(self.dir, "disk")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,mode=0755", "none", disk],
                       check=True)
        try:
            with self.mount(stage=os.path.join(disk, "stage")) as mount:
                self.assert_reads(mount, plain)
            subprocess.run(["mount", "-o", "remount,ro,size=1g", disk], check=True)
            done = self.lab.mount_fails(self.source,
                                        *self.options(stage=os.path.join(disk, "stage")))
            self.assert_result(done, FAILURE, "Read-only file system", disk)
        finally:
            subprocess.run(["umount", disk], check=True)

    def test_folder_is_deleted(self):
        plain, other = self.seal(), self.seal("other.gguf", seed=1)
        with self.mount() as mount:
            self.assert_reads(mount, plain)
            shutil.rmtree(self.stage)
            for model in (plain, other, plain):
                self.assert_reads(mount, model)
            self.assertLessEqual(mount.log().count("\n"), 1, mount.log())
            self.lab.sealctl("status", mount.path, expect=common.OK)
        with self.mount() as mount:
            self.assert_reads(mount, plain)
        self.assertTrue(extents_of(self.stage))

    def test_nothing_can_be_written(self):
        plain = self.seal()
        self.fill(plain)
        subprocess.run(["mount", "--bind", self.stage, self.stage], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", self.stage], check=True)
            done = self.lab.mount_fails(self.source, *self.options())
            self.assert_result(done, FAILURE, self.stage)
        finally:
            subprocess.run(["umount", self.stage], check=True)


class Refusals(Staging):
    def test_two_daemons(self):
        plain = self.seal()
        with self.mount() as mount:
            done = self.lab.mount_fails(self.source, *self.options())
            self.assert_result(done, FAILURE, "in use by another", self.stage)
            self.assert_reads(mount, plain)
            with self.mount(stage=self.stage + "2") as other:
                self.assert_reads(other, plain)

    def test_directories_are_not_staged(self):
        done = self.lab.mount_fails(self.dir, *self.options())
        self.assert_result(done, USAGE, "option stage", "directory")

    def test_sizes(self):
        for size in ("0", "1", "1023K", "-1", "1X", "9999T", "16m", ""):
            done = self.lab.mount_fails(self.source, *self.options(size=size))
            self.assert_result(done, USAGE, "stage-size")
        done = self.lab.mount_fails(self.source, "key-file=" + self.key, "attest=none",
                                    "measure=none", "stage-size=1G")
        self.assert_result(done, USAGE, "stage-size without stage")

    def test_size_is_optional(self):
        plain = self.seal()
        with self.lab.mount(self.source, "key-file=" + self.key, "attest=none", "measure=none",
                            "stage=" + self.stage) as mount:
            self.assert_reads(mount, plain)
        self.assertTrue(extents_of(self.stage))

    def test_folders_of_others(self):
        self.seal()
        os.mkdir(self.stage)
        os.chmod(self.stage, 0o777)
        self.assert_result(self.lab.mount_fails(self.source, *self.options()), USAGE,
                           "changed by other users")
        os.chmod(self.stage, 0o700)
        os.chown(self.stage, 65534, 65534)
        self.assert_result(self.lab.mount_fails(self.source, *self.options()), USAGE,
                           "belongs to user 65534")
        os.chown(self.stage, 0, 0)
        open_to_all = os.path.join(self.dir, "open")
        os.mkdir(open_to_all)
        os.chmod(open_to_all, 0o777)
        self.assert_result(self.lab.mount_fails(
            self.source, *self.options(stage=open_to_all + "/stage")), USAGE, open_to_all,
                           "changed by other users")
        os.symlink(self.dir, self.stage + ".link")
        done = self.lab.mount_fails(self.source, *self.options(stage=self.stage + ".link"))
        self.assert_result(done, USAGE, "not a folder")
        done = self.lab.mount_fails(self.source, *self.options(stage=self.dir + "/no/where"))
        self.assert_result(done, FAILURE, "no/where")

    def test_as_another_user(self):
        """Root makes the folder for the user that the daemon becomes."""
        plain = self.seal()
        os.chmod(self.lab.dir, 0o755)
        with self.mount("setuid=nobody") as mount:
            self.assert_reads(mount, plain)
        self.assertEqual(os.stat(self.stage).st_uid, 65534)
        self.assertTrue(extents_of(self.stage))
        for name in os.listdir(self.stage):
            self.assertEqual(os.stat(os.path.join(self.stage, name)).st_uid, 65534)

    def test_strangers_files_stay(self):
        plain = self.seal()
        os.mkdir(self.stage, 0o700)
        names = ("notes", "0123456789abcdef", "0123456789abcdef.data.old",
                 "0123456789abcdef.00000000.ffff.old", "0123456789abcdef.00000000")
        for name in names:
            with open(os.path.join(self.stage, name), "w", encoding="ascii") as out:
                out.write("mine")
        with self.mount() as mount:
            self.assert_reads(mount, plain)
        for name in names:
            self.assertEqual(common.read_text(os.path.join(self.stage, name)), "mine")


if __name__ == "__main__":
    common.main()
