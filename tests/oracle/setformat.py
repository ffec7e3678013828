"""Sets (crypto/FORMAT.md section 11): a reader and a writer, written from that page alone.

The reader refuses with sealedformat.Refused, which has the class of FORMAT.md section 9.
"""

import hashlib
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cryptography.exceptions import InvalidSignature, InvalidTag  # noqa: E402
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402

import sealedformat as sf  # noqa: E402
import sealwriter as sw  # noqa: E402

OBJECT = "sealed.set"
MAGIC = b"sealdset"
SIGN_CONTEXT = b"sealedfs set v1\0"
KDF_CONTEXT = b"sealedfs set v1"
CONTENT_CONTEXT = b"sealedfs set content v1\0"
MAX_MEMBERS = 65536
MAX_TABLE_BYTES = 64 << 20
HEADER = struct.Struct("<8sHHI32sQQQII32s32s32sHH12s256s640s960s")
FIELDS = ("magic", "version_of_format", "suite", "flags", "id", "version", "created", "expires",
          "count", "table_length", "table_sha256", "content", "commitment", "name_length",
          "facts_length", "reserved", "name_field", "facts_field", "reserved_end")  # fmt: skip
ENTRY = struct.Struct("<32s48sQ32s48s32s32s")
ENTRY_FIELDS = ("file_id", "core_digest", "length", "sha256", "sha384", "verity", "description")

sf.CLASSES.setdefault("wrong-member", ("EBADMSG", "set"))
sf.CLASSES.setdefault("missing-member", ("EBADMSG", "set"))
sf.CLASSES.setdefault("old-set", ("EBADMSG", "set"))
sf.CLASSES.setdefault("expired-set", ("EKEYEXPIRED", "set"))


def _need(condition, message, word="malformed"):
    if not condition:
        raise sf.Refused(word, message)


def derive(set_key, header):
    """(member key, commitment, slot-MAC key)"""
    okm = sf._hkdf(bytes(header[0x10:0x30]), set_key, KDF_CONTEXT + bytes(header[0x08:0x30]), 96)
    return okm[:32], okm[32:64], okm[64:]


def content_digest(members):
    """members: dicts with path (bytes), length, verity, description; sorted by path."""
    state = hashlib.sha256(CONTENT_CONTEXT + struct.pack("<Q", len(members)))
    for m in members:
        state.update(struct.pack("<H", len(m["path"])) + m["path"]
                     + struct.pack("<Q", m["length"]) + m["verity"] + m["description"])  # fmt: skip
    return state.digest()


def pending_name(path, file_id):
    return "%s.%s.next" % (path, file_id[:8].hex())


def parse_table(table, count):
    """The members of section 11.4."""
    members, at = [], 0
    for _ in range(count):
        _need(at + 2 <= len(table), "entry")
        size = struct.unpack_from("<H", table, at)[0]
        _need(at + 2 + size + ENTRY.size <= len(table), "entry")
        path = table[at + 2 : at + 2 + size]
        _need(sf.path_problem(path) is None, "path")
        entry = dict(zip(ENTRY_FIELDS, ENTRY.unpack_from(table, at + 2 + size)), path=path)
        _need(entry["length"] <= sf.MAX_PLAINTEXT_BYTES, "length")
        _need(not members or members[-1]["path"] < path, "order")
        members.append(entry)
        at += 2 + size + ENTRY.size
    _need(at == len(table), "bytes after the last entry")
    by_path = {m["path"]: m for m in members}
    for m in members:
        parts = m["path"].split(b"/")
        _need(not any(b"/".join(parts[:n]) in by_path for n in range(1, len(parts))), "folder")
        described = by_path.get(m["path"] + b".ollama")
        _need(m["description"] == (described["sha256"] if described else bytes(32)),
              "description")
    return members


