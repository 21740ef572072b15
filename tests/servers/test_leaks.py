"""What comes with a session goes with it: descriptors, delayed calls, objects, memory."""

from __future__ import annotations

import random
import resource
import smtplib
import socket
import ssl
import unittest
from pathlib import Path
from typing import BinaryIO

from harness import Server, running, wait_until

IDLE, DROPPED = 1000, 500

INSPECT = '''"""Tell what the process holds."""

import ctypes
import gc

from twisted.internet import reactor

from qpsmtpd import OK, Outcome, Plugin


class Mallinfo(ctypes.Structure):
    """`struct mallinfo2`, see mallinfo(3)."""

    _fields_ = [(f"field{number}", ctypes.c_size_t) for number in range(10)]


class Inspect(Plugin):
    """HELP answers with delayed calls and sessions, HELP MEMORY with the octets that malloc has given."""

    def hook_help(self, argument: str) -> Outcome:
        gc.collect()
        if argument == "MEMORY":
            ask = ctypes.CDLL(None).mallinfo2
            ask.restype = Mallinfo
            found = ask()
            return OK(str(found.field7 + found.field4))
        names = [type(one).__name__ for one in gc.get_objects()]
        counts = {name: names.count(name) for name in ("Session", "SMTPProtocol", "Transaction", "Deferred")}
        return OK(f"{len(reactor.getDelayedCalls())} {counts}")
'''

SCRIPT = [b"EHLO x\r\n", b"MAIL FROM:<a@example.com>\r\n", b"RCPT TO:<b@example.org>\r\n", b"DATA\r\n"]
SCRIPT += [b"Subject: x\r\n\r\n" + b"y" * 20000 + b"\r\n"] * 3 + [b".\r\n", b"QUIT\r\n"]


def talk(server: Server, *commands: bytes) -> socket.socket:
    """Connect and say something, wait for no reply but the greeting."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    client.recv(1000)
    for command in commands:
        client.sendall(command)
    return client


def inspect(server: Server) -> str:
    """Ask the server what it holds, this one session included."""
    with talk(server, b"HELP\r\n") as client:
        return client.recv(1000).decode()


def allocated(server: Server) -> int:
    """Ask the server how many KiB it has from malloc; what is resident depends on where those are."""
    with talk(server, b"HELP MEMORY\r\n") as client:
        return int(client.recv(1000).split()[-1]) // 1024


def descriptors(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def resident(server: Server) -> int:
    """Resident memory in KiB."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


class LeakTests(unittest.TestCase):
    """A thousand idle sessions and five hundred that drop anywhere leave no trace."""

    def setUp(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        self.server = self.enterContext(running({"max_connections": "5000\n"}, shipped=True))
        self.server.stop()
        private = self.server.directory / "plugins"
        private.mkdir()
        (private / "inspect.py").write_text(INSPECT)
        self.server.write("plugin_dirs", f"{private}\n")
        plugins = self.server.config / "plugins"
        plugins.write_text("inspect\n" + plugins.read_text().replace("\nhelp\n", "\n"))
        self.server.start()

    def round(self, seed: int) -> None:
        dice = random.Random(seed)
        idle = [talk(self.server, b"EHLO x\r\n") for _ in range(IDLE)]
        for _ in range(DROPPED):
            commands = SCRIPT[: dice.randrange(len(SCRIPT) + 1)]
            if commands:
                commands[-1] = commands[-1][: dice.randrange(len(commands[-1]) + 1)]
            talk(self.server, *commands).close()
        for client in idle:
            client.close()
        wait_until(lambda: "'Session': 1," in inspect(self.server), "the sessions end")

    def test_everything_returns(self) -> None:
        self.round(1)
        before, held, memory = descriptors(self.server), inspect(self.server), allocated(self.server)
        for seed in (2, 3):
            self.round(seed)
        wait_until(lambda: descriptors(self.server) <= before, "descriptors are closed")
        self.assertEqual(inspect(self.server), held)
        left = allocated(self.server) - memory
        self.assertLess(left, 256)
        self.assertEqual(list((self.server.directory / "spool").iterdir()), [])
        self.assertEqual(list((self.server.directory / "mail" / "tmp").iterdir()), [])
        print(f"descriptors {before}, holding {held.strip()}, {memory} KiB, then {left} more")


class MemoryTests(unittest.TestCase):
    """A message of any size passes through little memory."""

    def test_100_megabytes(self) -> None:
        server = self.enterContext(running({"databytes": "0\n"}))
        for size in (1000, 3_000_000):
            self.deliver(server, size)
        before = resident(server)
        # Resets the peak, see proc(5).
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")
        self.deliver(server, 100_000_000)
        peak = int(Path(f"/proc/{server.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
        print(f"100 MB: {before} KiB before, at most {peak} KiB")
        self.assertLess(peak - before, 2048 + 10)

    def deliver(self, server: Server, size: int) -> None:
        """Send a message of about a size, check that it arrived, and remove it."""
        line = b"0123456789" * 7 + b"\r\n"
        with talk(
            server, b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@localhost>\r\nDATA\r\n"
        ) as client:
            replies = client.makefile("rb")
            wait_for(replies, b"354")
            for _ in range(size // len(line * 1000) + 1):
                client.sendall(line * 1000)
            client.sendall(b".\r\n")
            wait_for(replies, b"250 2.0.0 Queued!")
        (path,) = server.new.iterdir()
        self.assertGreater(path.stat().st_size, size * 0.98)
        path.unlink()


class IdleTests(unittest.TestCase):
    """A session in TLS that waits keeps no room for the message that it has sent."""

    COUNT, KIB = 100, 50

    def test_after_message(self) -> None:
        server = self.enterContext(running({"plugins": "tls self_signed\nrcpt_ok\nqueue/maildir mail\n"}))
        self.open(server)
        before = resident(server)
        self.open(server)
        each = (resident(server) - before) / self.COUNT
        print(f"{each:.1f} KiB for a session in TLS that has sent a message")
        self.assertLess(each, self.KIB)

    def open(self, server: Server) -> None:
        """Send a long message in each of many sessions, and stay."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for _ in range(self.COUNT):
            client = smtplib.SMTP_SSL("127.0.0.1", server.smtps_port, timeout=30, context=context)
            self.addCleanup(client.close)
            client.sendmail("a@example.com", ["b@localhost"], b"Subject: x\r\n\r\n" + b"line\r\n" * 15_000)


def wait_for(replies: BinaryIO, start: bytes) -> None:
    """Read replies up to one that begins so."""
    for line in replies:
        if line.startswith(start):
            return
    raise AssertionError(f"the server never said {start!r}")


if __name__ == "__main__":
    unittest.main()
