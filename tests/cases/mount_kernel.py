#!/usr/bin/python3
"""What the kernel offers for mounts: file handles, security labels, connections."""

import errno
import os
import struct
import unittest

import common
from common import OK, USAGE
from common_local import Local


class KernelsSide(Local):
    """What the kernel offers for mounts: sealedfs(8), LIMITS."""

    HANDLE = struct.Struct("Ii")
    AT_FDCWD = -100

    def handle(self, path):
        libc = common.ctypes.CDLL(None, use_errno=True)
        raw = common.ctypes.create_string_buffer(self.HANDLE.pack(120, 0) + bytes(120))
        mount_id = common.ctypes.c_int()
        if libc.name_to_handle_at(self.AT_FDCWD, path.encode(), raw,
                                  common.ctypes.byref(mount_id), 0) != 0:
            raise OSError(common.ctypes.get_errno(), path)
        return raw

    def by_handle(self, mount, raw):
        libc = common.ctypes.CDLL(None, use_errno=True)
        with common.opened(mount.path) as at:
            descriptor = libc.open_by_handle_at(at, raw, os.O_RDONLY)
        if descriptor < 0:
            raise OSError(common.ctypes.get_errno(), "open_by_handle_at")
        return descriptor

    def test_file_handles(self):
        plain, folder = self.sealed("handles", "a.bin", "sub/deep/b.bin")
        names = ("a.bin", "sub", "sub/deep", "sub/deep/b.bin")
        with self.mount(folder) as mount:
            handles = {name: self.handle(mount.join(name)) for name in names}
            for _ in range(3):
                with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as out:
                    out.write("2\n")
            for name, raw in handles.items():
                descriptor = self.by_handle(mount, raw)
                try:
                    if name.endswith(".bin"):
                        with open(os.path.join(plain, name), "rb") as model:
                            self.assertEqual(os.pread(descriptor, 1 << 20, 0), model.read())
                    else:
                        self.assertEqual(os.listdir(descriptor),
                                         os.listdir(os.path.join(plain, name)))
                finally:
                    os.close(descriptor)

    def test_stale_handle(self):
        _, folder = self.sealed("stale")
        with self.mount(folder) as mount:
            raw = self.handle(mount.join("a.bin"))
            for name in os.listdir(folder):
                if name.startswith("a.bin"):
                    os.remove(os.path.join(folder, name))
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as out:
                out.write("2\n")
            with self.assertRaises(OSError) as failure:
                os.close(self.by_handle(mount, raw))
            self.assertEqual(failure.exception.errno, errno.ESTALE)

    def test_labels(self):
        """With SELinux they reach the mount; without it the message tells what is missing."""
        _, folder = self.sealed("labels")
        for name in ("context", "fscontext", "defcontext", "rootcontext"):
            label = "system_u:object_r:container_file_t:s0:c1\\,c2"
            with self.subTest(name):
                if os.path.exists("/sys/fs/selinux/enforce"):
                    with self.mount(folder, f"{name}={label}"):
                        pass
                else:
                    self.assert_result(self.mount_fails(folder, f"{name}={label}"), USAGE,
                                       "SELinux")
        self.assert_result(self.mount_fails(folder, "context"), USAGE, "needs a value")

    def test_a_connection_of_somebody_else(self):
        _, folder = self.sealed("connection")
        done = self.lab.run(common.SEALEDFS, folder, "/dev/fd/3", "-o", ",".join(self.options))
        self.assert_result(done, USAGE, "another program has mounted")


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")
    common.main()
