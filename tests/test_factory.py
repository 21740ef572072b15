"""The factory: embedding, limits, counts, names of clients."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DENY, OK
from qpsmtpd.factory import DNS_TIMEOUT, SMTPFactory
from qpsmtpd.testing import MemoryResolver, Server

EXAMPLE = Path(__file__).parents[1] / "examples" / "embed.py"
CONFIG = {"me": "mx.example", "reverse_dns": "0", "size_threshold": "1000"}
DRIVER = """
import runpy, smtplib, sys
from twisted.internet import endpoints, threads

listen = endpoints.TCP4ServerEndpoint.listen

def send(port):
    with smtplib.SMTP("127.0.0.1", port.getHost().port, timeout=20) as client:
        print(client.sendmail("a@b", ["x@example.org", "y@example.com"], "Subject: x\\n\\nx"), flush=True)

def listen_and_send(self, factory):
    def listening(port):
        threads.deferToThread(send, port).addBoth(lambda _: self._reactor.stop())
        return port
    return listen(self, factory).addCallback(listening)

endpoints.TCP4ServerEndpoint.listen = listen_and_send
sys.argv = [sys.argv[1], "0"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Case(SynchronousTestCase):
    def greetings(self, server: Server, *addresses: str) -> list[str]:
        self.clients = [server.connect(address) for address in addresses]
        return [client.read()[:9].rstrip() for client in self.clients]


class EmbeddingTests(SynchronousTestCase):
    """Hooks are functions, settings are values; there is no directory."""

    def factory(self) -> SMTPFactory:
        hooks = {"rcpt": lambda: OK, "queue": self.queue}
        return SMTPFactory(Clock(), hooks=hooks, config=CONFIG)

    def queue(self, transaction: Any) -> Any:
        self.body = transaction.body.path
        return OK("Queued!")

    def talk(self, factory: SMTPFactory, octets: bytes) -> str:
        transport = StringTransport()
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(transport)
        protocol.dataReceived(octets)
        self.addCleanup(protocol.connectionLost)
        return bytes(transport.value()).decode()

    def test_message(self) -> None:
        said = self.talk(
            self.factory(), b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n\r\nx\r\n.\r\nQUIT\r\n"
        )
        self.assertTrue(said.startswith("220 mx.example ESMTP"))
        self.assertIn("250 2.0.0 Queued!\r\n221", said)

    def test_large_message(self) -> None:
        """A message that does not fit into memory finds a place."""
        content = b"x" * 20000
        said = self.talk(
            self.factory(),
            b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n\r\n" + content + b"\r\n.\r\n",
        )
        self.assertIn("250 2.0.0 Queued!", said)
        self.assertFalse(self.body.exists())

    def test_several_lines(self) -> None:
        """A value may be a list of lines."""
        factory = SMTPFactory(Clock(), config={"me": "mx", "rcpthosts": ["a", "b"]})
        self.assertEqual(("a", "b"), tuple(factory.engine.config.lines("rcpthosts")))

    def test_other_addresses(self) -> None:
        """A client of a UNIX socket is local; an IPv4 address may come as an IPv6 one, and with a scope."""
        rows = (
            (UNIXAddress("/x"), "127.0.0.1"),
            (IPv6Address("TCP", "::ffff:192.0.2.1", 5), "192.0.2.1"),
            (IPv6Address("TCP", "::ffff:c000:201", 5), "192.0.2.1"),
            (IPv6Address("TCP", "::ffff:0:c000:201", 5), "::ffff:0:c000:201"),
            (IPv6Address("TCP", "fe80::1%eth0", 5), "fe80::1"),
        )
        for peer, address in rows:
            transport = StringTransport(peerAddress=peer)
            protocol = self.factory().buildProtocol(None)
            protocol.makeConnection(transport)
            self.assertEqual(address, protocol.session.connection.remote_ip)
            protocol.connectionLost()

    def test_example(self) -> None:
        """The example in the documentation receives a message."""
        arguments = [sys.executable, "-c", DRIVER, str(EXAMPLE)]
        ran = subprocess.run(
            arguments, check=True, capture_output=True, text=True, timeout=60, cwd=EXAMPLE.parents[1]
        )
        self.assertIn("from a@b to [Recipient(<x@example.org>)]: ", ran.stdout)
        self.assertIn("we have no such domain", ran.stdout)


class LimitTests(Case):
    def test_all(self) -> None:
        """Past the limit a client is told to come again."""
        server = Server(max_connections=2)
        expected = ["220 mail.", "220 mail.", "421 4.3.2"]
        self.assertEqual(expected, self.greetings(server, "192.0.2.1", "192.0.2.2", "192.0.2.3"))
        self.assertTrue(self.clients[2].closed)

    def test_place_becomes_free(self) -> None:
        server = Server(max_connections=1)
        self.greetings(server, "192.0.2.1")
        self.clients[0].drop()
        self.assertEqual(["220 mail."], self.greetings(server, "192.0.2.2"))

    def test_from_ip(self) -> None:
        server = Server(max_from_ip=1)
        expected = ["220 mail.", "421 4.7.0", "220 mail."]
        self.assertEqual(expected, self.greetings(server, "192.0.2.1", "192.0.2.1", "192.0.2.2"))

    def test_refused_do_not_count(self) -> None:
        """Who was refused takes no place, however long the connection lingers."""
        server = Server(max_from_ip=1)
        self.greetings(server, *["192.0.2.1"] * 5)
        self.assertEqual(
            (1, 1), (len(server.factory.connections), server.factory.connections.counts.from_ip["192.0.2.1"])
        )
        self.clients[0].drop()
        self.assertEqual(["220 mail."], self.greetings(server, "192.0.2.1"))

    def test_plugin_counts(self) -> None:
        """A plugin that counts for itself is told the numbers, and decides."""
        seen: list[Any] = []
        hooks = {
            "pre-connection": lambda connections_from_ip, max_from_ip: seen.append(
                (connections_from_ip, max_from_ip)
            )
        }
        server = Server(hooks=hooks, max_from_ip=1)
        self.assertEqual(["220 mail."] * 2, self.greetings(server, "192.0.2.1", "192.0.2.1"))
        self.assertEqual([(1, 1), (2, 1)], seen)

    def test_plugins_do_not_hear(self) -> None:
        """Plugins hear neither of the coming nor of the going of those who were refused."""
        heard: list[str] = []
        names = ("connect", "reset_transaction", "disconnect", "post-connection")
        server = Server(
            hooks={name: lambda name=name: heard.append(name) for name in names}, max_connections=1
        )
        self.greetings(server, "192.0.2.1")
        heard.clear()
        self.greetings(server, "192.0.2.2")
        self.assertEqual([], heard)

    def test_nothing_left(self) -> None:
        """When all are gone nothing is counted, and no timer runs."""
        server = Server(max_connections=2)
        self.greetings(server, *["192.0.2.1"] * 4)
        for client in self.clients:
            client.drop()
        self.assertEqual(
            (0, {}), (len(server.factory.connections), dict(server.factory.connections.counts.from_ip))
        )
        self.assertEqual([], server.clock.getDelayedCalls())


class PreConnectionTests(Case):
    def test_refused(self) -> None:
        """Who is refused there is not looked up."""
        dns = MemoryResolver()
        server = Server(hooks={"pre-connection": lambda: DENY("go")}, dns=dns)
        self.assertEqual(["554 5.7.1"], self.greetings(server, "192.0.2.1"))
        self.assertEqual([], dns.asked)


class NameTests(Case):
    def name(self, address: str = "192.0.2.1", dns: MemoryResolver | None = None, **config: str) -> str:
        self.server = Server(dns=dns, config=config)
        client = self.server.connect(address)
        self.server.clock.advance(DNS_TIMEOUT)
        self.assertEqual("220", client.read()[:3])
        return str(client.connection.remote_host)

    def test_found(self) -> None:
        dns = MemoryResolver({"192.0.2.1": {"PTR": ["mx.example.net"]}})
        self.assertEqual("mx.example.net", self.name(dns=dns))

    def test_none(self) -> None:
        """The word that log tools know."""
        self.assertEqual("Unknown", self.name())

    def test_failed(self) -> None:
        self.assertEqual("Unknown", self.name(dns=MemoryResolver(failed={"192.0.2.1"})))

    def test_silence(self) -> None:
        """A name server that does not answer holds nobody up for long."""
        self.assertEqual("[192.0.2.1]", self.name(dns=MemoryResolver(silent={"192.0.2.1"})))

    def test_local(self) -> None:
        self.assertEqual("localhost", self.name("127.0.0.1"))
        self.assertEqual("localhost", self.name("::1"))

    def test_switched_off(self) -> None:
        self.assertEqual("[192.0.2.1]", self.name(reverse_dns="0"))

    def test_vanishes(self) -> None:
        """A client that leaves meanwhile is not waited for."""
        server = Server(dns=MemoryResolver(silent={"192.0.2.1"}))
        server.connect().drop()
        self.assertEqual([], server.clock.getDelayedCalls())


class SharedEngineTests(SynchronousTestCase):
    def test_tls(self) -> None:
        """Of two factories that share an engine only the one with a certificate offers TLS."""
        server = Server(config={"reverse_dns": "0"}, tls_context=object())
        other = SMTPFactory(server.clock, server.engine)
        offers = []
        for factory in (server.factory, other):
            protocol = factory.buildProtocol(None)
            protocol.makeConnection(transport := StringTransport())
            protocol.dataReceived(b"EHLO x\r\n")
            offers.append(b"STARTTLS" in transport.value())
            protocol.connectionLost()
        self.assertEqual([True, False], offers)
