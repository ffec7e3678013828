#!/usr/bin/python3
"""The benchmark: controls and candidates in turn, on the same file, in one run.

Started by tools/bench, which installs and builds what is needed; README.md says how to read it.
"""

import argparse
import contextlib
import datetime
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile

import cpu_profile
import machine
import picture
import publish
import report
import rows
from machine import BenchError, run, run_json
from subjects import Tpm, Vault
from web import Web

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
RESULTS = os.path.join(HERE, "results")
LARGE_BYTES = 8 * 1000 ** 3


class Model:
    """A plaintext file and its size."""

    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        self.size = os.path.getsize(path)


class Bench:
    """What the rows share: folders, programs, models, the TPM, the web server."""

    def __init__(self, args, work):
        self.args, self.work = args, work
        self.top, self.here = TOP, HERE
        self.out = os.path.abspath(args.out)
        self.tools = os.path.join(args.build, "tests", "bench")
        self.sealedfs = os.path.join(args.build, "fs", "sealedfs")
        self.sealctl = os.path.join(args.build, "tools", "sealctl")
        self.llama = os.path.join(TOP, "build", "llama")
        self.count, self.round = args.count, 0
        self.facts = {}
        self.models = {}
        self.web = Web(work, self.tools, args.delay)
        self.tpm = Tpm(self)
        self.vault = Vault(self)
        self._ballast = None

    def settle(self, model):
        """Before and after each sample: memory is there at once. Room for two copies and a bit."""
        if self.args.ballast == "off" or self.args.ballast == "auto" and not machine.Ballast.needed():
            return
        if self._ballast is None:
            self._ballast = machine.Ballast(os.path.join(self.tools, "ballast"),
                                            min(2 * model.size, 4 << 30) + (2 << 30))
        self._ballast.take()

    def reader(self, *argv, cgroup=None):
        argv = [os.path.join(self.tools, "reader"), *argv]
        if cgroup is None:
            return run_json(*argv)
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              preexec_fn=cgroup.enter)
        if done.returncode != 0:
            raise BenchError("reader: exit code %d: %s" % (done.returncode, done.stdout.decode()))
        return json.loads(done.stdout)

    def model(self, size):
        if size not in self.models:
            self.models[size] = Model(self._make(size))
        return self.models[size]

    def _make(self, size):
        """Kept in build/bench/data for the next run: their bytes depend on their size alone."""
        data = os.path.join(self.out, "data")
        os.makedirs(data, exist_ok=True)
        if size == "large":  # zeros, without blocks on the disk; only its sealed copy has any
            path = os.path.join(data, "large.bin")
            with open(path, "wb") as out:
                out.truncate(LARGE_BYTES)
            return path
        size_mb = {"main": self.args.size, "double": 2 * self.args.size, "small": 16}[size]
        path = os.path.join(data, "model-%d.gguf" % size_mb)
        if not os.path.exists(path):
            say("making a model of %d MB" % size_mb)
            run("/usr/bin/python3", os.path.join(TOP, "tests", "models", "make-tiny-gguf.py"),
                "--size", str(size_mb), "--seed", "2", "--out", path + ".part")
            os.rename(path + ".part", path)
        return path

    def close(self):
        if self._ballast:
            self._ballast.stop()
        self.web.stop()
        self.tpm.stop()


def say(words):
    print(words, file=sys.stderr, flush=True)


def verify(bench, subject, model):
    """A candidate that is fast because it is wrong must not get into the table."""
    if subject.name in ("plain", "sample") or not hasattr(subject, "view"):
        return
    with contextlib.suppress(NotImplementedError), subject.view(model) as view:
        bench.reader("compare", view.path, model.path)


def ready_subjects(bench, group, model):
    """The group's subjects with a row each; those that cannot run have the reason in it."""
    ready, table = [], []
    for subject in group.subjects:
        if bench.args.subjects and subject.name not in bench.args.subjects:
            continue
        row = {"subject": subject.name, "title": subject.title, "control": subject.control,
               "samples": [], "error": subject.missing()}
        table.append(row)
        if row["error"]:
            continue
        try:
            new = model.name not in subject.prepared
            subject.backing(model)
            if new and not bench.args.no_verify and group.size != "large":
                verify(bench, subject, model)
            ready.append((subject, row))
        except (BenchError, OSError) as error:
            row["error"] = str(error)
    return ready, table


