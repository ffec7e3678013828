#!/usr/bin/python3
"""sealctl doctor on the tree of a system: each finding in a tree that has it, and in none that does not.

The healthy tree has no finding; each case changes one thing, and that one finding appears. Drives tools/doctor.
"""

import glob
import os
import re

import common
from common_doctor import TreeCase

# What a user mounts; no key is read.
MOUNT = ("models", "-o", "allow_other,measure=none,key-file=/nowhere")


class Healthy(TreeCase):
    def test_nothing_is_found(self):
        for more in ((), MOUNT):
            found, report = self.look(*more, expect=())
            self.assertEqual((found, report["findings"]), ({}, []))

    def test_what_it_says(self):
        """For people: each finding in three lines, and what was not looked at."""
        self.write("proc/swaps", "Filename Type Size\n/dev/sda2 partition 1\n")
        done = self.lab.sealctl("doctor", "--root", self.tree, expect=common.FAILURE)
        lines = done.out.splitlines()
        self.assertEqual(lines[0], "swap: swap is in use: /dev/sda2")
        self.assertTrue(lines[1].startswith("  why:  ") and lines[2].startswith("  mend: "), lines)
        self.assertIn("Not looked at:", lines)
        self.assertIn("1 finding", done.err)

    def test_an_empty_tree(self):
        """Nothing to look at is no finding, and is said."""
        empty = self.lab.path("empty", make=True)
        _, report = self.doctor("--root", empty, expect=())
        unseen = " ".join(entry["what"] for entry in report["not_looked_at"])
        for word in ("FUSE", "swap", "cores", "services", "passwords", "lockdown"):
            self.assertIn(word, unseen)

    def test_links_do_not_lead_out(self):
        """/etc/shadow of the tree is a link; this machine's would have been read."""
        self.remove("etc/fuse.conf")
        self.link("etc/fuse.conf", "/elsewhere/fuse.conf")
        self.look(*MOUNT, expect=["allow-other"])
        self.write("elsewhere/fuse.conf", "user_allow_other\n")
        self.look(*MOUNT, expect=())
        outside = self.lab.path("outside")
        with open(outside, "w", encoding="ascii") as out:
            out.write("user_allow_other\n")
        self.remove("etc/fuse.conf")
        self.link("etc/fuse.conf", "../../" * 20 + outside)
        self.look(*MOUNT, expect=["allow-other"])

    def test_hostile_text(self):
        self.write("proc/swaps", "Filename\n/dev/\x1b[31mred partition 1\n")
        done = self.lab.sealctl("doctor", "--root", self.tree, expect=common.FAILURE)
        self.assertNotIn("\x1b", done.out)

    def test_the_manual_names_each(self):
        table = common.read_text(os.path.join(common.TOP, "tools", "doctor", "findings.c"))
        names = set(re.findall(r'\{"([a-z0-9-]+)",', table))
        self.assertGreater(len(names), 20)
        page = common.read_text(os.path.join(common.TOP, "tools", "man", "sealctl.1.scd"))
        section = re.search(r"^# DOCTOR\n(.*?)^# ", page, re.S | re.M)[1]
        self.assertEqual(names - set(re.findall(r"\*([a-z0-9-]+)\*", section)), set())
        # And a case of each has it.
        files = [*glob.glob(os.path.join(common.CASES, "doctor_*.py")),
                 os.path.join(common.CASES, "set_oms.py")]
        cases = "".join(map(common.read_text, files))
        self.assertEqual({name for name in names if not re.search(f'"{name}[":]', cases)}, set())

    def test_usage(self):
        for argv in (("a", "b"), ("-o", "measure=none"), ("x.conf", "-o", "measure=none"),
                     ("--root", "/nowhere/at/all"), ("models", "-o", "owner-kay=x")):
            self.lab.sealctl("doctor", *argv, expect=common.USAGE)


