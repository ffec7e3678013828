#!/usr/bin/python3
"""Make the test vectors of sets (crypto/FORMAT.md section 11), the same bytes each time.

    make_vectors.py [DIR]      writes into DIR (default: the folder of this script)

index.json lists them: what each is, its file, the keys, and the class of failure or what must be
found. The keys are those of ../format/keys: public, and they protect nothing.
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "oracle"))
sys.path.insert(0, os.path.join(HERE, "..", "format"))

import make_vectors as mv  # noqa: E402

sys.path.insert(0, HERE)
import sealedformat as sf  # noqa: E402
import sealwriter as sw  # noqa: E402
import setformat as st  # noqa: E402

SET_ID, SET_KEY = mv.fixed("the set's id"), mv.fixed("the set's key")


def kek_slot(key=SET_KEY, kek=mv.KEK, set_id=SET_ID):
    return sw.keyfile_slot(kek, key, set_id, mv.fixed("set wrap nonce")[:12])


def member(path, size=100, description=bytes(32), **changes):
    made = mv.draft(mv.stream(path, size), path=path.encode(), file_id=mv.fixed("id of " + path))
    return dict(st.member_of(path.encode(), made.to_bytes(), description), **changes)


def members():
    told = member("base.gguf.ollama", 60)
    return [member("base.gguf", 5000, told["sha256"]), told, member("lora/adapter.gguf", 10),
            member("lora/config.json", 0)]  # fmt: skip


def draft(rows=None, **changes):
    options = {"set_id": SET_ID, "set_key": SET_KEY, "slots": [kek_slot()]}
    options.update(changes)
    return st.Draft(members() if rows is None else rows, **options)


def altered(made, at, value):
    raw = bytearray(made.to_bytes())
    raw[at : at + len(value)] = value
    return bytes(raw)


def good():
    yield "simple", "four members, one of them a description", draft(), {}
    yield ("signed", "signed by its owner, with facts and an expiry",
           draft(owner=mv.OWNER, version=7, expires=1767225601,
                 facts=b"origin.revision=" + b"a" * 40 + b"\n"),
           {"owner_keys": ["../format/keys/owner.pub.pem"]})  # fmt: skip
    yield "one-member", "the smallest set", draft([member("m", 1)]), {}
    yield ("sixteen-slots", "as many recipients as there may be",
           draft(slots=[mv.kms_slot()] * 15 + [kek_slot()]), {})  # fmt: skip
    yield ("unknown-slot", "a recipient of a later version is passed over",
           draft(slots=[sw.slot(9, b"later"), kek_slot()]), {})  # fmt: skip
    yield "last-version", "the highest version", draft(version=2**63 - 1, created=sf.MAX_TIME), {}


def rows(change):
    made = members()
    change(made)
    return draft(made)


def bad_numbers():
    yield "version-zero", "version 0", draft(version=0)
    yield "version-high", "version 2^63", draft(version=2**63)
    yield "created-late", "made after the year 9999", draft(created=sf.MAX_TIME + 1)
    yield "expires-late", "expires after the year 9999", draft(expires=sf.MAX_TIME + 1)
    yield "expires-before", "expires when it is made", draft(expires=1767225600)
    yield "no-members", "no member", draft([])
    yield "count-high", "more members than the table can have", draft(count=65537)
    yield "count-low", "a member more than counted", draft(count=3)
    yield "table-length", "a table length that is not the object's", draft(table_length=1200)
    yield "name-empty", "no name", draft(name=b"")
    yield "name-slash", "a name of two components", draft(name=b"a/b")
    yield "name-control", "a line end in the name", draft(name=b"a\nb")
    yield "name-length", "a name that is longer than stated", draft(name_length=3)
    yield "facts", "facts in the wrong order", draft(facts=b"b=1\na=1\n")
    yield "reserved", "reserved bytes", draft(reserved=b"x")
    yield "reserved-end", "reserved bytes at the end of the header", draft(reserved_end=b"\0x")


def bad_rows():
    yield "order", "two members exchanged", rows(lambda m: m.reverse())
    yield "twice", "a member twice", rows(lambda m: m.insert(0, m[0]))
    yield "folder", "a member that is the folder of another", rows(
        lambda m: m.insert(2, member("lora")))
    yield "dots", "a path that leads out", rows(lambda m: m.insert(0, member_at(b"../x")))
    yield "absolute", "an absolute path", rows(lambda m: m.insert(0, member_at(b"/x")))
    yield "path-empty", "an empty path", rows(lambda m: m.insert(0, member_at(b"")))
    yield "path-long", "a path over the end of the table", rows(
        lambda m: m[3].update(declared=1025))
    yield "length", "a member over 16 TiB", rows(lambda m: m[2].update(length=2**44 + 1))
    yield "description", "a description's digest that is another", rows(
        lambda m: m[0].update(description=bytes(32)))
    yield "description-of-none", "a description that is no member", rows(
        lambda m: m[2].update(description=b"x" * 32))
    yield "content", "a content digest of other members", draft(content=bytes(32))
    made = draft()
    made.trailer = b"more"
    yield "trailer", "bytes after the last entry", made


def member_at(path):
    return dict(member("x"), path=path)


def bad_slots():
    yield "set-slot", "a slot of a set in a set", draft(slots=[
        st.slot_for(SET_ID, mv.fixed("member key"), SET_KEY, SET_ID, bytes(12)), kek_slot()])
    yield "no-slot", "no slot", draft(slots=[])
    yield "slot-type-0", "a slot of type 0", draft(slots=[sw.slot(0, b""), kek_slot()])
    made = draft()
    made.padding = b"x".rjust(4096 - sf.SLOTS_AT - 1024, b"\0")
    yield "padding", "padding that is not zero", made


def bad():
    for ident, what, made in [*bad_numbers(), *bad_rows(), *bad_slots()]:
        yield "bad-" + ident, what, made.to_bytes(), "malformed", {}
    raw = draft().to_bytes()
    yield "bad-magic", "a seal's magic", altered(draft(), 0, b"sealedfs"), "malformed", {}
    yield "bad-truncated", "one byte less", raw[:-1], "malformed", {}
    yield "bad-longer", "one byte more", raw + b"\0", "malformed", {}
    yield "bad-short", "only the head", raw[:4096], "malformed", {}
    for ident, changes in (("format", {"version_of_format": 2}), ("suite", {"suite": 2}),
                           ("flag", {"flags": 1 << 31})):  # fmt: skip
        yield ("bad-" + ident, "of a later format", draft(**changes).to_bytes(), "unsupported",
               {})  # fmt: skip
    yield "bad-algorithm", "an unknown signature", altered(draft(), 0x800, b"\2"), "unsupported", {}
    pin = {"owner_keys": ["../format/keys/owner.pub.pem"]}
    yield "bad-unsigned", "unsigned, an owner is pinned", raw, "unsigned", pin
    yield ("bad-signer", "signed by somebody else", draft(owner=mv.STRANGER).to_bytes(),
           "unknown-signer", pin)  # fmt: skip
    yield ("bad-signature", "a version that was raised behind the signature",
           altered(draft(owner=mv.OWNER), 0x30, b"\2"), "bad-signature", pin)  # fmt: skip
    yield ("bad-signature-of-seal", "the signature is over a seal's label",
           _signed_as_seal(), "bad-signature", pin)  # fmt: skip
    yield ("bad-recipient", "sealed for another key file",
           draft(slots=[kek_slot(kek=mv.OTHER_KEK)]).to_bytes(), "no-recipient", {})  # fmt: skip
    yield ("bad-key", "the key of another set", draft(
        slots=[kek_slot(key=mv.fixed("another set's key"))]).to_bytes(), "wrong-key", {})
    yield "bad-id", "another set id", altered(draft(), 0x10, b"\0"), "wrong-key", {}
    yield ("bad-commitment", "a commitment to another key",
           draft(commitment=bytes(32)).to_bytes(), "wrong-key", {})  # fmt: skip
    yield ("bad-mac", "a version that was raised without the set key",
           altered(draft(), 0x30, b"\2"), "bad-slots", {})  # fmt: skip
    yield ("bad-table", "a member's digest that was altered", altered(draft(), 4096 + 60, b"\0"),
           "bad-tables", {})  # fmt: skip


def _signed_as_seal():
    made = draft(owner=mv.OWNER)
    header = made.to_bytes()[:2048]
    made.signature_block = (b"\1\0" + sf.signer_id(mv.OWNER.public_key())
                            + mv.OWNER.sign(sf.signature_message(header)) + bytes(30))
    made.owner = None
    return made.to_bytes()


def main(root):
    index = []

    def add(ident, what, raw, expected, more):
        with open(os.path.join(root, ident + ".set"), "wb") as out:
            out.write(raw)
        index.append({"id": ident, "what": what, "file": ident + ".set",
                      "kek": "../format/keys/kek.key",
                      "owner_keys": more.get("owner_keys", []), "expected": expected})  # fmt: skip

    for ident, what, made, more in good():
        raw = made.to_bytes()
        add(ident, what, raw, "ok", more)
        found = st.open_set(raw, kek=mv.KEK)
        index[-1].update(
            version=found.fields["version"], content=found.fields["content"].hex(),
            name=found.name.decode(), member_key=found.member_key.hex(),
            paths=[m["path"].decode() for m in found.members])  # fmt: skip
    for each in bad():
        add(*each)
    with open(os.path.join(root, "index.json"), "w", encoding="utf-8") as out:
        json.dump({"vectors": index}, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else HERE)
