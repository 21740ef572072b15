"""From a configuration directory to an engine: loggers first, then plugins, then certificates.

Collects every error and warning instead of stopping at the first, for `qpsmtpd check` and for the start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from .certificates import make_self_signed
from .config import Config, ConfigError, Line
from .corefiles import CORE_FILES, check_core_file, read_loglevel, read_store
from .engine import Engine
from .implementation import Implementation
from .kit.dns import Lookup, Resolver
from .kit.store import MAX_ENTRIES, Stores
from .kit.storememory import MemoryStores
from .kit.storesqlite import SQLiteStores
from .loader import INSTANCE, Loader, home_path
from .log import Event, Level, Log
from .plugin import Plugin, Services
from .registry import Registry
from .tls import ServerTLS
from .tlsfiles import TLSConfigError, TLSFiles
from .waiting import threads_of

T = TypeVar("T")

DEFAULT_DNS_PORT = 53
SERVER = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")


class BuildError(Exception):
    """The configuration cannot be served; ``errors`` has a line for each mistake."""

    def __init__(self, errors: Sequence[Exception]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(map(str, errors)))


class Built:
    """A server's parts, as far as they could be made, and all that was wrong with its configuration."""

    def __init__(self, config: Config, reactor: Any, spool: Path | None, dns: Lookup | None = None) -> None:
        self.errors: list[Exception] = []
        self.lines: dict[Plugin, Line] = {}
        """The line that loaded each plugin."""
        self.failed: list[Line] = []
        """The lines that loaded none."""
        self.loading: Line | None = None
        """The line that is being loaded."""
        self.config = config
        self.log = Log()
        config.report = lambda text: self.log.emit(Level.ERROR, "%s", text)
        self.services = Services(config, self.log, dns or Resolver(reactor), reactor, threads_of(reactor))
        self.services.spool = spool or self.collect(self._spool) or Path("spool")
        self.services.store = self.collect(self._store) or self.services.store
        self.registry = Registry(self.services)
        self.loader = Loader(config)
        self.tls: ServerTLS | None = None
        self.engine: Engine | None = None

    def collect(self, step: Callable[[], T]) -> T | None:
        """Take a step; note what is wrong, once, instead of raising it."""
        try:
            return step()
        except (ConfigError, TLSConfigError, OSError) as error:
            if str(error) not in map(str, self.errors):
                self.errors.append(error)
        return None

    def build(self, dns_servers: Sequence[str] = (), *, dry: bool = False) -> None:
        """Take all steps; a ``dry`` one makes no certificate, and no plugin hears the log."""
        for name in CORE_FILES:
            self.collect(partial(check_core_file, self.config, name))
        servers = self._servers(dns_servers)
        if servers and not dry:
            self.services.dns = Resolver(self.services.reactor, servers)
        self._load("logging")
        if not dry:
            self.collect(lambda: start_logging(self.log, self.registry, self.config))
        self._load("plugins")
        for line in self.lines.values():
            self.log.emit(Level.INFO, "Loaded %s", line.text)
        self.collect(lambda: self._load_certificate(dry))
        if not self.errors:
            self.engine = self.collect(lambda: Engine(self.registry, self.services))

    def _spool(self) -> Path:
        lines = self.config.numbered("spool_dir")
        return home_path(lines[0].text, lines[0]) if lines else Path(CORE_FILES["spool_dir"].default)

    def _store(self) -> Stores:
        now, most = self.services.reactor.seconds, self.config.number("max_store_entries", MAX_ENTRIES)
        path = read_store(self.config, self.services.spool)
        if path is None:
            stores: Stores = MemoryStores(now, most)
        else:
            stores = SQLiteStores(path, now, self.services.run_in_thread, most)
        stores.report = lambda text: self.log.emit(Level.WARN, "%s", text)
        return stores

    def _servers(self, given: Sequence[str]) -> list[tuple[str, int]]:
        """Read name servers, HOST[:PORT] each, from options or else from config/dns_servers."""
        lines = self.collect(lambda: self.config.numbered("dns_servers")) or ()
        if given:
            lines = tuple(Line(text, Path("--dns"), number) for number, text in enumerate(given, 1))
        return [server for line in lines if (server := self.collect(partial(read_server, line)))]

    def _load(self, name: str) -> None:
        for line in self.collect(lambda: self.config.numbered(name)) or ():
            self.loading = line
            plugin = self.collect(partial(self.loader.load, line, self.services))
            if plugin is None:
                self.failed.append(line)
                continue
            self.collect(partial(self._check_store, plugin, line))
            self.lines[plugin] = line
            self.registry.add(plugin)
        self.loading = None

    def _check_store(self, plugin: Plugin, line: Line) -> None:
        """Refuse two plugins of one name that keep something: it would be the same for both."""
        if not plugin.keeps:
            return
        for other, place in self.lines.items():
            if other.keeps and other.name == plugin.name:
                what = f"{plugin.name} is loaded by line {place.number} already, and both would keep the same"
                allowed = f"allowed is {INSTANCE.sub('', plugin.name)}:N, with a number of its own"
                raise ConfigError(f"{what}; {allowed}", line.file, line.number)

    def _load_certificate(self, dry: bool) -> None:
        files = self.services.tls
        if files is None:
            return
        missing = files.self_signed and not files.certificate.exists()
        if missing and files.key.exists():
            raise TLSConfigError(f"{files.key}: a key without its certificate {files.certificate}")
        if missing and dry:
            with TemporaryDirectory() as place:
                passing = replace(files, certificate=Path(place, "crt"), key=Path(place, "key"))
                self._make_certificate(passing)
                self._server_tls(passing)
            return
        if missing:
            self._make_certificate(files)
        self.tls = self._server_tls(files)

    def _make_certificate(self, files: TLSFiles) -> None:
        files.certificate.parent.mkdir(parents=True, exist_ok=True)
        try:
            make_self_signed(files.certificate, files.key, self.config.value("me"))
        except ValueError as error:
            raise self.config.error("me", f"cannot make a certificate for this name: {error}", 0) from None

    def _server_tls(self, files: TLSFiles) -> ServerTLS:
        ciphers, protocols = self.config.value("tls_ciphers"), self.config.value("tls_protocols")
        return ServerTLS(files, ciphers=ciphers, protocols=protocols, host=self.config.value("me"))


def read_server(line: Line) -> tuple[str, int]:
    """Read a name server, an address and maybe a port; ConfigError says what is wrong with it."""
    match = SERVER.fullmatch(line.text)
    host = match["v6"] or match["v4"] if match else line.text
    port = int(match["port"] or DEFAULT_DNS_PORT) if match else DEFAULT_DNS_PORT
    try:
        if not 0 < port < 65536:
            raise ValueError
        return str(ip_address(host)), port
    except ValueError:
        what = f"{line.text!r} is no name server; allowed is an address, then maybe :PORT"
        raise ConfigError(what, line.file, line.number) from None


def start_logging(log: Log, registry: Registry, config: Config) -> None:
    """Let the plugins that hook ``logging`` hear the log; without any, Twisted's log does."""
    chain = registry.chain("logging")
    if not chain:
        log.observe(read_loglevel(config))
        return
    log.observe(max(one.plugin.threshold for one in chain), *map(_observer, chain))


def _observer(implementation: Implementation) -> Callable[[Event], None]:
    plugin, call = implementation.plugin, implementation.call

    def hear(event: Event) -> None:
        if event.level <= plugin.threshold:
            call((event, event.level, event.hook, event.plugin, event.text, event.connection))

    return hear
