"""Facts about one message until RSET drops them: envelope, header, body, notes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .body import Body
from .header import Header
from .smtp.address import NULL_PATH, Address

Parameters = dict[str, str | None]
"""MAIL or RCPT parameters: upper-case keyword, value or None where it has none."""


class Recipient:
    """One forward-path with its parameters and its own notes and configuration."""

    __slots__ = ("_lookup", "address", "notes", "parameters")

    def __init__(
        self,
        address: Address,
        parameters: Parameters | None = None,
        lookup: Callable[[Address, str], Awaitable[Sequence[str]]] | None = None,
    ) -> None:
        self.address = address
        self.parameters: Parameters = parameters or {}
        self.notes: dict[str, Any] = {}
        self._lookup = lookup

    async def config(self, name: str) -> Sequence[str]:
        """Give the lines of a setting for this recipient: its own, else everybody's."""
        return await self._lookup(self.address, name) if self._lookup else ()

    def __repr__(self) -> str:
        return f"Recipient({self.address.path})"


class Transaction:
    """A mail transaction (RFC 5321 section 3.3). ``sender`` is None until MAIL was accepted.

    ``size`` counts the octets of header and body as the client sent them, dot-stuffing undone.
    ``chunked`` tells whether the message comes by BDAT: then nobody waits for a 354.
    ``auth_results`` are clauses for the Authentication-Results field of this message only.
    """

    __slots__ = (
        "__weakref__",
        "auth_results",
        "body",
        "chunked",
        "header",
        "notes",
        "parameters",
        "recipients",
        "sender",
        "size",
    )

    def __init__(self) -> None:
        self.sender: Address | None = None
        self.parameters: Parameters = {}
        self.recipients: list[Recipient] = []
        self.header: Header | None = None
        self.body: Body | None = None
        self.size = 0
        self.chunked = False
        self.auth_results: list[str] = []
        self.notes: dict[str, Any] = {}

    @property
    def reverse_path(self) -> Address:
        """The sender, null as long as there is none."""
        return self.sender if self.sender is not None else NULL_PATH

    @property
    def smtputf8(self) -> bool:
        """Tell whether the client declared internationalized mail (RFC 6531)."""
        return "SMTPUTF8" in self.parameters

    @property
    def binary(self) -> bool:
        """Tell whether the client declared content that is not lines (RFC 3030 section 3)."""
        return (self.parameters.get("BODY") or "").upper() == "BINARYMIME"

    def remove_recipient(self, address: Address) -> None:
        """Drop every recipient with this address."""
        self.recipients = [recipient for recipient in self.recipients if recipient.address != address]

    def close(self) -> None:
        """Remove what the message left on disk."""
        if self.body is not None:
            self.body.close()
            self.body = None
