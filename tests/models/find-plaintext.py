#!/usr/bin/python3
"""Looks for a model's plaintext in files that a run may have written.

    find-plaintext.py --model FILE --newer MARKER --skip DIR… DIR…

Takes 24 samples of 32 bytes, spread over the model (its first bytes among them), and searches every
regular file below the folders that changed after MARKER, at every offset. Mounts below a folder are
not entered. Exit code 0: nothing found; 3: found (each file is named); the last line counts.
"""

import argparse
import mmap
import os
import stat
import sys

SAMPLES, SAMPLE_BYTES = 24, 32


def samples_of(path):
    size = os.path.getsize(path)
    step = max(1, (size - SAMPLE_BYTES) // (SAMPLES - 1))
    found = set()
    with open(path, "rb") as model:
        for index in range(SAMPLES):
            model.seek(min(index * step, max(0, size - SAMPLE_BYTES)))
            sample = model.read(SAMPLE_BYTES)
            if len(set(sample)) > 8:  # a run of zeros or ones proves nothing
                found.add(sample)
    if len(found) < SAMPLES // 2:
        sys.exit("the model is too uniform to be recognised")
    return found


def changed_files(folders, skip, since):
    skip = {os.path.realpath(path) for path in skip}
    seen = set()
    for folder in folders:
        folder = os.path.realpath(folder)
        device = os.lstat(folder).st_dev
        for where, names, files in os.walk(folder):
            names[:] = [n for n in names if os.path.join(where, n) not in skip
                        and not os.path.islink(os.path.join(where, n))
                        and os.lstat(os.path.join(where, n)).st_dev == device]
            for name in files:
                path = os.path.join(where, name)
                try:
                    info = os.lstat(path)
                except FileNotFoundError:
                    continue
                if path not in seen and stat.S_ISREG(info.st_mode) and info.st_size and \
                        max(info.st_mtime, info.st_ctime) >= since:
                    seen.add(path)
                    yield path


def holds(path, samples):
    try:
        with open(path, "rb") as source, \
                mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return any(view.find(sample) >= 0 for sample in samples)
    except (OSError, ValueError):
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--newer", required=True)
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("folders", nargs="+")
    args = parser.parse_args()
    samples, since = samples_of(args.model), os.path.getmtime(args.newer)
    count, bytes_seen, bad = 0, 0, []
    for path in changed_files(args.folders, args.skip, since):
        count += 1
        bytes_seen += os.path.getsize(path)
        if holds(path, samples):
            bad.append(path)
    for path in bad:
        print("plaintext in " + path)
    print("%d samples, %d files, %.0f MB searched, %d with plaintext" % (
        len(samples), count, bytes_seen / 1e6, len(bad)))
    return 3 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
