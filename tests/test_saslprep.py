"""SASLprep: one spelling of what looks alike, and nothing that must not be there."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.saslprep import prepared_password, saslprep

quick = settings(max_examples=100, derandomize=True, deadline=None)

# RFC 4013 section 3, then what else is mapped, kept and normalized.
PREPARED = (
    ("I\u00adX", "IX"),
    ("user", "user"),
    ("USER", "USER"),
    ("\u00aa", "a"),
    ("\u2168", "IX"),
    ("", ""),
    ("a\u00a0b", "a b"),
    ("a\u200bb", "a b"),
    ("u\u0308", "\u00fc"),
    ("\u0627\u0628", "\u0627\u0628"),
    ("\u06271\u0628", "\u06271\u0628"),
    ("\U0001f600", "\U0001f600"),  # younger than Unicode 3.2
)
REFUSED = (
    "\u0007",
    "\u06271",
    "1\u0627",
    "\u0627a\u0628",
    "\u0085",
    "\ue000",
    "\ufdd0",
    "\udc80",
    "\ufffd",
    "\u2ff0",
    "\u202e",
    "\U000e0041",
)


class SASLprepTests(SynchronousTestCase):
    def test_prepared(self) -> None:
        for text, expected in PREPARED:
            self.assertEqual(expected, saslprep(text), ascii(text))

    def test_refused(self) -> None:
        """RFC 4013 sections 2.3 and 2.4: prohibited characters and mixed directions."""
        for text in REFUSED:
            self.assertRaises(ValueError, saslprep, text)

    @quick
    @given(st.text())
    def test_once(self, text: str) -> None:
        """What is prepared stays as it is, unless it is refused."""
        try:
            prepared = saslprep(text)
        except ValueError:
            return
        if prepared.isascii():
            self.assertEqual(prepared, saslprep(prepared))

    def test_password(self) -> None:
        """A password that SASLprep refuses is used as it is."""
        self.assertEqual("a b", prepared_password("a\u00a0b"))
        self.assertEqual("a\u0007", prepared_password("a\u0007"))
