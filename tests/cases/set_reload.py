#!/usr/bin/python3
"""fs/models, fs/daemon: reading a set again under a mount: forward only, as one change, and nobody is disturbed."""

import errno
import mmap
import os
import threading

import common
import common_sets
from common import FAILURE
from common_sets import OBJECT, SetWriter, write


class Reloading(common_sets.SetCase):
    """A directory as source, key file, no TPM."""

    def goes_on(self, mount, *words):
        """The reload fails, and everything is as before, also in the status."""
        before = {name: os.stat(mount.join(name)).st_ino for name in self.NAMES}
        self.reload(mount, FAILURE, *words)
        self.assertEqual({name: os.stat(mount.join(name)).st_ino for name in self.NAMES}, before)
        self.assert_serves(mount)
        status = self.lab.sealctl("status", mount.path).out
        for word in ("the last reload failed", *words):
            self.assertIn(word.lower(), status.lower())

    def change(self, *names, version):
        """Seals other bytes under these names and writes the next version of the set."""
        for name in names:
            self.model(os.path.join(self.plain, name), 100 + version, self.SIZE + version)
        only = os.path.join(self.dir, f"only{version}")
        for name in names:
            os.makedirs(os.path.dirname(os.path.join(only, name)), exist_ok=True)
            os.link(os.path.join(self.plain, name), os.path.join(only, name))
        self.lab.seal(only, self.sealed, "--key-file", self.key, "--sign", self.pem, "-q")
        self.set.admit(*names)
        self.set.put(version)

    def test_a_newer_version_is_one_change(self):
        self.set.put(1)
        with self.mount() as mount:
            inodes = {name: os.stat(mount.join(name)).st_ino for name in self.NAMES}
            self.assert_serves(mount, "a.bin")
            old = common.read_bytes(os.path.join(self.plain, "b.bin"))
            with open(mount.join("a.bin"), "rb", buffering=0) as same, \
                    open(mount.join("b.bin"), "rb", buffering=0) as other:
                self.assertEqual(other.read(10), old[:10])
                self.change("b.bin", "new/d.bin", version=2)
                self.assertFalse(os.path.exists(mount.join("new")))
                self.reload(mount)
                self.assert_serves(mount, *self.NAMES, "new/d.bin")
                for name in ("a.bin", "dir/c.bin"):
                    self.assertEqual(os.stat(mount.join(name)).st_ino, inodes[name])
                self.assertNotEqual(os.stat(mount.join("b.bin")).st_ino, inodes["b.bin"])
                # Readers go on: of what is the same, and of what was replaced.
                self.assertEqual(os.fstat(other.fileno()).st_ino, inodes["b.bin"])
                other.seek(0)
                self.assertEqual(other.read(len(old)), old)
                self.assertEqual(same.read(10),
                                 common.read_bytes(os.path.join(self.plain, "a.bin"))[:10])
            self.set.put(3, rows=self.set.rows(["a.bin"]))
            self.reload(mount)
            self.assertEqual(os.listdir(mount.path), ["a.bin"])
            self.assertEqual(os.stat(mount.join("a.bin")).st_ino, inodes["a.bin"])
            self.reload(mount)
            self.assert_serves(mount, "a.bin")

    def test_versions_only_rise(self):
        raw = {version: self.set.make(version) for version in (1, 2, 3)}
        write(os.path.join(self.sealed, OBJECT), raw[2])
        with self.mount() as mount:
            for version in (1, 3, 2):
                write(os.path.join(self.sealed, OBJECT), raw[version])
                if version == 3:
                    self.reload(mount)
                else:
                    self.goes_on(mount, "an older set was put back",
                                 f"it has version {version}",
                                 f"the mount shows version {2 if version == 1 else 3}")
            self.set.put(3, rows=self.set.rows(["a.bin"]))
            self.goes_on(mount, "version 3 has another content")

    def test_what_a_reload_refuses(self):
        self.set.put(1)
        path = os.path.join(self.sealed, OBJECT)
        with self.mount() as mount:
            os.rename(path, path + ".away")
            self.goes_on(mount, OBJECT, "is gone", 'version 1 of the set "weights"')
            other = SetWriter(self.sealed, self.key, self.pem, name="the other")
            other.put(9)
            self.goes_on(mount, 'it is the set "the other" now',
                         'not the set "weights" that the mount shows')
            self.set.put(2, created=1000, expires=2000)
            self.goes_on(mount, "the set has expired")
            raw = bytearray(self.set.make(2))
            raw[-1] ^= 1
            write(path, raw)
            self.goes_on(mount, "altered tables")
            write(path, raw[:-1])
            self.goes_on(mount, "malformed")
            stranger, _ = self.lab.owner_key("stranger")
            forged = SetWriter(self.sealed, self.key, stranger, set_id=self.set.id)
            forged.key = self.set.key
            forged.put(2)
            self.goes_on(mount, "unknown signer")
            os.rename(path + ".away", path)
            self.reload(mount)
            self.set.put(2)
            self.reload(mount)
            self.assert_serves(mount)

    def test_a_member_that_was_removed_from_the_source(self):
        """By a bucket's writer; the set still names it."""
        self.set.put(1)
        with self.mount() as mount:
            self.assert_serves(mount, "a.bin")
            os.unlink(self.set.seal_path("a.bin"))
            os.unlink(self.set.seal_path("b.bin"))
            self.reload(mount)
            self.assertEqual(sorted(os.listdir(mount.path)), ["a.bin", "b.bin", "dir"])
            self.assert_serves(mount, "a.bin", "dir/c.bin")  # it was open
            self.assert_io_error(mount.join("b.bin"), errno.EBADMSG)

    def test_what_was_added_is_not_shown(self):
        self.set.put(1)
        with self.mount() as mount:
            self.model(os.path.join(self.dir, "more", "stranger.bin"), 9, 1000)
            self.lab.seal(os.path.join(self.dir, "more"), self.sealed, "--key-file", self.key, "-q")
            self.set.admit("stranger.bin")
            self.reload(mount)
            self.assertEqual(sorted(os.listdir(mount.path)), ["a.bin", "b.bin", "dir"])
            self.set.put(2)
            self.reload(mount)
            self.assertIn("stranger.bin", os.listdir(mount.path))

    def test_members_of_two_versions(self):
        """An object of an older version among those of a newer one."""
        self.set.put(1)
        old = common.read_bytes(self.set.seal_path("b.bin"))
        with self.mount() as mount:
            self.assert_serves(mount, "a.bin")
            self.change("b.bin", version=2)
            new = common.read_bytes(self.set.seal_path("b.bin"))
            write(self.set.seal_path("b.bin"), old)
            self.reload(mount)
            self.assert_serves(mount, "a.bin", "dir/c.bin")
            self.assert_io_error(mount.join("b.bin"), errno.EBADMSG)
            self.assertIn("it is another sealing of the model, not the one of version 2",
                          mount.log())
            write(self.set.seal_path("b.bin"), new)
            self.reload(mount)
            self.assert_serves(mount)

    def test_a_mount_without_a_set_stays_without(self):
        with self.mount() as mount:
            self.set.put(1, rows=self.set.rows(["a.bin"]))
            self.reload(mount)
            self.assert_serves(mount)
            self.assertIn("which this mount does not use", mount.log())

    def test_recipients_alone(self):
        """Slots may change without a new version, and a version may come with the same members."""
        other = self.lab.key_file("second")
        self.set.put(1, created=5)
        with self.mount() as mount:
            self.assert_serves(mount, "a.bin")
            inode = os.stat(mount.join("b.bin")).st_ino
            both = SetWriter(self.sealed, other, self.pem, set_id=self.set.id)
            both.key = self.set.key
            both.put(1, created=5)  # this mount has no such key file; it needs none
            self.reload(mount)
            self.assert_serves(mount)
            both.put(2, created=5)
            self.reload(mount)
            self.assert_serves(mount)
            self.assertEqual(os.stat(mount.join("b.bin")).st_ino, inode)

    def test_state_file_follows(self):
        state = os.path.join(self.dir, "state")
        os.mkdir(state, 0o700)
        self.set.put(1)
        with self.mount(f"set-state={state}/sets") as mount:
            self.set.put(2)
            self.reload(mount)
            self.assertIn(f"{self.set.id.hex()} 2 ", common.read_text(state + "/sets"))
            text = common.read_text(state + "/sets").replace(" 2 ", " 7 ")
            write(state + "/sets", text.encode())
            self.set.put(3)
            self.goes_on(mount, "has seen version 7")

    def test_readers_under_reloads(self):
        """Every byte stays right while versions come, in all threads; also for mmap."""
        self.set.put(1)
        want = {name: common.read_bytes(os.path.join(self.plain, name)) for name in self.NAMES}
        failures, over = [], threading.Event()

        def reader(name, mount):
            while not over.is_set():
                with open(mount.join(name), "rb", buffering=0) as source:
                    if source.read() != want[name]:
                        failures.append(name)

        with self.mount() as mount:
            threads = [threading.Thread(target=reader, args=(name, mount))
                       for name in ("a.bin", "dir/c.bin") * 2]
            for thread in threads:
                thread.start()
            with open(mount.join("a.bin"), "rb") as source, \
                    mmap.mmap(source.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                for version in range(2, 12):
                    self.change("b.bin", version=version)
                    self.reload(mount)
                    self.assert_serves(mount, "b.bin")
                self.assertEqual(bytes(mapped), want["a.bin"])
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])


if __name__ == "__main__":
    common.main()
