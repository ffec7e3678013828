#!/usr/bin/python3
"""What the Ollama store makes of a GGUF without a word of its owner: family, template and
parameters; and that it leaves out what is named .gguf and is none."""

import json
import os
import re
import struct

import common
from common import OK, USAGE
from common_ollama import PROFILES, OllamaCase, OllamaStore

CHATML = ("{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>'"
          " + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
          "{% endif %}")


def text(value):
    return struct.pack("<Q", len(value)) + value


def pair(key, value):
    return text(key.encode()) + struct.pack("<I", 8) + text(value.encode())


def small_gguf(*pairs, tensors=b"", count=0, data=b""):
    """A whole GGUF that nobody can run."""
    head = b"GGUF" + struct.pack("<IQQ", 3, count, len(pairs)) + b"".join(pairs) + tensors
    return head + bytes(-len(head) % 32) + data


def number(key, value):
    return text(key.encode()) + struct.pack("<II", 4, value)


def tensor(name, *shape, kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


class NotModels(OllamaCase):
    """What is named .gguf and is none would end Ollama 0.24 at its start, for all models."""

    LFS = (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64
           + b"\nsize 4683073952\n")
    # Its bytes 24 to 31 are the length of the first key's name: no machine has so much.
    NOISE = bytes(range(200, 256)) * 20
    OTHERS = {"lfs": (LFS, "Git LFS pointer"),
              "page": (b"\n <!DOCTYPE html><html><body>429 Too Many Requests</body></html>",
                       "HTML page"),
              "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
              "json": (b'{"error":"Repository not found, 401", "more": "text"}', "JSON"),
              "words": (b"Entry not found, and nothing else is here to see", "text"),
              "empty": (b"", "it is empty"), "zeros": (bytes(4096), "zeros"),
              "old": (b"tjgg" + bytes(100), "before GGUF"), "zip": (b"PK\3\4" + bytes(100), "ZIP"),
              "gz": (b"\x1f\x8b\x08" + bytes(100), "gzip"), "noise": (NOISE, "is not a GGUF"),
              "magic": (b"GGUF", "malformed"), "lower": (b"gguf" + bytes(100), "is not a GGUF"),
              "version": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0) + bytes(99), "malformed"),
              "future": (b"GGUF" + struct.pack("<IQQ", 4, 0, 0) + bytes(99), "malformed"),
              "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(99), "malformed"),
              "keys": (b"GGUF" + struct.pack("<IQQ", 3, 0, 9) + b"\xff" * 100, "malformed"),
              "no-tensors": (small_gguf(pair("general.architecture", "llama"), count=3),
                             "malformed"),
              "half": (small_gguf(tensors=tensor(b"t", 32, 4), count=1, data=bytes(4 * 128 - 1)),
                       "ends before its tensors"),
              "offset": (small_gguf(tensors=tensor(b"t", 1, kind=999, offset=1 << 40), count=1,
                                    data=bytes(64)), "ends before its tensors"),
              "aligned": (small_gguf(number("general.alignment", 4096), tensors=tensor(b"t", 8),
                                     count=1, data=bytes(32)), "ends before its tensors")}

    def put(self, name, content):
        with open(os.path.join(self.plain, name), "wb") as out:
            out.write(content)

    def test_left_out_and_said(self):
        self.gguf("good.gguf", 1)
        self.put("whole.gguf", small_gguf(tensors=tensor(b"t", 32, 4), count=1,
                                          data=bytes(4 * 128)))
        cut = common.read_bytes(self.gguf("cut.gguf", 2))[:-1]
        for name, (content, _) in {**self.OTHERS, "cut": (cut, "")}.items():
            self.put(name + ".gguf", content)
        self.put("page.bin", self.OTHERS["page"][0])
        done = self.lab.seal(self.plain, self.sealed, "--key-file", self.key, "-q")
        lines = {re.search(r'"([^"]*)\.gguf"', line).group(1): line
                 for line in done.err.splitlines() if ".gguf" in line}
        self.assertEqual(sorted(lines), sorted([*self.OTHERS, "cut"]))
        for name, (_, word) in self.OTHERS.items():
            self.assertIn(word, lines[name])
        with self.mount() as mount:
            for profile in PROFILES:
                found = self.check_like(profile, mount, "--prune", "--show", "good")
                self.assertEqual(sorted(model["name"] for model in found["models"]),
                                 ["good:latest", "whole:latest"])
                self.assertEqual((found["failed"], found["warned"]), ({}, {}))
            log = mount.log().splitlines()
            self.assertEqual(len(log), len(self.OTHERS) + 1)
            report = self.lab.sealctl("status", mount.path, expect=OK).out
            for name in lines:
                self.assertEqual(len([line for line in log if f'"{name}.gguf" is not in the Ollama '
                                      "store: it " in line]), 1, name)
                self.assertIn(f"{name}.gguf", report)
                path = os.path.join(self.plain, name + ".gguf")
                self.assertEqual(common.digest(mount.join(name + ".gguf")), common.digest(path))

    def test_what_it_would_have_done(self):
        """The checker's 0.24 ends with such a file in a store, 0.33 goes on without the model."""
        store = OllamaStore(os.path.join(self.dir, "models"))
        good = common.read_bytes(self.gguf("good.gguf", 1))
        for name, content in (("good", good), ("bad", self.NOISE), ("page", self.OTHERS["page"][0])):
            store.add(("registry.ollama.ai", "library", name, "latest"),
                      [store.layer("model", content)])
        os.chmod(self.dir, 0o755)
        done = self.ollama(store.root, "--like", "0.24")
        self.assertEqual(done.returncode, 1)
        self.assertIn("makeslice", done.stderr)
        done = self.ollama(store.root, "--like", "0.33")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(len(found["models"]), 3)
        self.assertEqual(sorted(found["failed"]), ["bad:latest", "page:latest"])
        self.assertEqual(list(found["run"]), ["good:latest"])

    def test_no_facts(self):
        """Nobody knows: so it is not there. With a description it cannot be sealed so."""
        plain = self.gguf("quiet.gguf", 1)
        self.gguf("good.gguf", 2)
        self.lab.seal(os.path.join(self.plain, "good.gguf"), self.sealed, "--key-file", self.key)
        self.lab.seal(plain, self.sealed, "--key-file", self.key, "--no-facts")
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["good:latest"])
            self.assertEqual(mount.log().count("\n"), 1, mount.log())
            self.assertIn('"quiet.gguf" is not in the Ollama store: it was sealed with --no-facts',
                          mount.log())
            self.assertEqual(common.digest(mount.join("quiet.gguf")), common.digest(plain))
        done = self.lab.sealctl("seal", plain, self.sealed, "--key-file", self.key, "--no-facts",
                                "--ollama-name", "x", expect=USAGE)
        self.assertIn("--no-facts", done.err)

    def test_parts_of_models(self):
        self.gguf("good.gguf", 1)
        self.put("lora.gguf", small_gguf(pair("general.architecture", "llama"),
                                         pair("general.type", "adapter")))
        self.put("mmproj.gguf", small_gguf(pair("general.architecture", "clip")))
        self.gguf("s.gguf", 3, "--split", "2", size=3)
        os.rename(os.path.join(self.plain, "s-00001-of-00002.gguf"),
                  os.path.join(self.plain, "renamed.gguf"))
        os.unlink(os.path.join(self.plain, "s-00002-of-00002.gguf"))
        self.seal()
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["good:latest"])
            self.assertEqual(mount.log().count("\n"), 3, mount.log())
            self.assertIn("split GGUF", mount.log())

    def test_description_of_no_model(self):
        """Sealed with a word about Ollama, and still left out."""
        self.put("page.gguf", self.OTHERS["page"][0])
        done = self.lab.seal(os.path.join(self.plain, "page.gguf"), self.sealed, "--key-file",
                             self.key, "--ollama-name", "x", "--name", "page")
        self.assertIn("HTML page", done.err)
        with self.mount("ollama=on") as mount:
            self.assertEqual(self.names(mount, "--prune"), [])
            self.assertIn("is not a GGUF", mount.log())


