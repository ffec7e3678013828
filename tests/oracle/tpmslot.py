"""Slots for TPMs (crypto/FORMAT.md section 4.4): a second parser, writer and importer.

Written from that section and from the TPM 2.0 Library specification, Part 1 ("KDFa", "KDFe", "Names",
"Duplication") and Part 3 (policy commands). It does in Python what a TPM does at an import, so that a slot can
be opened with a storage key whose private half a test holds.
"""

import base64
import hashlib
import hmac
import struct
from collections import namedtuple

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BANKS = {0x000B: "sha256", 0x000C: "sha384"}
BANK_IDS = {name: number for number, name in BANKS.items()}
CC_POLICY_AUTHORIZE, CC_POLICY_PCR = 0x0000016A, 0x0000017F
POINT_BYTES, RSA_SIZES = 64, (256, 384)
SENSITIVE_BYTES = 74
LABEL = b"DUPLICATE\0"
HEAD = struct.Struct("<32sHIHH")
P256 = ec.SECP256R1()

TpmSlot = namedtuple("TpmSlot", "parent bank values policy_key unique seed integrity sensitive")


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def sized(data):
    return struct.pack(">H", len(data)) + data


# Bytes.


def parse(body):
    """A TpmSlot (values: {PCR: bytes}); ValueError for anything that is not in its one form."""
    if len(body) < HEAD.size:
        raise ValueError("cut short")
    parent, bank, selection, key_size, seed_size = HEAD.unpack_from(body)
    if selection >> 24:
        raise ValueError("selection %#x" % selection)
    if bank not in (0, *BANKS) or (bank == 0) != (selection == 0):
        raise ValueError("bank %#x for selection %#x" % (bank, selection))
    if key_size not in (0, *RSA_SIZES) or seed_size not in (POINT_BYTES, *RSA_SIZES):
        raise ValueError("a policy key of %d bytes, a seed of %d" % (key_size, seed_size))
    if selection == 0 and key_size == 0:
        raise ValueError("no policy")
    pcrs = [number for number in range(24) if selection >> number & 1]
    width = hashlib.new(BANKS[bank]).digest_size if bank else 0
    sizes = [width] * len(pcrs) + [key_size, 32, seed_size, 32, SENSITIVE_BYTES]
    if len(body) != HEAD.size + sum(sizes):
        raise ValueError("%d bytes" % len(body))
    pieces, at = [], HEAD.size
    for size in sizes:
        pieces.append(body[at : at + size])
        at += size
    values, rest = dict(zip(pcrs, pieces)), pieces[len(pcrs) :]
    if key_size and (not rest[0][0] & 0x80 or not rest[0][-1] & 1):
        raise ValueError("no modulus")
    return TpmSlot(parent, bank, values, *rest)


def body(slot):
    selection = sum(1 << number for number in slot.values)
    return (HEAD.pack(slot.parent, slot.bank, selection, len(slot.policy_key), len(slot.seed))
            + b"".join(slot.values[number] for number in sorted(slot.values)) + slot.policy_key
            + slot.unique + slot.seed + slot.integrity + slot.sensitive)


# Names and policies.


def pcr_selection(bank, pcrs):
    """TPML_PCR_SELECTION of one bank."""
    bits = sum(1 << number for number in pcrs)
    return struct.pack(">IHB", 1, bank, 3) + bits.to_bytes(3, "little")


def policy_pcr(before, bank, values):
    joined = b"".join(values[number] for number in sorted(values))
    return sha256(before, struct.pack(">I", CC_POLICY_PCR), pcr_selection(bank, values),
                  sha256(joined))


def policy_key_name(modulus):
    public = bytes.fromhex("0001000b0006004000000010" "0010") + struct.pack(
        ">HI", 8 * len(modulus), 0) + sized(modulus)
    return b"\x00\x0b" + sha256(public)


def policy(slot):
    digest = bytes(32)
    if slot.policy_key:
        digest = sha256(sha256(digest, struct.pack(">I", CC_POLICY_AUTHORIZE),
                               policy_key_name(slot.policy_key)))
    if slot.values:
        digest = policy_pcr(digest, slot.bank, slot.values)
    return digest


def object_name(slot):
    public = (bytes.fromhex("0008000b00000480") + sized(policy(slot)) + bytes.fromhex("0010")
              + sized(slot.unique))
    return b"\x00\x0b" + sha256(public)


# Storage keys.


