#!/usr/bin/python3
"""What must not work: each with its own message and exit code, and without a byte of plaintext.

Every negative vector of the format goes through the programs; then wrong machines, keys and
policies, swapped and replaced objects, lying servers and TPMs, and what cannot be reached.
"""

import errno
import json
import os
import shutil
import struct

import common
from common import CHUNK, NOT_AUTHENTIC, OK, REFUSED, VECTORS

import sealedformat as sf

# What messages call a class of crypto/FORMAT.md section 9.
WORDS = {
    "malformed": "malformed", "unsupported": "unsupported",
    "wrong-name": "stored under another name", "unsigned": "unsigned",
    "unknown-signer": "unknown signer", "bad-signature": "bad signature",
    "no-recipient": "no recipient", "wrong-key": "wrong key", "bad-slots": "altered slots",
    "bad-tables": "altered tables", "bad-verity": "verity mismatch",
    "bad-payload-size": "wrong payload size", "bad-chunk": "altered chunk",
    "bad-chunk-hash": "replaced chunk", "bad-digest": "wrong digest",
}
AFTER_OPEN = ("bad-chunk", "bad-chunk-hash", "bad-digest")  # what shows only when payload is read
WITHOUT_KEY = ("malformed", "unsupported", "wrong-name", "unsigned", "unknown-signer",
               "bad-signature", "bad-payload-size")
DIRECTORY_NAME_MAX = 231
PATH_MAX = 900  # where the payload's name below another folder fits a source
DEPTH_MAX = 60  # of a sealed path, so that a mount's limit of 64 holds


def load_vectors():
    """All vectors that a key file can open or try to open."""
    with open(os.path.join(VECTORS, "index.json"), encoding="utf-8") as index:
        found = json.load(index)
    return [vector for vector in found["vectors"] + found["extended"]
            # The right object with another data key: a mount takes no data keys.
            if vector["id"] != "key-other-data-key"]


def is_good(vector):
    return vector["expected"] == "ok"


def expected_code(vector):
    return REFUSED if vector["expected"]["class"] == "no-recipient" else NOT_AUTHENTIC


