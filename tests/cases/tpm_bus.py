#!/usr/bin/python3
"""What somebody who sits between the program and the TPM can do: deny, and nothing else.

A proxy flips bits of answers, forges, replays and drops them, listens, and puts another TPM in the
place of the first. PCRs are read past it, with tpm2-tools.
"""

import json
import os
import random
import subprocess

import common
import common_attest as ca
from common_bus import RS_PW, Bus, Device, code_of, wire

import cose
import tpm_client
import tpm_sessions
from cryptography import x509

HEADER_BITS, BODY_BITS = (10, 30) if common.THOROUGH else (4, 6)
ROUNDS = 1000 if common.THOROUGH else 100
NONCE = "5a" * 32
KEY = "30" * 294
UNUSED_NOW = (wire.CC_CREATE_PRIMARY, wire.CC_START_AUTH_SESSION)


class BusCase(ca.AttestCase):
    """Two TPMs: swtpm alone, with its own sessions and few slots, and a NitroTPM. A bus to each."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.swtpm = common.Tpm(cls.lab, "swtpm", common.Tpm.BOOT, None, "--passthrough")

    def setUp(self):
        super().setUp()
        self.swtpm.ask("POST", "reboot", {})
        self.bus = self.bus_to(self.swtpm)
        self.count = 0

    def bus_to(self, tpm):
        bus = Bus(tpm)
        self.addCleanup(bus.close)
        return bus

    def measure(self, model, tpm=None):
        return self.tool("measure", "", 15, "verity", model.name, model.verity, model.sha256,
                         model.sha384, tpm=tpm or self.bus)

    def pcr(self, tpm=None):
        return self.finish_pcr(self.start("pcr", 15, tpm=tpm or self.bus))

    def finish_pcr(self, process):
        out, _ = process.communicate(timeout=ca.TOOL_S)
        if process.returncode == 0:
            return ca.Answer(0, out)
        self.assertTrue(out.startswith("error "), out)
        _, number, text = out.split(" ", 2)
        return ca.Answer(int(number), text)

    def document(self, tpm):
        return self.tool("document", "-", NONCE, KEY, tpm=tpm)

    def new_model(self):
        self.count += 1
        return ca.Model(self.count)

    def assert_log_true(self, tpm):
        for bank in ("sha256", "sha384"):
            self.assertEqual(tpm.pcr(bank), ca.replay(self.log_path, bank), bank)

    def assert_document(self, answer, tpm):
        document = cose.parse_document(bytes.fromhex(answer.text))
        with open(tpm.values["root"], "rb") as root:
            cose.verify_document(document, x509.load_pem_x509_certificate(root.read()))
        self.assertEqual(document.payload["nonce"].hex(), NONCE)
        self.assertEqual(document.payload["public_key"].hex(), KEY)

    def active(self, tpm):
        return json.loads(tpm.ask("GET", "state"))["active"]


class Flips(BusCase):
    """One bit of one answer."""

    def bits_of(self, response, chance):
        size = 8 * len(response)
        header = chance.sample(range(80), HEADER_BITS)
        body = chance.sample(range(80, size), min(BODY_BITS, size - 80)) if size > 80 else []
        return sorted(header + body)

    def flipped_runs(self, bus, run):
        """Yields (bit, command, answer) of run() with each sampled bit of each answer flipped."""
        run()  # the key's name is known from here on
        bus.forget()
        run()
        answers = [(command, response) for command, response in bus.seen]
        chance = random.Random(14)
        for number, (command, response) in enumerate(answers):
            for bit in self.bits_of(response, chance):
                changed = []

                def flip(at, asked, ask, number=number, bit=bit, changed=changed):
                    told = bytearray(ask(asked))
                    if at == number and bit // 8 < len(told):
                        told[bit // 8] ^= 1 << bit % 8
                        changed.append(code_of(asked))
                    return bytes(told)

                bus.forget()
                bus.answer = flip
                answer = run()
                bus.forget()
                yield bit, changed[0] if changed else code_of(command), answer

    def test_measure(self):
        failed = 0
        for bit, code, answer in self.flipped_runs(self.bus,
                                                   lambda: self.measure(self.new_model())):
            with self.subTest(bit=bit, command=hex(code)):
                if answer.errno:
                    failed += 1
                    # What was announced and what happened are told apart by the next run.
                    after = self.measure(ca.Model(self.count))
                    if after.errno:  # a handle that only the proxy knows holds a slot
                        self.assertIn(code, UNUSED_NOW, after)
                        self.swtpm.run("tpm2_flushcontext", "-l")
                        self.swtpm.run("tpm2_flushcontext", "-t")
                        after = self.measure(ca.Model(self.count))
                    self.assertIn(after, [(0, "extended"), (0, "already")])
                self.assert_log_true(self.swtpm)
        self.assertGreater(failed, HEADER_BITS)

    def test_read(self):
        self.measure(self.new_model())
        right = self.pcr()
        for bit, code, answer in self.flipped_runs(self.bus, self.pcr):
            with self.subTest(bit=bit, command=hex(code)):
                if answer.errno == 0:
                    self.assertEqual(answer, right)
                else:
                    self.assertNotIn("instead of", answer.text)  # no altered value was believed
                if code in UNUSED_NOW:
                    self.swtpm.run("tpm2_flushcontext", "-l")
                    self.swtpm.run("tpm2_flushcontext", "-t")

    def test_attest(self):
        tpm = self.lab.tpm
        bus = self.bus_to(tpm)
        for bit, code, answer in self.flipped_runs(bus, lambda: self.document(bus)):
            with self.subTest(bit=bit, command=hex(code)):
                if answer.errno == 0:
                    self.assert_document(answer, tpm)
                if code in UNUSED_NOW:  # nobody was told the handle
                    tpm.ask("POST", "reboot", {})
                else:
                    self.assertEqual(self.active(tpm), {"keys": 0, "sessions": 0})
                self.document(tpm)  # whatever was left in the way is removed
                self.assertEqual(self.mailboxes(tpm), [])


class Forged(BusCase):
    """Whole answers."""

    def assert_noticed(self, answer):
        self.assertEqual(answer.errno, ca.EBADMSG, answer.text)
        self.assertIn("changes its answers", answer.text)

    def replay(self, code, seen, from_now=0):
        """Answers a command with what was answered to one like it before."""
        old = [response for command, response in seen if code_of(command) == code]

        def answer(number, command, ask):
            told = ask(command)
            if code_of(command) == code and number >= from_now:
                return old[0]
            return told
        return answer

    def test_old_pcr(self):
        """Somebody extended the PCR; the bus shows the value before."""
        self.measure(self.new_model())
        seen = self.bus.seen
        self.bus.forget()
        self.swtpm.extend(15, sha256="11" * 32, sha384="22" * 48)
        self.assertEqual(self.measure(self.new_model()).errno, ca.EKEYREJECTED)
        self.bus.answer = self.replay(wire.CC_PCR_READ, seen)
        self.assert_noticed(self.measure(self.new_model()))
        self.assert_noticed(self.pcr())

    def test_old_pcr_without_a_session(self):
        """The answer of before, in the form that has no check."""
        self.measure(self.new_model())

        def answer(_number, command, ask):
            if code_of(command) != wire.CC_PCR_READ:
                return ask(command)
            bare = wire.parse_command(command, 0).parameters
            return ask(wire.build_command(wire.CC_PCR_READ, [], None, bare))

        self.bus.answer = answer
        self.assertNotEqual(self.pcr().errno, 0)
        self.assertNotEqual(self.measure(self.new_model()).errno, 0)

    def test_dropped_extend(self):
        """The TPM never sees it; the bus says "done" in three ways."""
        self.assertEqual(self.measure(self.new_model()).errno, 0)
        old = [response for command, response in self.bus.seen
               if code_of(command) == wire.CC_PCR_EXTEND][0]
        for lie in (old, wire.session_response(b""), wire.plain_response(b"")):
            before = self.swtpm.pcr("sha384")
            self.bus.forget()
            self.bus.answer = lambda _number, command, ask, lie=lie: (
                lie if code_of(command) == wire.CC_PCR_EXTEND else ask(command))
            model = self.new_model()
            self.assertNotEqual(self.measure(model).errno, 0)
            self.assertEqual(self.swtpm.pcr("sha384"), before)
            self.bus.forget()
            self.assertEqual(self.measure(model), (0, "extended"))
            self.assert_log_true(self.swtpm)

    def test_extend_of_something_else(self):
        other = bytes.fromhex(ca.Model("other").digest("verity", "sha384"))

        def answer(_number, command, ask):
            if code_of(command) == wire.CC_PCR_EXTEND:
                at = command.rindex(b"\x00\x0c") + 2
                command = command[:at] + other + command[at + 48:]
            return ask(command)

        self.bus.answer = answer
        self.assertNotEqual(self.measure(self.new_model()).errno, 0)
        self.assertEqual(self.swtpm.pcr("sha384"), ca.zero("sha384"))

    def test_extended_twice(self):
        """The bus asks for the same again, or has the program do it."""
        for lie in ((lambda command, ask: ask(command) and ask(command)),
                    (lambda command, ask: ask(command) and wire.error_response(wire.RC_RETRY))):
            self.bus.forget()
            self.bus.answer = lambda _number, command, ask, lie=lie: (
                lie(command, ask) if code_of(command) == wire.CC_PCR_EXTEND else ask(command))
            model = self.new_model()
            self.assertNotEqual(self.measure(model).errno, 0)
            self.bus.forget()
            self.assertEqual(self.measure(model), (0, "already"))
            self.assert_log_true(self.swtpm)

    def test_fewer_banks(self):
        """A TPM that is said to have one bank only."""
        def answer(_number, command, ask):
            told = ask(command)
            if code_of(command) == wire.CC_GET_CAPABILITY:
                told = told.replace(bytes.fromhex("000c03ffffff"), bytes.fromhex("000c03000000"))
            return told

        self.bus.answer = answer
        self.assert_noticed(self.measure(self.new_model()))

    def test_forged_attestation_answers(self):
        bus = self.bus_to(self.lab.tpm)
        self.assertEqual(self.document(bus).errno, 0)
        for code in (wire.CC_NV_READ, wire.CC_NV_WRITE, wire.CC_NV_DEFINE_SPACE,
                     wire.CC_VENDOR_NSM):
            seen = bus.seen
            bus.forget()
            bus.answer = self.replay(code, seen)
            self.assertEqual(self.document(bus).errno, ca.EBADMSG, hex(code))
            bus.forget()
            self.assertEqual(self.document(bus).errno, 0)
            self.assertEqual(self.mailboxes(), [])


class OtherTpm(BusCase):
    """Whoever has a TPM of his own answers with that."""

    def assert_other(self, answer):
        self.assertEqual(answer.errno, ca.EKEYREJECTED, answer.text)
        self.assertIn("another storage key", answer.text)

    def pins(self):
        return [os.path.join(self.runtime, name) for name in os.listdir(self.runtime)
                if name.startswith("tpm-key-")]

    def test_another_process(self):
        self.assertEqual(self.measure(ca.Model(1)).errno, 0)
        (path,) = self.pins()
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o644)
        self.bus.target = self.lab.tpm.port
        self.assert_other(self.measure(ca.Model(2)))
        self.assert_other(self.document(self.bus))
        self.assertEqual(self.lab.tpm.pcr("sha384"), ca.zero("sha384"))
        self.bus.target = self.swtpm.port
        self.swtpm.ask("POST", "reboot", {})  # the same key after a reset
        self.assertEqual(self.measure(ca.Model(2)).errno, 0)

    def test_same_process(self):
        """The daemon remembers, whatever becomes of the file."""
        lab = self.lab
        plain = lab.path("two", make=True)
        for seed, name in enumerate(("a.gguf", "b.gguf")):
            common.make_model(os.path.join(plain, name), 5000, seed)
        key, source = lab.key_file(), lab.path("two.sealed")
        lab.seal(plain, source, "--key-file", key)
        with lab.mount(source, "key-file=" + key, tpm=self.bus) as mount:
            with open(mount.join("a.gguf"), "rb") as model:
                model.read(1)
            self.bus.target = lab.tpm.port
            self.assert_io_error(mount.join("b.gguf"))
            self.assertIn("another storage key", mount.log())
        self.assertEqual(lab.tpm.pcr("sha384"), ca.zero("sha384"))

    def test_file_of_somebody_else(self):
        self.assertEqual(self.measure(ca.Model(1)).errno, 0)
        (path,) = self.pins()
        with open(path, "rb") as file:
            good = file.read()
        for damage in (b"", good[:-1], b"x" * 64 + b"\n", good + b"\n"):
            with open(path, "wb") as out:
                out.write(damage)
            self.assertEqual(self.measure(ca.Model(2)).errno, ca.EPROTO, damage)
        with open(path, "wb") as out:
            out.write(good)
        os.chmod(path, 0o666)
        self.assertEqual(self.measure(ca.Model(2)).errno, 1)
        os.chmod(path, 0o644)
        os.rename(path, path + ".away")
        os.symlink(path + ".away", path)
        self.assertNotEqual(self.measure(ca.Model(2)).errno, 0)

    def test_hint_names_the_way_out(self):
        self.assertEqual(self.measure(ca.Model(1)).errno, 0)
        self.swtpm.run("tpm2_clear", "-c", "p")
        answer = self.measure(ca.Model(2))
        self.assert_other(answer)
        self.assertIn("reboot", answer.text)


class Anchor(BusCase):
    """The storage key that systemd recorded, for a TPM that is a device."""

    def run_with(self, public, device):
        """pcr 15 in a mount namespace whose /run/systemd holds this file."""
        script = ('mount -t tmpfs none /run/systemd && cp "$1" '
                  '/run/systemd/tpm2-srk-public-key.tpm2b_public && shift && exec "$@"')
        return self.finish_pcr(subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, "sh", public, ca.TOOL, "pcr", "15"], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**self.lab.env(tpm=device), "SEALEDFS_RUNTIME_DIR": self.runtime}))

    def public(self, name, template):
        """The public area (TPM2B_PUBLIC) of the owner's primary key of this template in swtpm."""
        path = self.lab.path(name)
        with tpm_client.TpmClient(self.swtpm.port) as client:
            response = client.run(wire.build_command(
                wire.CC_CREATE_PRIMARY, [wire.RH_OWNER], wire.PASSWORD_EMPTY,
                wire.sized(bytes(4)) + wire.sized(template) + wire.sized(b"") + bytes(4)))
            reader = wire.Reader(response[wire.HEADER.size:])
            handle, _ = reader.number(4), reader.number(4)
            with open(path, "wb") as out:
                out.write(wire.sized(reader.sized()))
            client.run(wire.HEADER.pack(wire.TAG_NO_SESSIONS, 14, wire.CC_FLUSH_CONTEXT)
                       + handle.to_bytes(4, "big"))
        return path

    def test_anchor(self):
        start = tpm_sessions.STORAGE_KEY
        empty = self.public("empty", start + wire.sized(b"") * 2)
        filled = self.public("filled", start + wire.sized(bytes(32)) * 2)
        # Not restricted to the usual attributes: systemd found a key that somebody else had made.
        other = self.public("other", start.replace(b"\x00\x03\x04\x72", b"\x00\x03\x00\x72")
                            + wire.sized(b"") * 2)
        forged = self.lab.path("forged")
        with open(empty, "rb") as right, open(forged, "wb") as out:
            wrong = bytearray(right.read())
            wrong[-1] ^= 1
            out.write(wrong)
        device = Device(self.swtpm)
        self.addCleanup(device.close)
        # Whatever is pinned by one file is another key for the next.
        for public, number in ((empty, 0), (filled, 0), (other, 0), (forged, ca.EKEYREJECTED)):
            self.runtime = self.lab.path("run-" + os.path.basename(public), make=True)
            answer = self.run_with(public, device)
            self.assertEqual(answer.errno, number, (public, answer.text))
        self.assertIn("tpm2-srk-public-key", answer.text)


