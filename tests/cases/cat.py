#!/usr/bin/python3
"""sealctl cat (tools/cat, fs/models): a model without a mount, unlocked and measured as a mount does it, into a
pipe, memory, or a program's memory; what is refused, and that nothing leaves then."""

import errno
import fcntl
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import tempfile

import common
from common import CHUNK, FAILURE, MIB, NOT_AUTHENTIC, OK, REFUSED, UNREACHABLE, USAGE

import common_measuring
import measured

SIZE = 6 * CHUNK + 4097


class Cat(common.Case):
    """Two models of one owner in S3, for attested machines; a TPM that is new in each class."""

    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.key = lab.key_file()
        cls.private, cls.public = lab.owner_key()
        cls.other_public = lab.owner_key("mallory")[1]
        cls.plain = lab.path("plain", make=True)
        for number, name in enumerate(("a.gguf", "70b/b.gguf")):
            os.makedirs(os.path.dirname(os.path.join(cls.plain, name)), exist_ok=True)
            common.make_model(os.path.join(cls.plain, name), SIZE, number)
        cls.seal(cls.plain, lab.s3_url("prod/"), "--kms-key", "alias/models")
        cls.seal(cls.plain, lab.path("sealed"), "--key-file", cls.key)
        cls.seal(cls.plain, lab.path("set"), "--key-file", cls.key, "--set", "acme")
        cls.attested = "owner-key=" + cls.public

    @classmethod
    def seal(cls, *args):
        cls.lab.seal(*args, "--sign", cls.private)

    def setUp(self):
        self.events = self.lab.path("events-" + self.id().rpartition(".")[2])
        self.local = f"key-file={self.key},attest=none,measure=none"

    def options(self, *more):
        return ["-o", ",".join((*more, "event-log=" + self.events))]

    def start(self, *args, out=subprocess.PIPE, extra=None, pass_fds=(), session=False):
        return subprocess.Popen([common.SEALCTL, "cat", *args], env=self.lab.env("operator", None, extra),
                                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, cwd=self.lab.dir,
                                pass_fds=pass_fds, start_new_session=session, bufsize=0)

    def cat(self, *args, code=OK, **how):
        """(bytes, messages) of sealctl cat."""
        process = self.start(*args, **how)
        out, err = process.communicate(timeout=common.COMMAND_S)
        self.assertEqual(process.returncode, code, err)
        return out, err.decode()

    def want(self, name="a.gguf"):
        return common.read_bytes(os.path.join(self.plain, name))

    def refused(self, *args, code, words, **how):
        """Nothing comes out."""
        out, err = self.cat(*args, code=code, **how)
        self.assertIn(words.lower(), err.lower())
        self.assertEqual(out or b"", b"")


