"""A client of SMTP and LMTP: hand messages to a next hop, over TLS or not as the policy says.

Opens the connection and keeps it from message to message. It must not know where messages come from, or
which next hop is right for them.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar, cast

from service_identity import CertificateError, VerificationError
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory

from ..smtp.command import encode_xtext
from ..smtp.reply import Reply
from .smtpchannel import TIMED_OUT, WRONG_NAME, SMTPChannel
from .smtpenvelope import Delivery, Envelope, Parameters
from .smtphop import NextHop, Timeouts, TLSPolicy
from .smtpreply import SMTPOutError
from .smtptransaction import Transaction

__all__ = [
    "Delivery",
    "Envelope",
    "NextHop",
    "Parameters",
    "SMTPClient",
    "SMTPOutError",
    "TLSPolicy",
    "Timeouts",
]

T = TypeVar("T")

# The XCLIENT specification: a command has at most 512 octets with its CRLF.
MAX_XCLIENT: Final = 500

NO_TLS: Final = Reply(451, "TLS is required, but the next hop does not offer it", "4.7.4")
NO_XCLIENT: Final = Reply(451, "Next hop does not let us use XCLIENT", "4.7.0")
ABANDONED: Final = Reply(451, "Dialogue with the next hop was abandoned", "4.4.2")
BAD_ARGUMENT: Final = Reply(501, "Command cannot be sent: control character", "5.5.4")

_KEYWORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class TLSFailedError(SMTPOutError):
    """Say that the TLS handshake failed."""


class SMTPClient:
    """Send messages, one after the other, over one connection.

    ``extensions`` are those of the last EHLO: upper-case keyword, parameters. Every method that returns a
    Deferred wants the one before to have fired; cancelling one drops the connection.
    """

    __slots__ = ("_busy", "_channel", "_hop", "_stale", "extensions")

    def __init__(self, channel: SMTPChannel, hop: NextHop) -> None:
        self.extensions: dict[str, str] = {}
        self._channel = channel
        self._hop = hop
        self._busy = False
        self._stale = False

    @staticmethod
    def connect(clock: IReactorTime, hop: NextHop) -> Deferred[SMTPClient]:
        """Connect, say hello, start TLS as the policy demands, say hello again.

        Fails with SMTPOutError, which holds the server's reply or our reason.
        """
        return Deferred.fromCoroutine(_connect(clock, hop))

    @property
    def connected(self) -> bool:
        """Tell whether another message can be sent."""
        return self._channel.ended is None

    @property
    def encrypted(self) -> bool:
        """Tell whether TLS is in use."""
        return self._channel.encrypted

    def send(
        self, envelope: Envelope, content: Iterable[bytes], *, all_or_none: bool = False
    ) -> Deferred[Delivery]:
        """Send one message and tell what became of it for each recipient.

        ``content`` has CRLF line ends and is read as the next hop takes it. With ``all_or_none`` it is not
        sent when the next hop refuses a recipient at RCPT. Whatever the next hop does, the Deferred gives a
        Delivery; it fails only with what ``content`` raises, and then the connection is dropped.
        """
        return self._alone(self._send(envelope, content, all_or_none))

    def rset(self) -> Deferred[None]:
        """Forget the transaction; `send` does it where it must. Fails with SMTPOutError."""
        return self._alone(self._rset())

    def xclient(self, attributes: Mapping[str, str], helo: str | None = None) -> Deferred[None]:
        """Tell about the client behind us, then say hello again, by its name if given.

        Sends those attributes that the next hop lists, encoded as xtext. Fails with SMTPOutError.
        """
        return self._alone(self._xclient(attributes, helo or self._hop.helo))

    def quit(self) -> Deferred[None]:
        """Take leave and close the connection; never fails."""
        return self._alone(self._quit())

    def abort(self) -> None:
        """Drop the connection at once."""
        self._channel.end(ABANDONED)

    def _alone(self, step: Coroutine[Deferred[Any], Any, T]) -> Deferred[T]:
        if self._busy:
            step.close()
            raise RuntimeError("the SMTP client is busy")
        self._busy = True
        return Deferred.fromCoroutine(self._guarded(step))

    async def _guarded(self, step: Coroutine[Deferred[Any], Any, T]) -> T:
        try:
            return await step
        except SMTPOutError:
            raise
        except BaseException:
            # Cancelled, or the content cannot be read: nobody knows any more where the dialogue is.
            self.abort()
            raise
        finally:
            self._busy = False

    async def _send(self, envelope: Envelope, content: Iterable[bytes], all_or_none: bool) -> Delivery:
        hop = self._hop
        transaction = Transaction(self._channel, self.extensions, envelope, hop.timeouts, hop.lmtp)
        try:
            if self._stale:
                await self._rset()
            delivery = await transaction.run(content, all_or_none)
        except SMTPOutError as error:
            return Delivery((error.reply,) * len(envelope.recipients))
        self._stale = not transaction.finished
        return delivery

    async def _rset(self) -> None:
        try:
            await self._demand("RSET", self._hop.timeouts.rset)
        except SMTPOutError as error:
            # RFC 5321 section 4.1.1.5: a server always says 250. This one is of no more use.
            self._channel.end(error.reply)
            raise
        self._stale = False

    async def _xclient(self, attributes: Mapping[str, str], helo: str) -> None:
        listed = self.extensions.get("XCLIENT", "").upper().split()
        if not listed:
            raise SMTPOutError(NO_XCLIENT)
        words = [f"{name}={encode_xtext(value)}" for name, value in attributes.items() if name in listed]
        for line in _filled("XCLIENT", words):
            await self._demand(line, self._hop.timeouts.hello)
        await self._hello(helo)

    async def _quit(self) -> None:
        try:
            await self._command("QUIT", self._hop.timeouts.quit)
        except SMTPOutError:
            return
        await self._channel.close(self._hop.timeouts.quit)

    async def _begin(self) -> None:
        greeting = await self._channel.reply(self._hop.timeouts.greeting)
        if greeting.code >= 400:
            raise SMTPOutError(greeting)
        await self._hello(self._hop.helo)
        if await self._start_tls():
            # RFC 3207 section 4.2: what was said in clear counts for nothing.
            await self._hello(self._hop.helo)

    async def _hello(self, name: str) -> None:
        seconds = self._hop.timeouts.hello
        self.extensions = {}
        reply = await self._command(("LHLO " if self._hop.lmtp else "EHLO ") + name, seconds)
        if reply.code < 300:
            self.extensions = _extensions(reply)
        elif reply.code < 500 or self._hop.lmtp:
            raise SMTPOutError(reply)
        else:
            # RFC 5321 section 3.2: an old server knows only HELO.
            await self._demand("HELO " + name, seconds)

    async def _start_tls(self) -> bool:
        """Tell whether TLS was started; raise SMTPOutError if it had to be and was not."""
        policy = self._hop.tls
        if policy is TLSPolicy.NONE or self.encrypted:
            return False
        refusal = NO_TLS
        if "STARTTLS" in self.extensions and self._channel.can_start_tls:
            reply = await self._command("STARTTLS", self._hop.timeouts.start_tls)
            if reply.code < 300:
                await self._handshake()
                return True
            refusal = Reply(451, f"TLS is required, but the next hop says: {reply.text}", "4.7.4")
        if policy is TLSPolicy.MAY:
            return False
        raise SMTPOutError(refusal)

    async def _handshake(self) -> None:
        hop = self._hop
        try:
            connection = await self._channel.start_tls(hop.tls_options, hop.timeouts.start_tls)
            if hop.tls is TLSPolicy.VERIFY:
                # Twisted 26.10 does so too, but then takes a certificate with names that cannot be read.
                hop.verify(connection)
        except SMTPOutError as error:
            raise TLSFailedError(error.reply) from None
        except (CertificateError, VerificationError):
            self._channel.end(WRONG_NAME)
            raise TLSFailedError(WRONG_NAME) from None

    async def _demand(self, line: str, seconds: float) -> None:
        reply = await self._command(line, seconds)
        if reply.code >= 400:
            raise SMTPOutError(reply)

    async def _command(self, line: str, seconds: float) -> Reply:
        if _CONTROL.search(line):
            raise SMTPOutError(BAD_ARGUMENT)
        self._channel.write(f"{line}\r\n".encode(), 1)
        return await self._channel.reply(seconds)


async def _connect(clock: IReactorTime, hop: NextHop) -> SMTPClient:
    try:
        return await _session(clock, hop)
    except TLSFailedError:
        if hop.tls is not TLSPolicy.MAY:
            raise
    # A failed handshake has cost the connection.
    return await _session(clock, replace(hop, tls=TLSPolicy.NONE))


async def _session(clock: IReactorTime, hop: NextHop) -> SMTPClient:
    channel = await _channel(clock, hop)
    client = SMTPClient(channel, hop)
    try:
        await client._begin()
    except SMTPOutError:
        await client._quit()
        raise
    except BaseException:
        client.abort()
        raise
    return client


async def _channel(clock: IReactorTime, hop: NextHop) -> SMTPChannel:
    factory = Factory()
    factory.noisy = False
    factory.protocol = lambda: SMTPChannel(clock)
    connecting = hop.endpoint.connect(factory)
    try:
        return cast(SMTPChannel, await connecting.addTimeout(hop.timeouts.connect, clock))
    except (ConnectingCancelledError, TimeoutError):
        raise SMTPOutError(TIMED_OUT) from None
    except (ConnectError, ConnectionClosed, OSError) as error:
        raise SMTPOutError(Reply(451, f"Next hop cannot be reached: {error}", "4.4.1")) from error


def _extensions(reply: Reply) -> dict[str, str]:
    """Read the lines of an EHLO reply, all but the first (RFC 5321 section 4.1.1.1)."""
    extensions = {}
    for line in reply.lines[1:]:
        keyword, _, parameters = line.partition(" ")
        if _KEYWORD.fullmatch(keyword):
            extensions[keyword.upper()] = parameters.strip()
    return extensions


def _filled(verb: str, words: list[str]) -> list[str]:
    """Spread words over as few commands as their length allows."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= MAX_XCLIENT:
            lines[-1] += f" {word}"
        else:
            lines.append(f"{verb} {word}")
    return lines
