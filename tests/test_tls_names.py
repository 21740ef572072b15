"""Certificates that are chosen by the name that the client asks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from OpenSSL import SSL

from qpsmtpd.certificates import make_self_signed
from qpsmtpd.tls import ServerTLS
from qpsmtpd.tlsfiles import TLSConfigError

from .test_tls import HOST, TLSTestCase, client, presented, serial, shake


class SNITests(TLSTestCase):
    """More certificates, chosen by the name that the client asks for."""

    def setUp(self) -> None:
        super().setUp()
        self.sni = self.directory / "sni"
        self.sni.mkdir()
        self.main = serial(self.files.certificate)

    def put(self, name: str, host: str = "") -> int:
        """Put a certificate with its key into the directory; give its serial number."""
        crt, key = self.directory / "crt", self.directory / "key"
        make_self_signed(crt, key, host or name)
        path = self.sni / f"{name}.pem"
        path.write_bytes(key.read_bytes() + crt.read_bytes())
        crt.unlink()
        key.unlink()
        return serial(path)

    def load(self) -> ServerTLS:
        return ServerTLS(replace(self.files, sni=self.sni), host=HOST)

    def test_chosen(self) -> None:
        """Each name has its certificate, whatever its case; all others have the main one."""
        one, two = self.put("one.example"), self.put("mx.two.example")
        three = self.put("_.three.example", "*.three.example")
        four = self.put("*.four.example")
        tls = self.load()
        for sni, expected in (
            (b"one.example", one),
            (b"ONE.example.", one),
            (b"mx.two.example", two),
            (b"two.example", self.main),
            (b"a.three.example", three),
            (b"a.b.three.example", self.main),
            (b"three.example", self.main),
            (b"a.four.example", four),
            (b"*.four.example", four),
            (b"\xff.example", self.main),
            (b"", self.main),
        ):
            for maximum in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
                peer = client(sni=sni, maximum=maximum)
                shake(tls, peer)
                shown = peer.get_peer_certificate()
                assert shown is not None
                self.assertEqual(expected, shown.get_serial_number(), sni)

    def test_watched(self) -> None:
        """A file that changes, comes or goes is noticed; one that is bad leaves all as it was."""
        tls = self.load()
        new = self.put("one.example")
        self.assertTrue(tls.changed())
        tls.reload()
        self.assertFalse(tls.changed())
        (self.sni / "one.example.pem").write_text("bad")
        self.assertTrue(tls.changed())
        self.assertRaises(TLSConfigError, tls.reload)
        peer = client(sni=b"one.example")
        shake(tls, peer)
        shown = peer.get_peer_certificate()
        assert shown is not None
        self.assertEqual(new, shown.get_serial_number())
        (self.sni / "one.example.pem").unlink()
        tls.reload()
        self.assertEqual([self.main], presented(tls))

    def test_mistakes(self) -> None:
        """A bad file, a missing directory and two files for a name are named."""
        bad = self.sni / "bad.example.pem"
        bad.write_bytes(self.files.certificate.read_bytes())
        self.assertIn(f"{bad}: holds no private key", str(self.assertRaises(TLSConfigError, self.load)))
        bad.unlink()
        self.put("*.x.example")
        self.put("_.x.example", "*.x.example")
        self.assertIn("is for the same name", str(self.assertRaises(TLSConfigError, self.load)))
        self.sni = self.directory / "missing"
        self.assertIn("no such directory", str(self.assertRaises(TLSConfigError, self.load)))

    def test_hidden(self) -> None:
        """What is about to be written, and what is no certificate by its name, is left alone."""
        for name in (".x.pem", "README"):
            (self.sni / name).write_text("bad")
        self.assertEqual([self.main], presented(self.load()))

    def test_mismatch(self) -> None:
        """A certificate for somebody else is told, each with its file; the main one as well."""
        self.put("one.example", "other.example")
        self.put("_.two.example", "*.two.example")
        self.put("mx.two.example", "*.two.example")
        lines = [line for line in self.load().warnings() if "is not for" in line]
        path = self.sni / "one.example.pem"
        names = "other.example, localhost"
        self.assertEqual([f"{path}: certificate is not for one.example but for {names}"], lines)
        main = ServerTLS(self.files, host="mail.example.net").warnings()
        self.assertTrue(
            any(line.startswith(f"{self.files.certificate}: certificate is not for mail") for line in main)
        )

    def test_expired(self) -> None:
        """Each file that expires is named."""
        self.put("one.example")
        lines = self.load().warnings(datetime.now(UTC) + timedelta(days=4000))
        self.assertEqual(2, sum("certificate expired at" in line for line in lines))
