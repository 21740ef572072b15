"""Carry out the rejections that other plugins deferred with ``reject naughty``.

A deferred rejection lets a client go on until it is worth refusing: users may still authenticate, which
clears the mark, and the log shows sender and recipients. All reasons that were collected are sent, a
line each. What escapes the chosen hook is refused at data_post.

Settings: ``reject``, the hook that refuses: connect, mail, rcpt (default), data or data_post; and
``reject_type``, the kind of rejection where the mark came without one (default disconnect). At rcpt the
plugin must be loaded before rcpt_ok, at connect after the plugins that mark clients.

Hooks: the chosen one, and data_post. Reads and clears nothing; the marks are ``connection.naughty`` and
``connection.naughty_reject_type``. Relay clients that are marked are refused, too. Log: ``pass`` or
``fail, REASONS``.

Differences from upstream: a hook that is none stops the start; an unknown kind of rejection disconnects.
"""

from qpsmtpd import DENY_DISCONNECT, Connection, Plugin, Policy, Rejection, Setting

STAGES = ("connect", "mail", "rcpt", "data", "data_post")


class Naughty(Plugin):
    """Refuse those whom others marked."""

    reject = Setting.choice("rcpt", STAGES, help="the hook that refuses")
    reject_type = Setting.reject_type("disconnect", help="the kind of rejection if none came with the mark")

    def register(self) -> None:
        """Hook the chosen stage and the last one."""
        for hook in dict.fromkeys((self.reject, "data_post")):
            self.register_hook(hook, self.refuse)

    def refuse(self, connection: Connection) -> Rejection | None:
        """Refuse a client that is marked."""
        if not connection.naughty:
            self.log.info("pass")
            return None
        reasons = connection.naughty.replace("\r\n", "\n")
        kind = connection.naughty_reject_type or self.reject_type
        return Rejection(DENY_DISCONNECT(reasons), Policy.REJECT, kind, reasons.replace("\n", "; "))
