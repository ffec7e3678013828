"""Decoding, fields, chain and signature of a document, written from attest/verdict/VERDICT.md alone; see verdict.py.

Trusts the `cryptography` package with single certificates and signatures; decoding and the chain are here.
"""
import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils


class Malformed(Exception):
    pass


class Failed(Exception):
    """A step failed; the text is the reason."""


# Decoding: CBOR as far as a document needs it.

class Text(str):
    pass


class Pairs(list):
    """A map, in its order, with what is doubled in it."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, size):
        piece = self.data[self.at:self.at + size]
        if len(piece) != size:
            raise Malformed("cut short")
        self.at += size
        return piece

    def head(self):
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info
        if info < 28:
            return major, int.from_bytes(self.take(1 << info - 24), "big")
        if info == 31 and major in (4, 5, 7):
            return major, None
        raise Malformed("a head that is reserved, or a string in pieces")

    def elements(self, count, depth, width):
        found = []
        while count is None or len(found) < count * width:
            if count is None and self.data[self.at:self.at + 1] == b"\xff":
                self.at += 1
                break
            found.append(self.item(depth))
        if len(found) % width:
            raise Malformed("half a pair")
        return found

    def item(self, depth=0):
        start = self.at
        major, value = self.head()
        inside = depth + (major in (4, 5, 6))
        if inside > 16:
            raise Malformed("nested too deep")
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major == 2:
            return self.take(value)
        if major == 3:
            return Text(self.take(value).decode("latin-1"))
        if major == 4:
            return self.elements(value, inside, 1)
        if major == 5:
            flat = self.elements(value, inside, 2)
            return Pairs(zip(flat[::2], flat[1::2]))
        if major == 6:
            return ("tag", value, self.item(inside))
        if value is None:
            raise Malformed("a break without a beginning")
        first = self.data[start]
        if first == 0xf8 or first < 0xf4:
            raise Malformed("an unassigned simple value")
        return None if first == 0xf6 else ("simple", first, value)


def whole(data):
    reader = Reader(data)
    found = reader.item()
    if reader.at != len(data):
        raise Malformed("bytes follow")
    return found


def decode(data):
    """(protected, {key: value} of the payload, payload bytes, signature)."""
    if not 0 < len(data) <= 20480:
        raise Malformed("size")
    found = whole(data)
    if isinstance(found, tuple) and found[:2] == ("tag", 18):
        found = found[2]
    if not isinstance(found, list) or isinstance(found, Pairs) or len(found) != 4:
        raise Malformed("not an array of four")
    protected, unprotected, payload, signature = found
    if not all(isinstance(part, bytes) for part in (protected, payload, signature)):
        raise Malformed("not byte strings")
    if not isinstance(unprotected, Pairs) or not 1 <= len(protected) <= 256 or not 1 <= len(payload) <= 16384 \
            or len(signature) != 96:
        raise Malformed("sizes")
    header = whole(protected)
    if not isinstance(header, Pairs):
        raise Malformed("header")
    labels = [label for label, _ in header]
    if labels.count(1) != 1 or 2 in labels or dict((k, v) for k, v in header if k == 1)[1] != -35:
        raise Malformed("algorithm")
    if not all(isinstance(label, (int, Text)) for label in labels):
        raise Malformed("label")
    pairs = whole(payload)
    if not isinstance(pairs, Pairs) or len(pairs) > 32:
        raise Malformed("payload")
    keys = [key for key, _ in pairs]
    if not all(isinstance(key, Text) for key in keys) or len(set(keys)) != len(keys):
        raise Malformed("keys")
    return protected, dict(pairs), payload, signature


def is_uint(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_pcrs(value, count):
    if not isinstance(value, Pairs) or not 1 <= len(value) <= 32:
        return False
    indexes = [index for index, _ in value]
    return (all(is_uint(index) and index < count for index in indexes) and len(set(indexes)) == len(indexes)
            and all(isinstance(pcr, bytes) and len(pcr) == 48 for _, pcr in value))


def is_bytes(value, least, most=1024):
    return isinstance(value, bytes) and least <= len(value) <= most


def check_fields(p):
    enclave, tpm = "pcrs" in p, "nitrotpm_pcrs" in p
    rules = (
        ("module_id", isinstance(p.get("module_id"), Text) and 1 <= len(p["module_id"]) <= 255
         and all("!" <= char <= "~" for char in p["module_id"])),
        ("digest", isinstance(p.get("digest"), Text) and p["digest"] == "SHA384"),
        ("timestamp", is_uint(p.get("timestamp")) and 0 < p["timestamp"] < 2 ** 53),
        ("pcrs", enclave != tpm and (not enclave or is_pcrs(p["pcrs"], 32))),
        ("nitrotpm_pcrs", not tpm or is_pcrs(p["nitrotpm_pcrs"], 24)),
        ("certificate", is_bytes(p.get("certificate"), 1)),
        ("cabundle", isinstance(p.get("cabundle"), list) and not isinstance(p["cabundle"], Pairs)
         and 1 <= len(p["cabundle"]) <= 8 and all(is_bytes(each, 1) for each in p["cabundle"])),
        ("public_key", p.get("public_key") is None or is_bytes(p["public_key"], 1)),
        ("user_data", p.get("user_data") is None or is_bytes(p["user_data"], 0)),
        ("nonce", p.get("nonce") is None or is_bytes(p["nonce"], 0)),
    )
    for name, good in rules:
        if not good:
            raise Failed(f"the document breaks the rule for {name}")


# Chain and signature.

def extension(certificate, kind):
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


MAY_BE_CRITICAL = (x509.BasicConstraints, x509.KeyUsage)


def issued_by(child, parent):
    own, theirs = extension(child, x509.AuthorityKeyIdentifier), extension(parent, x509.SubjectKeyIdentifier)
    if child.issuer != parent.subject or child.signature_algorithm_oid.dotted_string != "1.2.840.10045.4.3.3":
        return False
    if own and theirs and own.key_identifier and own.key_identifier != theirs.digest:
        return False
    try:
        parent.public_key().verify(child.signature, child.tbs_certificate_bytes, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        return False
    return True


def role_fits(certificate, depth, is_root):
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
        return False
    if any(each.critical and not isinstance(each.value, MAY_BE_CRITICAL) for each in certificate.extensions):
        return False
    basic, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
    if not is_root and certificate.issuer == certificate.subject:
        return False
    if depth == 0:
        return not (basic and basic.ca) and usage is not None and usage.digital_signature
    if not basic or not basic.ca or (basic.path_length is not None and depth - 1 > basic.path_length):
        return False
    return (usage is not None or is_root) and (usage is None or usage.key_cert_sign)


def check_chain(p, root):
    if p["cabundle"][0] != root:
        raise Failed("the certificate chain does not end in the expected root")
    broken = Failed("the certificate chain is broken")
    try:
        chain = [x509.load_der_x509_certificate(der) for der in [p["certificate"], *p["cabundle"][:0:-1], root]]
        good = all(role_fits(each, depth, depth == len(chain) - 1) for depth, each in enumerate(chain)) \
            and all(issued_by(child, parent) for child, parent in zip(chain, chain[1:]))
    except ValueError:
        good = False
    if not good:
        raise broken
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=p["timestamp"] // 1000)
    if not all(each.not_valid_before <= moment <= each.not_valid_after for each in chain):
        raise Failed("a certificate of the chain was not valid at the document's time")


def bstr(data):
    size = len(data)
    if size < 24:
        return bytes([0x40 + size]) + data
    return (bytes([0x58, size]) if size < 256 else b"\x59" + size.to_bytes(2, "big")) + data


def check_signature(p, protected, payload, signature):
    wrong = Failed("the document's signature is wrong")
    message = b"\x84\x6aSignature1" + bstr(protected) + b"\x40" + bstr(payload)
    r, s = int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")
    try:
        key = x509.load_der_x509_certificate(p["certificate"]).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
            raise wrong
        key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA384()))
    except (ValueError, InvalidSignature):
        raise wrong from None
