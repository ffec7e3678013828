#!/usr/bin/python3
"""sealctl doctor and AWS: region, keys, clock, servers, what the bucket permits, key policies; each finding both ways.

Other findings of the machine that runs the tests may be there. Drives tools/doctor, fs/aws, fs/keypolicy.
"""

import json

import common
from common_doctor import DoctorCase

GROUPS = ("aws", "policy")
CLOSED = "http://127.0.0.1:1"


class AwsCase(DoctorCase):
    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.imds = common.Emulator(lab, "imds", "imds.py", "--credentials", lab.credentials,
                                   "--region", common.REGION)
        lab.seal(common.make_model(lab.path("m.gguf"), 100000), lab.s3_url("prod/"), "--kms-key", "alias/models")
        cls.url = lab.s3_url("prod")
        cls.run_dir = lab.path("run", make=True)

    def role(self, **more):
        """The instance's role, and nothing else."""
        return {"AWS_REGION": "", "AWS_EC2_METADATA_DISABLED": "", "HOME": "/nonexistent",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.imds.values["url"],
                "AWS_METADATA_SERVICE_TIMEOUT": "60", **more}

    def look(self, place, *options, expect, extra=None):
        """What these groups find, and no more; what was noted, as one text."""
        extra = {**(self.role() if extra is None else extra), "SEALEDFS_RUNTIME_DIR": self.run_dir}
        options = ("-o", ",".join(options)) if options else ()
        found, report = self.doctor(place, *options, who="operator", extra=extra)
        own = {name: each for name, each in found.items() if each[0]["group"] in GROUPS}
        self.assertEqual(sorted(own), sorted(expect), report)
        return own, " | ".join(entry["what"] for entry in report["noted"] + report["not_looked_at"])


class Servers(AwsCase):
    def test_nothing_is_found(self):
        _, noted = self.look(self.url, expect=())
        for words in (f"{self.lab.s3.url}/ answered after ", f"{self.lab.kms.url}/ answered after ",
                      f"{self.imds.values['url']}/latest/api/token answered after ", "region: us-east-1",
                      "the keys for AWS come from: "):
            self.assertIn(words, noted)

    def test_no_secret_is_shown(self):
        done = self.lab.sealctl("doctor", self.url, who="operator")
        with open(self.lab.path("operator", "credentials"), encoding="ascii") as keys:
            secret = keys.read().split("aws_secret_access_key = ")[1].split()[0]
        self.assertNotIn(secret, done.out + done.err)

    def test_s3_unreachable(self):
        found, noted = self.look(self.url, f"s3-endpoint={CLOSED}", expect=["s3-unreachable"])
        self.assertIn("127.0.0.1:1", found["s3-unreachable"][0]["what"])
        self.assertIn("cannot be asked", noted)

    def test_kms_unreachable(self):
        self.look(self.url, f"kms-endpoint={CLOSED}", expect=["kms-unreachable"])
        # With a key file alone KMS is not asked.
        self.look(self.url, f"kms-endpoint={CLOSED}", "key-file=/nowhere", expect=())

    def test_metadata_unreachable(self):
        """It is missed where there are no other keys."""
        closed = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": CLOSED}
        self.look(self.url, expect=["credentials-missing", "imds-unreachable"],
                  extra=self.role(AWS_REGION=common.REGION, **closed))
        self.look(self.url, expect=["credentials-lasting"],
                  extra={"AWS_EC2_METADATA_DISABLED": "", **closed})

    def test_credentials(self):
        off = {"AWS_REGION": common.REGION, "AWS_EC2_METADATA_DISABLED": "true"}
        self.look(self.url, expect=["credentials-missing"], extra=self.role(**off))
        self.look(self.url, expect=["credentials-lasting"], extra={})

    def test_region(self):
        """Servers of our own need no region; AWS's do."""
        nowhere = self.role(AWS_EC2_METADATA_DISABLED="true", AWS_ENDPOINT_URL_S3="", AWS_ENDPOINT_URL_KMS="")
        self.look(self.url, expect=["region"], extra=nowhere)

    def test_clock(self):
        self.addCleanup(self.lab.s3.ask, "POST", "settings", {"clock_offset_s": 0})
        for offset in (4000, -4000, 0):
            self.lab.s3.ask("POST", "settings", {"clock_offset_s": offset})
            expected = ["clock"] if offset else []
            found, _ = self.look(self.url, expect=["credentials-lasting", *expected], extra={})
            if offset:
                self.assertEqual(len(found["clock"]), 1)
                self.assertIn("behind" if offset > 0 else "ahead of", found["clock"][0]["what"])


