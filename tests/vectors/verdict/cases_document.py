"""Cases of the document: decoding, fields, chain, signature, freshness, TLS key, boot."""
import datetime
import hashlib
import os

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes

import cose
import testca
from world import HERE, NOW, NOW_S, PCR12, PCR4, PCR7, ZERO, Machine, b64

REAL = os.path.join(HERE, "..", "attestation-docs")


def forms(w):
    yield "genuine", "nothing is asked but freshness", w.request(w.document())
    yield "tagged", "tag 18", w.request(w.document(form={"tagged": True}))
    yield "definite", "a payload map of known length", w.request(w.document(indefinite=False))
    yield "omitted", "absent fields are left out", w.request(w.document(indefinite=False, omit_null=True))
    yield "enclave", "a document of an enclave", w.request(w.document(enclave=True))
    yield "enclave-tagged", "an enclave, tagged, definite", w.request(
        w.document(enclave=True, form={"tagged": True}, indefinite=False))
    yield "empty-user-data", "user_data and nonce may be empty", w.request(w.document(user_data=b"", nonce=b""))
    yield "largest-fields", "1,024 bytes in each optional field", w.request(
        w.document(user_data=bytes(1024), nonce=bytes(1024), public_key=bytes(1024)))
    yield "unknown-key", "a key that a later version may have", w.request(w.document(later={"a": [1, None, True]}))
    for name in sorted(os.listdir(REAL)):
        if name.endswith(".cose"):
            with open(os.path.join(REAL, name), "rb") as stream:
                yield "real-" + name[:-5], "made by hardware, at its own time, AWS's root", {
                    "document": b64(stream.read()), "time": NOW_S, "time_given": True}


def bad_forms(w):
    document = w.document()
    cases = {
        "empty": b"", "cut": document[:-1], "trailing": document + b"\0", "not-cbor": b"hello",
        "tag-17": b"\xd1" + document, "two-tags": b"\xd2\xd2" + document,
        "other-algorithm": w.document(form={"algorithm": -7}),
        "seal": b"sealedfs" + bytes(100), "too-long": document + bytes(20480),
        "doubled-key": w.sign(b"\xbf" + cose.encode_payload(w.payload())[1:-1]
                              + cbor2.dumps("nonce") + cbor2.dumps(b"x") + b"\xff"),
        "payload-no-map": w.sign(cbor2.dumps([1, 2])),
        "payload-trailing": w.sign(cose.encode_payload(w.payload()) + b"\0"),
        "integer-key": w.sign(cose.encode_payload(w.payload(), indefinite=False, omit_null=True)[:1]
                              .replace(b"\xa6", b"\xa7") + b"\x01\x02"
                              + cose.encode_payload(w.payload(), indefinite=False, omit_null=True)[1:]),
        "short-signature": document[:-98] + b"\x58\x5f" + document[-96:-1],
    }
    for name, data in cases.items():
        yield "decode-" + name, "no document: " + name, w.request(data)


def nested(levels, inner=b"\x00"):
    return b"\x81" * levels + inner


def nesting(w):
    """16 arrays, maps and tags in each other, the outermost counted."""
    fields = cose.encode_payload(w.payload())[:-1] + cbor2.dumps("later")

    def with_value(value):
        return w.request(w.sign(fields + value + b"\xff"))

    def with_header(value, start=b""):
        head = cose.bstr(cbor2.dumps({1: -35}))
        return w.request(start + w.document().replace(head + b"\xa0", head + b"\xa1\x04" + value, 1))

    yield "nested-16", "15 arrays in the payload's map", with_value(nested(15))
    yield "nested-16-tag", "14 arrays and a tag in the payload's map", with_value(b"\xc1" + nested(14))
    yield "nested-16-header", "14 arrays in the unprotected header", with_header(nested(14))
    yield "nested-16-header-tagged", "13 of them in a tagged document", with_header(nested(13), b"\xd2")
    cases = {
        "nested-17": with_value(nested(16)), "nested-17-empty": with_value(nested(15, b"\x80")),
        "nested-17-empty-map": with_value(nested(15, b"\xa0")), "nested-17-open": with_value(nested(15, b"\x9f\xff")),
        "nested-17-tag": with_value(nested(15, b"\xc1\x00")), "nested-17-header": with_header(nested(15)),
        "nested-17-header-tagged": with_header(nested(14), b"\xd2"),
        "simple-value": with_value(b"\xe0"), "simple-value-long": with_value(b"\xf8\x20"),
    }
    for name, request in cases.items():
        yield "decode-" + name, "no document: " + name, request
    yield "unknown-key-values", "undefined and a number with a fraction", with_value(b"\x82\xf7\xf9\x3e\x00")


