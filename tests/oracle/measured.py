#!/usr/bin/python3
"""What measuring leaves in a PCR, written from attest/PCRS.md alone.

As a program: prints the lines of the worked example in PCRS.md.
"""

import base64
import collections
import hashlib

import verity

BANKS = ("sha1", "sha256", "sha384", "sha512")
MODES = ("verity", "declared", "sha384", "sha256")
WITH_START = ("verity", "declared", "set")
PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-")

Digests = collections.namedtuple("Digests", "verity sha256 sha384 content", defaults=("",))


def content_of_one(path, length, verity_hex):
    """The content digest of a set with one member and no description (FORMAT.md section 11.4)."""
    return hashlib.sha256(b"sealedfs set content v1\0" + (1).to_bytes(8, "little")
                          + len(path).to_bytes(2, "little") + path + length.to_bytes(8, "little")
                          + bytes.fromhex(verity_hex) + bytes(32)).hexdigest()


def digests_of_file(path):
    found = []
    for name in ("sha256", "sha384"):
        state = hashlib.new(name)
        with open(path, "rb") as source:
            while piece := source.read(1 << 20):
                state.update(piece)
        found.append(state.hexdigest())
    return Digests(verity.digest_of_file(path).hex(), *found)


def signer_id(pem_path):
    """SHA-256 of the SubjectPublicKeyInfo of a file with one public key."""
    with open(pem_path, encoding="ascii") as pem:
        lines = [line.strip() for line in pem if not line.startswith("-----")]
    return hashlib.sha256(base64.b64decode("".join(lines))).hexdigest()


def escaped(item):
    return "".join(chr(byte) if byte in PLAIN else f"%{byte:02x}" for byte in item.encode())


def start_text(measure, attest, owners=(), kms=()):
    lists = ["+".join(escaped(item) for item in sorted(set(items), key=str.encode))
             for items in (owners, kms)]
    shown = "on" if measure == "set" else "off"
    return (f"sealedfs:start:measure={measure},set={shown},attest={escaped(attest)},"
            f"owners={lists[0]},kms={lists[1]}")


# Each looks only at the digests that it names: a model has no content digest, a set has no other.
TEXTS = {
    "verity": "verity:sha256:{0.verity}",
    "set": "set:sha256:{0.content}",
    "declared": "declared:sha256:{0.sha256},sha384:{0.sha384}",
    "sha384": "sha384:{0.sha384}",
    "sha256": "sha256:{0.sha256}"}


def event_text(mode, digests):
    return "sealedfs:" + TEXTS[mode].format(digests)


def of_text(bank, text):
    return hashlib.new(bank, text.encode()).digest()


def event_digest(mode, bank, digests):
    """The bytes that a bank is extended with."""
    if (mode, bank) == ("sha384", "sha384"):
        return bytes.fromhex(digests.sha384)
    if mode in ("sha384", "sha256") and bank == "sha256":
        return bytes.fromhex(digests.sha256)
    return of_text(bank, event_text(mode, digests))


def extended(bank, extensions, value=None):
    """The PCR in hex after these bytes, from zero or from a value in bytes."""
    value = value or bytes(hashlib.new(bank).digest_size)
    for one in extensions:
        value = hashlib.new(bank, value + one).digest()
    return value.hex()


def pcr(mode, bank, models, start):
    """The PCR in hex after the start event, where the mode has one, and these models' digests."""
    first = [of_text(bank, start)] if mode in WITH_START and models else []
    return extended(bank, first + [event_digest(mode, bank, one) for one in models])


def example():
    model = b"GGUF worked example\n"
    # The public key of RFC 8032, 7.1, test 1, as SubjectPublicKeyInfo (RFC 8410).
    owner = hashlib.sha256(bytes.fromhex(
        "302a300506032b6570032100"
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")).hexdigest()
    kms = ("arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
           "account/444455556666")
    digests = Digests(verity.digest_of_bytes(model).hex(), hashlib.sha256(model).hexdigest(),
                      hashlib.sha384(model).hexdigest())
    digests = digests._replace(content=content_of_one(b"model.gguf", 20, digests.verity))
    for mode in ("verity", "declared", "set", "sha384", "sha256"):
        start = start_text(mode, "nitrotpm", [owner], kms)
        if mode in WITH_START:
            print(f"{mode} start {start}")
        print(f"{mode} text {event_text(mode, digests)}")
        for bank in ("sha256", "sha384", "sha1", "sha512"):
            if mode in WITH_START:
                print(f"{mode} {bank} start {of_text(bank, start).hex()}")
            print(f"{mode} {bank} extends {event_digest(mode, bank, digests).hex()}")
            print(f"{mode} {bank} PCR     {pcr(mode, bank, [digests], start)}")


if __name__ == "__main__":
    example()
