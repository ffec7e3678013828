#!/usr/bin/python3
"""More of what somebody does who can write the place of a set (fs/models, fs/source, tools/set): objects that are no files,
payloads and places that are exchanged, old seals for the owner's next change; each refusal has its own sentence."""

import errno
import os
import shutil
import time

import common
import common_set_reader as reader
import common_sets
from common import FAILURE, NOT_AUTHENTIC, OK
from common_sets import OBJECT, SetWriter, write


class Objects(common_sets.SetCase):
    """The set object itself."""

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.sealed, OBJECT)
        self.good = self.set.put()

    def put_in_its_place(self, make):
        os.unlink(self.path)
        make()

    def test_a_pipe(self):
        """Nobody waits for its writer."""
        self.put_in_its_place(lambda: os.mkfifo(self.path))
        self.refused(FAILURE, OBJECT, "it is no regular file", options=("set=require",))
        self.refused(FAILURE, OBJECT, "it is no regular file")

    def test_a_folder(self):
        self.put_in_its_place(lambda: os.mkdir(self.path))
        self.refused(FAILURE, OBJECT, options=("set=require",))

    def test_a_link_out_of_the_place(self):
        elsewhere = os.path.join(self.dir, "elsewhere")
        write(elsewhere, self.good)
        self.put_in_its_place(lambda: os.symlink(elsewhere, self.path))
        self.refused(FAILURE, OBJECT, options=("set=require",))

    def test_a_sparse_giant(self):
        def make():
            with open(self.path, "wb") as out:
                out.write(self.good)
                out.truncate(1 << 40)
        self.put_in_its_place(make)
        self.refused(NOT_AUTHENTIC, OBJECT, "malformed", "1099511627776 bytes")
        for verb in (("set", "list"), ("set", "check"), ("recipients",)):
            done = self.lab.sealctl(*verb, self.sealed, expect=NOT_AUTHENTIC)
            self.assertIn(f'{self.path}": malformed: it has 1099511627776 bytes', done.err)

    def test_the_set_of_the_folder_above(self):
        """Its members are not where that one is mounted."""
        below = os.path.join(self.sealed, "dir")
        shutil.copy(self.path, below)
        with self.mount(source=below) as mount:
            self.assert_io_error(mount.join("a.bin"), errno.EBADMSG)
            self.assertIn("a member is missing", mount.log())

    def test_names_that_no_mount_shows(self):
        core = common.read_bytes(self.set.seal_path("a.bin"))[:2048]
        for path in ("../a.bin", "/a.bin", "a/../b", ".sealedfs/status.json", "dir/.sealedfs", "a\nb", ".", "dir//x"):
            with self.subTest(path):
                self.set.put(2, rows=sorted([common_sets.entry(path, core)] + self.set.rows()))
                self.refused(NOT_AUTHENTIC, OBJECT, "malformed")

    def test_one_member_twice_and_a_file_that_is_a_folder(self):
        rows, core = self.set.rows(), common.read_bytes(self.set.seal_path("a.bin"))[:2048]
        self.set.put(2, rows=[rows[0]] + rows)
        self.refused(NOT_AUTHENTIC, "malformed", "ascending order")
        self.set.put(2, rows=rows[:1] + [common_sets.entry("a.bin/b", core)] + rows[1:])
        self.refused(NOT_AUTHENTIC, "malformed", "is the folder of another")


