"""Check the header of a message against the basic rules of RFC 5322 section 3.6.

Refuses a message without content; one that lacks a required field or has it empty; one that has Date, From,
Sender, Reply-To, To, Cc, Bcc, Message-Id, In-Reply-To, References or Subject more than once; and one whose
Date is too old or too far in the future. A Date that cannot be read is let pass; one without zone is taken
for local time. Relay clients and whitelisted clients and senders may write what they like, but not nothing.

Settings: ``require``, names of required fields with commas between (default From); ``past`` and ``future``,
the days that Date may differ from now (default 0: any); ``reject`` 1, 0 or naughty (default 1);
``reject_type`` (default perm).

Hooks: data_post. Replies 552 5.6.0 with everything that is wrong. Karma -1 for each fault. Log: ``pass``, or
``fail, FAULTS``, before it perhaps ``skip, the Date cannot be read``.

Differences from upstream: ``reject 0`` tolerates; upstream left missing and double fields to the naughty
plugin even so, for which ``reject naughty`` is the word. All faults are told in one reply.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime

from qpsmtpd import DENY, Connection, Header, Plugin, Rejection, Setting, SettingError, Transaction, dsn

UNIQUE = (
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Message-Id",
    "In-Reply-To",
    "References",
    "Subject",
)
"""Fields that occur once at most, RFC 5322 section 3.6."""

DAY = 86400


class Headers(Plugin):
    """Refuse messages whose header breaks the basic rules."""

    require = Setting.words(("From",), help="fields that must be there")
    past = Setting.seconds(0, unit="days", help="the age at which a message is too old; 0 is none")
    future = Setting.seconds(0, unit="days", help="how far Date may be ahead; 0 is any")

    def register(self) -> None:
        """Check the names of the required fields."""
        for name in self.require:
            # RFC 5322 section 3.6.8: printable ASCII without colon.
            if not re.fullmatch(r"[!-9;-~]+", name):
                raise SettingError(f"require: {name!r} is no name of a header field")

    def hook_data_post(self, connection: Connection, transaction: Transaction) -> Rejection | None:
        """Check the header."""
        header = transaction.header
        if not transaction.size or header is None:
            return self.refusal("the message is empty")
        if self.is_immune(connection, transaction):
            return None
        faults = [*self.faults_of_fields(header), *self.faults_of_date(header.get("Date"))]
        if not faults:
            self.log.info("pass")
            return None
        self.adjust_karma(connection, -len(faults))
        return self.refusal("; ".join(faults))

    def refusal(self, faults: str) -> Rejection:
        """Say what is wrong."""
        return self.rejection(dsn.media_unspecified(f"RFC 5322: {faults}", outcome=DENY), log=faults)

    def faults_of_fields(self, header: Header) -> Iterator[str]:
        """Name the fields that are missing, and those that are there too often."""
        for name in self.require:
            if not header.get(name):
                yield f"no {name} header"
        counts = Counter(name.lower() for name in header.names())
        for name in UNIQUE:
            if counts[name.lower()] > 1:
                yield f"more than one {name} header"

    def faults_of_date(self, text: str) -> Iterator[str]:
        """Say whether the Date is out of bounds."""
        if not text:
            return
        try:
            age = self.clock.seconds() - timestamp(text)
        except (ValueError, OverflowError):
            self.log.info("skip, the Date cannot be read")
            return
        if self.past and age > self.past * DAY:
            yield "the Date is too far in the past"
        if self.future and -age > self.future * DAY:
            yield "the Date is too far in the future"


def timestamp(text: str) -> float:
    """Give the time that a Date field says, in seconds since the epoch; ValueError or OverflowError if none.

    Takes the obsolete forms, and ctime's, too. Without a zone it is local time, except for -0000, which is
    UTC of an unknown place (RFC 5322 section 3.3).
    """
    moment = parsedate_to_datetime(text)
    if moment.tzinfo is None and text.partition("(")[0].rstrip().endswith("-0000"):
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()
