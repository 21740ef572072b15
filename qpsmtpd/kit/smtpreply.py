"""What an SMTP or LMTP server answers: octets in, replies out, everything bounded.

It must not know of transports, of time, or of what was asked.
"""

from __future__ import annotations

import re
from typing import Final

from ..smtp.reply import Reply

# RFC 5321 section 4.5.3.1.5 allows 512 octets a line; real servers write longer ones. Postfix reads 2048.
MAX_REPLY_LINE: Final = 2048
# The longest replies are those to EHLO, with one line for each extension.
MAX_REPLY_LINES: Final = 128

# RFC 5321 section 4.2: three digits, then a blank, a hyphen or the end of the line.
_LINE: Final = re.compile(r"([2-5][0-9][0-9])(?:([ -])(.*))?", re.ASCII | re.DOTALL)
# RFC 2034 section 4: each line of a reply begins with the status, whose class agrees with the code.
_STATUS: Final = re.compile(r"([245]\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2}))(?: +|$)", re.ASCII)


class SMTPOutError(Exception):
    """Say why the dialogue with the next hop cannot go on.

    ``reply`` is the server's own or, where it gave none, one that tells our reason in the same terms.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(" ".join(filter(None, [str(reply.code), reply.status, reply.text])))
        self.reply = reply

    @property
    def code(self) -> int:
        """Return the reply code."""
        return self.reply.code

    @property
    def status(self) -> str:
        """Return the enhanced status, empty if the server gave none."""
        return self.reply.status

    @property
    def text(self) -> str:
        """Return the text, lines joined with LF."""
        return self.reply.text

    @property
    def temporary(self) -> bool:
        """Tell whether a later try may succeed."""
        return self.reply.code < 500


class BadReplyError(Exception):
    """Say that the octets are no SMTP reply, or that a reply passes a limit."""


class ReplyParser:
    """Cut octets into replies, however they are cut into segments."""

    __slots__ = ("_buffer", "_code", "_lines", "_status")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._code = ""
        self._status = ""
        self._lines: list[str] = []

    def feed(self, octets: bytes) -> None:
        """Add what the server sent."""
        self._buffer += octets

    def clear(self) -> None:
        """Forget all that is not yet a reply."""
        del self._buffer[:]
        self._lines = []
        self._status = ""

    def next_reply(self) -> Reply | None:
        """Take the next whole reply, or return None if more octets are needed.

        Raises BadReplyError; nothing can be read after it.
        """
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            if self._is_last(line):
                return self._finished()
        if len(self._buffer) > MAX_REPLY_LINE:
            raise BadReplyError("a reply line is too long")
        return None

    def _is_last(self, line: bytes) -> bool:
        if len(line) > MAX_REPLY_LINE:
            raise BadReplyError("a reply line is too long")
        # RFC 6531 section 3.7.4.2: texts may be UTF-8.
        match = _LINE.fullmatch(line.decode("utf-8", "replace"))
        if match is None:
            raise BadReplyError("a line is not an SMTP reply")
        code, mark, text = match.groups(default="")
        if self._lines and code != self._code:
            raise BadReplyError("the lines of a reply have different codes")
        self._code = code
        self._lines.append(self._without_status(text))
        if len(self._lines) > MAX_REPLY_LINES:
            raise BadReplyError("a reply has too many lines")
        return mark != "-"

    def _without_status(self, text: str) -> str:
        match = _STATUS.match(text)
        if match is None or match[1][0] != self._code[0]:
            return text
        self._status = self._status or match[1]
        return text[match.end() :]

    def _finished(self) -> Reply:
        reply = Reply(int(self._code), "\n".join(self._lines), self._status)
        self._lines = []
        self._status = ""
        return reply
