"""A process that this one starts: a worker, or the server's successor; what it says, and how it ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import eventFromJSON, globalLogPublisher
from twisted.python.failure import Failure

from .inheritance import ERRORS, FROM_PARENT, TO_PARENT, Inheritance

_LONGEST = 256 * 1024  # octets of a line; a traceback may be long


class Child(ProcessProtocol):
    """Calls ``ready`` once, ``taken`` when a successor has taken over, and ``ended`` at the end.

    ``exited`` is called when what was started is gone; it may have left another process to speak for it.
    `why` is what can be said about the end.
    """

    transport: Any

    def __init__(
        self,
        ready: Callable[[Child], None],
        ended: Callable[[Child], None],
        taken: Callable[[Child], None] = lambda _: None,
        exited: Callable[[Child], None] = lambda _: None,
    ) -> None:
        self._ready = ready
        self._taken = taken
        self._ended = ended
        self._exited = exited
        self._lines = b""
        self._last_error = self._failed = ""
        self.pid = 0
        self.is_ready = self.has_exited = False
        self.why = ""

    def start(self, reactor: Any, command: list[str], inheritance: Inheritance, path: str | None) -> None:
        """Start it, in the directory ``path`` or in ours."""
        environment, descriptors = inheritance.plan()
        process = reactor.spawnProcess(
            self, command[0], command, env=environment, path=path, childFDs=descriptors
        )
        self.pid = process.pid or 0  # it may have ended already

    def tell(self, word: str) -> None:
        """Say a line to it, if it still hears."""
        with suppress(KeyError):  # it is dying, and Twisted has seen the pipe's end first
            self.transport.writeToChild(FROM_PARENT, word.encode() + b"\n")

    def leave(self) -> None:
        """Let it live on by itself."""
        self.transport.closeChildFD(FROM_PARENT)
        self.transport.closeChildFD(TO_PARENT)

    def kill(self, number: int) -> None:
        """Send it a signal, if it lives."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(number)

    def childDataReceived(self, child_fd: int, data: bytes) -> None:
        """Hear a part of what it says."""
        if child_fd == ERRORS:
            with suppress(OSError):
                os.write(ERRORS, data)
            text = data.decode(errors="replace")
            self._last_error = next((line for line in reversed(text.splitlines()) if line.strip()), "")
            return
        *lines, self._lines = (self._lines + data).split(b"\n")
        if len(self._lines) > _LONGEST:
            self._lines = b""
        for line in lines:
            self._line(line.decode(errors="replace"))

    def _line(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "log":
            with suppress(ValueError):  # the end of a line that was too long
                globalLogPublisher(eventFromJSON(rest))
        elif word == "failed":
            self._failed = rest
        elif word == "taken":
            self._taken(self)
        elif word == "ready" and not self.is_ready:
            self.is_ready = True
            self.pid = int(rest)
            self._ready(self)

    def processExited(self, reason: Failure) -> None:
        """Tell it; its pipes may be open."""
        del reason
        self.has_exited = True
        self._exited(self)

    def processEnded(self, reason: Failure) -> None:
        """Find words for the end."""
        ended: Any = reason.value
        if ended.signal:
            how = f"was killed by {signal.Signals(ended.signal).name}"
        else:
            how = f"ended with status {ended.exitCode or 0}"
        what = self._failed or ("" if self.is_ready else self._last_error)
        self.why = f"{how}: {what}" if what else how
        self._ended(self)
