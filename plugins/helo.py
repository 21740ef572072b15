r"""Refuse clients whose HELO or EHLO name cannot be theirs.

Setting ``policy``: how much is asked of a name (default lenient).

* ``lenient``: it is not in ``badhelo``; it is not localhost, unless the client is; an address literal,
  ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]``, is the client's own address; it is no address without
  brackets.
* ``rfc``: besides, it is an address literal or a full domain name, which has an address; the client's
  address has a name.
* ``strict``: besides, it is no address literal, and it leads to the client's network (/24, /96 for
  IPv6), or a name of the client is in its domain. If both is true, karma +1. RFC 5321 section 4.1.4
  forbids to refuse a client because its name does not match: use it with ``reject 0`` or ``naughty``.

Mail clients behind a router say their private address, ``[192.168.1.2]``, which is not the one we see:
where users submit mail let them authenticate first, with ``reject naughty``.

Reads ``badhelo``: a name a line, in any case, or a regular expression, which is known by one of the
signs ``{ } [ ] ( ) ^ $ | * + ? \ !`` and searched for in the name, in lower case; a leading ! negates
it.

Settings: ``reject`` 1, 0 or naughty (default 1), ``reject_type`` (default disconnect). ``timeout`` or
``dns_timeout``, seconds for all lookups together (default 5). A domain is the last two labels of a
name; with ``public_suffixes`` it is what was registered below a public suffix, as in example.co.uk, and
that needs ``pip install 'qpsmtpd[publicsuffix]'``. It is a choice, so that no verdict depends on what
happens to be installed.

Hooks: helo, ehlo; data_post, which puts the name into the field X-HELO. Relay clients and whitelisted
clients are exempt. Notes of the connection: ``helo_forward_match``, ``helo_reverse_match``, 1 (rfc,
strict). Karma -1; it is charged again for the EHLO behind STARTTLS. Replies 550 and closes. Log:
``pass``, ``fail, REASON``; ``error`` for a lookup without answer, by which nobody is refused.

Differences from upstream: ``reject_type`` is honoured; literals are compared, and plain addresses are
not called forged; IPv6 works everywhere; a name may end in a dot; a name that exists without an address
is refused by ``rfc``; an unknown policy, or a regular expression that is none, stops the start.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import ClassVar

from qpsmtpd import DENY_DISCONNECT, Connection, Plugin, Rejection, Setting, SettingError, Transaction
from qpsmtpd.kit.deadline import Deadline
from qpsmtpd.kit.match import Compiled, LineError, regex
from qpsmtpd.kit.related import Owner, last_two_labels, public_suffix_owner, same_network

POLICIES = ("lenient", "rfc", "strict")
SIGNS_OF_REGEX = frozenset("{}[]()^$|*+?\\!")
FULL_NAME = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
FORWARD, REVERSE = "helo_forward_match", "helo_reverse_match"


class BadNames:
    """The list: names, and regular expressions that shall match, or shall not."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        self._names = {line.lower() for line in lines if SIGNS_OF_REGEX.isdisjoint(line)}
        self._patterns: list[tuple[re.Pattern[str], bool]] = []
        for position, line in enumerate(lines):
            if SIGNS_OF_REGEX.isdisjoint(line):
                continue
            try:
                checked = regex(line.removeprefix("!"))
            except ValueError as error:
                raise LineError(position, str(error)) from None
            # Case counts: [A-Z] never matches a name in lower case, and must not begin to.
            self._patterns.append((re.compile(checked.pattern), not line.startswith("!")))

    def __contains__(self, name: str) -> bool:
        return name in self._names or any(
            bool(pattern.search(name)) is wanted for pattern, wanted in self._patterns
        )


def literal(name: str) -> str:
    """Give the address in an address literal (RFC 5321 section 4.1.3), "" if the name is none."""
    if not (name.startswith("[") and name.endswith("]")):
        return ""
    return canonical(name[1:-1].removeprefix("ipv6:"))


