"""The configuration directory: one file a setting, as qmail and qpsmtpd write them.

Answers by name from, in this order, the `config` hook, the values given at the start, the files, and the
built-in defaults. Knows no setting's meaning but those of the defaults, and no plugin.

A file is looked at again once a second at most, and read again when it, or anything it includes, or the place
where it could stand, has changed. What was good stays in force when an edit makes it unreadable or malformed:
a slip of the pen must not stop the mail.
"""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from .configfile import ConfigError, Line, Reading

__all__ = ["Config", "ConfigError", "Line", "config_directories"]

RECHECK = 1.0  # seconds between two looks at the same files

SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
FLAGS = {"0": False, "1": True, "no": False, "yes": True, "off": False, "on": True}

T = TypeVar("T")
_ABSENT: Any = object()


def config_directories(option: str | None, environ: Mapping[str, str]) -> list[Path]:
    """Tell where to look for files: ours, then qmail's.

    Absolute, because a daemon changes its directory. Raises ConfigError when the one asked for is not there.
    """
    asked = option or environ.get("QPSMTPD_CONFIG")
    here = Path("config").absolute()
    ours = Path(asked).absolute() if asked else here if here.is_dir() else Path("/etc/qpsmtpd")
    if asked and not ours.is_dir():
        raise ConfigError("no such configuration directory", ours)
    return [ours, Path(environ.get("QMAIL") or "/var/qmail").absolute() / "control"]


class _Lines:
    """The lines of one name, and what was made of them."""

    __slots__ = ("numbered", "parsed", "texts")

    def __init__(self, numbered: tuple[Line, ...], texts: tuple[str, ...]) -> None:
        self.numbered = numbered
        self.texts = texts
        self.parsed: dict[Callable[[str], Any] | str, Any] = {}


class _Kept(Generic[T]):
    """A value, the reading it came from, and when to look again."""

    __slots__ = ("due", "reading", "trouble", "value")

    def __init__(self, value: T, reading: Reading, due: float) -> None:
        self.value = value
        self.reading: Reading | None = reading
        self.due = due
        self.trouble = ""

    def forget(self) -> None:
        """Keep the value only until it can be read again."""
        self.reading, self.due, self.trouble = None, -math.inf, ""


