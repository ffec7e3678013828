#!/usr/bin/python3
"""Keys and plaintext in memory, looked at from outside.

Root reads every page of daemon, keeper and sealctl that could reach swap: readable, not locked
("lo" in smaps), not memfd_secret. No key, no AES round key and no plaintext may be there. Where the
kernel gives no memfd_secret, locked pages can be read too: there the keys must be found, which shows
that the scan knows what it looks for, and they must be gone when the models are.
"""

import os
import signal
import struct
import subprocess
import sys
import time
import unittest

import common
import sealedformat as sf
from common import MIB

SIZE = 24 * MIB
MARK = bytes(range(0x31, 0x51)) + b"plaintext of the model 7f3a"  # in each half KiB of the model

# Runs a program without memfd_secret: a filter answers ENOSYS to it.
WITHOUT_MEMFD_SECRET = """#!/usr/bin/python3
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 447), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code)))
if libc.prctl(22, 2, program, 0, 0) != 0:
    raise OSError(ctypes.get_errno(), "no seccomp filter")
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""


# ---------------------------------------------------------------- what is looked for

def _aes_sbox():
    box, p, q = [0] * 256, 1, 1
    while True:
        p = p ^ (p << 1 & 0xFF) ^ (0x1B if p & 0x80 else 0)
        for shift in (1, 2, 4):
            q ^= q << shift & 0xFF
        q ^= 0x09 if q & 0x80 else 0
        rotated = [(q << n | q >> 8 - n) & 0xFF for n in range(5)]
        box[p] = rotated[0] ^ rotated[1] ^ rotated[2] ^ rotated[3] ^ rotated[4] ^ 0x63
        if p == 1:
            box[0] = 0x63
            return box


SBOX = _aes_sbox()


def expand_aes256(key):
    """The 15 round keys of FIPS 197."""
    words = [list(key[i:i + 4]) for i in range(0, 32, 4)]
    constant = 1
    for i in range(8, 60):
        word = list(words[i - 1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= constant
            constant <<= 1
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    flat = bytes(b for word in words for b in word)
    return [flat[i:i + 16] for i in range(0, 240, 16)]


def _swapped(data):
    """Each word as a little-endian machine keeps it where code works on words."""
    return b"".join(struct.pack("<I", *struct.unpack(">I", data[i:i + 4]))
                    for i in range(0, len(data), 4))


def key_needles(name, key):
    """The key and each two consecutive round keys, in both byte orders."""
    rounds = expand_aes256(key)
    needles = {f"{name}": key}
    for i in range(1, 14):
        pair = rounds[i] + rounds[i + 1]
        needles[f"{name}, round keys {i} and {i + 1}"] = pair
        needles[f"{name}, round keys {i} and {i + 1}, swapped"] = _swapped(pair)
    return needles


def secrets_of(seal_path, key_file):
    """Every secret of one model and the key file that opens it."""
    seal = sf.Seal(sf.load_seal_file(seal_path))
    kek = sf.load_kek(key_file)
    keys = sf.unlock(seal, kek=kek)
    digits = common.read_bytes(key_file).strip().rpartition(b":")[2]
    needles = {"digits of the key file": digits}
    needles.update(key_needles("key of the key file", kek))
    for number, candidate in enumerate(sf.unwrapped(seal, kek)):
        needles.update(key_needles(f"data key {number}", candidate))
    needles.update(key_needles("payload key", keys.payload))
    needles["key of the slots' MAC"] = keys.slot_mac
    return needles


# ---------------------------------------------------------------- looking

def regions(pid):
    """(start, end, permissions, path, flags, resident) of each mapping."""
    current = None
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as smaps:
        for line in smaps:
            word = line.split(None, 5)
            if "-" in word[0] and not word[0].endswith(":"):
                start, end = (int(x, 16) for x in word[0].split("-"))
                current = [start, end, word[1], word[5].strip() if len(word) > 5 else "", [], 0]
            elif word[0] == "Rss:":
                current[5] = int(word[1])
            elif word[0] == "VmFlags:":
                current[4] = word[1:] if len(word) < 6 else word[1:5] + word[5].split()
                yield tuple(current)


def snapshot(pid, locked=False):
    """[(description, bytes)] of the unlocked, or the locked, mappings that can be read."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for start, end, permissions, path, flags, resident in regions(pid):
            if "r" not in permissions or resident == 0 or path.startswith(("[vv", "/secretmem")):
                continue
            if ("lo" in flags) != locked:
                continue
            memory.seek(start)
            data = bytearray()
            while len(data) < end - start:
                piece = memory.read(min(MIB, end - start - len(data)))
                if not piece:
                    break
                data += piece
            found.append((f"{start:x}-{end:x} {permissions} {path}", bytes(data)))
    return found


