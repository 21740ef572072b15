"""The plugin badrcptto: refused recipients."""

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, Address, ConfigError, Outcome, Recipient, dsn
from qpsmtpd.testing import Tried
from tests.plugins.test_badmailfrom import samples

LIST = [
    "bad@example.com",
    "Mixed@Case.example",
    "@bad.example.com",
    r"^\S+-list@example\.org$ No lists.",
    "a+b@x.example",
]


def refused(entry: str) -> Outcome:
    return dsn.no_such_user(f"mail to {entry} not accepted")


class BadRcptToTests(SynchronousTestCase):
    """Refused recipients."""

    def ask(self, mailbox: str | Recipient, line: str = "badrcptto", entries: Sequence[str] = LIST) -> Any:
        self.tried = Tried(line, config={"badrcptto": entries})
        return self.tried.ask("rcpt", recipient=mailbox)

    def test_list(self) -> None:
        """Addresses, hosts and patterns, in any case; the entry is named as it was written."""
        rows = [
            ("bad@example.com", refused("bad@example.com")),
            ("bad@Example.COM", refused("bad@example.com")),
            ("BAD@example.com", refused("bad@example.com")),
            ("mixed@case.example", refused("Mixed@Case.example")),
            ("user@example.com", DECLINED),
            ("any@bad.example.com", refused("@bad.example.com")),
            ("any@a.bad.example.com", DECLINED),
            ("any@bad.example.com.net", DECLINED),
            ("my-list@example.org", DENY("No lists.")),
            ("my-list@example.org.net", DECLINED),
            ("a+b@x.example", refused("a+b@x.example")),
        ]
        for mailbox, expected in rows:
            self.assertEqual(expected, self.ask(mailbox), mailbox)

    def test_host_pattern(self) -> None:
        """A pattern at the end of a host."""
        self.assertEqual(refused("example.com$"), self.ask("a@example.com", entries=["example.com$"]))
        self.assertEqual(DECLINED, self.ask("a@example.com", entries=["example.not$"]))

    def test_skipped(self) -> None:
        """An empty list, and recipients without domain, postmaster above all, are let pass."""
        self.assertEqual(DECLINED, self.ask("bad@example.com", entries=[]))
        for recipient in (Address("postmaster", ""), Address("", "x.example"), Address("", "")):
            self.assertEqual(DECLINED, self.ask(Recipient(recipient), entries=["@x.example", "^.*"]))
            self.assertEqual(["skip, no list or no address"], self.tried.log)

    def test_immune(self) -> None:
        """Relay clients and whitelisted hosts may write to everybody."""
        tried = Tried("badrcptto", config={"badrcptto": LIST})
        tried.connection.notes["whitelisthost"] = "yes"
        self.assertEqual(DECLINED, tried.ask("rcpt", recipient="bad@example.com"))
        tried.connection.relay_client = True
        self.assertEqual(DECLINED, tried.ask("rcpt", recipient="bad@example.com"))

    def test_karma_and_log(self) -> None:
        """A match costs two points; one line says whom it was about."""
        self.ask("BAD@example.com")
        self.assertEqual(-2, self.tried.connection.karma)
        self.assertEqual("fail, bad recipient BAD@example.com", self.tried.log[-1])
        self.ask("user@example.com")
        self.assertEqual((0, ["pass"]), (self.tried.connection.karma, self.tried.log))

    def test_reject(self) -> None:
        """The arguments reject and reject_type decide what becomes of a match."""
        self.assertEqual(DECLINED, self.ask("bad@example.com", "badrcptto reject 0"))
        answer = self.ask("bad@example.com", "badrcptto reject_type temp")
        self.assertEqual(("DENYSOFT", "4.1.1"), (answer.code.name, answer.status))

    def test_bad_pattern(self) -> None:
        """What is no regular expression stops the start, with its line."""
        error = self.assertRaises(ConfigError, self.ask, "a@b.example", entries=["a@b", "*x"])
        self.assertIn("badrcptto>:2: '*x'", str(error))

    def test_shipped_list(self) -> None:
        """The samples of the shipped file do what they say."""
        for recipient, text in [
            (Address("host!user", "example.org"), "bang paths"),
            (Address("a@b", "example.org"), "second @"),
            (Address("a%b", "example.org"), "percent sign"),
            (Address("former.employee", "example.org"), "former.employee"),
        ]:
            answer = self.ask(Recipient(recipient), entries=samples("badrcptto"))
            self.assertIn(text, answer.text)
        self.assertEqual(DECLINED, self.ask("user@example.org", entries=samples("badrcptto")))
