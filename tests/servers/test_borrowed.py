"""The tests of aiosmtpd and of Python's smtplib that speak to a port, played against our server.

`.ci/run` unpacks them. What is left out, and why, is in borrowed/*_excluded.txt.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

from harness import ROOT, Server
from recording import recording

BORROWED = Path(__file__).parent / "borrowed"
AIOSMTPD = ROOT / ".cache" / "aiosmtpd"
SMTPLIB = ROOT / ".cache" / "apart" / "libpython3.11-testsuite" / "usr" / "lib" / "python3.11" / "test"
# Their AUTH is in clear, and what they send of addresses is short of RFC 5321.
CONFIG = {"tls_before_auth": "0\n", "rcpthosts": "example.com\n"}


class BorrowedTests(unittest.TestCase):
    """What others expect of a server."""

    def play(self, name: str, server: Server, *command: str | Path, cwd: Path, **environment: str) -> str:
        """Run tests to their end, all of which must pass; give what they printed."""
        self.assertTrue(cwd.exists(), f"{cwd} is missing; .ci/run makes it")
        ours = {
            "SERVER_PORT": str(server.port),
            "SERVER_EXCLUDED": str(BORROWED / f"{name}_excluded.txt"),
            **environment,
        }
        done = subprocess.run(
            command, cwd=cwd, env=os.environ | ours, capture_output=True, text=True, timeout=200, check=False
        )
        said = done.stdout + done.stderr
        self.assertEqual(0, done.returncode, said[-4000:])
        return said

    def check_ran(self, least: int, pattern: str, said: str) -> None:
        """Expect so many tests at least: a list that excludes too much fails."""
        ran = re.search(pattern, said)
        assert ran is not None, said
        print(ran[0])
        self.assertGreaterEqual(int(ran[1]), least)

    def test_aiosmtpd(self) -> None:
        pytest = ROOT / ".venv-tools" / "bin" / "pytest"
        options = ("-p", "aiosmtpd_suite", "-p", "no:cacheprovider", "-c", os.devnull, "-q", "--tb=short")
        tests = (f"--rootdir={AIOSMTPD}", "aiosmtpd/tests/test_smtp.py")
        config = CONFIG | {"auth_mechanisms": "LOGIN PLAIN\n"}
        with recording(config, more="accounts\ndont_require_anglebrackets\n") as server:
            path = f"{AIOSMTPD}:{BORROWED}"
            said = self.play("aiosmtpd", server, pytest, *options, *tests, cwd=AIOSMTPD, PYTHONPATH=path)
        self.check_ran(134, r"(\d+) passed.*", said)

    def test_smtplib(self) -> None:
        """What arrives is compared with what they sent, too."""
        config = CONFIG | {"flat_auth_pw": "Mr.A@somewhere.com:somepassword\n"}
        with recording(config, more="accounts\nqualify\n") as server:
            command = (sys.executable, "-W", "ignore", BORROWED / "smtplib_suite.py")
            said = self.play("smtplib", server, *command, cwd=SMTPLIB, SERVER_MAIL=str(server.new))
        self.check_ran(36, r"Ran (\d+) tests.*", said)


if __name__ == "__main__":
    unittest.main()
