"""Cases of the model PCR: log, models, modes, owners."""
import hashlib
import json

import measured
from world import ACME, LLAMA, MISTRAL, OTHER, PCR4, PHI, SET, ZERO, Machine, b64, SetObject, owner, owner_id

ACME_KEY, OTHER_KEY = owner("acme", ACME), owner("other corp", OTHER)


def heads(*models, **how):
    return [b64(model.head(**how)) for model in models]


def logs(w):
    one = Machine().start().model(MISTRAL)
    yield "log-one", "one model; nothing is expected", w.both(one)
    yield "log-two", "two models", w.both(Machine().start().model(MISTRAL).model(LLAMA))
    three = Machine().start().model(MISTRAL).model(LLAMA).start("declared").model(PHI, "declared")
    yield "log-three", "three models, two modes", w.both(three)
    yield "log-none", "a log without records, a PCR of zeros", w.both(Machine())
    yield "log-only-start", "a start event and no model", w.both(Machine().start())
    for mode in ("sha384", "sha256"):
        yield f"log-{mode}", "a bare mode", w.both(Machine().model(MISTRAL, mode))
    yield "log-declared", "declared", w.both(Machine().start("declared").model(MISTRAL, "declared"))
    yield "log-pcr-14-not-asked", "the machine measures into PCR 14, and 15 is judged", w.both(
        Machine(14).start().model(MISTRAL))
    yield "log-pcr-14", "another PCR", w.both(Machine(14).start().model(MISTRAL), model_pcr=14)
    yield "log-other-pcr", "records for another PCR only", w.request(w.document(), one, model_pcr=14)
    cut = w.both(one, event_log=b64(one.log[:-7]))
    yield "log-cut", "the last record is cut", cut
    yield "log-short", "the last record is missing", w.both(
        one, event_log=b64(one.log[:one.log.rindex(b"\x1e")]))
    yield "log-longer", "a record that never was extended", w.request(
        w.document(Machine().start()), one)
    yield "log-foreign", "something was extended behind the log", w.both(Machine().start().model(MISTRAL).foreign())
    yield "log-foreign-before", "something was extended before", w.both(Machine().foreign().start().model(MISTRAL))
    yield "log-empty-foreign", "no record, and a PCR that is not zero", w.both(Machine().foreign())
    again = Machine().start().model(LLAMA)
    again.value, again.first = ZERO, True
    yield "log-reset", "the TPM was reset: the last chain counts", w.both(again.start().model(MISTRAL))
    old = Machine(boot="f" * 32).start().model(LLAMA)
    old.value, old.first, old.boot = ZERO, True, "0" * 32
    yield "log-other-boot", "records of an earlier boot", w.both(old.start().model(MISTRAL))
    moved = Machine().start().model(MISTRAL)
    lines = moved.log.splitlines(keepends=True)
    yield "log-order", "the records changed places", w.both(moved, event_log=b64(lines[1] + lines[0]))
    yield "log-no-pcr", "the document has no PCR 15", w.request(
        w.document(enclave=True, pcrs={0: PCR4}), one)


