"""The built wheel in an empty environment, away from the checkout, takes mail."""

from __future__ import annotations

import os
import re
import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from harness import ROOT, answers, free_port, run, wait_until


class WheelTests(unittest.TestCase):
    """``pip install``, ``qpsmtpd init``, ``twistd qpsmtpd``: nothing else is needed."""

    def setUp(self) -> None:
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        source = self.directory / "source"
        run("git", "clone", "--quiet", ROOT, source)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", self.directory, source)
        shutil.rmtree(source)
        (wheel,) = self.directory.glob("qpsmtpd-*.whl")
        run(sys.executable, "-m", "venv", self.directory / "venv")
        self.bin = self.directory / "venv" / "bin"
        run(self.bin / "pip", "install", "--quiet", wheel)
        self.home = self.directory / "elsewhere"
        self.home.mkdir()

    def program(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        return subprocess.run(
            [self.bin / "qpsmtpd", *words],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_init_and_serve(self) -> None:
        made = self.program("init", "d")
        self.assertEqual(made.returncode, 0, made.stderr)
        checked = self.program("check", "d")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        shipped = {str(path.relative_to(ROOT)) for path in (ROOT / "plugins").rglob("*.py")}
        listed = self.program("plugins").stdout
        for path in shipped:
            name = path.removeprefix("plugins/").removesuffix(".py").replace("_", "[-_]")
            self.assertRegex(listed, rf"(?m)^{name}\b")
        port = free_port()
        (self.home / "d" / "listen").write_text(f"127.0.0.1:{port}\n")
        (self.home / "d" / "smtps").write_text(f"127.0.0.1:{free_port()}\n")
        command = [self.bin / "twistd", "-n", "--pidfile=", "qpsmtpd", "--config", "d"]
        with (self.home / "log").open("wb") as log:
            server = subprocess.Popen(command, cwd=self.home, stdout=log, stderr=log)
        self.addCleanup(server.wait)
        self.addCleanup(server.send_signal, signal.SIGTERM)
        wait_until(lambda: answers(port) or server.poll() is not None, "the server listens")
        with smtplib.SMTP("127.0.0.1", port) as client:
            client.sendmail("a@localhost", ["b@localhost"], "Subject: it works\n\nyes\n")
        found = [path for path in self.home.rglob("new/*") if b"Subject: it works" in path.read_bytes()]
        self.assertEqual(len(found), 1)
        self.assertIsNone(re.search("Traceback", (self.home / "log").read_text()))


if __name__ == "__main__":
    unittest.main()
