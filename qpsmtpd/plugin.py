"""The plugin author's base class, and what every plugin is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .connection import Connection
from .hooks import HOOKS, METHODS
from .kit.store import Store, Stores
from .kit.storememory import MemoryStores
from .log import LEVELS, Level, Log
from .outcome import REJECT_TYPES, Code, Outcome, Policy, Rejection
from .setting import Setting, SettingError
from .transaction import Transaction

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from .config import Config
    from .kit.dns import Lookup
    from .tlsfiles import TLSFiles

ON_ERROR = ("tempfail", "continue", "reject", "disconnect")
"""What becomes of a command when a plugin fails: 451, as if DECLINED, 554, or 421 and the end."""


@dataclass(slots=True)
class Services:
    """What the server gives to its plugins; one for all of them.

    ``reactor`` is for plugins that connect or spawn; tests give a Clock. ``spool`` is the directory for
    temporary files. ``tls`` is set by the plugin that knows the certificate. ``run_in_thread`` runs a
    function that blocks and gives a Deferred of its result. ``store`` is of memory until it is replaced.
    """

    config: Config
    log: Log
    dns: Lookup
    reactor: Any
    run_in_thread: Callable[..., Deferred[Any]]
    spool: Path = Path("spool")
    tls: TLSFiles | None = None
    store: Stores = field(init=False)

    def __post_init__(self) -> None:
        self.store = MemoryStores(self.reactor.seconds)


def _read_loglevel(word: str) -> str:
    if not re.fullmatch("[+-][0-9]", word):
        Level.parse(word)
    return word


class Plugin:
    """A plugin: settings as class attributes, hooks as methods ``hook_NAME``.

    A hook method takes any of the arguments that `qpsmtpd.hooks` names for its hook, by name, and returns
    None (no opinion), an outcome, a Reply, `self.rejection(...)`, or a Deferred or coroutine of one of
    these. One instance serves all connections: it holds settings and caches, never one session's state.
    """

    reject: Setting[Any] = Setting.reject(default=True)  # Policy, unless a plugin means something else
    reject_type = Setting.reject_type()
    loglevel = Setting(
        _read_loglevel, "", allowed=f"a log level: {LEVELS}, +N or -N", help="log at this level, or shift it"
    )
    on_error = Setting.choice("tempfail", ON_ERROR, help="what becomes of the command when this plugin fails")
    hook_timeout = Setting.seconds(0, help="time limit of its hooks; 0 is the setting plugin_timeout")
    shadow = Setting.switch(help="run it and journal what it would have answered, but ignore that")

    requires: ClassVar[Mapping[str, str]] = {}
    """Modules outside the base installation, each with the extra that brings it: {"redis": "redis"}."""

    files: ClassVar[Mapping[str, str]] = {}
    """Configuration files it reads, each with the form of its lines: {"badrcptto": "address or @domain"}.

    A constant database by its full name: "rcpthosts.cdb". Written out, not computed: `qpsmtpd check` reads it
    from plugins that are not loaded, too, so as to know a file's reader from a misspelled name.
    """

    takes_binary: ClassVar[bool] = True
    """False of a plugin that needs lines and cannot do with a body in which a CR or LF stands alone.

    With one such plugin BINARYMIME (RFC 3030) is not offered, and senders convert what is binary.
    """

    honours: frozenset[str] = frozenset()
    """Of a plugin that hooks ``queue``: extensions that it keeps for the messages that it takes.

    DSN, REQUIRETLS, MT-PRIORITY, DELIVERBY, FUTURERELEASE: what the parameters of ``transaction`` and its
    recipients ask for. They are offered to clients while all queue plugins name them; an instance may change
    its own as it learns what it can do.
    """

    threshold: int = Level.DEBUG
    """Of a plugin that hooks ``logging``: the highest level that it wants to see."""

    def __init__(self, services: Services, name: str = "", **settings: Any) -> None:
        self.name = name or type(self).__name__
        self.services = services
        self.config = services.config
        self.dns = services.dns
        self.clock: IReactorTime = services.reactor
        self.run_in_thread = services.run_in_thread
        for attribute, value in settings.items():
            setattr(self, attribute, value)
        self.log_name = mangle(self.name)
        self.log = services.log.scoped(self.log_name, self.loglevel)
        self.registrations: list[tuple[str, Callable[..., Any], bool]] = [
            (hook.name, getattr(self, method), False)
            for method, hook in METHODS.items()
            if callable(getattr(self, method, None))
        ]

    @cached_property
    def store(self) -> Store:
        """What this plugin keeps for all connections and processes, beyond the end of the server.

        Take it in `register`: then a store that cannot be opened stops the start, and so does a second plugin
        of the same name, which would share it. ``name:1`` has one of its own.
        """
        return self.services.store.of(self.name)

    @property
    def keeps(self) -> bool:
        """Tell whether it has taken its store."""
        return "store" in vars(self)

    def register(self) -> None:
        """Check settings, read files, register further hooks; called once, after all settings are set.

        Raise SettingError or ConfigError to stop the start with a clear line.
        """

    def reload(self) -> None:
        """Do what SIGHUP asks for: reopen files, drop caches. The arguments stay."""

    def register_hook(self, hook: str, method: Callable[..., Any], *, first: bool = False) -> None:
        """Register a method for a hook beside those named ``hook_*``; ``first`` puts it before all others."""
        if hook not in HOOKS:
            raise SettingError(f"Invalid hook: {hook}; hooks are {', '.join(HOOKS)}")
        self.registrations.append((hook, method, first))

    def rejection(self, outcome: Outcome, log: str = "") -> Rejection:
        """Reject, as far as the arguments ``reject`` and ``reject_type`` want it.

        The registry logs ``fail`` with the log text, and tolerates, defers or answers.
        """
        return Rejection(outcome, Policy(self.reject), self.reject_type, log or outcome.text)

    def is_immune(self, connection: Connection, transaction: Transaction | None = None) -> bool:
        """Tell whether this client or sender is exempt from filters: it relays or is whitelisted."""
        if connection.relay_client:
            reason = "relay client"
        elif connection.notes.get("whitelisthost"):
            reason = "whitelisted host"
        elif transaction is not None and transaction.notes.get("whitelistsender"):
            reason = "whitelisted sender"
        else:
            return False
        self.log.info("skip, %s", reason, connection=connection)
        return True

    def is_naughty(self, connection: Connection) -> bool:
        """Tell whether a plugin has already left this client to the naughty plugin."""
        if connection.naughty:
            self.log.info("skip, naughty", connection=connection)
        return bool(connection.naughty)

    def adjust_karma(self, connection: Connection, points: int) -> None:
        """Raise or lower the client's karma."""
        connection.karma += points
        self.log.info("karma %d (%d)", points, connection.karma, connection=connection)

    def add_auth_result(self, transaction: Transaction, clause: str) -> None:
        """Add a clause to the message's Authentication-Results (RFC 8601): ``spf=pass smtp.mailfrom=...``."""
        transaction.auth_results.append(clause)


