"""The adapter between a transport and a session: octets in, replies out, time limits, TLS, loss.

One pump runs at a time, so pipelined commands are answered in order however slow a plugin is. An idle
connection holds no coroutine and no Deferred, only its timer.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .answers import denial
from .connection import Connection
from .log import Level
from .session import Session
from .smtp.receiver import Receiver
from .smtp.reply import Next, Reply
from .tls import info_of
from .waiting import ClientGone, start

if TYPE_CHECKING:
    from .factory import SMTPFactory

HIGH_WATER = 64 * 1024
"""Octets of unread input past which the client is paused; never before, for a paused transport is deaf."""

CLOSE_GRACE = 30.0
"""Seconds that a client has to take the last reply and close, before it is cut off."""

HANDSHAKE_TIMEOUT = 60.0
"""Seconds that a TLS handshake may take."""

TIMED_OUT = Reply(421, "Connection Timed Out", "4.4.2", Next.CLOSE)
SHUTTING_DOWN = Reply(421, "the server is shutting down, please try again later", "4.3.2", Next.CLOSE)
BROKEN = Reply(421, "internal error, please try again later", "4.3.0", Next.CLOSE)

_log = Logger(namespace="qpsmtpd")


@implementer(IHandshakeListener, IPushProducer)
class SMTPProtocol(Protocol):
    """Speaks SMTP on one transport."""

    transport: Any  # no one interface of Twisted's has startTLS, abortConnection and registerProducer

    def __init__(self, factory: SMTPFactory, *, implicit_tls: bool = False) -> None:
        self.factory: SMTPFactory = factory
        self._implicit_tls = implicit_tls
        self._clock = factory.reactor
        self._out: list[bytes] = []
        self._busy: bool = False
        self._closing = False
        self._lost = False
        self._handshaking = False
        self._greeted = False
        self._blocked = False
        self._paused = False
        self._waiting: Deferred[None] | None = None
        self._early: Deferred[bool] | None = None
        self._timer: IDelayedCall | None = None
        self._active = 0.0

    # What Twisted calls.

    def connectionMade(self) -> None:
        """Set the session up, and greet, behind the handshake if there is one."""
        connection = self._make_connection()
        self.session = Session(self.factory.engine, connection)
        limits = self.session.limits
        self._receiver = Receiver(
            command_limit=limits.max_command,
            line_limit=limits.max_auth_line,
            normalize=limits.bare_newline == "normalize",
        )
        self._active = self._clock.seconds()
        self.transport.registerProducer(self, True)
        if refused := self.factory.admit(self):
            self._say(refused)
            self._flush()
        elif self._implicit_tls:
            self._start_tls()
        elif ISSLTransport.providedBy(self.transport):
            self._await_handshake()
        else:
            self._rearm(limits.command_timeout, self._check_idle)
            self._run(self._greet())

    def handshakeCompleted(self) -> None:
        """Note what the handshake agreed upon; greet if this is how the connection began."""
        self._handshaking = False
        self._active = self._clock.seconds()
        self.session.connection.tls = info_of(self.transport)
        self._rearm(self.session.limits.command_timeout, self._check_idle)
        if self._greeted:
            self.session.log(Level.INFO, "TLS setup returning")
        else:
            self._run(self._greet())

    def dataReceived(self, octets: bytes) -> None:
        """Feed the receiver, and pump if nobody does."""
        if self._closing:
            return
        self._active = self._clock.seconds()
        self._receiver.feed(octets)
        if not self._busy:
            self._run(self._pump())
        elif self._early is not None:
            self._early.callback(True)
        if self._busy and self._receiver.unread > HIGH_WATER and not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Cancel what waits, tell the plugins, leave nothing behind."""
        self._lost = self._closing = True
        self._rearm(None)
        if not reason.check(ConnectionDone):
            self.session.log(Level.INFO, "Lost connection: %s", reason.getErrorMessage())
        if self._waiting is not None:
            self._waiting.cancel()
        self._busy = True
        self._waiting = None
        self._receiver.clear()
        self._out.clear()
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
        self._active = self._clock.seconds()
        if not self._busy and not self._closing:
            self._run(self._pump())

    def stopProducing(self) -> None:
        """Do nothing: connectionLost follows."""

    # Running one thing at a time.

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as the one that talks to the client."""
        self._busy = True
        try:
            waiting = start(coroutine, self._flush)
        except Exception:
            self._broken(Failure())
            return
        if isinstance(waiting, Deferred):
            self._waiting = waiting
            waiting.addCallbacks(self._done, self._broken)
        else:
            self._done(None)

    def _done(self, _: None) -> None:
        """Write what is due; be idle, or go on with what came in between."""
        self._waiting = None
        self._busy = False
        self._active = self._clock.seconds()
        self._flush()
        if self.factory.connections.draining:
            self.shut_down()
        if self._paused and not self._blocked and not self._closing:
            self._paused = False
            self.transport.resumeProducing()

    def _broken(self, failure: Failure) -> None:
        """End a session that failed itself; a plugin's failure never comes here."""
        self._waiting = None
        self._busy = False
        if failure.check(ClientGone):
            return
        _log.failure("session failed", failure)
        self._say(BROKEN)
        self._flush()

    async def _greet(self) -> None:
        session = self.session
        if session.engine.registry.has("pre-connection"):
            facts = (self.factory.connections_from(session.connection.remote_ip), self.factory.max_from_ip)
            refused = denial("pre-connection", await session.ask("pre-connection", *facts))
            if refused:
                return self._say(refused)
        if session.limits.reverse_dns:
            await self.factory.look_up_host(session.connection)
        self.factory.log_accepted(session.connection)
        self._say(await session.greet())
        self._greeted = True
        # What came early is answered now.
        return await self._pump()

    async def _pump(self) -> None:
        """Handle event after event until the receiver wants more octets."""
        receiver, session = self._receiver, self.session
        while not self._blocked and not self._closing:
            event = receiver.next_event()
            if event is None:
                return
            reply = await session.handle(event)
            if reply is not None:
                self._say(reply)
                if reply.next is Next.TLS:
                    self._start_tls()
                    return

    async def _finish(self) -> None:
        try:
            await self.session.finish()
        finally:
            self.factory.gone(self)

    # Writing and closing.

    def _say(self, reply: Reply) -> None:
        """Take a reply for the next write, log it, and do what it says comes next."""
        self._out.append(reply.octets)
        if self.session.engine.log.threshold >= Level.INFO:
            self._log_reply(reply)
        if reply.next is Next.CLOSE:
            self._close()
        elif reply.next is not Next.TLS:
            self._receiver.expect(reply.next)

    def _log_reply(self, reply: Reply) -> None:
        """Log the lines as upstream's log tools know them: the enhanced status behind the text."""
        status = f" (#{reply.status})" if reply.status and reply.code >= 400 else ""
        last = len(reply.lines) - 1
        for index, line in enumerate(reply.lines):
            self.session.log(Level.INFO, "%d%s%s%s", reply.code, " -"[index < last], line, status)

    def _flush(self) -> None:
        if self._out and not self._lost:
            octets = b"".join(self._out)
            self._out.clear()
            self.transport.write(octets)

    def _close(self) -> None:
        """Say no more; cut a client that does not take the last reply."""
        if self._closing:
            return
        self._closing = True
        self.session.log(Level.INFO, "click, disconnecting")
        self._flush()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._rearm(CLOSE_GRACE, self.transport.abortConnection)

    def _start_tls(self) -> None:
        """Switch to TLS; what came in clear behind STARTTLS is thrown away (RFC 3207 section 4.2)."""
        self._flush()
        self._receiver.clear()
        self.transport.startTLS(self.factory.tls_context)
        self._await_handshake()

    def _await_handshake(self) -> None:
        self._handshaking = True
        self._rearm(HANDSHAKE_TIMEOUT, self.transport.abortConnection)

    def _rearm(self, seconds: float | None, then: Callable[[], Any] | None = None) -> None:
        """Replace the connection's one timer; None leaves none."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if seconds is None or then is None else self._clock.callLater(seconds, then)

    def shut_down(self) -> None:
        """End the session, unless it holds a message: then after that."""
        if self.holds_message or self._closing:
            return
        self._say(SHUTTING_DOWN)
        self._flush()

    @property
    def holds_message(self) -> bool:
        """Tell whether the client has been told to send a message that is not answered yet."""
        return self.session.message is not None or (self._busy and bool(self.session.transaction.recipients))

    def _check_idle(self) -> None:
        """Look at the last activity, again when the rest of the limit is over."""
        limits = self.session.limits
        limit = limits.timeout if self.session.message is not None else limits.command_timeout
        idle = self._clock.seconds() - self._active
        if self._busy and not self._blocked:
            idle = 0.0
        if idle < limit:
            self._timer = self._clock.callLater(limit - idle, self._check_idle)
            return
        self._timer = None
        self.session.log(Level.INFO, "Connection Timed Out")
        if self._blocked:
            self.transport.abortConnection()
            return
        self._say(TIMED_OUT)
        self._flush()

    # Input before its time.

    def _wait_for_input(self, seconds: float) -> Deferred[bool]:
        """Fire with True as soon as the client has sent something unread, else with False after a time."""

        def over(result: Any) -> Any:
            self._early = None
            if timer.active():
                timer.cancel()
            return result

        early: Deferred[bool] = Deferred()
        timer = self._clock.callLater(seconds, lambda: early.callback(False))
        early.addBoth(over)
        if self._receiver.unread:
            early.callback(True)
        else:
            self._early = early
        return early

    def _make_connection(self) -> Connection:
        peer, host = self.transport.getPeer(), self.transport.getHost()
        connection = Connection(
            _address(getattr(peer, "host", "")),
            getattr(peer, "port", 0),
            _address(getattr(host, "host", "")),
            getattr(host, "port", 0),
            number=self.factory.engine.next_number(),
        )
        connection.wait_for_input = self._wait_for_input
        return connection


def _address(text: str) -> str:
    """Give an address without scope and as IPv4 where it is that; a UNIX socket's client is local."""
    return text.partition("%")[0].removeprefix("::ffff:") or "127.0.0.1"
