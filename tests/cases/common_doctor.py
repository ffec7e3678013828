"""What the cases of `sealctl doctor` share: the tree of a system in which nothing is to be found."""

import json
import os
import shutil

import common

MASKED = "/dev/null"
HEALTHY = {
    "proc/filesystems": "nodev\tproc\nnodev\tfuse\nnodev\tfusectl\n",
    "proc/self/mounts": "/dev/root / ext4 rw 0 0\nsomething /mnt fuse.other rw 0 0\n",
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "proc/meminfo": "MemTotal: 1000000 kB\nHugePages_Total: 10\nHugepagesize: 2048 kB\n",
    "proc/cmdline": "root=/dev/dm-0 lockdown=integrity\n",
    "proc/sys/fs/fuse/max_pages_limit": "256\n",
    "proc/sys/kernel/core_pattern": "core\n",
    "dev/fuse": "",
    "etc/fstab": "# swap was on /dev/sda2\n/dev/dm-0 / ext4 ro 0 0\n",
    "etc/fuse.conf": "mount_max = 1000\nuser_allow_other\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\nsealedfs:!:19000::::::\n",
    "etc/systemd/coredump.conf": "[Coredump]\nStorage=none\n",
    "usr/bin/fusermount3": "",
    "usr/lib/systemd/system/chrony.service": "[Service]\n",
    "usr/lib/systemd/system/getty@.service": "[Service]\n",
    "sys/power/state": "freeze mem disk\n",
    "sys/power/disk": "[platform] shutdown\n",
    "sys/power/resume": "0:0\n",
    "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
}
MODES = {"dev/fuse": 0o666, "usr/bin/fusermount3": 0o4755}
LINKS = {"etc/systemd/system/getty@.service": MASKED}


class DoctorCase(common.Case):
    """Runs sealctl doctor and reads what it says."""

    def doctor(self, *argv, expect=None, **how):
        """{id: [finding]} and the whole report."""
        done = self.lab.sealctl("doctor", "--json", *argv, **how)
        report = json.loads(done.out)
        self.assertIn("findings", report, done.out + done.err)
        found = {}
        for finding in report["findings"]:
            for name in ("what", "why", "mend", "group"):
                self.assertTrue(finding[name], finding)
            found.setdefault(finding["id"], []).append(finding)
        self.assertEqual(done.code, common.FAILURE if found else common.OK, done.out + done.err)
        if expect is not None:
            self.assertEqual(sorted(found), sorted(expect), done.out)
        return found, report


class TreeCase(DoctorCase):
    """A case changes the tree; the next one has it as it was."""

    def setUp(self):
        super().setUp()
        self.tree = self.lab.path("tree")
        shutil.rmtree(self.tree, ignore_errors=True)
        for path, text in HEALTHY.items():
            self.write(path, text, MODES.get(path, 0o644))
        for path, target in LINKS.items():
            self.link(path, target)

    def write(self, path, text="", mode=0o644):
        full = os.path.join(self.tree, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="ascii") as out:
            out.write(text)
        os.chmod(full, mode)

    def link(self, path, target):
        full = os.path.join(self.tree, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        os.symlink(target, full)

    def remove(self, path):
        full = os.path.join(self.tree, path)
        (shutil.rmtree if os.path.isdir(full) else os.unlink)(full)

    def look(self, *argv, expect):
        """What is found in the tree: these findings, and no other."""
        return self.doctor("--root", self.tree, *argv, expect=expect)
