#!/usr/bin/python3
"""Daemon and keeper as the kernel sees them: filters, privileges, user; and that both still work."""

import os
import re
import subprocess

import common
from common import FAILURE, MIB, OK, USAGE


def status(pid, *names):
    text = common.read_text(f"/proc/{pid}/status")
    return [re.search(rf"^{name}:\s+(.*)$", text, re.M)[1] for name in names]


class Confined(common.Case):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.model = common.make_model(cls.lab.path("m.gguf"), 3 * MIB)
        cls.source = cls.lab.path("sealed")
        cls.lab.seal(cls.model, cls.source, "--key-file", cls.key)
        cls.lab.seal(cls.model, cls.lab.s3_url("prod/"), "--kms-key", "alias/models")

    def processes(self, mount):
        keepers = [int(pid) for pid in common.read_text(
            f"/proc/{mount.pid}/task/{mount.pid}/children").split()]
        self.assertEqual(len(keepers), 1)
        return mount.pid, keepers[0]

    def assert_served(self, mount):
        self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.model))

    def assert_confined(self, mount):
        daemon, keeper = self.processes(mount)
        for pid in (daemon, keeper):
            threads = os.listdir(f"/proc/{pid}/task")
            for thread in threads:
                self.assertEqual(status(f"{pid}/task/{thread}", "Seccomp", "NoNewPrivs"),
                                 ["2", "1"])
        for flag in ("CapInh", "CapAmb"):
            self.assertEqual(int(status(daemon, flag)[0], 16), 0)
        self.assertEqual(int(status(daemon, "CapEff")[0], 16) & ~(1 << 2), 0)

    def test_directory(self):
        with self.lab.mount(self.source, "key-file=" + self.key, "attest=none",
                            "measure=none") as mount:
            self.assert_served(mount)
            self.assert_confined(mount)

    def test_s3_kms_and_tpm(self):
        """Every library at work: libcurl, tpm2-tss and its module, name services; also a reload."""
        stage = self.lab.path("stage")
        with self.lab.mount(self.lab.s3_url("prod"), "stage=" + stage) as mount:
            self.assert_served(mount)
            self.assert_confined(mount)
            self.lab.seal(self.model, self.lab.s3_url("prod/"), "--name", "other.gguf",
                          "--kms-key", "alias/models")
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.assertEqual(common.digest(mount.join("other.gguf")), common.digest(self.model))

    def test_names_of_servers(self):
        """A host name, as the resolver's threads and modules find it."""
        endpoint = self.lab.s3.url.replace("127.0.0.1", "localhost")
        with self.lab.mount(self.lab.s3_url("prod"), "s3-endpoint=" + endpoint) as mount:
            self.assert_served(mount)

    def test_off_is_loud(self):
        with self.lab.mount(self.source, "key-file=" + self.key, "attest=none", "measure=none",
                            "confine=off") as mount:
            self.assert_served(mount)
            for pid in self.processes(mount):
                self.assertEqual(status(pid, "Seccomp"), ["0"])
            self.assertIn("confine=off: system calls and files are not filtered", mount.log())
        self.assert_result(self.lab.mount_fails(self.source, "key-file=" + self.key, "attest=none",
                                                "measure=none", "confine=maybe"),
                           USAGE, "confine", "on or off")

    def test_the_services_user(self):
        """Root without measuring becomes sealedfs, where that user is; else it stays root."""
        here = subprocess.run(["getent", "passwd", "sealedfs"], check=False,
                              stdout=subprocess.PIPE, text=True).stdout
        with self.lab.mount(self.source, "key-file=" + self.key, "attest=none",
                            "measure=none") as mount:
            self.assert_served(mount)
            expected = here.split(":")[2] if here else "0"
            self.assertEqual(status(mount.pid, "Uid")[0].split(), [expected] * 4)

    def test_with_the_services_user(self):
        """The same with a user of that name, in a name space with users of its own."""
        users = self.lab.path("passwd")
        with open("/etc/passwd", encoding="utf-8") as old, open(users, "w",
                                                                encoding="utf-8") as new:
            new.write("".join(line for line in old if not line.startswith("sealedfs:")))
            new.write("sealedfs:x:4321:4321::/:/usr/sbin/nologin\n")
        subprocess.run(["mount", "--bind", users, "/etc/passwd"], check=True)
        self.addCleanup(subprocess.run, ["umount", "/etc/passwd"], check=True)
        with self.lab.mount(self.source, "key-file=" + self.key, "attest=none",
                            "measure=none") as mount:
            self.assert_served(mount)
            self.assertEqual(status(mount.pid, "Uid")[0].split(), ["4321"] * 4)
            self.assert_confined(mount)
        with self.lab.mount(self.source, "key-file=" + self.key, "attest=none", "measure=none",
                            "setuid=root") as mount:
            self.assertEqual(status(mount.pid, "Uid")[0].split(), ["0"] * 4)
        self.assert_result(self.lab.mount_fails(self.source, "key-file=" + self.key, "attest=none",
                                                "measure=none", "setuid=nobody"), FAILURE)


if __name__ == "__main__":
    common.main()
