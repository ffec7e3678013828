"""What the cases of make_cases.py are made of: an authority, owners, models, seals, logs, documents.

Time stands still at NOW; keys of the authority are fresh at each run, everything else is fixed.
"""
import base64
import datetime
import hashlib
import json
import os
import sys
import tempfile

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", folder) for folder in ("oracle", "emu")]

import cose  # noqa: E402
import measured  # noqa: E402
import setformat  # noqa: E402
import sealwriter  # noqa: E402
import testca  # noqa: E402
import verity  # noqa: E402

NOW = datetime.datetime(2026, 6, 1, 12, 0, 0)
NOW_S = 1780315200
BOOT = "0123456789abcdef0123456789abcdef"
ZERO = bytes(48)
FF = b"\xff" * 48
PCR4, PCR7, PCR12 = (hashlib.sha384(text).digest() for text in (b"kernel", b"secure boot", b"command line"))


def b64(data):
    return base64.b64encode(data).decode()


class Model:
    def __init__(self, name, owner=None):
        self.name = name
        self.plain = f"GGUF {name}\n".encode() * 9
        self.digests = measured.Digests(verity.digest_of_bytes(self.plain).hex(),
                                        hashlib.sha256(self.plain).hexdigest(),
                                        hashlib.sha384(self.plain).hexdigest())
        self.owner = owner

    def head(self, owner="own", damage=False):
        """Core and signature block of its seal. owner: who signs, None for nobody."""
        draft = sealwriter.Draft(self.plain, path=self.name.encode(), file_id=hashlib.sha256(self.plain).digest(),
                                 data_key=bytes(32), slots=[sealwriter.slot(3, bytes(76))],
                                 owner=self.owner if owner == "own" else owner)
        head = bytearray(draft.to_bytes()[:2176])
        if damage:
            head[2176 - 31] ^= 1
        return bytes(head)

    def expected(self, *kinds, label=None):
        found = {"label": label} if label else {}
        return {**found, **{kind: getattr(self.digests, kind) for kind in kinds or ("sha256", "sha384", "verity")}}


class SetObject:
    """A set of these models, in the order of their names."""

    def __init__(self, *models, name="prod", version=3, owner=None):
        self.members = [setformat.member_of(model.name.encode(), model.head())
                        for model in sorted(models, key=lambda model: model.name)]
        self.content = setformat.content_digest(self.members).hex()
        self.raw = setformat.Draft(self.members, set_id=b"i" * 32, set_key=bytes(32), owner=owner, version=version,
                                   name=name.encode(), slots=[sealwriter.slot(3, bytes(76))]).to_bytes()

    def head(self, damage=False):
        """Header and signature block."""
        head = bytearray(self.raw[:2176])
        if damage:
            head[2176 - 31] ^= 1
        return bytes(head)

    def with_table(self):
        return self.head() + b"".join(map(setformat.Draft.entry, self.members))


def owner_key(seed):
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def spki(key):
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def owner(name, key):
    return {"name": name, "key": b64(spki(key))}


def owner_id(key):
    return hashlib.sha256(spki(key)).hexdigest()


SET = hashlib.sha256(b"a set").hexdigest()
ACME, OTHER = owner_key(1), owner_key(2)
MISTRAL, LLAMA, PHI = Model("mistral-7b.gguf", ACME), Model("llama/8b.gguf", ACME), Model("phi", OTHER)