def storage_public(public_key, aes_bits=128):
    """TPMT_PUBLIC of the usual storage key with this public half."""
    start = struct.pack(">HHIH", 0x0023 if isinstance(public_key, ec.EllipticCurvePublicKey)
                        else 0x0001, 0x000B, 0x00030472, 0)
    start += struct.pack(">HHH", 0x0006, aes_bits, 0x0043)
    numbers = public_key.public_numbers()
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return start + bytes.fromhex("001000030010") + sized(numbers.x.to_bytes(32, "big")) + sized(
            numbers.y.to_bytes(32, "big"))
    size = public_key.key_size
    return start + struct.pack(">HHI", 0x0010, size, 0) + sized(
        numbers.n.to_bytes(size // 8, "big"))


def kdf_a(key, label, context, bits):
    message = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", bits)
    return hmac.digest(key, message, "sha256")[: bits // 8]


def _shared_seed(secret, ephemeral, storage):
    """KDFe of Part 1; ephemeral and storage: x coordinates."""
    return sha256(struct.pack(">I", 1), secret, LABEL, ephemeral, storage)


def _x(public_key):
    return public_key.public_numbers().x.to_bytes(32, "big")


def _point(public_key):
    return _x(public_key) + public_key.public_numbers().y.to_bytes(32, "big")


def _cipher(seed, name, aes_bits):
    key = kdf_a(seed, b"STORAGE", name, aes_bits)
    return Cipher(algorithms.AES(key), modes.CFB(bytes(16)))


def _integrity(seed, sensitive, name):
    key = kdf_a(seed, b"INTEGRITY", b"", 256)
    return hmac.digest(key, sensitive + name, "sha256")


# Making and opening.


def make(storage, data_key, object_seed, ephemeral, *, bank=0, values=None, policy_key=b"",
         aes_bits=128):
    """A TpmSlot for a P-256 storage key (public half), with a given ephemeral private key."""
    seed = _shared_seed(ephemeral.exchange(ec.ECDH(), storage), _x(ephemeral.public_key()),
                        _x(storage))
    slot = TpmSlot(sha256(storage_public(storage, aes_bits)), bank, values or {}, policy_key,
                   sha256(object_seed, data_key), _point(ephemeral.public_key()), b"", b"")
    plain = sized(struct.pack(">HH", 8, 0) + sized(object_seed) + sized(data_key))
    name = object_name(slot)
    sensitive = _cipher(seed, name, aes_bits).encryptor().update(plain)
    return slot._replace(sensitive=sensitive, integrity=_integrity(seed, sensitive, name))


def open_slot(slot, storage, aes_bits=128):
    """The data key, with the storage key's private half; ValueError as a TPM would refuse."""
    if slot.parent != sha256(storage_public(storage.public_key(), aes_bits)):
        raise ValueError("another storage key")
    if len(slot.seed) == POINT_BYTES:
        x, y = (int.from_bytes(slot.seed[at : at + 32], "big") for at in (0, 32))
        point = ec.EllipticCurvePublicNumbers(x, y, P256).public_key()
        seed = _shared_seed(storage.exchange(ec.ECDH(), point), slot.seed[:32],
                            _x(storage.public_key()))
    else:
        seed = storage.decrypt(slot.seed, padding.OAEP(padding.MGF1(hashes.SHA256()),
                                                       hashes.SHA256(), LABEL))
    name = object_name(slot)
    if not hmac.compare_digest(slot.integrity, _integrity(seed, slot.sensitive, name)):
        raise ValueError("the integrity of the import")
    plain = _cipher(seed, name, aes_bits).decryptor().update(slot.sensitive)
    if plain[:8] != bytes.fromhex("0048000800000020") or plain[40:42] != b"\x00\x20":
        raise ValueError("the sensitive area")
    object_seed, data_key = plain[8:40], plain[42:]
    if slot.unique != sha256(object_seed, data_key):
        raise ValueError("the unique field")
    return data_key


# Signed policies, as systemd-measure writes them.


def signed_policy(private_key, bank, values):
    """One entry of tpm2-pcr-signature.json; values: {PCR: bytes}, bank by name."""
    pol = policy_pcr(bytes(32), BANK_IDS[bank], values)
    public = private_key.public_key().public_bytes(serialization.Encoding.DER,
                                                   serialization.PublicFormat.PKCS1)
    signature = private_key.sign(pol, padding.PKCS1v15(), hashes.SHA256())
    return {"pcrs": sorted(values), "pkfp": hashlib.sha256(public).hexdigest(), "pol": pol.hex(),
            "sig": base64.b64encode(signature).decode()}
