"""Subjects that are no mount: the AWS sample's way, curl, and what sealing is held against."""

import contextlib
import os
import secrets
import shutil
import tempfile
import time

import machine
from machine import run, run_json
from subjects import Subject, View

# What sealing must do to each byte: encrypt, the tree's SHA-256, the flat SHA-256 and SHA-384.
SEALING = (("aes-256-gcm", 1), ("sha256", 2), ("sha384", 1))


class SampleWay(Subject):
    """Download, decrypt to disk, hash twice (sample_way.py). Its view is its work.

    A round's fetch is timed once for each model; the works that go on from there (the load modes
    of llama-server) find its file and its seconds.
    """

    name, title = "sample", "AWS sample's way"

    def __init__(self, bench):
        super().__init__(bench)
        self.script = os.path.join(bench.here, "sample_way.py")
        self.fetched = {}  # model name -> (round, steps)

    def fetch(self, model):
        """Steps of this round's fetch, which is done now if it was not yet."""
        known = self.fetched.get(model.name)
        if known is None or known[0] != self.bench.round:
            folder = self.work_dir("fetched-" + model.name)
            shutil.rmtree(folder)
            os.mkdir(folder)
            self.bench.settle(model)
            began = time.monotonic()
            steps = run_json("/usr/bin/python3", self.script, "fetch",
                             os.path.join(self.work_dir(), "key"), "%s/bench/sample/%s.enc" % (
                                 self.bench.web.url(), model.name), folder)
            steps["total_s"] = time.monotonic() - began
            known = self.fetched[model.name] = (self.bench.round, steps)
        return known[1]

    def prepare(self, model):
        key = os.path.join(self.work_dir(), "key")
        with open(key, "wb") as out:
            out.write(secrets.token_bytes(32))
        sealed = os.path.join(self.work_dir(), model.name + ".enc")
        run("/usr/bin/python3", self.script, "encrypt", key, model.path, sealed)
        self.bench.web.publish(sealed, "sample/" + model.name + ".enc")
        self.bench.web.start()
        return [sealed]

    @contextlib.contextmanager
    def view(self, model, cgroup=None):
        yield View(self.fetch(model)["plain"], others=self.bench.web.pids)


class CurlRanges(Subject):
    """As many ranged GETs in parallel as sealedfs has connections, of the size of its extents."""

    EXTENT = 8 << 20

    def __init__(self, bench, slow):
        super().__init__(bench)
        self.slow = slow
        self.name = "curl"
        self.title = "curl, %d ranged GETs of 8 MiB at a time" % bench.args.connections

    def prepare(self, model):
        self.bench.web.publish(model.path, "plain/" + model.name)
        self.bench.web.start()
        return [model.path]

    def download(self, model):
        """Bytes a second. The body goes to /dev/null: no disk, no decryption."""
        url = "%s/bench/plain/%s" % (self.bench.web.url(self.slow), model.name)
        config = os.path.join(self.work_dir(), "ranges")
        with open(config, "w", encoding="ascii") as out:
            for start in range(0, model.size, self.EXTENT):
                out.write('%surl = "%s"\nrange = "%d-%d"\noutput = "/dev/null"\nfail\n' % (
                    "next\n" if start else "", url, start,
                    min(start + self.EXTENT, model.size) - 1))
        began = time.monotonic()
        run("curl", "--noproxy", "*", "-sS", "--parallel", "--parallel-immediate", "--parallel-max",
            str(self.bench.args.connections), "-K", config)
        return model.size / (time.monotonic() - began)


class SealTo(Subject):
    """`sealctl seal` of a file to a directory on the same disk."""

    name, title, control = "sealctl", "sealctl seal", False

    def missing(self):
        return None if os.access(self.bench.sealctl, os.X_OK) else "sealctl is not built"

    def rate(self, model):
        folder = tempfile.mkdtemp(dir=self.work_dir())
        self.bench.vault.keys()
        try:
            began = time.monotonic()
            self.bench.vault.seal_to(model, folder)
            return model.size / (time.monotonic() - began)
        finally:
            shutil.rmtree(folder)


class DiskWrite(Subject):
    """Writing as many bytes to the same disk, with the fsync that publishing needs."""

    name, title = "disk", "write and fsync of the same size"

    def rate(self, model):
        piece = secrets.token_bytes(1 << 20)
        path = os.path.join(self.work_dir(), "written")
        began = time.monotonic()
        with open(path, "wb", buffering=0) as out:
            for _ in range(model.size >> 20):
                out.write(piece)
            os.fsync(out.fileno())
        rate = (model.size >> 20 << 20) / (time.monotonic() - began)
        os.unlink(path)
        return rate


class CipherAndHashes(Subject):
    """What both cores can do at most: the cipher, the tree and both flat hashes of each byte, by the
    libraries that sealctl uses, from the CPU's cache (rates.c).

    A flat hash runs on one core: the whole cannot be faster than SHA-384 alone.
    """

    name, title = "bound", "cipher and hashes, all cores, no I/O"

    def rate(self, model):
        rates = run_json(os.path.join(self.bench.tools, "rates"), "300")
        self.bench.facts["rates"] = rates
        return bound_of([rates[name] for name in ("cipher", "tree", "sha256", "sha384")],
                        rates["sha384"] / rates["cpus"])


def bound_of(all_cores, serial):
    """Rate of jobs done one after the other to each byte, each at its rate on all cores."""
    return min(1 / sum(1 / rate for rate in all_cores), serial)


class OpensslSpeed(Subject):
    """The same from `openssl speed`, one core of it: what the library gives by itself."""

    name, title = "openssl", "openssl speed: AES-GCM, 2 x SHA-256, SHA-384"

    def rate(self, model):
        speeds = {name: machine.openssl_speed(name) for name, _ in SEALING}
        self.bench.facts["openssl_speed_bytes_per_s"] = speeds
        return bound_of([machine.CPUS * speeds[name] / times for name, times in SEALING],
                        speeds["sha384"])
