"""dnsbl."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENY_DISCONNECT, DENYSOFT, OK, ConfigError
from qpsmtpd.testing import MemoryResolver, Server, Tried
from tests.plugins.test_badmailfrom import samples

CLIENT = "127.0.0.2"
NAME = "2.0.0.127.bl.example"


def tried(arguments="", zones=("bl.example",), records=None, ip=CLIENT, allow=(), **resolver):
    table = {NAME: {"A": ["127.0.0.4"], "TXT": ["see\r\nhttps://bl.example"]}} if records is None else records
    dns = MemoryResolver(table, **resolver)
    config = {"dnsbl_zones": list(zones), "dnsbl_allow": list(allow)}
    return Tried(f"dnsbl {arguments}", config=config, dns=dns, ip=ip)


class ConnectTests(SynchronousTestCase):
    """The client is looked up."""

    def test_listed(self):
        """A listed client is refused with the list's own text, in one line; it loses karma."""
        plugin = tried()
        self.assertEqual(DENY("see https://bl.example"), plugin.ask("connect"))
        self.assertEqual(-1, plugin.connection.karma)
        self.assertEqual("fail, bl.example", plugin.log[-1])
        self.assertEqual(("bl.example",), plugin.connection.results.of("dnsbl", "failed"))

    def test_not_listed(self):
        """All others pass, and TXT is not asked for."""
        plugin = tried(records={})
        self.assertEqual((DECLINED, ["pass"]), (plugin.ask("connect"), plugin.log))
        self.assertEqual([(NAME, "A")], plugin.services.dns.asked)

    def test_reject_type(self):
        """reject_type chooses the verdict, also as the only word; reject connect is reject 1."""
        rows = [
            ("", DENY),
            ("reject_type temp", DENYSOFT),
            ("reject_type disconnect", DENY_DISCONNECT),
            ("temp", DENYSOFT),
            ("disconnect", DENY_DISCONNECT),
            ("temp reject_type disconnect", DENY_DISCONNECT),
            ("reject connect", DENY),
            ("reject 0", DECLINED),
            ("reject naughty reject_type disconnect", DECLINED),
        ]
        for arguments, expected in rows:
            self.assertEqual(expected.code, tried(arguments).ask("connect").code, arguments)

    def test_texts(self):
        """A line's own message wins, with the address in it; without any text there is a plain one."""
        rows = [
            (["bl.example: go away, %IP%: now"], {}, "go away, 127.0.0.2: now"),
            (["bl.example"], {"TXT": ["x" * 999]}, "x" * 400),
            (["bl.example"], {}, "127.0.0.2 is listed by bl.example"),
            (["bl.example:"], {"TXT": ["own"]}, "own"),
        ]
        for zones, kinds, expected in rows:
            plugin = tried(zones=zones, records={NAME: {"A": ["127.0.0.2"], **kinds}})
            self.assertEqual(expected, plugin.ask("connect").text)

    def test_no_question_for_own_message(self):
        """Where the line has a message, TXT is not asked for."""
        plugin = tried(zones=["bl.example:no"])
        plugin.ask("connect")
        self.assertEqual([(NAME, "A")], plugin.services.dns.asked)

    def test_ipv6(self):
        """IPv6 is asked for by nibbles, last first."""
        reverse = "1." + "0." * 23 + "8.b.d.0.1.0.0.2.bl.example"
        plugin = tried(ip="2001:db8::1", records={reverse: {"A": ["127.0.0.2"]}})
        self.assertEqual(DENY.code, plugin.ask("connect").code)

    def test_what_is_a_listing(self):
        """Only 127.0.0.0/8 is one, and 127.255.255.0/24 is an error."""
        rows = [
            (["127.0.0.1"], True, None),
            (["127.255.254.255"], True, None),
            (["127.255.255.254"], False, "error, bl.example: refuses to be asked, with 127.255.255.254"),
            (["127.0.0.2", "127.255.255.252"], False, "error, bl.example: refuses"),
            (["192.0.2.1"], False, "error, bl.example: answers with 192.0.2.1, which is no listing"),
            (["192.0.2.1", "127.0.0.2"], True, None),
        ]
        for values, listed, logged in rows:
            plugin = tried(records={NAME: {"A": values}})
            self.assertIs(listed, plugin.ask("connect").code.denies, values)
            self.assertTrue(logged is None or plugin.log[0].startswith(logged), plugin.log)

    def test_order(self):
        """The first zone of the file counts; one that fails is logged and left out."""
        zones = ["broken.example", "none.example", "two.example:two", "bl.example:one"]
        records = {NAME: {"A": ["127.0.0.2"]}, "2.0.0.127.two.example": {"A": ["127.0.0.2"]}}
        plugin = tried(zones=zones, records=records, failed={"2.0.0.127.broken.example"})
        self.assertEqual(DENY("two"), plugin.ask("connect"))
        self.assertEqual("error, broken.example: SERVFAIL", plugin.log[0])

    def test_allowed(self):
        """dnsbl_allow knows addresses, leading parts, with and without the dot, and networks."""
        rows = [
            ("192.168.99.5", "192.168.99.5", True),
            ("192.168.99.5", "192.168.99.6", False),
            ("192.168.99.5", "192.168.99.55", False),
            ("192.168.", "192.168.99.5", True),
            ("192.168", "192.168.99.5", True),
            ("192.168.99.0/29", "192.168.99.7", True),
            ("2001:db8::/32", "2001:db8::1", True),
        ]
        for line, ip, expected in rows:
            plugin = tried(allow=[line], ip=ip, records={})
            plugin.ask("connect")
            self.assertIs(expected, not plugin.services.dns.asked, (line, ip))

    def test_exempt(self):
        """Clients that are whitelisted, or may relay, are not looked up."""
        for change in ({"relay_client": True}, {"notes": {"whitelisthost": 1}}):
            plugin = tried()
            for name, value in change.items():
                setattr(plugin.connection, name, value)
            self.assertEqual((DECLINED, []), (plugin.ask("connect"), plugin.services.dns.asked))

    def test_idle(self):
        """Without zones nothing happens."""
        plugin = tried(zones=())
        self.assertEqual((DECLINED, []), (plugin.ask("connect"), plugin.log))

    def test_deadline(self):
        """A zone without answer is left out in the end; the others have been asked meanwhile."""
        plugin = tried("timeout 4", ["slow.example", "bl.example:no"], silent={"2.0.0.127.slow.example"})
        answer = plugin.begin("connect")
        self.assertEqual(2, len(plugin.services.dns.asked))
        plugin.clock.advance(3.9)
        self.assertNoResult(answer)
        plugin.clock.advance(0.1)
        self.assertEqual(DENY("no"), self.successResultOf(answer))
        self.assertEqual("error, slow.example: timeout", plugin.log[0])

    def test_default_deadline(self):
        """The default leaves time before the limit of hooks, 30 seconds."""
        plugin = tried(silent={NAME})
        answer = plugin.begin("connect")
        self.assertIsInstance(answer, Deferred)
        plugin.clock.advance(10)
        self.assertEqual(DECLINED, self.successResultOf(answer))

    def test_bad_lines(self):
        """What is no zone and no network stops the start, with its line."""
        for name, line in [("zones", "two words"), ("zones", ":message"), ("allow", "localhost")]:
            error = self.assertRaises(ConfigError, tried, **{name: ["10.0.0.1", line]})
            self.assertIn(f"dnsbl_{name}>:2:", str(error))


