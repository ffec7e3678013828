#!/usr/bin/python3
"""Tests of the STS emulator: what it hands out works, and what must be refused is."""
import os
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import credfile  # noqa: E402
import emu_http  # noqa: E402
import sigv4  # noqa: E402
import sts  # noqa: E402

ROLE = "arn:aws:iam::111122223333:role/r"
NAMES = {"s": sts.NAMESPACE}
WEB = {"Action": "AssumeRoleWithWebIdentity", "Version": sts.VERSION, "RoleArn": ROLE,
       "RoleSessionName": "test", "WebIdentityToken": "good"}
ASSUME = {"Action": "AssumeRole", "Version": sts.VERSION, "RoleArn": ROLE,
          "RoleSessionName": "test"}


class StsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "credentials.json")
        credfile.update(self.path, {"AKIDSTATIC": {"secret": "s", "token": None, "expires": None}})
        self.emulator = sts.StsEmulator(self.path, tokens=["good"])
        self.server = emu_http.Server(self.emulator).start()
        self.addCleanup(self.server.stop)
        self.url = f"http://127.0.0.1:{self.server.port}/"

    def post(self, form, headers=None):
        """(status, root element of the answer)"""
        request = urllib.request.Request(self.url, urllib.parse.urlencode(form).encode(),
                                         headers or {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=120) as answer:
                return answer.status, xml.etree.ElementTree.fromstring(answer.read())
        except urllib.error.HTTPError as refusal:
            return refusal.code, xml.etree.ElementTree.fromstring(refusal.read())

    def code(self, form, headers=None):
        status, root = self.post(form, headers)
        return status, root.findtext("s:Error/s:Code", namespaces=NAMES)

    def signed(self, key_id, secret, form):
        host = f"127.0.0.1:{self.server.port}"
        headers = sigv4.sign("POST", "/", "", [("Host", host)],
                             urllib.parse.urlencode(form).encode(), key_id, (secret, None),
                             "us-east-1", "sts", time.time())
        return {name: value for name, value in headers if name.lower() != "host"}

    def test_web_identity(self):
        status, root = self.post(WEB)
        self.assertEqual(status, 200)
        result = root.find("s:AssumeRoleWithWebIdentityResult/s:Credentials", NAMES)
        key_id = result.findtext("s:AccessKeyId", namespaces=NAMES)
        key = sigv4.CredentialsFile(self.path).get(key_id)
        self.assertEqual((key[0], key[1]), (result.findtext("s:SecretAccessKey", namespaces=NAMES),
                                            result.findtext("s:SessionToken", namespaces=NAMES)))
        self.assertGreater(key[2], time.time() + 3000)
        self.emulator.expire()
        self.assertLess(sigv4.CredentialsFile(self.path).get(key_id)[2], time.time())

    def test_refusals(self):
        for change, expected in (
                ({"WebIdentityToken": "bad"}, (400, "InvalidIdentityToken")),
                ({"Version": "2010-01-01"}, (400, "ValidationError")),
                ({"RoleArn": "r"}, (400, "ValidationError")),
                ({"RoleSessionName": "x y"}, (400, "ValidationError")),
                ({"DurationSeconds": "10"}, (400, "ValidationError")),
                ({"Action": "GetFederationToken"}, (400, "InvalidAction"))):
            with self.subTest(**change):
                self.assertEqual(self.code({**WEB, **change}), expected)

    def test_assume_role_is_signed(self):
        self.assertEqual(self.code(ASSUME)[0], 403)
        self.assertEqual(self.post(ASSUME, self.signed("AKIDSTATIC", "s", ASSUME))[0], 200)
        self.assertEqual(self.code(ASSUME, self.signed("AKIDSTATIC", "t", ASSUME))[0], 403)
        self.assertEqual(self.emulator.log.entries()[1]["signer"], "AKIDSTATIC")

    def test_faults_and_log(self):
        self.emulator.faults.add({"error": "Throttling"})
        self.assertEqual(self.code(WEB), (400, "Throttling"))
        self.assertEqual(self.post(WEB)[0], 200)
        self.assertNotIn("good", str(self.emulator.log.entries()))


if __name__ == "__main__":
    unittest.main()
