"""What the cases of rewrap share: who is a recipient, as the second reader sees it."""

import os

import common
import sealedformat as sf


def slots(path):
    return sf.Seal(common.read_bytes(path)).slots


def key_id(path):
    """Of a key file, as `sealctl recipients` shows it."""
    return sf.kek_id(sf.load_kek(path)).hex()


def arns(path):
    """Of the KMS slots of a seal."""
    found = [slot.body for slot in slots(path) if slot.type == sf.SLOT_KMS]
    return [body[2:2 + int.from_bytes(body[:2], "little")].decode() for body in found]


def key_ids(path):
    return [slot.body[:16].hex() for slot in slots(path) if slot.type == sf.SLOT_KEYFILE]


def opens(path, key, owner=None):
    """Whether the second reader opens the seal with a key file; everything is checked."""
    owners = [sf.load_owner_key(owner)] if owner else ()
    try:
        sf.open_seal(common.read_bytes(path), sf.load_kek(key), None, owners, None)
    except sf.Refused as refusal:
        if refusal.word != "no-recipient":
            raise
        return False
    return True


class RewrapCase(common.Case):
    """Three key files, an owner, and models that key file `a` opens; each test in a place of its
    own: self.dest, which self.folder shows as files."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b, cls.c = (cls.lab.key_file(name) for name in "abc")
        cls.pem, cls.pub = cls.lab.owner_key()

    def setUp(self):
        name = self.id().rsplit(".", 1)[1]
        self.top = self.lab.path(name, make=True)
        self.plain = os.path.join(self.top, "plain")
        os.mkdir(self.plain)
        self.dest = self.folder = os.path.join(self.top, "sealed")

    def model(self, name, size=700_000):
        path = os.path.join(self.plain, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return common.make_model(path, size, len(os.listdir(self.plain)))

    def seal(self, *more):
        self.lab.seal(self.plain, self.dest, "--sign", self.pem, "-q",
                      *(more or ("--key-file", self.a)))

    def seal_of(self, name):
        return os.path.join(self.folder, name + ".seal")

    def rewrap(self, *args, place=None, expect=common.OK, **how):
        return self.lab.sealctl("rewrap", place or self.dest, *args, expect=expect, **how)
