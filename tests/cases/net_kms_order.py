#!/usr/bin/python3
"""Several KMS recipients (fs/unlock, fs/aws): in which order they are asked, multi-Region keys from
their replica, aliases and kms:RequestAlias, and one message that lists why each failed. Judged by the
KMS emulator's log."""

import json
import os

import common
from common import OK, REFUSED
from common_rewrap import arns

OWNER, ACCOUNT = "arn:aws:iam::111122223333:user/owner", "111122223333"


class Base(common.Case):
    PARTS = ("tpm", "kms")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = common.make_model(cls.lab.path("m.bin"), 50_000)
        cls.pcrs = {index: cls.lab.tpm.pcr("sha384", index) for index in (4, 7, 12)}

    def setUp(self):
        self.lab.tpm.ask("POST", "reboot", {})
        self.name = self.id().rpartition(".")[2]
        self.sealed = self.lab.path(self.name, "sealed")
        self.seal_file = os.path.join(self.sealed, "m.bin.seal")

    def key(self, name, allowed=True, **where):
        """A key's ARN; not allowed: nobody may decrypt with it."""
        return self.lab.kms.key(f"alias/{self.name}-{name}", self.pcrs,
                                None if allowed else {"Decrypt": ["AKIANOBODY"]}, **where)

    def seal(self, *keys):
        self.lab.seal(self.plain, self.sealed, "-q",
                      *(word for key in keys for word in ("--kms-key", key)))
        self.lab.kms.clear_log()

    def options(self):
        return "ready=unlocked", "event-log=" + self.lab.path(self.name, "events")

    def works(self, region=common.REGION, *options):
        """The ARNs that were asked, in their order."""
        self.lab.kms.clear_log()
        with self.lab.mount(self.sealed, *self.options(), *options,
                            extra={"AWS_REGION": region}) as mount:
            self.assertEqual(common.digest(mount.join("m.bin")), common.digest(self.plain))
        return self.asked()

    def refused(self, region=common.REGION, *options):
        """What it said."""
        self.lab.kms.clear_log()
        result = self.lab.mount_fails(self.sealed, *self.options(), *options,
                                      extra={"AWS_REGION": region})
        self.assert_result(result, REFUSED)
        return result.err

    def asked(self):
        return [entry["key_id"] for entry in self.lab.kms.log() if entry["operation"] == "Decrypt"]


class Order(Base):
    def test_the_own_region_first(self):
        far = self.key("far", allowed=False, region="eu-west-1")
        near = self.key("near")
        self.seal(far, near)
        self.assertEqual(arns(self.seal_file), [far, near])
        self.assertEqual(self.works(), [near])
        self.assertEqual(self.works("eu-west-1"), [far, near])
        self.assertEqual(self.works("ap-southeast-2"), [far, near])

    def test_one_message_says_why_each_failed(self):
        denied = self.key("denied", allowed=False)
        disabled = self.key("disabled", region="eu-west-1")
        doomed = self.key("doomed", region="eu-central-1")
        other = [self.key(f"other{n}", allowed=False, region="us-west-2") for n in range(2)]
        self.seal(disabled, denied, doomed, *other)
        for name, state in (("disabled", "Disabled"), ("doomed", "PendingDeletion")):
            where = {"disabled": "eu-west-1", "doomed": "eu-central-1"}[name]
            self.lab.kms.key(f"alias/{self.name}-{name}", self.pcrs, state=state, region=where)
        said = self.refused()
        self.assertEqual(self.asked(), [denied, disabled, doomed, other[0]])
        for arn, why in ((denied, "AccessDeniedException"), (disabled, "DisabledException"),
                         (doomed, "KMSInvalidStateException"), (other[0], "AccessDeniedException"),
                         (other[1], "enough others were asked")):
            at = said.index(arn)
            self.assertIn(why, said[at:at + 300], said)
        self.assertIn("; also asked: slot", said)


