"""The second reader of the sealed format, version 2.

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
import re
import struct
import unicodedata
from collections import namedtuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import tpmslot
import verity

# Section 2 and the tables of section 3.
MAGIC, VERSION, SUITE = b"sealedfs", 2, 1
CHUNK_BYTES = 524288
MAX_PLAINTEXT_BYTES = 2**44
MAX_TIME = 253402300799
MAX_PATH_BYTES, MAX_COMPONENT_BYTES = 1024, 255
MAX_FACTS_BYTES, MAX_FACT_KEY_BYTES = 640, 48
CORE_BYTES, SIGNATURE_BLOCK_BYTES, SLOT_HEADER_BYTES = 2048, 128, 64
SIGNATURE_AT = CORE_BYTES
SLOT_HEADER_AT = SIGNATURE_AT + SIGNATURE_BLOCK_BYTES
SLOTS_AT = SLOT_HEADER_AT + SLOT_HEADER_BYTES
SLOT_BYTES, SLOT_BODY_MAX, MAX_SLOTS = 1024, 1020, 16
TABLE_ALIGN = 4096
TAG_BYTES, ENTRY_BYTES = 16, 32
SIG_NONE, SIG_ED25519 = 0, 1
SLOT_KMS, SLOT_TPM2, SLOT_KEYFILE, SLOT_SET = 1, 2, 3, 4
KMS_ARN_MAX, KMS_BLOB_MAX = 512, 400
KEYFILE_BODY_BYTES, SET_BODY_BYTES = 16 + 12 + 32 + 16, 32 + 12 + 32 + 16

# Every string that goes into a hash, a MAC or a signature.
SIGN_CONTEXT = b"sealedfs core v2\0"
KDF_CONTEXT = b"sealedfs v2"
KEK_ID_CONTEXT = b"sealedfs key-encryption key\0"
SET_CONTEXT = b"sealedfs set member"
KEK_PREFIX = b"sealedfs-kek-v1:"

# The core of section 3.1: (name, struct code), in order and without gaps.
CORE_FIELDS = (
    ("magic", "8s"), ("version", "H"), ("suite", "H"), ("flags", "I"), ("file_id", "32s"),
    ("length", "Q"), ("count", "Q"), ("sha256", "32s"), ("sha384", "48s"), ("verity", "32s"),
    ("table_sha256", "32s"), ("commitment", "32s"), ("sealed_at", "Q"), ("path_length", "H"),
    ("facts_length", "H"), ("reserved_1", "4s"), ("path_field", "1024s"), ("facts_field", "640s"),
    ("reserved_2", "128s"),
)  # fmt: skip
CORE = struct.Struct("<" + "".join(code for _, code in CORE_FIELDS))
SIGNATURE_BLOCK = struct.Struct("<H32s64s30s")
SLOT_HEADER = struct.Struct("<H30s32s")
assert CORE.size == CORE_BYTES
assert SIGNATURE_BLOCK.size == SIGNATURE_BLOCK_BYTES
assert SLOT_HEADER.size == SLOT_HEADER_BYTES

FACT_LINE = re.compile(rb"([a-z0-9._-]{1,%d})=([^\n]+)\n" % MAX_FACT_KEY_BYTES)

# class -> (errno name, stage)
CLASSES = {
    "malformed": ("EPROTO", "parse"),
    "unsupported": ("EPROTO", "parse"),
    "wrong-name": ("EBADMSG", "name"),
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


# Sizes (sections 2 and 3).


def table_offset(slot_count):
    return -(-(SLOTS_AT + SLOT_BYTES * slot_count) // TABLE_ALIGN) * TABLE_ALIGN


def chunk_count(length):
    return -(-length // CHUNK_BYTES)


def seal_length(length, slot_count):
    return table_offset(slot_count) + (TAG_BYTES + ENTRY_BYTES) * chunk_count(length)


MIN_SEAL_BYTES = seal_length(0, 1)
MAX_SEAL_BYTES = seal_length(MAX_PLAINTEXT_BYTES, MAX_SLOTS)


# Keys, nonces and messages (sections 4 to 6).


def _hkdf(salt, ikm, info, size):
    return HKDF(algorithm=hashes.SHA256(), length=size, salt=salt, info=info).derive(ikm)


def derive_keys(data_key, core):
    """The key schedule: 108 bytes of HKDF output, cut in four."""
    core = bytes(core)
    okm = _hkdf(core[0x10:0x30], data_key, KDF_CONTEXT + core[0x08:0x40], 108)
    return Keys(okm[:32], okm[32:44], okm[44:76], okm[76:])


def set_slot_key(member_key, file_id):
    return _hkdf(file_id, member_key, SET_CONTEXT, 32)


def chunk_nonce(base_nonce, index):
    return (int.from_bytes(base_nonce, "big") ^ index).to_bytes(12, "big")


def chunk_aad(index, is_last):
    return struct.pack("<Q?", index, is_last)


def signature_message(core):
    return SIGN_CONTEXT + hashlib.sha384(core).digest()


def slot_mac(mac_key, core, count, slots):
    return hmac.digest(mac_key, bytes(core) + struct.pack("<H", count) + slots, "sha256")


def kek_id(kek):
    return hashlib.sha256(KEK_ID_CONTEXT + kek).digest()[:16]


def signer_id(public_key):
    spki = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()


# Names and paths (section 1).


def payload_name(name, file_id):
    return "%s.%s.sealed" % (name, file_id[:8].hex())


def paths_agree(sealed, found):
    """The path rule: the shorter one's components are the last ones of the longer one."""
    ours, theirs = sealed.split("/"), found.split("/")
    depth = min(len(ours), len(theirs))
    return ours[-depth:] == theirs[-depth:]


