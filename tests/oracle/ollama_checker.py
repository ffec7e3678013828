#!/usr/bin/python3
"""Does to a store what `ollama serve`, `list`, `show`, `run` and `ps` do, and says what would fail.

    ollama_checker.py STORE [--like 0.24|0.33|next] [--prune] [--go-template] [--show NAME]...
                      [--verify]

Written from the behaviour of Ollama 0.24 and 0.33 (manifest/, server/, fs/gguf, fs/ggml, types/model)
and, as `next`, of the change that brings manifests-v2: the same mkdirs, stats, walks, opens, poll
registrations, reads and seeks, in the same number, with real system calls; and what the engine does
that loads a model. What ends the server, or would write, is a failure: one line on standard error,
exit code 1. Else standard output has one JSON object: the models as `list` shows them, for each --show
what `show` and `run` make of the layers, in `failed` the models that neither show nor run, in `warned`
those that the server stumbled over at its start, and in `opens` how often each file was opened.

--prune: as without OLLAMA_NOPRUNE. --go-template: as with OLLAMA_GO_TEMPLATE=1. --verify: besides what
a running server does, check each blob's digest and size, as after a pull. Runs as whoever starts it; it
writes nothing but its results.
"""

import argparse
import hashlib
import json
import os
import random
import stat
import sys
import time

from ollama_gguf import (Failure, GoFile, Panic, decode, go_engine, keys_until, list_header,
                         llama_server, read_file)
from ollama_manifest import (DEFAULTS, IMAGE, blob_path, layer_of, manifest_paths, parse_name,
                             read_manifest, shortest)
from ollama_template import Template, TemplateError, chat_capabilities, prefers_chat

HOUR_S = 3600

# The Go types of api.Options: what a params layer may set.
INTEGERS = {"num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch",
            "num_gpu", "main_gpu", "num_thread", "draft_num_predict"}
FLOATS = {"top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty",
          "frequency_penalty"}

# Families that the runner serves one request at a time.
ONE_SLOT = {"mllama", "qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "qwen3next", "lfm2", "lfm2moe",
            "nemotron_h", "nemotron_h_moe", "nemotron_h_omni"}
PARSERS = {"gemma4", "laguna", "nemotron-3-nano"}  # all of them know tools and thinking


