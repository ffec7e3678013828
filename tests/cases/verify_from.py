#!/usr/bin/python3
"""sealctl verify --from: evidence from another machine, over http, unix sockets and TLS; machines that ask each other.

Drives tools/verify/verify_from.c, fetch_evidence.c, bind_key.c, serve_answer.c and fs/net.
"""

import base64
import hashlib
import http.server
import json
import os
import signal
import threading
import time

import cbor2

import common
import common_nginx
import common_serve
from common import MIB, NOT_AUTHENTIC, OK, REFUSED, UNREACHABLE, USAGE
from common_serve import Server

STEPS = ("decode", "fields", "chain", "signature", "freshness", "tls", "boot", "log", "model", "owner")


class FromCase(common.Case):
    """A machine with a mount that was measured, and an endpoint."""

    PARTS = ("tpm",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.key = lab.key_file()
        cls.private, cls.public = lab.owner_key()
        cls.seals = {}
        for seed, name in enumerate(("mistral-7b", "llama-3b")):
            common.make_model(lab.path("plain", name), MIB, seed)
            lab.seal(lab.path("plain", name), lab.path("sealed", name), "--key-file", cls.key, "--sign",
                     cls.private)
        cls.boot = {index: lab.tpm.pcr("sha384", index) for index in (4, 7)}

    def setUp(self):
        self.lab.tpm.ask("DELETE", "fault")
        self.lab.tpm.ask("POST", "reboot", {})
        self.folder = self.lab.path(self.id().rsplit(".", 1)[1], make=True)
        self.events = os.path.join(self.folder, "tpm2-measure.log")

    def server(self, *options, **how):
        server = Server(self.lab, "--event-log", self.events, *options, **how)
        self.addCleanup(common.end, server.process, signal.SIGKILL)
        return server

    def mount(self, name="mistral-7b", events=None, **how):
        return self.lab.mount(self.lab.path("sealed", name), "key-file=" + self.key, "attest=none",
                              "owner-key=" + self.public, "ready=measured",
                              "event-log=" + (events or self.events), **how)

    def expectations(self):
        return ("--root", self.lab.tpm.root, "--pcr", "4=" + self.boot[4], "--pcr", "7=" + self.boot[7],
                "--owner-key", self.public)

    def verify(self, url, *options, expect=OK, **how):
        done = self.lab.sealctl("verify", "--from", url, *self.expectations(), *options, **how)
        self.assertEqual(done.code, expect, done.out + done.err)
        return done

    def steps(self, url, *options, expect=OK):
        found = json.loads(self.verify(url, "--json", *options, expect=expect).out)
        return found, {step["name"] if "name" in step else step["step"]: step["status"]
                       for step in found["steps"]} if isinstance(found["steps"], list) else \
            {name: step["status"] for name, step in found["steps"].items()}


class Consumer(FromCase):
    """What somebody learns who asks."""

    def test_one_model(self):
        server = self.server()
        with self.mount():
            for url in (server.url, server.url + "/"):
                done = self.verify(url)
                self.assertRegex(done.out.splitlines()[0],
                                 r"^PCR 15 holds exactly one model: mistral-7b \(sealed by acme\), every "
                                 r"byte checked; boot image matches; document \d s old\.$")
            _, steps = self.steps(server.url, "--model", self.lab.path("sealed", "mistral-7b", "mistral-7b.seal"))
            self.assertEqual(steps, {name: "not asked" if name == "tls" else "passed" for name in STEPS})

    def test_two_models(self):
        server = self.server()
        with self.mount(), self.mount("llama-3b"):
            self.assertIn("holds 2 models: mistral-7b (sealed by acme), every byte checked, and llama-3b",
                          self.verify(server.url).out)
            done = self.verify(server.url, "--model",
                               self.lab.path("sealed", "mistral-7b", "mistral-7b.seal"), expect=REFUSED)
            self.assertIn("PCR 15 holds 2 models, not 1", done.out + done.err)

    def test_a_set(self):
        """The machine shows the set's own statement: name, version and who signed it."""
        server, place = self.server(), self.lab.path("sealed", "set")
        for _ in range(2):
            self.lab.seal(self.lab.path("plain"), place, "--set", "prod", "--again", "--key-file", self.key, "--sign", self.private)
        with self.lab.mount(place, "key-file=" + self.key, "attest=none", "owner-key=" + self.public,
                            "event-log=" + self.events, "ready=measured"):
            answer = server.evidence(b"n" * 32)
            head = common.read_bytes(os.path.join(place, "sealed.set"))[:2176]
            self.assertEqual([base64.b64decode(each["head"]) for each in answer["sets"]], [head])
            out = self.verify(server.url).out
            self.assertTrue(out.startswith("PCR 15 holds exactly one model: prod version 2 (set signed by acme), every byte "
                                           "of its members checked; boot image matches; "), out)
            out = self.verify(server.url, "--model", place, "--member", "llama-3b").out
            self.assertIn("member llama-3b, 1048576 bytes", out)
        # What it shows is another owner's set of the same content.
        answer["sets"] = [{"head": base64.b64encode(head[:-40] + bytes([head[-40] ^ 1]) + head[-39:]).decode()}]
        path = os.path.join(self.folder, "evidence.json")
        with open(path, "w", encoding="ascii") as out:
            json.dump(answer, out)
        done = self.lab.sealctl("verify", *self.expectations(), path, expect=NOT_AUTHENTIC)
        self.assertIn("is a set that no expected owner signed", done.out)

    def test_foreign_extension(self):
        server = self.server()
        with self.mount():
            self.lab.tpm.extend(15, sha256="11" * 32, sha384="11" * 48)
            done = self.verify(server.url, expect=REFUSED)
            self.assertIn("does not have the value that the event log leads to", done.out + done.err)

    def test_unix_socket(self):
        path = self.lab.path("verify.socket")
        self.server(place="unix:" + path)
        with self.mount():
            _, steps = self.steps("unix:" + path)
            self.assertEqual(steps["tls"], "not asked")

    def test_limits_are_waited_for(self):
        server = self.server("--rate", "30")
        with self.mount():
            for _ in range(8):
                self.verify(server.url)

    def test_usage(self):
        for options in (("--from", "x"), ("--from", "ftp://127.0.0.1/"), ("--from", "unix:x"),
                        ("--from", "http://127.0.0.1:1", "--nonce", "ab" * 16),
                        ("--from", "http://127.0.0.1:1", "--at", "@5"),
                        ("--from", "http://127.0.0.1:1", "file"),
                        ("--from", "http://127.0.0.1:1", "--event-log", "x"),
                        ("--from", "http://127.0.0.1:1", "--tcti", "x"), ("file", "--present"),
                        ("file", "--tcti", "x"), ()):
            self.assertEqual(self.lab.sealctl("verify", *options).code, USAGE, options)

    def test_unreachable(self):
        self.verify("http://127.0.0.1:1", expect=UNREACHABLE)
        self.verify("unix:" + self.lab.path("no.socket"), expect=UNREACHABLE)
        server = self.server()
        with self.lab.tpm.fault(op="vendor", kind="rc", rc="0x101"):
            self.assertIn("cannot attest now", self.verify(server.url, expect=UNREACHABLE).err)


class Impostor(http.server.BaseHTTPRequestHandler):
    """Answers what the test wants."""

    answer = staticmethod(lambda path: (200, b"{}"))

    def do_GET(self):  # pylint: disable=invalid-name
        status, body = self.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


class Servers(FromCase):
    """Servers that are not what they pretend to be."""

    def impostor(self, answer):
        handler = type("Handler", (Impostor,), {"answer": staticmethod(answer)})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"

    def test_replayed(self):
        """A false nonce: what was made for somebody else."""
        server = self.server()
        with self.mount():
            old = json.dumps(server.evidence(b"\x5a" * 32)).encode()
            done = self.verify(self.impostor(lambda _: (200, old)), expect=REFUSED)
            self.assertIn("another nonce than the one that was asked", done.out + done.err)

    def test_changed_on_the_way(self):
        """Whatever a man in the middle changes is missed or refused; never believed."""
        server = self.server()

        def forward(change):
            def answer(path):
                evidence = json.loads(server.ask(path)[2])
                change(evidence)
                return 200, json.dumps(evidence).encode()
            return self.impostor(answer)

        def flip(name):
            def change(evidence):
                data = bytearray(base64.b64decode(evidence[name]))
                data[len(data) // 2] ^= 1
                evidence[name] = base64.b64encode(bytes(data)).decode()
            return change

        def shorten(evidence):
            log = base64.b64decode(evidence["event_log"])
            evidence["event_log"] = base64.b64encode(log[:log.rindex(b"\x1e")]).decode()

        def other_seal(evidence):
            head = bytearray(base64.b64decode(evidence["seals"][0]["head"]))
            head[0x100] ^= 1  # its path
            evidence["seals"][0]["head"] = base64.b64encode(bytes(head)).decode()

        with self.mount():
            for change, codes in ((flip("document"), (NOT_AUTHENTIC,)), (flip("event_log"), (REFUSED,)),
                                  (shorten, (REFUSED,)), (other_seal, (NOT_AUTHENTIC,)),
                                  (lambda e: e.update(seals=[]), (NOT_AUTHENTIC,)),
                                  (lambda e: e.update(event_log=None), (REFUSED,))):
                done = self.lab.sealctl("verify", "--from", forward(change), *self.expectations())
                self.assertIn(done.code, codes, done.out + done.err)
                self.assertNotIn("every byte checked;", done.out)

    def test_another_pcr(self):
        """The number in the evidence is not signed: PCR 14, which is empty, hides nothing of PCR 15."""
        server = self.server()

        def answer(path):
            return 200, json.dumps({**json.loads(server.ask(path)[2]), "pcr": 14}).encode()

        liar = self.impostor(answer)
        with self.mount():
            self.assertIn("PCR 15 holds exactly one model: mistral-7b", self.verify(liar).out)
            self.lab.tpm.extend(15, sha256="11" * 32, sha384="11" * 48)
            for options in ((), ("--json",), ("--ear",)):
                done = self.lab.sealctl("verify", "--from", liar, "--root", self.lab.tpm.root, *options)
                self.assertEqual(done.code, REFUSED, done.out + done.err)
                self.assertIn("PCR 15 does not have the value that the event log leads to", done.out + done.err)
                self.assertNotIn("PCR 14", done.out + done.err)
            # Who means PCR 14 names it.
            done = self.lab.sealctl("verify", "--from", liar, "--root", self.lab.tpm.root, "--model-pcr", "14")
            self.assertEqual(done.code, OK, done.err)
            self.assertIn("PCR 14 holds no model", done.out)

    def test_nonsense(self):
        bad = NOT_AUTHENTIC
        for status, body, code in ((200, b"", bad), (200, b"{}", bad), (200, b"[]", bad), (200, b"\xff" * 100, bad),
                                   (200, b'{"sealedfs_evidence": 2}', bad), (302, b"", 1), (404, b"x", 1),
                                   (403, b'{"error": "no \x1b[2J"}', REFUSED), (500, b"", UNREACHABLE),
                                   (200, b" " * (9 * MIB), 1)):
            done = self.lab.sealctl("verify", "--from", self.impostor(lambda _: (status, body)))  # pylint: disable=cell-var-from-loop
            self.assertEqual(done.code, code, (status, body[:50], done.err))
            self.assertNotIn("\x1b", done.err + done.out)
            self.assertTrue(done.err)


class Tls(FromCase):
    """nginx in front: its key is in the document."""

    def setUp(self):
        super().setUp()
        self.socket = os.path.join(self.folder, "http")

    def bound(self, cert, *options):
        return self.server("--bind-cert", cert, *options, place="unix:" + self.socket)

    def nginx(self, cert, key):
        nginx = common_nginx.Nginx(self.lab, cert, key, self.socket)
        self.addCleanup(nginx.stop)
        return nginx

    def test_key_in_the_document(self):
        for kind in ("ec", "rsa"):
            with self.subTest(kind):
                cert, _ = common_nginx.certificate(self.lab, "own." + kind, kind=kind)
                server = self.bound(cert)
                document = cbor2.loads(cbor2.loads(base64.b64decode(
                    server.evidence(b"n" * 16)["document"]))[2])
                self.assertEqual(document["user_data"].decode(),
                                 "sealedfs:tls:sha256:" + common_nginx.key_hash(cert))
                server.stop()

    def test_bound(self):
        """Self-signed, for another host: who issued it does not matter."""
        for kind in ("ec", "rsa"):
            cert, key = common_nginx.certificate(self.lab, "bound." + kind, kind=kind)
            server = self.bound(cert)
            nginx = self.nginx(cert, key)
            with self.subTest(kind), self.mount():
                found, steps = self.steps(nginx.url)
                self.assertEqual(steps["tls"], "passed", found)
            server.stop()

    def test_man_in_the_middle(self):
        """He has a certificate, too, and passes everything on."""
        cert, key = common_nginx.certificate(self.lab, "mine")
        his_cert, his_key = common_nginx.certificate(self.lab, "his")
        self.bound(cert)
        honest, man = self.nginx(cert, key), self.nginx(his_cert, his_key)
        with self.mount():
            self.verify(honest.url)
            done = self.verify(man.url, expect=REFUSED)
            self.assertIn("the TLS key of the server is not the one in the document", done.out + done.err)

    def test_not_bound(self):
        cert, key = common_nginx.certificate(self.lab, "unbound")
        self.server(place="unix:" + self.socket)
        with self.mount():
            done = self.verify(self.nginx(cert, key).url, expect=REFUSED)
            self.assertIn("the document names no TLS key", done.out + done.err)

    def test_renewed(self):
        """The file is read for every document."""
        cert, key = common_nginx.certificate(self.lab, "renewed")
        self.bound(cert)
        first = self.nginx(cert, key)
        with self.mount():
            self.verify(first.url)
            common_nginx.certificate(self.lab, "renewed", key_of=key)
            self.verify(self.nginx(cert, key).url)
            common_nginx.certificate(self.lab, "renewed")
            self.verify(self.nginx(cert, key).url)
            self.verify(first.url, expect=REFUSED)

    def test_what_is_no_certificate(self):
        cert, key = common_nginx.certificate(self.lab, "gone")
        for path in (key, self.lab.path("nothing"), self.lab.dir):
            done = self.lab.sealctl("attest", "--serve", "127.0.0.1:0", "--bind-cert", path)
            self.assertNotEqual(done.code, OK)
            self.assertIn(path, done.err)
        server = self.bound(cert)
        os.unlink(cert)
        status, _, body = server.ask(common_serve.EVIDENCE + "ab" * 16)
        self.assertEqual(status, 503, body)


class Mutual(FromCase):
    """Two machines of one cloud: each is judged before it gets an answer."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = common.Tpm(cls.lab, "other")
        cls.stranger = common.Tpm(cls.lab, "stranger", "some other image")

    def setUp(self):
        super().setUp()
        for tpm in (self.other, self.stranger):
            tpm.ask("POST", "reboot", {})
        self.caller = self.lab.path("caller", self.id().rsplit(".", 1)[1], make=True)

    def policy(self, **changes):
        path = os.path.join(self.folder, "policy.json")
        content = {"root": self.lab.tpm.root, "pcrs": {"4": self.boot[4], "7": self.boot[7]},
                   "models": [self.lab.path("sealed", "llama-3b", "llama-3b.seal")],
                   "measure": ["verity"], "owner_keys": [self.public], **changes}
        with open(path, "w", encoding="ascii") as out:
            json.dump({name: value for name, value in content.items() if value is not None}, out)
        return path

    def present(self, url, tpm=None, expect=OK, *options):  # pylint: disable=keyword-arg-before-vararg
        """The caller's machine: another TPM, another log."""
        return self.verify(url, "--present", *options, expect=expect, tpm=tpm or self.other,
                           extra={"SEALEDFS_RUNTIME_DIR": self.caller})

    def mount_of_caller(self, tpm=None):
        return self.mount("llama-3b", events=os.path.join(self.caller, "tpm2-measure.log"),
                          tpm=tpm or self.other, extra={"SEALEDFS_RUNTIME_DIR": self.caller})

    def test_both_as_expected(self):
        server = self.server("--require", self.policy())
        with self.mount(), self.mount_of_caller():
            for _ in range(2):
                self.assertIn("mistral-7b (sealed by acme)", self.present(server.url).out)

    def test_caller_with_another_image(self):
        server = self.server("--require", self.policy())
        with self.mount(), self.mount_of_caller(self.stranger):
            done = self.present(server.url, self.stranger, REFUSED)
            self.assertIn("403", done.err)
            self.assertIn("PCR 4 is not one of the approved values", done.err)

    def test_server_with_another_image(self):
        server = self.server("--require", self.policy(), tpm=self.stranger)
        with self.mount(tpm=self.stranger), self.mount_of_caller():
            done = self.present(server.url, None, REFUSED)
            self.assertIn("PCR 4 is not one of the approved values", done.out + done.err)
            self.assertNotIn("403", done.err)

    def test_caller_without_its_model(self):
        server = self.server("--require", self.policy())
        with self.mount():
            self.assertIn("PCR 15 holds no model", self.present(server.url, None, REFUSED).err)

    def test_caller_who_presents_nothing(self):
        server = self.server("--require", self.policy())
        with self.mount():
            done = self.verify(server.url, expect=REFUSED)
            self.assertIn("only callers that present evidence of their own", done.err)
        for target in ("/", "/v1/mounts"):
            self.assertEqual(server.ask(target)[0], 403)

    def test_present_to_one_who_does_not_ask(self):
        server = self.server()
        with self.mount(), self.mount_of_caller():
            self.assertIn("GET /v1/evidence", self.present(server.url, None, common.FAILURE).err)

    def post(self, server, evidence):
        body = json.dumps({"nonce": "ab" * 16, "evidence": evidence}).encode()
        status, _, answer = server.ask("/v1/evidence", "POST", body)
        return status, json.loads(answer)

    def evidence_with(self, nonce):
        """Of the caller, as its own endpoint gives it."""
        server = Server(self.lab, tpm=self.other, extra={"SEALEDFS_RUNTIME_DIR": self.caller})
        self.addCleanup(common.end, server.process, signal.SIGKILL)
        return server.evidence(nonce)

    def test_nonces(self):
        """Only the server's own, once, for a minute."""
        server = self.server("--require", self.policy(models=None, owner_keys=None, measure=None))
        with self.mount_of_caller():
            status, answer = self.post(server, self.evidence_with(b"n" * 32))
            self.assertEqual(status, 403)
            self.assertIn("no nonce that this server gave out", answer["error"])
            nonce = bytes.fromhex(json.loads(server.ask("/v1/nonce")[2])["nonce"])
            self.assertEqual(len(nonce), 32)
            evidence = self.evidence_with(nonce)
            status, answer = self.post(server, evidence)
            self.assertEqual((status, answer.get("sealedfs_evidence")), (200, 1), answer)
            document = cbor2.loads(cbor2.loads(base64.b64decode(answer["document"]))[2])
            self.assertEqual(document["nonce"], b"\xab" * 16)
            status, answer = self.post(server, evidence)
            self.assertEqual((status, answer["error"]), (403, "the nonce was used before"))

    def test_malformed(self):
        server = self.server("--require", self.policy(), "--rate", "600")
        for body in (b"", b"{}", b"x" * 1000, b'{"nonce": "' + b"ab" * 16 + b'", "evidence": {}}',
                     json.dumps({"nonce": "ab" * 16, "evidence": {
                         "sealedfs_evidence": 1, "pcr": 15, "document": "AAAA", "seals": [],
                         "event_log": None, "systemd_log": None}}).encode()):
            status, _, answer = server.ask("/v1/evidence", "POST", body)
            self.assertEqual(status, 400, answer)
            self.assertEqual(list(json.loads(answer)), ["error"])
        self.assertEqual(server.ask("/v1/evidence", "POST", b"x" * MIB)[0], 400)
        # A body that does not come to its end.
        head = b"POST /v1/evidence HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        self.assertEqual(server.raw(head + b"x" * 10)[:12], b"")
        self.assertEqual(server.ask("/v1/nonce")[0], 200)

    def test_policies(self):
        for text in ("", "[]", '{"unknown": 1}', '{"root": "/nowhere"}'):
            path = os.path.join(self.folder, "bad.json")
            with open(path, "w", encoding="ascii") as out:
                out.write(text)
            done = self.lab.sealctl("attest", "--serve", "127.0.0.1:0", "--require", path)
            self.assertNotEqual(done.code, OK)
            self.assertIn(path, done.err)

    def test_between_them(self):
        """Over TLS the caller's document names the key that it met: relayed evidence is refused."""
        socket_path = os.path.join(self.folder, "http")
        cert, key = common_nginx.certificate(self.lab, "mutual")
        his_cert, his_key = common_nginx.certificate(self.lab, "relay")
        self.server("--require", self.policy(), "--bind-cert", cert, place="unix:" + socket_path)
        honest = common_nginx.Nginx(self.lab, cert, key, socket_path)
        relay = common_nginx.Nginx(self.lab, his_cert, his_key, socket_path)
        self.addCleanup(honest.stop)
        self.addCleanup(relay.stop)
        with self.mount(), self.mount_of_caller():
            self.present(honest.url)
            done = self.present(relay.url, None, REFUSED)
            self.assertIn("403", done.err)
            self.assertIn("the TLS key of the server is not the one in the document", done.err)
            done = self.present("unix:" + socket_path, None, REFUSED)
            self.assertIn("the document names no TLS key", done.err)


if __name__ == "__main__":
    common.main()
