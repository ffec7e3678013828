#!/usr/bin/python3
"""The cases in tests/vectors/verdict/ still are what the oracle concludes."""
import glob
import json
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors", "verdict")
sys.path[:0] = [HERE, VECTORS]

import make_cases  # noqa: E402
import verdict  # noqa: E402


class Cases(unittest.TestCase):
    def test_every_case(self):
        names = glob.glob(os.path.join(VECTORS, "*.json"))
        self.assertGreater(len(names), 60)
        for name in names:
            with self.subTest(os.path.basename(name)), open(name, encoding="utf-8") as stream:
                case = json.load(stream)
                self.assertEqual(verdict.judge(case["request"], make_cases.aws_root()), case["expect"])


if __name__ == "__main__":
    unittest.main()
