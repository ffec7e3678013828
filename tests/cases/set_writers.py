#!/usr/bin/python3
"""Writers of sets (tools, fs/source): two at once, on a directory and on S3; kill -9 at any moment
leaves the old set or the new one."""

import os
import signal
import time

import common
import common_set_reader as reader
from common import OK
from common_sealctl import Moments, files, finish, start

KILLS = 25 if common.QUICK else 200


class Base(common.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()
        # All of it each time: a set that has everything already is not written again.
        cls.keys = ("--again", "--key-file", cls.key, "--sign", cls.private, "-q")

    def plain(self, name, **models):
        folder = self.lab.path(self.id().rsplit(".", 1)[1], name, make=True)
        for path, content in models.items():
            with open(os.path.join(folder, path), "wb") as out:
                out.write(content)
        return folder

    def seal(self, folder, dest):
        return start(self.lab, "seal", folder, dest, "--set", "w", *self.keys)


class Together:
    """Several writers at once; dest() and folder() say where."""

    WRITERS = 6

    def together(self, dest, folder):
        plains = [self.plain(f"w{n}", **{f"m{n}": b"%d" % n, "same": b"by %d" % n})
                  for n in range(self.WRITERS)]
        done = [finish(child) for child in [self.seal(plain, dest) for plain in plains]]
        self.assertEqual([each.code for each in done], [OK] * self.WRITERS,
                         "".join(each.err for each in done))
        version, found = reader.read(folder, self.key, self.public)
        self.assertEqual(version, self.WRITERS)
        same = found.pop("same")
        self.assertIn(same, [b"by %d" % n for n in range(self.WRITERS)])
        self.assertEqual(found, {f"m{n}": b"%d" % n for n in range(self.WRITERS)})
        self.assertIn("another writer changed the set", "".join(each.err for each in done))
        self.assertFalse([name for name in files(folder) if name.endswith(".next")])
        self.lab.sealctl("check", dest, "--key-file", self.key, "--owner-key", self.public,
                         expect=OK)


class Directory(Together, Base):
    def test_all_make_the_set(self):
        dest = self.lab.path("all-make", "sealed")
        self.together(dest, dest)


class S3(Together, Base):
    PARTS = ("s3",)

    def test_all_make_the_set(self):
        self.together(self.lab.s3_url("all-make/"), self.lab.s3.file("all-make"))

    def test_a_lost_answer(self):
        dest = self.lab.s3_url("lost/")
        for n, plain in enumerate((b"1", b"2")):
            with self.lab.s3.fault(kind="reset", when="after", times=1,
                                   match="PUT .*sealed[.]set"):
                self.assertEqual(finish(self.seal(self.plain("p", m=plain), dest)).code, OK)
            self.assertEqual(reader.read(self.lab.s3.file("lost"), self.key, self.public),
                             (n + 1, {"m": plain}))

    def test_the_first_to_seal_is_the_last_to_write_the_set(self):
        """A seal that the set does not name yet is not written over by who wins."""
        dest, folder = self.lab.s3_url("first/"), self.lab.s3.file("first")
        for version in (1, 3):  # a new set, and one that is there
            with self.lab.s3.fault(kind="hold", times=1, match="PUT .*sealed[.]set"):
                late = self.seal(self.plain("late", m=b"late %d" % version), dest)
                common.wait_for("a held request", lambda: any(
                    e["n"] is None and e["method"] == "PUT" for e in self.lab.s3.log()), late)
                self.assertEqual(finish(self.seal(self.plain("early", m=b"early %d" % version),
                                                  dest)).code, OK)
            done = finish(late)
            self.assertEqual(done.code, OK, done.err)
            self.assertIn("another writer changed the set", done.err)
            self.assertEqual(reader.read(folder, self.key, self.public),
                             (version + 1, {"m": b"late %d" % version}))

    def test_a_server_without_if_match(self):
        dest, folder = self.lab.s3_url("plain/"), self.lab.s3.file("plain")
        self.assertEqual(finish(self.seal(self.plain("p", m=b"1"), dest)).code, OK)
        before = files(folder)
        with self.lab.s3.fault(kind="status", status=412, code="PreconditionFailed",
                               match="PUT .*sealed[.]set"):
            done = finish(self.seal(self.plain("p", m=b"2"), dest))
        self.assertEqual(done.code, common.FAILURE)
        self.assertIn("does not know If-Match", done.err)
        self.assertEqual(files(folder), before)
        self.assertEqual(reader.read(folder, self.key, self.public), (1, {"m": b"1"}))


class Kills(Base):
    def test_old_or_new(self):
        dest = self.lab.path("kills", "sealed")
        sizes = {"a": 600_000, "b": 10, "c": 70_000}
        versions = [{name: bytes([65 + n]) * size for name, size in sizes.items()}
                    for n in range(2)]
        versions[1]["d"] = b"new"
        plains = [self.plain(f"v{n}", **version) for n, version in enumerate(versions)]
        began = time.monotonic()
        self.assertEqual(finish(self.seal(plains[0], dest)).code, OK)
        moments = Moments(int(os.environ.get("SEALEDFS_SEED", "1")), time.monotonic() - began)
        last, outcomes = 1, {"old": 0, "new": 0}
        now = dict(versions[0])
        for n in range(KILLS):
            wanted = dict(now, **versions[(n + 1) % 2])
            child = self.seal(plains[(n + 1) % 2], dest)
            moments.wait(child)
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()
            child.stderr.close()
            version, found = reader.read(dest, self.key, self.public)
            if version == last:
                self.assertEqual(found, now, f"kill {n}: neither the old set nor the new one")
                outcomes["old"] += 1
            else:
                self.assertEqual((version, found), (last + 1, wanted), f"kill {n}")
                outcomes["new"] += 1
            moments.came(early=version == last)
            last, now = version, found
        self.assertTrue(all(outcomes.values()), outcomes)
        # The next writer finishes what is pending; what nobody names can be cleaned away.
        self.assertEqual(finish(self.seal(plains[0], dest)).code, OK)
        self.lab.sealctl("clean", "--delete", "--older-than", "0s", dest, expect=OK)
        now.update(versions[0])
        self.assertEqual(reader.read(dest, self.key, self.public), (last + 1, now))
        self.assertFalse([name for name in files(dest) if name.endswith(".next")])
        self.lab.sealctl("set", "check", dest, "--key-file", self.key, expect=OK)


if __name__ == "__main__":
    common.main()
