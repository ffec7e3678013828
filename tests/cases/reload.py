#!/usr/bin/python3
"""Reading the listing again while the mount serves: what appears, what goes, who is disturbed."""

import collections
import contextlib
import ctypes
import errno
import fcntl
import glob
import hashlib
import mmap
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import unittest

import common
from common import CHUNK, FAILURE, MIB, OK


LIBC = ctypes.CDLL(None, use_errno=True)
SYS_GETDENTS64 = {"x86_64": 217}.get(platform.machine(), 61)


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


class Asking(Reloading):
    """Who is asked for a reload, and who may ask."""

    def bystander(self):
        """A process that ends when somebody signals it."""
        process = subprocess.Popen(["sleep", "300"])
        self.addCleanup(common.end, process)
        return process

    def test_numbers_name_nobody(self):
        """MAINPID of another unit, as a shell inherits it."""
        self.seal("a.bin", MIB)
        other = self.bystander()
        with self.lab.mount(self.sealed, *self.options()) as mount:
            self.seal("b.bin", MIB)
            done = self.lab.run(common.SEALEDFS, "--reload", mount.path,
                                extra={"MAINPID": str(other.pid)})
            self.assert_result(done, OK)
            self.assertEqual(sorted(os.listdir(mount.path)), ["a.bin", "b.bin"])
        self.assertIsNone(other.poll())

    def test_daemon_of_another_pid_namespace(self):
        """Its own number is a bystander's here."""
        self.seal("a.bin", MIB)
        share = self.lab.path("share", make=True)
        other = self.bystander()
        subprocess.run(["mount", "--bind", share, share], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", share], check=False)
        subprocess.run(["mount", "--make-shared", share], check=True)
        at = os.path.join(share, "mnt")
        os.mkdir(at)
        script = (f"mount -t proc proc /proc; echo {other.pid - 1} >/proc/sys/kernel/ns_last_pid;"
                  f'"$@" & echo $! >"{self.dir}/inner"; wait')
        inside = subprocess.Popen(
            ["unshare", "-mpf", "--propagation", "unchanged", "bash", "-c",
             'mount --make-private /proc; bash -c "$0" inner "$@"', script, common.SEALEDFS, self.sealed,
             at, "-f", "-o", ",".join(self.options())], env=self.lab.env())
        try:
            common.wait_for("the mount", lambda: common.is_mounted(at) and os.listdir(at), inside)
            self.assertEqual(common.read_text(os.path.join(self.dir, "inner")).strip(),
                             str(other.pid))
            self.seal("b.bin", MIB)
            self.assert_result(self.lab.run(common.SEALEDFS, "--reload", at), OK)
            self.assertEqual(sorted(os.listdir(at)), ["a.bin", "b.bin"])
            self.assertIsNone(other.poll())
        finally:
            subprocess.run(["umount", "-l", at], check=False)
            inside.wait(120)

    def test_only_root_and_the_daemon_may_ask(self):
        self.seal("a.bin", MIB)
        with self.lab.mount(self.sealed, *self.options("allow_other", "mode=0444")) as mount:
            os.chmod(self.lab.dir, 0o755)
            done = self.lab.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                common.SEALEDFS, "--reload", mount.path)
            self.assert_result(done, FAILURE, "not permitted")
            # Nothing else does anything, either, and other files know nothing of it.
            for path, command in ((mount.path, 0x8004F502), (mount.path, 0x8008F501),
                                  (mount.join("a.bin"), 0x8004F501)):
                with common.opened(path) as fd, self.assertRaises(OSError) as caught:
                    fcntl.ioctl(fd, command, bytes(8))
                self.assertEqual(caught.exception.errno, errno.ENOTTY)

    def test_only_the_root_is_taken(self):
        self.seal("deep/a.bin", MIB)
        elsewhere = self.lab.path("elsewhere", make=True)
        with self.lab.mount(self.sealed, *self.options()) as mount:
            for place in (mount.join("deep"), mount.join("deep/a.bin"), mount.join(".sealedfs")):
                done = self.lab.run(common.SEALEDFS, "--reload", place)
                self.assertEqual(done.code, FAILURE, done.err)
            self.assertIn(f"name the mount point: {mount.path}", done.err)
            for source, code in ((mount.join("deep"), FAILURE), (mount.path, OK)):
                subprocess.run(["mount", "--bind", source, elsewhere], check=True)
                try:
                    self.assertEqual(self.lab.run(common.SEALEDFS, "--reload", elsewhere).code, code)
                finally:
                    subprocess.run(["umount", "-l", elsewhere], check=True)
            self.assertNotIn("rror", mount.log())

    def test_many_ask_at_once(self):
        """Each of them sees what was there before it asked."""
        self.seal("a.bin", 10)
        with self.lab.mount(self.sealed, *self.options()) as mount:
            for turn in range(5):
                self.seal(f"{turn}.bin", 10)
                asking = [subprocess.Popen([common.SEALEDFS, "--reload", mount.path],
                                           env=self.lab.env()) for _ in range(8)]
                self.assertEqual([process.wait(60) for process in asking], [OK] * 8)
                self.assertIn(f"{turn}.bin", os.listdir(mount.path))

    @staticmethod
    def states(pid):
        """Of all threads of a process."""
        return {common.read_text(path).rsplit(")", 1)[1].split()[0]
                for path in glob.glob(f"/proc/{pid}/task/*/stat")}

    @unittest.skipIf(common.QUICK, "takes half a minute")
    def test_daemon_that_does_not_answer(self):
        self.seal("a.bin", 10)
        with self.lab.mount(self.sealed, *self.options()) as mount:
            mount.process.send_signal(signal.SIGSTOP)
            try:
                common.wait_for("all threads to stop", lambda: self.states(mount.pid) == {"T"})
                done = self.lab.run(common.SEALEDFS, "--reload", mount.path)
            finally:
                mount.process.send_signal(signal.SIGCONT)
            self.assert_result(done, common.UNREACHABLE, "does not answer")


