"""Facts about one message until RSET drops them: envelope, header, body, notes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from .body import Body
from .header import Header
from .smtp.address import NULL_PATH, Address

if TYPE_CHECKING:
    from .outcome import Outcome, Rejection
    from .verdicts import Verdicts

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

    ``accepted`` are the recipients as RCPT accepted them, in order; ``recipients`` those that the message is
    still for. ``each`` tells whether the client hears a reply for each (LMTP, PRDR).
    ``size`` counts the octets of header and body as the client sent them, dot-stuffing undone.
    ``chunked`` tells whether the message comes by BDAT: then nobody waits for a 354.
    ``auth_results`` are clauses for the Authentication-Results field of this message only.
    """

    __slots__ = (
        "__weakref__",
        "accepted",
        "auth_results",
        "body",
        "chunked",
        "each",
        "header",
        "notes",
        "parameters",
        "recipients",
        "sender",
        "size",
        "verdicts",
    )

    def __init__(self) -> None:
        self.sender: Address | None = None
        self.parameters: Parameters = {}
        self.recipients: list[Recipient] = []
        self.accepted: list[Recipient] = []
        self.each = False
        self.verdicts: Verdicts | None = None  # when the message is complete
        self.header: Header | None = None
        self.body: Body | None = None
        self.size = 0
        self.chunked = False
        self.auth_results: list[str] = []
        self.notes: dict[str, Any] = {}

    @property
    def touched(self) -> bool:
        """Tell whether a plugin has left anything here before there was a sender."""
        return bool(self.notes or self.auth_results or self.body)

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
        return "BODY" in self.parameters and (self.parameters["BODY"] or "").upper() == "BINARYMIME"

    @property
    def all_or_none(self) -> bool:
        """Tell whether the message must be stored for all recipients or for none.

        So it is where the client hears one reply for all, or none for a recipient that a plugin has added.
        """
        return not self.each or not set(self.recipients) <= set(self.accepted)

    def answer(self, recipient: Recipient, outcome: Outcome | Rejection) -> None:
        """Give one recipient an answer of its own: DENY or DENYSOFT; in the hook ``queue`` OK, too.

        Before ``queue`` it is possible in data_post_headers, data_post and queue_pre. Raises ValueError
        elsewhere, for another outcome, for what no reply can hold, for a recipient that was answered already
        or that the client has not named.
        """
        if self.verdicts is None or not self.verdicts.concern(recipient, self.accepted):
            raise ValueError(f"{recipient!r} is nobody to whom the client wants an answer now")
        self.verdicts.note(recipient, outcome)

    def remove_recipient(self, address: Address) -> None:
        """Drop every recipient with this address."""
        self.recipients = [recipient for recipient in self.recipients if recipient.address != address]

    def close(self) -> None:
        """Remove what the message left on disk."""
        if self.body is not None:
            self.body.close()
            self.body = None
