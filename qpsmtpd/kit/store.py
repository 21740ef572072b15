"""Key-value stores for plugins: small values that end by themselves, for all processes of a server.

A plugin holds a `Store`: its own space in the server's `Stores`, which are of memory or of SQLite. Here is
what values are, how they end, and what `add` and `update` mean; a `Table` keeps rows and knows none of it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred, succeed

MAX_KEY: Final = 1024
"""Octets of a key in UTF-8: two addresses of 256 octets (RFC 5321 section 4.5.3.1.3) and more."""

MAX_VALUE: Final = 4096
"""Octets of a value as JSON."""

MAX_ENTRIES: Final = 1_000_000
"""Entries of one plugin; past it those that end first make room."""

REPORT_INTERVAL: Final = 3600.0
"""Seconds between two reports that a plugin's space is full."""


class StoreError(Exception):
    """The store cannot be used: locked for too long, broken, no room on the disk; the text says which."""


class Entry(NamedTuple):
    """What `Store.update` shall keep: a value, and the seconds from now until it ends."""

    value: Any
    lifetime: float


class Item(NamedTuple):
    """What `Store.items` gives: a key, its value, and the seconds that are left of it."""

    key: str
    value: Any
    lifetime: float


class Row(NamedTuple):
    """How a value is kept: as JSON, until a time in seconds since the epoch."""

    text: str
    ends: float


class Table(Protocol):
    """Rows by space and key. All methods may block; `put` makes room as `Store` promises."""

    def get(self, space: str, key: bytes) -> Row | None:
        """Give a row, whether it has ended or not."""

    def put(self, space: str, key: bytes, row: Row, now: float) -> None:
        """Write a row."""

    def remove(self, space: str, key: bytes) -> None:
        """Remove a row if it is there."""

    def rows(self, space: str, after: bytes, limit: int) -> list[tuple[bytes, Row]]:
        """Give rows in the order of their keys."""

    def purge(self, space: str, now: float) -> int:
        """Remove all rows that have ended; give their number."""


Operation = Callable[[Table], Any]


class Stores(ABC):
    """The stores of all plugins of a server.

    ``now`` gives seconds since the epoch. ``report`` is told when a space is full.
    """

    report: Callable[[str], None] = staticmethod(lambda _: None)

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.in_use = False
        self._reported: dict[str, float] = {}

    def of(self, space: str) -> Store:
        """Give the store of one plugin."""
        self.in_use = True
        return Store(self, space)

    def open(self) -> None:  # noqa: B027 - most have nothing to open
        """Open what there is to open, if a plugin has taken its store; blocks; raises StoreError."""

    def look(self) -> None:  # noqa: B027 - nor to look at
        """Look for what would keep `open` from working, and leave no trace; raises StoreError."""

    def close(self) -> Deferred[None]:
        """Close, after all that is under way."""
        return succeed(None)

    @abstractmethod
    def run(self, operation: Operation, *, writes: bool) -> Deferred[Any]:
        """Run an operation while no other one changes the table, in this process or another."""

    def report_full(self, spaces: set[str]) -> None:
        """Report, now and then, that spaces are full, and empty the set."""
        for space in spaces:
            if self.now() - self._reported.get(space, -REPORT_INTERVAL) >= REPORT_INTERVAL:
                self._reported[space] = self.now()
                self.report(f"the store of {space} is full: what would end first is dropped")
        spaces.clear()