class Listing(Reloading):
    """A directory that changes while somebody lists it."""

    COUNT, MORE = 2000, 700

    def entries(self, fd):
        """One getdents64(2); its names. Directories of C libraries read ahead."""
        buffer = ctypes.create_string_buffer(8192)
        size = LIBC.syscall(SYS_GETDENTS64, fd, buffer, len(buffer))
        self.assertGreaterEqual(size, 0, os.strerror(ctypes.get_errno()))
        names, at = [], 0
        while at < size:
            length = int.from_bytes(buffer.raw[at + 16:at + 18], sys.byteorder)
            names.append(os.fsdecode(buffer.raw[at + 19:at + length].split(b"\0")[0]))
            at += length
        return names

    def list_across(self, mount, change, before=1):
        """All names, with a change after so many calls."""
        with common.opened(mount.path, os.O_DIRECTORY) as fd:
            names = []
            for _ in range(before):
                names += self.entries(fd)
            change()
            while more := self.entries(fd):
                names += more
            again = os.lseek(fd, 0, os.SEEK_SET)
            self.assertEqual(again, 0)
            now = []
            while more := self.entries(fd):
                now += more
            self.assertEqual(sorted(now), sorted(os.listdir(mount.path) + [".", ".."]))
        return names

    def fill(self, folder, letter, count):
        for number in range(count):
            with open(self.lab.path(folder, f"{letter}{number:04}.bin"), "w",
                      encoding="ascii") as out:
                out.write(str(number))
        self.lab.seal(self.lab.path(folder), self.lab.path("sealed-" + folder), "--key-file",
                      self.key, "-q")
        return self.lab.path("sealed-" + folder)

    def test_what_stays_comes_once(self):
        source, more = self.fill("many", "m", self.COUNT), self.fill("more", "a", self.MORE)
        stays = {f"m{number:04}.bin" for number in range(self.COUNT)}

        def come():
            for name in os.listdir(more):
                shutil.copy(os.path.join(more, name), source)
            self.reload(mount)
            # Another listing puts the new content into the kernel's memory.
            os.listdir(mount.path)

        def go():
            for name in os.listdir(more):
                os.unlink(os.path.join(source, name))
            self.reload(mount)
            os.listdir(mount.path)

        with self.lab.mount(source, *self.options()) as mount:
            for before in (1, 3):
                for change in (lambda: None, come, go, come, lambda: self.reload(mount), go):
                    names = collections.Counter(self.list_across(mount, change, before))
                    self.assertEqual({name: names[name] for name in stays},
                                     dict.fromkeys(stays, 1))
                    self.assertEqual(max(names.values()), 1)
                    self.assertEqual((names["."], names[".."]), (1, 1))


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
        with self.lab.mount(self.prefix(), "ready=measured") as mount:
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
            done = self.lab.run(common.SEALEDFS, "--reload", mount.path)
            self.assert_result(done, FAILURE, "LIST s3://", "connect")
            # The mount works, but the operator has to see it until a reload succeeds.
            done = self.lab.sealctl("status", mount.path)
            self.assert_result(done, common.UNREACHABLE, "the last reload failed", "LIST s3://")
            self.assertIn("why: LIST s3://", done.out)
            self.assertEqual(os.listdir(mount.path), ["a.gguf"])
            self.assertEqual(common.digest(mount.join("a.gguf")), common.digest(path))


