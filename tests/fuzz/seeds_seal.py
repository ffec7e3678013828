#!/usr/bin/python3
"""Makes the seeds in corpus/seal/ again, from the format vectors.

A few good seals of different shapes, a few whose fault is structural, heads cut after their
slots, and single slots. Sizes stay small: a fuzzer grows them itself.
"""

import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
SEALS = os.path.join(HERE, "..", "vectors", "format", "seals")
CORPUS = os.path.join(HERE, "corpus", "seal")

WHOLE = [
    "len-0", "len-1-signed", "len-524289", "slots-kms-and-keyfile", "slots-kms-longest",
    "slots-unknown-type", "slots-tpm2", "slots-tpm2-longest", "slots-tpm2-signed", "slots-set", "path-utf8-edges", "path-longest",
    "path-deepest", "path-directories", "facts-longest", "facts-prefix-keys", "facts-none",
    "facts-bad-order-prefix", "facts-bad-cut", "path-bad-slash-twice", "head-version-1-seal",
    "length-2-64-minus-1", "length-count-48-overflow", "length-count-overflow",
    "length-16-tib-plus-1", "slot-count-65535", "slot-body-65535", "path-bad-length-65535", "facts-bad-length-65535",
    "slot-tpm2-seed-65535", "slot-tpm2-key-without", "slot-kms-arn-overrun", "slot-kms-blob-overrun", "signature-field-alg-2",
]
HEADS = ["slots-16", "chunks-16385"]
SLOT_OF = ["slots-kms", "slots-tpm2", "slots-tpm2-both", "len-1", "slots-unknown-type-full"]


def seal(name):
    with open(os.path.join(SEALS, name + ".seal"), "rb") as stream:
        return stream.read()


def put(name, data):
    with open(os.path.join(CORPUS, name), "wb") as stream:
        stream.write(data)


def main():
    os.makedirs(CORPUS, exist_ok=True)
    put("empty", b"")
    put("magic-only", b"sealedfs")
    for name in WHOLE:
        put(name, seal(name))
    for name in HEADS:
        raw = seal(name)
        (slots,) = struct.unpack_from("<H", raw, 0x880)
        put(name + "-head", raw[: 0x8C0 + 1024 * slots])
    for name in SLOT_OF:
        put(name + "-slot", seal(name)[0x8C0 : 0x8C0 + 1024])
    # A head that truthfully claims 16 TiB: nothing may be allocated for its tables.
    raw = bytearray(seal("len-0"))
    struct.pack_into("<QQ", raw, 0x30, 1 << 44, 1 << 25)
    put("16-tib-head", bytes(raw))


if __name__ == "__main__":
    main()
