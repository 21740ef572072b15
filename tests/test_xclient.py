"""XCLIENT and XFORWARD: a trusted proxy says who its client is."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DENY, OK
from qpsmtpd.testing import Client, MemoryResolver, Server

from .test_kit_smtpout_tls import certificate
from .wires import TLSClient

PROXY = "192.0.2.1"
DNS = MemoryResolver({"192.0.2.7": {"PTR": ["seven.example"]}})


class Case(SynchronousTestCase):
    def server(self, config: Any = (), hooks: Any = (), **options: Any) -> Server:
        self.told: list[str] = []
        own = {name: self.teller(name) for name in ("connect", "disconnect", "post-connection")}
        config = {"trusted_proxies": PROXY, **dict(config)}
        return Server(hooks={**own, **dict(hooks)}, config=config, **options)

    def teller(self, hook: str) -> Any:
        def tell(connection: Any) -> None:
            self.told.append(f"{hook} {connection.number} {connection.remote_ip}")

        return tell

    def connect(self, *arguments: Any, **options: Any) -> Client:
        client = self.server(*arguments, **options).connect(PROXY)
        client.read()
        return client


class TrustTests(Case):
    def test_stranger(self) -> None:
        """Nobody else is offered them, nor may use them."""
        client = self.server().connect("192.0.2.2")
        self.assertNotIn("XCLIENT", client.say("EHLO x"))
        for line in ("XCLIENT ADDR=192.0.2.7", "XFORWARD ADDR=192.0.2.7", "XCLIENT x"):
            self.assertEqual("550 5.7.0 insufficient authorization", client.say(line))
        self.assertEqual("192.0.2.2", client.connection.remote_ip)

    def test_offer(self) -> None:
        said = self.connect().say("EHLO x").splitlines()
        self.assertIn("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT", said)
        self.assertIn("250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE", said)

    def test_transaction(self) -> None:
        client = self.connect()
        client.say("EHLO x", "MAIL FROM:<a@b>")
        self.assertEqual("503", client.say("XCLIENT ADDR=192.0.2.7")[:3])
        self.assertEqual("503", client.say("XFORWARD ADDR=192.0.2.7")[:3])

    def test_syntax(self) -> None:
        client = self.connect()
        self.assertEqual("501", client.say("XCLIENT ADDR=here")[:3])
        self.assertEqual("501", client.say("XFORWARD")[:3])
        self.assertEqual(PROXY, client.connection.remote_ip)


class FactsTests(Case):
    def test_facts(self) -> None:
        """The facts land on the connection as if it had come directly."""
        client = self.connect()
        said = client.say(
            "XCLIENT NAME=seven.example ADDR=192.0.2.7 PORT=777 PROTO=SMTP HELO=h.example "
            "LOGIN=j+2Bg DESTADDR=192.0.2.99 DESTPORT=587"
        )
        self.assertTrue(said.startswith("220 mail.example.com ESMTP"), said)
        connection = client.connection
        self.assertEqual(("192.0.2.7", 777, "seven.example"), connection_facts(connection))
        self.assertEqual(("192.0.2.99", 587), (connection.local_ip, connection.local_port))
        self.assertEqual(("h.example", ""), (connection.hello_host, connection.hello))
        self.assertEqual(("j+g", "XCLIENT", True), user_facts(connection))
        self.assertEqual("YES", connection.notes["proxy"])

    def test_reset(self) -> None:
        """Nothing that was known of the proxy, or of its client before, is left."""
        client = self.connect({"reverse_dns": "0"})
        client.say("EHLO proxy.example", "XCLIENT LOGIN=joe")
        client.connection.notes["x"] = client.connection.naughty = "x"
        client.say("XCLIENT LOGIN=[UNAVAILABLE] ADDR=192.0.2.7")
        connection = client.connection
        self.assertEqual(("", "", False), user_facts(connection))
        self.assertEqual(("", ""), (connection.hello, connection.naughty))
        self.assertNotIn("x", connection.notes)
        self.assertEqual("503", client.say("MAIL FROM:<a@b>")[:3])

    def test_several(self) -> None:
        """Who has much to say needs several commands; each adds to those before."""
        client = self.connect({"reverse_dns": "0"})
        client.say("XCLIENT ADDR=192.0.2.7 PORT=7 NAME=seven.example", "XCLIENT PORT=8", "XCLIENT HELO=x")
        self.assertEqual(("192.0.2.7", 8, "seven.example"), connection_facts(client.connection))

    def test_name(self) -> None:
        """The name is looked up unless the proxy says something about it."""
        for attributes, expected in [
            ("ADDR=192.0.2.7", "seven.example"),
            ("ADDR=192.0.2.7 NAME=other.example", "other.example"),
            ("ADDR=192.0.2.7 NAME=[UNAVAILABLE]", "Unknown"),
            ("ADDR=192.0.2.7 NAME=[TEMPUNAVAIL]", "[192.0.2.7]"),
        ]:
            client = self.connect(dns=DNS)
            client.say("XCLIENT " + attributes)
            self.assertEqual(expected, client.connection.remote_host, attributes)

    def test_unknown(self) -> None:
        """A client of unknown address is not taken for the proxy."""
        client = self.connect()
        client.say("XCLIENT ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]")
        self.assertEqual(("0.0.0.0", 0), connection_facts(client.connection)[:2])
        self.assertEqual("UNKNOWN", client.connection.notes["proxy"])

    def test_own_access(self) -> None:
        """The right to say it stays with the proxy, whoever its client is."""
        client = self.connect()
        client.say("XCLIENT ADDR=192.0.2.7")
        self.assertIn("250-XCLIENT", client.say("EHLO x"))
        self.assertEqual("220", client.say("XCLIENT ADDR=192.0.2.8")[:3])


def connection_facts(connection: Any) -> tuple[str, int, str]:
    return connection.remote_ip, connection.remote_port, connection.remote_host


def user_facts(connection: Any) -> tuple[str, str, bool]:
    return connection.user, connection.auth_mechanism, connection.relay_client


class GreetingTests(Case):
    def test_hooks(self) -> None:
        """For plugins one connection ends and another begins, each told of once."""
        client = self.connect()
        client.say("XCLIENT ADDR=192.0.2.7")
        client.drop()
        self.assertEqual(
            [
                "connect 1 192.0.2.1",
                "disconnect 1 192.0.2.1",
                "post-connection 1 192.0.2.1",
                "connect 2 192.0.2.7",
                "disconnect 2 192.0.2.7",
                "post-connection 2 192.0.2.7",
            ],
            self.told,
        )

    def test_refused(self) -> None:
        """The plugins may refuse the client, as they would have at its connect."""
        hooks = {"connect": lambda connection: DENY("go away") if connection.remote_ip != PROXY else None}
        client = self.connect((), hooks)
        self.assertEqual("554", client.say("XCLIENT ADDR=192.0.2.7")[:3])
        self.assertTrue(client.closed)

    def test_slow_farewell(self) -> None:
        """What a plugin does about the end of the one does not hold up the other."""
        slow: Deferred[None] = Deferred()
        hooks = {"disconnect": lambda connection: slow if connection.remote_ip == PROXY else None}
        client = self.connect((), hooks)
        self.assertEqual("220", client.say("XCLIENT ADDR=192.0.2.7")[:3])
        client.drop()
        slow.callback(None)
        self.assertIn("post-connection 1 192.0.2.1", self.told)

    def test_counts(self) -> None:
        """Connections are counted for the client's address, and limited by it."""
        server = self.server({"trusted_proxies": [PROXY, "192.0.2.2"]}, max_from_ip=1)
        first, second = server.connect(PROXY), server.connect("192.0.2.2")
        first.say("XCLIENT ADDR=192.0.2.7")
        self.assertEqual({"192.0.2.7": 1, "192.0.2.2": 1}, server.factory.connections.counts.from_ip)
        self.assertEqual("220", first.say("XCLIENT ADDR=192.0.2.7")[:3])
        said = second.say("XCLIENT ADDR=192.0.2.7").splitlines()
        self.assertEqual("421 4.7.0 too many connections (1) from 192.0.2.7, try again later", said[-1])
        first.drop()
        second.drop()
        self.assertEqual({}, server.factory.connections.counts.from_ip)

    def test_tls_stays(self) -> None:
        """TLS is between the proxy and us."""
        server = self.server({"trusted_proxies": "192.168.1.1"}, tls_context=certificate().options())
        client = TLSClient(server)
        client.say(b"EHLO proxy.example\r\nSTARTTLS\r\n")
        client.handshake()
        self.assertEqual("220", client.secretly(b"XCLIENT ADDR=192.0.2.7\r\n")[:3])
        connection = client.protocol.session.connection
        self.assertEqual(("192.0.2.7", True), (connection.remote_ip, connection.tls is not None))
        client.transport.end()


class ForwardTests(Case):
    def test_kept(self) -> None:
        """What is forwarded is kept for the log, and changes nothing else."""
        client = self.connect()
        self.assertEqual("250 2.0.0 OK", client.say("XFORWARD NAME=a.example ADDR=192.0.2.7"))
        client.say("XFORWARD ident=4F1 SOURCE=REMOTE ADDR=[UNAVAILABLE]")
        expected = {"NAME": "a.example", "ADDR": "[UNAVAILABLE]", "IDENT": "4F1", "SOURCE": "REMOTE"}
        self.assertEqual(expected, client.connection.notes["xforward"])
        self.assertEqual(PROXY, client.connection.remote_ip)

    def test_one_message(self) -> None:
        """It is about the next message only."""
        seen: list[Any] = []
        hooks = {
            "rcpt": lambda: OK,
            "queue": lambda connection: seen.append(connection.notes.get("xforward")) or OK,
        }
        client = self.connect((), hooks)
        client.say("XFORWARD IDENT=1")
        client.mail()
        client.mail()
        self.assertEqual([{"IDENT": "1"}, None], seen)