class Set:
    """A parsed set object; the steps of section 11.6 in their order."""

    def __init__(self, raw):
        least = sf.TABLE_ALIGN + 3 + ENTRY.size
        _need(least <= len(raw) <= 20480 + MAX_TABLE_BYTES, "size")
        self.raw, self.header = raw, raw[: sf.CORE_BYTES]
        self.fields = dict(zip(FIELDS, HEADER.unpack(self.header)))
        f = self.fields
        _need(f["magic"] == MAGIC, "magic")
        _need((f["version_of_format"], f["suite"], f["flags"]) == (1, 1, 0), "version",
              "unsupported")
        self.slot_count = struct.unpack_from("<H", raw, sf.SLOT_HEADER_AT)[0]
        _need(1 <= self.slot_count <= 16, "slot count")
        _need(1 <= f["version"] < 2**63, "version counter")
        _need(f["created"] <= sf.MAX_TIME and f["expires"] <= sf.MAX_TIME, "times")
        _need(f["expires"] == 0 or f["expires"] > f["created"], "expires")
        _need(1 <= f["count"] <= MAX_MEMBERS, "members")
        _need((3 + ENTRY.size) * f["count"] <= f["table_length"] <= MAX_TABLE_BYTES,
              "table length")
        self.table_at = sf.table_offset(self.slot_count)
        _need(len(raw) == self.table_at + f["table_length"], "object size")
        self.name = self._text("name", 256)
        _need(1 <= len(self.name) <= 255 and b"/" not in self.name, "name")
        _need(sf.path_problem(self.name) is None, "name")
        self.facts = self._text("facts", 640)
        try:
            sf.parse_facts(self.facts)
        except ValueError as problem:
            raise sf.Refused("malformed", str(problem)) from None
        _need(not any(f["reserved"]) and not any(f["reserved_end"]), "reserved")
        self._signature()
        self._slots()

    def _text(self, what, room):
        size, field = self.fields[what + "_length"], self.fields[what + "_field"]
        _need(size <= room and not any(field[size:]), what)
        return field[:size]

    def _signature(self):
        block = self.raw[sf.SIGNATURE_AT : sf.SLOT_HEADER_AT]
        algorithm, self.signer, self.signature, rest = sf.SIGNATURE_BLOCK.unpack(block)
        _need(algorithm in (0, 1), "signature algorithm", "unsupported")
        self.signed = algorithm == 1
        _need(not any(rest), "reserved bytes of the signature block")
        _need(self.signed or not any(self.signer + self.signature), "unsigned but signed")

    def _slots(self):
        _, rest, self.mac = sf.SLOT_HEADER.unpack_from(self.raw, sf.SLOT_HEADER_AT)
        _need(not any(rest), "reserved bytes of the slot header")
        self.slots = []
        for number in range(self.slot_count):
            at = sf.SLOTS_AT + 1024 * number
            kind, size = struct.unpack_from("<HH", self.raw, at)
            _need(kind not in (0, 4) and size <= 1020, "slot")
            body, rest = self.raw[at + 4 : at + 4 + size], self.raw[at + 4 + size : at + 1024]
            _need(not any(rest), "slot's rest")
            if kind == 1:
                sf.parse_kms_body(body)
            if kind == sf.SLOT_TPM2:
                sf.parse_tpm_body(body)
            _need(kind != 3 or size == 76, "key file slot")
            self.slots.append((kind, body))
        end = sf.SLOTS_AT + 1024 * self.slot_count
        _need(not any(self.raw[end : self.table_at]), "padding")

    def check_signature(self, owner_keys):
        if not owner_keys:
            return
        _need(self.signed, "unsigned", "unsigned")
        keys = {sf.signer_id(key): key for key in owner_keys}
        _need(self.signer in keys, "signer", "unknown-signer")
        try:
            keys[self.signer].verify(self.signature,
                                     SIGN_CONTEXT + hashlib.sha384(self.header).digest())
        except InvalidSignature:
            raise sf.Refused("bad-signature", "signature") from None

    def unlock(self, kek):
        """The member key."""
        ours = False
        for kind, body in self.slots:
            if kind != 3 or body[:16] != sf.kek_id(kek):
                continue
            ours = True
            try:
                key = AESGCM(kek).decrypt(body[16:28], body[28:], self.fields["id"])
            except InvalidTag:
                continue
            member_key, commitment, mac_key = derive(key, self.header)
            if commitment != self.fields["commitment"]:
                continue
            slots = self.raw[sf.SLOTS_AT : sf.SLOTS_AT + 1024 * self.slot_count]
            _need(sf.slot_mac(mac_key, self.header, self.slot_count, slots) == self.mac,
                  "slot MAC", "bad-slots")
            return member_key
        raise sf.Refused("wrong-key" if ours else "no-recipient", "no key")

    def load_table(self):
        table = self.raw[self.table_at :]
        _need(hashlib.sha256(table).digest() == self.fields["table_sha256"], "table",
              "bad-tables")
        self.members = parse_table(table, self.fields["count"])
        _need(content_digest(self.members) == self.fields["content"], "content digest")


