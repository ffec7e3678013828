#!/usr/bin/python3
"""Nobody is left hanging: readers of damaged models, and readers when the daemon is told to end.

A reader that populates a mapping is the hard one: the kernel repeats a page that fails for ever,
and only the source or SIGKILL ends that.
Readers here are processes of their own, each judged by how it ended and how soon.
"""

import contextlib
import errno
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import common
from common import CHUNK, MIB

SOON_S = 120  # generous: a busy machine; a hang lasts for ever

POPULATE = """
import mmap, os, sys
with open(sys.argv[1], "rb") as source:
    size = os.fstat(source.fileno()).st_size
    print("mapping", flush=True)
    mapped = mmap.mmap(source.fileno(), size, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ)
    print("mapped", flush=True)
    print(sum(mapped[at] for at in range(0, size, 4096)))
"""
PREAD_FOR_EVER = """
import mmap, os, sys
source = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
buffer, size = mmap.mmap(-1, 1 << 20), os.fstat(source).st_size
print("reading", flush=True)
while True:
    for at in range(0, size, 1 << 20):
        try:
            os.preadv(source, [buffer], at)
        except OSError as failure:
            print(failure.errno, flush=True)
            sys.exit(7)
"""
OPEN = """
import os, sys
print("opening", flush=True)
try:
    os.open(sys.argv[1], os.O_RDONLY)
except OSError as failure:
    print(failure.errno, flush=True)
    sys.exit(7)
"""


