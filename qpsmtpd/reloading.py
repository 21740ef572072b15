"""Reading configuration and certificates again while the server runs; what is wrong keeps its old value."""

from __future__ import annotations

from typing import Any

from .building import Built
from .config import ConfigError
from .engine import Engine
from .log import Level
from .tlsfiles import TLSConfigError

CERTIFICATE_CHECK = 60.0
"""Seconds between looks at the certificate's files."""

TICKET_KEYS = 86400.0
"""Seconds between reloads without a reason: who steals today's keys cannot read older resumed sessions.

RFC 9325 section 3.4 wants new keys for session tickets every week, say; OpenSSL makes them with the context.
"""


class Reloading:
    """What HUP asks for, and the look at certificates that nobody has to ask for."""

    def __init__(self, built: Built, engine: Engine, reactor: Any) -> None:
        self._built = built
        self._engine = engine
        self._reactor = reactor
        self._timer: Any = None
        self._read: float = reactor.seconds()

    def reload(self) -> None:
        """Read configuration, limits and certificates again, and tell the plugins."""
        log = self._engine.log
        log.emit(Level.NOTICE, "reloading the configuration")
        self._built.config.forget()
        try:
            self._engine.refresh()
        except ConfigError as error:
            log.emit(Level.ERROR, "%s; the old settings stay in force", error)
        self._reload_certificate()
        for plugin in self._engine.registry.plugins:
            try:
                plugin.reload()
            except Exception as error:
                log.emit(Level.ERROR, "cannot reload: %s", error, plugin=plugin.log_name)

    def warn(self) -> None:
        """Log what is about to go wrong with the certificates."""
        for warning in self._built.tls.warnings() if self._built.tls else ():
            self._engine.log.emit(Level.WARN, "%s", warning)

    def watch(self) -> None:
        """Look whether the certificate's files were replaced, as certbot does."""
        if self._built.tls is None:
            return
        if self._built.tls.changed() or self._reactor.seconds() - self._read >= TICKET_KEYS:
            self._reload_certificate()
        self._timer = self._reactor.callLater(CERTIFICATE_CHECK, self.watch)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _reload_certificate(self) -> None:
        if self._built.tls is None:
            return
        self._read = self._reactor.seconds()
        try:
            self._built.tls.reload()
        except TLSConfigError as error:
            self._engine.log.emit(Level.ERROR, "%s; the old certificate stays in use", error)
        self.warn()
