#!/usr/bin/python3
"""Reading the listing again while the mount serves: what appears, what goes, who is disturbed."""

import contextlib
import os
import shutil
import threading

import common
from common import CHUNK, FAILURE, MIB, OK


class Reloading(common.Case):
    """Helpers. The source is self.sealed; plaintexts lie in self.plain."""

    def setUp(self):
        self.dir = self.lab.path(self.id().rsplit(".", maxsplit=1)[-1], make=True)
        self.sealed = os.path.join(self.dir, "sealed")
        self.plain = os.path.join(self.dir, "plain")
        os.makedirs(self.plain)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()

    def options(self, *more):
        return ("key-file=" + self.key, "attest=none", "measure=none", *more)

    def seal(self, name, size, seed=0, *more):
        path = os.path.join(self.plain, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        common.make_model(path, size, seed)
        self.lab.seal(self.plain, self.sealed, "--key-file", self.key, "-q", *more)
        return path

    def reload(self, mount, code=OK, *words):
        done = self.lab.run(common.SEALEDFS, "--reload", mount.path)
        self.assert_result(done, code, *words)

    def unseal(self, name):
        for entry in os.listdir(self.sealed):
            if entry.startswith(name + "."):
                os.unlink(os.path.join(self.sealed, entry))


class Directory(Reloading):
    """A directory as source, key file, no TPM."""

    def test_new_models_appear(self):
        self.seal("a.gguf", MIB)
        with self.lab.mount(self.sealed, *self.options()) as mount:
            self.assertEqual(os.listdir(mount.path), ["a.gguf"])
            inode = os.stat(mount.join("a.gguf")).st_ino
            for missing in ("b.gguf", "deep", "deep/c.gguf"):
                self.assertFalse(os.path.exists(mount.join(missing)))
            plain = self.seal("b.gguf", 2 * MIB, 1)
            self.seal("deep/c.gguf", 10, 2)
            self.assertEqual(os.listdir(mount.path), ["a.gguf"])
            self.reload(mount)
            self.assertEqual(sorted(os.listdir(mount.path)), ["a.gguf", "b.gguf", "deep"])
            self.assertEqual(common.digest(mount.join("b.gguf")), common.digest(plain))
            self.assertEqual(os.listdir(mount.join("deep")), ["c.gguf"])
            self.assertEqual(os.stat(mount.path).st_nlink, 3)
            # Sealing the folder again gave a.gguf another file id: another file.
            self.assertNotEqual(os.stat(mount.join("a.gguf")).st_ino, inode)

    def test_unchanged_models_stay(self):
        self.seal("a.gguf", 3 * MIB)
        with self.lab.mount(self.sealed, *self.options()) as mount:
            inode = os.stat(mount.join("a.gguf")).st_ino
            common.digest(mount.join("a.gguf"))
            # Whoever read it from the source again would find that it is gone.
            (payload,) = [name for name in os.listdir(self.sealed) if name.endswith(".sealed")]
            with open(os.path.join(self.sealed, payload), "r+b") as damaged:
                damaged.write(bytes(CHUNK))
            for _ in range(3):
                self.reload(mount)
                self.assertEqual(os.stat(mount.join("a.gguf")).st_ino, inode)
                self.assertEqual(common.digest(mount.join("a.gguf")),
                                 common.digest(os.path.join(self.plain, "a.gguf")))

    def test_replaced_model_is_another_file(self):
        path = self.seal("a.gguf", 4 * MIB)
        with self.lab.mount(self.sealed, *self.options()) as mount:
            before = common.digest(path)
            with open(mount.join("a.gguf"), "rb", buffering=0) as held:
                held.read(1)
                old = os.fstat(held.fileno())
                self.seal("a.gguf", 5 * MIB, 7)
                self.reload(mount)
                new = os.stat(mount.join("a.gguf"))
                self.assertNotEqual(new.st_ino, old.st_ino)
                self.assertEqual(new.st_size, 5 * MIB)
                self.assertEqual(common.digest(mount.join("a.gguf")), common.digest(path))
                # The old one goes on: its attributes, pages that were never read, a second open.
                self.assertEqual(os.fstat(held.fileno()).st_size, 4 * MIB)
                self.assertEqual(common.digest(f"/proc/self/fd/{held.fileno()}"), before)
                self.reload(mount)
                self.assertEqual(held.read(MIB), common.model_bytes(MIB + 1)[1:])
            # Closed by its last reader: nothing is left of it after the next reload.
            self.reload(mount)
            self.assertEqual(common.digest(mount.join("a.gguf")), common.digest(path))

    def test_removed_models_go(self):
        for name in ("a.gguf", "b.gguf", "deep/c.gguf"):
            self.seal(name, MIB)
        with self.lab.mount(self.sealed, *self.options()) as mount:
            common.digest(mount.join("b.gguf"))
            held = os.open(mount.join("a.gguf"), os.O_RDONLY)
            self.unseal("a.gguf")
            shutil.rmtree(os.path.join(self.sealed, "deep"))
            self.reload(mount)
            self.assertEqual(os.listdir(mount.path), ["b.gguf"])
            for gone in ("a.gguf", "deep", "deep/c.gguf"):
                with self.assertRaises(FileNotFoundError):
                    os.stat(mount.join(gone))
            self.assertEqual(os.fstat(held).st_size, MIB)
            os.close(held)

    def test_broken_model_is_mended(self):
        self.seal("a.gguf", MIB)
        (payload,) = [name for name in os.listdir(self.sealed) if name.endswith(".sealed")]
        payload = os.path.join(self.sealed, payload)
        os.rename(payload, payload + ".away")
        with self.lab.mount(self.sealed, *self.options()) as mount:
            self.assert_io_error(mount.join("a.gguf"))
            os.rename(payload + ".away", payload)
            self.reload(mount)
            self.assertEqual(common.digest(mount.join("a.gguf")),
                             common.digest(os.path.join(self.plain, "a.gguf")))

    def test_poisoned_model_is_mended(self):
        self.seal("a.gguf", 2 * MIB)
        (payload,) = [name for name in os.listdir(self.sealed) if name.endswith(".sealed")]
        payload = os.path.join(self.sealed, payload)
        shutil.copy(payload, payload + ".good")
        with open(payload, "r+b") as damaged:
            damaged.seek(CHUNK + 5)
            damaged.write(b"damage")
        with self.lab.mount(self.sealed, *self.options()) as mount:
            with self.assertRaises(OSError):
                common.digest(mount.join("a.gguf"))
            os.rename(payload + ".good", payload)
            with self.assertRaises(OSError):
                common.digest(mount.join("a.gguf"))
            self.reload(mount)
            self.assertEqual(common.digest(mount.join("a.gguf")),
                             common.digest(os.path.join(self.plain, "a.gguf")))

    def test_readers_are_not_disturbed(self):
        """Reads, lookups and listings without end, while the listing changes under them."""
        size = 3 * MIB
        self.seal("steady.gguf", size, 3)
        wanted = common.digest(os.path.join(self.plain, "steady.gguf"))
        stop, failures = threading.Event(), []

        def read(mount):
            while not stop.is_set():
                try:
                    if common.digest(mount.join("steady.gguf")) != wanted:
                        failures.append("other bytes")
                    for name in os.listdir(mount.path):
                        with contextlib.suppress(FileNotFoundError):
                            os.stat(mount.join(name))
                except OSError as failure:
                    failures.append(repr(failure))

        with self.lab.mount(self.sealed, *self.options()) as mount:
            readers = [threading.Thread(target=read, args=(mount,)) for _ in range(4)]
            for reader in readers:
                reader.start()
            try:
                for turn in range(5 if common.QUICK else 20):
                    for name in os.listdir(self.plain):
                        os.unlink(os.path.join(self.plain, name))
                    if turn % 3 == 2:
                        self.unseal("guest.gguf")
                    else:
                        self.seal("guest.gguf", CHUNK + turn, turn, "--remove-old")
                    self.reload(mount)
                    self.assertEqual(os.path.exists(mount.join("guest.gguf")), turn % 3 != 2)
                    if turn % 3 != 2:
                        self.assertEqual(common.digest(mount.join("guest.gguf")),
                                         common.digest(os.path.join(self.plain, "guest.gguf")))
            finally:
                stop.set()
                for reader in readers:
                    reader.join()
        self.assertEqual(failures, [])

    def test_nobody_to_ask(self):
        done = self.lab.run(common.SEALEDFS, "--reload", self.dir)
        self.assert_result(done, FAILURE, "no sealedfs answers there")
        done = self.lab.run(common.SEALEDFS, "--reload", os.path.join(self.dir, "nowhere"))
        self.assert_result(done, FAILURE, "nowhere")


class S3(Reloading):
    """A bucket as source, KMS and a TPM: what is asked and measured again."""

    PARTS = ("tpm", "kms", "s3")

    def seal_to(self, name, size, seed):
        path = common.make_model(os.path.join(self.plain, name), size, seed)
        self.lab.seal(path, self.prefix() + "/", "--kms-key", "alias/models", "-q")
        return path

    def prefix(self):
        return self.lab.s3_url(os.path.basename(self.dir))

    def test_only_what_is_new_is_unlocked_and_measured(self):
        first = self.seal_to("a.gguf", MIB, 1)
        with self.lab.mount(self.prefix(), "measure-when=mount") as mount:
            self.lab.kms.clear_log()
            before = self.lab.tpm.pcr("sha384")
            self.reload(mount)
            self.assertEqual(self.lab.kms.log(), [])
            self.assertEqual(self.lab.tpm.pcr("sha384"), before)
            second = self.seal_to("b.gguf", MIB, 2)
            self.lab.kms.clear_log()
            self.reload(mount)
            decrypts = [entry for entry in self.lab.kms.log() if "Decrypt" in str(entry)]
            self.assertEqual(len(decrypts), 1, decrypts)
            self.assertNotEqual(self.lab.tpm.pcr("sha384"), before)
            for path in (first, second):
                self.assertEqual(common.digest(mount.join(os.path.basename(path))),
                                 common.digest(path))

    def test_server_that_fails_changes_nothing(self):
        path = self.seal_to("a.gguf", MIB, 1)
        with self.lab.mount(self.prefix()) as mount:
            self.assertEqual(common.digest(mount.join("a.gguf")), common.digest(path))
            self.lab.s3.stop()
            self.reload(mount, FAILURE, "listing could not be read")
            self.assertIn("the listing stays as it was", mount.log())
            self.assertEqual(os.listdir(mount.path), ["a.gguf"])
            self.assertEqual(common.digest(mount.join("a.gguf")), common.digest(path))


if __name__ == "__main__":
    common.main()
