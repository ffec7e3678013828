#!/usr/bin/python3
"""The second reader against the vectors, and fs-verity digests against the fsverity tool.

Run: /usr/bin/python3 tests/oracle/test_format.py
Job: every positive vector reads, every negative one is refused with its own class, the
vectors come out of their generator byte for byte, and the digests are those of `fsverity`.
"""

import errno
import hashlib
import hmac
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors", "format")
sys.path.insert(0, HERE)

import read_sealed  # noqa: E402
import sealedformat as sf  # noqa: E402
import tpmslot  # noqa: E402
import verity  # noqa: E402

LENGTHS = (0, 1, 4095, 4096, 4097, 524287, 524288, 524289, 3 * 524288 + 7)


def _path(relative):
    return os.path.join(VECTORS, relative)


def _index():
    with open(_path("index.json"), encoding="utf-8") as stream:
        return json.load(stream)


def _keys_of(vector):
    keys = vector["keys"]
    return {
        "kek": sf.load_kek(_path(keys["kek"])) if "kek" in keys else None,
        "data_key": sf.load_data_key(_path(keys["data_key"])) if "data_key" in keys else None,
        "owner_keys": [sf.load_owner_key(_path(p)) for p in vector["owner_keys"]],
    }


def _read(vector):
    """Opens a vector as far as it goes; returns (seal, plaintext or None)."""
    raw = sf.load_seal_file(_path(vector["files"]["seal"]))
    seal, keys = sf.open_seal(raw, path=vector.get("open_as"), **_keys_of(vector))
    if vector["files"]["payload"] is None:
        return seal, None
    with open(_path(vector["files"]["payload"]), "rb") as payload:
        return seal, b"".join(sf.read_payload(seal, keys, payload))


class Vectors(unittest.TestCase):
    def test_positive(self):
        seen = set()
        for vector in _index()["vectors"] + _index()["extended"]:
            if vector["expected"] != "ok":
                continue
            with self.subTest(vector["id"]):
                self._check_positive(vector)
                seen.add(vector["length"])
        self.assertLessEqual(set(LENGTHS), seen)

    def _check_positive(self, vector):
        seal, plain = _read(vector)
        self.assertEqual(seal.length, vector["length"])
        self.assertEqual(seal.path, vector["path"])
        self.assertEqual(seal.sealed_at, vector["sealed_at"])
        self.assertEqual(sf.make_facts(seal.facts).decode(), vector["facts"])
        self.assertEqual(seal.file_id.hex(), vector["file_id"])
        self.assertEqual([s.type for s in seal.slots], vector["slot_types"])
        self.assertEqual(seal.verity.hex(), vector["verity"])
        self.assertEqual(plain is not None, vector["readable"])
        signer = seal.signer_id.hex() if seal.sig_alg else None
        self.assertEqual(signer, vector["signed_by"])
        if plain is not None:
            self.assertEqual(hashlib.sha256(plain).hexdigest(), vector["sha256"])
            self.assertEqual(hashlib.sha384(plain).hexdigest(), vector["sha384"])
            self.assertEqual(verity.digest_of_bytes(plain).hex(), vector["verity"])

    def test_negative(self):
        index = _index()
        classes = set()
        for vector in index["vectors"] + index["extended"]:
            expected = vector["expected"]
            if expected == "ok":
                continue
            with self.subTest(vector["id"]):
                with self.assertRaises(sf.Refused) as caught:
                    _read(vector)
                refusal = caught.exception
                self.assertEqual(refusal.word, expected["class"])
                self.assertEqual(refusal.stage, expected["stage"])
                self.assertEqual(refusal.errno, getattr(errno, expected["errno"]))
                classes.add(refusal.word)
        self.assertEqual(classes, set(sf.CLASSES))


