"""helo."""

import sys
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENY_DISCONNECT, DENYSOFT, OK, ConfigError
from qpsmtpd.testing import MemoryResolver, Server, Tried
from tests.plugins.test_badmailfrom import samples

IP, IP6 = "192.0.2.1", "2001:db8::1"
LISTED, LOCALHOST, BRACKETS = "it is listed here", "you are not localhost", "an address needs brackets"
NOT_FULL, LITERAL = "it is not a full domain name", "it is an address"
NO_ADDRESS, NO_NAME = "it has no address", "your address has no name"
MISMATCH = "it is not the name of your address"


def tried(arguments="", records=None, ip=IP, badhelo=(), **resolver):
    dns = MemoryResolver(records or {}, **resolver)
    return Tried(f"helo {arguments}", config={"badhelo": list(badhelo)}, dns=dns, ip=ip)


def reason(plugin, host, hook="ehlo"):
    """Say why a name is refused, "" if it is not."""
    answer = plugin.ask(hook, host=host)
    assert answer == DECLINED or answer.text.startswith("the name in your greeting is not accepted: ")
    return answer.text.removeprefix("the name in your greeting is not accepted: ")


def zone(host="mx.example.com", address=IP, pointer="mx.example.com", ip=IP):
    """Make records: a host's address, and the name of a client."""
    return {host: {"AAAA" if ":" in address else "A": [address]}, ip: {"PTR": [pointer]}}


class NameTests(SynchronousTestCase):
    """What is seen without the DNS."""

    def test_badhelo(self):
        """Names are equal in any case; expressions are searched for in lower case, ! negates."""
        rows = [
            ("Yahoo.com", "yahoo.COM", LISTED),
            ("yahoo.com", "mx.yahoo.com", ""),
            ("yahoo.com", "example.com", ""),
            ("yahoo.com", "yahoo.com.", LISTED),
            (r"ya.oo\.com$", "mx.yahoo.com", LISTED),
            (r"ya.oo\.com$", "YAHOO.com", LISTED),
            (r"ya.oo\.com$", "yoda.com", ""),
            (r"!\.", "hostonly", LISTED),
            (r"!\.", "example.com", ""),
            ("^[A-Z]+$", "HOST", ""),
        ]
        for line, host, expected in rows:
            self.assertEqual(expected, reason(tried(badhelo=["other.example", line]), host), (line, host))

    def test_bad_expression(self):
        """An expression that is none stops the start, with its line."""
        error = self.assertRaises(ConfigError, tried, badhelo=["aol.com", "!("])
        self.assertIn("badhelo>:2:", str(error))

    def test_localhost(self):
        """Only this machine is localhost."""
        rows = [(IP, LOCALHOST), ("128.0.0.1", LOCALHOST), ("127.0.0.1", ""), ("::1", ""), ("127.1.2.3", "")]
        for ip, expected in rows:
            self.assertEqual(expected, reason(tried(ip=ip), "LocalHost"), ip)
        self.assertEqual("", reason(tried(), "localhost.example.com"))

    def test_plain_addresses(self):
        """An address stands in brackets, even one's own."""
        for host in ("1.0.0.0", "254.254.254.254", "10.255.0.1", IP, IP6, "::1"):
            self.assertEqual(BRACKETS, reason(tried(), host), host)
        self.assertEqual("", reason(tried(), "10"))

    def test_literals(self):
        """A literal is the client's own address, however it is written."""
        rows = [
            (IP, f"[{IP}]", ""),
            (IP, "[1.0.0.0]", "1.0.0.0 is not your address"),
            (IP, "[254.254.254.254]", "254.254.254.254 is not your address"),
            (IP, f"[IPv6:::ffff:{IP}]", ""),
            (IP6, "[IPv6:2001:DB8:0::1]", ""),
            (IP6, "[2001:db8::1]", ""),
            (IP6, "[IPv6:2001:db8::2]", "2001:db8::2 is not your address"),
            (IP, "[x-tag:foo]", ""),
            (IP, "[1.0.0.0", ""),
            (IP, "1.0.0.0]", ""),
        ]
        for ip, host, expected in rows:
            self.assertEqual(expected, reason(tried(ip=ip), host), (ip, host))

    def test_full_domain_names(self):
        """rfc and strict want a dot and no odd characters, or a literal; lenient does not."""
        rows = [
            ("host", NOT_FULL),
            ("a_b.example.com", NOT_FULL),
            ("[foo]", NOT_FULL),
            (".example.com", NOT_FULL),
            ("m\u00fcller.example", NOT_FULL),
            ("MX.Example.com.", ""),
        ]
        for host, expected in rows:
            self.assertEqual("", reason(tried(), host), host)
            self.assertEqual(expected, reason(tried("policy rfc", zone()), host), host)
            self.assertEqual(expected, reason(tried("policy strict", zone()), host), host)

    def test_literals_by_policy(self):
        """rfc takes a literal of either family without looking it up, strict takes none."""
        for ip, host in [(IP, f"[{IP}]"), (IP6, f"[IPv6:{IP6}]")]:
            plugin = tried("policy rfc", zone(ip=ip), ip)
            self.assertEqual("", reason(plugin, host))
            self.assertEqual([(ip, "PTR")], plugin.services.dns.asked)
            self.assertEqual(LITERAL, reason(tried("policy strict", zone(ip=ip), ip), host))

    def test_no_name(self):
        """Without a name it costs karma; the engine answers."""
        plugin = tried()
        self.assertEqual(DECLINED, plugin.ask("ehlo", host=""))
        self.assertEqual((-2, "fail, tolerated, no name"), (plugin.connection.karma, plugin.log[-1]))

    def test_lenient_asks_nothing(self):
        """lenient does without the DNS."""
        plugin = tried()
        reason(plugin, "mx.example.com")
        self.assertEqual([], plugin.services.dns.asked)


