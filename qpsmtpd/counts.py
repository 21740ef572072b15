"""How many connections there are, in all and from one address, and whether one more is too many."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Protocol


class Limit(Enum):
    """What one more connection would exceed."""

    ALL = "max_connections"
    ADDRESS = "max_from_ip"
    TABLE = "the room for addresses"


class Counts(Protocol):
    """Counts of connections; they may be those of several processes together."""

    @property
    def total(self) -> int:
        """All connections."""

    def of(self, address: str) -> int:
        """Give the connections from an address."""

    def take(self, address: str, most: int, most_of_it: int) -> Limit | None:
        """Count one in, unless there are ``most`` in all, or ``most_of_it`` from its address; 0: no limit."""

    def move(self, before: str, after: str) -> bool:
        """Count one for another address; False if there is no room for that address."""

    def give_back(self, address: str) -> None:
        """Count one out."""


class LocalCounts:
    """The counts of one process."""

    def __init__(self) -> None:
        self.from_ip: Counter[str] = Counter()
        self.total = 0

    def of(self, address: str) -> int:
        """Give the connections from an address."""
        return self.from_ip[address]

    def take(self, address: str, most: int, most_of_it: int) -> Limit | None:
        """Count one in, unless a limit forbids it."""
        if most and self.total >= most:
            return Limit.ALL
        if most_of_it and self.from_ip[address] >= most_of_it:
            return Limit.ADDRESS
        self.total += 1
        self.from_ip[address] += 1
        return None

    def move(self, before: str, after: str) -> bool:
        """Count one for another address; there is always room."""
        self.from_ip[after] += 1
        self._discount(before)
        return True

    def give_back(self, address: str) -> None:
        """Count one out."""
        self.total -= 1
        self._discount(address)

    def _discount(self, address: str) -> None:
        self.from_ip[address] -= 1
        if not self.from_ip[address]:
            del self.from_ip[address]
