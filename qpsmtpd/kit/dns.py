"""Look names up in the DNS; found, none and failed are never confused.

Knows who asks, what is already known or under way, and the system's own files; must not know what a plugin
makes of an answer. Messages are read in `dns_answer`, servers are asked in `dns_exchange`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Generic, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.names import dns
from twisted.python.failure import Failure

from .dns_answer import (
    KINDS,
    MX,
    NO_SUCH_NAME,
    Answer,
    Status,
    at_hand,
    is_address,
    pointer,
    question_name,
    read,
    reversed_name,
)
from .dns_exchange import Exchange, Server

__all__ = ["MX", "Answer", "Lookup", "Resolver", "Status", "is_address", "reversed_name"]

TIMEOUT: Final = 5.0  # seconds for one question, all servers and repetitions together
MAX_ENTRIES: Final = 10_000  # answers in the cache
MAX_CACHED_TEXT: Final = 4096  # characters of an answer's values; a larger answer is not kept
MAX_TTL: Final = 3600  # seconds an answer is kept at most, whatever its TTL
MAX_QUERIES: Final = 1000  # questions under way, each with a socket; one more fails at once
RECHECK: Final = 1.0  # seconds between two looks at a file of the system
MAX_SERVERS: Final = 3  # name servers taken from resolv.conf, as the system's own resolver does

T = TypeVar("T")


class Lookup(ABC):
    """The questions that plugins ask; `Resolver` asks the DNS, `qpsmtpd.testing.dns` a table.

    The Deferreds have an Answer, never a failure except CancelledError after their own `cancel`.
    """

    @abstractmethod
    def _ask(self, name: str, kind: str) -> Deferred[Answer]:
        """Answer for a name in the spelling of `question_name` and a record type."""

    def _ask_valid(self, name: str, kind: str) -> Deferred[Answer]:
        spelled = question_name(name)
        return succeed(NO_SUCH_NAME) if spelled is None else self._ask(spelled, kind)

    def close(self) -> None:  # noqa: B027 - a table has nothing to end
        """Ask nothing more; whoever waits is told."""

    def a(self, name: str) -> Deferred[Answer]:
        """Look up IPv4 addresses."""
        return self._ask_valid(name, "A")

    def aaaa(self, name: str) -> Deferred[Answer]:
        """Look up IPv6 addresses."""
        return self._ask_valid(name, "AAAA")

    def mx(self, name: str) -> Deferred[Answer]:
        """Look up mail exchangers; the values are MX, by preference."""
        return self._ask_valid(name, "MX")

    def txt(self, name: str) -> Deferred[Answer]:
        """Look up texts."""
        return self._ask_valid(name, "TXT")

    def ptr(self, address: str) -> Deferred[Answer]:
        """Look up the names of an IPv4 or IPv6 address."""
        try:
            return self._ask(pointer(address), "PTR")
        except ValueError:
            return succeed(NO_SUCH_NAME)

    def addresses(self, name: str) -> Deferred[Answer]:
        """Look up IPv4 and IPv6 addresses at once, IPv4 first.

        One kind found is found, even if the other failed; then `detail` is that of the failure.
        """
        lookups = [self.a(name), self.aaaa(name)]
        if known := at_hand(lookups):
            return succeed(_merged(known))
        both: Deferred[list[Answer]] = gatherResults(lookups, consumeErrors=True)
        return both.addCallbacks(_merged, _cancelled)


def _merged(answers: list[Answer]) -> Answer:
    values = tuple(value for answer in answers for value in answer)
    detail = next((answer.detail for answer in answers if answer.failed), None)
    if values:
        return Answer(Status.FOUND, values, detail or "NOERROR")
    if detail:
        return Answer(Status.FAILED, detail=detail)
    return answers[0]


def _cancelled(failure: Failure) -> Failure:
    assert isinstance(failure.value, FirstError)
    return failure.value.subFailure


@dataclass(slots=True)
class _Flight:
    """A question under way and those who wait for it."""

    exchange: Exchange
    waiting: OrderedDict[Deferred[Answer], None] = field(default_factory=OrderedDict)


class Resolver(Lookup):
    """Ask name servers, remember the answers, and ask nothing twice at the same time.

    Without servers it asks those of resolv.conf; like the system it looks for addresses in the hosts file
    first. There is no search list: every name is complete.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        servers: Sequence[Server] = (),
        *,
        timeout: float = TIMEOUT,
        max_entries: int = MAX_ENTRIES,
        max_queries: int = MAX_QUERIES,
        hosts: str = "/etc/hosts",
        resolv_conf: str = "/etc/resolv.conf",
    ) -> None:
        """Resolve with `servers`, pairs of IP address and port; `timeout` is in seconds, see `TIMEOUT`.

        Raises ValueError for a server that is no IP address.
        """
        self._reactor = reactor
        self._servers = [(str(ip_address(host)), port) for host, port in servers]
        self._timeout = timeout
        self._max_entries = max_entries
        self._max_queries = max_queries
        self._hosts = _SystemFile(hosts, _hosts, reactor.seconds)
        self._system_servers = _SystemFile(resolv_conf, _nameservers, reactor.seconds)
        self._cache: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()
        self._flights: dict[tuple[str, str], _Flight] = {}
        self._closed = False

    def close(self) -> None:
        """Forget everything and let whoever waits know; further questions fail."""
        self._closed = True
        self._cache.clear()
        while self._flights:  # not over a list: whoever is told may cancel what else it waits for
            key, flight = next(iter(self._flights.items()))
            flight.exchange.stop()
            self._land(key, Answer(Status.FAILED, detail="closed"))

    def _ask(self, name: str, kind: str) -> Deferred[Answer]:
        key = (name, kind)
        known = self._hosts.value().get(key) or self._cached(key)
        if known is not None:
            return succeed(known)
        flight = self._flights.get(key)
        if flight is not None:
            return self._wait(key, flight)
        if self._closed or len(self._flights) >= self._max_queries:
            return succeed(Answer(Status.FAILED, detail="closed" if self._closed else "too many queries"))
        query = dns.Query(name.encode("ascii"), KINDS[kind][0], dns.IN)
        servers = self._servers or self._system_servers.value()
        exchange = Exchange(self._reactor, servers, query, self._timeout, partial(self._done, key))
        flight = self._flights[key] = _Flight(exchange)
        answer = self._wait(key, flight)
        exchange.start()
        return answer

    def _wait(self, key: tuple[str, str], flight: _Flight) -> Deferred[Answer]:
        waiter: Deferred[Answer] = Deferred(partial(self._leave, key, flight))
        flight.waiting[waiter] = None
        return waiter

    def _leave(self, key: tuple[str, str], flight: _Flight, waiter: Deferred[Answer]) -> None:
        """Let one asker go; the last one takes the question along."""
        del flight.waiting[waiter]
        if not flight.waiting and self._flights.get(key) is flight:
            del self._flights[key]
            flight.exchange.stop()

    def _done(self, key: tuple[str, str], message: dns.Message | None, detail: str) -> None:
        if message is None:
            self._land(key, Answer(Status.FAILED, detail=detail))
            return
        answer, ttl = read(message, *key)
        self._keep(key, answer, ttl)
        self._land(key, answer)

    def _land(self, key: tuple[str, str], answer: Answer) -> None:
        flight = self._flights.pop(key)
        while flight.waiting:  # whoever is told may cancel another who still waits
            flight.waiting.popitem(last=False)[0].callback(answer)

    def _cached(self, key: tuple[str, str]) -> Answer | None:
        expires, answer = self._cache.get(key, (0.0, None))
        if answer is not None and expires > self._reactor.seconds():
            self._cache.move_to_end(key)
            return answer
        self._cache.pop(key, None)
        return None

    def _keep(self, key: tuple[str, str], answer: Answer, ttl: int) -> None:
        if ttl <= 0 or sum(len(str(value)) for value in answer) > MAX_CACHED_TEXT:
            return
        self._cache[key] = (self._reactor.seconds() + min(ttl, MAX_TTL), answer)
        while len(self._cache) > self._max_entries:
            self._cache.popitem(last=False)


