"""Send lines to syslog (RFC 3164) from a thread of its own, so that nobody waits for it.

Knows the socket kinds of syslog. It must not know what a line says, nor whose levels are meant.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from twisted.logger import Logger

KINDS: Final = ("unix", "stream", "udp", "tcp", "console")
"""Ways to syslog: its local socket, datagram or stream; a host's port; none at all, but the console."""

_SYSTEM = (
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
)

FACILITIES: Final = {name: number for number, name in enumerate(_SYSTEM)} | {
    f"local{number}": 16 + number for number in range(8)
}
"""Numbers of facilities by name (RFC 3164 section 4.1.1)."""

MAX_QUEUE: Final = 10_000
"""Lines that syslog may be behind."""

RETRY: Final = 1.0
"""Seconds before syslog is looked for again."""

LOCAL_SOCKET: Final = "/dev/log"
CONSOLE: Final = "/dev/console"
CONNECT_TIMEOUT: Final = 5.0

_log = Logger(namespace="qpsmtpd")


class Channel(NamedTuple):
    """An open way to syslog; ``send`` raises OSError. Whoever is ``remote`` wants to know our host."""

    send: Callable[[bytes], object]
    close: Callable[[], object]
    remote: bool


class Line(NamedTuple):
    """One line: priority, time in seconds, ``TAG[NUMBER]: TEXT``."""

    priority: int
    moment: float
    text: str

    def octets(self, host: str = "") -> bytes:
        """Write it as syslog reads it: ``<PRIORITY>Mmm dd hh:mm:ss [HOST] TEXT``."""
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(self.moment))
        text = f"<{self.priority}>{stamp} {host and host + ' '}{self.text}"
        return text.encode("utf-8", "backslashreplace")


class Sender:
    """A thread that sends lines by the first of some ways that works.

    ``lost_line(number)`` makes the line that says how many could not be sent.
    """

    def __init__(self, open_any: Callable[[], Channel], lost_line: Callable[[int], Line]) -> None:
        self._open_any = open_any
        self._lost_line = lost_line
        self._queue: queue.Queue[Line | None] = queue.Queue(MAX_QUEUE)
        self._channel: Channel | None = None
        self._due = float("-inf")
        self._failed = False
        self._unsent = 0  # counted by the thread
        self._overflowed = 0  # counted by whoever puts
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="syslog", daemon=True)

    def start(self) -> None:
        """Start the thread: not before the process has become a daemon."""
        self._thread.start()

    def put(self, line: Line) -> None:
        """Have a line sent, or count it as lost."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._overflowed += 1

    def stop(self, seconds: float = 1.0) -> None:
        """Send what is left, if that takes no longer than some seconds."""
        with suppress(queue.Full):  # then it takes longer
            self._queue.put_nowait(None)
            self._thread.join(seconds)

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            self.send(line)
        self.close()

    def send(self, line: Line) -> None:
        """Send a line, or count it as lost."""
        lost = self._unsent + self._overflowed - self._told
        if lost and self._deliver(self._lost_line(lost)):
            self._told += lost
            lost = 0
        if lost or not self._deliver(line):
            self._unsent += 1

    def close(self) -> None:
        """Close the way; the next line opens one again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _deliver(self, line: Line) -> bool:
        """Send a line over the way that is open, else over a new one."""
        for _ in range(2):
            fresh = self._channel is None
            if fresh and time.monotonic() < self._due:
                return False
            try:
                channel = self._channel = self._channel or self._open_any()
                channel.send(line.octets(socket.gethostname() if channel.remote else ""))
            except OSError as error:
                self._fail(error)
                if fresh:
                    self._due = time.monotonic() + RETRY
                    return False
            else:
                # A first datagram is taken even if nobody listens; only the second tells.
                self._failed = self._failed and fresh
                return True
        return False

    def _fail(self, error: OSError) -> None:
        """Close, and tell why, once for a trouble that lasts."""
        self.close()
        if not self._failed:
            self._failed = True
            _log.error("cannot log to syslog: {reason}", reason=error)


def opener(kinds: Sequence[str], host: str, port: int) -> Callable[[], Channel]:
    """Give a function that opens the first way that works; it raises the last one's OSError."""

    def open_any() -> Channel:
        trouble = OSError("no way to syslog")
        for kind in kinds:
            try:
                return open_channel(kind, host, port)
            except OSError as error:
                trouble = error
        raise trouble

    return open_any


def open_channel(kind: str, host: str, port: int) -> Channel:
    """Open one way to syslog."""
    if kind == "console":
        console = os.open(CONSOLE, os.O_WRONLY | os.O_NOCTTY)
        return Channel(
            lambda octets: os.write(console, octets + b"\r\n"), lambda: os.close(console), remote=False
        )
    if kind == "tcp":
        return _over(socket.create_connection((host, port), CONNECT_TIMEOUT), b"\n", remote=True)
    if kind == "udp":
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        return _over(_connected(family, socket.SOCK_DGRAM, address), b"", remote=True)
    if kind == "stream":
        return _over(_connected(socket.AF_UNIX, socket.SOCK_STREAM, LOCAL_SOCKET), b"\n", remote=False)
    return _over(_connected(socket.AF_UNIX, socket.SOCK_DGRAM, LOCAL_SOCKET), b"", remote=False)


def _connected(family: int, kind: int, address: object) -> socket.socket:
    connection = socket.socket(family, kind)
    try:
        connection.connect(address)  # type: ignore[arg-type]
    except BaseException:
        connection.close()
        raise
    return connection


def _over(connection: socket.socket, end: bytes, *, remote: bool) -> Channel:
    """Make a way of a socket; lines in a stream end with LF (RFC 6587 section 3.4.2)."""
    return Channel(lambda octets: connection.sendall(octets + end), connection.close, remote)
