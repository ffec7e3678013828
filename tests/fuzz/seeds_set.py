#!/usr/bin/python3
"""Makes the seeds in corpus/set/ again, from the vectors of sets: good ones, and each that is
malformed behind its head, where the parser goes furthest."""

import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
SETS = os.path.join(HERE, "..", "vectors", "sets")
CORPUS = os.path.join(HERE, "corpus", "set")
BEHIND_THE_HEAD = ("order", "twice", "folder", "dots", "path-long", "length", "description",
                   "content", "trailer", "facts", "set-slot")  # fmt: skip


def main():
    os.makedirs(CORPUS, exist_ok=True)
    with open(os.path.join(SETS, "index.json"), encoding="utf-8") as source:
        vectors = json.load(source)["vectors"]
    for vector in vectors:
        ident = vector["id"]
        if vector["expected"] == "ok" or ident.removeprefix("bad-") in BEHIND_THE_HEAD:
            with open(os.path.join(SETS, vector["file"]), "rb") as source, \
                    open(os.path.join(CORPUS, ident), "wb") as out:
                out.write(source.read())
    for name, data in (("empty", b""), ("magic-only", b"sealdset")):
        with open(os.path.join(CORPUS, name), "wb") as out:
            out.write(data)


if __name__ == "__main__":
    main()
