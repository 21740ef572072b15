"""Certificates and handshakes, in memory."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import SkipTest
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, optionsForClientTLS
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.test.iosim import connect, makeFakeClient, makeFakeServer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from qpsmtpd.certificates import make_self_signed
from qpsmtpd.connection import TLSInfo
from qpsmtpd.tls import ServerTLS, info_of
from qpsmtpd.tlsfiles import TLSConfigError, TLSFiles

HOST = "mx.example.com"
# RFC 7919 appendix A.1: the group ffdhe2048, as file.
DH_PARAMETERS = """-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


def client_context(ciphers: str = "ALL", maximum: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    """Make a context that verifies nothing and would speak any version since 1.0."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_max_proto_version(maximum)
    context.set_cipher_list(f"{ciphers}:@SECLEVEL=0".encode())
    return context


def client(ciphers: str = "ALL", maximum: int = SSL.TLS1_3_VERSION, sni: bytes = b"") -> SSL.Connection:
    """Make a client of that kind."""
    connection = SSL.Connection(client_context(ciphers, maximum), None)
    connection.set_connect_state()
    if sni:
        connection.set_tlsext_host_name(sni)
    return connection


def carry(source: SSL.Connection, target: SSL.Connection) -> None:
    """Move what one side wants to send to the other."""
    with contextlib.suppress(SSL.WantReadError):
        target.bio_write(source.bio_read(65536))


def layer(factory: Any) -> TLSMemoryBIOProtocol:
    """Make what `startTLS` puts between a transport and a protocol."""
    return TLSMemoryBIOProtocol(TLSMemoryBIOFactory(factory, False, None, Clock()), Protocol(), False)


def accepting(tls: ServerTLS, factory: Any = None) -> SSL.Connection:
    """Make the server's end of a connection."""
    factory = factory or tls.context_factory
    server: SSL.Connection = factory.serverConnectionForTLS(layer(factory))
    server.set_accept_state()
    return server


def shake(tls: ServerTLS, peer: SSL.Connection, factory: Any = None) -> SSL.Connection:
    """Run a handshake and return the server's end; the error of the server is raised before the client's."""
    server = accepting(tls, factory)
    waiting = [peer, server]
    for _ in range(10):
        for one, other in ((peer, server), (server, peer)):
            try:
                one.do_handshake()
                if one in waiting:
                    waiting.remove(one)
            except SSL.WantReadError:
                pass
            carry(one, other)
    assert not waiting
    return server


def presented(tls: ServerTLS) -> list[int]:
    """Give the serial numbers of the certificates that a client is shown."""
    peer = client()
    shake(tls, peer)
    return [each.to_cryptography().serial_number for each in peer.get_peer_cert_chain() or []]


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def sign(name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, by: str = "") -> bytes:
    """Make a certificate for a key, signed with the key itself whatever the issuer is called."""

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(named(by or name), named(name), key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=30))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def with_sha1(pem: bytes) -> bytes:
    """Say that the digest of an RSA signature is SHA-1, with which cryptography signs no more."""
    octets = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    sha256, sha1 = (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01" + last for last in (b"\x0b", b"\x05"))
    changed = x509.load_der_x509_certificate(octets.replace(sha256, sha1))
    return changed.public_bytes(serialization.Encoding.PEM)


class TLSTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.files = self.make("server")

    def make(self, name: str) -> TLSFiles:
        """Make a certificate with its key."""
        files = TLSFiles(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        make_self_signed(files.certificate, files.key, HOST)
        return files

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def make_rsa(self) -> TLSFiles:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.PrivateFormat.TraditionalOpenSSL
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        return TLSFiles(self.write("rsa.crt", sign(HOST, key)), self.write("rsa.key", pem))


class HandshakeTests(TLSTestCase):
    def test_interface(self) -> None:
        """What startTLS and TLSMemoryBIOFactory want is there."""
        verifyObject(IOpenSSLServerConnectionCreator, ServerTLS(self.files).context_factory)

    def test_newest(self) -> None:
        """TLS 1.3 is spoken with who can, with the strongest suite."""
        peer = client()
        shake(ServerTLS(self.files), peer)
        self.assertEqual("TLSv1.3", peer.get_protocol_version_name())
        self.assertEqual("TLS_AES_256_GCM_SHA384", peer.get_cipher_name())

    def test_oldest(self) -> None:
        """TLS 1.2 is spoken with who knows no better."""
        peer = client(maximum=SSL.TLS1_2_VERSION)
        shake(ServerTLS(self.files), peer)
        self.assertEqual("TLSv1.2", peer.get_protocol_version_name())

    def test_too_old(self) -> None:
        """RFC 8996: TLS 1.0 and 1.1 are refused, even where tls_protocols asks for them."""
        for protocols in ("", "TLSv1", "TLSv1_1"):
            tls = ServerTLS(self.files, protocols=protocols, ciphers="ALL:@SECLEVEL=0")
            for maximum in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION):
                error = self.assertRaises(SSL.Error, shake, tls, client(maximum=maximum))
                self.assertIn("unsupported protocol", str(error))

    def test_protocols(self) -> None:
        """tls_protocols restricts what is offered."""
        peer = client()
        shake(ServerTLS(self.files, protocols="SSLv23:!TLSv1_3"), peer)
        self.assertEqual("TLSv1.2", peer.get_protocol_version_name())
        tls = ServerTLS(self.files, protocols="TLSv13")
        self.assertRaises(SSL.Error, shake, tls, client(maximum=SSL.TLS1_2_VERSION))

    def test_server_prefers(self) -> None:
        """The server chooses the cipher; those with CBC are the last resort."""
        peer = client("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-GCM-SHA384", SSL.TLS1_2_VERSION)
        shake(ServerTLS(self.files), peer)
        self.assertEqual("ECDHE-ECDSA-AES256-GCM-SHA384", peer.get_cipher_name())

    def test_ciphers(self) -> None:
        """tls_ciphers restricts the ciphers of TLS 1.2."""
        peer = client(maximum=SSL.TLS1_2_VERSION)
        shake(ServerTLS(self.files, ciphers="ECDHE+CHACHA20"), peer)
        self.assertEqual("ECDHE-ECDSA-CHACHA20-POLY1305", peer.get_cipher_name())

    def test_no_ccm(self) -> None:
        """RFC 9325 section 4.2: GCM, no CCM."""
        tls = ServerTLS(self.files)
        self.assertRaises(SSL.Error, shake, tls, client("ECDHE+AESCCM", SSL.TLS1_2_VERSION))

    def test_bad_ciphers_never(self) -> None:
        """Neither our list nor the administrator's offers a cipher without encryption or certificate."""
        for ciphers in ("", "HIGH", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"):
            tls = ServerTLS(self.files, ciphers=ciphers)
            offered = accepting(tls).get_cipher_list()
            self.assertTrue(offered)
            bad = [name for name in offered if name.startswith(("ADH-", "AECDH-", "NULL-")) or "NULL" in name]
            self.assertEqual([], bad)

    def test_forward_secrecy(self) -> None:
        """By default no cipher lets a stolen key open yesterday's mail."""
        tls = ServerTLS(self.make_rsa())
        self.assertRaises(SSL.Error, shake, tls, client("kRSA", SSL.TLS1_2_VERSION))

    def test_no_renegotiation(self) -> None:
        """A client cannot make the server shake hands again."""
        peer = client(maximum=SSL.TLS1_2_VERSION)
        server = shake(ServerTLS(self.files), peer)
        peer.renegotiate()
        self.assertRaises(SSL.WantReadError, peer.do_handshake)
        carry(peer, server)
        self.assertRaises(SSL.WantReadError, server.recv, 1)
        carry(server, peer)
        error = self.assertRaises(SSL.Error, peer.do_handshake)
        self.assertIn("no renegotiation", str(error))

    def test_tickets(self) -> None:
        """A client that comes back with its ticket needs no second full handshake."""
        tls = ServerTLS(self.files)
        first = client(maximum=SSL.TLS1_2_VERSION)
        shake(tls, first)
        again = SSL.Connection(first.get_context(), None)
        again.set_connect_state()
        session = first.get_session()
        assert session is not None
        again.set_session(session)
        shake(tls, again)
        self.assertEqual(first.master_key(), again.master_key())

    def test_ticket_of_yesterday(self) -> None:
        """After a reload the keys that could open old tickets are gone."""
        tls = ServerTLS(self.files)
        first = client(maximum=SSL.TLS1_2_VERSION)
        shake(tls, first)
        session = first.get_session()
        assert session is not None
        tls.reload()
        again = SSL.Connection(first.get_context(), None)
        again.set_connect_state()
        again.set_session(session)
        shake(tls, again)
        self.assertNotEqual(first.master_key(), again.master_key())

    def test_groups(self) -> None:
        """X25519 is known, and agreed upon beside ML-KEM where OpenSSL has it, from 3.5."""
        peer = client()
        shake(ServerTLS(self.files), peer)
        if not hasattr(peer, "get_group_name"):
            raise SkipTest("pyOpenSSL before 25.1 does not tell")
        expected = "x25519mlkem768" if SSL.OPENSSL_VERSION_NUMBER >= 0x30500000 else "x25519"
        self.assertEqual(expected, str(peer.get_group_name()).lower())

    def test_protocol_names(self) -> None:
        """RFC 9325 section 3.8: a client that wants another protocol than SMTP is refused."""
        for names, agreed in (([b"h2", b"smtp"], b"smtp"), ([b"esmtp"], b"esmtp")):
            peer = client()
            peer.set_alpn_protos(names)
            shake(ServerTLS(self.files), peer)
            self.assertEqual(agreed, peer.get_alpn_proto_negotiated())
        for names in ([b"http/1.1"], [b"h2", b"http/1.1"], [b"imap"], [b"SMTP"], [b"smtp\0"]):
            peer = client()
            peer.set_alpn_protos(names)
            error = self.assertRaises(SSL.Error, shake, ServerTLS(self.files), peer)
            self.assertIn("no application protocol", str(error))

    def test_diffie_hellman(self) -> None:
        """Classic Diffie-Hellman works if its parameters are given, only then."""
        files = self.make_rsa()
        with_dh = TLSFiles(files.certificate, files.key, dh=self.write("dh.pem", DH_PARAMETERS))
        peer = client("DHE+AESGCM", SSL.TLS1_2_VERSION)
        shake(ServerTLS(with_dh), peer)
        self.assertEqual("DHE-RSA-AES256-GCM-SHA384", peer.get_cipher_name())
        without = ServerTLS(files)
        self.assertRaises(SSL.Error, shake, without, client("DHE+AESGCM", SSL.TLS1_2_VERSION))

    def test_chain_in_file(self) -> None:
        """Certificates after the first one are sent along."""
        more = sign("issuer", ec.generate_private_key(ec.SECP256R1()))
        chain = self.write("chain.crt", self.files.certificate.read_bytes() + more)
        expected = [serial(self.files.certificate), serial(self.write("more", more))]
        self.assertEqual(expected, presented(ServerTLS(TLSFiles(chain, self.files.key))))

    def test_chain_from_authorities(self) -> None:
        """The file of authorities completes the chain."""
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        ca, leaf = self.write("ca", sign("CA", key)), self.write("leaf", sign(HOST, key, by="CA"))
        tls = ServerTLS(TLSFiles(leaf, self.write("key", pem), ca=ca))
        self.assertEqual([serial(leaf), serial(ca)], presented(tls))


class ConfigErrorTests(TLSTestCase):
    def assert_refused(self, files: TLSFiles, line: str, **settings: str) -> None:
        error = self.assertRaises(TLSConfigError, ServerTLS, files, **settings)
        self.assertIn(line, str(error))
        self.assertEqual(1, len(str(error).splitlines()))

    def test_certificate(self) -> None:
        """A missing, unreadable or wrong certificate is named."""
        key, bad = self.files.key, self.write("bad", "bad")
        missing = self.directory / "missing"
        self.assert_refused(TLSFiles(missing, key), f"{missing}: cannot be read: No such file")
        self.assert_refused(TLSFiles(self.directory, key), "cannot be read: Is a directory")
        self.assert_refused(TLSFiles(bad, key), f"{bad}: holds no certificate")
        self.assert_refused(TLSFiles(key, key), f"{key}: holds no certificate")

    def test_key(self) -> None:
        """A missing or wrong key is named."""
        certificate, bad = self.files.certificate, self.write("bad", "bad")
        missing, other = self.directory / "missing", self.make("other").key
        self.assert_refused(TLSFiles(certificate, missing), f"{missing}: cannot be read: No such file")
        self.assert_refused(TLSFiles(certificate, bad), f"{bad}: holds no private key")
        self.assert_refused(TLSFiles(certificate, other), f"{other}: is not the key of the first")

    def test_permission(self) -> None:
        """A file that the server may not read is named."""
        with patch.object(Path, "read_bytes", side_effect=PermissionError(13, "Permission denied")):
            self.assert_refused(self.files, f"{self.files.certificate}: cannot be read: Permission denied")

    def test_passphrase(self) -> None:
        """A key with a passphrase is refused at once, not asked for at the terminal."""
        key = serialization.load_pem_private_key(self.files.key.read_bytes(), None)
        cipher = serialization.BestAvailableEncryption(b"hush")
        form = serialization.PrivateFormat.PKCS8
        path = self.write("hush.key", key.private_bytes(serialization.Encoding.PEM, form, cipher))
        self.assert_refused(TLSFiles(self.files.certificate, path), f"{path}: the key is protected")

    def test_optional_files(self) -> None:
        """Authorities and parameters that were named must be usable."""
        certificate, key, bad = self.files.certificate, self.files.key, self.write("bad", "bad")
        missing = self.directory / "missing"
        for ca, reason in ((bad, "holds no certificate"), (missing, "cannot be read")):
            self.assert_refused(TLSFiles(certificate, key, ca=ca), f"{ca}: {reason}")
            asking = TLSFiles(certificate, key, client="ask", client_ca=ca)
            self.assert_refused(asking, f"{ca}: {reason}")
        self.assert_refused(TLSFiles(certificate, key, dh=bad), f"{bad}: OpenSSL refuses the Diffie-Hellman")

    def test_settings(self) -> None:
        """Unusable ciphers and protocols name their configuration file."""
        self.assert_refused(self.files, "tls_ciphers: no cipher matches 'nonsense'", ciphers="nonsense")
        self.assert_refused(self.files, "tls_protocols: 'TLSv9' is not one of SSLv23", protocols="TLSv9")

    def test_one_file(self) -> None:
        """Certificate and key may share a file."""
        both = self.write("both.pem", self.files.key.read_bytes() + self.files.certificate.read_bytes())
        self.assertEqual([serial(self.files.certificate)], presented(ServerTLS(TLSFiles(both, both))))


class ReloadTests(TLSTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tls = ServerTLS(self.files)
        self.old = serial(self.files.certificate)

    def replace(self) -> int:
        """Put another certificate in place, and give its serial number."""
        other = self.make("other")
        other.certificate.replace(self.files.certificate)
        other.key.replace(self.files.key)
        return serial(self.files.certificate)

    def test_new(self) -> None:
        """After a reload new handshakes use the new certificate, through the same context factory."""
        factory = self.tls.context_factory
        new = self.replace()
        self.assertEqual([self.old], presented(self.tls))
        self.tls.reload()
        self.assertEqual([new], presented(self.tls))
        self.assertIs(factory, self.tls.context_factory)

    def test_error(self) -> None:
        """If the new files are unusable, the old certificate stays in use, in every respect."""
        before = self.tls.warnings()
        for path in (self.files.key, self.files.certificate):
            path.write_text("half a file")
            self.assertRaises(TLSConfigError, self.tls.reload)
        self.assertEqual([self.old], presented(self.tls))
        self.assertEqual(before, self.tls.warnings())

    def test_running(self) -> None:
        """A handshake that has begun is not disturbed."""
        server = accepting(self.tls)
        context = server.get_context()
        self.replace()
        self.tls.reload()
        self.assertIs(context, server.get_context())

    def test_changed(self) -> None:
        """Changed files are noticed until they are loaded."""
        self.assertFalse(self.tls.changed())
        self.replace()
        self.assertTrue(self.tls.changed())
        self.tls.reload()
        self.assertFalse(self.tls.changed())

    def test_changed_to_the_worse(self) -> None:
        """Files that vanished or are unusable stay noticed, so that a later look finds their successors."""
        content = self.files.key.read_bytes()
        self.files.key.unlink()
        self.assertTrue(self.tls.changed())
        self.assertRaises(TLSConfigError, self.tls.reload)
        self.assertTrue(self.tls.changed())
        self.files.key.write_bytes(content)
        self.tls.reload()
        self.assertFalse(self.tls.changed())


class WarningsTests(TLSTestCase):
    def warned(self, **when: float) -> list[str]:
        """List warnings so long after the end of the certificate, but the one for self-signed ones."""
        tls = ServerTLS(self.files)
        end = x509.load_pem_x509_certificate(self.files.certificate.read_bytes()).not_valid_after_utc
        return [line for line in tls.warnings(end + timedelta(**when)) if "self-signed" not in line]

    def test_validity(self) -> None:
        """The administrator is told in time."""
        rows = ((-8, ""), (-6, "expires at"), (1, "expired at"), (-3651, "is not valid before"))
        for days, expected in rows:
            lines = self.warned(days=days)
            self.assertEqual(bool(expected), bool(lines), days)
            for line in lines:
                self.assertIn(f"{self.files.certificate}: certificate {expected} 20", line)

    def test_expired_is_usable(self) -> None:
        """An expired certificate still encrypts."""
        self.files.certificate.unlink()
        self.files.key.unlink()
        make_self_signed(self.files.certificate, self.files.key, HOST, days=1)
        with patch("qpsmtpd.tls.datetime") as fake:
            fake.now.return_value = datetime.now(UTC) + timedelta(days=9)
            self.assertIn("expired", ServerTLS(self.files).warnings()[0])

    def test_owner(self) -> None:
        """What root makes is for the owner of the directory; others make files of their own."""
        directory = Path(self.mktemp())
        directory.mkdir()
        mail = (8, 12) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        os.chown(directory, *mail)
        files = (directory / "crt", directory / "key")
        make_self_signed(*files, HOST)
        for path in files:
            self.assertEqual(mail, (path.stat().st_uid, path.stat().st_gid))

    def test_self_signed(self) -> None:
        """A certificate that no client can verify is told."""
        self.assertIn("self-signed", "".join(ServerTLS(self.files).warnings()))
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        files = TLSFiles(self.write("crt", sign(HOST, key, by="CA")), self.write("key", pem))
        self.assertEqual([], ServerTLS(files).warnings())

    def test_digest(self) -> None:
        """RFC 9325 section 4.5: a signature with SHA-1, of the certificate or of its chain, is told."""
        files = self.make_rsa()
        key = serialization.load_pem_private_key(files.key.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        new, root = sign(HOST, key, by="CA"), with_sha1(sign("CA", key))
        old = with_sha1(new)
        for chain, count in ((new + root, 0), (old, 1), (new + old + root, 1)):
            files.certificate.write_bytes(chain)
            warning = f"{files.certificate}: certificate is signed with sha1; clients will refuse it"
            # Older versions of OpenSSL refuse it, but at the lowest security level.
            tls = ServerTLS(files, ciphers="ECDHE+AES:@SECLEVEL=0")
            self.assertEqual([warning] * count, tls.warnings())

    def test_ciphers(self) -> None:
        """RFC 9325 section 4.1: tls_ciphers without forward secrecy are told."""
        lines = ServerTLS(self.files, ciphers="ECDHE+AESGCM:AES128-SHA:AES256-SHA").warnings()
        self.assertIn("tls_ciphers: no forward secrecy (RFC 9325 section 4.1): AES128-SHA, AES256-SHA", lines)
        lines = ServerTLS(self.files, ciphers="kRSA+AES").warnings()
        self.assertRegex("\n".join(lines), r"tls_ciphers: no forward secrecy .*: \S+, \S+, \S+, \.\.\.")

    def test_protocols(self) -> None:
        """A request for old protocols is answered with a warning."""
        lines = ServerTLS(self.files, protocols="TLSv1").warnings()
        self.assertIn("tls_protocols: TLS 1.0 is never offered (RFC 8996)", lines)

    def test_no_parameters(self) -> None:
        """A missing or empty file of parameters only switches DHE off."""
        for dh in (self.directory / "missing", self.write("empty", "")):
            tls = ServerTLS(TLSFiles(self.files.certificate, self.files.key, dh=dh))
            self.assertIn(f"{dh}: no Diffie-Hellman parameters; DHE ciphers are off", tls.warnings())


@implementer(IHandshakeListener)
class Witness(Protocol):
    """Asks about TLS before and after the handshake."""

    before: ValueError | None = None
    info: TLSInfo | None = None

    def connectionMade(self) -> None:
        try:
            info_of(self.transport)
        except ValueError as error:
            self.before = error

    def handshakeCompleted(self) -> None:
        self.info = info_of(self.transport)


class InfoTests(TLSTestCase):
    def test_over_twisted(self) -> None:
        """Behind TLSMemoryBIOFactory a protocol learns what was agreed upon, as soon as it is."""
        witness = Witness()
        serving = Factory.forProtocol(lambda: witness)
        server = TLSMemoryBIOFactory(ServerTLS(self.files).context_factory, False, serving, Clock())
        peer = TLSMemoryBIOFactory(CertificateOptions(), True, Factory.forProtocol(Protocol), Clock())
        ends = server.buildProtocol(None), peer.buildProtocol(None)
        connect(ends[0], makeFakeServer(ends[0]), ends[1], makeFakeClient(ends[1])).flush()
        self.assertIn("no TLS handshake", str(witness.before))
        self.assertEqual(TLSInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256), witness.info)

    def test_one_factory(self) -> None:
        """Of the factories that `startTLS` makes one is kept; it lists the connections that are open."""
        tls = ServerTLS(self.files)
        layers = [layer(tls.context_factory) for _ in range(3)]
        for one in layers:
            one.makeConnection(StringTransport())
        self.assertEqual(1, len({one.factory for one in layers}))
        layers[0].connectionLost(Failure(ConnectionDone()))
        self.assertEqual(layers[1:], list(layers[1].factory.protocols))

    def test_own_factory(self) -> None:
        """A factory that wraps another keeps its connections."""
        tls = ServerTLS(self.files)
        layer(tls.context_factory).makeConnection(StringTransport())
        wrapping = TLSMemoryBIOFactory(tls.context_factory, False, Factory.forProtocol(Protocol), Clock())
        one = wrapping.buildProtocol(None)
        one.makeConnection(StringTransport())
        self.assertIs(wrapping, one.factory)
        self.assertEqual([one], list(wrapping.protocols))

    def test_protocol_name_over_twisted(self) -> None:
        """Who wants another protocol is told why, and the connection ends."""
        ended: list[BaseException] = []
        peer_protocol = Protocol()
        peer_protocol.connectionLost = lambda reason: ended.append(reason.value)  # type: ignore
        options = CertificateOptions(acceptableProtocols=[b"http/1.1"])
        serving = Factory.forProtocol(Protocol)
        server = TLSMemoryBIOFactory(ServerTLS(self.files).context_factory, False, serving, Clock())
        peer = TLSMemoryBIOFactory(options, True, Factory.forProtocol(lambda: peer_protocol), Clock())
        ends = server.buildProtocol(None), peer.buildProtocol(None)
        connect(ends[0], makeFakeServer(ends[0]), ends[1], makeFakeClient(ends[1])).flush()
        self.assertIn("no application protocol", str(ended))

    def signed(self, name: str) -> bytes:
        """Make a key and a certificate that it has signed itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        return pem + sign(name, key)

    def test_names_over_twisted(self) -> None:
        """What Twisted does with a connection hides neither the name asked for nor the one verified."""
        sni, name = self.directory / "sni", "one.example"
        sni.mkdir()
        crt, key = self.directory / "one.crt", self.directory / "one.key"
        make_self_signed(crt, key, name)
        (sni / f"{name}.pem").write_bytes(key.read_bytes() + crt.read_bytes())
        joe = self.signed("joe")
        tls = ServerTLS(replace(self.files, sni=sni, client="ask", client_ca=self.write("joe.pem", joe)))
        trusted = Certificate.loadPEM(crt.read_bytes())
        for shown, names in ((joe, ("joe",)), (self.signed("joe"), ())):
            witness = Witness()
            options = optionsForClientTLS(name, trusted, PrivateCertificate.loadPEM(shown))
            serving = Factory.forProtocol(partial(getattr, SimpleNamespace(witness=witness), "witness"))
            server = TLSMemoryBIOFactory(tls.context_factory, False, serving, Clock())
            peer = TLSMemoryBIOFactory(options, True, Factory.forProtocol(Protocol), Clock())
            ends = server.buildProtocol(None), peer.buildProtocol(None)
            connect(ends[0], makeFakeServer(ends[0]), ends[1], makeFakeClient(ends[1])).flush()
            assert witness.info is not None
            self.assertEqual((name, names), (witness.info.sni, witness.info.client_names))

    def info(self, peer: SSL.Connection) -> TLSInfo:
        server = shake(ServerTLS(self.files), peer)

        class Transport:
            def getHandle(self) -> SSL.Connection:
                return server

        return info_of(Transport())

    def test_older(self) -> None:
        """Version, cipher, bits and server name are those of the handshake."""
        info = self.info(client("ECDHE+AES128+AESGCM", SSL.TLS1_2_VERSION, b"mx.example.com"))
        self.assertEqual(TLSInfo("TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256", 128, HOST), info)

    def test_exporter(self) -> None:
        """RFC 9266: both ends have the same binding, each connection its own; before TLS 1.3 none has."""
        peers = [client(), client()]
        bound = [self.info(peer).exporter for peer in peers]
        label = b"EXPORTER-Channel-Binding"
        self.assertEqual([peer.export_keying_material(label, 32) for peer in peers], bound)
        self.assertEqual(2, len(set(bound)))
        self.assertEqual(b"", self.info(client(maximum=SSL.TLS1_2_VERSION)).exporter)

    def test_hostile_name(self) -> None:
        """A server name cannot forge a line of the log."""
        self.assertEqual("mx?250 ok\\xff", self.info(client(sni=b"mx\n250 ok\xff")).sni)

    def test_clear(self) -> None:
        """A transport without TLS has nothing to tell."""
        for transport in (object(), makeFakeServer(Protocol())):
            self.assertRaises(ValueError, info_of, transport)


class SelfSignedTests(TLSTestCase):
    def made(self, host: str) -> x509.Certificate:
        files = TLSFiles(self.directory / "made.crt", self.directory / "made.key")
        make_self_signed(files.certificate, files.key, host, days=2)
        return x509.load_pem_x509_certificate(files.certificate.read_bytes())

    def test_names(self) -> None:
        """The certificate is for the host, whatever kind of name it has, and for localhost."""
        long = "x" * 63 + ".example.com"
        for host, name in ((HOST, HOST), ("bücher.example", "xn--bcher-kva.example"), (long, long)):
            extension = self.made(host).extensions.get_extension_for_class(x509.SubjectAlternativeName)
            names = extension.value.get_values_for_type(x509.DNSName)
            self.assertEqual([name, "localhost"], names)
            for path in self.directory.glob("made.*"):
                path.unlink()

    def test_localhost(self) -> None:
        """A certificate for localhost names it once."""
        extension = self.made("localhost").extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual(["localhost"], extension.value.get_values_for_type(x509.DNSName))

    def test_address(self) -> None:
        """A host without name has its address."""
        extension = self.made("2001:db8::1").extensions.get_extension_for_class(x509.SubjectAlternativeName)
        addresses = extension.value.get_values_for_type(x509.IPAddress)
        self.assertEqual(["2001:db8::1"], [str(address) for address in addresses])

    def test_lifetime(self) -> None:
        """The certificate lives as long as asked, and already for clients whose clock is slow."""
        certificate = self.made(HOST)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        self.assertEqual(timedelta(days=2), end - begin)
        self.assertLess(begin, datetime.now(UTC) - timedelta(minutes=30))

    def test_modes(self) -> None:
        """The key is for its owner only, the certificate for all, whatever the umask."""
        old = os.umask(0)
        try:
            self.made(HOST)
        finally:
            os.umask(old)
        modes = [(self.directory / name).stat().st_mode & 0o777 for name in ("made.key", "made.crt")]
        self.assertEqual([0o600, 0o644], modes)

    def test_no_overwriting(self) -> None:
        """Neither file is touched if one exists, and nothing is left behind."""
        for name in ("made.key", "made.crt"):
            path = self.write(name, "precious")
            there = sorted(self.directory.iterdir())
            self.assertRaises(FileExistsError, self.made, HOST)
            self.assertEqual("precious", path.read_text())
            self.assertEqual(there, sorted(self.directory.iterdir()))
            path.unlink()

    def test_no_symbolic_link(self) -> None:
        """The key does not go where a link points."""
        target = self.directory / "elsewhere"
        (self.directory / "made.key").symlink_to(target)
        self.assertRaises(FileExistsError, self.made, HOST)
        self.assertFalse(target.exists())

    def test_bad_name(self) -> None:
        """A name that is none is an error, and makes no file."""
        there = sorted(self.directory.iterdir())
        for host in ("", "a..b"):
            self.assertRaises(ValueError, self.made, host)
        self.assertEqual(there, sorted(self.directory.iterdir()))
