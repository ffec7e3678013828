#!/usr/bin/python3
"""sealctl seal --ollama-… and --from-ollama: what the owner says reaches who asks through the store,
and nothing half-sealed is ever seen."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import unittest
import zlib

import common
from common import FAILURE, NOT_AUTHENTIC, OK, REFUSED, USAGE
from common_ollama import (IMAGE, LLAMA, OllamaCase, OllamaStore, fetch_llama, make_gguf,
                           snapshot)
from common_sealctl import files, finish, start, wait_until_read

import ask

TEMPLATE = "[INST] {{ .System }} {{ .Prompt }} [/INST]"
SYSTEM = "You count to one.\n"
PARAMS = {"num_ctx": 512, "num_predict": 5, "stop": ["</s>", "[INST]"], "temperature": 0.7,
          "use_mmap": True}


class Described(OllamaCase):
    """--ollama-name and the others."""

    def text(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(content)
        return path

    def options(self):
        return ["--ollama-name", "acme/Nice:v1", "--ollama-template",
                self.text("template", TEMPLATE), "--ollama-system", self.text("system", SYSTEM),
                "--ollama-params", self.text("params", json.dumps(PARAMS)), "--ollama-license",
                self.text("one", "MIT ©"), "--ollama-license", self.text("two", "BSD")]

    def seal_one(self, plain, *more, expect=OK):
        return self.lab.sealctl("seal", plain, self.sealed, "--key-file", self.key, *more,
                                expect=expect)

    def test_all_of_it_is_in_effect(self):
        plain = self.gguf("m.gguf", 1)
        self.seal_one(plain, *self.options())
        with self.mount() as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), ["m.gguf", "ollama"])
            result = self.check(mount, "--prune")
            self.assertEqual([m["name"] for m in result["models"]], ["acme/Nice:v1"])
            found = result["run"]["acme/Nice:v1"]
            self.assertEqual([found["config"].get(key) for key in
                              ("model_format", "model_family", "model_families", "file_type")],
                             ["gguf", "llama", ["llama"], "Q8_0"])
            self.assertEqual(found["template"], TEMPLATE)
            self.assertEqual(found["system"], SYSTEM)
            self.assertEqual(found["options"], PARAMS)
            self.assertEqual(found["license"], ["MIT ©", "BSD"])
            self.assertEqual(found["model"], self.blob(mount, plain))
            self.assertEqual(mount.log(), "")
            # As Ollama finds it whatever the case.
            self.check(mount, "--show", "ACME/nice:V1")

    def test_params_one_by_one(self):
        lines = self.text("lines", "# greedy\n\ntemperature=0\n  top_k=1\nstop=a b\n")
        self.seal_one(self.gguf("m.gguf", 1), "--ollama-params", lines, "--ollama-params",
                      "stop=x=y", "--ollama-params", "use_mmap=false")
        with self.mount() as mount:
            found = self.check(mount)["run"]["m:latest"]
            self.assertEqual(found["options"], {"temperature": 0, "top_k": 1,
                                                "stop": ["a b", "x=y"], "use_mmap": False})

    def test_refused_before_anything_is_written(self):
        plain, other = self.gguf("m.gguf", 1), self.gguf("n.gguf", 2)
        empty, binary = self.text("empty", ""), os.path.join(self.dir, "binary")
        with open(binary, "wb") as out:
            out.write(b"\xff\xfe")
        huge = self.text("huge", "x" * (4 << 20))
        self.gguf("s.gguf", 3, "--split", "2", size=3)
        part = os.path.join(self.plain, "renamed.gguf")
        os.rename(os.path.join(self.plain, "s-00001-of-00002.gguf"), part)
        for arguments, word in (
                ((plain, "--ollama-name", "../x"), "no name for Ollama"),
                ((plain, "--ollama-name", "a b"), "no name for Ollama"),
                ((plain, "--ollama-name", ""), "no name for Ollama"),
                ((plain, "--ollama-name", "a/b/c/d"), "no name for Ollama"),
                ((plain, "--ollama-name", "n.s/m"), "no name for Ollama"),
                ((plain, "--ollama-name", "http://h/n/m"), "scheme"),
                ((plain, "--ollama-name", "x" * 81), "80"),
                ((plain, "--ollama-name", "x:"), "tag is empty"),
                ((plain, "--ollama-name", "-x"), "begin"),
                ((plain, "--ollama-params", "num_ctx=many"), "whole number"),
                ((plain, "--ollama-params", "top_p=nan"), "number"),
                ((plain, "--ollama-params", "mirostat=1"), "no parameter"),
                ((plain, "--ollama-params", self.text("p1", '{"stop":"x"}')), "list of texts"),
                ((plain, "--ollama-params", self.text("p2", '{"num_ctx":1.5}')), "whole number"),
                ((plain, "--ollama-params", self.text("p3", '{"seed":1,"seed":2}')), "JSON"),
                ((plain, "--ollama-params", self.text("p4", '{"a":[}')), "JSON"),
                ((plain, "--ollama-system", empty), "is empty"),
                ((plain, "--ollama-template", binary), "UTF-8"),
                ((self.plain, "--ollama-name", "x"), "single model"),
                ((part, "--ollama-name", "x"), "split"),
                ((plain, "--name", "x-00001-of-00002.gguf", "--ollama-name", "x"), "split")):
            with self.subTest(arguments=arguments[1:]):
                done = self.seal_one(*arguments, expect=USAGE)
                self.assertIn(word, done.err)
        done = self.lab.sealctl("seal", plain, other, self.sealed, "--key-file", self.key,
                                "--ollama-name", "x", expect=USAGE)
        self.assertIn("single model", done.err)
        self.assertIn("4 MiB", self.seal_one(plain, "--ollama-license", huge, expect=FAILURE).err)
        self.assertEqual(files(self.sealed) if os.path.isdir(self.sealed) else [], [])

    def test_sealed_anew(self):
        plain = self.gguf("m.gguf", 1)
        self.seal_one(plain, "--ollama-name", "one", "--ollama-system", self.text("s", "first"))
        with self.mount() as mount:
            before = self.check(mount)["run"]["one:latest"]
            self.gguf("m.gguf", 2)
            self.seal_one(plain, "--ollama-name", "two", "--ollama-system",
                          self.text("s", "second"), "--remove-old")
            self.assertEqual(len(files(self.sealed)), 4)
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            after = self.check(mount)["run"]
            self.assertEqual(list(after), ["two:latest"])
            self.assertEqual((before["system"], after["two:latest"]["system"]),
                             ("first", "second"))
            self.assertEqual(after["two:latest"]["model"], self.blob(mount, plain))

    def test_description_of_another_model(self):
        plain = self.gguf("m.gguf", 1)
        self.seal_one(plain, "--ollama-name", "one")
        self.assertNotIn("describes", self.seal_one(self.gguf("n.gguf", 3)).err)
        self.gguf("m.gguf", 2)
        self.assertIn("m.gguf.ollama.seal describes what was replaced", self.seal_one(plain).err)
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["n:latest"])
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(plain))
            self.assertEqual(mount.log().count("\n"), 1, mount.log())
            self.assertIn("it describes another model", mount.log())

    def test_malformed_descriptions(self):
        """Sealed by who may seal, and still not believed."""
        plain = self.gguf("m.gguf", 1)
        self.seal_one(plain, *self.options())
        with self.mount("ollama=off") as mount:
            self.assertEqual(os.listdir(mount.path), ["m.gguf"])
        good = self.unsealed("m.gguf.ollama")
        digest = hashlib.sha256(common.read_bytes(plain)).digest()
        self.assertEqual(good[0x20:0x40], digest)
        bad = {"empty": b"", "short": good[:-1], "longer": good + b"\0",
               "magic": b"S" + good[1:], "version": good[:8] + b"\2" + good[9:],
               "reserved": good[:0x12] + b"\1" + good[0x13:],
               "counts": good[:0x10] + b"\xff\xff" + good[0x12:],
               "blob": good.replace(SYSTEM.encode(), SYSTEM.upper().encode()),
               "name": good.replace(b"acme/Nice:v1", b"acme/Ni/e:v1"),
               "name-part": good.replace(b"/acme/", b"/.cme/"),
               "manifest": good.replace(b'"layers"', b'"lalers"'),
               "length": good[:0x0C] + b"\xff\xff\xff\xff" + good[0x10:],
               "model": good.replace(digest.hex().encode(), b"0" * 64)}
        for name, content in bad.items():
            self.assertNotEqual(content, good, name)
            with self.subTest(name=name):
                path = os.path.join(self.dir, "m.gguf.ollama")
                with open(path, "wb") as out:
                    out.write(content)
                self.seal_one(path)
                with self.mount() as mount:
                    self.assertEqual(self.names(mount), [])
                    self.assertEqual(sorted(os.listdir(mount.path)), ["m.gguf", "ollama"])
                    self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(plain))
                    self.assertEqual(mount.log().count("\n"), 1, mount.log())

    def unsealed(self, name):
        """The plaintext of one object, by the second reader."""
        out = os.path.join(self.dir, "unsealed")
        (payload,) = [entry for entry in files(self.sealed)
                      if re.fullmatch(re.escape(name) + r"\.[0-9a-f]{16}\.sealed", entry)]
        subprocess.run(["/usr/bin/python3", os.path.join(common.TESTS, "oracle", "read_sealed.py"),
                        os.path.join(self.sealed, name + ".seal"),
                        os.path.join(self.sealed, payload), "--kek", self.key, "-o", out],
                       check=True, stdout=subprocess.DEVNULL)
        return common.read_bytes(out)

    def test_damaged_description(self):
        self.seal_one(self.gguf("m.gguf", 1), "--ollama-name", "x")
        (payload,) = [name for name in files(self.sealed)
                      if name.startswith("m.gguf.ollama.") and name.endswith(".sealed")]
        with open(os.path.join(self.sealed, payload), "r+b") as damaged:
            damaged.seek(100)
            damaged.write(b"damage")
        with self.mount() as mount:
            self.assertEqual(self.names(mount), [])
            self.assertEqual(mount.log().count("\n"), 1, mount.log())
            self.assertIn("m.gguf.ollama", mount.log())
            common.digest(mount.join("m.gguf"))

    def test_owner_signs_it_too(self):
        private, public = self.lab.owner_key(self.id().rsplit(".", maxsplit=1)[-1])
        plain = self.gguf("m.gguf", 1)
        self.seal_one(plain, "--ollama-name", "mine", "--sign", private)
        with self.mount("owner-key=" + public) as mount:
            self.assertEqual(self.names(mount), ["mine:latest"])
        # Another hand describes the owner's model.
        path = os.path.join(self.dir, "m.gguf.ollama")
        with open(path, "wb") as out:
            out.write(self.unsealed("m.gguf.ollama"))
        self.seal_one(path)
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["mine:latest"])
        with self.mount("owner-key=" + public) as mount:
            self.assertEqual(self.names(mount), [])
            self.assertIn("unsigned", mount.log())
            common.digest(mount.join("m.gguf"))

    def test_same_name_twice(self):
        for name, seed in (("a.gguf", 1), ("b.gguf", 2)):
            self.seal_one(self.gguf(name, seed), "--ollama-name", "same")
        self.seal_one(self.gguf("same.gguf", 3))
        with self.mount() as mount:
            result = self.check(mount)
            names = sorted(m["name"] for m in result["models"])
            self.assertEqual(len(names), 3)
            self.assertEqual(result["run"]["same:latest"]["model"],
                             self.blob(mount, os.path.join(self.plain, "a.gguf")))
            self.assertRegex(" ".join(names), r"^b-[0-9a-f]{8}:latest same-[0-9a-f]{8}:latest "
                                              r"same:latest$")
            self.assertEqual(mount.log().count("\n"), 2, mount.log())

    def test_failure_leaves_what_was_there(self):
        plain = self.gguf("m.gguf", 1)
        # The description cannot be published, then the model cannot.
        for obstacle in ("m.gguf.ollama.seal", "m.gguf.seal"):
            with self.subTest(obstacle=obstacle):
                shutil.rmtree(self.sealed, ignore_errors=True)
                os.makedirs(os.path.join(self.sealed, obstacle, "x"))
                self.seal_one(plain, "--ollama-name", "x", expect=FAILURE)
                self.assertEqual(files(self.sealed), [])
        shutil.rmtree(self.sealed)
        self.seal_one(plain, "--ollama-name", "old")
        before = {name: common.read_bytes(os.path.join(self.sealed, name))
                  for name in files(self.sealed)}
        seal = os.path.join(self.sealed, "m.gguf.seal")
        os.rename(seal, seal + ".away")
        os.makedirs(os.path.join(seal, "x"))
        self.seal_one(plain, "--ollama-name", "new", expect=FAILURE)
        os.rmdir(os.path.join(seal, "x"))
        os.rmdir(seal)
        os.rename(seal + ".away", seal)
        self.assertEqual({name: common.read_bytes(os.path.join(self.sealed, name))
                          for name in files(self.sealed)}, before)
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["old:latest"])

    def test_results(self):
        done = self.lab.sealctl("seal", self.gguf("m.gguf", 1), self.sealed, "--key-file",
                                self.key, "--ollama-name", "x", "--json", expect=OK)
        self.assertEqual([entry["name"] for entry in json.loads(done.out)["sealed"]],
                         ["m.gguf.ollama", "m.gguf"])
        done = self.lab.sealctl("check", self.sealed, "--key-file", self.key, expect=OK)
        self.assertIn("2 objects, 0 failed", done.out)

    def test_not_a_gguf(self):
        """Ollama's affair, but worth a word."""
        for name, content in (("noise.gguf", os.urandom(1000)), ("head.gguf", b"GGUF"),
                              ("keys.gguf", b"GGUF\3\0\0\0" + b"\xff" * 100)):
            path = os.path.join(self.plain, name)
            with open(path, "wb") as out:
                out.write(content)
            done = self.seal_one(path, "--ollama-name", name)
            self.assertEqual("is no GGUF" in done.err, name == "noise.gguf", done.err)

    def test_pipe(self):
        plain = self.gguf("m.gguf", 1)
        self.lab.sealctl("seal", "-", self.sealed, "--key-file", self.key, "--name", "p.gguf",
                         "--ollama-name", "piped", stdin=common.read_bytes(plain), expect=OK)
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["piped:latest"])