class Config:
    """Settings by name.

    `values` are lines by name, final where given, even when empty; a lone string is one line. For `map`, give
    them as NAME.cdb, each line a key and its value.

    Every method raises ConfigError for what is unreadable or malformed and never was good. What was good
    before is kept, and the error goes to `report` once.
    """

    def __init__(
        self,
        directories: Sequence[Path] = (),
        values: Mapping[str, Sequence[str]] | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directories = tuple(directories)
        self.overlay: Callable[[str], Sequence[str] | None] | None = None
        """The `config` hook, asked first by name; an answer is final, even an empty one."""
        self.report: Callable[[str], None] | None = None
        """Told of errors that the server survives, in one line each."""
        self._now = now
        self._given = {
            name: _given(f"<given {name}>", _whole(lines)) for name, lines in (values or {}).items()
        }
        self._overlaid: dict[str, _Lines] = {}
        self._lines: dict[str, _Kept[_Lines]] = {}
        self._maps: dict[str, _Kept[Mapping[str, str]]] = {}
        self._good: dict[tuple[str, Callable[[str], Any]], Any] = {}

    def numbered(self, name: str) -> tuple[Line, ...]:
        """Give the lines with the place where each stands, for error messages."""
        return self._get(name).numbered

    def lines(self, name: str) -> tuple[str, ...]:
        """Give the lines; the very same tuple for as long as they are the same."""
        return self._get(name).texts

    def value(self, name: str, default: str = "") -> str:
        """Give the first line."""
        texts = self._get(name).texts
        return texts[0] if texts else default

    def number(self, name: str, default: int) -> int:
        """Give the first line as a whole number, not negative."""
        return self._first(name, default, _number)

    def seconds(self, name: str, default: float) -> float:
        """Give the first line as a time in seconds, fractions allowed, not negative."""
        return self._first(name, default, _seconds)

    def flag(self, name: str, default: bool) -> bool:
        """Give the first line as a switch: 0, no, off; 1, yes, on; in any case."""
        return self._first(name, default, _flag)

    def table(self, name: str) -> tuple[tuple[str, str], ...]:
        """Give each line as its first word and the rest, "" when there is none."""
        lines = self._get(name)
        rows: tuple[tuple[str, str], ...] | None = lines.parsed.get("table")
        if rows is None:
            rows = lines.parsed["table"] = tuple(map(_row, lines.texts))
        return rows

    def map(self, name: str) -> Mapping[str, str]:
        """Give the constant database NAME.cdb, an empty mapping when there is none.

        The hook is not asked: it answers in lines.
        """
        if f"{name}.cdb" in self._given:
            return dict(map(_row, self._given[f"{name}.cdb"].texts))
        kept = self._maps.get(name)
        if kept is not None and self._now() < kept.due:
            return kept.value
        return self._refresh(self._maps, name, Reading.database)

    def find(self, name: str) -> Path | None:
        """Find the file that is read where neither the hook nor a given value answers."""
        return Reading(self.directories).find(name)

    def forget(self) -> None:
        """Read everything again when it is next asked for, and report what is wrong again."""
        for lines in self._lines.values():
            lines.forget()
            lines.value.parsed.clear()
        for database in self._maps.values():
            database.forget()

    def error(self, name: str, message: str, position: int | None = None) -> ConfigError:
        """Make the error that is about the file, or about the line at that position of `lines`."""
        numbered = self.numbered(name)
        if not numbered:
            return ConfigError(message, self.find(name) or Path(*self.directories[:1], name))
        if position is None or position >= len(numbered):  # the file has become shorter since
            return ConfigError(message, numbered[0].file)
        return ConfigError(message, numbered[position].file, numbered[position].number)

    def _get(self, name: str) -> _Lines:
        if self.overlay is not None:
            answer = self._ask(self.overlay, name)
            if answer is not None:
                return answer
        kept = self._lines.get(name)
        if kept is not None and self._now() < kept.due:
            return kept.value
        if name in self._given:
            return self._given[name]
        return self._refresh(self._lines, name, self._read)

    def _ask(self, overlay: Callable[[str], Sequence[str] | None], name: str) -> _Lines | None:
        # A plugin that answers for the configuration reads some itself: it must not be asked by itself.
        self.overlay = None
        try:
            answer = overlay(name)
        finally:
            self.overlay = overlay
        if answer is None:
            return None
        texts = _whole(answer)
        known = self._overlaid.get(name)
        if known is None or not (known.texts is texts or known.texts == texts):
            known = self._overlaid[name] = _given(f"<config hook {name}>", texts)
        return known

    def _refresh(self, store: dict[str, _Kept[T]], name: str, load: Callable[[Reading, str], T]) -> T:
        kept = store.get(name)
        due = self._now() + RECHECK
        if kept is not None and kept.reading is not None and kept.reading.unchanged():
            kept.due = due
            return kept.value
        reading = Reading(self.directories)
        try:
            value = load(reading, name)
        except ConfigError as error:
            if kept is None:
                raise
            if kept.trouble != str(error):
                self._tell(error)
            kept.reading, kept.due, kept.trouble = reading, due, str(error)
            return kept.value
        store[name] = _Kept(value, reading, due)
        return value

    def _read(self, reading: Reading, name: str) -> _Lines:
        numbered = reading.lines(name) or _builtin(name)
        kept = self._lines.get(name)
        if kept is not None and kept.value.numbered == numbered:
            return kept.value
        texts = tuple(line.text for line in numbered)
        if kept is not None and kept.value.texts == texts:
            texts = kept.value.texts  # only a comment moved: what was compiled from these lines stays good
        return _Lines(numbered, texts)

    def _first(self, name: str, default: T, parse: Callable[[str], T]) -> T:
        lines = self._get(name)
        value: T
        try:
            value = lines.parsed[parse]
        except KeyError:
            value = lines.parsed[parse] = self._parse(name, lines.numbered, parse)
        return default if value is _ABSENT else value

    def _parse(self, name: str, numbered: tuple[Line, ...], parse: Callable[[str], T]) -> T:
        value: T = _ABSENT
        for line in numbered[:1]:
            try:
                value = parse(line.text)
            except ValueError as wrong:
                error = ConfigError(str(wrong), line.file, line.number)
                if (name, parse) not in self._good:
                    raise error from None
                self._tell(error)
                value = self._good[name, parse]
        self._good[name, parse] = value
        return value

    def _tell(self, error: ConfigError) -> None:
        if self.report is not None:
            self.report(f"{error} (the value before stays in force)")


def _whole(lines: Sequence[str]) -> tuple[str, ...]:
    # A string is a sequence of strings too, and its letters are never what was meant.
    return (lines,) if isinstance(lines, str) else tuple(lines)


def _given(place: str, texts: tuple[str, ...]) -> _Lines:
    return _Lines(tuple(Line(text, Path(place), n) for n, text in enumerate(texts, 1)), texts)


def _builtin(name: str) -> tuple[Line, ...]:
    if name == "me":
        host = socket.gethostname()
        return (Line(host if "." in host else socket.getfqdn(), Path("<built-in me>"), 1),)
    if name == "timeout":
        return (Line("1200", Path("<built-in timeout>"), 1),)
    return ()


def _row(text: str) -> tuple[str, str]:
    word, rest, *_ = *text.split(None, 1), "", ""
    return word, rest


def _number(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    raise ValueError(f"{text!r} is not a number; allowed: a whole number, 0 or more")


def _seconds(text: str) -> float:
    if SECONDS.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    raise ValueError(f"{text!r} is not a time; allowed: seconds, 0 or more, as 30 or 0.5")


def _flag(text: str) -> bool:
    try:
        return FLAGS[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is not a switch; allowed: {', '.join(FLAGS)}") from None
