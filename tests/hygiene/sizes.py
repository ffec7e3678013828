#!/usr/bin/python3
"""No function of the product is longer than 60 lines, and no source file longer than a reader can hold."""

import subprocess
import sys

FUNCTION, PRODUCT, TEST = 60, 450, 600


def functions(lines):
    """(first line, length) of each block that clang-format begins and ends at the left edge: the body of a function."""
    begin = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            begin = number
        elif line.startswith("}") and begin:
            yield begin, number - begin + 1
            begin = None


def main():
    done = subprocess.run(["git", "ls-files", "*.c", "*.h", "*.py", "*.sh"], check=True,
                          stdout=subprocess.PIPE, text=True)
    found = []
    for name in done.stdout.split():
        with open(name, encoding="utf-8") as source:
            lines = source.read().splitlines()
        limit = TEST if name.startswith("tests/") else PRODUCT
        if len(lines) > limit:
            found.append(f"{name}: {len(lines)} lines, more than {limit}")
        if limit == PRODUCT and name.endswith(".c"):
            found += [f"{name}:{begin}: a function of {length} lines, more than {FUNCTION}"
                      for begin, length in functions(lines) if length > FUNCTION]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
