#!/usr/bin/python3
"""Runs every test suite and counts what they report.

A suite is a function that counts into a Result (run_results.py); the numbers come from the tools' own
output, never from here. A file that failed is run once more, alone. Output of each suite goes to build/check/SUITE.log and is shown when
something failed. Suites: see SUITES at the end.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback

from run_results import (ASAN_FOUND, TSAN_FOUND, Result, count_cmocka, count_unittest, last_lines,
                         show)

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, "build", "check")
PLAIN = os.path.join(BUILD, "plain")
OPENSSL_ALONE = os.path.join(BUILD, "openssl-alone")
ASAN = os.path.join(BUILD, "asan")
TSAN = os.path.join(BUILD, "tsan")
PYTHON = "/usr/bin/python3"
JOBS = str(os.cpu_count() or 2)
WAITERS = min(4 * int(JOBS), 16)  # of programs that wait much more than they compute


def run(log, *argv, env=None, timeout=3600):
    """Runs a command with its output in the log (None: nowhere); returns (exit code, output)."""
    if log:
        log.write("$ %s\n" % " ".join(argv))
        log.flush()
    try:
        done = subprocess.run(argv, cwd=TOP, env={**os.environ, **(env or {})}, text=True,
                              errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=timeout, check=False)
        code, out = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        out = late.stdout or ""
        out = (out.decode(errors="replace") if isinstance(out, bytes) else out)
        code, out = 124, out + "\ntimed out after %d s\n" % timeout
    if log:
        log.write(out)
        log.flush()
    return code, out


def one(result, code, name):
    """Counts a command that passes or fails as a whole."""
    result.add(passed=code == 0, failed=code != 0, note=None if code == 0 else name)


# ---------------------------------------------------------------- building

def configure(log, directory, *options):
    if os.path.exists(os.path.join(directory, "build.ninja")):
        return run(log, "meson", "configure", directory, *options)[0]
    return run(log, "meson", "setup", directory, TOP, *options)[0]


def build(result, log, directory, *options, targets=()):
    code = configure(log, directory, "-Dwerror=true", *options)
    if code == 0:
        code = run(log, "ninja", "-C", directory, *targets)[0]
    one(result, code, "build")
    return code == 0


def suite_build(result, log):
    """The product, warnings as errors; and that it installs."""
    if build(result, log, PLAIN, "-Dbuildtype=release", "-Ddebug=true", "-Dbench=true"):
        code = run(log, "meson", "install", "-C", PLAIN, "--no-rebuild", "--quiet", "--destdir",
                   os.path.join(BUILD, "root"))[0]
        one(result, code, "meson install")
    # Other architectures have no libipsec-mb: its absence has to compile, and to say so.
    names = ["tests/unit/crypto/test_crypto_" + name for name in ("backend", "vectors")]
    if build(result, log, OPENSSL_ALONE, "-Dipsec_mb=disabled", targets=names):
        for name in names:
            count_cmocka(result, name, *run(log, os.path.join(OPENSSL_ALONE, name)))


def suite_build_asan(result, log):
    """The same under AddressSanitizer and UndefinedBehaviorSanitizer."""
    build(result, log, ASAN, "-Db_sanitize=address,undefined", "-Db_lundef=false")


def suite_build_tsan(result, log):
    """What has threads, under ThreadSanitizer."""
    if configure(log, TSAN, "-Dwerror=true", "-Db_sanitize=thread", "-Db_lundef=false") == 0:
        run(log, "ninja", "-C", TSAN, "build.ninja")  # the list of tests is as new as the source
        tests = [os.path.relpath(test["cmd"][0], TSAN) for test in threaded_tests(log)]
        build(result, log, TSAN, targets=("fs/sealedfs", "tools/sealctl", *tests))
    else:
        result.add(failed=1, note="configure")


# ---------------------------------------------------------------- running

def may_trace():
    """True with CAP_SYS_PTRACE. The programs forbid tracing, and LeakSanitizer traces."""
    with open("/proc/self/status", encoding="ascii") as status:
        return any(line.startswith("CapEff:") and int(line.split()[1], 16) >> 19 & 1
                   for line in status)


ASAN_ENV = {"ASAN_OPTIONS": "abort_on_error=0:exitcode=%d:detect_leaks=%d"
                            % (ASAN_FOUND, may_trace()),
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=%d" % ASAN_FOUND}


def list_tests(log, directory):
    code, out = run(log, "meson", "introspect", "--tests", directory)
    return json.loads(out[out.index("["):]) if code == 0 else []


def run_together(log, tests, env, prefix=()):
    """Runs unit tests, some at a time; yields (name, exit code, output, again) in their order."""
    def program(test):
        return lambda: run(None, *prefix, *test["cmd"], env={**test.get("env", {}), **env})
    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        runs = [(test, pool.submit(program(test))) for test in tests]
        for test, done in runs:
            code, out = done.result()
            log.write("$ %s\n%s" % (" ".join(test["cmd"]), out))
            yield test["name"], code, out, program(test)


def meson_tests(result, log, directory, env):
    tests = list_tests(log, directory)
    if not tests:
        result.add(failed=1, note="no build in " + directory)
    for ran in run_together(log, tests, env):
        result.take(count_cmocka, *ran)


def suite_unit(result, log):
    """cmocka tests, format vectors in C, fuzz corpora replayed."""
    meson_tests(result, log, PLAIN, {})


def suite_unit_asan(result, log):
    """The unit tests with sanitizers."""
    meson_tests(result, log, ASAN, ASAN_ENV)


# The sanitizer's shadow memory lies where a kernel with much address randomization puts libraries.
NOT_RANDOM = ("setarch", "-R")
TSAN_ENV = {"TSAN_OPTIONS": "halt_on_error=1:exitcode=%d:suppressions=%s/tests/tsan.supp"
                            % (TSAN_FOUND, TOP)}


def threaded_tests(log):
    return [test for test in list_tests(log, TSAN)
            if re.match(r"(fetch|fs/aws|fs/net|models|mount|read|service|source|stage|view|tsan)/"
                        "|crypto/both$", test["name"])]


def suite_unit_tsan(result, log):
    """The unit tests of what has threads, and that a planted race is found."""
    tests = threaded_tests(log)
    for name, code, out, again in run_together(log, tests, TSAN_ENV, NOT_RANDOM):
        if name == "tsan/planted":
            one(result, code != TSAN_FOUND or "data race" not in out, name)
        else:
            result.take(count_cmocka, name, code, out, again)
    one(result, not any(test["name"] == "tsan/planted" for test in tests), "no planted race")


# Files that measure memory or keep every core busy; they run with nothing beside them.
ALONE = ("end_to_end.py", "memory.py")
# Take longest. These begin, so that the end of a suite waits for none of them; after the first run
# SECONDS has what each file took.
FIRST = ("unlock_many.py", "tpm_bus.py", "net_kms_asked.py", "sealctl_s3.py", "reload.py",
         "set_measure.py", "denials.py", "llama.py", "memory_secrets.py", "failing.py", "stage.py",
         "sealctl.py", "budget.py", "measuring_start.py", "refusals.py", "sealctl_check.py",
         "set_ollama.py", "rewrap_kill.py", "web_page.py", "rgw.py", "set_writers.py",
         "starting.py", "fill.py", "net.py", "net_profiles.py", "cases_start.py",
         "cases_service.py")
SECONDS = os.path.join(BUILD, "seconds.json")


def run_unittest(path, env, prefix=(), classes=()):
    """Runs one file; returns (exit code, output, seconds)."""
    started = time.monotonic()
    limit_s = 7200 if "SEALEDFS_THOROUGH" in (env or {}) else 1860
    code, out = run(None, *prefix, PYTHON, path, "-v", *classes, timeout=limit_s, env={
        "SEALEDFS_BUILD": PLAIN, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})})
    return code, out, time.monotonic() - started


def take_unittest(result, log, path, env, code, out, seconds, prefix=(), classes=()):
    """Counts what run_unittest() returned."""
    log.write("$ %s\n%s(%s: %.1f s)\n" % (path, out, os.path.basename(path), seconds))
    log.flush()
    result.take(count_unittest, path, code, out,
                lambda: run_unittest(path, env, prefix, classes)[:2])


def unittests(result, log, directory, pattern, env=None):
    """Python unittest files, one process each, some at a time."""
    folder = os.path.join(TOP, "tests", directory)
    seconds = {}
    with contextlib.suppress(OSError, ValueError), open(SECONDS, encoding="ascii") as last:
        seconds = json.load(last)
    names = sorted((n for n in os.listdir(folder) if re.fullmatch(pattern, n)), key=lambda n: (
        -seconds.get(n, 0), FIRST.index(n) if n in FIRST else len(FIRST), n))
    for workers, alone in ((1, True), (WAITERS, False)):
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            runs = {pool.submit(run_unittest, path, env): path for path in
                    (os.path.join("tests", directory, name) for name in names
                     if (name in ALONE) == alone)}
            for done in concurrent.futures.as_completed(runs):
                take_unittest(result, log, runs[done], env, *done.result())
                seconds[os.path.basename(runs[done])] = round(done.result()[2], 1)
    with open(SECONDS, "w", encoding="ascii") as last:
        json.dump(seconds, last, indent=0)


def suite_oracle(result, log):
    """The independent reader against vectors and the fsverity tool."""
    unittests(result, log, "oracle", r"test_.*\.py")


def suite_emulators(result, log):
    """The emulators, checked by other programs than ours."""
    unittests(result, log, "emu", r"test_.*\.py")


def suite_bench(result, log):
    """That the benchmark can be believed; no speed is judged."""
    unittests(result, log, "bench", r"test_.*\.py")


def suite_cases(result, log):
    """The programs: real mounts, TPM, KMS, S3, faults."""
    unittests(result, log, "cases", r"(?!common)[a-z0-9_]+\.py")


def suite_boot(result, log):
    """A machine with a real systemd: service, fstab, reboots, what goes wrong."""
    unittests(result, log, "boot", r"cases[a-z_]*\.py")


def suite_cases_asan(result, log):
    """Real mounts and sealing again, with the sanitizers' build."""
    env = {"SEALEDFS_BUILD": ASAN, "SEALEDFS_QUICK": "1", **ASAN_ENV}
    unittests(result, log, "cases", env=env,
              pattern=r"(mount|measuring|refusals|ollama_[a-z]+|sealctl(_check)?|attest_[a-z]+)\.py")
    # Leaks inside libraries are told apart by whole stacks, which take long to collect.
    env = {**env, "ASAN_OPTIONS": env["ASAN_OPTIONS"] + ":fast_unwind_on_malloc=0",
           "LSAN_OPTIONS": "print_suppressions=0:suppressions=%s/tests/lsan.supp" % TOP}
    unittests(result, log, "cases", r"mount_end\.py", env=env)


