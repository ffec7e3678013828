"""What the case files about attest/ share: the small program that calls it, and an oracle.

The oracle replays a measurement log by attest/PCRS.md with nothing but hashlib and json.
"""

import collections
import hashlib
import json
import os
import subprocess

import common
import measured

TOOL = os.path.join(common.BUILD, "tests", "unit", "attest", "attest_tool")
TOOL_S = 120
BOOT_ID = open("/proc/sys/kernel/random/boot_id", encoding="ascii").read().strip().replace("-", "")

EINVAL, EIO, E2BIG, ENODEV, ENOSPC, EPROTO, EBADMSG, EOPNOTSUPP, EKEYREJECTED = (
    22, 5, 7, 19, 28, 71, 74, 95, 129)

Answer = collections.namedtuple("Answer", "errno text")


class Model:
    """Digests of an imagined model; seed tells one from another."""

    def __init__(self, seed):
        self.name = f"models/{seed}.gguf"
        data = str(seed).encode()
        self.verity = hashlib.sha256(b"verity of " + data).hexdigest()
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.sha384 = hashlib.sha384(data).hexdigest()

    def text(self, mode):
        return measured.event_text(mode, self)

    def digest(self, mode, bank):
        """What PCRS.md says is extended into a bank, in hex."""
        return measured.event_digest(mode, bank, self).hex()


def extended(bank, old, *digests):
    """E(E(old, d1), d2)…, all in hex."""
    for digest in digests:
        old = hashlib.new(bank, bytes.fromhex(old) + bytes.fromhex(digest)).hexdigest()
    return old


def zero(bank):
    return "00" * hashlib.new(bank).digest_size


def records(path):
    """Every record of a log; fails on anything that is not RFC 7464."""
    with open(path, "rb") as log:
        data = log.read()
    found = []
    for line in data.split(b"\n")[:-1]:
        assert line[:1] == b"\x1e", line
        found.append(json.loads(line[1:]))
    assert data == b"" or data.endswith(b"\n")
    return found


def replay(path, bank, pcr=15):
    """The PCR's value by PCRS.md, 'Replay'."""
    mine = [r for r in records(path) if r["pcr"] == pcr and r["content"]["bootId"] == BOOT_ID]
    start = 0
    for index, record in enumerate(mine):
        if "before" in record["content"]:
            start = index
    value = zero(bank)
    for record in mine[start:]:
        for entry in record["content"].get("before", []):
            if entry["hashAlg"] == bank:
                value = entry["digest"]
        digest, = [e["digest"] for e in record["digests"] if e["hashAlg"] == bank]
        value = extended(bank, value, digest)
    return value


class AttestCase(common.Case):
    """A laboratory with one TPM; rebooted before each test, and a runtime directory of its own."""

    PARTS = ("tpm",)

    def setUp(self):
        self.lab.tpm.ask("DELETE", "fault")
        self.lab.tpm.ask("POST", "reboot", {})
        self.runtime = self.lab.path(self.id().rsplit(".", 1)[1], make=True)
        self.log_path = os.path.join(self.runtime, "tpm2-measure.log")

    def start(self, *argv, tpm=None, env=None):
        return subprocess.Popen(
            [TOOL, *map(str, argv)], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self.lab.env(tpm=tpm), "SEALEDFS_RUNTIME_DIR": self.runtime, **(env or {})})

    def finish(self, process):
        """(0, rest of the line after "ok") or (errno, message | hint)."""
        out, _ = process.communicate(timeout=TOOL_S)
        first, _, rest = out.strip().partition(" ")
        if first == "ok":
            self.assertEqual(process.returncode, 0, out)
            return Answer(0, rest)
        self.assertEqual(first, "error", f"exit code {process.returncode}: {out}")
        number, _, text = rest.partition(" ")
        return Answer(int(number), text)

    def tool(self, *argv, **how):
        return self.finish(self.start(*argv, **how))

    def mailboxes(self, tpm=None):
        return json.loads((tpm or self.lab.tpm).ask("GET", "state"))["nv_indices"]


def main():
    common.main()
