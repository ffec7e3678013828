#!/usr/bin/python3
"""Makes the seeds in corpus/facts/ again: headers of GGUF and safetensors, whole and broken.

The first byte is the size of the pieces less one; see fuzz_facts.c.
"""

import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "corpus", "facts")
U8, U16, U32, STRING, ARRAY, U64 = 0, 2, 4, 8, 9, 10


def text(value):
    return struct.pack("<Q", len(value)) + value


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def tensor(name, *dims):
    return text(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, 0, 0)


def gguf(pairs, tensors=(), version=3):
    return (b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
            + b"".join(tensors))


WORDS = [
    pair(b"general.architecture", STRING, text(b"llama")),
    pair(b"general.name", STRING, text("modèle 七".encode())),
    pair(b"general.basename", STRING, text(b"Base")),
    pair(b"general.size_label", STRING, text(b"7B")),
    pair(b"general.file_type", U32, struct.pack("<I", 15)),
    pair(b"split.count", U16, struct.pack("<H", 2)),
    pair(b"tokenizer.chat_template", STRING, text(b"{{ messages }}" * 9)),
]
ARRAYS = [
    pair(b"tokens", ARRAY, struct.pack("<IQ", STRING, 3) + text(b"a") + text(b"") + text(b"ccc")),
    pair(b"scores", ARRAY, struct.pack("<IQ", U32, 3) + bytes(12)),
    pair(b"none", ARRAY, struct.pack("<IQ", STRING, 0)),
    pair(b"k" * 200, U8, b"\1"),
]
TENSORS = [tensor(b"token_embd.weight", 32, 512), tensor(b"n", 7), tensor(b"scalar")]
SAFE = b'{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
SEEDS = {
    "empty": b"",
    "words": gguf(WORDS),
    "all": gguf(WORDS + ARRAYS, TENSORS),
    "version-2": gguf(WORDS, version=2),
    "version-1": gguf(WORDS, version=1),
    "version-swapped": gguf(WORDS, version=3 << 24),
    "overrun": gguf([pair(b"x", STRING, struct.pack("<Q", 1 << 63))]),
    "array-overflow": gguf([pair(b"x", ARRAY, struct.pack("<IQ", U64, 1 << 61))]),
    "nested": gguf([pair(b"x", ARRAY, struct.pack("<IQ", ARRAY, 1))]),
    "tensor-overflow": gguf([], [tensor(b"t", 1 << 40, 1 << 40)]),
    "tensor-rank": gguf([], [tensor(b"t", *[1] * 9)]),
    "control": gguf([pair(b"general.name", STRING, text(b"a\x1b[2J"))]),
    "long": gguf([pair(b"general.name", STRING, text(b"n" * 65))]),
    "safetensors": struct.pack("<Q", len(SAFE)) + SAFE + bytes(4),
    "safetensors-short": struct.pack("<Q", 1 << 40) + SAFE,
}


def main():
    os.makedirs(CORPUS, exist_ok=True)
    for number, (name, content) in enumerate(SEEDS.items()):
        with open(os.path.join(CORPUS, name), "wb") as out:
            out.write(bytes([number * 7 % 256]) + content)


if __name__ == "__main__":
    main()
