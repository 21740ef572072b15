"""DATA: taking the message in, and what happens to it when it is complete (RFC 5321 section 4.1.1.4).

Whatever is wrong with a message, it is read to its real end before it is refused; otherwise its text
would be taken for commands.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from . import trace
from .answers import NO_ARGUMENT, NO_SENDER, TOO_BIG, denial, queued
from .body import Body
from .header import HeaderReader, HeaderTooLong
from .log import Level
from .settling import Answer
from .smtp.newlines import Newlines, has_bare
from .smtp.receiver import Content
from .smtp.reply import Next, Reply
from .verdicts import BEFORE_QUEUE, Verdicts, reply_to_all

if TYPE_CHECKING:
    from .session import Session

NO_RECIPIENTS = Reply(503, "say RCPT first", "5.5.1")
# RFC 3030 sections 2 and 3: DATA must not follow BDAT in a transaction, nor carry binary content.
AFTER_BDAT = Reply(503, "the message comes by BDAT; RSET first", "5.5.1")
BINARY = Reply(503, "BODY=BINARYMIME needs BDAT; RSET first", "5.5.1")
GO_AHEAD = Reply(354, "go ahead", next=Next.DATA)
BARE_NEWLINE = Reply(550, "the message holds a CR or LF that stands alone (RFC 5321 section 2.3.8)", "5.6.11")
HEADER_TOO_LONG = Reply(552, "the header is longer than allowed here", "5.3.4")
NO_SPACE = Reply(452, "insufficient system storage", "4.3.1")


def check_data(session: Session, argument: str) -> Reply | None:
    """Refuse DATA without an envelope, and where only BDAT will do."""
    if argument:
        return NO_ARGUMENT
    if session.message is not None:
        return AFTER_BDAT
    return check_envelope(session) or (BINARY if session.transaction.binary else None)


def check_envelope(session: Session) -> Reply | None:
    """Refuse content without sender or recipients."""
    if session.transaction.sender is None:
        return NO_SENDER
    return None if session.transaction.recipients else NO_RECIPIENTS


async def data(session: Session, argument: str) -> Reply:
    """Ask whether the message may come."""
    if "data" in session.heard and (refused := denial("data", await session.ask("data"))):
        await session.reset()
        return refused
    session.message = Incoming(session)
    return GO_AHEAD


class Incoming:
    """A message on its way in: the header is split off, the body goes where there is room for it.

    ``newlines`` judges what comes by BDAT, unless that is binary; by DATA the receiver does it.
    """

    __slots__ = ("body", "header", "newlines", "problem", "size")

    def __init__(self, session: Session) -> None:
        limits = session.limits
        self.size = 0
        self.problem: Reply | None = None
        self.newlines: Newlines | None = None
        self.header: HeaderReader | None = HeaderReader(limit=limits.max_header)
        self.body = Body(
            session.engine.spool,
            limits.size_threshold,
            on_spool=lambda: session.log(Level.INFO, "spooling message to disk"),
        )
        session.transaction.body = self.body

    def refuse(self, reply: Reply) -> None:
        """Keep nothing from here on, and answer this at the end."""
        self.problem = self.problem or reply
        self.header = None
        self.body.close()


async def take(session: Session, event: Content) -> Reply | None:
    """Take a piece of the message; after the last one, give its reply."""
    message = session.message
    assert message is not None
    await add(session, message, event.octets, end=event.end, bare=event.bare)
    return await finish(session, message) if event.end else None


async def add(session: Session, message: Incoming, octets: bytes, *, end: bool, bare: bool) -> None:
    """Keep a piece of the message, unless that must be refused; ``bare`` is what the receiver says."""
    message.size += len(octets)
    if message.problem is not None:
        return
    limit = session.limits.databytes
    if limit and message.size > limit:
        session.log(Level.ALERT, "Message too big: size: %d (max size: %d)", message.size, limit)
        message.refuse(TOO_BIG)
    elif bare:
        message.refuse(BARE_NEWLINE)
    elif message.header is None:
        _store(session, message, octets)
    elif (rest := _split_header(session, message, octets, end)) is not None:
        if "data_headers_end" in session.heard:
            refused = denial("data_headers_end", await session.ask("data_headers_end"))
            if refused:
                message.refuse(refused)
                return
        _store(session, message, rest)


async def finish(session: Session, message: Incoming) -> Reply:
    """Deliver the message, or tell what was wrong with it; the transaction is over."""
    session.message = None
    session.transaction.size = message.size
    reply = reply_to_all(session, message.problem or await _deliver(session))
    if not session.queued or not session.tells_end:
        session.queued = False
        await session.reset()
    return reply


def _split_header(session: Session, message: Incoming, octets: bytes, end: bool) -> bytes | None:
    """Give the beginning of the body when the header has ended, and not been refused."""
    assert message.header is not None
    try:
        split = message.header.feed(octets) or (message.header.finish() if end else None)
    except HeaderTooLong:
        message.refuse(HEADER_TOO_LONG)
        return None
    if split is None:
        return None
    session.transaction.header, rest = split
    message.header = None
    # RFC 3030 section 3: binary are the bodies of MIME; the header is lines.
    if session.transaction.binary and has_bare(bytes(session.transaction.header)):
        message.refuse(BARE_NEWLINE)
        return None
    return rest


def _store(session: Session, message: Incoming, octets: bytes) -> None:
    message.body.write(octets)
    if message.body.failed is not None:
        session.log(Level.ERROR, "cannot spool the message: %s", message.body.failed)
        message.refuse(NO_SPACE)


async def _deliver(session: Session) -> Reply | None:
    """Show the complete message to the plugins and have it queued.

    Gives the reply to all recipients who have none of their own; None if nobody needs it.
    """
    transaction = session.transaction
    assert transaction.body is not None
    transaction.body.finish()
    if transaction.body.failed is not None:
        session.log(Level.ERROR, "cannot spool the message: %s", transaction.body.failed)
        return NO_SPACE
    transaction.verdicts = Verdicts()
    for hook in BEFORE_QUEUE:
        if hook in session.heard:
            if refused := denial(hook, await _ask(session, hook)):
                return refused
            if transaction.verdicts.decided(transaction):
                return None
        if hook == "data_post_headers":
            await _add_trace(session)
    handed = transaction.recipients
    answer = await _ask(session, "queue")
    transaction.recipients = handed
    session.queued = True
    return queued(answer)


def _ask(session: Session, hook: str) -> Awaitable[Answer]:
    """Ask a hook whose plugins may answer for single recipients."""
    transaction = session.transaction
    assert transaction.verdicts is not None
    return transaction.verdicts.ask(hook, session.engine.registry, session.connection, transaction)


async def _add_trace(session: Session) -> None:
    header = session.transaction.header
    assert header is not None
    own = session.engine.results_names
    trace.rename_foreign_results(header, own)
    await trace.add_received(session, header)
    if own:
        header.put_on_top(trace.authentication_results(session, own))
