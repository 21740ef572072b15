"""Clients that shut their side and listen on, as Exim and ``nc -N`` do; with HAProxy between, too."""

from __future__ import annotations

import socket
import unittest

from haproxy import HAProxy
from harness import Server, free_port
from recording import recording

ENVELOPE = b"HELO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n"
MESSAGE = ENVELOPE + b"DATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"


def heard(port: int, said: bytes) -> list[str]:
    """Give the codes that are heard until the server closes, when all is said at once behind the greeting."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        octets = client.recv(1000)
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        octets += b"".join(iter(lambda: client.recv(4096), b""))
    return [line[:3] for line in octets.decode().splitlines()]


class HalfClosedTests(unittest.TestCase):
    """The disk makes every delivery wait."""

    def check(self, server: Server, port: int) -> None:
        answers = ["220", "250", "250", "250", "354", "250", "221"]
        for _ in range(20):
            self.assertEqual(answers, heard(port, MESSAGE + b"QUIT\r\n"))
        self.assertEqual(20, len(server.take_messages(20)))
        # Without QUIT it is gone; what was answered at once is heard all the same.
        self.assertEqual(answers[:4], heard(port, ENVELOPE))
        self.assertEqual(answers[:5], heard(port, MESSAGE)[:5])
        # QUIT in a message that does not end is no command.
        self.assertEqual(answers[:5], heard(port, MESSAGE.removesuffix(b".\r\n") + b"QUIT\r\n"))

    def test_direct(self) -> None:
        with recording() as server:
            self.check(server, server.port)

    def test_behind_haproxy(self) -> None:
        behind = free_port()
        config = {"listen": f"haproxy:tcp:{behind}:interface=127.0.0.1\n", "trusted_proxies": "127.0.0.1\n"}
        with recording(config, port=behind) as server, HAProxy((behind, "send-proxy-v2")) as proxy:
            self.check(server, proxy.ports[0])

    def test_a_client_that_reads_late(self) -> None:
        """Replies that are still to be written when the client shuts its side are not lost."""
        count = 20_000  # some megabytes, more than the sockets take
        with recording({"max_commands": "0\n"}) as server:
            codes = heard(server.port, b"EHLO x\r\n" * count)
        self.assertGreater(codes.count("250"), 5 * count)
        self.assertEqual(0, (len(codes) - 1) % count)


if __name__ == "__main__":
    unittest.main()
