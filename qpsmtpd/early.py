"""Input before its time: a plugin waits whether the client talks before it was spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from .smtp.receiver import Receiver


class EarlyInput:
    """Those who wait for input of one connection, which its receiver holds."""

    __slots__ = ("_clock", "_receiver", "_waiting")

    def __init__(self, clock: IReactorTime, receiver: Receiver) -> None:
        self._clock = clock
        self._receiver = receiver
        self._waiting: list[Deferred[bool]] = []

    def wait(self, seconds: float) -> Deferred[bool]:
        """Fire with True as soon as the client has sent something unread, else with False after a time."""
        early: Deferred[bool] = Deferred()
        if self._receiver.unread:
            early.callback(True)
            return early
        timer = self._clock.callLater(seconds, early.callback, False)

        def over(result: bool) -> bool:
            self._waiting.remove(early)
            if timer.active():
                timer.cancel()
            return result

        self._waiting.append(early)
        early.addBoth(over)
        return early

    def arrived(self) -> None:
        """Tell those who wait that the client has sent something."""
        for early in self._waiting[:]:
            if not early.called:
                early.callback(True)
