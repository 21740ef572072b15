"""Refuse mail that goes round in circles.

Counts the Received and Delivered-To fields, our own Received included, and refuses the message as soon as
there are too many (RFC 5321 section 6.3).

Setting: MAX_HOPS, the number of fields that is too many (default 100; 0 is the default, too).

Hooks: data_post. Replies 552 5.4.6. Log: ``pass, N hops`` or ``fail, N hops``.
"""

from qpsmtpd import Plugin, Rejection, Setting, Transaction, dsn

DEFAULT_LIMIT = 100


class Loop(Plugin):
    """Count the hops of a message."""

    max_hops = Setting.integer(DEFAULT_LIMIT, position=True, unit="hops", help="so many are too many")

    def hook_data_post(self, transaction: Transaction) -> Rejection | None:
        """Count the trace fields."""
        header = transaction.header
        hops = len(header.raw("Received")) + len(header.raw("Delivered-To")) if header is not None else 0
        if hops >= (self.max_hops or DEFAULT_LIMIT):
            return self.rejection(dsn.too_many_hops(), log=f"{hops} hops")
        self.log.info("pass, %d hops", hops)
        return None
