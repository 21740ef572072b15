"""Take one OAuth 2.0 token."""

from qpsmtpd import OK, Outcome, Plugin


class Tokens(Plugin):
    """The token is the word token; it is enough for whoever shows it."""

    def hook_auth_oauthbearer(self, user: str, token: str) -> Outcome | None:
        """Look at it."""
        return OK(user) if token == "token" else None

    hook_auth_xoauth2 = hook_auth_oauthbearer
