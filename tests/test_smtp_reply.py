"""Replies: what goes over the wire, and nothing else."""

from dataclasses import FrozenInstanceError
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp.reply import MAX_CHALLENGE, MAX_LINE, Next, Replies, Reply

QUICK = settings(max_examples=100, derandomize=True, deadline=None)
TEXTS = st.text(alphabet=st.sampled_from("ab \n\r\0\tü\x7f\u2028"), max_size=60) | st.text(
    alphabet="xy \n", min_size=480, max_size=1600
)

WIRE: list[tuple[tuple[Any, ...], bytes]] = [
    # arguments, octets
    ((250,), b"250 \r\n"),
    ((250, "OK"), b"250 OK\r\n"),
    ((250, "a\nb\nc"), b"250-a\r\n250-b\r\n250 c\r\n"),
    ((250, "a\n\nb"), b"250-a\r\n250-\r\n250 b\r\n"),
    ((250, "a\n\n\n"), b"250 a\r\n"),
    ((250, "a\r\nb\r\n\r\n"), b"250-a\r\n250 b\r\n"),
    ((250, "\n"), b"250 \r\n"),
    ((250, "\na"), b"250-\r\n250 a\r\n"),
    ((250, "0"), b"250 0\r\n"),
    ((250, "a\rb\0c\td\x7fe\x85f"), b"250 a b c d e f\r\n"),
    ((250, "Grüße, 猫"), b"250 Gr\\xfc\\xdfe, \\u732b\r\n"),
    ((250, "\udcff"), b"250 \\udcff\r\n"),
    ((550, "no", "5.7.1"), b"550 5.7.1 no\r\n"),
    ((550, "first\nlast", "5.7.1"), b"550-5.7.1 first\r\n550 5.7.1 last\r\n"),
    ((221, "", "2.0.0"), b"221 2.0.0 \r\n"),
    ((354, "go ahead", "2.0.0"), b"354 go ahead\r\n"),
    ((334, "VXNlcm5hbWU6", "", Next.LINE), b"334 VXNlcm5hbWU6\r\n"),
    ((450, "later", "5.7.1"), b"450 4.7.1 later\r\n"),
    ((550, "never", "4.7.1"), b"550 5.7.1 never\r\n"),
]


class WireTests(SynchronousTestCase):
    """A reply becomes octets."""

    def test_table(self) -> None:
        """Lines, status and text stand where RFC 5321 and RFC 2034 want them."""
        for arguments, octets in WIRE:
            with self.subTest(arguments=arguments):
                self.assertEqual(octets, Reply(*arguments).octets)

    def test_long_line_is_folded_at_a_blank(self) -> None:
        """A text that needs more than one line is broken between words."""
        reply = Reply(550, "x" * 300 + " " + "y" * 300, "5.7.1")
        self.assertEqual(("x" * 300, "y" * 300), reply.lines)

    def test_long_word_is_cut(self) -> None:
        """A word that is too long fills its line to the last octet."""
        reply = Reply(550, "x" * 600, "5.7.1")
        self.assertEqual(
            [MAX_LINE, 6 + 600 - 500 + 6], [len(line) + 2 for line in reply.octets.split(b"\r\n")[:-1]]
        )

    def test_fold_leaves_no_empty_line(self) -> None:
        """A blank where the line is full ends the text, if nothing follows it."""
        self.assertEqual(("x" * 506,), Reply(250, "x" * 506 + " ").lines)

    def test_blank_past_the_limit(self) -> None:
        """A blank that stands one octet too far is no place to fold."""
        self.assertEqual(("x" * 506, "x yy"), Reply(250, "x" * 507 + " yy").lines)

    def test_line_that_just_fits_is_not_folded(self) -> None:
        """The limit of 512 octets can be reached."""
        for status, room in (("", 506), ("2.0.0", 500)):
            self.assertEqual(1, len(Reply(250, "x" * room, status).lines))
            self.assertEqual(2, len(Reply(250, "x" * (room + 1), status).lines))

    @QUICK
    @given(TEXTS, st.sampled_from(["", "5.7.1", "5.999.999"]))
    def test_nothing_can_be_injected(self, text: str, status: str) -> None:
        """Whatever the text, the octets are one well-formed reply."""
        octets = Reply(550, text, status).octets
        self.assertTrue(octets.endswith(b"\r\n"))
        *inner, last = octets[:-2].split(b"\r\n")
        lead = status.encode() + b" " if status else b""
        self.assertTrue(last.startswith(b"550 " + lead))
        self.assertTrue(all(line.startswith(b"550-" + lead) for line in inner))
        for line in (*inner, last):
            self.assertLessEqual(len(line) + 2, MAX_LINE)
            self.assertTrue(all(0x20 <= octet <= 0x7E for octet in line))

    @QUICK
    @given(st.text(alphabet="ab c", max_size=1600))
    def test_folding_loses_no_word(self, text: str) -> None:
        """Only blanks are lost where a line is folded."""
        self.assertEqual(text.replace(" ", ""), "".join(Reply(250, text).lines).replace(" ", ""))


