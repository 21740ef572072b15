"""The DNS of the test kit."""

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.dns import MX, Answer, Status
from qpsmtpd.kit.dns_answer import NO_SUCH_NAME
from qpsmtpd.testing.dns import MemoryResolver

TABLE = {
    "Example.com": {
        "A": ["192.0.2.1"],
        "AAAA": ["2001:db8::1"],
        "MX": [(20, "b.example.com"), (3, "a.example.com")],
        "TXT": ["v=spf1 -all"],
    },
    "192.0.2.1": {"PTR": ["example.com"]},
    "2001:DB8::1": {"PTR": ["six.example.com"]},
}


class MemoryResolverTests(SynchronousTestCase):
    """MemoryResolver."""

    def test_values(self):
        """The table answers as the DNS would, MX by preference, addresses merged."""
        rows = [
            ("a", "EXAMPLE.com.", ("192.0.2.1",)),
            ("aaaa", "example.com", ("2001:db8::1",)),
            ("mx", "example.com", (MX(3, "a.example.com"), MX(20, "b.example.com"))),
            ("txt", "example.com", ("v=spf1 -all",)),
            ("ptr", "192.0.2.1", ("example.com",)),
            ("ptr", "2001:db8:0::1", ("six.example.com",)),
            ("addresses", "example.com", ("192.0.2.1", "2001:db8::1")),
        ]
        for method, name, values in rows:
            answer = self.successResultOf(getattr(MemoryResolver(TABLE), method)(name))
            self.assertEqual(Answer(Status.FOUND, values), answer)

    def test_nothing(self):
        """A name without the type has none of it; a name that is not in the table does not exist."""
        dns = MemoryResolver(TABLE)
        self.assertEqual(Answer(Status.NONE), self.successResultOf(dns.txt("192.0.2.1")))
        for answer in (dns.a("example.org"), dns.ptr("192.0.2.2"), dns.a("a..b"), dns.ptr("x")):
            self.assertEqual(NO_SUCH_NAME, self.successResultOf(answer))

    def test_failed(self):
        """Names and addresses may fail, even those in the table."""
        dns = MemoryResolver(TABLE, failed={"example.com", "192.0.2.1"})
        for answer in (dns.mx("example.com"), dns.addresses("example.com"), dns.ptr("192.0.2.1")):
            self.assertEqual(Answer(Status.FAILED, detail="SERVFAIL"), self.successResultOf(answer))

    def test_silent(self):
        """Names may stay without an answer until they are cancelled."""
        dns = MemoryResolver(silent={"slow.example"})
        for answer in (dns.a("slow.example"), dns.addresses("slow.example")):
            self.assertNoResult(answer)
            answer.cancel()
            self.failureResultOf(answer, CancelledError)

    def test_asked(self):
        """Each question is on the list, impossible ones are not."""
        dns = MemoryResolver()
        for answer in (dns.addresses("Example.com"), dns.ptr("192.0.2.1"), dns.a("a..b"), dns.ptr("x")):
            self.successResultOf(answer)
        self.assertEqual([("example.com", "A"), ("example.com", "AAAA"), ("192.0.2.1", "PTR")], dns.asked)

    def test_mistakes(self):
        """A table with a type or a name that nobody can ask for is a mistake."""
        self.assertRaises(ValueError, MemoryResolver, {"example.com": {"a": ["192.0.2.1"]}})
        self.assertRaises(ValueError, MemoryResolver, {"a..b": {"A": ["192.0.2.1"]}})
