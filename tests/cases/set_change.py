#!/usr/bin/python3
"""sealctl set (tools, crypto): create, add, remove, list, check, diff on what is sealed
already; each exchange, removal, addition, rollback, mix and splice has its own sentence."""

import json
import os
import shutil
import time

import common
import common_set_reader as reader
from common import NOT_AUTHENTIC, OK, REFUSED, USAGE
from common_sealctl import files, payloads


class Base(common.Case):
    PARTS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()

    def setUp(self):
        name = self.id().rsplit(".", 1)[1]
        self.top = self.lab.path(name, make=True)
        self.dest = os.path.join(self.top, "sealed")
        self.plain = os.path.join(self.top, "plain")

    def write(self, path, content):
        where = os.path.join(self.plain, path)
        os.makedirs(os.path.dirname(where), exist_ok=True)
        with open(where, "wb") as out:
            out.write(content)
        return where

    def seal_alone(self, **plain):
        """Models with slots of their own, in no set."""
        for path, content in plain.items():
            self.write(path, content)
        self.lab.seal(self.plain, self.dest, "--key-file", self.key, "--sign", self.private, "-q")

    def set(self, command, *args, expect=OK, dest=None):
        keys = () if command in ("list", "diff") else ("--key-file", self.key)
        sign = ("--sign", self.private) if command in ("create", "add", "remove") else ()
        return self.lab.sealctl("set", command, dest or self.dest, *args, *keys, *sign,
                                expect=expect)

    def read(self, dest=None):
        return reader.read(dest or self.dest, self.key, self.public)


class Changes(Base):
    def test_create_add_remove(self):
        self.seal_alone(a=b"a", b=b"b")
        before = {name: os.stat(os.path.join(self.dest, name)).st_mtime_ns
                  for name in payloads(self.dest)}
        self.set("create", "--name", "w")
        self.assertEqual(self.read(), (1, {"a": b"a", "b": b"b"}))
        self.assertIn("there is a set already", self.set("create", "--name", "w", expect=1).err)
        self.assertIn("member already", self.set("add").err)
        time.sleep(1.1)  # the time of sealing is in seconds
        self.seal_alone(c=b"c")  # also seals a and b again
        self.assertIn("newer than", self.set("check", expect=NOT_AUTHENTIC).err)
        self.set("add")
        self.assertEqual(self.read(), (2, {"a": b"a", "b": b"b", "c": b"c"}))
        self.set("remove", "b", "--delete")
        self.assertEqual(self.read(), (3, {"a": b"a", "c": b"c"}))
        self.assertNotIn("b.seal", files(self.dest))
        self.set("remove", "a")
        self.assertIn("a.seal", files(self.dest))
        self.assertIn("has no member \"a\"", self.set("remove", "a", expect=1).err)
        self.assertIn("no member left", self.set("remove", "c", expect=USAGE).err)
        self.set("add", "a")
        self.assertEqual(self.read()[0], 5)
        self.assertIn("no such", self.lab.sealctl("set", "add", self.dest, "x", "--key-file",
                                                  self.key, "--sign", self.private).err.lower())
        kept = {name: at for name, at in before.items() if name in payloads(self.dest)}
        self.assertEqual(kept, {name: os.stat(os.path.join(self.dest, name)).st_mtime_ns
                                for name in kept}, "a payload was touched")

    def test_members_stay_readable_alone(self):
        self.seal_alone(a=b"a")
        self.set("create", "--name", "w")
        self.lab.sealctl("check", os.path.join(self.dest, "a.seal"), "--key-file", self.key,
                         "--owner-key", self.public, expect=OK)

    def test_a_new_key(self):
        self.seal_alone(a=b"a")
        self.set("create", "--name", "w")
        old = reader.open_set(self.dest, self.key)
        self.set("create", "--name", "w2", "--replace")
        new = reader.open_set(self.dest, self.key)
        self.assertNotEqual(old.member_key, new.member_key)
        self.assertEqual((new.fields["version"], new.name), (1, b"w2"))
        self.assertEqual(self.read(), (1, {"a": b"a"}))

    def test_diff(self):
        self.seal_alone(a=b"a", b=b"b")
        self.set("create", "--name", "w")
        copy = self.dest + "-old"
        shutil.copytree(self.dest, copy)
        self.assertEqual(self.set("diff", copy).out, "")
        self.write("c", b"c")
        self.seal_alone(b=b"B")
        self.set("add")
        self.set("remove", "a")
        done = self.set("diff", self.dest, dest=copy, expect=REFUSED)
        self.assertEqual(done.out.split(), ["removed", "a", "changed", "b", "added", "c"])

    def test_what_is_shown(self):
        self.seal_alone(**{"x": b"xyz"})
        self.set("create", "--name", "named", "--expires", "30d")
        done = json.loads(self.set("list", "--json").out)
        self.assertEqual((done["name"], done["version"], done["members"]), ("named", 1, 1))
        self.assertEqual(done["list"][0]["path"], "x")
        self.assertGreater(done["expires_at"], done["created_at"] + 29 * 86400)
        shown = self.lab.sealctl("inspect", os.path.join(self.dest, "sealed.set"), expect=OK).out
        self.assertIn("named", shown)
        self.assertIn(done["content"], shown)
        for args in ((), ("what",), ("list",), ("diff", self.dest), ("remove", self.dest)):
            self.lab.sealctl("set", *args, expect=USAGE)
        self.assertIn("there is no set", self.lab.sealctl("set", "list", self.plain).err)


