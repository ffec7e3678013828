#!/usr/bin/python3
"""Tests of the KMS emulator: envelopes opened by OpenSSL, policies, context, errors, faults.

Documents come straight from the attester, without a TPM; test_emu.py covers the way through one.
"""
import base64
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: E402

import cms_ber  # noqa: E402
import emu_http  # noqa: E402
import kms  # noqa: E402
import nsm_attest  # noqa: E402
import sigv4  # noqa: E402
import testca  # noqa: E402
import tpm_client  # noqa: E402

ALIAS = "alias/models"
CONTEXT = {"sealedfs:file-id": "ab" * 32}
PCRS = {index: bytes([index]) * 48 for index in range(24)}
POLICY = {"pcrs": {"4": PCRS[4].hex(), "7": ["00" * 48, PCRS[7].hex().upper()],
                   "12": PCRS[12].hex()}}
DER_PUBLIC = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
RSA_KEY = rsa.generate_private_key(65537, 2048)


def spki(key):
    return key.public_key().public_bytes(*DER_PUBLIC)


def openssl_decrypt(envelope, key, folder):
    """The content, by `openssl cms -decrypt`."""
    key_path = os.path.join(folder, "key.pem")
    with open(key_path, "wb") as out:
        out.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                    serialization.NoEncryption()))
    return subprocess.run(["openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", key_path],
                          input=envelope, capture_output=True, check=True).stdout


class Client:
    """Signs like sealctl does: content-type, host, x-amz-date, x-amz-target."""

    def __init__(self, port, key_id="AKIDONE", secret=("secret-one", None), region="us-east-1"):
        self.port, self.key_id, self.secret, self.region = port, key_id, secret, region
        self.headers = {}

    def raw(self, operation, body, now=None, headers=(), sign=True):
        headers = [("Host", f"127.0.0.1:{self.port}"), ("Content-Type", kms.CONTENT_TYPE),
                   ("X-Amz-Target", kms.TARGET_PREFIX + operation), *headers]
        if sign:
            headers = sigv4.sign("POST", "/", "", headers, body, self.key_id, self.secret,
                                 self.region, "kms", now)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", "/", body, dict(headers))
            response = connection.getresponse()
            self.headers = response.headers
            return response.status, response.read()
        finally:
            connection.close()

    def __call__(self, operation, **members):
        status, body = self.raw(operation, json.dumps(members).encode())
        return status, json.loads(body)


class KmsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder_object = tempfile.TemporaryDirectory()
        cls.folder = cls.folder_object.name
        cls.authority = testca.TestCa(os.path.join(cls.folder, "ca"))
        cls.attester = nsm_attest.Attester(cls.authority, os.path.join(cls.folder, "foreign"))
        cls.credentials_path = os.path.join(cls.folder, "credentials.json")
        expired = "2020-01-01T00:00:00Z"
        with open(cls.credentials_path, "w", encoding="utf-8") as out:
            json.dump({"AKIDONE": {"secret": "secret-one", "token": None, "expires": None},
                       "AKIDTMP": {"secret": "secret-tmp", "token": "tok", "expires": None},
                       "AKIDOLD": {"secret": "secret-old", "token": "tok", "expires": expired}},
                      out)

    @classmethod
    def tearDownClass(cls):
        cls.folder_object.cleanup()

    def start(self, **options):
        state = options.pop("state", None) or tempfile.mkdtemp(dir=self.folder)
        self.emulator = kms.KmsEmulator(state, sigv4.CredentialsFile(self.credentials_path),
                                        self.authority.root, **options)
        self.key = self.emulator.store.put(aliases=[ALIAS], policy=POLICY)
        self.arn = self.emulator.store.arn(self.key)
        self.server = emu_http.Server(self.emulator).start()
        self.addCleanup(self.server.stop)
        self.client = Client(self.server.port)
        return state

    def recipient(self, *faults, key=RSA_KEY, public_key=None, pcrs=None):
        request = tpm_client.encode_request(public_key=public_key or spki(key))
        answer = self.attester.respond(request, PCRS if pcrs is None else pcrs, faults)
        document = tpm_client.decode_answer(answer)["Attestation"]["document"]
        return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
                "AttestationDocument": base64.b64encode(document).decode()}

    def new_key(self, **members):
        status, answer = self.client("GenerateDataKey", KeyId=ALIAS, KeySpec="AES_256",
                                     EncryptionContext=CONTEXT, **members)
        self.assertEqual(status, 200, answer)
        return answer

    def decrypt(self, blob, **members):
        arguments = {"KeyId": self.arn, "EncryptionContext": CONTEXT,
                     "Recipient": self.recipient(), **members}
        arguments = {name: value for name, value in arguments.items() if value is not None}
        return self.client("Decrypt", CiphertextBlob=blob, **arguments)

    def assert_error(self, answer, kind, status=400):
        self.assertEqual((answer[0], answer[1].get("__type")), (status, kind), answer[1])

    def last_log(self):
        return self.emulator.log.entries()[-1]


