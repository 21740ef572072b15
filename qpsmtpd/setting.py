"""Settings of plugins: declared on the class, read from the words of a line in config/plugins.

Upstream's plugins take their arguments in two ways, and a plugin may mix them: by position
(``queue/maildir /var/mail``) and as a keyword with a value (``earlytalker wait 2``). A flag needs no value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from .log import LEVELS, Level
from .outcome import REJECT_TYPES, Policy

T = TypeVar("T")

_TRUE = {"1", "yes", "on", "true"}
_FALSE = {"0", "no", "off", "false"}


class SettingError(Exception):
    """An argument that no setting of the plugin allows; the text says what is allowed."""


class Setting(Generic[T]):
    """One setting: how its word is read, its default and unit, and how it is written on the line.

    ``position`` makes it positional (in the order of declaration), ``required`` demands it, ``rest`` takes
    all words that are left, ``many`` lets it be repeated (the value is a tuple), ``flag`` needs no value.
    ``keyword`` is its spelling on the line where that is no Python name. As a class attribute it is itself;
    on an instance it is the value.
    """

    def __init__(
        self,
        read: Callable[[str], Any],
        default: T,
        *,
        allowed: str,
        help: str = "",
        unit: str = "",
        keyword: str = "",
        position: bool = False,
        required: bool = False,
        rest: bool = False,
        many: bool = False,
        flag: bool = False,
    ) -> None:
        self.read = read
        self.default = default
        self.allowed = allowed
        self.help = help
        self.unit = unit
        self.keyword = keyword
        self.position = position
        self.required = required
        self.rest = rest
        self.many = many
        self.flag = flag
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.keyword = self.keyword or name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Setting[T] | T:
        # Not a data descriptor: a value set on the instance is found before we are asked.
        return self if instance is None else self.default

    def parse(self, word: str) -> Any:
        """Read one word; SettingError tells what is allowed."""
        try:
            return self.read(word)
        except (ValueError, re.error) as error:
            unit = f" ({self.unit})" if self.unit else ""
            reason = f": {error}" if str(error) else ""
            raise SettingError(f"{self.keyword}{unit}: {word!r} is not {self.allowed}{reason}") from None

    # The constructors that plugins use; each takes the options of the class.

    @staticmethod
    def text(
        default: str = "", *, pattern: str = "", allowed: str = "a word", **options: Any
    ) -> Setting[str]:
        """Declare a text, restricted to a regular expression if one is given."""

        def read(word: str) -> str:
            if pattern and not re.fullmatch(pattern, word):
                raise ValueError
            return word

        return Setting(read, default, allowed=allowed, **options)

    @staticmethod
    def integer(
        default: int = 0, *, minimum: int = 0, maximum: int | None = None, **options: Any
    ) -> Setting[int]:
        """Declare a whole number within bounds."""
        bounds = f"a whole number of at least {minimum}"
        if maximum is not None:
            bounds += f" and at most {maximum}"

        def read(word: str) -> int:
            if not re.fullmatch(r"-?[0-9]+", word):
                raise ValueError
            number = int(word)
            if number < minimum or (maximum is not None and number > maximum):
                raise ValueError
            return number

        return Setting(read, default, allowed=bounds, **options)

    @staticmethod
    def seconds(default: float = 0, *, minimum: float = 0, **options: Any) -> Setting[float]:
        """Declare a time in seconds; fractions are allowed."""

        def read(word: str) -> float:
            if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", word) or not minimum <= float(word) < math.inf:
                raise ValueError
            return float(word)

        options.setdefault("unit", "seconds")
        return Setting(read, default, allowed=f"a number of at least {minimum:g}", **options)

    @staticmethod
    def switch(default: bool = False, **options: Any) -> Setting[bool]:
        """Declare something that is on or off; the keyword alone switches it on."""
        return Setting(_read_switch, default, allowed="0 or 1", flag=True, **options)

    @staticmethod
    def choice(default: str, choices: Sequence[str], **options: Any) -> Setting[str]:
        """Declare one of some words; case does not matter."""

        def read(word: str) -> str:
            if word.lower() not in choices:
                raise ValueError
            return word.lower()

        return Setting(read, default, allowed="one of " + ", ".join(choices), **options)

    @staticmethod
    def words(default: Sequence[str] = (), **options: Any) -> Setting[tuple[str, ...]]:
        """Declare a list of words, separated by commas."""

        def read(word: str) -> tuple[str, ...]:
            return tuple(part for part in word.split(",") if part)

        return Setting(read, tuple(default), allowed="words separated by commas", **options)

    @staticmethod
    def path(default: str = "", **options: Any) -> Setting[Path]:
        """Declare a file or directory."""
        return Setting(Path, Path(default), allowed="a path", **options)

    @staticmethod
    def level(default: int = Level.WARN, **options: Any) -> Setting[int]:
        """Declare a level of the log."""
        return Setting(Level.parse, default, allowed=f"a log level: {LEVELS}", **options)

    @staticmethod
    def reject(default: bool = True, **options: Any) -> Setting[Policy]:
        """Declare whether a failure rejects: 1, only marks the client as naughty, or is tolerated: 0."""
        options.setdefault("help", "1 rejects, 0 only logs, naughty leaves it to the naughty plugin")
        policy = Policy.REJECT if default else Policy.TOLERATE
        return Setting(_read_policy, policy, allowed="0, 1 or naughty", **options)

    @staticmethod
    def reject_type(default: str = "", **options: Any) -> Setting[str]:
        """Declare the verdict of a rejection."""
        options.setdefault("help", "the kind of rejection; the plugin's own if not given")
        return Setting.choice(default, tuple(REJECT_TYPES), **options)


def _read_switch(word: str) -> bool:
    if word.lower() in _TRUE:
        return True
    if word.lower() in _FALSE:
        return False
    raise ValueError


def _read_policy(word: str) -> Policy:
    if word == "naughty":
        return Policy.NAUGHTY
    # To upstream every other word is true; "connect" is the one that its manuals name.
    return Policy.REJECT if word == "connect" or _read_switch(word) else Policy.TOLERATE


def settings_of(owner: type) -> dict[str, Setting[Any]]:
    """Give a class's settings by attribute name, those of its bases first."""
    found: dict[str, Setting[Any]] = {}
    for base in reversed(owner.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Setting):
                found.pop(name, None)
                found[name] = value
            elif name in found:
                del found[name]
    return found


