"""Let in users whose names are no addresses."""

from qpsmtpd import OK, Outcome, Plugin

PASSWORDS = {"goodlogin": "goodpasswd", "psu": "doesnotexist"}


class Accounts(Plugin):
    """The accounts of the tests of aiosmtpd and smtplib."""

    def hook_auth_plain(self, user: str, password: str) -> Outcome | None:
        return OK(user) if PASSWORDS.get(user) == password else None

    hook_auth_login = hook_auth_plain
