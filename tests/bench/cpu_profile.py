"""Where the CPU time of one row goes: perf over the whole machine while the reader runs.

Distributions strip libcrypto, so its samples are bare addresses, and libipsec-mb's have the name of
whatever exported function lies before them. Which of them are cipher and which are hash is learnt
first, by profiling `openssl speed` and crypto_speed on the same libraries.
"""

import collections
import os
import re
import shutil

import crypto_rates
import rows
from machine import BenchError, run

EVENT, RATE_HZ = "cpu-clock", "1999"
BUCKET_BYTES, NEAR_BYTES = 256, 4096
CALIBRATION = (("cipher", "aes-256-gcm", ()), ("cipher", "aes-256-gcm", ("-decrypt",)),
               ("hash", "sha256", ()), ("hash", "sha384", ()))
MULTI_BUFFER = (("cipher", "open"), ("cipher", "seal"), ("hash", "tree"))
BY_NAME = (
    ("cipher", re.compile(r"gcm|aes|ghash|salsa|poly1305|secretbox|vclmul", re.I)),
    ("hash", re.compile(r"sha(1|2|256|384|512|_)", re.I)),
)
COPY = re.compile(r"copy|memcpy|rep_movs|clear_page|memset")
ORDER = ("server: cipher", "server: hash", "server: rest of its program", "server: kernel, copying",
         "server: kernel, rest", "reader: kernel, copying", "reader: kernel, rest", "reader: its program",
         "below: HTTP server", "idle")
FOREIGN = "other work on the machine"


def record(path, *argv):
    run("perf", "record", "-q", "-a", "-e", EVENT, "-F", RATE_HZ, "-o", path, "--", *argv)


def samples(path):
    """(thread id, command, library, symbol, count) for each line of perf's report."""
    text = run("perf", "report", "-i", path, "--stdio", "-q", "--sort", "pid,dso,sym",
               "-F", "sample,pid,dso,sym", "-t", "|").decode(errors="replace")
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) < 4 or not fields[0].isdigit():
            continue
        thread, _, command = fields[1].partition(":")
        kind, _, symbol = fields[3].partition(" ")
        yield (int(thread) if thread.lstrip("-").isdigit() else -1, command, fields[2],
               symbol.strip(), kind == "[k]", int(fields[0]))


def learn(known, found, kind):
    """What took a five-hundredth of the library's time or more is of this kind."""
    for place, count in found.items():
        if count * 500 > sum(found.values()):
            known[place] = kind


def calibrate(bench):
    """Address bucket of libcrypto, or symbol of libipsec-mb -> cipher or hash."""
    known = {}
    path = os.path.join(bench.work, "calibrate.perf")
    for kind, algorithm, more in CALIBRATION:
        record(path, "openssl", "speed", "-seconds", "1", "-bytes", "524288", *more, "-evp", algorithm)
        found = collections.Counter()
        for _, command, library, symbol, _, count in samples(path):
            if command == "openssl" and library.startswith("libcrypto") and symbol.startswith("0x"):
                found[int(symbol, 16) // BUCKET_BYTES] += count
        learn(known, found, kind)
    for kind, operation in MULTI_BUFFER:
        subject = crypto_rates.Operation(bench, (operation, ""), ("ipsec-mb", ""))
        if subject.missing():
            continue
        record(path, *subject.argv)
        found = collections.Counter()
        for _, command, library, symbol, _, count in samples(path):
            if command == "crypto_speed" and library.startswith("libIPSec_MB"):
                found[symbol] += count
        learn(known, found, kind)
    os.unlink(path)
    return known


def crypto_kind(known, symbol):
    if symbol in known:
        return known[symbol]
    if symbol.startswith("0x"):
        bucket = int(symbol, 16) // BUCKET_BYTES
        near = range(NEAR_BYTES // BUCKET_BYTES + 1)
        for distance in near:
            for candidate in (bucket - distance, bucket + distance):
                if candidate in known:
                    return known[candidate]
        return None
    return next((kind for kind, pattern in BY_NAME if pattern.search(symbol)), None)


def classify(sample, threads, others, known):
    thread, command, library, symbol, in_kernel, _ = sample
    if thread == 0 or command.startswith("swapper"):
        return "idle"
    if thread in threads:
        if in_kernel:
            return "server: kernel, " + ("copying" if COPY.search(symbol) else "rest")
        kind = crypto_kind(known if library.startswith(("libcrypto", "libIPSec_MB")) else {}, symbol)
        return "server: " + (kind or "rest of its program")
    if command in ("reader", "curl"):
        if not in_kernel:
            return "reader: its program"
        return "reader: kernel, " + ("copying" if COPY.search(symbol) else "rest")
    return "below: HTTP server" if thread in others else FOREIGN


def threads_of(pids):
    found = set()
    for pid in pids:
        found |= {int(name) for name in os.listdir("/proc/%d/task" % pid)}
    return found


def profile(bench, groups):
    """Profiles WORK:SUBJECT of the command line and prints shares of all CPU time."""
    work, _, name = bench.args.profile.partition(":")
    found = [(group, subject) for group in groups for subject in group.subjects
             if group.name == work and subject.name == name
             and group.measure in (rows.measure_reader, rows.measure_again, rows.measure_s3)]
    if not found or name == "curl":
        raise BenchError("--profile takes WORK:SUBJECT of a work that reads, as in read:verity")
    if not shutil.which("perf"):
        raise BenchError("perf is not installed")
    group, subject = found[0]
    reason = subject.missing()
    if reason:
        raise BenchError(reason)
    model, path = bench.model(group.size), os.path.join(bench.work, "profile.perf")
    known = calibrate(bench)
    subject.warm(model)
    reader = os.path.join(bench.tools, "reader")
    with subject.view(model) as view:
        if group.measure is rows.measure_again:
            bench.reader(*group.arguments, view.path)
        else:
            bench.reader("first", view.path)  # unlocking is not what is asked for
        record(path, reader, *group.arguments, view.path)
        threads, others = threads_of(view.pids), threads_of(view.others)
    shares, top = collections.Counter(), collections.Counter()
    for sample in samples(path):
        kind = classify(sample, threads, others, known)
        shares[kind] += sample[-1]
        if kind not in ("idle", FOREIGN):
            top[(kind, sample[2], sample[3])] += sample[-1]
    print_profile(group, subject, model, shares, top)
    return 0


def print_profile(group, subject, model, shares, top):
    everything = sum(shares.values()) or 1
    total = everything - shares[FOREIGN] or 1
    print("%s, %s, %d MB: share of all CPU time%s" % (
        group.title, subject.title, model.size // 10**6, "" if shares[FOREIGN] * 50 < everything else
        ", less %.0f %% that other work took" % (100 * shares[FOREIGN] / everything)))
    for kind in ORDER:
        if shares[kind]:
            print("  %5.1f %%  %s" % (100 * shares[kind] / total, kind))
    print("most of it in")
    for (kind, library, symbol), count in top.most_common(16):
        if not symbol.startswith("0x"):
            print("  %5.1f %%  %-28s %s (%s)" % (100 * count / total, kind, symbol, library))