class FromOllama(OllamaCase):
    """--from-ollama"""

    NAME = ("registry.ollama.ai", "library", "tiny", "q8")

    def setUp(self):
        super().setUp()
        self.store = OllamaStore(os.path.join(self.dir, "models"))
        self.model = common.read_bytes(self.gguf("m.gguf", 1))

    def add(self, name=NAME, more=(), config=None):
        return self.store.add(name, [self.store.layer("model", self.model),
                                     self.store.layer("template", TEMPLATE.encode()),
                                     self.store.layer("license", b"MIT"),
                                     self.store.layer("params", json.dumps(PARAMS).encode()),
                                     *more], config)

    def take(self, *arguments, expect=OK, **options):
        return self.lab.sealctl("seal", "--from-ollama", *arguments, "--key-file", self.key,
                                expect=expect, **options)

    def assert_same(self, mount, name, manifest):
        """Manifest and blobs of the mount are those of the disk, byte for byte."""
        shown = mount.join("ollama", "manifests", *name)
        self.assertEqual(common.read_bytes(shown), common.read_bytes(manifest))
        layers = json.loads(common.read_text(manifest))
        for layer in [*layers["layers"], layers["config"]]:
            blob = layer["digest"].replace(":", "-")
            self.assertEqual(common.digest(mount.join("ollama", "blobs", blob)),
                             common.digest(os.path.join(self.store.root, "blobs", blob)))

    def test_whole_model(self):
        projector = common.read_bytes(make_gguf(os.path.join(self.dir, "p"), 5))
        adapters = [common.read_bytes(make_gguf(os.path.join(self.dir, "a"), seed))
                    for seed in (6, 7)]
        manifest = self.add(more=[self.store.layer("projector", projector),
                                  *(self.store.layer("adapter", each) for each in adapters),
                                  self.store.layer("messages", b'[{"role":"user","content":"x"}]')])
        self.take("tiny:q8", self.store.root, self.sealed)
        with self.mount() as mount:
            self.assertEqual(sorted(os.listdir(mount.join("tiny"))),
                             ["q8.gguf", "q8.gguf.adapter", "q8.gguf.adapter-2",
                              "q8.gguf.projector"])
            result = self.check(mount, "--prune")
            self.assert_same(mount, self.NAME, manifest)
            self.assertEqual([(m["name"], m["digest"]) for m in result["models"]],
                             [("tiny:q8", common.digest(manifest))])
            found = result["run"]["tiny:q8"]
            self.assertEqual(found["options"], PARAMS)
            self.assertEqual((len(found["adapters"]), len(found["projectors"])), (2, 1))
            self.assertEqual(found["config"]["model_family"], "llama")
            self.assertEqual(mount.log(), "")

    def test_names_and_stores(self):
        """OLLAMA_MODELS, the home folder; other hosts; --name."""
        manifest = self.add(("hf.co", "acme", "Deep", "Q4_K_M"))
        self.take("hf.co/acme/Deep:Q4_K_M", self.sealed, extra={"OLLAMA_MODELS": self.store.root})
        home = os.path.join(self.dir, "home")
        os.makedirs(os.path.join(home, ".ollama"))
        os.symlink(self.store.root, os.path.join(home, ".ollama", "models"))
        self.add(("registry.ollama.ai", "library", "plain", "latest"))
        self.take("plain", self.sealed, "--name", "other.gguf", extra={"HOME": home})
        with self.mount() as mount:
            self.assert_same(mount, ("hf.co", "acme", "Deep", "Q4_K_M"), manifest)
            self.assertEqual(self.names(mount), ["hf.co/acme/Deep:Q4_K_M", "plain:latest"])
            self.assertTrue(os.path.exists(mount.join("hf.co/acme/Deep/Q4_K_M.gguf")))
            self.assertTrue(os.path.exists(mount.join("other.gguf")))

    def test_blobs_may_be_links(self):
        manifest = self.add()
        digest = hashlib.sha256(self.model).hexdigest()
        os.rename(self.store.blob_path(digest), os.path.join(self.dir, "elsewhere"))
        os.symlink(os.path.join(self.dir, "elsewhere"), self.store.blob_path(digest))
        self.take("tiny:q8", self.store.root, self.sealed)
        with self.mount() as mount:
            self.assert_same(mount, self.NAME, manifest)

    def refuse(self, code, *words, name="tiny:q8"):
        done = self.take(name, self.store.root, self.sealed, expect=code)
        for word in words:
            self.assertIn(word, done.err)
        self.assertEqual(files(self.sealed) if os.path.isdir(self.sealed) else [], [])

    def test_wrong_digests(self):
        """A flipped bit in each blob in turn: exit code 3, nothing is left."""
        projector = common.read_bytes(make_gguf(os.path.join(self.dir, "p"), 5))
        self.add(more=[self.store.layer("projector", projector)])
        for blob in sorted(os.listdir(os.path.join(self.store.root, "blobs"))):
            with self.subTest(blob=blob):
                path = os.path.join(self.store.root, "blobs", blob)
                good = common.read_bytes(path)
                for bad in (good[:-1] + bytes([good[-1] ^ 1]), good + b"x"):
                    with open(path, "wb") as out:
                        out.write(bad)
                    self.refuse(NOT_AUTHENTIC, "not what its digest says", blob)
                with open(path, "wb") as out:
                    out.write(good)
        self.take("tiny:q8", self.store.root, self.sealed)

    def test_what_is_missing(self):
        self.add()
        self.refuse(FAILURE, "no model", name="tiny")
        for blob in sorted(os.listdir(os.path.join(self.store.root, "blobs"))):
            with self.subTest(blob=blob):
                path = os.path.join(self.store.root, "blobs", blob)
                os.rename(path, path + ".away")
                self.refuse(FAILURE, blob)
                os.mkfifo(path)
                self.refuse(USAGE, "is no file")
                os.unlink(path)
                os.rename(path + ".away", path)

    def test_names_that_lead_out(self):
        self.add()
        for name in ("../../etc/passwd", "..", "a/../../b", "/etc/passwd", "tiny:../x", "a b", ""):
            with self.subTest(name=name):
                self.refuse(USAGE, "no name for Ollama", name=name)

    def test_other_kinds_of_models(self):
        add, layer = self.store.add, self.store.layer
        add(self.NAME, [layer("tensor", b"x"), layer("json", b"{}"), layer("model", b"GGUF")])
        self.refuse(USAGE, "safetensors")
        add(self.NAME, [layer("model", self.model)], {"model_format": "safetensors"})
        self.refuse(USAGE, "safetensors")
        add(self.NAME, [layer("model", self.model)], {"remote_host": "https://ollama.com"})
        self.refuse(USAGE, "cloud model")
        add(self.NAME, [layer("template", b"x")])
        self.refuse(NOT_AUTHENTIC, "no model layer")
        add(self.NAME, [layer("model", self.model), layer("model", b"GGUF")])
        self.refuse(NOT_AUTHENTIC, "several model layers")
        add(self.NAME, [layer("model", self.model), layer("license", b"x" * (4 << 20))])
        self.refuse(FAILURE, "4 MiB")
        for bad in (b"", b"{", b"[]", b'{"layers":1}', b'{"layers":[{}]}',
                    b'{"layers":[{"mediaType":"a","digest":"sha256:../../x","size":1}]}',
                    b'{"layers":[{"mediaType":"a","digest":"sha256:%s","size":-1}]}' % (b"0" * 64)):
            with self.subTest(bad=bad):
                with open(self.store.manifest_path(self.NAME), "wb") as out:
                    out.write(bad)
                self.refuse(NOT_AUTHENTIC, "manifest")

    def test_interrupted(self):
        """The projector is there already when Ctrl-C comes; then it is gone again."""
        self.add(more=[self.store.layer("projector", b"GGUF, small")])
        path = self.store.manifest_path(self.NAME)
        manifest = json.loads(common.read_text(path))
        blob = self.store.blob_path("0" * 64)
        with open(blob, "wb") as out:
            out.write(b"GGUF")
            out.truncate(16 << 30)
        manifest["layers"][0] = {"mediaType": IMAGE + "model", "digest": "sha256:" + "0" * 64,
                                 "size": 16 << 30}
        with open(path, "w", encoding="ascii") as out:
            json.dump(manifest, out)
        child = start(self.lab, "seal", "--from-ollama", "tiny:q8", self.store.root, self.sealed,
                      "--key-file", self.key)
        projector = os.path.join(self.sealed, "tiny", "q8.gguf.projector.seal")
        common.wait_for("the projector", lambda: os.path.exists(projector), child)
        self.assertTrue(wait_until_read(child, blob, 8 << 20))
        child.send_signal(signal.SIGINT)
        self.assert_result(finish(child), FAILURE, "interrupted")
        self.assertEqual(files(self.sealed), [])

    def test_usage(self):
        self.add()
        for more in (("--ollama-name", "x"), ("--length", "1"), ("--follow",)):
            self.take("tiny:q8", self.store.root, self.sealed, *more, expect=USAGE)
        self.take("tiny:q8", self.store.root, "second", self.sealed, expect=USAGE)
        done = self.take("tiny:q8", self.sealed, expect=FAILURE)
        self.assertIn("there is no Ollama store", done.err)