# Readers of every kind, listings that change under them, and ends while they read.
TSAN_CASES = (("storm.py",), ("failing.py", "Storm.test_directory", "Storm.test_s3", "Ends"),
              ("status.py", "Report", "S3"), ("reload.py", "Directory"),
              ("set_reload.py",), ("ollama_store.py", "Reload"), ("mount_end.py", "Damaged", "Told"),
              ("resident.py", "Readers.test_all_the_time", "Readers.test_unmount_while_it_fills", "Damaged",
               "Replaced"), ("resident_memory.py", "Budget"))


def suite_cases_tsan(result, log):
    """Real mounts under ThreadSanitizer: readers, reloads, ends."""
    env = {"SEALEDFS_BUILD": TSAN, "SEALEDFS_QUICK": "1", **TSAN_ENV}
    with concurrent.futures.ThreadPoolExecutor(WAITERS) as pool:
        for path, classes, done in [
                (path, classes, pool.submit(run_unittest, path, env, NOT_RANDOM, classes))
                for path, classes in ((os.path.join("tests", "cases", name), classes)
                                      for name, *classes in TSAN_CASES)]:
            take_unittest(result, log, path, env, *done.result(), NOT_RANDOM, classes)


# ---------------------------------------------------------------- reading the source

def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--", *patterns], cwd=TOP, text=True,
                         stdout=subprocess.PIPE, check=False).stdout.split("\n")
    return [name for name in out if name and os.path.exists(os.path.join(TOP, name))]


