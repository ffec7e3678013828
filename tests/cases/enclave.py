#!/usr/bin/python3
"""Nitro Enclaves (attest/nsm, tools/cat): a Nitro Secure Module in the place of the TPM. Attested unlock, PCRs 16 to 31,
locking; modules that lie or are not there. The emulator checks every request on its own."""

import os
import subprocess
import sys

import common
from common import FAILURE, NOT_AUTHENTIC, OK, REFUSED, UNREACHABLE, USAGE

import common_measuring
import measured
from common_enclave import EnclaveCase, IMAGE

sys.path.append(common.EMU)
import cose  # noqa: E402  (lies beside the emulators)
import testca  # noqa: E402


class Enclave(EnclaveCase):
    def cat(self, *more, model="prod/m.gguf", code=OK, words=(), child=()):
        """Bytes of sealctl cat; none when it is refused."""
        done = subprocess.run(
            [common.SEALCTL, "cat", "-o", self.options(*more), self.lab.s3_url(model), *child],
            env=self.lab.env("operator"), stdin=subprocess.DEVNULL, capture_output=True, timeout=common.COMMAND_S,
            check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word.lower(), done.stderr.decode().lower())
        if code != OK:
            self.assertEqual(done.stdout, b"")
        return done.stdout

    def want(self):
        return common.read_bytes(self.plain)

    def predicted(self, *paths):
        start = measured.start_text("verity", "nsm", [measured.signer_id(self.public)])
        return common_measuring.predicted("verity", "sha384", *(paths or (self.plain,)), start=start)


class Unlock(Enclave):
    def test_unlocked_and_measured(self):
        self.lab.kms.clear_log()
        self.assertEqual(self.cat(), self.want())
        self.assertEqual(self.nsm.pcr(16), self.predicted())
        recipient = [call["recipient"] for call in self.lab.kms.log() if call["operation"] == "Decrypt"][-1]
        self.assertEqual((recipient["kind"], recipient["genuine"], recipient["pcrs"]["0"]), ("enclave", True, IMAGE[0]))
        asked = self.nsm.operations()
        self.assertEqual(asked[:2], ["GetRandom", "Attestation"])
        self.assertEqual([name for name in asked[2:] if name != "DescribePCR"], ["ExtendPCR", "ExtendPCR"])
        records = common_measuring.records(self.events)
        self.assertEqual({record["pcr"] for record in records}, {16})
        self.assertEqual({len(record["digests"]) for record in records}, {1})
        self.assertEqual(common_measuring.replayed(self.events, "sha384", 16), self.predicted())

    def test_each_pcr(self):
        for pcr in (16, 17, 23, 24, 31):
            self.assertEqual(self.cat(f"pcr={pcr}"), self.want())
            self.assertEqual(self.nsm.pcr(pcr), self.predicted())
        self.assertEqual(len(set(self.nsm.state()["pcrs"][3:])), 2)
        self.assertEqual(self.nsm.pcr(18), "00" * 48)

    def test_other_image(self):
        self.put_key("alias/other-enclave", "ab" * 48)
        self.lab.seal(self.plain, self.lab.s3_url("other/"), "--kms-key", "alias/other-enclave", "--sign", self.private)
        self.cat("kms-policy=" + self.policy("ab" * 48), model="other/m.gguf", code=REFUSED, words=[IMAGE[0], "ab" * 48, "ImageSha384"])
        self.cat(model="other/m.gguf", code=REFUSED, words=["this enclave", "PCR 0 = " + IMAGE[0]])
        self.assertNotIn("ExtendPCR", self.nsm.operations())

    def policy(self, image):
        path = self.lab.path("policy.json")
        with open(path, "w", encoding="utf-8") as out:
            out.write('{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": '
                      '"kms:Decrypt", "Resource": "*", "Condition": {"StringEqualsIgnoreCase": '
                      f'{{"kms:RecipientAttestation:PCR0": "{image}"}}}}}}]}}')
        return path

    def test_mounted(self):
        """Where the kernel has FUSE, a mount uses the module too, and counts what cat measured."""
        self.assertEqual(self.cat(), self.want())
        value = self.nsm.pcr(16)
        with self.lab.mount(self.lab.s3_url("prod"), *self.options().split(","), "ready=measured", "lock-pcr") as mount:
            self.assertEqual(common.read_bytes(mount.join("m.gguf")), self.want())
            self.assertIn(16, self.nsm.state()["locked"])
        self.assertEqual(self.nsm.pcr(16), value)
        self.nsm.operations()

    def test_document_shows_a_locked_pcr(self):
        """sealctl attest, as anybody can check it with the root."""
        for locked in (False, True):
            self.nsm.restart()
            self.events += "x"
            self.cat(*(["lock-pcr"] if locked else []))
            out = self.lab.path("doc.cose")
            self.lab.sealctl("attest", "--tcti", self.nsm.tcti, "--nonce", "00ff", "-o", out, expect=OK)
            document = cose.parse_document(common.read_bytes(out))
            cose.verify_document(document, testca.root_of(self.lab.path("ca")), document.timestamp_s)
            self.assertEqual(document.payload["nonce"], b"\0\xff")
            self.assertEqual(document.pcrs[0].hex(), IMAGE[0])
            self.assertEqual(document.pcrs.get(16, b"").hex(), self.predicted() if locked else "")


