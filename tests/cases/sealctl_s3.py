#!/usr/bin/python3
"""sealctl against S3 and KMS: what it sends, what it leaves behind when something fails, who may
open what it sealed."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse

import common
from common import FAILURE, MIB, NOT_AUTHENTIC, OK, REFUSED, UNREACHABLE, USAGE
from common_sealctl import (Moments, ended_by, files, finish, payloads, peak_rss, second_reader,
                            start)

sys.path.append(common.EMU)
import s3_client  # noqa: E402  (lies beside the emulators)


class Base(common.Case):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()

    def setUp(self):
        self.prefix = self.id().rsplit(".", 1)[1]
        self.folder = self.lab.s3.file(self.prefix)
        self.plain = self.lab.path("plain", self.prefix, make=True)
        self.lab.s3.clear_log()
        self.addCleanup(self.lab.s3.ask, "DELETE", "fault")
        self.addCleanup(self.lab.kms.ask, "DELETE", "fault")

    def model(self, name="m.gguf", size=1000, seed=0):
        return common.make_model(os.path.join(self.plain, name), size, seed)

    def seal(self, *args, keys=None, expect=OK, **options):
        keys = ("--key-file", self.key) if keys is None else keys
        return self.lab.sealctl("seal", *args, self.lab.s3_url(self.prefix + "/"), *keys,
                                expect=expect, **options)

    def check(self, *args, expect=OK, **options):
        return self.lab.sealctl("check", self.lab.s3_url(self.prefix), *args, expect=expect,
                                **options)

    def stored(self):
        return files(self.folder) if os.path.isdir(self.folder) else []

    def assert_nothing(self):
        self.assertEqual(self.stored(), [])
        self.assert_no_uploads()

    def uploads(self):
        """(key, id) of the multipart uploads that were neither completed nor aborted."""
        body = self.ask("GET", "/" + common.BUCKET, "uploads=")
        return list(zip(s3_client.fields(body, "Key"), s3_client.fields(body, "UploadId")))

    def ask(self, method, path, query):
        """A signed request of our own; the answer's body."""
        client = s3_client.Client(self.lab.s3.url, {
            self.lab.access_keys["owner"]: ("secret+of/owner" + "x" * 24, None)})
        answer = client.request(method, path, query)
        client.close()
        self.assertLess(answer.status, 300, answer.body)
        return answer.body

    def assert_no_uploads(self):
        self.assertEqual(self.uploads(), [])


class Sealing(Base):
    def test_every_size(self):
        sizes = (0, 1, 524289, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 50_000_000)
        paths = [self.model(f"{size}.gguf", size, size) for size in sizes]
        self.seal(*paths, "--sign", self.private)
        found = second_reader(self.folder, self.key, self.plain, self.public)
        self.assertEqual(found, {f"{size}.gguf": "ok" for size in sizes})
        self.assert_no_uploads()

    def test_parts_and_order(self):
        self.seal(self.model(size=20 * MIB))
        parts = [entry for entry in self.lab.s3.log() if "partNumber" in entry["query"]]
        self.assertEqual(sorted(entry["received"] for entry in parts),
                         [4 * MIB, 8 * MIB, 8 * MIB])
        changes = [entry for entry in self.lab.s3.log() if entry["method"] in ("PUT", "POST")]
        self.assertTrue(changes[-1]["key"].endswith("m.gguf.seal"))
        self.assertEqual(changes[-2]["query"].split("=")[0], "uploadId")
        self.lab.s3.clear_log()
        self.seal(self.model("small.gguf", 100))
        self.assertEqual([entry["method"] for entry in self.lab.s3.log()
                          if entry["method"] in ("PUT", "POST")], ["PUT", "PUT"])

    def test_bucket_and_prefix_forms(self):
        path = self.model()
        for spec in (f"s3://{common.BUCKET}", f"s3://{common.BUCKET}/",
                     f"s3://{common.BUCKET}/{self.prefix}/a b/ü+%/",
                     f"s3://{common.BUCKET}/{self.prefix}/no-slash"):
            self.lab.seal(path, spec, "--key-file", self.key)
            name = spec.rstrip("/") + "/m.gguf.seal"
            self.assertIn("m.gguf", self.lab.sealctl("inspect", name, expect=OK).out)
            self.lab.sealctl("check", spec, "--key-file", self.key, expect=OK)
        for spec in ("s3://", "s3:///x"):
            self.assert_result(self.lab.sealctl("seal", path, spec, "--key-file", self.key),
                               USAGE, "bucket")
        done = self.lab.sealctl("seal", path, "s3://no-such-bucket/", "--key-file", self.key)
        self.assert_result(done, FAILURE, "no-such-bucket")

    def test_tree_and_replacing(self):
        for number in range(3):
            os.makedirs(os.path.join(self.plain, f"d{number}"), exist_ok=True)
            self.model(f"d{number}/m.gguf", 1000, number)
        self.seal(self.plain)
        self.assertEqual(second_reader(self.folder, self.key, self.plain),
                         {f"d{number}/m.gguf": "ok" for number in range(3)})
        first = payloads(self.folder)
        entry = json.loads(self.seal(self.model("d0/m.gguf", 9 * MIB, 7), "--name", "d0/m.gguf",
                                     "--json").out)["sealed"][0]
        self.assertTrue(entry["replaced"])
        self.assertEqual(sorted(payloads(self.folder)),
                         sorted(first + [os.path.relpath(entry["payload"], self.lab.s3_url(
                             self.prefix))]))
        again = json.loads(self.seal(self.model("d0/m.gguf", 5, 8), "--name", "d0/m.gguf",
                                     "--remove-old", "--json").out)["sealed"][0]
        self.assertTrue(again["old_payload_removed"])
        self.assertEqual(len(payloads(self.folder)), 4)
        found = second_reader(self.folder, self.key, self.plain)
        self.assertEqual(found["d0/m.gguf"], "ok")
        self.assertEqual(json.loads(self.check("--json").out)["unused_payloads"],
                         [self.lab.s3_url(self.prefix + "/" + first[0])])

    def test_memory(self):
        if common.QUICK:
            self.skipTest("sanitizers need memory of their own")
        path = os.path.join(self.plain, "big.gguf")
        with open(path, "wb") as out:
            out.truncate(2 << 30)
        code, peak, err = peak_rss(self.lab, "seal", path, self.lab.s3_url(self.prefix + "/"),
                                   "--kms-key", "alias/models")
        self.assertEqual(code, OK, err)
        self.assertLess(peak, 64 * MIB)
        code, peak, err = peak_rss(self.lab, "check", self.lab.s3_url(self.prefix), "--attest")
        self.assertEqual(code, OK, err)
        self.assertLess(peak, 64 * MIB)
        for name in self.stored():
            os.unlink(os.path.join(self.folder, name))
        os.unlink(path)


