#!/usr/bin/python3
"""Sources that fail for a while, or for good, under readers of every kind.

No reader may see a byte that is not the model's, an early end or another size, whoever asks for what
meanwhile. Who waits for a source costs next to nothing: a process that populates a mapping asks
again at once for what failed, and is answered slowly. SEALEDFS_STORM_S is the length of a storm.
"""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import tempfile
import time

import common
import fill
from common import CHUNK, MIB

STORM_S = float(os.environ.get("SEALEDFS_STORM_S") or
                (600 if common.THOROUGH else 6 if common.QUICK else 12))
SEED = int(os.environ.get("SEALEDFS_SEED") or random.SystemRandom().randrange(1 << 32))
SIZE = 40 * MIB + 4097
LEAST = SIZE // 16  # for each reader of a storm, which goes on after it until it has them
KINDS = ("read", "small", "direct", "about", "touch", "populate", "mlock", "readahead")
LOOPS = ("populate", "mlock")  # these the kernel repeats for ever
SHARE = 0.05  # of one processor, for whoever waits
SOON_S = 120  # generous: a busy machine; a hang lasts for ever
SETTLE_S, MEASURE_S = 2, 5
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of a process, all of its threads."""
    fields = common.read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Place:
    """A sealed model that can be out of reach."""

    def __init__(self, case, name):
        self.lab = case.lab
        self.is_s3 = name == "S3"
        if self.is_s3:
            self.source = self.lab.s3_url("models")
            folder = self.lab.s3.file("models")
        else:
            self.source = folder = common.copy_tree(
                self.lab.path("sealed"), tempfile.mkdtemp(dir=self.lab.dir) + "/sealed")
        (payload,) = [entry for entry in os.listdir(folder)
                      if entry.startswith("a.gguf.") and entry.endswith(".sealed")]
        self.payload = os.path.join(folder, payload)

    def fail(self, **fields):
        if self.is_s3:
            fault = {"kind": "status", "status": 403, "code": "AccessDenied", **fields}
            self.lab.s3.ask("POST", "fault", {"times": -1, "match": r"GET .*a\.gguf.*\.sealed",
                                              **fault})
        else:
            os.rename(self.payload, self.payload + ".away")

    def heal(self):
        if self.is_s3:
            self.lab.s3.ask("DELETE", "fault")
        elif os.path.exists(self.payload + ".away"):
            os.rename(self.payload + ".away", self.payload)

    @contextlib.contextmanager
    def failing(self, **fields):
        self.fail(**fields)
        try:
            yield
        finally:
            self.heal()


def holds(pid, path):
    """True when the process has the file open."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{number}") == path:
                return True
    return False


