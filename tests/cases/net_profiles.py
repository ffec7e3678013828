#!/usr/bin/python3
"""AWS's profile files, read as the AWS CLI reads them: botocore, which the CLI is made of, is asked
the same question with the same files. What it cannot read is refused here with exit code 2.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import sys
import time
import unittest.mock

import botocore.session

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
import common_net  # noqa: E402

KEYS = "aws_access_key_id = AKIDOWNER\naws_secret_access_key = owner-secret\n"
OTHER = "aws_access_key_id = AKIDOTHER\naws_secret_access_key = other-secret\n"


class ProfileCase(common_net.NetCase):
    def setUp(self):
        self.home = self.lab.path("home-" + self.id().rpartition(".")[2], make=True)

    def files(self, config="", credentials="", **env):
        found = {"HOME": self.home, "AWS_EC2_METADATA_DISABLED": "true"}
        for name, text in (("AWS_CONFIG_FILE", config), ("AWS_SHARED_CREDENTIALS_FILE", credentials)):
            found[name] = os.path.join(self.home, name)
            with open(found[name], "wb") as out:
                out.write(text if isinstance(text, bytes) else text.encode())
        return {**found, **env}

    @staticmethod
    def botocore(env):
        """(access key id, region), each None where there is none; or "error". Keys with blanks in them
        are none: AWS has no such keys, and the CLI finds that out by asking."""
        with unittest.mock.patch.dict(os.environ, env, clear=True):
            try:
                session = botocore.session.Session()
                region = session.get_config_variable("region")
                keys = session.get_credentials()
                usable = keys and not re.search(r"\s", keys.access_key + keys.secret_key)
                return (keys.access_key if usable else None, region or None)
            except Exception:  # pylint: disable=broad-except
                return "error"

    def ours(self, env):
        """The same by net_probe. AWS_REGION and the laboratory's keys are taken away."""
        env = {**env, "AWS_REGION": env.get("AWS_REGION")}
        keys = self.probe("keys", **env)
        region = self.probe("region", **env)
        for result in (keys, region):
            self.assertIn(result.code, (common.OK, common.USAGE), result.err)
        return (keys.out.split()[0] if keys.code == common.OK else None,
                region.out.strip() if region.code == common.OK else None), keys.err + region.err

    def compare(self, env):
        theirs = self.botocore(env)
        ours, words = self.ours(env)
        if theirs == "error":
            self.assertIsNone(ours[0], words)
        else:
            self.assertEqual(ours, theirs, words)
        return theirs, words


