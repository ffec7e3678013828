#!/usr/bin/python3
"""What only s3.py does: each fault, tampering, clocks, regions, tokens, control, restarts.

Each fault is tried for what it does and for its end: the request after it must be right.
"""

import contextlib
import email.utils
import hashlib
import http.client
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import s3_fault  # noqa: E402
from s3_client import HERE, Emulator, fields  # noqa: E402

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CONTENT = bytes(range(256)) * 64


class Case(unittest.TestCase):
    options = ()

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.start()

    def start(self, *options, keys=None):
        self.emulator = Emulator(self.folder, "--bucket", "weights", *self.options, *options,
                                 keys=keys)
        self.addCleanup(self.stop)
        self.client = self.emulator.client()

    def stop(self):
        if self.emulator is None:
            return None
        self.client.close()
        code, self.emulator = self.emulator.stop(), None
        return code

    def put(self, key="k", body=CONTENT, headers=()):
        return self.client.request("PUT", "/weights/" + key, headers=headers, body=body)

    def get(self, key="k", *headers, method="GET"):
        return self.client.request(method, "/weights/" + key, headers=headers)

    def file(self, key):
        return os.path.join(self.emulator.root, "weights", key)

    def fault(self, kind, **rule):
        return self.emulator.control("POST", "fault", {"kind": kind, **rule})

    def refused(self, answer, status, code):
        self.assertEqual((answer.status, fields(answer.body, "Code")), (status, [code]),
                         answer.body)

    def good(self):
        """The next answer is right again, on a new connection if need be."""
        self.client.close()
        answer = self.get()
        self.assertEqual((answer.status, answer.body), (200, CONTENT))


