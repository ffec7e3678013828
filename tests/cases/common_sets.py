"""What the cases about mounted sets share: a writer of set objects, made from crypto/FORMAT.md
section 11, that writes what an attacker would write, too."""

import hashlib
import hmac
import os
import struct
import time

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import common
from common import CHUNK

import sealedformat as sf
import sealwriter


OBJECT = "sealed.set"


def entry(path, core, description=bytes(32), **changed):
    """A row of the member table for a seal's core."""
    fields = dict(zip((name for name, _ in sf.CORE_FIELDS), sf.CORE.unpack(core)))
    fields.update(digest=hashlib.sha384(core).digest(), description=description, **changed)
    raw = path.encode()
    return (struct.pack("<H", len(raw)) + raw + fields["file_id"] + fields["digest"]
            + struct.pack("<Q", fields["length"]) + fields["sha256"] + fields["sha384"]
            + fields["verity"] + description)


def content_digest(rows):
    """From rows of entry()."""
    state = hashlib.sha256(b"sealedfs set content v1\0" + struct.pack("<Q", len(rows)))
    for row in rows:
        size = 2 + struct.unpack_from("<H", row)[0]
        length = size + 32 + 48
        verity = length + 8 + 32 + 48
        state.update(row[:size] + row[length:length + 8] + row[verity:])
    return state.digest()


class SetWriter:
    """Sets of one id and key over the seals of a folder, which a key file opens."""

    def __init__(self, folder, key_file, owner=None, name="weights", set_id=None):
        self.folder, self.kek = folder, sf.load_kek(key_file)
        self.id, self.key, self.name = set_id or os.urandom(32), os.urandom(32), name
        self.owner = None
        if owner:
            with open(owner, "rb") as pem:
                self.owner = serialization.load_pem_private_key(pem.read(), None)
        self.header = b""

    def member_key(self):
        return self.keys(bytes(8) + struct.pack("<HHI", 1, 1, 0) + self.id)[:32]

    def keys(self, header):
        return sf._hkdf(self.id, self.key, b"sealedfs set v1" + header[0x08:0x30], 96)

    def seal_path(self, path):
        return os.path.join(self.folder, path + ".seal")

    def paths(self):
        """Of all models in the folder, in the order of a member table."""
        found = []
        for where, _, names in os.walk(self.folder):
            found += [os.path.relpath(os.path.join(where, name), self.folder)[:-5]
                      for name in names if name.endswith(".seal")]
        return sorted(found, key=str.encode)

    def admit(self, *paths, alone=False):
        """Gives seals a slot of this set; alone: instead of theirs."""
        for path in paths or self.paths():
            where = self.seal_path(path)
            raw = common.read_bytes(where)
            seal = sf.Seal(raw)
            data_key = next((key for key in sf.unwrapped(seal, self.kek) if key), None)
            if data_key is None:
                continue  # it was admitted alone
            body = sealwriter.set_body(self.id, self.member_key(), data_key, seal.file_id,
                                       os.urandom(12))
            slots = b"" if alone else seal.slots_raw
            slots += sealwriter.slot(sf.SLOT_SET, body)
            count = len(slots) // sf.SLOT_BYTES
            mac = sf.slot_mac(sf.derive_keys(data_key, seal.core).slot_mac, seal.core, count, slots)
            head = raw[:sf.SLOT_HEADER_AT] + struct.pack("<H30s32s", count, b"", mac) + slots
            write(where, head + bytes(-len(head) % sf.TABLE_ALIGN) + seal.tags + seal.entries)

    def rows(self, paths=None, **changed):
        """Rows for the seals as they lie there."""
        cores = {path: common.read_bytes(self.seal_path(path))[:sf.CORE_BYTES]
                 for path in paths or self.paths()}
        digest = sf.CORE.unpack
        names = [name for name, _ in sf.CORE_FIELDS]
        found = []
        for path, core in cores.items():
            described = cores.get(path + ".ollama")
            description = (dict(zip(names, digest(described)))["sha256"] if described
                           else bytes(32))
            found.append(entry(path, core, description, **changed))
        return found

    def make(self, version=1, rows=None, created=None, expires=0, **changed):
        """The bytes of a set object; changed: id, content, table_hash, signed_header, slots."""
        rows = self.rows() if rows is None else rows
        table = b"".join(rows)
        name = self.name.encode()
        head = b"sealdset" + struct.pack("<HHI", 1, 1, 0) + self.id
        okm = self.keys(head)
        head += struct.pack("<QQQII", version, int(time.time()) if created is None else created,
                            expires, len(rows), len(table))
        head += changed.get("table_hash", hashlib.sha256(table).digest())
        head += changed.get("content", content_digest(rows)) + okm[32:64]
        head += struct.pack("<HH12s", len(name), 0, b"") + name.ljust(256, b"\0")
        head = head.ljust(sf.CORE_BYTES, b"\0")
        self.header = head
        block = bytes(sf.SIGNATURE_BLOCK_BYTES)
        if self.owner:
            message = b"sealedfs set v1\0" + hashlib.sha384(head).digest()
            block = (struct.pack("<H", sf.SIG_ED25519) + sf.signer_id(self.owner.public_key())
                     + self.owner.sign(message)).ljust(sf.SIGNATURE_BLOCK_BYTES, b"\0")
        nonce = os.urandom(12)
        slots = changed.get("slots") or sealwriter.slot(
            sf.SLOT_KEYFILE, sf.kek_id(self.kek) + nonce
            + AESGCM(self.kek).encrypt(nonce, self.key, self.id))
        count = len(slots) // sf.SLOT_BYTES
        mac = hmac.digest(okm[64:], head + struct.pack("<H", count) + slots, "sha256")
        head += block + struct.pack("<H30s32s", count, b"", mac) + slots
        return head + bytes(-len(head) % sf.TABLE_ALIGN) + table

    def put(self, version=1, **how):
        """Writes the object as writers do: at once."""
        raw = self.make(version, **how)
        write(os.path.join(self.folder, OBJECT), raw)
        return raw


