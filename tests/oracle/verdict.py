"""The verdict on evidence, written from attest/verdict/VERDICT.md alone.

judge(request) takes the "request" of a vector and returns its "expect". The document itself is judged by
verdict_document.py. Must never look at the C implementation or at the page.
"""
import base64
import datetime
import hashlib
import json
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

import measured
import sealedformat as sf
import setformat as st
from verdict_document import Failed, Malformed, check_chain, check_fields, check_signature, decode

STEPS = ("decode", "fields", "chain", "signature", "freshness", "tls", "boot", "log", "model", "owner")
NOT_AUTHENTIC = ("decode", "fields", "chain", "signature", "owner")
ZERO = bytes(48)
ITEM = r"([a-zA-Z0-9:/._-]|%[0-9a-f]{2})+"
OWNER_ID = r"[0-9a-f]{64}"
START = re.compile(rf"sealedfs:start:measure=(verity(?=,set=off)|declared(?=,set=off)|set(?=,set=on)),set=(?:on|off),"
                   rf"attest={ITEM},owners=(?P<owners>({OWNER_ID}(\+{OWNER_ID})*)?),kms=({ITEM}(\+{ITEM})*)?")
MODES = ("verity", "declared", "set", "sha384", "sha256")
WITH_START = ("verity", "declared", "set")
MEASURED = {"verity": ("verity",), "declared": ("sha256", "sha384"), "set": ("set",), "sha384": ("sha384",),
            "sha256": ("sha256",)}
HOW = {"verity": "every byte checked", "set": "every byte of its members checked",
       "declared": "hashes declared by the sealer, bytes not compared with them",
       "sha384": "mode not provable", "sha256": "mode not provable"}


# Expectations of the document.

def check_freshness(p, request):
    nonce, found = request.get("nonce"), p.get("nonce")
    if nonce is not None and found is None:
        raise Failed("the document carries no nonce")
    if nonce is not None and found != bytes.fromhex(nonce):
        raise Failed("the document carries another nonce than the one that was asked")
    limit, now = max_age(request), request["time"] * 1000
    if limit is not None and (now - p["timestamp"]) // 1000 > limit:
        raise Failed(f"the document is {(now - p['timestamp']) // 1000} s old, older than {limit} s")
    if limit is not None and (p["timestamp"] - now) // 1000 > 60:
        raise Failed(f"the document is {(p['timestamp'] - now) // 1000} s in the future")


def check_tls(p, request):
    found = p.get("user_data") or b""
    if not found.startswith(b"sealedfs:tls:sha256:"):
        raise Failed("the document names no TLS key")
    if found != b"sealedfs:tls:sha256:" + request["tls_key"].lower().encode():
        raise Failed("the TLS key of the server is not the one in the document")


def is_debug(p):
    return "pcrs" in p and not any(any(value) for index, value in p["pcrs"] if index in (0, 1, 2))


def check_boot(p, request):
    if is_debug(p) and not request.get("debug"):
        raise Failed("the enclave runs in debug mode")
    pcrs = dict(p.get("pcrs") or p.get("nitrotpm_pcrs"))
    for index in sorted(int(name) for name in request.get("boot", {})):
        if index not in pcrs:
            raise Failed(f"the document has no PCR {index}")
        if pcrs[index].hex() not in [each.lower() for each in request["boot"][str(index)]]:
            raise Failed(f"PCR {index} is not one of the approved values")


def max_age(request):
    if "max_age" in request:
        return request["max_age"]
    return None if request.get("time_given") else 300


# What the PCR holds.

def extend(old, digest):
    return hashlib.sha384(old + digest).digest()


class BadRecord(Exception):
    pass


def no_doubles(pairs):
    if len({name for name, _ in pairs}) != len(pairs):
        raise BadRecord
    return dict(pairs)


def no_constant(name):
    raise BadRecord(name)


def check_strings(value):
    """Neither U+0000 nor halves of surrogate pairs, wherever they are."""
    if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
        raise BadRecord
    for each in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_strings(each)


