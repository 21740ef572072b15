"""The arguments of XCLIENT and XFORWARD."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp.command import SyntaxFault
from qpsmtpd.smtp.xclient import MAX_VALUE, XCLIENT, XFORWARD, read_attributes

GOOD = [
    ("NAME=client.example ADDR=192.0.2.7", {"NAME": "client.example", "ADDR": "192.0.2.7"}),
    ("addr=IPV6:2001:DB8:0::1", {"ADDR": "2001:db8::1"}),
    ("ADDR=ipv6:::ffff:192.0.2.7", {"ADDR": "192.0.2.7"}),
    ("Addr=[unavailable] NAME=[TempUnavail]", {"ADDR": "[UNAVAILABLE]", "NAME": "[TEMPUNAVAIL]"}),
    ("PORT=025 PROTO=esmtp", {"PORT": "25", "PROTO": "ESMTP"}),
    ("LOGIN=a+20b+2Bc+40d", {"LOGIN": "a b+c@d"}),
    ("LOGIN=j+C3+B6rg", {"LOGIN": "jörg"}),
    ("HELO=[192.0.2.7]", {"HELO": "[192.0.2.7]"}),
    ("DESTADDR=192.0.2.25 DESTPORT=587", {"DESTADDR": "192.0.2.25", "DESTPORT": "587"}),
    ("NAME=" + "x" * MAX_VALUE, {"NAME": "x" * MAX_VALUE}),
]

BAD = [
    "",
    "NAME",
    "NAME=",
    "IDENT=1",
    "FOO=bar",
    "ADDR=192.0.2.7 addr=192.0.2.8",
    "ADDR=2001:db8::1",
    "ADDR=IPV6:fe80::1+25eth0",
    "ADDR=IPV6:192.0.2.7",
    "ADDR=localhost",
    "ADDR=[TEMPUNAVAIL]",
    "PORT=65536",
    "PORT=x",
    "PORT=+C2+B2",
    "PROTO=LMTP",
    "PROTO=[UNAVAILABLE]",
    "NAME=a+20b",
    "NAME=a+0Db",
    "NAME=a=b",
    "NAME=a+4",
    "HELO=a+0D+0Ab",
    "LOGIN=+20",
    "LOGIN=a+00b",
    "LOGIN=+ff",
    "NAME=" + "x" * (MAX_VALUE + 1),
]


class AttributeTests(SynchronousTestCase):
    def test_good(self) -> None:
        for argument, expected in GOOD:
            self.assertEqual(expected, read_attributes(XCLIENT, argument), argument)

    def test_bad(self) -> None:
        for argument in BAD:
            fault = self.assertRaises(SyntaxFault, read_attributes, XCLIENT, argument)
            self.assertEqual(501, fault.reply.code, argument)

    def test_forward(self) -> None:
        """XFORWARD has attributes of its own."""
        found = read_attributes(XFORWARD, "IDENT=4F1 SOURCE=remote PROTO=ESMTPSA")
        self.assertEqual({"IDENT": "4F1", "SOURCE": "REMOTE", "PROTO": "ESMTPSA"}, found)
        for argument in ("LOGIN=a", "SOURCE=here", "SOURCE=[UNAVAILABLE]", "DESTADDR=192.0.2.1"):
            self.assertRaises(SyntaxFault, read_attributes, XFORWARD, argument)
