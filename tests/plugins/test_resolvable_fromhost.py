"""resolvable_fromhost."""

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENY_DISCONNECT, DENYSOFT, Address, ConfigError
from qpsmtpd.kit.dns import Answer, Status
from qpsmtpd.testing import MemoryResolver, Tried
from tests.plugins.test_badmailfrom import samples

GOOD, PRIVATE = "192.0.2.1", "10.9.8.7"
NETWORKS = ["127.0.0.0/8", "0/8", "224/4", "169.254/16", "10/8", "fc00::/7"]
DNS = {
    "mx.example": {"MX": [(10, "private.example"), (20, "a.example")]},
    "a.example": {"A": [GOOD]},
    "six.example": {"AAAA": ["2001:db8::1"]},
    "mixed.example": {"A": [PRIVATE, GOOD]},
    "private.example": {"A": [PRIVATE], "AAAA": ["fc00::1"]},
    "badmx.example": {"MX": [(10, "private.example"), (20, "none.example"), (30, "10.0.0.1")]},
    "mixedmx.example": {"MX": [(10, "mixed.example")]},
    "addressmx.example": {"MX": [(10, GOOD)]},
    "brokenmx.example": {"MX": [(10, "private.example"), (20, "broken.example")]},
    "null.example": {"MX": [(0, "")]},
    "txt.example": {"TXT": ["x"]},
}
INVALID_MX, INVALID_A = "invalid MX for host", "invalid address for host"


def tried(arguments="", networks=NETWORKS, **resolver):
    dns = MemoryResolver(DNS, failed={"broken.example"}, **resolver)
    config = {"invalid_resolvable_fromhost": networks}
    return Tried(f"resolvable_fromhost {arguments}", config=config, dns=dns)


