"""What the cases about Ollama share: models that llama.cpp can run, and a checker in Ollama's place."""

import hashlib
import json
import os
import shutil
import stat
import subprocess

import common

import ask

ORACLE = [os.path.join(common.TESTS, "oracle", name)
          for name in ("ollama_checker.py", "ollama_gguf.py", "ollama_manifest.py",
                       "ollama_template.py")]
PROFILES = ("0.33", "0.24", "next")
GENERATOR = os.path.join(common.TESTS, "models", "make-tiny-gguf.py")
LLAMA = os.environ.get("SEALEDFS_LLAMA") or os.path.join(common.TOP, "build", "llama")
NOBODY = 65534
IMAGE = "application/vnd.ollama.image."
# Of models whose owner describes them.
TEMPLATE = "[INST] {{ .System }} {{ .Prompt }} [/INST]"
PARAMS = {"num_ctx": 512, "num_predict": 5, "stop": ["</s>", "[INST]"], "temperature": 0.7,
          "use_mmap": True}


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


def snapshot(root):
    """{path: (inode, size, mtime, bytes of what is small)} of a whole store."""
    found = {}
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content = b""
            if stat.S_ISREG(status.st_mode) and status.st_size < 65536:
                with open(path, "rb") as source:
                    content = source.read()
            found[os.path.relpath(path, root)] = (status.st_ino, status.st_size,
                                                  status.st_mtime_ns, content)
    return found


class OllamaStore:
    """A store as Ollama would have left it on a disk."""

    def __init__(self, root):
        self.root = root
        for name in ("blobs", "manifests"):
            os.makedirs(os.path.join(root, name))

    def blob(self, content):
        """The digest of a new blob."""
        digest = hashlib.sha256(content).hexdigest()
        with open(self.blob_path(digest), "wb") as out:
            out.write(content)
        return digest

    def blob_path(self, digest):
        return os.path.join(self.root, "blobs", "sha256-" + digest)

    def layer(self, kind, content):
        return {"mediaType": kind if "/" in kind else IMAGE + kind,
                "digest": "sha256:" + self.blob(content), "size": len(content)}

    def manifest_path(self, name):
        return os.path.join(self.root, "manifests", *name)

    def add(self, name, layers, config=None):
        """name: (host, namespace, model, tag). The manifest's path."""
        manifest = {"schemaVersion": 2,
                    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                    "config": self.layer("application/vnd.docker.container.image.v1+json",
                                         json.dumps(config or {"model_format": "gguf",
                                                               "model_family": "llama",
                                                               "file_type": "Q8_0"}).encode()),
                    "layers": layers}
        path = self.manifest_path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii") as out:
            out.write(json.dumps(manifest, indent=3) + "\n")  # as nobody else would write it
        return path


class OllamaCase(common.Case):
    """Helpers: plain files of one test in self.plain, sealed ones in self.sealed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        # A server of another user must be able to go there.
        os.chmod(cls.lab.dir, 0o755)
        cls.oracle = cls.lab.path("oracle", make=True)
        for path in ORACLE:
            shutil.copy(path, cls.oracle)
        os.chmod(cls.oracle, 0o755)

    def setUp(self):
        self.dir = self.lab.path(self.id().rsplit(".", maxsplit=1)[-1], make=True)
        self.plain = os.path.join(self.dir, "plain")
        self.sealed = os.path.join(self.dir, "sealed")
        os.makedirs(self.plain)

    def gguf(self, name, seed, *more, **how):
        return make_gguf(os.path.join(self.plain, name), seed, *more, **how)

    def seal(self, *more):
        self.lab.seal(self.plain, self.sealed, "--key-file", self.key, "-q", *more)

    def mount(self, *options, **how):
        if not any(option.startswith("ollama=") for option in options):
            options = ("ollama=default", *options)
        return self.lab.mount(self.sealed, "key-file=" + self.key, "attest=none", "measure=none",
                              "allow_other", f"gid={NOBODY}", *options, **how)

    def ollama(self, store, *more):
        """The checker's end, as another user."""
        return subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                               "/usr/bin/python3", "-B",
                               os.path.join(self.oracle, os.path.basename(ORACLE[0])), store, *more],
                              check=False, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=common.COMMAND_S, cwd="/")

    def check_like(self, profile, mount, *more):
        done = self.ollama(mount.join("ollama"), "--like", profile, *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def check(self, mount, *more):
        """What the checker makes of a store in which all is well, whichever Ollama it plays."""
        results = {}
        for profile in PROFILES:
            results[profile] = self.check_like(profile, mount, *more,
                                               *(["--verify"] if profile == PROFILES[0] else []))
            self.assertEqual((results[profile]["failed"], results[profile]["warned"]), ({}, {}), profile)
            self.assertEqual(sorted(model["name"] for model in results[profile]["models"]),
                             sorted(model["name"] for model in results[PROFILES[0]]["models"]))
        return results[PROFILES[0]]

    def names(self, mount, *more):
        return sorted(model["name"] for model in self.check(mount, *more)["models"])

    def blob(self, mount, plain):
        return mount.join("ollama", "blobs", "sha256-" + common.digest(plain))
