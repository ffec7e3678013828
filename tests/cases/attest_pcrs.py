#!/usr/bin/python3
"""Measuring models into PCRs, on a TPM: values in every bank, the log, and every way to be killed.

The values come from an oracle that knows attest/PCRS.md only; PCRs are read with tpm2-tools.
"""

import contextlib
import hashlib
import json
import os
import signal
import stat

import common
import common_attest as ca
import measured


class Measuring(ca.AttestCase):
    def arguments(self, model, mode="verity", pcr=15, *more):
        return ("measure", "", pcr, mode, model.name, model.verity, model.sha256, model.sha384,
                *more)

    def measure(self, model, mode="verity", pcr=15, *more, **how):
        return self.tool(*self.arguments(model, mode, pcr, *more), **how)

    def assert_extended(self, *argv, **how):
        self.assertEqual(self.measure(*argv, **how), (0, "extended"))

    def assert_already(self, *argv, **how):
        self.assertEqual(self.measure(*argv, **how), (0, "already"))

    def assert_refused(self, answer, *words):
        self.assertEqual(answer.errno, ca.EKEYREJECTED, answer.text)
        for word in words:
            self.assertIn(word, answer.text)

    def assert_pcr(self, *measured, tpm=None, banks=("sha256", "sha384"), pcr=15, start=None):
        """The PCR holds exactly these (model, mode), and the log replays to it."""
        for bank in banks:
            wanted = ca.extended(bank, start[bank] if start else ca.zero(bank),
                                 *[model.digest(mode, bank) for model, mode in measured])
            self.assertEqual((tpm or self.lab.tpm).pcr(bank, pcr), wanted, bank)
            self.assertEqual(ca.replay(self.log_path, bank, pcr), wanted, bank)

    def assert_log_idle(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.log_path).st_mode), 0o600)
        self.assertEqual([name for name in sorted(os.listdir(self.runtime))
                          if not name.startswith("tpm-key-")], ["tpm2-measure.log"])

    def test_modes(self):
        measured = []
        for number, mode in enumerate(("verity", "sha384", "sha256", "declared")):
            model = ca.Model(number)
            self.assert_extended(model, mode)
            measured.append((model, mode))
            self.assert_pcr(*measured)
            self.assert_already(model, mode)
            self.assert_pcr(*measured)
        self.assert_log_idle()

    def test_value_of_aws_sample(self):
        model = ca.Model("sample")
        self.assert_extended(model, "sha384")
        self.assertEqual(self.lab.tpm.pcr("sha384"), hashlib.sha384(
            bytes(48) + bytes.fromhex(model.sha384)).hexdigest())

    def test_other_mode_extends_again(self):
        model = ca.Model(1)
        self.assert_extended(model, "declared")
        self.assert_extended(model, "sha384")
        self.assert_pcr((model, "declared"), (model, "sha384"))

    def test_record(self):
        model = ca.Model("päth\n")
        self.assert_extended(model, "sha384")
        self.assert_extended(ca.Model(2))
        first, second = ca.records(self.log_path)
        self.assertEqual(first["pcr"], 15)
        self.assertEqual(first["content_type"], "io.sealedfs")
        self.assertEqual(first["digests"], [
            {"hashAlg": bank, "digest": model.digest("sha384", bank)}
            for bank in ("sha256", "sha384")])
        content = first["content"]
        self.assertGreater(content.pop("timestamp"), 0)
        self.assertEqual(content, {
            "eventType": "model", "string": model.text("sha384"), "bootId": ca.BOOT_ID,
            "mode": "sha384", "model": model.name, "sha256": model.sha256,
            "sha384": model.sha384, "before": [
                {"hashAlg": bank, "digest": ca.zero(bank)} for bank in ("sha256", "sha384")]})
        self.assertNotIn("before", second["content"])

    def test_other_banks(self):
        for banks in (("sha1", "sha256", "sha384", "sha512"), ("sha384",), ("sha1",)):
            name = "tpm-" + "-".join(banks)
            tpm = common.Tpm(self.lab, name, common.Tpm.BOOT, banks)
            self.runtime = self.lab.path(name + "-run", make=True)
            self.log_path = os.path.join(self.runtime, "tpm2-measure.log")
            measured = []
            for number, mode in enumerate(("verity", "sha384", "sha256")):
                self.assert_extended(ca.Model(number), mode, tpm=tpm)
                measured.append((ca.Model(number), mode))
            self.assert_pcr(*measured, tpm=tpm, banks=banks)
            self.assert_already(ca.Model(0), "verity", tpm=tpm)
            tpm.stop()

    def test_other_pcrs(self):
        self.assert_extended(ca.Model(1), "verity", 14)
        self.assert_extended(ca.Model(1), "verity", 15)
        self.assert_already(ca.Model(1), "verity", 14)
        self.assert_pcr((ca.Model(1), "verity"), pcr=14)
        self.assert_pcr((ca.Model(1), "verity"))
        for pcr in (16, 17, 23, 24, 999):
            answer = self.measure(ca.Model(1), "verity", pcr)
            self.assertEqual(answer.errno, ca.EINVAL, answer.text)
        self.assertEqual(self.lab.tpm.pcr("sha384", 16), ca.zero("sha384"))
        self.assertEqual(self.lab.tpm.pcr("sha384", 23), ca.zero("sha384"))

    def test_many_at_once(self):
        models = [ca.Model(number) for number in range(6)]
        running = [self.start(*self.arguments(model)) for model in models for _ in range(3)]
        answers = [self.finish(process).text for process in running]
        self.assertEqual(answers.count("extended"), 6, answers)
        self.assertEqual(answers.count("already"), 12, answers)
        order = [record["content"]["model"] for record in ca.records(self.log_path)]
        self.assertEqual(sorted(order), sorted(model.name for model in models))
        by_name = {model.name: model for model in models}
        self.assert_pcr(*[(by_name[name], "verity") for name in order])
        self.assert_log_idle()

    def test_foreign_extension(self):
        first, second, third = ca.Model(1), ca.Model(2), ca.Model(3)
        self.assert_extended(first)
        logged = {bank: self.lab.tpm.pcr(bank) for bank in ("sha256", "sha384")}
        self.lab.tpm.extend(15, sha384="11" * 48)
        value = self.lab.tpm.pcr("sha384")
        for model in (first, second):
            self.assert_refused(self.measure(model), "someone else extended it", logged["sha384"],
                                value)
        self.assertEqual(self.lab.tpm.pcr("sha384"), value)
        self.assert_extended(second, "verity", 15, "foreign")
        start = {"sha256": logged["sha256"], "sha384": value}
        self.assert_pcr((second, "verity"), start=start)
        # From here on the log explains the PCR again; what was in front of the foreign value is
        # not shown any more.
        self.assert_already(second)
        self.assert_extended(first)
        self.assert_extended(third)
        self.assert_pcr((second, "verity"), (first, "verity"), (third, "verity"), start=start)

    def test_not_zero_at_first(self):
        self.lab.tpm.extend(15, sha256="22" * 32, sha384="22" * 48)
        start = {bank: self.lab.tpm.pcr(bank) for bank in ("sha256", "sha384")}
        self.assert_refused(self.measure(ca.Model(1)), "not zero", start["sha256"],
                            start["sha384"])
        self.assert_extended(ca.Model(1), "verity", 15, "foreign")
        self.assert_pcr((ca.Model(1), "verity"), start=start)
        self.assert_already(ca.Model(1))

    def systemd_log(self, *digests):
        path = os.path.join(self.runtime, "systemd.log")
        with open(path, "w", encoding="ascii") as log:
            for digest in digests:
                log.write("\x1e" + json.dumps({
                    "pcr": 15, "digests": [{"hashAlg": bank, "digest": digest[:size]}
                                           for bank, size in (("sha256", 64), ("sha384", 96))],
                    "content_type": "systemd",
                    "content": {"string": "machine-id:00", "bootId": ca.BOOT_ID, "timestamp": 1,
                                "eventType": "machine-id"}}) + "\n")
        return "systemd=" + path

    def test_systemd_explains(self):
        for digest in ("33" * 48, "44" * 48):
            self.lab.tpm.extend(15, sha256=digest[:64], sha384=digest)
        start = {bank: self.lab.tpm.pcr(bank) for bank in ("sha256", "sha384")}
        self.assert_refused(self.measure(ca.Model(1), "verity", 15,
                                         self.systemd_log("33" * 48)), "not zero")
        explains = self.systemd_log("33" * 48, "44" * 48)
        self.assert_extended(ca.Model(1), "verity", 15, explains)
        self.assert_pcr((ca.Model(1), "verity"), start=start)
        self.assert_already(ca.Model(1), "verity", 15, explains)

    def test_systemd_names_only_some_banks(self):
        """systemd may extend one bank of two, and its log says so."""
        path = os.path.join(self.runtime, "systemd.log")
        for digests, explained in (({"sha256": "33" * 32}, {"sha256": "33" * 32}),
                                   ({"sha384": "44" * 48}, {"sha384": "44" * 48}),
                                   ({"sha256": "33" * 32}, {"sha384": "44" * 48}),
                                   ({"sha256": "33" * 32, "sha384": "44" * 48},
                                    {"sha256": "33" * 32})):
            with self.subTest(digests=digests, explained=explained):
                self.lab.tpm.ask("POST", "reboot", {})
                if os.path.exists(self.log_path):
                    os.unlink(self.log_path)
                self.lab.tpm.extend(15, **digests)
                with open(path, "w", encoding="ascii") as log:
                    log.write("\x1e" + json.dumps({
                        "pcr": 15, "digests": [{"hashAlg": bank, "digest": digest}
                                               for bank, digest in explained.items()],
                        "content_type": "systemd", "content": {"string": "machine-id:0"}}) + "\n")
                start = {bank: self.lab.tpm.pcr(bank) for bank in ("sha256", "sha384")}
                if digests == explained:
                    self.assert_extended(ca.Model(1), "verity", 15, "systemd=" + path)
                    self.assert_pcr((ca.Model(1), "verity"), start=start)
                else:
                    self.assert_refused(self.measure(ca.Model(1), "verity", 15,
                                                     "systemd=" + path), "not zero")

    def test_start_event(self):
        """Once a boot and text, in front of the model; a model that is there already is not
        extended again for it."""
        one, other = (measured.start_text("verity", attest) for attest in ("none", "nitrotpm"))
        self.assert_extended(ca.Model(1), "verity", 15, "start=" + one)
        self.assert_extended(ca.Model(2), "verity", 15, "start=" + one)
        self.assert_already(ca.Model(2), "verity", 15, "start=" + one)
        self.assert_already(ca.Model(1), "verity", 15, "start=" + other)
        self.assert_already(ca.Model(1), "verity", 15, "start=" + other)
        for bank in ("sha256", "sha384"):
            wanted = measured.extended(bank, [
                measured.of_text(bank, one),
                *(measured.event_digest("verity", bank, ca.Model(n)) for n in (1, 2)),
                measured.of_text(bank, other)])
            self.assertEqual(self.lab.tpm.pcr(bank), wanted)
            self.assertEqual(ca.replay(self.log_path, bank), wanted)
        self.assertEqual([record["content"]["string"] for record in ca.records(self.log_path)
                          if record["content"]["eventType"] == "start"], [one, other])
        answer = self.measure(ca.Model(1), "sha384", 15, "start=" + one)
        self.assertEqual(answer.errno, ca.EINVAL)

    def test_reboot_of_the_tpm(self):
        self.assert_extended(ca.Model(1))
        self.assert_extended(ca.Model(2))
        self.lab.tpm.ask("POST", "reboot", {})
        self.assert_extended(ca.Model(1))
        self.assert_pcr((ca.Model(1), "verity"))
        self.assert_already(ca.Model(1))

    # Deaths

    def die_after_log(self, first, second):
        """The log before the second record, and that record."""
        self.assert_extended(first)
        with open(self.log_path, "rb") as log:
            before = log.read()
        self.assert_extended(second)
        with open(self.log_path, "rb") as log:
            return before, log.read()[len(before):]

    def leave(self, log, intent, sticky):
        """Writes the files as a dead writer would have left them."""
        with open(self.log_path, "wb") as out:
            out.write(log)
        if intent is not None:
            with open(self.log_path + ".intent", "wb") as out:
                out.write(intent)
            os.chmod(self.log_path + ".intent", 0o600)
        os.chmod(self.log_path, 0o1600 if sticky else 0o600)

    def test_death_after_extending(self):
        first, second = ca.Model(1), ca.Model(2)
        log, record = self.die_after_log(first, second)
        for written in (0, 1, len(record) // 2, len(record) - 1, len(record)):
            for sticky in (True, False):
                self.leave(log + record[:written], record, sticky)
                self.assert_already(second)
                self.assert_pcr((first, "verity"), (second, "verity"))
                self.assert_log_idle()
        # Another model's writer finds it too.
        self.leave(log, record, True)
        self.assert_extended(ca.Model(3))
        self.assert_pcr(*[(ca.Model(number), "verity") for number in (1, 2, 3)])

    def test_death_before_extending(self):
        first, second = ca.Model(1), ca.Model(2)
        log, record = self.die_after_log(first, second)
        self.lab.tpm.ask("POST", "reboot", {})
        self.lab.tpm.extend(15, **{bank: first.digest("verity", bank)
                                   for bank in ("sha256", "sha384")})
        for sticky in (True, False):
            self.leave(log, record, sticky)
            self.assert_already(first)
            self.assert_pcr((first, "verity"))
            self.assert_log_idle()
        self.leave(log, record, True)
        self.assert_extended(second)
        self.assert_pcr((first, "verity"), (second, "verity"))
        self.assert_log_idle()

    def test_death_at_the_first_model(self):
        model = ca.Model(1)
        self.assert_extended(model)
        with open(self.log_path, "rb") as log:
            record = log.read()
        self.leave(b"", record, True)
        self.assert_already(model)
        self.assert_pcr((model, "verity"))
        self.lab.tpm.ask("POST", "reboot", {})
        self.leave(b"", record, True)
        self.assert_extended(model)
        self.assert_pcr((model, "verity"))

    def test_mark_without_intent(self):
        self.assert_extended(ca.Model(1))
        os.chmod(self.log_path, 0o1600)
        self.assert_already(ca.Model(1))
        self.assert_log_idle()
        os.chmod(self.log_path, 0o1600)
        self.lab.tpm.extend(15, sha256="55" * 32)
        self.assert_refused(self.measure(ca.Model(1)), "someone else")

    def test_death_and_foreign_extension(self):
        first, second = ca.Model(1), ca.Model(2)
        log, record = self.die_after_log(first, second)
        self.lab.tpm.extend(15, sha256="66" * 32)
        self.leave(log, record, True)
        self.assert_refused(self.measure(second), "someone else")
        self.assert_refused(self.measure(first), "someone else")
        self.assert_extended(first, "verity", 15, "foreign")
        self.assert_extended(second, "verity", 15, "foreign")
        self.assert_already(second)

    def test_damaged_log(self):
        self.assert_extended(ca.Model(1))
        with open(self.log_path, "r+b") as log:
            log.truncate(os.path.getsize(self.log_path) - 5)
        answer = self.measure(ca.Model(1))
        self.assertEqual(answer.errno, ca.EPROTO)
        self.assertIn("cut short", answer.text)
        self.assertIn("tpm2-measure.log", answer.text)

    # Faults of the TPM

    def test_extension_fails(self):
        with self.lab.tpm.fault(op="extend", kind="rc", rc="0x101"):
            answer = self.measure(ca.Model(1))
        self.assertEqual(answer.errno, ca.EIO, answer.text)
        self.assertIn("0x101", answer.text)
        self.assertEqual(self.lab.tpm.pcr("sha256"), ca.zero("sha256"))
        self.assert_extended(ca.Model(1))
        self.assert_pcr((ca.Model(1), "verity"))
        self.assert_log_idle()

    def test_answer_lost(self):
        """The TPM extended, and nobody heard of it."""
        self.assert_extended(ca.Model(0))
        with self.lab.tpm.fault(op="extend", kind="drop-after", times=1):
            self.assertEqual(self.measure(ca.Model(1)).errno, ca.EIO)
        self.assert_already(ca.Model(1))
        self.assert_pcr((ca.Model(0), "verity"), (ca.Model(1), "verity"))
        self.assert_log_idle()

    def test_extension_without_effect(self):
        with self.lab.tpm.fault(op="extend", kind="short-answer"):
            answer = self.measure(ca.Model(1))
        self.assertEqual(answer.errno, ca.EIO, answer.text)
        self.assert_already(ca.Model(1))
        self.assert_pcr((ca.Model(1), "verity"))

    def test_tpm_asks_to_repeat(self):
        with self.lab.tpm.fault(op="extend", kind="retry", times=8):
            self.assert_extended(ca.Model(1))
        self.assert_pcr((ca.Model(1), "verity"))

    def test_killed_while_extending(self):
        self.assert_extended(ca.Model(0))
        with self.lab.tpm.fault(op="extend", kind="hang"):
            process = self.start(*self.arguments(ca.Model(1)))
            common.wait_for("the mark on the log", lambda: os.stat(
                self.log_path).st_mode & stat.S_ISVTX, process)
            # A second writer waits for the lock; it must not hang with the first.
            other = self.start(*self.arguments(ca.Model(2)))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.lab.tpm.ask("DELETE", "fault")
        with contextlib.closing(other.stdout):
            self.assertEqual(other.stdout.read().strip(), "ok extended")
            self.assertEqual(other.wait(ca.TOOL_S), 0)
        self.assert_pcr((ca.Model(0), "verity"), (ca.Model(2), "verity"))
        self.assert_extended(ca.Model(1))
        self.assert_log_idle()

    def test_no_tpm(self):
        answer = self.measure(ca.Model(1), env={"SEALEDFS_TCTI": "swtpm:host=127.0.0.1,port=1"})
        self.assertEqual(answer.errno, ca.ENODEV)
        self.assertIn("port=1", answer.text)
        answer = self.measure(ca.Model(1), env={"SEALEDFS_TCTI": "device:/dev/no-such-tpm"})
        self.assertEqual(answer.errno, ca.ENODEV)
        self.assertIn("no TPM at /dev/no-such-tpm", answer.text)
        answer = self.measure(ca.Model(1), env={"SEALEDFS_TCTI": "nonsense"})
        self.assertEqual(answer.errno, ca.ENODEV)


if __name__ == "__main__":
    ca.main()
