#!/usr/bin/python3
"""The S3 path against Ceph's RGW, a real S3 server, in place of the emulator.

Signatures, keys with odd characters, multipart uploads, listings and If-Match as another
implementation sees them. Objects are looked at and replaced with boto3.
"""

import errno
import json
import os
import signal
import subprocess
import unittest

import common
from common import BUCKET, CHUNK, MIB

import boto3
import botocore.config

RGW = os.path.join(common.EMU, "rgw")
BIG = 50_000_000
SIZES = {"empty": 0, "byte": 1, "below": CHUNK - 1, "chunk": CHUNK, "above": CHUNK + 1, "big": BIG}
NAMES = ("with space.gguf", " at the edges ", "a+b.gguf", "100%.gguf", "50%2B%20.gguf", "k=v&x=y",
         "dir=1/sub dir/+/m.gguf", "modèle-七-🔏.gguf", "quote'\"`.gguf", "semi;colon,comma",
         "[x]*?~!(){}", "#hash", "back\\slash", "<xml>&amp;", "a.seal.b", "a.seal", "dots..", "-dash")


def start_rgw(lab):
    """Starts RGW for a laboratory; its endpoint. Installs it when it is missing."""
    folder = lab.path("rgw")
    done = subprocess.run([RGW, "start", folder], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=900, check=False)
    if done.returncode == 77:
        install = subprocess.run([RGW, "install"], text=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=800, check=False)
        if install.returncode != 0:
            raise unittest.SkipTest("Ceph RGW could not be installed: "
                                    + install.stdout.strip()[-300:])
        return start_rgw(lab)
    if done.returncode != 0:
        raise AssertionError("RGW: " + done.stderr)
    lab.stack.callback(subprocess.run, [RGW, "stop", folder], check=True, timeout=300)
    return common.read_text(os.path.join(folder, "endpoint")).strip()


