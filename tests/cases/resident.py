#!/usr/bin/python3
"""fs/resident, fs/fuse: models in memory that the kernel serves: every way to get there, and the same bytes in each."""

import contextlib
import json
import mmap
import os
import random
import subprocess
import sys
import threading

import common
import common_resident
from common import CHUNK, MIB, OK, USAGE
from common_resident import attached, make_resident, model, read_range, report, state, wait_resident

SIZE = 72 * MIB + 4097
PAGE = mmap.PAGESIZE


def mapped(descriptor):
    return mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ)


class Transitions(common_resident.ResidentCase):
    SIZES = {"m.gguf": SIZE}

    def assert_served_by_kernel(self, mount):
        before = model(mount)["delivered_bytes"]
        with common.opened(mount.join("m.gguf")):
            self.assertEqual(attached(mount), 1)
            self.same(mount)
        self.assertEqual(model(mount)["delivered_bytes"], before)
        common.wait_for("closed", lambda: attached(mount) == 0)

    def test_header_fill_open_again(self):
        with self.resident_mount() as mount:
            with common.opened(mount.join("m.gguf")) as header:
                self.same_at(header, 0)
                self.assertEqual(state(mount), "none")
            with common.opened(mount.join("m.gguf")) as first:
                read_range(first, 0, common_resident.WANTED)
                wait_resident(mount)
                # Its mode stays, and so does that of a file that is opened beside it.
                self.same(mount)
                self.assertEqual(attached(mount), 0)
                self.same_at(first, 40 * MIB)
            self.assert_served_by_kernel(mount)
            self.assertIn('"m.gguf": resident', mount.log())

    def test_older_file_decrypts_nothing_again(self):
        with self.resident_mount() as mount:
            with common.opened(mount.join("m.gguf")) as older:
                read_range(older, 0, common_resident.WANTED)
                wait_resident(mount)
                before = model(mount)["chunks_decrypted"]
                read_range(older, common_resident.WANTED, SIZE)
                self.assertEqual(model(mount)["chunks_decrypted"], before)

    def test_mapping_keeps_its_mode(self):
        """A mapping outlives its descriptor, and the kernel refuses both ways at once."""
        with self.resident_mount() as mount:
            with common.opened(mount.join("m.gguf")) as descriptor:
                mapping = mapped(descriptor)
            self.assertEqual(mapping[:MIB], self.good[:MIB])
            make_resident(mount)
            self.same(mount)
            with common.opened(mount.join("m.gguf")):
                self.assertEqual(attached(mount), 0)
            self.assertEqual(mapping[:], self.good)
            mapping.close()
            self.assert_served_by_kernel(mount)

    def test_page_faults_make_it_wanted(self):
        with self.resident_mount() as mount:
            with common.opened(mount.join("m.gguf")) as descriptor, \
                    contextlib.closing(mapped(descriptor)) as mapping:
                for at in range(0, SIZE, PAGE):
                    mapping[at]  # pylint: disable=pointless-statement
                wait_resident(mount)
            self.assert_served_by_kernel(mount)

    def test_mapping_of_resident(self):
        with self.resident_mount() as mount:
            make_resident(mount)
            with common.opened(mount.join("m.gguf")) as descriptor:
                mapping = mapped(descriptor)
                private = mmap.mmap(descriptor, 0, mmap.MAP_PRIVATE,
                                    mmap.PROT_READ | mmap.PROT_WRITE)
            self.assertEqual(attached(mount), 1)
            private[0:4] = b"none"  # a copy of the reader's own
            self.assertEqual(mapping[:], self.good)
            self.assertEqual(private[4:], self.good[4:])
            mapping.close()
            private.close()
            common.wait_for("closed", lambda: attached(mount) == 0)

    def test_direct(self):
        with self.resident_mount() as mount:
            descriptor = os.open(mount.join("m.gguf"), os.O_RDONLY | os.O_DIRECT)
            with mmap.mmap(-1, MIB) as page:
                for at in range(0, common_resident.WANTED, MIB):
                    self.assertEqual(os.preadv(descriptor, [page], at), MIB)
                    self.assertEqual(page[:], self.good[at:at + MIB])
                wait_resident(mount)
                os.preadv(descriptor, [page], 50 * MIB)
                self.assertEqual(page[:], self.good[50 * MIB:51 * MIB])
            os.close(descriptor)
            descriptor = os.open(mount.join("m.gguf"), os.O_RDONLY | os.O_DIRECT)
            self.assertEqual(attached(mount), 1)
            with mmap.mmap(-1, MIB) as page:
                os.preadv(descriptor, [page], 50 * MIB)
                self.assertEqual(page[:], self.good[50 * MIB:51 * MIB])
            os.close(descriptor)

    def test_end_of_file(self):
        with self.resident_mount() as mount:
            make_resident(mount)
            with common.opened(mount.join("m.gguf")) as descriptor:
                self.assertEqual(os.pread(descriptor, PAGE, SIZE - 5),
                                 self.good[-5:])
                self.assertEqual(os.pread(descriptor, PAGE, SIZE), b"")
                self.assertEqual(os.fstat(descriptor).st_size, SIZE)
                with self.assertRaises(OSError):
                    os.open(mount.join("m.gguf"), os.O_RDWR)

    def test_nobody_can_write_to_it(self):
        with self.resident_mount() as mount:
            make_resident(mount)
            with open(f"/proc/{mount.pid}/maps", encoding="utf-8") as maps:
                lines = [line.split() for line in maps if "memfd:sealedfs-model" in line]
            self.assertTrue(lines)
            self.assertEqual({line[1] for line in lines}, {"r--s"})

    def test_off(self):
        with self.mount() as mount:
            self.same(mount)
            self.assertNotIn("residents", report(mount))
            self.assertNotIn("residency", model(mount))
            self.assertEqual(self.lab.sealctl("evict", mount.path).code, USAGE)

    def test_wrong_values(self):
        for options, word in ((["resident=much"], "off, auto or a size"), (["resident=1k"], "1M"),
                              (["resident=auto", "fill=all"], "fill=all")):
            failed = self.lab.mount_fails(self.source, *self.options(*options))
            self.assertEqual(failed.code, USAGE)
            self.assertIn(word, failed.err)


