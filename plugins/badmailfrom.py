r"""Refuse MAIL from listed senders.

Reads ``badmailfrom``: an entry a line, the rest of the line is the reply text. An entry is ``user@host``,
``@host``, or a regular expression, which is known by one of the signs ``/ ^ $ * + ! % ? \``; all in any
case. The first line that matches counts. Relay clients and whitelisted clients and senders are exempt,
and so is the null sender.

Settings: ``reject`` 1, 0 or naughty (default 1) and ``reject_type``.

Hooks: mail. Replies 550 5.7.1. Karma -1. Log: ``pass`` or ``fail, REASON``.

Differences from upstream: a regular expression that is none stops the start; one in upper case matches;
``a+b@host`` is tried as an address, too.
"""

from collections.abc import Mapping
from typing import ClassVar

from qpsmtpd import DENY, Address, Connection, Plugin, Rejection, Transaction
from qpsmtpd.kit.match import AddressPatterns, Compiled

DEFAULT_REASON = "your envelope sender is in my badmailfrom list"


class BadMailFrom(Plugin):
    """Refuse listed senders."""

    files: ClassVar[Mapping[str, str]] = {
        "badmailfrom": "user@host, @host or a regular expression, then the reply text"
    }

    def register(self) -> None:
        """Read the list."""
        self.senders = Compiled(self.config, "badmailfrom", AddressPatterns)
        self.senders.check()

    def hook_mail(
        self, connection: Connection, transaction: Transaction, sender: Address
    ) -> Rejection | None:
        """Look the sender up."""
        if self.is_immune(connection, transaction):
            return None
        senders = self.senders()
        if not (senders.entries and sender.local and sender.domain):
            self.log.debug("skip, no list or no address")
            return None
        # As spelled without quotes: "bad"@host is bad@host (RFC 5321 section 4.1.2).
        reason = senders.reason(f"{sender.local}@{sender.domain}")
        if reason is None:
            self.log.info("pass")
            return None
        self.adjust_karma(connection, -1)
        return self.rejection(DENY(reason or DEFAULT_REASON))