def bad_records(w):
    one = Machine().start().model(MISTRAL)
    first, second = one.log.splitlines(keepends=True)
    record = json.loads(second[1:])

    def changed(**changes):
        return b"\x1e" + json.dumps({**record, **changes}).encode() + b"\n"

    def content(**changes):
        return changed(content={**record["content"], **changes})

    cases = {
        "separator": second[1:], "json": b"\x1e{\n", "array": b"\x1e[]\n",
        "doubled": second.replace(b'{"pcr":15', b'{"pcr":15,"pcr":15'), "pcr-24": changed(pcr=24),
        "no-sha384": changed(digests=[{"hashAlg": "sha256", "digest": "00" * 32}]),
        "short-digest": changed(digests=[{"hashAlg": "sha384", "digest": "00"}]),
        "bank-twice": changed(digests=record["digests"] + record["digests"]),
        "mode": content(mode="none"), "event-type": content(eventType="other"), "boot-id": content(bootId="1"),
        "boot-id-case": content(bootId="A" * 32), "digest-case": changed(digests=[
            {"hashAlg": "sha384", "digest": record["digests"][1]["digest"].upper()}]),
        "unknown-bank-twice": changed(digests=record["digests"] + [{"hashAlg": "sm3", "digest": "x"}] * 2),
        "nul": content(model="a\0b"), "long": content(model="a" * 65536),
        "nul-in-name": content(**{"a\0": 1}), "half-pair": content(model="a\ud800"),
        "second-half": content(model="\udc00a"), "line-feed": second.replace(b",", b",\n", 1),
        "no-line-feed": second[:-1], "not-utf-8": second.replace(b"a name", b"\xff name"),
        "constant": content(later=float("nan")), "pcr-text": changed(pcr="15"), "pcr-negative": changed(pcr=-1),
        "content-type-number": changed(content_type=1),
        "content-type-missing": changed().replace(b'"content_type": "io.sealedfs", ', b""),
        "nv-index-type": b'\x1e{"nvIndexName":"x","digests":[],"content":{}}\n',
        "digests-none": changed(digests=[]), "digests-seventeen": changed(
            digests=record["digests"] + [{"hashAlg": f"bank{number}", "digest": ""} for number in range(15)]),
        "sha1-length": changed(digests=record["digests"] + [{"hashAlg": "sha1", "digest": "00" * 32}]),
        "sha512-length": changed(digests=record["digests"] + [{"hashAlg": "sha512", "digest": "00" * 48}]),
        "before-none": content(before=[]), "before-text": content(before="00" * 48),
        "before-length": content(before=[{"hashAlg": "sha384", "digest": "00" * 32}]),
    }
    for name, bad in cases.items():
        yield "record-" + name, "the second record is malformed", w.both(one, event_log=b64(first + bad))
    yield "record-in-other-pcr", "a malformed record for another PCR", w.both(
        one, event_log=b64(first + changed(pcr=3, digests=[]) + second))
    for name, about, good in (
            ("backslash", "an escaped backslash in front of u0000", content(model="\\u0000")),
            ("pair", "both halves of a surrogate pair", content(model="\U0001f600")),
            ("other-bank", "a bank that nobody knows", changed(
                digests=record["digests"] + [{"hashAlg": "sm3_256", "digest": "ANY"}]))):
        yield "record-" + name, about, w.both(one, event_log=b64(first + good))
    alone = Machine()
    alone.first = False
    text = measured.start_text("verity", "nitrotpm", [owner_id(ACME)], ())
    alone.record(hashlib.sha384(text.encode()).digest(), {
        "eventType": "start", "string": text, "bootId": alone.boot, "before": [{"hashAlg": "sha256", "digest": "22" * 32}]})
    yield "record-before-no-sha384", "a before without sha384 is zero", w.both(alone.model(MISTRAL))
    nv = b'\x1e{"nvIndexName":"x","digests":[],"content_type":"systemd","content":{}}\n'
    yield "record-nv-index", "a record that is about no PCR", w.both(one, event_log=b64(first + nv + second))
    nv = b'\x1e' + json.dumps({"content_type": "io.sealedfs", "content": {"bootId": "f" * 32}}).encode() + b"\n"
    yield "record-nv-index-ours", "it tells no boot", w.both(one, event_log=b64(one.log + nv))
    foreign = Machine().start()
    foreign.record(hashlib.sha384(b"x").digest(), {"anything": 1}, kind="org.example").model(MISTRAL)
    yield "record-of-others", "a record of another program in the chain", w.both(foreign)
    yield "record-of-others-model", "the same, and a model is expected", w.both(
        foreign, models=[MISTRAL.expected()])


