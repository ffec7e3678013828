#!/usr/bin/python3
"""llama.cpp's llama-server runs from the mount and says the same as from the plain file.

A 50 MB model (and one in three parts), sealed to S3 under a KMS key, unlocked by attestation,
loaded with mmap, without, and with direct I/O. A damaged model fails to load where it is read; a
process that populates a mapping waits until it is killed.
"""

import json
import mmap
import os
import signal
import subprocess
import sys
import unittest

import common
from common import MIB

import ask

LLAMA = os.environ.get("SEALEDFS_LLAMA") or os.path.join(common.TOP, "build", "llama")
MODES = ("mmap", "none", "dio")
GENERATOR = os.path.join(common.TESTS, "models", "make-tiny-gguf.py")
LOAD_S = 300


def fetch_llama():
    """None, or why llama-server is not here."""
    try:
        done = subprocess.run([ask.LAUNCHER, "fetch", LLAMA], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired as late:
        return f"llama-server was not fetched: {late}"
    return None if done.returncode == 0 else "llama-server was not fetched: " + done.stdout.strip()


class Llama(common.Case):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        reason = fetch_llama()
        if reason:
            raise unittest.SkipTest(reason)
        super().setUpClass()
        lab = cls.lab
        cls.plain = lab.path("plain", make=True)
        for arguments in (["--seed", "1", "--out", os.path.join(cls.plain, "one.gguf")],
                          ["--seed", "2", "--split", "3", "--out",
                           os.path.join(cls.plain, "parts.gguf")]):
            subprocess.run(["/usr/bin/python3", GENERATOR, "--size", "50", *arguments],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        private, public = lab.owner_key()
        lab.seal(cls.plain, lab.s3_url("prod/"), "--kms-key", "alias/models", "--sign", private)
        cls.options = ("owner-key=" + public,)

    def say(self, path, mode):
        """The tokens; LoadFailed with the server's last words."""
        return ask.ask(LLAMA, path, mode, self.lab.path("llama.log"), deadline_s=LOAD_S)[0]


class Tokens(Llama):
    """The same tokens, whatever way the weights are read."""

    def compare(self, name, mode):
        want = self.say(os.path.join(self.plain, name), mode)
        self.assertEqual(len(want), 16)
        self.assertGreater(len(set(want)), 1, "a model that says one thing proves nothing")
        with self.lab.mount(self.lab.s3_url("prod"), *self.options) as mount:
            self.assertEqual(self.say(mount.join(name), mode), want)
            self.assertEqual(mount.log(), "")

    def test_mmap(self):
        self.compare("one.gguf", "mmap")

    def test_none(self):
        self.compare("one.gguf", "none")

    def test_dio(self):
        self.compare("one.gguf", "dio")

    def test_three_parts(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                self.compare("parts-00001-of-00003.gguf", mode)

    def test_other_weights_say_something_else(self):
        """The comparison above can fail."""
        one = self.say(os.path.join(self.plain, "one.gguf"), "mmap")
        self.assertNotEqual(
            one, self.say(os.path.join(self.plain, "parts-00001-of-00003.gguf"), "mmap"))


class Damaged(Llama):
    """One flipped bit in the weights."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.lab.s3.file("prod")
        (payload,) = [name for name in os.listdir(folder)
                      if name.startswith("one.gguf.") and name.endswith(".sealed")]
        with open(os.path.join(folder, payload), "r+b") as sealed:
            sealed.seek(25 * MIB)
            byte = sealed.read(1)
            sealed.seek(25 * MIB)
            sealed.write(bytes([byte[0] ^ 1]))

    def waiting(self, mount):
        """Processes that wait for the damaged page."""
        with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as status:
            (model,) = [model for model in json.load(status)["models"]
                        if model["name"] == "one.gguf"]
        return {entry["process"] for entry in model.get("waiting", ())}

    def assert_waits_until_killed(self, mount, process, end):
        """It never gets the page, status names it, and a signal ends it."""
        common.wait_for("status names the reader", lambda: process.pid in self.waiting(mount),
                        process, LOAD_S)
        self.assertIsNone(process.poll())
        process.send_signal(end)
        self.assertEqual(process.wait(LOAD_S), -end)

    def test_fails_to_load(self):
        for mode in ("none", "dio"):
            with self.subTest(mode=mode):
                with self.lab.mount(self.lab.s3_url("prod"), *self.options) as mount:
                    with self.assertRaises(ask.LoadFailed) as caught:
                        self.say(mount.join("one.gguf"), mode)
                    self.assertNotIn("exit code None", str(caught.exception),
                                     "llama-server hung until it was stopped")
                    self.assertIn("altered chunk", mount.log())

    def test_populating_load_waits_until_killed(self):
        """The kernel repeats the failed read of a populating mapping until the process is killed."""
        with self.lab.mount(self.lab.s3_url("prod"), *self.options) as mount:
            server = ask.start(LLAMA, mount.join("one.gguf"), "mmap", ask.free_port(),
                               subprocess.DEVNULL)
            try:
                self.assert_waits_until_killed(mount, server, signal.SIGKILL)
            finally:
                server.kill()
                server.wait()
            self.assertIn("altered chunk", mount.log())

    def test_readers_that_map_and_read_at_once(self):
        child = ("import mmap, sys\n"
                 "source = open(sys.argv[1], 'rb')\n"
                 "if sys.argv[2] == 'read':\n"
                 "    while source.read(1 << 20): pass\n"
                 "view = mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ, flags=int(sys.argv[2]))\n"
                 "for at in range(0, len(view), 4096): view[at]\n")
        populate = str(mmap.MAP_PRIVATE | mmap.MAP_POPULATE)
        with self.lab.mount(self.lab.s3_url("prod"), *self.options) as mount:
            readers = [(how, subprocess.Popen(
                [sys.executable, "-c", child, mount.join("one.gguf"), how],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
                for how in ["read", str(mmap.MAP_SHARED), populate] * 2]
            try:
                for how, reader in readers:
                    if how != populate:
                        self.assertNotEqual(reader.wait(LOAD_S), 0)
                for how, reader in readers:
                    if how == populate:
                        self.assert_waits_until_killed(mount, reader, signal.SIGTERM)
            finally:
                for _, reader in readers:
                    reader.kill()
                    reader.wait()


if __name__ == "__main__":
    common.main()
