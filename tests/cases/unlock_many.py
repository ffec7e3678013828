#!/usr/bin/python3
"""Unlocking many models before a mount is ready: at once, with one attestation document, within one
deadline, and measured in the order of names all the same."""

import os
import random
import subprocess
import time

import common
import measured
import common_measuring
from common import OK, REFUSED, UNREACHABLE

COUNT = 40
START = measured.start_text("verity", "nitrotpm")


class Many(common.Case):
    PARTS = ("tpm", "kms")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.names = [f"{number:03}.gguf" for number in range(COUNT)]
        for number, name in enumerate(cls.names):
            common.make_model(lab.path("plain", name), 100 + number, number)
        cls.source = lab.path("sealed")
        lab.seal(lab.path("plain"), cls.source, "--kms-key", "alias/models")

    def setUp(self):
        self.lab.tpm.ask("POST", "reboot", {})
        self.lab.tpm.clear_log()
        self.lab.kms.clear_log()
        self.events = self.lab.path("events." + self.id().rpartition(".")[2])

    def options(self, *more):
        return ("event-log=" + self.events, *more)

    def decrypts(self):
        return [entry for entry in self.lab.kms.log() if entry["operation"] == "Decrypt"]

    def documents(self):
        return [entry for entry in self.lab.tpm.log() if entry["command"] == "vendor"]

    def predicted(self, names):
        digests = [measured.digests_of_file(self.lab.path("plain", name)) for name in names]
        return measured.pcr("verity", "sha384", digests, START)

    def test_at_once_and_in_order(self):
        """Two seconds for each key: one after the other would take 80."""
        with self.lab.kms.fault(op="Decrypt", kind="slow", ms=2000):
            began = time.monotonic()
            with self.lab.mount(self.source, *self.options("ready=measured")) as mount:
                took = time.monotonic() - began
                self.assertEqual(self.lab.tpm.pcr("sha384"), self.predicted(self.names))
                for name in random.sample(self.names, 5):
                    self.assertEqual(common.digest(mount.join(name)),
                                     common.digest(self.lab.path("plain", name)))
        self.assertLess(took, 1.9 * COUNT)
        self.assertEqual(len(self.decrypts()), COUNT)
        self.assertEqual(len(self.documents()), 1)
        self.assertEqual([record["content"]["model"] for record in common_measuring.models(self.events)],
                         self.names)

    def test_opens_do_not_share(self):
        with self.lab.mount(self.source, *self.options()) as mount:
            for name in self.names[:3]:
                common.digest(mount.join(name))
        self.assertEqual(len(self.documents()), 3)

    def test_out_of_reach_together(self):
        """Many models behind a KMS that is out of reach take as long as one, about a minute."""
        with self.lab.kms.fault(op="Decrypt", kind="http", status=503):
            began = time.monotonic()
            result = self.lab.mount_fails(self.source, *self.options("ready=measured"))
            took = time.monotonic() - began
        self.assert_result(result, UNREACHABLE, ".gguf")
        self.assertLess(took, common.COMMAND_S - 20)
        self.assertEqual(int(self.lab.tpm.pcr("sha384"), 16), 0)

    def test_refusals(self):
        """One that is refused is left out and not in the PCR; when all are, or it is named, the
        mount fails and nothing is measured."""
        denied = {"op": "Decrypt", "kind": "error", "error": "AccessDeniedException", "status": 400}
        for options, times in (((), -1), (("model=" + self.names[1],), -1)):
            with self.subTest(options=options), self.lab.kms.fault(**denied, times=times):
                result = self.lab.mount_fails(self.source, *self.options("ready=measured",
                                                                         *options))
                self.assert_result(result, REFUSED, ".gguf")
                self.assertEqual(int(self.lab.tpm.pcr("sha384"), 16), 0)
        with self.lab.kms.fault(**denied, times=1), self.lab.mount(
                self.source, *self.options("ready=measured")) as mount:
            self.assertIn(f"1 of {COUNT} models are left out, and are not in the PCR", mount.log())
            there = [record["content"]["model"] for record in common_measuring.models(self.events)]
            self.assertEqual(len(there), COUNT - 1)
            self.assertEqual(there, [name for name in self.names if name in there])
            self.assertEqual(self.lab.tpm.pcr("sha384"), self.predicted(there))

    def test_reload_leaves_the_rest_alone(self):
        """Nobody waits for a reload: what is out of reach is left to whoever opens it."""
        source = self.lab.path("growing", make=True)
        self.lab.seal(self.lab.path("plain", self.names[0]), source, "--kms-key", "alias/models")
        with self.lab.mount(source, *self.options("ready=measured")) as mount:
            self.lab.seal(self.lab.path("plain"), source, "--kms-key", "alias/models")
            with self.lab.kms.fault(op="Decrypt", kind="http", status=503):
                done = subprocess.run([common.SEALEDFS, "--reload", mount.path], check=False,
                                      timeout=400)
            self.assertEqual(done.returncode, OK)
            self.assertIn("left locked until the next open", mount.log())
            self.assertEqual(sorted(os.listdir(mount.path)), self.names)
            name = self.names[-1]
            self.assertEqual(common.digest(mount.join(name)),
                             common.digest(self.lab.path("plain", name)))
            self.assertEqual(self.lab.tpm.pcr("sha384"),
                             self.predicted([self.names[0], name]))


if __name__ == "__main__":
    common.main()
