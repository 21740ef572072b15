"""Accept recipients in our domains, refuse to relay to others. Must be the last plugin that hooks rcpt.

A client that may relay (``connection.relay_client``: set by relay and by AUTH) may send to everywhere.
Everybody else may send to the domains of ``me``, ``rcpthosts`` and ``morercpthosts.cdb``; any other recipient
is refused with 550 5.7.1. A recipient without a domain is ours if it is postmaster (RFC 5321 section 4.1.1.3)
or abuse, and nobody's otherwise.

Settings: ``whitelist_relays 1`` lets whitelisted hosts and senders relay, too, as upstream did: a sender
is easily forged, so this opens the relay. ``literals 1`` accepts recipients at the address that the
client has connected to, as in ``postmaster@[192.0.2.25]``.

Hooks: rcpt. Log: ``pass: HOST`` or ``fail, cannot relay to HOST``.

Differences from upstream: whitelists do not grant relaying. A bare user is refused. Of a line of rcpthosts
the first word counts. ``.domain`` in morercpthosts works as in rcpthosts, as qmail-smtpd has it.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import ClassVar

from qpsmtpd import OK, Address, Connection, Outcome, Plugin, Recipient, Rejection, Setting, Transaction, dsn
from qpsmtpd.kit.match import Compiled, HostPatterns

LOCAL_USERS = frozenset({"postmaster", "abuse"})


class RcptOk(Plugin):
    """Have the last word about a recipient."""

    whitelist_relays = Setting.switch(help="let whitelisted hosts and senders relay, which is dangerous")
    literals = Setting.switch(help="accept recipients at our own address literal")

    files: ClassVar[Mapping[str, str]] = {
        "rcpthosts": "example.com, or .example.com for every host below it",
        "morercpthosts.cdb": "constant database of more such names, in lower case",
    }

    def register(self) -> None:
        """Read the domains."""
        self.rcpthosts = Compiled(self.config, "rcpthosts", HostPatterns)
        self.rcpthosts.check()

    def hook_rcpt(
        self, connection: Connection, transaction: Transaction, recipient: Recipient
    ) -> Outcome | Rejection:
        """Accept who is ours or may relay, refuse the rest."""
        if self.may_relay(connection, transaction):
            return OK
        host = self.host_of(recipient.address)
        if self.is_ours(host) or (self.literals and is_literal_of(host, connection.local_ip)):
            self.log.info("pass: %s", host)
            return OK
        return self.rejection(dsn.relaying_denied(), log=f"cannot relay to {host or recipient.address}")

    def may_relay(self, connection: Connection, transaction: Transaction) -> bool:
        """Tell whether this client may send to everywhere."""
        if self.whitelist_relays or connection.relay_client:
            return self.is_immune(connection, transaction)
        return False

    def host_of(self, address: Address) -> str:
        """Give the recipient's domain in lower case, ours for postmaster and abuse without one."""
        if not address.domain and address.local.lower() in LOCAL_USERS:
            return self.config.value("me").lower()
        return address.domain.lower()

    def is_ours(self, host: str) -> bool:
        """Tell whether we take mail for a domain."""
        if not host:
            return False
        if host == self.config.value("me").lower() or host in self.rcpthosts():
            return True
        more = self.config.map("morercpthosts")
        return bool(more) and any(name in more for name in with_suffixes(host))


def with_suffixes(host: str) -> list[str]:
    """Give a host and what ``.domain`` entries may cover it, the longest first."""
    return [host, *(host[dot:] for dot, char in enumerate(host) if char == "." and dot)]


def is_literal_of(host: str, local_ip: str) -> bool:
    """Tell whether a domain is the literal of an address (RFC 5321 section 4.1.3)."""
    if not (host.startswith("[") and host.endswith("]")):
        return False
    try:
        return ip_address(host[1:-1].removeprefix("ipv6:")) == ip_address(local_ip)
    except ValueError:
        return False
