#!/usr/bin/python3
"""sealctl policy: made policies, holes by name, explanations, and the probe of a live key. Drives fs/keypolicy, fs/aws
and tools/; decisions are made by the emulator's own evaluation."""

import base64
import json
import os
import re
import sys

import common
from common import FAILURE, NOT_AUTHENTIC, OK, REFUSED, UNREACHABLE, USAGE

sys.path.insert(0, os.path.join(common.TESTS, "emu"))
import iam_policy  # noqa: E402

DOCUMENT = os.path.join(common.TESTS, "vectors", "attestation-docs", "nitrotpm-us-east-1-20260203.cose")
ENCLAVE = os.path.join(common.TESTS, "vectors", "attestation-docs", "enclave-us-east-1-20240907.cose")
OWNER = "arn:aws:iam::111122223333:role/owner"
SEALER = "arn:aws:iam::111122223333:role/sealer"
ROLE = "arn:aws:iam::444455556666:role/runtime"
SESSION = "arn:aws:sts::444455556666:assumed-role/runtime/i-1"
KEY = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
A, B, C, ZERO = "4a" * 48, "7b" * 48, "c1" * 48, "00" * 48
ATTESTATION = "kms:RecipientAttestation:"


def vectors(name):
    with open(os.path.join(common.TESTS, "vectors", "policy", name + ".json"), encoding="utf-8") as file:
        return json.load(file)


def nitrotpm(pcr4=A, pcr7=B, pcr12=ZERO):
    return {ATTESTATION + "NitroTPMPCR4": pcr4, ATTESTATION + "NitroTPMPCR7": pcr7,
            ATTESTATION + "NitroTPMPCR12": pcr12}


