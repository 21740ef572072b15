"""Clients behind a load balancer that speaks the PROXY protocol.

Twisted's own wrapper tells a protocol of its connection before the balancer has said who is connected. An
SMTP server speaks first, so it would judge every client by the balancer's address.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.interfaces import IHandshakeListener, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper, HAProxyWrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from .alarm import Alarm

HEADER_TIMEOUT = 10.0
"""Seconds that the balancer has to say who is connected."""


class _Collector(Protocol):
    """Takes what comes behind the header in the same segment."""

    octets = b""

    def dataReceived(self, data: bytes) -> None:
        self.octets += data


@implementer(IHandshakeListener)
class ProxiedProtocol(HAProxyProtocolWrapper):
    """Reads the header of a connection, then tells the protocol that it is connected."""

    transport: Any
    proxied = True
    """Tells whoever asks a transport that its addresses come from a header."""
    _begun = False

    def makeConnection(self, transport: Any) -> None:
        """Wait for the header."""
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        self._alarm = Alarm(cast(ProxiedFactory, self.factory).wrappedFactory.reactor)
        self._alarm.set(HEADER_TIMEOUT, transport.abortConnection)

    def dataReceived(self, data: bytes) -> None:
        """Read the header; what follows is for the protocol."""
        inner = cast(Any, self.wrappedProtocol)
        if self._begun:
            inner.dataReceived(data)
            return
        collector = _Collector()
        self.wrappedProtocol = cast(IProtocol, collector)
        super().dataReceived(data)
        self.wrappedProtocol = inner
        if self._proxyInfo is None:
            return
        self._begun = True
        self._alarm.stop()
        inner.makeConnection(self)
        if collector.octets:
            inner.dataReceived(collector.octets)

    def handshakeCompleted(self) -> None:
        """Pass on what TLS tells the outermost protocol."""
        cast(IHandshakeListener, self.wrappedProtocol).handshakeCompleted()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the protocol, if it knows that it was connected."""
        self._alarm.stop()
        if self._begun:
            super().connectionLost(reason)
        else:
            self.factory.unregisterProtocol(self)


class ProxiedFactory(HAProxyWrappingFactory):
    """Wraps an SMTPFactory."""

    protocol = ProxiedProtocol  # type: ignore[assignment]
    wrappedFactory: Any
