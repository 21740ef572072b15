"""One connection to an SMTP or LMTP server: octets out, replies in, time limits, TLS, loss.

Counts the replies that are owed and takes no other. It must not know which command a reply answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, cast

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConsumer,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ..smtp.reply import Reply
from .smtpreply import BadReplyError, ReplyParser, SMTPOutError

# RFC 3463: X.4.2 is a bad connection, X.5.0 a protocol error, X.7.5 a cryptographic failure.
TIMED_OUT: Final = Reply(451, "Next hop does not answer in time", "4.4.2")
WRONG_NAME: Final = Reply(451, "Certificate of the next hop does not name it", "4.7.5")
OUT_OF_ORDER: Final = Reply(451, "Next hop sent a reply that fits no command", "4.5.0")


@implementer(IHandshakeListener, IPushProducer)
class SMTPChannel(Protocol):
    """Carry one dialogue, for one coroutine at a time.

    ``ended`` is the reason why the connection is of no more use, None while it is.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.ended: Reply | None = None
        self._clock = clock
        self._parser = ReplyParser()
        self._arrived: deque[Reply] = deque()
        # RFC 5321 section 3.1: the server speaks first.
        self._owed = 1
        self._waiter: Deferred[None] | None = None
        self._paused = False
        self._secured = False
        self._lost = False

    @property
    def encrypted(self) -> bool:
        """Tell whether TLS is in use."""
        return self._secured or ISSLTransport.providedBy(self.transport)

    @property
    def can_start_tls(self) -> bool:
        """Tell whether the transport is able to begin TLS in midstream."""
        return ITLSTransport.providedBy(self.transport)

    # What the client asks for

    def write(self, octets: bytes, replies: int) -> None:
        """Send what the server must answer with a number of replies."""
        if self.ended is None:
            self._owed += replies
            self._tcp.write(octets)

    async def reply(self, seconds: float, wanted: int = 2) -> Reply:
        """Wait for the next reply: of the wanted class, or a refusal (4yz, 5yz).

        Raises SMTPOutError when there is none: connection lost, time over, or not SMTP.
        """
        await self._until(lambda: bool(self._arrived), seconds)
        reply = self._arrived.popleft()
        if reply.code // 100 not in (wanted, 4, 5):
            self.end(OUT_OF_ORDER)
            raise SMTPOutError(OUT_OF_ORDER)
        return reply

    async def write_content(self, pieces: Iterable[bytes], seconds: float) -> None:
        """Send pieces as fast as the server takes them.

        The transport holds one piece more than its high-water mark at most. Each time that it is
        full, the server has ``seconds`` to empty it. Raises SMTPOutError, also when the server
        refuses before the end.
        """
        self._check()
        self._paused = False
        consumer = cast(IConsumer, self.transport)
        consumer.registerProducer(self, True)
        try:
            for piece in pieces:
                self._tcp.write(piece)
                await self._until(lambda: not self._paused, seconds)
        finally:
            consumer.unregisterProducer()

    async def start_tls(self, creator: IOpenSSLClientConnectionCreator, seconds: float) -> SSL.Connection:
        """Begin TLS, wait for the handshake, give what OpenSSL knows of it. Raises SMTPOutError."""
        # What came in clear after the reply to STARTTLS may be anybody's: RFC 3207 section 6.
        self._parser.clear()
        self._arrived.clear()
        cast(ITLSTransport, self.transport).startTLS(creator)
        await self._until(lambda: self._secured, seconds)
        return cast(SSL.Connection, cast(ISystemHandle, self.transport).getHandle())

    async def close(self, seconds: float) -> None:
        """Close in order, or by force after some seconds."""
        if self.ended is None:
            self._tcp.loseConnection()
            try:
                await self._until(lambda: self._lost, seconds)
            except SMTPOutError:
                return

    def end(self, reason: Reply) -> None:
        """Drop the connection; whoever waits now or later is told the reason."""
        if self.ended is None:
            self.ended = reason
            if self.transport is not None and not self._lost:
                self._tcp.abortConnection()
            self._wake()

    # What Twisted tells

    def dataReceived(self, data: bytes) -> None:
        """Take replies. More of them than commands were sent before is an error."""
        due = self._owed
        self._parser.feed(data)
        try:
            # Whoever is woken by a reply may send a command at once, but what is here cannot answer it.
            while self.ended is None and (reply := self._parser.next_reply()):
                self._take(reply, due > 0)
                due -= 1
        except BadReplyError as error:
            self.end(Reply(451, f"Next hop does not speak SMTP: {error}", "4.5.0"))

    def handshakeCompleted(self) -> None:
        """Note that the TLS handshake is done."""
        self._secured = True
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note that the connection is gone."""
        self._lost = True
        if self.ended is None:
            self.ended = _loss(reason.value)
        self._wake()

    def pauseProducing(self) -> None:
        """Send nothing until the transport is empty."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on sending."""
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """Leave it to connectionLost, which follows."""

    # Inside

    @property
    def _tcp(self) -> ITCPTransport:
        return cast(ITCPTransport, self.transport)

    def _take(self, reply: Reply, expected: bool) -> None:
        if not expected:
            # A server that gives up says why without being asked, even in the middle of the content.
            self.end(reply if reply.code >= 400 else OUT_OF_ORDER)
            return
        self._owed -= 1
        self._arrived.append(reply)
        if reply.code == 421:
            # RFC 5321 section 3.8: the answer to any command, and the last one.
            self.end(reply)
        self._wake()

    async def _until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until ready. Raises SMTPOutError when the connection or the time ends before."""
        if ready():
            return
        self._check()
        timer = self._clock.callLater(seconds, self.end, TIMED_OUT)
        try:
            while not ready():
                self._check()
                self._waiter = Deferred()
                await self._waiter
        finally:
            self._waiter = None
            if timer.active():
                timer.cancel()

    def _check(self) -> None:
        if self.ended is not None:
            raise SMTPOutError(self.ended)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)


def _loss(error: BaseException | None) -> Reply:
    if isinstance(error, CertificateError | VerificationError):
        return WRONG_NAME
    if isinstance(error, SSL.Error):
        # An OpenSSL error holds (library, function, text) for each step.
        steps = error.args[0] if error.args else ()
        text = ", ".join([step[-1] for step in steps])
        return Reply(451, f"TLS with the next hop failed: {text}", "4.7.5")
    return Reply(451, "Connection with the next hop was lost", "4.4.2")
