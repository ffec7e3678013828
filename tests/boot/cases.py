#!/usr/bin/python3
"""sealedfs@.service on a booted machine: what an operator does, and what goes wrong."""

import os
import re
import sys
import unittest

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "cases"))
import common
import common_boot
from common import MIB
from common_boot import SOON_S

UNIT = "sealedfs@models"
setUpModule = common_boot.setUpModule


class Service(common_boot.Booted):
    """One machine for all; every test leaves it without units that run."""

    def setUp(self):
        self.configure()
        self.addCleanup(self.clean)

    def clean(self):
        m = self.machine
        if m.process.poll() is not None:
            m.boot()
        m.systemctl("disable", "--now", UNIT, "ollama", check=None)
        m.systemctl("stop", "sealedfs@*", check=None)
        m.systemctl("reset-failed", check=None)
        m.run("sh", "-c", "rm -rf /etc/sealedfs/*.conf /etc/systemd/system/sealedfs@*.d")
        m.systemctl("daemon-reload")
        self.assertFalse(self.is_mounted())

    def start(self):
        self.machine.systemctl("enable", "--now", UNIT)

    # What an operator does

    def test_enable_and_read(self):
        """READY means unlocked; the drop-in orders the reader and tells it where to look."""
        m = self.machine
        self.lab.kms.clear_log()
        self.start()
        self.assertIn("Decrypt", str(self.lab.kms.log()))
        self.assert_status(UNIT, "active (running)", "Serving 2 models", "s3://weights/prod")
        m.systemctl("start", "ollama")
        self.assert_read()
        environment = m.show("ollama", "Environment")
        for word in ("OLLAMA_MODELS=/srv/models/ollama", "OLLAMA_NOPRUNE=1",
                     "OLLAMA_LOAD_TIMEOUT="):
            self.assertIn(word, environment)
        self.assertIn(f"{UNIT}.service", m.show("ollama", "Requires"))
        self.assertIn(f"{UNIT}.service", m.show("ollama", "After"))

    def test_reader_pulls_the_mount_in(self):
        self.machine.systemctl("start", "ollama")
        self.assert_read()
        self.assertEqual(self.machine.is_active(UNIT), "active")

    def test_after_a_reboot(self):
        m = self.machine
        self.start()
        m.systemctl("enable", "--now", "ollama")
        for _ in range(2):
            self.reboot()
            self.assertEqual(m.wait_started(), "running")
            self.assertEqual(m.is_active(UNIT), "active")
            self.assert_read()

    def test_after_power_was_cut(self):
        m = self.machine
        self.start()
        m.cut_power()
        self.lab.tpm.ask("POST", "reboot", {})
        m.boot()
        self.assertEqual(m.wait_started(), "running")
        m.systemctl("start", "ollama")
        self.assert_read()

    def test_privileges(self):
        """Neither root nor capabilities for what talks to the network; the keeper can unmount."""
        m = self.machine
        self.start()
        pid = int(m.show(UNIT, "MainPID"))
        status = m.run("cat", f"/proc/{pid}/status").out
        user = m.run("id", "-u", "sealedfs").out.strip()
        self.assertRegex(status, rf"Uid:\s+{user}\s+{user}\s+{user}\s+{user}\n")
        for kind in ("Prm", "Eff", "Amb", "Inh"):
            self.assertRegex(status, rf"Cap{kind}:\s+0+\n")
        self.assertRegex(status, r"NoNewPrivs:\s+1\n")
        self.assertRegex(status, r"Seccomp:\s+2\n")
        pids = m.run("cat", f"/sys/fs/cgroup/system.slice/system-sealedfs.slice/{UNIT}.service/"
                     "cgroup.procs").out.split()
        self.assertEqual(len(pids), 2)
        (keeper,) = set(map(int, pids)) - {pid}
        self.assertRegex(m.run("cat", f"/proc/{keeper}/status").out,
                         r"CapPrm:\s+0000000000200000\n")
        self.assertIn("/srv/models fuse.sealedfs ro,nosuid,nodev", m.run("cat", "/proc/mounts").out)

    def test_reload(self):
        m = self.machine
        self.start()
        m.systemctl("start", "ollama")
        self.assert_read()
        reader = m.show("ollama", "MainPID")
        inode = m.run("stat", "-c", "%i", "/srv/models/a.gguf").out
        path = self.seal("c.gguf", MIB, 9)
        self.addCleanup(self.sums.pop, "c.gguf")
        self.addCleanup(self.unseal, "c.gguf")
        m.systemctl("reload", UNIT)
        self.assertEqual(m.run("sha256sum", "/srv/models/c.gguf").out.split()[0],
                         common.digest(path))
        self.assertEqual(m.run("stat", "-c", "%i", "/srv/models/a.gguf").out, inode)
        self.assertEqual(m.show("ollama", "MainPID"), reader)
        self.assertEqual(m.show(UNIT, "NRestarts"), "0")
        self.assert_status(UNIT, "active (running)", "Serving 3 models")

    def unseal(self, name):
        folder = self.lab.s3.file("prod")
        for entry in os.listdir(folder):
            if entry.startswith(name + "."):
                os.unlink(os.path.join(folder, entry))

    def test_reload_that_fails(self):
        m = self.machine
        self.start()
        self.lab.s3.stop()
        try:
            done = m.systemctl("reload", UNIT, check=None)
            self.assertNotEqual(done.code, 0)
            self.assert_status(UNIT, "active (running)", "Serving 2 models",
                               "the listing stays as it was")
            self.assertEqual(m.run("ls", "/srv/models").out.split(), ["a.gguf", "b.gguf"])
        finally:
            self.s3_again()
        m.systemctl("reload", UNIT)

    def test_two_instances(self):
        """Another mount on the same TPM and log; its mount point is made, its key a credential."""
        m = self.machine
        key = self.lab.key_file("team")
        path = common.make_model(self.lab.path("plain", "k.gguf"), MIB, 5)
        self.lab.seal(path, self.lab.s3_url("keys/"), "--key-file", key, "-q")
        with open(key, encoding="ascii") as text:
            m.write("/etc/sealedfs/team.key", text.read(), mode=0o600)
        m.write("/etc/systemd/system/sealedfs@keys.service.d/key.conf",
                "[Service]\nLoadCredential=team:/etc/sealedfs/team.key\n")
        self.configure("key-file = credential:team", "attest = none", name="keys",
                       source="s3://weights/keys")
        m.systemctl("daemon-reload")
        self.start()
        m.systemctl("start", "sealedfs@keys")
        self.assertEqual(m.run("sha256sum", "/srv/keys/k.gguf").out.split()[0],
                         common.digest(path))
        self.assertEqual(m.run("grep", "-c", "hashAlg", "/run/sealedfs/tpm2-measure.log").out,
                         "3\n")
        m.systemctl("stop", "sealedfs@keys")
        self.assertEqual(m.run("ls", "/srv/keys").out, "")

    # What goes wrong while it runs

    def restarts(self):
        return int(self.machine.show(UNIT, "NRestarts"))

    def test_kill(self):
        """Serves again within seconds; the reader is started anew with it; nothing measured twice.
        """
        m = self.machine
        self.start()
        m.systemctl("start", "ollama")
        self.assert_read()
        pcr, reader = self.lab.tpm.pcr("sha384"), m.show("ollama", "MainPID")
        for turn, who in enumerate(("main", "all"), start=1):
            m.systemctl("kill", "--signal=KILL", "--kill-who=" + who, UNIT)
            m.wait_until("a restart", lambda turn=turn: self.restarts() == turn, SOON_S)
            self.wait_state(UNIT, "active")
            m.wait_until("the reader's restart", lambda reader=reader: m.show(
                "ollama", "MainPID") not in ("0", reader), SOON_S)
            reader = m.show("ollama", "MainPID")
            self.assert_read()
            mounts = m.run("grep", "-c", "/srv/models fuse", "/proc/mounts").out
            self.assertEqual(mounts, "1\n")
        self.assertEqual(self.lab.tpm.pcr("sha384"), pcr)

    def test_stop_with_busy_readers(self):
        m = self.machine
        self.start()
        for reader in range(3):
            m.run("systemd-run", f"--unit=busy{reader}", "--property=User=ollama", "sh", "-c",
                  "while dd if=/srv/models/a.gguf iflag=direct bs=1M of=/dev/null status=none; "
                  "do :; done")
        held = "held"
        m.run("systemd-run", f"--unit={held}", "--property=User=ollama", "sh", "-c",
              "exec 3</srv/models/b.gguf; cd /srv/models; exec sleep infinity")
        began = m.run("date", "+%s").out
        m.systemctl("stop", UNIT)
        self.assertLess(int(m.run("date", "+%s").out) - int(began), 15)
        self.assertFalse(self.is_mounted())
        self.assertEqual(m.show(UNIT, "ActiveState"), "inactive")
        self.assertEqual(m.show(UNIT, "Result"), "success")
        # Nobody hangs: readers were told, and this one can be ended.
        for reader in range(3):
            self.wait_state(f"busy{reader}", "inactive", "failed")
        m.systemctl("stop", held)
        m.systemctl("reset-failed", check=None)

    def test_unmounted_by_hand(self):
        m = self.machine
        self.start()
        m.run("umount", "/srv/models")
        self.wait_state(UNIT, "inactive")
        self.assertEqual(m.show(UNIT, "Result"), "success")

    def test_hang_is_seen(self):
        """A daemon that does not go on is replaced."""
        m = self.machine
        m.write(f"/etc/systemd/system/{UNIT}.service.d/fast.conf",
                "[Service]\nWatchdogSec=3s\nRestartSec=100ms\n")
        m.systemctl("daemon-reload")
        self.start()
        m.systemctl("kill", "--signal=STOP", "--kill-who=main", UNIT)
        m.wait_until("a restart", lambda: self.restarts() == 1, SOON_S)
        self.wait_state(UNIT, "active")
        self.assertIn("watchdog", m.journal(unit=UNIT).lower())
        m.systemctl("start", "ollama")
        self.assert_read()
        # And one that goes on is left alone.
        pid = m.show(UNIT, "MainPID")
        stamp = m.show(UNIT, "WatchdogTimestampMonotonic")
        m.wait_until("signs of life", lambda: int(m.show(
            UNIT, "WatchdogTimestampMonotonic")) > int(stamp) + 4_000_000, SOON_S)
        self.assertEqual(m.show(UNIT, "MainPID"), pid)

    def test_silent_server_is_no_hang(self):
        """Readers wait for S3 longer than the watchdog's time: the network's fault, not ours."""
        m = self.machine
        m.write(f"/etc/systemd/system/{UNIT}.service.d/fast.conf",
                "[Service]\nWatchdogSec=3s\n")
        m.systemctl("daemon-reload")
        self.start()
        pid = m.show(UNIT, "MainPID")
        with self.lab.s3.fault(match=r"GET .*\.sealed", kind="slow", ms=9000):
            for reader in range(40):
                m.run("systemd-run", f"--unit=waiting{reader}", "--property=User=ollama", "dd",
                      "if=/srv/models/a.gguf", "iflag=direct", "bs=64k", f"skip={reader}",
                      "of=/dev/null")
            stamp = m.show(UNIT, "WatchdogTimestampMonotonic")
            m.wait_until("signs of life", lambda: int(m.show(
                UNIT, "WatchdogTimestampMonotonic")) > int(stamp) + 8_000_000, SOON_S)
        for reader in range(40):
            self.wait_state(f"waiting{reader}", "inactive", "failed")
        self.assertEqual(m.show(UNIT, "MainPID"), pid)

    # What goes wrong at start

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
        """Another PCR 4 than this machine's: the status names it, and KMS is asked once."""
        other = common.sha384_hex("another boot image")
        self.lab.kms.key("alias/models", {4: other})
        self.addCleanup(self.lab.kms.key, "alias/models", {
            index: self.lab.tpm.pcr("sha384", index) for index in (4, 7, 12)})
        self.lab.kms.clear_log()
        self.assert_fails_for_good(common.REFUSED, "AccessDenied",
                                   self.lab.tpm.pcr("sha384", 4)[:16])
        self.assertEqual(str(self.lab.kms.log()).count("'Decrypt'"), 1)

    def test_not_authentic(self):
        (seal,) = [name for name in os.listdir(self.lab.s3.file("prod")) if name == "b.gguf.seal"]
        path = self.lab.s3.file("prod/" + seal)
        with open(path, "rb") as good:
            bytes_ = good.read()
        try:
            with open(path, "wb") as bad:
                bad.write(bytes_[:-1] + bytes([bytes_[-1] ^ 1]))
            self.assert_fails_for_good(common.NOT_AUTHENTIC, "b.gguf.seal")
        finally:
            with open(path, "wb") as good:
                good.write(bytes_)

    def test_wrong_configuration(self):
        for line, word in (("owner-kay = /etc/acme.pub", "unknown key: owner-kay"),
                           ("source = s3://other", "source is set already in line 1"),
                           ("pcr = 16", "option pcr=16"),
                           ("allow_other = perhaps", "must be yes or no"),
                           ("[models]", "no sections"),
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
        self.assertEqual(self.machine.run("ls", "/srv/models").out.split(), ["a.gguf", "b.gguf"])

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
