"""The parent of the workers: binds the sockets, checks the configuration, accepts nothing.

It passes signals on, writes what workers log where no plugin does, and keeps the ledger.
"""

from __future__ import annotations

import signal
import sys
from typing import Any, Final

from twisted.internet.defer import Deferred

from .inheritance import WORKER, Inheritance
from .ledger import Ledger
from .options import Options
from .service import MailService
from .workers import Workers

MARGIN: Final = 5.0
"""Seconds past the time of grace after which a worker that does not end is killed."""


class Supervisor(MailService):
    """A server that lets workers do the work."""

    def __init__(
        self, options: Options, reactor: Any, count: int, inheritance: Inheritance | None = None
    ) -> None:
        super().__init__(options, reactor, inheritance)
        command = [sys.executable, "-c", WORKER, *options.words]
        ledger = Ledger.create(count, self._max_connections)
        self.workers = Workers(
            reactor, self.engine.log, command, ledger, options.way_back, errors=self.inheritance.errors
        )

    def serve(self) -> None:
        """Start the workers, as the user that twistd has become, when their end can be heard."""
        for port in self.ports:
            port.hold()
        try:
            sockets = {port.description: port.share() for port in self.ports}
        except LookupError as error:
            self.refuse(f"{error.args[0]}; it cannot have workers")
        self.workers.ready = lambda: self.serving.callback(None)
        self.workers.failed = self._failed
        self.reactor.callWhenRunning(self.workers.start, sockets)

    def _failed(self, why: str) -> None:
        if not self.serving.called:
            self.serving.errback(RuntimeError(why))

    def reload(self) -> None:
        """Have everybody read the configuration again."""
        super().reload()
        self.workers.signal(signal.SIGHUP)

    def finish(self) -> None:
        """Close the sockets here, and end when the workers have."""
        for port in self.ports:
            port.release()
        self.workers.finish().addCallback(lambda _: self.end())

    def kill(self) -> None:
        """End at once, and the workers too."""
        self.workers.signal(signal.SIGKILL)
        super().kill()

    def stopService(self) -> Deferred[None]:
        """Close the sockets and have the workers end, all at the same time."""
        ended = self.workers.stop(self._grace + MARGIN)
        stopped = super().stopService()
        return stopped.addCallback(lambda _: ended)
