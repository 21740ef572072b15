"""A list of clients as postgrey has it: addresses and networks, hosts, patterns of hosts in one file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .match import HostPatterns, LineError, Networks, regex

ADDRESS = re.compile(r"[0-9.]+(?:/[0-9]*)?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:/[0-9]*)?")


class Clients:
    """Clients by address or name; raises LineError.

    An entry is an address or network as `Networks` has it, ``example.com`` for that host and all below it,
    or ``/pattern/``, searched for in the name; in any case. # begins a comment.
    """

    __slots__ = ("_hosts", "_networks", "_patterns")

    def __init__(self, lines: Sequence[str]) -> None:
        self._patterns: list[re.Pattern[str]] = []
        hosts: list[str] = []
        networks: list[str] = []
        places: list[int] = []
        for position, line in enumerate(lines):
            text = line.partition("#")[0].strip()
            try:
                if text.startswith("/"):
                    self._patterns.append(regex(text))
                elif ADDRESS.fullmatch(text):
                    networks.append(text)
                    places.append(position)
                elif text:
                    hosts += text, f".{text}"
            except ValueError as error:
                raise LineError(position, str(error)) from None
        self._hosts = HostPatterns(hosts)
        try:
            self._networks = Networks(networks, bare_parts=True)
        except LineError as error:
            raise LineError(places[error.position], str(error)) from None

    def has(self, address: str, host: str) -> bool:
        """Tell whether a client is on the list, by its address or by its name."""
        return (
            host in self._hosts
            or address in self._networks
            or any(pattern.search(host) for pattern in self._patterns)
        )
