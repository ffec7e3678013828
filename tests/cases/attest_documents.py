#!/usr/bin/python3
"""Attestation documents from an emulated NitroTPM: answers to what was asked and to nothing else,
and no NV index left behind on any path.
"""

import hashlib
import os
import signal

import cbor2

import common
import common_attest as ca

NONCE, USER_DATA = "a1" * 32, "b2" * 48
PUBLIC_KEY = "30" * 294
OWNER_RANGE = 0x01800000


def payload_of(hex_text):
    return cbor2.loads(cbor2.loads(bytes.fromhex(hex_text))[2])


class Documents(ca.AttestCase):
    def ask(self, user_data="-", nonce=NONCE, public_key="-", **how):
        return self.tool("document", user_data, nonce, public_key, **how)

    def assert_clean(self, tpm=None):
        self.assertEqual(self.mailboxes(tpm), [])

    def assert_fails(self, number, *words, **how):
        answer = self.ask(**how)
        self.assertEqual(answer.errno, number, answer.text)
        for word in words:
            self.assertIn(word, answer.text)

    def own_index(self):
        """The NV index that goes with this runtime directory's lock."""
        path = os.path.join(self.runtime, "nitrotpm.lock")
        head = hashlib.sha256(path.encode()).digest()[:3]
        return OWNER_RANGE | int.from_bytes(head, "big") & 0x3FFFFF

    def test_fields(self):
        for user_data, nonce, public_key in (("-", "-", "-"), (USER_DATA, NONCE, PUBLIC_KEY),
                                             ("-", NONCE, "-"), ("cc" * 1024,) * 3):
            answer = self.ask(user_data, nonce, public_key)
            self.assertEqual(answer.errno, 0, answer.text)
            payload = payload_of(answer.text)
            for name, value in (("user_data", user_data), ("nonce", nonce),
                                ("public_key", public_key)):
                self.assertEqual(payload[name],
                                 None if value == "-" else bytes.fromhex(value), name)
            self.assertEqual(payload["nitrotpm_pcrs"][4].hex(), self.lab.tpm.pcr("sha384", 4))
            self.assert_clean()

    def test_field_too_large(self):
        for how in ({"user_data": "cc" * 1025}, {"nonce": "cc" * 1025},
                    {"public_key": "cc" * 1025}):
            self.assert_fails(ca.E2BIG, "at most 1024 bytes", **how)
        self.assert_clean()

    def test_measurement_is_attested(self):
        model = ca.Model(1)
        self.assertEqual(self.tool("measure", "", 15, "sha384", model.name, model.verity,
                                   model.sha256, model.sha384).text, "extended")
        self.assertEqual(payload_of(self.ask().text)["nitrotpm_pcrs"][15].hex(),
                         ca.extended("sha384", ca.zero("sha384"), model.sha384))

    def test_forms_of_the_answer(self):
        for kind in ("definite", "tagged", "omit-null", "definite-outer", "indefinite-outer"):
            with self.lab.tpm.fault(op="vendor", kind=kind):
                self.assertEqual(self.ask().errno, 0, kind)
        with self.lab.tpm.fault(op="vendor", kind="short-answer"):
            self.assertEqual(self.ask().errno, 0)
        self.assert_clean()

    def test_another_answer_than_asked_for(self):
        for field, said in (("nonce", "another nonce"), ("public_key", "another public key"),
                            ("user_data", "another user data")):
            for value in ("00" * 32, None):
                with self.lab.tpm.fault(op="vendor", kind="swap", field=field, hex=value):
                    self.assert_fails(ca.EBADMSG, said, user_data=USER_DATA,
                                      public_key=PUBLIC_KEY)
        with self.lab.tpm.fault(op="vendor", kind="swap", field="user_data", hex="00"):
            self.assert_fails(ca.EBADMSG, "another user data")  # not asked for
        self.assert_clean()

    def test_nonsense_from_the_tpm(self):
        for fault, number, words in (
                ({"kind": "truncated"}, ca.EPROTO, "attestation document"),
                ({"kind": "trailing"}, ca.EPROTO, "bytes follow"),
                ({"kind": "enclave"}, ca.EPROTO, "not of the kind"),
                ({"kind": "garbage"}, ca.EPROTO, "not an attestation response"),
                ({"kind": "garbage", "hex": "bf" * 8000}, ca.EPROTO, "not an attestation"),
                ({"kind": "keep-request"}, ca.EPROTO, "not an attestation response"),
                ({"kind": "algorithm", "value": -7}, ca.EPROTO, "not ES384"),
                ({"kind": "error", "error": "InternalError"}, ca.EIO, "InternalError"),
                ({"kind": "error", "error": "InputTooLarge"}, ca.E2BIG, "too large"),
                ({"kind": "error", "error": "InvalidOperation"}, ca.EOPNOTSUPP, "does not make"),
                ({"kind": "rc", "rc": "0x143"}, ca.EOPNOTSUPP, "does not offer AWS attestation"),
                ({"kind": "rc", "rc": "0xb0143"}, ca.EOPNOTSUPP, "does not offer AWS"),
                ({"kind": "rc", "rc": "0x921"}, ca.EIO, "0x921")):
            with self.lab.tpm.fault(op="vendor", **fault):
                self.assert_fails(number, words)
            self.assert_clean()

    def test_every_step_can_fail(self):
        for operation in ("define", "write", "read", "vendor", "getcap"):
            for kind in ({"kind": "rc", "rc": "0x101"}, {"kind": "drop", "times": 1},
                         {"kind": "drop-after", "times": 1}):
                with self.lab.tpm.fault(op=operation, **kind):
                    answer = self.ask()
                if operation != "getcap":  # the size of a chunk has a default
                    self.assertNotEqual(answer.errno, 0, (operation, kind))
                if (operation, kind["kind"]) == ("define", "drop-after"):
                    # Nobody could know that the index was made; the next call can.
                    self.assertEqual(len(self.mailboxes()), 1)
                    self.assertEqual(self.ask().errno, 0)
                self.assert_clean()

    def test_undefine_fails_once(self):
        with self.lab.tpm.fault(op="undefine", kind="rc", rc="0x101", times=1):
            self.assertEqual(self.ask().errno, 0)
        self.assertEqual(self.mailboxes(), [f"0x{self.own_index():08x}"])
        self.assertEqual(self.ask().errno, 0)
        self.assert_clean()

    def test_tpm_asks_to_repeat(self):
        for operation in ("define", "write", "vendor", "read", "undefine"):
            with self.lab.tpm.fault(op=operation, kind="retry", times=7):
                self.assertEqual(self.ask().errno, 0, operation)
            self.assert_clean()
        with self.lab.tpm.fault(op="vendor", kind="rc", rc="0x90a", times=3):
            self.assertEqual(self.ask().errno, 0)

    def test_killed_in_the_middle(self):
        with self.lab.tpm.fault(op="vendor", kind="hang"):
            process = self.start("document", "-", NONCE, "-")
            common.wait_for("the mailbox", self.mailboxes, process)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        self.assertEqual(self.mailboxes(), [f"0x{self.own_index():08x}"])
        self.assertEqual(self.ask().errno, 0)
        self.assert_clean()

    def test_terminated_in_the_middle(self):
        with self.lab.tpm.fault(op="vendor", kind="delay", ms=700):
            process = self.start("document", "-", NONCE, "-")
            common.wait_for("the mailbox", self.mailboxes, process)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=ca.TOOL_S)
        self.assertEqual(process.returncode, -signal.SIGTERM)
        self.assert_clean()

    def test_many_at_once(self):
        running = [(f"{number:02x}" * 32, self.start("document", "-", f"{number:02x}" * 32, "-"))
                   for number in range(8)]
        for nonce, process in running:
            answer = self.finish(process)
            self.assertEqual(answer.errno, 0, answer.text)
            self.assertEqual(payload_of(answer.text)["nonce"].hex(), nonce)
        self.assert_clean()

    def test_many_without_a_common_lock(self):
        """Each has a lock of its own, and so an index of its own; none: a random index."""
        folders = [self.lab.path(f"lock-{number}", make=True) for number in range(2)]
        folders += ["/proc/no-such-folder"] * 2
        running = [self.start("document", "-", NONCE, "-", env={
            "SEALEDFS_RUNTIME_DIR": folder, "XDG_RUNTIME_DIR": ""}) for folder in folders]
        for process in running:
            self.assertEqual(self.finish(process).errno, 0)
        self.assert_clean()

    def test_lock_in_the_users_folder(self):
        user = self.lab.path("xdg", make=True)
        self.assertEqual(self.ask(env={"SEALEDFS_RUNTIME_DIR": "/proc/no-such-folder",
                                       "XDG_RUNTIME_DIR": user}).errno, 0)
        self.assertTrue(os.path.exists(os.path.join(user, "sealedfs", "nitrotpm.lock")))

    def test_foreign_index_is_left_alone(self):
        index = f"0x{self.own_index():08x}"
        self.lab.tpm.run("tpm2_nvdefine", index, "-C", "o", "-s", "64", "-a",
                         "ownerread|ownerwrite|authread|authwrite")
        try:
            self.assertEqual(self.ask().errno, 0)
            self.assertEqual(self.mailboxes(), [index])
        finally:
            self.lab.tpm.run("tpm2_nvundefine", index, "-C", "o")

    def test_no_room(self):
        tpm = common.Tpm(self.lab, "full", common.Tpm.BOOT, None, "--mailboxes", "0")
        self.assert_fails(ca.ENOSPC, "no room", "tpm2_getcap handles-nv-index", tpm=tpm)
        tpm.stop()

    def test_small_chunks(self):
        for size in ("64", "512"):
            tpm = common.Tpm(self.lab, "chunks-" + size, common.Tpm.BOOT, None,
                             "--nv-buffer-max", size, "--outer", "indefinite")
            answer = self.ask(USER_DATA, NONCE, PUBLIC_KEY, tpm=tpm)
            self.assertEqual(answer.errno, 0, answer.text)
            self.assert_clean(tpm)
            tpm.stop()

    def test_not_a_nitrotpm(self):
        plain = common.Tpm(self.lab, "plain", common.Tpm.BOOT, None, "--plain")
        self.assert_fails(ca.EOPNOTSUPP, "does not offer AWS attestation", tpm=plain)
        self.assert_clean(plain)
        plain.stop()
        small = common.Tpm(self.lab, "small", common.Tpm.BOOT, None, "--plain", "--nv-index-max",
                           "2048")
        self.assert_fails(ca.EOPNOTSUPP, "does not offer AWS attestation", tpm=small)
        small.stop()

    def test_no_tpm(self):
        self.assert_fails(ca.ENODEV, "port=1",
                          env={"SEALEDFS_TCTI": "swtpm:host=127.0.0.1,port=1"})


if __name__ == "__main__":
    ca.main()
