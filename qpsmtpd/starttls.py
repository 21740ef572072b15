"""STARTTLS, and what a client may say before it where mail is taken over TLS only (RFC 3207)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answers import NO_ARGUMENT, NOT_IMPLEMENTED
from .smtp.reply import Next, Reply

if TYPE_CHECKING:
    from .session import Session

READY = Reply(220, "go ahead", "2.0.0", Next.TLS)
ENCRYPTED = Reply(503, "the connection is encrypted already", "5.5.1")
TLS_FIRST = Reply(530, "Must issue a STARTTLS command first", "5.7.0")
IN_CLEAR = frozenset({"NOOP", "EHLO", "LHLO", "STARTTLS", "QUIT"})
"""RFC 3207 section 4: what is answered even where TLS is required."""


def check(session: Session, argument: str) -> Reply | None:
    """Refuse a STARTTLS that is malformed, out of order, or not offered."""
    if argument:
        return NO_ARGUMENT
    if session.connection.tls is not None:
        return ENCRYPTED
    return None if session.offers_tls else NOT_IMPLEMENTED


async def begin(session: Session, argument: str) -> Reply:
    """Forget what was said in clear, and begin the handshake."""
    await session.reset()
    session.forget_client()
    return READY


def too_clear(session: Session, verb: str) -> Reply | None:
    """Refuse a verb in clear where TLS is required; what follows a BDAT is no command, so it is the last."""
    if not session.requires_tls or session.connection.tls is not None or verb in IN_CLEAR:
        return None
    return TLS_FIRST.closing() if verb == "BDAT" else TLS_FIRST
