"""A FUSE file system that imitates a mount of sealedfs: its type, its attribute, its control file.

Spoken as <linux/fuse.h> has it, protocol 7.31: the root, .sealedfs/status.json and "f", a file that
is outside of any report. opened: the names of files that somebody has opened.
"""

import ctypes
import errno
import os
import stat
import struct
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
ROOT, CONTROL, STATUS, OTHER = 1, 2, 5, 99
NAMES = {(ROOT, b".sealedfs"): CONTROL, (CONTROL, b"status.json"): STATUS, (ROOT, b"f"): OTHER}
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, GETXATTR = 1, 2, 3, 14, 15, 17, 18, 22
INIT, OPENDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 26, 27, 29, 36, 42


class Imitation:
    def __init__(self, path, text, kind="fuse.sealedfs", user=0):
        self.path, self.text, self.kind, self.user, self.asked = path, text, kind, user, 0
        self.opened = []

    def __enter__(self):
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.fd},rootmode=40000,user_id={self.user},group_id=0,default_permissions" + \
            (",allow_other" if self.user else "")
        if LIBC.mount(b"imitation", self.path.encode(), self.kind.encode(), 0, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        LIBC.umount2(self.path.encode(), 2)
        self.thread.join(60)
        os.close(self.fd)

    def attributes(self, ino):
        mode = stat.S_IFDIR | 0o755 if ino in (ROOT, CONTROL) else stat.S_IFREG | 0o644
        return struct.pack("<QQQQQQIIIIIIIIII", ino, 4096, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0,
                           4096, 0)

    def answer(self, opcode, ino, body):
        """Bytes, or an errno."""
        self.asked += opcode != INIT
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHHIIII", 7, 31, 65536, 0, 16, 12, 65536, 1, 32, 0, 0, 0, 0,
                               0) + bytes(12)
        if opcode == LOOKUP:
            child = NAMES.get((ino, body.rstrip(b"\0")))
            return struct.pack("<QQQQII", child, 0, 0, 0, 0, 0) + self.attributes(child) \
                if child else errno.ENOENT
        if opcode == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self.attributes(ino)
        if opcode in (OPEN, OPENDIR):
            if opcode == OPEN:
                self.opened.append(ino)
            return struct.pack("<QII", 0, 1, 0)
        if opcode == READ:
            offset, size = struct.unpack_from("<QI", body, 8)
            return self.text[offset:offset + size] if ino == STATUS else b""
        if opcode == GETXATTR:
            size, name = struct.unpack_from("<I", body)[0], body[8:].rstrip(b"\0")
            if name != b"user.sealedfs.listing":
                return errno.ENODATA
            return b"0 ok" if size else struct.pack("<II", 4, 0)
        if opcode == STATFS:
            return bytes(80)
        return b"" if opcode in (RELEASE, RELEASEDIR) else errno.ENOSYS

    def serve(self):
        while True:
            try:
                request = os.read(self.fd, 1 << 20)
            except OSError as failure:
                if failure.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return
            opcode, unique, ino = struct.unpack_from("<IQQ", request, 4)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            result = self.answer(opcode, ino, request[40:])
            code, data = (-result, b"") if isinstance(result, int) else (0, result)
            try:
                os.write(self.fd, struct.pack("<IiQ", 16 + len(data), code, unique) + data)
            except OSError:
                pass  # interrupted meanwhile
