"""CiphertextForRecipient: CMS EnvelopedData in the BER that KMS emits, written by hand.

RSA-OAEP (SHA-256, MGF1 with SHA-256) wraps a fresh AES-256 key, AES-256-CBC with PKCS#7 padding
carries the content. Lengths are indefinite where KMS has them indefinite. Three forms of the
encrypted content: "a" (constructed [0], one OCTET STRING), "split" (the same, several), "b"
(primitive [0]).
"""
import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

FORMS = ("a", "b", "split")
AES_BLOCK_BYTES = 16
END = b"\x00\x00"
OID_ENVELOPED_DATA = bytes.fromhex("06092A864886F70D010703")
OID_DATA = bytes.fromhex("06092A864886F70D010701")
OID_OAEP = bytes.fromhex("06092A864886F70D010107")
OID_MGF1 = bytes.fromhex("06092A864886F70D010108")
OID_AES256_CBC = bytes.fromhex("060960864801650304012A")
ALGORITHM_SHA256 = bytes.fromhex("300D06096086480165030402010500")
VERSION_2 = b"\x02\x01\x02"


def tlv(tag, content):
    """Definite length, shortest form."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(encoded)]) + encoded + content


def indefinite(tag, content):
    return bytes([tag, 0x80]) + content + END


def oaep():
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def _split(data):
    """Uneven pieces, one of them empty: a reader has to join them all."""
    cuts = [0, 5, 5, min(21, len(data)), len(data)]
    return [data[start:end] for start, end in zip(cuts, cuts[1:])]


def _encrypted_content(ciphertext, form):
    if form == "b":
        return tlv(0x80, ciphertext)
    pieces = _split(ciphertext) if form == "split" else [ciphertext]
    return indefinite(0xA0, b"".join(tlv(0x04, piece) for piece in pieces))


def _recipient(encrypted_key):
    parameters = tlv(0x30, tlv(0xA0, ALGORITHM_SHA256)
                     + tlv(0xA1, tlv(0x30, OID_MGF1 + ALGORITHM_SHA256)))
    return tlv(0x30, VERSION_2 + tlv(0x80, os.urandom(32)) + tlv(0x30, OID_OAEP + parameters)
               + tlv(0x04, encrypted_key))


def envelope(public_key, plaintext, form="a"):
    """The DER/BER bytes for one RSA recipient."""
    if form not in FORMS:
        raise ValueError(f"unknown form {form}")
    content_key, iv = os.urandom(32), os.urandom(AES_BLOCK_BYTES)
    fill = AES_BLOCK_BYTES - len(plaintext) % AES_BLOCK_BYTES
    encryptor = Cipher(algorithms.AES(content_key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(plaintext + bytes([fill]) * fill) + encryptor.finalize()
    content = indefinite(0x30, OID_DATA + tlv(0x30, OID_AES256_CBC + tlv(0x04, iv))
                         + _encrypted_content(ciphertext, form))
    recipients = tlv(0x31, _recipient(public_key.encrypt(content_key, oaep())))
    enveloped = indefinite(0x30, VERSION_2 + recipients + content)
    return indefinite(0x30, OID_ENVELOPED_DATA + indefinite(0xA0, enveloped))
