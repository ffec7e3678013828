#!/usr/bin/python3
"""sealctl attest --serve: what it returns, to whom, and what nobody can do to it.

Drives tools/serve*, tools/evidence*, fs/report/seals.c and attest/event_log_copy.c.
"""

import base64
import concurrent.futures
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import socket
import stat
import time
import urllib.parse

import cbor2

import common
import common_attest
import common_fuse
import common_serve
from common import MIB, USAGE
from common_serve import EVIDENCE, Server

NONCE = "5a" * 32
HEAD = 2048 + 128


def payload_of(evidence):
    """The fields of evidence's document; its signature is verified elsewhere."""
    return cbor2.loads(cbor2.loads(base64.b64decode(evidence["document"]))[2])


class ServeCase(common.Case):
    PARTS = ("tpm",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        common.make_model(cls.lab.path("plain", "a.gguf"), MIB, 1)
        common.make_model(cls.lab.path("plain", "deep", "b.gguf"), 4097, 2)
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()
        cls.source = cls.lab.path("sealed")
        cls.lab.seal(cls.lab.path("plain"), cls.source, "--key-file", cls.key, "--sign", cls.private)

    def setUp(self):
        self.lab.tpm.ask("DELETE", "fault")
        self.lab.tpm.ask("POST", "reboot", {})
        self.lab.tpm.ask("DELETE", "log")
        self.events = self.lab.path("events", self.id().rsplit(".", 1)[1])
        os.makedirs(os.path.dirname(self.events), exist_ok=True)

    def server(self, *options, **how):
        server = Server(self.lab, "--event-log", self.events, *options, **how)
        self.addCleanup(common.end, server.process, signal.SIGKILL)
        return server

    def mount(self, *more, source=None):
        return self.lab.mount(source or self.source, "key-file=" + self.key, "attest=none",
                              "owner-key=" + self.public, "event-log=" + self.events, *more)

    def assert_refused(self, answer, status):
        self.assertEqual(answer[0], status, answer)
        self.assertEqual(list(json.loads(answer[2])), ["error"])
        self.assertEqual(answer[1]["Access-Control-Allow-Origin"], "*")


class Answers(ServeCase):
    """What it returns."""

    def test_evidence(self):
        server = self.server()
        with self.mount("ready=measured") as mount:
            for number in range(3):
                nonce = bytes([number]) * (16 if number else 64)
                evidence = server.evidence(nonce)
                document = payload_of(evidence)
                self.assertEqual(document["nonce"], nonce)
                self.assertIsNone(document["user_data"])
                self.assertEqual(evidence["sealedfs_evidence"], 1)
                self.assertEqual(evidence["pcr"], 15)
                self.assertIsNone(evidence["systemd_log"])
                log = base64.b64decode(evidence["event_log"])
                self.assertEqual(log, common.read_bytes(self.events))
                self.assertEqual(document["nitrotpm_pcrs"][15].hex(),
                                 common_attest.replay(self.events, "sha384"))
            heads = {seal["path"]: base64.b64decode(seal["head"]) for seal in evidence["seals"]}
            self.assertEqual(heads, {name: common.read_bytes(f"{self.source}/{name}.seal")[:HEAD]
                                     for name in ("a.gguf", "deep/b.gguf")})
            shown, = [each for each in evidence["mounts"] if each["path"] == mount.path]
            self.assertEqual({(each["name"], each["state"]) for each in shown["models"]},
                             {("a.gguf", "measured"), ("deep/b.gguf", "measured")})
            for model in shown["models"]:
                self.assertRegex(model["measured"], "^sealedfs:verity:sha256:[0-9a-f]{64}$")
            self.assertEqual(shown["files"], 2)
        self.assertEqual(server.evidence(b"0" * 16)["seals"], [])

    def test_nothing_measured_yet(self):
        evidence = self.server().evidence(b"n" * 32)
        self.assertEqual(evidence["event_log"], "")
        self.assertEqual(payload_of(evidence)["nitrotpm_pcrs"][15], bytes(48))

    def test_systemd_log(self):
        """A service may get a copy of it as a credential."""
        folder = self.lab.path("credentials", make=True)
        for text, passed_on in ((b"\x1e{}\n", "Hnt9Cg=="), (b"none", None), (b"", None)):
            with open(os.path.join(folder, "systemd-tpm2-measure.log"), "wb") as out:
                out.write(text)
            server = self.server(extra={"CREDENTIALS_DIRECTORY": folder})
            self.assertEqual(server.evidence(b"n" * 32)["systemd_log"], passed_on)

    def test_for_people(self):
        server = self.server()
        with self.mount("ready=open") as mount:
            common.read_bytes(mount.join("a.gguf"))
            status, headers, body = server.ask("/")
            self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; charset=utf-8"))
            self.assertIn(f"{mount.path}: 1 of 2 models unlocked\n  a.gguf: measured, sealedfs:verity:"
                          .encode(), body)
            status, headers, body = server.ask("/v1/mounts")
            self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
            shown, = [each for each in json.loads(body)["mounts"] if each["path"] == mount.path]
            self.assertEqual([each["name"] for each in shown["models"]], ["a.gguf"])
            self.assertEqual(headers["Access-Control-Allow-Origin"], "*")
            self.assertEqual(headers["Cache-Control"], "no-store")

    def test_pcr(self):
        server = self.server("--model-pcr", "14")
        with self.mount("ready=measured", "pcr=14"):
            evidence = server.evidence(b"n" * 32)
            self.assertEqual(evidence["pcr"], 14)
            self.assertEqual(payload_of(evidence)["nitrotpm_pcrs"][14].hex(),
                             common_attest.replay(self.events, "sha384", 14))

    def test_mounts_of_others_are_not_asked(self):
        """They could answer anything, or never."""
        server = self.server()
        place = self.lab.path("theirs", make=True)
        with common_fuse.Imitation(place, b"", user=65534) as theirs, \
                common_fuse.Imitation(self.lab.path("ours", make=True), b"") as ours:
            self.assertTrue(common.is_mounted(place))
            shown = {each["path"]: each for each in json.loads(server.ask("/v1/mounts")[2])["mounts"]}
            self.assertNotIn(place, shown)
            self.assertEqual(theirs.asked, 0)
            self.assertIn("cannot read its report", shown[ours.path]["error"])

    def test_while_models_are_measured(self):
        """Each document fits the log beside it."""
        server = self.server("--rate", "600")
        with self.mount("ready=open") as mount, \
                concurrent.futures.ThreadPoolExecutor(2) as pool:
            asking = pool.submit(lambda: [server.evidence(bytes([n]) * 16) for n in range(12)])
            for name in ("a.gguf", "deep/b.gguf"):
                common.read_bytes(mount.join(name))
                time.sleep(0.2)
            for evidence in asking.result():
                path = self.lab.path("copied")
                with open(path, "wb") as out:
                    out.write(base64.b64decode(evidence["event_log"]))
                self.assertEqual(payload_of(evidence)["nitrotpm_pcrs"][15].hex(),
                                 common_attest.replay(path, "sha384"))


class Places(ServeCase):
    """Where it listens."""

    def test_unix(self):
        path = self.lab.path("http.socket")
        server = self.server(place="unix:" + path)
        self.assertEqual(stat.S_IMODE(os.lstat(path).st_mode), 0o666)
        self.assertEqual(payload_of(server.evidence(b"n" * 16))["nonce"], b"n" * 16)
        done = self.lab.sealctl("attest", "--serve", "unix:" + path, expect=common.FAILURE)
        self.assertIn("in use", done.err)
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(path))

    def test_socket_left_by_a_dead_one(self):
        path = self.lab.path("left.socket")
        server = self.server(place="unix:" + path)
        server.stop(signal.SIGKILL)
        self.assertTrue(os.path.exists(path))
        self.server(place="unix:" + path).evidence(b"n" * 16)

    def test_a_file_stays(self):
        path = self.lab.path("file")
        with open(path, "w", encoding="ascii") as out:
            out.write("kept")
        self.lab.sealctl("attest", "--serve", "unix:" + path, expect=common.FAILURE)
        self.assertEqual(common.read_text(path), "kept")

    def test_ipv6(self):
        if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
            self.skipTest("no IPv6")
        self.server(place="[::1]:0").evidence(b"n" * 16)

    def test_usage(self):
        for place in ("", "8470", ":8470", "localhost:8470", "127.0.0.1", "127.0.0.1:", "::1:80",
                      "[::1]", "127.0.0.1:x", "127.0.0.1:70000", "unix:", "unix:a", "unix:/" + "x" * 200,
                      "https://127.0.0.1:1"):
            done = self.lab.sealctl("attest", "--serve", place)
            self.assert_result(done, USAGE, "unix:")
        for options in (("--nonce", "ab" * 16), ("-o", "x"), ("--json",), ("--rate", "0"),
                        ("--rate", "601"), ("--model-pcr", "16"), ("--model-pcr", "-1")):
            self.assertEqual(self.lab.sealctl("attest", "--serve", "127.0.0.1:0", *options).code,
                             USAGE, options)
        self.assertEqual(self.lab.sealctl("attest", "--rate", "5", "-o", "x").code, USAGE)

    def test_port_in_use(self):
        server = self.server()
        done = self.lab.sealctl("attest", "--serve", server.place, expect=common.FAILURE)
        self.assertIn("in use", done.err)


