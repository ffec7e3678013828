"""Who is measured: each control and each candidate, as something that shows a model as a file.

A subject is prepared once (its own encrypted copy of the model) and mounted afresh for every
sample, so that no plaintext is left in the page cache from the sample before. What is on disk below
it is read beforehand: ciphertext is warm.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import time

import machine
from machine import BenchError, run


class View:
    """A model as one subject shows it, while it does."""

    def __init__(self, path, pids=(), others=()):
        self.path = path
        self.pids = list(pids)  # the server under test
        self.others = list(others)  # what it stands on, as an HTTP server


class Subject:
    """The base: a name, why it cannot be measured here, and how to show a model."""

    name = ""
    title = ""
    control = True

    def __init__(self, bench):
        self.bench = bench
        self.prepared = {}

    def missing(self):
        """Why this subject cannot be measured on this machine, or None."""
        return None

    def prepare(self, model):
        """Makes what must lie on disk; returns the files that hold the bytes."""
        return [model.path]

    def backing(self, model):
        if model.name not in self.prepared:
            self.prepared[model.name] = self.prepare(model)
        return self.prepared[model.name]

    def warm(self, model):
        for path in self.backing(model):
            self.bench.reader("read", path)

    def view(self, model, cgroup=None):
        """A context manager that yields a View."""
        raise NotImplementedError

    def work_dir(self, *parts):
        path = os.path.join(self.bench.work, self.name, *parts)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def log(self):
        return os.path.join(self.bench.work, self.name + ".log")

    def forget(self):
        """Frees the disk space of prepared models."""
        self.prepared = {}
        shutil.rmtree(os.path.join(self.bench.work, self.name), ignore_errors=True)


class Plain(Subject):
    name, title = "plain", "plain file, page cache"

    @contextlib.contextmanager
    def view(self, model, cgroup=None):
        yield View(model.path)


class NullFuse(Subject):
    """What FUSE allows at most: the session that sealedfs has, and nothing behind it."""

    name, title = "null", "do-nothing FUSE server"

    SETTINGS = (("--threads", "fs/fuse/session.c", r"#define THREADS_MAX (\d+)"),
                ("--max-background", "fs/fuse/names.c", r"#define BACKGROUND_MAX (\d+)"),
                ("readahead", "fs/mount/mount_table.c", r'#define READAHEAD_KIB "(\d+)"'))

    def setting(self, name):
        """From the source, so that the control cannot fall behind what it is held against."""
        path, pattern = next(entry[1:] for entry in self.SETTINGS if entry[0] == name)
        with open(os.path.join(self.bench.top, path), encoding="utf-8") as source:
            found = re.search(pattern, source.read())
        if not found:
            raise BenchError("%s does not say %s" % (path, pattern))
        return found[1]

    def argv(self, model, mountpoint):
        options = self.bench.args.null_options.split()
        for name in ("--threads", "--max-background"):
            options = [name, self.setting(name), *options]
        return [os.path.join(self.bench.tools, "null_fuse"), *options, model.path, mountpoint]

    @contextlib.contextmanager
    def view(self, model, cgroup=None):
        mountpoint = self.work_dir("mnt")
        with machine.mounted(self.argv(model, mountpoint), mountpoint, self.log(),
                             cgroup=cgroup) as server:
            machine.set_readahead_kib(mountpoint, self.bench.args.readahead or
                                      int(self.setting("readahead")))
            yield View(os.path.join(mountpoint, os.path.basename(model.path)), [server.pid])


class Peer(Subject):
    """Somebody else's encrypted file system; program is what must be installed."""

    program = ""

    def missing(self):
        return None if shutil.which(self.program) else self.program + " is not installed"

    def argv(self, cipher, mountpoint, read_only):
        raise NotImplementedError

    def set_up(self, cipher):
        raise NotImplementedError

    def prepare(self, model):
        cipher, mountpoint = self.work_dir("cipher"), self.work_dir("mnt")
        if not os.listdir(cipher):
            self.set_up(cipher)
        with machine.mounted(self.argv(cipher, mountpoint, False), mountpoint, self.log()):
            shutil.copyfile(model.path, os.path.join(mountpoint, os.path.basename(model.path)))
        os.sync()
        # The encrypted name says nothing; the size does.
        return [os.path.join(folder, name) for folder, _, names in os.walk(cipher) for name in names
                if os.path.getsize(os.path.join(folder, name)) >= model.size]

    @contextlib.contextmanager
    def view(self, model, cgroup=None):
        mountpoint = self.work_dir("mnt")
        argv = self.argv(self.work_dir("cipher"), mountpoint, True)
        with machine.mounted(argv, mountpoint, self.log(), cgroup=cgroup) as server:
            if self.bench.args.peer_readahead:
                machine.set_readahead_kib(mountpoint, self.bench.args.peer_readahead)
            yield View(os.path.join(mountpoint, os.path.basename(model.path)), [server.pid])


