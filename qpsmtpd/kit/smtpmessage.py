"""A message that a client has sent, on its way to a next hop.

It must not know where that is, or what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .smtpenvelope import Envelope
from .smtppassing import passed_on

if TYPE_CHECKING:
    from ..transaction import Transaction


class Message:
    """A message as it is sent; ``begun`` tells whether anything of it was read."""

    __slots__ = ("_body", "_header", "_transaction", "all_or_none", "begun")

    def __init__(self, transaction: Transaction) -> None:
        assert transaction.header is not None
        assert transaction.body is not None
        self._transaction = transaction
        self.all_or_none = transaction.all_or_none
        self._header = bytes(transaction.header) + b"\r\n"
        self._body = transaction.body
        self.begun = False

    def __iter__(self) -> Iterator[bytes]:
        self.begun = True
        yield self._header
        yield from self._body.chunks()

    def envelope(self, extensions: Mapping[str, str]) -> Envelope:
        """Make the envelope; what was declared but is not needed depends on the next hop's extensions.

        Raises SMTPOutError if they lack what the client was promised.
        """
        transaction = self._transaction
        ascii_header = self._header.isascii()
        declared = (transaction.parameters.get("BODY") or "").upper() == "8BITMIME"
        return Envelope(
            transaction.reverse_path,
            [(one.address, passed_on("RCPT", one.parameters, extensions)) for one in transaction.recipients],
            len(self._header) + self._body.size,
            not ascii_header or self._body.is_8bit or (declared and "8BITMIME" in extensions),
            transaction.smtputf8 and (not ascii_header or "SMTPUTF8" in extensions),
            passed_on("MAIL", transaction.parameters, extensions),
        )
