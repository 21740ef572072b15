"""The client obeys its TLS policy, checks names, and forgets what came in clear: with real TLS, in memory."""

from __future__ import annotations

import datetime
from functools import cache
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from service_identity import CertificateError
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ITLSTransport
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.testing import AccumulatingProtocol, StringTransport, StringTransportWithDisconnection
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from qpsmtpd.kit.smtpout import NextHop, SMTPClient, SMTPOutError, TLSPolicy

from .nexthop import Hop, MemoryEndpoint, send, written

HELLO = "S: 220 hop\nC: EHLO me\nS: 250-hop\nS: 250 STARTTLS\n"
STARTTLS = HELLO + "C: STARTTLS\nS: 220 go\n"
NO_TLS_HELLO = "S: 220 hop\nC: EHLO me\nS: 250 hop\n"


OURS = (x509.DNSName("hop.example"), x509.IPAddress(ip_address("192.0.2.1")))
# An SRVName (RFC 4985) must be an IA5String; this is an integer.
ODD = (
    x509.DNSName("other.example"),
    x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7"), b"\x02\x01\x05"),
)


@cache
def certificate(issuer: str = "", names: tuple[x509.GeneralName, ...] = OURS) -> PrivateCertificate:
    """Make a certificate, its own issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hop.example" + issuer)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return PrivateCertificate.loadPEM(secret + made.public_bytes(Encoding.PEM))


@implementer(ITLSTransport)
class TLSTransport(StringTransportWithDisconnection):
    """A transport in memory that can start TLS, as those of the reactor do."""

    tls: TLSMemoryBIOProtocol | None = None

    def startTLS(self, contextFactory: Any) -> None:
        self.tls = TLSMemoryBIOProtocol(TLSMemoryBIOFactory(contextFactory, True, None), self.protocol, False)
        self.protocol = self.tls
        self.below = Below(self)
        self.tls.makeConnection(self.below)

    def write(self, data: bytes) -> None:
        if self.tls is None:
            super().write(data)
        else:
            self.tls.write(data)

    def getHandle(self) -> Any:
        assert self.tls
        return self.tls.getHandle()

    def loseConnection(self) -> None:
        if self.tls is None:
            super().loseConnection()
        else:
            self.tls.loseConnection()

    def abortConnection(self) -> None:
        if self.tls is None:
            super().abortConnection()
        else:
            self.tls.abortConnection()


class Below(StringTransport):
    """What the TLS layer writes to."""

    def __init__(self, transport: TLSTransport) -> None:
        super().__init__()
        self.above = transport

    def loseConnection(self) -> None:
        # As in a reactor, the loss is told later: see TLSHop.pump.
        self.disconnecting = True

    def lost(self) -> None:
        if self.above.connected:
            self.above.connected = False
            self.above.protocol.connectionLost(Failure(ConnectionLost()))


class TLSEndpoint(MemoryEndpoint):
    def transport(self) -> TLSTransport:
        return TLSTransport()


class TLSHop(Hop):
    """Play a next hop that is able to do TLS."""

    def __init__(self, policy: TLSPolicy, **settings: Any) -> None:
        super().__init__(TLSEndpoint(), tls=policy, **settings)

    def secure(self, credentials: PrivateCertificate) -> None:
        """Answer the handshake."""
        factory = TLSMemoryBIOFactory(credentials.options(), False, None)
        self.server = AccumulatingProtocol()
        self.wire = StringTransport()
        self.layer = TLSMemoryBIOProtocol(factory, self.server)
        self.layer.makeConnection(self.wire)
        self.pump()

    def pump(self) -> None:
        """Carry octets between the two TLS layers until neither has more."""
        below = self.transport.below
        while below.value() or self.wire.value():
            to_server, to_client = below.value(), self.wire.value()
            below.clear()
            self.wire.clear()
            if to_server:
                self.layer.dataReceived(to_server)
            if to_client and self.transport.connected:
                self.transport.protocol.dataReceived(to_client)
        if below.disconnecting or below.disconnected:
            below.lost()

    def says_secretly(self, text: str) -> None:
        self.layer.write(text.encode())
        self.pump()

    def heard_secretly(self) -> str:
        text: str = self.server.data.decode()
        self.server.data = b""
        return text


class PolicyTests(SynchronousTestCase):
    def over(self, hop: Hop) -> None:
        self.assertEqual((False, []), (hop.transport.connected, hop.clock.getDelayedCalls()))

    def secured(self, policy: TLSPolicy, **settings: Any) -> tuple[TLSHop, SMTPClient]:
        hop = TLSHop(policy, **settings)
        hop.play(self, STARTTLS)
        hop.secure(certificate())
        self.assertEqual("EHLO me\r\n", hop.heard_secretly())
        hop.says_secretly("250-hop\r\n250-PIPELINING\r\n250 DSN\r\n")
        return hop, self.successResultOf(hop.client)

    def test_none(self) -> None:
        """Policy none never asks for TLS."""
        hop = TLSHop(TLSPolicy.NONE)
        hop.play(self, HELLO)
        self.assertFalse(self.successResultOf(hop.client).encrypted)

    def test_secured(self) -> None:
        """Any other policy uses it; only verify asks who it is, by name or by address."""
        for policy, name in [
            (TLSPolicy.MAY, ""),
            (TLSPolicy.ENCRYPT, "other.example"),
            (TLSPolicy.VERIFY, "hop.example"),
            (TLSPolicy.VERIFY, "192.0.2.1"),
        ]:
            with self.subTest(policy=policy):
                _, client = self.secured(
                    policy, hostname=name, trust_root=Certificate(certificate().original)
                )
                self.assertTrue(client.encrypted)
                self.assertEqual({"PIPELINING": "", "DSN": ""}, client.extensions)

    def test_message(self) -> None:
        """A message goes over TLS, and the connection is closed in order."""
        hop, client = self.secured(TLSPolicy.ENCRYPT)
        delivery = send(client)
        hop.pump()
        hop.says_secretly("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        self.assertIn("..hi\r\n.\r\n", hop.heard_secretly())
        hop.says_secretly("250 2.0.0 id 7\r\n")
        self.assertEqual(["250 2.0.0 id 7"] * 2, written(self.successResultOf(delivery)))
        done = client.quit()
        hop.pump()
        hop.says_secretly("221 bye\r\n")
        hop.layer.loseConnection()
        hop.pump()
        self.successResultOf(done)
        self.over(hop)

    def test_hello_again(self) -> None:
        """What was offered in clear is forgotten, even if nothing is offered after it."""
        hop = TLSHop(TLSPolicy.ENCRYPT)
        hop.play(self, STARTTLS)
        hop.secure(certificate())
        hop.says_secretly("502 what\r\n")
        self.assertEqual("EHLO me\r\nHELO me\r\n", hop.heard_secretly())
        hop.says_secretly("250 hop\r\n")
        self.assertEqual({}, self.successResultOf(hop.client).extensions)

    def refused(
        self, name: str, credentials: PrivateCertificate, trusted: PrivateCertificate
    ) -> SMTPOutError:
        hop = TLSHop(TLSPolicy.VERIFY, hostname=name, trust_root=Certificate(trusted.original))
        hop.play(self, STARTTLS)
        hop.secure(credentials)
        self.assertEqual("", hop.heard_secretly())
        self.over(hop)
        error: SMTPOutError = self.failureResultOf(hop.client, SMTPOutError).value
        return error

    def test_wrong_name(self) -> None:
        """Verify refuses a certificate for another name, for now, and says nothing to its owner."""
        for name in ("other.example", "192.0.2.2"):
            error = self.refused(name, certificate(), certificate())
            self.assertEqual(
                (451, "4.7.5", "Certificate of the next hop does not name it"),
                (error.code, error.status, error.text),
            )

    def test_unreadable_name(self) -> None:
        """Verify refuses a certificate with a name that cannot be read."""
        odd = certificate(names=ODD)
        self.assertEqual("4.7.5", self.refused("hop.example", odd, odd).status)
        self.assertTrue(self.flushLoggedErrors(CertificateError))

    def test_unknown_authority(self) -> None:
        """Verify refuses a certificate from somebody it does not trust."""
        error = self.refused("hop.example", certificate(), certificate(" other"))
        self.assertEqual("4.7.5", error.status)
        self.assertIn("certificate verify failed", error.text)

    def test_not_offered(self) -> None:
        """Without STARTTLS, may goes on in clear, and the others take leave."""
        for policy in (TLSPolicy.ENCRYPT, TLSPolicy.VERIFY):
            hop = TLSHop(policy, hostname="hop.example")
            hop.play(self, NO_TLS_HELLO + "C: QUIT\nS: 221 bye\n")
            error = self.failureResultOf(hop.client, SMTPOutError).value
            self.assertEqual((451, "4.7.4"), (error.code, error.status))
            self.over(hop)
        hop = TLSHop(TLSPolicy.MAY)
        hop.play(self, NO_TLS_HELLO)
        self.assertFalse(self.successResultOf(hop.client).encrypted)

    def test_transport_without_tls(self) -> None:
        """A transport that cannot do TLS is as if it were not offered."""
        hop = Hop(tls=TLSPolicy.MAY)
        hop.play(self, HELLO)
        self.assertFalse(self.successResultOf(hop.client).encrypted)

    def test_refused(self) -> None:
        """STARTTLS refused, even for ever, is a temporary failure of a policy that wants it."""
        hop = TLSHop(TLSPolicy.ENCRYPT)
        hop.play(self, HELLO + "C: STARTTLS\nS: 554 no\nC: QUIT\nS: 221 bye\n")
        self.assertEqual((451, "4.7.4"), self._facts(hop))
        hop = TLSHop(TLSPolicy.MAY)
        hop.play(self, HELLO + "C: STARTTLS\nS: 454 not now\n")
        self.assertFalse(self.successResultOf(hop.client).encrypted)

    def _facts(self, hop: Hop) -> tuple[int, str]:
        error = self.failureResultOf(hop.client, SMTPOutError).value
        return error.code, error.status

    def test_handshake_fails(self) -> None:
        """A handshake that fails ends it; only may connects again, in clear."""
        hop = TLSHop(TLSPolicy.ENCRYPT)
        hop.play(self, STARTTLS)
        hop.transport.protocol.dataReceived(b"this is no TLS\r\n")
        hop.transport.below.lost()
        self.assertEqual((451, "4.7.5"), self._facts(hop))
        self.over(hop)
        hop = TLSHop(TLSPolicy.MAY)
        hop.play(self, STARTTLS)
        hop.transport.protocol.dataReceived(b"this is no TLS\r\n")
        hop.transport.below.lost()
        self.assertEqual(2, len(hop.endpoint.transports))
        hop.play(self, HELLO)
        self.assertFalse(self.successResultOf(hop.client).encrypted)

    def test_handshake_silent(self) -> None:
        """A handshake has a time limit."""
        hop = TLSHop(TLSPolicy.ENCRYPT)
        hop.play(self, STARTTLS)
        hop.clock.advance(119)
        self.assertNoResult(hop.client)
        hop.clock.advance(1)
        self.assertEqual((451, "4.4.2"), self._facts(hop))
        self.assertEqual([], hop.clock.getDelayedCalls())

    def test_injected_in_clear(self) -> None:
        """What came in clear after the go-ahead is thrown away, whole replies and beginnings alike."""
        for injected in ("250-evil\r\n250 DSN\r\n", "250-evil\r\n250-SIZE 1\r\n250 PIPE", "250-evil"):
            with self.subTest(injected=injected):
                hop = TLSHop(TLSPolicy.ENCRYPT)
                hop.play(self, HELLO + "C: STARTTLS\n")
                hop.says("220 go\r\n" + injected)
                hop.secure(certificate())
                hop.says_secretly("250-hop\r\n250 CHUNKING\r\n")
                self.assertEqual({"CHUNKING": ""}, self.successResultOf(hop.client).extensions)

    def test_lost_within(self) -> None:
        """A connection lost under TLS is a temporary failure as in clear."""
        hop, client = self.secured(TLSPolicy.ENCRYPT)
        delivery = send(client)
        hop.pump()
        self.assertIn("DATA", hop.heard_secretly())
        hop.transport.below.lost()
        self.assertEqual(["4.4.2"] * 2, [reply.status for reply in self.successResultOf(delivery).replies])
        self.over(hop)

    def test_nameless(self) -> None:
        """Verify without a name to verify is a mistake, told at once."""
        self.assertRaises(ValueError, NextHop, MemoryEndpoint(), "me", tls=TLSPolicy.VERIFY)
