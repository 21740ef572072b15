"""What the server writes on top of a message."""

import re
from email import message_from_string
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK, Reply
from qpsmtpd.connection import TLSInfo
from qpsmtpd.header import Header
from qpsmtpd.testing import Server
from qpsmtpd.trace import AUTH_RESULTS, MAX_NESTED, rename_foreign_results

ATOM = r"[A-Za-z0-9.\-_\[\]:?]+"
RECEIVED = re.compile(
    rf"from {ATOM} \((?:{ATOM} )?\[[^\]]+\]\)\n by {ATOM} \(qpsmtpd/[0-9a-z.]+\)"
    rf" with (?P<protocol>[A-Z0-9]+)(?: \((?P<tls>[A-Za-z0-9._ -]+)\))? id [0-9a-f.]+;\n (?P<date>.+)"
)
"""RFC 5321 section 4.4, as far as we use it."""


class Case(SynchronousTestCase):
    hello = "EHLO client.example"

    def setUp(self) -> None:
        self.kept: list[str] = []
        self.hooks: dict[str, Any] = {"rcpt": lambda: OK, "queue": self.keep}
        self.config = {"reverse_dns": "0"}

    def keep(self, transaction: Any) -> Any:
        self.kept.append(bytes(transaction.header).decode().replace("\r\n", "\n"))
        return OK

    def connect(self) -> Any:
        self.server = Server(hooks=self.hooks, config=self.config, lmtp=self.hello.startswith("LHLO"))
        client = self.server.connect("2001:db8::1" if self.ipv6 else "192.0.2.1")
        client.say(self.hello)
        return client

    ipv6 = False

    def send(self, client: Any = None, text: str = "Subject: x\n\nx", *parameters: str) -> str:
        """Send a message, give the header that was queued."""
        client = client or self.connect()
        client.say(" ".join(["MAIL FROM:<a@example.com>", *parameters]), "RCPT TO:<b@example.org>", "DATA")
        client.say(*text.split("\n"), ".")
        return self.kept[-1]

    def received(self, header: str) -> re.Match[str]:
        value = message_from_string(header)["Received"]
        found = RECEIVED.fullmatch(value)
        assert found is not None, value
        return found


class ReceivedTests(Case):
    def test_grammar(self) -> None:
        found = self.received(self.send())
        self.assertEqual(("ESMTP", None), (found["protocol"], found["tls"]))
        self.assertTrue(
            found[0].startswith("from client.example ([192.0.2.1])\n by mail.example.com (qpsmtpd/")
        )

    def test_date(self) -> None:
        """RFC 5322 section 3.3."""
        weekday = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
        self.assertRegex(self.received(self.send())["date"], f"^{weekday}$")

    def test_protocols(self) -> None:
        """RFC 3848: S is for TLS, A for AUTH; RFC 6531: UTF8SMTP."""
        rows = (
            ("HELO x", None, "", (), "SMTP"),
            ("EHLO x", None, "", (), "ESMTP"),
            ("EHLO x", TLSInfo("TLSv1.3", "AES", 256), "", (), "ESMTPS"),
            ("EHLO x", None, "joe", (), "ESMTPA"),
            ("EHLO x", TLSInfo("TLSv1.3", "AES", 256), "joe", (), "ESMTPSA"),
            ("EHLO x", None, "joe", ("SMTPUTF8",), "UTF8SMTPA"),
            ("LHLO x", None, "", (), "LMTP"),
            ("LHLO x", TLSInfo("TLSv1.3", "AES", 256), "", (), "LMTPS"),
            ("LHLO x", TLSInfo("TLSv1.3", "AES", 256), "joe", ("SMTPUTF8",), "UTF8LMTPSA"),
        )
        for self.hello, tls, user, parameters, expected in rows:
            client = self.connect()
            client.connection.tls, client.connection.user = tls, user
            found = self.received(self.send(client, "Subject: x\n\nx", *parameters))
            self.assertEqual((expected, "TLSv1.3 AES" if tls else None), (found["protocol"], found["tls"]))

    def test_ipv6(self) -> None:
        self.ipv6 = True
        self.assertIn("([IPv6:2001:db8::1])", self.send())

    def test_host(self) -> None:
        client = self.connect()
        client.connection.remote_host = "mx.example.net"
        self.assertIn("(mx.example.net [192.0.2.1])", self.send(client))

    def test_forged_hello(self) -> None:
        """What the client calls itself ends no comment, begins no field, and is ASCII."""
        for name in ("x(y", "x)(by", "x;y", 'x"y', "x@y", "b\u00fccher", "x" * 600, "<x>", "x\ty"):
            self.hello = f"EHLO {name}"
            self.received(self.send())

    def test_forged_host(self) -> None:
        """Nor does what the DNS calls it."""
        client = self.connect()
        client.connection.remote_host = "x) by evil\\010"
        self.assertIn("(x??by?evil?010 [192.0.2.1])", self.send(client))

    def test_unique(self) -> None:
        client = self.connect()
        first, second = self.send(client), self.send(client)
        self.assertNotEqual(first, second)


