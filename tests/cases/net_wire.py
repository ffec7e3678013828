#!/usr/bin/python3
"""fs/net below S3: servers that do not speak HTTP, TLS, proxies; and Ceph RGW, a real S3 server.

The raw servers here answer with bytes that no well-meaning server sends.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
from common_net import BUCKET, ODD_KEYS, NetCase, RawServer  # noqa: E402


class Wire(NetCase):
    """Below S3: no server, no HTTP, TLS, proxies."""

    def get(self, url, errno_name, *words, **env):
        return self.bad(errno_name, "get", BUCKET, "k", words=words, AWS_ENDPOINT_URL_S3=url,
                        **env)

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        result = self.probe("get", BUCKET, "k", AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port}",
                            PROBE_ATTEMPTS="3")
        self.assertTrue(result.err.startswith("ECONNREFUSED:"), result.err)
        self.assertEqual(result.code, common.UNREACHABLE)
        self.assertIn(f"127.0.0.1:{port}", result.err)
        self.get("https://no-such-host.invalid", "EHOSTUNREACH", "no-such-host.invalid",
                 PROBE_ATTEMPTS="2")

    def test_a_connection_that_is_never_accepted(self):
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.connect(("127.0.0.1", port))
            self.get(f"http://127.0.0.1:{port}", "ETIMEDOUT", PROBE_ATTEMPTS="1")
            for one in waiting:
                one.close()

    def test_not_http(self):
        many = b"".join(b"X-%d: y\r\n" % number for number in range(100))
        ok = b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\n"
        for name, answer, pattern in (
                ("ssh", b"SSH-2.0-OpenSSH_9\r\n", "EREMOTEIO"),
                ("http/0.9", b"<html>hello</html>", "EREMOTEIO"),
                ("nothing", b"", "ECONNRESET"),
                ("half a header", b"HTTP/1.1 200 O", "ECONNRESET|EREMOTEIO"),
                ("no status", b"HTTP/1.1 \r\n\r\n", "EREMOTEIO"),
                ("status 99", b"HTTP/1.1 99 x\r\n\r\n", "EREMOTEIO"),
                ("too many headers", ok + many + b"\r\n", "EREMOTEIO"),
                ("a huge header", ok + b"A: " + b"x" * 90000 + b"\r\n\r\n", "EREMOTEIO"),
                ("no colon", ok + b"nonsense\r\n\r\n", "EREMOTEIO"),
                ("negative length", ok + b"Content-Length: -5\r\n\r\n", "EREMOTEIO|ECONNRESET"),
                ("length of words", ok + b"Content-Length: ten\r\n\r\n", "EREMOTEIO|ECONNRESET"),
                ("huge length", ok + b"Content-Length: 99999999999999\r\n\r\nx", "EREMOTEIO"),
                ("body too short", ok + b"Content-Length: 10\r\n\r\nabc", "ECONNRESET"),
                ("bad chunk", ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
                 "EREMOTEIO|ECONNRESET"),
                ("compressed", ok + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
                 "EREMOTEIO"),
                ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "EREMOTEIO")):
            with self.subTest(name), RawServer(answer) as server:
                result = self.probe("get", BUCKET, "k", AWS_ENDPOINT_URL_S3=server.url,
                                    PROBE_ATTEMPTS="2")
                self.assertRegex(result.err, f"^({pattern}):")
                self.assertIn("s3://weights/k", result.err)

    def test_redirects_are_not_followed(self):
        with RawServer(b"") as target:
            answer = (b"HTTP/1.1 302 Found\r\nLocation: " + target.url.encode()
                      + b"/stolen\r\nContent-Length: 0\r\n\r\n")
            with RawServer(answer) as server:
                self.get(server.url, "EREMOTEIO", "302")
                self.assertEqual(len(server.requests), 1)
            self.assertEqual(target.requests, [])

    def certificate(self, name, alternative):
        key, cert = self.lab.path(name + ".key"), self.lab.path(name + ".pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                        "-out", cert, "-days", "2", "-subj", "/CN=" + name, "-addext",
                        "subjectAltName=" + alternative], check=True, capture_output=True)
        return cert, key

    def test_tls(self):
        cert, key = self.certificate("right", "IP:127.0.0.1")
        wrong_cert, wrong_key = self.certificate("wrong", "DNS:elsewhere.example.com")
        root = self.lab.path("tls", make=True)
        for pair, bundle, works in (((cert, key), cert, True), ((cert, key), None, False),
                                    ((cert, key), wrong_cert, False),
                                    ((wrong_cert, wrong_key), wrong_cert, False)):
            server = common.Emulator(self.lab, "s3tls", "s3.py", "--root", root, "--credentials",
                                     self.lab.credentials, "--bucket", BUCKET, "--tls", *pair)
            try:
                with open(os.path.join(root, BUCKET, "k"), "wb") as out:
                    out.write(b"over TLS")
                url = f"https://127.0.0.1:{server.port}"
                for variable in ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE") if works else ("AWS_CA_BUNDLE",):
                    env = {"AWS_ENDPOINT_URL_S3": url, variable: bundle}
                    if works:
                        self.assertEqual(self.good("get", BUCKET, "k", **env), b"over TLS")
                    else:
                        self.bad("EIO", "get", BUCKET, "k", words=("AWS_CA_BUNDLE",), **env)
                        self.assertLess(self.took_s, 40)
            finally:
                server.stop()
        with RawServer(b"HTTP/1.1 200 OK\r\n\r\n") as plain:
            self.get(plain.url.replace("http:", "https:"), "EIO")

    def test_proxies(self):
        """Only https goes through one (net_plain.py has the rest), unless no_proxy names the server."""
        url = "https://s3.example.invalid"
        with RawServer(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as proxy:
            self.bad("ECONNRESET", "get", BUCKET, "k", words=("proxy",), AWS_ENDPOINT_URL_S3=url,
                     https_proxy=proxy.url, PROBE_ATTEMPTS="1")
            self.assertTrue(proxy.requests[0].startswith(b"CONNECT s3.example.invalid:443 "))
            self.get(url, "EHOSTUNREACH", https_proxy=proxy.url, no_proxy="s3.example.invalid",
                     PROBE_ATTEMPTS="1")
            self.assertEqual(len(proxy.requests), 1)

    def test_proxies_that_refuse(self):
        """Once is enough: the next attempt would be refused as well. What may pass is tried again."""
        for status, errno_name, times in ((401, "EINVAL", 1), (403, "EINVAL", 1),
                                          (407, "EINVAL", 1), (503, "ECONNRESET", 2)):
            answer = (f"HTTP/1.1 {status} No\r\nProxy-Authenticate: Basic realm=x\r\n"
                      "Content-Length: 0\r\n\r\n").encode()
            with self.subTest(status), RawServer(answer) as proxy:
                result = self.probe("get", BUCKET, "k", PROBE_ATTEMPTS="2", https_proxy=proxy.url,
                                    AWS_ENDPOINT_URL_S3="https://s3.example.invalid")
                self.assertTrue(result.err.startswith(errno_name + ":"), result.err)
                self.assertIn(f"the proxy answered {status}", result.err)
                self.assertIn("HTTPS_PROXY", result.err)
                self.assertEqual(len(proxy.requests), times)
                self.assertEqual(result.code, common.USAGE if errno_name == "EINVAL"
                                 else common.UNREACHABLE)


@unittest.skipUnless(shutil.which("radosgw"), "radosgw is not installed: tests/emu/rgw install")
class Rgw(NetCase):
    """The same client against a server that was not written by us."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dir = tempfile.mkdtemp(prefix="rgw.", dir=cls.lab.dir)
        script = os.path.join(common.EMU, "rgw")
        cls.addClassCleanup(subprocess.run, [script, "stop", cls.dir], check=False)
        subprocess.run([script, "start", cls.dir], check=True, stdout=subprocess.DEVNULL)
        cls.ENDPOINT = common.read_text(os.path.join(cls.dir, "endpoint")).strip()
        subprocess.run(["/usr/bin/python3", os.path.join(common.EMU, "s3_client.py"), cls.ENDPOINT,
                        os.path.join(cls.dir, "credentials.json"), "mb", BUCKET], check=True)

    def probe(self, *argv, data=None, **env):
        with open(os.path.join(self.dir, "credentials.json"), encoding="utf-8") as source:
            (key_id, entry), = json.load(source).items()
        return super().probe(*argv, data=data, **{
            "AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": entry["secret"], **env})

    def test_operations(self):
        path = common.make_model(self.lab.path("rgw-model"), 12 << 20, seed=3)
        data = common.model_bytes(12 << 20, seed=3)
        keys = [key for key in ODD_KEYS if ".." not in key and "./" not in key]
        for key in keys:
            with self.subTest(key=key[:40]):
                self.good("put", BUCKET, "odd/" + key[:1000], path + ".small"
                          if os.path.exists(path + ".small") else self.small(path))
                self.assertEqual(self.good("get", BUCKET, "odd/" + key[:1000]), b"tiny")
        lines = self.good("list", BUCKET, "odd/").decode().splitlines()
        self.assertEqual(sorted(line.split(" ", 3)[3] for line in lines),
                         sorted("odd/" + key[:1000] for key in keys))
        self.good("multipart", BUCKET, "model", path, str(5 << 20))
        etag = self.good("head", BUCKET, "model").split()[2].decode()
        self.assertEqual(self.good("range", BUCKET, "model", etag, "5000000", "3000000"),
                         data[5000000:8000000])
        self.bad("ESTALE", "range", BUCKET, "model", "\"other\"", "0", "1")
        self.bad("ENODATA", "range", BUCKET, "model", "-", str(12 << 20), "1")
        self.bad("EEXIST", "put", BUCKET, "model", path, "create")
        # This server's If-Match on a PUT never holds (tests/emu/S3.md).
        self.bad("ESTALE", "put", BUCKET, "model", path, etag)
        self.bad("EKEYREJECTED", "get", BUCKET, "model", AWS_SECRET_ACCESS_KEY="wrong")
        self.bad("ENOENT", "get", BUCKET, "absent")
        self.good("delete", BUCKET, "model")
        self.bad("ENOENT", "head", BUCKET, "model")

    @staticmethod
    def small(path):
        with open(path + ".small", "wb") as out:
            out.write(b"tiny")
        return path + ".small"


del NetCase

if __name__ == "__main__":
    common.main()
