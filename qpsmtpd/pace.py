"""How long a client may take, and how slowly it may send. Knows no transport.

Only a whole command or a piece of a message is progress, so that nobody lives on an octet now and then. Time
that the client spends waiting for us is never held against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .smtp.reply import Next, Reply

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from .session import Session

RATE_WINDOW: Final = 300.0
"""Seconds over which the data rate is averaged.

RFC 5321 section 4.5.3.2.7: five minutes are the least that a server should wait, so a client may be silent
for nearly as long, if it makes up for it.
"""

CLOSE_GRACE: Final = 30.0
"""Seconds that a client has to take the last reply and close, before it is cut off."""

HANDSHAKE_TIMEOUT: Final = 60.0
"""Seconds that a TLS handshake may take."""

TIMED_OUT: Final = Reply(421, "Connection Timed Out", "4.4.2", Next.CLOSE)
TOO_SLOW: Final = Reply(421, "the message comes too slowly, closing the connection", "4.4.2", Next.CLOSE)


class Pace:
    """The time of one session's client.

    ``octets`` counts what came; ``moved`` is set when a command, or a piece of a message, was whole;
    ``active`` is when we began to wait, in seconds of the clock; ``verdict`` is why the client must go when
    no time is left.
    """

    __slots__ = ("_began", "_clock", "_session", "_stopped", "active", "moved", "octets", "verdict")

    def __init__(self, clock: IReactorTime, session: Session) -> None:
        self._clock = clock
        self._session = session
        self.active = clock.seconds()
        self._began = self.active
        self._stopped: float | None = None
        self.octets = 0
        self.moved = False
        self.verdict = TIMED_OUT

    def progress(self) -> None:
        """Begin to wait anew."""
        self.active = self._clock.seconds()

    def measure(self) -> None:
        """Begin to measure the rate: a message, or a chunk of one, comes now."""
        self._began = self._clock.seconds()
        if self._stopped is not None:
            self._stopped = self._began
        self.octets = 0

    def stop(self) -> None:
        """Stop the client's clock: it waits for us."""
        self._stopped = self._clock.seconds()

    def go(self) -> None:
        """Let the client's clock go on; what it said was heard."""
        if self._stopped is not None:
            self._began += self._clock.seconds() - self._stopped
            self._stopped = None
        if self.moved:
            self.moved = False
            self.progress()

    @property
    def longest(self) -> float:
        """Seconds after which ``left`` must be asked again, whatever it said."""
        limits = self._session.limits
        longest = min(limits.timeout, limits.command_timeout, limits.first_timeout)
        return min(longest, RATE_WINDOW) if limits.min_data_rate else longest

    def left(self) -> float:
        """Give the seconds that the client still has; with none ``verdict`` says what was wrong."""
        session, now = self._session, self._clock.seconds()
        left = self.active + self._limit() - now
        within_data = session.message is not None and not session.transaction.chunked
        if left > 0 and session.limits.min_data_rate and (within_data or session.chunk is not None):
            return min(left, self._rate_left(now))
        return left

    def _limit(self) -> float:
        limits = self._session.limits
        if self._session.message is not None:
            return limits.timeout
        return limits.command_timeout if self._session.budget.commands else limits.first_timeout

    def _rate_left(self, now: float) -> float:
        elapsed = now - self._began
        if elapsed < RATE_WINDOW:
            return RATE_WINDOW - elapsed
        if self.octets < self._session.limits.min_data_rate * elapsed:
            self.verdict = TOO_SLOW
            return 0.0
        self.measure()
        return RATE_WINDOW
