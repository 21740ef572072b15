"""systemd's own programs: what docs/running.md tells to install, and the sockets that are handed over."""

from __future__ import annotations

import re
import smtplib
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import ROOT, TWISTD, Server, need, run, wait_until
from processes import children
from test_upgrade import QUICK, Case

UNITS = re.compile(r"```ini\n(.*?)```", re.DOTALL)
NAMES = ("qpsmtpd.service", "qpsmtpd.socket", "qpsmtpd-submission.socket")


class UnitTests(unittest.TestCase):
    def test_units(self) -> None:
        """The units of the documentation are right as they are, and belong together."""
        need("systemd-analyze")
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        texts = UNITS.findall((ROOT / "docs/running.md").read_text())
        for name, text in zip(NAMES, texts, strict=True):
            (directory / name).write_text(text.replace("/opt/qpsmtpd/bin/twistd", str(TWISTD)))
        said = run("systemd-analyze", "verify", "--man=no", *(directory / name for name in NAMES))
        self.assertEqual("", said.stdout + said.stderr)


class ActivationTests(Case):
    def test_activated(self) -> None:
        """The first client starts the server, which serves it, and whose successors have the socket too."""
        need("systemd-socket-activate")
        for workers in (1, 2):
            config = {"workers": f"{workers}\n", "listen": "systemd:domain=INET:name=smtp\n"}
            server = Server(QUICK | config)
            self.addCleanup(server.close)
            self.pidfile, self.log = server.directory / "pid", server.log
            activate = ["systemd-socket-activate", "-l", f"127.0.0.1:{server.port}", "--fdname=smtp"]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [
                        *activate,
                        TWISTD,
                        "-n",
                        "--pidfile",
                        self.pidfile,
                        "qpsmtpd",
                        "--config",
                        server.config,
                    ],
                    cwd=server.directory,
                    stdout=log,
                    stderr=log,
                )
            self.addCleanup(self.process.wait)
            self.addCleanup(self.kill_all, server)
            wait_until(lambda log=server.log: "Listening on" in log.read_text(), "systemd listens")
            self.assertFalse(self.pidfile.exists())
            for number in range(1, 4):
                with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
                    client.sendmail("a@example.com", ["b@example.org"], "Subject: x\n\nx\n")
                self.assertEqual(number, len(server.messages()))
                self.assertEqual(workers if workers > 1 else 0, len(children(self.pid)))
                self.upgrade()
            self.end(server)


if __name__ == "__main__":
    unittest.main()
