"""The rows: what is done to a model, by whom, and which ratio is the goal.

A group is one kind of work with all its subjects, measured in turn. Rates are in
GB/s (10^9 bytes), times in seconds.
"""

import contextlib
import os
import sys
import time

import crypto_rates
import machine
from machine import BenchError, Meter
from others import CipherAndHashes, CurlRanges, DiskWrite, OpensslSpeed, SampleWay, SealTo
from subjects import Gocryptfs, NullFuse, Plain, Rclone, Sealed

MODES = ("none", "declared", "verity", "sha256", "sha384")
FLAT = ("sha256", "sha384")  # their first open reads the whole model


class Group:
    """One kind of work. measure(group, bench, subject, model) returns a sample (a dict)."""

    def __init__(self, name, title, unit, subjects, measure, arguments=(), size="main", note="",
                 runs_max=1000):
        self.name, self.title, self.unit = name, title, unit
        self.subjects, self.measure, self.arguments = subjects, measure, arguments
        self.size, self.note, self.runs_max = size, note, runs_max

    @property
    def higher_is_better(self):
        return self.unit != "s"


def sample(value, meter, view=None, bytes_done=0, reader_cpu_s=None):
    found = {"value": value, "foreign_cpu": round(meter.foreign_share, 3)}
    if view is not None and view.pids:
        found["peak_rss_mib"] = round(machine.peak_rss_bytes(view.pids) / 1048576, 1)
        if bytes_done:
            found["server_cpu_s_per_gb"] = round(meter.server_cpu_s / bytes_done * 1e9, 3)
    if reader_cpu_s is not None and bytes_done:
        found["reader_cpu_s_per_gb"] = round(reader_cpu_s / bytes_done * 1e9, 3)
    return found


def metered(view):
    return Meter(view.pids, view.others)


def measure_reader(group, bench, subject, model):
    """The reader on a fresh mount."""
    subject.warm(model)
    arguments = list(group.arguments)
    if arguments[0] == "random":
        arguments += ["--count", str(bench.args.count), "--seed", str(bench.round + 1)]
    with subject.view(model) as view:
        with metered(view) as meter:
            out = bench.reader(*arguments, view.path)
        seconds = out["seconds"]
        if getattr(subject, "mode", None) in FLAT:
            seconds += out["open_seconds"]
        rate = out["operations"] / seconds if group.unit == "reads/s" else out["bytes"] / seconds / 1e9
        return sample(rate, meter, view, out["bytes"], out["cpu_seconds"])


def measure_again(group, bench, subject, model):
    """The same reader a second time on the same mount."""
    subject.warm(model)
    with subject.view(model) as view:
        bench.reader(*group.arguments, view.path)
        with metered(view) as meter:
            out = bench.reader(*group.arguments, view.path)
        return sample(out["bytes"] / out["seconds"] / 1e9, meter, view, out["bytes"],
                      out["cpu_seconds"])


def measure_fill(group, bench, subject, model):
    """A model that is in nobody's memory: into the mount's own, where it has one, and then the reader."""
    subject.warm(model)
    with subject.view(model) as view:
        with metered(view) as meter:
            fill_s = subject.fill(view.path) if isinstance(subject, Sealed) else 0.0
            reader_s = 0.0
            if group.arguments or not fill_s:
                out = bench.reader(*(group.arguments or ("read",)), view.path)
                reader_s = out["seconds"]
        return sample(model.size / (fill_s + reader_s) / 1e9, meter, view, model.size)


def measure_first(_group, bench, subject, model):
    """The first open of a model since boot: a TPM that nothing was measured into."""
    subject.warm(model)
    with contextlib.ExitStack() as stack:
        options = {}
        if getattr(subject, "mode", "none") != "none":
            options["tpm"] = stack.enter_context(bench.tpm.fresh())
        view = stack.enter_context(subject.view(model, **options))
        with metered(view) as meter:
            out = bench.reader("first", view.path)
        return sample(out["seconds"], meter, view)


def measure_start(_group, bench, subject, model):
    """From nothing but ciphertext on a server to the last byte read."""
    subject.warm(model)
    sample_way = isinstance(subject, SampleWay)
    steps = subject.fetch(model) if sample_way else None
    with Meter(others=bench.web.pids) as meter:
        began = time.monotonic()
        with subject.view(model) as view:
            out = bench.reader("read", view.path)
            seconds = time.monotonic() - began
            used, peak = machine.cpu_seconds(view.pids), machine.peak_rss_bytes(view.pids)
    found = sample(seconds + (steps["total_s"] if sample_way else 0), meter)
    if view.pids:
        found["server_cpu_s_per_gb"] = round(used / out["bytes"] * 1e9, 3)
        found["peak_rss_mib"] = round(peak / 1048576, 1)
    if sample_way:
        found["steps"] = {key: value for key, value in steps.items() if key.endswith("_s")}
    return found


