"""The plugin naughty: rejections that others deferred."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY_DISCONNECT, OK, ConfigError, Connection, Outcome
from qpsmtpd.testing import Client, Server, Tried

STAGES = ("connect", "mail", "rcpt", "data", "data_post")


class NaughtyTests(SynchronousTestCase):
    """Each stage on its own."""

    def test_hooks(self) -> None:
        """The chosen hook, in any case, and data_post; rcpt without a choice."""
        for line, expected in [
            ("naughty", ["rcpt", "data_post"]),
            ("naughty reject DATA", ["data", "data_post"]),
            ("naughty reject data_post", ["data_post"]),
            ("naughty reject connect", ["connect", "data_post"]),
        ]:
            hooks = [hook for hook, _, _ in Tried(line).plugin.registrations]
            self.assertEqual(expected, hooks, line)

    def test_good_client(self) -> None:
        """Who is not marked passes, at every stage."""
        for stage in STAGES:
            tried = Tried(f"naughty reject {stage}")
            self.assertEqual(DECLINED, tried.ask(stage))
            self.assertEqual(["pass"], tried.log)

    def test_kind(self) -> None:
        """The mark's kind of rejection comes first, then the argument's, and nothing unknown helps."""
        for line, mark, expected in [
            ("naughty", "", "DENY_DISCONNECT"),
            ("naughty reject_type temp", "", "DENYSOFT"),
            ("naughty reject_type temp", "perm", "DENY"),
            ("naughty", "temp_disconnect", "DENYSOFT_DISCONNECT"),
            ("naughty", "log", "DENY_DISCONNECT"),
        ]:
            tried = Tried(line)
            tried.connection.naughty = "(dnsbl) listed"
            tried.connection.naughty_reject_type = mark
            answer = tried.ask("rcpt")
            assert isinstance(answer, Outcome)
            self.assertEqual((expected, "(dnsbl) listed"), (answer.code.name, answer.text))

    def test_reasons(self) -> None:
        """Several reasons are as many lines, with LF between them whoever joined them; the log has one."""
        tried = Tried("naughty")
        tried.connection.naughty = "(a) one\r\n(b) two\n(c) three"
        self.assertEqual(DENY_DISCONNECT("(a) one\n(b) two\n(c) three"), tried.ask("rcpt"))
        self.assertEqual(["fail, (a) one; (b) two; (c) three"], tried.log)

    def test_no_immunity(self) -> None:
        """A relay client that is marked is refused, too."""
        tried = Tried("naughty")
        tried.connection.relay_client = True
        tried.connection.naughty = "(x) y"
        self.assertEqual(DENY_DISCONNECT("(x) y"), tried.ask("data_post"))

    def test_arguments(self) -> None:
        """What is no stage, or no kind of rejection, stops the start."""
        for words in ("reject hook_queue_post", "reject 1", "reject_type log"):
            self.assertIn("naughty: ", str(self.assertRaises(ConfigError, Tried, f"naughty {words}")))


class NaughtySessionTests(SynchronousTestCase):
    """Marked by one plugin, refused by another."""

    def begin(self, *plugins: str) -> Client:
        """Begin a session whose sender is on the list of badmailfrom."""
        server = Server(
            [*plugins, "rcpt_ok"],
            config={"badmailfrom": "@bad.example Bad sender.", "rcpthosts": "example.org"},
            hooks={"queue": lambda: OK("Queued!")},
        )
        client = server.connect()
        client.say("EHLO x")
        self.assertTrue(client.say("MAIL FROM:<a@bad.example>").startswith("250 "))
        return client

    def test_deferred(self) -> None:
        """The sender is taken, and the recipient is told the reason."""
        client = self.begin("badmailfrom reject naughty", "naughty")
        reply = client.say("RCPT TO:<b@example.org>")
        self.assertEqual("550 5.7.1 (badmailfrom) Bad sender.", reply)
        self.assertTrue(client.closed)

    def test_safety_net(self) -> None:
        """Who is marked after the chosen stage is refused at the end of the message."""
        client = self.begin("badmailfrom reject naughty reject_type temp", "naughty reject connect")
        client.say("RCPT TO:<b@example.org>", "DATA")
        self.assertEqual("452 4.7.1 (badmailfrom) Bad sender.", client.say("x: y", "", "."))
        self.assertFalse(client.closed)

    def test_authenticated(self) -> None:
        """A user who has proved who he is is naughty no more."""
        hooks: dict[str, Callable[..., Any]] = {"pre-connection": mark, "auth": lambda: OK}
        client = Server(["naughty", "rcpt_ok"], hooks=hooks).connect()
        client.say("EHLO x")
        self.assertTrue(client.say("AUTH PLAIN AGpvZQBzZWNyZXQ=").startswith("235 "))
        client.say("MAIL FROM:<a@example.com>")
        self.assertEqual("250 2.1.5 recipient OK", client.say("RCPT TO:<b@example.net>"))

    def test_connect(self) -> None:
        """At connect every rejection closes: 554, and 421 for a soft one."""
        for line, code in [("perm", "554 5.7.1 "), ("temp_disconnect", "421 4.7.1 ")]:
            plugin = f"naughty reject connect reject_type {line}"
            client = Server([plugin], hooks={"pre-connection": mark}).connect()
            self.assertEqual(f"{code}(test) no\r\n", client.read())
            self.assertTrue(client.closed)


def mark(connection: Connection) -> None:
    """Mark a client as another plugin would."""
    connection.naughty = "(test) no"
