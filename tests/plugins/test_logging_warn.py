"""logging/warn writes what the log tools read, up to its level."""

import os

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import ConfigError, Event, Level
from qpsmtpd.testing import Server, Tried


class WarnTests(SynchronousTestCase):
    """With a list instead of standard error."""

    def setUp(self) -> None:
        self.written: list[str] = []

        def write(descriptor: int, octets: bytes) -> int:
            self.assertEqual(2, descriptor)
            self.written.append(octets.decode())
            return len(octets)

        self.patch(os, "write", write)

    def test_lines(self) -> None:
        """A line is number, hook, plugin and text, in one write."""
        tried = Tried("logging/warn 6")
        rows = [
            (("pass", "rcpt", "rcpt_ok", tried.connection), "1 (rcpt) rcpt_ok: pass\n"),
            (("pass", "", "rcpt_ok", tried.connection), "1 rcpt_ok: pass\n"),
            (("rcpt_ok", "rcpt", "", tried.connection), "1 (rcpt) running plugin: rcpt_ok\n"),
            (("dispatching QUIT", "", "", tried.connection), "1 dispatching QUIT\n"),
            (("Listening", "", "", None), f"{os.getpid()} Listening\n"),
        ]
        for facts, line in rows:
            tried.ask("logging", event=Event(Level.INFO, *facts))
            self.assertEqual([line], self.written)
            self.written.clear()

    def test_own_lines(self) -> None:
        """Lines about itself are not written."""
        Tried("logging/warn:1").ask("logging", event=Event(Level.CRIT, "x", "", "logging::warn_3a1", None))
        self.assertEqual([], self.written)

    def test_levels(self) -> None:
        """The level is a number or a name, WARN if there is none; another word stops the start."""
        for words, level in (("", 4), ("6", 6), ("LOGDEBUG", 7), ("radar", 0), ("crit", 2)):
            self.assertEqual(level, Tried(f"logging/warn {words}").plugin.threshold)
        for words in ("8", "loud", "6 6"):
            self.assertRaises(ConfigError, Tried, f"logging/warn {words}")

    def test_server(self) -> None:
        """Of a server's log it writes what is not above its level."""
        server = Server(["logging/warn 5"])
        server.connect().say("QUIT")
        self.assertEqual(["1 Connection from Unknown [192.0.2.1]\n"], self.written)

    def test_lost(self) -> None:
        """Lost lines are told of in the same form."""
        plugin = Tried("logging/warn").plugin
        self.assertEqual(f"{os.getpid()} logging::warn: 3 lines lost", plugin.lost_line(3))  # type: ignore[attr-defined]