class Machine:
    """A PCR and its log; extensions in the order of the calls."""

    def __init__(self, pcr=15, boot=BOOT):
        self.pcr, self.boot, self.value, self.log, self.systemd, self.first = pcr, boot, ZERO, b"", b"", True

    def extend(self, digest):
        self.value = hashlib.sha384(self.value + digest).digest()

    def record(self, digest, content, kind="io.sealedfs", **changes):
        if kind == "io.sealedfs" and self.first:
            content["before"] = [{"hashAlg": "sha256", "digest": "00" * 32},
                                 {"hashAlg": "sha384", "digest": self.value.hex()}]
            self.first = False
        record = {"pcr": self.pcr, "digests": [{"hashAlg": "sha256", "digest": "11" * 32},
                                               {"hashAlg": "sha384", "digest": digest.hex()}],
                  "content_type": kind, "content": content, **changes}
        self.extend(digest)
        self.log += b"\x1e" + json.dumps(record, separators=(",", ":")).encode() + b"\n"
        return self

    def start(self, mode="verity", owners=(ACME,), attest="nitrotpm", kms=(), text=None):
        text = text or measured.start_text(mode, attest, [owner_id(key) for key in owners], kms)
        return self.record(hashlib.sha384(text.encode()).digest(), {
            "eventType": "start", "string": text, "bootId": self.boot, "timestamp": 1})

    def model(self, model, mode="verity", digest=None, **changes):
        d = model.digests
        content = {"eventType": "model", "string": measured.event_text(mode, d), "bootId": self.boot, "timestamp": 2,
                   "mode": mode, "model": "a name that is not measured"}
        kinds = {"verity": ("verity",), "sha256": ("sha256",)}.get(mode, ("sha256", "sha384"))
        content.update({kind: getattr(d, kind) for kind in kinds}, **changes)
        return self.record(digest or measured.event_digest(mode, "sha384", d), content)

    def set_of(self, content, mode="set"):
        """A set with this content digest."""
        text = f"sealedfs:set:sha256:{content}"
        return self.record(hashlib.sha384(text.encode()).digest(), {
            "eventType": "model", "string": text, "bootId": self.boot, "timestamp": 2, "mode": mode, "model": "a set",
            "set": content, "setId": "77" * 32, "setVersion": 3, "setMembers": 2})

    def machine_id(self, count=1):
        """systemd extends, before sealedfs does."""
        for number in range(count):
            text = f"machine-id:{number}"
            self.by_systemd(hashlib.sha384(text.encode()).digest(), {"eventType": "machine-id", "string": text})
        return self

    def by_systemd(self, digest, content, kind="systemd"):
        record = {"pcr": self.pcr, "digests": [{"hashAlg": "sha384", "digest": digest.hex()}],
                  "content_type": kind, "content": content}
        self.extend(digest)
        self.systemd += b"\x1e" + json.dumps(record).encode() + b"\n"
        return self

    def behind_systemd(self, hidden):
        """What another machine extended, told as if systemd had."""
        for digest, content in hidden:
            self.by_systemd(digest, content)
        return self

    def foreign(self, data=b"somebody else"):
        """Somebody extends and leaves no record."""
        self.extend(hashlib.sha384(data).digest())
        return self

    def logs(self):
        found = {"event_log": b64(self.log)}
        if self.systemd:
            found["systemd_log"] = b64(self.systemd)
        return found


class World:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.ca = testca.TestCa(os.path.join(self.folder.name, "ca"))
        self.ca.refresh(NOW)
        self.key, self.leaf = self.ca.issue_leaf("i-0123456789abcdef0-tpm0000000000000000", NOW)
        self.root = testca.to_der(self.ca.root)

    def payload(self, machine=None, at_ms=None, enclave=False, **changes):
        pcrs = {index: FF if 17 <= index <= 22 else ZERO for index in range(24)}
        pcrs.update({0: hashlib.sha384(b"firmware").digest(), 4: PCR4, 7: PCR7})
        if machine:
            pcrs[machine.pcr] = machine.value
        pcrs.update(changes.pop("pcr_values", {}))
        fields = {"module_id": "i-0123456789abcdef0-tpm0000000000000000", "digest": "SHA384",
                  "timestamp": NOW_S * 1000 if at_ms is None else at_ms, "nitrotpm_pcrs": pcrs,
                  "certificate": testca.to_der(self.leaf), "cabundle": self.ca.cabundle(), "public_key": None,
                  "user_data": None, "nonce": None}
        if enclave:
            fields["module_id"] = "i-0123456789abcdef0-enc0123456789abcdef"
            fields["pcrs"] = {index: pcrs[index] for index in range(16)}
            del fields["nitrotpm_pcrs"]
        fields.update(changes)
        return {name: value for name, value in fields.items() if value != "left out"}

    def sign(self, payload, key=None, **form):
        return cose.encode_document(payload, key or self.key, **form)

    def document(self, machine=None, key=None, form=None, indefinite=True, omit_null=False, **changes):
        encoded = cose.encode_payload(self.payload(machine, **changes), indefinite, omit_null)
        return self.sign(encoded, key, **(form or {}))

    def request(self, document, machine=None, **more):
        """Judged twelve seconds after NOW; machine: with its logs."""
        found = {"document": b64(document), "root": b64(self.root), "time": NOW_S + 12}
        if machine:
            found.update(machine.logs())
        found.update(more)
        return found

    def both(self, machine, **more):
        """The machine's document and logs in one request."""
        return self.request(self.document(machine), machine, **more)
