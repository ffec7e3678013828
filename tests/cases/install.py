#!/usr/bin/python3
"""What meson install puts where: the tree of this build, and the plans for other prefixes."""

import json
import os
import re
import shutil
import stat
import subprocess
import unittest

import common

MAN = ("man1/sealctl.1", "man5/sealedfs.conf.5", "man5/sealedfs-format.5", "man8/sealedfs.8",
       "man8/mount.sealedfs.8")


def run(*argv):
    done = subprocess.run(argv, cwd=common.TOP, text=True, stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.stdout}")
    return done.stdout


def expected(lib, share, sbin, binaries):
    """Every path that there should be, and no other."""
    return {f"{binaries}/sealctl", f"{binaries}/sealedfs", f"{sbin}/mount.sealedfs",
            f"{lib}/systemd/system/sealedfs@.service", f"{lib}/systemd/system/sealedfs-attest.service",
            f"{lib}/systemd/system-generators/sealedfs-generator",
            f"{share}/sealedfs/ollama.conf",
            f"{lib}/sysusers.d/sealedfs.conf", f"{lib}/tmpfiles.d/sealedfs.conf",
            f"{share}/bash-completion/completions/sealctl",
            f"{share}/bash-completion/completions/sealedfs",
            f"{share}/zsh/site-functions/_sealctl", f"{share}/zsh/site-functions/_sealedfs",
            f"{share}/fish/vendor_completions.d/sealctl.fish",
            f"{share}/fish/vendor_completions.d/sealedfs.fish",
            *(f"{share}/man/{page}" for page in MAN)}


class Tree(unittest.TestCase):
    """DESTDIR with this build, whose prefix is /usr/local."""

    @classmethod
    def setUpClass(cls):
        cls.lab = common.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.root = cls.lab.path("root", make=True)
        run("meson", "install", "-C", common.BUILD, "--no-rebuild", "--quiet", "--destdir", cls.root)

    def find(self):
        return {"/" + os.path.relpath(os.path.join(folder, name), self.root)
                for folder, _, names in os.walk(self.root) for name in names}

    def read(self, path):
        return common.read_text(self.root + path)

    def test_everything_in_its_place(self):
        self.assertEqual(self.find(), expected("/usr/local/lib", "/usr/local/share", "/usr/sbin",
                                               "/usr/local/bin"))

    def test_mount_helper(self):
        """mount(8) looks in /sbin only."""
        link = self.root + "/usr/sbin/mount.sealedfs"
        self.assertEqual(os.readlink(link), "/usr/local/bin/sealedfs")

    def test_modes(self):
        for path in self.find() - {"/usr/sbin/mount.sealedfs"}:
            mode = stat.S_IMODE(os.lstat(self.root + path).st_mode)
            self.assertEqual(mode, 0o755 if "/bin/" in path or "-generators/" in path
                             else 0o644, path)

    def test_unit_runs_what_is_installed(self):
        unit = self.read("/usr/local/lib/systemd/system/sealedfs@.service")
        programs = re.findall(r"^Exec\w+=[-+!]*(\S+)", unit, re.M)
        self.assertEqual(set(programs), {"/usr/local/bin/sealedfs"})
        self.assertEqual(len(programs), 3)
        self.assertNotIn("@bindir@", unit)

    def generated(self, **files):
        """What the generator makes of a machine with these files; paths of /etc with _ for /."""
        etc, out = self.lab.path("etc", make=True), self.lab.path("generated", make=True)
        for path in (etc, out):
            shutil.rmtree(path)
            os.mkdir(path)
        for name, text in files.items():
            path = os.path.join(etc, name.replace("__", "/").replace("DOT", "."))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        program = self.lab.path("generator")
        with open(program, "w", encoding="ascii") as file:
            file.write(self.read("/usr/local/lib/systemd/system-generators/sealedfs-generator")
                       .replace(" /etc/", f" {etc}/"))
        run("sh", program, out, out, out)
        return {os.path.join(os.path.relpath(folder, out), name): os.readlink(
            os.path.join(folder, name)) for folder, _, names in os.walk(out) for name in names}

    def test_ollama_is_left_alone_without_a_mount(self):
        """No drop-in where nothing is configured; with a mount it is the installed one."""
        self.assertFalse([path for path in self.find() if "ollama.service" in path])
        link = {"ollama.service.d/sealedfs.conf": "/usr/local/share/sealedfs/ollama.conf"}
        self.assertIn(link["ollama.service.d/sealedfs.conf"], self.find())
        line = "s3://weights/prod {} {} ro,_netdev 0 0\n"
        for files, expected_links in (
                ({}, {}),
                ({"sealedfs__otherDOTconf": "source = x\n"}, {}),
                ({"fstab": line.format("/srv/other", "sealedfs")}, {}),
                ({"fstab": "# " + line.format("/srv/models", "sealedfs")}, {}),
                ({"fstab": line.format("/srv/models", "ext4")}, {}),
                ({"sealedfs__modelsDOTconf": "source = x\n"}, link),
                ({"fstab": line.format("/srv/models", "sealedfs")}, link),
                ({"fstab": line.format("/srv/models/", "fuse.sealedfs")}, link),
                ({"systemd__system__srv-modelsDOTmount": "[Mount]\n"}, link)):
            self.assertEqual(self.generated(**files), expected_links, files)

    def test_nothing_of_the_build_is_left(self):
        for path in self.find() - {"/usr/sbin/mount.sealedfs"}:
            if "/bin/" not in path:
                self.assertNotIn(common.TOP, self.read(path), path)

    def test_programs_run_from_there(self):
        for name in ("sealctl", "sealedfs"):
            self.assertIn("0.", run(f"{self.root}/usr/local/bin/{name}", "--version"))


