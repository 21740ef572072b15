"""The program of a worker: a server that shares its sockets and its limits with others."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from twisted.logger import globalLogBeginner

from .daemon import mistakes
from .inheritance import Inheritance
from .options import Options
from .parent import Parent
from .service import MailService


def main() -> None:
    """Serve until the parent says otherwise or dies."""
    from twisted.internet import reactor

    inheritance = Inheritance.take(os.environ)
    assert inheritance is not None
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    parent = Parent()
    with parent.told():
        serve(parent, inheritance, reactor)


def serve(parent: Parent, inheritance: Inheritance, reactor: Any) -> None:
    """Build a server, and run it to its end."""
    observer: Any = parent.log
    globalLogBeginner.beginLoggingTo([observer])
    options = Options()
    options.parseOptions(sys.argv[1:])
    with mistakes():
        service = MailService(options, reactor, inheritance)
    if inheritance.directory:
        os.chdir(inheritance.directory)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    commands = {"finish": service.finish}
    parent.listen(reactor, lambda word: commands[word](), service.orphaned)
    service.serving.addCallback(lambda _: reactor.callWhenRunning(parent.ready))
    reactor.run()
