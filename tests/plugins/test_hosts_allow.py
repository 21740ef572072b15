"""hosts_allow."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENY_DISCONNECT, DENYSOFT, OK, ConfigError
from qpsmtpd.testing import Server, Tried
from tests.plugins.test_badmailfrom import samples

LIST = [
    "192.0.2.7 DECLINED",
    "192.0.2.0/24 DENY go away",
    "198.51.100.9/24 DENYSOFT",
    "2001:db8::/32 deny_disconnect not you",
    "203.0.113. OK welcome",
    "203.0.113.1 DENY",
    "192.0.2.99/33 DENY",
]


def tried(ip, lines=LIST, line="hosts_allow"):
    return Tried(line, config={"hosts_allow": lines}, ip=ip)


class LimitTests(SynchronousTestCase):
    """The number of connections."""

    def ask(self, count, limit, history=None):
        plugin = tried("192.0.2.7", [])
        if history is not None:
            plugin.connection.notes["karma_history"] = history
        return plugin.ask("pre-connection", connections_from_ip=count, max_from_ip=limit)

    def test_limit(self):
        """The limit itself passes, one more does not; history moves it, where there is a limit."""
        rows = [
            (DECLINED, 5, 5, None),
            (DENYSOFT, 6, 5, None),
            (DECLINED, 999, 0, None),
            (DECLINED, 999, 0, -1),
            (DECLINED, 8, 5, 6),
            (DENYSOFT, 9, 5, 6),
            (DECLINED, 5, 5, 5),
            (DENYSOFT, 6, 5, 5),
            (DECLINED, 5, 5, 1),
            (DECLINED, 1, 5, 0),
            (DENYSOFT, 2, 5, 0),
            (DENYSOFT, 2, 5, -3),
        ]
        for expected, *facts in rows:
            self.assertEqual(expected.code, self.ask(*facts).code, facts)

    def test_text_and_log(self):
        """The client learns its address, the log the numbers."""
        plugin = tried("192.0.2.7", [])
        answer = plugin.ask("pre-connection", connections_from_ip=6, max_from_ip=5)
        self.assertIn("192.0.2.7", answer.text)
        self.assertEqual(["fail, 6 connections from 192.0.2.7, 5 allowed"], plugin.log)

    def test_log_of_karma(self):
        """A limit that is not the configured one is logged."""
        for history, expected in [(6, "karma 6, limit 8"), (0, "karma 0, limit 1"), (3, "pass")]:
            plugin = tried("192.0.2.7", [])
            plugin.connection.notes["karma_history"] = history
            plugin.ask("pre-connection", connections_from_ip=1, max_from_ip=5)
            self.assertEqual(expected, plugin.log[0])

    def test_limit_before_list(self):
        """Who is admitted by the list is counted, too."""
        answer = tried("203.0.113.1").ask("pre-connection", connections_from_ip=2, max_from_ip=1)
        self.assertEqual(DENYSOFT.code, answer.code)


class ListTests(SynchronousTestCase):
    """The list."""

    def test_first_match(self):
        """The first line decides, in both families, wherever the network begins."""
        rows = {
            "192.0.2.7": DECLINED,
            "192.0.2.8": DENY("go away"),
            "198.51.100.200": DENYSOFT,
            "2001:db8:1::1": DENY_DISCONNECT("not you"),
            "203.0.113.1": OK("welcome"),
            "10.0.0.1": DECLINED,
        }
        for ip, expected in rows.items():
            answer = tried(ip).ask("pre-connection", connections_from_ip=1, max_from_ip=0)
            self.assertEqual(expected, answer, ip)

    def test_log(self):
        """A refusal is logged with its text, or with the address."""
        rows = {
            "192.0.2.8": "fail, go away",
            "198.51.100.1": "fail, 198.51.100.1 is listed",
            "10.0.0.1": "pass",
        }
        for ip, expected in rows.items():
            plugin = tried(ip)
            plugin.ask("pre-connection", connections_from_ip=1, max_from_ip=0)
            self.assertEqual([expected], plugin.log)

    def test_odd_lines(self):
        """An unknown verdict admits, a line without one is skipped; both are reported with their line."""
        reported = []
        plugin = tried("192.0.2.1", ["192.0.2.1", "192.0.2.1 NO", "192.0.2.0/24 DENY", "10.0.0.1/8 DENY"])
        plugin.services.config.report = reported.append
        plugin.plugin.verdicts.check()
        answer = plugin.ask("pre-connection", connections_from_ip=1, max_from_ip=0)
        self.assertEqual(DECLINED, answer)
        self.assertEqual([1, 2, 4], sorted(int(line.split(":")[1]) for line in reported))

    def test_no_network(self):
        """A line that names no network stops the start, with its number."""
        error = self.assertRaises(ConfigError, tried, "192.0.2.1", ["10.0.0.1", "10.0.0.1 OK", "foo DENY"])
        self.assertIn("hosts_allow>:3:", str(error))

    def test_tolerated(self):
        """reject 0 only logs."""
        plugin = tried("192.0.2.8", line="hosts_allow reject 0")
        answer = plugin.ask("pre-connection", connections_from_ip=1, max_from_ip=0)
        self.assertEqual((DECLINED, ["fail, tolerated, go away"]), (answer, plugin.log))


class ServerTests(SynchronousTestCase):
    """With a server that counts."""

    def test_counted(self):
        """Connections that end make room for others; each family has its own count by address."""
        server = Server(["hosts_allow"], max_from_ip=1)
        for ip in ("192.0.2.1", "2001:db8::1"):
            first, second = server.connect(ip), server.connect(ip)
            self.assertTrue(first.read().startswith("220 "))
            self.assertTrue(second.read().startswith("421 4.7.0 too many connections"))
            first.drop()
            self.assertTrue(server.connect(ip).read().startswith("220 "))


class SampleTests(SynchronousTestCase):
    """The shipped configuration."""

    def test_samples(self):
        """What the file shows, commented out, is good as it stands."""
        reported = []
        plugin = Tried("hosts_allow", config={"hosts_allow": samples("hosts_allow")})
        plugin.services.config.report = reported.append
        plugin.plugin.verdicts.check()
        self.assertEqual([], reported)
