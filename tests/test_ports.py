"""Sockets that processes share: who takes one over changes nothing, who lets it go ends it for nobody."""

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.certificates import make_self_signed
from qpsmtpd.ports import BACKLOG, AdoptedUNIXPort, AdoptingEndpoint, PortService, endpoint_of


class Port:
    """What a reactor makes of an adopted TCP socket."""

    def __init__(self, descriptor: int, factory: Any) -> None:
        self.socket = socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM)
        self.fileno = self.socket.fileno
        self.factory = factory
        self.reading = True
        self.stopped = False

    def stopReading(self) -> None:
        self.reading = False

    def stopListening(self) -> None:
        self.stopped = True


class Reactor(MemoryReactorClock):
    """Adopts sockets."""

    def adoptStreamPort(self, descriptor: int, family: int, factory: Any) -> Port:
        assert family == socket.AF_INET
        self.adopted = Port(descriptor, factory)
        return self.adopted


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()

    def descriptor(self, family: int = socket.AF_INET) -> int:
        return socket.socket(family).detach()

    def service(self, description: str, descriptor: int | None, *, owned: bool = True) -> PortService:
        endpoint = endpoint_of(self.reactor, description, descriptor)
        service = PortService(endpoint, Factory(), description, owned=owned)
        service.privilegedStartService()
        return service


class BindingTests(Case):
    def test_clients_may_wait(self) -> None:
        """A burst of clients does not have to try again, unless the administrator wants fewer to wait."""
        for description in ("tcp:25", "haproxy:tcp:25:interface=127.0.0.1", "tcp:25:backlog=7"):
            self.service(description, None)
        self.service("unix:/run/smtp", None)
        self.assertEqual([BACKLOG, BACKLOG, 7], [backlog for _, _, backlog, _ in self.reactor.tcpServers])
        self.assertEqual([BACKLOG], [backlog for _, _, backlog, *_ in self.reactor.unixServers])


class AdoptionTests(Case):
    def test_tcp(self) -> None:
        """Nothing is bound; the descriptor that was inherited is not left open."""
        descriptor = self.descriptor()
        self.service("tcp:25", descriptor)
        self.assertEqual([], self.reactor.tcpServers)
        self.assertRaises(OSError, os.fstat, descriptor)
        self.assertFalse(os.get_blocking(self.reactor.adopted.fileno()))

    def test_systemd(self) -> None:
        """What systemd gave the first server is found by its line in the next."""
        self.service("systemd:domain=INET:index=7", self.descriptor())
        self.assertTrue(self.reactor.adopted.reading)

    def test_tls(self) -> None:
        """An endpoint that speaks TLS by itself still does."""
        directory = Path(self.mktemp())
        directory.mkdir()
        make_self_signed(directory / "cert", directory / "key", "mx.example")
        line = f"ssl:465:privateKey={directory / 'key'}:certKey={directory / 'cert'}"
        self.service(line, self.descriptor())
        self.assertIsInstance(self.reactor.adopted.factory, TLSMemoryBIOFactory)

    def test_unix(self) -> None:
        """The mode of a UNIX socket stays, whoever may change it."""
        path = Path(self.mktemp())
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o600)
        service = self.service(f"unix:{path}", listener.detach())
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        service.release()
        self.assertTrue(path.exists())

    def test_unix_of_another(self) -> None:
        """Who only shares it leaves path and lock; who owns it has the lock, and removes both."""
        with TemporaryDirectory() as directory:
            path, lock = Path(directory, "lmtp"), Path(directory, "lmtp.lock")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            lock.symlink_to("1")
            worker = self.service(f"unix:{path}", os.dup(listener.fileno()), owned=False)
            self.successResultOf(worker.stopService())
            self.assertEqual({path, lock}, set(path.parent.iterdir()))
            successor = self.service(f"unix:{path}", listener.detach(), owned=False)
            self.assertEqual("1", str(lock.readlink()))
            successor.own()
            self.assertEqual(str(os.getpid()), str(lock.readlink()))
            stopped = successor.stopService()
            self.reactor.advance(0)
            self.successResultOf(stopped)
            self.assertEqual([], list(path.parent.iterdir()))

    def test_unix_end(self) -> None:
        """Who has it last removes it."""
        path = Path(self.mktemp())
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        service = self.service(f"unix:{path}", listener.detach())
        assert isinstance(service._port, AdoptedUNIXPort)
        service._port.connectionLost(None)  # type: ignore[arg-type]
        self.assertFalse(path.exists())

    def test_none(self) -> None:
        """What is inherited by nobody is bound."""
        self.service("tcp:25", None)
        self.assertEqual([25], [server[0] for server in self.reactor.tcpServers])


class SharingTests(Case):
    def test_release(self) -> None:
        """It is closed here, and not shut down."""
        descriptor = self.descriptor()
        kept = os.dup(descriptor)
        self.addCleanup(os.close, kept)
        service = self.service("tcp:25", descriptor)
        service.release()
        service.release()
        self.successResultOf(service.stopService())
        port = self.reactor.adopted
        self.assertEqual((False, -1, False), (port.reading, port.socket.fileno(), port.stopped))
        os.fstat(kept)

    def test_hold(self) -> None:
        """A parent has the descriptor and accepts nothing."""
        service = self.service("tcp:25", self.descriptor())
        service.hold()
        self.assertEqual(self.reactor.adopted.fileno(), service.share())
        self.assertFalse(self.reactor.adopted.reading)

    def test_systemd_end(self) -> None:
        """What is systemd's is let go, never removed."""
        service = self.service("systemd:domain=INET:index=7", self.descriptor())
        self.assertIsInstance(service.endpoint, AdoptingEndpoint)
        self.successResultOf(service.stopService())
        self.assertFalse(self.reactor.adopted.stopped)

    def test_no_socket(self) -> None:
        """What is no socket cannot be shared, and the line of it is named."""
        service = self.service("tcp:25", None)
        error = self.assertRaises(LookupError, service.share)
        self.assertIn("tcp:25", str(error))
