#!/usr/bin/python3
"""The Ollama store in the mount: what a server needs of it, as another user, and no write.

tests/oracle/ollama_checker.py plays Ollama. Stores with no, one and several models, names that need
mapping, split GGUFs; and that llama-server runs the blob by its path.
"""

import json
import os
import re
import shutil
import unittest

import common
from common import OK
from common_ollama import LLAMA, PROFILES, OllamaCase, fetch_llama, snapshot

import ask

SHARED = ["blobs", "manifests", "manifests-v2"]


class Plain(OllamaCase):
    """Models that were sealed without a word about Ollama."""

    def test_one_model(self):
        plain = self.gguf("mistral-7b.gguf", 1)
        self.seal()
        with self.mount() as mount:
            result = self.check(mount, "--prune")
            self.assertEqual([m["name"] for m in result["models"]], ["mistral-7b:latest"])
            shown = result["shown"]["mistral-7b:latest"]
            self.assertEqual(shown["architecture"], "llama")
            self.assertEqual(shown["model"], self.blob(mount, plain))
            path = mount.join("ollama/manifests/registry.ollama.ai/library/mistral-7b/latest")
            self.assertEqual(result["models"][0]["manifest"], path)
            self.assertEqual(result["models"][0]["modified_at"],
                             os.stat(mount.join("mistral-7b.gguf")).st_mtime_ns)
            manifest = json.loads(common.read_text(path))
            self.assertEqual(manifest["schemaVersion"], 2)
            self.assertEqual([layer["size"] for layer in manifest["layers"]],
                             [os.path.getsize(plain)])
            config = result["run"]["mistral-7b:latest"]["config"]
            self.assertEqual({**config, "model_type": ""}, {
                "model_format": "gguf", "model_family": "llama", "model_families": ["llama"],
                "model_type": "", "file_type": "Q8_0", "architecture": "amd64", "os": "linux"})
            self.assertRegex(config["model_type"], r"^\d+\.\d\dM$|^\d+K$")
            self.assertEqual(shown["capabilities"], ["completion"])
            self.assertEqual(mount.log(), "")

    def test_one_inode_and_one_cache(self):
        plain = self.gguf("m.gguf", 2, size=3)
        self.seal()
        with self.mount() as mount:
            blob = self.blob(mount, plain)
            by_name, by_digest = os.stat(mount.join("m.gguf")), os.stat(blob)
            self.assertEqual((by_name.st_ino, by_name.st_nlink), (by_digest.st_ino, 2))
            self.assertEqual(common.digest(blob), common.digest(plain))
            # What one name has read, the other has in memory: the source is not asked again.
            for name in os.listdir(self.sealed):
                if name.endswith(".sealed"):
                    with open(os.path.join(self.sealed, name), "r+b") as payload:
                        payload.write(bytes(os.path.getsize(plain)))
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(plain))

    def test_stable_over_remounts(self):
        for seed, name in enumerate(("a.gguf", "deep/b.gguf", "ü.gguf")):
            self.gguf(name, seed)
        self.seal()
        with self.mount() as mount:
            before = snapshot(mount.path)
        with self.mount() as mount:
            self.assertEqual(snapshot(mount.path), before)
        self.assertEqual(len({entry[0] for path, entry in before.items()
                              if "blobs/sha256-" not in path}),
                         len([path for path in before if "blobs/sha256-" not in path]))

    def test_no_model(self):
        common.make_model(os.path.join(self.plain, "notes.txt"), 100)
        self.seal()
        with self.mount() as mount:
            self.assertEqual(os.listdir(mount.path), ["notes.txt"])
        with self.mount("ollama=on") as mount:
            self.assertEqual(self.check(mount)["models"], [])
            self.assertEqual(sorted(os.listdir(mount.join("ollama"))), SHARED)
            self.assertEqual(self.check(mount, "--prune")["models"], [])
            self.assertEqual(mount.log(), "")

    def test_switched_off(self):
        self.gguf("m.gguf", 3)
        self.seal()
        with self.mount("ollama=off") as mount:
            self.assertEqual(os.listdir(mount.path), ["m.gguf"])
            self.assertEqual(os.stat(mount.join("m.gguf")).st_nlink, 1)

    def test_names_that_need_mapping(self):
        wanted = {"Mistral 7B (v0.3).gguf": "Mistral-7B-v0.3:latest",
                  "prod/llama.gguf": "prod/llama:latest",
                  "a.b/c/x.Q4_K_M.GGUF": "a-b-c/x.Q4_K_M:latest",
                  "-.-.gguf": "model:latest", "模型.gguf": None,
                  "ollama/inner.gguf": "ollama/inner:latest",
                  "l" * 90 + ".gguf": None, "d" * 100 + "/m.gguf": None}
        for seed, name in enumerate(wanted):
            self.gguf(name, seed)
        self.seal()
        with self.mount() as mount:
            names = self.names(mount, "--prune")
            self.assertEqual(len(names), len(wanted))
            for name in filter(None, wanted.values()):
                self.assertIn(name, names)
            (long,) = [name for name in names if name.startswith("lll")]
            self.assertRegex(long, r"^l{71}-[0-9a-f]{8}:latest$")
            (deep,) = [name for name in names if name.startswith("ddd")]
            self.assertRegex(deep, r"^d{71}-[0-9a-f]{8}/m:latest$")
            # Two have the name "model": one line, and the same choice at each mount.
            (other,) = [name for name in names if name.startswith("model-")]
            self.assertRegex(other, r"^model-[0-9a-f]{8}:latest$")
            self.assertEqual(mount.log().count("\n"), 1, mount.log())
            self.assertIn("the name model is taken", mount.log())
            # The source's own folder of this name stays.
            self.assertEqual(sorted(os.listdir(mount.join("ollama"))),
                             ["blobs", "inner.gguf", "manifests", "manifests-v2"])

    def test_names_that_differ_in_case(self):
        self.gguf("Model.gguf", 1)
        self.gguf("model.gguf", 2)
        self.seal()
        with self.mount() as mount:
            names = self.names(mount)
            self.assertIn("Model:latest", names)
            self.assertEqual(len(names), 2)

    def test_split_models_are_left_out(self):
        self.gguf("whole.gguf", 1)
        self.gguf("big.gguf", 2, "--split", "3", size=4)
        self.gguf("more.gguf", 3, "--split", "2", size=3)
        self.seal()
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["whole:latest"])
            self.assertEqual(len([name for name in os.listdir(mount.path) if "-of-" in name]), 5)
            lines = mount.log().splitlines()
            self.assertEqual(len(lines), 2, lines)
            self.assertIn("big-00001-of-00003.gguf", lines[0])
            self.assertIn("split GGUF", lines[0])
            self.assertEqual(os.stat(mount.join("big-00001-of-00003.gguf")).st_nlink, 1)

    def test_same_bytes_twice(self):
        shutil.copy(self.gguf("a.gguf", 1), os.path.join(self.plain, "b.gguf"))
        self.seal()
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["a:latest", "b:latest"])
            blob = os.stat(self.blob(mount, os.path.join(self.plain, "a.gguf")))
            self.assertEqual(blob.st_ino, os.stat(mount.join("a.gguf")).st_ino)

    def test_names_of_the_source_win(self):
        for clash in ("ollama", "ollama/blobs/x", "ollama/manifests/x", "ollama/manifests-v2/x"):
            with self.subTest(clash=clash):
                for folder in (self.plain, self.sealed):
                    shutil.rmtree(folder, ignore_errors=True)
                self.gguf("m.gguf", 1)
                os.makedirs(os.path.dirname(os.path.join(self.plain, clash)), exist_ok=True)
                common.make_model(os.path.join(self.plain, clash), 10)
                self.seal()
                with self.mount() as mount:
                    self.assertEqual(common.digest(mount.join(clash)),
                                     common.digest(os.path.join(self.plain, clash)))
                    self.assertFalse(os.path.exists(self.blob(mount, mount.join("m.gguf"))))
                    self.assertEqual(mount.log().count("\n"), 1, mount.log())
                    self.assertIn("no Ollama store is shown", mount.log())

    def test_requests_of_a_server(self):
        """What reaches the daemon while Ollama's place is taken: nothing that writes, or asks for
        more than names, attributes and bytes."""
        self.gguf("m.gguf", 1)
        self.seal()
        with self.mount(flag="-d") as mount:
            before = len(mount.log())
            self.check(mount, "--prune")
            asked = set(re.findall(r"opcode: ([A-Z_]+)", mount.log()[before:]))
        self.assertLessEqual({"LOOKUP", "OPEN", "READ", "READDIRPLUS"}, asked)
        self.assertLessEqual(asked, {"INIT", "DESTROY", "LOOKUP", "GETATTR", "OPEN", "READ",
                                     "FLUSH", "RELEASE", "OPENDIR", "READDIR", "READDIRPLUS",
                                     "RELEASEDIR", "FORGET", "BATCH_FORGET", "INTERRUPT",
                                     "GETXATTR", "POLL", "LSEEK",
                                     "STATFS"})  # of somebody who runs df

    def test_nothing_is_written(self):
        self.gguf("m.gguf", 1)
        self.seal()
        with self.mount() as mount:
            for attempt in (lambda p: os.mkdir(p + "/x"), lambda p: os.utime(p),
                            lambda p: open(p + "/x", "wb"), lambda p: os.rename(p, p + "x")):
                for name in ("ollama", "ollama/blobs", "ollama/manifests"):
                    with self.assertRaises(OSError):
                        attempt(mount.join(name))
            self.check(mount)

    def test_broken_model_is_left_out(self):
        self.gguf("good.gguf", 1)
        self.gguf("bad.gguf", 2)
        self.seal()
        (payload,) = [name for name in os.listdir(self.sealed)
                      if name.startswith("bad.gguf.") and name.endswith(".sealed")]
        os.unlink(os.path.join(self.sealed, payload))
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["good:latest"])
            self.assertEqual(mount.log().count("\n"), 1, mount.log())


