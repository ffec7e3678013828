#!/usr/bin/python3
"""What writers of sets have seen (tools/set, crypto, fs/models): --set-state, --set-id and --min-version
refuse an older set, one that was replaced, another one and none, before anything is written; a mount
that shares the file, or pins the id, does, too."""

import fcntl
import json
import os
import re
import shutil
import signal

import common
import common_set_reader as reader
from common import FAILURE, NOT_AUTHENTIC, OK, USAGE
from common_sealctl import ended_by, files, finish, start


class Base(common.Case):
    PARTS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()

    def setUp(self):
        self.top = self.lab.path(self.id().rsplit(".", 1)[1], make=True)
        self.dest = os.path.join(self.top, "sealed")
        self.state = os.path.join(self.top, "state")

    def plain(self, **models):
        folder = os.path.join(self.top, "plain")
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        for path, content in models.items():
            with open(os.path.join(folder, path), "wb") as out:
                out.write(content)
        return folder

    def seal(self, *args, expect=OK, **models):
        return self.lab.sealctl("seal", self.plain(**models), self.dest, "--set", "w", "--key-file",
                                self.key, "--sign", self.private, *args, expect=expect)

    def set(self, command, *args, expect=OK, sign=True):
        return self.lab.sealctl("set", command, self.dest, *args, "--key-file", self.key,
                                *(("--sign", self.private) if sign else ()), expect=expect)

    def list(self):
        return json.loads(self.lab.sealctl("set", "list", "--json", self.dest, expect=OK).out)

    def save(self):
        copy = os.path.join(self.top, "copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.dest, copy)

    def put_back(self):
        """What somebody does who can write the place."""
        for name in files(self.dest):
            os.unlink(os.path.join(self.dest, name))
        shutil.copytree(os.path.join(self.top, "copy"), self.dest, dirs_exist_ok=True)

    def read(self):
        return reader.read(self.dest, self.key, self.public)

    def mount_refused(self, code, *words, options):
        self.assert_result(self.lab.mount_fails(
            self.dest, "key-file=" + self.key, "owner-key=" + self.public, "attest=none",
            "measure=none", *options), code, *words)

    def each_writer_refuses(self, code, words, *pins):
        """Every command that would write the set's next version, and those that only look."""
        before = files(self.dest)
        for done in (self.seal("-q", *pins, more=b"more", expect=code),
                     self.set("add", *pins, expect=code),
                     self.set("remove", "a", *pins, expect=code),
                     self.set("check", *pins, sign=False, expect=code),
                     self.lab.sealctl("set", "list", self.dest, "--owner-key", self.public, *pins,
                                      expect=code)):
            self.assertIn(words, done.err)
        self.assertEqual(files(self.dest), before)


class Replaced(Base):
    """The former set is put back after set create --replace: its key may be known to who was dropped."""

    def setUp(self):
        super().setUp()
        self.seal("-q", "--alone", "--set-state", self.state, a=b"a", b=b"b")
        self.old = self.list()["id"]
        self.save()
        self.seal("-q", "--alone", "--set-state", self.state, a=b"a", b=b"b")
        self.set("create", "--name", "w", "--replace", "--set-state", self.state)
        self.new = self.list()["id"]
        self.assertNotEqual(self.old, self.new)

    def test_what_happens_without_pins(self):
        """As the manual says."""
        self.put_back()
        self.seal("-q", more=b"more")
        self.assertEqual((self.list()["id"], self.read()[0]), (self.old, 2))

    def test_a_state_file(self):
        self.assertEqual([line.split()[1] for line in sorted(
            common.read_text(self.state).splitlines()[1:], key=lambda line: line.split()[1])],
            ["1", "replaced"])
        self.seal("-q", "--set-state", self.state, more=b"more")
        self.assertEqual((self.list()["id"], self.read()[0]), (self.new, 2))
        self.put_back()
        self.each_writer_refuses(NOT_AUTHENTIC, "its owner replaced it by the set " + self.new,
                                 "--set-state", self.state)
        self.mount_refused(NOT_AUTHENTIC, "an older set was put back", "its owner replaced it",
                           options=("set-state=" + self.state,))

    def test_an_id(self):
        self.put_back()
        self.each_writer_refuses(NOT_AUTHENTIC, f"its id is {self.old}, and {self.new} is required",
                                 "--set-id", self.new)
        self.mount_refused(NOT_AUTHENTIC, "it is another set", self.old,
                           options=("set-id=" + self.new,))

    def test_a_reload(self):
        with self.lab.mount(self.dest, "key-file=" + self.key, "attest=none", "measure=none",
                            "set-id=" + self.new) as mount:
            self.assertEqual(common.read_bytes(mount.join("a")), b"a")
            self.put_back()
            done = self.lab.run(common.SEALEDFS, "--reload", mount.path)
            self.assert_result(done, FAILURE, "it is another set", self.old)
            self.assertEqual(sorted(n for n in os.listdir(mount.path) if len(n) == 1), ["a", "b"])

    def test_replace_says_what_it_replaces(self):
        self.set("create", "--name", "w", "--replace", "--set-id", self.old, expect=NOT_AUTHENTIC)
        self.assertEqual(self.list()["id"], self.new)
        done = self.set("create", "--name", "w", "--replace", "--set-id", self.new)
        self.assertIn("id " + self.list()["id"], done.out)

    def test_what_was_put_back_is_not_replaced(self):
        """The new set would be made of what somebody put there."""
        self.put_back()
        done = self.set("create", "--name", "w", "--replace", "--set-state", self.state, expect=NOT_AUTHENTIC)
        self.assertIn("its owner replaced it by the set " + self.new, done.err)
        os.unlink(os.path.join(self.dest, "sealed.set"))
        self.set("create", "--name", "w", "--set-state", self.state)

    def test_a_stranger_cannot_have_a_set_marked_as_replaced(self):
        """By putting it where the owner makes another."""
        stranger, public = self.lab.owner_key("stranger")
        other = os.path.join(self.top, "other")
        self.lab.seal(self.plain(x=b"x"), other, "--set", "x", "--key-file", self.key, "--sign",
                      stranger, "-q")
        shutil.copy(os.path.join(other, "sealed.set"), self.dest)
        self.set("create", "--name", "w", "--replace", "--set-state", self.state)
        self.lab.sealctl("set", "list", other, "--owner-key", public, "--set-state", self.state,
                         expect=OK)


class Older(Base):
    def setUp(self):
        super().setUp()
        self.seal("-q", "--set-state", self.state, a=b"a", b=b"b")
        self.save()

    def test_versions_that_were_written(self):
        self.seal("-q", "--set-state", self.state, a=b"A")
        self.put_back()
        self.each_writer_refuses(NOT_AUTHENTIC, "it has version 1, and " + self.state
                                 + " has seen version 2", "--set-state", self.state)
        self.each_writer_refuses(NOT_AUTHENTIC, "version 2 has been seen", "--min-version", "2")
        self.mount_refused(NOT_AUTHENTIC, "has seen version 2", options=("set-state=" + self.state,))

    def test_versions_that_were_only_seen(self):
        self.seal("-q", a=b"A")
        self.set("check", "--set-state", self.state, sign=False)
        self.put_back()
        self.each_writer_refuses(NOT_AUTHENTIC, "has seen version 2", "--set-state", self.state)

    def test_versions_that_a_mount_has_seen(self):
        self.seal("-q", a=b"A")
        with self.lab.mount(self.dest, "key-file=" + self.key, "attest=none", "measure=none",
                            "set-state=" + self.state):
            pass
        self.put_back()
        self.each_writer_refuses(NOT_AUTHENTIC, "has seen version 2", "--set-state", self.state)

    def test_two_contents_of_one_version(self):
        self.seal("-q", "--set-state", self.state, a=b"A")
        self.put_back()
        self.seal("-q", a=b"other")
        self.each_writer_refuses(NOT_AUTHENTIC, "has another content", "--set-state", self.state)

    def test_another_set_of_the_same_owner(self):
        mine = self.list()["id"]
        other = os.path.join(self.top, "other")
        self.lab.seal(self.plain(a=b"evil"), other, "--set", "w", "--key-file", self.key, "--sign",
                      self.private, "-q")
        shutil.rmtree(self.dest)
        shutil.copytree(other, self.dest)
        self.each_writer_refuses(NOT_AUTHENTIC, "it is another set", "--set-id", mine)
        self.mount_refused(NOT_AUTHENTIC, "it is another set", options=("set-id=" + mine,))

    def test_no_set_any_more(self):
        mine = self.list()["id"]
        os.unlink(os.path.join(self.dest, "sealed.set"))
        for pins in (("--set-id", mine), ("--min-version", "1")):
            self.each_writer_refuses(FAILURE, "there is no set", *pins)
        self.mount_refused(FAILURE, "there is no set", options=("set-id=" + mine,))

    def test_what_is_no_pin(self):
        for pins in (("--set-id", "00"), ("--set-id", "x" * 64), ("--min-version", "-1"),
                     ("--min-version", "x"), ("--min-version", "9223372036854775808")):
            self.each_writer_refuses(USAGE, pins[0] + " " + pins[1], *pins)
        self.lab.sealctl("seal", self.plain(a=b"a"), self.dest, "--key-file", self.key,
                         "--set-state", self.state, expect=USAGE)

    def test_nothing_is_recorded_of_what_nobody_vouches_for(self):
        before = common.read_text(self.state)
        where = os.path.join(self.dest, "sealed.set")
        raw = bytearray(common.read_bytes(where))
        raw[0x37] = 0x7f  # the version
        with open(where, "wb") as out:
            out.write(raw)
        self.assertIn("--set-state needs", self.lab.sealctl(
            "set", "list", self.dest, "--set-state", self.state, expect=USAGE).err)
        self.each_writer_refuses(NOT_AUTHENTIC, "sealed.set", "--set-state", self.state)
        self.assertEqual(common.read_text(self.state), before)

    def test_what_is_no_file(self):
        self.state = os.path.join(self.top, "no-file")
        for make in (os.mkfifo, os.mkdir, common.make_socket):
            make(self.state)
            self.each_writer_refuses(USAGE, "it is not a regular file", "--set-state", self.state)
            (os.rmdir if make is os.mkdir else os.unlink)(self.state)

    def test_a_state_file_that_cannot_be_used(self):
        os.chmod(self.state, 0o666)
        self.each_writer_refuses(USAGE, "can be changed by other users", "--set-state", self.state)
        # Before anything is sealed, also where there is no set yet.
        self.dest = os.path.join(self.top, "fresh")
        self.assertIn("can be changed", self.seal("-q", "--set-state", self.state, a=b"a",
                                                  expect=USAGE).err)
        self.assertEqual(files(self.dest), [])
        self.assertIn("cannot open its folder", self.seal(
            "-q", "--set-state", os.path.join(self.top, "none", "state"), a=b"a",
            expect=FAILURE).err)
        self.assertEqual(files(self.dest), [])


class Together(Base):
    def test_who_waits_for_the_file_can_be_stopped(self):
        """One signal suffices: nothing is going on that must be undone."""
        self.seal("-q", "--set-state", self.state, a=b"a")
        folder, name = os.path.split(self.state)
        with open(os.path.join(folder, f".{name}.lock"), "wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            for number in (signal.SIGTERM, signal.SIGINT):
                child = start(self.lab, "set", "list", self.dest, "--owner-key", self.public,
                              "--set-state", self.state)
                common.wait_for("waiting for the lock", lambda pid=child.pid: re.search(
                    rf"-> FLOCK .* {pid} ", common.read_text("/proc/locks")), child)
                child.send_signal(number)
                child.communicate(timeout=120)
                self.assertEqual(child.returncode, ended_by(number))

    def test_writers_share_a_file(self):
        """None takes the other's newer version for an attack."""
        children = []
        for n in range(6):
            folder = os.path.join(self.top, f"w{n}")
            os.mkdir(folder)
            with open(os.path.join(folder, f"m{n}"), "wb") as out:
                out.write(b"%d" % n)
            children.append(start(self.lab, "seal", folder, self.dest, "--set", "w", "--key-file",
                                  self.key, "--sign", self.private, "-q", "--set-state",
                                  self.state))
        done = [finish(child) for child in children]
        self.assertEqual([each.code for each in done], [OK] * 6, "".join(d.err for d in done))
        self.assertEqual(self.read(), (6, {f"m{n}": b"%d" % n for n in range(6)}))
        self.assertEqual([line.split()[1] for line in
                          common.read_text(self.state).splitlines()[1:]], ["6"])

    def test_a_set_that_is_replaced_meanwhile(self):
        """A writer never moves its models into another set than the one it began with."""
        self.seal("-q", "--alone", a=b"a")
        os.mkfifo(pipe := os.path.join(self.top, "pipe"))
        child = start(self.lab, "seal", pipe, self.dest, "--name", "late", "--length", "4", "--set",
                      "w", "--key-file", self.key, "--sign", self.private, "-q")
        with open(pipe, "wb") as out:  # the set was read before the pipe is opened for reading
            out.write(b"la")
            out.flush()
            self.set("create", "--name", "w", "--replace")
            out.write(b"te")
        done = finish(child)
        self.assertEqual(done.code, NOT_AUTHENTIC, done.err)
        self.assertIn("was replaced by another set meanwhile", done.err)
        self.assertEqual(self.read(), (1, {"a": b"a"}))
        self.assertFalse([n for n in files(self.dest) if n.startswith("late.")])


if __name__ == "__main__":
    common.main()