def measure_llama(group, bench, subject, model):
    """From starting llama-server to its first token; the sample's way starts at the download."""
    subject.warm(model)
    sys.path.insert(0, os.path.join(bench.top, "tests", "models"))
    import ask  # pylint: disable=import-error,import-outside-toplevel
    before = 0.0
    if isinstance(subject, SampleWay):
        before = subject.fetch(model)["total_s"]
        bench.settle(model)
    with subject.view(model) as view:
        if before:
            bench.reader("read", view.path)  # as warm as hashing it has left it
        log = os.path.join(bench.work, "llama.log")
        with metered(view) as meter:
            try:
                tokens, load_s, answer_s = ask.ask(bench.llama, view.path, group.arguments[0], log, 1)
            except ask.LoadFailed as failure:
                raise BenchError("llama-server: %s" % failure) from failure
        known = bench.facts.setdefault("first_token", {}).setdefault(group.name, tokens)
        if tokens != known:
            raise BenchError("the first token is %s, not %s" % (tokens, known))
        found = sample(before + load_s + answer_s, meter, view, model.size)
    found["load_s"], found["before_s"] = round(load_s, 3), round(before, 3)
    return found


def measure_s3(group, bench, subject, model):
    """From the S3 stand-in, read 1 MiB."""
    if not isinstance(subject, CurlRanges):
        return measure_reader(group, bench, subject, model)
    subject.warm(model)
    with Meter(others=bench.web.pids) as meter:
        rate = subject.download(model)
    return sample(rate / 1e9, meter)


def measure_rate(_group, bench, subject, model):
    bench.reader("read", model.path)
    with Meter() as meter:
        rate = subject.rate(model)
    found = sample(rate / 1e9, meter)
    if isinstance(subject, SealTo):
        used_s, peak = bench.vault.seal_costs
        found["server_cpu_s_per_gb"] = round(used_s / model.size * 1e9, 3)
        found["peak_rss_mib"] = round(peak / 1048576, 1)
    return found


def measure_limit(_group, bench, subject, model):
    """Eight readers of the whole file with the server in one cgroup of 512 MiB."""
    subject.warm(model)
    group = machine.Cgroup("sealedfs-bench-%d" % os.getpid(), 512 << 20)
    try:
        with subject.view(model, cgroup=group) as view:
            with metered(view) as meter:
                out = bench.reader("read", "--threads", "8", "--whole", view.path, cgroup=group)
            found = sample(out["bytes"] / out["seconds"] / 1e9, meter, view, out["bytes"])
        found["oom_kills"] = group.kills()
        if found["oom_kills"]:
            raise BenchError("the limit of 512 MiB killed %d processes" % found["oom_kills"])
        return found
    finally:
        group.remove()


# ---------------------------------------------------------------- the table

def subjects_of(bench):
    """Name -> subject, for all that show a file from this machine's disk."""
    made = [Plain(bench), NullFuse(bench), Gocryptfs(bench), Rclone(bench), SampleWay(bench),
            *(Sealed(bench, mode) for mode in MODES),
            *(Sealed(bench, mode, more="OpenSSL", options=["crypto=openssl"])
              for mode in ("declared", "verity")),
            Sealed(bench, "verity", more="warmed", warmed=True),
            Sealed(bench, "declared", more="resident", options=["resident=auto"], warmed=True),
            *(Sealed(bench, mode, more="fill", options=["resident=auto"])
              for mode in ("declared", "verity"))]
    return {subject.name: subject for subject in made}


def build_reads(named):
    """What is read, from a directory, by every mode."""
    every = named("plain null gocryptfs rclone none declared declared-openssl verity verity-openssl "
                  "sha256 sha384")
    some = named("plain null gocryptfs none declared verity sha384")
    again = named("plain null declared declared-resident verity sha384")
    fill = named("null declared-fill verity-fill")
    flat_note = "sha256 and sha384: with the pass of the first open"
    return [
        Group("read", "read() 1 MiB, sequential", "GB/s", every, measure_reader,
              ("read", "--block", "1048576"), note=flat_note),
        Group("mmap", "mmap MAP_POPULATE", "GB/s", every, measure_reader, ("mmap",), note=flat_note),
        Group("direct", "O_DIRECT, 4 MiB", "GB/s", some, measure_reader,
              ("read", "--direct", "--block", "4194304"),
              note="plain: from the disk, past its page cache; " + flat_note),
        Group("readers4", "4 readers, a quarter each", "GB/s", some, measure_reader,
              ("read", "--threads", "4"), note=flat_note),
        Group("random", "4 KiB at random", "reads/s", [*some, *named("rclone")], measure_reader,
              ("random",)),
        Group("again-read", "second read() 1 MiB, warm", "GB/s", again, measure_again, ("read",)),
        Group("again-mmap", "second mmap MAP_POPULATE, warm", "GB/s", again, measure_again, ("mmap",)),
        Group("fill", "resident: all of it into memory", "GB/s", fill, measure_fill,
              note="the do-nothing server: read() of all of it"),
        Group("fill-mmap", "resident: all of it into memory, and mmap MAP_POPULATE", "GB/s", fill,
              measure_fill, ("mmap",)),
    ]


