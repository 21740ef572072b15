"""A name server for one load: ``dns_responder.py PORT`` on 127.0.0.1, until it is terminated.

Whatever lies in example.com exists: A, MX. No other name does; no list has anybody on it. That nothing is
there may be remembered as long as what is there (RFC 2308 section 3).
"""

from __future__ import annotations

import socket
import struct
import sys

A, SOA, MX = 1, 6, 15
TTL = 300
ADDRESS = socket.inet_aton("198.51.100.25")
_ZONE = b"\x07example\x03com\x00"
_ROOT = b"\x00"
_AUTHORITY = 2 * (b"\x04mail" + _ZONE) + struct.pack("!5I", 1, 3600, 600, 86400, TTL)
_POINTER = b"\xc0\x0c"  # to the name in the question (RFC 1035 section 4.1.4)


def answer(query: bytes) -> bytes:
    """Answer one query."""
    end = 12
    while query[end]:
        end += 1 + query[end]
    name, end = query[12 : end + 1].lower(), end + 5
    kind = struct.unpack_from("!H", query, end - 4)[0]
    exists = name.endswith(_ZONE)
    data = {A: ADDRESS, MX: b"\x00\x0a\x04mail" + _ZONE}.get(kind) if exists else None
    found = _record(_POINTER, kind, data) if data else _record(_ZONE if exists else _ROOT, SOA, _AUTHORITY)
    header = query[:2] + struct.pack("!HHHHH", 0x8580 if exists else 0x8583, 1, bool(data), not data, 0)
    return header + query[12:end] + found


def _record(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack("!HHIH", kind, 1, TTL, len(data)) + data


def main(port: int) -> None:
    """Answer until somebody ends us."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    while True:
        query, client = server.recvfrom(4096)
        server.sendto(answer(query), client)


if __name__ == "__main__":
    main(int(sys.argv[1]))
