"""HMAC sessions of a NitroTPM: what a client protects is opened here and done by password in swtpm.

swtpm cannot check an HMAC over a mailbox, which it holds as a small placeholder under another name,
and nobody outside swtpm knows the key of a session that was salted with one of its keys. So the
storage primary key that a client creates is one of ours; a session that is salted with it ends
here. One without salt and cipher, whose key everybody knows, is swtpm's, and ends here when it comes
with the vendor command. As many may be active as a TPM behind a resource manager has; what a client
leaves behind stays and is counted.

Written from TPM 2.0 Part 1 (KDFa, KDFe, "Session-based authorizations", "Parameter encryption").
Sessions that are bound, of policies, or salted with other keys are swtpm's alone.
"""
import dataclasses
import hashlib
import hmac
import os
import pathlib
import struct

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import tpm_wire as wire

RH_NULL = 0x40000007
# TPMT_PUBLIC up to its unique field: TPM v2.0 Provisioning Guidance 7.5.1, ECC P-256.
STORAGE_KEY = bytes.fromhex("0023" "000b" "00030472" "0000"
                            "0006" "0080" "0043" "0010" "0003" "0010")
FIRST_KEY, FIRST_SESSION = 0x80F00000, 0x02F00000
ACTIVE_MAX = 64
RC_OBJECT_MEMORY, RC_SESSION_MEMORY = 0x902, 0x903
P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
COORDINATE = 32
ALG_AES, ALG_NULL, SESSION_HMAC = 0x0006, 0x0010, 0x00
CONTINUE, DECRYPT, ENCRYPT, AUDIT = 0x01, 0x20, 0x40, 0x80
RC_FAILURE = 0x101
RC_BAD_AUTH = 0x9A2
RC_ATTRIBUTES = 0x982
# command: (handles, how many of them are authorised)
COMMANDS = {
    wire.CC_NV_DEFINE_SPACE: (1, 1), wire.CC_NV_UNDEFINE_SPACE: (2, 1), wire.CC_NV_WRITE: (2, 1),
    wire.CC_NV_READ: (2, 1), wire.CC_NV_READ_PUBLIC: (1, 0), wire.CC_GET_CAPABILITY: (0, 0),
    wire.CC_PCR_READ: (0, 0), wire.CC_PCR_EXTEND: (1, 1), wire.CC_VENDOR_NSM: (2, 1),
}
SIZED_FIRST = {wire.CC_NV_DEFINE_SPACE, wire.CC_NV_WRITE}
SIZED_FIRST_ANSWER = {wire.CC_NV_READ, wire.CC_NV_READ_PUBLIC}


