"""SMTPFactory: the server for any Twisted endpoint; counts its connections and drains them at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory

from .answers import denial
from .config import Config
from .connection import Connection
from .counts import Counts, Limit, LocalCounts
from .engine import UNKNOWN, Engine
from .kit.dns import Lookup, Resolver
from .log import Level, Log
from .plugin import Plugin, Services
from .protocol import SHUTTING_DOWN, SMTPProtocol
from .registry import Registry
from .session import Session
from .smtp.reply import Next, Reply
from .waiting import threads_of, wait

DNS_TIMEOUT = 5.0
"""Seconds that the greeting waits for the client's name."""


class Functions(Plugin):
    """A plugin made of plain functions, for those who embed the server."""

    def __init__(self, services: Services, hooks: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(services, "functions")
        for name, function in hooks.items():
            self.register_hook(name, function)


def embedded_engine(
    reactor: Any,
    hooks: Mapping[str, Callable[..., Any]],
    config: Mapping[str, str | Sequence[str]],
    dns: Lookup | None = None,
    spool: Path | None = None,
) -> Engine:
    """Make an engine out of functions and values, without a configuration directory."""
    values = {name: [value] if isinstance(value, str) else value for name, value in config.items()}
    services = Services(Config((), values), Log(), dns or Resolver(reactor), reactor, threads_of(reactor))
    services.spool = spool or Path(gettempdir())
    registry = Registry(services)
    registry.add(Functions(services, hooks))
    return Engine(registry, services)


class SMTPFactory(Factory):
    """Makes a protocol for each connection.

    Give it an ``engine``, or ``hooks`` (functions by hook name) and ``config`` (values by setting).
    ``tls_context`` is a context factory for STARTTLS, ``implicit_tls`` starts TLS before the greeting,
    ``requires_tls`` takes no mail in clear, ``lmtp`` speaks LMTP (RFC 2033) instead of SMTP.
    ``max_connections`` and ``max_from_ip`` of 0 mean no limit.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        engine: Engine | None = None,
        *,
        hooks: Mapping[str, Callable[..., Any]] | None = None,
        config: Mapping[str, str | Sequence[str]] | None = None,
        tls_context: Any = None,
        implicit_tls: bool = False,
        requires_tls: bool = False,
        lmtp: bool = False,
        max_connections: int = 0,
        max_from_ip: int = 0,
        shared: Connections | None = None,
    ) -> None:
        self.reactor: IReactorTime = reactor
        self.engine = engine or embedded_engine(reactor, hooks or {}, config or {})
        self.tls_context = tls_context
        self.max_connections = max_connections
        self.max_from_ip = max_from_ip
        self._implicit_tls = implicit_tls
        self._requires_tls = requires_tls
        self._lmtp = lmtp
        self.connections = shared if shared is not None else Connections()

    def buildProtocol(self, addr: IAddress | None) -> SMTPProtocol:  # type: ignore[override]
        """Make the protocol of one connection."""
        self.engine.refresh_if_due()
        return SMTPProtocol(self, implicit_tls=self._implicit_tls)

    def make_session(self, transport: Any) -> Session:
        """Make the session of a new connection."""
        connection, offers_tls = self.make_connection(transport), self.tls_context is not None
        return Session(
            self.engine,
            connection,
            offers_tls=offers_tls,
            requires_tls=self._requires_tls,
            lmtp=self._lmtp,
        )

    def make_connection(self, transport: Any) -> Connection:
        """Make the facts of a new connection."""
        peer, host = transport.getPeer(), transport.getHost()
        connection = Connection(
            address_of(getattr(peer, "host", "")),
            getattr(peer, "port", 0),
            address_of(getattr(host, "host", "")),
            getattr(host, "port", 0),
            number=self.engine.next_number(),
        )
        if getattr(transport, "proxied", False):
            # The address is a balancer's word, or its own where it knows none: no proof of being local.
            connection.notes["proxy"] = UNKNOWN if transport.route is None else "YES"
        return connection

    def admit(self, protocol: SMTPProtocol) -> Reply | None:
        """Count a connection in, or refuse it and say which limit it would exceed."""
        connections, address = self.connections, protocol.session.connection.remote_ip
        if connections.draining:
            return SHUTTING_DOWN
        limit = connections.add(protocol, self.max_connections, self._most_from_ip)
        return None if limit is None else self._too_many(address, limit)

    @property
    def _most_from_ip(self) -> int:
        """The limit of an address, if it is ours to enforce."""
        # A plugin that counts, as hosts_allow does, may have its own idea of the limit.
        return 0 if self.engine.registry.has("pre-connection") else self.max_from_ip

    def _too_many(self, address: str, limit: Limit) -> Reply:
        if limit is Limit.ADDRESS:
            text = f"too many connections ({self.max_from_ip}) from {address}, try again later"
            return Reply(421, text, "4.7.0", Next.CLOSE)
        number = f" ({self.max_connections})" if limit is Limit.ALL else ""
        return Reply(421, f"too many connections{number}, try again later", "4.3.2", Next.CLOSE)

    def gone(self, protocol: SMTPProtocol) -> None:
        """Count a connection out."""
        self.connections.remove(protocol)

    async def greet(self, session: Session) -> Reply:
        """Find out who the client is, and whether the plugins let it in."""
        connection = session.connection
        session.regreet = self._regreet
        if self.engine.registry.has("pre-connection"):
            facts = (self.connections.counts.of(connection.remote_ip), self.max_from_ip)
            if answered := denial("pre-connection", await session.ask("pre-connection", *facts)):
                return answered
        if session.limits.reverse_dns and "NAME" not in connection.notes.get("xclient", ()):
            await self._look_up_host(connection)
        self._log_accepted(connection)
        return await session.greet()

    async def _regreet(self, session: Session, before: str) -> Reply:
        """Greet a client whose proxy has named its address, as if it had come directly."""
        connections, address = self.connections, session.connection.remote_ip
        if not connections.counts.move(before, address):
            return self._too_many(address, Limit.TABLE)
        if self._most_from_ip and connections.counts.of(address) > self._most_from_ip:
            return self._too_many(address, Limit.ADDRESS)
        return await self.greet(session)

    def _log_accepted(self, connection: Connection) -> None:
        """Log in the words that log tools know."""
        self.engine.log.emit(
            Level.INFO,
            "Accepted connection %d/%d from %s / %s",
            self.connections.counts.total - 1,
            self.max_connections,
            connection.remote_ip,
            connection.remote_host,
            connection=connection,
        )

    async def _look_up_host(self, connection: Connection) -> None:
        """Find the client's name, for the log and the Received field; no name is no fault."""
        if ip_address(connection.remote_ip).is_loopback:
            connection.remote_host = "localhost"
            return
        try:
            answer = await wait(self.engine.services.dns.ptr(connection.remote_ip), DNS_TIMEOUT, self.reactor)
        except Exception as error:
            self.engine.log.emit(Level.DEBUG, "no name: %s", error, connection=connection)
        else:
            connection.remote_host = str(answer.values[0]) if answer.found else "Unknown"

    def drain(self, grace: float) -> Deferred[None]:
        """End all sessions; those that hold a message may finish within a time in seconds."""
        return self.connections.drain(self.reactor, grace)


class Connections:
    """The open connections of a process, over all its listeners; ``counts`` may be of other processes too."""

    def __init__(self, counts: Counts | None = None) -> None:
        self.counts: Counts = counts or LocalCounts()
        self._protocols: set[SMTPProtocol] = set()
        self._waiting: list[Deferred[None]] = []
        self.draining = False  # the server is about to end

    def __len__(self) -> int:
        return len(self._protocols)

    def add(self, protocol: SMTPProtocol, most: int = 0, most_from_ip: int = 0) -> Limit | None:
        """Count a connection in, or say which limit forbids it."""
        limit = self.counts.take(protocol.session.connection.remote_ip, most, most_from_ip)
        if limit is None:
            self._protocols.add(protocol)
        return limit

    def remove(self, protocol: SMTPProtocol) -> None:
        """Count a connection out."""
        if protocol not in self._protocols:
            return
        self._protocols.remove(protocol)
        self.counts.give_back(protocol.session.connection.remote_ip)
        if not self._protocols:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)

    def drain(self, clock: IReactorTime, grace: float) -> Deferred[None]:
        """End all sessions at once, but those that hold a message when it is answered or the time is over."""
        self.draining = True
        for protocol in list(self._protocols):
            protocol.shut_down()
        return self.wait_for_all(clock, grace, self._cut)

    def wait_for_all(self, clock: IReactorTime, patience: float, over: Callable[[], None]) -> Deferred[None]:
        """Fire when no connection is left; if that takes more seconds than ``patience``, call ``over``."""
        if not self._protocols:
            return succeed(None)
        empty: Deferred[None] = Deferred()
        self._waiting.append(empty)
        timer = clock.callLater(patience, over)

        def cancel(result: object) -> None:
            del result
            if timer.active():
                timer.cancel()

        return empty.addBoth(cancel)

    def _cut(self) -> None:
        for protocol in list(self._protocols):
            protocol.transport.abortConnection()


def address_of(text: str) -> str:
    """Give an address without scope and as IPv4 where it is that; a UNIX socket's client is local."""
    address = text.partition("%")[0]
    if address.startswith("::ffff:"):
        # RFC 4291 section 2.5.5.2, however it is written: a balancer's headers hold numbers.
        address = str(IPv6Address(address).ipv4_mapped or address)
    return address or "127.0.0.1"
