"""What the cases of fs/net and fs/aws share: net_probe as a command, an S3 emulator with faults, raw servers.

net_probe (tests/unit/fs/aws) is s3.h and kms.h on a command line; it says how a call ended by errno,
message and exit code.
"""

import contextlib
import os
import socket
import subprocess
import threading
import time

import common

PROBE = os.path.join(common.BUILD, "tests", "unit", "fs", "aws", "net_probe")
BUCKET = common.BUCKET
ODD_KEYS = ("plain", "a/b/c", "with space", "plus+and=and&", "100%", "ünïcödé/模型", "q?#[]",
            "<xml>&\"'", "dots/../up", "./here", "double//slash", "tilde~", "star*'()!$,:@;",
            "trailing/", "back\\slash", "tab\there", "x" * 1024)


class NetCase(common.Case):
    """probe() runs net_probe and keeps raw bytes."""

    ENDPOINT = None  # set by classes with a server of their own

    def probe(self, *argv, data=None, **env):
        extra = {"PROBE_STALL_MS": "60000"}
        if self.ENDPOINT:
            extra["AWS_ENDPOINT_URL_S3"] = self.ENDPOINT
        settings = {**self.lab.env("owner", extra=extra), **env}
        settings = {name: value for name, value in settings.items() if value is not None}
        started = time.monotonic()
        done = subprocess.run([PROBE, *argv], env=settings, input=data or b"", timeout=common.COMMAND_S,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.took_s = time.monotonic() - started
        self.out = done.stdout
        return common.Result(done.returncode, done.stdout.decode(errors="replace"),
                             done.stderr.decode(errors="replace"))

    def good(self, *argv, **env):
        """Runs a probe that must succeed; returns its bytes."""
        result = self.probe(*argv, **env)
        self.assertEqual(result.code, 0, result.err)
        return self.out

    def bad(self, errno_name, *argv, words=(), **env):
        """Runs a probe that must fail with this errno; returns its message. No byte may come out."""
        result = self.probe(*argv, **env)
        self.assertTrue(result.err.startswith(errno_name + ":"), result.err + result.out)
        self.assertNotEqual(result.code, 0)
        self.assertEqual(result.out, "")
        for word in words:
            self.assertIn(word, result.err)
        return result.err


class S3Case(NetCase):
    """With an emulator, an object "big" and the calls that it saw."""

    PARTS = ("s3",)
    SIZE = 3 << 20

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = common.model_bytes(cls.SIZE, seed=7)
        cls.write("big", cls.data)
        cls.write("small", b"small object\n")
        cls.file = cls.lab.path("upload")
        with open(cls.file, "wb") as out:
            out.write(cls.data)

    @classmethod
    def write(cls, key, data):
        path = cls.lab.s3.file(key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)

    def setUp(self):
        self.s3 = self.lab.s3
        self.s3.ask("DELETE", "fault")
        self.forget()

    def forget(self):
        """Starts a new log. Requests that the server still holds open stay in it, so their time
        decides."""
        self.s3.clear_log()
        self.since = time.time()

    def seen(self, method=None):
        return [entry for entry in self.s3.log()
                if method in (None, entry["method"]) and entry["time"] >= self.since]

    def once(self, **fields):
        """A fault that spoils one request (or times=N)."""
        self.s3.ask("POST", "fault", {"times": 1, **fields})

    def range(self, offset=1000, size=100000, etag="-", **env):
        self.assertEqual(self.good("range", BUCKET, "big", etag, str(offset), str(size), **env),
                         self.data[offset:offset + size])

    def bad_range(self, errno_name, *words, offset=1000, size=100000, etag="-", **env):
        return self.bad(errno_name, "range", BUCKET, "big", etag, str(offset), str(size),
                        words=words, **env)


class RawServer:
    """Answers each connection's first request with these bytes. tls: an ssl.SSLContext."""

    def __init__(self, answer, tls=None):
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.requests = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(20)
                    self.requests.append(connection.recv(65536))
                    connection.sendall(self.answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()
