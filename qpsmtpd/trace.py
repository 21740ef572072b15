"""What the server writes on top of a message: Received (RFC 5321 section 4.4) and Authentication-Results."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from .answers import text_of
from .log import Level
from .version import VERSION

if TYPE_CHECKING:
    from .header import Header
    from .session import Session

AUTH_RESULTS = "Authentication-Results"
_UNFIT = re.compile(r"[^A-Za-z0-9._\[\]:-]")
_COMMENT = re.compile(r"\([^()]*+\)")
MAX_NESTED = 10
"""Comments within comments that anybody means; each costs a pass over the field."""


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Format a time as RFC 5322 section 3.3 wants it, in local time; once a second is enough."""
    return format_datetime(datetime.fromtimestamp(second).astimezone())


def protocol(session: Session) -> str:
    """Name the protocol (RFC 3848, RFC 6531 section 4.3): S is for TLS, A for AUTH."""
    connection = session.connection
    if connection.hello != "ehlo":
        return "SMTP"
    if session.lmtp:
        name = "UTF8LMTP" if session.transaction.smtputf8 else "LMTP"
    else:
        name = "UTF8SMTP" if session.transaction.smtputf8 else "ESMTP"
    return name + ("S" if connection.tls else "") + ("A" if connection.user else "")


async def add_received(session: Session, header: Header) -> None:
    """Put the Received field on top, or the one that a plugin makes."""
    connection = session.connection
    tls = f"({connection.tls.version} {connection.tls.cipher})" if connection.tls else ""
    if "received_line" in session.heard:
        auth = ""
        if connection.user:
            auth = f"(smtp-auth username {connection.user}, mechanism {connection.auth_mechanism})"
        answer = await session.ask("received_line", protocol(session), auth, tls)
        if text := text_of(answer):
            try:
                return header.add("Received", text)
            except ValueError as error:
                session.log(Level.ERROR, "received_line: %s", error)
    header.put_on_top(received(session, tls))
    return None


def received(session: Session, tls: str) -> bytes:
    """Make the Received field."""
    connection, engine = session.connection, session.engine
    via = f"{protocol(session)} {tls}" if tls else protocol(session)
    head = _head(connection.hello_host, connection.remote_host, connection.remote_ip, session.me, via)
    return f"{head}{engine.message_id(connection)};\r\n {_date(int(engine.now()))}\r\n".encode()


@lru_cache(maxsize=256)
def _head(hello_host: str, remote_host: str, address: str, me: str, via: str) -> str:
    """Make the part of the field that is the same for all messages of a session."""
    return (
        f"Received: from {_domain(hello_host)} ({_source(remote_host, address)})\r\n"
        f" by {me} (qpsmtpd/{VERSION}) with {via} id "
    )


@lru_cache(maxsize=64)
def _domain(name: str) -> str:
    """Make a name fit for the field: ASCII, no comment, no white space."""
    return _UNFIT.sub("?", name[:255]) or "unknown"


def _source(host: str, address: str) -> str:
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    return literal if host.startswith("[") else f"{_domain(host)} {literal}"


def authentication_results(session: Session, own: tuple[str, ...]) -> bytes:
    """Make the Authentication-Results field (RFC 8601); ``own`` are the lines that name us in it."""
    connection = session.connection
    if connection.user:
        auth = f"auth=pass ({connection.auth_mechanism}) smtp.auth={_pvalue(connection.user)}"
    else:
        auth = "auth=fail" if connection.auth_attempted else "auth=none"
    iprev = connection.notes.get("iprev")
    found = (iprev, *session.transaction.auth_results) if iprev else tuple(session.transaction.auth_results)
    return _results(own, auth, found)


@lru_cache(maxsize=256)
def _results(own: tuple[str, ...], auth: str, found: tuple[str, ...]) -> bytes:
    # Plugins quote what others sent; a line end in it would begin a field of theirs.
    clauses = [*own, auth, *(" ".join(clause.split()) for clause in found)]
    value = ";\r\n ".join(clauses) if len(clauses) > 2 else "; ".join(clauses)
    return f"{AUTH_RESULTS}: {value}\r\n".encode("utf-8", "surrogateescape")


def _pvalue(text: str) -> str:
    """Quote a value unless it is an address or a word (RFC 8601 section 2.2)."""
    if text.replace("@", "", 1).replace(".", "").replace("-", "").replace("_", "").isalnum():
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def rename_foreign_results(header: Header, own: tuple[str, ...]) -> None:
    """Rename what others claim, so that nobody mistakes it for ours (RFC 8601 section 5).

    Fields that a DKIM signature covers stay, so that it can still be verified, unless they claim to be
    ours.
    """
    if not own or AUTH_RESULTS not in header:
        return
    ours = own[0].split()[0].lower()
    forged = any(_may_claim(value, ours) for value in header.get_all(AUTH_RESULTS))
    if forged or not any(_signs_results(value) for value in header.get_all("DKIM-Signature")):
        header.rename(AUTH_RESULTS, "Original-" + AUTH_RESULTS)


def _may_claim(value: str, ours: str) -> bool:
    """Tell whether a field may be taken for ours (RFC 8601 section 2.2), in spite of comments and quotes."""
    head = value[:1000].replace("\\", "").replace('"', "")
    for _ in range(MAX_NESTED):
        if ")" not in head:
            break
        head = _COMMENT.sub(" ", head)
    name, semicolon, _ = head.partition(";")
    return not semicolon or not name.strip() or ours in name.lower() or bool(_COMMENT.search(head))


def _signs_results(signature: str) -> bool:
    """Tell whether a DKIM-Signature's h= tag lists the field (RFC 6376 section 3.5)."""
    for tag in signature.split(";"):
        name, _, value = tag.partition("=")
        if name.strip() == "h":
            return AUTH_RESULTS.lower() in "".join(value.split()).lower().split(":")
    return False