def lies(w):
    evil = measured.event_digest("verity", "sha384", PHI.digests)
    name = Machine().start().model(MISTRAL, digest=evil)
    yield "lie-digest", "the record names another model than its digest", w.both(name)
    yield "lie-digest-model", "the same, and the model is expected", w.both(name, models=[MISTRAL.expected()])
    text = measured.event_text("verity", PHI.digests)
    hidden = Machine().start().model(MISTRAL).start(text=text)
    yield "lie-model-as-start", "a model hides as a start event", w.both(hidden, models=[MISTRAL.expected()])
    start = measured.start_text("verity", "nitrotpm", [owner_id(OTHER)])
    shown = Machine().start()
    shown.record(hashlib.sha384(start.encode()).digest(), {
        "eventType": "model", "mode": "sha384", "bootId": shown.boot, "timestamp": 1, "model": "x",
        "sha384": hashlib.sha384(start.encode()).hexdigest()})
    yield "lie-start-as-model", "a start event hides as a model", w.both(
        shown.model(MISTRAL), models=[MISTRAL.expected()])
    yield "lie-no-start", "a verity model without a start event", w.both(Machine().model(MISTRAL))
    yield "lie-other-start", "a verity model after a start event of declared", w.both(
        Machine().start("declared").model(MISTRAL))
    yield "lie-start-later", "the start event comes behind the model", w.both(Machine().model(MISTRAL).start())
    for what, text in (("set", start.replace("set=off", "set=on")), ("mode", start.replace("verity", "sha384")),
                       ("line-end", start + "\n"), ("owner", start.replace("kms=", "kms=a b"))):
        yield f"lie-start-{what}", "a start event of another form", w.both(Machine().start(text=text).model(MISTRAL))
    yield "lie-upper-case", "the record's digest in upper case", w.both(
        Machine().start().model(MISTRAL, verity=MISTRAL.digests.verity.upper()))
    sha256 = Machine().model(MISTRAL, "sha384", sha256=PHI.digests.sha256)
    yield "lie-sha256", "a hash that the bank does not bind is not looked at", w.both(
        sha256, models=[MISTRAL.expected("sha384")])
    yield "lie-sha256-expected", "and proves nothing", w.both(sha256, models=[PHI.expected("sha256")])


def sha384(text):
    return hashlib.sha384(text.encode()).digest()


def systemd(w):
    one = Machine().machine_id().start().model(MISTRAL)
    yield "systemd-one", "systemd's event is in front", w.both(one)
    two = Machine().machine_id(2).start().model(MISTRAL)
    yield "systemd-two", "two of them, and the model is the expected one", w.both(two, models=[MISTRAL.expected()])
    missing = w.both(one)
    del missing["systemd_log"]
    yield "systemd-missing", "without its log nobody explains the value", missing
    yield "systemd-only", "systemd's log alone, no model", {
        name: value for name, value in w.both(Machine().machine_id()).items() if name != "event_log"}
    yield "systemd-short", "systemd's log is shorter than the PCR", w.both(
        two, systemd_log=b64(two.systemd[:two.systemd.rindex(b"\x1e")]))
    yield "systemd-malformed", "systemd's log is malformed", w.both(two, systemd_log=b64(two.systemd[:-3]))
    other = b'\x1e{"pcr":15,"digests":[{"hashAlg":"sha256","digest":"' + b"00" * 32 \
        + b'"}],"content_type":"systemd","content":{}}\n'
    yield "systemd-other-bank", "a record that extends another bank", w.both(
        one, systemd_log=b64(other + one.systemd))
    file_system = "file-system:/var:var:1:2:ext4:data"
    yield "systemd-file-system", "a file system", w.both(Machine().machine_id().by_systemd(
        sha384(file_system), {"eventType": "filesystem", "string": file_system}).start().model(MISTRAL))
    hidden = [(sha384(text), {"eventType": "machine-id", "string": "machine-id:0"})
              for text in (measured.start_text("verity", "nitrotpm", []), measured.event_text("verity", PHI.digests))]
    behind = Machine().behind_systemd(hidden).start().model(MISTRAL)
    yield "systemd-hides-model", "another model and its start event are called systemd's", w.both(behind)
    yield "systemd-hides-model-expected", "the same, and the model is expected", w.both(
        behind, models=[MISTRAL.expected()])
    yield "systemd-hides-model-only", "nothing but that model", w.both(Machine().behind_systemd(hidden))
    word = measured.event_text("verity", PHI.digests)
    for name, digest, content, kind in (
            ("own-text", sha384(word), {"string": word}, "systemd"), ("no-text", sha384("x"), {}, "systemd"),
            ("number", sha384("1"), {"string": 1}, "systemd"), ("no-content", sha384("x"), None, "systemd"),
            ("hmac", sha384("x"), {"string": "cryptsetup:root:1"}, "systemd"),
            ("others", sha384("machine-id:0"), {"string": "machine-id:0"}, "org.example"),
            ("ours", sha384(word), {"eventType": "model", "mode": "verity", "bootId": "0" * 32,
                                    "verity": PHI.digests.verity, "string": "machine-id:0"}, "io.sealedfs")):
        yield f"systemd-unproven-{name}", "a record of systemd's log that its text does not prove", w.both(
            Machine().by_systemd(digest, content, kind).start().model(MISTRAL), models=[MISTRAL.expected()])
    yield "systemd-unused", "systemd's log has events of an earlier time", w.both(
        Machine().start().model(MISTRAL), systemd_log=b64(one.systemd))


