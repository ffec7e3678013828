#!/usr/bin/python3
"""An attacker who holds the data key replaces chunks behind a reader's back, with tags that fit."""

import ctypes
import mmap
import os
import threading

import common
from common import CHUNK
from common_measuring import MEASURING, Measured

import sealedformat as sf
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


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


class Watch:
    """Looks all the time which pages of a range of an open file are in the page cache, without
    asking for any. seen: the most that were there at once; looks: how often it has looked."""

    def __init__(self, descriptor, offset, size):
        self.memory = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, offset)
        self.size, self.seen, self.looks, self.over = size, 0, 0, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        pages = ctypes.create_string_buffer(self.size // mmap.PAGESIZE)
        while not self.over.is_set():
            if LIBC.mincore(self.memory, self.size, pages) != 0:
                raise OSError(ctypes.get_errno(), "mincore")
            self.seen = max(self.seen, sum(byte & 1 for byte in pages.raw))
            self.looks += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *failure):
        self.over.set()
        self.thread.join()
        LIBC.munmap(self.memory, self.size)


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

    def forge(self, folder, name="a.gguf"):
        """The old payload is put back when the case ends."""
        with open(os.path.join(folder, name + ".seal"), "rb") as seal_file:
            seal, keys = sf.open_seal(seal_file.read(), kek=sf.load_kek(self.key))
        path = os.path.join(folder, sf.payload_name(name, seal.file_id))
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


    def test_old_descriptor_sees_nothing_of_a_pass_that_fails(self):
        """A file that was opened before a reload shares its pages with the model that is measured
        anew. Not one of the forged chunk may come up there, not even until the pass has failed."""
        for mode in ("sha384", "sha256"):
            with self.subTest(mode=mode):
                self.tpm.ask("POST", "reboot", {})
                self.events = self.lab.path("events.old." + mode)
                with self.mount("measure=" + mode, "memory=32M") as mount:
                    path = mount.join(self.FILLER)
                    with common.opened(path) as old:
                        self.assertEqual(common.digest(path),
                                         common.digest(self.plain[self.FILLER]))
                        self.forge(self.folder, self.FILLER)
                        common.drop_cache(path)
                        with self.assertRaises(OSError):
                            os.pread(old, 4096, CHUNK)
                        looks = 0
                        while looks < 2:  # a busy machine may not let us look during a pass
                            self.assert_result(self.lab.run(common.SEALEDFS, "--reload",
                                                            mount.path), common.OK)
                            with Watch(old, CHUNK, CHUNK) as watch:
                                self.assert_io_error(path)
                            looks = watch.looks
                            self.assertEqual(watch.seen, 0, "pages of the forged chunk came up")
                self.doCleanups()


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
