"""Lists of networks, hosts and addresses, and what keeps them built."""

import ipaddress
import re

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.config import Config, ConfigError
from qpsmtpd.kit.match import (
    AddressPatterns,
    Compiled,
    Entry,
    HostPatterns,
    LineError,
    Networks,
    domain_list,
    regex,
)

ALL = settings(max_examples=100, derandomize=True, deadline=None, database=None)
ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6, network="2000::/3")  # none that is IPv4-mapped


class NetworksTests(SynchronousTestCase):
    """The networks of relay, hosts_allow, dnsbl, whitelist and resolvable_fromhost."""

    def assert_row(self, line, inside, outside, **options):
        networks = Networks([line], **options)
        for address in inside.split():
            self.assertIn(address, networks, line)
        for address in outside.split():
            self.assertNotIn(address, networks, line)

    def test_ipv4(self):
        """Addresses, leading parts and blocks, first and last address included."""
        for line, inside, outside in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.10 192.0.2.0 192.0.2.11"),
            ("192.0.2.1.", "192.0.2.1", "192.0.2.10"),
            ("192.0.", "192.0.0.0 192.0.1.1 192.0.255.255", "192.1.0.0 191.255.255.255 192.51.1.1"),
            ("10.", "10.0.0.0 10.255.255.255", "9.255.255.255 11.0.0.0 100.0.0.1"),
            ("192.0.98.", "192.0.98.1 192.0.98.255", "192.0.99.7 192.0.109.7 192.0.9.8"),
            ("192.0.1.0/24", "192.0.1.0 192.0.1.1 192.0.1.255", "192.0.0.255 192.0.2.0"),
            ("192.0.2.6/31", "192.0.2.6 192.0.2.7", "192.0.2.5 192.0.2.8"),
            ("192.0.2.6/32", "192.0.2.6", "192.0.2.7"),
            ("192.0.2.0/255.255.255.0", "192.0.2.255", "192.0.3.0"),
            ("0.0.0.0/0", "0.0.0.0 255.255.255.255", "::1 2001:db8::1"),
            ("169.254/16", "169.254.0.0 169.254.255.255", "169.253.255.255 169.255.0.0"),
            ("127/8", "127.0.0.1", "128.0.0.0"),
        ]:
            self.assert_row(line, inside, outside)

    def test_ipv6(self):
        """The same in IPv6, in any spelling."""
        whole = "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
        beside = "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 192.0.2.1"
        for line, inside, outside in [
            ("2001:DB8::1", "2001:db8::1 2001:0DB8:0:0:0:0:0:1", "2001:db8::2 2001:db8::1:1"),
            ("2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8::1", "2001:db8::"),
            ("2001:0DB8", whole, beside),
            ("2001:0db8:", whole, beside),
            ("2001:db8:", whole, beside),
            ("2001:DB8::1/32", whole, beside),
            ("2001:0db8:1", "2001:db8:1000:: 2001:db8:1fff::", "2001:db8:1:: 2001:db8:2000::"),
            ("2001:0db8:1:", "2001:db8:1::", "2001:db8:1000:: 2001:db8:2::"),
            ("2001:db8:0:0:0:0:0:", "2001:db8::ffff", "2001:db8::1:0"),
            ("2001:db8:0:0:0:0:0", "2001:db8::fff:ffff", "2001:db8::1000:0"),
            ("fdda:b13d:e431:ae06::/64", "fdda:b13d:e431:ae06:a1::", "fdda:b13d:e431:ae07::"),
            ("fdda:b13d:e431:ae06::", "fdda:b13d:e431:ae06::", "fdda:b13d:e431:ae06:a1::"),
            ("2001:db8::2/127", "2001:db8::2 2001:db8::3", "2001:db8::1 2001:db8::4"),
            ("2001:db8::2/128", "2001:db8::2", "2001:db8::3"),
            ("fe80::/10", "fe80::1%eth0", "fec0::1"),
            ("::/0", ":: 2001:db8::1", "192.0.2.1 ::ffff:192.0.2.1"),
        ]:
            self.assert_row(line, inside, outside)

    def test_mapped(self):
        """IPv4 seen through an IPv6 socket is IPv4, in the list and in the question."""
        self.assert_row("192.0.2.0/24", "::ffff:192.0.2.1 ::FFFF:c000:201", "::ffff:192.0.3.1 ::192.0.2.1")
        self.assert_row("::ffff:192.0.2.1", "192.0.2.1 ::ffff:192.0.2.1", "192.0.2.2")
        self.assert_row("::ffff:192.0.2.0/120", "192.0.2.255", "192.0.3.0")

    def test_bare_parts(self):
        """A list may take leading parts without their dot, as dnsbl_allow does."""
        self.assert_row("10.1", "10.1.0.0 10.1.255.255", "10.10.0.1 10.100.0.1", bare_parts=True)
        self.assert_row("192.0.2.1", "192.0.2.1", "192.0.2.10", bare_parts=True)
        self.assertRaises(LineError, Networks, ["10.1"])

    def test_no_address(self):
        """What is no address is in no network."""
        networks = Networks(["0.0.0.0/0", "::/0"])
        for text in ["", "unknown", "1.2.3", "1.2.3.4.5", "1.2.3.4/32", "::g", "010.1.1.1", "1.2.3.4\0"]:
            self.assertNotIn(text, networks)
        self.assertNotIn("\u0661.1.1.1", networks)

    def test_find(self):
        """The first entry of the file decides, with the rest of its line."""
        networks = Networks(["192.0.2.5 OK", "192.0.2.0/24  DENY go away", "0/0 DECLINED", "192.0.2.6"])
        self.assertEqual(Entry(0, "192.0.2.5", "OK"), networks.find("192.0.2.5"))
        self.assertEqual(Entry(1, "192.0.2.0/24", "DENY go away"), networks.find("192.0.2.6"))
        self.assertEqual(2, networks.find("198.51.100.1").position)
        self.assertIsNone(networks.find("2001:db8::1"))

    def test_wrong(self):
        """What is neither address nor network is an error that says what is allowed, and at which line."""
        for line in [
            *("", "localhost", "10", "10.1", "192.0.2.256", "256.", "192.00.", "1.2.3.4.5.", "192.0.*"),
            *("192.0.2.1-9", "192.0.2.0/x", "192.0.2.0/-1", "192.0.2.0/", "192.0.2.0/" + "9" * 5000),
            *("2001", ":", "2001:db8::1:", "2001:db8:/32", "2001:dbg:", "12345:", "1:2:3:4:5:6:7:8:"),
        ]:
            error = self.assertRaises(LineError, Networks, ["192.0.2.1", line])
            self.assertEqual(1, error.position)
            self.assertIn(f"{line.partition(' ')[0]!r} is no network; allowed: an address, ", str(error))

    def test_remarks(self):
        """What is odd is taken, with a remark."""
        for line, words, inside in [
            ("192.168.3.4/24", "taken for 192.168.3.0/24", "192.168.3.255"),
            ("192.168.3.4/33", "taken for 192.168.3.4", "192.168.3.4"),
            ("2001:db8::1/32", "taken for 2001:db8::/32", "2001:db8:1::"),
            ("2001:db8", "stands for 2001:db80::/28; if its last group is whole, write", "2001:db8f::1"),
        ]:
            networks = Networks(["127.0.0.1", line])
            self.assertEqual([1], [position for position, _ in networks.remarks])
            self.assertIn(words, networks.remarks[0].text)
            self.assertIn(inside, networks)
        self.assertEqual([], Networks(["10/8", "10.", "2001:0db8", "192.0.2.1/32", "2001:db8::/32"]).remarks)

    @given(ADDRESSES, ADDRESSES, st.integers(3, 128))
    @ALL
    def test_any_block(self, address, other, bits):
        """Membership agrees with the standard library's."""
        block = f"{address}/{min(bits, address.max_prefixlen)}"
        network = ipaddress.ip_network(block, strict=False)
        networks = Networks([block])
        for inside in (network[0], network[-1], address):
            self.assertIn(str(inside), networks)
        self.assertEqual(other in network, str(other) in networks)

    @given(st.ip_addresses(v=6, network="2000::/3"), st.integers(5, 35), st.integers(0, 127))
    @ALL
    def test_any_leading_digits(self, address, length, bit):
        """Leading digits hold the addresses whose full spelling begins with them, and no others."""
        part = address.exploded[:length]
        near = ipaddress.IPv6Address(int(address) ^ (1 << bit))
        networks = Networks([part.upper()])
        self.assertIn(address.exploded, networks)
        self.assertEqual(near.exploded.startswith(part), str(near) in networks)

    @given(st.ip_addresses(v=4), st.integers(1, 4), st.integers(0, 31))
    @ALL
    def test_any_leading_parts(self, address, length, bit):
        """Leading parts hold the addresses that begin with them, and no others."""
        parts = str(address).split(".")[:length]
        near = ipaddress.IPv4Address(int(address) ^ (1 << bit))
        networks = Networks([".".join(parts) + "."])
        self.assertIn(str(address), networks)
        self.assertEqual(str(near).split(".")[:length] == parts, str(near) in networks)