def models(w):
    one = Machine().start().model(MISTRAL)
    two = Machine().start().model(MISTRAL).model(LLAMA)
    label = MISTRAL.expected(label="mistral-7b.gguf")
    yield "model-one", "the expected model, with a name", w.both(one, models=[label])
    yield "model-by-digest", "the same by its digest", w.both(one, models=[MISTRAL.expected("verity")])
    yield "model-two", "two, in their order", w.both(two, models=[label, LLAMA.expected()])
    yield "model-order", "two, in another order", w.both(two, models=[LLAMA.expected(), label])
    yield "model-more", "one more than expected", w.both(two, models=[label])
    yield "model-fewer", "one fewer than expected", w.both(one, models=[label, LLAMA.expected()])
    yield "model-other", "another model", w.both(one, models=[PHI.expected()])
    yield "model-one-of-two-other", "the second is another", w.both(two, models=[label, PHI.expected(label="phi")])
    yield "model-kind", "a digest that cannot be compared", w.both(one, models=[MISTRAL.expected("sha256")])
    yield "model-none", "no model at all", w.both(Machine(), models=[label])
    yield "model-unknown", "something unknown too", w.both(
        Machine().start().model(MISTRAL).record(PCR4, {"a": 1}, kind="org.example"), models=[label])
    twice = Machine().start().model(MISTRAL).start("declared").model(MISTRAL, "declared")
    yield "model-twice", "one model in two modes", w.both(twice, models=[label, label])
    yield "model-same-expected", "expected once each, found twice", w.both(twice, models=[label, LLAMA.expected()])
    yield "mode-good", "measured as asked", w.both(one, models=[label], modes=["verity"])
    yield "mode-other", "the same model, another mode", w.both(
        Machine().start("declared").model(MISTRAL, "declared"), models=[label], modes=["verity"])
    yield "mode-bare", "a bare mode where verity or declared is asked", w.both(
        Machine().model(MISTRAL, "sha384"), models=[label], modes=["verity", "declared"])
    yield "mode-only", "only the mode is asked", w.both(two, modes=["verity"])
    yield "mode-only-other", "and is another", w.both(two, modes=["sha384"])
    yield "model-unsigned-name", "a name from a seal that nobody expected signed is not used", w.both(
        one, seals=heads(MISTRAL, owner=None))
    yield "model-no-pcr", "a model without a PCR", w.request(
        w.document(enclave=True, pcrs={0: PCR4}), models=[label])