class Vectors(common.Case):
    """tests/vectors/format, each in a folder of its own, mounted and checked."""

    PARTS = ("tpm",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.vectors = load_vectors()
        # Key files that others can read are refused, and git does not keep such modes.
        common.copy_tree(os.path.join(VECTORS, "keys"), cls.lab.path("keys"))
        for name in os.listdir(cls.lab.path("keys")):
            os.chmod(cls.lab.path("keys", name), 0o600)
        cls.bad = [vector for vector in cls.vectors if not is_good(vector)]
        cls.good = [vector for vector in cls.vectors if is_good(vector) and vector["readable"]
                    and "kek" in vector["keys"]
                    and len(os.path.basename(vector["path"]).encode()) <= DIRECTORY_NAME_MAX
                    and len(vector["path"].encode()) <= PATH_MAX
                    and vector["path"].count("/") < DEPTH_MAX]
        for vector in cls.bad + cls.good:
            cls.lay_out(vector)

    @classmethod
    def lay_out(cls, vector):
        """Seal and payload under the names that they must have in a directory."""
        with open(os.path.join(VECTORS, vector["files"]["seal"]), "rb") as seal:
            raw = seal.read()
        vector["name"] = vector.get("open_as") or vector.get("path") or cls.name_of(raw)
        folder = cls.lab.path(cls.group(vector), vector["id"], make=True)
        vector["folder"] = folder
        vector["seal"] = os.path.join(folder, vector["name"] + ".seal")
        os.makedirs(os.path.dirname(vector["seal"]), exist_ok=True)
        with open(vector["seal"], "wb") as out:
            out.write(raw)
        if len(raw) < 0x38:
            return
        length = struct.unpack_from("<Q", raw, 0x30)[0]
        payload = os.path.join(folder, sf.payload_name(vector["name"], raw[0x10:0x30]))
        if vector["files"]["payload"]:
            shutil.copyfile(os.path.join(VECTORS, vector["files"]["payload"]), payload)
        else:
            with open(payload, "wb") as out:
                out.truncate(length)

    @staticmethod
    def name_of(raw):
        try:
            return sf.Seal(raw).path
        except sf.Refused:
            return "model.gguf"

    @classmethod
    def keys(cls, vector):
        """(key file, owner keys). A vector for a data key in hex gets the usual key file."""
        kek = vector["keys"].get("kek", "keys/kek.key")
        return cls.lab.path(kek), [cls.lab.path(owner) for owner in vector["owner_keys"]]

    @classmethod
    def group(cls, vector):
        """Vectors of one group can be in one mount: same key file, same owners."""
        kek, owners = cls.keys(vector)
        return "-".join([os.path.basename(kek)] + [os.path.basename(owner) for owner in owners])

    def groups(self, vectors):
        """(source, options, vectors) of each group."""
        found = {}
        for vector in vectors:
            found.setdefault(self.group(vector), []).append(vector)
        for group, members in found.items():
            yield self.lab.path(group), self.options(members[0]), members

    def options(self, vector):
        kek, owners = self.keys(vector)
        return ["key-file=" + kek, "attest=none", "measure=verity",
                *("owner-key=" + owner for owner in owners)]

    def test_paths_that_agree_are_served(self):
        """Each in a mount of its own: the found path begins where the mount does."""
        vectors = [vector for vector in self.good if "open_as" in vector]
        self.assertGreater(len(vectors), 4)
        for vector in vectors:
            with self.subTest(vector["id"]):
                with self.lab.mount(vector["folder"], *self.options(vector)) as mount:
                    self.assertEqual(common.digest(mount.join(vector["name"])), vector["sha256"])

    def test_good_ones_are_served(self):
        self.assertGreater(len(self.good), 40)
        for source, options, members in self.groups(
                [vector for vector in self.good if "open_as" not in vector]):
            with self.lab.mount(source, *options) as mount:
                for vector in members:
                    with self.subTest(vector["id"]):
                        path = mount.join(vector["id"], vector["name"])
                        self.assertEqual(os.path.getsize(path), vector["length"])
                        self.assertEqual(common.digest(path), vector["sha256"])

    def test_bad_ones_give_no_byte(self):
        """In one mount, on first open: an error, and in the log one line about each."""
        self.assertGreater(len(self.bad), 170)
        for source, options, members in self.groups(self.bad):
            with self.lab.mount(source, *options) as mount:
                for vector in members:
                    if vector["expected"]["class"] == "bad-digest":
                        continue  # the chunks are right: only the flat modes can see it
                    with self.subTest(vector["id"], what=vector["what"]):
                        self.assert_io_error(mount.join(vector["id"], vector["name"]))
                        about = [line for line in mount.log().splitlines()
                                 if vector["id"] + "/" in line]
                        self.assertEqual(len(about), 1, about)
                        self.assertIn(WORDS[vector["expected"]["class"]], about[0])

    def test_bad_ones_fail_the_mount(self):
        """With ready=unlocked: the exit code, the words, and no mount."""
        for vector in self.bad:
            word = vector["expected"]["class"]
            if word in AFTER_OPEN:
                continue
            with self.subTest(vector["id"], what=vector["what"]):
                result = self.lab.mount_fails(vector["folder"], *self.options(vector),
                                              "ready=unlocked")
                self.assert_result(result, expected_code(vector), WORDS[word])

    def test_bad_chunks_after_unlock_at_mount(self):
        for vector in self.bad:
            if vector["expected"]["class"] in ("bad-chunk", "bad-chunk-hash"):
                with self.subTest(vector["id"], what=vector["what"]):
                    with self.lab.mount(vector["folder"], *self.options(vector),
                                        "ready=unlocked") as mount:
                        self.assert_io_error(mount.join(vector["name"]), errno.EBADMSG, errno.EIO)
                        self.assertIn(WORDS[vector["expected"]["class"]], mount.log())

    def test_wrong_digests_in_the_flat_modes(self):
        """A mode refuses a seal that misstates what it measures. What it does not measure it does
        not compute, and so must not record."""
        tpm = self.lab.tpm
        for vector in self.bad:
            if vector["expected"]["class"] != "bad-digest":
                continue
            with open(vector["seal"], "rb") as raw:
                seal = sf.Seal(raw.read())
            for mode in ("sha384", "sha256"):
                with self.subTest(vector["id"], mode=mode):
                    tpm.ask("POST", "reboot", {})
                    events = self.lab.path("events." + vector["id"] + "." + mode)
                    refused = mode == "sha384" or vector["id"] == "extended-sha256"
                    with self.lab.mount(vector["folder"], "key-file=" + self.keys(vector)[0],
                                        "attest=none", "measure=" + mode,
                                        "event-log=" + events) as mount:
                        path = mount.join(vector["name"])
                        if refused:
                            self.assert_io_error(path)
                            self.assertIn(WORDS["bad-digest"], mount.log())
                            self.assertEqual(int(tpm.pcr("sha384"), 16), 0)
                            continue
                        self.assertEqual(common.digest(path), seal.sha256.hex())
                        with open(events, encoding="utf-8") as log:
                            recorded = log.read()
                        self.assertIn(seal.sha256.hex(), recorded)
                        self.assertNotIn(seal.sha384.hex(), recorded)
                        self.assertNotIn('"sha384":', recorded)

    def check_arguments(self, vector, with_key=True):
        kek, owners = self.keys(vector)
        # Of a single object check compares all that is named: more than open_as.
        found = vector["folder" if "open_as" in vector else "seal"]
        arguments = ["check", found] + (["--key-file", kek] if with_key else [])
        for owner in owners:
            arguments += ["--owner-key", owner]
        return arguments

    def test_check_with_the_key(self):
        for vector in self.bad:
            with self.subTest(vector["id"], what=vector["what"]):
                self.assert_result(self.lab.sealctl(*self.check_arguments(vector)),
                                   expected_code(vector), WORDS[vector["expected"]["class"]])
        for vector in self.good:
            with self.subTest(vector["id"]):
                self.assert_result(self.lab.sealctl(*self.check_arguments(vector)), OK)

    def test_check_without_the_key(self):
        """Structure, sizes and signature need none."""
        for vector in self.bad:
            word = vector["expected"]["class"]
            with self.subTest(vector["id"], what=vector["what"]):
                result = self.lab.sealctl(*self.check_arguments(vector, with_key=False))
                if word in WITHOUT_KEY:
                    self.assert_result(result, NOT_AUTHENTIC, WORDS[word])


class Objects(common.Case):
    """Two models of one size and owner: objects exchanged, replaced, damaged, unsigned."""

    SIZE = 3 * CHUNK + 5

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.key = lab.key_file()
        cls.private, cls.public = lab.owner_key()
        cls.stranger, cls.stranger_public = lab.owner_key("stranger")
        for seed, name in enumerate(("a.gguf", "b.gguf")):
            common.make_model(lab.path("plain", name), cls.SIZE, seed)
        cls.seal_into("signed", "--sign", cls.private)

    @classmethod
    def seal_into(cls, folder, *options):
        cls.lab.seal(cls.lab.path("plain"), cls.lab.path(folder), "--key-file", cls.key, *options)
        return cls.lab.path(folder)

    def copy(self):
        """A folder to damage."""
        return common.copy_tree(self.lab.path("signed"),
                                self.lab.path("damaged." + self.id().rpartition(".")[2]))

    @staticmethod
    def payload(folder, name):
        return next(os.path.join(folder, entry) for entry in sorted(os.listdir(folder))
                    if entry.startswith(name + ".") and entry.endswith(".sealed"))

    def mount_options(self, owner=None):
        return ("key-file=" + self.key, "attest=none", "measure=none",
                "owner-key=" + (owner or self.public))

    def assert_refused(self, folder, *words, code=NOT_AUTHENTIC, owner=None, at_mount=True,
                       name="a.gguf"):
        """By sealctl check, by a mount that unlocks, and by a mount that is read."""
        self.assert_result(self.lab.sealctl("check", os.path.join(folder, name + ".seal"),
                                            "--key-file", self.key, "--owner-key",
                                            owner or self.public), code, *words)
        if at_mount:
            result = self.lab.mount_fails(folder, *self.mount_options(owner), "ready=unlocked")
            self.assert_result(result, code, *words)
        with self.lab.mount(folder, *self.mount_options(owner)) as mount:
            self.assert_io_error(mount.join(name))
            for word in words:
                self.assertIn(word.lower(), mount.log().lower())

    def test_unsigned(self):
        self.assert_refused(self.seal_into("unsigned"), "unsigned")

    def test_signed_by_another(self):
        folder = self.seal_into("strangers", "--sign", self.stranger)
        self.assert_refused(folder, "unknown signer")
        self.assert_refused(self.lab.path("signed"), "unknown signer", owner=self.stranger_public)

    def test_payloads_exchanged(self):
        folder = self.copy()
        one, two = self.payload(folder, "a.gguf"), self.payload(folder, "b.gguf")
        os.rename(one, one + ".tmp")
        os.rename(two, one)
        os.rename(one + ".tmp", two)
        for name in ("a.gguf", "b.gguf"):
            self.assert_refused(folder, "altered chunk", at_mount=False, name=name)

    def test_seals_exchanged(self):
        folder = self.copy()
        one, two = (os.path.join(folder, name + ".seal") for name in ("a.gguf", "b.gguf"))
        os.rename(one, one + ".tmp")
        os.rename(two, one)
        os.rename(one + ".tmp", two)
        self.assert_refused(folder, "stored under another name")

    def test_payload_missing(self):
        folder = self.copy()
        os.unlink(self.payload(folder, "a.gguf"))
        result = self.lab.sealctl("check", os.path.join(folder, "a.gguf.seal"), "--key-file",
                                  self.key)
        self.assertNotEqual(result.code, OK)
        with self.lab.mount(folder, *self.mount_options()) as mount:
            self.assert_io_error(mount.join("a.gguf"))
            with open(mount.join("b.gguf"), "rb") as other:
                self.assertEqual(len(other.read()), self.SIZE)

    def test_payload_without_seal_is_invisible(self):
        folder = self.copy()
        os.unlink(os.path.join(folder, "a.gguf.seal"))
        with self.lab.mount(folder, *self.mount_options()) as mount:
            self.assertEqual(os.listdir(mount.path), ["b.gguf"])

    def test_middle_chunk_damaged(self):
        """The others are still right until it is met; then the whole file is poisoned."""
        folder = self.copy()
        with open(self.payload(folder, "a.gguf"), "r+b") as payload:
            payload.seek(CHUNK + 77)
            payload.write(b"\0" * 16)
        want = common.model_bytes(self.SIZE, 0)
        with self.lab.mount(folder, *self.mount_options()) as mount:
            with common.opened(mount.join("a.gguf"), os.O_DIRECT) as sealed:
                self.assertEqual(os.pread(sealed, 4096, 0), want[:4096])
                for offset in (CHUNK, CHUNK + 4096, 0, 2 * CHUNK):
                    with self.assertRaises(OSError):
                        os.pread(sealed, 4096, offset)
            about = [line for line in mount.log().splitlines() if "altered chunk" in line]
            self.assertEqual(len(about), 1)
            self.assertIn("a.gguf", about[0])
            self.assertIn("chunk 1", about[0])
            with open(mount.join("b.gguf"), "rb") as other:
                self.assertEqual(other.read(), common.model_bytes(self.SIZE, 1))

    def test_wrong_key_file(self):
        other = self.lab.key_file("other")
        folder = self.lab.path("signed")
        result = self.lab.mount_fails(folder, "key-file=" + other, "attest=none", "measure=none",
                                      "ready=unlocked")
        self.assert_result(result, REFUSED, "no recipient")
        result = self.lab.sealctl("check", os.path.join(folder, "a.gguf.seal"), "--key-file", other)
        self.assert_result(result, REFUSED, "no recipient")


class Changing(common.Case):
    """Objects that are replaced while they are mounted."""

    PARTS = ("s3",)
    SIZE = 40 * common.MIB

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.plain = common.make_model(cls.lab.path("plain", "a.gguf"), cls.SIZE)
        cls.other = common.make_model(cls.lab.path("other", "a.gguf"), cls.SIZE, 1)

    def options(self):
        return ("key-file=" + self.key, "attest=none", "measure=none", "memory=32M")

    def read_then_change(self, target, folder):
        self.lab.seal(self.plain, target, "--key-file", self.key)
        payload = Objects.payload(folder, "a.gguf")
        with self.lab.mount(target, *self.options()) as mount:
            with common.opened(mount.join("a.gguf"), os.O_DIRECT) as sealed:
                self.assertEqual(os.pread(sealed, 4096, 0), common.model_bytes(4096))
                shutil.copyfile(self.other, payload)  # same name, same size, new ETag
                with self.assertRaises(OSError) as caught:
                    os.pread(sealed, 4096, 24 * common.MIB)
                self.assertIn(caught.exception.errno, (errno.ESTALE, errno.EIO))
                with self.assertRaises(OSError):
                    os.pread(sealed, 4096, 32 * common.MIB)
            about = [line for line in mount.log().splitlines() if "changed on the server" in line]
            self.assertEqual(len(about), 1, mount.log())
            self.assertIn("a.gguf", about[0])

    def test_s3(self):
        self.read_then_change(self.lab.s3_url("changing/"), self.lab.s3.file("changing"))

    def test_directory(self):
        self.read_then_change(self.lab.path("changing"), self.lab.path("changing"))

    def test_resealed_while_mounted(self):
        """The old payload stays: who has the old model open reads on; a new mount sees the new."""
        target = self.lab.s3_url("again/")
        self.lab.seal(self.plain, target, "--key-file", self.key)
        with self.lab.mount(target, *self.options()) as mount:
            with open(mount.join("a.gguf"), "rb", buffering=0) as sealed:
                self.assertEqual(sealed.read(4096), common.model_bytes(self.SIZE)[:4096])
                self.lab.seal(self.other, target, "--key-file", self.key)
                self.assertEqual(common.digest(mount.join("a.gguf")), common.digest(self.plain))
        with self.lab.mount(target, *self.options()) as mount:
            self.assertEqual(common.digest(mount.join("a.gguf")), common.digest(self.other))


if __name__ == "__main__":
    common.main()
