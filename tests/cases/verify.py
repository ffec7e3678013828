#!/usr/bin/python3
"""sealctl verify: the cases of tests/vectors/verdict/ as options and files, what is printed, policy files, the forms of a model,
and results for others (EAR), which a JWT library that is not ours accepts. Rooms: attest/verdict, tools."""

import base64
import glob
import hashlib
import json
import os
import subprocess
import sys
import unittest

import jwt

import common
from common import FAILURE, NOT_AUTHENTIC, OK, REFUSED, USAGE

VECTORS = os.path.join(common.TESTS, "vectors", "verdict")
DOCUMENTS = os.path.join(common.TESTS, "vectors", "attestation-docs")
NITROTPM = os.path.join(DOCUMENTS, "nitrotpm-us-east-1-20260203.cose")
AT = "2026-02-03T10:12:10Z"
sys.path.insert(0, VECTORS)

import world  # noqa: E402  pylint: disable=wrong-import-position

PLAIN = {model.name: model.plain for model in (world.MISTRAL, world.LLAMA, world.PHI)}


def case(name):
    with open(os.path.join(VECTORS, name + ".json"), encoding="utf-8") as stream:
        return json.load(stream)


def pem(label, der):
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n"


class Base(common.Case):
    def setUp(self):
        self.folder = self.lab.path(self.id().rsplit(".", 1)[1], make=True)

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as out:
            out.write(content if isinstance(content, bytes) else content.encode())
        return path

    def verify(self, *argv, expect=OK, **more):
        return self.lab.sealctl("verify", *argv, expect=expect, **more)

    def verify_json(self, *argv, expect=OK):
        return json.loads(self.verify(*argv, expect=expect).out)

    def evidence(self, request):
        names = ("document", "event_log", "systemd_log")
        found = {"sealedfs_evidence": 1, "pcr": request.get("model_pcr", 15), **{n: request.get(n) for n in names}}
        found["seals"] = [{"path": "x", "head": head} for head in request.get("seals", ())]
        found["sets"] = [{"head": head} for head in request.get("sets", ())]
        return self.file("evidence.json", json.dumps(found))

    def model_option(self, model):
        """None where the options cannot express it."""
        kinds = [kind for kind in ("sha256", "sha384", "verity") if kind in model]
        if model.get("label"):
            return self.file(model["label"], PLAIN[model["label"]]) if model["label"] in PLAIN else None
        return f"{kinds[0]}:{model[kinds[0]]}" if len(kinds) == 1 else None

    def options(self, request, files=False):
        """The command line that asks the same; None: there is none. files: logs apart, not as evidence."""
        statements = request.get("seals", []) + request.get("sets", [])
        if "tls_key" in request or "members" in request or (statements and "event_log" not in request):
            return None
        argv = ["--at", f"@{request['time']}"]
        if "max_age" in request or not request.get("time_given"):
            argv += ["--max-age", str(request.get("max_age", 300))]
        if "root" in request:
            argv += ["--root", self.file("root.der", base64.b64decode(request["root"]))]
        for pcr, values in request.get("boot", {}).items():
            argv += [word for value in values for word in ("--pcr", f"{pcr}={value}")]
        for name, option in (("nonce", "--nonce"), ("model_pcr", "--model-pcr"), ("attest", "--attest")):
            argv += [option, str(request[name])] if name in request else []
        for model in request.get("models", ()):
            option = self.model_option(model)
            if option is None:
                return None
            argv += ["--model", option]
        argv += [word for mode in request.get("modes", ()) for word in ("--measure", mode)]
        argv += [word for key in request.get("kms", ()) for word in ("--kms-key", key)]
        for number, owner in enumerate(request.get("owner_keys", ())):
            path = self.file(f"{number}.pub", pem("PUBLIC KEY", base64.b64decode(owner["key"])))
            argv += ["--owner-key", f"{owner['name']}={path}"]
        argv += ["--allow-debug"] if request.get("debug") else []
        if "event_log" in request and not (files and not statements):
            return [*argv, self.evidence(request)]
        for name in ("event_log", "systemd_log"):
            if name in request:
                argv += ["--" + name.replace("_", "-"), self.file(name, base64.b64decode(request[name]))]
        return [*argv, self.file("document", base64.b64decode(request["document"]))]