class LookupTests(SynchronousTestCase):
    """What the DNS says."""

    def test_policies(self):
        """rfc wants an address and a reverse name, strict wants that one of them matches."""
        near, far = "192.0.2.200", "203.0.113.1"
        rows = [
            ({IP: {"PTR": ["mx.example.com"]}}, NO_ADDRESS, NO_ADDRESS),
            ({**zone(), "mx.example.com": {"MX": [(1, "a.b")]}}, NO_ADDRESS, NO_ADDRESS),
            ({"mx.example.com": {"A": [IP]}}, NO_NAME, NO_NAME),
            ({**zone(), IP: {"PTR": []}}, NO_NAME, NO_NAME),
            (zone(address=far, pointer="other.test"), "", MISMATCH),
            (zone(address=IP, pointer="other.test"), "", ""),
            (zone(address=near, pointer="other.test"), "", ""),
            (zone(address=far, pointer="mx.example.com"), "", ""),
            (zone(address=far, pointer="other.example.com"), "", ""),
            (zone(address=far, pointer="com"), "", MISMATCH),
            (zone(), "", ""),
        ]
        for records, rfc, strict in rows:
            self.assertEqual(rfc, reason(tried("policy rfc", records), "mx.example.com"), records)
            self.assertEqual(strict, reason(tried("policy strict", records), "mx.example.com"), records)

    def matches(self, records, host="mx.example.com", ip=IP, arguments=""):
        plugin = tried(f"policy rfc {arguments}", records, ip)
        reason(plugin, host)
        notes = plugin.connection.notes
        return notes.get("helo_forward_match"), notes.get("helo_reverse_match")

    def test_forward_match(self):
        """The same address or network: /24, and /96 for IPv6."""
        rows = [
            (IP, IP, 1),
            (IP, "192.0.2.9", 1),
            (IP, "192.0.3.1", None),
            (IP6, IP6, 1),
            (IP6, "2001:db8::ffff:1", 1),
            (IP6, "2001:db8::1:0:1", None),
            (IP6, IP, None),
        ]
        for ip, address, expected in rows:
            self.assertEqual(expected, self.matches(zone(address=address, ip=ip), ip=ip)[0], (ip, address))

    def test_reverse_match(self):
        """The same name or domain: two labels, or one below a public suffix."""
        rows = [
            ("mx.example.com", "mx.example.com", 1, 1),
            ("MX.example.com", "a.b.example.com", 1, 1),
            ("mx.example.com", "mx.example.net", None, None),
            ("mx.example.com", "com", None, None),
            ("a.example.co.uk", "b.other.co.uk", 1, None),
            ("a.example.co.uk", "b.example.co.uk", 1, 1),
        ]
        for host, pointer, labels, suffixes in rows:
            records = zone(host.lower(), pointer=pointer)
            self.assertEqual(labels, self.matches(records, host)[1], (host, pointer))
            found = self.matches(records, host, arguments="public_suffixes 1")
            self.assertEqual(suffixes, found[1], (host, pointer))

    def test_suffix_list_not_installed(self):
        """public_suffixes without the package stops the start, with the line that installs it."""
        with patch.dict(sys.modules, {"publicsuffixlist": None}):
            error = self.assertRaises(ConfigError, tried, "public_suffixes")
            tried("public_suffixes 0")
        self.assertIn("pip install 'qpsmtpd[publicsuffix]'", str(error))

    def test_karma(self):
        """A refusal costs karma; strict rewards a match of both directions."""
        rows = [
            ("policy strict", zone(), 1),
            ("policy strict", zone(pointer="other.test"), 0),
            ("policy rfc", zone(), 0),
            ("policy rfc", {}, -1),
            ("", {}, 0),
        ]
        for arguments, records, expected in rows:
            plugin = tried(arguments, records)
            reason(plugin, "mx.example.com")
            self.assertEqual(expected, plugin.connection.karma, (arguments, records))

    def test_no_answer(self):
        """Nobody is refused because the DNS is silent, not even by strict."""
        for failed in ({IP}, {"mx.example.com"}, {IP, "mx.example.com"}):
            plugin = tried("policy strict", zone(address="203.0.113.1", pointer="x.test"), failed=failed)
            self.assertEqual("", reason(plugin, "mx.example.com"), failed)
            self.assertTrue(plugin.log[0].startswith("error, no answer about"), plugin.log)

    def test_deadline(self):
        """All lookups go at once and share the time, however it is called."""
        for arguments, seconds in [("", 5), ("timeout 3", 3), ("dns_timeout 2", 2)]:
            plugin = tried(f"policy rfc {arguments}", silent={IP, "mx.example.com"})
            answer = plugin.begin("ehlo", host="mx.example.com")
            self.assertEqual({"A", "AAAA", "PTR"}, {kind for _, kind in plugin.services.dns.asked})
            plugin.clock.advance(seconds - 0.1)
            self.assertNoResult(answer)
            plugin.clock.advance(0.1)
            self.assertEqual(DECLINED, self.successResultOf(answer))

    def test_second_hello(self):
        """What was found about one name does not hold for the next one."""
        plugin = tried("policy rfc", {**zone(), "a.test": {"A": ["203.0.113.1"]}})
        reason(plugin, "mx.example.com")
        self.assertEqual("", reason(plugin, "a.test", hook="helo"))
        self.assertEqual({}, plugin.connection.notes)


