"""Tolerate MAIL and RCPT addresses without angle brackets, which the engine refuses with 501.

Puts the brackets around the address and goes on. Mail programs do it right, so a client that does not
loses two points of karma for each address.

Hooks: mail_pre, rcpt_pre; ends both chains. Karma -2. Log: ``fail, added angle brackets to ADDRESS``.
"""

from qpsmtpd import OK, Connection, Outcome, Plugin


class DontRequireAnglebrackets(Plugin):
    """Put angle brackets around addresses that lack them."""

    def hook_mail_pre(self, connection: Connection, path: str) -> Outcome:
        """Give the reverse-path with its brackets."""
        return self.bracketed(connection, path)

    def hook_rcpt_pre(self, connection: Connection, path: str) -> Outcome:
        """Give the forward-path with its brackets."""
        return self.bracketed(connection, path)

    def bracketed(self, connection: Connection, path: str) -> Outcome:
        """Give a path with its brackets, and make the client pay for them if they were missing."""
        if path.startswith("<") and path.endswith(">"):
            return OK(path)
        self.log.info("fail, added angle brackets to %s", path)
        self.adjust_karma(connection, -2)
        return OK(f"<{path}>")
