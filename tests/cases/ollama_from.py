#!/usr/bin/python3
"""sealctl seal --from-ollama: a whole model of a local store, byte for byte, or nothing."""

import hashlib
import json
import os
import shutil
import signal

import common
from common import FAILURE, NOT_AUTHENTIC, OK, USAGE
from common_ollama import IMAGE, PARAMS, TEMPLATE, OllamaCase, OllamaStore, make_gguf
from common_sealctl import files, finish, start, wait_until_read


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

    def move_to_v2(self, link=True):
        """The tag as newer Ollama keeps it: a link to a blob, or a copy, under the other host."""
        old = self.store.manifest_path(self.NAME)
        content = common.read_bytes(old)
        digest = self.store.blob(content)
        new = os.path.join(self.store.root, "manifests-v2", "ollama.com", *self.NAME[1:])
        os.makedirs(os.path.dirname(new))
        if link:
            os.symlink(os.path.relpath(self.store.blob_path(digest), os.path.dirname(new)), new)
        else:
            shutil.copy(old, new)
        os.unlink(old)
        return new, content

    def test_newer_stores(self):
        for link in (True, False):
            with self.subTest(link=link):
                for folder in (self.store.root, self.sealed):
                    shutil.rmtree(folder, ignore_errors=True)
                self.store = OllamaStore(os.path.join(self.dir, "models"))
                self.add()
                _, content = self.move_to_v2(link)
                os.chmod(self.dir, 0o755)
                done = self.ollama(self.store.root, "--like", "next")
                self.assertEqual(done.returncode, 0, done.stderr)
                home = os.path.join(self.dir, f"home-{link}")
                os.makedirs(os.path.join(home, ".ollama"))
                os.symlink(self.store.root, os.path.join(home, ".ollama", "models"))
                self.take("tiny:q8", self.sealed, extra={"HOME": home})
                with self.mount() as mount:
                    shown = mount.join("ollama", "manifests", *self.NAME)
                    self.assertEqual(common.read_bytes(shown), content)
                    self.assertEqual(self.names(mount), ["tiny:q8"])

    def test_newer_place_goes_first(self):
        """Both are there: what newer Ollama would run is sealed."""
        self.add(more=[self.store.layer("system", b"old")])
        new, _ = self.move_to_v2()
        self.add(more=[self.store.layer("system", b"older")])
        self.take("ollama.com/library/tiny:q8", self.store.root, self.sealed, "--name", "m.gguf")
        with self.mount() as mount:
            self.assertEqual(self.check(mount)["run"]["tiny:q8"]["system"], "old")
        self.assertTrue(os.path.islink(new))

    def test_links_of_newer_stores(self):
        """A tag that leads elsewhere, to what is no blob, or to what is not what it is called."""
        self.add()
        new, content = self.move_to_v2()
        elsewhere = os.path.join(self.dir, "elsewhere")
        with open(elsewhere, "wb") as out:
            out.write(content)
        named = os.path.join(self.dir, "sha256-" + hashlib.sha256(content).hexdigest())
        shutil.copy(elsewhere, named)
        wrong = self.store.blob_path("0" * 64)
        shutil.copy(elsewhere, wrong)
        dangling = self.store.blob_path("1" * 64)
        loop = os.path.join(self.store.root, "blobs", "loop")
        os.symlink(loop, loop)
        for target, code, word in ((elsewhere, USAGE, "not a blob of the store"),
                                   (named, USAGE, "not a blob of the store"),
                                   ("/etc/passwd", USAGE, "not a blob of the store"),
                                   (wrong, NOT_AUTHENTIC, "does not match its digest"),
                                   (dangling, FAILURE, "cannot read"), (loop, FAILURE, "cannot read")):
            with self.subTest(target=target):
                os.unlink(new)
                os.symlink(target, new)
                self.refuse(code, word)
        os.unlink(new)
        os.mkfifo(new)
        self.refuse(USAGE, "is no file")
        # A folder on the way that leads out of the store.
        os.unlink(new)
        away = os.path.join(self.dir, "away")
        os.rename(os.path.dirname(new), away)
        shutil.copy(elsewhere, os.path.join(away, self.NAME[3]))
        os.symlink(away, os.path.dirname(new))
        self.refuse(USAGE, "not a blob of the store")

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
                    self.refuse(NOT_AUTHENTIC, "does not match its digest", blob)
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
                self.refuse(USAGE, "not a valid Ollama name", name=name)

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
        self.assert_result(finish(child), -signal.SIGINT, "interrupted")
        self.assertEqual(files(self.sealed), [])

    def test_usage(self):
        self.add()
        for more in (("--ollama-name", "x"), ("--length", "1"), ("--follow",)):
            self.take("tiny:q8", self.store.root, self.sealed, *more, expect=USAGE)
        self.take("tiny:q8", self.store.root, "second", self.sealed, expect=USAGE)
        done = self.take("tiny:q8", self.sealed, expect=FAILURE)
        self.assertIn("there is no Ollama store", done.err)


if __name__ == "__main__":
    common.main()
