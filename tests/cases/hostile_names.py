#!/usr/bin/python3
"""Names and messages from outside: in no output is there a byte that forges a line, drives a terminal
or hides text. And a model that looks like a mount's control file is believed by nobody."""

import contextlib
import glob
import json
import os
import re
import socket
import subprocess

import common
import common_fuse
import common_net
from common import CHUNK, NOT_AUTHENTIC, OK, USAGE

# Direction marks, a zero-width space, quotes: no more can be sealed as a name.
ODD = "a b\u202ec\u2066d\u200b\"e\\f.gguf"
MISLEADING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


class Hostile(common.Case):
    """clean() is the one rule for all streams."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()

    def options(self, *more):
        return ("key-file=" + self.key, "attest=none", "measure=none", *more)

    def clean(self, data, what, lines=None):
        """Bytes of a stream. lines: the words with which they may begin, to find forged ones."""
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        found = MISLEADING.search(text)
        self.assertIsNone(found, f"{what}: {found and found.group().encode()} in {text!r}")
        for line in text.splitlines():
            self.assertFalse(line.startswith("fake"), f"{what}: {text!r}")
        return text

    def run_clean(self, *argv, **options):
        """Runs a program; both its streams must be clean. Undecoded, so that nothing hides."""
        done = subprocess.run(argv, env=self.lab.env(**options), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120,
                              check=False)
        return common.Result(done.returncode, self.clean(done.stdout, argv),
                             self.clean(done.stderr, argv))


class Names(Hostile):
    PARTS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = common.make_model(cls.lab.path("plain", ODD), 2 * CHUNK)
        cls.source = cls.lab.path("sealed")
        cls.lab.seal(cls.lab.path("plain"), cls.source, "--key-file", cls.key, "-q")

    def spoil(self, name):
        """A copy of the source whose payload is damaged and that has more names."""
        source = common.copy_tree(self.source, self.lab.path(name))
        (payload,) = glob.glob(glob.escape(source) + "/*.sealed")
        with open(payload, "r+b") as out:
            out.write(bytes(100))
        for name in (ODD, "a\x1b[2J", "b\x9b31m", "c\nfake: ok", "d\x7f"):
            with open(os.path.join(source, name + ".seal.junk.seal"), "wb") as out:
                out.write(b"junk")
        junk = os.fsencode(source) + b"/\xff\xfe\xc2\x9b\x1b]0;x\x07\n" + b"fake: ok.seal"
        with open(junk, "wb") as out:
            out.write(b"junk")
        os.symlink("/etc/passwd", os.path.join(source, "fake\x1b\nfake.seal"))
        return source

    def test_every_verb(self):
        seal = glob.glob(glob.escape(self.source) + "/*.seal")[0]
        broken = self.spoil("every")
        bad = os.fsencode(self.lab.path("none")) + b"\xff\x9b\n" + b"fake: \x1b[2J"
        for more in ((), ("--json",)):
            for verb, code, *args in (
                    ("seal", OK, self.lab.path("plain"), self.lab.path("again"), "--key-file",
                     self.key),
                    ("inspect", OK, seal), ("hash", OK, self.plain),
                    ("hash", OK, "--pcr", self.source), ("check", OK, self.source),
                    ("check", None, broken, "--key-file", self.key),
                    ("inspect", None, bad), ("hash", None, bad), ("check", None, bad),
                    ("status", None, bad), ("warm", None, bad), ("seal", None, bad, bad),
                    ("keygen", None, bad), ("attest", None, "--out", bad),
                    ("check", None, "--owner-key", bad, seal), ("hash", USAGE, b"--no\x9b\x1b\n"),
                    ("inspect", None, self.plain)):
                done = self.run_clean(common.SEALCTL, verb, *more, *args)
                if code is not None:
                    self.assertEqual(done.code, code, done.err)
                self.assertTrue(done.out or done.err)
                if more and done.out:
                    json.loads(done.out)
        self.assertNotEqual(self.run_clean(common.SEALCTL, b"fake\x9b\n\x1b[2J").code, OK)

    def test_daemon(self):
        for options in ((b"no-such\x1b\x9b\n=1",), (b"mode=\x1b\n\x9b",), (b"owner-key=/\xff\x1b\n",)):
            done = self.run_clean(common.SEALEDFS, self.source, self.lab.path("m", make=True), "-o",
                                  options[0])
            self.assertEqual(done.code == OK, False)
        for verb in ("--reload", "--unmount"):
            self.run_clean(common.SEALEDFS, verb, self.lab.path("x\x1b\u202e\nfake"))

    def test_mount(self):
        """The log, the control files, and what sealctl makes of them."""
        source = self.spoil("mount\u202e\x9b")
        with self.lab.mount(source, *self.options()) as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), sorted((ODD, ODD + ".seal.junk")))
            self.assert_io_error(mount.join(ODD))
            self.assertEqual(mount.log().count("is not shown"), 6, mount.log())
            for name in ("status", "status.json", "metrics"):
                self.clean(common.read_bytes(mount.join(".sealedfs", name)), name)
            for more in ((), ("--json",), ("--prometheus",)):
                done = self.run_clean(common.SEALCTL, "status", mount.path, *more)
                self.assertEqual(done.code, NOT_AUTHENTIC, done.err)
            for more in ((), ("--json",)):
                self.run_clean(common.SEALCTL, "warm", mount.path, *more)
            report = json.loads(self.lab.sealctl("status", "--json", mount.path).out)
            self.assertEqual(report["models"][0]["name"], ODD)
            with open("/proc/self/mounts", "rb") as mounts:
                for line in mounts:
                    if os.fsencode(mount.path) in line:
                        self.clean(line, "mounts")
        self.clean(common.read_bytes(mount.log_path), "the log")

    def test_service_manager_and_journal(self):
        """What systemd is told, and lines with the journal's prefix."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        path = self.lab.path("notify")
        listener.bind(path)
        listener.settimeout(20)
        with self.lab.mount(self.spoil("journal"), *self.options(),
                            extra={"NOTIFY_SOCKET": path, "JOURNAL_STREAM": "1:2"}) as mount:
            self.assert_io_error(mount.join(ODD))
        listener.setblocking(False)
        messages = []
        try:
            while True:
                messages.append(listener.recv(65536))
        except BlockingIOError:
            pass
        self.assertIn(b"READY=1", messages)
        for message in messages:
            self.clean(message, "a message")
            if message.startswith(b"STATUS="):
                self.assertEqual(message.count(b"\n"), 0)
        for line in self.clean(common.read_bytes(mount.log_path), "the journal").splitlines():
            self.assertRegex(line, "^<[0-7]>")

    def test_labels_differ(self):
        """Names that look alike once they are printed are two series, or a scrape is refused."""
        folder = self.lab.path("alike", make=True)
        for name in ("m\u202e", "m\\xe2\\x80\\xae", "m\\\u202e", "m\\x5cxe2\\x80\\xae", 'm"', "m\\n"):
            common.make_model(os.path.join(folder, name), 10)
        self.lab.seal(folder, self.lab.path("alike-sealed"), "--key-file", self.key, "-q")
        with self.lab.mount(self.lab.path("alike-sealed"), *self.options()) as mount:
            metrics = common.read_text(mount.join(".sealedfs/metrics"))
            lines = [line for line in metrics.splitlines()
                     if line.startswith("sealedfs_model_size_bytes{")]
            self.assertEqual(len(lines), 6)
            self.assertEqual(len(set(lines)), 6, lines)


