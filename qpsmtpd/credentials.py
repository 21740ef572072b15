"""Passwords and SCRAM, checked with secrets that plugins only look up (hook ``credentials``).

Whether there is a user must not show: every check does the same work, with a made-up secret if there is
none, and says so in the log only. Knows the hook and the arithmetic; not the AUTH command.
"""

from __future__ import annotations

from hmac import compare_digest, digest
from secrets import token_bytes, token_hex
from typing import TYPE_CHECKING, Final

from .kit.password import PasswordCheck, check_password
from .log import Level
from .outcome import DECLINED, DENY, DENYSOFT, OK, Code, Given, Outcome
from .sasl import Credentials
from .saslprep import prepared_password
from .secret import SALT_LENGTH, Secret
from .settling import Answer
from .waiting import TimeLimit, wait

if TYPE_CHECKING:
    from .session import Session

TIME_LIMIT: Final = 30.0
"""Seconds that a derivation may wait for a thread, and take."""

NO_USER: Final = "fail: no such user"

_KEY: Final = token_bytes(32)


def salt_of(user: str) -> bytes:
    """Make the salt of a user who has none: always the same, and unlike that of any other user."""
    return digest(_KEY, user.encode("utf-8", "surrogateescape"), "sha256")[:SALT_LENGTH]


async def verifiers(session: Session, user: str, mechanism: str) -> Secret | Answer:
    """Give the verifiers for SCRAM, made-up ones for an unknown user, or what the plugin says instead."""
    secret = await _look_up(session, user, mechanism)
    if not isinstance(secret, Secret | None):
        return secret
    if secret is None:
        session.log(Level.INFO, NO_USER)
    password = secret.password if secret else None
    salt, iterations = salt_of(user), session.limits.scram_iterations
    # Derived even if there are verifiers: the time must not tell.
    derived = await _derive(session, password or token_hex(16), salt, iterations)
    return secret if secret is not None and password is None else derived


async def verify(session: Session, credentials: Credentials, *, refused: bool = False) -> Answer:
    """Check a password or a digest; DECLINED for an unknown user.

    ``refused``: a plugin has said no already; the work is done all the same, but the log says nothing of it.
    """
    user, password = credentials.user, credentials.password
    secret = await _look_up(session, user, credentials.mechanism)
    if not isinstance(secret, Secret | None):
        return secret
    known = secret or Secret(password=token_hex(16))
    derived: Secret | Answer | None = None
    if password is not None:
        salt, iterations = known.salt or salt_of(user), known.iterations or session.limits.scram_iterations
        derived = await _derive(session, password, salt, iterations)
    if not isinstance(derived, Secret | None):
        return derived
    result = _compare(known, credentials, derived)
    if not refused:
        session.log(Level.INFO, "%s", NO_USER if secret is None else result.value)
    if secret is None:
        return DECLINED
    return OK if result.passed else DENY


def _compare(known: Secret, credentials: Credentials, derived: Secret | None) -> PasswordCheck:
    password = credentials.password
    if known.password is not None:
        return check_password(
            stored_clear=known.password if password is None else prepared_password(known.password),
            password=password and prepared_password(password),
            digest=credentials.digest,
            ticket=credentials.ticket,
        )
    if derived is None:
        return PasswordCheck.NO_CLEAR
    same = compare_digest(derived.stored_key, known.stored_key)
    return PasswordCheck.PASS_HASH if same else PasswordCheck.WRONG


async def _look_up(session: Session, user: str, mechanism: str) -> Secret | Answer | None:
    """Ask the plugins; None if no plugin knows the user, or if nobody can log in with what it has."""
    answer = await session.ask("credentials", user, mechanism)
    if isinstance(answer, Given):
        secret: Secret = answer.value
        return None if secret.password == "" else secret
    if isinstance(answer, Outcome) and answer.code in (Code.OK, Code.DECLINED):
        return None
    return answer


async def _derive(session: Session, password: str, salt: bytes, iterations: int) -> Secret | Answer:
    services = session.engine.services
    made = services.run_in_thread(Secret.derive, password, salt, iterations)
    try:
        return await wait(made, TIME_LIMIT, services.reactor)
    except TimeLimit:
        session.log(Level.ERROR, "no thread was free to check a password")
        return DENYSOFT
