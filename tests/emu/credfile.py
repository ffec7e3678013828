#!/usr/bin/python3
"""The file of access keys that the emulators accept, and the way to change it.

{"AKID": {"secret": "...", "token": null or "...", "expires": null or "2026-01-02T03:04:05Z"}}.
imds.py writes it while kms.py and the S3 emulator read it, so it is replaced by rename under a
lock. As a program it adds keys: credfile.py FILE AKID SECRET [--token T] [--expires TIME]. The
secret on a command line is why it is for made-up keys only.
"""
import argparse
import fcntl
import json
import os
import sys
import time


def iso_time(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def update(path, changes):
    """Add or replace entries; an entry of None is removed. Other entries stay."""
    with open(path + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        entries = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stored:
                entries = json.load(stored)
        for key_id, entry in changes.items():
            if entry is None:
                entries.pop(key_id, None)
            else:
                entries[key_id] = entry
        descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump(entries, out, indent=1)
        os.replace(path + ".new", path)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file")
    parser.add_argument("key_id")
    parser.add_argument("secret")
    parser.add_argument("--token")
    parser.add_argument("--expires", help="UTC, YYYY-MM-DDTHH:MM:SSZ")
    options = parser.parse_args(argv)
    update(options.file, {options.key_id: {"secret": options.secret, "token": options.token,
                                           "expires": options.expires}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
