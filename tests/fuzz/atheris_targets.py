"""What each parser promises for any octets; `atheris_run.py` looks for octets with which it does not.

A target raises AssertionError when a promise is broken; any other exception is a failure too. An input that
fails joins the SAMPLES.
"""

from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

from qpsmtpd.header import Header, HeaderReader, HeaderTooLong
from qpsmtpd.smtp.address import Address, AddressError
from qpsmtpd.smtp.command import (
    SyntaxFault,
    decode_xtext,
    encode_xtext,
    parse_mail,
    parse_rcpt,
    split_command,
)
from qpsmtpd.smtp.newlines import Newlines, has_bare
from qpsmtpd.smtp.parameters import PARAMETERS
from qpsmtpd.smtp.proxy import ProxyFault, ProxyHeader, read_proxy_header
from qpsmtpd.smtp.receiver import Chunk, Content, Event, Receiver
from qpsmtpd.smtp.reply import MAX_LINE, Next, Reply
from qpsmtpd.smtp.xclient import XCLIENT, XFORWARD, read_attributes


def address(octets: bytes) -> None:
    """Whatever is an address is written as one that is equal, on one line."""
    path = octets.decode("utf-8", "surrogateescape")
    with suppress(AddressError):
        found = Address.parse(path, smtputf8=True)
        assert Address.parse(found.path, smtputf8=True) == found, path
        assert found.path.isprintable() or not path.isprintable(), path
        assert not {"\r", "\n", "\0"} & set(found.path), path


def command(octets: bytes) -> None:
    """A command is split without loss; parameters are keywords in upper case; xtext comes back."""
    verb, argument = split_command(octets)
    assert verb == verb.strip(" ") and not argument.startswith(" ")
    for parse in (parse_mail, parse_rcpt):
        with suppress(SyntaxFault):
            path, parameters = parse(argument)
            assert path and path in argument
            assert all(key == key.upper() and value != "" for key, value in parameters.items())
    with suppress(SyntaxFault):
        assert decode_xtext(encode_xtext(decode_xtext(argument))) == decode_xtext(argument)


def reply(octets: bytes) -> None:
    """Whatever the text is, the reply is one reply, in lines of printable ASCII that are not too long."""
    wire = Reply(550, octets.decode("utf-8", "surrogateescape"), "5.7.1").octets
    *lines, last = wire.split(b"\r\n")
    assert last == b"" and lines
    for number, line in enumerate(lines, 1):
        assert line.startswith(b"550 5.7.1 " if number == len(lines) else b"550-5.7.1 "), wire
        assert len(line) + 2 <= MAX_LINE and line.decode("ascii").isprintable(), wire


def receiver(octets: bytes) -> None:
    """Segments do not change what is received; commands and content hold no line end that stands alone."""
    if len(octets) < 2:
        return
    mode, cut, rest = octets[0], octets[1], octets[2:]
    whole = _received(mode, [rest])
    assert _received(mode, [rest[:cut], rest[cut:]]) == whole
    assert _received(mode, [rest[at : at + 1] for at in range(len(rest))]) == whole


def newlines(octets: bytes) -> None:
    """Segments do not change the judgement; normalized content has no line end that stands alone."""
    whole, pieces = Newlines(normalize=True), Newlines(normalize=True)
    clean = whole.feed(octets, True)
    assert not has_bare(clean)
    assert (
        b"".join([pieces.feed(octets[at : at + 1], False) for at in range(len(octets))])
        + pieces.feed(b"", True)
        == clean
    )
    strict = Newlines(normalize=False)
    assert b"".join([strict.feed(octets[:1], False), strict.feed(octets[1:], True)]) == octets
    assert strict.bare == (clean != octets) == has_bare(octets)


def header(octets: bytes) -> None:
    """Header and body are the message; segments do not change them; fields are found, one by one."""
    head, body = Header.parse(octets)
    if octets.endswith(b"\n") and not octets.startswith((b"From ", b">From ")):
        assert octets in (bytes(head) + body, bytes(head) + b"\r\n" + body)
    reader, pieces = HeaderReader(limit=len(octets)), [octets[at : at + 1] for at in range(len(octets))]
    found, rest = None, b""
    with suppress(HeaderTooLong):
        for piece in pieces:
            if found is None and (split := reader.feed(piece)):
                found, rest = split
            elif found is not None:
                rest += piece
        if found is None:
            found, rest = reader.finish()
        assert (bytes(found), rest) == (bytes(head), body)
    assert len(head.names()) == len(list(head))
    for name in head.names():
        assert name in head
    head.add("X-Mark", "value")
    assert head.get("x-mark") == "value"


def parameters(octets: bytes) -> None:
    """Each parameter has a meaning or is refused with 501, whatever its value is."""
    value = octets.decode("utf-8", "surrogateescape")
    for row in PARAMETERS.values():
        for given in (value, None):
            try:
                row.read(given)
            except SyntaxFault as fault:
                assert fault.reply.code == 501, given