class TestRegions(KmsTest):
    """Requests are for the region that they are signed for."""

    def ask(self, region, operation, **members):
        self.client.region = region
        return self.client(operation, EncryptionContext=CONTEXT, **members)

    def test_a_replica_opens_what_its_relative_wrapped(self):
        self.start()
        store = self.emulator.store
        home = store.put(aliases=["alias/multi"], multi_region=True)
        there = store.put(home.key_id, ["alias/multi"], region="eu-west-1")
        single = store.put(aliases=["alias/single"], region="eu-west-1")
        self.assertEqual(store.arn(there), store.arn(home).replace("us-east-1", "eu-west-1"))
        with self.assertRaises(ValueError):
            store.put(single.key_id, region="us-east-1")
        for wraps, opens in ((home, there), (there, home)):
            status, made = self.ask(wraps.region, "GenerateDataKey", KeyId="alias/multi",
                                    KeySpec="AES_256")
            self.assertEqual((status, made["KeyId"]), (200, store.arn(wraps)))
            status, got = self.ask(opens.region, "Decrypt", CiphertextBlob=made["CiphertextBlob"],
                                   KeyId=store.arn(opens))
            self.assertEqual((status, got["Plaintext"]), (200, made["Plaintext"]))
            self.assert_error(self.ask(opens.region, "Decrypt", KeyId=store.arn(wraps),
                                       CiphertextBlob=made["CiphertextBlob"]), "NotFoundException")
        blob = self.ask("eu-west-1", "GenerateDataKey", KeyId=store.arn(single),
                        KeySpec="AES_256")[1]["CiphertextBlob"]
        self.assert_error(self.ask("us-east-1", "Decrypt", CiphertextBlob=blob,
                                   KeyId=store.arn(home)), "AccessDeniedException")

    def test_a_policy_that_wants_an_alias(self):
        self.start()
        statement = {"Effect": "Allow", "Principal": "*", "Action": "kms:GenerateDataKey",
                     "Resource": "*",
                     "Condition": {"StringEquals": {"kms:RequestAlias": "alias/wanted"}}}
        key = self.emulator.store.put(aliases=["alias/wanted", "alias/other"], policy={
            "document": {"Version": "2012-10-17", "Statement": [statement]}})
        arn = self.emulator.store.arn(key)
        prefix = arn.partition("key/")[0]
        for name, status in (("alias/wanted", 200), (prefix + "alias/wanted", 200), (arn, 400),
                             ("alias/other", 400), (key.key_id, 400)):
            answer = self.ask("us-east-1", "GenerateDataKey", KeyId=name, KeySpec="AES_256")
            self.assertEqual(answer[0], status, (name, answer))


