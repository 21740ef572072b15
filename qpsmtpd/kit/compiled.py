"""What a plugin makes of a list in the configuration, made anew only when the list has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Source(Protocol):
    """What `Compiled` asks of the configuration."""

    @property
    def report(self) -> Callable[[str], None] | None:
        """Who is told of what does not stop the server."""

    def lines(self, name: str) -> tuple[str, ...]:
        """Give the lines; the very same tuple while they are the same."""

    def error(self, name: str, message: str, position: int | None = None) -> Exception:
        """Make the error that names the file, and the line at `position`."""


class Compiled(Generic[T]):
    """A value made from the lines of one name.

    ``self.bad = Compiled(self.config, "badmailfrom", AddressPatterns)`` and ``self.bad.check()`` in
    `register`, ``self.bad()`` in a hook.

    `make` takes the lines and may raise ValueError, with its `position` if it knows the line; a value
    may have `remarks`, pairs of position and text, which are reported. What is wrong stops the start; once a
    value was good it stays in force, and the error is reported.
    """

    __slots__ = ("_config", "_lines", "_make", "_name", "_value")
    _value: T

    def __init__(self, config: Source, name: str, make: Callable[[tuple[str, ...]], T]) -> None:
        self._config = config
        self._name = name
        self._make = make
        self._lines: tuple[str, ...] | None = None

    def __call__(self) -> T:
        lines = self._config.lines(self._name)
        if lines is not self._lines:
            self._renew(lines, strict=self._lines is None)
        return self._value

    def check(self) -> None:
        """Make the value now; raises ConfigError with file and line."""
        self._renew(self._config.lines(self._name), strict=True)

    def _renew(self, lines: tuple[str, ...], *, strict: bool) -> None:
        try:
            self._value = self._make(lines)
        except ValueError as wrong:
            error = self._config.error(self._name, str(wrong), getattr(wrong, "position", None))
            if strict:
                raise error from None
            self._report(f"{error} (the list before stays in force)")
        else:
            for position, text in getattr(self._value, "remarks", ()):
                self._report(str(self._config.error(self._name, text, position)))
        self._lines = lines

    def _report(self, message: str) -> None:
        if self._config.report is not None:
            self._config.report(message)
