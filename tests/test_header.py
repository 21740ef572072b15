"""A header keeps the octets of its fields, and is told from the body in any segmentation."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.header import HEADER_LIMIT, Header, HeaderReader, HeaderTooLong

FIELDS = (
    b"Received: from a\r\n\tby b;\r\n Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    b"SUBJECT:a  b \r\n"
    b"From : x@example.com\r\n"
    b"received: second\r\n"
    b"X-Empty:\r\n"
    b"To: \xc3\xa9 \xff\r\n"
)

# (message, header, body); the separator is between them unless the header ends at a line that is no field.
MESSAGES = [
    (b"", b"", b""),
    (b"\r\n", b"", b""),
    (b"\r\ntext\r\n", b"", b"text\r\n"),
    (b"A: b\r\n", b"A: b\r\n", b""),
    (b"A: b\r\n\r\n", b"A: b\r\n", b""),
    (b"A: b\r\n\r\n\r\ntext\r\n", b"A: b\r\n", b"\r\ntext\r\n"),
    (FIELDS + b"\r\nA: no field\r\n", FIELDS, b"A: no field\r\n"),
    (b"A:b\r\n c\r\n \r\n\td\r\n\r\ne\r\n", b"A:b\r\n c\r\n \r\n\td\r\n", b"e\r\n"),
    (b"Subject : x\r\nTo\t: y\r\n\r\nz\r\n", b"Subject : x\r\nTo\t: y\r\n", b"z\r\n"),
    # no separator: Q29
    (b"just text\r\nand more\r\n", b"", b"just text\r\nand more\r\n"),
    (b"A: b\r\nno field\r\nC: d\r\n\r\ne\r\n", b"A: b\r\n", b"no field\r\nC: d\r\n\r\ne\r\n"),
    (b"A: b\r\n c\r\nlast\r\n", b"A: b\r\n c\r\n", b"last\r\n"),
    (b" leading: blank\r\nA: b\r\n", b"", b" leading: blank\r\nA: b\r\n"),
    (b": no name\r\nA: b\r\n", b"", b": no name\r\nA: b\r\n"),
    (b"A: b\r\nn\xe9e: x\r\n", b"A: b\r\n", b"n\xe9e: x\r\n"),
    # mbox
    (b"From joe Mon Jan 1\r\nA: b\r\n\r\nc\r\n", b"Mail-From: joe Mon Jan 1\r\nA: b\r\n", b"c\r\n"),
    (b">From joe Mon Jan 1\r\n\r\nc\r\n", b"Mail-From: joe Mon Jan 1\r\n", b"c\r\n"),
    (b"From : joe\r\n\r\nc\r\n", b"From : joe\r\n", b"c\r\n"),
    (b"A: b\r\nFrom joe Mon Jan 1\r\n\r\n", b"A: b\r\n", b"From joe Mon Jan 1\r\n\r\n"),
    # BDAT may end a message within a line
    (b"A: b", b"A: b\r\n", b""),
    (b"A: b\r\n c", b"A: b\r\n c\r\n", b""),
    (b"A: b\r\ntext", b"A: b\r\n", b"text"),
    (b"text", b"", b"text"),
    (b"A: b\r\n\r\ntext", b"A: b\r\n", b"text"),
]


def pieces(octets: bytes) -> Iterator[list[bytes]]:
    """Give octets whole, in two at every position, and one by one."""
    yield [octets]
    for cut in range(1, len(octets)):
        yield [octets[:cut], octets[cut:]]
    yield [octets[i : i + 1] for i in range(len(octets))]


def read(segments: list[bytes], limit: int = HEADER_LIMIT) -> tuple[bytes, bytes]:
    """Read a message; return the octets of header and body."""
    reader = HeaderReader(limit=limit)
    for index, segment in enumerate(segments):
        if split := reader.feed(segment):
            return bytes(split[0]), b"".join([split[1], *segments[index + 1 :]])
    header, body = reader.finish()
    return bytes(header), body


class HeaderReaderTest(SynchronousTestCase):
    """Where the header ends."""

    def test_table(self) -> None:
        """The header ends at the first empty line, or before the first line that is no field."""
        for message, header, body in MESSAGES:
            for segments in pieces(message):
                self.assertEqual((header, body), read(segments), segments)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.lists(st.sampled_from([b"A: b\r\n", b"c:\r\n", b" d\r\n", b"\r\n", b"e f\r\n", b"From g\r\n"])))
    def test_any(self, lines: list[bytes]) -> None:
        """Any lines are split as a reader of lines does."""
        fields: list[bytes] = []
        rest = list(lines)
        while rest and rest[0].startswith((b"A:", b"c:", b" " if fields else b"From ")):
            fields.append(rest.pop(0).replace(b"From", b"Mail-From:"))
        body = b"".join(rest[1:] if rest[:1] == [b"\r\n"] else rest)
        message = b"".join(lines)
        for segments in ([message], lines, [message[:3], message[3:11], message[11:]]):
            self.assertEqual((b"".join(fields), body), read(segments))

    def test_limit(self) -> None:
        """Header and the line behind it fit into the limit, or not, in any segmentation."""
        for message, limit, fits in [
            (b"A: b\r\n\r\n" + b"x" * 50, 7, True),
            (b"A: b\r\n\r\n" + b"x" * 50, 6, False),
            (b"A: b\r\nno field\r\n" + b"x" * 50, 15, True),
            (b"A: b\r\nno field\r\n" + b"x" * 50, 14, False),
            (b"x" * 50 + b"\r\n", 20, False),
            (b"A: b\r\n" * 10, 20, False),
        ]:
            for segments in pieces(message):
                if fits:
                    read(segments, limit)
                else:
                    self.assertRaises(HeaderTooLong, read, segments, limit)

    def test_unended_at_limit(self) -> None:
        """A header that just fits may end with the message."""
        for segments in pieces(b"A: b\r\nC: d"):
            self.assertEqual((b"A: b\r\nC: d\r\n", b""), read(segments, 10))

    def test_parse(self) -> None:
        """A whole message is split at once."""
        header, body = Header.parse(FIELDS + b"\r\ntext")
        self.assertEqual((FIELDS, b"text"), (bytes(header), body))
        self.assertEqual(b"", bytes(Header.parse(b"")[0]))


class HeaderTest(SynchronousTestCase):
    """Fields: looked up, added, changed."""

    def setUp(self) -> None:
        self.header = Header(FIELDS)

    def test_get(self) -> None:
        """A value is text, unfolded, without the blanks around it; names have no case."""
        for name, value in [
            ("subject", "a  b"),
            ("Received", "from a\tby b; Mon, 1 Jan 2024 00:00:00 +0000"),
            ("FROM", "x@example.com"),
            ("x-empty", ""),
            ("to", "é \udcff"),
            ("absent", ""),
            ("x@example.com", ""),
        ]:
            self.assertEqual(value, self.header.get(name))
        self.assertEqual("none", self.header.get("Cc", "none"))

    def test_bare_fold(self) -> None:
        """A fold that is a bare LF is unfolded too."""
        self.assertEqual("b c", Header(b"A: b\n c\r\n").get("a"))

    def test_all(self) -> None:
        """All fields of a name come in their order, as values or as octets."""
        values = ["from a\tby b; Mon, 1 Jan 2024 00:00:00 +0000", "second"]
        self.assertEqual(values, self.header.get_all("RECEIVED"))
        octets = [FIELDS[: FIELDS.index(b"SUBJECT")], b"received: second\r\n"]
        self.assertEqual(octets, self.header.raw("received"))
        self.assertEqual([], self.header.get_all("cc"))

    def test_contains(self) -> None:
        """A name is in the header when a field has it, before and after fields were taken apart."""
        for _ in range(2):
            self.assertIn("subject", self.header)
            self.assertNotIn("second", self.header)
            self.assertNotIn("Cc", self.header)

    def test_iterate(self) -> None:
        """Names are given as they are spelled, with or without their values."""
        names = ["Received", "SUBJECT", "From", "received", "X-Empty", "To"]
        self.assertEqual(names, self.header.names())
        self.assertEqual(names, [name for name, _ in self.header])
        self.assertEqual("second", dict(self.header)["received"])

    def test_length(self) -> None:
        """The length is in octets; an empty header is false."""
        self.assertEqual(len(FIELDS), len(self.header))
        self.header.add("A", "b")
        self.assertEqual(len(FIELDS) + 6, len(self.header))
        self.assertFalse(Header())

    def test_untouched(self) -> None:
        """Looking up changes no octet."""
        self.header.get("To")
        self.assertEqual(FIELDS, bytes(self.header))

    def test_add(self) -> None:
        """A field goes on top, to the end or in between, whether fields were taken apart before or not."""
        for looked_up in (False, True):
            header = Header(b"A: 1\r\nB: 2\r\n")
            if looked_up:
                header.get("A")
            header.add("C", "3")
            header.add("D", "4", index=0)
            header.add("E", "5", index=None)
            header.add("F", "6", index=1)
            expected = b"D: 4\r\nF: 6\r\nC: 3\r\nA: 1\r\nB: 2\r\nE: 5\r\n"
            self.assertEqual(expected, bytes(header))
            self.assertEqual("3", header.get("c"))

    def test_add_is_lazy(self) -> None:
        """Fields on top and at the end are found although nothing was looked up before."""
        header = Header(b"A: 1\r\n")
        header.add("B", "2")
        header.add("C", "3", index=None)
        self.assertEqual([("B", "2"), ("A", "1"), ("C", "3")], list(header))

    def test_add_folded(self) -> None:
        """A fold may be LF or CRLF, and is CRLF in the message; text is UTF-8."""
        header = Header()
        header.add("Received", "from é\n by b\r\n\tid \udcff")
        self.assertEqual(b"Received: from \xc3\xa9\r\n by b\r\n\tid \xff\r\n", bytes(header))
        self.assertEqual("from é by b\tid \udcff", header.get("received"))

    def test_injection(self) -> None:
        """A line end that does not fold is refused, and so is a name that is none."""
        for name, value in [
            ("A", "b\nC: d"),
            ("A", "b\r\n\r\nbody"),
            ("A", "b\n"),
            ("A", "b\r\n"),
            ("A", "b\rC: d"),
            ("A", "b\r c"),
            ("A:", "b"),
            ("A b", "c"),
            ("", "b"),
            ("A\r\nB", "c"),
            ("Ä", "b"),
        ]:
            for change in (self.header.add, self.header.replace):
                self.assertRaises(ValueError, change, name, value)
        self.assertEqual(FIELDS, bytes(self.header))

    def test_replace(self) -> None:
        """The first field of the name is replaced in its place, or the field put at the end."""
        self.header.replace("RECEIVED", "new")
        self.header.replace("Cc", "c")
        start = FIELDS.index(b"SUBJECT")
        self.assertEqual(b"RECEIVED: new\r\n" + FIELDS[start:] + b"Cc: c\r\n", bytes(self.header))
        self.assertEqual(["new", "second"], self.header.get_all("received"))

    def test_remove(self) -> None:
        """All fields of the name go, their folds with them."""
        self.assertEqual(2, self.header.remove("received"))
        self.assertEqual(0, self.header.remove("received"))
        self.assertEqual(["SUBJECT", "From", "X-Empty", "To"], self.header.names())

    def test_rename(self) -> None:
        """All fields of the name get another one, and keep place and value to the octet (Q30)."""
        self.assertEqual(2, self.header.rename("Received", "X-Old"))
        self.assertEqual(1, self.header.rename("from", "Sender"))
        expected = FIELDS.replace(b"Received:", b"X-Old:").replace(b"received:", b"X-Old:")
        self.assertEqual(expected.replace(b"From :", b"Sender :"), bytes(self.header))
        self.assertEqual("second", self.header.get_all("x-old")[1])
        self.assertRaises(ValueError, self.header.rename, "To", "Not a name")

    def test_many_adjacent(self) -> None:
        """No field of the name survives, however many stand in a row."""
        header = Header(b"A: 1\r\n" * 5 + b"B: 2\r\n")
        self.assertEqual(5, header.remove("a"))
        self.assertEqual(b"B: 2\r\n", bytes(header))