class TestOperations(KmsTest):
    def test_both_ber_forms_open_with_openssl(self):
        self.start(ber="rotate")
        made = self.new_key()
        plaintext = base64.b64decode(made["Plaintext"])
        self.assertEqual(len(plaintext), 32)
        self.assertEqual(made["KeyId"], self.arn)
        forms = set()
        for _ in range(6):
            status, answer = self.decrypt(made["CiphertextBlob"])
            self.assertEqual(status, 200, answer)
            self.assertFalse(answer.get("Plaintext"))
            envelope = base64.b64decode(answer["CiphertextForRecipient"])
            self.assertEqual(openssl_decrypt(envelope, RSA_KEY, self.folder), plaintext)
            forms.add(self.last_log()["form"])
        self.assertEqual(forms, {"a", "b", "split"})

    def test_envelope_sizes_are_those_of_the_service(self):
        public = RSA_KEY.public_key()
        self.assertEqual(len(cms_ber.envelope(public, bytes(32), "a")), 493)
        self.assertEqual(len(cms_ber.envelope(public, bytes(5), "b")), 457)
        form_a = cms_ber.envelope(public, bytes(32), "a")
        self.assertEqual(form_a[:21].hex(), "308006092a864886f70d010703a0803080020102"
                         "31")
        self.assertEqual(form_a[-8:], bytes(8))

    def test_larger_rsa_keys(self):
        self.start(ber="a")
        made = self.new_key()
        for bits in (3072, 4096):
            key = rsa.generate_private_key(65537, bits)
            status, answer = self.decrypt(made["CiphertextBlob"],
                                          Recipient=self.recipient(key=key))
            self.assertEqual(status, 200, answer)
            envelope = base64.b64decode(answer["CiphertextForRecipient"])
            self.assertEqual(openssl_decrypt(envelope, key, self.folder),
                             base64.b64decode(made["Plaintext"]))

    def test_generate_data_key_for_recipient(self):
        self.start()
        made = self.new_key(Recipient=self.recipient())
        self.assertFalse(made.get("Plaintext"))
        envelope = base64.b64decode(made["CiphertextForRecipient"])
        data_key = openssl_decrypt(envelope, RSA_KEY, self.folder)
        status, answer = self.decrypt(made["CiphertextBlob"])
        self.assertEqual(status, 200)
        envelope = base64.b64decode(answer["CiphertextForRecipient"])
        self.assertEqual(openssl_decrypt(envelope, RSA_KEY, self.folder), data_key)

    def test_encrypt_and_key_names(self):
        self.start()
        self.emulator.store.put(aliases=[ALIAS], policy={})
        plaintext = os.urandom(32)
        alias_arn = self.arn.rsplit(":", 1)[0] + ":" + ALIAS
        for name in (ALIAS, alias_arn, self.arn, self.key.key_id):
            status, made = self.client("Encrypt", KeyId=name, EncryptionContext=CONTEXT,
                                       Plaintext=base64.b64encode(plaintext).decode())
            self.assertEqual((status, made.get("KeyId")), (200, self.arn), made)
            status, answer = self.decrypt(made["CiphertextBlob"], KeyId=name, Recipient=None)
            self.assertEqual(base64.b64decode(answer["Plaintext"]), plaintext)
        self.assertEqual(len(base64.b64decode(made["CiphertextBlob"])), 184)

    def test_blobs_survive_a_restart(self):
        state = self.start()
        made = self.new_key()
        self.start(state=state)
        self.assertEqual(self.decrypt(made["CiphertextBlob"])[0], 200)
        self.start()
        self.assert_error(self.decrypt(made["CiphertextBlob"], KeyId=None),
                          "AccessDeniedException")


