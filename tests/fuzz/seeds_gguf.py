#!/usr/bin/python3
"""Makes corpus/gguf/: GGUF headers by ggml's docs/gguf.md, right ones and lying ones."""

import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "gguf")
UINT32, STRING, ARRAY, UINT64 = 4, 8, 9, 10
HUGE = (1 << 64) - 1


def text(value):
    return struct.pack("<Q", len(value)) + value


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def tensor(name, offset, dimensions=2):
    return (text(name) + struct.pack("<I", dimensions) + struct.pack("<Q", 64) * dimensions
            + struct.pack("<IQ", 8, offset))


def gguf(tensors=(), keys=(), version=3, tensor_count=None, key_count=None, beyond=20):
    """beyond: the file is 2^beyond - 1 bytes larger than its header."""
    return bytes([beyond]) + b"GGUF" + struct.pack(
        "<IQQ", version, len(tensors) if tensor_count is None else tensor_count,
        len(keys) if key_count is None else key_count) + b"".join(keys) + b"".join(tensors)


def main():
    three = [tensor(b"a", 0), tensor(b"b", 4096), tensor(b"c", 65536)]
    name = key(b"general.name", STRING, text(b"a model"))
    seeds = {
        "full": gguf(three, [name, key(b"general.alignment", UINT32, struct.pack("<I", 64)),
                             key(b"tokens", ARRAY, struct.pack("<IQ", STRING, 3) + 3 * text(b"t")),
                             key(b"scores", ARRAY, struct.pack("<IQ", UINT64, 2) + bytes(16))]),
        "version-2": gguf(three, version=2),
        "version-1": gguf(three, version=1),
        "no-tensors": gguf(),
        "unsorted-and-twice": gguf([three[2], three[0], three[1], three[0]]),
        "offset-past-the-end": gguf([tensor(b"a", 0), tensor(b"b", 1 << 40)]),
        "offset-wraps": gguf([tensor(b"a", HUGE), tensor(b"b", HUGE - 100)]),
        "no-data": gguf(three, beyond=0),
        "tensor-count-huge": gguf(three, tensor_count=HUGE),
        "tensor-count-at-limit": gguf(three, tensor_count=65536),
        "key-count-huge": gguf(three, [name], key_count=HUGE),
        "key-count-at-limit": gguf(three, [name], key_count=65536, beyond=27),
        "string-size-huge": gguf(three, [struct.pack("<Q", HUGE)]),
        "string-size-to-limit": gguf(three, [struct.pack("<Q", (64 << 20) - 32)], beyond=40),
        "array-count-huge": gguf(three, [key(b"a", ARRAY, struct.pack("<IQ", STRING, HUGE))],
                                 beyond=27),
        "array-bytes-wrap": gguf(three, [key(b"a", ARRAY, struct.pack("<IQ", UINT64, 1 << 61))]),
        "array-of-arrays": gguf(three, [key(b"a", ARRAY, struct.pack("<IQIQ", ARRAY, 1, 4, 0))]),
        "value-type-unknown": gguf(three, [key(b"a", 13, b"")]),
        "alignment-0": gguf(three, [key(b"general.alignment", UINT32, bytes(4))]),
        "alignment-3": gguf(three, [key(b"general.alignment", UINT32, struct.pack("<I", 3))]),
        "alignment-huge": gguf(three, [key(b"general.alignment", UINT32, b"\0\0\0\x80")]),
        "alignment-text": gguf(three, [key(b"general.alignment", STRING, text(b"32"))]),
        "dimensions-5": gguf([tensor(b"a", 0, 5)]),
        "dimensions-huge": gguf([text(b"a") + struct.pack("<I", (1 << 32) - 1)]),
        "half": gguf(three, [name])[:70],
        "magic-only": b"\x14GGUF",
        "size-only": b"\x2f",
    }
    os.makedirs(FOLDER, exist_ok=True)
    for seed, content in seeds.items():
        with open(os.path.join(FOLDER, seed), "wb") as out:
            out.write(content)


if __name__ == "__main__":
    main()