class ChallengeTests(SynchronousTestCase):
    """RFC 4954 section 4: a challenge is one line."""

    def test_wire(self) -> None:
        for text in ("", "VXNlcm5hbWU6", "x" * 600, "x" * (MAX_CHALLENGE - 6)):
            reply = Reply.challenge(text)
            self.assertEqual(b"334 %b\r\n" % text.encode(), reply.octets)
            self.assertEqual((334, (text,), Next.LINE), (reply.code, reply.lines, reply.next))

    def test_refused(self) -> None:
        """What does not fit, or would end the line, is our own mistake."""
        for text in ("x" * (MAX_CHALLENGE - 5), "a\nb", "a\r\n250 b", "\0", "\xfc"):
            self.assertRaises(ValueError, Reply.challenge, text)

    def test_closing(self) -> None:
        """Closing does not fold it."""
        reply = Reply.challenge("x" * 600).closing()
        self.assertEqual((b"334 " + b"x" * 600 + b"\r\n", Next.CLOSE), (reply.octets, reply.next))


class ValueTests(SynchronousTestCase):
    """A reply is a value."""

    def test_parts(self) -> None:
        """What went in can be read."""
        reply = Reply(550, "a\nb", "5.7.1", Next.CLOSE)
        self.assertEqual(
            (550, "5.7.1", ("a", "b"), Next.CLOSE, "a\nb"),
            (reply.code, reply.status, reply.lines, reply.next, reply.text),
        )

    def test_a_command_comes_next(self) -> None:
        """Nothing said, the client may send its next command."""
        self.assertIs(Next.COMMAND, Reply(250).next)

    def test_equal_by_value(self) -> None:
        """Code, status, lines and what comes next make a reply; the way it was spelt does not."""
        self.assertEqual(Reply(250, "a\n"), Reply(250, "a"))
        self.assertEqual(hash(Reply(250, "a\n")), hash(Reply(250, "a")))
        for other in (
            Reply(251, "a"),
            Reply(250, "b"),
            Reply(250, "a", "2.0.0"),
            Reply(250, "a", next=Next.TLS),
        ):
            self.assertNotEqual(Reply(250, "a"), other)

    def test_frozen(self) -> None:
        """Nobody changes a reply that others hold."""
        reply: Any = Reply(250)
        with self.assertRaises(FrozenInstanceError):
            reply.code = 550

    def test_no_other_attributes(self) -> None:
        """Replies have slots."""
        self.assertFalse(hasattr(Reply(250), "__dict__"))

    @QUICK
    @given(TEXTS, st.sampled_from(["", "5.7.1"]))
    def test_closing(self, text: str, status: str) -> None:
        """The closing reply says the same, and closes."""
        reply = Reply(550, text, status)
        self.assertEqual(reply.octets, reply.closing().octets)
        self.assertIs(Next.CLOSE, reply.closing().next)

    def test_codes_that_are_none(self) -> None:
        """A number that is no SMTP reply code is refused."""
        for code in (0, 99, 100, 199, 600, 901, -250):
            with self.subTest(code=code), self.assertRaises(ValueError):
                Reply(code)

    def test_statuses_that_are_none(self) -> None:
        """A status that RFC 3463 does not know is refused, so that it injects nothing."""
        for status in (
            "5",
            "5.7",
            "5.7.1.1",
            "3.0.0",
            "5.07.1",
            "5.1000.1",
            "5.7.1\n",
            "5.7.1\r\n250 ok",
            "\u0665.\u0667.\u0661",
        ):
            with self.subTest(status=status), self.assertRaises(ValueError):
                Reply(550, "", status)


class RepliesTests(SynchronousTestCase):
    """Several replies in one (RFC 2033 section 4.2)."""

    def test_octets(self) -> None:
        """All go out, in order."""
        said = [Reply(250, "a", "2.0.0"), Reply(552, "b\nc", "5.2.2"), Reply(250, "d")]
        replies = Replies(said)
        self.assertEqual(b"250 2.0.0 a\r\n552-5.2.2 b\r\n552 5.2.2 c\r\n250 d\r\n", replies.octets)
        self.assertEqual(tuple(said), replies.said)

    def test_judged_by_the_best(self) -> None:
        """What was accepted for anybody is no refusal, and 3yz is no verdict."""
        for codes, code in (([353, 552, 250, 250], 250), ([552, 452], 452), ([353, 554, 552], 552)):
            self.assertEqual(code, Replies([Reply(each) for each in codes]).code)

    def test_next(self) -> None:
        """Whoever wants the connection closed gets that when all is said."""
        self.assertIs(Next.COMMAND, Replies([Reply(250), Reply(550)]).next)
        self.assertIs(Next.CLOSE, Replies([Reply(421, next=Next.CLOSE), Reply(250)]).next)

    def test_nothing(self) -> None:
        self.assertRaises(ValueError, Replies, [])
