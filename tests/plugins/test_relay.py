"""relay."""

from twisted.internet.address import IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENYSOFT, OK, ConfigError
from qpsmtpd.proxied import ProxiedFactory
from qpsmtpd.testing import Server, Tried
from qpsmtpd.testing.server import MemoryTransport
from tests.plugins.test_badmailfrom import samples


def relays(ip, **config):
    """Tell whether a client may relay."""
    plugin = Tried("relay", config=config, ip=ip)
    answer = plugin.ask("connect")
    assert answer == DECLINED
    return plugin.connection.relay_client


class AddressTests(SynchronousTestCase):
    """Clients that may relay by their address."""

    def test_relayclients(self):
        """Addresses, leading parts and networks, their first and last address included."""
        rows = [
            ("192.0.", "192.0.1.1", True),
            ("192.0.", "192.51.1.1", False),
            ("192.0.", "203.0.113.0", False),
            ("192.0.1.1", "192.0.1.1", True),
            ("192.0.1.1", "192.0.1.11", False),
            ("192.0.1.0/24", "192.0.1.1", True),
            ("192.0.0.0/24", "192.0.1.1", False),
            ("192.0.1.0/24", "192.0.1.0", True),
            ("192.0.1.0/24", "192.0.1.255", True),
            ("192.0.1.1/32", "192.0.1.1", True),
            ("192.0.1.0/31", "192.0.1.1", True),
            ("192.0.1.77/24", "192.0.1.1", True),
            ("fdda:b13d:e431:ae06::/64", "fdda:b13d:e431:ae06:a1::", True),
            ("fdda:b13d:e431:ae06::", "fdda:b13d:e431:ae06:a1::", False),
            ("2001:DB8::1/32", "2001:db8:ffff::", True),
            ("2001:DB8::1/128", "2001:db8::1", True),
            ("2001:db8:", "2001:db8:1::1", True),
            ("2001:0db8:1", "2001:db8:1fff::1", True),
            ("2001:0db8:1", "2001:db8:2000::1", False),
            ("2001:DB8::0001", "2001:db8::1", True),
        ]
        for line, ip, expected in rows:
            self.assertIs(expected, relays(ip, relayclients=[line]), (line, ip))

    def test_norelayclients(self):
        """They have precedence, in every form."""
        lines = ["192.0.99.5", "192.0.99.6", "192.0.98.", "2001:db8:", "198.51.100.0/25"]
        rows = {
            "192.0.99.5": False,
            "192.0.98.1": False,
            "192.0.98.255": False,
            "192.0.99.7": True,
            "192.0.109.7": True,
            "198.51.100.127": False,
            "198.51.100.128": True,
            "2001:db8::1": False,
            "2001:db9::1": True,
        }
        for ip, expected in rows.items():
            config = {"norelayclients": lines, "relayclients": ["0.0.0.0/0", "::/0"]}
            self.assertIs(expected, relays(ip, **config), ip)

    def test_localhost(self):
        """::1 may relay unless it is forbidden; 127.0.0.1 if it is listed."""
        self.assertTrue(relays("::1"))
        self.assertFalse(relays("::1", norelayclients=["::1"]))
        self.assertFalse(relays("127.0.0.1"))
        self.assertTrue(relays("127.0.0.1", relayclients=["127.0.0.1"]))

    def test_localhost_behind_proxy(self):
        """A proxy's word for ::1 is not enough, nor its own address where it names none."""
        for header in (b"PROXY TCP6 ::1 ::1 1 25\r\n", b"PROXY UNKNOWN x\r\n", None):
            server = Server(["relay"], config={"trusted_proxies": "::1"})
            local = IPv6Address("TCP", "::1", 1)
            transport = MemoryTransport(local, local)
            transport.clock = server.clock
            factory = ProxiedFactory(server.factory) if header else server.factory
            transport.protocol = factory.buildProtocol(local)
            transport.protocol.makeConnection(transport)
            transport.protocol.dataReceived(header or b"")
            self.assertIn(b"220 ", transport.value())
            self.assertIs(header is None, server.logged("relay: pass, localhost"), header)

    def test_database(self):
        """Keys are addresses and leading parts, IPv6 in full, with or without the colon."""
        rows = [
            ("192.0.2.1", "192.0.2.1", True),
            ("192.0.2.", "192.0.2.1", True),
            ("192.0.", "192.0.2.1", True),
            ("192.", "192.0.2.1", True),
            ("192.0.2", "192.0.2.1", False),
            ("2001:db8::1", "2001:db8::1", True),
            ("2001:0db8", "2001:db8::1", True),
            ("2001:0db8:", "2001:db8::1", True),
            ("2001:0db8:0", "2001:db8::1", True),
            ("2001:0db8:1", "2001:db8::1", False),
        ]
        for key, ip, expected in rows:
            self.assertIs(expected, relays(ip, **{"morerelayclients.cdb": [f"{key} 1"]}), (key, ip))

    def test_log(self):
        """One line each: pass, fail, or the words that log tools know."""
        config = {"norelayclients": "192.0.2.1", "relayclients": "192.0.2.", "morerelayclients.cdb": ["10."]}
        rows = {
            "192.0.2.1": "fail, 192.0.2.1 is in norelayclients",
            "192.0.2.2": "pass, 192.0.2.2 is 192.0.2. in relayclients",
            "10.0.0.1": "pass, 10.0.0.1 is 10. in morerelayclients",
            "::1": "pass, localhost",
            "192.0.3.1": "skip, no match",
        }
        for ip, expected in rows.items():
            plugin = Tried("relay", config=config, ip=ip)
            plugin.ask("connect")
            self.assertEqual([expected], plugin.log)

    def test_forbidden_again(self):
        """norelayclients takes back what a plugin before has granted; nothing else does."""
        for name, expected in [("norelayclients", False), ("unrelated", True)]:
            plugin = Tried("relay", config={name: "192.0.2.1"})
            plugin.connection.relay_client = True
            plugin.ask("connect")
            self.assertIs(expected, plugin.connection.relay_client)

    def test_bad_line(self):
        """A line that names no network stops the start, in either file."""
        for name in ("norelayclients", "relayclients"):
            error = self.assertRaises(ConfigError, relays, "192.0.2.1", **{name: ["10.0.0.1", "localhost"]})
            self.assertIn(f"{name}>:2:", str(error))


