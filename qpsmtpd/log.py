"""Log events with fields, heard by the plugins of config/logging; knows no session.

An event's rendering is the line that upstream's log tools parse: ``NUMBER (hook) plugin: text``, where
NUMBER is the connection's, or the process id for lines that belong to none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from twisted.logger import Logger as TwistedLogger
from twisted.logger import LogLevel

from .smtp.reply import Replies, Reply

if TYPE_CHECKING:
    from .connection import Connection


class Level(IntEnum):
    """Levels of the log, the syslog ones; RADAR is upstream's other name for EMERG."""

    EMERG = 0
    ALERT = 1
    CRIT = 2
    ERROR = 3
    WARN = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7
    RADAR = 0

    @classmethod
    def parse(cls, text: str) -> Level:
        """Read one of `LEVELS`, with or without LOG before a name; ValueError, without a text, otherwise."""
        name = text.upper().removeprefix("LOG")
        if name in cls.__members__:
            return cls[name]
        if text.isascii() and text.isdigit() and int(text) <= cls.DEBUG:
            return cls(int(text))
        raise ValueError


LEVELS = f"0 to 7 or {', '.join(Level.__members__)}"
DEFAULT_LEVEL = Level.WARN

CALL: ContextVar[tuple[Connection | None, str] | None] = ContextVar("CALL", default=None)
"""The connection and hook that the running plugin was called for, so that its log lines can say so."""


class Event(NamedTuple):
    """One line of the log. ``hook`` and ``plugin`` are "" and ``connection`` None where there is none."""

    level: Level
    text: str
    hook: str
    plugin: str
    connection: Connection | None

    @property
    def number(self) -> int:
        """The connection's number, or the process id."""
        return self.connection.number if self.connection is not None else os.getpid()

    @property
    def origin(self) -> str:
        """The part of the line that says where it comes from: "(rcpt) badrcptto: "."""
        if self.plugin:
            return f"({self.hook}) {self.plugin}: " if self.hook else f"{self.plugin}: "
        return f"({self.hook}) running plugin: " if self.hook else ""

    def __str__(self) -> str:
        return f"{self.number} {self.origin}{self.text}"


Observer = Callable[[Event], None]

_TWISTED_LEVELS = {
    Level.EMERG: LogLevel.critical,
    Level.ALERT: LogLevel.critical,
    Level.CRIT: LogLevel.critical,
    Level.ERROR: LogLevel.error,
    Level.WARN: LogLevel.warn,
    Level.NOTICE: LogLevel.info,
    Level.INFO: LogLevel.info,
    Level.DEBUG: LogLevel.debug,
}


def to_twisted(event: Event) -> None:
    """Hand an event to Twisted's own log, where it goes as long as no logging plugin is loaded."""
    _twisted.emit(_TWISTED_LEVELS[event.level], "{line}", line=str(event), qpsmtpd_event=event)


# Looking up a member of an Enum costs as much as a hook.
_INFO = Level.INFO
_twisted = TwistedLogger(namespace="qpsmtpd")


class Log:
    """Hands events to the observers; what lies above ``threshold`` is not even built."""

    __slots__ = ("_emitting", "_observers", "threshold")

    def __init__(self, threshold: int = DEFAULT_LEVEL, *observers: Observer) -> None:
        self.threshold = threshold
        self._observers = observers or (to_twisted,)
        self._emitting = False

    def observe(self, threshold: int, *observers: Observer) -> None:
        """Replace the observers; none means Twisted's log."""
        self.threshold = threshold
        self._observers = observers or (to_twisted,)

    def emit(
        self,
        level: Level,
        text: str,
        *values: object,
        plugin: str = "",
        hook: str = "",
        connection: Connection | None = None,
    ) -> None:
        """Log a text, with values put in its %-places only if somebody listens."""
        if level > self.threshold or self._emitting:
            return
        rendered = text % values if values else text
        event = Event(level, _one_line(rendered), hook, plugin, connection)
        # What a logger logs while it logs is dropped; it would never end.
        self._emitting = True
        try:
            for observer in self._observers:
                self._show(observer, event)
        finally:
            self._emitting = False

    def show_reply(self, reply: Reply, connection: Connection) -> None:
        """Log a reply's lines as upstream's log tools know them: the enhanced status behind the text."""
        if isinstance(reply, Replies):
            for one in reply.said:
                self.show_reply(one, connection)
            return
        status = f" (#{reply.status})" if reply.status and reply.code >= 400 else ""
        last = len(reply.lines) - 1
        for index, line in enumerate(reply.lines):
            mark = "-" if index < last else " "
            self.emit(_INFO, "%d%s%s%s", reply.code, mark, line, status, connection=connection)

    def _show(self, observer: Observer, event: Event) -> None:
        try:
            observer(event)
        except Exception:
            # A logger that fails must not stop the mail, nor the loggers after it.
            _twisted.failure("a logging plugin failed")

    def scoped(self, plugin: str, loglevel: str = "") -> Logger:
        """Make the logger that a plugin is given."""
        return Logger(self, plugin, loglevel)


def _one_line(text: str) -> str:
    """Keep what a client sent from forging lines or moving the terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


class Logger:
    """A plugin's access to the log: knows its name and its ``loglevel`` argument.

    ``loglevel`` N logs everything at that level, +N and -N shift each line's level.
    """

    __slots__ = ("_fixed", "_log", "_plugin", "_shift")

    def __init__(self, log: Log, plugin: str, loglevel: str = "") -> None:
        self._log = log
        self._plugin = plugin
        relative = loglevel.startswith(("+", "-"))
        self._shift = int(loglevel) if relative else 0
        self._fixed = Level.parse(loglevel) if loglevel and not relative else None

    def log(self, level: int, text: str, *values: object, connection: Connection | None = None) -> None:
        """Log a line under the plugin's name, with the connection and hook it was called for."""
        if self._fixed is not None:
            level = self._fixed
        elif self._shift:
            level = min(max(level + self._shift, Level.EMERG), Level.DEBUG)
        if level > self._log.threshold:
            return
        called_for, hook = CALL.get() or (None, "")
        self._log.emit(
            level if type(level) is Level else Level(level),
            text,
            *values,
            plugin=self._plugin,
            hook=hook,
            connection=connection or called_for,
        )

    def debug(self, text: str, *values: object, connection: Connection | None = None) -> None:
        """Log what only a developer wants to read."""
        self.log(Level.DEBUG, text, *values, connection=connection)

    def info(self, text: str, *values: object, connection: Connection | None = None) -> None:
        """Log what happened to a message; begin with pass, fail, skip, error, positive or negative."""
        self.log(_INFO, text, *values, connection=connection)

    def notice(self, text: str, *values: object, connection: Connection | None = None) -> None:
        """Log what an administrator may want to know."""
        self.log(Level.NOTICE, text, *values, connection=connection)

    def warn(self, text: str, *values: object, connection: Connection | None = None) -> None:
        """Log what an administrator should look at."""
        self.log(Level.WARN, text, *values, connection=connection)

    def error(self, text: str, *values: object, connection: Connection | None = None) -> None:
        """Log a failure."""
        self.log(Level.ERROR, text, *values, connection=connection)
