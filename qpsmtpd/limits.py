"""Every limit and switch of the engine: its configuration file, unit, default and meaning, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from .config import Config
from .smtp.parameters import PROMISES


def _limit(default: Any, unit: str, help: str) -> Any:
    return field(default=default, metadata={"unit": unit, "help": help})


@dataclass(frozen=True, slots=True)
class Limits:
    """The engine's settings as they were when a connection began; each field is a file of that name."""

    databytes: int = _limit(0, "octets", "largest message; 0 is no limit; announced as SIZE")
    size_threshold: int = _limit(262144, "octets", "messages larger than this go to a spool file")
    max_recipients: int = _limit(1000, "recipients", "recipients of one message; 452 past it")
    max_messages: int = _limit(0, "messages", "MAIL commands in a session; 421 past it; 0 is no limit")
    max_bad_recipients: int = _limit(
        100, "recipients", "RCPT refused with 5yz in a session; 421 past it; 0 is no limit"
    )
    max_commands: int = _limit(100_000, "commands", "commands in a session; 421 past it; 0 is no limit")
    max_errors: int = _limit(20, "errors", "bad commands in a session; 421 past it")
    error_delay: float = _limit(0.0, "seconds", "wait before answering a bad command or a refused RCPT")
    max_auth_failures: int = _limit(5, "attempts", "failed AUTH attempts in a session; 421 past it")
    max_header: int = _limit(262144, "octets", "the header of a message in all")
    max_command: int = _limit(4096, "octets", "a command line with its line end")
    max_auth_line: int = _limit(12288, "octets", "a line of an AUTH exchange")
    timeout: float = _limit(1200.0, "seconds", "waiting for the client, within DATA too")
    timeoutsmtpd: float = _limit(0.0, "seconds", "waiting for a command; 0 is the setting timeout")
    greeting_timeout: float = _limit(
        300.0, "seconds", "waiting for the first command, if that is less; 0: as for each"
    )
    min_data_rate: int = _limit(
        10, "octets/second", "average of five minutes of a message, waiting for us not counted; 0: any; 421"
    )
    bare_newline: str = _limit(
        "reject", "reject or normalize", "what becomes of a CR or LF that stands alone"
    )
    reverse_dns: bool = _limit(True, "0 or 1", "look up the client's name before the greeting")
    tls_before_auth: bool = _limit(False, "0 or 1", "offer AUTH only on an encrypted connection")
    scram_iterations: int = _limit(10000, "iterations", "what a guess at a password costs, for SCRAM")
    auth_mechanisms: tuple[str, ...] = _limit(
        ("PLAIN", "LOGIN"), "mechanisms", "AUTH mechanisms that may be offered, in this order"
    )
    extensions: tuple[str, ...] = _limit(
        (), "keywords", "extensions to offer if the queue plugin honours them: " + ", ".join(PROMISES[1:])
    )
    max_hold: int = _limit(604800, "seconds", "the longest time that FUTURERELEASE may ask for")

    @property
    def command_timeout(self) -> float:
        """Seconds to wait for a command."""
        return self.timeoutsmtpd or self.timeout

    @property
    def first_timeout(self) -> float:
        """Seconds to wait for the first command."""
        return min(self.greeting_timeout or self.command_timeout, self.command_timeout)


MINIMA = {"timeout": 1, "max_command": 512, "max_auth_line": 512, "max_header": 1000, "max_recipients": 1}
"""The least values with which mail can be received at all (RFC 5321 section 4.5.3.1)."""
MINIMA |= {"scram_iterations": 4096}  # RFC 7677 section 4

_CHOICES = {"bare_newline": ("reject", "normalize"), "extensions": PROMISES[1:]}


def read_limits(config: Config) -> Limits:
    """Read all limits; ConfigError names the file and line of the first value that is none."""
    return Limits(**{entry.name: read_value(config, entry.name, entry.default) for entry in fields(Limits)})


def read_value(config: Config, name: str, default: Any) -> Any:
    """Read one file as what its default is: number, seconds, switch, words, or one of some words.

    ConfigError names the file and line of a value that is none.
    """
    value = _READERS[type(default)](config, name, default)
    if name in MINIMA and value < MINIMA[name]:
        raise config.error(name, f"{value:g} is too little; allowed: {MINIMA[name]} or more", 0)
    return value


def _text(config: Config, name: str, default: str) -> str:
    value = config.value(name, default)
    allowed = _CHOICES.get(name)
    if allowed and value not in allowed:
        raise config.error(name, f"{value!r} is not one of {', '.join(allowed)}", 0)
    return value


def _words(config: Config, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    lines = [line.upper().split() for line in config.lines(name)]
    if allowed := _CHOICES.get(name):
        for position, words in enumerate(lines):
            if unknown := [word for word in words if word not in allowed]:
                raise config.error(name, f"{unknown[0]!r} is not one of {', '.join(allowed)}", position)
    return tuple(word for words in lines for word in words) if lines else default


_READERS: dict[type, Callable[[Config, str, Any], Any]] = {
    bool: lambda config, name, default: config.flag(name, default),
    int: lambda config, name, default: config.number(name, default),
    float: lambda config, name, default: config.seconds(name, default),
    str: _text,
    tuple: _words,
}
