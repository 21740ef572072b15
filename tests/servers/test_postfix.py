"""Postfix as the next hop."""

from __future__ import annotations

import smtplib
import tempfile
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Server, need, run, running, sent_part
from postfix import Postfix, swaks

# With all that Postfix would add for a client on its own machine.
HEADER = (
    "Subject: hello\nFrom: a@example.com\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nMessage-Id: <1@example.com>\n"
)
MESSAGE = HEADER + "\nFirst line\n.dot\n..\n" + "x" * 900 + "\n" + "long\n" * 20000
SHORT = HEADER + "\nx\n"
FORWARD = "tls self_signed\nrelay\nrcpt_ok\nqueue/smtp-forward 127.0.0.1 {port} {words}\n"


@contextmanager
def forwarding(words: str = "", **settings: str) -> Iterator[tuple[Server, Postfix]]:
    """Run a server that forwards to a Postfix."""
    with Postfix(**settings) as postfix:
        plugins = FORWARD.format(port=postfix.port, words=words)
        with running({"plugins": plugins}) as server:
            yield server, postfix


class NextHopTests(unittest.TestCase):
    """queue/smtp-forward delivers to Postfix."""

    server: Server
    postfix: Postfix

    @classmethod
    def setUpClass(cls) -> None:
        cls.server, cls.postfix = cls.enterClassContext(forwarding())

    def test_delivery_to_the_far_end(self) -> None:
        said = swaks(self.server.port, MESSAGE, recipient="b@far.example")
        self.assertIn("250 2.0.0 Queued! as ", said)
        (message,) = self.postfix.take_messages(1)
        self.assertEqual(sent_part(message, b"Subject:"), MESSAGE.encode())

    def test_one_connection_for_a_session(self) -> None:
        with smtplib.SMTP("127.0.0.1", self.server.port) as client:
            for text in ("\u00e9\n", "2\n", "3\n"):
                octets = f"{HEADER}\n{text}".replace("\n", "\r\n").encode()
                client.sendmail("a@example.com", "b@far.example", octets)
        bodies = [message.partition(b"\n\n")[2].decode() for message in self.postfix.take_messages(3)]
        self.assertEqual(sorted(bodies), ["2\n", "3\n", "\u00e9\n"])
        self.assertIn(
            "ehlo=1 mail=3 rcpt=3 data=3 quit=1", self.postfix.log_line("disconnect from .* mail=3")
        )

    def test_refusals_come_back(self) -> None:
        said = swaks(self.server.port, SHORT, recipient="b@elsewhere.example", check=False)
        self.assertRegex(said, r"552 5\.7\.1 .*Relay access denied")

    def test_refused_recipients_are_named_and_nobody_gets_it(self) -> None:
        everybody = "b@far.example,c@elsewhere.example"
        said = swaks(self.server.port, SHORT, recipient=everybody, check=False)
        self.assertRegex(said, r"552 5\.7\.1 <c@elsewhere\.example>: 554 5\.7\.1 .*Relay access denied")
        swaks(self.server.port, SHORT.replace("hello", "other"), recipient="b@far.example")
        (message,) = self.postfix.take_messages(1)
        self.assertIn(b"Subject: other", message)


class OtherNextHopTests(unittest.TestCase):
    """So it does to one that is not as usual."""

    def test_too_big(self) -> None:
        with forwarding(message_size_limit="50000") as (server, _):
            said = swaks(server.port, MESSAGE, recipient="b@far.example", check=False)
        self.assertIn("552 5.3.4 ", said)

    def test_a_next_hop_that_is_down_delays_mail(self) -> None:
        with Postfix() as postfix:
            port = postfix.port
        with running({"plugins": FORWARD.format(port=port, words="")}) as server:
            said = swaks(server.port, SHORT, recipient="b@far.example", check=False)
        self.assertIn("452 4.4.1 ", said)

    def test_xclient(self) -> None:
        with forwarding("xclient", smtpd_authorized_xclient_hosts="127.0.0.1") as (server, postfix):
            swaks(server.port, SHORT, "--helo", "client.example", recipient="b@far.example")
            (message,) = postfix.take_messages(1)
        self.assertIn(b"from client.example (localhost [127.0.0.1])", message)

    def test_xclient_not_allowed(self) -> None:
        with forwarding("xclient") as (server, _):
            said = swaks(server.port, SHORT, recipient="b@far.example", check=False)
        self.assertIn("452 4.4.1 ", said)


class NextHopTLSTests(unittest.TestCase):
    """queue/smtp-forward and a Postfix with a certificate."""

    def setUp(self) -> None:
        need("openssl")
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.directory.chmod(0o755)

    def settings(self, name: str) -> dict[str, str]:
        """Make a certificate for this name, and the settings to use it."""
        key, certificate = self.directory / "key.pem", self.directory / "certificate.pem"
        run(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hop",
            "-addext", f"subjectAltName={name}", "-keyout", key, "-out", certificate,
        )  # fmt: skip
        files = {"smtpd_tls_cert_file": str(certificate), "smtpd_tls_key_file": str(key)}
        return {"smtpd_tls_security_level": "may", "smtpd_tls_received_header": "yes", **files}

    def test_policies(self) -> None:
        settings = self.settings("IP:127.0.0.1")
        for words in ("", "tls encrypt", f"tls verify ca {settings['smtpd_tls_cert_file']}"):
            with self.subTest(words), forwarding(words, **settings) as (server, postfix):
                swaks(server.port, MESSAGE, recipient="b@far.example")
                (message,) = postfix.take_messages(1)
                self.assertIn(b"(using TLSv1.3", message)
                self.assertEqual(sent_part(message, b"Subject:"), MESSAGE.encode())

    def test_wrong_name(self) -> None:
        settings = self.settings("DNS:other.example")
        words = f"tls verify ca {settings['smtpd_tls_cert_file']}"
        with forwarding(words, **settings) as (server, _):
            said = swaks(server.port, SHORT, recipient="b@far.example", check=False)
        self.assertIn("452 4.4.1 ", said)

    def test_no_certificate(self) -> None:
        with forwarding("tls encrypt") as (server, _):
            said = swaks(server.port, SHORT, recipient="b@far.example", check=False)
        self.assertIn("452 4.4.1 ", said)


if __name__ == "__main__":
    unittest.main()
