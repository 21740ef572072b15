"""Where a next hop is, as an administrator writes it, and which certificates to trust there.

It must not know what is said to it.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, trustRootFromCertificates

HOST: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
# struct sockaddr_un has 108 octets for the path and its end.
_MAX_SOCKET: Final = 107


def read_place(word: str) -> str:
    """Read a host name, an address without the brackets that it may have, or the path of a UNIX socket.

    Raises ValueError for what is none of these.
    """
    if word.startswith("[") and word.endswith("]"):
        return str(ip_address(word[1:-1]))
    if word.startswith("/"):
        if len(word.encode()) > _MAX_SOCKET:
            raise ValueError("the path is too long for a socket")
        return word
    if not HOST.fullmatch(word):
        raise ValueError
    return word


def shown(host: str, port: int) -> str:
    """Write a place for the log."""
    if host.startswith("/"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def endpoint_of(reactor: Any, host: str, port: int, seconds: float) -> IStreamClientEndpoint:
    """Say how to connect to a place, within a time in seconds."""
    if host.startswith("/"):
        return UNIXClientEndpoint(reactor, host, seconds)
    if "_" in host:
        # Containers have such names, but to HostnameEndpoint they are none.
        return TCP4ClientEndpoint(reactor, host, port, seconds)
    return HostnameEndpoint(reactor, host, port, seconds)


def read_authorities(path: Path) -> Any:
    """Read the certificates of a PEM file as those to trust; ValueError says what is wrong with it."""
    try:
        found = [Certificate.loadPEM(pem) for pem in _PEM.findall(path.read_text())]
    except Exception as error:  # what OpenSSL raises has no name that fits here
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not found:
        raise ValueError(f"{path} holds no certificate")
    return trustRootFromCertificates(found)
