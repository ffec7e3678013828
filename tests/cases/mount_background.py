#!/usr/bin/python3
"""The daemon of a mount in the background: how it starts, what it leaves, who it is."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import unittest

import common
from common import FAILURE, NOT_AUTHENTIC, OK, REFUSED, USAGE
from mount import Local


class Background(Local):
    """As mount(8) and people start it."""

    def daemon_of(self, point):
        """Process ids of daemons that serve point; none is left over by a failed start."""
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{entry}/cmdline", "rb") as cmdline:
                    argv = cmdline.read().split(b"\0")
                if argv[0] == common.SEALEDFS.encode() and point.encode() in argv:
                    found.append(int(entry))
        return found

    def start(self, source, *options, **how):
        point = self.lab.path("mnt." + self.id().split(".")[-1], make=True)
        return point, self.lab.run(common.SEALEDFS, source, point, "-o", ",".join(options), **how)

    def wait_until_gone(self, point):
        common.wait_for("the daemon to end", lambda: not self.daemon_of(point))

    def test_returns_when_ready(self):
        # run() waits until nobody holds its pipes: the daemon must let go of them.
        point, result = self.start(self.source, *self.options())
        self.assert_result(result, OK)
        self.assertEqual(result.out, "")
        for line in result.err.splitlines():  # the models are no GGUF, and auto shows a store
            self.assertIn("is not in the Ollama store", line)
        (pid,) = self.daemon_of(point)
        self.assertEqual(sorted(os.listdir(point)), ["a.gguf", "deep", "ollama"])
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        self.assertEqual([os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)],
                         ["/dev/null"] * 3)
        limits = common.read_text(f"/proc/{pid}/limits")
        self.assertRegex(limits, r"Max core file size +0 +0")
        subprocess.run(["umount", point], check=True)
        self.wait_until_gone(point)

    def test_relative_paths(self):
        point = self.lab.path("mnt.relative", make=True)
        done = subprocess.run(
            [common.SEALEDFS, "sealed", "mnt.relative", "-o",
             f"key-file={os.path.basename(self.key)},attest=none,measure=none"],
            cwd=self.lab.dir, env=self.lab.env(), check=False, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(common.digest(os.path.join(point, "a.gguf")),
                         common.digest(self.lab.path("plain", "a.gguf")))
        self.assertTrue(common.is_mounted(point))
        subprocess.run(["umount", point], check=True)
        self.wait_until_gone(point)

    def test_complaints_at_mount_reach_the_terminal(self):
        source = self.copy()
        os.rename(os.path.join(source, "a.gguf.seal"), os.path.join(source, "z.gguf.seal"))
        point, result = self.start(source, *self.options())
        self.assert_result(result, OK, "z.gguf.seal", "stored under another name")
        subprocess.run(["umount", point], check=True)
        self.wait_until_gone(point)

    def assert_fails(self, code, *words, source=None, options=None):
        point, result = self.start(source or self.source, *(options or self.options()))
        self.assert_result(result, code, *words)
        self.assertEqual(result.err.count("\n"), 1, result.err)
        self.assertFalse(common.is_mounted(point))
        self.wait_until_gone(point)

    def test_exit_codes(self):
        _, public = self.lab.owner_key()
        other = self.lab.key_file("other")
        options = self.options("ready=unlocked", "ollama=off")
        self.assert_fails(NOT_AUTHENTIC, "unsigned", options=(*options, "owner-key=" + public))
        self.assert_fails(REFUSED, "no recipient", options=(
            "key-file=" + other, "attest=none", "measure=none", "ready=unlocked", "ollama=off"))
        self.assert_fails(FAILURE, "no-such-folder", source=self.lab.path("no-such-folder"))
        self.assert_fails(FAILURE, "no-such-key", options=(
            "key-file=/no-such-key", "attest=none", "measure=none"))
        self.assert_fails(USAGE, "unknown option", "owner-kay", options=(
            *options, "owner-kay=" + public))

    def test_mount_points_that_are_none(self):
        for point, words in ((self.lab.path("nowhere"), ("nowhere", "mkdir")),
                             (self.key, (self.key, "not a directory"))):
            done = self.lab.run(common.SEALEDFS, self.source, point, "-o",
                                ",".join(self.options()))
            self.assert_result(done, FAILURE, *words)

    def test_killed_daemon_leaves_no_dead_mount(self):
        mount = self.lab.start_mount(self.source, *self.options())
        held = os.open(mount.join("a.gguf"), os.O_RDONLY)
        mount.kill()
        with contextlib.suppress(OSError):
            os.close(held)  # there is nobody left to tell
        self.assertEqual(os.listdir(mount.path), [])

    def test_dead_mount_is_taken_away(self):
        """Daemon and keeper killed together; the next daemon cleans up after them."""
        mount = self.lab.start_mount(self.source, *self.options())
        keepers = self.keepers_of(mount.pid)
        self.assertEqual(len(keepers), 1)
        for pid in (*keepers, mount.pid):
            os.kill(pid, signal.SIGSTOP)
        for pid in (*keepers, mount.pid):
            os.kill(pid, signal.SIGKILL)
        mount.process.wait()
        with self.assertRaises(OSError) as dead:
            os.listdir(mount.path)
        self.assertEqual(dead.exception.errno, errno.ENOTCONN)
        done = self.lab.run(common.SEALEDFS, self.source, mount.path, "-o",
                            ",".join(self.options()))
        self.assert_result(done, OK, "removed a mount whose daemon had ended")
        self.assertEqual(sorted(os.listdir(mount.path)), ["a.gguf", "deep", "ollama"])
        subprocess.run(["umount", mount.path], check=True)
        self.wait_until_gone(mount.path)
        mount.ended = True

    def keepers_of(self, pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return list(map(int, children.read().split()))

    def test_unmount_takes_dead_mounts_only(self):
        with self.lab.mount(self.source, *self.options()) as mount:
            done = self.lab.run(common.SEALEDFS, "--unmount", mount.path)
            self.assert_result(done, FAILURE, "running daemon", "umount")
            self.assertTrue(common.is_mounted(mount.path))
            for pid in self.keepers_of(mount.pid):
                os.kill(pid, signal.SIGKILL)
            mount.process.kill()
            mount.process.wait()
            self.assertTrue(common.is_mounted(mount.path))
            self.assert_result(self.lab.run(common.SEALEDFS, "--unmount", mount.path), OK)
            self.assertFalse(common.is_mounted(mount.path))
            mount.ended = True
        for nothing in (mount.path, self.lab.path("nowhere")):
            self.assert_result(self.lab.run(common.SEALEDFS, "--unmount", nothing), OK)

    def start_slowly(self, path):
        """A daemon that has looked at its mount point and waits for its key: (process, pipe)."""
        pipe = self.lab.path("key.pipe")
        os.mkfifo(pipe, 0o600)
        self.addCleanup(os.unlink, pipe)
        process = subprocess.Popen(
            [common.SEALEDFS, self.source, path, "-f", "-o", "key-file=" + pipe
             + ",attest=none,measure=none"], env=self.lab.env(), stdin=subprocess.DEVNULL)
        self.addCleanup(common.end, process)
        common.wait_for("the keeper", lambda: self.keepers_of(process.pid), process)
        return process, pipe

    def test_mount_point_exchanged_before_the_mount(self):
        """Checked and mounted on by descriptor: a link in its place leads nowhere."""
        victim = self.lab.path("victim", make=True)
        with open(os.path.join(victim, "own"), "w", encoding="ascii"):
            pass
        path, moved = self.lab.path("swap", "mnt", make=True), self.lab.path("swap", "moved")
        process, pipe = self.start_slowly(path)
        os.rename(path, moved)
        os.symlink(victim, path)
        with open(pipe, "wb") as out:
            out.write(common.read_bytes(self.key))
        common.wait_for("the mount", lambda: common.is_mounted(moved), process)
        self.assertEqual(os.listdir(victim), ["own"])
        self.assertFalse(common.is_mounted(victim))
        common.wait_for("a listing", lambda: "a.gguf" in os.listdir(moved), process)
        process.terminate()
        self.assertEqual(process.wait(120), 0)
        self.assertFalse(common.is_mounted(moved))

    def test_only_our_own_mount_is_taken_away(self):
        """Renamed directories are followed; what others put on top or in its place stays."""
        path = self.lab.path("before", "mnt", make=True)
        process, pipe = self.start_slowly(path)
        with open(pipe, "wb") as out:
            out.write(common.read_bytes(self.key))
        common.wait_for("the mount", lambda: common.is_mounted(path), process)
        common.wait_for("a listing", lambda: "a.gguf" in os.listdir(path), process)
        os.rename(self.lab.path("before"), self.lab.path("after"))
        subprocess.run(["mount", "-t", "tmpfs", "other", self.lab.path("before", "mnt", make=True)],
                       check=True)
        process.terminate()
        self.assertEqual(process.wait(120), 0)
        self.assertFalse(common.is_mounted(self.lab.path("after", "mnt")))
        self.assertTrue(common.is_mounted(path))
        subprocess.run(["umount", path], check=True)

    def test_a_mount_on_top_stays(self):
        mount = self.lab.start_mount(self.source, *self.options())
        subprocess.run(["mount", "-t", "tmpfs", "other", mount.path], check=True)
        with open(mount.join("own"), "w", encoding="ascii"):
            pass
        mount.process.terminate()
        mount.process.wait(120)
        self.assertEqual(os.listdir(mount.path), ["own"])
        self.assertIn("another mount lies over it", mount.log())
        subprocess.run(["umount", mount.path], check=True)
        self.assert_result(self.lab.run(common.SEALEDFS, "--unmount", mount.path), OK)
        self.assertFalse(common.is_mounted(mount.path))
        mount.ended = True

    def test_below_another_users_directory(self):
        """Root's mount in a folder that only its owner may enter: served, probed, taken away."""
        home = self.lab.path("home", make=True)
        os.chown(home, 65534, 65534)
        os.chmod(home, 0o700)
        os.chmod(self.lab.dir, 0o711)
        path = os.path.join(home, "mnt")
        os.mkdir(path)
        process, pipe = self.start_slowly(path)
        with open(pipe, "wb") as out:
            out.write(common.read_bytes(self.key))
        common.wait_for("a listing", lambda: "a.gguf" in os.listdir(path), process)
        process.terminate()
        self.assertEqual(process.wait(120), 0)
        self.assertFalse(common.is_mounted(path))

    def test_privileges_are_dropped(self):
        """The daemon keeps what root needs to read sealed files, its keeper what unmounting needs."""
        with self.lab.mount(self.source, *self.options()) as mount:
            (keeper,) = self.keepers_of(mount.pid)
            # The mount is there a moment before the keeper has done all that it needs more for.
            common.wait_for("the keeper to settle", lambda: "\nCapPrm:\t0000000000200004\n" in
                            common.read_text(f"/proc/{keeper}/status"), mount.process)
            for pid, bits in ((mount.pid, 1 << 2), (keeper, 1 << 21 | 1 << 2)):
                status = common.read_text(f"/proc/{pid}/status")
                for kind in ("CapEff", "CapPrm"):
                    (found,) = re.findall(rf"^{kind}:\s+([0-9a-f]+)$", status, re.M)
                    self.assertEqual(int(found, 16), bits, status)
                self.assertRegex(status, r"NoNewPrivs:\s+1\n")
                self.assertRegex(status, r"CapInh:\s+0+\n(.*\n)*CapAmb:\s+0+\n")
            self.assertEqual(common.read_text(f"/proc/{keeper}/cmdline").strip("\0"),
                             "sealedfs-keeper")
            self.assertEqual(
                sorted(os.readlink(f"/proc/{keeper}/fd/{fd}").split(":")[0]
                       for fd in os.listdir(f"/proc/{keeper}/fd")),
                ["/dev/null"] * 3 + ["socket"] * 2)  # for unmounting, and for passthrough

    def test_help_and_version(self):
        for argv, word in ((("--help",), "owner-key=FILE"), (("-h",), "measure=MODE"),
                           (("-V",), "libfuse"), (("--version",), "sealedfs")):
            done = self.lab.run(common.SEALEDFS, *argv)
            self.assertEqual((done.code, done.err), (OK, ""))
            self.assertIn(word, done.out)

    def test_wrong_usage(self):
        for argv in ((), (self.source,), (self.source, "a", "b"), ("-x",), ("--nope",)):
            done = self.lab.run(common.SEALEDFS, *argv)
            self.assertEqual((done.code, done.out), (USAGE, ""), argv)
            self.assertEqual(done.err.count("\n"), 1, done.err)


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")
    common.main()
