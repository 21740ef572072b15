"""What a server keeps to know a user by: a password in clear, or SCRAM verifiers. Knows no exchange."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from hashlib import pbkdf2_hmac, sha256
from hmac import digest
from secrets import token_bytes
from typing import Final

from .saslprep import prepared_password

KEY_LENGTH: Final = 32
SALT_LENGTH: Final = 16
ITERATIONS: Final = 10000
"""The usual cost of a guess; RFC 7677 section 4 wants 4096 at least."""

_BASE64: Final = "([A-Za-z0-9+/]+={0,2})"
_STORED: Final = re.compile(rf"SCRAM-SHA-256\$([1-9][0-9]{{0,7}}):{_BASE64}\${_BASE64}:{_BASE64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Secret:
    """A user's secret: ``Secret(password="...")``, or salt, iterations and both keys of SCRAM-SHA-256.

    With verifiers (RFC 5802 section 3) whoever reads them can neither log in nor tell the password. Nothing
    of it is shown in a representation. Raises ValueError if it is neither of the two.
    """

    password: str | None = field(default=None, repr=False)
    salt: bytes = field(default=b"", repr=False)
    iterations: int = field(default=0, repr=False)
    stored_key: bytes = field(default=b"", repr=False)
    server_key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Check that it is one of the two."""
        keys = len(self.stored_key), len(self.server_key)
        if self.password is not None:
            good = not (self.salt or self.iterations or any(keys))
        else:
            good = bool(self.salt) and self.iterations > 0 and keys == (KEY_LENGTH, KEY_LENGTH)
        if not good:
            raise ValueError("a secret is a password, or a salt, iterations and two keys of 32 octets")

    @classmethod
    def derive(cls, password: str, salt: bytes = b"", iterations: int = ITERATIONS) -> Secret:
        """Make verifiers of a password, with a new salt if none is given; blocks for milliseconds."""
        salt = salt or token_bytes(SALT_LENGTH)
        # A file may hold passwords that are not UTF-8; they must not raise, only never match.
        octets = prepared_password(password).encode("utf-8", "surrogateescape")
        salted = pbkdf2_hmac("sha256", octets, salt, iterations)
        stored_key = sha256(digest(salted, b"Client Key", "sha256")).digest()
        server_key = digest(salted, b"Server Key", "sha256")
        return cls(salt=salt, iterations=iterations, stored_key=stored_key, server_key=server_key)

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Read verifiers: ``SCRAM-SHA-256$ITERATIONS:SALT$STORED-KEY:SERVER-KEY`` as PostgreSQL keeps them.

        Salt and keys are in base64 (the form of RFC 5803). Raises ValueError, which does not show the text.
        """
        match = _STORED.fullmatch(text)
        if match is None:
            raise ValueError("not SCRAM-SHA-256$ITERATIONS:SALT$STORED-KEY:SERVER-KEY")
        salt, stored_key, server_key = map(base64.b64decode, match.group(2, 3, 4))
        return cls(salt=salt, iterations=int(match[1]), stored_key=stored_key, server_key=server_key)

    @property
    def text(self) -> str:
        """Verifiers as `parse` reads them; raises ValueError for a password in clear."""
        if self.password is not None:
            raise ValueError("a password in clear has no such form")
        salt, stored, server = (
            base64.b64encode(octets).decode("ascii")
            for octets in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"
