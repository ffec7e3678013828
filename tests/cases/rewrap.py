#!/usr/bin/python3
"""sealctl rewrap and recipients (tools/rewrap, tools/set, crypto): who comes and goes, in one seal, a
set, a whole place; nothing is lost to another writer, a kill or a lost answer."""

import fcntl
import json
import os
import shutil

import common
import common_set_reader as reader
from common import FAILURE, NOT_AUTHENTIC, OK, REFUSED, UNREACHABLE, USAGE
from common_rewrap import RewrapCase, key_id, key_ids, opens
from common_sealctl import finish, payloads, second_reader, start


class Seals(RewrapCase):
    def test_add_and_drop(self):
        self.model("m.bin")
        self.model("dir/n.bin", 0)
        self.seal()
        before = common.read_bytes(self.seal_of("m.bin"))
        kept = {name: os.stat(os.path.join(self.dest, name)) for name in payloads(self.dest)}
        done = self.rewrap("--key-file", self.a, "--add-key-file", self.b)
        self.assertIn("+ key file " + key_id(self.b), done.out)
        self.assertIn("2 rewrapped", done.out)
        for key in (self.a, self.b):
            self.assertEqual(set(second_reader(self.dest, key, self.plain, self.pub).values()),
                             {"ok"})
        done = self.rewrap("--key-file", self.b, "--drop", key_id(self.a)[:8])
        self.assertIn("only sealing again excludes them", done.err)
        self.assertFalse(opens(self.seal_of("m.bin"), self.a))
        self.assertTrue(opens(self.seal_of("m.bin"), self.b, self.pub))
        self.lab.sealctl("check", self.dest, "--key-file", self.b, "--owner-key", self.pub,
                         expect=OK)
        self.assert_result(self.lab.sealctl("check", self.dest, "--key-file", self.a), REFUSED,
                           "no recipient")
        after = common.read_bytes(self.seal_of("m.bin"))
        self.assertEqual(after[:0x880], before[:0x880], "core and signature")
        for name, was in kept.items():
            now = os.stat(os.path.join(self.dest, name))
            self.assertEqual((now.st_ino, now.st_mtime_ns), (was.st_ino, was.st_mtime_ns), name)

    def test_what_is_done_is_left_alone(self):
        for n in range(5):
            self.model(f"m{n}")
        self.seal()
        os.unlink(os.path.join(self.plain, "m4"))
        self.seal("--key-file", self.c)  # m0 to m3 again, for somebody else
        wish = ("--add-key-file", self.b, "--json")
        found = json.loads(self.rewrap("--key-file", self.a, *wish, expect=REFUSED).out)
        self.assertEqual([found[name] for name in ("rewrapped", "already", "failed", "ok")],
                         [1, 0, 4, False])
        self.assertEqual({each["error"]["exit_code"] for each in found["objects"]
                          if each["result"] == "failed"}, {REFUSED})
        found = json.loads(self.rewrap("--key-file", self.c, *wish).out)
        self.assertEqual([found[name] for name in ("rewrapped", "already", "failed", "ok")],
                         [4, 1, 0, True])
        inodes = [os.stat(self.seal_of(f"m{n}")).st_ino for n in range(5)]
        # Even the wrong key is no hindrance where there is nothing to do.
        found = json.loads(self.rewrap("--key-file", self.a, *wish).out)
        self.assertEqual((found["rewrapped"], found["already"]), (0, 5))
        self.assertEqual([os.stat(self.seal_of(f"m{n}")).st_ino for n in range(5)], inodes)

    def test_what_cannot_be_asked(self):
        self.model("m")
        self.seal()
        before = common.read_bytes(self.seal_of("m"))
        self.assert_result(self.rewrap("--key-file", self.a, "--drop", key_id(self.a),
                                       expect=USAGE), USAGE, "the last recipient")
        for words in (("--key-file", self.a), ("--add-key-file", self.b),
                      ("--key-file", self.a, "--drop", "alias/models"),
                      ("--key-file", self.a, "--drop", key_id(self.b)[:7])):
            self.rewrap(*words, expect=USAGE)
        done = self.rewrap("--key-file", self.a, "--drop", key_id(self.b))
        self.assertIn("no object there has the recipient", done.err)
        for n in range(15):
            self.rewrap("--key-file", self.a, "--add-key-file", self.lab.key_file(f"many{n}"),
                        "-q")
        full = common.read_bytes(self.seal_of("m"))
        self.assertEqual(len(key_ids(self.seal_of("m"))), 16)
        self.assert_result(self.rewrap("--key-file", self.a, "--add-key-file", self.b,
                                       expect=USAGE), USAGE, "at most 16 recipients")
        self.assertEqual(common.read_bytes(self.seal_of("m")), full)
        # In place of another one there is room.
        self.rewrap("--key-file", self.a, "--add-key-file", self.b, "--drop",
                    key_ids(self.seal_of("m"))[1])
        self.assertTrue(opens(self.seal_of("m"), self.b, self.pub))
        self.assertEqual(full[:0x880], before[:0x880])
        self.assertEqual(self.rewrap("--key-file", self.a, "--add-key-file", self.b,
                                     place=self.plain, expect=None).code, FAILURE)

    def test_what_is_damaged_stays_as_it_is(self):
        self.model("m")
        self.seal()
        where = self.seal_of("m")
        raw = common.read_bytes(where)
        for at, words in ((len(raw) - 40, "altered tables"), (0x8A0, "altered slots"),
                          (0x100, "stored under another name"), (0x60, "wrong")):
            bad = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:]
            with open(where, "wb") as out:
                out.write(bad)
            done = self.rewrap("--key-file", self.a, "--add-key-file", self.b,
                               expect=NOT_AUTHENTIC)
            if at != 0x60:
                self.assertIn(words, done.out)
            self.assertEqual(common.read_bytes(where), bad)
        with open(where, "wb") as out:
            out.write(raw)
        stranger = self.lab.owner_key("stranger")[1]
        self.assertIn("unknown signer",
                      self.rewrap("--key-file", self.a, "--add-key-file", self.b, "--owner-key",
                                  stranger, expect=NOT_AUTHENTIC).out)
        self.rewrap("--key-file", self.a, "--add-key-file", self.b, "--owner-key", self.pub)

    def test_who_can_open_what(self):
        self.model("m")
        self.model("n")
        self.seal()
        self.rewrap("--key-file", self.a, "--add-key-file", self.b, place=self.seal_of("n"))
        found = json.loads(self.lab.sealctl("recipients", self.dest, "--json", expect=OK).out)
        self.assertEqual({os.path.basename(each["object"]): [r["id"] for r in each["recipients"]]
                          for each in found["objects"]},
                         {"m.seal": [key_id(self.a)], "n.seal": [key_id(self.a), key_id(self.b)]})
        self.assertEqual({each["id"]: each["objects"] for each in found["recipients"]},
                         {key_id(self.a): 2, key_id(self.b): 1})
        text = self.lab.sealctl("recipients", self.dest, expect=OK).out
        self.assertIn(f"key file {key_id(self.a)}: 2\n", text)
        with open(self.seal_of("m"), "r+b") as out:
            out.truncate(100)
        done = self.lab.sealctl("recipients", self.dest, expect=NOT_AUTHENTIC)
        self.assertIn("m.seal: FAILED", done.out)
        self.assertIn(f"key file {key_id(self.b)}: 1\n", done.out)

    def test_what_cannot_be_read_is_not_done(self):
        for name in "mno":
            self.model(name)
        self.seal()
        aside = os.path.join(self.top, "aside")
        os.rename(self.seal_of("n"), aside)
        os.symlink(aside, self.seal_of("n"))
        os.unlink(self.seal_of("o"))
        os.mkfifo(self.seal_of("o"))
        done = self.rewrap("--key-file", self.a, "--add-key-file", self.b, expect=FAILURE)
        for what in (done, self.lab.sealctl("recipients", self.dest, expect=FAILURE)):
            self.assertRegex(what.out, "n.seal: FAILED: .*it is a symbolic link")
            self.assertRegex(what.out, "o.seal: FAILED: .*it is no regular file")
        self.assertIn("1 rewrapped, 0 had these recipients already, 2 failed", done.out)
        os.unlink(self.seal_of("m"))
        self.assertIn("0 rewrapped, 0 had these recipients already, 2 failed", self.rewrap(
            "--key-file", self.a, "--add-key-file", self.b, expect=FAILURE).out)


