"""The process that started this one, as seen from here: it is told when we are ready, and tells us to end.

What is said is a line: ``ready PID``, ``failed WHY``, ``log EVENT``, ``taken``. What it says depends on what
we are; if the pipe ends, it has died.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.logger import LogEvent, eventAsJSON
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from .inheritance import ERRORS, FROM_PARENT, KEPT_ERRORS, TO_PARENT


@implementer(IPushProducer)
class Parent(LineOnlyReceiver):
    """The two pipes. Before `listen`, what is said is written at once."""

    delimiter = b"\n"
    transport: Any  # None, or the two pipes

    def __init__(self) -> None:
        self._said: Callable[[str], None] = lambda _: None
        self._died: Callable[[], None] = lambda: None
        self._full = False

    def listen(self, reactor: Any, said: Callable[[str], None], died: Callable[[], None]) -> None:
        """Call ``said`` with each line, and ``died`` at the end."""
        self._said, self._died = said, died
        pipes: Any = StandardIO
        pipes(self, stdin=FROM_PARENT, stdout=TO_PARENT, reactor=reactor)
        self.transport.registerProducer(self, True)

    def say(self, text: str) -> None:
        """Say a line."""
        octets = " ".join(text.splitlines()).encode(errors="replace") + b"\n"
        if self.transport is not None:
            self.transport.write(octets)
            return
        with suppress(OSError):
            os.write(TO_PARENT, octets)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say what ends us, if anything does."""
        try:
            yield
        except SystemExit as end:
            self.say(f"failed {end.code}")
            raise
        except BaseException as error:
            self.say(f"failed {traceback.format_exception_only(error)[-1]}")
            raise

    def log(self, event: LogEvent) -> None:
        """Hand an event of Twisted's log over; lost if the parent does not read."""
        if not self._full:
            self.say(f"log {eventAsJSON(event)}")

    def ready(self) -> None:
        """Say that we serve; from now on errors go where the server's go."""
        os.dup2(KEPT_ERRORS, ERRORS)
        self.say(f"ready {os.getpid()}")

    def leave(self) -> None:
        """Say that we have taken over, and close the pipes: nobody waits for the other's end any more.

        It is said at once, not in the reactor's next turn: who knows us by the pid file may end us before,
        and the other one would take that for a failure and go on.
        """
        with suppress(OSError):
            os.write(TO_PARENT, b"taken\n")
        self._died = lambda: None
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def lineReceived(self, line: bytes) -> None:
        """Hear a line."""
        self._said(line.decode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hear that the parent has died."""
        del reason
        self._died()

    def pauseProducing(self) -> None:
        """Log no more: the parent does not read."""
        self._full = True

    def resumeProducing(self) -> None:
        """Log again."""
        self._full = False

    def stopProducing(self) -> None:
        """Do nothing: the parent has died, and connectionLost follows."""
