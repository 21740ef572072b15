"""The program of a worker: a server that shares its sockets and its limits with others."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import Any

from twisted.logger import globalLogBeginner

from .daemon import mistakes
from .inheritance import Inheritance
from .parent import Parent
from .service import MailService, Options


def main() -> None:
    """Serve until the parent says otherwise or dies."""
    from twisted.internet import reactor

    inheritance = Inheritance.take(os.environ)
    assert inheritance is not None
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    parent = Parent()
    try:
        serve(parent, inheritance, reactor)
    except SystemExit as end:
        parent.say(f"failed {end.code}")
        sys.exit(1)
    except BaseException as error:
        parent.say(f"failed {traceback.format_exception_only(error)[-1]}")
        raise


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
