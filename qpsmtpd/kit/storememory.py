"""Stores in the memory of one process: for tests, for embedding, and for who has one process and no disk."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred

from .store import MAX_ENTRIES, Operation, Row, Stores

SWEEP: Final = 2
"""Ended entries that a new one removes, so that a table whose entries come and go does not grow."""


class MemoryStores(Stores):
    """Stores that forget everything when the process ends.

    ``call`` runs an operation and gives a Deferred; the test kit's keeps answers back.
    """

    def __init__(
        self,
        now: Callable[[], float],
        max_entries: int = MAX_ENTRIES,
        *,
        call: Callable[..., Deferred[Any]] = maybeDeferred,
    ) -> None:
        super().__init__(now)
        self._table = MemoryTable(max_entries)
        self._call = call

    def run(self, operation: Operation, *, writes: bool) -> Deferred[Any]:
        """Run an operation."""
        ran = self._call(operation, self._table)
        self.report_full(self._table.full)
        return ran


class MemoryTable:
    """Rows in dictionaries; `full` has the spaces that had to drop a row which had not ended."""

    def __init__(self, max_entries: int) -> None:
        self.full: set[str] = set()
        self._max_entries = max_entries
        self._spaces: dict[str, _Space] = {}

    def get(self, space: str, key: bytes) -> Row | None:
        """Give a row."""
        return self._space(space).rows.get(key)

    def put(self, space: str, key: bytes, row: Row, now: float) -> None:
        """Write a row; for a new one drop two that have ended, and the next to end if there are too many."""
        place = self._space(space)
        is_new = key not in place.rows
        place.put(key, row)
        if not is_new:
            return
        for _ in range(SWEEP):
            place.drop_first(key, now)
        if len(place.rows) > self._max_entries:
            place.drop_first(key)
            self.full.add(space)

    def remove(self, space: str, key: bytes) -> None:
        """Remove a row if it is there."""
        self._space(space).rows.pop(key, None)

    def rows(self, space: str, after: bytes, limit: int) -> list[tuple[bytes, Row]]:
        """Give rows in the order of their keys."""
        rows = self._space(space).rows
        return [(key, rows[key]) for key in sorted(key for key in rows if key > after)[:limit]]

    def purge(self, space: str, now: float) -> int:
        """Remove all rows that have ended; give their number."""
        place = self._space(space)
        before = len(place.rows)
        while place.drop_first(b"", now):
            pass
        return before - len(place.rows)

    def _space(self, name: str) -> _Space:
        return self._spaces.setdefault(name, _Space())


class _Space:
    """One plugin's rows, and a heap of when they end, with ends in it that hold no more."""

    __slots__ = ("_ends", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self._ends: list[tuple[float, bytes]] = []

    def put(self, key: bytes, row: Row) -> None:
        self.rows[key] = row
        heappush(self._ends, (row.ends, key))
        if len(self._ends) > 2 * len(self.rows) + 64:
            self._ends = [(row.ends, key) for key, row in self.rows.items()]
            heapify(self._ends)

    def drop_first(self, but: bytes, now: float = float("inf")) -> bool:
        """Drop the row that ends first, but for one key, if it ends by a time; tell whether it was there."""
        spared: tuple[float, bytes] | None = None
        dropped = False
        while self._ends and self._ends[0][0] <= now and not dropped:
            ends, key = heappop(self._ends)
            row = self.rows.get(key)
            if row is None or row.ends != ends:
                continue
            if key == but:
                spared = ends, key
            else:
                del self.rows[key]
                dropped = True
        if spared is not None:
            heappush(self._ends, spared)
        return dropped
