"""Reads a directory through its set, with the second reader (tests/oracle/setformat.py): what a
holder of one key file gets, and nothing else."""

import hashlib
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import common
import sealedformat as sf
import setformat as st


def open_set(folder, key, owner=None):
    owners = [sf.load_owner_key(owner)] if owner else ()
    raw = common.read_bytes(os.path.join(folder, st.OBJECT))
    return st.open_set(raw, kek=sf.load_kek(key), owner_keys=owners)


def find_seal(folder, member):
    """crypto/FORMAT.md section 11.5."""
    path = member["path"].decode()
    for name in (path + ".seal", st.pending_name(path, member["file_id"])):
        where = os.path.join(folder, name)
        if os.path.exists(where):
            raw = common.read_bytes(where)
            if hashlib.sha384(raw[: sf.CORE_BYTES]).digest() == member["core_digest"]:
                return raw
    raise AssertionError(f"{path}: no seal that the set names in {sorted(os.listdir(folder))}")


def data_key(seal, set_id, member_key):
    for slot in seal.slots:
        if slot.type == sf.SLOT_SET and slot.body[:32] == set_id:
            key = AESGCM(sf.set_slot_key(member_key, seal.file_id))
            return key.decrypt(slot.body[32:44], slot.body[44:], set_id + seal.file_id)
    raise AssertionError("no slot of the set")


def read(folder, key, owner=None):
    """(version, {path: plaintext}) of everything that the set names, each byte checked."""
    found, plain = open_set(folder, key, owner), {}
    for member in found.members:
        seal = sf.Seal(find_seal(folder, member))
        keys = sf.unlock(seal, data_key=data_key(seal, found.fields["id"], found.member_key))
        path = member["path"].decode()
        with open(os.path.join(folder, sf.payload_name(path, seal.file_id)), "rb") as payload:
            plain[path] = b"".join(sf.read_payload(seal, keys, payload))
        assert hashlib.sha256(plain[path]).digest() == member["sha256"]
    return found.fields["version"], plain


def content(plain):
    """The content digest of {path: (length, fs-verity digest in hex)}."""
    return st.content_digest([
        {"path": path.encode(), "length": length, "verity": bytes.fromhex(verity),
         "description": bytes(32)} for path, (length, verity) in sorted(
             plain.items(), key=lambda item: item[0].encode())]).hex()