class Attested(Cat):
    def test_measured_before_the_first_byte(self):
        """The pipe holds less than the model, so the writer waits while the PCR is read."""
        start = measured.start_text("verity", "nitrotpm", [measured.signer_id(self.public)])
        path = os.path.join(self.plain, "a.gguf")
        process = self.start(*self.options(self.attested), self.lab.s3_url("prod/a.gguf"))
        first = process.stdout.read(1)
        for bank in ("sha256", "sha384"):
            self.assertEqual(self.lab.tpm.pcr(bank), common_measuring.predicted("verity", bank, path, start=start))
        rest, err = process.communicate(timeout=common.COMMAND_S)
        self.assertEqual(process.returncode, OK, err)
        self.assertEqual(first + rest, self.want())
        decrypts = [call for call in self.lab.kms.log() if call["operation"] == "Decrypt"]
        self.assertTrue(decrypts[-1]["recipient"])
        # Once more, and in a mount with the same options: it is in the PCR already.
        before = self.lab.tpm.pcr("sha384")
        self.assertEqual(self.cat(*self.options(self.attested), self.lab.s3_url("prod/a.gguf.seal"))[0], self.want())
        with self.lab.mount(self.lab.s3_url("prod"), self.attested, "event-log=" + self.events) as mount:
            self.assertEqual(common.read_bytes(mount.join("a.gguf")), self.want())
        self.assertEqual(self.lab.tpm.pcr("sha384"), before)
        self.assertEqual(len(common_measuring.models(self.events)), 1)

    def test_one_listing_less(self):
        """One model costs requests for that model only."""
        self.lab.s3.clear_log()
        self.cat(*self.options(self.attested, "pcr=14"), self.lab.s3_url("prod/a.gguf"))
        keys = {entry["key"] for entry in self.lab.s3.log()}
        self.assertFalse([key for key in keys if "b.gguf" in key], keys)
        self.assertFalse([entry for entry in self.lab.s3.log() if "list-type" in entry["query"]])

    def test_nothing_without_the_measurement(self):
        """No TPM; a PCR that somebody else extended."""
        model = self.lab.s3_url("prod/a.gguf")
        self.refused(*self.options(self.attested, "tcti=swtpm:host=127.0.0.1\\,port=1"), model, code=UNREACHABLE,
                     words="TPM")
        self.lab.tpm.extend(13, sha256="11" * 32, sha384="22" * 48)
        self.refused(*self.options(self.attested, "pcr=13"), model, code=REFUSED, words="someone else extended it")

    def test_kms_refuses(self):
        self.lab.kms.key("alias/denied", {4: "00" * 48})
        self.lab.seal(os.path.join(self.plain, "a.gguf"), self.lab.s3_url("denied/"), "--kms-key", "alias/denied")
        self.refused(*self.options("measure=none"), self.lab.s3_url("denied/a.gguf"), code=REFUSED, words="PCR 4")

    def test_source_and_config(self):
        """A path below a source, by option and by a mount's configuration file."""
        for name in ("70b/b.gguf", "a.gguf"):
            out, _ = self.cat(*self.options(self.attested, "pcr=10"), "--source", self.lab.s3_url("prod"), name)
            self.assertEqual(out, self.want(name))
        config = self.lab.path("models.conf")
        with open(config, "w", encoding="utf-8") as text:
            text.write(f"source = {self.lab.s3_url('prod')}\nowner-key = {self.public}\npcr = 11\n"
                       f"event-log = {self.events}\n")
        self.assertEqual(self.cat("--config", config, "70b/b.gguf")[0], self.want("70b/b.gguf"))
        self.assertEqual({record["pcr"] for record in common_measuring.models(self.events)}, {10, 11})


