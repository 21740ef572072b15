"""gsasl, which speaks SCRAM as others wrote it, bound to the TLS connection too."""

from __future__ import annotations

import unittest

from harness import Server, need, run, running

USER, PASSWORD = "user@example.org", "secret word"
CONFIG = {
    "me": "localhost\n",  # gsasl wants to find it in the certificate
    "flat_auth_pw": f"{USER}:{PASSWORD}\n",
    "auth_mechanisms": "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN\n",
}
TLS12 = "NORMAL:-VERS-TLS1.3"


class ScramTests(unittest.TestCase):
    """Both sides prove to each other that they know the password."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        need("gsasl")
        cls.server = cls.enterClassContext(running(CONFIG))

    def gsasl(self, mechanism: str, *options: str, user: str = USER, password: str = PASSWORD) -> str:
        ca = self.server.config / "ssl" / "qpsmtpd-server.crt"
        tls = ["--smtp", "--starttls", f"--x509-ca-file={ca}"]
        login = ["--mechanism", mechanism, "-a", user, "-p", password]
        done = run("gsasl", *tls, *login, *options, "localhost", self.server.port, check=False)
        return done.stdout + done.stderr

    def test_bound(self) -> None:
        said = self.gsasl("SCRAM-SHA-256-PLUS")
        self.assertIn(f"235 2.7.0 SCRAM-SHA-256-PLUS authentication successful for {USER}", said)
        self.assertIn("server trusted", said)

    def test_unbound(self) -> None:
        said = self.gsasl("SCRAM-SHA-256", "--no-cb")
        self.assertIn(f"235 2.7.0 SCRAM-SHA-256 authentication successful for {USER}", said)
        self.assertIn("server trusted", said)

    def test_older_tls(self) -> None:
        """Before TLS 1.3 there is nothing to bind to, and it is not offered."""
        said = self.gsasl("SCRAM-SHA-256", "--no-cb", f"--priority={TLS12}")
        self.assertIn("AUTH SCRAM-SHA-256 PLAIN", said)
        self.assertIn("235 2.7.0 SCRAM-SHA-256 ", said)

    def test_refused(self) -> None:
        """A wrong password and an unknown user get the same reply."""
        for wrong in ({"password": "wrong"}, {"user": "lost@example.org"}):
            said = self.gsasl("SCRAM-SHA-256-PLUS", **wrong)
            self.assertIn("535 5.7.8 SCRAM-SHA-256-PLUS authentication failed for ", said)


if __name__ == "__main__":
    unittest.main()