def suite_format(result, log):
    """clang-format, and the limits on file length."""
    names = tracked("*.c", "*.h")
    for some in (names[at:at + 40] for at in range(0, len(names), 40)):
        if run(None, "clang-format", "--dry-run", "-Werror", *some)[0] == 0:
            result.add(passed=len(some))
            continue
        for name in some:
            code, out = run(None, "clang-format", "--dry-run", "-Werror", name)
            log.write(out)
            one(result, code, name)
    for name in tracked("*.c", "*.h", "*.py", "*.sh"):
        with open(os.path.join(TOP, name), encoding="utf-8") as source:
            lines = sum(1 for _ in source)
        one(result, int(lines > 600), "%s has %d lines" % (name, lines))


def suite_tidy(result, log):
    """clang-tidy over every C file of the product."""
    with open(os.path.join(PLAIN, "compile_commands.json"), encoding="utf-8") as commands:
        built = commands.read()
    # The one file that needs a library which a build may lack.
    names = [name for name in tracked("crypto/*.c", "attest/*.c", "fs/*.c", "tools/*.c")
             if name != "crypto/ipsec_mb.c" or name in built]
    procs = []
    for name in names:
        while len([p for _, p in procs if p.poll() is None]) >= int(JOBS):
            time.sleep(0.05)
        procs.append((name, subprocess.Popen(
            ["clang-tidy", "--quiet", "-p", PLAIN, name], cwd=TOP, text=True,
            stdout=open(os.path.join(BUILD, "tidy.%d.log" % len(procs)), "w", encoding="utf-8"),
            stderr=subprocess.DEVNULL)))
    for index, (name, proc) in enumerate(procs):
        code = proc.wait()
        with open(os.path.join(BUILD, "tidy.%d.log" % index), encoding="utf-8") as out:
            log.write("$ clang-tidy %s\n%s" % (name, out.read()))
        one(result, code, name)