class Store:
    """One server's view of a store."""

    def __init__(self, root, like="0.33", go_template=None):
        self.root, self.like, self.go_template = root, like, go_template
        self.careful = like != "0.24"
        self.folders = ["manifests-v2", "manifests"] if like == "next" else ["manifests"]
        self.loaded = None
        self.warned, self.opens = {}, {}

    def count_opens(self, phase, name):
        """What was opened since the last time belongs to this."""
        here = self.opens.setdefault(phase, {}).setdefault(name, {})
        for path in GoFile.opened:
            here[path] = here.get(path, 0) + 1
        GoFile.opened.clear()

    def make_manifest_directories(self):
        """At each look at the manifests: a stat when they exist."""
        for folder in self.folders:
            path = os.path.join(self.root, folder)
            if not os.path.isdir(path):
                os.makedirs(path)
                raise Panic(f"{path} was made")

    def check_link(self, path):
        """OpenVerifiedManifest: a link leads to a blob, and its bytes have the digest it is named by."""
        target = os.path.realpath(path)
        if os.path.islink(path):
            digest = os.path.basename(target)
            if not os.path.samefile(target, blob_path(self.root, digest)):
                raise Failure(f"{path} leads out of the store")
        elif not target.startswith(os.path.realpath(self.root) + "/"):
            raise Failure(f"{path} leads out of the store")

    def every(self):
        """{name: (manifest, digest, path)}; a bad name or manifest is what a server would skip."""
        found = {}
        self.make_manifest_directories()
        for folder in self.folders:
            for path in manifest_paths(self.root, folder):
                parts = tuple(os.path.relpath(path, os.path.join(self.root, folder)).split("/"))
                parse_name(f"{parts[0]}/{parts[1]}/{parts[2]}:{parts[3]}")
                if self.like == "next":
                    self.check_link(path)
                    if parts[0] == "ollama.com":
                        parts = (DEFAULTS["host"], *parts[1:])
                if parts not in found:
                    found[parts] = (*read_manifest(path), path)
        folded = [tuple(part.lower() for part in name) for name in found]
        if len(set(folded)) != len(folded):
            raise Failure("two names differ in case only")
        return found

    def make_directories(self):
        """MkdirAll(blobs): a stat when it exists."""
        path = os.path.join(self.root, "blobs")
        if not os.path.isdir(path):
            os.makedirs(path)
            raise Panic(f"{path} was made")

    def fix_blobs(self):
        for folder, folders, names in os.walk(os.path.join(self.root, "blobs")):
            for name in folders + names:
                path = os.path.join(folder, name)
                os.lstat(path)
                if name.startswith("sha256:"):
                    os.rename(path, os.path.join(folder, name.replace(":", "-")))
                    raise Panic(f"{path} was renamed")

    def prune(self):
        """PruneLayers and PruneDirectory: whatever they would remove is a write."""
        used = set()
        for manifest, _, _ in self.every().values():
            for layer in [*manifest["layers"], manifest.get("config") or {}]:
                used.add(layer.get("digest", "").replace(":", "-"))
        for entry in os.scandir(os.path.join(self.root, "blobs")):
            age_s = time.time() - entry.stat().st_mtime
            if entry.is_file() and entry.name not in used and age_s > HOUR_S:
                os.remove(entry.path)
                raise Failure(f"{entry.path} was pruned")
        for place in self.folders:
            for folder, folders, names in os.walk(os.path.join(self.root, place), topdown=False):
                if not folders and not names:
                    os.rmdir(folder)
                    raise Panic(f"{folder} was pruned")

    def serve(self, prune):
        self.make_directories()
        self.fix_blobs()
        if prune:
            self.prune()
        GoFile.opened.clear()
        names = list(self.every().items())
        random.shuffle(names)  # Go's maps have no order
        for name, (manifest, _, _) in names:
            try:
                self.look_at_start(name, manifest)
            except Panic:
                raise
            except (Failure, OSError) as failure:
                self.warned[shortest(name)] = str(failure)
            self.count_opens("start", shortest(name))

    def look_at_start(self, name, manifest):
        """0.24 shows every model to itself; 0.33 reads the start of each."""
        if self.like == "0.24":
            self.show("/".join(name[:3]) + ":" + name[3])
            return
        self.config(manifest)
        for layer in layer_of(manifest, "template"):
            Template(read_file(blob_path(self.root, layer["digest"])).decode())
        for layer in layer_of(manifest, "model"):
            list_header(blob_path(self.root, layer["digest"]))

    def config(self, manifest):
        config = manifest.get("config") or {}
        if not config.get("digest"):
            return {}
        return json.loads(read_file(blob_path(self.root, config["digest"])))

    def stat_blob(self, layer, name):
        path = blob_path(self.root, layer["digest"])
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise Failure(f"{name}: {path} is no file")
        return status

    def list(self):
        """GET /api/tags"""
        models = []
        for name, (manifest, digest, path) in self.every().items():
            config = self.config(manifest)
            size = sum(layer["size"] for layer in manifest["layers"])
            models.append({"name": shortest(name), "digest": digest,
                           "size": size + (manifest.get("config") or {}).get("size", 0),
                           "modified_at": os.stat(path).st_mtime_ns, "manifest": path,
                           "format": config.get("model_format"),
                           "family": config.get("model_family"),
                           "quantization": config.get("file_type")})
        random.shuffle(models)
        return sorted(models, key=lambda model: -(model["modified_at"] // 10 ** 9))

    def resolve(self, text):
        """The manifest for what a client typed; case may differ."""
        wanted = tuple(part.lower() for part in parse_name(text))
        for name, found in self.every().items():
            if tuple(part.lower() for part in name) == wanted:
                return name, found
        raise Failure(f"model {text!r} not found")

    def model(self, text):
        """GetModel: what a client's request has to work with."""
        name, (manifest, digest, _) = self.resolve(text)
        found = {"name": shortest(name), "digest": digest, "config": self.config(manifest),
                 "projectors": [], "adapters": [], "license": [], "system": "", "options": {},
                 "template": None, "messages": [], "model": None}
        for layer in manifest["layers"]:
            path = blob_path(self.root, layer["digest"])
            kind = layer["mediaType"].removeprefix(IMAGE)
            if kind == "model":
                found["model"] = path
                found["chat_template"] = self.header(path).get("tokenizer.chat_template")
            elif kind in ("projector", "adapter"):
                found[kind + "s"].append(path)
            elif kind in ("template", "prompt"):
                found["template"] = read_file(path).decode()
                try:
                    Template(found["template"])
                except TemplateError as problem:
                    raise Failure(f"{text}: template: {problem}") from None
            elif kind == "system":
                found["system"] = read_file(path).decode()
            elif kind == "license":
                found["license"].append(read_file(path).decode())
            elif kind == "params":
                found["options"] = check_options(json.loads(read_file(path)))
            elif kind == "messages":
                found["messages"] = json.loads(read_file(path))
        if not found["model"]:
            raise Failure(f"{text}: the manifest has no model layer")
        return found

    def header(self, path):
        """fs/gguf, for keys that are most often near the end or not there. What is not a GGUF is logged,
        and the server goes on without."""
        try:
            return keys_until(path, {"tokenizer.chat_template", "general.pooling_type"}, self.careful)
        except Panic:
            raise
        except (Failure, OSError) as failure:
            self.warned[path] = str(failure)
            return {}

    def template_of(self, found):
        """Which one is used: renderer, the owner's, the GGUF's own."""
        if found["config"].get("renderer") or found["config"].get("parser"):
            return "renderer"
        own = found["template"] is not None
        if own and self.like != "0.24" and self.go_template is None and found["chat_template"] \
                and prefers_chat(found["chat_template"], Template(found["template"])):
            own = False
        if own and self.go_template is not False:
            return "owner"
        return "gguf" if found["chat_template"] and self.like != "0.24" else "none"

    def capabilities(self, found):
        """Model.Capabilities: of the GGUF, the template in use, the parser and the family."""
        keys = self.header(found["model"])
        names = set()
        if keys:
            architecture = keys.get("general.architecture")
            names.add("embedding" if f"{architecture}.pooling_type" in keys else "completion")
            names |= {kind for kind in ("vision", "audio") if f"{architecture}.{kind}.block_count" in keys}
        found["uses"] = self.template_of(found)
        if found["uses"] == "gguf":
            names |= chat_capabilities(found["chat_template"])
        elif found["template"] is not None and (found["uses"] == "owner" or self.like == "0.24"):
            names |= Template(found["template"]).capabilities()
        if found["config"].get("parser") in PARSERS:
            names |= {"tools", "thinking"}
        if found["config"].get("model_family") in ("gptoss", "gpt-oss"):
            names.add("thinking")
        if found["projectors"]:
            names.add("vision")
        return sorted(names)

    def show(self, text):
        """POST /api/show, the first time: four opens of the GGUF."""
        found = self.model(text)
        for _ in range(2):
            found["capabilities"] = self.capabilities(found)
        keys, tensors = decode(found["model"])
        found["architecture"] = keys.get("general.architecture")
        found["tensors"] = len(tensors)
        return found

    def run(self, text):
        """The server's half of a first generate."""
        found = self.model(text)
        if self.like == "0.24":
            for _ in range(2):
                self.capabilities(found)
        found["capabilities"] = self.capabilities(found)
        if not {"completion", "embedding"} & set(found["capabilities"]):
            raise Failure(f"{text} does not support generate")
        found["capabilities"] = self.capabilities(found)
        os.stat(found["model"])
        _, found["places"] = decode(found["model"])
        for path in found["projectors"] + found["adapters"]:
            os.stat(path)
            decode(path)
        os.stat(found["model"])
        if self.like == "0.24":
            decode(found["model"])
        found["one_slot"] = found["config"].get("model_family") in ONE_SLOT
        self.loaded = found
        return found

    def engine(self, found):
        (go_engine if self.like == "0.24" else llama_server)(found["model"], found.pop("places"))

    def run_again(self, found):
        """After it was unloaded: GetModel is remembered."""
        self.header(found["model"])
        _, found["places"] = decode(found["model"])

    def processes(self):
        """GET /api/ps: manifests only."""
        return [self.resolve(self.loaded["name"])[0]] if self.loaded else []

    def head_blob(self, digest):
        """HEAD /api/blobs/DIGEST"""
        os.stat(blob_path(self.root, digest))

    def verify(self):
        """What a pull checks at its end, and that nothing else lies in blobs."""
        named = set()
        for name, (manifest, _, _) in self.every().items():
            for layer in [*manifest["layers"], manifest.get("config") or {}]:
                if not layer.get("digest"):
                    continue
                path = blob_path(self.root, layer["digest"])
                named.add(os.path.basename(path))
                self.head_blob(layer["digest"])
                if self.stat_blob(layer, name).st_size != layer["size"]:
                    raise Failure(f"{path}: another size than the manifest's {layer['size']}")
        for name in sorted(os.listdir(os.path.join(self.root, "blobs"))):
            if name not in named:
                raise Failure(f"blobs/{name}: no manifest names it")
            state = hashlib.sha256()
            with open(os.path.join(self.root, "blobs", name), "rb", buffering=0) as blob:
                while piece := blob.read(1 << 20):
                    state.update(piece)
            if name != "sha256-" + state.hexdigest():
                raise Failure(f"blobs/{name}: digest mismatch")


def check_options(options):
    """Options.FromMap: types are checked; unknown names are only warned about, and a mistake."""
    if not isinstance(options, dict):
        raise Failure("params: no object")
    for name, value in options.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name == "stop":
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        elif name == "use_mmap":
            fits = isinstance(value, bool)
        else:
            fits = number and (name in INTEGERS or name in FLOATS)
        if not fits and value is not None:
            raise Failure(f"option {name!r} of an unknown name or a wrong type")
    return options


def use(store, name, result):
    """show, then a first generate and one after the model was unloaded."""
    steps = (("show", lambda: result["shown"].update({name: store.show(name)})),
             ("run", lambda: result["run"].update({name: store.run(name)})),
             ("load", lambda: store.engine(store.loaded)),
             ("run-again", lambda: store.run_again(store.loaded)),
             ("load-again", lambda: store.engine(store.loaded)),
             ("ps", store.processes))
    for phase, step in steps:
        try:
            step()
        except Panic:
            raise
        except (Failure, OSError) as failure:
            result["failed"][name] = str(failure)
            return
        finally:
            store.count_opens(phase, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("store")
    parser.add_argument("--like", choices=("0.24", "0.33", "next"), default="0.33")
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--go-template", action="store_true", default=None)
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--show", action="append", default=[], metavar="NAME")
    args = parser.parse_args()
    store = Store(args.store, args.like, args.go_template)
    try:
        store.serve(args.prune)
        result = {"models": store.list(), "shown": {}, "run": {}, "failed": {},
                  "warned": store.warned, "opens": store.opens}
        GoFile.opened.clear()
        for name in args.show or [model["name"] for model in result["models"]]:
            use(store, name, result)
        if args.verify:
            store.verify()
        if sorted(map(str, store.list())) != sorted(map(str, result["models"])):
            raise Failure("the list is another one the second time")
    except (Failure, OSError, ValueError) as failure:
        print(f"ollama would fail: {failure}", file=sys.stderr)
        return 1
    json.dump(result, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
