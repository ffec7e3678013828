#!/usr/bin/python3
"""Resident memory: the daemon under 512 MiB with eight readers, sealing under 64 MiB, at 2 GB.

VmHWM, the kernel's own high-water mark of each process. With SEALEDFS_QUICK the model has 300 MB,
which is still more than each limit on sealing and more than the daemon's default buffers.
"""

import multiprocessing
import os
import random
import subprocess
import time

import common
from common import MIB

SIZE = 300 * MIB if common.QUICK else 2 << 30
DAEMON_MAX = 512 * MIB
SEALING_MAX = 64 * MIB
READERS = 8
FORK = multiprocessing.get_context("fork")


def _read_all(path, plain_path, begin):
    """Reads the whole file, from another place than the others, and spot-checks it."""
    chance = random.Random(begin)
    with open(path, "rb", buffering=0) as sealed, open(plain_path, "rb", buffering=0) as plain:
        size = os.fstat(sealed.fileno()).st_size
        buffer = bytearray(MIB)
        for at in range(0, size, MIB):
            offset = (begin + at) % size // MIB * MIB
            count = os.preadv(sealed.fileno(), [buffer], offset)
            if count != min(MIB, size - offset):
                raise SystemExit(f"{count} bytes at {offset}")
            spot = chance.randrange(count)
            if buffer[spot:spot + 64] != os.pread(plain.fileno(), 64, offset + spot)[:count - spot]:
                raise SystemExit(f"wrong bytes at {offset + spot}")


class Memory(common.Case):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = common.make_model(cls.lab.path("model.gguf"), SIZE)
        cls.key = cls.lab.key_file()
        cls.owner, _ = cls.lab.owner_key()

    def seal_measured(self, *args, stdin=None):
        """Runs sealctl seal; its VmHWM, looked at until it ends."""
        log_path = self.lab.path("seal.log")
        with open(log_path, "wb") as log:
            process = subprocess.Popen([common.SEALCTL, "seal", *args], env=self.lab.env("owner"),
                                       stdin=stdin or subprocess.DEVNULL, stdout=log, stderr=log)
        peak = 0
        try:
            while process.poll() is None:
                try:
                    peak = max(peak, common.peak_memory(process.pid))
                except (StopIteration, OSError):
                    pass  # it has just ended
                time.sleep(0.002)
        finally:
            common.end(process)
        self.assertEqual(process.returncode, 0, common.read_text(log_path))
        self.assertGreater(peak, MIB)
        self.assertLessEqual(peak, SEALING_MAX, "sealing took %.1f MiB" % (peak / MIB))

    def readers_measured(self, source, *options):
        with self.lab.mount(source, *options) as mount:
            path = mount.join("model.gguf")
            readers = [FORK.Process(target=_read_all, args=(path, self.plain, SIZE // READERS * i))
                       for i in range(READERS)]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join(common.COMMAND_S)
            self.assertEqual([reader.exitcode for reader in readers], [0] * READERS)
            peak = common.peak_memory(mount.pid)
            self.assertGreater(peak, MIB)
            self.assertLess(peak, DAEMON_MAX, "the daemon took %.1f MiB" % (peak / MIB))

    def test_directory(self):
        self.seal_measured(self.plain, self.lab.path("sealed"), "--key-file", self.key)
        self.readers_measured(self.lab.path("sealed"), "key-file=" + self.key, "attest=none",
                              "measure=none")

    def test_s3(self):
        self.seal_measured(self.plain, self.lab.s3_url("prod/"), "--kms-key", "alias/models",
                           "--sign", self.owner)
        self.readers_measured(self.lab.s3_url("prod"))

    def test_s3_in_a_flat_mode(self):
        """The pass over the whole model keeps to the same bounds."""
        self.lab.seal(self.plain, self.lab.s3_url("flat/"), "--key-file", self.key)
        with self.lab.mount(self.lab.s3_url("flat"), "key-file=" + self.key, "measure=sha384",
                            "ready=unlocked") as mount:
            with open(mount.join("model.gguf"), "rb") as sealed:
                self.assertEqual(len(sealed.read(MIB)), MIB)
            self.assertLess(common.peak_memory(mount.pid), DAEMON_MAX)

    def test_pipe(self):
        with subprocess.Popen(["cat", self.plain], stdout=subprocess.PIPE) as cat:
            self.seal_measured("-", self.lab.path("piped"), "--length", str(SIZE), "--name",
                               "model.gguf", "--key-file", self.key, stdin=cat.stdout)


if __name__ == "__main__":
    common.main()
