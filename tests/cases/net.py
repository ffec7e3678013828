#!/usr/bin/python3
"""fs/aws against S3: every way in which a server with S3's protocol goes wrong has a case here.

Faults come from tests/emu/s3.py. net_wire.py has what is below S3 and a real server, net_keys.py has
credentials and KMS.
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
from common_net import BUCKET, ODD_KEYS, PROBE, S3Case  # noqa: E402

STALL = {"PROBE_STALL_MS": "4000"}  # of a server that really is silent


class Operations(S3Case):
    def test_odd_keys(self):
        for number, key in enumerate(ODD_KEYS):
            with self.subTest(key=key[:40]):
                body = f"{number} {key}".encode()
                with open(self.lab.path("odd"), "wb") as out:
                    out.write(body)
                self.good("put", BUCKET, key, self.lab.path("odd"))
                self.assertEqual(self.good("get", BUCKET, key, "4096"), body)
                self.assertEqual(self.good("range", BUCKET, key, "-", "1", "1"), body[1:2])
                self.assertIn(key.encode(), self.good("head", BUCKET, key))
        listed = self.good("list", BUCKET, "").decode()
        for key in ODD_KEYS:
            self.assertIn(" " + key + "\n", listed)
            self.good("delete", BUCKET, key)

    def test_listing_goes_through_all_pages(self):
        keys = sorted((f"many/{number}+ü/{number}" for number in range(37)), key=str.encode)
        for key in keys:
            self.write(key, b"x")
        self.write("manyother", b"x")
        self.s3.ask("POST", "settings", {"page_size": 5})
        try:
            lines = self.good("list", BUCKET, "many/").decode().splitlines()
        finally:
            self.s3.ask("POST", "settings", {"page_size": 1000})
        self.assertEqual([line.split(" ", 3)[3] for line in lines], keys)
        self.assertEqual(len(self.seen("GET")), 8)
        # The tokens hold + / =, and reached the server as they were.
        self.assertTrue(any("%2B" in e["target"] or "%2F" in e["target"] or "%3D" in e["target"]
                            for e in self.seen("GET")))

    def test_ranges(self):
        for offset, size in ((0, 1), (0, self.SIZE), (self.SIZE - 1, 1), (8191, 65537)):
            self.range(offset, size)
        self.bad_range("ENODATA", "416", offset=self.SIZE, size=1)
        self.bad_range("ENODATA", "ends at byte", offset=self.SIZE - 10, size=11)
        self.assertEqual(self.good("range", BUCKET, "big", "-", "5", "0"), b"")

    def test_etag_pins_the_version(self):
        self.write("pinned", b"version one")
        etag = self.good("head", BUCKET, "pinned").split()[2].decode()
        self.assertEqual(self.good("range", BUCKET, "pinned", etag, "0", "11"), b"version one")
        self.write("pinned", b"version two")
        self.bad("ESTALE", "range", BUCKET, "pinned", etag, "0", "11", words=("412", "pinned"))

    def test_missing_and_denied(self):
        self.bad("ENOENT", "get", BUCKET, "absent", words=("NoSuchKey", "s3://weights/absent"))
        self.bad("ENOENT", "head", BUCKET, "absent")
        self.bad("ENOENT", "list", "nobucket", words=("NoSuchBucket",))
        self.bad("EINVAL", "list", "no/bucket")
        self.bad("EINVAL", "get", BUCKET, "x" * 1025)
        self.once(kind="status", status=403, code="AccessDenied", message="you may not")
        result = self.bad("EACCES", "get", BUCKET, "big", words=("you may not", "ListBucket"))
        self.assertIn("request", result)
        self.assertEqual(len(self.seen("GET")), 3)

    def test_create_only(self):
        self.good("put", BUCKET, "created", self.file, "create")
        self.bad("EEXIST", "put", BUCKET, "created", self.file, "create", words=("412",))
        self.good("put", BUCKET, "created", self.file)
        # The answer is lost: the second attempt finds the work of the first.
        self.once(kind="reset", when="after", match="PUT .*lost")
        self.good("put", BUCKET, "lost", self.file, "create")
        self.write("taken", b"somebody else's")
        self.once(kind="status", status=500, match="PUT .*taken")
        self.bad("EEXIST", "put", BUCKET, "taken", self.file, "create")

    def test_replace_only_what_was_seen(self):
        old = self.good("put", BUCKET, "replaced", __file__).decode().strip()
        self.once(kind="reset", when="after", match="PUT .*replaced")
        self.good("put", BUCKET, "replaced", self.file, old)
        self.once(kind="status", status=500, match="PUT .*replaced")
        self.bad("ESTALE", "put", BUCKET, "replaced", __file__, old, words=("412",))

    def test_multipart(self):
        data = common.model_bytes(12 << 20, seed=9)
        path = common.make_model(self.lab.path("parts"), 12 << 20, seed=9)
        part = str(5 << 20)
        self.good("multipart", BUCKET, "parts", path, part)
        self.assertEqual(self.good("get", BUCKET, "parts", str(16 << 20)), data)
        for name, fault in (
                ("part fails once", {"kind": "status", "status": 500, "match": "partNumber=2"}),
                ("part reset", {"kind": "reset", "match": "partNumber=1&"}),
                ("part done, answer lost", {"kind": "reset", "when": "after",
                                            "match": "partNumber=3"}),
                ("complete fails once", {"kind": "status", "status": 503, "code": "SlowDown",
                                         "match": "POST .*uploadId"}),
                ("200 with an error", {"kind": "ok-error", "code": "InternalError",
                                       "match": "POST .*uploadId"}),
                ("complete done, answer lost", {"kind": "reset", "when": "after",
                                                "match": "POST .*uploadId"}),
                ("complete done, error told", {"kind": "ok-error", "code": "InternalError",
                                               "when": "after", "match": "POST .*uploadId"})):
            with self.subTest(name):
                self.good("delete", BUCKET, "again")
                self.once(**fault)
                self.good("multipart", BUCKET, "again", path, part)
                self.assertEqual(self.good("get", BUCKET, "again", str(16 << 20)), data)
        self.good("delete", BUCKET, "again")
        self.once(kind="ok-error", code="AccessDenied", match="POST .*uploadId=")
        result = self.probe("multipart", BUCKET, "again", path, part)
        self.assertTrue(result.err.startswith("EREMOTEIO"), result.err)
        self.assertEqual(result.out, "abort 0\n")
        self.bad("ENOENT", "head", BUCKET, "again")

    def test_eight_threads_keep_their_connections(self):
        self.s3.ask("POST", "settings", {"idle_timeout_s": 60})
        self.good("bench", BUCKET, "big", "8", "48", "65536")
        self.assertEqual(len(self.seen("GET")), 48)
        self.assertLessEqual(len({entry["connection"] for entry in self.seen("GET")}), 8)

    def test_nothing_secret_in_the_debug_log(self):
        self.once(kind="status", status=503, code="SlowDown")
        result = self.probe("get", BUCKET, "small", PROBE_DEBUG="1")
        self.assertEqual(result.code, 0)
        self.assertIn("SlowDown", result.err)
        self.assertNotIn("secret", result.err)


class Faults(S3Case):
    def test_passing_faults(self):
        """One bad answer, and then the right one."""
        for fault in ({"kind": "status", "code": "SlowDown", "times": 2},
                      {"kind": "status", "status": 500},
                      {"kind": "status", "status": 502},
                      {"kind": "status", "status": 504},
                      {"kind": "status", "status": 429},
                      {"kind": "status", "status": 400, "code": "RequestTimeout"},
                      {"kind": "reset"},
                      {"kind": "reset", "bytes": 5000},
                      {"kind": "cut"}, {"kind": "cut", "bytes": 0},
                      {"kind": "cut", "bytes": 99999},
                      {"kind": "short"}, {"kind": "full"},
                      {"kind": "content-range"}, {"kind": "content-range", "shift": -1},
                      {"kind": "headers", "set": {"Content-Range": None}},
                      {"kind": "headers", "set": {"Content-Range": "bytes 1000-100999/*"}},
                      {"kind": "headers", "set": {"Content-Range": "bytes 1000-100999/5"}},
                      {"kind": "body", "status": 503, "body": "<html>busy</html>"},
                      {"kind": "body", "status": 500, "body": "<Error>" + "x" * 100000},
                      {"kind": "stall"}, {"kind": "stall", "bytes": 0}):
            with self.subTest(**fault):
                self.forget()
                self.once(**fault)
                self.range(**STALL if fault["kind"] == "stall" else {})
                self.assertEqual(len(self.seen("GET")), 1 + fault.get("times", 1))

    def test_slow_is_not_broken(self):
        self.once(kind="slow", ms=1500)
        self.range()
        self.once(kind="drip", bytes_per_s=40000)
        self.range()
        self.assertGreater(self.took_s, 2)
        self.assertEqual(len(self.seen("GET")), 2)

    def test_lasting_faults(self):
        """The same bad answer for ever: the errno, and the reason in the message."""
        short = {"PROBE_ATTEMPTS": "2"}
        for fault, errno_name, words in (
                ({"kind": "status", "code": "SlowDown"}, "EREMOTEIO", ("503 SlowDown",)),
                ({"kind": "status", "status": 500}, "EREMOTEIO", ("500", "2 attempts")),
                ({"kind": "reset"}, "ECONNRESET", ("127.0.0.1",)),
                ({"kind": "cut"}, "ECONNRESET", ("127.0.0.1",)),
                ({"kind": "stall"}, "ETIMEDOUT", ("stalled",)),
                ({"kind": "full"}, "EREMOTEIO", ("asked for a range, was answered 200",)),
                ({"kind": "short"}, "EREMOTEIO", ("50000",)),
                ({"kind": "content-range"}, "EREMOTEIO", ("1001-",))):
            with self.subTest(**fault), self.s3.fault(**fault):
                stall = STALL if fault["kind"] == "stall" else {}
                result = self.bad_range(errno_name, "s3://weights/big", *words, **short, **stall)
                self.assertIn("gave up after 2 attempts", result)

    def test_wrong_versions(self):
        etag = self.good("head", BUCKET, "big").split()[2].decode()
        self.range(etag=etag)
        # A server that ignores If-Match and serves what it has.
        self.once(kind="etag", value="\"other\"")
        self.bad_range("ESTALE", "other", etag=etag)
        self.range(etag="-")

    def test_final_answers_are_not_asked_again(self):
        for status, code, errno_name in ((403, "SignatureDoesNotMatch", "EKEYREJECTED"),
                                         (403, "InvalidAccessKeyId", "EKEYREJECTED"),
                                         (403, "AllAccessDisabled", "EACCES"),
                                         (400, "InvalidArgument", "EREMOTEIO"),
                                         (405, "MethodNotAllowed", "EREMOTEIO"),
                                         (501, "NotImplemented", "EREMOTEIO")):
            with self.subTest(code):
                self.forget()
                with self.s3.fault(kind="status", status=status, code=code):
                    self.bad_range(errno_name, code)
                self.assertEqual(len(self.seen("GET")), 1)

    def test_deadline(self):
        with self.s3.fault(kind="status", code="SlowDown"):
            # The deadline may come during a pause or during a request.
            for number in range(30):
                message = self.bad_range("ETIMEDOUT", "gave up after", PROBE_DEADLINE_MS="1500")
                self.assertLess(self.took_s, 60)
                if "SlowDown" in message:
                    break
                self.assertIn("timed out", message)
            self.assertIn("SlowDown", message, f"{number + 1} times")
        with self.s3.fault(kind="slow", ms=200000):
            self.bad_range("ETIMEDOUT", PROBE_DEADLINE_MS="1500", PROBE_STALL_MS="200000")
            self.assertLess(self.took_s, 60)

    def test_expired_keys_that_have_no_successor(self):
        with self.s3.fault(kind="status", status=400, code="ExpiredToken"):
            result = self.bad_range("EKEYREJECTED", "ExpiredToken")
        self.assertIn("check the AWS keys", result)
        self.assertEqual(len(self.seen("GET")), 1)

    def test_wrong_keys(self):
        self.bad_range("EKEYREJECTED", "SignatureDoesNotMatch",
                       AWS_ACCESS_KEY_ID=self.lab.access_keys["owner"],
                       AWS_SECRET_ACCESS_KEY="wrong")
        self.bad_range("EKEYREJECTED", "InvalidAccessKeyId", AWS_ACCESS_KEY_ID="AKIANOBODY",
                       AWS_SECRET_ACCESS_KEY="x")

    def test_clock_skew_is_corrected_once(self):
        for offset_s in (3600, -90000):
            self.s3.ask("POST", "settings", {"clock_offset_s": offset_s})
            try:
                self.forget()
                # In one process the offset is learned once; a HEAD has no body to say so.
                self.good("repeat", BUCKET, "big", data=b"1\n2\n3\n")
                self.assertEqual([e["status"] for e in self.seen("GET")], [403, 206, 206, 206])
                self.assertIn(b" big\n", self.good("head", BUCKET, "big"))
                self.good("bench", BUCKET, "big", "8", "16", "65536")
            finally:
                self.s3.ask("POST", "settings", {"clock_offset_s": 0})
        with self.s3.fault(kind="status", status=403, code="RequestTimeTooSkewed"):
            self.bad_range("EKEYREJECTED", "RequestTimeTooSkewed", "clock")

    def test_redirects(self):
        for fault in ({"status": 301}, {"status": 307}, {"status": 301, "header": False}):
            with self.subTest(**fault):
                self.forget()
                self.once(kind="redirect", region="eu-west-3", **fault)
                # This server is in us-east-1, so the hint leads to a second refusal.
                self.bad_range("EKEYREJECTED", "AuthorizationHeaderMalformed")
                self.assertEqual(len(self.seen()), 2)
        self.once(kind="redirect", region="evil.example.com/", status=301)
        self.bad_range("EREMOTEIO", "AWS_REGION")

    def test_hostile_listings(self):
        billion = "<!DOCTYPE x [<!ENTITY a \"" + "lol" * 1000 + "\">]><ListBucketResult>&a;" \
            "</ListBucketResult>"
        item = "<Contents><Key>{}</Key><Size>1</Size></Contents>"
        page = "<ListBucketResult>{}</ListBucketResult>"
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        for name, body, word in (
                ("entities", billion, "makes sense"),
                ("not xml", "hello", "makes sense"),
                ("cut", page.format(item.format("p/a"))[:-9], "makes sense"),
                ("outside the prefix", page.format(item.format("other/a")), "prefix"),
                ("for ever", page.format(more + item.format("p/a")), "does not end"),
                ("no token", page.format("<IsTruncated>true</IsTruncated>"), "makes sense"),
                ("too deep", "<a>" * 100, "makes sense")):
            with self.subTest(name), self.s3.fault(kind="body", body=body):
                result = self.probe("list", BUCKET, "p/", PROBE_ATTEMPTS="2")
                self.assertTrue(result.err.startswith("EREMOTEIO:"), result.err)
                self.assertIn(word, result.err)

    def test_bodies_over_the_limit(self):
        self.bad("E2BIG", "get", BUCKET, "big", "1000", words=("1000 bytes",))
        self.assertEqual(len(self.seen("GET")), 1)

    def test_control_characters_do_not_reach_the_message(self):
        self.once(kind="body", status=403, body="<Error><Code>Access\x1b[31mDenied</Code>"
                  "<Message>line\nbreak</Message></Error>".replace("\x1b", "&#10;"))
        result = self.bad_range("EACCES")
        self.assertEqual(len(result.strip().splitlines()), 1)

    def test_cancel(self):
        for fault in ({"kind": "stall"}, {"kind": "status", "code": "SlowDown", "times": -1}):
            self.forget()
            self.once(**fault)
            env = self.lab.env("owner")
            process = subprocess.Popen([PROBE, "cancel", BUCKET, "big", str(8 << 20)], env=env,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE)
            common.wait_for("the request", self.seen, process)
            _, err = process.communicate(b"x", timeout=120)
            self.assertTrue(err.startswith(b"ECANCELED:"), err)
            self.s3.ask("DELETE", "fault")


class Regions(S3Case):
    """A bucket somewhere else than where the caller believes."""

    def start(self, name, *options):
        root = self.lab.path(name, make=True)
        server = common.Emulator(self.lab, "s3-" + name, "s3.py", "--root", root, "--credentials",
                                 self.lab.credentials, "--bucket", "far=eu-central-1", *options)
        self.addCleanup(server.stop)
        with open(os.path.join(root, "far", "k"), "wb") as out:
            out.write(b"far away")
        return server, f"http://127.0.0.1:{server.port}"

    def test_the_bucket_is_found_and_remembered(self):
        for name, options in (("malformed", ()), ("redirect", ("--wrong-region", "redirect"))):
            with self.subTest(name):
                server, url = self.start(name, *options)
                self.good("repeat", "far", "k", data=b"1\n2\n", AWS_ENDPOINT_URL_S3=url)
                self.assertEqual([e["status"] for e in server.log()][1:], [206, 206])
                self.assertIn(b" k\n", self.good("head", "far", "k", AWS_ENDPOINT_URL_S3=url))
                self.assertIn(b" k\n", self.good("list", "far", AWS_ENDPOINT_URL_S3=url))

    def test_virtual_hosts(self):
        server, _ = self.start("virtual", "--virtual-host", "s3.localhost")
        url = f"http://s3.localhost:{server.port}"
        self.assertEqual(self.good("get", "far", "k", AWS_ENDPOINT_URL_S3=url,
                                   AWS_REGION="eu-central-1", PROBE_VIRTUAL_HOST="1"), b"far away")
        self.assertEqual(server.log()[-1]["target"], "/k")


del S3Case

if __name__ == "__main__":
    common.main()
