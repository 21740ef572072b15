"""Lists of networks, hosts and addresses, as administrators write them, one a line.

Values, built once from the lines of a file and asked for every message. They know no file and no plugin:
what is wrong with a line is a LineError with its position; `Compiled` finds its place in the configuration.

In each list the first word of a line is the entry, and the rest of the line belongs to it (a reason, a reply,
a code). `find` gives the first entry in the order of the file that matches.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from .compiled import Compiled

__all__ = [
    "AddressPatterns",
    "Compiled",
    "Entry",
    "HostPatterns",
    "LineError",
    "Networks",
    "Remark",
    "domain_list",
    "regex",
]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # RFC 4291 section 2.5.5.2: IPv4 seen through an IPv6 socket
LOW_32 = 0xFFFFFFFF
PARTS = re.compile(r"(?:[0-9]{1,3}\.){1,4}")
BARE_PARTS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){0,3}")
NIBBLES = re.compile(r"(?:[0-9a-f]{1,4}:){1,6}(?:[0-9a-f]{1,4})?|(?:[0-9a-f]{1,4}:){7}", re.IGNORECASE)
ALLOWED = (
    "allowed: an address, ADDRESS/BITS, or the leading part of an address with its dot or colon, "
    "as 192.0.2. or 2001:db8:"
)
SIGNS_OF_REGEX = frozenset("/^$*+!%?\\")
NOT_IN_HOSTS = re.compile(r"[^\w.\-:\[\]]")


class Entry(NamedTuple):
    """One line of a list."""

    position: int
    text: str
    rest: str


class Remark(NamedTuple):
    """What is odd, though no error, about the line at `position`."""

    position: int
    text: str


class LineError(ValueError):
    """What is wrong with the line at `position`."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


class Networks:
    """A list of addresses and networks, IPv4 and IPv6.

    An entry is an address, ADDRESS/BITS, the leading part of an IPv4 address with its dot (`192.0.`), or the
    leading digits of an IPv6 address, four to a group (`2001:0db8:1` is 2001:db8:1000::/36; a group that ends
    in a colon is whole: `2001:db8:` is 2001:db8::/32). With `bare_parts`, `192.0` does for `192.0.`.

    IPv4-mapped IPv6 is IPv4, in the list and in the question. Raises LineError.
    """

    __slots__ = ("_tables", "entries", "remarks")

    def __init__(self, lines: Sequence[str], *, bare_parts: bool = False) -> None:
        self.entries = _entries(lines)
        self.remarks: list[Remark] = []
        # By address family, then by the number of bits that do not count: leading bits -> position of line.
        self._tables: dict[int, dict[int, dict[int, int]]] = {4: {}, 6: {}}
        for entry in self.entries:
            try:
                network, remark = _network(entry.text, bare_parts)
            except ValueError:
                raise LineError(entry.position, f"{entry.text!r} is no network; {ALLOWED}") from None
            if remark:
                self.remarks.append(Remark(entry.position, remark))
            shift = network.max_prefixlen - network.prefixlen
            table = self._tables[network.version].setdefault(shift, {})
            table.setdefault(int(network.network_address) >> shift, entry.position)

    def find(self, address: str) -> Entry | None:
        """Find the first entry that holds the address; what is no address is in no network."""
        version, family = (6, socket.AF_INET6) if ":" in address else (4, socket.AF_INET)
        try:
            octets = socket.inet_pton(family, address.partition("%")[0])  # without the scope of fe80::1%eth0
        except (OSError, ValueError):
            return None
        value = int.from_bytes(octets, "big")
        if version == 6 and value >> 32 == 0xFFFF:
            version, value = 4, value & LOW_32
        found = [
            table[value >> shift] for shift, table in self._tables[version].items() if value >> shift in table
        ]
        return self.entries[min(found)] if found else None

    def __contains__(self, address: str) -> bool:
        return self.find(address) is not None


class HostPatterns:
    """A list of hosts: `example.com` is that host, `.example.com` every host below it; in any case."""

    __slots__ = ("_hosts", "_suffixes", "entries", "remarks")

    def __init__(self, lines: Sequence[str]) -> None:
        self.entries = _entries(lines)
        self.remarks: list[Remark] = []
        self._hosts: dict[str, int] = {}
        self._suffixes: dict[str, int] = {}
        for entry in self.entries:
            host = _host(entry.text)
            if NOT_IN_HOSTS.search(host) or host in {"", "."}:
                self.remarks.append(Remark(entry.position, f"{entry.text!r} is not the name of a host"))
            table = self._suffixes if host.startswith(".") else self._hosts
            table.setdefault(host, entry.position)

    def find(self, host: str) -> Entry | None:
        """Find the first entry for the host."""
        host = _host(host)
        found = [self._hosts[host]] if host in self._hosts else []
        dot = host.find(".") if self._suffixes else -1
        while dot >= 0:
            if (suffix := host[dot:]) in self._suffixes:
                found.append(self._suffixes[suffix])
            dot = host.find(".", dot + 1)
        return self.entries[min(found)] if found else None

    def __contains__(self, host: str) -> bool:
        return self.find(host) is not None


