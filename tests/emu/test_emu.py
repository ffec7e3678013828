#!/usr/bin/python3
"""Tests of the NitroTPM emulator and the test authority, by programs that are not ours.

tpm2-tools talk to it through the swtpm TCTI, openssl verifies its chain, raw bytes exercise the
mailbox, and its documents are compared with those of real hardware in shape and size.
"""
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import cbor2  # noqa: E402
from cryptography import x509  # noqa: E402

import cose  # noqa: E402
import nitrotpm  # noqa: E402
import testca  # noqa: E402
import tpm_client  # noqa: E402
import tpm_wire as wire  # noqa: E402

REAL = HERE.parent / "vectors" / "attestation-docs"
REAL_NITROTPM = REAL / "nitrotpm-us-east-1-20260203.cose"
INDEX = 0x01800000
EXTEND_4 = b"\x04" * 48
MAILBOX_EMPTY = bytes.fromhex("8002000000130000000000000000" "0000010000")


class DeviceTest(unittest.TestCase):
    """One emulated device for a class of tests; each test leaves it without indices and faults."""
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.folder_object = tempfile.TemporaryDirectory()
        cls.folder = cls.folder_object.name
        cls.device = nitrotpm.NitroTpm(os.path.join(cls.folder, "state"),
                                       extends=[(4, EXTEND_4)], **cls.options)
        cls.service = nitrotpm.Service(cls.device).start()

    @classmethod
    def tearDownClass(cls):
        cls.service.stop()
        cls.folder_object.cleanup()

    def setUp(self):
        self.client = self.connect()

    def connect(self):
        client = tpm_client.TpmClient(self.service.port)
        self.addCleanup(client.close)
        return client

    def tearDown(self):
        self.device.faults.clear()
        with tpm_client.TpmClient(self.service.port) as client:
            for index in client.capability(wire.CAP_HANDLES, wire.NV_INDEX_FIRST, 64)[1]:
                client.undefine(index)

    def tool(self, *arguments, check=True):
        environment = dict(os.environ, TPM2TOOLS_TCTI=self.service.tcti)
        return subprocess.run(arguments, env=environment, check=check, capture_output=True,
                              text=True).stdout

    def assert_rc(self, rc, function, *arguments, **keywords):
        with self.assertRaises(tpm_client.TpmError) as caught:
            function(*arguments, **keywords)
        self.assertEqual(hex(caught.exception.rc), hex(rc))

    def http(self, method, path, value=None):
        url = f"http://127.0.0.1:{self.service.http.port}{path}"
        data = None if value is None else json.dumps(value).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method)) as answer:
            return json.loads(answer.read())


class TestTools(DeviceTest):
    def test_pcrs_through_the_tcti(self):
        value = hashlib.sha384(bytes(48) + EXTEND_4).hexdigest()
        other = hashlib.sha256(bytes(32) + hashlib.sha256(EXTEND_4).digest()).hexdigest()
        text = self.tool("tpm2_pcrread", "sha384:4,17+sha256:4").lower()
        self.assertIn(value, text)
        self.assertIn(other, text)
        self.assertIn("f" * 96, text)
        self.tool("tpm2_pcrextend", f"16:sha384={'5a' * 48},sha256={'5a' * 32}")
        document = cose.parse_document(self.client.attest())
        self.assertEqual(document.pcrs[16],
                         hashlib.sha384(bytes(48) + bytes.fromhex("5a" * 48)).digest())
        self.assertEqual(document.pcrs[4].hex(), value)
        self.tool("tpm2_pcrreset", "16")

    def test_identity_and_commands(self):
        text = self.tool("tpm2_getcap", "properties-fixed")
        self.assertIn('"AMZN"', text)
        self.assertIn('"oTPM"', text)
        self.assertRegex(text, r"TPM2_PT_NV_INDEX_MAX:\s+raw: 0x2000")
        self.assertRegex(text, r"TPM2_PT_VENDOR_COMMANDS:\s+raw: 0x1\n")
        self.assertIn("0x24000001", self.tool("tpm2_getcap", "commands"))
        banks = self.tool("tpm2_getcap", "pcrs")
        self.assertRegex(banks, r"sha1: \[ *\]")
        self.assertRegex(banks, r"sha384: \[ 0, 1, ")

    def test_mailbox_is_an_index_like_others(self):
        self.client.define(INDEX)
        text = self.tool("tpm2_nvreadpublic", hex(INDEX))
        self.assertIn("size: 8192", text)
        self.assertIn("authread", text)
        public, name = self.client.read_public(INDEX)
        self.assertEqual(name[2:], hashlib.sha256(public.encode()).digest())
        self.assertIn(name.hex(), text)
        self.assertIn("0x1800000", self.tool("tpm2_getcap", "handles-nv-index").lower())

    def test_small_indices_are_the_tpms_own(self):
        path = os.path.join(self.folder, "data")
        data = os.urandom(700)
        pathlib.Path(path).write_bytes(data)
        self.tool("tpm2_nvdefine", "0x01800010", "-C", "o", "-s", "700", "-a",
                  "ownerread|ownerwrite")
        self.tool("tpm2_nvwrite", "0x01800010", "-C", "o", "-i", path)
        self.tool("tpm2_nvread", "0x01800010", "-C", "o", "-o", path + ".out")
        self.assertEqual(pathlib.Path(path + ".out").read_bytes(), data)
        self.tool("tpm2_nvundefine", "0x01800010", "-C", "o")

    def test_many_clients_at_once(self):
        idle = self.connect()
        failures = []

        def work(number):
            try:
                with tpm_client.TpmClient(self.service.port) as client:
                    for _ in range(5):
                        nonce = os.urandom(32)
                        document = client.attest(nonce=nonce, index=INDEX + number)
                        if cose.parse_document(document).payload["nonce"] != nonce:
                            failures.append("another client's nonce")
            except Exception as failure:
                failures.append(repr(failure))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        idle.attest()

    def test_control_channel_is_forwarded(self):
        with socket.create_connection(("127.0.0.1", self.service.port + 1), 10) as control:
            control.sendall(bytes.fromhex("00000009"))
            self.assertEqual(control.recv(64)[:4], bytes(4))