class HostPatternsTests(SynchronousTestCase):
    """The hosts of rcpthosts."""

    def test_match(self):
        """A name is that host; a name with a dot before it is all hosts below, not itself; in any case."""
        hosts = HostPatterns(["Example.COM more words", ".Example.net", "final.example.", "b\u00fc.example"])
        for host in ["example.com", "EXAMPLE.com", "example.com.", "a.example.net", "a.B.example.net"]:
            self.assertIn(host, hosts)
        for host in ["final.example", "B\u00dc.example"]:
            self.assertIn(host, hosts)
        for host in ["", ".", "a.example.com", "example.net", "notexample.net", "com", "net", "example"]:
            self.assertNotIn(host, hosts)

    def test_find(self):
        """The first entry of the file decides."""
        hosts = HostPatterns([".example a", ".b.example b", "c.b.example c", "x", "x again"])
        self.assertEqual(Entry(0, ".example", "a"), hosts.find("c.b.example"))
        self.assertEqual(3, hosts.find("x").position)
        self.assertEqual("c.b.example", HostPatterns(["c.b.example", ".example"]).find("c.b.example").text)

    def test_remarks(self):
        """What cannot be a host is remarked upon, and matches nothing else."""
        hosts = HostPatterns(["example.com", "*.example.com", "@example.com", "[192.0.2.1]", ".", ""])
        self.assertEqual([1, 2, 4, 5], [position for position, _ in hosts.remarks])
        self.assertNotIn("a.example.com", hosts)
        self.assertIn("[192.0.2.1]", hosts)


