"""Stores in a file of SQLite, for all processes of a server, without ever making the reactor wait.

Operations wait in a queue. One thread at most, from the pool, takes what is there and runs it in one
transaction, so that the more there is to do the less each costs, and a database that is locked holds up one
thread and not all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from .store import MAX_ENTRIES, Operation, StoreError, Stores

if TYPE_CHECKING:
    from .storedatabase import Database

MAX_BATCH: Final = 100
"""Operations of one transaction, so that other processes need not wait long."""


class _Asked(NamedTuple):
    answer: Deferred[Any]
    operation: Operation
    writes: bool


class SQLiteStores(Stores):
    """Stores in the file at a path, which is made, for nobody else to read, when it is first used."""

    def __init__(
        self,
        path: Path,
        now: Callable[[], float],
        run_in_thread: Callable[..., Deferred[Any]],
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        super().__init__(now)
        self.path = path
        self._run_in_thread = run_in_thread
        self._max_entries = max_entries
        self._queue: deque[_Asked] = deque()
        self._working = False
        self._idle: Deferred[None] | None = None

    @cached_property
    def _database(self) -> Database:
        # Not at the top: a server whose plugins keep nothing does without SQLite.
        from .storedatabase import Database

        return Database(self.path, self._max_entries)

    def open(self) -> None:
        """Open and check the file if a plugin has taken its store; blocks; raises StoreError."""
        if self.in_use:
            self._database.check()

    def look(self) -> None:
        """Look whether `open` would work, and leave no trace; blocks; raises StoreError."""
        if self.in_use:
            self._database.look()

    def close(self) -> Deferred[None]:
        """Close the file, when all is done that was asked for."""
        if self._working:
            self._idle = self._idle or Deferred()
            return self._idle.addCallback(lambda _: self.close())
        if not self.in_use:
            return succeed(None)
        return self._run_in_thread(self._database.close)

    def run(self, operation: Operation, *, writes: bool) -> Deferred[Any]:
        """Run an operation in a thread, after those that came before."""
        asked = _Asked(Deferred(), operation, writes)
        self._queue.append(asked)
        if not self._working:
            self._working = True
            Deferred.fromCoroutine(self._work())
        return asked.answer

    async def _work(self) -> None:
        """Run what waits, and what comes in the meantime."""
        while batch := self._take():
            operations = [asked.operation for asked in batch]
            writes = any(asked.writes for asked in batch)
            try:
                results = await self._run_in_thread(self._database.run, operations, writes)
            except Exception as error:
                results = [Failure(_told(error)) for _ in batch]
            for asked, result in zip(batch, results, strict=True):
                asked.answer.callback(result)
            self.report_full(self._database.full)
        self._working = False
        if self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _take(self) -> list[_Asked]:
        """Take the next operations of the queue, without those for which nobody waits any more."""
        batch: list[_Asked] = []
        while self._queue and len(batch) < MAX_BATCH:
            asked = self._queue.popleft()
            if not asked.answer.called:
                batch.append(asked)
        return batch


def _told(error: Exception) -> Exception:
    """Give each who asked an error of its own: they may add to its traceback."""
    return StoreError(str(error)) if isinstance(error, StoreError) else error