class ComplaintTests(SynchronousTestCase):
    """Whoever is listed may write to those who take complaints."""

    def setUp(self):
        dns = MemoryResolver({"1.2.0.192.bl.example": {"A": ["127.0.0.2"]}})
        config = {"dnsbl_zones": "bl.example:listed"}
        hooks = {"rcpt": lambda recipient: DENY if recipient.address.local == "nobody" else OK}
        self.server = Server(["dnsbl reject naughty"], hooks=hooks, config=config, dns=dns)
        self.client = self.server.connect()
        self.client.say("EHLO client.example")

    def rcpt(self, *users):
        """Begin a transaction with these recipients; give the mark that is left."""
        self.client.say("RSET", "MAIL FROM:<a@example.com>", *(f"RCPT TO:<{u}@example.org>" for u in users))
        return self.client.connection.naughty

    def test_recipients(self):
        """The mark is off as long as all recipients take complaints, and on again for the next message."""
        rows = [
            ([], True),
            (["postmaster"], False),
            (["ABUSE", "mailer-daemon", "root"], False),
            (["user"], True),
            (["postmaster", "user"], True),
            (["user", "postmaster"], True),
            (["postmaster", "user", "abuse"], True),
            (["postmaster2"], True),
        ]
        for users, marked in rows:
            self.assertEqual("(dnsbl) listed" if marked else "", self.rcpt(*users), users)
        self.assertTrue(self.server.logged("(rcpt) dnsbl: skip"))

    def test_marks_of_others(self):
        """What other plugins hold against the client stays."""
        self.client.connection.naughty += "\n(karma) bad"
        self.assertEqual("(karma) bad", self.rcpt("postmaster"))
        self.assertEqual("(dnsbl) listed\n(karma) bad", self.rcpt("user"))

    def test_refused_recipient_does_not_count(self):
        """Only accepted recipients count."""
        self.assertEqual("", self.rcpt("nobody", "postmaster"))

    def test_not_marked(self):
        """Who is not marked is not marked afterwards."""
        self.client.connection.naughty = ""
        self.assertEqual("", self.rcpt("postmaster", "user"))
        self.assertFalse(self.server.logged("(rcpt) dnsbl: skip"))


class SampleTests(SynchronousTestCase):
    """The shipped configuration."""

    def test_samples(self):
        """What the files shows, commented out, is good as it stands."""
        reported = []
        plugin = Tried(
            "dnsbl", config={"dnsbl_zones": samples("dnsbl_zones"), "dnsbl_allow": samples("dnsbl_allow")}
        )
        plugin.services.config.report = reported.append
        plugin.plugin.zones.check()
        plugin.plugin.allowed.check()
        self.assertEqual([], reported)