class AddressPatternsTests(SynchronousTestCase):
    """The addresses of badmailfrom and badrcptto, as upstream's tests have them and more."""

    def test_match(self):
        """An address, a host, or a regular expression."""
        for line, address, expected in [
            ("user@example.com", "user@example.com", True),
            ("user@example.com", "User@EXAMPLE.com", True),
            ("User@Example.com", "user@example.com", True),
            ("user@example.com", "other@example.com", False),
            ("user@example.com", "user@example.com.net", False),
            ("a.b@example.com", "axb@example.com", False),
            ("@example.com", "any@example.com", True),
            ("@Example.com", "any@example.COM", True),
            ("@example.com", "any@sub.example.com", False),
            ("@example.com", "any@example.net", False),
            ("@example.com", '"@example.com"@example.net', False),
            ("test.net$", "user@test.net", True),
            ("test.net$", "user@test.net.org", False),
            ("^SPAM", "spammer@example.com", True),
            (r"\Duser@", "user@example.com", False),
            (r"\Dser@", "user@example.com", True),
            ("!", "a!b@example.com", True),
            ("!", "ab@example.com", False),
            ("%", "a%b@example.com", True),
            ("@.*@", '"a@b"@example.com', True),
            ("@.*@", "a@example.com", False),
            ("a+b@example.com", "a+b@example.com", True),
            ("a+b@example.com", "aab@example.com", True),
            ("/^x[0-9]@/", "x1@example.com", True),
            ("/x(y|z)/", "axz@example.com", True),
            ("a/b", "a/b@example.com", True),
        ]:
            self.assertIs(expected, address in AddressPatterns([line]), (line, address))

    def test_reason(self):
        """The rest of the line is the reason, empty when there is none; None when nothing matches."""
        patterns = AddressPatterns(["bad@example.com", "@www.example.com  Go  away", "^x please\tdon't "])
        self.assertEqual("", patterns.reason("bad@example.com"))
        self.assertEqual("Go  away", patterns.reason("a@www.example.com"))
        self.assertEqual("please\tdon't ", patterns.reason("x@example.org"))
        self.assertIsNone(patterns.reason("good@example.com"))
        self.assertIsNone(AddressPatterns([]).reason("good@example.com"))

    def test_find(self):
        """The first entry of the file decides, whatever its kind, and is given as it was written."""
        kinds = ["a@Example.com", "@Example.com", "^A@"]
        for turn in range(3):
            lines = kinds[turn:] + kinds[:turn] + kinds
            self.assertEqual(Entry(0, lines[0], ""), AddressPatterns(lines).find("a@example.com"))

    def test_wrong(self):
        """A regular expression that does not compile is an error with the line's position."""
        for line in ["^(", "*@example.com", "a{2}{3}*", "[[:alpha:]]+@", "^a{99999999999}", r"\z", "/(/"]:
            error = self.assertRaises(LineError, AddressPatterns, ["a@b", line])
            self.assertEqual(1, error.position)
            self.assertIn(f"{line!r} is not a regular expression: ", str(error))

    def test_remarks(self):
        """An entry without @ matches nothing, as upstream has it, and is remarked upon."""
        patterns = AddressPatterns(["@a", "example.com spam", ""])
        self.assertEqual([1, 2], [position for position, _ in patterns.remarks])
        self.assertIn("has no @ and matches nothing; a domain is written @exa", patterns.remarks[0].text)
        self.assertNotIn("x@example.com", patterns)

    @given(st.emails())
    @ALL
    def test_any_address(self, address):
        """Every address matches its host, and itself, signs or not, once the signs make a pattern."""
        self.assertIn(address, AddressPatterns([f"@{address.rpartition('@')[2]}"]))
        assume(not re.search(r"^[*+?]|[*+?^{]{2}", address))
        self.assertIn(address.upper(), AddressPatterns([address]))