class Locked(Enclave):
    def test_locked_after_measuring(self):
        """Before the program gets the model; and nothing else can be measured then."""
        out = self.cat("lock-pcr", child=["--", "sh", "-c", "wc -c < {}"])
        self.assertEqual(int(out), len(self.want()))
        self.assertEqual(self.nsm.state()["locked"], [*range(16), 16])
        self.assertEqual(self.nsm.operations().count("LockPCR"), 1)
        # The same model again: it is in the PCR already. Another one cannot come there.
        self.assertEqual(self.cat("lock-pcr"), self.want())
        other = common.make_model(self.lab.path("plain", "n.gguf"), 1000, 2)
        self.lab.seal(other, self.lab.s3_url("prod/"), "--kms-key", "alias/enclave", "--sign", self.private)
        self.cat(model="prod/n.gguf", code=REFUSED, words=["PCR is locked", "lock-pcr"])
        self.assertEqual(self.nsm.pcr(16), self.predicted())
        self.cat("pcr=17", model="prod/n.gguf")
        self.assertEqual(self.nsm.pcr(17), self.predicted(other))

    def test_lock_that_does_nothing(self):
        with self.nsm.fault(op="LockPCR", kind="raw", hex="674c6f636b504352"):
            self.cat("lock-pcr", code=FAILURE, words=["not locked afterwards"])

    def test_options(self):
        for options, words in ((["pcr=15"], "must be 16 to 31"), (["pcr=32"], "0 to 31"), (["pcr=0"], "must be 16 to 31"),
                               (["lock-pcr", "measure=none"], "nothing to lock")):
            self.cat(*options, code=USAGE, words=[words])
        for options, words in (("tcti=swtpm:host=127.0.0.1\\,port=1,lock-pcr", "only the PCRs of a Nitro Enclave"),
                               ("tcti=device:/dev/tpm0,pcr=16", "must be 0 to 15"),
                               ("tcti=device:/dev/tpm0,attest=nsm", "is a TPM")):
            done = self.lab.sealctl("cat", "-o", options, self.lab.s3_url("prod/m.gguf"))
            self.assert_result(done, USAGE, words)
        done = self.lab.mount_fails(self.lab.s3_url("prod"), *self.options("lock-pcr").split(","))
        self.assert_result(done, USAGE, "lock-pcr needs ready=measured")
        self.assertEqual(self.nsm.operations(), [])


