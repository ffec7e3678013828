#!/usr/bin/python3
"""An fstab line on a booted machine: mount(8), .mount units, reboots, and what goes wrong."""

import os
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "cases"))
import common
import common_boot
from common_boot import SOON_S

UNIT = "srv-models.mount"
WHERE = "/srv/models"
setUpModule = common_boot.setUpModule


class Fstab(common_boot.Booted):
    """No /etc/sealedfs/*.conf: the mount unit that systemd makes of the line does it all."""

    def setUp(self):
        self.addCleanup(self.clean)

    def clean(self):
        m = self.machine
        if m.process.poll() is not None:
            m.boot()
        m.systemctl("disable", "--now", "ollama", check=None)
        m.systemctl("stop", "srv-models.automount", check=None)
        m.run("umount", "-l", WHERE, check=None)
        m.write("/etc/fstab", "")
        m.systemctl("daemon-reload")
        m.systemctl("reset-failed", check=None)
        self.wait_gone()

    def wait_gone(self):
        m = self.machine
        m.wait_until("the daemon's end", lambda: not self.is_mounted() and not self.daemons(),
                     SOON_S)

    def daemons(self):
        out = self.machine.run("sh", "-c", "grep -sEx '(mount.)?sealedfs' "
                               "/proc/[0-9]*/comm", check=None).out
        return [line.split("/")[2] for line in out.splitlines()]

    def write_fstab(self, *options, source="s3://weights/prod", kms=None):
        own = (f"s3-endpoint={self.lab.s3.url}", f"kms-endpoint={kms or self.lab.kms.url}",
               "tcti=" + self.lab.tpm.tcti.replace(",", "\\,"))
        self.machine.write("/etc/fstab", f"{source} {WHERE} sealedfs "
                           f"{','.join((*options, *own))} 0 0\n")
        self.machine.systemctl("daemon-reload")

    def assert_right(self):
        """As another user than root and sealedfs."""
        self.machine.systemctl("restart", "ollama")
        self.assert_read()

    def assert_live(self):
        """A mount that mount(8) or systemd said is there can be used at once."""
        self.assertEqual(self.models(), sorted(self.sums))

    def assert_fails(self, *words):
        """Starting fails, at once and for good, with the reason in the status."""
        m = self.machine
        self.assertNotEqual(m.systemctl("start", UNIT, check=None).code, 0)
        self.assertEqual(m.is_active(UNIT), "failed")
        self.assert_status(UNIT, "failed", *words)
        self.assertFalse(self.is_mounted())
        self.assertEqual(self.daemons(), [])

    # What an operator does

    def test_start_read_stop(self):
        m = self.machine
        self.write_fstab("ro,_netdev,nofail,ready=unlocked")
        self.lab.kms.clear_log()
        m.systemctl("start", UNIT)
        self.assertEqual(str(self.lab.kms.log()).count("'Decrypt'"), 2)
        self.assert_live()
        self.assert_status(UNIT, "active (mounted)", "s3://weights/prod")
        self.assert_right()
        # The drop-in's service has no configuration, and the mount orders Ollama.
        self.assertIn(UNIT, m.show("ollama", "Requires"))
        self.assertIn(UNIT, m.show("ollama", "After"))
        (pid,) = self.daemons()
        status = m.run("cat", f"/proc/{pid}/status").out
        user = m.run("id", "-u", "sealedfs").out.strip()
        self.assertRegex(status, rf"Uid:\s+{user}\s+{user}\s+{user}\s+{user}\n")
        self.assertRegex(status, r"CapPrm:\s+0+\n")
        self.assertIn(UNIT, m.run("cat", f"/proc/{pid}/cgroup").out)
        m.systemctl("stop", UNIT)
        self.assertEqual((m.is_active(UNIT), m.show(UNIT, "Result")), ("inactive", "success"))
        self.assertEqual(m.is_active("ollama"), "inactive")
        self.wait_gone()

    def test_mount_and_umount_by_hand(self):
        m = self.machine
        self.write_fstab("defaults,_netdev")
        for command in (("mount", "-a"), ("mount", WHERE)):
            m.run(*command)
            self.assert_live()
            m.wait_until("the unit", lambda: m.is_active(UNIT) == "active", SOON_S)
            m.run("umount", WHERE)
            m.wait_until("the unit", lambda: m.is_active(UNIT) == "inactive", SOON_S)
            self.wait_gone()

    def test_ollama_pulls_the_mount_in(self):
        self.write_fstab("ro,noauto,_netdev")
        self.machine.systemctl("start", "ollama")
        self.assert_read()

    def test_after_a_reboot(self):
        m = self.machine
        self.write_fstab("ro,_netdev,nofail,x-systemd.before=ollama.service,ready=measured")
        m.systemctl("enable", "ollama")
        pcrs = set()
        for _ in range(2):
            self.reboot()
            self.assertEqual(m.wait_started(), "running")
            self.assertEqual(m.is_active(UNIT), "active")
            self.assertIn("network-online.target", m.show(UNIT, "After"))
            self.assertIn(UNIT, m.show("remote-fs.target", "Wants"))
            self.assert_read()
            pcrs.add(self.lab.tpm.pcr("sha384"))
        plain = [self.lab.path("plain", name) for name in self.sums]
        predicted = self.lab.sealctl("hash", "--pcr", *plain, expect=common.OK).out
        (pcr,) = pcrs
        self.assertIn(pcr, predicted)

    def test_mount_unit(self):
        """The same in a unit file of the operator's, with an environment."""
        m = self.machine
        private, public = self.lab.owner_key()
        path = common.make_model(self.lab.path("plain", "s.gguf"), common.MIB, 8)
        self.lab.seal(path, self.lab.s3_url("signed/"), "--kms-key", "alias/models", "--sign",
                      private, "-q")
        m.write("/etc/acme.pub", common.read_text(public))
        m.write("/etc/systemd/system/" + UNIT, f"""\
[Mount]
What=s3://weights/signed
Where={WHERE}
Type=sealedfs
Options=ro,ready=unlocked,owner-key=/etc/acme.pub,s3-endpoint={self.lab.s3.url}
Environment=AWS_ENDPOINT_URL_KMS={self.lab.kms.url} SEALEDFS_TCTI={self.lab.tpm.tcti}
[Install]
WantedBy=multi-user.target
""")
        self.addCleanup(m.run, "rm", "/etc/systemd/system/" + UNIT)
        m.systemctl("daemon-reload")
        m.systemctl("enable", "--now", UNIT)
        self.assertEqual(m.run("sha256sum", WHERE + "/s.gguf").out.split()[0],
                         common.digest(path))
        m.systemctl("disable", "--now", UNIT)
        self.wait_gone()

    def test_automount(self):
        """Who looks first waits for the mount, and sees it."""
        m = self.machine
        self.write_fstab("ro,noauto,_netdev,x-systemd.automount")
        m.systemctl("start", "srv-models.automount")
        self.assertEqual(m.is_active(UNIT), "inactive")
        self.assert_live()
        self.assertEqual(m.is_active(UNIT), "active")
        self.assert_right()

    def test_noauto(self):
        m = self.machine
        self.write_fstab("ro,noauto,_netdev")
        self.reboot()
        self.assertEqual(m.wait_started(), "running")
        self.assertFalse(self.is_mounted())
        m.run("mount", WHERE)
        self.assert_live()

    def test_words_for_others_are_passed_over(self):
        for options in ("rw", "defaults", "rw,user,noauto", "users,exec,dev,suid", "owner,group",
                        "nouser,nogroup,async,sync,dirsync", "atime,diratime,relatime,lazytime",
                        "noexec,noatime,nodiratime,nosuid,nodev", "strictatime,norelatime,silent",
                        "loud,iversion,noiversion,mand,nomand,symfollow,nosymfollow",
                        "nofail,_netdev,auto,comment=weights", "X-mount.mkdir,x-gvfs-hide",
                        "x-systemd.requires=time-sync.target,x-systemd.after=ssh.service,"
                        "x-systemd.mount-timeout=80s,x-systemd.device-timeout=9,"
                        "x-systemd.wanted-by=remote-fs.target,x-systemd.idle-timeout=0"):
            with self.subTest(options=options):
                self.write_fstab(options)
                self.machine.systemctl("start", UNIT)
                self.assert_live()
                self.assertIn(" fuse.sealedfs ro,nosuid,nodev",
                              self.machine.run("grep", WHERE, "/proc/mounts").out)
                self.machine.systemctl("stop", UNIT)

    # What goes wrong

    def test_s3_comes_later(self):
        """Not reachable at boot: it is waited for, the journal says why, and Ollama comes after."""
        m = self.machine
        self.write_fstab("ro,_netdev,nofail,x-systemd.before=ollama.service")
        m.systemctl("enable", "ollama")
        self.lab.s3.stop()
        try:
            self.reboot()
            m.wait_until("the reason", lambda: "waiting up to" in m.status(UNIT), SOON_S)
            self.assert_status(UNIT, "activating (mounting)", f"127.0.0.1:{self.s3_port}")
            self.assertEqual(m.is_active("ollama"), "inactive")
            self.assertFalse(self.is_mounted())
        finally:
            self.s3_again()
        self.assertEqual(m.wait_started(), "running")
        self.assert_live()
        self.assert_read()

    def test_s3_does_not_come(self):
        """With nofail the machine boots all the same, and mounting later works."""
        m = self.machine
        self.write_fstab("ro,_netdev,nofail,wait=1")
        self.lab.s3.stop()
        try:
            self.reboot()
            self.assertEqual(m.wait_started(), "degraded")
            self.assertEqual(m.is_active("multi-user.target"), "active")
            self.assert_status(UNIT, "failed", "connect to 127.0.0.1")
            self.assertEqual(self.daemons(), [])
        finally:
            self.s3_again()
        m.run("mount", "-a")
        self.assert_live()

    def test_kms_denies(self):
        self.lab.kms.key("alias/models", {4: common.sha384_hex("another boot image")})
        self.addCleanup(self.lab.kms.key, "alias/models", {
            index: self.lab.tpm.pcr("sha384", index) for index in (4, 7, 12)})
        self.write_fstab("ro,_netdev,nofail,ready=unlocked")
        self.assert_fails("AccessDenied", self.lab.tpm.pcr("sha384", 4)[:16])
        done = self.machine.run("mount", WHERE, check=common.REFUSED)
        self.assertIn("AccessDenied", done.out)

    def test_wrong_lines(self):
        for options, word, code in (
                ("ro,owner-kay=/etc/acme.pub", "unknown option: owner-kay", common.USAGE),
                ("ro,pcr=16", "option pcr=16", common.USAGE),
                ("ro,owner-key=/etc/missing.pub", "/etc/missing.pub", common.FAILURE),
                ("ro,model=missing.gguf", "has no model missing.gguf", common.FAILURE),
                ("ro,key-file=credential:team", "LoadCredential=team", common.USAGE)):
            with self.subTest(options=options):
                self.write_fstab(options)
                self.assert_fails(word)
                self.assertIn(word, self.machine.run("mount", WHERE, check=code).out)

    def test_kill(self):
        """The mount goes at once; what needs it is started anew by hand, and the mount with it."""
        m = self.machine
        self.write_fstab("ro,_netdev")
        m.systemctl("start", UNIT)
        self.assert_right()
        (pid,) = self.daemons()
        m.run("sh", "-c", "kill -KILL " + pid)
        m.wait_until("the unit", lambda: m.is_active(UNIT) == "inactive", SOON_S)
        self.wait_gone()
        self.assert_right()

    def test_stop_with_busy_readers(self):
        """umount(8) refuses, as for every file system, and reading goes on; -l does it."""
        m = self.machine
        self.write_fstab("ro,_netdev")
        m.systemctl("start", UNIT)
        m.run("systemd-run", "--unit=held", "--property=User=ollama",
              "--property=SupplementaryGroups=sealedfs", "sh", "-c",
              f"exec 3<{WHERE}/b.gguf; exec sleep infinity")
        m.wait_until("the reader", lambda: m.run(
            "sh", "-c", "ls -l /proc/$(systemctl show --value -p MainPID held)/fd",
            check=None).out.count("b.gguf"), SOON_S)
        self.assertNotEqual(m.systemctl("stop", UNIT, check=None).code, 0)
        self.assert_status(UNIT, "active (mounted)", "target is busy")
        self.assert_live()
        m.run("umount", "-l", WHERE)
        self.assertFalse(self.is_mounted())
        m.systemctl("stop", "held")
        self.wait_gone()

    def test_reboot_with_busy_readers(self):
        m = self.machine
        self.write_fstab("ro,_netdev,nofail")
        m.systemctl("enable", "--now", "ollama")
        self.assert_read()
        m.run("systemd-run", "--unit=held", "--property=User=ollama",
              "--property=SupplementaryGroups=sealedfs", "sh", "-c",
              f"cd {WHERE}; exec sleep infinity")
        began = float(m.run("cat", "/proc/uptime").out.split()[0])
        self.reboot()
        # Nothing has waited for the 90 s after which systemd gives up.
        self.assertLess(float(m.run("cat", "/proc/uptime").out.split()[0]) - began, 80)
        self.assertEqual(m.wait_started(), "running")
        self.assert_read()


if __name__ == "__main__":
    common.main()