class Rgw(common.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        endpoint = start_rgw(lab)
        lab.endpoints["AWS_ENDPOINT_URL_S3"] = endpoint
        ((key_id, entry),) = json.loads(
            common.read_text(lab.path("rgw", "credentials.json"))).items()
        for who in ("owner", "operator"):
            with open(lab.path(who, "credentials"), "w", encoding="ascii") as out:
                out.write(f"[default]\naws_access_key_id = {key_id}\n"
                          f"aws_secret_access_key = {entry['secret']}\n")
        cls.client = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id=key_id,
            aws_secret_access_key=entry["secret"], region_name=common.REGION,
            config=botocore.config.Config(s3={"addressing_style": "path"}, proxies={}))
        cls.client.create_bucket(Bucket=BUCKET)
        cls.key = lab.key_file()
        cls.options = ("key-file=" + cls.key, "attest=none", "measure=none", "memory=32M")

    def objects(self, prefix):
        """{key: size} of everything below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {entry["Key"]: entry["Size"] for page in pages
                for entry in page.get("Contents", [])}

    def uploads(self):
        return self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])

    def seal(self, source, prefix, *options):
        return self.lab.seal(source, self.lab.s3_url(prefix), "--key-file", self.key, *options)

    def payload(self, prefix):
        (found,) = [key for key in self.objects(prefix) if key.endswith(".sealed")]
        return found

    def test_sizes(self):
        for seed, (name, size) in enumerate(SIZES.items()):
            common.make_model(self.lab.path("sizes", name), size, seed)
        self.seal(self.lab.path("sizes"), "sizes/")
        found = self.objects("sizes/")
        self.assertEqual(len(found), 2 * len(SIZES))
        big = next(key for key in found if key.startswith("sizes/big.") and found[key] == BIG)
        etag = self.client.head_object(Bucket=BUCKET, Key=big)["ETag"]
        self.assertIn("-", etag, "not a multipart upload")
        self.assertEqual(self.uploads(), [])
        with self.lab.mount(self.lab.s3_url("sizes"), *self.options) as mount:
            self.assertEqual(sorted(os.listdir(mount.path)), sorted(SIZES))
            for name, size in SIZES.items():
                self.assertEqual(os.path.getsize(mount.join(name)), size)
                self.assertEqual(common.digest(mount.join(name)),
                                 common.digest(self.lab.path("sizes", name)), name)

    def test_odd_names(self):
        for seed, name in enumerate(NAMES):
            common.make_model(self.lab.path("odd", name), 1000 + seed, seed)
        self.seal(self.lab.path("odd"), "odd prefix+%/")
        self.assertEqual({key for key in self.objects("odd prefix+%/") if key.endswith(".seal")},
                         {"odd prefix+%/" + name + ".seal" for name in NAMES})
        with self.lab.mount(self.lab.s3_url("odd prefix+%"), *self.options) as mount:
            found = [os.path.relpath(os.path.join(folder, name), mount.path)
                     for folder, _, names in os.walk(mount.path) for name in names]
            self.assertEqual(sorted(found), sorted(NAMES))
            for name in NAMES:
                self.assertEqual(common.digest(mount.join(name)),
                                 common.digest(self.lab.path("odd", name)), name)
        # A file's prefix is no folder's: "odd prefix+%" must not show "odd prefix+%2".
        common.make_model(self.lab.path("neighbour"), 10)
        self.seal(self.lab.path("neighbour"), "odd prefix+%2/")
        with self.lab.mount(self.lab.s3_url("odd prefix+%"), *self.options) as mount:
            self.assertNotIn("neighbour", os.listdir(mount.path))

    def test_check_and_inspect(self):
        common.make_model(self.lab.path("checked"), 3 * CHUNK)
        self.seal(self.lab.path("checked"), "check/")
        seal = self.lab.s3_url("check/checked.seal")
        self.assert_result(self.lab.sealctl("check", seal, "--key-file", self.key), common.OK)
        self.assert_result(self.lab.sealctl("inspect", seal), common.OK, "checked", "1572864")
        key = self.payload("check/")
        body = bytearray(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        body[CHUNK] ^= 1
        self.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(body))
        self.assert_result(self.lab.sealctl("check", seal, "--key-file", self.key),
                           common.NOT_AUTHENTIC, "altered chunk")

    def test_overwritten_while_mounted(self):
        plain = common.make_model(self.lab.path("changing"), BIG)
        self.seal(plain, "changing/")
        key = self.payload("changing/")
        with self.lab.mount(self.lab.s3_url("changing"), *self.options) as mount:
            with common.opened(mount.join("changing"), os.O_DIRECT) as sealed:
                self.assertEqual(os.pread(sealed, 4096, 0), common.model_bytes(4096))
                self.client.put_object(Bucket=BUCKET, Key=key, Body=common.model_bytes(BIG, 1))
                with self.assertRaises(OSError) as caught:
                    os.pread(sealed, 4096, 40 * MIB)
            self.assertIn(caught.exception.errno, (errno.ESTALE, errno.EIO))
            self.assertIn("changed on the server", mount.log())

    def test_sealed_again(self):
        """The new model is there whole, the old payload goes only when asked for."""
        first = common.make_model(self.lab.path("first", "m"), BIG)
        second = common.make_model(self.lab.path("second", "m"), CHUNK + 9, 1)
        self.seal(first, "again/")
        self.seal(second, "again/")
        self.assertEqual(len(self.objects("again/")), 3)
        with self.lab.mount(self.lab.s3_url("again"), *self.options) as mount:
            self.assertEqual(common.digest(mount.join("m")), common.digest(second))

    def start_sealing(self, prefix, length):
        """sealctl reading from a pipe that we fill: (process, its stdin)."""
        process = subprocess.Popen(
            [common.SEALCTL, "seal", "-", self.lab.s3_url(prefix), "--length", str(length),
             "--name", "m", "--key-file", self.key], env=self.lab.env("owner"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(common.end, process)
        return process

    def test_interrupted_sealing_leaves_nothing(self):
        process = self.start_sealing("interrupted/", BIG)
        process.stdin.write(common.model_bytes(30 * MIB))
        process.stdin.flush()
        common.wait_for("the multipart upload", self.uploads, process)
        process.send_signal(signal.SIGINT)
        self.assertNotEqual(process.wait(60), 0)
        process.stdin.close()
        self.assertEqual(self.uploads(), [])
        self.assertEqual(self.objects("interrupted/"), {})

    def test_input_that_ends_early_leaves_nothing(self):
        process = self.start_sealing("short/", BIG)
        process.stdin.write(common.model_bytes(30 * MIB))
        process.stdin.close()
        self.assertNotEqual(process.wait(60), 0)
        self.assertEqual(self.uploads(), [])
        self.assertEqual(self.objects("short/"), {})

    def test_wrong_secret(self):
        with open(self.lab.path("stranger", "credentials"), "w", encoding="ascii") as out:
            out.write("[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n"
                      "aws_secret_access_key = not-this-one\n")
        result = self.lab.mount_fails(self.lab.s3_url("sizes"), *self.options, who="stranger")
        self.assertNotEqual(result.code, common.OK)
        self.assertIn("SignatureDoesNotMatch", result.err)


if __name__ == "__main__":
    common.main()
