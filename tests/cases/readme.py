#!/usr/bin/python3
"""README.md: every command in it, to the letter (systemd's in tests/boot/cases_readme.py). Drives all rooms.

The programs are those of the build. What needs a package mirror, an account at AWS or Ollama itself is replaced, and
each replacement is named here.
"""

import json
import os
import re
import subprocess

import common
from common import OK
from common_ollama import OllamaCase, OllamaStore

README = os.path.join(common.TOP, "README.md")
# Its arguments are the environment and the command, one JSON line each.
STAND_IN = """#!/bin/sh
printf '%s %s\\n' "$OLLAMA_MODELS" "$*" >>"$STAND_IN_LOG"
"""


def blocks(text):
    """[(heading, shell lines)] of what is indented by four and not in a fence."""
    found, heading = [], ""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for part in re.split(r"^(## .*)$", text, flags=re.M):
        if part.startswith("## "):
            heading = part[3:]
            continue
        for block in re.findall(r"(?:^    .*\n)+", part, re.M):
            found.append((heading, [line[4:] for line in block.splitlines()]))
    return found


class Readme(OllamaCase):
    """The owner, the operator and the consumer share one machine here."""

    PARTS = ("tpm", "kms", "s3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = common.read_text(README)
        cls.blocks = blocks(cls.text)

    def block(self, heading, word):
        """The one block below the heading in which the word occurs."""
        (lines,) = [lines for where, lines in self.blocks
                    if where == heading and any(word in line for line in lines)]
        return lines

    def shell(self, lines, expect=OK):
        """Runs the lines as one script in the case's folder, with the programs of the build."""
        path = os.pathsep.join([os.path.join(self.dir, "bin"), os.path.dirname(common.SEALCTL),
                                os.path.dirname(common.SEALEDFS), os.environ["PATH"]])
        script = "set -eu\n" + "\n".join(lines) + "\n"
        done = self.lab.run("bash", "-c", script.replace("s3://acme-weights", "s3://" + common.BUCKET),
                            cwd=self.dir,
                            extra={"PATH": path, "STAND_IN_LOG": os.path.join(self.dir, "stand-in"),
                                   "SEALEDFS_RUNTIME_DIR": self.dir})
        self.assertEqual(done.code, expect, done.out + done.err)
        return done.out

    def test_no_block_is_left_out(self):
        """A block that is added to the README needs a case."""
        known = [("", "apt-get"), ("", "tools/demo"), ("Ollama", "--from-ollama"),
                 ("AWS and systemd", "sealctl seal"), ("AWS and systemd", "systemctl"),
                 ("AWS and systemd", "sealctl attest")]
        self.assertEqual(sorted(self.blocks),
                         sorted((heading, self.block(heading, word)) for heading, word in known))
        self.assertLessEqual(self.text.count("\n"), 120)
        self.assertIn("    mkdir mnt && sealedfs ", "\n".join(self.text.splitlines()[:15]))

    def test_build(self):
        packages, build = self.block("", "apt-get")[:2]
        names = packages.split()
        self.assertEqual(names[:2], ["apt-get", "install"])
        known = subprocess.run(
            ["bash", "-c", f". {common.TOP}/tools/packages.sh; echo ${{packages_build[@]}}"],
            check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        self.assertLessEqual(set(names[2:]), set(known))
        # All of it but the compiler's work and the copying, which the suites "build" and "boot" do.
        folder = os.path.join(self.dir, "build")
        (setup, ninja, install) = build.split(" && ")
        self.assertEqual((ninja, install), ("ninja -C build", "meson install -C build"))
        for command in (setup.replace(" build ", f" {folder} "), f"ninja -n -C {folder}"):
            done = self.lab.run(*command.split(), cwd=common.TOP)
            self.assertEqual(done.code, OK, done.out + done.err)

    def test_first_mount_and_ollama(self):
        self.gguf("mistral-7b.gguf", 1)
        os.rename(os.path.join(self.plain, "mistral-7b.gguf"),
                  os.path.join(self.dir, "mistral-7b.gguf"))
        self.addCleanup(subprocess.run, ["umount", "-l", os.path.join(self.dir, "mnt")],
                        check=False, stderr=subprocess.DEVNULL)
        out = self.shell(self.block("", "apt-get")[2:])
        plain, mounted = [line.split()[0] for line in out.splitlines() if ".gguf" in line][-2:]
        self.assertEqual((plain, mounted), (common.digest(os.path.join(
            self.dir, "mistral-7b.gguf")),) * 2)
        names = os.listdir(os.path.join(self.dir, "sealed"))
        self.assertEqual(len(names), 2, names)

        store = OllamaStore(os.path.join(self.dir, "store"))
        model = common.read_bytes(self.gguf("other.gguf", 2))
        store.add(("registry.ollama.ai", "library", "mistral", "7b"), [store.layer("model", model)])
        os.makedirs(self.lab.path("home", ".ollama"), exist_ok=True)
        os.symlink(store.root, self.lab.path("home", ".ollama", "models"))
        os.makedirs(os.path.join(self.dir, "bin"))
        with open(os.path.join(self.dir, "bin", "ollama"), "w", encoding="ascii") as out:
            out.write(STAND_IN)
        os.chmod(out.name, 0o755)
        self.shell(self.block("Ollama", "--from-ollama"))
        shown = os.path.join(self.dir, "mnt", "ollama")
        self.assertEqual(common.read_text(os.path.join(self.dir, "stand-in")), shown + " serve\n")
        library = os.path.join(shown, "manifests", "registry.ollama.ai", "library")
        self.assertTrue(os.path.exists(os.path.join(library, "mistral", "7b")))
        self.assertTrue(os.path.exists(os.path.join(library, "mistral-7b", "latest")))
        self.shell(["fusermount3 -u mnt"])

    def test_owner_and_consumer(self):
        """The consumer's command ends in the sentence that the README shows."""
        self.gguf("mistral-7b.gguf", 3)
        os.rename(os.path.join(self.plain, "mistral-7b.gguf"),
                  os.path.join(self.dir, "mistral-7b.gguf"))
        self.lab.tpm.ask("POST", "reboot", {})
        self.shell(self.block("AWS and systemd", "sealctl seal"))
        settings = dict(line.split(" = ") for line in self.block("AWS and systemd", "systemctl")
                        if " = " in line)
        options = (f"owner-key={self.dir}/acme.pub", "kms-key=" + settings["kms-key"],
                   "ready=measured", f"event-log={self.dir}/tpm2-measure.log")
        self.lab.seal(os.path.join(self.dir, "mistral-7b.gguf"), os.path.join(self.dir, "copy"), "--key-file",
                      self.lab.key_file("copy"), "--sign", os.path.join(self.dir, "acme.pem"))
        os.rename(os.path.join(self.dir, "copy", "mistral-7b.gguf.seal"),
                  os.path.join(self.dir, "mistral-7b.gguf.seal"))
        with open(os.path.join(self.dir, "boot.json"), "w", encoding="ascii") as out:
            json.dump({"Measurements": {"HashAlgorithm": "SHA384", "PCR4": self.lab.tpm.pcr("sha384", 4)}}, out)
        # The emulator is not AWS.
        lines = [line.replace("sealctl verify", f"sealctl verify --root {self.lab.tpm.root}")
                 for line in self.block("AWS and systemd", "sealctl attest")]
        with self.lab.mount(self.lab.s3_url("prod"), *options):
            out = self.shell(lines)
        sentence = next(line for line in out.splitlines() if line.startswith("PCR 15"))
        self.assertEqual(re.sub(r"\d+ s old", "12 s old", sentence), lines[-1].removeprefix("# "))


if __name__ == "__main__":
    common.main()
