#!/usr/bin/python3
"""What options and settings change about a request to S3: headers, host and signature, as a server
sees them."""

import base64
import hashlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
import common_net  # noqa: E402
from common_net import BUCKET, RawServer  # noqa: E402

STORED = b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
FOUND = (b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n"
         b"Content-Length: 2\r\nConnection: close\r\n\r\nhi")


def headers(request):
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


class Requests(common_net.NetCase):
    def setUp(self):
        self.file = self.lab.path("body")
        with open(self.file, "wb") as out:
            out.write(b"what is uploaded")

    def put(self, **env):
        with RawServer(STORED) as server:
            self.good("put", BUCKET, "k", self.file, AWS_ENDPOINT_URL_S3=server.url, **env)
            return headers(server.requests[0])

    def get(self, **env):
        with RawServer(FOUND) as server:
            self.assertEqual(self.good("get", BUCKET, "k", AWS_ENDPOINT_URL_S3=server.url, **env),
                             b"hi")
            return headers(server.requests[0])

    def test_md5_of_every_upload(self):
        """Object Lock wants it; and it is signed."""
        want = base64.b64encode(hashlib.md5(b"what is uploaded").digest()).decode()
        seen = self.put()
        self.assertEqual(seen["content-md5"], want)
        self.assertIn("content-md5", seen["authorization"])
        self.assertNotIn("content-md5", self.get())

    def test_encryption_at_rest(self):
        kind, key = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"
        arn = "arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
        for value, want in (("AES256", ("AES256", None)), ("aws:kms", ("aws:kms", None)),
                            ("aws:kms:" + arn, ("aws:kms", arn)), ("aws:kms:dsse", ("aws:kms:dsse", None)),
                            ("aws:kms:dsse:alias/x", ("aws:kms:dsse", "alias/x"))):
            with self.subTest(value):
                seen = self.put(PROBE_SSE=value)
                self.assertEqual((seen[kind], seen.get(key)), want)
        self.assertNotIn(kind, self.put())
        self.assertNotIn(kind, self.get(PROBE_SSE="AES256"))
        for value in ("aes256", "AES256:x", "aws:kms:", "aws:kms:a b", "aws:kmsx"):
            self.bad("EINVAL", "put", BUCKET, "k", self.file, PROBE_SSE=value, words=("sse",))
        result = self.lab.sealctl("seal", self.file, "s3://weights/x/", "--sse", "nonsense",
                                  "--key-file", self.lab.key_file())
        self.assert_result(result, common.USAGE, "nonsense")

    def test_requester_pays(self):
        for seen in (self.put(PROBE_REQUEST_PAYER="1"), self.get(PROBE_REQUEST_PAYER="1")):
            self.assertEqual(seen["x-amz-request-payer"], "requester")
            self.assertIn("x-amz-request-payer", seen["authorization"])
        self.assertNotIn("x-amz-request-payer", self.get())

    def test_without_credentials(self):
        nobody = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        seen = self.get(PROBE_ANONYMOUS="1", **nobody)
        self.assertFalse({"authorization", "x-amz-security-token", "x-amz-date"} & set(seen), seen)
        # Also where there are some.
        self.assertNotIn("authorization", self.get(PROBE_ANONYMOUS="1"))
        self.bad("EINVAL", "get", BUCKET, "k", AWS_ENDPOINT_URL_S3="http://127.0.0.1:1",
                 words=("no AWS credentials",), **nobody)
        with RawServer(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as server:
            self.bad("EACCES", "get", BUCKET, "k", AWS_ENDPOINT_URL_S3=server.url,
                     PROBE_ANONYMOUS="1", **nobody)
            self.assertEqual(len(server.requests), 1)

    def test_regions_of_other_servers(self):
        for region in ("RegionOne", "GRA", "Default", "eu_west", "kr-naver-dev"):
            self.assertIn(f"/{region}/s3/aws4_request", self.get(AWS_REGION=region)["authorization"])
        for region in ("RegionOne", "GRA"):
            self.bad("EINVAL", "get", BUCKET, "k", AWS_REGION=region, words=(region,))
        for region in ("a.b", "x/y", "a b"):
            self.bad("EINVAL", "get", BUCKET, "k", AWS_REGION=region,
                     AWS_ENDPOINT_URL_S3="http://127.0.0.1:1", words=("not an AWS region",))

    def host(self, bucket, **env):
        result = self.probe("get", bucket, "k", PROBE_ATTEMPTS="1", **env)
        self.assertNotEqual(result.code, common.OK)
        return result.err

    def test_no_region(self):
        """S3 then asks us-east-1, which knows where each bucket is; KMS has nobody to ask."""
        self.assertIn("weights.s3.us-east-1.amazonaws.com", self.host(BUCKET, AWS_REGION=None))
        self.bad("EINVAL", "kms-encrypt", "alias/x", "ab" * 32, "ab" * 32, AWS_REGION=None,
                 words=("no AWS region",))

    def test_directory_buckets_and_access_points(self):
        self.assertIn("w--usw2-az1--x-s3.s3express-usw2-az1.us-west-2.amazonaws.com", self.host(
            "w--usw2-az1--x-s3", AWS_REGION="us-west-2"))
        arn = "arn:aws:s3:us-west-2:111122223333:accesspoint"
        self.assertIn("prod-111122223333.s3-accesspoint.us-west-2.amazonaws.com", self.host(
            arn + "/prod", AWS_REGION="eu-west-1"))
        for wrong in (arn, arn + "/a.b", arn + "/prod/x", arn.replace("aws", "aws-cn") + "/prod",
                      arn.replace("us-west-2", "") + "/prod", "arn:aws:s3:::weights"):
            self.bad("EINVAL", "get", wrong, "k", words=("alias", "access point"))

    def test_access_point_request(self):
        """Signed as S3's, for the ARN's region; the key has no bucket in front."""
        arn = "arn:aws:s3:us-west-2:111122223333:accesspoint/prod"
        with RawServer(FOUND) as server:
            local = server.url.replace("127.0.0.1", "localhost")
            self.assertEqual(self.good("get", arn, "a/k", AWS_ENDPOINT_URL_S3=local,
                                       AWS_REGION="eu-west-1"), b"hi")
            request = server.requests[0]
        seen = headers(request)
        self.assertTrue(request.startswith(b"GET /a/k HTTP/1.1\r\n"), request)
        self.assertTrue(seen["host"].startswith("prod-111122223333.localhost:"), seen)
        self.assertIn("/us-west-2/s3/aws4_request", seen["authorization"])
        self.bad("EINVAL", "get", arn, "k", AWS_ENDPOINT_URL_S3="http://127.0.0.1:1",
                 words=("host name",))



if __name__ == "__main__":
    common.main()
