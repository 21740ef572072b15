"""Let goodlogin in."""

from qpsmtpd import OK, Outcome, Plugin


class Accounts(Plugin):
    """The account of the tests of aiosmtpd."""

    def hook_auth_plain(self, user: str, password: str) -> Outcome | None:
        return OK(user) if (user, password) == ("goodlogin", "goodpasswd") else None

    hook_auth_login = hook_auth_plain
