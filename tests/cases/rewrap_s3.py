#!/usr/bin/python3
"""sealctl rewrap on S3 and with KMS (tools/rewrap, tools/set, fs/models, fs/report): what moves, while a
reader streams; a concurrent writer; lost answers; recipients in other accounts; reload and status."""

import hashlib
import json
import os
import threading

import common
from common import FAILURE, MIB, OK, REFUSED, UNREACHABLE
from common_rewrap import RewrapCase, arns, key_id, key_ids, opens
from common_sealctl import finish, start

SIZE = 64 * MIB


def moved(entries):
    return sum(entry["bytes"] + entry["received"] for entry in entries)


class Stream(threading.Thread):
    """Reads a file from the mount again and again until it is told to stop; each pass's digest."""

    def __init__(self, path):
        super().__init__()
        self.path, self.digests, self.failure = path, [], None
        self.reading, self.enough = threading.Event(), threading.Event()
        self.file = open(path, "rb", buffering=0)  # pylint: disable=consider-using-with

    def run(self):
        try:
            while not self.enough.is_set():
                os.posix_fadvise(self.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                self.file.seek(0)
                state = hashlib.sha256()
                while block := self.file.read(MIB):
                    state.update(block)
                    self.reading.set()
                self.digests.append(state.hexdigest())
        except OSError as failure:
            self.failure = failure
            self.reading.set()


class OnS3(RewrapCase):
    PARTS = ("s3",)

    def setUp(self):
        super().setUp()
        name = os.path.basename(self.top)
        self.dest, self.folder = self.lab.s3_url(name + "/"), self.lab.s3.file(name)
        self.options = ("key-file=" + self.a, "owner-key=" + self.pub, "attest=none",
                        "measure=none", "fill=off")

    def test_little_moves_while_a_reader_streams(self):
        wanted = common.digest(self.model("m.bin", SIZE))
        self.seal()
        self.lab.s3.clear_log()
        self.rewrap("--key-file", self.a, "--add-key-file", self.b)
        entries = self.lab.s3.log()
        self.assertLess(moved(entries), MIB)
        self.assertEqual([e["target"] for e in entries if ".sealed" in e["target"]], [])
        put, = [e for e in entries if e["method"] == "PUT"]
        self.assertTrue(put["if_match"])
        with self.lab.mount(self.dest, *self.options) as mount:
            stream = Stream(mount.join("m.bin"))
            self.addCleanup(stream.enough.set)
            stream.start()
            self.assertTrue(stream.reading.wait(120))
            self.lab.s3.clear_log()
            self.rewrap("--key-file", self.b, "--add-key-file", self.c, "--drop", key_id(self.b))
            seals = [e for e in self.lab.s3.log() if ".sealed" not in e["target"]]
            self.assertLess(moved(seals), MIB)
            passes = len(stream.digests)
            self.assertEqual(self.lab.run(common.SEALEDFS, "--reload", mount.path).code, OK)
            self.assertEqual(self.recipients(mount), [key_id(self.a), key_id(self.c)])
            common.wait_for("a pass after the reload", lambda: stream.failure or
                            len(stream.digests) > passes + 1, timeout_s=240)
            stream.enough.set()
            stream.join(240)
            stream.file.close()
            self.assertIsNone(stream.failure)
            self.assertEqual(set(stream.digests), {wanted})
            self.assertEqual(common.digest(mount.join("m.bin")), wanted)

    def recipients(self, mount):
        found = json.loads(self.lab.sealctl("status", mount.path, "--json", expect=OK).out)
        model, = found["models"]
        text = self.lab.sealctl("status", mount.path, expect=OK).out
        self.assertIn("recipients: " + ", ".join(model["recipients"]), text)
        return [each.removeprefix("key file ") for each in model["recipients"]]

    def held(self, child, method):
        """The child's request waits in the server."""
        common.wait_for("a held request", lambda: any(
            e["n"] is None and e["method"] == method for e in self.lab.s3.log()), child)

    def test_the_later_one_loses(self):
        self.model("m")
        self.seal()
        with self.lab.s3.fault(kind="hold", times=1, match="PUT .*[.]seal$"):
            child = start(self.lab, "rewrap", self.dest, "--key-file", self.a, "--add-key-file",
                          self.b)
            self.held(child, "PUT")
            self.rewrap("--key-file", self.a, "--add-key-file", self.c)
        self.assert_result(finish(child), UNREACHABLE, "another writer changed it",
                           "nothing of it was written", "run it again")
        self.assertEqual(set(key_ids(self.seal_of("m"))), {key_id(self.a), key_id(self.c)})
        self.rewrap("--key-file", self.a, "--add-key-file", self.b)
        for key in (self.a, self.b, self.c):
            self.assertTrue(opens(self.seal_of("m"), key, self.pub))

    def test_a_set_loses_too(self):
        self.model("m")
        self.seal("--set", "w", "--key-file", self.a)
        with self.lab.s3.fault(kind="hold", times=1, match="PUT .*sealed[.]set"):
            child = start(self.lab, "rewrap", self.dest, "--key-file", self.a, "--add-key-file",
                          self.b)
            self.held(child, "PUT")
            self.rewrap("--key-file", self.a, "--add-key-file", self.c)
        self.assert_result(finish(child), UNREACHABLE, "another writer changed it")
        self.rewrap("--key-file", self.c, "--add-key-file", self.b)
        self.lab.sealctl("set", "check", self.dest, "--key-file", self.b, "--owner-key", self.pub,
                         expect=OK)
        with self.lab.mount(self.dest, *self.options) as mount:
            self.rewrap("--key-file", self.c, "--drop", key_id(self.b))
            self.assertEqual(self.lab.run(common.SEALEDFS, "--reload", mount.path).code, OK)
            found = json.loads(self.lab.sealctl("status", mount.path, "--json", expect=OK).out)
            self.assertEqual(found["set"]["recipients"],
                             ["key file " + key_id(key) for key in (self.a, self.c)])
            self.assertIn("recipients: key file " + key_id(self.a),
                          self.lab.sealctl("status", mount.path, expect=OK).out)

    def test_a_lost_answer(self):
        self.model("m")
        self.seal()
        with self.lab.s3.fault(kind="reset", when="after", times=1, match="PUT .*[.]seal$"):
            done = self.rewrap("--key-file", self.a, "--add-key-file", self.b)
        self.assertIn("1 rewrapped", done.out)
        self.assertTrue(opens(self.seal_of("m"), self.b, self.pub))

    def test_a_server_without_if_match(self):
        self.model("m")
        self.seal()
        before = common.read_bytes(self.seal_of("m"))
        with self.lab.s3.fault(kind="status", status=412, code="PreconditionFailed",
                               match="PUT .*[.]seal$"):
            done = self.rewrap("--key-file", self.a, "--add-key-file", self.b, expect=FAILURE)
        self.assertIn("does not know If-Match", done.err)
        self.assertEqual(common.read_bytes(self.seal_of("m")), before)

    def test_a_server_that_is_gone_ends_it(self):
        """What was done is reported, and the same command does the rest."""
        for name in "abcd":
            self.model(name)
        self.seal()
        wish = ("--key-file", self.a, "--add-key-file", self.b, "--json")
        with self.lab.s3.fault(kind="status", status=403, code="AccessDenied", skip=2,
                               match="PUT .*[.]seal$"):
            found = json.loads(self.rewrap(*wish, expect=None).out)
        self.assertEqual([found[n] for n in ("rewrapped", "already", "failed")], [2, 0, 2])
        found = json.loads(self.rewrap(*wish).out)
        self.assertEqual([found[n] for n in ("rewrapped", "already", "failed")], [2, 2, 0])


class WithKms(RewrapCase):
    PARTS = ("tpm", "kms", "s3")

    def setUp(self):
        super().setUp()
        self.lab.tpm.ask("POST", "reboot", {})
        self.model("m.bin")
        self.events = "event-log=" + self.lab.path("events." + os.path.basename(self.top))
        self.pcrs = {index: self.lab.tpm.pcr("sha384", index) for index in (4, 7, 12)}
        self.models = self.lab.kms.key("alias/models", self.pcrs)

    def test_an_attested_machine_rewraps(self):
        self.seal("--kms-key", "alias/models")
        self.lab.kms.clear_log()
        other = self.lab.kms.key("alias/other", self.pcrs)
        done = self.rewrap("--attest", "--add-kms-key", "alias/other", who="operator")
        self.assertIn("+ KMS key " + other, done.out)
        decrypt, = [e for e in self.lab.kms.log() if e["operation"] == "Decrypt"]
        self.assertTrue(decrypt["recipient"])
        self.assertEqual(arns(self.seal_of("m.bin")), [self.models, other])
        # The alias names what is there already: nothing is written.
        before = os.stat(self.seal_of("m.bin")).st_ino
        self.assertIn("0 rewrapped, 1 had", self.rewrap("--attest", "--add-kms-key",
                                                        "alias/other", who="operator").out)
        self.assertEqual(os.stat(self.seal_of("m.bin")).st_ino, before)
        self.rewrap("--attest", "--drop", self.models, who="operator")
        self.assertEqual(arns(self.seal_of("m.bin")), [other])
        with self.lab.mount(self.dest, "owner-key=" + self.pub, self.events) as mount:
            self.assertEqual(common.digest(mount.join("m.bin")),
                             common.digest(os.path.join(self.plain, "m.bin")))

    def test_who_is_refused_changes_nothing(self):
        self.seal("--kms-key", "alias/models")
        before = common.read_bytes(self.seal_of("m.bin"))
        # Without a document the key's policy refuses the Decrypt.
        done = self.rewrap("--kms", "--add-key-file", self.a, expect=REFUSED)
        self.assertIn("AccessDenied", done.out)
        denied = self.lab.kms.key("alias/denied", access_keys=[])
        self.assert_result(self.rewrap("--attest", "--add-kms-key", denied, "--add-key-file",
                                       self.a, expect=None), REFUSED, "AccessDenied", denied)
        self.assertEqual(common.read_bytes(self.seal_of("m.bin")), before)

    def test_an_alias_is_one_key(self):
        """In one run: it is not followed if somebody points it elsewhere meanwhile."""
        for name in "abc":
            self.model(name)
        self.seal("--key-file", self.a)
        self.lab.kms.clear_log()
        self.rewrap("--key-file", self.a, "--add-kms-key", "alias/models")
        found = {tuple(arns(self.seal_of(name))) for name in ("a", "b", "c", "m.bin")}
        self.assertEqual(found, {(self.models,)})
        self.assertEqual({e["operation"] for e in self.lab.kms.log()}, {"Encrypt"})
        self.lab.kms.clear_log()
        self.rewrap("--key-file", self.a, "--add-kms-key", self.models)
        self.assertEqual(self.lab.kms.log(), [])


if __name__ == "__main__":
    common.main()