class SmallThingsTests(SynchronousTestCase):
    """domain_list and regex."""

    def test_domain_list(self):
        """First words, in lower case, without a final dot."""
        lines = ["Example.COM.", "b.example words", "b.example"]
        self.assertEqual({"example.com", "b.example"}, domain_list(lines))
        self.assertEqual(frozenset(), domain_list([]))

    def test_regex(self):
        """Any case; slashes around it are dropped, and only then."""
        for text in ["a", "/", "//", "/a", "a/"]:
            self.assertEqual(text, regex(text).pattern)
        self.assertEqual(["a", r"a\/b"], [regex("/a/").pattern, regex(r"/a\/b/").pattern])
        self.assertTrue(regex("ab").search("xAB"))


class CompiledTests(SynchronousTestCase):
    """A list is built when its lines change, and stays when an edit breaks it."""

    def setUp(self):
        self.values = {"bad": ["@a.example", "@b.example"]}
        self.reports = []
        self.built = []
        self.config = Config(values={}, now=Clock().seconds)
        self.config.overlay = self.values.get
        self.config.report = self.reports.append
        self.list = Compiled(self.config, "bad", self.make)

    def make(self, lines):
        self.built.append(lines)
        return AddressPatterns(lines)

    def test_once(self):
        """It is built once for the same lines, and again for others."""
        self.assertIs(self.list(), self.list())
        self.values["bad"] = ["@c.example"]
        self.assertIn("x@c.example", self.list())
        self.assertEqual([("@a.example", "@b.example"), ("@c.example",)], self.built)

    def test_check(self):
        """A bad line is an error with its place when it is checked, and when it is first used."""
        self.values["bad"] = ["@a.example", "^("]
        for call in (self.list.check, self.list, self.list):
            message = str(self.assertRaises(ConfigError, call))
            self.assertIn("<config hook bad>:2: '^(' is not a regular expression", message)

    def test_check_builds(self):
        """What was checked is not built again."""
        self.list.check()
        self.assertIn("x@a.example", self.list())
        self.assertEqual(1, len(self.built))

    def test_bad_edit(self):
        """The list before stays in force and the error is reported once; a check still fails."""
        before = self.list()
        self.values["bad"] = ["^("]
        self.assertEqual([before, before], [self.list(), self.list()])
        self.assertEqual(1, len(self.reports))
        self.assertIn("<config hook bad>:1: '^(' is not a regular expression", self.reports[0])
        self.assertIn("stays in force", self.reports[0])
        self.assertRaises(ConfigError, self.list.check)
        self.values["bad"] = ["@d.example"]
        self.assertIn("x@d.example", self.list())

    def test_remarks(self):
        """A remark is reported with its place, once."""
        self.values["bad"] = ["@a.example", "b.example"]
        self.list.check()
        self.list()
        self.assertEqual(1, len(self.reports))
        self.assertTrue(self.reports[0].startswith("<config hook bad>:2: 'b.example' has no @"))

    def test_nobody_told(self):
        """Without a listener nothing is lost but the report."""
        self.config.report = None
        self.values["bad"] = ["b.example"]
        before = self.list()
        self.values["bad"] = ["^("]
        self.assertIs(before, self.list())

    def test_other_makers(self):
        """Anything may be made of the lines; an error without a position names the file alone."""
        self.assertEqual({"@a.example", "@b.example"}, Compiled(self.config, "bad", domain_list)())

        def refuse(lines):
            raise ValueError("too many")

        error = self.assertRaises(ConfigError, Compiled(self.config, "bad", refuse))
        self.assertEqual("<config hook bad>: too many", str(error))
