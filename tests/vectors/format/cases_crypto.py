"""Vectors that are well-formed and must be refused because they are not authentic.

Job: signature, unlocking, slots, tables, digest, chunks and payload. Where the design names
an attacker who holds the data key, the vector is made with the data key, so that only the
check it is about can find it.
"""

import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import sealedformat as sf
import sealwriter as sw
import verity
from make_vectors import (
    DATA_KEY, FILE_ID, KEK, OTHER_DATA_KEY, OTHER_FILE_ID, OTHER_KEK, OWNER, SEALED_AT, STRANGER,
    draft, fixed, kek_slot, kms_slot, plaintext, stream,
)  # fmt: skip

PINNED = ["keys/owner.pub.pem"]
CHUNK = sf.CHUNK_BYTES
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493


def _flip(data, at, bit=1):
    changed = bytearray(data)
    changed[at] ^= bit
    return bytes(changed)


def _signature(registry):
    plain = plaintext(4097)

    def add(ident, what, made, word, pins=PINNED):
        registry.add("signature-" + ident, what, made, word, owner_keys=pins)

    def signed_over(message):
        made = draft(plain, owner=OWNER)
        made.signature_block[34:98] = OWNER.sign(message)
        return made

    core = bytes(draft(plain).core)
    add("none", "not signed, an owner is pinned", draft(plain), "unsigned")
    add("stranger", "signed by a stranger", draft(plain, owner=STRANGER), "unknown-signer")
    for ident, at in (("r", 34), ("s", 66)):
        made = draft(plain, owner=OWNER)
        made.signature_block[at] ^= 1
        add("flipped-" + ident, "a bit of the signature flipped, slot MAC right", made,
            "bad-signature")
    made = draft(plain, owner=OWNER)
    made.signature_block[34:98] = bytes(64)
    add("zero", "an all-zero signature under the owner's id", made, "bad-signature")
    made = draft(plain, owner=STRANGER)
    made.signature_block[2:34] = sf.signer_id(OWNER.public_key())
    add("stranger-claims-owner", "a stranger's signature under the owner's id", made,
        "bad-signature")
    add("no-context", "signed without the context string",
        signed_over(hashlib.sha384(core).digest()), "bad-signature")
    add("context-no-nul", "signed with the context string without its NUL",
        signed_over(b"sealedfs core v2" + hashlib.sha384(core).digest()), "bad-signature")
    add("context-v1", "signed with the context string of version 1",
        signed_over(b"sealedfs core v1\0" + hashlib.sha384(core).digest()), "bad-signature")
    add("core-itself", "signed over the core and not over its SHA-384",
        signed_over(sf.SIGN_CONTEXT + core), "bad-signature")
    made = draft(plain, owner=OWNER)
    s = int.from_bytes(made.signature_block[66:98], "little") + ED25519_ORDER
    made.signature_block[66:98] = s.to_bytes(32, "little")
    add("malleable", "S + L in place of S", made, "bad-signature")
    made = draft(plain, owner=OWNER)
    made.set_path(b"other/model.gguf")
    made.fix_mac()
    add("path-changed", "a holder of the data key changed the path and fixed the slot MAC", made,
        "bad-signature")
    made = draft(plain, owner=OWNER)
    made.set_facts(b"kind=other\n")
    made.fix_mac()
    add("facts-changed", "a holder of the data key changed the facts and fixed the slot MAC", made,
        "bad-signature")
    made = draft(plain, owner=OWNER)
    made.core[0x40] ^= 1
    made.fix_mac()
    add("core-changed", "a holder of the data key changed the core and fixed the slot MAC", made,
        "bad-signature")
    other = draft(plain, owner=OWNER, file_id=OTHER_FILE_ID)
    made = draft(plain)
    made.signature_block = other.signature_block
    add("of-another-model", "the owner's signature of another sealing", made, "bad-signature")


