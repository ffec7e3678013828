"""A machine that serves models, as a consumer sees it from outside: what it extends, its event log,
seals, documents and evidence. Written from attest/PCRS.md and attest/verdict/VERDICT.md, on the
emulator's documents; no TPM and none of our programs take part.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import os
import secrets
import sys
import threading
import time

import cbor2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import common

sys.path.insert(1, common.EMU)
import measured  # pylint: disable=wrong-import-position
import nsm_attest  # pylint: disable=wrong-import-position
import sealwriter  # pylint: disable=wrong-import-position
import setformat  # pylint: disable=wrong-import-position
import testca  # pylint: disable=wrong-import-position
import verity  # pylint: disable=wrong-import-position

HEAD = 0x880
BOOT_ID = "0123456789abcdef0123456789abcdef"


def base64_text(data):
    return base64.b64encode(data).decode()


def digests_of(plain):
    return measured.Digests(verity.digest_of_bytes(plain).hex(), hashlib.sha256(plain).hexdigest(),
                            hashlib.sha384(plain).hexdigest())


class Owner:
    """Someone who seals models."""

    def __init__(self, name):
        self.name = name
        self.private = ed25519.Ed25519PrivateKey.generate()
        public = self.private.public_key()
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        self.spki = public.public_bytes(serialization.Encoding.DER, kind)
        self.pem = public.public_bytes(serialization.Encoding.PEM, kind)
        self.key_id = hashlib.sha256(self.spki).hexdigest()


def seal_head(plain, path, owner=None):
    draft = sealwriter.Draft(plain, path=path.encode(), file_id=secrets.token_bytes(32),
                             data_key=bytes(32), slots=[sealwriter.slot(9, b"x")],
                             owner=owner.private if owner else None)
    return draft.to_bytes()[:HEAD]


def set_object(files, name, version, owner):
    """(sealed.set, its content digest) of {path: plaintext}."""
    members = [setformat.member_of(path.encode(), seal_head(plain, path)) for path, plain in sorted(files.items())]
    raw = setformat.Draft(members, set_id=secrets.token_bytes(32), set_key=bytes(32), owner=owner.private,
                          name=name.encode(), version=version, slots=[sealwriter.slot(3, bytes(76))]).to_bytes()
    return raw, setformat.content_digest(members).hex()


class Machine:
    """An EC2 instance with NitroTPM that boots, measures and attests."""

    def __init__(self, folder):
        self.attester = nsm_attest.Attester(testca.TestCa(folder))
        self.root = testca.to_der(self.attester.authority.root)
        self.root_pem = testca.to_pem(self.attester.authority.root)
        self.boot()

    def boot(self):
        self.pcrs = {index: bytes(48) for index in range(24)}
        self.pcrs.update({index: b"\xff" * 48 for index in range(17, 23)})
        for index in (0, 4, 7):
            self.pcrs[index] = hashlib.sha384(b"boot %d" % index).digest()
        self.records, self.seals, self.sets, self.faults = [], [], [], []

    def extend(self, value):
        """An extension without a record: nobody can explain it."""
        self.pcrs[15] = hashlib.sha384(self.pcrs[15] + value).digest()

    def _record(self, value, content_type="io.sealedfs", **content):
        if not self.records:
            content["before"] = [{"hashAlg": "sha384", "digest": self.pcrs[15].hex()}]
        self.extend(value)
        self.records.append({"pcr": 15, "digests": [{"hashAlg": "sha384", "digest": value.hex()}],
                             "content_type": content_type,
                             "content": {"bootId": BOOT_ID, "timestamp": 1, **content}})

    def start(self, mode="verity", *owners, kms=()):
        text = measured.start_text(mode, "nitrotpm", [owner.key_id for owner in owners], kms)
        self._record(measured.of_text("sha384", text), eventType="start", string=text)

    def measure(self, plain, name, mode="verity"):
        digests = digests_of(plain)
        kinds = {"verity": ("verity",), "declared": ("sha256", "sha384")}.get(mode, (mode,))
        self._record(measured.event_digest(mode, "sha384", digests), eventType="model", mode=mode,
                     model=name, string=measured.event_text(mode, digests),
                     **{kind: getattr(digests, kind) for kind in kinds})

    def measure_set(self, content):
        """content: digest of a set, in hex."""
        text = f"sealedfs:set:sha256:{content}"
        self._record(measured.of_text("sha384", text), eventType="model", mode="set", model="a set", string=text,
                     set=content)

    def stranger(self):
        """An extension with a record of somebody else."""
        self._record(hashlib.sha384(b"stranger").digest(), "org.example", string="stranger")

    def document(self, nonce=None):
        request = cbor2.dumps({"Attestation": {"user_data": None, "nonce": nonce, "public_key": None}})
        answer = self.attester.respond(request, self.pcrs, self.faults)
        return cbor2.loads(answer)["Attestation"]["document"]

    def event_log(self):
        return b"".join(b"\x1e" + json.dumps(record).encode() + b"\n" for record in self.records)

    def evidence(self, nonce=None):
        return {"sealedfs_evidence": 1, "document": base64_text(self.document(nonce)), "pcr": 15,
                "event_log": base64_text(self.event_log()), "systemd_log": None,
                "seals": [{"path": path, "head": base64_text(head)} for path, head in self.seals],
                "sets": [{"head": base64_text(head)} for head in self.sets],
                "mounts": [{"path": "/run/models", "models": [
                    {"name": path, "state": "open", "measured": True} for path, _ in self.seals]}]}


class Endpoint(http.server.ThreadingHTTPServer):
    """Answers as "Evidence" of VERDICT.md says; `answer(nonce)` may be replaced: (status, body)."""

    daemon_threads = True

    def __init__(self, machine, pages=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.machine, self.pages, self.answer, self.nonces = machine, pages or {}, self.fresh, []
        self.host = f"127.0.0.1:{self.server_address[1]}"

    def fresh(self, nonce):
        return 200, json.dumps(self.machine.evidence(nonce)).encode()

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # pylint: disable=invalid-name
        path, _, query = self.path.partition("?")
        kind = "application/json"
        if path == "/v1/evidence" and query.startswith("nonce="):
            nonce = bytes.fromhex(query[len("nonce="):])
            self.server.nonces.append(nonce)
            status, body = self.server.answer(nonce)
        elif path in self.server.pages:
            status, body, kind = 200, self.server.pages[path], "text/html; charset=utf-8"
        else:
            status, body = 404, b'{"error": "there is nothing here"}'
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_unused):
        pass


def write(folder, name, data):
    path = os.path.join(folder, name)
    with open(path, "wb") as out:
        out.write(data)
    return path


def now():
    return int(time.time())