class InS3(OllamaCase):
    """Descriptions under KMS: what is asked, when, and what becomes of refusals."""

    PARTS = ("tpm", "kms", "s3")

    def setUp(self):
        super().setUp()
        self.prefix = self.lab.s3_url(os.path.basename(self.dir))
        # What was measured once stays measured: each test has a model of its own.
        self.plain_model = self.gguf("m.gguf", zlib.crc32(self.id().encode()))
        self.lab.seal(self.plain_model, self.prefix + "/", "--kms-key", "alias/models", "-q",
                      "--ollama-name", "mine", "--ollama-params", "num_ctx=99")
        self.lab.kms.clear_log()

    def mount(self, *options, **how):
        return self.lab.mount(self.prefix, "ollama=default", "allow_other", *options, **how)

    def decrypts(self):
        return len([entry for entry in self.lab.kms.log() if entry["operation"] == "Decrypt"])

    def test_one_decrypt_and_no_measurement(self):
        before = self.lab.tpm.pcr("sha384")
        with self.mount() as mount:
            self.assertEqual(self.decrypts(), 1)
            self.assertEqual(self.lab.tpm.pcr("sha384"), before)
            self.assertEqual(self.check(mount)["run"]["mine:latest"]["options"], {"num_ctx": 99})
            self.assertEqual(self.decrypts(), 2)
            measured = self.lab.tpm.pcr("sha384")
            self.assertNotEqual(measured, before)
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.assertEqual(self.names(mount), ["mine:latest"])
            self.assertEqual(self.decrypts(), 2)
            self.assertEqual(self.lab.tpm.pcr("sha384"), measured)

    def test_refused(self):
        self.lab.kms.set_state("alias/models", "Disabled")
        with self.mount() as mount:
            self.assertEqual(self.names(mount), [])
            self.assertEqual(mount.log().count("\n"), 1, mount.log())
            self.assertIn("not in the Ollama store", mount.log())
            self.lab.kms.set_state("alias/models", "Enabled")
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.assertEqual(self.names(mount), ["mine:latest"])
        self.lab.kms.set_state("alias/models", "Disabled")
        done = self.lab.mount_fails(self.prefix, "ollama=default", "unlock=mount")
        self.assert_result(done, REFUSED, "m.gguf.ollama")
        self.lab.kms.set_state("alias/models", "Enabled")

    def test_from_ollama_to_s3(self):
        store = OllamaStore(os.path.join(self.dir, "models"))
        name = ("registry.ollama.ai", "acme", "tiny", "latest")
        model = common.read_bytes(make_gguf(os.path.join(self.dir, "t.gguf"), 9, size=10))
        manifest = store.add(name, [store.layer("model", model), store.layer("system", b"hi")])
        take = ("seal", "--from-ollama", "acme/tiny", store.root, self.prefix + "/", "--kms-key",
                "alias/models")
        before = files(self.lab.s3.file(os.path.basename(self.dir)))
        blob = store.blob_path(hashlib.sha256(model).hexdigest())
        with open(blob, "r+b") as damaged:
            damaged.seek(9 << 20)
            damaged.write(b"damage")
        self.lab.sealctl(*take, expect=NOT_AUTHENTIC)
        self.assertEqual(files(self.lab.s3.file(os.path.basename(self.dir))), before)
        with open(blob, "wb") as mended:
            mended.write(model)
        self.lab.sealctl(*take, expect=OK)
        with self.mount("unlock=mount") as mount:
            self.assertEqual(self.names(mount), ["acme/tiny:latest", "mine:latest"])
            shown = mount.join("ollama", "manifests", *name)
            self.assertEqual(common.read_bytes(shown), common.read_bytes(manifest))

    def test_stable_over_remounts(self):
        with self.mount() as mount:
            before = snapshot(mount.path)
        with self.mount() as mount:
            self.assertEqual(snapshot(mount.path), before)
        self.assertGreater(len(before), 8)

    def test_kms_comes_late(self):
        """wait= waits for descriptions too."""
        if common.QUICK:
            self.skipTest("waits for retries")
        with self.lab.kms.fault(op="Decrypt", error="KMSInternalException", times=5):
            with self.mount("wait=60") as mount:
                self.assertEqual(self.names(mount), ["mine:latest"])

    def test_unreachable(self):
        nowhere = {"AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:1"}
        with self.mount(extra=nowhere) as mount:
            self.assertEqual(self.names(mount), [])
            self.assertIn("not in the Ollama store", mount.log())


