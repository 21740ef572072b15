"""Load a configuration as the server does, but where nothing happens: no port, no thread, no query."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from ..building import Built
from ..config import Config
from ..kit.dns import Answer, Lookup
from ..log import Event, Level


class StillReactor(MemoryReactorClock):
    """A reactor that takes every order and follows none."""

    def getThreadPool(self) -> StillReactor:
        """Give the pool of threads, of which there is none."""
        return self

    def callInThread(self, *_: Any, **__: Any) -> None:
        """Ignore work for a thread."""

    callFromThread = callInThreadWithCallback = spawnProcess = listenUDP = callInThread


class SilentLookup(Lookup):
    """A DNS that never answers."""

    def _ask(self, name: str, kind: str) -> Deferred[Answer]:
        return Deferred()


def rehearse(directories: Sequence[Path]) -> Rehearsal:
    """Build a server as far as it can be built."""
    rehearsal = Rehearsal(directories)
    rehearsal.built.build(dry=True)
    return rehearsal


class Rehearsal:
    """What was built, and what plugins and lists had to say meanwhile."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self.reactor = StillReactor()
        self.built = Built(Config(directories), self.reactor, None, SilentLookup())
        self.reports: list[str] = []
        """Remarks about lines of files, each with its place."""
        self.events: list[tuple[Event, Any]] = []
        """What plugins logged at WARN and above, each with the line that was being loaded."""
        self.built.config.report = self.reports.append
        self.built.log.observe(Level.WARN, self._hear)

    def _hear(self, event: Event) -> None:
        self.events.append((event, self.built.loading))
