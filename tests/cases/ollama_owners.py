#!/usr/bin/python3
"""The Ollama store with two pinned owners: names are the first one's, and nobody's bytes are shown
under a digest or a name of the other."""

import hashlib
import json
import os
import shutil
import struct

from cryptography.hazmat.primitives import serialization

import common
import common_ollama
from common_ollama import IMAGE, OllamaCase

import sealwriter as sw


class Owners(OllamaCase):
    """Two pinned owners: names are the first one's, whatever the paths are."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = {name: cls.lab.owner_key(name) for name in ("zoe", "adam")}

    def seal_as(self, owner, name, seed, *more):
        """Returns the plaintext. By itself, so that others' seals stay."""
        folder = os.path.join(self.dir, owner)
        path = common_ollama.make_gguf(os.path.join(folder, name), seed)
        dest = os.path.join(self.sealed, os.path.dirname(name))
        self.lab.seal(path, dest, "--key-file", self.key, "--sign", self.keys[owner][0], "-q", *more)
        return path

    def mount_for(self, *owners):
        return self.mount(*("owner-key=" + self.keys[owner][1] for owner in owners))

    def model_of(self, mount, name):
        """Of which plaintext the model with this name is, by digest."""
        return os.path.basename(self.check(mount)["shown"][name]["model"])

    def blob_name(self, path):
        return "sha256-" + common.digest(path)

    def notes(self, mount):
        return json.loads(common.read_text(mount.join(".sealedfs/status.json")))["listing"]["notes"]

    def assert_refused(self, mount, path):
        """Log, report and status name it."""
        words = f'"{path}" is not in the Ollama store'
        self.assertIn(words, mount.log())
        self.assertTrue(any(words in note for note in self.notes(mount)), self.notes(mount))
        self.assertIn(words, self.lab.sealctl("status", mount.path).out)

    def test_names_belong_to_the_first(self):
        """Explicit and derived names against each other, the later owner's paths first."""
        for described in ((), ("zoe",), ("adam",), ("zoe", "adam")):
            with self.subTest(described=described):
                shutil.rmtree(self.sealed, ignore_errors=True)
                plain = {}
                for owner, name in (("adam", "a.gguf"), ("zoe", "z/mistral-7b.gguf")):
                    more = ("--ollama-name", "z/mistral-7b") if owner in described else ()
                    if owner == "adam" and not more:
                        name = "z/mistral-7b-.gguf"
                    plain[owner] = (self.seal_as(owner, name, ord(owner[0]), *more), name)
                for first, second in (("zoe", "adam"), ("adam", "zoe")):
                    with self.mount_for(first, second) as mount:
                        self.assertEqual(self.model_of(mount, "z/mistral-7b:latest"),
                                         self.blob_name(plain[first][0]))
                        self.assertEqual(len(self.names(mount)), 1)
                        self.assert_refused(mount, plain[second][1])
                        self.assertEqual(common.digest(mount.join(plain[second][1])),
                                         common.digest(plain[second][0]))
                for only in ("zoe", "adam"):
                    with self.mount_for(only) as mount:
                        self.assertEqual(self.model_of(mount, "z/mistral-7b:latest"),
                                         self.blob_name(plain[only][0]))

    def test_one_owner_twice(self):
        """As without owners: who comes later in path order gets another name, and it is logged."""
        for name in ("a.gguf", "b.gguf"):
            self.seal_as("zoe", name, ord(name[0]), "--ollama-name", "same")
        with self.mount_for("adam", "zoe") as mount:
            self.assertEqual(len(self.names(mount)), 2)
            self.assertIn("the name same is taken", mount.log())
        with self.mount() as mount:
            self.assertEqual(len(self.names(mount)), 2)
            self.assertIn("the name same is taken", mount.log())

    def test_description_of_another(self):
        """Signed by the second owner, beside the first one's model."""
        plain = self.seal_as("zoe", "m.gguf", 1, "--ollama-name", "mine")
        other = common_ollama.make_gguf(os.path.join(self.dir, "adam", "m.gguf"), 1)
        self.assertEqual(common.digest(other), common.digest(plain))
        stolen = os.path.join(self.dir, "stolen")
        self.lab.seal(other, stolen, "--key-file", self.key, "--sign", self.keys["adam"][0], "-q",
                      "--ollama-name", "mistral-7b")
        for name in os.listdir(self.sealed):
            if name.startswith("m.gguf.ollama."):
                os.unlink(os.path.join(self.sealed, name))
        for name in os.listdir(stolen):
            if name.startswith("m.gguf.ollama."):
                shutil.copy(os.path.join(stolen, name), self.sealed)
        for owners in (("zoe", "adam"), ("adam", "zoe")):
            with self.mount_for(*owners) as mount:
                self.assertEqual(self.names(mount), [])
                self.assert_refused(mount, "m.gguf")
                self.assertIn("another owner", mount.log())
        with self.mount_for("zoe") as mount:
            self.assertEqual(self.names(mount), [])

    def test_names_of_broken_models_stay(self):
        """Whoever damages the first owner's model gains no name."""
        self.seal_as("zoe", "mistral-7b.gguf", 1)
        for name in os.listdir(self.sealed):
            if name.endswith(".sealed"):
                os.unlink(os.path.join(self.sealed, name))
        self.seal_as("adam", "a.gguf", 2, "--ollama-name", "mistral-7b")
        with self.mount_for("zoe", "adam") as mount:
            self.assertEqual(self.names(mount), [])
            self.assertIn('"a.gguf" is not in the Ollama store', mount.log())
        with self.mount_for("adam", "zoe") as mount:
            self.assertEqual(self.names(mount), ["mistral-7b:latest"])


