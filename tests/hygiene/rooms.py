#!/usr/bin/python3
"""Reads the #includes: each room includes only what its arrows allow, and no files include each other in a circle.

A .c file, the header of the same name and its private header (NAME_internal.h) are one file. HACKING.md shows the same table.
"""

import os
import re
import subprocess
import sys

ARROWS = {
    "crypto/base": (),
    "crypto": ("crypto/base",),
    "fs/formats": ("crypto/base",),
    "fs/oms": ("crypto", "fs/formats"),
    "fs/keypolicy": ("crypto/base",),
    "fs/net": ("crypto/base",),
    "fs/aws": ("fs/net",),
    "fs/service": ("crypto/base",),
    "fs/mount": ("fs/service",),
    "fs/source": ("fs/aws", "crypto"),
    "fs/fetch": ("fs/source", "fs/formats"),
    "fs/read": ("fs/fetch", "crypto"),
    "fs/resident": ("fs/read",),
    "fs/view": ("fs/source", "fs/formats"),
    "attest": ("crypto",),
    "attest/verdict": ("attest", "crypto"),
    "fs/unlock": ("attest", "fs/aws", "fs/keypolicy", "crypto"),
    "fs/stage": ("fs/source", "fs/read"),
    "fs/config": ("attest", "fs/read"),
    "fs/models": ("fs/oms", "fs/unlock", "fs/view", "fs/read", "fs/resident", "fs/stage", "fs/config"),
    "fs/report": ("fs/models",),
    "fs/fuse": ("fs/models", "fs/report", "fs/mount"),
    "fs/daemon": ("fs/fuse",),
    "fs": ("fs/daemon",),
    "tools/common": ("fs/source", "fs/service"),
    "tools/seal": ("tools/common", "attest", "fs/view"),
    "tools/set": ("tools/seal", "fs/oms", "fs/unlock"),
    "tools/inspect": ("tools/set",),
    "tools/rewrap": ("tools/inspect",),
    "tools/cat": ("tools/common", "fs/models"),
    "tools/mount": ("tools/common", "fs/mount"),
    "tools/evidence": ("tools/mount", "attest"),
    "tools/verify": ("tools/evidence", "tools/inspect", "attest/verdict"),
    "tools/policy": ("tools/verify", "fs/keypolicy"),
    "tools/serve": ("tools/verify", "fs/service"),
    "tools/doctor": ("tools/policy", "tools/mount", "fs/config"),
    "tools": ("tools/cat", "tools/doctor", "tools/policy", "tools/rewrap", "tools/serve", "fs/config", "fs/report"),
}


def allowed(room):
    """All rooms that a room may use, itself included."""
    found, waiting = set(), [room]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += ARROWS[name]
    return found


def part_of(path, files):
    """crypto/seal for crypto/seal.c, .h and _internal.h."""
    name = os.path.splitext(path)[0]
    whole = name.removesuffix("_internal")
    return whole if whole + ".c" in files or whole + ".h" in files else name


def includes(path):
    with open(path, encoding="utf-8") as source:
        return re.findall(r'^#include "([^"]+)"', source.read(), re.M)


def circles(graph):
    """Strongly connected parts of more than one file (Tarjan)."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in graph[node]:
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            part = [stack.pop()]
            while part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def main():
    done = subprocess.run(["git", "ls-files", "crypto", "attest", "fs", "tools"], check=True,
                          stdout=subprocess.PIPE, text=True)
    files = [f for f in done.stdout.split() if f.endswith((".c", ".h")) and os.path.exists(f)]
    problems, graph = [], {part_of(f, files): set() for f in files}
    for path in files:
        room = os.path.dirname(path)
        if room not in ARROWS:
            problems.append(f"{path}: {room} is not a room")
            continue
        for name in includes(path):
            if name not in files:
                name = os.path.join(room, name)
                if name not in files:
                    problems.append(f"{path}: includes {name}, which is no file of the product")
                    continue
            other = os.path.dirname(name)
            if other not in allowed(room):
                problems.append(f"{path}: includes {name}, but {room} may not use {other}")
            if part_of(name, files) != part_of(path, files):
                graph[part_of(path, files)].add(part_of(name, files))
    for part in circles(graph):
        problems.append("circle: " + " ".join(part))
    for problem in sorted(problems):
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.setrecursionlimit(10000)
    sys.exit(main())
