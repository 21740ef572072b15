"""Check that the client's address has a name that leads back to the address (forward-confirmed reverse
DNS).

The result goes into Authentication-Results as ``iprev`` (RFC 8601 section 2.7.3):

* ``pass``: a name has the client's address (karma +1), or one of its network: /24, /64 for IPv6 (karma
  0);
* ``permerror``: the address has no name (karma -1 if the DNS knows nothing of the address at all);
* ``fail``: no name is a full domain name, or none resolves (karma -1), or they lead elsewhere (karma
  0);
* ``temperror``: the DNS gave no answer.

Settings: ``reject`` 0, 1 or naughty (default 0) and ``reject_type`` (default temp; where the DNS gave
no answer it is always temp). ``timeout``, seconds for all lookups together (default 10). At most 10
names are checked.

Hooks: connect. Relay clients and whitelisted clients are exempt; a client on this machine passes (karma
+1) and has no ``iprev``. Note of the connection: ``iprev``. Replies 421 4.7.25 or 554 5.7.25 (RFC 7372)
and closes. Log: ``pass``, ``fail, REASON`` or ``fail, tolerated, REASON``.

Differences from upstream: ``reject`` works; IPv6 works; there is one result, also for a client without
a name; names that lead elsewhere fail, though nobody loses karma by it; a lookup without answer is a
temperror.
"""

import re
from dataclasses import replace
from ipaddress import ip_address
from typing import NamedTuple

from qpsmtpd import DENYSOFT, Connection, Plugin, Rejection, Setting
from qpsmtpd.kit.deadline import Deadline
from qpsmtpd.kit.related import same_network

NOTE = "iprev"
TEXT = "your address has no name that leads back to it (forward-confirmed reverse DNS)"
MAX_NAMES = 10  # as many as SPF looks at, RFC 7208 section 4.6.4
FULL_NAME = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


class Finding(NamedTuple):
    """What the lookups came to: the result of RFC 8601, points of karma, and a few words."""

    result: str
    karma: int
    reason: str


class FCrDNS(Plugin):
    """Look the client's names up, and then their addresses."""

    reject = Setting.reject(default=False)
    timeout = Setting.seconds(10, help="for all lookups together")

    async def hook_connect(self, connection: Connection) -> Rejection | None:
        """Examine the client, and note the result."""
        if self.is_immune(connection):
            return None
        address = ip_address(connection.remote_ip)
        if address.is_loopback:
            self.adjust_karma(connection, 1)
            self.log.info("pass, localhost")
            return None
        found = await self._examine(str(address))
        # RFC 2045 section 5.1: a token has no colon, so IPv6 must be quoted.
        value = f'"{address}"' if address.version == 6 else str(address)
        connection.notes[NOTE] = f"iprev={found.result} policy.iprev={value}"
        if found.karma:
            self.adjust_karma(connection, found.karma)
        if found.result == "pass":
            connection.results.add(self, passed=found.reason)
            self.log.info("pass, %s", found.reason)
            return None
        connection.results.add(self, failed=found.reason)
        rejection = self.rejection(DENYSOFT(TEXT, "4.7.25"), log=found.reason)
        return replace(rejection, reject_type="temp") if found.result == "temperror" else rejection

    async def _examine(self, address: str) -> Finding:
        """Ask for the names of the address, then for the addresses of the names."""
        deadline = Deadline(self.clock, self.timeout)
        pointers = await deadline.answer(self.dns.ptr(address))
        if pointers.failed:
            return Finding("temperror", 0, f"reverse DNS: {pointers.detail}")
        if pointers.none:
            return Finding("permerror", -1 if pointers.detail == "NXDOMAIN" else 0, "no reverse DNS")
        names = [name for name in pointers if FULL_NAME.fullmatch(name)][:MAX_NAMES]
        if not names:
            return Finding("fail", -1, f"{pointers.values[0]} is not a full domain name")
        lookup = self.dns.aaaa if ":" in address else self.dns.a
        answers = await deadline.answers(*map(lookup, names))
        addresses = [found for answer in answers for found in answer]
        if address in addresses:
            return Finding("pass", 1, names[0])
        if any(same_network(address, found) for found in addresses):
            self.log.notice("%s is in the network of %s", address, names[0])
            return Finding("pass", 0, names[0])
        if failed := [answer.detail for answer in answers if answer.failed]:
            return Finding("temperror", 0, f"forward DNS: {failed[0]}")
        if addresses:
            return Finding("fail", 0, f"{names[0]} leads elsewhere")
        return Finding("fail", -1, f"{names[0]} has no address")
