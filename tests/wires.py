"""Transports in memory for the protocol's tests: one that can start TLS, and a client to talk to it."""

from typing import Any

from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import AccumulatingProtocol, StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from qpsmtpd.testing.server import MemoryTransport, Server


class PausingTransport(MemoryTransport):
    """Closes when the test says so, as a transport of the reactor does it later."""

    aborted = False

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.aborted = True


class TLSTransport(MemoryTransport):
    """Can start TLS, as those of the reactor do."""

    layer: Any = None

    def startTLS(self, context: Any) -> None:
        self.layer = TLSMemoryBIOProtocol(TLSMemoryBIOFactory(context, False, None), self.protocol, False)
        self.protocol = self.layer
        self.below = StringTransport()
        self.layer.makeConnection(self.below)

    def write(self, data: bytes) -> None:
        (self.layer or super()).write(data)

    def getHandle(self) -> Any:
        return self.layer.getHandle()


class TLSClient:
    """Speaks in clear, then through TLS."""

    def __init__(self, server: Server, *, implicit: bool = False) -> None:
        self.transport = TLSTransport()
        server.factory._implicit_tls = implicit
        self.protocol = server.factory.buildProtocol(None)
        self.transport.protocol = self.protocol
        self.transport.clock = server.clock
        self.protocol.makeConnection(self.transport)

    def read(self) -> str:
        octets: bytes = self.transport.value()
        self.transport.clear()
        return octets.decode()

    def say(self, octets: bytes) -> str:
        if not self.transport.disconnected:
            self.transport.protocol.dataReceived(octets)
        return self.read()

    def handshake(self) -> None:
        self.inner = AccumulatingProtocol()
        self.wire = StringTransport()
        factory = TLSMemoryBIOFactory(CertificateOptions(), True, None)
        self.layer = TLSMemoryBIOProtocol(factory, self.inner)
        self.layer.makeConnection(self.wire)
        self.pump()

    def pump(self) -> None:
        """Carry octets until nobody has any."""
        while self.wire.value() or self.transport.below.value():
            up, down = self.wire.value(), self.transport.below.value()
            self.wire.clear()
            self.transport.below.clear()
            if up:
                self.transport.layer.dataReceived(up)
            if down:
                self.layer.dataReceived(down)

    def secretly(self, octets: bytes) -> str:
        """Say something within TLS."""
        self.inner.data = b""
        self.layer.write(octets)
        self.pump()
        return self.inner.data.decode()