class TestMailbox(DeviceTest):
    def raw(self, text):
        return self.client.exchange(bytes.fromhex(text.replace(" ", "")))

    def test_bytes_of_the_reference(self):
        auth = "00000009 40000009 0000 00 0000"
        define = self.raw(f"8002 0000002d 0000012a 40000001 {auth} 0000 000e 01800000 000b "
                          "00040004 0000 2000")
        self.assertEqual(define, MAILBOX_EMPTY)
        request = tpm_client.encode_request()
        self.assertEqual(request.hex(), "a16b4174746573746174696f6ea369757365725f64617461f6656e6f"
                                        "6e6365f66a7075626c69635f6b6579f6")
        size = 10 + 8 + 4 + 9 + 2 + len(request) + 2
        write = self.raw(f"8002 {size:08x} 00000137 01800000 01800000 {auth} "
                         f"{len(request):04x} {request.hex()} 0000")
        self.assertEqual(write, MAILBOX_EMPTY)
        vendor = self.raw(f"8002 0000001f 20000001 01800000 01800000 {auth}")
        self.assertEqual(vendor, MAILBOX_EMPTY)
        read = self.raw(f"8002 00000023 0000014e 01800000 01800000 {auth} 0400 0000")
        self.assertEqual(read[:16].hex(), "8002000004150000000000000402" "0400")
        self.assertEqual(read[16:19], b"\xa1\x6bA")
        contents = self.client.read_all(INDEX)
        answer = tpm_client.decode_answer(contents)
        self.assertTrue(contents.endswith(b"\xff" * 2000))
        cose.verify_document(cose.parse_document(answer["Attestation"]["document"]),
                             self.device.authority.root)
        public = self.raw("8001 0000000e 00000169 01800000")
        self.assertEqual(public[:28].hex(),
                         "80010000003e00000000" "000e01800000000b20040004" "00002000" "0022")
        undefine = self.raw(f"8002 0000001f 00000122 40000001 01800000 {auth}")
        self.assertEqual(undefine, MAILBOX_EMPTY)

    def test_response_codes(self):
        client = self.client
        self.assert_rc(0x28B, client.undefine, INDEX)
        self.assert_rc(0x18B, client.vendor, INDEX)
        self.assert_rc(0x18B, client.read, INDEX, 1)
        client.define(INDEX)
        self.assert_rc(0x14C, client.define, INDEX)
        self.assert_rc(0x14A, client.read, INDEX, 1)
        self.assert_rc(0x14A, client.vendor, INDEX)
        client.write(INDEX, b"x")
        self.assert_rc(0x146, client.write, INDEX, b"xx", offset=8191)
        self.assert_rc(0x146, client.read, INDEX, 2, 8191)
        self.assert_rc(0x1C4, client.read, INDEX, 1025)
        self.assert_rc(0x2D5, client.define, INDEX + 1, size=8193)
        self.assertEqual(client.read(INDEX, 1, 8191), b"\xff")

    def test_space_runs_out(self):
        for number in range(4):
            self.client.define(INDEX + number)
        self.assert_rc(0x14B, self.client.define, INDEX + 4)
        self.client.define(INDEX + 5, size=64)
        self.client.undefine(INDEX + 2)
        self.client.define(INDEX + 4)

    def test_passwords(self):
        client = self.client
        client.define(INDEX, auth=b"secret\0\0")
        self.assert_rc(0x98E, client.write, INDEX, b"x")
        client.write(INDEX, tpm_client.encode_request(), auth=b"secret")
        self.assert_rc(0x98E, client.vendor, INDEX, auth=b"wrong")
        client.vendor(INDEX, auth=b"secret\0")
        client.define(INDEX + 1, attributes=0x02040004, auth=b"secret")
        self.assert_rc(0x9A2, client.write, INDEX + 1, b"x")
        self.tool("tpm2_dictionarylockout", "-c")

    def test_malformed_vendor_commands(self):
        self.client.define(INDEX)
        self.client.define(INDEX + 1)
        self.client.write(INDEX, tpm_client.encode_request())
        bad = [(0x149, wire.build_command(wire.CC_VENDOR_NSM, [INDEX + 1, INDEX],
                                          wire.PASSWORD_EMPTY)),
               (0x125, wire.build_command(wire.CC_VENDOR_NSM, [INDEX, INDEX], None)),
               (0x095, wire.build_command(wire.CC_VENDOR_NSM, [INDEX, INDEX],
                                          wire.PASSWORD_EMPTY, b"\x00\x00")),
               (0x142, wire.build_command(wire.CC_VENDOR_NSM, [INDEX], None)),
               (0x144, wire.build_command(wire.CC_VENDOR_NSM, [INDEX, INDEX], b""))]
        for rc, command in bad:
            self.assert_rc(rc, self.client.run, command)
        self.client.define(INDEX + 2, size=2048)
        self.client.write(INDEX + 2, tpm_client.encode_request())
        self.assert_rc(0x146, self.client.vendor, INDEX + 2)

    def test_refused_requests(self):
        for fields, name in (({"nonce": bytes(1025)}, "InputTooLarge"),
                             ({"user_data": "text"}, "InvalidArgument")):
            self.assertEqual(self.client.request(**fields), {"Error": name})
        self.assertEqual(set(self.client.request(nonce=bytes(1024), user_data=bytes(1024),
                                                 public_key=bytes(1024))), {"Attestation"})

    def test_contents_survive_a_reboot(self):
        self.client.define(INDEX)
        self.client.write(INDEX, b"left behind" * 300)
        self.client.extend(23, {"sha384": b"\x01" * 48})
        state = self.http("POST", "/_emu/reboot", {})
        self.assertEqual(state["pcrs"]["sha384"]["23"], "00" * 48)
        self.assertEqual(state["pcrs"]["sha384"]["4"],
                         hashlib.sha384(bytes(48) + EXTEND_4).hexdigest())
        self.assertEqual(state["mailboxes"], {"0x01800000": 8192})
        self.assertEqual(self.client.read(INDEX, 11, 11), b"left behind")
        self.tool("tpm2_clear", "-c", "l")
        self.assertEqual(self.http("GET", "/_emu/state")["mailboxes"], {})


