"""Where a next hop is: what an administrator may write, and how it is connected to."""

from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.certificates import make_self_signed
from qpsmtpd.kit.smtpplace import endpoint_of, read_authorities, read_place, shown


class PlaceTests(SynchronousTestCase):
    def test_places(self) -> None:
        """Names, addresses and paths are read, and written for the log."""
        rows = [
            ("hop.example", "hop.example", "hop.example:25"),
            ("mail_hop", "mail_hop", "mail_hop:25"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.1:25"),
            ("[2001:DB8::1]", "2001:db8::1", "[2001:db8::1]:25"),
            ("/run/x y", "/run/x y", "/run/x y"),
            ("/" + 106 * "x", "/" + 106 * "x", "/" + 106 * "x"),
        ]
        for word, place, text in rows:
            self.assertEqual((place, text), (read_place(word), shown(place, 25)))

    def test_no_places(self) -> None:
        for word in ("", "h/st", "-h", "a..b", "[h]", "2001:db8::1", "/" + 107 * "x", "/" + 54 * "\u00e9"):
            self.assertRaises(ValueError, read_place, word)

    def test_endpoints(self) -> None:
        """A socket, and a name that has an underscore, are connected to as such."""
        reactor: Any = MemoryReactorClock()
        for place in ("/run/x", "mail_hop"):
            endpoint_of(reactor, place, 26, 5).connect(None)  # type: ignore[arg-type]
        self.assertEqual(("/run/x", 5), (reactor.unixClients[0][0], reactor.unixClients[0][2]))
        self.assertEqual(("mail_hop", 26), reactor.tcpClients[0][:2])
        self.assertEqual(
            "<HostnameEndpoint hop.example:26>", repr(endpoint_of(reactor, "hop.example", 26, 5))
        )

    def test_authorities(self) -> None:
        """A file with certificates can be trusted, others say what is wrong."""
        directory = Path(self.mktemp())
        directory.mkdir()
        certificate, key, empty = (directory / name for name in ("crt", "key", "empty"))
        make_self_signed(certificate, key, "hop.example")
        empty.touch()
        self.assertIsNotNone(read_authorities(certificate))
        for path, expected in (
            (key, "holds no"),
            (empty, "holds no"),
            (directory / "none", "cannot be read"),
        ):
            error = self.assertRaises(ValueError, read_authorities, path)
            self.assertTrue(str(error).startswith(f"{path} {expected}"), error)
