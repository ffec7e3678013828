#!/usr/bin/python3
"""Makes the seeds in corpus/document/, corpus/record/ and corpus/cms/ again.

Documents: the real ones, and each of them once more in another form or cut; NSM responses around
one; CBOR that is hostile by itself. Records: ours, systemd's, and damaged ones. Envelopes: from
tests/vectors/cms/.
"""

import json
import os
import shutil

import cbor2

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors")
DOCUMENTS = os.path.join(VECTORS, "attestation-docs")


def put(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as stream:
        stream.write(data)


def small_document(**changes):
    """One with everything mandatory and little else; None leaves a key out."""
    payload = {"module_id": "i-0-tpm0", "digest": "SHA384", "timestamp": 1,
               "nitrotpm_pcrs": {0: bytes(48)}, "certificate": b"0", "cabundle": [b"0"],
               "public_key": None, "user_data": b"", "nonce": b"n"}
    payload.update(changes)
    payload = {k: v for k, v in payload.items() if v != "left out"}
    return cbor2.dumps([cbor2.dumps({1: -35}), {}, cbor2.dumps(payload), bytes(96)])


def documents():
    for name in sorted(os.listdir(DOCUMENTS)):
        if name.endswith(".cose"):
            with open(os.path.join(DOCUMENTS, name), "rb") as stream:
                data = stream.read()
            put("document", name.split("-")[0] + name[-13:-5], data)
            if name.startswith("nitrotpm"):
                put("document", "tagged", b"\xd2" + data)
                put("document", "half", data[:len(data) // 2])
                put("document", "response", b"\xa1\x6bAttestation\xa1\x68document"
                    + cbor2.dumps(data) + b"\xff" * 40)
    put("document", "small", small_document())
    put("document", "small-enclave", small_document(nitrotpm_pcrs="left out", pcrs={31: bytes(48)}))
    put("document", "both-pcrs", small_document(pcrs={0: bytes(48)}))
    put("document", "pcr-sizes", small_document(nitrotpm_pcrs={0: bytes(32), 1: bytes(64)}))
    put("document", "no-cabundle", small_document(cabundle=[]))
    put("document", "many-certificates", small_document(cabundle=[b"0"] * 9))
    put("document", "module-id-control", small_document(module_id="i-\x1b[2J"))
    put("document", "unknown-keys", small_document(later={"a": [1, 2.5, True, None]}, other=-1))
    put("document", "error-response", cbor2.dumps({"Error": "InternalError"}))
    put("document", "request-as-response", bytes.fromhex(
        "a16b4174746573746174696f6ea369757365725f64617461f6656e6f6e6365f66a7075626c69635f6b6579f6"))
    for name, text in (("empty", ""), ("null", "f6"), ("all-ff", "ff" * 64),
                       ("huge-bytes", "5bffffffffffffffff"), ("huge-map", "bb8000000000000000"),
                       ("huge-array", "9bffffffffffffffff00"), ("deep-arrays", "81" * 100 + "00"),
                       ("deep-open", "9f" * 100), ("deep-tags", "d2" * 100 + "00"),
                       ("open-map-odd", "bf00ff"), ("break-in-tag", "9fd2ff"),
                       ("chunked-bytes", "5f4100ff"), ("simple-short", "f817"),
                       ("reserved", "1c"), ("negative-max", "3bffffffffffffffff")):
        put("document", "cbor-" + name, bytes.fromhex(text))


def record(**changes):
    value = {"pcr": 15, "digests": [{"hashAlg": "sha256", "digest": "11" * 32},
                                    {"hashAlg": "sha384", "digest": "22" * 48}],
             "content_type": "io.sealedfs",
             "content": {"eventType": "model", "string": "sealedfs:sha256:" + "11" * 32,
                         "bootId": "0" * 32, "timestamp": 1, "mode": "sha256", "model": "m",
                         "sha256": "11" * 32,
                         "before": [{"hashAlg": "sha256", "digest": "00" * 32},
                                    {"hashAlg": "sha384", "digest": "00" * 48}]}}
    value.update(changes)
    return b"\x1e" + json.dumps(value, separators=(",", ":")).encode() + b"\n"


def records():
    put("record", "model", record())
    put("record", "two", record() + record(pcr=14))
    put("record", "cut", record()[:-20])
    put("record", "systemd", record(content_type="systemd", content={"eventType": "machine-id"}))
    put("record", "no-digests", record(digests=[]))
    put("record", "same-bank-twice", record(digests=[
        {"hashAlg": "sha1", "digest": "33" * 20}] * 2))
    put("record", "unknown-bank", record(digests=[{"hashAlg": "sm3_256", "digest": "zz"}]))
    put("record", "short-digest", record(digests=[{"hashAlg": "sha512", "digest": "00"}]))
    put("record", "pcr-24", record(pcr=24))
    put("record", "pcr-negative", record(pcr=-1))
    put("record", "mode-none", record(content={"eventType": "model", "mode": "none",
                                               "bootId": "0" * 32}))
    put("record", "deep", b"\x1e" + b"[" * 3000 + b"\n")
    put("record", "nul", b"\x1e{\"pcr\":\0}\n")
    put("record", "no-separator", b"{}\n")


def envelopes():
    folder = os.path.join(VECTORS, "cms")
    os.makedirs(os.path.join(HERE, "corpus", "cms"), exist_ok=True)
    for name in ("form-a", "form-b", "form-split", "bad-pkcs1", "bad-password", "bad-mgf-sha1",
                 "bad-two-recipients", "bad-data", "real-form-a", "real-form-b"):
        shutil.copyfile(os.path.join(folder, name + ".ber"),
                        os.path.join(HERE, "corpus", "cms", name))


if __name__ == "__main__":
    documents()
    records()
    envelopes()
