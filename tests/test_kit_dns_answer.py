"""Names as they are asked, and messages as they are read."""

from ipaddress import ip_address
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.dns_answer import (
    MX,
    NO_SUCH_NAME,
    Answer,
    Status,
    pointer,
    question_name,
    read,
    reversed_name,
)

from .dnsnet import SOA, parse, record, saying

NOT_FOUND = Answer(Status.NONE)
many = settings(max_examples=100, derandomize=True, deadline=None)


def found(*values):
    return Answer(Status.FOUND, values)


def said(*answers, name="example.com", kind="A", **fields):
    """Read what a server says, after it has been on the wire."""
    query = dns.Message(1)
    query.queries = [dns.Query(name, dns.A)]
    message = saying(*answers, **fields)(query)
    message.maxSize = 0
    return read(parse(message.toStr()), name, kind)


class NameTests(SynchronousTestCase):
    """question_name, pointer, reversed_name."""

    def test_spelling(self):
        """A name is asked in lower case, with A-labels, without the final dot; impossible names are not."""
        rows = [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("_dmarc.Example.com", "_dmarc.example.com"),
            ("com", "com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("_dmarc.bücher.example", "_dmarc.xn--bcher-kva.example"),
            ("straße.example", "xn--strae-oqa.example"),
            ("bücher。example", "xn--bcher-kva.example"),
            ("l" * 63 + ".example", "l" * 63 + ".example"),
            (".".join(["l" * 49] * 5) + ".abc", ".".join(["l" * 49] * 5) + ".abc"),
            (".".join(["l" * 49] * 5) + ".abcd", None),
            ("l" * 64 + ".example", None),
            ("ü" * 60 + ".example", None),
            ("ü." * 150, None),
            ("", None),
            (".", None),
            ("a..b", None),
            (".a", None),
            ("a..", None),
            ("a b", None),
            ("a\0b", None),
            ("a\r\nb", None),
            ("\u2028.example", None),
            ("\ud800.example", None),
        ]
        for name, spelled in rows:
            self.assertEqual(spelled, question_name(name), name)

    @many
    @given(st.text(st.characters(codec="utf-8"), max_size=300))
    def test_any_text(self, name):
        """Whatever a client says is either no name or one that fits in a message and asks for itself."""
        spelled = question_name(name)
        if spelled is not None:
            dns.Name(spelled.encode("ascii"))
            self.assertLessEqual(len(spelled), 253)
            self.assertEqual(spelled, question_name(spelled))

    def test_reversed(self):
        """RFC 5782: octets of IPv4, nibbles of IPv6, least significant first; mapped IPv4 is IPv4."""
        nibbles = "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2"
        rows = [
            ("192.0.2.1", "1.2.0.192.bl.example"),
            ("2001:db8::1", nibbles + ".bl.example"),
            ("2001:DB8:0::1", nibbles + ".bl.example"),
            ("::ffff:192.0.2.1", "1.2.0.192.bl.example"),
        ]
        for address, name in rows:
            self.assertEqual(name, reversed_name(address, "bl.example"))

    def test_reversed_nonsense(self):
        """What is no address has no name in a zone."""
        for text in ("", "192.0.2", "192.0.2.256", "example.com", "[192.0.2.1]", "192.0.2.1/32"):
            self.assertRaises(ValueError, reversed_name, text, "bl.example")

    @many
    @given(st.ip_addresses())
    def test_reversed_is_the_reverse_tree(self, address):
        """A zone takes the place of in-addr.arpa and ip6.arpa, for each address another name."""
        name = reversed_name(str(address), "arpa-of.example")
        self.assertEqual(pointer(str(address)).rsplit(".", 2)[0], name.removesuffix(".arpa-of.example"))
        self.assertEqual(name, question_name(name))
        if address.version == 4:
            self.assertEqual(address, ip_address(".".join(reversed(name.split(".")[:4]))))


class ReadTests(SynchronousTestCase):
    """What a message says."""

    def test_values(self):
        """Each type has its values: canonical addresses, hosts in lower case, joined strings."""
        rows = [
            ("A", [dns.Record_A("192.0.2.1"), dns.Record_A("192.0.2.0")], ("192.0.2.1", "192.0.2.0")),
            ("AAAA", [dns.Record_AAAA("2001:db8:0:0::1")], ("2001:db8::1",)),
            ("MX", [dns.Record_MX(20, "b.example"), dns.Record_MX(3, "A.Example")],
             (MX(3, "a.example"), MX(20, "b.example"))),
            ("MX", [dns.Record_MX(0, b"")], (MX(0, ""),)),
            ("TXT", [dns.Record_TXT(b"v=spf1 ", b"-all"), dns.Record_TXT()], ("v=spf1 -all", "")),
            ("TXT", [dns.Record_TXT("grün".encode()), dns.Record_TXT(b"\xff")], ("grün", "\ufffd")),
            ("PTR", [dns.Record_PTR("A.Example"), dns.Record_PTR("b.example")], ("a.example", "b.example")),
            ("PTR", [dns.Record_PTR(b"a b\r\n\\\xff.example")], (r"a\032b\013\010\\255.example",)),
        ]  # fmt: skip
        for kind, payloads, values in rows:
            answer, ttl = said(*(record("example.com", payload) for payload in payloads), kind=kind)
            self.assertEqual((found(*values), 300), (answer, ttl))

    def test_nothing(self):
        """No such name and no such record are both a certain none, by name."""
        other = record("example.com", dns.Record_MX(1, "a.example"))
        self.assertEqual(NO_SUCH_NAME, said(rcode=dns.ENAME)[0])
        self.assertEqual(NOT_FOUND, said()[0])
        self.assertEqual(NOT_FOUND, said(other)[0])

    def test_other_name(self):
        """A record of another name, class or type is not taken, whatever was asked."""
        alien = record("example.com", dns.Record_A("192.0.2.9"))
        alien.cls = dns.CH
        other = record("evil.example", dns.Record_A("192.0.2.9"))
        self.assertEqual(NOT_FOUND, said(other, alien)[0])
        own = record("EXAMPLE.com", dns.Record_A("192.0.2.1"))
        self.assertEqual(found("192.0.2.1"), said(other, own, alien)[0])

    def test_alias(self):
        """A chain of CNAMEs is followed, in whatever order and case; it lives as long as its weakest link."""
        chain = [
            record("target.example", dns.Record_A("192.0.2.1"), 200),
            record("B.example", dns.Record_CNAME("TARGET.example"), 100),
            record("example.com", dns.Record_CNAME("b.example"), 300),
        ]
        self.assertEqual((found("192.0.2.1"), 100), said(*chain))
        self.assertEqual(NOT_FOUND, said(*chain, kind="MX")[0])
        self.assertEqual(NO_SUCH_NAME, said(*chain[1:], rcode=dns.ENAME)[0])

    def test_alias_without_end(self):
        """A loop or an endless chain is a failure, not a none."""
        loop = [record("example.com", dns.Record_CNAME("example.com"))]
        names = ["example.com", *(f"a{i}.example" for i in range(20))]
        chain = [record(a, dns.Record_CNAME(b)) for a, b in pairwise(names)]
        for records in (loop, chain):
            self.assertEqual((Answer(Status.FAILED, detail="too many aliases"), 0), said(*records))

    def test_alias_not_followed_by_the_server(self):
        """An alias alone is a none only from a server that would have found what it stands for."""
        alias = record("example.com", dns.Record_CNAME("target.example"))
        self.assertEqual(NOT_FOUND, said(alias)[0])
        self.assertEqual("referral", said(alias, recAv=0, auth=True)[0].detail)

    def test_lifetime(self):
        """Found lives as long as its shortest record; an absurd lifetime is none (RFC 2181)."""
        first = record("example.com", dns.Record_A("192.0.2.1"), 7)
        for ttl, seconds in ((3, 3), (9, 7), (0, 0), (2**31, 0)):
            self.assertEqual(seconds, said(first, record("example.com", dns.Record_A("192.0.2.2"), ttl))[1])

    def test_lifetime_of_nothing(self):
        """RFC 2308: none lives as long as the SOA says, or not at all; and no longer than its alias."""
        alias = record("example.com", dns.Record_CNAME("b.example"), 5)
        for rcode in (dns.OK, dns.ENAME):
            self.assertEqual(60, said(rcode=rcode, authority=[SOA])[1])
            self.assertEqual(0, said(rcode=rcode)[1])
            self.assertEqual(5, said(alias, rcode=rcode, authority=[SOA])[1])

    def test_answer(self):
        """An answer is exactly one of found, none and failed, and gives its values one by one."""
        for status in Status:
            answer = Answer(status, ("x",))
            told = {"found": answer.found, "none": answer.none, "failed": answer.failed}
            self.assertEqual([status.value], [name for name, value in told.items() if value])
        self.assertEqual(["a", "b"], list(found("a", "b")))
