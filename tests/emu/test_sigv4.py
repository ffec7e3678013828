#!/usr/bin/python3
"""Tests of sigv4.py: AWS's 38 vectors in both forms, S3's published examples, and one
case for each reason to refuse a request. Nothing here uses the network."""

import json
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import sigv4  # noqa: E402

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors" / "sigv4"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW = sigv4.parse_iso_time("2013-05-24T00:00:00Z")


def parse_request(data):
    """(method, path, query, headers, body) of a raw request with LF line ends."""
    head, _, body = data.partition(b"\n\n")
    lines = head.split(b"\n")
    method, _, rest = lines[0].partition(b" ")
    target = rest.rpartition(b" ")[0]
    path, _, query = target.partition(b"?")
    headers = []
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            headers[-1] = (headers[-1][0], headers[-1][1] + b" " + line)
        elif line:
            name, _, value = line.partition(b":")
            headers.append((name.decode(), value))
    return method.decode(), path, query, headers, body


class Vector:
    def __init__(self, folder):
        self.folder = folder
        self.context = json.loads((folder / "context.json").read_text())
        self.now = sigv4.parse_iso_time(self.context["timestamp"])
        keys = self.context["credentials"]
        self.key_id = keys["access_key_id"]
        self.key = (keys["secret_access_key"], keys.get("token"))
        self.omits_token = self.context.get("omit_session_token", False)

    def text(self, name):
        return (self.folder / name).read_text(encoding="utf-8").rstrip("\n")

    def request(self, name):
        return parse_request((self.folder / name).read_bytes())

    def verify(self, name, **changes):
        method, path, query, headers, body = self.request(name)
        arguments = {"now": self.now, "region": self.context["region"],
                     "normalize": self.context["normalize"], **changes}
        return sigv4.verify(method, path, query, headers, body, {self.key_id: self.key},
                            self.context["service"], **arguments)


class TestVectors(unittest.TestCase):
    """Each test walks all 38 cases; an omitted token is refused since it is not signed."""

    def vectors(self):
        folders = sorted(path.parent for path in VECTORS.glob("*/context.json"))
        self.assertEqual(len(folders), 38)
        return [Vector(folder) for folder in folders]

    def test_header_form_is_accepted(self):
        for vector in self.vectors():
            with self.subTest(vector.folder.name):
                if vector.omits_token:
                    with self.assertRaisesRegex(sigv4.SigV4Error, "not signed"):
                        vector.verify("header-signed-request.txt")
                else:
                    self.assertEqual(vector.verify("header-signed-request.txt"), vector.key_id)

    def test_query_form_is_accepted(self):
        for vector in self.vectors():
            with self.subTest(vector.folder.name):
                if vector.omits_token:
                    with self.assertRaisesRegex(sigv4.SigV4Error, "InvalidSignatureException"):
                        vector.verify("query-signed-request.txt")
                else:
                    self.assertEqual(vector.verify("query-signed-request.txt"), vector.key_id)

    def test_intermediate_results(self):
        for vector in self.vectors():
            with self.subTest(vector.folder.name):
                for form in ("header", "query"):
                    request = vector.text(form + "-canonical-request.txt")
                    scope = (vector.context["timestamp"][:10].replace("-", ""),
                             vector.context["region"], vector.context["service"], "aws4_request")
                    text = sigv4.string_to_sign("20150830T123600Z", scope, request.encode())
                    self.assertEqual(text, vector.text(form + "-string-to-sign.txt"))
                    self.assertEqual(sigv4.signature(vector.key[0], scope, text),
                                     vector.text(form + "-signature.txt"))
                    _, path, *_ = vector.request("request.txt")
                    self.assertEqual(request.split("\n")[1],
                                     sigv4.canonical_path(path, vector.context["normalize"]))

    def test_signer(self):
        for vector in self.vectors():
            with self.subTest(vector.folder.name):
                method, path, query, headers, body = vector.request("request.txt")
                if vector.context["sign_body"]:
                    headers.append(("x-amz-content-sha256", vector.text(
                        "header-canonical-request.txt").rsplit("\n", 1)[1]))
                key = (vector.key[0], None) if vector.omits_token else vector.key
                signed = sigv4.sign(method, path, query, headers, body, vector.key_id, key,
                                    vector.context["region"], vector.context["service"], vector.now,
                                    normalize=vector.context["normalize"])
                self.assertTrue(signed[-1][1].endswith(vector.text("header-signature.txt")))

    def test_changes_are_refused(self):
        for vector in self.vectors():
            with self.subTest(vector.folder.name):
                if vector.omits_token:
                    continue  # refused as it is, see above
                wrong = {vector.key_id: (vector.key[0] + "x", vector.key[1])}
                method, path, query, headers, body = vector.request("header-signed-request.txt")
                for change in ({"method": "DELETE"}, {"path": path + b"x"},
                               {"query": query + b"&x"}, {"body": body + b"x"}, {"credentials": wrong},
                               {"headers": [(name, value + b"x" if name == "Host" else value)
                                            for name, value in headers]}):
                    request = {"method": method, "path": path, "query": query, "headers": headers,
                               "body": body, "credentials": {vector.key_id: vector.key}, **change}
                    with self.assertRaisesRegex(sigv4.SigV4Error, "InvalidSignatureException"):
                        sigv4.verify(*request.values(), vector.context["service"], vector.now,
                                     normalize=vector.context["normalize"])