class _SystemFile(Generic[T]):
    """A file of the system as a value, read again when it has changed; a missing file is an empty one.

    It is looked at once a second at most.
    """

    def __init__(self, path: str, parse: Callable[[str], T], now: Callable[[], float]) -> None:
        self._path = Path(path)
        self._parse = parse
        self._now = now
        self._due = -math.inf
        self._stamp: tuple[int, ...] | None = None
        self._value = parse("")

    def value(self) -> T:
        """Give the value of the file."""
        now = self._now()
        if now < self._due:
            return self._value
        self._due = now + RECHECK
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._value = self._parse(self._path.read_text("utf-8", "replace"))
                self._stamp = stamp
        except OSError:
            self._stamp, self._value = None, self._parse("")
        return self._value


def _nameservers(text: str) -> list[Server]:
    """Read resolv.conf(5); without a name server there it is the one on this machine."""
    servers: list[Server] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and is_address(words[1]):
            servers.append((words[1], dns.PORT))
    return servers[:MAX_SERVERS] or [("127.0.0.1", dns.PORT)]


def _hosts(text: str) -> dict[tuple[str, str], Answer]:
    """Read hosts(5): an address, then its names, a line."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words and is_address(words[0]):
            address = ip_address(words[0])
            for name in words[1:]:
                key = (name.lower().removesuffix("."), "AAAA" if address.version == 6 else "A")
                found.setdefault(key, {})[str(address)] = None
    return {key: Answer(Status.FOUND, tuple(values)) for key, values in found.items()}