class Sets(RewrapCase):
    def setUp(self):
        super().setUp()
        self.model("m")
        self.model("n")

    def set_file(self):
        return os.path.join(self.dest, "sealed.set")

    def test_members_are_opened_by_the_set(self):
        self.seal("--set", "w", "--key-file", self.a)
        before = {name: common.read_bytes(self.seal_of(name)) for name in "mn"}
        header = common.read_bytes(self.set_file())[:0x880]
        done = self.rewrap("--key-file", self.a, "--add-key-file", self.b)
        self.assertIn("1 rewrapped, 2 had", done.out)
        self.assertEqual(reader.read(self.dest, self.b, self.pub)[0], 1)
        self.rewrap("--key-file", self.b, "--drop", key_id(self.a), place=self.set_file())
        self.assertEqual(common.read_bytes(self.set_file())[:0x880], header)
        self.lab.sealctl("set", "check", self.dest, "--key-file", self.b, "--owner-key", self.pub,
                         expect=OK)
        self.assert_result(self.lab.sealctl("set", "check", self.dest, "--key-file", self.a),
                           REFUSED, "no recipient")
        self.assertEqual({name: common.read_bytes(self.seal_of(name)) for name in "mn"}, before)
        self.rewrap("--key-file", self.b, "--drop", key_id(self.b), place=self.set_file(),
                    expect=USAGE)  # nobody would be left
        # A member that is named alone gets a recipient of its own, opened by the set.
        self.rewrap("--key-file", self.b, "--add-key-file", self.c, place=self.seal_of("n"))
        self.assertTrue(opens(self.seal_of("n"), self.c, self.pub))
        found = json.loads(self.lab.sealctl("recipients", self.dest, "--json", expect=OK).out)
        self.assertEqual({each["id"]: (each["objects"], each["through_set"])
                          for each in found["recipients"] if each["type"] == "key-file"},
                         {key_id(self.b): (1, 2), key_id(self.c): (1, 0)})

    def test_members_with_recipients_of_their_own(self):
        self.seal()
        self.lab.sealctl("set", "create", self.dest, "--name", "w", "--key-file", self.a,
                         "--sign", self.pem, expect=OK)
        self.rewrap("--key-file", self.a, "--add-key-file", self.b, "--drop", key_id(self.a))
        for name in "mn":
            self.assertEqual(key_ids(self.seal_of(name)), [])
        self.assertEqual(reader.read(self.dest, self.b, self.pub)[0], 1)
        self.lab.sealctl("check", self.dest, "--key-file", self.b, "--owner-key", self.pub,
                         expect=OK)

    def test_a_pending_seal(self):
        """What a killed writer left would bring a dropped recipient back."""
        self.seal("--set", "w", "--alone", "--key-file", self.a)
        payload, = (name for name in payloads(self.dest) if name.startswith("m."))
        pending = os.path.join(self.dest, payload.rpartition(".")[0] + ".next")
        os.rename(self.seal_of("m"), pending)
        self.rewrap("--key-file", self.a, "--add-key-file", self.b, "--drop", key_id(self.a))
        self.assertEqual(key_ids(pending), [])
        self.lab.sealctl("set", "add", self.dest, "--key-file", self.b, "--sign", self.pem,
                         expect=OK)
        self.assertFalse(os.path.exists(pending))
        self.assertEqual(reader.read(self.dest, self.b, self.pub)[0], 1)


