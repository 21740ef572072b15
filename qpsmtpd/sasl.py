"""AUTH exchanges of challenge and response (RFC 4954), and those that hand over a password or a digest.

An exchange turns what the client says into credentials. It must not know whether they are right (the
session asks the hooks), nor the transport: challenges and responses are octets before base64.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

from .secret import Secret
from .smtp.reply import Reply

# RFC 4954 section 4: a cancelled exchange and an undecodable response are 501, whatever the mechanism.
CANCELLED: Final = Reply(501, "authentication cancelled", "5.7.0")
UNDECODABLE: Final = Reply(501, "cannot decode the base64 response", "5.5.2")
UNASKED: Final = Reply(501, "the server speaks first in this mechanism", "5.7.0")
INVALID: Final = Reply(535, "authentication credentials invalid", "5.7.8")

_NEVER_IN_SECRET: Final = frozenset("\0\r\n")
_MD5: Final = re.compile(r"[0-9a-fA-F]{32}")


class SASLFault(Exception):  # noqa: N818
    """Authentication ends without credentials; ``reply`` tells the client why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the client claims to be, and its proof: a password, a digest made with a ticket, or a token.

    ``mechanism`` is in lower case. ``user`` is printable, so it is safe in a reply and in the log; with a
    token it may be empty. ``digest`` is in lower case hexadecimal. ``proven`` tells what became of a proof
    that the exchange itself has checked. Secrets are left out of the representation.
    """

    mechanism: str
    user: str
    password: str | None = field(default=None, repr=False)
    digest: str | None = field(default=None, repr=False)
    ticket: str | None = field(default=None, repr=False)
    authzid: str = ""
    token: str | None = field(default=None, repr=False)
    proven: bool | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """An exchange wants a user's verifiers; ``proceed`` takes them and gives the next challenge."""

    mechanism: str
    user: str
    proceed: Callable[[Secret], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Channel:
    """What an exchange may know of the connection.

    ``binding`` is what only the two ends of this TLS connection know (RFC 9266), b"" if there is none;
    ``offers_binding`` tells whether the client was offered a mechanism that uses it.
    """

    me: str
    binding: bytes = field(default=b"", repr=False)
    offers_binding: bool = False


class Exchange(ABC):
    """One authentication: made for one AUTH command, dropped when it gives credentials or fails."""

    __slots__ = ()

    error_challenge: ClassVar[bytes] = b""
    """What the client hears, and answers, before the reply to credentials that are refused."""

    @abstractmethod
    def respond(self, response: bytes | None) -> bytes | Wanted | Credentials:
        """Take a response and give the next challenge, or the credentials when nothing is left to ask.

        The first response is None if the AUTH command had no initial response. Data that the server must
        send last go out as a challenge, whose response is empty. Raises SASLFault.
        """


class Plain(Exchange):
    """RFC 4616: authorization identity, user and password in one message."""

    __slots__ = ()

    def respond(self, response: bytes | None) -> bytes | Credentials:
        """Ask with an empty challenge, then split the message at NUL."""
        if response is None:
            return b""
        fields = response.split(b"\0")
        if len(fields) != 3:
            raise SASLFault(INVALID)
        authzid, user, password = _text(fields[0]), user_name(fields[1]), _secret(fields[2])
        if authzid and authzid != user:  # nobody may act for somebody else
            raise SASLFault(INVALID)
        return Credentials("plain", user, password=password, authzid=authzid)


class Login(Exchange):
    """User, then password; never standardized, so the prompts are those that clients look for."""

    __slots__ = ("_user",)

    def __init__(self) -> None:
        self._user = ""

    def respond(self, response: bytes | None) -> bytes | Credentials:
        """Ask for the user, unless the initial response names it; then for the password."""
        if response is None:
            return b"Username:"
        if not self._user:
            self._user = user_name(response)
            return b"Password:"
        return Credentials("login", self._user, password=_secret(response))


class CramMD5(Exchange):
    """RFC 2195: the password stays at home; the client sends a digest of our ticket keyed with it."""

    __slots__ = ("_me", "_ticket")

    def __init__(self, me: str) -> None:
        self._me = me
        self._ticket = ""

    def respond(self, response: bytes | None) -> bytes | Credentials:
        """Hand out a ticket that was never seen before, then split the answer to it."""
        if response is None:
            self._ticket = f"<{secrets.token_hex(16)}.{int(time.time()):x}@{self._me}>"
            return self._ticket.encode()
        if not self._ticket:
            # RFC 4954 section 4: an initial response where the client does not begin is 501 5.7.0.
            raise SASLFault(UNASKED)
        # A user name may hold blanks: the digest is what follows the last one.
        user, _, digest = response.rpartition(b" ")
        return Credentials("cram-md5", user_name(user), digest=_digest(digest), ticket=self._ticket)


def decode_response(line: bytes) -> bytes:
    """Decode what follows the mechanism in the AUTH command, or a line that answers a challenge.

    The line comes without its CRLF. "=" is an empty response (RFC 4954 section 4), "*" cancels.
    Raises SASLFault.
    """
    if line == b"*":
        raise SASLFault(CANCELLED)
    if line == b"=":
        return b""
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        raise SASLFault(UNDECODABLE) from None


def challenge_reply(challenge: bytes) -> Reply:
    """Put a challenge on the wire; an empty one is ``334`` and a blank (RFC 4954 section 4)."""
    return Reply.challenge(base64.b64encode(challenge).decode("ascii"))


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SASLFault(INVALID) from None


def user_name(octets: bytes) -> str:
    """Decode a user name; raises SASLFault."""
    # RFC 4013 section 2.3: no control characters, so a name cannot forge a line of a reply or of the log.
    user = _text(octets)
    if not user or not user.isprintable():
        raise SASLFault(INVALID)
    return user


def _secret(octets: bytes) -> str:
    # RFC 4616 section 2: no NUL in a password. Line ends would forge commands to servers that plugins ask.
    secret = _text(octets)
    if not secret or not _NEVER_IN_SECRET.isdisjoint(secret):
        raise SASLFault(INVALID)
    return secret


def _digest(octets: bytes) -> str:
    digest = _text(octets)
    if not _MD5.fullmatch(digest):
        raise SASLFault(INVALID)
    return digest.lower()