class FindingTests(SynchronousTestCase):
    """What a sender's domain comes to."""

    def test_accepted(self):
        """Who can be answered is accepted; the note says why, and some pay with karma."""
        rows = [
            ("<a@mx.example>", "mx", 0, "pass, mx"),
            ("<a@MX.example>", "mx", 0, "pass, mx"),
            ("<a@mixedmx.example>", "mx", 0, "pass, mx"),
            ("<a@addressmx.example>", "mx", 0, "pass, mx"),
            ("<a@a.example>", "a", -1, "pass, a"),
            ("<a@six.example>", "a", -1, "pass, a"),
            ("<a@mixed.example>", "a", -1, "pass, a"),
            ("<a@[192.0.2.1]>", "ip", -1, "skip, address literal"),
            ("<a@[IPv6:2001:db8::1]>", "ip", -1, "skip, address literal"),
            ("<>", "null", 0, "pass, null"),
        ]
        for sender, note, karma, logged in rows:
            plugin = tried()
            self.assertEqual(DECLINED, plugin.ask("mail", sender=sender), sender)
            self.assertEqual(note, plugin.transaction.notes["resolvable_fromhost"], sender)
            self.assertEqual((karma, logged), (plugin.connection.karma, plugin.log[-1]), sender)

    def test_refused(self):
        """Who cannot be answered is refused: softly, or as reject_type says."""
        rows = [
            ("<a@no.example>", "1.8", None, -1),
            ("<a@txt.example>", "1.8", None, -1),
            ("<a@badmx.example>", "1.8", INVALID_MX, -2),
            ("<a@null.example>", "1.8", INVALID_MX, -2),
            ("<a@private.example>", "1.8", INVALID_A, -2),
        ]
        for sender, detail, note, karma in rows:
            for arguments, code, digit in [("", DENYSOFT.code, "4."), ("reject_type perm", DENY.code, "5.")]:
                plugin = tried(arguments)
                answer = plugin.ask("mail", sender=sender)
                self.assertEqual((code, digit + detail), (answer.code, answer.status), sender)
                self.assertEqual(note, plugin.transaction.notes.get("resolvable_fromhost"), sender)
                self.assertEqual(karma, plugin.connection.karma, sender)
                self.assertTrue(plugin.log[-1].startswith("fail, "))

    def test_no_host(self):
        """A sender without domain is refused, softly or hard."""
        for arguments, expected in [("reject_type soft", DENYSOFT), ("reject_type hard", DENY)]:
            plugin = tried(arguments)
            answer = plugin.ask("mail", sender=Address("postmaster", ""))
            self.assertEqual((expected.code, -2), (answer.code, plugin.connection.karma))
            self.assertEqual("unparsable host", plugin.transaction.notes["resolvable_fromhost"])

    def test_no_answer(self):
        """Where the DNS gave no answer the refusal is soft, whatever reject_type says, and costs nothing."""
        for arguments in ("", "reject_type perm", "reject_type disconnect"):
            for sender in ("<a@broken.example>", "<a@brokenmx.example>"):
                plugin = tried(arguments)
                answer = plugin.ask("mail", sender=sender)
                self.assertEqual((DENYSOFT.code, "4.4.3"), (answer.code, answer.status), sender)
                self.assertIn("SERVFAIL", answer.text)
                self.assertEqual(0, plugin.connection.karma)

    def test_half_an_answer(self):
        """Without answer about MX an address is enough; nobody is refused for good, and nobody pays."""
        rows = [
            (["mx"], "a.example", "", "pass, a"),
            (["mx"], "no.example", "4.4.3", "fail, the DNS gives no answer about no.example (one)"),
            (["mx"], "private.example", "4.4.3", "fail, the DNS gives no answer about private.example (one)"),
            (["addresses"], "a.example", "4.4.3", "fail, the DNS gives no answer about a.example (one)"),
            (
                ["mx", "addresses"],
                "a.example",
                "4.4.3",
                "fail, the DNS gives no answer about a.example (one)",
            ),
        ]
        for methods, domain, status, logged in rows:
            plugin = tried()
            for method, detail in zip(methods, ("one", "two"), strict=False):
                failed = Answer(Status.FAILED, detail=detail)
                self.patch(plugin.plugin.dns, method, lambda _, failed=failed: succeed(failed))
            self.assertEqual(status, plugin.ask("mail", sender=f"<a@{domain}>").status)
            self.assertTrue(plugin.log[-1].startswith(logged), plugin.log)
            self.assertEqual(0, plugin.connection.karma)

    def test_texts(self):
        """The text says what is wrong with which domain."""
        rows = {
            "no.example": "no.example has neither mail exchanger nor address",
            "badmx.example": "badmx.example has no mail exchanger with a public address",
            "private.example": "private.example has no public address",
            "null.example": "null.example takes no mail, so nobody there can be answered",
        }
        for domain, text in rows.items():
            self.assertEqual(text, tried().ask("mail", sender=f"<a@{domain}>").text)

    def test_null_mx(self):
        """With null_mx a domain that takes no mail is refused for good, with its own status (RFC 7505)."""
        rows = [
            ("null_mx", DENY.code, "5.7.27"),
            ("null_mx reject_type soft", DENYSOFT.code, "4.7.27"),
            ("null_mx 0", DENYSOFT.code, "4.1.8"),
        ]
        for arguments, code, status in rows:
            plugin = tried(arguments)
            answer = plugin.ask("mail", sender="<a@null.example>")
            self.assertEqual((code, status), (answer.code, answer.status), arguments)
            self.assertEqual(-2, plugin.connection.karma)

    def test_networks(self):
        """What is not listed is valid."""
        self.assertEqual(DENYSOFT.code, tried().ask("mail", sender="<a@badmx.example>").code)
        self.assertEqual(DECLINED, tried(networks=[]).ask("mail", sender="<a@badmx.example>"))

    def test_bad_network(self):
        """A line that names no network stops the start."""
        error = self.assertRaises(ConfigError, tried, networks=["10/8", "private"])
        self.assertIn("invalid_resolvable_fromhost>:2:", str(error))


