"""sealctl attest --serve for the case files beside it: starting it, asking it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

import common

START_S = 60
EVIDENCE = "/v1/evidence?nonce="


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server:
    """A running endpoint. place: as --serve takes it; url: as verify --from takes it."""

    def __init__(self, lab, *options, place="127.0.0.1:0", tpm=None, extra=None):
        self.log_path = lab.path(f"serve.{len(os.listdir(lab.dir))}.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", common.SEALCTL, "attest", "--serve", place,
                 *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**lab.env(tpm=tpm), "SEALEDFS_RUNTIME_DIR": lab.path("run", make=True),
                     **(extra or {})})
        lab.stack.callback(common.end, self.process, signal.SIGKILL)
        try:
            common.wait_for("the endpoint", lambda: "serving evidence on" in self.log(), self.process,
                            timeout_s=START_S)
        except AssertionError as failure:
            raise AssertionError(f"{failure}\n{self.log()}") from None
        self.place = re.search(r"serving evidence on (\S+)", self.log())[1]
        unix = self.place.startswith("unix:")
        self.path = self.place[5:] if unix else None
        self.host, self.port = (None, None) if unix else \
            (self.place.rpartition(":")[0].strip("[]"), int(self.place.rpartition(":")[2]))
        self.url = self.place if unix else "http://" + self.place

    def log(self):
        return common.read_text(self.log_path)

    def connect(self, timeout=60):
        return UnixConnection(self.path, timeout) if self.path else \
            http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def ask(self, target, method="GET", body=None, headers=None):
        """(status, headers, body)."""
        connection = self.connect()
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def evidence(self, nonce):
        """Comes back as long as others are answered first."""
        for _ in range(20):
            status, headers, body = self.ask(EVIDENCE + nonce.hex())
            if status != 503 or b"other callers" not in body:
                break
            time.sleep(int(headers["Retry-After"]))
        assert status == 200, (body, self.log())
        return json.loads(body)

    def raw(self, *pieces, timeout=60):
        """What comes back after these bytes were sent, until the server closes."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has its answer already
            got = b""
            try:
                while piece := connection.recv(65536):
                    got += piece
            except ConnectionResetError:
                pass
            return got

    def stop(self, number=signal.SIGTERM):
        """Its exit code."""
        self.process.send_signal(number)
        return self.process.wait(START_S)