class TestDocuments(DeviceTest):
    def test_openssl_verifies_the_chain(self):
        document = cose.parse_document(self.client.attest())
        leaf, bundle = document.payload["certificate"], document.payload["cabundle"]
        paths = [os.path.join(self.folder, name) for name in ("leaf.pem", "chain.pem")]
        pathlib.Path(paths[0]).write_bytes(testca.to_pem(x509.load_der_x509_certificate(leaf)))
        pathlib.Path(paths[1]).write_bytes(b"".join(
            testca.to_pem(x509.load_der_x509_certificate(der)) for der in bundle[1:]))
        root = str(self.device.authority.root_path)
        done = subprocess.run(["openssl", "verify", "-CAfile", root, "-untrusted", paths[1],
                               paths[0]], capture_output=True, text=True, check=False)
        self.assertIn(": OK", done.stdout, done.stderr)
        strict = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", root,
                                 "-untrusted", paths[1], paths[0]], capture_output=True,
                                text=True, check=False)
        self.assertIn("error 85", strict.stderr)

    def test_real_documents_verify_with_the_same_code(self):
        root = x509.load_pem_x509_certificate((REAL / "AWS_NitroEnclaves_Root-G1.pem").read_bytes())
        for path in sorted(REAL.glob("*.cose")):
            document = cose.parse_document(path.read_bytes())
            cose.verify_document(document, root, document.timestamp_s)
            with self.assertRaises(cose.DocumentError):
                cose.verify_document(document, self.device.authority.root, document.timestamp_s)

    def test_shape_of_hardware(self):
        real = REAL_NITROTPM.read_bytes()
        ours = self.client.attest(public_key=bytes(65), nonce=bytes(32))
        self.assertLess(abs(len(real) - len(ours)), 40)
        self.assertEqual(ours[:9], real[:9])
        real_document, document = cose.parse_document(real), cose.parse_document(ours)
        self.assertEqual(document.payload_bytes[:1], b"\xbf")
        self.assertEqual(list(cbor2.loads(document.payload_bytes)),
                         list(cbor2.loads(real_document.payload_bytes)))
        self.assertIn(b"\x69user_data\xf6", ours)
        self.assertIn(b"mnitrotpm_pcrs\xb8\x18\x00\x58\x30", ours)
        self.assertEqual(sorted(document.pcrs), list(range(24)))
        self.assertEqual(document.pcrs[17], real_document.pcrs[17])
        self.assertRegex(document.payload["module_id"], "^i-[0-9a-f]{17}-tpm0{16}$")
        certificates = [self.certificates(item) for item in (document, real_document)]
        for mine, theirs in zip(*certificates):
            self.assertLess(abs(len(testca.to_der(mine)) - len(testca.to_der(theirs))), 8)
            self.assertEqual(self.form(mine), self.form(theirs))

    @staticmethod
    def certificates(document):
        return [x509.load_der_x509_certificate(der) for der in
                [document.payload["certificate"], *document.payload["cabundle"]]]

    @staticmethod
    def form(certificate):
        """What has to be alike: extensions in order, their flags, name attributes, algorithms."""
        extensions = [(item.oid, item.critical) for item in certificate.extensions]
        values = [item.value for item in certificate.extensions
                  if isinstance(item.value, (x509.BasicConstraints, x509.KeyUsage))]
        names = [[(item.oid, item._type) for item in name]
                 for name in (certificate.subject, certificate.issuer)]
        return (extensions, values, names, certificate.signature_algorithm_oid,
                certificate.public_key().curve.name)

    def test_leaf_lifetime_and_reuse(self):
        leaves = [self.certificates(cose.parse_document(self.client.attest()))[0]
                  for _ in range(2)]
        self.assertEqual(leaves[0], leaves[1])
        life = leaves[0].not_valid_after - leaves[0].not_valid_before
        self.assertEqual(life.total_seconds(), 3 * 3600 + 3)