class TestFaults(Case):
    def setUp(self):
        super().setUp()
        self.put()
        self.half = ("Range", "bytes=100-199")

    def test_status(self):
        for status, code in ((503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")):
            self.fault("status", status=status)
            self.refused(self.get(), status, code)
            self.good()
        self.fault("status", code="ExpiredToken")
        self.refused(self.get(), 400, "ExpiredToken")
        self.fault("status", status=418, code="Teapot", message="<short & stout>")
        self.assertEqual(fields(self.get().body, "Message"), ["<short & stout>"])
        self.good()

    def test_skew_by_fault(self):
        self.fault("status", code="RequestTimeTooSkewed", date_offset_s=3600)
        answer = self.get()
        self.refused(answer, 403, "RequestTimeTooSkewed")
        date = email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp()
        self.assertAlmostEqual(date - time.time(), 3600, delta=30)
        self.good()

    def test_match_skip_times(self):
        self.put("other")
        self.fault("status", match=r"^GET /weights/k$", skip=1, times=2)
        self.assertEqual(self.get("other").status, 200)
        self.assertEqual([self.get().status for _ in range(4)], [200, 500, 500, 200])
        self.assertEqual(self.put().status, 200)
        self.assertEqual(self.emulator.control("GET", "fault")[0]["hits"], 2)
        self.fault("status", times=-1)
        self.assertEqual([self.get().status for _ in range(3)], [500] * 3)
        self.emulator.control("DELETE", "fault")
        self.good()

    def test_unsigned_requests_use_no_fault(self):
        self.fault("body", body="<ok/>")
        answer = self.client.raw("GET", "/weights/k", [("Host", self.client.host)])
        self.refused(answer, 403, "AccessDenied")
        self.assertEqual(self.get().body, b"<ok/>")
        self.good()

    def test_after(self):
        self.fault("status", match="PUT", when="after")
        self.refused(self.put("new"), 500, "InternalError")
        self.assertEqual(self.get("new").body, CONTENT)
        self.refused(self.put("new", headers=[("If-None-Match", "*")]), 412, "PreconditionFailed")
        self.fault("status", match="PUT", when="before")
        self.refused(self.put("newer"), 500, "InternalError")
        self.assertEqual(self.get("newer").status, 404)
        self.fault("reset", match="PUT", when="after")
        with self.assertRaises(OSError):
            self.put("newest")
        self.client.close()
        self.assertEqual(self.get("newest").body, CONTENT)

    def incomplete(self, *headers):
        with self.assertRaises(http.client.IncompleteRead) as caught:
            self.get("k", *headers)
        return caught.exception.partial

    def test_cut(self):
        self.fault("cut")
        self.assertEqual(self.incomplete(), CONTENT[:len(CONTENT) // 2])
        self.good()
        self.fault("cut", bytes=7)
        self.assertEqual(self.incomplete(self.half), CONTENT[100:107])
        self.good()
        self.fault("cut", match="list-type", bytes=20)
        with self.assertRaises(http.client.IncompleteRead):
            self.client.request("GET", "/weights", "list-type=2")
        self.good()

    def test_reset(self):
        self.fault("reset")
        with self.assertRaises(ConnectionResetError):
            self.get()
        self.good()
        # Reading after the reset loses what was received before it, or not.
        self.fault("reset", bytes=5)
        with self.assertRaises((ConnectionResetError, http.client.IncompleteRead)):
            self.get()
        self.good()

    def test_stall(self):
        self.fault("stall", bytes=10)
        self.client.close()
        self.client.connection.timeout = 0.5
        with self.assertRaises(TimeoutError):
            self.get()
        self.client.close()
        self.client.connection.timeout = 60
        self.good()
        self.fault("stall", bytes=10, ms=50)
        self.assertEqual(self.incomplete(), CONTENT[:10])
        self.good()

    def test_slow_and_drip(self):
        for kind, rule in (("slow", {"ms": 300}), ("drip", {"bytes_per_s": len(CONTENT) * 3})):
            self.fault(kind, **rule)
            began = time.monotonic()
            self.assertEqual(self.get().body, CONTENT)
            self.assertGreater(time.monotonic() - began, 0.25)
            self.good()

    def test_flip(self):
        self.fault("flip")
        middle = len(CONTENT) // 2
        self.assertEqual(self.get().body, CONTENT[:middle] + bytes([CONTENT[middle] ^ 1])
                         + CONTENT[middle + 1:])
        for offset in (0, 99):
            self.fault("flip", offset=offset)
            got = self.get("k", self.half).body
            self.assertEqual([i for i in range(100) if got[i] != CONTENT[100 + i]], [offset])
        self.good()

    def test_content_range(self):
        self.fault("content-range")
        answer = self.get("k", self.half)
        self.assertEqual((answer.status, answer.body, answer.headers["content-range"]),
                         (206, CONTENT[100:200], f"bytes 101-200/{len(CONTENT)}"))
        self.good()

    def test_full(self):
        self.fault("full")
        answer = self.get("k", self.half)
        self.assertEqual((answer.status, answer.body), (200, CONTENT))
        self.assertNotIn("content-range", answer.headers)
        self.assertEqual(self.get("k", self.half).status, 206)

    def test_short(self):
        self.fault("short", bytes=30)
        answer = self.get("k", self.half)
        self.assertEqual((answer.status, answer.body, answer.headers["content-range"]),
                         (206, CONTENT[100:130], f"bytes 100-129/{len(CONTENT)}"))
        self.assertEqual(len(self.get("k", self.half).body), 100)

    def test_etag(self):
        etag = self.get().headers["etag"]
        self.fault("etag")
        answer = self.get("k", ("If-Match", etag))
        self.assertEqual((answer.status, answer.headers["etag"]), (200, '"' + "0" * 32 + '"'))
        self.fault("etag", value="mine")
        self.assertEqual(self.get().headers["etag"], '"mine"')
        self.fault("headers", set={"ETag": None, "X-More": "yes"})
        answer = self.get()
        self.assertNotIn("etag", answer.headers)
        self.assertEqual(answer.headers["x-more"], "yes")
        self.good()

    def test_redirect(self):
        self.fault("redirect", region="eu-west-1")
        answer = self.get()
        self.refused(answer, 301, "PermanentRedirect")
        self.assertEqual(answer.headers["x-amz-bucket-region"], "eu-west-1")
        self.fault("redirect", region="eu-west-1", status=307, header=False)
        answer = self.get()
        self.refused(answer, 307, "TemporaryRedirect")
        self.assertNotIn("x-amz-bucket-region", answer.headers)
        self.assertEqual(fields(answer.body, "Region"), ["eu-west-1"])
        self.good()

    def test_complete_says_200_then_error(self):
        def upload():
            answer = self.client.request("POST", "/weights/multi", "uploads=")
            upload_id = urllib.parse.quote(fields(answer.body, "UploadId")[0], safe="")
            etag = self.client.request("PUT", "/weights/multi",
                                       f"partNumber=1&uploadId={upload_id}", body=CONTENT
                                       ).headers["etag"]
            return lambda: self.client.request(
                "POST", "/weights/multi", f"uploadId={upload_id}", body=(
                    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + etag
                    + "</ETag></Part></CompleteMultipartUpload>").encode())

        complete = upload()
        self.fault("ok-error", match="^POST .*uploadId")
        answer = complete()
        self.refused(answer, 200, "InternalError")
        self.assertEqual(self.get("multi").status, 404)
        self.assertEqual(fields(complete().body, "Code"), [])
        self.assertEqual(self.get("multi").body, CONTENT)
        self.client.request("DELETE", "/weights/multi")
        complete = upload()
        self.fault("ok-error", match="^POST .*uploadId", when="after")
        self.refused(complete(), 200, "InternalError")
        self.assertEqual(self.get("multi").body, CONTENT)

    def test_bad_faults_are_refused(self):
        for rule in ({"kind": "nonsense"}, {}, {"kind": "slow"}, {"kind": "cut", "byte": 1}, [1],
                     {"kind": "status", "when": "later"}, {"kind": "cut", "match": "("},
                     {"kind": "reset", "when": "after", "bytes": 1}):
            with self.assertRaises(ValueError):
                self.emulator.control("POST", "fault", rule)
        self.assertEqual(self.emulator.control("GET", "fault"), [])


class TestTampering(Case):
    def test_change_gives_a_new_etag(self):
        etag = self.put().headers["etag"]
        with open(self.file("k"), "r+b") as file:
            file.write(b"X")
        answer = self.get()
        self.assertEqual(answer.body, b"X" + CONTENT[1:])
        self.assertNotEqual(answer.headers["etag"], etag)
        self.refused(self.get("k", ("If-Match", etag)), 412, "PreconditionFailed")
        with open(self.file("k"), "ab") as file:
            file.truncate(10)
        self.assertEqual(self.get().headers["content-length"], "10")

    def test_forgery_under_the_old_etag(self):
        etag = self.put().headers["etag"]
        info = os.stat(self.file("k"))
        with open(self.file("k"), "r+b") as file:
            file.write(b"X")
        os.utime(self.file("k"), ns=(info.st_mtime_ns, info.st_mtime_ns))
        self.assertEqual(self.get("k", ("If-Match", etag)).body, b"X" + CONTENT[1:])

    def test_file_put_by_hand_and_removed(self):
        os.makedirs(self.file("deep"))
        with open(self.file("deep/file"), "wb") as file:
            file.write(b"by hand")
        self.assertEqual(self.get("deep/file").body, b"by hand")
        self.assertEqual(self.client.list("weights")[0], ["deep/file"])
        os.unlink(self.file("deep/file"))
        self.refused(self.get("deep/file"), 404, "NoSuchKey")

    def test_path_control(self):
        self.put("plain")
        self.put("a//b")

        def path(key):
            return self.emulator.control(
                "GET", "path?" + urllib.parse.urlencode({"bucket": "weights", "key": key}))["path"]

        self.assertEqual(path("plain"), self.file("plain"))
        with open(path("a//b"), "rb") as file:
            self.assertEqual(file.read(), CONTENT)
        self.assertIsNone(path("none"))

    def test_keys_cannot_leave_the_root(self):
        for key in ("..%2F..%2Fout", "../../out", "%2Fetc%2Fpasswd", ".", "x/%00/y"):
            self.assertEqual(self.put(key).status, 200)
            self.assertEqual(self.get(key).body, CONTENT)
        self.assertEqual(sorted(os.listdir(self.folder)), ["credentials.json", "root"])
        for bucket in ("..", ".s3emu", "A", "a_b", "ab"):
            self.assertEqual(self.client.request("GET", f"/{bucket}/x").status, 404)
            self.assertEqual(self.client.request("PUT", "/" + bucket).status, 400)

    def test_uris(self):
        for target in ("/weights/%zz", "/weights/%f", "/weights/%FF%FE", "/%FF/k"):
            self.refused(self.client.request("GET", target), 400, "InvalidURI")
        self.refused(self.put("x" * 1025), 400, "KeyTooLongError")
        self.refused(self.client.request("GET", "/weights/k", "acl="), 501, "NotImplemented")
        self.refused(self.client.request("GET", "/weights/k", "versionId=1"), 501,
                     "NotImplemented")
        self.refused(self.put(headers=[("x-amz-copy-source", "/weights/x")]), 501,
                     "NotImplemented")


class TestTokensAndClock(Case):
    def token(self, token="t0ken+/=", expires=None, **more):
        self.emulator.set_keys({"ASIATEMPORARY": {"secret": SECRET, "token": token,
                                                  "expires": expires}, **more})
        self.client.close()
        self.client = self.emulator.client()

    def test_session_token(self):
        self.token()
        self.assertEqual(self.put().status, 200)
        self.client.key = (SECRET, "wrong")
        self.refused(self.get(), 400, "InvalidToken")
        self.client.key = (SECRET, None)
        self.refused(self.get(), 403, "InvalidAccessKeyId")

    def test_expired_and_rotated(self):
        self.token(expires="2020-01-01T00:00:00Z")
        self.refused(self.get(), 400, "ExpiredToken")
        self.assertEqual(self.get(method="HEAD").status, 400)
        self.token(expires="2999-01-01T00:00:00Z")
        self.assertEqual(self.put().status, 200)
        self.client.key = (SECRET, None)
        self.client.key_id = KEY_ID
        self.refused(self.get(), 403, "InvalidAccessKeyId")

    def test_clock(self):
        self.put()
        self.emulator.control("POST", "settings", {"clock_offset_s": 7200})
        answer = self.get()
        self.refused(answer, 403, "RequestTimeTooSkewed")
        now = email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp()
        self.assertAlmostEqual(now - time.time(), 7200, delta=30)
        self.assertEqual(self.client.request("GET", "/weights/k", now=now).body, CONTENT)

    def test_unsigned_header(self):
        answer = self.client.request("GET", "/weights/k", edit=lambda headers: headers
                                     + [("x-amz-expected-bucket-owner", "1")])
        self.refused(answer, 403, "AccessDenied")
        self.assertEqual(fields(answer.body, "HeadersNotSigned"), ["x-amz-expected-bucket-owner"])

    def test_expected_owner(self):
        name = "x-amz-expected-bucket-owner"
        self.put()
        self.assertEqual(self.get("k", (name, "123456789012")).status, 200)
        self.refused(self.get("k", (name, "000000000000")), 403, "AccessDenied")

    def test_checksums(self):
        self.assertEqual(self.put(headers=[("x-amz-checksum-crc32", "AAAAAA==")]).status, 400)
        self.refused(self.put(headers=[("x-amz-checksum-crc32c", "AAAAAA==")]), 501,
                     "NotImplemented")
        self.assertEqual(self.get().status, 404)


class TestRegions(Case):
    options = ("--region", "eu-central-1", "--bucket", "far-away=ap-south-1")

    def test_wrong_region(self):
        answer = self.put()
        self.refused(answer, 400, "AuthorizationHeaderMalformed")
        self.assertEqual(fields(answer.body, "Region"), ["eu-central-1"])
        self.assertEqual(answer.headers["x-amz-bucket-region"], "eu-central-1")
        head = self.client.request("HEAD", "/far-away")
        self.assertEqual((head.status, head.headers["x-amz-bucket-region"], head.body),
                         (400, "ap-south-1", b""))
        self.client.region = "eu-central-1"
        self.assertEqual(self.put().status, 200)
        self.client.region = "ap-south-1"
        self.assertEqual(self.client.request("PUT", "/far-away/k", body=b"x").status, 200)
        answer = self.client.request("GET", "/far-away", "location=")
        self.assertIn(b">ap-south-1<", answer.body)

    def test_redirect(self):
        self.stop()
        self.start("--wrong-region", "redirect")
        answer = self.client.request("GET", "/far-away/k")
        self.refused(answer, 301, "PermanentRedirect")
        self.assertEqual(answer.headers["x-amz-bucket-region"], "ap-south-1")
        self.client.key = ("wrong", None)
        self.refused(self.client.request("GET", "/far-away/k"), 403, "SignatureDoesNotMatch")


class TestServer(Case):
    def test_log_is_in_order_of_arrival(self):
        log, early, late = s3_fault.Log(), *({"time": at, "bytes": 0, "received": 0, "status": 200,
                                              "method": "PUT"} for at in (1, 2))
        for step, entry in ((log.begin, early), (log.begin, late), (log.end, late), (log.end, early)):
            step(entry)
        self.assertEqual([entry["time"] for entry in log.entries()], [1, 2])

    options = ("--page-size", "3", "--virtual-host", "s3.localhost")

    def test_page_size_and_tokens(self):
        for i in range(8):
            self.put(f"page/{i}")
        keys, _, pages = self.client.list("weights")
        self.assertEqual((len(keys), pages), (8, 3))
        answer = self.client.request("GET", "/weights", "list-type=2")
        token = fields(answer.body, "NextContinuationToken")[0]
        self.assertTrue(set("+/=") <= set(token))
        for bad in ("nonsense", token[:-4], token[:20] + "AAAA" + token[24:]):
            query = "continuation-token=" + urllib.parse.quote(bad, safe="") + "&list-type=2"
            self.refused(self.client.request("GET", "/weights", query), 400, "InvalidArgument")
        # An unencoded + is a space, so the token is another one.
        raw = "continuation-token=" + token + "&list-type=2"
        self.assertEqual(self.client.request("GET", "/weights", raw).status, 400)

    def test_virtual_host(self):
        self.put()
        self.client.host = "weights.s3.localhost:1234"
        answer = self.client.request("GET", "/k")
        self.assertEqual(answer.body, CONTENT)
        self.assertEqual(self.client.list("")[0], ["k"])
        self.fault("status", match="^GET /weights/k$")
        self.refused(self.client.request("GET", "/k"), 500, "InternalError")
        self.client.host = "nothing.s3.localhost:1234"
        self.refused(self.client.request("GET", "/k"), 404, "NoSuchBucket")

    def test_log_and_stats(self):
        self.put()
        self.get("k", ("Range", "bytes=0-9"))
        self.get("none")
        log = self.emulator.control("GET", "log")
        self.assertEqual([(entry["method"], entry["bucket"], entry["key"], entry["range"],
                           entry["status"], entry["code"], entry["connection"] > 0)
                          for entry in log],
                         [("PUT", "weights", "k", None, 200, None, True),
                          ("GET", "weights", "k", "bytes=0-9", 206, None, True),
                          ("GET", "weights", "none", None, 404, "NoSuchKey", True)])
        self.assertEqual((log[0]["received"], log[1]["bytes"]), (len(CONTENT), 10))
        stats = self.emulator.control("GET", "stats")
        self.assertEqual((stats["requests"], stats["by_method"], stats["in_flight"]),
                         (3, {"PUT": 1, "GET": 2}, 0))
        self.emulator.control("DELETE", "log")
        self.assertEqual(self.emulator.control("GET", "log"), [])
        for name, value in (("nothing", 1), ("latency_ms", "1"), ("latency_ms", True)):
            with self.assertRaises(ValueError):
                self.emulator.control("POST", "settings", {name: value})
        with self.assertRaises(ValueError):
            self.emulator.control("GET", "nothing")

    def test_latency_and_rate(self):
        self.put()
        self.emulator.control("POST", "settings", {"latency_ms": 100,
                                                   "rate_bytes_per_s": len(CONTENT) * 5})
        began = time.monotonic()
        self.assertEqual(self.get().body, CONTENT)
        self.assertGreater(time.monotonic() - began, 0.25)

    def test_restart_keeps_objects(self):
        etag = self.put("x/y", headers=[("x-amz-meta-a", "b")]).headers["etag"]
        self.put("a//b")
        self.assertEqual(self.stop(), 0)
        self.start()
        answer = self.get("x/y")
        self.assertEqual((answer.body, answer.headers["etag"], answer.headers["x-amz-meta-a"]),
                         (CONTENT, etag, "b"))
        self.assertEqual(self.client.list("weights")[0], ["a//b", "x/y"])

    def test_replaced_while_read(self):
        """An answer is of one version, however the object changes meanwhile."""
        big = [bytes([i]) * 300_000 for i in range(2)]
        self.put("swap", big[0])
        done = threading.Event()

        def writer():
            client = self.emulator.client()
            with contextlib.closing(client):
                for i in range(40):
                    client.request("PUT", "/weights/swap", body=big[i % 2])
            done.set()

        thread = threading.Thread(target=writer)
        thread.start()
        while not done.is_set():
            answer = self.get("swap")
            self.assertIn(answer.body, big)
            self.assertEqual(answer.headers["etag"],
                             f'"{hashlib.md5(answer.body).hexdigest()}"')
        thread.join()

    def test_body_ends_early(self):
        """A PUT whose connection breaks leaves no object."""
        signed = self.client.sign("PUT", "/weights/torn", payload=CONTENT)
        address = urllib.parse.urlsplit(self.emulator.endpoint)
        with socket.create_connection((address.hostname, address.port)) as stream:
            head = "".join(f"{name}: {value}\r\n" for name, value in signed)
            stream.sendall(f"PUT /weights/torn HTTP/1.1\r\n{head}Content-Length: "
                           f"{len(CONTENT)}\r\n\r\n".encode() + CONTENT[:100])
        deadline = time.monotonic() + 60
        while not (log := self.emulator.control("GET", "log")) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertEqual([entry["status"] for entry in log], [0])
        self.assertEqual(self.get("torn").status, 404)
        self.assertEqual(os.listdir(os.path.join(self.emulator.root, ".s3emu", "tmp")), [])

    def test_expect_continue(self):
        """The body is asked for only when the headers are good."""
        for key, first in ((self.client.key, b"HTTP/1.1 100 "), (("bad", None), b"HTTP/1.1 403 ")):
            self.client.key = key
            signed = self.client.sign("PUT", "/weights/expect", payload=CONTENT)
            address = urllib.parse.urlsplit(self.emulator.endpoint)
            with socket.create_connection((address.hostname, address.port)) as stream:
                head = "".join(f"{name}: {value}\r\n" for name, value in signed)
                stream.sendall(f"PUT /weights/expect HTTP/1.1\r\n{head}Expect: 100-continue\r\n"
                               f"Content-Length: {len(CONTENT)}\r\n\r\n".encode())
                self.assertTrue(stream.recv(65536).startswith(first))
                if first.startswith(b"HTTP/1.1 100"):
                    stream.sendall(CONTENT)
                    self.assertTrue(stream.recv(65536).startswith(b"HTTP/1.1 200 "))

    def test_bodies_of_unknown_length(self):
        signed = self.client.sign("PUT", "/weights/k", payload=b"x")
        answer = self.client.raw("PUT", "/weights/k", signed + [("Transfer-Encoding", "chunked"),
                                                                ("Content-Length", "0")])
        self.refused(answer, 501, "NotImplemented")

    def test_start_fails(self):
        for options in (["--credentials", "/nonexistent"], ["--bucket", "_"]):
            with self.subTest(options):
                done = subprocess.run(
                    ["/usr/bin/python3", os.path.join(HERE, "s3.py"), "--root",
                     os.path.join(self.folder, "other"), "--credentials",
                     self.emulator.credentials, *options], capture_output=True, text=True,
                    timeout=120, check=False)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn("cannot start", done.stderr)

    def test_no_way_around_signatures(self):
        done = subprocess.run(["/usr/bin/python3", os.path.join(HERE, "s3.py"), "--no-auth"],
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 2)


class TestTls(Case):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.cert = os.path.join(self.folder, "cert.pem")
        key = os.path.join(self.folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-days", "2",
                        "-keyout", key, "-out", self.cert], check=True, capture_output=True)
        self.options = ("--tls", self.cert, key)
        self.emulator = Emulator(self.folder, "--bucket", "weights", *self.options)
        self.client = self.emulator.client(tls=ssl.create_default_context(cafile=self.cert))
        self.addCleanup(self.stop)

    def test_round_trip(self):
        content = os.urandom(3_000_000)
        self.assertEqual(self.put(body=content).status, 200)
        self.assertEqual(self.get().body, content)
        self.assertEqual(self.get("k", ("Range", "bytes=1000000-1999999")).body,
                         content[1_000_000:2_000_000])

    def test_unknown_authority(self):
        client = self.emulator.client(tls=ssl.create_default_context())
        with self.assertRaises(ssl.SSLCertVerificationError):
            client.request("GET", "/weights/k")


if __name__ == "__main__":
    unittest.main()
