"""The syntax of a configuration file, its includes, and the constant database beside it.

Reads, and notes the stamp of all it looked at. Knows nothing of caching, defaults or hooks: see config.py.
"""

from __future__ import annotations

import os
import re
import stat
import time
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from struct import error as StructError  # noqa: N812 - a class, whatever its spelling
from typing import Any, NamedTuple

BLANKS = " \t\r\n\f\v"
INCLUDE = re.compile(r"\$include[ \t]+(\S+)")
CDB_ENTRY = 8  # octets of a position and a length: https://cr.yp.to/cdb/cdb.txt

# Clocks of file systems tick in milliseconds: a file as young as this may change again and keep its stamp.
SETTLED_NS = 100_000_000


class ConfigError(Exception):
    """What is wrong in the configuration, and where."""

    def __init__(self, message: str, file: Path | None = None, line: int | None = None) -> None:
        super().__init__(message, file, line)
        self.message = message
        self.file = file
        self.line = line

    def __str__(self) -> str:
        places = [str(place) for place in (self.file, self.line) if place is not None]
        return f"{':'.join(places)}: {self.message}" if places else self.message


class Line(NamedTuple):
    """One line that counts: trimmed, neither blank nor comment."""

    text: str
    file: Path
    number: int


class Stamp(NamedTuple):
    """What tells one version of a file from the next; ctime, because chmod moves nothing else."""

    mode: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    young: object  # unequal to everything, so that a young file is read again


def stamp(path: Path) -> Stamp | int | None:
    """Look at a file: its stamp, None when there is none, the error number when it cannot be seen."""
    try:
        seen = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: NUL in the name
        return None
    except OSError as error:
        return error.errno or -1
    young = object() if abs(time.time_ns() - seen.st_mtime_ns) < SETTLED_NS else None
    return Stamp(seen.st_mode, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, young)


class Reading:
    """One pass over a file and all that it includes."""

    __slots__ = ("_open", "directories", "stamps")

    def __init__(self, directories: Sequence[Path]) -> None:
        self.directories = directories
        self.stamps: dict[Path, Stamp | int | None] = {}
        self._open: list[Path] = []  # the way from the top to here

    def unchanged(self) -> bool:
        """Tell whether everything this reading looked at is as it was."""
        return all(stamp(path) == seen for path, seen in self.stamps.items())

    def find(self, name: str, *, or_directory: bool = False) -> Path | None:
        """Find the first directory's file of that name; an absolute name is taken as it is."""
        for directory in self.directories if not name.startswith("/") else (Path("/"),):
            path = directory / name
            mode = self._look(path)
            if stat.S_ISREG(mode) or (or_directory and stat.S_ISDIR(mode)):
                return path
        return None

    def lines(self, name: str) -> tuple[Line, ...]:
        """Read a file by name, nothing when there is none.

        Raises ConfigError for a file that cannot be read and for one that includes itself.
        """
        path = self.find(name)
        return tuple(self._lines(path)) if path is not None else ()

    def database(self, name: str) -> Mapping[str, str]:
        """Open NAME.cdb, an empty mapping when there is none; raises ConfigError as `lines` does."""
        path = self.find(f"{name}.cdb")
        return ConstantDatabase(path, self._octets(path)) if path is not None else {}

    def _look(self, path: Path) -> int:
        """Note the stamp and give the mode, 0 for what does not exist."""
        seen = self.stamps[path] = stamp(path)
        if isinstance(seen, int):
            raise ConfigError(f"cannot be read: {os.strerror(seen)}", path)
        return seen.mode if seen is not None else 0

    def _octets(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:  # removed since we looked
            return b""
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", path) from error

    def _lines(self, path: Path) -> Iterator[Line]:
        self._open.append(path)
        octets = self._octets(path)
        if octets.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
            raise ConfigError("this file is UTF-16; allowed: UTF-8 and ISO 8859-1", path)
        # Not splitlines: it takes form feeds and Unicode separators for line ends.
        for number, raw in enumerate(_text(octets).split("\n"), 1):
            text = raw.strip(BLANKS)
            if not text or text.startswith("#"):
                continue
            include = INCLUDE.fullmatch(text)
            if include is None:
                yield Line(text, path, number)
            else:
                yield from self._include(include[1], Line(text, path, number))
        self._open.pop()

    def _include(self, name: str, line: Line) -> Iterator[Line]:
        path = self.find(name, or_directory=True)
        if path is None:
            return
        for file in self._listing(path) if path.is_dir() else (path,):
            if file in self._open:
                way = " > ".join(step.name for step in (*self._open, file))
                raise ConfigError(f"this file includes itself: {way}", line.file, line.number)
            yield from self._lines(file)

    def _listing(self, directory: Path) -> list[Path]:
        """List the regular files of a directory in byte order, without the hidden ones."""
        try:
            files = sorted(directory.iterdir(), key=os.fsencode)
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", directory) from error
        return [file for file in files if file.name[0] != "." and stat.S_ISREG(self._look(file))]


def _text(octets: bytes) -> str:
    """Decode UTF-8; a file that is not UTF-8 was written in the days of ISO 8859-1."""
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        return octets.decode("iso-8859-1")


class ConstantDatabase(Mapping[str, str]):
    """A CDB file as a mapping of text.

    Held in memory and not mapped: a file that is overwritten in place would kill a process that maps it.
    """

    __slots__ = ("_reader",)

    def __init__(self, path: Path, octets: bytes) -> None:
        try:
            import cdblib
        except ImportError:
            raise ConfigError("reading it takes a package: pip install 'qpsmtpd[cdb]'", path) from None
        try:
            self._reader: Any = cdblib.Reader(octets)
            ends = [position + CDB_ENTRY * length for position, length in self._reader.index]
        except (OSError, StructError) as error:
            raise ConfigError("not a constant database (CDB), or a part of one", path) from error
        if max(ends) > len(octets):  # its tables stand last: a file half copied lacks them
            raise ConfigError("not a constant database (CDB), or a part of one", path)

    def __getitem__(self, key: str) -> str:
        value: bytes | None = self._reader.get(key.encode("utf-8", "surrogateescape"))
        if value is None:
            raise KeyError(key)
        return _text(value)

    def __iter__(self) -> Iterator[str]:
        return map(_text, self._reader.iterkeys())

    def __len__(self) -> int:
        return int(self._reader.length)
