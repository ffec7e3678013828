"""What the cases about Ollama share: models that llama.cpp can run, and a checker in Ollama's place."""

import json
import os
import subprocess

import common

import ask

CHECKER = os.path.join(common.TESTS, "oracle", "ollama_checker.py")
GENERATOR = os.path.join(common.TESTS, "models", "make-tiny-gguf.py")
LLAMA = os.environ.get("SEALEDFS_LLAMA") or os.path.join(common.TOP, "build", "llama")
NOBODY = 65534


def fetch_llama():
    """None, or why llama-server is not here."""
    done = subprocess.run([ask.LAUNCHER, "fetch", LLAMA], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    return None if done.returncode == 0 else "llama-server was not fetched: " + done.stdout.strip()


def make_gguf(path, seed, *more, size=1):
    """A model that llama.cpp can run."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    subprocess.run(["/usr/bin/python3", GENERATOR, "--size", str(size), "--seed", str(seed),
                    "--out", path, *more], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return path


class OllamaCase(common.Case):
    """Helpers: plain files of one test in self.plain, sealed ones in self.sealed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        # A server of another user must be able to go there.
        os.chmod(cls.lab.dir, 0o755)

    def setUp(self):
        self.dir = self.lab.path(self.id().rsplit(".", maxsplit=1)[-1], make=True)
        self.plain = os.path.join(self.dir, "plain")
        self.sealed = os.path.join(self.dir, "sealed")
        os.makedirs(self.plain)

    def gguf(self, name, seed, *more, **how):
        return make_gguf(os.path.join(self.plain, name), seed, *more, **how)

    def seal(self, *more):
        self.lab.seal(self.plain, self.sealed, "--key-file", self.key, "-q", *more)

    def mount(self, *options):
        if not any(option.startswith("ollama=") for option in options):
            options = ("ollama=default", *options)
        return self.lab.mount(self.sealed, "key-file=" + self.key, "attest=none", "measure=none",
                              "allow_other", *options)

    def check(self, mount, *more):
        """The checker's result, as another user."""
        done = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                               "--clear-groups", "/usr/bin/python3", CHECKER,
                               mount.join("ollama"), "--verify", *more], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=common.COMMAND_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def names(self, mount, *more):
        return sorted(model["name"] for model in self.check(mount, *more)["models"])

    def blob(self, mount, plain):
        return mount.join("ollama", "blobs", "sha256-" + common.digest(plain))