class Gocryptfs(Peer):
    name, title, program = "gocryptfs", "gocryptfs", "gocryptfs"

    def _password(self):
        path = os.path.join(self.work_dir(), "password")
        if not os.path.exists(path):
            with open(path, "w", encoding="ascii") as out:
                out.write(secrets.token_hex(16) + "\n")
        return path

    def set_up(self, cipher):
        run("gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", self._password(), cipher)

    def argv(self, cipher, mountpoint, read_only):
        return ["gocryptfs", "-fg", "-q", *(["-ro"] if read_only else []), "-passfile",
                self._password(), cipher, mountpoint]


class Rclone(Peer):
    name, title, program = "rclone", "rclone crypt mount", "rclone"

    def set_up(self, cipher):
        obscured = [run("rclone", "obscure", "-", data=secrets.token_hex(16).encode()).decode().strip()
                    for _ in range(2)]
        with open(os.path.join(self.work_dir(), "rclone.conf"), "w", encoding="utf-8") as out:
            out.write("[sealed]\ntype = crypt\nremote = %s\npassword = %s\npassword2 = %s\n"
                      % (cipher, *obscured))

    def argv(self, cipher, mountpoint, read_only):
        return ["rclone", "mount", "--config", os.path.join(self.work_dir(), "rclone.conf"),
                *(["--read-only"] if read_only else ["--vfs-cache-mode", "off"]),
                "sealed:", mountpoint]


class Sealed(Subject):
    """sealedfs in one measuring mode, from a directory or from the S3 stand-in.

    A key file unlocks, so that KMS is not part of the time; the TPM is an emulator with its own
    event log, which every mount replays, so that only the very first open extends.
    """

    control = False

    def __init__(self, bench, mode, where="dir", more="", options=(), warmed=False):
        """more: what sets this subject apart, for its name; options: how it comes about; warmed:
        `sealctl warm` has filled the model before anybody looks."""
        super().__init__(bench)
        self.mode, self.where, self.options, self.warmed = mode, where, list(options), warmed
        self.name = mode if where == "dir" else "%s-%s" % (where, mode)
        self.title = "sealedfs, " + mode + {"dir": "", "s3": ", S3", "s3slow": ", S3 + %d ms"
                                            % bench.args.delay}[where]
        if more:
            self.name += "-" + more.lower()
            self.title += ", " + more

    def missing(self):
        for program in (self.bench.sealedfs, self.bench.sealctl):
            if not os.access(program, os.X_OK):
                return os.path.basename(program) + " is not built"
        return self.bench.tpm.missing() if self.mode != "none" else None

    def prepare(self, model):
        payload, seal = self.bench.vault.seal(model)
        if self.where != "dir":
            for path in (payload, seal):
                self.bench.web.publish(path, "models/" + os.path.basename(path))
            self.bench.web.start()
        return [payload]

    @contextlib.contextmanager
    def view(self, model, cgroup=None, tpm=None):
        mountpoint, vault = self.work_dir("mnt"), self.bench.vault
        options = ["key-file=" + vault.key, "owner-key=" + vault.owner + ".pub", "attest=none",
                   "measure=" + self.mode, *self.options]
        env, others = {}, []
        if self.mode != "none":
            tpm = tpm or self.bench.tpm
            tpm.start()
            env["SEALEDFS_TCTI"] = tpm.tcti
            options.append("event-log=" + tpm.event_log)
        if self.where == "dir":
            source = vault.folder(model)
        else:
            source = "s3://bench/models"
            url = self.bench.web.url(self.where == "s3slow")
            env.update(AWS_ENDPOINT_URL_S3=url, AWS_ACCESS_KEY_ID="AKIABENCHBENCHBENCH0",
                       AWS_SECRET_ACCESS_KEY="not-a-secret", AWS_REGION="us-east-1",
                       AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull,
                       AWS_SHARED_CREDENTIALS_FILE=os.devnull)
            others = self.bench.web.pids
        options += [option for option in self.bench.args.sealedfs_options.split(",") if option]
        argv = [self.bench.sealedfs, "-f", source, mountpoint, "-o", ",".join(options)]
        with machine.mounted(argv, mountpoint, self.log(), env, cgroup) as server:
            self._wait_for_readahead(mountpoint)
            path = os.path.join(mountpoint, os.path.basename(model.path))
            if self.warmed:
                run(self.bench.sealctl, "warm", "-q", path)
                self.bench.settle(model)  # warming took time, and what was kept free with it
            yield View(path, [server.pid], others)

    def fill(self, path):
        """Seconds until the mount has all of it in its own memory."""
        began = time.monotonic()
        out = json.loads(run(self.bench.sealctl, "warm", "--json", path))
        if not out["models"][0].get("resident"):
            raise BenchError("%s did not become resident: sealctl status has the reason" % path)
        seconds = time.monotonic() - began
        with open("/sys/kernel/mm/transparent_hugepage/shmem_enabled", encoding="ascii") as choices:
            self.bench.facts["shmem_enabled"] = re.search(r"\[(\w+)\]", choices.read())[1]
        return seconds

    def _wait_for_readahead(self, mountpoint):
        """sealedfs raises it right after the mount appears; a read before that would be slower."""
        end = time.monotonic() + 1
        while machine.readahead_kib(mountpoint) <= 128 and time.monotonic() < end:
            time.sleep(0.002)
        self.bench.facts["sealedfs_readahead_kib"] = machine.readahead_kib(mountpoint)


