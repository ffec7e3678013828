#!/usr/bin/python3
"""What a mount says of itself: .sealedfs/ and sealctl status, text, JSON and Prometheus."""

import base64
import concurrent.futures
import errno
import json
import mmap
import os
import re
import shutil
import subprocess
import time

import common
import common_folder
from common import CHUNK, FAILURE, MIB, NOT_AUTHENTIC, OK, REFUSED, UNREACHABLE, USAGE

NOBODY = 65534
FILES = ["metrics", "seals.json", "status", "status.json"]
ODD = "we\"ird\\name ü 模.gguf"
SIZES = {"a.gguf": 5 * CHUNK + 7, "deep/b.gguf": 4097, ODD: 2 * CHUNK}


def control(mount, name):
    """The text of a file of .sealedfs."""
    with open(mount.join(".sealedfs", name), encoding="utf-8", newline="") as source:
        return source.read()


def report(mount):
    return json.loads(control(mount, "status.json"))


def model_of(mount, name):
    return next(model for model in report(mount)["models"] if model["name"] == name)


def read_all(path):
    with open(path, "rb", buffering=0) as source:
        return len(source.read())


class Exposition:
    """A reader of Prometheus's text format 0.0.4, from its description; strict."""

    NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
    LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|})')

    def __init__(self, text):
        self.types, self.helps, self.samples = {}, set(), {}
        self.closed, self.current = set(), None
        assert text.endswith("\n"), "no end of line"
        for line in text[:-1].split("\n"):
            self.take(line)

    def begin(self, name):
        """All lines of one metric stand together."""
        if name != self.current:
            assert name not in self.closed, f"{name}: in two places"
            self.closed.add(self.current)
            self.current = name

    def take(self, line):
        head = re.fullmatch(rf"# (HELP|TYPE) ({self.NAME}) (.*)", line)
        if not head:
            self.sample(line)
            return
        kind, name, rest = head.groups()
        self.begin(name)
        if kind == "HELP":
            assert name not in self.helps and rest, line
            self.helps.add(name)
        else:
            assert name not in self.types and rest in ("counter", "gauge"), line
            assert (rest == "counter") == name.endswith("_total"), line
            self.types[name] = rest

    def sample(self, line):
        name = re.match(self.NAME, line)[0]
        self.begin(name)
        assert name in self.types and name in self.helps, f"{name}: no head"
        at, labels, more = len(name), {}, line[len(name)] == "{"
        at += more
        while more:
            label = self.LABEL.match(line, at)
            assert label, f"labels of {line}"
            assert label[1] not in labels, line
            labels[label[1]] = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], label[2])
            more, at = label[3] == ",", label.end()
        assert line[at] == " " and " " not in line[at + 1:], line
        key = (name, tuple(sorted(labels.items())))
        assert key not in self.samples, f"twice: {key}"
        self.samples[key] = float(line[at + 1:])

    def get(self, name, **labels):
        return self.samples[(name, tuple(sorted(labels.items())))]

    def names(self):
        return {name for name, _ in self.samples}


class Mounted(common_folder.FolderCase):
    """Three models in a directory, and a key file."""

    SIZES = SIZES

    def status(self, path, code=OK, *options):
        done = self.lab.sealctl("status", path, *options)
        self.assertEqual(done.code, code, done.out + done.err)
        return done

    def status_json(self, path, code=OK):
        return json.loads(self.status(path, code, "--json").out)

    def damaged(self, name):
        """A copy of the source with one bit of a payload flipped."""
        copy = common.copy_tree(self.source, self.lab.path("damaged." + self.id().split(".")[-1]))
        payload = next(entry for entry in os.listdir(copy)
                       if entry.startswith(name) and entry.endswith(".sealed"))
        with open(os.path.join(copy, payload), "r+b") as out:
            byte = out.read(1)[0]
            out.seek(0)
            out.write(bytes([byte ^ 1]))
        return copy


