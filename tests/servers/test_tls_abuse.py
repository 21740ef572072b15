"""Clients that abuse TLS: their handshakes end, in an alert or in time, and leave nothing behind."""

from __future__ import annotations

import socket
import ssl
import struct
import time
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from harness import Server, running, wait_until
from OpenSSL import SSL
from test_abuse import MAX_GROWTH, MEGABYTE, status
from test_leaks import INSPECT, allocated, descriptors, inspect, resident, talk

from tests.tlsrecords import Records, recording_client

FLOOD = 300
HANDSHAKE_TIMEOUT = 60
"""Seconds, as in qpsmtpd/pace.py."""
ALERTS = {"handshake_failure": 40, "protocol_version": 70, "no_application_protocol": 120}
SUITES = struct.pack("!6H", 0x1301, 0xC02B, 0xC02C, 0xC009, 0xC00A, 0x002F)
GROUPS = b"\0\x0a\0\x04\0\x02\0\x17"
SIGNATURES = b"\0\x0d\0\x04\0\x02\4\3"


def hello(version: int, extensions: bytes = GROUPS + SIGNATURES) -> bytes:
    """Make a ClientHello (RFC 5246 section 7.4.1.2) in one record; 0x0301 is TLS 1.0."""
    body = struct.pack("!H32sB", version, bytes(range(32)), 0) + struct.pack("!H", len(SUITES)) + SUITES
    body += b"\1\0" + struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\3\1" + struct.pack("!H", len(message)) + message


def alert(octets: bytes) -> int:
    """Give the description of a fatal alert that is all of what was said, else -1."""
    return octets[6] if len(octets) == 7 and octets.startswith(b"\x15\3") and octets[5] == 2 else -1


def everything(client: socket.socket) -> bytes:
    """Read to the end."""
    said = b""
    try:
        while octets := client.recv(65536):
            said += octets
    except ConnectionResetError:
        pass
    return said


