"""The plugin headers: the basic rules of RFC 5322."""

import os
import sys
import time
from email.utils import formatdate
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, OK, ConfigError, Outcome
from qpsmtpd.testing import Server, Tried
from qpsmtpd.testing.server import START

DAY = 86400
WORDS = ("Mon,", "23", "Nov", "2026", "12:00:00", "+0000", "-0000", "GMT", "+99999", "0", "99999999999")


def date(days: float) -> str:
    """Write a Date field, so many days from now."""
    return f"Date: {formatdate(START + days * DAY)}\n"


GOOD = date(0) + "From: a@example.com\nSubject: x\n"


class HeadersTests(SynchronousTestCase):
    """What is refused, and how."""

    def ask(self, header: str, line: str = "headers", body: str = "\nx\n") -> Any:
        """Ask about a message."""
        self.tried = Tried(line)
        self.tried.clock.advance(START)
        self.tried.message(header + body)
        return self.tried.ask("data_post")

    def faults(self, header: str, line: str = "headers") -> str:
        """Give what the client is told is wrong, "" if nothing is."""
        answer = self.ask(header, line)
        if answer is DECLINED:
            return ""
        self.assertEqual(("DENY", "5.6.0"), (answer.code.name, answer.status))
        return str(answer.text).removeprefix("RFC 5322: ")

    def test_complete(self) -> None:
        """A complete header passes, and one line says so."""
        self.assertEqual(DECLINED, self.ask(GOOD, "headers require From,Date past 5 future 5"))
        self.assertEqual((0, ["pass"]), (self.tried.connection.karma, self.tried.log))

    def test_required(self) -> None:
        """From, or what is configured, must be there and not empty."""
        both = "headers require From,Date"
        for header, line, expected in [
            (date(0), "headers", "no From header"),
            ("Subject: x\n", "headers", "no From header"),
            ("From: a\n", "headers", ""),
            ("From:  \n", "headers", "no From header"),
            ("fRoM: a\n", both, "no Date header"),
            (date(0), both, "no From header"),
            ("x: y\n", both, "no From header; no Date header"),
            ("", both, "no From header; no Date header"),
            ("x: y\n", "headers require X", ""),
        ]:
            self.assertEqual(expected, self.faults(header, line), (header, line))

    def test_unique(self) -> None:
        """Eleven fields occur once at most, in any case; others as often as they like."""
        names = "Date From Sender Reply-To To Cc Bcc Message-Id In-Reply-To References Subject"
        for name in names.split():
            header = f"{GOOD}{name}: x\n{name.upper()}: y\n"
            self.assertEqual(f"more than one {name} header", self.faults(header), name)
        self.assertEqual("", self.faults(GOOD + "Received: x\nReceived: y\nKeywords: x\nKeywords: y\n"))

    def test_bounds(self) -> None:
        """The Date may be so many days from now."""
        past, future = "the Date is too far in the past", "the Date is too far in the future"
        for days, line, expected in [
            (0, "headers past 2 future 2", ""),
            (6, "headers future 2", future),
            (3, "headers future 2", future),
            (1, "headers future 2", ""),
            (-6, "headers past 2", past),
            (-3, "headers past 2", past),
            (-1, "headers past 2", ""),
            (2, "headers future 2", ""),
            (-2, "headers past 2", ""),
            (6, "headers future 5", future),
            (-6, "headers past 5", past),
            (-1, "headers past 0.5", past),
            (999, "headers past 2", ""),
            (-999, "headers future 2", ""),
            (-999, "headers past 0 future 0", ""),
        ]:
            header = date(days) + "From: a\n"
            self.assertEqual(expected, self.faults(header, line), (days, line))

    def test_unreadable_date(self) -> None:
        """A Date that cannot be read is no fault; the log says why it was not looked at."""
        header = "Date: yesterday\nFrom: a\n"
        self.assertEqual(DECLINED, self.ask(header, "headers require Date past 2 future 2"))
        self.assertEqual(["skip, the Date cannot be read", "pass"], self.tried.log)

    def test_all_faults(self) -> None:
        """One reply tells all faults, one line logs them, and each costs a point."""
        header = date(-9) + "To: a\nTo: b\n"
        faults = "no From header; more than one To header; the Date is too far in the past"
        self.assertEqual(faults, self.faults(header, "headers past 5"))
        self.assertEqual(-3, self.tried.connection.karma)
        self.assertEqual(f"fail, {faults}", self.tried.log[-1])

    def test_reject_type(self) -> None:
        """The administrator chooses the kind of rejection."""
        for kind, expected in [("temp", "DENYSOFT"), ("perm", "DENY"), ("disconnect", "DENY_DISCONNECT")]:
            answer = self.ask("x: y\n", f"headers reject_type {kind}")
            self.assertEqual(expected, answer.code.name)

    def test_tolerated(self) -> None:
        """With reject 0 a fault is logged, and nobody is marked."""
        self.assertEqual(DECLINED, self.ask("x: y\n", "headers reject 0"))
        self.assertEqual("", self.tried.connection.naughty)
        self.assertEqual("fail, tolerated, no From header", self.tried.log[-1])

    def test_naughty(self) -> None:
        """With reject naughty a fault is left to the naughty plugin, as upstream always did."""
        self.assertEqual(DECLINED, self.ask("x: y\n", "headers reject naughty reject_type temp"))
        self.assertEqual("(headers) RFC 5322: no From header", self.tried.connection.naughty)
        self.assertEqual("temp", self.tried.connection.naughty_reject_type)

    def test_nothing(self) -> None:
        """A message without anything is refused, whoever sends it."""
        self.ask("", body="")
        for self.tried.connection.relay_client in (False, True):
            answer = self.tried.ask("data_post")
            assert isinstance(answer, Outcome)
            self.assertEqual("RFC 5322: the message is empty", answer.text)

    def test_immune(self) -> None:
        """Relay clients and whitelisted senders may write what they like."""
        self.ask("x: y\n")
        self.tried.transaction.notes["whitelistsender"] = True
        self.assertEqual(DECLINED, self.tried.ask("data_post"))
        self.tried.connection.relay_client = True
        self.assertEqual(DECLINED, self.tried.ask("data_post"))

    def test_arguments(self) -> None:
        """What is no name, no number or no word of ours stops the start."""
        for words in ("require From:", "past soon", "future -1", "reject maybe", "reject_type x", "to 3"):
            self.assertIn("headers: ", str(self.assertRaises(ConfigError, Tried, f"headers {words}")))

    def test_instances(self) -> None:
        """A second instance has its own list."""
        plugins: list[Any] = [Tried("headers:1 require X").plugin, Tried("headers:2").plugin]
        self.assertEqual([("X",), ("From",)], [plugin.require for plugin in plugins])

    def test_on_the_wire(self) -> None:
        """552 with everything that is wrong."""
        server = Server(["headers require From,To"], hooks={"rcpt": lambda: OK, "queue": lambda: OK})
        self.assertEqual(
            "552 5.6.0 RFC 5322: no From header; no To header", server.connect().mail(text="x: y\n")
        )
        self.assertTrue(server.connect().mail(text="From: x\nTo: y\n").startswith("250 "))


