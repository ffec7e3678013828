"""Keys of the KMS emulator: names, policies, and wrapping of data keys.

Everything is kept in one file of the state directory, key material included, so that wrapped data
keys outlive the emulator. Blobs are AES-256-GCM with key id and encryption context as additional
data, filled up to the size of real ones. Lookups raise KmsError as AWS would answer.
"""
import base64
import json
import os
import struct
import threading
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BLOB_MAGIC = b"emuKMS\x01"
NONCE_BYTES = 12
TAG_BYTES = 16
# A real blob of a 32-byte key has 184 bytes.
INNER_MIN_BYTES = 184 - len(BLOB_MAGIC) - 16 - NONCE_BYTES - TAG_BYTES

MULTI_REGION = "mrk-"

SERVER_ERRORS = {"KMSInternalException": 500, "KeyUnavailableException": 500,
                 "DependencyTimeoutException": 503, "ServiceUnavailableException": 503,
                 "InternalFailure": 500}


class KmsError(Exception):
    """An error answer: type, text, HTTP status."""

    def __init__(self, kind, message, status=None):
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.status = status or SERVER_ERRORS.get(kind, 400)


class Key:
    """In one region. Related multi-Region keys (mrk-...) have one id and one material."""

    def __init__(self, key_id, material, aliases=(), policy=None, state="Enabled", region="us-east-1"):
        self.key_id = key_id
        self.region = region
        self.material = material
        self.aliases = list(aliases)
        self.policy = check_policy(policy or {})
        self.state = state

    def to_json(self):
        return {"id": self.key_id, "material": base64.b64encode(self.material).decode(),
                "aliases": self.aliases, "policy": self.policy, "state": self.state,
                "region": self.region}

    def id_bytes(self):
        return uuid.UUID(self.key_id.removeprefix(MULTI_REGION)).bytes


def check_policy(policy):
    """{"pcrs": {"4": hex or [hex, ...]}, "operations": [...], "access_keys": [...]}, or a whole key policy:
    {"document": {"Version": ..., "Statement": ...}, "principals": {access key: ARN}}

    operations: those that the PCR conditions guard, by default Decrypt alone.
    access_keys: who may use the key at all, by default anyone with valid credentials; an object
    {"Decrypt": [...]} restricts single operations.
    """
    short, whole = {"pcrs", "operations", "access_keys"}, {"document", "principals"}
    unknown = set(policy) - (whole if "document" in policy else short)
    if unknown:
        raise ValueError(f"policy: unknown member {sorted(unknown)[0]}")
    for index, values in policy.get("pcrs", {}).items():
        if not str(index).isdigit() or int(index) > 23:
            raise ValueError(f"policy: no PCR {index}")
        for value in [values] if isinstance(values, str) else values:
            if len(bytes.fromhex(value)) != 48:
                raise ValueError(f"policy: PCR {index} is not a SHA-384 value")
    return policy


