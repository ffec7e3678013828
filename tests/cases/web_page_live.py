#!/usr/bin/python3
"""tools/web/verify.html asks a real endpoint: sealctl attest --serve beside a mount that measures.

Drives tools/serve*, tools/evidence* and the page; sealctl verify is asked the same and must answer the same.
"""

import json
import os
import re

import common
import common_browser as browser
import verify_from


def ageless(sentence):
    return re.sub(r"\d+ s old", "N s old", sentence)


class RealEndpoint(browser.PageCase, verify_from.FromCase):
    """The page and sealctl verify --from, side by side."""

    @classmethod
    def setUpClass(cls):
        verify_from.FromCase.setUpClass.__func__(cls)
        browser.PageCase.setUpClass()

    def setUp(self):
        verify_from.FromCase.setUp(self)
        folder = self.folder
        browser.PageCase.setUp(self)
        self.expand()
        self.give("root-file", self.lab.tpm.root)
        self.give("owners-file", self.public)
        stated = {"HashAlgorithm": "SHA384", **{f"PCR{index}": value for index, value in self.boot.items()},
                  "PCR12": "00" * 48}
        path = f"{folder}/boot.json"
        with open(path, "w", encoding="ascii") as out:
            json.dump({"Measurements": stated}, out)
        self.give("boot-file", path)

    def both(self, server, expect=common.OK):
        """(exit code, sentence, steps) of the page, after sealctl said the same."""
        code, sentence = self.ask(server.url)
        done = self.verify(server.url, "--json", expect=expect)
        told = json.loads(done.out)
        self.assertEqual(code, expect, sentence)
        self.assertEqual(ageless(sentence), ageless(told["sentence"]))
        return sentence

    def test_one_model_then_two(self):
        server = self.server()
        with self.mount():
            self.assertRegex(self.both(server), r"^PCR 15 holds exactly one model: mistral-7b \(sealed by acme\), "
                                                r"every byte checked; boot image matches; document \d s old\.$")
            with self.mount("llama-3b"):
                self.assertIn("PCR 15 holds 2 models: ", self.both(server))
                if folder := os.environ.get("SEALEDFS_PICTURES"):
                    for width, scheme in ((360, "dark"), (1200, "light")):
                        with open(f"{folder}/live-{width}-{scheme}.png", "wb") as out:
                            out.write(self.show(width, scheme))

    def test_foreign_extension(self):
        server = self.server()
        with self.mount():
            self.lab.tpm.extend(15, sha256="11" * 32, sha384="11" * 48)
            self.assertIn("PCR 15 does not have the value", self.both(server, common.REFUSED))


if __name__ == "__main__":
    common.main()