class Readers(common_resident.ResidentCase):
    """Readers of every kind that stay while it fills, is complete, leaves, and comes again."""

    SIZES = {"m.gguf": SIZE}

    def reader(self, mount, kind, over, failures):
        rng = random.Random(kind)
        good = self.good
        try:
            while not over.is_set():
                with common.opened(mount.join("m.gguf")) as descriptor:
                    for _ in range(20):
                        at = rng.randrange(SIZE - MIB)
                        size = rng.randrange(1, MIB)
                        if kind == "map":
                            with mapped(descriptor) as mapping:
                                found = mapping[at:at + size]
                        else:
                            found = os.pread(descriptor, size, at)
                        if found != good[at:at + size]:
                            raise AssertionError(f"{kind}: other bytes at {at}")
        except BaseException as failure:  # pylint: disable=broad-except
            failures.append(failure)

    def test_all_the_time(self):
        over, failures = threading.Event(), []
        with self.resident_mount() as mount:
            threads = [threading.Thread(target=self.reader, args=(mount, kind, over, failures))
                       for kind in ("map", "pread", "pread again")]
            for thread in threads:
                thread.start()
            try:
                for _ in range(3):
                    self.lab.sealctl("warm", "-q", mount.path, expect=OK)
                    self.lab.sealctl("evict", "-q", mount.path, expect=OK)
                    self.same(mount)
            finally:
                over.set()
                for thread in threads:
                    thread.join()
            self.assertEqual(failures, [])
            self.assertEqual(self.lab.sealctl("evict", "-q", mount.path).code, OK)
            self.assertEqual(report(mount)["residents"]["used_bytes"], 0)

    def test_daemon_dies(self):
        """What the kernel serves needs no daemon."""
        mount = self.lab.start_mount(self.source, *self.options("resident=auto"))
        make_resident(mount)
        with common.opened(mount.join("m.gguf")) as descriptor, \
                contextlib.closing(mapped(descriptor)) as mapping:
            self.assertEqual(attached(mount), 1)
            mount.kill()
            self.assertEqual(mapping[:], self.good)
            self.same_at(descriptor, 30 * MIB)

    def test_unmount_under_reader(self):
        mount = self.lab.start_mount(self.source, *self.options("resident=auto"))
        make_resident(mount)
        with common.opened(mount.join("m.gguf")) as descriptor:
            mount.ended = True
            mount.process.terminate()
            self.assertEqual(mount.process.wait(60), OK, mount.log())
            self.same_at(descriptor, 30 * MIB)

    def test_unmount_while_it_fills(self):
        for _ in range(4):
            with self.resident_mount() as mount:
                with common.opened(mount.join("m.gguf")) as descriptor:
                    read_range(descriptor, 0, common_resident.WANTED)
                self.assertNotIn("not made resident", mount.log())


