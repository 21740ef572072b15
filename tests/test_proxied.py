"""Clients behind a load balancer that speaks the PROXY protocol."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import AccumulatingProtocol, StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.factory import Functions
from qpsmtpd.proxied import HEADER_TIMEOUT, ProxiedFactory
from qpsmtpd.testing import Server

from .test_kit_smtpout_tls import certificate
from .wires import TLSClient, TLSTransport

HEADER = b"PROXY TCP4 192.0.2.77 192.0.2.25 5555 25\r\n"
MAPPED = bytes(10) + b"\xff\xff\xc0\x00\x02\x4d"
TRUSTED = "192.168.1.0/24"
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


class ProxiedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(
            hooks={"connect": self.connect},
            config={"reverse_dns": "0", "trusted_proxies": TRUSTED},
            tls_context=certificate().options(),
        )
        self.clock = self.server.clock
        self.seen: list[str] = []
        self.client = self.proxied()

    def tearDown(self) -> None:
        self.clock.advance(0)
        self.client.transport.end()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(0, len(self.server.factory.connections))

    def connect(self, connection: Any) -> None:
        self.seen.append(connection.remote_ip)

    def proxied(self, **options: bool) -> TLSClient:
        client = TLSClient.__new__(TLSClient)
        self.server.factory._implicit_tls = options.get("implicit", False)
        client.transport = TLSTransport()
        client.transport.clock = self.clock
        client.protocol = ProxiedFactory(self.server.factory).buildProtocol(None)
        client.transport.protocol = client.protocol
        client.protocol.makeConnection(client.transport)
        return client

    def test_waits(self) -> None:
        """Nobody is greeted, nor judged, before the balancer has said who it is."""
        self.assertEqual("", self.client.read())
        self.assertEqual("", self.client.say(HEADER[:20]))
        self.assertEqual([], self.seen)
        self.assertEqual("220", self.client.say(HEADER[20:])[:3])
        self.assertEqual(["192.0.2.77"], self.seen)

    def test_same_segment(self) -> None:
        """What comes behind the header in the same segment is not lost."""
        said = self.client.say(HEADER + b"NOOP\r\n")
        self.assertEqual(["220", "250"], [line[:3] for line in said.splitlines()])

    def test_half_closed(self) -> None:
        """A client that says QUIT and shuts its side while a plugin waits is answered; any other is cut."""
        answer: Deferred[None] = Deferred()
        self.server.registry.add(Functions(self.server.services, {"vrfy": lambda: answer}))
        self.client.say(HEADER)
        self.assertEqual("", self.client.say(b"VRFY x\r\nQUIT\r\n"))
        self.client.protocol.readConnectionLost()
        answer.callback(None)
        self.assertEqual(["252", "221"], [line[:3] for line in self.client.read().splitlines()])
        for said in (b"", HEADER, HEADER[:20]):
            self.client = self.proxied()
            self.client.say(said)
            self.client.protocol.readConnectionLost()
            self.assertTrue(self.client.transport.disconnecting)

    def test_health_check(self) -> None:
        """The balancer may speak for itself."""
        self.assertEqual("220", self.client.say(LOCAL)[:3])
        self.assertEqual([self.client.transport.getPeer().host], self.seen)

    def test_no_header(self) -> None:
        """Who does not begin with a header is cut."""
        self.client.say(b"EHLO client.example\r\n")
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual([], self.seen)

    def test_silence(self) -> None:
        """A balancer that has begun does not get more time, either."""
        self.client.say(HEADER[:20])
        self.clock.advance(HEADER_TIMEOUT)
        self.assertTrue(self.client.transport.disconnecting)
        self.assertEqual("", self.client.say(HEADER[20:]))
        self.assertTrue(self.server.logged("closed the connection from 192.168.1.1: no PROXY header in time"))

    def test_stranger(self) -> None:
        """Who is no trusted proxy is closed before it can say anything, and told nothing."""
        self.client.transport.end()
        for config in ({"reverse_dns": "0"}, {"reverse_dns": "0", "trusted_proxies": "192.0.2.0/24"}):
            self.server = Server(hooks={"connect": self.connect}, config=config)
            self.clock = self.server.clock
            self.client = self.proxied()
            self.assertTrue(self.client.transport.disconnecting)
            self.assertEqual("", self.client.say(HEADER))
            self.assertTrue(self.server.logged("from 192.168.1.1: not in trusted_proxies"))
            self.client.transport.end()
        self.assertEqual([], self.seen)

    def test_facts(self) -> None:
        """All that is known of a connection is what it was in front of the balancer."""
        self.client.say(HEADER)
        connection = self.client.protocol.wrappedProtocol.session.connection
        facts = (connection.remote_ip, connection.remote_port, connection.local_ip, connection.local_port)
        self.assertEqual(("192.0.2.77", 5555, "192.0.2.25", 25), facts)
        self.assertEqual({"192.0.2.77": 1}, self.server.factory.connections.counts.from_ip)

    def test_trust(self) -> None:
        """A proxy behind a proxy may speak for others; a client of unknown address may not."""
        for header, trusted in [
            (HEADER, False),
            (HEADER.replace(b"192.0.2.77", b"192.168.1.9"), True),
            (b"PROXY UNKNOWN\r\n", False),
            (LOCAL, False),
        ]:
            self.client.transport.end()
            self.client = self.proxied()
            self.client.say(header)
            self.assertEqual(trusted, "250-XCLIENT" in self.client.say(b"EHLO x\r\n"), header)

    def test_mapped(self) -> None:
        """A client of IPv4 has its usual address behind a balancer that listens for both families at once."""
        binary = b"\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24" + 2 * MAPPED + b"\x15\xb3\x00\x19"
        for header in (b"PROXY TCP6 ::ffff:192.0.2.77 ::FFFF:c000:0219 5555 25\r\n", binary):
            self.client.transport.end()
            self.client = self.proxied()
            self.assertEqual("220", self.client.say(header)[:3])
        self.assertEqual(["192.0.2.77"] * 2, self.seen)

    def test_octet_by_octet(self) -> None:
        for octet in HEADER + b"QUIT\r\n":
            self.client.transport.protocol.dataReceived(bytes((octet,)))
        self.assertEqual(["220", "221"], [line[:3] for line in self.client.read().splitlines()])

    def test_starttls(self) -> None:
        """TLS behind the header works as without."""
        self.client.say(HEADER)
        self.assertEqual("220", self.client.say(b"STARTTLS\r\n")[:3])
        self.client.handshake()
        self.assertEqual("250 2.0.0 OK\r\n", self.client.secretly(b"NOOP\r\n"))

    def test_implicit_tls(self) -> None:
        self.client.transport.end()
        self.client = self.proxied(implicit=True)
        self.client.say(HEADER)
        self.client.handshake()
        self.assertEqual("220", self.client.inner.data.decode()[:3])

    def test_implicit_tls_same_segment(self) -> None:
        """What comes behind the header is the handshake: nothing in clear gets past it."""
        self.client.transport.end()
        self.client = self.proxied(implicit=True)
        inner = AccumulatingProtocol()
        wire = StringTransport()
        layer = TLSMemoryBIOProtocol(TLSMemoryBIOFactory(CertificateOptions(), True, None), inner)
        layer.makeConnection(wire)
        self.client.inner, self.client.wire, self.client.layer = inner, wire, layer
        self.client.say(HEADER + wire.value())
        wire.clear()
        self.client.pump()
        self.assertEqual(b"220", inner.data[:3])