class TestFaults(DeviceTest):
    def fault(self, **members):
        self.http("POST", "/_emu/fault", members)

    def verdict(self):
        try:
            document = cose.parse_document(self.client.attest(nonce=b"n" * 32))
            cose.verify_document(document, self.device.authority.root)
            return "ok" if document.payload["nonce"] == b"n" * 32 else "nonce"
        except (cose.DocumentError, ValueError, tpm_client.TpmError) as failure:
            return str(failure)

    def test_each_lie_is_told_once(self):
        cases = [({"kind": "rc", "op": "vendor", "rc": "0x143"}, "rc 0x143"),
                 ({"kind": "retry", "op": "vendor"}, "rc 0x922"),
                 ({"kind": "error", "error": "InternalError"}, "InternalError"),
                 ({"kind": "swap", "field": "nonce"}, "nonce"),
                 ({"kind": "bad-signature"}, "document: signature does not verify"),
                 ({"kind": "wrong-leaf-key"}, "document: signature does not verify"),
                 ({"kind": "expired-leaf"}, "chain: certificate 0 has expired"),
                 ({"kind": "ca-leaf"}, "chain: leaf is a CA"),
                 ({"kind": "algorithm", "value": -7}, "document: algorithm not ES384")]
        for fault, text in cases:
            self.fault(**fault)
            self.assertEqual(self.verdict(), text)
            self.assertEqual(self.verdict(), "ok", fault)
        self.fault(kind="wrong-root")
        self.assertIn("chain: signature", self.verdict())
        for kind in ("definite", "omit-null", "tagged", "indefinite-outer"):
            self.fault(kind=kind)
            self.assertEqual(self.verdict(), "ok")

    def test_unknown_fault_is_refused(self):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.fault(kind="bad-signatur")
        caught.exception.close()
        self.assertEqual(caught.exception.code, 400)
        self.assertEqual(self.verdict(), "ok")

    def test_old_document(self):
        self.fault(kind="old", age_s=600)
        document = cose.parse_document(self.client.attest())
        cose.verify_document(document, self.device.authority.root, document.timestamp_s)
        fresh = cose.parse_document(self.client.attest())
        self.assertLess(abs(fresh.timestamp_s - document.timestamp_s - 600), 20)

    def test_short_answer(self):
        self.client.define(INDEX)
        self.client.write(INDEX, tpm_client.encode_request())
        self.fault(kind="short-answer", op="vendor")
        self.assertEqual(self.client.vendor(INDEX).hex(), "80010000000a00000000")
        self.assertIn("Attestation", tpm_client.decode_answer(self.client.read_all(INDEX)))

    def test_dropped_connection(self):
        self.client.define(INDEX)
        self.client.write(INDEX, tpm_client.encode_request())
        self.fault(kind="drop", op="vendor")
        with self.assertRaises(EOFError):
            self.client.vendor(INDEX)
        self.connect().vendor(INDEX)

    def test_hang_stops_only_its_client(self):
        self.client.define(INDEX)
        self.client.write(INDEX, tpm_client.encode_request())
        self.fault(kind="hang", op="vendor", seconds=600)
        self.client.connection.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            self.client.vendor(INDEX)
        self.assertEqual(len(self.connect().attest(index=INDEX + 1)[:2]), 2)

    def test_forged_pcr(self):
        self.fault(kind="pcr", values={"4": "ab" * 48})
        self.assertEqual(cose.parse_document(self.client.attest()).pcrs[4], b"\xab" * 48)