class Directory(Mounted):
    """.sealedfs as a directory."""

    def test_found_by_name_only(self):
        with self.mount() as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), sorted(["a.gguf", "deep", ODD]))
            self.assertEqual(sorted(os.listdir(mount.join(".sealedfs"))), FILES)
            found = subprocess.run(["find", mount.path], check=True, stdout=subprocess.PIPE).stdout
            self.assertNotIn(b".sealedfs", found)
            copy = self.lab.path("copied")
            subprocess.run(["cp", "-r", mount.path, copy], check=True)
            self.assertEqual(sorted(os.listdir(copy)), sorted(["a.gguf", "deep", ODD]))
            for missing in ("x", "status/x", ".sealedfs"):
                self.assertFalse(os.path.exists(mount.join(".sealedfs", missing)))
            self.assertFalse(os.path.exists(mount.join("deep", ".sealedfs")))

    def test_programs_that_read_files(self):
        with self.mount() as mount:
            path = mount.join(".sealedfs", "status.json")
            for argv in (["cat", path], ["jq", ".", path], ["curl", "-sS", "file://" + path],
                         ["dd", "if=" + path, "bs=100", "status=none"]):
                if shutil.which(argv[0]):
                    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout
                    self.assertEqual(json.loads(done)["pid"], mount.pid, argv)
            subprocess.run(["cp", path, self.lab.path("copy.json")], check=True)
            self.assertEqual(json.loads(common.read_text(self.lab.path("copy.json")))["pid"],
                             mount.pid)

    def test_an_open_file_does_not_change(self):
        with self.mount() as mount, common.opened(mount.join(".sealedfs/metrics")) as held:
            first = os.pread(held, MIB, 0)
            read_all(mount.join("a.gguf"))
            self.assertEqual(os.pread(held, MIB, 0), first)
            self.assertEqual(os.pread(held, 10, 5), first[5:15])
            self.assertEqual(os.pread(held, 10, len(first)), b"")
            self.assertEqual(os.pread(held, 10, 1 << 40), b"")
            self.assertNotEqual(control(mount, "metrics").encode(), first)

    def test_nothing_can_be_written(self):
        with self.mount() as mount:
            folder = mount.join(".sealedfs")
            status = mount.join(".sealedfs/status")
            for function, *args in ((os.open, status, os.O_WRONLY), (os.truncate, status, 0),
                                    (os.open, folder + "/new", os.O_CREAT | os.O_WRONLY),
                                    (os.unlink, status), (os.rmdir, folder), (os.chmod, status, 7),
                                    (os.rename, status, mount.join("s")), (os.mkdir, folder + "/d"),
                                    (os.mkdir, mount.join(".sealedfs"))):
                with self.assertRaises(OSError, msg=f"{function} {args}") as caught:
                    function(*args)
                self.assertIn(caught.exception.errno, (errno.EROFS, errno.EEXIST))
            self.assertEqual(os.listxattr(status), [])
            with self.assertRaises(OSError):
                os.getxattr(status, "user.sealedfs.sha256")

    def test_permissions_are_the_models(self):
        for options, code in (((), 1), (("allow_other",), 1), (("allow_other", "mode=0444"), 0)):
            with self.subTest(options), self.mount(*options) as mount:
                os.chmod(self.lab.dir, 0o755)
                done = subprocess.run(
                    ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "cat",
                     mount.join(".sealedfs", "metrics")], check=False,
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                self.assertEqual((done.returncode != 0, bool(done.stdout)), (code, not code))
                stat = os.stat(mount.join(".sealedfs/status"))
                self.assertEqual(stat.st_mode & 0o777, 0o444 if "mode=0444" in options else 0o440)
                self.assertEqual(stat.st_size, 0)

    def test_name_is_reserved(self):
        source = common.copy_tree(self.source, self.lab.path("reserved"))
        for hidden in (".sealedfs", ".sealedfs/m.gguf", "deep/.sealedfs", "team/.sealedfs/status.json",
                       "team/.sealedfs/deep/m.gguf"):
            common.copy_object(source, "a.gguf", hidden)
        with self.mount(source=source) as mount:
            self.assertEqual(len(os.listdir(mount.path)), 3)
            self.assertEqual(os.listdir(mount.join("deep")), ["b.gguf"])
            self.assertEqual(sorted(os.listdir(mount.join(".sealedfs"))), FILES)
            self.assertEqual(mount.log().count("control directory"), 5, mount.log())
            listing = report(mount)["listing"]
            self.assertEqual((listing["hidden"], len(listing["notes"])), (5, 5))
            self.assertEqual(control(mount, "status").count("control directory"), 5)
        done = self.lab.sealctl("check", source)
        self.assertNotEqual(done.code, OK)
        self.assertEqual(done.out.count("control directory"), 5, done.out)
        done = self.lab.sealctl("hash", "--pcr", source, expect=OK)
        self.assertNotIn(".sealedfs", done.out)

    def test_name_cannot_be_sealed(self):
        common.make_model(self.lab.path("hidden", "x", ".sealedfs", "m.gguf"), 100)
        common.make_model(self.lab.path("hidden2", ".sealedfs"), 100)
        plain = self.lab.path("plain", "a.gguf")
        there = self.lab.path("nothing")
        for args in ((self.lab.path("hidden"), there), (self.lab.path("hidden2", ".sealedfs"), there),
                     (plain, there, "--name", ".sealedfs"), (plain, there + "/.sealedfs"),
                     (plain, there + "/.sealedfs/x/")):
            done = self.lab.sealctl("seal", *args, "--key-file", self.key)
            self.assert_result(done, USAGE, "control directory")
        self.assertFalse(os.path.exists(there))


