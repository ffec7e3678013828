#!/usr/bin/python3
"""sealedfs@.service on a booted machine: what an operator does, and what goes wrong later."""

import os
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "cases"))
import common
import common_boot
from common import MIB
from common_boot import SOON_S, UNIT

setUpModule = common_boot.setUpModule


class Service(common_boot.Service):
    """Serving: reading, rebooting, reloading, dying, stopping."""

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
            self.assertEqual(self.models(), ["a.gguf", "b.gguf"])
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
        log = m.run("cat", "/run/sealedfs/tpm2-measure.log").out
        self.assertEqual([log.count(f'"{name}.gguf"') for name in "abk"], [1, 1, 1])
        m.systemctl("stop", "sealedfs@keys")
        self.assertEqual(m.run("ls", "/srv/keys").out, "")

    # What goes wrong while it runs

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
            m.run("systemd-run", f"--unit=busy{reader}", "--property=User=ollama",
              "--property=SupplementaryGroups=sealedfs", "sh", "-c",
                  "while dd if=/srv/models/a.gguf iflag=direct bs=1M of=/dev/null status=none; "
                  "do :; done")
        held = "held"
        m.run("systemd-run", f"--unit={held}", "--property=User=ollama",
              "--property=SupplementaryGroups=sealedfs", "sh", "-c",
              "exec 3</srv/models/b.gguf; cd /srv/models; exec sleep infinity")
        began = m.run("date", "+%s").out
        m.systemctl("stop", UNIT)
        self.assertLess(int(m.run("date", "+%s").out) - int(began), 28)  # TimeoutStopSec=30s
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
                "[Service]\nWatchdogSec=6s\nRestartSec=100ms\n")
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
            UNIT, "WatchdogTimestampMonotonic")) > int(stamp) + 8_000_000, SOON_S)
        self.assertEqual(m.show(UNIT, "MainPID"), pid)

    def test_silent_server_is_no_hang(self):
        """Readers wait for S3 longer than the watchdog's time: the network's fault, not ours."""
        m = self.machine
        m.write(f"/etc/systemd/system/{UNIT}.service.d/fast.conf",
                "[Service]\nWatchdogSec=6s\n")
        m.systemctl("daemon-reload")
        self.start()
        pid = m.show(UNIT, "MainPID")
        with self.lab.s3.fault(match=r"GET .*\.sealed", kind="slow", ms=15000):
            for reader in range(40):
                m.run("systemd-run", f"--unit=waiting{reader}", "--property=User=ollama",
              "--property=SupplementaryGroups=sealedfs", "dd",
                      "if=/srv/models/a.gguf", "iflag=direct", "bs=64k", f"skip={reader}",
                      "of=/dev/null")
            stamp = m.show(UNIT, "WatchdogTimestampMonotonic")
            m.wait_until("signs of life", lambda: int(m.show(
                UNIT, "WatchdogTimestampMonotonic")) > int(stamp) + 13_000_000, SOON_S)
        for reader in range(40):
            self.wait_state(f"waiting{reader}", "inactive", "failed")
        self.assertEqual(m.show(UNIT, "MainPID"), pid)


if __name__ == "__main__":
    common.main()
