#!/usr/bin/python3
"""fs/oms, fs/models, fs/formats, tools/set, tools/doctor: OpenSSF Model Signing: our bundles for others' verifiers, and others' bundles for our mounts."""

import base64
import errno
import hashlib
import json
import os
import shutil
import stat

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import common
import common_sets
from common import FAILURE, NOT_AUTHENTIC, OK, USAGE
from common_ollama import OllamaCase
from common_sets import SetWriter, write

import oms

REFERENCE = os.path.join(common.TESTS, "vectors", "oms", "reference")


def reference(name):
    return os.path.join(REFERENCE, name)


def make_key(where, curve=None):
    """A private key, and where it and its public half are."""
    private = ec.generate_private_key(curve or ec.SECP256R1())
    pem, pub = where + ".pem", where + ".pub"
    for path, mode, text in (
            (pem, 0o600, private.private_bytes(serialization.Encoding.PEM,
                                               serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption())),
            (pub, 0o644, private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))):
        write(path, text)
        os.chmod(path, mode)
    return private, pem, pub


def oracle_judges(mount, bundle, pub):
    """What the independent verifier says of a mounted directory: a number of files, or why not."""
    try:
        return oms.verify(mount.path, common.read_bytes(bundle), oms.load_public(pub))
    except oms.Refused as problem:
        return str(problem)


class OmsCase(common_sets.SetCase):
    def setUp(self):
        super().setUp()
        self.set.put()
        self.private, self.pem256, self.pub256 = make_key(os.path.join(self.dir, "author"))
        self.bundle = os.path.join(self.dir, "model.sig")

    def bundled(self, *more, bundle=None, pub=None):
        return ("oms=" + (bundle or self.bundle), "oms-key=" + (pub or self.pub256), *more)

    def sign(self, ignored=(), key=None, **changed):
        """A bundle of the oracle about the plain files."""
        files = oms.digests(self.plain, (*oms.DEFAULT_IGNORED, *ignored))
        what = oms.statement("plain", files, ignored, **changed)
        write(self.bundle, json.dumps(oms.bundle(what, key or self.private, **changed)).encode())

    def export(self, *more, expect=OK, owner=True):
        trust = ("--owner-key", self.pub) if owner else ()
        return self.lab.sealctl("set", "export", "--oms", self.bundle, "--oms-key", self.pem256,
                                *trust, *more, self.sealed, expect=expect)

    def check(self, *more, pub=None):
        return self.lab.sealctl("set", "check", "--oms", self.bundle, "--oms-key",
                                pub or self.pub256, "--owner-key", self.pub, *more, self.sealed)

    def refused_both(self, code, *words, pub=None):
        """By a mount and by set check, in the same words."""
        self.refused(code, *words, options=self.bundled(pub=pub))
        done = self.check(pub=pub)
        self.assertEqual(done.code, code, done.err)
        for word in words:
            self.assertIn(word, done.err + done.out)


