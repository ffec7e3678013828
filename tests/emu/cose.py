"""Attestation documents: COSE_Sign1 built, parsed and verified.

The writer emits the bytes that hardware emits (untagged, indefinite payload map, nulls for absent
fields) and, on request, the forms that a reader must also accept or must refuse. The verifier
follows AWS's rules: it trusts only the root that it is given, never the one in the document. Both
sides are used by the emulators and as an independent check on the C implementation.
"""
import dataclasses
import datetime
import io

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import utils as asym_utils

ES384 = -35
COSE_SIGN1_TAG = 18
COORDINATE_BYTES = 48
PCR_COUNT = 24
PAYLOAD_ORDER = ("module_id", "digest", "timestamp", "nitrotpm_pcrs", "pcrs", "certificate",
                 "cabundle", "public_key", "user_data", "nonce")
MANDATORY = ("module_id", "digest", "timestamp", "certificate", "cabundle")
MAX_PAYLOAD_BYTES = 16384
MAX_CERTIFICATE_BYTES = 1024
MAX_OPTIONAL_BYTES = 1024


class DocumentError(Exception):
    """The document is malformed or does not verify; the text says where."""


@dataclasses.dataclass
class Document:
    protected: bytes
    payload_bytes: bytes
    signature: bytes
    payload: dict
    tagged: bool

    @property
    def pcrs(self):
        return self.payload.get("nitrotpm_pcrs", self.payload.get("pcrs"))

    @property
    def is_nitrotpm(self):
        return "nitrotpm_pcrs" in self.payload

    @property
    def timestamp_s(self):
        return self.payload["timestamp"] / 1000


def bstr(data):
    """CBOR byte string with the shortest header."""
    return cbor2.dumps(bytes(data))


def encode_payload(fields, indefinite=True, omit_null=False):
    """The payload map; fields keep the order of real documents whatever order they come in."""
    entries = []
    for name in PAYLOAD_ORDER:
        if name not in fields or (omit_null and fields[name] is None):
            continue
        value = fields[name]
        if name == "timestamp":
            encoded = b"\x1b" + value.to_bytes(8, "big")
        elif name in ("nitrotpm_pcrs", "pcrs"):
            encoded = cbor2.dumps({index: value[index] for index in sorted(value)})
        else:
            encoded = cbor2.dumps(value)
        entries.append(cbor2.dumps(name) + encoded)
    for name in fields:
        if name not in PAYLOAD_ORDER:
            entries.append(cbor2.dumps(name) + cbor2.dumps(fields[name]))
    if indefinite:
        return b"\xbf" + b"".join(entries) + b"\xff"
    return bytes([0xa0 + len(entries)]) + b"".join(entries)


def signature_input(protected, payload):
    """Sig_structure of RFC 9052 for COSE_Sign1 without external data."""
    return b"\x84\x6aSignature1" + bstr(protected) + b"\x40" + bstr(payload)


def sign_raw(key, message):
    """ES384 signature as r || s."""
    r, s = asym_utils.decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA384())))
    return r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")


def encode_document(payload, key, tagged=False, algorithm=ES384, corrupt_signature=False):
    protected = cbor2.dumps({1: algorithm})
    signature = sign_raw(key, signature_input(protected, payload))
    if corrupt_signature:
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    head = b"\xd2\x84" if tagged else b"\x84"
    return head + bstr(protected) + b"\xa0" + bstr(payload) + bstr(signature)


def _load_one(data, what):
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except Exception as failure:
        raise DocumentError(f"{what}: not CBOR: {failure}") from failure
    return value, stream.tell()


def _expect(condition, text):
    if not condition:
        raise DocumentError(text)


def parse_document(data):
    """Parse without verifying. Tag 18 or none, definite or indefinite map, null means absent."""
    value, used = _load_one(data, "document")
    _expect(used == len(data), "document: bytes after the COSE_Sign1")
    tagged = isinstance(value, cbor2.CBORTag)
    if tagged:
        _expect(value.tag == COSE_SIGN1_TAG, f"document: tag {value.tag}, expected 18")
        value = value.value
    _expect(isinstance(value, (list, tuple)) and len(value) == 4, "document: not an array of 4")
    protected, _unprotected, payload_bytes, signature = value
    for item, name in ((protected, "protected"), (payload_bytes, "payload"),
                       (signature, "signature")):
        _expect(isinstance(item, bytes), f"document: {name} is not a byte string")
    header, _ = _load_one(protected, "protected header")
    _expect(isinstance(header, dict) and header.get(1) == ES384, "document: algorithm not ES384")
    _expect(0 < len(payload_bytes) <= MAX_PAYLOAD_BYTES, "payload: length")
    _expect(len(signature) == 2 * COORDINATE_BYTES, "signature: length")
    payload, used = _load_one(payload_bytes, "payload")
    _expect(isinstance(payload, dict) and used == len(payload_bytes), "payload: not one map")
    payload = {key: item for key, item in payload.items() if item is not None}
    _check_payload(payload)
    return Document(protected, payload_bytes, signature, payload, tagged)


