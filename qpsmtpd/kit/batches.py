"""Let a thread work on all that waits at the same time in one go.

Knows who waits. It must not know what the work is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

T = TypeVar("T")


class Batches(Generic[T]):
    """Work in a thread on one batch at a time; what comes meanwhile is the next one, of ``most`` at most."""

    __slots__ = ("_busy", "_most", "_waiting", "_work", "run_in_thread")

    def __init__(
        self, run_in_thread: Callable[..., Deferred[Any]], work: Callable[[list[T]], None], most: int
    ) -> None:
        self.run_in_thread = run_in_thread
        self._work = work
        self._most = most
        self._waiting: list[tuple[T, Deferred[None]]] = []
        self._busy = False

    def add(self, item: T) -> Deferred[None]:
        """Give an item to a thread; the Deferred fires when the work on its batch is done, or has failed."""
        done: Deferred[None] = Deferred()
        self._waiting.append((item, done))
        if not self._busy:
            self._begin()
        return done

    def _begin(self) -> None:
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        self._busy = bool(batch)
        if batch:
            items = [item for item, _ in batch]
            # It raises if the system has no thread to give.
            working = maybeDeferred(self.run_in_thread, self._work, items)
            working.addBoth(self._end, [done for _, done in batch])

    def _end(self, result: Failure | None, batch: list[Deferred[None]]) -> None:
        self._begin()  # first, so that the thread works while these are told
        for done in batch:
            if isinstance(result, Failure):
                done.errback(result)
            else:
                done.callback(None)