class Cases(Base):
    def test_every_case(self):
        done = 0
        for number, path in enumerate(sorted(glob.glob(os.path.join(VECTORS, "*.json")))):
            name = os.path.basename(path)[:-5]
            wanted = case(name)
            argv = self.options(wanted["request"], files=number % 2)
            if argv is None:
                continue
            with self.subTest(name):
                found = self.verify_json(*argv, "--json", expect=wanted["expect"]["exit_code"])
                if "decode" not in wanted["expect"]["reasons"]:
                    self.assertEqual(found["sentence"], wanted["expect"]["sentence"])
                self.assertEqual({step["step"]: step["status"] for step in found["steps"]}, wanted["expect"]["steps"])
                self.assertEqual(found["verified"], wanted["expect"]["exit_code"] == 0)
                self.assertEqual(found["exit_code"], wanted["expect"]["exit_code"])
            done += 1
        self.assertGreater(done, 150)


class Printed(Base):
    def test_verified(self):
        out = self.verify("--at", AT, NITROTPM).out
        self.assertEqual(out.splitlines()[0],
                         "The document is genuine; boot image not checked; document of 2026-02-03T10:12:02Z.")
        steps = [line.split()[0] for line in out.splitlines()[2:12]]
        self.assertEqual(steps, ["decode", "fields", "chain", "signature", "freshness", "tls", "boot", "log",
                                 "model", "owner"])
        self.assertIn("PCR 4   1a1f166e", out)

    def test_not_verified_is_never_called_verified(self):
        done = self.verify(NITROTPM, expect=REFUSED)
        self.assertTrue(done.out.startswith("Not verified: the document is "), done.out)
        self.assertNotIn("genuine", done.out)
        self.assertIn("Not verified: ", done.err)

    def test_json_has_every_claim(self):
        argv = self.options({k: v for k, v in case("everything")["request"].items() if k != "tls_key"})
        found = self.verify_json(*argv, "--json")
        held = found["holds"]
        self.assertEqual([model["owner"] for model in held["models"]], ["acme"])
        self.assertEqual(held["models"][0]["sha256"], world.MISTRAL.digests.sha256)
        self.assertTrue(held["starts"][0].startswith("sealedfs:start:measure=verity,"))
        self.assertEqual(found["document"]["kind"], "nitrotpm")
        self.assertNotIn("verified", found["document"])
        self.assertEqual(found["age_s"], 12)
        self.assertTrue(all(step["reason"] for step in found["steps"]))

    def test_names_cannot_drive_a_terminal(self):
        argv = self.options({**case("owner-good")["request"],
                             "owner_keys": [world.owner("a\x1b[2J", world.ACME)]})
        out = self.verify(*argv).out
        self.assertNotIn("\x1b", out)
        self.assertIn(r"sealed by a\x1b[2J", out)

    def test_forms_of_a_document(self):
        raw = common.read_bytes(NITROTPM)
        text = base64.encodebytes(raw)
        for name, content in (("raw", raw), ("base64", text), ("one-line", base64.b64encode(raw))):
            self.verify("--at", AT, self.file(name, content))
        done = subprocess.run([common.SEALCTL, "verify", "--at", AT, "-"], input=raw, check=True, timeout=60,
                              stdout=subprocess.PIPE)
        self.assertTrue(done.stdout.startswith(b"The document is genuine"))

    def test_what_is_no_document(self):
        for content in (b"", b"hello", base64.b64encode(b"hello"), os.urandom(500)):
            done = self.verify("--at", AT, self.file("x", content), expect=NOT_AUTHENTIC)
            self.assertTrue(done.out.startswith("Not verified: the document cannot be decoded: "), done.out)
        self.verify("--at", AT, os.path.join(self.folder, "missing"), expect=FAILURE)


