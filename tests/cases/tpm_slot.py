#!/usr/bin/python3
"""attest, fs/unlock, tools/seal: models that are sealed for a TPM, with a real swtpm.

What a slot holds is judged by tests/oracle/tpmslot.py, which knows crypto/FORMAT.md and does what a TPM does; PCRs are
read and extended with tpm2-tools. Signed policies are made by that oracle as systemd-measure makes them.
"""

import contextlib
import json
import os
import shutil
import subprocess

import common
from common_bus import Device

import sealedformat as sf
import sealwriter as sw
import tpmslot
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

NO_AWS = ("attest=none", "measure=none")
SIZE = 700_000  # two chunks


class TpmCase(common.Case):
    """Two plain TPMs; "ours" has the PCRs of a booted machine."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.tpm = common.Tpm(lab, "ours", common.Tpm.BOOT, None, "--passthrough")
        cls.other = common.Tpm(lab, "other", common.Tpm.BOOT, None, "--passthrough")
        cls.model = common.make_model(lab.path("m.gguf"), SIZE)

    def setUp(self):
        self.tpm.ask("POST", "reboot", {})

    def sealed(self, *options, tpm=None, name="sealed"):
        """A folder with the model, sealed anew."""
        folder = self.lab.path(name)
        shutil.rmtree(folder, ignore_errors=True)
        self.lab.seal(self.model, folder, *options, tpm=tpm or self.tpm)
        return folder

    def slot(self, folder, index=0):
        seal = sf.Seal(sf.load_seal_file(os.path.join(folder, "m.gguf.seal")))
        self.assertEqual(seal.slots[index].type, sf.SLOT_TPM2)
        return seal, tpmslot.parse(seal.slots[index].body)

    def values(self, *pcrs, bank="sha256", tpm=None):
        return {n: bytes.fromhex((tpm or self.tpm).pcr(bank, n)) for n in pcrs}

    def assert_opens(self, folder, *options, tpm=None):
        with self.lab.mount(folder, *NO_AWS, *options, tpm=tpm or self.tpm) as mount:
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.model))

    def assert_refused(self, folder, *words, options=(), tpm=None):
        """No byte comes out, and the daemon says why."""
        with self.lab.mount(folder, *NO_AWS, *options, tpm=tpm or self.tpm) as mount:
            self.assert_io_error(mount.join("m.gguf"))
            for word in words:
                self.assertIn(word, mount.log())

    def assert_tpm_clean(self, tpm=None):
        """Nothing is left in its few slots."""
        for what in ("transient", "loaded-session"):
            self.assertEqual((tpm or self.tpm).run("tpm2_getcap", "handles-" + what).strip(), "")


class Local(TpmCase):
    """Sealed on the machine that mounts."""

    def test_opens_without_any_network(self):
        """In an empty network namespace, with the TPM as a device."""
        folder = self.sealed("--tpm", "pcrs=4,7,12")
        device = Device(self.tpm)
        self.addCleanup(device.close)
        wrapper = self.lab.path("alone")
        with open(wrapper, "w", encoding="ascii") as out:
            out.write(f"#!/bin/sh\nexec unshare -n {common.SEALEDFS} \"$@\"\n")
        os.chmod(wrapper, 0o700)
        original, common.SEALEDFS = common.SEALEDFS, wrapper
        try:
            own = {"SEALEDFS_RUNTIME_DIR": self.lab.path("run", make=True)}
            with self.lab.mount(folder, *NO_AWS, "ready=unlocked", tpm=device,
                                extra=own) as mount:
                self.assertNotEqual(os.readlink(f"/proc/{mount.pid}/ns/net"),
                                    os.readlink("/proc/self/ns/net"))
                self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.model))
        finally:
            common.SEALEDFS = original
        self.assert_tpm_clean()

    def test_what_the_slot_says(self):
        for bank in ("sha256", "sha384"):
            _, slot = self.slot(self.sealed("--tpm", f"pcrs=4,7,12,bank={bank}"))
            self.assertEqual(slot.values, self.values(4, 7, 12, bank=bank))
            self.assertEqual(slot.bank, tpmslot.BANK_IDS[bank])
            key = json.loads(self.lab.sealctl("tpm-key", "--json", tpm=self.tpm).out)
            self.assertEqual(slot.parent.hex(), key["name"])
            self.assertEqual(tpmslot.sha256(bytes.fromhex(key["public"])[2:]), slot.parent)
            self.assert_opens(self.lab.path("sealed"))

    def test_inspect(self):
        folder = self.sealed("--tpm", "pcrs=4,7")
        seal = os.path.join(folder, "m.gguf.seal")
        _, slot = self.slot(folder)
        text = self.lab.sealctl("inspect", seal, expect=common.OK).out
        self.assertIn(f"TPM {slot.parent.hex()}: sha256 PCR 4,7", text)
        found = json.loads(self.lab.sealctl("inspect", "--json", seal, expect=common.OK).out)
        recipient = (found[0] if isinstance(found, list) else found)
        recipient = recipient.get("objects", [recipient])[0]["recipients"][0]
        self.assertEqual(recipient["pcrs"], {str(n): v.hex() for n, v in slot.values.items()})

    def test_survives_a_restart(self):
        folder = self.sealed("--tpm", "pcrs=4,7")
        before = self.values(4, 7)
        self.tpm.ask("POST", "reboot", {})
        self.assertEqual(self.values(4, 7), before)
        self.assert_opens(folder)

    def test_refused_after_a_pcr_changed(self):
        folder = self.sealed("--tpm", "pcrs=4,7,12")
        was = self.tpm.pcr("sha256", 7)
        with self.lab.mount(folder, *NO_AWS, tpm=self.tpm) as mount:
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.model))
        self.tpm.extend(7, sha256="11" * 32)
        self.assert_refused(folder, f"PCR 7 is {self.tpm.pcr('sha256', 7)}, sealed for {was}",
                            "in bank sha256", "rewrap for the new values")
        with self.lab.mount(folder, *NO_AWS, tpm=self.tpm) as mount:
            self.assert_io_error(mount.join("m.gguf"))
            self.assertNotIn("PCR 4", mount.log())
        self.tpm.ask("POST", "reboot", {})
        self.assert_opens(folder)
        self.assert_tpm_clean()

    def test_the_tpm_itself_refuses(self):
        """A slot that was altered to name the PCRs of now is another object."""
        folder = self.sealed("--tpm", "pcrs=7")
        self.tpm.extend(7, sha256="11" * 32)
        path = os.path.join(folder, "m.gguf.seal")
        seal, slot = self.slot(folder)
        raw = bytearray(common.read_bytes(path))
        altered = tpmslot.body(slot._replace(values=self.values(7)))
        raw[sf.SLOTS_AT + 4 : sf.SLOTS_AT + 4 + len(altered)] = altered
        with open(path, "wb") as out:
            out.write(raw)
        self.assertEqual(len(altered), len(seal.slots[0].body))
        self.assert_refused(folder, "the slot was altered")
        self.assert_tpm_clean()

    def test_another_tpm(self):
        folder = self.sealed("--tpm", "pcrs=4,7")
        _, slot = self.slot(folder)
        key = json.loads(self.lab.sealctl("tpm-key", "--json", tpm=self.other).out)
        self.assertEqual(self.values(4, 7), self.values(4, 7, tpm=self.other))
        self.assert_refused(folder, f"with the storage key {slot.parent.hex()}",
                            f"this one has {key['name']}", "sealctl tpm-key", tpm=self.other)

    def test_no_tpm(self):
        folder = self.sealed("--tpm", "pcrs=7", "--key-file", self.lab.key_file("no"))
        key = self.lab.key_file("wrong")
        self.assert_refused(folder, "no TPM at /dev/no-tpm", "mount it on that machine",
                            options=("tcti=device:/dev/no-tpm", "key-file=" + key))

    def test_beside_other_recipients(self):
        key = self.lab.key_file("beside")
        folder = self.sealed("--tpm", "pcrs=7", "--key-file", key)
        self.assert_opens(folder, "key-file=" + key, tpm=self.other)
        self.assert_opens(folder)

    def test_set(self):
        folder = self.sealed("--tpm", "pcrs=7", "--set", "one")
        self.assert_opens(folder)
        more = common.make_model(self.lab.path("more.gguf"), 5000)
        self.lab.seal(more, folder, "--tpm", "pcrs=7", "--set", "one", tpm=self.tpm)
        with self.lab.mount(folder, *NO_AWS, "set=require", tpm=self.tpm) as mount:
            self.assertEqual(common.digest(mount.join("more.gguf")), common.digest(more))

    def test_reload(self):
        """A model for the TPM comes while the daemon runs."""
        key = self.lab.key_file("reload")
        folder = self.sealed("--key-file", key)
        with self.lab.mount(folder, *NO_AWS, "key-file=" + key, tpm=self.tpm) as mount:
            new = common.make_model(self.lab.path("new.gguf"), 5000)
            self.lab.seal(new, folder, "--tpm", "pcrs=7", tpm=self.tpm)
            mount.process.send_signal(1)
            common.wait_for("the model", lambda: os.path.exists(mount.join("new.gguf")))
            self.assertEqual(common.digest(mount.join("new.gguf")), common.digest(new))

    def test_cat(self):
        folder = self.sealed("--tpm", "pcrs=7")
        done = subprocess.run(
            [common.SEALCTL, "cat", "-o", "attest=none,measure=none", os.path.join(folder, "m.gguf")],
            env=self.lab.env(tpm=self.tpm), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, check=False, timeout=common.COMMAND_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, common.read_bytes(self.model))

    def test_measuring(self):
        """The same connection rules as measuring; PCR 15 is not in the policy."""
        folder = self.sealed("--tpm", "pcrs=4,7")
        with self.lab.mount(folder, "attest=none", "ready=measured", tpm=self.tpm) as mount:
            self.assertEqual(common.digest(mount.join("m.gguf")), common.digest(self.model))
        self.assertNotEqual(self.tpm.pcr("sha256", 15), "00" * 32)
        self.assert_opens(folder)

    def test_texts_that_are_refused(self):
        for text, word in (
            ("", "no recipient"), ("pcrs=", "number"), ("pcrs=24", "0 to 23"), ("pcrs=4,4", "twice"),
            ("pcrs=16", "reset"), ("pcrs=23", "reset"), ("7", "NAME=VALUE"), ("pcrs=7,x=1", "unknown"),
            ("bank=sha256", "no policy"), ("pcrs=7,bank=sha1", "bank"), ("pcr=7", "NUMBER:HEX"),
            ("pcr=7:abc", "value"), ("pcr=7:" + "g" * 64, "value"), ("pcr=7:" + "0" * 96, "value"),
            ("key=/nowhere,pcr=7:" + "0" * 64, "/nowhere"), ("policy-key=/nowhere", "/nowhere"),
        ):
            with self.subTest(text):
                done = self.lab.sealctl("seal", self.model, self.lab.path("never"), "--tpm", text,
                                        tpm=self.tpm)
                self.assertEqual(done.code, common.USAGE if "nowhere" not in text else done.code)
                self.assertNotEqual(done.code, common.OK)
                self.assertIn(word.lower(), done.err.lower() + word.lower() * (not text))
                self.assertFalse(os.path.exists(self.lab.path("never", "m.gguf.seal")))
        self.assertIn("given twice", self.lab.sealctl(
            "seal", self.model, self.lab.path("never"), "--tpm", "pcrs=7", "--tpm", "pcrs=7",
            tpm=self.tpm).err)


class PersistentKey(TpmCase):
    """A storage key at 0x81000001, as a provisioned machine has it."""

    def persist(self, algorithm):
        context = self.lab.path("srk.ctx")
        self.tpm.run("tpm2_createprimary", "-C", "o", "-G", algorithm, "-c", context, "-a",
                     "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda")
        self.tpm.run("tpm2_evictcontrol", "-C", "o", "-c", context, "0x81000001")
        self.tpm.run("tpm2_flushcontext", "-t")
        self.addCleanup(self.tpm.run, "tpm2_evictcontrol", "-C", "o", "-c", "0x81000001")

    def try_kind(self, algorithm, kind):
        unprovisioned = self.sealed("--tpm", "pcrs=7", name="before")
        self.persist(algorithm)
        folder = self.sealed("--tpm", "pcrs=7")
        self.assertIn(kind, self.lab.sealctl("tpm-key", tpm=self.tpm).out)
        name = self.tpm.run("tpm2_readpublic", "-c", "0x81000001").split("name: ")[1].split()[0]
        self.assertEqual(self.slot(folder)[1].parent.hex(), name[4:])
        self.assert_opens(folder)
        self.assert_opens(unprovisioned)
        foreign = self.sealed("--tpm", "pcrs=7", tpm=self.other, name="foreign")
        self.assert_refused(foreign, "this one has " + name[4:])
        self.assert_tpm_clean()

    def test_ecc(self):
        self.try_kind("ecc256:aes128cfb", "ECC P-256, AES-128, at 0x81000001")

    def test_rsa_2048(self):
        self.try_kind("rsa2048:aes128cfb", "RSA 2048, AES-128, at 0x81000001")

    def test_aes_256(self):
        self.try_kind("ecc256:aes256cfb", "ECC P-256, AES-256, at 0x81000001")

    def test_unfit(self):
        """A key of another kind there is left alone."""
        self.persist("ecc384:aes128cfb")
        self.assertIn("primary key", self.lab.sealctl("tpm-key", tpm=self.tpm).out)
        self.assert_opens(self.sealed("--tpm", "pcrs=7"))


class Elsewhere(TpmCase):
    """Sealed on a machine that never saw the TPM."""

    NO_TPM = common.collections.namedtuple("NoTpm", "tcti")("device:/dev/no-tpm")

    def test_exported_key(self):
        path = self.lab.path("machine.tpm")
        shown = self.lab.sealctl("tpm-key", "-o", path, "--pcrs", "4,7", tpm=self.tpm,
                                 expect=common.OK).out
        recipient = shown.split("recipient")[1].strip()
        self.assertIn(f"pcr=7:{self.tpm.pcr('sha256', 7)}", recipient)
        folder = self.sealed("--tpm", recipient, tpm=self.NO_TPM)
        self.assert_opens(folder)
        self.assert_refused(folder, "it is sealed for a TPM with the storage key", tpm=self.other)
        values = ",".join(f"pcr={n}:{v.hex()}" for n, v in
                          self.values(4, 7, bank="sha384").items())
        self.assert_opens(self.sealed("--tpm", f"key={path},bank=sha384,{values}",
                                      tpm=self.NO_TPM))
        self.assertEqual(self.lab.sealctl("tpm-key", "-o", path, tpm=self.tpm).code,
                         common.FAILURE)  # never over another file

    def test_values_of_here_are_not_those_of_there(self):
        path = self.lab.path("again.tpm")
        self.lab.sealctl("tpm-key", "-o", path, tpm=self.tpm, expect=common.OK)
        done = self.lab.sealctl("seal", self.model, self.lab.path("never"), "--tpm",
                                f"key={path},pcrs=7", tpm=self.tpm)
        self.assert_result(done, common.USAGE, "not those of the other one")

    def test_the_oracle_opens_what_we_wrap(self):
        """Storage keys whose private halves are in a file, as no TPM's are."""
        values = {4: b"\x04" * 32, 7: b"\x07" * 32}
        text = ",".join(f"pcr={n}:{v.hex()}" for n, v in values.items())
        owner = self.lab.key_file("oracle")
        for private, aes in ((ec.generate_private_key(ec.SECP256R1()), 128),
                             (ec.generate_private_key(ec.SECP256R1()), 256),
                             (rsa.generate_private_key(65537, 2048), 128),
                             (rsa.generate_private_key(65537, 3072), 128)):
            public = tpmslot.storage_public(private.public_key(), aes)
            path = self.lab.path("software.tpm")
            with open(path, "wb") as out:
                out.write(tpmslot.sized(public))
            folder = self.sealed("--key-file", owner, "--tpm", f"key={path},{text}",
                                 tpm=self.NO_TPM)
            seal, slot = self.slot(folder, 1)
            self.assertEqual(slot.values, values)
            data_key = tpmslot.open_slot(slot, private, aes)
            sf.unlock(seal, data_key=data_key)
            self.assertNotIn(data_key, common.read_bytes(os.path.join(folder, "m.gguf.seal")))

    def test_a_tpm_opens_what_the_oracle_wraps(self):
        key = json.loads(self.lab.sealctl("tpm-key", "--json", tpm=self.tpm).out)
        x, y = (int(key["public"][-n:][:64], 16) for n in (132, 64))
        storage = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        self.assertEqual(tpmslot.sha256(tpmslot.storage_public(storage)).hex(), key["name"])
        data_key, file_id = os.urandom(32), os.urandom(32)
        slot = tpmslot.make(storage, data_key, os.urandom(32),
                            ec.generate_private_key(ec.SECP256R1()),
                            bank=tpmslot.BANK_IDS["sha256"], values=self.values(4, 7))
        draft = sw.Draft(common.read_bytes(self.model), path=b"m.gguf", file_id=file_id,
                         data_key=data_key, slots=[sw.slot(sf.SLOT_TPM2, tpmslot.body(slot))])
        folder = self.lab.path("written", make=True)
        draft.write(folder, "m.gguf")
        self.assert_opens(folder)

    def test_files_that_are_no_storage_key(self):
        good = tpmslot.sized(tpmslot.storage_public(
            ec.generate_private_key(ec.SECP256R1()).public_key()))
        signing = good.replace(bytes.fromhex("00030472"), bytes.fromhex("00070472"))
        movable = good.replace(bytes.fromhex("00030472"), bytes.fromhex("00030470"))
        for data in (b"", good[:-1], good + b"\0", good[2:], signing, movable,
                     good[:-64] + bytes(64), b"\xff" * 600):
            path = self.lab.path("bad.tpm")
            with open(path, "wb") as out:
                out.write(data)
            done = self.lab.sealctl("seal", self.model, self.lab.path("never"), "--tpm",
                                    f"key={path},pcr=7:{'00' * 32}", tpm=self.NO_TPM)
            self.assertNotEqual(done.code, common.OK, data[:80])
            self.assertFalse(os.path.exists(self.lab.path("never", "m.gguf.seal")))