class ReceivedHookTests(Case):
    """The hook received_line may make the field."""

    def answer(self, answer: Any) -> str:
        self.hooks["received_line"] = lambda: answer
        return str(message_from_string(self.send())["Received"])

    def test_own(self) -> None:
        self.assertEqual("by me\n\tfor you", self.answer(OK("by me\n\tfor you")))

    def test_none(self) -> None:
        for answer in (None, OK, Reply(250, "x")):
            self.assertTrue(RECEIVED.fullmatch(self.answer(answer)))

    def test_no_fold(self) -> None:
        """A line that would begin another field is logged, and the built-in one is written."""
        self.assertTrue(RECEIVED.fullmatch(self.answer(OK("by me\nBcc: you"))))
        self.assertTrue(self.server.logged("received_line: "))

    def test_arguments(self) -> None:
        heard: list[Any] = []
        self.hooks["received_line"] = lambda protocol, auth, tls: heard.append((protocol, auth, tls))
        client = self.connect()
        client.connection.user, client.connection.auth_mechanism = "joe", "plain"
        self.send(client)
        self.assertEqual([("ESMTPA", "(smtp-auth username joe, mechanism plain)", "")], heard)


class ResultTests(Case):
    """Authentication-Results, RFC 8601."""

    def results(self, client: Any = None) -> Any:
        return message_from_string(self.send(client))[AUTH_RESULTS]

    def test_none(self) -> None:
        self.assertEqual("mail.example.com; auth=none", self.results())

    def test_on_top(self) -> None:
        """It stands above our Received field, whose statement it is."""
        self.assertTrue(self.send().startswith("Authentication-Results: "))

    def test_passed(self) -> None:
        client = self.connect()
        client.connection.user, client.connection.auth_mechanism = "joe@example.org", "plain"
        self.assertEqual(
            "mail.example.com; auth=pass (plain) smtp.auth=joe@example.org", self.results(client)
        )

    def test_quoted(self) -> None:
        client = self.connect()
        client.connection.user, client.connection.auth_mechanism = 'j"o; e', "plain"
        self.assertIn('smtp.auth="j\\"o; e"', self.results(client))

    def test_failed(self) -> None:
        client = self.connect()
        client.connection.auth_attempted = True
        self.assertEqual("mail.example.com; auth=fail", self.results(client))

    def test_of_this_message(self) -> None:
        """Clauses are those of this message, not of the one before."""
        clauses = ["spf=pass", "spf=fail"]
        self.hooks["mail"] = lambda transaction: transaction.auth_results.append(clauses.pop(0))
        client = self.connect()
        self.assertIn("spf=pass", self.results(client))
        self.assertNotIn("spf=pass", self.results(client))

    def test_line_ends(self) -> None:
        """A clause that quotes the client begins no field."""
        self.hooks["mail"] = lambda transaction: transaction.auth_results.append("spf=pass\r\nBcc: you\n x")
        self.assertEqual("mail.example.com;\n auth=none;\n spf=pass Bcc: you x", self.results())

    def test_off(self) -> None:
        self.config["me-auth-results"] = "none"
        self.assertIsNone(self.results())

    def test_own_name(self) -> None:
        self.config["me-auth-results"] = "auth.example.com"
        self.assertEqual("auth.example.com; auth=none", self.results())


