#!/usr/bin/python3
"""net= (fs/net/relay, route, carry): S3, KMS and credentials through sockets to the parent of an enclave, with TLS from end
to end. Everything runs in a network namespace without any network."""

import json
import subprocess
import unittest

import common
from common import FAILURE, MIB, OK, UNREACHABLE, USAGE

import ask
import common_measuring
import common_nginx
import llama
import measured
from common_enclave import EnclaveCase, IMAGE
from common_parent import Parent, can_unshare, without_network

S3, KMS = "s3.enclave.example:443", "kms.enclave.example:443"
CREDENTIALS = "169.254.170.2:80"


class Routed(EnclaveCase):
    """Servers with certificates for names that nobody can resolve."""

    VSOCK = False

    @classmethod
    def setUpClass(cls):
        reason = can_unshare()
        if reason:
            raise unittest.SkipTest(reason)
        super().setUpClass()
        lab = cls.lab
        cls.parent = Parent(lab, cls.VSOCK)
        bundle = lab.path("roots.pem")
        for name, program, options in ((S3, "s3.py", ("--root", lab.s3.root, "--bucket", common.BUCKET)),
                                       (KMS, "kms.py", ("--state", lab.path("kms"), "--root", cls.nsm.root, "--log",
                                                        lab.path("kms-tls.log")))):
            cert, key = common_nginx.certificate(lab, name.split(":")[0], host=name.split(":")[0])
            server = common.Emulator(lab, name.split(":")[0], program, *options, "--credentials", lab.credentials, "--tls",
                                     cert, key)
            cls.parent.servers[name] = ("127.0.0.1", server.port)
            setattr(cls, program.split(".")[0], server)
            with open(bundle, "ab") as out:
                out.write(common.read_bytes(cert))
        cls.imds = common.Emulator(lab, "imds", "imds.py", "--credentials", lab.credentials, "--container-token", "let-me-in")
        cls.parent.servers[CREDENTIALS] = ("127.0.0.1", cls.imds.port)
        cls.container = cls.imds.values["container"].split("/", 3)[3]
        cls.bundle = bundle

    @classmethod
    def put_key(cls, alias, image):
        """One more key, for any principal. The emulator with TLS reads the keys when it starts."""
        cls.lab.kms.put_policy("alias/any", {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*"}
        ]}, {})
        return super().put_key(alias, image)

    def setUp(self):
        super().setUp()
        self.parent.clear()

    def environment(self, **more):
        """The machine knows the names of the servers, and nothing else."""
        env = self.lab.env("operator")
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_KMS"):
            env.pop(name)
        return {**env, "AWS_ENDPOINT_URL_S3": "https://s3.enclave.example", "AWS_CA_BUNDLE": self.bundle,
                "AWS_ENDPOINT_URL_KMS": "https://kms.enclave.example", **more}

    def both(self):
        """A forwarder for each server."""
        return [f"net={name.split(':')[0]}@{self.parent.forward(name)}" for name in (S3, KMS)]

    def cat(self, *more, code=OK, words=(), env=None, child=(), model="prod/m.gguf"):
        done = subprocess.run(
            without_network([common.SEALCTL, "cat", "-o", self.options(*more), self.lab.s3_url(model), *child]),
            env=env or self.environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=common.COMMAND_S,
            check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word.lower(), done.stderr.decode().lower())
        if code != OK:
            self.assertEqual(done.stdout, b"")
        return done.stdout

    def want(self):
        return common.read_bytes(self.plain)

    def assert_tls(self):
        """Each connection that the parent carried to S3 and KMS began with a TLS handshake record."""
        self.assertTrue(self.parent.first)
        self.assertEqual(set(self.parent.first), {b"\x16"})


