#!/usr/bin/python3
"""Tests of the IMDS emulator: the token handshake, rotating keys and what must be refused.

The keys are tried on a KMS emulator, which reads the same file, so that rotation and expiry are
seen from the side that judges them.
"""
import http.client
import json
import os
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import credfile  # noqa: E402
import emu_http  # noqa: E402
import imds  # noqa: E402
import kms  # noqa: E402
import sigv4  # noqa: E402
import testca  # noqa: E402

TOKEN = "X-aws-ec2-metadata-token"
TTL = "X-aws-ec2-metadata-token-ttl-seconds"
KEYS = imds.CREDENTIALS_PATH + "/emulated-role"


class ImdsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(self.folder, "credentials.json")
        credfile.update(self.path, {"AKIDSTATIC": {"secret": "s", "token": None, "expires": None}})

    def start(self, lifetime_s=3600, overlap_s=None, **options):
        self.credentials = imds.RoleCredentials(self.path, lifetime_s, overlap_s)
        self.emulator = imds.ImdsEmulator(self.credentials, **options)
        server = emu_http.Server(self.emulator).start()
        self.addCleanup(server.stop)
        self.port = server.port

    def request(self, method, path, headers=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def token(self, ttl="21600", **headers):
        status, token = self.request("PUT", "/latest/api/token", {TTL: ttl, **headers})
        self.assertEqual(status, 200)
        return token

    def get(self, path, **headers):
        return self.request("GET", path, {TOKEN: self.token(), **headers})

    def keys(self):
        status, body = self.get(KEYS)
        self.assertEqual(status, 200)
        return json.loads(body)

    def fault(self, **members):
        self.assertEqual(self.request("POST", "/_emu/fault", body=json.dumps(members))[0], 200)


class TestMetadata(ImdsTest):
    def test_pages(self):
        self.start(region="eu-central-1", instance_id="i-00000000000000001")
        self.assertEqual(self.get("/latest/meta-data/placement/region"), (200, "eu-central-1"))
        self.assertEqual(self.get("/latest/meta-data/instance-id"), (200, "i-00000000000000001"))
        status, body = self.get("/latest/dynamic/instance-identity/document")
        document = json.loads(body)
        self.assertEqual((status, document["region"], document["version"]),
                         (200, "eu-central-1", "2017-09-30"))
        self.assertEqual(self.get("/latest/user-data")[0], 404)
        self.assertEqual(self.get("/latest/nothing")[0], 404)

    def test_token_rules(self):
        self.start()
        for ttl in ("0", "21601", "-1", "x", ""):
            self.assertEqual(self.request("PUT", "/latest/api/token", {TTL: ttl})[0], 400)
        self.assertEqual(self.request("PUT", "/latest/api/token")[0], 400)
        self.assertEqual(self.request("GET", "/latest/api/token", {TTL: "60"})[0], 405)
        self.assertEqual(self.request("PUT", "/latest/api/token",
                                      {TTL: "60", "X-Forwarded-For": "10.0.0.1"})[0], 403)

    def test_version_1_and_bad_tokens(self):
        self.start()
        path = "/latest/meta-data/instance-id"
        self.assertEqual(self.request("GET", path)[0], 401)
        self.assertEqual(self.request("GET", path, {TOKEN: "made-up"})[0], 401)
        token = self.token()
        self.assertEqual(self.request("GET", path, {TOKEN: token})[0], 200)
        self.assertEqual(self.request("GET", path, {TOKEN: token, "X-Forwarded-For": "x"})[0], 403)
        self.fault(kind="forget-tokens", op="instance-id")
        self.assertEqual(self.request("GET", path, {TOKEN: token})[0], 401)
        self.assertEqual(self.get(path)[0], 200)

    def test_token_expires(self):
        self.start()
        token = self.token("1")
        deadline = time.monotonic() + 120
        while self.request("GET", "/latest/meta-data/instance-id", {TOKEN: token})[0] == 200:
            self.assertLess(time.monotonic(), deadline)

    def test_switched_off(self):
        self.start(disabled=True)
        self.assertEqual(self.request("PUT", "/latest/api/token", {TTL: "60"})[0], 403)


class TestCredentials(ImdsTest):
    def test_keys_have_the_documented_members(self):
        self.start()
        self.assertEqual(self.get(imds.CREDENTIALS_PATH + "/"), (200, "emulated-role"))
        keys = self.keys()
        self.assertEqual(set(keys), {"Code", "LastUpdated", "Type", "AccessKeyId",
                                     "SecretAccessKey", "Token", "Expiration"})
        self.assertEqual((keys["Code"], keys["Type"]), ("Success", "AWS-HMAC"))
        left_s = sigv4.parse_iso_time(keys["Expiration"]) - time.time()
        self.assertTrue(3590 < left_s <= 3600, left_s)
        self.assertEqual(self.get(imds.CREDENTIALS_PATH + "/other")[0], 404)

    def test_keys_rotate_before_they_end(self):
        self.start(lifetime_s=60, overlap_s=60)
        first, second = self.keys(), self.keys()
        self.assertNotEqual(first["AccessKeyId"], second["AccessKeyId"])
        known = sigv4.CredentialsFile(self.path)
        self.assertIsNotNone(known.get(first["AccessKeyId"]))
        self.assertIsNotNone(known.get("AKIDSTATIC"))
        self.credentials.forget()
        self.assertIsNone(known.get(first["AccessKeyId"]))
        self.assertIsNotNone(known.get("AKIDSTATIC"))

    def test_no_role_and_code_message(self):
        self.start(role=None)
        self.assertEqual(self.get(imds.CREDENTIALS_PATH + "/")[0], 404)
        self.assertEqual(self.get(KEYS)[0], 404)
        self.request("POST", "/_emu/role", body='{"role": "emulated-role"}')
        self.fault(kind="code-message", op="keys")
        status, body = self.get(KEYS)
        self.assertEqual((status, "AccessKeyId" in body), (200, False))
        self.assertEqual(json.loads(body)["Code"], "AssumeRoleUnauthorizedAccess")
        self.assertIn("AccessKeyId", self.keys())

    def test_container_endpoint(self):
        token_file = os.path.join(self.folder, "token")
        with open(token_file, "w", encoding="ascii") as out:
            out.write("Bearer one")
        self.start(container_token_file=token_file)
        path = imds.CONTAINER_PATH
        self.assertEqual(self.request("GET", path)[0], 403)
        self.assertEqual(self.request("GET", path, {"Authorization": "Bearer two"})[0], 403)
        status, body = self.request("GET", path, {"Authorization": "Bearer one"})
        self.assertEqual((status, set(json.loads(body))),
                         (200, {"AccountId", "AccessKeyId", "SecretAccessKey", "Token",
                                "Expiration"}))
        with open(token_file, "w", encoding="ascii") as out:
            out.write("Bearer two\n")
        self.assertEqual(self.request("GET", path, {"Authorization": "Bearer two"})[0], 200)
        self.assertEqual(self.request("GET", path + "x", {"Authorization": "Bearer two"})[0], 404)

    def test_faults(self):
        self.start()
        self.fault(kind="status", status=500, op="role")
        self.assertEqual(self.get(imds.CREDENTIALS_PATH + "/")[0], 500)
        self.fault(kind="expired-keys", op="keys")
        self.assertLess(sigv4.parse_iso_time(self.keys()["Expiration"]), time.time())
        self.fault(kind="cut", op="keys")
        with self.assertRaises((http.client.HTTPException, ConnectionError)):
            self.keys()
        self.assertEqual(self.keys()["Code"], "Success")


class TestAgainstKms(ImdsTest):
    def call(self, keys):
        headers = [("Host", "kms"), ("Content-Type", kms.CONTENT_TYPE),
                   ("X-Amz-Target", "TrentService.GenerateDataKey")]
        body = b'{"KeyId": "alias/models", "KeySpec": "AES_256"}'
        headers = sigv4.sign("POST", "/", "", headers, body, keys["AccessKeyId"],
                             (keys["SecretAccessKey"], keys["Token"]), "us-east-1", "kms")
        connection = http.client.HTTPConnection("127.0.0.1", self.kms_port, timeout=120)
        connection.request("POST", "/", body, dict(headers))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer.get("__type", "ok")

    def test_rotated_keys_work_and_old_ones_expire(self):
        self.start()
        authority = testca.TestCa(os.path.join(self.folder, "ca"))
        emulator = kms.KmsEmulator(self.folder, sigv4.CredentialsFile(self.path), authority.root)
        emulator.store.put(aliases=["alias/models"])
        server = emu_http.Server(emulator).start()
        self.addCleanup(server.stop)
        self.kms_port = server.port
        first = self.keys()
        self.assertEqual(self.call(first), "ok")
        self.request("POST", "/_emu/rotate", body="{}")
        second = self.keys()
        self.assertNotEqual(first["AccessKeyId"], second["AccessKeyId"])
        self.assertEqual([self.call(first), self.call(second)], ["ok", "ok"])
        self.request("POST", "/_emu/rotate", body='{"expire_old": true}')
        self.assertEqual([self.call(first), self.call(second), self.call(self.keys())],
                         ["ExpiredTokenException", "ExpiredTokenException", "ok"])
        self.assertEqual(self.call({**self.keys(), "Token": second["Token"]}),
                         "UnrecognizedClientException")


if __name__ == "__main__":
    unittest.main()
