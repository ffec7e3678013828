#!/usr/bin/python3
"""sealctl doctor: Ollama's unit and version, and plaintext copies by digest; each finding both ways.

Other findings of the machine that runs the tests may be there. Drives tools/doctor.
"""

import http.server
import json
import os
import shutil
import threading

import common
from common_doctor import DoctorCase, TreeCase

UNIT = "[Service]\nUser=ollama\nExecStart=/usr/bin/ollama serve\n"
DROPIN = common.read_text(os.path.join(common.TOP, "systemd", "ollama.service.d", "sealedfs.conf"))


class Unit(TreeCase):
    """A tree with Ollama and the drop-in of sealedfs, as its generator links it."""

    DROPIN = "run/systemd/generator/ollama.service.d/sealedfs.conf"

    def setUp(self):
        super().setUp()
        self.write("etc/systemd/system/ollama.service", UNIT)
        self.write(self.DROPIN, DROPIN)

    def test_nothing_is_found(self):
        self.look(expect=())

    def test_not_ours(self):
        self.remove(self.DROPIN)
        self.look(expect=["ollama-models"])
        self.remove("etc/systemd/system/ollama.service")
        self.look(expect=())

    def test_generator_of_an_image(self):
        """It has not run in a tree; it would link the file of the package."""
        self.remove(self.DROPIN)
        self.write("etc/sealedfs/models.conf", "source = s3://a/b\n")
        self.look(expect=["ollama-models"])
        self.write("usr/lib/systemd/system-generators/sealedfs-generator", "#!/bin/sh\n", 0o755)
        self.write("usr/share/sealedfs/ollama.conf", DROPIN)
        self.look(expect=())
        self.link("etc/systemd/system/ollama.service.d/sealedfs.conf", "/dev/null")
        self.write("dev/null")
        self.look(expect=["ollama-models"])

    def test_a_later_dropin_wins(self):
        self.write("etc/systemd/system/ollama.service.d/mine.conf",
                   '[Service]\nEnvironment="OLLAMA_MODELS=/var/lib/ollama" OLLAMA_DEBUG=1\n')
        found, _ = self.look(expect=["ollama-models"])
        self.assertIn("/var/lib/ollama", found["ollama-models"][0]["what"])

    def test_noprune(self):
        self.write(self.DROPIN, DROPIN.replace("OLLAMA_NOPRUNE=1", "OLLAMA_NOPRUNE=0"))
        self.look(expect=["ollama-noprune"])

    def test_group(self):
        self.write(self.DROPIN, DROPIN.replace("SupplementaryGroups=sealedfs", ""))
        self.look(expect=["ollama-group"])
        self.write("etc/systemd/system/ollama.service.d/group.conf", "[Service]\nGroup=sealedfs\n")
        self.look(expect=())

    def test_another_mount(self):
        path = self.lab.path("other.conf")
        for more, expected in (("", ["ollama-models"]), ("ollama = off\n", ()),
                               ("mountpoint = /srv/models\n", ())):
            with open(path, "w", encoding="ascii") as out:
                out.write("source = /sealed\nmeasure = none\nkey-file = /nowhere\n" + more)
            self.look(path, expect=expected)


class _Version(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # pylint: disable=invalid-name
        body = self.server.answer if self.path == "/api/version" else b""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_unused):
        pass


class Version(DoctorCase):
    def setUp(self):
        super().setUp()
        self.server = http.server.HTTPServer(("127.0.0.1", 0), _Version)
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def look(self, answer, host=None):
        self.server.answer = answer
        found, report = self.doctor(extra={"OLLAMA_HOST": host or self.host})
        return "ollama-version" in found, json.dumps(report)

    def test_version(self):
        found, report = self.look(b'{"version":"0.24.1"}')
        self.assertTrue(found)
        self.assertIn("has version 0.24.1", report)
        for version in ("0.25.0", "0.33.2", "1.0.0"):
            found, report = self.look(json.dumps({"version": version}).encode())
            self.assertFalse(found, version)
            self.assertIn(f"has version {version}", report)

    def test_no_ollama(self):
        for answer, host in ((b"{}", None), (b"no json", None), (b'{"version":"new"}', None),
                             (b"", "127.0.0.1:1")):
            found, report = self.look(answer, host)
            self.assertFalse(found)
            self.assertIn("Ollama's version: ", report)


