#!/usr/bin/python3
"""The project's own tools: what they do when something is missing or has failed."""

import importlib.util
import io
import os
import shutil
import subprocess
import unittest

import common


def load(name, *path):
    spec = importlib.util.spec_from_file_location(name, os.path.join(common.TOP, *path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