class Wrong(Base):
    def test_usage(self):
        good = ["--at", AT, NITROTPM]
        for argv in ([], [NITROTPM, NITROTPM], ["--nonce", "0", *good], ["--max-age", "-1", *good], ["--at", "now", NITROTPM],
                     ["--pcr", "4=00", *good], ["--pcr", "32=" + "00" * 48, *good], ["--pcr", "00" * 48, *good],
                     ["--model", "sha256:00", *good], ["--measure", "none", *good], ["--model-pcr", "16", *good],
                     ["--attest", "maybe", *good], ["--ear-names", "x", *good], ["--measure", "verity", *good],
                     ["--root", self.file("no-root", "x"), *good], ["--kms-key", "x", *good]):
            with self.subTest(argv):
                self.verify(*argv, expect=USAGE)

    def test_evidence_that_is_malformed(self):
        request = case("owner-good")["request"]
        good = json.loads(common.read_text(self.evidence(request)))
        for change in ({"sealedfs_evidence": 2}, {"document": 1}, {"document": "?"}, {"event_log": 5}, {"pcr": 16},
                       {"seals": {}}, {"seals": [{}]}, {"seals": [{"head": base64.b64encode(bytes(2176)).decode()}]},
                       {"seals": [{"head": base64.b64encode(bytes(9000)).decode()}]}):
            path = self.file("bad.json", json.dumps({**good, **change}))
            with self.subTest(list(change)):
                self.verify("--at", AT, path, expect=NOT_AUTHENTIC)
        path = self.file("doubled.json", '{"sealedfs_evidence":1,"sealedfs_evidence":1}')
        self.verify("--at", AT, path, expect=NOT_AUTHENTIC)
        self.verify("--at", AT, "--event-log", path, self.evidence(request), expect=USAGE)