class Fuse(TreeCase):
    def test_no_fuse(self):
        self.write("proc/filesystems", "nodev\tproc\nnodev\tfusectl\n\tfuseblk\n")
        self.look(expect=["fuse-missing"])

    def test_no_device(self):
        self.remove("dev/fuse")
        self.look(expect=["fuse-missing"])

    def test_access(self):
        self.write("dev/fuse", mode=0o600)
        self.look(expect=["fuse-access"])

    def test_pages(self):
        self.write("proc/sys/fs/fuse/max_pages_limit", "32\n")
        found, _ = self.look(expect=["fuse-pages"])
        self.assertIn("32", found["fuse-pages"][0]["what"])
        self.remove("proc/sys/fs/fuse/max_pages_limit")  # before Linux 6.13
        self.look(expect=())

    def test_mounts(self):
        self.write("etc/fuse.conf", "mount_max = 1\nuser_allow_other\n")
        self.look(*MOUNT, expect=["fuse-mounts"])
        self.look(expect=())
        self.write("etc/fuse.conf", "mount_max = 2\nuser_allow_other\n")
        self.look(*MOUNT, expect=())

    def test_allow_other(self):
        self.write("etc/fuse.conf", "#user_allow_other\n")
        self.look(*MOUNT, expect=["allow-other"])
        self.look("models", "-o", "measure=none,key-file=/nowhere", expect=())

    def test_a_service_needs_neither(self):
        self.write("etc/fuse.conf", "")
        self.remove("usr/bin/fusermount3")
        path = self.lab.path("x.conf")
        with open(path, "w", encoding="ascii") as out:
            out.write("source = /models\nallow_other = yes\nmeasure = none\n"
                      "key-file = credential:team\n")
        self.look(path, expect=())

    def test_fusermount(self):
        self.write("usr/bin/fusermount3", mode=0o755)
        self.look(*MOUNT, expect=["fusermount"])
        self.remove("usr/bin/fusermount3")
        self.look(*MOUNT, expect=["fusermount"])


class Memory(TreeCase):
    def test_swap(self):
        heading = "Filename\tType\tSize\tUsed\tPriority\n"
        self.write("proc/swaps", heading + "/dev/nvme0n1p3 partition 1000 0 -2\n/swap file 5 0 -3\n")
        found, _ = self.look(expect=["swap"])
        self.assertEqual(len(found["swap"]), 2)
        self.write("proc/swaps", heading + "/dev/zram0 partition 1000 0 100\n")
        self.look(expect=())

    def test_encrypted_swap(self):
        self.write("proc/swaps", "Filename\n/dev/dm-1 partition 1000 0 -2\n")
        self.write("sys/class/block/dm-1/dm/uuid", "CRYPT-PLAIN-swap\n")
        self.look(expect=())
        self.write("sys/class/block/dm-1/dm/uuid", "LVM-abc\n")
        self.look(expect=["swap"])

    def test_swap_configured(self):
        self.write("etc/fstab", "UUID=1-2  none\tswap sw 0 0\n")
        self.look(expect=["swap-configured"])
        self.write("etc/fstab", "/dev/mapper/swap none swap sw 0 0\n")
        self.look(expect=())

    def test_hibernation(self):
        self.write("sys/power/resume", "259:3\n")
        self.look(expect=["hibernation"])
        self.write("sys/power/disk", "[disabled]\n")
        self.look(expect=())

    def test_hibernation_by_command_line(self):
        self.write("proc/cmdline", "root=x resume=/dev/sda2 lockdown=integrity\n")
        self.look(expect=["hibernation"])
        self.write("sys/power/state", "freeze mem\n")
        self.look(expect=())

    def test_core_pattern(self):
        self.write("proc/sys/kernel/core_pattern", "|/usr/share/apport/apport %p\n")
        self.look(expect=["core-pattern"])
        self.write("proc/sys/kernel/core_pattern", "|/bin/false\n")
        self.look(expect=())

    def test_coredump(self):
        self.write("proc/sys/kernel/core_pattern", "|/lib/systemd/systemd-coredump %P\n")
        self.look(expect=())
        self.write("etc/systemd/coredump.conf", "[Coredump]\n#Storage=none\n")
        self.look(expect=["core-pattern"])

    def test_huge_pages(self):
        self.write("proc/meminfo", "MemTotal: 1000000 kB\nHugePages_Total: 300\nHugepagesize: 2048 kB\n")
        self.look(expect=["huge-pages"])

    def test_io_limit(self):
        dropin = "etc/systemd/system/sealedfs@.service.d/slow.conf"
        self.write(dropin, "[Service]\nIOReadBandwidthMax=/ 10M\n")
        found, _ = self.look(expect=["io-limit"])
        self.assertIn("10M", found["io-limit"][0]["what"])
        self.write(dropin, "[Service]\nIOReadBandwidthMax=\nMemoryMax=1G\n")
        self.look(expect=())
        self.write("sys/fs/cgroup/system.slice/io.max", "259:0 rbps=1000 wbps=max riops=max wiops=max\n")
        self.look(expect=["io-limit"])

    def test_io_limit_of_one_mount(self):
        path = self.lab.path("models.conf")
        with open(path, "w", encoding="ascii") as out:
            out.write("source = /models\nmeasure = none\nkey-file = /nowhere\n")
        self.write("etc/systemd/system/sealedfs@models.service.d/slow.conf", "[Service]\nIOReadIOPSMax=/ 1\n")
        self.look(path, expect=["io-limit"])
        self.look(expect=())

    def test_clock_service(self):
        self.remove("usr/lib/systemd/system/chrony.service")
        self.look(expect=["clock-service"])
        self.write("usr/lib/systemd/system/systemd-timesyncd.service", "[Service]\n")
        self.look(expect=())
        self.link("etc/systemd/system/systemd-timesyncd.service", "/dev/null")
        self.look(expect=["clock-service"])


