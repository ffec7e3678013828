#!/usr/bin/python3
"""fs/resident: memory: headers, budgets, who leaves for whom, control groups, mounts without the privilege."""

import json
import os
import shutil
import subprocess

import common
import common_cgroup
import common_resident
from common import CHUNK, MIB, OK
from common_resident import attached, make_resident, model, read_range, report, state

NOBODY = 65534
SMALL = bool(os.environ.get("SEALEDFS_QUICK"))


class Headers(common_resident.ResidentCase):
    """What Ollama does with every model when it starts."""

    SIZES = {f"{number:02}.gguf": 40 * MIB for number in range(6 if SMALL else 20)}

    def test_nothing_becomes_resident(self):
        with self.resident_mount() as mount:
            for _ in range(2):
                for name in self.SIZES:
                    with common.opened(mount.join(name)) as descriptor:
                        read_range(descriptor, 0, 12 * MIB)
                        self.same_at(descriptor, 0, CHUNK, name)
            seen = report(mount)
            self.assertEqual({entry["residency"]["state"] for entry in seen["models"]}, {"none"})
            self.assertEqual(seen["residents"]["used_bytes"], 0)
            self.assertNotIn("resident,", mount.log())


class Budget(common_resident.ResidentCase):
    SIZES = {"a.gguf": 40 * MIB, "b.gguf": 40 * MIB, "c.gguf": 50 * MIB}

    def refused(self, mount, name):
        with common.opened(mount.join(name)) as descriptor:
            read_range(descriptor, 0, 36 * MIB)
            common.wait_for("refused", lambda: "reason" in model(mount, name)["residency"])
        return model(mount, name)["residency"]["reason"]["message"]

    def test_least_recently_used_leaves(self):
        with self.resident_mount(resident="100M") as mount:
            make_resident(mount, "a.gguf")
            make_resident(mount, "b.gguf")
            with common.opened(mount.join("a.gguf")):
                self.assertEqual(attached(mount, "a.gguf"), 1)
            make_resident(mount, "c.gguf")
            self.assertEqual([state(mount, name) for name in self.SIZES],
                             ["resident", "none", "resident"])
            self.assertIn("another model", model(mount, "b.gguf")["residency"]["reason"]["message"])
            self.assertEqual(report(mount)["residents"]["used_bytes"], 90 * MIB)
            for name in self.SIZES:
                self.same(mount, name)

    def test_what_is_open_stays(self):
        with self.resident_mount(resident="100M") as mount:
            make_resident(mount, "a.gguf")
            make_resident(mount, "b.gguf")
            with common.opened(mount.join("a.gguf")) as a, common.opened(mount.join("b.gguf")):
                why = self.refused(mount, "c.gguf")
                self.assertRegex(why, "does not fit: it needs 50 MiB, and option resident leaves")
                self.assertIn(why, mount.log())
                self.assertIn(why, self.lab.sealctl("status", mount.path, expect=OK).out)
                self.same(mount, "c.gguf")
                self.same_at(a, 20 * MIB, name="a.gguf")
                done = self.lab.sealctl("warm", mount.join("c.gguf"), expect=OK)
                self.assertNotIn("resident", done.out)
            self.assertEqual(state(mount, "a.gguf"), "resident")

    def test_larger_than_the_option(self):
        with self.resident_mount(resident="45M") as mount:
            make_resident(mount, "a.gguf")
            self.assertIn("does not fit", self.refused(mount, "c.gguf"))
            # It would not have helped.
            self.assertEqual(state(mount, "a.gguf"), "resident")
            make_resident(mount, "b.gguf")
            self.assertEqual(state(mount, "a.gguf"), "none")


class Group(common_resident.ResidentCase):
    """A control group that is smaller than the model."""

    SIZES = {"m.gguf": (600 if SMALL else 2000) * MIB}
    LIMIT = 512 * MIB

    def test_falls_back(self):
        group = common_cgroup.Cgroup(self, self.LIMIT)
        with self.resident_mount("memory=64M") as mount:
            group.add(mount.pid)
            self.same(mount)
            why = model(mount)["residency"]["reason"]["message"]
            self.assertIn("memory leaves", why)
            self.assertEqual(self.lab.sealctl("warm", "-q", mount.path).code, OK)
            self.same(mount)
            self.assertEqual(report(mount)["residents"]["used_bytes"], 0)
            self.assertEqual(group.kills(), 0)


