#!/usr/bin/python3
"""Fetching ahead from S3 and filling the page cache (-o fill=): what is asked of the server, what a
reader then waits for, and that memory limits, tampering and unmounting end it."""

import json
import mmap
import os
import re
import subprocess
import threading
import time

import common
from common_cgroup import Cgroup
from common import CHUNK, MIB

SIZE = 64 * MIB + 3 * CHUNK + 4097
PAGE = 4096
# The kernel may drop clean pages at any time, and on small virtual machines it does.
NEARLY = SIZE - SIZE // 8


def resident(path):
    """Bytes of a file that are in the page cache, without reading it."""
    libc = common.ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = common.ctypes.c_void_p
    libc.mmap.argtypes = [common.ctypes.c_void_p, common.ctypes.c_size_t] + \
        [common.ctypes.c_int] * 3 + [common.ctypes.c_long]
    libc.mincore.argtypes = [common.ctypes.c_void_p, common.ctypes.c_size_t, common.ctypes.c_void_p]
    libc.munmap.argtypes = [common.ctypes.c_void_p, common.ctypes.c_size_t]
    size = os.stat(path).st_size
    with common.opened(path) as descriptor:
        at = libc.mmap(None, size, 1, 1, descriptor, 0)
        pages = common.ctypes.create_string_buffer((size + PAGE - 1) // PAGE)
        try:
            if libc.mincore(at, size, pages) != 0:
                raise OSError(common.ctypes.get_errno(), "mincore")
        finally:
            libc.munmap(at, size)
    return min(size, sum(byte & 1 for byte in pages.raw) * PAGE)


class Filling(common.Case):
    """Helpers. One model in S3, sealed once."""

    PARTS = ("s3",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.plain = common.make_model(cls.lab.path("m.gguf"), SIZE)
        cls.source = cls.lab.s3_url("fill")
        cls.lab.seal(cls.plain, cls.source + "/", "--key-file", cls.key, "-q")

    def mount(self, *more, source=None, **how):
        return self.lab.mount(source or self.source, "key-file=" + self.key, "attest=none",
                              "measure=none", *more, **how)

    def gets(self, name=r"\.sealed$"):
        """GETs of payloads so far, as (first, last) bytes."""
        found = []
        for entry in self.lab.s3.log():
            if entry["method"] == "GET" and re.search(name, entry["key"] or ""):
                first, last = entry["range"].split("=")[1].split("-")
                found.append((int(first), int(last)))
        return found

    def fetched(self):
        return sum(last + 1 - first for first, last in self.gets())

    def assert_same(self, path, plain=None):
        self.assertEqual(common.digest(path), common.digest(plain or self.plain))


class AtMount(Filling):
    """What is opened before the mount is there goes into the page cache once it is. Nobody opens or
    looks up anything here: the daemon's own report is asked."""

    PARTS = ("s3", "tpm")

    def filled(self, mount, name="m.gguf"):
        with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as report:
            (model,) = [model for model in json.load(report)["models"] if model["name"] == name]
        return model.get("filled_bytes", 0)

    def test_without_an_open(self):
        for number, options in enumerate((
                ("measure=none", "ready=unlocked", "fill=all"),
                ("measure=verity", "ready=measured", "fill=all"),
                ("measure=sha384", "ready=measured", "fill=all"),
                ("measure=sha384", "ready=measured"),
                ("measure=sha256", "ready=measured", "fill=auto"))):
            with self.subTest(options=options):
                self.lab.tpm.ask("POST", "reboot", {})
                with self.lab.mount(self.source, "key-file=" + self.key, "attest=none", "event-log="
                                    + self.lab.path(f"events.{number}"), *options) as mount:
                    common.wait_for("filled", lambda: self.filled(mount) >= NEARLY)
                    self.lab.s3.clear_log()
                    path = mount.join("m.gguf")
                    self.assertGreaterEqual(resident(path), NEARLY // 2)
                    self.assert_same(path)
                    self.assertLessEqual(self.fetched(), SIZE // 2)

    def test_nothing_without_a_reason(self):
        """Not measured yet, not wanted: the page cache is left alone."""
        for number, options in enumerate((
                ("measure=verity", "ready=unlocked", "fill=all"),
                ("measure=verity", "ready=measured"),
                ("measure=sha384", "ready=measured", "fill=off"))):
            with self.subTest(options=options):
                self.lab.tpm.ask("POST", "reboot", {})
                with self.lab.mount(self.source, "key-file=" + self.key, "attest=none", "event-log="
                                    + self.lab.path(f"no-events.{number}"), *options) as mount:
                    time.sleep(2)
                    self.assertEqual(self.filled(mount), 0)
                    self.assert_same(mount.join("m.gguf"))

    def test_what_a_reload_brings(self):
        source = self.lab.s3_url("fill-reload")
        self.lab.seal(self.plain, source + "/", "--key-file", self.key, "-q")
        with self.mount("ready=unlocked", "fill=all", source=source) as mount:
            self.lab.seal(self.plain, source + "/", "--name", "new.gguf", "--key-file", self.key,
                          "-q")
            self.assertEqual(subprocess.run([common.SEALEDFS, "--reload", mount.path], check=False,
                                            timeout=60).returncode, 0)
            common.wait_for("filled", lambda: self.filled(mount, "new.gguf") >= NEARLY)
            self.assert_same(mount.join("new.gguf"))


class All(Filling):
    def test_reader_asks_for_nothing(self):
        self.lab.s3.clear_log()
        with self.mount("fill=all") as mount:
            path = mount.join("m.gguf")
            with common.opened(path):
                common.wait_for("filled", lambda: resident(path) >= NEARLY)
            filled = self.fetched()
            self.assert_same(path)
            self.assertLessEqual(self.fetched() - filled, SIZE // 4)
        # Each byte once, but for the ends, which come first and by themselves.
        self.assertLessEqual(filled, SIZE + 4 * CHUNK)

    def test_from_a_directory(self):
        folder = self.lab.path("sealed")
        self.lab.seal(self.plain, folder, "--key-file", self.key, "-q")
        with self.mount("fill=all", source=folder) as mount:
            path = mount.join("m.gguf")
            with common.opened(path):
                common.wait_for("filled", lambda: resident(path) >= NEARLY)
            self.assert_same(path)

    def test_beside_readers(self):
        """Readers all over the file while it is filled."""
        failures = []

        def read(path, begin):
            if common.digest(path) != self.digest:
                failures.append(begin)

        self.digest = common.digest(self.plain)
        for _ in range(3):
            with self.mount("fill=all") as mount:
                readers = [threading.Thread(target=read, args=(mount.join("m.gguf"), i))
                           for i in range(4)]
                for reader in readers:
                    reader.start()
                for reader in readers:
                    reader.join()
        self.assertEqual(failures, [])

    def test_small_cgroup(self):
        """Filling stops below the limit: no pages are thrown away for others, and nobody is killed."""
        group = Cgroup(self, 112 * MIB)
        with self.mount("fill=all", "memory=32M") as mount:
            group.add(mount.pid)
            path = mount.join("m.gguf")
            with common.opened(path):
                last, still = -1, 0
                while still < 30:
                    now = resident(path)
                    still = still + 1 if now == last and now >= MIB else 0
                    last = now
                    time.sleep(0.05)
            self.assertIn(last // MIB, range(1, NEARLY // MIB))
            self.assert_same(path)
            self.assertEqual(group.kills(), 0)

    def test_tampered(self):
        """A bad chunk ends it; what was good stays readable."""
        plain = common.make_model(self.lab.path("bad.gguf"), SIZE, 7)
        self.lab.seal(plain, self.lab.s3_url("bad/"), "--key-file", self.key, "-q")
        bad_at = 40 * MIB
        folder = self.lab.s3.file("bad")
        payload = next(os.path.join(folder, name) for name in os.listdir(folder)
                       if name.endswith(".sealed"))
        times = os.stat(payload)
        with open(payload, "r+b") as out:
            out.seek(bad_at)
            byte = out.read(1)[0]
            out.seek(bad_at)
            out.write(bytes([byte ^ 1]))
        os.utime(payload, ns=(times.st_atime_ns, times.st_mtime_ns))
        with self.mount("fill=all", source=self.lab.s3_url("bad")) as mount:
            path = mount.join("bad.gguf")
            with common.opened(path) as descriptor, open(plain, "rb") as good:
                at = 0
                with self.assertRaises(OSError):
                    # A read ends before the first page that cannot be had; the next one fails.
                    while got := os.pread(descriptor, MIB, at):
                        self.assertEqual(got, os.pread(good.fileno(), len(got), at))
                        at += len(got)
                self.assertLessEqual(at, bad_at)

    def test_end_while_filling(self):
        with self.lab.s3.fault(match=r"GET .*\.sealed", kind="drip", bytes_per_s=MIB // 8):
            with self.mount("fill=all") as mount:
                with common.opened(mount.join("m.gguf")):
                    pass
                began = time.monotonic()
            self.assertLess(time.monotonic() - began, 100)


class Auto(Filling):
    def test_header_is_not_a_reader(self):
        """Ollama looks at every model when it starts."""
        self.lab.s3.clear_log()
        with self.mount() as mount:
            with common.opened(mount.join("m.gguf")) as descriptor:
                os.pread(descriptor, PAGE, SIZE // PAGE * PAGE)
                for at in range(0, 64 * 1024, PAGE):
                    os.pread(descriptor, PAGE, at)
            self.assertLessEqual(self.fetched(), 4 * CHUNK)

    def test_fills_while_readers_pause(self):
        with self.mount() as mount:
            path = mount.join("m.gguf")
            with common.opened(path) as descriptor:
                for at in range(0, 24 * MIB, MIB):
                    os.pread(descriptor, MIB, at)
                common.wait_for("filled", lambda: resident(path) >= NEARLY)
            self.lab.s3.clear_log()
            self.assert_same(path)
            self.assertLessEqual(self.fetched(), SIZE // 4)

    def test_off(self):
        with self.mount("fill=off") as mount:
            path = mount.join("m.gguf")
            with common.opened(path) as descriptor:
                for at in range(0, 24 * MIB, MIB):
                    os.pread(descriptor, MIB, at)
                time.sleep(0.5)
                self.assertLess(resident(path), 40 * MIB)

    def test_flat_pass_leaves_it_in_the_page_cache(self):
        tpm = common.Tpm(self.lab, "tpm")
        with self.lab.mount(self.source, "key-file=" + self.key, "attest=none", "measure=sha256",
                            tpm=tpm) as mount:
            path = mount.join("m.gguf")
            with common.opened(path):
                self.assertGreaterEqual(resident(path), NEARLY)
            self.lab.s3.clear_log()
            self.assert_same(path)
            self.assertLessEqual(self.fetched(), SIZE // 4)


class Rest(Filling):
    """What a small read leaves of a chunk."""

    AT = 20 * MIB + 5 * PAGE

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.lab.path("rests")
        cls.lab.seal(cls.plain, cls.folder, "--key-file", cls.key, "-q")

    def same(self, descriptor, at):
        with open(self.plain, "rb") as good:
            self.assertEqual(os.pread(descriptor, PAGE, at), os.pread(good.fileno(), PAGE, at))

    def test_stays_in_the_page_cache(self):
        with self.mount(source=self.folder) as mount:
            path = mount.join("m.gguf")
            with common.opened(path) as descriptor:
                self.same(descriptor, self.AT)
                common.wait_for("pushed", lambda: resident(path) >= CHUNK - 8 * PAGE)
                self.assertLessEqual(resident(path), 2 * CHUNK)
            self.assert_same(path)

    def test_off(self):
        with self.mount("fill=off", source=self.folder) as mount:
            path = mount.join("m.gguf")
            with common.opened(path) as descriptor:
                for at in range(self.AT, SIZE - CHUNK, 3 * MIB):
                    self.same(descriptor, at)
            self.assertLess(resident(path), CHUNK)

    def test_direct_readers_want_no_pages(self):
        with self.mount(source=self.folder) as mount:
            path = mount.join("m.gguf")
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
            try:
                with mmap.mmap(-1, PAGE) as page:
                    for at in range(self.AT, SIZE - CHUNK, 3 * MIB):
                        self.assertEqual(os.preadv(descriptor, [page], at), PAGE)
            finally:
                os.close(descriptor)
            self.assertEqual(resident(path), 0)

    def test_no_room_for_the_model(self):
        """A model that does not fit is not spread: its pages would drive out each other."""
        group = Cgroup(self, 112 * MIB)
        with self.mount("memory=32M", source=self.folder) as mount:
            group.add(mount.pid)
            path = mount.join("m.gguf")
            with common.opened(path) as descriptor:
                for at in range(self.AT, SIZE - CHUNK, 3 * MIB):
                    self.same(descriptor, at)
            self.assertLess(resident(path), CHUNK)
            self.assertEqual(group.kills(), 0)

    def test_tampered(self):
        folder = self.lab.path("bad-rests")
        self.lab.seal(self.plain, folder, "--key-file", self.key, "-q")
        payload = next(os.path.join(folder, name) for name in os.listdir(folder)
                       if name.endswith(".sealed"))
        with open(payload, "r+b") as out:
            out.seek(20 * MIB)
            byte = out.read(1)[0]
            out.seek(20 * MIB)
            out.write(bytes([byte ^ 1]))
        with self.mount(source=folder) as mount:
            with common.opened(mount.join("m.gguf")) as descriptor:
                self.same(descriptor, 40 * MIB + PAGE)
                for page in range(3):
                    with self.assertRaises(OSError):
                        os.pread(descriptor, PAGE, self.AT + page * PAGE)

    def test_end_while_pushing(self):
        for _ in range(5):
            with self.mount(source=self.folder) as mount:
                with common.opened(mount.join("m.gguf")) as descriptor:
                    for at in range(PAGE, SIZE - CHUNK, CHUNK):
                        self.same(descriptor, at)
                began = time.monotonic()
            self.assertLess(time.monotonic() - began, 100)


class Link(Filling):
    """How many requests at once."""

    def read_whole(self):
        with self.mount("fill=off") as mount:
            self.assert_same(mount.join("m.gguf"))

    def test_slow_down(self):
        """After refusals the daemon asks for less at a time, and still gets everything."""
        self.lab.s3.clear_log()
        with self.lab.s3.fault(match=r"GET .*\.sealed", times=12, kind="status", code="SlowDown"):
            self.read_whole()
        entries = [entry for entry in self.lab.s3.log() if (entry["key"] or "").endswith(".sealed")]
        refused = [entry for entry in entries if entry["status"] == 503]
        self.assertEqual(len(refused), 12)
        self.assertLess(len(entries), 12 + 40)

    def test_several_at_once(self):
        self.lab.s3.clear_log()
        self.lab.s3.ask("POST", "settings", {"latency_ms": 100})
        try:
            self.read_whole()
        finally:
            self.lab.s3.ask("POST", "settings", {"latency_ms": 0})
        stats = common.json.loads(self.lab.s3.ask("GET", "stats"))
        self.assertGreaterEqual(stats["most_in_flight"], 6)
        self.assertLessEqual(stats["most_in_flight"], 34)
        # Kept and used again.
        self.assertLess(stats["connections"], stats["requests"])


if __name__ == "__main__":
    common.main()