def suite_cppcheck(result, log):
    """cppcheck over the product."""
    code, _ = run(log, "cppcheck", "--quiet", "--std=c11", "--enable=warning,performance,portability",
                  "--inline-suppr", "--error-exitcode=1", "--suppress=missingIncludeSystem", "-I.",
                  # It does not know cleanup attributes; the sanitizers find leaks.
                  "--suppress=memleak", "--suppress=resourceLeak",
                  # Nor this macro of jansson. (A semicolon would begin another definition.)
                  "-Djson_object_foreach(object,key,value)=while ((key = 0) || (value = 0))",
                  "-j" + JOBS, "-D_GNU_SOURCE", "crypto", "attest", "fs", "tools")
    one(result, code, "cppcheck")


def suite_shellcheck(result, log):
    """shellcheck over every shell script."""
    names = tracked("*.sh", ".ci/run")
    for name in tracked("tools/*", "tests/*", "systemd/*"):
        path = os.path.join(TOP, name)
        with open(path, "rb") as script:
            if re.match(rb"#!.*\b(ba)?sh\b", script.readline(100)) and name not in names:
                names.append(name)
    for name in names:
        one(result, run(log, "shellcheck", "-x", name)[0], name)


def suite_hygiene(result, log):
    """Small mistakes that a grep finds."""
    product = ["crypto/*.[ch]", "attest/*.[ch]", "fs/*.[ch]", "tools/*.[ch]"]
    rules = [  # what, where, except in
        (r"\b(strcpy|strcat|sprintf|gets|tmpnam|mktemp|alloca) *\(", ["*.c", "*.h"], ()),
        (r"\b(system|popen) *\(", ["*.c", "*.h"], ()),
        # What only the GNU C library has.
        (r"\b(sigabbrev|sigdescr|strerrorname|strerrordesc)_np *\(", product, ()),
        (r"#include.*curl/curl\.h", product, ("fs/net/http",)),
        (r"#include.*tss2/", product, ("attest/",)),
        (r"#include.*cbor\.h", product, ("attest/",)),
        (r"#include.*fuse_lowlevel\.h", product, ("fs/fuse/", "fs/daemon/", "fs/main.c")),
        (r"#include.*seccomp\.h", product, ("fs/service/",)),
        (r"#include.*expat\.h", product, ("fs/net/",)),
        (r"#include.*intel-ipsec-mb\.h", product, ("crypto/",)),
    ]
    for pattern, where, but in rules:
        files = [f for f in tracked(*where) if not f.startswith(but)]
        code, _ = run(log, "grep", "-nE", pattern, "--", *files) if files else (1, "")
        one(result, int(code == 0), "found: " + pattern)
    for name in tracked(*product):
        with open(os.path.join(TOP, name), encoding="utf-8") as source:
            text = source.read()
        one(result, bool(re.search(r"\b(NAME|PATH)_MAX\b", text)) and "<limits.h>" not in text,
            name + " needs limits.h")
    for name in tracked("tests/hygiene/*.py"):
        one(result, run(log, PYTHON, name)[0], name)


def suite_thorough(result, log):
    """Cases that repeat much: every kind of bit on the TPM's bus, long storms. Only when asked for."""
    unittests(result, log, "cases", r"(tpm_bus|failing)\.py", {"SEALEDFS_THOROUGH": "1"})


