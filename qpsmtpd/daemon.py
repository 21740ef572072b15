"""``twistd qpsmtpd``: one process, or a parent with workers; a mistake ends the start."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.python.usage import UsageError

from .building import BuildError
from .config import ConfigError
from .inheritance import Inheritance
from .notify import notify
from .options import Options
from .parent import Parent
from .service import MailService
from .supervisor import Supervisor
from .tlsfiles import TLSConfigError
from .upgrade import Successor, Upgrade

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
    if inheritance is None:
        service = _build(options, reactor)
        service.serving.addCallback(lambda _: notify("READY=1"))
    else:
        # It is the user already that twistd is to become.
        warnings.filterwarnings("ignore", "tried to drop privileges")
        parent = Parent()
        with parent.told():
            service = _build(options, reactor, inheritance)
        Successor(service, options, parent)
    service.upgrade = Upgrade(service, options).begin
    return service


def _build(options: Options, reactor: Any, inheritance: Inheritance | None = None) -> MailService:
    with mistakes():
        count = options.worker_count()
        if count > 1:
            return Supervisor(options, reactor, count, inheritance)
        return MailService(options, reactor, inheritance)
