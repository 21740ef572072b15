"""logging/connection_id puts the connection's id where logging/warn has its number."""

import os
import re

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK, Event, Level
from qpsmtpd.testing import Server, Tried


class ConnectionIdTests(SynchronousTestCase):
    """With a list instead of standard error."""

    def setUp(self) -> None:
        self.written: list[str] = []

        def write(descriptor: int, octets: bytes) -> int:
            self.assertEqual(2, descriptor)
            self.written.append(octets.decode())
            return len(octets)

        self.patch(os, "write", write)

    def test_lines(self) -> None:
        """A line is id, plugin or hook, and text."""
        tried = Tried("logging/connection_id 6")
        me = f"{os.getpid():x}"
        rows = [
            (("pass", "rcpt", "rcpt_ok", tried.connection), f"{me}.1 rcpt_ok plugin: pass\n"),
            (("rcpt_ok", "rcpt", "", tried.connection), f"{me}.1 running plugin (rcpt): rcpt_ok\n"),
            (("dispatching QUIT", "", "", tried.connection), f"{me}.1 dispatching QUIT\n"),
            (("Listening", "", "", None), f"{me}.0 Listening\n"),
        ]
        for facts, line in rows:
            tried.ask("logging", event=Event(Level.INFO, *facts))
            self.assertEqual([line], self.written)
            self.written.clear()

    def test_levels(self) -> None:
        """The level is an argument, WARN without one."""
        self.assertEqual(4, Tried("logging/connection_id").plugin.threshold)
        self.assertEqual(7, Tried("logging/connection_id LOGDEBUG").plugin.threshold)

    def test_same_as_received(self) -> None:
        """The id in the log is part of the id in the message's Received field."""
        received: list[str] = []

        def queue(transaction):  # type: ignore[no-untyped-def]
            received.append(transaction.header.get("Received"))
            return OK

        hooks = {"queue": queue, "rcpt": lambda: OK}
        Server(["logging/connection_id 6"], hooks=hooks).connect().mail()
        (line,) = [line for line in self.written if line.endswith(" dispatching DATA\n")]
        self.assertTrue(re.search(rf" id [0-9a-f]+\.{re.escape(line.split()[0])}\.", received[0]))
