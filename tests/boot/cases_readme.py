#!/usr/bin/python3
"""README.md, "From nothing to ollama run": the commands for systemd, to the letter.

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

setUpModule = common_boot.setUpModule


def commands():
    """The lines of shell of the section's part with AWS and systemd, in one string."""
    text = common.read_text(os.path.join(common.TOP, "README.md"))
    (section,) = re.findall(r"^## From nothing to `ollama run`\n.*?^With AWS and systemd(.*?)^## ",
                            text, re.S | re.M)
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
        lines = commands().splitlines()
        # What needs an account or Ollama itself; the alias is there already.
        others = [line.split()[:2] for line in lines if re.match(r"(key=\S*aws|aws|ollama) ", line)]
        self.assertEqual(others, [["key=$(aws", "kms"], ["aws", "kms"], ["ollama", "run"]])
        script = "\n".join(line for line in lines
                           if not re.match(r"(key=\S*aws|aws|ollama) ", line))
        for word in ("systemd-sysusers", "sealctl seal", "systemctl enable --now " + UNIT):
            self.assertIn(word, script)
        plain = common.make_model(self.lab.path("plain", "mistral-7b.gguf"), 2 * common.MIB, 7)
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
        self.assertIn("active (running)", out)
        self.assertIn("Serving 1 model", out)
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
