#!/usr/bin/python3
"""Every file of the project that a document, a comment or a build file names exists."""

import os
import re
import subprocess
import sys

# A path from the top; a name in capitals is a placeholder.
PATH = re.compile(r"(?<![\w./-])((?:crypto|attest|fs|tools|tests|systemd)/[\w./-]*\.(?:c|h|py|md|scd|in))\b")
PLACEHOLDER = re.compile(r"(^|[/_])[A-Z]+[._]")


def main():
    done = subprocess.run(["git", "ls-files", "*.md", "*.c", "*.h", "*.scd", "*.py"], check=True,
                          stdout=subprocess.PIPE, text=True)
    missing = 0
    for document in done.stdout.split():
        if document.startswith("tests/vectors/"):  # their READMEs name files of where they come from
            continue
        with open(document, encoding="utf-8") as source:
            text = source.read()
        for name in sorted(set(PATH.findall(text))):
            if PLACEHOLDER.search(re.sub(r"\.md$", "", name)) or os.path.exists(name):
                continue
            if os.path.exists(os.path.join(os.path.dirname(document), name)):
                continue
            print(f"{document}: names {name}, which does not exist")
            missing += 1
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
