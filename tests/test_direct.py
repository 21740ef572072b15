"""Replies that go straight to the socket."""

from errno import ECONNRESET, EWOULDBLOCK

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.direct import write_some


class Socket:
    """Takes so many octets at a time, or fails."""

    def __init__(self, room: int = 100, error: int = 0) -> None:
        self.room, self.error, self.sent = room, error, b""

    def fileno(self) -> int:
        return -1

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def send(self, octets: memoryview) -> int:
        if self.error:
            raise OSError(self.error, "")
        self.sent += bytes(octets[: self.room])
        return min(self.room, len(octets))


def connection(socket: Socket) -> Connection:
    """Make a TCP transport of Twisted's on a socket."""
    transport = Connection(socket, Protocol(), reactor=None)
    transport.connected = 1
    return transport


class WriteTests(SynchronousTestCase):
    """What is not written at once is given back, in order."""

    def test_everything_is_taken(self) -> None:
        socket = Socket()
        self.assertEqual(write_some(connection(socket), b"250 OK\r\n"), b"")
        self.assertEqual(socket.sent, b"250 OK\r\n")

    def test_a_part_is_taken(self) -> None:
        self.assertEqual(write_some(connection(Socket(room=3)), b"250 OK\r\n"), b" OK\r\n")

    def test_a_full_socket_takes_nothing(self) -> None:
        self.assertEqual(write_some(connection(Socket(error=EWOULDBLOCK)), b"250"), b"250")

    def test_an_error_is_left_to_the_transport(self) -> None:
        self.assertEqual(write_some(connection(Socket(error=ECONNRESET)), b"250"), b"250")

    def test_nothing_overtakes_what_is_queued(self) -> None:
        for queued in ({"dataBuffer": b"first"}, {"_tempDataBuffer": [b"first"]}):
            socket = Socket()
            transport = connection(socket)
            vars(transport).update(queued)
            self.assertEqual(write_some(transport, b"250"), b"250")
            self.assertEqual(socket.sent, b"")

    def test_tls_is_never_bypassed(self) -> None:
        socket = Socket()
        transport = connection(socket)
        transport.TLS = True
        self.assertEqual((write_some(transport, b"250"), socket.sent), (b"250", b""))

    def test_a_closed_connection_and_other_transports(self) -> None:
        transport = connection(Socket())
        transport.connected = 0
        self.assertEqual(write_some(transport, b"250"), b"250")
        self.assertEqual(write_some(StringTransport(), b"250"), b"250")