class KeyStore:
    """All keys of one account; region: where keys are unless it is said. Thread safe."""

    def __init__(self, state_dir, region="us-east-1", account="111122223333"):
        self.path = os.path.join(state_dir, "kms-keys.json")
        self.region = region
        self.account = account
        self._lock = threading.Lock()
        self._keys = {}
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as stored:
                for entry in json.load(stored):
                    where = entry.get("region", region)
                    self._keys[where, entry["id"]] = Key(
                        entry["id"], base64.b64decode(entry["material"]), entry["aliases"],
                        entry["policy"], entry["state"], where)

    def _save(self):
        temporary = self.path + ".new"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump([key.to_json() for key in self._keys.values()], out)
        os.replace(temporary, self.path)

    def _make(self, key_id, region, multi_region):
        related = next((key for key in self._keys.values() if key.key_id == key_id), None)
        if related is not None and not key_id.startswith(MULTI_REGION):
            raise ValueError("only a multi-Region key has replicas")
        if key_id is None:
            key_id = MULTI_REGION + uuid.uuid4().hex if multi_region else str(uuid.uuid4())
        elif not key_id.startswith(MULTI_REGION):
            key_id = str(uuid.UUID(key_id))
        key = Key(key_id, related.material if related else os.urandom(32), region=region)
        self._keys[region, key_id] = key
        return key

    def regions(self):
        with self._lock:
            return {self.region} | {key.region for key in self._keys.values()}

    def put(self, key_id=None, aliases=None, policy=None, state=None, region=None,
            multi_region=False):
        """Make a key or change one; found by id or by its first alias. Returns it. The id of a
        multi-Region key with another region makes a replica there."""
        aliases = list(aliases or [])
        region = region or self.region
        for name in aliases:
            if not name.startswith("alias/"):
                raise ValueError(f"an alias begins with alias/: {name}")
        with self._lock:
            key = self._keys.get((region, key_id)) or self._by_alias(
                aliases[0] if aliases else None, region)
            if key is None:
                key = self._make(key_id, region, multi_region)
            key.aliases += [name for name in aliases if name not in key.aliases]
            if policy is not None:
                key.policy = check_policy(policy)
            if state is not None:
                key.state = state
            self._save()
            return key

    def _by_alias(self, name, region):
        return next((key for key in self._keys.values()
                     if name in key.aliases and key.region == region), None)

    def arn(self, key):
        return f"arn:aws:kms:{key.region}:{self.account}:key/{key.key_id}"

    def describe(self):
        with self._lock:
            return [{"arn": self.arn(key), "aliases": key.aliases, "policy": key.policy,
                     "state": key.state} for key in self._keys.values()]

    def find(self, name, region):
        """By key id, key ARN, alias or alias ARN, in the region that was asked."""
        prefix = f"arn:aws:kms:{region}:{self.account}:"
        short = name
        if name.startswith("arn:"):
            if not name.startswith(prefix):
                raise KmsError("NotFoundException", f"Invalid arn {name}")
            short = name[len(prefix):]
            if not short.startswith(("key/", "alias/")):
                raise KmsError("ValidationException", f"Invalid arn {name}")
            short = short[4:] if short.startswith("key/") else short
        with self._lock:
            is_alias = short.startswith("alias/")
            key = self._by_alias(short, region) if is_alias else self._keys.get((region, short))
        if key is None and is_alias:
            raise KmsError("NotFoundException", f"Alias {prefix}{short} is not found.")
        if key is None:
            raise KmsError("NotFoundException", f"Key '{prefix}key/{short}' does not exist")
        return key

    def wrap(self, key, plaintext, context):
        """A CiphertextBlob."""
        inner = struct.pack(">H", len(plaintext)) + plaintext
        inner += bytes(max(0, INNER_MIN_BYTES - len(inner)))
        nonce = os.urandom(NONCE_BYTES)
        head = BLOB_MAGIC + key.id_bytes()
        return head + nonce + AESGCM(key.material).encrypt(nonce, inner, _additional(head, context))

    def key_of_blob(self, blob, region):
        """The key that wrapped blob, or its relative in this region; IncorrectKey and access are for the caller to judge."""
        if len(blob) < len(BLOB_MAGIC) + 16 or not blob.startswith(BLOB_MAGIC):
            raise KmsError("InvalidCiphertextException", "")
        id_bytes = blob[len(BLOB_MAGIC):len(BLOB_MAGIC) + 16]
        with self._lock:
            key = next((key for key in self._keys.values()
                        if key.region == region and key.id_bytes() == id_bytes), None)
        if key is None:
            raise KmsError("AccessDeniedException", "The ciphertext refers to a customer master "
                           "key that does not exist, does not exist in this region, or you are "
                           "not allowed to access.")
        return key

    def unwrap(self, key, blob, context):
        start = len(BLOB_MAGIC) + 16
        nonce, sealed = blob[start:start + NONCE_BYTES], blob[start + NONCE_BYTES:]
        try:
            inner = AESGCM(key.material).decrypt(nonce, sealed, _additional(blob[:start], context))
        except (InvalidTag, ValueError) as failure:
            raise KmsError("InvalidCiphertextException", "") from failure
        length = struct.unpack(">H", inner[:2])[0]
        return inner[2:2 + length]


def _additional(head, context):
    return head + json.dumps(context, sort_keys=True).encode()