class Faults(Base):
    SIZE = 50 * MIB

    def test_a_server_that_is_busy(self):
        path = self.model(size=self.SIZE)
        for match in ("partNumber", "POST", "PUT .*seal$", "."):
            with self.lab.s3.fault(match=match, kind="status", code="SlowDown", times=3):
                self.seal(path)
        with self.lab.s3.fault(match="partNumber", kind="reset", times=2):
            self.seal(path)
        self.assertEqual(second_reader(self.folder, self.key, self.plain), {"m.gguf": "ok"})
        self.assert_no_uploads()

    def test_answers_that_get_lost(self):
        """The server did it, and the client was not told."""
        path = self.model(size=20 * MIB)
        for match in ("POST .*uploadId", "PUT .*seal$", "partNumber"):
            with self.lab.s3.fault(match=match, kind="reset", when="after", times=1):
                self.seal(path, "--remove-old")
            self.assertEqual(second_reader(self.folder, self.key, self.plain), {"m.gguf": "ok"})
            self.assertEqual(len(self.stored()), 2)
        self.assert_no_uploads()

    def test_refusals_leave_nothing(self):
        path = self.model(size=self.SIZE)
        denied = {"kind": "status", "status": 403, "code": "AccessDenied"}
        for match, skip in (("POST .*uploads", 0), ("partNumber", 0), ("partNumber", 4),
                            ("POST .*uploadId", 0), ("PUT .*seal$", 0)):
            with self.lab.s3.fault(match=match, skip=skip, **denied):
                done = self.seal(path, expect=FAILURE)
            self.assertIn("AccessDenied", done.err)
            self.assert_nothing()
        with self.lab.s3.fault(match="POST .*uploadId", kind="ok-error", code="InternalError",
                               times=-1):
            self.seal(path, expect=UNREACHABLE, extra={"AWS_MAX_ATTEMPTS": "2"})
        self.assert_nothing()

    def test_a_failed_replacement_keeps_the_old_model(self):
        path = self.model(size=self.SIZE)
        self.seal(path)
        before = self.stored()
        with self.lab.s3.fault(match="PUT .*seal$", kind="status", status=403,
                               code="AccessDenied"):
            self.seal(path, "--remove-old", expect=FAILURE)
        self.assertEqual(self.stored(), before)
        self.assert_no_uploads()
        self.check("--key-file", self.key)

    def test_an_abort_that_fails_is_said(self):
        with self.lab.s3.fault(match="partNumber|DELETE", kind="status", status=403,
                               code="AccessDenied"):
            done = self.seal(self.model(size=self.SIZE), expect=FAILURE)
        self.assertIn("unfinished upload is left behind", done.err)
        (key, name), = self.uploads()
        self.ask("DELETE", s3_client.quote(f"/{common.BUCKET}/{key}"),
                 "uploadId=" + urllib.parse.quote(name, safe=""))
        self.assert_nothing()

    def test_no_server(self):
        done = self.lab.sealctl("seal", self.model(), "s3://bucket/", "--key-file", self.key,
                                "--s3-endpoint", "http://127.0.0.1:1",
                                extra={"AWS_MAX_ATTEMPTS": "1"})
        self.assert_result(done, UNREACHABLE, "127.0.0.1:1")

    def test_interrupted_at_any_moment(self):
        path = self.model(size=self.SIZE)
        started = time.monotonic()
        self.seal(path)
        whole = time.monotonic() - started
        for name in self.stored():
            os.unlink(os.path.join(self.folder, name))
        moments = Moments(11, whole)
        interrupted = tries = 0
        while tries < 12 or (not interrupted and tries < 60):
            number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[tries % 3]
            tries += 1
            child = start(self.lab, "seal", path, self.lab.s3_url(self.prefix + "/"), "--key-file",
                          self.key)
            if moments.wait(child):
                child.send_signal(number)
            done = finish(child)
            if done.code == OK:
                found = second_reader(self.folder, self.key, self.plain)
                self.assertEqual(found, {"m.gguf": "ok"})
                for name in self.stored():
                    os.unlink(os.path.join(self.folder, name))
            elif done.err:  # else it came before anything had begun
                interrupted += 1
                self.assert_result(done, ended_by(number), "interrupted by SIG")
            if done.code != OK:
                self.assert_nothing()
            moments.came(early=done.code != OK)
        self.assertGreater(interrupted, 0)

    def test_interrupted_while_the_server_is_silent(self):
        """An upload is cut off at once; publishing, once begun, is carried through or undone."""
        path = self.model(size=self.SIZE)
        for match, at_once in (("partNumber=3", True), ("POST .*uploadId", False),
                               ("PUT .*seal$", False)):
            with self.lab.s3.fault(match=match, kind="slow", ms=120000 if at_once else 3000):
                child = start(self.lab, "seal", path, self.lab.s3_url(self.prefix + "/"),
                              "--key-file", self.key, "--json")
                common.wait_for("request", lambda: json.loads(
                    self.lab.s3.ask("GET", "fault"))[0]["hits"] > 0, child)
                started = time.monotonic()
                child.send_signal(signal.SIGINT)
                done = finish(child)
            if at_once:  # not after 15 s, when the server has been silent for too long
                self.assertLess(time.monotonic() - started, 12)
            if done.code == OK:
                self.assertEqual(second_reader(self.folder, self.key, self.plain),
                                 {"m.gguf": "ok"})
            else:
                self.assert_result(done, -signal.SIGINT, "interrupted by SIGINT")
                self.assertEqual(json.loads(done.out)["error"]["code"], "EINTR")
                self.assert_nothing()

    def test_a_second_signal_ends_it_at_once(self):
        with self.lab.s3.fault(match="POST .*uploadId", kind="slow", ms=12000):
            child = start(self.lab, "seal", self.model(size=self.SIZE),
                          self.lab.s3_url(self.prefix + "/"), "--key-file", self.key)
            common.wait_for("request", lambda: json.loads(
                self.lab.s3.ask("GET", "fault"))[0]["hits"] > 0, child)
            started = time.monotonic()
            while child.poll() is None:
                child.send_signal(signal.SIGINT)
                time.sleep(0.05)
            self.assertEqual(finish(child).code, -signal.SIGINT)
            self.assertLess(time.monotonic() - started, 10)
            common.wait_for("the server", lambda: len(self.stored()) == 1)
        self.assertNotIn("m.gguf.seal", self.stored())