class Leaves(common_resident.ResidentCase):
    SIZES = {"m.gguf": 64 * MIB}

    def test_memory_becomes_short(self):
        """Another process of the group takes what was left: less than the margin of 64 MiB remains,
        whether the daemon's own 32 MiB were charged to the group or, before it came, to another."""
        group = common_cgroup.Cgroup(self, 420 * MIB)
        with self.resident_mount("memory=32M") as mount:
            group.add(mount.pid)
            make_resident(mount)
            hog = self.hog(group, 300 * MIB)
            common.wait_for("it to leave", lambda: state(mount) == "none", mount.process)
            self.assertIn("short", model(mount)["residency"]["reason"]["message"])
            self.same(mount)
            self.assertEqual(group.kills(), 0)
            hog.stdin.close()
            self.assertEqual(hog.wait(60), 0)

    def hog(self, group, size):
        script = "import sys; sys.stdin.readline(); m = bytearray(b'x') * int(sys.argv[1]); " \
                 "print(len(m), flush=True); sys.stdin.readline()"
        process = subprocess.Popen(["/usr/bin/python3", "-c", script, str(size)], text=True,
                                          stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(common.end, process)
        group.add(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        self.assertEqual(int(process.stdout.readline()), size)
        return process


class Sources(common_resident.ResidentCase):
    """Other sources and measuring modes."""

    PARTS = ("s3",)
    SIZES = {"m.gguf": 64 * MIB + 3}

    def test_from_s3(self):
        self.lab.seal(self.plain(), self.lab.s3_url("prod/"), "--key-file", self.key)
        with self.resident_mount(source=self.lab.s3_url("prod")) as mount:
            make_resident(mount)
            self.lab.s3.clear_log()
            self.same(mount)
            self.assertEqual([entry for entry in self.lab.s3.log()
                              if (entry["key"] or "").endswith(".sealed")], [])

    def test_server_fails_and_comes_back(self):
        self.lab.seal(self.plain(), self.lab.s3_url("fails/"), "--key-file", self.key)
        with self.resident_mount(source=self.lab.s3_url("fails")) as mount:
            with common.opened(mount.join("m.gguf")) as descriptor:
                with self.lab.s3.fault(match=r"GET .*\.sealed", kind="status", code="AccessDenied"):
                    self.lab.sealctl("warm", "-q", mount.path)
                    common.wait_for("refused", lambda: "reason" in model(mount)["residency"])
                self.assertEqual(state(mount), "none")
                self.same_at(descriptor, 40 * MIB)
            self.assertEqual(self.lab.sealctl("warm", "-q", mount.path).code, OK)
            common.wait_for("resident", lambda: state(mount) == "resident", mount.process)
            self.same(mount)

    def test_measured(self):
        tpm = common.Tpm(self.lab)
        for mode in ("verity", "sha384"):
            with self.subTest(mode), self.lab.mount(
                    self.source, "key-file=" + self.key, "attest=none", "measure=" + mode,
                    "resident=auto", tpm=tpm) as mount:
                self.lab.sealctl("warm", "-q", mount.path, expect=OK)
                self.assertEqual(model(mount)["state"], "measured")
                self.same(mount)
                self.assertEqual(state(mount), "resident")


class Without(common_resident.ResidentCase):
    """Nobody may register memory with the kernel: pages as with resident=off."""

    SIZES = {"m.gguf": 40 * MIB}

    def setUp(self):
        super().setUp()
        self.point = self.lab.path(self.id().rsplit(".", 1)[1], make=True)

    def start(self, *before, program=common.SEALEDFS, key=None):
        """In the foreground, with its log."""
        log_path = self.point + ".log"
        options = ",".join(self.options("resident=auto", "ollama=off")).replace(self.key, key or self.key)
        with open(log_path, "wb") as log:
            process = subprocess.Popen([*before, program, self.source, self.point, "-f", "-o", options],
                                       env=self.lab.env(), stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log)
        self.addCleanup(common.end, process)
        return process, log_path

    def seen(self, *before):
        """As a program sees it that may enter the mount."""
        done = self.lab.run(*before, "cat", self.point + "/.sealedfs/status.json")
        return json.loads(done.out) if done.code == 0 else None

    def fallen_back(self, log_path, word, *before):
        done = self.lab.run(*before, "sha256sum", self.point + "/m.gguf")
        self.assertEqual(done.out.split()[:1], [common.digest(self.plain())], done.err)
        common.wait_for("the reason", lambda: not self.seen(*before)["residents"]["possible"])
        seen = self.seen(*before)
        self.assertIn(word, seen["residents"]["reason"]["message"])
        common.wait_for("no memory", lambda: self.seen(*before)["residents"]["used_bytes"] == 0)
        self.assertIn(word, common.read_bytes(log_path).decode())
        done = self.lab.run(*before, "sha256sum", self.point + "/m.gguf")
        self.assertEqual(done.out.split()[:1], [common.digest(self.plain())], done.err)

    def test_mount_by_a_user(self):
        common.need_user_mounts(self)
        os.chmod(self.lab.dir, 0o755)
        home = self.lab.path("home", make=True)
        key, program = os.path.join(home, "key"), shutil.copy(common.SEALEDFS, home)
        shutil.copy(self.key, key)
        for path in (home, self.point, key):
            os.chown(path, NOBODY, NOBODY)
        user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
        process, log_path = self.start(*user, program=program, key=key)
        common.wait_for("mount", lambda: self.seen(*user), process)
        self.fallen_back(log_path, "CAP_SYS_ADMIN", *user)
        self.lab.run(*user, "fusermount3", "-u", self.point)
        self.assertEqual(process.wait(60), OK)

    def test_container(self):
        """Root of a user namespace may mount, and register nothing."""
        before = ("unshare", "--user", "--map-root-user", "--mount")
        if self.lab.run(*before, "true").code != 0:
            self.skipTest("no user namespaces")
        process, log_path = self.start(*before)
        enter = ("nsenter", f"--target={process.pid}", "--user", "--mount", "--preserve-credentials")
        common.wait_for("mount", lambda: self.seen(*enter), process)
        self.fallen_back(log_path, "not permitted", *enter)
        self.lab.run(*enter, "umount", self.point)
        self.assertEqual(process.wait(60), OK)


if __name__ == "__main__":
    common.main()
