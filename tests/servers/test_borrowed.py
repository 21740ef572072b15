"""The tests of aiosmtpd that speak to a port, played against our server.

`.ci/run` unpacks their source. What is left out, and why, is in borrowed/aiosmtpd_excluded.txt.
"""

from __future__ import annotations

import os
import re
import subprocess
import unittest
from pathlib import Path

from harness import ROOT
from recording import recording

BORROWED = Path(__file__).parent / "borrowed"
AIOSMTPD = ROOT / ".cache" / "aiosmtpd"
LEAST = 130
"""So many tests at least must have run: a list that excludes too much fails."""


class BorrowedTests(unittest.TestCase):
    """What others expect of a server."""

    def test_aiosmtpd(self) -> None:
        pytest = ROOT / ".venv-tools" / "bin" / "pytest"
        for path in (pytest, AIOSMTPD):
            self.assertTrue(path.exists(), f"{path} is missing; .ci/run makes it")
        options = ("-p", "aiosmtpd_suite", "-p", "no:cacheprovider", "-c", os.devnull, "-q", "--tb=short")
        tests = "aiosmtpd/tests/test_smtp.py"
        # Their AUTH is in clear, and addresses go without brackets.
        config = {"tls_before_auth": "0\n", "auth_mechanisms": "LOGIN PLAIN\n", "rcpthosts": "example.com\n"}
        with recording(config, more="accounts\ndont_require_anglebrackets\n") as server:
            environment = {
                **os.environ,
                "SERVER_PORT": str(server.port),
                "SERVER_EXCLUDED": str(BORROWED / "aiosmtpd_excluded.txt"),
                "PYTHONPATH": f"{AIOSMTPD}:{BORROWED}",
            }
            done = subprocess.run(
                [pytest, *options, f"--rootdir={AIOSMTPD}", tests],
                cwd=AIOSMTPD,
                env=environment,
                capture_output=True,
                text=True,
                timeout=200,
                check=False,
            )
        self.assertEqual(0, done.returncode, done.stdout[-4000:] + done.stderr)
        passed = re.search(r"(\d+) passed", done.stdout)
        assert passed is not None
        print(f"aiosmtpd: {done.stdout.splitlines()[-1]}")
        self.assertGreaterEqual(int(passed[1]), LEAST)


if __name__ == "__main__":
    unittest.main()