class Ours(OmsCase):
    """What `set export` writes."""

    def test_others_accept_it_on_the_mount(self):
        done = self.export()
        self.assertIn("3 files of the set", done.out)
        with self.mount(*self.bundled(), "ollama=on") as mount:
            self.assertIn("ollama", os.listdir(mount.path))
            self.assertEqual(oracle_judges(mount, self.bundle, self.pub256), 3)
        self.model(os.path.join(self.plain, "b.bin"), 77)
        self.seal()
        self.set.admit()
        self.set.put(2)
        with self.mount() as mount:
            self.assertEqual(oracle_judges(mount, self.bundle, self.pub256), "b.bin is another file")
        self.refused_both(NOT_AUTHENTIC, '"b.bin" is not the file that')

    def test_nothing_is_read(self):
        for name in os.listdir(self.sealed):
            if name.endswith(".sealed"):
                os.unlink(os.path.join(self.sealed, name))
        self.export()
        statement = oms.signed_statement(common.read_bytes(self.bundle),
                                         self.private.public_key())
        self.assertEqual({r["name"]: r["digest"] for r in statement["predicate"]["resources"]},
                         {name: common.digest(os.path.join(self.plain, name))
                          for name in self.NAMES})
        self.assertEqual(statement["subject"][0]["name"], "weights")

    def test_what_git_keeps_is_left_out(self):
        self.model(os.path.join(self.plain, ".gitattributes"), 9, 100)
        self.model(os.path.join(self.plain, "dir", ".gitignore"), 10, 100)
        self.seal()
        self.set.admit()
        self.set.put(2)
        self.assertIn('left out, as the specification of OMS says: 1 of the members, '
                      '".gitattributes"', self.export().out)
        self.assertEqual(json.loads(self.export("--json").out)["left_out"], 1)
        with self.mount(*self.bundled()) as mount:
            self.assertEqual(oracle_judges(mount, self.bundle, self.pub256), 4)
            self.assertIn('leaves out 1 of the set\'s members, ".gitattributes" first', mount.log())
            text = self.lab.sealctl("status", mount.path, expect=OK).out
            self.assertIn("it leaves out 1 of the members", text)

    def test_other_curves(self):
        for curve in (ec.SECP384R1(), ec.SECP521R1()):
            _, self.pem256, self.pub256 = make_key(os.path.join(self.dir, curve.name), curve)
            self.export()
            with self.mount(*self.bundled()) as mount:
                self.assertEqual(oracle_judges(mount, self.bundle, self.pub256), 3)

    def test_what_is_not_signed(self):
        self.assertIn("was not checked", self.export(expect=USAGE, owner=False).err)
        self.assertFalse(os.path.exists(self.bundle))
        self.export("--key-file", self.key, owner=False)
        other = self.lab.owner_key("another")[1]
        done = self.lab.sealctl("set", "export", "--oms", self.bundle, "--oms-key", self.pem256,
                                "--owner-key", other, self.sealed)
        self.assert_result(done, NOT_AUTHENTIC, "unknown signer")
        for pem, word in ((self.pub256, "no private key"), (self.pem, "P-256")):
            done = self.lab.sealctl("set", "export", "--oms", self.bundle, "--oms-key", pem,
                                    "--owner-key", self.pub, self.sealed)
            self.assertEqual(done.code, USAGE)
            self.assertRegex(done.err, word + "|secret")
        for options in (("--oms", self.bundle), ("--oms-key", self.pem256), ()):
            done = self.lab.sealctl("set", "export", *options, "--owner-key", self.pub, self.sealed)
            self.assert_result(done, USAGE, "give --oms and --oms-key")
        self.bundle = os.path.join(self.dir, "no", "folder")
        self.assertIn("cannot write", self.export(expect=FAILURE).err)

    def test_what_no_bundle_replaces(self):
        target = os.path.join(self.dir, "target")
        write(target, b"text")
        self.bundle = os.path.join(self.dir, "in-the-way")
        for make in (lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3)), os.mkfifo,
                     os.mkdir, common.make_socket, lambda path: os.symlink(target, path)):
            make(self.bundle)
            before = os.lstat(self.bundle)
            self.assertIn("it is not a regular file", self.export(expect=USAGE).err)
            self.assertEqual(os.lstat(self.bundle).st_ino, before.st_ino)
            (os.rmdir if stat.S_ISDIR(before.st_mode) else os.unlink)(self.bundle)
        self.assertEqual(common.read_bytes(target), b"text")