ME = "me.example.com"


class ForgedTests(SynchronousTestCase):
    """What others claim is renamed; DKIM may keep it, unless it claims to be ours."""

    def left(
        self, *values: str, signature: str = "", own: tuple[str, ...] = ("me.example.com",)
    ) -> list[str]:
        text = "".join(f"Authentication-Results: {value}\r\n" for value in values)
        if signature:
            text += f"DKIM-Signature: {signature}\r\n"
        header = Header(text.encode())
        rename_foreign_results(header, own)
        originals = header.get_all("Original-" + AUTH_RESULTS)
        self.assertEqual(len(values), len(originals) + len(header.get_all(AUTH_RESULTS)))
        return header.get_all(AUTH_RESULTS)

    def test_all(self) -> None:
        """Every one is renamed, not every second."""
        self.assertEqual([], self.left("a; x", "b; y", "c; z", "d; w"))

    def test_nested_comments(self) -> None:
        """Comments are looked through, but no deeper than anybody means them."""
        for depth, left in ((MAX_NESTED, 1), (MAX_NESTED + 1, 0)):
            value = "(" * depth + "a;" + ")" * depth + "x; y"
            self.assertEqual(left, len(self.left(value, signature="h=authentication-results")), depth)

    def test_place(self) -> None:
        """Place and value stay."""
        header = Header(b"A: 1\r\nAuthentication-Results: x; y\r\nB: 2\r\n")
        rename_foreign_results(header, (ME,))
        self.assertEqual(b"A: 1\r\nOriginal-Authentication-Results: x; y\r\nB: 2\r\n", bytes(header))

    def test_signed(self) -> None:
        """One that a signature covers stays; tags are parsed (RFC 6376 section 3.5)."""
        for signature in (
            "v=1; h=from:authentication-results:to; b=x",
            "v=1;h=From : Authentication-Results;b=x",
            "h=Authentication-Results",
        ):
            self.assertEqual(["a; x"], self.left("a; x", signature=signature), signature)

    def test_not_signed(self) -> None:
        for signature in (
            "v=1; h=from:to",
            "v=1; h=from:x-authentication-results",
            "bh=authentication-results; h=from",
        ):
            self.assertEqual([], self.left("a; x", signature=signature), signature)

    def test_ours(self) -> None:
        """One that may be taken for ours never stays, in whatever disguise."""
        for value in (
            "me.example.com; spf=pass",
            "ME.example.COM; spf=pass",
            "me.example.com 1; spf=pass",
            "(x) me.example.com; spf=pass",
            "(;) me.example.com; spf=pass",
            "((;)) me.example.com; spf=pass",
            '"me.example.com"; spf=pass',
            '"me\\.example.com"; spf=pass',
            "me.example.com",
            "; spf=pass",
            "",
            "(" * 2000 + "; me.example.com; spf=pass",
        ):
            self.assertEqual([], self.left(value, signature="h=authentication-results"), value[:50])

    def test_own_name(self) -> None:
        signature = "h=authentication-results"
        self.assertEqual([], self.left("auth.me; x", signature=signature, own=("auth.me",)))
        self.assertEqual(1, len(self.left("me.example.com; x", signature=signature, own=("auth.me",))))

    def test_off(self) -> None:
        self.assertEqual(["me.example.com; x"], self.left("me.example.com; x", own=()))
