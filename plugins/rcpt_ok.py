"""Accept recipients of our own domains, and every recipient from clients that may relay. (draft)"""

from qpsmtpd import OK, Connection, Outcome, Plugin, Recipient, dsn


class RcptOk(Plugin):
    """Have the last word about a recipient."""

    def hook_rcpt(self, connection: Connection, recipient: Recipient) -> Outcome:
        if connection.relay_client:
            return OK
        host = recipient.address.domain.lower()
        if not host or host == self.config.value("me").lower() or host in self.config.lines("rcpthosts"):
            return OK
        return dsn.relaying_denied()