def text_problem(raw):
    """What is wrong with bytes that must be UTF-8 without control characters, or None."""
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return "not UTF-8"
    if any(unicodedata.category(character) == "Cc" for character in text):
        return "a control character"
    return None


def path_problem(raw):
    if not 1 <= len(raw) <= MAX_PATH_BYTES:
        return "the length is out of range"
    for component in raw.split(b"/"):
        if not 1 <= len(component) <= MAX_COMPONENT_BYTES:
            return "a component's length is out of range"
        if component in (b".", b"..", b".sealedfs"):
            return "a component is . or .."
    return text_problem(raw)


# Facts (section 3.2).


def parse_facts(raw):
    """Facts as a dictionary; raises ValueError where they are not in their one form."""
    facts, last, at = {}, b"", 0
    while at < len(raw):
        line = FACT_LINE.match(raw, at)
        if not line:
            raise ValueError("a line that is no fact at byte %d" % at)
        key, value = line.groups()
        if key <= last:
            raise ValueError("the key %r is not after %r" % (key, last))
        if text_problem(value):
            raise ValueError("the value of %r: %s" % (key, text_problem(value)))
        facts[key.decode()] = value.decode()
        last, at = key, line.end()
    return facts


def make_facts(facts):
    return b"".join(b"%s=%s\n" % (k.encode(), facts[k].encode()) for k in sorted(facts))


# Files with keys.


def load_kek(path):
    """A key file: one line, `sealedfs-kek-v1:` and 64 lower-case hex digits."""
    with open(path, "rb") as stream:
        text = stream.read(4096)
    found = re.fullmatch(re.escape(KEK_PREFIX) + rb"([0-9a-f]{64})\n", text)
    if not found:
        raise ValueError("%s is not a sealedfs key file" % path)
    return bytes.fromhex(found[1].decode())


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


# The reader (section 8).


def _need(condition, message, word="malformed"):
    if not condition:
        raise Refused(word, message)


def _zero(data, what):
    _need(data.count(0) == len(data), "%s is not zero" % what)


