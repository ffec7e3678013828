#!/usr/bin/python3
"""The emulator's evaluation of policies makes every decision of tests/vectors/policy/decisions.json."""
import json
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import iam_policy  # noqa: E402


class Decisions(unittest.TestCase):
    def test_vectors(self):
        with open(os.path.join(HERE, "..", "vectors", "policy", "decisions.json"), encoding="utf-8") as vectors:
            cases = json.load(vectors)
        self.assertGreater(len(cases), 30)
        for case in cases:
            for request in case["requests"]:
                with self.subTest(case["name"], request=request):
                    self.assertEqual(
                        iam_policy.decide(case["policy"], request["principal"], request["action"],
                                          request["resource"], request["context"]), request["expect"])


if __name__ == "__main__":
    unittest.main()
