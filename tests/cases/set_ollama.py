#!/usr/bin/python3
"""fs/models, fs/view: the Ollama store of a set: descriptions are members, and cost no key of their own."""

import json
import os
import sys

import common
import common_sets
from common import FAILURE, OK
from common_ollama import NOBODY, OllamaCase
from common_sets import SetWriter, write

import sealedformat as sf

sys.path.append(common.EMU)
import kms_store  # noqa: E402


class Store(OllamaCase):
    """Two models, one of them described, in a directory."""

    def setUp(self):
        super().setUp()
        self.pem, self.pub = self.lab.owner_key(os.path.basename(self.dir))
        self.gguf("plain.gguf", 1)
        self.gguf("deep/described.gguf", 2)
        self.seal_one("plain.gguf")
        self.describe("hello")
        self.set = SetWriter(self.sealed, self.key, self.pem)
        self.set.admit(alone=True)
        self.set.put()

    def seal_one(self, name, *more):
        where = os.path.join(self.sealed, os.path.dirname(name))
        self.lab.seal(os.path.join(self.plain, name), where + "/", "--key-file", self.key, "--sign",
                      self.pem, "-q", *more)

    def describe(self, system, name="mine"):
        text = os.path.join(self.dir, "system.txt")
        write(text, system.encode())
        self.seal_one("deep/described.gguf", "--ollama-name", name, "--ollama-system", text)

    def mount(self, *options, **how):
        return super().mount("owner-key=" + self.pub, *options, **how)

    def test_the_store_is_the_same(self):
        with self.mount("set=require") as mount:
            found = self.check(mount, "--prune")
            self.assertEqual(mount.log(), "")
            self.assertEqual(sorted(os.listdir(mount.join("deep"))), ["described.gguf"])
        self.assertEqual(sorted(model["name"] for model in found["models"]),
                         ["mine:latest", "plain:latest"])
        self.assertEqual(found["run"]["mine:latest"]["system"], "hello")
        self.assertEqual(found["shown"]["plain:latest"]["architecture"], "llama")

    def test_a_description_is_bound(self):
        old = common.read_bytes(self.set.seal_path("deep/described.gguf.ollama"))
        old_model = common.read_bytes(self.set.seal_path("deep/described.gguf"))
        self.describe("second")
        self.set.admit()
        self.set.put(2)
        new = common.read_bytes(self.set.seal_path("deep/described.gguf.ollama"))
        self.assertNotEqual(old, new)
        for words, change in (("another sealing of the model, not the one of version 2", old),
                              ("a member is missing", None),
                              ("it is the seal of the model", old_model)):
            where = self.set.seal_path("deep/described.gguf.ollama")
            if change:
                write(where, change)
            else:
                os.unlink(where)
            with self.mount() as mount:
                self.assertEqual(self.names(mount), ["plain:latest"])
                self.assertIn("not in the Ollama store", mount.log())
                self.assertIn(words, mount.log())
                # Its model is served by its name.
                self.assertEqual(common.digest(mount.join("deep/described.gguf")),
                                 common.digest(os.path.join(self.plain, "deep/described.gguf")))
            write(where, new)
        with self.mount() as mount:
            self.assertEqual(self.check(mount)["run"]["mine:latest"]["system"], "second")

    def test_reload(self):
        with self.mount() as mount:
            self.assertEqual(self.check(mount)["run"]["mine:latest"]["system"], "hello")
            self.describe("again", "other")
            self.set.admit()
            self.set.put(2)
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.assertEqual(self.names(mount), ["other:latest", "plain:latest"])
            self.assertEqual(self.check(mount)["run"]["other:latest"]["system"], "again")

    def test_an_exchanged_model(self):
        """What its seal states is not looked at before it is known to be the member's."""
        write(self.set.seal_path("plain.gguf"),
              common.read_bytes(self.set.seal_path("deep/described.gguf")))
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["mine:latest"])
            status = self.lab.sealctl("status", mount.path)
            self.assertIn("it is the seal of the model", status.out)
            self.assertIn("it is the seal of the model", mount.log())


class UnderKms(Store):
    """The same with a TPM, and a set that KMS opens."""

    PARTS = ("tpm", "kms")

    def setUp(self):
        super().setUp()
        self.lab.tpm.ask("POST", "reboot", {})
        self.events = os.path.join(self.dir, "events")

    def mount(self, *options, **how):
        return self.lab.mount(self.sealed, "owner-key=" + self.pub, "ollama=on", "allow_other",
                              f"gid={NOBODY}", "event-log=" + self.events, *options, **how)

    def with_kms(self, version):
        store = kms_store.KeyStore(self.lab.path("kms"))
        key = store.find("alias/models", store.region)
        blob = store.wrap(key, self.set.key, {"sealedfs:file-id": self.set.id.hex()})
        body = common_sets.sealwriter.kms_body(store.arn(key).encode(), blob)
        self.set.put(version, slots=common_sets.sealwriter.slot(sf.SLOT_KMS, body))

    def opened(self, version):
        """The content that a mount measures, and how often KMS was asked."""
        self.with_kms(version)
        self.lab.kms.clear_log()
        with self.mount() as mount:
            self.assertEqual(self.names(mount), ["mine:latest", "plain:latest"])
            with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as status:
                found = json.load(status)["set"]
        self.assertEqual([entry["operation"] for entry in self.lab.kms.log()], ["Decrypt"])
        self.assertEqual(found["measured"]["event"], "sealedfs:set:sha256:" + found["content"])
        return found["content"], self.lab.tpm.pcr("sha384")

    def test_the_store_is_the_same(self):
        """ready=measured is the default of a store: one key and one event for all of it."""
        first = self.opened(1)
        self.assertEqual(self.opened(2), first)
        # What the model is told is in the PCR, too.
        self.describe("another system text")
        self.set.admit(alone=True)
        other = self.opened(3)
        self.assertNotEqual(other[0], first[0])
        self.assertNotEqual(other[1], first[1])

    test_a_description_is_bound = test_reload = test_an_exchanged_model = None


if __name__ == "__main__":
    common.main()
