"""What a hostile client sends costs no memory, and its connection ends as it should."""

from __future__ import annotations

import select
import socket
import time
import unittest
from pathlib import Path
from typing import BinaryIO, ClassVar

from harness import PATIENCE, Server, running
from test_leaks import talk, wait_for

MAX_GROWTH = 4096
"""KiB by which the peak of resident memory may grow."""

MEGABYTE = 1_000_000
HUGE = 10_000 * MEGABYTE
"""Octets of the message that is too big."""

OPEN = [b"EHLO x\r\n", b"MAIL FROM:<a@example.com>\r\n"]
RCPT = b"RCPT TO:<b@localhost>\r\n"


def status(server: Server, name: str) -> int:
    """Give a number of KiB out of proc(5)."""
    return int(Path(f"/proc/{server.pid}/status").read_text().partition(name + ":")[2].split()[0])


class MemoryTests(unittest.TestCase):
    """The peak of the server's memory grows by less than 4 MB, whatever comes."""

    server: Server
    config: ClassVar = {"databytes": f"{100 * MEGABYTE}\n", "max_commands": "0\n", "max_recipients": "1000\n"}

    def setUp(self) -> None:
        self.server = self.enterContext(running({**self.config, "timeout": "5\n", "loglevel": "ERROR\n"}))
        with talk(self.server, *OPEN, RCPT, b"DATA\r\n") as client:
            replies = client.makefile("rb")
            wait_for(replies, b"354")
            client.sendall(b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n" * 500_000 + b".\r\n")
            wait_for(replies, b"250 2.0.0 Queued!")
        # Resets the peak, see proc(5).
        Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")
        self.before = status(self.server, "VmRSS")

    def tearDown(self) -> None:
        peak = status(self.server, "VmHWM")
        print(f"{self.id()}: {self.before} KiB before, at most {peak} KiB")
        self.assertLess(peak - self.before, MAX_GROWTH)
        self.assertEqual(list((self.server.directory / "spool").iterdir()), [])

    def begin(self, *commands: bytes) -> tuple[socket.socket, BinaryIO]:
        client = self.enterContext(talk(self.server, *commands))
        return client, self.enterContext(client.makefile("rb"))

    def test_64_megabytes_without_a_line_end(self) -> None:
        client, replies = self.begin()
        for _ in range(64):
            client.sendall(b"x" * MEGABYTE)
        client.sendall(b"\r\nQUIT\r\n")
        self.assertEqual([line[:9] for line in replies], [b"500 5.5.2", b"221 2.0.0"])

    def test_a_million_header_lines(self) -> None:
        client, replies = self.begin(*OPEN, RCPT, b"DATA\r\n")
        wait_for(replies, b"354")
        for _ in range(1000):
            client.sendall(b"A: b\r\n" * 1000)
        client.sendall(b"\r\n.\r\nQUIT\r\n")
        self.assertEqual([line[:9] for line in replies], [b"552 5.3.4", b"221 2.0.0"])

    def test_100_000_recipients(self) -> None:
        client, replies = self.begin(*OPEN)
        wait_for(replies, b"250 2.1.0")
        codes = []
        for _ in range(1000):
            client.sendall(RCPT * 100)
            codes += [replies.readline()[:9] for _ in range(100)]
        self.assertEqual(codes[:1000], [b"250 2.1.5"] * 1000)
        self.assertEqual(set(codes[1000:]), {b"452 4.5.3"})
        client.sendall(b"QUIT\r\n")
        wait_for(replies, b"221")

    def test_a_huge_message(self) -> None:
        client, replies = self.begin(*OPEN, RCPT, b"DATA\r\n")
        wait_for(replies, b"354")
        piece = (b"z" * 998 + b"\r\n") * 1000
        for _ in range(HUGE // len(piece)):
            client.sendall(piece)
        client.sendall(b".\r\nQUIT\r\n")
        self.assertEqual([line[:9] for line in replies], [b"552 5.3.4", b"221 2.0.0"])

    def test_endless_noop_without_reading(self) -> None:
        """The client is paused, and cut when its time is over."""
        client, _ = self.begin()
        client.settimeout(2)
        sent, piece = 0, b"NOOP\r\n" * 10_000
        with self.assertRaises(TimeoutError):
            while True:
                sent += client.send(piece)
        print(f"paused after {sent} octets")
        self.assertLess(sent, 50 * MEGABYTE)
        # What it did not read is lost with the connection.
        poll = select.poll()
        poll.register(client, 0)
        self.assertTrue(poll.poll(PATIENCE * 1000), "the client is cut")


class RealTimeTests(unittest.TestCase):
    """The time limits, once each, with a real clock."""

    def test_drip(self) -> None:
        """A command that never ends is not waited for, however often an octet of it comes."""
        server = self.enterContext(running({"timeoutsmtpd": "2\n"}))
        client = self.enterContext(talk(server))
        end = time.monotonic() + PATIENCE
        client.settimeout(0.2)
        said = b""
        while not said and time.monotonic() < end:
            client.sendall(b"N")
            try:
                said = client.recv(1000)
            except TimeoutError:
                continue
        self.assertEqual(said, b"421 4.4.2 Connection Timed Out\r\n")

    def test_connections(self) -> None:
        """Each limit of connections is named in the refusal."""
        reasons = {
            "max_connections": rb"421 4\.3\.2 .*connections \(2\)",
            "max_from_ip": rb"421 4\.7\.0 .*127\.0\.0\.1",
        }
        for name, reason in reasons.items():
            server = self.enterContext(running({name: "2\n", "loglevel": "INFO\n"}))
            self.enterContext(talk(server))
            self.enterContext(talk(server))
            third = self.enterContext(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE))
            self.assertRegex(third.recv(1000), reason)
            self.assertEqual(third.recv(1000), b"")


if __name__ == "__main__":
    unittest.main()
