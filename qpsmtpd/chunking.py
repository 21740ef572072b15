"""BDAT: a message that comes in counted chunks (RFC 3030), through the hooks and limits of DATA.

A chunk follows its command without a reply between, so it is read whatever is wrong, and answered then. A
chunk that is refused ends the transaction: the message would lack it, and what is in the pipeline behind it
gets 503.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import content
from .answers import denial
from .content import Incoming
from .smtp.newlines import Newlines
from .smtp.receiver import Chunk
from .smtp.reply import Next, Reply
from .verdicts import reply_to_all

if TYPE_CHECKING:
    from .session import Session

MAX_DIGITS = 20  # as many as SIZE may have (RFC 1870 section 3)
SYNTAX = Reply(501, "Syntax: BDAT OCTETS [LAST]", "5.5.4")
# Whatever follows is content; to take it for commands would let mail speak for the client.
NO_COUNT = Reply(421, "Syntax: BDAT OCTETS [LAST]; closing the connection", "4.5.4", Next.CLOSE)


@dataclass(slots=True)
class Pending:
    """A chunk that is being read; ``problem`` is what it will be answered.

    ``begun``: whoever reads has been told that the chunk comes next.
    """

    size: int
    last: bool
    problem: Reply | None
    begun: bool = False


async def bdat(session: Session, argument: str) -> Reply | None:
    """Begin a message or go on with it; None: the chunk comes first, and then the reply."""
    count, *words = argument.split() or [""]
    if not (count.isascii() and count.isdigit() and len(count) <= MAX_DIGITS):
        return NO_COUNT
    last = [word.upper() for word in words] == ["LAST"]
    wrong = SYNTAX if words and not last else None
    session.chunk = Pending(int(count), last, wrong or await _begin(session))
    return None if session.chunk.size else await take(session, Chunk(b"", end=True))


async def _begin(session: Session) -> Reply | None:
    """Ask whether the message may come, if this is its first chunk."""
    if session.message is not None:
        return None
    if refused := content.check_envelope(session):
        return refused
    session.transaction.chunked = True
    if refused := denial("data", await session.ask("data")):
        return refused
    session.message = Incoming(session)
    if not session.transaction.binary:
        session.message.newlines = Newlines(normalize=session.limits.bare_newline == "normalize")
    return None


async def take(session: Session, event: Chunk) -> Reply | None:
    """Take a piece of a chunk; after its last one, give the reply to its BDAT."""
    pending, message = session.chunk, session.message
    assert pending is not None
    if pending.problem is None:
        assert message is not None
        octets, end, bare = event.octets, event.end and pending.last, False
        if message.newlines is not None:
            octets = message.newlines.feed(octets, end)
            bare = message.newlines.bare
        await content.add(session, message, octets, end=end, bare=bare)
    if not event.end:
        return None
    session.chunk = None
    if pending.problem is not None:
        reply = reply_to_all(session, pending.problem) if pending.last else pending.problem
        await session.reset()
        return reply
    assert message is not None
    if pending.last:
        return await content.finish(session, message)
    if message.problem is not None:
        # RFC 2033 section 4.2: only the last chunk is answered for each recipient.
        await session.reset()
        return message.problem
    return Reply(250, f"{pending.size} octets received", "2.0.0")
