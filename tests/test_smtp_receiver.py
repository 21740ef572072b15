"""The receiver makes the same events of the same octets, however they are cut."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp.receiver import Chunk, Content, Event, Fault, Receiver
from qpsmtpd.smtp.reply import Next

TOO_LONG = b"500 5.5.2 line too long\r\n"
BARE = b"500 5.5.2 a line ends with CRLF and holds no other CR or LF\r\n"
END = b"\r\n.\r\n"

# Octets that mean something, in the order in which they mean it, more often than chance would have it.
OCTETS = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"x", b"\r\n", b"\r\n.", b"\n.\r\n", b"\0", b"\xff", b"xyz"]),
    max_size=40,
).map(b"".join)
CUTS = st.lists(st.integers(0, 200), max_size=20).map(sorted)


def pieces(octets: bytes) -> Iterator[list[bytes]]:
    """Give octets whole, in two at every position, and one by one."""
    yield [octets]
    for cut in range(1, len(octets)):
        yield [octets[:cut], octets[cut:]]
    yield [octets[i : i + 1] for i in range(len(octets))]


def cut(octets: bytes, cuts: list[int]) -> list[bytes]:
    """Cut octets at the given positions."""
    edges = [0, *[min(place, len(octets)) for place in cuts], len(octets)]
    return [octets[a:b] for a, b in pairwise(edges)]


def read(receiver: Receiver, segments: Iterable[bytes]) -> list[Event]:
    """Feed segments and collect the events; the pieces of a message or chunk are joined.

    The lines DATA and BDAT are obeyed.
    """
    events: list[Event] = []
    for segment in segments:
        receiver.feed(segment)
        while (event := receiver.next_event()) is not None:
            before = events[-1] if events else None
            if isinstance(event, Content) and isinstance(before, Content) and not before.end:
                events[-1] = Content(before.octets + event.octets, event.end, event.bare)
            elif isinstance(event, Chunk) and isinstance(before, Chunk) and not before.end:
                events[-1] = Chunk(before.octets + event.octets, event.end)
            else:
                events.append(event)
            if event == b"DATA":
                receiver.expect(Next.DATA)
            elif isinstance(event, bytes) and event.startswith(b"BDAT "):
                receiver.expect_chunk(int(event[5:]))
    return events


def read_message(segments: Iterable[bytes], normalize: bool = False) -> tuple[Event, bytes]:
    """Read one message; return it and the lines behind it."""
    receiver = Receiver(normalize=normalize, command_limit=100000)
    receiver.expect(Next.DATA)
    events = read(receiver, segments)
    return events[0], b"".join(event if isinstance(event, bytes) else b"!" for event in events[1:])


def next_content(receiver: Receiver) -> Content | None:
    """Take the next event, which is content or nothing."""
    event = receiver.next_event()
    assert event is None or isinstance(event, Content)
    return event


def shown(events: list[Event]) -> list[bytes]:
    """Render all as octets."""
    return [
        event
        if isinstance(event, bytes)
        else event.reply.octets
        if isinstance(event, Fault)
        else event.octets
        for event in events
    ]


# What follows 354, up to the end marker that every row gets; spec section 6.1.
# (octets, content under "reject", bare, content under "normalize")
MESSAGES = [
    (b"", b"\r\n", False, b"\r\n"),
    (b"x", b"x\r\n", False, b"x\r\n"),
    (b"\r\n", b"\r\n\r\n", False, b"\r\n\r\n"),
    (b"A: b\r\nC: d", b"A: b\r\nC: d\r\n", False, b"A: b\r\nC: d\r\n"),
    (b"A: b\r\n\r\ntext", b"A: b\r\n\r\ntext\r\n", False, b"A: b\r\n\r\ntext\r\n"),
    # dots
    (b"..", b".\r\n", False, b".\r\n"),
    (b"...", b"..\r\n", False, b"..\r\n"),
    (b".x", b"x\r\n", False, b"x\r\n"),
    (b"..x", b".x\r\n", False, b".x\r\n"),
    (b". ", b" \r\n", False, b" \r\n"),
    (b"a\r\n..", b"a\r\n.\r\n", False, b"a\r\n.\r\n"),
    (b"a\r\n..\r\n..\r\n.x\r\n...\r\n. ", b"a\r\n.\r\n.\r\nx\r\n..\r\n \r\n", False, None),
    (b"a.\r\nb. .c.", b"a.\r\nb. .c.\r\n", False, b"a.\r\nb. .c.\r\n"),
    # no end of the message: smuggling
    (b"x\n.\r\nMAIL FROM:<a@b>", b"x\n.\r\nMAIL FROM:<a@b>\r\n", True, b"x\r\n.\r\nMAIL FROM:<a@b>\r\n"),
    (b"x\r\n.\nMAIL", b"x\r\n\nMAIL\r\n", True, b"x\r\n\r\nMAIL\r\n"),
    (b"x\n.\nMAIL", b"x\n.\nMAIL\r\n", True, b"x\r\n.\r\nMAIL\r\n"),
    (b"x\r\n.\rMAIL", b"x\r\n\rMAIL\r\n", True, b"x\r\n MAIL\r\n"),
    (b"x\r.\r\nmore", b"x\r.\r\nmore\r\n", True, b"x .\r\nmore\r\n"),
    (b"x\r.\rmore", b"x\r.\rmore\r\n", True, b"x . more\r\n"),
    (b"x\r\n.\r\r\nmore", b"x\r\n\r\r\nmore\r\n", True, b"x\r\n \r\nmore\r\n"),
    (b"x\r\r\n..\r\nmore", b"x\r\r\n.\r\nmore\r\n", True, b"x \r\n.\r\nmore\r\n"),
    (b"x\n\r.\r\nmore", b"x\n\r.\r\nmore\r\n", True, b"x\r\n .\r\nmore\r\n"),
    (b".\nmore", b"\nmore\r\n", True, b"\r\nmore\r\n"),
    (b".\rmore", b"\rmore\r\n", True, b" more\r\n"),
    (b"\n.\r\nmore", b"\n.\r\nmore\r\n", True, b"\r\n.\r\nmore\r\n"),
    # a dot behind a bare LF is no stuffed dot
    (b"x\n..y", b"x\n..y\r\n", True, b"x\r\n..y\r\n"),
    (b"x\n", b"x\n\r\n", True, b"x\r\n\r\n"),
    (b"x\r", b"x\r\r\n", True, b"x \r\n"),
    # anything goes
    (b"\0\xff\x80\x1a", b"\0\xff\x80\x1a\r\n", False, b"\0\xff\x80\x1a\r\n"),
    (b"x" * 1100, b"x" * 1100 + b"\r\n", False, b"x" * 1100 + b"\r\n"),
]


# (octets, reject, normalize)
LINES = [
    (b"NOOP\r\n", [b"NOOP"], [b"NOOP"]),
    (b"\r\n", [b""], [b""]),
    (b" a \t\r\n", [b" a \t"], [b" a \t"]),
    (b"N\r\nQ\r\n", [b"N", b"Q"], [b"N", b"Q"]),
    (b"\0\xff\r\n", [b"\0\xff"], [b"\0\xff"]),
    (b"NOOP", [], []),
    (b"NOOP\r", [], []),
    (b"\n", [BARE], [b""]),
    (b"N\n\nQ\r\n", [BARE, BARE, b"Q"], [b"N", b"", b"Q"]),
    (b"N\nQ\r\n", [BARE, b"Q"], [b"N", b"Q"]),
    (b"N\rQ\r\n", [BARE], [BARE]),
    (b"N\rQ\n", [BARE], [BARE]),
    (b"N\r\r\n", [BARE], [BARE]),
    (b"\rN\r\nQ\r\n", [BARE, b"Q"], [BARE, b"Q"]),
    (b"\r\r\n\r\n", [BARE, b""], [BARE, b""]),
]


def slow_message(octets: bytes, normalize: bool) -> tuple[Event, bytes]:
    """Read one message octet by octet, as section 4.5.2 of RFC 5321 tells it."""
    content, bare, at, fresh = bytearray(), False, 0, True
    while not (fresh and octets[at : at + 3] == b".\r\n"):
        octet, was_fresh, fresh = octets[at : at + 1], fresh, False
        at += 1
        if octet == b"." and was_fresh:
            continue
        if octet == b"\r" and octets[at : at + 1] == b"\n":
            content += b"\r\n"
            at += 1
            fresh = True
        elif octet in (b"\r", b"\n"):
            bare = True
            content += {b"\r": b" ", b"\n": b"\r\n"}[octet] if normalize else octet
        else:
            content += octet
    return Content(bytes(content), True, bare and not normalize), octets[at + 3 :]


def slow_lines(octets: bytes, limit: int, normalize: bool) -> list[bytes]:
    """Read lines, all at once."""
    *lines, rest = octets.split(b"\n")
    shown = []
    for line in lines:
        plain = line.removesuffix(b"\r")
        bare = b"\r" in plain or (plain == line and not normalize)
        shown.append(TOO_LONG if len(line) >= limit else BARE if bare else plain)
    return shown + [TOO_LONG] * (len(rest) >= limit)


class MessageTest(SynchronousTestCase):
    """Content of messages."""

    def test_reject(self) -> None:
        """Octets are delivered as they came, and something bare is noticed."""
        for octets, content, bare, _ in MESSAGES:
            for segments in pieces(octets + END + b"QUIT\r\n"):
                self.assertEqual((Content(content, True, bare), b"QUIT"), read_message(segments), segments)

    def test_normalize(self) -> None:
        """A bare LF becomes CRLF, a bare CR a blank, and neither ends the message."""
        for octets, content, _, normal in MESSAGES:
            expected = Content(content if normal is None else normal, True, False)
            for segments in pieces(octets + END + b"QUIT\r\n"):
                self.assertEqual((expected, b"QUIT"), read_message(segments, True), segments)

    def test_empty(self) -> None:
        """The CRLF of DATA counts as the first of the end marker (RFC 5321 section 4.1.1.4)."""
        for segments in pieces(b".\r\nNOOP\r\n"):
            self.assertEqual((Content(b"", True, False), b"NOOP"), read_message(segments))

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(OCTETS, CUTS, st.booleans())
    def test_any(self, octets: bytes, cuts: list[int], normalize: bool) -> None:
        """Any octets in any segmentation are read as octet by octet."""
        octets += END
        expected, rest = slow_message(octets, normalize)
        receiver = Receiver(normalize=normalize)
        receiver.expect(Next.DATA)
        found: list[Content] = []
        for segment in cut(octets, cuts):
            receiver.feed(segment)
            while not (found and found[-1].end) and (event := next_content(receiver)):
                found.append(event)
        content = b"".join(event.octets for event in found)
        self.assertEqual((expected, len(rest)), (Content(content, True, found[-1].bare), receiver.unread))

    def test_one_event(self) -> None:
        """A small message in one segment is one event."""
        receiver = Receiver()
        receiver.expect(Next.DATA)
        receiver.feed(b"Subject: x\r\n\r\ntext\r\n.\r\n")
        self.assertEqual(Content(b"Subject: x\r\n\r\ntext\r\n", True, False), receiver.next_event())
        self.assertIsNone(receiver.next_event())
        self.assertEqual(0, receiver.unread)

    def test_as_it_comes(self) -> None:
        """Content is handed on at once, but for four octets that may belong to the end marker."""
        receiver = Receiver()
        receiver.expect(Next.DATA)
        for segment, octets, held in [
            (b"no line end", b"no line end", 0),
            (b"xx\r", b"xx", 1),
            (b"\n", None, 2),
            (b".", None, 3),
            (b"\r", None, 4),
            (b"y", b"\r\n\ry", 0),
        ]:
            receiver.feed(segment)
            event = next_content(receiver)
            self.assertEqual((octets, held), (event.octets if event else None, receiver.unread))

    def test_bare_is_per_message(self) -> None:
        """What one message held says nothing about the next."""
        receiver = Receiver()
        octets = b"DATA\r\na\nb\r\nc\r\n.\r\nDATA\r\nd\r\n.\r\n"
        bare = [event.bare for event in read(receiver, [octets]) if isinstance(event, Content)]
        self.assertEqual([True, False], bare)

    def test_bare_stays(self) -> None:
        """Once something bare was seen, every later piece says so."""
        receiver = Receiver()
        receiver.expect(Next.DATA)
        bare = []
        for segment in (b"good\r\nx", b"bad\ny", b"good again", b"\r\n.\r\n"):
            receiver.feed(segment)
            event = next_content(receiver)
            bare.append(event and event.bare)
        self.assertEqual([False, True, True, True], bare)


class LineTest(SynchronousTestCase):
    """Command and AUTH lines."""

    def test_table(self) -> None:
        """A line ends with CRLF; under "normalize" with LF too; a CR elsewhere is an error."""
        for octets, strict, lenient in LINES:
            for segments in pieces(octets):
                self.assertEqual(strict, shown(read(Receiver(), segments)), segments)
                self.assertEqual(lenient, shown(read(Receiver(normalize=True), segments)), segments)

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(OCTETS, CUTS, st.booleans())
    def test_any(self, octets: bytes, cuts: list[int], normalize: bool) -> None:
        """Any octets in any segmentation are read as all at once."""
        receiver = Receiver(normalize=normalize, command_limit=8)
        self.assertEqual(slow_lines(octets, 8, normalize), shown(read(receiver, cut(octets, cuts))))

    def test_limit(self) -> None:
        """The limit counts the CRLF, and a line that passes it is answered once."""
        for segments in pieces(b"12345678\r\n123456789\r\n" + b"x" * 30 + b"\r\nQUIT\r\n"):
            found = shown(read(Receiver(command_limit=10), segments))
            self.assertEqual([b"12345678", TOO_LONG, TOO_LONG, b"QUIT"], found)

    def test_began(self) -> None:
        """Of a line that must not be executed its beginning is kept."""
        for octets in (b"BDAT\n", b"BDAT 1\r\r\n", b"BDAT " + b"x" * 20 + b"\r\n", b"BDAT " + b"x" * 20):
            for segments in pieces(octets):
                events = read(Receiver(command_limit=20), segments)
                self.assertEqual([b"BDAT"], [event.began for event in events if isinstance(event, Fault)])

    def test_limit_of_auth(self) -> None:
        """A line within AUTH has its own limit (RFC 4954 section 4)."""
        receiver = Receiver(command_limit=10, line_limit=20)
        receiver.expect(Next.LINE)
        self.assertEqual([b"x" * 18], shown(read(receiver, [b"x" * 18 + b"\r\n"])))
        self.assertEqual([TOO_LONG], shown(read(receiver, [b"x" * 19 + b"\r\n"])))
        receiver.expect(Next.COMMAND)
        self.assertEqual([TOO_LONG], shown(read(receiver, [b"x" * 9 + b"\r\n"])))

    def test_endless_line(self) -> None:
        """A line without end is answered when it passes the limit, and is not stored."""
        for size, most in ((1, 99), (30, 90), (99, 99), (100, 0), (250, 0)):
            receiver = Receiver(command_limit=100)
            found, held = [], []
            for _ in range(500):
                found += shown(read(receiver, [b"x" * size]))
                held.append(receiver.unread)
                receiver.expect(Next.COMMAND)  # what the answer wants
            self.assertEqual(([TOO_LONG], most, {0}), (found, max(held), set(held[100:])))
            self.assertEqual([b"NOOP"], shown(read(receiver, [b"x\r\nNOOP\r\n"])))

    def test_pipelined_message(self) -> None:
        """Commands, a message and commands again are told apart in any segmentation."""
        octets = b"MAIL\r\nDATA\r\n..a\r\n\r\n.\r\nDATA\r\n.\r\nDATA\r\nb\r\n.\r\nQUIT\r\n"
        expected = [
            b"MAIL",
            b"DATA",
            Content(b".a\r\n\r\n", True, False),
            b"DATA",
            Content(b"", True, False),
            b"DATA",
            Content(b"b\r\n", True, False),
            b"QUIT",
        ]
        for segments in pieces(octets):
            self.assertEqual(expected, read(Receiver(), segments), segments)

    def test_many(self) -> None:
        """A hundred thousand pipelined lines come out in order."""
        lines = [b"NOOP %d" % number for number in range(100000)]
        receiver = Receiver()
        self.assertEqual(lines, shown(read(receiver, [b"\r\n".join(lines) + b"\r\n"])))


class ChunkTest(SynchronousTestCase):
    """Chunks that are counted out beforehand (RFC 3030)."""

    def test_table(self) -> None:
        """Whatever the octets are, they are counted, and lines follow."""
        for octets in (b"x", b"\n", b"\r", b"\r\n", END, b"QUIT\r\n", bytes(range(256)), b"\r\n" * 50):
            wire = b"BDAT %d\r\n%bNOOP\r\n" % (len(octets), octets)
            for segments in pieces(wire):
                expected = [b"BDAT %d" % len(octets), Chunk(octets, True), b"NOOP"]
                self.assertEqual(expected, read(Receiver(), segments), segments)

    def test_pipelined(self) -> None:
        """Chunks behind each other, and a message with a final dot, are told apart in any segmentation."""
        octets = b"BDAT 3\r\nBDABDAT 2\r\n\r\nBDAT 1\r\n\rNOOP\r\nDATA\r\n.\r\nBDAT 1\r\n\nQUIT\r\n"
        expected = [
            b"BDAT 3",
            Chunk(b"BDA", True),
            b"BDAT 2",
            Chunk(b"\r\n", True),
            b"BDAT 1",
            Chunk(b"\r", True),
            b"NOOP",
            b"DATA",
            Content(b"", True, False),
            b"BDAT 1",
            Chunk(b"\n", True),
            b"QUIT",
        ]
        for segments in pieces(octets):
            self.assertEqual(expected, read(Receiver(), segments), segments)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.lists(OCTETS.filter(bool), max_size=6), CUTS, st.booleans())
    def test_any(self, chunks: list[bytes], cuts: list[int], normalize: bool) -> None:
        """Any octets in any segmentation come out as they were, under either policy."""
        wire = b"".join(b"BDAT %d\r\n%b" % (len(chunk), chunk) for chunk in chunks) + b"QUIT\r\n"
        events = read(Receiver(normalize=normalize), cut(wire, cuts))
        self.assertEqual(chunks, [event.octets for event in events if isinstance(event, Chunk)])
        self.assertEqual((2 * len(chunks) + 1, b"QUIT"), (len(events), events[-1]))

    def test_as_it_comes(self) -> None:
        """Nothing of a chunk is held."""
        receiver = Receiver()
        receiver.expect_chunk(10)
        for segment, event, unread in [
            (b"abc", Chunk(b"abc", False), 0),
            (b"\r", Chunk(b"\r", False), 0),
            (b"\n.\r\n12NOOP", Chunk(b"\n.\r\n12", True), 4),
        ]:
            receiver.feed(segment)
            self.assertEqual((event, unread), (receiver.next_event(), receiver.unread))
            self.assertIsNone(receiver.next_event())

    def test_given_up(self) -> None:
        """What a reply wants next is read next, whatever is left of a chunk."""
        receiver = Receiver()
        receiver.expect_chunk(10)
        receiver.expect(Next.COMMAND)
        self.assertEqual([b"QUIT"], shown(read(receiver, [b"QUIT\r\n"])))


class InputTest(SynchronousTestCase):
    """What is held, and what is thrown away."""

    def test_fed_ahead(self) -> None:
        """Segments that come while nobody asks are kept in order and counted."""
        receiver = Receiver()
        for segment in (b"A\r\n", b"B", b"\r\n", b"C\r\nD"):
            receiver.feed(segment)
        self.assertEqual(10, receiver.unread)
        self.assertEqual(b"A", receiver.next_event())
        receiver.feed(b"\r\n")
        self.assertEqual(9, receiver.unread)
        self.assertEqual([b"B", b"C", b"D"], shown(read(receiver, [b""])))
        self.assertEqual(0, receiver.unread)

    def test_content_fed_ahead(self) -> None:
        """A message that came while its DATA was still unread is found behind it."""
        receiver = Receiver()
        receiver.feed(b"DATA\r\n")
        receiver.feed(b".")
        receiver.feed(b"\r\nQUIT\r\n")
        self.assertEqual([b"DATA", Content(b"", True, False), b"QUIT"], read(receiver, [b""]))

    def test_clear(self) -> None:
        """STARTTLS throws away what was sent in clear (RFC 3207 section 4.2)."""
        receiver = Receiver(command_limit=20)
        receiver.feed(b"STARTTLS\r\nMAIL FROM:<evil@example.com>\r\nRC")
        receiver.feed(b"PT TO:<a@b>\r\n")
        receiver.next_event()
        receiver.clear()
        self.assertEqual(0, receiver.unread)
        self.assertEqual([b"EHLO x"], shown(read(receiver, [b"EHLO x\r\n"])))

    def test_clear_ends_swallowing(self) -> None:
        """The rest of an overlong line is not looked for in what comes after."""
        receiver = Receiver(command_limit=10)
        self.assertEqual([TOO_LONG], shown(read(receiver, [b"x" * 20])))
        receiver.clear()
        self.assertEqual([b"EHLO"], shown(read(receiver, [b"EHLO\r\n"])))

    def test_nothing_expected(self) -> None:
        """After a reply that starts TLS or closes no line is executed."""
        for next in (Next.TLS, Next.CLOSE):
            receiver = Receiver()
            receiver.expect(next)
            receiver.feed(b"QUIT\r\n")
            self.assertIsNone(receiver.next_event())
            receiver.expect(Next.COMMAND)
            self.assertEqual(b"QUIT", receiver.next_event())

    def test_ends_with_quit(self) -> None:
        """Only a whole line is QUIT, whatever was read before it."""
        for octets, quits in (
            (b"QUIT\r\n", True),
            (b"RSET\r\nquit \r\n", True),
            (b"QUIT\n", True),
            (b"", False),
            (b"QUIT", False),
            (b"QUIT\r\nRSET\r\n", False),
            (b"xQUIT\r\n", False),
        ):
            for place in range(len(octets) + 1):
                receiver = Receiver()
                receiver.feed(b"NOOP\r\n" + octets[:place])
                receiver.next_event()
                receiver.feed(octets[place:])
                self.assertEqual(quits, receiver.ends_with_quit, (octets, place))
