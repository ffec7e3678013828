#!/usr/bin/python3
"""The oracle of OpenSSF Model Signing against bundles that others made."""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import oms  # noqa: E402

REFERENCE = os.path.join(HERE, "..", "vectors", "oms", "reference")
MODEL = os.path.join(REFERENCE, "p256-model")


def read(name):
    with open(os.path.join(REFERENCE, name), "rb") as source:
        return source.read()


class Reference(unittest.TestCase):
    def setUp(self):
        self.p256 = oms.load_public(os.path.join(REFERENCE, "p256.pub"))
        self.p384 = oms.load_public(os.path.join(REFERENCE, "key.pub"))

    def test_a_directory(self):
        self.assertEqual(oms.verify(MODEL, read("p256.sig"), self.p256), 5)
        with self.assertRaisesRegex(oms.Refused, "another key"):
            oms.verify(MODEL, read("p256.sig"), self.p384)

    def test_signatures_of_other_versions(self):
        for name in ("v0.3.1-elliptic-key", "v1.0.1-elliptic-key", "v1.1.0-elliptic-key",
                     "v1.1.0-certificate"):
            with self.subTest(name):
                found = oms.signed_statement(read(name + ".sig"), self.p384)
                self.assertEqual(found["predicateType"], oms.PREDICATE)

    def test_the_fingerprint(self):
        self.assertIn(oms.fingerprint(self.p384).encode(), read("v1.1.0-elliptic-key.sig"))


if __name__ == "__main__":
    unittest.main()