def write(path, raw):
    with open(path + ".part", "wb") as out:
        out.write(raw)
    os.replace(path + ".part", path)


class SetCase(common.Case):
    """A folder with a few models that a key file opens, and their set: self.set."""

    NAMES = ("a.bin", "b.bin", "dir/c.bin")
    SIZE = CHUNK + 4097
    MEASURE = ("attest=none", "measure=none")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.pem, cls.pub = cls.lab.owner_key()

    def setUp(self):
        self.dir = self.lab.path(self.id().rsplit(".", maxsplit=1)[-1], make=True)
        self.plain = os.path.join(self.dir, "plain")
        self.sealed = os.path.join(self.dir, "sealed")
        for seed, name in enumerate(self.NAMES):
            self.model(os.path.join(self.plain, name), seed)
        self.seal()
        self.set = SetWriter(self.sealed, self.key, self.pem)
        self.set.admit()

    def model(self, path, seed, size=None):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return common.make_model(path, self.SIZE if size is None else size, seed)

    def seal(self, *more, to=None):
        self.lab.seal(self.plain, to or self.sealed, "--key-file", self.key, "--sign", self.pem,
                      "-q", *more)

    def options(self, *more):
        return ("key-file=" + self.key, "owner-key=" + self.pub, *self.MEASURE, *more)

    def mount(self, *more, source=None, **how):
        return self.lab.mount(source or self.sealed, *self.options(*more), **how)

    def refused(self, code, *words, options=()):
        self.assert_result(self.lab.mount_fails(self.sealed, *self.options(*options)), code, *words)

    def assert_serves(self, mount, *names):
        for name in names or self.NAMES:
            self.assertEqual(common.digest(mount.join(name)),
                             common.digest(os.path.join(self.plain, name)), name)

    def reload(self, mount, code=common.OK, *words):
        self.assert_result(self.lab.run(common.SEALEDFS, "--reload", mount.path), code, *words)
