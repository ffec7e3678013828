"""The few TPM 2.0 structures that the NitroTPM emulator reads and writes.

Numbers and layouts are those of TPM 2.0 Library Part 2 and 3; all integers are big-endian. Parsers
raise WireError with the response code that a TPM would give, and never read past the buffer.
"""
import dataclasses
import hashlib
import struct

TAG_NO_SESSIONS = 0x8001
TAG_SESSIONS = 0x8002
HEADER = struct.Struct(">HII")
MAX_COMMAND_BYTES = 4096

CC_NV_UNDEFINE_SPACE_SPECIAL = 0x11F
CC_NV_UNDEFINE_SPACE = 0x122
CC_CLEAR = 0x126
CC_NV_DEFINE_SPACE = 0x12A
CC_PCR_ALLOCATE = 0x12B
CC_CREATE_PRIMARY = 0x131
CC_NV_WRITE = 0x137
CC_STARTUP = 0x144
CC_SHUTDOWN = 0x145
CC_NV_READ = 0x14E
CC_FLUSH_CONTEXT = 0x165
CC_NV_READ_PUBLIC = 0x169
CC_START_AUTH_SESSION = 0x176
CC_GET_CAPABILITY = 0x17A
CC_PCR_READ = 0x17E
CC_PCR_EXTEND = 0x182
CC_VENDOR_NSM = 0x20000001
CC_VENDOR_NSM_TPMA = 0x24000001

COMMAND_NAMES = {
    "clear": CC_CLEAR, "define": CC_NV_DEFINE_SPACE, "undefine": CC_NV_UNDEFINE_SPACE,
    "write": CC_NV_WRITE, "read": CC_NV_READ, "readpublic": CC_NV_READ_PUBLIC,
    "getcap": CC_GET_CAPABILITY, "pcrread": CC_PCR_READ, "extend": CC_PCR_EXTEND,
    "vendor": CC_VENDOR_NSM, "createprimary": CC_CREATE_PRIMARY,
    "startsession": CC_START_AUTH_SESSION, "flush": CC_FLUSH_CONTEXT,
}

RC_SUCCESS = 0
RC_SIZE = 0x095
RC_COMMAND_SIZE = 0x142
RC_COMMAND_CODE = 0x143
RC_AUTHSIZE = 0x144
RC_AUTH_MISSING = 0x125
RC_NV_RANGE = 0x146
RC_NV_AUTHORIZATION = 0x149
RC_NV_UNINITIALIZED = 0x14A
RC_NV_SPACE = 0x14B
RC_WRITE_TOO_LONG = 0x1D5
RC_READ_TOO_LONG = 0x1C4
RC_NV_SIZE = 0x2D5
RC_RETRY = 0x922

RH_OWNER = 0x40000001
RS_PW = 0x40000009
RH_PLATFORM = 0x4000000C

CAP_HANDLES = 1
CAP_COMMANDS = 2
CAP_TPM_PROPERTIES = 6
PT_MANUFACTURER = 0x105
PT_NV_INDEX_MAX = 0x117
PT_TOTAL_COMMANDS = 0x129
PT_VENDOR_COMMANDS = 0x12B
PT_NV_BUFFER_MAX = 0x12C
AMZN_IDENTITY = {0x105: 0x414D5A4E, 0x106: 0x4E697472, 0x107: 0x6F54504D, 0x108: 0x76312E30}

NV_INDEX_FIRST = 0x01000000
NV_INDEX_LAST = 0x01FFFFFF
NV_TYPE_MASK = 0xF0
NVA_NO_DA = 0x02000000
NVA_WRITTEN = 0x20000000

HASHES = {"sha1": (0x0004, hashlib.sha1), "sha256": (0x000B, hashlib.sha256),
          "sha384": (0x000C, hashlib.sha384), "sha512": (0x000D, hashlib.sha512)}
_HASH_BY_ID = {number: function for number, function in HASHES.values()}
PASSWORD_EMPTY = bytes.fromhex("40000009" "0000" "00" "0000")


class WireError(Exception):
    """A malformed command; rc is what the TPM answers."""

    def __init__(self, rc):
        super().__init__(f"rc 0x{rc:x}")
        self.rc = rc


class Reader:
    """Bounded cursor over a command or response."""

    def __init__(self, data, rc=RC_COMMAND_SIZE):
        self.data = data
        self.offset = 0
        self.rc = rc

    def take(self, length):
        if length > len(self.data) - self.offset:
            raise WireError(self.rc)
        piece = self.data[self.offset:self.offset + length]
        self.offset += length
        return piece

    def number(self, length):
        return int.from_bytes(self.take(length), "big")

    def sized(self):
        """A TPM2B."""
        return self.take(self.number(2))

    def rest(self):
        return self.take(len(self.data) - self.offset)


