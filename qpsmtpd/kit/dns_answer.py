"""What the DNS says, as values: answers, and how names and messages are spelled and read.

Knows names, records and their lifetimes; must not know how servers are asked or what is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, NamedTuple

import idna
from twisted.internet.defer import Deferred
from twisted.names import dns

MAX_ALIASES: Final = 16  # CNAME records followed in one answer


class Status(Enum):
    """Tell what a lookup came to."""

    FOUND = "found"
    NONE = "none"
    FAILED = "failed"


class MX(NamedTuple):
    """A mail exchanger; an empty host is the null MX (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Carry the values found, or say why there are none.

    ``values`` are texts: addresses in canonical form, names in lower case without the final dot (octets that
    no host name has as ``\\DDD``), the strings of a TXT record joined; MX by preference. A server chose
    them: a TXT may hold any character. ``detail`` is NOERROR, NXDOMAIN (also for names that cannot exist),
    SERVFAIL, REFUSED, another RCODE, "timeout", or what was wrong with the server.
    """

    status: Status
    values: tuple[Any, ...] = ()
    detail: str = "NOERROR"

    @property
    def found(self) -> bool:
        """Tell whether there are values."""
        return self.status is Status.FOUND

    @property
    def none(self) -> bool:
        """Tell whether it is certain that there are no values."""
        return self.status is Status.NONE

    @property
    def failed(self) -> bool:
        """Tell whether nothing is known; asking later may help."""
        return self.status is Status.FAILED

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)


NO_SUCH_NAME: Final = Answer(Status.NONE, detail="NXDOMAIN")


def at_hand(lookups: Sequence[Deferred[Answer]]) -> list[Answer] | None:
    """Give the answers if nothing is to be waited for, since all come from a cache; else None."""
    results = [lookup.result for lookup in lookups if lookup.called]
    answers = [result for result in results if isinstance(result, Answer)]
    return answers if len(answers) == len(lookups) else None


def question_name(name: str) -> str | None:
    """Spell a name as it is asked: lower case, A-labels, no final dot; None if no such name can exist."""
    if not name.isascii():
        try:
            # The length first: mapping takes its time. Label by label, for `_dmarc` is no IDNA label.
            mapped = idna.uts46_remap(name, std3_rules=False) if len(name) <= 253 else ""
            name = ".".join(i if i.isascii() else idna.alabel(i).decode("ascii") for i in mapped.split("."))
        except UnicodeError:
            return None
    name = name.lower().removesuffix(".")
    # RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters; a label has 1 to 63 octets.
    fits = len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split("."))
    return name if fits and name.isprintable() and " " not in name else None


def is_address(text: str) -> bool:
    """Tell whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def reversed_name(address: str, zone: str) -> str:
    """Give the name of an address in a DNSBL zone (RFC 5782 section 2): octets or nibbles, last first.

    Raises ValueError if `address` is none.
    """
    return f"{pointer(address).rsplit('.', 2)[0]}.{zone}"


def pointer(address: str) -> str:
    """Give the name that an address has in the reverse tree; raises ValueError if it is none."""
    parsed = ip_address(address)
    return (getattr(parsed, "ipv4_mapped", None) or parsed).reverse_pointer


def _host(name: dns.Name) -> str:
    """Spell a name from a message so that it may be logged and asked for."""
    text = name.name.lower().decode("latin-1")
    if text.isascii() and text.isprintable() and " " not in text:
        return text
    return "".join(i if "!" <= i <= "~" else f"\\{ord(i):03}" for i in text)  # RFC 1035 section 5.1


KINDS: Final[dict[str, tuple[int, Callable[[Any], Any]]]] = {
    "A": (dns.A, lambda record: str(IPv4Address(record.address))),
    "AAAA": (dns.AAAA, lambda record: str(IPv6Address(record.address))),
    "MX": (dns.MX, lambda record: MX(record.preference, _host(record.name))),
    "TXT": (dns.TXT, lambda record: b"".join(record.data).decode("utf-8", "replace")),
    "PTR": (dns.PTR, lambda record: _host(record.name)),
}
"""Record types: their number, and how a record of twisted.names becomes a value."""


def read(message: dns.Message, name: str, kind: str) -> tuple[Answer, int]:
    """Give what a message says about a name, and for how many seconds it holds."""
    number, value = KINDS[kind]
    answers = [record for record in message.answers if record.cls == dns.IN]
    aliases = {record.name.name.lower(): record for record in answers if record.type == dns.CNAME}
    owner = name.encode("ascii")
    ttls: list[int] = []
    while owner in aliases:
        if len(ttls) == MAX_ALIASES:
            return Answer(Status.FAILED, detail="too many aliases"), 0
        ttls.append(_ttl(aliases[owner]))
        owner = _payload(aliases[owner]).name.name.lower()
    # Only records of the name asked for, or of its alias: others were not asked for and prove nothing.
    records = [record for record in answers if record.type == number and record.name.name.lower() == owner]
    if ttls and not (records or message.recAv or message.rCode == dns.ENAME):
        return Answer(Status.FAILED, detail="referral"), 0  # the server did not ask others about the alias
    if message.rCode == dns.ENAME or not records:
        none = NO_SUCH_NAME if message.rCode == dns.ENAME else Answer(Status.NONE)
        return none, min([*ttls, _negative_ttl(message)])
    values = [value(_payload(record)) for record in records]
    if kind == "MX":
        values.sort(key=lambda mx: mx.preference)
    return Answer(Status.FOUND, tuple(values)), min(ttls + [_ttl(record) for record in records])


def _payload(record: dns.RRHeader) -> Any:
    return record.payload


def _ttl(record: dns.RRHeader) -> int:
    return record.ttl if record.ttl < 2**31 else 0  # RFC 2181 section 8


def _negative_ttl(message: dns.Message) -> int:
    """Give the seconds for which nothing stays nothing; 0 without a SOA (RFC 2308 section 5)."""
    return next((min(_ttl(i), _payload(i).minimum) for i in message.authority if i.type == dns.SOA), 0)
