"""Parameters of MAIL and RCPT: what each value means, and which are none."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp.address import NULL_PATH, Address
from qpsmtpd.smtp.command import SyntaxFault, encode_xtext
from qpsmtpd.smtp.parameters import PARAMETERS, PROMISES

QUICK = settings(max_examples=100, derandomize=True, deadline=None)

# command, keyword, value, meaning
READ: list[tuple[str, str, str | None, Any]] = [
    ("MAIL", "SIZE", "0", 0),
    ("MAIL", "SIZE", "9" * 20, 10**20 - 1),
    ("MAIL", "BODY", "8bitMIME", "8BITMIME"),
    ("MAIL", "BODY", "BINARYMIME", "BINARYMIME"),
    ("MAIL", "SMTPUTF8", None, None),
    ("MAIL", "AUTH", "<>", NULL_PATH),
    ("MAIL", "AUTH", "<e+3Dmc2@example.com>", Address("e=mc2", "example.com")),
    ("MAIL", "AUTH", "e+3Dmc2@example.com", Address("e=mc2", "example.com")),
    ("MAIL", "AUTH", "+C3+A9@example.com", Address("\u00e9", "example.com")),
    ("MAIL", "PRDR", None, None),
    ("MAIL", "RET", "FULL", "FULL"),
    ("MAIL", "RET", "hdrs", "HDRS"),
    ("MAIL", "ENVID", "QQ314159", "QQ314159"),
    ("MAIL", "ENVID", "a+20+2Bb+3D+09c", "a +b=\tc"),
    ("MAIL", "ENVID", "x" * 100, "x" * 100),
    ("RCPT", "NOTIFY", "NEVER", frozenset()),
    ("RCPT", "NOTIFY", "never", frozenset()),
    ("RCPT", "NOTIFY", "SUCCESS", {"SUCCESS"}),
    ("RCPT", "NOTIFY", "delay,Failure", {"DELAY", "FAILURE"}),
    ("RCPT", "NOTIFY", "SUCCESS,FAILURE,DELAY", {"SUCCESS", "FAILURE", "DELAY"}),
    ("RCPT", "ORCPT", "rfc822;Bob+2Bx@Ivory.EDU", ("rfc822", "Bob+x@Ivory.EDU")),
    ("RCPT", "ORCPT", "x400;/G+3DBob;/", ("x400", "/G=Bob;/")),
    ("RCPT", "ORCPT", "rfc822;+C3+A9@b", ("rfc822", "\u00e9@b")),
    ("RCPT", "ORCPT", "utf-8;\u00e9@b", ("utf-8", "\u00e9@b")),
    (
        "RCPT",
        "ORCPT",
        "UTF-8;a\\x{E9}\\x{20}\\x{1F600}\\x{10FFFF}@b",
        ("UTF-8", "a\u00e9 \U0001f600\U0010ffff@b"),
    ),
    ("RCPT", "ORCPT", "rfc822;" + "x" * 493, ("rfc822", "x" * 493)),
    ("MAIL", "REQUIRETLS", None, None),
    ("MAIL", "MT-PRIORITY", "0", 0),
    ("MAIL", "MT-PRIORITY", "-9", -9),
    ("MAIL", "MT-PRIORITY", "6", 6),
    ("MAIL", "BY", "120;R", (120, "R", False)),
    ("MAIL", "BY", "-999999999;nt", (-999999999, "N", True)),
    ("MAIL", "BY", "+5;RT", (5, "R", True)),
    ("MAIL", "HOLDFOR", "0", 0),
    ("MAIL", "HOLDFOR", "999999999", 999999999),
    ("MAIL", "HOLDUNTIL", "2030-01-31T12:00:00Z", 1896091200.0),
    ("MAIL", "HOLDUNTIL", "2030-01-31t13:00:00.5+01:00", 1896091200.5),
]

# command, keyword, values that are none
MALFORMED: list[tuple[str, str, list[str | None]]] = [
    ("MAIL", "SIZE", [None, "-1", "1k", "\u0661", "9" * 21]),
    ("MAIL", "BODY", [None, "9BIT", "8BITM\u0131ME"]),
    ("MAIL", "SMTPUTF8", ["1"]),
    ("MAIL", "PRDR", ["1"]),
    ("MAIL", "AUTH", [None, "a+b@c", "<a@b", "<a>", "a", "a@", "+3C+3E+3E", "a+0D@b", "+FF@b", "\u00e9@b"]),
    ("MAIL", "RET", [None, "ALL", "FULL,HDRS", "HDR\u017f"]),
    ("MAIL", "ENVID", [None, "a=b", "a+b", "+0A", "+7F", "+C3+A9", "x" * 101]),
    ("RCPT", "NOTIFY", [None, "NEVER,FAILURE", "SUCCESS,", ",", "ALWAYS", "SUCCESS;DELAY"]),
    ("RCPT", "ORCPT", [None, "a@b", ";a@b", "rfc822;", "rfc822;a+b", "rfc822;+0D+0A", "rfc822;\u00e9@b"]),
    ("RCPT", "ORCPT", ["rfc822;+7F", "rfc822;+C2+85", "rfc822;+E2+80+A8", "rfc822;+E9", "x;+ED+A0+80"]),
    ("RCPT", "ORCPT", ["rfc(822;a@b", "rfc822;" + "x" * 494, "utf-8;", "utf-8;a+20b", "utf-8;a\\b"]),
    ("RCPT", "ORCPT", ["utf-8;\\x{0}", "utf-8;\\x{e9}", "utf-8;\\x{D800}", "utf-8;\\x{1F}", "utf-8;\\x{85}"]),
    ("RCPT", "ORCPT", ["utf-8;\\x{110000}", "utf-8;\\x{00E9}", "utf-8;\\x{2028}", "utf-8;\u0085"]),
    ("MAIL", "REQUIRETLS", ["1", "YES"]),
    ("MAIL", "MT-PRIORITY", [None, "10", "-10", "+3", "-0", "03", "x", "\u0663"]),
    ("MAIL", "BY", [None, "120", "120;", "120;X", "120;TR", "0;R", "-1;R", "1234567890;N", "1.5;N", ";N"]),
    ("MAIL", "HOLDFOR", [None, "-1", "1h", "1234567890", "\u0661"]),
    ("MAIL", "HOLDUNTIL", [None, "2030-01-31", "2030-01-31T12:00:00", "2030-02-31T12:00:00Z"]),
    ("MAIL", "HOLDUNTIL", ["1896091200", "2030-01-31T24:00:00Z", "2030-W05-4T12:00:00Z"]),
]


def read(verb: str, keyword: str, value: str | None) -> Any:
    return PARAMETERS[verb, keyword].read(value)


class ReaderTests(SynchronousTestCase):
    def test_read(self) -> None:
        """Values are read as their RFC has it, words in any case."""
        for verb, keyword, value, meaning in READ:
            with self.subTest(keyword=keyword, value=value):
                self.assertEqual(meaning, read(verb, keyword, value))

    def test_malformed(self) -> None:
        """Every other value is 501 5.5.4."""
        for verb, keyword, values in MALFORMED:
            for value in values:
                with self.subTest(keyword=keyword, value=value):
                    fault = self.assertRaises(SyntaxFault, read, verb, keyword, value)
                    self.assertEqual((501, "5.5.4"), (fault.reply.code, fault.reply.status))

    def test_every_row(self) -> None:
        """Both tables know every parameter."""
        self.assertEqual(set(PARAMETERS), {row[:2] for row in READ})
        self.assertEqual(set(PARAMETERS), {row[:2] for row in MALFORMED})

    def test_promises(self) -> None:
        """Each extension that is a promise brings a parameter."""
        self.assertLess(set(PROMISES), {row.extension for row in PARAMETERS.values()})

    @QUICK
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=33))
    def test_xtext(self, text: str) -> None:
        """What is printable comes through, whatever it is."""
        self.assertEqual(text, read("MAIL", "ENVID", encode_xtext(text)))
        self.assertEqual(text, read("RCPT", "ORCPT", f"unknown;{encode_xtext(text)}").address)

    @QUICK
    @given(st.sampled_from(sorted(PARAMETERS)), st.none() | st.text())
    def test_total(self, key: tuple[str, str], value: str | None) -> None:
        """A reader gives a meaning or a reply, whatever it is fed."""
        try:
            read(*key, value)
        except SyntaxFault as fault:
            self.assertEqual("5.5.4", fault.reply.status)
