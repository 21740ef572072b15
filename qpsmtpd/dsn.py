"""Named delivery statuses for plugins: ``return dsn.no_such_user("no mailbox here")``.

Each name of `qpsmtpd.smtp.dsn` is here a function ``(text="", *, outcome=None)`` that gives an outcome
with the enhanced status code of RFC 3463 whose class follows the verdict.
"""

from __future__ import annotations

from .outcome import DeliveryStatus
from .smtp import dsn as _statuses

BY_NAME = {name: DeliveryStatus(status) for name, status in _statuses.ALL.items()}


def __getattr__(name: str) -> DeliveryStatus:
    try:
        return BY_NAME[name]
    except KeyError:
        raise AttributeError(f"no delivery status is called {name!r}") from None


def __dir__() -> list[str]:
    return sorted(BY_NAME)
