"""Vectors that a reader must refuse before it has used any key.

Job: malformed and unsupported objects. Each is otherwise consistent: commitment, slot MAC,
tables and digests are recomputed over the broken bytes, so that a reader which skips the
one check that the vector is about would go on and read it.
"""

import struct

import sealedformat as sf
import sealwriter as sw
import tpmslot
from make_vectors import (
    ARN, KMS_BLOB, OWNER, draft, kek_slot, kms_slot, modulus, plaintext, set_body, stream, tpm_slot,
)  # fmt: skip

PLAIN = plaintext(4097)


def _head(registry):
    def add(ident, what, word, **overrides):
        registry.add("head-" + ident, what, draft(b"x", **overrides), word)

    add("magic", "the magic ends in another letter", "malformed", magic=b"sealedfz")
    add("magic-case", "the magic in upper case", "malformed", magic=b"SEALEDFS")
    add("version-0", "version 0", "unsupported", version=0)
    add("version-1", "version 1 in the head of version 2", "unsupported", version=1)
    add("version-3", "version 3", "unsupported", version=3)
    add("version-high-byte", "version 257", "unsupported", version=257)
    add("suite-0", "suite 0", "unsupported", suite=0)
    add("suite-2", "suite 2", "unsupported", suite=2)
    add("flag-0", "the lowest critical flag", "unsupported", flags=1)
    add("flag-31", "the highest critical flag", "unsupported", flags=1 << 31)
    old = draft(b"")
    registry.add("head-version-1-seal", "what a program of version 1 wrote: only the start is read",
                 old, "unsupported", seal=_version_1())


def _version_1():
    """A seal of version 1 (an empty model, one slot) as far as this version can tell."""
    raw = struct.pack("<8sHHI32s", b"sealedfs", 1, 1, 0, stream("version 1 file id", 32))
    raw = raw.ljust(0xF0, b"\0") + struct.pack("<H", 10) + b"model.gguf"
    return (raw.ljust(0x280, b"\0") + struct.pack("<H", 1)).ljust(4096, b"\0")


def _lengths(registry):
    def add(ident, what, plain, **overrides):
        registry.add("length-" + ident, what, draft(plain, **overrides), "malformed")

    add("count-too-big", "one chunk more than the length needs", PLAIN, count=2)
    add("count-too-small", "two chunks of plaintext, chunk count 1", plaintext(524289), count=1)
    add("count-0", "chunk count 0, length 1, no tables", b"", length=1, count=0)
    add("empty-count-1", "length 0, chunk count 1", b"x", length=0, count=1)
    add("exact-count-plus-1", "length 524288, chunk count 2", plaintext(524288), count=2)
    add("count-overflow", "chunk count x 524288 overflows to the length 0", b"",
        length=0, count=1 << 45)
    add("count-48-overflow", "chunk count x 48 overflows to a small number", b"",
        length=1 << 44, count=(1 << 60))
    add("16-tib-plus-1", "length 16 TiB + 1", b"", length=(1 << 44) + 1, count=(1 << 25) + 1)
    add("2-64-minus-1", "length 2^64 - 1: rounding up overflows to chunk count 0", b"",
        length=(1 << 64) - 1, count=0)
    add("2-63", "length 2^63: negative as a signed number", b"",
        length=1 << 63, count=1 << 44)


def _object_size(registry):
    made = draft(PLAIN)
    raw = made.to_bytes()

    def add(ident, what, seal, word="malformed"):
        registry.add("size-" + ident, what, made, word, seal=seal)

    for cut in (0, 7, 8, 16, 0x40, 0x800, 0x880, 0x8C0, 0xCC0, 4095, 4096, 4096 + 15, 4096 + 16):
        add("truncated-%d" % cut, "the seal cut to %d bytes" % cut, raw[:cut])
    add("truncated-by-1", "the last byte of the hash table is missing", raw[:-1])
    add("trailing-byte", "one byte after the hash table", raw + b"\0")
    add("trailing-block", "4096 bytes after the hash table", raw + bytes(4096))
    unpadded = draft(PLAIN)
    unpadded.padding = b""
    add("no-padding", "the tables follow the slots at once", unpadded.to_bytes())
    empty = draft(b"")
    registry.add("size-empty-model-unpadded", "a seal of an empty model, not padded to 4096",
                 empty, "malformed", seal=empty.to_bytes()[:0xCC0])


