"""Safetensors files: a writer, and a strict reader through mmap, both from the format's description
(github.com/huggingface/safetensors, README, "Format") and from nothing of ours."""

import contextlib
import json
import math
import mmap
import os
import struct

HEADER_MAX = 100_000_000
BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
         "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}


def file_bytes(tensors, metadata=None):
    """tensors: {name: (dtype, shape, bytes)}, in the order of the buffer."""
    header, at = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(content)]}
        at += len(content)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(t[2] for t in tensors.values())


def no_duplicates(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


class Reader:
    """A file that is mapped, as the libraries of that format do it."""

    def __init__(self, path):
        with open(path, "rb") as source:
            size = os.fstat(source.fileno()).st_size
            self.map = mmap.mmap(source.fileno(), size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        (length,) = struct.unpack_from("<Q", self.map)
        if length > min(HEADER_MAX, size - 8) or self.map[8:9] != b"{":
            raise ValueError("no header")
        header = json.loads(self.map[8:8 + length].decode(), object_pairs_hook=no_duplicates)
        self.metadata = header.pop("__metadata__", {})
        self.base, self.tensors, end = 8 + length, {}, 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, stop = entry["data_offsets"]
            if begin != end or stop - begin != math.prod(entry["shape"]) * BYTES[entry["dtype"]]:
                raise ValueError(f"{name}: a hole, an overlap or another size")
            self.tensors[name] = (entry["dtype"], entry["shape"], begin, stop)
            end = stop
        if self.base + end != size:
            raise ValueError("the buffer is not indexed to its end")

    def tensor(self, name):
        """(dtype, shape, the bytes in the mapping)."""
        dtype, shape, begin, stop = self.tensors[name]
        return dtype, shape, memoryview(self.map)[self.base + begin:self.base + stop]

    def close(self):
        self.map.close()


@contextlib.contextmanager
def opened(path):
    reader = Reader(path)
    try:
        yield reader
    finally:
        reader.close()
