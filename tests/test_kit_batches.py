"""What waits at the same time is worked on together, one batch after the other."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.batches import Batches


class BatchesTests(SynchronousTestCase):
    """At most three letters at a time."""

    def setUp(self) -> None:
        self.threads: list[tuple[list[str], Deferred[Any]]] = []
        self.batches: Batches[str] = Batches(self.run_in_thread, lambda _: None, 3)

    def run_in_thread(self, work: Any, batch: list[str]) -> Deferred[Any]:
        """Take work that the test ends."""
        done: Deferred[Any] = Deferred()
        self.threads.append((batch, done))
        return done

    def end(self) -> str:
        """End what a thread does; give the batch."""
        batch, done = self.threads.pop(0)
        done.callback(None)
        return "".join(batch)

    def test_together(self) -> None:
        """What comes while a thread works is the next batch, in the order in which it came."""
        done = [self.batches.add(letter) for letter in "abcdefg"]
        self.assertEqual(["a", "bcd", "efg"], [self.end() for _ in range(3)])
        self.assertEqual([None] * 7, [self.successResultOf(one) for one in done])
        self.assertEqual([], self.threads)

    def test_told_in_time(self) -> None:
        """Whose batch is over is told, and the others wait; the thread is at work again by then."""
        one, other = self.batches.add("a"), self.batches.add("b")
        at_work: list[int] = []
        one.addCallback(lambda _: at_work.append(len(self.threads)))
        self.end()
        self.assertEqual([1], at_work)
        self.assertNoResult(other)

    def test_again(self) -> None:
        """After a pause it begins anew."""
        for letter in "ab":
            done = self.batches.add(letter)
            self.assertEqual(letter, self.end())
            self.successResultOf(done)

    def test_failure(self) -> None:
        """Work that fails has failed for its batch, not for the next one."""
        done = [self.batches.add(letter) for letter in "abc"]
        self.end()
        self.threads.pop(0)[1].errback(ValueError())
        self.successResultOf(done[0])
        for one in done[1:]:
            self.failureResultOf(one, ValueError)
        later = self.batches.add("d")
        self.assertEqual("d", self.end())
        self.successResultOf(later)

    def test_no_thread(self) -> None:
        """A batch for which there is no thread has failed; the next ones have theirs."""
        first = self.batches.add("a")
        waiting = [self.batches.add(letter) for letter in "bcdef"]
        run, self.batches.run_in_thread = self.batches.run_in_thread, self.no_thread
        self.end()
        self.successResultOf(first)
        for one in [*waiting, self.batches.add("g")]:
            self.failureResultOf(one, RuntimeError)
        self.batches.run_in_thread = run
        later = self.batches.add("h")
        self.assertEqual("h", self.end())
        self.successResultOf(later)

    def no_thread(self, work: Any, batch: list[str]) -> Deferred[Any]:
        raise RuntimeError("can't start new thread")

    def test_cancelled(self) -> None:
        """Who waits no more disturbs nobody."""
        one, other = self.batches.add("a"), self.batches.add("b")
        for done in (one, other):
            done.cancel()
            self.failureResultOf(done, CancelledError)
        self.assertEqual(["a", "b"], [self.end(), self.end()])
        self.assertEqual([], self.threads)