class TestRefusals(KmsTest):
    def test_policy(self):
        self.start()
        blob = self.new_key()["CiphertextBlob"]
        other = self.recipient(pcrs={**PCRS, 4: bytes(48)})
        for recipient in (None, other, self.recipient({"kind": "enclave"})):
            answer = self.decrypt(blob, Recipient=recipient)
            self.assert_error(answer, "AccessDeniedException")
            self.assertIn("is not authorized to perform: kms:Decrypt", answer[1]["Message"])
            self.assertNotIn("Plaintext", answer[1])
        entry = self.last_log()
        self.assertEqual((entry["verdict"], entry["operation"], entry["key"], entry["context"]),
                         ("AccessDeniedException", "Decrypt", self.arn, CONTEXT))
        self.decrypt(blob, Recipient=other)
        self.assertEqual(self.last_log()["recipient"]["pcrs"]["4"], "00" * 48)

    def test_document_that_lies(self):
        self.start()
        blob = self.new_key()["CiphertextBlob"]
        for kind in ("bad-signature", "wrong-root", "wrong-leaf-key", "expired-leaf", "ca-leaf"):
            answer = self.decrypt(blob, Recipient=self.recipient({"kind": kind}))
            self.assert_error(answer, "AccessDeniedException")
            self.assertNotEqual(self.last_log()["recipient"]["reason"], "")
        for kind in ("definite", "tagged", "omit-null"):
            self.assertEqual(self.decrypt(blob, Recipient=self.recipient({"kind": kind}))[0], 200)

    def test_document_that_does_not_fit(self):
        self.start()
        blob = self.new_key()["CiphertextBlob"]
        cases = [(self.recipient({"kind": "old", "age_s": 301}), "five-minute age limit"),
                 (self.recipient({"kind": "future"}), "not yet valid"),
                 (self.recipient({"kind": "truncated"}), "cannot parse the attestation document"),
                 (self.recipient({"kind": "algorithm", "value": -7}), "cannot parse"),
                 (self.recipient(public_key=b"\x04" + bytes(64)), "public key"),
                 (self.recipient(key=ec.generate_private_key(ec.SECP256R1())), "RSA"),
                 ({**self.recipient(), "KeyEncryptionAlgorithm": "RSA"}, "RSAES_OAEP_SHA_256")]
        for recipient, text in cases:
            answer = self.decrypt(blob, Recipient=recipient)
            self.assert_error(answer, "ValidationException")
            self.assertIn(text, answer[1]["message"])
        self.assertEqual(self.decrypt(
            blob, Recipient=self.recipient({"kind": "old", "age_s": 290}))[0], 200)

    def test_context_and_blob(self):
        self.start()
        blob = self.new_key()["CiphertextBlob"]
        raw = base64.b64decode(blob)
        changed = base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()
        for members in ({"EncryptionContext": {}}, {"EncryptionContext": {**CONTEXT, "x": "y"}},
                        {"EncryptionContext": {"sealedfs:file-id": "AB" * 32}}):
            self.assert_error(self.decrypt(blob, **members), "InvalidCiphertextException")
        self.assert_error(self.decrypt(changed), "InvalidCiphertextException")
        self.assert_error(self.decrypt(base64.b64encode(b"x" * 80).decode()),
                          "InvalidCiphertextException")

    def test_key_names_and_states(self):
        self.start()
        blob = self.new_key()["CiphertextBlob"]
        other = self.emulator.store.put(aliases=["alias/other"])
        self.assert_error(self.decrypt(blob, KeyId="alias/other"), "IncorrectKeyException")
        self.assert_error(self.decrypt(blob, KeyId="alias/none"), "NotFoundException")
        self.assert_error(self.decrypt(blob, KeyId=self.arn[:-1] + "0") if self.arn[-1] != "0"
                          else self.decrypt(blob, KeyId=self.arn[:-1] + "1"), "NotFoundException")
        self.assertEqual(self.decrypt(blob, KeyId=None)[0], 200)
        self.emulator.store.put(key_id=self.key.key_id, state="Disabled")
        self.assert_error(self.decrypt(blob), "DisabledException")
        self.assertIsNot(other, self.key)
        self.assert_error(self.client("GenerateDataKey", KeyId="alias/other"),
                          "ValidationException")
        self.assert_error(self.client("Frobnicate"), "UnknownOperationException")

    def test_access_keys(self):
        self.start()
        self.emulator.store.put(aliases=[ALIAS], policy={
            **POLICY, "operations": ["Decrypt", "GenerateDataKey"],
            "access_keys": {"Decrypt": ["AKIDTMP"]}})
        self.assert_error(self.client("GenerateDataKey", KeyId=ALIAS, KeySpec="AES_256"),
                          "AccessDeniedException")
        blob = self.new_key(Recipient=self.recipient())["CiphertextBlob"]
        self.assert_error(self.decrypt(blob), "AccessDeniedException")
        self.client = Client(self.server.port, "AKIDTMP", ("secret-tmp", "tok"))
        self.assertEqual(self.decrypt(blob)[0], 200)

    def test_signatures(self):
        self.start()
        port = self.server.port
        self.assert_error(Client(port, secret=("wrong", None))("Encrypt"),
                          "InvalidSignatureException")
        self.assert_error(Client(port, "AKIDNONE")("Encrypt"), "UnrecognizedClientException")
        self.assert_error(Client(port, "AKIDOLD", ("secret-old", "tok"))("Encrypt"),
                          "ExpiredTokenException")
        self.assert_error(Client(port, region="eu-west-1")("Encrypt"), "InvalidSignatureException")
        status, body = self.client.raw("Encrypt", b"{}", now=time.time() - 1200)
        self.assert_error((status, json.loads(body)), "InvalidSignatureException")
        status, body = self.client.raw("Encrypt", b"{}", sign=False)
        self.assert_error((status, json.loads(body)), "MissingAuthenticationTokenException")
        self.assertRegex(self.client.headers["x-amzn-RequestId"], "^[0-9a-f-]{36}$")

    def test_error_type_forms(self):
        self.start(error_type="prefixed")
        self.assert_error(self.client("Encrypt", KeyId="alias/none", Plaintext="eA=="),
                          "com.amazonaws.kms#NotFoundException")

    def test_key_policy_and_dry_runs(self):
        """A whole policy decides, dry runs ask it; GetKeyPolicy returns it."""
        self.start()
        allow = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/emulated"},
                 "Resource": "*"}
        condition = {"StringEquals": {f"kms:RecipientAttestation:NitroTPMPCR{n}": PCRS[n].hex() for n in (4, 7)}}
        document = {"Statement": [{**allow, "Action": "kms:Decrypt", "Condition": condition},
                                  {**allow, "Action": ["kms:GenerateDataKey", "kms:GetKeyPolicy", "kms:ReEncryptFrom"]}]}
        key = self.emulator.store.put(aliases=["alias/whole"], policy={"document": document})
        arn = self.emulator.store.arn(key)
        blob = self.client("GenerateDataKey", KeyId=arn, KeySpec="AES_256")[1]["CiphertextBlob"]
        answer = self.client("Decrypt", KeyId=arn, CiphertextBlob=blob, Recipient=self.recipient())
        self.assertIn("CiphertextForRecipient", answer[1])
        self.assert_error(self.client("Decrypt", KeyId=arn, CiphertextBlob=blob), "AccessDeniedException")
        other = self.recipient(pcrs={**PCRS, 4: bytes(48)})
        self.assert_error(self.client("Decrypt", KeyId=arn, CiphertextBlob=blob, Recipient=other),
                          "AccessDeniedException")
        dry = {"DryRun": True, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}
        self.assert_error(self.client("Decrypt", KeyId=arn, **dry), "AccessDeniedException")
        self.assert_error(self.client("Decrypt", KeyId=arn, Recipient=self.recipient(), **dry),
                          "DryRunOperationException")
        self.assert_error(self.client("Decrypt", KeyId=arn, DryRunModifiers=["IGNORE_CIPHERTEXT"]),
                          "ValidationException")
        self.assert_error(self.client("ReEncrypt", SourceKeyId=arn, DestinationKeyId=arn, **dry),
                          "AccessDeniedException")
        self.assert_error(self.client("CreateGrant", KeyId=arn, GranteePrincipal="arn:aws:iam::111122223333:root",
                                      Operations=["Decrypt"], DryRun=True), "AccessDeniedException")
        self.assertEqual(json.loads(self.client("GetKeyPolicy", KeyId=arn)[1]["Policy"]), document)
        self.assert_error(self.client("GetKeyPolicy", KeyId=self.arn), "AccessDeniedException")


