"""HELO and EHLO: what the client calls itself, and what it is offered (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import auth, xclient
from .answers import denial, text_of
from .extensions import announced, promised
from .smtp.reply import Reply

if TYPE_CHECKING:
    from .session import Session


async def helo(session: Session, argument: str) -> Reply:
    """Greet a client that knows no extensions."""
    return await _hello(session, "helo", argument)


async def ehlo(session: Session, argument: str) -> Reply:
    """Greet a client and tell it what it may use."""
    return await _hello(session, "ehlo", argument)


async def lhlo(session: Session, argument: str) -> Reply:
    """Greet a client of LMTP (RFC 2033 section 4.1), for plugins like one that says EHLO."""
    return await _hello(session, "ehlo", argument, "LHLO")


async def _hello(session: Session, verb: str, argument: str, spoken: str = "") -> Reply:
    connection = session.connection
    if f"{verb}_parse" in session.heard:
        answer = await session.ask(f"{verb}_parse", argument)
        if refused := denial(f"{verb}_parse", answer):
            return refused
        argument = text_of(answer) or argument
    host, *words = argument.split() or [""]
    if not host:
        return Reply(
            501, f"{spoken or verb.upper()} needs your host name (RFC 5321 section 4.1.1.1)", "5.5.4"
        )
    connection.capabilities = []
    if verb in session.heard and (refused := denial(verb, await session.ask(verb, host, words))):
        return refused
    if connection.hello:
        # RFC 5321 section 4.1.4: a second one resets.
        await session.reset()
    connection.hello = verb
    connection.hello_host = host
    hi = f"{session.me} Hi {connection.log_name} [{connection.remote_ip}]"
    if verb == "helo":
        return Reply(250, hi)
    session.promised = promised(session)
    return Reply(250, "\n".join([hi, *extensions(session)]))


def extensions(session: Session) -> list[str]:
    """Name what this server can do, for this client, now."""
    offered = ["PIPELINING", "8BITMIME", "CHUNKING"]
    if session.engine.takes_binary:
        offered.append("BINARYMIME")
    offered.append("SMTPUTF8")
    if not session.lmtp:
        offered.append("PRDR")
    offered += [*announced(session), "ENHANCEDSTATUSCODES"]
    if session.limits.databytes:
        offered.append(f"SIZE {session.limits.databytes}")
    if session.offers_tls and session.connection.tls is None:
        offered.append("STARTTLS")
    offered += session.connection.capabilities + xclient.announced(session)
    if mechanisms := auth.offered(session):
        offered.append("AUTH " + " ".join(mechanisms))
    return offered
