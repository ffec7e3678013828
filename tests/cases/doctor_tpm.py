#!/usr/bin/python3
"""sealctl doctor and the TPM: each finding on a TPM that has it, and on one that has not. Drives tools/doctor, attest.

Other findings of the machine that runs the tests may be there; each case looks at those of its own group.
"""

import grp
import json
import os

import common
from common_doctor import DoctorCase, TreeCase

MOUNT = ("models", "-o", "key-file=/nowhere")


class TpmCase(DoctorCase):
    """Each case has a TPM of its own."""

    def look(self, tpm, *argv, expect, extra=None):
        """What is found about this TPM, and no more."""
        extra = {"SEALEDFS_RUNTIME_DIR": self.lab.path("run", make=True), **(extra or {})}
        found, report = self.doctor(*argv, tpm=tpm, extra=extra)
        own = {name: each for name, each in found.items() if each[0]["group"] == "tpm"
               and name != "tpm-group"}
        self.assertEqual(sorted(own), sorted(expect), report)
        return own, report


class Access(TpmCase):
    def test_nothing_is_found(self):
        tpm = common.Tpm(self.lab, "healthy")
        for argv in ((), MOUNT):
            _, report = self.look(tpm, *argv, expect=())
            self.assertIn("active banks: sha256 sha384",
                          [entry["what"] for entry in report["noted"]])

    def test_missing(self):
        """A mount that attests or measures needs one; with key files alone none is needed."""
        nowhere = {"SEALEDFS_TCTI": "device:/dev/no-such-tpm"}
        self.look(None, *MOUNT, expect=["tpm-missing"], extra=nowhere)
        self.look(None, "models", expect=["tpm-missing"], extra=nowhere)
        without = ("models", "-o", "key-file=/nowhere,measure=none")
        self.look(None, *without, expect=(), extra=nowhere)
        self.look(None, expect=(), extra=nowhere)

    def test_access(self):
        closed = {"SEALEDFS_TCTI": "swtpm:host=127.0.0.1,port=1"}
        self.look(None, *MOUNT, expect=["tpm-access"], extra=closed)


class Banks(TpmCase):
    def test_no_sha384(self):
        tpm = common.Tpm(self.lab, "old", common.Tpm.BOOT, ("sha256",))
        found, _ = self.look(tpm, expect=["tpm-banks"])
        self.assertIn("sha256", found["tpm-banks"][0]["what"])

    def test_all_that_can_be_computed(self):
        tpm = common.Tpm(self.lab, "all", common.Tpm.BOOT, ("sha1", "sha256", "sha384", "sha512"))
        self.look(tpm, expect=())


class Leftover(TpmCase):
    def test_leftover(self):
        """The mailbox of a sealctl that could not remove it, beside indices of others."""
        tpm = common.Tpm(self.lab, "left")
        run = {"SEALEDFS_RUNTIME_DIR": self.lab.path("run", make=True)}
        for index, attributes in (("0x01800124", "authread|authwrite|no_da"),
                                  ("0x01800125", "ownerread|ownerwrite|authread")):
            tpm.run("tpm2_nvdefine", index, "-C", "o", "-s", "64", "-a", attributes)
        self.look(tpm, expect=())
        with tpm.fault(op="undefine", kind="rc", rc="0x101", times=1):
            self.lab.sealctl("attest", "-o", self.lab.path("doc"), tpm=tpm, extra=run, expect=common.OK)
        (left,) = set(json.loads(tpm.ask("GET", "state"))["nv_indices"]) - {"0x01800124", "0x01800125"}
        found, _ = self.look(tpm, expect=["tpm-leftover"])
        self.assertEqual(len(found["tpm-leftover"]), 1)
        self.assertIn(left, found["tpm-leftover"][0]["what"])
        # The next exchange removes it.
        self.lab.sealctl("attest", "-o", self.lab.path("doc"), tpm=tpm, extra=run, expect=common.OK)
        self.look(tpm, expect=())


class Pcr(TpmCase):
    def test_foreign(self):
        """Extended by something that wrote no log; another PCR is as it was."""
        tpm = common.Tpm(self.lab, "foreign")
        self.look(tpm, expect=())
        tpm.extend(15, sha256="11" * 32, sha384="22" * 48)
        found, _ = self.look(tpm, expect=["pcr-foreign"])
        self.assertIn("PCR 15", found["pcr-foreign"][0]["what"])
        self.look(tpm, "models", "-o", "key-file=/nowhere,pcr=14", expect=())

    def test_measured_models_are_none(self):
        """What sealedfs measured is explained; what somebody adds is not. Nothing is extended."""
        tpm = common.Tpm(self.lab, "measured")
        key, events = self.lab.key_file("measured"), self.lab.path("events", "log")
        self.lab.seal(common.make_model(self.lab.path("plain", "m.gguf"), 100000),
                      self.lab.path("sealed", make=True), "--key-file", key)
        options = f"key-file={key},event-log={events}"
        with self.lab.mount(self.lab.path("sealed"), f"key-file={key}", f"event-log={events}",
                            tpm=tpm) as mount:
            common.digest(mount.join("m.gguf"))
        before = tpm.pcr("sha384")
        self.assertNotEqual(int(before, 16), 0)
        _, report = self.look(tpm, self.lab.path("sealed"), "-o", options, expect=())
        self.assertIn("explains", str(report["noted"]))
        self.assertEqual(tpm.pcr("sha384"), before)
        tpm.extend(15, sha256="11" * 32, sha384="22" * 48)
        self.look(tpm, self.lab.path("sealed"), "-o", options, expect=["pcr-foreign"])
        # Without the log nobody can tell.
        self.look(tpm, *MOUNT, expect=["pcr-foreign"])


class Group(TreeCase):
    """Files only."""

    def setUp(self):
        super().setUp()
        self.write("etc/group", "root:x:0:\ntss:x:117:\n")
        self.write("usr/lib/systemd/system/sealedfs@.service", "[Service]\n")
        self.write("dev/tpmrm0", mode=0o660)
        os.chown(os.path.join(self.tree, "dev/tpmrm0"), 0, 117)

    def test_group(self):
        self.look(expect=())
        os.chown(os.path.join(self.tree, "dev/tpmrm0"), 0, 0)
        self.look(expect=["tpm-group"])

    def test_mode(self):
        os.chmod(os.path.join(self.tree, "dev/tpmrm0"), 0o600)
        self.look(expect=["tpm-group"])

    def test_no_group(self):
        self.remove("dev/tpmrm0")
        self.look(expect=())
        self.write("etc/group", "root:x:0:\n")
        self.look(expect=["tpm-group"])
        self.remove("usr/lib/systemd/system/sealedfs@.service")
        self.look(expect=())

    def test_live(self):
        """The TPM's node of this machine, if it has one."""
        found, _ = self.doctor()
        if os.path.exists("/dev/tpmrm0"):
            status = os.stat("/dev/tpmrm0")
            fits = (any(group.gr_name == "tss" and group.gr_gid == status.st_gid
                        for group in grp.getgrall()) and status.st_mode & 0o060 == 0o060)
            self.assertEqual("tpm-group" in found, not fits)


if __name__ == "__main__":
    common.main()
