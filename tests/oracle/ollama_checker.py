#!/usr/bin/python3
"""Does to a store what `ollama serve`, `list`, `show`, `run` and `ps` do, and says what would fail.

    ollama_checker.py STORE [--prune] [--show NAME]... [--verify]

Written from the behaviour of Ollama 0.33 (manifest/, server/, fs/gguf, fs/ggml, types/model): the
same mkdirs, stats, walks, opens, poll registrations, reads and seeks, in the same order, with real
system calls. A step that Ollama would need and that fails, or that would write, is a failure: one
line on standard error, exit code 1. Else standard output has one JSON object: the models as `list`
shows them and, for each --show, what `show` and `run` make of the layers.

--prune: as without OLLAMA_NOPRUNE. --verify: besides what a running server does, check each blob's
digest and size, as after a pull. Runs as whoever starts it; it writes nothing but its results.
"""

import argparse
import glob
import hashlib
import json
import os
import re
import select
import stat
import struct
import sys
import time

IMAGE = "application/vnd.ollama.image."
DEFAULTS = {"host": "registry.ollama.ai", "namespace": "library", "tag": "latest"}
FIRST_READ = 32 << 10
HOUR_S = 3600

# The Go types of api.Options: what a params layer may set.
INTEGERS = {"num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch",
            "num_gpu", "main_gpu", "num_thread", "draft_num_predict"}
FLOATS = {"top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty",
          "frequency_penalty"}


class Failure(Exception):
    """What a real server would have stumbled over."""


# ---------------------------------------------------------------- names and digests

def is_part(kind, text):
    """isValidPart of types/model/name.go."""
    if not 1 <= len(text) <= (350 if kind == "host" else 80):
        return False
    inner = {"host": r"[A-Za-z0-9_.:-]", "namespace": r"[A-Za-z0-9_-]"}.get(kind,
                                                                         r"[A-Za-z0-9_.-]")
    return re.fullmatch(rf"[A-Za-z0-9_]{inner}*", text) is not None


def parse_name(text):
    """(host, namespace, model, tag); Failure when Ollama would not take it."""
    tag = DEFAULTS["tag"]
    if text.rfind(":") > text.rfind("/"):
        text, _, tag = text.rpartition(":")
    parts = text.rsplit("/", 2)
    name = ((parts[0] if len(parts) > 2 else DEFAULTS["host"]),
            (parts[-2] if len(parts) > 1 else DEFAULTS["namespace"]), parts[-1], tag)
    for kind, part in zip(("host", "namespace", "model", "tag"), name):
        if not is_part(kind, part):
            raise Failure(f"invalid model name: {kind} {part!r}")
    return name


def shortest(name):
    host, namespace, model, tag = name
    if host != DEFAULTS["host"]:
        return f"{host}/{namespace}/{model}:{tag}"
    if namespace != DEFAULTS["namespace"]:
        return f"{namespace}/{model}:{tag}"
    return f"{model}:{tag}"


def blob_path(store, digest):
    if not re.fullmatch(r"sha256[:-][0-9a-fA-F]{64}", digest):
        raise Failure(f"invalid digest format: {digest!r}")
    return os.path.join(store, "blobs", digest.replace(":", "-"))


# ---------------------------------------------------------------- files as Go reads them

class GoFile:
    """os.Open: the descriptor goes into epoll, reads are as large as the reader's buffer."""

    def __init__(self, path):
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.poll = select.epoll()
        try:
            self.poll.register(self.descriptor, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        except PermissionError:
            pass  # a regular file of a disk: Go then reads it without polling

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.poll.close()
        os.close(self.descriptor)

    def read(self, size):
        return os.read(self.descriptor, size)

    def seek(self, offset, whence=os.SEEK_SET):
        return os.lseek(self.descriptor, offset, whence)

    def read_all(self):
        """os.ReadFile: stat for the size, then until the end."""
        os.fstat(self.descriptor)
        pieces = []
        while piece := self.read(512 if not pieces else 4096):
            pieces.append(piece)
        return b"".join(pieces)


def read_file(path):
    with GoFile(path) as source:
        return source.read_all()


class Buffered:
    """bufio.Reader of 32 KiB over a GoFile."""

    def __init__(self, source, at=0):
        self.source, self.buffer, self.at = source, b"", at

    def take(self, size):
        while len(self.buffer) < size:
            piece = self.source.read(FIRST_READ)
            if not piece:
                raise Failure(f"{self.source.path}: unexpected EOF")
            self.buffer += piece
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        self.at += size
        return found

    def number(self, code):
        return struct.unpack("<" + code, self.take(struct.calcsize(code)))[0]

    def text(self):
        return self.take(self.number("Q"))


SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
           12: "d"}