class Vault:
    """The owner's side: keys made for this run, and a sealed copy of each model."""

    def __init__(self, bench):
        self.bench = bench
        self.dir = os.path.join(bench.work, "vault")
        self.key = os.path.join(self.dir, "model.key")
        self.owner = os.path.join(self.dir, "owner")
        self.sealed = {}
        self.seal_costs = (0.0, 0)  # CPU seconds and peak resident bytes of the last sealing

    def keys(self):
        if not os.path.exists(self.key):
            os.makedirs(self.dir, mode=0o700, exist_ok=True)
            run(self.bench.sealctl, "keygen", "key-file", self.key)
            run(self.bench.sealctl, "keygen", "owner", self.owner)

    def folder(self, model):
        return os.path.join(self.dir, model.name)

    def seal_to(self, model, folder):
        self.keys()
        self.seal_costs = machine.run_costed(
            self.bench.sealctl, "seal", model.path, folder + "/", "--key-file", self.key,
            "--sign", self.owner + ".pem")
        names = sorted(os.listdir(folder))
        payload = [name for name in names if name.endswith(".sealed")]
        seal = [name for name in names if name.endswith(".seal")]
        if len(payload) != 1 or len(seal) != 1:
            raise BenchError("sealctl seal left %s" % names)
        return os.path.join(folder, payload[0]), os.path.join(folder, seal[0])

    def seal(self, model):
        if model.name not in self.sealed:
            os.makedirs(self.folder(model), exist_ok=True)
            self.sealed[model.name] = self.seal_to(model, self.folder(model))
        return self.sealed[model.name]

    def forget(self, model):
        if self.sealed.pop(model.name, None):
            shutil.rmtree(self.folder(model), ignore_errors=True)


class Tpm:
    """swtpm behind the project's NitroTPM emulator; fresh() is a second one, for a first extend."""

    EMULATOR = os.path.join("tests", "emu", "nitrotpm.py")

    def __init__(self, bench, name="tpm"):
        self.bench = bench
        self.dir = os.path.join(bench.work, name)
        self.event_log = os.path.join(self.dir, "events")
        self.tcti = None
        self._running = contextlib.ExitStack()

    def missing(self):
        return None if shutil.which("swtpm") else "swtpm is not installed"

    def start(self):
        if self.tcti:
            return
        os.makedirs(self.dir, exist_ok=True)
        ports = os.path.join(self.dir, "ports")
        self._running.enter_context(machine.service(
            ["/usr/bin/python3", os.path.join(self.bench.top, self.EMULATOR), "--state",
             os.path.join(self.dir, "state"), "--ca", os.path.join(self.bench.work, "ca"),
             "--port-file", ports],
            lambda: os.path.exists(ports) and os.path.getsize(ports) > 0, self.dir + ".log",
            stop=signal.SIGTERM))
        with open(ports, encoding="ascii") as lines:
            values = dict(line.strip().split("=", 1) for line in lines if "=" in line)
        self.tcti = "swtpm:host=127.0.0.1,port=" + values["port"]

    def stop(self):
        self._running.close()
        self.tcti = None
        shutil.rmtree(self.dir, ignore_errors=True)

    @contextlib.contextmanager
    def fresh(self):
        tpm = Tpm(self.bench, "tpm-fresh")
        tpm.start()
        try:
            yield tpm
        finally:
            tpm.stop()
