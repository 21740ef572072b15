"""A TLS connection in memory whose buffers shrink again. Knows OpenSSL, but no contexts and no certificates.

The two buffers between OpenSSL and the transport grow to the most they ever held, and stay so for as long as
the connection: the handshake leaves 1.7 KiB in them, a long chain of certificates more, and a message as long
as what a transport reads at once 87 KiB. So whenever something is said to the client, buffers that have held
more than a command or a reply are replaced by new ones. Measured: a session that waits takes 1.2 KiB less,
one that has sent a message of 100 kB takes 30 KiB, not 111. It costs 5 µs for a message.

Twisted asks both buffers for more after each piece, until an error says that there is nothing. To look costs
less than to have OpenSSL find that out: 10 µs of a message's 140.

pyOpenSSL has no words for either. Where its inner names are not as we know them, buffers stay as they are.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from OpenSSL import SSL

SMALL: Final = 512
"""Octets that a buffer may have held and be kept."""

_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)


class ShrinkingConnection(SSL.Connection):
    """Takes new buffers when those it has have grown and are empty."""

    _grown = False
    # New buffers amid the handshake would only grow again, and after the end of what the client sends they
    # would not know of it.
    _changing = False

    def do_handshake(self) -> None:
        """Go on with the handshake; it raises until that is complete."""
        super().do_handshake()
        self._changing = True

    def bio_write(self, buf: bytes | bytearray | memoryview) -> int:
        """Take what the client has sent."""
        if len(buf) > SMALL:
            self._grown = True
        return super().bio_write(buf)

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """Give what the client has said; WantReadError if there is nothing more."""
        # After the end of what it sends only OpenSSL knows what that means.
        if self._changing and not self.pending() and _is_empty(self._into_ssl):
            raise SSL.WantReadError
        return super().recv(bufsiz, flags)

    def bio_read(self, bufsiz: int) -> bytes:
        """Give all that is for the client, be it more than was asked for: Twisted asks once.

        What it left would never end. TLS answers by itself, a KeyUpdate (RFC 8446 section 4.6.3) with as many
        octets, and a client may send more of them at once than Twisted takes.
        """
        if _is_empty(self._from_ssl):
            raise SSL.WantReadError
        octets = super().bio_read(bufsiz)
        if len(octets) > SMALL:
            self._grown = True
        if len(octets) == bufsiz:
            octets += self._rest(bufsiz)
        if self._grown and self._changing:
            self._shrink()
        return octets

    def bio_shutdown(self) -> None:
        """Take note that the client sends no more."""
        self._changing = False
        super().bio_shutdown()

    def _rest(self, bufsiz: int) -> bytes:
        rest = b""
        with suppress(SSL.WantReadError):
            while True:
                rest += super().bio_read(bufsiz)
        return rest

    def _shrink(self) -> None:
        """Take new buffers, if there is nothing in the old ones; else that is to be tried again."""
        try:
            ssl, into, out = self._ssl, self._into_ssl, self._from_ssl
            new, memory, use = _lib.BIO_new, _lib.BIO_s_mem, _lib.SSL_set_bio
        except AttributeError:
            self._grown = False
            return
        if not (_is_empty(into) and _is_empty(out)):
            return
        into, out = new(memory()), new(memory())
        if into and out:
            # This frees the old ones; the new ones are OpenSSL's own, as those were.
            use(ssl, into, out)
            self._into_ssl, self._from_ssl = into, out
        self._grown = False


def _is_empty(buffer: Any) -> bool:
    """Tell whether a buffer is known to hold nothing."""
    try:
        return not _lib.BIO_get_mem_data(buffer, _ffi.NULL)
    except AttributeError:
        return False
