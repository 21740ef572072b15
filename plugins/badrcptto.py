r"""Refuse RCPT to listed recipients.

Reads ``badrcptto``: an entry a line, the rest of the line is the reply text. An entry is ``user@host``,
``@host``, or a regular expression, which is known by one of the signs ``/ ^ $ * + ! % ? \``; all in any
case. The first line that matches counts. Relay clients and whitelisted clients and senders are exempt;
``<postmaster>`` without a domain is never refused.

Settings: ``reject`` 1, 0 or naughty (default 1) and ``reject_type``.

Hooks: rcpt. Replies 550 with the line's text, or 5.1.1 and the entry. Karma -2. Log: ``pass``, ``skip, ...``
or ``fail, bad recipient ADDRESS``.

Differences from upstream: ``reject`` and ``reject_type``; a regular expression that is none stops the
start, and its ``\S`` stays ``\S``; ``a+b@host`` is tried as an address, too.
"""

from collections.abc import Mapping
from typing import ClassVar

from qpsmtpd import DENY, Connection, Plugin, Recipient, Rejection, Transaction, dsn
from qpsmtpd.kit.match import AddressPatterns, Compiled


class BadRcptTo(Plugin):
    """Refuse listed recipients."""

    files: ClassVar[Mapping[str, str]] = {
        "badrcptto": "user@host, @host or a regular expression, then the reply text"
    }

    def register(self) -> None:
        """Read the list."""
        self.recipients = Compiled(self.config, "badrcptto", AddressPatterns)
        self.recipients.check()

    def hook_rcpt(
        self, connection: Connection, transaction: Transaction, recipient: Recipient
    ) -> Rejection | None:
        """Look the recipient up."""
        if self.is_immune(connection, transaction):
            return None
        recipients, address = self.recipients(), recipient.address
        if not (recipients.entries and address.local and address.domain):
            self.log.info("skip, no list or no address")
            return None
        # As spelled without quotes: "bad"@host is bad@host (RFC 5321 section 4.1.2).
        entry = recipients.find(f"{address.local}@{address.domain}")
        if entry is None:
            self.log.info("pass")
            return None
        self.adjust_karma(connection, -2)
        outcome = DENY(entry.rest) if entry.rest else dsn.no_such_user(f"mail to {entry.text} not accepted")
        return self.rejection(outcome, log=f"bad recipient {address}")
