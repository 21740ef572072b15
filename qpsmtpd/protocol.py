"""The adapter between a transport and a session: octets in, replies out, time limits, TLS, loss.

An idle connection holds nothing but its timer; `pump` says how a busy one goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from .alarm import Alarm
from .direct import close, direct_writer, encrypting_writer, write_now
from .early import EarlyInput
from .log import Level
from .pace import CLOSE_GRACE, HANDSHAKE_TIMEOUT, Pace
from .pump import Pump
from .smtp.receiver import Receiver
from .smtp.reply import Next, Reply
from .tls import info_of
from .waiting import start

if TYPE_CHECKING:
    from .factory import SMTPFactory

HIGH_WATER = 64 * 1024
"""Octets of unread input past which the client is paused; never before, for a paused transport is deaf."""

SHUTTING_DOWN = Reply(421, "the server is shutting down, please try again later", "4.3.2", Next.CLOSE)

# Looking up a member of an Enum costs as much as a hook.
_INFO = Level.INFO
_CLOSE = Next.CLOSE
_DATA = Next.DATA
_TLS = Next.TLS


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class SMTPProtocol(Pump, Protocol):
    """Speaks SMTP on one transport."""

    transport: Any  # no one interface of Twisted's has startTLS, abortConnection and registerProducer

    def __init__(self, factory: SMTPFactory, *, implicit_tls: bool = False) -> None:
        super().__init__(factory)
        self.factory: SMTPFactory = factory
        self._implicit_tls = implicit_tls
        self._began = self._greeted = False
        # The client has left, and what its message leaves to do is not done yet.
        self._settling = False
        self._alarm = Alarm(factory.reactor)

    def connectionMade(self) -> None:
        """Set the session up, and greet, behind the handshake if there is one."""
        self._write = direct_writer(self.transport)
        self.session = self.factory.make_session(self.transport)
        connection = self.session.connection
        limits = self.session.limits
        self._pace = Pace(self._clock, self.session)
        self._receiver = Receiver(
            command_limit=limits.max_command,
            line_limit=limits.max_auth_line,
            normalize=limits.bare_newline == "normalize",
        )
        self._early = EarlyInput(self._clock, self._receiver)
        connection.wait_for_input = self._early.wait
        self.transport.registerProducer(self, True)
        if refused := self.factory.admit(self):
            self._say(refused)
            self._flush()
        elif self._implicit_tls:
            self._start_tls()
        elif ISSLTransport.providedBy(self.transport):
            self._await_handshake()
        else:
            self._watch()
            self._pump(self._greet())

    def handshakeCompleted(self) -> None:
        """Note what the handshake agreed upon; greet if this is how the connection began."""
        if self._closing:
            return
        self._handshaking = False
        self._pace.progress()
        self.session.connection.tls = info_of(self.transport)
        self._watch()
        if self._greeted:
            self.session.log_tls()
        else:
            self._pump(self._greet())

    def dataReceived(self, octets: bytes) -> None:
        """Feed the receiver, and pump if nobody does."""
        self._pace.octets += len(octets)
        if self._closing:
            # In TLS it is read until the client closes, too, but not whatever it has to say.
            if self._pace.octets > HIGH_WATER:
                self.transport.abortConnection()
            return
        self._receiver.feed(octets)
        if self._busy:
            self._hear_early()
        else:
            self._pump()

    def _hear_early(self) -> None:
        """Take note of what came while something waits, and hold the client up if that is too much."""
        if not self._greeted:
            self.session.note_early()
        self._early.arrived()
        if self._receiver.unread > HIGH_WATER and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """Answer a client that has said QUIT and shuts its side while something waits; any other is gone.

        Exim does so behind the last message, without TLS. RFC 5321 section 4.1.1.10: who has said QUIT
        waits for its reply.
        """
        self._leaving = self._busy and self._receiver.ends_with_quit
        if not self._leaving:
            self._hang_up()

    def writeConnectionLost(self) -> None:
        """Do nothing: this side is never shut alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Cancel what the client waited for, tell the plugins, leave nothing behind."""
        # Behind the last reply many clients do not close TLS in order.
        if not (self._closing or isinstance(reason.value, ConnectionDone)):
            self.session.log(_INFO, "Lost connection: %s", reason.getErrorMessage())
        self._lost = self._closing = True
        self._alarm.stop()
        self._receiver.clear()
        self._out.clear()
        self.session.connection.wait_for_input = None
        waiting = self._waiting
        if waiting is not None and self.session.queued:
            self._settling = self._leaving = True
            return
        if waiting is not None:
            waiting.cancel()
        self._end()

    def _end(self) -> None:
        self._busy = True
        self._waiting = None
        finished = start(self._finish())
        if isinstance(finished, Deferred):
            self._waiting = finished

    def pauseProducing(self) -> None:
        """Stop reading commands from a client that does not read its replies."""
        self._blocked = True
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on: the client has read its replies."""
        self._blocked = False
        self._pace.progress()
        if not self._busy and not self._closing:
            self._pump()

    def stopProducing(self) -> None:
        """Do nothing: connectionLost follows."""

    def _go_on(self) -> None:
        if self._settling:
            self._settling = False
            self._end()
            return
        if self._ending:
            self.shut_down()
        if self._paused and not self._blocked and not self._closing:
            self._paused = False
            self.transport.resumeProducing()
        if self._leaving and not self._blocked and not self._closing:
            self._hang_up()

    async def _greet(self) -> Reply:
        self._began = True
        reply = await self.factory.greet(self.session)
        # What came early is answered now.
        self._greeted = True
        return reply

    async def _finish(self) -> None:
        try:
            # A client that was refused before any plugin heard of it leaves without their notice, too.
            if self._began:
                await self.session.finish()
        finally:
            self.factory.gone(self)

    def _prepare(self, next: Next) -> None:
        """Do what a reply says comes next."""
        if next is _CLOSE:
            self._close()
        elif next is _TLS:
            self._start_tls()
        else:
            self._receiver.expect(next)
            if next is _DATA:
                self._pace.measure()

    def _close(self) -> None:
        """Say no more."""
        self._closing = True
        self._pace.measure()
        self.session.log(_INFO, "click, disconnecting")
        self._flush()
        self._hang_up()

    def _hang_up(self) -> None:
        """Close the connection behind what is still to be written; cut a client that does not take it."""
        self.transport.unregisterProducer()
        close(self.transport, self._linger)

    def _linger(self) -> None:
        if not self._lost:
            self._alarm.set(CLOSE_GRACE, self.transport.abortConnection)

    def _start_tls(self) -> None:
        """Switch to TLS; what came in clear behind STARTTLS is thrown away (RFC 3207 section 4.2)."""
        self._flush()
        write_now(self.transport)  # in clear
        self._receiver.clear()
        self.transport.startTLS(self.factory.tls_context)
        self._write = encrypting_writer(self.transport, self._write)
        self._await_handshake()

    def _await_handshake(self) -> None:
        self._handshaking = True
        self._alarm.set(HANDSHAKE_TIMEOUT, self.transport.abortConnection)

    def shut_down(self) -> None:
        """End the session, unless it holds a message: then after that."""
        self._ending = True
        if self.holds_message or self._closing:
            return
        self._say(SHUTTING_DOWN)
        self._flush()

    @property
    def holds_message(self) -> bool:
        """Tell whether the client has been told to send a message that is not answered yet."""
        return self.session.message is not None or (self._busy and bool(self.session.transaction.recipients))

    def _watch(self) -> None:
        self._alarm.watch(self._time_left, self._time_out, self._pace.longest)

    def _time_left(self) -> float:
        """Give the seconds that the client still has to say something."""
        return self._pace.longest if self._busy and not self._blocked else self._pace.left()

    def _time_out(self) -> None:
        self.session.log(_INFO, self._pace.verdict.lines[0])
        if self._blocked:
            self.transport.abortConnection()
            return
        self._say(self._pace.verdict)
        self._flush()
