#!/usr/bin/python3
"""Makes corpus/ollama/: descriptions by the letter of fs/view/OLLAMA.md, right ones and wrong ones."""

import hashlib
import json
import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "ollama")
MODEL = hashlib.sha256(b"a model").digest()
IMAGE = "application/vnd.ollama.image."


def layer(kind, content):
    return {"mediaType": IMAGE + kind, "digest": "sha256:" + hashlib.sha256(content).hexdigest(),
            "size": len(content)}


def manifest(*layers, config=None):
    value = {"schemaVersion": 2, "layers": [{"mediaType": IMAGE + "model", "size": 7,
                                             "digest": "sha256:" + MODEL.hex()}, *layers]}
    if config is not None:
        value["config"] = {**layer("x", config), "mediaType": "application/json"}
    return json.dumps(value).encode()


def description(text, *blobs, name=b"registry.ollama.ai/library/m:latest", model=MODEL, count=None):
    head = b"sfollama" + struct.pack("<HHIH14x", 1, len(name), len(text),
                                     len(blobs) if count is None else count)
    return head + model + name + text + b"".join(
        struct.pack("<I", len(blob)) + blob for blob in blobs)


def main():
    system, config = b"You are a test.", b"{}"
    full = manifest(layer("system", system), layer("license", config), config=config)
    seeds = {
        "full": description(full, config, system),
        "smallest": description(manifest()),
        "empty-blob": description(manifest(layer("system", b"")), b""),
        "no-blobs": description(full),
        "wrong-order": description(full, system, config),
        "twice": description(full, config, config),
        "unnamed-blob": description(full, b"nobody knows me"),
        "count": description(full, config, system, count=3),
        "other-model": description(full, config, system, model=bytes(32)),
        "name": description(full, config, system, name=b"m"),
        "name-leads-out": description(full, config, system, name=b"a/../m:x"),
        "no-json": description(b"{", config),
        "longer": description(full, config, system) + b"x",
        "header-only": description(full, config, system)[:64],
        "path": b"d\xc3\xa4/ Weird (1).gguf",
    }
    os.makedirs(FOLDER, exist_ok=True)
    for name, content in seeds.items():
        with open(os.path.join(FOLDER, name), "wb") as out:
            out.write(content)


if __name__ == "__main__":
    main()
