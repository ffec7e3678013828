#!/usr/bin/python3
"""The AWS sample's way to a usable model, re-enacted: download the ciphertext to disk, decrypt the
whole file to disk, read it twice to hash it (SHA-256, then SHA-384). Prints the seconds of each step.

    sample_way.py encrypt KEY PLAIN SEALED
    sample_way.py fetch KEY URL FOLDER          leaves FOLDER/model.gguf

It does what the sample does and no more: one AES-256-GCM pass over the file, then the tag. Kinder than
the sample, which holds the file in memory as Python objects, it works in pieces of 1 MiB.
KEY is a file of 32 bytes made for this run.
"""

import hashlib
import json
import os
import subprocess
import sys
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PIECE = 1 << 20
NONCE_SIZE, TAG_SIZE = 12, 16


def pieces(source, size):
    while size > 0:
        piece = source.read(min(PIECE, size))
        if not piece:
            raise EOFError("the file is shorter than it should be")
        size -= len(piece)
        yield piece


def encrypt(key, plain, sealed):
    nonce = os.urandom(NONCE_SIZE)
    with open(plain, "rb") as source, open(sealed, "wb") as out:
        work = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        out.write(nonce)
        for piece in pieces(source, os.fstat(source.fileno()).st_size):
            out.write(work.update(piece))
        work.finalize()
        out.write(work.tag)


def decrypt(key, sealed, plain):
    with open(sealed, "rb") as source, open(plain, "wb") as out:
        size = os.fstat(source.fileno()).st_size - NONCE_SIZE - TAG_SIZE
        work = Cipher(algorithms.AES(key), modes.GCM(source.read(NONCE_SIZE))).decryptor()
        for piece in pieces(source, size):
            out.write(work.update(piece))
        work.finalize_with_tag(source.read(TAG_SIZE))


def digest(name, path):
    state = hashlib.new(name)
    with open(path, "rb") as source:
        for piece in iter(lambda: source.read(PIECE), b""):
            state.update(piece)
    return state.hexdigest()


def fetch(key, url, folder):
    sealed, plain = os.path.join(folder, "model.enc"), os.path.join(folder, "model.gguf")
    steps = {}

    def timed(name, action, *args):
        began = time.monotonic()
        result = action(*args)
        steps[name] = round(time.monotonic() - began, 4)
        return result

    timed("download_s", subprocess.check_call,
          ["curl", "--noproxy", "*", "-sSf", "-o", sealed, url])
    timed("decrypt_s", decrypt, key, sealed, plain)
    steps["sha256"] = timed("sha256_s", digest, "sha256", plain)
    steps["sha384"] = timed("sha384_s", digest, "sha384", plain)
    steps["plain"] = plain
    print(json.dumps(steps))


def main():
    if len(sys.argv) != 5 or sys.argv[1] not in ("encrypt", "fetch"):
        print(__doc__.strip().split("\n\n")[1], file=sys.stderr)
        return 2
    with open(sys.argv[2], "rb") as key_file:
        key = key_file.read(33)
    if len(key) != 32:
        print("sample_way: %s is not a key of 32 bytes" % sys.argv[2], file=sys.stderr)
        return 2
    {"encrypt": encrypt, "fetch": fetch}[sys.argv[1]](key, *sys.argv[3:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
