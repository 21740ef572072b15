"""Write replies straight to the socket when nothing is queued before them.

Twisted's `transport.write` waits for the next turn of the reactor, which costs two changes of the poll set
and a second event for each reply; in TLS it waits for another turn before, for more to encrypt together. We
write at once, or when all that is ready has been read (see `polling`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOProtocol

if TYPE_CHECKING:
    from .polling import Poller

Write = Callable[[bytes], None]


def direct_writer(transport: Any) -> Write:
    """Make the function that writes to a transport; only TCP is written to directly."""
    if not isinstance(transport, Connection):
        write: Write = transport.write
        return write
    poller = _poller_of(transport)
    return partial(_write, transport) if poller is None else partial(poller.behind, _write, transport)


def _write(transport: Any, octets: bytes) -> None:
    """Write to the socket, in clear although TLS may have started, and leave the rest to the transport."""
    if transport.dataBuffer or transport._tempDataBuffer or not transport.connected:
        FileDescriptor.write(transport, octets)
        return
    try:
        sent = transport.socket.send(octets)
    except OSError:
        sent = 0  # there is no room, or an error for which the transport ends the connection
    if sent < len(octets):
        FileDescriptor.write(transport, octets[sent:])


def encrypting_writer(transport: Any, write: Write) -> Write:
    """Make the function that writes through TLS, which has just started; ``write`` is that of before."""
    if not isinstance(transport, Connection):
        encrypt: Write = transport.write
        return encrypt
    layer: Any = transport.protocol
    layer.transport.write = write
    return partial(TLSMemoryBIOProtocol.write, layer)


def close(transport: Any, slow: Callable[[], None]) -> None:
    """Close behind what is still to be written; call ``slow`` if that takes its time.

    Twisted's `transport.loseConnection` waits for a turn, too, in which it finds nothing left to write.
    """
    poller = _poller_of(transport)
    if poller is None or not poller.close(transport, slow):
        transport.loseConnection()
        slow()


def write_now(transport: Any) -> None:
    """Write what waits for others to be read."""
    if poller := _poller_of(transport):
        poller.flush()


def _poller_of(transport: Any) -> Poller | None:
    """Give who polls a transport, if that is plain TCP and polled by ours."""
    plain = isinstance(transport, Connection) and not transport.TLS
    return getattr(transport.reactor, "poller", None) if plain else None
