#!/usr/bin/python3
"""fs/net against S3: every way in which a server or a network goes wrong has a case here.

Drives net_probe (tests/unit/fs/net), which is s3.h as a command. Faults come from tests/emu/s3.py,
from servers here that do not even speak HTTP, and from Ceph RGW as a second opinion on what is
right. net_keys.py has credentials and KMS.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402

PROBE = os.path.join(common.BUILD, "tests", "unit", "fs", "net", "net_probe")
BUCKET = common.BUCKET
ODD_KEYS = ("plain", "a/b/c", "with space", "plus+and=and&", "100%", "ünïcödé/模型", "q?#[]",
            "<xml>&\"'", "dots/../up", "./here", "double//slash", "tilde~", "star*'()!$,:@;",
            "trailing/", "back\\slash", "tab\there", "x" * 1024)


class NetCase(common.Case):
    """probe() runs net_probe and keeps raw bytes."""

    ENDPOINT = None  # set by classes with a server of their own

    def probe(self, *argv, data=None, **env):
        extra = {"PROBE_STALL_MS": "2000"}
        if self.ENDPOINT:
            extra["AWS_ENDPOINT_URL_S3"] = self.ENDPOINT
        settings = {**self.lab.env("owner", extra=extra), **env}
        settings = {name: value for name, value in settings.items() if value is not None}
        started = time.monotonic()
        done = subprocess.run([PROBE, *argv], env=settings, input=data or b"", timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.took_s = time.monotonic() - started
        self.out = done.stdout
        return common.Result(done.returncode, done.stdout.decode(errors="replace"),
                             done.stderr.decode(errors="replace"))

    def good(self, *argv, **env):
        """Runs a probe that must succeed; returns its bytes."""
        result = self.probe(*argv, **env)
        self.assertEqual(result.code, 0, result.err)
        return self.out

    def bad(self, errno_name, *argv, words=(), **env):
        """Runs a probe that must fail with this errno; returns its message. No byte may come out."""
        result = self.probe(*argv, **env)
        self.assertTrue(result.err.startswith(errno_name + ":"), result.err + result.out)
        self.assertNotEqual(result.code, 0)
        self.assertEqual(result.out, "")
        for word in words:
            self.assertIn(word, result.err)
        return result.err


class S3Case(NetCase):
    """With an emulator, an object "big" and the calls that it saw."""

    PARTS = ("s3",)
    SIZE = 3 << 20

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = common.model_bytes(cls.SIZE, seed=7)
        cls.write("big", cls.data)
        cls.write("small", b"small object\n")
        cls.file = cls.lab.path("upload")
        with open(cls.file, "wb") as out:
            out.write(cls.data)

    @classmethod
    def write(cls, key, data):
        path = cls.lab.s3.file(key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)

    def setUp(self):
        self.s3 = self.lab.s3
        self.s3.ask("DELETE", "fault")
        self.forget()

    def forget(self):
        """Starts a new log. Requests that the server still holds open stay in it, so their time
        decides."""
        self.s3.clear_log()
        self.since = time.time()

    def seen(self, method=None):
        return [entry for entry in self.s3.log()
                if method in (None, entry["method"]) and entry["time"] >= self.since]

    def once(self, **fields):
        """A fault that spoils one request (or times=N)."""
        self.s3.ask("POST", "fault", {"times": 1, **fields})

    def range(self, offset=1000, size=100000, etag="-", **env):
        self.assertEqual(self.good("range", BUCKET, "big", etag, str(offset), str(size), **env),
                         self.data[offset:offset + size])

    def bad_range(self, errno_name, *words, offset=1000, size=100000, etag="-", **env):
        return self.bad(errno_name, "range", BUCKET, "big", etag, str(offset), str(size),
                        words=words, **env)


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
                self.range()
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
                result = self.bad_range(errno_name, "s3://weights/big", *words, **short)
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
            self.bad_range("ETIMEDOUT", "SlowDown", PROBE_DEADLINE_MS="1500")
            self.assertLess(self.took_s, 3)
        with self.s3.fault(kind="slow", ms=60000):
            self.bad_range("ETIMEDOUT", PROBE_DEADLINE_MS="1500", PROBE_STALL_MS="60000")
            self.assertLess(self.took_s, 4)

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
                ("twice", page.format(2 * item.format("p/a")), "repeats"),
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
            started = time.monotonic()
            _, err = process.communicate(b"x", timeout=60)
            self.assertLess(time.monotonic() - started, 3)
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


class RawServer:
    """Answers each connection's first request with these bytes."""

    def __init__(self, answer):
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.requests = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(20)
                    self.requests.append(connection.recv(65536))
                    connection.sendall(self.answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()


class Wire(NetCase):
    """Below S3: no server, no HTTP, TLS, proxies."""

    def get(self, url, errno_name, *words, **env):
        return self.bad(errno_name, "get", BUCKET, "k", words=words, AWS_ENDPOINT_URL_S3=url,
                        **env)

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        result = self.probe("get", BUCKET, "k", AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port}",
                            PROBE_ATTEMPTS="3")
        self.assertTrue(result.err.startswith("ECONNREFUSED:"), result.err)
        self.assertEqual(result.code, common.UNREACHABLE)
        self.assertIn(f"127.0.0.1:{port}", result.err)
        self.get("http://no-such-host.invalid", "EHOSTUNREACH", "no-such-host.invalid",
                 PROBE_ATTEMPTS="2")

    def test_a_connection_that_is_never_accepted(self):
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect(("127.0.0.1", port))
            self.get(f"http://127.0.0.1:{port}", "ETIMEDOUT", PROBE_ATTEMPTS="1")
            for one in waiting:
                one.close()

    def test_not_http(self):
        many = b"".join(b"X-%d: y\r\n" % number for number in range(100))
        ok = b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\n"
        for name, answer, pattern in (
                ("ssh", b"SSH-2.0-OpenSSH_9\r\n", "EREMOTEIO"),
                ("http/0.9", b"<html>hello</html>", "EREMOTEIO"),
                ("nothing", b"", "ECONNRESET"),
                ("half a header", b"HTTP/1.1 200 O", "ECONNRESET|EREMOTEIO"),
                ("no status", b"HTTP/1.1 \r\n\r\n", "EREMOTEIO"),
                ("status 99", b"HTTP/1.1 99 x\r\n\r\n", "EREMOTEIO"),
                ("too many headers", ok + many + b"\r\n", "EREMOTEIO"),
                ("a huge header", ok + b"A: " + b"x" * 90000 + b"\r\n\r\n", "EREMOTEIO"),
                ("no colon", ok + b"nonsense\r\n\r\n", "EREMOTEIO"),
                ("negative length", ok + b"Content-Length: -5\r\n\r\n", "EREMOTEIO|ECONNRESET"),
                ("length of words", ok + b"Content-Length: ten\r\n\r\n", "EREMOTEIO|ECONNRESET"),
                ("huge length", ok + b"Content-Length: 99999999999999\r\n\r\nx", "EREMOTEIO"),
                ("body too short", ok + b"Content-Length: 10\r\n\r\nabc", "ECONNRESET"),
                ("bad chunk", ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
                 "EREMOTEIO|ECONNRESET"),
                ("compressed", ok + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
                 "EREMOTEIO"),
                ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "EREMOTEIO")):
            with self.subTest(name), RawServer(answer) as server:
                result = self.probe("get", BUCKET, "k", AWS_ENDPOINT_URL_S3=server.url,
                                    PROBE_ATTEMPTS="2")
                self.assertRegex(result.err, f"^({pattern}):")
                self.assertIn("s3://weights/k", result.err)

    def test_redirects_are_not_followed(self):
        with RawServer(b"") as target:
            answer = (b"HTTP/1.1 302 Found\r\nLocation: " + target.url.encode()
                      + b"/stolen\r\nContent-Length: 0\r\n\r\n")
            with RawServer(answer) as server:
                self.get(server.url, "EREMOTEIO", "302")
                self.assertEqual(len(server.requests), 1)
            self.assertEqual(target.requests, [])

    def certificate(self, name, alternative):
        key, cert = self.lab.path(name + ".key"), self.lab.path(name + ".pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                        "-out", cert, "-days", "2", "-subj", "/CN=" + name, "-addext",
                        "subjectAltName=" + alternative], check=True, capture_output=True)
        return cert, key

    def test_tls(self):
        cert, key = self.certificate("right", "IP:127.0.0.1")
        wrong_cert, wrong_key = self.certificate("wrong", "DNS:elsewhere.example.com")
        root = self.lab.path("tls", make=True)
        for pair, bundle, works in (((cert, key), cert, True), ((cert, key), None, False),
                                    ((cert, key), wrong_cert, False),
                                    ((wrong_cert, wrong_key), wrong_cert, False)):
            server = common.Emulator(self.lab, "s3tls", "s3.py", "--root", root, "--credentials",
                                     self.lab.credentials, "--bucket", BUCKET, "--tls", *pair)
            try:
                with open(os.path.join(root, BUCKET, "k"), "wb") as out:
                    out.write(b"over TLS")
                url = f"https://127.0.0.1:{server.port}"
                for variable in ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE") if works else ("AWS_CA_BUNDLE",):
                    env = {"AWS_ENDPOINT_URL_S3": url, variable: bundle}
                    if works:
                        self.assertEqual(self.good("get", BUCKET, "k", **env), b"over TLS")
                    else:
                        self.bad("EIO", "get", BUCKET, "k", words=("AWS_CA_BUNDLE",), **env)
                        self.assertLess(self.took_s, 5)
            finally:
                server.stop()
        with RawServer(b"HTTP/1.1 200 OK\r\n\r\n") as plain:
            self.get(plain.url.replace("http:", "https:"), "EIO")

    def test_proxies(self):
        with RawServer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as proxy:
            self.get("http://s3.example.invalid", "ENOENT", http_proxy=proxy.url)
            self.assertTrue(proxy.requests[0].startswith(b"GET http://s3.example.invalid/weights/"))
            self.get("http://s3.example.invalid", "EHOSTUNREACH", http_proxy=proxy.url,
                     no_proxy="s3.example.invalid", PROBE_ATTEMPTS="1")
            self.assertEqual(len(proxy.requests), 1)


