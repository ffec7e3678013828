#!/usr/bin/python3
"""That the benchmark can be believed: its arithmetic, its controls, its stand-in for S3.

No speed is judged here. The C helpers come from $SEALEDFS_BUILD/tests/bench.
"""

import json
import os
import re
import subprocess
import tempfile
import threading
import time
import types
import unittest
import urllib.error
import urllib.request
import xml.etree.ElementTree

from cryptography.exceptions import InvalidTag

import machine
import others
import picture
import publish
import report
import rows
import sample_way
from web import Web

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(os.environ.get("SEALEDFS_BUILD", os.path.join(
    os.path.dirname(os.path.dirname(HERE)), "build", "bench", "out")), "tests", "bench")


def row(subject, values, control=False):
    return {"subject": subject, "title": subject, "control": control, "error": None,
            "samples": [{"round": i, "value": value, "foreign_cpu": 0.0}
                        for i, value in enumerate(values) if value is not None]}


def group(name, *rows_):
    made = {"name": name, "title": name, "unit": "GB/s", "note": "", "size_mb": 1, "runs": 3,
            "rows": list(rows_)}
    report.summarise(made)
    return made


class Arithmetic(unittest.TestCase):
    """Medians, ratios and goals."""

    def test_ratio_is_taken_in_each_round(self):
        # The machine halves its speed after the first round: the ratio stays 2.
        made = group("read", row("gocryptfs", [1.0, 0.5, 0.5], True), row("verity", [2.0, 1.0, 1.0]))
        self.assertEqual(made["rows"][1]["ratios"]["gocryptfs"]["median"], 2.0)
        self.assertEqual(made["rows"][1]["ratios"]["gocryptfs"]["min"], 2.0)
        self.assertEqual(made["rows"][1]["value"], {"median": 1.0, "min": 1.0, "max": 2.0, "count": 3})

    def test_rounds_that_failed_are_not_paired_with_others(self):
        made = group("read", row("null", [1.0, None, 4.0], True), row("verity", [None, 8.0, 2.0]))
        self.assertEqual(made["rows"][1]["ratios"]["null"], {"median": 0.5, "min": 0.5, "max": 0.5,
                                                            "count": 1})

    def test_goals(self):
        result = {"groups": [
            group("seal", row("disk", [4.0], True), row("bound", [1.0], True), row("sealctl", [0.9])),
            group("first-8g", row("verity", [0.03])), group("first-16m", row("verity", [0.01]))]}
        judged = report.judge(result, [
            ("a line", "seal", "sealctl", ["disk", "bound"], ">=", 0.8),  # against the slower: 0.9
            ("a line", "seal", "sealctl", ["disk"], ">=", 0.8),
            ("a line", "first-8g", "verity", ["first-16m:verity"], "<=", 1.5),
            ("a line", "first-8g", "verity", [], "<=", 0.03),
            ("a line", "read", "verity", ["plain"], ">=", 1.0)])
        self.assertEqual([(goal["reached"], goal["met"]) for goal in judged],
                         [(0.9, True), (0.225, False), (3.0, False), (0.03, True)])

    def test_a_row_without_samples_is_said_and_not_counted(self):
        empty = row("rclone", [], True)
        empty["error"] = "rclone is not installed"
        made = group("read", row("plain", [7.0], True), empty, row("verity", [1.4]))
        text = report.text_of(made)
        self.assertIn("rclone is not installed", text)
        self.assertIn("0.20", text)

    def test_picture_is_well_formed(self):
        made = group("read", row("gocryptfs", [1.0], True), row("null", [3.0], True),
                     row("verity", [1.5]), row("declared", [2.0]))
        made["rows"][2]["title"] = "a < b & c"
        result = {"groups": [made], "runs": 1, "machine": machine.describe()}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bench.svg")
            picture.draw(result, path)
            root = xml.etree.ElementTree.parse(path).getroot()
        bars = root.findall("{http://www.w3.org/2000/svg}rect")
        self.assertEqual(len(bars), 3)  # against gocryptfs: null, verity, declared
        words = "".join(root.itertext())
        self.assertIn("a < b & c", words)
        self.assertIn("1.50 \u00d7", words)