class TimestampTests(SynchronousTestCase):
    """Dates as they are written."""

    def setUp(self) -> None:
        before = os.environ.get("TZ")

        def restore() -> None:
            os.environ.pop("TZ")
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()

        os.environ["TZ"] = "EST5"
        time.tzset()
        self.addCleanup(restore)
        self.at: Any = vars(sys.modules[type(Tried("headers").plugin).__module__])["timestamp"]

    def test_forms(self) -> None:
        """RFC 5322, its obsolete forms, and ctime's; without zone it is local time, but -0000 is UTC."""
        noon = 1795435200.0
        for text, expected in [
            ("Mon, 23 Nov 2026 12:00:00 +0000", noon),
            ("23 Nov 2026 12:00 +0000 (UTC)", noon),
            ("Mon, 23 Nov 2026 13:00:00 +0100", noon),
            ("Mon, 23 Nov 26 12:00:00 GMT", noon),
            ("Mon, 23 Nov 2026 07:00:00 EST", noon),
            ("Mon, 23 Nov 2026 12:00:00 -0000", noon),
            ("Mon, 23 Nov 2026 12:00:00 -0000 (-0500)", noon),
            ("Mon Nov 23 07:00:00 2026", noon),
            ("Mon, 23 Nov 2026 07:00:00", noon),
        ]:
            self.assertEqual(expected, self.at(text), text)

    @settings(max_examples=200, derandomize=True, deadline=None, database=None)
    @given(st.text(max_size=40) | st.lists(st.sampled_from(WORDS)).map(" ".join))
    def test_anything(self, text: str) -> None:
        """Whatever a client writes is a time or none, and no other error."""
        try:
            self.at(text)
        except (ValueError, OverflowError):
            return
