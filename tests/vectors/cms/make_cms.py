#!/usr/bin/python3
"""Writes the envelopes of this folder that are not real: good ones and one for each mistake.

The good forms come from the KMS emulator's hand-made BER; each bad one differs from form A in one
place. Keys are made once and kept, so that a new run changes only what random numbers change.
"""
import os
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "emu"))
import cms_ber  # noqa: E402

DATA_KEY = bytes(range(32))
SHA1 = bytes.fromhex("300906052B0E03021A0500")


def key(name):
    path = os.path.join(HERE, name)
    if os.path.exists(path):
        with open(path, "rb") as stored:
            return serialization.load_pem_private_key(stored.read(), None)
    made = rsa.generate_private_key(65537, 2048)
    with open(path, "wb") as out:
        out.write(made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption()))
    return made


def write(name, data):
    with open(os.path.join(HERE, name + ".ber"), "wb") as out:
        out.write(data)


def envelope(public, plaintext=DATA_KEY, form="a", recipient=None, count=1, version=None):
    """As cms_ber.envelope(), with a recipient of choice."""
    content_key, iv = os.urandom(32), os.urandom(16)
    fill = 16 - len(plaintext) % 16
    encryptor = cms_ber.Cipher(cms_ber.algorithms.AES(content_key),
                               cms_ber.modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(plaintext + bytes([fill]) * fill) + encryptor.finalize()
    recipient = recipient or oaep_recipient(hashes.SHA256(), hashes.SHA256())
    info = recipient(public, content_key)
    content = cms_ber.indefinite(0x30, cms_ber.OID_DATA + cms_ber.tlv(
        0x30, cms_ber.OID_AES256_CBC + cms_ber.tlv(0x04, iv))
        + cms_ber._encrypted_content(ciphertext, form))
    enveloped = cms_ber.indefinite(0x30, (version or cms_ber.VERSION_2)
                                   + cms_ber.tlv(0x31, info * count) + content)
    return cms_ber.indefinite(0x30, cms_ber.OID_ENVELOPED_DATA
                              + cms_ber.indefinite(0xA0, enveloped))


def ktri(algorithm, wrapped):
    return cms_ber.tlv(0x30, cms_ber.VERSION_2 + cms_ber.tlv(0x80, os.urandom(32)) + algorithm
                       + cms_ber.tlv(0x04, wrapped))


def oaep_recipient(digest, mgf_digest):
    names = {"sha1": SHA1, "sha256": cms_ber.ALGORITHM_SHA256}

    def build(public, content_key):
        wrapped = public.encrypt(content_key, padding.OAEP(padding.MGF1(mgf_digest), digest, None))
        parameters = cms_ber.tlv(0x30, cms_ber.tlv(0xA0, names[digest.name])
                                 + cms_ber.tlv(0xA1, cms_ber.tlv(
                                     0x30, cms_ber.OID_MGF1 + names[mgf_digest.name])))
        return ktri(cms_ber.tlv(0x30, cms_ber.OID_OAEP + parameters), wrapped)
    return build


def pkcs1_recipient(public, content_key):
    algorithm = cms_ber.tlv(0x30, bytes.fromhex("06092A864886F70D0101010500"))
    return ktri(algorithm, public.encrypt(content_key, padding.PKCS1v15()))


def password_recipient(_public, _content_key):
    """A PasswordRecipientInfo: [3], version 0, an algorithm, a key."""
    algorithm = cms_ber.tlv(0x30, bytes.fromhex("06092A864886F70D01050C"))
    return cms_ber.tlv(0xA3, b"\x02\x01\x00" + algorithm + cms_ber.tlv(0x04, os.urandom(40)))


def main():
    ours, other = key("key.pem"), key("other-key.pem")
    public = ours.public_key()
    for form in cms_ber.FORMS:
        write("form-" + form, cms_ber.envelope(public, DATA_KEY, form))
    good = envelope(public)
    write("bad-trailing", good + b"\x00")
    write("bad-truncated", good[:-2])
    write("bad-other-key", envelope(other.public_key()))
    write("bad-16-bytes", envelope(public, DATA_KEY[:16], "b"))
    write("bad-33-bytes", envelope(public, DATA_KEY + b"!"))
    write("bad-48-bytes", envelope(public, DATA_KEY + DATA_KEY[:16]))
    write("bad-empty", envelope(public, b""))
    write("bad-two-recipients", envelope(public, count=2))
    write("bad-no-recipient", envelope(public, count=0))
    write("bad-pkcs1", envelope(public, recipient=pkcs1_recipient))
    write("bad-oaep-sha1", envelope(public, recipient=oaep_recipient(hashes.SHA1(),
                                                                     hashes.SHA1())))
    write("bad-mgf-sha1", envelope(public, recipient=oaep_recipient(hashes.SHA256(),
                                                                    hashes.SHA1())))
    write("bad-password", envelope(public, recipient=password_recipient))
    write("bad-data", cms_ber.tlv(0x30, cms_ber.OID_DATA
                                  + cms_ber.tlv(0xA0, cms_ber.tlv(0x04, DATA_KEY))))
    spoilt = bytearray(good)
    at = good.index(cms_ber.OID_AES256_CBC) + len(cms_ber.OID_AES256_CBC) + 18 + 4
    spoilt[at + 47] ^= 1
    write("bad-padding", bytes(spoilt))


if __name__ == "__main__":
    main()
