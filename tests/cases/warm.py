#!/usr/bin/python3
"""sealctl warm: models into the page cache, and what it says when that does not work."""

import json
import os
import pty
import signal
import subprocess

import common
import common_folder
from common import CHUNK, MIB, NOT_AUTHENTIC, OK, REFUSED, USAGE

ODD = "mö\u202e\"del.gguf"
SIZES = {"a.gguf": 40 * MIB + 5, "deep/b.gguf": 4097, "deep/c.gguf": 0, ODD: CHUNK + 1}


class Warm(common_folder.FolderCase):
    SIZES = SIZES

    def warm(self, *args, expect=OK):
        return self.lab.sealctl("warm", *args, expect=expect)

    def resident(self, mount):
        """As another program counts it: resident bytes of each model that was opened."""
        seen = json.loads(self.lab.sealctl("status", "--json", mount.path).out)
        return {model["name"]: model["resident_bytes"] for model in seen["models"]
                if "resident_bytes" in model}

    def test_one_model(self):
        with self.mount() as mount:
            done = self.warm(mount.join("a.gguf"))
            self.assertRegex(done.out, r"^a\.gguf  42 MB in \d+\.\d s, [\d.]+ [kMG]?B/s\n$")
            self.assertEqual(done.err, "")
            self.assertEqual(self.resident(mount), {"a.gguf": SIZES["a.gguf"]})
            self.assertEqual(common.digest(mount.join("a.gguf")),
                             common.digest(self.lab.path("plain", "a.gguf")))

    def test_folder_mount_and_several(self):
        for names, expected in ((["deep/b.gguf", "deep/c.gguf"], {"deep/b.gguf", "deep/c.gguf"}),
                                ([""], set(SIZES)), (["a.gguf", ODD], {"a.gguf", ODD})):
            with self.subTest(names), self.mount() as mount:
                done = json.loads(self.warm("--json", *map(mount.join, names)).out)
                self.assertEqual({model["name"] for model in done["models"]}, expected)
                for model in done["models"]:
                    self.assertEqual(model["resident_bytes"], SIZES[model["name"]])
                self.assertEqual(self.resident(mount), {name: SIZES[name] for name in expected})

    def test_quiet_and_safe_names(self):
        with self.mount() as mount:
            self.assertEqual(self.warm("-q", mount.path).out, "")
            out = self.warm(mount.join(ODD)).out
            self.assertEqual(out.count("\n"), 1)
            self.assertIn(r"m\xe2\x80\xae\x22del.gguf".replace("m", "mö", 1), out)

    def test_second_time_reads_nothing(self):
        with self.mount() as mount:
            self.warm(mount.path)
            before = json.loads(self.lab.sealctl("status", "--json", mount.path).out)["total"]
            self.warm(mount.path)
            after = json.loads(self.lab.sealctl("status", "--json", mount.path).out)["total"]
            self.assertEqual(after["delivered_bytes"], before["delivered_bytes"])

    def test_damaged_model(self):
        source = common.copy_tree(self.source, self.lab.path("damaged"))
        payload = next(name for name in os.listdir(source)
                       if name.startswith("a.gguf") and name.endswith(".sealed"))
        with open(os.path.join(source, payload), "r+b") as out:
            out.seek(30 * CHUNK)
            out.write(b"\0" * 16)
        with self.mount(source=source) as mount:
            done = self.warm(mount.path, expect=NOT_AUTHENTIC)
            self.assert_result(done, NOT_AUTHENTIC, "a.gguf", "chunk 30", "tampered")
            self.assertIn("b.gguf", done.out)
            self.assertEqual(self.resident(mount).get(ODD), SIZES[ODD])
            again = self.lab.sealctl("warm", "--json", mount.join("a.gguf"))
            self.assertEqual(again.code, NOT_AUTHENTIC)
            error = json.loads(again.out)["models"][0]["error"]
            self.assertIn("chunk 30", error["message"])

    def test_key_that_does_not_fit(self):
        other = self.lab.key_file("other")
        with self.lab.mount(self.source, "key-file=" + other, "attest=none",
                            "measure=none") as mount:
            self.assert_result(self.lab.sealctl("warm", mount.join("a.gguf")), REFUSED, "a.gguf")

    def test_wrong_usage(self):
        with self.mount() as mount:
            for args in ((), ("--nonsense", mount.path), (self.lab.dir,), ("/proc",),
                         (mount.join("deep"),)):
                self.assertEqual(self.lab.sealctl("warm", *args).code, USAGE, args)
            self.assertNotEqual(self.lab.sealctl("warm", mount.join("none.gguf")).code, OK)

    def test_bar_on_a_terminal(self):
        with self.mount() as mount:
            ours, theirs = pty.openpty()
            with self.lab_process(mount.path, stderr=theirs) as process:
                os.close(theirs)
                shown = b""
                with self.assertRaises(OSError):
                    while True:
                        shown += os.read(ours, 4096)
                self.assertEqual(process.wait(60), OK)
            os.close(ours)
            self.assertTrue(shown.endswith(b"\x1b[K"), shown[-100:])

    def lab_process(self, path, **more):
        return subprocess.Popen([common.SEALCTL, "warm", path], env=self.lab.env(),
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)