def suite_fuzz(result, log):
    """Every fuzz target for a minute. Only when asked for."""
    for name in tracked("tests/fuzz/fuzz_*.c"):
        target = os.path.basename(name)[len("fuzz_"):-len(".c")]
        one(result, run(log, "tests/fuzz/run", target, "60")[0], target)


def hashes(directory):
    found = {}
    for name in ("fs/sealedfs", "tools/sealctl", "tools/man/sealedfs.8"):
        with open(os.path.join(directory, name), "rb") as program:
            found[name] = hashlib.sha256(program.read()).hexdigest()
    return found


def suite_builds(result, log):
    """Other ways to build: clang, unity, and twice the same bytes. Only when asked for."""
    clang = os.path.join(BUILD, "clang")
    shutil.rmtree(clang, ignore_errors=True)
    code = run(log, "meson", "setup", clang, TOP, "-Dwerror=true", env={"CC": "clang"})[0] \
        or run(log, "ninja", "-C", clang, "-k", "0")[0]
    one(result, code, "clang")
    if code == 0:
        meson_tests(result, log, clang, {})
    build(result, log, os.path.join(BUILD, "unity"), "-Dunity=on")
    found = []
    for place in ("one", "another/place"):
        tree = os.path.join(BUILD, "twice", place)
        shutil.rmtree(tree, ignore_errors=True)
        os.makedirs(tree)
        for name in tracked("*"):
            os.makedirs(os.path.dirname(os.path.join(tree, name)), exist_ok=True)
            shutil.copy2(os.path.join(TOP, name), os.path.join(tree, name), follow_symlinks=False)
        code = run(log, "meson", "setup", os.path.join(tree, "build"), tree, "-Dtests=false")[0] or \
            run(log, "ninja", "-C", os.path.join(tree, "build"))[0]
        one(result, code, "build in " + place)
        found.append(hashes(os.path.join(tree, "build")) if code == 0 else None)
    log.write("%s\n%s\n" % tuple(found))
    one(result, found[0] is None or found[0] != found[1], "not the same bytes")


# What Debian 13 is asked for; the rest of it depends on the versions of formatters and checkers.
DEBIAN13 = ("build", "unit", "oracle", "emulators", "cases", "boot", "build-asan", "unit-asan",
            "cases-asan")