def build_first(named):
    """The first open; TPM calls are part of it in every mode but none."""
    every = named(" ".join(MODES))
    note = "none: all that the others do, but for the TPM"
    return [
        Group("first-16m", "first open, 16 MB", "s", every, measure_first, size="small", note=note),
        Group("first", "first open, 2 GB", "s", every, measure_first, size="double", note=note),
        Group("first-8g", "first open, 8 GB", "s", named("none declared verity sha384"),
              measure_first, size="large", note=note),
    ]


# Name of the work -> llama-server's --load-mode.
LOAD_MODES = {"llama-auto": "auto", "llama-mmap": "mmap", "llama-mlock": "mmap+mlock",
              "llama-none": "none", "llama-dio": "dio"}


def build_llama(named):
    """The full table for mmap; in the other load modes the controls and the default measuring mode,
    from cold pages and after a fill, which O_DIRECT has no use for."""
    return [Group(name, "llama-server to its first token, " + mode, "s",
                  named({"mmap": "plain null gocryptfs declared verity verity-warmed sha384 sample",
                         "dio": "plain null verity sample"}.get(
                             mode, "plain null verity verity-warmed sample")),
                  measure_llama, (mode,), size="double",
                  note="sample: with its download, decryption and hashing, done once a round")
            for name, mode in LOAD_MODES.items()]


def build_s3(bench, named):
    modes = ("none", "declared", "verity", "sha384")
    fast, slow = ([Sealed(bench, mode, where) for mode in modes] for where in ("s3", "s3slow"))
    flat_note = "sha384: with the pass of the first open"
    return [
        Group("start", "from S3 to the last byte", "s", [*named("sample"), *fast], measure_start,
              size="double"),
        Group("s3", "from S3, read() 1 MiB", "GB/s", [CurlRanges(bench, False), *fast],
              measure_s3, ("read",), note=flat_note),
        Group("s3slow", "from S3 + %d ms a request, read() 1 MiB" % bench.args.delay, "GB/s",
              [CurlRanges(bench, True), *slow], measure_s3, ("read",), note=flat_note),
    ]


def build(bench):
    """All groups; a subject's copy of a model is shared by all groups that name it."""
    made = subjects_of(bench)

    def named(names):
        return [made[name] for name in names.split()]

    return [
        *build_reads(named), *build_first(named), *build_s3(bench, named), *build_llama(named),
        Group("seal", "sealing to a directory", "GB/s",
              [DiskWrite(bench), CipherAndHashes(bench), OpensslSpeed(bench), SealTo(bench)],
              measure_rate, size="double"),
        Group("crypto", "512 KiB on one core", "GB/s", crypto_rates.subjects(bench),
              crypto_rates.measure),
        Group("limit", "8 readers of all of 8 GB, 512 MiB cgroup", "GB/s", named("verity"),
              measure_limit, size="large", runs_max=3),
    ]


# Line of the acceptance table, work, subject, what it is held against, at least or at most, factor.
# Against several: the slower of them; against WORK:SUBJECT: another group's; against nothing: the
# value itself, or another field of the row.
GOALS = [
    ("read 1 MiB, declared", "read", "declared", ["gocryptfs"], ">=", 2.0),
    ("read 1 MiB, declared", "read", "declared", ["null"], ">=", 0.85),
    ("read 1 MiB, verity", "read", "verity", ["gocryptfs"], ">=", 1.6),
    ("read 1 MiB, verity, OpenSSL alone", "read", "verity-openssl", ["gocryptfs"], ">=", 1.3),
    ("mmap MAP_POPULATE, declared", "mmap", "declared", ["gocryptfs"], ">=", 1.4),
    ("mmap MAP_POPULATE, verity", "mmap", "verity", ["gocryptfs"], ">=", 1.0),
    ("warm second read", "again-read", "verity", ["plain"], ">=", 0.95),
    ("warm second mmap", "again-mmap", "verity", ["plain"], ">=", 0.95),
    ("resident: warm read", "again-read", "declared-resident", ["plain"], ">=", 1.1),
    ("resident: warm mmap", "again-mmap", "declared-resident", ["plain"], ">=", 1.5),
    ("resident: mmap of a cold model", "fill-mmap", "declared-fill", ["null"], ">=", 1.3),
    *(("llama-server to first token, " + mode, work, "verity", ["plain"], "<=", 1.25)
      for work, mode in LOAD_MODES.items()),
    *(("llama-server to first token, " + mode, work, "verity", ["sample"], "<=", 0.2)
      for work, mode in LOAD_MODES.items()),
    ("S3, 20 ms latency", "s3slow", "s3slow-verity", ["curl"], ">=", 0.9),
    ("first open, verity, 8 GB against 16 MB", "first-8g", "verity", ["first-16m:verity"], "<=", 1.5),
    ("first open, 8 GB, without KMS and TPM", "first-8g", "none", [], "<=", 0.020),
    ("8 readers, 512 MiB: the daemon's MiB", "limit", "verity", [], "<=", 320, "peak_rss_mib"),
    ("sealctl seal to a directory", "seal", "sealctl", ["disk", "bound"], ">=", 0.8),
]