class TpmSlots(unittest.TestCase):
    """What a TPM does with a slot for it."""

    def test_derivations(self):
        made = _index()["derivations"]["tpm_slot"]
        private = ec.derive_private_key(int(made["storage_private"], 16), tpmslot.P256)
        public = tpmslot.storage_public(private.public_key())
        self.assertEqual(public.hex(), made["storage_key"])
        slot = tpmslot.parse(bytes.fromhex(made["body"]))
        self.assertEqual(slot.parent, hashlib.sha256(public).digest())
        self.assertEqual(tpmslot.policy(slot).hex(), made["policy"])
        self.assertEqual(tpmslot.object_name(slot).hex(), made["object_name"])
        data_key = sf.load_data_key(_path("keys/data-key.hex"))
        self.assertEqual(tpmslot.open_slot(slot, private), data_key)
        for changed in (slot._replace(values={**slot.values, 7: bytes(32)}),
                        slot._replace(values={4: slot.values[4]}),
                        slot._replace(unique=bytes(32)), slot._replace(integrity=bytes(32)),
                        slot._replace(sensitive=bytes(74))):
            with self.assertRaises(ValueError):
                tpmslot.open_slot(changed, private)


class Generator(unittest.TestCase):
    def test_same_bytes(self):
        """What is checked in is what the generator makes: no file more, less or different."""
        with tempfile.TemporaryDirectory() as made:
            subprocess.run(
                [sys.executable, _path("make_vectors.py"), made], check=True, capture_output=True
            )
            self.assertEqual(_contents(made), _contents(VECTORS))

    def test_every_object_is_used(self):
        index = _index()
        used = {"index.json"}
        for vector in index["vectors"] + index["extended"]:
            used.update(path for path in vector["files"].values() if path)
            used.update(vector["keys"].values(), vector["owner_keys"])
        present = {path for path in _contents(VECTORS) if not path.startswith("keys/")}
        self.assertEqual(present, {path for path in used if not path.startswith("keys/")})


def _contents(root):
    """The generated files under root: relative path -> SHA-256."""
    found = {}
    for folder, _, files in os.walk(root):
        for base in files:
            full = os.path.join(folder, base)
            relative = os.path.relpath(full, root)
            if relative == "index.json" or relative.startswith(("seals/", "payloads/", "keys/")):
                with open(full, "rb") as stream:
                    found[relative] = hashlib.sha256(stream.read()).hexdigest()
    return found


class KeySchedule(unittest.TestCase):
    """The worked values of index.json, by an HKDF written out from RFC 5869."""

    def test_derivations(self):
        for case in _index()["derivations"]["key_schedule"]:
            salt, ikm, info = (bytes.fromhex(case[key]) for key in ("salt", "data_key", "info"))
            prk = hmac.digest(salt, ikm, "sha256")
            okm, block = b"", b""
            for counter in (1, 2, 3, 4):
                block = hmac.digest(prk, block + info + bytes([counter]), "sha256")
                okm += block
            self.assertEqual(case["payload_key"], okm[:32].hex())
            self.assertEqual(case["base_nonce"], okm[32:44].hex())
            self.assertEqual(case["commitment"], okm[44:76].hex())
            self.assertEqual(case["slot_mac_key"], okm[76:108].hex())
            nonce = int.from_bytes(okm[32:44], "big") ^ 1
            self.assertEqual(case["nonce_of_chunk_1"], nonce.to_bytes(12, "big").hex())

    def test_set_slot(self):
        """The slot of a set's member, unwrapped by its own words."""
        derived = _index()["derivations"]
        case, file_id = derived["set_slot"], bytes.fromhex(derived["key_schedule"][0]["salt"])
        prk = hmac.digest(file_id, bytes.fromhex(case["member_key"]), "sha256")
        key = hmac.digest(prk, b"sealedfs set member\1", "sha256")
        self.assertEqual(case["slot_key"], key.hex())
        body = bytes.fromhex(case["body"])
        self.assertEqual(len(body), 92)
        set_id, nonce, wrapped = body[:32], body[32:44], body[44:]
        data_key = AESGCM(key).decrypt(nonce, wrapped, set_id + file_id)
        self.assertEqual(data_key.hex(), derived["key_schedule"][0]["data_key"])

    def test_limits(self):
        self.assertEqual(sf.MIN_SEAL_BYTES, 4096)
        self.assertEqual(sf.MAX_SEAL_BYTES, 1610633216)
        offsets = {1: 4096, 2: 8192, 5: 8192, 6: 12288, 9: 12288, 10: 16384, 13: 16384, 14: 20480,
                   16: 20480}  # fmt: skip
        for slots, offset in offsets.items():
            self.assertEqual(sf.table_offset(slots), offset)


