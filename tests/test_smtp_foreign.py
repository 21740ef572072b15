"""Clients that speak another protocol."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK
from qpsmtpd.smtp.foreign import foreign_protocol
from qpsmtpd.testing import Server

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
FOREIGN = [
    (b"GET / HTTP/1.1\r\n", "HTTP"),
    (b"POST /x HTTP/1.0\n", "HTTP"),
    (b"CONNECT mail.example:25 HTTP/1.1\r\nEHLO x\r\n", "HTTP"),
    (b"OPTIONS * HTTP/1.1\r\n", "HTTP"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
    (b"GET /" + b"x" * 5000 + b"\r\n", "HTTP"),
    (b"GET /" + b"x" * 5000, "HTTP"),
    (HELLO, "TLS"),
    (HELLO + b"\n\r\nEHLO x\r\n", "TLS"),
    (HELLO[:2], "TLS"),
    (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
]


class ForeignTests(SynchronousTestCase):
    def test_names(self) -> None:
        for octets, name in FOREIGN:
            self.assertEqual(name, foreign_protocol(octets))
        for octets in (b"", b"GET", b"get / HTTP/1.1", b"GETTING", b"\x16", b"HEADER x", b"SSH", b"HELO x"):
            self.assertEqual("", foreign_protocol(octets))

    def test_closed(self) -> None:
        """The connection is closed at once, without an echo, and one line of the log says why."""
        for octets, name in FOREIGN:
            for step in (1, len(octets)):
                server = Server(config={"reverse_dns": "0"})
                client = server.connect()
                client.read()
                for start in range(0, len(octets), step):
                    client.send(octets[start : start + step])
                self.assertEqual("421 4.7.0 this is a mail server\r\n", client.read())
                self.assertTrue(client.closed)
                said = [event for event in server.log if "closing: the client speaks" in event.text]
                self.assertEqual([name], [event.text.split()[-1] for event in said])

    def test_later(self) -> None:
        """It makes no difference whether a command came before."""
        client = Server(config={"reverse_dns": "0"}).connect()
        self.assertEqual("421", client.say("EHLO x", "GET / HTTP/1.1").splitlines()[-1][:3])

    def test_early(self) -> None:
        """Who does not wait for the greeting is heard behind it."""
        client = Server(config={"reverse_dns": "0"}).connect()
        client.send(b"GET / HTTP/1.1\r\nMAIL FROM:<a@b>\r\n")
        self.assertEqual(["220", "421"], [line[:3] for line in client.read().splitlines()])

    def test_content(self) -> None:
        """A message may hold what it likes."""
        server = Server(hooks={"rcpt": lambda: OK, "queue": lambda: OK}, config={"reverse_dns": "0"})
        self.assertEqual("250", server.connect().mail(text="\nGET / HTTP/1.1\nSSH-2.0-x")[:3])
