"""Clients for what smtp-source cannot do: ``clients.py WHAT PORT COUNT [PARALLEL [SIZE]]``.

``idle`` opens COUNT sessions one after another, says EHLO in each, prints a line and keeps them open until
its input ends. ``idle-tls`` does STARTTLS and says EHLO once more in each. ``handshakes`` makes COUNT
connections, PARALLEL at once: connect, EHLO, STARTTLS, handshake, EHLO, close; nothing is resumed.
``messages`` sends COUNT messages of SIZE octets in TLS, over PARALLEL kept connections.
"""

from __future__ import annotations

import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

TIMEOUT = 60.0
_EHLO = b"EHLO client.example.com\r\n"


def command(connection: socket.socket, line: bytes, code: bytes) -> None:
    """Send a line (none, for the greeting) and read its reply to the end."""
    connection.sendall(line)
    reply = b""
    while not reply.endswith(b"\r\n") or reply.rstrip().rpartition(b"\n")[2][3:4] == b"-":
        octets = connection.recv(4096)
        if not octets:
            raise ConnectionError(f"closed after {line!r}")
        reply += octets
    if not reply.startswith(code):
        raise ConnectionError(f"{reply!r} after {line!r}")


def connect(port: int) -> socket.socket:
    """Connect, and come as far as EHLO."""
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    command(connection, b"", b"220")
    command(connection, _EHLO, b"250")
    return connection


def secured(connection: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Go on with TLS, as far as EHLO."""
    command(connection, b"STARTTLS\r\n", b"220")
    secure = context.wrap_socket(connection)
    command(secure, _EHLO, b"250")
    return secure


def trusting() -> ssl.SSLContext:
    """Make a context that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def idle(port: int, count: int, context: ssl.SSLContext | None) -> None:
    """Hold sessions open."""
    sessions = []
    for _ in range(count):
        connection = connect(port)
        sessions.append(secured(connection, context) if context else connection)
    print("ready", flush=True)
    sys.stdin.read()
    for session in sessions:
        session.close()


def handshakes(port: int, count: int, parallel: int) -> None:
    """Make handshakes; each client has its own context, as hosts have."""
    context = trusting()

    def one(_: int) -> None:
        secured(connect(port), context).close()

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(one, range(count)))


def messages(port: int, count: int, parallel: int, size: int) -> None:
    """Send messages; all clients say the same, and then wait for all replies."""
    context = trusting()
    sessions = [secured(connect(port), context) for _ in range(parallel)]
    line = b"X" * 78 + b"\r\n"
    said = (
        (b"MAIL FROM:<sender@example.com>\r\n", b"250"),
        (b"RCPT TO:<user@example.com>\r\n", b"250"),
        (b"DATA\r\n", b"354"),
        (b"Subject: test\r\n\r\n" + line * (size // len(line)) + b".\r\n", b"250"),
    )
    for sent in range(0, count, parallel):
        speaking = sessions[: count - sent]
        for octets, code in said:
            for session in speaking:
                session.sendall(octets)
            for session in speaking:
                command(session, b"", code)


if __name__ == "__main__":
    port, count, *rest = map(int, sys.argv[2:])
    if sys.argv[1] == "handshakes":
        handshakes(port, count, *rest)
    elif sys.argv[1] == "messages":
        messages(port, count, *rest)
    else:
        idle(port, count, trusting() if sys.argv[1] == "idle-tls" else None)