GIVEN = frozenset(
    {"name", "log_name", "log", "services", "config", "dns", "clock", "run_in_thread", "registrations"}
    | {
        name
        for name, value in vars(Plugin).items()
        if callable(value) or isinstance(value, property | cached_property)
    }
)
"""What every plugin has: no setting can be called so."""


def mangle(name: str) -> str:
    """Give the name that upstream's log tools know a plugin by: ``queue/a-b`` is ``queue::a_2db``."""
    parts = []
    for index, part in enumerate(part for part in name.split("/") if part):
        escaped = "".join(c if c.isascii() and (c.isalnum() or c == "_") else f"_{ord(c):02x}" for c in part)
        if index and escaped[0].isdigit():
            escaped = f"_{ord(escaped[0]):02x}{escaped[1:]}"
        parts.append(escaped)
    return "::".join(parts)


def verdict_of(rejection: Rejection) -> Outcome:
    """Give the outcome of a rejection that is neither tolerated nor deferred."""
    outcome = rejection.outcome
    code = REJECT_TYPES.get(rejection.reject_type, outcome.code)
    if code is outcome.code or not outcome.status:
        return Outcome(code, outcome.text, outcome.status)
    digit = "4" if Code(code).soft else "5"
    return Outcome(code, outcome.text, digit + outcome.status[1:])