class Reader:
    """A Python process; the first line that it prints has been seen."""

    def __init__(self, code, path):
        self.process = subprocess.Popen([sys.executable, "-c", code, path], text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        self.first = self.process.stdout.readline()

    def wait(self):
        """(exit code, output) once it has ended by itself."""
        try:
            out, _ = self.process.communicate(timeout=SOON_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError("the reader hangs") from None
        return self.process.returncode, self.first + out


class Ending(common.Case):
    SIZE = 20 * CHUNK + 5

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = common.make_model(cls.lab.path("plain", "a.gguf"), cls.SIZE)
        common.make_model(cls.lab.path("plain", "b.gguf"), cls.SIZE, 1)
        cls.key = cls.lab.key_file()
        cls.source = cls.lab.path("sealed")
        cls.lab.seal(cls.lab.path("plain"), cls.source, "--key-file", cls.key)

    def options(self, *more):
        return ("key-file=" + self.key, "attest=none", "measure=none", *more)

    def mount(self, source=None, *more, **how):
        return self.lab.mount(source or self.source, *self.options(*more), **how)

    def copy(self):
        return common.copy_tree(self.source, tempfile.mkdtemp(dir=self.lab.dir) + "/sealed")

    @staticmethod
    def payload(folder):
        (name,) = [entry for entry in os.listdir(folder)
                   if entry.startswith("a.gguf.") and entry.endswith(".sealed")]
        return os.path.join(folder, name)


class Damaged(Ending):
    """Populating, mapping, reading a model of which one chunk is wrong."""

    @contextlib.contextmanager
    def damaged(self, chunk, *options):
        folder = self.copy()
        with open(self.payload(folder), "r+b") as payload:
            payload.seek(chunk * CHUNK + 4097)
            payload.write(b"damaged")
        with self.mount(folder, *options) as mount:
            yield mount, mount.join("a.gguf")

    def assert_logged_once(self, mount, chunk):
        about = [line for line in mount.log().splitlines() if "altered chunk" in line]
        self.assertEqual(len(about), 1, mount.log())
        self.assertIn(f"chunk {chunk} at offset {chunk * CHUNK}", about[0])

    def assert_waits(self, *readers):
        """They neither end nor get anything, and can be killed."""
        time.sleep(1)
        for reader in readers:
            self.assertIsNone(reader.process.poll())
            reader.process.kill()
        for reader in readers:
            code, out = reader.wait()
            self.assertEqual((code, out), (-signal.SIGKILL, "mapping\n"))

    def test_populating_reader_waits(self):
        """The kernel asks again and again; cases/failing.py looks at what that costs."""
        for chunk in (0, 7, 19):
            with self.subTest(chunk=chunk), self.damaged(chunk) as (mount, path):
                self.assert_waits(Reader(POPULATE, path))
                self.assert_logged_once(mount, chunk)
                self.assertEqual(os.stat(path).st_size, self.SIZE)
                # Nobody new can read what is left of it.
                self.assert_io_error(path, errno.EBADMSG)

    def test_eight_populate_at_once(self):
        with self.damaged(5) as (mount, path), common.opened(path):
            readers = [Reader(POPULATE, path) for _ in range(8)]
            # Whoever came after the first READ was refused by open.
            refused = [reader for reader in readers if reader.first != "mapping\n"]
            self.assertEqual([reader.wait()[0] for reader in refused], [1] * len(refused))
            self.assert_waits(*(reader for reader in readers if reader not in refused))
            self.assert_logged_once(mount, 5)

    def test_others_are_not_touched(self):
        with self.damaged(3) as (mount, path):
            waiting = Reader(POPULATE, path)
            self.assertEqual(Reader(POPULATE, mount.join("b.gguf")).wait()[0], 0)
            self.assertEqual(common.digest(mount.join("b.gguf")),
                             common.digest(self.lab.path("plain", "b.gguf")))
            self.assert_waits(waiting)

    def test_plain_mapping_gets_sigbus(self):
        with self.damaged(0) as (_, path):
            code, out = Reader(POPULATE.replace(" | mmap.MAP_POPULATE", ""), path).wait()
            self.assertEqual(code, -signal.SIGBUS, out)

    def test_read_gives_an_error_not_an_end(self):
        """read(2) must never make a damaged file look short."""
        with self.damaged(12) as (mount, path):
            with open(path, "rb", buffering=0) as sealed:
                self.assertEqual(os.pread(sealed.fileno(), MIB, 0), common.model_bytes(MIB))
                for _ in range(6):
                    for offset in (12 * CHUNK, 12 * CHUNK + 4096, 19 * CHUNK):
                        with self.assertRaises(OSError) as caught:
                            os.pread(sealed.fileno(), 4096, offset)
                        self.assertEqual(caught.exception.errno, errno.EIO)
            self.assert_logged_once(mount, 12)


class Away(Ending):
    """The payload is away for a while, and comes back as it was."""

    def fail_and_heal(self, mount, payload):
        path = mount.join("a.gguf")
        common.drop_cache(path)
        with open(path, "rb", buffering=0) as source, contextlib.closing(
                mmap.mmap(source.fileno(), self.SIZE, mmap.MAP_SHARED, mmap.PROT_READ)) as mapped:
            self.assertEqual(source.read(4096), common.model_bytes(4096))
            os.rename(payload, payload + ".away")
            reader = Reader(POPULATE, path)
            time.sleep(1)
            self.assertIsNone(reader.process.poll())
            self.assertEqual([entry.stat().st_size for entry in os.scandir(mount.path)],
                             [self.SIZE] * 2)
            with self.assertRaises(OSError):
                os.pread(source.fileno(), 4096, self.SIZE - 5000)
            os.rename(payload + ".away", payload)
            self.assertEqual(reader.wait()[0], 0)
            self.assertEqual(mapped[:], common.model_bytes(self.SIZE))
            self.assertEqual(common.digest(path), common.digest(self.plain))

    def test_readers_go_on(self):
        """Not tampered with: who waited gets the right bytes, and so do old mappings."""
        folder = self.copy()
        with self.mount(folder) as mount:
            began = time.monotonic()
            for _ in range(3):
                self.fail_and_heal(mount, self.payload(folder))
            about = [line for line in mount.log().splitlines() if "cannot read" in line]
            # One in ten seconds (fs/models/model_log.c), and the whole takes less, unless the machine is busy.
            self.assertIn(len(about), range(1, 2 + int((time.monotonic() - began) / 10)), mount.log())


class Told(Ending):
    """SIGTERM and SIGINT, and unmounting by others."""

    def assert_ends(self, mount, number=signal.SIGTERM, pid=None):
        """By itself, soon, with 0, and without its mount."""
        began = time.monotonic()
        mount.ended = True
        os.kill(pid or mount.pid, number)
        code = mount.process.wait(SOON_S)
        # In the foreground it dies of Ctrl-C, so that a shell ends its loop.
        self.assertEqual(code, -number if number == signal.SIGINT else 0, mount.log())
        self.assertFalse(common.is_mounted(mount.path))
        return time.monotonic() - began

    def start(self, *options, **how):
        return self.lab.start_mount(self.source, *self.options(*options), **how)

    def test_idle(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number):
                mount = self.start()
                self.assertLess(self.assert_ends(mount, number), SOON_S / 2)
                self.assertNotIn("error", mount.log().lower())

    def test_somebody_holds_a_file(self):
        mount = self.start()
        sealed = os.open(mount.join("a.gguf"), os.O_RDONLY)
        self.assertEqual(os.read(sealed, 10), common.model_bytes(10))
        self.assert_ends(mount)
        with contextlib.suppress(OSError):
            os.close(sealed)  # there is nobody left to tell

    def test_somebody_stands_in_it(self):
        mount = self.start()
        with subprocess.Popen(["sleep", "600"], cwd=mount.path) as sleeper:
            self.assert_ends(mount)
            sleeper.kill()

    def test_busy_readers_get_an_error(self):
        mount = self.start()
        readers = [Reader(PREAD_FOR_EVER, mount.join("a.gguf")) for _ in range(4)]
        self.assert_ends(mount)
        for reader in readers:
            code, out = reader.wait()
            self.assertEqual(code, 7, out)

    def test_lazily_unmounted_by_others(self):
        """Serves whoever still reads, and ends after the last of them."""
        mount = self.start()
        mount.ended = True
        with open(mount.join("a.gguf"), "rb", buffering=0) as sealed:
            subprocess.run(["umount", "-l", mount.path], check=True)
            self.assertEqual(sealed.readall(), common.model_bytes(self.SIZE))
            self.assertIsNone(mount.process.poll())
        self.assertEqual(mount.process.wait(SOON_S), 0)

    def test_users_mount(self):
        """Without root the daemon asks fusermount3 to take the mount away."""
        common.need_user_mounts(self)
        point, key = self.lab.path("users", "mnt", make=True), self.lab.path("users", "key")
        os.chmod(self.lab.dir, 0o711)
        program = shutil.copy(common.SEALEDFS, os.path.dirname(point))
        with open(self.key, "rb") as key_file, open(key, "wb") as copy:
            copy.write(key_file.read())
        os.chmod(key, 0o600)
        for path in (os.path.dirname(point), point, key):
            os.chown(path, 65534, 65534)
        process = subprocess.Popen(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig", "KILL",
             "--", program, self.source, point, "-f", "-o",
             f"key-file={key},attest=none,measure=none"],
            env=self.lab.env(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        common.wait_for("mount", lambda: common.is_mounted(point), process)
        process.terminate()
        _, err = process.communicate(timeout=SOON_S)
        self.assertEqual(process.returncode, 0, err)
        self.assertFalse(common.is_mounted(point))


class SilentTpm(Ending):
    """A TPM that takes the connection and never answers: opening waits for it."""

    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.connected = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            while True:
                held.enter_context(self.server.accept()[0])
                self.connected.set()

    def start(self):
        tcti = f"swtpm:host=127.0.0.1\\,port={self.server.getsockname()[1]}"
        return self.lab.start_mount(self.source, "key-file=" + self.key, "tcti=" + tcti)

    def opening(self, mount, count=1):
        readers = [Reader(OPEN, mount.join("a.gguf")) for _ in range(count)]
        self.assertTrue(self.connected.wait(SOON_S))
        return readers

    def test_a_reader_that_waits_can_be_killed(self):
        mount = self.start()
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            (reader,) = self.opening(mount)
            began = time.monotonic()
            reader.process.send_signal(number)
            self.assertNotEqual(reader.wait()[0], 0)
            self.assertLess(time.monotonic() - began, SOON_S)
        mount.kill()

    def test_the_mount_stays_usable(self):
        """However many wait for the model, other requests are answered."""
        mount = self.start()
        readers = self.opening(mount, 40)
        self.assertEqual(sorted(os.listdir(mount.path)), ["a.gguf", "b.gguf"])
        self.assertEqual(os.path.getsize(mount.join("b.gguf")), self.SIZE)
        self.assertEqual(len(os.getxattr(mount.join("b.gguf"), "user.sealedfs.sha256")), 64)
        for reader in readers:
            reader.process.kill()
        for reader in readers:
            reader.wait()
        mount.kill()

    def test_the_daemon_ends_all_the_same(self):
        mount = self.start()
        (reader,) = self.opening(mount)
        mount.ended = True
        mount.process.terminate()
        self.assertEqual(mount.process.wait(SOON_S), 0, mount.log())
        self.assertFalse(common.is_mounted(mount.path))
        code, out = reader.wait()
        self.assertEqual(code, 7, out)


class SilentS3(common.Case):
    """S3 that stops in the middle of an answer."""

    PARTS = ("s3",)
    SIZE = 24 * MIB

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = common.make_model(cls.lab.path("a.gguf"), cls.SIZE)
        cls.key = cls.lab.key_file()
        cls.lab.seal(cls.plain, cls.lab.s3_url("prod/"), "--key-file", cls.key)

    def start(self):
        return self.lab.start_mount(self.lab.s3_url("prod"), "key-file=" + self.key, "attest=none",
                                    "measure=none")

    def test_the_daemon_ends_and_readers_get_an_error(self):
        mount = self.start()
        path = mount.join("a.gguf")
        with open(path, "rb", buffering=0) as sealed:
            self.assertEqual(sealed.read(4096), common.model_bytes(4096))
        with self.lab.s3.fault(match=r"GET .*\.sealed", kind="stall"):
            self.lab.s3.clear_log()
            readers = [Reader(POPULATE, path), Reader(PREAD_FOR_EVER, path)]
            common.wait_for("a request that stalls", self.lab.s3.log)
            mount.ended = True
            mount.process.terminate()
            self.assertEqual(mount.process.wait(SOON_S), 0, mount.log())
            self.assertFalse(common.is_mounted(mount.path))
            # The kernel goes on asking for the one that populates, until it is killed.
            readers[0].process.kill()
            codes = [reader.wait()[0] for reader in readers]
        self.assertEqual(codes, [-signal.SIGKILL, 7])

    def test_slow_answers_are_waited_for(self):
        mount = self.start()
        with self.lab.s3.fault(match=r"GET .*\.sealed", kind="slow", ms=300, times=6):
            self.assertEqual(common.digest(mount.join("a.gguf")), common.digest(self.plain))
        mount.unmount()

    def test_damage_on_the_way_is_repaired(self):
        """A flipped bit that is not there at the second try."""
        mount = self.start()
        with self.lab.s3.fault(match=r"GET .*\.sealed", kind="flip", times=1):
            self.assertEqual(common.digest(mount.join("a.gguf")), common.digest(self.plain))
        self.assertEqual(mount.log(), "")
        mount.unmount()


if __name__ == "__main__":
    common.main()
