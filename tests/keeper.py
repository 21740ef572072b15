"""A queue plugin that keeps every promise, and remembers what was asked for."""

from typing import Any

from qpsmtpd import OK, Outcome, Plugin, Transaction
from qpsmtpd.smtp.parameters import PROMISES


class Keeper(Plugin):
    """Takes every message."""

    honours = frozenset(PROMISES)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.asked: list[Any] = []

    def hook_queue(self, transaction: Transaction) -> Outcome:
        """Note the parameters, and nothing else."""
        recipients = [recipient.parameters for recipient in transaction.recipients]
        self.asked.append((transaction.parameters, recipients))
        return OK
