"""Refuse clients that speak before it is their turn: before the greeting, or before the 354 of DATA.

A mail server waits for the greeting (RFC 5321 section 3.1); much spamware just pours out its commands.
The plugin keeps the client waiting for a while and watches.

Settings: ``wait``, seconds (default 1; the connection's note ``earlytalker_wait`` has precedence).
``check-at`` CONNECT or DATA, may be given twice (default CONNECT). ``reject`` 1, 0 or naughty (default
1) and ``reject_type``. ``defer-reject`` greets an early talker and refuses it at each MAIL, unless it
authenticates before; where users submit mail, prefer that, or ``reject naughty``. ``action`` is for old
configurations: ``deny`` and ``denysoft`` mean reject 1, any other word reject 0, but an explicit
``reject`` wins; ``denysoft`` without ``reject_type`` means temp.

Hooks: connect, data; mail with ``defer-reject``. Exempt are relay clients, whitelisted clients and
senders, and at the greeting those that the karma plugin knows to have sent more than 5 good messages.
Note of the connection: ``earlytalker``, 1 for those that were caught. Karma -1, each time. Replies 554
or 421 at connect, 550 or 450 at MAIL, 554 or 451 at DATA. Log: ``pass``, ``skip, REASON`` or ``fail,
REASON``.

Differences from upstream: a client that leaves while it is watched is no early talker; relay clients
are exempt at MAIL, too; ``defer-reject`` does not change the kind of rejection. On implicit TLS it is
decrypted input that counts, and a PROXY header never does. BDAT has no 354 to wait for, and is not watched.
"""

from qpsmtpd import DENY, DENYSOFT, Connection, Plugin, Policy, Rejection, Setting, Transaction

NOTE = "earlytalker"
KNOWN_WELL = 5  # messages more good than bad
TEXT = "you spoke before it was your turn"
STAGES = ("connect", "data")


def _read_stage(word: str) -> str:
    if word.lower() not in STAGES:
        raise ValueError
    return word.lower()


class EarlyTalker(Plugin):
    """Keep clients waiting, and see who cannot."""

    wait = Setting.seconds(1, help="how long to watch")
    check_at: Setting[tuple[str, ...]] = Setting(
        _read_stage,
        ("connect",),
        allowed="CONNECT or DATA",
        keyword="check-at",
        many=True,
        help="when to watch",
    )
    defer_reject = Setting.switch(keyword="defer-reject", help="greet, and refuse at MAIL")
    action = Setting.text(help="for old configurations: deny, denysoft or log")

    def register(self) -> None:
        """Read the old argument, and hook MAIL if that is where to refuse."""
        self.denial = DENY
        if self.action:
            if "reject" not in vars(self):  # not given: only then does the old argument count
                self.reject = Policy.REJECT if self.action.startswith("deny") else Policy.TOLERATE
            if self.action == "denysoft":
                self.denial = DENYSOFT
        if self.defer_reject:
            self.register_hook("mail", self.refuse_mail)

    async def hook_connect(self, connection: Connection) -> Rejection | None:
        """Watch before the greeting."""
        if "connect" not in self.check_at or self.is_immune(connection):
            return None
        if (connection.notes.get("karma_history") or 0) > KNOWN_WELL:
            self.log.info("skip, good karma")
            return None
        if not await self._talks(connection):
            return None
        if not self.defer_reject:
            return self._offence(connection, "spoke before the greeting")
        connection.notes[NOTE] = 1
        self.adjust_karma(connection, -1)
        self.log.info("fail, tolerated until MAIL")
        return None

    async def hook_data(self, connection: Connection, transaction: Transaction) -> Rejection | None:
        """Watch before the message may come."""
        if "data" not in self.check_at or self.is_immune(connection, transaction):
            return None
        if transaction.chunked:
            self.log.info("skip, BDAT")
            return None
        if not await self._talks(connection):
            return None
        return self._offence(connection, "spoke before the 354")

    def refuse_mail(self, connection: Connection, transaction: Transaction) -> Rejection | None:
        """Refuse a client that was caught at the greeting and has not proved since who it is."""
        if not connection.notes.get(NOTE) or self.is_immune(connection, transaction):
            return None
        return self._offence(connection, "spoke before the greeting")

    async def _talks(self, connection: Connection) -> bool:
        """Wait, and tell whether the client did not."""
        if connection.wait_for_input is None:
            self.log.info("skip, no transport")
            return False
        if await connection.wait_for_input(connection.notes.get("earlytalker_wait") or self.wait):
            return True
        self.log.info("pass")
        return False

    def _offence(self, connection: Connection, reason: str) -> Rejection:
        connection.notes[NOTE] = 1
        self.adjust_karma(connection, -1)
        return self.rejection(self.denial(TEXT), log=reason)
