"""``twistd qpsmtpd``: one process, or a parent with workers; a mistake ends the start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.python.usage import UsageError

from .building import BuildError
from .config import ConfigError
from .inheritance import Inheritance
from .service import MailService, Options
from .supervisor import Supervisor
from .tlsfiles import TLSConfigError

__all__ = ["Options", "makeService", "mistakes"]


@contextmanager
def mistakes() -> Iterator[None]:
    """End the process for a mistake of the administrator, with a line for each and status 1."""
    try:
        yield
    except (BuildError, ConfigError, TLSConfigError, UsageError, OSError) as error:
        raise SystemExit("\n".join(f"qpsmtpd: {line}" for line in str(error).splitlines())) from None


def makeService(options: Options, reactor: Any = None) -> MailService:
    """Build the server; a mistake ends the process with a line for each and status 1."""
    if reactor is None:
        from twisted.internet import reactor
    inheritance = Inheritance.take(os.environ)
    with mistakes():
        count = options.worker_count()
        if count > 1:
            return Supervisor(options, reactor, count, inheritance)
        return MailService(options, reactor, inheritance)
