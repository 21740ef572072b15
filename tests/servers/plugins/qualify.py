"""Complete addresses that have no domain with unqualified.example."""

from qpsmtpd import OK, Outcome, Plugin


class Qualify(Plugin):
    """Senders and recipients alike."""

    def hook_mail_pre(self, path: str) -> Outcome | None:
        """Leave what has a domain, and the null sender."""
        return None if "@" in path or path == "<>" else OK(f"{path[:-1]}@unqualified.example>")

    hook_rcpt_pre = hook_mail_pre
