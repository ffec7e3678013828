#!/usr/bin/python3
"""Sealed, mounted, compared byte for byte: sizes around a chunk, 50 MB, 2 GB; directory and S3.

Plain models are sealed by sealctl, mounted by sealedfs, and every way of reading is compared with
the plain file: whole, 1,000 random preads by eight processes at once, mmap with and without
MAP_POPULATE, O_DIRECT. Names, sizes, times and extended attributes as well.
"""

import contextlib
import errno
import hashlib
import mmap
import multiprocessing
import os
import random
import shutil
import stat
import unittest

import common
from common import CHUNK, MIB

import verity

READERS = 8
PREADS = 1000
LONGEST_PREAD = 4 * MIB
SIZES = {"empty.gguf": 0, "byte.gguf": 1, "below.gguf": CHUNK - 1, "chunk.gguf": CHUNK,
         "above.gguf": CHUNK + 1, "deep/er/big.gguf": 50_000_000}
HUGE = 2 << 30
SEED = int(os.environ.get("SEALEDFS_SEED") or random.SystemRandom().randrange(1 << 32))
FORK = multiprocessing.get_context("fork")


# ---------------------------------------------------------------- eight readers at once

def _preads(plain_path, path, seed, count):
    """Compares random ranges; those at the end, across chunks and past the end among them."""
    chance = random.Random(seed)
    with open(plain_path, "rb", buffering=0) as plain, open(path, "rb", buffering=0) as sealed:
        size = os.fstat(plain.fileno()).st_size
        for _ in range(count):
            length = min(int(2 ** chance.uniform(0, 22.1)), LONGEST_PREAD)
            offset = chance.randrange(size + 4097)
            if chance.random() < 0.2:  # near the edge of a chunk
                offset = max(0, offset // CHUNK * CHUNK + chance.randint(-2, 2))
            want = os.pread(plain.fileno(), length, offset)
            got = pread_all(sealed.fileno(), length, offset)
            if got != want:
                return f"pread({length}, {offset}) of {path}: {len(got)} bytes, {len(want)} wanted"
    return None


def pread_all(descriptor, length, offset):
    """pread until the length is there or the file ends, as every serious reader does."""
    got = os.pread(descriptor, length, offset)
    while len(got) < length:
        more = os.pread(descriptor, length - len(got), offset + len(got))
        if not more:
            break
        got += more
    return got


def _mapped(plain_path, path, part, flags):
    """Compares one of READERS parts through a mapping of the whole file."""
    size = os.path.getsize(plain_path)
    if size == 0:
        return None
    with contextlib.ExitStack() as stack:
        views = []
        for name, how in ((plain_path, mmap.MAP_SHARED), (path, flags)):
            source = stack.enter_context(open(name, "rb"))
            views.append(stack.enter_context(
                mmap.mmap(source.fileno(), size, flags=how, prot=mmap.PROT_READ)))
        plain, sealed = views
        begin, stop = part * size // READERS, (part + 1) * size // READERS
        for at in range(begin, stop, MIB):
            upto = min(at + MIB, stop)
            if plain[at:upto] != sealed[at:upto]:
                return f"mapping of {path} differs in {at}..{upto}"
    return None


def _job(start, results, function, arguments):
    start.wait()
    try:
        results.put(function(*arguments))
    except BaseException as failure:  # a reader that dies must not look like one that is content
        results.put(f"{function.__name__}{arguments}: {failure!r}")


def at_once(jobs):
    """Runs (function, arguments) in a process each, started together. The complaints."""
    start, results = FORK.Barrier(len(jobs)), FORK.Queue()
    processes = [FORK.Process(target=_job, args=(start, results, *job)) for job in jobs]
    for process in processes:
        process.start()
    complaints = [results.get(timeout=common.COMMAND_S) for _ in processes]
    for process in processes:
        process.join()
    return [complaint for complaint in complaints if complaint]


class Reading:
    """What a mount must give; the subclass says from where. plain and source are folders."""

    names = SIZES
    clock_ns = 1

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = cls.lab.path("plain", make=True)
        for seed, (name, size) in enumerate(cls.names.items()):
            common.make_model(cls.lab.path("plain", name), size, seed)
        source, options = cls.seal()
        cls.mounted = cls.lab.start_mount(source, *options)

    @classmethod
    def tearDownClass(cls):
        cls.mounted.unmount()

    def pairs(self):
        """(plain, sealed) paths; the sealed one without cached pages."""
        for name in self.names:
            path = self.mounted.join(name)
            common.drop_cache(path)
            with self.subTest(name=name, seed=SEED):
                yield os.path.join(self.plain, name), path

    def test_tree(self):
        found = {}
        for folder, folders, files in os.walk(self.mounted.path):
            for name in folders + files:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, self.mounted.path)] = os.lstat(path)
        wanted = set(self.names) | {"deep", "deep/er"} if "deep/er/big.gguf" in self.names \
            else set(self.names)
        self.assertEqual(set(found), wanted)
        for name, size in self.names.items():
            self.check_file(name, found[name], size)
        for name in wanted - set(self.names):
            self.assertEqual(stat.S_IFMT(found[name].st_mode), stat.S_IFDIR)
            self.assertEqual(stat.S_IMODE(found[name].st_mode), 0o550)

    def check_file(self, name, status, size):
        self.assertEqual(status.st_size, size)
        self.assertEqual(stat.S_IFMT(status.st_mode), stat.S_IFREG)
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o440)
        self.assertEqual((status.st_uid, status.st_gid), (os.geteuid(), os.getegid()))
        self.assertEqual(status.st_blksize, 4096)
        self.assertGreaterEqual(status.st_blocks * 512, size)
        self.assertLess(status.st_blocks * 512, size + 4096)
        self.assertEqual(status.st_nlink, 1)
        want_ns = os.stat(self.seal_file(name)).st_mtime_ns
        self.assertEqual(status.st_mtime_ns // self.clock_ns, want_ns // self.clock_ns)

    def test_extended_attributes(self):
        for plain, path in self.pairs():
            with open(self.seal_file(os.path.relpath(path, self.mounted.path)), "rb") as seal:
                file_id = seal.read(0x30)[0x10:]
            want = {"user.sealedfs.sha256": common.digest(plain),
                    "user.sealedfs.verity": verity.digest_of_file(plain).hex()
                    if os.path.getsize(plain) < HUGE else None,
                    "user.sealedfs.file-id": file_id.hex()}
            self.assertEqual(set(os.listxattr(path)), set(want))
            for name, value in want.items():
                got = os.getxattr(path, name).decode()
                self.assertEqual(got.rpartition(":")[2], value or got.rpartition(":")[2], name)
            with self.assertRaises(OSError) as caught:
                os.getxattr(path, "user.other")
            self.assertEqual(caught.exception.errno, errno.ENODATA)
            with self.assertRaises(OSError) as caught:
                os.setxattr(path, "user.sealedfs.sha256", b"0")
            self.assertEqual(caught.exception.errno, errno.EROFS)

    def test_sha256(self):
        for plain, path in self.pairs():
            self.assertEqual(common.digest(path), common.digest(plain))

    def test_preads_of_eight_readers(self):
        for plain, path in self.pairs():
            self.assertEqual(at_once([(_preads, (plain, path, SEED + i, PREADS // READERS))
                                      for i in range(READERS)]), [])

    def test_mmap_of_eight_readers(self):
        for plain, path in self.pairs():
            self.assertEqual(at_once([(_mapped, (plain, path, part, mmap.MAP_SHARED))
                                      for part in range(READERS)]), [])

    def test_populated_mmap(self):
        for plain, path in self.pairs():
            self.assertEqual(at_once([(_mapped, (plain, path, part,
                                                 mmap.MAP_PRIVATE | mmap.MAP_POPULATE))
                                      for part in range(0, READERS, 4)]), [])

    def test_all_ways_at_once(self):
        for plain, path in self.pairs():
            self.assertEqual(at_once(
                [(_preads, (plain, path, SEED - i, 40)) for i in range(3)]
                + [(_mapped, (plain, path, part, mmap.MAP_SHARED)) for part in range(3)]
                + [(_mapped, (plain, path, part, mmap.MAP_PRIVATE | mmap.MAP_POPULATE))
                   for part in range(6, 8)]), [])

    def test_direct_io(self):
        for plain, path in self.pairs():
            want, got = hashlib.sha256(), hashlib.sha256()
            with contextlib.closing(mmap.mmap(-1, MIB)) as buffer, open(plain, "rb") as source, \
                    common.opened(path, os.O_DIRECT) as sealed:
                offset = 0
                while count := os.preadv(sealed, [buffer], offset):
                    got.update(buffer[:count])
                    want.update(source.read(count))
                    offset += count
                self.assertEqual(source.read(), b"")
            self.assertEqual(offset, os.path.getsize(plain))
            self.assertEqual(got.digest(), want.digest())

    def test_past_the_end(self):
        for plain, path in self.pairs():
            size = os.path.getsize(plain)
            with open(path, "rb", buffering=0) as sealed:
                for offset in (size, size + 1, size + 4096, 1 << 40, (1 << 63) - 4097):
                    self.assertEqual(os.pread(sealed.fileno(), 4096, offset), b"")
                self.assertEqual(os.lseek(sealed.fileno(), 0, os.SEEK_END), size)


class Directory(Reading, common.Case):
    """From a directory, unlocked with a key file."""

    @classmethod
    def seal(cls):
        cls.sealed = cls.lab.path("sealed")
        key = cls.lab.key_file()
        cls.lab.seal(cls.plain, cls.sealed, "--key-file", key)
        return cls.sealed, ("key-file=" + key, "attest=none", "measure=none")

    def seal_file(self, name):
        return os.path.join(self.sealed, name + ".seal")


class S3(Reading, common.Case):
    """From S3, unlocked by KMS for this machine's PCRs, measured."""

    PARTS = ("tpm", "kms", "s3")
    clock_ns = 1_000_000_000  # HTTP dates are whole seconds

    @classmethod
    def seal(cls):
        private, public = cls.lab.owner_key()
        cls.lab.seal(cls.plain, cls.lab.s3_url("prod/"), "--kms-key", "alias/models", "--sign",
                     private)
        return cls.lab.s3_url("prod"), ("owner-key=" + public,)

    def seal_file(self, name):
        return self.lab.s3.file("prod/" + name + ".seal")

    def test_one_unlock_for_all_readers(self):
        """However many opened a model, KMS was asked once for it, with its file id."""
        for _, path in self.pairs():
            with open(path, "rb"):
                pass
        asked = [entry["context"]["sealedfs:file-id"] for entry in self.lab.kms.log()
                 if entry["operation"] == "Decrypt"]
        ids = [os.getxattr(self.mounted.join(name), "user.sealedfs.file-id").decode()
               for name in self.names]
        self.assertEqual(sorted(asked), sorted(ids))


def _why_no_huge(copies):
    if common.QUICK:
        return "SEALEDFS_QUICK is set"
    if shutil.disk_usage(os.environ.get("TMPDIR", "/tmp")).free < copies * HUGE + (4 << 30):
        return f"less than {copies} x 2 GiB of free disk"
    return None


class Huge(Reading):
    """2 GiB. The whole is compared once in each way; what does not depend on size is above."""

    names = {"huge.gguf": HUGE}
    test_all_ways_at_once = None
    test_past_the_end = None
    test_extended_attributes = None


@unittest.skipIf(_why_no_huge(2), _why_no_huge(2))
class HugeDirectory(Huge, Directory):
    pass


@unittest.skipIf(_why_no_huge(2), _why_no_huge(2))
class HugeS3(Huge, S3):
    test_one_unlock_for_all_readers = None


if __name__ == "__main__":
    common.main()