# elements and bytes of a block, of the tensor types that the models of the tests have
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34)}


def read_value(reader, kind):
    if kind == 8:
        return reader.text().decode("utf-8", "replace")
    if kind == 9:
        inner, count = reader.number("I"), reader.number("Q")
        return [read_value(reader, inner) for _ in range(count)]
    if kind not in SCALARS:
        raise Failure(f"{reader.source.path}: unknown GGUF value type {kind}")
    return reader.number(SCALARS[kind])


def open_gguf(reader):
    """Magic, version, tensor count, key count."""
    if reader.take(4) != b"GGUF":
        raise Failure(f"{reader.source.path}: invalid magic")
    version = reader.number("I")
    if version < 2:
        raise Failure(f"{reader.source.path}: unsupported version {version}")
    return reader.number("Q"), reader.number("Q")


def keys_until(path, wanted):
    """fs/gguf: lazily, until every wanted key was seen or there are no more."""
    found = {}
    with GoFile(path) as source:
        reader = Buffered(source)
        _, count = open_gguf(reader)
        for _ in range(count):
            key = reader.text().decode()
            found[key] = read_value(reader, reader.number("I"))
            if wanted and wanted <= found.keys():
                break
        os.fstat(source.descriptor)
    return found


def list_header(path):
    """server/model_list_cache.go: one read, up to the tokenizer's keys."""
    found = {}
    with GoFile(path) as source:
        reader = Buffered(source)
        _, count = open_gguf(reader)
        for _ in range(count):
            key = reader.text().decode()
            if key.startswith("tokenizer."):
                break
            found[key] = read_value(reader, reader.number("I"))
    if "general.architecture" not in found:
        raise Failure(f"{path}: no general.architecture")
    return found


