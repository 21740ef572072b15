"""Say goodbye to HELO clients with a fortune cookie.

Runs ``fortune -s`` and puts what it prints below our name into the reply to QUIT. A client that said EHLO is
in a hurry and gets the plain reply, as does everybody when the program fails or takes longer than two
seconds.

Setting: ``program``, the path of fortune (default /usr/games/fortune). Where there is no such program the
plugin does nothing.

Hooks: quit, if the program is there at the start. Replies 221.
"""

import os
from contextlib import suppress

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from qpsmtpd import Connection, Plugin, Reply, Setting

TIME_LIMIT = 2.0
"""Seconds that a client waits for its fortune."""

MAX_OCTETS = 4096
"""Octets of a fortune; short ones have 160."""


class QuitFortune(Plugin):
    """Add a fortune cookie to the reply to QUIT."""

    program = Setting.path("/usr/games/fortune", help="path of fortune")

    def register(self) -> None:
        """Hook QUIT, if there is a program to ask."""
        if os.access(self.program, os.X_OK):
            self.register_hook("quit", self.say_goodbye)
        else:
            self.log.info("skip, %s is not there", self.program)

    async def say_goodbye(self, connection: Connection) -> Reply | None:
        """Ask for a fortune, and answer with it."""
        if connection.hello != "helo":
            return None
        fortune = await self.tell_fortune()
        lines = [f"  / {line.rstrip()}" for line in fortune.expandtabs().splitlines() if line.strip()]
        if not lines:
            return None
        goodbye = f"{self.config.value('me')} closing connection. Have a wonderful day."
        return Reply(221, "\n".join([goodbye, *lines]), "2.0.0")

    async def tell_fortune(self) -> str:
        """Run the program; "" if it fails or is too slow."""
        fortune = Fortune()
        program = str(self.program)
        self.services.reactor.spawnProcess(fortune, program, [program, "-s"], {})
        timer = self.clock.callLater(TIME_LIMIT, fortune.told.cancel)
        try:
            return await fortune.told
        except CancelledError:
            return ""
        finally:
            if timer.active():
                timer.cancel()


class Fortune(ProcessProtocol):
    """A running program; ``told`` fires with what it printed, and kills it when it is cancelled."""

    def __init__(self) -> None:
        self.octets = bytearray()
        self.told: Deferred[str] = Deferred(self.kill)

    def outReceived(self, data: bytes) -> None:
        """Keep what is printed."""
        self.octets += data[: MAX_OCTETS - len(self.octets)]

    def processEnded(self, reason: Failure) -> None:
        """Tell; a failure has nothing to tell."""
        if not self.told.called:
            self.told.callback(self.octets.decode("utf-8", "replace") if reason.check(ProcessDone) else "")

    def kill(self, _: object) -> None:
        """End the program that nobody waits for."""
        with suppress(ProcessExitedAlready):
            if self.transport is not None:
                self.transport.signalProcess("KILL")
