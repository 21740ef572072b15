"""A server as a process of ours: started on a free loopback port, watched, ended by its pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import ClassVar

import process

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0


class Variant(Enum):
    """How a server is set up for a load."""

    PLAIN = "accepts, keeps nothing"
    TLS = "plain, with STARTTLS"
    CROWDED = "plain, with sessions that stay idle"
    DURABLE = "stores each message and waits for the disk"
    CHAIN = "the plugins of config/"
    WORKERS = "plain, beside several processes"


@dataclass(frozen=True, slots=True)
class Setup:
    """What a server is given: a directory of its own, ports, and PEM files for TLS."""

    work: Path
    port: int
    certificate: Path
    key: Path
    dns_port: int = 0


@dataclass(slots=True)
class Command:
    """How to start a process; the environment is added to ours."""

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)


class Server:
    """One kind of server. ``missing`` says why it, or one variant of it, cannot take part: "" if it can.

    ``most_idle`` is how many idle sessions it can hold; one not ``crowded`` gets none beside its work.
    """

    name: ClassVar[str]
    variants: ClassVar[frozenset[Variant]]
    most_idle: ClassVar[int] = 10_000
    crowded: ClassVar[bool] = True
    notes: ClassVar[dict[Variant, str]] = {}

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.port = setup.port
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls, variant: Variant) -> str:
        """Say what is missing for a variant; "" if nothing is."""
        raise NotImplementedError

    def command(self, variant: Variant) -> Command:
        """Write the configuration and give the command that starts the server."""
        raise NotImplementedError

    def start(self, variant: Variant) -> None:
        """Start, and wait until it listens."""
        self.setup.work.mkdir(parents=True, exist_ok=True)
        self.setup.work.chmod(0o755)  # for servers that drop their privileges
        command = self.command(variant)
        with (self.setup.work / "output").open("wb") as output:
            self.process = subprocess.Popen(
                command.arguments,
                cwd=self.setup.work,
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | command.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._await_greeting()

    def _await_greeting(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as probe:
                if probe.recv(512).startswith(b"220"):
                    probe.sendall(b"QUIT\r\n")
                    while probe.recv(512):
                        pass
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not start:\n{self.output()[-2000:]}")

    def output(self) -> str:
        """Give what it printed."""
        return (self.setup.work / "output").read_text(errors="replace")

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def pids(self) -> list[int]:
        """List its processes."""
        return process.tree(self._process.pid)

    def stop(self) -> None:
        """End it, and whatever it has started and left behind."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # It was made the leader of a group, whose number is its pid.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process = None


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Find a port of 127.0.0.1 that nobody has."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