class Secrecy(BusCase):
    """What can be read on the bus, and what stays in the TPM."""

    def test_nothing_by_password_and_nothing_in_the_open(self):
        bus = self.bus_to(self.lab.tpm)
        self.assertEqual(self.document(bus).errno, 0)
        self.assertEqual(self.measure(ca.Model(1), bus).errno, 0)
        self.assertGreater(len(bus.commands(wire.CC_NV_WRITE)), 0)
        self.assertGreater(len(bus.commands(wire.CC_NV_READ)), 4)
        for secret in (bytes.fromhex(NONCE), bytes.fromhex(KEY)[:40], b"public_key",
                       b"Attestation"):
            self.assertNotIn(secret, bus.traffic())
        by_password = [hex(code_of(command)) for command in bus.commands() if RS_PW in command]
        self.assertEqual(set(by_password), {hex(wire.CC_CREATE_PRIMARY)})
        checked = {wire.CC_NV_READ, wire.CC_NV_WRITE, wire.CC_PCR_READ, wire.CC_PCR_EXTEND,
                   wire.CC_GET_CAPABILITY, wire.CC_VENDOR_NSM, wire.CC_NV_DEFINE_SPACE,
                   wire.CC_NV_UNDEFINE_SPACE}
        for command, response in bus.seen:
            if code_of(command) in checked:
                self.assertEqual(wire.parse_header(response)[0], wire.TAG_SESSIONS)

    def test_vendor_command_falls_back_to_a_password(self):
        for code in ("0x124", "0x9a2", "0x98e", "0x984", "0x144"):
            self.lab.tpm.ask("POST", "fault", {"op": "vendor", "kind": "rc", "rc": code})
            bus = self.bus_to(self.lab.tpm)
            answer = self.document(bus)
            self.assertEqual(answer.errno, 0, (code, answer.text))
            self.assert_document(answer, self.lab.tpm)
            first, second = bus.commands(wire.CC_VENDOR_NSM)
            self.assertNotIn(RS_PW, first)
            self.assertIn(RS_PW, second)
        # Anything else is no reason to.
        for code in ("0x146", "0x149", "0x101", "0x1c4"):
            self.lab.tpm.ask("POST", "fault", {"op": "vendor", "kind": "rc", "rc": code})
            bus = self.bus_to(self.lab.tpm)
            self.assertNotEqual(self.document(bus).errno, 0, code)
            self.assertEqual(len(bus.commands(wire.CC_VENDOR_NSM)), 1)
        self.assertEqual(self.active(self.lab.tpm), {"keys": 0, "sessions": 0})

    def test_slots(self):
        """swtpm has three slots for sessions, and three for keys."""
        self.assertEqual(self.tool("rounds", ROUNDS, "pcr", tpm=self.swtpm), (0, "done"))
        self.assertEqual(self.tool("rounds", ROUNDS // 4, "document"), (0, "done"))
        for number in range(8):
            self.assertEqual(self.measure(ca.Model(number), self.swtpm).errno, 0)
        self.assertEqual(self.active(self.lab.tpm), {"keys": 0, "sessions": 0})
        for what in ("transient", "loaded-session"):
            self.assertEqual(self.swtpm.run("tpm2_getcap", "handles-" + what).strip(), "")
        self.assertEqual(self.mailboxes(), [])

    def test_slots_after_failures(self):
        for op in ("startsession", "getcap", "define", "write", "vendor", "read", "undefine"):
            for rc in ("0x101", "0x9a2"):
                self.lab.tpm.ask("POST", "fault", {"op": op, "kind": "rc", "rc": rc})
                self.document(self.lab.tpm)
                self.lab.tpm.ask("DELETE", "fault")
                self.assertEqual(self.active(self.lab.tpm), {"keys": 0, "sessions": 0}, op)


class Unfit(BusCase):
    """TPMs that offer no protection are refused, with the reason."""

    def assert_unfit(self, op, code, *words):
        self.lab.tpm.ask("POST", "fault", {"op": op, "kind": "rc", "rc": code})
        answer = self.pcr(self.lab.tpm)
        self.assertEqual(answer.errno, ca.EIO, answer.text)
        for word in words:
            self.assertIn(word, answer.text)

    def test_no_key(self):
        self.assert_unfit("createprimary", "0x2e6", "storage key", "P-256")  # RC_CURVE
        self.assert_unfit("createprimary", "0x185", "storage key", "owner hierarchy")
        self.assert_unfit("createprimary", "0x902", "tpm2_flushcontext -t")

    def test_no_session(self):
        self.assert_unfit("startsession", "0x903", "tpm2_flushcontext -l")
        self.assert_unfit("startsession", "0x143", "no session")

    def test_owner_password(self):
        self.swtpm.run("tpm2_changeauth", "-c", "owner", "secret")
        try:
            answer = self.pcr(self.swtpm)
            self.assertEqual(answer.errno, ca.EIO)
            self.assertIn("without a password", answer.text)
        finally:
            self.swtpm.run("tpm2_changeauth", "-c", "owner", "-p", "secret")


if __name__ == "__main__":
    ca.main()