class Lies(Enclave):
    """A module, or whoever answers in its place, that does something else."""

    def test_not_there(self):
        self.cat(f"tcti=nsm:unix:{self.lab.path('nothing')}", code=UNREACHABLE, words=["no Nitro Secure Module"])
        self.cat("tcti=nsm:" + self.lab.path("nothing"), code=UNREACHABLE, words=["no Nitro Secure Module"])
        if not os.path.exists("/dev/nsm"):
            self.cat("tcti=nsm", code=UNREACHABLE, words=["/dev/nsm"])
        self.cat("tcti=nsm:/dev/null", code=FAILURE, words=["does not answer"])

    def test_extension_that_does_nothing(self):
        with self.nsm.fault(op="ExtendPCR", kind="not-extended"):
            self.cat(code=FAILURE, words=["another value than it must have"])

    def test_other_document(self):
        for fault, code, words in (({"kind": "swap", "field": "nonce"}, NOT_AUTHENTIC, "another nonce"),
                                   ({"kind": "swap", "field": "public_key"}, NOT_AUTHENTIC, "another public key"),
                                   ({"kind": "wrong-root"}, REFUSED, "AccessDenied"),
                                   ({"kind": "bad-signature"}, REFUSED, "AccessDenied"),
                                   ({"kind": "truncated"}, NOT_AUTHENTIC, "document")):
            with self.subTest(fault=fault), self.nsm.fault(op="Attestation", **fault):
                self.cat(code=code, words=[words])

    def test_a_document_of_another_kind(self):
        """Of a TPM, by whoever stands in the module's place; and the other way round."""
        with self.lab.tpm.fault(op="vendor", kind="enclave"):
            done = self.lab.sealctl("cat", "-o", "event-log=" + self.events, self.lab.s3_url("prod/m.gguf"), who="operator")
            self.assert_result(done, NOT_AUTHENTIC, "not of the kind that a NitroTPM makes")

    def test_errors_and_nonsense(self):
        for op, name, code, words in (
                ("Attestation", "InternalError", FAILURE, "InternalError"),
                ("Attestation", "InvalidOperation", FAILURE, "InvalidOperation"),
                ("GetRandom", "InternalError", FAILURE, "refused GetRandom"),
                ("DescribePCR", "InvalidIndex", USAGE, "no such PCR"),
                ("ExtendPCR", "ReadOnlyIndex", REFUSED, "the PCR is locked"),
                ("ExtendPCR", "NewError", FAILURE, "refused ExtendPCR: NewError")):
            with self.subTest(op=op, name=name), self.nsm.fault(op=op, error=name):
                self.cat(code=code, words=[words])
            self.nsm.restart()
            self.events += "x"
        for op in ("GetRandom", "Attestation", "DescribePCR", "ExtendPCR")[:1 if common.QUICK else 4]:
            for answer in ("00", "f6", "a0", "ff", "a1", "60", "67" + b"LockPCR".hex(), "a1674c6f636b504352a0",
                           "a16b4465736372696265504352a1646c6f636bf5", "a16947657452616e646f6da16672616e646f6d4100",
                           "a1654572726f72f6", "a1654572726f7264" + b"a\nb\x1b".hex(), "9f" * 40):
                with self.subTest(op=op, answer=answer), self.nsm.fault(op=op, kind="raw", hex=answer):
                    done = subprocess.run([common.SEALCTL, "cat", "-o", self.options(), self.lab.s3_url("prod/m.gguf")],
                                          env=self.lab.env("operator"), stdin=subprocess.DEVNULL, capture_output=True,
                                          timeout=common.COMMAND_S, check=False)
                    self.assertIn(done.returncode, (FAILURE, NOT_AUTHENTIC), done.stderr)
                    self.assertEqual(done.stdout, b"")
                    self.assertNotIn(b"\x1b", done.stderr)
                self.nsm.restart()
                self.events += "x"

    def test_it_ends_half_way(self):
        for op in ("GetRandom", "Attestation", "DescribePCR", "ExtendPCR"):
            with self.subTest(op=op), self.nsm.fault(op=op, kind="drop"):
                self.cat(code=NOT_AUTHENTIC, words=["does not answer"])
            self.nsm.restart()
            self.events += "x"


if __name__ == "__main__":
    common.main()