class TestFaults(KmsTest):
    def fault(self, **members):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        connection.request("POST", "/_emu/fault", json.dumps(members))
        self.assertEqual(connection.getresponse().status, 200)
        connection.close()

    def test_error_then_success(self):
        self.start()
        blob = self.new_key()["CiphertextBlob"]
        self.fault(op="Decrypt", error="ThrottlingException", times=2)
        self.fault(op="Decrypt", error="KMSInternalException", skip=2)
        self.new_key()
        self.assert_error(self.decrypt(blob), "ThrottlingException")
        self.assert_error(self.decrypt(blob), "ThrottlingException")
        self.assert_error(self.decrypt(blob), "KMSInternalException", 500)
        self.assertEqual(self.decrypt(blob)[0], 200)
        self.assertEqual(self.emulator.faults.pending(), [])

    def test_cut(self):
        self.start()
        for members in ({}, {"after": 10}):
            self.fault(kind="cut", **members)
            with self.assertRaises((http.client.HTTPException, ConnectionError)):
                self.new_key()
        self.new_key()

    def test_lying_answers(self):
        self.start()
        made = self.new_key()
        truth = base64.b64decode(made["Plaintext"])

        def content(**members):
            self.fault(op="Decrypt", **members)
            answer = self.decrypt(made["CiphertextBlob"])[1]
            return openssl_decrypt(base64.b64decode(answer["CiphertextForRecipient"]), RSA_KEY,
                                   self.folder)

        wrong = content(kind="wrong-key")
        self.assertEqual(len(wrong), 32)
        self.assertNotEqual(wrong, truth)
        self.assertEqual(len(content(kind="plaintext-length", bytes=47)), 47)
        for kind in ("garbage-cms", "truncated-cms"):
            with self.assertRaises(subprocess.CalledProcessError):
                content(kind=kind)
        self.fault(op="Decrypt", kind="wrong-key-id")
        self.assertNotEqual(self.decrypt(made["CiphertextBlob"])[1]["KeyId"], self.arn)
        self.fault(op="Decrypt", kind="no-envelope")
        self.assertNotIn("CiphertextForRecipient", self.decrypt(made["CiphertextBlob"])[1])
        self.fault(op="Decrypt", kind="oversize", bytes=1 << 21)
        body = json.dumps({"CiphertextBlob": made["CiphertextBlob"]}).encode()
        self.assertGreater(len(self.client.raw("Decrypt", body)[1]), 1 << 21)

    def test_log_has_no_key_material(self):
        self.start()
        made = self.new_key()
        self.decrypt(made["CiphertextBlob"])
        text = json.dumps(self.emulator.log.entries())
        for secret in (made["Plaintext"], base64.b64decode(made["Plaintext"]).hex(),
                       made["CiphertextBlob"], "secret-one"):
            self.assertNotIn(secret, text)