class TestPlain(DeviceTest):
    options = {"plain": True, "banks": ("sha1", "sha384"), "nv_buffer_max": 512}

    def test_a_tpm_without_the_command(self):
        self.assertNotIn("0x24000001", self.tool("tpm2_getcap", "commands"))
        self.assertNotIn("AMZN", self.tool("tpm2_getcap", "properties-fixed"))
        self.assert_rc(0x143, self.client.vendor, INDEX)

    def test_banks_and_buffer(self):
        banks = self.tool("tpm2_getcap", "pcrs")
        self.assertRegex(banks, r"sha1: \[ 0,")
        self.assertRegex(banks, r"sha256: \[ *\]")
        self.assertIn("0x200", self.tool("tpm2_getcap", "properties-fixed"))
        self.client.define(INDEX)
        self.client.write(INDEX, b"x" * 512)
        self.assert_rc(0x1C4, self.client.read, INDEX, 513)
        self.assert_rc(0x1D5, self.client.write, INDEX, b"x" * 513)


class TestProgram(unittest.TestCase):
    def test_whole_life(self):
        with tempfile.TemporaryDirectory() as folder:
            port_file = os.path.join(folder, "ports")
            process = subprocess.Popen(
                ["/usr/bin/python3", str(HERE / "nitrotpm.py"), "--state", folder + "/tpm",
                 "--port-file", port_file, "--extend", "7=" + "07" * 48],
                stdout=subprocess.PIPE, text=True)
            try:
                words = process.stdout.readline().split()
                self.assertEqual(words[0], "ready")
                values = dict(word.split("=", 1) for word in words[1:])
                self.assertEqual(sorted(values), ["control", "port", "root"])
                shell = subprocess.run(["bash", "-c", f". {port_file}; echo $port $root"],
                                       capture_output=True, text=True, check=True).stdout.split()
                self.assertEqual(shell, [values["port"], values["root"]])
                with tpm_client.TpmClient(int(values["port"])) as client:
                    document = cose.parse_document(client.attest())
                root = x509.load_pem_x509_certificate(pathlib.Path(values["root"]).read_bytes())
                cose.verify_document(document, root)
                url = f"http://127.0.0.1:{values['control']}/_emu/state"
                with urllib.request.urlopen(url) as answer:
                    child = json.loads(answer.read())["swtpm_pid"]
                os.kill(child, 0)
            finally:
                process.terminate()
                process.wait(120)
                process.stdout.close()
            self.assertEqual(process.returncode, 0)
            self.assertRaises(ProcessLookupError, os.kill, child, 0)
            self.assertFalse(os.path.exists(port_file))


if __name__ == "__main__":
    unittest.main()
