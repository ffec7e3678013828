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
import shutil
import signal
import stat
import struct
import subprocess
import unittest

import common
import common_folder
from common import CHUNK, MIB, USAGE

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
        with self.lab.mount(self.lab.path("empty", make=True), "allow-empty",
                            *self.options()) as mount:
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
        with self.mount("exec", "atime", "nodiratime") as mount, \
                open("/proc/self/mounts", encoding="utf-8") as table:
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

    @staticmethod
    def program_of(pid):
        try:
            return os.readlink(f"/proc/{pid}/exe")
        except OSError:
            return None

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

    def test_the_group_of_the_service(self):
        """What root mounts for others is the group's, whoever it is on this machine."""
        group = common.need_group(self, "sealedfs")
        with self.mount("allow_other") as mount:
            self.assertEqual(os.stat(mount.join("a.gguf")).st_gid, group)
            done = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                                   f"--groups={group}", "sha256sum", mount.join("a.gguf")],
                                  check=False, stdout=subprocess.PIPE)
            self.assertEqual(done.returncode, 0)
        with self.mount() as mount:
            self.assertEqual(os.stat(mount.join("a.gguf")).st_gid, 0)

    def test_others_are_let_in(self):
        with self.mount("allow_other", "mode=0444") as mount:
            done = self.as_nobody("sha256sum", mount.join("a.gguf"))
            self.assertEqual(done.stdout.split()[0],
                             common.digest(self.lab.path("plain", "a.gguf")))

    def test_plaintext_is_for_a_group(self):
        with self.mount("allow_other") as mount:
            for name in ("a.gguf", "deep/b.gguf", "", ".sealedfs/status"):
                done = self.as_nobody("cat" if name else "ls", mount.join(name))
                self.assertIn("Permission denied", done.stdout)
            for name, mode in (("a.gguf", 0o440), ("deep", 0o550), (".", 0o550)):
                self.assertEqual(stat.S_IMODE(os.stat(mount.join(name)).st_mode), mode)
        with self.mount("allow_other", f"gid={NOBODY}") as mount:
            self.assertEqual(self.as_nobody("sha256sum", mount.join("deep/b.gguf")).returncode, 0)

    def test_why_it_cannot_be_mounted(self):
        """One reason: fusermount3's, or ours where there is none. Nothing here is a server out of reach."""
        common.need_user_mounts(self)
        home = self.lab.path("refused", make=True)
        point, roots, key = os.path.join(home, "mnt"), os.path.join(home, "root"), os.path.join(home, "key")
        os.mkdir(roots)
        os.mkdir(point)
        shutil.copy(self.key, key)
        for path in (home, point, key):
            os.chown(path, NOBODY, NOBODY)
        program = shutil.copy(common.SEALEDFS, home)
        no_helper = "mount --bind /dev/null $(command -v fusermount3)"
        no_device = "mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3"
        wrong_device = no_device + " && mknod -m 666 /dev/fuse c 10 99"
        user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
        for who, before, where, words, not_words in (
                (user, "true", roots, "no write access", "package fuse3"),
                (user, no_helper, point, "package fuse3", "no write access"),
                (user, no_device, point, "no /dev/fuse; load it", "package fuse3"),
                ((), no_device, point, "docker run --device", "keeper process"),
                ((), wrong_device, point, "cannot open /dev/fuse: No such device", "keeper process")):
            with self.subTest(before, who=who):
                done = self.lab.run("unshare", "-m", "/bin/sh", "-c", before + ' && exec "$@"', "sh", *who,
                                    program if who else common.SEALEDFS, self.source,
                                    where if who else self.lab.path("mnt", make=True), "-f", "-o",
                                    f"key-file={key if who else self.key},attest=none,measure=none")
                self.assert_result(done, common.FAILURE, words)
                self.assertNotIn(not_words, done.err)

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
            # A dead mount: the user's own sealedfs removes it, with fusermount3's help.
            (pid,) = [pid for pid in os.listdir("/proc") if pid.isdigit()
                      and self.program_of(pid) == program]
            os.kill(int(pid), signal.SIGKILL)
            common.wait_for("a dead mount",
                            lambda: self.as_nobody("ls", point).returncode != 0)
            done = self.as_nobody(program, "--unmount", point)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertFalse(common.is_mounted(point))
        finally:
            self.as_nobody("fusermount3", "-uqz", point)


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