class Interrupted(common.Case):
    """A network that says nothing, and Ctrl-C."""

    PARTS = ("s3",)

    def test_ctrl_c(self):
        plain = common.make_model(self.lab.path("a.gguf"), 30 * MIB)
        key = self.lab.key_file()
        self.lab.seal(plain, self.lab.s3_url("prod/"), "--key-file", key)
        mount = self.lab.start_mount(self.lab.s3_url("prod"), "key-file=" + key, "attest=none",
                                     "measure=none")
        with self.lab.s3.fault(match=r"GET .*\.sealed", kind="stall"):
            self.lab.s3.clear_log()
            process = subprocess.Popen([common.SEALCTL, "warm", mount.path], env=self.lab.env(),
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            common.wait_for("a request that stalls", self.lab.s3.log)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
            self.assertNotEqual(process.returncode, OK)
            self.assertEqual(out, "")
            self.assertIn("nterrupt", err)
            self.assertEqual(err.count("\n"), 1, err)
            mount.ended = True
            mount.process.terminate()
            self.assertEqual(mount.process.wait(120), 0, mount.log())


class LittleMemory(common.Case):
    """A control group that cannot hold the model."""

    PARTS = ()
    # Of version 1 and 2: where groups are, and the file with the limit.
    GROUPS = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"))

    def group(self):
        """A new group with 48 MiB, or a skip."""
        for root, limit in self.GROUPS:
            path = os.path.join(root, f"sealedfs-case.{os.getpid()}")
            try:
                os.mkdir(path)
            except OSError:
                continue
            self.addCleanup(os.rmdir, path)
            if os.path.exists(os.path.join(path, limit)):
                with open(os.path.join(path, limit), "w", encoding="ascii") as out:
                    out.write(str(48 * MIB))
                return path
        return self.skipTest("no control groups for memory")

    def test_said(self):
        group = self.group()
        plain = common.make_model(self.lab.path("a.gguf"), 120 * MIB)
        key = self.lab.key_file()
        self.lab.seal(plain, self.lab.path("s"), "--key-file", key)
        with self.lab.mount(self.lab.path("s"), "key-file=" + key, "attest=none",
                            "measure=none") as mount:
            done = self.lab.run("/bin/sh", "-c", 'echo $$ >"$1"/cgroup.procs; shift; exec "$@"',
                                "sh", group, common.SEALCTL, "warm", mount.path)
            self.assert_result(done, OK, "there is memory for", "in the page cache now")


if __name__ == "__main__":
    common.main()