def _wrong_key(registry):
    plain = plaintext(4097)

    def add(ident, what, made, word="wrong-key", **more):
        registry.add("key-" + ident, what, made, word, **more)

    def with_slot(slot):
        return draft(plain, slots=[slot])

    add("other-kek", "the key file is not a recipient", draft(plain), "no-recipient",
        keys={"kek": "keys/other-kek.key"})
    add("kms-only", "only a KMS slot, and the reader has a key file",
        with_slot(kms_slot()), "no-recipient")
    add("unknown-type-only", "only a slot of unknown type",
        with_slot(sw.slot(9, stream("slot", 76))), "no-recipient")
    add("other-data-key", "another data key", draft(plain),
        keys={"data_key": "keys/other-data-key.hex"})
    body = sw.keyfile_body(KEK, DATA_KEY, FILE_ID, fixed("wrap nonce")[:12])
    for ident, at in (("nonce", 16), ("wrapped", 28), ("tag", 75)):
        add("keyfile-" + ident, "a bit of the %s in the key file slot flipped" % ident,
            with_slot(sw.slot(sf.SLOT_KEYFILE, _flip(body, at))))
    add("keyfile-id", "a bit of the key id in the key file slot flipped",
        with_slot(sw.slot(sf.SLOT_KEYFILE, _flip(body, 0))), "no-recipient")
    add("keyfile-other-file-id", "the slot was wrapped for another file id",
        with_slot(kek_slot(file_id=OTHER_FILE_ID)))
    add("keyfile-other-data-key", "the slot holds another data key",
        with_slot(kek_slot(data_key=OTHER_DATA_KEY)))
    add("keyfile-claims-our-id", "another key file's wrap under our key id",
        with_slot(sw.slot(sf.SLOT_KEYFILE, sf.kek_id(KEK) + sw.keyfile_body(
            OTHER_KEK, DATA_KEY, FILE_ID, fixed("wrap nonce")[:12])[16:])))
    made = draft(plain)
    made.core[0xD0] ^= 1
    made.fix_mac()
    add("commitment", "a bit of the commitment flipped, slot MAC fixed", made)
    made = draft(plain)
    made.core[0x10] ^= 1
    made.fix_mac()
    add("file-id", "a bit of the file id flipped; opened with the data key", made,
        keys={"data_key": "keys/data-key.hex"})


def _resized(registry):
    """Truncation and extension by who can write the seal but does not hold the data key."""
    plain = plaintext(CHUNK + 1)
    made = draft(plain)
    made.core[0x30:0x38] = CHUNK.to_bytes(8, "little")
    made.core[0x38:0x40] = (1).to_bytes(8, "little")
    made.tags, made.entries = made.tags[:16], made.entries[:32]
    made.verity_length = CHUNK
    made.fix_tables()
    made.fix_verity()
    registry.add("resized-chunk-dropped", "last chunk dropped; length, count and tables follow",
                 made, "wrong-key", payload=made.payload[:CHUNK])
    made = draft(plaintext(4097))
    made.core[0x30:0x38] = (4098).to_bytes(8, "little")
    registry.add("resized-longer", "the length in the seal and the payload one byte longer",
                 made, "wrong-key", payload=made.payload + b"\0")


def _slots(registry):
    plain = plaintext(4097)

    def two():
        return draft(plain, slots=[kms_slot(), kek_slot()])

    def add(ident, what, made):
        registry.add("slots-" + ident, what, made, "bad-slots")

    made = two()
    made.slots.reverse()
    add("swapped", "two slots swapped", made)
    made = two()
    made.slots, made.slot_count = made.slots[1:], 1
    add("dropped", "a slot removed and the count lowered", made)
    made = two()
    made.slots, made.slot_count = made.slots + [kms_slot()], 3
    add("added", "a slot added and the count raised", made)
    made = two()
    made.slots[0] = kms_slot(blob=stream("another blob", 184))
    add("replaced", "the blob of the KMS slot replaced", made)
    made = draft(plain, slots=[sw.slot(9, b"unknown"), kek_slot()])
    made.slots[0] = sw.slot(9, b"unknowm")
    add("unknown-changed", "the body of a slot of unknown type changed", made)
    for ident, at in (("first", 0), ("last", 31)):
        made = two()
        made.mac = _flip(made.mac, at)
        add("mac-" + ident, "a bit of the slot MAC's %s byte flipped" % ident, made)
    made = two()
    made.mac = bytes(32)
    add("mac-zero", "an all-zero slot MAC", made)
    for ident, at in (("sha256", 0x40), ("sha384", 0x8F), ("verity", 0x90), ("table-hash", 0xCF)):
        made = two()
        made.core[at] ^= 1
        add("core-" + ident, "a bit of the core's %s changed, not signed" % ident, made)
    made = two()
    made.set_path(b"other.gguf")
    add("core-path", "the path in the core changed, not signed", made)
    made = two()
    made.set_facts(b"kind=other\n")
    add("core-facts", "the facts in the core changed, not signed", made)
    made = two()
    made.set_facts(b"")
    add("core-facts-removed", "the facts in the core removed, not signed", made)
    made = two()
    made.set_field("sealed_at", SEALED_AT + 1)
    add("core-time", "the time of sealing changed, not signed", made)
    made = two()
    made.tags = bytearray(_flip(made.tags, 0))
    made.fix_tables()
    add("tag-and-table-hash", "a tag flipped and the table hash fixed", made)


