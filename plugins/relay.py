"""Decide by its address whether a client may send mail to everywhere.

Most filters leave such clients alone, and rcpt_ok accepts all their recipients.

Reads, in this order, and the first that knows the client decides:

* ``norelayclients``: those that may not;
* ``relayclients``: those that may. A line of these two is an address, ADDRESS/BITS, or the leading part
  of an address, with its dot in IPv4 (``192.0.2.``), in IPv6 with the colon of a whole group
  (``2001:db8:``);
* ``morerelayclients.cdb``, a constant database for long lists. Its keys are as above, without
  ADDRESS/BITS, IPv6 in lower case and in full (``2001:0db8:``); that a key exists is enough.

The IPv6 loopback address ::1 may relay unless ``norelayclients`` has it, or the connection came through
a proxy, which the note ``proxy`` tells. 127.0.0.1 may if it is listed. Do not list the address of a
proxy that does not tell us the client's own.

Setting: ``only`` makes this a server for nobody else: a recipient is accepted if the client may relay,
by address or password, and refused if not. Plugins that check recipients are not asked when they stand
behind. ``reject`` and ``reject_type`` are for that refusal.

Hooks: connect; rcpt with ``only``. Sets ``connection.relay_client``. Replies 550 5.7.1. Log: ``pass,
REASON``, ``fail, REASON`` for norelayclients, or ``skip, no match``.

Differences from upstream: networks hold their first and last address, match though they do not begin at
their first address, and work for IPv6 in every spelling and in every list; a line that names no network
stops the start; removed lines are forgotten. Environment variables are of no concern: RELAYCLIENT
belongs to a server that is started for each connection.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import ClassVar

from qpsmtpd import OK, Connection, Outcome, Plugin, Rejection, Setting, dsn
from qpsmtpd.kit.match import Compiled, Networks


def keys(address: str) -> Iterator[str]:
    """Give the keys under which a database may hold an address: itself, then its leading parts."""
    yield address
    parsed = ip_address(address)
    if parsed.version == 4:
        parts = address.split(".")
        yield from (".".join(parts[:count]) + "." for count in (3, 2, 1))
    else:
        full = parsed.exploded
        yield from (full[:end] for end in range(len(full), 0, -1))


class Relay(Plugin):
    """Know the clients that may relay."""

    only = Setting.switch(help="refuse the recipients of all others")

    files: ClassVar[Mapping[str, str]] = {
        "norelayclients": "address or network",
        "relayclients": "address or network",
        "morerelayclients.cdb": "address or its leading part",
    }

    def register(self) -> None:
        """Read the lists."""
        self.forbidden = Compiled(self.config, "norelayclients", Networks)
        self.allowed = Compiled(self.config, "relayclients", Networks)
        self.forbidden.check()
        self.allowed.check()
        if self.only:
            self.register_hook("rcpt", self.only_relay)

    def hook_connect(self, connection: Connection) -> None:
        """Look the client up."""
        address = connection.remote_ip
        if address in self.forbidden():
            connection.relay_client = False
            self.log.info("fail, %s is in norelayclients", address)
        elif reason := self._reason(connection, address):
            connection.relay_client = True
            self.log.info("pass, %s", reason)
        else:
            self.log.info("skip, no match")

    def only_relay(self, connection: Connection) -> Outcome | Rejection:
        """Accept a recipient if the client may relay, and only then."""
        if connection.relay_client:
            return OK
        return self.rejection(dsn.relaying_denied(), log="relaying denied")

    def _reason(self, connection: Connection, address: str) -> str:
        """Say why the client may relay, "" if it may not."""
        if address == "::1" and not connection.notes.get("proxy"):
            return "localhost"
        if entry := self.allowed().find(address):
            return f"{address} is {entry.text} in relayclients"
        database = self.config.map("morerelayclients")
        key = next((key for key in keys(address) if key in database), "")
        return f"{address} is {key} in morerelayclients" if key else ""
