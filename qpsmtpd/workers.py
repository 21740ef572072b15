"""The workers of a server: started, started again when they die, told to end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred

from .child import Child
from .inheritance import Inheritance
from .ledger import Ledger
from .log import Level, Log

SHORTEST: Final = 1.0
"""Seconds before a worker that has died is started again; doubled each time, up to `LONGEST`."""
LONGEST: Final = 60.0
"""A worker that lived so many seconds begins with `SHORTEST` again."""


class Worker:
    """One place for a process, and the process in it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: Child | None = None
        self.began = 0.0
        self.wait = SHORTEST
        self.restart: Any = None


class Workers:
    """All of them. ``ready`` is called once, when each has said that it serves; ``failed`` when one ends
    before that, with what is known about it.
    """

    def __init__(
        self,
        reactor: Any,
        log: Log,
        command: Sequence[str],
        ledger: Ledger,
        way_back: Callable[[], tuple[str | None, str]] = lambda: (None, ""),
        *,
        errors: int = 2,
    ) -> None:
        self.reactor = reactor
        self.log = log
        self.ready: Callable[[], None] = lambda: None
        self.failed: Callable[[str], None] = lambda _: None
        self._command = list(command)
        self._ledger = ledger
        self._way_back = way_back
        self._errors = errors
        self._sockets: dict[str, int] = {}
        self._places = [Worker(number) for number in range(ledger.columns)]
        self._ending = False
        self._waiting: list[Deferred[None]] = []
        self._was_ready = False

    def start(self, sockets: dict[str, int]) -> None:
        """Start them all with these sockets."""
        self._sockets = sockets
        for place in self._places:
            self._start(place)

    def signal(self, number: int) -> None:
        """Send a signal to each."""
        for child in self._children():
            child.kill(number)

    def finish(self) -> Deferred[None]:
        """Have them accept no more, and end when their sessions have ended."""
        ended = self._end()
        for child in self._children():
            child.tell("finish")
        return ended

    def stop(self, patience: float) -> Deferred[None]:
        """End them in order, by force after so many seconds."""
        ended = self._end()
        if ended.called:
            return ended
        self.signal(signal.SIGTERM)
        force = self.reactor.callLater(patience, self.signal, signal.SIGKILL)

        def cancel(_: None) -> None:
            if force.active():
                force.cancel()

        return ended.addCallback(cancel)

    def _children(self) -> list[Child]:
        return [place.child for place in self._places if place.child is not None]

    def _start(self, place: Worker) -> None:
        place.restart = None
        place.began = self.reactor.seconds()
        child = place.child = Child(self._one_ready, lambda child: self._ended(place, child))
        ledger, (path, directory) = self._ledger, self._way_back()
        inheritance = Inheritance(
            self._sockets,
            ledger.descriptor,
            place.number,
            ledger.columns,
            ledger.capacity,
            directory=directory,
            errors=self._errors,
        )
        try:
            child.start(self.reactor, self._command, inheritance, path)
        except OSError as error:
            child.why = f"cannot be started: {error}"
            self._ended(place, child)

    def _one_ready(self, child: Child) -> None:
        del child
        if not self._was_ready and all(place.child and place.child.is_ready for place in self._places):
            self._was_ready = True
            self.ready()

    def _ended(self, place: Worker, child: Child) -> None:
        place.child = None
        self._ledger.forget(place.number)
        if self._ending:
            self._check_end()
            return
        if self.reactor.seconds() - place.began >= LONGEST:
            place.wait = SHORTEST
        self.log.emit(
            Level.ERROR,
            "worker %d%s %s; starting it again in %d s",
            place.number + 1,
            f" ({child.pid})" if child.pid else "",
            child.why,
            place.wait,
        )
        place.restart = self.reactor.callLater(place.wait, self._start, place)
        place.wait = min(2 * place.wait, LONGEST)
        if not self._was_ready:
            self.failed(child.why)

    def _end(self) -> Deferred[None]:
        """Start none any more; fire when the last has ended."""
        self._ending = True
        for place in self._places:
            if place.restart is not None:
                place.restart.cancel()
                place.restart = None
        ended: Deferred[None] = Deferred()
        self._waiting.append(ended)
        self._check_end()
        return ended

    def _check_end(self) -> None:
        if not self._children():
            waiting, self._waiting = self._waiting, []
            for ended in waiting:
                ended.callback(None)
