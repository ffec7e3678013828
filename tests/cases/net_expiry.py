#!/usr/bin/python3
"""Keys that expire several times while models are read: no reader notices, from whatever source the
keys come. S3 refuses the old ones at once.

The mount's readers drop the page cache and read on, so that requests go out all the time.
"""

import json
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
from common import MIB  # noqa: E402

SIZE = 24 * MIB
READERS = 3
TIMES = 4
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwb2QifQ.c2ln"
ROLE = "arn:aws:iam::111122223333:role/reader"


class Expiry(common.Case):
    PARTS = ("s3",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.lab.key_file()
        cls.plain = common.make_model(cls.lab.path("m.gguf"), SIZE)
        cls.lab.seal(cls.plain, cls.lab.s3_url("p/"), "--key-file", cls.key, "-q")
        cls.imds = common.Emulator(cls.lab, "imds", "imds.py", "--credentials", cls.lab.credentials)
        cls.sts = common.Emulator(cls.lab, "sts", "sts.py", "--credentials", cls.lab.credentials,
                                  "--web-token", TOKEN)
        cls.token = cls.lab.path("token")
        with open(cls.token, "w", encoding="ascii") as out:
            out.write(TOKEN)
        cls.digest = common.digest(cls.plain)

    def read_until(self, mount, done, failures):
        path = mount.join("m.gguf")
        try:
            while not done.is_set():
                common.drop_cache(path)
                if common.digest(path) != self.digest:
                    raise OSError("wrong bytes")
        except OSError as failure:
            failures.append(failure)

    def statuses(self):
        return [entry["status"] for entry in self.lab.s3.log()]

    def survived(self, first):
        """Among the requests from there on, some were refused, and later ones were not."""
        statuses = self.statuses()[first:]
        refused = [at for at, status in enumerate(statuses) if status in (400, 403)]
        return refused and statuses[refused[-1]:].count(206) > 2

    def outlive(self, expire, asked, **env):
        """Readers go on while expire() ends all keys, several times; asked(): how often the source
        of the keys has been asked."""
        none = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        done, failures = threading.Event(), []
        # As little memory as possible: what is kept is not asked for.
        options = ("key-file=" + self.key, "attest=none", "measure=none", "memory=32M")
        with self.lab.mount(self.lab.s3_url("p"), *options, extra={**none, **env}) as mount:
            readers = [threading.Thread(target=self.read_until, args=(mount, done, failures))
                       for _ in range(READERS)]
            for reader in readers:
                reader.start()
            try:
                for _time in range(TIMES):
                    self.lab.s3.clear_log()
                    common.wait_for("requests", lambda: failures or self.statuses().count(206) > 2)
                    seen, before = len(self.statuses()), asked()
                    expire()
                    common.wait_for("refusals, and requests with new keys after them",
                                    lambda first=seen: failures or self.survived(first))
                    # Many requests were refused; one thread asked for new keys.
                    self.assertIn(asked() - before, (1, 2), failures)
            finally:
                done.set()
                for reader in readers:
                    reader.join()
            self.assertEqual(failures, [], mount.log())

    def count(self, emulator, operation):
        return lambda: sum(entry["operation"] == operation for entry in emulator.log())

    def test_instance(self):
        self.outlive(lambda: self.imds.ask("POST", "rotate", {"expire_old": True}),
                     self.count(self.imds, "keys"), AWS_EC2_METADATA_DISABLED="false",
                     AWS_EC2_METADATA_SERVICE_ENDPOINT=self.imds.values["url"])

    def test_container(self):
        self.outlive(lambda: self.imds.ask("POST", "rotate", {"expire_old": True}),
                     self.count(self.imds, "container"),
                     AWS_CONTAINER_CREDENTIALS_FULL_URI=self.imds.values["container"],
                     AWS_CONTAINER_AUTHORIZATION_TOKEN="container-token")

    def test_pod_identity(self):
        """The agent's token lies in a file, as EKS has it."""
        path = self.lab.path("pod-token")
        with open(path, "w", encoding="ascii") as out:
            out.write("container-token")
        self.outlive(lambda: self.imds.ask("POST", "rotate", {"expire_old": True}),
                     self.count(self.imds, "container"),
                     AWS_CONTAINER_CREDENTIALS_FULL_URI=self.imds.values["container"],
                     AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=path)

    def test_web_identity(self):
        self.outlive(lambda: self.sts.ask("POST", "expire"),
                     self.count(self.sts, "AssumeRoleWithWebIdentity"),
                     AWS_WEB_IDENTITY_TOKEN_FILE=self.token, AWS_ROLE_ARN=ROLE,
                     AWS_ENDPOINT_URL_STS=self.sts.values["url"])

    def test_web_identity_of_a_source_profile(self):
        """The config file lies below the home directory, the token elsewhere; both are read again."""
        home, token = self.lab.path("roles", make=True), self.lab.path("elsewhere", "token")
        with open(token, "w", encoding="ascii") as out:
            out.write(TOKEN)
        with open(os.path.join(home, "aws.conf"), "w", encoding="ascii") as out:
            out.write(f"[profile r]\nrole_arn = {ROLE}\nsource_profile = pod\n"
                      f"[profile pod]\nrole_arn = {ROLE}\nweb_identity_token_file = {token}\n")
        self.outlive(lambda: self.sts.ask("POST", "expire"),
                     self.count(self.sts, "AssumeRoleWithWebIdentity"),
                     HOME=home, AWS_CONFIG_FILE="~/aws.conf", AWS_PROFILE="r",
                     AWS_ENDPOINT_URL_STS=self.sts.values["url"])

    def test_assumed_role(self):
        path = self.lab.path("config")
        with open(path, "w", encoding="ascii") as out:
            keys = common.read_text(self.lab.path("owner", "credentials")).split("\n", 1)[1]
            out.write(f"[profile r]\nrole_arn = {ROLE}\nsource_profile = base\n"
                      f"[profile base]\n{keys}")
        self.outlive(lambda: self.sts.ask("POST", "expire"), self.count(self.sts, "AssumeRole"),
                     AWS_CONFIG_FILE=path, AWS_PROFILE="r",
                     AWS_ENDPOINT_URL_STS=self.sts.values["url"])

    def test_shared_file(self):
        """Somebody writes new keys into the file; the old ones are no keys any more."""
        path = self.lab.path("rotated")
        number = 0

        def rotate():
            nonlocal number
            number += 1
            key_id, secret = f"AKIAROTATED{number:05}", "secret/number" + str(number) * 20
            self.write_profile(path, key_id, secret)
            entries = json.loads(common.read_text(self.lab.credentials))
            entries = {name: entry for name, entry in entries.items()
                       if not name.startswith("AKIAROTATED")}
            entries[key_id] = {"secret": secret, "token": None, "expires": None}
            with open(self.lab.credentials + ".new", "w", encoding="utf-8") as out:
                json.dump(entries, out)
            os.replace(self.lab.credentials + ".new", self.lab.credentials)
        rotate()
        self.outlive(rotate, lambda: number, AWS_SHARED_CREDENTIALS_FILE=path)

    @staticmethod
    def write_profile(path, key_id, secret):
        with open(path + ".new", "w", encoding="ascii") as out:
            out.write(f"[default]\naws_access_key_id = {key_id}\n"
                      f"aws_secret_access_key = {secret}\n")
        os.replace(path + ".new", path)


if __name__ == "__main__":
    common.main()
