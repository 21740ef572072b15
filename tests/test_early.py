"""Input before its time."""

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.early import EarlyInput
from qpsmtpd.smtp.receiver import Receiver


class EarlyInputTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.receiver = Receiver()
        self.early = EarlyInput(self.clock, self.receiver)

    def tearDown(self) -> None:
        self.assertEqual([], self.clock.getDelayedCalls())
        self.early.arrived()

    def test_unread(self) -> None:
        """What was sent before counts."""
        self.receiver.feed(b"EHLO")
        self.assertTrue(self.successResultOf(self.early.wait(5)))

    def test_arrives(self) -> None:
        """All who wait learn of it."""
        waiting = [self.early.wait(5), self.early.wait(7)]
        self.early.arrived()
        self.assertEqual([True, True], [self.successResultOf(one) for one in waiting])

    def test_silence(self) -> None:
        """Each waits for its own time."""
        first, second = self.early.wait(5), self.early.wait(7)
        self.clock.advance(5)
        self.assertFalse(self.successResultOf(first))
        self.early.arrived()
        self.assertTrue(self.successResultOf(second))

    def test_cancelled(self) -> None:
        waiting = self.early.wait(5)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