def without_log(w):
    label = MISTRAL.expected(label="mistral-7b.gguf")

    def plain(machine, **more):
        return w.request(w.document(machine), **more)

    verity = Machine().start(owners=())
    yield "no-log-verity", "no log: the value of verity", plain(verity.model(MISTRAL), models=[label])
    yield "no-log-declared", "of declared", plain(
        Machine().start("declared", owners=()).model(MISTRAL, "declared"), models=[label])
    for mode in ("sha384", "sha256"):
        yield f"no-log-{mode}", "of " + mode, plain(Machine().model(MISTRAL, mode), models=[label])
    yield "no-log-two", "two models", plain(
        Machine().model(MISTRAL, "sha384").model(LLAMA, "sha384"), models=[label, LLAMA.expected()])
    yield "no-log-order", "two in another order are not found", plain(
        Machine().model(LLAMA, "sha384").model(MISTRAL, "sha384"), models=[label, LLAMA.expected()])
    yield "no-log-zero", "a PCR of zeros", plain(Machine(), models=[label])
    yield "no-log-other", "another model", plain(Machine().model(PHI, "sha384"), models=[label])
    yield "no-log-kind", "the digest that the mode needs is not known", plain(
        Machine().model(MISTRAL, "sha384"), models=[MISTRAL.expected("sha256")])
    yield "no-log-mode", "found, in a mode that was not asked", plain(
        Machine().model(MISTRAL, "sha384"), models=[label], modes=["verity"])
    owned = Machine().start(kms=["account/111122223333"]).model(MISTRAL)
    yield "no-log-facts", "the mount's owner and pins", plain(
        owned, models=[label], owner_keys=[ACME_KEY], kms=["account/111122223333"], seals=heads(MISTRAL))
    yield "no-log-facts-missing", "without its pins", plain(
        owned, models=[label], owner_keys=[ACME_KEY], seals=heads(MISTRAL))
    yield "no-log-attest-none", "a mount without attestation", plain(
        Machine().start(attest="none", owners=()).model(MISTRAL), models=[label], attest="none")


def owners(w):
    one = Machine().start().model(MISTRAL)
    mine = {"owner_keys": [ACME_KEY]}
    yield "owner-good", "sealed by acme; the name is in the seal", w.both(one, seals=heads(MISTRAL), **mine)
    yield "owner-model", "and the model is expected by its SHA-256, which the seal connects", w.both(
        one, seals=heads(MISTRAL), models=[MISTRAL.expected("sha256")], **mine)
    yield "owner-other-sha256", "a SHA-256 that the seal does not have", w.both(
        one, seals=heads(MISTRAL), models=[PHI.expected("sha256")], **mine)
    two = Machine().start().model(MISTRAL).model(LLAMA)
    yield "owner-two", "two models", w.both(two, seals=heads(LLAMA, MISTRAL), **mine)
    yield "owner-no-seal", "no seal for the second", w.both(two, seals=heads(MISTRAL), **mine)
    yield "owner-unsigned", "the seal is not signed", w.both(one, seals=heads(MISTRAL, owner=None), **mine)
    yield "owner-other", "signed by somebody else", w.both(one, seals=heads(MISTRAL, owner=OTHER), **mine)
    yield "owner-bad-signature", "the signature is wrong", w.both(one, seals=heads(MISTRAL, damage=True), **mine)
    yield "owner-second-seal", "a forged seal in front of the right one", w.both(
        one, seals=heads(MISTRAL, owner=OTHER) + heads(MISTRAL), **mine)
    both = {"owner_keys": [ACME_KEY, OTHER_KEY]}
    shared = Machine().start(owners=(ACME, OTHER)).model(MISTRAL).model(PHI)
    yield "owner-of-two", "two owners, both expected", w.both(shared, seals=heads(MISTRAL, PHI), **both)
    yield "owner-start-other", "the mount trusts another owner too", w.both(
        shared, seals=heads(MISTRAL) + heads(PHI, owner=ACME), **mine)
    yield "owner-start-none", "the mount trusts everybody", w.both(
        Machine().start(owners=()).model(MISTRAL), seals=heads(MISTRAL), **mine)
    yield "owner-bare", "a bare mode has no start event", w.both(
        Machine().model(MISTRAL, "sha384"), seals=heads(MISTRAL), **mine)
    yield "owner-unknown", "an event that nobody explains", w.both(
        Machine().start().model(MISTRAL).record(PCR4, {}, kind="org.example"), seals=heads(MISTRAL), **mine)
    yield "owner-log-fails", "the log fails, so the owner is not judged", w.both(
        Machine().start().model(MISTRAL).foreign(), seals=heads(MISTRAL), models=[MISTRAL.expected()], **mine)
    yield "owner-no-model", "an owner is expected, and there is no model", w.both(Machine().start(), **mine)
    yield "owner-unknown-value", "no log, and the value is another", w.request(
        w.document(Machine().foreign()), models=[MISTRAL.expected()], seals=heads(MISTRAL), **mine)
    nonce = bytes(range(32))
    yield "everything", "all that can be asked", w.request(
        w.document(one, nonce=nonce, user_data=b"sealedfs:tls:sha256:" + b"ab" * 32), one, nonce=nonce.hex(),
        tls_key="ab" * 32, boot={"4": [PCR4.hex()], "12": [ZERO.hex()]}, seals=heads(MISTRAL),
        models=[MISTRAL.expected(label="mistral-7b.gguf")], modes=["verity"], **mine)


