#!/usr/bin/python3
"""What every S3 server must do for us, tried on s3.py or, with S3_ENDPOINT set, on another.

    tests/emu/test_s3.py                                          on s3.py
    S3_ENDPOINT=URL S3_CREDENTIALS=FILE tests/emu/test_s3.py      on Ceph RGW, say

Where RGW 16 differs from AWS, s3.py follows AWS and the test says so and is skipped. What
only s3.py can do (faults, tampering, control) is in test_s3_emu.py.
"""

import base64
import hashlib
import json
import os
import secrets
import sys
import tempfile
import unittest
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sigv4  # noqa: E402
from s3_client import Client, Emulator, fields, quote  # noqa: E402

ENDPOINT = os.environ.get("S3_ENDPOINT")
PART_BYTES = 5 << 20


def not_rgw(reason):
    return unittest.skipIf(ENDPOINT, "RGW 16: " + reason)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.emulator = None
        if ENDPOINT:
            with open(os.environ["S3_CREDENTIALS"], encoding="utf-8") as file:
                keys = {key_id: (entry["secret"], entry.get("token"))
                        for key_id, entry in json.load(file).items()}
            cls.client = Client(ENDPOINT, keys)
        else:
            folder = tempfile.TemporaryDirectory()
            cls.addClassCleanup(folder.cleanup)
            cls.emulator = Emulator(folder.name)
            cls.addClassCleanup(cls.emulator.stop)
            cls.client = cls.emulator.client()
        cls.addClassCleanup(cls.client.close)
        cls.bucket = "test-" + secrets.token_hex(6)
        assert cls.client.request("PUT", "/" + cls.bucket).status == 200

    def path(self, key):
        return f"/{self.bucket}/{quote(key)}"

    def put(self, key, body, headers=(), **options):
        return self.client.request("PUT", self.path(key), headers=headers, body=body, **options)

    def get(self, key, *headers, method="GET"):
        return self.client.request(method, self.path(key), headers=headers)

    def refused(self, answer, status, code):
        self.assertEqual((answer.status, fields(answer.body, "Code")), (status, [code]),
                         answer.body)


