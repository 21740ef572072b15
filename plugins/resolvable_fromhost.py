"""Refuse MAIL from senders whose domain cannot be answered: it has neither a mail exchanger nor an
address.

A domain is good if one of its mail exchangers, or without any the domain itself, has an address outside
of the networks of ``invalid_resolvable_fromhost``.

Reads ``invalid_resolvable_fromhost``: an address or ADDRESS/BITS a line, of IPv4 or IPv6.

Settings: ``reject`` 1, 0 or naughty (default 1) and ``reject_type`` (default soft; where the DNS gave
no answer it is always soft). ``timeout``, seconds for all lookups together (default 10). ``null_mx``
refuses a domain that says that it takes no mail (RFC 7505) for good, with 550 5.7.27, unless
``reject_type`` says otherwise. At most 10 mail exchangers are looked up.

Hooks: mail. Relay clients and whitelisted clients and senders are exempt; the null sender and address
literals are accepted, the latter with karma -1, like a domain without mail exchanger. Notes of the
transaction: ``resolvable_fromhost`` (``mx``, ``a``, ``ip``, ``null``, or what was wrong with the host)
and ``resolvable_fromhost_host``. Replies 450 or 550, with x.1.8, or 4.4.3 where the DNS gave no answer.
Karma -1 where nothing is found, -2 where it leads nowhere. Log: ``pass, NOTE``, ``skip, address
literal``, ``fail, REASON``.

Differences from upstream: a domain that does not exist has x.1.8 and a text that says so; a lookup
without answer costs no karma and never refuses for good; ``reject naughty`` works; all addresses are
looked at, those of the domain itself, too; IPv6 works; a line that names no network stops the start.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, NamedTuple

from qpsmtpd import (
    DENY,
    DENYSOFT,
    Address,
    Connection,
    Outcome,
    Plugin,
    Rejection,
    Setting,
    Transaction,
    dsn,
)
from qpsmtpd.kit.deadline import Deadline
from qpsmtpd.kit.dns import MX, Answer, Status, is_address
from qpsmtpd.kit.match import Compiled, Networks

NOTE, HOST = "resolvable_fromhost", "resolvable_fromhost_host"
MAX_EXCHANGERS = 10  # as many as SPF looks at, RFC 7208 section 4.6.4


class Finding(NamedTuple):
    """What a domain came to: the note, points of karma, and the denial if there is to be one."""

    note: str
    karma: int
    denial: Outcome | None = None


def unanswered(domain: str, answer: Answer) -> Finding:
    """Find that nobody knows."""
    text = f"the DNS gives no answer about {domain} ({answer.detail}), please try again later"
    return Finding("", 0, dsn.temp_resolver_failed(text))


def bad_host(text: str, karma: int, note: str = "") -> Finding:
    """Find that the domain is no good."""
    return Finding(note, karma, dsn.addr_bad_from_system(text, outcome=DENYSOFT))


class ResolvableFromHost(Plugin):
    """Look the sender's domain up."""

    timeout = Setting.seconds(10, help="for all lookups together")
    null_mx = Setting.switch(help="refuse a domain that takes no mail for good")

    files: ClassVar[Mapping[str, str]] = {"invalid_resolvable_fromhost": "address or network"}

    def register(self) -> None:
        """Read the list."""
        self.invalid = Compiled(self.config, "invalid_resolvable_fromhost", Networks)
        self.invalid.check()

    async def hook_mail(
        self, connection: Connection, transaction: Transaction, sender: Address
    ) -> Rejection | None:
        """Examine the sender, and note the result."""
        if self.is_immune(connection, transaction):
            return None
        if sender.domain:
            transaction.notes[HOST] = sender.domain
        found = await self._examine(sender)
        if found.note:
            transaction.notes[NOTE] = found.note
        if found.karma:
            self.adjust_karma(connection, found.karma)
        if found.denial is not None:
            rejection = self.rejection(found.denial)
            temporary = found.denial.status == dsn.temp_resolver_failed().status
            return replace(rejection, reject_type="temp") if temporary else rejection
        if found.note == "ip":
            self.log.info("skip, address literal")
        else:
            self.log.info("pass, %s", found.note)
        return None

    async def _examine(self, sender: Address) -> Finding:
        """Find out what the sender's domain is."""
        domain = sender.domain
        if not sender:
            return Finding("null", 0)
        if not domain:
            return bad_host("the sender has no domain", -2, "unparsable host")
        if domain.startswith("["):
            return Finding("ip", -1)
        deadline = Deadline(self.clock, self.timeout)
        exchangers = await deadline.answer(self.dns.mx(domain))
        if exchangers.found:
            return await self._examine_exchangers(deadline, domain, list(exchangers))
        addresses = await deadline.answer(self.dns.addresses(domain))
        karma = -1 if exchangers.none else 0
        if self._is_reachable(addresses):
            return Finding("a", karma)
        if exchangers.failed or addresses.failed:
            return unanswered(domain, exchangers if exchangers.failed else addresses)
        if addresses.found:
            return bad_host(f"{domain} has no public address", karma - 1, "invalid address for host")
        return bad_host(f"{domain} has neither mail exchanger nor address", karma)

    async def _examine_exchangers(self, deadline: Deadline, domain: str, exchangers: list[MX]) -> Finding:
        """Find out whether one of the mail exchangers can be reached."""
        note = "invalid MX for host"
        hosts = [exchanger.host for exchanger in exchangers if exchanger.host][:MAX_EXCHANGERS]
        if not hosts:  # RFC 7505
            text = f"{domain} takes no mail, so nobody there can be answered"
            return Finding(note, -2, DENY(text, "5.7.27")) if self.null_mx else bad_host(text, -2, note)
        literals = [Answer(Status.FOUND, (host,)) for host in hosts if is_address(host)]
        names = [host for host in hosts if not is_address(host)]
        answers = literals
        # One address will do, and most have one of IPv4: half the questions need not be asked.
        for lookup in (self.dns.a, self.dns.aaaa):
            answers += await deadline.answers(*map(lookup, names))
            if any(self._is_reachable(answer) for answer in answers):
                return Finding("mx", 0)
        if failed := [answer for answer in answers if answer.failed]:
            return unanswered(domain, failed[0])
        return bad_host(f"{domain} has no mail exchanger with a public address", -2, note)

    def _is_reachable(self, answer: Answer) -> bool:
        invalid = self.invalid()
        return any(address not in invalid for address in answer)