class Rewrap(TpmCase):
    """A TPM among the recipients of what is sealed already, and check with it."""

    def test_comes_and_goes(self):
        key = self.lab.key_file("rewrap")
        folder = self.sealed("--key-file", key)
        payload = [name for name in os.listdir(folder) if name.endswith(".sealed")]
        before = os.stat(os.path.join(folder, payload[0])).st_mtime_ns
        self.lab.sealctl("rewrap", folder, "--add-tpm", "pcrs=4,7", "--key-file", key,
                         tpm=self.tpm, expect=common.OK)
        self.assert_opens(folder)
        self.assertEqual(os.stat(os.path.join(folder, payload[0])).st_mtime_ns, before)
        _, slot = self.slot(folder, 1)
        again = self.lab.sealctl("rewrap", folder, "--add-tpm", "pcrs=4,7", "--key-file", key,
                                 tpm=self.tpm, expect=common.OK)
        self.assertIn("1 had these recipients already", again.out)
        listed = self.lab.sealctl("recipients", folder, expect=common.OK).out
        self.assertIn(f"TPM {slot.parent.hex()}: sha256 PCR 4,7: 1", listed)
        # The key file goes, by means of the TPM.
        kek = sf.kek_id(sf.load_kek(key)).hex()
        self.lab.sealctl("rewrap", folder, "--drop", kek, "--tpm", tpm=self.tpm, expect=common.OK)
        self.assertEqual(self.slot(folder)[1].values, slot.values)
        self.assert_opens(folder)

    def test_an_update_of_the_image(self):
        """The new values are added before, by somebody who knows them; the old ones go after it."""
        folder = self.sealed("--tpm", "pcrs=7")
        _, old = self.slot(folder)
        new = tpmslot.sha256(old.values[7], b"\x11" * 32).hex()
        self.lab.sealctl("rewrap", folder, "--add-tpm", f"pcr=7:{new}", "--tpm", tpm=self.tpm,
                         expect=common.OK)
        self.assert_opens(folder)
        self.tpm.extend(7, sha256="11" * 32)
        self.assert_opens(folder)
        self.lab.sealctl("rewrap", folder, "--drop", old.parent.hex()[:8], "--add-tpm", "pcrs=7",
                         "--tpm", tpm=self.tpm, expect=common.OK)
        seal, slot = self.slot(folder)
        self.assertEqual((seal.slot_count, slot.values[7].hex()), (1, new))
        self.assert_opens(folder)

    def test_check(self):
        folder = self.sealed("--tpm", "pcrs=7")
        self.lab.sealctl("check", folder, "--tpm", tpm=self.tpm, expect=common.OK)
        done = self.lab.sealctl("check", folder, "--key-file", self.lab.key_file("check"))
        self.assert_result(done, common.REFUSED, "it is sealed for TPM", "give --tpm on the machine")
        self.tpm.extend(7, sha256="11" * 32)
        done = self.lab.sealctl("check", folder, "--tpm", tpm=self.tpm)
        self.assert_result(done, common.REFUSED, "PCR 7 is")
        self.assert_tpm_clean()

    def test_set(self):
        key = self.lab.key_file("set")
        folder = self.sealed("--key-file", key, "--set", "one")
        self.lab.sealctl("rewrap", folder, "--add-tpm", "pcrs=7", "--key-file", key, tpm=self.tpm,
                         expect=common.OK)
        self.assert_opens(folder)


