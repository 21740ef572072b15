"""Records of TLS 1.3 as a client of our own makes them, for what no library sends (RFC 8446 section 5)."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

DATA = 23
HANDSHAKE = 22
KEY_UPDATE = b"\x18\0\0\1\1"
"""The message by which the other side is to change its keys, too (RFC 8446 section 4.6.3)."""


def expand(secret: bytes, label: bytes, length: int) -> bytes:
    """Give no more than one block of HKDF-Expand-Label with SHA-384 (RFC 8446 section 7.1)."""
    label = b"tls13 " + label
    what = struct.pack("!HB", length, len(label)) + label + b"\0\1"
    return hmac.digest(secret, what, "sha384")[:length]


def recording_client() -> tuple[SSL.Connection, list[bytes]]:
    """Make a client that verifies nothing, and the list of its secrets to be; the server chooses AES-256."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    keylog: list[bytes] = []
    context.set_keylog_callback(lambda _, line: keylog.append(line))
    client = SSL.Connection(context, None)
    client.set_connect_state()
    return client, keylog


class Records:
    """Makes the records of a client that is done with its handshake and has sent nothing since."""

    def __init__(self, keylog: Iterable[bytes]) -> None:
        secrets = dict(line.split()[::2] for line in keylog)
        self._use(bytes.fromhex(secrets[b"CLIENT_TRAFFIC_SECRET_0"].decode()))

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = AESGCM(expand(secret, b"key", 32))
        self._iv = int.from_bytes(expand(secret, b"iv", 12), "big")
        self._count = 0

    def record(self, octets: bytes, kind: int = DATA) -> bytes:
        """Encrypt one record."""
        head = b"\x17\3\3" + struct.pack("!H", len(octets) + 1 + 16)
        nonce = (self._iv ^ self._count).to_bytes(12, "big")
        self._count += 1
        return head + self._key.encrypt(nonce, octets + bytes([kind]), head)

    def key_update(self) -> bytes:
        """Ask for other keys, and take other keys."""
        octets = self.record(KEY_UPDATE, HANDSHAKE)
        self._use(expand(self._secret, b"traffic upd", 48))
        return octets