class Base(common.Case):
    def write(self, name, value):
        path = self.lab.path(name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(value if isinstance(value, str) else json.dumps(value))
        return path

    def measurements(self, name, algorithm="SHA384", **pcrs):
        return self.write(name, {"Measurements": {"HashAlgorithm": algorithm, **pcrs}})

    def policy(self, *args, expect=OK, **how):
        return self.lab.sealctl("policy", *args, expect=expect, **how)

    def make(self, *files, more=(), **how):
        args = [word for file in files for word in ("--measurements", file)]
        return self.policy(*args, "--owner", OWNER, "--sealer", SEALER, "--role", ROLE, *more, **how)


class Make(Base):
    """--measurements"""

    def decide(self, policy, principal, action, context):
        return iam_policy.decide(policy, principal, "kms:" + action, KEY, context)

    def test_one_image(self):
        out = self.make(self.measurements("m.json", PCR4=A, PCR7=B, PCR12=ZERO)).out
        policy = json.loads(out)
        self.assertEqual(self.policy("--check", "-", stdin=out.encode()).code, OK)
        for expect, context in (("allow", nitrotpm()), ("deny", {}), ("deny", nitrotpm(pcr4=C)),
                                ("deny", nitrotpm(pcr7=C)), ("deny", nitrotpm(pcr12=C))):
            self.assertEqual(self.decide(policy, SESSION, "Decrypt", context), expect, context)
        for action in ("GenerateDataKey", "PutKeyPolicy", "CreateGrant", "ReEncryptFrom", "ScheduleKeyDeletion"):
            self.assertEqual(self.decide(policy, SESSION, action, nitrotpm()), "deny", action)
        for action in ("CreateGrant", "ReEncryptFrom", "ReplicateKey"):
            self.assertEqual(self.decide(policy, OWNER, action, {}), "deny", action)
        self.assertEqual(self.decide(policy, OWNER, "PutKeyPolicy", {}), "allow")
        self.assertEqual(self.decide(policy, OWNER, "Decrypt", nitrotpm()), "none")
        self.assertEqual(self.decide(policy, SEALER, "GenerateDataKey", {}), "allow")

    def test_several_images(self):
        """Each value of each; those that are the same once."""
        files = [self.measurements(f"m{n}.json", PCR4=pcr4, PCR7=B.upper(), PCR12=ZERO)
                 for n, pcr4 in enumerate((A, C))]
        policy = json.loads(self.make(*files).out)
        for pcr4, expect in ((A, "allow"), (C, "allow"), (B, "deny")):
            self.assertEqual(self.decide(policy, SESSION, "Decrypt", nitrotpm(pcr4=pcr4)), expect)
        allow = [s for s in policy["Statement"] if s["Sid"] == "ApprovedImageUnlocks"]
        self.assertEqual(allow[0]["Condition"], {"StringEqualsIgnoreCase": nitrotpm(pcr4=[A, C])})

    def test_enclave(self):
        file = self.measurements("e.json", "Sha384 { ... }", PCR0=A, PCR1=B, PCR2=C, PCR8=A)
        policy = json.loads(self.make(file, more=["--enclave"]).out)
        right = {ATTESTATION + "ImageSha384": A, ATTESTATION + "PCR0": A, ATTESTATION + "PCR1": B,
                 ATTESTATION + "PCR2": C, ATTESTATION + "PCR8": A}
        self.assertEqual(self.decide(policy, SESSION, "Decrypt", right), "allow")
        for key in right:
            if key.endswith("ImageSha384"):
                continue
            self.assertEqual(self.decide(policy, SESSION, "Decrypt", {**right, key: ZERO}), "deny", key)
        result = self.make(file, expect=None)
        self.assert_result(result, USAGE, "there is no PCR 4", "give --enclave")
        zero = self.measurements("z.json", PCR0=ZERO, PCR1=ZERO, PCR2=ZERO)
        self.assert_result(self.make(zero, more=["--enclave"], expect=None), USAGE, "debug mode")

    def test_refused(self):
        good = self.measurements("good.json", PCR4=A, PCR7=B, PCR12=ZERO)
        old = self.measurements("old.json", PCR4=A, PCR7=B)
        self.assert_result(self.make(old, expect=None), USAGE, "PCR 12", "1.1.0")
        self.assert_result(self.make(good, more=["--role", OWNER], expect=None), USAGE, "cannot be")
        self.assert_result(self.make(good, more=["--role", SESSION], expect=None), USAGE, "role's ARN")
        self.assert_result(self.make(self.write("x.json", "{}"), expect=None), NOT_AUTHENTIC, "x.json")
        self.assert_result(self.make("/nonexistent", expect=None), FAILURE, "/nonexistent")
        for args in ((), ("--measurements", good), ("--measurements", good, "--owner", OWNER),
                     ("--check", good, "--owner", OWNER), ("--explain", DOCUMENT), ("--policy", good),
                     ("--check", good, "--probe", KEY), ("--check", good, "--attest"), ("--check", good, "more")):
            self.policy(*args, expect=USAGE)

    def test_owner_who_could_lend_the_key(self):
        """The account itself as owner is a hole where the runtime role belongs to it."""
        file = self.measurements("m.json", PCR4=A, PCR7=B, PCR12=ZERO)
        for account, code in (("111122223333", OK), ("444455556666", USAGE)):
            result = self.policy("--measurements", file, "--owner", f"arn:aws:iam::{account}:root",
                                 "--sealer", SEALER, "--role", ROLE, expect=code)
            if code == USAGE:
                self.assertIn("would have a hole", result.err)

    def test_aws_md_is_what_is_made(self):
        """fs/unlock/AWS.md: its command prints its policy, which has no hole."""
        text = common.read_text(os.path.join(common.TOP, "fs", "unlock", "AWS.md"))
        shown = re.search(r"```json\n(.*?)```", text, re.S)[1]
        command = re.search(r"sealctl policy (--measurements .*?) > policy.json", text, re.S)[1]
        pcrs = {"PCR" + index: value for index, value in re.findall(r'NitroTPMPCR(\d+)": "([0-9a-f]{96})"', shown)}
        file = self.measurements("aws.json", **pcrs)
        args = command.replace("\\\n", " ").replace("pcrs.json", file).split()
        self.assertEqual(self.policy(*args).out, shown)
        self.assertEqual(json.loads(self.policy("--check", "-", "--json", stdin=shown.encode()).out)["holes"], [])


class Check(Base):
    """--check"""

    def test_vectors(self):
        """Policies with one hole, and published ones, through the program: ids and exit codes."""
        for name in ("holes", "published"):
            for case in vectors(name):
                with self.subTest(case["name"]):
                    wanted = sorted(case["holes"])
                    result = self.policy("--check", "-", "--json", stdin=json.dumps(case["policy"]).encode(),
                                         expect=REFUSED if wanted else OK)
                    found = json.loads(result.out)
                    self.assertEqual(sorted({hole["id"] for hole in found["holes"]}), wanted)
                    self.assertEqual(found["ok"], not wanted)

    def test_man_page_has_every_id(self):
        page = common.read_text(os.path.join(common.TOP, "tools", "man", "sealctl.1.scd"))
        for hole in {hole for case in vectors("holes") for hole in case["holes"]}:
            self.assertIn(f"*{hole}*", page)

    def test_text(self):
        """Statement, example and cure; what a policy says cannot drive the terminal."""
        policy = {"Statement": [{"Sid": "evil\x1b[2J\nok", "Effect": "Allow", "Principal": {"AWS": ROLE + "\u202e"},
                                 "Action": "kms:Decrypt", "Resource": "*"}]}
        result = self.policy("--check", self.write("evil.json", policy), expect=REFUSED)
        for word in ("statement 1 (evil", "unattested-decrypt", "example: kms:Decrypt by " + ROLE,
                     "instead: condition it on the PCRs"):
            self.assertIn(word, result.out)
        self.assertIn("1 hole", result.err)
        for char in ("\x1b", "\u202e"):
            self.assertNotIn(char, result.out + result.err)
        self.assertFalse(any(line.startswith("ok") for line in result.out.splitlines()))

    def test_refused(self):
        self.assert_result(self.policy("--check", "/nonexistent", expect=None), FAILURE, "/nonexistent")
        for text in ("", "{", '{"Statement":[{"Effect":"Maybe"}]}', "[" * 100000):
            self.policy("--check", self.write("bad.json", text), expect=None if len(text) > 50 else NOT_AUTHENTIC)


class Explain(Base):
    """--explain"""

    def check(self, document, code, values, more=(), expected=()):
        condition = {"StringEqualsIgnoreCase": {ATTESTATION + key: value for key, value in values.items()}}
        policy = self.write("p.json", {"Statement": {
            "Sid": "Unlock", "Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:*", "Resource": "*",
            "Condition": condition}})
        result = self.policy("--explain", document, "--policy", policy, *more, expect=code)
        for word in expected:
            self.assertIn(word, result.out)
        return json.loads(self.policy("--explain", document, "--policy", policy, "--json", *more, expect=code).out)

    def test_documents_of_hardware(self):
        pcrs = json.loads(self.lab.sealctl("inspect", "--json", DOCUMENT, expect=OK).out)
        pcrs = pcrs.get("pcrs") or pcrs["objects"][0]["pcrs"]
        right = {f"NitroTPMPCR{n}": pcrs[str(n)] for n in (4, 7, 12)}
        found = self.check(DOCUMENT, OK, right, expected=("would be accepted", "not verified"))
        self.assertEqual([row["fits"] for row in found["conditions"]], [True] * 3)
        found = self.check(DOCUMENT, REFUSED, {**right, "NitroTPMPCR7": [B, C]},
                           expected=("would be refused", "PCR 7", pcrs["7"], B, C))
        self.assertEqual({row["pcr"]: row["fits"] for row in found["conditions"]},
                         {"PCR 4": True, "PCR 7": False, "PCR 12": True})
        self.check(ENCLAVE, REFUSED, right, expected=("is not in the document",))
        self.check(DOCUMENT, REFUSED, {"PCR0": pcrs["0"]}, expected=("is not in the document",))
        self.check(DOCUMENT, REFUSED, right, more=["--role", OWNER], expected=("no statement allows",))
        self.check(DOCUMENT, OK, right, more=["--role", SESSION])

    def test_base64(self):
        """A document as sealctl inspect and verify read it."""
        with open(DOCUMENT, "rb") as document:
            text = base64.encodebytes(document.read()).decode()
        self.check(self.write("doc.b64", text), REFUSED, {"NitroTPMPCR12": A}, expected=("PCR 12", ZERO))

    def test_refused(self):
        policy = self.write("p.json", vectors("published")[0]["policy"])
        self.policy("--explain", policy, "--policy", policy, expect=NOT_AUTHENTIC)
        self.policy("--explain", DOCUMENT, "--policy", DOCUMENT, expect=NOT_AUTHENTIC)


class Probe(Base):
    """--probe: KMS's dry runs, judged by the emulator's evaluation of the whole policy."""

    PARTS = ("tpm", "kms")

    def setUp(self):
        tpm = self.lab.tpm
        self.principals = {self.lab.access_keys["operator"]: SESSION,
                           self.lab.access_keys["owner"]: SEALER.replace(":iam:", ":sts:").replace(
                               ":role/", ":assumed-role/") + "/x"}
        file = self.measurements("tpm.json", **{f"PCR{n}": tpm.pcr("sha384", n) for n in (4, 7, 12)})
        self.document = json.loads(self.make(file).out)
        self.lab.kms.clear_log()

    def put(self, *statements):
        document = {**self.document, "Statement": [*statements, *self.document["Statement"]]}
        return self.lab.kms.put_policy("alias/probed", document, self.principals)

    def probe(self, key, *args, code=OK, who="operator"):
        result = self.policy("--probe", key, *args, "--json", who=who, expect=code)
        found = json.loads(result.out)
        return {("attested " if step["attested"] else "") + step["operation"]: step["answer"]
                for step in found["steps"]}, found, result

    def test_made_policy(self):
        key = self.put()
        answers, found, _ = self.probe(key, "--attest")
        self.assertEqual(answers, {"Decrypt": "refused", "ReEncrypt": "refused", "CreateGrant": "refused",
                                   "GenerateDataKey": "refused", "attested Decrypt": "permitted"})
        self.assertIn("the document was judged", found["conclusion"])
        self.assertTrue(all(call["verdict"] in ("AccessDeniedException", "DryRunOperationException")
                            for call in self.lab.kms.log()))
        answers, found, _ = self.probe(key)
        self.assertEqual(answers["attested Decrypt"], "not asked")
        self.assertIn("--attest", found["conclusion"])
        key = self.put({"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:GetKeyPolicy", "Resource": "*"})
        self.assertIn("no hole", self.policy("--check", key, who="operator").out)
        text = self.policy("--probe", key, "--attest", who="operator").out
        self.assertRegex(text, r"un-attested +Decrypt +refused")
        self.assertRegex(text, r"\n +attested +Decrypt +permitted")

    def test_sealer_may_make_keys(self):
        answers, _, _ = self.probe(self.put(), who="owner")
        self.assertEqual(answers["GenerateDataKey"], "permitted")

    def test_holes(self):
        """Each is found by asking, whatever the policy's words are."""
        allowed = [s for s in self.document["Statement"] if s["Effect"] == "Allow"]
        for operation in ("Decrypt", "ReEncrypt", "CreateGrant", "GenerateDataKey"):
            opened = {"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": f"kms:{operation}*", "Resource": "*"}
            key = self.lab.kms.put_policy("alias/probed", {"Statement": [*allowed, opened]}, self.principals)
            answers, _, result = self.probe(key, "--attest", code=REFUSED)
            self.assertEqual([name for name, answer in answers.items() if answer == "permitted"],
                             [operation, "attested Decrypt"])
            self.assertIn(f"permits {operation} without", result.err)

    def test_another_image(self):
        key = self.put()
        self.lab.tpm.extend(12, sha384="12" * 48)
        try:
            answers, found, _ = self.probe(key, "--attest", code=REFUSED)
        finally:
            self.lab.tpm.ask("POST", "reboot", {})
        self.assertEqual(answers["attested Decrypt"], "refused")
        self.assertIn("does not document", found["conclusion"])

    def test_dry_runs_that_ignore_documents(self):
        """What AWS leaves open: then an attested dry run proves nothing, and that is printed."""
        key = self.put()
        with self.lab.kms.fault(op="Decrypt", kind="recipient-ignored"):
            _, found, _ = self.probe(key, "--attest", code=REFUSED)
        self.assertIn("does not document", found["conclusion"])

    def test_server_without_dry_runs(self):
        """It answers for real: that counts as permitted, and no key is shown."""
        key = self.lab.kms.key("alias/open")
        with self.lab.kms.fault(op="GenerateDataKey", kind="dry-run-ignored"):
            result = self.policy("--probe", key, who="operator", expect=REFUSED)
        self.assertIn("did not treat it as a dry run", result.out)

    def test_errors(self):
        self.assert_result(self.policy("--probe", "alias/probed", who="operator", expect=None), USAGE, "ARN")
        missing = self.put()[:-12] + "0" * 12
        self.policy("--probe", missing, who="operator", expect=REFUSED)
        self.policy("--probe", missing, "--kms-endpoint", "http://127.0.0.1:1", who="operator", expect=UNREACHABLE,
                    extra={"AWS_MAX_ATTEMPTS": "1"})
        self.policy("--check", self.lab.kms.key("alias/models"), who="operator", expect=REFUSED)


if __name__ == "__main__":
    common.main()
