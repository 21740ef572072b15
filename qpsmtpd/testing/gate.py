"""The disconnect gate: a dialogue is played once for each moment at which its client may leave.

Moments are the connect, the middle and the end of each segment, each time at which something is due
while the clock advances, and each question to DNS or a thread while its answer is still to come. Knows
what must be gone afterwards; it does not look at what the server says.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CoroutineType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import provider

from ..body import Body
from ..connection import Connection
from ..counts import LocalCounts
from ..factory import Functions
from ..protocol import SMTPProtocol
from ..session import Session
from ..transaction import Recipient, Transaction
from .dialogue import Dialogue, segments
from .server import Client, Server

GRACE = 60.0
"""Seconds that a server which shuts down gives its clients."""

PATIENCE = 600.0
"""Seconds, besides the client's own time limit, after which whatever a session began must be over."""

Leave = Callable[["_Run"], object]

LEAVES: Mapping[str, Leave] = {
    "the client vanishes": lambda run: run.drop(),
    "the client shuts its side": lambda run: run.half_close(),
    "the client falls silent": lambda run: None,
    "the server shuts down": lambda run: run.server.factory.drain(GRACE),
}
"""How a session may end at any moment."""

_TOLD = ("disconnect", "post-connection")
_FATAL = "FATAL PLUGIN ERROR"
_OURS = (Body, Connection, CoroutineType, Recipient, Session, SMTPProtocol, Transaction)


class GateError(AssertionError):
    """A session that ended has left something behind; the text says what, and when it ended how."""


def play_disconnects(dialogue: Dialogue, leaves: Mapping[str, Leave] = LEAVES) -> int:
    """End a dialogue's sessions at each moment in each way; give how many plays that were.

    Every message is spooled, unless the dialogue sets size_threshold. Raises GateError at the first play
    after which there is left: a delayed call, an open connection, a spool file, a question that waits, an
    object of the session, a Deferred that waits, an unhandled error, an error of a plugin that an
    undisturbed play does not have; or that has not told `disconnect` and `post-connection` exactly once.
    """
    spooling = replace(dialogue, headings=[*dialogue.headings, ("config", "size_threshold: 0")])
    with TemporaryDirectory() as directory, _errors() as errors:
        moments, usual = _undisturbed(_Run(spooling, Path(directory)))
        for way, leave in leaves.items():
            for number, moment in enumerate(moments):
                left = _play(_Run(spooling, Path(directory)), number, leave, usual)
                left += [f"logged: {error}" for error in errors]
                if left:
                    raise GateError("\n  ".join([f"{dialogue.name}: {way}, {moment}; left:", *left]))
    return len(moments) * len(leaves)


def _undisturbed(run: _Run) -> tuple[list[str], set[str]]:
    """Play to the end; give all moments, and the errors of plugins that the dialogue means."""
    moments = list(run.moments())
    run.drop()
    run.finish()
    return moments, set(run.plugin_errors())


def _play(run: _Run, number: int, leave: Leave, usual: set[str]) -> list[str]:
    """Play up to a moment, end the sessions there, and name what is left."""
    with _only_new_objects():
        moments = run.moments()
        next(islice(moments, number, None))
        del moments
        leave(run)
        run.finish()
        left = [*run.left(), *(error for error in run.plugin_errors() if error not in usual)]
        run.forget()
        gc.collect()
        # The server lives on in the meantime, and whatever it holds.
        return left + [f"in memory: {item!r}" for item in gc.get_objects() if _remains(item)]


def _remains(item: object) -> bool:
    kind = type(item)  # isinstance would ask the item, which may be anything
    return kind in _OURS or (issubclass(kind, Deferred) and not item.called)  # type: ignore[attr-defined]


