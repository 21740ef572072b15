"""Listening sockets that several processes share: bound by one, taken over by others, closed one by one.

Who shares a socket may close it, but neither shut it down nor remove its path: that ends it for all.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.unix import Port as UNIXPort
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.lockfile import FilesystemLock
from zope.interface import implementer

BACKLOG: Final = 1024
"""Clients that the kernel lets wait to be accepted. Who finds no room there tries again after a second.

Twisted's own 50 is less than the connections that one client may open at once; the kernel has the last word
(net.core.somaxconn). An endpoint with ``backlog=`` has its own.
"""
_BINDS: Final = re.compile(r"(?:haproxy:)?(?:tcp6?|ssl|unix):(?!.*:backlog=)")


class PortService(StreamServerEndpointService):
    """A listener, known by the line that asks for it."""

    # twistd ends with status 1 and the reason if a port cannot be bound.
    _raiseSynchronously = True

    def __init__(
        self, endpoint: IStreamServerEndpoint, factory: Factory, description: str, *, owned: bool = True
    ) -> None:
        super().__init__(endpoint, factory)
        self.description = description
        self.place = ""
        """Who asks for it: an option, or a file and its line."""
        self._owned = owned and not isinstance(endpoint, AdoptingEndpoint)
        self._port: Any = None
        self._released = False

    def privilegedStartService(self) -> None:
        """Bind, or take over."""
        super().privilegedStartService()
        assert self._waitingForPort is not None
        self._waitingForPort.addCallback(self._bound)

    def _bound(self, port: Any) -> Any:
        self._port = port
        return port

    def share(self) -> int:
        """Give the socket's descriptor for others to inherit; LookupError if there is none."""
        if not hasattr(self._port, "fileno"):
            raise LookupError(f"{self.description}: is no socket that processes could share")
        self._port._shouldShutdown = False
        return cast("int", self._port.fileno())

    def hold(self) -> None:
        """Accept nothing here: clients wait for those who share the socket."""
        self._port.stopReading()

    def own(self) -> None:
        """Remove the path of a UNIX socket at the end, and the lock beside it."""
        self._owned = not isinstance(self.endpoint, AdoptingEndpoint)
        if isinstance(self._port, AdoptedUNIXPort):
            self._port.take_lock()

    def release(self) -> None:
        """Close it here; those who share it go on."""
        if self._port is not None and not self._released:
            self._released = True
            self._port.stopReading()
            self._port.socket.close()

    def stopService(self) -> Deferred[None]:
        """Close it, and remove its path if it has one and is ours, not systemd's or the parent's."""
        if not self._owned:
            self.release()
        if self._released:
            self.running = False
            return succeed(None)
        return cast("Deferred[None]", super().stopService())


def endpoint_of(reactor: Any, description: str, descriptor: int | None) -> Any:
    """Make an endpoint that binds, or takes over what is inherited. Raises whatever its parser does."""
    systemd = description.startswith("systemd:")
    if descriptor is None:
        backlog = f":backlog={BACKLOG}" if _BINDS.match(description) else ""
        endpoint = serverFromString(reactor, description + backlog)
        if not systemd:
            return endpoint
        descriptor = endpoint.fileno
    adopting = AdoptingReactor(reactor, descriptor)
    return AdoptingEndpoint(adopting) if systemd else serverFromString(adopting, description)


class AdoptingReactor:
    """A reactor that takes a socket over where it is asked to bind one, for endpoints of any kind."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: object, factory: Factory, backlog: int = 50, interface: str = "") -> Any:
        """Take over a TCP socket."""
        del port, backlog, interface
        return self.adopt(factory)

    def listenSSL(self, port: object, factory: Any, **named: Any) -> Any:
        """Take over a TCP socket, and speak TLS there."""
        del port
        return self.adopt(TLSMemoryBIOFactory(named["contextFactory"], False, factory))

    def listenUNIX(self, path: object, factory: Factory, *others: object, **named: object) -> Any:
        """Take over a UNIX socket."""
        del path, others, named
        return self.adopt(factory)

    def adopt(self, factory: Any) -> Any:
        """Make the port."""
        with socket.socket(fileno=os.dup(self._descriptor)) as shared:
            family = shared.family
            shared.setblocking(False)
        if family == socket.AF_UNIX:
            port = AdoptedUNIXPort._fromListeningDescriptor(self._reactor, self._descriptor, factory)
            port.startListening()
        else:
            port = self._reactor.adoptStreamPort(self._descriptor, family, factory)
        os.close(self._descriptor)
        return port


@implementer(IStreamServerEndpoint)
class AdoptingEndpoint:
    """An endpoint that is nothing but the socket; it belongs to systemd."""

    def __init__(self, reactor: AdoptingReactor) -> None:
        self._reactor = reactor

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Take it over."""
        return succeed(self._reactor.adopt(factory))


class AdoptedUNIXPort(UNIXPort):
    """A UNIX socket that was bound before. Twisted's would set the mode of its path anew, for everybody."""

    factory: Any
    fileno: Any
    lockFile: Any

    def take_lock(self) -> None:
        """Put our number into the lock, if there is one: without a living owner the path is anybody's."""
        path = Path(os.fsdecode(self.getHost().name))
        lock, new = (path.with_name(path.name + end) for end in (".lock", ".lock.new"))
        with suppress(OSError):  # a directory that is not ours; the path stays in that case, too
            if lock.is_symlink():
                new.unlink(missing_ok=True)
                new.symlink_to(str(os.getpid()))
                new.replace(lock)
                self.lockFile = FilesystemLock(str(lock))

    def startListening(self) -> None:
        """Begin to accept."""
        self.factory.doStart()
        shared: Any = self._preexistingSocket
        self.socket, self._preexistingSocket = shared, None
        self.fileno = shared.fileno
        self._shouldShutdown = False
        self.connected = True
        self.numberAccepts = 100
        self.startReading()