class Refusals(ServeCase):
    """What it does not answer."""

    def test_requests(self):
        server = self.server()
        for method, target, status in (
                ("GET", "/v1/evidence", 400), ("GET", EVIDENCE + "ab", 400),
                ("GET", EVIDENCE + "xy" * 16, 400), ("GET", EVIDENCE + "ab" * 65, 400),
                ("GET", EVIDENCE + NONCE + "&a=b", 400), ("GET", "/?", 400),
                ("GET", "/v1/evidence/" + NONCE, 404), ("GET", "/../etc/passwd", 404),
                ("GET", "/v1/nonce", 404), ("POST", "/", 405), ("DELETE", "/v1/evidence", 405),
                ("OPTIONS", "/v1/evidence", 405)):
            with self.subTest(f"{method} {target}"):
                answer = server.ask(target, method)
                self.assert_refused(answer, status)
                self.assertEqual("Allow" in answer[1], status == 405)
        self.assertEqual(server.ask("/", "HEAD")[0], 405)
        self.assert_refused(server.ask("/v1/evidence", "POST", b"{}"), 404)
        self.assert_refused(server.ask("/v1/evidence?nonce=" + "a" * 1000), 414)
        self.assertEqual(server.ask("/v1/mounts")[0], 200)

    def test_bodies(self):
        server = self.server()
        self.assert_refused(server.ask("/v1/evidence", "POST", headers={"Content-Length": "9999999"}),
                            413)
        head = b"POST /v1/evidence HTTP/1.1\r\nHost: x\r\n"
        for line in (b"", b"Transfer-Encoding: chunked\r\n", b"Content-Length: x\r\n",
                     b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n"):
            answer = server.raw(head + line + b"\r\n")
            self.assertRegex(answer, rb"^(HTTP/1.1 4(00|13) |$)", line)
        self.assertEqual(server.ask("/v1/mounts", body=b"x" * 1000)[0], 200)

    def test_malformed(self):
        """Whatever comes, it goes on."""
        server = self.server("--rate", "600")
        rng = random.Random(7)
        good = f"GET {EVIDENCE}{NONCE} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        inputs = [b"", b"\r\n" * 100, b"\0" * 100, b"GET", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                  b"GET " + b"/" * 20000 + b" HTTP/1.1\r\n\r\n", b"\xff\xfe" * 50,
                  b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
                  b"GET / HTTP/1.1\r\n" + b"A" * 30000 + b"\r\n\r\n",
                  b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
                  b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
                  good.replace(b"nonce", b"no\0nce"), good.replace(b" HTTP/1.1", b"\0 HTTP/1.1")]
        rounds = 3000 if common.THOROUGH else 300
        for _ in range(rounds):
            text = bytearray(good)
            for _ in range(rng.randrange(1, 6)):
                at = rng.randrange(len(text))
                text[at:at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
            inputs.append(bytes(text))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for given, answer in zip(inputs, pool.map(server.raw, inputs)):
                status = re.match(rb"HTTP/1\.[01] (\d\d\d) ", answer)
                self.assertTrue(status or not answer, (given, answer[:100]))
                if status and int(status[1]) == 301:
                    # libmicrohttpd 1.0 for blanks in a target (RFC 9112, 3.2): the same, encoded, in one line.
                    where = re.search(rb"\r\nLocation: ([^ \t\v\f\r\n]*)\r\nContent-Length: \d+\r\n\r\n",
                                      answer)
                    self.assertTrue(where, (given, answer))
                    self.assertIn(urllib.parse.unquote_to_bytes(where[1]), given)
                elif status:
                    self.assertIn(int(status[1]), (200, 400, 404, 405, 413, 414, 429, 431, 501, 503, 505),
                                  (given, answer[-100:], server.log()))
        self.assertIsNone(server.process.poll(), server.log())
        self.assertEqual(server.stop(), 0)

    def test_rate(self):
        server = self.server("--rate", "1")
        self.assertEqual(server.ask("/v1/mounts")[0], 200)
        status, headers, body = server.ask(EVIDENCE + NONCE)
        self.assert_refused((status, headers, body), 429)
        self.assertIn(int(headers["Retry-After"]), range(1, 61))
        # What costs nothing is answered.
        self.assertEqual(server.ask("/x")[0], 404)
        with self.lab.tpm.fault(op="vendor", kind="rc", rc="0x101"):
            self.assertEqual(server.ask(EVIDENCE + NONCE)[0], 429)

    def test_tpm_fails(self):
        server = self.server()
        with self.lab.tpm.fault(op="vendor", kind="rc", rc="0x101"):
            answer = server.ask(EVIDENCE + NONCE)
            self.assert_refused(answer, 503)
            self.assertIn("Retry-After", answer[1])
            self.assertEqual(server.ask("/v1/mounts")[0], 200)
        self.assertIn("cannot attest", server.log())
        self.assertEqual(server.ask(EVIDENCE + NONCE)[0], 200)

    def test_tpm_is_gone(self):
        server = self.server(extra={"SEALEDFS_TCTI": "swtpm:host=127.0.0.1,port=1"})
        self.assert_refused(server.ask(EVIDENCE + NONCE), 503)

    def test_a_document_that_was_not_asked_for(self):
        server = self.server()
        with self.lab.tpm.fault(op="vendor", kind="swap", field="nonce", hex="00" * 32):
            self.assert_refused(server.ask(EVIDENCE + NONCE), 503)

    def test_damaged_log_is_passed_on(self):
        """The relying party says so; the endpoint does not judge."""
        with open(self.events, "wb") as out:
            out.write(b"no record")
        os.chmod(self.events, 0o600)
        evidence = self.server().evidence(b"n" * 16)
        self.assertEqual(base64.b64decode(evidence["event_log"]), b"no record")


class Callers(ServeCase):
    """Slow ones, many, silent ones."""

    def test_many_at_once(self):
        """One TPM command at a time, and each gets the document for his own nonce."""
        server = self.server("--rate", "600")
        nonces = [hashlib.sha256(bytes([n])).digest() for n in range(40)]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            for nonce, evidence in zip(nonces, pool.map(server.evidence, nonces)):
                self.assertEqual(payload_of(evidence)["nonce"], nonce)

    def test_silent_ones_are_let_go(self):
        """More connections than it takes, which say nothing or half of something."""
        server = self.server()
        held = []
        for number in range(100):
            connection = socket.create_connection((server.host, server.port), timeout=60)
            self.addCleanup(connection.close)
            if number % 2:
                connection.sendall(b"GET /v1/mounts HT")
            held.append(connection)
        common.wait_for("an answer", lambda: self.answers(server))
        self.assertIsNone(server.process.poll())
        self.assertEqual(server.stop(), 0)

    @staticmethod
    def answers(server):
        try:
            return server.ask("/v1/mounts")[0] == 200
        except OSError:
            return False

    def test_slow_reader_and_writer_do_not_stop_others(self):
        server = self.server()
        slow = socket.create_connection((server.host, server.port), timeout=60)
        self.addCleanup(slow.close)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        slow.sendall(f"GET {EVIDENCE}{NONCE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        writer = socket.create_connection((server.host, server.port), timeout=60)
        self.addCleanup(writer.close)
        for byte in b"GET /v1/mou":
            writer.sendall(bytes([byte]))
            self.assertEqual(server.ask("/v1/mounts")[0], 200)

    def test_memory(self):
        server = self.server("--rate", "600")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: server.raw(b"POST /v1/evidence HTTP/1.1\r\nHost: x\r\n"
                                               b"Content-Length: 9000000\r\n\r\n", b"x" * MIB),
                          range(32)))
            list(pool.map(lambda _: server.ask("/v1/mounts"), range(32)))
        self.assertLess(common.peak_memory(server.process.pid), 100 * MIB)


