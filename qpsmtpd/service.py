"""``twistd qpsmtpd``: options, listeners, signals, the orderly end."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError

from .building import BuildError, Built
from .config import Config, ConfigError, config_directories
from .corefiles import doubts, read_spool_mode, spool_trouble, store_trouble
from .factory import Connections, SMTPFactory
from .inheritance import Inheritance
from .kit.store import StoreError
from .ledger import Ledger
from .listening import ALLOWED, KINDS, PROXY, Listener, read_listener
from .log import Level
from .options import Options
from .polling import polling
from .ports import PortService, endpoint_of
from .proxied import ProxiedFactory
from .reloading import Reloading
from .spool import prepare_spool
from .unixsocket import clear_socket

DEFAULT_LISTEN = "127.0.0.1:2525"
GARBAGE = (2000, 5, 5)
"""How often to look for garbage, see `gc.set_threshold`.

A session leaves none, and to look as often as Python does costs 5 % of it; but one in TLS leaves some, and
with it 60 KiB of OpenSSL's, so not much less often either.
"""
SHUTDOWN_GRACE = 30.0
"""Seconds that sessions which hold a message may take to end; config/shutdown_grace."""


class MailService(MultiService):
    """Listeners, the engine behind them, and what signals do to both."""

    def __init__(self, options: Options, reactor: Any, inheritance: Inheritance | None = None) -> None:
        super().__init__()
        self.reactor = reactor
        self._sockets = polling(reactor)
        self.inheritance = inheritance or Inheritance()
        self.ports: list[PortService] = []
        self.serving: Deferred[None] = Deferred()
        """Fires when clients are served, or with what keeps a worker from it."""
        self.failing: Callable[[str], None] = lambda _: None
        self.upgrade: Callable[[], None] = lambda: None
        self.ending = self._hears_signals = False
        self.built = _build(options, reactor)
        engine = self.built.engine
        assert engine is not None
        self.engine = engine
        config = self.built.config
        if options["loglevel"] is not None and not engine.registry.has("logging"):
            engine.log.observe(int(options["loglevel"]))
        self._spool_mode = read_spool_mode(config)
        self._spool_given = bool(options["spool"])
        self._grace = config.seconds("shutdown_grace", SHUTDOWN_GRACE)
        self._connections = self._share_counts() if self.inheritance.is_worker else Connections()
        self._max_connections = options.number("max-connections", config, 1000)
        self._max_from_ip = options.number("max-from-ip", config, 0)
        for kind, given in zip(KINDS, (options.listen, options.smtps, options.lmtp), strict=True):
            self._listen_at(kind, given)
        # A socket that nobody listens on any more would let clients in whom nobody serves.
        for description in self.inheritance.sockets.keys() - {port.description for port in self.ports}:
            os.close(self.inheritance.sockets[description])
        self._reloading = Reloading(self.built, engine, reactor)
        if not self.inheritance.is_worker:
            self._reloading.warn()
            for doubt in doubts(config, options.worker_count()):
                engine.log.emit(Level.WARN, "%s", doubt)

    def _share_counts(self) -> Connections:
        """Count and number connections together with the other workers."""
        given = self.inheritance
        ledger = Ledger(given.ledger, given.workers, given.capacity, given.worker)
        self.engine.numbers = ledger.numbers()
        return Connections(ledger)

    def _listen_at(self, kind: str, given: Sequence[str]) -> None:
        """Make the listeners of a file, or of the option that is given instead; an error says of which."""
        config = self.built.config
        texts = given or config.lines(kind) or ([DEFAULT_LISTEN] if kind == "listen" else [])
        for position, text in enumerate(texts):
            try:
                port = self._listen(self._read_listener(text, kind))
                port.place = f"--{kind} {text}" if given else str(config.error(kind, text, position))
            except ConfigError as error:
                if given:
                    raise ConfigError(f"--{kind} {error}") from None
                raise config.error(kind, str(error), position) from None

    def _listen(self, listener: Listener) -> PortService:
        description = listener.description
        factory: Any = self._factory(listener)
        # Twisted would wrap the factory too, but tell it of a connection too early.
        place = description.removeprefix(PROXY)
        if place != description:
            if not self.engine.trusted_proxies.entries:
                raise ConfigError(f"{description}: nobody may connect there: trusted_proxies is empty")
            factory = ProxiedFactory(factory)
        try:
            endpoint = endpoint_of(self._sockets, place, self.inheritance.sockets.get(description))
        except Exception as error:  # whatever a parser of endpoints stumbles over
            unknown = place.startswith("systemd:") and isinstance(error, LookupError)
            why = "systemd has given no such socket" if unknown else f"{error}; {ALLOWED}"
            raise ConfigError(f"{description}: no address to listen on: {why}") from None
        owned = description not in self.inheritance.sockets
        port = PortService(endpoint, factory, description, owned=owned)
        port.setServiceParent(self)
        self.ports.append(port)
        return port

    def _read_listener(self, text: str, kind: str) -> Listener:
        try:
            listener = read_listener(text, kind)
        except ValueError as error:
            raise ConfigError(f"{text}: {error}") from None
        if listener.needs_tls and self.built.tls is None:
            raise ConfigError(f"{listener.description} wants TLS, but no plugin has a certificate: load tls")
        return listener

    def _factory(self, listener: Listener) -> SMTPFactory:
        tls = self.built.tls if listener.starttls != "off" else None
        return SMTPFactory(
            self.reactor,
            self.engine,
            tls_context=tls.accepting(listener.client) if tls else None,
            implicit_tls=listener.implicit,
            requires_tls=listener.requires_tls,
            lmtp=listener.lmtp,
            shared=self._connections,
            max_connections=self._max_connections,
            max_from_ip=self._max_from_ip,
        )

    def privilegedStartService(self) -> None:
        """Bind the ports, as the user that twistd was started by; one line says which one cannot be bound.

        Who sees a port open may send HUP, which would end a process that does not catch it.
        """
        self._hears_signals = True
        signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(self.reload))
        signal.signal(signal.SIGUSR2, lambda *_: self.reactor.callFromThread(self.upgrade))
        for port in self.ports:
            try:
                if port.description not in self.inheritance.sockets:
                    clear_socket(port.endpoint)
                port.privilegedStartService()
            except (CannotListenError, OSError, OverflowError) as error:
                self.refuse(f"{port.place}: cannot listen: {error}")

    def startService(self) -> None:
        """Serve."""
        self._prepare_spool()
        self._open_store()
        self.reactor.callWhenRunning(_settle_memory)
        super().startService()
        self._reloading.watch()
        if not self.inheritance.is_worker:
            for port in self.ports:
                self.engine.log.emit(Level.INFO, "Listening on %s", port.description)
        self.serve()

    def serve(self) -> None:
        """Say that we serve."""
        self.serving.callback(None)

    def refuse(self, why: str) -> NoReturn:
        """End the start."""
        self.failing(why)
        raise SystemExit(f"qpsmtpd: {why}") from None

    def _prepare_spool(self) -> None:
        """Make the spool directory only now, as the user that twistd has become."""
        log = self.engine.log
        try:
            prepare_spool(self.engine.spool, self._spool_mode, lambda text: log.emit(Level.WARN, "%s", text))
        except OSError as error:
            reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
            why = f"{error.filename}: {reason}"
            self.refuse(f"--spool {why}" if self._spool_given else str(spool_trouble(self.built.config, why)))

    def _open_store(self) -> None:
        """Open what plugins keep, as that user, so that a broken file is known before mail is served."""
        try:
            self.built.services.store.open()
        except StoreError as error:
            self.refuse(str(store_trouble(self.built.config, error)))

    def reload(self) -> None:
        """Read configuration, limits and certificates again; what is wrong keeps its old value."""
        self._reloading.reload()

    def finish(self) -> None:
        """Leave accepting to who shares the sockets, and end with the last session or the time of grace."""
        for port in self.ports:
            port.release()
        self._connections.wait_for_all(self.reactor, self._grace, self.end).addCallback(lambda _: self.end())

    def orphaned(self) -> None:
        """End, for the parent has died; at once if that was told to us to end already."""
        if self.ending:
            self.kill()
        else:
            self.engine.log.emit(Level.ERROR, "the parent process has died: ending")
            self.end()

    def kill(self) -> None:
        """End at once; whoever was not told 250 keeps the message."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def end(self) -> None:
        """End the process in order, as TERM does."""
        if not self.ending:
            self.ending = True
            self.reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Accept no more, end the sessions, those that hold a message within the grace time."""
        self.ending = True
        if self._hears_signals:
            # A worker may be told twice: by who tells all processes, and by the parent.
            again = signal.SIG_IGN if self.inheritance.is_worker else lambda *_: self.kill()
            signal.signal(signal.SIGTERM, again)
            signal.signal(signal.SIGINT, again)
        self._reloading.stop()
        stopped = maybeDeferred(super().stopService)
        stopped.addCallback(lambda _: self._connections.drain(self.reactor, self._grace))
        stopped.addCallback(lambda _: self.built.services.store.close())
        stopped.addCallback(lambda _: self.built.services.dns.close())
        return stopped


def _settle_memory() -> None:
    """Look for garbage among what comes after the start only."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def _build(options: Options, reactor: Any) -> Built:
    directories = config_directories(options["config"], os.environ)
    spool = Path(options["spool"]) if options["spool"] else None
    built = Built(Config(directories), reactor, spool)
    built.build(options.dns)
    if built.errors:
        raise BuildError(built.errors)
    if not built.registry.has("queue"):
        built.log.emit(Level.WARN, "no queue plugin is loaded: every message will be refused with 451")
    return built
