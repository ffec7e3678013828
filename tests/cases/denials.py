#!/usr/bin/python3
"""Machines, policies, keys, TPMs and servers that must not get a model opened.

Sealed under a KMS key whose policy names this TPM's PCRs. Each case says which exit code and which
words the operator sees, and that the mount gave no byte. What is refused once must work again
when its cause is gone.
"""

import json
import os
import struct
import time

import common
from common import FAILURE, NOT_AUTHENTIC, OK, REFUSED, UNREACHABLE

SIZE = 700_000
NOWHERE = "http://127.0.0.1:1"


class Attested(common.Case):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.plain = common.make_model(lab.path("m.gguf"), SIZE)
        cls.url = lab.s3_url("prod")
        lab.seal(cls.plain, cls.url, "--kms-key", "alias/models")
        cls.pcrs = {index: lab.tpm.pcr("sha384", index) for index in (4, 7, 12)}

    def setUp(self):
        self.lab.kms.clear_log()
        self.lab.tpm.ask("POST", "reboot", {})
        self.events = self.lab.path("events." + self.id().rpartition(".")[2])

    def assert_works(self):
        with self.lab.mount(self.url, "ready=unlocked", "event-log=" + self.events) as mount:
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.plain))

    def assert_refused(self, code, *words, url=None, log_words=None, **how):
        """ready=unlocked ends with the code; without it, opening fails with one line in the log."""
        url = url or self.url
        result = self.lab.mount_fails(url, "ready=unlocked", "event-log=" + self.events, **how)
        self.assert_result(result, code, *words)
        with self.lab.mount(url, "event-log=" + self.events, **how) as mount:
            failure = self.assert_io_error(mount.join("m.gguf"))
            about = [line for line in mount.log().splitlines() if "m.gguf" in line]
            self.assertEqual(len(about), 1, mount.log())
            for word in log_words or words:
                self.assertIn(word.lower(), about[0].lower())
        # Nothing was measured on the way to a refusal.
        self.assertEqual(int(self.lab.tpm.pcr("sha384"), 16), 0)
        return failure


