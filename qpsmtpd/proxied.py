"""Clients behind a load balancer that speaks the PROXY protocol.

Stands between the transport and the protocol. The protocol learns that it is connected when the balancer has
said who is: an SMTP server speaks first, and would judge every client by the balancer's address. Who has no
place in config/trusted_proxies, and who begins with anything else than a header, is closed without a word.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from .alarm import Alarm
from .factory import address_of
from .log import Level
from .smtp.proxy import ProxyFault, ProxyHeader, Route, read_proxy_header

HEADER_TIMEOUT = 10.0
"""Seconds that the balancer has to say who is connected."""


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class ProxiedProtocol(ProtocolWrapper):
    """Reads the header of a connection, then tells the protocol that it is connected."""

    transport: Any
    wrappedProtocol: Any
    factory: ProxiedFactory
    proxied = True
    """Tells whoever asks a transport that its addresses come from a header."""
    route: Route | None = None
    """From where to where the client is connected; None if the balancer does not say."""
    _header: ProxyHeader | None = None
    _octets = b""
    _secured = False

    def makeConnection(self, transport: Any) -> None:
        """Wait for the header, if it comes from whom we believe it."""
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        self._alarm = Alarm(self.factory.wrappedFactory.reactor)
        if self._balancer not in self.factory.wrappedFactory.engine.trusted_proxies:
            self._refuse("not in trusted_proxies")
        else:
            self._alarm.set(HEADER_TIMEOUT, lambda: self._refuse("no PROXY header in time"))

    @property
    def _balancer(self) -> str:
        return address_of(getattr(self.transport.getPeer(), "host", ""))

    def _refuse(self, reason: str) -> None:
        """Cut the connection."""
        log = self.factory.wrappedFactory.engine.log
        log.emit(Level.NOTICE, "closed the connection from %s: %s", self._balancer, reason)
        self._alarm.stop()
        self.disconnecting = 1
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Read the header; what follows is for the protocol."""
        if self._header is not None:
            self.wrappedProtocol.dataReceived(data)
        elif not self.disconnecting:
            self._octets += data
            self._read_header()

    def _read_header(self) -> None:
        try:
            header = read_proxy_header(self._octets)
        except ProxyFault as fault:
            self._refuse(str(fault))
            return
        if header is None:
            return
        self._alarm.stop()
        rest, self._octets = self._octets[header.size :], b""
        self._header = header
        self.route = header.route
        above = getattr(self.transport, "protocol", None)
        self.wrappedProtocol.makeConnection(self)
        if self._secured:
            self.wrappedProtocol.handshakeCompleted()
        if rest:
            # If TLS has begun, another one stands above the transport: what follows is no plain text.
            now: Any = getattr(self.transport, "protocol", None)
            (self if now is above else now).dataReceived(rest)

    def getPeer(self) -> IAddress:
        """Give the client's address, the balancer's if that speaks for itself."""
        route = self.route
        peer: IAddress = self.transport.getPeer()
        return _tcp_address(route.client_ip, route.client_port) if route else peer

    def getHost(self) -> IAddress:
        """Give the address that the client connected to."""
        route = self.route
        host: IAddress = self.transport.getHost()
        return _tcp_address(route.server_ip, route.server_port) if route else host

    def handshakeCompleted(self) -> None:
        """Pass on what TLS tells the outermost protocol."""
        self._secured = True
        if self._header is not None:
            self.wrappedProtocol.handshakeCompleted()

    def readConnectionLost(self) -> None:
        """Tell the protocol, if it knows that it is connected; close else."""
        if self._header is not None:
            self.wrappedProtocol.readConnectionLost()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: this side is never shut alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the protocol, if it knows that it was connected."""
        self._alarm.stop()
        self._octets = b""
        self.factory.unregisterProtocol(self)
        if self._header is not None:
            self.wrappedProtocol.connectionLost(reason)
        self.wrappedProtocol = None


class ProxiedFactory(WrappingFactory):
    """Wraps an SMTPFactory."""

    noisy = False
    protocol = ProxiedProtocol
    wrappedFactory: Any


def _tcp_address(address: str, port: int) -> IAddress:
    kind = IPv6Address if ":" in address else IPv4Address
    return kind("TCP", address, port)
