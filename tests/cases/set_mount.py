#!/usr/bin/python3
"""fs/models, fs/view, fs/unlock: a mount of a set: what it shows, and each way to change it that is refused."""

import errno
import json
import os
import shutil
import time

import common
import common_sets
from common import FAILURE, NOT_AUTHENTIC, OK, REFUSED, USAGE
from common_sets import OBJECT, SetWriter, write


class Shown(common_sets.SetCase):
    """A directory as source."""

    def test_members_and_nothing_else(self):
        self.set.put()
        self.model(os.path.join(self.dir, "more", "stranger.bin"), 9, 1000)
        self.lab.seal(os.path.join(self.dir, "more"), self.sealed, "--key-file", self.key, "-q")
        with self.mount() as mount:
            found = sorted(os.path.relpath(os.path.join(where, name), mount.path)
                           for where, _, names in os.walk(mount.path) for name in names)
            self.assertEqual(found, list(self.NAMES))
            for name in self.NAMES:
                self.assertEqual(os.stat(mount.join(name)).st_size, self.SIZE)
            self.assert_serves(mount)
        with self.mount("set=off") as mount:
            self.assertIn("stranger.bin", os.listdir(mount.path))

    def test_a_seal_without_slots_of_its_own(self):
        self.set.admit(alone=True)
        self.set.put()
        with self.mount() as mount:
            self.assert_serves(mount)
        with self.mount("set=off") as mount:
            failure = self.assert_io_error(mount.join("a.bin"), errno.EACCES)
            self.assertIsNotNone(failure)
            self.assertIn("through its set", mount.log())

    def test_members_with_slots_of_their_own_only(self):
        self.seal()
        self.set.put()
        with self.mount() as mount:
            self.assert_serves(mount)

    def test_a_member_whose_seal_is_about_to_be_renamed(self):
        self.set.put()
        seal = self.set.seal_path("a.bin")
        file_id = common.read_bytes(seal)[0x10:0x18].hex()
        os.rename(seal, os.path.join(self.sealed, f"a.bin.{file_id}.next"))
        with self.mount() as mount:
            self.assert_serves(mount)
        write(seal, common.read_bytes(self.set.seal_path("b.bin")))
        with self.mount() as mount:
            self.assert_serves(mount)

    def test_set_options(self):
        self.refused(FAILURE, "there is no set", OBJECT, "is missing", options=("set=require",))
        self.refused(FAILURE, "there is no set", options=("set-min-version=1",))
        self.refused(USAGE, "set=off", options=("set=off", "set-min-version=1"))
        self.refused(USAGE, "set=off", options=("set=off", "measure=set"))
        self.refused(USAGE, "must begin with /", options=("set-state=state",))
        self.refused(USAGE, "must be auto, require or off", options=("set=on",))
        self.refused(USAGE, "set-min-version", options=("set-min-version=x",))
        with self.mount() as mount:
            self.assert_serves(mount)
        self.set.put(7)
        with self.mount("set=require", "set-min-version=7") as mount:
            self.assert_serves(mount)
        self.refused(NOT_AUTHENTIC, "an older set was put back", "it has version 7",
                     "set-min-version is 8", options=("set-min-version=8",))

    def test_named_models_must_be_members(self):
        self.set.put(rows=self.set.rows(["a.bin", "b.bin"]))
        self.refused(FAILURE, "has no model dir/c.bin", options=("model=dir/c.bin",))
        with self.mount("model=a.bin", "ready=unlocked") as mount:
            self.assert_serves(mount, "a.bin", "b.bin")
        os.unlink(self.set.seal_path("a.bin"))
        self.refused(NOT_AUTHENTIC, "a member is missing", '"a.bin"',
                     options=("model=a.bin", "ready=unlocked"))
        with self.mount("ready=unlocked") as mount:
            self.assert_serves(mount, "b.bin")

    def test_a_set_that_has_no_room(self):
        rows = self.set.rows()
        core = common.read_bytes(self.set.seal_path("a.bin"))[:2048]
        rows += [common_sets.entry(f"x{number:05}", core) for number in range(60000)]
        self.set.put(rows=rows)
        self.refused(FAILURE, "of memory", "left", "memory=", options=("memory=32M",))
        with self.mount("memory=512M") as mount:
            self.assertEqual(len(os.listdir(mount.path)), 60003)
            self.assert_serves(mount, "a.bin")

    def test_status_and_metrics(self):
        made = 1700000000
        self.set.put(3, created=made, expires=4000000000)
        content = common_sets.content_digest(self.set.rows())
        with self.mount() as mount:
            with open(mount.join(".sealedfs", "status.json"), encoding="utf-8") as status:
                found = json.load(status)
            shown = found["set"]
            self.assertEqual((shown["name"], shown["version"], shown["members"]),
                             ("weights", 3, 3))
            self.assertEqual(shown["id"], self.set.id.hex())
            self.assertEqual(shown["content"], content.hex())
            self.assertEqual(shown["created"], "2023-11-14T22:13:20Z")
            self.assertEqual(shown["expires"], "2096-10-02T07:06:40Z")
            self.assertEqual(len(shown["signer"]), 64)
            self.assertEqual(found["options"]["set"], "auto")
            text = self.lab.sealctl("status", mount.path, expect=OK).out
            self.assertIn("weights, version 3 of 2023-11-14", text)
            metrics = common.read_text(mount.join(".sealedfs", "metrics"))
            for line in ("sealedfs_set_version 3", "sealedfs_set_members 3",
                         "sealedfs_set_expiry_time_seconds 4000000000"):
                self.assertIn(line, metrics)