class Publishing(unittest.TestCase):
    """The documents' words come from bench.json."""

    def result(self):
        made = group("read", row("gocryptfs", [1.0], True), row("verity", [1.5]))
        made2 = {"groups": [made, group("first-8g", row("none", [0.0042]))], "runs": 1, "size_mb": 1000,
                 "date": "2026-01-02T03:04:05+00:00", "machine": machine.describe()}
        made2["goals"] = report.judge(made2, rows.GOALS)
        return made2

    def test_words_are_the_numbers(self):
        self.assertIn("| `read()` 1 MiB | 1.50 | 1.00 |", publish.rates_text(self.result()))
        text = publish.goals_text(self.result())
        self.assertIn("1.50 \u00d7 | **not met** |", text)
        self.assertIn("| 4.2 ms | met |", text)
        self.assertIn("1 of the project's 2 goals", text)

    def test_only_what_is_between_the_marks_changes(self):
        marked = "before\n%s\nold\n%s\nafter\n" % (publish.BEGIN, publish.END)
        once = publish.put("new", marked)
        self.assertEqual(once, marked.replace("old", "new"))
        self.assertEqual(publish.put("new", once), once)
        with self.assertRaises(ValueError):
            publish.put("new", "no marks")

    def test_the_documents_show_what_was_measured(self):
        top = os.path.dirname(os.path.dirname(HERE))
        path, result = os.path.join(HERE, "results", "bench.json"), None
        if os.path.exists(path):  # without one the documents must not claim anything
            with open(path, encoding="utf-8") as source:
                result = json.load(source)
        for name, text_of in publish.DOCUMENTS:
            with open(os.path.join(top, name), encoding="utf-8") as source:
                document = source.read()
            text = text_of(result) if result else ""
            self.assertEqual(publish.put(text, document), document, name)
        self.assertIn("(results/bench.svg)", document)


class Table(unittest.TestCase):
    """Works, subjects and goals name each other."""

    def groups(self):
        args = types.SimpleNamespace(delay=20, connections=8, null_options="", build="/nonexistent")
        bench = types.SimpleNamespace(args=args, work="/nonexistent", here=HERE, tools=TOOLS,
                                      top=os.path.dirname(os.path.dirname(HERE)))
        return bench, {made.name: made for made in rows.build(bench)}

    def test_every_goal_can_be_measured(self):
        _, groups = self.groups()
        for line, work, subject, against, *_ in rows.GOALS:
            names = {one.name for one in groups[work].subjects}
            self.assertIn(subject, names, line)
            for name in against:
                other, _, control = name.rpartition(":")
                self.assertIn(control, {one.name for one in groups[other or work].subjects}, line)

    def test_subjects_of_a_work_have_names_of_their_own(self):
        for name, made in self.groups()[1].items():
            names = [one.name for one in made.subjects]
            self.assertEqual(len(names), len(set(names)), name)

    def test_the_control_has_the_session_of_sealedfs(self):
        bench, groups = self.groups()
        null = next(one for one in groups["read"].subjects if one.name == "null")
        self.assertGreater(int(null.setting("readahead")), 0)
        argv = null.argv(types.SimpleNamespace(path="/x/m", name="m"), "/mnt")
        self.assertEqual(argv[-2:], ["/x/m", "/mnt"])
        for option in ("--threads", "--max-background"):
            self.assertGreater(int(argv[argv.index(option) + 1]), 0)
        self.assertEqual(bench.args.null_options, "")

    def test_the_bound_is_the_slower_of_work_and_chain(self):
        self.assertAlmostEqual(others.bound_of([4.0, 4.0], 9.0), 2.0)
        self.assertAlmostEqual(others.bound_of([4.0, 4.0], 1.5), 1.5)


