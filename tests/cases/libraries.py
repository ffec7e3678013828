#!/usr/bin/python3
"""Decrypting and hashing by OpenSSL and by libipsec-mb: the same bytes, the same refusals.

Both read what `sealctl seal` made with the library that is faster here. Where libipsec-mb is not
built in, or not fit for this CPU, asking for it must fail, and that is then all there is to see.
"""

import errno
import os
import unittest

import common
from common import CHUNK, FAILURE, OK, USAGE

SIZES = {"one.gguf": 1, "block.gguf": 4096, "many.gguf": 5 * CHUNK + 4097}


class Libraries(common.Case):
    PARTS = ("tpm",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        for seed, (name, size) in enumerate(SIZES.items()):
            common.make_model(lab.path("plain", name), size, seed)
        cls.key = lab.key_file()
        cls.source = lab.path("sealed")
        lab.seal(lab.path("plain"), cls.source, "--key-file", cls.key)
        cls.version = lab.run(common.SEALEDFS, "--version").out

    def options(self, library, mode):
        return ("key-file=" + self.key, "attest=none", "measure=" + mode, "crypto=" + library)

    def usable(self):
        """The libraries that can be asked for here."""
        try:
            self.lab.start_mount(self.source, *self.options("ipsec-mb", "none")).unmount()
        except common.MountFailed as failure:
            self.assertEqual(failure.code, FAILURE)
            self.assertIn("libipsec-mb cannot be used", failure.err)
            return ("auto", "openssl")
        return ("auto", "openssl", "ipsec-mb")

    def test_both_give_the_plaintext(self):
        for library in self.usable():
            for mode in ("verity", "declared", "sha384"):
                self.lab.tpm.ask("POST", "reboot", {})
                options = (*self.options(library, mode), "event-log=" + self.lab.path(
                    f"events.{library}.{mode}"))
                with self.subTest(library=library, mode=mode), \
                        self.lab.mount(self.source, *options) as mount:
                    for name in SIZES:
                        self.assertEqual(common.digest(mount.join(name)),
                                         common.digest(self.lab.path("plain", name)), name)

    def test_both_refuse_a_flipped_bit(self):
        source = common.copy_tree(self.source, self.lab.path("flipped"))
        for name in os.listdir(source):
            if name.startswith("many.gguf.") and name.endswith(".sealed"):
                with open(os.path.join(source, name), "r+b", buffering=0) as payload:
                    byte = os.pread(payload.fileno(), 1, 100000)
                    os.pwrite(payload.fileno(), bytes([byte[0] ^ 1]), 100000)
        for library in self.usable():
            for mode in ("verity", "none"):
                self.lab.tpm.ask("POST", "reboot", {})
                options = (*self.options(library, mode), "event-log=" + self.lab.path(
                    f"flipped.{library}.{mode}"))
                with self.subTest(library=library, mode=mode), \
                        self.lab.mount(source, *options) as mount:
                    self.assert_io_error(mount.join("many.gguf"), errno.EIO)
                    self.assertIn("its tag does not verify", mount.log())

    def test_version_names_the_faster_ones(self):
        one = r"(OpenSSL 3\.[0-9.]+|ipsec-mb [0-9.]+ \([^()]+\))"
        self.assertRegex(self.version, rf"\nAES-256-GCM: {one}; SHA-256 trees: {one}\n$")
        # What is not usable is not named.
        if "ipsec-mb" not in self.usable():
            self.assertNotIn("ipsec-mb", self.version)

    def test_the_log_says_which(self):
        options = self.options("openssl", "none")
        done = self.lab.run(common.SEALEDFS, self.source, self.lab.path("at", make=True), "-v", "-o",
                            ",".join(("ollama=off", *options)))
        self.assertEqual(done.code, OK, done.err)
        self.lab.run("umount", self.lab.path("at"))
        self.assertRegex(done.err, r"AES-256-GCM: OpenSSL 3\.[0-9.]+; SHA-256 trees: OpenSSL 3\.")

    def test_no_other_library(self):
        for value in ("aes-ni", "", "OPENSSL"):
            failed = self.lab.mount_fails(self.source, *self.options(value, "none"))
            self.assert_result(failed, USAGE, "crypto")


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")
    common.main()
