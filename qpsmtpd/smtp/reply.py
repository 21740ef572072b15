"""What the server answers, as a value: code, enhanced status, lines, and what may come next.

A reply knows how it looks on the wire. It must not know who sends it, or why.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final

# RFC 5321 section 4.5.3.1.5: a reply line has at most 512 octets with its code and its CRLF.
MAX_LINE: Final = 512
# RFC 4954 section 4: but the challenges of AUTH are longer, and cannot be folded.
MAX_CHALLENGE: Final = 12288
_MAX_REST: Final = MAX_LINE - len("250-") - len("\r\n")
# A text of this length fits on one line, however long the status is.
_SHORT: Final = _MAX_REST - len("5.999.999 ")

# RFC 3463 section 2: class "." subject "." detail, without leading zeros.
_STATUS: Final = re.compile(r"[245](?:\.(?:0|[1-9][0-9]{0,2})){2}", re.ASCII)
_CONTROLS: Final = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ")


class Next(Enum):
    """What may come next from the client."""

    COMMAND = "command"
    DATA = "data"
    LINE = "line"
    TLS = "tls"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, init=False)
class Reply:
    """Say one thing to the client, in one line or several.

    ``lines`` are the texts as they are sent, after code and status; ``octets`` is the whole reply.
    """

    code: int
    status: str
    lines: tuple[str, ...]
    next: Next
    octets: bytes = field(repr=False, compare=False)

    def __init__(self, code: int, text: str = "", status: str = "", next: Next = Next.COMMAND) -> None:
        """Make the reply and its octets.

        ``text`` may hold several lines with LF or CRLF between them; trailing empty lines vanish. Other
        control characters become blanks, non-ASCII is backslash-escaped, long lines are folded.
        The class of ``status`` is made to agree with the code; a 3yz reply has no status.
        Raises ValueError for a code that is not of SMTP, or a status that is none.
        """
        if not 200 <= code <= 599:
            raise ValueError(f"{code!r} is not an SMTP reply code")
        if status:
            status = _agreeing(status, code)
        lead = status + " " if status else ""
        if len(text) <= _SHORT and text.isascii() and text.isprintable():
            lines: tuple[str, ...] = (text,)
            wire = f"{code} {lead}{text}\r\n"
        else:
            lines = _lines(text, _MAX_REST - len(lead))
            wire = "".join([f"{code}-{lead}{line}\r\n" for line in lines[:-1]])
            wire += f"{code} {lead}{lines[-1]}\r\n"
        self._fill(code, status, lines, next, wire.encode("ascii"))

    @classmethod
    def challenge(cls, text: str) -> "Reply":
        """Make the 334 of an AUTH exchange, one line however long (RFC 4954 section 4).

        Raises ValueError for a text that is not printable ASCII, or that is longer than MAX_CHALLENGE allows.
        """
        if not (text.isascii() and text.isprintable()) or len(text) > MAX_CHALLENGE - len("334 \r\n"):
            raise ValueError("not a challenge of one line")
        reply = cls.__new__(cls)
        reply._fill(334, "", (text,), Next.LINE, f"334 {text}\r\n".encode("ascii"))
        return reply

    def _fill(self, code: int, status: str, lines: tuple[str, ...], next: Next, octets: bytes) -> None:
        put = object.__setattr__
        put(self, "code", code)
        put(self, "status", status)
        put(self, "lines", lines)
        put(self, "next", next)
        put(self, "octets", octets)

    @property
    def text(self) -> str:
        """Join the lines with LF."""
        return "\n".join(self.lines)

    def closing(self) -> "Reply":
        """Return the same reply, after which the connection is closed."""
        reply = Reply.__new__(Reply)
        reply._fill(self.code, self.status, self.lines, Next.CLOSE, self.octets)
        return reply


class Replies(Reply):
    """Say several things at once, as to the end of a message in LMTP (RFC 2033 section 4.2).

    ``said`` are the single replies. Code, status and lines are those of the best one, by which the whole is
    judged; the connection is closed if one of them wants that.
    """

    __slots__ = ("said",)

    said: tuple[Reply, ...]

    def __init__(self, said: Sequence[Reply]) -> None:
        """Make one of those that go out; raises ValueError if there are none."""
        best = min(said, key=_rank)
        closes = any(one.next is Next.CLOSE for one in said)
        octets = b"".join(one.octets for one in said)
        self._fill(best.code, best.status, best.lines, Next.CLOSE if closes else Next.COMMAND, octets)
        object.__setattr__(self, "said", tuple(said))


def _rank(reply: Reply) -> int:
    # Good is what is accepted, then what may be accepted later; 3yz is no verdict.
    return reply.code if reply.code // 100 != 3 else 999


@lru_cache(maxsize=512)
def _agreeing(status: str, code: int) -> str:
    # RFC 2034 section 4: the class must agree with the first digit of the code, and 3yz has no status.
    if not _STATUS.fullmatch(status):
        raise ValueError(f"{status!r} is not an enhanced status code")
    return "" if 300 <= code <= 399 else f"{code // 100}{status[1:]}"


def _lines(text: str, limit: int) -> tuple[str, ...]:
    """Split text at LF, drop trailing empty lines, and make each fit for the wire."""
    lines: list[str] = []
    for piece in text.replace("\r\n", "\n").rstrip("\n").split("\n"):
        if len(piece) <= limit and piece.isascii() and piece.isprintable():
            lines.append(piece)
            continue
        plain = piece.translate(_CONTROLS).encode("ascii", "backslashreplace").decode("ascii")
        lines.extend(_fold(plain, limit))
    return tuple(lines)


def _fold(line: str, limit: int) -> list[str]:
    """Break a line at blanks, or anywhere if there are none."""
    pieces = []
    while len(line) > limit:
        blank = line.rfind(" ", 1, limit + 1)
        end, start = (blank, blank + 1) if blank > 0 else (limit, limit)
        pieces.append(line[:end])
        line = line[start:]
    if line or not pieces:
        pieces.append(line)
    return pieces
