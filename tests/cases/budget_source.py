#!/usr/bin/python3
"""Sources that are not what was meant: nothing in them, mistyped, a listing that never ends; keys
that are none and mount points that are taken. The message tells what is wrong."""

import http.server
import os
import re
import shutil
import threading
import unittest

import common
from common import FAILURE, OK, USAGE
from common_local import Local


class Nothing(Local):
    """A source without a model does not mount, unless it is told to."""

    PARTS = ("s3",)

    def test_s3(self):
        plain = self.lab.path("plain", make=True)
        common.make_model(os.path.join(plain, "a.bin"), 7000)
        for prefix in ("prod/", "test/deep/"):
            self.lab.seal(plain, self.lab.s3_url(prefix), "--key-file", self.key)
        with open(self.lab.s3.file("notes.txt"), "w", encoding="ascii") as out:
            out.write("no seal")
        for spec, *words in (
                ("prdo", "s3://weights/ has notes.txt, prod/, test/"),
                ("test/dep", "s3://weights/test/ has deep/"),
                ("prod/a.bin", "an object, not a prefix", "s3://weights/prod/ is where"),
                ("prod/a.bin.seal", "an object, not a prefix", "s3://weights/prod/ is where"),
                ("prod?versionId=1", "prod/", "no queries"),
                ("notes.txt", "an object, not a prefix")):
            for option in ("ready=open", "ready=unlocked"):
                with self.subTest(spec, option=option):
                    done = self.mount_fails(self.lab.s3_url(spec), option)
                    self.assert_result(done, FAILURE, "no sealed model", "allow-empty", *words)
        with self.mount(self.lab.s3_url("later"), "allow-empty") as mount:
            self.assertEqual(os.listdir(mount.path), [])
            self.lab.seal(plain, self.lab.s3_url("later"), "--key-file", self.key)
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.same(mount, plain, "a.bin")

    def test_folders(self):
        empty = self.lab.path("empty", make=True)
        self.assert_result(self.mount_fails(empty), FAILURE, "no sealed model", "0 entries")
        with open(os.path.join(empty, "a.bin"), "wb") as out:
            out.write(b"plain")
        self.assert_result(self.mount_fails(empty, "ready=unlocked"), FAILURE, "1 entries")
        self.assert_result(self.mount_fails(os.path.join(empty, "a.bin")), FAILURE, "folder")
        self.assert_result(self.mount_fails(self.lab.path("none")), FAILURE, "no such file")
        with self.mount(empty, "allow-empty") as mount:
            self.assertEqual(os.listdir(mount.path), [])

    def test_reload_may_empty_it(self):
        """Whoever removes all models has not mistyped anything."""
        _, folder = self.sealed("emptied")
        with self.mount(folder) as mount:
            for name in os.listdir(folder):
                os.remove(os.path.join(folder, name))
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), OK)
            self.assertEqual(os.listdir(mount.path), [])

    def test_what_looks_like_a_url(self):
        plain = common.make_model(self.lab.path("one.bin"), 1000)
        for spec in ("S3://weights/prod", "s3:/weights/prod", "s3:weights", "https://weights/prod",
                     "http://h/x", "gs://weights/x", "file:///tmp/x", "arn:aws:s3:::weights/prod",
                     " s3://weights/prod", "s3 ://weights/prod", "s3//weights/prod", "s3a:weights",
                     "HTTPS:weights", "gs:weights/x", "weights.s3.amazonaws.com/prod",
                     "s3.eu-west-1.amazonaws.com/weights"):
            with self.subTest(spec):
                before = sorted(os.listdir("."))
                done = self.lab.sealctl("seal", plain, spec, "--key-file", self.key)
                self.assert_result(done, USAGE, "s3://BUCKET/PREFIX")
                self.assertEqual(sorted(os.listdir(".")), before)
                self.assert_result(self.mount_fails(spec), USAGE, "s3://BUCKET/PREFIX")
                self.assert_result(self.lab.sealctl("check", spec, "--key-file", self.key), USAGE)
                for argv in (("hash", spec), ("hash", "--pcr", spec), ("inspect", spec),
                             ("seal", spec, self.lab.path("new"), "--key-file", self.key)):
                    self.assert_result(self.lab.sealctl(*argv), USAGE, "s3://BUCKET/PREFIX")
        # What a key may be, and no path can.
        for prefix in ("a//b/", "../x", "x/.", "./x", "x\n", "x/.sealedfs/y"):
            self.assert_result(self.lab.sealctl("seal", plain, "s3://weights/" + prefix, "--key-file",
                                                self.key), USAGE, "cannot seal to s3://weights/")
        strange = self.lab.path("s3:", make=True)
        self.lab.seal(plain, os.path.join(strange, "x"), "--key-file", self.key)