@contextmanager
def _only_new_objects() -> Iterator[None]:
    """Hide what exists already from the garbage collector, which is quick then."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _errors() -> Iterator[list[str]]:
    """Collect what Twisted logs as critical: failures of sessions and of Deferreds that nobody handles."""
    found: list[str] = []

    @provider(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        if event.get("log_level") is LogLevel.critical:
            failure = event.get("log_failure")
            found.append(failure.getTraceback() if failure else formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        yield found
    finally:
        globalLogPublisher.removeObserver(observe)


class _Run:
    """One play of a dialogue, with answers held back, in which whatever the server says is ignored."""

    def __init__(self, dialogue: Dialogue, spool: Path) -> None:
        self.dialogue = dialogue
        self.spool = spool
        self.server: Server = dialogue.server(spool)
        self.clients: list[Client] = []
        self.due: Counter[tuple[str, int]] = Counter()
        self.told: Counter[tuple[str, int]] = Counter()
        self._held = (self.server.dns.held, self.server.threads)
        for held in self._held:
            held.on = True
        hooks = {name: self._teller(name) for name in _TOLD}
        self.server.registry.add(Functions(self.server.services, hooks))

    def _teller(self, hook: str) -> Callable[[Connection], None]:
        def tell(connection: Connection) -> None:
            self.told[hook, connection.number] += 1

        return tell

    def moments(self) -> Iterator[str]:
        """Play, and stop at each moment."""
        yield from self._connect("at the start")
        for step, octets in segments(self.dialogue.steps):
            where = f"line {step.number}"
            if octets is not None:
                half = len(octets) // 2
                for part, piece in (("in the middle of", octets[:half]), ("after", octets[half:])):
                    self.clients[-1].send(piece)
                    yield from self._settle(f"{part} the segment of {where}")
            elif step.kind == "new":
                yield from self._connect(f"after {where}")
            elif step.kind in ("drop", "half-close"):
                (self.clients[-1].drop if step.kind == "drop" else self.clients[-1].half_close)()
                yield from self._settle(f"after {where}")
            elif step.kind == "wait":
                for _ in self.server.turns(float(step.text)):
                    yield from self._settle(f"during {where}")

    def _connect(self, where: str) -> Iterator[str]:
        server = self.server
        before = len(server.factory.connections)
        client = server.connect(self.dialogue.address)
        if len(server.factory.connections) > before:
            # One that is refused for want of room never was there, as far as plugins know.
            self.due.update((hook, client.connection.number) for hook in _TOLD)
        self.clients.append(client)
        yield from self._settle(where)

    def _settle(self, where: str) -> Iterator[str]:
        yield where
        answered = 0
        while any(held.release() for held in self._held):
            self.server.clock.advance(0)
            answered += 1
            yield f"{where}, {answered} answers later"

    def drop(self) -> None:
        """Let all clients vanish; with an error, which is logged on the way, besides all that an end does."""
        for client in self.clients:
            client.drop(ConnectionLost())

    def half_close(self) -> None:
        """Let all clients say no more, after QUIT."""
        for client in self.clients:
            client.send(b"QUIT\r\n")
            client.half_close()

    def finish(self) -> None:
        """Let all time limits pass."""
        self.server.advance(self.server.engine.limits.timeout + PATIENCE)

    def left(self) -> Iterator[str]:
        """Name what is left."""
        connections = self.server.factory.connections
        yield from _named("a delayed call", self.server.clock.getDelayedCalls())
        yield from _named("connections", [len(connections)] if len(connections) else [])
        assert isinstance(connections.counts, LocalCounts)
        yield from _named("a count of connections from", connections.counts.from_ip)
        yield from _named("a file", (path.name for path in self.spool.iterdir()))
        for held in self._held:
            yield from _named("a question that waits", held.waiting)
        for hook, number in self.due.keys() | self.told.keys():
            # A number that is not known beforehand is that of a client of XCLIENT.
            if self.told[hook, number] != self.due.get((hook, number), 1):
                yield f"hook {hook} of connection {number} was told {self.told[hook, number]} times"

    def plugin_errors(self) -> Iterator[str]:
        """Give the errors of plugins; that one was too slow is no news where nobody answers."""
        for event in self.server.log:
            if event.text.startswith(_FATAL) and "TimeLimit" not in event.text:
                yield str(event).partition(" ")[2]

    def forget(self) -> None:
        """Let go of all but the server."""
        self.clients.clear()
        self.server.log.clear()


def _named(what: str, items: Iterable[object]) -> Iterator[str]:
    for item in items:
        yield f"{what}: {item}"