def bad_fields(w):
    pcrs = w.payload()["nitrotpm_pcrs"]
    doubled = b"\xa2\x04" + cose.bstr(PCR4) + b"\x04" + cose.bstr(PCR7)
    cases = {
        "module-id-empty": {"module_id": ""}, "module-id-space": {"module_id": "i 0"},
        "module-id-long": {"module_id": "i" * 256}, "module-id-bytes": {"module_id": b"i-0"},
        "digest": {"digest": "SHA256"}, "digest-missing": {"digest": "left out"},
        "no-pcrs": {"nitrotpm_pcrs": "left out"}, "both-pcrs": {"pcrs": {0: PCR4}},
        "pcr-24": {"nitrotpm_pcrs": {**pcrs, 24: PCR4}}, "pcr-short": {"nitrotpm_pcrs": {**pcrs, 5: PCR4[:32]}},
        "pcrs-empty": {"nitrotpm_pcrs": {}}, "certificate-long": {"certificate": bytes(1025)},
        "certificate-missing": {"certificate": "left out"}, "cabundle-empty": {"cabundle": []},
        "cabundle-nine": {"cabundle": w.ca.cabundle() + [b"1"] * 5}, "cabundle-empty-entry": {"cabundle": [b""]},
        "public-key-empty": {"public_key": b""}, "user-data-long": {"user_data": bytes(1025)},
        "nonce-long": {"nonce": bytes(1025)}, "nonce-text": {"nonce": "abc"},
    }
    for name, changes in cases.items():
        yield "fields-" + name, "a field breaks its rule: " + name, w.request(w.document(**changes))
    encoded = cose.encode_payload(w.payload(timestamp=0))
    yield "fields-timestamp-zero", "timestamp 0", w.request(w.sign(encoded))
    yield "fields-timestamp-far", "timestamp 2^53", w.request(w.document(at_ms=2 ** 53))
    encoded = cose.encode_payload(w.payload()).replace(cbor2.dumps(pcrs), doubled)
    yield "fields-pcr-doubled", "one PCR twice", w.request(w.sign(encoded))
    yield "fields-two-at-once", "the first in the order of the page is named", w.request(
        w.document(nonce="text", digest="SHA1"))


def chains(w):
    plain = w.document()
    aws = w.request(plain)
    del aws["root"]
    yield "chain-other-root", "the test authority under AWS's root", aws
    foreign = testca.TestCa(os.path.join(w.folder.name, "foreign"))
    foreign.refresh(NOW)
    key, leaf = foreign.issue_leaf("i-0123456789abcdef0-tpm0000000000000000", NOW)
    other = {"certificate": testca.to_der(leaf)}
    yield "chain-foreign", "a whole chain of another authority", w.request(
        w.document(key=key, cabundle=foreign.cabundle(), **other))
    mixed = [w.ca.cabundle()[0], *foreign.cabundle()[1:]]
    yield "chain-foreign-below-root", "the right root in front of another chain", w.request(
        w.document(key=key, cabundle=mixed, **other))
    yield "chain-leaf-of-another", "the leaf is not of this chain", w.request(w.document(key=key, **other))
    bundle = w.ca.cabundle()
    yield "chain-order", "two certificates changed places", w.request(
        w.document(cabundle=[bundle[0], bundle[2], bundle[1], bundle[3]]))
    yield "chain-missing", "one certificate is missing", w.request(w.document(cabundle=[*bundle[:2], bundle[3]]))
    yield "chain-extra", "one certificate too many", w.request(w.document(cabundle=[*bundle, bundle[3]]))
    yield "chain-root-only", "nothing between root and leaf", w.request(w.document(cabundle=bundle[:1]))
    yield "chain-no-certificate", "the leaf is no certificate", w.request(w.document(certificate=bytes(600)))
    yield "chain-trailing", "a byte behind the leaf", w.request(
        w.document(certificate=testca.to_der(w.leaf) + b"\0"))
    key, leaf = w.ca.issue_leaf("i-0-tpm0", NOW, ca_flag=True)
    yield "chain-leaf-is-ca", "the leaf is a CA", w.request(w.document(key=key, certificate=testca.to_der(leaf)))
    key, leaf = w.ca.issue_leaf("i-0-tpm0", NOW, issuer="zonal")
    yield "chain-leaf-by-zonal", "the leaf is issued further up, the chain as usual", w.request(
        w.document(key=key, certificate=testca.to_der(leaf)))
    yield "chain-leaf-by-zonal-fitting", "a shorter chain that fits", w.request(
        w.document(key=key, certificate=testca.to_der(leaf), cabundle=bundle[:3]))
    yield "chain-root-twice", "the root is there twice", w.request(w.document(cabundle=[bundle[0], *bundle]))
    yield from extensions(w)
    late = NOW + datetime.timedelta(hours=5)
    yield "chain-expired", "the leaf had expired when the document was made", w.request(
        w.document(at_ms=int((NOW_S + 5 * 3600) * 1000)), time=NOW_S + 5 * 3600)
    yield "chain-not-yet", "the leaf was not valid yet", w.request(
        w.document(at_ms=(NOW_S - 60) * 1000), time=NOW_S - 50)
    yield "chain-last-second", "the last second of the leaf", w.request(
        w.document(at_ms=(NOW_S + 3 * 3600) * 1000 + 999), time=NOW_S + 3 * 3600 + 1)
    yield "chain-judged-later", "a chain that has expired since", w.request(
        plain, time=int((late - datetime.datetime(1970, 1, 1)).total_seconds()) + 10 ** 8, time_given=True)


