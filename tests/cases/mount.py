#!/usr/bin/python3
"""The mount as a file system: names, attributes, permissions, read-only, options, background.

Models lie in a directory and are opened with a key file, without measuring: what is told of keys,
measurements and S3 is in the other files.
"""

import contextlib
import ctypes
import errno
import mmap
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import unittest

import common
import common_folder
from common import CHUNK, FAILURE, MIB, NOT_AUTHENTIC, OK, REFUSED, USAGE

NOBODY = 65534
MANY = 3000
LIBC = ctypes.CDLL(None, use_errno=True)


class Local(common_folder.FolderCase):
    """Three models in a folder tree."""

    SIZES = {"a.gguf": 2 * CHUNK + 5, "deep/b.gguf": 4097, "deep/er/c.gguf": 0}

    def copy(self):
        return common.copy_tree(self.source, self.lab.path("copy." + self.id().split(".")[-1]))

    def assert_errno(self, number, function, *args, **kwargs):
        with self.assertRaises(OSError) as caught:
            function(*args, **kwargs)
        self.assertEqual(caught.exception.errno, number, f"{function} {args}")


def slice_ns(tid):
    """sched_getattr(2)'s sched_runtime; None where its number is not known here."""
    number = {"x86_64": 315, "aarch64": 275}.get(os.uname().machine)
    if number is None:
        return None
    attributes = ctypes.create_string_buffer(48)
    if ctypes.CDLL(None, use_errno=True).syscall(number, tid, attributes, 48, 0) != 0:
        raise OSError(ctypes.get_errno(), "sched_getattr")
    return struct.unpack_from("<IIQiIQ", attributes)[5]


def writes(mount):
    """Everything that would change the tree: (name, function, arguments)."""
    a, new, folder = mount.join("a.gguf"), mount.join("new"), mount.join("deep")
    yield "write", os.open, a, os.O_WRONLY
    yield "read-write", os.open, a, os.O_RDWR
    yield "truncate on open", os.open, a, os.O_RDONLY | os.O_TRUNC
    yield "append", os.open, a, os.O_WRONLY | os.O_APPEND
    yield "create", os.open, new, os.O_WRONLY | os.O_CREAT
    yield "create for reading", os.open, new, os.O_RDONLY | os.O_CREAT
    yield "unnamed", os.open, folder, os.O_WRONLY | os.O_TMPFILE
    yield "truncate", os.truncate, a, 0
    yield "unlink", os.unlink, a
    yield "mkdir", os.mkdir, new
    yield "rmdir", os.rmdir, folder
    yield "rename", os.rename, a, new
    yield "rename into", os.rename, a, mount.join("deep", "b.gguf")
    yield "symlink", os.symlink, "a.gguf", new
    yield "link", os.link, a, new
    yield "mknod", os.mknod, new, stat.S_IFREG | 0o644
    yield "mkfifo", os.mkfifo, new
    yield "chmod", os.chmod, a, 0o777
    yield "chown", os.chown, a, 1, 1
    yield "utime", os.utime, a, (1, 1)
    yield "utime of a folder", os.utime, folder, (1, 1)
    yield "setxattr", os.setxattr, a, "user.x", b"1"
    yield "replace xattr", os.setxattr, a, "user.sealedfs.sha256", b"1"
    yield "removexattr", os.removexattr, a, "user.sealedfs.sha256"


class ReadOnly(Local):
    def assert_nothing_can_be_written(self, mount):
        for name, function, *args in writes(mount):
            with self.subTest(name):
                self.assert_errno(errno.EROFS, function, *args)
        self.assertEqual(common.digest(mount.join("a.gguf")),
                         common.digest(self.lab.path("plain", "a.gguf")))

    def test_writes(self):
        with self.mount() as mount:
            self.assert_nothing_can_be_written(mount)

    def test_writes_past_the_kernels_own_check(self):
        """Remounted read-write by root, the kernel asks the daemon, which says the same."""
        with self.mount() as mount:
            done = subprocess.run(["mount", "-i", "-o", "remount,rw", mount.path], check=False,
                                  stderr=subprocess.PIPE, text=True)
            if done.returncode != 0:
                self.skipTest("the kernel does not remount FUSE: " + done.stderr)
            for name, function, *args in writes(mount):
                if name == "unnamed":
                    continue  # FUSE has no O_TMPFILE here: EOPNOTSUPP
                with self.subTest(name):
                    self.assert_errno(errno.EROFS, function, *args)

    def test_read_write_mount_is_refused(self):
        result = self.lab.mount_fails(self.source, *self.options("rw"))
        self.assert_result(result, USAGE, "read-only", "-o ro")


