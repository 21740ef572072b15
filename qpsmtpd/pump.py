"""The pump: takes what a client said, has the session handle it, says the replies, in order.

One runs at a time, so pipelined commands are answered in order however slow a plugin is. An idle connection
holds no coroutine and no Deferred. Knows no transport: `SMTPProtocol` is what writes, waits for octets and
ends things.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from .log import CALL, Level
from .smtp.reply import Next, Reply
from .waiting import ClientGone, pause

if TYPE_CHECKING:
    from .factory import SMTPFactory
    from .pace import Pace
    from .session import Session
    from .smtp.receiver import Receiver

Step = Coroutine[Any, Any, Reply | None]

BROKEN = Reply(421, "internal error, please try again later", "4.3.0", Next.CLOSE)

_log = Logger(namespace="qpsmtpd")

# Looking up a member of an Enum costs as much as a hook.
_INFO = Level.INFO
_COMMAND = Next.COMMAND


class Pump:
    """Moves one session along; a base class, for there is one for each connection and it is all but free."""

    session: Session
    _receiver: Receiver
    _pace: Pace
    _write: Callable[[bytes], None]

    def __init__(self, factory: SMTPFactory) -> None:
        self._clock = factory.reactor
        self._log = factory.engine.log
        self._out: list[bytes] = []
        self._waiting: Deferred[Any] | None = None
        self._busy = False
        # Why it may not go on: the client does not read, the connection ends, TLS begins.
        self._blocked = self._closing = self._handshaking = False
        self._lost = False
        # What is to be done about when it rests: let the client go on, or go away.
        self._paused = self._ending = self._leaving = False

    def _pump(self, step: Step | None = None) -> None:
        """Take step after step until the client must say more, or until one waits.

        A step is a coroutine that gives a reply or None. While one waits its Deferred holds the pump, so that
        there is one, and commands are answered in order.
        """
        self._busy = True
        receiver, session = self._receiver, self.session
        try:
            while True:
                if step is None:
                    if session.queued and not self._lost:
                        step = session.settle()
                    elif self._blocked or self._closing or self._handshaking:
                        break
                    else:
                        event = receiver.next_event()
                        if event is None:
                            break
                        self._pace.moved = True
                        step = session.handle(event)
                try:
                    waiting = step.send(None)
                except StopIteration as stop:
                    step = self._answer(stop.value)
                else:
                    self._pace.stop()
                    self._wait(step, waiting)
                    return
        except Exception:
            self._broken(Failure())
            return
        self._rest()

    def _answer(self, reply: Reply | None) -> Step | None:
        """Say what came of a step; give the next one if that must come before anything else."""
        session = self.session
        if reply is not None:
            if session.budget.penalty:
                return self._delayed(reply)
            self._say(reply)
        elif session.chunk is not None and not session.chunk.begun:
            session.chunk.begun = True
            self._receiver.expect_chunk(session.chunk.size)
            self._pace.measure()
        return None

    async def _delayed(self, reply: Reply) -> Reply:
        await pause(self.session.budget.take_penalty(), self._clock)
        return reply

    def _wait(self, step: Step, waiting: Deferred[Any]) -> None:
        """Let the client have its replies so far, and go on when there is what the step waits for."""
        self._flush()
        self._waiting = waiting
        waiting.addBoth(self._resume, step)

    def _resume(self, result: object, step: Step) -> None:
        self._waiting = None
        called_for = CALL.get()  # a plugin of another session, if that has brought the result
        try:
            if isinstance(result, Failure):
                waiting = result.throwExceptionIntoGenerator(step)
            else:
                waiting = step.send(result)
        except StopIteration as stop:
            self._pace.go()
            self._pump(self._answer(stop.value))
        except BaseException:
            self._broken(Failure())
        else:
            self._wait(step, waiting)
        finally:
            CALL.set(called_for)

    def _broken(self, failure: Failure) -> None:
        """End a session that failed itself; a plugin's failure never comes here."""
        self._busy = False
        if not failure.check(ClientGone):
            _log.failure("session failed", failure)
            self._say(BROKEN)
            self._flush()
        if self._lost:
            self._go_on()

    def _rest(self) -> None:
        """Be idle; write what is due."""
        self._busy = False
        pace = self._pace
        if pace.moved:
            pace.moved = False
            pace.active = self._clock.seconds()
        if self._out:
            self._flush()
        if self._paused or self._ending or self._leaving:
            self._go_on()

    def _say(self, reply: Reply) -> None:
        """Take a reply for the next write, log it, and do what it says comes next."""
        if self._closing:
            return  # a plugin took so long that its client was told to go meanwhile
        self._out.append(reply.octets)
        log = self._log
        if log.threshold >= _INFO:
            log.show_reply(reply, self.session.connection)
        if reply.next is _COMMAND and self._receiver.reads_commands:
            return
        self._prepare(reply.next)

    def _flush(self) -> None:
        out = self._out
        if out and not self._lost:
            octets = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._write(octets)

    def _prepare(self, next: Next) -> None:
        """Do what a reply says comes next."""
        raise NotImplementedError

    def _go_on(self) -> None:
        """Let a client that was held up go on, or go away if the server ends."""
        raise NotImplementedError
