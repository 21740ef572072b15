"""Every file of the configuration directory that the engine reads, in one table: form, default, meaning.

The files that plugins read are declared by the plugins, see `Plugin.files`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from .config import Config, ConfigError
from .kit.match import Compiled, Networks
from .kit.store import MAX_ENTRIES, StoreError
from .limits import Limits, read_value
from .loader import home_path
from .log import LEVELS, Level

MOST_WORKERS: Final = 128


@dataclass(frozen=True, slots=True)
class CoreFile:
    """One file: what its line or lines are, what holds without it, and what it is for.

    The type of ``default`` is that of the value: a number, seconds, a switch, words; a text is a free one.
    ``many`` lines count, or the first only.
    """

    unit: str
    default: Any
    help: str
    many: bool = False


MEMORY: Final = "memory"
STORE: Final = "store.sqlite"
"""The file beside the spool directory in which the store is by default."""

_OWN: Final = {
    "me": CoreFile("host name", "", "name of this server: greeting, Received; the system's if not given"),
    "me-auth-results": CoreFile(
        "host name or none",
        "",
        "name in Authentication-Results; me if not given; none adds and removes none",
        many=True,
    ),
    "plugins": CoreFile("plugin lines", "", "plugins in calling order, each with its arguments", many=True),
    "plugin_dirs": CoreFile(
        "directories, one a line",
        "",
        "where your own plugins are; searched before the shipped ones",
        many=True,
    ),
    "logging": CoreFile(
        "plugin lines", "", "plugins that write the log; Twisted's log if not given", many=True
    ),
    "loglevel": CoreFile("0 to 7 or a name", "WARN", "highest level in the log while no plugin writes it"),
    "smtpgreeting": CoreFile("text", "", "the greeting, without 220; it hides the version in HELP, too"),
    "spool_dir": CoreFile("directory", "spool", "for messages on their way in; ~ is the home directory"),
    "spool_perms": CoreFile("octal mode", "0700", "permissions of the spool directory"),
    "store": CoreFile(
        "sqlite, sqlite PATH or memory",
        "sqlite",
        "what plugins keep; in store.sqlite beside spool_dir if no PATH is given",
    ),
    "max_store_entries": CoreFile(
        "entries", MAX_ENTRIES, "entries of one plugin in the store; past it those that end first are dropped"
    ),
    "listen": CoreFile(
        "[ADDRESS:]PORT or Twisted endpoint, one a line",
        "127.0.0.1:2525",
        "where SMTP is spoken; starttls= and client= may follow",
        many=True,
    ),
    "smtps": CoreFile(
        "[ADDRESS:]PORT or Twisted endpoint, one a line",
        "",
        "where SMTP is spoken within TLS, mostly 465; client= may follow",
        many=True,
    ),
    "lmtp": CoreFile(
        "[ADDRESS:]PORT or Twisted endpoint, one a line",
        "",
        "where LMTP is spoken, mostly a UNIX socket; starttls= and client= may follow",
        many=True,
    ),
    "dns_servers": CoreFile(
        "ADDRESS[:PORT], one a line", "", "name servers; the system's if not given", many=True
    ),
    "max_connections": CoreFile("connections", 1000, "connections at once; 421 past it; 0 is no limit"),
    "max_from_ip": CoreFile(
        "connections", 0, "connections at once from one address; 421 past it; 0 is no limit"
    ),
    "workers": CoreFile(
        "processes or auto", "1", "processes that share the connections; auto is one for each CPU"
    ),
    "trusted_proxies": CoreFile(
        "addresses or networks, one a line",
        "",
        "who is believed about its clients: PROXY, XCLIENT, XFORWARD",
        many=True,
    ),
    "plugin_timeout": CoreFile("seconds", 30.0, "time that a plugin may take for one hook; 451 past it"),
    "shutdown_grace": CoreFile("seconds", 30.0, "time that messages may take to end when the server stops"),
    "tls_ciphers": CoreFile("OpenSSL cipher list", "", "ciphers for TLS 1.2"),
    "tls_protocols": CoreFile("SSLv23, or one, or !VERSION", "", "which of TLSv1_2 and TLSv1_3 is offered"),
}

CORE_FILES: Final[Mapping[str, CoreFile]] = _OWN | {
    limit.name: CoreFile(
        limit.metadata["unit"], limit.default, limit.metadata["help"], many=type(limit.default) is tuple
    )
    for limit in fields(Limits)
}
"""Every such file by its name."""


def check_core_file(config: Config, name: str) -> None:
    """Read one of the files; ConfigError names the file and line of a value that is none."""
    read_value(config, name, CORE_FILES[name].default)
    if name in _READERS:
        _READERS[name](config)


def doubts(config: Config, workers: int) -> Iterator[ConfigError]:
    """Give what is no mistake, but hardly meant, with its place: for the start and for `qpsmtpd check`."""
    for name, file in CORE_FILES.items():
        with suppress(ConfigError):  # what cannot be read is an error, and not a doubt
            if not file.many and len(config.numbered(name)) > 1:
                yield config.error(name, "only the first line counts, not this one", 1)
    with suppress(ConfigError):
        if workers > 1 and config.value("store") == MEMORY:
            text = f"each of {workers} workers remembers for itself; one for all of them is sqlite"
            yield config.error("store", text, 0)


def read_loglevel(config: Config) -> Level:
    """Read the level of the log for a server without logging plugins."""
    text = config.value("loglevel", CORE_FILES["loglevel"].default)
    try:
        return Level.parse(text)
    except ValueError:
        raise config.error("loglevel", f"{text!r} is not a log level: {LEVELS}", 0) from None


def read_spool_mode(config: Config) -> int:
    """Read the permissions of the spool directory; the owner, who is the server, has all."""
    text = config.value("spool_perms", CORE_FILES["spool_perms"].default)
    if not re.fullmatch("0?7[0-7]{2}", text):
        raise config.error("spool_perms", f"{text!r} is not an octal mode from 0700 to 0777", 0)
    return int(text, 8)


def read_store(config: Config, spool: Path = Path("spool")) -> Path | None:
    """Read which file keeps what plugins know, None for none: the memory does."""
    kind, _, path = config.value("store", CORE_FILES["store"].default).partition(" ")
    if (kind, path) == (MEMORY, ""):
        return None
    if kind != "sqlite":
        text = config.value("store")
        raise config.error("store", f"{text!r} is no store; allowed are memory, sqlite, or sqlite PATH", 0)
    if not path:
        return spool.parent / STORE
    return home_path(path.strip(), config.numbered("store")[0])


def spool_trouble(config: Config, why: str) -> ConfigError:
    """Say in which file stands the spool directory that cannot be used."""
    return config.error(
        "spool_dir", f"{why}; allowed is a directory that this server may make, or write to", 0
    )


def store_trouble(config: Config, error: StoreError) -> ConfigError:
    """Say in which file stands the store that cannot be opened."""
    allowed = "allowed is a file that this server has made, or may make"
    return config.error("store", f"{error}; {allowed}", 0)


def read_workers(config: Config) -> int:
    """Read the number of processes that serve."""
    try:
        return worker_count(config.value("workers", CORE_FILES["workers"].default))
    except ValueError as error:
        raise config.error("workers", str(error), 0) from None


def worker_count(text: str) -> int:
    """Read a number of processes; ``auto`` is that of the CPUs that this one may use."""
    if text == "auto":
        return min(len(os.sched_getaffinity(0)), MOST_WORKERS) if hasattr(os, "sched_getaffinity") else 1
    if not re.fullmatch("[0-9]{1,3}", text) or not 0 < int(text) <= MOST_WORKERS:
        raise ValueError(f"{text!r} is not auto or a number from 1 to {MOST_WORKERS}")
    return int(text)


_READERS: Final[Mapping[str, Callable[[Config], object]]] = {
    "loglevel": read_loglevel,
    "spool_perms": read_spool_mode,
    "store": read_store,
    "trusted_proxies": lambda config: Compiled(config, "trusted_proxies", Networks).check(),
    "workers": read_workers,
}