class Seals(Mounted):
    """.sealedfs/seals.json: the seals' public beginnings, of models that are unlocked."""

    HEAD = 2048 + 128  # core and signature block: crypto/FORMAT.md

    def head_in_source(self, name, source=None):
        with open(os.path.join(source or self.source, name + ".seal"), "rb") as seal:
            return seal.read(self.HEAD)

    def test_unlocked_models_only(self):
        with self.mount("ready=open") as mount:
            self.assertEqual(json.loads(control(mount, "seals.json")),
                             {"models": len(SIZES), "seals": [], "seals_omitted": 0})
            for count, name in enumerate(sorted(SIZES), 1):
                read_all(mount.join(name))
                seen = json.loads(control(mount, "seals.json"))["seals"]
                self.assertEqual(len(seen), count)
            self.assertEqual({each["name"]: base64.b64decode(each["head"]) for each in seen},
                             {name: self.head_in_source(name) for name in SIZES})

    def test_set(self):
        """Its head, before anything is opened, and of the newest version after a reload."""
        source = self.lab.path("as-set")
        for _ in range(2):
            self.lab.seal(self.lab.path("plain", "a.gguf"), source, "--set", "w", "--again", "--key-file",
                          self.key)
            head = common.read_bytes(os.path.join(source, "sealed.set"))[:self.HEAD]
            with self.mount(source=source) as mount:
                seen = json.loads(control(mount, "seals.json"))
                self.assertEqual(base64.b64decode(seen["set"]["head"]), head)
                self.assertEqual(seen["seals"], [])

    def test_before_anybody_opens_them(self):
        with self.mount("ready=unlocked") as mount:
            seen = json.loads(control(mount, "seals.json"))["seals"]
            self.assertEqual({(each["name"], each["state"], each["measured"]) for each in seen},
                             {(name, "unlocked", None) for name in SIZES})

    def test_signature(self):
        private, public = self.lab.owner_key()
        source = self.lab.path("signed")
        self.lab.seal(self.lab.path("plain", "a.gguf"), source, "--key-file", self.key, "--sign",
                      private)
        with self.mount("owner-key=" + public, "ready=unlocked", source=source) as mount:
            seen, = json.loads(control(mount, "seals.json"))["seals"]
            self.assertEqual(base64.b64decode(seen["head"]), self.head_in_source("a.gguf", source))