def _check_payload(payload):
    for name in MANDATORY:
        _expect(name in payload, f"payload: {name} is missing")
    _expect(isinstance(payload["module_id"], str) and payload["module_id"], "payload: module_id")
    _expect(payload["digest"] == "SHA384", "payload: digest is not SHA384")
    _expect(isinstance(payload["timestamp"], int) and payload["timestamp"] > 0,
            "payload: timestamp")
    _expect(("nitrotpm_pcrs" in payload) != ("pcrs" in payload), "payload: PCRs")
    pcrs = payload.get("nitrotpm_pcrs", payload.get("pcrs"))
    _expect(isinstance(pcrs, dict) and 0 < len(pcrs) <= 32, "payload: PCR count")
    for index, value in pcrs.items():
        _expect(isinstance(index, int) and 0 <= index < 32, "payload: PCR index")
        _expect(isinstance(value, bytes) and len(value) == 48, f"payload: PCR {index}")
    bundle = payload["cabundle"]
    _expect(isinstance(bundle, (list, tuple)) and bundle, "payload: cabundle")
    for item in [*bundle, payload["certificate"]]:
        _expect(isinstance(item, bytes) and 0 < len(item) <= MAX_CERTIFICATE_BYTES,
                "payload: certificate size")
    for name in ("public_key", "user_data", "nonce"):
        value = payload.get(name)
        _expect(value is None or (isinstance(value, bytes) and len(value) <= MAX_OPTIONAL_BYTES),
                f"payload: {name}")


def verify_document(document, root, at=None):
    """Verify chain and signature at the time given (seconds since 1970; default: now).

    Returns the leaf certificate. root is the trusted certificate.
    """
    if at is None:
        moment = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    else:
        moment = datetime.datetime.utcfromtimestamp(at)
    try:
        leaf = x509.load_der_x509_certificate(document.payload["certificate"])
        bundle = [x509.load_der_x509_certificate(der) for der in document.payload["cabundle"]]
    except ValueError as failure:
        raise DocumentError(f"certificate: {failure}") from failure
    # cabundle[0] claims to be the root; only the pinned one counts.
    chain = [leaf] + bundle[:0:-1] + [root]
    for depth, certificate in enumerate(chain):
        _check_validity(certificate, moment, depth)
        _check_role(certificate, depth)
    for depth, (child, parent) in enumerate(zip(chain, chain[1:])):
        _expect(child.issuer == parent.subject, f"chain: issuer of certificate {depth}")
        _check_signed_by(child, parent, f"chain: signature of certificate {depth}")
    _check_signed_by(root, root, "chain: root is not self-signed")
    signature = document.signature
    r = int.from_bytes(signature[:COORDINATE_BYTES], "big")
    s = int.from_bytes(signature[COORDINATE_BYTES:], "big")
    try:
        leaf.public_key().verify(asym_utils.encode_dss_signature(r, s),
                                 signature_input(document.protected, document.payload_bytes),
                                 ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as failure:
        raise DocumentError("document: signature does not verify") from failure
    return leaf


def _check_validity(certificate, moment, depth):
    _expect(certificate.not_valid_before <= moment, f"chain: certificate {depth} not yet valid")
    _expect(moment <= certificate.not_valid_after, f"chain: certificate {depth} has expired")


def _check_role(certificate, depth):
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if depth == 0:
        _expect(constraints is None or not constraints.ca, "chain: leaf is a CA")
        _expect(usage is not None and usage.digital_signature, "chain: leaf key usage")
        return
    _expect(constraints is not None and constraints.ca, f"chain: certificate {depth} is no CA")
    _expect(usage is not None and usage.key_cert_sign, f"chain: key usage of certificate {depth}")
    limit = constraints.path_length
    _expect(limit is None or depth - 1 <= limit, f"chain: path length of certificate {depth}")


def _extension(certificate, kind):
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_signed_by(child, parent, text):
    try:
        parent.public_key().verify(child.signature, child.tbs_certificate_bytes,
                                   ec.ECDSA(child.signature_hash_algorithm))
    except InvalidSignature as failure:
        raise DocumentError(text) from failure
