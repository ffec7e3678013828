#!/usr/bin/python3
"""Readers of every kind at once, from a directory and from S3, in each way of checking.

Every byte is compared. The same file runs under ThreadSanitizer, where a race ends the daemon.
"""

import concurrent.futures
import mmap
import os
import random

import common
from common import CHUNK, MIB

SEED = int(os.environ.get("SEALEDFS_SEED") or random.SystemRandom().randrange(1 << 32))
SIZES = {"a.gguf": 40 * MIB + 7, "deep/b.gguf": 3 * CHUNK - 1, "empty.gguf": 0}
RANDOM_READS = 150


def read_in_order(path, plain, piece, flags=0):
    """The whole file by pieces; with O_DIRECT into pages of our own."""
    buffer = mmap.mmap(-1, piece)
    with common.opened(path, flags) as descriptor:
        at = 0
        while n := os.preadv(descriptor, [buffer], at):
            assert buffer[:n] == plain[at:at + n], f"{path}: other bytes at {at}"
            at += n
    assert at == len(plain), f"{path}: {at} bytes of {len(plain)}"


def read_about(path, plain, seed):
    """Short pieces here and there, most of them small, some across chunks."""
    dice = random.Random(seed)
    with common.opened(path) as descriptor:
        for _ in range(RANDOM_READS if plain else 0):
            at, size = dice.randrange(len(plain)), dice.choice((1, 4096, 70000, CHUNK + 1))
            assert os.pread(descriptor, size, at) == plain[at:at + size], f"{path}: at {at}"


def map_and_compare(path, plain):
    """Everything at once through a mapping."""
    if plain:
        with common.opened(path) as descriptor, \
                mmap.mmap(descriptor, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE,
                          prot=mmap.PROT_READ) as pages:
            assert pages[:] == plain, path


def open_often(path, plain):
    """Opens and closes, forgetting the pages in between."""
    for _ in range(30):
        with common.opened(path) as descriptor:
            assert os.pread(descriptor, 10, 0) == plain[:10], path
        common.drop_cache(path)


class Storm(common.Case):
    PARTS = ("tpm", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = {}
        for seed, (name, size) in enumerate(SIZES.items()):
            common.make_model(cls.lab.path("plain", name), size, seed)
            cls.plain[name] = common.model_bytes(size, seed)
        cls.key = cls.lab.key_file()
        cls.places = {"directory": cls.lab.path("sealed"), "S3": cls.lab.s3_url("models")}
        for place in cls.places.values():
            cls.lab.seal(cls.lab.path("plain"), place, "--key-file", cls.key)

    def storm(self, mount):
        """All kinds of readers on all models, ten at a time."""
        jobs = []
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            for name, plain in self.plain.items():
                path = mount.join(name)
                jobs += [pool.submit(read_in_order, path, plain, MIB),
                         pool.submit(read_in_order, path, plain, 12288),
                         pool.submit(read_in_order, path, plain, 4 * MIB, os.O_DIRECT),
                         pool.submit(map_and_compare, path, plain),
                         pool.submit(open_often, path, plain)]
                jobs += [pool.submit(read_about, path, plain, SEED + i) for i in range(2)]
            for job in jobs:
                job.result()

    def check(self, place, mode, *options):
        attest = () if mode != "none" else ("attest=none",)
        with self.subTest(place=place, mode=mode, seed=SEED), \
                self.lab.mount(self.places[place], "key-file=" + self.key, "measure=" + mode,
                               *attest, *options) as mount:
            self.storm(mount)

    def test_directory(self):
        for mode in ("none", "verity", "sha256"):
            self.check("directory", mode)

    def test_s3(self):
        for mode in ("none", "verity", "sha256"):
            self.check("S3", mode)

    def test_little_memory(self):
        """Room for few buffers only: readers wait for each other."""
        self.check("S3", "verity", "memory=32M")


if __name__ == "__main__":
    common.main()