def sets(w):
    one = Machine().start("set").set_of(SET)
    yield "set-one", "a set counts as one model", w.both(one)
    yield "set-expected", "the expected content", w.both(one, models=[{"set": SET, "label": "prod"}], modes=["set"])
    yield "set-other", "another content", w.both(one, models=[{"set": "00" * 32}])
    yield "set-kind", "a model's digest says nothing of a set", w.both(one, models=[MISTRAL.expected()])
    yield "set-mode", "a mode that was not asked", w.both(one, modes=["verity"])
    yield "set-owner", "its owner is in the start event", w.both(one, owner_keys=[ACME_KEY])
    yield "set-owner-other", "another owner too", w.both(
        Machine().start("set", owners=(ACME, OTHER)).set_of(SET), owner_keys=[ACME_KEY])
    yield "set-owner-none", "a mount that trusts everybody, behind one of another owner", w.both(
        Machine().start("set", owners=()).start("set", owners=(OTHER,)).set_of(SET), owner_keys=[ACME_KEY])
    yield "set-and-model", "a set, and a model of another mount", w.both(
        Machine().start("set").set_of(SET).start().model(MISTRAL), owner_keys=[ACME_KEY], seals=heads(MISTRAL))
    yield "set-start-off", "a start event of a set that says off", w.both(Machine().start(
        text=measured.start_text("set", "nitrotpm").replace("set=on", "set=off")).set_of(SET))
    yield "set-start-verity", "a start event of verity", w.both(Machine().start().set_of(SET))
    yield "set-no-log", "no log: the value of a set", w.request(
        w.document(one), models=[{"set": SET}], owner_keys=[ACME_KEY])
    yield "set-upper-case", "the record's digest in upper case", w.both(
        Machine().start("set").record(hashlib.sha384(f"sealedfs:set:sha256:{SET}".encode()).digest(), {
            "eventType": "model", "bootId": one.boot, "timestamp": 2, "mode": "set", "set": SET.upper()}))