class ExitCodes(Local):
    """The table of sealedfs(8), EXIT STATUS, for what goes wrong before anything is served. What
    AWS's files do to it is net.py's."""

    def test_key_files_that_are_none(self):
        """The same in both programs."""
        plain, folder = self.sealed("keys")
        private, public = self.lab.owner_key("keys-owner")
        bad = {"none": FAILURE, "garbage": USAGE, "empty": USAGE, "large": USAGE, "open": USAGE}
        for name, text in (("garbage", "garbage"), ("empty", ""), ("large", "x" * 100000)):
            with open(self.lab.path("bad", name), "w", encoding="ascii") as out:
                out.write(text)
            os.chmod(out.name, 0o600)
        shutil.copy(self.key, self.lab.path("bad", "open"))
        os.chmod(self.lab.path("bad", "open"), 0o644)
        for name, code in bad.items():
            path = self.lab.path("bad", name)
            with self.subTest(name):
                self.assert_result(self.lab.mount_fails(folder, "key-file=" + path, "attest=none",
                                                        "measure=none"), code)
                self.assert_result(self.mount_fails(folder, "owner-key=" + path), code)
                self.assert_result(self.lab.sealctl("check", folder, "--key-file", path), code)
                self.assert_result(self.lab.sealctl("check", folder, "--owner-key", path), code)
                for option in (("--key-file", path), ("--key-file", self.key, "--sign", path)):
                    self.assert_result(self.lab.sealctl("seal", plain, self.lab.path("new"),
                                                        *option), code)
        self.assert_result(self.mount_fails(folder, "owner-key=" + private), USAGE, "private key")
        self.assert_result(self.lab.sealctl("seal", plain, self.lab.path("new"), "--key-file",
                                            self.key, "--sign", public), USAGE)

    def test_a_mount_point_that_is_taken(self):
        _, folder = self.sealed("taken")
        with self.mount(folder) as mount:
            done = self.lab.run(common.SEALEDFS, folder, mount.path, "-o",
                                ",".join(self.options))
            self.assert_result(done, FAILURE, "mounted there already")
            done = self.lab.run(common.SEALEDFS, "--unmount", mount.path)
            self.assert_result(done, FAILURE, "a running daemon")
        self.assert_result(self.lab.run(common.SEALEDFS, "--unmount", mount.path), OK)
        self.assert_result(self.lab.run(common.SEALEDFS, "--unmount", self.lab.path("never")), OK)


class Hostile(http.server.BaseHTTPRequestHandler):
    """ListObjectsV2 as an enemy answers it; cls.page(number, token) gives the elements."""

    page = None
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        token = re.search(r"continuation-token=([^&]*)", self.path)
        self.server.requests += 1
        body = ("<ListBucketResult>" + self.server.page(self.server.requests,
                                                        token and token.group(1))
                + "</ListBucketResult>").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        """There is no set."""
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_unused):
        pass


def item(key):
    return f"<Contents><Key>{key}</Key><Size>6</Size><ETag>&quot;e&quot;</ETag></Contents>"


def more(token):
    return f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"


class HostileServer(Local):
    """A listing ends, whatever the server does."""

    def listing(self, page, *options):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
        server.page, server.requests = page, 0
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            extra = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}"}
            done = self.lab.mount_fails("s3://weights/p", *self.options, *options, extra=extra)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        return done, server.requests

    def test_the_same_token_again(self):
        done, requests = self.listing(lambda number, _: item(f"p/{number}") + more("t"))
        self.assertIn("does not end", done.err)
        self.assertLess(requests, 10)

    def test_tokens_in_a_circle(self):
        for length in (2, 3, 17):
            with self.subTest(length):
                done, requests = self.listing(
                    lambda number, _, n=length: item(f"p/{number}") + more(f"t{number % n}"))
                self.assertIn("does not end", done.err)
                self.assertLess(requests, 6 * length + 10)

    def test_pages_with_nearly_nothing(self):
        done, requests = self.listing(lambda number, _: item(f"p/{number}") + more(f"t{number}"))
        self.assertIn("does not end", done.err)
        self.assertLess(requests, 1000)

    def test_ever_more_objects(self):
        """Long keys for ever: the memory that they may take is over before a million are there."""
        name = "n" * 900

        def page(number, _):
            return "".join(item(f"p/{number:06}{index:04}{name}.seal")
                           for index in range(1000)) + more(f"t{number}")

        done, requests = self.listing(page, "memory=32M")
        self.assert_result(done, FAILURE, "more than 1000000 objects")
        self.assertLess(requests, 1010)

    def test_a_key_twice(self):
        done, _ = self.listing(lambda *_: item("p/a.seal") + item("p/a.seal"))
        self.assertIn("repeats", done.err)


if __name__ == "__main__":
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")
    common.main()
