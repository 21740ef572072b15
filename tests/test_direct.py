"""Replies that go straight to the socket."""

import contextlib
from collections.abc import Callable
from errno import ECONNRESET, EWOULDBLOCK

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.direct import close, direct_writer, encrypting_writer, write_now
from qpsmtpd.tls import ServerTLS

from .test_tls import TLSTestCase, client


class Socket:
    """Takes so many octets at a time, or fails."""

    def __init__(self, room: int = 100, error: int = 0) -> None:
        self.room, self.error, self.sent = room, error, b""

    def fileno(self) -> int:
        return -1

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def shutdown(self, how: int) -> None:
        """Do nothing, as one that has gone."""

    def close(self) -> None:
        """Do nothing."""

    def send(self, octets: bytes) -> int:
        if self.error:
            raise OSError(self.error, "")
        self.sent += bytes(octets[: self.room])
        return min(self.room, len(octets))


class Transport(Connection):
    """A TCP transport of Twisted's that keeps what is left to it."""

    def __init__(self, socket: Socket) -> None:
        super().__init__(socket, Protocol(), MemoryReactorClock())
        self.connected = 1

    @property
    def left(self) -> bytes:
        return b"".join([self.dataBuffer, *self._tempDataBuffer])


class WriteTests(SynchronousTestCase):
    """What is not written at once is left to the transport, in order."""

    def written(self, socket: Socket, **facts: object) -> tuple[bytes, bytes]:
        """Give what the socket and what the transport got of a reply."""
        transport = Transport(socket)
        write = direct_writer(transport)
        vars(transport).update(facts)
        write(b"250 OK\r\n")
        return socket.sent, transport.left

    def test_everything_is_taken(self) -> None:
        self.assertEqual((b"250 OK\r\n", b""), self.written(Socket()))

    def test_a_part_is_taken(self) -> None:
        self.assertEqual((b"250", b" OK\r\n"), self.written(Socket(room=3)))

    def test_a_full_socket_takes_nothing(self) -> None:
        self.assertEqual((b"", b"250 OK\r\n"), self.written(Socket(error=EWOULDBLOCK)))

    def test_an_error_is_left_to_the_transport(self) -> None:
        self.assertEqual((b"", b"250 OK\r\n"), self.written(Socket(error=ECONNRESET)))

    def test_nothing_overtakes_what_is_queued(self) -> None:
        for queued in ({"dataBuffer": b"first"}, {"_tempDataBuffer": [b"first"]}):
            self.assertEqual((b"", b"first250 OK\r\n"), self.written(Socket(), **queued))

    def test_a_closed_connection(self) -> None:
        self.assertEqual((b"", b""), self.written(Socket(), connected=0))

    def test_other_transports_are_never_bypassed(self) -> None:
        transport = StringTransport()
        write = direct_writer(transport)
        self.assertEqual([transport.write] * 2, [write, encrypting_writer(transport, write)])


class EncryptedWriteTests(TLSTestCase):
    """In TLS the same goes for what is encrypted: it waits for nothing, and never goes out in clear."""

    def setUp(self) -> None:
        super().setUp()
        self.socket = Socket(room=100_000)
        self.reactor = MemoryReactorClock()
        self.transport = Connection(self.socket, Protocol(), self.reactor)
        vars(self.transport).update(connected=1, _tlsClientDefault=False)
        write = direct_writer(self.transport)
        self.transport.startTLS(ServerTLS(self.files).context_factory)
        self.write = encrypting_writer(self.transport, write)
        self.peer = client()
        while True:
            with contextlib.suppress(SSL.WantReadError):
                self.peer.do_handshake()
                break
            self.transport.protocol.dataReceived(self.peer.bio_read(100_000))
            self.carry()
        self.transport.protocol.dataReceived(self.peer.bio_read(100_000))

    def carry(self) -> None:
        """Bring what the socket has taken to the client."""
        sent, self.socket.sent = self.socket.sent, b""
        if sent:
            self.peer.bio_write(sent)

    def heard(self) -> bytes:
        """Give what the client can read by now."""
        self.carry()
        with contextlib.suppress(SSL.WantReadError):
            return self.peer.recv(1000)
        return b""

    def test_at_once(self) -> None:
        """The reactor has nothing to do with it, neither in the handshake nor later."""
        self.write(b"250 OK\r\n")
        self.assertNotIn(b"250 OK", self.socket.sent)
        self.assertEqual(b"250 OK\r\n", self.heard())
        self.assertEqual(([], set()), (self.reactor.getDelayedCalls(), set(self.reactor.writers)))

    def test_a_part_is_taken(self) -> None:
        """The rest is left to the transport; nothing overtakes it."""
        self.heard()
        self.socket.room = 3
        self.write(b"250 first\r\n")
        self.write(b"250 second\r\n")
        self.assertEqual(b"", self.heard())
        self.socket.room = 100_000
        self.transport.doWrite()
        self.assertEqual(b"250 first\r\n250 second\r\n", self.heard() + self.heard())

    def test_lost(self) -> None:
        """What is said to a client that has gone is lost with it, and no error."""
        self.transport.connectionLost(Failure(ConnectionDone()))
        self.socket.sent = b""
        self.write(b"250 OK\r\n")
        self.assertEqual(b"", self.socket.sent)


class Reactor:
    """Polls in a set of its own, and is just reading."""

    def __init__(self) -> None:
        self.poller = self
        self.due: list[bytes] = []

    def behind(self, act: object, transport: object, octets: bytes) -> None:
        self.due.append(octets)

    def flush(self) -> None:
        self.due.append(b"now")

    def close(self, transport: object, slow: Callable[[], None]) -> bool:
        self.due.append(b"close")
        return True


class LaterTests(SynchronousTestCase):
    """A transport of the poller's is written to when that has read what is ready."""

    def test_later_and_now(self) -> None:
        transport, reactor = Transport(Socket()), Reactor()
        transport.reactor = reactor
        direct_writer(transport)(b"250 OK\r\n")
        write_now(transport)
        self.assertEqual([b"250 OK\r\n", b"now"], reactor.due)

    def test_transports_without_a_poller(self) -> None:
        for transport in (Transport(Socket()), StringTransport()):
            write_now(transport)

    def test_close(self) -> None:
        """Plain transports of the poller's are closed by it; all others close themselves."""
        plain, encrypted, reactor = Transport(Socket()), Transport(Socket()), Reactor()
        plain.reactor = encrypted.reactor = reactor
        encrypted.TLS = True
        lost: list[object] = []
        slow: list[object] = []
        for transport in (plain, encrypted, StringTransport()):
            transport.loseConnection = lambda transport=transport: lost.append(transport)  # type: ignore
            close(transport, lambda transport=transport: slow.append(transport))
        self.assertEqual([b"close"], reactor.due)
        self.assertEqual(lost, slow)
        self.assertNotIn(plain, lost)
        self.assertEqual(2, len(lost))