class Report(Mounted):
    """What the files say, and sealctl status."""

    def test_states_and_counters(self):
        with self.mount() as mount:
            self.assertEqual({model["state"] for model in report(mount)["models"]}, {"sealed"})
            self.status(mount.path)
            self.assertEqual({model["state"] for model in report(mount)["models"]}, {"sealed"})
            read_all(mount.join("a.gguf"))
            # A request counts until the daemon is through with it, shortly after its answer.
            common.wait_for("the end of reading", lambda:
                            model_of(mount, "a.gguf")["reads_in_flight"] == 0)
            model = model_of(mount, "a.gguf")
            self.assertEqual(model["state"], "unlocked")
            self.assertEqual(model["size_bytes"], SIZES["a.gguf"])
            self.assertEqual(model["delivered_bytes"], SIZES["a.gguf"])
            self.assertEqual(model["chunks_decrypted"], 6)
            self.assertGreater(model["recent"]["throughput_bytes_per_second"], 0)
            self.assertGreater(model["seconds"]["decrypt"], 0)
            self.assertEqual(sum(model["errors"].values()), 0)
            again = read_all(mount.join("a.gguf"))
            self.assertEqual(again, SIZES["a.gguf"])
            self.assertEqual(model_of(mount, "a.gguf")["delivered_bytes"], SIZES["a.gguf"])
            seen = self.status_json(mount.path)
            self.assertEqual(seen["mount"], mount.path)
            resident = {model["name"]: model.get("resident_bytes") for model in seen["models"]}
            self.assertEqual(resident, {"a.gguf": SIZES["a.gguf"], "deep/b.gguf": None, ODD: None})
            common.drop_cache(mount.join("a.gguf"))
            seen = self.status_json(mount.join("a.gguf"))
            self.assertEqual([model["resident_bytes"] for model in seen["models"]], [0])

    def test_names_in_every_format(self):
        with self.mount() as mount:
            read_all(mount.join(ODD))
            seen = Exposition(control(mount, "metrics"))
            self.assertEqual(seen.get("sealedfs_model_size_bytes", model=ODD), SIZES[ODD])
            self.assertEqual(seen.get("sealedfs_model_state", model=ODD, state="unlocked"), 1)
            self.assertEqual(seen.get("sealedfs_model_state", model="a.gguf", state="sealed"), 1)
            self.assertEqual(seen.get("sealedfs_model_delivered_bytes_total", model=ODD), SIZES[ODD])
            self.assertEqual(seen.get("sealedfs_models"), 3)
            self.assertEqual(model_of(mount, ODD)["size_bytes"], SIZES[ODD])
            text = control(mount, "status")
            self.assertEqual(sum(line.startswith("me ") for line in text.splitlines()), 0, text)
            self.assertIn(r"we\x22ird\x5cname ü 模.gguf", text)
            more = Exposition(self.status(mount.path, OK, "--prometheus").out)
            self.assertEqual(more.get("sealedfs_model_resident_bytes", model=ODD), SIZES[ODD])
            self.assertEqual(more.names() - seen.names(), {"sealedfs_model_resident_bytes"})

    def test_poisoned_model(self):
        with self.mount(source=self.damaged("a.gguf")) as mount:
            read_all(mount.join(ODD))
            self.status(mount.path)
            self.assert_io_error(mount.join("a.gguf"))
            model = model_of(mount, "a.gguf")
            self.assertEqual(model["state"], "poisoned")
            self.assertIn("chunk 0", model["reason"]["message"])
            self.assertGreater(model["errors"]["tampered"], 0)
            self.assertEqual(model_of(mount, ODD)["state"], "unlocked")
            self.assertIn("poisoned", control(mount, "status"))
            seen = Exposition(control(mount, "metrics"))
            self.assertEqual(seen.get("sealedfs_model_state", model="a.gguf", state="poisoned"), 1)
            done = self.status(mount.path, NOT_AUTHENTIC, "--json")
            self.assertEqual(len(json.loads(done.out)["models"]), 3)
            self.assert_result(done, NOT_AUTHENTIC, "a.gguf", "poisoned", "1 of 3")
            self.status(mount.join(ODD))
            self.status(mount.join("a.gguf"), NOT_AUTHENTIC)
            done = self.lab.sealctl("status", mount.join("deep"))
            self.assert_result(done, USAGE, "not the root of the mount", mount.path)

    def test_broken_seal_and_refused_key(self):
        source = common.copy_tree(self.source, self.lab.path("broken"))
        with open(os.path.join(source, "a.gguf.seal"), "r+b") as out:
            out.write(b"nonsense")
        with self.mount(source=source) as mount:
            self.assertEqual(model_of(mount, "a.gguf")["state"], "broken")
            self.status(mount.path, NOT_AUTHENTIC)
            self.status(mount.join(ODD))
        other = self.lab.key_file("other")
        with self.lab.mount(self.source, "key-file=" + other, "attest=none",
                            "measure=none") as mount:
            self.status(mount.path)
            self.assert_io_error(mount.join("a.gguf"))
            model = model_of(mount, "a.gguf")
            self.assertEqual((model["state"], model["unlock_failures"]), ("sealed", 1))
            self.status(mount.path, REFUSED)

    def test_what_is_no_mount(self):
        for path, code in ((self.lab.dir, USAGE), ("/proc", USAGE), ("/", USAGE),
                           (self.lab.path("none"), FAILURE)):
            self.assert_result(self.lab.sealctl("status", path), code, path)
        fake = self.lab.path("fake", ".sealedfs", make=True)
        with open(os.path.join(fake, "status.json"), "w", encoding="ascii") as out:
            out.write('{"sealedfs": "9", "models": []}')
        self.status(os.path.dirname(fake), USAGE)
        self.status(fake, USAGE, "--json")
        self.assertEqual(self.lab.sealctl("status").code, USAGE)
        self.assertEqual(self.lab.sealctl("status", "a", "b").code, USAGE)
        self.assertEqual(self.lab.sealctl("status", "--json", "--prometheus", "a").code, USAGE)

    def test_many_ask_while_many_read(self):
        """Every answer is whole, and counters never go back."""
        def ask(mount, count):
            last = 0
            for _ in range(count):
                seen = Exposition(control(mount, "metrics"))
                now = seen.get("sealedfs_delivered_bytes_total")
                assert now >= last, f"{now} after {last}"
                last = now
                assert len(report(mount)["models"]) == 3

        def read(mount, count):
            for _ in range(count):
                assert read_all(mount.join("a.gguf")) == SIZES["a.gguf"]
                common.drop_cache(mount.join("a.gguf"))

        with self.mount() as mount, concurrent.futures.ThreadPoolExecutor(12) as pool:
            jobs = [pool.submit(read, mount, 10) for _ in range(4)]
            jobs += [pool.submit(ask, mount, 10) for _ in range(6)]
            for job in jobs:
                job.result()

    def test_reload(self):
        source = common.copy_tree(self.source, self.lab.path("reload"))
        with self.mount(source=source) as mount:
            read_all(mount.join("a.gguf"))
            common.make_model(self.lab.path("more", "c.gguf"), 10)
            self.lab.seal(self.lab.path("more"), source, "--key-file", self.key)
            self.lab.run(common.SEALEDFS, "--reload", mount.path)
            seen = report(mount)
            self.assertEqual(seen["listing"]["reloads"], 1)
            self.assertEqual(len(seen["models"]), 4)
            self.assertEqual(model_of(mount, "a.gguf")["delivered_bytes"], SIZES["a.gguf"])