class Seal:
    """Steps 1 to 5: a seal that is well-formed, nothing of it authenticated yet.

    Attributes are the core's fields, and `path`, `facts`, `sig_alg`, `signer_id`, `signature`,
    `slot_count`, `slots`, `slot_mac`. `tags` and `entries` are not looked at before step 10.
    """

    def __init__(self, raw):
        raw = bytes(raw)
        _need(len(raw) >= MIN_SEAL_BYTES, "the seal is shorter than the shortest seal")
        _need(len(raw) <= MAX_SEAL_BYTES, "the seal is longer than the longest seal")
        self.core = raw[:CORE_BYTES]
        for (field, _), value in zip(CORE_FIELDS, CORE.unpack(self.core)):
            setattr(self, field, value)
        self._check_identity()
        self.slot_count, slots_reserved, self.slot_mac = SLOT_HEADER.unpack_from(
            raw, SLOT_HEADER_AT
        )
        self._check_numbers(len(raw))
        self._check_texts()
        self._read_signature(raw)
        _zero(slots_reserved, "the reserved part of the slot header")
        slots_end, tables_at = SLOTS_AT + SLOT_BYTES * self.slot_count, self.tables_at
        self.slots_raw = raw[SLOTS_AT:slots_end]
        self.slots = [self._slot(number) for number in range(self.slot_count)]
        _zero(raw[slots_end:tables_at], "the padding")
        tags_end = tables_at + TAG_BYTES * self.count
        self.tags, self.entries = raw[tables_at:tags_end], raw[tags_end:]

    def _check_identity(self):
        _need(self.magic == MAGIC, "the magic is wrong")
        _need(self.version == VERSION, "version %d" % self.version, "unsupported")
        _need(self.suite == SUITE, "suite %d" % self.suite, "unsupported")
        _need(self.flags == 0, "critical flags %#x" % self.flags, "unsupported")

    def _check_numbers(self, size):
        _need(self.length <= MAX_PLAINTEXT_BYTES, "the plaintext is longer than 16 TiB")
        _need(self.count == chunk_count(self.length), "chunk count and length disagree")
        _need(1 <= self.slot_count <= MAX_SLOTS, "the slot count is out of range")
        _need(self.sealed_at <= MAX_TIME, "the time of sealing is out of range")
        self.tables_at = table_offset(self.slot_count)
        _need(size == seal_length(self.length, self.slot_count), "the seal's size is wrong")

    def _check_texts(self):
        _need(1 <= self.path_length <= MAX_PATH_BYTES, "the path's length is out of range")
        _need(self.facts_length <= MAX_FACTS_BYTES, "the facts' length is out of range")
        path, facts = self.path_field[: self.path_length], self.facts_field[: self.facts_length]
        _zero(self.reserved_1, "the reserved part before the path")
        _zero(self.path_field[self.path_length :], "the fill after the path")
        _zero(self.facts_field[self.facts_length :], "the fill after the facts")
        _zero(self.reserved_2, "the reserved end of the core")
        problem = path_problem(path)
        _need(problem is None, "the path: %s" % problem)
        self.path = path.decode()
        try:
            self.facts = parse_facts(facts)
        except ValueError as problem:
            raise Refused("malformed", "the facts: %s" % problem) from None

    def _read_signature(self, raw):
        self.sig_alg, self.signer_id, self.signature, reserved = SIGNATURE_BLOCK.unpack_from(
            raw, SIGNATURE_AT
        )
        _need(self.sig_alg in (SIG_NONE, SIG_ED25519), "signature algorithm", "unsupported")
        if self.sig_alg == SIG_NONE:
            _zero(self.signer_id, "the signer id of an unsigned seal")
            _zero(self.signature, "the signature of an unsigned seal")
        _zero(reserved, "the reserved end of the signature block")

    def _slot(self, number):
        raw = self.slots_raw[SLOT_BYTES * number : SLOT_BYTES * (number + 1)]
        kind, size = struct.unpack_from("<HH", raw)
        _need(kind != 0, "slot %d has type 0" % number)
        _need(size <= SLOT_BODY_MAX, "slot %d is too long" % number)
        body, fill = raw[4 : 4 + size], raw[4 + size :]
        _zero(fill, "the fill of slot %d" % number)
        if kind == SLOT_KMS:
            parse_kms_body(body)
        if kind == SLOT_TPM2:
            parse_tpm_body(body)
        exact = {SLOT_KEYFILE: KEYFILE_BODY_BYTES, SLOT_SET: SET_BODY_BYTES}.get(kind, size)
        _need(size == exact, "slot %d: a body of %d bytes, not %d" % (number, size, exact))
        return Slot(kind, body)


