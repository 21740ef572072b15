"""The one timer of a connection: what shall happen when the client does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Alarm:
    """Calls one thing at one time; a new one replaces the old one."""

    __slots__ = ("_clock", "_then", "_timer")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._then: Callable[[], Any] | None = None

    def set(self, seconds: float, then: Callable[[], Any]) -> None:
        """Call something after a time in seconds."""
        self._then = then
        timer = self._timer
        if timer is not None:
            if timer.getTime() <= self._clock.seconds() + seconds:
                timer.reset(seconds)
                return
            # To bring one forward Twisted looks through those of all connections.
            timer.cancel()
        self._timer = self._clock.callLater(seconds, self._ring)

    def _ring(self) -> None:
        then, self._then, self._timer = self._then, None, None
        assert then is not None
        then()

    def stop(self) -> None:
        """Call nothing."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._then = None

    def watch(self, left: Callable[[], float], over: Callable[[], Any], longest: float) -> None:
        """Call ``over`` as soon as ``left`` says that no time is left.

        It is asked again when that time is over, or the ``longest`` one: so nothing has to be done for each
        sign of life of the client.
        """
        seconds = left()
        if seconds > 0:
            self.set(min(seconds, longest), lambda: self.watch(left, over, longest))
        else:
            self.stop()
            over()