def quiet_sample(bench, group, subject, model):
    """A sample with little foreign work beside it: repeated a few times, the quietest is kept."""
    best = None
    for _ in range(1 + bench.args.retries):
        bench.settle(model)
        try:
            found = group.measure(group, bench, subject, model)
        finally:
            bench.settle(model)
        if best is None or found["foreign_cpu"] < best["foreign_cpu"]:
            best = found
        if best["foreign_cpu"] <= bench.args.quiet:
            break
    return best


def in_turn(group, number, ready):
    """Every round in another order, the same ones each time: no subject is to get, in every round, the
    memory that the same other one has left behind."""
    return random.Random("%s %d" % (group.name, number)).sample(ready, len(ready))


def run_group(bench, group):
    model = bench.model(group.size)
    ready, table = ready_subjects(bench, group, model)
    runs = min(bench.args.runs, group.runs_max)
    for bench.round in range(runs):
        for subject, row in in_turn(group, bench.round, ready):
            say("%s %d/%d %s" % (group.name, bench.round + 1, runs, subject.name))
            try:
                found = quiet_sample(bench, group, subject, model)
                row["samples"].append({"round": bench.round, **found})
            except (BenchError, OSError) as error:
                row["error"] = str(error)
                say("  failed: %s" % error)
    result = {"name": group.name, "title": group.title, "unit": group.unit, "note": group.note,
              "size_mb": round(model.size / 1e6), "runs": runs, "rows": table}
    report.summarise(result)
    return result


