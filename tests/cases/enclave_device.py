#!/usr/bin/python3
"""/dev/nsm and real vsocks (attest/nsm, fs/net/relay), where the kernel can have them without Nitro hardware: a character
device by CUSE in front of the emulator, and the loopback of vsock. Skipped elsewhere; tests/machine boots a kernel that
has both."""

import ctypes
import errno
import fcntl
import os
import struct
import subprocess
import unittest

import common
from common import FAILURE

import common_measuring
import enclave_net
import measured
from common_parent import has_vsock_loopback

DEVICE = "/dev/nsm"


class Device(enclave_net.Routed):
    VSOCK = True

    @classmethod
    def setUpClass(cls):
        if not os.path.exists("/dev/cuse"):
            raise unittest.SkipTest("no /dev/cuse")
        if not has_vsock_loopback():
            raise unittest.SkipTest("no vsock_loopback")
        if os.path.exists(DEVICE):
            raise unittest.SkipTest("a real /dev/nsm")
        super().setUpClass()
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], check=True, stdout=subprocess.PIPE, text=True)
        bridge = cls.lab.path("cuse_nsm")
        subprocess.run(["gcc", "-o", bridge, os.path.join(common.CASES, "helpers", "cuse_nsm.c"), *flags.stdout.split()],
                       check=True)
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", bridge, cls.nsm.values["socket"]],
                                   stdin=subprocess.DEVNULL)
        cls.addClassCleanup(common.end, process)
        common.wait_for(DEVICE, lambda: os.path.exists(DEVICE), process)

    def options(self, *more):
        return ",".join(("tcti=nsm", "owner-key=" + self.public, "event-log=" + self.events, *more))

    def test_unlock_measure_lock_and_run(self):
        out = self.cat(f"net={self.parent.proxy()}", "lock-pcr", child=["--", "sha256sum", "{}"])
        self.assertEqual(out.split()[0].decode(), common.digest(self.plain))
        start = measured.start_text("verity", "nsm", [measured.signer_id(self.public)])
        self.assertEqual(self.nsm.pcr(16), common_measuring.predicted("verity", "sha384", self.plain, start=start))
        self.assertEqual(self.nsm.state()["locked"], [*range(16), 16])
        asked = [name for name in self.nsm.operations() if name != "DescribePCR"]
        self.assertEqual(asked, ["GetRandom", "Attestation", "ExtendPCR", "ExtendPCR", "LockPCR"])
        self.assert_tls()

    def test_forwarders(self):
        self.assertEqual(self.cat(*self.both(), "measure=none"), self.want())

    def test_nobody_there(self):
        self.cat("net=vsock:1:1", code=common.UNREACHABLE, words=["cannot connect to vsock:1:1"])

    def test_the_device_is_like_the_kernels(self):
        """The bridge itself: number, limits, true length; so that what passes above means something."""
        request = ctypes.create_string_buffer(b"\x69GetRandom", 0x2000)
        answer = ctypes.create_string_buffer(0x3000)

        def ioctl(size, room, number=0xC0200A00):
            raw = bytearray(struct.pack("<4Q", ctypes.addressof(request), size, ctypes.addressof(answer), room))
            with open(DEVICE, "rb+", buffering=0) as device:
                fcntl.ioctl(device, number, raw)
            return struct.unpack("<4Q", raw)[3]
        begin = b"\xa1\x69GetRandom\xa1\x66random\x59\x01\x00"
        self.assertEqual(ioctl(10, 0x3000), len(begin) + 256)
        self.assertEqual(answer.raw[:len(begin)], begin)
        self.assertEqual(ioctl(10, 5), 5)
        for size, number, code in ((0x1001, 0xC0200A00, errno.EMSGSIZE), (10, 0xC0200A01, errno.ENOTTY)):
            with self.assertRaises(OSError) as refused:
                ioctl(size, 0x3000, number)
            self.assertEqual(refused.exception.errno, code)
        with self.nsm.fault(op="GetRandom", kind="drop"):
            self.cat(*self.both(), code=FAILURE, words=["does not answer"])


if __name__ == "__main__":
    common.main()
