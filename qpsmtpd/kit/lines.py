"""Write lines to a descriptor, for plugins that log: nothing here waits, whoever reads them.

What finds no room is lost and counted, and the number written when there is room again. Knows descriptors and
lines. It must not know what a line says.
"""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

MAX_LINE: Final = 4096
"""Octets of a line with its LF, the longest that a pipe with room takes at once (PIPE_BUF of Linux)."""

RETRY: Final = 1.0
"""Seconds before a descriptor that failed is opened again."""

PIPE_SIZE: Final = 1024 * 1024
"""Octets that a program may be behind."""

PATIENCE: Final = 100
"""Milliseconds to wait for the reader of standard error, before lines are lost."""

_CUT: Final = b" ...\n"
_log = Logger(namespace="qpsmtpd")


class Lines:
    """A descriptor that lines are written to; ``opened()`` gives it, and raises OSError if it cannot.

    ``lost_line(number)`` makes the line that says how many were lost, ``now`` gives a time in seconds. The
    first line that finds no room waits ``patience`` milliseconds. Why a descriptor fails is in Twisted's
    log, under ``name``, once for a trouble that lasts.
    """

    __slots__ = (
        "_close",
        "_descriptor",
        "_due",
        "_failed",
        "_lost",
        "_lost_line",
        "_name",
        "_now",
        "_opened",
        "_patience",
        "_poll",
    )

    def __init__(
        self,
        name: str,
        opened: Callable[[], int],
        lost_line: Callable[[int], str],
        now: Callable[[], float],
        *,
        patience: int = 0,
        close: Callable[[int], None] = os.close,
    ) -> None:
        self._name = name
        self._opened = opened
        self._lost_line = lost_line
        self._now = now
        self._patience = patience
        self._close = close
        self._descriptor = -1
        self._poll = select.poll()
        self._due = float("-inf")
        self._lost = 0
        self._failed = False

    def write(self, line: str) -> None:
        """Write a line, or count it as lost."""
        if not self._open():
            self._lost += 1
            return
        if self._lost and self._put(self._lost_line(self._lost)):
            self._lost = 0
        if self._lost or not self._put(line):
            self._lost += 1

    def close(self) -> None:
        """Close the descriptor; the next line opens it again."""
        if self._descriptor >= 0:
            self._poll.unregister(self._descriptor)
            with suppress(OSError):
                self._close(self._descriptor)
        self._descriptor = -1
        self._due = float("-inf")

    def _open(self) -> bool:
        if self._descriptor >= 0:
            return True
        if self._now() < self._due:
            return False
        try:
            self._descriptor = self._opened()
        except OSError as error:
            self._fail(error)
            return False
        self._poll.register(self._descriptor, select.POLLOUT)
        return True

    def _put(self, line: str) -> bool:
        """Write a line if there is room for it."""
        octets = line.encode("utf-8", "backslashreplace") + b"\n"
        if len(octets) > MAX_LINE:
            octets = octets[: MAX_LINE - len(_CUT)] + _CUT
        try:
            if not self._poll.poll(0 if self._lost else self._patience):
                return False
            whole = os.write(self._descriptor, octets) == len(octets)
        except BlockingIOError:
            return False
        except OSError as error:
            self._fail(error)
            return False
        self._failed = False
        return whole

    def _fail(self, error: OSError) -> None:
        """Close, and tell why."""
        self.close()
        self._due = self._now() + RETRY
        if not self._failed:
            self._failed = True
            _log.error("{name}: cannot log: {reason}", name=self._name, reason=error)


def standard_error(name: str, lost_line: Callable[[int], str], now: Callable[[], float]) -> Lines:
    """Give standard error, the real one and not what took its place; in a daemon it is nowhere."""
    return Lines(name, lambda: 2, lost_line, now, patience=PATIENCE, close=lambda _: None)


def open_file(name: str) -> int:
    """Open a file to append to; one that is a pipe must have its reader."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    return os.open(name, flags, 0o640)


def open_program(reactor: Any, words: Sequence[str]) -> int:
    """Start a program and give the descriptor that is its standard input; OSError if there is none."""
    reader, writer = os.pipe()  # which other programs do not inherit
    try:
        with suppress(AttributeError, OSError):  # where the system knows it and allows it
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        reactor.spawnProcess(
            ProcessProtocol(), words[0], words, env=os.environ, childFDs={0: reader, 1: 1, 2: 2}
        )
    except BaseException:
        os.close(writer)
        raise
    finally:
        os.close(reader)
    return writer