def _tables(registry):
    plain = plaintext(2 * CHUNK + 3)

    def add(ident, what, made, word):
        registry.add(ident, what, made, word, payload=None)

    def remac(made):
        made.fix_mac()
        return made

    for ident, at in (("first", 0), ("last", 47)):
        made = draft(plain)
        made.tags = bytearray(_flip(made.tags, at))
        add("tables-tag-" + ident, "a bit of the %s tag flipped" % ident, made, "bad-tables")
    made = draft(plain)
    made.entries = bytearray(_flip(made.entries, 95))
    add("tables-hash", "the last bit-bearing byte of the hash table flipped", made, "bad-tables")
    made = draft(plain)
    made.core[0xB0] ^= 1
    add("tables-field", "the table hash in the core flipped, slot MAC fixed", remac(made),
        "bad-tables")
    made = draft(b"")
    made.core[0xB0:0xD0] = bytes(32)
    add("tables-empty-zero", "an empty model whose table hash is zero", remac(made), "bad-tables")

    made = draft(plain)
    made.entries = bytearray(_flip(made.entries, 33))
    made.fix_tables()
    add("verity-entry", "a hash-table entry changed, table hash and slot MAC fixed", remac(made),
        "bad-verity")
    made = draft(plain)
    made.entries = made.entries[32:64] + made.entries[:32] + made.entries[64:]
    made.fix_tables()
    add("verity-entries-swapped", "two hash-table entries swapped, all but the digest fixed",
        remac(made), "bad-verity")
    made = draft(plain)
    made.core[0xAF] ^= 0x80
    add("verity-digest", "the digest in the core changed, slot MAC fixed", remac(made),
        "bad-verity")
    made = draft(plain)
    made.core[0x90:0xB0] = verity.root_of_entries(bytes(made.entries), len(plain))
    add("verity-bare-root", "the digest field holds the Merkle root", remac(made), "bad-verity")
    made = draft(plain)
    made.core[0x90:0xB0] = verity.digest_of_entries(bytes(made.entries), len(plain) - 1)
    add("verity-other-length", "the digest was made with another length", remac(made),
        "bad-verity")
    made = draft(b"")
    made.core[0x90:0xB0] = hashlib.sha256(b"").digest()
    add("verity-empty", "an empty model whose digest is SHA-256 of nothing", remac(made),
        "bad-verity")


