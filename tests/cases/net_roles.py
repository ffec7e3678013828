#!/usr/bin/python3
"""fs/aws: keys of roles: web identity, and profiles that assume a role by way of other keys.

Drives net_probe against tests/emu/sts.py, imds.py and s3.py.
"""

import fcntl
import os
import subprocess
import sys
import termios

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402
import common_net  # noqa: E402

BUCKET = common.BUCKET
CONTENT = b"content of the object, longer than all ranges together"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJl+/="
ROLE = "arn:aws:iam::111122223333:role/readers/model reader".replace(" ", "-")


class Sts(common.Emulator):
    def __init__(self, lab, name="sts", *options):
        super().__init__(lab, name, "sts.py", "--credentials", lab.credentials, "--web-token",
                         TOKEN, *options)
        self.url = self.values["url"]


class RoleCase(common_net.NetCase):
    PARTS = ("s3",)
    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sts = Sts(cls.lab, "sts", *cls.OPTIONS)
        with open(cls.lab.s3.file("k"), "wb") as out:
            out.write(CONTENT)
        cls.token = cls.lab.path("web.token")

    def setUp(self):
        self.write_token(TOKEN + "\n")
        self.sts.ask("DELETE", "fault")
        self.sts.clear_log()
        self.base = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_ENDPOINT_URL_STS": self.sts.url}

    def write_token(self, text):
        with open(self.token, "w", encoding="ascii") as out:
            out.write(text)

    def config(self, text):
        path = self.lab.path("config")
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def probe(self, *argv, data=None, **env):
        return super().probe(*argv, data=data, **{**self.base, **env})

    def asked(self):
        return [entry["operation"] for entry in self.sts.log()]


