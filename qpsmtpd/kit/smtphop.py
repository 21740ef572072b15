"""A next hop as a value: where it is, who we say we are, the TLS policy, the time limits.

It must not know what is sent there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS


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
    ``trust_root`` is a certificate authority or what else `optionsForClientTLS` takes; the platform's
    if None. Raises ValueError for VERIFY without a hostname.
    """

    endpoint: IStreamClientEndpoint
    helo: str
    tls: TLSPolicy = TLSPolicy.MAY
    hostname: str = ""
    trust_root: Certificate | None = None
    lmtp: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)
    tls_options: IOpenSSLClientConnectionCreator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.tls is TLSPolicy.VERIFY and not self.hostname:
            raise ValueError("the TLS policy 'verify' needs a hostname")
        # Made once: it reads the certificate authorities.
        object.__setattr__(self, "tls_options", self._tls_options())

    def _tls_options(self) -> IOpenSSLClientConnectionCreator:
        if self.tls is TLSPolicy.VERIFY:
            return optionsForClientTLS(self.hostname, trustRoot=self.trust_root)
        return cast(IOpenSSLClientConnectionCreator, CertificateOptions())
