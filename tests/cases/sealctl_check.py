#!/usr/bin/python3
"""sealctl check, inspect, hash and attest: every vector of the format, real attestation documents,
digests and PCR values computed by others."""

import base64
import datetime
import json
import os
import shutil
import subprocess

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import common
import sealedformat as sf
from common import FAILURE, MIB, NOT_AUTHENTIC, OK, REFUSED, USAGE
from common_sealctl import files, finish, payloads, start, tool_digests

import measured

DOCUMENTS = os.path.join(common.TESTS, "vectors", "attestation-docs")
EXIT_CODES = {"EPROTO": NOT_AUTHENTIC, "EBADMSG": NOT_AUTHENTIC, "ENOKEY": REFUSED}


class Base(common.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()

    def setUp(self):
        self.folder = self.lab.path(self.id().rsplit(".", 1)[1], make=True)
        self.sealed = os.path.join(self.folder, "sealed")

    def model(self, name="m.gguf", size=1000, seed=0):
        return common.make_model(os.path.join(self.folder, name), size, seed)

    def seal(self, *args):
        self.lab.seal(*args, self.sealed, "--key-file", self.key, "--sign", self.private)

    def check(self, *args, expect=OK):
        done = self.lab.sealctl("check", self.sealed, *args, "--json", expect=expect)
        return json.loads(done.out), done.err


def steps_of(report, number=0):
    return {step["step"]: step for step in report["objects"][number]["steps"]}


class Vectors(Base):
    """Every vector whose key can be given to sealctl, as the specification wants it judged."""

    def lay_out(self, vector, folder):
        """The vector's files under the names that they must have; the options to check it."""
        with open(os.path.join(common.VECTORS, vector["files"]["seal"]), "rb") as source:
            seal = source.read()
        try:
            name = vector.get("open_as") or sf.Seal(seal).path
        except sf.Refused:
            name = "model.gguf"
        # Paths that are longer than a source takes are judged by the other readers.
        if (len(os.fsencode(os.path.basename(name))) > 231 or len(os.fsencode(name)) > 1000
                or name.count("/") > 60):
            return None
        os.makedirs(os.path.join(folder, os.path.dirname(name)))
        with open(os.path.join(folder, name + ".seal"), "wb") as out:
            out.write(seal)
        if vector["files"]["payload"]:
            shutil.copyfile(os.path.join(common.VECTORS, vector["files"]["payload"]), os.path.join(
                folder, f"{name}.{seal[0x10:0x18].hex()}.sealed"))
        key = self.lab.path("vector.key")
        shutil.copyfile(os.path.join(common.VECTORS, vector["keys"]["kek"]), key)
        os.chmod(key, 0o600)
        options = ["--key-file", key]
        keys = self.lab.path("keys")
        if not os.path.exists(keys):
            common.copy_tree(os.path.join(common.VECTORS, "keys"), keys)
        for owner in vector["owner_keys"]:
            options += ["--owner-key", os.path.join(keys, os.path.basename(owner))]
        return options

    def judge(self, vector):
        folder = os.path.join(self.folder, vector["id"])
        options = self.lay_out(vector, folder)
        if options is None:
            return 0
        done = self.lab.sealctl("check", folder, *options, "--json")
        report = json.loads(done.out)
        failed = [step for step in report["objects"][0]["steps"] if step["result"] == "failed"]
        if not vector["files"]["payload"]:
            self.assertIn("payload", [step["step"] for step in failed] or ["payload"])
            failed = [step for step in failed if step["step"] != "payload"]
        if vector["expected"] == "ok":
            self.assertEqual(failed, [], vector["id"])
            self.assertEqual(steps_of(report)["tables"]["result"], "passed", vector["id"])
            if vector["files"]["payload"]:
                self.assertEqual(done.code, OK)
            return 1
        self.assertTrue(failed, vector["id"])
        self.assertEqual(failed[0]["class"], vector["expected"]["class"], vector["id"])
        if vector["files"]["payload"]:
            self.assertEqual(done.code, EXIT_CODES[vector["expected"]["errno"]], vector["id"])
        self.assertIn(failed[0]["detail"][:40], done.err if vector["files"]["payload"]
                      else failed[0]["detail"])
        return 1

    def test_all(self):
        with open(os.path.join(common.VECTORS, "index.json"), encoding="utf-8") as source:
            index = json.load(source)
        vectors = [vector for vector in index["vectors"] + index["extended"]
                   if "kek" in vector["keys"]]
        judged = 0
        for vector in vectors:
            with self.subTest(vector["id"]):
                judged += self.judge(vector)
        self.assertGreater(judged, 200)


class Check(Base):
    def test_good(self):
        self.seal(self.model(size=3 * MIB), self.model("empty", 0))
        report, _ = self.check()
        self.assertTrue(report["ok"])
        self.assertEqual([step["result"] for step in report["objects"][1]["steps"]],
                         ["passed", "passed", "skipped", "passed", "skipped"])
        report, _ = self.check("--key-file", self.key, "--owner-key", self.public)
        for entry in report["objects"]:
            self.assertEqual([step["result"] for step in entry["steps"]], ["passed"] * 8)
        text = self.lab.sealctl("check", os.path.join(self.sealed, "m.gguf.seal"), expect=OK).out
        self.assertIn("m.gguf.seal: ok", text)
        self.assertIn("give --owner-key", text)
        self.assertEqual(self.lab.sealctl("check", self.sealed, "-q", expect=OK).out, "")

    def damage(self, change, code, step, words, *options):
        """One fault; the step that must find it."""
        self.sealed = os.path.join(self.folder, f"sealed{len(os.listdir(self.folder))}")
        self.seal(self.model(size=5 * MIB + 1))
        change(os.path.join(self.sealed, "m.gguf.seal"),
               os.path.join(self.sealed, payloads(self.sealed)[0]))
        report, err = self.check(*options, expect=code)
        self.assertFalse(report["ok"])
        self.assertEqual(steps_of(report)[step]["result"], "failed", report)
        self.assertIn(words, err)
        self.assertIn(words, report["objects"][0]["error"]["message"])

    def test_each_tampering(self):
        key = ("--key-file", self.key)

        def flip(path, offset):
            with open(path, "r+b") as file:
                file.seek(offset)
                byte = file.read(1)
                file.seek(offset)
                file.write(bytes([byte[0] ^ 1]))

        def swap(path):
            with open(path, "r+b") as file:
                data = bytearray(file.read())
                one, two = data[:common.CHUNK], data[common.CHUNK:2 * common.CHUNK]
                data[:2 * common.CHUNK] = two + one
                file.seek(0)
                file.write(data)

        self.damage(lambda _, p: flip(p, 5 * MIB), NOT_AUTHENTIC, "chunks",
                    "1 of 11: chunk 10 (first at offset 5242880)", *key)
        self.damage(lambda _, p: swap(p), NOT_AUTHENTIC, "chunks", "2 of 11: chunk 0, 1", *key)
        self.damage(lambda _, p: os.truncate(p, 5 * MIB), NOT_AUTHENTIC, "payload",
                    "it has 5242880 bytes, the seal states 5242881")
        self.damage(lambda _, p: os.truncate(p, 5 * MIB + 2), NOT_AUTHENTIC, "payload", "5242882")
        self.damage(lambda _, p: os.unlink(p), FAILURE, "payload", "is missing")
        self.damage(lambda s, _: os.truncate(s, 4096), NOT_AUTHENTIC, "structure", "malformed")
        self.damage(lambda s, _: os.truncate(s, 0), NOT_AUTHENTIC, "structure", "malformed")
        self.damage(lambda s, _: flip(s, 0), NOT_AUTHENTIC, "structure", "m.gguf.seal")
        self.damage(lambda s, _: flip(s, 8), NOT_AUTHENTIC, "structure", "unsupported")
        self.damage(lambda s, _: flip(s, 0xD0), NOT_AUTHENTIC, "key", "wrong key", *key)
        self.damage(lambda s, _: flip(s, 0x40), NOT_AUTHENTIC, "tables", "altered", *key)
        self.damage(lambda s, _: flip(s, 4096), NOT_AUTHENTIC, "tables", "altered", *key)
        self.damage(lambda s, _: flip(s, 0x822), NOT_AUTHENTIC, "signature", "signature",
                    "--owner-key", self.public)
        self.damage(lambda s, _: flip(s, 0x40), NOT_AUTHENTIC, "signature", "signature",
                    "--owner-key", self.public)
        self.damage(lambda s, p: (os.rename(s, s.replace("m.gguf", "x")),
                                  os.rename(p, p.replace("m.gguf", "x"))), NOT_AUTHENTIC, "name",
                    "m.gguf")

    def test_owner(self):
        self.seal(self.model())
        _, other = self.lab.owner_key("other")
        report, err = self.check("--owner-key", other, expect=NOT_AUTHENTIC)
        self.assertEqual(steps_of(report)["signature"]["class"], "unknown-signer")
        self.check("--owner-key", other, "--owner-key", self.public)
        self.lab.seal(self.model(), self.sealed, "--key-file", self.key)
        report, err = self.check("--owner-key", self.public, expect=NOT_AUTHENTIC)
        self.assertEqual(steps_of(report)["signature"]["class"], "unsigned")
        self.assertIn("unsigned", err)
        self.lab.sealctl("check", self.sealed, "--owner-key", self.private, expect=common.USAGE)

    def test_wrong_key_file(self):
        self.seal(self.model())
        report, _ = self.check("--key-file", self.lab.key_file("stranger"), expect=REFUSED)
        self.assertEqual(steps_of(report)["key"]["result"], "failed")
        self.check("--key-file", self.lab.key_file("stranger2"), "--key-file", self.key)

    def test_many(self):
        for number in range(3):
            self.model(f"d/{number}", 1000, number) if os.path.isdir(
                os.path.join(self.folder, "d")) else os.mkdir(os.path.join(self.folder, "d"))
        self.model("d/0", 1000)
        self.seal(os.path.join(self.folder, "d"), self.model())
        self.lab.seal(self.model(), self.sealed, "--key-file", self.key)
        victim = next(name for name in payloads(self.sealed) if name.startswith("0."))
        os.truncate(os.path.join(self.sealed, victim), 999)
        report, err = self.check(expect=NOT_AUTHENTIC)
        self.assertEqual([entry["ok"] for entry in report["objects"]].count(False), 1)
        self.assertEqual(len(report["unused_payloads"]), 1)
        text = self.lab.sealctl("check", self.sealed, expect=NOT_AUTHENTIC).out
        self.assertIn("4 objects, 1 failed", text)
        self.assertIn("no seal refers to this payload", text)
        # The worst one decides the exit code.
        other = next(name for name in payloads(self.sealed) if name.startswith("1."))
        os.unlink(os.path.join(self.sealed, other))
        self.check(expect=NOT_AUTHENTIC)
        os.truncate(os.path.join(self.sealed, victim), 1000)
        self.check(expect=FAILURE)

    def test_nothing_to_check(self):
        os.mkdir(self.sealed)
        for args, code, words in ((("check", self.sealed), FAILURE, "no sealed object"),
                                  (("check", self.sealed + "/x.seal"), FAILURE, "x.seal"),
                                  (("check", self.sealed + "/none"), FAILURE, "none"),
                                  (("check",), USAGE, "directory")):
            self.assert_result(self.lab.sealctl(*args), code, words)

    def test_writes_nothing(self):
        self.seal(self.model(size=9 * MIB))
        before = files(self.folder)
        child = start(self.lab, "check", self.sealed, "--key-file", self.key,
                      extra={"TMPDIR": self.lab.path("tmp", make=True)})
        self.assertEqual(finish(child).code, OK)
        self.assertEqual(files(self.folder), before)
        self.assertEqual(files(self.lab.path("tmp")), [])


class Inspect(Base):
    def inspect(self, path):
        return json.loads(self.lab.sealctl("inspect", path, "--json", expect=OK).out)["objects"][0]

    def test_seals(self):
        with open(os.path.join(common.VECTORS, "index.json"), encoding="utf-8") as source:
            vectors = [v for v in json.load(source)["vectors"] if v["expected"] == "ok"]
        for vector in vectors:
            path = os.path.join(common.VECTORS, vector["files"]["seal"])
            found = self.inspect(path)
            for field in ("length", "path", "sealed_at", "file_id", "sha256", "sha384", "verity"):
                self.assertEqual(found[field], vector[field], vector["id"])
            self.assertEqual(found["signer"], vector["signed_by"])
            self.assertEqual(len(found["recipients"]), len(vector["slot_types"]))
            names = {1: "aws-kms", 2: "tpm2", 3: "key-file", 4: "set"}
            facts = "".join(f"{key}={value}\n" for key, value in found["facts"].items())
            self.assertEqual(facts, vector["facts"])
            self.assertEqual([r["type"] for r in found["recipients"]],
                             [names.get(t, "unknown") for t in vector["slot_types"]])
            self.assertFalse(found["verified"])
            text = self.lab.sealctl("inspect", path, expect=OK).out
            for field in ("file_id", "sha256", "sha384", "verity"):
                self.assertIn(vector[field], text)
            self.assertIn("nothing is verified", text)
            # A hostile name cannot forge a line.
            self.assertFalse(any(ord(c) < 32 and c != "\n" for c in text), vector["id"])

    def test_documents_in_base64(self):
        """In one line or in many, as JSON and mail carry them."""
        path = os.path.join(DOCUMENTS, "nitrotpm-us-east-1-20260203.cose")
        with open(path, "rb") as source:
            raw = source.read()
        want = self.inspect(path)
        for number, text in enumerate((base64.b64encode(raw), base64.encodebytes(raw),
                                       base64.b64encode(raw) + b"\n")):
            encoded = os.path.join(self.folder, f"{number}.b64")
            with open(encoded, "wb") as out:
                out.write(text)
            found = self.inspect(encoded)
            self.assertEqual({name for name in want if found[name] != want[name]}, {"object"})
        for text in (b"hE==x", base64.b64encode(raw)[:-3], base64.b64encode(b"\x84" + bytes(30000))):
            with open(encoded, "wb") as out:
                out.write(text)
            self.assert_result(self.lab.sealctl("inspect", encoded), NOT_AUTHENTIC)

    def test_size_of_what_is_too_large(self):
        path = os.path.join(self.folder, "large")
        with open(path, "wb") as out:
            out.write(b"\x84" + bytes(99_999))
        result = self.lab.sealctl("inspect", path)
        self.assert_result(result, NOT_AUTHENTIC, "100000 bytes", "at most 20480")

    def test_real_documents(self):
        for name in sorted(os.listdir(DOCUMENTS)):
            if not name.endswith(".cose"):
                continue
            path = os.path.join(DOCUMENTS, name)
            with open(path, "rb") as source:
                protected, _, payload, signature = cbor2.loads(source.read())
            doc, found = cbor2.loads(payload), self.inspect(path)
            text = self.lab.sealctl("inspect", path, expect=OK).out
            self.assertEqual(found["kind"], "nitrotpm" if "nitrotpm_pcrs" in doc
                             else "nitro-enclave")
            self.assertEqual(found["module_id"], doc["module_id"])
            self.assertEqual(found["digest"], doc["digest"])
            self.assertEqual(found["timestamp_ms"], doc["timestamp"])
            moment = datetime.datetime.fromtimestamp(doc["timestamp"] / 1000, datetime.timezone.utc)
            self.assertEqual(found["timestamp"],
                             moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z")
            pcrs = doc.get("nitrotpm_pcrs") or doc["pcrs"]
            self.assertEqual(found["pcrs"], {str(i): v.hex() for i, v in pcrs.items()})
            for field in ("public_key", "user_data", "nonce"):
                value = doc.get(field)
                self.assertEqual(found[field], None if value is None else value.hex())
            self.assertEqual(found["protected"], protected.hex())
            self.assertEqual(found["signature"], signature.hex())
            self.compare_certificate(found["certificate"], doc["certificate"], text)
            self.assertEqual(len(found["cabundle"]), len(doc["cabundle"]))
            for shown, der in zip(found["cabundle"], doc["cabundle"]):
                self.compare_certificate(shown, der, text)
            for value in (doc["module_id"], found["timestamp"], *found["pcrs"].values()):
                self.assertIn(value, text)

    def compare_certificate(self, shown, der, text):
        cert = x509.load_der_x509_certificate(der)
        self.assertEqual(shown["subject"], cert.subject.rfc4514_string())
        self.assertEqual(shown["issuer"], cert.issuer.rfc4514_string())
        self.assertEqual(int(shown["serial"], 16), cert.serial_number)
        for field, value in (("not_before", cert.not_valid_before),
                             ("not_after", cert.not_valid_after)):
            self.assertEqual(shown[field], value.strftime("%Y-%m-%dT%H:%M:%SZ"))
        self.assertEqual(shown["sha256"], cert.fingerprint(hashes.SHA256()).hex())
        self.assertEqual(shown["key"], "EC P-384")
        ca = cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        self.assertEqual(shown["ca"], ca)
        self.assertEqual(shown["der"], der.hex())
        self.assertIn(shown["subject"], text)

    def test_what_is_neither(self):
        cases = [(b"", "neither"), (b"sealedfs", "malformed"), (b"\x84" * 10, "document"),
                 (b"\xd2\x84", "document"), (bytes(100), "neither")]
        for number, (data, words) in enumerate(cases):
            path = os.path.join(self.folder, f"x{number}")
            with open(path, "wb") as out:
                out.write(data)
            self.assert_result(self.lab.sealctl("inspect", path), NOT_AUTHENTIC, words)
        with open(os.path.join(DOCUMENTS, "nitrotpm-us-east-1-20260203.cose"), "rb") as source:
            document = source.read()
        for broken in (document[:-1], document + b"\0", document[:2000]):
            with open(path, "wb") as out:
                out.write(broken)
            self.assert_result(self.lab.sealctl("inspect", path), NOT_AUTHENTIC, path)
        self.assert_result(self.lab.sealctl("inspect", self.folder), USAGE, "not a file")
        self.assert_result(self.lab.sealctl("inspect", "/nonexistent"), FAILURE, "/nonexistent")
        self.assert_result(self.lab.sealctl("inspect"), USAGE)


class Hash(Base):
    def predict(self, digests):
        """{mode: {bank: PCR from zero}}, for a mount without owners and pins."""
        model = measured.Digests(**digests)
        return {mode: {bank: measured.pcr(mode, bank, [model],
                                          measured.start_text(mode, "nitrotpm"))
                       for bank in measured.BANKS} for mode in measured.MODES}

    def test_digests_and_pcrs(self):
        for size in (0, 1, 4096, 4097, 524288, 524289, 20 * MIB + 7):
            path = self.model("x", size, size)
            found, digests = self.lab.hash(path), tool_digests(path)
            self.assertEqual(found["length"], size)
            self.assertEqual({name: found[name] for name in digests}, digests)
            expected = self.predict(digests)
            self.assertEqual(found["pcr"], expected)
            text = self.lab.sealctl("hash", path, expect=OK).out
            for value in (*digests.values(), *expected["verity"].values(),
                          *expected["sha256"].values(), *expected["sha384"].values()):
                self.assertIn(value, text)

    def test_several_and_standard_input(self):
        paths = [self.model(name, 1000, number) for number, name in enumerate("abc")]
        found = json.loads(self.lab.sealctl("hash", "--json", *paths, expect=OK).out)["files"]
        self.assertEqual([entry["file"] for entry in found], paths)
        for size in (0, 4096, 524288, 524289, 3 * MIB):
            data = common.model_bytes(size)
            done = self.lab.sealctl("hash", "--json", "-", stdin=data, expect=OK)
            entry = json.loads(done.out)["files"][0]
            path = self.model("d", size)
            self.assertEqual({key: entry[key] for key in ("sha256", "sha384", "verity")},
                             tool_digests(path))
            self.assertEqual(entry["length"], size)

    def test_refusals(self):
        for args, code in (((), USAGE), (("/nonexistent",), FAILURE), ((self.folder,), FAILURE)):
            self.lab.sealctl("hash", *args, expect=code)


class Attest(Base):
    PARTS = ("tpm",)

    def attest(self, *args, expect=OK):
        out = os.path.join(self.folder, "doc.cose")
        self.lab.sealctl("attest", "-o", out, *args, expect=expect)
        if expect != OK:
            return None
        return json.loads(self.lab.sealctl("inspect", out, "--json", expect=OK).out)["objects"][0]

    def test_fields(self):
        found = self.attest()
        self.assertEqual((found["nonce"], found["user_data"], found["public_key"]), (None,) * 3)
        self.assertEqual(found["pcrs"]["4"], self.lab.tpm.pcr("sha384", 4))
        data = self.model("data", 1024)
        key = ec.generate_private_key(ec.SECP384R1()).public_key()
        der = key.public_bytes(serialization.Encoding.DER,
                               serialization.PublicFormat.SubjectPublicKeyInfo)
        for name, content in (("k.der", der), ("k.pem", key.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))):
            with open(os.path.join(self.folder, name), "wb") as out:
                out.write(content)
            found = self.attest("--nonce", "00FFab", "--user-data", data, "--public-key",
                                os.path.join(self.folder, name))
            self.assertEqual(found["nonce"], "00ffab")
            self.assertEqual(found["user_data"], common.model_bytes(1024).hex())
            self.assertEqual(found["public_key"], der.hex())

    def test_standard_output(self):
        with open(os.path.join(self.folder, "piped"), "wb") as out:
            subprocess.run([common.SEALCTL, "attest", "--nonce", "01"], env=self.lab.env(),
                           stdout=out, check=True)
        self.lab.sealctl("inspect", os.path.join(self.folder, "piped"), expect=OK)
        self.lab.sealctl("attest", "--json", expect=USAGE)

    def test_refusals(self):
        big = self.model("big", 1025)
        for args in (("--nonce", "0"), ("--nonce", "xx"), ("--nonce", ""), ("--nonce", "00" * 1025),
                     ("--user-data", big), ("--user-data", self.model("nothing", 0)),
                     ("--public-key", big), ("stray",)):
            self.attest(*args, expect=USAGE)
        self.attest("--user-data", "/nonexistent", expect=FAILURE)
        done = self.lab.sealctl("attest", "-o", os.path.join(self.folder, "x"), "--tcti",
                                "swtpm:host=127.0.0.1,port=1")
        self.assertNotEqual(done.code, OK)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "x")))

    def test_a_document_that_is_not_what_was_asked(self):
        with self.lab.tpm.fault(op="vendor", kind="swap", field="nonce", hex="aa", times=1):
            self.attest("--nonce", "bb", expect=NOT_AUTHENTIC)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "doc.cose")))


if __name__ == "__main__":
    common.main()
