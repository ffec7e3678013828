#!/usr/bin/python3
"""Whom the daemon asks for keys, and how often: a bucket's writer and an unprivileged opener decide
neither. Judged by the KMS emulator's log.
"""

import errno
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
from common import OK, REFUSED, USAGE  # noqa: E402

ACCOUNT = "111122223333"


class Asked(common.Case):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.plain = common.make_model(lab.path("m.bin"), 50_000)
        cls.pcrs = {index: lab.tpm.pcr("sha384", index) for index in (4, 7, 12)}

    def setUp(self):
        self.lab.kms.clear_log()
        self.lab.tpm.ask("POST", "reboot", {})
        self.events = self.lab.path("events." + self.id().rpartition(".")[2])

    def decrypts(self):
        return [entry for entry in self.lab.kms.log() if entry["operation"] == "Decrypt"]

    def key(self, name, allowed=False):
        """A key's ARN; without allowed, nobody may decrypt with it."""
        return self.lab.kms.key("alias/" + name, self.pcrs,
                                None if allowed else {"Decrypt": ["AKIANOBODY"]})

    def seal(self, prefix, *keys):
        arguments = [word for key in keys for word in ("--kms-key", key)]
        self.lab.seal(self.plain, self.lab.s3_url(prefix + "/"), *arguments)
        self.lab.kms.clear_log()
        return self.lab.s3_url(prefix)

    def forge(self, prefix, old, new):
        """Who can write to the bucket changes the ARN of a slot; both have the same length."""
        path = self.lab.s3.file(prefix + "/m.bin.seal")
        with open(path, "rb") as seal:
            raw = seal.read()
        self.assertEqual((len(old), raw.count(old.encode())), (len(new), 1))
        with open(path, "wb") as out:
            out.write(raw.replace(old.encode(), new.encode()))

    def refused(self, url, *options, **how):
        result = self.lab.mount_fails(url, "ready=unlocked", "event-log=" + self.events, *options,
                                      **how)
        self.assert_result(result, REFUSED)
        return result.err

    def works(self, url, *options):
        with self.lab.mount(url, "ready=unlocked", "event-log=" + self.events, *options) as mount:
            self.assertEqual(common.digest(mount.join("m.bin")), common.digest(self.plain))

    def test_at_most_four(self):
        denied = [self.key(f"denied{n}") for n in range(7)]
        good = self.key("good", allowed=True)
        url = self.seal("many", *denied, good)
        message = self.refused(url)
        self.assertEqual(len(self.decrypts()), 4)
        self.assertIn("4 KMS keys were not asked", message)
        self.lab.kms.clear_log()
        # The pin is what makes it work, and nobody else hears of it.
        self.works(url, "kms-key=" + good)
        self.assertEqual(len(self.decrypts()), 1)
        self.lab.kms.clear_log()
        result = self.lab.sealctl("check", "--kms-key", denied[6], url)
        self.assert_result(result, REFUSED, "7 KMS keys were not asked")
        self.assertEqual(len(self.decrypts()), 1)

    def test_pins(self):
        good = self.key("good", allowed=True)
        url = self.seal("pins", good)
        for pin, asked in ((good, True), ("account/" + ACCOUNT, True),
                           (f"account/{ACCOUNT}/us-east-1", True),
                           (f"account/{ACCOUNT}/eu-west-1", False),
                           ("account/999988887777", False),
                           (self.key("other", allowed=True), False)):
            with self.subTest(pin):
                self.lab.kms.clear_log()
                if asked:
                    self.works(url, "kms-key=" + pin)
                else:
                    self.assertIn("no kms-key names it", self.refused(url, "kms-key=" + pin))
                self.assertEqual(len(self.decrypts()), int(asked))

    def test_pins_that_make_no_sense(self):
        good = self.key("good", allowed=True)
        url = self.seal("bad-pins", good)
        for pin in ("alias/good", good.replace(":key/", ":alias/"), good[:-1], "account/1",
                    good.replace(":aws:", ":aws-cn:"), "*", "1234"):
            with self.subTest(pin):
                result = self.lab.mount_fails(url, "kms-key=" + pin)
                self.assert_result(result, USAGE, "kms-key")
                result = self.lab.sealctl("check", "--kms-key", pin, url)
                self.assertEqual(result.code, USAGE, result.err)
        self.assertEqual(self.decrypts(), [])

    def test_forged_slots(self):
        """Another partition, and what is no key: nothing is sent, with a pin or without."""
        good = self.key("good", allowed=True)
        self.assertTrue(good.startswith("arn:aws:kms:us-east-1:"), good)
        for number, (old, new) in enumerate((
                ("aws:kms:us-east-1", "aws-cn:kms:cn-n-1"), ("aws:kms:us-east-1", "aws:kms:cn-east-1"),
                (":key/", ":KEY/"), ("us-east-1", "evil.com/"), ("us-east-1", "us-east-1".upper()),
                ("arn:", "urn:"), (":kms:", ":sts:"), (ACCOUNT, "11112222333x"),
                (good[-4:], "zzzz"))):
            forged = good.replace(old, new)
            with self.subTest(forged):
                url = self.seal(f"forged{number}", good)
                self.forge(f"forged{number}", good, forged)
                self.assertIn("not asked", self.refused(url))
                self.refused(url, "kms-key=account/" + ACCOUNT)
                self.assertEqual(self.decrypts(), [])

    def test_denials_back_off(self):
        """An impatient opener: pauses of 1, 2, 4, 8 s between requests, and each open ends with
        EACCES."""
        denied = self.key("denied")
        url = self.seal("impatient", denied)
        with self.lab.mount(url, "event-log=" + self.events) as mount:
            began, opens = time.monotonic(), 0
            while (asked := len(self.decrypts())) < 4:
                with self.assertRaises(PermissionError):
                    os.close(os.open(mount.join("m.bin"), os.O_RDONLY))
                opens += 1
                time.sleep(0.02)
            self.assertEqual(asked, 4)
            self.assertGreater(time.monotonic() - began, 6.5)
            self.assertGreater(opens, 2 * asked)
            # The reason stays to be seen.
            result = self.lab.run(common.SEALCTL, "status", mount.path)
            self.assertIn("AccessDenied", result.out + result.err)
            # A reload asks anew, and at once.
            self.key("denied", allowed=True)
            with self.assertRaises(PermissionError):
                os.close(os.open(mount.join("m.bin"), os.O_RDONLY))
            self.assertEqual(self.lab.run(common.SEALEDFS, "--reload", mount.path).code, OK)
            self.assertEqual(common.digest(mount.join("m.bin")), common.digest(self.plain))
            self.assertEqual(len(self.decrypts()), asked + 1)

    def test_failures_after_the_key_back_off(self):
        """KMS gives the key, and then the payload is missing: an opener cannot ask in a loop."""
        url = self.seal("gone", self.key("good", allowed=True))
        folder = os.path.dirname(self.lab.s3.file("gone/m.bin.seal"))
        (payload,) = [name for name in os.listdir(folder) if name.endswith(".sealed")]
        with self.lab.mount(url, "event-log=" + self.events) as mount:
            os.rename(os.path.join(folder, payload), self.lab.path("kept"))
            began, opens = time.monotonic(), []
            while len(self.decrypts()) < 4:
                opens.append(self.failing_open(mount))
            self.assertGreater(time.monotonic() - began, 6.5)
            self.assertGreater(len(opens), 8)
            self.assertEqual(set(opens), {errno.EIO})
            os.rename(self.lab.path("kept"), os.path.join(folder, payload))
            common.wait_for("the pause to end", lambda: self.failing_open(mount) == 0)

    def failing_open(self, mount):
        try:
            os.close(os.open(mount.join("m.bin"), os.O_RDONLY))
        except OSError as failure:
            time.sleep(0.02)
            return failure.errno
        return 0

    def test_many_denied_models(self):
        """Each is asked for once; repeats have one limit for all. Others are not held up."""
        lab = self.lab
        denied = self.key("denied")
        good = self.key("good", allowed=True)
        folder = lab.path("folder", make=True)
        for number in range(15):
            common.make_model(os.path.join(folder, f"m{number}.bin"), 1000, seed=number)
        lab.seal(folder, lab.s3_url("crowd/"), "--kms-key", denied)
        lab.seal(self.plain, lab.s3_url("crowd/"), "--kms-key", good)
        lab.kms.clear_log()
        with lab.mount(lab.s3_url("crowd"), "event-log=" + self.events) as mount:
            paths = [os.path.join(top, name) for top, _, names in os.walk(mount.path)
                     for name in names if re.fullmatch(r"m\d+\.bin", name)]
            self.assertEqual(len(paths), 15)
            began = time.monotonic()
            while time.monotonic() < began + 8:
                for path in paths:
                    with self.assertRaises(PermissionError):
                        os.close(os.open(path, os.O_RDONLY))
                time.sleep(0.05)
            self.assertIn(len(self.decrypts()), range(15, 15 + int(time.monotonic() - began) + 3))
            self.assertEqual(common.digest(mount.join("m.bin")), common.digest(self.plain))

    def test_many_denied_models_with_many_keys(self):
        """First attempts, too: the keys after the first of a seal have one limit for all models."""
        lab = self.lab
        denied = [self.key(f"none{n}") for n in range(4)]
        folder = lab.path("keys", make=True)
        for number in range(24):
            common.make_model(os.path.join(folder, f"m{number}.bin"), 1000, seed=number)
        lab.seal(folder, lab.s3_url("keys/"),
                 *(word for key in denied for word in ("--kms-key", key)))
        lab.kms.clear_log()
        with lab.mount(lab.s3_url("keys"), "event-log=" + self.events) as mount:
            began = time.monotonic()
            paths = [os.path.join(top, name) for top, _, names in os.walk(mount.path)
                     for name in names if re.fullmatch(r"m\d+\.bin", name)]
            for path in paths:
                with self.assertRaises(PermissionError):
                    os.close(os.open(path, os.O_RDONLY))
            regained = int((time.monotonic() - began) / 5) + 1
            self.assertEqual(len(paths), 24)
            self.assertIn(len(self.decrypts()), range(24, 24 + 48 + regained + 1))


if __name__ == "__main__":
    common.main()