def set_heads(w):
    """The set's own statement beside the PCR."""
    signed, unsigned = SetObject(MISTRAL, PHI, owner=ACME), SetObject(MISTRAL, PHI)
    strange = SetObject(MISTRAL, PHI, owner=OTHER, version=9)
    one = Machine().start("set").set_of(signed.content)
    known = {"owner_keys": [ACME_KEY]}
    yield "set-head", "its owner signed it", w.both(one, sets=[b64(signed.head())], **known)
    yield "set-head-no-owner", "nobody asks who signed it", w.both(one, sets=[b64(signed.head())])
    yield "set-head-label", "the caller's own name for it", w.both(
        one, sets=[b64(signed.head())], models=[{"set": signed.content, "label": "mine"}], **known)
    yield "set-head-no-log", "no log: the value of a set", w.request(
        w.document(one), models=[{"set": signed.content}], sets=[b64(signed.head())], **known)
    for name, about, found in (
            ("other-owner", "somebody else signed it", strange.head()), ("unsigned", "nobody signed it", unsigned.head()),
            ("damaged", "the signature is wrong", signed.head(damage=True))):
        yield "set-head-" + name, about, w.both(one, sets=[b64(found)], **known)
    yield "set-head-unsigned-no-owner", "nobody asks", w.both(one, sets=[b64(unsigned.head())])
    yield "set-head-of-another", "it has another content, and says nothing", w.both(
        one, sets=[b64(SetObject(LLAMA, owner=OTHER).head())], **known)
    yield "set-head-second", "the second one is the owner's", w.both(
        one, sets=[b64(strange.head()), b64(signed.head())], **known)
    yield "set-head-versions", "two versions of one content: the first counts", w.both(
        one, sets=[b64(SetObject(MISTRAL, PHI, owner=ACME, version=2**63 - 1).head()), b64(signed.head())], **known)
    yield "set-head-two-owners", "two sets in the PCR, of two owners", w.both(
        Machine().start("set", owners=(ACME, OTHER)).set_of(signed.content).set_of(SET).set_of(
            SetObject(LLAMA).content), sets=[b64(SetObject(LLAMA, name="team.gguf", owner=OTHER).head()),
                                             b64(signed.head())], owner_keys=[OTHER_KEY, ACME_KEY])
    yield "set-head-of-a-model", "a model was measured, and no set", w.both(
        Machine().start().model(MISTRAL), sets=[b64(unsigned.head())], seals=heads(MISTRAL), **known)
    yield "set-head-start", "the set is the owner's, and the mount trusted somebody else, too", w.both(
        Machine().start("set", owners=(ACME, OTHER)).set_of(signed.content), sets=[b64(signed.head())], **known)


def members(w):
    signed, unsigned = SetObject(MISTRAL, LLAMA, PHI, owner=ACME), SetObject(MISTRAL, LLAMA, PHI)
    one, known = Machine().start("set").set_of(signed.content), {"owner_keys": [ACME_KEY]}
    table, asked = [b64(signed.with_table())], {"members": ["llama/8b.gguf"]}
    yield "member", "one member of a signed set", w.both(one, sets=table, **asked, **known)
    yield "member-no-owner", "the PCR binds one digest of it", w.both(one, sets=table, **asked)
    yield "member-unsigned", "nobody signed the set", w.both(one, sets=[b64(unsigned.with_table())], **asked)
    yield "members", "in the order in which they were asked", w.both(
        one, sets=table, members=["phi", "llama/8b.gguf", "phi"], models=[{"set": signed.content, "label": "prod"}], **known)
    yield "member-missing", "it is no member", w.both(one, sets=table, members=["phi", "8b.gguf"], **known)
    yield "member-folder", "a folder is none", w.both(one, sets=table, members=["llama"])
    yield "member-head-only", "the table is not there", w.both(one, sets=[b64(signed.head())], **asked, **known)
    yield "member-no-set", "the PCR holds a model", w.both(Machine().start().model(MISTRAL), sets=table, **asked)
    yield "member-no-log", "no log", w.request(
        w.document(one), models=[{"set": signed.content}], sets=table, **asked, **known)
    yield "member-signed-later", "the signed table counts", w.both(
        one, sets=[b64(unsigned.with_table()), *table], **asked, **known)
    yield "member-signed-head", "a signed head without a table states nothing of members", w.both(
        one, sets=[b64(signed.head()), b64(unsigned.with_table())], **asked, **known)
    yield "member-mode", "a mode that was not asked", w.both(one, sets=table, modes=["verity"], **asked)
    yield "member-bad-log", "the log is cut", w.both(one, sets=table, event_log=b64(one.log[:-7]), **asked)
    other = SetObject(PHI, name="other", owner=ACME)
    yield "member-of-the-second", "of two sets the one that has it", w.both(
        Machine().start("set").set_of(other.content).set_of(signed.content),
        sets=[b64(other.with_table()), *table], **asked, **known)
    yield "member-of-neither", "the first of them is named", w.both(
        Machine().start("set").set_of(other.content).set_of(signed.content),
        sets=[b64(other.with_table()), *table], members=["none \"at\" all"], **known)


def cases(w):
    for group in (logs, bad_records, lies, systemd, models, without_log, owners, sets, set_heads, members):
        yield from group(w)
