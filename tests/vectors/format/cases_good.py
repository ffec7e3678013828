"""Vectors that a reader must read.

Job: every length at which something changes, signed and unsigned, every kind of slot, and
the paths, facts and key choices that a strict reader must still accept.
"""

import sealedformat as sf
import sealwriter as sw
import tpmslot
from make_vectors import (
    ARN, DATA_KEY, FILE_ID, KEK, OTHER_KEK, OWNER, STRANGER, draft,
    fixed, kek_slot, kms_slot, modulus, plaintext, set_body, stream, tpm_slot,
)  # fmt: skip

LENGTHS = (0, 1, 4095, 4096, 4097, 524287, 524288, 524289, 3 * 524288 + 7)
PINNED = ["keys/owner.pub.pem"]
BY_DATA_KEY = {"data_key": "keys/data-key.hex"}


def _lengths(registry):
    for length in LENGTHS:
        plain = plaintext(length)
        registry.add("len-%d" % length, "%d bytes, not signed" % length, draft(plain))
        registry.add(
            "len-%d-signed" % length, "%d bytes, signed, owner pinned" % length,
            draft(plain, owner=OWNER), owner_keys=PINNED,
        )  # fmt: skip


def _slots(registry):
    plain = plaintext(4097)

    def add(ident, what, slots, **more):
        registry.add("slots-" + ident, what, draft(plain, slots=slots), **more)

    add("kms", "one KMS slot; opened with the data key", [kms_slot()], keys=BY_DATA_KEY)
    add("kms-longest", "KMS slot with ARN and blob of the greatest lengths",
        [kms_slot(b"arn:" + b"k" * 508, stream("long blob", 400))], keys=BY_DATA_KEY)
    add("kms-shortest", "KMS slot with ARN and blob of one byte",
        [kms_slot(b"k", b"b")], keys=BY_DATA_KEY)
    add("kms-and-keyfile", "KMS slot first, key file slot second", [kms_slot(), kek_slot()])
    many = [kms_slot(ARN[:-2] + b"%02d" % n, stream("blob %d" % n, 150 + n)) for n in range(15)]
    add("16", "sixteen slots, the key file slot last", many + [kek_slot()])
    for count in (2, 5, 6, 9, 10, 13, 14):
        add("%d" % count, "%d slots: the tables start at another 4096" % count,
            many[: count - 1] + [kek_slot()])
    add("unknown-type", "a slot of unknown type 0x7fff before the key file slot",
        [sw.slot(0x7FFF, stream("unknown slot", 333)), kek_slot()])
    add("unknown-type-empty", "a slot of unknown type 5 with no body",
        [sw.slot(5, b""), kek_slot()])
    add("unknown-type-full", "a slot of unknown type 65535 with the longest body",
        [sw.slot(0xFFFF, stream("full slot", 1020)), kek_slot()])
    for ident, what, made in (
        ("", "PCRs 4, 7 and 12 of bank SHA-256", tpm_slot(4, 7, 12)),
        ("-sha384", "PCRs 0 and 23 of bank SHA-384", tpm_slot(0, 23, bank="sha384")),
        ("-signed", "a signed policy", tpm_slot(policy_key=modulus(256))),
        ("-both", "a signed policy and PCR 7", tpm_slot(7, policy_key=modulus(384))),
        ("-rsa", "a storage key of RSA-2048", tpm_slot(7, seed=stream("seed", 256))),
        ("-longest", "the longest keys, and two PCRs",
         tpm_slot(0, 1, policy_key=modulus(384), seed=stream("seed", 384))),
        ("-24-pcrs", "all PCRs", tpm_slot(*range(24))),
    ):  # fmt: skip
        add("tpm2" + ident, "a slot for a TPM: %s; then a key file slot" % what,
            [sw.slot(sf.SLOT_TPM2, tpmslot.body(made)), kek_slot()])
    add("set", "a slot for the member of a set, then a key file slot",
        [sw.slot(sf.SLOT_SET, set_body()), kek_slot()])
    add("other-keyfile-first", "a slot for another key file, then ours",
        [kek_slot(kek=OTHER_KEK, nonce="other wrap nonce"), kek_slot()])
    broken = bytearray(sw.keyfile_body(KEK, DATA_KEY, FILE_ID, fixed("wrap nonce")[:12]))
    broken[40] ^= 1
    add("first-broken", "our key file slot twice: the first does not unwrap, the second does",
        [sw.slot(sf.SLOT_KEYFILE, bytes(broken)), kek_slot()])
    add("first-other-data-key", "our key file slot twice: the first holds a foreign data key",
        [kek_slot(data_key=fixed("foreign data key")), kek_slot()])


