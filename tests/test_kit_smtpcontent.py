"""Content goes out with doubled dots and whole line ends, and never with anything that looks like its end."""

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.smtpcontent import BARE_NEWLINE, EIGHT_BIT, END_OF_CONTENT, NUL, PIECE, wire_content
from qpsmtpd.kit.smtpreply import SMTPOutError

# content -> what is sent before the final dot
SENT = [
    (b"", b""),
    (b"a\r\n", b"a\r\n"),
    (b"a", b"a\r\n"),
    (b".", b"..\r\n"),
    (b".\r\n", b"..\r\n"),
    (b"..\r\n", b"...\r\n"),
    (b"a\r\n.b\r\n", b"a\r\n..b\r\n"),
    (b"a\r\n.\r\nMAIL FROM:<>\r\n", b"a\r\n..\r\nMAIL FROM:<>\r\n"),
    (b"a.\r\n.b.c\r\n\r\n.\r\n", b"a.\r\n..b.c\r\n\r\n..\r\n"),
    (b"\r\n\r\n", b"\r\n\r\n"),
    (b"\xc3\xa9\r\n", b"\xc3\xa9\r\n"),
]
BARE = [
    b"a\n",
    b"\n",
    b"a\r",
    b"\r",
    b"a\rb\r\n",
    b"a\n.\r\n",
    b"a\r.\r\n",
    b"a\r\r\n",
    b"\r\n\n",
    b"a\r\n\r",
]


def cut(content: bytes, step: int) -> list[bytes]:
    """Cut content into chunks, with an empty one between each two."""
    chunks = [content[start : start + step] for start in range(0, len(content), step)]
    return [part for chunk in chunks for part in (chunk, b"")]


def sent(chunks: list[bytes]) -> bytes:
    """Give all that is sent."""
    return b"".join(wire_content(chunks, eight_bit=True))


class WireContentTests(SynchronousTestCase):
    def test_sent(self) -> None:
        """Dots are doubled and a missing last line end added, wherever chunks end."""
        for content, expected in SENT:
            for step in (1, 2, 3, 100):
                with self.subTest(content=content, step=step):
                    self.assertEqual(expected, sent(cut(content, step)))

    def test_bare_newline(self) -> None:
        """A CR or LF alone is refused, wherever chunks end."""
        for content in BARE:
            for step in (1, 2, 100):
                with self.subTest(content=content, step=step):
                    error = self.assertRaises(SMTPOutError, sent, cut(content, step))
                    self.assertIs(BARE_NEWLINE, error.reply)

    def test_nul(self) -> None:
        """A NUL is refused, wherever chunks end, before anything of its piece is sent."""
        for content in (b"\0", b"a\0b\r\n", b"a\r\n\0.\r\nb", b"a\r\n.\0\r\n", b"a\r\n.\r\0\n"):
            for step in (1, 2, 100):
                with self.subTest(content=content, step=step):
                    error = self.assertRaises(SMTPOutError, sent, cut(content, step))
                    self.assertIs(BARE_NEWLINE if b"\r\0" in content else NUL, error.reply)

    def test_eight_bit(self) -> None:
        """Octets above 127 are refused where the next hop does not take them."""
        error = self.assertRaises(SMTPOutError, list, wire_content([b"a\r\n", b"\xe9"], eight_bit=False))
        self.assertIs(EIGHT_BIT, error.reply)

    def test_pieces(self) -> None:
        """A large chunk is worked on in pieces."""
        line = b"." * 62 + b"\r\n"
        pieces = list(wire_content([line * 10_000], eight_bit=False))
        self.assertEqual(10_000 * 65, sum(map(len, pieces)))
        self.assertLess(max(map(len, pieces)), PIECE * 3 // 2)

    def test_memory(self) -> None:
        """Content of any length passes without being held."""
        chunk = b"x" * 998 + b"\r\n"
        tracemalloc.start()
        try:
            for _ in wire_content((chunk for _ in range(10_000)), eight_bit=False):
                pass
            self.assertLess(tracemalloc.get_traced_memory()[1], 200_000)
        finally:
            tracemalloc.stop()

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(st.lists(st.sampled_from([b".", b"\r\n", b"a", b"\xff"])), st.integers(1, 5))
    def test_round_trip(self, parts: list[bytes], step: int) -> None:
        """A receiver of RFC 5321 section 4.5.2 finds the end where it is, and the same content."""
        content = b"".join(parts)
        wire = sent(cut(content, step)) + END_OF_CONTENT
        lines = wire.split(b"\r\n")
        self.assertEqual([b".", b""], lines[-2:])
        self.assertNotIn(b".", lines[:-2])
        read = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:-2])
        self.assertEqual(content if not content or content.endswith(b"\r\n") else content + b"\r\n", read)
