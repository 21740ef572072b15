"""The file of SQLite behind a store: made, shared, broken, locked, replaced."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit import storedatabase
from qpsmtpd.kit.store import Operation, Row, StoreError
from qpsmtpd.kit.storedatabase import Database

ROW = Row("1", 100.0)


def put(key: bytes, row: Row = ROW) -> Operation:
    return lambda table: table.put("s", key, row, 0)


def get(key: bytes) -> Operation:
    return lambda table: table.get("s", key)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(storedatabase, "PATIENCE", 0.0)
        self.path = Path(self.mktemp(), "deep", "store.sqlite").absolute()
        self.database = self.open()

    def open(self) -> Database:
        database = Database(self.path, 10)
        self.addCleanup(database.close)
        return database

    def run_one(self, operation: Operation, *, writes: bool = True, database: Database | None = None) -> Any:
        return (database or self.database).run([operation], writes)[0]

    def raw(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(self.path, isolation_level=None))

    def files(self) -> list[str]:
        return sorted(path.name for path in self.path.parent.iterdir())

    def fails(self, text: str, *others: Callable[[], object], database: Database | None = None) -> None:
        """Whatever is done fails, with the file's name and a text."""
        database = database or self.database
        for action in (*others, database.check, lambda: database.run([put(b"k")], True)):
            error = self.assertRaises(StoreError, action)
            self.assertIn(f"store {self.path}: ", str(error))
            self.assertIn(text, str(error))


class FileTests(Case):
    """The file comes and goes."""

    def test_made_when_it_is_used(self) -> None:
        """Nothing is there before; then all files are for nobody else to read, whatever the umask."""
        self.assertFalse(self.path.parent.exists())
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.run_one(put(b"k"))
        self.assertEqual(["store.sqlite", "store.sqlite-shm", "store.sqlite-wal"], self.files())
        self.assertEqual({0o600}, {path.stat().st_mode & 0o777 for path in self.path.parent.iterdir()})
        self.assertEqual(0o700, self.path.parent.stat().st_mode & 0o777)

    def test_looked_at(self) -> None:
        """Who only looks makes no file, be it missing, empty, in use or closed."""
        self.database.look()
        self.assertFalse(self.path.parent.exists())
        self.path.parent.mkdir(parents=True)
        self.path.touch()
        self.database.look()
        self.run_one(put(b"k"))
        files = self.files()
        self.open().look()
        self.assertEqual(files, self.files())
        self.database.close()
        self.open().look()
        self.assertEqual(["store.sqlite"], self.files())

    def test_kept(self) -> None:
        """What was written is there for others at once, and later; the last who closes tidies up."""
        self.run_one(put(b"k"))
        other = self.open()
        self.assertEqual(ROW, self.run_one(get(b"k"), writes=False, database=other))
        self.database.close()
        other.close()
        self.assertEqual(["store.sqlite"], self.files())
        self.assertEqual(ROW, self.run_one(get(b"k")))

    def test_removed(self) -> None:
        """A file that is removed while it is used is made anew, without what was in its log."""
        self.run_one(put(b"old"))
        self.path.unlink()
        self.assertIsNone(self.run_one(get(b"old"), writes=False))
        self.run_one(put(b"new"))
        self.database.check()
        self.assertEqual((ROW, None), tuple(self.database.run([get(b"new"), get(b"old")], False)))

    def test_removed_from_under_several(self) -> None:
        """All who use it go over to the new one, and none of them spoils the others'."""
        several = [self.database, self.open(), self.open()]
        self.database.run([put(b"old")], True)
        for one in several:
            one.check()
        self.path.unlink()
        for number, one in enumerate(several):
            one.run([put(b"%d" % number)], True)
        for one in several:
            one.check()
            (rows,) = one.run([lambda table: table.rows("s", b"", 9)], False)
            self.assertEqual([b"0", b"1", b"2"], [key for key, _ in rows])
            one.close()
        self.assertEqual(["store.sqlite"], self.files())

    def test_put_back(self) -> None:
        """So is one in whose place another was put."""
        self.run_one(put(b"k"))
        self.database.close()
        copy = self.path.read_bytes()
        self.run_one(put(b"l"))
        self.database.close()
        self.database.check()
        self.path.with_name("copy").write_bytes(copy)
        self.path.with_name("copy").rename(self.path)
        for ending in ("-wal", "-shm"):
            Path(f"{self.path}{ending}").unlink()
        self.assertEqual([ROW, None], self.database.run([get(b"k"), get(b"l")], False))

    def test_an_empty_file_becomes_a_database(self) -> None:
        """As after the death of a server that was about to make it."""
        self.path.parent.mkdir(parents=True)
        self.path.touch(0o600)
        self.run_one(put(b"k"))
        self.database.check()


