"""The conversation: order, hello, limits, what is logged of it."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, OK, Level, Reply
from qpsmtpd.budget import ERRORS
from qpsmtpd.session import VERBS
from qpsmtpd.testing import Server


class Case(SynchronousTestCase):
    def connect(self, hooks: dict[str, Any] | None = None, **config: str) -> Any:
        self.server = Server(hooks=hooks, config={"reverse_dns": "0", **config})
        client = self.server.connect()
        self.greeting = client.read().removesuffix("\r\n")
        return client

    def codes(self, client: Any, *lines: str) -> list[str]:
        return [line[:3] for line in client.say(*lines).splitlines() if line[3] == " "]

    def logged(self) -> list[str]:
        return [event.text for event in self.server.log]


class VerbTests(Case):
    def test_case(self) -> None:
        """Verbs are known in any case (RFC 5321 section 2.4)."""
        self.assertEqual(["250"] * 3, self.codes(self.connect(), "noop", "NoOp", "RSET"))

    def test_known(self) -> None:
        """Every verb is answered once, whatever comes with it and before it."""
        for verb in VERBS:
            for argument in ("", " x", " <>", " \xff", "\t", " " + "x" * 4000):
                client = self.connect()
                client.send((verb + argument).encode("latin-1") + b"\r\n")
                self.assertEqual(
                    1, sum(line[3] == " " for line in client.read().splitlines()), verb + argument
                )

    def test_unknown(self) -> None:
        """An unknown verb is shown to the plugins, in lower case, with what follows."""
        heard: list[Any] = []
        client = self.connect(
            {"unrecognized_command": lambda command, argument: heard.append((command, argument))}
        )
        self.assertEqual(["500", "500", "500"], self.codes(client, "XYZZY Plugh  x", "", " NOOP"))
        self.assertEqual([("xyzzy", "Plugh  x"), ("", ""), ("", "NOOP")], heard)

    def test_not_implemented(self) -> None:
        """Verbs of the standards that we do not implement are 502."""
        self.assertEqual(
            ["502"] * 6, self.codes(self.connect(), "EXPN", "ETRN", "TURN", "SEND", "SOML", "SAML")
        )

    def test_own_verb(self) -> None:
        """A plugin may answer a verb of its own."""
        client = self.connect(
            {"unrecognized_command": lambda command: Reply(211, "pong") if command == "ping" else None}
        )
        self.assertEqual(["211", "500"], self.codes(client, "PING", "PONG"))

    def test_arguments(self) -> None:
        """NOOP, VRFY and HELP hand their arguments to the plugins."""
        heard: list[str] = []
        hooks = {name: lambda argument: heard.append(argument) for name in ("noop", "vrfy", "help")}  # noqa: PLW0108
        self.connect(hooks).say("NOOP a b", "VRFY <x>", "HELP me")
        self.assertEqual(["a b", "<x>", "me"], heard)

    def test_verify_nobody(self) -> None:
        """VRFY says whom (RFC 5321 section 4.1.1.6); without, no plugin is asked, and it is an error."""
        client = self.connect({"vrfy": lambda: OK("mine")}, max_errors="1")
        self.assertEqual(["501", "250", "421"], self.codes(client, "VRFY", "VRFY x", "VRFY  "))

    def test_texts(self) -> None:
        """The text of OK replaces ours, where there is one."""
        hooks = {name: lambda: OK("mine") for name in ("vrfy", "help", "quit", "noop")}
        client = self.connect(hooks)
        expected = ["250 2.1.5 mine", "214 2.0.0 mine", "250 2.0.0 OK", "221 2.0.0 mine"]
        self.assertEqual(expected, client.say("VRFY x", "HELP", "NOOP", "QUIT").splitlines())

    def test_quit(self) -> None:
        """QUIT closes, whatever a plugin thinks of it."""
        for answer in (None, DECLINED, DENY, Reply(250, "bye"), Reply(550, "stay")):
            client = self.connect({"quit": lambda answer=answer: answer})
            self.assertIn(client.say("QUIT")[:3], ("221", "250"))
            self.assertTrue(client.closed)


class HelloTests(Case):
    def test_noted(self) -> None:
        client = self.connect()
        client.say("EHLO Client.Example and more")
        self.assertEqual(("ehlo", "Client.Example"), (client.connection.hello, client.connection.hello_host))

    def test_while_asked(self) -> None:
        """While the plugins are asked the hello is not noted yet; they have it, and its other words."""
        seen: list[Any] = []
        client = self.connect(
            {"ehlo": lambda connection, host, words: seen.append((connection.hello, host, words))}
        )
        client.say("EHLO x y z")
        self.assertEqual([("", "x", ["y", "z"])], seen)

    def test_refused(self) -> None:
        """A refused hello is none, and has one reply."""
        client = self.connect({"helo": lambda: DENY})
        self.assertEqual(["550", "503", "250"], self.codes(client, "HELO x", "MAIL FROM:<a@b>", "EHLO y"))

    def test_refused_again(self) -> None:
        """A refused second one leaves the first in force, and the transaction."""
        client = self.connect({"helo": lambda: DENY, "rcpt": lambda: OK})
        codes = self.codes(client, "EHLO x", "MAIL FROM:<a@b>", "HELO y", "RCPT TO:<a@b>")
        self.assertEqual(["250", "250", "550", "250"], codes)

    def test_again(self) -> None:
        """A second one resets (RFC 5321 section 4.1.4)."""
        client = self.connect()
        self.assertEqual(
            ["250", "250", "250", "503"],
            self.codes(client, "EHLO x", "MAIL FROM:<a@b>", "EHLO x", "RCPT TO:<a@b>"),
        )

    def test_replaced(self) -> None:
        """A parse hook may replace the argument."""
        client = self.connect({"helo_parse": lambda argument: OK(argument[::-1])})
        client.say("HELO olleh")
        self.assertEqual("hello", client.connection.hello_host)

    def test_capabilities(self) -> None:
        """What a plugin announces stands behind ours; each EHLO begins anew."""
        client = self.connect({"ehlo": lambda connection: connection.capabilities.append("XTRA 1")})
        client.say("EHLO x")
        self.assertEqual("250 XTRA 1", client.say("EHLO x").splitlines()[-1])
        self.assertEqual(["XTRA 1"], client.connection.capabilities)

    def test_kept(self) -> None:
        """RSET keeps the hello."""
        self.assertEqual(
            ["250", "250", "250"], self.codes(self.connect(), "HELO x", "RSET", "MAIL FROM:<a@b>")
        )


class GreetingTests(Case):
    def test_own(self) -> None:
        self.connect(smtpgreeting="mx.example Hello ESMTP")
        self.assertEqual("220 mx.example Hello ESMTP", self.greeting)

    def test_invites(self) -> None:
        """The word that invites EHLO is added if it is missing (RFC 5321 section 3.1)."""
        self.connect(smtpgreeting="mx.example Hello")
        self.assertEqual("220 mx.example Hello ESMTP", self.greeting)

    def test_word(self) -> None:
        """It must stand alone."""
        for text, expected in (
            ("x ESMTP.", "x ESMTP."),
            ("x (ESMTP)", "x (ESMTP)"),
            ("x ESMTPD", "x ESMTPD ESMTP"),
        ):
            self.connect(smtpgreeting=text)
            self.assertEqual(f"220 {expected}", self.greeting)

    def test_hides_version(self) -> None:
        """An own greeting hides the version from HELP, too."""
        self.assertNotRegex(self.connect(smtpgreeting="x").say("HELP"), r"qpsmtpd \d")
        self.assertRegex(self.connect().say("HELP"), r"qpsmtpd \d")


class ErrorTests(Case):
    def test_limit(self) -> None:
        """One bad command more than allowed ends the session."""
        client = self.connect(max_errors="3")
        self.assertEqual(["500", "503", "501"], self.codes(client, "XX", "DATA", "RSET x"))
        self.assertFalse(client.closed)
        self.assertEqual("421 4.7.0 too many errors, closing the connection", client.say("HELO"))
        self.assertTrue(client.closed)

    def test_stops(self) -> None:
        """Nothing is said behind that, however much came in the same segment."""
        client = self.connect(max_errors="3")
        self.assertEqual(["500"] * 3 + ["421"], self.codes(client, *["XX"] * 100))

    def test_not_errors(self) -> None:
        """Refusals of mail are no bad commands."""
        client = self.connect({"rcpt": lambda: DENY}, max_errors="3")
        client.say("HELO x", "MAIL FROM:<a@b>")
        self.assertEqual(["550"] * 20, self.codes(client, *["RCPT TO:<a@b>"] * 20))

    def test_codes(self) -> None:
        self.assertTrue(all(500 <= code <= 555 for code in ERRORS))
        self.assertFalse(ERRORS & {550, 551, 552, 554})

    def test_lines(self) -> None:
        """Lines that are too long or not ended by CRLF count as well."""
        client = self.connect(max_errors="1")
        client.send(b"NOOP\nNOOP\r\nX\nNOOP\r\n")
        self.assertEqual(["500", "250", "421"], [line[:3] for line in client.read().splitlines()])


class ResetTests(Case):
    def test_told(self) -> None:
        """The plugins see the old transaction once more."""
        seen: list[Any] = []
        client = self.connect({"reset_transaction": lambda transaction: seen.append(str(transaction.sender))})
        client.say("HELO x", "MAIL FROM:<a@b>")
        seen.clear()
        client.say("RSET")
        self.assertEqual(["a@b"], [text.strip("<>") for text in seen])
        self.assertIsNone(client.protocol.session.transaction.sender)

    def test_objects_stay(self) -> None:
        """Connection and transaction stay good in the hands of a plugin that waits when the client leaves."""
        promise: Deferred[None] = Deferred()
        kept: list[Any] = []

        def mail(connection: Any, transaction: Any) -> Deferred[None]:
            kept.extend((connection, transaction))
            return promise

        client = self.connect({"mail": mail})
        client.say("HELO x", "MAIL FROM:<a@b>")
        client.drop()
        self.assertEqual("192.0.2.1", kept[0].remote_ip)
        kept[1].notes["x"] = 1


class LogTests(Case):
    """The lines that log tools parse."""

    def test_session(self) -> None:
        self.connect().say("HELO x", "MAIL FROM:<a@b>", "QUIT")
        expected = (
            "1 Accepted connection 0/0 from 192.0.2.1 / [192.0.2.1]",
            "1 Connection from [192.0.2.1] [192.0.2.1]",
            "1 220 mail.example.com ESMTP",
            "1 dispatching HELO x",
            "1 250 mail.example.com Hi [192.0.2.1] [192.0.2.1]",
            "1 dispatching MAIL FROM:<a@b>",
            "1 250 sender OK",
            "1 dispatching QUIT",
            "1 221 mail.example.com closing connection",
            "1 click, disconnecting",
            "1 cleaning up after 1",
        )
        lines = [str(event) for event in self.server.log if event.level <= Level.INFO]
        for start, line in zip(expected, lines, strict=True):
            self.assertTrue(line.startswith(start), line)

    def test_denied_sender(self) -> None:
        self.connect({"mail": lambda: DENY("no")}).say("HELO x", "MAIL FROM:<a@b>")
        self.assertIn("deny mail from <a@b> (no)", self.logged())

    def test_numbers(self) -> None:
        """Each connection has a number of its own."""
        self.connect()
        second = self.server.connect()
        self.assertEqual(2, second.connection.number)


class SecretTests(Case):
    """No line of the log holds credentials."""

    secret = "c2VjcmV0"

    def check(self, *lines: str, **config: str) -> None:
        client = self.connect({"auth": lambda: DENY}, max_errors="100", **config)
        client.say("EHLO x")
        client.say(*lines)
        self.assertNotIn(self.secret.lower(), "\n".join(self.logged()).lower(), lines)

    def test_initial_response(self) -> None:
        for line in (
            "AUTH PLAIN ",
            "auth plain ",
            "Auth  PLAIN   ",
            "AUTH\tPLAIN ",
            "AUTH\tPLAIN\t",
            "AUTH ",
            "AUTH X ",
        ):
            self.check(line + self.secret)

    def test_exchange(self) -> None:
        self.check("AUTH LOGIN", self.secret, self.secret)
        self.check("AUTH LOGIN " + self.secret, self.secret)
        self.check("AUTH PLAIN", self.secret)

    def test_refused(self) -> None:
        """A client that goes on although it was refused sends its secrets as commands."""
        self.check("AUTH LOGIN", self.secret, self.secret, auth_mechanisms="PLAIN")
        self.check("AUTH LOGIN", self.secret, self.secret, tls_before_auth="1")
        self.check("AUTH LOGIN", "*", self.secret, self.secret)
        self.check("AUTH\tLOGIN", self.secret, self.secret)

    def test_later(self) -> None:
        """Behind the next real command unknown ones are shown again."""
        self.check("AUTH X", self.secret, "NOOP", "XYZZY")
        self.assertIn("dispatching XYZZY", self.logged())