def _chunks(registry):
    small, big = plaintext(4097), plaintext(3 * CHUNK + 7)

    def add(ident, what, made, payload, word="bad-chunk"):
        registry.add("chunk-" + ident, what, made, word, payload=payload)

    made = draft(small)
    for ident, at in (("first", 0), ("last", 4096)):
        add("flip-" + ident, "a bit of the payload's %s byte flipped" % ident, made,
            _flip(made.payload, at))
    add("zeros", "a payload of zeros", made, bytes(4097))
    made = draft(big)
    swapped = made.payload[CHUNK : 2 * CHUNK] + made.payload[:CHUNK] + made.payload[2 * CHUNK :]
    add("swapped", "chunks 0 and 1 of the payload swapped", made, swapped)
    made = draft(big)
    made.tags = made.tags[16:32] + made.tags[:16] + made.tags[32:]
    made.entries = made.entries[32:64] + made.entries[:32] + made.entries[64:]
    made.fix_tables()
    made.fix_verity()
    made.fix_mac()
    add("swapped-all-fixed", "chunks 0 and 1 swapped with their tags and hashes, all fixed", made,
        swapped)
    made = draft(plaintext(CHUNK + 1))
    other = draft(stream("another plaintext", CHUNK + 1), file_id=OTHER_FILE_ID)
    add("other-model", "chunk 0 of another model with the same data key", made,
        other.payload[:CHUNK] + made.payload[CHUNK:])
    made = draft(small)
    made.tags = bytearray(_flip(made.tags, 15, 0x80))
    made.fix_tables()
    made.fix_mac()
    add("tag", "a tag flipped, table hash and slot MAC fixed", made, made.payload)
    made = draft(small)
    made.tags = bytearray(made.encrypt_chunk(small, 0, False)[1])
    made.fix_tables()
    made.fix_mac()
    add("not-last", "the last chunk was sealed as one that is not the last", made, made.payload)
    _chunk_hashes(registry, add, small)


def _chunk_hashes(registry, add, small):
    word = "bad-chunk-hash"
    made = draft(small)
    made.entries = bytearray(_flip(made.entries, 0))
    made.fix_tables()
    made.fix_verity()
    made.fix_mac()
    add("hash-entry", "a hash-table entry changed and everything else fixed", made, made.payload,
        word)
    made = draft(plaintext(100))
    made.entries = bytearray(
        hashlib.sha256(verity.block_hashes(plaintext(100)).ljust(4096, b"\0")).digest()
    )
    made.fix_tables()
    made.fix_verity()
    made.fix_mac()
    add("hash-one-block", "one block hashed once too often, everything else fixed", made,
        made.payload, word)
    made = draft(small)
    made.entries = bytearray(hashlib.sha256(verity.block_hashes(small)).digest())
    made.fix_tables()
    made.fix_verity()
    made.fix_mac()
    add("hash-not-padded", "the level-1 hash block not padded to 4096", made, made.payload, word)
    made = draft(small, owner=OWNER)
    forged = _same_tag(made.keys.payload, made.payload)
    registry.add(
        "chunk-same-tag",
        "signed; a holder of the data key changed two blocks so that the tag still fits",
        made, word, payload=forged, owner_keys=PINNED,
    )  # fmt: skip


def _gf_multiply(x, y):
    """GHASH's product of two 16-byte blocks."""
    a, b, z = int.from_bytes(x, "big"), int.from_bytes(y, "big"), 0
    for bit in range(127, -1, -1):
        if a >> bit & 1:
            z ^= b
        b = (b >> 1) ^ (0xE1 << 120 if b & 1 else 0)
    return z.to_bytes(16, "big")


def _same_tag(payload_key, ciphertext):
    """Another ciphertext with the same GCM tag: block n + d, block n+1 + d x H cancel out."""
    cipher = Cipher(algorithms.AES(payload_key), modes.ECB()).encryptor()
    subkey = cipher.update(bytes(16))
    first = b"\x80" + bytes(15)
    second = _gf_multiply(first, subkey)
    mask = first + second
    changed = bytes(c ^ m for c, m in zip(ciphertext[:32], mask))
    return changed + ciphertext[32:]


def _payload_size(registry):
    word = "bad-payload-size"

    def add(ident, what, made, payload):
        registry.add("payload-" + ident, what, made, word, payload=payload)

    made = draft(plaintext(4097))
    add("truncated", "the payload's last byte is missing", made, made.payload[:-1])
    add("longer", "one byte after the payload", made, made.payload + b"\0")
    add("empty", "an empty payload", made, b"")
    made = draft(plaintext(CHUNK + 1))
    add("chunk-dropped", "the payload's last chunk is missing", made, made.payload[:CHUNK])
    add("of-empty-model", "an empty model with a payload of one byte", draft(b""), b"\0")


