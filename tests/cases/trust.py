#!/usr/bin/python3
"""Files that decide trust: refused where others could have changed them, or read a secret one.

Each kind of file, each way to be open: exit code 2, and a message with the path, the mode or the
owner, and the command that mends it.
"""

import contextlib
import os
import shutil

import common
from common import FAILURE, MIB, OK, USAGE

NOBODY = 65534


class Files(common.Case):
    PARTS = ("s3",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.private, cls.public = cls.lab.owner_key()
        cls.model = common.make_model(cls.lab.path("m.gguf"), MIB)
        cls.source = cls.lab.path("sealed")
        cls.lab.seal(cls.model, cls.source, "--key-file", cls.key, "--sign", cls.private)
        cls.lab.seal(cls.model, cls.lab.s3_url("prod/"), "--key-file", cls.key)
        cls.folder = cls.lab.path("one", "two", make=True)

    def moved(self, path):
        """A copy of a file two folders deep."""
        return shutil.copy2(path, self.folder)

    @contextlib.contextmanager
    def mode(self, path, mode):
        before = os.stat(path).st_mode & 0o7777
        os.chmod(path, mode)
        try:
            yield
        finally:
            os.chmod(path, before)

    @contextlib.contextmanager
    def owner(self, path):
        os.lchown(path, NOBODY, 0)
        try:
            yield
        finally:
            os.lchown(path, 0, 0)

    def assert_guarded(self, run, path, secret=False):
        """run() fails for each way that others can change the file, and works otherwise."""
        mend = "chmod 600 " if secret else "chmod go-w "
        self.assert_result(run(), OK)
        for mode in (0o620, 0o602, 0o666, *((0o640, 0o604) if secret else ())):
            with self.mode(path, mode):
                self.assert_result(run(), USAGE, path, f"mode {mode:04o}", mend + path)
        with self.owner(path):
            self.assert_result(run(), USAGE, path, "belongs to user 65534", "chown root " + path)
        for parent in (os.path.dirname(path), os.path.dirname(os.path.dirname(path))):
            for mode in (0o775, 0o757):
                with self.mode(parent, mode):
                    self.assert_result(run(), USAGE, parent, f"mode {mode:04o}",
                                       "chmod go-w " + parent)
            with self.owner(parent):
                self.assert_result(run(), USAGE, parent, "belongs to user 65534")
            with self.mode(parent, 0o1777):
                self.assert_result(run(), OK)
        self.assert_result(run(), OK)

    def mounted(self, *options, source=None, **how):
        """A function that mounts and unmounts; its Result."""
        def run():
            try:
                self.lab.start_mount(source or self.source, "attest=none", "measure=none", *options,
                                     **how).unmount()
            except common.MountFailed as failure:
                return common.Result(failure.code, "", failure.err)
            return common.Result(OK, "", "")
        return run

    def test_key_file(self):
        path = self.moved(self.key)
        self.assert_guarded(self.mounted("key-file=" + path), path, secret=True)
        self.assert_guarded(lambda: self.lab.sealctl("check", self.source, "--key-file", path),
                            path, secret=True)

    def test_owner_key(self):
        path = self.moved(self.public)
        self.assert_guarded(self.mounted("key-file=" + self.key, "owner-key=" + path), path)
        self.assert_guarded(lambda: self.lab.sealctl("check", self.source, "--key-file", self.key,
                                                     "--owner-key", path), path)

    def test_signing_key(self):
        path = self.moved(self.private)
        dest = self.lab.path("signed")

        def run():
            shutil.rmtree(dest, ignore_errors=True)
            return self.lab.sealctl("seal", self.model, dest, "--key-file", self.key, "--sign",
                                    path)
        self.assert_guarded(run, path, secret=True)

    def test_configuration(self):
        path = os.path.join(self.folder, "models.conf")
        with open(path, "w", encoding="ascii") as out:
            out.write(f"source = {self.source}\nmountpoint = {self.lab.path('at', make=True)}\n"
                      f"key-file = {self.key}\nattest = none\nmeasure = none\nmodel = none-such\nready = unlocked\n")
        def run():
            """Read as far as a model that is not there: no mount is left behind."""
            done = self.lab.run(common.SEALEDFS, "--config", path, "-f")
            return done._replace(code=OK) if "none-such" in done.err else done
        self.assert_guarded(run, path)

    def test_aws_files(self):
        """The service's; sealctl is the user's own affair."""
        source = self.lab.s3_url("prod")
        path = self.moved(self.lab.path("operator", "credentials"))
        self.assert_guarded(self.mounted("key-file=" + self.key, source=source, extra={
            "AWS_SHARED_CREDENTIALS_FILE": path}), path)
        for variable in ("AWS_CONFIG_FILE", "AWS_CA_BUNDLE"):
            path = os.path.join(self.folder, variable)
            shutil.copy("/etc/ssl/certs/ca-certificates.crt" if "CA" in variable
                        else self.lab.path("operator", "credentials"), path)
            self.assert_guarded(self.mounted("key-file=" + self.key, source=source, extra={
                variable: path}), path)

    def test_files_of_profiles(self):
        """What a profile names decides as much as the profile, also one whose keys another uses."""
        source = self.lab.s3_url("prod")
        config = self.lab.path("home", "config")
        bundle = shutil.copy("/etc/ssl/certs/ca-certificates.crt", os.path.join(self.folder, "ca.crt"))
        token = self.moved(self.lab.path("operator", "credentials"))
        with open(config, "w", encoding="ascii") as out:
            out.write(f"[profile mine]\nca_bundle = {bundle}\nsource_profile = pod\n"
                      f"[profile pod]\nweb_identity_token_file = {token}\n"
                      f"[profile other]\nca_bundle = /no/such/file\n")
        keys = common.read_text(self.lab.path("operator", "credentials")).replace("default", "mine")
        credentials = self.lab.path("home", "credentials")
        with open(credentials, "w", encoding="ascii") as out:
            out.write(keys)
        for path in (bundle, token):
            self.assert_guarded(self.mounted("key-file=" + self.key, "profile=mine", source=source, extra={
                "AWS_CONFIG_FILE": "$HOME/config", "AWS_SHARED_CREDENTIALS_FILE": "~/credentials"}), path)
        run = self.mounted("key-file=" + self.key, source=source, extra={
            "AWS_PROFILE": "mine", "AWS_CONFIG_FILE": "$HOME/config",
            "AWS_SHARED_CREDENTIALS_FILE": "~/credentials"})
        for path in (config, credentials, bundle, token):
            with self.mode(path, 0o606):
                self.assert_result(run(), USAGE, path, "mode 0606")
        self.assert_result(run(), OK)

    def test_links(self):
        """Each link on the way is judged, and where it leads."""
        path, link = self.moved(self.key), self.lab.path("link.key")
        os.symlink("one/two/" + os.path.basename(path), link)
        run = self.mounted("key-file=" + link)
        self.assert_result(run(), OK)
        with self.owner(link):
            self.assert_result(run(), USAGE, link, "belongs to user 65534")
        with self.mode(self.folder, 0o777):
            self.assert_result(run(), USAGE, self.folder, "chmod go-w " + self.folder)
        os.unlink(link)
        self.assert_result(run(), FAILURE, link)


if __name__ == "__main__":
    common.main()
