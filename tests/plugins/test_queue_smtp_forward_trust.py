"""queue/smtp-forward trusts the next hop as far as the line says, and tells it who our client is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.ssl import Certificate

from qpsmtpd import SettingError

from ..test_kit_smtpout_tls import STARTTLS, TLSEndpoint, TLSHop, certificate
from .forwarding import DONE, HELLO, LINE, ONE, ForwardCase, PlayedHop

XHELLO = "S: 220 hop\nC: EHLO me\nS: 250-PIPELINING\nS: 250 XCLIENT NAME ADDR PORT HELO PROTO LOGIN\n"
OFFER = "S: 220 hop\nC: EHLO {}\nS: 250-hop\nS: 250 PIPELINING\n"

# facts of the connection, what the next hop is told, how hello is said then
CLIENTS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"remote_host": "c.example", "hello_host": "[192.0.2.1]", "hello": "ehlo"},
        "NAME=c.example ADDR=192.0.2.1 PORT=54321 HELO=[192.0.2.1] PROTO=ESMTP LOGIN=[UNAVAILABLE]",
        "[192.0.2.1]",
    ),
    (
        {"remote_ip": "2001:db8::1", "remote_host": "[2001:db8::1]", "hello_host": "me", "user": "a+b@c"},
        "NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 PORT=54321 HELO=me PROTO=SMTP LOGIN=a+2Bb@c",
        "me",
    ),
    (
        {"remote_host": "Unknown", "hello_host": "\u00e9\udcff", "user": "\udce9 "},
        "NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=54321 HELO=[UNAVAILABLE] PROTO=SMTP LOGIN=+E9+20",
        "me",
    ),
    (
        {"remote_host": "x." * 128, "hello_host": "h" * 256, "user": "\u00e9" * 128},
        "NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=54321 HELO=[UNAVAILABLE] PROTO=SMTP LOGIN=[UNAVAILABLE]",
        "me",
    ),
]


class XclientTests(ForwardCase):
    def setUp(self) -> None:
        self.load(f"{LINE} xclient")

    def be(self, **facts: Any) -> None:
        for name, value in facts.items():
            setattr(self.tried.connection, name, value)

    def test_clients(self) -> None:
        """The next hop is told who our client is, in terms that it can read, then the client's hello."""
        for facts, told, hello in CLIENTS:
            with self.subTest(told):
                self.load(f"{LINE} xclient")
                self.be(**facts)
                script = f"{XHELLO}C: XCLIENT {told}\n{OFFER.format(hello)}{ONE}"
                self.assertEqual(DONE, self.forward(script))

    def test_reuse(self) -> None:
        """It is told once a connection; if it is no longer true, there is another connection."""
        self.be(remote_host="c.example", hello_host="x", hello="ehlo")
        told = "C: XCLIENT NAME=c.example ADDR=192.0.2.1 PORT=54321 HELO=x PROTO=ESMTP LOGIN="
        self.forward(f"{XHELLO}{told}[UNAVAILABLE]\n{OFFER.format('x')}{ONE}")
        self.assertEqual(DONE, self.forward(ONE))
        first = self.hop.endpoint.transports[0]
        first.clear()
        self.be(user="u")
        answer = self.begin()
        self.assertEqual(b"QUIT\r\n", first.value())
        first.loseConnection()
        self.hop.play_last(self, f"{XHELLO}{told}u\n{OFFER.format('x')}{ONE}")
        self.assertEqual(DONE, self.told(answer))

    def test_refused(self) -> None:
        """A next hop that does not believe us delays mail."""
        nobody = "NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=54321 HELO=[UNAVAILABLE] PROTO=SMTP"
        told = f"C: XCLIENT {nobody} LOGIN=[UNAVAILABLE]\n"
        answer = self.forward(f"{XHELLO}{told}S: 550 5.7.0 not you\nC: QUIT\nS: 221 bye\n")
        self.assertEqual(("DENYSOFT", "4.4.1"), answer[:2])
        self.over()


class TLSPlayed(PlayedHop, TLSHop):
    """A next hop of a plugin that can do TLS."""


class TLSTests(ForwardCase):
    def secured(self, words: str) -> Any:
        """Have a message queued by a next hop with a certificate for hop.example."""
        self.load(f"queue/smtp-forward {words} helo me")
        self.hop = TLSPlayed(self.tried.plugin, TLSEndpoint())
        answer = self.begin()
        self.hop.play(self, STARTTLS)
        self.hop.secure(certificate())
        return answer

    def authorities(self) -> str:
        path = Path(self.mktemp())
        path.write_bytes(certificate(" other").dumpPEM() + Certificate(certificate().original).dumpPEM())
        return str(path)

    def test_secret(self) -> None:
        """The message goes over TLS, to anybody or to the one whom the authorities know."""
        for words in (
            "x.example",
            "x.example tls encrypt",
            f"hop.example. tls verify ca {self.authorities()}",
        ):
            with self.subTest(words):
                answer = self.secured(words)
                hop: Any = self.hop
                self.assertEqual("EHLO me\r\n", hop.heard_secretly())
                for line in ("250 hop", "250 ok", "250 ok", "354 go", "250 2.0.0 7"):
                    hop.says_secretly(line + "\r\n")
                self.assertIn("\r\n..hi\r\n.\r\n", hop.heard_secretly())
                self.assertEqual(DONE, self.told(answer))

    def test_verify(self) -> None:
        """Nobody else gets it under verify, and the message is delayed."""
        for words in ("hop.example tls verify", f"x.example tls verify ca {self.authorities()}"):
            with self.subTest(words):
                answer = self.secured(words)
                hop: Any = self.hop
                self.assertEqual("", hop.heard_secretly())
                self.assertEqual(("DENYSOFT", "4.4.1"), self.told(answer)[:2])
                self.over()

    def test_encrypt(self) -> None:
        """Without TLS it goes nowhere under encrypt and verify, and in clear under may."""
        for policy in ("encrypt", "verify"):
            self.load(f"queue/smtp-forward hop.example tls {policy} helo me", TLSEndpoint())
            self.assertEqual("4.4.1", self.forward(HELLO + "C: QUIT\nS: 221 bye\n")[1])
        self.load("queue/smtp-forward hop.example tls may helo me", TLSEndpoint())
        self.assertEqual(DONE, self.forward(HELLO + ONE))

    def test_reload(self) -> None:
        """The authorities are read again when the server is told to; a broken file changes nothing."""
        path = self.authorities()
        self.load(f"queue/smtp-forward hop.example tls verify ca {path}")
        plugin: Any = self.tried.plugin
        before = plugin.hop
        Path(path).write_text("")
        self.assertRaises(SettingError, plugin.reload)
        self.assertIs(before, plugin.hop)
        Path(path).write_bytes(Certificate(certificate().original).dumpPEM())
        plugin.reload()
        self.assertIsNot(before, plugin.hop)
