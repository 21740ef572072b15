"""What a hook may return: outcomes as values, and the named statuses that make them.

Knows nothing of hooks, plugins or replies; `answers` turns an outcome into a reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from .smtp import dsn as statuses


class Code(IntEnum):
    """The verdicts, with upstream's numbers."""

    OK = 900
    DENY = 901
    DENYSOFT = 902
    DENY_DISCONNECT = 903
    DENYSOFT_DISCONNECT = 904
    DECLINED = 909
    DONE = 910

    @property
    def denies(self) -> bool:
        """Tell whether this verdict refuses."""
        return 901 <= self <= 904  # to look up members costs more than to compare numbers

    @property
    def soft(self) -> bool:
        """Tell whether the client may try again later."""
        return self in (Code.DENYSOFT, Code.DENYSOFT_DISCONNECT)

    @property
    def disconnects(self) -> bool:
        """Tell whether the session ends with this verdict."""
        return self in (Code.DENY_DISCONNECT, Code.DENYSOFT_DISCONNECT)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with its reply text ("" for the hook's own) and enhanced status ("" for the hook's own).

    Lines of a reply of several lines are separated by LF.
    """

    code: Code
    text: str = ""
    status: str = ""

    def __call__(self, text: str = "", status: str = "") -> Outcome:
        """Give the same verdict with a text: ``DENY("no such user", "5.1.1")``."""
        return Outcome(self.code, text, status)


@dataclass(frozen=True, slots=True)
class Given(Outcome):
    """OK with the value that the hook asks for; the representation does not show it."""

    value: Any = field(default=None, repr=False)


OK = Outcome(Code.OK)
DENY = Outcome(Code.DENY)
DENYSOFT = Outcome(Code.DENYSOFT)
DENY_DISCONNECT = Outcome(Code.DENY_DISCONNECT)
DENYSOFT_DISCONNECT = Outcome(Code.DENYSOFT_DISCONNECT)
DECLINED = Outcome(Code.DECLINED)

OUTCOMES = {
    outcome.code.name: outcome
    for outcome in (OK, DENY, DENYSOFT, DENY_DISCONNECT, DENYSOFT_DISCONNECT, DECLINED)
}
"""Outcomes by the names that configuration files use."""
OUTCOMES["DENYHARD"] = DENY_DISCONNECT

REJECT_TYPES = {
    "temp": Code.DENYSOFT,
    "soft": Code.DENYSOFT,
    "perm": Code.DENY,
    "hard": Code.DENY,
    "disconnect": Code.DENY_DISCONNECT,
    "temp_disconnect": Code.DENYSOFT_DISCONNECT,
}
"""Verdicts by the words of a ``reject_type`` argument."""


class Policy(IntEnum):
    """What a plugin's ``reject`` argument says shall become of a rejection."""

    TOLERATE = 0
    REJECT = 1
    NAUGHTY = 2


@dataclass(frozen=True, slots=True)
class Rejection:
    """A plugin wants to reject; its ``reject`` argument decides what becomes of that.

    The registry logs it and turns it into an outcome, so that one place knows about tolerated and
    deferred rejections. ``reject_type`` is what the administrator wrote, "" if nothing.
    """

    outcome: Outcome
    policy: Policy
    reject_type: str
    log: str


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """A named status of RFC 3463 that makes outcomes: ``dsn.no_such_user("who?")``."""

    status: statuses.Status

    def __call__(self, text: str = "", *, outcome: Outcome | None = None) -> Outcome:
        """Make the outcome; without one given, the status' usual verdict."""
        verdict = outcome or self.default
        return replace(verdict, text=text or self.status.text, status=self.enhanced(verdict.code))

    @property
    def default(self) -> Outcome:
        """The verdict that this status usually means."""
        if self.status.success:
            return OK
        return DENYSOFT if self.status.soft else DENY

    def enhanced(self, code: Code) -> str:
        """Give the enhanced status code for a verdict: class, subject, detail."""
        if code.denies:
            return self.status.enhanced(4 if code.soft else 5)
        return self.status.enhanced(2 if code in (Code.OK, Code.DONE) else 4)
