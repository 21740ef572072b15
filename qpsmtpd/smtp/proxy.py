"""The header of the PROXY protocol, versions 1 and 2: whose connection a load balancer passes on.

Reads octets and knows no connection. It must not know who may send a header: `proxied` does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

MAX_HEADER: Final = 4096
"""Octets of a header in all; version 1 has at most 107, and only version 2 has extensions."""

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = len(_SIGNATURE) + 4  # version and command, family, and two octets for the length of the rest
_V1: Final = b"PROXY "
_V1_MAX: Final = 107
_V1_KINDS: Final[dict[bytes, Callable[[str], object]]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}

_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_WIDTHS: Final = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6: octets of an address
_UNNAMED: Final = {0x00: 0, 0x31: 216}  # unspecified; a UNIX socket: octets that its addresses take


class ProxyFault(ValueError):  # noqa: N818 - the balancer's error, not ours
    """What came is no header of the PROXY protocol."""


@dataclass(frozen=True, slots=True)
class Route:
    """From where to where a client connected, as the balancer says."""

    client_ip: str
    client_port: int
    server_ip: str
    server_port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A whole header; ``size`` is its octets. ``route`` is None if the balancer names no client.

    ``local``: the balancer speaks for itself, to see whether the server lives (version 2 only).
    """

    size: int
    route: Route | None = None
    local: bool = False


def read_proxy_header(octets: bytes) -> ProxyHeader | None:
    """Read a header from the start of what came; None if more must come. Raises ProxyFault."""
    for start, read in ((_V1, _read_text), (_SIGNATURE, _read_binary)):
        if octets.startswith(start):
            return read(octets)
        if start.startswith(octets):
            return None
    raise ProxyFault("no PROXY header")


def _read_text(octets: bytes) -> ProxyHeader | None:
    """Read version 1: one line."""
    end = octets.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(octets) >= _V1_MAX:
            raise ProxyFault("the PROXY line is too long")
        return None
    words = octets[len(_V1) : end].split(b" ")
    if words[0] == b"UNKNOWN":
        return ProxyHeader(end + 2)  # whatever stands behind it is to be ignored
    kind = _V1_KINDS.get(words[0])
    if kind is None or len(words) != 5:
        raise ProxyFault("the PROXY line is malformed")
    client, server = (_address(kind, word) for word in words[1:3])
    return ProxyHeader(end + 2, Route(client, _port(words[3]), server, _port(words[4])))


def _address(kind: Callable[[str], object], word: bytes) -> str:
    try:
        if b"%" in word:
            raise ValueError
        return str(kind(word.decode("ascii")))
    except ValueError:
        raise ProxyFault("the PROXY line names no address") from None


def _port(word: bytes) -> int:
    if not (word.isdigit() and len(word) <= 5 and int(word) <= 65535):
        raise ProxyFault("the PROXY line names no port")
    return int(word)


def _read_binary(octets: bytes) -> ProxyHeader | None:
    """Read version 2: a fixed part, addresses, and extensions, which are passed over."""
    if len(octets) < _FIXED:
        return None
    command, family = octets[len(_SIGNATURE)], octets[len(_SIGNATURE) + 1]
    length = int.from_bytes(octets[_FIXED - 2 : _FIXED], "big")
    size = _FIXED + length
    if command not in (_LOCAL, _PROXY):
        raise ProxyFault("the PROXY header has an unknown version or command")
    if size > MAX_HEADER:
        raise ProxyFault("the PROXY header is too long")
    width = _WIDTHS.get(family, 0)
    if command == _PROXY:
        if not width and family not in _UNNAMED:
            raise ProxyFault("the PROXY header is of no connection by TCP")
        if length < (2 * width + 4 if width else _UNNAMED[family]):
            raise ProxyFault("the PROXY header is too short for its addresses")
    if len(octets) < size:
        return None
    if command == _LOCAL or not width:
        return ProxyHeader(size, local=command == _LOCAL)
    return ProxyHeader(size, _route(octets[_FIXED:size], width))


def _route(octets: bytes, width: int) -> Route:
    kind = IPv4Address if width == 4 else IPv6Address
    client, server = kind(octets[:width]), kind(octets[width : 2 * width])
    ports = octets[2 * width :]
    return Route(
        str(client), int.from_bytes(ports[:2], "big"), str(server), int.from_bytes(ports[2:4], "big")
    )