@dataclasses.dataclass
class NvPublic:
    index: int
    name_alg: int
    attributes: int
    policy: bytes
    size: int

    @classmethod
    def parse(cls, data):
        reader = Reader(data, RC_SIZE)
        return cls(reader.number(4), reader.number(2), reader.number(4), reader.sized(),
                   reader.number(2))

    def encode(self):
        return (struct.pack(">IHIH", self.index, self.name_alg, self.attributes, len(self.policy))
                + self.policy + struct.pack(">H", self.size))

    def name(self):
        return struct.pack(">H", self.name_alg) + _HASH_BY_ID[self.name_alg](self.encode()).digest()


@dataclasses.dataclass
class Command:
    """A command split by its known number of handles."""
    tag: int
    code: int
    handles: list
    auth: bytes
    parameters: bytes

    def rebuilt(self, code=None, handles=None, parameters=None):
        """The wire form with some parts replaced; the authorization stays as the client sent it."""
        return build_command(self.code if code is None else code,
                             self.handles if handles is None else handles,
                             self.auth if self.tag == TAG_SESSIONS else None,
                             self.parameters if parameters is None else parameters)


def parse_header(data):
    """(tag, size, code) of a command or response."""
    return HEADER.unpack_from(data)


def parse_command(data, handle_count):
    tag, _, code = parse_header(data)
    reader = Reader(data[HEADER.size:])
    handles = [reader.number(4) for _ in range(handle_count)]
    auth = b""
    if tag == TAG_SESSIONS:
        reader.rc = RC_AUTHSIZE
        auth = reader.take(reader.number(4))
        if len(auth) < len(PASSWORD_EMPTY):
            raise WireError(RC_AUTHSIZE)
    return Command(tag, code, handles, auth, reader.rest())


def build_command(code, handles, auth, parameters=b""):
    """auth is the authorization area, or None for a command without sessions."""
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    if auth is not None:
        body += struct.pack(">I", len(auth)) + auth
    body += parameters
    tag = TAG_NO_SESSIONS if auth is None else TAG_SESSIONS
    return HEADER.pack(tag, HEADER.size + len(body), code) + body


def sized(data):
    return struct.pack(">H", len(data)) + data


def response_code(response):
    return parse_header(response)[2]


def error_response(rc):
    return HEADER.pack(TAG_NO_SESSIONS, HEADER.size, rc)


def plain_response(parameters):
    """Success without sessions."""
    return HEADER.pack(TAG_NO_SESSIONS, HEADER.size + len(parameters), RC_SUCCESS) + parameters


def session_response(parameters, auth=b"\x00\x00\x01\x00\x00"):
    """Success with sessions; the default authorization is the one of a password."""
    body = struct.pack(">I", len(parameters)) + parameters + auth
    return HEADER.pack(TAG_SESSIONS, HEADER.size + len(body), RC_SUCCESS) + body


def response_auth(response):
    """The authorization area at the end of a successful response with sessions."""
    reader = Reader(response[HEADER.size:])
    reader.take(reader.number(4))
    return reader.rest()


def pcr_selection(selection):
    """TPML_PCR_SELECTION of {bank name: iterable of indices}."""
    out = struct.pack(">I", len(selection))
    for bank, indices in selection.items():
        bits = sum(1 << index for index in indices)
        out += struct.pack(">HB", HASHES[bank][0], 3) + bits.to_bytes(3, "little")
    return out


def pcr_read_command(bank, indices):
    return build_command(CC_PCR_READ, [], None, pcr_selection({bank: indices}))


def parse_pcr_read(response):
    """(indices, digests) of a PCR_Read of one bank."""
    reader = Reader(response[HEADER.size:])
    reader.number(4)
    indices = []
    if reader.number(4):
        reader.number(2)
        bits = int.from_bytes(reader.take(reader.number(1)), "little")
        indices = [index for index in range(24) if bits >> index & 1]
    digests = [reader.sized() for _ in range(reader.number(4))]
    return indices, digests


def pcr_extend_command(index, digests):
    """digests is {bank name: digest}."""
    parameters = struct.pack(">I", len(digests))
    for bank, digest in digests.items():
        parameters += struct.pack(">H", HASHES[bank][0]) + digest
    return build_command(CC_PCR_EXTEND, [index], PASSWORD_EMPTY, parameters)


def pcr_allocate_command(banks):
    """All 24 registers of the named banks, none of the others."""
    selection = {bank: range(24) if bank in banks else () for bank in HASHES}
    return build_command(CC_PCR_ALLOCATE, [RH_PLATFORM], PASSWORD_EMPTY, pcr_selection(selection))


def get_capability_command(capability, first, count):
    return build_command(CC_GET_CAPABILITY, [], None, struct.pack(">III", capability, first, count))
