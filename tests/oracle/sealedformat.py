"""The second reader of the sealed format, version 1.

Job: parse, authenticate and decrypt a sealed object exactly as crypto/FORMAT.md says, in
the reader order of that document, and name the failure class of everything it refuses.
Trusts: the `cryptography` package, hashlib, and the keys it is given. It must never look
at, link or share anything with the C implementation, and never hand out a byte of
plaintext whose chunk has not passed both its tag and its hash.
"""

import errno
import hashlib
import hmac
import os
import struct
from collections import namedtuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import verity

MAGIC = b"sealedfs"
VERSION = 1
SUITE = 1
CHUNK_BYTES = 524288
MAX_PLAINTEXT_BYTES = 1 << 44
MAX_NAME_BYTES = 255
CORE_BYTES = 0x200
SLOTS_AT = 0x2C0
SLOT_BYTES = 1024
SLOT_BODY_MAX = SLOT_BYTES - 4
MAX_SLOTS = 16
TABLE_ALIGN = 4096
TAG_BYTES = 16
ENTRY_BYTES = 32
SIG_NONE = 0
SIG_ED25519 = 1
SLOT_KMS = 1
SLOT_TPM2 = 2
SLOT_KEYFILE = 3
KMS_ARN_MAX = 512
KMS_BLOB_MAX = 400
KEYFILE_BODY_BYTES = 76
KEK_PREFIX = b"sealedfs-kek-v1:"
SIGN_CONTEXT = b"sealedfs core v1\0"
KEK_ID_CONTEXT = b"sealedfs key-encryption key\0"
KDF_CONTEXT = b"sealedfs v1"

# class -> (errno name, stage)
CLASSES = {
    "malformed": ("EPROTO", "parse"),
    "unsupported": ("EPROTO", "parse"),
    "unsigned": ("EBADMSG", "signature"),
    "unknown-signer": ("EBADMSG", "signature"),
    "bad-signature": ("EBADMSG", "signature"),
    "no-recipient": ("ENOKEY", "unlock"),
    "wrong-key": ("EBADMSG", "unlock"),
    "bad-slots": ("EBADMSG", "unlock"),
    "bad-tables": ("EBADMSG", "unlock"),
    "bad-verity": ("EBADMSG", "unlock"),
    "bad-payload-size": ("EBADMSG", "payload"),
    "bad-chunk": ("EBADMSG", "chunk"),
    "bad-chunk-hash": ("EBADMSG", "chunk"),
    "wrong-name": ("EBADMSG", "name"),
    "bad-digest": ("EBADMSG", "whole"),
}


class Refused(Exception):
    """A sealed object that must not be used; `word` is the failure class."""

    def __init__(self, word, message):
        super().__init__(message)
        self.word = word
        self.errno_name, self.stage = CLASSES[word]
        self.errno = getattr(errno, self.errno_name)


Slot = namedtuple("Slot", "type body")
Keys = namedtuple("Keys", "payload base_nonce commitment slot_mac")


def derive_keys(data_key, core):
    """The key schedule: 108 bytes of HKDF output, cut in four."""
    okm = HKDF(
        algorithm=hashes.SHA256(),
        length=108,
        salt=bytes(core[0x10:0x30]),
        info=KDF_CONTEXT + bytes(core[0x08:0x40]),
    ).derive(data_key)
    return Keys(okm[0:32], okm[32:44], okm[44:76], okm[76:108])


def chunk_nonce(base_nonce, index):
    mask = bytes(4) + struct.pack(">Q", index)
    return bytes(a ^ b for a, b in zip(base_nonce, mask))


def chunk_aad(index, is_last):
    return struct.pack("<QB", index, 1 if is_last else 0)


def signature_message(core):
    return SIGN_CONTEXT + hashlib.sha384(core).digest()


def slot_mac(mac_key, core, count, slots):
    return hmac.digest(mac_key, core + struct.pack("<H", count) + slots, "sha256")


def kek_id(kek):
    return hashlib.sha256(KEK_ID_CONTEXT + kek).digest()[:16]


def signer_id(public_key):
    spki = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()