class Image(TreeCase):
    def test_ssh(self):
        self.write("usr/lib/systemd/system/ssh.service", "[Service]\n")
        self.look(expect=["login-ssh"])
        self.link("etc/systemd/system/ssh.service", "/dev/null")
        self.look(expect=())

    def test_getty(self):
        self.remove("etc/systemd/system/getty@.service")
        self.look(expect=["login-getty"])
        self.remove("usr/lib/systemd/system/getty@.service")
        self.look(expect=())
        self.write("usr/lib/systemd/system/serial-getty@.service", "[Service]\n")
        self.look(expect=["login-getty"])

    def test_ssm(self):
        self.write("etc/systemd/system/amazon-ssm-agent.service", "[Service]\n")
        self.look(expect=["login-ssm"])

    def test_instance_connect(self):
        self.write("opt/aws/bin/eic_run_authorized_keys", "#!/bin/sh\n")
        self.look(expect=["login-instance-connect"])

    def test_password(self):
        self.write("etc/shadow", "root:$y$j9T$abc:19000::::::\nguest::19000::::::\nsys:*:1::::::\n")
        found, report = self.look(expect=["login-password"])
        self.assertEqual(len(found["login-password"]), 2)
        self.assertNotIn("j9T", str(report))

    def test_lockdown(self):
        self.write("sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
        self.look(expect=["lockdown"])

    def test_lockdown_by_command_line(self):
        self.remove("sys/kernel/security/lockdown")
        self.look(expect=())
        self.write("proc/cmdline", "root=x\n")
        self.look(expect=["lockdown"])

    def test_only_of_an_image(self):
        """A machine on which people log in is no finding, unless it is to be attestable."""
        live, _ = self.doctor()
        self.assertFalse([name for name in live if name.startswith("login-") or name == "lockdown"])
        claimed, report = self.doctor("--attestable")
        self.assertTrue(os.path.exists("/etc/shadow"))
        self.assertTrue("lockdown" in claimed or os.path.exists("/sys/kernel/security/lockdown")
                        or "lockdown=" in common.read_text("/proc/cmdline"), report)


if __name__ == "__main__":
    common.main()
