"""A writer of the sealed format for making test vectors, right ones and broken ones.

Job: build a whole sealed object in memory from fixed inputs, let a caller damage any part
of it, and then recompute only those checks (tables, digest, commitment, slot MAC,
signature) that the caller asks for, so that a broken vector has exactly one fault.
Trusts its caller completely. It must never be used to seal a real model: its nonces and
file ids are whatever it is given.
"""

import hashlib
import os
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import sealedformat as sf
import verity


def slot(kind, body, declared=None, fill=b""):
    """One 1024-byte slot; `declared` and `fill` are for broken ones."""
    length = len(body) if declared is None else declared
    return (struct.pack("<HH", kind, length) + body + fill).ljust(sf.SLOT_BYTES, b"\0")[
        : sf.SLOT_BYTES
    ]


def keyfile_body(kek, data_key, file_id, nonce):
    return sf.kek_id(kek) + nonce + AESGCM(kek).encrypt(nonce, data_key, file_id)


def keyfile_slot(kek, data_key, file_id, nonce):
    return slot(sf.SLOT_KEYFILE, keyfile_body(kek, data_key, file_id, nonce))


def kms_body(arn, blob):
    return struct.pack("<H", len(arn)) + arn + struct.pack("<H", len(blob)) + blob


def set_body(set_id, member_key, data_key, file_id, nonce):
    key = AESGCM(sf.set_slot_key(member_key, file_id))
    return set_id + nonce + key.encrypt(nonce, data_key, set_id + file_id)


def _core_offsets():
    offsets, at = {}, 0
    for field, code in sf.CORE_FIELDS:
        size = struct.calcsize("<" + code)
        offsets[field] = slice(at, at + size)
        at += size
    return offsets


AT = _core_offsets()


class Draft:
    """A sealed object in pieces. Every attribute may be changed before to_bytes()."""

    def __init__(self, plain, *, path, file_id, data_key, slots, owner=None, **overrides):
        self.data_key, self.owner = data_key, owner
        self.slots, self.slot_count = list(slots), len(slots)
        self.slots_reserved, self.mac, self.padding = bytes(30), bytes(32), None
        self.signature_block = bytearray(sf.SIGNATURE_BLOCK_BYTES)
        self.core = bytearray(sf.CORE_BYTES)
        length = overrides.get("length", len(plain))
        self.set_field("magic", overrides.get("magic", sf.MAGIC))
        self.set_field("version", overrides.get("version", sf.VERSION))
        self.set_field("suite", overrides.get("suite", sf.SUITE))
        self.set_field("flags", overrides.get("flags", 0))
        self.set_field("file_id", file_id)
        self.set_field("length", length)
        self.set_field("count", overrides.get("count", sf.chunk_count(len(plain))))
        self.set_field("sha256", overrides.get("sha256", hashlib.sha256(plain).digest()))
        self.set_field("sha384", hashlib.sha384(plain).digest())
        self.set_field("sealed_at", overrides.get("sealed_at", 0))
        self.set_path(path)
        self.set_facts(overrides.get("facts", b""))
        self.keys = sf.derive_keys(data_key, self.core)
        self.verity_length = length
        self.encrypt(plain)
        self.fix_tables()
        self.fix_verity()
        self.fix_commitment()
        self.fix_mac()
        self.fix_signature()

    def set_field(self, field, value):
        where = AT[field]
        if isinstance(value, int):
            value = value.to_bytes(where.stop - where.start, "little")
        self.core[where] = value.ljust(where.stop - where.start, b"\0")

    def set_path(self, raw, declared=None):
        self.set_field("path_length", len(raw) if declared is None else declared)
        self.set_field("path_field", raw)

    def set_facts(self, raw, declared=None):
        self.set_field("facts_length", len(raw) if declared is None else declared)
        self.set_field("facts_field", raw)

    def encrypt(self, plain):
        pieces, self.tags, self.entries = [], bytearray(), bytearray()
        count = sf.chunk_count(len(plain))
        for index in range(count):
            chunk = plain[index * sf.CHUNK_BYTES : (index + 1) * sf.CHUNK_BYTES]
            sealed, tag = self.encrypt_chunk(chunk, index, index == count - 1)
            pieces.append(sealed)
            self.tags += tag
            self.entries += verity.chunk_entry(chunk, len(plain))
        self.payload = b"".join(pieces)

    def encrypt_chunk(self, chunk, index, is_last):
        nonce = sf.chunk_nonce(self.keys.base_nonce, index)
        sealed = AESGCM(self.keys.payload).encrypt(nonce, chunk, sf.chunk_aad(index, is_last))
        return sealed[: -sf.TAG_BYTES], sealed[-sf.TAG_BYTES :]

    def fix_tables(self):
        self.set_field("table_sha256", hashlib.sha256(bytes(self.tags + self.entries)).digest())

    def fix_verity(self):
        self.set_field(
            "verity", verity.digest_of_entries(bytes(self.entries), self.verity_length)
        )

    def fix_commitment(self):
        self.set_field("commitment", self.keys.commitment)

    def fix_mac(self):
        self.mac = sf.slot_mac(
            self.keys.slot_mac, self.core, self.slot_count, b"".join(self.slots)
        )

    def fix_signature(self):
        if self.owner is not None:
            self.sign(sf.signature_message(bytes(self.core)))

    def sign(self, message):
        """The owner's signature over any message, in the signature block."""
        self.signature_block[:98] = (
            struct.pack("<H", sf.SIG_ED25519)
            + sf.signer_id(self.owner.public_key())
            + self.owner.sign(message)
        )

    def rekey(self):
        """After a change to core[0x008..0x040]: derive again and redo all that follows."""
        self.keys = sf.derive_keys(self.data_key, self.core)
        self.fix_tables()
        self.fix_commitment()
        self.fix_mac()
        self.fix_signature()
        return self

    def to_bytes(self):
        head = bytes(self.core) + bytes(self.signature_block)
        head += struct.pack("<H", self.slot_count) + self.slots_reserved + self.mac
        head += b"".join(self.slots)
        padding = self.padding
        if padding is None:
            padding = bytes(-len(head) % sf.TABLE_ALIGN)
        return head + padding + bytes(self.tags + self.entries)

    def write(self, root, name):
        """NAME.seal and its payload under root, as a mount of root finds them."""
        target = os.path.join(root, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(sf.payload_name(target, bytes(self.core[AT["file_id"]])), "wb") as out:
            out.write(self.payload)
        with open(target + ".seal", "wb") as out:
            out.write(self.to_bytes())
