#!/usr/bin/python3
"""Makes the seeds in corpus/oms/ again: the vectors of OMS, the statements in them, and some that are none."""

import base64
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "corpus", "oms")
VECTORS = os.path.join(HERE, "..", "vectors", "oms")
BAD = {"array": b"[]", "deep": b"[" * 3000, "string": b'"x"', "object": b"{}", "nul": b'{"a":"\\u0000"}'}


def write(name, data):
    with open(os.path.join(CORPUS, name), "wb") as out:
        out.write(data)


def main():
    os.makedirs(CORPUS, exist_ok=True)
    for name, data in BAD.items():
        write(name, data)
    for folder in ("specification/valid", "specification/invalid", "reference"):
        for file in sorted(os.listdir(os.path.join(VECTORS, folder))):
            if not file.endswith((".json", ".sig")):
                continue
            with open(os.path.join(VECTORS, folder, file), "rb") as source:
                data = source.read()
            name = file.removesuffix(".bundle.json").removesuffix(".sig")
            write(name, data)
            if data and "dsseEnvelope" in (bundle := json.loads(data)):
                write(name + "-statement", base64.b64decode(bundle["dsseEnvelope"]["payload"]))


if __name__ == "__main__":
    main()
