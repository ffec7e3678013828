#!/usr/bin/python3
"""Manual pages and completions against the programs: every option of --help is in the page, and
every option of the page is in --help."""

import os
import re
import shutil
import subprocess
import unittest

import common

MAN = os.path.join(common.TOP, "tools", "man")
COMPLETIONS = os.path.join(common.TOP, "tools", "completions")
PAGES = ("sealctl.1", "sealedfs.8", "mount.sealedfs.8", "sealedfs.conf.5", "sealedfs-format.5")


def output(*argv):
    return subprocess.run(argv, check=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


def page(name):
    return common.read_text(os.path.join(MAN, name + ".scd"))


def flags(text):
    """--long and -s at the heads of a help text's lines."""
    found = set()
    for line in text.splitlines():
        head = re.match(r"  (?:  )?(?:  )?(-\w)?(?:, )?(--[a-z0-9-]+)?(?: |$)", line)
        if head:
            found |= {word for word in head.groups() if word}
    return found


def page_flags(text):
    """The same of a page's term lines: "*-f*, *--foreground*"."""
    found = set()
    for line in text.splitlines():
        if line.startswith("*-"):
            found |= set(re.findall(r"\*(--?[a-zA-Z0-9-]+)\*", line))
    return found


def mount_options(text):
    """Names in the sections of sealedfs --help that describe -o."""
    body = text[text.index("\nTrust and keys\n"):text.index("\nExit status:")]
    found = set()
    for line in body.splitlines():
        head = re.match(r"  ([a-z]\S*(?:,? [a-z_]+(?:=\S+)?)*)(?:  |$)", line)
        if head:
            found |= {word.split("=")[0] for word in re.split(r"[ ,]+", head[1])}
    return found


def page_mount_options(text):
    """Names of term lines, those that an indented line follows: "*uid=*_N_, *gid=*_N_"."""
    found = set()
    for line in re.findall(r"^(\*[a-z].*)\n\t", text, re.M):
        for term in line.split(", "):
            found.add(re.match(r"\*([a-z][a-z0-9_-]*)[=*]", term)[1])
    return found


def section(text, name):
    """What stands under one "# NAME" of a page."""
    found = re.search(rf"^# {name}\n(.*?)(?=^# |\Z)", text, re.S | re.M)
    return found[1] if found else None


class Sealctl(unittest.TestCase):
    """sealctl(1)"""

    def verbs(self):
        text = output(common.SEALCTL, "--help")
        listed = text[text.index("Verbs:"):].split("\n\n")[0]
        return re.findall(r"^  ([a-z-]+) +\S", listed, re.M)

    def test_verbs(self):
        verbs = self.verbs()
        self.assertIn("seal", verbs)
        known = {name for name in re.findall(r"^# ([A-Z-]+)$", page("sealctl.1"), re.M)}
        self.assertEqual({name.upper() for name in verbs} - known, set())
        for name in known:
            if f"*sealctl {name.lower()}" in page("sealctl.1"):
                self.assertIn(name.lower(), verbs)

    def test_options(self):
        text = page("sealctl.1")
        common_flags = page_flags(section(text, "OPTIONS OF EVERY VERB"))
        aws_flags = page_flags(section(text, "OPTIONS FOR AWS"))
        self.assertEqual(len(aws_flags), 8)
        for verb in self.verbs():
            with self.subTest(verb=verb):
                found = flags(output(common.SEALCTL, verb, "--help"))
                self.assertLessEqual({"--json", "--help"}, found)
                stated = page_flags(section(text, verb.upper())) | common_flags
                if aws_flags & found:
                    stated |= aws_flags
                    self.assertIn(f"*{verb}*", section(text, "OPTIONS FOR AWS"))
                self.assertEqual(found, stated)


class Sealedfs(unittest.TestCase):
    """sealedfs(8), mount.sealedfs(8), sealedfs.conf(5)"""

    def setUp(self):
        self.help = output(common.SEALEDFS, "--help")

    def test_flags(self):
        self.assertEqual(flags(self.help[:self.help.index("\nTrust and keys")]),
                         page_flags(section(page("sealedfs.8"), "OPTIONS")))

    def test_mount_options(self):
        found = mount_options(self.help)
        self.assertLessEqual({"owner-key", "gid", "ready", "allow_other", "path-style"}, found)
        self.assertEqual(found, page_mount_options(section(page("sealedfs.8"), "MOUNT OPTIONS")))

    def test_keys(self):
        text = section(page("sealedfs.conf.5"), "KEYS").replace("\\", "")
        listed = {"source", "mountpoint"}
        for line in re.findall(r"^- .*$", text, re.M):
            listed |= set(re.findall(r"\*([a-z0-9_-]+)\*", line))
        self.assertEqual(listed, mount_options(self.help) | {"source", "mountpoint"})

    def test_helper_flags(self):
        """Each is accepted; others are not."""
        stated = page_flags(section(page("mount.sealedfs.8"), "OPTIONS"))
        self.assertEqual(stated, {"-o", "-f", "-s", "-n", "-r", "-w", "-t", "-v", "-V", "-h",
                                  "--version", "--help"})
        helper = os.path.join(self.enterContext(common.tempfile.TemporaryDirectory()),
                              "mount.sealedfs")
        os.symlink(common.SEALEDFS, helper)
        for flag in sorted(stated - {"-o", "-t"}):
            self.assertEqual(subprocess.run([helper, "s", "/m", "-f", flag], check=False,
                                            stdout=subprocess.DEVNULL).returncode, 0, flag)
        self.assertEqual(subprocess.run([helper, "s", "/m", "-f", "-t", "sealedfs", "-o", "rw"],
                                        check=False).returncode, 0)
        for wrong in (("-x",), ("-d",), ("--config", "f"), ("-o", "owner-kay=x"), ("third",)):
            self.assertEqual(subprocess.run([helper, "s", "/m", "-f", *wrong], check=False,
                                            stderr=subprocess.DEVNULL).returncode,
                             common.USAGE, wrong)


class Pages(unittest.TestCase):
    """What is made of them."""

    def test_all_are_built(self):
        """From the build that is tested, where it has them."""
        if not shutil.which("scdoc"):
            self.skipTest("no scdoc")
        for name in PAGES:
            path = os.path.join(common.BUILD, "tools", "man", name)
            text = common.read_text(path)
            self.assertIn(f'.TH "{name.rsplit(".", 1)[0]}"', text)
            if shutil.which("groff"):
                out = output("groff", "-t", "-man", "-Tutf8", "-ww", "-z", path)
                self.assertEqual(out, "")

    def test_references(self):
        """Pages of ours that are named exist."""
        ours = {name.rsplit(".", 1)[0] + f"({name[-1]})" for name in PAGES}
        for name in PAGES:
            for found in re.findall(r"\*((?:mount\.)?seal[a-z.-]*)\*\((\d)\)", page(name)):
                self.assertIn(f"{found[0]}({found[1]})", ours, name)


PROGRAMS = {"sealctl": common.SEALCTL, "sealedfs": common.SEALEDFS}


class Completions(unittest.TestCase):
    """bash asks for words."""

    def complete(self, program, *words):
        """What is offered for the last word."""
        script = (f'source {COMPLETIONS}/{program}; compopt() {{ :; }}; '
                  'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  f'_{program} "$1"; printf "%s\\n" "${{COMPREPLY[@]}}"')
        return set(output("bash", "-c", script, "bash", PROGRAMS[program], *words).split())

    def test_sealctl(self):
        self.assertLessEqual({"seal", "check", "--help"}, self.complete("sealctl", ""))
        self.assertEqual(self.complete("sealctl", "ins"), {"inspect"})
        self.assertEqual(self.complete("sealctl", "tpm"), {"tpm-key"})
        self.assertEqual(self.complete("sealctl", "keygen", "o"), {"owner"})
        found = self.complete("sealctl", "seal", "--k")
        self.assertEqual(found, {"--kms-key", "--key-file", "--kms-endpoint"})
        for verb in ("seal", "check", "attest"):
            self.assertEqual(self.complete("sealctl", verb, "-"),
                             flags(output(common.SEALCTL, verb, "--help")))

    def test_sealedfs(self):
        text = output(common.SEALEDFS, "--help")
        self.assertEqual(self.complete("sealedfs", "-"),
                         flags(text[:text.index("\nTrust and keys")]))
        self.assertEqual({word.rstrip("=") for word in self.complete("sealedfs", "-o", "")},
                         mount_options(text))
        self.assertEqual(self.complete("sealedfs", "-o", "pcr=15,own"), {"pcr=15,owner-key="})


class CompletionsZsh(Completions):
    """zsh takes what the function adds, and chooses itself what fits."""

    # The builtins that exist only while zsh completes. -P '*,' takes what is before the last comma.
    BUILTINS = r"""
        compset() { IPREFIX=${PREFIX%,*},; [[ $PREFIX == *,* ]] || IPREFIX=; PREFIX=${PREFIX##*,} }
        compadd() { [[ $1 != -S ]] || shift 2; [[ $1 != -- ]] || shift; print -l -- $IPREFIX${^@} }
        _describe() { print -l -- ${${(P)2}%%:*} }
        _files() { print -- "(files)" }
        """

    def complete(self, program, *words):
        if not shutil.which("zsh"):
            self.skipTest("no zsh")
        script = (f'{self.BUILTINS} words=("$@"); CURRENT=$#; PREFIX=${{words[-1]}}; IPREFIX=; '
                  f'set --; source {COMPLETIONS}/_{program}')
        found = output("zsh", "-f", "-c", script, "zsh", PROGRAMS[program], *words).split()
        return {word for word in found if word.startswith(words[-1])}


class CompletionsFish(Completions):
    """fish itself, which finds the program by PATH."""

    def complete(self, program, *words):
        if not shutil.which("fish"):
            self.skipTest("no fish")
        lab = common.Lab()
        self.addCleanup(lab.close)
        os.symlink(PROGRAMS[program], lab.path("bin", program))
        script = (f'source {COMPLETIONS}/{program}.fish; set -x PATH {lab.path("bin")} $PATH; '
                  f'cd {lab.path("empty", make=True)}; complete -C "{" ".join((program, *words))}"')
        done = subprocess.run(["fish", "--no-config", "-c", script], check=True, text=True,
                              env={**os.environ, "HOME": lab.path("home", make=True)}, timeout=60,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        return {line.split("\t")[0] for line in done.stdout.splitlines()}


if __name__ == "__main__":
    common.main()
