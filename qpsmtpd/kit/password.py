"""Compare what a client sent with a stored password, for plugins that look passwords up.

It must not know where passwords are stored, nor what a plugin answers.
"""

from __future__ import annotations

import hmac
from enum import Enum


class PasswordCheck(Enum):
    """What came out; the value is the line for the log, beginning with the word that log tools look for.

    Clients are never told whether the user is unknown or the password wrong.
    """

    PASS_CLEAR = "pass: clear match"  # noqa: S105
    PASS_HASH = "pass: hash match"  # noqa: S105
    NO_SECRET = "fail: missing password"  # noqa: S105
    NO_TICKET = "skip: missing ticket"
    NO_CLEAR = "skip: no clear password"
    WRONG = "fail: wrong password"

    @property
    def passed(self) -> bool:
        """Tell whether the client has proved who it is."""
        return self in (PasswordCheck.PASS_CLEAR, PasswordCheck.PASS_HASH)


def check_password(
    *, stored_clear: str | None, password: str | None, digest: str | None, ticket: str | None
) -> PasswordCheck:
    """Compare a password, or the digest of a ticket (RFC 2195), with a password stored in clear.

    ``digest`` is in lower case hexadecimal. An empty stored password is none: nobody can log in with it.
    """
    if not stored_clear:
        return PasswordCheck.NO_SECRET
    if password and _equal(password, stored_clear):
        return PasswordCheck.PASS_CLEAR
    if not digest:
        return PasswordCheck.WRONG
    if not ticket:
        return PasswordCheck.NO_TICKET
    expected = hmac.new(_octets(stored_clear), _octets(ticket), "md5").hexdigest()
    return PasswordCheck.PASS_HASH if _equal(digest, expected) else PasswordCheck.WRONG


def _equal(left: str, right: str) -> bool:
    # The time taken must not tell how much of a guess was right.
    return hmac.compare_digest(_octets(left), _octets(right))


def _octets(text: str) -> bytes:
    # A file may hold passwords that are not UTF-8; they must not raise, only never match.
    return text.encode("utf-8", "surrogateescape")