class BrokenTests(Case):
    """What is no store is named, and left as it is."""

    def write(self, octets: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(octets)

    def fails(self, text: str, *others: Callable[[], object], database: Database | None = None) -> None:
        """Who only looks is told the same, and changes nothing."""
        before = sorted(self.path.parent.parent.rglob("*"))
        super().fails(text, self.database.look, *others, database=database)
        self.assertEqual(before, sorted(self.path.parent.parent.rglob("*")))

    def test_rubbish(self) -> None:
        self.write(b"rubbish" * 1000)
        self.fails("file is not a database")
        self.assertEqual(b"rubbish" * 1000, self.path.read_bytes())

    def test_damaged(self) -> None:
        """A page that was overwritten is found at the start."""
        for number in range(5):
            self.run_one(put(b"%d" % number, Row("x" * 3000, 9)))
        self.database.close()
        whole = self.path.read_bytes()
        self.write(whole[:-4096] + b"\xff" * 4096)
        for action in (self.database.look, self.database.check):
            error = self.assertRaises(StoreError, action)
            self.assertIn(f"store {self.path}: ", str(error))
        self.write(whole[: len(whole) // 2])
        self.fails("malformed")

    def test_of_somebody_else(self) -> None:
        self.path.parent.mkdir(parents=True)
        with self.raw() as connection:
            connection.execute("CREATE TABLE entries (x)")
        self.fails("a database of another program")

    def test_of_a_later_version(self) -> None:
        self.database.check()
        self.database.close()
        with self.raw() as connection:
            connection.execute("PRAGMA user_version = 2")
        self.fails("of version 2, but this server knows version 1")

    def test_no_file(self) -> None:
        self.path.mkdir(parents=True)
        self.fails("not a file")

    def test_no_directory(self) -> None:
        self.path.parent.parent.mkdir(parents=True)
        self.path.parent.touch()
        self.fails(f"{self.path.parent} is not a directory")

    def test_leads_nowhere(self) -> None:
        """A link to a file that is not there is not followed."""
        self.path.parent.mkdir(parents=True)
        self.path.symlink_to("missing")
        self.fails("a link that leads nowhere")

    def test_not_allowed(self) -> None:
        """Who may not write the file, or others beside it, is told which."""
        self.database.check()
        self.database.close()
        forbidden = self.path
        self.patch(os, "access", lambda path, *_, **__: path != forbidden)
        self.fails(f"{self.path} cannot be written by this user")
        forbidden = self.path.parent
        self.fails(f"{self.path.parent} cannot be written by this user")
        self.path.unlink()
        self.path.parent.rmdir()
        forbidden = self.path.parent.parent
        forbidden.mkdir(exist_ok=True)
        self.fails(f"{forbidden} cannot be written by this user")

    def test_repaired(self) -> None:
        """Nothing of a failure stays: the next call begins anew."""
        self.write(b"rubbish" * 1000)
        self.fails("file is not a database")
        self.path.unlink()
        self.run_one(put(b"k"))


class SharedTests(Case):
    """Several who use a file at once."""

    def test_locked(self) -> None:
        """Who writes for too long holds up writers and no readers."""
        self.run_one(put(b"k"))
        with self.raw() as other:
            other.execute("BEGIN IMMEDIATE")
            self.fails("database is locked")
            self.assertEqual(ROW, self.run_one(get(b"k"), writes=False))
        self.run_one(put(b"l"))

    def test_opening_is_locked(self) -> None:
        """Somebody else is about to open the file, and takes too long."""
        self.path.parent.mkdir(parents=True)
        descriptor = os.open(self.path.parent, os.O_RDONLY)
        flock(descriptor, LOCK_EX)
        self.fails("Resource temporarily unavailable")
        os.close(descriptor)
        self.database.check()

    def test_all_or_nothing(self) -> None:
        """If the database fails in the middle nothing was done, and all is well again afterwards."""
        self.run_one(put(b"k"))

        def fail(_: Any) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        error = self.assertRaises(StoreError, self.database.run, [put(b"a"), fail, put(b"b")], True)
        self.assertEqual(f"store {self.path}: disk I/O error", str(error))
        self.assertEqual([ROW, None, None], self.database.run([get(b"k"), get(b"a"), get(b"b")], False))

    def test_one_fails(self) -> None:
        """An operation that raises is the failure of nobody else."""
        results = self.database.run([put(b"a"), lambda _: 1 / 0, get(b"a")], True)
        self.assertIsInstance(results[1], Failure)
        self.assertEqual(ROW, results[2])

    def test_lowered_limit(self) -> None:
        """What is too much since the limit was lowered goes, a part at a time."""
        self.patch(storedatabase, "TRIM", 3)
        self.database.run([put(b"%d" % number, Row("1", 100 + number)) for number in range(10)], True)
        small = Database(self.path, 4)
        self.addCleanup(small.close)
        left = []
        for name in (b"a", b"b", b"c", b"d"):
            small.run([put(name, Row("1", 200))], True)
            left.append([key for key, _ in small.run([lambda table: table.rows("s", b"", 99)], False)[0]])
        self.assertEqual([8, 6, 4, 4], [len(keys) for keys in left])
        self.assertEqual([b"a", b"b", b"c", b"d"], left[-1])
