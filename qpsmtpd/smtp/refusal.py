"""One reply for all the recipients of a message, made of what each of them would be answered.

For those who have a single answer to give. It must not know to whom it is given, or who refused.
"""

from collections.abc import Sequence
from typing import Final

from .address import Address
from .reply import Reply

MAX_LINES: Final = 10
"""Recipients that are named, or lines of a reply that are given."""
MAX_TEXT: Final = 400
"""Characters of the reply that are given beside each recipient."""


def one_refusal(
    recipients: Sequence[Address], replies: Sequence[Reply], *, follows: Reply | None = None
) -> Reply:
    """Say why a message was not taken for all of its recipients.

    A refusal of the message is given as it is, those of recipients each with its recipient, bounded. Code and
    status are those of the first temporary refusal if there is one, else of the first: a later try may lose
    nothing, a bounce may. A reply that only follows from others does not count. Raises ValueError if nothing
    was refused.
    """
    refused = [
        (address, reply)
        for address, reply in zip(recipients, replies, strict=True)
        if reply.code >= 400 and reply is not follows
    ]
    if not refused:
        raise ValueError("nothing was refused")
    worst = next((reply for _, reply in refused if reply.code < 500), refused[0][1])
    # A reply to the whole message stands for every recipient, one to RCPT for its own.
    whole = all(reply is worst for reply in replies)
    return Reply(worst.code, "\n".join(worst.lines[:MAX_LINES]) if whole else _listed(refused), worst.status)


def _listed(refused: list[tuple[Address, Reply]]) -> str:
    lines = []
    for address, reply in refused[:MAX_LINES]:
        words = [f"{address.path}:", str(reply.code), reply.status, " ".join(reply.lines)[:MAX_TEXT]]
        lines.append(" ".join(filter(None, words)))
    if len(refused) > MAX_LINES:
        lines.append(f"and {len(refused) - MAX_LINES} more recipients")
    return "\n".join(lines)
