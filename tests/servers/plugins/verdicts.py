"""Refuse recipients by their names: never and later at RCPT, picky and full for what is in the message."""

from qpsmtpd import DENY, DENYSOFT, Outcome, Plugin, Recipient, Transaction


class Verdicts(Plugin):
    """The verdict is the local part."""

    def hook_rcpt(self, recipient: Recipient) -> Outcome | None:
        """Judge by name."""
        name = recipient.address.local
        if name == "never":
            return DENY("never", "5.1.1")
        return DENYSOFT("later", "4.2.1") if name == "later" else None

    def hook_data_post(self, transaction: Transaction) -> None:
        """Judge each recipient by name."""
        for recipient in transaction.recipients:
            if recipient.address.local == "picky":
                transaction.answer(recipient, DENY("not this one", "5.7.1"))
            if recipient.address.local == "full":
                transaction.answer(recipient, DENYSOFT("mailbox full", "4.2.2"))
