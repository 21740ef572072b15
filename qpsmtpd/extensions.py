"""What a client is offered beyond the engine's own extensions, and which parameters it may use therefore.

An extension that promises what becomes of a message later (`PROMISES`) is offered only while every plugin
that may queue the message honours it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .answers import TOO_BIG
from .limits import Limits
from .registry import Registry
from .smtp.parameters import PARAMETERS, PROMISES
from .smtp.reply import Reply
from .transaction import Parameters

if TYPE_CHECKING:
    from .session import Session

NEEDS_EHLO = Reply(555, "parameters need EHLO", "5.5.4")
NEEDS_SMTPUTF8 = Reply(501, "a parameter that is not ASCII needs SMTPUTF8", "5.5.4")
NOT_BINARY = Reply(501, "BODY is 7BIT or 8BITMIME", "5.5.4")
TOO_LONG = Reply(501, "the message would be held for longer than allowed here", "5.5.4")
HELD_TWICE = Reply(501, "HOLDFOR and HOLDUNTIL exclude each other", "5.5.4")

MAX_ANNOUNCED = 999_999
"""RFC 9422 section 3: a limit has at most six digits."""
MAX_HOLD = 999_999_999
"""RFC 4865 section 3: an interval has at most nine digits."""


def promised(session: Session) -> frozenset[str]:
    """Name the promises that are made to this client, now."""
    honoured = _honoured(session.engine.registry)
    if not honoured:
        return honoured
    allowed = {"DSN", *session.limits.extensions}
    if session.connection.tls is None:
        # RFC 8689 section 2: it must not be offered in clear.
        allowed.discard("REQUIRETLS")
    return honoured & allowed


def _honoured(registry: Registry) -> frozenset[str]:
    """Name what all plugins honour that may get the message: nobody knows which of them will."""
    plugins = [one.plugin for one in registry.chain("queue") if not one.plugin.shadow]
    return frozenset.intersection(*(plugin.honours for plugin in plugins)) if plugins else frozenset()


def announced(session: Session) -> list[str]:
    """Give the lines of EHLO for the promises that were made, and for the limits (RFC 9422)."""
    lines = [_line(session, name) for name in PROMISES if name in session.promised]
    limits = session.limits
    known = (("MAILMAX", limits.max_messages), ("RCPTMAX", limits.max_recipients))
    words = [f"{name}={value}" for name, value in known if 0 < value <= MAX_ANNOUNCED]
    return [*lines, f"LIMITS {' '.join(words)}"] if words else lines


def _line(session: Session, name: str) -> str:
    if name != "FUTURERELEASE":
        return name
    # RFC 4865 section 3: the longest interval, and the same as a time.
    seconds = _max_hold(session.limits)
    latest = datetime.fromtimestamp(session.engine.now() + seconds, UTC)
    return f"{name} {seconds} {latest:%Y-%m-%dT%H:%M:%SZ}"


def check_parameters(session: Session, verb: str, parameters: Parameters) -> Reply | None:
    """Refuse parameters that were not offered (RFC 5321 section 4.1.1.11) or make no sense.

    Raises SyntaxFault for a value that is none.
    """
    if not parameters:
        return None
    if session.connection.hello != "ehlo":
        return NEEDS_EHLO
    smtputf8 = "SMTPUTF8" in parameters or session.transaction.smtputf8
    for keyword, value in parameters.items():
        row = PARAMETERS.get((verb, keyword))
        if row is None or (row.extension in PROMISES and row.extension not in session.promised):
            return _unknown(keyword)
        if value is not None and not (smtputf8 or value.isascii()):
            return NEEDS_SMTPUTF8
        meaning = row.read(value)
        check = _CHECKS.get(keyword)
        if check and (refused := check(session, meaning)):
            return refused
    return HELD_TWICE if "HOLDFOR" in parameters and "HOLDUNTIL" in parameters else None


def _unknown(keyword: str) -> Reply:
    return Reply(555, f"parameter {keyword[:40]} is not known here", "5.5.4")


def _check_size(session: Session, octets: int) -> Reply | None:
    """RFC 1870 section 6.1: refuse at MAIL what would be refused after DATA."""
    limit = session.limits.databytes
    return TOO_BIG if limit and octets > limit else None


def _check_body(session: Session, kind: str) -> Reply | None:
    return NOT_BINARY if kind == "BINARYMIME" and not session.engine.takes_binary else None


def _check_prdr(session: Session, _: None) -> Reply | None:
    """RFC 2033 section 4.2: LMTP answers for each recipient as it is."""
    return _unknown("PRDR") if session.lmtp else None


def _check_hold_for(session: Session, seconds: int) -> Reply | None:
    return TOO_LONG if seconds > _max_hold(session.limits) else None


def _check_hold_until(session: Session, time: float) -> Reply | None:
    return TOO_LONG if time > session.engine.now() + _max_hold(session.limits) else None


def _max_hold(limits: Limits) -> int:
    return min(limits.max_hold, MAX_HOLD)


_CHECKS: dict[str, Callable[[Session, Any], Reply | None]] = {
    "SIZE": _check_size,
    "BODY": _check_body,
    "PRDR": _check_prdr,
    "HOLDFOR": _check_hold_for,
    "HOLDUNTIL": _check_hold_until,
}
"""What is to be said to a value that is well formed."""