def hits(where, needles):
    return [f"{name} in {region}" for region, data in where for name, needle in needles.items()
            if needle in data]


def children(pid):
    return [int(child) for child in common.read_text(f"/proc/{pid}/task/{pid}/children").split()]


# ---------------------------------------------------------------- cases

class Scan(unittest.TestCase):
    """That the scan can fail."""

    def test_expansion(self):
        """FIPS 197, A.3."""
        key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
        self.assertEqual(expand_aes256(key)[14].hex(), "fe4890d1e6188d0b046df344706c631e")

    def test_a_planted_key_is_found(self):
        key = os.urandom(32)
        program = ("import sys; key = bytes.fromhex(sys.stdin.readline()); "
                   "print(flush=True); sys.stdin.read()")
        with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as process:
            rounds = expand_aes256(key)
            process.stdin.write((rounds[5] + rounds[6]).hex() + "\n")
            process.stdin.flush()
            process.stdout.readline()
            found = hits(snapshot(process.pid), key_needles("key", key))
            process.stdin.close()
        self.assertEqual({hit.partition(" in ")[0] for hit in found}, {"key, round keys 5 and 6"})


class Memory(common.Case):
    """Daemon, keeper and sealctl, with memfd_secret."""

    READABLE = False  # locked memory can be looked at

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.plain = cls.lab.path("model.gguf")
        with open(cls.plain, "wb") as out:
            for _ in range(SIZE // 512):
                out.write(MARK + os.urandom(512 - len(MARK)))
        cls.source = cls.lab.path("sealed")
        cls.lab.seal(cls.plain, cls.source, "--key-file", cls.key)
        cls.needles = secrets_of(os.path.join(cls.source, "model.gguf.seal"), cls.key)
        cls.needles["plaintext"] = MARK

    def program(self, path):
        return path

    def assert_clean(self, pid, needles=None):
        where = snapshot(pid)
        self.assertGreater(sum(len(data) for _, data in where), 100_000)
        self.assertEqual(hits(where, needles or self.needles), [])

    def look_at_daemon(self, crypto):
        original, common.SEALEDFS = common.SEALEDFS, self.program(common.SEALEDFS)
        try:
            with self.lab.mount(self.source, "key-file=" + self.key, "attest=none", "measure=none",
                                "crypto=" + crypto) as mount:
                self.look(mount)
        finally:
            common.SEALEDFS = original

    def look(self, mount):
        with open(mount.join("model.gguf"), "rb", buffering=0) as sealed:
            for at in range(0, SIZE, 5 * MIB // 2):
                self.assertTrue(os.pread(sealed.fileno(), 100_000, at).find(MARK) >= 0)
            self.assert_clean(mount.pid)
            self.assertTrue(hits(snapshot(mount.pid), {"path": mount.path.encode()}))
            keepers = children(mount.pid)
            self.assertEqual(len(keepers), 1)
            self.assert_clean(keepers[0])
            locked = hits(snapshot(mount.pid, locked=True), self.needles)
            self.assertIn("plaintext", "".join(locked))
            if self.READABLE:
                for word in ("payload key, round keys 7 and 8", "key of the key file"):
                    self.assertIn(word, "".join(locked))
        if self.READABLE:
            self.close_and_look(mount)

    def close_and_look(self, mount):
        """A model that is gone takes its keys along."""
        names = os.listdir(self.source)
        away = self.lab.path("away", make=True)
        for name in names:
            os.rename(os.path.join(self.source, name), os.path.join(away, name))
        try:
            mount.process.send_signal(signal.SIGHUP)
            common.wait_for("the model to go", lambda: "model.gguf" not in os.listdir(mount.path))
            payload = {name: needle for name, needle in self.needles.items()
                       if name.startswith(("payload key", "data key"))}
            end, left = time.monotonic() + 120, True
            while left and time.monotonic() < end:
                left = hits(snapshot(mount.pid, locked=True), payload)
            self.assertEqual(left, [])
        finally:
            for name in names:
                os.rename(os.path.join(away, name), os.path.join(self.source, name))

    def test_daemon_openssl(self):
        self.look_at_daemon("openssl")

    def test_daemon_ipsec_mb(self):
        self.look_at_daemon("ipsec-mb")

    def stopped(self, *argv):
        """A sealctl that has read much, and stands still for the length of a with block."""
        process = subprocess.Popen([self.program(common.SEALCTL), *argv],
                                   env=self.lab.env("owner"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)
        def has_read():
            with open(f"/proc/{process.pid}/io", encoding="ascii") as io:
                return int(io.readline().split()[1]) > self.large // 4
        common.wait_for("sealctl to read", has_read, process)
        process.send_signal(signal.SIGSTOP)
        common.wait_for("sealctl to stop", lambda: common.read_text(
            f"/proc/{process.pid}/stat").rpartition(") ")[2][0] == "T", process)
        return process

    def test_sealctl(self):
        plain, sealed = self.lab.path("large.gguf"), self.lab.path("large")
        self.large = 600 * MIB
        block = b"".join(MARK + os.urandom(512 - len(MARK)) for _ in range(MIB // 512))
        with open(plain, "wb") as out:
            for _ in range(self.large // MIB):
                out.write(block)
        process = self.stopped("seal", plain, sealed, "--key-file", self.key)
        where = snapshot(process.pid)
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.wait(common.COMMAND_S), 0)
        needles = secrets_of(os.path.join(sealed, "large.gguf.seal"), self.key)
        needles["plaintext"] = MARK
        self.assertEqual(hits(where, needles), [])
        process = self.stopped("check", sealed, "--key-file", self.key)
        try:
            self.assert_clean(process.pid, needles)
        finally:
            process.send_signal(signal.SIGCONT)
            self.assertEqual(process.wait(common.COMMAND_S), 0)
            os.unlink(plain)


class WithoutMemfdSecret(Memory):
    """The same where the kernel has no memfd_secret."""

    READABLE = True

    def program(self, path):
        wrapper = self.lab.path("plain-" + os.path.basename(path))
        with open(wrapper, "w", encoding="ascii") as out:
            out.write(WITHOUT_MEMFD_SECRET.replace("{program!r}", repr(path)))
        os.chmod(wrapper, 0o700)
        return wrapper


class Limits(common.Case):
    """What cannot be locked is said."""

    def test_a_small_limit_is_named(self):
        key = self.lab.key_file()
        self.lab.seal(common.make_model(self.lab.path("m.gguf"), MIB), self.lab.path("sealed"),
                      "--key-file", key)
        wrapper = self.lab.path("limited")
        with open(wrapper, "w", encoding="ascii") as out:
            out.write("#!/bin/sh\nexec setpriv --bounding-set -sys_resource,-ipc_lock "
                      f"prlimit --memlock=8388608:8388608 {common.SEALEDFS} \"$@\"\n")
        os.chmod(wrapper, 0o700)
        original, common.SEALEDFS = common.SEALEDFS, wrapper
        try:
            with self.lab.mount(self.lab.path("sealed"), "key-file=" + key, "attest=none",
                                "measure=none", "memory=64M") as mount:
                for words in ("plaintext may reach swap: memory=64M", "8192 KiB",
                              "LimitMEMLOCK=", "ulimit -l"):
                    self.assertIn(words, mount.log())
        finally:
            common.SEALEDFS = original


if __name__ == "__main__":
    common.main()
