"""What the cipher and the hashes cost on one core, by each library that crypto/backend.c may choose.

The controls are `openssl speed` on blocks of 512 KiB, one a cipher; the candidates are the
functions that reads and sealing call, in tests/unit/crypto/speed.c.
"""

import os
import subprocess

import machine
from machine import BenchError, Meter, run_json
from subjects import Subject

OPERATIONS = (("open", "decrypt a chunk"), ("seal", "encrypt a chunk"),
              ("tree", "hash a chunk's tree"),
              ("open-tree", "decrypt and hash, in cache"),
              ("open-tree-far", "decrypt and hash, from memory"),
              ("fingerprint", "fingerprint a chunk"))
LIBRARIES = (("openssl", "OpenSSL"), ("ipsec-mb", "ipsec-mb"))


class OpensslSpeed(Subject):
    """A bare algorithm."""

    def __init__(self, bench, algorithm):
        super().__init__(bench)
        self.algorithm, self.title = algorithm, "openssl speed " + algorithm
        self.name = algorithm.rpartition("-")[2] + "-speed"

    def rate(self):
        return machine.openssl_speed(self.algorithm)


class Operation(Subject):
    """One function of crypto/ by one library."""

    control = False

    def __init__(self, bench, operation, library):
        super().__init__(bench)
        self.argv = (os.path.join(bench.args.build, "tests", "bench", "crypto_speed"),
                     operation[0], library[0])
        self.name = "%s-%s" % (operation[0], library[0])
        self.title = "%s, %s" % (operation[1], library[1])

    def missing(self):
        if not os.access(self.argv[0], os.X_OK):
            return "crypto_speed is not built"
        done = subprocess.run(self.argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, check=False)
        return done.stderr.strip() or None if done.returncode == 2 else None

    def rate(self):
        return run_json(*self.argv)["bytes_per_s"]


def subjects(bench):
    return [*(OpensslSpeed(bench, name) for name in ("aes-256-gcm", "sha256", "sha384")),
            *(Operation(bench, operation, library)
              for operation in OPERATIONS for library in LIBRARIES)]


def measure(_group, _bench, subject, _model):
    with Meter() as meter:
        rate = subject.rate()
    if rate <= 0:
        raise BenchError(subject.name + " measured nothing")
    return {"value": rate / 1e9, "foreign_cpu": round(meter.foreign_share, 3)}
