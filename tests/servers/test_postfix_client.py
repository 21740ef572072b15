"""Postfix as a client: DSN, SMTPUTF8, TLS, AUTH, XFORWARD, many recipients, one connection, bounces.

The client of Debian's Postfix 3.7 sends no BDAT, whatever it is offered; Exim does.
"""

from __future__ import annotations

import smtplib
import unittest
from collections.abc import Sequence
from email import message_from_bytes

from harness import Server, need, run, sent_part, wait_until
from postfix import Postfix
from recording import PASSWORD, USER, record_of, recording

# With all that Postfix would add for a client on its own machine.
HEADER = b"Subject: hello\nFrom: a@example.com\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nMessage-Id: <1@x>\n"
DOTS = HEADER + b"\n" + b".\n..\n.dot\n" * 300 + b"x" * 900 + b"\n\n\n"
EIGHT = HEADER + b"\n" + bytes(range(128, 256)) + b"\nh\xc3\xa9\n"
LARGE = HEADER + b"\n" + (b"." * 70 + b"\n") * 75000
SHORT = HEADER + b"\nx\n"


def wire(text: bytes) -> bytes:
    """Give the text with CRLF line ends."""
    return text.replace(b"\n", b"\r\n")


class ClientCase(unittest.TestCase):
    """Has a server, and a Postfix that relays to it."""

    def start(self, *, more: str = "", config: dict[str, str] | None = None, **settings: str) -> None:
        need("sendmail")
        self.server: Server = self.enterContext(recording(config, more=more))
        self.postfix = self.enterContext(Postfix(self.server.port, **settings))

    def send(
        self,
        text: bytes,
        *recipients: str,
        sender: str = "a@example.com",
        options: Sequence[str] = (),
    ) -> None:
        """Give Postfix a message over SMTP."""
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=60) as client:
            client.sendmail(sender, recipients or ["b@example.org"], wire(text), options)

    def check(self, *texts: bytes) -> list[bytes]:
        """Expect these messages, octet for octet."""
        messages = self.server.take_messages(len(texts))
        found = sorted(sent_part(message, b"Subject: ") for message in messages)
        self.assertEqual(sorted(texts), found, self.postfix.log())
        self.assertEqual([False] * len(texts), [record_of(message)["chunked"] for message in messages])
        return messages


class ContentTests(ClientCase):
    """What arrives is what was sent."""

    def test_content(self) -> None:
        """In clear and over TLS: dots, eight bits, 5 MB."""
        for level in ("none", "encrypt"):
            with self.subTest(tls=level):
                self.start(smtp_tls_security_level=level)
                for text in (DOTS, EIGHT, LARGE):
                    self.send(text, options=["BODY=8BITMIME"])
                    (message,) = self.check(text)
                    self.assertEqual("TLSv1.3" if level == "encrypt" else "", record_of(message)["tls"])
                self.assertNotRegex(self.postfix.log(), "(?i)(warning|deferred|bounced|pix)")

    def test_smtputf8(self) -> None:
        self.start(smtputf8_enable="yes")
        sender, recipient = "\u00fc@example.com", "\u03b4\u03bf\u03ba@example.org"
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=60) as client:
            client.ehlo()
            client.mail(sender, ["SMTPUTF8", "BODY=8BITMIME"])
            self.assertEqual(250, client.rcpt(recipient)[0])
            client.data(wire(EIGHT))
        (message,) = self.check(EIGHT)
        record = record_of(message)
        self.assertIn("SMTPUTF8", record["mail"])
        self.assertEqual((sender, [recipient]), (record["sender"], list(record["to"])))
        self.assertIn(b"with UTF8SMTP", message)
        # Not the type utf-8 of RFC 6533; in a bounce it would be.
        self.assertEqual("rfc822;+CE+B4+CE+BF+CE+BA@example.org", record["to"][recipient]["ORCPT"])

    def test_dsn(self) -> None:
        """What sendmail is told arrives as RET, ENVID, NOTIFY and ORCPT."""
        self.start()
        command = ["sendmail", "-C", self.postfix.directory / "etc", "-i", "-f", "a@example.com"]
        wishes = ["-N", "success,delay", "-R", "hdrs", "-V", "QQ=1"]
        run(*command, *wishes, "b@example.org", stdin=SHORT.decode())
        (message,) = self.check(SHORT)
        record = record_of(message)
        self.assertEqual(("HDRS", "QQ+3D1"), (record["mail"]["RET"], record["mail"]["ENVID"]))
        wish = record["to"]["b@example.org"]
        self.assertEqual({"SUCCESS", "DELAY"}, set(wish["NOTIFY"].split(",")))
        self.assertEqual("rfc822;b@example.org", wish["ORCPT"])


