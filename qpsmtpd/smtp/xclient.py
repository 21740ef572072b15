"""The arguments of XCLIENT and XFORWARD: what a proxy says about its client (Postfix's XCLIENT_README).

Reads attributes and their values. It must not know who may use the commands, or what becomes of the values.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from .command import SyntaxFault, decode_xtext
from .reply import Reply

UNAVAILABLE: Final = "[UNAVAILABLE]"
TEMPORARILY_UNAVAILABLE: Final = "[TEMPUNAVAIL]"
MAX_VALUE: Final = 255
"""Characters of a decoded value."""

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_WORD: Final = re.compile(r"[!-~]+")

Reader = Callable[[str], str]
"""Gives the value in its usual form; raises ValueError for what is none."""


def _matching(pattern: re.Pattern[str]) -> Reader:
    def read(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError
        return value

    return read


def _one_of(*words: str) -> Reader:
    def read(value: str) -> str:
        if value.upper() not in words:
            raise ValueError
        return value.upper()

    return read


def _address(value: str) -> str:
    """Read an IPv4 address, or an IPv6 one behind its prefix (RFC 5321 section 4.1.3)."""
    if value[:5].upper() != "IPV6:":
        return str(IPv4Address(value))
    address = IPv6Address(value[5:])
    if address.scope_id is not None:
        raise ValueError
    return str(address.ipv4_mapped or address)


def _port(value: str) -> str:
    if not _PORT.fullmatch(value) or int(value) > 65535:
        raise ValueError
    return str(int(value))


def _text(value: str) -> str:
    """Read a text of any language without control characters."""
    if not value.isprintable() or not value.strip():
        raise ValueError
    return value


XCLIENT: Final[Mapping[str, Reader]] = {
    "NAME": _matching(_NAME),
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _one_of("SMTP", "ESMTP"),
    "HELO": _matching(_WORD),
    "LOGIN": _text,
    "DESTADDR": _address,
    "DESTPORT": _port,
}
"""The attributes of XCLIENT, as EHLO names them."""

XFORWARD: Final[Mapping[str, Reader]] = {
    "NAME": _matching(_NAME),
    "ADDR": _address,
    "PORT": _port,
    "PROTO": _matching(_WORD),
    "HELO": _matching(_WORD),
    "IDENT": _matching(_WORD),
    "SOURCE": _one_of("LOCAL", "REMOTE"),
}
"""The attributes of XFORWARD."""


def read_attributes(readers: Mapping[str, Reader], argument: str) -> dict[str, str]:
    """Read ``NAME=value ADDR=value``, at least one; keys are in upper case, values are decoded.

    A value may be UNAVAILABLE, and of NAME also TEMPORARILY_UNAVAILABLE. Raises SyntaxFault.
    """
    found: dict[str, str] = {}
    for word in argument.split():
        name, equals, value = word.partition("=")
        key = name.upper()
        reader = readers.get(key)
        if reader is None or not equals or key in found:
            raise _fault(name)
        found[key] = _value(key, value, reader)
    if not found:
        raise SyntaxFault(Reply(501, "attributes are missing", "5.5.4"))
    return found


def _value(key: str, value: str, reader: Reader) -> str:
    text = decode_xtext(value)
    if text.upper() == UNAVAILABLE and key not in ("PROTO", "SOURCE"):
        return UNAVAILABLE
    if text.upper() == TEMPORARILY_UNAVAILABLE and key == "NAME":
        return TEMPORARILY_UNAVAILABLE
    try:
        if len(text) > MAX_VALUE:
            raise ValueError
        return reader(text)
    except ValueError:
        raise _fault(key) from None


def _fault(name: str) -> SyntaxFault:
    return SyntaxFault(Reply(501, f"bad or repeated attribute {name[:40]}", "5.5.4"))
