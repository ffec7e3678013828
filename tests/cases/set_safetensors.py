#!/usr/bin/python3
"""tools/set, fs/models, fs/read: directories as people have them: shards of safetensors with their index, a LoRA beside its base, split GGUFs."""

import concurrent.futures
import importlib.util
import json
import os
import struct
import subprocess
import unittest

import common
import common_safetensors as st
from common import OK, USAGE
from common_files import model_bytes
from common_sealctl import files

SHARDS = 3
WIDTH = 128
REVISION = "89abcdef0123456789abcdef0123456789abcdef"
# Reads each tensor of each file with the library that Debian 13 has, through its own mapping.
LIBRARY = """
import hashlib, json, sys
from safetensors import safe_open
for path in sys.argv[1:]:
    with safe_open(path, framework="numpy") as file:
        for name in sorted(file.keys()):
            tensor = file.get_tensor(name)
            print(json.dumps([path, name, list(tensor.shape), hashlib.sha256(tensor.tobytes()).hexdigest()]))
"""


def floats(count, seed):
    return struct.pack(f"<{count}f", *((i * 7 + seed) % 13 - 6 for i in range(count)))


def base_tensors():
    """{file: {name: tensor}}: kinds and shapes of real models, and the odd ones that the format allows."""
    found = {}
    for shard in range(1, SHARDS + 1):
        layer = f"model.layers.{shard - 1}."
        found[f"model-{shard:05}-of-{SHARDS:05}.safetensors"] = {
            layer + "self_attn.q_proj.weight": ("F32", [WIDTH, WIDTH], floats(WIDTH * WIDTH, shard)),
            layer + "mlp.down_proj.weight": ("F16", [700, 1024], model_bytes(700 * 1024 * 2, shard)),
            layer + "input_layernorm.weight": ("F16", [WIDTH], model_bytes(WIDTH * 2, shard + 10)),
            layer + "qweight": ("I32", [3, 5, 7], model_bytes(3 * 5 * 7 * 4, shard + 20)),
            layer + "scale": ("F64", [], model_bytes(8, shard + 30)),
            layer + "empty": ("U8", [0, 4], b""),
        }
    return found


def lora_tensors():
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    return {name.format("A"): ("F32", [2, WIDTH], floats(2 * WIDTH, 3)),
            name.format("B"): ("F32", [WIDTH, 2], floats(2 * WIDTH, 5))}


def merged(weight, lora_a, lora_b):
    """W + B A, of whole numbers, so that every order of additions gives the same."""
    w, a, b = (struct.unpack(f"<{len(raw) // 4}f", raw) for raw in (weight, lora_a, lora_b))
    return [w[i * WIDTH + k] + b[2 * i] * a[k] + b[2 * i + 1] * a[WIDTH + k]
            for i in range(WIDTH) for k in range(WIDTH)]