class LikeTheCli(ProfileCase):
    CREDENTIALS = {
        "plain": f"[default]\n{KEYS}",
        "CRLF": f"[default]\n{KEYS}".replace("\n", "\r\n"),
        "upper case": f"[default]\n{KEYS.replace('aws_', 'AWS_')}",
        "colons": f"[default]\n{KEYS.replace(' =', ':')}",
        "indented": "[default]\n  aws_access_key_id = A\n  aws_secret_access_key = s\n",
        "all indented": "   [default]\n   aws_access_key_id = A\n   aws_secret_access_key = s\n",
        "tabs": "[default]\n\taws_access_key_id\t=\tA\n\taws_secret_access_key\t=\ts\n",
        "deeper and deeper": "[default]\n aws_access_key_id = A\n  aws_secret_access_key = s\n",
        "empty token": f"[default]\n{KEYS}aws_session_token =\n",
        "old token": f"[default]\n{KEYS}aws_security_token = t\n",
        "comments": f"# a\n[default]\n; b\n{KEYS}#c\n",
        "no last line end": f"[default]\n{KEYS}".rstrip("\n"),
        "comment behind the section": f"[default] # mine\n{KEYS}",
        "comment behind a value": f"[default]\n{KEYS}region = us-east-1 # mine\n",
        "byte order mark": b"\xef\xbb\xbf[default]\n" + KEYS.encode(),
        "quotes": f"[default]\n{KEYS.replace('AKIDOWNER', chr(34) + 'A' + chr(34))}",
        "before any section": KEYS,
        "twice the same section": f"[default]\n{KEYS}[default]\nregion = us-east-1\n",
        "twice the same name": f"[default]\n{KEYS}aws_access_key_id = B\n",
        "another profile is broken": f"[default]\n{KEYS}[x]\nfoo\n",
        "unclosed section": f"[default]\n{KEYS}[x\n",
        "half": "[default]\naws_access_key_id = A\n",
        "another section": f"[other]\n{KEYS}",
        "[profile default] is another name here": f"[profile default]\n{KEYS}",
        "case of sections": f"[DEFAULT]\n{KEYS}",
        "[DEFAULT] is in every section": f"[DEFAULT]\n{KEYS}region = us-east-1\n[default]\nx = y\n",
        "[DEFAULT] behind it": f"[default]\n{KEYS}[DEFAULT]\nregion = us-east-1\n",
        "[DEFAULT] is hidden": f"[DEFAULT]\n{OTHER}region = us-east-1\n[default]\n{KEYS}region =\n",
        "[DEFAULT] twice": f"[DEFAULT]\nx = y\n[default]\n{KEYS}[DEFAULT]\nregion = us-east-1\n",
        "blanks in the brackets": f"[ default ]\n{OTHER}[default]\n{KEYS}",
        "blanks in the brackets only": f"[ default ]\n{KEYS}",
        "not UTF-8": b"# \xe9\n[default]\n" + KEYS.encode(),
        "CR alone": f"[default]\n{KEYS}region = us-east-1\n".replace("\n", "\r"),
        "form feeds": f"[default]\f\n{KEYS}\f\nregion\v=\fus-east-1\n",
        "empty": "",
    }

    def test_credentials_file(self):
        read = 0
        for name, text in self.CREDENTIALS.items():
            with self.subTest(name):
                if name in ("comment behind a value", "quotes"):
                    # The CLI takes them as part of the value and AWS refuses it. So do we, at once.
                    ours, words = self.ours(self.files(credentials=text))
                    self.assertIsNone(ours[0], words)
                    continue
                theirs, words = self.compare(self.files(credentials=text))
                read += theirs != "error" and theirs[0] is not None
                if theirs == "error" and name not in ("half", "deeper and deeper", "not UTF-8"):
                    self.assertRegex(words, r"AWS_SHARED_CREDENTIALS_FILE:\d+: ")
        self.assertGreater(read, 10)

    def test_config_file(self):
        for name, text in {
                "default": f"[default]\nregion = us-east-1\n{KEYS}",
                "profile default": f"[profile default]\nregion = us-east-1\n{KEYS}",
                "both": f"[default]\n{OTHER}[profile default]\nregion = us-east-1\n{KEYS}",
                "both, the other way": f"[profile default]\n{OTHER}[default]\n{KEYS}",
                "quoted": f"[profile \"default\"]\n{KEYS}",
                "spaces": f"[profile   default]\nregion = us-east-1\n{KEYS}",
                "block before": f"[default]\ns3 =\n  addressing_style = path\n{KEYS}",
                "block within": "[default]\n  s3 =\n    addressing_style = path\n"
                                "  region = us-west-2\n" + KEYS.replace("aws", "  aws"),
                "nonsense in a block": f"[default]\ns3 =\n  nonsense\n{KEYS}",
                "continued": f"[default]\ncli_pager = a\n  --b = c\n{KEYS}",
                "role within a continuation": f"[default]\nx = y\n  role_arn = arn:aws:iam::1:role/x\n{KEYS}",
                "process": "[default]\ncredential_process = echo\n"}.items():
            with self.subTest(name):
                self.compare(self.files(config=text))

    def test_profiles(self):
        config = (f"[profile my dev]\n{OTHER}[profile \"my dev\"]\nregion = us-east-1\n{KEYS}"
                  f"[profile 'x']\n{KEYS}[y]\n{KEYS}[profile z]\nregion = us-west-1\n")
        credentials = f"[z]\n{KEYS}region = us-west-2\n[profile x]\n{OTHER}"
        for profile in ("my dev", "x", "y", "z", "absent", "default"):
            with self.subTest(profile):
                self.compare(self.files(config, credentials, AWS_PROFILE=profile))

    def test_places_of_the_files(self):
        """Variables and ~ in them are expanded: a unit's Environment= has no shell that did."""
        self.files("[default]\nregion = us-east-1\n", f"[default]\n{KEYS}")
        for before, is_found in (("$HOME/", True), ("${HOME}/", True), ("~/", True), ("$HOME/./", True),
                                 ("${HO}ME/", False), ("$NO_SUCH/", False), ("$/", False), ("${HOME/", False),
                                 ("$HOMER/", False)):
            with self.subTest(before):
                seen = self.compare({"HOME": self.home, "AWS_EC2_METADATA_DISABLED": "true",
                                     **{name: before + name for name in ("AWS_CONFIG_FILE",
                                                                         "AWS_SHARED_CREDENTIALS_FILE")}})[0]
                self.assertEqual(seen, ("AKIDOWNER", "us-east-1") if is_found else (None, None))

    def test_random_files(self):
        """Lines put together by chance: what one reads the other reads, to the same value."""
        rng = random.Random(20251)
        lines = ("[default]", "[profile default]", "[other]", "[profile p]", "aws_access_key_id = A1",
                 "aws_access_key_id: A2", "aws_secret_access_key = s", "region = us-east-1",
                 "region = eu-west-1", "s3 =", "addressing_style = path", "# comment", "; x = y", "",
                 "output = json", "key", "AWS_ACCESS_KEY_ID=A3", "[x", "= v", "cli_pager =")
        weights = (6, 2, 1, 1, 6, 2, 8, 6, 2, 4, 2, 3, 1, 3, 3, .2, 1, .1, .1, 2)
        outcomes = {"error": 0, "keys": 0, "none": 0}
        for number in range(40 if common.QUICK else 250):
            text = "[default]\n" + "".join(
                " " * rng.choice((0, 0, 0, 0, 2, 2, 4)) + line + "\n"
                for line in rng.choices(lines, weights, k=rng.randint(2, 8)))
            with self.subTest(number, text=text):
                where = {"config": text} if rng.random() < 0.5 else {"credentials": text}
                env = self.files(**where)
                theirs = self.botocore(env)
                if theirs != "error" and theirs[1] and "\n" in theirs[1]:
                    continue  # a region that has a line end; nobody can use it
                self.compare(env)
                outcomes["error" if theirs == "error" else "keys" if theirs[0] else "none"] += 1
        self.assertTrue(all(outcomes.values()) or common.QUICK, outcomes)