def positive(text):
    """An argument's number: 1 or more."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError("%r is no number above 0" % text)
    return int(text)


def parse(argv):
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", help="only these works, commas between (see --list)")
    parser.add_argument("--subjects", help="only these controls and candidates, commas between")
    parser.add_argument("--list", action="store_true", help="show works and subjects, and end")
    parser.add_argument("--runs", type=positive, help="samples of each (default 5; --quick: 3)")
    parser.add_argument("--size", type=positive, help="MB of the model, and half of what some works take (default 1000; --quick: 400)")
    parser.add_argument("--quick", action="store_true", help="a small model and few samples")
    parser.add_argument("--large", action="store_true", help="also the works with 8 GB (16 GB of disk)")
    parser.add_argument("--update", action="store_true",
                        help="keep the works of the last bench.json that are not measured now")
    parser.add_argument("--publish", action="store_true", help="copy json and picture to tests/bench/results, and put their words into the READMEs")
    parser.add_argument("--profile", metavar="WORK:SUBJECT", help="where the CPU time of one row goes")
    # Servers are started in other folders, and would take a relative path as below their own.
    parser.add_argument("--out", type=os.path.abspath, default=os.path.join(TOP, "build", "bench"), help="default build/bench")
    parser.add_argument("--build", default=os.path.join(TOP, "build", "bench", "out"),
                        help="meson build folder with the programs (default build/bench/out)")
    parser.add_argument("--sealedfs-options", default="", help="more -o options for sealedfs")
    parser.add_argument("--readahead", type=int, default=0,
                        help="KiB for the do-nothing server (default: as sealedfs has it)")
    parser.add_argument("--peer-readahead", type=int, default=0, help="KiB for peers (default: theirs)")
    parser.add_argument("--null-options", default="", help="options of null_fuse")
    parser.add_argument("--connections", type=positive, default=8, help="curl's GETs at a time (default 8)")
    parser.add_argument("--delay", type=int, default=20, help="ms added to each slow request")
    parser.add_argument("--count", type=positive, help="reads at random (default 8192; --quick: 2048)")
    parser.add_argument("--quiet", type=float, default=0.1,
                        help="share of CPU time that others may use before a sample is repeated")
    parser.add_argument("--retries", type=int, default=2, help="how often it is repeated at most")
    parser.add_argument("--ballast", choices=("auto", "on", "off"), default="auto",
                        help="hold memory between samples (auto: on a machine with a memory balloon)")
    parser.add_argument("--no-verify", action="store_true", help="do not compare contents first")
    args = parser.parse_args(argv)
    if args.publish and not args.update and (args.quick or args.rows or args.subjects):
        parser.error("--publish replaces the whole table: not with --quick, --rows or --subjects, "
                     "unless --update keeps the rest of it")
    args.runs = args.runs or (3 if args.quick else 5)
    args.size = args.size or (400 if args.quick else 1000)
    args.count = args.count or (2048 if args.quick else 8192)
    for name in ("rows", "subjects"):
        value = getattr(args, name)
        setattr(args, name, [item for item in value.split(",") if item] if value else [])
    args.build = os.path.abspath(args.build)
    return args


def choose(args, groups):
    unknown = set(args.rows) - {group.name for group in groups}
    unknown |= set(args.subjects) - {subject.name for group in groups for subject in group.subjects}
    if unknown:
        raise BenchError("no such work or subject: " + ", ".join(sorted(unknown)))
    return [group for group in groups if group.name in args.rows or
            not args.rows and (args.large or group.size != "large")]


def prepare_llama(bench, groups):
    if any(group.name.startswith("llama") for group in groups):
        run(os.path.join(TOP, "tests", "models", "llama-server"), "fetch", bench.llama)


def keep(bench, result):
    """After each work, so that a run that is ended early keeps what it has measured."""
    report.write_json(result, os.path.join(bench.out, "bench.json"))
    picture.draw(result, os.path.join(bench.out, "bench.svg"))
    if bench.args.publish:
        os.makedirs(RESULTS, exist_ok=True)
        for name in ("bench.json", "bench.svg"):
            shutil.copyfile(os.path.join(bench.out, name), os.path.join(RESULTS, name))
        publish.rewrite(TOP, os.path.join(RESULTS, "bench.json"))


def measure(bench, groups):
    result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "machine": machine.describe(), "runs": bench.args.runs, "size_mb": bench.args.size,
              "options": {name: getattr(bench.args, name) for name in (
                  "readahead", "peer_readahead", "null_options", "sealedfs_options", "connections",
                  "delay", "quiet", "retries", "ballast")}, "groups": []}
    result["facts"] = bench.facts
    order = [group.name for group in rows.build(bench)]
    if bench.args.update:
        try:
            with open(os.path.join(bench.out, "bench.json"), encoding="utf-8") as file:
                result["groups"] = json.load(file)["groups"]
        except (OSError, ValueError, KeyError) as error:
            raise BenchError("--update: no bench.json of a last run: %s" % error) from None
    for group in groups:
        found = run_group(bench, group)
        result["groups"] = [old for old in result["groups"] if old["name"] != found["name"]]
        result["groups"].append(found)
        result["groups"].sort(key=lambda one: order.index(one["name"]))
        print(report.text_of(found) + "\n", flush=True)
        result["goals"] = report.judge(result, rows.GOALS)
        keep(bench, result)
    if result["goals"]:
        print(report.text_of_goals(result["goals"]))
    say("wrote bench.json and bench.svg to " + os.path.relpath(bench.out))
    return 0 if any(row["samples"] for group in result["groups"] for row in group["rows"]) else 1


def main():
    args = parse(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    os.makedirs(args.out, exist_ok=True)
    with contextlib.ExitStack() as stack:
        work = tempfile.mkdtemp(prefix="work.", dir=args.out)
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        bench = Bench(args, work)
        stack.callback(bench.close)
        try:
            groups = rows.build(bench)
            if args.list:
                for group in groups:
                    print("%-12s %-36s %s" % (group.name, group.title, ",".join(
                        subject.name for subject in group.subjects)))
                return 0
            if args.profile:
                return cpu_profile.profile(bench, groups)
            groups = choose(args, groups)
            prepare_llama(bench, groups)
            return measure(bench, groups)
        except BenchError as error:
            print("bench: %s" % error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