class SessionTests(ClientCase):
    """What Postfix does before and between messages."""

    def test_verified(self) -> None:
        """It finds the name that it wants in the certificate; AUTH goes within TLS only."""
        self.server = self.enterContext(recording())
        self.postfix = self.enterContext(
            Postfix(
                self.server.port,
                smtp_tls_security_level="secure",
                smtp_tls_secure_cert_match="mail.example.com",
                smtp_tls_CAfile=str(self.server.config / "ssl" / "qpsmtpd-server.crt"),
                smtp_tls_loglevel="1",
                smtp_sasl_auth_enable="yes",
                smtp_sasl_password_maps=f"static:{{{USER}:{PASSWORD}}}",
                smtp_sasl_security_options="",
            )
        )
        self.send(SHORT)
        (message,) = self.check(SHORT)
        self.assertEqual(USER, record_of(message)["user"])
        self.assertIn(b"with ESMTPSA", message)
        self.postfix.log_line("Verified TLS connection established")

    def test_xforward(self) -> None:
        self.start(config={"trusted_proxies": "127.0.0.1\n"}, smtp_send_xforward_command="yes")
        self.send(SHORT)
        (message,) = self.check(SHORT)
        self.assertEqual("127.0.0.1", record_of(message)["xforward"]["ADDR"])

    def test_many_recipients(self) -> None:
        """More than Postfix names in one transaction, each once."""
        self.start()
        everybody = [f"r{number}@example.org" for number in range(170)]
        self.send(SHORT, *everybody)
        messages = self.check(*[SHORT] * 4)
        self.assertEqual(
            sorted(everybody), sorted(one for message in messages for one in record_of(message)["to"])
        )

    def test_one_connection(self) -> None:
        """The next message goes over the connection of the last one."""
        self.start(smtp_connection_cache_destinations="127.0.0.1")
        numbers = set()
        for sent in range(1, 4):
            self.send(SHORT)
            (message,) = self.check(SHORT)
            wait_until(lambda: self.postfix.log().count("status=sent") == sent, "Postfix knows")  # noqa: B023
            numbers.add(record_of(message)["connection"])
        self.assertEqual(1, len(numbers), self.postfix.log())


class RefusalTests(ClientCase):
    """Postfix understands what we refuse."""

    def test_recipients(self) -> None:
        """One is taken, one bounces to the sender with our words, one waits."""
        self.start(more="verdicts\n")
        self.send(SHORT, "good@example.org", "never@example.org", "later@example.org")
        messages = {record_of(message)["sender"]: message for message in self.server.take_messages(2)}
        self.assertEqual({"", "a@example.com"}, set(messages))
        self.assertEqual(["good@example.org"], list(record_of(messages["a@example.com"])["to"]))
        report = message_from_bytes(sent_part(messages[""], b"Subject: "))
        self.assertIn("550 5.1.1 never", report.as_string())
        self.assertEqual(["a@example.com"], list(record_of(messages[""])["to"]))
        self.postfix.log_line(r"to=<later@example\.org>.* dsn=4\.2\.1, status=deferred .*450 4\.2\.1 later")

    def test_too_big(self) -> None:
        """SIZE at MAIL is refused; the message is not sent at all."""
        self.start(config={"databytes": "20000\n"}, message_size_limit="10000000")
        self.send(DOTS + b"x\n" * 20000)
        self.postfix.log_line(r"to=<b@example\.org>.* dsn=5\.3\.4, status=bounced .*size")
        self.assertEqual([], [one for one in self.server.messages() if record_of(one)["sender"]])


if __name__ == "__main__":
    unittest.main()
