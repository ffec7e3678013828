#!/usr/bin/python3
"""As on an EC2 instance: credentials and region from the metadata service, the daemon in the
background, the attestation document that shows what was opened.

Nothing but endpoints is configured. Role credentials change, and the old ones end, while a model
is being read.
"""

import json
import os
import secrets
import subprocess

import common
from common import MIB, NOT_AUTHENTIC, OK, REFUSED, UNREACHABLE

SIZE = 60 * MIB


class Instance(common.Case):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.imds = common.Emulator(lab, "imds", "imds.py", "--credentials", lab.credentials,
                                   "--region", common.REGION)
        cls.plain = common.make_model(lab.path("m.gguf"), SIZE)
        cls.private, cls.public = lab.owner_key()
        lab.seal(cls.plain, lab.s3_url("prod/"), "--kms-key", "alias/models", "--sign",
                 cls.private)
        cls.url = lab.s3_url("prod")

    def setUp(self):
        self.lab.tpm.ask("POST", "reboot", {})
        self.events = self.lab.path("events." + self.id().rpartition(".")[2])
        self.options = ("owner-key=" + self.public, "event-log=" + self.events)

    def role(self):
        """What makes a program use the role: no region, no files, the metadata service."""
        return {"AWS_REGION": "", "AWS_EC2_METADATA_DISABLED": "", "HOME": "/nonexistent",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.imds.values["url"]}

    def test_role(self):
        self.imds.clear_log()
        with self.lab.mount(self.url, *self.options, extra=self.role()) as mount:
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.plain))
        pages = [entry["path"] for entry in self.imds.log()]
        self.assertEqual([path for path in pages if "placement/region" in path],
                         ["/latest/meta-data/placement/region"])
        # One set of keys for everything, not one for each request.
        self.assertEqual(len([path for path in pages if path.endswith("/emulated-role")]), 1)

    def test_rotation_while_reading(self):
        with self.lab.mount(self.url, *self.options, "memory=32M", extra=self.role()) as mount:
            with common.opened(mount.join("m.gguf"), os.O_DIRECT) as sealed:
                self.assertEqual(os.pread(sealed, 4096, 0), common.model_bytes(4096))
                self.imds.ask("POST", "rotate", {"expire_old": True})
                want = common.model_bytes(SIZE)
                self.assertEqual(os.pread(sealed, MIB, 50 * MIB), want[50 * MIB:51 * MIB])
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.plain))

    def test_no_role(self):
        self.imds.ask("POST", "role", {"role": None})
        try:
            result = self.lab.mount_fails(self.url, *self.options, extra=self.role())
        finally:
            self.imds.ask("POST", "role", {"role": "emulated-role"})
        self.assertNotEqual(result.code, OK)
        self.assertIn("role", result.err)

    def test_the_document_shows_the_model(self):
        with self.lab.mount(self.url, *self.options, "ready=measured"):
            nonce = secrets.token_hex(32)
            path = self.lab.path("doc.cose")
            self.lab.sealctl("attest", "--nonce", nonce, "-o", path, expect=OK)
            done = self.lab.sealctl("inspect", "--json", path, expect=OK)
        json.loads(done.out)
        # As sealctl hash predicts it from the plain file and the mount's options.
        predicted = json.loads(self.lab.sealctl("hash", "--pcr", "--json", "--owner-key",
                                                self.public, self.plain, expect=OK).out)
        self.assertIn(predicted["pcr"]["verity"]["sha384"], done.out)
        self.assertIn(self.lab.tpm.pcr("sha384", 4), done.out)
        self.assertIn(nonce, done.out)

    # In the background

    def background(self, source, *options, **how):
        """(Result, mount point): the program has returned, and so closed its output."""
        path = self.lab.path("background." + secrets.token_hex(4), make=True)
        return self.lab.run(common.SEALEDFS, source, path, "-o", ",".join(options),
                            who="operator", **how), path

    @staticmethod
    def daemons(path):
        """Processes that have the mount point in their command line."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as line:
                    arguments = line.read().split(b"\0")
            except OSError:
                continue
            if path.encode() in arguments and b"sealedfs" in arguments[0]:
                found.append(int(pid))
        return found

    def test_background(self):
        result, path = self.background(self.url, *self.options, "ready=measured",
                                       "ollama=off")
        self.assert_result(result, OK)
        self.assertEqual(result.out + result.err, "")
        try:
            # Ready means ready: measured, and readable at once.
            self.assertNotEqual(int(self.lab.tpm.pcr("sha384"), 16), 0)
            self.assertEqual(common.digest(os.path.join(path, "m.gguf")),
                             common.digest(self.plain))
            (pid,) = self.daemons(path)
            self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
            for number in range(3):
                self.assertNotIn("pipe:", os.readlink(f"/proc/{pid}/fd/{number}"))
        finally:
            subprocess.run(["umount", path], check=True, timeout=60)
        common.wait_for("the daemon's end", lambda: not self.daemons(path))

    def test_background_failures(self):
        """The exit code and the message are the caller's, the mount point stays as it was."""
        _, other = self.lab.owner_key("other")
        cases = (
            (NOT_AUTHENTIC, "unknown signer", ("owner-key=" + other, "ready=unlocked"), None),
            (UNREACHABLE, "127.0.0.1:1", self.options,
             {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "2"}),
            (common.USAGE, "pcr", (*self.options, "pcr=16"), None),
        )
        for code, word, options, extra in cases:
            with self.subTest(code=code):
                result, path = self.background(self.url, *options, extra=extra)
                self.assert_result(result, code, word)
                self.assertFalse(common.is_mounted(path))
                self.assertEqual(self.daemons(path), [])
        self.lab.kms.set_state("alias/models", "Disabled")
        try:
            result, path = self.background(self.url, *self.options, "ready=unlocked")
        finally:
            self.lab.kms.set_state("alias/models", "Enabled")
        self.assert_result(result, REFUSED, "disabled")
        self.assertFalse(common.is_mounted(path))
        self.assertEqual(self.daemons(path), [])


if __name__ == "__main__":
    common.main()
