"""Refuse recipients by their names: never, later."""

from qpsmtpd import DENY, DENYSOFT, Outcome, Plugin, Recipient


class Verdicts(Plugin):
    """The verdict is the local part."""

    def hook_rcpt(self, recipient: Recipient) -> Outcome | None:
        """Judge by name."""
        name = recipient.address.local
        if name == "never":
            return DENY("never", "5.1.1")
        return DENYSOFT("later", "4.2.1") if name == "later" else None
