#!/usr/bin/python3
"""Make the test vectors of the sealed format, byte for byte the same each time.

    make_vectors.py [DIR]      writes into DIR (default: the folder of this script)

Job: the fixed inputs, the registry of vectors, and the files. What the vectors are is in
cases_good.py, cases_parse.py and cases_crypto.py. Everything comes from SHA-256 of fixed
labels; no clock, no random number. The keys made here are public and protect nothing.
"""

import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "oracle"))
sys.path.insert(0, HERE)

from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402

import sealedformat as sf  # noqa: E402
import sealwriter as sw  # noqa: E402
import tpmslot  # noqa: E402

ARN = b"arn:aws:kms:eu-west-1:111122223333:key/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
PATH = b"model.gguf"
SEALED_AT = 1767225600
FACTS = {
    "gguf.architecture": "llama", "gguf.chat-template": "yes", "gguf.file-type": "Q4_K_M",
    "gguf.parameters": "46560000", "gguf.size-label": "46M", "gguf.version": "3", "kind": "gguf",
}  # fmt: skip


def fixed(label):
    """32 bytes that depend on nothing but the label."""
    return hashlib.sha256(b"sealedfs vectors: " + label.encode()).digest()


def stream(label, length):
    """The PRNG of the plaintexts: SHA-256(prefix, label, u64le counter), joined and cut."""
    seed = b"sealedfs vectors: " + label.encode()
    blocks = (
        hashlib.sha256(seed + counter.to_bytes(8, "little")).digest()
        for counter in range((length + 31) // 32)
    )
    return b"".join(blocks)[:length]


def _private(label):
    return Ed25519PrivateKey.from_private_bytes(fixed(label))


DATA_KEY = fixed("data key")
OTHER_DATA_KEY = fixed("other data key")
FILE_ID = fixed("file id")
OTHER_FILE_ID = fixed("other file id")
KEK = fixed("key-encryption key")
OTHER_KEK = fixed("other key-encryption key")
OWNER = _private("owner")
STRANGER = _private("stranger")
KMS_BLOB = stream("kms ciphertext blob", 184)


def kek_slot(data_key=DATA_KEY, kek=KEK, file_id=FILE_ID, nonce="wrap nonce"):
    return sw.keyfile_slot(kek, data_key, file_id, fixed(nonce)[:12])


def kms_slot(arn=ARN, blob=KMS_BLOB):
    return sw.slot(sf.SLOT_KMS, sw.kms_body(arn, blob))


def set_body():
    return sw.set_body(fixed("set id"), fixed("member key"), DATA_KEY, FILE_ID,
                       fixed("set nonce")[:12])  # fmt: skip


def _p256(label):
    return ec.derive_private_key(int.from_bytes(fixed(label), "big") >> 1, ec.SECP256R1())


STORAGE_KEY = _p256("tpm storage key")


def tpm_slot(*pcrs, bank="sha256", policy_key=b"", seed=None):
    """For our storage key; seed: bytes in its place, of a key that nobody has."""
    size = hashlib.new(bank).digest_size
    made = tpmslot.make(
        STORAGE_KEY.public_key(), DATA_KEY, fixed("tpm object seed"), _p256("tpm ephemeral key"),
        bank=tpmslot.BANK_IDS[bank] if pcrs else 0, policy_key=policy_key,
        values={number: stream("pcr %d" % number, size) for number in pcrs},
    )  # fmt: skip
    return made if seed is None else made._replace(seed=seed)


def modulus(size):
    """The look of an RSA modulus."""
    return b"\xc5" + stream("policy key", size - 2) + b"\x5d"


def draft(plain, **changes):
    """A right sealed object: one key file slot, not signed, unless said otherwise."""
    options = {
        "path": PATH, "file_id": FILE_ID, "data_key": DATA_KEY, "slots": [kek_slot()],
        "sealed_at": SEALED_AT, "facts": sf.make_facts(FACTS),
    }  # fmt: skip
    options.update(changes)
    return sw.Draft(plain, **options)


def plaintext(length):
    return stream("plaintext", length)


class Registry:
    """Collects vectors; files of equal content are written once."""

    def __init__(self, root):
        self.root = root
        self.vectors = []
        self.extended = []
        self._written = {}
        self._ids = set()

    def write(self, path, content):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as out:
            out.write(content)

    def _store(self, folder, name, content):
        key = (folder, hashlib.sha256(content).digest())
        if key not in self._written:
            self._written[key] = folder + "/" + name
            self.write(self._written[key], content)
        return self._written[key]

    def add(self, ident, what, made, expected="ok", *, payload=True, seal=None, **more):
        """One vector. `made` is a Draft; `seal` replaces its bytes; payload None: seal only."""
        if ident in self._ids:
            raise ValueError("two vectors are called " + ident)
        self._ids.add(ident)
        raw = made.to_bytes() if seal is None else seal
        content = made.payload if payload is True else payload
        files = {
            "seal": self._store("seals", ident + ".seal", raw),
            "payload": None if content is None
            else self._store("payloads", ident + ".sealed", content),
        }
        entry = {
            "id": ident,
            "what": what,
            "files": files,
            "keys": more.get("keys", {"kek": "keys/kek.key"}),
            "owner_keys": more.get("owner_keys", []),
            "expected": expected if expected == "ok" else self._failure(expected),
        }
        if "open_as" in more:
            entry["open_as"] = more["open_as"]
        if expected == "ok":
            entry.update(self._found(made, content))
        (self.extended if more.get("extended") else self.vectors).append(entry)

    @staticmethod
    def _failure(word):
        errno_name, stage = sf.CLASSES[word]
        return {"class": word, "errno": errno_name, "stage": stage}

    @staticmethod
    def _found(made, content):
        """What a reader must find in a right object."""
        core = bytes(made.core)
        path_size, facts_size = (int.from_bytes(core[at : at + 2], "little")
                                 for at in (0xF8, 0xFA))  # fmt: skip
        return {
            "length": int.from_bytes(core[0x30:0x38], "little"),
            "path": core[0x100 : 0x100 + path_size].decode(),
            "sealed_at": int.from_bytes(core[0xF0:0xF8], "little"),
            "facts": core[0x500 : 0x500 + facts_size].decode(),
            "file_id": core[0x10:0x30].hex(),
            "sha256": core[0x40:0x60].hex(),
            "sha384": core[0x60:0x90].hex(),
            "verity": core[0x90:0xB0].hex(),
            "signed_by": made.signature_block[2:34].hex() if made.signature_block[0] else None,
            "slot_types": [int.from_bytes(s[0:2], "little") for s in made.slots],
            "readable": content is not None,
        }


def _write_keys(registry):
    def pem(key):
        return key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def private_pem(key):
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    registry.write("keys/data-key.hex", DATA_KEY.hex().encode() + b"\n")
    registry.write("keys/other-data-key.hex", OTHER_DATA_KEY.hex().encode() + b"\n")
    registry.write("keys/kek.key", sf.KEK_PREFIX + KEK.hex().encode() + b"\n")
    registry.write("keys/other-kek.key", sf.KEK_PREFIX + OTHER_KEK.hex().encode() + b"\n")
    registry.write("keys/owner.pem", private_pem(OWNER))
    registry.write("keys/owner.pub.pem", pem(OWNER))
    registry.write("keys/stranger.pem", private_pem(STRANGER))
    registry.write("keys/stranger.pub.pem", pem(STRANGER))


def _derivations():
    """Worked examples of the key schedule and of the small derivations."""
    schedule = []
    for length in (0, 1, 524289):
        made = draft(plaintext(length))
        keys = made.keys
        schedule.append(
            {
                "data_key": DATA_KEY.hex(),
                "salt": FILE_ID.hex(),
                "info": (sf.KDF_CONTEXT + bytes(made.core[0x08:0x40])).hex(),
                "length": length,
                "payload_key": keys.payload.hex(),
                "base_nonce": keys.base_nonce.hex(),
                "commitment": keys.commitment.hex(),
                "slot_mac_key": keys.slot_mac.hex(),
                "nonce_of_chunk_1": sf.chunk_nonce(keys.base_nonce, 1).hex(),
            }
        )
    return {
        "key_schedule": schedule,
        "kek_id": sf.kek_id(KEK).hex(),
        "owner_signer_id": sf.signer_id(OWNER.public_key()).hex(),
        "set_slot": {
            "member_key": fixed("member key").hex(),
            "slot_key": sf.set_slot_key(fixed("member key"), FILE_ID).hex(),
            "body": set_body().hex(),
        },
        "tpm_slot": {
            "storage_key": tpmslot.storage_public(STORAGE_KEY.public_key()).hex(),
            "storage_private": STORAGE_KEY.private_numbers().private_value.to_bytes(32, "big").hex(),
            "policy": tpmslot.policy(tpm_slot(4, 7, 12)).hex(),
            "object_name": tpmslot.object_name(tpm_slot(4, 7, 12)).hex(),
            "body": tpmslot.body(tpm_slot(4, 7, 12)).hex(),
            "policy_with_key": tpmslot.policy(tpm_slot(7, policy_key=modulus(256))).hex(),
        },
        "stranger_signer_id": sf.signer_id(STRANGER.public_key()).hex(),
        "kms_key_arn": ARN.decode(),
        "kms_blob": KMS_BLOB.hex(),
        "payload_name": sf.payload_name(PATH.decode(), FILE_ID),
    }


def generate(root):
    import cases_crypto
    import cases_good
    import cases_parse

    registry = Registry(root)
    _write_keys(registry)
    cases_good.add_all(registry)
    cases_parse.add_all(registry)
    cases_crypto.add_all(registry)
    index = {
        "format": "sealedfs 2",
        "derivations": _derivations(),
        "vectors": registry.vectors,
        "extended": registry.extended,
    }
    text = json.dumps(index, indent=1, ensure_ascii=False) + "\n"
    registry.write("index.json", text.encode())
    return registry


if __name__ == "__main__":
    # The cases import this file by its name: have them find this very module.
    sys.modules["make_vectors"] = sys.modules["__main__"]
    made_here = generate(sys.argv[1] if len(sys.argv) > 1 else HERE)
    print("%d vectors, %d extended" % (len(made_here.vectors), len(made_here.extended)))
