"""One reply for all the recipients of a message, made of what a next hop said about each.

For those who have a single answer to give. It must not know to whom it is given.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..smtp import refusal
from ..smtp.address import Address
from ..smtp.reply import Reply
from .smtpenvelope import Delivery
from .smtptransaction import NOT_SENT


def one_refusal(recipients: Sequence[Address], delivery: Delivery) -> Reply:
    """Say why a message was not taken for all of its recipients, see `qpsmtpd.smtp.refusal`.

    Raises ValueError if nothing was refused.
    """
    return refusal.one_refusal(recipients, delivery.replies, follows=NOT_SENT)