class Recipients(Base):
    def test_kms(self):
        path = self.model(size=MIB)
        arn = self.lab.kms.key("alias/owners", access_keys={
            "GenerateDataKey": [self.lab.access_keys["owner"]],
            "Encrypt": [self.lab.access_keys["owner"]],
            "Decrypt": [self.lab.access_keys["owner"]]})
        other = self.lab.kms.key("alias/others")
        self.lab.kms.clear_log()
        entry = json.loads(self.seal(path, "--json", keys=(
            "--kms-key", "alias/owners", "--kms-key", other, "--key-file",
            self.key)).out)["sealed"][0]
        self.assertEqual([r["type"] for r in entry["recipients"]],
                         ["aws-kms", "aws-kms", "key-file"])
        self.assertEqual([r.get("key") for r in entry["recipients"]], [arn, other, None])
        log = self.lab.kms.log()
        self.assertEqual([line["operation"] for line in log], ["GenerateDataKey", "Encrypt"])
        for line in log:
            self.assertEqual(line["context"], {"sealedfs:file-id": entry["file_id"]})
        self.assertEqual(second_reader(self.folder, self.key, self.plain), {"m.gguf": "ok"})
        self.check("--kms")
        # The first key refuses the operator; the second one opens.
        self.check("--kms", who="operator")
        self.lab.kms.key("alias/others", access_keys=[])
        self.assert_result(self.check("--kms", who="operator", expect=REFUSED), REFUSED,
                           "AccessDenied")
        self.check("--kms", who="owner")

    def test_one_key_by_two_names(self):
        arn = self.lab.kms.key("alias/twice")
        done = self.seal(self.model(), keys=("--kms-key", "alias/twice", "--kms-key", arn),
                         expect=USAGE)
        self.assertIn("are one key", done.err)
        self.assert_nothing()

    def test_kms_that_refuses_or_fails(self):
        path = self.model()
        self.lab.kms.key("alias/closed", access_keys=[])
        self.assert_result(self.seal(path, keys=("--kms-key", "alias/closed"), expect=REFUSED),
                           REFUSED, "AccessDenied", "alias/closed")
        self.assert_result(self.seal(path, keys=("--kms-key", "alias/nowhere"), expect=REFUSED),
                           REFUSED, "alias/nowhere")
        done = self.seal(path, "--kms-endpoint", "http://127.0.0.1:1", expect=UNREACHABLE,
                         keys=("--kms-key", "alias/models"), extra={"AWS_MAX_ATTEMPTS": "1"})
        self.assertIn("127.0.0.1:1", done.err)
        self.assert_nothing()
        self.lab.kms.ask("POST", "fault", {"error": "KMSInternalException", "times": 2})
        self.seal(path, keys=("--kms-key", "alias/models"))

    def test_attested(self):
        self.seal(self.model(size=MIB), keys=("--kms-key", "alias/models"))
        self.check("--attest", who="operator")
        # Credentials alone are not enough, nor is another machine.
        self.assert_result(self.check("--kms", who="owner", expect=REFUSED), REFUSED,
                           "AccessDenied")
        stranger = common.Tpm(self.lab, "tpm2", "some other image")
        try:
            self.assert_result(self.check("--attest", tpm=stranger, expect=REFUSED), REFUSED,
                               "PCR 4", stranger.pcr("sha384", 4)[:16])
        finally:
            stranger.stop()

    def test_no_way_in(self):
        self.seal(self.model())
        self.assert_result(self.check("--kms", expect=REFUSED), REFUSED)
        stranger = self.lab.key_file("stranger")
        self.assert_result(self.check("--key-file", stranger, expect=REFUSED), REFUSED)
        report = json.loads(self.check("--key-file", stranger, "--json", expect=REFUSED).out)
        self.assertFalse(report["ok"])
        self.assertEqual(report["objects"][0]["error"]["exit_code"], REFUSED)