class Measured(common.Case):
    PARTS = ("tpm",)

    def test_event(self):
        plain = common.make_model(self.lab.path("a.gguf"), 2 * CHUNK + 1)
        key = self.lab.key_file()
        self.lab.seal(plain, self.lab.path("s"), "--key-file", key)
        for earlier in (False, True):
            with self.lab.mount(self.lab.path("s"), "key-file=" + key, "pcr=14",
                                "event-log=" + self.lab.path("log")) as mount:
                read_all(mount.join("a.gguf"))
                model = model_of(mount, "a.gguf")
                self.assertEqual(model["state"], "measured")
                self.assertEqual(model["measured"], {
                    "mode": "verity", "pcr": 14, "earlier_since_boot": earlier,
                    "event": "sealedfs:verity:sha256:" + self.lab.hash(plain)["verity"]})
                self.assertGreater(model["seconds"]["hash"], 0)
                self.assertIn("PCR 14", control(mount, "status"))


class S3(common.Case):
    """Network trouble."""

    PARTS = ("s3",)
    READERS = 48

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.size = cls.READERS * 2 * CHUNK
        cls.plain = common.make_model(cls.lab.path("a.gguf"), cls.size)
        cls.key = cls.lab.key_file()
        cls.lab.seal(cls.plain, cls.lab.s3_url("prod/"), "--key-file", cls.key)

    def start(self):
        return self.lab.start_mount(self.lab.s3_url("prod"), "key-file=" + self.key, "attest=none",
                                    "measure=none")

    def test_requests_and_slow_downs(self):
        mount = self.start()
        self.addCleanup(mount.unmount)
        with self.lab.s3.fault(match=r"GET .*\.sealed", kind="status", status=503,
                               times=2):
            self.assertEqual(read_all(mount.join("a.gguf")), self.size)
        counts = report(mount)["aws"]["s3"]
        self.assertEqual(counts["slow_downs"], 2)
        self.assertEqual(counts["retries"], 2)
        self.assertGreaterEqual(counts["requests"], 4)
        self.assertEqual(Exposition(control(mount, "metrics")).get("sealedfs_s3_slow_downs_total"),
                         2)

    def test_answers_while_all_readers_hang(self):
        """More readers than the daemon has threads for requests, and S3 says nothing."""
        mount = self.start()
        path = mount.join("a.gguf")
        with open(path, "rb", buffering=0) as sealed:
            self.assertEqual(sealed.read(10), common.model_bytes(10))

        def read(number):
            try:
                with common.opened(path, os.O_DIRECT) as descriptor:
                    buffer = mmap.mmap(-1, 4096)
                    return os.preadv(descriptor, [buffer], number * 2 * CHUNK + CHUNK)
            except OSError as failure:
                return failure.errno

        with self.lab.s3.fault(match=r"GET .*\.sealed", kind="stall"), \
                concurrent.futures.ThreadPoolExecutor(self.READERS) as pool:
            jobs = [pool.submit(read, number) for number in range(self.READERS)]
            try:
                common.wait_for("readers that wait", lambda:
                                report(mount)["total"]["reads_in_flight"] >= self.READERS - 2)
                Exposition(control(mount, "metrics"))
                done = self.lab.sealctl("status", mount.path)
                self.assertEqual(done.code, OK, done.err)
                self.assertLessEqual(sum(job.done() for job in jobs), 2, "readers did not hang")
                common.wait_for("the limit", lambda:
                                model_of(mount, "a.gguf")["recent"]["limit"] == "network")
            finally:
                mount.ended = True
                mount.process.terminate()
                self.assertEqual(mount.process.wait(120), 0, mount.log())
            self.assertTrue(all(job.result() != 0 for job in jobs))

    def test_reads_that_fail(self):
        """As long as the last fetch failed, and no longer."""
        mount = self.start()
        self.addCleanup(mount.unmount)
        path = mount.join("a.gguf")
        self.assertEqual(self.lab.sealctl("status", mount.path).code, OK)
        with open(path, "rb", buffering=0) as sealed:
            self.assertEqual(sealed.read(10), common.model_bytes(10))
            for number, (fault, code, word) in enumerate((
                    ({"kind": "status", "status": 403, "code": "AccessDenied"}, FAILURE, "denied"),
                    ({"kind": "status", "status": 404, "code": "NoSuchKey"}, FAILURE, "NoSuchKey"),
                    ({"kind": "status", "status": 400, "code": "ExpiredToken"}, REFUSED, "expired"))):
                with self.subTest(word):
                    offset = (number + 1) * 33 * CHUNK % self.size + number
                    with self.lab.s3.fault(match=r"GET .*\.sealed", **fault):
                        with self.assertRaises(OSError):
                            os.pread(sealed.fileno(), 100, offset)
                        done = self.lab.sealctl("status", mount.path)
                        self.assert_result(done, code, word, "1 of 1 models in trouble")
                        self.assertIn(word.lower(), control(mount, "status").lower())
                    self.assertEqual(len(os.pread(sealed.fileno(), 100, offset)), 100)
                    self.assertEqual(self.lab.sealctl("status", mount.path).code, OK)

    def test_refused_once_and_well_again(self):
        mount = self.start()
        with self.lab.s3.fault(match=r"GET .*\.seal$", kind="status", status=403,
                               code="AccessDenied"):
            self.assert_io_error(mount.join("a.gguf"))
        code = self.lab.sealctl("status", mount.path).code
        self.assertIn(code, (FAILURE, REFUSED, UNREACHABLE))
        time.sleep(1.1)  # the pause after a failed open
        self.assertEqual(read_all(mount.join("a.gguf")), self.size)
        self.assertEqual(self.lab.sealctl("status", mount.path).code, OK)
        mount.unmount()


if __name__ == "__main__":
    common.main()
