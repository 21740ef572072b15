"""logging/syslog hands over lines with priority, tag and number."""

import atexit
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import ConfigError, Connection, Event, Level
from qpsmtpd.testing import Tried

EVENT = Event(Level.INFO, "pass", "rcpt", "rcpt_ok", Connection(number=7))


class SyslogTests(SynchronousTestCase):
    """With a list instead of the thread."""

    def load(self, words: str = "") -> Any:
        """Load the plugin, with the list ``lines``."""
        self.tried = Tried(f"logging/syslog {words}")
        plugin: Any = self.tried.plugin
        self.lines: list[Any] = []
        plugin.sender.put = self.lines.append
        return plugin

    def put(self, words: str = "", event: Event = EVENT) -> tuple[int, str]:
        """Log a line; give its priority and text."""
        self.load(words)
        self.tried.ask("logging", event=event)
        (line,) = self.lines
        return line.priority, line.text

    def test_lines(self) -> None:
        """Facility and severity make the priority; the rest is as the line in config/logging wants it."""
        text = "qpsmtpd[7]: (rcpt) rcpt_ok: pass"
        rows = [
            ("", (2 * 8 + 6, text)),
            ("facility LOG_LOCAL3", (19 * 8 + 6, text)),
            ("facility daemon", (3 * 8 + 6, text)),
            ("priority LOGCRIT", (2 * 8 + 2, text)),
            ("priority 0", (2 * 8, text)),
            ("ident mx-1.in", (2 * 8 + 6, "mx-1.in[7]: (rcpt) rcpt_ok: pass")),
            ("bare", (2 * 8 + 6, "qpsmtpd[7]: pass")),
        ]
        for words, expected in rows:
            self.assertEqual(expected, self.put(words), words)

    def test_no_connection(self) -> None:
        """A line of no connection has the process id."""
        event = Event(Level.ERROR, "x", "", "", None)
        self.assertEqual((2 * 8 + 3, f"qpsmtpd[{os.getpid()}]: x"), self.put("", event))

    def test_own_lines(self) -> None:
        """Lines about itself are not sent."""
        self.load()
        self.tried.ask("logging", event=Event(Level.ERROR, "x", "", "logging::syslog", None))
        self.assertEqual([], self.lines)

    def test_lost(self) -> None:
        """Lost lines are told of as a warning."""
        line = self.load().lost_line(3)
        self.assertEqual(
            (2 * 8 + 4, f"qpsmtpd[{os.getpid()}]: logging::syslog: 3 lines lost"), (line[0], line[2])
        )

    def test_levels(self) -> None:
        """The level is a number or a name, WARN if there is none."""
        for words, level in (("", 4), ("loglevel 6", 6), ("loglevel LOGEMERG", 0)):
            self.assertEqual(level, self.load(words).threshold)

    def test_start(self) -> None:
        """The thread starts when the server runs, and what is left is sent when the process ends."""
        steps: list[Any] = []
        plugin = self.load()
        plugin.sender.start = lambda: steps.append("start")
        self.patch(atexit, "register", steps.append)
        self.assertEqual([], steps)
        self.tried.clock.advance(0)
        self.assertEqual(["start", plugin.sender.stop], steps)

    def test_bad_arguments(self) -> None:
        """Bad arguments stop the start."""
        rows = ["6", "loglevel loud", "facility LOG_MOON", "ident a/b", "logsock unix,pigeon", "logsock ,"]
        for words in [*rows, "priority 8", "port 0", "loglevel"]:
            self.assertRaises(ConfigError, Tried, f"logging/syslog {words}")