class Writers(RewrapCase):
    """Another writer between reading and writing, held there by the directory's lock."""

    def waits_for_lock(self, child):
        with open("/proc/locks", encoding="ascii") as locks:
            return any("->" in line and f" {child.pid} " in line for line in locks)

    def test_the_later_one_loses(self):
        self.model("m")
        self.model("n")
        self.seal()
        copy = os.path.join(self.top, "other")
        shutil.copytree(self.dest, copy)
        self.rewrap("--key-file", self.a, "--add-key-file", self.b, place=copy)
        folder = os.open(self.dest, os.O_RDONLY)
        self.addCleanup(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_EX)
        child = start(self.lab, "rewrap", self.dest, "--key-file", self.a, "--add-key-file",
                      self.c)
        common.wait_for("the lock", lambda: self.waits_for_lock(child), child)
        os.replace(os.path.join(copy, "m.seal"), self.seal_of("m"))
        fcntl.flock(folder, fcntl.LOCK_UN)
        done = finish(child)
        self.assert_result(done, UNREACHABLE, "m.seal: FAILED: another writer changed it",
                           "run it again", "1 rewrapped, 0 had")
        self.assertEqual(set(key_ids(self.seal_of("m"))), {key_id(self.a), key_id(self.b)})
        self.rewrap("--key-file", self.a, "--add-key-file", self.c)
        for key in (self.a, self.b, self.c):
            self.assertTrue(opens(self.seal_of("m"), key, self.pub))

    def test_many_at_once(self):
        """Whoever loses runs it again; nobody's change is lost."""
        self.model("m")
        self.seal()
        keys = [self.lab.key_file(f"writer{n}") for n in range(6)]
        left = keys
        while left:
            children = [(key, start(self.lab, "rewrap", self.dest, "--key-file", self.a,
                                    "--add-key-file", key)) for key in left]
            done = [(key, finish(child)) for key, child in children]
            self.assertLessEqual({each.code for _, each in done}, {OK, UNREACHABLE},
                                 "".join(each.err for _, each in done))
            self.assertIn(OK, {each.code for _, each in done})
            left = [key for key, each in done if each.code != OK]
        self.assertEqual(set(key_ids(self.seal_of("m"))), {key_id(key) for key in [self.a, *keys]})


if __name__ == "__main__":
    common.main()