class Order(ProfileCase):
    """Which of several keys count."""

    def process(self, key_id="AKIDPROCESS", **more):
        path = os.path.join(self.home, "process $x.sh")
        answer = json.dumps({"Version": 1, "AccessKeyId": key_id, "SecretAccessKey": "s", **more})
        with open(path, "w", encoding="ascii") as out:
            out.write(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >'{path}.args'\ncat <<'EOF'\n{answer}\nEOF\n")
        os.chmod(path, 0o755)
        return path

    def test_process(self):
        path = self.process()
        line = f"credential_process = '{path}' --a \"b  c\" $HOME ;\n"
        for config, credentials in ((f"[default]\n{line}", ""),
                                    (f"[default]\n{line}{KEYS}", ""),
                                    (f"[default]\n{line}", f"[default]\n{KEYS}"),
                                    ("", f"[default]\n{line}")):
            env = self.files(config, credentials)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + ".args")
            theirs = self.botocore(env)
            result = self.probe("keys", PROBE_INTERACTIVE="1", **env)
            self.assertEqual(result.out.split()[0], theirs[0], result.err)
            if theirs[0] == "AKIDPROCESS":
                self.assertEqual(common.read_text(path + ".args"), "--a\nb  c\n$HOME\n;\n")
        # A daemon starts nothing, and says so.
        env = self.files(f"[default]\n{line}", "")
        os.unlink(path + ".args")
        self.bad("EINVAL", "keys", words=("credential_process", "starts no programs"), **env)
        self.assertFalse(os.path.exists(path + ".args"))

    def test_process_that_fails(self):
        good = self.process()
        for command, errno_name, word in (
                ("false", "EIO", "ended with 1"), ("/no/such/program", "EINVAL", "cannot start"),
                ("echo nonsense", "EIO", "Version"), ("'open", "EINVAL", "quote"),
                ("sh -c 'kill -9 $$'", "EIO", "signal 9"), ("yes", "EIO", "no JSON"),
                ("echo '{\"Version\":2}'", "EIO", "Version"),
                ("echo '{\"Version\":1,\"AccessKeyId\":\"A\"}'", "EIO", "SecretAccessKey"),
                (f"'{self.process(Expiration='soon')}'", "EIO", "Expiration")):
            with self.subTest(command):
                env = self.files(f"[default]\ncredential_process = {command}\n")
                message = self.bad(errno_name, "keys", words=(word,), PROBE_INTERACTIVE="1", **env)
                self.assertNotIn("nonsense", message)
        self.assertTrue(good)

    def test_process_of_another_user(self):
        """Who may write to the file could have any program started."""
        line = f"[default]\ncredential_process = '{self.process()}'\n"
        for which in ("config", "credentials"):
            env = self.files(**{which: line})
            path = env["AWS_CONFIG_FILE" if which == "config" else "AWS_SHARED_CREDENTIALS_FILE"]
            self.good("keys", PROBE_INTERACTIVE="1", **env)
            os.chmod(path, 0o646)
            self.bad("EINVAL", "keys", words=("another user may write", which),
                     PROBE_INTERACTIVE="1", **env)
            os.chmod(path, 0o644)
            os.chown(path, 12345, -1)
            self.bad("EINVAL", "keys", words=("another user may write", which),
                     PROBE_INTERACTIVE="1", **env)
            os.chown(path, 0, -1)

    def test_environment(self):
        env = self.files(credentials=f"[default]\n{KEYS}")
        for more in ({"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "s"}, {}):
            self.compare({**env, **more})
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            self.bad("EINVAL", "keys", words=(name,), **env, **{name: "E"})

    def test_two_names_for_the_profile(self):
        env = self.files(credentials=f"[a]\n{KEYS}[b]\n{OTHER}")
        self.assertIn(b"AKIDOWNER", self.good("keys", AWS_PROFILE="a", AWS_DEFAULT_PROFILE="a", **env))
        self.bad("EINVAL", "keys", words=("AWS_DEFAULT_PROFILE",), AWS_PROFILE="a",
                 AWS_DEFAULT_PROFILE="b", **env)


class Sso(ProfileCase):
    """A cached token and the portal."""

    CONFIG = ("[default]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Dev Ops\n"
              "[sso-session corp]\nsso_start_url = https://corp.example.com/start\nsso_region = us-east-1\n")
    LEGACY = ("[default]\nsso_start_url = https://corp.example.com/start\nsso_region = us-east-1\n"
              "sso_account_id = 111122223333\nsso_role_name = Dev Ops\n")

    def token(self, name, expires_s, token="tok-en_1"):
        folder = os.path.join(self.home, ".aws", "sso", "cache")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, hashlib.sha1(name.encode()).hexdigest() + ".json")
        self.token_path = path
        with open(path, "w", encoding="ascii") as out:
            json.dump({"accessToken": token, "expiresAt": time.strftime(
                "%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + expires_s))}, out)

    def test_both_forms(self):
        body = json.dumps({"roleCredentials": {
            "accessKeyId": "ASIASSO", "secretAccessKey": "s", "sessionToken": "t",
            "expiration": int((time.time() + 3600) * 1000)}}).encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for config, name in ((self.CONFIG, "corp"), (self.LEGACY, "https://corp.example.com/start")):
            with common_net.RawServer(answer) as portal:
                env = self.files(config, AWS_ENDPOINT_URL_SSO=portal.url)
                self.bad("EKEYREJECTED", "keys", words=("no SSO token", "aws sso login"), **env)
                self.token(name, -10)
                self.bad("EKEYREJECTED", "keys", words=("expired", "aws sso login"), **env)
                self.assertEqual(portal.requests, [])
                self.token(name, 600)
                self.assertEqual(self.good("keys", **env).split(), [b"ASIASSO", b"SSO"])
                (request,) = portal.requests
                line, _, rest = request.partition(b"\r\n")
                self.assertEqual(line, b"GET /federation/credentials?role_name=Dev%20Ops"
                                       b"&account_id=111122223333 HTTP/1.1")
                self.assertIn(b"x-amz-sso_bearer_token: tok-en_1\r\n", rest)

    def test_refusals(self):
        self.token("corp", 600)
        with common_net.RawServer(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n") as portal:
            env = self.files(self.CONFIG, AWS_ENDPOINT_URL_SSO=portal.url)
            self.bad("EKEYREJECTED", "keys", words=("401", "aws sso login"), **env)
            os.chmod(self.token_path, 0o646)
            self.bad("EINVAL", "keys", words=("every user may write",), **env)
            os.chmod(self.token_path, 0o600)
        # A new login does not help when the role is not assigned.
        with common_net.RawServer(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") as portal:
            env = self.files(self.CONFIG, AWS_ENDPOINT_URL_SSO=portal.url)
            message = self.bad("EKEYREJECTED", "keys", words=("403", "sso_role_name"), **env)
            self.assertNotIn("aws sso login", message)
        with common_net.RawServer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as portal:
            env = self.files(self.CONFIG, AWS_ENDPOINT_URL_SSO=portal.url)
            self.bad("EREMOTEIO", "keys", words=("no keys",), **env)
        for old, new, word in (("sso_role_name", "x", "sso_role_name"),
                               ("[sso-session corp]", "[sso-session other]", "sso-session corp"),
                               ("sso_region = us-east-1", "sso_region = a.b/c", "sso_region")):
            self.bad("EINVAL", "keys", words=(word,), **self.files(self.CONFIG.replace(old, new)))
        self.token("corp", 600, token="a\nb")
        self.bad("EKEYREJECTED", "keys", words=("malformed",), **self.files(self.CONFIG))


class Settings(ProfileCase):
    """Settings of profiles that decide where S3 and STS are. A name that nobody has shows the host."""

    def host(self, *argv, **env):
        result = self.probe(*argv, PROBE_ATTEMPTS="1", https_proxy="", **{
            "AWS_ENDPOINT_URL_S3": None, **env})
        self.assertNotEqual(result.code, common.OK)
        return result.err

    def test_hosts_of_s3(self):
        keys = "[default]\nregion = eu-west-1\n" + KEYS
        for lines, host in (
                ("", "weights.s3.eu-west-1.amazonaws.com"),
                ("use_dualstack_endpoint = true\n", "weights.s3.dualstack.eu-west-1.amazonaws.com"),
                ("s3 =\n  use_dualstack_endpoint = true\n", "weights.s3.dualstack.eu-west-1.amazonaws.com"),
                ("use_dualstack_endpoint = true\ns3 =\n  use_dualstack_endpoint = false\n",
                 "weights.s3.eu-west-1.amazonaws.com"),
                ("s3 =\n  use_accelerate_endpoint = true\n", "weights.s3-accelerate.amazonaws.com"),
                ("s3 =\n  use_accelerate_endpoint = true\n  use_dualstack_endpoint = true\n",
                 "weights.s3-accelerate.dualstack.amazonaws.com"),
                ("s3 =\n  addressing_style = path\n", "s3.eu-west-1.amazonaws.com"),
                ("endpoint_url = https://x.invalid\nignore_configured_endpoint_urls = true\n",
                 "weights.s3.eu-west-1.amazonaws.com"),
                ("endpoint_url = https://x.invalid\n", "x.invalid")):
            with self.subTest(lines):
                self.assertIn(f": {host}:", self.host(
                    "get", common.BUCKET, "k", AWS_REGION=None, **self.files(keys + lines)).replace(
                        "Could not resolve host: ", ""))

    def test_values_that_make_no_sense(self):
        for lines, word in (("s3 = path\n", "s3"), ("s3 =\n  use_accelerate_endpoint = perhaps\n", "perhaps"),
                            ("services = gone\n", "gone"), ("sts_regional_endpoints = x\n", "regional"),
                            ("ignore_configured_endpoint_urls = x\n", "IGNORE")):
            with self.subTest(lines):
                self.bad("EINVAL", "keys", words=(word,), **self.files(f"[default]\n{lines}{KEYS}"))

    def test_hosts_of_sts(self):
        config = ("[default]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = b\n"
                  f"[profile b]\n{KEYS}")
        for region, which, host in (("eu-west-1", "", "sts.eu-west-1.amazonaws.com"),
                                    ("eu-west-1", "regional", "sts.eu-west-1.amazonaws.com"),
                                    ("eu-west-1", "legacy", "sts.amazonaws.com"),
                                    ("eu-south-1", "legacy", "sts.eu-south-1.amazonaws.com")):
            with self.subTest(region=region, which=which):
                self.assertIn(host, self.host("keys", **self.files(
                    config, AWS_REGION=region, AWS_STS_REGIONAL_ENDPOINTS=which)))

    def test_empty_ca_bundle(self):
        """Means that there is none, and never that certificates are not checked."""
        text = f"[default]\n{KEYS}ca_bundle = /no/such/bundle\n"
        for more in ({"AWS_CA_BUNDLE": ""}, {}):
            with common_net.RawServer(b"no TLS") as server:
                self.assertIn("/no/such/bundle", self.host(
                    "get", common.BUCKET, "k", **self.files(text), **more,
                    AWS_ENDPOINT_URL=server.url.replace("http:", "https:")))


del ProfileCase

if __name__ == "__main__":
    common.main()
