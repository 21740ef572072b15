"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677): client and server prove that they know the password.

Neither says it, and what is said is of no use to who hears it. PLUS binds the proof to the TLS connection
(RFC 9266), so that nobody in between can pass it on. An exchange is given verifiers; it must not know where
they come from, nor whether there is such a user.
"""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256
from hmac import compare_digest, digest
from secrets import token_urlsafe
from typing import Final

from .sasl import INVALID, Channel, Credentials, Exchange, SASLFault, Wanted, user_name
from .saslprep import saslprep
from .secret import KEY_LENGTH, Secret
from .smtp.reply import Reply

BINDING_TYPE: Final = b"tls-exporter"

# RFC 5802 section 7; a nonce that is longer would make a challenge that is too long for its line.
_NONCE: Final = re.compile(rb"r=[\x21-\x2b\x2d-\x7e]{1,1024}")
_NAME: Final = re.compile(rb"(?:[^=,]|=2C|=3D)+")
_ATTRIBUTE: Final = re.compile(rb"[A-Za-z]=.+", re.DOTALL)


def _fault(error: str) -> SASLFault:
    """Make a refusal in the words of RFC 5802 section 7, server-error-value."""
    return SASLFault(Reply(535, f"authentication credentials invalid: {error}", INVALID.status))


class Scram(Exchange):
    """Client first, server first, client final, server final; then an empty response (RFC 4954 section 4)."""

    __slots__ = ("_begun", "_channel", "_first", "_header", "_name", "_nonce", "_plus", "_secret", "_user")

    def __init__(self, channel: Channel, *, plus: bool) -> None:
        self._channel = channel
        self._plus = plus
        self._name = "scram-sha-256-plus" if plus else "scram-sha-256"
        self._secret: Secret | None = None
        self._begun = b""  # what was said, as far as the proof is about it
        self._first = self._header = self._nonce = b""
        self._user = ""

    def respond(self, response: bytes | None) -> bytes | Wanted | Credentials:
        """Take the client's first message, its final one, or its consent to ours."""
        if response is None:
            return b""
        if not self._nonce:
            return self._take_first(response)
        if self._secret is not None:
            return self._take_final(response, self._secret)
        if response:
            raise SASLFault(INVALID)
        return Credentials(self._name, self._user, proven=True)

    def _take_first(self, message: bytes) -> Wanted:
        """Read ``FLAG,[a=AUTHZID],n=USER,r=NONCE``."""
        flag, _, rest = message.partition(b",")
        authzid, comma, bare = rest.partition(b",")
        if not comma:
            raise SASLFault(INVALID)
        self._check_flag(flag)
        self._header = message[: len(message) - len(bare)]
        user, nonce, *_ = [*_attributes(bare), b"", b""]
        if user.startswith(b"m="):
            raise _fault("extensions-not-supported")
        if not user.startswith(b"n=") or not _NONCE.fullmatch(nonce):
            raise SASLFault(INVALID)
        self._user = _saslname(user[2:])
        # Nobody may act for somebody else.
        if authzid and (not authzid.startswith(b"a=") or _saslname(authzid[2:]) != self._user):
            raise SASLFault(INVALID)
        self._first = bare
        self._nonce = nonce[2:] + token_urlsafe(24).encode("ascii")
        return Wanted(self._name, self._user, self._proceed)

    def _check_flag(self, flag: bytes) -> None:
        """Refuse a client that was talked out of channel binding, or binds to something else."""
        if flag.startswith(b"p="):
            if not self._plus:
                raise _fault("channel-binding-not-supported")
            if flag[2:] != BINDING_TYPE:
                raise _fault("unsupported-channel-binding-type")
        elif flag not in (b"n", b"y"):
            raise SASLFault(INVALID)
        # RFC 5802 section 6: y says "you did not offer it"; if we did, somebody has changed our EHLO reply.
        elif self._plus or (flag == b"y" and self._channel.offers_binding):
            raise _fault("server-does-support-channel-binding")

    def _proceed(self, secret: Secret) -> bytes:
        """Go on with the user's verifiers; a user that does not exist has some, too."""
        self._secret = secret
        salt = base64.b64encode(secret.salt)
        message = b"r=%b,s=%b,i=%d" % (self._nonce, salt, secret.iterations)
        self._begun = self._first + b"," + message
        return message

    def _take_final(self, message: bytes, secret: Secret) -> bytes | Credentials:
        """Read ``c=BINDING,r=NONCE,p=PROOF`` and check all three."""
        unproven, _, proof = message.rpartition(b",p=")
        binding, nonce, *_ = [*_attributes(unproven), b"", b""]
        if not binding.startswith(b"c=") or not compare_digest(nonce, b"r=" + self._nonce):
            raise SASLFault(INVALID)
        expected = self._header + (self._channel.binding if self._plus else b"")
        if not compare_digest(_decoded(binding[2:]), expected):
            raise _fault("channel-bindings-dont-match")
        about = self._begun + b"," + unproven
        self._secret = None
        if not _is_proof(_decoded(proof), secret.stored_key, about):
            return Credentials(self._name, self._user, proven=False)
        return b"v=" + base64.b64encode(digest(secret.server_key, about, "sha256"))


def _is_proof(proof: bytes, stored_key: bytes, about: bytes) -> bool:
    """RFC 5802 section 3: the proof is the client's key, masked with a signature of what was said."""
    if len(proof) != KEY_LENGTH:
        return False
    signature = digest(stored_key, about, "sha256")
    client_key = bytes(left ^ right for left, right in zip(proof, signature, strict=True))
    return compare_digest(sha256(client_key).digest(), stored_key)


def _attributes(message: bytes) -> list[bytes]:
    attributes = message.split(b",")
    if not all(map(_ATTRIBUTE.fullmatch, attributes)):
        raise SASLFault(INVALID)
    return attributes


def _saslname(octets: bytes) -> str:
    if not _NAME.fullmatch(octets):
        raise SASLFault(INVALID)
    try:
        name = octets.replace(b"=2C", b",").replace(b"=3D", b"=").decode("utf-8")
        return user_name(saslprep(name).encode("utf-8"))
    except ValueError:
        raise SASLFault(INVALID) from None


def _decoded(octets: bytes) -> bytes:
    try:
        return base64.b64decode(octets, validate=True)
    except binascii.Error:
        raise SASLFault(INVALID) from None