class WebIdentity(RoleCase):
    """By the environment, as in a Kubernetes pod, and by a profile."""

    def setUp(self):
        super().setUp()
        self.base.update(AWS_WEB_IDENTITY_TOKEN_FILE=self.token, AWS_ROLE_ARN=ROLE)

    def test_keys_work(self):
        self.assertEqual(self.good("get", BUCKET, "k"), CONTENT)
        self.assertTrue(self.good("keys").endswith(b" web identity\n"))
        first = self.sts.log()[0]
        self.assertEqual((first["form"]["RoleArn"], first["form"]["RoleSessionName"]),
                         (ROLE, "sealedfs"))
        self.good("keys", AWS_ROLE_SESSION_NAME="me@host")
        self.assertEqual(self.sts.log()[-1]["form"]["RoleSessionName"], "me@host")

    def test_one_thread_asks_for_all(self):
        self.good("bench", BUCKET, "k", "8", "32", "1")
        self.assertEqual(self.asked(), ["AssumeRoleWithWebIdentity"])

    def test_by_a_profile(self):
        env = {"AWS_WEB_IDENTITY_TOKEN_FILE": None, "AWS_ROLE_ARN": None, "AWS_CONFIG_FILE":
               self.config(f"[profile pod]\nrole_arn = {ROLE}\nrole_session_name = from-profile\n"
                           f"web_identity_token_file = {self.token}\n"), "AWS_PROFILE": "pod"}
        self.assertEqual(self.good("get", BUCKET, "k", **env), CONTENT)
        self.assertEqual(self.sts.log()[0]["form"]["RoleSessionName"], "from-profile")

    def test_order(self):
        self.assertIn(b"AKIAENV environment", self.good(
            "keys", AWS_ACCESS_KEY_ID="AKIAENV", AWS_SECRET_ACCESS_KEY="x"))
        self.assertEqual(self.asked(), [])
        # Before the keys of a profile, as in the AWS CLI, unless the profile was asked for by option.
        keys = {"AWS_SHARED_CREDENTIALS_FILE": self.lab.path("owner", "credentials")}
        self.assertIn(b"web identity", self.good("keys", **keys))
        self.assertIn(b" profile\n", self.good("keys", PROBE_PROFILE="default", **keys))
        self.assertEqual(len(self.asked()), 1)
        # Before the container and the instance.
        self.good("keys", AWS_CONTAINER_CREDENTIALS_FULL_URI="http://127.0.0.1:1/")
        self.assertEqual(len(self.asked()), 2)

    def test_passing_faults(self):
        for fault in ({"kind": "cut"}, {"error": "InternalFailure"}, {"error": "Throttling"},
                      {"error": "IDPCommunicationError"}, {"kind": "status", "status": 503}):
            with self.subTest(**fault):
                self.sts.ask("POST", "fault", {"times": 1, **fault})
                self.assertEqual(self.good("get", BUCKET, "k"), CONTENT)

    def test_lasting_faults(self):
        for fault, errno_name, word in (
                ({"error": "AccessDenied"}, "EKEYREJECTED", "AccessDenied"),
                ({"error": "ExpiredTokenException"}, "EKEYREJECTED", "ExpiredTokenException"),
                ({"error": "InternalFailure"}, "EREMOTEIO", "InternalFailure"),
                ({"kind": "garbage"}, "EREMOTEIO", "no sense"),
                ({"kind": "no-keys"}, "EREMOTEIO", "lacks"),
                ({"kind": "cut"}, "ECONNRESET", "127.0.0.1")):
            with self.subTest(**fault), self.sts.fault(**fault):
                self.bad(errno_name, "keys", words=(word, ROLE))

    def test_bad_tokens(self):
        self.write_token("another.token.entirely")
        message = self.bad("EKEYREJECTED", "keys", words=("InvalidIdentityToken", ROLE))
        self.assertNotIn("another.token", message)
        self.write_token("  \n")
        self.bad("EAGAIN", "keys", words=(self.token,))
        self.write_token("two words of it")
        self.bad("EINVAL", "keys", words=(self.token,))
        self.write_token("x" * 20001)
        self.bad("EAGAIN", "keys", words=(self.token,))
        os.unlink(self.token)
        self.bad("EAGAIN", "keys", words=(self.token, "No such file"))

    def test_half_a_configuration(self):
        self.bad("EINVAL", "keys", AWS_ROLE_ARN=None, words=("AWS_ROLE_ARN",))
        self.bad("EINVAL", "keys", AWS_ROLE_ARN="readers", words=("ARN", "readers"))

    def test_no_token_or_key_in_the_debug_log(self):
        result = self.probe("get", BUCKET, "k", PROBE_DEBUG="1")
        self.assertEqual(result.code, 0, result.err)
        self.assertNotIn(TOKEN[:30], result.err)
        for entry in common.json.loads(common.read_text(self.lab.credentials)).values():
            self.assertNotIn(entry["secret"], result.err)

    def test_region_from_the_instance(self):
        """No region is configured: servers that are not AWS's do not care."""
        self.assertEqual(self.good("get", BUCKET, "k", AWS_REGION=None), CONTENT)
        self.bad("EINVAL", "keys", AWS_REGION=None, AWS_ENDPOINT_URL_STS=None,
                 AWS_ENDPOINT_URL_S3=None, words=("AWS_REGION",))


