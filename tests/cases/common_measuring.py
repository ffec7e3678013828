#!/usr/bin/python3
"""What the cases about measuring share: predictions made from attest/PCRS.md, event logs, a machine
with a TPM."""

import json

import common
from common import CHUNK

import measured


BANKS = ("sha256", "sha384")
MEASURING = ("verity", "sha384", "sha256", "declared")


# ---------------------------------------------------------------- PCRS.md, once more

def event_digest(mode, bank, path):
    """What mode extends into bank for this plain file."""
    return measured.event_digest(mode, bank, measured.digests_of_file(path))


extended = measured.extended
START = {mode: measured.start_text(mode, "nitrotpm") for mode in MEASURING}


def start_digests(mode, bank, start=None):
    """What is extended before the first model: the start event, where the mode has one."""
    if mode not in measured.WITH_START:
        return []
    return [measured.of_text(bank, start or START[mode])]


def predicted(mode, bank, *paths, start=None):
    return extended(bank, (start_digests(mode, bank, start) if paths else [])
                    + [event_digest(mode, bank, path) for path in paths])


def records(path):
    """The records of an event log: each is 0x1E, one JSON object, LF."""
    with open(path, "rb") as log:
        raw = log.read()
    if not raw:
        return []
    pieces = raw.split(b"\x1e")
    if pieces[0] != b"" or not all(piece.endswith(b"\n") for piece in pieces[1:]):
        raise AssertionError(f"not an RFC 7464 sequence: {raw!r}")
    return [json.loads(piece) for piece in pieces[1:]]


def models(path):
    """The records of models, without start events."""
    return [record for record in records(path) if record["content"]["eventType"] == "model"]


def replayed(path, bank, index=15):
    """The PCR's value in hex that the last chain of the log leads to."""
    digests, start = [], None
    for record in records(path):
        if record["pcr"] == index:
            if before := record["content"].get("before"):
                digests = []
                (start,) = [bytes.fromhex(entry["digest"]) for entry in before
                            if entry["hashAlg"] == bank]
            found = {entry["hashAlg"]: entry["digest"] for entry in record["digests"]}
            digests.append(bytes.fromhex(found[bank]))
    return extended(bank, digests, start)


class Measured(common.Case):
    """Three models in a directory, unlocked with a key file, and a TPM that is new in each case."""

    PARTS = ("tpm",)
    NAMES = ("a.gguf", "b.gguf", "c.gguf")
    SIZE = 2 * CHUNK + 4097

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.tpm = lab.tpm
        cls.plain = {name: common.make_model(lab.path("plain", name), cls.SIZE, seed)
                     for seed, name in enumerate(cls.NAMES)}
        cls.key = lab.key_file()
        cls.source = lab.path("sealed")
        lab.seal(lab.path("plain"), cls.source, "--key-file", cls.key)

    def setUp(self):
        self.tpm.ask("POST", "reboot", {})
        self.tpm.clear_log()
        self.events = self.lab.path("events." + self.id().rpartition(".")[2])

    def mount(self, *options, source=None, **how):
        return self.lab.mount(source or self.source, "key-file=" + self.key,
                              "event-log=" + self.events, *options, **how)

    def read(self, mount, *names):
        """Opens models in order and reads one byte of each, which must be right."""
        for name in names:
            with open(mount.join(name), "rb", buffering=0) as sealed, \
                    open(self.plain[name], "rb") as plain:
                self.assertEqual(sealed.read(1), plain.read(1))

    def assert_pcr(self, mode, *names, index=15, tpm=None, banks=BANKS, start=None):
        """The PCR in every bank is as predicted, and so is the log's."""
        for bank in banks:
            want = predicted(mode, bank, *(self.plain[name] for name in names), start=start)
            self.assertEqual((tpm or self.tpm).pcr(bank, index), want, f"{mode} {bank}")
            if names:
                self.assertEqual(replayed(self.events, bank, index), want, "the log")

    def extensions(self):
        return [entry for entry in self.tpm.log() if entry["command"] == "extend"]