class Refusals(Cat):
    def sealed(self, name="a.gguf"):
        return self.lab.path("sealed", name)

    def test_terminal(self):
        master, terminal = pty.openpty()
        with open(terminal, "wb") as out:
            self.refused("-o", self.local, self.sealed(), code=USAGE, words="a terminal", out=out)
        os.set_blocking(master, False)
        with self.assertRaises(OSError) as nothing:
            os.read(master, 1)
        self.assertIn(nothing.exception.errno, (errno.EAGAIN, errno.EIO))
        os.close(master)

    def test_disk(self):
        """Also a file that is there already, and appending."""
        folder = tempfile.mkdtemp(dir="/var/tmp")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "out")
        for mode in ("wb", "ab"):
            with open(path, mode) as out:
                self.refused("-o", self.local, self.sealed(), code=USAGE, words="a file on a disk", out=out)
        self.assertEqual(os.path.getsize(path), 0)

    def test_refused_before_anything_is_asked(self):
        self.lab.kms.clear_log()
        with tempfile.TemporaryFile(dir="/var/tmp") as out:
            self.refused(*self.options(self.attested), self.lab.s3_url("prod/a.gguf"), code=USAGE,
                         words="a file on a disk", out=out)
        self.assertEqual(self.lab.kms.log(), [])

    def test_memory_socket_and_null(self):
        for kind in ("memfd", "socket", "null"):
            with self.subTest(kind=kind):
                if kind == "socket":
                    ours, theirs = socket.socketpair()
                    process = self.start("-o", self.local, self.sealed(), out=theirs)
                    theirs.close()
                    with ours.makefile("rb") as pipe:
                        self.assertEqual(pipe.read(), self.want())
                    ours.close()
                    self.assertEqual((process.communicate(timeout=60)[1], process.returncode), (b"", OK))
                    continue
                with open(os.memfd_create("out") if kind == "memfd" else "/dev/null", "w+b") as out:
                    self.cat("-o", self.local, self.sealed(), out=out)
                    if kind == "memfd":
                        out.seek(0)
                        self.assertEqual(out.read(), self.want())

    def test_owner(self):
        self.refused("-o", self.local + ",owner-key=" + self.other_public, self.sealed(), code=NOT_AUTHENTIC,
                     words="sign")

    def test_damaged_chunk(self):
        """What comes before it is good; a program is not started."""
        folder = common.copy_tree(self.lab.path("sealed"), self.lab.path("damaged"))
        payload, = [name for name in os.listdir(folder) if name.startswith("a.gguf.") and name.endswith(".sealed")]
        with open(os.path.join(folder, payload), "r+b") as file:
            file.seek(4 * CHUNK + 17)
            file.write(b"\xff\xfe\xfd")
        model = os.path.join(folder, "a.gguf")
        out, err = self.cat("-o", self.local, model, code=NOT_AUTHENTIC)
        self.assertIn("a.gguf", err)
        self.assertEqual(out, self.want()[:4 * CHUNK])
        self.refused("-o", self.local, model, "--", "sh", "-c", "echo started {}", code=NOT_AUTHENTIC, words="a.gguf")

    def test_moved_and_missing(self):
        folder = common.copy_tree(self.lab.path("sealed"), self.lab.path("moved"))
        for entry in os.listdir(folder):
            if entry.startswith("a.gguf."):
                os.rename(os.path.join(folder, entry), os.path.join(folder, "c" + entry[1:]))
        self.refused("-o", self.local, os.path.join(folder, "c.gguf"), code=NOT_AUTHENTIC,
                     words="stored under another name")
        self.refused("-o", self.local, os.path.join(folder, "a.gguf"), code=FAILURE, words="has no model a.gguf")
        payload, = [name for name in os.listdir(folder) if name.startswith("c.gguf.") and name.endswith(".sealed")]
        os.remove(os.path.join(folder, payload))
        self.refused("-o", self.local, os.path.join(folder, "c.gguf"), code=NOT_AUTHENTIC, words="c.gguf")

    def test_reader_ends(self):
        process = self.start("-o", self.local, self.sealed())
        process.stdout.read(1)
        process.stdout.close()
        err = process.stderr.read().decode()
        process.stderr.close()
        self.assertEqual(process.wait(60), FAILURE)
        self.assertIn("its reader has ended", err)

    def test_interrupted_while_nobody_reads(self):
        process = self.start("-o", self.local, self.sealed(), session=True)
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), -signal.SIGINT)
        process.stdout.close()
        process.stderr.close()

    def test_command_line(self):
        sealed = self.sealed()
        for argv, words in ((["-o", self.local], "give one OBJECT"),
                            (["-o", self.local, sealed, "sh"], "give one OBJECT"),
                            (["-o", self.local, sealed, "--"], "needs an argument with {}"),
                            (["-o", self.local, sealed, "--", "{}"], "needs an argument with {}"),
                            (["-o", self.local, sealed, "--", "cat"], "needs an argument with {}"),
                            (["-o", "owner-kay=x", sealed], "owner-kay"),
                            (["-o", self.local, "s3://b"], "names no object"),
                            (["-o", self.local, self.lab.path("sealed") + "/"], "names no object")):
            self.refused(*argv, code=USAGE, words=words)


class Set(Cat):
    def test_member(self):
        out, _ = self.cat("-o", self.local, self.lab.path("set", "a.gguf"))
        self.assertEqual(out, self.want())
        out, _ = self.cat("-o", self.local + ",set=require,owner-key=" + self.public, "--source", self.lab.path("set"),
                          "70b/b.gguf")
        self.assertEqual(out, self.want("70b/b.gguf"))

    def test_measured_as_a_set(self):
        """One event for the set, the same as of a mount."""
        options = (f"key-file={self.key}", "attest=none")
        self.cat(*self.options(*options), "--source", self.lab.path("set"), "70b/b.gguf")
        before = self.lab.tpm.pcr("sha384")
        self.assertNotEqual(before, "00" * 48)
        with self.lab.mount(self.lab.path("set"), *options, "event-log=" + self.events) as mount:
            common.read_bytes(mount.join("a.gguf"))
        self.assertEqual(self.lab.tpm.pcr("sha384"), before)

    def test_not_of_the_set(self):
        """A good model beside the set; a member's seal exchanged; no set where one is required."""
        folder = common.copy_tree(self.lab.path("set"), self.lab.path("set-bad"))
        common.make_model(os.path.join(self.lab.path("more", make=True), "c.gguf"), 1000, 7)
        self.seal(self.lab.path("more", "c.gguf"), folder, "--key-file", self.key)
        self.refused("-o", self.local, os.path.join(folder, "c.gguf"), code=FAILURE, words="has no model c.gguf")
        for entry in os.listdir(self.lab.path("sealed")):
            if entry.startswith("a.gguf."):
                shutil.copy(self.lab.path("sealed", entry), folder)
        self.refused("-o", self.local, os.path.join(folder, "a.gguf"), code=NOT_AUTHENTIC, words="a.gguf")
        self.refused("-o", self.local + ",set=require", self.lab.path("sealed", "a.gguf"), code=FAILURE, words="set")

    def test_rollback(self):
        state = self.lab.path("state")
        old = common.copy_tree(self.lab.path("set"), self.lab.path("set-old"))
        new = common.copy_tree(self.lab.path("set"), self.lab.path("set-new"))
        self.lab.sealctl("set", "remove", new, "70b/b.gguf", "--key-file", self.key, "--sign", self.private, expect=OK)
        options = f"{self.local},set-state={state}"
        self.cat("-o", options, os.path.join(new, "a.gguf"))
        self.refused("-o", options, os.path.join(old, "a.gguf"), code=NOT_AUTHENTIC, words="version")


