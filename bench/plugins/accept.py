"""Accept every recipient and throw every message away: an engine with nothing behind it.

Hooks ``rcpt`` and ``queue``. Where a load stores its messages, the plugin that does it comes first.
"""

from qpsmtpd import OK, Outcome, Plugin


class Accept(Plugin):
    """Say OK to everything."""

    def hook_rcpt(self) -> Outcome:
        return OK

    def hook_queue(self) -> Outcome:
        return OK
