"""XCLIENT and XFORWARD: a trusted proxy says who its client is (Postfix's XCLIENT_README, XFORWARD_README).

XCLIENT makes another client of the session's: for plugins, the proxy has left, and who has come is who the
attributes say. XFORWARD is for the log only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .connection import Connection
from .engine import UNKNOWN
from .log import Level
from .smtp.reply import Reply
from .smtp.xclient import TEMPORARILY_UNAVAILABLE, UNAVAILABLE, XCLIENT, XFORWARD, read_attributes
from .transaction import Transaction
from .waiting import start

if TYPE_CHECKING:
    from .session import Session

NOT_TRUSTED = Reply(550, "insufficient authorization", "5.7.0")
IN_TRANSACTION = Reply(503, "a mail transaction is in progress", "5.5.1")
FORWARD_OK = Reply(250, "OK", "2.0.0")

NO_ADDRESS = "0.0.0.0"  # noqa: S104 - nobody has it
"""The address of a client whose address the proxy does not know; the proxy's own would be an honour."""


def announced(session: Session) -> list[str]:
    """Give the lines of EHLO; for a trusted proxy only."""
    if not session.trusted:
        return []
    return [f"XCLIENT {' '.join(XCLIENT)}", f"XFORWARD {' '.join(XFORWARD)}"]


def check(session: Session, argument: str) -> Reply | None:
    """Refuse strangers, and a change within a transaction."""
    if not session.trusted:
        return NOT_TRUSTED
    return IN_TRANSACTION if session.transaction.sender is not None else None


async def forward(session: Session, argument: str) -> Reply:
    """Keep what the proxy says for plugins that log, until the next message is over."""
    attributes = read_attributes(XFORWARD, argument)
    notes = session.connection.notes
    notes["xforward"] = notes.get("xforward", {}) | attributes
    return FORWARD_OK


async def become(session: Session, argument: str) -> Reply:
    """Take the client for another one, and greet it.

    The session keeps TLS, its limits and its trust, and what earlier XCLIENT commands said.
    """
    attributes = read_attributes(XCLIENT, argument)
    old = session.connection
    await session.reset()
    claimed = old.notes.get("xclient", {}) | attributes
    new = _client(old, claimed, session.engine.next_number())
    session.log(Level.INFO, "XCLIENT: connection %d from %s", new.number, new.remote_ip)
    session.begin_again(new)
    # The old one ends, however long its plugins take and whether the new one stays or not.
    start(_end(session, old))
    if session.regreet is not None:
        return await session.regreet(session, old.remote_ip)
    return await session.greet()


def _client(old: Connection, claimed: dict[str, str], number: int) -> Connection:
    """Make the facts of the client that the proxy claims to have."""
    new = Connection(
        _known(claimed, "ADDR", old.remote_ip, NO_ADDRESS),
        int(_known(claimed, "PORT", str(old.remote_port), "0")),
        _known(claimed, "DESTADDR", old.local_ip, old.local_ip),
        int(_known(claimed, "DESTPORT", str(old.local_port), str(old.local_port))),
        number=number,
    )
    name = claimed.get("NAME", TEMPORARILY_UNAVAILABLE)
    if name != TEMPORARILY_UNAVAILABLE:
        new.remote_host = "Unknown" if name == UNAVAILABLE else name.rstrip(".")
    new.hello_host = _known(claimed, "HELO", "", "")
    if user := _known(claimed, "LOGIN", "", ""):
        new.user, new.auth_mechanism, new.relay_client = user, "XCLIENT", True
    new.tls = old.tls
    new.wait_for_input = old.wait_for_input
    new.notes["xclient"] = claimed
    # The note of PROXY: this address is a proxy's word, too.
    new.notes["proxy"] = UNKNOWN if new.remote_ip == NO_ADDRESS else "YES"
    return new


async def _end(session: Session, connection: Connection) -> None:
    """Tell the plugins that a client is gone which is not the session's any more."""
    for hook in ("disconnect", "post-connection"):
        await session.engine.registry.tell(hook, connection, (connection, Transaction()))


def _known(claimed: dict[str, str], name: str, default: str, unknown: str) -> str:
    """Give what was claimed, the default if nothing was, and another one if the proxy does not know."""
    value = claimed.get(name, default)
    return unknown if value == UNAVAILABLE else value