class Checking(Base):
    def test_changed_in_the_bucket(self):
        self.seal(self.model(size=20 * MIB))
        name = payloads(self.folder)[0]
        path = os.path.join(self.folder, name)
        before = os.stat(path)
        with open(path, "r+b") as payload:
            payload.seek(9 * MIB)
            payload.write(b"\0\1\2\3")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.check()
        self.assert_result(self.check("--key-file", self.key, expect=NOT_AUTHENTIC), NOT_AUTHENTIC,
                           "1 of 40", "chunk 18", name)
        os.truncate(path, 20 * MIB - 1)
        self.assert_result(self.check(expect=NOT_AUTHENTIC), NOT_AUTHENTIC, "20971519")
        os.unlink(path)
        self.assert_result(self.check(expect=FAILURE), FAILURE, "missing")

    def test_unreachable(self):
        self.seal(self.model(size=MIB))
        with self.lab.s3.fault(match="GET .*sealed$", kind="status", code="SlowDown"):
            self.assert_result(self.check("--key-file", self.key, expect=UNREACHABLE,
                                          extra={"AWS_MAX_ATTEMPTS": "2"}), UNREACHABLE, "SlowDown")
        with self.lab.s3.fault(match="GET .*sealed$", kind="status", code="SlowDown", times=2):
            self.check("--key-file", self.key)

    def test_inspect(self):
        self.seal(self.model(), "--sign", self.private)
        url = self.lab.s3_url(self.prefix + "/m.gguf.seal")
        found = json.loads(self.lab.sealctl("inspect", url, "--json", expect=OK).out)["objects"][0]
        self.assertEqual((found["path"], found["length"]), ("m.gguf", 1000))
        self.assert_result(self.lab.sealctl("inspect", url + "x"), FAILURE, "m.gguf.sealx")
        self.assert_result(self.lab.sealctl("inspect", f"s3://{common.BUCKET}/"), USAGE)


if __name__ == "__main__":
    common.main()
