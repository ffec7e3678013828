#!/usr/bin/python3
"""AWS KMS for tests: GenerateDataKey, Encrypt and Decrypt, with and without Recipient, GetKeyPolicy; as dry
runs also ReEncrypt and CreateGrant.

Speaks the JSON 1.1 protocol, checks SigV4, verifies attestation documents up to a test root,
evaluates a policy of NitroTPM PCRs or a whole key policy per key, binds the encryption context, and answers with the BER
envelopes and error bodies of the real service. Keys survive a restart. It keeps key material
unprotected in its state directory and must never hold a key that matters. See README.md.
"""
import argparse
import base64
import binascii
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import uuid

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

import cms_ber
import emu_http
import kms_authority
import kms_recipient
import kms_store
import sigv4
import testca
from kms_store import KmsError

CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET_PREFIX = "TrentService."
SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([a-z0-9-]+)/kms/aws4_request")
ERROR_PREFIX = "com.amazonaws.kms#"
MAX_BLOB_BYTES = 6144
MAX_PLAINTEXT_BYTES = 4096
KEY_SPECS = {"AES_256": 32, "AES_128": 16}
BER_CHOICES = ("a", "b", "split", "rotate")
FAULT_KINDS = ("error", "slow", "cut", "wrong-key", "garbage-cms", "truncated-cms",
               "wrong-recipient", "plaintext-length", "oversize", "not-json", "empty", "http",
               "wrong-key-id", "no-envelope", "leak-plaintext", "recipient-ignored",
               "dry-run-ignored")
# Signature failures that AWS words per service keep the code of sigv4.py.
ERROR_TEXTS = {
    "ThrottlingException": "Rate exceeded",
    "KMSInternalException": "An internal error occurred.",
    "ExpiredTokenException": "The security token included in the request is expired",
    "KeyUnavailableException": "The key is unavailable.",
    "DependencyTimeoutException": "A dependency timed out.",
    "DisabledException": "The key is disabled.",
}


class Call:
    """One request on its way: who asks what of which key. Filled in as checks pass."""

    def __init__(self, operation, request_id):
        self.operation = operation
        self.request_id = request_id
        self.access_key_id = None
        self.region = None
        self.body = {}
        self.key_arn = None
        self.context = None
        self.recipient = None
        self.form = None
        self.faults = {}


