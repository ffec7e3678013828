"""What the cases about Nitro Enclaves share: a module instead of a TPM, and keys for its image."""

import hashlib
import json

import common

IMAGE = {index: hashlib.sha384(f"enclave image {index}".encode()).hexdigest() for index in (0, 1, 2)}


class Nsm(common.Emulator):
    """A Nitro Secure Module of an enclave whose image has IMAGE's PCRs."""

    def __init__(self, lab, name="nsm"):
        image = [word for index, value in IMAGE.items() for word in ("--pcr", f"{index}={value}")]
        super().__init__(lab, name, "nsm.py", "--state", lab.path(name), "--ca", lab.path("ca"), "--socket",
                         lab.path(name + ".socket"), *image)
        self.tcti = "nsm:unix:" + self.values["socket"]
        self.root = self.values["root"]

    def state(self):
        return json.loads(self.ask("GET", "state"))

    def pcr(self, index):
        return self.state()["pcrs"][index]

    def restart(self):
        """A fresh enclave."""
        self.ask("POST", "restart")

    def operations(self):
        """The names of what was asked; fails if any request was not as AWS's library sends it."""
        entries = self.log()
        bad = [entry for entry in entries if entry["verdict"] == "malformed"]
        if bad:
            raise AssertionError(f"malformed requests: {bad}")
        return [entry["operation"] for entry in entries]


class EnclaveCase(common.Case):
    """alias/enclave opens for the image's PCR 0 only; a model of one owner in S3."""

    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        lab = cls.lab
        cls.nsm = Nsm(lab)
        cls.owner_arn = "arn:aws:iam::111122223333:role/owner"
        cls.enclave_arn = "arn:aws:iam::111122223333:role/enclave"
        cls.put_key("alias/enclave", IMAGE[0])
        cls.private, cls.public = lab.owner_key()
        cls.plain = common.make_model(lab.path("plain", "m.gguf"), 3 * common.MIB + 5, 1)
        lab.seal(cls.plain, lab.s3_url("prod/"), "--kms-key", "alias/enclave", "--sign", cls.private)

    @classmethod
    def put_key(cls, alias, image):
        """A key that enclaves of this PCR 0 may decrypt with, and the owner may encrypt with."""
        policy = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": cls.owner_arn}, "Action": "kms:GenerateDataKey", "Resource": "*"},
            {"Effect": "Allow", "Principal": {"AWS": cls.enclave_arn}, "Action": "kms:Decrypt", "Resource": "*",
             "Condition": {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": image}}}]}
        people = {cls.lab.access_keys["owner"]: cls.owner_arn, cls.lab.access_keys["operator"]: cls.enclave_arn}
        return cls.lab.kms.put_policy(alias, policy, people)

    def setUp(self):
        self.nsm.restart()
        self.nsm.clear_log()
        self.events = self.lab.path("events-" + self.id().rpartition(".")[2])

    def options(self, *more):
        return ",".join((f"tcti={self.nsm.tcti}", "owner-key=" + self.public, "event-log=" + self.events, *more))