class Ends(ServeCase):
    """How it ends."""

    def test_signals(self):
        for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)):
            server = self.server()
            server.evidence(b"n" * 16)
            self.assertEqual(server.stop(number), code)

    def test_hangup_is_no_end(self):
        server = self.server()
        server.process.send_signal(signal.SIGHUP)
        server.evidence(b"n" * 16)
        self.assertEqual(server.stop(), 0)

    def test_an_answer_is_finished(self):
        for _ in range(10):  # it waits for some seconds only, which a busy TPM may exceed
            server = self.server()
            self.lab.tpm.clear_log()
            with self.lab.tpm.fault(op="vendor", kind="delay", ms=1000), \
                    concurrent.futures.ThreadPoolExecutor(1) as pool:
                asked = pool.submit(server.ask, EVIDENCE + NONCE)
                common.wait_for("the request", self.is_asked)
                self.assertEqual(server.stop(), 0)
                with contextlib.suppress(common_serve.http.client.RemoteDisconnected):
                    self.assertEqual(asked.result()[0], 200)
                    return
        self.fail("no answer was finished")

    def is_asked(self):
        """The TPM has the request in its mailbox."""
        return '"define"' in self.lab.tpm.ask("GET", "log")

    def test_tpm_that_hangs(self):
        """Others are told so, and the end is not waited for."""
        server = self.server()
        self.lab.tpm.clear_log()
        with self.lab.tpm.fault(op="vendor", kind="hang"), \
                concurrent.futures.ThreadPoolExecutor(2) as pool:
            first = pool.submit(self.lose, server, EVIDENCE + NONCE)
            common.wait_for("the request", self.is_asked)
            self.assert_refused(server.ask("/v1/mounts"), 503)
            self.assertEqual(server.stop(), 0)
            first.result()

    @staticmethod
    def lose(server, target):
        try:
            server.ask(target)
        except (OSError, ValueError, common_serve.http.client.HTTPException):
            pass

    def test_service_manager(self):
        path = self.lab.path("notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(60)
            server = self.server(extra={"NOTIFY_SOCKET": path})
            heard = [manager.recv(4096).decode() for _ in range(2)]
            self.assertIn("READY=1", heard)
            self.assertIn(f"STATUS=Serving evidence on {server.place}", heard)
            server.stop()
            self.assertEqual(manager.recv(4096), b"STOPPING=1")

    def test_confined(self):
        """Filters of system calls, and no new privileges."""
        if b"__asan" in common.read_bytes(common.SEALCTL) or b"__tsan" in common.read_bytes(common.SEALCTL):
            self.skipTest("a build with a sanitizer is not confined")
        server = self.server()
        with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
            text = status.read()
        self.assertRegex(text, r"Seccomp:\s+2")
        self.assertRegex(text, r"NoNewPrivs:\s+1")


if __name__ == "__main__":
    common.main()