class Programs(Cat):
    def run_child(self, *argv, code=OK, **how):
        return self.cat("-o", self.local, self.lab.path("sealed", "a.gguf"), "--", *argv, code=code, **how)

    def test_reads_all_of_it(self):
        out, _ = self.run_child("cat", "{}", "{}")
        self.assertEqual(out, self.want() * 2)
        out, _ = self.run_child("/usr/bin/python3", "-c", "import sys; print(sys.argv[1:])", "--model={},{}", "--", "-x")
        self.assertRegex(out.decode(), r"^\['--model=/proc/self/fd/(\d+),/proc/self/fd/\1', '--', '-x'\]$")

    def test_exit_codes(self):
        for code in (0, 1, 5, 77, 255):
            self.run_child("sh", "-c", f"test -r {{}} && exit {code}", code=code)
        self.run_child("sh", "-c", "kill -9 $$ {}", code=-signal.SIGKILL)
        err = self.run_child("/no/such/program", "{}", code=FAILURE)[1]
        self.assertIn("cannot run /no/such/program", err)

    def test_signals_are_the_programs(self):
        process = self.start("-o", self.local, self.lab.path("sealed", "a.gguf"), "--", "/usr/bin/python3", "-c",
                             "import sys, time; print(flush=True); time.sleep(600)", "{}")
        process.stdout.readline()
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            masks = dict(line.split(":\t") for line in status if line.startswith("Sig"))
        self.assertEqual(int(masks["SigBlk"], 16), 0)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), -signal.SIGTERM)
        process.stdout.close()
        process.stderr.close()

    def test_memory_cannot_be_changed(self):
        """The program gets one more descriptor, sealed, and nothing about the keys."""
        script = ("import fcntl, json, os, sys\n"
                  "path = sys.argv[1]\n"
                  "number = int(path.rsplit('/', 1)[1])\n"
                  "def refused(call):\n"
                  "    try:\n"
                  "        call()\n"
                  "    except OSError as error:\n"
                  "        return error.errno\n"
                  "print(json.dumps([fcntl.fcntl(number, 1034), refused(lambda: os.write(number, b'x')),\n"
                  "    refused(lambda: os.ftruncate(number, 0)), [fd for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd)], number,\n"
                  "    dict(os.environ)]))\n")
        out, _ = self.run_child("/usr/bin/python3", "-c", script, "{}")
        seals, write, cut, fds, number, environment = json.loads(out)
        every = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        self.assertEqual(seals & every, every)
        self.assertEqual((write, cut), (errno.EPERM, errno.EPERM))
        self.assertEqual({int(fd) for fd in fds}, {0, 1, 2, number})
        # tpm2-tss is told in this way to print nothing.
        self.assertEqual({name: value for name, value in environment.items() if name not in ("LC_CTYPE", "TSS2_LOG")},
                         self.lab.env("operator"))

    def test_empty_model(self):
        common.make_model(self.lab.path("more", "empty.gguf"), 0, 1)
        self.seal(self.lab.path("more", "empty.gguf"), self.lab.path("sealed-empty"), "--key-file", self.key)
        model = self.lab.path("sealed-empty", "empty.gguf")
        self.assertEqual(self.cat("-o", self.local, model)[0], b"")
        self.assertEqual(self.cat("-o", self.local, model, "--", "wc", "-c", "{}")[0].split()[0], b"0")

    def test_too_large_for_memory(self):
        """A limit on what may be held: nothing is started."""
        done = subprocess.run(
            ["prlimit", f"--fsize={MIB}", "--", common.SEALCTL, "cat", "-o", self.local, self.lab.path("sealed", "a.gguf"),
             "--", "echo", "started", "{}"], env=self.lab.env("operator"), capture_output=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout), (FAILURE, b""), done.stderr)
        self.assertIn(b"memory", done.stderr)


if __name__ == "__main__":
    common.main()