class Damaged(common_resident.ResidentCase):
    SIZES = {"m.gguf": SIZE}

    def test_chunk_is_named_and_never_seen(self):
        source = common.copy_tree(self.source, self.lab.path("damaged"))
        bad = common_resident.damage(source, 60 * MIB + 17)
        with self.resident_mount(source=source) as mount:
            with common.opened(mount.join("m.gguf")) as descriptor:
                # As soon as the fill has met it, later reads fail as well.
                with contextlib.suppress(OSError):
                    read_range(descriptor, 0, common_resident.WANTED)
                common.wait_for("refused", lambda: "reason" in model(mount)["residency"])
                self.assertEqual(state(mount), "none")
                with self.assertRaises(OSError):
                    os.pread(descriptor, PAGE, bad * CHUNK)
            self.assertRegex(mount.log(), rf'"m.gguf": not made resident: .*chunk {bad} ')
            self.assertIn(f"chunk {bad} ", model(mount)["residency"]["reason"]["message"])
            self.assertEqual(model(mount)["state"], "poisoned")
            self.assertEqual(report(mount)["residents"]["used_bytes"], 0)

    def test_repaired_after_reload(self):
        source = common.copy_tree(self.source, self.lab.path("repaired"))
        common_resident.damage(source, 60 * MIB)
        with self.resident_mount(source=source) as mount:
            with common.opened(mount.join("m.gguf")) as descriptor:
                with contextlib.suppress(OSError):
                    read_range(descriptor, 0, common_resident.WANTED)
                common.wait_for("refused", lambda: "reason" in model(mount)["residency"])
            common_resident.damage(source, 60 * MIB)
            self.lab.run(common.SEALEDFS, "--reload", mount.path)
            make_resident(mount)
            self.same(mount)


class Replaced(common_resident.ResidentCase):
    SIZES = {"m.gguf": SIZE, "other.gguf": 40 * MIB}

    def test_reload_ends_it(self):
        source = common.copy_tree(self.source, self.lab.path("replaced"))
        with self.resident_mount(source=source) as mount:
            make_resident(mount)
            make_resident(mount, "other.gguf")
            with common.opened(mount.join("m.gguf")) as old:
                new = common.make_model(self.lab.path("m.gguf"), SIZE, seed=77)
                self.lab.seal(new, source, "--key-file", self.key)
                self.assertEqual(self.lab.run(common.SEALEDFS, "--reload", mount.path).code, OK)
                # The old one is served as long as it is open; the unchanged one stays.
                self.same_at(old, 50 * MIB)
                self.assertEqual(state(mount), "none")
                self.assertEqual(state(mount, "other.gguf"), "resident")
                self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(new))
            common.wait_for("its memory to be freed",
                            lambda: '"m.gguf": no longer resident' in mount.log())
            self.same(mount, "other.gguf")


class Asked(common_resident.ResidentCase):
    """sealctl warm, evict and status."""

    SIZES = {"m.gguf": SIZE, "small.gguf": 4097, "empty.gguf": 0}

    def test_warm_and_evict(self):
        with self.resident_mount() as mount:
            done = self.lab.sealctl("warm", mount.join("m.gguf"), expect=OK)
            self.assertRegex(done.out, r"^m\.gguf  76 MB in .*; resident\n$")
            done = json.loads(self.lab.sealctl("warm", "--json", mount.path, expect=OK).out)
            self.assertEqual({entry["name"]: entry["resident"] for entry in done["models"]},
                             {"m.gguf": True, "small.gguf": True, "empty.gguf": False})
            with common.opened(mount.join("m.gguf")) as descriptor:
                self.assertEqual(attached(mount), 1)
                text = self.lab.sealctl("status", mount.path, expect=OK).out
                self.assertIn("resident: 75.5 MB in memory; the kernel serves 1 open file from it",
                              text)
                done = json.loads(self.lab.sealctl("evict", "--json", mount.path, expect=OK).out)
                self.assertEqual(done["evicted"][0]["in_use"], 1)
                self.assertEqual(state(mount, "small.gguf"), "none")
                self.same_at(descriptor, 20 * MIB)
                self.same(mount)
                self.assertEqual(state(mount), "resident")
            common.wait_for("evicted", lambda: state(mount) == "none")
            self.assertEqual(report(mount)["residents"]["used_bytes"], 0)
            self.same(mount)
            self.assertIn("m.gguf", self.lab.sealctl("evict", mount.join("m.gguf"), expect=OK).out)

    def test_evict_is_for_the_daemons_user(self):
        with self.resident_mount("allow_other", "mode=0444") as mount:
            make_resident(mount)
            done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                   common.SEALCTL, "evict", mount.path], check=False,
                                  env=self.lab.env(), capture_output=True, text=True, timeout=60)
            self.assertNotEqual(done.returncode, OK)
            self.assertEqual(state(mount), "resident")

    def test_metrics(self):
        with self.resident_mount() as mount:
            make_resident(mount)
            text = common.read_bytes(mount.join(".sealedfs", "metrics")).decode()
            self.assertIn('sealedfs_model_residency{model="m.gguf",state="resident"} 1\n', text)
            self.assertIn(f'sealedfs_model_residency_bytes{{model="m.gguf"}} {SIZE}\n', text)
            self.assertIn("sealedfs_residents_possible 1\n", text)

    def test_wrong_usage(self):
        with self.resident_mount() as mount:
            for args in ((), ("--nonsense", mount.path), (self.lab.dir,), ("/proc",)):
                self.assertEqual(self.lab.sealctl("evict", *args).code, USAGE, args)


if __name__ == "__main__":
    common.main()