class Attacks(Base):
    """What somebody does who can write the directory."""

    def setUp(self):
        super().setUp()
        self.seal_alone(a=b"one", b=b"two")
        self.set("create", "--name", "w")
        self.old = self.dest + "-old"
        shutil.copytree(self.dest, self.old)

    def path(self, name, where=None):
        return os.path.join(where or self.dest, name)

    def refused(self, words, code=NOT_AUTHENTIC, *args):
        """By the set's own check, and by the check of everything."""
        done = self.set("check", "--owner-key", self.public, *args, expect=code)
        self.assertIn(words, done.out + done.err)
        if not args:
            both = self.lab.sealctl("check", self.dest, "--owner-key", self.public, "--key-file",
                                    self.key, expect=code)
            self.assertIn(words, both.out)

    def test_untouched(self):
        self.set("check", "--owner-key", self.public)

    def test_exchange(self):
        a, b = (common.read_bytes(self.path(n + ".seal")) for n in "ab")
        for name, content in (("a", b), ("b", a)):
            with open(self.path(name + ".seal"), "wb") as out:
                out.write(content)
        self.refused("it is the seal of the model \"b\"")

    def test_a_pending_seal_that_no_writer_made(self):
        good = common.read_bytes(self.path("a.seal"))
        payload, = (name for name in payloads(self.dest) if name.startswith("a."))
        pending = self.path(payload.rpartition(".")[0] + ".next")
        for content in (b"anything", common.read_bytes(self.path("b.seal"))):
            with open(pending, "wb") as out:
                out.write(content)
            done = self.set("add", expect=NOT_AUTHENTIC)
            self.assertIn(os.path.basename(pending), done.err)
            self.assertEqual(common.read_bytes(self.path("a.seal")), good)
        with open(pending, "wb") as out:
            out.write(good)
        self.set("add")
        self.assertFalse(os.path.exists(pending))
        self.assertEqual(self.read(), (1, {"a": b"one", "b": b"two"}))

    def test_removal(self):
        os.unlink(self.path("a.seal"))
        self.refused("version 1 names \"a\", and its seal is not there")

    def test_removed_payload(self):
        os.unlink(self.path(payloads(self.dest)[0]))
        self.refused("is missing", common.FAILURE)

    def test_addition(self):
        extra = os.path.join(self.top, "extra")
        os.mkdir(extra)
        common.make_model(os.path.join(extra, "evil"), 10)
        self.lab.seal(os.path.join(extra, "evil"), self.dest, "--key-file", self.key, "--sign",
                      self.private, "-q")
        self.refused("is sealed here, and version 1 of the set does not name it", REFUSED)

    def newer(self):
        self.seal_alone(a=b"ONE")
        self.set("add")

    def test_a_newer_member_in_an_old_set(self):
        self.newer()
        shutil.copy(self.path("sealed.set", self.old), self.dest)
        self.refused("it is another sealing of the model")

    def test_an_older_member_in_a_new_set(self):
        self.newer()
        for name in files(self.old):
            if name.startswith("a."):
                shutil.copy(self.path(name, self.old), self.dest)
        self.refused("not the one of version 2")

    def test_the_whole_old_set(self):
        self.newer()
        shutil.rmtree(self.dest)
        shutil.copytree(self.old, self.dest)
        self.set("check", "--owner-key", self.public)  # it is a right set, only an old one
        self.refused("an older set was put back", NOT_AUTHENTIC, "--min-version", "2")
        self.set("add", "--min-version", "2", expect=NOT_AUTHENTIC)

    def test_splice_of_two_sets_of_one_owner(self):
        other = os.path.join(self.top, "other")
        self.lab.seal(self.plain, other, "--set", "other", "--key-file", self.key, "--sign",
                      self.private, "-q")
        for name in files(other):
            if name.startswith("a."):
                shutil.copy(self.path(name, other), self.dest)
        self.refused("it belongs to another set")

    def test_another_owner(self):
        stranger = self.lab.owner_key("stranger-" + self.id().rsplit(".", 1)[1])[0]
        self.lab.sealctl("set", "create", self.dest, "--name", "w", "--replace", "--key-file",
                         self.key, "--sign", stranger, expect=NOT_AUTHENTIC)
        shutil.rmtree(self.dest)
        self.lab.seal(self.plain, self.dest, "--set", "w", "--key-file", self.key, "--sign",
                      stranger, "-q")
        self.refused("which is not a pinned owner key")
        # Nobody's data keys go to a set that somebody else put there.
        self.assertIn("unknown signer", self.set("add", expect=NOT_AUTHENTIC).err)

    def test_expired(self):
        self.set("add", "--expires", "2099-01-01T00:00:00Z")
        self.set("check")
        done = self.lab.run(common.SEALCTL, "set", "add", self.dest, "--expires",
                            "2020-01-02T00:00:00Z", "--key-file", self.key, "--sign",
                            self.private, extra={"SOURCE_DATE_EPOCH": "1577836800"})
        self.assertEqual(done.code, OK, done.err)
        self.refused("the set has expired", REFUSED)

    def test_every_byte_of_the_head(self):
        """Bits: tests/unit/crypto/test_set.c."""
        where = self.path("sealed.set")
        raw = common.read_bytes(where)
        for at in range(0, len(raw), 97):
            with open(where, "wb") as out:
                out.write(raw[:at] + bytes([raw[at] ^ 0x40]) + raw[at + 1:])
            self.set("check", "--owner-key", self.public, expect=NOT_AUTHENTIC)


class S3(Base):
    PARTS = ("s3",)

    def test_a_recipient_moves_little(self):
        for n in range(30):
            common.make_model(self.write(f"model-{n:05}-of-00030.safetensors", b""), 1000, n)
        where = self.lab.s3_url("little/")
        self.lab.seal(self.plain, where, "--set", "w", "--key-file", self.key, "--sign",
                      self.private, "-q")
        other = self.lab.key_file("second")
        self.lab.s3.clear_log()
        self.lab.sealctl("rewrap", where + "sealed.set", "--key-file", self.key,
                         "--add-key-file", other, expect=OK)
        moved = sum(e.get("bytes", 0) + e.get("received", 0) for e in self.lab.s3.log())
        self.assertLess(moved, 100_000)
        self.assertGreater(moved, 10_000)
        self.assertEqual([e["method"] for e in self.lab.s3.log()].count("PUT"), 1)
        self.lab.sealctl("check", where, "--key-file", other, expect=OK)


if __name__ == "__main__":
    common.main()