def split_words(text: str) -> list[str]:
    """Split a line at white space; double quotes keep a word with blanks together."""
    return [quoted[1:-1] if quoted else word for quoted, word in re.findall(r'("[^"]*")(?=\s|$)|(\S+)', text)]


def read_arguments(owner: type, words: Sequence[str]) -> dict[str, Any]:
    """Read the words behind a plugin's name as the values of its settings, by attribute name.

    Raises SettingError for an unknown, malformed, repeated or missing argument.
    """
    settings = settings_of(owner)
    keywords = {setting.keyword: setting for setting in settings.values() if not setting.position}
    positional = [setting for setting in settings.values() if setting.position]
    values: dict[str, Any] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if (setting := keywords.get(word)) is not None:
            value = _keyword_value(setting, left, keywords, bool(positional))
        elif positional:
            setting = positional[0] if positional[0].many else positional.pop(0)
            if setting.rest:
                word = " ".join([word, *left])
                left.clear()
            value = setting.parse(word)
        else:
            raise SettingError(f"unknown argument {word!r}; {describe(settings)}")
        _store(values, setting, value)
    missing = [s.keyword for s in settings.values() if s.required and s.name not in values]
    if missing:
        raise SettingError(f"missing argument {', '.join(missing)}; {describe(settings)}")
    return values


def _keyword_value(
    setting: Setting[Any], left: list[str], keywords: dict[str, Setting[Any]], others: bool
) -> Any:
    """Read the word behind a keyword; one behind a flag may be meant for ``others``, by their position."""
    if setting.flag and (
        not left or left[0] in keywords or (others and left[0].lower() not in _TRUE | _FALSE)
    ):
        return True
    if not left:
        raise SettingError(f"{setting.keyword} needs a value: {setting.allowed}")
    return setting.parse(left.pop(0))


def _store(values: dict[str, Any], setting: Setting[Any], value: Any) -> None:
    if setting.many:
        values[setting.name] = (*values.get(setting.name, ()), value)
    elif setting.name in values:
        raise SettingError(f"{setting.keyword} is given twice")
    else:
        values[setting.name] = value


def describe(settings: dict[str, Setting[Any]]) -> str:
    """Say what may stand on the plugin's line."""
    words = []
    for setting in settings.values():
        shown = setting.keyword.upper() if setting.position else setting.keyword
        words.append(shown if setting.required else f"[{shown}]")
    return "allowed are " + " ".join(words)