def table_offset(slot_count):
    end = SLOTS_AT + SLOT_BYTES * slot_count
    return (end + TABLE_ALIGN - 1) // TABLE_ALIGN * TABLE_ALIGN


def chunk_count(length):
    return (length + CHUNK_BYTES - 1) // CHUNK_BYTES


def seal_length(length, slot_count):
    return table_offset(slot_count) + (TAG_BYTES + ENTRY_BYTES) * chunk_count(length)


MIN_SEAL_BYTES = seal_length(0, 1)
MAX_SEAL_BYTES = seal_length(MAX_PLAINTEXT_BYTES, MAX_SLOTS)


def payload_name(name, file_id):
    return "%s.%s.sealed" % (name, file_id[:8].hex())


def load_kek(path):
    """A key file: one line, `sealedfs-kek-v1:` and 64 lower-case hex digits."""
    with open(path, "rb") as stream:
        text = stream.read(4096)
    digits = text[len(KEK_PREFIX) : -1]
    if (
        not text.startswith(KEK_PREFIX)
        or not text.endswith(b"\n")
        or len(digits) != 64
        or any(c not in b"0123456789abcdef" for c in digits)
    ):
        raise ValueError("%s is not a sealedfs key file" % path)
    return bytes.fromhex(digits.decode())


def load_data_key(path):
    """A data key in hexadecimal, for tests only: no product file holds one."""
    with open(path, "r", encoding="ascii") as stream:
        key = bytes.fromhex(stream.read().strip())
    if len(key) != 32:
        raise ValueError("%s does not hold 64 hex digits" % path)
    return key


def load_owner_key(path):
    with open(path, "rb") as stream:
        key = serialization.load_pem_public_key(stream.read())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("%s is not an Ed25519 public key" % path)
    return key


def _need(condition, message, word="malformed"):
    if not condition:
        raise Refused(word, message)


def _zero(data, what):
    _need(not any(data), "%s is not zero" % what)


def _utf8_ok(raw):
    """Strict UTF-8: Python's decoder refuses long forms, surrogates and > U+10FFFF."""
    try:
        raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return False
    return True


