"""From a configuration directory to an engine: loggers first, then plugins, then certificates.

Collects every error and warning instead of stopping at the first, for `qpsmtpd check` and for the start.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .config import Config, ConfigError
from .engine import Engine
from .kit.dns import Lookup, Resolver
from .limits import read_limits
from .loader import Loader, load_plugins
from .log import Event, Level, Log
from .plugin import Services
from .registry import Implementation, Registry
from .tls import ServerTLS, make_self_signed
from .tlsfiles import TLSConfigError
from .waiting import threads_of

DEFAULT_DNS_PORT = 53


class BuildError(Exception):
    """The configuration cannot be served; ``errors`` has a line for each mistake."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(map(str, errors)))


class Built:
    """A server's parts, as far as they could be made, and all that was wrong with its configuration."""

    def __init__(self, config: Config, reactor: Any, spool: Path | None, dns: Lookup | None = None) -> None:
        self.errors: list[Exception] = []
        self.config = config
        self.log = Log()
        config.report = lambda text: self.log.emit(Level.ERROR, "%s", text)
        self.services = Services(
            config, self.log, dns or self._resolver(reactor, ()), reactor, threads_of(reactor)
        )
        self.services.spool = spool or Path(config.value("spool_dir") or "spool").expanduser()
        self.registry = Registry(self.services)
        self.loader = Loader(config)
        self.tls: ServerTLS | None = None
        self.engine: Engine | None = None

    def collect(self, step: Callable[[], Any]) -> Any:
        """Take a step; note what is wrong instead of raising it."""
        try:
            return step()
        except (ConfigError, TLSConfigError) as error:
            self.errors.append(error)
        return None

    def build(self, dns_servers: Sequence[str] = (), *, make_certificate: bool = True) -> None:
        """Take all steps."""
        self.collect(lambda: read_limits(self.config))
        servers = self.collect(lambda: read_servers(self.config, dns_servers))
        if servers:
            self.services.dns = self._resolver(self.services.reactor, servers)
        self._load("logging")
        self.collect(self._start_logging)
        self._load("plugins")
        self.collect(lambda: self._load_certificate(make_certificate))
        if not self.errors:
            self.engine = self.collect(lambda: Engine(self.registry, self.services))
        if self.engine is not None:
            self.engine.offers_tls = self.tls is not None

    def _load(self, name: str) -> None:
        lines = self.collect(lambda: self.config.numbered(name)) or ()
        self.errors += load_plugins(self.loader, lines, self.services, self.registry)
        for line in lines:
            self.log.emit(Level.INFO, "Loaded %s", line.text)

    def _start_logging(self) -> None:
        start_logging(self.log, self.registry, self.config)

    def _load_certificate(self, make: bool) -> None:
        files = self.services.tls
        if files is None:
            return
        if make and files.self_signed and not files.certificate.exists():
            make_self_signed(files.certificate, files.key, self.config.value("me") or socket.gethostname())
        elif files.self_signed and not files.certificate.exists():
            return
        self.tls = ServerTLS(
            files, ciphers=self.config.value("tls_ciphers"), protocols=self.config.value("tls_protocols")
        )

    @staticmethod
    def _resolver(reactor: Any, servers: Sequence[tuple[str, int]]) -> Resolver:
        return Resolver(reactor, servers)


def read_servers(config: Config, given: Sequence[str]) -> list[tuple[str, int]]:
    """Read name servers, HOST[:PORT] each, from options or else from config/dns_servers."""
    if given:
        return [_server(text) for text in given]
    found = []
    for line in config.numbered("dns_servers"):
        try:
            found.append(_server(line.text))
        except ConfigError as error:
            raise ConfigError(str(error), line.file, line.number) from None
    return found


def _server(text: str) -> tuple[str, int]:
    from ipaddress import ip_address

    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        number = int(port or DEFAULT_DNS_PORT)
        if not 0 < number < 65536:
            raise ValueError
        return str(ip_address(host)), number
    except ValueError:
        raise ConfigError(f"{text!r} is no name server; allowed is an address, then maybe :PORT") from None


def start_logging(log: Log, registry: Registry, config: Config) -> None:
    """Let the plugins that hook ``logging`` hear the log; without any, Twisted's log does."""
    chain = registry.chain("logging")
    if not chain:
        log.observe(_default_level(config))
        return
    log.observe(max(one.plugin.threshold for one in chain), *map(_observer, chain))


def _default_level(config: Config) -> Level:
    lines = config.numbered("loglevel")
    if not lines:
        return Level.WARN
    try:
        return Level.parse(lines[0].text)
    except ValueError as error:
        raise ConfigError(str(error), lines[0].file, lines[0].number) from None


def _observer(implementation: Implementation) -> Callable[[Event], None]:
    plugin, call = implementation.plugin, implementation.call

    def hear(event: Event) -> None:
        if event.level <= plugin.threshold:
            call((event, event.level, event.hook, event.plugin, event.text, event.connection))

    return hear