class Derived(OllamaCase):
    """What `ollama create` would have made of a GGUF."""

    def test_families(self):
        """gpt-oss thinks; some have one slot only; some have a renderer."""
        for name in ("gpt-oss", "qwen3vl", "gemma4"):
            with open(os.path.join(self.plain, name + ".gguf"), "wb") as out:
                out.write(small_gguf(pair("general.architecture", name),
                                     number("general.file_type", 38),
                                     tensors=tensor(b"t", 1000, 1234), count=1,
                                     data=bytes(4 * 1234000)))
        self.seal()
        with self.mount() as mount:
            found = self.check(mount)["run"]
            self.assertEqual(found["gpt-oss:latest"]["capabilities"], ["completion", "thinking"])
            config = found["gpt-oss:latest"]["config"]
            self.assertEqual((config["model_family"], config["model_type"], config["file_type"]),
                             ("gpt-oss", "1.23M", "MXFP4_MOE"))
            self.assertTrue(found["qwen3vl:latest"]["one_slot"])
            self.assertFalse(found["gpt-oss:latest"]["one_slot"])
            gemma = found["gemma4:latest"]
            self.assertEqual((gemma["config"]["renderer"], gemma["config"]["parser"]),
                             ("gemma4", "gemma4"))
            self.assertEqual(gemma["options"], {"stop": ["<turn|>"]})
            self.assertEqual(gemma["capabilities"], ["completion", "thinking", "tools"])

    def template(self, name, jinja, *more):
        with open(os.path.join(self.plain, name), "wb") as out:
            out.write(small_gguf(pair("general.architecture", "llama"),
                                 pair("tokenizer.chat_template", jinja), tensors=tensor(b"t", 8),
                                 count=1, data=bytes(32)))
        self.lab.seal(os.path.join(self.plain, name), self.sealed, "--key-file", self.key, "-q", *more)

    def test_templates(self):
        """A simple one gets Ollama's template and stop words, one that can do more keeps its own."""
        self.template("simple.gguf", CHATML)
        self.template("tools.gguf", CHATML + "{% if tools %}{{ tools }}{% endif %}")
        self.template("thinks.gguf", CHATML + "<think></think>")
        self.template("other.gguf", "{{ messages }}")
        self.template("said.gguf", CHATML, "--ollama-params", "stop=x", "--ollama-params", "seed=1")
        own = os.path.join(self.dir, "own")
        with open(own, "w", encoding="ascii") as out:
            out.write("{{ .Prompt }}")
        self.template("own.gguf", CHATML, "--ollama-template", own)
        with self.mount() as mount:
            found = self.check(mount)["run"]
            stops = ["<|im_start|>", "<|im_end|>"]
            self.assertIn("<|im_start|>{{ .Role }}", found["simple:latest"]["template"])
            self.assertEqual(found["simple:latest"]["options"], {"stop": stops})
            self.assertEqual(found["simple:latest"]["uses"], "owner")
            for name in ("tools", "thinks", "other"):
                self.assertIsNone(found[name + ":latest"]["template"])
                self.assertEqual((found[name + ":latest"]["options"], found[name + ":latest"]["uses"]),
                                 ({}, "gguf"))
            self.assertIn("tools", found["tools:latest"]["capabilities"])
            self.assertEqual(found["said:latest"]["options"], {"stop": ["x"], "seed": 1})
            self.assertEqual(found["said:latest"]["template"], found["simple:latest"]["template"])
            self.assertEqual(found["own:latest"]["template"], "{{ .Prompt }}")
            self.assertEqual(found["own:latest"]["options"], {"stop": stops})

    def test_owners_template_needs_a_word(self):
        """From 0.30 on the GGUF's own one wins where it can do more, unless OLLAMA_GO_TEMPLATE=1."""
        own = os.path.join(self.dir, "own")
        with open(own, "w", encoding="ascii") as out:
            out.write("{{ .Prompt }}")
        self.template("m.gguf", CHATML + "{% if tools %}{{ tools }}{% endif %}", "--ollama-template",
                      own)
        with self.mount() as mount:
            self.assertEqual(self.check(mount)["run"]["m:latest"]["uses"], "gguf")
            self.assertEqual(self.check(mount, "--go-template")["run"]["m:latest"]["uses"], "owner")
            with open(os.path.join(common.TOP, "systemd", "ollama.service.d", "sealedfs.conf"),
                      encoding="utf-8") as unit:
                self.assertIn("\nEnvironment=OLLAMA_GO_TEMPLATE=1\n", unit.read())


if __name__ == "__main__":
    common.main()