class Refused(common_sets.SetCase):
    """Each sentence of what is wrong with a set, at a mount."""

    def test_nobody_but_the_owner(self):
        self.set.put()
        stranger, _ = self.lab.owner_key("stranger." + str(time.monotonic_ns()))
        other = SetWriter(self.sealed, self.key, stranger, set_id=self.set.id)
        other.put()
        self.refused(NOT_AUTHENTIC, "unknown signer")
        other.owner = None
        other.put()
        self.refused(NOT_AUTHENTIC, "unsigned")
        raw = bytearray(self.set.make())
        raw[0x822] ^= 1
        write(os.path.join(self.sealed, OBJECT), raw)
        self.refused(NOT_AUTHENTIC, "bad signature")

    def test_each_part_is_bound(self):
        good = self.set.put()
        end = len(good) - sum(map(len, self.set.rows()))
        faults = {  # offset: words
            0x000: "magic", 0x008: "unsupported", 0x010: "bad signature", 0x030: "bad signature",
            0x070: "bad signature", 0x0C0: "bad signature", 0x880: "malformed",
            0x8A0: "altered slots", 0x8C0 + 40: "wrong key",
            end + 5: "altered tables", len(good) - 1: "altered tables"}
        for offset, words in faults.items():
            raw = bytearray(good)
            raw[offset] ^= 0x40
            write(os.path.join(self.sealed, OBJECT), raw)
            with self.subTest(offset=hex(offset)):
                self.refused(NOT_AUTHENTIC, OBJECT, words)
        for raw, words in ((good[:-1], "bytes"), (good + b"x", "bytes"), (b"", "malformed"),
                           (b"sealdset", "malformed")):
            write(os.path.join(self.sealed, OBJECT), raw)
            self.refused(NOT_AUTHENTIC, OBJECT, words)

    def test_a_mix_of_two_versions(self):
        old = self.set.put(1)
        new = self.set.put(2, rows=self.set.rows(["a.bin", "b.bin"]))
        table = 4096
        write(os.path.join(self.sealed, OBJECT), new[:table] + old[table:])
        self.refused(NOT_AUTHENTIC, "malformed", "bytes")
        swapped = self.set.make(2, rows=self.set.rows(**{"sha256": bytes(32)}))
        write(os.path.join(self.sealed, OBJECT), new[:0x800] + old[0x800:])
        self.refused(NOT_AUTHENTIC)
        write(os.path.join(self.sealed, OBJECT), old[:table] + swapped[table:])
        self.refused(NOT_AUTHENTIC, "altered tables")

    def test_a_set_that_contradicts_itself(self):
        self.set.put(content=bytes(32))
        self.refused(NOT_AUTHENTIC, "malformed", "content digest")
        self.set.put(rows=self.set.rows()[::-1])
        self.refused(NOT_AUTHENTIC, "malformed", "ascending order")
        self.set.put(table_hash=bytes(32))
        self.refused(NOT_AUTHENTIC, "altered tables")

    def test_expired(self):
        now = int(time.time())
        self.set.put(created=now - 1000, expires=now - 10)
        self.refused(REFUSED, "the set has expired", "seconds ago")
        self.set.put(created=now + 100000, expires=now + 200000)
        self.refused(REFUSED, "clock is before the time at which the set was made")
        self.set.put(created=now - 1000, expires=now + 1000)
        with self.mount() as mount:
            self.assert_serves(mount)
        self.set.put(created=now + 100000)
        with self.mount() as mount:
            self.assert_serves(mount)

    def test_state_file(self):
        state = os.path.join(self.dir, "state", "sets")
        os.mkdir(os.path.dirname(state), 0o700)
        option = "set-state=" + state
        old = self.set.put(4)
        with self.mount(option) as mount:
            self.assert_serves(mount, "a.bin")
        self.assertEqual(os.stat(state).st_mode & 0o7777, 0o600)
        line = common.read_text(state).splitlines()[1].split()
        self.assertEqual(line[:2], [self.set.id.hex(), "4"])
        self.set.put(5)
        with self.mount(option) as mount:
            self.assert_serves(mount, "a.bin")
        write(os.path.join(self.sealed, OBJECT), old)
        self.refused(NOT_AUTHENTIC, "an older set was put back", "version 4", "has seen version 5",
                     options=(option,))
        with self.mount() as mount:  # nobody asked for it
            self.assert_serves(mount, "a.bin")
        self.set.put(5, rows=self.set.rows(["a.bin"]))
        self.refused(NOT_AUTHENTIC, "version 5 has another content", options=(option,))
        self.set.put(6)
        os.chmod(state, 0o666)
        self.refused(USAGE, "can be changed by other users", options=(option,))
        os.chmod(state, 0o600)
        with open(state, "a", encoding="ascii") as out:
            out.write("x\n")
        self.refused(NOT_AUTHENTIC, "the file is damaged", options=(option,))
        self.refused(FAILURE, "cannot open it: not a directory", options=(option + "/x",))
        self.refused(FAILURE, "cannot open its folder",
                     options=(f"set-state={self.dir}/none/sets",))

    def test_no_key_for_the_set(self):
        other = self.lab.key_file("other." + str(time.monotonic_ns()))
        self.set.put()
        self.assert_result(self.lab.mount_fails(self.sealed, "key-file=" + other, *self.MEASURE),
                           REFUSED, OBJECT, "no recipient")


