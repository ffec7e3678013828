#!/usr/bin/python3
"""How the programs start and stop for the people who call them: whatever descriptors they get, on
a terminal of 80 columns, and in a shell's loop."""

import itertools
import os
import pty
import select
import signal
import subprocess

import common

COLUMNS = 80
CLOSE = ("<&-", ">&-", "2>&-")


class Descriptors(common.Case):
    """Standard descriptors that are closed: their numbers go to nothing else."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = common.make_model(cls.lab.path("plain", "m.bin"), 700000, 1)
        cls.key, cls.source = cls.lab.key_file(), cls.lab.path("sealed")
        cls.lab.seal(cls.lab.path("plain"), cls.source, "--key-file", cls.key)

    def combinations(self):
        return [closed for n in range(4) for closed in itertools.combinations(CLOSE, n)]

    def shell(self, closed, *argv):
        """The exit code of argv with these descriptors closed."""
        return subprocess.run(["sh", "-c", '"$@" ' + " ".join(closed), "sh", *argv], timeout=60,
                              env=self.lab.env(), stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

    def test_mount_in_the_background(self):
        where = self.lab.path("mnt", make=True)
        for closed in self.combinations():
            with self.subTest(closed=closed):
                code = self.shell(closed, common.SEALEDFS, self.source, where, "-o",
                                  f"key-file={self.key},attest=none,measure=none")
                try:
                    self.assertEqual(code, 0)
                    self.assertTrue(common.is_mounted(where))
                    self.assertEqual(common.digest(os.path.join(where, "m.bin")),
                                     common.digest(self.plain))
                finally:
                    subprocess.run(["umount", where], check=False, stderr=subprocess.DEVNULL)

    def test_sealctl(self):
        seal = os.path.join(self.source, "m.bin.seal")
        for closed in self.combinations():
            with self.subTest(closed=closed):
                # What cannot be printed is a failure, as it is for cat.
                lost = ">&-" in closed
                self.assertEqual(self.shell(closed, common.SEALCTL, "inspect", seal), int(lost))
                dest = self.lab.path("dest" + "".join(filter(str.isdigit, repr(closed))))
                code = self.shell(closed, common.SEALCTL, "seal", "-q", self.plain, dest,
                                  "--key-file", self.key)
                self.assertEqual(code, 0)
                self.lab.sealctl("check", dest, "--key-file", self.key, expect=0)
        self.assertEqual(self.shell(("<&-",), common.SEALCTL, "hash", "-"), 1)


class Mounting(common.Case):
    """What is told while it mounts."""

    PARTS = ("s3",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        common.make_model(cls.lab.path("plain", "m.bin"), 5000, 1)
        cls.key, cls.source = cls.lab.key_file("mounting"), cls.lab.path("sealed.mounting")
        cls.lab.seal(cls.lab.path("plain"), cls.source, "--key-file", cls.key)

    def options(self, *more):
        return ",".join((f"key-file={self.key}", "attest=none", *more))

    def test_a_silent_server_on_a_terminal(self):
        where = self.lab.path("mnt.silent", make=True)
        ours, theirs = pty.openpty()
        with self.lab.s3.fault(match="GET .*list-type", kind="stall"):
            process = subprocess.Popen(
                [common.SEALEDFS, self.lab.s3_url("silent"), where, "-f", "-o",
                 self.options("measure=none")], env=self.lab.env(), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=theirs)
            os.close(theirs)
            text = b""
            while b"Reading the listing of s3://" not in text:
                self.assertTrue(select.select([ours], [], [], 120)[0], text)
                text += os.read(ours, 4096)
            process.terminate()
            process.wait(120)
        os.close(ours)

    def test_not_empty(self):
        where = self.lab.path("mnt.full", make=True)
        with open(os.path.join(where, "mine"), "w", encoding="ascii"):
            pass
        done = self.lab.run(common.SEALEDFS, self.source, where, "-o", self.options("measure=none"))
        try:
            self.assertEqual(done.code, 0, done.err)
            self.assertIn("is not empty", done.err)
        finally:
            subprocess.run(["umount", where], check=False)

    def test_a_mount_that_can_open_nothing(self):
        """No TPM, and measuring: told at once, with the way out."""
        if os.path.exists("/dev/tpm0") or os.path.exists("/dev/tpmrm0"):
            self.skipTest("this machine has a TPM")
        for tcti, missing in (("", "/dev/tpmrm0"), ("device:/dev/tpm-none", "/dev/tpm-none")):
            self.no_tpm(tcti, missing)

    def no_tpm(self, tcti, missing):
        where = self.lab.path("mnt.no-tpm", make=True)
        process = subprocess.Popen([common.SEALEDFS, self.source, where, "-f", "-o",
                                    self.options("event-log=" + self.lab.path("events"))],
                                   env={**self.lab.env(), "SEALEDFS_TCTI": tcti}, text=True,
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            common.wait_for("the mount", lambda: common.is_mounted(where), process)
            self.assert_io_error(os.path.join(where, "m.bin"))
        finally:
            process.terminate()
            _, err = process.communicate(timeout=120)
        self.assertIn(f"no {missing}): no model can be opened; without one, mount with "
                      "measure=none", err)

    def test_no_fuse(self):
        """As in a container without the device."""
        where = self.lab.path("mnt.no-fuse", make=True)
        script = ("mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && "
                  "mknod -m 666 /dev/urandom c 1 9 && exec \"$@\"")
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", common.SEALEDFS,
                               self.source, where, "-f", "-o", self.options("measure=none")],
                              env=self.lab.env(), text=True, stdin=subprocess.DEVNULL, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("/dev/fuse", done.stdout)
        self.assertIn("--device /dev/fuse", done.stdout)


class Help(common.Case):
    """Texts that fit."""

    def text(self, *argv):
        return subprocess.run(argv, check=True, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, encoding="utf-8").stdout

    def verbs(self):
        lines = self.text(common.SEALCTL, "--help").split("\nVerbs:\n")[1].split("\n\n")[0]
        return [line.split()[0] for line in lines.splitlines()]

    def test_width(self):
        texts = {"sealedfs": self.text(common.SEALEDFS, "--help"),
                 "sealctl": self.text(common.SEALCTL, "--help")}
        texts.update({verb: self.text(common.SEALCTL, verb, "--help") for verb in self.verbs()})
        self.assertGreaterEqual(len(texts), 10)
        for name, text in texts.items():
            for line in text.splitlines():
                self.assertLessEqual(len(line), COLUMNS, f"{name}: {line}")
                self.assertEqual(line, line.rstrip(), name)

    def test_help_of_a_verb(self):
        for verb in self.verbs():
            self.assertEqual(self.text(common.SEALCTL, "help", verb),
                             self.text(common.SEALCTL, verb, "--help"))
        self.assertEqual(self.text(common.SEALCTL, "help"), self.text(common.SEALCTL, "--help"))
        done = self.lab.sealctl("help", "fly")
        self.assert_result(done, common.USAGE, 'unknown verb "fly"')

    def test_first_commands(self):
        """What the README's first commands print."""
        self.lab.path("first", make=True)
        for argv in (("keygen", "owner", "first/acme"), ("keygen", "key-file", "first/team.key")):
            done = subprocess.run([common.SEALCTL, *argv], cwd=self.lab.dir, text=True, check=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            for line in done.stdout.splitlines():
                self.assertLessEqual(len(line), COLUMNS, line)


def running(words):
    """True when a process with these arguments waits for signals: sealctl blocks them."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line, \
                    open(f"/proc/{pid}/status", encoding="utf-8") as status:
                if (line.read().replace(b"\0", b" ").decode(errors="replace").startswith(
                        common.SEALCTL + " " + words)):
                    blocked = [n for n in status if n.startswith("SigBlk:")][0]
                    return int(blocked.split()[1], 16) >> (signal.SIGINT - 1) & 1 == 1
        except OSError:
            pass
    return False


class Interrupted(common.Case):
    """Ctrl-C in a shell's loop ends the loop: the program dies of the signal, after cleaning up."""

    def loop(self, script, ready, **how):
        """Runs a loop of three; interrupts its process group when ready() holds; its output."""
        process = subprocess.Popen(["bash", "-c", f'for i in 1 2 3; do echo "round $i"; {script}; '
                                    'done; echo over'], start_new_session=True, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   stdin=subprocess.PIPE, env=self.lab.env(), **how)
        common.wait_for("the loop to run", ready, process)
        os.killpg(process.pid, signal.SIGINT)
        out = process.stdout.read()
        process.stdin.close()
        self.assertEqual(process.wait(60), -signal.SIGINT, out)
        process.stdout.close()
        self.assertNotIn("round 2", out)
        self.assertNotIn("over", out)
        return out

    def test_sealctl(self):
        dest = self.lab.path("dest")
        key = self.lab.key_file("loop")
        out = self.loop(f"{common.SEALCTL} seal - {dest} --name m --key-file {key}",
                        lambda: running("seal - " + dest))
        self.assertIn("interrupted by SIGINT", out)
        self.assertEqual(os.listdir(dest) if os.path.isdir(dest) else [], [])

    def test_daemon_in_the_foreground(self):
        common.make_model(self.lab.path("plain", "m.bin"), 5000, 1)
        key, source = self.lab.key_file(), self.lab.path("sealed")
        self.lab.seal(self.lab.path("plain"), source, "--key-file", key)
        where = self.lab.path("mnt", make=True)
        self.loop(f"{common.SEALEDFS} {source} {where} -f -o key-file={key},attest=none,"
                  "measure=none", lambda: common.is_mounted(where))
        self.assertFalse(common.is_mounted(where))


if __name__ == "__main__":
    common.main()
