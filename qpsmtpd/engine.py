"""What all sessions of a server share: registry, configuration, limits, log. Knows no socket."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred

from .config import Config, ConfigError
from .connection import Connection
from .kit.match import Compiled, Networks
from .limits import Limits, read_limits
from .log import Level, Log
from .plugin import Services
from .registry import Registry
from .smtp.address import Address
from .smtp.reply import Next, Reply
from .version import VERSION

UNKNOWN = "UNKNOWN"
"""The note ``proxy`` of a connection whose address is a proxy's, because that does not know the client's."""
REFRESH = 1.0
"""Seconds after which limits and texts are read again."""


class Engine:
    """The shared part of every session.

    Limits and texts are read anew once a second at most, so that an edit is in force for the next
    connection; a connection keeps those it began with.
    """

    def __init__(
        self, registry: Registry, services: Services, *, now: Callable[[], float] = time.time
    ) -> None:
        self.registry = registry
        self.services = services
        self.config: Config = services.config
        self.log: Log = services.log
        self.spool: Path = services.spool
        self.takes_binary = all(plugin.takes_binary for plugin in registry.plugins)
        self.now = now
        self._process = f"{os.getpid():x}"
        self._due = 0.0
        self.numbers: Iterator[int] = itertools.count(1)
        self._messages = itertools.count(1)
        self._proxies = Compiled(self.config, "trusted_proxies", Networks)
        self.config.overlay = self._config_hook if registry.has("config") else None
        self.refresh()

    def refresh_if_due(self) -> None:
        """Read limits and texts anew if the last time is a second ago; keep the old ones on an error."""
        if self._due - REFRESH <= self.now() < self._due:
            return
        try:
            self.refresh()
        except ConfigError as error:
            self.log.emit(Level.ERROR, "%s; the old settings stay in force", error)

    def refresh(self) -> None:
        """Read limits and texts from the configuration; ConfigError names what is wrong."""
        self._due = self.now() + REFRESH
        self.limits: Limits = read_limits(self.config)
        self.trusted_proxies = self._proxies()
        self.me = self.config.value("me")
        self.results_names = self._results_names()
        text = self._greeting_text()
        self.greeting = Reply(220, text)
        self.lmtp_greeting = Reply(220, re.sub(r"\bESMTP\b", "LMTP", text))
        farewell = f"{self.me} closing connection. Have a wonderful day."
        self.farewell = Reply(221, farewell, "2.0.0", Next.CLOSE)
        self.help_text = self._help_text()

    def _results_names(self) -> tuple[str, ...]:
        """Give the lines that name us in Authentication-Results; none if there shall be no such field."""
        lines = tuple(self.config.lines("me-auth-results")) or (self.me,)
        return () if lines[0] == "none" else lines

    def trusts(self, connection: Connection) -> bool:
        """Tell whether the client may speak for others: it is a proxy of ours, and not a client of one."""
        return connection.remote_ip in self.trusted_proxies and connection.notes.get("proxy") != UNKNOWN

    def next_number(self) -> int:
        """Give the next connection its number, unique in the log of the server."""
        return next(self.numbers)

    def message_id(self, connection: Connection) -> str:
        """Give an id for a Received field."""
        return f"{int(self.now()):x}.{self._process}.{connection.number}.{next(self._messages)}"

    async def user_config(self, address: Address, name: str) -> Sequence[str]:
        """Give a setting's lines for one address: its own, else everybody's."""
        lines = await self.registry.ask_lines("user_config", (address, name))
        return self.config.lines(name) if lines is None else list(lines)

    def _config_hook(self, name: str) -> Sequence[str] | None:
        lines: Sequence[str] | None = self.registry.ask_now("config", (name,))
        assert not isinstance(lines, Deferred)
        return lines

    def _greeting_text(self) -> str:
        """RFC 5321 section 4.2: the domain comes first; section 3.1: the word ESMTP invites EHLO."""
        text = self.config.value("smtpgreeting")
        if not text:
            return f"{self.me} ESMTP qpsmtpd {VERSION} ready; send us your mail, but not your spam."
        return text if re.search(r"\bESMTP\b", text) else f"{text} ESMTP"

    def _help_text(self) -> str:
        product = "This is qpsmtpd" + ("" if self.config.value("smtpgreeting") else f" {VERSION}")
        return f"{product}\nSee RFC 5321 for the commands\nHELP is answered by plugins, if there are any"
