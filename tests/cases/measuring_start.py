#!/usr/bin/python3
"""Start events, texts that only one event can have, and a TPM that is reset under a daemon."""

import contextlib
import json
import os

import common
from common import CHUNK
from common_measuring import (BANKS, MEASURING, START, Measured, event_digest, extended, models,
                              predicted, replayed, start_digests)

import measured


class StartEvent(Measured):
    """The configuration is in the PCR, before the first model."""

    PINS = ("account/111122223333",
            "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.owners = [cls.lab.owner_key(name) for name in ("acme", "other", "third")]
        cls.signed = cls.lab.path("signed")
        cls.lab.seal(cls.lab.path("plain"), cls.signed, "--key-file", cls.key, "--sign",
                     cls.owners[0][0])

    def ids(self, *numbers):
        return [measured.signer_id(self.owners[number][1]) for number in numbers]

    def predict(self, *argv):
        found = json.loads(self.lab.sealctl("hash", "--pcr", "--json", *argv, expect=common.OK).out)
        return found["start"], found["pcr"]

    def test_every_configuration_has_its_value(self):
        """Mode, attestation, owners and pins: each by the specification, by sealctl, and in the
        PCR; no two the same."""
        seen = set()
        for mode in ("verity", "declared"):  # sets have cases of their own
            for attest, owners, pins in (
                    ("nitrotpm", (), ()), ("none", (), ()), ("nitrotpm", (0,), ()),
                    ("nitrotpm", (0, 1, 2), ()), ("nitrotpm", (0,), self.PINS[:1]),
                    ("nitrotpm", (2, 0, 2), self.PINS), ("none", (0,), self.PINS[::-1])):
                with self.subTest(mode=mode, attest=attest, owners=owners, pins=pins):
                    self.tpm.ask("POST", "reboot", {})
                    self.events = self.lab.path(f"events.start.{len(seen)}")
                    start = measured.start_text(mode, attest, self.ids(*owners), pins)
                    keys = [self.owners[number][1] for number in owners]
                    with self.mount("measure=" + mode, "attest=" + attest,
                                    *("owner-key=" + key for key in keys),
                                    *("kms-key=" + pin for pin in pins),
                                    source=self.signed) as mount:
                        self.read(mount, "b.gguf", "a.gguf")
                        self.assert_pcr(mode, "b.gguf", "a.gguf", start=start)
                    texts, values = self.predict(
                        "--as-given", "--measure", mode, "--attest", attest,
                        *(word for key in keys for word in ("--owner-key", key)),
                        *(word for pin in pins for word in ("--kms-key", pin)),
                        *(os.path.join(self.signed, name + ".seal")
                          for name in ("b.gguf", "a.gguf")))
                    self.assertEqual(texts, {mode: start})
                    self.assertEqual(list(values), [mode])
                    for bank in BANKS:
                        self.assertEqual(values[mode][bank], self.tpm.pcr(bank))
                    seen.add(self.tpm.pcr("sha384"))
        self.assertEqual(len(seen), 14)

    def test_two_configurations_on_one_machine(self):
        """Each has its start event; a model that is there is not extended again."""
        with self.mount() as mount:
            self.read(mount, "a.gguf")
        with self.mount("attest=none") as mount:
            self.read(mount, "a.gguf", "b.gguf")
        other = measured.start_text("verity", "none")
        for bank in BANKS:
            self.assertEqual(self.tpm.pcr(bank), extended(bank, [
                *start_digests("verity", bank),
                event_digest("verity", bank, self.plain["a.gguf"]),
                measured.of_text(bank, other),
                event_digest("verity", bank, self.plain["b.gguf"])]))

    def test_no_start_event_without_a_model(self):
        with self.mount() as mount:
            os.listdir(mount.path)
        self.assertEqual(self.extensions(), [])

    def test_prediction_from_the_configuration_file(self):
        """sealctl hash --pcr --config FILE is the value that sealedfs --config FILE leads to."""
        config = self.lab.path("sealed.conf")
        for more, names in (("", self.NAMES), ("model = c.gguf, b.gguf\n", ("b.gguf", "c.gguf")),
                            ("model = c.gguf, d.gguf\n", ())):
            with self.subTest(more=more):
                self.tpm.ask("POST", "reboot", {})
                self.events = self.lab.path(f"events.config.{len(names)}")
                with open(config, "w", encoding="ascii") as out:
                    out.write(f"source = {self.signed}\nkey-file = {self.key}\n"
                              f"owner-key = {self.owners[1][1]}, {self.owners[0][1]}\n"
                              f"kms-key = {self.PINS[1]}\nmountpoint = {self.lab.path('nowhere')}\n"
                              f"measure = declared\n{more}")
                start = measured.start_text("declared", "nitrotpm", self.ids(0, 1), self.PINS[1:])
                if not names:
                    self.lab.sealctl("hash", "--pcr", "--config", config, expect=common.FAILURE)
                    continue
                texts, values = self.predict("--config", config)
                self.assertEqual(texts, {"declared": start})
                for bank in BANKS:
                    self.assertEqual(values["declared"][bank],
                                     predicted("declared", bank, *map(self.plain.get, names),
                                               start=start))
        for argv in (("--config", config), ("--attest", "none", self.signed),
                     ("--pcr", "--attest", "maybe", self.signed), ("--pcr", "--measure", "none", "x"),
                     ("--pcr", "--kms-key", "alias/models", self.signed)):
            self.lab.sealctl("hash", *argv, expect=common.USAGE)


class EventTexts(Measured):
    """A plaintext that could be taken for an event has no bare digest in a PCR."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.lab.path("texts", make=True)
        texts = {
            "verity": measured.event_text("verity",
                                          measured.digests_of_file(cls.plain["a.gguf"])).encode(),
            "sha256": measured.event_text("sha256",
                                          measured.digests_of_file(cls.plain["a.gguf"])).encode(),
            "start": START["verity"].encode(),
            "prefix": b"sealedfs:", "long": b"sealedfs:" + bytes(3 * CHUNK)}
        allowed = {"short": b"sealedfs", "case": b"Sealedfs:verity", "later": b" sealedfs:verity",
                   "empty": b""}
        cls.texts, cls.allowed = tuple(texts), tuple(allowed)
        for name, content in {**texts, **allowed}.items():
            path = os.path.join(cls.folder, name)
            with open(path, "wb") as out:
                out.write(content)
            cls.plain[name] = path
        cls.source = cls.lab.path("texts-sealed")
        # By way of a pipe: sealctl refuses a file that looks like a seal, an attacker's own does not.
        for name in cls.texts + cls.allowed:
            with open(cls.plain[name], "rb") as text:
                cls.lab.seal("-", cls.source, "--name", name, "--key-file", cls.key,
                             stdin=text.read())

    def test_refused_in_bare_modes(self):
        for mode in ("sha384", "sha256"):
            with self.mount("measure=" + mode) as mount:
                for name in self.texts:
                    with self.subTest(mode=mode, name=name):
                        failure = self.assert_io_error(mount.join(name))
                        self.assertEqual(failure.errno, 13)
                self.assertIn('begins with "sealedfs:"', mount.log())
                self.assert_pcr(mode)
                self.assertEqual(self.extensions(), [])
        result = self.lab.mount_fails(self.source, "key-file=" + self.key, "measure=sha384",
                                      "ready=measured", "model=verity",
                                      "event-log=" + self.events)
        self.assert_result(result, common.REFUSED, 'begins with "sealedfs:"', "measure=verity")
        self.assert_pcr("sha384")

    def test_others_are_measured(self):
        for mode in MEASURING:
            with self.subTest(mode=mode):
                self.tpm.ask("POST", "reboot", {})
                self.events = self.lab.path("events.allowed." + mode)
                names = self.allowed + (self.texts if mode in measured.WITH_START else ())
                with self.mount("measure=" + mode) as mount:
                    for name in names:
                        self.assertEqual(common.digest(mount.join(name)),
                                         common.digest(self.plain[name]))
                self.assert_pcr(mode, *names)

    def test_not_predicted(self):
        for argv in ((), ("--pcr",)):
            found = json.loads(self.lab.sealctl("hash", "--json", *argv, self.plain["verity"],
                                                expect=common.OK).out)
            values = found["pcr"] if argv else found["files"][0]["pcr"]
            self.assertEqual(sorted(values), ["declared", "verity"])
            text = self.lab.sealctl("hash", *argv, self.plain["verity"], expect=common.OK).out
            self.assertEqual(text.count("refused"), 2)


class Reset(Measured):
    """The TPM is reset, as by hibernation, while the daemon and what it has open go on."""

    def reset(self):
        self.tpm.ask("POST", "reboot", {})
        for bank in BANKS:
            self.assertEqual(int(self.tpm.pcr(bank), 16), 0)

    def shown(self, mount):
        with open(mount.join(".sealedfs", "status.json"), encoding="ascii") as source:
            return json.load(source).get("pcr")

    def assert_shown(self, mount, shows, reason=""):
        result = self.lab.sealctl("status", mount.path)
        self.assertEqual(result.code, common.OK if shows else common.FAILURE, result.err)
        self.assertIn(reason, result.out)
        self.assertEqual(not shows, "not seen to show" in result.out)
        metrics = self.lab.sealctl("status", "--prometheus", mount.path).out
        self.assertIn(f"\nsealedfs_pcr_shows_what_is_served {shows:d}\n", metrics)
        self.assertEqual(self.shown(mount)["shows_what_is_served"], shows)

    def wait_for_pcr(self, mode, *names):
        want = predicted(mode, "sha384", *(self.plain[name] for name in names))
        common.wait_for("measured again", lambda: self.tpm.pcr("sha384") == want)

    def test_open_measures_again(self):
        for mode in MEASURING:
            with self.subTest(mode=mode):
                self.reset()
                self.events = self.lab.path("events.reset." + mode)
                with self.mount("measure=" + mode) as mount:
                    self.read(mount, "c.gguf", "a.gguf")
                    common.time.sleep(1.1)
                    self.reset()
                    self.read(mount, "a.gguf")
                    self.assert_pcr(mode, "c.gguf", "a.gguf")
                    self.assertIn("measured again", mount.log())
                    common.time.sleep(1.1)
                    self.reset()
                    # Of another model: those that are open come first.
                    self.read(mount, "b.gguf")
                    self.assert_pcr(mode, "c.gguf", "a.gguf", "b.gguf")
                    # And nothing is extended that is there.
                    common.time.sleep(1.1)
                    self.tpm.clear_log()
                    self.read(mount, *self.NAMES)
                    self.assertEqual(self.extensions(), [])

    def test_nobody_opens(self):
        """What is mapped goes on being read; the daemon looks by itself."""
        with self.mount() as mount, common.opened(mount.join("b.gguf")):
            self.assert_pcr("verity", "b.gguf")
            self.reset()
            self.wait_for_pcr("verity", "b.gguf")
            self.assert_pcr("verity", "b.gguf")

    def test_two_daemons(self):
        with self.mount() as one, self.mount() as two:
            self.read(one, "a.gguf")
            self.read(two, "b.gguf")
            self.reset()
            common.wait_for("both are measured again", lambda: len(models(self.events)) >= 4)
            common.wait_for("the PCR to show it", lambda: self.tpm.pcr("sha384")
                            == replayed(self.events, "sha384"))
            again = [record["content"]["model"] for record in models(self.events)[2:]]
            self.assertEqual(sorted(again), ["a.gguf", "b.gguf"])

    def test_reset_and_somebody_else(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf")
            self.reset()
            self.tpm.extend(15, sha256="11" * 32, sha384="22" * 48)
            between = self.tpm.pcr("sha384")
            common.time.sleep(1.1)
            failure = self.assert_io_error(mount.join("a.gguf"))
            self.assertEqual(failure.errno, 13)
            self.assertIn("someone else extended it", mount.log())
            self.assertEqual(self.tpm.pcr("sha384"), between)
            self.assert_shown(mount, False, "someone else extended it")
            # Until the machine boots.
            self.reset()
            self.read(mount, "a.gguf")
            self.assert_pcr("verity", "a.gguf")
            self.assert_shown(mount, True)

    def test_status_without_an_open(self):
        """The daemon finds it by itself while a file is open, and status tells."""
        with self.mount() as mount, common.opened(mount.join("a.gguf")):
            self.assert_shown(mount, True)
            self.tpm.extend(15, sha256="11" * 32, sha384="22" * 48)
            common.wait_for("the daemon looks", lambda: not self.shown(mount)[
                "shows_what_is_served"])
            self.assert_shown(mount, False, "someone else extended it")
            self.assertEqual(self.shown(mount)["number"], 15)

    def test_status_of_what_is_not_served(self):
        """What cannot be measured is not served; the PCR hides nothing."""
        with self.mount() as mount, self.tpm.fault(op="extend", kind="rc", rc="0x101"):
            self.assert_io_error(mount.join("a.gguf"))
            self.assertTrue(self.shown(mount)["shows_what_is_served"])
        with self.mount("measure=none") as mount:
            self.read(mount, "a.gguf")
            self.assertIsNone(self.shown(mount))

    def test_tpm_that_is_gone(self):
        """Nobody can tell what the PCR shows: no open, until somebody can."""
        with self.mount() as mount:
            self.read(mount, "a.gguf")
            common.time.sleep(1.1)
            with self.tpm.fault(op="extend", kind="rc", rc="0x101"):
                self.reset()
                self.assert_io_error(mount.join("a.gguf"))
            self.read(mount, "a.gguf")
            self.assert_pcr("verity", "a.gguf")

    def test_between_reading_and_extending(self):
        """The session ends with the reset, so nothing is extended on top of a value that is gone."""
        for when in ("extend", "pcrread"):
            with self.subTest(when=when):
                self.reset()
                self.events = self.lab.path("events.between." + when)
                with self.mount() as mount:
                    self.read(mount, "a.gguf")
                    with self.tpm.fault(op=when, kind="reboot", times=1):
                        with contextlib.suppress(OSError):
                            self.read(mount, "b.gguf")
                    common.time.sleep(1.1)  # the pause after a failed open
                    self.read(mount, "a.gguf", "b.gguf")
                    self.assertEqual(self.tpm.pcr("sha384"), replayed(self.events, "sha384"))
                    self.assertIn(self.tpm.pcr("sha384"), (
                        predicted("verity", "sha384", self.plain["a.gguf"], self.plain["b.gguf"]),))
                    self.assert_shown(mount, True)

    def test_restart_after_a_reset(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf", "b.gguf")
        self.reset()
        with self.mount() as mount:
            self.read(mount, "b.gguf")
            self.assert_pcr("verity", "b.gguf")


if __name__ == "__main__":
    common.main()
