"""Write replies straight to the socket when nothing is queued before them.

Twisted's `transport.write` waits for the next turn of the reactor, which costs two changes of the poll set
and a second event for each reply. We write at once, or when all that is ready has been read (see `polling`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.tcp import Connection

if TYPE_CHECKING:
    from .polling import Poller


def direct_writer(transport: Any) -> Callable[[bytes], None]:
    """Make the function that writes to a transport; only plain TCP is written to directly."""
    write: Callable[[bytes], None] = transport.write
    if not isinstance(transport, Connection) or transport.TLS:
        return write
    send = transport.socket.send

    def write_directly(octets: bytes) -> None:
        if transport.dataBuffer or transport._tempDataBuffer or not transport.connected:
            write(octets)
            return
        try:
            sent = send(octets)
        except OSError:
            sent = (
                0  # a full buffer, or an error that transport.write meets again and ends the connection for
            )
        if sent < len(octets):
            write(octets[sent:])

    poller: Poller | None = getattr(transport.reactor, "poller", None)
    return write_directly if poller is None else partial(poller.write, write_directly)


def write_now(transport: Any) -> None:
    """Write what waits for others to be read."""
    poller = getattr(getattr(transport, "reactor", None), "poller", None)
    if poller is not None:
        poller.flush()