def _order(registry):
    """Two faults: the check that comes first in the reader order must speak."""
    plain = plaintext(4097)

    def add(ident, what, made, word, pins=()):
        registry.add("order-" + ident, what, made, word, owner_keys=list(pins))

    made = draft(plain, version=3)
    made.core[0x7FF] = 1
    made.fix_mac()
    add("version-reserved", "version 3 and a reserved byte set", made, "unsupported")
    made = draft(plain)
    made.slots_reserved = bytes(29) + b"\1"
    add("reserved-unsigned", "a reserved byte set, not signed, owner pinned", made, "malformed",
        PINNED)
    made = draft(plain, owner=OWNER)
    made.signature_block[0] = 2
    add("algorithm-pinned", "signature algorithm 2, owner pinned", made, "unsupported", PINNED)
    made = draft(plain, slots=[kms_slot()])
    add("unsigned-no-recipient", "not signed, owner pinned, no slot for the reader", made,
        "unsigned", PINNED)
    made = draft(plain, owner=OWNER)
    made.signature_block[97] ^= 1
    made.slots[0] = sw.slot(sf.SLOT_KEYFILE, _flip(made.slots[0][4:80], 75))
    add("signature-key", "a bad signature and a slot that does not unwrap", made,
        "bad-signature", PINNED)
    made = draft(plain)
    made.core[0xD0] ^= 1
    made.mac = bytes(32)
    add("commitment-mac", "a wrong commitment and a wrong slot MAC", made, "wrong-key")
    made = draft(plain, owner=OWNER)
    made.slots[0] = kek_slot(file_id=OTHER_FILE_ID)
    made.mac = bytes(32)
    made.tags = bytearray(16)
    add("key-mac-tables", "a key that does not unwrap, wrong slot MAC, wrong tag table", made,
        "wrong-key", PINNED)
    made = draft(plain)
    made.mac = bytes(32)
    made.tags = bytearray(16)
    add("mac-tables", "a wrong slot MAC and a wrong tag table", made, "bad-slots")
    made = draft(plain)
    made.entries = bytearray(32)
    add("tables-verity", "a wrong hash table, its hash not fixed", made, "bad-tables")


def _extended(registry):
    """Failures that need more than the two objects, or the whole plaintext."""
    for ident, sealed, found in (
        ("renamed", b"model.gguf", "other.gguf"),
        ("exchanged", b"70b/model.gguf", "7b/model.gguf"),
        ("exchanged-above", b"70b/model.gguf", "p/7b/model.gguf"),
        ("moved-up", b"a/70b/model.gguf", "b/70b/model.gguf"),
        ("half-component", b"model.gguf", "my-model.gguf"),
        ("half-directory", b"b/model.gguf", "70b/model.gguf"),
        ("half-directory-sealed", b"70b/model.gguf", "b/model.gguf"),
        ("case", b"Model.gguf", "model.gguf"),
        ("normalised", "mode\u0300le.gguf".encode(), "mod\u00e8le.gguf"),
        ("directory-only", b"a/model.gguf", "a"),
    ):  # fmt: skip
        registry.add("extended-found-" + ident, "sealed path and found path do not agree",
                     draft(b"x", path=sealed, owner=OWNER), "wrong-name", owner_keys=PINNED,
                     open_as=found, extended=True)
    made = draft(b"x", path=b"70b/model.gguf")
    made.owner = STRANGER
    made.fix_signature()
    registry.add("extended-found-signature", "another path, and a stranger's signature", made,
                 "wrong-name", owner_keys=PINNED, open_as="7b/model.gguf", extended=True)
    for ident, at in (("sha256", 0x40), ("sha384", 0x60)):
        made = draft(plaintext(4097))
        made.core[at] ^= 1
        made.fix_mac()
        registry.add("extended-" + ident, "the core's %s is not the plaintext's" % ident, made,
                     "bad-digest", extended=True)


def add_all(registry):
    _signature(registry)
    _wrong_key(registry)
    _resized(registry)
    _slots(registry)
    _tables(registry)
    _chunks(registry)
    _payload_size(registry)
    _order(registry)
    _extended(registry)