class Members(common_sets.SetCase):
    """One member is not what the set names: it is refused, and the others go on."""

    def one_is_refused(self, change, *words, code=errno.EBADMSG, others=("b.bin", "dir/c.bin")):
        """change(): made under a mount that has opened nothing."""
        self.set.put()
        with self.mount() as mount:
            change()
            self.assert_io_error(mount.join("a.bin"), code)
            for word in ("a.bin", *words):
                self.assertIn(word, mount.log())
            self.assert_serves(mount, *others)
            status = self.lab.sealctl("status", mount.path)
            self.assertNotEqual(status.code, OK)
            for word in words:
                self.assertIn(word, status.out)

    def test_missing(self):
        self.one_is_refused(lambda: os.unlink(self.set.seal_path("a.bin")),
                            "a member is missing", 'names "a.bin"')

    def test_exchanged(self):
        self.one_is_refused(
            lambda: write(self.set.seal_path("a.bin"),
                          common.read_bytes(self.set.seal_path("b.bin"))),
            "it is not what the set names", "it is the seal of the model", "b.bin")

    def test_older(self):
        old = os.path.join(self.dir, "old")
        shutil.copytree(self.sealed, old)
        self.seal()  # all of them anew
        self.set.admit()
        self.one_is_refused(
            lambda: write(self.set.seal_path("a.bin"),
                          common.read_bytes(os.path.join(old, "a.bin.seal"))),
            "it is another sealing of the model, not the one of version 1")

    def test_newer(self):
        new = os.path.join(self.dir, "new")

        def change():
            os.environ["SOURCE_DATE_EPOCH"] = "4000000000"
            self.lab.seal(self.plain, new, "--key-file", self.key, "--sign", self.pem, "-q",
                          extra={"SOURCE_DATE_EPOCH": "4000000000"})
            del os.environ["SOURCE_DATE_EPOCH"]
            write(self.set.seal_path("a.bin"), common.read_bytes(os.path.join(new, "a.bin.seal")))
        self.one_is_refused(change, "it is another sealing of the model, newer than version 1")

    def test_of_another_set(self):
        """Two sets of one owner over the same models: a member is no member of the other."""
        other = os.path.join(self.dir, "other")
        self.seal(to=other)
        foreign = SetWriter(other, self.key, self.pem)
        foreign.admit(alone=True)
        foreign.put()
        self.one_is_refused(
            lambda: write(self.set.seal_path("a.bin"),
                          common.read_bytes(foreign.seal_path("a.bin"))),
            "it belongs to another set, " + foreign.id[:8].hex())

    def test_spliced_slots(self):
        """The right core with the slots of another set, by somebody who has the data key."""
        other = SetWriter(self.sealed, self.key, self.pem)
        self.one_is_refused(lambda: other.admit("a.bin", alone=True), "no recipient",
                            "the members of a set", code=errno.EACCES)

    def test_altered_slot(self):
        self.set.admit(alone=True)

        def change():
            raw = bytearray(common.read_bytes(self.set.seal_path("a.bin")))
            raw[0x8C0 + 4 + 32 + 12] ^= 1
            write(self.set.seal_path("a.bin"), raw)
        self.one_is_refused(change, "wrong key", "the slot of the set")

    def test_altered_core(self):
        def change():
            raw = bytearray(common.read_bytes(self.set.seal_path("a.bin")))
            raw[0x0F0] ^= 1  # the time of sealing
            write(self.set.seal_path("a.bin"), raw)
        self.one_is_refused(change, "its core was altered after the set was written")

    def test_payload(self):
        payload = next(os.path.join(self.sealed, name) for name in os.listdir(self.sealed)
                       if name.startswith("a.bin.") and name.endswith(".sealed"))
        self.one_is_refused(lambda: os.unlink(payload), "payload is missing", code=errno.EIO)

    def test_a_payload_of_another_size(self):
        payload = next(os.path.join(self.sealed, name) for name in os.listdir(self.sealed)
                       if name.startswith("a.bin.") and name.endswith(".sealed"))
        self.one_is_refused(lambda: os.truncate(payload, 100), "wrong payload size")

    def test_statements_that_are_made_up(self):
        """By somebody who has the set's key, where no owner is pinned."""
        for field, size in (("sha256", 32), ("sha384", 48), ("verity", 32), ("file_id", 32)):
            rows = self.set.rows(["a.bin"], **{field: os.urandom(size)})
            self.set.put(rows=rows + self.set.rows(["b.bin"]))
            with self.mount() as mount:
                self.assert_io_error(mount.join("a.bin"), errno.EBADMSG)
                self.assertIn("states another length, digest or file id than the set", mount.log())
                self.assert_serves(mount, "b.bin")

    def test_a_member_is_opened_again_once_it_is_mended(self):
        seal = self.set.seal_path("a.bin")
        self.set.put()
        with self.mount() as mount:
            os.rename(seal, seal + ".away")
            self.assert_io_error(mount.join("a.bin"), errno.EBADMSG)
            os.rename(seal + ".away", seal)
            self.reload(mount)
            time.sleep(1.1)  # the pause after the first refusal
            self.assert_serves(mount)


if __name__ == "__main__":
    common.main()
