"""Doubts about files: who reads each, and what cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path

from ..building import Built
from ..config import Config, ConfigError, Line
from ..configfile import INCLUDE, Reading, stamp
from ..corefiles import CORE_FILES
from ..loader import declared
from ..setting import SettingError
from .finding import Findings

IGNORED = re.compile(r"\..*|.*~|README.*")


def check(findings: Findings, built: Built) -> None:
    """Read every file that somebody reads, and name those that nobody does."""
    names = {*CORE_FILES, *_declared(built)}
    read = {path for name in names if _is_plain(name) for path in _read(findings, built.config, name)}
    for path in sorted(read):
        _check_includes(findings, built.config, path)
    directory = built.config.directories[0]
    unknown = [path for path in _files(findings, directory) if not _is_known(path.name, names)]
    unknown = [path for path in unknown if path not in read and path.name not in _words(built.config)]
    if unknown:
        _name_unread(findings, unknown, names, _readers(built))


def _declared(built: Built) -> Iterator[str]:
    """Give the files of the plugins that are loaded, or would be if they could."""
    for plugin in built.registry.plugins:
        for base in type(plugin).__mro__:
            yield from vars(base).get("files", ())
    for line in built.failed:
        with suppress(ConfigError, SettingError):
            path = built.loader.find(line.text.split()[0])
            yield from declared(path, "files") if path else ()


def _is_plain(name: str) -> bool:
    return not re.search(r"[*?\[/]", name)


def _is_known(name: str, names: set[str]) -> bool:
    # The text from which a constant database is made stands beside it.
    plain = name.removesuffix(".cdb")
    return any(fnmatchcase(plain, known.removesuffix(".cdb")) for known in names)


def _read(findings: Findings, config: Config, name: str) -> list[Path]:
    """Read a file with all that it includes; give what was looked at and is there."""
    reading = Reading(config.directories)
    try:
        if name.endswith(".cdb"):
            reading.database(name.removesuffix(".cdb"))
        else:
            reading.lines(name)
    except ConfigError as error:
        findings.add_exception(error)
    return [path for path, seen in reading.stamps.items() if seen is not None]


def _check_includes(findings: Findings, config: Config, path: Path) -> None:
    """Name what a file includes and what is not there; the server passes it over."""
    with suppress(OSError):  # then it was not readable, which is known by now
        for number, text in enumerate(path.read_text("utf-8", "replace").split("\n"), 1):
            include = INCLUDE.fullmatch(text.strip())
            with suppress(ConfigError):
                if include and Reading(config.directories).find(include[1], or_directory=True) is None:
                    findings.warn(f"{include[1]}: there is no such file to include", Line(text, path, number))


def _files(findings: Findings, directory: Path) -> Iterator[Path]:
    """Give the files of the directory that somebody should read."""
    try:
        for path in sorted(directory.iterdir()):
            if path.is_symlink() and stamp(path) is None:
                findings.warn("this link leads nowhere", path)
            elif not IGNORED.fullmatch(path.name) and not path.is_dir():
                yield path
    except OSError as error:
        findings.add_exception(error)


def _words(config: Config) -> set[str]:
    """Give the file names that plugin lines mention."""
    found: set[str] = set()
    for name in ("plugins", "logging"):
        with suppress(ConfigError):
            found.update(*(re.split(r"[\s\"'/=:,]+", text) for text in config.lines(name)))
    return found


def _readers(built: Built) -> Mapping[str, str]:
    """Give each file that some plugin reads, loaded or not, with that plugin's name."""
    with suppress(ConfigError):
        return {
            name: plugin
            for plugin, path in built.loader.available().items()
            for name in declared(path, "files")
        }
    return {}


def _name_unread(findings: Findings, paths: list[Path], names: set[str], readers: Mapping[str, str]) -> None:
    for path in paths:
        readers_here = [plugin for name, plugin in readers.items() if _is_known(path.name, {name})]
        if not readers_here:
            close = get_close_matches(path.name, sorted(names | set(readers)), 1, 0.75)
            findings.warn("nothing reads this file" + (f"; did you mean {close[0]}?" if close else ""), path)
        elif _has_lines(path):
            findings.warn(f"only the plugin {readers_here[0]} reads this file, and it is not loaded", path)


def _has_lines(path: Path) -> bool:
    try:
        return path.suffix == ".cdb" or bool(Reading((path.parent,)).lines(path.name))
    except ConfigError:
        return True
