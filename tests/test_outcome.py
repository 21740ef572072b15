"""What a hook may return."""

from dataclasses import FrozenInstanceError

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DENY, DENY_DISCONNECT, DENYSOFT, OK, dsn
from qpsmtpd.outcome import OUTCOMES, REJECT_TYPES, Code, Outcome


class CodeTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """The numbers are upstream's."""
        expected = {
            "OK": 900,
            "DENY": 901,
            "DENYSOFT": 902,
            "DENY_DISCONNECT": 903,
            "DENYSOFT_DISCONNECT": 904,
            "DECLINED": 909,
            "DONE": 910,
        }
        self.assertEqual(expected, {code.name: code.value for code in Code})

    def test_properties(self) -> None:
        denies = {code.name for code in Code if code.denies}
        self.assertEqual({"DENY", "DENYSOFT", "DENY_DISCONNECT", "DENYSOFT_DISCONNECT"}, denies)
        self.assertEqual({"DENYSOFT", "DENYSOFT_DISCONNECT"}, {code.name for code in Code if code.soft})
        disconnects = {code.name for code in Code if code.disconnects}
        self.assertEqual({"DENY_DISCONNECT", "DENYSOFT_DISCONNECT"}, disconnects)


class OutcomeTests(SynchronousTestCase):
    def test_text(self) -> None:
        """To call an outcome is to give it a text and a status."""
        self.assertEqual(Outcome(Code.DENY, "no", "5.1.1"), DENY("no", "5.1.1"))
        self.assertEqual("", DENY.text)

    def test_values(self) -> None:
        """Outcomes are values."""
        self.assertEqual(OK("a"), OK("a"))
        self.assertRaises(FrozenInstanceError, setattr, OK, "text", "x")

    def test_names(self) -> None:
        """Configuration files name them as upstream does."""
        self.assertIs(DENY_DISCONNECT, OUTCOMES["DENYHARD"])
        self.assertTrue(all(OUTCOMES[name].code.name == name for name in OUTCOMES if name != "DENYHARD"))

    def test_reject_types(self) -> None:
        self.assertTrue(all(code.denies for code in REJECT_TYPES.values()))


class DeliveryStatusTests(SynchronousTestCase):
    def test_default(self) -> None:
        """A named status has its usual verdict and text."""
        outcome = dsn.no_such_user()
        self.assertEqual((Code.DENY, "5.1.1"), (outcome.code, outcome.status))
        self.assertTrue(outcome.text)

    def test_text(self) -> None:
        self.assertEqual("who?", dsn.no_such_user("who?").text)

    def test_other_verdict(self) -> None:
        """The class of the status follows the verdict."""
        outcome = dsn.no_such_user("later", outcome=DENYSOFT)
        self.assertEqual((Code.DENYSOFT, "4.1.1"), (outcome.code, outcome.status))

    def test_all(self) -> None:
        """Every name makes an outcome whose status agrees with its verdict."""
        self.assertIn("no_such_user", dir(dsn))
        for status in dsn.BY_NAME.values():
            outcome = status()
            digit = ("4" if outcome.code.soft else "5") if outcome.code.denies else "2"
            self.assertEqual(digit, outcome.status[0], outcome)

    def test_unknown(self) -> None:
        """A misspelled name is an error that names it."""
        self.assertRaisesRegex(AttributeError, "'no_such_thing'", getattr, dsn, "no_such_thing")
