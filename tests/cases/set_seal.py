#!/usr/bin/python3
"""sealctl seal --set (tools, crypto): whole directories and checkouts become a set in one step; what
a second reader finds in it; what is refused before anything is written."""

import json
import os
import subprocess

import common
import common_set_reader as reader
import setformat as st
from common import NOT_AUTHENTIC, OK, USAGE
from common_sealctl import files, tool_digests

REVISION = "0123456789abcdef0123456789abcdef01234567"


class Base(common.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()

    def setUp(self):
        name = self.id().rsplit(".", 1)[1]
        self.dest = self.lab.path(name, "sealed")
        self.plain = self.lab.path(name, "plain", make=True)

    def write(self, path, content):
        where = os.path.join(self.plain, path)
        os.makedirs(os.path.dirname(where), exist_ok=True)
        with open(where, "wb") as out:
            out.write(content)
        return where

    def seal(self, *args, src=None, name="demo", expect=OK, **options):
        return self.lab.sealctl("seal", src or self.plain, self.dest, "--set", name, "--key-file",
                                self.key, "--sign", self.private, *args, expect=expect, **options)

    def read(self):
        return reader.read(self.dest, self.key, self.public)


class Directory(Base):
    def test_a_directory_becomes_a_set(self):
        plain = {"config.json": b"{}", "empty": b"", "sub/a.safetensors": os.urandom(700_000),
                 "sub/deep/b": b"b" * 5000}
        for path, content in plain.items():
            self.write(path, content)
        done = json.loads(self.seal("--json").out)
        self.assertEqual(self.read(), (1, plain))
        self.assertEqual(done["set"]["members"], 4)
        self.assertEqual([s["recipients"][0]["type"] for s in done["sealed"]], ["set"] * 4)
        # Each member has the slot of the set alone, so the key file opens it only through the set.
        seal = os.path.join(self.dest, "config.json.seal")
        self.assertIn("through its set", self.lab.sealctl("check", seal, "--key-file",
                                                          self.key).err)
        self.lab.sealctl("check", self.dest, "--key-file", self.key, "--owner-key", self.public,
                         expect=OK)
        self.lab.sealctl("clean", "--delete", "--older-than", "0s", self.dest, expect=OK)
        self.assertEqual(self.read(), (1, plain))
        # Members that change keep their name; what they replace stays until it is cleaned.
        self.write("config.json", b"{...}")
        self.write("new", b"new")
        self.seal("-q")
        plain.update({"config.json": b"{...}", "new": b"new"})
        self.assertEqual(self.read(), (2, plain))
        self.assertFalse([name for name in files(self.dest) if name.endswith(".next")])
        self.lab.sealctl("clean", "--delete", "--older-than", "0s", self.dest, expect=OK)
        self.assertEqual(len([n for n in files(self.dest) if n.endswith(".sealed")]), 5)
        self.assertEqual(self.read(), (2, plain))

    def test_the_content_digest_needs_the_plaintexts_only(self):
        self.write("b.txt", b"b")
        self.write("a/model.gguf", os.urandom(600_000))
        self.write("a.txt", b"")
        found = {}
        for path in files(self.plain):
            where = os.path.join(self.plain, path)
            found[path] = (os.path.getsize(where), tool_digests(where)["verity"])
        expected = reader.content(found)
        hashed = json.loads(self.lab.sealctl("hash", "--set", "--json", self.plain).out)
        self.assertEqual(hashed["set"], expected)
        self.seal("-q")
        self.assertEqual(reader.open_set(self.dest, self.key).fields["content"].hex(), expected)
        options = ("--pcr", "--json", "--measure", "set", "--owner-key", self.public)
        before = json.loads(self.lab.sealctl("hash", "--set", *options, self.plain).out)
        after = json.loads(self.lab.sealctl("hash", *options, self.dest).out)
        self.assertEqual(before["pcr"], after["pcr"])
        self.assertIn("sha384", before["pcr"]["set"])
        self.seal("-q", "--again")  # other keys and ids, the same content
        again = json.loads(self.lab.sealctl("hash", *options, self.dest).out)
        self.assertEqual(before["pcr"], again["pcr"])

    def test_members_alone(self):
        self.write("m", b"m")
        self.seal("-q", "--alone")
        seal = os.path.join(self.dest, "m.seal")
        self.lab.sealctl("check", seal, "--key-file", self.key, expect=OK)
        self.assertEqual(self.read(), (1, {"m": b"m"}))

    def test_descriptions_are_members(self):
        gguf = self.write("m.gguf", b"GGUF" + bytes(60))
        self.seal("-q", "--ollama-params", "top_k=3", src=gguf)
        found = reader.open_set(self.dest, self.key)
        self.assertEqual([m["path"] for m in found.members], [b"m.gguf", b"m.gguf.ollama"])
        self.assertEqual(found.members[0]["description"], found.members[1]["sha256"])
        self.assertEqual(list(self.read()[1]), ["m.gguf", "m.gguf.ollama"])

    def test_expiry_and_facts(self):
        self.write("m", b"m")
        self.seal("-q", "--expires", "2099-01-01T00:00:00Z")
        self.assertEqual(reader.open_set(self.dest, self.key).fields["expires"], 4070908800)
        self.seal("-q")
        self.assertEqual(reader.open_set(self.dest, self.key).fields["expires"], 4070908800)
        self.seal("-q", "--expires", "never")
        self.assertEqual(reader.open_set(self.dest, self.key).fields["expires"], 0)
        for wrong in ("soon", "0d", "1", "-1d", "9x", "2020-13-01T00:00:00Z"):
            self.seal("--expires", wrong, expect=USAGE)

    def test_refusals_leave_everything_as_it_was(self):
        self.write("m", b"m")
        self.seal("-q")
        before = {n: common.read_bytes(os.path.join(self.dest, n)) for n in files(self.dest)}
        other = self.lab.key_file("other")
        stranger = self.lab.owner_key("stranger")[0]
        base = ("seal", self.plain, self.dest, "--set")
        for words, code, args in (
                ("is the set \"demo\"", USAGE, ("x", "--key-file", self.key, "--sign",
                                                self.private)),
                ("is signed", USAGE, ("demo", "--key-file", self.key)),
                ("unknown signer", NOT_AUTHENTIC, ("demo", "--key-file", self.key, "--sign",
                                                   stranger)),
                ("no recipient", common.REFUSED, ("demo", "--key-file", other, "--sign",
                                                  self.private)),
                ("is no recipient of the set", USAGE, (
                    "demo", "--key-file", self.key, "--key-file", other, "--sign",
                    self.private))):
            done = self.lab.sealctl(*base, *args, expect=code)
            self.assertIn(words, done.err)
        self.assertEqual(before, {n: common.read_bytes(os.path.join(self.dest, n))
                                  for n in files(self.dest)})

    def test_a_failure_removes_what_was_sealed(self):
        self.write("a", b"a")
        self.seal("-q")
        before = files(self.dest)
        self.write("a", b"changed")
        self.write("b", b"b")
        self.write("d", b"x")
        os.makedirs(os.path.join(self.dest, "d.seal"))
        self.seal("-q", expect=common.FAILURE)
        self.assertEqual(files(self.dest), before)
        self.assertEqual(self.read(), (1, {"a": b"a"}))


class Unchanged(Base):
    """What the set has already is not sealed again."""

    PLAIN = {"a": b"a" * 700_000, "dir/b": b"bb", "empty": b""}

    def setUp(self):
        super().setUp()
        for path, content in self.PLAIN.items():
            self.write(path, content)
        self.seal("-q")
        self.before = self.objects()

    def objects(self):
        """What identifies each object and its content."""
        return {name: (os.stat(os.path.join(self.dest, name)).st_ino,
                       common.read_bytes(os.path.join(self.dest, name))) for name in files(self.dest)}

    def sealed(self, *args, unchanged):
        done = json.loads(self.seal("--json", *args).out)
        self.assertEqual(done["unchanged"], unchanged)
        return sorted(each["name"] for each in done["sealed"])

    def test_nothing_changed(self):
        done = self.seal()
        self.assertIn("3 members are unchanged and not sealed again", done.out)
        found = json.loads(self.lab.sealctl("set", "list", "--json", self.dest, expect=OK).out)
        self.assertTrue(done.out.endswith(f"sealed.set: version 1, id {found['id']}\n"), done.out)
        self.assertEqual(self.objects(), self.before)
        self.assertEqual(self.sealed(unchanged=3), [])
        self.assertEqual(self.objects(), self.before)

    def test_what_changed_is_sealed(self):
        self.write("dir/b", b"BB")
        self.write("new", b"new")
        self.assertEqual(self.sealed(unchanged=2), ["dir/b", "new"])
        self.assertEqual(self.read(), (2, {**self.PLAIN, "dir/b": b"BB", "new": b"new"}))
        after = self.objects()
        self.assertEqual({n: after[n] for n in after if n[0] in "ae"},
                         {n: self.before[n] for n in self.before if n[0] in "ae"})
        self.assertIn("4 members are unchanged", self.seal("--expires", "9d").out)
        self.assertEqual(self.read()[0], 3)

    def test_a_set_that_is_gone(self):
        """Somebody removed it: what is made then is another one, and it says so."""
        os.unlink(os.path.join(self.dest, "sealed.set"))
        self.assertIn("sealed.set: a new set, version 1, id ", self.seal().out)

    def test_all_when_told(self):
        self.assertEqual(self.sealed("--again", unchanged=0), sorted(self.PLAIN))
        self.assertEqual(self.read(), (2, self.PLAIN))
        self.lab.sealctl("seal", self.plain, self.dest, "--key-file", self.key, "--again", expect=USAGE)

    def test_what_is_not_there_any_more(self):
        payload, = (name for name in files(self.dest) if name.startswith("a.") and name.endswith(".sealed"))
        os.unlink(os.path.join(self.dest, payload))
        os.unlink(os.path.join(self.dest, "empty.seal"))
        done = self.seal("--json")
        self.assertIn('"a" is sealed again: ', done.err)
        self.assertEqual(json.loads(done.out)["unchanged"], 1)
        self.assertEqual(self.read(), (2, self.PLAIN))
        payload, = (name for name in files(self.dest) if name.startswith("a.") and name.endswith(".sealed"))
        os.truncate(os.path.join(self.dest, payload), 5)
        self.assertEqual(self.sealed(unchanged=2), ["a"])
        self.assertEqual(self.read(), (3, self.PLAIN))

    def test_another_seal_in_its_place(self):
        other = self.lab.path("other-place")
        self.lab.seal(self.plain, other, "--key-file", self.key, "--sign", self.private, "-q")
        for name in ("dir/b.seal",):
            os.replace(os.path.join(other, name), os.path.join(self.dest, name))
        self.assertEqual(self.sealed(unchanged=2), ["dir/b"])

    def test_alone(self):
        self.assertEqual(self.sealed("--alone", unchanged=0), sorted(self.PLAIN))
        self.assertEqual(self.sealed("--alone", unchanged=3), [])
        self.assertEqual(self.read(), (2, self.PLAIN))

    def test_a_pipe_and_other_facts(self):
        done = self.lab.run(common.SEALCTL, "seal", "-", self.dest, "--name", "dir/b", "--set", "demo",
                            "--key-file", self.key, "--sign", self.private, "--json", stdin=b"bb")
        self.assertEqual((done.code, json.loads(done.out)["unchanged"]), (OK, 0), done.err)
        self.assertEqual(self.read()[0], 2)
        self.write(".git/HEAD", REVISION.encode() + b"\n")
        self.assertEqual(self.sealed(unchanged=3), [])
        self.assertEqual(self.read()[0], 3)
        self.assertIn(REVISION.encode(), reader.open_set(self.dest, self.key).facts)
        self.assertEqual(self.sealed(unchanged=3), [])
        self.assertEqual(self.read()[0], 3)


class Checkouts(Base):
    def test_a_snapshot_of_the_cache(self):
        cache = self.lab.path("hub", "models--acme--tiny", make=True)
        for name, content in (("aa", b"weights"), ("bb", b"{}")):
            os.makedirs(os.path.join(cache, "blobs"), exist_ok=True)
            self.write(os.path.join(cache, "blobs", name), content)
        snapshot = os.path.join(cache, "snapshots", REVISION)
        os.makedirs(os.path.join(snapshot, "sub"))
        os.symlink("../../blobs/aa", os.path.join(snapshot, "model.safetensors"))
        os.symlink("../../../blobs/bb", os.path.join(snapshot, "sub", "config.json"))
        self.seal("-q", src=snapshot)
        self.assertEqual(self.read()[1], {"model.safetensors": b"weights",
                                          "sub/config.json": b"{}"})
        self.assertEqual(reader.open_set(self.dest, self.key).facts.decode().split(),
                         ["origin.repository=acme/tiny", "origin.revision=" + REVISION])
        # Elsewhere it does not lead.
        os.symlink("/etc/passwd", os.path.join(snapshot, "passwd"))
        done = self.seal(src=snapshot, expect=USAGE)
        self.assertIn("leads out of the directory", done.err)

    def test_a_git_checkout(self):
        self.write(".git/HEAD", b"ref: refs/heads/main\n")
        self.write(".git/refs/heads/main", REVISION.encode() + b"\n")
        self.write(".gitattributes", b"*.bin filter=lfs\n")
        self.write("model.bin", b"weights")
        self.seal("-q")
        self.assertEqual(sorted(self.read()[1]), [".gitattributes", "model.bin"])
        self.assertEqual(reader.open_set(self.dest, self.key).facts,
                         b"origin.revision=" + REVISION.encode() + b"\n")

    def test_a_download(self):
        self.write("model.bin", b"weights")
        self.write(".cache/huggingface/download/model.bin.metadata",
                   REVISION.encode() + b"\netag\n1.0\n")
        self.seal("-q")
        self.assertEqual(list(self.read()[1]), ["model.bin"])
        self.assertIn(REVISION.encode(), reader.open_set(self.dest, self.key).facts)
        self.seal("-q", "--no-facts")

    def test_a_pointer_is_refused(self):
        self.write("model.bin", b"version https://git-lfs.github.com/spec/v1\n"
                                b"oid sha256:" + b"0" * 64 + b"\nsize 12345\n")
        done = self.seal(expect=USAGE)
        self.assertIn("is a pointer of git-LFS", done.err)
        self.assertFalse(os.path.exists(self.dest))

    def test_shards_are_complete(self):
        for k in (1, 3):
            self.write(f"m-0000{k}-of-00003.gguf", b"GGUF" + bytes(60))
        done = self.seal(expect=USAGE)
        self.assertIn("m-00002-of-00003.gguf is missing", done.err)
        self.write("m-00002-of-00003.gguf", b"GGUF" + bytes(60))
        self.seal("-q")
        done = self.lab.sealctl("set", "remove", self.dest, "m-00002-of-00003.gguf", "--key-file",
                                self.key, "--sign", self.private, expect=USAGE)
        self.assertIn("is one of 3 shards", done.err)
        self.assertEqual(self.read()[0], 1)


class Mounted(Base):
    def mounted(self, expected):
        with self.lab.mount(self.dest, "measure=none", "attest=none", "key-file=" + self.key,
                            "owner-key=" + self.public) as mount:
            found = {path: common.read_bytes(mount.join(path)) for path in files(mount.path)
                     if not path.startswith(".sealedfs")}
        self.assertEqual(found, expected)

    def test_a_mount_shows_the_set(self):
        plain = {"a": b"old", "sub/b": os.urandom(600_000)}
        for path, content in plain.items():
            self.write(path, content)
        self.seal("-q")
        self.mounted(plain)
        # As a writer leaves it that dies right after the set was written.
        old = common.read_bytes(os.path.join(self.dest, "a.seal"))
        self.write("a", b"new")
        self.seal("-q")
        seal = os.path.join(self.dest, "a.seal")
        (member,) = [m for m in reader.open_set(self.dest, self.key).members
                     if m["path"] == b"a"]
        os.rename(seal, os.path.join(self.dest, st.pending_name("a", member["file_id"])))
        with open(seal, "wb") as out:
            out.write(old)
        self.mounted(dict(plain, a=b"new"))
        self.lab.sealctl("set", "check", self.dest, expect=OK)
        unused = json.loads(self.lab.sealctl("check", self.dest, "--key-file", self.key, "--json",
                                             expect=OK).out)["unused_payloads"]
        self.assertEqual([name for name in unused if "/a." in name], [])
        # Nothing that waits is cleaned away; the next writer puts it in its place.
        self.lab.sealctl("clean", "--delete", "--older-than", "0s", self.dest, expect=OK)
        self.mounted(dict(plain, a=b"new"))
        self.lab.sealctl("set", "add", self.dest, "--key-file", self.key, "--sign", self.private,
                         expect=OK)
        self.assertFalse([name for name in files(self.dest) if name.endswith(".next")])
        self.mounted(dict(plain, a=b"new"))


class Kms(common.Case):
    PARTS = ("tpm", "kms", "s3")

    def test_one_call_for_any_number_of_members(self):
        plain = self.lab.path("kms-plain", make=True)
        for n in range(30):
            common.make_model(os.path.join(plain, f"shard-{n:02}"), 10, n)
        self.lab.kms.clear_log()
        where = self.lab.s3_url("kms/")
        key = self.lab.kms.key("alias/set")
        self.lab.sealctl("seal", plain, where, "--set", "k", "--kms-key", key, "-q", expect=OK)
        self.assertEqual([call["operation"] for call in self.lab.kms.log()],
                         ["GenerateDataKey"], self.lab.kms.log())
        self.lab.sealctl("check", where, "--kms", expect=OK)


if __name__ == "__main__":
    common.main()
