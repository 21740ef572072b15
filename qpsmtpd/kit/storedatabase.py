"""A table in a file of SQLite that several processes use at once. Blocks; knows no Deferred and no plugin.

The journal is a write-ahead log: who reads waits for nobody, and a process that is killed in the middle of
a change leaves none of it. ``synchronous`` is NORMAL: what was written survives every end of a process;
when the machine itself loses power the last changes may be gone, but nothing is damaged. That spares an
fsync for each change, and what plugins keep here they can learn again. The log needs memory that processes
share: the file must not be on a network's file system.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any, Final

from twisted.python.failure import Failure

from .place import place_trouble, writing_trouble
from .store import Operation, Row, StoreError
from .storememory import SWEEP

PATIENCE: Final = 5.0
"""Seconds to wait for another process that writes."""

TRIM: Final = 1000
"""Rows that one change drops at most, when the limit was lowered."""

APPLICATION: Final = 0x7170736D
"""What marks a file as ours, "qpsm"."""

VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE entries (
    space TEXT NOT NULL, key BLOB NOT NULL, value TEXT NOT NULL, ends REAL NOT NULL, PRIMARY KEY (space, key)
) WITHOUT ROWID;
CREATE INDEX entries_by_end ON entries (space, ends);
CREATE TABLE spaces (space TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER entry_made AFTER INSERT ON entries BEGIN
    INSERT INTO spaces VALUES (NEW.space, 1) ON CONFLICT (space) DO UPDATE SET size = size + 1;
END;
CREATE TRIGGER entry_gone AFTER DELETE ON entries BEGIN
    UPDATE spaces SET size = size - 1 WHERE space = OLD.space;
END;
"""
"""Counting rows would take as long as there are many, so their number is kept beside them."""


class Database:
    """The file at a path, made when it is missing, opened when it is first used and when it was replaced.

    Not for two threads at once. Raises StoreError.
    """

    def __init__(self, path: Path, max_entries: int) -> None:
        self.path = path
        self.full: set[str] = set()
        self._max_entries = max_entries
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def check(self) -> None:
        """Look whether the file is whole and may be written to; takes a second for some million entries."""
        with self._errors():
            connection = self._connected()
            _check_whole(connection)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")

    def look(self) -> None:
        """Look for what would make `check` fail, and leave no trace, not even one of SQLite's files."""
        with self._errors():
            self._check_permissions()
            if not self._is_made():
                return
            place = f"{self.path.absolute().as_uri()}?immutable=1"
            with closing(sqlite3.connect(place, uri=True)) as connection:
                # A server that runs may be in the middle of a change.
                if not _is_new(connection) and not Path(f"{self.path}-wal").exists():
                    _check_whole(connection)

    def run(self, operations: Sequence[Operation], writes: bool) -> list[Any]:
        """Run operations in one transaction; give each one's result, or the Failure of one that raised.

        If the database fails none has happened.
        """
        with self._errors():
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            results = [self._attempt(operation) for operation in operations]
            connection.execute("COMMIT")
        return results

    def close(self) -> None:
        """Close the file; what was not committed is undone."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, space: str, key: bytes) -> Row | None:
        """Give a row."""
        found = self._execute("SELECT value, ends FROM entries WHERE space = ? AND key = ?", space, key)
        row = found.fetchone()
        return None if row is None else Row(*row)

    def put(self, space: str, key: bytes, row: Row, now: float) -> None:
        """Write a row; for a new one drop two that have ended, and the next to end if there are too many."""
        update = "UPDATE entries SET value = ?, ends = ? WHERE space = ? AND key = ?"
        if self._execute(update, row.text, row.ends, space, key).rowcount:
            return
        self._execute("INSERT INTO entries VALUES (?, ?, ?, ?)", space, key, row.text, row.ends)
        self._drop(space, key, now, SWEEP)
        (size,) = self._execute("SELECT size FROM spaces WHERE space = ?", space).fetchone()
        if size > self._max_entries:
            self._drop(space, key, float("inf"), min(size - self._max_entries, TRIM))
            self.full.add(space)

    def remove(self, space: str, key: bytes) -> None:
        """Remove a row if it is there."""
        self._execute("DELETE FROM entries WHERE space = ? AND key = ?", space, key)

    def rows(self, space: str, after: bytes, limit: int) -> list[tuple[bytes, Row]]:
        """Give rows in the order of their keys."""
        select = "SELECT key, value, ends FROM entries WHERE space = ? AND key > ? ORDER BY key LIMIT ?"
        found = self._execute(select, space, after, limit)
        return [(key, Row(text, ends)) for key, text, ends in found]

    def purge(self, space: str, now: float) -> int:
        """Remove all rows that have ended; give their number."""
        return self._execute("DELETE FROM entries WHERE space = ? AND ends <= ?", space, now).rowcount

    def _drop(self, space: str, but: bytes, now: float, limit: int) -> None:
        """Drop rows that end first, by a time, but for one key."""
        first = (
            "SELECT key FROM entries INDEXED BY entries_by_end"
            " WHERE space = ? AND ends <= ? AND key <> ? ORDER BY ends LIMIT ?"
        )
        for (key,) in self._execute(first, space, now, but, limit).fetchall():
            self.remove(space, key)

    def _execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        assert self._connection is not None
        return self._connection.execute(statement, values)

    def _attempt(self, operation: Operation) -> Any:
        """Run an operation; those write last, so one that raises has changed nothing."""
        try:
            return operation(self)
        except sqlite3.Error:
            raise
        except Exception:
            return Failure()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Tell what fails as a StoreError, and begin anew with the next call."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            reason = error.strerror if isinstance(error, OSError) else error
            raise StoreError(f"store {self.path}: {reason}") from error
        except BaseException:
            self.close()
            raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._file != _identity(self.path):
            self.close()  # the file was removed or put back; to go on with the old one would be for nobody
        if self._connection is None:
            self._check_permissions()
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self.path.parent):
                self._connection = self._open()
            self._file = _identity(self.path)
        return self._connection

    def _is_made(self) -> bool:
        """Tell whether the file is there; what is there must be one."""
        if os.path.lexists(self.path) and not self.path.is_file():
            raise sqlite3.DatabaseError("not a file")
        return self.path.exists()

    def _check_permissions(self) -> None:
        """Look at the file, and at the directory where it and SQLite's others are, or would be made."""
        trouble = place_trouble(self.path) or (writing_trouble(self.path) if self._is_made() else "")
        if trouble:
            raise sqlite3.DatabaseError(trouble)

    def _open(self) -> sqlite3.Connection:
        """Open the file, and make it if it is not there, while nobody else does."""
        if not self._is_made():
            # SQLite gives its other files the mode of this one, and drops the log of one that was removed.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _is_new(connection: sqlite3.Connection) -> bool:
    """Tell whether nothing is in a database yet; DatabaseError if it is none of ours."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not (application or objects):
        return True
    if application != APPLICATION:
        raise sqlite3.DatabaseError("a database of another program")
    if version != VERSION:
        raise sqlite3.DatabaseError(f"of version {version}, but this server knows version {VERSION}")
    return False


def _check_whole(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _prepare(connection: sqlite3.Connection) -> None:
    """Look whether it is a database of ours; one that has nothing in it becomes one."""
    if _is_new(connection):
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise sqlite3.DatabaseError("this file system cannot hold a write-ahead log")
        marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {marks} COMMIT;")
    connection.execute("PRAGMA synchronous = NORMAL")


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes from opening a file of this directory; a lock of a killed one is gone with it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                flock(descriptor, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)
