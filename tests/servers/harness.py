"""Start the real server, and real clients and servers around it, on loopback; stop them by pid."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TWISTD = Path(sys.executable).parent / "twistd"
PATIENCE = 30.0
"""Seconds to wait for what must happen; nothing depends on how fast it does."""


def _ports() -> Iterator[int]:
    """Give ports that the kernel gives to no client, which may have one when a server wants it."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    yield from random.sample(range(10_000, max(first, 20_000)), 10_000)


_PORTS = _ports()


def free_port() -> int:
    """Find a port that nobody listens on."""
    while True:
        with socket.socket() as listener, suppress(OSError):
            port = next(_PORTS)
            listener.bind(("127.0.0.1", port))
            return port


def wait_until(true: Callable[[], object], what: str) -> None:
    """Wait until something is true, or fail."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"in vain: {what}")
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_told(ready: socket.socket) -> bool:
    """Tell whether a server has said that it serves."""
    with suppress(BlockingIOError):
        return b"READY=1" in ready.recv(4096)
    return False


def need(*programs: str) -> None:
    """Fail, not skip, when a program of this suite is missing."""
    for program in programs:
        if not (shutil.which(program) or Path("/usr/sbin", program).exists()):
            raise AssertionError(f"{program} is not installed; .ci/run installs it")


def run(*command: object, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its output is text."""
    done = subprocess.run(
        [str(word) for word in command], input=stdin, capture_output=True, text=True, timeout=300, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


class Server:
    """The server as ``twistd qpsmtpd`` with a configuration of its own in a temporary directory."""

    def __init__(
        self, config: Mapping[str, str] | None = None, *, shipped: bool = True, port: int = 0
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="qpsmtpd-"))
        self.config = self.directory / "config"
        if shipped:
            shutil.copytree(ROOT / "config", self.config, ignore=shutil.ignore_patterns("ssl"))
        else:
            self.config.mkdir()
        self.port, self.smtps_port = port or free_port(), free_port()
        self.write("listen", f"127.0.0.1:{self.port}\n")
        self.write("smtps", f"127.0.0.1:{self.smtps_port}\n" if shipped else "")
        self.write("me", "mail.example.com\n")
        self.write("rcpthosts", "example.org\nlocalhost\n")
        for name, text in (config or {}).items():
            self.write(name, text)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.directory / "log"

    def write(self, name: str, text: str) -> None:
        """Write a configuration file."""
        path = self.config / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def start(self) -> Server:
        """Start it and wait until it says that all its listeners are there."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        notified = self.directory / "notify"
        notified.unlink(missing_ok=True)
        environment["NOTIFY_SOCKET"] = str(notified)
        with self.log.open("ab") as log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notified))
            ready.setblocking(False)
            self.process = subprocess.Popen(
                [TWISTD, "--nodaemon", "--pidfile=", "qpsmtpd", "--config", self.config],
                cwd=self.directory,
                stdout=log,
                stderr=log,
                env=environment,
            )
            wait_until(lambda: self.process.poll() is not None or is_told(ready), "the server listens")
        if self.process.poll() is not None:
            raise AssertionError(f"the server did not start:\n{self.log.read_text()}")
        return self

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """Stop it; give its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(60)

    def close(self) -> None:
        """Stop it and remove its directory."""
        if self.process is not None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def new(self) -> Path:
        """The directory of delivered messages."""
        return self.directory / "mail" / "new"

    def messages(self) -> list[bytes]:
        """Give the delivered messages in the order of delivery."""
        if not self.new.exists():
            return []
        files = sorted(self.new.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_bytes() for path in files]

    def take_messages(self, count: int) -> list[bytes]:
        """Wait for so many messages, give them and empty the Maildir."""
        wait_until(lambda: len(self.messages()) >= count, f"{count} messages arrive")
        messages = self.messages()
        for path in self.new.iterdir():
            path.unlink()
        return messages


@contextmanager
def running(
    config: Mapping[str, str] | None = None, *, shipped: bool = True, port: int = 0
) -> Iterator[Server]:
    """Run a server for the length of a block; ``port`` is where it listens if ``config`` says so."""
    server = Server(config, shipped=shipped, port=port)
    try:
        yield server.start()
    except BaseException:
        if server.log.exists():
            print(server.log.read_text()[-4000:], file=sys.stderr)
        raise
    finally:
        server.close()


def body_of(message: bytes) -> bytes:
    """Give what stands behind the header."""
    return message.partition(b"\n\n")[2]


def sent_part(message: bytes, first_field: bytes) -> bytes:
    """Give the message from the first field that the client sent: what stands above it was added."""
    index = message.find(b"\n" + first_field)
    if index < 0:
        raise AssertionError(f"{first_field!r} is not in {message[:2000]!r}")
    return message[index + 1 :]
