#!/usr/bin/python3
"""sealctl clean: what no seal names, and nothing else; sealctl inspect of keys: ids, and no key."""

import json
import os
import shutil
import time

import common
from common import FAILURE, NOT_AUTHENTIC, OK, USAGE
from common_sealctl import files, payloads

DAY = 86400


class Clean(common.Case):
    PARTS = ("s3",)

    def setUp(self):
        name = self.id().rpartition(".")[2]
        self.dest = self.lab.path(name, make=True)
        self.key = self.lab.key_file(name)
        self.model = common.make_model(self.lab.path(name + ".plain", "m.gguf"), 100000, 1)

    def seal(self, *args):
        self.lab.sealctl("seal", "-q", self.model, *(args or (self.dest,)), "--key-file", self.key,
                         who="operator", expect=OK)

    def age(self, days=2):
        """Everything in the folder is that old."""
        for name in files(self.dest):
            path = os.path.join(self.dest, name)
            os.utime(path, (time.time() - days * DAY,) * 2)

    def clean(self, *args, expect=OK):
        done = self.lab.sealctl("clean", *args, who="operator", expect=expect)
        return json.loads(done.out) if "--json" in args and expect == OK else done

    def test_dry_by_default(self):
        self.seal()
        (old,) = payloads(self.dest)
        self.seal()
        self.assertEqual(len(payloads(self.dest)), 2)
        self.age()
        before = files(self.dest)
        done = self.clean(self.dest)
        self.assertIn(old, done.out)
        self.assertIn("1 payload without a seal", done.out)
        self.assertIn("--delete removes them", done.out)
        self.assertEqual(files(self.dest), before)
        done = self.clean("--delete", self.dest)
        self.assertIn("removed: ", done.out)
        self.assertEqual(sorted(files(self.dest)), sorted(set(before) - {old}))
        self.lab.sealctl("check", self.dest, "--key-file", self.key, expect=OK)
        self.assertIn("0 payloads", self.clean("--delete", self.dest).out)

    def test_young_ones_may_be_in_the_making(self):
        self.seal()
        os.unlink(os.path.join(self.dest, "m.gguf.seal"))
        found = self.clean("--delete", "--json", self.dest)
        self.assertEqual((found["unused"], found["younger"]), ([], 1))
        self.age(1.5)
        self.assertEqual(self.clean("--json", "--older-than", "2d", self.dest)["younger"], 1)
        self.assertEqual(len(self.clean("--json", "--older-than", "30h", self.dest)["unused"]), 1)
        found = self.clean("--delete", "--json", self.dest)
        self.assertEqual([one["removed"] for one in found["unused"]], [True])
        self.assertEqual(files(self.dest), [])

    def test_a_seal_that_cannot_be_read_protects_all(self):
        self.seal()
        self.seal()
        self.age()
        before = files(self.dest)
        for damage in (b"", b"junk", b"sealedfs" * 100):
            with open(os.path.join(self.dest, "other.seal"), "wb") as out:
                out.write(damage)
            done = self.clean("--delete", self.dest, expect=NOT_AUTHENTIC)
            self.assert_result(done, NOT_AUTHENTIC, "other.seal", "nothing was removed")
            os.unlink(os.path.join(self.dest, "other.seal"))
            self.assertEqual(files(self.dest), before)

    def test_other_files_are_left_alone(self):
        self.seal()
        names = ("m.gguf.0123456789abcdef.sealed.txt", "m.gguf.0123456789abcde.sealed", ".sealed",
                 "m.gguf.0123456789ABCDEF.sealed", "README")
        for name in names:
            with open(os.path.join(self.dest, name), "wb"):
                pass
        self.age()
        before = files(self.dest)
        self.assertEqual(self.clean("--delete", "--json", self.dest)["unused"], [])
        self.assertEqual(files(self.dest), before)

    def test_s3(self):
        where = self.lab.s3_url("clean/")
        self.seal(where)
        self.seal(where)
        self.assertEqual(self.clean("--json", where)["younger"], 1)
        folder = self.lab.s3.file("clean")
        found = self.clean("--json", "--older-than", "0s", where)["unused"]
        self.assertEqual([one["removed"] for one in found], [False])
        self.assertEqual(len(payloads(folder)), 2)
        self.clean("--delete", "--older-than", "0s", where)
        self.assertEqual(len(payloads(folder)), 1)
        self.lab.sealctl("check", where, "--key-file", self.key, who="operator", expect=OK)

    def test_usage(self):
        for args in ((), ("--older-than", "1", self.dest), ("--older-than", "d", self.dest),
                     ("--older-than", "-1d", self.dest), ("--older-than", "1w", self.dest)):
            self.clean(*args, expect=USAGE)
        self.seal()
        self.clean(os.path.join(self.dest, "m.gguf.seal"), expect=USAGE)
        self.clean(os.path.join(self.dest, "nowhere"), expect=FAILURE)
        for where in (self.lab.path("empty", make=True), self.lab.s3_url("mistyped/"),
                      self.lab.s3_url("clean?versionId=1")):
            self.assertIn("no sealed object in " + where, self.lab.sealctl(
                "clean", where, "--delete", expect=FAILURE).err)


class Keys(common.Case):
    def test_ids_and_no_key(self):
        prefix, key = self.lab.path("acme"), self.lab.path("team.key")
        owner = json.loads(self.lab.sealctl("keygen", "owner", prefix, "--json", expect=OK).out)
        team = json.loads(self.lab.sealctl("keygen", "key-file", key, "--json", expect=OK).out)
        for path, wanted in ((prefix + ".pub", owner["signer_id"]),
                             (prefix + ".pem", owner["signer_id"]), (key, team["key_id"])):
            text = self.lab.sealctl("inspect", path, expect=OK).out
            self.assertRegex(text, f"^[^\n]*key[^\n]*\n  (signer|key) id +{wanted}\n$")
            done = self.lab.sealctl("inspect", "--json", path, expect=OK)
            found, = json.loads(done.out)["objects"]
            self.assertEqual(found["ids"], [wanted])
            with open(path, encoding="ascii") as content:
                secret = content.read().replace("-----BEGIN PUBLIC KEY-----", "").split()
            if not path.endswith(".pub"):
                for word in secret:
                    for piece in (word[-32:], word.rpartition(":")[2][:32]):
                        if len(piece) >= 32:
                            self.assertNotIn(piece, text + json.dumps(found))
        both, other = self.lab.path("both.pub"), self.lab.path("other")
        self.lab.sealctl("keygen", "owner", other, expect=OK)
        with open(both, "wb") as out:
            for name in (prefix + ".pub", other + ".pub"):
                with open(name, "rb") as one:
                    shutil.copyfileobj(one, out)
        self.assertEqual(self.lab.sealctl("inspect", both, expect=OK).out.count("signer id"), 2)

    def test_a_key_that_others_can_read(self):
        key = self.lab.path("open.key")
        self.lab.sealctl("keygen", "key-file", key, expect=OK)
        os.chmod(key, 0o644)
        self.assertNotEqual(self.lab.sealctl("inspect", key).code, OK)


if __name__ == "__main__":
    common.main()
