#!/usr/bin/python3
"""Makes NAME.json, the cases of the verdict, again: with fresh keys, and what tests/oracle/verdict.py concludes.

With names only those. With --check nothing is written: the oracle judges the cases that are there.
"""
import base64
import glob
import json
import os
import sys

from world import HERE, World
import cases_document
import cases_pcr
import verdict

ROOT = os.path.join(HERE, "..", "attestation-docs", "AWS_NitroEnclaves_Root-G1.pem")


def aws_root():
    with open(ROOT, encoding="ascii") as pem:
        return base64.b64decode("".join(line for line in pem.read().splitlines() if "-----" not in line))


def check():
    wrong, names = 0, sorted(glob.glob(os.path.join(HERE, "*.json")))
    for name in names:
        with open(name, encoding="utf-8") as stream:
            case = json.load(stream)
        found = verdict.judge(case["request"], aws_root())
        if found["steps"] != case["expect"]["steps"] or found["exit_code"] != case["expect"]["exit_code"] \
                or found["sentence"] != case["expect"]["sentence"]:
            print(f"{os.path.basename(name)}: the oracle concludes {found['sentence']}")
            wrong += 1
    print(f"{len(names)} cases, {wrong} differ")
    return 1 if wrong or not names else 0


def make(wanted):
    world = World()
    for old in glob.glob(os.path.join(HERE, "*.json")):
        if not wanted or os.path.basename(old)[:-5] in wanted:
            os.unlink(old)
    for module in (cases_document, cases_pcr):
        for name, about, request in module.cases(world):
            path = os.path.join(HERE, name + ".json")
            if wanted and name not in wanted:
                continue
            if os.path.exists(path):
                raise SystemExit(f"{name}: twice")
            with open(path, "w", encoding="utf-8") as out:
                json.dump({"about": about, "request": request, "expect": verdict.judge(request, aws_root())}, out,
                          indent=1, sort_keys=True)
                out.write("\n")
    return check()


if __name__ == "__main__":
    sys.exit(check() if sys.argv[1:] == ["--check"] else make(sys.argv[1:]))