class Others(OmsCase):
    """What a mount demands."""

    def test_an_authors_bundle(self):
        self.sign()
        self.assertIn("its 3 files are the set's", self.check().out)
        found = json.loads(self.check("--json").out)
        self.assertEqual((found["ok"], found["oms"]["files"], found["oms"]["not_checked"]),
                         (True, 3, None))
        with self.mount(*self.bundled(), "set-state=" + os.path.join(self.dir, "state")) as mount:
            self.assert_serves(mount)
            self.assertEqual(oracle_judges(mount, self.bundle, self.pub256), 3)
            self.assertIn("OMS bundle of", mount.log())
            with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as status:
                shown = json.load(status)["set"]["oms"]
            self.assertEqual(shown, {
                "key": oms.fingerprint(self.private.public_key()), "name": "plain", "files": 3,
                "ignored": 0, "not_checked": None})
            self.assertIn('OMS bundle: 3 files of "plain"',
                          self.lab.sealctl("status", mount.path, expect=OK).out)

    def test_a_hint_is_a_hint(self):
        for hint in ("SHA256:abc", oms.fingerprint(self.private.public_key()).upper()):
            self.sign(hint=hint)
            with self.mount(*self.bundled()) as mount:
                self.assert_serves(mount)

    def test_files_that_differ(self):
        self.sign()
        state = os.path.join(self.dir, "state")
        self.model(os.path.join(self.plain, "a.bin"), 40)
        self.model(os.path.join(self.plain, "new"), 41)
        self.seal()
        self.set.admit()
        for names, words in (
                (["a.bin", "b.bin", "dir/c.bin"], ['"a.bin" is not the file that', "SHA-256"]),
                (["b.bin", "dir/c.bin"], ['"a.bin" is missing', "no such member"]),
                (["a.bin", "b.bin", "dir/c.bin", "new"],
                 ['"a.bin" is not the file that', "(and 1 more differ)"])):
            self.set.put(2, rows=self.set.rows(names))
            self.refused(NOT_AUTHENTIC, *words,
                         options=self.bundled("set-state=" + state))
            self.assertFalse(os.path.exists(state))
        found = self.check()
        self.assertEqual(found.code, NOT_AUTHENTIC)
        self.assertIn('a.bin: FAILED: "a.bin" is not the file', found.out)
        self.assertIn('new: FAILED: "new" is a member of the set that', found.out)
        self.assertEqual({f["object"] for f in json.loads(self.check("--json").out)["failures"]},
                         {"a.bin", "new"})
        self.sign(ignored=["new"])
        with self.mount(*self.bundled()) as mount:
            self.assert_serves(mount, *self.NAMES, "new")
            self.assertIn('1 of the set\'s members, "new" first', mount.log())

    def test_an_added_file(self):
        self.sign()
        self.model(os.path.join(self.plain, "new"), 41)
        self.seal()
        self.set.admit()
        self.set.put(2)
        self.refused_both(NOT_AUTHENTIC, '"new" is a member of the set that', "does not sign")

    def test_bundles_that_are_none(self):
        key, _, other = make_key(os.path.join(self.dir, "other"))
        self.sign()
        self.refused_both(NOT_AUTHENTIC, "was signed by another key", "names the key", pub=other)
        self.sign(key=key, hint=oms.fingerprint(self.private.public_key()))
        self.refused_both(NOT_AUTHENTIC, "signature is not one of the key")
        self.sign(material={"publicKey": {"rawBytes": "AAAA"}})
        self.refused_both(NOT_AUTHENTIC, "signature is not one of the key", pub=other)
        self.sign(predicateType="https://model_signing/Digests/v0.1")
        self.refused_both(NOT_AUTHENTIC, "its predicate is", "Digests/v0.1")
        self.sign(_type="https://in-toto.io/Statement/v0.1")
        self.refused_both(NOT_AUTHENTIC, "states something of type")
        self.sign(payloadType="application/json")
        self.refused_both(NOT_AUTHENTIC, "its payload is of type")
        self.sign(root="00" * 32)
        self.refused_both(NOT_AUTHENTIC, "digest of its subject")
        self.sign(method="shards")
        self.refused_both(NOT_AUTHENTIC, 'of method "shards"')
        self.sign(hash_type="blake3")
        self.refused_both(NOT_AUTHENTIC, 'are "blake3"')
        self.sign(payload=b"[]")
        self.refused_both(NOT_AUTHENTIC, "payload is not one whole JSON object")

    def test_a_payload_that_was_changed(self):
        self.sign()
        bundle = json.loads(common.read_bytes(self.bundle))
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
        digest = common.digest(os.path.join(self.plain, "a.bin"))
        self.assertIn(digest.encode(), payload)
        for changed in (payload.replace(digest.encode(), b"0" * 64), payload + b" ", payload[:-2]):
            bundle["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
            write(self.bundle, json.dumps(bundle).encode())
            self.refused_both(NOT_AUTHENTIC, "signature is not one of the key")

    def test_files_that_are_no_bundles(self):
        self.sign()
        whole = common.read_bytes(self.bundle)
        for size in (0, 1, len(whole) // 2, len(whole) - 1):
            write(self.bundle, whole[:size])
            self.refused_both(NOT_AUTHENTIC, "not one whole JSON object")
        with open(self.bundle, "wb") as huge:
            huge.truncate(60 << 20)
        self.refused_both(FAILURE, "no OMS bundle is so large")
        write(self.bundle, b"{" + b" " * (40 << 20) + b"}")
        self.refused(FAILURE, "the OMS bundle", "of memory",
                     options=self.bundled("memory=64M"))
        os.unlink(self.bundle)
        self.refused_both(FAILURE, "cannot read the OMS bundle", "No such file")
        os.mkdir(self.bundle)
        self.refused_both(USAGE, "is not a regular file")

    def test_the_bundle_beside_the_files(self):
        self.sign()
        shutil.copy(self.bundle, os.path.join(self.plain, "model.sig"))
        self.seal()
        self.set.admit()
        self.set.put(2)
        with self.mount(*self.bundled()) as mount:
            self.assert_serves(mount, *self.NAMES, "model.sig")
            self.assertIn('1 of the set\'s members, "model.sig" first', mount.log())
        with open(self.bundle, "ab") as other:
            other.write(b"\n")
        self.refused_both(NOT_AUTHENTIC, '"model.sig" is a member of the set that')

    def test_a_sealer_who_lies(self):
        """The owner's seal states the author's SHA-256 for other bytes. Who measures sees it; oms-read refuses it."""
        self.sign()
        good = common.read_bytes(os.path.join(self.plain, "b.bin"))
        bad = bytes([good[0] ^ 1]) + good[1:]
        with open(self.pem, "rb") as pem:
            owner = serialization.load_pem_private_key(pem.read(), None)
        data_key, file_id = os.urandom(32), os.urandom(32)
        body = common_sets.sealwriter.keyfile_slot(self.set.kek, data_key, file_id, os.urandom(12))
        draft = common_sets.sealwriter.Draft(
            bad, path=b"b.bin", file_id=file_id, data_key=data_key, slots=[body], owner=owner,
            sha256=hashlib.sha256(good).digest())
        draft.write(self.sealed, "b.bin")
        self.set.admit()
        self.set.put(2)
        with self.mount(*self.bundled()) as mount:
            self.assertEqual(common.read_bytes(mount.join("b.bin")), bad)
            self.assertEqual(oracle_judges(mount, self.bundle, self.pub256), "b.bin is another file")
        with self.mount(*self.bundled("oms-read")) as mount:
            self.assert_io_error(mount.join("b.bin"), errno.EIO, errno.EBADMSG)
            self.assert_serves(mount, "a.bin", "dir/c.bin")
            self.assertIn("does not have the SHA-256 that the seal states", mount.log())

    def test_bytes_that_are_read(self):
        self.sign()
        with self.mount(*self.bundled("oms-read", "ready=unlocked")) as mount:
            self.assert_serves(mount)
        self.refused(USAGE, "oms-read needs both", options=("oms-read",))

    def test_without_an_owner(self):
        self.sign()
        with self.lab.mount(self.sealed, "key-file=" + self.key, *self.MEASURE,
                            *self.bundled()) as mount:
            self.assert_serves(mount)
            self.assertIn("oms without owner-key", mount.log())

    def test_options(self):
        self.sign()
        self.refused(USAGE, "need each other", options=("oms=" + self.bundle,))
        self.refused(USAGE, "need each other", options=("oms-key=" + self.pub256,))
        self.refused(USAGE, "must begin with /", options=self.bundled(bundle="model.sig"))
        self.refused(USAGE, "set=off", options=self.bundled("set=off"))
        self.refused(USAGE, "holds no public key", options=self.bundled(pub=self.pub))
        self.refused(USAGE, "holds no public key", options=self.bundled(pub=self.pem256))
        os.unlink(os.path.join(self.sealed, common_sets.OBJECT))
        self.refused(FAILURE, "there is no set", options=self.bundled())

    def test_the_doctor_looks_at_it(self):
        def look(*options):
            report = json.loads(self.lab.sealctl("doctor", "--json", self.sealed, "-o",
                                                 ",".join(self.options(*options))).out)
            return ([f["what"] for f in report["findings"] if f["id"] == "oms-bundle"],
                    [f["what"] for f in report["noted"] if f["group"] == "oms"])

        self.sign()
        self.assertEqual(look(), ([], []))
        self.assertEqual(look(*self.bundled()), ([], [self.bundle + ' signs 3 files of "plain"']))
        other = make_key(os.path.join(self.dir, "other"))[2]
        for options, word in ((self.bundled(pub=other), "was signed by another key"),
                              (self.bundled(pub=self.pub), "holds no public key"),
                              (self.bundled(bundle=self.pub), "is no OMS bundle")):
            (found,), noted = look(*options)
            self.assertIn(word, found)
            self.assertEqual(noted, [])

    def test_a_newer_version_needs_its_bundle(self):
        self.sign()
        with self.mount(*self.bundled()) as mount:
            self.assert_serves(mount)
            old = common.read_bytes(os.path.join(self.plain, "b.bin"))
            self.model(os.path.join(self.plain, "b.bin"), 50)
            self.seal()
            self.set.admit()
            self.set.put(2)
            self.reload(mount, FAILURE, '"b.bin" is not the file that')
            self.assertEqual(common.read_bytes(mount.join("b.bin")), old)
            self.sign()
            self.reload(mount)
            self.assert_serves(mount)
            self.assertEqual(oracle_judges(mount, self.bundle, self.pub256), 3)


class Reference(OmsCase):
    """Bundles that the public tools wrote."""

    NAMES = ()

    def seal_model(self, files):
        shutil.rmtree(self.sealed, ignore_errors=True)
        shutil.rmtree(self.plain, ignore_errors=True)
        for name, content in files.items():
            os.makedirs(os.path.dirname(os.path.join(self.plain, name)), exist_ok=True)
            write(os.path.join(self.plain, name), content)
        self.lab.sealctl("seal", self.plain, self.sealed, "--set", "model", "--key-file", self.key,
                         "--sign", self.pem, "-q", expect=OK)

    def setUp(self):
        self.dir = self.lab.path(self.id().rsplit(".", maxsplit=1)[-1], make=True)
        self.plain = os.path.join(self.dir, "plain")
        self.sealed = os.path.join(self.dir, "sealed")

    def trusted(self, name):
        """A public key as a file of this test's user."""
        return shutil.copy(reference(name), os.path.join(self.dir, name))

    def accepted(self, name, pub, *words):
        with self.mount("oms=" + reference(name), "oms-key=" + pub) as mount:
            for path in (p for p in os.listdir(self.plain) if "." not in p):
                if os.path.isfile(os.path.join(self.plain, path)):
                    self.assert_serves(mount, path)
            text = mount.log() + self.lab.sealctl("status", mount.path, expect=OK).out
            for word in words:
                self.assertIn(word, text)
            return oracle_judges(mount, reference(name), pub) if name == "p256.sig" else None

    def test_a_directory(self):
        root = reference("p256-model")
        self.seal_model({os.path.relpath(os.path.join(where, name), root):
                         common.read_bytes(os.path.join(where, name))
                         for where, _, names in os.walk(root) for name in names})
        pub = self.trusted("p256.pub")
        self.assertEqual(self.accepted("p256.sig", pub, "its 5 files are the set's",
                                       "leaves out 2 of the set's members"), 5)
        write(os.path.join(self.plain, "sub", "a-b"), b"b\n")
        self.lab.sealctl("seal", self.plain, self.sealed, "--set", "model", "--key-file", self.key,
                         "--sign", self.pem, "-q", expect=OK)
        self.refused(NOT_AUTHENTIC, '"sub/a-b" is not the file that',
                     options=("oms=" + reference("p256.sig"), "oms-key=" + pub))

    def test_keys_and_certificates(self):
        self.seal_model({name: common.read_bytes(reference(name))
                         for name in ("signme-1", "signme-2")})
        pub = self.trusted("key.pub")
        self.accepted("v1.1.0-elliptic-key.sig", pub, "its 2 files are the set's")
        self.accepted("v1.0.1-elliptic-key.sig", pub, "its 2 files are the set's")
        for name, words in (("v0.3.1-elliptic-key.sig", 'names "."'),
                            ("v0.2.0-certificate.sig", "signature is not"),
                            ("v1.1.0-certificate.sig", '"signme-1" is not the file that')):
            self.refused(NOT_AUTHENTIC, words,
                         options=("oms=" + reference(name), "oms-key=" + pub))

    def test_what_is_not_checked_is_said(self):
        self.seal_model({"signme-1": b"signme-1", "signme-2": b"signme-2"})
        self.accepted("v1.1.0-certificate.sig", self.trusted("key.pub"), "not checked",
                      "2 certificates")
        bundle = json.loads(common.read_bytes(reference("v1.1.0-sigstore.sig")))
        raw = bundle["verificationMaterial"]["certificate"]["rawBytes"]
        certificate = x509.load_der_x509_certificate(base64.b64decode(raw))
        pub = os.path.join(self.dir, "fulcio.pub")
        write(pub, certificate.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        self.accepted("v1.1.0-sigstore.sig", pub, "not checked", "1 certificate (",
                      "1 transparency-log entry, 1 timestamp")
        self.refused(NOT_AUTHENTIC, "signature is not one of the key",
                     options=("oms=" + reference("v1.1.0-sigstore.sig"),
                              "oms-key=" + self.trusted("p256.pub")))


class Bucket(common.Case):
    """A set in S3: one object is read for a bundle, and none of a payload."""

    PARTS = ("s3",)

    def test_in_a_bucket(self):
        key, (private, pub) = self.lab.key_file(), self.lab.owner_key()
        where, plain = self.lab.s3_url("signed/"), self.lab.path("plain", make=True)
        for seed, name in enumerate(("a.bin", "b.bin")):
            common.make_model(os.path.join(plain, name), 700_000, seed)
        self.lab.sealctl("seal", plain, where, "--set", "s", "--key-file", key, "--sign", private, "-q",
                         expect=OK)
        _, pem256, pub256 = make_key(self.lab.path("author"))
        bundle = self.lab.path("model.sig")
        self.lab.s3.clear_log()
        self.lab.sealctl("set", "export", "--oms", bundle, "--oms-key", pem256, "--owner-key", pub,
                         where, expect=OK)
        self.assertEqual({os.path.basename(e["key"]) for e in self.lab.s3.log()}, {"sealed.set"})
        with self.lab.mount(where, "key-file=" + key, "owner-key=" + pub, "attest=none",
                            "measure=none", "oms=" + bundle, "oms-key=" + pub256, "oms-read") as mount:
            self.assertEqual(oracle_judges(mount, bundle, pub256), 2)


class Descriptions(OllamaCase):
    """Texts that are shown in the Ollama store only."""

    def test_descriptions_are_members(self):
        pem, pub = self.lab.owner_key("describer")
        self.gguf("m.gguf", 1)
        text = os.path.join(self.dir, "system.txt")
        write(text, b"be kind")
        self.lab.seal(os.path.join(self.plain, "m.gguf"), self.sealed + "/", "--key-file", self.key,
                      "--sign", pem, "-q", "--ollama-name", "mine", "--ollama-system", text)
        sets = SetWriter(self.sealed, self.key, pem)
        sets.admit()
        sets.put()
        private, pem256, pub256 = make_key(os.path.join(self.dir, "author"))
        ours, theirs = os.path.join(self.dir, "ours.sig"), os.path.join(self.dir, "theirs.sig")
        self.lab.sealctl("set", "export", "--oms", ours, "--oms-key", pem256, "--owner-key", pub,
                         self.sealed, expect=OK)
        with self.mount("owner-key=" + pub, "oms=" + ours, "oms-key=" + pub256) as mount:
            self.assertIn("ollama", os.listdir(mount.path))
            self.assertEqual(oracle_judges(mount, ours, pub256), 1)
            self.assertIn('"m.gguf.ollama" first', mount.log())
        # An author who has not seen the description has not agreed to it.
        write(theirs, json.dumps(oms.bundle(oms.statement(
            "m", {"m.gguf": common.digest(os.path.join(self.plain, "m.gguf"))}), private)).encode())
        done = self.lab.sealctl("set", "check", "--oms", theirs, "--oms-key", pub256, "--owner-key",
                                pub, self.sealed)
        self.assert_result(done, NOT_AUTHENTIC,
                           '"m.gguf.ollama" is a member of the set that', "does not sign")


if __name__ == "__main__":
    common.main()
