"""Authenticate nobody: an example of a plugin for all AUTH mechanisms.

It makes the server offer every mechanism of config/auth_mechanisms, and has no objection to another
plugin's authenticating the user. Load it last.

Hooks: auth. Log: ``fail: cannot authenticate USER``, at level WARN.

Differences from upstream: the reply has no text of its own. It names the user in any case, and the text
would tell users whom another plugin knows from those whom none knows.
"""

from qpsmtpd import DECLINED, Outcome, Plugin


class AuthDeny(Plugin):
    """Decline every user."""

    def hook_auth(self, user: str) -> Outcome:
        """Say so in the log."""
        self.log.warn("fail: cannot authenticate %s", user)
        return DECLINED
