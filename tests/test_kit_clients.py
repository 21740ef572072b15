"""Lists of clients in postgrey's form."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.clients import Clients
from qpsmtpd.kit.match import LineError

LIST = [
    "# a comment",
    "192.0.2.7   # one",
    "198.51.100.0/24",
    "10.1",
    "2001:db8::/32",
    "example.com",
    "/^mx[0-9]+\\.example\\.net$/",
    "face.example",
]


class ClientsTests(SynchronousTestCase):
    def test_entries(self) -> None:
        clients = Clients(LIST)
        rows = [
            ("192.0.2.7", "", True),
            ("192.0.2.8", "", False),
            ("198.51.100.255", "", True),
            ("10.1.255.1", "", True),
            ("2001:db8:1::1", "", True),
            ("2001:db9::1", "", False),
            ("192.0.2.8", "example.com", True),
            ("192.0.2.8", "A.Example.Com", True),
            ("192.0.2.8", "an-example.com", False),
            ("192.0.2.8", "example.com.example.org", False),
            ("192.0.2.8", "MX12.example.net", True),
            ("192.0.2.8", "mx.example.net", False),
            ("192.0.2.8", "face.example", True),
        ]
        for address, host, expected in rows:
            self.assertEqual(expected, clients.has(address, host), (address, host))

    def test_empty(self) -> None:
        self.assertFalse(Clients(["", "#x"]).has("192.0.2.1", "Unknown"))

    def test_mistakes(self) -> None:
        """What is no entry is named by its line."""
        for text in ("/(/", "300.1.1.1", "10.0.0.0/", "1:2:3:4:5:6:7:8:9"):
            error = self.assertRaises(LineError, Clients, ["example.com", "#", text])
            self.assertEqual(2, error.position)
