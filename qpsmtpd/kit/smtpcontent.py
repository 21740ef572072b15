"""Message content as DATA sends it: dots doubled, every line ended.

It must not know who reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ..smtp.reply import Reply
from .smtpreply import SMTPOutError

# Octets that are worked on at once, however large the chunks come.
PIECE: Final = 65536
END_OF_CONTENT: Final = b".\r\n"

BARE_NEWLINE: Final = Reply(550, "Message holds a bare CR or LF, which is not sent on", "5.6.11")
# RFC 2045 section 2.8: neither 7-bit nor 8-bit content holds a NUL. To a server that drops it, what stands
# around it may be the end of the message.
NUL: Final = Reply(554, "Message holds a NUL octet, which is not sent on", "5.6.0")
# RFC 6152 section 3: without 8BITMIME there is no way for such content, and we do not convert.
EIGHT_BIT: Final = Reply(554, "Message has 8-bit content, which the next hop does not take", "5.6.3")


def wire_content(content: Iterable[bytes], *, eight_bit: bool) -> Iterator[bytes]:
    """Yield the content in small pieces, dots doubled (RFC 5321 section 4.5.2), all but END_OF_CONTENT.

    Raises SMTPOutError on a CR or LF that is not half of a CRLF, for what is one line here may be two,
    or an end of message, to the next server (RFC 5321 section 2.3.8); on NUL; and on octets above 127
    unless they are allowed.
    """
    line_start = True
    held = b""
    for piece in _pieces(content):
        octets = held + piece
        held = octets[-1:] if octets.endswith(b"\r") else b""
        octets = octets[: len(octets) - len(held)]
        if not octets:
            continue
        _check(octets, eight_bit)
        dot = b"." if line_start and octets.startswith(b".") else b""
        yield dot + octets.replace(b"\n.", b"\n..")
        line_start = octets.endswith(b"\n")
    if held:
        raise SMTPOutError(BARE_NEWLINE)
    if not line_start:
        yield b"\r\n"


def _pieces(content: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in content:
        for start in range(0, len(chunk), PIECE):
            yield chunk[start : start + PIECE]


def _check(octets: bytes, eight_bit: bool) -> None:
    whole = octets.count(b"\r\n")
    if octets.count(b"\n") != whole or octets.count(b"\r") != whole:
        raise SMTPOutError(BARE_NEWLINE)
    if b"\0" in octets:
        raise SMTPOutError(NUL)
    if not (eight_bit or octets.isascii()):
        raise SMTPOutError(EIGHT_BIT)