class Opens(OllamaCase):
    """How often the real ones open a model, and that the mount bears it."""

    def test_opens(self):
        self.gguf("m.gguf", 1)
        self.seal()
        counts = {}
        with self.mount() as mount:
            for profile in PROFILES:
                found = self.check_like(profile, mount)
                blob = found["run"]["m:latest"]["model"]
                tensors = found["shown"]["m:latest"]["tensors"]
                counts[profile] = {phase: names["m:latest"].get(blob, 0)
                                   for phase, names in found["opens"].items()}
        new = {"start": 1, "show": 4, "run": 4, "load": 4, "run-again": 2, "load-again": 4, "ps": 0}
        self.assertEqual(counts["0.33"], new)
        self.assertEqual(counts["next"], new)
        self.assertEqual(counts["0.24"], {**new, "start": 4, "run": 7, "load": tensors + 2,
                                          "load-again": tensors + 2})


class SameBytes(OllamaCase):
    """Of two models with one SHA-256 the store takes the one that can be opened."""

    def seal_twice(self):
        other = self.lab.key_file(self.id().rpartition(".")[2])
        for name, key in (("a.gguf", other), ("b.gguf", self.key)):
            self.lab.seal(self.gguf(name, 1), self.sealed, "--key-file", key, "-q")

    def test_the_first_cannot_be_opened(self):
        self.seal_twice()
        with self.mount("ollama=on") as mount:
            blob = self.blob(mount, os.path.join(self.plain, "a.gguf"))
            self.assertEqual(os.stat(blob).st_ino, os.stat(mount.join("b.gguf")).st_ino)
            self.assertEqual(common.digest(blob), common.digest(mount.join("b.gguf")))
            self.assertEqual(self.names(mount), ["a:latest", "b:latest"])
            with self.assertRaises(OSError):
                common.digest(mount.join("a.gguf"))

    def test_after_a_reload(self):
        """Nothing is unlocked beforehand: the first open fails, and a reload knows."""
        self.seal_twice()
        with self.mount() as mount:
            blob = self.blob(mount, os.path.join(self.plain, "a.gguf"))
            with self.assertRaises(OSError):
                common.digest(mount.join("a.gguf"))
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.assertEqual(os.stat(blob).st_ino, os.stat(mount.join("b.gguf")).st_ino)
            self.assertEqual(self.names(mount), ["a:latest", "b:latest"])


