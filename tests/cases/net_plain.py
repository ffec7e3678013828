#!/usr/bin/python3
"""Plain http: whoever is asked without TLS is on this machine, or was named by the user.

Runs in a network namespace of its own whose loopback device has one more address, which is none of
127.0.0.0/8. An impostor listens there. It must not see a connection, let alone a byte.
"""

import ctypes
import fcntl
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
from common import OK, USAGE  # noqa: E402
from common_net import BUCKET, PROBE, RawServer  # noqa: E402

FOREIGN = "198.51.100.7"
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8914, 0x8916, 1


def setUpModule():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name, address in ((b"lo", "127.0.0.1"), (b"lo:1", FOREIGN)):
            fcntl.ioctl(control, SIOCSIFADDR, struct.pack(
                "16sH2x4s8x", name, socket.AF_INET, socket.inet_aton(address)))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


class Impostor:
    """Keeps what it is sent; answers each connection like a server that cannot do it."""

    ANSWER = b"HTTP/1.1 500 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def __init__(self, relay_port=None):
        self.socket = socket.create_server((FOREIGN, 0))
        self.port = self.socket.getsockname()[1]
        self.host = f"{FOREIGN}:{self.port}"
        self.url = "http://" + self.host
        self.relay_port = relay_port
        self.received = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            while True:
                connection, _ = self.socket.accept()
                self.received.append(b"")
                threading.Thread(target=self.talk, args=(connection,), daemon=True).start()
        except OSError:
            return

    def talk(self, connection):
        try:
            with connection:
                if self.relay_port is None:
                    connection.settimeout(5)
                    self.received[-1] += connection.recv(65536)
                    connection.sendall(self.ANSWER)
                    return
                with socket.create_connection(("127.0.0.1", self.relay_port)) as server:
                    back = threading.Thread(target=self.pump, args=(server, connection))
                    back.start()
                    self.pump(connection, server)
                    back.join()
        except OSError:
            return

    @staticmethod
    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        try:
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class PlainHttp(common.Case):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.plain = common.make_model(lab.path("m.bin"), 100_000)
        lab.seal(cls.plain, lab.s3_url("prod/"), "--kms-key", "alias/models")
        lab.kms.key("alias/owner")
        lab.seal(cls.plain, lab.s3_url("owner/"), "--kms-key", "alias/owner")

    def config(self, text):
        path = self.lab.path("config-" + self.id().rpartition(".")[2])
        with open(path, "w", encoding="ascii") as out:
            out.write(text)
        return {"AWS_CONFIG_FILE": path}

    def programs(self, extra, *words, options=(), arguments=()):
        """Both programs end with 2 before they ask anybody."""
        lab = self.lab
        for run in (("seal", self.plain, lab.s3_url("new/"), "--kms-key", "alias/models"),
                    ("check", "--kms", lab.s3_url("owner/"))):
            result = lab.sealctl(run[0], *arguments, *run[1:], extra=extra)
            self.assert_result(result, USAGE, *words)
        result = lab.mount_fails(lab.s3_url("prod"), "ready=unlocked", *options, extra=extra)
        self.assert_result(result, USAGE, *words)

    def assert_untouched(self, impostor):
        self.assertEqual(impostor.received, [])

    def test_environment(self):
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL_S3",
                     "AWS_ENDPOINT_URL_STS", "AWS_EC2_METADATA_SERVICE_ENDPOINT"):
            with self.subTest(name), Impostor() as impostor:
                extra = {name: impostor.url}
                if name == "AWS_ENDPOINT_URL":
                    extra.update({"AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL_KMS": ""})
                self.programs(extra, name, impostor.host, "plain http", "allow-http")
                self.assert_untouched(impostor)

    def test_profile(self):
        nothing = {"AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL_KMS": ""}
        for text in ("[default]\nendpoint_url = {}\n",
                     "[default]\nservices = s\n[services s]\nkms =\n  endpoint_url = {}\n",
                     "[default]\nservices = s\n[services s]\nsts =\n  endpoint_url = {}\n"):
            with self.subTest(text), Impostor() as impostor:
                self.programs({**nothing, **self.config(text.format(impostor.url))},
                              impostor.host, "plain http")
                self.assert_untouched(impostor)

    def test_options(self):
        for name in ("kms-endpoint", "s3-endpoint"):
            with self.subTest(name), Impostor() as impostor:
                self.programs({}, impostor.host, "plain http",
                              options=(f"{name}={impostor.url}",),
                              arguments=(f"--{name}", impostor.url))
                self.assert_untouched(impostor)

    def test_permission_is_for_one_server(self):
        """Another port or host is not meant."""
        for permitted in (FOREIGN + ":1", "198.51.100.8", "other.example.com", "127.0.0.1"):
            with self.subTest(permitted), Impostor() as impostor:
                self.programs({"AWS_ENDPOINT_URL_KMS": impostor.url}, "plain http",
                              options=("allow-http=" + permitted,),
                              arguments=("--allow-http", permitted))
                self.assert_untouched(impostor)

    def test_permission_that_makes_no_sense(self):
        for permitted in ("http://x", "h:0", "u@h"):
            self.programs({}, "allow-http", options=("allow-http=" + permitted,),
                          arguments=("--allow-http", permitted))

    def test_permitted(self):
        """Works, and the log warns about it."""
        lab = self.lab
        with Impostor(lab.kms.port) as kms, Impostor(lab.s3.port) as s3:
            extra = {"AWS_ENDPOINT_URL_KMS": kms.url, "AWS_ENDPOINT_URL_S3": s3.url}
            with lab.mount(lab.s3_url("prod"), "ready=unlocked", "allow-http=" + kms.host,
                           "allow-http=" + FOREIGN, extra=extra) as mount:
                self.assertEqual(common.digest(mount.join("m.bin")), common.digest(self.plain))
                self.assertIn(f"{kms.url} is asked without TLS", mount.log())
            result = lab.sealctl("check", "--kms", "--allow-http", kms.host, "--allow-http",
                                 s3.host, lab.s3_url("owner/"), extra=extra)
            self.assert_result(result, OK)
            self.assertTrue(kms.received and s3.received)

    def test_container_credentials(self):
        for path in ("/keys", ":1@127.0.0.1/keys"):
            with self.subTest(path), Impostor() as impostor:
                self.programs({"AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
                               "AWS_CONTAINER_CREDENTIALS_FULL_URI": impostor.url + path,
                               "AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret-token"},
                              "container", options=("allow-http=" + FOREIGN,),
                              arguments=("--allow-http", FOREIGN))
                self.assert_untouched(impostor)

    def test_redirects(self):
        """Neither from loopback nor from TLS to plain http elsewhere, with any of the codes."""
        for status in (301, 302, 303, 307, 308):
            with self.subTest(status), Impostor() as impostor:
                answer = (f"HTTP/1.1 {status} x\r\nLocation: {impostor.url}/\r\n"
                          "Content-Length: 0\r\nConnection: close\r\n\r\n").encode()
                with RawServer(answer) as server:
                    for name in ("KMS", "S3"):
                        result = self.lab.sealctl(
                            "check", "--kms", self.lab.s3_url("owner/"),
                            extra={"AWS_ENDPOINT_URL_" + name: server.url})
                        self.assertNotEqual(result.code, OK)
                    self.assertTrue(server.requests)
                self.assert_untouched(impostor)

    def test_redirect_from_tls(self):
        key, cert = self.lab.path("tls.key"), self.lab.path("tls.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
                        "-out", cert, "-days", "2", "-subj", "/CN=x", "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        with Impostor() as impostor:
            answer = (f"HTTP/1.1 307 x\r\nLocation: {impostor.url}/\r\n"
                      "Content-Length: 0\r\nConnection: close\r\n\r\n").encode()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            with RawServer(answer, context) as server:
                result = self.lab.sealctl(
                    "check", "--kms", self.lab.s3_url("owner/"),
                    extra={"AWS_ENDPOINT_URL_KMS": server.url.replace("http:", "https:"),
                           "AWS_CA_BUNDLE": cert})
                self.assertNotEqual(result.code, OK)
                self.assertIn("307", result.err)
            self.assert_untouched(impostor)

    def test_no_proxy_without_tls(self):
        """Loopback and permitted servers are asked directly, whatever the variables name."""
        lab = self.lab
        with Impostor() as proxy, Impostor(lab.kms.port) as kms:
            extra = {name: proxy.url for name in ("http_proxy", "HTTP_PROXY", "https_proxy",
                                                  "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
            result = lab.sealctl("check", "--kms", lab.s3_url("owner/"), extra=extra)
            self.assert_result(result, OK)
            result = lab.sealctl("check", "--kms", "--allow-http", kms.host, lab.s3_url("owner/"),
                                 extra={**extra, "AWS_ENDPOINT_URL_KMS": kms.url})
            self.assert_result(result, OK)
            with lab.mount(lab.s3_url("prod"), "ready=unlocked", extra=extra):
                pass
            self.assert_untouched(proxy)

    def test_proxy_of_tls_sees_a_name_only(self):
        with Impostor() as proxy:
            self.lab.run(PROBE, "get", BUCKET, "k", extra={
                "AWS_ENDPOINT_URL_S3": "https://s3.example.invalid", "https_proxy": proxy.url,
                "PROBE_ATTEMPTS": "1"})
            self.assertEqual(len(proxy.received), 1)
            self.assertTrue(proxy.received[0].startswith(b"CONNECT s3.example.invalid:443 "))
            self.assertNotIn(b"AKIA", proxy.received[0])
            self.assertNotIn(b"uthorization", proxy.received[0])


if __name__ == "__main__":
    common.main()
