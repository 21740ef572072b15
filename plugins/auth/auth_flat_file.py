"""Authenticate users whose passwords are in one file.

Reads ``flat_auth_pw``: ``user@domain:password`` a line; everything behind the first colon is the password,
in clear, so that SCRAM and CRAM-MD5 work. The file should be readable for the server only; a warning says so
if everybody can read it. Names are compared without regard to case. Without a password nobody gets in.

Whether a user is unknown or a password is wrong is in the log only, and takes the same time. A user whom
the file does not know is left to the next auth plugin.

Hooks: auth-plain, auth-login, auth-cram-md5; credentials, for SCRAM (both CRAM-MD5 and SCRAM if
config/auth_mechanisms names them). Log: ``pass: clear match``, ``pass: hash match``, ``fail: wrong
password``, ``fail: missing password``, ``fail: no such user``, ``fail: no domain in the user's name``,
``skip: missing ticket``.

Differences from upstream: SCRAM; the user is no pattern; names in the file may have capitals; a line that is
no account stops the start; the reply does not tell why.
"""

import stat
from collections.abc import Mapping, Sequence
from typing import ClassVar

from qpsmtpd import DECLINED, DENY, OK, Outcome, Plugin, Secret
from qpsmtpd.kit.match import Compiled, LineError
from qpsmtpd.kit.password import PasswordCheck, check_password

NOBODY = "the password of nobody"


class AuthFlatFile(Plugin):
    """Look passwords up in a file."""

    files: ClassVar[Mapping[str, str]] = {"flat_auth_pw": "user@domain:password"}

    def register(self) -> None:
        """Read the accounts."""
        self.accounts = Compiled(self.config, "flat_auth_pw", read_accounts)
        self.accounts.check()
        self.check_mode()

    def reload(self) -> None:
        """Look at the file's mode again."""
        self.check_mode()

    def check_mode(self) -> None:
        """Warn of a file that every user of this machine can read."""
        path = self.config.find("flat_auth_pw")
        if self.accounts() and path is not None and path.stat().st_mode & stat.S_IROTH:
            self.log.warn("%s holds passwords and everybody can read it: chmod o= %s", path, path)

    def hook_auth_plain(
        self, user: str, password: str | None, digest: str | None, ticket: str | None
    ) -> Outcome:
        """Compare what the client sent with what the file has."""
        if "@" not in user.strip("@"):
            self.log.info("fail: no domain in the user's name")
            return DECLINED
        stored = self.accounts().get(user.lower())
        # Somebody's password is compared in any case: the time must not tell who exists.
        result = check_password(
            stored_clear=NOBODY if stored is None else stored, password=password, digest=digest, ticket=ticket
        )
        if stored is None:
            self.log.info("fail: no such user")
            return DECLINED
        if result is PasswordCheck.NO_TICKET:
            self.log.error(result.value)
            return DECLINED
        self.log.info(result.value)
        return OK if result.passed else DENY

    hook_auth_login = hook_auth_plain
    hook_auth_cram_md5 = hook_auth_plain

    def hook_credentials(self, user: str) -> Secret | None:
        """Give the password, for mechanisms that do not send it."""
        stored = self.accounts().get(user.lower())
        return None if stored is None else Secret(password=stored)


def read_accounts(lines: Sequence[str]) -> dict[str, str]:
    """Read passwords by user; of two lines for a user the first counts."""
    accounts: dict[str, str] = {}
    for position, line in enumerate(lines):
        user, colon, password = line.partition(":")
        if not colon or "@" not in user.strip("@"):
            # The line itself may be a secret.
            raise LineError(position, "not a line of user@domain:password")
        accounts.setdefault(user.lower(), password)
    return accounts