def proxy(octets: bytes) -> None:
    """A header is read, or refused, as soon as it is whole, and no sooner; what it names are addresses."""
    whole = _proxy_header(octets)
    for end in range(len(octets)):
        if (found := _proxy_header(octets[:end])) is not None:
            assert found == whole
            break
    if isinstance(whole, ProxyHeader):
        assert 0 < whole.size <= len(octets)
        if whole.route is not None:
            ip_address(whole.route.client_ip)
            ip_address(whole.route.server_ip)
            assert 0 <= whole.route.client_port < 65536 and 0 <= whole.route.server_port < 65536


def _proxy_header(octets: bytes) -> ProxyHeader | str | None:
    try:
        return read_proxy_header(octets)
    except ProxyFault:
        return "refused"


def xclient(octets: bytes) -> None:
    """Attributes are those that are known, on one line each; all else is refused with 501."""
    argument = octets.decode("utf-8", "surrogateescape")
    for readers in (XCLIENT, XFORWARD):
        try:
            found = read_attributes(readers, argument)
        except SyntaxFault as fault:
            assert fault.reply.code == 501
            continue
        assert found.keys() <= readers.keys()
        assert not any({"\r", "\n", "\0"} & set(value) for value in found.values()), argument


def _received(mode: int, segments: list[bytes]) -> list[tuple[str, bytes | str]]:
    """Receive segments in one of the receiver's modes; give the events, with content joined."""
    machine = Receiver(command_limit=64, line_limit=128, normalize=bool(mode & 1))
    begin = (Next.COMMAND, Next.DATA, Next.LINE, Next.DATA)[mode >> 1 & 3]
    machine.expect(begin)
    if mode & 8:
        machine.expect_chunk(1 + (mode >> 4))
    events: list[tuple[str, bytes | str]] = []
    for segment in segments:
        machine.feed(segment)
        while (event := machine.next_event()) is not None:
            _note(event, events)
            if isinstance(event, Content | Chunk) and event.end:
                machine.expect(Next.COMMAND)
    return events


def _note(event: Event, events: list[tuple[str, bytes | str]]) -> None:
    if isinstance(event, bytes):
        assert b"\n" not in event and b"\r" not in event
        events.append(("line", event))
    elif isinstance(event, Content):
        assert event.bare or not {13, 10} & set(event.octets.replace(b"\r\n", b""))
        before = events.pop()[1] if events and events[-1][0] == "content" else b""
        assert isinstance(before, bytes)
        # Of a bare line end no more is promised than that it is told at the end.
        events.append(("end" if event.end else "content", before + event.octets))
        if event.end:
            events.append(("bare", str(event.bare)))
    elif isinstance(event, Chunk):
        before = events.pop()[1] if events and events[-1][0] == "chunk" else b""
        assert isinstance(before, bytes)
        events.append(("last" if event.end else "chunk", before + event.octets))
    else:
        events.append(("fault", event.reply.text))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (address, command, reply, receiver, newlines, header, parameters, proxy, xclient)
}

SAMPLES: dict[str, tuple[bytes, ...]] = {
    "address": (
        b"<a.b@example.com>",
        b'<"a\\"b"@[IPv6:2001:db8::1]>',
        b"<@a,@b:c@[192.0.2.1]>",
        "<ä@bücher.example>".encode(),
        b"<Postmaster>",
    ),
    "command": (
        b"MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME",
        b'RCPT TO:<"> <"@b> ORCPT=rfc822;a+2Bb',
        b"X FROM:a@b",
    ),
    "reply": (b"one\r\ntwo\n\n", b"x" * 600, b"\xff\x00\x85 word"),
    "receiver": (
        b"\0\5MAIL FROM:<a@b>\r\nDATA\r\n",
        b"\2\7Subject: x\r\n\r\n..\r\n.\r\nQUIT\r\n",
        b"\3\7a\n.\r\n\r.\r\n\r\n.\r\n",
        b"\4\5YQ==\r\n",
        b"\xf8\5chunk\r\n.\r\nof 16QUIT\r\n",
    ),
    "newlines": (b"a\r\nb\nc\rd\r\r\n", b"\r", b"\n"),
    "parameters": (b"20261128T120000Z", b"2026-11-28T12:00:00Z", b"600;RT", b"rfc822;a+2Bb", b"<a@b>", b"-9"),
    "proxy": (
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nEHLO",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\0\1\0\2",
    ),
    "xclient": (
        b"NAME=a ADDR=IPV6:2001:db8::1 PORT=1",
        b"HELO=x PROTO=ESMTP LOGIN=a+40b",
        b"ADDR=[UNAVAILABLE]",
    ),
    "header": (b"From a b\r\nSubject: x\r\n y\r\n\r\nbody\r\n", b"A : b\r\nno field\r\n", b"\r\nbody"),
}
"""Octets that each target begins with; `test_atheris_targets.py` tries them in every run."""