def open_set(raw, kek=None, owner_keys=()):
    """A set, checked in the order of section 11.6; member_key is None without kek."""
    found = Set(raw)
    found.check_signature(owner_keys)
    found.member_key = found.unlock(kek) if kek else None
    found.load_table()
    return found


class Draft:
    """A set object in pieces; every attribute may be changed before to_bytes()."""

    def __init__(self, members, *, set_id, set_key, slots, owner=None, **fields):
        self.set_key, self.owner, self.slots = set_key, owner, list(slots)
        self.members = members
        self.signature_block = bytes(sf.SIGNATURE_BLOCK_BYTES)
        self.padding, self.trailer, self.slots_reserved = None, b"", bytes(30)
        name, facts = fields.pop("name", b"weights"), fields.pop("facts", b"")
        self.fields = {
            "magic": MAGIC, "version_of_format": 1, "suite": 1, "flags": 0, "id": set_id,
            "version": 1, "created": 1767225600, "expires": 0, "count": len(members),
            "name_length": len(name), "facts_length": len(facts), "reserved": b"",
            "name_field": name, "facts_field": facts, "reserved_end": b"",
        }  # fmt: skip
        self.changed = fields

    @staticmethod
    def entry(m):
        return (struct.pack("<H", m.get("declared", len(m["path"]))) + m["path"]
                + ENTRY.pack(*(m[name] for name in ENTRY_FIELDS)))  # fmt: skip

    def to_bytes(self):
        table = b"".join(map(self.entry, self.members)) + self.trailer
        f = dict(self.fields, table_length=len(table), content=content_digest(self.members),
                 table_sha256=hashlib.sha256(table).digest(), commitment=bytes(32))  # fmt: skip
        f.update(self.changed)
        start = HEADER.pack(*(f[name] for name in FIELDS))
        _, commitment, mac_key = derive(self.set_key, start)
        f["commitment"] = self.changed.get("commitment", commitment)
        header = HEADER.pack(*(f[name] for name in FIELDS))
        block = self.signature_block
        if self.owner is not None:
            signed = self.owner.sign(SIGN_CONTEXT + hashlib.sha384(header).digest())
            block = struct.pack("<H32s64s30s", 1, sf.signer_id(self.owner.public_key()), signed,
                                b"")  # fmt: skip
        slots, count = b"".join(self.slots), len(self.slots)
        head = header + block + struct.pack("<H", count) + self.slots_reserved
        head += sf.slot_mac(mac_key, header, count, slots) + slots
        padding = bytes(-len(head) % sf.TABLE_ALIGN) if self.padding is None else self.padding
        return head + padding + table


def member_of(path, seal_raw, description=bytes(32)):
    """What a set states of a seal."""
    core = dict(zip((name for name, _ in sf.CORE_FIELDS),
                    sf.CORE.unpack(seal_raw[: sf.CORE_BYTES])))  # fmt: skip
    return {"path": path, "file_id": core["file_id"], "length": core["length"],
            "core_digest": hashlib.sha384(seal_raw[: sf.CORE_BYTES]).digest(),
            "sha256": core["sha256"], "sha384": core["sha384"], "verity": core["verity"],
            "description": description}  # fmt: skip


def slot_for(set_id, member_key, data_key, file_id, nonce):
    return sw.slot(sf.SLOT_SET, sw.set_body(set_id, member_key, data_key, file_id, nonce))
