"""What the benchmark asks of the machine: processes, mounts, CPU time, memory, OpenSSL's speed.

Nothing here knows what is being measured. Processes are ended by the handle that started them.
"""

import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
CPUS = os.cpu_count() or 1


class BenchError(Exception):
    """Something that the benchmark needs did not work; the text says what."""


def tail(path, lines=12):
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:]).strip()
    except OSError:
        return ""


def run(*argv, env=None, data=None, timeout=1800):
    """Standard output of a command that must succeed."""
    try:
        done = subprocess.run(argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, **(env or {})}, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as late:
        raise BenchError("%s did not end in %d s" % (argv[0], timeout)) from late
    if done.returncode != 0:
        raise BenchError("%s: exit code %d: %s" % (
            " ".join(map(os.path.basename, argv[:2])), done.returncode,
            done.stderr.decode(errors="replace").strip()[-600:]))
    return done.stdout


def run_costed(*argv):
    """(CPU seconds, peak resident bytes) of a command that must succeed."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=errors)  # pylint: disable=consider-using-with
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            raise BenchError("%s: exit code %d: %s" % (
                os.path.basename(argv[0]), process.returncode,
                errors.read().decode(errors="replace").strip()[-600:]))
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def run_json(*argv, **options):
    return json.loads(run(*argv, **options))


def wait_until(ready, process, what, log=None, deadline_s=60):
    """Polls a condition while the process lives."""
    end = time.monotonic() + deadline_s
    while not ready():
        if process.poll() is not None:
            raise BenchError("%s ended with exit code %d: %s" % (
                what, process.returncode, tail(log) if log else ""))
        if time.monotonic() > end:
            raise BenchError("%s is not ready after %d s" % (what, deadline_s))
        time.sleep(0.005)


@contextlib.contextmanager
def service(argv, ready, log, env=None, cgroup=None, stop=signal.SIGTERM):
    """Runs a program in the foreground while the block lasts; yields its Popen once it is ready."""
    with open(log, "wb") as out:
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})}, preexec_fn=cgroup.enter if cgroup else None)
    try:
        wait_until(ready, process, os.path.basename(argv[0]), log)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def mounted(argv, mountpoint, log, env=None, cgroup=None):
    """A FUSE server in the foreground; unmounted, and so ended, after the block."""
    os.makedirs(mountpoint, exist_ok=True)

    def unmount():
        for lazy in ((), ("-z",)):
            if not os.path.ismount(mountpoint):
                return
            subprocess.run(["fusermount3", "-u", *lazy, mountpoint], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with service(argv, lambda: os.path.ismount(mountpoint), log, env, cgroup) as process:
        try:
            yield process
        finally:
            unmount()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


def bdi(mountpoint):
    device = os.stat(mountpoint).st_dev
    return "/sys/class/bdi/%d:%d/read_ahead_kb" % (os.major(device), os.minor(device))


def readahead_kib(mountpoint):
    with open(bdi(mountpoint), encoding="ascii") as setting:
        return int(setting.read())


def set_readahead_kib(mountpoint, kib):
    with open(bdi(mountpoint), "w", encoding="ascii") as setting:
        setting.write(str(kib))


# ---------------------------------------------------------------- CPU time and memory

def cpu_seconds(pids):
    """User and system time of these processes and the children they waited for."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            with open("/proc/%d/stat" % pid, encoding="utf-8") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            total += sum(map(int, fields[11:15]))
    return total / TICKS


def peak_rss_bytes(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            with open("/proc/%d/status" % pid, encoding="utf-8") as status:
                found = re.search(r"VmHWM:\s*(\d+) kB", status.read())
            total += int(found[1]) * 1024 if found else 0
    return total


def children(pid):
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task), encoding="ascii") as names:
                found += [int(name) for name in names.read().split()]
    return found


