"""GGUF files as Ollama's two readers and two engines read them: the same opens, poll registrations,
seeks and reads, in the same number and of the same size. For ollama_checker.py."""

import hashlib
import mmap
import os
import select
import struct

FIRST_READ = 32 << 10
# Beyond, Go cannot make the slice, and 0.24 does not ask before.
SLICE_MAX = 1 << 34


class Failure(Exception):
    """What a real server would have stumbled over."""


class Panic(Failure):
    """What ends the whole server."""


# ---------------------------------------------------------------- files as Go reads them

class GoFile:
    """os.Open: the descriptor goes into epoll, reads are as large as the reader's buffer."""

    opened = []

    def __init__(self, path):
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.opened.append(path)
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
        size = self.number("Q")
        if size > SLICE_MAX:
            raise Panic(f"{self.source.path}: runtime error: makeslice: len out of range")
        return self.take(size)


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


def open_gguf(reader, careful=True):
    """Tensor count, key count. 0.24 believes any magic."""
    if reader.take(4) != b"GGUF" and careful:
        raise Failure(f"{reader.source.path}: invalid magic")
    version = reader.number("I")
    if version < 2:
        raise Failure(f"{reader.source.path}: unsupported version {version}")
    return reader.number("Q"), reader.number("Q")


def keys_until(path, wanted, careful=True):
    """fs/gguf: lazily, until every wanted key was seen or there are no more."""
    found = {}
    with GoFile(path) as source:
        reader = Buffered(source)
        _, count = open_gguf(reader, careful)
        for _ in range(count):
            try:
                key = reader.text().decode("utf-8", "replace")
                found[key] = read_value(reader, reader.number("I"))
            except Panic as panic:
                if careful:
                    raise Failure(str(panic)) from None
                raise
            if wanted <= found.keys():
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
            key = reader.text().decode("utf-8", "replace")
            if "general.architecture" in found and key.startswith("tokenizer."):
                break
            found[key] = read_value(reader, reader.number("I"))
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
            key = reader.text().decode("utf-8", "replace")
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
    return keys, [(start + offset, size) for offset, size in places]


# ---------------------------------------------------------------- engines

def llama_server(path, tensors):
    """Twice the header and the data: for the size of what is to be loaded, and to load it. libc's
    fseek() to the end reads the page it lands in."""
    size = os.stat(path).st_size
    header = min(tensors[0][0] if tensors else size, size)
    for step in ("look", "look", "load", "map"):
        with GoFile(path) as source:
            source.seek(size - size % 4096)
            source.read(4096)
            source.seek(0)
            while source.seek(0, os.SEEK_CUR) < header:
                source.read(4096)
            if step != "map":
                continue
            os.posix_fadvise(source.descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            with mmap.mmap(source.descriptor, 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE,
                           prot=mmap.PROT_READ) as mapping:
                mapping.madvise(mmap.MADV_WILLNEED)
                hashlib.sha256(mapping)


def go_engine(path, tensors):
    """0.24's own: each tensor with an open of its own, in reads of 128 KiB, and never mmap."""
    for _ in range(2):
        keys_until(path, {"general.architecture"})
    for start, size in tensors:
        with GoFile(path) as source:
            source.seek(start)
            while size > 0:
                piece = source.read(min(size, 128 << 10))
                if not piece:
                    raise Failure(f"{path}: unexpected EOF")
                size -= len(piece)