class Plans(unittest.TestCase):
    """Other prefixes, as a package would choose them: configured, not built."""

    @classmethod
    def setUpClass(cls):
        cls.lab = common.Lab()
        cls.addClassCleanup(cls.lab.close)

    def plan(self, name, *options):
        build = self.lab.path(name)
        run("meson", "setup", build, common.TOP, "-Dtests=false", *options)
        return set(json.loads(run("meson", "introspect", "--installed", build)).values())

    def test_usr(self):
        """The directories of systemd.pc where systemd's development files are, else /usr/lib."""
        found = {path.replace("/lib/systemd", "/usr/lib/systemd") if path.startswith("/lib/")
                 else path for path in self.plan("usr", "--prefix=/usr")}
        self.assertLessEqual(expected("/usr/lib", "/usr/share", "/usr/sbin", "/usr/bin")
                             - {"/usr/sbin/mount.sealedfs"}, found)

    def test_rpm(self):
        """The RPM specification has the files that are installed with its options."""
        spec = common.read_text(os.path.join(common.TOP, "tools", "rpm", "sealedfs.spec"))
        folders = {"_prefix": "/usr", "_bindir": "/usr/bin", "_datadir": "/usr/share", "_mandir": "/usr/share/man",
                   "_unitdir": "/usr/lib/systemd/system", "_sysusersdir": "/usr/lib/sysusers.d",
                   "_systemdgeneratordir": "/usr/lib/systemd/system-generators",
                   "_tmpfilesdir": "/usr/lib/tmpfiles.d"}
        found = set()
        for line in re.search(r"^%files\n(.*?)^%changelog", spec, re.S | re.M)[1].splitlines():
            if line.startswith("%{"):
                path = re.sub(r"%{(\w+)}", lambda macro: folders[macro[1]], line).rstrip("*")
                found.add(path + "/ollama.conf" if path == "/usr/share/sealedfs" else path)
        self.assertEqual(found, expected("/usr/lib", "/usr/share", "/usr/sbin", "/usr/bin"))
        options = re.findall(r"(-D[\w-]+-dir)=", spec)
        known = common.read_text(os.path.join(common.TOP, "meson_options.txt"))
        self.assertEqual([name for name in options if f"'{name[2:]}'" not in known], [])

    def test_one_version(self):
        """Of meson.build, the packages and the news."""
        def first(pattern, *path):
            return re.search(pattern, common.read_text(os.path.join(common.TOP, *path)), re.M)[1]
        version = first(r"version : '([\d.]+)'", "meson.build")
        self.assertEqual(first(r"^sealedfs \(([\d.]+)-1\)", "tools", "debian", "changelog"), version)
        self.assertEqual(first(r"^Version: *(\S+)$", "tools", "rpm", "sealedfs.spec"), version)
        self.assertEqual(first(r"^## ([\d.]+) ", "NEWS.md"), version)

    def test_debian_needs_what_the_build_needs(self):
        """Each development package of tools/packages.sh is in Build-Depends."""
        control = common.read_text(os.path.join(common.TOP, "tools", "debian", "control"))
        needed = set(re.findall(r"^(?:Build-Depends:)? +([a-z0-9-]+)", control, re.M))
        script = f". {common.TOP}/tools/packages.sh; echo ${{packages_build[@]}}"
        packages = {name for name in run("bash", "-c", script).split()
                    if name.endswith("-dev") and name not in ("libc6-dev", "libcmocka-dev")}
        self.assertGreater(len(packages), 8)
        self.assertEqual(packages - needed, set())

    def test_private_prefix_without_the_dropin(self):
        found = self.plan("opt", "--prefix=/opt/sealedfs", "-Dollama-dropin=false",
                          "-Dsystemd-unit-dir=/etc/systemd/system")
        self.assertTrue(all(path.startswith("/opt/sealedfs/") for path in found
                            if "/systemd/" not in path), found)
        self.assertIn("/etc/systemd/system/sealedfs@.service", found)
        self.assertFalse([path for path in found if "ollama" in path or "generator" in path])


if __name__ == "__main__":
    common.main()