def extensions(w):
    """Leaves that differ from the usual one in one point."""
    zone = w.ca.levels["instance"]
    names = x509.SubjectAlternativeName([x509.DNSName("a.example")])
    key_id = x509.SubjectKeyIdentifier(bytes(20))

    def with_leaf(*more, usage_critical=False, subject=None):
        key, leaf = w.ca.issue_leaf("i-0-tpm0", NOW)
        builder = x509.CertificateBuilder(
            zone.certificate.subject, subject or leaf.subject, key.public_key(), leaf.serial_number,
            leaf.not_valid_before, leaf.not_valid_after)
        for each in leaf.extensions:
            builder = builder.add_extension(each.value, each.critical or usage_critical)
        for value, critical in more:
            builder = builder.add_extension(value, critical)
        made = builder.sign(zone.key, hashes.SHA384())
        return w.request(w.document(key=key, certificate=testca.to_der(made)))

    yield "chain-usage-critical", "keyUsage is critical", with_leaf(usage_critical=True)
    yield "chain-names", "subjectAltName, not critical", with_leaf((names, False))
    yield "chain-names-critical", "subjectAltName, critical", with_leaf((names, True))
    yield "chain-key-id-critical", "subjectKeyIdentifier, critical", with_leaf((key_id, True))
    yield "chain-unknown-critical", "an extension of nobody, critical", with_leaf(
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), True))
    yield "chain-self-issued", "the leaf has its issuer's name", with_leaf(subject=zone.certificate.subject)


def signatures(w):
    yield "signature-bit", "one bit of the signature", w.request(w.document(form={"corrupt_signature": True}))
    key, _ = w.ca.issue_leaf("i-0-tpm0", NOW)
    yield "signature-other-key", "signed by another key than the leaf's", w.request(w.document(key=key))
    document = bytearray(w.document())
    document[document.index(PCR4)] ^= 1
    yield "signature-content", "a PCR was changed", w.request(bytes(document))
    document = w.document()
    yield "signature-zero", "r and s are zero", w.request(document[:-96] + bytes(96))
    changed = bytearray(document)
    changed[document.index(b"AWS")] ^= 1
    yield "signature-and-chain", "both broken: the chain is named", w.request(bytes(changed))