class Parts(common_sets.SetCase):
    """Seals and payloads of members."""

    def payload(self, name):
        folder = os.path.join(self.sealed, os.path.dirname(name))
        found, = (each for each in os.listdir(folder)
                  if each.startswith(os.path.basename(name) + ".") and each.endswith(".sealed"))
        return os.path.join(folder, found)

    def one_fails(self, mount, code, *words):
        self.assert_io_error(mount.join("a.bin"), code)
        for word in words:
            self.assertIn(word, mount.log())
        self.assert_serves(mount, "b.bin", "dir/c.bin")

    def test_two_payloads_of_one_length(self):
        self.set.put()
        mine, other = self.payload("a.bin"), self.payload("dir/c.bin")
        content = common.read_bytes(mine)
        write(mine, common.read_bytes(other))
        with self.mount() as mount:
            self.one_fails(mount, errno.EIO, "a.bin", "chunk 0")
        write(mine, content)
        with self.mount() as mount:
            self.assert_serves(mount)

    def test_pipes_and_links_in_the_place_of_parts(self):
        self.set.put()
        elsewhere = os.path.join(self.dir, "elsewhere")
        for path in (self.set.seal_path("a.bin"), self.payload("a.bin")):
            content = common.read_bytes(path)
            write(elsewhere, content)
            for make in (lambda where=path: os.mkfifo(where), lambda where=path: os.symlink(elsewhere, where),
                         lambda where=path: os.mkdir(where)):
                os.unlink(path)
                make()
                with self.mount() as mount, self.subTest(path=os.path.basename(path)):
                    with self.assertRaises(OSError):
                        common.read_bytes(mount.join("a.bin"))
                    self.assertIn("a.bin", mount.log())
                    self.assert_serves(mount, "b.bin", "dir/c.bin")
                if os.path.isdir(path):
                    os.rmdir(path)
                else:
                    os.unlink(path)
                write(path, content)

    def test_both_names_of_a_seal_are_foreign(self):
        """Neither PATH.seal nor the pending seal is the one that the set names: it says what the first is."""
        self.set.put()
        seal = self.set.seal_path("a.bin")
        file_id = common.read_bytes(seal)[0x10:0x18].hex()
        write(os.path.join(self.sealed, f"a.bin.{file_id}.next"), common.read_bytes(self.set.seal_path("dir/c.bin")))
        write(seal, common.read_bytes(self.set.seal_path("b.bin")))
        with self.mount() as mount:
            self.assert_io_error(mount.join("a.bin"), errno.EBADMSG)
            self.assertIn('it is the seal of the model "b.bin"', mount.log())


class Owner(common.Case):
    """What the owner's own next change would make of it."""

    PARTS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()

    def setUp(self):
        self.top = self.lab.path(self.id().rsplit(".", 1)[1], make=True)
        self.dest = os.path.join(self.top, "sealed")
        self.old = os.path.join(self.top, "old")
        self.seal(self.dest, a=b"old a", b=b"b")
        shutil.copytree(self.dest, self.old)
        self.set("create", "--name", "w")
        time.sleep(1.1)  # times of sealing are in seconds
        self.seal(self.dest, a=b"new a")
        self.set("add")

    def seal(self, dest, **models):
        plain = os.path.join(self.top, "plain")
        shutil.rmtree(plain, ignore_errors=True)
        os.mkdir(plain)
        for path, content in models.items():
            write(os.path.join(plain, path), content)
        self.lab.seal(plain, dest, "--key-file", self.key, "--sign", self.private, "-q")

    def set(self, command, *args, expect=OK):
        return self.lab.sealctl("set", command, self.dest, *args, "--key-file", self.key, "--sign", self.private,
                                expect=expect)

    def read(self):
        return reader.read(self.dest, self.key, self.public)

    def put_back(self, *names):
        for name in os.listdir(self.old):
            if name.startswith(names):
                shutil.copy(os.path.join(self.old, name), self.dest)

    def test_an_old_seal_before_the_owner_adds_another(self):
        self.put_back("a.")
        self.seal(self.dest, c=b"c")
        done = self.set("add", expect=NOT_AUTHENTIC)
        self.assertIn("a.seal", done.err)
        self.assertIn("was sealed before version 2 of the set was made", done.err)
        self.assertEqual(self.set("add", "c").out.splitlines()[0], "added    c")
        # Who names it means it.
        self.set("add", "a")
        self.assertEqual(self.read()[1]["a"], b"old a")

    def test_an_old_seal_before_the_owner_makes_another_set(self):
        self.put_back("a.")
        done = self.set("create", "--name", "w", "--replace", expect=NOT_AUTHENTIC)
        self.assertIn("was sealed before version 2 of the set was made", done.err)
        self.set("create", "--name", "w", "--replace", "a", "b")
        self.assertEqual(self.read(), (1, {"a": b"old a", "b": b"b"}))

    def test_what_was_added_is_printed(self):
        """Somebody planted another model of the same owner."""
        self.seal(self.dest, c=b"c", planted=b"planted")
        lines = self.set("add").out.splitlines()
        self.assertEqual(lines[:2], ["added    c", "added    planted"])


if __name__ == "__main__":
    common.main()