class KmsEmulator:
    """credentials: object with get(access key id), as sigv4.CredentialsFile.

    root: certificate that documents must chain to. ber: form of envelopes. clock_offset_s: how far
    this service's clock is ahead.
    """

    def __init__(self, state_dir, credentials, root, region="us-east-1", ber="rotate",
                 error_type="bare", clock_offset_s=0, faults=(), log_file=None,
                 account="111122223333"):
        self.store = kms_store.KeyStore(state_dir, region, account)
        self.credentials = credentials
        self.root = root
        self.region = region
        self.error_type = error_type
        self.clock_offset_s = clock_offset_s
        self.faults = emu_http.FaultTable(FAULT_KINDS, faults)
        self.log = emu_http.RequestLog(log_file)
        self._lock = threading.Lock()
        self._forms = itertools.cycle(cms_ber.FORMS if ber == "rotate" else [ber])
        self._empty_plaintexts = itertools.cycle([None, "", Ellipsis])
        self._prefixes = itertools.cycle({"bare": [""], "prefixed": [ERROR_PREFIX],
                                          "rotate": ["", ERROR_PREFIX]}[error_type])

    def now(self):
        return time.time() + self.clock_offset_s

    def serve(self, request):
        target = request.header("X-Amz-Target", "")
        operation = target[len(TARGET_PREFIX):] if target.startswith(TARGET_PREFIX) else ""
        call = Call(operation, str(uuid.uuid4()))
        call.faults = {fault["kind"]: fault
                       for fault in self.faults.take_all(operation, FAULT_KINDS)}
        verdict = "ok"
        try:
            self._before(call)
            status, value = 200, self._handle(request, call)
        except KmsError as error:
            verdict = error.kind
            status, value = error.status, self._error_body(error)
        except emu_http.CutConnection:
            self._log(call, "cut")
            raise
        self._log(call, verdict)
        return self._transport(request, call, status, json.dumps(value).encode())

    def _before(self, call):
        """Faults that come before anything is looked at."""
        if "slow" in call.faults:
            time.sleep(call.faults["slow"].get("ms", 1000) / 1000)
        if "cut" in call.faults and "after" not in call.faults["cut"]:
            raise emu_http.CutConnection
        if "error" in call.faults:
            fault = call.faults["error"]
            kind = fault["error"]
            raise KmsError(kind, fault.get("message", ERROR_TEXTS.get(kind, "Fault")),
                           fault.get("status"))

    def _transport(self, request, call, status, body):
        """Headers, and the faults of a broken or lying server."""
        headers = {"Content-Type": CONTENT_TYPE, "x-amzn-RequestId": call.request_id,
                   "Cache-Control": "no-cache, no-store, must-revalidate, private"}
        faults = call.faults
        if "http" in faults:
            status = faults["http"].get("status", 503)
            headers["Content-Type"] = "text/html"
            body = b"<html><body>unavailable</body></html>"
        if "not-json" in faults:
            body = b"{\"KeyId\": "
        if "empty" in faults:
            body = b""
        if "oversize" in faults:
            body += b" " * faults["oversize"].get("bytes", 64 << 20)
        if "cut" in faults:
            request.cut_after(status, headers, body, faults["cut"]["after"])
        return status, headers, body

    def _error_body(self, error):
        # AccessDeniedException comes from the authorisation layer, which spells it differently.
        member = "Message" if error.kind == "AccessDeniedException" else "message"
        with self._lock:
            return {"__type": next(self._prefixes) + error.kind, member: error.message}

    def _log(self, call, verdict):
        self.log.add(operation=call.operation, request_id=call.request_id, verdict=verdict,
                     access_key_id=call.access_key_id, key=call.key_arn, context=call.context,
                     key_id=call.body.get("KeyId") if isinstance(call.body, dict) else None,
                     region=call.region,
                     recipient=call.recipient.summary() if call.recipient else None,
                     form=call.form, faults=sorted(call.faults))

    def _handle(self, request, call):
        operations = {"Decrypt": self._decrypt, "Encrypt": self._encrypt,
                      "GenerateDataKey": self._generate_data_key, "ReEncrypt": self._re_encrypt,
                      "CreateGrant": self._create_grant, "GetKeyPolicy": self._get_key_policy}
        if request.command != "POST" or request.raw_path != "/":
            raise KmsError("UnknownOperationException", "", 404)
        if request.header("Content-Type", "") != CONTENT_TYPE:
            raise KmsError("UnknownOperationException", "")
        call.region = self._region_of(request)
        try:
            call.access_key_id = sigv4.verify(
                request.command, request.raw_path, request.raw_query, request.header_list,
                request.body, self.credentials, "kms", self.now(), region=call.region)
        except sigv4.SigV4Error as refusal:
            raise KmsError(refusal.code, refusal.message) from refusal
        if call.operation not in operations:
            raise KmsError("UnknownOperationException", "")
        try:
            call.body = json.loads(request.body)
        except ValueError as failure:
            raise KmsError("SerializationException", "not JSON") from failure
        if not isinstance(call.body, dict):
            raise KmsError("SerializationException", "not an object")
        self._read_common(call)
        return operations[call.operation](call)

    def _region_of(self, request):
        """A test has one server for all regions: the one that the caller signed for, if it has keys."""
        scope = SCOPE.search(request.header("Authorization", ""))
        return scope[1] if scope and scope[1] in self.store.regions() else self.region

    def _read_common(self, call):
        context = call.body.get("EncryptionContext") or {}
        if not isinstance(context, dict) or not all(
                isinstance(item, str) for pair in context.items() for item in pair):
            raise KmsError("SerializationException", "EncryptionContext")
        call.context = context
        if call.body.get("Recipient") is not None:
            if call.operation == "Encrypt":
                raise KmsError("ValidationException", "Encrypt takes no Recipient")
            call.recipient = kms_recipient.parse_recipient(call.body["Recipient"], self.root,
                                                           self.now())
        modifiers = call.body.get("DryRunModifiers")
        if modifiers is not None and (modifiers != ["IGNORE_CIPHERTEXT"] or not call.body.get("DryRun")):
            raise KmsError("ValidationException", "DryRunModifiers")

    def _authorize(self, call, key, *actions):
        """actions: other permissions than the one that has the operation's name."""
        call.key_arn = self.store.arn(key)
        if call.body.get("DryRun") and "recipient-ignored" in call.faults:
            call.recipient = None
        for action in actions or (call.operation,):
            kms_authority.authorize(call, key, call.key_arn, self.store.account, action)
        if key.state == "Disabled":
            raise KmsError("DisabledException", f"{call.key_arn} is disabled.")
        if key.state != "Enabled":
            raise KmsError("KMSInvalidStateException", f"{call.key_arn} is pending deletion.")
        if call.body.get("DryRun") and "dry-run-ignored" not in call.faults:
            raise KmsError("DryRunOperationException",
                           "The request would have succeeded, but the DryRun option is set.")

    def _key_id(self, call, member="KeyId"):
        name = call.body.get(member)
        if not isinstance(name, str) or not name:
            raise KmsError("ValidationException", "1 validation error detected: Value null at "
                           "'keyId' failed to satisfy constraint: Member must not be null")
        return name

    def _blob(self, call, member, limit):
        try:
            value = base64.b64decode(call.body.get(member, ""), validate=True)
        except (binascii.Error, TypeError, ValueError) as failure:
            raise KmsError("SerializationException", f"{member} is not base64") from failure
        if not 0 < len(value) <= limit:
            raise KmsError("ValidationException", f"1 validation error detected: Value at "
                           f"'{member}' failed to satisfy constraint: length")
        return value

    def _re_encrypt(self, call):
        """Only as a dry run without a ciphertext, from a key to itself."""
        source, destination = (self.store.find(self._key_id(call, member), call.region)
                               for member in ("SourceKeyId", "DestinationKeyId"))
        if source is not destination or not call.body.get("DryRunModifiers"):
            raise KmsError("UnsupportedOperationException", "")
        self._authorize(call, source, "ReEncryptFrom", "ReEncryptTo")
        return {"KeyId": call.key_arn, "SourceKeyId": call.key_arn}

    def _create_grant(self, call):
        """Only as a dry run."""
        key = self.store.find(self._key_id(call), call.region)
        if not call.body.get("Operations") or not call.body.get("GranteePrincipal"):
            raise KmsError("ValidationException", "GranteePrincipal and Operations are required")
        if not call.body.get("DryRun"):
            raise KmsError("UnsupportedOperationException", "")
        self._authorize(call, key)
        return {"GrantId": "0" * 64, "GrantToken": "emulated"}

    def _get_key_policy(self, call):
        key = self.store.find(self._key_id(call), call.region)
        call.key_arn = self.store.arn(key)
        if "document" not in key.policy:
            raise KmsError("AccessDeniedException", "this key has a short policy of the emulator's")
        self._authorize(call, key)
        return {"Policy": json.dumps(key.policy["document"], indent=2), "PolicyName": "default"}

    def _decrypt(self, call):
        if call.body.get("DryRunModifiers") and "CiphertextBlob" not in call.body:
            self._authorize(call, self.store.find(self._key_id(call), call.region))
            return {"KeyId": call.key_arn}
        blob = self._blob(call, "CiphertextBlob", MAX_BLOB_BYTES)
        if call.body.get("EncryptionAlgorithm", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
            raise KmsError("InvalidKeyUsageException", "")
        named = self.store.find(call.body["KeyId"], call.region) if call.body.get("KeyId") else None
        key = self.store.key_of_blob(blob, call.region)
        if named is not None and named is not key:
            call.key_arn = self.store.arn(named)
            raise KmsError("IncorrectKeyException", "The key ID in the request does not identify "
                           "a CMK that can perform this operation.")
        self._authorize(call, key)
        plaintext = self.store.unwrap(key, blob, call.context)
        return {"KeyId": self._answer_arn(call), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
                "KeyMaterialId": "0" * 64, **self._deliver(call, plaintext)}

    def _encrypt(self, call):
        plaintext = self._blob(call, "Plaintext", MAX_PLAINTEXT_BYTES)
        key = self.store.find(self._key_id(call), call.region)
        self._authorize(call, key)
        blob = self.store.wrap(key, plaintext, call.context)
        return {"CiphertextBlob": base64.b64encode(blob).decode(),
                "EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "KeyId": self._answer_arn(call)}

    def _generate_data_key(self, call):
        key = self.store.find(self._key_id(call), call.region)
        spec, count = call.body.get("KeySpec"), call.body.get("NumberOfBytes")
        if (spec is None) == (count is None):
            raise KmsError("ValidationException",
                           "Please specify either number of bytes or key spec.")
        length = KEY_SPECS.get(spec) if count is None else count
        if not isinstance(length, int) or not 1 <= length <= 1024:
            raise KmsError("ValidationException", "1 validation error detected: KeySpec or "
                           "NumberOfBytes failed to satisfy constraint")
        self._authorize(call, key)
        plaintext = os.urandom(length)
        blob = self.store.wrap(key, plaintext, call.context)
        return {"CiphertextBlob": base64.b64encode(blob).decode(), "KeyMaterialId": "0" * 64,
                "KeyId": self._answer_arn(call), **self._deliver(call, plaintext)}

    def _answer_arn(self, call):
        if "wrong-key-id" in call.faults:
            return self.store.arn(kms_store.Key(str(uuid.uuid4()), b""))
        return call.key_arn

    def _deliver(self, call, plaintext):
        """Plaintext for an ordinary caller, an envelope for a Recipient."""
        faults = call.faults
        if "wrong-key" in faults:
            plaintext = os.urandom(len(plaintext))
        if "plaintext-length" in faults:
            plaintext = os.urandom(faults["plaintext-length"].get("bytes", 47))
        if call.recipient is None:
            return {"Plaintext": base64.b64encode(plaintext).decode()}
        public_key = call.recipient.public_key
        if "wrong-recipient" in faults:
            public_key = rsa.generate_private_key(65537, 2048).public_key()
        with self._lock:
            call.form = next(self._forms)
            empty = next(self._empty_plaintexts)
        envelope = cms_ber.envelope(public_key, plaintext, call.form)
        if "garbage-cms" in faults:
            envelope = os.urandom(len(envelope))
        if "truncated-cms" in faults:
            envelope = envelope[:len(envelope) - 7]
        answer = {"CiphertextForRecipient": base64.b64encode(envelope).decode()}
        if "no-envelope" in faults:
            answer = {}
        if "leak-plaintext" in faults:
            answer["Plaintext"] = base64.b64encode(plaintext).decode()
        elif empty is not Ellipsis:
            # The real member is null or empty; a client has to take it absent as well.
            answer["Plaintext"] = empty
        return answer

    def control(self, request):
        """GET /_emu/keys lists; POST makes a key or changes aliases, policy or state."""
        if request.raw_path == "/_emu/clock" and request.command == "POST":
            self.clock_offset_s = json.loads(request.body)["offset_s"]
            return emu_http.json_answer(200, {"offset_s": self.clock_offset_s})
        if request.raw_path != "/_emu/keys":
            return None
        if request.command == "POST":
            try:
                wanted = json.loads(request.body)
                key = self.store.put(wanted.get("id"), wanted.get("aliases"),
                                     wanted.get("policy"), wanted.get("state"),
                                     wanted.get("region"), wanted.get("multi_region", False))
            except (ValueError, AttributeError) as failure:
                return emu_http.json_answer(400, {"error": str(failure)})
            return emu_http.json_answer(200, {"arn": self.store.arn(key)})
        return emu_http.json_answer(200, self.store.describe())


def parse_key(text):
    """"alias/models:4=<96 hex>,12=<96 hex>" as arguments of KeyStore.put()."""
    name, _, conditions = text.partition(":")
    policy = None
    if conditions:
        pairs = [item.partition("=") for item in conditions.split(",")]
        policy = kms_store.check_policy({"pcrs": {index: value for index, _, value in pairs}})
    if name.startswith("alias/"):
        return {"aliases": [name], "policy": policy}
    return {"key_id": name, "policy": policy}


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--state", help="directory that survives (default: temporary)")
    parser.add_argument("--credentials", required=True, help="JSON file of valid access keys")
    anchor = parser.add_mutually_exclusive_group(required=True)
    anchor.add_argument("--root", help="PEM of the root that documents chain to")
    anchor.add_argument("--ca", help="directory of the test authority; made when missing")
    parser.add_argument("--config", help='JSON: {"keys": [{"id", "aliases", "policy", "state"}]}')
    parser.add_argument("--key", action="append", default=[], metavar="NAME[:PCR=HEX,...]",
                        help="make a key by alias/NAME or by id, with PCR conditions")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", help="write port and url, for a shell to source")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--account", default="111122223333")
    parser.add_argument("--ber", choices=BER_CHOICES, default="rotate")
    parser.add_argument("--error-type", choices=("bare", "prefixed", "rotate"), default="bare")
    parser.add_argument("--clock-offset", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--fault", action="append", default=[], type=json.loads, metavar="JSON")
    parser.add_argument("--log", help="append the request log to this file")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve HTTPS")
    return parser


def load_root(path):
    with open(path, "rb") as pem:
        return x509.load_pem_x509_certificate(pem.read())


def main(argv=None):
    options = make_parser().parse_args(argv)
    stop = emu_http.stop_event()
    state = options.state or tempfile.mkdtemp(prefix="kms.")
    try:
        os.makedirs(state, exist_ok=True)
        root = testca.root_of(options.ca) if options.ca else load_root(options.root)
        emulator = KmsEmulator(state, sigv4.CredentialsFile(options.credentials),
                               root, options.region, options.ber,
                               options.error_type, options.clock_offset, options.fault,
                               options.log, options.account)
        if options.config:
            with open(options.config, encoding="utf-8") as config:
                for entry in json.load(config)["keys"]:
                    emulator.store.put(entry.get("id"), entry.get("aliases"),
                                       entry.get("policy"), entry.get("state"))
        for text in options.key:
            emulator.store.put(**parse_key(text))
        with emu_http.Server(emulator, options.host, options.port, options.tls) as server:
            scheme = "https" if options.tls else "http"
            emu_http.announce({"port": server.port,
                               "url": f"{scheme}://{options.host}:{server.port}"},
                              options.port_file)
            stop.wait()
    except (OSError, ValueError) as failure:
        print(f"kms: {failure}", file=sys.stderr)
        return 1
    finally:
        if not options.state:
            shutil.rmtree(state, ignore_errors=True)
        if options.port_file and os.path.exists(options.port_file):
            os.unlink(options.port_file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
