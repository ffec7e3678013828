"""Names, digests and manifests of a store, as Ollama parses them. For ollama_checker.py."""

import glob
import hashlib
import json
import os
import re
import stat

from ollama_gguf import Failure, GoFile

IMAGE = "application/vnd.ollama.image."
DEFAULTS = {"host": "registry.ollama.ai", "namespace": "library", "tag": "latest"}


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


# ---------------------------------------------------------------- manifests

def manifest_paths(store, folder):
    """filepath.Glob("manifests/*/*/*/*"), then stat."""
    found = []
    for path in sorted(glob.glob(os.path.join(store, folder, "*", "*", "*", "*"),
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
