#!/usr/bin/python3
"""sealedfs@.service that cannot start, or not yet; and what is installed."""

import os
import re
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "cases"))
import common
import common_boot
from common_boot import SOON_S, UNIT

setUpModule = common_boot.setUpModule


class Start(common_boot.Service):
    """What is not there yet is waited for; what was refused is not asked for again."""

    def test_s3_comes_later(self):
        """Not reachable at boot: the start goes on, says why, and ends well when S3 is there."""
        m = self.machine
        self.start()
        m.systemctl("enable", "ollama")
        self.lab.s3.stop()
        try:
            self.reboot()
            m.wait_until("the reason", lambda: "Waiting" in m.show(UNIT, "StatusText"), SOON_S)
            self.assert_status(UNIT, "activating (start)", "connect", f"127.0.0.1:{self.s3_port}")
            self.assertEqual(m.is_active("ollama"), "inactive")
            self.assertFalse(self.is_mounted())
        finally:
            self.s3_again()
        self.assertEqual(m.wait_started(), "running")
        self.assertEqual(m.is_active(UNIT), "active")
        self.assertEqual(self.restarts(), 0)
        self.assert_read()

    def test_waiting_is_longer_than_the_timeout(self):
        """EXTEND_TIMEOUT: a start that waits outlives TimeoutStartSec."""
        m = self.machine
        m.write(f"/etc/systemd/system/{UNIT}.service.d/fast.conf",
                "[Service]\nTimeoutStartSec=3s\n")
        m.systemctl("daemon-reload")
        self.lab.s3.stop()
        try:
            m.systemctl("start", "--no-block", UNIT)
            began = int(m.run("date", "+%s").out)
            m.wait_until("time to pass", lambda: int(m.run("date", "+%s").out) - began > 6, SOON_S)
            self.assertEqual(m.is_active(UNIT), "activating")
        finally:
            self.s3_again()
        self.wait_state(UNIT, "active")
        self.assertEqual(self.restarts(), 0)

    def test_waiting_ends(self):
        """wait= bounds it; systemd tries again, and the status has the reason."""
        m = self.machine
        self.configure("wait = 1")
        self.lab.s3.stop()
        try:
            done = m.systemctl("start", UNIT, check=None)
            self.assertNotEqual(done.code, 0)
            self.assertEqual(m.show(UNIT, "ExecMainStatus"), str(common.UNREACHABLE))
            self.assert_status(UNIT, "connect to 127.0.0.1")
            m.wait_until("a restart", lambda: self.restarts() >= 1, SOON_S)
        finally:
            self.s3_again()
        self.wait_state(UNIT, "active")

    def test_stop_while_it_waits(self):
        """An operator who gives up need not wait too, and stopping is no failure."""
        m = self.machine
        self.configure(kms="http://127.0.0.1:1")
        m.systemctl("start", "--no-block", UNIT)
        m.wait_until("the reason", lambda: "Waiting" in m.show(UNIT, "StatusText"), SOON_S)
        self.assert_status(UNIT, "activating (start)", "KMS Decrypt", "connect to 127.0.0.1 port 1")
        m.systemctl("stop", UNIT)
        self.assertEqual((m.show(UNIT, "ActiveState"), m.show(UNIT, "Result")),
                         ("inactive", "success"))

    def test_machine_without_a_tpm(self):
        self.configure("wait = 1")
        m = self.machine
        m.run("sed", "-i", "/^tcti/d", "/etc/sealedfs/models.conf")
        self.assertNotEqual(m.systemctl("start", UNIT, check=None).code, 0)
        self.assert_status(UNIT, "this machine has no TPM", "/dev/tpmrm0")

    def test_role_comes_later(self):
        m = self.machine
        self.imds.ask("POST", "role", {"role": None})
        try:
            m.systemctl("start", "--no-block", UNIT)
            m.wait_until("the reason", lambda: "IAM role" in m.show(UNIT, "StatusText"), SOON_S)
            self.assertEqual(m.is_active(UNIT), "activating")
        finally:
            self.imds.ask("POST", "role", {"role": "sealedfs-role"})
        self.wait_state(UNIT, "active")

    def assert_fails_for_good(self, code, *words):
        """Fails, tells why, and is not tried again."""
        m = self.machine
        done = m.systemctl("start", "ollama", check=None)
        self.assertNotEqual(done.code, 0)
        self.assertIn("dependency", done.out.lower())
        self.assertEqual(m.show(UNIT, "ExecMainStatus"), str(code))
        self.assertEqual((m.show(UNIT, "ActiveState"), m.show(UNIT, "SubState")),
                         ("failed", "failed"))
        self.assert_status(UNIT, "failed (Result: exit-code)", f"status={code}", *words)
        self.assertEqual(self.restarts(), 0)
        self.assertFalse(self.is_mounted())
        self.assertEqual(m.is_active("ollama"), "inactive")

    def test_kms_denies(self):
        """Another PCR 4 than this machine's: the status names it, and KMS is asked once for each model."""
        other = common.sha384_hex("another boot image")
        self.lab.kms.key("alias/models", {4: other})
        self.addCleanup(self.lab.kms.key, "alias/models", {
            index: self.lab.tpm.pcr("sha384", index) for index in (4, 7, 12)})
        self.lab.kms.clear_log()
        self.assert_fails_for_good(common.REFUSED, "AccessDenied",
                                   self.lab.tpm.pcr("sha384", 4)[:16])
        self.assertEqual(str(self.lab.kms.log()).count("'Decrypt'"), len(self.sums))

    def test_not_authentic(self):
        """A model that the configuration names must be good; another one is left out."""
        (seal,) = [name for name in os.listdir(self.lab.s3.file("prod")) if name == "b.gguf.seal"]
        path = self.lab.s3.file("prod/" + seal)
        with open(path, "rb") as good:
            bytes_ = good.read()
        try:
            with open(path, "wb") as bad:
                bad.write(bytes_[:-1] + bytes([bytes_[-1] ^ 1]))
            self.configure("model = b.gguf")
            self.assert_fails_for_good(common.NOT_AUTHENTIC, "b.gguf.seal")
        finally:
            with open(path, "wb") as good:
                good.write(bytes_)

    def test_wrong_configuration(self):
        for line, word in (("owner-kay = /etc/acme.pub", "unknown key: owner-kay"),
                           ("source = s3://other", "source is already set in line 1"),
                           ("pcr = 16", "option pcr=16"),
                           ("allow_other = perhaps", "must be yes or no"),
                           ("[models]", "sections are not supported"),
                           ("mountpoint = models", "must begin with /"),
                           ("region", 'not of the form "key = value"'),
                           ("key-file = credential:none", "LoadCredential=none"),
                           ("owner-key = /etc/nothing.pub", "/etc/nothing.pub")):
            with self.subTest(line=line):
                self.configure(line)
                code = common.FAILURE if "nothing" in line else common.USAGE
                if code == common.USAGE:
                    self.assert_fails_for_good(code, word)
                else:
                    self.assertNotEqual(self.machine.systemctl("start", UNIT, check=None).code, 0)
                    self.assert_status(UNIT, word)
                self.machine.systemctl("stop", UNIT)
                self.machine.systemctl("reset-failed")

    def test_places_that_cannot_be(self):
        """A file, no parent, another sealedfs: the status says so, and the other one goes on."""
        m = self.machine
        m.run("sh", "-c", "echo >/srv/file")
        self.configure(name="other")
        m.write("/etc/sealedfs/other.conf", self.config("mountpoint = /srv/other"))
        m.systemctl("start", "sealedfs@other")
        for where, word in (("/srv/file", "/srv/file is not a directory"),
                            ("/srv/no/parent", "/srv/no/parent: No such file"),
                            ("/srv/other", "sealedfs is mounted there already")):
            with self.subTest(where=where):
                self.configure("mountpoint = " + where)
                self.assertNotEqual(m.systemctl("start", UNIT, check=None).code, 0)
                self.assert_status(UNIT, word)
                m.systemctl("stop", UNIT)
                m.systemctl("reset-failed")
        self.assertEqual(self.models("/srv/other"), ["a.gguf", "b.gguf"])
        m.run("rm", "/srv/file")

    def test_directories_that_are_missing(self):
        """Nobody ran systemd-tmpfiles: the unit makes what it needs, and it stays."""
        m = self.machine
        m.run("sh", "-c", "rm -rf /run/sealedfs; rmdir /srv/models")
        self.start()
        self.assertEqual(m.run("stat", "-c", "%U %a", "/run/sealedfs").out, "sealedfs 755\n")
        m.systemctl("start", "ollama")
        self.assert_read()
        m.systemctl("stop", UNIT)
        m.run("test", "-s", "/run/sealedfs/tpm2-measure.log")

    def test_owner_key_from_a_credential(self):
        """LoadCredential= for the owner's key too; another owner's is not authentic."""
        m = self.machine
        _, public = self.lab.owner_key()
        m.write("/etc/sealedfs/acme.pub", common.read_text(public))
        m.write(f"/etc/systemd/system/{UNIT}.service.d/key.conf",
                "[Service]\nLoadCredential=acme:/etc/sealedfs/acme.pub\n")
        m.systemctl("daemon-reload")
        self.configure("owner-key = credential:acme")
        self.assert_fails_for_good(common.NOT_AUTHENTIC, "a.gguf")
        m.systemctl("stop", UNIT)
        m.systemctl("reset-failed")
        private, public = self.lab.owner_key("other")
        m.write("/etc/sealedfs/acme.pub", common.read_text(public))
        path = common.make_model(self.lab.path("plain", "s.gguf"), common.MIB, 8)
        self.lab.seal(path, self.lab.s3_url("signed/"), "--kms-key", "alias/models", "--sign",
                      private, "-q")
        self.configure("owner-key = credential:acme", source="s3://weights/signed")
        self.start()
        self.assertEqual(m.run("sha256sum", "/srv/models/s.gguf").out.split()[0],
                         common.digest(path))

    def test_configuration_that_others_can_change(self):
        self.machine.write("/etc/sealedfs/models.conf", self.config(), mode=0o666)
        self.assert_fails_for_good(common.USAGE, "can be changed by other users")

    def test_no_configuration(self):
        """Nothing to do is no failure: a machine may have sealedfs and use Ollama without it."""
        m = self.machine
        m.run("rm", "/etc/sealedfs/models.conf")
        m.systemctl("start", UNIT)
        self.assertEqual(m.is_active(UNIT), "inactive")
        self.assert_status(UNIT, "condition", "/etc/sealedfs/models.conf")

    def test_model_that_is_not_there(self):
        self.configure("model = a.gguf, missing.gguf")
        self.assertNotEqual(self.machine.systemctl("start", UNIT, check=None).code, 0)
        self.assert_status(UNIT, "has no model missing.gguf")
        self.machine.systemctl("stop", UNIT)

    def test_named_models_only(self):
        """model= names what has to be unlocked before READY."""
        self.configure("model = b.gguf")
        self.lab.kms.clear_log()
        self.start()
        self.assertEqual(str(self.lab.kms.log()).count("'Decrypt'"), 1)
        self.assertEqual(self.models(), ["a.gguf", "b.gguf"])

    # The files

    def test_verify(self):
        m = self.machine
        for unit in (UNIT + ".service", "ollama.service"):
            done = m.run("systemd-analyze", "verify", unit, check=None)
            self.assertEqual((done.code, done.out), (0, ""))

    def test_security(self):
        """No worse than what systemd/security.md accounts for."""
        with open(os.path.join(common.TOP, "systemd", "security.md"), encoding="utf-8") as text:
            stated = text.read()
        (score,) = re.findall(r"exposure level is \*\*(\d\.\d)\*\*", stated)
        out = self.machine.run("systemd-analyze", "security", "--no-pager", UNIT).out
        self.assertRegex(out, rf"Overall exposure level for {UNIT}.service: {score} OK")
        for line in out.splitlines():
            found = re.match(r"✗ (\S+) .* (\d\.\d) *$", line)
            if found:
                name = found[1].replace("|", "\\|")
                self.assertEqual(stated.count(f"| `{name}` | {found[2]} | "), 1, line)

    def test_files_lie_where_they_belong(self):
        m = self.machine
        for path in ("/usr/sbin/mount.sealedfs", "/run/sealedfs", "/srv/models", "/etc/sealedfs"):
            m.run("test", "-e", path)
        self.assertEqual(m.run("stat", "-c", "%U %a", "/run/sealedfs").out, "sealedfs 755\n")
        # Again, with a live mount: nothing to complain about.
        self.start()
        self.assertEqual(m.run("systemd-tmpfiles", "--create").out, "")


if __name__ == "__main__":
    common.main()
