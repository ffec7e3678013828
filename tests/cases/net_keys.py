#!/usr/bin/python3
"""fs/aws: where AWS keys come from (environment, files, containers, IMDSv2), and AWS KMS.

Drives net_probe against tests/emu/imds.py, kms.py and s3.py; the servers' logs show what was asked
and how often. Attestation documents are made by the NitroTPM emulator, envelopes opened by openssl.
"""

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
import common_net  # noqa: E402

BUCKET = common.BUCKET
FILE_ID = "ab" * 32
CONTENT = b"content of the object, longer than all ranges together"
NO_KEYS = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}


class Imds(common.Emulator):
    def __init__(self, lab, name="imds", *options):
        super().__init__(lab, name, "imds.py", "--credentials", lab.credentials, *options)
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {**NO_KEYS, "AWS_EC2_METADATA_DISABLED": None,
                    "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url}


class KeysCase(common_net.NetCase):
    """With S3 to try the keys on."""

    PARTS = ("s3",)
    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.imds = Imds(cls.lab, "imds", *cls.OPTIONS)
        with open(cls.lab.s3.file("k"), "wb") as out:
            out.write(CONTENT)

    def setUp(self):
        self.imds.ask("DELETE", "fault")
        self.imds.clear_log()
        self.lab.s3.clear_log()

    def probe(self, *argv, data=None, **env):
        return super().probe(*argv, data=data, **{**self.imds.env, **env})

    def once(self, **fields):
        self.imds.ask("POST", "fault", {"times": 1, **fields})

    def asked(self, *operations):
        return [entry["operation"] for entry in self.imds.log()
                if not operations or entry["operation"] in operations]


class Instance(KeysCase):
    """Keys and region of an EC2 instance."""

    def test_keys_work(self):
        self.assertEqual(self.good("get", BUCKET, "k"), CONTENT)
        self.assertEqual(self.asked(), ["token", "role", "keys"])
        self.assertTrue(self.good("keys").endswith(b" instance metadata\n"))

    def test_one_thread_asks_for_all(self):
        self.good("bench", BUCKET, "k", "8", "32", "1")
        self.assertEqual(self.asked("keys"), ["keys"])

    def test_region(self):
        self.assertEqual(self.good("region", AWS_REGION=None), common.REGION.encode() + b"\n")
        self.assertEqual(self.asked(), ["token", "region"])
        self.assertEqual(self.good("region", AWS_REGION="eu-west-9"), b"eu-west-9\n")

    def test_environment_and_profile_come_first(self):
        self.assertIn(b"AKIAENV environment", self.good(
            "keys", AWS_ACCESS_KEY_ID="AKIAENV", AWS_SECRET_ACCESS_KEY="x"))
        self.assertIn(b"profile", self.good("keys", AWS_SHARED_CREDENTIALS_FILE=self.lab.path(
            "owner", "credentials")))
        self.assertEqual(self.asked(), [])

    def test_never_through_a_proxy(self):
        with common_net.RawServer(b"") as proxy:
            self.good("keys", http_proxy=proxy.url, HTTP_PROXY=proxy.url, all_proxy=proxy.url)
            self.assertEqual(proxy.requests, [])

    def test_an_expired_session_token_is_renewed_once(self):
        self.once(op="keys", kind="forget-tokens")
        self.good("keys")
        self.assertEqual(self.asked(), ["token", "role", "keys", "token", "keys"])
        with self.imds.fault(op="role", kind="status", status=401):
            self.bad("EKEYREJECTED", "keys", words=("401",))

    def test_passing_faults(self):
        for fault in ({"op": "token", "kind": "status", "status": 500},
                      {"op": "role", "kind": "status", "status": 503},
                      {"op": "keys", "kind": "cut"}, {"op": "token", "kind": "slow", "ms": 700},
                      {"op": "keys", "kind": "slow", "ms": 200000}):
            with self.subTest(**fault):
                self.once(**fault)
                quick = {"AWS_METADATA_SERVICE_TIMEOUT": "2"} if fault.get("ms", 0) > 700 else {}
                self.good("keys", **quick)

    def test_lasting_faults(self):
        for fault, errno_name, word in (
                ({"op": "token", "kind": "status", "status": 403}, "EKEYREJECTED", "switched off"),
                ({"op": "token", "kind": "status", "status": 404}, "EREMOTEIO", "IMDSv2"),
                ({"op": "token", "kind": "status", "status": 400}, "EREMOTEIO", "400"),
                ({"op": "token", "kind": "slow", "ms": 200000}, "ETIMEDOUT", "127.0.0.1"),
                ({"op": "token", "kind": "garbage"}, "EREMOTEIO", "token"),
                ({"op": "role", "kind": "status", "status": 404}, "EAGAIN", "no IAM role"),
                ({"op": "keys", "kind": "status", "status": 404}, "EAGAIN", "role"),
                ({"op": "keys", "kind": "status", "status": 500}, "EREMOTEIO", "500"),
                ({"op": "keys", "kind": "cut"}, "ECONNRESET", "127.0.0.1"),
                ({"op": "keys", "kind": "code-message"}, "EKEYREJECTED", "role"),
                ({"op": "keys", "kind": "garbage"}, "EREMOTEIO", "keys|JSON|answer"),
                ({"op": "keys", "kind": "oversize", "bytes": 100000}, "E2BIG", "127.0.0.1")):
            with self.subTest(**fault), self.imds.fault(**fault):
                quick = {"AWS_METADATA_SERVICE_TIMEOUT": "1"} if fault["kind"] == "slow" else {}
                result = self.probe("get", BUCKET, "k", **quick)
                self.assertRegex(result.err, f"^({errno_name}): .*no AWS credentials")
                self.assertRegex(result.err, word)
                self.assertRegex(result.err, "AWS_PROFILE|attach an IAM role")
                self.assertLess(self.took_s, 100)
        self.assertEqual(self.lab.s3.log(), [])

    def test_rotation_in_a_running_process(self):
        env = {**self.lab.env("owner"), **self.imds.env}
        env = {name: value for name, value in env.items() if value is not None}
        with subprocess.Popen([common_net.PROBE, "repeat", BUCKET, "k"], env=env, text=True, bufsize=1,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            def again():
                process.stdin.write("x\n")
                process.stdin.flush()
                return process.stdout.readline().strip()
            self.assertEqual([again(), again()], ["0 ok", "0 ok"])
            self.assertEqual(self.asked("keys"), ["keys"])
            # The old keys die at once: S3 says ExpiredToken, and the new ones are fetched.
            self.imds.ask("POST", "rotate", {"expire_old": True})
            self.assertEqual([again(), again()], ["0 ok", "0 ok"])
            self.assertEqual(self.asked("keys"), ["keys", "keys"])
            self.assertEqual([e["status"] for e in self.lab.s3.log()],
                             [206, 206, 400, 206, 206])
            # IMDS is down now, but the keys still work.
            with self.imds.fault(kind="status", status=500):
                self.assertEqual(again(), "0 ok")
            process.stdin.close()
            self.assertEqual(process.wait(60), 0)

    def test_keys_that_seem_expired_are_tried(self):
        """Static stability: S3 is the judge, not our clock and not IMDS's."""
        with self.imds.fault(op="keys", kind="expired-keys"):
            self.assertEqual(self.good("bench", BUCKET, "k", "4", "16", "1")[:1], b"0")
        self.assertEqual(self.asked("keys"), ["keys"])

    def test_dead_keys_without_successor(self):
        """S3 refuses every request; IMDS is not asked again for each of them."""
        with self.lab.s3.fault(kind="status", status=400, code="ExpiredToken"):
            lines = self.good("repeat", BUCKET, "k", data=b"1\n2\n3\n4\n").decode().splitlines()
        self.assertEqual(len(lines), 4)
        for line in lines:
            self.assertIn("ExpiredToken", line)
        self.assertEqual(self.asked("keys"), ["keys", "keys"])

    def test_disabled(self):
        result = self.bad("EINVAL", "keys", AWS_EC2_METADATA_DISABLED="true")
        self.assertIn("no AWS credentials", result)
        self.assertEqual(self.asked(), [])

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.bad("ECONNREFUSED", "keys", AWS_EC2_METADATA_SERVICE_ENDPOINT=url,
                 words=("no AWS credentials", "instance metadata"))
        # Servers that are not AWS's do not care about the region.
        self.assertEqual(self.good("region", AWS_REGION=None,
                                   AWS_EC2_METADATA_SERVICE_ENDPOINT=url), b"us-east-1\n")
        self.bad("ECONNREFUSED", "region", AWS_REGION=None, AWS_ENDPOINT_URL_S3=None,
                 AWS_EC2_METADATA_SERVICE_ENDPOINT=url, words=("AWS_REGION",))

    def test_no_key_in_the_debug_log(self):
        result = self.probe("get", BUCKET, "k", PROBE_DEBUG="1")
        self.assertEqual(result.code, 0)
        with open(self.lab.credentials, encoding="utf-8") as source:
            for entry in json.load(source).values():
                self.assertNotIn(entry["secret"], result.err)
                if entry["token"]:
                    self.assertNotIn(entry["token"], result.err)


class ShortLived(KeysCase):
    """Keys that end within the 15 minutes in which new ones are looked for."""

    OPTIONS = ("--lifetime", "600", "--overlap", "300")

    def test_they_are_used_and_not_asked_for_at_every_request(self):
        self.good("bench", BUCKET, "k", "4", "24", "1")
        self.assertEqual(self.asked("keys"), ["keys"])


class Container(KeysCase):
    """ECS, EKS Pod Identity, Greengrass."""

    OPTIONS = ("--container-token", "Bearer abc")

    def agent(self, **env):
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.imds.values["container"],
                "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer abc", **env}

    def test_keys_work(self):
        self.assertEqual(self.good("get", BUCKET, "k", **self.agent()), CONTENT)
        self.assertIn(b"container agent", self.good("keys", **self.agent()))
        self.assertEqual(set(self.asked()), {"container"})

    def test_token_file_wins(self):
        with open(self.lab.path("token"), "w", encoding="ascii") as out:
            out.write("Bearer abc")
        self.good("keys", **self.agent(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=self.lab.path(
            "token"), AWS_CONTAINER_AUTHORIZATION_TOKEN="wrong"))

    def test_refusals(self):
        for words, env in (
                (("container",), {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "wrong"}),
                (("line break",), {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "a\r\nX-Evil: 1"}),
                (("no-such-file",), {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/no-such-file"}),
                (("only https",), {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/"}),
                (("must begin with /",), {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "@evil/"})):
            with self.subTest(words):
                self.bad("", "keys", words=words, **self.agent(**env))

    def bad(self, errno_name, *argv, words=(), **env):
        if errno_name:
            return super().bad(errno_name, *argv, words=words, **env)
        result = self.probe(*argv, **env)
        self.assertNotEqual(result.code, 0)
        for word in words:
            self.assertIn(word, result.err)
        return result.err

    def test_never_through_a_proxy(self):
        with common_net.RawServer(b"") as proxy:
            self.good("keys", **self.agent(http_proxy=proxy.url))
            self.assertEqual(proxy.requests, [])


class Kms(common_net.NetCase):
    PARTS = ("tpm", "kms")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kms = cls.lab.kms
        cls.arn = cls.kms.key("alias/owner")
        cls.guarded = cls.kms.key("alias/models", {
            index: cls.lab.tpm.pcr("sha384", index) for index in (4, 7, 12)})
        cls.key_file = cls.lab.path("rsa.pem")
        subprocess.run(["openssl", "genrsa", "-out", cls.key_file, "2048"], check=True,
                       capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", cls.key_file, "-pubout", "-outform", "DER",
                        "-out", cls.lab.path("rsa.der")], check=True)

    def setUp(self):
        self.kms.ask("DELETE", "fault")
        self.kms.clear_log()

    def once(self, **fields):
        self.kms.ask("POST", "fault", {"times": 1, **fields})

    def document(self):
        path = self.lab.path("document")
        subprocess.run(["/usr/bin/python3", os.path.join(common.EMU, "tpm_client.py"), "attest",
                        "--port", str(self.lab.tpm.port), "--public-key",
                        self.lab.path("rsa.der"), "-o", path], check=True,
                       stdout=subprocess.DEVNULL)
        return path

    def generate(self, key="alias/owner", **env):
        """(blob, arn, hash of the data key)"""
        lines = dict(line.split(" ", 1) for line in
                     self.good("kms-generate", key, FILE_ID, **env).decode().splitlines())
        return lines["blob"], lines["arn"], lines["key-sha256"]

    def attested(self, blob, arn=None, **env):
        self.good("kms-attested", arn or self.guarded, FILE_ID, blob, self.document(), **env)
        envelope = self.lab.path("envelope")
        with open(envelope, "wb") as out:
            out.write(self.out)
        key = subprocess.run(["openssl", "cms", "-decrypt", "-inform", "DER", "-in", envelope,
                              "-inkey", self.key_file, "-binary"], check=True,
                             capture_output=True).stdout
        return hashlib.sha256(key).hexdigest()

    def operations(self):
        return [entry["operation"] for entry in self.kms.log()]


class KmsOperations(Kms):
    def test_round_trip(self):
        blob, arn, digest = self.generate()
        self.assertEqual(arn, self.arn)
        self.assertIn(digest.encode(), self.good("kms-decrypt", arn, FILE_ID, blob))
        key = os.urandom(32)
        wrapped = self.good("kms-encrypt", self.arn, FILE_ID, key.hex()).decode().split()[1]
        self.assertIn(hashlib.sha256(key).hexdigest().encode(),
                      self.good("kms-decrypt", arn, FILE_ID, wrapped))

    def test_attested(self):
        blob, arn, digest = self.generate("alias/models")
        self.assertEqual(self.attested(blob, arn), digest)
        self.bad("EKEYREJECTED", "kms-decrypt", arn, FILE_ID, blob,
                 words=("AccessDeniedException", "kms:Decrypt", "request"))

    def test_wrong_context_blob_and_key(self):
        blob, arn, _ = self.generate()
        self.bad("EBADMSG", "kms-decrypt", arn, "cd" * 32, blob,
                 words=("InvalidCiphertextException",))
        self.bad("EBADMSG", "kms-decrypt", arn, FILE_ID, "00" + blob[2:])
        self.bad("EKEYREJECTED", "kms-decrypt", self.kms.key("alias/third"), FILE_ID, blob,
                 words=("IncorrectKeyException",))
        self.bad("EINVAL", "kms-decrypt", arn, FILE_ID, "")
        self.assertEqual(self.operations()[1:], ["Decrypt"] * 3)

    def test_key_states(self):
        self.bad("ENOKEY", "kms-generate", "alias/absent", FILE_ID, words=("NotFoundException",))
        arn = self.kms.key("alias/off")
        self.kms.set_state("alias/off", "Disabled")
        self.bad("EKEYREVOKED", "kms-generate", arn, FILE_ID, words=("DisabledException", "enable"))
        self.kms.set_state("alias/off", "PendingDeletion")
        self.bad("EKEYREVOKED", "kms-generate", arn, FILE_ID, words=("KMSInvalidStateException",))
        self.bad("EINVAL", "kms-generate", "bad key id", FILE_ID)
        self.bad("EINVAL", "kms-generate", "arn:aws:kms", FILE_ID)
        mine = self.kms.key("alias/mine", access_keys=[self.lab.access_keys["operator"]])
        self.bad("EKEYREJECTED", "kms-generate", mine, FILE_ID, words=("AccessDenied",))

    def test_the_region_is_the_keys(self):
        self.assertIn(f":{common.REGION}:", self.arn)
        self.generate(self.arn, AWS_REGION="ap-southeast-2")
        self.bad("EKEYREJECTED", "kms-generate", "alias/owner", FILE_ID,
                 AWS_REGION="ap-southeast-2")

    def test_clock_skew_is_corrected_once(self):
        for offset_s in (1200, -1200):
            self.kms.ask("POST", "clock", {"offset_s": offset_s})
            try:
                self.generate()
            finally:
                self.kms.ask("POST", "clock", {"offset_s": 0})

    def test_wrong_keys(self):
        for env in ({"AWS_ACCESS_KEY_ID": "AKIANOBODY", "AWS_SECRET_ACCESS_KEY": "x"},
                    {"AWS_ACCESS_KEY_ID": self.lab.access_keys["owner"],
                     "AWS_SECRET_ACCESS_KEY": "wrong"}):
            result = self.probe("kms-generate", "alias/owner", FILE_ID, **env)
            self.assertTrue(result.err.startswith("EKEYREJECTED:"), result.err)
            self.assertEqual(result.code, common.REFUSED)

    def test_no_plaintext_in_the_debug_log(self):
        key = os.urandom(32)
        result = self.probe("kms-encrypt", "alias/owner", FILE_ID, key.hex(), PROBE_DEBUG="1")
        self.assertEqual(result.code, 0, result.err)
        for form in (key.hex(), base64.b64encode(key).decode()):
            self.assertNotIn(form, result.err)
            self.assertNotIn(form, result.out)


class KmsFaults(Kms):
    def test_passing_faults(self):
        for fault in ({"error": "ThrottlingException", "times": 2},
                      {"error": "KMSInternalException", "times": 2},
                      {"error": "DependencyTimeoutException"}, {"error": "KeyUnavailableException"},
                      {"kind": "http", "status": 503}, {"kind": "http", "status": 500},
                      {"kind": "cut"}, {"kind": "cut", "after": 20}, {"kind": "slow", "ms": 1000},
                      {"kind": "not-json"}, {"kind": "empty"}):
            with self.subTest(**fault):
                self.kms.clear_log()
                self.once(op="GenerateDataKey", **fault)
                self.generate()
                times = 0 if fault.get("kind") == "slow" else fault.get("times", 1)
                self.assertEqual(len(self.operations()), 1 + times)

    def test_lasting_faults(self):
        for fault, errno_name, word in (
                ({"error": "ThrottlingException"}, "EAGAIN", "later"),
                ({"error": "KMSInternalException"}, "EREMOTEIO", "KMSInternalException"),
                ({"kind": "not-json"}, "EREMOTEIO", "makes no sense"),
                ({"kind": "oversize", "bytes": 1 << 20}, "E2BIG|EREMOTEIO", ""),
                ({"kind": "plaintext-length", "bytes": 47}, "EREMOTEIO", "makes no sense"),
                ({"kind": "plaintext-length", "bytes": 16}, "EREMOTEIO", "makes no sense"),
                ({"kind": "cut"}, "ECONNRESET", "127.0.0.1")):
            with self.subTest(**fault), self.kms.fault(op="GenerateDataKey", **fault):
                result = self.probe("kms-generate", "alias/owner", FILE_ID, PROBE_ATTEMPTS="2")
                self.assertRegex(result.err, f"^({errno_name}):")
                self.assertIn(word, result.err)
                self.assertEqual(result.out, "")

    def test_throttled_until_the_deadline(self):
        with self.kms.fault(error="ThrottlingException"):
            result = self.probe("kms-generate", "alias/owner", FILE_ID, PROBE_DEADLINE_MS="1500")
        self.assertTrue(result.err.startswith("EAGAIN:"), result.err)
        self.assertEqual(result.code, common.UNREACHABLE)
        self.assertLess(self.took_s, 100)

    def test_another_key_answers(self):
        blob, arn, _ = self.generate()
        for argv in (("kms-generate", arn, FILE_ID), ("kms-decrypt", arn, FILE_ID, blob)):
            self.once(kind="wrong-key-id")
            self.bad("EBADMSG", *argv, words=("another key answered",))

    def test_attested_answers(self):
        blob, arn, digest = self.generate("alias/models")
        argv = ("kms-attested", arn, FILE_ID, blob)
        self.once(kind="no-envelope")
        self.bad("EREMOTEIO", *argv, self.document(), words=("CiphertextForRecipient",))
        self.once(kind="leak-plaintext")
        self.assertEqual(self.attested(blob, arn), digest)
        self.once(op="Decrypt", error="ThrottlingException")
        self.assertEqual(self.attested(blob, arn), digest)

    def test_documents_that_kms_does_not_take(self):
        blob, arn, _ = self.generate("alias/models")
        argv = ("kms-attested", arn, FILE_ID, blob)
        document = self.document()
        with open(self.lab.path("cut"), "wb") as out, open(document, "rb") as source:
            out.write(source.read()[:-5])
        self.bad("EKEYREJECTED", *argv, self.lab.path("cut"),
                 words=("ValidationException", "five minutes"))
        # Old by KMS's clock; the signature is made by it, too, at the second attempt.
        self.kms.ask("POST", "clock", {"offset_s": 400})
        try:
            self.bad("EKEYREJECTED", *argv, document, words=("ValidationException", "document"))
        finally:
            self.kms.ask("POST", "clock", {"offset_s": 0})
        with open(self.lab.path("empty"), "wb"):
            pass
        self.bad("EINVAL", *argv, self.lab.path("empty"))
        with open(self.lab.path("huge"), "wb") as out:
            out.write(bytes(262145))
        self.bad("EINVAL", *argv, self.lab.path("huge"))


del KeysCase, Kms

if __name__ == "__main__":
    common.main()