class Servers(Hostile):
    """Words of S3, and keys that only a bucket can hold."""

    PARTS = ("s3",)

    def test_error_of_a_server(self):
        words = "no\nfake: ok\x1b[2J\u009b31m\u202e"
        common.make_model(self.lab.path("a.gguf"), 10)
        self.lab.seal(self.lab.path("a.gguf"), self.lab.s3_url("p/"), "--key-file", self.key)
        with self.lab.s3.fault(match="GET", kind="status", status=403, code="AccessDenied",
                               message=words.replace("\x1b", "")):
            for argv in ((common.SEALCTL, "check", self.lab.s3_url("p/")),
                         (common.SEALCTL, "check", "--json", self.lab.s3_url("p/")),
                         (common.SEALEDFS, self.lab.s3_url("p"), self.lab.path("m", make=True), "-f",
                          "-o", ",".join(self.options()))):
                done = self.run_clean(*argv)
                self.assertNotEqual(done.code, OK)

    def test_skipped_keys(self):
        """Keys that cannot be files are counted and named, by everybody who lists."""
        names = ("double//slash", "./here", "dots/../up", "/absolute", "a/./b", "end/.", "odd//\x1b\n")
        common.make_model(self.lab.path("tiny"), 10)
        for name in ("good", "deep/good"):
            self.lab.seal(self.lab.path("tiny"), self.lab.s3_url("k"), "--name", name, "--key-file",
                          self.key)
        for name in names:
            for end in (".seal", ".0123456789abcdef.sealed"):
                done = subprocess.run([common_net.PROBE, "put", common.BUCKET, "k/" + name + end,
                                       self.lab.path("tiny")], env=self.lab.env("owner"),
                                      stdin=subprocess.DEVNULL, check=False,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.assertEqual(done.returncode, 0, done.stdout)
        with self.lab.mount(self.lab.s3_url("k"), *self.options()) as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), ["deep", "good"])
            log = self.clean(mount.log(), "the log")
            listing = json.loads(common.read_text(mount.join(".sealedfs/status.json")))["listing"]
            self.assertEqual((listing["hidden"], len(listing["notes"])), (len(names),) * 2)
            text = self.run_clean(common.SEALCTL, "status", mount.path).out
            for name in ("double//slash", '"./here', "dots/../up", '"/absolute', "a/./b", "end/."):
                for place in (log, text):
                    self.assertIn(name, place)
            self.assertIn(f"{len(names)} objects of the source are not shown", text)
        done = self.run_clean(common.SEALCTL, "check", self.lab.s3_url("k"))
        self.assertNotEqual(done.code, OK)
        self.assertIn(f"{len(names) + 2} objects, {len(names)} failed", done.out)
        report = json.loads(self.run_clean(common.SEALCTL, "check", "--json",
                                           self.lab.s3_url("k")).out)
        self.assertEqual([entry["ok"] for entry in report["objects"]].count(False), len(names))

    def test_folders_that_are_not_entered(self):
        """A link to a folder, a loop, and what lies too deep: named and counted, not entered."""
        source = self.lab.path("folders")
        self.lab.seal(common.make_model(self.lab.path("tiny"), 10), source, "--key-file", self.key)
        os.symlink(self.lab.path("links", make=True), os.path.join(source, "linked"))
        os.symlink(".", os.path.join(source, "loop"))
        os.symlink("nowhere", os.path.join(source, "dangling"))
        os.makedirs(os.path.join(source, *("d" * 70)))
        with self.lab.mount(source, *self.options()) as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), ["tiny"])
            listing = json.loads(common.read_text(mount.join(".sealedfs/status.json")))["listing"]
            self.assertEqual((listing["hidden"], len(listing["notes"])), (3, 3), listing)
            for words in ("linked/*.seal", "loop/*.seal", "directories deep"):
                self.assertIn(words, mount.log())
        done = self.lab.sealctl("check", source)
        self.assertNotEqual(done.code, OK)
        self.assertIn("4 objects, 3 failed", done.out)

    def test_very_many_skipped_keys(self):
        common.make_model(self.lab.path("tiny"), 10)
        source = self.lab.path("links")
        self.lab.seal(self.lab.path("tiny"), source, "--key-file", self.key)
        for number in range(250):
            os.symlink("tiny.seal", os.path.join(source, f"link{number}.seal"))
        with self.lab.mount(source, *self.options()) as mount:
            self.assertEqual(mount.log().count("is not shown"), 100)
            self.assertIn("150 more", mount.log())
            listing = json.loads(common.read_text(mount.join(".sealedfs/status.json")))["listing"]
            self.assertEqual((listing["hidden"], listing["more_notes"]), (250, 150))
        done = self.lab.sealctl("check", source)
        self.assertNotEqual(done.code, OK)
        self.assertIn("251 objects, 250 failed", done.out)


