"""Refuse clients whose address is in a block list of the DNS (RFC 5782).

Reads ``dnsbl_zones``: a zone a line, or ``zone:message``, where ``%IP%`` in the message stands for the
client's address. Without a message the list's own text is sent. All lists are asked at once, and the
first one in the file that has the client counts. Without a zone the plugin does nothing. A list is
asked for each connection: read its terms of use, and ask it through a name server of your own.

Reads ``dnsbl_allow``: clients that are not looked up, a line each: an address, ADDRESS/BITS, or the
leading part of an address.

Settings: ``reject`` 1 (or connect), 0 or naughty (default 1). ``reject_type`` (default perm), or the same
KIND as a word of its own, as old configurations have it. ``timeout``, seconds for all lookups together
(default 10); a list without answer by then counts as having none.

Hooks: connect, rcpt, reset_transaction. Relay clients and whitelisted clients are exempt. Karma -1.
Replies 554 or 421 and closes. Log: ``pass``, ``fail, ZONE``, ``error, ZONE: REASON``.

With ``reject naughty``, mail whose recipients are all postmaster, abuse, mailer-daemon or root comes
through: whoever is listed must be able to complain. That takes back the mark of this plugin only, and
for this message only.

Differences from upstream: the message of a line is really sent; IPv6 works; an answer outside of
127.0.0.0/8 is no listing, and one of 127.255.255.0/24 is the list refusing to be asked; zones count in
the order of the file. Environment variables are of no concern: RBLSMTPD belongs to a server that is
started for each connection, and so does ``dnsbl_rejectmsg``, which only went with it.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar, NamedTuple

from qpsmtpd import DENY, Connection, Plugin, Recipient, Rejection, Setting, Transaction
from qpsmtpd.kit.deadline import Deadline
from qpsmtpd.kit.dns import Answer, reversed_name
from qpsmtpd.kit.dns_answer import question_name
from qpsmtpd.kit.match import Compiled, LineError, Networks

LISTED = IPv4Network("127.0.0.0/8")  # RFC 5782 section 2.1
REFUSED = IPv4Network("127.255.255.0/24")  # by convention: asked too often, or through a public resolver
MAX_TEXT = 400  # characters of a list's own text
SPECIAL = frozenset({"postmaster", "abuse", "mailer-daemon", "root"})


class Zone(NamedTuple):
    """A list, and what its clients are told; "" is the list's own text."""

    name: str
    message: str


def read_zones(lines: tuple[str, ...]) -> tuple[Zone, ...]:
    """Read lines of ``dnsbl_zones``; raises LineError."""
    zones = []
    for position, line in enumerate(lines):
        name, _, message = line.partition(":")
        spelled = question_name(name.strip())
        if spelled is None:
            raise LineError(position, f"{name!r} is no zone; allowed: zone or zone:message")
        zones.append(Zone(spelled, message.strip()))
    return tuple(zones)


def is_special(recipient: Recipient) -> bool:
    """Tell whether a recipient is for complaints."""
    return recipient.address.local.lower() in SPECIAL


def read_allowed(lines: tuple[str, ...]) -> Networks:
    """Read lines of ``dnsbl_allow``; raises LineError."""
    return Networks(lines, bare_parts=True)


class DNSBL(Plugin):
    """Ask block lists about the client."""

    timeout = Setting.seconds(10, help="for all lookups together")
    kind = Setting.reject_type(position=True, help="reject_type, as old configurations give it")

    files: ClassVar[Mapping[str, str]] = {
        "dnsbl_zones": "zone, or zone:message with %IP%",
        "dnsbl_allow": "address or network",
    }

    def register(self) -> None:
        """Read the lists."""
        self.reject_type = self.reject_type or self.kind
        self.zones = Compiled(self.config, "dnsbl_zones", read_zones)
        self.allowed = Compiled(self.config, "dnsbl_allow", read_allowed)
        self.zones.check()
        self.allowed.check()

    async def hook_connect(self, connection: Connection) -> Rejection | None:
        """Look the client up in all zones."""
        address, zones = connection.remote_ip, self.zones()
        if not zones or self.is_immune(connection) or address in self.allowed():
            return None
        deadline = Deadline(self.clock, self.timeout)
        names = [reversed_name(address, zone.name) for zone in zones]
        answers = await deadline.answers(*map(self.dns.a, names))
        listings = [self._is_listing(zone, answer) for zone, answer in zip(zones, answers, strict=True)]
        if True not in listings:
            self.log.info("pass")
            return None
        first = listings.index(True)
        zone = zones[first]
        text = zone.message.replace("%IP%", address)
        if not text:
            text = await self._own_text(deadline, names[first]) or f"{address} is listed by {zone.name}"
        self.adjust_karma(connection, -1)
        connection.results.add(self, failed=zone.name)
        return self.rejection(DENY(text), log=zone.name)

    def hook_rcpt(self, connection: Connection, transaction: Transaction, recipient: Recipient) -> None:
        """Let those that we refuse reach somebody to complain to, but nobody else along with him."""
        if is_special(recipient) and all(map(is_special, transaction.recipients)):
            self._take_back(connection, transaction)
        else:
            self._mark_again(connection, transaction)

    def hook_reset_transaction(self, connection: Connection, transaction: Transaction) -> None:
        """Go on as before: the exception was for this message."""
        self._mark_again(connection, transaction)

    def _is_listing(self, zone: Zone, answer: Answer) -> bool:
        """Tell whether an answer means that the client is listed; log what is no answer."""
        codes = [IPv4Address(value) for value in answer]
        if answer.failed:
            self.log.error("error, %s: %s", zone.name, answer.detail)
        elif any(code in REFUSED for code in codes):
            self.log.error("error, %s: refuses to be asked, with %s", zone.name, answer.values[0])
        elif any(code in LISTED for code in codes):
            return True
        elif codes:
            self.log.error("error, %s: answers with %s, which is no listing", zone.name, codes[0])
        return False

    async def _own_text(self, deadline: Deadline, name: str) -> str:
        """Give what the list itself says, in one line."""
        answer = await deadline.answer(self.dns.txt(name))
        return " ".join(answer.values[0].split())[:MAX_TEXT] if answer.found else ""

    def _take_back(self, connection: Connection, transaction: Transaction) -> None:
        # The registry has put the plugin's name before its reason, and each reason on a line of its own.
        reasons = connection.naughty.split("\n")
        ours = [reason for reason in reasons if reason.startswith(f"({self.log_name}) ")]
        if ours:
            self.log.warn("skip, the recipients are for complaints")
            transaction.notes[self.log_name] = ours
            connection.naughty = "\n".join(reason for reason in reasons if reason not in ours)

    def _mark_again(self, connection: Connection, transaction: Transaction) -> None:
        ours: list[str] = transaction.notes.pop(self.log_name, [])
        if ours:
            connection.naughty = "\n".join([*ours, *filter(None, [connection.naughty])])