class ShortLived(RoleCase):
    """Keys are renewed before they end, by one request, and S3 never sees an old one."""

    OPTIONS = ("--lifetime", "6")

    def test_renewed_in_time(self):
        env = {**self.lab.env("owner"), **self.base, "AWS_WEB_IDENTITY_TOKEN_FILE": self.token,
               "AWS_ROLE_ARN": ROLE}
        self.lab.s3.clear_log()
        with subprocess.Popen([common_net.PROBE, "repeat", BUCKET, "k"], env=env, text=True,
                              bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            def again():
                process.stdin.write("x\n")
                process.stdin.flush()
                self.assertEqual(process.stdout.readline().strip(), "0 ok")
                return len(self.asked()) >= 3
            common.wait_for("two renewals", again, process)
            process.stdin.close()
            self.assertEqual(process.wait(60), 0)
        self.assertEqual(len(self.asked()), 3)
        self.assertEqual({entry["status"] for entry in self.lab.s3.log()}, {206})


class AssumeRole(RoleCase):
    """role_arn with source_profile or credential_source."""

    OPTIONS = ("--external-id", "shared secret no")

    def profile(self, *lines, more=""):
        keys = common.read_text(self.lab.path("owner", "credentials")).split("\n", 1)[1]
        role = "\n".join((f"role_arn = {ROLE}", "external_id = shared secret no", *lines))
        self.base.update(AWS_PROFILE="role", AWS_CONFIG_FILE=self.config(
            f"[profile role]\n{role}\n[profile base]\n{keys}\n{more}\n"))

    def test_source_profile(self):
        self.profile("source_profile = base", "duration_seconds = 1800")
        self.assertEqual(self.good("get", BUCKET, "k"), CONTENT)
        self.assertTrue(self.good("keys").endswith(b" assumed role\n"))
        first = self.sts.log()[0]
        self.assertEqual(first["signer"], self.lab.access_keys["owner"])
        self.assertEqual(first["form"]["DurationSeconds"], "1800")

    def test_a_chain_of_roles(self):
        self.profile("source_profile = middle", more=f"[profile middle]\nrole_arn = {ROLE}-middle\n"
                     "external_id = shared secret no\nsource_profile = base\n")
        self.assertEqual(self.good("get", BUCKET, "k"), CONTENT)
        log = self.sts.log()
        self.assertEqual([e["form"]["RoleArn"] for e in log], [ROLE + "-middle", ROLE])
        self.assertTrue(log[1]["signer"].startswith("ASIA"))

    def test_a_source_with_keys_and_a_role(self):
        """Its own keys are used; the circle is never entered."""
        keys = common.read_text(self.lab.path("owner", "credentials")).split("\n", 1)[1]
        self.profile("source_profile = both", more=f"[profile both]\n{keys}\nrole_arn = {ROLE}-x\n"
                     "source_profile = role\n")
        self.assertEqual(self.good("get", BUCKET, "k"), CONTENT)
        self.assertEqual([e["form"]["RoleArn"] for e in self.sts.log()], [ROLE])

    def test_mfa_on_a_terminal(self):
        self.profile("source_profile = base", "mfa_serial = arn:aws:iam::111122223333:mfa/me")
        # Without one it says so, even to a person.
        done = subprocess.run(
            [common_net.PROBE, "keys"], env=self.person(), stdin=subprocess.DEVNULL, text=True,
            capture_output=True, start_new_session=True, timeout=60, check=False)
        self.assertEqual(done.returncode, common.USAGE)
        self.assertIn("no terminal", done.stderr)
        self.assertEqual(self.asked(), [])
        terminal, inner = os.openpty()

        def own_terminal():
            os.setsid()
            fcntl.ioctl(inner, termios.TIOCSCTTY, 0)
        with subprocess.Popen([common_net.PROBE, "keys"], env=self.person(), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              preexec_fn=own_terminal) as process:
            shown = b""
            while b"mfa/me: " not in shown:
                shown += os.read(terminal, 1000)
            os.write(terminal, b"123456\n")
            out = process.stdout.read()
            self.assertEqual(process.wait(60), 0)
        self.assertIn(" assumed role\n", out)
        self.assertNotIn(b"123456", shown + os.read(terminal, 1000))
        os.close(terminal)
        os.close(inner)
        form = self.sts.log()[0]["form"]
        self.assertEqual((form["SerialNumber"], form["TokenCode"]),
                         ("arn:aws:iam::111122223333:mfa/me", "123456"))

    def person(self):
        env = {**self.lab.env("owner"), **self.base, "PROBE_INTERACTIVE": "1",
               "AWS_ENDPOINT_URL_S3": self.lab.s3.url}
        return {name: value for name, value in env.items() if value is not None}

    def test_credential_sources(self):
        self.profile("credential_source = Environment")
        keys = dict(line.split(" = ") for line in common.read_text(self.lab.path(
            "owner", "credentials")).splitlines() if " = " in line)
        env = {"AWS_ACCESS_KEY_ID": keys["aws_access_key_id"],
               "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"]}
        # The environment's own keys come first, unless the profile was asked for by name.
        self.assertIn(b" environment\n", self.good("keys", **env))
        self.assertIn(b" assumed role\n", self.good("keys", PROBE_PROFILE="role", **env))
        self.bad("EINVAL", "keys", words=("Environment", "no keys"))
        imds = common.Emulator(self.lab, "imds", "imds.py", "--credentials", self.lab.credentials)
        self.profile("credential_source = Ec2InstanceMetadata")
        self.assertIn(b" assumed role\n", self.good(
            "keys", AWS_EC2_METADATA_DISABLED=None,
            AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.values["url"]))
        self.bad("EINVAL", "keys", words=("Ec2InstanceMetadata", "no keys"))
        self.profile("credential_source = EcsContainer")
        self.assertIn(b" assumed role\n", self.good(
            "keys", AWS_CONTAINER_CREDENTIALS_FULL_URI=imds.values["container"],
            AWS_CONTAINER_AUTHORIZATION_TOKEN="container-token"))
        self.bad("EINVAL", "keys", words=("EcsContainer", "no keys"))

    def test_refusals(self):
        for words, lines, more in (
                (("needs one of",), (), ""),
                (("needs one of",), ("source_profile = base", "credential_source = Environment"), ""),
                (("no AWS profile is called nobody",), ("source_profile = nobody",), ""),
                (("must be Environment",), ("credential_source = Magic",), ""),
                (("mfa_serial", "asks nobody"),
                 ("source_profile = base", "mfa_serial = arn:aws:iam::1:mfa/x"), ""),
                (("duration_seconds",), ("source_profile = base", "duration_seconds = 60"), ""),
                (("its own source_profile",), ("source_profile = loop",),
                 f"[profile loop]\nrole_arn = {ROLE}\nsource_profile = role\n"),
                (("empty", "has no keys"), ("source_profile = empty",),
                 "[profile empty]\nregion = x\n"),
                (("has no keys",), ("source_profile = role",), ""),
                (("sso-session x",), ("source_profile = sso",), "[profile sso]\nsso_session = x\n"),
                (("lead to each other",), ("source_profile = p0",), "".join(
                    f"[profile p{n}]\nrole_arn = {ROLE}\nsource_profile = p{n + 1}\n"
                    for n in range(9)))):
            with self.subTest(words):
                self.profile(*lines, more=more)
                self.bad("EINVAL", "keys", words=words)
        self.assertEqual(self.asked(), [])

    def test_denied(self):
        self.profile("source_profile = base")
        self.base["AWS_CONFIG_FILE"] = self.config(common.read_text(self.lab.path(
            "config")).replace("secret no", "wrong"))
        self.bad("EKEYREJECTED", "keys", words=("AccessDenied", ROLE))

    def test_wrong_clock(self):
        self.profile("source_profile = base")
        skewed = Sts(self.lab, "skewed", "--clock-offset", "-7200")
        self.assertIn(b" assumed role\n", self.good("keys", AWS_ENDPOINT_URL_STS=skewed.url))
        self.assertEqual([entry["status"] for entry in skewed.log()], [403, 200])

    def test_endpoint_by_the_services_section(self):
        self.profile("source_profile = base", "services = mine",
                     more=f"[services mine]\nsts =\n  endpoint_url = {self.sts.url}\n")
        self.assertIn(b" assumed role\n", self.good("keys", AWS_ENDPOINT_URL_STS=None))
        self.bad("ECONNREFUSED", "keys", AWS_ENDPOINT_URL_STS="http://127.0.0.1:1")


del RoleCase

if __name__ == "__main__":
    common.main()
