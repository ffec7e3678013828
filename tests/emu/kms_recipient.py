"""How the KMS emulator judges a Recipient: the attestation document and the key's PCR conditions.

Follows what KMS does: the document must parse, be at most five minutes old, carry an RSA public
key, chain to the root given at start, and satisfy every PCR condition of the key. A refusal never
says which condition failed.
"""
import base64
import binascii
import dataclasses

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import cose
from kms_store import KmsError

ALGORITHM = "RSAES_OAEP_SHA_256"
MAX_DOCUMENT_BYTES = 262144
MAX_AGE_S = 300
MAX_AHEAD_S = 60
RSA_BITS = (2048, 3072, 4096)


@dataclasses.dataclass
class Recipient:
    public_key: rsa.RSAPublicKey
    document: cose.Document
    genuine: bool
    reason: str

    def summary(self):
        """For the log."""
        kind = "nitrotpm" if self.document.is_nitrotpm else "enclave"
        return {"module_id": self.document.payload["module_id"], "kind": kind,
                "genuine": self.genuine, "reason": self.reason,
                "pcrs": {str(index): value.hex() for index, value in self.document.pcrs.items()}}


def parse_recipient(member, root, now):
    """The Recipient of a request, or KmsError. A document that does not verify is not genuine."""
    if not isinstance(member, dict):
        raise KmsError("SerializationException", "Recipient is not an object")
    algorithm = member.get("KeyEncryptionAlgorithm")
    if algorithm != ALGORITHM:
        raise KmsError("ValidationException", f"1 validation error detected: Value '{algorithm}' "
                       "at 'recipient.keyEncryptionAlgorithm' failed to satisfy constraint: "
                       f"Member must satisfy enum value set: [{ALGORITHM}]")
    try:
        raw = base64.b64decode(member.get("AttestationDocument", ""), validate=True)
    except (binascii.Error, TypeError, ValueError) as failure:
        raise KmsError("SerializationException", "AttestationDocument is not base64") from failure
    if not 0 < len(raw) <= MAX_DOCUMENT_BYTES:
        raise KmsError("ValidationException", "1 validation error detected: Value at "
                       "'recipient.attestationDocument' failed to satisfy constraint: length")
    try:
        document = cose.parse_document(raw)
    except cose.DocumentError as failure:
        raise KmsError("ValidationException",
                       f"KMS cannot parse the attestation document: {failure}") from failure
    _check_age(document, now)
    public_key = _public_key(document)
    try:
        cose.verify_document(document, root, now)
    except cose.DocumentError as failure:
        return Recipient(public_key, document, False, str(failure))
    return Recipient(public_key, document, True, "")


def _check_age(document, now):
    if now - document.timestamp_s > MAX_AGE_S:
        raise KmsError("ValidationException",
                       "The attestation document exceeded the five-minute age limit.")
    if document.timestamp_s - now > MAX_AHEAD_S:
        raise KmsError("ValidationException", "The attestation document is not yet valid.")


def _public_key(document):
    try:
        key = serialization.load_der_public_key(document.payload.get("public_key") or b"")
    except (ValueError, TypeError) as failure:
        raise KmsError("ValidationException", "The attestation document carries no valid public "
                       "key.") from failure
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size not in RSA_BITS:
        raise KmsError("ValidationException",
                       "The public key of the attestation document is not an RSA key.")
    return key


def policy_allows(policy, operation, access_key_id, recipient):
    """True when the key's policy lets this caller do this."""
    allowed = policy.get("access_keys")
    if isinstance(allowed, dict):
        allowed = allowed.get(operation)
    if allowed is not None and access_key_id not in allowed:
        return False
    if recipient is not None and not recipient.genuine:
        return False
    conditions = policy.get("pcrs")
    if not conditions or operation not in policy.get("operations", ["Decrypt"]):
        return True
    # Without a NitroTPM document the condition keys are absent, so the Allow does not apply.
    if recipient is None or not recipient.document.is_nitrotpm:
        return False
    for index, values in conditions.items():
        wanted = [values] if isinstance(values, str) else values
        actual = recipient.document.pcrs.get(int(index), b"").hex()
        if actual not in [value.lower() for value in wanted]:
            return False
    return True