def canonical(text: str) -> str:
    """Spell an address in the one way that can be compared; "" if the text is none."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


class Helo(Plugin):
    """Check the name that a client gives itself."""

    policy = Setting.choice("lenient", POLICIES, help="how much is asked of a name")
    timeout = Setting.seconds(5, help="for all lookups together")
    dns_timeout = Setting.seconds(0, help="another word for timeout")
    public_suffixes = Setting.switch(help="know domains by the public suffix list")

    files: ClassVar[Mapping[str, str]] = {"badhelo": "a name, or a regular expression that ! negates"}

    def register(self) -> None:
        """Read the lists."""
        self.bad = Compiled(self.config, "badhelo", BadNames)
        self.bad.check()
        self.owner: Owner = last_two_labels
        if self.public_suffixes:
            try:
                self.owner = public_suffix_owner()
            except ImportError as error:
                raise SettingError(f"public_suffixes: {error}; pip install 'qpsmtpd[publicsuffix]'") from None

    async def hook_helo(self, connection: Connection, host: str) -> Rejection | None:
        """Check the name, without the DNS as far as possible."""
        if not host:  # the engine refuses that
            self.adjust_karma(connection, -2)
            self.log.info("fail, tolerated, no name")
            return None
        if self.is_immune(connection):
            return None
        name = host.lower().removesuffix(".")
        reason = self._look_at(name, connection.remote_ip) or await self._look_up(connection, name)
        if not reason:
            self.log.info("pass")
            return None
        self.adjust_karma(connection, -1)
        return self.rejection(
            DENY_DISCONNECT(f"the name in your greeting is not accepted: {reason}"), log=reason
        )

    hook_ehlo = hook_helo

    def hook_data_post(self, connection: Connection, transaction: Transaction) -> None:
        """Tell the reader of the message."""
        if transaction.header is not None and connection.hello_host:
            name = connection.hello_host.encode("ascii", "replace").decode()
            transaction.header.remove("X-HELO")
            transaction.header.add("X-HELO", "".join(c if c.isprintable() else "?" for c in name))

    def _look_at(self, name: str, address: str) -> str:
        """Say what is wrong with the name as it stands, "" if nothing is."""
        said = literal(name)
        if name in self.bad():
            return "it is listed here"
        if name == "localhost" and not ip_address(address).is_loopback:
            return "you are not localhost"
        if said and said != canonical(address):
            return f"{said} is not your address"
        if canonical(name):
            return "an address needs brackets"
        if self.policy == "lenient":
            return ""
        if not said and not FULL_NAME.fullmatch(name):
            return "it is not a full domain name"
        return "it is an address" if said and self.policy == "strict" else ""

    async def _look_up(self, connection: Connection, name: str) -> str:
        """Say what is wrong with the name according to the DNS, "" if nothing is or nobody knows."""
        connection.notes.pop(FORWARD, None)
        connection.notes.pop(REVERSE, None)
        if self.policy == "lenient":
            return ""
        address = canonical(connection.remote_ip)
        lookups = (
            [self.dns.ptr(address)] if literal(name) else [self.dns.ptr(address), self.dns.addresses(name)]
        )
        answers = await Deadline(self.clock, self.dns_timeout or self.timeout).answers(*lookups)
        for answer in answers:
            if answer.failed:
                self.log.error("error, no answer about %s or %s: %s", name, address, answer.detail)
        names, *addresses = answers
        if addresses and addresses[0].none:
            return "it has no address"
        if names.none:
            return "your address has no name"
        if any(same_network(address, found, bits6=96) for answer in addresses for found in answer):
            connection.notes[FORWARD] = 1
        if any(self._same_domain(name, found) for found in names):
            connection.notes[REVERSE] = 1
        if self.policy == "strict" and not any(answer.failed for answer in answers):
            return self._compare(connection)
        return ""

    def _same_domain(self, name: str, other: str) -> bool:
        owner = self.owner(other)
        return bool(owner) and owner == self.owner(name)

    def _compare(self, connection: Connection) -> str:
        """Say that neither direction matches; reward it if both do."""
        matches = (FORWARD in connection.notes) + (REVERSE in connection.notes)
        if matches == 2:
            self.adjust_karma(connection, 1)
        return "" if matches else "it is not the name of your address"
