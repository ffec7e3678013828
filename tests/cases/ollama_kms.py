#!/usr/bin/python3
"""Models for Ollama in S3 and under KMS: what is asked, when, and what becomes of refusals."""

import hashlib
import os
import time
import zlib

import common
from common import NOT_AUTHENTIC, OK, REFUSED
from common_ollama import NOBODY, OllamaCase, OllamaStore, make_gguf, snapshot
from common_sealctl import files


class InS3(OllamaCase):
    """Descriptions under KMS: what is asked, when, and what becomes of refusals."""

    PARTS = ("tpm", "kms", "s3")

    def setUp(self):
        super().setUp()
        self.prefix = self.lab.s3_url(os.path.basename(self.dir))
        # What was measured once stays measured: each test has a model of its own.
        self.plain_model = self.gguf("m.gguf", zlib.crc32(self.id().encode()))
        self.lab.seal(self.plain_model, self.prefix + "/", "--kms-key", "alias/models", "-q",
                      "--ollama-name", "mine", "--ollama-params", "num_ctx=99")
        self.lab.kms.clear_log()

    def mount(self, *options, **how):
        return self.lab.mount(self.prefix, "ollama=default", "allow_other", f"gid={NOBODY}", *options, **how)

    def decrypts(self):
        return len([entry for entry in self.lab.kms.log() if entry["operation"] == "Decrypt"])

    def test_one_decrypt_and_no_measurement(self):
        before = self.lab.tpm.pcr("sha384")
        with self.mount() as mount:
            self.assertEqual(self.decrypts(), 1)
            self.assertEqual(self.lab.tpm.pcr("sha384"), before)
            self.assertEqual(self.check(mount)["run"]["mine:latest"]["options"], {"num_ctx": 99})
            self.assertEqual(self.decrypts(), 2)
            measured = self.lab.tpm.pcr("sha384")
            self.assertNotEqual(measured, before)
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.assertEqual(self.names(mount), ["mine:latest"])
            self.assertEqual(self.decrypts(), 2)
            self.assertEqual(self.lab.tpm.pcr("sha384"), measured)

    def test_refused(self):
        self.lab.kms.set_state("alias/models", "Disabled")
        with self.mount() as mount:
            self.assertEqual(self.names(mount), [])
            self.assertEqual(mount.log().count("\n"), 1, mount.log())
            self.assertIn("not in the Ollama store", mount.log())
            self.lab.kms.set_state("alias/models", "Enabled")
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.assertEqual(self.names(mount), ["mine:latest"])
        self.lab.kms.set_state("alias/models", "Disabled")
        done = self.lab.mount_fails(self.prefix, "ollama=default", "ready=unlocked")
        self.assert_result(done, REFUSED, "m.gguf.ollama")
        self.lab.kms.set_state("alias/models", "Enabled")

    def test_from_ollama_to_s3(self):
        store = OllamaStore(os.path.join(self.dir, "models"))
        name = ("registry.ollama.ai", "acme", "tiny", "latest")
        model = common.read_bytes(make_gguf(os.path.join(self.dir, "t.gguf"), 9, size=10))
        manifest = store.add(name, [store.layer("model", model), store.layer("system", b"hi")])
        take = ("seal", "--from-ollama", "acme/tiny", store.root, self.prefix + "/", "--kms-key",
                "alias/models")
        before = files(self.lab.s3.file(os.path.basename(self.dir)))
        blob = store.blob_path(hashlib.sha256(model).hexdigest())
        with open(blob, "r+b") as damaged:
            damaged.seek(9 << 20)
            damaged.write(b"damage")
        self.lab.sealctl(*take, expect=NOT_AUTHENTIC)
        self.assertEqual(files(self.lab.s3.file(os.path.basename(self.dir))), before)
        with open(blob, "wb") as mended:
            mended.write(model)
        self.lab.sealctl(*take, expect=OK)
        with self.mount("ready=unlocked") as mount:
            self.assertEqual(self.names(mount), ["acme/tiny:latest", "mine:latest"])
            shown = mount.join("ollama", "manifests", *name)
            self.assertEqual(common.read_bytes(shown), common.read_bytes(manifest))

    def test_stable_over_remounts(self):
        with self.mount() as mount:
            before = snapshot(mount.path)
        with self.mount() as mount:
            self.assertEqual(snapshot(mount.path), before)
        self.assertGreater(len(before), 8)

    def many(self, count):
        """Models with descriptions, in a folder, under KMS."""
        plain, sealed = self.lab.path(self.id() + ".p"), self.lab.path(self.id() + ".s")
        for number in range(count):
            make_gguf(os.path.join(plain, f"{number:02}.gguf"), 900 + number)
            self.lab.seal(os.path.join(plain, f"{number:02}.gguf"), sealed + "/", "--kms-key",
                          "alias/models", "-q", "--ollama-name", f"mine{number:02}",
                          "--ollama-params", f"num_ctx={number + 1}")
        self.lab.kms.clear_log()
        self.lab.tpm.clear_log()
        return sealed

    def mount_many(self, sealed, *options, **how):
        return self.lab.mount(sealed, "ollama=default", "allow_other", f"gid={NOBODY}", *options,
                              **how)

    def test_many_at_once(self):
        """Two seconds for each key: 24 would take 48, one after the other."""
        count = 24
        sealed = self.many(count)
        with self.lab.kms.fault(op="Decrypt", kind="slow", ms=2000):
            began = time.monotonic()
            with self.mount_many(sealed, "ready=open") as mount:
                took = time.monotonic() - began
                self.assertEqual(self.decrypts(), count)
                documents = [entry for entry in self.lab.tpm.log() if entry["command"] == "vendor"]
                shown = os.path.join(mount.path, "ollama", "manifests", "registry.ollama.ai",
                                     "library")
                self.assertEqual(sorted(os.listdir(shown)), [f"mine{n:02}" for n in range(count)])
        self.assertLess(took, 1.9 * count)
        self.assertEqual(len(documents), 1)
        with self.mount_many(sealed, "ready=open") as mount:
            run = self.check(mount)["run"]
            self.assertEqual({name: run[name]["options"]["num_ctx"] for name in run},
                             {f"mine{n:02}:latest": n + 1 for n in range(count)})

    def test_one_of_many_is_refused(self):
        sealed = self.many(4)
        denied = {"op": "Decrypt", "kind": "error", "error": "AccessDeniedException", "status": 400}
        with self.lab.kms.fault(**denied, times=1):
            with self.mount_many(sealed, "ready=open") as mount:
                self.assertEqual(len(self.names(mount)), 3)
                self.assertEqual(mount.log().count("not in the Ollama store"), 1, mount.log())

    def test_many_are_out_of_reach(self):
        """One line, not one for each, and nobody waits for each."""
        sealed = self.many(20)
        with self.mount_many(sealed, "ready=open",
                             extra={"AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:1"}) as mount:
            self.assertEqual(self.names(mount), [])
            self.assertEqual(mount.log().count("not in the Ollama store"), 2, mount.log())
            self.assertIn("19 more descriptions are unreachable", mount.log())

    def test_kms_comes_late(self):
        """wait= waits for descriptions too."""
        if common.QUICK:
            self.skipTest("waits for retries")
        with self.lab.kms.fault(op="Decrypt", error="KMSInternalException", times=5):
            with self.mount("wait=60") as mount:
                self.assertEqual(self.names(mount), ["mine:latest"])

    def test_unreachable(self):
        nowhere = {"AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:1"}
        with self.mount(extra=nowhere) as mount:
            self.assertEqual(self.names(mount), [])
            self.assertIn("not in the Ollama store", mount.log())


if __name__ == "__main__":
    common.main()