class Names(Local):
    def test_listing_agrees_with_lookup(self):
        with self.mount() as mount:
            for folder, _, _ in os.walk(mount.path):
                with os.scandir(folder) as entries:
                    for entry in entries:
                        status = os.lstat(entry.path)
                        self.assertEqual(entry.inode(), status.st_ino)
                        self.assertEqual(entry.is_dir(), stat.S_ISDIR(status.st_mode))
            self.assertEqual(os.stat(mount.join("deep", "..")).st_ino,
                             os.stat(mount.path).st_ino)
            self.assertEqual(os.stat(mount.path).st_nlink, 3)
            self.assertEqual(os.stat(mount.join("deep", "er")).st_nlink, 2)

    def test_what_is_not_there(self):
        with self.mount() as mount:
            for name in ("x", "a.gguf.seal", "deep/x", "A.GGUF", "a.gguf ", "deep/b.gguf.seal"):
                self.assert_errno(errno.ENOENT, os.stat, mount.join(name))
            self.assert_errno(errno.ENOTDIR, os.stat, mount.join("a.gguf", "x"))
            self.assert_errno(errno.ENOTDIR, os.listdir, mount.join("a.gguf"))
            self.assert_errno(errno.ENAMETOOLONG, os.stat, mount.join("x" * 256))

    def test_thousands_of_models_in_one_folder(self):
        """Copies under other names: each is refused when opened, and all are listed."""
        source = self.lab.path("many", make=True)
        seal = os.path.join(self.source, "a.gguf.seal")
        for number in range(MANY):
            os.link(seal, os.path.join(source, f"model-{number:05}.gguf.seal"))
        with self.lab.mount(source, *self.options()) as mount:
            names = os.listdir(mount.path)
            self.assertEqual(sorted(names), [f"model-{n:05}.gguf" for n in range(MANY)])
            done = subprocess.run(["ls", "-l", mount.path], check=True, stdout=subprocess.PIPE)
            self.assertEqual(done.stdout.count(b"\n"), MANY + 1)
            self.assertEqual(len({entry.inode() for entry in os.scandir(mount.path)}), MANY)
            self.assert_io_error(mount.join(names[7]), errno.EBADMSG)

    def test_folder_and_model_of_one_name(self):
        source = self.copy()
        shutil.copy(os.path.join(source, "a.gguf.seal"), os.path.join(source, "deep.seal"))
        with self.lab.mount(source, *self.options()) as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), ["a.gguf", "deep"])
            self.assertTrue(os.path.isdir(mount.join("deep")))
            self.assertIn("deep.seal", mount.log())

    def test_empty_source(self):
        with self.lab.mount(self.lab.path("empty", make=True), *self.options()) as mount:
            self.assertEqual(os.listdir(mount.path), [])
            self.assertEqual(os.statvfs(mount.path).f_blocks, 0)