class Expected(Base):
    """Models, seals and owners as an owner has them, from a real sealing."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.private, cls.public = cls.lab.owner_key("acme")
        cls.key = cls.lab.key_file()

    def setUp(self):
        super().setUp()
        self.plain = self.file("mistral-7b.gguf", world.MISTRAL.plain)
        self.sealed = os.path.join(self.folder, "sealed")
        self.lab.sealctl("seal", self.plain, self.sealed, "--key-file", self.key, "--sign", self.private)
        self.w = world.World()
        self.addCleanup(self.w.folder.cleanup)
        key = common.read_text(self.public)
        self.owner_id = hashlib.sha256(base64.b64decode("".join(key.splitlines()[1:-1]))).hexdigest()
        start = world.measured.start_text("verity", "nitrotpm", [self.owner_id])
        self.machine = world.Machine().start(text=start).model(world.MISTRAL)
        self.argv = ["--at", f"@{world.NOW_S + 12}", "--max-age", "300", "--root",
                     self.file("root.der", self.w.root)]
        self.document = self.file("document", self.w.document(self.machine))
        self.log = ["--event-log", self.file("log", self.machine.log)]

    def test_models(self):
        seal = os.path.join(self.sealed, "mistral-7b.gguf.seal")
        for what, owner in ((self.plain, False), (seal, True), (self.sealed, True)):
            keys = ["--owner-key", self.public] if owner else []
            sealed = " (sealed by acme)" if owner else ""
            out = self.verify(*self.argv, *self.log, "--model", what, *keys, self.document).out
            self.assertEqual(out.splitlines()[0], f"PCR 15 holds exactly one model: mistral-7b{sealed}, every byte "
                             "checked; boot image not checked; document 12 s old (no nonce).")
        out = self.verify(*self.argv, *self.log, "--seal", self.sealed, "--owner-key", "me=" + self.public,
                          "--model", "sha256:" + world.MISTRAL.digests.sha256, self.document).out
        self.assertIn("mistral-7b (sealed by me), every byte checked", out)

    def test_without_a_log(self):
        out = self.verify(*self.argv, "--model", self.sealed, "--owner-key", self.public, self.document).out
        self.assertIn("exactly one model: mistral-7b (sealed by acme), every byte checked", out)
        self.verify(*self.argv, "--model", self.sealed, self.document, expect=REFUSED)

    def test_set(self):
        """A directory with a set is the set, one model; its seals are there for those who want them."""
        place = os.path.join(self.folder, "set")
        self.lab.sealctl("seal", self.plain, place, "--set", "prod", "--key-file", self.key, "--sign", self.private, expect=OK)
        content = json.loads(self.lab.sealctl("inspect", "--json", os.path.join(place, "sealed.set"), expect=OK).out)
        content = content["objects"][0]["content"]
        start = world.measured.start_text("set", "nitrotpm", [self.owner_id])
        machine = world.Machine().start(text=start).set_of(content)
        argv = [*self.argv, "--event-log", self.file("set-log", machine.log), "--owner-key", self.public]
        document = self.file("set-document", self.w.document(machine))
        for what in (place, "set:" + content):
            name = "prod" if what == place else f"set:{content[:12]}"
            owner = " version 1 (set signed by acme)" if what == place else ""
            out = self.verify(*argv, "--model", what, "--measure", "set", "--seal", place, document).out
            self.assertTrue(out.startswith(
                f"PCR 15 holds exactly one model: {name}{owner}, every byte of its members checked; "), out)
        self.verify(*argv, "--model", self.plain, document, expect=REFUSED)
        member = ("--member", "mistral-7b.gguf")
        out = self.verify(*argv, "--model", place, *member, document).out
        digests = world.MISTRAL.digests
        for text in (f"member mistral-7b.gguf, {len(world.MISTRAL.plain)} bytes", "verity:" + digests.verity,
                     "sha256:" + digests.sha256, "sha384:" + digests.sha384, "version 1, signed by acme"):
            self.assertIn(text, out)
        found = self.verify_json(*argv[:-2], "--json", "--model", place, *member, document)["holds"]
        self.assertEqual(found["members"], [{"path": "mistral-7b.gguf", "length": len(world.MISTRAL.plain),
                                             "verity": digests.verity, "sha256": None, "sha384": None}])
        self.assertIsNone(found["models"][0]["version"])
        for wrong, words in (("other.gguf", 'prod has no member "other.gguf"'),
                             ("a\x1b[2J", "prod has no member")):
            done = self.verify(*argv, "--model", place, *member, "--member", wrong, document, expect=REFUSED)
            self.assertIn(words, done.out)
            self.assertNotIn("\x1b", done.out + done.err)
        for what in ("set:" + content,):
            done = self.verify(*argv, "--model", what, *member, document, expect=REFUSED)
            self.assertIn("no set was given whose members PCR 15 holds", done.out)
        self.verify(*self.argv, *member, document, expect=USAGE)

    def test_a_set_of_somebody_else(self):
        """Its content is the measured one, and its signature is another's."""
        place = os.path.join(self.folder, "set")
        private, _ = self.lab.owner_key("stranger")
        self.lab.sealctl("seal", self.plain, place, "--set", "prod", "--key-file", self.key, "--sign", private, expect=OK)
        content = json.loads(self.lab.sealctl("set", "list", "--json", place, expect=OK).out)["content"]
        start = world.measured.start_text("set", "nitrotpm", [self.owner_id])
        machine = world.Machine().start(text=start).set_of(content)
        argv = [*self.argv, "--event-log", self.file("set-log", machine.log), "--owner-key", self.public]
        document = self.file("set-document", self.w.document(machine))
        self.verify(*argv, "--model", "set:" + content, document)
        done = self.verify(*argv, "--model", place, document, expect=NOT_AUTHENTIC)
        self.assertIn("prod is a set that no expected owner signed", done.out)

    def test_policy(self):
        self.file("boot.json", json.dumps({"Measurements": {"HashAlgorithm": "SHA384", "PCR4": world.PCR4.hex()}}))
        with open(os.path.join(self.folder, "acme.pub"), "w", encoding="ascii") as out:
            out.write(common.read_text(self.public))
        policy = {"root": "root.der", "measurements": ["boot.json"], "pcrs": {"7": world.PCR7.hex()}, "models": ["sealed"],
                  "measure": ["verity"], "owner_keys": ["acme.pub"], "max_age": 300, "model_pcr": 15, "debug": False}
        path = self.file("policy.json", json.dumps(policy))
        when = self.argv[:2]
        out = self.verify(*when, "--policy", path, *self.log, self.document).out
        self.assertEqual(out.splitlines()[0], "PCR 15 holds exactly one model: mistral-7b (sealed by acme), every "
                         "byte checked; boot image matches; document 12 s old (no nonce).")
        # PCR 12 was not in the file, so it must be zero.
        other = self.file("other", self.w.document(self.machine, pcr_values={12: world.PCR12}))
        out = self.verify(*when, "--policy", path, *self.log, other, expect=REFUSED).out
        self.assertTrue(out.startswith("Not verified: PCR 12 is not one of the approved values."), out)
        for option in (["--pcr", "4=" + "00" * 48], ["--measure", "sha384"], ["--max-age", "5"], self.argv[4:6],
                       ["--owner-key", self.public], ["--model-pcr", "3"], ["--model", self.plain]):
            self.verify(*when, "--policy", path, *option, *self.log, self.document, expect=USAGE)

    def test_start_facts_beside_a_log(self):
        """What would not be compared with anything is not taken."""
        for option in (["--kms-key", "account/111122223333"], ["--attest", "none"]):
            done = self.verify(*self.argv[:2], *option, *self.log, self.document, expect=USAGE)
            self.assertIn("not checked where there is a log", done.err)

    def test_policy_without_debug(self):
        """An option does not accept what the policy refuses."""
        path = self.file("no-debug.json", json.dumps({"debug": False}))
        done = self.verify("--policy", path, "--allow-debug", self.document, expect=USAGE)
        self.assertIn("it has debug, so the options for that are left out", done.err)

    def test_policy_that_is_malformed(self):
        for text in ("", "[]", '{"debug": 1}', '{"unknown": 1}', '{"pcrs": {}}', '{"pcrs": {"04": "00"}}', '{"pcrs": {"4": []}}',
                     '{"pcrs": {"4": "00"}}', '{"models": []}', '{"models": [1]}', '{"measure": ["none"]}', '{"max_age": -1}',
                     '{"model_pcr": 16}', '{"root": 5}', '{"debug": true, "debug": false}', '{"models": ["missing"]}'):
            with self.subTest(text):
                done = self.verify("--policy", self.file("bad.json", text), self.document,
                                   expect=FAILURE if "missing" in text else USAGE)
                self.assertIn("bad.json", done.err)
        path = self.file("bad.json", "{}")
        os.chmod(path, 0o666)
        self.verify("--policy", path, self.document, expect=USAGE)


