"""One message over one connection: MAIL, RCPT, DATA, content, and the fate of each recipient.

It must not know how the connection came about, or what becomes of it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ..smtp.reply import Reply
from .smtpchannel import OUT_OF_ORDER, SMTPChannel
from .smtpcontent import END_OF_CONTENT, wire_content
from .smtpenvelope import Delivery, Envelope, commands
from .smtphop import Timeouts
from .smtpreply import SMTPOutError

DATA: Final = b"DATA\r\n"

NOT_SENT: Final = Reply(451, "Not sent, because the next hop refused another recipient", "4.3.0")


class Transaction:
    """Send one message.

    ``finished`` tells whether it came to its end, so that the connection needs no RSET after it.
    """

    __slots__ = ("_ahead", "_channel", "_envelope", "_extensions", "_fates", "_lmtp", "_timeouts", "finished")

    def __init__(
        self,
        channel: SMTPChannel,
        extensions: Mapping[str, str],
        envelope: Envelope,
        timeouts: Timeouts,
        lmtp: bool,
    ) -> None:
        self.finished = False
        self._channel = channel
        self._extensions = extensions
        self._envelope = envelope
        self._timeouts = timeouts
        self._lmtp = lmtp
        self._ahead = 0
        self._fates: list[Reply | None] = [None] * len(envelope.recipients)

    async def run(self, content: Iterable[bytes], all_or_none: bool) -> Delivery:
        """Send the message; with ``all_or_none`` only if no recipient is refused at RCPT."""
        lines = commands(self._envelope, self._extensions)
        try:
            data = await self._open(lines, all_or_none)
            if data.code >= 400:
                self._settle(data)
            elif self._undecided():
                await self._send(content)
            else:
                await self._send_nothing()
        except SMTPOutError as error:
            self._settle(error.reply)
        return Delivery(tuple(fate for fate in self._fates if fate is not None))

    async def _open(self, lines: list[bytes], all_or_none: bool) -> Reply:
        """Send the envelope and DATA; give the reply to DATA, or a reason why it was not sent."""
        if "PIPELINING" in self._extensions:
            # RFC 2920 section 3.1: MAIL, RCPT and DATA may go together. But after DATA no way leads back.
            self._send_ahead(lines if all_or_none else [*lines, DATA])
        mail = await self._ask(lines[0], self._timeouts.mail)
        for index, line in enumerate(lines[1:]):
            if mail.code < 300 or self._ahead:
                rcpt = await self._ask(line, self._timeouts.rcpt)
                self._fates[index] = rcpt if rcpt.code >= 400 else None
        if mail.code >= 400:
            # What RCPT was answered follows only from that.
            self._fates = [mail] * len(self._fates)
        undecided = self._undecided()
        if not self._ahead and (not undecided or (all_or_none and len(undecided) < len(self._fates))):
            return NOT_SENT
        return await self._ask(DATA, self._timeouts.data, wanted=3)

    def _send_ahead(self, lines: list[bytes]) -> None:
        self._channel.write(b"".join(lines), len(lines))
        self._ahead = len(lines)

    async def _ask(self, line: bytes, seconds: float, wanted: int = 2) -> Reply:
        if self._ahead:
            self._ahead -= 1
        else:
            self._channel.write(line, 1)
        return await self._channel.reply(seconds, wanted)

    async def _send(self, content: Iterable[bytes]) -> None:
        pieces = wire_content(content, eight_bit="8BITMIME" in self._extensions)
        try:
            await self._channel.write_content(pieces, self._timeouts.block)
        except SMTPOutError as error:
            # Without the final dot, and only so, the next hop forgets what it has.
            self._channel.end(error.reply)
            raise
        undecided = self._undecided()
        # RFC 2033 section 4.2: LMTP answers for each recipient that it has accepted, in order.
        self._channel.write(END_OF_CONTENT, len(undecided) if self._lmtp else 1)
        if self._lmtp:
            for index in undecided:
                self._fates[index] = await self._channel.reply(self._timeouts.end)
        else:
            self._settle(await self._channel.reply(self._timeouts.end))
        self.finished = True

    async def _send_nothing(self) -> None:
        """End the content at once, as RFC 2920 section 3.1 asks when DATA is accepted for nobody."""
        if self._lmtp:
            # RFC 2033 section 4.2: DATA must fail then, and nobody knows how many replies would come.
            self._channel.end(OUT_OF_ORDER)
            return
        self._channel.write(END_OF_CONTENT, 1)
        await self._channel.reply(self._timeouts.end)
        self.finished = True

    def _undecided(self) -> list[int]:
        return [index for index, fate in enumerate(self._fates) if fate is None]

    def _settle(self, reply: Reply) -> None:
        """Let the reply decide for every recipient that nothing has decided about."""
        self._fates = [fate or reply for fate in self._fates]
