"""Limit the connections of one address, and admit or refuse listed addresses, before anything is said.

The limit is ``max_from_ip`` (a file, or the option ``--max-from-ip``; 0 is none) and counts this
connection. The karma plugin, loaded before this one, changes it for the clients it has a history of:
more than 5 good messages raise the limit by 3, as many bad as good ones, or none at all, lower it to 1.
IPv6 clients are counted by their whole address.

Reads ``hosts_allow``: a line is an address, ADDRESS/BITS or the leading part of an address with its dot
or colon, then a verdict, then maybe the reply text. Verdicts are DENY, DENYSOFT, DENY_DISCONNECT,
DENYSOFT_DISCONNECT, DECLINED and OK; the last two admit. The first line that matches counts, so an
address that is to be admitted stands before the network that is refused.

Settings: ``reject`` 1, 0 or naughty (default 1) and ``reject_type``, for the limit and for the list.

Hooks: pre-connection. Reads the connection's note ``karma_history``. Replies 421 (too many connections,
soft verdicts) or 554, and closes. Log: ``fail, COUNT connections from ADDRESS, LIMIT allowed``, ``fail,
TEXT``; ``pass`` at debug level.

Differences from upstream: 421 and 554 instead of 451 and 550; IPv6 is counted and listed; networks that
do not begin at their first address match; a line that names no network stops the start; a verdict may
be in any case, a line with an unknown one still admits, one without is still skipped, but both are
reported.
"""

from collections.abc import Mapping
from typing import ClassVar

from qpsmtpd import DECLINED, DENYSOFT, OUTCOMES, Connection, Outcome, Plugin, Rejection
from qpsmtpd.kit.match import Compiled, LineError, Networks, Remark

KNOWN_WELL = 5  # messages more good than bad
BONUS = 3  # connections


class Verdicts:
    """The list: networks with a verdict each."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        self.remarks: list[Remark] = []
        self._outcomes: list[Outcome] = []
        kept: list[int] = []
        for position, line in enumerate(lines):
            _, word, text, *_ = *line.split(None, 2), "", ""
            if not word:
                self.remarks.append(Remark(position, f"{line!r} has no verdict and is skipped"))
                continue
            if word.upper() not in OUTCOMES:
                allowed = ", ".join(OUTCOMES)
                self.remarks.append(
                    Remark(position, f"{word!r} is no verdict and admits; allowed: {allowed}")
                )
            self._outcomes.append(OUTCOMES.get(word.upper(), DECLINED)(text))
            kept.append(position)
        try:
            self._networks = Networks([lines[position] for position in kept])
        except LineError as error:
            raise LineError(kept[error.position], str(error)) from None
        self.remarks += [Remark(kept[position], text) for position, text in self._networks.remarks]

    def find(self, address: str) -> Outcome:
        """Give the verdict of the first line for an address."""
        entry = self._networks.find(address)
        return self._outcomes[entry.position] if entry else DECLINED


class HostsAllow(Plugin):
    """Count connections by address, and ask the list."""

    files: ClassVar[Mapping[str, str]] = {"hosts_allow": "address or network, verdict, then maybe the text"}

    def register(self) -> None:
        """Read the list."""
        self.verdicts = Compiled(self.config, "hosts_allow", Verdicts)
        self.verdicts.check()

    def hook_pre_connection(
        self, connection: Connection, connections_from_ip: int, max_from_ip: int
    ) -> Outcome | Rejection:
        """Compare the count with the limit, then look the address up."""
        address = connection.remote_ip
        limit = self._limit(max_from_ip, connection.notes.get("karma_history"))
        if limit and connections_from_ip > limit:
            return self.rejection(
                DENYSOFT(f"too many connections from {address}, please try again later", "4.7.0"),
                log=f"{connections_from_ip} connections from {address}, {limit} allowed",
            )
        verdict = self.verdicts().find(address)
        if verdict.code.denies:
            return self.rejection(verdict, log=verdict.text or f"{address} is listed")
        self.log.debug("pass")
        return verdict

    def _limit(self, limit: int, history: int | None) -> int:
        """Give the connections that a client with this history may have; 0 is no limit."""
        if not limit or history is None:
            return limit
        if history > KNOWN_WELL:
            self.log.debug("karma %d, limit %d", history, limit + BONUS)
            return limit + BONUS
        if history <= 0:
            self.log.info("karma %d, limit 1", history)
            return 1
        return limit