@unittest.skipUnless(shutil.which("radosgw"), "radosgw is not installed: tests/emu/rgw install")
class Rgw(NetCase):
    """The same client against a server that was not written by us."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dir = tempfile.mkdtemp(prefix="rgw.", dir=cls.lab.dir)
        script = os.path.join(common.EMU, "rgw")
        cls.addClassCleanup(subprocess.run, [script, "stop", cls.dir], check=False)
        subprocess.run([script, "start", cls.dir], check=True, stdout=subprocess.DEVNULL)
        cls.ENDPOINT = common.read_text(os.path.join(cls.dir, "endpoint")).strip()
        subprocess.run(["/usr/bin/python3", os.path.join(common.EMU, "s3_client.py"), cls.ENDPOINT,
                        os.path.join(cls.dir, "credentials.json"), "mb", BUCKET], check=True)

    def probe(self, *argv, data=None, **env):
        with open(os.path.join(self.dir, "credentials.json"), encoding="utf-8") as source:
            (key_id, entry), = json.load(source).items()
        return super().probe(*argv, data=data, **{
            "AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": entry["secret"], **env})

    def test_operations(self):
        path = common.make_model(self.lab.path("rgw-model"), 12 << 20, seed=3)
        data = common.model_bytes(12 << 20, seed=3)
        keys = [key for key in ODD_KEYS if ".." not in key and "./" not in key]
        for key in keys:
            with self.subTest(key=key[:40]):
                self.good("put", BUCKET, "odd/" + key[:1000], path + ".small"
                          if os.path.exists(path + ".small") else self.small(path))
                self.assertEqual(self.good("get", BUCKET, "odd/" + key[:1000]), b"tiny")
        lines = self.good("list", BUCKET, "odd/").decode().splitlines()
        self.assertEqual(sorted(line.split(" ", 3)[3] for line in lines),
                         sorted("odd/" + key[:1000] for key in keys))
        self.good("multipart", BUCKET, "model", path, str(5 << 20))
        etag = self.good("head", BUCKET, "model").split()[2].decode()
        self.assertEqual(self.good("range", BUCKET, "model", etag, "5000000", "3000000"),
                         data[5000000:8000000])
        self.bad("ESTALE", "range", BUCKET, "model", "\"other\"", "0", "1")
        self.bad("ENODATA", "range", BUCKET, "model", "-", str(12 << 20), "1")
        self.bad("EEXIST", "put", BUCKET, "model", path, "create")
        self.bad("EKEYREJECTED", "get", BUCKET, "model", AWS_SECRET_ACCESS_KEY="wrong")
        self.bad("ENOENT", "get", BUCKET, "absent")
        self.good("delete", BUCKET, "model")
        self.bad("ENOENT", "head", BUCKET, "model")

    @staticmethod
    def small(path):
        with open(path + ".small", "wb") as out:
            out.write(b"tiny")
        return path + ".small"


if __name__ == "__main__":
    common.main()
