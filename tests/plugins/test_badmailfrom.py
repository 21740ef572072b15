"""The plugin badmailfrom: refused senders."""

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, Address, ConfigError
from qpsmtpd.config import Config
from qpsmtpd.loader import shipped
from qpsmtpd.testing import Tried

LIST = [
    "bad@example.com",
    "bad@example.net",
    "reason@example.com Go away.",
    "@host.example",
    r"\.test\.net$ No mail from there.",
    "UPPER.*@example",
    "a+b@x.example",
]
DEFAULT = "your envelope sender is in my badmailfrom list"


def samples(name: str) -> list[str]:
    """The lines of a shipped configuration file, those that are commented out included."""
    lines = (shipped("config") / name).read_text().splitlines()
    return [line.removeprefix("#") for line in lines if not line.startswith("# ")]


class BadMailFromTests(SynchronousTestCase):
    """Refused senders."""

    def ask(self, sender: str | Address, line: str = "badmailfrom", entries: Sequence[str] = LIST) -> Any:
        self.tried = Tried(line, config={"badmailfrom": entries})
        return self.tried.ask("mail", sender=sender)

    def test_list(self) -> None:
        """Addresses, hosts and patterns, in any case; the first that matches counts."""
        rows = [
            ("<bad@example.net>", DENY(DEFAULT)),
            ("<BAD@Example.net>", DENY(DEFAULT)),
            ('<"bad"@example.net>', DENY(DEFAULT)),
            ("<good@example.net>", DECLINED),
            ("<reason@example.com>", DENY("Go away.")),
            ("<any@host.example>", DENY(DEFAULT)),
            ("<any@sub.host.example>", DECLINED),
            ("<any@host.example.org>", DECLINED),
            ("<any@a.test.net>", DENY("No mail from there.")),
            ("<any@a.test.net.example>", DECLINED),
            ("<upper-case@example.org>", DENY(DEFAULT)),
            ("<a+b@x.example>", DENY(DEFAULT)),
        ]
        for sender, expected in rows:
            self.assertEqual(expected, self.ask(sender), sender)

    def test_skipped(self) -> None:
        """An empty list, the null sender, and senders without host or user are let pass."""
        self.assertEqual(DECLINED, self.ask("<bad@example.com>", entries=[]))
        for sender in (Address("", ""), Address("user", ""), Address("", "host.example")):
            self.assertEqual(DECLINED, self.ask(sender, entries=["@ x", "@host.example"]))
            self.assertIn("skip, no list or no address", self.tried.log)

    def test_immune(self) -> None:
        """Relay clients and whitelisted senders may call themselves what they like."""
        tried = Tried("badmailfrom", config={"badmailfrom": LIST})
        tried.transaction.notes["whitelistsender"] = 1
        self.assertEqual(DECLINED, tried.ask("mail", sender="<bad@example.com>"))
        tried.transaction.notes.clear()
        tried.connection.relay_client = True
        self.assertEqual(DECLINED, tried.ask("mail", sender="<bad@example.com>"))
        self.assertEqual(["skip, whitelisted sender", "skip, relay client"], tried.log)

    def test_karma_and_log(self) -> None:
        """A match costs a point; one line says why."""
        self.ask("<reason@example.com>")
        self.assertEqual(-1, self.tried.connection.karma)
        self.assertEqual("fail, Go away.", self.tried.log[-1])
        self.ask("<good@example.com>")
        self.assertEqual((0, ["pass"]), (self.tried.connection.karma, self.tried.log))

    def test_reject(self) -> None:
        """The arguments reject and reject_type decide what becomes of a match."""
        self.assertEqual(DECLINED, self.ask("<bad@example.com>", "badmailfrom reject 0"))
        self.assertEqual("", self.tried.connection.naughty)
        self.assertEqual(DECLINED, self.ask("<bad@example.com>", "badmailfrom reject naughty"))
        self.assertEqual(f"(badmailfrom) {DEFAULT}", self.tried.connection.naughty)
        answer = self.ask("<bad@example.com>", "badmailfrom reject_type temp")
        self.assertEqual("DENYSOFT", answer.code.name)

    def test_bad_pattern(self) -> None:
        """What is no regular expression stops the start, with its line."""
        error = self.assertRaises(ConfigError, self.ask, "<>", entries=["a@b", "*x"])
        self.assertIn("badmailfrom>:2: '*x'", str(error))

    def test_shipped_list(self) -> None:
        """The shipped file has no entry, and its samples are some."""
        self.assertEqual((), Config([shipped("config")]).lines("badmailfrom"))
        self.ask("<>", entries=samples("badmailfrom"))
        plugin: Any = self.tried.plugin
        patterns = plugin.senders()
        self.assertEqual([], patterns.remarks)
        self.assertIn("x@a.example.net", patterns)