class AddressPatterns:
    r"""A list of mail addresses: `user@host`, `@host`, or a regular expression; in any case.

    An entry with one of ``/ ^ $ * + ! % ? \`` is a regular expression, searched for in `user@host`; slashes
    around it are dropped. No sign negates. A plain address with such a sign (`a+b@host`) matches literally
    as well. Raises LineError.
    """

    __slots__ = ("_addresses", "_hosts", "_patterns", "entries", "remarks")

    def __init__(self, lines: Sequence[str]) -> None:
        self.entries = _entries(lines)
        self.remarks: list[Remark] = []
        self._addresses: dict[str, int] = {}
        self._hosts: dict[str, int] = {}
        self._patterns: list[tuple[int, re.Pattern[str]]] = []
        for entry in self.entries:
            self._add(entry)

    def find(self, address: str) -> Entry | None:
        """Find the first entry for `user@host`."""
        address = address.lower()
        end = len(self.entries)
        best = min(self._addresses.get(address, end), self._hosts.get(address.rpartition("@")[2], end))
        for position, pattern in self._patterns:
            if position >= best:
                break
            if pattern.search(address):
                best = position
        return self.entries[best] if best < end else None

    def reason(self, address: str) -> str | None:
        """Give the text of the first entry for `user@host`, "" when it has none; None without an entry."""
        found = self.find(address)
        return None if found is None else found.rest

    def __contains__(self, address: str) -> bool:
        return self.find(address) is not None

    def _add(self, entry: Entry) -> None:
        text = entry.text.lower()
        if not SIGNS_OF_REGEX.isdisjoint(text):
            try:
                self._patterns.append((entry.position, regex(entry.text)))
            except ValueError as error:
                raise LineError(entry.position, str(error)) from None
            self._addresses.setdefault(text, entry.position)
        elif text.startswith("@"):
            self._hosts.setdefault(text[1:], entry.position)
        elif "@" in text:
            self._addresses.setdefault(text, entry.position)
        else:
            hint = f"{entry.text!r} has no @ and matches nothing; a domain is written @{entry.text}"
            self.remarks.append(Remark(entry.position, hint))


def domain_list(lines: Sequence[str]) -> frozenset[str]:
    """Make a set of the first words, in lower case, without a final dot; ask it with a name in lower case."""
    return frozenset(_host(entry.text) for entry in _entries(lines))


def regex(text: str) -> re.Pattern[str]:
    """Compile a regular expression that ignores case; slashes around it are dropped.

    Raises ValueError, also for the classes of Perl (`[[:alpha:]]`) that would mean something else here.
    """
    bare = text[1:-1] if len(text) > 2 and text[0] == text[-1] == "/" else text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return re.compile(bare, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None


def _entries(lines: Sequence[str]) -> tuple[Entry, ...]:
    rows = ([*line.split(None, 1), "", ""] for line in lines)
    return tuple(Entry(position, row[0], row[1]) for position, row in enumerate(rows))


def _host(text: str) -> str:
    return text.lower().removesuffix(".")


def _network(text: str, bare_parts: bool) -> tuple[Network, str]:
    """Read an entry: the network, and what is odd about it; raises ValueError."""
    if "/" in text:
        network, remark = _with_bits(text)
    elif NIBBLES.fullmatch(text):
        network, remark = _leading_nibbles(text)
    elif PARTS.fullmatch(text) or (bare_parts and BARE_PARTS.fullmatch(text)):
        network, remark = _leading_parts(text.removesuffix(".")), ""
    else:
        network, remark = ipaddress.ip_network(text), ""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(MAPPED):
        network = ipaddress.IPv4Network((int(network.network_address) & LOW_32, network.prefixlen - 96))
    return network, remark


def _with_bits(text: str) -> tuple[Network, str]:
    start, _, bits = text.partition("/")
    if BARE_PARTS.fullmatch(start):
        start += ".0" * (3 - start.count("."))
    address = ipaddress.ip_address(start)
    if bits.isdecimal() and int(bits) > address.max_prefixlen:
        return ipaddress.ip_network(address), f"{text!r} has more bits than there are; taken for {address}"
    network = ipaddress.ip_network(f"{start}/{bits}", strict=False)
    exact = network.network_address == address
    return network, "" if exact else f"{text!r} is not the start of its network; taken for {network}"


def _leading_parts(text: str) -> Network:
    parts = text.count(".") + 1
    return ipaddress.ip_network(f"{text}{'.0' * (4 - parts)}/{8 * parts}")


def _leading_nibbles(text: str) -> tuple[Network, str]:
    *whole, last = text.split(":")
    digits = "".join(group.zfill(4) for group in whole) + last
    network = ipaddress.IPv6Network((int(digits.ljust(32, "0"), 16), 4 * len(digits)))
    ambiguous = 0 < len(last) < 4
    hint = f"{text!r} stands for {network}; if its last group is whole, write {text + ':'!r}"
    return network, hint if ambiguous else ""