class Store:
    """A plugin's values by key, kept as JSON: numbers, texts, lists, mappings; not None, which means absent.

    Every value ends, ``lifetime`` seconds after it was written; then it is absent. A plugin has a number of
    entries at most (config/max_store_entries): past it the one that would end first makes room for a new
    one, so give a long life to what was hard to earn. A key has at most MAX_KEY octets and a value MAX_VALUE;
    ValueError else. Every method gives a Deferred, and raises StoreError through it.
    """

    __slots__ = ("_space", "_stores")

    def __init__(self, stores: Stores, space: str) -> None:
        self._stores = stores
        self._space = space

    def get(self, key: str) -> Deferred[Any]:
        """Give the value, None if there is none."""
        octets = _octets(key)

        def operation(table: Table) -> Any:
            return _value(self._row(table, octets, self._stores.now()))

        return self._stores.run(operation, writes=False)

    def set(self, key: str, value: Any, *, lifetime: float) -> Deferred[None]:
        """Write a value, whatever was there."""
        octets, text = _octets(key), _text(value)

        def operation(table: Table) -> None:
            now = self._stores.now()
            self._put(table, octets, Row(text, now + lifetime), now)

        return self._stores.run(operation, writes=True)

    def add(self, key: str, number: int = 1, *, lifetime: float) -> Deferred[int]:
        """Add to a number, 0 if there is none, and give the sum.

        The lifetime is that of a new number; it is not prolonged, so this counts what happens in a period.
        """
        octets = _octets(key)

        def operation(table: Table) -> int:
            now = self._stores.now()
            row = self._row(table, octets, now) or Row("0", now + lifetime)
            before = _value(row)
            if type(before) is not int:
                raise ValueError(f"{key!r} does not hold a whole number")
            self._put(table, octets, Row(_text(before + number), row.ends), now)
            return before + number

        return self._stores.run(operation, writes=True)

    def update(self, key: str, change: Callable[[Any], Entry | None]) -> Deferred[Any]:
        """Change a value by a function, and give the new one; nobody else changes it meanwhile.

        The function gets the value, or None, and gives the Entry that shall be there, None for none. It runs
        in a thread, maybe: it must be quick, and use nothing but values.
        """
        octets = _octets(key)

        def operation(table: Table) -> Any:
            now = self._stores.now()
            entry = change(_value(self._row(table, octets, now)))
            if entry is None:
                table.remove(self._space, octets)
                return None
            self._put(table, octets, Row(_text(entry.value), now + entry.lifetime), now)
            return entry.value

        return self._stores.run(operation, writes=True)

    def delete(self, key: str) -> Deferred[None]:
        """Remove a value if it is there."""
        octets = _octets(key)
        return self._stores.run(lambda table: table.remove(self._space, octets), writes=True)

    def items(self, *, after: str = "", limit: int = 1000) -> Deferred[list[Item]]:
        """Give entries in the order of their keys, those behind ``after``: for tools, page by page.

        Less than ``limit`` of them are the last page.
        """
        octets = _octets(after)

        def operation(table: Table) -> list[Item]:
            found: list[Item] = []
            last, now = octets, self._stores.now()
            while len(found) < limit and (rows := table.rows(self._space, last, limit - len(found))):
                last = rows[-1][0]
                found += [_item(key, row, now) for key, row in rows if row.ends > now]
            return found

        return self._stores.run(operation, writes=False)

    def purge(self) -> Deferred[int]:
        """Remove all that has ended at once, and give its number; bit by bit new entries do so, too."""
        operation: Operation = lambda table: table.purge(self._space, self._stores.now())  # noqa: E731
        return self._stores.run(operation, writes=True)

    def _row(self, table: Table, key: bytes, now: float) -> Row | None:
        row = table.get(self._space, key)
        return row if row is not None and row.ends > now else None

    def _put(self, table: Table, key: bytes, row: Row, now: float) -> None:
        if row.ends > now:
            table.put(self._space, key, row, now)
        else:
            table.remove(self._space, key)


def _value(row: Row | None) -> Any:
    return None if row is None else json.loads(row.text)


def _item(key: bytes, row: Row, now: float) -> Item:
    return Item(key.decode("utf-8", "surrogateescape"), _value(row), row.ends - now)


def _octets(key: str) -> bytes:
    octets = key.encode("utf-8", "surrogateescape")
    if len(octets) > MAX_KEY:
        raise ValueError(f"a key of {len(octets)} octets; allowed are {MAX_KEY}")
    return octets


def _text(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    if value is None or len(text) > MAX_VALUE:
        raise ValueError("None is no value" if value is None else f"a value of more than {MAX_VALUE} octets")
    return text
