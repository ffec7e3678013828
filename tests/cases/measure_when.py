#!/usr/bin/python3
"""ready=measured and sealctl hash --pcr: one value that is known before the machine boots.

The values are predicted from attest/PCRS.md by common_measuring.py, which knows nothing of sealctl.
"""

import json
import os
import shutil
import subprocess

import common
import measured
import common_measuring
from measuring import BANKS, MEASURING, models, predicted, records

ALL_BANKS = ("sha1", "sha256", "sha384", "sha512")
AT_MOUNT = "ready=measured"


class Names(common_measuring.Measured):
    """Three models, in a directory of their own for each case that changes something."""

    def hash_pcr(self, *argv, expect=common.OK):
        return json.loads(self.lab.sealctl("hash", "--pcr", "--json", *argv, expect=expect).out)

    def copy(self):
        folder = self.lab.path("copies", self.id().rpartition(".")[2])
        shutil.copytree(self.source, folder)
        return folder

    # The mount

    def test_in_the_order_of_names_before_ready(self):
        for mode in MEASURING:
            with self.subTest(mode=mode):
                self.setUp()
                self.events += mode
                with self.mount(AT_MOUNT, "measure=" + mode) as mount:
                    self.assert_pcr(mode, *self.NAMES)
                    self.read(mount, "c.gguf", "a.gguf", "b.gguf")
                    self.assert_pcr(mode, *self.NAMES)

    def test_unlocking_is_not_measuring(self):
        """ready=unlocked gets keys; what is opened, and in which order, goes into the PCR."""
        with self.mount("ready=unlocked") as mount:
            self.assert_pcr("verity")
            self.assertEqual(records(self.events) if os.path.exists(self.events) else [], [])
            self.read(mount, "c.gguf", "a.gguf")
            self.assert_pcr("verity", "c.gguf", "a.gguf")

    def test_only_what_is_named(self):
        """In the order of names, not in that of the options; the rest when it is opened."""
        with self.mount(AT_MOUNT, "model=c.gguf", "model=a.gguf") as mount:
            self.assert_pcr("verity", "a.gguf", "c.gguf")
            self.read(mount, "b.gguf")
            self.assert_pcr("verity", "a.gguf", "c.gguf", "b.gguf")

    def test_paths_are_compared_as_bytes(self):
        """"a-b", "a/x", "aB": what LC_ALL=C sort says, though a tree lists a/ first."""
        folder = self.lab.path("tree")
        for name, plain in (("a/x.gguf", "a.gguf"), ("a-b.gguf", "b.gguf"), ("aB.gguf", "c.gguf")):
            where, base = os.path.split(os.path.join(folder, name))
            self.lab.seal(self.plain[plain], where, "--name", base, "--key-file", self.key)
        with self.mount(AT_MOUNT, source=folder):
            self.assert_pcr("verity", "b.gguf", "a.gguf", "c.gguf")
        found = self.hash_pcr(folder)
        self.assertEqual([os.path.relpath(path, folder) for path in found["models"]],
                         ["a-b.gguf", "a/x.gguf", "aB.gguf"])
        self.assertEqual(found["pcr"]["verity"]["sha384"], self.tpm.pcr("sha384"))

    def test_restarts_extend_nothing(self):
        with self.mount(AT_MOUNT) as mount:
            mount.kill()
        for _ in range(2):
            with self.mount(AT_MOUNT):
                self.assert_pcr("verity", *self.NAMES)
        self.assertEqual(len(models(self.events)), 3)

    def test_what_comes_later_is_behind(self):
        folder = self.copy()
        for name in os.listdir(folder):
            if name.startswith("a.gguf."):
                os.unlink(os.path.join(folder, name))
        with self.mount(AT_MOUNT, source=folder) as mount:
            self.assert_pcr("verity", "b.gguf", "c.gguf")
            self.lab.seal(self.plain["a.gguf"], folder, "--key-file", self.key)
            self.assertEqual(subprocess.run([common.SEALEDFS, "--reload", mount.path],
                                            check=False, timeout=60).returncode, 0)
            self.assert_pcr("verity", "b.gguf", "c.gguf", "a.gguf")
        with self.mount(AT_MOUNT, source=folder):
            self.assert_pcr("verity", "b.gguf", "c.gguf", "a.gguf")

    def all_named(self):
        """What is not named is left out instead, which budget_broken.py shows."""
        return tuple("model=" + name for name in self.NAMES)

    def test_key_that_is_missing_leaves_the_pcr_alone(self):
        """All keys first: a mount that fails for one model that it names has measured none."""
        folder = self.copy()
        other = self.lab.key_file("other")
        self.lab.seal(self.plain["b.gguf"], folder, "--key-file", other)
        result = self.lab.mount_fails(folder, "key-file=" + self.key, AT_MOUNT,
                                      "event-log=" + self.events, *self.all_named())
        self.assert_result(result, common.REFUSED, "b.gguf")
        self.assert_pcr("verity")
        with self.mount(AT_MOUNT, "key-file=" + other, source=folder):
            self.assert_pcr("verity", *self.NAMES)

    def test_failure_in_the_middle(self):
        """A flat mode finds that b's payload is another's: a is measured, c is not; once b is
        mended the value is the predicted one."""
        folder = self.copy()
        (payload,) = [name for name in os.listdir(folder)
                      if name.startswith("b.gguf.") and name.endswith(".sealed")]
        payload = os.path.join(folder, payload)
        with open(payload, "r+b") as sealed:
            good = sealed.read(16)
            sealed.seek(0)
            sealed.write(bytes(byte ^ 1 for byte in good))
        result = self.lab.mount_fails(folder, "key-file=" + self.key, AT_MOUNT, "measure=sha384",
                                      "event-log=" + self.events, *self.all_named())
        self.assert_result(result, common.NOT_AUTHENTIC, "b.gguf")
        self.assert_pcr("sha384", "a.gguf")
        with open(payload, "r+b") as sealed:
            sealed.write(good)
        with self.mount(AT_MOUNT, "measure=sha384", source=folder):
            self.assert_pcr("sha384", *self.NAMES)
        self.assertEqual(len(models(self.events)), 3)

    def test_refused(self):
        for options, word in ((("ready=boot",), "must be open, unlocked or measured"),
                              (("ready",), "needs a value"),
                              (("ready=open", "measure-when=mount"), "use ready alone"),
                              ((AT_MOUNT, "measure=none"), "nothing would be measured"),
                              ((AT_MOUNT, "model=d.gguf"), "has no model d.gguf")):
            with self.subTest(options=options):
                result = self.lab.mount_fails(self.source, "key-file=" + self.key,
                                              "event-log=" + self.events, *options)
                self.assertIn(word, result.err)
        self.assert_pcr("verity")

    def test_mount_helper_and_background(self):
        """As mount(8) calls it: it returns when all is measured."""
        helper, path = self.lab.path("mount.sealedfs"), self.lab.path("by-helper", make=True)
        os.symlink(common.SEALEDFS, helper)
        done = self.lab.run(helper, self.source, path, "-o", ",".join((
            "rw,noauto,_netdev,nofail,x-systemd.before=ollama.service", "key-file=" + self.key,
            "attest=none", "event-log=" + self.events, AT_MOUNT)), who="operator")
        self.assert_result(done, common.OK)
        self.addCleanup(subprocess.run, ["umount", path], check=True, timeout=60)
        self.assert_pcr("verity", *self.NAMES, start=measured.start_text("verity", "none"))

    # The prediction

    def test_prediction(self):
        """Plain, sealed, a whole directory, in any order: the value that the mount leads to."""
        files = [self.plain[name] for name in self.NAMES]
        seals = [os.path.join(self.source, name + ".seal") for name in self.NAMES]
        for operands in (files, files[::-1], seals[::-1], [self.source]):
            with self.subTest(operands=operands):
                found = self.hash_pcr(*operands)
                self.assertEqual([os.path.basename(path) for path in found["models"]],
                                 list(self.NAMES))
                for mode in MEASURING:
                    for bank in ALL_BANKS:
                        self.assertEqual(found["pcr"][mode][bank], predicted(mode, bank, *files))
        text = self.lab.sealctl("hash", "--pcr", *files, expect=common.OK).out
        for bank in BANKS:
            self.assertIn(predicted("verity", bank, *files), text)

    def test_prediction_in_another_order(self):
        files = [self.plain[name] for name in ("c.gguf", "a.gguf")]
        found = self.hash_pcr("--as-given", *files)
        self.assertEqual(found["models"], files)
        self.assertEqual(found["pcr"]["verity"]["sha384"], predicted("verity", "sha384", *files))
        with self.mount() as mount:
            self.read(mount, "c.gguf", "a.gguf")
        self.assertEqual(found["pcr"]["verity"]["sha384"], self.tpm.pcr("sha384"))

    def test_ollama_description_is_not_measured(self):
        """Neither by the mount nor by the prediction; alone it is a file like any other."""
        folder = self.copy()
        text = self.lab.path("plain-text")
        with open(text, "w", encoding="ascii") as out:
            out.write("not even a good one")
        self.lab.seal(text, folder, "--name", "b.gguf.ollama", "--key-file", self.key)
        with self.mount(AT_MOUNT, source=folder):
            self.assert_pcr("verity", *self.NAMES)
        self.assertEqual(self.hash_pcr(folder)["pcr"]["verity"]["sha384"], self.tpm.pcr("sha384"))
        os.unlink(os.path.join(folder, "b.gguf.seal"))
        self.assertEqual([os.path.basename(path) for path in self.hash_pcr(folder)["models"]],
                         ["a.gguf", "b.gguf.ollama", "c.gguf"])

    def test_twins_count_once(self):
        """The same bytes under two names are one measurement."""
        folder = self.copy()
        self.lab.seal(self.plain["a.gguf"], folder, "--name", "z.gguf", "--key-file", self.key)
        with self.mount(AT_MOUNT, source=folder):
            self.assert_pcr("verity", *self.NAMES)
        self.assertEqual(self.hash_pcr(folder)["pcr"]["verity"]["sha384"], self.tpm.pcr("sha384"))

    def test_prediction_that_cannot_be_trusted(self):
        """A seal under another's name, unsigned, by a stranger, damaged, or none at all."""
        owner, public = self.lab.owner_key()
        _, stranger = self.lab.owner_key("stranger")
        folder = self.copy()
        self.lab.seal(self.plain["a.gguf"], folder, "--key-file", self.key, "--sign", owner)
        signed = os.path.join(folder, "a.gguf.seal")
        self.hash_pcr("--owner-key", public, signed)
        self.hash_pcr("--owner-key", public, self.plain["b.gguf"])
        os.rename(os.path.join(folder, "b.gguf.seal"), os.path.join(folder, "d.gguf.seal"))
        with open(os.path.join(folder, "c.gguf.seal"), "r+b") as seal:
            seal.write(b"SEALED??")
        empty = self.lab.path("empty", make=True)
        for code, argv in ((common.NOT_AUTHENTIC, ("--owner-key", stranger, signed)),
                           (common.NOT_AUTHENTIC, ("--owner-key", public,
                                                   os.path.join(self.source, "a.gguf.seal"))),
                           (common.NOT_AUTHENTIC, (os.path.join(folder, "d.gguf.seal"),)),
                           (common.NOT_AUTHENTIC, (os.path.join(folder, "c.gguf.seal"),)),
                           (common.FAILURE, (empty,)),
                           (common.FAILURE, (os.path.join(folder, "missing.seal"),))):
            with self.subTest(argv=argv):
                self.lab.sealctl("hash", "--pcr", *argv, expect=code)
        for argv in (("--as-given", signed), ("--owner-key", public, signed), ("--pcr",)):
            self.lab.sealctl("hash", *argv, expect=common.USAGE)


if __name__ == "__main__":
    common.main()