class Forged(Hostile):
    """A folder of a mount with a control file of its own, and mounts that are not ours."""

    PARTS = ()
    example = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = cls.lab.path("sealed")
        common.make_model(cls.lab.path("plain", "a.gguf"), 10)
        common.make_model(cls.lab.path("plain", "team", "b.gguf"), 10)
        cls.lab.seal(cls.lab.path("plain"), cls.source, "--key-file", cls.key, "-q")

    def report(self):
        """As the daemon makes it."""
        with self.lab.mount(self.source, *self.options()) as mount:
            return common.read_text(mount.join(".sealedfs/status.json"))

    def test_folder_that_looks_like_a_mount(self):
        """As bytes of a directory and of a mount: bind mounts put the file where no seal can."""
        forged = self.lab.path("forged", "x", ".sealedfs", make=True)
        with open(os.path.join(forged, "status.json"), "w", encoding="ascii") as out:
            out.write(self.report())
        for place in (os.path.dirname(forged), forged):
            for verb in ("status", "warm"):
                self.assertEqual(self.lab.sealctl(verb, place).code, USAGE)
        with self.lab.mount(self.source, *self.options()) as mount:
            team = mount.join("team")
            for verb in ("status", "warm"):
                done = self.lab.sealctl(verb, team)
                self.assert_result(done, USAGE, "not the root of the mount", mount.path)
            subprocess.run(["mount", "--bind", os.path.dirname(forged), team], check=True)
            try:
                self.assertEqual(self.lab.sealctl("status", team).code, USAGE)
            finally:
                subprocess.run(["umount", "-l", team], check=True)
            states = [model["state"] for model in
                      json.loads(self.lab.sealctl("status", "--json", mount.path).out)["models"]]
            self.assertEqual(states, ["sealed", "sealed"])

    def test_reports_that_make_no_sense(self):
        """Served by another FUSE file system that has our type and attribute."""
        model = "models__0__"
        for changes in ({"sealedfs": None}, {"sealedfs": "1\x1b[2J"}, {"sealedfs": 5}, {"pid": -1},
                        {"pid": "1"}, {"pid": 1 << 40}, {"models": None}, {"models": {}},
                        {"models": [[]]}, {"models": [5]}, {"started": "now"}, {"options": []},
                        {"options__measure": "very"}, {"options__pcr": 24}, {"memory": {"a": "b"}},
                        {"pcr": {}}, {"pcr": {"number": 15, "shows_what_is_served": 1}},
                        {"aws": {"s3": 5}}, {"listing__hidden": -1}, {"listing__notes": [5]},
                        {model + "name": "../f"}, {model + "name": "/etc/passwd"},
                        {model + "name": "a/../../f"}, {model + "name": ""}, {model + "name": "a//b"},
                        {model + "name": ".sealedfs/status"}, {model + "name": 5},
                        {model + "name": "x" * 256}, {model + "inode": "1"}, {model + "inode": 5},
                        {model + "inode": "0x5"}, {model + "inode": "-5"},
                        {model + "size_bytes": -1}, {model + "size_bytes": 1 << 62},
                        {model + "size_bytes": 1.5}, {model + "state": "fine\x9b"},
                        {model + "state": "fine"}, {model + "state": None},
                        {model + "reason": {"message": "x", "hint": "y", "exit_code": 6}},
                        {model + "reason": {"message": "x" * 9000, "hint": "", "exit_code": 1}},
                        {model + "measured": {"mode": "verity", "pcr": 15, "event": "a\nb",
                                              "earlier_since_boot": False}},
                        {model + "unlocked": "2026-02-03 10:12:02Z"}, {model + "reads": -5},
                        {model + "hit_rate": 2}, {model + "errors": {"x": []}},
                        {"more": [[[[[[[[[[5]]]]]]]]]]}):
            with self.subTest(changes), self.imitation(self.changed(changes)) as path:
                for verb in ("status", "warm"):
                    done = self.run_clean(common.SEALCTL, verb, path)
                    self.assert_result(done, NOT_AUTHENTIC, "not to be believed")
                    self.assertNotIn("passwd", done.out)
        for text in ("", "[]", "5", '{"sealedfs": "1", "sealedfs": "1"}', "{" * 9000, "\\xff"):
            with self.subTest(text), self.imitation(text) as path:
                done = self.run_clean(common.SEALCTL, "status", path)
                self.assertEqual(done.code, NOT_AUTHENTIC)

    def test_another_file_system(self):
        """It answers like one of ours, and the kernel knows that it is none."""
        path = self.lab.path("another", make=True)
        text = json.dumps(self.report()).encode()
        with common_fuse.Imitation(path, text, "fuse.other") as other:
            for program, *arguments in ((common.SEALCTL, "status"), (common.SEALCTL, "warm"),
                                        (common.SEALEDFS, "--reload")):
                result = self.lab.run(program, *arguments, path)
                self.assertNotEqual(result.code, OK, arguments)
                self.assertIn("no sealedfs answers there", result.err)
            self.assertEqual(other.opened, [])

    def test_what_is_known_is_taken(self):
        """The imitation itself is no reason: members that nobody knows are."""
        good = self.changed({"more": {"x": [1, None, "y\x1b"]}, "models__0__state": "unlocked"})
        with self.imitation(good) as path:
            done = self.run_clean(common.SEALCTL, "status", "--json", path)
            self.assertEqual(done.code, OK, done.err)
            self.assertEqual(json.loads(done.out)["more"], {"x": [1, None, "y\x1b"]})

    def test_other_files_are_not_opened(self):
        """A report that says of a file what is not so."""
        for name, inode in (("f", "98"), ("none", "99"), (".sealedfs", "2"), ("f/g", "99")):
            report = self.changed({"models__0__name": name, "models__0__inode": inode,
                                   "models__0__state": "unlocked", "models__0__reads": 5})
            with self.imitation(report) as path:
                self.run_clean(common.SEALCTL, "status", path)
                self.assertNotEqual(self.run_clean(common.SEALCTL, "warm", path).code, OK)
                self.assertEqual(set(self.imitated.opened) - {common_fuse.STATUS}, set())

    def changed(self, changes):
        """The text of a good report with other members."""
        if Forged.example is None:
            Forged.example = self.report()
        value = json.loads(Forged.example)
        for path, new in changes.items():
            at = value
            *parts, last = path.split("__")
            for part in parts:
                at = at[int(part)] if isinstance(at, list) else at[part]
            if new is None:
                del at[last]
            else:
                at[last] = new
        return json.dumps(value)

    @contextlib.contextmanager
    def imitation(self, text):
        with common_fuse.Imitation(self.lab.path("imitation", make=True), text.encode()) as mount:
            self.imitated = mount
            yield mount.path


if __name__ == "__main__":
    common.main()
