"""A writer of the sealed format for making test vectors, right ones and broken ones.

Job: build a whole sealed object in memory from fixed inputs, let a caller damage any part
of it, and then recompute only those checks (tables, digest, commitment, slot MAC,
signature) that the caller asks for, so that a broken vector has exactly one fault.
Trusts its caller completely. It must never be used to seal a real model: its nonces and
file ids are whatever it is given.
"""

import hashlib
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import sealedformat as sf
import verity


def slot(kind, body, declared=None, fill=b""):
    """One 1024-byte slot; `declared` and `fill` are for broken ones."""
    length = len(body) if declared is None else declared
    raw = struct.pack("<HH", kind, length) + body + fill
    return (raw + bytes(sf.SLOT_BYTES - len(raw)))[: sf.SLOT_BYTES]


def keyfile_slot(kek, data_key, file_id, nonce):
    return slot(sf.SLOT_KEYFILE, keyfile_body(kek, data_key, file_id, nonce))


def keyfile_body(kek, data_key, file_id, nonce):
    return sf.kek_id(kek) + nonce + AESGCM(kek).encrypt(nonce, data_key, file_id)


def kms_body(arn, blob):
    return struct.pack("<H", len(arn)) + arn + struct.pack("<H", len(blob)) + blob


class Draft:
    """A sealed object in pieces. Every attribute may be changed before to_bytes()."""

    def __init__(self, plain, *, name, file_id, data_key, slots, owner=None, **overrides):
        self.data_key = data_key
        self.slots = list(slots)
        self.slot_count = len(self.slots)
        self.slots_reserved = bytes(30)
        self.mac = bytes(32)
        self.padding = None
        self.signature_block = bytearray(0x80)
        self.owner = owner
        length = overrides.get("length", len(plain))
        count = overrides.get("count", sf.chunk_count(len(plain)))
        self.core = bytearray(sf.CORE_BYTES)
        struct.pack_into(
            "<8sHHI32sQQ", self.core, 0, overrides.get("magic", sf.MAGIC),
            overrides.get("version", sf.VERSION), overrides.get("suite", sf.SUITE),
            overrides.get("flags", 0), file_id, length, count,
        )
        self.core[0x40:0x60] = hashlib.sha256(plain).digest()
        self.core[0x60:0x90] = hashlib.sha384(plain).digest()
        self.set_name(name)
        self.keys = sf.derive_keys(data_key, self.core)
        self.verity_length = length
        self.encrypt(plain)
        self.fix_tables()
        self.fix_verity()
        self.fix_commitment()
        self.fix_mac()
        self.fix_signature()

    def set_name(self, raw, declared=None):
        self.core[0xF0:0x200] = bytes(0x110)
        struct.pack_into("<H", self.core, 0xF0, len(raw) if declared is None else declared)
        self.core[0xF2 : 0xF2 + len(raw)] = raw

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
        self.core[0xB0:0xD0] = hashlib.sha256(bytes(self.tags + self.entries)).digest()

    def fix_verity(self):
        digest = verity.digest_of_entries(bytes(self.entries), self.verity_length)
        self.core[0x90:0xB0] = digest

    def fix_commitment(self):
        self.core[0xD0:0xF0] = self.keys.commitment

    def fix_mac(self):
        self.mac = sf.slot_mac(
            self.keys.slot_mac, bytes(self.core), self.slot_count, b"".join(self.slots)
        )

    def fix_signature(self):
        if self.owner is None:
            return
        struct.pack_into("<H", self.signature_block, 0, sf.SIG_ED25519)
        self.signature_block[2:34] = sf.signer_id(self.owner.public_key())
        self.signature_block[34:98] = self.owner.sign(sf.signature_message(bytes(self.core)))

    def rekey(self, plain=None):
        """After a change to core[0x008..0x040]: derive again and redo all that follows."""
        self.keys = sf.derive_keys(self.data_key, self.core)
        if plain is not None:
            self.encrypt(plain)
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