class Attributes(Local):
    def test_statvfs(self):
        with self.mount() as mount:
            found = os.statvfs(mount.join("deep"))
            total = sum(self.SIZES.values())
            self.assertEqual(found.f_frsize * found.f_blocks, (total + 4095) // 4096 * 4096)
            self.assertEqual((found.f_bfree, found.f_bavail, found.f_ffree), (0, 0, 0))
            self.assertEqual(found.f_files, 6)
            self.assertEqual(found.f_namemax, 255)
            self.assertTrue(found.f_flag & os.ST_RDONLY)

    def test_kernels_table_of_mounts(self):
        with self.mount("noexec", "noatime", "nodiratime") as mount, open("/proc/self/mounts",
                                                            encoding="utf-8") as table:
            (line,) = [line.split() for line in table if line.split()[1] == mount.path]
            self.assertEqual((line[0], line[2]), (self.source, "fuse.sealedfs"))
            self.assertLessEqual({"ro", "nosuid", "nodev", "noexec", "noatime",
                                  "default_permissions"}, set(line[3].split(",")))
        with self.mount("fsname=models\\,here", "subtype=x") as mount, \
                open("/proc/self/mounts", encoding="utf-8") as table:
            (line,) = [line.split() for line in table if line.split()[1] == mount.path]
            self.assertEqual((line[0], line[2]), ("models,here", "fuse.x"))

    def test_xattr_protocol(self):
        with self.mount() as mount:
            path = mount.join("a.gguf").encode()
            for name in (b"user.sealedfs.sha256", b"user.sealedfs.verity",
                         b"user.sealedfs.file-id"):
                buffer = ctypes.create_string_buffer(100)
                self.assertEqual(LIBC.getxattr(path, name, None, 0), 64)
                self.assertEqual(LIBC.getxattr(path, name, buffer, 64), 64)
                self.assertEqual(LIBC.getxattr(path, name, buffer, 63), -1)
                self.assertEqual(ctypes.get_errno(), errno.ERANGE)
            size = LIBC.listxattr(path, None, 0)
            buffer = ctypes.create_string_buffer(size)
            self.assertEqual(LIBC.listxattr(path, buffer, size), size)
            self.assertEqual(buffer.raw.count(b"\0"), 3)
            self.assertEqual(LIBC.listxattr(path, buffer, size - 1), -1)
            self.assertEqual(ctypes.get_errno(), errno.ERANGE)
            self.assertEqual(os.listxattr(mount.join("deep")), [])
            for name in ("user.sealedfs", "user.sealedfs.sha256x", "security.capability"):
                self.assert_errno(errno.ENODATA, os.getxattr, path, name)
            self.assert_errno(errno.ENODATA, os.getxattr, mount.join("deep"),
                              "user.sealedfs.sha256")

    def test_attributes_of_a_broken_model(self):
        """It is there, cannot be opened, and claims no digest."""
        source = self.copy()
        with open(os.path.join(source, "a.gguf.seal"), "r+b") as seal:
            seal.truncate(300)
        with self.lab.mount(source, *self.options()) as mount:
            self.assertEqual(os.stat(mount.join("a.gguf")).st_size, 0)
            self.assertEqual(os.listxattr(mount.join("a.gguf")), [])
            self.assert_io_error(mount.join("a.gguf"), errno.EBADMSG)
            self.assertEqual(os.path.getsize(mount.join("deep", "b.gguf")), 4097)

    def facts(self, source):
        with self.lab.mount(source, *self.options()) as mount:
            return {os.path.relpath(os.path.join(folder, name), mount.path):
                    (status.st_ino, status.st_mtime_ns)
                    for folder, folders, files in os.walk(mount.path)
                    for name in folders + files
                    for status in [os.lstat(os.path.join(folder, name))]}

    def test_same_inodes_and_times_at_every_mount(self):
        source = self.copy()
        first = self.facts(source)
        self.assertEqual(self.facts(source), first)
        # In another place, too: inode numbers are made of path and file id.
        self.assertEqual(self.facts(self.source), first)

    def test_new_version_is_a_new_inode(self):
        source = self.copy()
        before = self.facts(source)
        self.lab.seal(self.lab.path("plain", "a.gguf"), source, "--key-file", self.key)
        after = self.facts(source)
        self.assertNotEqual(after["a.gguf"][0], before["a.gguf"][0])
        for name in ("deep", "deep/b.gguf", "deep/er", "deep/er/c.gguf"):
            self.assertEqual(after[name][0], before[name][0])

    def test_pages_survive_an_open_by_others(self):
        """keep_cache: whoever opens the file must not throw out what a model has mapped."""
        with self.mount() as mount, open(mount.join("a.gguf"), "rb") as sealed:
            size = os.fstat(sealed.fileno()).st_size
            pages = (size + 4095) // 4096
            with contextlib.closing(mmap.mmap(sealed.fileno(), size, mmap.MAP_PRIVATE,
                                              mmap.PROT_READ | mmap.PROT_WRITE)) as mapped:
                self.assertEqual(len(mapped[:]), size)
                with open(mount.join("a.gguf"), "rb", buffering=0) as other:
                    other.read(4096)
                held = (ctypes.c_char * size).from_buffer(mapped)
                there = (ctypes.c_ubyte * pages)()
                result = LIBC.mincore(ctypes.byref(held), ctypes.c_size_t(size), there)
                del held
                self.assertEqual(result, 0)
                self.assertEqual(sum(page & 1 for page in there), pages)

    def test_readahead_is_raised(self):
        with self.mount() as mount:
            device = os.stat(mount.path).st_dev
            path = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
            if not os.path.exists(path):
                self.skipTest("no " + path)
            self.assertEqual(common.read_text(path).strip(), "4096")

    def test_readers_go_first(self):
        """Whoever answers READ is batch work; the main thread, which takes signals, is not."""
        with self.mount() as mount:
            common.read_bytes(mount.join("a.gguf"))
            pid = mount.pid
            policies = {int(tid): os.sched_getscheduler(int(tid))
                        for tid in os.listdir(f"/proc/{pid}/task")}
            self.assertEqual(policies.pop(pid), os.SCHED_OTHER)
            batch = [tid for tid, policy in policies.items() if policy == os.SCHED_BATCH]
            self.assertTrue(batch, policies)
            if slice_ns(pid):  # Linux 6.12 and later have one for each thread
                self.assertEqual({slice_ns(tid) for tid in batch}, {10_000_000})


class Permissions(Local):
    def setUp(self):
        os.chmod(self.lab.dir, 0o711)

    def as_nobody(self, *argv):
        return subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                               "--clear-groups", *argv], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "LC_ALL": "C"})

    def test_owner_and_mode(self):
        with self.mount("uid=12", "gid=34", "mode=0640") as mount:
            for name, mode in (("a.gguf", 0o640), ("deep", 0o750), (".", 0o750)):
                status = os.stat(mount.join(name))
                self.assertEqual((status.st_uid, status.st_gid), (12, 34), name)
                self.assertEqual(stat.S_IMODE(status.st_mode), mode, name)

    def test_others_are_kept_out(self):
        with self.mount() as mount:
            done = self.as_nobody("cat", mount.join("a.gguf"))
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("Permission denied", done.stdout)

    def test_others_are_let_in(self):
        with self.mount("allow_other") as mount:
            done = self.as_nobody("sha256sum", mount.join("a.gguf"))
            self.assertEqual(done.stdout.split()[0],
                             common.digest(self.lab.path("plain", "a.gguf")))

    def test_mode_is_enforced(self):
        with self.mount("allow_other", "mode=0440") as mount:
            done = self.as_nobody("cat", mount.join("a.gguf"))
            self.assertIn("Permission denied", done.stdout)
        with self.mount("allow_other", "mode=0440", f"gid={NOBODY}") as mount:
            self.assertEqual(self.as_nobody("sha256sum", mount.join("deep/b.gguf")).returncode, 0)

    def test_a_user_mounts(self):
        """Without root: through fusermount3. A user's key file, log and mount point."""
        common.need_user_mounts(self)
        home = self.lab.path("users", make=True)
        point, key = os.path.join(home, "mnt"), os.path.join(home, "key")
        os.mkdir(point)
        shutil.copy(self.key, key)
        for path in (home, point, key):
            os.chown(path, NOBODY, NOBODY)
        program = shutil.copy(common.SEALEDFS, home)  # the build may lie where others cannot go
        done = self.as_nobody(program, self.source, point, "-o",
                              f"key-file={key},attest=none,measure=none")
        self.assertEqual(done.returncode, 0, done.stdout)
        try:
            done = self.as_nobody("sha256sum", os.path.join(point, "a.gguf"))
            self.assertEqual(done.stdout.split()[0],
                             common.digest(self.lab.path("plain", "a.gguf")))
        finally:
            done = self.as_nobody("fusermount3", "-u", point)
        self.assertEqual(done.returncode, 0, done.stdout)


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
        self.assertEqual(result.out + result.err, "")
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
        options = self.options("unlock=mount")
        self.assert_fails(NOT_AUTHENTIC, "unsigned", options=(*options, "owner-key=" + public))
        self.assert_fails(REFUSED, "no recipient", options=(
            "key-file=" + other, "attest=none", "measure=none", "unlock=mount"))
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
        self.assert_result(done, OK, "took away a mount whose daemon had died")
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
            self.assert_result(done, FAILURE, "lives", "umount")
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

    def test_privileges_are_dropped(self):
        """The daemon keeps what root needs to read sealed files, its keeper what unmounting needs."""
        with self.lab.mount(self.source, *self.options()) as mount:
            (keeper,) = self.keepers_of(mount.pid)
            # The mount is there a moment before the keeper has done all that it needs more for.
            common.wait_for("the keeper to settle", lambda: "\nCapPrm:\t0000000000200000\n" in
                            common.read_text(f"/proc/{keeper}/status"), mount.process)
            for pid, bits in ((mount.pid, 1 << 2), (keeper, 1 << 21)):
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
                ["/dev/null"] * 3 + ["socket"])

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


class Memory(Local):
    SIZES = {"big.gguf": 64 * MIB}

    def test_small_budget_is_kept(self):
        """32 MiB of buffers serve a model twice as big, and are not exceeded."""
        with self.mount("memory=32M") as mount:
            path = mount.join("big.gguf")
            self.assertEqual(common.digest(path), common.digest(self.lab.path("plain/big.gguf")))
            self.assertLess(common.peak_memory(mount.pid), 96 * MIB)


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")
    common.main()
