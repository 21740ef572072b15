"""Write a reply straight to the socket when nothing is queued before it.

Twisted's `transport.write` waits for the next turn of the reactor, which costs two changes of the poll set
and a second event for each reply.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection


def write_some(transport: Any, octets: bytes) -> bytes:
    """Write what a plain TCP transport takes at once; give the rest, which is for ``transport.write``.

    Other transports, TLS among them, and one that has something queued, take nothing this way.
    """
    if not isinstance(transport, Connection) or transport.TLS or not transport.connected:
        return octets
    if transport.dataBuffer or transport._tempDataBuffer:
        return octets
    written = transport.writeSomeData(octets)
    # An error is no number; transport.write meets it again and ends the connection.
    return octets[written:] if isinstance(written, int) else octets