def trusting() -> ssl.SSLContext:
    """Give a context that verifies nobody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Case(unittest.TestCase):
    """One server that tells what it holds."""

    server: Server
    max_commands: ClassVar = 100_000

    @classmethod
    def setUpClass(cls) -> None:
        limits = {"max_connections": "2000\n", "max_from_ip": "0\n", "timeout": "5\n", "loglevel": "ERROR\n"}
        limits["max_commands"] = f"{cls.max_commands}\n"
        cls.server = server = cls.enterClassContext(running(limits))
        server.stop()
        private = server.directory / "plugins"
        private.mkdir()
        (private / "inspect.py").write_text(INSPECT)
        server.write("plugin_dirs", f"{private}\n")
        lines = (server.config / "plugins").read_text().replace("\nhelp\n", "\n")
        server.write("plugins", "inspect\n" + lines.replace("earlytalker", "#earlytalker"))
        server.start()

    def connect(self, port: int = 0) -> socket.socket:
        address = ("127.0.0.1", port or self.server.smtps_port)
        return self.enterContext(socket.create_connection(address, timeout=90))

    def starttls(self) -> socket.socket:
        client = self.connect(self.server.port)
        client.recv(1000)
        client.sendall(b"STARTTLS\r\n")
        self.assertEqual(b"220", client.recv(1000)[:3])
        return client


class HelloTests(Case):
    """What a server says to a first message that is none, or that it does not want."""

    def answer(self, begin: Callable[[], socket.socket], octets: bytes) -> int:
        client = begin()
        client.sendall(octets)
        return alert(everything(client))

    def test_old_versions(self) -> None:
        """RFC 8996: an alert says why SSL 3, TLS 1.0 and 1.1 are refused."""
        for begin in (self.connect, self.starttls):
            for version in (0x0300, 0x0301, 0x0302):
                with self.subTest(version=version, begin=begin):
                    self.assertEqual(ALERTS["protocol_version"], self.answer(begin, hello(version)))

    def test_no_common_cipher(self) -> None:
        """Without a group, and with nothing but RSA key transport, nothing is common."""
        self.assertEqual(ALERTS["handshake_failure"], self.answer(self.connect, hello(0x0303, SIGNATURES)))

    def test_other_protocols(self) -> None:
        """RFC 9325 section 3.8: a browser that was led here is told so."""
        names = b"\0\x10\0\x0e\0\x0c\2h2\x08http/1.1"
        octets = hello(0x0303, GROUPS + SIGNATURES + names)
        for begin in (self.connect, self.starttls):
            self.assertEqual(ALERTS["no_application_protocol"], self.answer(begin, octets))

    def test_not_tls(self) -> None:
        """Where TLS is due, what is no TLS ends the connection, and nothing is said in clear."""
        for begin in (self.connect, self.starttls):
            for octets in (
                b"EHLO x\r\nMAIL FROM:<a@b>\r\n",
                b"GET / HTTP/1.1\r\n\r\n",
                bytes(100),
                b"\xff" * 5000,
            ):
                client = begin()
                client.sendall(octets)
                said = everything(client)
                self.assertNotIn(b"250", said)
                self.assertNotIn(b"220", said)
                self.assertTrue(said == b"" or said.startswith(b"\x15\3"), said)

    def test_tls_in_clear(self) -> None:
        """Where no TLS is due, a ClientHello is answered by SMTP and the end."""
        client = self.connect(self.server.port)
        client.recv(1000)
        client.sendall(hello(0x0303))
        self.assertRegex(everything(client), rb"\A421 4\.7\.0 this is a mail server\r\n\Z")


class MemoryTests(Case):
    """Neither flood nor size costs memory that stays."""

    max_commands = 0

    def setUp(self) -> None:
        for _ in range(20):
            with trusting().wrap_socket(self.connect()) as client:
                client.recv(1000)
        wait_until(lambda: "'Session': 1," in inspect(self.server), "the sessions end")
        Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")
        self.before = status(self.server, "VmRSS")

    def grown(self) -> int:
        grown = status(self.server, "VmHWM") - self.before
        print(f"{self.id()}: {self.before} KiB before, {grown} more at most")
        return grown

    def test_huge_hello(self) -> None:
        """A ClientHello of 16 MB is not read to its end."""
        record = b"\x16\3\3\x40\0" + b"x" * 16384
        for begin in (self.connect, self.starttls):
            client = begin()
            with self.assertRaises(OSError):
                client.sendall(b"\x16\3\1\0\4\1\xff\xff\xff" + record * 1000)
                client.sendall(record * 3000)
        self.assertLess(self.grown(), MAX_GROWTH)

    def test_huge_line(self) -> None:
        """64 MB without a line end, in TLS."""
        with trusting().wrap_socket(self.starttls()) as client:
            for _ in range(64):
                client.sendall(b"x" * MEGABYTE)
            client.sendall(b"\r\nQUIT\r\n")
            self.assertEqual([b"500 5.5.2", b"221 2.0.0"], [line[:9] for line in client.makefile("rb")])
        self.assertLess(self.grown(), MAX_GROWTH)

    def updating(self) -> tuple[socket.socket, Records]:
        """Shake hands; give what makes records from there on."""
        client, (peer, keylog) = self.connect(), recording_client()
        done = False
        while not done:
            with suppress(SSL.WantReadError):
                peer.do_handshake()
                done = True
            client.sendall(peer.bio_read(65536))
            if not done:
                peer.bio_write(client.recv(65536))
        return client, Records(keylog)

    def test_key_updates(self) -> None:
        """Who asks for other keys again and again costs no memory, and has all the answers."""
        client, records = self.updating()
        with ThreadPoolExecutor() as threads:
            reading = threads.submit(everything, client)
            asked = 0
            for _ in range(5):
                octets = b"".join(records.key_update() for _ in range(40_000))
                client.sendall(octets + records.record(b"NOOP\r\n"))
                asked += len(octets)
            client.sendall(records.record(b"QUIT\r\n"))
            self.assertGreater(len(reading.result()), asked)
        self.assertLess(self.grown(), MAX_GROWTH)

    def test_key_updates_never_reading(self) -> None:
        """Nor does who does not read the answers."""
        client, records = self.updating()
        client.settimeout(2)
        with self.assertRaises(OSError):
            for _ in range(300):
                client.sendall(b"".join(records.key_update() for _ in range(2000)))
        self.assertLess(self.grown(), MAX_GROWTH)

    def test_never_reading(self) -> None:
        """A client that asks in TLS and never reads is paused."""
        with trusting().wrap_socket(self.starttls()) as client:
            client.settimeout(2)
            sent = 0
            with self.assertRaises((TimeoutError, ssl.SSLError, ConnectionError)):
                while sent < 100 * MEGABYTE:
                    sent += client.send(b"NOOP\r\n" * 2500)
            print(f"paused after {sent} octets")
            self.assertLess(sent, 50 * MEGABYTE)
        self.assertLess(self.grown(), MAX_GROWTH)


class GoodbyeTests(Case):
    """A client that has been told 421."""

    def test_goes_on(self) -> None:
        """Its connection waits for it to close, but not for whatever it may have to say."""
        with trusting().wrap_socket(self.starttls()) as client:
            sent = 0
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                while sent < 100 * MEGABYTE:
                    sent += client.send(b"NOOP\r\n" * 2500)
        self.assertGreater(sent, 6 * self.max_commands)
        self.assertLess(sent, 50 * MEGABYTE)


class FloodTests(Case):
    """Handshakes that are begun and never ended."""

    def round(self) -> int:
        """Begin so many handshakes, in every way; vanish, half of them with a reset. Give KiB for each."""
        before = resident(self.server)
        clients = []
        for number in range(FLOOD):
            client = (self.starttls if number % 3 else self.connect)()
            octets = hello(0x0303)
            client.sendall(octets[: len(octets) if number % 2 else number % len(octets)])
            if number % 2:
                self.assertTrue(client.recv(5000).startswith(b"\x16\3\3"))
            clients.append(client)
        cost = (resident(self.server) - before) // FLOOD
        for number, client in enumerate(clients):
            if number % 4 > 1:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        wait_until(lambda: "'Session': 1," in inspect(self.server), "the sessions end")
        return cost

    def test_everything_returns(self) -> None:
        """The third flood leaves what the first has left."""
        cost = self.round()
        held, files, memory = inspect(self.server), descriptors(self.server), allocated(self.server)
        for _ in range(2):
            cost = max(cost, self.round())
        wait_until(lambda: descriptors(self.server) <= files, "descriptors are closed")
        self.assertEqual(held, inspect(self.server))
        left = allocated(self.server) - memory
        print(f"{cost} KiB for a handshake, {memory} KiB, then {left} more")
        self.assertLess(left, 256)
        self.assertLess(cost, 256)

    def test_served_meanwhile(self) -> None:
        """Others are served while handshakes hang."""
        for _ in range(FLOOD):
            self.connect().sendall(hello(0x0303)[:20])
        with talk(self.server, b"NOOP\r\n") as client:
            self.assertEqual(b"250", client.recv(1000)[:3])

    def test_slow(self) -> None:
        """A handshake that comes octet by octet ends when its time is over."""
        began = time.monotonic()
        slow = [self.connect(), self.starttls()]
        octets = hello(0x0303)
        ended: dict[socket.socket, float] = {}
        while len(ended) < len(slow) and time.monotonic() < began + HANDSHAKE_TIMEOUT + 30:
            for client in slow:
                if client not in ended and not self.dripped(client, octets[:1]):
                    ended[client] = time.monotonic() - began
            octets = octets[1:] or b"x"
        self.assertEqual(len(slow), len(ended), "both are cut")
        for seconds in ended.values():
            self.assertGreater(seconds, HANDSHAKE_TIMEOUT - 5)

    def dripped(self, client: socket.socket, octet: bytes) -> bool:
        """Send an octet, wait for half a second; tell whether the connection lives."""
        client.settimeout(0.5)
        try:
            client.sendall(octet)
            return bool(client.recv(1000))
        except TimeoutError:
            return True
        except ConnectionError:
            return False


if __name__ == "__main__":
    unittest.main()
