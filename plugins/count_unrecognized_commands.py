"""Disconnect a client that sends too many commands that nobody knows.

Setting: LIMIT, the number of the command that ends the session (default 4: three are tolerated; 0 is
the default, too).

Hooks: unrecognized_command. Note of the connection: ``unrec_cmd_count``. Replies 521 and closes. Log: the
command and the count, then ``fail, COUNT unrecognized commands``; what follows a refused AUTH may be a
password, and is not shown. Commands that a plugin before this one has answered do not count. The engine
has its own limit for bad commands of all kinds: ``max_errors``.
"""

from qpsmtpd import DENY_DISCONNECT, Connection, Plugin, Rejection, Setting

NOTE = "unrec_cmd_count"
DEFAULT_LIMIT = 4


class CountUnrecognizedCommands(Plugin):
    """Count what nobody knows, and end the session at the limit."""

    limit = Setting.integer(DEFAULT_LIMIT, position=True, unit="commands", help="the one that disconnects")

    def hook_unrecognized_command(
        self, connection: Connection, command: str, secret: bool
    ) -> Rejection | None:
        """Count one more."""
        count = connection.notes[NOTE] = connection.notes.get(NOTE, 0) + 1
        if count < (self.limit or DEFAULT_LIMIT):
            self.log.info("'%s', (%d)", "<redacted>" if secret else command, count)
            return None
        text = f"{count} unrecognized commands"
        return self.rejection(DENY_DISCONNECT(f"{text}, closing the connection"), log=text)