class HookTests(SynchronousTestCase):
    """The hook."""

    def test_no_state(self):
        """The second message of a client is judged like the first."""
        plugin = tried()
        answers = [plugin.ask("mail", sender="<a@mx.example>") for _ in range(2)]
        self.assertEqual([DECLINED, DECLINED], answers)

    def test_host_note(self):
        """The host is noted, whatever becomes of it."""
        for sender, host in [
            ("<a@no.example>", "no.example"),
            ("<a@[192.0.2.1]>", "[192.0.2.1]"),
            ("<>", None),
        ]:
            plugin = tried()
            plugin.ask("mail", sender=sender)
            self.assertEqual(host, plugin.transaction.notes.get("resolvable_fromhost_host"))

    def test_reject(self):
        """0 tolerates, naughty defers."""
        plugin = tried("reject 0")
        self.assertEqual(DECLINED, plugin.ask("mail", sender="<a@no.example>"))
        self.assertTrue(plugin.log[-1].startswith("fail, tolerated, "))
        plugin = tried("reject naughty reject_type disconnect")
        self.assertEqual(DECLINED, plugin.ask("mail", sender="<a@no.example>"))
        self.assertTrue(plugin.connection.naughty.startswith("(resolvable_fromhost) no.example"))
        self.assertEqual("disconnect", plugin.connection.naughty_reject_type)

    def test_disconnect(self):
        """The session ends if reject_type wants it."""
        answer = tried("reject_type disconnect").ask("mail", sender="<a@no.example>")
        self.assertEqual(DENY_DISCONNECT.code, answer.code)

    def test_exempt(self):
        """Relay clients, whitelisted clients and senders are not looked up."""
        for part, name, value in [
            ("connection", "relay_client", True),
            ("connection", "notes", {"whitelisthost": 1}),
            ("transaction", "notes", {"whitelistsender": 1}),
        ]:
            plugin = tried()
            setattr(getattr(plugin, part), name, value)
            self.assertEqual(DECLINED, plugin.ask("mail", sender="<a@no.example>"))
            self.assertEqual([], plugin.services.dns.asked)

    def test_many_exchangers(self):
        """10 mail exchangers are looked up, no more."""
        records = {"many.example": {"MX": [(1, f"mx{number}.example") for number in range(40)]}}
        plugin = Tried("resolvable_fromhost", dns=MemoryResolver(records))
        plugin.ask("mail", sender="<a@many.example>")
        self.assertEqual(1 + 10 * 2, len(plugin.services.dns.asked))

    def test_half_the_questions(self):
        """IPv6 is asked for only where IPv4 does not answer."""
        for address, kinds in (("198.51.100.1", ["MX", "A"]), ("10.0.0.1", ["MX", "A", "AAAA"])):
            records = {
                "x.example": {"MX": [(1, "mx.example")]},
                "mx.example": {"A": [address], "AAAA": ["2001:db8::1"]},
            }
            networks = {"invalid_resolvable_fromhost": NETWORKS}
            plugin = Tried("resolvable_fromhost", config=networks, dns=MemoryResolver(records))
            self.assertEqual(DECLINED, plugin.ask("mail", sender="<a@x.example>"))
            self.assertEqual(kinds, [kind for _, kind in plugin.services.dns.asked])

    def test_deadline(self):
        """All lookups share the time."""
        for arguments, seconds in [("", 10), ("timeout 3", 3)]:
            plugin = tried(arguments, silent={"mx.example"})
            answer = plugin.begin("mail", sender="<a@mx.example>")
            plugin.clock.advance(seconds - 0.1)
            self.assertNoResult(answer)
            plugin.clock.advance(0.1)
            plugin.clock.advance(0)
            self.assertEqual("4.4.3", self.successResultOf(answer).status)


class SampleTests(SynchronousTestCase):
    """The shipped configuration."""

    def test_samples(self):
        """What the file shows, commented out, is good as it stands."""
        reported = []
        plugin = Tried(
            "resolvable_fromhost",
            config={"invalid_resolvable_fromhost": samples("invalid_resolvable_fromhost")},
        )
        plugin.services.config.report = reported.append
        plugin.plugin.invalid.check()
        self.assertEqual([], reported)
