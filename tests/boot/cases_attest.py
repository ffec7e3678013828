#!/usr/bin/python3
"""sealedfs-attest.service: what it answers beside a mount of the service, as the user that it is."""

import base64
import json
import os
import re
import socket
import sys
import urllib.request

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "cases"))
import common
import common_boot

setUpModule = common_boot.setUpModule
UNIT = "sealedfs-attest"


class Attest(common_boot.Service):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.machine.systemctl, "stop", UNIT, check=None)

    def override(self, *lines):
        self.machine.write(f"/etc/systemd/system/{UNIT}.service.d/test.conf", "\n".join((
            "[Service]", f"Environment=SEALEDFS_TCTI={self.lab.tpm.tcti}", *lines)) + "\n")
        self.machine.systemctl("daemon-reload")

    def test_beside_a_mount(self):
        """Its mounts may come later; it reads the log and the control files without being root."""
        m = self.machine
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.override(f'Environment="PLACE=127.0.0.1:{port}"')
        m.systemctl("start", UNIT)
        self.assertEqual(m.show(UNIT, "StatusText"), f"Serving evidence on 127.0.0.1:{port}")
        self.start()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/v1/evidence?nonce={'ab' * 32}", timeout=60) as answer:
            evidence = json.load(answer)
        self.assertEqual([seal["path"] for seal in evidence["seals"]], ["a.gguf", "b.gguf"],
                         (evidence["mounts"], m.run("cat", f"/proc/{m.show(UNIT, 'MainPID')}/mountinfo").out))
        self.assertEqual([(mount["path"], len(mount["models"])) for mount in evidence["mounts"]],
                         [("/srv/models", 2)])
        log = base64.b64decode(evidence["event_log"])
        self.assertEqual(log.decode(), m.run("cat", "/run/sealedfs/tpm2-measure.log").out)
        self.assertEqual(log.count(b"\x1e"), 3)
        pid = m.show(UNIT, "MainPID")
        status = m.run("cat", f"/proc/{pid}/status").out
        self.assertRegex(status, r"Seccomp:\s+2")
        self.assertRegex(status, r"CapEff:\s+0+\n")
        self.assertNotRegex(status, r"Uid:\s+0")
        m.systemctl("stop", UNIT)
        self.assertEqual(m.show(UNIT, "Result"), "success")

    def test_by_default(self):
        """Off; on a socket of the machine when it is started."""
        m = self.machine
        self.assertEqual(m.systemctl("is-enabled", UNIT, check=None).out, "disabled\n")
        self.override()
        m.systemctl("start", UNIT)
        self.assertEqual(m.run("stat", "-c", "%F %a", "/run/sealedfs-attest/http").out, "socket 666\n")

    def test_hardening(self):
        m = self.machine
        done = m.run("systemd-analyze", "verify", UNIT + ".service", check=None)
        self.assertEqual((done.code, done.out), (0, ""))
        out = m.run("systemd-analyze", "security", "--no-pager", UNIT).out
        score = float(re.search(r"Overall exposure level for \S+: (\d+\.\d)", out)[1])
        self.assertLess(score, 3, out)


if __name__ == "__main__":
    common.main()
