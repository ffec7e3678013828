#!/usr/bin/python3
"""tools/web/verify.html in a real Chromium: the second implementation of attest/verdict/VERDICT.md.

Drives no room of ours: the page shares nothing with the C code. Vectors and real documents are judged
by both, and the expected verdicts are those of the specification.
"""

import glob
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import unittest

import common
import common_browser as browser
import common_evidence as evidence

DOCUMENTS = os.path.join(common.TESTS, "vectors", "attestation-docs")
VECTORS = os.path.join(common.TESTS, "vectors", "verdict")
REAL = {
    "enclave-eu-west-1-20221109.cose": "2022-11-09T22:52:00Z",
    "enclave-us-east-1-20240907.cose": "2024-09-07T14:37:39Z",
    "nitrotpm-us-east-1-20260203.cose": "2026-02-03T10:12:02Z",
}
DAMAGED = 200
SEED = int(os.environ.get("SEALEDFS_SEED") or 1)


def real(name):
    return common.read_bytes(os.path.join(DOCUMENTS, name))


class Documents(browser.PageCase):
    """Documents that hardware produced."""

    def test_verify_at_their_own_time(self):
        self.element("when-then").click()
        for name, moment in REAL.items():
            with self.subTest(name):
                self.assertEqual(self.choose(os.path.join(DOCUMENTS, name)), (
                    0, f"The document is genuine; boot image not checked; document of {moment}."))
                self.assertEqual([step for step, status in self.steps().items() if status == "passed"],
                                 ["decode", "fields", "chain", "signature"])

    def test_are_old_now(self):
        code, sentence = self.choose(os.path.join(DOCUMENTS, "nitrotpm-us-east-1-20260203.cose"))
        self.assertEqual(code, 4)
        self.assertRegex(sentence, r"^Not verified: the document is \d+ s old, older than 300 s\.$")

    def test_damaged_do_not_verify(self):
        chance = random.Random(SEED)
        for name in REAL:
            document = real(name)
            flips = sorted(chance.sample(range(8 * len(document)), -(-DAMAGED // len(REAL))))
            verdicts = self.damaged(document, flips)
            self.assertEqual(len(verdicts), len(flips), verdicts)
            for bit, (code, sentence) in zip(flips, verdicts):
                self.assertEqual(code, 3, f"{name}, bit {bit}: {sentence}")
                self.assertTrue(sentence.startswith("Not verified: "), sentence)

    def test_another_root_is_not_accepted(self):
        machine = evidence.Machine(self.path("ca"))
        path = self.path("doc.cose", machine.document())
        self.assertEqual(self.choose(path), (
            3, "Not verified: the certificate chain does not end in the expected root."))
        self.expand()
        self.give("root-file", self.path("root.pem", machine.root_pem))
        self.assertEqual(self.verdict(self.element("file-button").click)[0], 0)

    def test_root_is_the_published_one(self):
        source = common.read_text(os.path.join(common.TOP, "tools", "web", "src", "aws_root.js"))
        der = evidence.base64.b64decode("".join(re.findall(r"'([A-Za-z0-9+/=]+)',\n", source)))
        self.assertEqual(hashlib.sha256(der).hexdigest(),
                         "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b")


class Vectors(browser.PageCase):
    """The vectors that sealctl is judged by too."""

    def test_same_verdict(self):
        names = sorted(glob.glob(os.path.join(VECTORS, "*.json")))
        self.assertGreater(len(names), 200)
        vectors = [json.loads(common.read_bytes(name)) for name in names]
        verdicts = []
        for first in range(0, len(vectors), 30):  # a script has its time
            verdicts += self.judge(*(vector["request"] for vector in vectors[first:first + 30]))
        for name, vector, verdict in zip(names, vectors, verdicts):
            with self.subTest(os.path.basename(name), about=vector["about"]):
                self.compare(vector["expect"], verdict)

    def compare(self, expect, verdict):
        free = "the document cannot be decoded: "

        def cut(text):
            head, found, _ = text.partition(free)
            return head + found

        self.assertEqual(cut(verdict["sentence"]), cut(expect["sentence"]))
        self.assertEqual({step["name"]: step["status"] for step in verdict["steps"]}, expect["steps"])
        self.assertEqual({step["name"]: cut(step["reason"]) for step in verdict["steps"] if step["reason"]},
                         {name: cut(text) for name, text in expect.get("reasons", {}).items()})
        self.assertEqual(verdict["exitCode"], expect["exit_code"])
        self.assertEqual(verdict["members"], expect.get("members", []))


class MachineCase(browser.PageCase):
    """A machine of our own, its endpoint, and a page that expects its root."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.machine = evidence.Machine(os.path.join(cls.folder, "ca"))
        cls.acme, cls.other = evidence.Owner("acme"), evidence.Owner("other")
        cls.plain, cls.second = b"GGUF worked example\n", b"another model"

    def setUp(self):
        super().setUp()
        self.machine.boot()
        self.endpoint = evidence.Endpoint(self.machine)
        self.enterContext(self.endpoint.running())
        self.expand()
        self.give("root-file", self.path("root.pem", self.machine.root_pem))

    def expect_owner(self):
        self.give("owners-file", self.path("acme.pub", self.acme.pem))


class Live(MachineCase):
    """An instance that answers."""

    def serve(self, *names, owner=None):
        """The machine measures models and hands out their seals."""
        self.machine.start("verity", owner or self.acme)
        for name in names:
            plain = {"mistral.gguf": self.plain}.get(name, self.second)
            self.machine.measure(plain, name)
            self.machine.seals.append((name, evidence.seal_head(plain, name, owner or self.acme)))

    def expect_boot(self):
        stated = {"HashAlgorithm": "SHA384 { ... }", "PCR4": self.machine.pcrs[4].hex(),
                  "PCR7": self.machine.pcrs[7].hex(), "PCR12": "00" * 48}
        self.give("boot-file", self.path("boot.json", json.dumps({"Measurements": stated}).encode()))

    def asked(self):
        return self.ask(self.endpoint.host)

    def test_one_model(self):
        self.serve("mistral.gguf")
        self.expect_owner()
        self.expect_boot()
        code, sentence = self.asked()
        self.assertRegex(sentence, r"^PCR 15 holds exactly one model: mistral \(sealed by acme\), every byte "
                                   r"checked; boot image matches; document \d s old\.$")
        self.assertEqual(code, 0)
        (nonce,) = self.endpoint.nonces
        self.assertEqual(len(nonce), 32)
        self.assertIn(nonce.hex(), self.element("result").get_attribute("textContent"))

    def test_every_question_has_another_nonce(self):
        self.serve("mistral.gguf")
        self.asked()
        self.asked()
        self.assertEqual(len(set(self.endpoint.nonces)), 2)

    def test_two_models(self):
        self.serve("mistral.gguf", "second.gguf")
        self.expect_owner()
        code, sentence = self.asked()
        self.assertIn("PCR 15 holds 2 models: mistral (sealed by acme), every byte checked, and second", sentence)
        self.assertIn("boot image not checked", sentence)
        self.assertEqual(code, 0)
        self.type("models-text", "sha256:" + hashlib.sha256(self.plain).hexdigest() + "\n")
        self.assertEqual(self.asked(), (4, "Not verified: PCR 15 holds 2 models, not 1."))

    def test_a_set(self):
        """The machine shows its head; the consumer has the whole set, and asks for one of its files."""
        files = {"config.json": b"{}", "dir/weights": self.plain}
        raw, content = evidence.set_object(files, "prod", 7, self.acme)
        self.machine.start("set", self.acme)
        self.machine.measure_set(content)
        self.machine.sets.append(raw[:2176])
        self.expect_owner()
        said = "PCR 15 holds exactly one model: prod version 7 (set signed by acme), every byte of its members checked"
        self.assertIn(said, self.asked()[1])
        self.type("members-text", "config.json\n")
        self.assertEqual(self.asked(), (4, "Not verified: no set was given whose members PCR 15 holds."))
        self.give("models-file", self.path("sealed.set", raw))
        self.assertIn(said, self.asked()[1])
        shown = self.element("result").get_attribute("textContent")
        for text in ("config.json (2 bytes)", "sha256:" + hashlib.sha256(b"{}").hexdigest()):
            self.assertIn(text, shown)
        self.type("members-text", "weights\n")
        self.assertEqual(self.asked(), (4, 'Not verified: prod has no member "weights".'))

    def test_a_set_of_another_owner(self):
        raw, content = evidence.set_object({"a": b"a"}, "prod", 7, self.other)
        self.machine.start("set", self.acme)
        self.machine.measure_set(content)
        self.machine.sets.append(raw[:2176])
        self.expect_owner()
        code, sentence = self.asked()
        self.assertEqual(code, 3)
        self.assertRegex(sentence, r"^Not verified: set:\w{12} is a set that no expected owner signed\.$")

    def test_foreign_extension(self):
        self.serve("mistral.gguf")
        self.machine.extend(bytes(48))
        self.assertEqual(self.asked(), (4, "Not verified: PCR 15 does not have the value that the event log leads "
                                           "to: the log is not complete, or something else was extended."))

    def test_stranger_in_the_log(self):
        self.serve("mistral.gguf")
        self.machine.stranger()
        name = "verity:" + evidence.digests_of(self.plain).verity[:12]
        code, sentence = self.asked()
        self.assertIn(f"PCR 15 holds one model: {name}, every byte checked, and 1 event that nobody explains", sentence)
        self.assertEqual(code, 0)
        self.expect_owner()
        self.assertEqual(self.asked(), (3, "Not verified: something unknown was extended into PCR 15 too."))

    def test_names_of_strangers_are_not_used(self):
        self.serve("mistral.gguf", owner=self.other)
        self.assertNotIn("mistral", self.asked()[1])
        self.expect_owner()
        code, sentence = self.asked()
        self.assertRegex(sentence, r"^Not verified: the seal of verity:\w{12} is not signed by an expected owner\.$")
        self.assertEqual(code, 3)

    def test_another_nonce(self):
        self.serve("mistral.gguf")
        self.endpoint.answer = lambda _nonce: self.endpoint.fresh(bytes(32))
        self.assertEqual(self.asked(), (
            4, "Not verified: the document carries another nonce than the one that was asked."))
        self.endpoint.answer = lambda _nonce: self.endpoint.fresh(None)
        self.assertEqual(self.asked(), (4, "Not verified: the document carries no nonce."))

    def test_old_document(self):
        self.serve("mistral.gguf")
        self.machine.faults = [{"kind": "old", "age_s": 600}]
        code, sentence = self.asked()
        self.assertRegex(sentence, r"^Not verified: the document is 60\d s old, older than 300 s\.$")
        self.assertEqual(code, 4)

    def test_wrong_boot_image(self):
        self.serve("mistral.gguf")
        self.type("boot-text", "4=" + "ab" * 48 + "\n")
        self.assertEqual(self.asked(), (4, "Not verified: PCR 4 is not one of the approved values."))
        self.type("boot-text", f"4={self.machine.pcrs[4].hex()}\n")
        self.assertEqual(self.asked()[0], 0)

    def test_answers_that_are_none(self):
        hostile = "\u202eevil\u0007"
        for status, body, words in (
                (200, b"{}", "malformed"), (200, b"\xff", "malformed"), (404, b"<html>", "HTTP 404"),
                (200, b'{"sealedfs_evidence": 1, "pcr": 15, "document": "", "document": ""}', "twice"),
                (403, json.dumps({"error": "the policy refuses " + hostile}).encode(), "the policy refuses")):
            self.endpoint.answer = lambda _nonce, answer=(status, body): answer
            code, sentence = self.asked()
            self.assertIsNone(code)
            self.assertIn(words, sentence)
            self.assertNotIn(hostile[0], sentence)

    def test_nobody_answers(self):
        code, sentence = self.ask("127.0.0.1:1")
        self.assertIsNone(code)
        self.assertIn("127.0.0.1:1 could not be asked", sentence)
        self.driver.get_log("browser")

    def test_saved_evidence(self):
        self.serve("mistral.gguf")
        self.expect_owner()
        saved = self.path("evidence.json", json.dumps(self.machine.evidence()).encode())
        code, sentence = self.choose(saved)
        self.assertRegex(sentence, r"document \d s old \(no nonce\)\.$")
        self.assertEqual(code, 0)
        self.type("nonce", "ab" * 32)
        self.assertEqual(self.verdict(self.element("file-button").click), (
            4, "Not verified: the document carries no nonce."))

    def test_another_pcr(self):
        """The number in the evidence is not signed."""
        self.serve("mistral.gguf")
        liar = json.dumps({**self.machine.evidence(), "pcr": 14}).encode()
        path = self.path("evidence.json", liar)
        self.assertIn("PCR 15 holds exactly one model: ", self.choose(path)[1])
        self.element("model-pcr").send_keys("PCR 14")
        code, sentence = self.verdict(self.element("file-button").click)
        self.assertIn("PCR 14 holds no model", sentence)
        self.assertEqual(code, 0)

    def test_broken_seal(self):
        self.serve("mistral.gguf")
        self.machine.seals[0] = ("x", self.machine.seals[0][1][:-1])
        code, sentence = self.asked()
        self.assertIsNone(code)
        self.assertIn("a seal breaks the format", sentence)

    def test_document_in_base64(self):
        text = evidence.base64.encodebytes(self.machine.document())
        self.assertEqual(self.choose(self.path("doc.b64", text))[0], 0)

    def test_what_was_not_checked_is_listed(self):
        self.serve("mistral.gguf")
        self.asked()
        listed = self.driver.find_element("css selector", ".open").text
        for words in ("What the machine booted", "TLS", "Which models", "Who sealed"):
            self.assertIn(words, listed)


class Files(MachineCase):
    """Models and seals as files, without a log."""

    SIZES = (0, 1, 4096, 4097, 128 * 4096, 128 * 4096 + 1, 5 * common.MIB + 3)

    def test_hashed_in_the_browser(self):
        models = [common.model_bytes(size, seed) for seed, size in enumerate(self.SIZES)]
        paths = [self.path(f"m{i}.gguf", plain) for i, plain in enumerate(models)]
        self.give("models-file", *paths)
        for mode in ("verity", "declared", "sha256", "sha384"):
            self.machine.boot()
            if mode in ("verity", "declared"):
                self.machine.start(mode)
            for plain in models:
                self.machine.measure(plain, "m", mode)
            code, sentence = self.choose(self.path("doc.cose", self.machine.document()))
            self.assertIn(f"PCR 15 holds {len(models)} models: m0, ", sentence, mode)
            self.assertEqual(code, 0)
        self.driver.find_elements("css selector", "#models button")[1].click()  # moves the second up
        self.assertEqual(self.verdict(self.element("file-button").click)[0], 4)

    def test_seal(self):
        self.machine.start("verity", self.acme)
        self.machine.measure(self.plain, "m")
        document = self.path("doc.cose", self.machine.document())
        self.give("models-file", self.path("x.seal", evidence.seal_head(self.plain, "a/x.gguf", self.acme)))
        self.expect_owner()
        self.assertIn("holds exactly one model: a/x (sealed by acme), every byte checked", self.choose(document)[1])

    def test_wrong_files(self):
        for field, words in (("models", "not a seal"), ("owners", "not the public key"), ("boot", "Measurements")):
            self.give(field + "-file", self.path("wrong.seal", b"nothing"))
            self.wait(self.element(field + "-problem").is_displayed, field)
            self.assertIn(words, self.element(field + "-problem").text)


class Page(browser.PageCase):
    """The page itself."""

    def test_is_one_static_file(self):
        text = common.read_text(browser.PAGE)
        self.assertIn("default-src 'none'; script-src 'sha256-", text)
        for pattern in (r"<link", r"<img", r"<iframe", r"\ssrc=", r"\son[a-z]+=\"", r"url\(", r"@import"):
            self.assertNotRegex(text.partition("<script>")[0], pattern)
        self.assertEqual(len(re.findall("<script", text)), 1)

    def test_every_control_has_a_name(self):
        self.expand()
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in (
            "button", "textbox", "checkbox", "radio", "combobox", "link", "group", "region")]
        self.assertGreater(len(controls), 20)
        for node in controls:
            if node["role"]["value"] not in ("group", "region"):
                self.assertNotEqual(node["name"]["value"].strip(), "", node)

    def test_by_keyboard(self):
        keys = self.driver.switch_to.active_element
        machine = evidence.Machine(self.path("ca"))
        with evidence.Endpoint(machine).running() as endpoint:
            for _ in range(2):  # the link that jumps to the verdict, then the address
                keys.send_keys("\ue004")
                keys = self.driver.switch_to.active_element
            self.assertEqual(keys.get_attribute("id"), "address")
            code, _ = self.verdict(lambda: keys.send_keys(endpoint.host + "\n"))
        self.assertEqual(code, 3)  # not AWS's root
        self.assertEqual(self.driver.switch_to.active_element.get_attribute("id"), "verdict")

    def test_a_changed_expectation_marks_the_verdict(self):
        self.element("when-then").click()
        self.choose(os.path.join(DOCUMENTS, "nitrotpm-us-east-1-20260203.cose"))
        self.assertFalse(self.element("outdated").is_displayed())
        self.type("boot-text", "4=" + "ab" * 48 + "\n")
        self.assertTrue(self.element("outdated").is_displayed())

    def test_warns_when_the_instance_serves_it(self):
        machine = evidence.Machine(self.path("ca"))
        self.assertFalse(self.element("origin").is_displayed())
        pages = {"/verify.html": common.read_bytes(browser.PAGE)}
        with evidence.Endpoint(machine, pages).running() as endpoint:
            self.open(f"http://{endpoint.host}/verify.html")
            self.assertIn("you", self.element("origin").text)
            self.ask(endpoint.host)
            note = self.element("origin")
            self.assertIn("A page that the instance itself serves proves nothing", note.text)
            self.assertEqual(note.get_attribute("class"), "warning")

    def test_every_width_and_scheme(self):
        """Pictures go to $SEALEDFS_PICTURES, where somebody wants to look at them."""
        folder = os.environ.get("SEALEDFS_PICTURES") or self.folder
        self.element("when-then").click()
        self.choose(os.path.join(DOCUMENTS, "nitrotpm-us-east-1-20260203.cose"))
        self.expand()
        backgrounds = set()
        for width in (360, 1200):
            for scheme in ("light", "dark"):
                picture = self.show(width, scheme)
                evidence.write(folder, f"page-{width}-{scheme}.png", picture)
                self.assertEqual(self.driver.execute_script("return document.documentElement.scrollWidth"), width)
                backgrounds.add(self.driver.execute_script("return getComputedStyle(document.body).backgroundColor"))
        self.assertEqual(len(backgrounds), 2)


class Build(unittest.TestCase):
    @unittest.skipUnless(shutil.which("npm"), "npm is not installed")
    def test_same_bytes_again(self):
        with browser.tempfile.TemporaryDirectory() as folder:
            clean = os.path.join(folder, "web")
            web = os.path.dirname(browser.PAGE)
            shutil.copytree(web, clean, ignore=shutil.ignore_patterns("node_modules", "verify.html"))
            for argv in (("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"), ("npm", "run", "build")):
                done = subprocess.run(argv, cwd=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      stdin=subprocess.DEVNULL, timeout=300, check=False)
                self.assertEqual(done.returncode, 0, done.stdout)
            self.assertEqual(common.read_bytes(os.path.join(clean, "verify.html")),
                             common.read_bytes(browser.PAGE))


if __name__ == "__main__":
    common.main()
