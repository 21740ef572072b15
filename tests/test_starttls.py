"""Where TLS is required: what is said in clear, and what behind the handshake."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK
from qpsmtpd.testing import Server

from .test_kit_smtpout_tls import certificate
from .wires import TLSClient

FIRST = "530 5.7.0 Must issue a STARTTLS command first\r\n"


class RequiredTests(SynchronousTestCase):
    def connect(self, *, required: bool = True, **hooks: Any) -> TLSClient:
        server = Server(
            hooks=hooks, config={"reverse_dns": "0", "max_errors": "50"}, tls_context=certificate().options()
        )
        server.factory._requires_tls = required
        client = TLSClient(server)
        client.read()
        return client

    def test_refused(self) -> None:
        """RFC 3207 section 4: every command other than NOOP, EHLO, STARTTLS and QUIT is 530."""
        client = self.connect(unrecognized_command=lambda: OK("fine"))
        for command in (
            b"HELO x", b"MAIL FROM:<a@b>", b"RCPT TO:<a@b>", b"DATA", b"RSET", b"VRFY x", b"HELP", b"EXPN x",
            b"AUTH PLAIN AGEAYg==", b"XCLIENT ADDR=192.0.2.1", b"bogus", b"",
        ):  # fmt: skip
            self.assertEqual(FIRST, client.say(command + b"\r\n"), command)

    def test_allowed(self) -> None:
        """Those four are answered."""
        for command, code in ((b"NOOP", "250"), (b"EHLO x", "250"), (b"STARTTLS", "220"), (b"QUIT", "221")):
            self.assertEqual(code, self.connect().say(command + b"\r\n")[:3])

    def test_chunk(self) -> None:
        """What stands behind a refused BDAT is not taken for commands."""
        client = self.connect()
        self.assertEqual(FIRST, client.say(b"BDAT 6\r\nNOOP\r\n"))

    def test_no_passwords(self) -> None:
        """AUTH is not offered in clear there, but within TLS."""
        for required, offered in ((True, False), (False, True)):
            client = self.connect(required=required, **{"auth-plain": lambda: OK})
            self.assertEqual(offered, "AUTH PLAIN" in client.say(b"EHLO x\r\n"))
            client.say(b"STARTTLS\r\n")
            client.handshake()
            self.assertIn("AUTH PLAIN", client.secretly(b"EHLO x\r\n"))

    def test_behind_the_handshake(self) -> None:
        """Within TLS mail is taken."""
        client = self.connect()
        client.say(b"STARTTLS\r\n")
        client.handshake()
        self.assertEqual("250", client.secretly(b"HELO x\r\n")[:3])
        self.assertEqual("250", client.secretly(b"MAIL FROM:<a@b>\r\n")[:3])
