"""Refuse for a while who is not known yet: servers come again, most programs that send spam do not (RFC
6647).

Who comes for the first time is refused softly, until ``black_timeout`` seconds are over (default 3000).
Who comes again within ``grey_timeout`` (86400) passes, and is known for ``white_timeout`` (3110400) from
each message on. This is in the store (config/store), for all processes of the server. A second instance
with other settings is ``greylisting:1``, which knows for itself; two of one name stop the start.

What makes somebody known are ``remote_ip``, ``sender`` and ``recipient``, 1 or 0 each (default the address
alone). Of an address the first ``ipv4_bits`` or ``ipv6_bits`` count (default 32 and 64). ``deny_late``
refuses at DATA, not at MAIL. With ``recipient`` or ``per_recipient`` the place is RCPT, but for the null
sender, whose probes are let pass until DATA. With ``per_recipient`` a recipient's own
``denysoft_greylist`` (plugin user_config) may have other timeouts. ``reject`` 0 refuses nobody and
records all the same. ``geoip CC,CC`` exempts countries, by the note ``geoip_country``.

Reads ``denysoft_greylist``: these settings, NAME VALUE a line, for what the plugin's line does not say.
Reads ``greylist_exclude_files``: paths of lists of exempt clients in postgrey's form: an address or network,
a host with all below it, or a /pattern/ of hosts a line. Both are read at the start, the lists always.

Hooks: mail or rcpt, data. Relay clients and whitelisted clients and senders are exempt, at DATA also who
writes to whitelisted recipients only. Note of the transaction: ``greylist``. Replies 450 or, at DATA, 451,
with 4.7.1. If the store fails the mail passes. Log: ``pass, ...``, ``skip, ...``, ``fail, ...``, ``error,
...``.

Differences from upstream: who has passed stays known while mail comes; what is over is unknown at once;
``grey_timeout`` counts; the case of domains does not; an IPv6 client is its /64; hosts below a listed one are
exempt. ``p0f`` and ``mode`` are gone; for ``db_dir``, ``redis``, ``nfslock``, ``upgrade`` there is
config/store.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, ClassVar

from qpsmtpd import (
    DENYSOFT,
    Address,
    Connection,
    Plugin,
    Recipient,
    Rejection,
    Setting,
    SettingError,
    Transaction,
    dsn,
)
from qpsmtpd.kit.clients import Clients
from qpsmtpd.kit.match import Compiled, LineError
from qpsmtpd.kit.store import Entry, StoreError

FILE, LISTS, NOTE = "denysoft_greylist", "greylist_exclude_files", "greylist"
TIMEOUTS = ("black_timeout", "grey_timeout", "white_timeout")
OTHERS = ("remote_ip", "sender", "recipient", "ipv4_bits", "ipv6_bits", "deny_late", "per_recipient", "geoip")
IN_FILE = OTHERS + TIMEOUTS
REFUSAL = dsn.sec_sender_unauthorized("we do not know you yet, please try again later", outcome=DENYSOFT)


class Greylisting(Plugin):
    """Remember who came when."""

    remote_ip = Setting.switch(True, help="the client's address makes somebody known")
    sender = Setting.switch(help="so does the sender")
    recipient = Setting.switch(help="so does the recipient; refuses at RCPT")
    ipv4_bits = Setting.integer(32, minimum=8, maximum=32, unit="bits", help="of an address that count")
    ipv6_bits = Setting.integer(64, minimum=16, maximum=128, unit="bits", help="of an address that count")
    black_timeout = Setting.seconds(3000, help="until who is new passes")
    grey_timeout = Setting.seconds(86400, help="within which who is new must come again")
    white_timeout = Setting.seconds(3110400, help="for which who has passed is known")
    deny_late = Setting.switch(help="refuse at DATA, not at MAIL")
    per_recipient = Setting.switch(help="recipients have timeouts of their own; refuses at RCPT")
    geoip = Setting.words(help="countries that are exempt")

    files: ClassVar[Mapping[str, str]] = {
        "denysoft_greylist": "name and value",
        "greylist_exclude_files": "path of a list",
    }

    def register(self) -> None:
        """Read the files, and choose where to refuse."""
        try:
            given = self.settings(self.config.lines(FILE))
        except LineError as error:
            raise self.config.error(FILE, str(error), error.position) from None
        for name, value in given.items():
            vars(self).setdefault(name, value)  # a setting of the plugin's line is there already
        if not (self.remote_ip or self.sender or self.recipient):
            raise SettingError("remote_ip, sender and recipient are 0, so nobody would ever be known")
        self.timeouts = self.timeouts_with({})
        self.countries = {country.lower() for country in self.geoip}
        self.exempt = {path: Compiled(self.config, path, Clients) for path in self.config.lines(LISTS)}
        for path, clients in self.exempt.items():
            clients.check()
            if self.config.find(path) is None:
                self.log.warn("there is no %s, which %s names", path, LISTS)
        self.records = self.store
        if self.recipient or self.per_recipient:
            self.register_hook("rcpt", self.at_rcpt)
        else:
            self.register_hook("mail", self.at_mail)

    def settings(self, lines: Sequence[str]) -> dict[str, Any]:
        """Read lines of NAME VALUE; raises LineError."""
        values = {}
        for position, (name, _, word) in enumerate(line.partition(" ") for line in lines):
            if name not in IN_FILE:
                raise LineError(position, f"unknown setting {name!r}; allowed are {', '.join(IN_FILE)}")
            try:
                values[name] = getattr(type(self), name).parse(word.strip())
            except SettingError as error:
                raise LineError(position, str(error)) from None
        return values

    def timeouts_with(self, own: Mapping[str, float]) -> tuple[float, float, float]:
        """Give black, grey and white, some of which may be a recipient's own."""
        black, grey, white = (own.get(name, getattr(self, name)) for name in TIMEOUTS)
        if grey <= black:
            raise SettingError("grey_timeout must be longer than black_timeout, or nobody would ever pass")
        return black, grey, white

    async def at_mail(
        self, connection: Connection, transaction: Transaction, sender: Address
    ) -> Rejection | None:
        """Judge a client by its address, its sender, or both."""
        if self.is_exempt(connection, transaction):
            return None
        why = await self.judge(self.key(connection, sender), *self.timeouts)
        return self.refuse(transaction, why, late=self.deny_late)

    async def at_rcpt(
        self, connection: Connection, transaction: Transaction, recipient: Recipient
    ) -> Rejection | None:
        """Judge it by one recipient, too."""
        if self.is_exempt(connection, transaction):
            return None
        timeouts, sender = self.timeouts, transaction.reverse_path
        if self.per_recipient:
            try:
                timeouts = self.timeouts_with(self.settings(await recipient.config(FILE)))
            except (LineError, SettingError) as error:
                self.log.error("error, %s of %s: %s", FILE, recipient.address, error)
        why = await self.judge(self.key(connection, sender, recipient.address), *timeouts)
        return self.refuse(transaction, why, late=not sender)

    def hook_data(self, transaction: Transaction) -> Rejection | None:
        """Refuse who was let pass until here."""
        if NOTE not in transaction.notes:
            return None
        if transaction.notes.get("whitelistrcpt") == len(transaction.recipients):
            self.log.warn("skip, all recipients are whitelisted")
            return None
        return self.rejection(REFUSAL, log=transaction.notes[NOTE])

    def is_exempt(self, connection: Connection, transaction: Transaction) -> bool:
        """Tell whether a client may always pass."""
        if self.is_immune(connection, transaction):
            return True
        if (country := connection.notes.get("geoip_country", "")).lower() in self.countries:
            self.log.info("skip, %s", country)
        elif any(
            clients().has(connection.remote_ip, connection.remote_host) for clients in self.exempt.values()
        ):
            self.log.info("skip, exempt client")
        else:
            return False
        return True

    def key(self, connection: Connection, sender: Address, recipient: Address | None = None) -> str:
        """Name who came, as far as it counts."""
        parts = []
        if self.remote_ip:
            address = ip_address(connection.remote_ip)
            bits = self.ipv4_bits if address.version == 4 else self.ipv6_bits
            parts.append(str(ip_network((address, bits), strict=False)))
        for counts, mail in ((self.sender, sender), (self.recipient, recipient)):
            if counts and mail is not None:
                parts.append(f"<{mail.local}@{mail.domain.lower()}>")
        return " ".join(parts)

    async def judge(self, key: str, black: float, grey: float, white: float) -> str:
        """Note that somebody came; tell why to refuse, "" if not."""
        now = int(self.clock.seconds())

        def change(record: Sequence[int] | None) -> Entry:
            since, refused, passed = record or (now, 0, 0)
            if passed or now - since >= black:
                return Entry([now, refused, passed + 1], white)
            return Entry([since, refused + 1, 0], since + grey - now)

        try:
            since, refused, passed = await self.records.update(key, change)
        except StoreError as error:
            self.log.error("error, %s", error)
            return ""
        if passed:
            self.log.info("pass, refused %d times, passed %d times", refused, passed)
            return ""
        return f"refused {refused} times, {since + black - now:g} seconds to wait"

    def refuse(self, transaction: Transaction, why: str, *, late: bool) -> Rejection | None:
        """Refuse, now or later, if there is a reason."""
        if why and late:
            transaction.notes[NOTE] = why
        return self.rejection(REFUSAL, log=why) if why and not late else None