def _reserved(registry):
    def core(offset):
        changed = draft(PLAIN)
        changed.core[offset] = 1
        changed.fix_mac()
        return changed

    def add(ident, what, changed):
        registry.add("reserved-" + ident, what, changed, "malformed")

    for at in (0xFC, 0xFF, 0x780, 0x7FF):
        add("core-%x" % at, "the reserved byte 0x%x of the core is 1" % at, core(at))
    for ident, offset in (("first", 0x62), ("last", 0x7F)):
        for kind, owner in (("", None), ("-signed", OWNER)):
            changed = draft(PLAIN, owner=owner)
            changed.signature_block[offset] = 0x80
            add("signature-%s%s" % (ident, kind),
                "the %s reserved byte of the signature block is not zero" % ident, changed)
    for ident, reserved in (("first", b"\1" + bytes(29)), ("last", bytes(29) + b"\1")):
        changed = draft(PLAIN)
        changed.slots_reserved = reserved
        add("slot-header-" + ident, "the %s reserved byte of the slot header is 1" % ident, changed)
    size = -(sf.SLOTS_AT + sf.SLOT_BYTES) % 4096
    for ident, padding in (("first", b"\1" + bytes(size - 1)), ("last", bytes(size - 1) + b"\1")):
        changed = draft(PLAIN)
        changed.padding = padding
        add("padding-" + ident, "the %s byte between slots and tables is 1" % ident, changed)


def _paths(registry):
    def add(ident, what, path, declared=None):
        changed = draft(b"x")
        changed.set_path(path, declared)
        changed.fix_mac()
        registry.add("path-bad-" + ident, what, changed, "malformed")

    add("empty", "path of length 0", b"")
    add("length-1025", "path length 1025", b"/".join([b"n" * 255] * 4) + b"n", 1025)
    add("length-65535", "path length 65535", b"n" * 255, 65535)
    add("component-256", "a component of 256 bytes", b"a/" + b"n" * 256 + b"/b")
    add("dot", "the path .", b".")
    add("dot-dot", "the path ..", b"..")
    add("dot-inside", "a component .", b"a/./b")
    add("dot-dot-first", "a first component ..", b"../b")
    add("dot-dot-last", "a last component ..", b"a/..")
    add("slash-only", "the path /", b"/")
    add("slash-first", "a path that starts with a slash", b"/model")
    add("slash-last", "a path that ends in a slash", b"model/")
    add("slash-twice", "an empty component", b"a//b")
    add("reserved", "the mount's control directory", b".sealedfs/status.json")
    add("reserved-inside", "the control directory below another", b"team/.sealedfs/status.json")
    add("reserved-last", "a model called like the control directory", b"team/.sealedfs")
    add("nul", "a path with a NUL byte", b"a\0b")
    add("nul-only", "a path that is one NUL byte", b"\0")
    add("not-filled", "a byte after the path's end", b"model.gguf", 9)
    add("newline", "U+000A", b"model\n.gguf")
    add("escape", "U+001B in a directory", b"a\x1b[2J/model")
    add("unit-separator", "U+001F", b"model\x1f")
    add("delete", "U+007F", b"model\x7f")
    add("c1-first", "U+0080", "model\u0080".encode())
    add("c1-csi", "U+009B", "model\u009b2J".encode())
    add("c1-last", "U+009F", "model\u009f".encode())
    add("latin-1", "a path in Latin-1", "modèle".encode("latin-1"))
    add("cut-character", "a path that ends inside a character", "modè".encode()[:-1])
    add("cut-by-slash", "a character that goes on behind a slash", b"mod\xc3/\xa8")
    add("lone-continuation", "a continuation byte alone", b"a\x80b")
    add("overlong-slash", "a slash in two bytes", b"a\xc0\xafb")
    add("overlong-3", "a two-byte character in three bytes", b"\xe0\x9f\xbf")
    add("overlong-4", "a three-byte character in four bytes", b"\xf0\x8f\xbf\xbf")
    add("surrogate", "a surrogate, U+D800", b"\xed\xa0\x80")
    add("beyond-unicode", "U+110000", b"\xf4\x90\x80\x80")
    add("byte-fe", "a byte that UTF-8 never uses", b"a\xfe")


