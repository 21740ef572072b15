"""Newlines judges content the same, wherever it is cut."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp.newlines import Newlines, has_bare, normalized

# (octets, bare, normalized)
ROWS = [
    (b"", False, b""),
    (b"x", False, b"x"),
    (b"\r\n", False, b"\r\n"),
    (b"a\r\nb\r\n\r\n", False, b"a\r\nb\r\n\r\n"),
    (b"\n", True, b"\r\n"),
    (b"\r", True, b" "),
    (b"a\nb\rc", True, b"a\r\nb c"),
    (b"\n\r", True, b"\r\n "),
    (b"\r\r\n", True, b" \r\n"),
    (b"\r\n\n", True, b"\r\n\r\n"),
    (b"\r\n\r", True, b"\r\n "),
    (b"\0\xff\x85\x0b\x0c", False, b"\0\xff\x85\x0b\x0c"),
]
PIECES = st.lists(st.lists(st.sampled_from([b"\r", b"\n", b"x"]), max_size=4).map(b"".join), min_size=1)


def fed(newlines: Newlines, pieces: list[bytes]) -> bytes:
    """Feed pieces, the last as the end."""
    last = len(pieces) - 1
    return b"".join(newlines.feed(piece, index == last) for index, piece in enumerate(pieces))


class NewlinesTests(SynchronousTestCase):
    def test_whole(self) -> None:
        for octets, bare, normal in ROWS:
            self.assertEqual((bare, normal), (has_bare(octets), normalized(octets)), octets)

    def test_cut(self) -> None:
        """In two at every place, octet by octet, and with an empty piece at the end."""
        for octets, bare, normal in ROWS:
            cuts = [[octets[:place], octets[place:]] for place in range(len(octets) + 1)]
            for pieces in [*cuts, [octets[i : i + 1] for i in range(len(octets))] + [b""]]:
                strict = Newlines(normalize=False)
                self.assertEqual((octets, bare), (fed(strict, pieces), strict.bare), pieces)
                lenient = Newlines(normalize=True)
                self.assertEqual((normal, False), (fed(lenient, pieces), lenient.bare), pieces)

    def test_at_once(self) -> None:
        """Only a CR at the end waits."""
        newlines = Newlines(normalize=False)
        given = [newlines.feed(piece, False) for piece in (b"a\n", b"b\r", b"c")]
        self.assertEqual([b"a\n", b"b", b"\rc"], given)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(PIECES)
    def test_any(self, pieces: list[bytes]) -> None:
        whole = b"".join(pieces)
        strict = Newlines(normalize=False)
        self.assertEqual((whole, has_bare(whole)), (fed(strict, pieces), strict.bare))
        result = fed(Newlines(normalize=True), pieces)
        self.assertEqual((normalized(whole), False), (result, has_bare(result)))