class Place(AwsCase):
    def test_bucket_list(self):
        with self.lab.s3.fault(match=r"GET /weights/?\?", kind="status", code="AccessDenied"):
            self.look(self.url, expect=["bucket-list"])
        self.look(self.url, expect=())

    def test_bucket_get(self):
        with self.lab.s3.fault(match=r"GET /weights/prod/", kind="status", code="AccessDenied"):
            self.look(self.url, expect=["bucket-get"])

    def test_no_bucket(self):
        self.look("s3://no-such-bucket/prod", expect=["place"])

    def test_nothing_there(self):
        self.look(self.lab.s3_url("empty"), expect=["place"])

    def test_folder(self):
        without = ("measure=none", "key-file=/nowhere")
        self.look(self.lab.path("nowhere"), *without, expect=["place"])
        self.look(self.lab.path("empty", make=True), *without, expect=["place"])
        self.lab.seal(self.lab.path("m.gguf"), self.lab.path("sealed", make=True), "--key-file",
                      self.lab.key_file())
        self.look(self.lab.path("sealed"), *without, expect=())


class KeyPolicy(AwsCase):
    def policy(self, **pcrs):
        """A key policy, as sealctl policy makes it."""
        path = self.lab.path("measurements.json")
        found = {f"PCR{index}": self.lab.tpm.pcr("sha384", index) for index in (4, 7, 12)}
        with open(path, "w", encoding="ascii") as out:
            json.dump({"Measurements": {"HashAlgorithm": "SHA384 { ... }", **found, **pcrs}}, out)
        arn = "arn:aws:iam::111122223333:role/{}"
        return self.lab.sealctl("policy", "--measurements", path, "--owner", arn.format("owner"), "--role",
                                arn.format("reader"), expect=common.OK).out

    def write(self, text):
        path = self.lab.path("policy.json")
        with open(path, "w", encoding="ascii") as out:
            out.write(text)
        return path

    def test_policy_of_a_file(self):
        path = self.write(self.policy())
        _, noted = self.look(self.url, f"kms-policy={path}", expect=())
        self.assertIn("accepts this machine's PCRs", noted)
        path = self.write(self.policy(PCR4="11" * 48))
        found, _ = self.look(self.url, f"kms-policy={path}", expect=["key-policy"])
        self.assertIn("PCR 4", found["key-policy"][0]["what"])

    def test_policy_of_kms(self):
        """Of each key that is named whole; not of an account."""
        people = {"AKIAEMULATEDPERSON01": "arn:aws:iam::111122223333:role/owner"}
        for pcrs, expected in (({}, ()), ({"PCR7": "22" * 48}, ["key-policy"])):
            document = json.loads(self.policy(**pcrs))
            arn = self.lab.kms.put_policy("alias/asked", document, people)
            self.look(self.url, f"kms-key={arn}", expect=["credentials-lasting", *expected], extra={})
        self.look(self.url, "kms-key=account/111122223333", expect=())

    def test_policy_that_cannot_be_had(self):
        _, noted = self.look(self.url, "kms-policy=/nonexistent", expect=())
        self.assertIn("the key policy of /nonexistent: cannot read", noted)


class Tree(AwsCase):
    def test_a_tree_asks_nobody(self):
        _, report = self.doctor("--root", self.lab.path("tree", make=True), self.url, who="operator")
        self.assertIn("a tree is not a machine that runs", str(report["not_looked_at"]))
        # What sealed the model has not listed anything; the log may have late what it did.
        self.assertEqual([entry for entry in self.lab.s3.log() if "list-type" in entry["query"]], [])


if __name__ == "__main__":
    common.main()