def freshness(w):
    nonce = bytes(range(32))
    with_nonce = w.document(nonce=nonce)
    yield "fresh-nonce", "the nonce is the one that was asked", w.request(with_nonce, nonce=nonce.hex())
    yield "fresh-other-nonce", "another nonce", w.request(with_nonce, nonce="ff" * 32)
    yield "fresh-prefix-nonce", "only the beginning of the nonce", w.request(with_nonce, nonce=nonce[:16].hex())
    yield "fresh-no-nonce", "the document has none", w.request(w.document(), nonce=nonce.hex())
    yield "fresh-limit", "exactly 300 s old", w.request(w.document(), time=NOW_S + 300)
    yield "fresh-old", "301 s old", w.request(w.document(), time=NOW_S + 301)
    yield "fresh-rounded", "299.5 s old", w.request(w.document(at_ms=NOW_S * 1000 + 500), time=NOW_S + 300)
    yield "fresh-ahead", "60.9 s in the future", w.request(w.document(at_ms=(NOW_S + 60) * 1000 + 900), time=NOW_S)
    yield "fresh-future", "61 s in the future", w.request(w.document(at_ms=(NOW_S + 61) * 1000), time=NOW_S)
    yield "fresh-max-age", "a limit of one's own", w.request(w.document(), max_age=10)
    yield "fresh-time-given", "a time without a limit: the age is not asked", w.request(
        w.document(), time=NOW_S + 9000, time_given=True)
    yield "fresh-time-nonce", "a time and a nonce", w.request(
        with_nonce, time=NOW_S + 9000, time_given=True, nonce=nonce.hex())
    yield "fresh-time-max-age", "a time and a limit", w.request(
        w.document(), time=NOW_S + 9000, time_given=True, max_age=8999)


def tls(w):
    key = hashlib.sha256(b"a key").hexdigest()
    bound = w.document(user_data=b"sealedfs:tls:sha256:" + key.encode())
    yield "tls-bound", "the peer's key is in the document", w.request(bound, tls_key=key)
    yield "tls-other", "another key", w.request(bound, tls_key=hashlib.sha256(b"b").hexdigest())
    yield "tls-none", "no key in the document", w.request(w.document(), tls_key=key)
    yield "tls-other-text", "user data of another kind", w.request(w.document(user_data=b"hello"), tls_key=key)
    yield "tls-longer", "something behind the key", w.request(
        w.document(user_data=b"sealedfs:tls:sha256:" + key.encode() + b"0"), tls_key=key)
    yield "tls-not-asked", "a key that nobody asks for", w.request(bound)


def boot(w):
    def asked(values):
        return {index: [each.hex() for each in several] for index, several in values.items()}

    good = {"4": [PCR4], "7": [PCR7], "12": [ZERO]}
    yield "boot-matches", "PCR 4, 7 and 12", w.request(w.document(), boot=asked(good))
    yield "boot-alternatives", "the second of two images", w.request(
        w.document(), boot=asked({**good, "4": [PCR7, PCR4]}))
    yield "boot-upper-case", "upper-case digits", w.request(w.document(), boot={"4": [PCR4.hex().upper()]})
    yield "boot-other", "another image", w.request(w.document(), boot=asked({**good, "4": [PCR7]}))
    yield "boot-command-line", "PCR 12 is not zero", w.request(
        w.document(pcr_values={12: PCR12}), boot=asked(good))
    yield "boot-lowest", "of several the lowest is named", w.request(
        w.document(), boot=asked({"12": [PCR4], "7": [PCR4], "4": [PCR4]}))
    yield "boot-missing", "the document has no such PCR", w.request(w.document(enclave=True),
                                                                   boot=asked({"16": [PCR4]}))
    debug = w.document(enclave=True, pcr_values={0: ZERO, 1: ZERO, 2: ZERO})
    yield "boot-debug", "an enclave in debug mode", w.request(debug)
    yield "boot-debug-accepted", "the same, accepted", w.request(debug, debug=True)
    yield "boot-debug-asked", "the same, with zero as the expected value", w.request(debug, boot=asked({"0": [ZERO]}))
    few = w.document(enclave=True, pcrs={3: PCR4})
    yield "boot-debug-absent", "an enclave that does not state its code", w.request(few)
    yield "boot-enclave", "an enclave's image", w.request(
        w.document(enclave=True), boot=asked({"0": [hashlib.sha384(b"firmware").digest()]}))


def cases(w):
    for group in (forms, bad_forms, nesting, bad_fields, chains, signatures, freshness, tls, boot):
        yield from group(w)
    machine = Machine().start()
    yield "two-failures", "the first is the reason, 3 is the exit code", w.request(
        w.document(machine, form={"corrupt_signature": True}), machine, time=NOW_S + 400)
