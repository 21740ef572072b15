"""Buffers of TLS connections: what they keep, and that nothing in them is lost."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from types import SimpleNamespace
from unittest import SkipTest
from unittest.mock import patch

from OpenSSL import SSL
from twisted.internet.testing import StringTransport

from qpsmtpd import tlsbuffers
from qpsmtpd.tls import ServerTLS

from .test_tls import TLSTestCase, carry, client, layer, shake
from .tlsrecords import Records, recording_client

MESSAGE = b"line\r\n" * 10_000  # no more than a transport reads at once
REPLY = b"250 2.0.0 Queued!\r\n"
SESSIONS = 50


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2`, see mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated() -> int:
    """Tell how many octets malloc has given away."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        raise SkipTest("only glibc tells what is allocated")
    ask.restype = _Mallinfo
    gc.collect()
    found = ask()
    given: int = found.uordblks + found.hblkhd
    return given


def received(connection: SSL.Connection, size: int = 65536) -> bytes:
    """Read all that has come, so much at a time."""
    octets = b""
    with contextlib.suppress(SSL.WantReadError):
        while True:
            octets += connection.recv(size)
    return octets


class BufferTests(TLSTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tls = ServerTLS(self.files)

    def exchange(
        self, peer: SSL.Connection, server: SSL.Connection, message: bytes, reply: bytes = REPLY
    ) -> None:
        """Send a message and read the reply."""
        peer.sendall(message)
        server.bio_write(peer.bio_read(100_000))
        self.assertEqual(message, received(server))
        server.sendall(reply)
        peer.bio_write(server.bio_read(100_000))
        self.assertEqual(reply, received(peer))

    def session(self, message: bytes, reply: bytes, version: int) -> SSL.Connection:
        """Give the server's end of a session whose client has sent a message and has read the reply."""
        peer = client(maximum=version)
        server = shake(self.tls, peer)
        self.exchange(peer, server, message, reply)
        return server

    def each(
        self, message: bytes = b"NOOP\r\n", reply: bytes = REPLY, version: int = SSL.TLS1_3_VERSION
    ) -> int:
        """Tell how many octets a session takes that is idle after a message and a reply."""
        self.session(message, reply, version)  # what is made once
        before = allocated()
        sessions = [self.session(message, reply, version) for _ in range(SESSIONS)]
        return (allocated() - before) // len(sessions)

    def test_message(self) -> None:
        """A session keeps no room for the message that it has sent, nor for a long reply."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            idle = self.each(version=version)
            self.assertLess(self.each(MESSAGE, version=version), idle + 300)
            self.assertLess(self.each(reply=MESSAGE, version=version), idle + 300)

    def test_handshake(self) -> None:
        """Nor does it keep room for the handshake."""
        idle = self.each()
        with patch.object(tlsbuffers, "_lib", None):
            self.assertGreater(self.each(), idle + 500)

    def test_unknown_names(self) -> None:
        """Where pyOpenSSL's names are not as we know them all works, in buffers that stay large."""
        for name, without in (("_lib", SimpleNamespace(BIO_new=None)), ("_ffi", None)):
            with patch.object(tlsbuffers, name, without):
                self.assertGreater(self.each(MESSAGE), 80_000)

    def test_pipelined(self) -> None:
        """What has come is read to its end, wherever a reply is given meanwhile."""
        for size in (1, 7, 1000, 16384):
            peer = client()
            server = shake(self.tls, peer)
            sent = [bytes([65 + number]) * 5000 for number in range(6)]
            for each in sent:
                peer.sendall(each)
            wire, read = peer.bio_read(100_000), b""
            for start in range(0, len(wire), 7001):
                server.bio_write(wire[start : start + 7001])
                with contextlib.suppress(SSL.WantReadError):
                    read += server.recv(size)
                server.sendall(REPLY)
                carry(server, peer)
            read += received(server, size)
            self.assertEqual(b"".join(sent), read)
            self.assertEqual(REPLY * -(-len(wire) // 7001), received(peer))
            self.exchange(peer, server, b"QUIT\r\n")

    def test_read_at_once(self) -> None:
        """What is for the client is given whole, however little is asked for."""
        for size in (1000, 1 << 15, 1 << 20):
            peer = client()
            server = shake(self.tls, peer)
            self.exchange(peer, server, MESSAGE)
            server.sendall(MESSAGE)
            peer.bio_write(server.bio_read(size))
            self.assertRaises(SSL.WantReadError, server.bio_read, size)
            self.assertEqual(MESSAGE, received(peer))
            self.exchange(peer, server, b"QUIT\r\n")

    def test_key_updates(self) -> None:
        """What TLS answers by itself goes out at once, however much a client asks for."""
        peer, keylog = recording_client()
        transport = StringTransport()
        server = layer(self.tls.context_factory)
        server.makeConnection(transport)
        for _ in range(2):
            with contextlib.suppress(SSL.WantReadError):
                peer.do_handshake()
            server.dataReceived(peer.bio_read(65536))
            peer.bio_write(transport.value())
            transport.clear()
        records = Records(keylog)
        for _ in range(3):
            asked = b"".join(records.key_update() for _ in range(2000))
            self.assertGreater(len(asked), 50_000)
            server.dataReceived(asked)
            self.assertGreater(len(transport.value()), len(asked) - 100)
            transport.clear()
        server.write(REPLY)
        self.assertLess(len(transport.value()), 100)

    def test_end(self) -> None:
        """Who was told that nothing more comes knows it still when something has been said."""
        peer = client()
        server = shake(self.tls, peer)
        peer.sendall(MESSAGE[:1000])
        carry(peer, server)
        server.bio_shutdown()
        self.assertEqual(MESSAGE[:1000], server.recv(1000))
        server.sendall(REPLY)
        carry(server, peer)
        error = self.assertRaises(SSL.Error, received, server)
        self.assertNotIsInstance(error, SSL.WantReadError)
