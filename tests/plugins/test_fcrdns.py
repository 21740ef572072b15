"""fcrdns."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENY_DISCONNECT, DENYSOFT, OK
from qpsmtpd.testing import MemoryResolver, Server, Tried

V4, V6 = "192.0.2.1", "2001:db8::1"
MX, OTHER = "mx.example.com", "other.example.com"


def tried(records, ip=V4, arguments="", **resolver):
    return Tried(f"fcrdns {arguments}", dns=MemoryResolver(records, **resolver), ip=ip)


def pointing(names, **records):
    """Make records in which the IPv4 client has names, and maybe a name has addresses."""
    return {V4: {"PTR": list(names)}, **{name.replace("_", "."): {"A": ips} for name, ips in records.items()}}


class ResultTests(SynchronousTestCase):
    """What the lookups come to."""

    def test_results(self):
        """One result for each case, with its karma and log line."""
        one = pointing([MX])
        rows = [
            ("pass", 1, "pass, mx.example.com", pointing([MX], mx_example_com=[V4]), {}),
            ("pass", 0, "pass, mx.example.com", pointing([MX], mx_example_com=["192.0.2.200"]), {}),
            ("pass", 1, "pass, mx.example.com", pointing([MX, OTHER], other_example_com=[V4]), {}),
            ("permerror", -1, "no reverse DNS", {}, {}),
            ("permerror", 0, "no reverse DNS", {V4: {"PTR": []}}, {}),
            ("temperror", 0, "reverse DNS: SERVFAIL", {}, {"failed": {V4}}),
            ("temperror", 0, "forward DNS: SERVFAIL", one, {"failed": {MX}}),
            ("fail", 0, "mx.example.com leads elsewhere", pointing([MX], mx_example_com=["203.0.113.1"]), {}),
            ("fail", -1, "mx.example.com has no address", one, {}),
            ("fail", -1, "com is not a full domain name", pointing(["com"], com=[V4]), {}),
            ("fail", -1, "localhost is not a full domain name", pointing(["localhost"]), {}),
            ("fail", -1, "a_b.example.com is not a full domain name", pointing(["a_b.example.com"]), {}),
        ]
        for result, karma, logged, records, resolver in rows:
            plugin = tried(records, **resolver)
            self.assertEqual(DECLINED, plugin.ask("connect"))
            self.assertEqual(f"iprev={result} policy.iprev={V4}", plugin.connection.notes["iprev"], logged)
            self.assertEqual(karma, plugin.connection.karma, logged)
            expected = logged if result == "pass" else f"fail, tolerated, {logged}"
            self.assertEqual(expected, plugin.log[-1])
            kind = "passed" if result == "pass" else "failed"
            self.assertTrue(plugin.connection.results.has("fcrdns", kind), logged)

    def test_network_is_worth_a_notice(self):
        """A pass by the network alone can be told from a real one."""
        plugin = tried(pointing([MX], mx_example_com=["192.0.2.200"]))
        plugin.ask("connect")
        self.assertEqual("192.0.2.1 is in the network of mx.example.com", plugin.log[0])

    def test_one_name_fails(self):
        """A name without answer makes the result uncertain, unless another one is right."""
        records = pointing([OTHER, MX], mx_example_com=["203.0.113.1"])
        plugin = tried(records, failed={OTHER})
        plugin.ask("connect")
        self.assertIn("iprev=temperror", plugin.connection.notes["iprev"])

    def test_ipv6(self):
        """AAAA is asked for; the network is a /64; the address is quoted."""
        for address, result, karma in [
            (V6, "pass", 1),
            ("2001:db8::f:1", "pass", 0),
            ("2001:db8:1::1", "fail", 0),
        ]:
            plugin = tried({V6: {"PTR": [MX]}, MX: {"AAAA": [address], "A": [V4]}}, V6)
            plugin.ask("connect")
            self.assertEqual(f'iprev={result} policy.iprev="{V6}"', plugin.connection.notes["iprev"])
            self.assertEqual(karma, plugin.connection.karma)

    def test_full_domain_names(self):
        """A dot makes one, and only letters, digits and hyphens may stand around it."""
        names = {"foo.com": True, "example.com": True, "com": False, "boogers": False, "foo*.com": False}
        for name, full in names.items():
            plugin = tried(pointing([name]))
            plugin.ask("connect")
            self.assertIs(full, "not a full domain name" not in plugin.log[-1], name)

    def test_localhost(self):
        """This machine passes, and has no result; a name alone does not make it so."""
        for ip in ("127.0.0.1", "127.1.1.1", "127.255.255.255", "::1"):
            plugin = tried({}, ip)
            plugin.ask("connect")
            self.assertEqual((1, "pass, localhost"), (plugin.connection.karma, plugin.log[-1]))
            self.assertNotIn("iprev", plugin.connection.notes)
        for ip in ("128.0.0.1", "126.1.1.1"):
            plugin = tried({ip: {"PTR": ["localhost"]}}, ip)
            plugin.connection.remote_host = "localhost"
            plugin.ask("connect")
            self.assertEqual(-1, plugin.connection.karma)

    def test_many_names(self):
        """10 names are looked up, no more."""
        plugin = tried(pointing([f"mx{number}.example.com" for number in range(50)]))
        plugin.ask("connect")
        self.assertEqual(11, len(plugin.services.dns.asked))

    def test_exempt(self):
        """Clients that are whitelisted, or may relay, are not looked up."""
        for change in ({"relay_client": True}, {"notes": {"whitelisthost": 1}}):
            plugin = tried({}, arguments="reject 1")
            for name, value in change.items():
                setattr(plugin.connection, name, value)
            self.assertEqual((DECLINED, []), (plugin.ask("connect"), plugin.services.dns.asked))


class RejectTests(SynchronousTestCase):
    """What becomes of those that fail."""

    def test_reject(self):
        """reject_type chooses the verdict, temp by default, but for a temperror it is always temp."""
        failing, silent = ({}, {}), ({}, {"failed": {V4}})
        rows = [
            ("reject 1", failing, DENYSOFT),
            ("reject 1 reject_type perm", failing, DENY),
            ("reject 1 reject_type disconnect", failing, DENY_DISCONNECT),
            ("reject 1 reject_type perm", silent, DENYSOFT),
            ("reject naughty", failing, DECLINED),
            ("reject 0", failing, DECLINED),
            ("", failing, DECLINED),
        ]
        for arguments, (records, resolver), expected in rows:
            answer = tried(records, arguments=arguments, **resolver).ask("connect")
            self.assertEqual(expected.code, answer.code, arguments)

    def test_temperror_is_deferred_as_temporary(self):
        """Not even the naughty plugin refuses for good because the DNS was silent."""
        plugin = tried({}, arguments="reject naughty reject_type disconnect", failed={V4})
        plugin.ask("connect")
        self.assertEqual("temp", plugin.connection.naughty_reject_type)

    def test_deadline(self):
        """Both rounds share the time; a lookup without answer is a temperror."""
        for arguments, seconds in [("", 10), ("timeout 3", 3)]:
            plugin = tried(pointing([MX]), arguments=arguments, silent={MX})
            answer = plugin.begin("connect")
            plugin.clock.advance(seconds)
            self.assertEqual(DECLINED, self.successResultOf(answer))
            self.assertEqual("fail, tolerated, forward DNS: timeout", plugin.log[-1])


class HeaderTests(SynchronousTestCase):
    """Authentication-Results."""

    def test_every_message(self):
        """Each message of the connection has the one result."""
        seen = []
        hooks = {
            "rcpt": lambda: OK,
            "queue": lambda transaction: seen.append(transaction.header.get("Authentication-Results")) or OK,
        }
        dns = MemoryResolver(pointing([MX], mx_example_com=[V4]))
        client = Server(["fcrdns"], hooks=hooks, dns=dns).connect()
        client.mail()
        client.mail()
        self.assertEqual(2, len(seen))
        self.assertTrue(all(value.count(f"iprev=pass policy.iprev={V4}") == 1 for value in seen), seen)