class UploadedAgain(Reloading):
    """The payload's bytes come again under its key: same seal, other ETag, or another file."""

    PARTS = ("s3",)
    SIZE = 24 * MIB
    ENDINGS = ((), ("fill=all",), ("fill=all", "stage=STAGE"), ("stage=STAGE", "fill=off"))

    def setUp(self):
        super().setUp()
        self.wanted = common.digest(common.make_model(os.path.join(self.plain, "a.gguf"),
                                                      self.SIZE, 5))

    def sources(self):
        """(folder behind the source, source) of a directory and of a bucket."""
        name = os.path.basename(self.dir)
        for folder, source in ((self.sealed, self.sealed),
                               (self.lab.s3.file(name), self.lab.s3_url(name))):
            self.lab.seal(self.plain, source, "--key-file", self.key, "-q")
            yield folder, source

    def payload(self, folder):
        (name,) = [name for name in os.listdir(folder) if name.endswith(".sealed")]
        return os.path.join(folder, name)

    def upload_again(self, folder):
        path = self.payload(folder)
        shutil.copyfile(path, path + ".again")
        os.rename(path + ".again", path)

    def mounted(self, source, options):
        stage = self.lab.path(f"stage.{self.id()}.{source.count('/')}.{len(options)}")
        return self.lab.mount(source, *self.options("memory=32M", *(
            option.replace("STAGE", stage) for option in options)))

    def assert_whole(self, mount):
        common.drop_cache(mount.join("a.gguf"))
        self.assertEqual(common.digest(mount.join("a.gguf")), self.wanted)
        self.assertNotIn("poisoned", str(self.lab.sealctl("status", mount.path)))

    def test_readers_go_on(self):
        """Who has it open or mapped reads on, and so does who opens it; with and without asking
        for the listing."""
        for folder, source in self.sources():
            for options in self.ENDINGS if source != self.sealed else self.ENDINGS[:2]:
                with self.subTest(source=source, options=options), \
                        self.mounted(source, options) as mount, \
                        open(mount.join("a.gguf"), "rb") as model, \
                        mmap.mmap(model.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                    inode = os.stat(mount.join("a.gguf")).st_ino
                    self.assertEqual(mapped[:9], common.model_bytes(9, 5))
                    for reload in (True, False, True):
                        self.upload_again(folder)
                        if reload:
                            self.reload(mount)
                        # The map last: its failure would be a signal.
                        mapped.madvise(mmap.MADV_DONTNEED)
                        common.drop_cache(mount.join("a.gguf"))
                        model.seek(0)
                        self.assertEqual(hashlib.sha256(model.read()).hexdigest(), self.wanted)
                        self.assert_whole(mount)
                        common.drop_cache(mount.join("a.gguf"))
                        self.assertEqual(hashlib.sha256(mapped).hexdigest(), self.wanted)
                    self.assertEqual(os.stat(mount.join("a.gguf")).st_ino, inode)

    def test_half_an_upload_is_no_poison(self):
        """Cut or gone for a time: its reads fail, and go on with the payload."""
        for folder, source in self.sources():
            with self.subTest(source=source), self.mounted(source, ("fill=off",)) as mount, \
                    common.opened(mount.join("a.gguf"), os.O_DIRECT) as model:
                path = self.payload(folder)
                shutil.copyfile(path, self.lab.path("kept"))
                for at, damage in ((16 * MIB, lambda name=path: os.truncate(name, MIB)),
                                   (8 * MIB, lambda name=path: os.unlink(name))):
                    damage()
                    self.assert_io_error_at(model, at)
                    shutil.copyfile(self.lab.path("kept"), path)
                    self.assertEqual(os.pread(model, 4096, at),
                                     common.model_bytes(at + 4096, 5)[-4096:])
                self.assert_whole(mount)

    def test_other_bytes_stay_poison(self):
        """A failed tag is for good, until a reload opens the model anew."""
        for folder, source in self.sources():
            with self.subTest(source=source), self.mounted(source, ("fill=off",)) as mount, \
                    common.opened(mount.join("a.gguf"), os.O_DIRECT) as model:
                path = self.payload(folder)
                shutil.copyfile(path, self.lab.path("kept"))
                with open(path, "r+b") as damaged:
                    damaged.seek(16 * MIB)
                    damaged.write(b"damage")
                self.assert_io_error_at(model, 16 * MIB)
                self.assertIn("changed on the server", mount.log())
                shutil.copyfile(self.lab.path("kept"), path)
                self.assert_io_error_at(model, 0)
                self.reload(mount)
                self.assert_io_error_at(model, 0)
                self.assert_whole(mount)

    def assert_io_error_at(self, model, offset):
        with self.assertRaises(OSError) as failure:
            os.pread(model, 4096, offset)
        self.assertEqual(failure.exception.errno, errno.EIO)

    def test_version_is_still_demanded(self):
        """What is read after it was uploaded again is asked for under the new ETag."""
        for folder, source in self.sources():
            if source == self.sealed:
                continue
            with self.mounted(source, ("fill=off",)) as mount:
                self.assert_whole(mount)
                self.upload_again(folder)
                self.reload(mount)
                self.assert_whole(mount)
                self.lab.s3.clear_log()
                self.assert_whole(mount)
                statuses = {entry["status"] for entry in self.lab.s3.log()
                            if (entry["key"] or "").endswith(".sealed")}
                self.assertEqual(statuses, {206})
                self.upload_again(folder)
                self.lab.s3.clear_log()
                self.assert_whole(mount)
                self.assertIn(412, {entry["status"] for entry in self.lab.s3.log()})


if __name__ == "__main__":
    common.main()