class Policy(Attested):
    """KMS says no."""

    def test_another_machine(self):
        """The message names KMS's reason and the PCRs that this machine has."""
        other = common.Tpm(self.lab, "other-tpm", boot="some other image")
        pcr4 = other.pcr("sha384", 4)
        self.assertNotEqual(pcr4, self.pcrs[4])
        self.assert_refused(REFUSED, "AccessDenied", pcr4, tpm=other)
        other.stop()
        self.assert_works()

    def test_command_line_of_the_kernel_was_changed(self):
        self.lab.tpm.extend(12, sha384="12" * 48)
        pcr12 = self.lab.tpm.pcr("sha384", 12)
        self.assert_refused(REFUSED, "AccessDenied", pcr12)
        self.lab.tpm.ask("POST", "reboot", {})
        self.assert_works()

    def whole_policy(self, pcrs, *statements):
        """The key has a whole policy for these PCRs until the case ends; returns a copy's path."""
        role = "arn:aws:iam::444455556666:role/runtime"
        condition = {f"kms:RecipientAttestation:NitroTPMPCR{index}": value for index, value in pcrs.items()}
        document = {"Statement": [
            {"Sid": "Unlock", "Effect": "Allow", "Principal": {"AWS": role}, "Action": "kms:Decrypt", "Resource": "*",
             "Condition": {"StringEqualsIgnoreCase": condition}}, *statements]}
        session = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/i-1"
        self.lab.kms.put_policy("alias/models", document, {self.lab.access_keys["operator"]: session})
        self.addCleanup(self.lab.kms.key, "alias/models", self.pcrs)
        path = self.lab.path("policy.json")
        with open(path, "w", encoding="utf-8") as out:
            json.dump(document, out)
        return path, role

    def test_policy_of_a_file(self):
        """kms-policy=: the message has what the policy wants, PCR by PCR; sealctl check's, too."""
        path, _ = self.whole_policy({**self.pcrs, 7: "77" * 48})
        words = ("AccessDenied", "statement 1 (Unlock): PCR 4 fits, PCR 7 = " + self.pcrs[7],
                 f"(wanted: {'77' * 48}), PCR 12 fits")
        result = self.lab.mount_fails(self.url, "ready=unlocked", "kms-policy=" + path, "event-log=" + self.events)
        self.assert_result(result, REFUSED, *words)
        self.assertFalse([call for call in self.lab.kms.log() if call["operation"] == "GetKeyPolicy"])
        result = self.lab.sealctl("check", "--attest", "--kms-policy", path, self.url, who="operator",
                                  expect=REFUSED)
        for word in words:
            self.assertIn(word, result.out + result.err)

    def test_policy_of_kms(self):
        """Where the role may read it; asked once for many opens."""
        _, role = self.whole_policy({**self.pcrs, 12: "12" * 48})
        read = {"Effect": "Allow", "Principal": {"AWS": role}, "Action": "kms:GetKeyPolicy", "Resource": "*"}
        self.whole_policy({**self.pcrs, 12: "12" * 48}, read)
        self.assert_refused(REFUSED, "AccessDenied", f"PCR 12 = {'00' * 48} (wanted: {'12' * 48})")
        self.lab.kms.clear_log()
        with self.lab.mount(self.url, "event-log=" + self.events) as mount:
            for _ in range(3):
                self.assert_io_error(mount.join("m.gguf"))
        asked = [call["operation"] for call in self.lab.kms.log()]
        self.assertEqual(asked.count("GetKeyPolicy"), 1, asked)

    def test_policy_file_that_is_none(self):
        path = self.lab.path("no-policy.json")
        with open(path, "w", encoding="utf-8") as out:
            out.write('{"Statement":[{"Effect":"Maybe"}]}')
        result = self.lab.mount_fails(self.url, "kms-policy=" + path, "event-log=" + self.events)
        self.assert_result(result, NOT_AUTHENTIC, "no-policy.json", "Effect")
        result = self.lab.mount_fails(self.url, "kms-policy=/nonexistent", "event-log=" + self.events)
        self.assert_result(result, FAILURE, "/nonexistent")

    def test_denied_role(self):
        kms, keys = self.lab.kms, self.lab.access_keys
        kms.key("alias/models", self.pcrs, {"Decrypt": [keys["owner"]]})
        try:
            self.assert_refused(REFUSED, "AccessDenied")
        finally:
            kms.key("alias/models", self.pcrs)
        self.assert_works()

    def test_disabled_key(self):
        for state, word in (("Disabled", "disabled"), ("PendingDeletion", "pending deletion")):
            with self.subTest(state=state):
                self.lab.kms.set_state("alias/models", state)
                try:
                    self.assert_refused(REFUSED, word)
                finally:
                    self.lab.kms.set_state("alias/models", "Enabled")
        self.assert_works()

    def test_seal_names_another_key(self):
        """The ARN in the slot exchanged: KMS is told that ARN, and refuses the blob."""
        other = self.lab.kms.key("alias/other", self.pcrs).encode()
        self.lab.seal(self.plain, self.lab.s3_url("other-key/"), "--kms-key", "alias/models")
        path = self.lab.s3.file("other-key/m.gguf.seal")
        with open(path, "rb") as seal:
            raw = bytearray(seal.read())
        length = struct.unpack_from("<H", raw, 0x8C4)[0]
        self.assertEqual(length, len(other))
        raw[0x8C6:0x8C6 + length] = other
        with open(path, "wb") as seal:
            seal.write(raw)
        self.assert_refused(REFUSED, "IncorrectKey", url=self.lab.s3_url("other-key"))

    def test_blob_of_another_model(self):
        """KMS binds the blob to the file id, so a slot moved to another seal opens nothing."""
        self.lab.seal(self.plain, self.lab.s3_url("one/"), "--kms-key", "alias/models")
        self.lab.seal(self.plain, self.lab.s3_url("two/"), "--kms-key", "alias/models")
        paths = [self.lab.s3.file(f"{folder}/m.gguf.seal") for folder in ("one", "two")]
        with open(paths[0], "rb") as one, open(paths[1], "rb") as two:
            first, second = one.read(), two.read()
        with open(paths[1], "wb") as out:
            out.write(second[:0x8C0] + first[0x8C0:0xCC0] + second[0xCC0:])
        self.assert_refused(NOT_AUTHENTIC, "InvalidCiphertext", url=self.lab.s3_url("two"))

    def test_context_and_key_are_always_sent(self):
        self.assert_works()
        (entry,) = [entry for entry in self.lab.kms.log() if entry["operation"] == "Decrypt"]
        with open(self.lab.s3.file("prod/m.gguf.seal"), "rb") as seal:
            file_id = seal.read(0x30)[0x10:].hex()
        self.assertEqual(entry["context"], {"sealedfs:file-id": file_id})
        self.assertEqual(entry["recipient"]["kind"], "nitrotpm")
        self.assertTrue(entry["recipient"]["genuine"])

    def test_sealing_under_a_key_that_is_not_there(self):
        result = self.lab.sealctl("seal", self.plain, self.lab.s3_url("nope/"), "--kms-key",
                                  "alias/nope")
        self.assertIn(result.code, (FAILURE, REFUSED))
        self.assertIn("alias/nope", result.err)
        self.assertFalse(os.path.exists(self.lab.s3.file("nope")))

    def test_no_slot_for_this_machine(self):
        key = self.lab.key_file()
        self.lab.seal(self.plain, self.lab.s3_url("key-file-only/"), "--key-file", key)
        self.assert_refused(REFUSED, "no recipient", url=self.lab.s3_url("key-file-only"))
        result = self.lab.mount_fails(self.url, "ready=unlocked", "key-file=" + key, "attest=none",
                                      "event-log=" + self.events)
        self.assert_result(result, REFUSED, "no recipient")

    def test_second_slot_opens_when_the_first_is_refused(self):
        denied = self.lab.kms.key("alias/denied", self.pcrs, {"Decrypt": ["AKIANOBODY"]})
        self.lab.seal(self.plain, self.lab.s3_url("two-keys/"), "--kms-key", denied, "--kms-key",
                      "alias/models")
        with self.lab.mount(self.lab.s3_url("two-keys"), "ready=unlocked",
                            "event-log=" + self.events) as mount:
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.plain))
        verdicts = [entry["verdict"] for entry in self.lab.kms.log()
                    if entry["operation"] == "Decrypt"]
        self.assertEqual(verdicts, ["AccessDeniedException", "ok"])


