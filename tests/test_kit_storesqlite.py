"""Stores of SQLite: what reaches the thread, and when."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit import storesqlite
from qpsmtpd.kit.store import StoreError
from qpsmtpd.kit.storesqlite import SQLiteStores
from qpsmtpd.testing.held import Held


class QueueTests(SynchronousTestCase):
    """Operations wait in one queue for one thread."""

    def setUp(self) -> None:
        self.thread = Held()
        self.thread.on = True
        self.path = Path(self.mktemp()).absolute()
        self.all = SQLiteStores(self.path, Clock().seconds, self.thread)
        self.store = self.all.of("one")

    def tearDown(self) -> None:
        self.thread.on = False
        while self.thread.release():
            pass
        self.successResultOf(self.all.close())

    def add(self) -> Deferred[Any]:
        return self.store.add("n", lifetime=10)

    def test_one_thread(self) -> None:
        """What comes while the thread works is its next work, all at once."""
        asked = [self.add() for _ in range(5)]
        self.assertEqual(1, len(self.thread.waiting))
        self.thread.release()
        self.assertEqual(1, self.successResultOf(asked[0]))
        self.assertEqual(1, len(self.thread.waiting))
        self.thread.release()
        self.assertEqual([2, 3, 4, 5], [self.successResultOf(one) for one in asked[1:]])
        self.assertEqual([], self.thread.waiting)

    def test_batch(self) -> None:
        """No batch is larger than others can wait for."""
        self.patch(storesqlite, "MAX_BATCH", 2)
        asked = [self.add() for _ in range(5)]
        works = 0
        while self.thread.release():
            works += 1
        self.assertEqual((3, [1, 2, 3, 4, 5]), (works, [self.successResultOf(one) for one in asked]))

    def test_answer_asks_again(self) -> None:
        """Who is answered may ask at once, and is served in turn."""
        sums: list[int] = []
        self.add().addCallback(lambda _: self.add()).addCallback(sums.append)
        while self.thread.release():
            pass
        self.assertEqual([2], sums)

    def test_given_up_in_the_queue(self) -> None:
        """What nobody waits for any more is not done."""
        first, second, third = self.add(), self.add(), self.add()
        second.addErrback(lambda _: None).cancel()
        while self.thread.release():
            pass
        self.assertEqual((1, 2), (self.successResultOf(first), self.successResultOf(third)))

    def test_failure(self) -> None:
        """Each who waits is told of a broken database, by an error of its own; a better one serves again."""
        self.path.write_bytes(b"rubbish" * 1000)
        first, *others = [self.add() for _ in range(3)]
        while self.thread.release():
            pass
        errors = [self.failureResultOf(one, StoreError).value for one in (first, *others)]
        self.assertEqual({f"store {self.path}: file is not a database"}, set(map(str, errors)))
        self.assertEqual(3, len(set(map(id, errors))))
        self.path.unlink()
        again = self.add()
        self.thread.release()
        self.assertEqual(1, self.successResultOf(again))

    def test_close(self) -> None:
        """What was asked for before is done before."""
        asked = [self.add() for _ in range(3)]
        closed = self.all.close()
        self.assertNoResult(closed)
        while self.thread.release():
            pass
        self.successResultOf(closed)
        self.assertEqual([1, 2, 3], [self.successResultOf(one) for one in asked])
        self.assertEqual([self.path], list(self.path.parent.glob(f"{self.path.name}*")))

    def test_unused(self) -> None:
        """A server whose plugins keep nothing makes no file, not even to close it."""
        path = Path(self.mktemp())
        unused = SQLiteStores(path, Clock().seconds, self.thread)
        unused.open()
        self.successResultOf(unused.close())
        self.assertFalse(path.exists())