def _paths(registry):
    paths = (
        ("one-byte", b"m"),
        ("utf8", "modèle-七-🔏.gguf".encode()),
        ("longest-name", b"n" * 251 + b".bin"),
        ("longest-name-utf8", ("é" * 127 + "x").encode()),
        ("three-dots", b"..."),
        ("dot-first", b".model"),
        ("blanks", b" model with blanks "),
        ("seal-suffix", b"model.seal"),
        ("utf8-edges", "\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff".encode()),
        ("control-neighbours", " ~\u00a0model\u202e".encode()),
        ("directories", b"org/70b/model.gguf"),
        ("longest", b"/".join([b"d" * 255] * 3 + [b"e" * 254, b"m"])),
        ("deepest", b"/".join([b"d"] * 512) + b"x"),
        ("longest-components", b"/".join([b"d" * 255] * 4)),
        ("like-reserved", b".sealedfs2/x.sealedfs/.SEALEDFS"),
        ("dots-inside", b"a/..b/.c/d../model"),
    )
    for ident, path in paths:
        registry.add("path-" + ident, "a path that must be accepted", draft(b"x", path=path))
    for ident, sealed, found in (
        ("same", b"a/b/model.gguf", "a/b/model.gguf"),
        ("below", b"a/b/model.gguf", "model.gguf"),
        ("below-one", b"a/b/model.gguf", "b/model.gguf"),
        ("above", b"model.gguf", "a/b/model.gguf"),
        ("above-one", b"b/model.gguf", "a/b/model.gguf"),
    ):  # fmt: skip
        registry.add("extended-found-" + ident, "sealed path and found path agree",
                     draft(b"x", path=sealed), open_as=found, extended=True)


def _facts(registry):
    def add(ident, what, facts, **more):
        registry.add("facts-" + ident, what, draft(b"x", facts=facts, **more))

    add("none", "no facts", b"")
    add("kind-only", "one fact", b"kind=other\n")
    add("unknown", "keys that no version knows", b"-=1\n.=2\n0=3\n_=4\nzz=5\n")
    add("prefix-keys", "a key that begins another", b"k=1\nk.=2\nk.a=3\nka=4\n")
    add("equals-in-value", "a value that begins with =", b"kind===\n")
    add("blanks-in-value", "a value of one blank", b"kind= \n")
    add("utf8", "a value in UTF-8, next to the control characters",
        "gguf.name=modèle\u00a0七🔏\n".encode())
    add("key-48", "a key of 48 bytes", b"k" * 48 + b"=v\n")
    add("longest", "facts of 640 bytes", b"kind=" + b"v" * 634 + b"\n")
    add("kind-unknown", "a kind that no version knows", b"kind=nonsense\n")
    add("time-0", "sealed at the start of 1970, no facts", b"", sealed_at=0)
    add("time-last", "sealed in the last second of 9999, no facts", b"", sealed_at=253402300799)


def _signatures(registry):
    plain = plaintext(1)

    def add(ident, what, made, pins):
        registry.add("signature-" + ident, what, made, owner_keys=pins)

    both = ["keys/stranger.pub.pem", "keys/owner.pub.pem"]
    add("one-of-two-pinned", "two owners pinned, signed by the second",
        draft(plain, owner=OWNER), both)
    add("nothing-pinned", "signed, no owner pinned: the signature is not looked at",
        draft(plain, owner=STRANGER), [])
    bad = draft(plain, owner=STRANGER)
    bad.signature_block[40] ^= 1
    add("bad-nothing-pinned", "a signature that would not verify, no owner pinned", bad, [])


def _many_chunks(registry):
    """Seals of big models without their payloads: tags and hashes are made up."""
    for count, cut in ((128, 0), (129, 524287), (16384, 0), (16385, 1)):
        length = count * sf.CHUNK_BYTES - cut
        made = draft(b"", length=length, count=count)
        made.tags = bytearray(stream("tags", 16 * count))
        made.entries = bytearray(stream("entries", 32 * count))
        made.fix_verity()
        made.rekey()
        registry.add(
            "chunks-%d" % count,
            "the seal of a model of %d chunks; tags and hashes are made up" % count,
            made, payload=None,
        )  # fmt: skip


def add_all(registry):
    _lengths(registry)
    _slots(registry)
    _paths(registry)
    _facts(registry)
    _signatures(registry)
    _many_chunks(registry)
