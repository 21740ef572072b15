"""A name server for one load: ``dns_responder.py PORT`` on 127.0.0.1, until it is terminated.

Whatever lies in example.com exists: A, MX. No other name does; no list has anybody on it.
"""

from __future__ import annotations

import socket
import struct
import sys

A, MX = 1, 15
ADDRESS = socket.inet_aton("198.51.100.25")
_ZONE = b"\x07example\x03com\x00"
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
    record = _POINTER + struct.pack("!HHIH", kind, 1, 300, len(data)) + data if data else b""
    header = query[:2] + struct.pack("!HHHHH", 0x8580 if exists else 0x8583, 1, bool(data), 0, 0)
    return header + query[12:end] + record


def main(port: int) -> None:
    """Answer until somebody ends us."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    while True:
        query, client = server.recvfrom(4096)
        server.sendto(answer(query), client)


if __name__ == "__main__":
    main(int(sys.argv[1]))
