"""Counts of connections that several workers share: a table in memory that each of them has mapped.

A bucket holds some addresses, as keyed hashes, and for each one a count for each worker. An address stands in
the bucket that its hash names, or nowhere: nothing is ever moved, so a process may be killed at any moment.
A worker writes its own column only; the parent clears the column of a worker that has died. A row without
counts is free, whatever its key. Reading and counting in is done under a lock that the kernel takes from a
process that dies. It must not know connections.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

from .counts import Limit

WORD: Final = 8
"""Octets of a number."""
KEY: Final = 16
"""Octets of an address's hash: nobody finds two addresses with the same one."""
WAYS: Final = 16
"""Rows of a bucket."""
ROOM: Final = 4
"""Rows for each connection that is allowed: a bucket, with 4 in the mean, is full once in a million times."""
UNLIMITED: Final = 65536
"""The number of addresses to make room for where connections have no limit."""


class Ledger:
    """The table, and the ``column`` of this process in it; the parent has none.

    ``columns`` is the number of workers, ``capacity`` of connections. The file ``descriptor`` is inherited
    by the workers; it has no name.
    """

    def __init__(self, descriptor: int, columns: int, capacity: int, column: int = -1) -> None:
        self.descriptor = descriptor
        self.columns = columns
        self.capacity = capacity
        self._column = column
        self._map = mmap.mmap(descriptor, size_of(columns, capacity))
        self._words = memoryview(self._map).cast("Q")
        self._buckets = buckets_for(capacity)
        self._secret = self._map[:KEY]
        self._unplaced: Counter[str] = Counter()

    @classmethod
    def create(cls, columns: int, capacity: int) -> Ledger:
        """Make a table; 0 is for a number of connections that has no limit."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("qpsmtpd")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, size_of(columns, capacity))
        os.pwrite(descriptor, os.urandom(KEY), 0)
        return cls(descriptor, columns, capacity)

    @property
    def total(self) -> int:
        """All connections of all workers."""
        start = KEY // WORD
        return sum(self._words[start : start + self.columns])

    def of(self, address: str) -> int:
        """Give the connections from an address, of all workers."""
        _, row = self._find(address)
        return self._sum(row) if row else 0

    def take(self, address: str, most: int, most_of_it: int) -> Limit | None:
        """Count one in, unless a limit forbids it or there is no room."""
        with self._locked():
            if most and self.total >= most:
                return Limit.ALL
            bucket, row = self._find(address)
            if most_of_it and row and self._sum(row) >= most_of_it:
                return Limit.ADDRESS
            if not self._count(address, bucket, row):
                return Limit.TABLE
            self._words[KEY // WORD + self._column] += 1
        return None

    def move(self, before: str, after: str) -> bool:
        """Count one for another address; without room for that it is counted in all, but for no address."""
        with self._locked():
            placed = self._count(after, *self._find(after))
        if not placed:
            self._unplaced[after] += 1
        self._discount(before)
        return placed

    def give_back(self, address: str) -> None:
        """Count one out; nobody else writes these counts."""
        self._words[KEY // WORD + self._column] -= 1
        self._discount(address)

    def forget(self, column: int) -> None:
        """Count out all that a dead worker had."""
        with self._locked():
            self._words[KEY // WORD + column] = 0
            first = self._bucket(0) + WAYS * KEY // WORD + column
            step = _bucket_words(self.columns)
            for bucket in range(self._buckets):
                for row in range(WAYS):
                    at = first + bucket * step + row * self.columns
                    if self._words[at]:
                        self._words[at] = 0

    def numbers(self) -> Iterator[int]:
        """Number this worker's connections, as no other worker does, nor one that had its column before."""
        at = KEY // WORD + self.columns + self._column
        while True:
            count = self._words[at]
            self._words[at] = count + 1
            yield count * self.columns + self._column + 1

    def _discount(self, address: str) -> None:
        if self._unplaced[address]:
            self._unplaced[address] -= 1
            return
        _, row = self._find(address)
        self._words[row + self._column] -= 1

    def _count(self, address: str, bucket: int, row: int) -> bool:
        """Count one for an address, in its row or in a free one of its bucket."""
        if not row:
            row = self._claim(address, bucket)
        if row:
            self._words[row + self._column] += 1
        return bool(row)

    def _claim(self, address: str, bucket: int) -> int:
        for way in range(WAYS):
            row = self._row(bucket, way)
            if not self._sum(row):
                at = bucket * WORD + way * KEY
                self._map[at : at + KEY] = self._hash(address)
                return row
        return 0

    def _find(self, address: str) -> tuple[int, int]:
        """Give the bucket of an address, and its row or 0, each as an index of the words."""
        key = self._hash(address)
        bucket = self._bucket(int.from_bytes(key[:WORD]) % self._buckets)
        start = bucket * WORD
        end = start + WAYS * KEY
        at = self._map.find(key, start, end)
        while at >= 0 and (at - start) % KEY:
            at = self._map.find(key, at + 1, end)
        return bucket, self._row(bucket, (at - start) // KEY) if at >= 0 else 0

    def _hash(self, address: str) -> bytes:
        return blake2b(address.encode(), digest_size=KEY, key=self._secret).digest()

    def _bucket(self, number: int) -> int:
        return _head_words(self.columns) + number * _bucket_words(self.columns)

    def _row(self, bucket: int, way: int) -> int:
        return bucket + WAYS * KEY // WORD + way * self.columns

    def _sum(self, row: int) -> int:
        return sum(self._words[row : row + self.columns])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Of the process, not of the open file, which all workers share.
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)


def buckets_for(capacity: int) -> int:
    """Give the number of buckets."""
    return -(-ROOM * (capacity or UNLIMITED) // WAYS)


def size_of(columns: int, capacity: int) -> int:
    """Give the octets of a table."""
    return WORD * (_head_words(columns) + buckets_for(capacity) * _bucket_words(columns))


def _head_words(columns: int) -> int:
    """The secret, the workers' totals, the numbers that they have given."""
    return KEY // WORD + 2 * columns


def _bucket_words(columns: int) -> int:
    return WAYS * (KEY // WORD + columns)
