#!/usr/bin/python3
"""sealctl rewrap under kill -9 (tools/rewrap, fs/source): the old seal or the new one, and the same
command does the rest."""

import json
import os
import signal
import time

import common
from common import OK
from common_rewrap import RewrapCase, key_id, key_ids, opens
from common_sealctl import Moments, files, finish, start

KILLS = 25 if common.QUICK else 200
MODELS = 4


class Kills:
    """Models that get a recipient and lose it again, by turns."""

    def kill(self, child):
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        child.stderr.close()

    def test_old_or_new(self):
        names = [f"m{n}" for n in range(MODELS)]
        for name in names:
            self.model(name, 300_000)
        self.seal()
        began = time.monotonic()
        self.rewrap("--key-file", self.a, "--add-key-file", self.b)
        moments = Moments(int(os.environ.get("SEALEDFS_SEED", "1")), time.monotonic() - began)
        was = {name: True for name in names}
        seen = {"none": 0, "some": 0, "all": 0}
        for n in range(KILLS):
            adds = not was[names[-1]]
            wish = ("--add-key-file", self.b) if adds else ("--drop", key_id(self.b))
            child = start(self.lab, "rewrap", self.dest, "--key-file", self.a, *wish)
            moments.wait(child)
            self.kill(child)
            now = {name: self.has_b(name) for name in names}
            # In the order of their names, each the old one or the new one.
            changed = [now[name] == adds for name in names]
            self.assertEqual(changed, sorted(changed, reverse=True), f"kill {n}")
            done = all(changed)
            seen["all" if done else "some" if changed[0] and not was[names[0]] == adds
                 else "none"] += 1
            moments.came(early=not done)
            was = now
        self.assertTrue(seen["all"] and seen["all"] < KILLS, seen)
        self.finish_it(names)

    def has_b(self, name):
        self.assertTrue(opens(self.seal_of(name), self.a, self.pub), name)
        found = key_ids(self.seal_of(name))
        self.assertIn(found, ([key_id(self.a)], [key_id(self.a), key_id(self.b)]))
        if len(found) == 2:
            self.assertTrue(opens(self.seal_of(name), self.b, self.pub), name)
        return len(found) == 2

    def finish_it(self, names):
        missing = sum(not self.has_b(name) for name in names)
        found = json.loads(self.rewrap("--key-file", self.a, "--add-key-file", self.b,
                                       "--json").out)
        self.assertEqual((found["rewrapped"], found["already"]), (missing, MODELS - missing))
        self.lab.sealctl("check", self.dest, "--key-file", self.b, "--owner-key", self.pub,
                         expect=OK)
        self.assertEqual(sum(not name.startswith(".") for name in files(self.folder)), 2 * MODELS)


class Directory(Kills, RewrapCase):
    pass


class S3(Kills, RewrapCase):
    PARTS = ("s3",)

    def setUp(self):
        super().setUp()
        self.dest, self.folder = self.lab.s3_url("kills/"), self.lab.s3.file("kills")

    def kill(self, child):
        super().kill(child)
        # A PUT that was sent may take effect after the death of its sender.
        common.wait_for("the server", lambda: all(e["n"] is not None for e in self.lab.s3.log()))


if __name__ == "__main__":
    common.main()
