#!/usr/bin/python3
"""attest, fs/unlock: a model that is sealed for a TPM, and somebody on the bus, in memory, or in between.

A proxy flips bits of every answer, replays, forges and records. The data key is known from a second slot for a key file.
"""

import os
import random
import shutil

import common
import common_attest as ca
import memory_secrets
from common_bus import RS_PW, Bus, Device, code_of, wire

import sealedformat as sf
import tpmslot
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

NO_AWS = ("attest=none", "measure=none")
CC_UNSEAL, CC_IMPORT, CC_LOAD, CC_POLICY_PCR, CC_FLUSH = 0x15E, 0x156, 0x157, 0x17F, 0x165
CC_POLICY_AUTHORIZE = 0x16A
RC_LOCKOUT, RC_PCR_CHANGED = 0x921, 0x128
ENCRYPT = 0x40
# How many bytes of each answer are changed, and of that of Unseal.
BYTES = 10_000 if common.THOROUGH else 4 if common.QUICK else 10
UNSEAL_BYTES = 20 if common.QUICK else 10_000


class SlotCase(ca.AttestCase):
    """One plain TPM, a bus to it, and a model with two slots: TPM, key file."""

    PARTS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.lab.tpm = common.Tpm(lab, "swtpm", common.Tpm.BOOT, None, "--passthrough")
        cls.model = common.make_model(lab.path("m.gguf"), 700_000)
        cls.key_file = lab.key_file()
        cls.private = rsa.generate_private_key(65537, 2048)
        cls.pem = lab.path("policy.pem")
        with open(cls.pem, "wb") as out:
            out.write(cls.private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        cls.sealed("pcrs=4,7")

    @classmethod
    def sealed(cls, text, tpm=None):
        cls.folder = cls.lab.path("sealed")
        shutil.rmtree(cls.folder, ignore_errors=True)
        cls.lab.seal(cls.model, cls.folder, "--tpm", text, "--key-file", cls.key_file,
                     tpm=tpm or cls.lab.tpm)
        seal = sf.Seal(sf.load_seal_file(os.path.join(cls.folder, "m.gguf.seal")))
        (cls.data_key,) = sf.unwrapped(seal, sf.load_kek(cls.key_file))
        (index,) = [n for n, slot in enumerate(seal.slots) if slot.type == sf.SLOT_TPM2]
        cls.slot_file = cls.lab.path("slot")
        with open(cls.slot_file, "wb") as out:
            out.write(seal.slots_raw[sf.SLOT_BYTES * index :][: sf.SLOT_BYTES])

    def setUp(self):
        super().setUp()
        self.bus = Bus(self.lab.tpm)
        self.addCleanup(self.bus.close)

    def unseal(self, *signatures, tpm=None):
        return self.tool("unseal", self.slot_file, *signatures, tpm=tpm or self.bus)

    def signatures(self, *pcrs):
        path = self.lab.path("signature.json")
        values = {n: bytes.fromhex(self.lab.tpm.pcr("sha256", n)) for n in pcrs}
        with open(path, "w", encoding="ascii") as out:
            ca.json.dump({"sha256": [tpmslot.signed_policy(self.private, "sha256", values)]}, out)
        return path

    def assert_opens(self, answer):
        self.assertEqual(answer, (0, self.data_key.hex()))

    def free_slots(self):
        """Handles that only the proxy knows hold slots of the TPM."""
        for what in ("-l", "-t"):
            self.lab.tpm.run("tpm2_flushcontext", what)


class Flips(SlotCase):
    """One bit of any byte of any answer."""

    # What nobody reads or could check: whether something is gone from the TPM; and in the answer to the first
    # CreatePrimary, which comes before there is a session, how the key was created, and a size that states what
    # the fields of the public area state, too.
    def unread(self, number, command, response, at):
        if code_of(command) == CC_FLUSH:
            return True
        if number != 0:
            return False
        self.assertEqual(code_of(command), wire.CC_CREATE_PRIMARY)
        reader = wire.Reader(response[18:])
        return at in (18, 19) or at >= 20 + len(reader.sized())

    def sample(self, command, response, chance):
        count = UNSEAL_BYTES if code_of(command) == CC_UNSEAL else BYTES
        return sorted(chance.sample(range(len(response)), min(count, len(response))))

    def flipped(self, answers, number, at, bit, *signatures):
        """unseal() with one bit changed in the answer to what is the same command as answers[number]."""
        code = code_of(answers[number][0])
        left = [sum(1 for command, _ in answers[:number] if code_of(command) == code)]
        changed = []

        def flip(_index, asked, ask):
            told = bytearray(ask(asked))
            if code_of(asked) == code:
                left[0] -= 1
                if left[0] == -1:
                    told[at] ^= bit
                    changed.append(at)
            return bytes(told)

        self.bus.forget()
        self.bus.answer = flip
        answer = self.unseal(*signatures)
        self.assertEqual(changed, [at], answer)
        return answer

    def flip_all(self, *signatures):
        self.assert_opens(self.unseal(*signatures))
        self.bus.forget()
        self.assert_opens(self.unseal(*signatures))
        answers, chance, noticed = list(self.bus.seen), random.Random(2), set()
        codes = {code_of(command) for command, _ in answers}
        for number, (command, response) in enumerate(answers):
            for at in self.sample(command, response, chance):
                bit = 1 << chance.randrange(8)
                answer = self.flipped(answers, number, at, bit, *signatures)
                with self.subTest(command=hex(code_of(command)), number=number, at=at, bit=bit):
                    if self.unread(number, command, response, at) and answer.errno == 0:
                        self.assert_opens(answer)
                    else:
                        self.assertNotEqual(answer.errno, 0, "nobody noticed")
                        noticed.add(code_of(command))
                self.free_slots()
        self.bus.forget()
        self.assertLessEqual(codes - {CC_FLUSH}, noticed)
        self.assert_opens(self.unseal(*signatures))
        return codes

    def test_values(self):
        codes = self.flip_all()
        self.assertLessEqual({CC_IMPORT, CC_LOAD, CC_POLICY_PCR, CC_UNSEAL}, codes)

    def test_signed(self):
        self.sealed(f"policy-key={self.pem}")
        try:
            self.assertIn(CC_POLICY_AUTHORIZE, self.flip_all(self.signatures(11)))
        finally:
            self.sealed("pcrs=4,7")


class Forged(SlotCase):
    """Whole answers."""

    def instead(self, code, response):
        self.bus.answer = lambda _number, command, ask: (
            response if code_of(command) == code else ask(command))

    def test_old_answer(self):
        """What Unseal answered once is no answer to another one."""
        self.assert_opens(self.unseal())
        (old,) = [response for command, response in self.bus.seen
                  if code_of(command) == CC_UNSEAL]
        self.bus.forget()
        self.instead(CC_UNSEAL, old)
        answer = self.unseal()
        self.assertEqual(answer.errno, ca.EBADMSG, answer.text)
        self.assertIn("changes its answers", answer.text)
        self.assertEqual(self.lab.tpm.run("tpm2_getcap", "handles-loaded-session").strip(), "")

    def test_plain_answer(self):
        """A key of somebody's choice, in the forms that have no check."""
        for response in (wire.plain_response(wire.sized(bytes(32))),
                         wire.session_response(wire.sized(bytes(32)))):
            self.instead(CC_UNSEAL, response)
            self.assertNotEqual(self.unseal().errno, 0)
            self.free_slots()

    def test_pcr_values_of_before(self):
        """The bus shows the approved PCRs; the TPM knows better."""
        self.assert_opens(self.unseal())
        seen = list(self.bus.seen)
        self.lab.tpm.extend(7, sha256="11" * 32)
        old = [response for command, response in seen if code_of(command) == wire.CC_PCR_READ]
        self.bus.forget()
        self.bus.answer = lambda _number, command, ask: (
            old.pop(0) if code_of(command) == wire.CC_PCR_READ else ask(command))
        self.assertEqual(self.unseal().errno, ca.EBADMSG)
        self.free_slots()

    def test_skipped_policy(self):
        """PolicyPCR never reaches the TPM."""
        self.instead(CC_POLICY_PCR, wire.plain_response(b""))
        answer = self.unseal()
        self.assertEqual(answer.errno, ca.EIO, answer.text)
        self.assertIn("does not unseal", answer.text)

    def test_codes_in_words(self):
        for code, rc, number, words in (
            (CC_IMPORT, RC_LOCKOUT, ca.EIO, ("locked out", "tpm2_dictionarylockout")),
            (CC_UNSEAL, RC_LOCKOUT, ca.EIO, ("locked out", "wait until it recovers")),
            (CC_UNSEAL, RC_PCR_CHANGED, ca.EKEYREJECTED, ("a PCR changed while", "try again")),
            (CC_POLICY_PCR, 0x1C4, ca.EKEYREJECTED, ("a PCR changed while",)),
            (CC_IMPORT, 0x1DF, ca.EBADMSG, ("does not accept the sealed key", "was altered")),
        ):
            with self.subTest(command=hex(code), rc=hex(rc)):
                self.instead(code, wire.error_response(rc))
                answer = self.unseal()
                self.assertEqual(answer.errno, number, answer.text)
                for word in words:
                    self.assertIn(word, answer.text)
                self.bus.forget()
                self.assert_opens(self.unseal())  # nothing was left in the TPM

    def test_another_tpm_answers(self):
        """Its owner has recorded everything, and has a TPM in the same state."""
        other = common.Tpm(self.lab, "other", common.Tpm.BOOT, None, "--passthrough")
        self.bus.target = other.port
        answer = self.unseal()
        self.assertEqual(answer.errno, 126, answer.text)  # ENOKEY
        self.assertIn("it is sealed for a TPM with the storage key", answer.text)


class Secrecy(SlotCase):
    """What can be read on the bus, and in memory."""

    def assert_no_key(self, traffic):
        for start in (0, 8, 16):
            self.assertNotIn(self.data_key[start : start + 16], traffic)

    def test_sealing(self):
        """The TPM is asked for its key and its PCRs, and is told nothing."""
        self.sealed("pcrs=4,7", tpm=self.bus)
        self.assert_no_key(self.bus.traffic())
        codes = {code_of(command) for command in self.bus.commands()}
        self.assertEqual(codes & {0x153, CC_IMPORT, CC_LOAD}, set())  # 0x153: Create
        self.assert_opens(self.unseal())

    def test_opening(self):
        with self.lab.mount(self.folder, *NO_AWS, tpm=self.bus) as mount:
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.model))
        self.assert_no_key(self.bus.traffic())
        (unseal,) = self.bus.commands(CC_UNSEAL)
        area = wire.parse_command(unseal, 1).auth
        reader = wire.Reader(area)
        self.assertEqual(reader.number(4) >> 24, 0x03)  # a policy session
        self.assertEqual(len(reader.sized()), 32)
        self.assertEqual(reader.number(1), ENCRYPT)
        self.assertEqual(len(reader.sized()), 32)  # an HMAC
        by_password = [code_of(command) for command in self.bus.commands() if RS_PW in command]
        self.assertEqual(by_password, [wire.CC_CREATE_PRIMARY])
        (started, _) = [command for command in self.bus.commands(wire.CC_START_AUTH_SESSION)]
        self.assertNotEqual(started[10:14], b"\x40\x00\x00\x07")  # salted

    def test_memory(self):
        """The data key is in no page that could reach swap."""
        seal = os.path.join(self.folder, "m.gguf.seal")
        needles = memory_secrets.secrets_of(seal, self.key_file)
        with self.lab.mount(self.folder, *NO_AWS, tpm=self.lab.tpm) as mount:
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.model))
            where = memory_secrets.snapshot(mount.pid)
            self.assertGreater(sum(len(data) for _, data in where), 100_000)
            self.assertEqual(memory_secrets.hits(where, needles), [])

    def test_slots(self):
        """Many times on a TPM with three slots of each kind; also through a device that has one user."""
        device = Device(self.lab.tpm)
        self.addCleanup(device.close)
        for _ in range(5 if common.QUICK else 20):
            self.assert_opens(self.unseal(tpm=self.lab.tpm))
            self.assert_opens(self.unseal(tpm=device))
        for what in ("transient", "loaded-session"):
            self.assertEqual(self.lab.tpm.run("tpm2_getcap", "handles-" + what).strip(), "")


if __name__ == "__main__":
    ca.main()