@unittest.skipUnless(shutil.which("fsverity"), "the fsverity tool is not installed")
class AgainstFsverity(unittest.TestCase):
    """Our fs-verity digests against those of fsverity-utils."""

    def _compare(self, data):
        with tempfile.NamedTemporaryFile() as plain:
            plain.write(data)
            plain.flush()
            said = subprocess.run(
                ["fsverity", "digest", "--compact", "--hash-alg=sha256", "--block-size=4096",
                 plain.name],
                check=True, capture_output=True, text=True,
            ).stdout.strip()  # fmt: skip
            self.assertEqual(verity.digest_of_file(plain.name).hex(), said)
            self.assertEqual(verity.digest_of_bytes(data).hex(), said)
        return said

    def test_vectors(self):
        by_length = {}
        for vector in _index()["vectors"]:
            if vector["expected"] == "ok" and vector["readable"]:
                by_length.setdefault(vector["length"], vector)
        for length in LENGTHS:
            with self.subTest(length):
                plain = _read(by_length[length])[1]
                self.assertEqual(len(plain), length)
                self.assertEqual(self._compare(plain), by_length[length]["verity"])

    def test_deeper_trees(self):
        """Around 128 chunks the tree grows by a level; 70 MB is well beyond."""
        edge = 128 * verity.CHUNK_BYTES
        seed = random.randrange(1 << 32)
        data = random.Random(seed).randbytes(70_000_000)
        for length in (edge - 1, edge, edge + 1, edge + 4097, len(data)):
            with self.subTest(length=length, seed=seed):
                self._compare(data[:length])

    def test_random_lengths(self):
        seed = random.randrange(1 << 32)
        source = random.Random(seed)
        for _ in range(20):
            length = source.randrange(3 * verity.CHUNK_BYTES)
            with self.subTest(length=length, seed=seed):
                self._compare(source.randbytes(length))