class Ballast:
    """Memory that the host still backs, held and let go as a sample needs it (ballast.c)."""

    KEEP_MIB = 1024

    def __init__(self, program, size_bytes, keep_mib=KEEP_MIB):
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            [program, str(keep_mib), str(max(size_bytes >> 20, 2 * keep_mib))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        Meter.helpers.append(self._process.pid)

    @staticmethod
    def needed():
        """Whether this is a machine that returns free memory to its host: one with a balloon."""
        with contextlib.suppress(OSError):
            return any(name.startswith("virtio")
                       for name in os.listdir("/sys/bus/virtio/drivers/virtio_balloon"))
        return False

    def take(self):
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise BenchError("the ballast sank: there is too little memory for this size")

    def stop(self):
        Meter.helpers.remove(self._process.pid)
        self._process.communicate()


class Meter:
    """CPU time of our processes, and of everybody else, while the block lasts.

    A server's time is read from /proc before and after; what our own children used is in
    getrusage once they are waited for. The rest of the machine's busy time is foreign: other work
    on the machine, which makes a sample worthless.
    """

    helpers = []  # pids of ours that serve no subject

    def __init__(self, pids=(), others=()):
        self.pids, self.others = list(pids), [*others, *self.helpers]
        self.server_cpu_s = self.foreign_share = self.wall_s = 0.0

    @staticmethod
    def _busy_s():
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(field) for field in stat.readline().split()[1:9]]
        return (sum(fields) - fields[3] - fields[4]) / TICKS  # without idle and iowait

    def _own_s(self):
        return sum(os.times()[:4]) + cpu_seconds(self.others)

    def __enter__(self):
        self._began = (time.monotonic(), self._busy_s(), self._own_s(), cpu_seconds(self.pids))
        return self

    def __exit__(self, *_):
        wall, busy, own, server = self._began
        self.wall_s = time.monotonic() - wall
        self.server_cpu_s = cpu_seconds(self.pids) - server
        foreign = self._busy_s() - busy - (self._own_s() - own) - self.server_cpu_s
        self.foreign_share = max(0.0, foreign / max(self.wall_s * CPUS, 1e-3))


class Cgroup:
    """A memory limit, by cgroup v1 or v2, whichever this machine has; None where it has neither."""

    def __init__(self, name, limit_bytes):
        for base, limit, events in (
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
                ("/sys/fs/cgroup", "memory.max", "memory.events")):
            if not os.path.exists(os.path.join(base, "cgroup.procs")):
                continue
            self.path = os.path.join(base, name)
            self.events = os.path.join(self.path, events)
            try:
                os.makedirs(self.path, exist_ok=True)
                with open(os.path.join(self.path, limit), "w", encoding="ascii") as out:
                    out.write(str(limit_bytes))
            except OSError:
                with contextlib.suppress(OSError):
                    os.rmdir(self.path)
                continue
            return
        raise BenchError("no memory cgroup that may be made here")

    def enter(self):
        with open(os.path.join(self.path, "cgroup.procs"), "w", encoding="ascii") as out:
            out.write(str(os.getpid()))

    def kills(self):
        with open(self.events, encoding="ascii") as events:
            found = re.search(r"^oom_kill (\d+)", events.read(), re.M)
        return int(found[1]) if found else 0

    def remove(self):
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


# ---------------------------------------------------------------- what machine this is

def openssl_speed(algorithm, seconds=1, jobs=1, block_bytes=524288):
    """Bytes a second by `openssl speed`, for all jobs together."""
    argv = ["openssl", "speed", "-mr", "-seconds", str(seconds), "-bytes", str(block_bytes)]
    if jobs > 1:
        argv += ["-multi", str(jobs)]
    out = run(*argv, "-evp", algorithm).decode()
    found = re.findall(r"^\+F:\d+:[^:]+:([\d.]+)$", out, re.M)
    if not found:
        raise BenchError("openssl speed said nothing about " + algorithm)
    return float(found[-1])


def describe():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        cpu = re.search(r"model name\s*:\s*(.*)", info.read())
    with open("/etc/os-release", encoding="utf-8") as release:
        system = re.search(r'PRETTY_NAME="(.*)"', release.read())
    with open("/proc/meminfo", encoding="ascii") as info:
        memory_kib = int(re.search(r"MemTotal:\s*(\d+)", info.read())[1])

    def version(*argv):
        try:
            return run(*argv).decode().splitlines()[0].strip()
        except (BenchError, OSError, IndexError):
            return None

    return {
        "cpu": cpu[1] if cpu else platform.machine(), "cpus": CPUS,
        "memory_gib": round(memory_kib / 1048576, 1),
        "system": system[1] if system else None, "kernel": platform.release(),
        "openssl": version("openssl", "version"), "gocryptfs": version("gocryptfs", "-version"),
        "rclone": version("rclone", "version"), "fuse3": version("fusermount3", "--version"),
    }