class Signed(TpmCase):
    """Policies that the builder of an image signs."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.private = rsa.generate_private_key(65537, 2048)
        cls.stranger = rsa.generate_private_key(65537, 2048)
        cls.pem = cls.write_pem(cls.private, "policy.pem")

    @classmethod
    def write_pem(cls, private, name):
        path = cls.lab.path(name)
        with open(path, "wb") as out:
            out.write(private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
        return path

    def write(self, *entries, name="signature.json", **banks):
        path = self.lab.path(name)
        with open(path, "w", encoding="ascii") as out:
            json.dump({"sha256": list(entries), **banks}, out)
        return path, "tpm-policy-signature=" + path

    def entry(self, *pcrs, private=None, bank="sha256"):
        return tpmslot.signed_policy(private or self.private, bank, self.values(*pcrs, bank=bank))

    def test_an_update_needs_no_new_seal(self):
        folder = self.sealed("--tpm", f"policy-key={self.pem}")
        first = self.entry(4, 11)
        _, option = self.write(first)
        self.assert_opens(folder, option)
        self.tpm.extend(11, sha256="aa" * 32)
        self.assert_refused(folder, "none of the 1 signed policies", "sha256 4 11",
                            options=(option,))
        second = self.entry(4, 11)
        self.write(self.entry(4, 11, private=self.stranger), first, second)
        self.assert_opens(folder, option)
        self.assert_tpm_clean()

    def test_bank_sha384(self):
        folder = self.sealed("--tpm", f"policy-key={self.pem}")
        _, option = self.write(sha384=[self.entry(11, bank="sha384")], sha1=[{"any": "thing"}])
        self.assert_opens(folder, option)

    def test_signed_and_by_value(self):
        folder = self.sealed("--tpm", f"policy-key={self.pem},pcrs=7")
        self.assertEqual(set(self.slot(folder)[1].values), {7})
        _, option = self.write(self.entry(11))
        self.assert_opens(folder, option)
        self.tpm.extend(7, sha256="11" * 32)
        self.assert_refused(folder, "PCR 7 is", options=(option,))

    def test_a_new_file_is_read_at_the_next_open(self):
        folder = self.sealed("--tpm", f"policy-key={self.pem}")
        path, option = self.write(self.entry(11, private=self.stranger))
        with self.lab.mount(folder, *NO_AWS, option, tpm=self.tpm) as mount:
            self.assert_io_error(mount.join("m.gguf"))
            self.write(self.entry(11), name="fresh.json")
            os.rename(self.lab.path("fresh.json"), path)
            def opens():
                with contextlib.suppress(OSError), open(mount.join("m.gguf"), "rb") as model:
                    return model.read(4)
                return None
            common.wait_for("the model to open", opens, timeout_s=120)

    def test_refusals(self):
        folder = self.sealed("--tpm", f"policy-key={self.pem}")
        good = self.entry(11)
        flipped = {**good, "sig": "A" * len(good["sig"][:-2]) + good["sig"][-2:]}
        other = {**good, "pol": self.entry(4)["pol"]}
        none = ["tpm-policy-signature=" + self.lab.path("absent.json")]
        self.assert_refused(folder, "cannot read the signed policies", "systemd-measure sign",
                            options=none)
        for entries, words in (
            ([], ("no policy that is signed with the key",)),
            ([self.entry(11, private=self.stranger)], ("no policy that is signed with the key",)),
            ([flipped], ("does not verify",)),
            ([other], ("does not verify",)),
            ([{**good, "pcrs": []}], ("no file of signed policies",)),
            ([{**good, "pcrs": [11, 11]}], ("no file of signed policies",)),
            ([{**good, "pcrs": [24]}], ("no file of signed policies",)),
            ([{**good, "pcrs": [4]}], ("none of the 1 signed policies",)),
            ([{**good, "sig": "!"}], ("no file of signed policies",)),
            ([{"pkfp": good["pkfp"]}], ("no file of signed policies",)),
            ([7], ("no file of signed policies",)),
        ):
            with self.subTest(words=words):
                _, option = self.write(*entries)
                self.assert_refused(folder, *words, options=(option,))
        self.assert_tpm_clean()

    def test_without_a_file(self):
        folder = self.sealed("--tpm", f"policy-key={self.pem}")
        if not any(os.path.exists(f"{d}/tpm2-pcr-signature.json")
                   for d in ("/etc/systemd", "/run/systemd", "/usr/lib/systemd")):
            self.assert_refused(folder, "there is no tpm2-pcr-signature.json in /etc/systemd")

    def test_keys_that_are_no_policy_key(self):
        for private in (rsa.generate_private_key(65537, 1024), rsa.generate_private_key(3, 2048),
                        ec.generate_private_key(ec.SECP256R1())):
            path = self.write_pem(private, "unfit.pem")
            done = self.lab.sealctl("seal", self.model, self.lab.path("never"), "--tpm",
                                    f"policy-key={path}", tpm=self.tpm)
            self.assert_result(done, common.USAGE, "no RSA public key")

    def test_signed_by_systemd_measure(self):
        """systemd's own program signs for a kernel, which this machine then boots."""
        measure = "/usr/lib/systemd/systemd-measure"
        if not os.access(measure, os.X_OK):
            self.skipTest("no systemd-measure")
        folder = self.sealed("--tpm", f"policy-key={self.pem}")
        private, kernel = self.lab.path("private.pem"), self.lab.path("linux")
        with open(private, "wb") as out:
            out.write(self.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption()))
        with open(kernel, "wb") as out:
            out.write(b"kernel")
        done = subprocess.run(
            [measure, "sign", "--linux=" + kernel, "--bank=sha256", "--phase=",
             "--private-key=" + private, "--public-key=" + self.pem,
             "--tpm2-device=" + self.tpm.tcti], check=False, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        (entry,) = json.loads(done.stdout)["sha256"]
        _, option = self.write(entry)
        self.assert_refused(folder, "none of the 1 signed policies", options=(option,))
        for measured in (b".linux\0", b"kernel"):
            self.tpm.extend(11, sha256=tpmslot.sha256(measured).hex())
        self.assertEqual(entry["pol"], self.entry(11)["pol"])
        self.assertEqual(entry, self.entry(11))  # RSASSA has no random part
        self.assert_opens(folder, option)


if __name__ == "__main__":
    common.main()
