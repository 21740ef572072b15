"""Comparison of what the client sent with the stored password."""

from __future__ import annotations

import hmac
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.password import PasswordCheck, check_password

# RFC 2195 section 2: the example of the standard.
TICKET = "<1896.697170952@postoffice.reston.mci.net>"
DIGEST = "b913a602c7eda7a495b4e6e7334d3890"
SECRET = "tanstaaftanstaaf"
quick = settings(max_examples=100, derandomize=True, deadline=None)

ROWS = [
    # stored, password, digest, ticket, result
    (None, "p", None, None, PasswordCheck.NO_SECRET),
    ("", "p", None, None, PasswordCheck.NO_SECRET),
    ("", "", None, None, PasswordCheck.NO_SECRET),
    ("", None, hmac.new(b"", b"t", "md5").hexdigest(), "t", PasswordCheck.NO_SECRET),
    ("p", "p", None, None, PasswordCheck.PASS_CLEAR),
    ("0", "0", None, None, PasswordCheck.PASS_CLEAR),
    ("pässword", "pässword", None, None, PasswordCheck.PASS_CLEAR),
    ("p", "P", None, None, PasswordCheck.WRONG),
    ("p", "p ", None, None, PasswordCheck.WRONG),
    ("p", "", None, None, PasswordCheck.WRONG),
    ("p", None, None, None, PasswordCheck.WRONG),
    ("p", None, "", "t", PasswordCheck.WRONG),
    ("p\udce4", "p\xe4", None, None, PasswordCheck.WRONG),  # the file is not UTF-8
    (SECRET, None, DIGEST, TICKET, PasswordCheck.PASS_HASH),
    (SECRET, None, DIGEST, TICKET + "x", PasswordCheck.WRONG),
    (SECRET + "x", None, DIGEST, TICKET, PasswordCheck.WRONG),
    (SECRET, None, "ä" * 32, TICKET, PasswordCheck.WRONG),
    (SECRET, None, DIGEST, None, PasswordCheck.NO_TICKET),
    (SECRET, None, DIGEST, "", PasswordCheck.NO_TICKET),
]


class CheckPasswordTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """Each combination of stored and sent secret has its result."""
        for stored, password, digest, ticket, expected in ROWS:
            found = check_password(stored_clear=stored, password=password, digest=digest, ticket=ticket)
            self.assertEqual(expected, found, (stored, password, digest, ticket))

    @quick
    @given(st.text(), st.text())
    def test_only_equal_passes(self, stored: str, sent: str) -> None:
        """A password passes if and only if it is the stored one, and not empty."""
        found = check_password(stored_clear=stored, password=sent, digest=None, ticket=None)
        self.assertEqual(bool(stored) and stored == sent, found.passed)

    def test_constant_time(self) -> None:
        """Secrets are compared in a time that does not depend on them."""
        with patch("qpsmtpd.kit.password.hmac.compare_digest", return_value=True) as compare:
            check_password(stored_clear="a", password="b", digest=None, ticket=None)
            check_password(stored_clear="a", password=None, digest="b", ticket="t")
        self.assertEqual(2, compare.call_count)

    def test_log_words(self) -> None:
        """The value of a result begins with the word that log tools look for, and agrees with passed."""
        words = {result.name: result.value.partition(":")[0] for result in PasswordCheck}
        expected = {"PASS_CLEAR": "pass", "PASS_HASH": "pass", "NO_TICKET": "skip", "NO_CLEAR": "skip"}
        self.assertEqual(expected | {"NO_SECRET": "fail", "WRONG": "fail"}, words)
        self.assertEqual({"pass"}, {words[result.name] for result in PasswordCheck if result.passed})