def parse_kms_body(body):
    """Returns (ARN, CiphertextBlob); the two fields fill the body exactly."""

    def counted(at, most, what):
        _need(len(body) >= at + 2, "the length of the %s is cut short" % what)
        (size,) = struct.unpack_from("<H", body, at)
        _need(1 <= size <= most, "the length of the %s is out of range" % what)
        _need(len(body) >= at + 2 + size, "the %s overruns the body" % what)
        return body[at + 2 : at + 2 + size], at + 2 + size

    arn, at = counted(0, KMS_ARN_MAX, "key ARN")
    _need(all(0x21 <= byte <= 0x7E for byte in arn), "the key ARN is not printable ASCII")
    blob, at = counted(at, KMS_BLOB_MAX, "CiphertextBlob")
    _need(at == len(body), "the KMS body is too long")
    return arn.decode("ascii"), blob


def parse_tpm_body(body):
    try:
        return tpmslot.parse(body)
    except ValueError as problem:
        raise Refused("malformed", "the slot for a TPM: %s" % problem) from None


def check_path(seal, found):
    _need(
        paths_agree(seal.path, found), "sealed as %r, found as %r" % (seal.path, found),
        "wrong-name",
    )


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


def unwrapped(seal, kek):
    """The data keys of the slots for this key file; None for each that does not unwrap."""
    for slot in seal.slots:
        if slot.type != SLOT_KEYFILE or not hmac.compare_digest(slot.body[:16], kek_id(kek)):
            continue
        try:
            yield AESGCM(kek).decrypt(slot.body[16:28], slot.body[28:], seal.file_id)
        except InvalidTag:
            yield None


def find_keys(seal, kek=None, data_key=None):
    """Step 8: the keys that fit the commitment."""
    candidates = [data_key] if data_key is not None else list(unwrapped(seal, kek))
    _need(candidates, "no slot is for this key", "no-recipient")
    for candidate in candidates:
        if candidate is not None:
            keys = derive_keys(candidate, seal.core)
            if hmac.compare_digest(keys.commitment, seal.commitment):
                return keys
    raise Refused("wrong-key", "the key does not belong to this seal")


def check_slots(seal, keys):
    """Step 9."""
    mac = slot_mac(keys.slot_mac, seal.core, seal.slot_count, seal.slots_raw)
    _need(hmac.compare_digest(mac, seal.slot_mac), "core or slots were changed", "bad-slots")


def check_tables(seal):
    """Steps 10 and 11."""
    table_hash = hashlib.sha256(seal.tags + seal.entries).digest()
    _need(table_hash == seal.table_sha256, "the tables were changed", "bad-tables")
    digest = verity.digest_of_entries(seal.entries, seal.length)
    _need(digest == seal.verity, "the hash table does not lead to the digest", "bad-verity")


def unlock(seal, kek=None, data_key=None):
    """Steps 8 to 11. Returns the keys."""
    keys = find_keys(seal, kek, data_key)
    check_slots(seal, keys)
    check_tables(seal)
    return keys


def open_chunk(seal, keys, index, ciphertext):
    """Step 14, one chunk: its tag, then its hash, then the plaintext."""
    tag = seal.tags[TAG_BYTES * index :][:TAG_BYTES]
    nonce = chunk_nonce(keys.base_nonce, index)
    aad = chunk_aad(index, index == seal.count - 1)
    try:
        plain = AESGCM(keys.payload).decrypt(nonce, ciphertext + tag, aad)
    except InvalidTag:
        raise Refused("bad-chunk", "chunk %d: the tag does not verify" % index) from None
    entry = seal.entries[ENTRY_BYTES * index :][:ENTRY_BYTES]
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


def open_seal(raw, kek=None, data_key=None, owner_keys=(), path=None):
    """Everything before the first chunk. path: the found path. Returns (seal, keys)."""
    seal = Seal(raw)
    if path is not None:
        check_path(seal, path)
    check_signature(seal, owner_keys)
    return seal, unlock(seal, kek, data_key)


def load_seal_file(path):
    """The bytes of a seal, never more than the longest seal holds."""
    with open(path, "rb") as stream:
        return stream.read(MAX_SEAL_BYTES + 1)
