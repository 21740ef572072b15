"""Certificates that clients show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from qpsmtpd.tls import ServerTLS, info_of
from qpsmtpd.tlsfiles import TLSConfigError

from .test_tls import HOST, TLSTestCase, client, client_context, shake


class ClientCertificateTests(TLSTestCase):
    """Clients' certificates: off, ask, require."""

    def setUp(self) -> None:
        super().setUp()
        self.ca_key = ec.generate_private_key(ec.SECP256R1())
        self.ca = self.write("ca.pem", self.issue("CA", self.ca_key, self.ca_key, ca=True))

    def issue(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        signer: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        names: tuple[x509.GeneralName, ...] = (),
        days: int = 30,
    ) -> bytes:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])

        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(named("CA"), named(name), key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=90)).not_valid_after(
            now + timedelta(days=days)
        )
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def peer(self, name: str = "joe", *, ca: bool = True, **options: Any) -> SSL.Connection:
        """Make a client with a certificate of the authority, or of another one that has the same name."""
        key = ec.generate_private_key(ec.SECP256R1())
        signer = self.ca_key if ca else ec.generate_private_key(ec.SECP256R1())
        maximum = options.pop("maximum", SSL.TLS1_3_VERSION)
        issued = x509.load_pem_x509_certificate(self.issue(name, key, signer, **options))
        context = client_context(maximum=maximum)
        context.use_certificate(issued)
        context.use_privatekey(key)
        connection = SSL.Connection(context, None)
        connection.set_connect_state()
        return connection

    def names(self, mode: str, peer: SSL.Connection, **files: Any) -> tuple[str, ...]:
        tls = ServerTLS(replace(self.files, client_ca=self.ca, **files))
        server = shake(tls, peer, tls.accepting(mode))
        return info_of(SimpleNamespace(getHandle=lambda: server)).client_names

    def test_names(self) -> None:
        """The names are the alternative ones, else the common one, else there is a fingerprint."""
        mail, host = x509.RFC822Name("joe@example.org"), x509.DNSName("mx.example.org")
        self.assertEqual(("joe",), self.names("ask", self.peer()))
        self.assertEqual(
            ("joe@example.org", "mx.example.org"), self.names("ask", self.peer(names=(mail, host)))
        )
        self.assertEqual("sha256:", self.names("require", self.peer(""))[0][:7])
        self.assertEqual(("jo?e",), self.names("ask", self.peer("jo\ne")))

    def test_older(self) -> None:
        """It is the same in TLS 1.2."""
        self.assertEqual(("joe",), self.names("require", self.peer(maximum=SSL.TLS1_2_VERSION)))

    def test_off(self) -> None:
        """Who is not asked has no name."""
        self.assertEqual((), self.names("off", self.peer()))

    def test_ask(self) -> None:
        """Who has no certificate, a foreign one or an expired one is welcome, without a name."""
        for peer in (client(), self.peer(ca=False), self.peer(days=-1)):
            self.assertEqual((), self.names("ask", peer))

    def test_require(self) -> None:
        """Who has no certificate, a foreign one or an expired one does not get in."""
        for peer in (client(), self.peer(ca=False), self.peer(days=-1)):
            self.assertRaises(SSL.Error, self.names, "require", peer)

    def test_server_authority(self) -> None:
        """Who vouches for the server says nothing about clients."""
        other = ec.generate_private_key(ec.SECP256R1())
        client_ca = self.write("other.pem", self.issue("CA", other, other, ca=True))
        tls = ServerTLS(replace(self.files, ca=self.ca, client_ca=client_ca))
        self.assertRaises(SSL.Error, shake, tls, self.peer(), tls.accepting("require"))

    def test_default(self) -> None:
        """The files say what holds for listeners that say nothing."""
        self.assertRaises(SSL.Error, self.names, "", client(), client="require")
        self.assertEqual(("joe",), self.names("", self.peer(), client="ask"))

    def test_no_authorities(self) -> None:
        """Without authorities nobody can be verified."""
        tls = ServerTLS(self.files)
        error = self.assertRaises(TLSConfigError, tls.accepting, "ask")
        self.assertIn("client=ask needs client_ca", str(error))
        self.assertRaises(TLSConfigError, ServerTLS, replace(self.files, client="require"))

    def test_with_names(self) -> None:
        """A certificate chosen by name asks no less."""
        sni = self.directory / "sni"
        sni.mkdir()
        (sni / f"{HOST}.pem").write_bytes(self.files.key.read_bytes() + self.files.certificate.read_bytes())
        for make, expected in ((self.peer, ("joe",)), (partial(self.peer, ca=False), ())):
            peer = make()
            peer.set_tlsext_host_name(HOST.encode())
            self.assertEqual(expected, self.names("ask", peer, sni=sni))
        peer = client(sni=HOST.encode())
        self.assertRaises(SSL.Error, self.names, "require", peer, sni=sni)

    def test_not_resumed(self) -> None:
        """A refused certificate does not become a good one with a ticket, nor is none asked for then."""
        tls = ServerTLS(replace(self.files, client_ca=self.ca))
        for first_mode, mode in (("ask", "ask"), ("off", "ask"), ("off", "require"), ("ask", "require")):
            first = self.peer(ca=False, maximum=SSL.TLS1_2_VERSION)
            shake(tls, first, tls.accepting(first_mode))
            again = SSL.Connection(first.get_context(), None)
            again.set_connect_state()
            session = first.get_session()
            assert session is not None
            again.set_session(session)
            if mode == "require":
                self.assertRaises(SSL.Error, shake, tls, again, tls.accepting(mode))
                continue
            server = shake(tls, again, tls.accepting(mode))
            self.assertNotEqual(first.master_key(), again.master_key())
            self.assertEqual(
                (), info_of(SimpleNamespace(getHandle=lambda server=server: server)).client_names
            )

    def test_reload(self) -> None:
        """New authorities count from the next handshake on, on all listeners."""
        tls = ServerTLS(replace(self.files, client_ca=self.ca))
        asking = tls.accepting("require")
        old = self.peer()
        self.ca_key = ec.generate_private_key(ec.SECP256R1())
        self.write("ca.pem", self.issue("CA", self.ca_key, self.ca_key, ca=True))
        self.assertTrue(tls.changed())
        tls.reload()
        self.assertIs(asking, tls.accepting("require"))
        self.assertRaises(SSL.Error, shake, tls, old, asking)
        shake(tls, self.peer(), asking)
