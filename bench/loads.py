"""The loads, and how one is put on one server and measured."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import process
from process import CPU
from programs import environment, find
from server import Server, Variant

CLIENTS = Path(__file__).resolve().with_name("clients.py")
LOAD_TIMEOUT = 300.0
_SAMPLE = 0.2  # seconds between two looks at the memory of a server of several processes
_LONGEST = 400  # times what the warm-up sent
_FILES = 20_000
_SPARE = 1000  # descriptors and ports for all the rest


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of work. ``size`` of 0 is no mail: handshakes, or ``idle`` sessions alone.

    With a size, that many sessions stay idle beside the mail.
    """

    title: str
    warm: int
    parallel: int
    size: int = 0
    recipients: int = 1
    kept: bool = True
    variant: Variant = Variant.PLAIN
    idle: int = 0

    @property
    def is_idle(self) -> bool:
        """Tell whether it is about memory, not work."""
        return bool(self.idle) and not self.size


LOADS = {
    "A": Load("4 KiB messages, one per connection, 20 at once", 200, 20, 4096, kept=False),
    "B": Load("4 KiB messages over 20 kept connections", 400, 20, 4096),
    "BT": Load("B in TLS", 200, 20, 4096, variant=Variant.TLS),
    "C": Load("10 MB messages, 5 at once, over kept connections", 5, 5, 10_000_000),
    "D": Load("20 kB messages to 5 recipients each over 100 kept connections", 200, 100, 20_000, 5),
    "E": Load("idle sessions after EHLO", 0, 1, idle=2000),
    "S": Load("idle sessions after STARTTLS and EHLO", 0, 1, variant=Variant.TLS, idle=2000),
    "I": Load("B beside 10,000 idle sessions", 400, 20, 4096, variant=Variant.CROWDED, idle=10_000),
    "IA": Load(
        "A beside 10,000 idle sessions", 200, 20, 4096, kept=False, variant=Variant.CROWDED, idle=10_000
    ),
    "T": Load("connect, EHLO, STARTTLS, handshake, EHLO, close; 8 at once", 64, 8, variant=Variant.TLS),
    "M": Load("B, each message on the disk before it is answered", 100, 20, 4096, variant=Variant.DURABLE),
    "WA": Load("A, by one process and by workers", 200, 20, 4096, kept=False, variant=Variant.WORKERS),
    "WB": Load("B, by one process and by workers", 400, 20, 4096, variant=Variant.WORKERS),
    "WD": Load("D, by one process and by workers", 200, 100, 20_000, 5, variant=Variant.WORKERS),
    "P": Load("B through the plugins of config/", 400, 20, 4096, variant=Variant.CHAIN),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: how many messages or handshakes, how long, and what it took.

    ``peak`` is in KiB; ``others`` the part of the machine, from 0 to 1, that went to processes not of ours.
    """

    count: int
    seconds: float
    cpu: CPU
    peak: int
    others: float


@dataclass(frozen=True, slots=True)
class Idle:
    """What sessions cost that do nothing: KiB of the server before and with them."""

    sessions: int
    before: int
    with_them: int

    @property
    def each(self) -> float:
        """KiB for each session."""
        return (self.with_them - self.before) / self.sessions


def allow_many_files() -> None:
    """Let us and our children open as many sockets as we may; root may raise the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(hard, _FILES)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lacking(sessions: int) -> str:
    """Say what the machine has too few of for so many sessions at once; "" if of nothing."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if files < sessions + _SPARE:
        return f"{sessions} sessions at once, but the hard limit of open files (ulimit -Hn) is {files}"
    if high - low < sessions + _SPARE:
        return f"{sessions} sessions at once, but net.ipv4.ip_local_port_range has only {high - low} ports"
    return ""


def smtp_source() -> str:
    """Find the load generator; SystemExit when there is none."""
    found = find("smtp-source")
    if not found:
        raise SystemExit("smtp-source is missing: it comes with Postfix (apt install postfix)")
    return found


def _client(load: Load, port: int, count: int) -> list[str]:
    if load.variant is Variant.TLS:
        numbers = [str(number) for number in (port, count, load.parallel, load.size) if number]
        return [sys.executable, str(CLIENTS), "messages" if load.size else "handshakes", *numbers]
    kept = ["-d"] if load.kept else []
    numbers = ["-s", str(load.parallel), "-m", str(count), "-l", str(load.size), "-r", str(load.recipients)]
    names = ["-M", "client.example.com", "-f", "sender@example.com", "-t", "user@example.com"]
    return [smtp_source(), *kept, *numbers, *names, f"inet:127.0.0.1:{port}"]


def measure(server: Server, load: Load, count: int) -> Sample:
    """Put a load on a server; RuntimeError when it refuses any of it."""
    pids = server.pids()
    process.forget_peak(pids)
    before, machine, ours = process.cpu(pids), process.machine_cpu(), sum(os.times()[:4])
    began = time.perf_counter()
    client = subprocess.Popen(
        _client(load, server.port, count),
        env=os.environ | environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        seen = _watch(client, server)
    finally:
        client.kill()
        output, _ = client.communicate()
    seconds = time.perf_counter() - began
    if client.returncode:
        raise RuntimeError(f"{server.name}: {output.decode(errors='replace')[-500:]}")
    pids = server.pids()
    used = process.cpu(pids).since(before)
    busy = process.machine_cpu() - machine - used.total - (sum(os.times()[:4]) - ours)
    others = max(0.0, busy / seconds / (os.cpu_count() or 1))
    return Sample(count, seconds, used, max(seen, process.peak(pids)), others)


def _watch(client: subprocess.Popen[bytes], server: Server) -> int:
    """Wait for the client; give the most memory that was seen in a server of several processes."""
    seen, deadline = 0, time.monotonic() + LOAD_TIMEOUT
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            client.wait(_SAMPLE)
            return seen
        pids = server.pids()
        if len(pids) > 1:
            seen = max(seen, process.resident(pids))
    raise RuntimeError(f"{server.name}: not done after {LOAD_TIMEOUT:g} s")


def calibrate(server: Server, load: Load, seconds: float) -> int:
    """Warm a server up; give the number of messages that keep it at work for so long."""
    warm = measure(server, load, load.warm)
    wanted = int(load.warm * min(_LONGEST, seconds / warm.seconds))
    return max(load.warm, -(-wanted // load.parallel) * load.parallel)


def measure_idle(server: Server, count: int, tls: bool) -> Idle:
    """Open sessions that do nothing, after half as many have used up what memory lay idle before."""
    with ExitStack() as sessions:
        sessions.enter_context(idle_sessions(server, count // 2, tls))
        before = process.resident(server.pids())
        sessions.enter_context(idle_sessions(server, count, tls))
        return Idle(count, before, process.resident(server.pids()))


@contextmanager
def idle_sessions(server: Server, count: int, tls: bool = False) -> Iterator[None]:
    """Hold sessions open."""
    arguments = [sys.executable, str(CLIENTS), "idle-tls" if tls else "idle", str(server.port), str(count)]
    pipe = subprocess.PIPE
    client = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        assert client.stdout is not None
        if not client.stdout.readline():
            raise RuntimeError(f"{server.name}: {client.communicate()[1].decode(errors='replace')[-500:]}")
        yield
    finally:
        client.communicate()
