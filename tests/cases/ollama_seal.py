#!/usr/bin/python3
"""sealctl seal --ollama-…: what the owner says reaches who asks through the store, and nothing
half-sealed is ever seen."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import unittest

import common
from common import FAILURE, OK, USAGE
from common_ollama import LLAMA, PARAMS, TEMPLATE, OllamaCase, fetch_llama
from common_sealctl import files

import ask

SYSTEM = "You count to one.\n"


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
                ((plain, "--ollama-name", "../x"), "not a valid Ollama name"),
                ((plain, "--ollama-name", "a b"), "not a valid Ollama name"),
                ((plain, "--ollama-name", ""), "not a valid Ollama name"),
                ((plain, "--ollama-name", "a/b/c/d"), "not a valid Ollama name"),
                ((plain, "--ollama-name", "n.s/m"), "not a valid Ollama name"),
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
        self.assertIn("m.gguf.ollama.seal describes the replaced model", self.seal_one(plain).err)
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
        for name, content in (("noise.gguf", b"\xf0" * 1000), ("head.gguf", b"GGUF"),
                              ("keys.gguf", b"GGUF\3\0\0\0" + b"\xff" * 100)):
            path = os.path.join(self.plain, name)
            with open(path, "wb") as out:
                out.write(content)
            done = self.seal_one(path, "--ollama-name", name)
            self.assertEqual("is not a GGUF" in done.err, name == "noise.gguf", done.err)

    def test_pipe(self):
        plain = self.gguf("m.gguf", 1)
        self.lab.sealctl("seal", "-", self.sealed, "--key-file", self.key, "--name", "p.gguf",
                         "--ollama-name", "piped", stdin=common.read_bytes(plain), expect=OK)
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["piped:latest"])


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
