"""What a session may waste, and what it costs."""

from typing import Any

from twisted.internet.defer import Deferred

from qpsmtpd import DENY, DENYSOFT, Outcome

from .test_protocol import Case

ENVELOPE = ("HELO x", "MAIL FROM:<a@b>")


def codes(said: str) -> list[str]:
    return [line[:3] for line in said.splitlines()]


class CommandTests(Case):
    def test_last_command(self) -> None:
        """One command too many ends the session, whatever it is."""
        client = self.connect(max_commands="2")
        self.assertEqual(["250", "250"], codes(client.say("NOOP", "RSET")))
        self.assertEqual("421 4.7.0 too many commands, closing the connection", client.say("QUIT"))
        self.assertTrue(client.closed)

    def test_no_limit(self) -> None:
        """0 is no limit."""
        client = self.connect(max_commands="0")
        self.assertEqual(["250"] * 50, codes(client.say(*["NOOP"] * 50)))


class RecipientTests(Case):
    def refuse(self, verdict: Outcome, limit: str) -> list[str]:
        client = self.connect({"rcpt": lambda: verdict}, max_bad_recipients=limit)
        return codes(client.say(*ENVELOPE, *["RCPT TO:<c@d>"] * 3))[2:]

    def test_refused(self) -> None:
        """Refused recipients are counted; one too many ends the session."""
        self.assertEqual(["550", "550", "421"], self.refuse(DENY("who?"), "2"))

    def test_soft(self) -> None:
        """What is refused for now only is not counted."""
        self.assertEqual(["450"] * 3, self.refuse(DENYSOFT("later"), "2"))

    def test_no_limit(self) -> None:
        """0 is no limit."""
        self.assertEqual(["550"] * 3, self.refuse(DENY("who?"), "0"))

    def test_of_the_session(self) -> None:
        """A new transaction does not begin the count anew."""
        client = self.connect({"rcpt": lambda: DENY("who?")}, max_bad_recipients="1")
        client.say(*ENVELOPE, "RCPT TO:<c@d>", "RSET", "MAIL FROM:<a@b>")
        self.assertEqual(["421"], codes(client.say("RCPT TO:<c@d>")))


class DelayTests(Case):
    def test_bad_command(self) -> None:
        """The reply to a bad command waits; what is behind it waits, too, and good commands do not."""
        client = self.connect(error_delay="5")
        self.assertEqual(["250"], codes(client.say("NOOP", "FOO", "NOOP")))
        self.clock.advance(4)
        self.assertEqual("", client.read())
        self.clock.advance(1)
        self.assertEqual(["500", "250"], codes(client.read()))
        self.assertEqual(["250"], codes(client.say("NOOP")))

    def test_each(self) -> None:
        """Each bad command costs its time."""
        client = self.connect(error_delay="5")
        client.say("FOO", "BAR")
        self.clock.advance(5)
        self.assertEqual(["500"], codes(client.read()))
        self.clock.advance(5)
        self.assertEqual(["500"], codes(client.read()))

    def test_recipient(self) -> None:
        """A recipient that is refused for good costs it, too."""
        client = self.connect({"rcpt": lambda: DENY("who?")}, error_delay="5")
        client.say(*ENVELOPE)
        self.assertEqual("", client.say("RCPT TO:<c@d>"))
        self.clock.advance(5)
        self.assertEqual(["550"], codes(client.read()))

    def test_client_leaves(self) -> None:
        """A client that leaves meanwhile leaves no timer and no error behind."""
        client = self.connect(error_delay="5")
        client.say("FOO")
        client.drop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([], self.flushLoggedErrors())

    def test_shutdown(self) -> None:
        """The server does not wait for it when it ends."""
        client = self.connect(error_delay="5")
        client.say("FOO")
        self.server.factory.drain(30)
        self.assertEqual(["421"], codes(client.read()))

    def test_off(self) -> None:
        """By default nothing waits."""
        self.assertEqual(["500"], codes(self.connect().say("FOO")))


class EarlyTalkerTests(Case):
    def test_early(self) -> None:
        """Who speaks before the greeting is known for it, and logged once."""
        slow: Deferred[Any] = Deferred()
        client = self.connect({"connect": lambda: slow})
        client.say("HELO x")
        client.say("NOOP")
        self.assertTrue(client.connection.early_talker)
        self.assertEqual(1, len([one for one in self.server.log if "early talker" in str(one)]))
        slow.callback(None)

    def test_patient(self) -> None:
        """Who waits is not."""
        client = self.connect()
        client.say("HELO x")
        self.assertFalse(client.connection.early_talker)