class MultiRegion(Base):
    def replica(self, arn, region, allowed=True):
        return self.key("multi", allowed, id=arn.rpartition("/")[2], region=region)

    def test_from_the_replica_in_the_own_region(self):
        home = self.key("multi", multi_region=True)
        self.assertIn(":key/mrk-", home)
        here = self.replica(home, "eu-west-1")
        self.assertEqual(here, home.replace("us-east-1", "eu-west-1"))
        self.seal(home)
        self.assertEqual(arns(self.seal_file), [home])
        self.assertEqual(self.works(), [home])
        self.assertEqual(self.works("eu-west-1"), [here])
        # Even if the region that the seal names is out of order.
        self.lab.kms.key(f"alias/{self.name}-multi", self.pcrs, state="Disabled")
        self.assertEqual(self.works("eu-west-1"), [here])
        self.lab.kms.key(f"alias/{self.name}-multi", self.pcrs, state="Enabled")
        # No replica there: the key that the seal names.
        self.key("there", region="ap-southeast-2")
        self.assertEqual(self.works("ap-southeast-2"),
                         [home.replace("us-east-1", "ap-southeast-2"), home])
        # A replica has a key policy of its own.
        self.replica(home, "eu-west-1", allowed=False)
        self.assertEqual(self.works("eu-west-1"), [here, home])
        self.key("multi", allowed=False)
        said = self.refused("eu-west-1")
        for arn in (here, home):
            self.assertIn(f"({arn}): ", said)

    def test_pins_mean_one_region(self):
        home = self.key("multi", multi_region=True)
        here = self.replica(home, "eu-west-1")
        self.seal(home)
        self.assertEqual(self.works("eu-west-1", "kms-key=" + home), [home])
        self.assertEqual(self.works("eu-west-1", "kms-key=" + here), [here])
        self.assertEqual(self.works("eu-west-1", f"kms-key=account/{ACCOUNT}/us-east-1"), [home])
        self.assertIn("no kms-key names it",
                      self.refused("eu-west-1", f"kms-key=account/{ACCOUNT}/us-west-2"))
        self.assertEqual(self.asked(), [])

    def test_a_wrapped_key_of_the_replica(self):
        """Sealed where the replica is, opened where the first key is."""
        home = self.key("multi", multi_region=True)
        here = self.replica(home, "eu-west-1")
        self.seal(here)
        self.assertEqual(self.works(), [home])
        # Not guessed for keys of one region.
        single = self.key("single", allowed=False, region="eu-west-1")
        self.seal(single)
        self.refused()
        self.assertEqual(self.asked(), [single])


class Aliases(Base):
    """kms:RequestAlias: the permission is for requests that name the key by this alias."""

    document = None

    def policy(self, alias, *, decrypt=None):
        people = {self.lab.access_keys[who]: f"arn:aws:iam::{ACCOUNT}:user/{who}"
                  for who in ("owner", "operator")}
        by_alias = {"StringEquals": {"kms:RequestAlias": alias}}
        attested = {"StringEqualsIgnoreCase": {
            f"kms:RecipientAttestation:NitroTPMPCR{index}": value
            for index, value in self.pcrs.items()}, **(decrypt or {})}
        statements = [
            {"Effect": "Allow", "Principal": {"AWS": OWNER}, "Resource": "*", "Condition": by_alias,
             "Action": ["kms:GenerateDataKey", "kms:Encrypt"]},
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/operator"},
             "Resource": "*", "Action": "kms:Decrypt", "Condition": attested}]
        self.document = {"Version": "2012-10-17", "Statement": statements}
        return self.lab.kms.put_policy(alias, self.document, people)

    def test_sealed_by_alias_opened_by_arn(self):
        alias = f"alias/{self.name}"
        arn = self.policy(alias)
        self.seal(alias)
        self.assertEqual(arns(self.seal_file), [arn])
        self.assertEqual(self.works(), [arn])
        # The key's ARN or id is not what the policy permits.
        for name in (arn, arn.rpartition("/")[2]):
            self.assert_result(self.lab.sealctl("seal", self.plain, self.lab.path(self.name, "no"),
                                                "--kms-key", name), REFUSED, "AccessDenied")
        # An alias's ARN is.
        self.seal(arn.partition(":key/")[0] + ":" + alias)
        self.assertEqual(arns(self.seal_file), [arn])

    def test_a_second_recipient_and_rewrap(self):
        alias, key = f"alias/{self.name}", self.lab.key_file("alias")
        arn, first = self.policy(alias), self.key("first")
        self.seal(f"alias/{self.name}-first", alias)
        self.assertEqual(arns(self.seal_file), [first, arn])
        folder = self.lab.path(self.name, "plain", make=True)
        for n in range(3):
            common.make_model(os.path.join(folder, f"m{n}"), 1000, n)
        self.lab.seal(folder, self.sealed, "-q", "--key-file", key)
        self.lab.kms.clear_log()
        self.lab.sealctl("rewrap", self.sealed, "--key-file", key, "--kms", "--add-kms-key", alias,
                         expect=None)
        encrypts = [e for e in self.lab.kms.log() if e["operation"] == "Encrypt"]
        self.assertEqual({e["key_id"] for e in encrypts}, {alias})
        self.assertEqual({tuple(arns(os.path.join(self.sealed, f"m{n}.seal"))) for n in range(3)},
                         {(arn,)})

    def test_decrypt_by_alias_is_not_asked(self):
        """Mounts ask by ARN: a policy that wants an alias for Decrypt refuses them, and that is said."""
        alias = f"alias/{self.name}"
        self.policy(alias, decrypt={"StringEquals": {"kms:RequestAlias": alias}})
        self.seal(alias)
        policy = self.lab.path(self.name, "policy.json")
        with open(policy, "w", encoding="ascii") as out:
            json.dump(self.document, out)
        self.assertIn("kms:RequestAlias", self.refused(common.REGION, "kms-policy=" + policy))


if __name__ == "__main__":
    common.main()
