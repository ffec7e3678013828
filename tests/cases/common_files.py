"""What cases do with files: models of random bytes, digests, copies, the page cache. Cases use all
of it as common.NAME."""

import contextlib
import hashlib
import os
import shutil
import socket

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MIB = 1 << 20


def _keystream(seed):
    key = hashlib.sha256(b"sealedfs cases: %d" % seed).digest()
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()


def model_bytes(size, seed=0):
    """The bytes that make_model() writes."""
    return _keystream(seed).update(bytes(size))


def make_model(path, size, seed=0):
    """A file of random bytes that depend on size and seed alone. Returns the path."""
    stream, zeros = _keystream(seed), bytes(8 * MIB)
    with open(path, "wb") as out:
        for at in range(0, size, len(zeros)):
            out.write(stream.update(zeros[:size - at]))
    return path


def digest(path, algorithm="sha256"):
    """Hex digest of a file, read in pieces of 1 MiB."""
    state = hashlib.new(algorithm)
    with open(path, "rb", buffering=0) as source:
        while piece := source.read(MIB):
            state.update(piece)
    return state.hexdigest()


@contextlib.contextmanager
def opened(path, flags=0):
    """A descriptor for reading. To be closed before unmounting, or the daemon cannot end."""
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def drop_cache(path):
    """Forgets the clean pages of one file, so that the next read asks the file system."""
    with opened(path) as descriptor:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as source:
        return source.read()


def read_bytes(path):
    with open(path, "rb") as source:
        return source.read()


def copy_object(source, name, other):
    """Copies a sealed object of a directory: the seal to `other`, its payload beside it."""
    os.makedirs(os.path.dirname(os.path.join(source, other)), exist_ok=True)
    for entry in os.listdir(os.path.dirname(os.path.join(source, name))):
        path = os.path.join(os.path.dirname(os.path.join(source, name)), entry)
        if entry.startswith(os.path.basename(name) + "."):
            end = entry[len(os.path.basename(name)):]
            shutil.copy(path, os.path.join(source, other + end))


def copy_tree(source, target):
    """With times, so that versions stay the same; what a checkout lets a group write is not."""
    shutil.copytree(source, target, copy_function=shutil.copy2)
    for folder, _, names in os.walk(target):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.chmod(path, os.stat(path).st_mode & ~0o022)
    return target


def make_socket(path):
    """A socket's name, which stays when its owner ends."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