def decode(path):
    """fs/ggml Decode: all keys, all tensors; then seeks to the end and over every tensor."""
    with GoFile(path) as source:
        source.read(4)
        source.seek(0)
        reader = Buffered(source)
        tensors, count = open_gguf(reader)
        keys = {}
        for _ in range(count):
            key = reader.text().decode()
            keys[key] = read_value(reader, reader.number("I"))
        places = []
        for _ in range(tensors):
            reader.text()
            shape = [reader.number("Q") for _ in range(reader.number("I"))]
            kind, offset = reader.number("I"), reader.number("Q")
            elements = 1
            for size in shape:
                elements *= size
            block, size = BLOCKS.get(kind, (1, 0))
            places.append((offset, elements // block * size))
        end = source.seek(0, os.SEEK_END)
        alignment = keys.get("general.alignment", 32)
        start = -(-reader.at // alignment) * alignment
        for offset, size in places:
            if start + offset + size > end:
                raise Failure(f"{path}: a tensor ends past the end of the file")
            source.seek(start + offset)
            source.seek(size, os.SEEK_CUR)
    return keys, len(places)


# ---------------------------------------------------------------- manifests

def manifest_paths(store):
    """filepath.Glob("manifests/*/*/*/*"), then stat."""
    found = []
    for path in sorted(glob.glob(os.path.join(store, "manifests", "*", "*", "*", "*"),
                                 include_hidden=True)):
        if not stat.S_ISDIR(os.stat(path).st_mode):
            found.append(path)
    return found


def parse_layer(layer, where):
    if not isinstance(layer, dict) or not isinstance(layer.get("mediaType"), str) \
            or not isinstance(layer.get("digest"), str) or not isinstance(layer.get("size"), int):
        raise Failure(f"{where}: a layer without mediaType, digest or size")
    return layer


def read_manifest(path):
    with GoFile(path) as source:
        os.fstat(source.descriptor)
        raw = source.read_all()
    try:
        manifest = json.loads(raw)
    except ValueError as problem:
        raise Failure(f"{path}: {problem}") from None
    for layer in [*manifest.get("layers", ()), manifest.get("config", {})]:
        if layer is not manifest.get("config", {}) or layer:
            parse_layer(layer, path)
    return manifest, hashlib.sha256(raw).hexdigest()


def layer_of(manifest, kind):
    return [layer for layer in manifest["layers"] if layer["mediaType"] == IMAGE + kind]


class Store:
    """One server's view of a store."""

    def __init__(self, root):
        self.root = root
        self.loaded = None

    def every(self):
        """{name: (manifest, digest, path)}; a bad name or manifest is what a server would skip."""
        found = {}
        for path in manifest_paths(self.root):
            parts = tuple(os.path.relpath(path, os.path.join(self.root, "manifests")).split("/"))
            parse_name(f"{parts[0]}/{parts[1]}/{parts[2]}:{parts[3]}")
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
            raise Failure(f"{path} was made")

    def fix_blobs(self):
        for folder, folders, names in os.walk(os.path.join(self.root, "blobs")):
            for name in folders + names:
                path = os.path.join(folder, name)
                os.lstat(path)
                if name.startswith("sha256:"):
                    os.rename(path, os.path.join(folder, name.replace(":", "-")))
                    raise Failure(f"{path} was renamed")

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
        for folder, folders, names in os.walk(os.path.join(self.root, "manifests"), topdown=False):
            if not folders and not names:
                os.rmdir(folder)
                raise Failure(f"{folder} was pruned")

    def serve(self, prune):
        self.make_directories()
        self.fix_blobs()
        if prune:
            self.prune()
        for name, (manifest, _, _) in self.every().items():
            self.config(manifest)
            for layer in layer_of(manifest, "model"):
                self.stat_blob(layer, name)
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
        return sorted(models, key=lambda model: (-model["modified_at"], model["name"]))

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
                keys = keys_until(path, {"tokenizer.chat_template"})
                found["chat_template"] = keys.get("tokenizer.chat_template")
            elif kind in ("projector", "adapter"):
                found[kind + "s"].append(path)
            elif kind in ("template", "prompt"):
                found["template"] = read_file(path).decode()
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

    def show(self, text):
        """POST /api/show, the first time: four opens of the GGUF."""
        found = self.model(text)
        keys_until(found["model"], {"general.architecture"})
        keys_until(found["model"], set())
        keys, tensors = decode(found["model"])
        found["architecture"] = keys.get("general.architecture")
        found["tensors"] = tensors
        return found

    def run(self, text):
        """The server's half of a first generate: four opens; llama-server's are the caller's."""
        found = self.model(text)
        os.stat(found["model"])
        decode(found["model"])
        keys_until(found["model"], {"general.architecture"})
        for path in found["projectors"] + found["adapters"]:
            os.stat(path)
            decode(path)
        os.stat(found["model"])
        list_header(found["model"])
        self.loaded = found
        return found

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("store")
    parser.add_argument("--prune", action="store_true")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--show", action="append", default=[], metavar="NAME")
    args = parser.parse_args()
    store = Store(args.store)
    try:
        store.serve(args.prune)
        result = {"models": store.list(), "shown": {}, "run": {}}
        for name in args.show or [model["name"] for model in result["models"]]:
            result["shown"][name] = store.show(name)
            result["run"][name] = store.run(name)
            store.processes()
        if args.verify:
            store.verify()
        if store.list() != result["models"]:
            raise Failure("the list is another one the second time")
    except (Failure, OSError, ValueError) as failure:
        print(f"ollama would fail: {failure}", file=sys.stderr)
        return 1
    json.dump(result, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
