"""The rows: what is done to a model, by whom, and which ratio is the goal.

A group is one kind of work with all its subjects, measured in turn (A B C A B C …). Rates are in
GB/s (10^9 bytes), times in seconds.
"""

import contextlib
import os
import sys
import time

import machine
from machine import BenchError, Meter
from others import CipherAndHashes, CurlRanges, DiskWrite, SampleWay, SealTo
from subjects import Gocryptfs, NullFuse, Plain, Rclone, Sealed

MODES = ("none", "declared", "verity", "sha256", "sha384")
FLAT = ("sha256", "sha384")  # their first open reads the whole model


class Group:
    """One kind of work. measure(group, bench, subject, model) returns a sample (a dict)."""

    def __init__(self, name, title, unit, subjects, measure, arguments=(), size="main", note="",
                 extra=False):
        self.name, self.title, self.unit = name, title, unit
        self.subjects, self.measure, self.arguments = subjects, measure, arguments
        self.size, self.note = size, note
        self.extra = extra  # only when asked for by name

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
    with Meter(others=bench.web.pids) as meter:
        began = time.monotonic()
        with subject.view(model) as view:
            out = bench.reader("read", view.path)
            seconds = time.monotonic() - began
            used, peak = machine.cpu_seconds(view.pids), machine.peak_rss_bytes(view.pids)
    found = sample(seconds, meter)
    if view.pids:
        found["server_cpu_s_per_gb"] = round(used / out["bytes"] * 1e9, 3)
        found["peak_rss_mib"] = round(peak / 1048576, 1)
    if getattr(subject, "steps", None):
        found["steps"] = {key: value for key, value in subject.steps.items() if key.endswith("_s")}
    return found


def measure_llama(group, bench, subject, model):
    """From starting llama-server to its first token; the sample's way starts at the download."""
    subject.warm(model)
    sys.path.insert(0, os.path.join(bench.top, "tests", "models"))
    import ask  # pylint: disable=import-error,import-outside-toplevel
    began = time.monotonic()
    with subject.view(model) as view:
        before = time.monotonic() - began if isinstance(subject, SampleWay) else 0.0
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
    return sample(rate / 1e9, meter)


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

def mounts(bench, modes=MODES):
    return [Plain(bench), NullFuse(bench), Gocryptfs(bench), Rclone(bench),
            *(Sealed(bench, mode) for mode in modes)]


def build(bench):
    """All groups, each with subjects of its own run; a subject's copy of a model is shared."""
    made = {}

    def shared(subjects):
        return [made.setdefault(subject.name, subject) for subject in subjects]

    every, some = shared(mounts(bench)), shared(mounts(bench, ("declared", "verity")))
    sealed = shared([Sealed(bench, mode) for mode in MODES])
    from_s3 = {where: [Sealed(bench, mode, where) for mode in ("none", "declared", "verity", "sha384")]
               for where in ("s3", "s3slow")}
    sample_way = SampleWay(bench)
    plain = made["plain"]
    llama = [plain, made["gocryptfs"], made["declared"], made["verity"], made["sha384"], sample_way]
    flat_note = "sha256 and sha384: with the pass of the first open"
    delay = bench.args.delay
    groups = [
        Group("read", "read() 1 MiB, sequential", "GB/s", every, measure_reader,
              ("read", "--block", "1048576"), note=flat_note),
        Group("mmap", "mmap MAP_POPULATE", "GB/s", every, measure_reader, ("mmap",), note=flat_note),
        Group("direct", "O_DIRECT, 4 MiB", "GB/s", every, measure_reader,
              ("read", "--direct", "--block", "4194304"),
              note="plain: from the disk, past its page cache; " + flat_note),
        Group("readers4", "4 readers, a quarter each", "GB/s", every, measure_reader,
              ("read", "--threads", "4"), note=flat_note),
        Group("random", "4 KiB at random", "reads/s", every, measure_reader, ("random",),
              note=flat_note),
        Group("again-read", "second read() 1 MiB, warm", "GB/s", some, measure_again, ("read",)),
        Group("again-mmap", "second mmap MAP_POPULATE, warm", "GB/s", some, measure_again, ("mmap",)),
        Group("first-16m", "first open, 16 MB", "s", sealed, measure_first, size="small"),
        Group("first", "first open", "s", sealed, measure_first),
        Group("first-8g", "first open, 8 GB", "s", sealed, measure_first, size="large"),
        Group("start", "from S3 to the last byte", "s", [sample_way, *from_s3["s3"]], measure_start),
        *(Group("llama-" + mode, "llama-server to its first token, " + mode, "s", llama,
                measure_llama, (mode,)) for mode in ("mmap", "none", "dio")),
        Group("s3", "from S3, read() 1 MiB", "GB/s", [CurlRanges(bench, False), *from_s3["s3"]],
              measure_s3, ("read",), note=flat_note),
        Group("s3slow", "from S3 + %d ms a request, read() 1 MiB" % delay, "GB/s",
              [CurlRanges(bench, True), *from_s3["s3slow"]], measure_s3, ("read",), note=flat_note),
        Group("seal", "sealing to a directory", "GB/s",
              [DiskWrite(bench), CipherAndHashes(bench), SealTo(bench)], measure_rate),
        Group("limit", "8 readers of all of 8 GB, 512 MiB cgroup", "GB/s", [made["verity"]],
              measure_limit, size="large"),
    ]
    return groups


# Work, subject, what it is held against, at least or at most, factor. Against several: the slower of
# them; against WORK:SUBJECT: another group's; against nothing: the value itself, or another field of the
# row.
GOALS = [
    ("read", "declared", ["gocryptfs"], ">=", 2.0),
    ("read", "declared", ["null"], ">=", 0.85),
    ("read", "verity", ["gocryptfs"], ">=", 1.6),
    ("mmap", "declared", ["gocryptfs"], ">=", 1.4),
    ("mmap", "verity", ["gocryptfs"], ">=", 1.0),
    ("again-read", "verity", ["plain"], ">=", 0.95),
    ("again-mmap", "verity", ["plain"], ">=", 0.95),
    *(("llama-" + mode, "verity", ["plain"], "<=", 1.25) for mode in ("mmap", "none", "dio")),
    *(("llama-" + mode, "verity", ["sample"], "<=", 0.2) for mode in ("mmap", "none", "dio")),
    ("s3slow", "s3slow-verity", ["curl"], ">=", 0.9),
    ("first-8g", "verity", ["first-16m:verity"], "<=", 1.5),
    ("first-8g", "none", [], "<=", 0.020),
    ("limit", "verity", [], "<=", 320, "peak_rss_mib"),
    ("seal", "sealctl", ["disk", "bound"], ">=", 0.8),
]
