"""queue/smtp-forward sends what it was given, and answers what it was answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import Address, ConfigError
from qpsmtpd.testing import Tried

from ..nexthop import MemoryEndpoint
from .forwarding import HELLO, LINE, MAIL, ONE, SENT, ForwardCase

UNAVAILABLE = ("DENYSOFT", "4.4.1", "the next hop takes no mail now, please try again later")

# what the next hop says at the end, what the client is told
ANSWERS = [
    ("250 2.0.0 Ok: queued as 4XyZ", ("OK", "", "Queued! as 4XyZ")),
    ("250-Thank you\nS: 250 OK id=1abc-0007", ("OK", "", "Queued! as id=1abc-0007")),
    ("250 ", ("OK", "", "Queued!")),
    ("554 5.7.1 spam", ("DENY", "5.7.1", "spam")),
    ("552 too big", ("DENY", "", "too big")),
    ("451 4.3.0 disk\nS: 250 late", ("DENYSOFT", "4.3.0", "disk")),
    ("550-5.6.0 no\nS: 550 5.6.0 really", ("DENY", "5.6.0", "no\nreally")),
    ("421 4.3.2 going down", ("DENYSOFT", "4.3.2", "going down")),
]

TWO = MAIL + "C: RCPT TO:<c@example.org>\n"

# what is said about two recipients, what the client is told
REFUSALS = [
    ("250 ok", "550 5.1.1 who?", "250 ok", ("DENY", "5.1.1", "<b@example.org>: 550 5.1.1 who?")),
    ("250 ok", "250 ok", "450 4.2.1 later", ("DENYSOFT", "4.2.1", "<c@example.org>: 450 4.2.1 later")),
    (
        "250 ok",
        "550 5.1.1 who?",
        "450 4.2.1 later",
        ("DENYSOFT", "4.2.1", "<b@example.org>: 550 5.1.1 who?\n<c@example.org>: 450 4.2.1 later"),
    ),
    ("550 5.1.8 bad sender", "503 what", "503 what", ("DENY", "5.1.8", "bad sender")),
    ("451 4.3.0 db", "503 what", "503 what", ("DENYSOFT", "4.3.0", "db")),
]

# words of the line, what is said, what the log says; the client is told nothing of it
NO_SESSION = [
    ("", "S: 554 5.7.1 not you\nC: QUIT\nS: 221 bye\n", "554 5.7.1 not you"),
    ("", "S: 421 busy\n", "421 busy"),
    ("", "S: SSH-2.0\n", "451 4.5.0 Next hop does not speak SMTP: a line is not an SMTP reply"),
    ("xclient", HELLO + "C: QUIT\nS: 221 bye\n", "451 4.7.0 Next hop does not let us use XCLIENT"),
]

U8, PLAIN = "Subject: \u00e9\n\nx\n", "Subject: e\n\nx\n"

# parameters from the client, message, what the next hop offers, parameters to it, or what the client is told
PARAMETERS: list[tuple[dict[str, str | None], str, str, str]] = [
    ({"SIZE": "9"}, PLAIN, "SIZE 100", " SIZE=17"),
    ({"SIZE": "9"}, PLAIN, "DSN", ""),
    ({}, PLAIN, "SIZE 16", "552 5.3.4"),
    ({}, U8, "8BITMIME", " BODY=8BITMIME"),
    ({"BODY": "7BIT"}, "\n\u00e9\n", "8BITMIME", " BODY=8BITMIME"),
    ({}, "\n\u00e9\n", "SIZE", "554 5.6.3"),
    ({"BODY": "8bitmime"}, PLAIN, "8BITMIME", " BODY=8BITMIME"),
    ({"BODY": "8BITMIME"}, PLAIN, "DSN", ""),
    ({"BODY": "7BIT"}, PLAIN, "8BITMIME", ""),
    ({"SMTPUTF8": None}, PLAIN, "SMTPUTF8", " SMTPUTF8"),
    ({"SMTPUTF8": None}, PLAIN, "8BITMIME", ""),
    ({"SMTPUTF8": None}, "\n\u00e9\n", "8BITMIME", " BODY=8BITMIME"),
    ({"SMTPUTF8": None}, U8, "8BITMIME", "550 5.6.9"),
    ({"AUTH": "<>"}, PLAIN, "AUTH PLAIN", ""),
]


class ForwardTests(ForwardCase):
    def test_answers(self) -> None:
        """The client is told what the next hop says to the whole message."""
        for said, told in ANSWERS:
            with self.subTest(said):
                self.load()
                self.assertEqual(told, self.forward(HELLO + SENT + f"S: {said}\n"))

    def test_log(self) -> None:
        """One line tells what became of a message, and where."""
        self.forward(HELLO + ONE)
        self.forward(SENT + "S: 554-5.7.1 spam\nS: 554 5.7.1 really\n")
        self.assertEqual(
            ["pass, queued as 7 by hop.example:25", "fail, hop.example:25: 554 spam; really"], self.tried.log
        )

    def test_refusals(self) -> None:
        """Nobody gets a message that is not for all; who was refused is named; temporary wins."""
        for mail, one, other, told in REFUSALS:
            with self.subTest(told):
                self.load()
                script = f"{HELLO}{TWO}S: {mail}\nS: {one}\nS: {other}\n"
                self.assertEqual(told, self.forward(script, "<b@example.org>", "<c@example.org>"))

    def test_no_session(self) -> None:
        """What is wrong between us and the next hop delays mail, and is for the log only."""
        for words, script, logged in NO_SESSION:
            with self.subTest(logged):
                self.load(f"{LINE} {words}")
                self.assertEqual(UNAVAILABLE, self.forward(script))
                self.assertEqual([f"error, hop.example:25: {logged}"], self.tried.log)
                self.over()

    def test_unreachable(self) -> None:
        """A next hop that is down delays mail; its name stays our secret."""
        self.load(endpoint=MemoryEndpoint(fail(ConnectionRefusedError("by hop.example"))))
        self.tried.message("\n", recipients=("<b@example.org>",))
        answer: Any = self.tried.ask("queue")
        self.assertEqual(UNAVAILABLE, (answer.code.name, answer.status, answer.text))
        self.assertIn("by hop.example", self.tried.log[0])
        self.over()

    def test_parameters(self) -> None:
        """The next hop is told what the message needs, and never sent what it cannot have."""
        for declared, text, offered, expected in PARAMETERS:
            with self.subTest(declared=declared, text=text, offered=offered):
                self.load()
                self.tried.transaction.parameters = declared
                answer = self.begin(text=text)
                self.hop.play(self, "S: 220 hop\nC: EHLO me\n")
                self.hop.says(f"250-hop\r\n250-PIPELINING\r\n250 {offered}\r\n")
                if expected[:1] == "5":
                    verdict, status, _ = self.told(answer)
                    self.assertEqual(("DENY", expected[4:]), (verdict, status))
                else:
                    self.assertIn(f"MAIL FROM:<a@example.com>{expected}\r\n", self.hop.heard())
                    answer.addErrback(lambda _: None).cancel()

    def test_other_scripts(self) -> None:
        """An address in another script goes as it came, and only where it is understood."""
        for offered, expected in (("SMTPUTF8", " SMTPUTF8"), ("DSN", "5.6.7")):
            self.load()
            self.tried.message("\n", sender="<>", recipients=("<b@example.org>",))
            self.tried.transaction.recipients[0].address = Address("\u00e9", "example.org")
            answer = self.ask()
            self.hop.says("220 hop\r\n")
            self.hop.says(f"250-hop\r\n250-PIPELINING\r\n250 {offered}\r\n")
            if offered == "SMTPUTF8":
                wanted = f"MAIL FROM:<>{expected}\r\nRCPT TO:<\u00e9@example.org>\r\n"
                self.assertIn(wanted, self.hop.heard())
                answer.addErrback(lambda _: None).cancel()
            else:
                self.assertEqual(expected, self.told(answer)[1])

    def test_no_recipient(self) -> None:
        """A message that plugins took all recipients from goes nowhere."""
        self.tried.message("\n")
        answer: Any = self.tried.ask("queue")
        self.assertEqual(("DENY", "5.1.0"), (answer.code.name, answer.status))

    def test_binary(self) -> None:
        """Binary content is neither sent on, nor are clients invited to send it."""
        self.tried.message("\n", recipients=("<b@example.org>",))
        self.tried.transaction.parameters = {"BODY": "BINARYMIME"}
        answer: Any = self.tried.ask("queue")
        self.assertEqual(("DENY", "5.6.3"), (answer.code.name, answer.status))
        self.assertFalse(self.tried.plugin.takes_binary)


class PausingTransport(StringTransportWithDisconnection):
    """A transport that is full after each write of content."""

    producer: Any

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None:
            self.producer.pauseProducing()


class PausingEndpoint(MemoryEndpoint):
    def transport(self) -> PausingTransport:
        return PausingTransport()


class StreamTests(ForwardCase):
    def test_streams(self) -> None:
        """A message on disk is read as fast as the next hop takes it, a piece at a time."""
        self.load(endpoint=PausingEndpoint())
        self.tried.message("Subject: x\n\n", recipients=("<b@example.org>",))
        body = self.tried.transaction.body
        assert body is not None
        body.threshold = 1
        lines = b"".join(b"%07d\r\n" % number for number in range(50_000))
        body.write(lines)
        answer = self.ask()
        self.hop.play(
            self, HELLO + MAIL + "S: 250 ok\nS: 250 ok\nC: DATA\nS: 354 go\n" + "C: Subject: x\nC: \n"
        )
        heard = b""
        while not heard.endswith(b"\r\n.\r\n"):
            self.hop.transport.producer.resumeProducing()
            piece = self.hop.transport.value()
            self.assertTrue(0 < len(piece) <= 65536 + 3)
            self.hop.transport.clear()
            heard += piece
        self.hop.says("250 2.0.0 7\r\n")
        self.assertEqual((lines + b".\r\n", "OK"), (heard, self.told(answer)[0]))


class ArgumentTests(SynchronousTestCase):
    def plugin(self, words: str) -> Any:
        return Tried(f"queue/smtp-forward {words}", reactor=MemoryReactorClock()).plugin

    def test_endpoints(self) -> None:
        """A host is a name, an IPv4 address, or an IPv6 address in brackets."""
        rows = [
            ("hop.example", "<HostnameEndpoint hop.example:25>"),
            ("192.0.2.1 2525", "<HostnameEndpoint 192.0.2.1:2525>"),
            ("[192.0.2.1] xclient", "<HostnameEndpoint 192.0.2.1:25>"),
            ("[2001:DB8::1] 26 tls verify", "<HostnameEndpoint [2001:db8::1]:26>"),
            ("hop.example. tls verify", "<HostnameEndpoint hop.example.:25>"),
            ("hop.example lmtp", "<HostnameEndpoint hop.example:24>"),
            ("hop.example 25 lmtp", "<HostnameEndpoint hop.example:25>"),
        ]
        for words, expected in rows:
            self.assertEqual(expected, repr(self.plugin(words).hop.endpoint))

    def test_underscore(self) -> None:
        """A name as containers have it can be connected to."""
        plugin = self.plugin("mail_hop 26")
        plugin.hop.endpoint.connect(None)
        self.assertEqual(("mail_hop", 26), plugin.services.reactor.tcpClients[0][:2])

    def test_our_name(self) -> None:
        """Our name is what is in me, unless the line says otherwise."""
        names = [self.plugin(f"hop.example {words}").hop.helo for words in ("", "helo out.example.com")]
        self.assertEqual(["mail.example.com", "out.example.com"], names)

    def test_hook_timeout(self) -> None:
        """The time limits of SMTP fit into that of the hook."""
        self.assertEqual(
            [3600, 5], [self.plugin(f"h {words}").hook_timeout for words in ("", "hook_timeout 5")]
        )

    def test_bad_arguments(self) -> None:
        """Bad arguments stop the start, with a clear line."""
        bad = Path(self.mktemp())
        bad.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        empty = Path(self.mktemp())
        empty.touch()
        rows = [
            ("", "missing argument host"),
            ("h/st", "'h/st' is not a host name, an address"),
            ("-h", "is not a host name"),
            ("a..b", "is not a host name"),
            ("[h]", "does not appear to be an IPv4 or IPv6 address"),
            ("2001:db8::1", "IPv6 in brackets"),
            ("h x25", "port: 'x25' is not"),
            ("h 0", "port: '0' is not"),
            ("h 65536", "port: '65536' is not"),
            ("h 25 yclient", "unknown argument 'yclient'"),
            ("h tls always", "one of none, may, encrypt, verify"),
            ("h helo a/b", "helo: 'a/b' is not a host name"),
            ("h_x tls verify", "tls verify h_x: "),
            ("h end_timeout 0", "end_timeout (seconds): '0' is not a number of at least 1"),
            ("/run/lmtp 24", "/run/lmtp: a UNIX socket has no port"),
            ("/run/lmtp tls verify", "/run/lmtp: a UNIX socket has no port, and nobody has a certificate"),
            ("/" + 107 * "x", "the path is too long for a socket"),
            ("h ca x", "ca is for tls verify"),
            ("h tls verify ca /no/such", "/no/such cannot be read"),
            (f"h tls verify ca {bad}", f"{bad.absolute()} cannot be read"),
            (f"h tls verify ca {empty}", f"{empty.absolute()} holds no certificate"),
        ]
        for words, expected in rows:
            self.assertIn(expected, str(self.assertRaises(ConfigError, self.plugin, words)))
