#!/usr/bin/python3
"""What goes into the PCR, when, and what it is worth afterwards.

Values are predicted from attest/PCRS.md with hashlib and read with tpm2_pcrread, event logs are
replayed from their RFC 7464 records: nothing of the product is asked about itself, except that
sealctl hash must predict the same.
"""

import hashlib
import os
import subprocess
import threading

import common
from common_measuring import (BANKS, MEASURING, START, Measured, event_digest, extended, models,
                              predicted, records, replayed, start_digests)

import verity


class Value(Measured):
    """Which value, and how often."""

    def test_first_open_extends_and_nothing_else_does(self):
        with self.mount() as mount:
            for name in os.listdir(mount.path):
                os.stat(mount.join(name))
                os.getxattr(mount.join(name), "user.sealedfs.sha256")
            self.assert_pcr("verity")
            self.read(mount, "b.gguf")
            self.assert_pcr("verity", "b.gguf")
            self.read(mount, "b.gguf", "b.gguf")
            self.assertEqual(common.digest(mount.join("b.gguf")),
                             common.digest(self.plain["b.gguf"]))
            self.assert_pcr("verity", "b.gguf")
        self.assert_pcr("verity", "b.gguf")
        for bank in BANKS:
            self.assertEqual(int(self.tpm.pcr(bank, 14), 16), 0)
            self.assertEqual(int(self.tpm.pcr(bank, 16), 16), 0)

    def test_sealctl_hash_predicts_every_mode_and_bank(self):
        path = self.plain["a.gguf"]
        found = self.lab.hash(path)
        digests = found.get("digests", found)
        self.assertEqual(digests["sha256"], common.digest(path))
        self.assertEqual(digests["sha384"], common.digest(path, "sha384"))
        self.assertEqual(digests["verity"].rpartition(":")[2], verity.digest_of_file(path).hex())
        for mode in MEASURING:
            for bank in BANKS:
                self.assertEqual(found["pcr"][mode][bank], predicted(mode, bank, path),
                                 f"{mode} {bank}")

    def test_modes(self):
        for mode in MEASURING:
            with self.subTest(mode=mode):
                self.tpm.ask("POST", "reboot", {})
                self.events = self.lab.path("events.modes." + mode)
                with self.mount("measure=" + mode) as mount:
                    self.read(mount, "c.gguf", "a.gguf")
                    self.assert_pcr(mode, "c.gguf", "a.gguf")
                    self.assertEqual(common.digest(mount.join("a.gguf")),
                                     common.digest(self.plain["a.gguf"]))

    def test_sha384_is_what_the_aws_sample_extends(self):
        """E(zero, SHA-384 of the file), by sha384sum and nothing else."""
        with self.mount("measure=sha384") as mount:
            self.read(mount, "a.gguf")
        done = subprocess.run(["sha384sum", self.plain["a.gguf"]], stdout=subprocess.PIPE,
                              check=True)
        file_digest = bytes.fromhex(done.stdout.split()[0].decode())
        self.assertEqual(self.tpm.pcr("sha384"),
                         hashlib.sha384(bytes(48) + file_digest).hexdigest())

    def test_none_touches_neither_tpm_nor_log(self):
        with self.mount("measure=none", "attest=none") as mount:
            self.read(mount, *self.NAMES)
        self.assert_pcr("verity")
        self.assertEqual(self.extensions(), [])
        self.assertFalse(os.path.exists(self.events))

    def test_second_and_third_model_extend_once_more_each(self):
        with self.mount() as mount:
            self.read(mount, "b.gguf")
            self.assert_pcr("verity", "b.gguf")
            self.read(mount, "a.gguf", "b.gguf")
            self.assert_pcr("verity", "b.gguf", "a.gguf")
            self.read(mount, "c.gguf", "a.gguf")
            self.assert_pcr("verity", "b.gguf", "a.gguf", "c.gguf")
        self.assertEqual(len(models(self.events)), 3)
        self.assertEqual(len(records(self.events)), 4)

    def test_other_pcr(self):
        with self.mount("pcr=14") as mount:
            self.read(mount, "a.gguf")
        self.assert_pcr("verity", "a.gguf", index=14)
        self.assert_pcr("verity")

    def test_pcrs_that_software_resets_are_refused(self):
        for pcr in ("16", "23", "17", "22", "24", "-1", "15x", ""):
            with self.subTest(pcr=pcr):
                result = self.lab.mount_fails(self.source, "key-file=" + self.key, "pcr=" + pcr)
                self.assert_result(result, common.USAGE, "pcr")

    def test_machine_with_only_sha384(self):
        tpm = common.Tpm(self.lab, "tpm-sha384", banks=["sha384"])
        with self.mount(tpm=tpm) as mount:
            self.read(mount, "a.gguf", "b.gguf")
        self.assert_pcr("verity", "a.gguf", "b.gguf", tpm=tpm, banks=["sha384"])
        for record in records(self.events):
            self.assertEqual([entry["hashAlg"] for entry in record["digests"]], ["sha384"])

    def test_machine_with_four_banks(self):
        banks = ("sha1", "sha256", "sha384", "sha512")
        tpm = common.Tpm(self.lab, "tpm-banks", banks=banks)
        with self.mount(tpm=tpm) as mount:
            self.read(mount, "a.gguf")
        for bank in banks:
            value = tpm.pcr(bank)
            self.assertNotEqual(int(value, 16), 0, bank)
            self.assertEqual(value, replayed(self.events, bank), bank)
        self.assert_pcr("verity", "a.gguf", tpm=tpm)

    def test_log_records(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf")
        self.assertEqual(os.stat(self.events).st_mode & 0o7777, 0o600)
        start, record = records(self.events)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot_id:
            self.assertEqual(record["content"]["bootId"],
                             boot_id.read().strip().replace("-", ""))
        self.assertEqual(record["pcr"], 15)
        self.assertEqual({entry["hashAlg"]: entry["digest"] for entry in record["digests"]},
                         {bank: event_digest("verity", bank, self.plain["a.gguf"]).hex()
                          for bank in BANKS})
        self.assertIsInstance(record["content"]["timestamp"], int)
        self.assertIn("content_type", record)
        self.assertNotIn("recnum", record)
        self.assertIn("before", start["content"])
        self.assertNotIn("before", record["content"])
        self.assertEqual(start["content"]["eventType"], "start")
        self.assertEqual(start["content"]["string"], START["verity"])
        self.assertEqual({entry["hashAlg"]: entry["digest"] for entry in start["digests"]},
                         {bank: start_digests("verity", bank)[0].hex() for bank in BANKS})
        # In the mode verity the string is what was hashed.
        self.assertEqual(record["content"]["string"], "sealedfs:verity:sha256:"
                         + verity.digest_of_file(self.plain["a.gguf"]).hex())


class Restart(Measured):
    """Daemons come and go; the PCR stays."""

    def test_killed_and_restarted(self):
        for mode in MEASURING:
            with self.subTest(mode=mode):
                self.tpm.ask("POST", "reboot", {})
                self.events = self.lab.path("events.killed." + mode)
                with self.mount("measure=" + mode) as mount:
                    self.read(mount, "a.gguf", "b.gguf")
                    mount.kill()
                self.assert_pcr(mode, "a.gguf", "b.gguf")
                with self.mount("measure=" + mode) as mount:
                    self.read(mount, "b.gguf", "a.gguf")
                    self.assert_pcr(mode, "a.gguf", "b.gguf")
                    self.read(mount, "c.gguf")
                    self.assert_pcr(mode, "a.gguf", "b.gguf", "c.gguf")

    def test_another_mode_is_another_event(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf")
        with self.mount("measure=sha384") as mount:
            self.read(mount, "a.gguf")
        for bank in BANKS:
            self.assertEqual(self.tpm.pcr(bank), extended(bank, start_digests("verity", bank) + [
                event_digest(mode, bank, self.plain["a.gguf"]) for mode in ("verity", "sha384")]))
            self.assertEqual(replayed(self.events, bank), self.tpm.pcr(bank))

    def open_from_two(self, first, second):
        """Two daemons on this machine, opening at the same moment."""
        failures = []

        def reader(mount, names, start):
            try:
                start.wait()
                self.read(mount, *names)
            except (OSError, AssertionError) as failure:
                failures.append(failure)

        with self.mount() as one, self.mount() as two:
            start = threading.Barrier(2 * len(first))
            threads = [threading.Thread(target=reader, args=(mount, [name], start))
                       for mount, names in ((one, first), (two, second)) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(failures, [])
        digests = [{entry["hashAlg"]: entry["digest"] for entry in record["digests"]}["sha384"]
                   for record in models(self.events)]
        self.assertEqual(len(records(self.events)), len(digests) + 1)
        self.assertEqual(sorted(digests), sorted(
            event_digest("verity", "sha384", self.plain[name]).hex()
            for name in set(first) | set(second)))
        for bank in BANKS:
            self.assertEqual(self.tpm.pcr(bank), replayed(self.events, bank))

    def test_two_daemons_same_models(self):
        self.open_from_two(self.NAMES, self.NAMES)

    def test_two_daemons_different_models(self):
        self.open_from_two(["a.gguf", "b.gguf"], ["b.gguf", "c.gguf"])


class Refusal(Measured):
    """No measurement, no byte."""

    def refused(self, mount, name="a.gguf"):
        failure = self.assert_io_error(mount.join(name))
        return failure, mount.log()

    def test_foreign_extension(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf")
            kept = open(mount.join("a.gguf"), "rb", buffering=0)
            self.addCleanup(kept.close)
            self.tpm.extend(15, sha256="11" * 32, sha384="22" * 48)
            between = self.tpm.pcr("sha384")
            _, log = self.refused(mount, "b.gguf")
            self.assertIn("15", log)
            self.assertIn("b.gguf", log)
            # Measured already, but the PCR does not show it as the log has it.
            self.refused(mount, "a.gguf")
            # Who has it open goes on.
            self.assertEqual(len(kept.read(1)), 1)
            kept.close()
        self.assertEqual(self.tpm.pcr("sha384"), between)
        self.assertEqual(len(models(self.events)), 1)
        with self.mount() as mount:
            self.refused(mount, "b.gguf")
        self.assertEqual(self.tpm.pcr("sha384"), between)
        with self.mount("allow-foreign-extend") as mount:
            self.read(mount, "b.gguf")
            behind = extended("sha384", start_digests("verity", "sha384") + [
                event_digest("verity", "sha384", self.plain["b.gguf"])], bytes.fromhex(between))
            self.assertEqual(self.tpm.pcr("sha384"), behind)
            # What is in front of the foreign value is not shown any more.
            self.read(mount, "a.gguf", "b.gguf")
            self.assertEqual(self.tpm.pcr("sha384"), extended("sha384", [
                event_digest("verity", "sha384", self.plain["a.gguf"])], bytes.fromhex(behind)))
            self.assertEqual(self.tpm.pcr("sha384"), replayed(self.events, "sha384"))

    def test_foreign_extension_fails_the_mount(self):
        self.tpm.extend(15, sha384="22" * 48)
        result = self.lab.mount_fails(self.source, "key-file=" + self.key, "ready=measured",
                                      "event-log=" + self.events)
        self.assert_result(result, common.REFUSED, "PCR 15", self.tpm.pcr("sha384")[:16])

    def test_log_gone_or_changed(self):
        with self.mount() as mount:
            self.read(mount, "a.gguf", "b.gguf")
        with open(self.events, "rb") as log:
            good = log.read()
        start, one, two = (b"\x1e" + record for record in good[1:].split(b"\x1e"))
        before = self.tpm.pcr("sha384")
        digest = event_digest("verity", "sha384", self.plain["a.gguf"]).hex().encode()
        for what, content in (("gone", None), ("empty", b""), ("one is missing", one),
                              ("the other is missing", two), ("exchanged", two + one),
                              ("one twice", one + two + two), ("half", good[:-20]),
                              ("garbage", b"\x1e{}\n" + good),
                              ("changed", good.replace(digest[:6], b"000000"))):
            with self.subTest(what):
                if content is None:
                    os.unlink(self.events)
                else:
                    with open(self.events, "wb") as log:
                        log.write(content)
                with self.mount() as mount:
                    for name in self.NAMES:
                        self.refused(mount, name)
                self.assertEqual(self.tpm.pcr("sha384"), before)

    def test_tpm_that_refuses(self):
        for rc in ("0x101", "0x921", "0x0"):  # failure, lockout, "success" and nothing done
            with self.subTest(rc=rc), self.mount() as mount:
                with self.tpm.fault(op="extend", kind="rc", rc=rc):
                    self.refused(mount)
                self.assert_pcr("verity")
                self.assertEqual(records(self.events) if os.path.exists(self.events) else [], [])

    def test_tpm_that_cuts_the_connection(self):
        with self.mount() as mount, self.tpm.fault(op="extend", kind="drop"):
            self.refused(mount)

    def test_no_tpm(self):
        with self.mount(extra={"SEALEDFS_TCTI": "swtpm:host=127.0.0.1,port=1"}) as mount:
            self.refused(mount)
        self.assertFalse(os.path.exists(self.events) and records(self.events))

    def test_event_log_that_cannot_be_written(self):
        folder = self.lab.path("a-folder", make=True)
        self.events = folder
        with self.mount() as mount:
            self.refused(mount)
        self.assert_pcr("verity")


if __name__ == "__main__":
    common.main()
