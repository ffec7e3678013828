#!/usr/bin/python3
"""Read sealed objects with the second reader, or refuse them.

    read_sealed.py SEAL PAYLOAD [keys] [-o OUT]      one sealed object
    read_sealed.py --tree DIR [keys] [--plain DIR2]  every sealed object under DIR

Keys: --kek FILE (a sealedfs key file) or --key-hex-file FILE (the data key itself), and
--owner-key PUB.pem for each pinned owner. Exit codes: 0 ok, 1 failure, 2 usage, 3 refused;
a refusal prints one line that starts with its class, such as `bad-chunk: ...`.
It must never leave a plaintext file behind that was not verified to its end.
"""

import argparse
import os
import sys

import sealedformat as sf

SEAL_SUFFIX = ".seal"


def find_payload(seal_path):
    """Where the payload of a seal lies: beside it, named after the file id."""
    seal = sf.Seal(sf.load_seal_file(seal_path))
    folder, base = os.path.split(seal_path)
    return os.path.join(folder, sf.payload_name(base[: -len(SEAL_SUFFIX)], seal.file_id))


def read_one(seal_path, payload_path, sink, kek=None, data_key=None, owner_keys=(), path=None):
    """Reads one sealed object fully into sink; returns its Seal. Raises sf.Refused."""
    raw = sf.load_seal_file(seal_path)
    seal, keys = sf.open_seal(raw, kek, data_key, owner_keys, path)
    with open(payload_path, "rb") as payload:
        for plain in sf.read_payload(seal, keys, payload):
            sink.write(plain)
    return seal


class Comparer:
    """A sink that compares what it is given with a stream."""

    def __init__(self, expected):
        self._expected = expected
        self._same = True

    def write(self, data):
        self._same = self._same and self._expected.read(len(data)) == data

    def finish(self):
        """Whether all was the same, and the stream ends here."""
        return self._same and not self._expected.read(1)


class Discard:
    """A sink that keeps nothing."""

    def write(self, data):
        pass


def verify_tree(root, kek=None, data_key=None, owner_keys=(), plain_root=None):
    """Reads every sealed object under root.

    Returns a list of (relative name, None or a failure text); the path in each seal must
    agree with the relative name. With plain_root, each plaintext must equal the file of that name there.
    """
    keys = {"kek": kek, "data_key": data_key, "owner_keys": owner_keys}
    results = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        for base in sorted(f for f in files if f.endswith(SEAL_SUFFIX)):
            path = os.path.join(folder, base)
            relative = os.path.relpath(path, root)[: -len(SEAL_SUFFIX)]
            plain = os.path.join(plain_root, relative) if plain_root else None
            results.append((relative, _failure_of(path, plain, {"path": relative, **keys})))
    return results


def _failure_of(seal_path, plain_path, keys):
    """None, or why one object of a tree is not as it should be."""
    try:
        if plain_path is None:
            read_one(seal_path, find_payload(seal_path), Discard(), **keys)
            return None
        with open(plain_path, "rb") as expected:
            sink = Comparer(expected)
            read_one(seal_path, find_payload(seal_path), sink, **keys)
            return None if sink.finish() else "differs: not the plaintext %s" % plain_path
    except sf.Refused as refusal:
        return "%s: %s" % (refusal.word, refusal)
    except OSError as problem:
        return "unreadable: %s" % problem


def _arguments():
    parser = argparse.ArgumentParser(description="Read sealed objects with the second reader.")
    parser.add_argument("seal", nargs="?", help="NAME.seal")
    parser.add_argument("payload", nargs="?", help="NAME.<file id>.sealed")
    parser.add_argument("--tree", metavar="DIR", help="read every sealed object under DIR")
    parser.add_argument("--plain", metavar="DIR", help="with --tree: compare with the files here")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--kek", metavar="FILE", help="a key file, as sealctl keygen writes it")
    key.add_argument("--key-hex-file", metavar="FILE", help="the data key, 64 hex digits")
    parser.add_argument("--owner-key", metavar="PUB.pem", action="append", default=[])
    parser.add_argument("--path", help="the path under which the object was found, less .seal")
    parser.add_argument("-o", metavar="OUT", dest="out", help="write the plaintext here")
    args = parser.parse_args()
    if bool(args.tree) == bool(args.seal and args.payload):
        parser.error("give SEAL and PAYLOAD, or --tree DIR")
    return args


def _read_to_file(args, keys):
    if not args.out:
        read_one(args.seal, args.payload, Discard(), path=args.path, **keys)
        return
    partial = args.out + ".partial"
    try:
        with open(partial, "wb") as sink:
            read_one(args.seal, args.payload, sink, path=args.path, **keys)
        os.rename(partial, args.out)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise


def main():
    args = _arguments()
    try:
        keys = {
            "kek": sf.load_kek(args.kek) if args.kek else None,
            "data_key": sf.load_data_key(args.key_hex_file) if args.key_hex_file else None,
            "owner_keys": [sf.load_owner_key(path) for path in args.owner_key],
        }
    except (OSError, ValueError) as problem:
        print("usage: %s" % problem, file=sys.stderr)
        return 2
    try:
        if not args.tree:
            _read_to_file(args, keys)
            return 0
        results = verify_tree(args.tree, plain_root=args.plain, **keys)
    except sf.Refused as refusal:
        print("%s: %s" % (refusal.word, refusal), file=sys.stderr)
        return 3
    except OSError as problem:
        print("failure: %s" % problem, file=sys.stderr)
        return 1
    for relative, failure in results:
        print("%s\t%s" % (relative, failure or "ok"))
    if not results:
        print("failure: no sealed object under %s" % args.tree, file=sys.stderr)
        return 1
    words = {failure.split(":")[0] for _, failure in results if failure}
    return 3 if words & set(sf.CLASSES) else 1 if words else 0


if __name__ == "__main__":
    sys.exit(main())