class Seal:
    """A seal that has passed the parse stage: well-formed, nothing authenticated yet."""

    def __init__(self, raw):
        size = len(raw)
        _need(size >= MIN_SEAL_BYTES, "the seal is shorter than the shortest seal")
        _need(size <= MAX_SEAL_BYTES, "the seal is longer than the longest seal")
        self._parse_head(raw)
        self._parse_lengths(raw, size)
        self._parse_name(raw)
        self._parse_signature(raw)
        _zero(raw[0x282:0x2A0], "the reserved part before the slot MAC")
        self._parse_slots(raw)
        _zero(raw[SLOTS_AT + SLOT_BYTES * self.slot_count : self.tables_at], "the padding")
        self.core = bytes(raw[:CORE_BYTES])
        self.slot_mac = bytes(raw[0x2A0:0x2C0])
        self.slots_raw = bytes(raw[SLOTS_AT : SLOTS_AT + SLOT_BYTES * self.slot_count])
        tags_end = self.tables_at + TAG_BYTES * self.count
        self.tags = bytes(raw[self.tables_at : tags_end])
        self.entries = bytes(raw[tags_end:])

    def _parse_head(self, raw):
        _need(raw[0:8] == MAGIC, "the magic is wrong")
        version, suite, flags = struct.unpack_from("<HHI", raw, 8)
        _need(version == VERSION, "version %d" % version, "unsupported")
        _need(suite == SUITE, "suite %d" % suite, "unsupported")
        _need(flags == 0, "critical flags %#x" % flags, "unsupported")
        self.file_id = bytes(raw[0x10:0x30])
        self.sha256 = bytes(raw[0x40:0x60])
        self.sha384 = bytes(raw[0x60:0x90])
        self.verity = bytes(raw[0x90:0xB0])
        self.table_sha256 = bytes(raw[0xB0:0xD0])
        self.commitment = bytes(raw[0xD0:0xF0])

    def _parse_lengths(self, raw, size):
        self.length, self.count = struct.unpack_from("<QQ", raw, 0x30)
        _need(self.length <= MAX_PLAINTEXT_BYTES, "the plaintext is longer than 16 TiB")
        _need(self.count == chunk_count(self.length), "chunk count and length disagree")
        (self.name_length,) = struct.unpack_from("<H", raw, 0xF0)
        _need(1 <= self.name_length <= MAX_NAME_BYTES, "the name's length is out of range")
        (self.slot_count,) = struct.unpack_from("<H", raw, 0x280)
        _need(1 <= self.slot_count <= MAX_SLOTS, "the slot count is out of range")
        self.tables_at = table_offset(self.slot_count)
        _need(size == seal_length(self.length, self.slot_count), "the seal's size is wrong")

    def _parse_name(self, raw):
        field = bytes(raw[0xF2:0x1F1])
        name, fill = field[: self.name_length], field[self.name_length :]
        _zero(fill, "the fill after the name")
        _zero(raw[0x1F1:0x200], "the reserved end of the core")
        _need(b"\0" not in name and b"/" not in name, "the name holds NUL or a slash")
        _need(name not in (b".", b".."), "the name is . or ..")
        _need(_utf8_ok(name), "the name is not UTF-8")
        self.name = name.decode("utf-8")

    def _parse_signature(self, raw):
        (self.sig_alg,) = struct.unpack_from("<H", raw, 0x200)
        self.signer_id = bytes(raw[0x202:0x222])
        self.signature = bytes(raw[0x222:0x262])
        _need(self.sig_alg in (SIG_NONE, SIG_ED25519), "signature algorithm", "unsupported")
        if self.sig_alg == SIG_NONE:
            _zero(self.signer_id, "the signer id of an unsigned seal")
            _zero(self.signature, "the signature of an unsigned seal")
        _zero(raw[0x262:0x280], "the reserved end of the signature block")

    def _parse_slots(self, raw):
        self.slots = []
        for number in range(self.slot_count):
            at = SLOTS_AT + SLOT_BYTES * number
            kind, size = struct.unpack_from("<HH", raw, at)
            _need(kind != 0, "slot %d has type 0" % number)
            _need(size <= SLOT_BODY_MAX, "slot %d is too long" % number)
            body = bytes(raw[at + 4 : at + 4 + size])
            _zero(raw[at + 4 + size : at + SLOT_BYTES], "the fill of slot %d" % number)
            if kind == SLOT_KMS:
                parse_kms_body(body)
            if kind == SLOT_KEYFILE:
                _need(size == KEYFILE_BODY_BYTES, "slot %d: key file body size" % number)
            self.slots.append(Slot(kind, body))


def parse_kms_body(body):
    """Returns (ARN, CiphertextBlob); the two fields fill the body exactly."""
    _need(len(body) >= 4, "the KMS body is too short")
    (arn_len,) = struct.unpack_from("<H", body, 0)
    _need(1 <= arn_len <= KMS_ARN_MAX, "the key ARN's length is out of range")
    _need(len(body) >= 2 + arn_len + 2, "the key ARN overruns the body")
    arn = body[2 : 2 + arn_len]
    _need(all(0x21 <= c <= 0x7E for c in arn), "the key ARN is not printable ASCII")
    (blob_len,) = struct.unpack_from("<H", body, 2 + arn_len)
    _need(1 <= blob_len <= KMS_BLOB_MAX, "the blob's length is out of range")
    _need(len(body) == 2 + arn_len + 2 + blob_len, "the KMS body has the wrong size")
    return arn.decode("ascii"), body[4 + arn_len :]


def check_signature(seal, owner_keys):
    """Against the pinned owner keys; with none pinned there is nothing to check."""
    if not owner_keys:
        return
    _need(seal.sig_alg != SIG_NONE, "the seal is not signed", "unsigned")
    by_id = {signer_id(key): key for key in owner_keys}
    key = by_id.get(seal.signer_id)
    _need(key is not None, "signer %s is not pinned" % seal.signer_id.hex(), "unknown-signer")
    try:
        key.verify(seal.signature, signature_message(seal.core))
    except InvalidSignature:
        raise Refused("bad-signature", "the owner's signature does not verify") from None


