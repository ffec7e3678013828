#!/usr/bin/python3
"""sealctl doctor on this machine: what only a running system shows. Drives tools/doctor, fs/mount.

Other findings of the machine that runs the tests may be there.
"""

import os
import signal
import subprocess

import common
from common_doctor import DoctorCase

NOBODY = 65534


class StaleMount(DoctorCase):
    def test_stale_mount(self):
        key = self.lab.key_file("stale")
        self.lab.seal(common.make_model(self.lab.path("plain", "m.gguf"), 1000),
                      self.lab.path("sealed", make=True), "--key-file", key)
        mount = self.lab.start_mount(self.lab.path("sealed"), f"key-file={key}", "measure=none")
        self.assertNotIn(mount.path, self.stale())
        with open(f"/proc/{mount.pid}/task/{mount.pid}/children", encoding="ascii") as children:
            processes = [*map(int, children.read().split()), mount.pid]
        self.assertEqual(len(processes), 2)
        # Together, or one would unmount for the other.
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        mount.process.wait()
        mount.ended = True
        self.assertIn(mount.path, self.stale())
        subprocess.run(["umount", mount.path], check=True)
        self.assertNotIn(mount.path, self.stale())

    def stale(self):
        found, _ = self.doctor()
        return " ".join(each["what"] for each in found.get("stale-mount", []))


class Memlock(DoctorCase):
    # 64 kB for whoever may not raise it.
    LOW = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--inh-caps=-all",
           "prlimit", "--memlock=65536:65536")

    def run_as_nobody(self, *argv):
        return self.lab.run(*self.LOW, common.SEALCTL, "doctor", *argv)

    def test_memlock(self):
        options = "key-file=/nowhere,measure=none,memory=64M"
        done = self.run_as_nobody("models", "-o", options)
        self.assertEqual(done.code, common.FAILURE, done.err)
        self.assertIn("memlock: 64 kB can be locked", done.out)
        # The unit has no limit, and without a mount nothing is to be locked.
        path = self.lab.path("models.conf")
        with open(path, "w", encoding="ascii") as out:
            out.write("source = /models\nmeasure = none\nkey-file = /nowhere\n")
        os.chmod(self.lab.dir, 0o755)
        for argv in ((), (path,)):
            self.assertNotIn("memlock", self.run_as_nobody(*argv).out)
        # Where the tests may raise the limit.
        done = self.lab.run("prlimit", "--memlock=unlimited:unlimited", common.SEALCTL, "doctor", "models",
                            "-o", options)
        self.assertNotIn("memlock:", done.out)


class Unprivileged(DoctorCase):
    def test_it_says_what_it_could_not_see(self):
        done = self.lab.run(*Memlock.LOW, common.SEALCTL, "doctor", "--attestable")
        self.assertIn(done.code, (common.OK, common.FAILURE))
        self.assertIn("Not looked at:\n", done.out)
        self.assertIn("passwords: /etc/shadow: Permission denied", done.out)


if __name__ == "__main__":
    common.main()
