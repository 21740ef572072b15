"""Several lookups under one time limit."""

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.deadline import TIMED_OUT, Deadline
from qpsmtpd.kit.dns import Answer, Status
from qpsmtpd.waiting import start

FOUND = Answer(Status.FOUND, ("192.0.2.1",))
NONE = Answer(Status.NONE)


class DeadlineTests(SynchronousTestCase):
    """Deadline."""

    def setUp(self):
        self.clock = Clock()
        self.deadline = Deadline(self.clock, 5)

    def ask(self, *lookups):
        return ensureDeferred(self.deadline.answers(*lookups))

    def test_answers_in_order(self):
        """Answers come in the order of the questions, and leave no timer."""
        late = Deferred()
        asked = self.ask(late, succeed(NONE))
        late.callback(FOUND)
        self.assertEqual([FOUND, NONE], self.successResultOf(asked))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_nothing_asked(self):
        """No lookups have no answers."""
        self.assertEqual([], self.successResultOf(self.ask()))

    def test_open_lookups_fail(self):
        """What is open at the end is cancelled and has failed; what came before is kept."""
        cancelled = []
        asked = self.ask(succeed(FOUND), Deferred(cancelled.append))
        self.clock.advance(4.9)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        self.assertEqual([FOUND, TIMED_OUT], self.successResultOf(asked))
        self.assertEqual(1, len(cancelled))
        self.assertTrue(TIMED_OUT.failed)

    def test_rounds_share_the_time(self):
        """A second round has what the first one left, maybe nothing."""
        self.clock.advance(4)
        second = self.ask(Deferred())
        self.clock.advance(1)
        self.assertEqual([TIMED_OUT], self.successResultOf(second))
        self.clock.advance(10)
        third = self.ask(Deferred())
        self.clock.advance(0)
        self.assertEqual([TIMED_OUT], self.successResultOf(third))

    def test_known_answers_need_no_time(self):
        """An answer from the cache counts even behind the end."""
        self.clock.advance(6)
        self.assertEqual(FOUND, self.successResultOf(ensureDeferred(self.deadline.answer(succeed(FOUND)))))

    def test_known_answers_need_no_deferred(self):
        """If all answers are known nothing waits, not even for a moment."""
        self.assertEqual([FOUND, NONE], start(self.deadline.answers(succeed(FOUND), succeed(NONE))))
        for lookups in ([succeed(FOUND), Deferred()], [succeed(FOUND).addCallback(lambda _: Deferred())]):
            self.assertNoResult(start(self.deadline.answers(*lookups)))

    def test_cancelled(self):
        """A hook that is given up takes its lookups along."""
        lookups = [Deferred(), Deferred()]
        asked = self.ask(*lookups)
        asked.cancel()
        self.failureResultOf(asked).value.subFailure.trap(CancelledError)
        self.assertTrue(all(lookup.called for lookup in lookups))
        self.assertEqual([], self.clock.getDelayedCalls())