class TestProgram(KmsTest):
    def run_program(self, *arguments):
        process = subprocess.Popen(
            ["/usr/bin/python3", kms.__file__, "--credentials", self.credentials_path, *arguments],
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        words = process.stdout.readline().split()
        self.assertEqual(words[:1], ["ready"])
        return dict(word.split("=", 1) for word in words[1:])

    def test_options_and_https(self):
        cert, key = os.path.join(self.folder, "tls.pem"), os.path.join(self.folder, "tls.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        config = os.path.join(self.folder, "config.json")
        with open(config, "w", encoding="utf-8") as out:
            json.dump({"keys": [{"id": "11111111-2222-3333-4444-555555555555",
                                 "aliases": ["alias/config"], "policy": POLICY}]}, out)
        values = self.run_program("--ca", os.path.join(self.folder, "ca"), "--tls", cert, key,
                                  "--config", config, "--key", f"{ALIAS}:4={'ab' * 48}")
        self.assertTrue(values["url"].startswith("https://"))
        shown = subprocess.run(["curl", "-sS", "--cacert", cert, values["url"] + "/_emu/keys"],
                               check=True, capture_output=True).stdout
        listed = {entry["aliases"][0]: entry for entry in json.loads(shown)}
        self.assertEqual(listed["alias/config"]["arn"].rsplit("/", 1)[1],
                         "11111111-2222-3333-4444-555555555555")
        self.assertEqual(listed["alias/config"]["policy"], POLICY)
        self.assertEqual(listed[ALIAS]["policy"], {"pcrs": {"4": "ab" * 48}})

    def test_bad_options_end_with_a_message(self):
        for arguments in (["--root", "/nonexistent"],
                          ["--ca", os.path.join(self.folder, "ca"), "--key", "alias/x:4=ab"]):
            done = subprocess.run(
                ["/usr/bin/python3", kms.__file__, "--credentials", self.credentials_path,
                 *arguments], capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual((done.returncode, done.stderr[:5]), (1, "kms: "))


if __name__ == "__main__":
    unittest.main()