class OnlyTests(SynchronousTestCase):
    """relay only."""

    def ask(self, line, may):
        plugin = Tried(line)
        plugin.connection.relay_client = may
        return plugin.ask("rcpt", recipient="b@example.org")

    def test_only(self):
        """Who may relay is accepted, all others are refused."""
        for line in ("relay only", "relay only 1"):
            self.assertEqual(OK, self.ask(line, True))
            self.assertEqual((DENY.code, "5.7.1"), (self.ask(line, False).code, self.ask(line, False).status))

    def test_off(self):
        """Without it recipients are the business of others."""
        for line in ("relay", "relay only 0"):
            self.assertFalse(Tried(line).registry.has("rcpt"), line)

    def test_reject_type(self):
        """The refusal can be another one."""
        self.assertEqual(DENYSOFT.code, self.ask("relay only reject_type soft", False).code)

    def test_bad_argument(self):
        """Unknown words stop the start."""
        for line in ("relay only 2", "relay all"):
            self.assertRaises(ConfigError, Tried, line)

    def test_later_plugins_are_not_asked(self):
        """OK ends the hook, in front of those that check recipients."""
        server = Server(["relay only"], hooks={"rcpt": lambda: DENY}, config={"relayclients": "192.0.2.1"})
        client = server.connect()
        said = client.say("HELO c.example", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>")
        self.assertTrue(said.splitlines()[-1].startswith("250 "))


class SampleTests(SynchronousTestCase):
    """The shipped configuration."""

    def test_samples(self):
        """What the files shows, commented out, is good as it stands."""
        reported = []
        plugin = Tried(
            "relay",
            config={"norelayclients": samples("norelayclients"), "relayclients": samples("relayclients")},
        )
        plugin.services.config.report = reported.append
        plugin.plugin.forbidden.check()
        plugin.plugin.allowed.check()
        self.assertEqual([], reported)
