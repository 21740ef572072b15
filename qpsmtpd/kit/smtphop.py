"""A next hop as a value: where it is, who we say we are, the TLS policy, the time limits.

It must not know what is sent there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from OpenSSL import SSL
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS


class TLSPolicy(Enum):
    """Tell what to demand of the connection."""

    NONE = "none"
    """never ask for TLS"""
    MAY = "may"
    """use TLS where it works, whoever the server is; in clear otherwise (RFC 7435)"""
    ENCRYPT = "encrypt"
    """only over TLS, whoever the server is"""
    VERIFY = "verify"
    """only over TLS, and only if a trusted certificate names the host"""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for the next hop, in seconds (RFC 5321 section 4.5.3.2 where it has a say)."""

    connect: float = 60
    greeting: float = 300
    hello: float = 300
    start_tls: float = 120
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    block: float = 180
    """for each piece of content, until the transport is empty again"""
    end: float = 600
    """for the reply to the whole message; cutting it short makes duplicates (RFC 5321 section 4.5.3.2.6)"""
    rset: float = 60
    quit: float = 10


@dataclass(frozen=True, slots=True)
class NextHop:
    """Describe a server: where it is, who we say we are, and what we demand.

    ``hostname`` is what the certificate must name under the policy VERIFY, a host or an IP address.
    ``trust_root`` is what `twisted.internet.ssl.optionsForClientTLS` takes: a Certificate, the result of
    trustRootFromCertificates, or None for the platform's. Raises ValueError for VERIFY without a hostname.
    """

    endpoint: IStreamClientEndpoint
    helo: str
    tls: TLSPolicy = TLSPolicy.MAY
    hostname: str = ""
    trust_root: Any = None
    lmtp: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)
    tls_options: IOpenSSLClientConnectionCreator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.tls is TLSPolicy.VERIFY and not self.hostname:
            raise ValueError("the TLS policy 'verify' needs a hostname")
        # Made once: it reads the certificate authorities.
        object.__setattr__(self, "tls_options", self._tls_options())

    def verify(self, connection: SSL.Connection) -> None:
        """Check that the certificate of the other side names the host.

        Raises VerificationError or CertificateError (of service-identity).
        """
        if isIPAddress(self.hostname) or isIPv6Address(self.hostname):
            verify_ip_address(connection, self.hostname)
        else:
            verify_hostname(connection, self.hostname)

    def _tls_options(self) -> IOpenSSLClientConnectionCreator:
        if self.tls is TLSPolicy.VERIFY:
            return optionsForClientTLS(self.hostname, trustRoot=self.trust_root)
        return cast(IOpenSSLClientConnectionCreator, CertificateOptions())