class SampleWay(unittest.TestCase):
    """The re-enacted sample decrypts to what was encrypted, and refuses what was changed."""

    def test_there_and_back(self):
        with tempfile.TemporaryDirectory() as folder:
            plain, sealed, back = (os.path.join(folder, name) for name in ("plain", "sealed", "back"))
            content = os.urandom((1 << 20) + 17)
            with open(plain, "wb") as out:
                out.write(content)
            key = os.urandom(32)
            sample_way.encrypt(key, plain, sealed)
            sample_way.decrypt(key, sealed, back)
            with open(back, "rb") as found:
                self.assertEqual(found.read(), content)
            with open(sealed, "r+b") as out:
                out.seek(100)
                byte = out.read(1)
                out.seek(100)
                out.write(bytes([byte[0] ^ 1]))
            with self.assertRaises(InvalidTag):
                sample_way.decrypt(key, sealed, back)


@unittest.skipUnless(os.access(os.path.join(TOOLS, "reader"), os.X_OK), "no helpers in " + TOOLS)
class Helpers(unittest.TestCase):
    """The C programs."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "file")
        self.content = os.urandom(3 * 524288 + 7)
        with open(self.path, "wb") as out:
            out.write(self.content)

    def reader(self, *argv):
        return machine.run_json(os.path.join(TOOLS, "reader"), *argv)

    def test_reader_counts_every_byte_once(self):
        for argv in (("read",), ("read", "--block", "4096", "--threads", "4"), ("mmap",),
                     ("read", "--threads", "7", "--block", "1000000")):
            self.assertEqual(self.reader(*argv, self.path)["bytes"], len(self.content), argv)
        whole = self.reader("read", "--threads", "3", "--whole", self.path)
        self.assertEqual(whole["bytes"], 3 * len(self.content))
        self.assertEqual(self.reader("random", "--count", "50", self.path)["operations"], 50)

    def test_reader_compares(self):
        other = os.path.join(self.folder.name, "other")
        for change, equal in ((b"", True), (b"x", False)):
            with open(other, "wb") as out:
                out.write(self.content + change)
            done = subprocess.run([os.path.join(TOOLS, "reader"), "compare", self.path, other],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            self.assertEqual(done.returncode == 0, equal)
            done = subprocess.run([os.path.join(TOOLS, "reader"), "compare", other, self.path],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            self.assertEqual(done.returncode == 0, equal)

    @unittest.skipUnless(os.access("/dev/fuse", os.W_OK), "no /dev/fuse")
    def test_null_fuse_shows_the_file(self):
        for options in ([], ["--reply", "splice"], ["--clone-fd", "--threads", "2", "--max-read", "65536"]):
            mountpoint = os.path.join(self.folder.name, "mnt")
            with machine.mounted([os.path.join(TOOLS, "null_fuse"), *options, self.path, mountpoint],
                                 mountpoint, os.path.join(self.folder.name, "log")):
                self.assertEqual(os.listdir(mountpoint), ["file"])
                shown = os.path.join(mountpoint, "file")
                self.assertEqual(self.reader("compare", shown, self.path)["equal"], len(self.content))
                self.assertFalse(os.path.exists(shown + "x"))
            self.assertFalse(os.path.ismount(mountpoint))

    @unittest.skipUnless(os.access("/usr/sbin/nginx", os.X_OK), "nginx is not installed")
    def test_web_serves_ranges_and_the_slow_port_waits(self):
        web = Web(self.folder.name, TOOLS, 50)
        self.addCleanup(web.stop)
        web.publish(self.path, "models/x.sealed")
        web.start()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def get(slow, path, **headers):
            request = urllib.request.Request(web.url(slow) + path, headers=headers)
            began = time.monotonic()
            with opener.open(request, timeout=10) as answer:
                return answer.read(), answer, time.monotonic() - began

        body, answer, _ = get(False, "/bench/models/x.sealed", Range="bytes=100-199")
        self.assertEqual(body, self.content[100:200])
        listing = get(False, "/bench/?list-type=2&prefix=models%2F")[0].decode()
        self.assertIn("<Key>models/x.sealed</Key>", listing)
        self.assertIn(answer.headers["ETag"].strip('"'), listing)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            get(True, "/bench/models/x.sealed", **{"If-Match": '"0-0"'})
        self.assertEqual(refused.exception.code, 412)
        refused.exception.close()

        times = []
        threads = [threading.Thread(target=lambda: times.append(
            get(True, "/bench/models/x.sealed", Range="bytes=0-9")[2])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(times), 4)
        self.assertGreaterEqual(min(times), 0.05)


class Machine(unittest.TestCase):
    """What is asked of the system."""

    def test_meter_sees_what_a_process_uses(self):
        program = "import sys; sys.stdin.read(1); sum(range(10**7)); print(flush=True); sys.stdin.read(1)"
        with subprocess.Popen(["/usr/bin/python3", "-c", program], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            with machine.Meter([process.pid]) as meter:
                process.stdin.write(b"x")
                process.stdin.flush()
                process.stdout.readline()
            self.assertGreater(meter.server_cpu_s, 0.02)
            self.assertGreater(machine.peak_rss_bytes([process.pid]), 1 << 20)
            process.communicate(b"x")

    def test_what_a_command_cost(self):
        program = "x = bytearray(100 << 20); sum(range(10**7))"
        used_s, peak = machine.run_costed("/usr/bin/python3", "-c", program)
        self.assertGreater(used_s, 0.02)
        self.assertGreater(peak, 100 << 20)
        with self.assertRaisesRegex(machine.BenchError, "exit code 3.*last words"):
            machine.run_costed("sh", "-c", "echo last words >&2; exit 3")

    @unittest.skipUnless(os.access(os.path.join(TOOLS, "ballast"), os.X_OK), "no helpers in " + TOOLS)
    def test_the_ballast_gives_way_and_ends(self):
        with open("/proc/meminfo", encoding="ascii") as info:
            free_kib = int(re.search(r"MemFree:\s*(\d+)", info.read())[1])
        if free_kib < 2 << 20:
            self.skipTest("less than 2 GiB of memory are free")
        ballast = machine.Ballast(os.path.join(TOOLS, "ballast"), 256 << 20, keep_mib=256)
        ballast.take()
        ballast.take()
        ballast.stop()
        self.assertEqual(machine.Meter.helpers, [])
        for argv in (["255", "256"], ["256"], ["256", "x"]):
            done = subprocess.run([os.path.join(TOOLS, "ballast"), *argv], stdin=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, check=False)
            self.assertEqual(done.returncode, 2)

    def test_openssl_speed(self):
        speed = machine.openssl_speed("sha256")
        self.assertGreater(speed, 1e7)
        with self.assertRaises(machine.BenchError):
            machine.openssl_speed("no-such-hash")

    def test_a_service_that_ends_is_an_error_with_its_last_words(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(machine.BenchError, "exit code 3.*last words"):
                with machine.service(["sh", "-c", "echo last words; exit 3"], lambda: False,
                                     os.path.join(folder, "log")):
                    self.fail("it never was ready")

    def test_arguments_that_cannot_be_meant(self):
        """Nothing is measured, and no table is replaced by a part of it."""
        with tempfile.TemporaryDirectory() as folder:
            for argv, code, words in (
                    (["--runs", "0"], 2, "above 0"), (["--runs", "-3"], 2, "above 0"),
                    (["--size", "0"], 2, "above 0"), (["--count", "x"], 2, "above 0"),
                    (["--publish", "--quick"], 2, "--update"),
                    (["--publish", "--rows", "read"], 2, "--update"),
                    (["--rows", "nonsense"], 1, "nonsense"),
                    (["--subjects", "read,nonsense"], 1, "nonsense"),
                    (["--profile", "read"], 1, "WORK:SUBJECT"),
                    (["--update", "--rows", "crypto"], 1, "no bench.json")):
                done = subprocess.run(
                    ["/usr/bin/python3", os.path.join(HERE, "run.py"), "--out", folder, *argv],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    text=True, timeout=60, check=False)
                self.assertEqual((done.returncode, done.stdout), (code, ""), argv)
                self.assertIn(words, done.stderr)
            self.assertEqual(os.listdir(folder), [])


if __name__ == "__main__":
    unittest.main()
