#!/usr/bin/python3
"""sealctl seal into directories, keygen, and what all verbs share. S3 and KMS: sealctl_s3.py; check,
inspect, hash and attest: sealctl_check.py."""

import json
import os
import signal
import subprocess
import time

import common
import sealedformat as sf
from common import FAILURE, MIB, NOT_AUTHENTIC, OK, USAGE
from common_sealctl import (Moments, ended_by, files, finish, payloads, peak_rss, second_reader,
                            start, tool_digests, wait_until_drained, wait_until_read)

SIZES = (0, 1, 4095, 4096, 4097, 524287, 524288, 524289, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1,
         50_000_000)
RESULT_KEYS = ["name", "seal", "payload", "file_id", "length", "sha256", "sha384", "verity",
               "signer", "recipients", "replaced", "old_payload", "old_payload_removed", "seconds",
               "bytes_per_second"]


class Base(common.Case):
    """Each test has a destination of its own."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()

    def setUp(self):
        self.dest = self.lab.path(self.id().rsplit(".", 1)[1], "sealed")
        self.plain = self.lab.path(self.id().rsplit(".", 1)[1], "plain", make=True)

    def model(self, name="m.gguf", size=1000, seed=0):
        path = os.path.join(self.plain, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return common.make_model(path, size, seed)

    def seal(self, *args, expect=OK, **options):
        return self.lab.sealctl("seal", *args, self.dest, "--key-file", self.key, expect=expect,
                                **options)

    def assert_reads(self, names, plain=None):
        """The second reader finds exactly these models, and they are right."""
        found = second_reader(self.dest, self.key, plain or self.plain)
        self.assertEqual(found, {name: "ok" for name in names})

    def assert_nothing(self):
        self.assertEqual(files(self.dest) if os.path.isdir(self.dest) else [], [])


class Sealing(Base):
    def test_every_size(self):
        paths = [self.model(f"{size}.gguf", size, size) for size in SIZES]
        result = json.loads(self.seal(*paths, "--json", "--sign", self.private).out)
        self.assertEqual([entry["length"] for entry in result["sealed"]], list(SIZES))
        for path, entry in zip(paths, result["sealed"]):
            self.assertEqual(list(entry), RESULT_KEYS)
            for name, value in tool_digests(path).items():
                self.assertEqual(entry[name], value, path)
            self.assertEqual(os.path.getsize(entry["payload"]), entry["length"])
            self.assertTrue(entry["payload"].endswith(f".{entry['file_id'][:16]}.sealed"))
        found = second_reader(self.dest, self.key, self.plain, self.public)
        self.assertEqual(found, {f"{size}.gguf": "ok" for size in SIZES})

    def test_unsigned_is_said_once(self):
        done = self.seal(self.model("a"), self.model("b"))
        self.assertEqual(done.err.count("--sign"), 1)
        self.assertIn("unknown", self.seal_refused_by_owner())

    def seal_refused_by_owner(self):
        other = self.lab.owner_key("other")
        self.seal(self.model("a"), "--sign", other[0])
        os.unlink(os.path.join(self.dest, "b.seal"))
        return second_reader(self.dest, self.key, self.plain, self.public)["a"]

    def test_every_recipient_can_open(self):
        second = self.lab.key_file("second")
        self.seal(self.model(size=600_000), "--key-file", second)
        for key in (self.key, second):
            self.assertEqual(second_reader(self.dest, key, self.plain), {"m.gguf": "ok"})

    def test_no_two_sealings_share_anything(self):
        path = self.model(size=100_000)
        first, second = (json.loads(self.seal(path, "--json").out)["sealed"][0] for _ in "12")
        self.assertNotEqual(first["file_id"], second["file_id"])
        one, two = (common.read_text(entry["payload"])[:100] for entry in (first, second))
        self.assertNotEqual(one, two)

    def test_memory(self):
        if common.QUICK:
            self.skipTest("sanitizers need memory of their own")
        path = os.path.join(self.plain, "big.gguf")
        with open(path, "wb") as out:
            out.truncate(2 << 30)
        code, peak, err = peak_rss(self.lab, "seal", path, self.dest, "--key-file", self.key)
        self.assertEqual(code, OK, err)
        self.assertLess(peak, 64 * MIB)
        os.unlink(payloads_path(self.dest))
        os.unlink(path)


def payloads_path(folder):
    return os.path.join(folder, payloads(folder)[0])


class Names(Base):
    def test_tree(self):
        names = ["a.gguf", "b/c.gguf", "b/d/e.gguf", ".hidden", "b/.x/y", "ünï cödé .gguf"]
        for number, name in enumerate(names):
            self.model(name, 1000 + number, number)
        self.seal(self.plain + "/")
        self.assert_reads(names)
        self.assertEqual(len(files(self.dest)), 2 * len(names))

    def test_paths_that_no_reader_takes(self):
        """Refused before anything is read, and nothing of the name reaches the terminal."""
        for number, name in enumerate(("tab\t.gguf", "line\n.gguf", "esc\x1b[2J/m.gguf",
                                       "del\x7f.gguf", "csi\x9b2J.gguf")):
            tree = os.path.dirname(self.model(f"bad{number}/good.gguf", 100))
            self.model(f"bad{number}/{name}", 100)
            done = self.seal(tree, expect=USAGE)
            self.assertIn("holds a control character", done.err)
            self.assertFalse(any(ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160
                                 for c in done.err), done.err)
        single = self.model("single.gguf", 100)
        for name in ("/a", "a/", "a//b", "./a", "a/../b", "a/.", "x" * 256 + "/m", "a\nb",
                     "/".join(["d" * 250] * 4)):
            self.seal(single, "--name", name, expect=USAGE)
        self.assertFalse(os.path.exists(self.dest) and files(self.dest))
        longest = "/".join(["d" * 199] * 5)
        self.seal(single, "--name", longest)
        with open(os.path.join(self.dest, longest + ".seal"), "rb") as seal:
            self.assertEqual(sf.Seal(seal.read()).path, longest)

    def test_files_and_directories_together(self):
        single = self.model("one/x.gguf")
        tree = os.path.dirname(self.model("two/sub/y.gguf"))
        self.seal(single, os.path.dirname(tree), "--json")
        self.assertEqual([n for n in files(self.dest) if n.endswith(".seal")],
                         ["sub/y.gguf.seal", "x.gguf.seal"])

    def test_links_and_special_files(self):
        outside = self.model("outside.gguf", 50, 9)
        tree = os.path.dirname(self.model("tree/blobs/real.gguf", 700))
        tree = os.path.dirname(tree)
        os.symlink("blobs/real.gguf", os.path.join(tree, "link.gguf"))
        os.symlink("blobs", os.path.join(tree, "blobs2"))
        os.mkfifo(os.path.join(tree, "fifo"))
        done = self.seal(tree)
        for word in ("blobs2 is a symbolic link to a directory", "fifo is neither"):
            self.assertIn(word, done.err)
        self.assert_reads(["blobs/real.gguf", "link.gguf"], tree)

        os.symlink(outside, os.path.join(tree, "out.gguf"))
        before = files(self.dest)
        done = self.seal(tree, expect=USAGE)
        self.assertIn("leads out of the directory", done.err)
        self.assertEqual(files(self.dest), before)
        self.seal(tree, "--follow")
        self.assert_reads(["blobs/real.gguf", "link.gguf", "out.gguf"], tree)
        os.symlink("nowhere", os.path.join(tree, "dangling"))
        self.assertIn("dangling symbolic link", self.seal(tree, "--follow", expect=USAGE).err)

    def test_refused_before_any_work(self):
        a, b = self.model("a/m.gguf"), self.model("b/m.gguf")
        long_name = self.model("x" * 232)
        os.makedirs(os.path.join(self.plain, "empty"))
        sealed = self.lab.path(self.id(), "already")
        self.lab.seal(a, sealed, "--key-file", self.key)
        cases = [
            ((a, b), USAGE, 'two files would both be sealed as "m.gguf"'),
            ((a, "--name", "m.gguf/x", "--key-file", self.key), USAGE, "given twice"),
            ((a, self.model("m.gguf/inner")), OK, None),
            ((long_name,), USAGE, "too long for a directory"),
            ((os.path.join(self.plain, "empty"),), FAILURE, "no file in"),
            ((os.path.join(self.plain, "missing"),), FAILURE, "No such file"),
            ((os.path.join(sealed, "m.gguf.seal"),), USAGE, "is already a seal"),
            ((payloads_path(sealed),), USAGE, "is already a sealed payload"),
            ((sealed,), USAGE, "already"),
            ((a, "--name", "../m"), USAGE, "cannot seal"),
            ((a, "--name", "/m"), USAGE, "cannot seal"),
            ((a, "--name", ""), USAGE, "cannot seal"),
            ((a, "--name", "a//b"), USAGE, "cannot seal"),
            ((os.path.dirname(a), "--name", "m"), USAGE, "is a directory"),
            ((a, b, "--name", "m"), USAGE, "single SRC"),
            (("-",), USAGE, "--name"),
        ]
        for args, code, words in cases:
            if code == OK:
                continue
            done = self.seal(*args, expect=code)
            self.assertIn(words, done.err, args)
            self.assert_nothing()

    def test_a_name_that_is_file_and_directory(self):
        tree = os.path.join(self.plain, "tree")
        self.model("tree/m.gguf/inner")
        done = self.seal(self.model("other/m.gguf"), tree, expect=USAGE)
        self.assertIn("both a file and a directory", done.err)

    def test_other_names(self):
        self.seal(self.model("longest" + "x" * 224))
        self.seal(self.model("m.gguf"), "--name", "deep/er/renamed.gguf")
        self.seal(self.model("looks.seal"))
        self.assertEqual(sorted(n for n in files(self.dest) if n.endswith(".seal")),
                         ["deep/er/renamed.gguf.seal", "longest" + "x" * 224 + ".seal",
                          "looks.seal.seal"])

    def test_shards(self):
        shards = [self.model(f"big-0000{n}-of-00003.gguf", 100, n) for n in (1, 2, 3)]
        done = self.seal(shards[1])
        self.assertIn("one of 3 shards; 2 of the others lie beside it", done.err)
        self.assertNotIn("shards", self.seal(*shards).err)
        self.assertNotIn("shards", self.seal(self.plain).err)


class Pipes(Base):
    def seal_pipe(self, data, *args, expect=OK, **options):
        return self.seal("-", "--name", "m.gguf", *args, stdin=data, expect=expect, **options)

    def test_without_length(self):
        for size in (0, 1, 524288, 3 * MIB + 5):
            data = common.model_bytes(size, size)
            self.model(size=size, seed=size)
            self.seal_pipe(data)
            self.assert_reads(["m.gguf"])

    def test_with_length(self):
        data = common.model_bytes(9 * MIB + 3)
        self.model(size=len(data))
        self.seal_pipe(data, "--length", str(len(data)))
        self.assert_reads(["m.gguf"])
        self.model(size=MIB)
        self.seal_pipe(data[:MIB], "--length", "1M")
        self.assert_reads(["m.gguf"])

    def test_wrong_length(self):
        data = common.model_bytes(3 * MIB)
        done = self.seal_pipe(data, "--length", str(len(data) + 1), expect=FAILURE)
        self.assertIn("ended after 3145728 bytes of the 3145729", done.err)
        self.assert_nothing()
        done = self.seal_pipe(data, "--length", str(len(data) - 1), expect=FAILURE)
        self.assertIn("is longer than", done.err)
        self.assert_nothing()
        done = self.seal_pipe(b"", "--length", "1", expect=FAILURE)
        self.assert_nothing()
        for bad in ("x", "-1", "1.5", "17T", "", "1kk", "99999999999999999999"):
            self.seal_pipe(data, "--length=" + bad, expect=USAGE)
        done = self.seal(self.model(size=5), "--length", "6", expect=USAGE)
        self.assertIn("has 5 bytes", done.err)
        self.assert_nothing()

    def test_redirected_file_and_fifo(self):
        path = self.model(size=2 * MIB)
        with open(path, "rb") as source:
            child = start(self.lab, "seal", "-", self.dest, "--name", "m.gguf", "--key-file",
                          self.key, stdin=source)
            self.assert_result(finish(child), OK)
        self.assert_reads(["m.gguf"])
        fifo = os.path.join(self.lab.path(self.id(), make=True), "fifo")
        os.mkfifo(fifo)
        self.assertIn("no name of its own", self.seal(fifo, expect=USAGE).err)
        child = start(self.lab, "seal", fifo, self.dest, "--name", "m.gguf", "--key-file", self.key)
        with open(fifo, "wb") as out, open(path, "rb") as source:
            out.write(source.read())
        self.assert_result(finish(child), OK)
        self.assert_reads(["m.gguf"])

    def test_spool_holds_no_plaintext(self):
        """While the pipe is still open, what was written so far lies in the spool, encrypted."""
        tmp = self.lab.path(self.id(), "tmp", make=True)
        child = start(self.lab, "seal", "-", self.dest, "--name", "m", "--key-file", self.key,
                      stdin=subprocess.PIPE, extra={"TMPDIR": tmp})
        line = b"this sentence must not be on any disk\n"
        data = line * (4 * MIB // len(line))
        child.stdin.write(data)
        child.stdin.flush()
        spool = None
        end = time.monotonic() + 120
        while not spool and time.monotonic() < end:
            for number in os.listdir(f"/proc/{child.pid}/fd"):
                path = f"/proc/{child.pid}/fd/{number}"
                if os.path.realpath(path).startswith(tmp) and os.path.getsize(path) >= 3 * MIB:
                    spool = path
        self.assertIsNotNone(spool)
        with open(spool, "rb") as source:
            self.assertNotIn(line[:16], source.read())
        self.assertEqual(os.listdir(tmp), [], "the spool has a name")
        child.stdin.close()
        child.stdin = None
        self.assert_result(finish(child), OK)
        with open(os.path.join(self.plain, "m"), "wb") as out:
            out.write(data)
        self.assert_reads(["m"])

    def test_no_room_for_the_spool(self):
        done = self.seal_pipe(b"x", extra={"TMPDIR": "/nonexistent"}, expect=FAILURE)
        self.assertIn("--length", done.err)
        self.assert_nothing()


class Replacing(Base):
    def test_old_payload_stays_until_asked(self):
        path = self.model(size=MIB, seed=1)
        first = json.loads(self.seal(path, "--json").out)["sealed"][0]
        self.assertFalse(first["replaced"])
        with open(first["seal"], "rb") as source:
            old_seal = source.read()
        self.model(size=2 * MIB, seed=2)
        second = json.loads(self.seal(path, "--json").out)["sealed"][0]
        self.assertTrue(second["replaced"])
        self.assertFalse(second["old_payload_removed"])
        self.assertEqual(os.path.join(self.dest, second["old_payload"]), first["payload"])
        self.assert_reads(["m.gguf"])
        # Who has the old seal still reads the old model.
        with open(second["seal"], "rb") as source:
            new_seal = source.read()
        with open(second["seal"], "wb") as out:
            out.write(old_seal)
        self.model(size=MIB, seed=1)
        self.assert_reads(["m.gguf"])
        with open(second["seal"], "wb") as out:
            out.write(new_seal)
        third = json.loads(self.seal(path, "--json", "--remove-old").out)["sealed"][0]
        self.assertTrue(third["old_payload_removed"])
        self.assertFalse(os.path.exists(second["payload"]))
        self.assertTrue(os.path.exists(first["payload"]), "only the replaced one goes")
        self.assert_reads(["m.gguf"])

    def test_a_failed_replacement_keeps_the_old_model(self):
        path = self.model(size=MIB)
        self.seal(path)
        before = files(self.dest)
        self.seal("-", "--name", "m.gguf", "--length", "10", "--remove-old", stdin=b"short",
                  expect=FAILURE)
        self.assertEqual(files(self.dest), before)
        self.assert_reads(["m.gguf"])

    def test_over_a_broken_seal(self):
        path = self.model()
        self.seal(path)
        with open(os.path.join(self.dest, "m.gguf.seal"), "wb") as out:
            out.write(b"no seal at all")
        self.seal(path, "--remove-old")
        self.assert_reads(["m.gguf"])
        self.assertEqual(len(payloads(self.dest)), 2)


class Failing(Base):
    def test_interrupted_at_any_moment(self):
        path = self.model(size=(60 if common.QUICK else 200) * MIB)
        self.seal(path)
        started = time.monotonic()
        self.seal(path, "--remove-old")
        whole = time.monotonic() - started
        moments = Moments(7, whole)
        interrupted = tries = 0
        while tries < 12 or (not interrupted and tries < 60):
            number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)[tries % 4]
            tries += 1
            dest = os.path.join(self.dest, f"run{tries}")
            child = start(self.lab, "seal", path, dest, "--key-file", self.key)
            if moments.wait(child):
                child.send_signal(number)
            done = finish(child)
            left = files(dest) if os.path.isdir(dest) else []
            if done.code == OK:
                self.assertEqual(second_reader(dest, self.key, self.plain), {"m.gguf": "ok"})
            elif number == signal.SIGKILL:
                self.assertNotIn("m.gguf.seal", left)
            else:
                self.assertEqual(left, [])
                if done.err:  # else it came before anything had begun
                    interrupted += 1
                    self.assert_result(done, ended_by(number), "interrupted by SIG")
            moments.came(early=done.code != OK)
            for name in left:
                os.unlink(os.path.join(dest, name))
        self.assertGreater(interrupted, 0)

    def test_interrupted_while_waiting_for_a_pipe(self):
        for args in ((), ("--length", "1M")):
            child = start(self.lab, "seal", "-", self.dest, "--name", "m", "--key-file", self.key,
                          *args, stdin=subprocess.PIPE)
            child.stdin.write(b"x" * 70000)
            child.stdin.flush()
            wait_until_drained(child)
            child.send_signal(signal.SIGTERM)
            child.wait(120)
            stdin, child.stdin = child.stdin, None
            done = finish(child)
            stdin.close()
            self.assert_result(done, FAILURE, "interrupted by SIGTERM")
            self.assert_nothing()

    def test_source_that_changes(self):
        def grow(path):
            with open(path, "ab") as out:
                out.write(b"more")

        def shrink(path):
            os.truncate(path, 8 * MIB)

        def touch(path):
            os.utime(path, ns=(1, 1))

        for change in (grow, shrink, touch):
            for _attempt in range(20):
                path = self.model(size=200 * MIB)
                child = start(self.lab, "seal", path, self.dest, "--key-file", self.key)
                if wait_until_read(child, path, MIB):
                    child.send_signal(signal.SIGSTOP)
                    change(path)
                    child.send_signal(signal.SIGCONT)
                    break
            self.assert_result(finish(child), FAILURE, "changed while it was read")
            self.assert_nothing()

    def test_disk_full(self):
        mount = self.lab.path(self.id(), "small", make=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", mount], check=True)
        try:
            self.dest = os.path.join(mount, "sealed")
            done = self.seal(self.model(size=50 * MIB), expect=FAILURE)
            self.assertIn("No space left", done.err)
            self.assert_nothing()
            # A disk that fills up while it is written to.
            data = common.model_bytes(5 * MIB)
            done = self.seal("-", "--name", "m", stdin=common.model_bytes(30 * MIB),
                             expect=FAILURE, extra={"TMPDIR": mount})
            self.assertIn("set TMPDIR", done.err)
            self.assert_nothing()
            self.seal("-", "--name", "m", stdin=data, extra={"TMPDIR": mount})
        finally:
            subprocess.run(["umount", mount], check=True)

    def test_destinations_that_cannot_be(self):
        path = self.model()
        for dest in (path, os.path.join(path, "below"), "/proc/self/nothing"):
            self.assert_result(self.lab.sealctl("seal", path, dest, "--key-file", self.key),
                               FAILURE, dest)
        os.makedirs(os.path.join(self.dest, "m.gguf.seal"))
        self.assert_result(self.seal(path, expect=FAILURE), FAILURE, "Is a directory")
        self.assert_nothing()

    def test_recipients_and_keys(self):
        path = self.model()
        open_key = self.lab.key_file("open")
        os.chmod(open_key, 0o644)
        garbage = self.model("garbage.key", 81)
        os.chmod(garbage, 0o600)
        cases = [
            ((), "no recipient"),
            (("--key-file", self.key, "--key-file", self.key), "given twice"),
            (("--kms-key", "alias/a", "--kms-key", "alias/a"), "given twice"),
            (("--key-file", garbage), "key file"),
            (("--key-file", open_key), "open.key"),
            (("--key-file", self.key, "--sign", self.public), "private"),
            (("--key-file", self.key, "--sign", garbage), "garbage"),
            (("--key-file", ""), "empty"),
            (("--key-file", self.key) * 17, "recipients"),
        ]
        for args, words in cases:
            done = self.lab.sealctl("seal", path, self.dest, *args)
            self.assert_result(done, USAGE, words)
        for args, words in [(("--key-file", "/nonexistent"), "/nonexistent"),
                            (("--key-file", self.key, "--sign", "/nonexistent"), "/nonexistent")]:
            self.assert_result(self.lab.sealctl("seal", path, self.dest, *args), FAILURE, words)
        self.assert_nothing()


class Tampering(Base):
    def test_the_second_reader_refuses_what_was_changed(self):
        """That assert_reads() can fail at all."""
        self.seal(self.model(size=MIB))
        with open(payloads_path(self.dest), "r+b") as payload:
            payload.seek(600_000)
            payload.write(b"\0\1\2")
        found = second_reader(self.dest, self.key, self.plain)
        self.assertIn("bad-chunk", found["m.gguf"])
        self.assertEqual(self.lab.sealctl("check", self.dest, "--key-file", self.key).code,
                         NOT_AUTHENTIC)


if __name__ == "__main__":
    common.main()