def _facts(registry):
    def add(ident, what, facts, declared=None):
        changed = draft(b"x", owner=OWNER)
        changed.set_facts(facts, declared)
        changed.fix_mac()
        changed.fix_signature()
        registry.add("facts-bad-" + ident, what, changed, "malformed")

    add("length-641", "facts length 641", b"kind=" + b"v" * 634 + b"\n", 641)
    add("length-65535", "facts length 65535", b"kind=other\n", 65535)
    add("not-filled", "a byte after the facts' end", b"kind=other\nx=y\n", 11)
    add("no-newline", "the last line has no newline", b"kind=other")
    add("cut", "a key without = and newline at the end", b"kind=other\nx")
    add("no-equals", "a line without =", b"kind\n")
    add("empty-line", "an empty line", b"kind=other\n\n")
    add("empty-line-only", "only a newline", b"\n")
    add("empty-key", "an empty key", b"=other\n")
    add("empty-value", "an empty value", b"kind=\n")
    add("key-49", "a key of 49 bytes", b"k" * 49 + b"=v\n")
    add("key-upper", "a key with an upper case letter", b"Kind=other\n")
    add("key-blank", "a key with a blank", b"kind =other\n")
    add("key-utf8", "a key that is not ASCII", "kïnd=other\n".encode())
    add("key-nul", "a key with a NUL byte", b"ki\0d=other\n")
    add("twice", "a key twice with one value", b"kind=other\nkind=other\n")
    add("twice-other", "a key twice with two values", b"kind=gguf\nkind=other\n")
    add("order", "keys in descending order", b"kind=other\ngguf.version=3\n")
    add("order-prefix", "a key after one that it begins", b"kind.x=other\nkind=other\n")
    add("carriage-return", "a carriage return before the newline", b"kind=other\r\n")
    add("tab", "a tab in a value", b"kind=o\tther\n")
    add("value-nul", "a NUL byte in a value", b"kind=o\0ther\n")
    add("value-escape", "ESC in a value", b"kind=\x1b[2J\n")
    add("value-delete", "U+007F in a value", b"kind=\x7f\n")
    add("value-c1", "U+009B in a value", "kind=\u009b\n".encode())
    add("value-latin-1", "a value in Latin-1", "kind=modèle\n".encode("latin-1"))
    add("value-cut", "a value that ends inside a character", b"kind=mod\xc3\n")


def _time(registry):
    for ident, when in (("10000", 253402300800), ("2-63", 1 << 63), ("last", (1 << 64) - 1)):
        registry.add("time-" + ident, "sealed after the year 9999", draft(b"x", sealed_at=when),
                     "malformed")


def _signature_block(registry):
    def add(ident, what, word, alg=None, offset=None, owner=None):
        changed = draft(PLAIN, owner=owner)
        if alg is not None:
            struct.pack_into("<H", changed.signature_block, 0, alg)
        if offset is not None:
            changed.signature_block[offset] = 1
        registry.add("signature-field-" + ident, what, changed, word)

    add("alg-2", "signature algorithm 2", "unsupported", alg=2)
    add("alg-256", "signature algorithm 256", "unsupported", alg=256, owner=OWNER)
    add("unsigned-signer-id", "not signed, but the signer id is not zero", "malformed", offset=33)
    add("unsigned-signature", "not signed, but the signature is not zero", "malformed", offset=97)
    add("alg-0-signed", "a signed seal whose algorithm was set to 0", "malformed", 0, owner=OWNER)


def _slot_count(registry):
    def add(ident, what, slots, count=None):
        changed = draft(PLAIN, slots=slots)
        if count is not None:
            changed.slot_count = count
            changed.fix_mac()
        registry.add("slot-count-" + ident, what, changed, "malformed")

    add("0", "no slot at all", [])
    add("0-with-slot", "slot count 0, one slot present", [kek_slot()], 0)
    add("17", "seventeen slots", [kms_slot()] * 16 + [kek_slot()])
    add("65535", "slot count 65535, one slot present", [kek_slot()], 65535)
    add("2-of-1", "slot count 2, one slot present: the second has type 0", [kek_slot()], 2)
    add("1-of-2", "slot count 1, two slots present", [kek_slot(), kms_slot()], 1)


def _slot_shape(registry):
    good = kek_slot()

    def add(ident, what, slot):
        registry.add("slot-" + ident, what, draft(PLAIN, slots=[slot, good]), "malformed")

    add("type-0", "an all-zero slot", bytes(sf.SLOT_BYTES))
    add("type-0-body", "type 0 with a body", sw.slot(0, b"body"))
    add("body-1021", "body length 1021", sw.slot(9, stream("slot", 1020), declared=1021))
    add("body-65535", "body length 65535", sw.slot(9, stream("slot", 1020), declared=65535))
    add("fill-first", "the byte after the body is not zero", sw.slot(9, b"body", fill=b"\1"))
    add("fill-last", "the slot's last byte is not zero", sw.slot(9, b"b", fill=bytes(1018) + b"\1"))
    keyfile = good[4 : 4 + sf.KEYFILE_BODY_BYTES]
    add("keyfile-75", "a key file body of 75 bytes", sw.slot(sf.SLOT_KEYFILE, keyfile[:-1]))
    add("keyfile-77", "a key file body of 77 bytes", sw.slot(sf.SLOT_KEYFILE, keyfile + b"\0"))
    add("keyfile-0", "a key file body of no bytes", sw.slot(sf.SLOT_KEYFILE, b""))
    member = set_body()
    for size, body in ((0, b""), (91, member[:-1]), (93, member + b"\0")):
        add("set-%d" % size, "a set body of %d bytes" % size, sw.slot(sf.SLOT_SET, body))
    registry.add(
        "slot-keyfile-fill", "a byte after the body of the only key file slot",
        draft(PLAIN, slots=[sw.slot(sf.SLOT_KEYFILE, keyfile, fill=b"\1")]), "malformed",
    )  # fmt: skip