class LyingTpm(Attested):
    """The document is not what was asked for."""

    def fails(self, code, *words, **fault):
        with self.lab.tpm.fault(op="vendor", **fault):
            self.assert_refused(code, *words)
        # No mailbox stays behind.
        self.assertEqual(self.lab.tpm.ask("GET", "state").count("0x01"), 0)

    def test_other_nonce(self):
        for value in ("00" * 32, "00", None):
            with self.subTest(hex=value):
                self.fails(NOT_AUTHENTIC, "nonce", kind="swap", field="nonce", hex=value)

    def test_other_public_key(self):
        for value in ("30" * 294, None):
            with self.subTest(hex=value):
                self.fails(NOT_AUTHENTIC, "public key", kind="swap", field="public_key", hex=value)
        self.assertEqual(self.lab.kms.log(), [], "KMS was asked with a foreign key")

    def test_damaged_document(self):
        for kind in ("truncated", "garbage", "keep-request"):
            with self.subTest(kind=kind):
                self.fails(NOT_AUTHENTIC, kind=kind)

    def test_document_that_kms_does_not_believe(self):
        for kind in ("bad-signature", "wrong-root", "expired-leaf", "old"):
            with self.subTest(kind=kind):
                self.fails(REFUSED, kind=kind)

    def test_nsm_error(self):
        with self.lab.tpm.fault(op="vendor", error="InternalError"):
            result = self.lab.mount_fails(self.url, "ready=unlocked", "event-log=" + self.events)
        self.assertNotEqual(result.code, OK)
        self.assertIn("InternalError", result.err)

    def test_tpm_that_is_no_nitrotpm(self):
        plain = common.Tpm(self.lab, "plain-tpm", common.Tpm.BOOT, None, "--plain")
        result = self.lab.mount_fails(self.url, "ready=unlocked", "event-log=" + self.events,
                                      tpm=plain)
        self.assertNotEqual(result.code, OK)
        self.assertIn("nitrotpm", result.err.lower())
        plain.stop()

    def test_no_room_for_the_mailbox(self):
        """Others hold all the room: refused in plain words; freed, it works."""
        full = common.Tpm(self.lab, "full-tpm", common.Tpm.BOOT, None, "--mailboxes", "0")
        result = self.lab.mount_fails(self.url, "ready=unlocked", "event-log=" + self.events,
                                      tpm=full)
        self.assertNotEqual(result.code, OK)
        self.assertIn("room", result.err.lower())
        full.stop()
        self.assert_works()

    def test_tpm_that_is_never_free(self):
        """It asks to come back for ever: we do, for 20 seconds."""
        began = time.monotonic()
        with self.lab.tpm.fault(op="vendor", kind="retry"):
            result = self.lab.mount_fails(self.url, "ready=unlocked", "event-log=" + self.events)
        self.assert_result(result, UNREACHABLE, "TPM")
        self.assertLess(time.monotonic() - began, common.COMMAND_S)
        self.assert_works()

    def test_tpm_that_cuts_the_connection(self):
        with self.lab.tpm.fault(op="vendor", kind="drop"):
            result = self.lab.mount_fails(self.url, "ready=unlocked", "event-log=" + self.events)
        self.assertIn(result.code, (FAILURE, UNREACHABLE), result.err)
        self.assertIn("TPM", result.err)
        self.assert_works()

    def test_every_valid_form_of_document(self):
        for kind in ("definite", "tagged", "omit-null", "definite-outer", "indefinite-outer"):
            with self.subTest(kind=kind), self.lab.tpm.fault(op="vendor", kind=kind):
                self.lab.tpm.ask("GET", "state")
                self.assert_works()


