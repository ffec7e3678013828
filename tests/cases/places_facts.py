#!/usr/bin/python3
"""What sealctl puts into the core of a seal: path, time, facts of a GGUF."""

import json
import os
import struct
import subprocess

import common
import sealedformat as sf
from common import OK, USAGE


def read_gguf(path):
    """(elements of all tensors, {key: text}) by ggml's docs/gguf.md."""
    with open(path, "rb") as source:
        def number(code):
            return struct.unpack("<" + code, source.read(struct.calcsize(code)))[0]

        def text():
            return source.read(number("Q"))

        def value(kind):
            if kind == 8:
                return text()
            if kind == 9:
                kind, count = number("I"), number("Q")
                return [value(kind) for _ in range(count)]
            return number("BbHhIif?__Qqd"[kind])

        source.seek(8)
        tensors, pairs = number("Q"), number("Q")
        found = {}
        for _ in range(pairs):
            key = text().decode()
            found[key] = value(number("I"))
        total = 0
        for _ in range(tensors):
            text()
            elements = 1
            for _ in range(number("I")):
                elements *= number("Q")
            total += elements
            source.read(12)
    return total, {key: text.decode() for key, text in found.items() if isinstance(text, bytes)}


class Sealed(common.Case):
    """What sealctl puts into the core: path, time, facts."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()

    def seal(self, *args, expect=OK, **options):
        dest = self.lab.path(self.id().rpartition(".")[2])
        self.lab.sealctl("seal", *args, dest, "--key-file", self.key, expect=expect, **options)
        return dest

    @staticmethod
    def read(dest, name):
        with open(os.path.join(dest, name + ".seal"), "rb") as raw:
            return sf.Seal(raw.read())

    def file(self, name, content):
        path = self.lab.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(content)
        return path

    def test_time(self):
        source = self.file("m.bin", b"x")
        dest = self.seal(source, extra={"SOURCE_DATE_EPOCH": "1234567890"})
        self.assertEqual(self.read(dest, "m.bin").sealed_at, 1234567890)
        self.assertIn("2009-02-13T23:31:30Z", self.lab.sealctl(
            "inspect", os.path.join(dest, "m.bin.seal"), expect=OK).out)
        before = int(os.stat(self.file("now", b"")).st_mtime)
        self.seal(source)
        self.assertLess(abs(self.read(dest, "m.bin").sealed_at - before), 120)
        for bad in ("", "-1", "1.5", "0x10", " 1", "253402300800", "99999999999999999999", "now"):
            with self.subTest(bad):
                self.seal(source, expect=USAGE, extra={"SOURCE_DATE_EPOCH": bad})

    def test_kinds_come_from_the_bytes(self):
        header = b'{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        safe = len(header).to_bytes(8, "little") + header + bytes(4)
        gguf = b"GGUF" + (3).to_bytes(4, "little") + bytes(16)
        cases = (("a.gguf", gguf, "gguf"), ("a.bin", gguf, "gguf"),
                 ("wrong.gguf", b"GGUE" + gguf[4:], "other"), ("short.gguf", gguf[:23], "other"),
                 ("swapped.gguf", b"GGUF" + (3).to_bytes(4, "big") + bytes(16), "other"),
                 ("empty.gguf", b"", "other"), ("s.safetensors", safe, "safetensors"),
                 ("s.bin", safe, "safetensors"), ("t.safetensors", safe[:40], "other"),
                 ("u.safetensors", bytes(8) + header, "other"))
        for name, content, kind in cases:
            with self.subTest(name):
                dest = self.seal(self.file(name, content))
                self.assertEqual(self.read(dest, name).facts["kind"], kind)

    def make_gguf(self, name, *options):
        path = self.lab.path(name)
        subprocess.run(["/usr/bin/python3", os.path.join(common.TESTS, "models",
                                                         "make-tiny-gguf.py"),
                        "--size", "0.6", "--out", path, *options], check=True, capture_output=True)
        return path

    def test_facts_of_a_gguf(self):
        """A real header, from a file, from a pipe of known length, and from one that is spooled."""
        path = self.make_gguf("tiny.gguf", "--chat-template")
        dest = self.seal(path)
        facts = self.read(dest, "tiny.gguf").facts
        elements, texts = read_gguf(path)
        self.assertEqual(facts, {"kind": "gguf", "gguf.version": "3", "gguf.architecture": "llama",
                                 "gguf.chat-template": "yes", "gguf.parameters": str(elements),
                                 "gguf.file-type": "Q8_0", "gguf.name": texts["general.name"],
                                 "gguf.tensor-data": "complete",
                                 "gguf.type": texts["general.type"]})
        with open(path, "rb") as source:
            content = source.read()
        for number, more in enumerate(([], ["--length", str(len(content))])):
            name = f"pipe{number}.gguf"
            self.seal("-", "--name", name, *more, stdin=content)
            self.assertEqual(self.read(dest, name).facts, facts)
        shown = json.loads(self.lab.sealctl("inspect", os.path.join(dest, "tiny.gguf.seal"),
                                            "--json", expect=OK).out)["objects"][0]["facts"]
        self.assertEqual(shown, facts)
        text = self.lab.sealctl("inspect", os.path.join(dest, "tiny.gguf.seal"), expect=OK).out
        for key, value in facts.items():
            self.assertIn(f"{key}={value}\n", text)

    def test_facts_of_shards(self):
        self.make_gguf("split/m.gguf", "--split", "2")
        dest = self.seal(self.lab.path("split"))
        for number in (1, 2):
            name = f"m-0000{number}-of-00002.gguf"
            facts = self.read(dest, name).facts
            self.assertEqual(facts["gguf.split-count"], "2")
            self.assertEqual(facts["gguf.chat-template"], "no")
            self.assertEqual(int(facts["gguf.parameters"]),
                             read_gguf(self.lab.path("split", name))[0])

    def test_headers_that_make_no_sense(self):
        """What came before the fault, and nothing that would have come behind it."""
        def text(value):
            return struct.pack("<Q", len(value)) + value

        def pair(key, value):
            return text(key) + struct.pack("<I", 8) + text(value)

        def header(pairs, *parts, tensors=0):
            return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + b"".join(parts)

        known = pair(b"general.architecture", b"llama")
        base = {"kind": "gguf", "gguf.version": "3"}
        begun = {**base, "gguf.architecture": "llama"}
        none = {"gguf.chat-template": "no", "gguf.parameters": "0",
                "gguf.tensor-data": "complete"}
        tensor = text(b"t") + struct.pack("<IQQIQ", 2, 3, 5, 0, 0)
        cases = {
            "whole": (header(1, known), {**begun, **none}),
            "adapter": (header(2, known, pair(b"general.type", b"adapter")),
                        {**begun, **none, "gguf.type": "adapter"}),
            "cut": (header(2, known), begun),
            "type": (header(2, known, text(b"x") + struct.pack("<I", 13)), begun),
            "overrun": (header(2, known, text(b"x") + struct.pack("<IQ", 8, 1 << 63)), begun),
            "template-overrun": (header(1, text(b"tokenizer.chat_template")
                                        + struct.pack("<IQ", 8, 1 << 40)), base),
            "array-overflow": (header(2, known, text(b"x") + struct.pack("<IIQ", 9, 10, 1 << 61)),
                               begun),
            "array-of-arrays": (header(2, known, text(b"x") + struct.pack("<IIQ", 9, 9, 1)), begun),
            "last-string-overrun": (header(1, text(b"x") + struct.pack("<IIQQ", 9, 8, 1, 1 << 50)),
                                    base),
            "control": (header(2, pair(b"general.name", b"a\x1b[2Jb"), known), {**begun, **none}),
            "c1": (header(2, pair(b"general.name", "a\u009bb".encode()), known),
                   {**begun, **none}),
            "newline": (header(2, pair(b"general.basename", b"a\nkind=other"), known),
                        {**begun, **none}),
            "blank-word": (header(1, pair(b"general.architecture", b"ll ama")), {**base, **none}),
            "long": (header(2, pair(b"general.name", b"n" * 65), known), {**begun, **none}),
            "longest": (header(2, pair(b"general.name", b"n" * 64), known),
                        {**begun, **none, "gguf.name": "n" * 64}),
            "file-type": (header(1, text(b"general.file_type") + struct.pack("<II", 4, 4711)),
                          {**base, **none, "gguf.file-type": "4711"}),
            "tensors": (header(1, known, tensor, tensor, tensors=2),
                        {**begun, "gguf.chat-template": "no", "gguf.parameters": "30",
                         "gguf.tensor-data": "truncated"}),
            "tensors-whole": (header(1, known, tensor, tensors=1) + bytes(31 + 60),
                              {**begun, "gguf.chat-template": "no", "gguf.parameters": "15",
                               "gguf.tensor-data": "complete"}),
            "chat": (header(1, pair(b"tokenizer.chat_template", b"<|im_start|>{{ m }}<|im_end|>")),
                     {**base, **none, "gguf.chat-template": "yes", "gguf.chat-format": "chatml"}),
            "chat-long": (header(1, pair(b"tokenizer.chat_template",
                                         b"<|im_start|>{{ m }}<|im_end|>" + b" " * 2048)),
                          {**base, **none, "gguf.chat-template": "yes"}),
            "tensors-cut": (header(1, known, tensor, tensors=2),
                            {**begun, "gguf.chat-template": "no"}),
            "tensor-overflow": (header(1, known, text(b"t") + struct.pack(
                "<IQQIQ", 2, 1 << 40, 1 << 40, 0, 0), tensors=1),
                                {**begun, "gguf.chat-template": "no"}),
            "tensor-rank": (header(1, known, text(b"t") + struct.pack("<I", 9) + bytes(200),
                                   tensors=1), {**begun, "gguf.chat-template": "no"}),
            "version-1": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), {**base, "gguf.version": "1"}),
        }
        for name, (content, wanted) in cases.items():
            with self.subTest(name):
                dest = self.seal(self.file(name + ".gguf", content))
                self.assertEqual(self.read(dest, name + ".gguf").facts, wanted)

    def test_no_facts(self):
        dest = self.seal(self.file("quiet.gguf", b"GGUF" + bytes(100)), "--no-facts")
        self.assertEqual(self.read(dest, "quiet.gguf").facts, {})


if __name__ == "__main__":
    common.main()