def suite_debian13(result, log):
    """The tests and tools/demo on Debian 13, in a root made by debootstrap. Only when asked for."""
    place = ("tests/debian", "trixie", os.path.join(BUILD, "debian13"))
    code, out = run(log, *place, "tools/check", *DEBIAN13, timeout=4 * 3600)
    found = re.search(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", out, re.M)
    if found:
        result.add(*map(int, found.groups()))
        for name in re.findall(r"^    unsteady: (.*): failed beside others, passed alone$", out, re.M):
            result.unsteady.append((name, ["on Debian 13: see the suite's log"]))
    one(result, code != 0 or not found, "tools/check")
    one(result, run(log, *place, "tools/demo")[0], "tools/demo")


def suite_arm64(result, log):
    """The product for arm64, and sealctl of it under an emulator. Only when asked for."""
    one(result, run(log, "tests/arm64", os.path.join(BUILD, "arm64"), timeout=3600)[0], "arm64")


def suite_kernel(result, log):
    """/dev/nsm by CUSE and real vsocks, on Debian 13's kernel in an emulated machine. Only when asked for."""
    code, out = run(log, "tests/kernel", os.path.join(BUILD, "kernel"), "enclave_device.py", timeout=4000)
    ran = re.search(r"^Ran (\d+) tests? in ", out, re.M)
    one(result, code != 0 or not ran or "skipped=" in out, "enclave_device")


def suite_package(result, log):
    """The package: built twice, judged by lintian, used in minimal roots. Only when asked for."""
    for suite in ("bookworm", "trixie"):
        code, out = run(log, "tests/package", suite, os.path.join(BUILD, "package-" + suite), timeout=7200)
        result.add(passed=len(re.findall(r"^ok: ", out, re.M)))
        one(result, code, "package on " + suite)


# These compute, or read the source. They run one after the other beside the suites that mostly wait, and
# get what those leave of the processors.
BESIDE = ("build-asan", "build-tsan", "format", "cppcheck", "tidy", "shellcheck", "hygiene")
AFTER = {"unit-asan": "build-asan", "cases-asan": "build-asan", "unit-tsan": "build-tsan",
         "cases-tsan": "build-tsan"}
# Take long, and are run by name.
LONG = ("fuzz", "builds", "thorough", "debian13", "arm64", "kernel", "package")
SUITES = [
    ("build", suite_build),
    ("unit", suite_unit),
    ("oracle", suite_oracle),
    ("emulators", suite_emulators),
    ("bench", suite_bench),
    ("cases", suite_cases),
    ("boot", suite_boot),
    ("build-asan", suite_build_asan),
    ("unit-asan", suite_unit_asan),
    ("cases-asan", suite_cases_asan),
    ("build-tsan", suite_build_tsan),
    ("unit-tsan", suite_unit_tsan),
    ("cases-tsan", suite_cases_tsan),
    ("format", suite_format),
    ("cppcheck", suite_cppcheck),
    ("tidy", suite_tidy),
    ("shellcheck", suite_shellcheck),
    ("hygiene", suite_hygiene),
    ("fuzz", suite_fuzz),
    ("builds", suite_builds),
    ("thorough", suite_thorough),
    ("debian13", suite_debian13),
    ("arm64", suite_arm64),
    ("kernel", suite_kernel),
    ("package", suite_package),
]


def run_suite(suite, result, log, alone=lambda: None):
    """A suite that cannot even run, after a failed build say, has failed: it is counted. alone():
    returns when nothing else runs, which is what a file that failed needs for its second chance."""
    for step in (lambda: suite(result, log), lambda: result.run_again(log, alone)):
        try:
            step()
        except Exception as reason:  # pylint: disable=broad-except
            log.write(traceback.format_exc())
            result.add(failed=1, note="did not run to its end: %s" % reason)


def failures(result, path):
    """The output of each file that failed, or the end of the suite's log where it has none."""
    if result.details or not result.failed:
        return result.details
    with open(path, encoding="utf-8") as log:
        return [(os.path.relpath(path, TOP), log.read().splitlines()[-60:])]


class Run:
    """The suites that were chosen: those of BESIDE in a thread of their own, the others in order."""

    def __init__(self, names):
        self.suites = [(name, suite) for name, suite in SUITES if name in names]
        self.total, self.printing = Result(), threading.Lock()
        self.beside = [name for name, _ in self.suites if name in BESIDE]
        if len(self.beside) == len(self.suites):
            self.beside = []
        self.done = {name: threading.Event() for name in self.beside}
        self.thread = threading.Thread(target=self.run_beside)

    def run_all(self):
        for name, suite in self.suites:
            if name in self.beside:
                continue
            if self.beside and name != "build" and self.thread.ident is None:
                self.thread.start()
            if AFTER.get(name) in self.done:
                self.done[AFTER[name]].wait()
            self.run_one(name, suite)
        self.wait()

    def wait(self):
        """Until nothing runs beside."""
        if self.beside:
            if self.thread.ident is None:
                self.thread.start()
            self.thread.join()

    def run_beside(self):
        # Of this thread alone, and of what it starts. Not the lowest: somebody else's program that takes
        # all processors must not stop the builds.
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 4)
        for name, suite in self.suites:
            if name in self.beside:
                try:
                    self.run_one(name, suite)
                finally:
                    self.done[name].set()

    def run_one(self, name, suite):
        result, started = Result(), time.monotonic()
        path = os.path.join(BUILD, name + ".log")
        with open(path, "w", encoding="utf-8") as log:
            run_suite(suite, result, log, self.wait if name not in self.beside else lambda: None)
        with self.printing:
            self.total.merge(result)
            print("%-12s %4d passed %3d failed %3d skipped  %6.1f s" % (
                name, result.passed, result.failed, result.skipped, time.monotonic() - started),
                flush=True)
            show(result, failures(result, path))


def main():
    wanted = sys.argv[1:]
    if wanted == ["--list"]:
        for name, suite in SUITES:
            print("%-12s %s" % (name, suite.__doc__.split("\n")[0]))
        return 0
    unknown = set(wanted) - {name for name, _ in SUITES}
    if unknown:
        print("no such suite: " + ", ".join(sorted(unknown)), file=sys.stderr)
        return 2
    os.makedirs(BUILD, exist_ok=True)
    chosen = Run(wanted or [name for name, _ in SUITES if name not in LONG])
    chosen.run_all()
    print(last_lines(chosen.total))
    return 0 if chosen.total.failed == 0 and chosen.total.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