class Copies(DoctorCase):
    PARTS = ("kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.model = common.make_model(lab.path("plain", "m.gguf"), 700000, 1)
        cls.key = lab.key_file()
        lab.seal(cls.model, lab.path("sealed", make=True), "--key-file", cls.key)

    def setUp(self):
        super().setUp()
        self.disk = self.lab.path("disk", make=True)
        shutil.rmtree(self.disk)
        os.makedirs(os.path.join(self.disk, "deep", "er"))

    def look(self, *place, root=()):
        found, report = self.doctor(*root, *(place or (self.lab.path("sealed"), "-o",
                                                       f"key-file={self.key},measure=none")),
                                    "--search", self.disk)
        return [each["what"] for each in found.get("plaintext-copy", [])], str(report)

    def test_copies(self):
        """By content, under any name; another file as long is none."""
        self.assertEqual(self.look()[0], [])
        common.make_model(os.path.join(self.disk, "other.bin"), 700000, 2)
        common.make_model(os.path.join(self.disk, "longer.bin"), 700001, 1)
        found, report = self.look()
        self.assertEqual(found, [])
        self.assertIn("2 files were compared with 1 models; 1 had to be read", report)
        copies = [os.path.join(self.disk, *name) for name in (("a",), ("deep", "er", "b.tmp"))]
        for path in copies:
            shutil.copy(self.model, path)
        os.symlink(self.model, os.path.join(self.disk, "link"))
        found, _ = self.look()
        self.assertEqual(sorted(found), [f'{path} is the plaintext of "{self.lab.path("sealed")}/m.gguf"' for path in copies])

    def test_sets_and_buckets(self):
        """Members of a set in S3; also for an image's tree."""
        folder = self.lab.path("set", make=True)
        for name, seed in (("a.gguf", 5), ("b/c.gguf", 6)):
            common.make_model(self.lab.path("set", name), 300000, seed)
        self.lab.sealctl("seal", folder, self.lab.s3_url("set/"), "--set", "two", "--key-file", self.key,
                         "--sign", self.lab.owner_key()[0], expect=common.OK)
        shutil.copy(self.lab.path("set", "b/c.gguf"), os.path.join(self.disk, "x"))
        empty = self.lab.path("empty", make=True)
        for root in ((), ("--root", empty)):
            found, report = self.look(self.lab.s3_url("set"), "-o", f"key-file={self.key},measure=none", root=root)
            self.assertEqual(found, [f'{self.disk}/x is the plaintext of "{self.lab.s3_url("set")}/b/c.gguf"'], report)

    def test_a_mount_is_no_copy(self):
        """What a mount shows is plaintext because it should be; the search stays in its file system."""
        with self.lab.mount(self.lab.path("sealed"), f"key-file={self.key}", "measure=none") as mount:
            os.rmdir(self.disk + "/deep/er")
            self.disk = os.path.dirname(mount.path)
            found, _ = self.look()
            self.assertFalse([text for text in found if mount.path in text], found)

    def test_what_cannot_be_searched(self):
        """A place that cannot be read is said; a folder that is not there is an error."""
        _, report = self.look(self.lab.path("nowhere"), "-o", f"key-file={self.key},measure=none")
        self.assertIn("copies of the models of", report)
        self.lab.sealctl("doctor", self.lab.path("sealed"), "-o", f"key-file={self.key},measure=none",
                         "--search", "/nowhere/at/all", expect=common.FAILURE)
        self.lab.sealctl("doctor", "--search", self.disk, expect=common.USAGE)


if __name__ == "__main__":
    common.main()
