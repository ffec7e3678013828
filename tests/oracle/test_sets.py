#!/usr/bin/python3
"""The reader of sets against the vectors of sets."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import sealedformat as sf  # noqa: E402
import setformat as st  # noqa: E402

VECTORS = os.path.join(HERE, "..", "vectors", "sets")


def read(name):
    with open(os.path.join(VECTORS, name), "rb") as source:
        return source.read()


def open_vector(vector):
    owners = [sf.load_owner_key(os.path.join(VECTORS, path)) for path in vector["owner_keys"]]
    kek = sf.load_kek(os.path.join(VECTORS, vector["kek"]))
    return st.open_set(read(vector["file"]), kek=kek, owner_keys=owners)


class Vectors(unittest.TestCase):
    def test_all(self):
        vectors = json.loads(read("index.json"))["vectors"]
        self.assertGreater(len(vectors), 50)
        for vector in vectors:
            with self.subTest(vector["id"]):
                if vector["expected"] == "ok":
                    found = open_vector(vector)
                    self.assertEqual(found.member_key.hex(), vector["member_key"])
                    self.assertEqual(st.content_digest(found.members).hex(), vector["content"])
                else:
                    with self.assertRaises(sf.Refused) as refused:
                        open_vector(vector)
                    self.assertEqual(refused.exception.word, vector["expected"])

    def test_same_bytes(self):
        with tempfile.TemporaryDirectory() as there:
            subprocess.run([sys.executable, os.path.join(VECTORS, "make_vectors.py"), there],
                           check=True)
            names = sorted(os.listdir(there))
            self.assertEqual(names, sorted(name for name in os.listdir(VECTORS)
                                           if name.endswith((".set", ".json"))))
            for name in names:
                with open(os.path.join(there, name), "rb") as source:
                    self.assertEqual(source.read(), read(name), name)


if __name__ == "__main__":
    unittest.main()
