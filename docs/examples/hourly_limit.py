"""Take a limited number of messages an hour from each sender.

Setting: LIMIT, messages an hour (default 100). Hooks: data. Replies 451 4.7.1.
"""

from qpsmtpd import DENYSOFT, Plugin, Rejection, Setting, Transaction

HOUR = 3600


class HourlyLimit(Plugin):
    """Count the messages of each sender."""

    limit = Setting.integer(100, position=True, unit="messages")

    def register(self) -> None:
        """Take the store now, so that one that cannot be opened stops the start."""
        self.counts = self.store

    async def hook_data(self, transaction: Transaction) -> Rejection | None:
        """Count one more."""
        count = await self.counts.add(transaction.reverse_path.mailbox.lower(), lifetime=HOUR)
        if count > self.limit:
            return self.rejection(DENYSOFT("that is too much for an hour, try again later", "4.7.1"))
        return None
