#!/usr/bin/python3
"""sealctl seal --from-aws-sample: what AWS's sample application publishes is sealed anew, byte for byte, or
not at all. The objects come from a script that does what the sample does."""

import json
import os
import shutil
import subprocess

import common
from common import FAILURE, MIB, NOT_AUTHENTIC, OK, REFUSED, USAGE
from common_sealctl import files, second_reader

import sample_publisher

FIND_PLAINTEXT = os.path.join(common.TESTS, "models", "find-plaintext.py")


class Sample(common.Case):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.key = lab.key_file()
        cls.arn = lab.kms.key("alias/sample")
        cls.other_arn = lab.kms.key("alias/other")
        cls.owner = sample_publisher.Publisher(
            lab.s3.url, lab.kms.url,
            (lab.access_keys["owner"], "secret+of/owner" + "x" * 24))

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[1]
        self.out = self.lab.path("out-" + self.name)
        self.plain = self.lab.path("plain", self.name, make=True)

    def model(self, size=3 * MIB + 17, name="m.gguf"):
        return common.make_model(os.path.join(self.plain, name), size, size)

    def publish(self, path, key="alias/sample", **how):
        return self.owner.publish(path, common.BUCKET, self.name, key, **how)

    def seal(self, key, *more, expect=None, dest=None, **how):
        return self.lab.sealctl("seal", "--from-aws-sample", f"s3://{common.BUCKET}/{key}",
                                dest or self.out, "--key-file", self.key, *more, expect=expect, **how)

    def assert_refused(self, key, code, *words):
        done = self.seal(key)
        self.assert_result(done, code, *words)
        self.assertEqual(files(self.out) if os.path.isdir(self.out) else [], [])

    def damage(self, key, change):
        """Rewrites an object of the bucket by hand."""
        path = self.lab.s3.file(key)
        data = bytearray(common.read_bytes(path))
        change(data)
        with open(path, "wb") as out:
            out.write(data)

    def test_every_size(self):
        for size in (0, 1, 524288, 8 * MIB - 28, 8 * MIB - 12, 8 * MIB, 20 * MIB + 3):
            with self.subTest(size=size):
                path = self.model(size, f"{size}.gguf")
                self.seal(self.publish(path), expect=OK)
        self.assertEqual(set(second_reader(self.out, self.key, self.plain).values()), {"ok"})

    def test_other_route_and_name(self):
        path = self.model()
        self.seal(self.publish(path, other_route=True), "--name", "prod/renamed.gguf", expect=OK)
        os.makedirs(os.path.join(self.plain, "prod"))
        shutil.move(path, os.path.join(self.plain, "prod", "renamed.gguf"))
        self.assertEqual(second_reader(self.out, self.key, self.plain), {"prod/renamed.gguf": "ok"})

    def test_to_s3_in_a_set(self):
        """From a bucket to a bucket; then mounted."""
        path = self.model()
        dest = self.lab.s3_url(self.name + "-sealed/")
        self.seal(self.publish(path), "--set", "acme", dest=dest, expect=OK)
        with self.lab.mount(dest, "key-file=" + self.key, "attest=none", "measure=none") as mount:
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(path))

    def test_local_copy_and_key_used(self):
        """Downloaded objects; the notice names the KMS key, the option allows only one."""
        key = self.publish(self.model())
        local = os.path.dirname(self.lab.s3.file(key))
        done = self.lab.sealctl("seal", "--from-aws-sample", os.path.join(local, "m.gguf.enc"), self.out,
                                "--key-file", self.key, "--json", expect=OK)
        self.assertIn(self.arn, done.err)
        self.assertEqual(json.loads(done.out)["sealed"][0]["name"], "m.gguf")
        done = self.seal(key, "--sample-key", self.arn, expect=OK)
        self.assertNotIn(self.arn, done.err)
        self.assertEqual(second_reader(self.out, self.key, self.plain), {"m.gguf": "ok"})
        shutil.rmtree(self.out)
        self.assert_result(self.seal(key, "--sample-key", self.other_arn), REFUSED, "another KMS key")
        self.assertEqual(files(self.out) if os.path.isdir(self.out) else [], [])

    def test_what_kms_sees(self):
        key = self.publish(self.model())
        self.lab.kms.clear_log()
        self.seal(key, expect=OK)
        calls = [(call["operation"], call["context"], call["key"]) for call in self.lab.kms.log()]
        self.assertEqual(calls, [("Decrypt", {}, self.arn)])

    def test_tampered(self):
        """One bit anywhere: nonce, first and last byte, tag."""
        key = self.publish(self.model(20 * MIB))
        for at in (0, 11, 12, 9 * MIB, -17, -16, -1):
            with self.subTest(at=at):
                self.damage(key, lambda data, at=at: data.__setitem__(at, data[at] ^ 1))
                self.assert_refused(key, NOT_AUTHENTIC, "m.gguf.enc is not authentic")
                self.damage(key, lambda data, at=at: data.__setitem__(at, data[at] ^ 1))
        self.seal(key, expect=OK)

    def test_truncated_and_extended(self):
        key = self.publish(self.model())
        for size in (3 * MIB, 29, 28):
            self.damage(key, lambda data, size=size: data.__delitem__(slice(size, None)))
            self.assert_refused(key, NOT_AUTHENTIC, "not authentic")
        self.damage(key, lambda data: data.__delitem__(slice(27, None)))
        self.assert_refused(key, NOT_AUTHENTIC, "has 27 bytes")
        key = self.publish(self.model())
        self.damage(key, lambda data: data.extend(bytes(16)))
        self.assert_refused(key, NOT_AUTHENTIC, "not authentic")

    def test_wrong_data_key(self):
        """Another model's; a damaged one; none; one that is no data key."""
        key = self.publish(self.model())
        other = self.publish(self.model(1000, "other.gguf"))
        wrapped = self.lab.s3.file(key.removesuffix(".enc") + ".datakey.enc")
        good = common.read_bytes(wrapped)
        shutil.copy(self.lab.s3.file(other.removesuffix(".enc") + ".datakey.enc"), wrapped)
        self.assert_refused(key, NOT_AUTHENTIC, "not authentic")
        for content, code, words in ((good[:-1] + bytes([good[-1] ^ 1]), NOT_AUTHENTIC, "InvalidCiphertext"),
                                     (b"", NOT_AUTHENTIC, "wrapped data key"),
                                     (bytes(6145), NOT_AUTHENTIC, "wrapped data key")):
            with open(wrapped, "wb") as out:
                out.write(content)
            self.assert_refused(key, code, words)
        os.remove(wrapped)
        self.assert_refused(key, FAILURE, "m.gguf.datakey.enc", "writes it beside each model")

    def test_key_policy_refuses(self):
        """The sample's key may be for attested machines only."""
        self.assert_refused(self.publish(self.model(), key="alias/models"), REFUSED, "AccessDenied")

    def test_replaces_only_when_whole(self):
        """What was sealed under the name before stays when the new one is refused."""
        path = self.model()
        self.lab.seal(path, self.out, "--key-file", self.key)
        before = files(self.out)
        key = self.publish(self.model(9 * MIB))
        self.damage(key, lambda data: data.__setitem__(-1, data[-1] ^ 1))
        self.assert_result(self.seal(key), NOT_AUTHENTIC, "not authentic")
        self.assertEqual(files(self.out), before)

    def test_failed_upload_is_aborted(self):
        key = self.publish(self.model(20 * MIB))
        self.damage(key, lambda data: data.__setitem__(-1, data[-1] ^ 1))
        dest = self.lab.s3_url(self.name + "-sealed/")
        self.lab.s3.clear_log()
        self.assert_result(self.seal(key, dest=dest), NOT_AUTHENTIC, "not authentic")
        changes = [(entry["method"], entry["key"]) for entry in self.lab.s3.log()
                   if entry["method"] in ("PUT", "POST", "DELETE")]
        self.assertEqual(changes[-1][0], "DELETE", changes)
        folder = self.lab.s3.file(self.name + "-sealed")
        self.assertEqual(files(folder) if os.path.isdir(folder) else [], [])

    def test_no_plaintext_on_disk(self):
        path = self.model(20 * MIB)
        key = self.publish(path)
        temporary = self.lab.path("tmp-" + self.name, make=True)
        marker = self.lab.path("marker-" + self.name)
        with open(marker, "wb"):
            pass
        self.seal(key, expect=OK, extra={"TMPDIR": temporary})
        done = subprocess.run(
            ["/usr/bin/python3", FIND_PLAINTEXT, "--model", path, "--newer", marker, "--skip", self.plain, "--",
             temporary, self.out, "/var/tmp"], stdout=subprocess.PIPE, text=True, timeout=common.COMMAND_S,
            check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_command_line(self):
        key = self.publish(self.model(1000))
        for words, argv in (
                ("not called like", ["--from-aws-sample", "s3://b/m.gguf"]),
                ("not called like", ["--from-aws-sample", ".enc"]),
                ("is the data key", ["--from-aws-sample", "s3://b/m.datakey.enc"]),
                ("is the data key", ["--from-aws-sample", "s3://b/m.datakey"]),
                ("takes DEST", ["--from-aws-sample", "s3://b/m.enc", self.plain]),
                ("takes DEST", ["--from-aws-sample", "s3://b/m.enc", "--length", "5"]),
                ("goes with", ["--sample-key", self.arn, self.plain])):
            done = self.lab.sealctl("seal", *argv, self.out, "--key-file", self.key)
            self.assert_result(done, USAGE, words)
        self.assert_result(self.seal(key + ".enc"), FAILURE, key + ".enc")


if __name__ == "__main__":
    common.main()
