#!/usr/bin/python3
"""One bad object in a source: it is left out loudly, and what is good is served."""

import json
import os
import shutil
import unittest

import common
from common import FAILURE, NOT_AUTHENTIC
from common_local import Local


class Broken(Local):
    """One bad object does not stop the others; a named one does, and so does nothing good."""

    def spoil(self, folder, name, kind):
        seal = os.path.join(folder, name + ".seal")
        if kind == "junk":
            with open(seal, "wb") as out:
                out.write(b"junk!!")
        elif kind == "renamed":
            os.rename(seal, os.path.join(folder, "other.seal"))
        elif kind == "no payload":
            (payload,) = (entry for entry in os.listdir(folder)
                          if entry.startswith(name + ".") and entry.endswith(".sealed"))
            os.remove(os.path.join(folder, payload))
        elif kind == "slots":
            with open(seal, "r+b") as out:
                out.seek(0x8C0 + 100)
                byte = out.read(1)
                out.seek(0x8C0 + 100)
                out.write(bytes([byte[0] ^ 1]))
        elif kind == "stranger":
            shutil.rmtree(self.lab.path("stranger"), ignore_errors=True)
            other = self.lab.key_file("stranger-of-" + os.path.basename(folder))
            plain = self.lab.path("stranger", make=True)
            common.make_model(os.path.join(plain, name), 1000)
            for entry in os.listdir(folder):
                if entry.startswith(name + "."):
                    os.remove(os.path.join(folder, entry))
            self.lab.seal(plain, folder, "--key-file", other)
        else:
            raise ValueError(kind)

    KINDS = ("junk", "renamed", "no payload", "slots", "stranger")

    def test_the_others_are_served(self):
        for number, kind in enumerate(self.KINDS):
            with self.subTest(kind):
                plain, folder = self.sealed(f"broken{number}", "a.bin", "b.bin", "c.bin")
                self.spoil(folder, "b.bin", kind)
                with self.mount(folder, "ready=unlocked") as mount:
                    self.same(mount, plain, "a.bin", "c.bin")
                    name = "other" if kind == "renamed" else "b.bin"
                    self.assertIn(name, os.listdir(mount.path))
                    self.assertIn("left out", mount.log())
                    self.assertIn("1 of 3 models are left out", mount.log())
                    self.assert_io_error(mount.join(name))
                    done = self.lab.sealctl("status", "--json", mount.path)
                    self.assertIn(done.code, (NOT_AUTHENTIC, common.REFUSED, FAILURE), done.err)
                    (trouble,) = (model for model in json.loads(done.out)["models"]
                                  if "reason" in model)
                    self.assertEqual(trouble["name"], name)

    def junk(self, *path):
        with open(self.lab.path(*path), "wb") as out:
            out.write(b"junk!!")

    def test_junk_of_a_directorys_name(self):
        """Of two with one name on a file system the one is shown that can be opened. (In a directory
        the files "a.bin.seal" and "a.bin/junk.seal" are as possible as in a bucket.)"""
        plain, folder = self.sealed("clash", "a.bin", "b.bin", "d/x.bin", "e/f.bin", "e/f.bin.d/y.bin")
        self.junk(folder, "a.bin", "deep", "junk.seal")
        self.junk(folder, "a.bin", "junk.seal")
        self.junk(folder, "d.seal")
        self.junk(folder, "e.seal")
        self.junk(folder, "e", "f.bin", "junk.seal")
        self.junk(folder, "g.seal")
        self.junk(folder, "g", "junk.seal")
        good = ("a.bin", "b.bin", "d/x.bin", "e/f.bin", "e/f.bin.d/y.bin")
        for options in (("ready=open",), ("ready=unlocked",),
                        ("ready=unlocked", *("model=" + name for name in good))):
            with self.mount(folder, *options) as mount:
                self.same(mount, plain, *good)
                for name in ("a.bin/junk.seal", "a.bin/deep/junk.seal", "e/f.bin/junk.seal"):
                    self.assertIn(f'"{name}" is not shown: there is also a model of its', mount.log())
                for name in ("d.seal", "e.seal", "g.seal"):
                    self.assertIn(f'"{name}" is not shown: there is also a directory', mount.log())
                self.assert_io_error(mount.join("g", "junk"))
                self.junk(folder, "b.bin", "junk.seal")
                self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), common.OK)
                self.same(mount, plain, *good)
            os.unlink(os.path.join(folder, "b.bin", "junk.seal"))

    def test_a_named_one_fails_the_mount(self):
        for number, kind in enumerate(("junk", "no payload", "slots", "stranger")):
            with self.subTest(kind):
                _, folder = self.sealed(f"named{number}", "a.bin", "b.bin")
                self.spoil(folder, "b.bin", kind)
                done = self.mount_fails(folder, "ready=unlocked", "model=b.bin")
                self.assertIn(done.code, (NOT_AUTHENTIC, common.REFUSED, FAILURE))
                self.assertIn("b.bin", done.err)
                with self.mount(folder, "ready=unlocked", "model=a.bin"):
                    pass

    def test_nothing_good_fails_the_mount(self):
        _, folder = self.sealed("all", "a.bin", "b.bin")
        self.spoil(folder, "a.bin", "junk")
        self.spoil(folder, "b.bin", "junk")
        done = self.mount_fails(folder, "ready=unlocked")
        self.assert_result(done, NOT_AUTHENTIC, "none of 2 models", "malformed")
        with self.mount(folder):
            pass

    def test_a_foreign_owner_beside_a_pinned_one(self):
        private, public = self.lab.owner_key("pinned")
        other, _ = self.lab.owner_key("foreign")
        plain, folder = self.lab.path("owners-plain", make=True), self.lab.path("owners")
        common.make_model(os.path.join(plain, "a.bin"), 1000)
        self.lab.seal(plain, folder, "--key-file", self.key, "--sign", private)
        plain = self.lab.path("owners-plain2", make=True)
        common.make_model(os.path.join(plain, "b.bin"), 1000)
        self.lab.seal(plain, folder, "--key-file", self.key, "--sign", other)
        with self.mount(folder, "ready=unlocked", "owner-key=" + public) as mount:
            self.assertEqual(len(common.read_bytes(mount.join("a.bin"))), 1000)
            self.assertIn("unknown signer", mount.log())
            self.assertIn("1 of 2 models are left out", mount.log())

    def test_a_description_does_not_stop_its_model(self):
        plain, folder = self.sealed("described", "m.gguf", "n.gguf")
        with open(os.path.join(folder, "m.gguf.ollama.seal"), "wb") as out:
            out.write(b"junk!!")
        with self.mount(folder, "ready=unlocked", "ollama=on") as mount:
            self.same(mount, plain, "m.gguf", "n.gguf")
            self.assertIn("not in the Ollama store", mount.log())


class Measured(Local):
    PARTS = ("tpm",)

    def test_a_model_that_is_left_out_is_not_in_the_pcr(self):
        """And the log tells so."""
        plain, folder = self.sealed("measured", "a.bin", "b.bin", "c.bin")
        with open(os.path.join(folder, "b.bin.seal"), "wb") as out:
            out.write(b"junk!!")
        self.options = ("key-file=" + self.key, "attest=none", "measure=verity")
        with self.mount(folder, "ready=measured") as mount:
            self.same(mount, plain, "a.bin", "c.bin")
            self.assertIn("1 of 3 models are left out, and are not in the PCR", mount.log())
            states = {model["name"]: model["state"]
                      for model in self.status(mount, NOT_AUTHENTIC)["models"]}
            self.assertEqual(states, {"a.bin": "measured", "b.bin": "broken", "c.bin": "measured"})


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")
    common.main()
