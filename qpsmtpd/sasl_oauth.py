"""OAUTHBEARER (RFC 7628) and XOAUTH2: the client shows a token that somebody else gave it.

An exchange reads the token. It must not know whether it is good: that is asked of the hooks.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from .sasl import INVALID, Channel, Credentials, Exchange, SASLFault, user_name
from .smtp.reply import Reply

# RFC 6750 section 2.1
_BEARER: Final = re.compile(r"Bearer +([A-Za-z0-9\-._~+/]+=*)", re.ASCII | re.IGNORECASE)
# RFC 7628 section 3.1; p would ask for channel binding, which this mechanism does not do.
_HEADER: Final = re.compile(rb"[ny],(?:a=((?:[^=,]|=2C|=3D)+))?,")


class OAuthBearer(Exchange):
    """``n,a=USER,`` then pairs as ``auth=Bearer TOKEN``, each between octets 1; the user may be left out."""

    __slots__ = ()

    error_challenge: ClassVar[bytes] = b'{"status":"invalid_token"}'

    def __init__(self, channel: Channel) -> None:
        pass

    def respond(self, response: bytes | None) -> bytes | Credentials:
        """Ask with an empty challenge, then read the message."""
        if response is None:
            return b""
        header, *pairs = _pairs(response)
        match = _HEADER.fullmatch(header)
        if match is None:
            raise SASLFault(INVALID)
        name = (match[1] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
        return Credentials("oauthbearer", user_name(name) if name else "", token=_token(pairs))


class XOAuth2(Exchange):
    """``user=USER`` and ``auth=Bearer TOKEN``, each before an octet 1; never standardized."""

    __slots__ = ()

    error_challenge: ClassVar[bytes] = b'{"status":"401","schemes":"bearer"}'

    def __init__(self, channel: Channel) -> None:
        pass

    def respond(self, response: bytes | None) -> bytes | Credentials:
        """Ask with an empty challenge, then read the message."""
        if response is None:
            return b""
        user, *pairs = _pairs(response)
        if not user.startswith(b"user="):
            raise SASLFault(INVALID)
        return Credentials("xoauth2", user_name(user.removeprefix(b"user=")), token=_token(pairs))


class Refusal(Exchange):
    """The client has heard the error as a challenge (RFC 7628 section 3.2.3): whatever it says is refused."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def respond(self, response: bytes | None) -> bytes | Credentials:
        """End the exchange."""
        raise SASLFault(self._reply)


def _pairs(message: bytes) -> list[bytes]:
    if not message.endswith(b"\x01\x01"):
        raise SASLFault(INVALID)
    return message.removesuffix(b"\x01\x01").split(b"\x01")


def _token(pairs: list[bytes]) -> str:
    values = [pair.removeprefix(b"auth=") for pair in pairs if pair.startswith(b"auth=")]
    match = _BEARER.fullmatch(values[0].decode("ascii", "replace")) if len(values) == 1 else None
    if match is None:
        raise SASLFault(INVALID)
    return match[1]