class Reload(OllamaCase):
    """The listing is read again while the store is in use."""

    def reload(self, mount):
        self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)

    def test_new_and_replaced_models(self):
        first = self.gguf("a.gguf", 1)
        self.seal()
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["a:latest"])
            manifest = mount.join("ollama/manifests/registry.ollama.ai/library/a/latest")
            before, blob = common.digest(first), self.blob(mount, first)
            with open(blob, "rb", buffering=0) as held, open(manifest, "rb") as old_manifest:
                held.read(1)
                inode = os.fstat(held.fileno()).st_ino
                self.gguf("a.gguf", 7)
                self.gguf("b.gguf", 8)
                self.seal()
                self.reload(mount)
                self.assertEqual(self.names(mount), ["a:latest", "b:latest"])
                self.assertFalse(os.path.exists(blob))
                self.assertNotEqual(os.stat(self.blob(mount, first)).st_ino, inode)
                self.assertEqual(os.stat(self.blob(mount, first)).st_ino,
                                 os.stat(mount.join("a.gguf")).st_ino)
                self.assertEqual(common.digest(f"/proc/self/fd/{held.fileno()}"), before)
                self.assertIn(before.encode(), old_manifest.read())
            self.assertIn(common.digest(first), common.read_text(manifest))

    def test_store_comes_and_goes(self):
        common.make_model(os.path.join(self.plain, "notes.txt"), 100)
        self.seal()
        with self.mount() as mount:
            self.assertFalse(os.path.exists(mount.join("ollama")))
            plain = self.gguf("a.gguf", 1)
            self.seal()
            self.reload(mount)
            self.assertEqual(self.names(mount), ["a:latest"])
            self.assertEqual(os.stat(mount.join("a.gguf")).st_nlink, 2)
            os.unlink(plain)
            for name in os.listdir(self.sealed):
                if name.startswith("a.gguf"):
                    os.unlink(os.path.join(self.sealed, name))
            self.reload(mount)
            self.assertEqual(os.listdir(mount.path), ["notes.txt"])


class Run(OllamaCase):
    """llama-server, as Ollama starts it: with the blob's path."""

    def test_llama_server_runs_the_blob(self):
        reason = fetch_llama()
        if reason:
            raise unittest.SkipTest(reason)
        plain = self.gguf("tiny.gguf", 1, size=20)
        self.seal()
        want = ask.ask(LLAMA, plain, "none")[0]
        with self.mount() as mount:
            found = self.check(mount)["run"]["tiny:latest"]
            for mode in ("none", "mmap"):
                self.assertEqual(ask.ask(LLAMA, found["model"], mode)[0], want)
            self.assertEqual(mount.log(), "")


if __name__ == "__main__":
    common.main()