class LyingKms(Attested):
    """KMS answers, and the answer is no key of this seal."""

    def test_other_keys(self):
        for kind in ("wrong-key", "plaintext-length"):
            with self.subTest(kind=kind), self.lab.kms.fault(op="Decrypt", kind=kind):
                self.assert_refused(NOT_AUTHENTIC)
        self.assert_works()

    def test_envelopes_that_do_not_open(self):
        for kind in ("garbage-cms", "truncated-cms", "wrong-recipient"):
            with self.subTest(kind=kind), self.lab.kms.fault(op="Decrypt", kind=kind):
                self.assert_refused(NOT_AUTHENTIC)
        self.assert_works()

    def test_service_that_does_not_do_attestation(self):
        """Such as other implementations of KMS's protocol: no answer that could be used."""
        with self.lab.kms.fault(op="Decrypt", kind="no-envelope"):
            self.assert_refused(UNREACHABLE, "attestation")

    def test_every_envelope_form(self):
        """Both BER forms, split or not: the emulator takes turns."""
        for _ in range(3):
            self.assert_works()
        forms = {entry["form"] for entry in self.lab.kms.log() if entry["form"]}
        self.assertGreater(len(forms), 1)


class Unreachable(Attested):
    """Nobody is there: 5, and the words say who."""

    # Fewer tries than the default, so that a refusal does not take a minute.
    FEW = {"AWS_MAX_ATTEMPTS": "2"}

    def test_kms(self):
        self.assert_refused(UNREACHABLE, "127.0.0.1:1",
                            extra={**self.FEW, "AWS_ENDPOINT_URL_KMS": NOWHERE})
        self.assert_works()

    def test_kms_that_fails(self):
        with self.lab.kms.fault(op="Decrypt", error="KMSInternalException"):
            self.assert_refused(UNREACHABLE, "KMSInternalException", extra=self.FEW)
        self.assert_works()

    def test_s3(self):
        result = self.lab.mount_fails(self.url, "event-log=" + self.events,
                                      extra={**self.FEW, "AWS_ENDPOINT_URL_S3": NOWHERE})
        self.assert_result(result, UNREACHABLE, "127.0.0.1:1")

    def test_s3_goes_away(self):
        with self.lab.mount(self.url, "event-log=" + self.events, extra=self.FEW) as mount:
            with self.lab.s3.fault(match=r"GET .*\.sealed", kind="status", status=503):
                self.assert_io_error(mount.join("m.gguf"))
            # Not the file's fault: it is served as soon as S3 is back.
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.plain))

    def test_tpm(self):
        self.assert_refused(UNREACHABLE, "TPM",
                            extra={"SEALEDFS_TCTI": "swtpm:host=127.0.0.1,port=1"})

    def test_kms_comes_back(self):
        """A refusal is remembered for a moment (net_kms_asked.py), then the next open asks again."""
        with self.lab.mount(self.url, "event-log=" + self.events) as mount:
            with self.lab.kms.fault(op="Decrypt", error="DisabledException"):
                self.assert_io_error(mount.join("m.gguf"))
                self.assert_io_error(mount.join("m.gguf"))
            time.sleep(1.1)
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.plain))

    def test_no_such_bucket_prefix_credentials(self):
        result = self.lab.mount_fails("s3://no-such-bucket/x", "event-log=" + self.events)
        self.assertNotEqual(result.code, OK)
        self.assertIn("no-such-bucket", result.err)
        result = self.lab.mount_fails(self.url, "event-log=" + self.events, extra={
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"})
        self.assertNotEqual(result.code, OK)
        self.assertIn("credentials", result.err.lower())


if __name__ == "__main__":
    common.main()