class TestS3(unittest.TestCase):
    """S3's published examples (AWS, "Authenticating Requests: Using the Authorization
    Header"), and every refusal."""

    def setUp(self):
        self.keys = {KEY_ID: (SECRET, None)}
        self.host = ("Host", "examplebucket.s3.amazonaws.com")

    def signature(self, method, path, query, headers, body):
        signed = sigv4.sign(method, path, query, [self.host] + headers, body, KEY_ID,
                            self.keys[KEY_ID], "us-east-1", "s3", NOW)
        self.assertEqual(sigv4.verify(method, path, query, signed, body, self.keys, "s3", NOW,
                                      region="us-east-1"), KEY_ID)
        return signed[-1][1].rsplit("=", 1)[1]

    def test_published_examples(self):
        self.assertEqual(
            self.signature("GET", "/test.txt", "", [("Range", "bytes=0-9")], b""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
        self.assertEqual(
            self.signature("PUT", "/test%24file.text", "",
                           [("Date", "Fri, 24 May 2013 00:00:00 GMT"),
                            ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
                           b"Welcome to Amazon S3."),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
        self.assertEqual(self.signature("GET", "/", "lifecycle=", [], b""),
                         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
        self.assertEqual(self.signature("GET", "/", "max-keys=2&prefix=J", [], b""),
                         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")

    def presigned(self, **changes):
        query = sigv4.presign("GET", "/test.txt", "", [self.host], sigv4.UNSIGNED, KEY_ID,
                              self.keys[KEY_ID], "us-east-1", "s3", 86400, NOW)
        request = {"path": "/test.txt", "query": query, "headers": [self.host], "now": NOW,
                   **changes}
        return query, lambda: sigv4.verify("GET", request["path"], request["query"],
                                           request["headers"], b"", self.keys, "s3",
                                           request["now"], region="us-east-1")

    def test_presigned(self):
        query, verify = self.presigned()
        self.assertTrue(query.endswith(
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"))
        self.assertEqual(verify(), KEY_ID)
        self.refused("AccessDenied", self.presigned(now=NOW + 86401)[1])
        self.refused("AccessDenied", self.presigned(now=NOW - 3600)[1])
        self.refused("SignatureDoesNotMatch", self.presigned(path="/other.txt")[1])
        self.refused("SignatureDoesNotMatch", self.presigned(
            query=query.replace("86400", "86401"))[1])
        self.refused("AuthorizationQueryParametersError", self.presigned(
            query=query.replace("X-Amz-Expires=86400", "X-Amz-Expires=604801"))[1])
        self.refused("AuthorizationQueryParametersError", self.presigned(
            query=query.replace("X-Amz-Date", "X-Amz-Dato"))[1])
        self.refused("AuthorizationQueryParametersError", self.presigned(
            query=query + "&X-Amz-Date=20130524T000000Z")[1])
        self.refused("AccessDenied", self.presigned(
            headers=[self.host, ("x-amz-request-payer", "requester")])[1])
        self.refused("InvalidArgument", self.presigned(
            headers=[self.host, ("Authorization", "AWS4-HMAC-SHA256 x")])[1])

    def refused(self, code, call):
        with self.assertRaises(sigv4.SigV4Error) as caught:
            call()
        self.assertEqual(caught.exception.code, code, caught.exception.message)
        return caught.exception

    def request(self, *, method="GET", path="/k", query="", headers=(), body=b"", keys=None,
                service="s3", now=NOW, sign_as=None, edit=None, region="us-east-1"):
        """A call that verifies a request signed as sign_as says and then edited."""
        signer = {"key_id": KEY_ID, "key": self.keys[KEY_ID], "region": "us-east-1",
                  "service": service, "now": NOW, "payload": body, **(sign_as or {})}
        signed = sigv4.sign(method, path, query, [self.host] + list(headers), signer["payload"],
                            signer["key_id"], signer["key"], signer["region"],
                            signer["service"], signer["now"])
        if edit:
            signed = edit(signed)
        return lambda: sigv4.verify(method, path, query, signed, body, keys or self.keys, service,
                                    now, region=region)

    @staticmethod
    def replace(name, old, new):
        """An edit of one header's value."""
        return lambda headers: [(key, value.replace(old, new) if key.lower() == name else value)
                                for key, value in headers]

    def test_refusals(self):
        def drop(name):
            return lambda headers: [pair for pair in headers if pair[0].lower() != name]

        def add(name, value):
            return lambda headers: headers + [(name, value)]

        auth = "authorization"
        temporary = {KEY_ID: (SECRET, "token")}
        cases = [
            ("AccessDenied", "MissingAuthenticationTokenException", {"edit": drop(auth)}),
            ("AuthorizationHeaderMalformed", "IncompleteSignatureException",
             {"edit": self.replace(auth, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")}),
            ("AuthorizationHeaderMalformed", "IncompleteSignatureException",
             {"edit": self.replace(auth, "Signature=", "Sig=")}),
            ("AuthorizationHeaderMalformed", "IncompleteSignatureException",
             {"edit": self.replace(auth, "/us-east-1", "")}),
            ("AuthorizationHeaderMalformed", "InvalidSignatureException",
             {"edit": self.replace(auth, "aws4_request", "aws4")}),
            ("AuthorizationHeaderMalformed", "InvalidSignatureException",
             {"edit": self.replace(auth, "/20130524/", "/20130523/")}),
            ("AuthorizationHeaderMalformed", "InvalidSignatureException",
             {"sign_as": {"service": "other"}, "headers": [("x-amz-content-sha256",
                                                            sigv4.EMPTY_SHA256)]}),
            ("AuthorizationHeaderMalformed", "InvalidSignatureException",
             {"sign_as": {"region": "eu-west-1"}}),
            ("AuthorizationHeaderMalformed", "IncompleteSignatureException",
             {"edit": self.replace(auth, "host;", "Host;")}),
            ("InvalidAccessKeyId", "UnrecognizedClientException",
             {"sign_as": {"key_id": "AKIAUNKNOWN"}}),
            ("InvalidAccessKeyId", "UnrecognizedClientException", {"keys": temporary}),
            ("InvalidToken", "UnrecognizedClientException",
             {"keys": temporary, "sign_as": {"key": (SECRET, "other")}}),
            ("InvalidToken", "UnrecognizedClientException",
             {"sign_as": {"key": (SECRET, "needless")}}),
            ("ExpiredToken", "ExpiredTokenException",
             {"keys": {KEY_ID: (SECRET, "token", NOW)}, "sign_as": {"key": (SECRET, "token")}}),
            ("AccessDenied", "InvalidSignatureException", {"edit": add("x-amz-acl", "private")}),
            ("SignatureDoesNotMatch", "InvalidSignatureException",
             {"headers": [("If-Match", '"a"')], "edit": drop("if-match")}),
            ("AccessDenied", "IncompleteSignatureException", {"edit": drop("x-amz-date")}),
            ("AccessDenied", "IncompleteSignatureException",
             {"edit": lambda headers: self.replace("x-amz-date", "T000000Z", "T00:00")(headers)}),
            ("RequestTimeTooSkewed", "InvalidSignatureException", {"now": NOW + 901}),
            ("RequestTimeTooSkewed", "InvalidSignatureException", {"now": NOW - 901}),
            ("SignatureDoesNotMatch", "InvalidSignatureException",
             {"keys": {KEY_ID: (SECRET + "x", None)}}),
            ("SignatureDoesNotMatch", "InvalidSignatureException",
             {"headers": [("Range", "bytes=0-9")], "edit": self.replace("range", "0-9", "0-8")}),
        ]
        for s3_code, json_code, arguments in cases:
            for service, code in (("s3", s3_code), ("kms", json_code)):
                with self.subTest(code=code, arguments=str(arguments)):
                    error = self.refused(code, self.request(service=service, **arguments))
                    self.assertTrue(error.message)

    def test_json_services_are_stricter_about_time(self):
        self.assertEqual(self.request(now=NOW + 600)(), KEY_ID)
        self.refused("InvalidSignatureException", self.request(now=NOW + 600, service="kms"))

    def test_payload_hash(self):
        name = "x-amz-content-sha256"
        self.refused("InvalidRequest", self.request(edit=lambda headers: self.replace(
            "authorization", ";" + name, "")([pair for pair in headers if pair[0] != name])))
        self.refused("XAmzContentSHA256Mismatch", self.request(
            method="PUT", body=b"body", headers=[(name, sigv4.EMPTY_SHA256)]))
        self.refused("InvalidArgument", self.request(headers=[(name, "E" * 64)]))
        self.refused("NotImplemented", self.request(
            headers=[(name, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]))
        self.assertEqual(self.request(sign_as={"payload": sigv4.UNSIGNED}, body=b"any")(), KEY_ID)
        self.refused("InvalidSignatureException", self.request(
            body=b"body", service="kms", headers=[(name, sigv4.UNSIGNED)]))

    def test_wrong_region_is_named(self):
        error = self.refused("AuthorizationHeaderMalformed", self.request(
            sign_as={"region": "us-east-1"}, region="eu-west-1"))
        self.assertEqual(error.detail, {"Region": "eu-west-1"})
        self.assertEqual(error.status, 400)

    def test_path_as_sent(self):
        for path in ("/b/a%3Db%2Bc%20d", "/b/a/../b//c", "/b/%E1%88%B4", "/"):
            self.assertEqual(self.request(path=path)(), KEY_ID)
            self.assertEqual(self.request(path=path, service="kms")(), KEY_ID)
        self.assertEqual(sigv4.canonical_path("/b/a%3db", False), "/b/a%3Db")
        self.assertEqual(sigv4.canonical_path("/b/a%3Db", True), "/b/a%253Db")
        self.assertEqual(sigv4.canonical_path("/b/./x/../y/", True), "/b/y/")
        self.assertEqual(sigv4.canonical_path("/../..", True), "/")

    def test_query_with_base64(self):
        self.assertEqual(sigv4.canonical_query(sigv4.parse_query("t=1a%2B%2F%3D&a=b+c&uploads")),
                         "a=b%20c&t=1a%2B%2F%3D&uploads=")


class TestCredentialsFile(unittest.TestCase):
    def test_file_is_read_again(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "keys.json")

            def write(text):
                with open(path + ".new", "w", encoding="utf-8") as file:
                    file.write(text)
                os.rename(path + ".new", path)

            write('{"A": {"secret": "s", "token": null, "expires": null}}')
            keys = sigv4.load_credentials(path)
            self.assertEqual(keys.get("A"), ("s", None, None))
            self.assertIsNone(keys.get("B"))
            write('{"B": {"secret": "t", "token": "x", "expires": "2013-05-24T00:00:00Z"}}')
            self.assertEqual(keys.get("B"), ("t", "x", NOW))
            self.assertIsNone(keys.get("A"))
            write('{"B": ')
            self.assertEqual(keys.get("B"), ("t", "x", NOW))
            with self.assertRaises(ValueError):
                sigv4.load_credentials(path)


if __name__ == "__main__":
    unittest.main()
