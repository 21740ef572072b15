"""The one timer of a connection."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.alarm import Alarm


class AlarmTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.alarm = Alarm(self.clock)
        self.rung: list[float] = []

    def ring(self) -> None:
        self.rung.append(self.clock.seconds())

    def test_replaced(self) -> None:
        """A new time replaces the old one."""
        self.alarm.set(5, self.ring)
        self.alarm.set(9, self.ring)
        self.clock.pump([5, 4, 9])
        self.assertEqual([9], self.rung)

    def test_sooner(self) -> None:
        """A new time may be sooner, and no timer is brought forward: the reactor looks for it among all."""
        self.alarm.set(9, self.ring)
        [late] = self.clock.getDelayedCalls()
        self.alarm.set(5, self.ring)
        [soon] = self.clock.getDelayedCalls()
        self.assertIsNot(late, soon)
        self.clock.pump([5, 4])
        self.assertEqual([5], self.rung)

    def test_stopped(self) -> None:
        """Once or twice, with or without a timer."""
        self.alarm.stop()
        self.alarm.set(5, self.ring)
        self.alarm.stop()
        self.alarm.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_watch(self) -> None:
        """It rings when no time is left, having looked again when time was gained meanwhile."""
        self.end = 10.0
        self.alarm.watch(lambda: self.end - self.clock.seconds(), self.ring, 100)
        self.clock.advance(6)
        self.end = 13.0
        self.clock.pump([4, 3])
        self.assertEqual([13], self.rung)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_longest(self) -> None:
        """It looks again in time to see that less is left than it was."""
        self.end = 100.0
        self.alarm.watch(lambda: self.end - self.clock.seconds(), self.ring, 10)
        self.end = 15.0
        self.clock.pump([10, 5])
        self.assertEqual([15], self.rung)
