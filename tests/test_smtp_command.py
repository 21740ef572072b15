"""Command lines, the arguments of MAIL and RCPT, and xtext."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp.command import (
    SyntaxFault,
    decode_xtext,
    encode_xtext,
    parse_mail,
    parse_rcpt,
    split_command,
)

QUICK = settings(max_examples=100, derandomize=True, deadline=None)

LINES = [
    # line, verb, argument
    (b"QUIT", "QUIT", ""),
    (b"quit", "QUIT", ""),
    (b"QUIT ", "QUIT", ""),
    (b"QUIT \t ", "QUIT", ""),
    (b"EHLO mail.example.com", "EHLO", "mail.example.com"),
    (b"ehlo  mail.example.com  ", "EHLO", "mail.example.com"),
    (b"EHLO\tmail.example.com", "EHLO\tMAIL.EXAMPLE.COM", ""),
    (b"Mail FROM:<a@b> Size=1", "MAIL", "FROM:<a@b> Size=1"),
    (b"", "", ""),
    (b" ", "", ""),
    (b" QUIT", "", "QUIT"),
    (b"0", "0", ""),
    ("MAIL FROM:<jörg@example.com>".encode(), "MAIL", "FROM:<jörg@example.com>"),
    (b"NOOP \xff", "NOOP", "\udcff"),
    ("RſET".encode(), "RſET", ""),  # noqa: RUF001
    (b"\xe9HLO x", "\udce9HLO", "x"),
]

ARGUMENTS: list[tuple[str, str, dict[str, str | None]]] = [
    # what follows FROM: or TO:, path, parameters
    ("<a@b.c>", "<a@b.c>", {}),
    (" <a@b.c>", "<a@b.c>", {}),
    (" \t<a@b.c>", "<a@b.c>", {}),
    ("<a@b.c>  ", "<a@b.c>", {}),
    ("<>", "<>", {}),
    ("<> AUTH=<>", "<>", {"AUTH": "<>"}),
    ("<a@b.c> SIZE=1 BODY=8BITMIME FOO", "<a@b.c>", {"SIZE": "1", "BODY": "8BITMIME", "FOO": None}),
    ("<a@b.c> size=1 x-y=Z", "<a@b.c>", {"SIZE": "1", "X-Y": "Z"}),
    ("<a@b.c>  SIZE=1   FOO", "<a@b.c>", {"SIZE": "1", "FOO": None}),
    (
        "<a@b.c> ORCPT=rfc822;a+2Bb@c.d NOTIFY=NEVER",
        "<a@b.c>",
        {"ORCPT": "rfc822;a+2Bb@c.d", "NOTIFY": "NEVER"},
    ),
    ("<ä@b.c> X=ü SMTPUTF8", "<ä@b.c>", {"X": "ü", "SMTPUTF8": None}),
    ("<a b@c.d>", "<a b@c.d>", {}),
    ("<ask @perl.org> SIZE=1", "<ask @perl.org>", {"SIZE": "1"}),
    ('<"a b"@c.d> X', '<"a b"@c.d>', {"X": None}),
    ('<"a> b"@c.d> X', '<"a> b"@c.d>', {"X": None}),
    ('<"a\\"> b"@c.d> X', '<"a\\"> b"@c.d>', {"X": None}),
    ('<"a\\\\"@c.d> X=">', '<"a\\\\"@c.d>', {"X": '">'}),
    ("<@a,@b:c@d> X", "<@a,@b:c@d>", {"X": None}),
    ("<a@[IPv6:2001:db8::1]>", "<a@[IPv6:2001:db8::1]>", {}),
    # The mail_pre and rcpt_pre hooks may put the brackets.
    ("a@b.c", "a@b.c", {}),
    ("ask@[1.2.3.4] SIZE=1", "ask@[1.2.3.4]", {"SIZE": "1"}),
    ("user name", "user", {"NAME": None}),
    ("FOO BAR=1", "FOO", {"BAR": "1"}),
    ("0", "0", {}),
    ('"a b"@c.d X', '"a b"@c.d', {"X": None}),
]

FAULTS = [
    # what follows FROM: or TO:, status for MAIL, status for RCPT
    ("", "5.5.4", "5.5.4"),
    ("  ", "5.5.4", "5.5.4"),
    ("<a@b.c", "5.1.7", "5.1.3"),
    ("<", "5.1.7", "5.1.3"),
    ('<"a@b.c>', "5.1.7", "5.1.3"),
    ('<"a\\"@b.c>', "5.1.7", "5.1.3"),
    ('"a b', "5.1.7", "5.1.3"),
    ('a"b c"d" e', "5.1.7", "5.1.3"),
    ("<a@b.c>SIZE=1", "5.5.4", "5.5.4"),
    ("<a@b.c>>", "5.5.4", "5.5.4"),
    ("<a@b.c>\tSIZE=1", "5.5.4", "5.5.4"),
    ("<a@b.c> SIZE=1\tFOO", "5.5.4", "5.5.4"),
    ("<a@b.c> SIZE=", "5.5.4", "5.5.4"),
    ("<a@b.c> =1", "5.5.4", "5.5.4"),
    ("<a@b.c> X=a=b", "5.5.4", "5.5.4"),
    ("<> X=a=b", "5.5.4", "5.5.4"),
    ("<a@b.c> -X", "5.5.4", "5.5.4"),
    ("<a@b.c> X_Y", "5.5.4", "5.5.4"),
    ("<a@b.c> Ü=1", "5.5.4", "5.5.4"),
    ("<a@b.c> X=\x01", "5.5.4", "5.5.4"),
    ("<a@b.c> X=\udcff", "5.5.4", "5.5.4"),
    ("<a@b> <c@d>", "5.5.4", "5.5.4"),
    ("<a@b> SIZE=1 size=1", "5.5.4", "5.5.4"),
    ("<a@b> FOO BAR FOO=1", "5.5.4", "5.5.4"),
]

XTEXT = [
    # plain, encoded
    ("", ""),
    ("a@b.c", "a@b.c"),
    ("a+b=c@d", "a+2Bb+3Dc@d"),
    ("a b\r\n", "a+20b+0D+0A"),
    ("\x00\x7f", "+00+7F"),
    ("jörg", "j+C3+B6rg"),
    ("<>", "<>"),
    ("\udcff", "+FF"),
]


class SplitCommandTests(SynchronousTestCase):
    """A line is a verb and an argument."""

    def test_table(self) -> None:
        """Verb in upper case, argument as written without outer blanks."""
        for line, verb, argument in LINES:
            with self.subTest(line=line):
                self.assertEqual((verb, argument), split_command(line))

    @QUICK
    @given(st.binary(max_size=40))
    def test_no_octet_is_lost(self, line: bytes) -> None:
        """Any line can be split, and verb and argument hold all that it said."""
        verb, argument = split_command(line)
        joined = f"{verb} {argument}".encode("utf-8", "surrogateescape")
        self.assertEqual(
            line.upper().replace(b" ", b"").rstrip(b"\t "), joined.upper().replace(b" ", b"").rstrip(b"\t ")
        )


class ParseTests(SynchronousTestCase):
    """MAIL and RCPT have a path and parameters."""

    def fault(self, parse: Callable[[str], object], argument: str) -> tuple[int, str]:
        """Return code and status of the reply to a malformed argument."""
        fault = self.assertRaises(SyntaxFault, parse, argument)
        return fault.reply.code, fault.reply.status

    def test_arguments(self) -> None:
        """The path ends where its bracket closes, parameters follow after a blank."""
        for text, path, parameters in ARGUMENTS:
            with self.subTest(text=text):
                self.assertEqual((path, parameters), parse_mail("FROM:" + text))
                self.assertEqual((path, parameters), parse_rcpt("TO:" + text))

    def test_keyword_in_any_case(self) -> None:
        """FROM and TO may be written as one likes."""
        for keyword in ("FROM:", "from:", "From:"):
            self.assertEqual(("<>", {}), parse_mail(keyword + "<>"))
        for keyword in ("TO:", "to:", "To:"):
            self.assertEqual(("<a@b>", {}), parse_rcpt(keyword + "<a@b>"))

    def test_keyword_missing(self) -> None:
        """Without FROM: or TO:, or with a blank before the colon, the command is not understood."""
        for argument in (
            "",
            "<a@b.c>",
            "FROM <a@b.c>",
            "FROM :<a@b.c>",
            "FROM",
            "TO:<a@b.c>",
            "XFROM:<a@b.c>",
        ):
            self.assertEqual((501, "5.5.2"), self.fault(parse_mail, argument))
        for argument in ("", "<a@b.c>", "TO <a@b.c>", "TO :<a@b.c>", "TO", "FROM:<a@b.c>", "XTO:<a@b.c>"):
            self.assertEqual((501, "5.5.2"), self.fault(parse_rcpt, argument))

    def test_faults(self) -> None:
        """Every fault is a 501, and its status says which."""
        for text, mail, rcpt in FAULTS:
            with self.subTest(text=text):
                self.assertEqual((501, mail), self.fault(parse_mail, "FROM:" + text))
                self.assertEqual((501, rcpt), self.fault(parse_rcpt, "TO:" + text))

    def test_fault_says_its_reply(self) -> None:
        """In a log, a syntax fault reads like its reply."""
        fault = self.assertRaises(SyntaxFault, parse_mail, "FROM:")
        self.assertEqual(fault.reply.text, str(fault))

    @QUICK
    @given(st.text(alphabet='ab<>@"\\ =\t-+ü', max_size=20))
    def test_any_argument_is_parsed_or_refused(self, text: str) -> None:
        """A path that is found is the beginning of the argument; nothing but SyntaxFault is raised."""
        try:
            path, _ = parse_mail("FROM:" + text)
        except SyntaxFault:
            return
        self.assertTrue(path and text.strip(" \t").startswith(path))

    @QUICK
    @given(
        st.from_regex(r'<("([^"\\]|\\.)*"|[^">])*>', fullmatch=True),
        st.dictionaries(
            st.from_regex(r"[A-Z0-9][A-Z0-9-]{0,5}", fullmatch=True),
            st.none() | st.from_regex(r"[!-<>-~]{1,5}", fullmatch=True),
            max_size=4,
        ),
    )
    def test_what_is_written_is_read(self, path: str, parameters: dict[str, str | None]) -> None:
        """Any bracketed path with any parameters comes back as it was."""
        items = [key if value is None else f"{key}={value}" for key, value in parameters.items()]
        self.assertEqual((path, parameters), parse_rcpt(" ".join(["TO:" + path, *items])))


class XtextTests(SynchronousTestCase):
    """RFC 3461 section 4."""

    def test_table(self) -> None:
        """All but printable ASCII, and + and =, is written in hexadecimal."""
        for plain, encoded in XTEXT:
            with self.subTest(plain=plain):
                self.assertEqual(encoded, encode_xtext(plain))
                self.assertEqual(plain, decode_xtext(encoded))

    def test_lower_case(self) -> None:
        """Lower case digits are understood, though RFC 3461 has upper case."""
        self.assertEqual("a+b", decode_xtext("a+2bb"))

    def test_malformed(self) -> None:
        """What is not xtext is a bad parameter."""
        for text in ("a+", "a+2", "a+2G", "a=b", "a b", "a\t", "ü", "\udcff", "++2B"):
            with self.subTest(text=text):
                fault = self.assertRaises(SyntaxFault, decode_xtext, text)
                self.assertEqual((501, "5.5.4"), (fault.reply.code, fault.reply.status))

    @QUICK
    @given(st.text(max_size=30))
    def test_round_trip(self, text: str) -> None:
        """Any text survives encoding, as a value of a parameter."""
        encoded = encode_xtext(text)
        self.assertEqual(text, decode_xtext(encoded))
        self.assertEqual({"X": encoded or None}, parse_mail(f"FROM:<> X{encoded and '='}{encoded}")[1])