def sha384_of(banks):
    """Its digest; None without; each bank has its own length of digits."""
    sizes = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
    if not isinstance(banks, list) or not 1 <= len(banks) <= 16:
        raise BadRecord
    found, names = {}, set()
    for each in banks:
        name, digest = (each.get("hashAlg"), each.get("digest")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(digest, str) or name in names:
            raise BadRecord
        names.add(name)
        if name in sizes:
            if not re.fullmatch("[0-9a-f]{%d}" % (2 * sizes[name]), digest):
                raise BadRecord
            found[name] = bytes.fromhex(digest)
    return found.get("sha384")


def parse_record(piece, pcr, every):
    """{"pcr", "digest", "kind", "content", …}; None for a record that is not about a PCR."""
    text = piece.decode("utf-8")
    record = json.loads(text, object_pairs_hook=no_doubles, parse_constant=no_constant)
    check_strings(record)
    if not isinstance(record, dict) or not isinstance(record.get("content_type"), str):
        raise BadRecord
    if "pcr" not in record:
        return None
    if not isinstance(record["pcr"], int) or isinstance(record["pcr"], bool) or not 0 <= record["pcr"] < 24:
        raise BadRecord
    found = {"pcr": record["pcr"], "digest": sha384_of(record.get("digests")), "kind": None,
             "type": record["content_type"], "content": record.get("content")}
    if record["content_type"] == "io.sealedfs":
        content = record.get("content")
        if not isinstance(content, dict) or content.get("eventType") not in ("start", "model") \
                or not re.fullmatch("[0-9a-f]{32}", str(content.get("bootId"))) \
                or (content["eventType"] == "model" and content.get("mode") not in MODES):
            raise BadRecord
        before = sha384_of(content["before"]) or ZERO if "before" in content else None
        found.update(kind=content["eventType"], boot=content["bootId"], before=before)
    if every and found["pcr"] == pcr and found["digest"] is None:
        raise BadRecord
    return found


def parse_log(data, pcr, every, whose):
    records, number = [], 0
    while data:
        number += 1
        end = data.find(b"\n") + 1
        try:
            if not end or data[:1] != b"\x1e" or end > 65536:
                raise BadRecord
            record = parse_record(data[1:end - 1], pcr, every)
        except (BadRecord, ValueError):
            raise Failed(f"{whose} is malformed at record {number}") from None
        if record:
            records.append(record)
        data = data[end:]
    return records


class Held:
    """What the PCR holds."""

    def __init__(self):
        self.known, self.models, self.starts, self.unknown, self.systemd = False, [], [], 0, 0


class Model:
    def __init__(self, mode, digests):
        self.mode, self.digests = mode, {kind: digests[kind].lower() for kind in MEASURED[mode]}
        self.owner, self.has_seal, self.name, self.version, self.table = None, False, None, None, None


def model_digest(mode, digests):
    if mode == "set":
        return hashlib.sha384(f"sealedfs:set:sha256:{digests['set']}".encode()).digest()
    full = measured.Digests(*(digests.get(kind, "") for kind in ("verity", "sha256", "sha384")))
    return measured.event_digest(mode, "sha384", full)


def take_record(held, started, record):
    content = record.get("content")
    if record["kind"] == "start":
        text = content.get("string")
        match = START.fullmatch(text) if isinstance(text, str) and len(text.encode()) <= 16384 else None
        if match and hashlib.sha384(text.encode()).digest() == record["digest"]:
            started.add(match[1])
            held.starts.append(text)
            return
    if record["kind"] == "model":
        mode, sizes = content["mode"], {"verity": 64, "sha256": 64, "sha384": 96, "set": 64}
        if all(re.fullmatch("[0-9a-f]{%d}" % sizes[kind], content[kind] if isinstance(content.get(kind), str) else "") for kind in MEASURED[mode]):
            model = Model(mode, content)
            if model_digest(mode, model.digests) == record["digest"] \
                    and (mode not in WITH_START or mode in started):
                held.models.append(model)
                return
    held.unknown += 1


def is_systemd(record):
    text = record["content"].get("string") if isinstance(record["content"], dict) else None
    return record["type"] == "systemd" and isinstance(text, str) \
        and text.startswith(("machine-id:", "file-system:")) \
        and hashlib.sha384(text.encode()).digest() == record["digest"]


def replay(request, pcr, value):
    ours = parse_log(base64.b64decode(request.get("event_log") or ""), pcr, True, "the event log")
    systemd = parse_log(base64.b64decode(request.get("systemd_log") or ""), pcr, False, "systemd's log")
    if value is None:
        raise Failed(f"the document has no PCR {pcr}")
    boots = [record["boot"] for record in ours if record["kind"]]
    ours = [record for record in ours
            if record["pcr"] == pcr and (not record["kind"] or record["boot"] == boots[-1])]
    theirs = [record["digest"] for record in systemd if record["pcr"] == pcr and record["digest"]]
    explained = ZERO
    for digest in theirs:
        explained = extend(explained, digest)
    starts = [at for at, record in enumerate(ours) if record.get("before") is not None]
    chain = ours[starts[-1]:] if starts else ours
    before = value if not ours else chain[0].get("before") or ZERO
    held = Held()
    if before != ZERO:
        if not theirs or before != explained:
            raise Failed(f"something unknown was extended into PCR {pcr} before the first record of the event log")
        for record in systemd:
            if record["pcr"] == pcr and record["digest"]:
                held.systemd += is_systemd(record)
                held.unknown += not is_systemd(record)
    at, started = before, set()
    for record in chain:
        at = extend(at, record["digest"])
    if at != value:
        raise Failed(f"PCR {pcr} does not have the value that the event log leads to: the log is not complete, or "
                     "something else was extended")
    for record in chain:
        take_record(held, started, record)
    held.known = True
    return held


def predict(request, value):
    held = Held()
    if value is None:
        return held
    held.known = value == ZERO
    ids = [hashlib.sha256(base64.b64decode(key["key"])).hexdigest() for key in request.get("owner_keys", ())]
    for mode in MODES if value != ZERO and request.get("models") else ():
        if not all(kind in model for model in request["models"] for kind in MEASURED[mode]):
            continue
        models = [Model(mode, model) for model in request["models"]]
        start = measured.start_text(mode, request.get("attest", "nitrotpm"), ids, request.get("kms", ()))
        first = [hashlib.sha384(start.encode()).digest()] if mode in WITH_START else []
        at = ZERO
        for digest in first + [model_digest(mode, model.digests) for model in models]:
            at = extend(at, digest)
        if at == value:
            held.known, held.models, held.starts = True, models, [start] if first else []
            break
    return held


class SealHead:
    def __init__(self, raw):
        self.core = raw[:2048]
        fields = dict(zip((name for name, _ in sf.CORE_FIELDS), sf.CORE.unpack(self.core)))
        self.digests = {kind: fields[kind].hex() for kind in ("verity", "sha256", "sha384")}
        self.path = fields["path_field"][:fields["path_length"]].decode()
        self.sig_alg, self.signer_id, self.signature, _ = sf.SIGNATURE_BLOCK.unpack_from(raw, 2048)


class SetHead:
    """Header and signature block of a set; members: None if the table is not behind them."""

    def __init__(self, raw):
        self.core = raw[:2048]
        fields = dict(zip(st.FIELDS, st.HEADER.unpack(self.core)))
        self.content, self.version = fields["content"].hex(), fields["version"]
        self.name = fields["name_field"][:fields["name_length"]].decode()
        self.sig_alg, self.signer_id, self.signature, _ = sf.SIGNATURE_BLOCK.unpack_from(raw, 2048)
        self.members = None
        if len(raw) > 2176:
            assert hashlib.sha256(raw[2176:]).digest() == fields["table_sha256"]
            self.members = st.parse_table(raw[2176:], fields["count"])
            assert st.content_digest(self.members).hex() == self.content

    def signed_by(self, key):
        try:
            key.verify(self.signature, st.SIGN_CONTEXT + hashlib.sha384(self.core).digest())
            return True
        except InvalidSignature:
            return False


def set_signer(head, request):
    for each in request.get("owner_keys", ()):
        key = serialization.load_der_public_key(base64.b64decode(each["key"]))
        if head.sig_alg == sf.SIG_ED25519 and sf.signer_id(key) == head.signer_id and head.signed_by(key):
            return each["name"]
    return None


def complete_set(model, heads, request):
    """Its name, or None."""
    belonging = [head for head in heads if head.content == model.digests["set"]]
    signed = [head for head in belonging if set_signer(head, request) is not None]
    model.has_seal = bool(belonging)
    tables = [head for head in signed + belonging if head.members is not None]
    model.table = tables[0] if tables else None
    if not signed:
        return None
    model.owner, model.version = set_signer(signed[0], request), signed[0].version
    return signed[0].name


def signer(seal, request):
    """The name of the owner who signed it, of those expected."""
    for each in request.get("owner_keys", ()):
        key = serialization.load_der_public_key(base64.b64decode(each["key"]))
        if seal.sig_alg == sf.SIG_ED25519 and sf.signer_id(key) == seal.signer_id:
            try:
                sf.check_signature(seal, [key])
                return each["name"]
            except sf.Refused:
                return None
    return None


def agree(one, other):
    common = set(one) & set(other)
    return bool(common) and all(one[kind].lower() == other[kind].lower() for kind in common)


def kinds_of(expected):
    return {kind: expected[kind] for kind in ("verity", "sha256", "sha384", "set") if kind in expected}


def complete(held, request):
    seals = [SealHead(base64.b64decode(each)) for each in request.get("seals", ())]
    sets = [SetHead(base64.b64decode(each)) for each in request.get("sets", ())]
    for model in held.models:
        by_digest = "{}:{:.12}".format(MEASURED[model.mode][0], model.digests[MEASURED[model.mode][0]])
        belonging = [seal for seal in seals if model.mode != "set"
                     and all(seal.digests[kind] == digest for kind, digest in model.digests.items())]
        model.has_seal = bool(belonging)
        name = complete_set(model, sets, request) if model.mode == "set" else None
        for seal in belonging:
            model.owner = signer(seal, request)
            if model.owner is not None:
                model.digests, name = dict(seal.digests), seal.path
                break
        for expected in request.get("models", ()):
            if expected.get("label") and agree(kinds_of(expected), model.digests):
                name = expected["label"]
                break
        name = by_digest if name is None else name
        model.name = name[:-5] if name.endswith(".gguf") and len(name) > 5 else name


# Model and owner.

def permutation(expected, models):
    left = list(models)
    for each in expected:
        found = next((model for model in left if agree(kinds_of(each), model.digests)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def check_model(held, request, pcr, value):
    expected = request.get("models", [])
    if value is None:
        raise Failed(f"the document has no PCR {pcr}")
    if not held.known:
        raise Failed(f"PCR {pcr} does not have the value that the expected models lead to")
    if held.unknown:
        raise Failed(f"something unknown was extended into PCR {pcr} too")
    if not held.models:
        raise Failed(f"PCR {pcr} holds no model")
    if expected and len(expected) != len(held.models):
        count = len(held.models)
        raise Failed(f"PCR {pcr} holds {count} model{'' if count == 1 else 's'}, not {len(expected)}")
    fits = [agree(kinds_of(each), model.digests) for each, model in zip(expected, held.models)]
    if not all(fits):
        if permutation(expected, held.models):
            raise Failed(f"PCR {pcr} holds the expected models in another order")
        strangers = [model for model in held.models
                     if not any(agree(kinds_of(each), model.digests) for each in expected)]
        other = strangers[0] if strangers else held.models[fits.index(False)]
        if not any(set(kinds_of(each)) & set(other.digests) for each in expected):
            raise Failed(f"PCR {pcr} holds {other.name}, which cannot be compared with the digests that were given")
        raise Failed(f"PCR {pcr} holds another model: {other.name}")
    for model in held.models:
        if request.get("modes") and model.mode not in request["modes"]:
            raise Failed(f"PCR {pcr} holds {model.name}, but it was measured as {model.mode}")


def find_members(held, request, pcr):
    """What the verdict shows of each member that was asked for."""
    known, found = [model for model in held.models if model.table], []
    for path in request.get("members", ()):
        if not known:
            raise Failed(f"no set was given whose members PCR {pcr} holds")
        hits = [(model, member) for model in known for member in model.table.members if member["path"] == path.encode()]
        if not hits:
            raise Failed(f'{known[0].name} has no member "{path}"')
        model, member = hits[0]
        shown = {"path": path, "length": member["length"], "verity": member["verity"].hex()}
        if set_signer(model.table, request) is not None:
            shown.update({kind: member[kind].hex() for kind in ("sha256", "sha384")})
        found.append(shown)
    return found


def check_owner(held, request, pcr):
    if not held.known:
        raise Failed(f"it is not known what PCR {pcr} holds")
    if held.unknown:
        raise Failed(f"something unknown was extended into PCR {pcr} too")
    if not held.models:
        raise Failed(f"PCR {pcr} holds no model")
    for model in held.models:
        if not model.has_seal and model.mode != "set":
            raise Failed(f"no seal was given for {model.name}")
    for model in held.models:
        if model.owner is None and model.mode != "set":
            raise Failed(f"the seal of {model.name} is not signed by an expected owner")
    for model in held.models:
        if model.has_seal and model.owner is None:
            raise Failed(f"{model.name} is a set that no expected owner signed")
    ids = {hashlib.sha256(base64.b64decode(key["key"])).hexdigest() for key in request["owner_keys"]}
    named = [set(START.fullmatch(start)["owners"].split("+")) - {""} for start in held.starts]
    if any(owners - ids for owners in named):
        raise Failed("the start event names another owner")
    if not all(named):
        raise Failed("the start event names no owner")


# The whole.

def asked_of(request, payload):
    has_log = "event_log" in request or "systemd_log" in request
    return {"decode": True, "fields": True, "chain": True, "signature": True,
            "freshness": "nonce" in request or max_age(request) is not None, "tls": "tls_key" in request,
            "boot": bool(request.get("boot")) or (payload is not None and is_debug(payload)
                                                  and not request.get("debug")),
            "log": has_log, "model": bool(request.get("models") or request.get("modes") or request.get("members")),
            "owner": bool(request.get("owner_keys"))}


class Verdict:
    def __init__(self, request, aws_root):
        self.request, self.reasons, self.passed = request, {}, set()
        self.payload, self.held, self.members = None, Held(), []
        self.pcr = request.get("model_pcr", 15)
        self.root = base64.b64decode(request["root"]) if "root" in request else aws_root

    def step(self, name, action):
        try:
            result = action()
            self.passed.add(name)
            return result
        except Failed as failure:
            self.reasons[name] = str(failure)
        except Malformed as failure:
            self.reasons[name] = f"the document cannot be decoded: {failure}"
        return None

    def run(self):
        request = self.request
        decoded = self.step("decode", lambda: decode(base64.b64decode(request["document"])))
        if decoded:
            protected, payload, raw, signature = decoded
            self.step("fields", lambda: check_fields(payload))
        if "decode" in self.reasons or "fields" in self.reasons:
            return self.not_checked("decode" if "decode" in self.reasons else "fields", asked_of(request, None))
        self.payload = payload
        asked = asked_of(request, payload)
        value = dict(payload.get("pcrs") or payload.get("nitrotpm_pcrs")).get(self.pcr)
        self.step("chain", lambda: check_chain(payload, self.root))
        self.step("signature", lambda: check_signature(payload, protected, raw, signature))
        for name, check in (("freshness", check_freshness), ("tls", check_tls), ("boot", check_boot)):
            if asked[name]:
                self.step(name, lambda: check(payload, request))  # pylint: disable=cell-var-from-loop
        if asked["log"]:
            self.held = self.step("log", lambda: replay(request, self.pcr, value)) or Held()
        else:
            self.held = predict(request, value)
        if "log" in self.reasons:
            return self.not_checked("log", asked)
        complete(self.held, request)
        if asked["model"]:
            self.members = self.step("model", lambda: self.judge_models(value)) or []
        if asked["owner"]:
            self.step("owner", lambda: check_owner(self.held, request, self.pcr))
        return self

    def judge_models(self, value):
        check_model(self.held, self.request, self.pcr, value)
        return find_members(self.held, self.request, self.pcr)

    def not_checked(self, failed, asked):
        for name in STEPS[STEPS.index("model") if failed == "log" else STEPS.index(failed) + 1:]:
            if asked[name]:
                self.reasons[name] = f"not checked: {failed} failed"
        return self

    def holds(self):
        held = self.held
        if not ({"event_log", "systemd_log"} & set(self.request) or self.request.get("models")):
            return "The document is genuine"
        texts = [model.name + self.sealer(model) + f", {HOW[model.mode]}" for model in held.models]
        count = {0: "no model", 1: "one model: " if held.unknown else "exactly one model: "}.get(
            len(texts), f"{len(texts)} models: ")
        text = f"PCR {self.pcr} holds {count}" + ", ".join(texts[:-1])
        text += (", and " if len(texts) > 1 else "") + (texts[-1] if texts else "")
        for number, what in ((held.systemd, ", after {} event{} of systemd"),
                             (held.unknown, ", and {} event{} that nobody explains")):
            if number:
                text += what.format(number, "" if number == 1 else "s")
        return text

    def sealer(self, model):
        if "owner" not in self.passed or model.owner is None:
            return ""
        return f" version {model.version} (set signed by {model.owner})" if model.mode == "set" \
            else f" (sealed by {model.owner})"

    def sentence(self):
        for name in STEPS:
            if name in self.reasons:
                return f"Not verified: {self.reasons[name]}."
        stamp = self.payload["timestamp"]
        if max_age(self.request) is None:
            age = "document of {:%Y-%m-%dT%H:%M:%SZ}".format(
                datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=stamp // 1000))
        else:
            age = f"document {max(0, (self.request['time'] * 1000 - stamp) // 1000)} s old"
            age += "" if "nonce" in self.request else " (no nonce)"
        boot = "matches" if "boot" in self.passed and self.request.get("boot") else "not checked"
        return f"{self.holds()}; boot image {boot}; {age}."


def judge(request, aws_root):
    verdict = Verdict(request, aws_root).run()
    asked = asked_of(request, verdict.payload)
    steps = {name: "failed" if name in verdict.reasons else "passed" if asked[name] else "not asked" for name in STEPS}
    failed = [name for name in STEPS if name in verdict.reasons]
    code = 0 if not failed else 3 if failed[0] in NOT_AUTHENTIC else 4
    found = {"exit_code": code, "sentence": verdict.sentence(), "steps": steps, "reasons": verdict.reasons}
    return {**found, "members": verdict.members} if "members" in request else found
