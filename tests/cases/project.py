#!/usr/bin/python3
"""The project's own tools: what they do when something is missing or has failed."""

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import unittest
import unittest.mock

import common

sys.path.append(common.TESTS)
import run_results  # pylint: disable=wrong-import-position


def load(name, *path):
    spec = importlib.util.spec_from_file_location(name, os.path.join(common.TOP, *path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# A file of tests: the script is the first one, and seen is true when it runs the second time.
FILE = """import os, unittest
SEEN = %r
seen = os.path.exists(SEEN)
open(SEEN, "w").close()
class Case(unittest.TestCase):
    def test_script(self):
        %s
    def test_passes(self):
        pass
unittest.main()
"""


class Check(unittest.TestCase):
    def test_listing_installs_nothing(self):
        """With a PATH that has neither apt-get nor dpkg."""
        lab = common.Lab()
        self.addCleanup(lab.close)
        for name in ("bash", "dirname", "python3", "env"):
            os.symlink(shutil.which(name), lab.path("bin", name))
        done = subprocess.run([os.path.join(common.TOP, "tools", "check"), "--list"], check=False,
                              env={"PATH": lab.path("bin")}, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout)
        names = [line.split()[0] for line in done.stdout.splitlines()]
        self.assertLessEqual({"build", "unit", "cases", "boot", "fuzz"}, set(names))

    def test_a_suite_that_cannot_run_is_counted(self):
        """After a failed build there is no compile_commands.json, say."""
        run = load("run", "tests", "run.py")
        result, log = run.Result(), io.StringIO()

        def suite(found, _log):
            found.add(passed=2)
            raise FileNotFoundError("compile_commands.json")
        run.run_suite(suite, result, log)
        self.assertEqual((result.passed, result.failed, result.skipped), (2, 1, 0))
        self.assertIn("compile_commands.json", result.notes[0])
        self.assertIn("Traceback", log.getvalue())

    def again(self, script, *flags):
        """A file of tests through the runner; returns (result, log, what is printed)."""
        run = load("run", "tests", "run.py")
        lab = common.Lab()
        self.addCleanup(lab.close)
        path = lab.path("file.py")
        with open(path, "w", encoding="ascii") as out:
            out.write(FILE % (lab.path("seen"), script))
        result, log, printed = run.Result(), io.StringIO(), io.StringIO()

        def suite(found, log):
            run.take_unittest(found, log, path, {}, *run.run_unittest(path, {}, (), flags), (), flags)
        run.run_suite(suite, result, log)
        with contextlib.redirect_stdout(printed):
            run.show(result, result.details)
            print(run.last_lines(result))
        return result, log.getvalue(), printed.getvalue()

    def test_fails_the_first_time_only(self):
        result, log, printed = self.again("self.assertTrue(seen, 'a word of the first time')")
        self.assertEqual((result.passed, result.failed, result.skipped), (2, 0, 0))
        self.assertRegex(printed, r"(?m)^    unsteady: \S+file.py: failed beside others, passed alone$")
        self.assertIn("    | AssertionError: False is not true : a word of the first time", printed)
        self.assertEqual(printed.splitlines()[-2:],
                         ["1 unsteady: see above", "2 passed, 0 failed, 0 skipped"])
        self.assertIn("$ again, alone: ", log)

    def test_fails_twice(self):
        result, _, printed = self.again("self.fail('second' if seen else 'first')")
        self.assertEqual((result.passed, result.failed, result.skipped), (1, 1, 0))
        self.assertNotIn("unsteady", printed)
        self.assertIn("    | AssertionError: second", printed)
        self.assertEqual(printed.splitlines()[-1], "1 passed, 1 failed, 0 skipped")

    def test_fails_and_is_skipped_then(self):
        result, _, printed = self.again("self.skipTest('gone') if seen else self.fail('first')")
        self.assertEqual((result.passed, result.failed, result.skipped), (1, 1, 0))
        self.assertNotIn("unsteady", printed)

    def test_ends_without_a_number_the_first_time(self):
        result, _, printed = self.again("seen or os._exit(3)")
        self.assertEqual((result.passed, result.failed, len(result.unsteady)), (2, 0, 1))
        self.assertIn("unsteady: ", printed)

    def test_what_a_sanitizer_found_is_not_forgiven(self):
        for found in ("==1==ERROR: AddressSanitizer: heap-use-after-free", "1 != 66",
                      "WARNING: ThreadSanitizer: data race", "a.c:1:2: runtime error: overflow",
                      "sealedfs ended with 99", "==1==ERROR: LeakSanitizer: detected memory leaks"):
            with self.subTest(found):
                result, log, printed = self.again(f"self.assertTrue(seen, {found!r})")
                self.assertEqual((result.passed, result.failed), (1, 1))
                self.assertNotIn("unsteady", printed)
                self.assertNotIn("again, alone", log)

    def test_what_a_daemons_sanitizer_found_is_shown(self):
        shown = io.StringIO()
        with unittest.mock.patch.dict(os.environ, {"TSAN_OPTIONS": "exitcode=66"}), \
                contextlib.redirect_stderr(shown):
            lab = common.Lab()
            with open(lab.path("mnt.x.log"), "w", encoding="ascii") as out:
                out.write("ready\nWARNING: ThreadSanitizer: data race (pid=1)\n")
            lab.close()
        self.assertTrue(run_results.sanitizer_found(1, shown.getvalue()), shown.getvalue())

    def test_many_failures_are_not_unsteady(self):
        result, asked = run_results.Result(), []
        for n in range(run_results.MANY + 1):
            result.take(run_results.count_cmocka, f"t{n}", 1, "",
                        lambda: asked.append(1) or (0, ""))
        result.run_again(io.StringIO())
        self.assertEqual((result.passed, result.failed, asked), (0, run_results.MANY + 1, []))

    def test_a_unit_program_that_fails_the_first_time(self):
        result, count = run_results.Result(), run_results.count_cmocka
        bad, good = "[  PASSED  ] 2 test(s).\n[  FAILED  ] t_x\n", "[  PASSED  ] 3 test(s).\n"
        result.take(count, "unit/x", 1, bad, lambda: (0, good))
        result.take(count, "unit/found", 99, bad, lambda: (0, good))
        result.take(count, "unit/crash", -11, "", lambda: (0, good))
        result.run_again(io.StringIO())
        self.assertEqual((result.passed, result.failed), (3 + 2 + 3, 1))
        self.assertEqual([name for name, _ in result.unsteady], ["unit/x", "unit/crash"])

    def test_what_runs_beside(self):
        """Builds before what needs them, the others whenever; and nothing beside a second chance."""
        run, lab, ends = load("run", "tests", "run.py"), common.Lab(), []
        self.addCleanup(lab.close)
        usual = os.getpriority(os.PRIO_PROCESS, 0)

        def make(name, after=None):
            def suite(result, _log):
                for each in after or ():
                    common.wait_for(each, lambda each=each: each in ends)
                self.assertEqual(os.getpriority(os.PRIO_PROCESS, 0),
                                 min(usual + 4, 19) if name in run.BESIDE else usual)
                ends.append(name)
                result.take(run_results.count_cmocka, name, int(name == "cases"), "",
                            lambda: ends.append("again") or (0, ""))
            return name, suite
        run.BUILD = lab.path("check")
        run.SUITES = [make("build"), make("cases"), make("build-asan", ["cases"]),
                      make("unit-asan"), make("tidy"), make("hygiene")]
        chosen, printed = run.Run([name for name, _ in run.SUITES]), io.StringIO()
        os.mkdir(run.BUILD)
        with contextlib.redirect_stdout(printed):
            chosen.run_all()
        self.assertEqual(ends, ["build", "cases", "build-asan", "tidy", "hygiene", "again",
                                "unit-asan"])
        self.assertEqual(run.last_lines(chosen.total),
                         "1 unsteady: see above\n6 passed, 0 failed, 0 skipped")
        self.assertEqual(len(printed.getvalue().splitlines()), 6 + 3)

    def test_only_what_would_run_beside(self):
        run, lab = load("run", "tests", "run.py"), common.Lab()
        self.addCleanup(lab.close)
        run.BUILD, nice = lab.path("check", make=True), []
        run.SUITES = [("tidy", lambda result, _log: (
            result.add(passed=1), nice.append(os.getpriority(os.PRIO_PROCESS, 0))))]
        chosen = run.Run(["tidy"])
        with contextlib.redirect_stdout(io.StringIO()):
            chosen.run_all()
        self.assertEqual((chosen.total.passed, nice), (1, [os.getpriority(os.PRIO_PROCESS, 0)]))

    def test_licences_of_all_files(self):
        if not shutil.which("reuse"):
            self.skipTest("reuse is not installed")
        if not os.path.exists(os.path.join(common.TOP, ".git")):
            self.skipTest("not a checkout")
        done = subprocess.run(["reuse", "lint"], cwd=common.TOP, check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:])


class Bench(unittest.TestCase):
    def test_a_relative_folder(self):
        """Its servers run in other folders."""
        folder = os.path.join(common.TESTS, "bench")
        done = subprocess.run(["/usr/bin/python3", "-c", "import run; print(run.parse(['--out', "
                               "'results.new']).out)"], cwd=folder, check=True, text=True,
                              stdout=subprocess.PIPE, timeout=60)
        self.assertEqual(done.stdout.strip(), os.path.join(folder, "results.new"))


if __name__ == "__main__":
    common.main()