class SealedDirectory(common.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()

    def setUp(self):
        name = self.id().rsplit(".", 1)[1]
        self.dest = self.lab.path(name, "sealed")
        self.plain = self.lab.path(name, "plain", make=True)

    def write(self, path, content):
        where = os.path.join(self.plain, path)
        os.makedirs(os.path.dirname(where), exist_ok=True)
        with open(where, "wb") as out:
            out.write(content)

    def seal(self, source, *more, expect=OK):
        return self.lab.sealctl("seal", source, self.dest, "--set", "tiny", "--key-file", self.key,
                                "--sign", self.private, "-q", *more, expect=expect)

    def change(self, command, *more, expect=None):
        return self.lab.sealctl("set", command, self.dest, *more, "--key-file", self.key, "--sign",
                                self.private, expect=expect)

    def mount(self):
        return self.lab.mount(self.dest, "measure=none", "attest=none", "key-file=" + self.key,
                              "owner-key=" + self.public)


class Checkout(SealedDirectory):
    """A snapshot of Hugging Face's cache: links into its blobs, with an adapter beside the base."""

    def setUp(self):
        super().setUp()
        self.shards = base_tensors()
        self.files = {name: st.file_bytes(tensors, {"format": "pt"})
                      for name, tensors in self.shards.items()}
        index = {"metadata": {"total_size": sum(len(t[2]) for tensors in self.shards.values()
                                                for t in tensors.values())},
                 "weight_map": {name: file for file, tensors in self.shards.items() for name in tensors}}
        self.adapter = lora_tensors()
        self.files.update({
            "config.json": b'{"architectures":["MistralForCausalLM"],"hidden_size":%d}\n' % WIDTH,
            "tokenizer.json": json.dumps({"model": {"vocab": {"h\u00e9": 0}}}).encode(),
            "model.safetensors.index.json": json.dumps(index, indent=2).encode(),
            "french-lora/adapter_model.safetensors": st.file_bytes(self.adapter),
            "french-lora/adapter_config.json": b'{"peft_type":"LORA","r":2,"base_model_name_or_path":".."}\n',
        })
        cache = os.path.join(self.plain, "models--acme--tiny")
        self.snapshot = os.path.join(cache, "snapshots", REVISION)
        for number, (path, content) in enumerate(self.files.items()):
            blob = f"{number:064x}"
            self.write(os.path.join("models--acme--tiny", "blobs", blob), content)
            link = os.path.join(self.snapshot, path)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(os.path.relpath(os.path.join(cache, "blobs", blob), os.path.dirname(link)), link)
        self.seal(self.snapshot)

    def check_tensors(self, path, tensors):
        with st.opened(path) as reader:
            self.assertEqual(set(reader.tensors), set(tensors))
            for name, (dtype, shape, content) in tensors.items():
                found = reader.tensor(name)
                self.assertEqual(found[:2], (dtype, shape), name)
                with found[2] as view:
                    self.assertTrue(view == content, f"{path}: {name} has other bytes")
            return len(tensors)

    def test_every_tensor_through_a_mapping(self):
        with self.mount() as mount:
            self.assertEqual({os.path.relpath(os.path.join(where, name), mount.path)
                              for where, _, names in os.walk(mount.path) for name in names},
                             set(self.files))
            index = json.loads(common.read_bytes(mount.join("model.safetensors.index.json")))
            self.assertEqual(set(index["weight_map"].values()), set(self.shards))
            # Loaders open all shards at once.
            with concurrent.futures.ThreadPoolExecutor(SHARDS + 1) as pool:
                jobs = [pool.submit(self.check_tensors, mount.join(file), tensors)
                        for file, tensors in self.shards.items()]
                jobs.append(pool.submit(self.check_tensors,
                                        mount.join("french-lora", "adapter_model.safetensors"),
                                        self.adapter))
                found = [job.result() for job in jobs]
            self.assertEqual(sum(found), len(index["weight_map"]) + len(self.adapter))
            for path in ("config.json", "tokenizer.json", "french-lora/adapter_config.json"):
                self.assertEqual(common.read_bytes(mount.join(path)), self.files[path])

    def test_an_adapter_beside_its_base(self):
        q_proj = "model.layers.0.self_attn.q_proj.weight"
        first = next(iter(self.shards.values()))
        a, b = (tensor[2] for tensor in self.adapter.values())
        with self.mount() as mount:
            config = json.loads(common.read_bytes(mount.join("french-lora", "adapter_config.json")))
            base = mount.join("french-lora", config["base_model_name_or_path"])
            index = json.loads(common.read_bytes(os.path.join(base, "model.safetensors.index.json")))
            with st.opened(os.path.join(base, index["weight_map"][q_proj])) as weights, \
                    st.opened(mount.join("french-lora", "adapter_model.safetensors")) as adapter:
                with weights.tensor(q_proj)[2] as w:
                    views = [adapter.tensor(name)[2] for name in self.adapter]
                    found = merged(w, *views)
                    for view in views:
                        view.release()
            self.assertEqual(found, merged(first[q_proj][2], a, b))

    @unittest.skipUnless(importlib.util.find_spec("safetensors"),
                         "python3-safetensors is not installed; Debian has it from 13 on")
    def test_the_library_reads_the_same(self):
        weights = {**self.shards, "french-lora/adapter_model.safetensors": self.adapter}
        with self.mount() as mount:
            done = subprocess.run(["/usr/bin/python3", "-c", LIBRARY, *(mount.join(f) for f in weights)],
                                  stdout=subprocess.PIPE, text=True, check=True,
                                  timeout=common.COMMAND_S)
            plain = subprocess.run(["/usr/bin/python3", "-c", LIBRARY,
                                    *(os.path.join(self.snapshot, f) for f in weights)],
                                   stdout=subprocess.PIPE, text=True, check=True,
                                   timeout=common.COMMAND_S)
            rows = done.stdout.replace(mount.path, self.snapshot).splitlines()
        self.assertEqual(rows, plain.stdout.splitlines())
        self.assertEqual(len(rows), sum(len(tensors) for tensors in weights.values()))


class SplitGguf(SealedDirectory):
    """All parts of a split model are members, or none is."""

    def part(self, number, total=3):
        return f"m-{number:05}-of-{total:05}.gguf"

    def gguf(self, number, total=3):
        self.write(self.part(number, total), b"GGUF" + bytes([number]) * 60)

    def test_whole_or_refused(self):
        self.gguf(1)
        self.gguf(3)
        done = self.seal(self.plain, "--no-facts", expect=USAGE)
        self.assertIn(self.part(2) + " is missing", done.err)
        self.assertEqual(files(self.dest), [])
        # What is sealed already becomes no set without its other part, by none of the commands.
        self.lab.seal(self.plain, self.dest, "--key-file", self.key, "--sign", self.private, "-q",
                      "--no-facts")
        for paths in ((), (self.part(1), self.part(3)), (self.part(1),)):
            done = self.change("create", "--name", "tiny", *paths)
            self.assert_result(done, USAGE, "is missing")
        self.assertFalse(os.path.exists(os.path.join(self.dest, "sealed.set")))
        self.gguf(2)
        self.lab.seal(os.path.join(self.plain, self.part(2)), self.dest + "/", "--key-file", self.key,
                      "--sign", self.private, "-q", "--no-facts")
        self.change("create", "--name", "tiny", expect=OK)
        for number in (1, 2, 3):
            done = self.change("remove", self.part(number))
            self.assert_result(done, USAGE, "is one of 3 shards")
        with self.mount() as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), [self.part(n) for n in (1, 2, 3)])
        self.change("remove", *(self.part(n) for n in (1, 2)), expect=USAGE)

    def test_a_part_is_added_to_none(self):
        self.write("config.json", b"{}\n")
        self.seal(self.plain)
        self.gguf(2, 2)
        done = self.seal(self.plain, "--no-facts", expect=USAGE)
        self.assertIn(self.part(1, 2) + " is missing", done.err)
        self.lab.seal(os.path.join(self.plain, self.part(2, 2)), self.dest + "/", "--key-file", self.key,
                      "--sign", self.private, "-q", "--no-facts")
        self.assert_result(self.change("add"), USAGE, "is missing")
        self.assert_result(self.change("add", self.part(2, 2)), USAGE, "is missing")
        self.gguf(1, 2)
        self.seal(self.plain, "--no-facts")
        with self.mount() as mount:
            self.assertEqual(sorted(os.listdir(mount.path)),
                             ["config.json", self.part(1, 2), self.part(2, 2)])


if __name__ == "__main__":
    common.main()