class TestObjects(Case):
    def test_round_trip(self):
        answer = self.put("round", b"content", [("x-amz-meta-note", "a  b"),
                                                ("Content-Type", "text/plain")])
        self.assertEqual(answer.status, 200)
        etag = answer.headers["etag"]
        self.assertEqual(etag, f'"{hashlib.md5(b"content").hexdigest()}"')
        answer = self.get("round")
        self.assertEqual((answer.status, answer.body, answer.headers["etag"],
                          answer.headers["content-type"], answer.headers["content-length"]),
                         (200, b"content", etag, "text/plain", "7"))
        self.assertEqual(answer.headers["accept-ranges"], "bytes")
        head = self.get("round", method="HEAD")
        self.assertEqual((head.status, head.body, head.headers["content-length"],
                          head.headers["etag"]), (200, b"", "7", etag))
        self.assertEqual(self.client.request("DELETE", self.path("round")).status, 204)
        self.refused(self.get("round"), 404, "NoSuchKey")
        self.assertEqual(self.get("round", method="HEAD").status, 404)
        self.assertEqual(self.client.request("DELETE", self.path("round")).status, 204)

    def test_empty_object(self):
        self.assertEqual(self.put("empty", b"").status, 200)
        answer = self.get("empty")
        self.assertEqual((answer.status, answer.body, answer.headers["content-length"]),
                         (200, b"", "0"))
        self.refused(self.get("empty", ("Range", "bytes=0-0")), 416, "InvalidRange")

    def test_large_object(self):
        content = os.urandom(3_000_017)
        self.assertEqual(self.put("large", content).status, 200)
        self.assertEqual(self.get("large").body, content)

    def test_ranges(self):
        content = bytes(range(256)) * 40
        size = len(content)
        self.put("ranges", content)
        for given, first, last in (("0-0", 0, 0), ("0-9", 0, 9), ("100-", 100, size - 1),
                                   ("-7", size - 7, size - 1), ("5000-999999", 5000, size - 1),
                                   ("-999999", 0, size - 1), (f"{size - 1}-", size - 1, size - 1)):
            with self.subTest(given):
                answer = self.get("ranges", ("Range", "bytes=" + given))
                self.assertEqual(answer.status, 206)
                self.assertEqual(answer.body, content[first:last + 1])
                self.assertEqual(answer.headers["content-range"], f"bytes {first}-{last}/{size}")
                self.assertEqual(answer.headers["content-length"], str(last - first + 1))
        for given in (f"{size}-", f"{size}-{size + 5}", "999999-"):
            with self.subTest(given):
                self.refused(self.get("ranges", ("Range", "bytes=" + given)), 416, "InvalidRange")

    @not_rgw("answers these in its own ways")
    def test_ranges_that_are_ignored_or_empty(self):
        self.put("ranges", b"0123456789")
        self.refused(self.get("ranges", ("Range", "bytes=-0")), 416, "InvalidRange")
        for given in ("bytes=5-2", "bytes=0-1,3-4", "bytes=-", "chars=0-1", "bytes=a-b"):
            answer = self.get("ranges", ("Range", given))
            self.assertEqual((answer.status, answer.body), (200, b"0123456789"), given)
        head = self.get("ranges", ("Range", "bytes=2-4"), method="HEAD")
        self.assertEqual((head.status, head.headers["content-range"]), (206, "bytes 2-4/10"))

    def test_conditional_read(self):
        etag = self.put("cond", b"one").headers["etag"]
        self.assertEqual(self.get("cond", ("If-Match", etag)).body, b"one")
        self.assertEqual(self.get("cond", ("If-Match", etag), ("Range", "bytes=1-1")).status, 206)
        self.refused(self.get("cond", ("If-Match", '"0123"')), 412, "PreconditionFailed")
        self.refused(self.get("cond", ("If-Match", '"0123"'), ("Range", "bytes=0-1")), 412,
                     "PreconditionFailed")
        self.assertEqual(self.get("cond", ("If-None-Match", etag)).status, 304)
        self.assertEqual(self.get("cond", ("If-None-Match", '"0123"')).status, 200)
        self.put("cond", b"two")
        self.refused(self.get("cond", ("If-Match", etag)), 412, "PreconditionFailed")

    def test_conditional_write(self):
        self.assertEqual(self.put("once", b"1", [("If-None-Match", "*")]).status, 200)
        self.refused(self.put("once", b"2", [("If-None-Match", "*")]), 412, "PreconditionFailed")
        self.assertEqual(self.get("once").body, b"1")
        self.refused(self.put("once", b"3", [("If-Match", '"0123"')]), 412, "PreconditionFailed")
        self.assertEqual(self.get("once").body, b"1")

    @not_rgw("If-Match on a write never holds")
    def test_conditional_replacement(self):
        self.refused(self.put("same", b"1", [("If-Match", '"0123"')]), 404, "NoSuchKey")
        etag = self.put("same", b"1").headers["etag"]
        self.assertEqual(self.put("same", b"2", [("If-Match", etag)]).status, 200)
        self.refused(self.put("same", b"3", [("If-Match", etag)]), 412, "PreconditionFailed")
        self.refused(self.put("same", b"4", [("If-None-Match", etag)]), 501, "NotImplemented")
        self.assertEqual(self.get("same").body, b"2")

    def test_body_is_checked(self):
        name = "x-amz-content-sha256"
        wrong = hashlib.sha256(b"other").hexdigest()
        self.refused(self.put("hash", b"body", [(name, wrong)], payload=wrong), 400,
                     "XAmzContentSHA256Mismatch")
        self.assertEqual(self.get("hash").status, 404)
        self.assertEqual(self.put("hash", b"body", payload=sigv4.UNSIGNED).status, 200)
        md5 = base64.b64encode(hashlib.md5(b"body").digest()).decode()
        self.assertEqual(self.put("hash", b"body", [("Content-MD5", md5)]).status, 200)
        self.refused(self.put("hash", b"BODY", [("Content-MD5", md5)]), 400, "BadDigest")
        self.assertEqual(self.get("hash").body, b"body")

    def test_odd_keys(self):
        for key in ("a", "a/b", "a b", "a+b", "a=b&c?d#e%f", "é/日本", "tail/", "a//b", "a/../b",
                    "./x", "~-_.", "'\"<>&!*():@,;$", "x" * 400, "q/" + "y" * 300):
            with self.subTest(key):
                self.assertEqual(self.put(key, key.encode()).status, 200)
                self.assertEqual(self.get(key).body, key.encode())
        keys, _, _ = self.client.list(self.bucket)
        self.assertEqual(keys, sorted(keys, key=str.encode))
        for key in ("a", "a/b", "tail/", "a//b", "a/../b"):
            self.assertIn(key, keys)
            self.client.request("DELETE", self.path(key))
            self.assertEqual(self.get(key).status, 404)

    def test_missing_bucket(self):
        answer = self.client.request("GET", "/no-such-bucket-here/key")
        self.refused(answer, 404, "NoSuchBucket")
        self.assertEqual(self.client.request("HEAD", "/no-such-bucket-here").status, 404)
        self.assertEqual(self.client.request("HEAD", "/" + self.bucket).status, 200)


