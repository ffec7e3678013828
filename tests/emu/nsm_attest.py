"""The attestation half of the NitroTPM emulator: CBOR request in, CBOR response out.

Knows nothing about TPM commands. Emits documents byte for byte in the form of hardware, and the
wrong forms that faults ask for, so that clients can be shown every kind of lie.
"""
import datetime
import io
import time

import cbor2

import cose
import testca

MAX_FIELD_BYTES = 1024
LEAF_REUSE_S = 30 * 60
DOCUMENT_FAULTS = ("error", "swap", "bad-signature", "wrong-leaf-key", "wrong-root", "ca-leaf",
                   "expired-leaf", "old", "future", "definite", "definite-outer",
                   "indefinite-outer", "tagged", "omit-null", "pcr", "garbage", "truncated",
                   "keep-request", "algorithm", "enclave", "trailing")


class RequestError(Exception):
    """The request is refused; the text is an NSM error name."""


def parse_request(data):
    """{user_data, nonce, public_key} of the Attestation request at the start of data."""
    try:
        request = cbor2.CBORDecoder(io.BytesIO(data)).decode()
    except Exception as failure:
        raise RequestError("InvalidArgument") from failure
    if not isinstance(request, dict) or len(request) != 1:
        raise RequestError("InvalidOperation" if isinstance(request, str) else "InvalidArgument")
    operation, fields = next(iter(request.items()))
    if operation != "Attestation":
        raise RequestError("InvalidOperation")
    if not isinstance(fields, dict) or set(fields) - {"user_data", "nonce", "public_key"}:
        raise RequestError("InvalidArgument")
    return {name: _field(fields.get(name)) for name in ("user_data", "nonce", "public_key")}


def _field(value):
    if isinstance(value, list):
        # Hardware takes arrays of small integers in place of byte strings.
        try:
            value = bytes(value)
        except (TypeError, ValueError) as failure:
            raise RequestError("InvalidArgument") from failure
    if value is not None and not isinstance(value, bytes):
        raise RequestError("InvalidArgument")
    if value is not None and len(value) > MAX_FIELD_BYTES:
        raise RequestError("InputTooLarge")
    return value


def error_response(name):
    return cbor2.dumps({"Error": name})


class Attester:
    """Signs documents for one emulated instance."""

    PCRS = "nitrotpm_pcrs"

    def __init__(self, authority, foreign_directory=None, indefinite_outer=False):
        self.authority = authority
        self.indefinite_outer = indefinite_outer
        self.foreign_directory = foreign_directory
        self.module_id = authority.instance_id + "-tpm0000000000000000"
        self._leaf = None
        self._leaf_since = 0

    def respond(self, request_bytes, pcrs, faults=()):
        """The response to put into the mailbox. pcrs is {index: 48 bytes}.

        faults is a list of fault objects (see README.md); returns None for keep-request.
        """
        effects = {fault["kind"]: fault for fault in faults}
        if "keep-request" in effects:
            return None
        if "error" in effects:
            return error_response(effects["error"].get("error", "InternalError"))
        if "garbage" in effects:
            return bytes.fromhex(effects["garbage"].get("hex", "ff00ff00"))
        try:
            fields = parse_request(request_bytes)
        except RequestError as refusal:
            return error_response(str(refusal))
        document = self._document(fields, pcrs, effects)
        if "truncated" in effects:
            document = document[:len(document) // 2]
        if "trailing" in effects:
            document += b"\x00"
        inner = cbor2.dumps("document") + cose.bstr(document)
        name = cbor2.dumps("Attestation")
        indefinite = self.indefinite_outer and "definite-outer" not in effects
        if indefinite or "indefinite-outer" in effects:
            return b"\xbf" + name + b"\xbf" + inner + b"\xff\xff"
        return b"\xa1" + name + b"\xa1" + inner

    def _document(self, fields, pcrs, effects):
        now = time.time()
        if "old" in effects:
            now -= effects["old"].get("age_s", 600)
        if "future" in effects:
            now += effects["future"].get("ahead_s", 600)
        authority, key, leaf = self._signer(now, effects)
        fields = dict(fields)
        if "swap" in effects:
            name = effects["swap"].get("field", "nonce")
            value = effects["swap"].get("hex", "00" * 32)
            fields[name] = None if value is None else bytes.fromhex(value)
        pcrs = dict(pcrs)
        for index, value in effects.get("pcr", {}).get("values", {}).items():
            pcrs[int(index)] = bytes.fromhex(value)
        payload = {
            "module_id": self.module_id, "digest": "SHA384", "timestamp": int(now * 1000),
            self.PCRS: pcrs, "certificate": testca.to_der(leaf),
            "cabundle": authority.cabundle(), **fields,
        }
        if "enclave" in effects and self.PCRS != "pcrs":
            payload["pcrs"] = {index: payload["nitrotpm_pcrs"][index] for index in range(16)}
            del payload["nitrotpm_pcrs"]
        encoded = cose.encode_payload(payload, indefinite="definite" not in effects,
                                      omit_null="omit-null" in effects)
        return cose.encode_document(encoded, key, tagged="tagged" in effects,
                                    algorithm=effects.get("algorithm", {}).get("value", cose.ES384),
                                    corrupt_signature="bad-signature" in effects)

    def _signer(self, now, effects):
        """(authority, key, leaf): normally the cached leaf, else one that the faults ask for."""
        moment = datetime.datetime.utcfromtimestamp(now)
        authority = self.authority
        if "wrong-root" in effects:
            authority = testca.TestCa(self.foreign_directory, authority.region,
                                      authority.instance_id)
        special = {"wrong-root", "ca-leaf", "expired-leaf", "old", "future", "wrong-leaf-key"}
        if not special & set(effects):
            return (authority, *self._current_leaf(now, moment))
        if "expired-leaf" in effects:
            moment -= datetime.timedelta(seconds=testca.LEAF_LIFETIME_S + 60)
        key, leaf = authority.issue_leaf(self.module_id, moment, ca_flag="ca-leaf" in effects)
        if "wrong-leaf-key" in effects:
            key, _ = authority.issue_leaf(self.module_id, moment)
        return authority, key, leaf

    def _current_leaf(self, now, moment):
        """Hardware reuses a leaf for a while; so does this."""
        if self._leaf is None or not 0 <= now - self._leaf_since < LEAF_REUSE_S:
            self.authority.refresh()
            self._leaf = self.authority.issue_leaf(self.module_id, moment)
            self._leaf_since = now
        return self._leaf


class EnclaveAttester(Attester):
    """Signs documents for one emulated enclave: other names, and only the PCRs that are locked."""

    PCRS = "pcrs"

    def __init__(self, authority, foreign_directory=None, indefinite_outer=False):
        super().__init__(authority, foreign_directory, indefinite_outer)
        self.module_id = authority.instance_id + "-enc0123456789abcdef"
