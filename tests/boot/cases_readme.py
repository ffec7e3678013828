#!/usr/bin/python3
"""README.md, "AWS and systemd": the commands of owner and operator, to the letter.

What an emulator stands for comes from the environment, as on AWS; Ollama is the reader of
common_boot, which is ordered and told where to look in the same way.
"""

import os
import re
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "cases"))
import common
import common_boot
from common_boot import UNIT

GENERATOR = os.path.join(common.TESTS, "models", "make-tiny-gguf.py")

setUpModule = common_boot.setUpModule


def commands():
    """The lines of shell up to the service that runs, in one string."""
    text = common.read_text(os.path.join(common.TOP, "README.md"))
    (section,) = re.findall(r"^## AWS and systemd\n(.*?)^The consumer ", text, re.S | re.M)
    return "\n".join(re.findall(r"^    (.*)$", section, re.M))


class Readme(common_boot.Service):
    """The owner and the operator share one machine here."""

    def setUp(self):
        super().setUp()
        m = self.machine
        m.run("rm", "-rf", "/etc/sealedfs", "/srv/models")
        environment = {"AWS_REGION": common.REGION, "AWS_ENDPOINT_URL_S3": self.lab.s3.url,
                       "AWS_ENDPOINT_URL_KMS": self.lab.kms.url,
                       "SEALEDFS_TCTI": self.lab.tpm.tcti}
        m.write("/etc/systemd/system/sealedfs@.service.d/emulators.conf", "[Service]\n" + "".join(
            f"Environment={name}={value}\n" for name, value in environment.items()))
        m.write("/root/.aws/credentials",
                common.read_text(os.path.join(self.lab.dir, "owner", "credentials")), mode=0o600)
        self.exports = "".join(f"export {name}='{value}'\n" for name, value in environment.items())

    def test_to_the_letter(self):
        m = self.machine
        script = commands()
        for word in ("systemd-sysusers", "sealctl seal", "systemctl enable --now " + UNIT):
            self.assertIn(word, script)
        plain = self.lab.path("plain", "mistral-7b.gguf")
        made = self.lab.run("/usr/bin/python3", GENERATOR, "--size", "2", "--out", plain)
        self.assertEqual(made.code, common.OK, made.err)
        self.addCleanup(self.sums.update, dict(self.sums))
        self.addCleanup(self.sums.clear)
        self.sums.clear()
        # The bucket has another name here, and a prefix of its own.
        script = script.replace("s3://acme-weights/prod", f"s3://{common.BUCKET}/readme")
        m.write("/root/script", "set -eu\nexport HOME=/root\ncd\n" + self.exports + script)
        m.copy_in(plain, "/root/mistral-7b.gguf")
        m.write("/usr/local/bin/reader", common_boot.READER_PROGRAM.replace(
            "a.gguf", "mistral-7b.gguf"), mode=0o755)
        self.addCleanup(m.write, "/usr/local/bin/reader", common_boot.READER_PROGRAM, mode=0o755)
        out = m.run("sh", "/root/script").out
        self.assertIn("mistral-7b.gguf", out)
        self.assertEqual(m.show(UNIT, "ActiveState"), "active")
        self.assert_status(UNIT, "Serving 1 model")
        self.sums["mistral-7b.gguf"] = common.digest(plain)
        self.assert_read()
        # What `ollama list` and `ollama run mistral-7b` look for.
        manifest = "/srv/models/ollama/manifests/registry.ollama.ai/library/mistral-7b/latest"
        self.assertIn(self.sums["mistral-7b.gguf"], m.run("cat", manifest).out)
        self.assertEqual(m.run("sha256sum", "/srv/models/ollama/blobs/sha256-"
                               + self.sums["mistral-7b.gguf"]).out.split()[0],
                         self.sums["mistral-7b.gguf"])


if __name__ == "__main__":
    common.main()
