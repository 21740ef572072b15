"""The resolver: what it asks, remembers and shares, and what it reads from the system."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.names import dns

from qpsmtpd.kit.dns import Answer, Resolver, Status
from qpsmtpd.kit.dns_answer import NO_SUCH_NAME

from .dnsnet import NS1, NS2, SOA, NetworkTestCase, octets, parse, record, saying, silent

ADDRESS = record("example.com", dns.Record_A("192.0.2.1"), 300)
HERE = saying(ADDRESS)
FOUND = Answer(Status.FOUND, ("192.0.2.1",))


def failed(detail):
    """Give the answer of a failure."""
    return Answer(Status.FAILED, detail=detail)


def families(ipv4, ipv6):
    """Make a server that answers differently for A and AAAA."""
    return lambda query: (ipv4 if query.queries[0].type == dns.A else ipv6)(query)


class ResolverTestCase(NetworkTestCase):
    """A resolver with one server."""

    def resolver(self, server, **settings):
        """Give a resolver that knows nothing of the machine the test runs on."""
        self.connect(server)
        settings = {"hosts": "/nonexistent/hosts", "resolv_conf": "/nonexistent/resolv.conf", **settings}
        return Resolver(self.network, [NS1], **settings)

    def ask(self, deferred):
        """Let the servers answer; give the result, which must be there then."""
        self.network.run()
        return self.successResultOf(deferred)

    def advance(self, seconds):
        self.network.advance(seconds)
        self.network.run()

    def asked(self):
        """Give the number of questions that went over the network."""
        return len(self.network.asked)


class QuestionTests(ResolverTestCase):
    """What each method asks."""

    def test_questions(self):
        """Each method asks for its own type, ptr in the tree of the address family."""
        nibbles = "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa"
        rows = [
            ("a", "Example.com.", dns.Query("example.com", dns.A)),
            ("aaaa", "example.com", dns.Query("example.com", dns.AAAA)),
            ("mx", "example.com", dns.Query("example.com", dns.MX)),
            ("txt", "bücher.example", dns.Query("xn--bcher-kva.example", dns.TXT)),
            ("ptr", "192.0.2.1", dns.Query("1.2.0.192.in-addr.arpa", dns.PTR)),
            ("ptr", "2001:db8::1", dns.Query(nibbles, dns.PTR)),
        ]
        resolver = self.resolver(saying(authority=[SOA]))
        for method, name, query in rows:
            self.assertEqual(Answer(Status.NONE), self.ask(getattr(resolver, method)(name)))
            self.assertEqual((NS1[0], query), self.network.asked[-1])

    def test_impossible(self):
        """What cannot be a name or an address does not exist, and nobody is asked."""
        resolver = self.resolver(HERE)
        for method in ("a", "aaaa", "mx", "txt", "addresses"):
            for name in ("", ".", "a..b", "l" * 64, "l." * 127 + "com", "a b", "ü" * 60):
                self.assertEqual(NO_SUCH_NAME, self.ask(getattr(resolver, method)(name)))
        for address in ("", "example.com", "192.0.2"):
            self.assertEqual(NO_SUCH_NAME, self.ask(resolver.ptr(address)))
        self.assertEqual(0, self.asked())

    def test_servers(self):
        """Servers are given as addresses and asked in their order."""
        network = self.connect(saying(rcode=dns.ESERVER), HERE)
        self.assertRaises(ValueError, Resolver, network, [("ns.example.com", 53)])
        self.assertEqual(FOUND, self.ask(Resolver(network, [NS1, NS2], hosts="").a("example.com")))

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(st.binary(max_size=60), st.integers(0, 250), st.sampled_from(["a", "mx", "txt"]))
    def test_any_octets(self, noise, at, method):
        """Whatever a server writes into its reply, there is an answer in time, and nothing is left."""
        records = [ADDRESS, record("example.com", dns.Record_MX(1, "a.example")), SOA]
        records.append(record("example.com", dns.Record_TXT(b"x" * 50)))

        def noisy(query):
            reply = octets(saying(*records, authority=[SOA])(query))
            return reply[:at] + noise + reply[at + len(noise) :]

        answer = getattr(self.resolver(noisy), method)("example.com")
        self.network.run()
        self.advance(1)
        self.advance(4)
        self.assertIsInstance(self.successResultOf(answer), Answer)
        self.assertTrue(self.network.idle())


class AddressesTests(ResolverTestCase):
    """A and AAAA at once."""

    def test_merged(self):
        """Found if anything is found, none only if both are, failed otherwise."""
        there = saying(record("example.com", dns.Record_AAAA("2001:db8::1")))
        down, empty, unknown = saying(rcode=dns.ESERVER), saying(), saying(rcode=dns.ENAME)
        rows = [
            (HERE, there, Answer(Status.FOUND, ("192.0.2.1", "2001:db8::1"))),
            (HERE, empty, FOUND),
            (empty, there, Answer(Status.FOUND, ("2001:db8::1",))),
            (HERE, down, Answer(Status.FOUND, ("192.0.2.1",), "SERVFAIL")),
            (down, empty, failed("SERVFAIL")),
            (unknown, down, failed("SERVFAIL")),
            (empty, empty, Answer(Status.NONE)),
            (unknown, unknown, NO_SUCH_NAME),
        ]
        for ipv4, ipv6, answer in rows:
            self.assertEqual(answer, self.ask(self.resolver(families(ipv4, ipv6)).addresses("example.com")))

    def test_guessing(self):
        """RFC 5452: a number and a socket of its own for each question, so that no guess fits two."""
        self.patch(dns, "randomSource", iter((7, 9)).__next__)
        self.resolver(silent).addresses("example.com")
        self.assertEqual([7, 9], [parse(datagram).id for socket, datagram in self.network.sent])
        self.assertEqual(self.network.sockets, [socket for socket, datagram in self.network.sent])

    def test_at_once(self):
        """Both are asked before either is answered, and both are given up together."""
        answer = self.resolver(silent).addresses("example.com")
        self.assertEqual(2, len(self.network.sent))
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertTrue(self.network.idle())


class SharedTests(ResolverTestCase):
    """Questions under way."""

    def test_shared(self):
        """A question that is under way is not asked again."""
        resolver = self.resolver(HERE)
        answers = [resolver.a("example.com"), resolver.a("EXAMPLE.com.")]
        self.assertEqual([FOUND, FOUND], [self.ask(answer) for answer in answers])
        self.assertEqual(1, self.asked())

    def test_cancel_one(self):
        """Who gives up does not spoil it for the others."""
        resolver = self.resolver(HERE)
        first, second = resolver.a("example.com"), resolver.a("example.com")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(FOUND, self.ask(second))

    def test_cancel_all(self):
        """When all have given up nothing is left, and the question can be asked again."""
        resolver = self.resolver(HERE)
        for answer in [resolver.a("example.com"), resolver.a("example.com")]:
            answer.cancel()
            self.failureResultOf(answer, CancelledError)
        self.assertTrue(self.network.idle())
        self.network.sent.clear()
        self.assertEqual(FOUND, self.ask(resolver.a("example.com")))

    def test_cancel_while_answered(self):
        """An asker may cancel another one when it gets the answer, and ask again."""
        resolver = self.resolver(saying(rcode=dns.ESERVER))
        first, second = resolver.a("example.com"), resolver.a("example.com")
        first.addCallback(lambda answer: second.cancel())
        first.addCallback(lambda ignored: resolver.a("example.com"))
        self.assertEqual(failed("SERVFAIL"), self.ask(first))
        self.failureResultOf(second, CancelledError)
        self.assertEqual(2, self.asked())

    def test_max_queries(self):
        """Past the limit a question fails at once; one that is under way may still be joined."""
        resolver = self.resolver(HERE, max_queries=1)
        first, joined, second = (resolver.a(i) for i in ("example.com", "example.com", "example.org"))
        self.assertEqual(failed("too many queries"), self.successResultOf(second))
        self.assertEqual([FOUND, FOUND], [self.ask(first), self.ask(joined)])
        self.assertEqual(Answer(Status.NONE), self.ask(resolver.a("example.org")))

    def test_time_limit(self):
        """A question that nobody answers fails after its time."""
        answer = self.resolver(silent, timeout=0.5).a("example.com")
        self.advance(0.5)
        self.assertEqual(failed("timeout"), self.successResultOf(answer))
        self.assertTrue(self.network.idle())

    def test_close(self):
        """Closing answers whoever waits, leaves nothing, and ends the service."""
        resolver = self.resolver(HERE)
        self.ask(resolver.a("example.com"))
        answers = [resolver.a(name) for name in ("a.example", "b.example", "c.example")]
        answers[0].addCallback(lambda answer: answers[1].cancel() or answer)
        resolver.close()
        self.assertEqual([failed("closed")] * 2, [self.successResultOf(answers[i]) for i in (0, 2)])
        self.failureResultOf(answers[1], CancelledError)
        self.assertEqual(failed("closed"), self.successResultOf(resolver.a("example.com")))
        self.assertTrue(self.network.idle())


class CacheTests(ResolverTestCase):
    """What is remembered."""

    def kept(self, server, method="a"):
        """Give the seconds that an answer is kept, at most 4000."""
        resolver = self.resolver(server)
        for second in range(4000):
            self.ask(getattr(resolver, method)("example.com"))
            if self.asked() > 1:
                return second
            self.network.advance(1)
        return 4000

    def test_lifetime(self):
        """Answers are kept as long as they live, but no longer than an hour; failures are not."""
        rows = [
            (HERE, 300),
            (saying(record("example.com", dns.Record_A("192.0.2.1"), 2**31 - 1)), 3600),
            (saying(record("example.com", dns.Record_A("192.0.2.1"), 0)), 1),
            (saying(authority=[SOA]), 60),
            (saying(rcode=dns.ENAME, authority=[SOA]), 60),
            (saying(rcode=dns.ENAME), 1),
            (saying(rcode=dns.ESERVER), 1),
        ]
        for server, seconds in rows:
            self.assertEqual(seconds, self.kept(server))

    def test_large(self):
        """An answer with more text than the limit is not kept."""
        for size, seconds in ((16, 300), (17, 1)):
            text = record("example.com", dns.Record_TXT(*[b"x" * 250] * size), 300)
            self.assertEqual(seconds, self.kept(saying(text, maxSize=0), "txt"))

    def test_max_entries(self):
        """When the cache is full, what was not used for longest goes."""
        resolver = self.resolver(saying(authority=[SOA]), max_entries=2)
        for name in ("a", "b", "a", "c", "a"):
            self.ask(resolver.a(name))
        self.assertEqual(3, self.asked())
        self.ask(resolver.a("b"))
        self.assertEqual(4, self.asked())


class SystemTests(ResolverTestCase):
    """The files of the system."""

    def file(self, text):
        """Write a file and give its path."""
        path = self.mktemp()
        Path(path).write_text(text)
        return path

    def test_hosts(self):
        """Addresses in the hosts file count before the DNS, for the family that is there."""
        text = "# 1\n192.0.2.7\tOne.Example one. # two\n192.0.2.8 one\n2001:DB8::7 one\n\nx y\n192.0.2.7 one"
        resolver = self.resolver(saying(), hosts=self.file(text))
        self.assertEqual(("192.0.2.7", "192.0.2.8"), self.ask(resolver.a("ONE")).values)
        self.assertEqual(("2001:db8::7",), self.ask(resolver.aaaa("one.")).values)
        self.assertEqual(("192.0.2.7",), self.ask(resolver.a("one.example")).values)
        self.assertEqual(0, self.asked())
        answers = [resolver.aaaa("one.example"), resolver.mx("one"), resolver.a("two"), resolver.a("y")]
        self.assertEqual([()] * 4, [self.ask(answer).values for answer in answers])
        self.assertEqual(4, self.asked())

    def test_hosts_change(self):
        """The hosts file is read again when it has changed, and may go."""
        path = self.file("192.0.2.7 one\n")
        resolver = self.resolver(saying(), hosts=path)
        self.assertEqual(("192.0.2.7",), self.ask(resolver.a("one")).values)
        Path(path).write_text("192.0.2.123 one\n")
        self.assertEqual(("192.0.2.7",), self.ask(resolver.a("one")).values)  # looked at a moment ago
        self.network.advance(1)
        self.assertEqual(("192.0.2.123",), self.ask(resolver.a("one")).values)
        Path(path).unlink()
        self.network.advance(1)
        self.assertEqual((), self.ask(resolver.a("one")).values)

    def test_resolv_conf(self):
        """Without servers those of resolv.conf are asked, three at most, or the one of this machine."""
        rows = [
            ("nameserver 192.0.2.53\nsearch a.test\nnameserver 2001:db8::53", ["192.0.2.53", "2001:db8::53"]),
            ("# nameserver 192.0.2.1\nnameserver\nnameserver x\nnameserver fe80::1%eth0", ["fe80::1%eth0"]),
            ("".join(f"nameserver 192.0.2.{i}\n" for i in range(1, 9)), [f"192.0.2.{i}" for i in (1, 2, 3)]),
            ("", ["127.0.0.1"]),
        ]
        for text, servers in rows:
            network = self.connect()
            resolver = Resolver(network, hosts="/nonexistent", resolv_conf=self.file(text))
            network.servers = dict.fromkeys([(server, 53) for server in servers], saying(rcode=dns.ESERVER))
            answer = resolver.a("example.com")
            network.run()
            self.assertEqual(failed("SERVFAIL"), self.successResultOf(answer))
            self.assertEqual(servers, [server for server, query in network.asked])
