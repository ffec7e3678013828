#!/usr/bin/python3
"""Makes the seeds in corpus/tpm/ again: storage keys as TPMs export them, and files of signed policies."""

import hashlib
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "corpus", "tpm")
ECC = bytes.fromhex("0023000b000304720000" "000600800043" "001000030010")
RSA = bytes.fromhex("0001000b000304720000" "000600800043")
MODULUS = b"\xc5" * 256


def sized(data):
    return struct.pack(">H", len(data)) + data


def der(tag, data):
    if len(data) < 128:
        return bytes([tag, len(data)]) + data
    return bytes([tag, 0x82]) + struct.pack(">H", len(data)) + data


def entry(**changes):
    key = der(0x30, der(2, b"\0" + MODULUS) + der(2, b"\1\0\1"))
    good = {"pcrs": [11], "pkfp": hashlib.sha256(key).hexdigest(), "pol": "ab" * 32,
            "sig": "A" * 340 + "AA=="}
    return {**good, **changes}


def main():
    os.makedirs(CORPUS, exist_ok=True)
    point = sized(b"\x11" * 32) + sized(b"\x22" * 32)
    seeds = {
        "ecc": sized(ECC + point),
        "ecc-p384": sized(ECC.replace(b"\x00\x03\x00\x10", b"\x00\x04\x00\x10") + point),
        "ecc-aes-256": sized(ECC.replace(b"\x00\x80", b"\x01\x00") + point),
        "ecc-policy": sized(ECC[:8] + sized(b"p" * 32) + ECC[10:] + point),
        "ecc-policy-long": sized(ECC[:8] + b"\xff\xff" + ECC[10:] + point),
        "rsa-2048": sized(RSA + struct.pack(">HHI", 0x10, 2048, 0) + sized(b"\x99" * 256)),
        "rsa-3072": sized(RSA + struct.pack(">HHI", 0x10, 3072, 65537) + sized(b"\x99" * 384)),
        "rsa-other-size": sized(RSA + struct.pack(">HHI", 0x10, 3072, 0) + sized(b"\x99" * 256)),
        "size-65535": b"\xff\xff" + ECC + point,
    }
    files = {
        "policies-none": {}, "policies-empty": {"sha256": []}, "policies-object": {"sha256": {}},
        "policies-bad-signature": {"sha256": [entry()]},
        "policies-sha384": {"sha384": [entry(pcrs=[0, 23])]},
        "policies-other-key": {"sha256": [entry(pkfp="00" * 32)]},
        "policies-pcrs": {"sha256": [entry(pcrs=[11, 11])]},
        "policies-pcr-24": {"sha256": [entry(pcrs=[24])]},
        "policies-pcr-text": {"sha256": [entry(pcrs=["11"])]},
        "policies-short": {"sha256": [entry(sig="AAAA")]},
        "policies-long": {"sha256": [entry(sig="A" * 4000)]},
        "policies-pol": {"sha256": [entry(pol="ab")]},
        "policies-number": {"sha256": [7]},
    }
    for name, data in {**seeds, **{n: json.dumps(v).encode() for n, v in files.items()}}.items():
        with open(os.path.join(CORPUS, name), "wb") as out:
            out.write(data)


if __name__ == "__main__":
    main()
