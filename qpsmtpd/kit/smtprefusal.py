"""One reply for all the recipients of a message, made of what a next hop said about each.

For those who have a single answer to give. It must not know to whom it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..smtp.address import Address
from ..smtp.reply import Reply
from .smtpenvelope import Delivery
from .smtptransaction import NOT_SENT

MAX_LINES: Final = 10
"""Recipients that are named, or lines of the next hop's reply that are given."""
MAX_TEXT: Final = 400
"""Characters of the reply that are given beside each recipient."""


def one_refusal(recipients: Sequence[Address], delivery: Delivery) -> Reply:
    """Say why a message was not taken for all of its recipients.

    A refusal of the message is given as it is, those of recipients each with its recipient, bounded. Code and
    status are those of the first temporary refusal if there is one, else of the first: a later try may lose
    nothing, a bounce may. Raises ValueError if nothing was refused.
    """
    refused = [
        (address, reply)
        for address, reply in zip(recipients, delivery.replies, strict=True)
        if reply.code >= 400 and reply is not NOT_SENT
    ]
    replies = [reply for _, reply in refused]
    if not replies:
        raise ValueError("nothing was refused")
    worst = next((reply for reply in replies if reply.code < 500), replies[0])
    # A reply to the whole message stands for every recipient, one to RCPT for its own.
    whole = all(reply is worst for reply in delivery.replies)
    return Reply(worst.code, _beginning(worst) if whole else _listed(refused), worst.status)


def _beginning(reply: Reply) -> str:
    return "\n".join(reply.lines[:MAX_LINES])


def _listed(refused: list[tuple[Address, Reply]]) -> str:
    lines = []
    for address, reply in refused[:MAX_LINES]:
        words = [f"{address.path}:", str(reply.code), reply.status, " ".join(reply.lines)[:MAX_TEXT]]
        lines.append(" ".join(filter(None, words)))
    if len(refused) > MAX_LINES:
        lines.append(f"and {len(refused) - MAX_LINES} more recipients")
    return "\n".join(lines)
