"""Key-value stores: what holds for every kind of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.store import MAX_KEY, MAX_VALUE, REPORT_INTERVAL, Entry, Store, Stores
from qpsmtpd.kit.storememory import MemoryStores
from qpsmtpd.kit.storesqlite import SQLiteStores
from qpsmtpd.testing.held import Held

MOST = 5


class Contract:
    """The promises of `Store`; a subclass makes the stores."""

    successResultOf: Callable[[Deferred[Any]], Any]
    failureResultOf: Callable[..., Any]
    assertEqual: Callable[..., None]
    assertRaises: Callable[..., Any]
    assertIsNone: Callable[..., None]
    mktemp: Callable[[], str]

    def stores(self, call: Callable[..., Deferred[Any]] = maybeDeferred) -> Stores:
        raise NotImplementedError

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.all = self.stores()
        self.store = self.all.of("one")

    def get(self, key: str, store: Store | None = None) -> Any:
        return self.successResultOf((store or self.store).get(key))

    def set(self, key: str, value: Any, lifetime: float = 100) -> None:
        self.successResultOf(self.store.set(key, value, lifetime=lifetime))

    def keys(self, **options: Any) -> list[str]:
        return [item.key for item in self.successResultOf(self.store.items(**options))]

    def test_values(self) -> None:
        """A value comes back as what it was; a key is any text."""
        for value in ("text é\udcff", 0, -5, 2**70, 1.5, True, [1, "x", None], {"a": [{}]}, ""):
            for key in ("", "k", "é€\udcff", "a\0b", "'; DROP TABLE entries; --", "x" * MAX_KEY):
                self.set(key, value)
                self.assertEqual(value, self.get(key))
        self.assertIsNone(self.get("unknown"))

    def test_bounds(self) -> None:
        """What is too long, or no JSON, is refused and changes nothing."""
        for key in ("x" * (MAX_KEY + 1), "é" * MAX_KEY):
            self.assertRaises(ValueError, self.store.get, key)
            self.assertRaises(ValueError, self.store.add, key, lifetime=1)
        self.set("k", "x" * (MAX_VALUE - 2))
        for value in (None, "x" * (MAX_VALUE - 1), ["x" * MAX_VALUE], float("nan")):
            self.assertRaises(ValueError, self.store.set, "k", value, lifetime=1)
            self.failureResultOf(self.store.update("k", lambda _, value=value: Entry(value, 1)), ValueError)
        self.assertRaises(TypeError, self.store.set, "k", object(), lifetime=1)
        self.assertEqual(MAX_VALUE - 2, len(self.get("k")))

    def test_ends(self) -> None:
        """A value is absent from the moment at which it ends; a new one lives from now on."""
        self.set("k", 1, 10)
        self.clock.advance(9)
        self.set("k", 2, 10)
        self.clock.advance(9.75)
        self.assertEqual((2, ["k"]), (self.get("k"), self.keys()))
        self.clock.advance(0.25)
        self.assertEqual((None, []), (self.get("k"), self.keys()))
        seen: list[Any] = []
        self.successResultOf(self.store.update("k", seen.append))
        self.assertEqual([None], seen)
        self.assertEqual(1, self.successResultOf(self.store.add("k", lifetime=5)))

    def test_no_lifetime(self) -> None:
        """A value that has ended before it begins is a deletion."""
        for lifetime in (0, -1):
            self.set("k", 1)
            self.set("k", 2, lifetime)
            self.assertIsNone(self.get("k"))
        self.assertEqual(0, self.successResultOf(self.store.purge()))

    def test_add(self) -> None:
        """A number grows and shrinks; its end stays what it was at first."""
        for number, expected in [(1, 1), (1, 2), (-5, -3), (0, -3), (2**70, 2**70 - 3)]:
            self.assertEqual(expected, self.successResultOf(self.store.add("n", number, lifetime=10)))
            self.clock.advance(1)
        self.clock.advance(5)
        self.assertEqual(1, self.successResultOf(self.store.add("n", lifetime=10)))

    def test_add_to_what_is_no_number(self) -> None:
        for value in ("1", 1.5, True, [1]):
            self.set("k", value)
            self.failureResultOf(self.store.add("k", lifetime=1), ValueError)
            self.assertEqual(value, self.get("k"))

    def test_update(self) -> None:
        """The function sees what is there and says what shall be there."""
        append = self.store.update("k", lambda old: Entry([*(old or []), len(old or [])], 10))
        self.assertEqual([0], self.successResultOf(append))
        again = self.store.update("k", lambda old: Entry([*old, "x"], 20))
        self.assertEqual([0, "x"], self.successResultOf(again))
        self.clock.advance(15)
        self.assertEqual([0, "x"], self.get("k"))
        self.assertIsNone(self.successResultOf(self.store.update("k", lambda _: None)))
        self.assertIsNone(self.get("k"))

    def test_update_fails(self) -> None:
        """An error of the function is the caller's, and nothing is changed."""
        self.set("k", 1)
        self.failureResultOf(self.store.update("k", lambda old: Entry(old / 0, 1)), ZeroDivisionError)
        self.assertEqual(1, self.get("k"))

    def test_delete(self) -> None:
        self.set("k", 1)
        for _ in range(2):
            self.successResultOf(self.store.delete("k"))
            self.assertIsNone(self.get("k"))

    def test_spaces(self) -> None:
        """Plugins see nothing of each other, and the same name is the same space."""
        self.set("k", 1)
        other = self.all.of("two")
        self.successResultOf(other.set("k", 2, lifetime=50))
        self.successResultOf(other.delete("x"))
        self.assertEqual((1, 2, 1), (self.get("k"), self.get("k", other), self.get("k", self.all.of("one"))))
        self.clock.advance(60)
        self.assertEqual((0, 1), tuple(self.successResultOf(s.purge()) for s in (self.store, other)))

    def test_items(self) -> None:
        """Page by page, in the order of keys, without what has ended."""
        for key, lifetime in [("c", 30), ("a", 30), ("é", 30), ("b", 5), ("ab", 5)]:
            self.set(key, key.upper(), lifetime)
        self.clock.advance(10)
        self.assertEqual(["a", "c", "é"], self.keys())
        self.assertEqual(
            (["a", "c"], ["é"], []), (self.keys(limit=2), self.keys(after="c"), self.keys(after="é"))
        )
        (item,) = self.successResultOf(self.store.items(after="ab", limit=1))
        self.assertEqual(("c", "C", 20), item)

    def test_purge(self) -> None:
        for number in range(4):
            self.set(str(number), 1, 10 * (number + 1))
        self.clock.advance(20)
        self.assertEqual(2, self.successResultOf(self.store.purge()))
        self.assertEqual(0, self.successResultOf(self.store.purge()))
        self.assertEqual(["2", "3"], self.keys())

    def test_new_entries_remove_old_ones(self) -> None:
        """Entries that come and go need no more room than those that live at once."""
        for number in range(20):
            self.set(str(number), 1, 1)
            self.clock.advance(1)
        self.assertEqual(1, self.successResultOf(self.store.purge()))

    def test_renewed(self) -> None:
        """An entry that was given more time is not removed when the first is over."""
        self.set("k", 1, 10)
        self.set("k", 2, 100)
        self.clock.advance(20)
        self.set("new", 1)
        self.assertEqual((2, 0), (self.get("k"), self.successResultOf(self.store.purge())))

    def test_full(self) -> None:
        """Past the limit those that end first make room, those that have ended before all others."""
        reports: list[str] = []
        self.all.report = reports.append
        for number in range(MOST):
            self.set(str(number), 1, 100 - number)
        self.set("0", 2)
        self.assertEqual([], reports)
        self.set("new", 1, 1)  # it is spared, although it would be the first
        self.assertEqual(["0", "1", "2", "3", "new"], self.keys())
        self.set("newer", 1)
        self.assertEqual(["0", "1", "2", "3", "newer"], self.keys())
        self.clock.advance(99)
        self.set("newest", 1)
        self.assertEqual(["0", "newer", "newest"], self.keys())
        self.assertEqual(["the store of one is full: what would end first is dropped"], reports)

    def test_full_is_reported_now_and_then(self) -> None:
        reports: list[str] = []
        self.all.report = reports.append
        for number in range(3 * MOST):
            self.set(str(number), 1, 2 * REPORT_INTERVAL)
        self.clock.advance(REPORT_INTERVAL)
        self.set("x", 1)
        self.assertEqual(2, len(reports))

    def test_other_spaces_have_room(self) -> None:
        for number in range(2 * MOST):
            self.set(str(number), 1)
        other = self.all.of("two")
        for number in range(MOST):
            self.successResultOf(other.set(str(number), 1, lifetime=1))
        self.assertEqual(MOST, len(self.successResultOf(other.items())))
        self.assertEqual(MOST, len(self.keys()))

    def test_often_renewed(self) -> None:
        """An entry that is written again and again stays one, and ends when the last one does."""
        for number in range(500):
            self.set("k", number, 1000 - number)
        self.set("l", 1, 600)
        self.clock.advance(501)
        self.assertEqual(["l"], self.keys())
        self.assertEqual(1, self.successResultOf(self.store.purge()))

    def test_taken_into_use(self) -> None:
        self.assertEqual((False, True), (self.stores().in_use, self.all.in_use))

    def test_nobody_waits_any_more(self) -> None:
        """Who gives up is not answered, and the others are."""
        held = Held()
        store = self.stores(held).of("one")
        held.on = True
        first, second = store.add("n", lifetime=10), store.add("n", lifetime=10)
        third = store.add("n", lifetime=10)
        for asked in (first, second):
            asked.addErrback(lambda _: "cancelled").cancel()
        while held.release():
            pass
        self.assertEqual("cancelled", self.successResultOf(first))
        held.on = False
        self.assertEqual(self.successResultOf(third), self.successResultOf(store.get("n")))


class MemoryTests(Contract, SynchronousTestCase):
    def stores(self, call: Callable[..., Deferred[Any]] = maybeDeferred) -> Stores:
        return MemoryStores(self.clock.seconds, MOST, call=call)


class SQLiteTests(Contract, SynchronousTestCase):
    def stores(self, call: Callable[..., Deferred[Any]] = maybeDeferred) -> Stores:
        return SQLiteStores(Path(self.mktemp()), self.clock.seconds, call, MOST)

    def tearDown(self) -> None:
        self.successResultOf(self.all.close())
