"""The syntax of `tls_protocols`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.tlsfiles import OFFERED, TLSConfigError, parse_protocols

PIECES = ["!", ":", "_", " ", "x", "\n", "SSLv23", "SSLv3", "TLSv1", "TLSv1_2", "TLSv13"]
TLS12, TLS13 = ("TLSv1.2",), ("TLSv1.3",)

ROWS = [
    ("", OFFERED, 0),
    ("SSLv23", OFFERED, 0),
    ("SSLv23:!SSLv2:!SSLv3", OFFERED, 0),  # upstream's default
    ("sslv23 : !sslv3", OFFERED, 0),
    ("SSLv23:!TLSv1:!TLSv1_1", OFFERED, 0),
    ("!TLSv1_3", TLS12, 0),
    ("SSLv23:!TLSv13", TLS12, 0),
    ("SSLv23:!TLSv1_2", TLS13, 0),
    ("TLSv12", TLS12, 0),
    ("TLSv1_2", TLS12, 0),
    ("TLSv13", TLS13, 0),
    ("tlsv1_3:!TLSv12", TLS13, 0),
    ("SSLv3", OFFERED, 0),
    ("SSLv2", OFFERED, 0),
    ("TLSv1", OFFERED, 1),
    ("TLSv11", OFFERED, 1),
    ("TLSv1_1:!TLSv1_3", TLS12, 1),
]
WRONG = [
    ("TLSv14", "allowed"),
    ("SSLv23:!TLSv9", "allowed"),
    ("TLSv1.2", "allowed"),
    ("!", "allowed"),
    ("!!TLSv1", "allowed"),
    ("!SSLv23", "allowed"),
    ("TLSv1_2:TLSv1_3", "more than one"),
    ("SSLv23:TLSv1_2", "more than one"),
    ("!TLSv1_2:!TLSv1_3", "neither"),
    ("TLSv1_2:!TLSv12", "neither"),
]


class ParseProtocolsTests(SynchronousTestCase):
    def test_versions(self) -> None:
        """Only TLS 1.2 and later are offered; who asks for 1.0 or 1.1 is warned."""
        for text, versions, warnings in ROWS:
            found = parse_protocols(text)
            self.assertEqual((versions, warnings), (found.versions, len(found.warnings)), text)

    def test_warning(self) -> None:
        """The warning names file and version."""
        expected = ("tls_protocols: TLS 1.0 is never offered (RFC 8996)",)
        self.assertEqual(expected, parse_protocols("TLSv1").warnings)

    def test_errors(self) -> None:
        """An error is one line that names the file and says what to do."""
        for text, reason in WRONG:
            line = str(self.assertRaises(TLSConfigError, parse_protocols, text))
            self.assertTrue(line.startswith("tls_protocols: "), line)
            self.assertNotIn("\n", line)
            self.assertIn("SSLv23, SSLv2, SSLv3, TLSv1," if reason == "allowed" else reason, line)

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(st.lists(st.sampled_from(PIECES)))
    def test_any_text(self, pieces: list[str]) -> None:
        """Whatever the file says, there is something to offer or an error of one line."""
        try:
            versions = parse_protocols("".join(pieces)).versions
        except TLSConfigError as error:
            self.assertEqual(1, len(str(error).splitlines()))
        else:
            self.assertTrue(versions and set(versions) <= set(OFFERED))