def _unwrap_keyfile(body, kek, file_id):
    """The data key of a key file slot, or None."""
    nonce, sealed = body[16:28], body[28:76]
    try:
        return AESGCM(kek).decrypt(nonce, sealed, file_id)
    except InvalidTag:
        return None


def _candidates(seal, kek):
    for slot in seal.slots:
        if slot.type == SLOT_KEYFILE and hmac.compare_digest(slot.body[:16], kek_id(kek)):
            yield _unwrap_keyfile(slot.body, kek, seal.file_id)


def unlock(seal, kek=None, data_key=None):
    """Data key, commitment, slot MAC, table hash, fs-verity root. Returns the keys."""
    candidates = [data_key] if data_key is not None else list(_candidates(seal, kek))
    _need(candidates, "no slot is for this key", "no-recipient")
    keys = None
    for candidate in candidates:
        if candidate is None:
            continue
        derived = derive_keys(candidate, seal.core)
        if hmac.compare_digest(derived.commitment, seal.commitment):
            keys = derived
            break
    _need(keys is not None, "the key does not belong to this seal", "wrong-key")
    mac = slot_mac(keys.slot_mac, seal.core, seal.slot_count, seal.slots_raw)
    _need(hmac.compare_digest(mac, seal.slot_mac), "core or slots were changed", "bad-slots")
    table_hash = hashlib.sha256(seal.tags + seal.entries).digest()
    _need(table_hash == seal.table_sha256, "the tables were changed", "bad-tables")
    digest = verity.digest_of_entries(seal.entries, seal.length)
    _need(digest == seal.verity, "the hash table does not lead to the digest", "bad-verity")
    return keys


def open_chunk(seal, keys, index, ciphertext):
    """One chunk: its tag, then its hash, then the plaintext."""
    tag = seal.tags[TAG_BYTES * index : TAG_BYTES * (index + 1)]
    aad = chunk_aad(index, index == seal.count - 1)
    try:
        plain = AESGCM(keys.payload).decrypt(
            chunk_nonce(keys.base_nonce, index), ciphertext + tag, aad
        )
    except InvalidTag:
        raise Refused("bad-chunk", "chunk %d: the tag does not verify" % index) from None
    entry = seal.entries[ENTRY_BYTES * index : ENTRY_BYTES * (index + 1)]
    if verity.chunk_entry(plain, seal.length) != entry:
        raise Refused("bad-chunk-hash", "chunk %d: not the plaintext of the hash table" % index)
    return plain


def read_payload(seal, keys, payload):
    """Yields the plaintext, chunk by chunk; then compares the whole-file digests."""
    size = payload.seek(0, os.SEEK_END)
    _need(
        size == seal.length, "payload %d bytes, seal says %d" % (size, seal.length),
        "bad-payload-size",
    )
    payload.seek(0)
    sha256, sha384 = hashlib.sha256(), hashlib.sha384()
    for index in range(seal.count):
        want = min(CHUNK_BYTES, seal.length - index * CHUNK_BYTES)
        ciphertext = payload.read(want)
        _need(len(ciphertext) == want, "the payload became shorter", "bad-payload-size")
        plain = open_chunk(seal, keys, index, ciphertext)
        sha256.update(plain)
        sha384.update(plain)
        yield plain
    _need(sha256.digest() == seal.sha256, "SHA-256 of the plaintext differs", "bad-digest")
    _need(sha384.digest() == seal.sha384, "SHA-384 of the plaintext differs", "bad-digest")


def open_seal(raw, kek=None, data_key=None, owner_keys=(), name=None):
    """Everything before the first chunk. Returns (seal, keys)."""
    seal = Seal(raw)
    if name is not None:
        _need(seal.name == name, "the seal is of %r" % seal.name, "wrong-name")
    check_signature(seal, owner_keys)
    return seal, unlock(seal, kek, data_key)


def load_seal_file(path):
    """The bytes of a seal, never more than the longest seal holds."""
    with open(path, "rb") as stream:
        return stream.read(MAX_SEAL_BYTES + 1)
