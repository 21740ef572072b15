"""``twistd qpsmtpd``: options, listeners, signals, the orderly end."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from .building import BuildError, Built
from .config import Config, ConfigError, config_directories
from .corefiles import read_spool_mode
from .factory import Connections, SMTPFactory
from .kit.store import StoreError
from .listening import KINDS, PROXY, Listener, read_listener
from .log import Level
from .proxied import ProxiedFactory
from .spool import prepare_spool
from .tlsfiles import TLSConfigError
from .unixsocket import clear_socket

DEFAULT_LISTEN = "127.0.0.1:2525"
SHUTDOWN_GRACE = 30.0
"""Seconds that sessions which hold a message may take to end; config/shutdown_grace."""

CERTIFICATE_CHECK = 60.0
"""Seconds between looks at the certificate's files."""

TICKET_KEYS = 86400.0
"""Seconds between reloads without a reason: who steals today's keys cannot read older resumed sessions.

RFC 9325 section 3.4 wants new keys for session tickets every week, say; OpenSSL makes them with the context.
"""


class Options(UsageOptions):
    """Options of ``twistd qpsmtpd``; what is not given comes from the configuration directory."""

    synopsis = "[options]"
    longdesc = "Runs the qpsmtpd mail server. See docs/config.md for the configuration directory."
    optParameters: ClassVar = [
        ["config", "c", None, "Configuration directory [$QPSMTPD_CONFIG, ./config or /etc/qpsmtpd]"],
        ["spool", None, None, "Directory for messages on their way in [config/spool_dir or ./spool]"],
        [
            "max-connections",
            None,
            None,
            "Connections at once, 0 for no limit [config/max_connections or 1000]",
        ],
        ["max-from-ip", None, None, "Connections at once from one address [config/max_from_ip or 0]"],
        ["loglevel", None, None, "Log up to this level, 0 to 7, if no logging plugin is loaded"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.listen: list[str] = []
        self.smtps: list[str] = []
        self.lmtp: list[str] = []
        self.dns: list[str] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen for SMTP here: [ADDRESS:]PORT or a Twisted endpoint; repeatable
        [config/listen or 127.0.0.1:2525]"""
        self.listen.append(endpoint)

    def opt_smtps(self, endpoint: str) -> None:
        """Listen for SMTP with implicit TLS here, like --listen; repeatable [config/smtps]"""
        self.smtps.append(endpoint)

    def opt_lmtp(self, endpoint: str) -> None:
        """Listen for LMTP here, like --listen, but not on port 25; repeatable [config/lmtp]"""
        self.lmtp.append(endpoint)

    def opt_dns(self, server: str) -> None:
        """Ask this name server, HOST[:PORT]; repeatable [config/dns_servers or the system's]"""
        self.dns.append(server)

    def postOptions(self) -> None:
        """Check the numbers."""
        for name in ("max-connections", "max-from-ip", "loglevel"):
            if self[name] is not None and not re.fullmatch("[0-9]{1,6}", self[name]):
                raise UsageError(f"--{name} takes a number of at least 0, not {self[name]!r}")

    def number(self, name: str, config: Config, default: int) -> int:
        """Give an option, else the setting of that name."""
        given = self[name]
        return int(given) if given is not None else config.number(name.replace("-", "_"), default)


def makeService(options: Options, reactor: Any = None) -> MailService:
    """Build the server; a mistake ends the process with a line for each and status 1."""
    if reactor is None:
        from twisted.internet import reactor
    try:
        return MailService(options, reactor)
    except (BuildError, ConfigError, TLSConfigError, UsageError, OSError) as error:
        raise SystemExit("\n".join(f"qpsmtpd: {line}" for line in str(error).splitlines())) from None


class MailService(MultiService):
    """Listeners, the engine behind them, and what signals do to both."""

    def __init__(self, options: Options, reactor: Any) -> None:
        super().__init__()
        self.reactor = reactor
        self.built = _build(options, reactor)
        engine = self.built.engine
        assert engine is not None
        self.engine = engine
        config = self.built.config
        if options["loglevel"] is not None and not engine.registry.has("logging"):
            engine.log.observe(int(options["loglevel"]))
        self._spool_mode = read_spool_mode(config)
        self._grace = config.seconds("shutdown_grace", SHUTDOWN_GRACE)
        self._connections = Connections()
        self._max_connections = options.number("max-connections", config, 1000)
        self._max_from_ip = options.number("max-from-ip", config, 0)
        self.endpoints: list[Any] = []
        self.listens: list[str] = []
        for kind, given in zip(KINDS, (options.listen, options.smtps, options.lmtp), strict=True):
            texts = given or config.lines(kind) or ([DEFAULT_LISTEN] if kind == "listen" else [])
            self.listens += self._listeners(texts, kind)
        self._certificate_timer: Any = None
        self._certificate_read: float = reactor.seconds()
        for warning in self.built.tls.warnings() if self.built.tls else ():
            engine.log.emit(Level.WARN, "%s", warning)

    def _listeners(self, texts: Iterable[str], kind: str) -> Sequence[str]:
        listeners = [self._read_listener(text, kind) for text in texts]
        for listener in listeners:
            description = listener.description
            factory: Any = self._factory(listener)
            # Twisted would wrap the factory too, but tell it of a connection too early.
            place = description.removeprefix(PROXY)
            if place != description:
                if not self.engine.trusted_proxies.entries:
                    raise ConfigError(f"{description}: nobody may connect there: trusted_proxies is empty")
                factory = ProxiedFactory(factory)
            try:
                endpoint = serverFromString(self.reactor, place)
            except Exception as error:  # whatever a parser of endpoints stumbles over
                raise ConfigError(f"{description}: no address to listen on: {error}") from None
            self.endpoints.append(endpoint)
            service = StreamServerEndpointService(endpoint, factory)
            # twistd ends with status 1 and the reason if a port cannot be bound.
            service._raiseSynchronously = True
            service.setServiceParent(self)
        return [listener.description for listener in listeners]

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
        signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(self.reload))
        try:
            for endpoint in self.endpoints:
                clear_socket(endpoint)
            super().privilegedStartService()
        except (CannotListenError, OSError, OverflowError) as error:
            raise SystemExit(f"qpsmtpd: cannot listen: {error}") from None

    def startService(self) -> None:
        """Serve."""
        self._prepare_spool()
        self._open_store()
        super().startService()
        for description in self.listens:
            self.engine.log.emit(Level.INFO, "Listening on %s", description)
        self._watch_certificate()

    def _prepare_spool(self) -> None:
        """Make the spool directory only now, as the user that twistd has become."""
        log = self.engine.log
        try:
            prepare_spool(self.engine.spool, self._spool_mode, lambda text: log.emit(Level.WARN, "%s", text))
        except OSError as error:
            raise SystemExit(f"qpsmtpd: no spool directory: {error}") from None

    def _open_store(self) -> None:
        """Open what plugins keep, as that user, so that a broken file is known before mail is served."""
        try:
            self.built.services.store.open()
        except StoreError as error:
            raise SystemExit(f"qpsmtpd: {error}") from None

    def reload(self) -> None:
        """Read configuration, limits and certificates again; what is wrong keeps its old value."""
        self.engine.log.emit(Level.NOTICE, "reloading the configuration")
        self.built.config.forget()
        try:
            self.engine.refresh()
        except ConfigError as error:
            self.engine.log.emit(Level.ERROR, "%s; the old settings stay in force", error)
        self._reload_certificate()
        for plugin in self.engine.registry.plugins:
            try:
                plugin.reload()
            except Exception as error:
                self.engine.log.emit(Level.ERROR, "cannot reload: %s", error, plugin=plugin.log_name)

    def _reload_certificate(self) -> None:
        tls = self.built.tls
        if tls is None:
            return
        self._certificate_read = self.reactor.seconds()
        try:
            tls.reload()
        except TLSConfigError as error:
            self.engine.log.emit(Level.ERROR, "%s; the old certificate stays in use", error)
        for warning in tls.warnings():
            self.engine.log.emit(Level.WARN, "%s", warning)

    def _watch_certificate(self) -> None:
        """Look whether the certificate's files were replaced, as certbot does."""
        if self.built.tls is None:
            return
        if self.built.tls.changed() or self.reactor.seconds() - self._certificate_read >= TICKET_KEYS:
            self._reload_certificate()
        self._certificate_timer = self.reactor.callLater(CERTIFICATE_CHECK, self._watch_certificate)

    def stopService(self) -> Deferred[None]:
        """Accept no more, end the sessions, those that hold a message within the grace time."""
        if self._certificate_timer is not None and self._certificate_timer.active():
            self._certificate_timer.cancel()
        stopped = maybeDeferred(super().stopService)
        stopped.addCallback(lambda _: self._connections.drain(self.reactor, self._grace))
        stopped.addCallback(lambda _: self.built.services.store.close())
        stopped.addCallback(lambda _: self.built.services.dns.close())
        return stopped


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