class CommandLine(unittest.TestCase):
    """read_sealed.py as other tests call it."""

    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.root = self._folder.name
        index = _index()
        self.vectors = {v["id"]: v for v in index["vectors"] + index["extended"]}

    def _run(self, *arguments):
        command = [sys.executable, os.path.join(HERE, "read_sealed.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _read_vector(self, ident, out):
        vector = self.vectors[ident]
        options = ["--owner-key=" + _path(path) for path in vector["owner_keys"]]
        keys = vector["keys"]
        options.append(
            "--kek=" + _path(keys["kek"])
            if "kek" in keys
            else "--key-hex-file=" + _path(keys["data_key"])
        )
        if "open_as" in vector:
            options.append("--path=" + vector["open_as"])
        files = vector["files"]
        payload = _path(files["payload"]) if files["payload"] else os.devnull
        return self._run(_path(files["seal"]), payload, "-o", out, *options)

    def _place(self, ident, folder, name=None):
        """Copies a vector to where its writer would have put it."""
        vector = self.vectors[ident]
        seal = sf.Seal(sf.load_seal_file(_path(vector["files"]["seal"])))
        name = name or seal.path
        os.makedirs(os.path.join(self.root, folder), exist_ok=True)
        for source, target in (
            (vector["files"]["seal"], name + ".seal"),
            (vector["files"]["payload"], sf.payload_name(name, seal.file_id)),
        ):
            shutil.copy(_path(source), os.path.join(self.root, folder, target))

    def test_read(self):
        out = os.path.join(self.root, "out")
        for ident in ("len-524289-signed", "len-0", "slots-kms"):
            done = self._read_vector(ident, out)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            with open(out, "rb") as stream:
                digest = hashlib.sha256(stream.read()).hexdigest()
            self.assertEqual(digest, self.vectors[ident]["sha256"])

    def test_refuse(self):
        out = os.path.join(self.root, "out")
        by_class = {}
        for vector in self.vectors.values():
            if vector["expected"] != "ok":
                by_class.setdefault(vector["expected"]["class"], vector["id"])
        self.assertEqual(set(by_class), set(sf.CLASSES))
        for word, ident in by_class.items():
            with self.subTest(ident):
                done = self._read_vector(ident, out)
                self.assertEqual(done.returncode, 3)
                self.assertEqual(done.stderr.split(":")[0], word)
                self.assertEqual(os.listdir(self.root), [])

    def test_usage(self):
        vector = self.vectors["len-1"]
        seal, payload = (_path(vector["files"][part]) for part in ("seal", "payload"))
        self.assertEqual(self._run(seal, payload).returncode, 2)
        self.assertEqual(self._run(seal, "--kek", _path("keys/kek.key")).returncode, 2)
        wrong = self._run(seal, payload, "--kek", _path("keys/data-key.hex"))
        self.assertEqual(wrong.returncode, 2)
        self.assertEqual(self._run("/nonexistent", payload, "--kek", _path("keys/kek.key"))
                         .returncode, 1)  # fmt: skip

    def test_tree(self):
        kek = ["--kek", _path("keys/kek.key")]
        self.assertEqual(self._run("--tree", self.root, *kek).returncode, 1)
        self._place("len-4097", ".")
        self._place("len-0", "a/b")
        done = self._run("--tree", self.root, *kek)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "model.gguf\tok\na/b/model.gguf\tok\n")
        self._place("len-1", "c", "renamed.gguf")
        self._place("chunk-flip-last", "d")
        os.unlink(os.path.join(self.root, "a/b", self._payload_of("len-0")))
        done = self._run("--tree", self.root, *kek)
        self.assertEqual(done.returncode, 3)
        results = dict(line.split("\t") for line in done.stdout.splitlines())
        self.assertEqual(results["model.gguf"], "ok")
        self.assertTrue(results["a/b/model.gguf"].startswith("unreadable:"))
        self.assertTrue(results["c/renamed.gguf"].startswith("wrong-name:"))
        self.assertTrue(results["d/model.gguf"].startswith("bad-chunk:"))

    def test_tree_against_plaintexts(self):
        sealed, plain = os.path.join(self.root, "sealed"), os.path.join(self.root, "plain")
        self._place("len-4097", "sealed")
        os.mkdir(plain)
        target = os.path.join(plain, "model.gguf")
        right = _read(self.vectors["len-4097"])[1]
        kek = sf.load_kek(_path("keys/kek.key"))
        for content, word in (
            (right, None), (right + b"x", "differs"), (right[:-1], "differs"),
            (right[:-1] + b"x", "differs"), (None, "unreadable"),
        ):  # fmt: skip
            if content is None:
                os.unlink(target)
            else:
                with open(target, "wb") as stream:
                    stream.write(content)
            [(name, failure)] = read_sealed.verify_tree(sealed, kek=kek, plain_root=plain)
            self.assertEqual(name, "model.gguf")
            self.assertEqual(failure and failure.split(":")[0], word)

    def _payload_of(self, ident):
        seal = sf.Seal(sf.load_seal_file(_path(self.vectors[ident]["files"]["seal"])))
        return sf.payload_name(seal.path, seal.file_id)


class KeyFiles(unittest.TestCase):
    """The key file has one form."""

    def test_forms(self):
        good = b"sealedfs-kek-v1:" + b"0a" * 32 + b"\n"
        bad = (
            b"", good[:-1], good + b"\n", good[:-2] + b"\n", good.upper(), b" " + good,
            good.replace(b"v1", b"v2"), good.replace(b"0a", b"0A", 1), good[:-1] + b"\r\n",
            good[:20] + b"g" + good[21:], b"0a" * 32 + b"\n",
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "kek")

            def load(content):
                with open(path, "wb") as stream:
                    stream.write(content)
                return sf.load_kek(path)

            self.assertEqual(load(good), b"\x0a" * 32)
            for content in bad:
                with self.subTest(content), self.assertRaises(ValueError):
                    load(content)


if __name__ == "__main__":
    unittest.main()