class Ways(Routed):
    def test_forwarders(self):
        self.assertEqual(self.cat(*self.both()), self.want())
        self.assertEqual(set(self.parent.seen), {S3, KMS})
        self.assert_tls()

    def test_proxy(self):
        self.assertEqual(self.cat(f"net={self.parent.proxy()}"), self.want())
        self.assertEqual(set(self.parent.seen), {S3, KMS})
        self.assert_tls()

    def test_a_forwarder_goes_before_the_proxy(self):
        other = Parent(self.lab)
        other.number = 100
        other.servers = dict(self.parent.servers)
        self.cat(f"net={self.parent.proxy()}", f"net={S3}@{other.forward(S3)}")
        self.assertEqual((set(self.parent.seen), set(other.seen)), ({KMS}, {S3}))

    def test_many_requests(self):
        """A large model: several connections, ranges side by side, bytes in order."""
        path = common.make_model(self.lab.path("plain", "large.gguf"), 40 * MIB + 17, 3)
        self.lab.seal(path, self.lab.s3_url("prod/"), "--kms-key", "alias/enclave", "--sign", self.private)
        out = self.cat(f"net={self.parent.proxy()}", model="prod/large.gguf")
        self.assertEqual(out, common.read_bytes(path))

    def test_credentials_of_the_parent(self):
        """Container credentials without TLS, by the address that AWS has defined for them, through the proxy."""
        env = self.environment(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/" + self.container,
                               AWS_CONTAINER_AUTHORIZATION_TOKEN="let-me-in", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
        self.lab.seal(self.plain, self.lab.s3_url("any/"), "--kms-key", "alias/any", "--sign", self.private)
        self.assertEqual(self.cat(f"net={self.parent.proxy()}", env=env, model="any/m.gguf"), self.want())
        self.assertIn(CREDENTIALS, self.parent.seen)

    def test_mounted(self):
        """The daemon, confined, where there is FUSE; it has the network, and does not use it."""
        env = self.environment()
        extra = {name: env[name] for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_KMS", "AWS_CA_BUNDLE")}
        options = self.options(f"net={self.parent.proxy()}").split(",")
        with self.lab.mount(self.lab.s3_url("prod"), *options, extra=extra) as mount:
            self.assertEqual(common.read_bytes(mount.join("m.gguf")), self.want())
        self.assertEqual(set(self.parent.seen), {S3, KMS})


class Refused(Routed):
    def test_no_way(self):
        """A server without a way of its own is not asked, though others are."""
        self.cat(self.both()[0], code=UNREACHABLE, words=["kms.enclave.example:443", "no net= leads to this server"])
        self.assertEqual(set(self.parent.seen), {S3})

    def test_the_parent_lies(self):
        """It leads to another server than was asked for: the certificate shows that."""
        self.parent.servers["elsewhere:443"] = self.parent.servers[KMS]
        way = f"net=s3.enclave.example@{self.parent.forward('elsewhere:443')}"
        self.cat(way, self.both()[1], code=FAILURE, words=["does not match target host name"])

    def test_wrong_root(self):
        self.cat(*self.both(), code=FAILURE, words=["certificate"], env=self.environment(AWS_CA_BUNDLE=self.public_roots()))

    def public_roots(self):
        cert, _ = common_nginx.certificate(self.lab, "other", host="s3.enclave.example")
        return cert

    def test_nobody_there(self):
        for way in (f"net=unix:{self.lab.path('nothing')}", f"net=s3.enclave.example@unix:{self.lab.path('nothing')}"):
            self.cat(way, code=UNREACHABLE, words=["cannot connect to unix:", "s3.enclave.example"])

    def test_proxy_refuses(self):
        proxy = self.parent.proxy()
        for answer, words in ((b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses: HTTP/1.1 403 Forbidden"),
                              (b"HTTP/1.1 20\r\n\r\n", "refuses"), (b"SSH-2.0\x1b[1m\r\n\r\n", "refuses"),
                              (b"HTTP/1.1 200", "does not answer"), (b"x" * 9000, "does not answer"),
                              (b"\0" * 100 + b"\r\n\r\n", "refuses")):
            with self.subTest(answer=answer[:20]):
                self.parent.answer = answer
                self.cat(f"net={proxy}", code=UNREACHABLE, words=[words])

    def test_plain_http_to_a_service(self):
        """The parent would read it."""
        env = self.environment(AWS_ENDPOINT_URL_S3="http://s3.enclave.example")
        self.cat(f"net={self.parent.proxy()}", code=USAGE, words=["plain http"], env=env)
        self.assertEqual(self.parent.seen, [])

    def test_options(self):
        for value in ("vsock:3", "vsock:3:", "vsock:x:1", "vsock:3:1:2", "vsock:4294967296:1", "unix:relative", "unix:", "tcp:h:1",
                      "@vsock:3:1", "h:0x@vsock:3:1", "h:99999@vsock:3:1", "h/x@vsock:3:1", "h@", "h", "unix:/" + "x" * 200):
            with self.subTest(value=value):
                self.cat("net=" + value, code=USAGE, words=["option net="])

    def test_vsock(self):
        """As far as this kernel has it: nobody answers there."""
        self.cat("net=vsock:3:8001", code=UNREACHABLE, words=["s3.enclave.example:443: cannot connect to vsock:3:8001"])


class Acceptance(Routed):
    def test_unlock_measure_lock_and_run(self):
        """The whole way of an enclave: key, measurement and lock by the module, bytes and KMS through the parent, the
        model in a program's memory."""
        out = self.cat(f"net={self.parent.proxy()}", "lock-pcr", child=["--", "sha256sum", "{}"])
        self.assertEqual(out.split()[0].decode(), common.digest(self.plain))
        start = measured.start_text("verity", "nsm", [measured.signer_id(self.public)])
        value = common_measuring.predicted("verity", "sha384", self.plain, start=start)
        self.assertEqual(self.nsm.pcr(16), value)
        self.assertEqual(self.nsm.state()["locked"], [*range(16), 16])
        asked = [name for name in self.nsm.operations() if name != "DescribePCR"]
        self.assertEqual(asked, ["GetRandom", "Attestation", "ExtendPCR", "ExtendPCR", "LockPCR"])
        with open(self.lab.path("kms-tls.log"), encoding="utf-8") as log:
            calls = [json.loads(line) for line in log]
        decrypt = [call for call in calls if call["operation"] == "Decrypt"][-1]
        self.assertEqual((decrypt["verdict"], decrypt["recipient"]["genuine"], decrypt["recipient"]["pcrs"]["0"]),
                         ("ok", True, IMAGE[0]))
        self.assert_tls()

    def test_llama_server(self):
        """It says the same as from the plain file, from memory that holds the model."""
        reason = llama.fetch_llama()
        if reason:
            self.skipTest(reason)
        path = self.lab.path("plain", "tiny.gguf")
        subprocess.run(["/usr/bin/python3", llama.GENERATOR, "--size", "50", "--seed", "1", "--out", path], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.lab.seal(path, self.lab.s3_url("prod/"), "--kms-key", "alias/enclave", "--sign", self.private)
        options = self.options(f"net={self.parent.proxy()}", "lock-pcr", "pcr=20")
        before = [common.SEALCTL, "cat", "-o", options, self.lab.s3_url("prod/tiny.gguf"), "--"]
        want = ask.ask(llama.LLAMA, path, "mmap", deadline_s=llama.LOAD_S)[0]
        got = ask.ask(llama.LLAMA, "{}", "mmap", self.lab.path("llama.log"), deadline_s=llama.LOAD_S, before=before,
                      env=self.environment())[0]
        self.assertEqual(got, want)
        self.assertGreater(len(set(got)), 1)
        start = measured.start_text("verity", "nsm", [measured.signer_id(self.public)])
        self.assertEqual(self.nsm.pcr(20), common_measuring.predicted("verity", "sha384", path, start=start))
        self.assertIn(20, self.nsm.state()["locked"])
        self.nsm.operations()
        self.assert_tls()


if __name__ == "__main__":
    common.main()