class Stated(OllamaCase):
    """Two owner keys are pinned, and one owner lies: blobs are found by SHA-256s that seals state."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        pairs = [cls.lab.owner_key(name) for name in ("first", "second")]
        cls.public = [public for _, public in pairs]
        cls.owners = [serialization.load_pem_private_key(common.read_bytes(private), None)
                      for private, _ in pairs]
        cls.kek = bytes.fromhex(common.read_text(cls.key).strip().partition(":")[2])

    def draft(self, name, plain, owner, **overrides):
        file_id, key, nonce = os.urandom(32), os.urandom(32), os.urandom(12)
        overrides.setdefault("facts", b"gguf.tensor-data=complete\nkind=gguf\n")
        sw.Draft(plain, path=name.encode(), file_id=file_id, data_key=key, owner=self.owners[owner],
                 slots=[sw.keyfile_slot(self.kek, key, file_id, nonce)], **overrides
                 ).write(self.sealed, name)

    def describe(self, name, model, ollama_name, owner, *more_layers, blobs=()):
        """A description of `model` (bytes) beside the file `name`."""
        layers = [{"mediaType": IMAGE + "model", "size": len(model),
                   "digest": "sha256:" + hashlib.sha256(model).hexdigest()}, *more_layers]
        manifest = json.dumps({"schemaVersion": 2, "layers": layers}).encode()
        title = ("registry.ollama.ai/library/" + ollama_name + ":latest").encode()
        self.draft(name + ".ollama", b"".join([
            b"sfollama", struct.pack("<HHIH14x", 1, len(title), len(manifest), len(blobs)),
            hashlib.sha256(model).digest(), title, manifest,
            *(struct.pack("<I", len(blob)) + blob for blob in blobs)]), owner)

    def served(self, mount, name):
        """The bytes of the blob of weights that Ollama takes for a name; None: no such name."""
        path = mount.join("ollama/manifests/registry.ollama.ai/library", name, "latest")
        if not os.path.exists(path):
            return None
        (layer,) = [layer for layer in json.loads(common.read_text(path))["layers"]
                    if layer["mediaType"] == IMAGE + "model"]
        return common.read_bytes(mount.join("ollama/blobs", layer["digest"].replace(":", "-")))

    def both(self, *order):
        return self.mount(*["owner-key=" + self.public[owner] for owner in order or (0, 1)])

    def test_stated_digest_of_another_owners_model(self):
        good, evil = (common.model_bytes(5000, seed) for seed in (1, 2))
        for name, described in (("aaa.gguf", False), ("zzz.gguf", False), ("aaa.gguf", True)):
            with self.subTest(name, described=described):
                shutil.rmtree(self.sealed, ignore_errors=True)
                self.draft("mistral.gguf", good, 0)
                self.draft(name, evil, 1, sha256=hashlib.sha256(good).digest())
                if described:
                    self.describe(name, good, "other", 1)
                with self.both() as mount:
                    self.assertEqual(self.served(mount, "mistral"), good)
                    for other in ("aaa", "zzz", "other"):
                        self.assertIsNone(self.served(mount, other))
                    self.assertIn(f'"{name}" is not in the Ollama store: one of its blobs',
                                  mount.log())
                    self.assertEqual(common.read_bytes(mount.join(name)), evil)
                # The other way round the first owner lies: nobody is given wrong bytes.
                with self.both(1, 0) as mount:
                    self.assertIsNone(self.served(mount, "mistral"))
                    self.assertIn('"mistral.gguf" is not in the Ollama store: one of its blobs',
                                  mount.log())

    def test_two_of_one_owner(self):
        good, evil = (common.model_bytes(5000, seed) for seed in (1, 2))
        self.draft("mistral.gguf", good, 0)
        self.draft("aaa.gguf", evil, 0, sha256=hashlib.sha256(good).digest())
        with self.both() as mount:
            self.assertEqual(self.served(mount, "aaa"), evil)
            self.assertIsNone(self.served(mount, "mistral"))
            self.assertIn("one of its blobs", mount.log())

    def test_the_same_model_of_both(self):
        good = common.model_bytes(5000, 1)
        self.draft("a.gguf", good, 1)
        self.draft("b.gguf", good, 0)
        with self.both() as mount:
            self.assertEqual([self.served(mount, name) for name in "ab"], [good, good])
            self.assertEqual(mount.log(), "")

    def test_small_blobs(self):
        """A template of the second owner, whose digest a file of the first one states."""
        template = b"{{ .Prompt }}"
        good, evil = (common.model_bytes(5000, seed) for seed in (1, 2))
        layer = {"mediaType": IMAGE + "template", "size": len(template),
                 "digest": "sha256:" + hashlib.sha256(template).hexdigest()}
        blob = {"mediaType": IMAGE + "adapter", **{key: layer[key] for key in ("size", "digest")}}
        self.draft("liar.gguf", evil, 0)
        self.draft("part.gguf", evil[:len(template)], 0, sha256=hashlib.sha256(template).digest())
        self.describe("liar.gguf", evil, "liar", 0, blob)
        self.draft("mistral.gguf", good, 1)
        self.describe("mistral.gguf", good, "mistral", 1, layer, blobs=[template])
        path = "ollama/blobs/" + layer["digest"].replace(":", "-")
        with self.both() as mount:
            self.assertEqual(common.read_bytes(mount.join(path)), evil[:len(template)])
            self.assertIsNone(self.served(mount, "mistral"))
            self.assertIn('"mistral.gguf" is not in the Ollama store: one of its blobs',
                          mount.log())
        with self.both(1, 0) as mount:
            self.assertEqual(common.read_bytes(mount.join(path)), template)
            self.assertEqual(self.served(mount, "mistral"), good)


if __name__ == "__main__":
    common.main()