class Ear(Base):
    """The token is read by PyJWT, which knows nothing of us."""

    def token(self, argv, curve, names="2026", expect=OK):
        key = os.path.join(self.folder, curve)
        subprocess.run(["openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", key], check=True, timeout=60)
        os.chmod(key, 0o600)
        public = subprocess.run(["openssl", "ec", "-in", key, "-pubout"], check=True, timeout=60, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL).stdout
        text = self.verify(*argv, "--ear-key", key, "--ear-names", names, expect=expect).out.strip()
        algorithm = {"prime256v1": "ES256", "secp384r1": "ES384"}[curve]
        return jwt.decode(text, public, algorithms=[algorithm]), text

    def check_claims(self, claims):
        """As cddl/ear.cddl and ar4si.cddl of the draft have it."""
        self.assertEqual(claims["eat_profile"], "tag:ietf.org,2026:rats/ear#03")
        self.assertIsInstance(claims["iat"], int)
        self.assertEqual(set(claims["ear_verifier_id"]), {"developer", "build"})
        self.assertEqual(set(claims["submods"]), {"platform", "model"})
        for part in [claims, *claims["submods"].values()]:
            self.assertIn(part["ear_status"], ("none", "affirming", "warning", "contraindicated"))
        tiers = {"none": 0, "affirming": 2, "warning": 32, "contraindicated": 96}
        known = {"instance-identity", "configuration", "executables", "file-system", "hardware", "runtime-opaque",
                 "storage-opaque", "sourced-data"}
        for part in claims["submods"].values():
            vector = part["ear_trustworthiness_vector"]
            self.assertTrue(vector and set(vector) <= known)
            worst = max(max((tier for tier in tiers.values() if tier <= value), default=0) for value in vector.values())
            self.assertGreaterEqual(tiers[part["ear_status"]], worst)
            self.assertGreaterEqual(tiers[claims["ear_status"]], tiers[part["ear_status"]])

    def test_affirming(self):
        argv = self.options({k: v for k, v in case("everything")["request"].items() if k != "tls_key"})
        for curve in ("prime256v1", "secp384r1"):
            claims, _ = self.token(argv, curve)
            self.check_claims(claims)
            self.assertEqual(claims["ear_status"], "affirming")
            self.assertEqual(claims["submods"]["platform"]["ear_trustworthiness_vector"],
                             {"instance-identity": 2, "hardware": 2, "executables": 3})
            self.assertEqual(claims["submods"]["model"]["ear_trustworthiness_vector"],
                             {"file-system": 2, "sourced-data": 2})
            self.assertEqual(base64.b64decode(claims["submods"]["platform"]["eat_nonce"]), bytes(range(32)))
            self.assertTrue(claims["sealedfs_verdict"]["sentence"].startswith("PCR 15 holds exactly one model"))

    def test_tiers(self):
        """What fails, or is weaker, is never affirmed."""
        for name, code, whole, vectors in (
                ("signature-bit", NOT_AUTHENTIC, "contraindicated", {"platform": {"instance-identity": 99, "hardware": 99}}),
                ("fresh-other-nonce", REFUSED, "contraindicated", {"platform": {"instance-identity": 97, "hardware": 2}}),
                ("boot-other", REFUSED, "contraindicated", {"platform": {
                    "instance-identity": 2, "hardware": 2, "executables": 96}}),
                ("boot-debug-accepted", OK, "warning", {"platform": {
                    "instance-identity": 2, "hardware": 2, "configuration": 32}}),
                ("record-of-others", OK, "warning", {"model": {"file-system": 32}}),
                ("lie-sha256", OK, "warning", {"model": {"file-system": 32}}),
                ("log-foreign", REFUSED, "contraindicated", {"model": {"file-system": 96}}),
                ("owner-other", NOT_AUTHENTIC, "contraindicated", {"model": {"sourced-data": 96}}),
                ("genuine", OK, "affirming", {"model": {"file-system": 0}})):
            with self.subTest(name):
                claims = self.verify_json(*self.options(case(name)["request"]), "--ear", expect=code)
                self.check_claims(claims)
                self.assertEqual(claims["ear_status"], whole)
                for part, vector in vectors.items():
                    self.assertEqual(claims["submods"][part]["ear_trustworthiness_vector"], vector)

    def test_dotted(self):
        claims, text = self.token(["--at", AT, NITROTPM], "prime256v1", "dotted")
        self.assertEqual(claims["eat_profile"], "tag:github.com,2023:veraison/ear")
        self.assertEqual(claims["submods"]["platform"]["ear.status"], "affirming")
        self.assertEqual(set(claims["ear.verifier-id"]), {"developer", "build"})
        with self.assertRaises(jwt.InvalidSignatureError):
            jwt.decode(text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB"), self.public("prime256v1"), ["ES256"])

    def public(self, curve):
        return subprocess.run(["openssl", "ec", "-in", os.path.join(self.folder, curve), "-pubout"], check=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def test_other_keys(self):
        rsa = os.path.join(self.folder, "rsa")
        subprocess.run(["openssl", "genrsa", "-out", rsa, "2048"], check=True, timeout=60, stderr=subprocess.DEVNULL)
        os.chmod(rsa, 0o600)
        self.verify("--at", AT, "--ear-key", rsa, NITROTPM, expect=USAGE)
        os.chmod(rsa, 0o644)
        self.verify("--at", AT, "--ear-key", rsa, NITROTPM, expect=USAGE)
        self.verify("--at", AT, "--ear-key", rsa, "--json", NITROTPM, expect=USAGE)


if __name__ == "__main__":
    common.main()
