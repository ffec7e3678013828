#!/usr/bin/python3
"""OpenSSF Model Signing 1.0, method "key": an independent writer and verifier, from
github.com/ossf/model-signing-spec (spec/v1.0.md) and the specification of DSSE. As a program:

    oms.py sign   DIRECTORY BUNDLE PRIVATE.pem [--ignore PATH]...
    oms.py verify DIRECTORY BUNDLE PUBLIC.pem
"""

import argparse
import base64
import hashlib
import json
import os
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
DEFAULT_IGNORED = (".git", ".gitignore", ".gitattributes", ".github")  # section 6.2
HASHES = {"secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384, "secp521r1": hashes.SHA512}


class Refused(Exception):
    pass


def below(path, entries):
    """Section 6.2.1: exact paths from the root, and what is below them."""
    return any(path == entry or path.startswith(entry + "/") for entry in entries)


def digests(root, ignored):
    """Sections 6.1 and 6.3.1: {path: SHA-256 in hexadecimal}."""
    found = {}
    for where, dirs, names in os.walk(root):
        for name in dirs + names:
            full = os.path.join(where, name)
            path = os.path.relpath(full, root)
            if below(path, ignored):
                continue
            if os.path.islink(full):
                raise Refused(f"{path}: a symbolic link")
            if os.path.isfile(full):
                state = hashlib.sha256()
                with open(full, "rb") as source:
                    while piece := source.read(1 << 20):
                        state.update(piece)
                found[path] = state.hexdigest()
    return found


def root_digest(resources):
    """Section 6.5.1."""
    return hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()


def pae(payload):
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def fingerprint(public):
    return hashlib.sha256(public.public_bytes(
        serialization.Encoding.PEM,
        serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def statement(name, files, ignored=(), **changed):
    """changed: predicateType, _type, root, method, hash_type."""
    resources = [{"name": path, "digest": files[path], "algorithm": "sha256"}
                 for path in sorted(files)]
    serialization_ = {"method": changed.get("method", "files"),
                      "hash_type": changed.get("hash_type", "sha256"), "allow_symlinks": False,
                      "ignore_paths": [*DEFAULT_IGNORED, *ignored]}
    return {"_type": changed.get("_type", STATEMENT),
            "subject": [{"name": name,
                         "digest": {"sha256": changed.get("root") or root_digest(resources)}}],
            "predicateType": changed.get("predicateType", PREDICATE),
            "predicate": {"resources": resources, "serialization": serialization_}}


def bundle(what, private, **changed):
    """what: a statement. changed: material, payload (bytes), payloadType, hint."""
    payload = changed.get("payload", json.dumps(what, indent=2).encode())
    public = private.public_key()
    signature = private.sign(pae(payload), ec.ECDSA(HASHES[public.curve.name]()))
    return {"mediaType": MEDIA_TYPE,
            "verificationMaterial": changed.get("material") or {
                "publicKey": {"hint": changed.get("hint") or fingerprint(public)}},
            "dsseEnvelope": {"payload": base64.b64encode(payload).decode(),
                             "payloadType": changed.get("payloadType", PAYLOAD_TYPE),
                             "signatures": [{"sig": base64.b64encode(signature).decode()}]}}


def load_private(path):
    with open(path, "rb") as source:
        return serialization.load_pem_private_key(source.read(), None)


def load_public(path):
    with open(path, "rb") as source:
        return serialization.load_pem_public_key(source.read())


def signed_statement(raw, public):
    """Sections 8.1 to 8.3: the statement of a bundle that this key signs."""
    outer = json.loads(raw)
    envelope = outer["dsseEnvelope"]
    if outer["mediaType"] != MEDIA_TYPE or envelope["payloadType"] != PAYLOAD_TYPE:
        raise Refused("another type of bundle")
    hint = outer["verificationMaterial"].get("publicKey", {}).get("hint")
    if hint and hint != fingerprint(public):
        raise Refused("another key")
    payload = base64.b64decode(envelope["payload"], validate=True)
    (signature,) = envelope["signatures"]
    try:
        public.verify(base64.b64decode(signature["sig"], validate=True), pae(payload),
                      ec.ECDSA(HASHES[public.curve.name]()))
    except InvalidSignature:
        raise Refused("a wrong signature") from None
    found = json.loads(payload)
    if found["_type"] != STATEMENT or found["predicateType"] != PREDICATE:
        raise Refused("another predicate")
    return found


def verify(directory, raw, public):
    """Section 8.4. Returns the number of files."""
    found = signed_statement(raw, public)
    predicate = found["predicate"]
    how = predicate["serialization"]
    if how["method"] != "files" or how["hash_type"] != "sha256":
        raise Refused("another serialization")
    if found["subject"][0]["digest"]["sha256"] != root_digest(predicate["resources"]):
        raise Refused("another root digest")
    signed = {r["name"]: r["digest"] for r in predicate["resources"]}
    there = digests(directory, (*DEFAULT_IGNORED, *how.get("ignore_paths", ())))
    for path in sorted(signed.keys() | there.keys()):
        if path not in there:
            raise Refused(f"{path} is missing")
        if path not in signed:
            raise Refused(f"{path} is not signed")
        if signed[path] != there[path]:
            raise Refused(f"{path} is another file")
    return len(signed)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("sign", "verify"))
    parser.add_argument("directory")
    parser.add_argument("bundle")
    parser.add_argument("key")
    parser.add_argument("--ignore", action="append", default=[])
    args = parser.parse_args()
    if args.action == "sign":
        files = digests(args.directory, (*DEFAULT_IGNORED, *args.ignore))
        name = os.path.basename(os.path.abspath(args.directory))
        made = bundle(statement(name, files, args.ignore), load_private(args.key))
        with open(args.bundle, "w", encoding="utf-8") as out:
            json.dump(made, out, indent=2)
        return 0
    try:
        with open(args.bundle, "rb") as source:
            count = verify(args.directory, source.read(), load_public(args.key))
    except (Refused, KeyError, ValueError) as problem:
        print(f"refused: {problem!r}", file=sys.stderr)
        return 3
    print(f"ok: {count} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