class Run(OllamaCase):
    """llama-server with what a client gets through the store, as Ollama would start and ask it."""

    def test_template_and_parameters_are_in_effect(self):
        reason = fetch_llama()
        if reason:
            raise unittest.SkipTest(reason)
        plain = self.gguf("m.gguf", 1, size=20)
        said = {}
        for name, template in (("one", "{{ .Prompt }}"), ("two", TEMPLATE)):
            path = os.path.join(self.dir, name)
            with open(path, "w", encoding="ascii") as out:
                out.write(template)
            self.lab.seal(plain, self.sealed, "--key-file", self.key, "-q", "--name",
                          name + ".gguf", "--ollama-template", path, "--ollama-params",
                          "num_predict=" + ("4" if name == "one" else "7"), "--ollama-system",
                          path)
        with self.mount() as mount:
            for name, found in self.check(mount)["run"].items():
                prompt = found["template"].replace("{{ .Prompt }}", "hello").replace(
                    "{{ .System }}", found["system"])
                said[name] = ask.ask(LLAMA, found["model"], "none", prompt=prompt,
                                     n_predict=found["options"]["num_predict"])[0]
        self.assertEqual(said["one:latest"],
                         ask.ask(LLAMA, plain, "none", prompt="hello", n_predict=4)[0])
        self.assertEqual((len(said["one:latest"]), len(said["two:latest"])), (4, 7))
        self.assertNotEqual(said["one:latest"], said["two:latest"][:4])


if __name__ == "__main__":
    common.main()
