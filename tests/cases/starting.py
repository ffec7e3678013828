#!/usr/bin/python3
"""What a start takes: threads with the signals blocked, and every resource that may be lacking.

A mount that cannot have what it needs fails with 1 and a message, and nothing stays mounted. It
never hangs, and is never ready without a word when nothing can be read.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time

import common
from common import CHUNK, FAILURE, MIB, OK

SOON_S = 120  # generous: a busy machine; a hang lasts for ever
SILENT_S = 15  # for what may be mounted and cannot be read: it need not end
SIZE = 3 * MIB + 4097
WANTED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Starting(common.Case):
    PARTS = ("s3",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = common.make_model(cls.lab.path("plain", "a.gguf"), SIZE)
        common.make_model(cls.lab.path("plain", "b.gguf"), 2 * CHUNK, 1)
        cls.key = cls.lab.key_file()
        cls.places = {"directory": cls.lab.path("sealed"), "S3": cls.lab.s3_url("models")}
        for place in cls.places.values():
            cls.lab.seal(cls.lab.path("plain"), place, "--key-file", cls.key)
        cls.options = ("key-file=" + cls.key, "attest=none", "measure=none", "ollama=off")

    def stage(self):
        return "stage=" + tempfile.mkdtemp(dir=self.lab.dir) + "/stage"


class Signals(Starting):
    """Of every thread, whoever started it, in every configuration."""

    def configurations(self):
        yield "directory", ()
        yield "directory", ("fill=all",)
        yield "directory", ("ready=unlocked",)
        yield "S3", ()
        yield "S3", (self.stage(),)
        yield "S3", (self.stage(), "stage-size=64M", "fill=all", "ready=unlocked")

    def start(self, place, options, background):
        """(mount point, pid of the daemon, process in the foreground)."""
        path = tempfile.mkdtemp(prefix="mnt.", dir=self.lab.dir)
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=False,
                        stderr=subprocess.DEVNULL)
        argv = [common.SEALEDFS, self.places[place], path, "-o",
                ",".join((*self.options, *options))]
        if background:
            self.assert_result(self.lab.run(*argv, who="operator"), OK)
            process = None
        else:
            process = subprocess.Popen([*argv, "-f"], env=self.lab.env(),
                                       stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(common.end, process, signal.SIGKILL)
            common.wait_for("mount", lambda: common.is_mounted(path), process)
        with open(os.path.join(path, ".sealedfs", "status.json"), encoding="utf-8") as status:
            return path, json.load(status)["pid"], process

    def assert_blocked(self, pid):
        for thread in os.listdir(f"/proc/{pid}/task"):
            status = common.read_text(f"/proc/{pid}/task/{thread}/status")
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            blocked = int(fields["SigBlk"], 16)
            for number in WANTED:
                self.assertTrue(blocked >> (number - 1) & 1,
                                f"thread {fields['Name']} of {len(os.listdir(f'/proc/{pid}/task'))}"
                                f": {number.name} is not blocked")

    def use(self, path):
        """Makes all the threads that there can be."""
        self.assertEqual(common.digest(os.path.join(path, "a.gguf")), common.digest(self.plain))
        common.drop_cache(os.path.join(path, "a.gguf"))
        with common.opened(os.path.join(path, "a.gguf")) as model:
            for at in range(SIZE - 4096, 0, -40960):
                os.pread(model, 4096, at)

    def check(self, background, number):
        for place, options in self.configurations():
            with self.subTest(place=place, options=options):
                path, pid, process = self.start(place, options, background)
                self.assert_blocked(pid)
                self.use(path)
                self.assert_blocked(pid)
                self.assert_result(self.lab.run(common.SEALEDFS, "--reload", path), OK)
                self.use(path)
                self.assert_blocked(pid)
                os.kill(pid, signal.SIGHUP)
                time.sleep(0.3)
                self.use(path)
                os.kill(pid, number)
                common.wait_for("the mount to go", lambda: not common.is_mounted(path),
                                timeout_s=SOON_S)
                if process:
                    expected = 0 if number == signal.SIGTERM else -number
                    self.assertEqual(process.wait(SOON_S), expected)
                else:
                    common.wait_for("the daemon to end",
                                    lambda: not os.path.exists(f"/proc/{pid}/exe"),
                                    timeout_s=SOON_S)

    def test_foreground_told_to_end(self):
        self.check(False, signal.SIGTERM)

    def test_background_told_to_end(self):
        self.check(True, signal.SIGTERM)

    def test_killed(self):
        self.check(False, signal.SIGKILL)

    def test_told_to_end_while_starting(self):
        """Before anything is mounted a signal ends the process as it does by default."""
        with self.lab.s3.fault(match="list-type", kind="stall"):
            for number in WANTED:
                path = tempfile.mkdtemp(prefix="mnt.", dir=self.lab.dir)
                self.lab.s3.clear_log()
                process = subprocess.Popen(
                    [common.SEALEDFS, self.places["S3"], path, "-f", "-o",
                     ",".join((*self.options, self.stage()))], env=self.lab.env(),
                    stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                self.addCleanup(common.end, process, signal.SIGKILL)
                common.wait_for("a request", self.lab.s3.log, process)
                process.send_signal(number)
                self.assertEqual(process.wait(SOON_S), -number)
                self.assertFalse(common.is_mounted(path))


class Lacking(Starting):
    """Either it works, or it fails in words."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.preload = cls.lab.path("no_threads.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", cls.preload,
                        os.path.join(common.CASES, "helpers", "no_threads.c"), "-ldl"], check=True)

    def attempt(self, place, options, prefix=(), extra=None):
        """True: it was mounted. What it could not do, it said."""
        path = tempfile.mkdtemp(prefix="mnt.", dir=self.lab.dir)
        log_path = path + ".log"
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                [*prefix, common.SEALEDFS, self.places[place], path, "-f", "-o",
                 ",".join((*self.options, *options))], env=self.lab.env(extra=extra),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            return self.judge(process, path, log_path)
        finally:
            process.kill()
            process.wait()
            common.wait_for("the mount to go", lambda: not common.is_mounted(path),
                            timeout_s=SOON_S)

    def judge(self, process, path, log_path):
        common.wait_for("an end or a mount", lambda: common.is_mounted(path) or
                        process.poll() is not None, timeout_s=SOON_S)
        # In a process of its own, which may be killed when the mount does not answer.
        done = subprocess.run(["cmp", self.plain, os.path.join(path, "a.gguf")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=SOON_S)
        log = common.read_text(log_path)
        if done.returncode == 0:
            process.terminate()
            self.assertEqual(process.wait(SOON_S), 0, log)
            return True
        self.assertNotIn("differ", done.stdout)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SILENT_S)
        log = common.read_text(log_path)
        self.assertNotEqual(log, "", f"not a word, and {done.stdout}")
        if process.poll() is not None:
            self.assertEqual(process.returncode, FAILURE, log)
            self.assertFalse(common.is_mounted(path), log)
        return process.poll() is None

    def test_threads(self):
        mounted = []
        for place, options in (("directory", ()), ("directory", ("fill=all",)),
                               ("S3", (self.stage(),))):
            for how in ("FAIL_AT", "FAIL_FROM"):
                for count in range(1, 13):
                    with self.subTest(place=place, options=options, how=how, count=count):
                        mounted.append(self.attempt(place, options, extra={
                            "LD_PRELOAD": self.preload, how: str(count)}))
        self.assertIn(True, mounted)
        self.assertIn(False, mounted)

    def test_descriptors(self):
        mounted = []
        for place, options in (("directory", ()), ("S3", (self.stage(),))):
            for count in (*range(5, 24), 64, 127, 128):  # with fewer no program can be loaded
                with self.subTest(place=place, count=count):
                    mounted.append(self.attempt(place, options,
                                                ("prlimit", f"--nofile={count}", "--")))
        self.assertIn(True, mounted)
        self.assertIn(False, mounted)

    def test_memory(self):
        """Address space, as the least that a test can limit."""
        mounted = []
        for mib in (100, 500, 800, 1000, 1200, 4000):
            with self.subTest(mib=mib):
                mounted.append(self.attempt("directory", ("memory=64M",), (
                    "prlimit", f"--as={mib * MIB}", "--")))
        self.assertIn(True, mounted)
        self.assertIn(False, mounted)

    def test_file_sizes(self):
        """A limit of the size of files: nothing is staged, or nothing is mounted, and no signal kills."""
        for size in (0, 1, 4096, MIB, 9 * MIB):
            for more in ((), ("fill=all", "ready=unlocked")):
                with self.subTest(size=size, more=more):
                    self.assertTrue(self.attempt("S3", (self.stage(), *more), (
                        "prlimit", f"--fsize={size}", "--")))

    def test_processes(self):
        """A container's limit on processes."""
        group = f"/sys/fs/cgroup/pids/sealedfs-start-{os.getpid()}"
        if not os.path.exists("/sys/fs/cgroup/pids"):
            group = f"/sys/fs/cgroup/sealedfs-start-{os.getpid()}"
        try:
            os.mkdir(group)
        except OSError as failure:
            self.skipTest(f"no control group may be made here: {failure}")
        self.addCleanup(os.rmdir, group)
        if not os.path.exists(group + "/pids.max"):
            self.skipTest("no control group may limit processes here")
        for count in (*range(1, 10), 64):
            with self.subTest(count=count):
                with open(group + "/pids.max", "w", encoding="ascii") as limit:
                    limit.write(str(count))
                mounted = self.attempt("directory", (), (
                    "/bin/sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"))
                common.wait_for("the group to be empty", lambda: not common.read_text(
                    group + "/cgroup.procs"), timeout_s=SOON_S)
        self.assertTrue(mounted)


if __name__ == "__main__":
    common.main()