def _kms_bodies(registry):
    def add(ident, what, body):
        made = draft(PLAIN, slots=[sw.slot(sf.SLOT_KMS, body), kek_slot()])
        registry.add("slot-kms-" + ident, what, made, "malformed")

    good = sw.kms_body(ARN, KMS_BLOB)
    for size in (0, 1, 3):
        add("body-%d" % size, "a KMS body of %d bytes" % size, good[:size])
    add("arn-overrun", "the ARN's length points beyond the body",
        struct.pack("<H", 512) + ARN + struct.pack("<H", len(KMS_BLOB)) + KMS_BLOB)
    add("arn-to-the-end", "the ARN takes the body to its last byte: no blob length",
        struct.pack("<H", len(ARN)) + ARN)
    add("arn-half-length", "one byte is left for the blob's length",
        struct.pack("<H", len(ARN)) + ARN + b"\1")
    add("arn-0", "an empty ARN", sw.kms_body(b"", KMS_BLOB))
    add("arn-513", "an ARN of 513 bytes", sw.kms_body(b"a" * 513, KMS_BLOB))
    add("arn-nul", "an ARN with a NUL byte", sw.kms_body(ARN[:20] + b"\0" + ARN[20:], KMS_BLOB))
    add("arn-blank", "an ARN with a blank", sw.kms_body(ARN + b" ", KMS_BLOB))
    add("arn-not-ascii", "an ARN with a byte above 0x7f", sw.kms_body(ARN + b"\xe9", KMS_BLOB))
    add("blob-0", "an empty blob", sw.kms_body(ARN, b""))
    add("blob-401", "a blob of 401 bytes", sw.kms_body(ARN, stream("blob", 401)))
    add("blob-overrun", "the blob's length points beyond the body", good[:-1])
    add("blob-trailing", "a byte after the blob inside the body", good + b"\0")


def _tpm_bodies(registry):
    def add(ident, what, body):
        made = draft(plaintext(1), slots=[sw.slot(sf.SLOT_TPM2, body), kek_slot()])
        registry.add("slot-tpm2-" + ident, what, made, "malformed")

    def numbers(**changes):
        head = dict(zip(("bank", "selection", "key", "seed"), HEAD.unpack_from(good, 32)))
        return good[:32] + HEAD.pack(*{**head, **changes}.values()) + good[32 + HEAD.size :]

    HEAD = struct.Struct("<HIHH")
    good = tpmslot.body(tpm_slot(4, 7, 12))
    signed = bytearray(tpmslot.body(tpm_slot(policy_key=modulus(256))))
    add("empty", "a TPM slot without a body", b"")
    add("head-cut", "a TPM slot cut in its numbers", good[:41])
    add("one-less", "a TPM slot without its last byte", good[:-1])
    add("one-more", "a byte behind a TPM slot", good + b"\0")
    add("pcr-24", "a selection of PCR 24", numbers(selection=0x01000090))
    add("bank-sha1", "the bank SHA-1", numbers(bank=4))
    add("bank-0", "PCRs and no bank", numbers(bank=0))
    add("no-pcrs", "a bank and no PCRs", good[:34] + bytes(4) + good[38:42] + good[138:])
    add("no-policy", "neither PCRs nor a policy key", good[:32] + bytes(6) + good[38:42] + good[138:])
    add("one-pcr-less", "a value that no PCR has", numbers(selection=0x90))
    add("one-pcr-more", "a PCR without a value", numbers(selection=0x1091))
    add("key-255", "a policy key of 255 bytes", numbers(key=255) + bytes(255))
    add("key-512", "a policy key of 512 bytes", numbers(key=512) + bytes(512))
    add("key-without", "a policy key that is not there", numbers(key=256))
    add("seed-63", "a seed of 63 bytes", numbers(seed=63)[:-1])
    add("seed-0", "no seed", numbers(seed=0)[:-64])
    add("seed-65535", "a seed of 65535 bytes", numbers(seed=65535))
    for ident, at, mask in (("even", 42 + 255, 1), ("short", 42, 0x80)):
        signed[at] ^= mask
        add("key-" + ident, "a policy key that is no modulus: %s" % ident, bytes(signed))
        signed[at] ^= mask


def add_all(registry):
    _head(registry)
    _lengths(registry)
    _object_size(registry)
    _reserved(registry)
    _paths(registry)
    _facts(registry)
    _time(registry)
    _signature_block(registry)
    _slot_count(registry)
    _slot_shape(registry)
    _kms_bodies(registry)
    _tpm_bodies(registry)