class TestListing(Case):
    KEYS = ["a/1", "a/2", "a/b/3", "a b", "a&<b>\"", "b", "c/1", "é"]

    def setUp(self):
        for key in self.KEYS:
            self.put(key, b"12345")

    def test_all(self):
        keys, prefixes, pages = self.client.list(self.bucket)
        self.assertEqual((keys, prefixes, pages), (sorted(self.KEYS, key=str.encode), [], 1))

    def test_pages(self):
        for size in (1, 2, 3, 8):
            keys, _, pages = self.client.list(self.bucket, max_keys=size)
            self.assertEqual(keys, sorted(self.KEYS, key=str.encode))
            self.assertEqual(pages, -(-len(keys) // size))

    def test_prefix_and_delimiter(self):
        self.assertEqual(self.client.list(self.bucket, prefix="a/")[0], ["a/1", "a/2", "a/b/3"])
        for size in (1, 2, 1000):
            keys, prefixes, _ = self.client.list(self.bucket, delimiter="/", max_keys=size)
            self.assertEqual((keys, prefixes), (["a b", "a&<b>\"", "b", "é"], ["a/", "c/"]))
            keys, prefixes, _ = self.client.list(self.bucket, delimiter="/", prefix="a/",
                                                 max_keys=size)
            self.assertEqual((keys, prefixes), (["a/1", "a/2"], ["a/b/"]))
        self.assertEqual(self.client.list(self.bucket, prefix="nothing"), ([], [], 1))

    def test_start_after(self):
        self.assertEqual(self.client.list(self.bucket, start_after="a/2")[0],
                         ["a/b/3", "b", "c/1", "é"])

    def test_url_encoding(self):
        keys, _, _ = self.client.list(self.bucket, encoding_type="url")
        self.assertEqual([urllib.parse.unquote_plus(key) for key in keys],
                         sorted(self.KEYS, key=str.encode))

    def test_fields(self):
        answer = self.client.request("GET", "/" + self.bucket, "list-type=2&prefix=b")
        self.assertEqual(fields(answer.body, "Size"), ["5"])
        self.assertEqual(fields(answer.body, "ETag"), [f'"{hashlib.md5(b"12345").hexdigest()}"'])
        self.assertEqual(fields(answer.body, "KeyCount"), ["1"])
        self.assertEqual(fields(answer.body, "IsTruncated"), ["false"])


class TestMultipart(Case):
    def create(self, key):
        answer = self.client.request("POST", self.path(key), "uploads=")
        self.assertEqual(answer.status, 200)
        return urllib.parse.quote(fields(answer.body, "UploadId")[0], safe="-_.~")

    def part(self, key, upload, number, body):
        return self.client.request("PUT", self.path(key), f"partNumber={number}&uploadId={upload}",
                                   body=body)

    def complete(self, key, upload, parts, headers=()):
        body = "<CompleteMultipartUpload>" + "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in parts) + "</CompleteMultipartUpload>"
        return self.client.request("POST", self.path(key), f"uploadId={upload}", headers,
                                   body.encode())

    def test_complete(self):
        upload = self.create("multi")
        bodies = [os.urandom(PART_BYTES), os.urandom(PART_BYTES + 1), b"the end"]
        parts = [(number, self.part("multi", upload, number, body).headers["etag"])
                 for number, body in zip((2, 1, 9), (bodies[1], bodies[0], bodies[2]))]
        self.assertEqual(self.get("multi").status, 404)
        listed = self.client.request("GET", "/" + self.bucket, "uploads=")
        self.assertEqual(fields(listed.body, "Key"), ["multi"])
        listed = self.client.request("GET", self.path("multi"), f"uploadId={upload}")
        self.assertEqual(fields(listed.body, "PartNumber"), ["1", "2", "9"])
        answer = self.complete("multi", upload, sorted(parts))
        self.assertEqual(answer.status, 200)
        self.assertNotIn(b"<Error>", answer.body)
        whole = self.get("multi")
        self.assertEqual(whole.body, b"".join(bodies))
        digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
        self.assertEqual(whole.headers["etag"], f'"{digest}-3"')
        self.refused(self.part("multi", upload, 3, b"late"), 404, "NoSuchUpload")
        listed = self.client.request("GET", "/" + self.bucket, "uploads=")
        self.assertEqual(fields(listed.body, "Key"), [])

    def test_abort(self):
        upload = self.create("gone")
        self.part("gone", upload, 1, b"x")
        self.assertEqual(self.client.request("DELETE", self.path("gone"),
                                             f"uploadId={upload}").status, 204)
        self.refused(self.part("gone", upload, 1, b"x"), 404, "NoSuchUpload")
        self.assertEqual(self.get("gone").status, 404)

    def test_refusals(self):
        upload = self.create("bad")
        small = self.part("bad", upload, 1, b"small").headers["etag"]
        last = self.part("bad", upload, 2, b"last").headers["etag"]
        self.refused(self.complete("bad", upload, [(1, small), (2, last)]), 400, "EntityTooSmall")
        self.refused(self.complete("bad", upload, [(1, '"' + "0" * 32 + '"')]), 400,
                     "InvalidPart")
        self.refused(self.complete("bad", upload, [(5, last)]), 400, "InvalidPart")
        self.refused(self.complete("bad", upload, []), 400, "MalformedXML")
        wrong = hashlib.sha256(b"other").hexdigest()
        self.refused(self.client.request(
            "PUT", self.path("bad"), f"partNumber=3&uploadId={upload}",
            [("x-amz-content-sha256", wrong)], b"body", payload=wrong), 400,
            "XAmzContentSHA256Mismatch")
        self.assertEqual(self.get("bad").status, 404)

    @not_rgw("checks these later, otherwise or not at all")
    def test_refusals_of_aws(self):
        upload = self.create("gone")
        self.client.request("DELETE", self.path("gone"), f"uploadId={upload}")
        self.refused(self.complete("gone", upload, [(1, '"x"')]), 404, "NoSuchUpload")
        upload = self.create("aws")
        etags = [self.part("aws", upload, number, b"x").headers["etag"] for number in (1, 2)]
        for parts in ([(2, etags[1]), (1, etags[0])], [(1, etags[0]), (1, etags[0])]):
            self.refused(self.complete("aws", upload, parts), 400, "InvalidPartOrder")
        for body in (b"<x/>", b"not xml", b"<CompleteMultipartUpload><Part/>"
                     b"</CompleteMultipartUpload>"):
            self.refused(self.client.request("POST", self.path("aws"), f"uploadId={upload}",
                                             body=body), 400, "MalformedXML")
        for number in ("0", "10001", "x"):
            self.refused(self.part("aws", upload, number, b"x"), 400, "InvalidArgument")
        etag = self.part("aws", upload, 1, b"x").headers["etag"]
        self.put("aws", b"first")
        self.refused(self.complete("aws", upload, [(1, etag)], [("If-None-Match", "*")]), 412,
                     "PreconditionFailed")
        self.assertEqual(self.get("aws").body, b"first")
        # Parts that are not listed are dropped.
        self.assertEqual(self.complete("aws", upload, [(2, etags[1])]).status, 200)
        self.assertEqual(self.get("aws").body, b"x")
        answer = self.client.request("POST", self.path("aws"), "uploads=",
                                     [("If-None-Match", "*")])
        self.refused(answer, 501, "NotImplemented")


class TestSignatures(Case):
    """test_sigv4.py has every rule; here, that the server asks for each request."""

    def setUp(self):
        self.put("signed", b"secret")

    def test_unsigned(self):
        host = [("Host", self.client.host)]
        for method, path, query in (
                ("GET", self.path("signed"), ""), ("HEAD", self.path("signed"), ""),
                ("PUT", self.path("signed"), ""), ("DELETE", self.path("signed"), ""),
                ("GET", "/" + self.bucket, "?list-type=2"),
                ("POST", self.path("signed"), "?uploads="), ("PUT", "/" + self.bucket, ""),
                ("DELETE", "/" + self.bucket, "")):
            with self.subTest(method + path + query):
                answer = self.client.raw(method, path + query, host)
                self.assertEqual(answer.status, 403)
                if method != "HEAD":
                    self.refused(answer, 403, "AccessDenied")
        self.assertEqual(self.get("signed").body, b"secret")

    def edited(self, name, old, new):
        return self.client.request(
            "GET", self.path("signed"), headers=[("Range", "bytes=0-1")],
            edit=lambda headers: [(key, value.replace(old, new) if key.lower() == name else value)
                                  for key, value in headers])

    def test_wrong_signature(self):
        self.refused(self.edited("range", "0-1", "0-2"), 403, "SignatureDoesNotMatch")
        self.refused(self.edited("authorization", self.client.key_id, "AKIANOBODY"), 403,
                     "InvalidAccessKeyId")
        secret, self.client.key = self.client.key, ("wrong", None)
        try:
            self.refused(self.get("signed"), 403, "SignatureDoesNotMatch")
            self.refused(self.put("signed", b"x"), 403, "SignatureDoesNotMatch")
        finally:
            self.client.key = secret
        self.assertEqual(self.get("signed").body, b"secret")

    def test_old_and_future_requests(self):
        for now in (1_000_000_000, 4_000_000_000):
            answer = self.client.request("GET", self.path("signed"), now=now)
            self.refused(answer, 403, "RequestTimeTooSkewed")

    def test_presigned(self):
        def url(expires_s, now=None, key=None):
            return self.path("signed") + "?" + sigv4.presign(
                "GET", self.path("signed"), "", host, sigv4.UNSIGNED, self.client.key_id,
                key or self.client.key, self.client.region, "s3", expires_s, now)

        host = [("Host", self.client.host)]
        answer = self.client.raw("GET", url(60), host)
        self.assertEqual((answer.status, answer.body), (200, b"secret"))
        self.refused(self.client.raw("GET", url(60, 1_000_000_000), host), 403, "AccessDenied")
        self.refused(self.client.raw("GET", url(60, key=("wrong", None)), host), 403,
                     "SignatureDoesNotMatch")
        answer = self.client.raw("GET", url(60).replace("/signed?", "/other?"), host)
        self.refused(answer, 403, "SignatureDoesNotMatch")


class TestBoto3(Case):
    """The whole life of some objects with AWS's own client."""

    def setUp(self):
        try:
            import boto3
            import botocore.config
        except ImportError:
            self.skipTest("python3-boto3 is not installed")
        self.s3 = boto3.client(
            "s3", endpoint_url=self.client.endpoint.geturl(), region_name="us-east-1",
            aws_access_key_id=self.client.key_id, aws_secret_access_key=self.client.key[0],
            config=botocore.config.Config(s3={"addressing_style": "path"},
                                          retries={"max_attempts": 1}))
        self.addCleanup(self.s3.close)

    def test_objects(self):
        for key in ("b/plain", "b/a b+c=d&e", "b/é%2F", "b/a//c", "b/a/../d"):
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=key.encode())
            got = self.s3.get_object(Bucket=self.bucket, Key=key, Range="bytes=1-")
            self.assertEqual(got["Body"].read(), key.encode()[1:])
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix="b/", PaginationConfig={"PageSize": 2})
        keys = [entry["Key"] for page in pages for entry in page["Contents"]]
        self.assertEqual(keys, sorted(["b/plain", "b/a b+c=d&e", "b/é%2F", "b/a//c", "b/a/../d"]))
        with self.assertRaises(self.s3.exceptions.NoSuchKey):
            self.s3.get_object(Bucket=self.bucket, Key="b/none")

    def test_managed_upload(self):
        content = os.urandom(2 * PART_BYTES + 12345)
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            from boto3.s3.transfer import TransferConfig
            self.s3.upload_file(file.name, self.bucket, "c/managed", Config=TransferConfig(
                multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES))
        got = self.s3.get_object(Bucket=self.bucket, Key="c/managed")
        self.assertEqual(got["Body"].read(), content)
        self.assertTrue(got["ETag"].endswith('-3"'))


if __name__ == "__main__":
    unittest.main()