class VerdictTests(SynchronousTestCase):
    """How a name is refused."""

    def test_reject_type(self):
        """Disconnect by default; reject_type is honoured."""
        rows = [
            ("", DENY_DISCONNECT),
            ("reject_type perm", DENY),
            ("reject_type soft", DENYSOFT),
            ("reject 0", DECLINED),
            ("reject naughty", DECLINED),
        ]
        for arguments, expected in rows:
            for hook in ("helo", "ehlo"):
                self.assertEqual(expected.code, tried(arguments).ask(hook, host="localhost").code, arguments)

    def test_log(self):
        """The log has the reason."""
        for host, expected in [("localhost", f"fail, {LOCALHOST}"), ("mx.example.com", "pass")]:
            plugin = tried()
            plugin.ask("ehlo", host=host)
            self.assertEqual(expected, plugin.log[-1])

    def test_exempt(self):
        """Relay clients and whitelisted clients may call themselves what they like."""
        for change in ({"relay_client": True}, {"notes": {"whitelisthost": 1}}):
            plugin = tried("policy strict")
            for name, value in change.items():
                setattr(plugin.connection, name, value)
            self.assertEqual("", reason(plugin, "localhost"))

    def test_unknown_policy(self):
        """A policy that is none stops the start."""
        self.assertRaises(ConfigError, tried, "policy lax")

    def test_header(self):
        """X-HELO stands on top, in ASCII, whatever the message said before."""
        seen = []
        hooks = {"rcpt": lambda: OK, "queue": lambda transaction: seen.extend(transaction.header) or OK}
        client = Server(["helo"], hooks=hooks).connect()
        client.say("EHLO m\u00fcller.example")
        client.say("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA")
        client.say("Subject: x", "x-helo: forged", "", "text", ".")
        self.assertEqual(("X-HELO", "m?ller.example"), seen[0])
        self.assertEqual(1, [name.lower() for name, _ in seen].count("x-helo"))


class SampleTests(SynchronousTestCase):
    """The shipped configuration."""

    def test_samples(self):
        """What the file shows, commented out, is good as it stands."""
        reported = []
        plugin = Tried("helo", config={"badhelo": samples("badhelo")})
        plugin.services.config.report = reported.append
        plugin.plugin.bad.check()
        self.assertEqual([], reported)
