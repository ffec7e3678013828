"""What the cases with a booted machine share: machine, emulators beside it, a reader's unit."""

import unittest

import common
import machine as boot

IMDS = boot.METADATA_ADDRESS
READER = """\
[Unit]
Description=A reader, in Ollama's place

[Service]
User=ollama
Type=exec
ExecStart=/usr/local/bin/reader
RuntimeDirectory=reader

[Install]
WantedBy=multi-user.target
"""
# Holds one model open, as a running model does, and says what it read.
READER_PROGRAM = """\
#!/bin/sh
cd "${OLLAMA_MODELS%/ollama}" || exit
exec 3<a.gguf || exit
sha256sum -- *.gguf >/run/reader/new && mv /run/reader/new /run/reader/sums
exec sleep infinity
"""
UNIT = "sealedfs@models"
SOON_S = 120


def setUpModule():
    """unittest calls it before anything listens."""
    reason = boot.why_not()
    if reason:
        raise unittest.SkipTest(reason)
    try:
        boot.prepare()
    except boot.NoRoot as failure:
        raise unittest.SkipTest(f"no Debian root: {failure}") from None


class Booted(common.Case):
    """A machine, S3, KMS, IMDS and a NitroTPM; two models in s3://weights/prod."""

    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.imds = common.Emulator(cls.lab, "imds", "imds.py", "--credentials",
                                   cls.lab.credentials, "--host", IMDS, "--port", "80")
        cls.imds.control_host = IMDS
        cls.s3_port = cls.lab.s3.port
        cls.sums = {}
        for seed, name in enumerate(("a.gguf", "b.gguf")):
            cls.seal(name, 3 * common.MIB + seed, seed)
        cls.machine = boot.Machine(cls.lab, common.BUILD)
        cls.machine.write("/etc/sysusers.d/ollama.conf", 'u ollama - "Ollama" - -\n')
        cls.machine.run("systemd-sysusers")
        cls.machine.write("/etc/systemd/system/ollama.service", READER)
        cls.machine.write("/usr/local/bin/reader", READER_PROGRAM, mode=0o755)
        cls.machine.systemctl("daemon-reload")
        cls.machine.wait_started()

    @classmethod
    def seal(cls, name, size, seed, prefix="prod", key="alias/models"):
        path = common.make_model(cls.lab.path("plain", name), size, seed)
        cls.lab.seal(path, cls.lab.s3_url(prefix + "/"), "--kms-key", key, "-q")
        if prefix == "prod":
            cls.sums[name] = common.digest(path)
        return path

    @classmethod
    def s3_again(cls):
        """S3 comes back at the same address."""
        cls.lab.s3 = common.S3(cls.lab, cls.s3_port)

    @classmethod
    def reboot(cls):
        """The whole machine, its TPM too."""
        cls.machine.reboot(lambda: cls.lab.tpm.ask("POST", "reboot", {}))

    def config(self, *more, source="s3://weights/prod", kms=None):
        return "\n".join((f"source = {source}", f"s3-endpoint = {self.lab.s3.url}",
                          f"kms-endpoint = {kms or self.lab.kms.url}",
                          f"tcti = {self.lab.tpm.tcti}", *more)) + "\n"

    def configure(self, *more, name="models", **how):
        self.machine.write(f"/etc/sealedfs/{name}.conf", self.config(*more, **how))
        # Its generator then knows that Ollama has a mount to read from.
        self.machine.systemctl("daemon-reload")

    def assert_read(self):
        """The reader has read the right bytes, as the user that it is."""
        self.machine.wait_until("the reader to finish", lambda: self.machine.run(
            "test", "-s", "/run/reader/sums", check=None).code == 0)
        out = self.machine.run("cat", "/run/reader/sums").out
        self.assertEqual({line.split()[1]: line.split()[0] for line in out.splitlines()},
                         self.sums)

    def models(self, path="/srv/models"):
        """What the mount shows, without the Ollama store."""
        return [name for name in self.machine.run("ls", path).out.split() if name != "ollama"]

    def assert_status(self, unit, *words):
        text = self.machine.status(unit)
        for word in words:
            self.assertIn(word.lower(), text.lower())
        return text

    def wait_state(self, unit, *states, timeout_s=SOON_S):
        self.machine.wait_until(
            f"{unit} to be {' or '.join(states)}",
            lambda: self.machine.show(unit, "ActiveState") in states, timeout_s)

    def is_mounted(self, path="/srv/models"):
        return self.machine.run("grep", "-q", f" {path} fuse", "/proc/mounts", check=None).code == 0


class Service(Booted):
    """One machine for all cases; every case leaves it without units that run."""

    def setUp(self):
        self.configure()
        self.addCleanup(self.clean)

    def clean(self):
        m = self.machine
        if m.process.poll() is not None:
            m.boot()
        m.systemctl("disable", "--now", UNIT, "ollama", check=None)
        m.systemctl("stop", "sealedfs@*", check=None)
        m.systemctl("reset-failed", check=None)
        m.run("sh", "-c", "rm -rf /etc/sealedfs/*.conf /etc/systemd/system/sealedfs@*.d")
        m.systemctl("daemon-reload")
        self.assertFalse(self.is_mounted())

    def start(self):
        self.machine.systemctl("enable", "--now", UNIT)

    def restarts(self):
        return int(self.machine.show(UNIT, "NRestarts"))
