"""What `qpsmtpd check` finds: a mistake or a doubt, with its place. Knows no rule by which it is found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..config import Config, ConfigError, Line

PLACE = re.compile(r"(\S+?)(?::([0-9]+))?: (.+)", re.DOTALL)


class Finding(NamedTuple):
    """One line of the report; ``line`` 0 means the file as a whole. They sort by place."""

    file: Path
    line: int
    text: str
    is_error: bool = True

    def __str__(self) -> str:
        place = f"{shown(self.file)}:{self.line}" if self.line else shown(self.file)
        text = f"{place}: {'error' if self.is_error else 'warning'}: {self.text}"
        # A file may hold anything, also what moves the terminal's cursor.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(path: Path) -> str:
    """Give a path as a user would type it: relative, if it is below the working directory."""
    try:
        here = Path.cwd()
        return str(path.relative_to(here) if here.name else path)
    except (OSError, ValueError):
        return str(path)


class Findings:
    """A set of findings about one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._all: set[Finding] = set()

    def add(self, text: str, at: Line | Path | str, *, is_error: bool = True) -> None:
        """Note what is wrong at a line, with a file, or with a setting, whether its file exists or not."""
        if isinstance(at, str):
            at = self.file_of(at) or self._config.directories[0] / at
        place = (at.file, at.number) if isinstance(at, Line) else (at, 0)
        self._all.add(Finding(*place, text, is_error))

    def warn(self, text: str, at: Line | Path | str) -> None:
        """Note what may be wrong."""
        self.add(text, at, is_error=False)

    def add_exception(self, error: Exception, *, is_error: bool = True) -> None:
        """Note an error that knows its place, or has it at the beginning of its text."""
        if isinstance(error, ConfigError) and error.file is not None:
            self._all.add(Finding(error.file, error.line or 0, error.message, is_error))
        elif isinstance(error, OSError) and error.filename:
            self.add(error.strerror or str(error), Path(str(error.filename)))
        else:
            self.add_located(str(error), self._config.directories[0])

    def add_located(self, text: str, otherwise: Line | Path, *, is_error: bool = True) -> None:
        """Note a text that may begin with its place, ``FILE:LINE: text`` or ``SETTING: text``."""
        match = PLACE.fullmatch(text)
        file = self.file_of(match[1]) or (Path(match[1]) if "/" in match[1] else None) if match else None
        if match is None or file is None:
            self.add(text, otherwise, is_error=is_error)
        else:
            self._all.add(Finding(file, int(match[2] or 0), match[3], is_error))

    def file_of(self, name: str) -> Path | None:
        """Find the file of a setting."""
        try:
            return self._config.find(name)
        except ConfigError as error:
            return error.file

    def sorted(self) -> list[Finding]:
        """Give all in the order of files and lines."""
        return sorted(self._all)


def summary(findings: Iterable[Finding]) -> str:
    """Count them: ``2 errors, 1 warning``."""
    kinds = [finding.is_error for finding in findings]
    return f"{_count(sum(kinds), 'error')}, {_count(len(kinds) - sum(kinds), 'warning')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