def kdf_a(function, key, label, newer, older, length):
    """Part 1, 11.4.10.2: SP 800-108 in counter mode with HMAC."""
    out = b""
    for counter in range(1, 2 + length // function().digest_size):
        message = (struct.pack(">I", counter) + label + b"\0" + newer + older
                   + struct.pack(">I", 8 * length))
        out += hmac.new(key, message, function).digest()
    return out[:length]


def kdf_e(function, shared, label, party_u, party_v):
    """Part 1, 11.4.10.3: one block is as much as a salt needs."""
    return function(struct.pack(">I", 1) + shared + label + b"\0" + party_u + party_v).digest()


@dataclasses.dataclass
class Session:
    handle: int
    function: object
    key: bytes
    nonce_tpm: bytes
    aes: bool
    salted: bool

    def hmac(self, value, digest, newer, older, attributes):
        return hmac.new(self.key + value, digest + newer + older + bytes([attributes]),
                        self.function).digest()

    def cipher(self, value, newer, older):
        keys = kdf_a(self.function, self.key + value, b"CFB", newer, older, 32)
        return Cipher(algorithms.AES(keys[:16]), modes.CFB(keys[16:]))


@dataclasses.dataclass
class Authorisation:
    handle: int
    nonce: bytes
    attributes: int
    hmac: bytes

    @classmethod
    def parse(cls, area):
        reader = wire.Reader(area, wire.RC_AUTHSIZE)
        found = cls(reader.number(4), reader.sized(), reader.number(1), reader.sized())
        return None if reader.rest() else found


class Sessions:
    """swtpm: exchange(); run: runs a command that has at most a password; auth_value(index)."""

    def __init__(self, swtpm, seed_file, run, auth_value):
        self.swtpm, self.run, self.auth_value = swtpm, run, auth_value
        path = pathlib.Path(seed_file)
        if not path.exists():
            path.write_bytes(os.urandom(32))
        self.seed = path.read_bytes()
        self.keys, self.sessions = {}, {}

    def reset(self):
        """After Startup: neither keys nor sessions."""
        self.keys.clear()
        self.sessions.clear()

    @staticmethod
    def _free(table, first):
        return next((n for n in range(first, first + ACTIVE_MAX) if n not in table), None)

    def handle(self, data):
        """The answer to a command, or None when it has nothing to do with our sessions."""
        tag, _, code = wire.parse_header(data)
        if code == wire.CC_CREATE_PRIMARY:
            return self._create_primary(data)
        if code == wire.CC_START_AUTH_SESSION:
            return self._start(data)
        if code == wire.CC_FLUSH_CONTEXT:
            return self._flush(data)
        if tag != wire.TAG_SESSIONS or code not in COMMANDS:
            return None
        command = wire.parse_command(data, COMMANDS[code][0])
        given = Authorisation.parse(command.auth)
        session = self.sessions.get(given.handle) if given else None
        if session is None or not (session.salted or code == wire.CC_VENDOR_NSM):
            return None
        return self._process(command, session, given)

    def _create_primary(self, data):
        command = wire.parse_command(data, 1)
        reader = wire.Reader(command.parameters)
        reader.sized()
        template = reader.sized()
        if not template.startswith(STORAGE_KEY):
            return None
        response = self.swtpm.exchange(data)
        if wire.response_code(response):
            return response
        reader = wire.Reader(response[wire.HEADER.size:])
        theirs, rest = reader.number(4), reader.rest()
        self.swtpm.run(wire.build_command(wire.CC_FLUSH_CONTEXT, [theirs], None))
        handle = self._free(self.keys, FIRST_KEY)
        if handle is None:
            return wire.error_response(RC_OBJECT_MEMORY)
        scalar = int.from_bytes(hashlib.sha512(self.seed + template).digest(), "big")
        key = ec.derive_private_key(scalar % (P256_ORDER - 1) + 1, ec.SECP256R1())
        point = key.public_key().public_numbers()
        reader = wire.Reader(rest)
        reader.number(4)
        public = reader.sized()
        ours = STORAGE_KEY + b"".join(wire.sized(n.to_bytes(COORDINATE, "big"))
                                      for n in (point.x, point.y))
        # The creation ticket stays swtpm's: it is for a command that nobody uses here.
        names = [b"\x00\x0b" + hashlib.sha256(one).digest() for one in (public, ours)]
        self.keys[handle] = key
        return (response[:wire.HEADER.size] + struct.pack(">I", handle)
                + rest.replace(public, ours).replace(names[0], names[1]))

    def _start(self, data):
        command = wire.parse_command(data, 2)
        reader = wire.Reader(command.parameters)
        nonce, secret, kind, cipher = (reader.sized(), reader.sized(), reader.number(1),
                                       reader.number(2))
        reader.take(0 if cipher == ALG_NULL else 4)
        hash_number = reader.number(2)
        key = self.keys.get(command.handles[0])
        function = {number: f for number, f in wire.HASHES.values()}.get(hash_number)
        if (kind != SESSION_HMAC or command.handles[1] != RH_NULL or function is None
                or not (key or command.handles[0] == RH_NULL and cipher == ALG_NULL)):
            return None
        if key:
            session_key, nonce_tpm = self._salt(key, secret), os.urandom(len(nonce))
            session_key = kdf_a(function, session_key, b"ATH", nonce_tpm, nonce,
                                function().digest_size)
            handle = self._free(self.sessions, FIRST_SESSION)
            if handle is None:
                return wire.error_response(RC_SESSION_MEMORY)
            response = wire.plain_response(struct.pack(">I", handle) + wire.sized(nonce_tpm))
        else:
            session_key, response = b"", self._start_in_swtpm(data, nonce)
            if wire.response_code(response):
                return response
            reader = wire.Reader(response[wire.HEADER.size:])
            handle, nonce_tpm = reader.number(4), reader.sized()
        self.sessions[handle] = Session(handle, function, session_key, nonce_tpm,
                                        cipher == ALG_AES, key is not None)
        return response

    def _start_in_swtpm(self, data, nonce):
        """Where its few slots are taken, a resource manager would make room: here it is ours."""
        response = self.swtpm.exchange(data)
        handle = self._free(self.sessions, FIRST_SESSION)
        if wire.response_code(response) == RC_SESSION_MEMORY and handle is not None:
            return wire.plain_response(struct.pack(">I", handle)
                                       + wire.sized(os.urandom(len(nonce))))
        return response

    @staticmethod
    def _salt(key, secret):
        reader = wire.Reader(secret)
        x, y = reader.sized(), reader.sized()
        theirs = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()).public_key()
        mine = key.public_key().public_numbers().x.to_bytes(COORDINATE, "big")
        shared = key.exchange(ec.ECDH(), theirs)
        return kdf_e(hashlib.sha256, shared, b"SECRET", x.rjust(COORDINATE, b"\0"), mine)

    def _flush(self, data):
        handle = wire.Reader(data[wire.HEADER.size:]).number(4)
        if self.keys.pop(handle, None) is None and self.sessions.pop(handle, None) is None:
            return None
        return wire.plain_response(b"") if self._is_ours(handle) else self.swtpm.exchange(data)

    @staticmethod
    def _is_ours(handle):
        return handle & 0x00F00000 == FIRST_SESSION & 0x00F00000

    def _name(self, handle):
        if handle >> 24 != 0x01:
            return struct.pack(">I", handle)
        response = self.run(wire.build_command(wire.CC_NV_READ_PUBLIC, [handle], None))
        if wire.response_code(response):
            raise wire.WireError(wire.response_code(response))
        reader = wire.Reader(response[wire.HEADER.size:])
        reader.sized()
        return reader.sized()

    def _process(self, command, session, given):
        authorised = COMMANDS[command.code][1]
        if not authorised and not given.attributes & (AUDIT | ENCRYPT | DECRYPT):
            return wire.error_response(RC_ATTRIBUTES)
        if (given.attributes & DECRYPT and command.code not in SIZED_FIRST
                or given.attributes & ENCRYPT and command.code not in SIZED_FIRST_ANSWER
                or given.attributes & (DECRYPT | ENCRYPT) and not session.aes):
            return wire.error_response(RC_ATTRIBUTES)
        value = self.auth_value(command.handles[0]) if authorised else b""
        try:
            names = b"".join(self._name(handle) for handle in command.handles)
        except wire.WireError as failure:
            return wire.error_response(failure.rc)
        digest = session.function(struct.pack(">I", command.code) + names
                                  + command.parameters).digest()
        wanted = session.hmac(value, digest, given.nonce, session.nonce_tpm, given.attributes)
        if not hmac.compare_digest(wanted, given.hmac):
            return wire.error_response(RC_BAD_AUTH)
        parameters = command.parameters
        if given.attributes & DECRYPT:
            parameters = self._first(parameters, session.cipher(
                value, given.nonce, session.nonce_tpm).decryptor())
        password = struct.pack(">I", wire.RS_PW) + b"\0\0\0" + wire.sized(value)
        response = self.run(wire.build_command(command.code, command.handles,
                                               password if authorised else None, parameters))
        if wire.response_code(response):
            return response
        return self._answer(command, session, given, value, response)

    @staticmethod
    def _first(parameters, way):
        """The parameters with the contents of the first one, a TPM2B, run through a cipher."""
        reader = wire.Reader(parameters)
        first = reader.sized()
        return wire.sized(way.update(first) + way.finalize()) + reader.rest()

    def _answer(self, command, session, given, value, response):
        reader = wire.Reader(response[wire.HEADER.size:])
        if wire.parse_header(response)[0] == wire.TAG_SESSIONS:
            parameters = reader.take(reader.number(4))
        else:
            parameters = reader.rest()
        session.nonce_tpm = os.urandom(session.function().digest_size)
        if given.attributes & ENCRYPT:
            parameters = self._first(parameters, session.cipher(
                value, session.nonce_tpm, given.nonce).encryptor())
        digest = session.function(struct.pack(">II", 0, command.code) + parameters).digest()
        proof = session.hmac(value, digest, session.nonce_tpm, given.nonce, given.attributes)
        if not given.attributes & CONTINUE:
            self._flush(wire.HEADER.pack(wire.TAG_NO_SESSIONS, 14, wire.CC_FLUSH_CONTEXT)
                        + struct.pack(">I", session.handle))
        return wire.session_response(parameters, wire.sized(session.nonce_tpm)
                                     + bytes([given.attributes]) + wire.sized(proof))