class Failing(common.Case):
    PARTS = ("s3",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        os.chmod(cls.lab.dir, 0o711)
        cls.plain = common.make_model(cls.lab.path("plain", "a.gguf"), SIZE)
        common.make_model(cls.lab.path("plain", "b.gguf"), 3 * CHUNK, 1)
        cls.key = cls.lab.key_file()
        for place in (cls.lab.path("sealed"), cls.lab.s3_url("models")):
            cls.lab.seal(cls.lab.path("plain"), place, "--key-file", cls.key)
        cls.program = cls.lab.path("readers")
        subprocess.run(["cc", "-O2", "-o", cls.program,
                        os.path.join(common.CASES, "helpers", "readers.c"), "-lpthread"], check=True)
        os.chmod(cls.plain, 0o644)
        os.chmod(cls.program, 0o755)

    def setUp(self):
        self.children = []
        self.addCleanup(self.end_children)

    def end_children(self):
        for child in self.children:
            common.end(child, signal.SIGKILL)
            child.stdout.close()

    def mount(self, place, *options, **how):
        return self.lab.mount(place.source, "key-file=" + self.key, "attest=none", "measure=none",
                              "allow_other", *options, **how)

    def start(self, kind, path, seconds, *prefix, least=0):
        """A process of helpers/readers.c: reads for so long, and until it has had so many bytes."""
        child = subprocess.Popen([*prefix, self.program, kind, path, self.plain, str(seconds),
                                  str(least)],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.children.append(child)
        return child

    def finish(self, child, kind, timeout_s):
        """The numbers of a reader that was given nothing wrong."""
        try:
            out, _ = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.fail(f"{kind}: does not end")
        self.assertEqual(child.returncode, 0, f"{kind}: {out}")
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", out)}

    def wait_until_told(self, mount, loops):
        """Those that loop at one page take turns, the others wait for its lock in the kernel.
        A reader that came after the damage was seen could not open the model: it does not wait."""
        def told():
            named = {entry["process"] for entry in self.status(mount).get("waiting", ())}
            return named and named >= {child.pid for child in loops
                                       if holds(child.pid, mount.join("a.gguf"))}

        common.wait_for("all that wait to be named", told)

    def status(self, mount):
        began = time.monotonic()
        with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as source:
            report = json.load(source)
        self.assertLess(time.monotonic() - began, SOON_S)
        (model,) = [model for model in report["models"] if model["name"] == "a.gguf"]
        return model


class Waiting(Failing):
    """A source that is away while readers of every kind ask for it."""

    def shares(self, processes):
        """Share of one processor of each, over some seconds."""
        before = {name: cpu_seconds(pid) for name, pid in processes.items()}
        began = time.monotonic()
        time.sleep(MEASURE_S)
        took = time.monotonic() - began
        return {name: (cpu_seconds(pid) - before[name]) / took for name, pid in processes.items()}

    def assert_calm(self, mount, children):
        """Soon; and then for as long as it is looked at."""
        end = time.monotonic() + SOON_S
        while True:
            time.sleep(SETTLE_S)
            shares = self.shares({"daemon": mount.pid, **{
                f"{kind} {child.pid}": child.pid for kind, child in children}})
            if max(shares.values()) <= SHARE:
                return
            self.assertLess(time.monotonic(), end, shares)

    def assert_others_are_served(self, mount):
        """Another file, and a first read of what fails: answered soon, with error or bytes."""
        began = time.monotonic()
        self.assertEqual(common.digest(mount.join("b.gguf")),
                         common.digest(self.lab.path("plain", "b.gguf")))
        self.assert_refused(mount, 20 * MIB, 2 * SOON_S)
        self.assertLess(time.monotonic() - began, SOON_S)
        # Who asks for a page that others loop at waits for its lock, which the kernel hands over
        # in no particular order after each answer.
        self.assert_refused(mount, self.status(mount)["waiting"][0]["offset"], 9 * SOON_S)

    def assert_refused(self, mount, at, timeout_s):
        first = subprocess.run(["dd", "if=" + mount.join("a.gguf"), "of=/dev/null", "bs=4096",
                                f"skip={at // 4096}", "count=1"], stderr=subprocess.PIPE,
                               text=True, check=False, timeout=timeout_s)
        self.assertIn("Input/output error", first.stderr)

    def assert_told(self, mount, loops):
        """Status and log name the file, the place and who waits."""
        self.wait_until_told(mount, loops)
        model = self.status(mount)
        self.assertTrue(all(entry["offset"] < SIZE for entry in model["waiting"]))
        text = common.read_text(mount.join(".sealedfs", "status"))
        self.assertRegex(text, r"waiting: \d+ readers? .*process \d+ at offset \d+")
        self.assertRegex(common.read_text(mount.join(".sealedfs", "metrics")),
                         r'sealedfs_model_waiting_readers\{model="a.gguf"\} [1-9]')
        about = [line for line in mount.log().splitlines() if "keeps requesting it" in line]
        self.assertEqual(len(about), 1, mount.log())
        self.assertRegex(about[0], r"a\.gguf: offset \d+ cannot be read.*process: \d+")

    def killed(self, child):
        child.kill()
        child.wait(SOON_S)

    def check(self, name):
        place = Place(self, name)
        with self.mount(place) as mount:
            path = mount.join("a.gguf")
            with common.opened(path), place.failing():  # unlocked, nothing read
                # Until they get something, which is when the source is healed.
                loops = [(kind, self.start(kind, path, 0, least=1)) for kind in LOOPS * 2]
                self.assert_told(mount, [child for _, child in loops])
                children = loops + [(kind, self.start(kind, path, 0, least=1)) for kind in KINDS]
                self.assert_calm(mount, children)
                self.assert_others_are_served(mount)
                self.killed(loops.pop()[1])
            for kind, child in children:
                if child.returncode is None:
                    self.finish(child, kind, 4 * SOON_S)
            self.assertEqual(common.digest(path), common.digest(self.plain))
            common.wait_for("nobody waits", lambda: not self.status(mount)["waiting_readers"])

    def test_directory(self):
        self.check("directory")

    def test_s3(self):
        self.check("S3")

    def test_a_first_populating_mapping_goes_on_when_healed(self):
        """Each page of it is the model's."""
        place = Place(self, "directory")
        with self.mount(place) as mount:
            with common.opened(mount.join("a.gguf")), place.failing():
                child = self.start("populate", mount.join("a.gguf"), 3)
                time.sleep(4)
                self.assertIsNone(child.poll())
            found = self.finish(child, "populate", SOON_S)
            self.assertGreaterEqual(found["bytes"], 8 * MIB)
            self.assertEqual(found["faults"], 0)

    def test_a_signal_that_does_not_kill_hurries_nothing(self):
        """A process with a signal pending is interrupted in each read, and must not spin."""
        place = Place(self, "directory")
        with self.mount(place) as mount, common.opened(mount.join("a.gguf")), place.failing():
            # Blocked signals do not count; the loop cannot take one that is not.
            child = self.start("populate", mount.join("a.gguf"), 60)
            self.wait_until_told(mount, [child])
            child.send_signal(signal.SIGBUS)  # has a handler
            self.assert_calm(mount, [("populate", child)])
            self.killed(child)

    def test_tampered(self):
        """A model that stays wrong: slow errors, no end of file, no new reader, no CPU."""
        place = Place(self, "directory")
        with open(place.payload, "r+b") as payload:
            payload.seek(5 * CHUNK + 4097)
            payload.write(b"damaged")
        with self.mount(place) as mount:
            path = mount.join("a.gguf")
            loops = [(kind, self.start(kind, path, 600)) for kind in LOOPS]
            self.wait_until_told(mount, [child for _, child in loops])
            self.assert_calm(mount, loops)
            self.assert_io_error(path, 74)  # EBADMSG
            self.assertEqual(os.stat(path).st_size, SIZE)
            for _, child in loops:
                self.killed(child)
            about = [line for line in mount.log().splitlines() if "altered chunk" in line]
            self.assertEqual(len(about), 1, mount.log())


class Ends(Failing):
    """The daemon is told to end, or the mount is taken away, while readers wait."""

    @contextlib.contextmanager
    def waiting(self):
        """(mount, the place, readers that loop), of which the source has just failed."""
        place = Place(self, "directory")
        mount = self.lab.start_mount(place.source, "key-file=" + self.key, "attest=none",
                                     "measure=none")
        path = mount.join("a.gguf")
        with common.opened(path):
            place.fail()
            loops = [self.start(kind, path, 5) for kind in LOOPS]
            self.wait_until_told(mount, loops)
        try:
            yield mount, place, loops
        finally:
            place.heal()

    def assert_ended(self, mount):
        mount.ended = True
        self.assertEqual(mount.process.wait(SOON_S), 0, mount.log())
        self.assertFalse(common.is_mounted(mount.path))

    def test_told_to_end(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number), self.waiting() as (mount, _, loops):
                mount.process.send_signal(number)
                self.assert_ended(mount)
                for child in loops:
                    child.kill()
                    child.wait(SOON_S)

    def test_unmounted_lazily(self):
        """Who waits is served on: healed, it gets its bytes, and the daemon ends after it."""
        with self.waiting() as (mount, place, loops):
            subprocess.run(["umount", "-l", mount.path], check=True)
            time.sleep(1)
            self.assertIsNone(mount.process.poll())
            place.heal()
            for child in loops:
                self.finish(child, "loop", SOON_S)
            self.assert_ended(mount)

    def test_unmounted_when_readers_were_killed(self):
        with self.waiting() as (mount, _, loops):
            for child in loops:
                child.kill()
                child.wait(SOON_S)
            mount.unmount()

    def test_reloads_while_readers_wait(self):
        with self.waiting() as (mount, place, loops):
            done = self.lab.run(common.SEALEDFS, "--reload", mount.path)
            self.assert_result(done, common.OK)
            place.heal()
            for child in loops:
                self.finish(child, "loop", SOON_S)
            mount.unmount()

    def test_populating_reader_may_finish(self):
        """Told to end while a mapping is being populated from a good source: it gets its bytes, if
        these come often enough (fs/daemon/daemon.c). A busy machine may need several attempts."""
        place = Place(self, "S3")
        for _ in range(20):
            mount = self.lab.start_mount(place.source, "key-file=" + self.key, "attest=none",
                                         "measure=none", "fill=off")
            with self.lab.s3.fault(match=r"GET .*\.sealed", kind="slow", ms=50):
                child = self.start("populate", mount.join("a.gguf"), 0)  # one window
                common.wait_for("a read", lambda mount=mount, child=child: child.poll() is not None
                                or self.status(mount).get("reads_in_flight"))
                mount.process.terminate()
                self.assert_ended(mount)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
            if child.poll() is None:  # the kernel asks for ever; nobody is there
                child.kill()
                child.communicate()
                continue
            found = self.finish(child, "populate", SOON_S)
            if found["bytes"] >= 8 * MIB and found["faults"] == 0:
                return
        self.fail("no reader has got its bytes")


class Attack(Failing):
    """A local user without rights asks for fresh attributes while the source fails."""

    ROUNDS = 3

    def test_no_page_is_wrong(self):
        place = Place(self, "directory")
        plain = common.read_bytes(self.plain)
        with self.mount(place, "memory=32M", "mode=0444") as mount:
            path = mount.join("a.gguf")
            with common.opened(path) as victim:
                for _ in range(self.ROUNDS):
                    with place.failing():
                        child = self.start("attack", path, 4, *NOBODY)
                        found = self.finish(child, "attack", 2 * SOON_S)
                        self.assertGreater(found["errors"], 0)
                        self.assertEqual(os.fstat(victim).st_size, SIZE)
                    for at in range(0, SIZE, MIB):
                        got = os.pread(victim, MIB, at)
                        self.assertTrue(got == plain[at:at + MIB], f"other bytes at {at}")


class Storm(Failing):
    """Fails and heals again and again."""

    # Some of these are answered at once, some tried again by the daemon.
    FAULTS = ({"status": 403, "code": "AccessDenied"}, {"status": 404, "code": "NoSuchKey"},
              {"status": 503, "code": "SlowDown"}, {"kind": "cut"}, {"kind": "reset"})

    def storm(self, name, *options, prefix=()):
        dice = random.Random(SEED)
        place = Place(self, name)
        with self.subTest(place=name, options=options, seed=SEED), \
                self.mount(place, *options) as mount:
            path = mount.join("a.gguf")
            with common.opened(path):
                pass
            with place.failing():  # nothing has been read yet: the first reader meets an error
                children = [(kind, self.start(kind, path, STORM_S, *prefix, least=LEAST))
                            for kind in KINDS]
                common.wait_for("a read to fail",
                                lambda: sum(self.status(mount)["errors"].values()))
            end = time.monotonic() + STORM_S
            while time.monotonic() < end:
                fields = dict(dice.choice(self.FAULTS))
                if fields.get("kind") in ("cut", "reset"):  # have no status
                    with place.failing() if not place.is_s3 else self.lab.s3.fault(
                            match=r"GET .*\.sealed", **fields):
                        time.sleep(dice.uniform(0.1, 2))
                else:
                    with place.failing(**fields):
                        time.sleep(dice.uniform(0.1, 2))
                time.sleep(dice.uniform(0.1, 1))
            found = {kind: self.finish(child, kind, 8 * SOON_S) for kind, child in children}
            self.assertGreater(sum(n["bytes"] for n in found.values()), SIZE // 4, found)
            self.assertEqual(common.digest(path), common.digest(self.plain))

    def test_directory(self):
        self.storm("directory")

    def test_s3(self):
        self.storm("S3")

    def test_little_memory(self):
        """Few buffers; and a control group in which pages go as soon as they came."""
        group = fill.Cgroup(self, 48 * MIB)
        inside = ("/bin/sh", "-c", f'echo $$ >{group.path}/cgroup.procs; exec "$@"', "sh")
        for name in ("directory", "S3"):
            self.storm(name, "memory=32M", prefix=inside)
        self.end_children()
        self.children = []


if __name__ == "__main__":
    common.CASE_FILE_S += int(5 * STORM_S)
    common.main()
