"""logging/file puts each line where its time and session say, and waits for nobody."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import ConfigError, Connection, Event, Level
from qpsmtpd.kit import lines
from qpsmtpd.testing import Tried

DAY = 86400


class LogFileTests(SynchronousTestCase):
    """In a directory of its own, at UTC."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()
        self.patch(time, "localtime", time.gmtime)
        self.addCleanup(self.close)
        self.tried: Tried | None = None

    def close(self) -> None:
        """Close what is open."""
        if self.tried is not None:
            self.tried.plugin.reload()

    def load(self, words: str, *, start: bool = True) -> Any:
        """Load the plugin and start the server."""
        self.close()
        self.tried = Tried(f"logging/file {words}")
        if start:
            self.tried.clock.advance(0)
        return self.tried.plugin

    def log(self, text: str, connection: Connection | None = None, plugin: str = "") -> None:
        """Have a line logged."""
        assert self.tried is not None
        event = Event(Level.INFO, text, "rcpt" if plugin else "", plugin, connection)
        self.tried.ask("logging", event=event, connection=connection)

    def finish(self, connection: Connection) -> None:
        """End a session, with a line about it at the very end."""
        assert self.tried is not None
        self.tried.ask("post-connection", connection=connection)
        self.log("cleaning up", connection)
        self.tried.clock.advance(0)

    def files(self) -> dict[str, str]:
        """Give the texts of all lines by file."""
        return {
            path.name: "".join(line.rpartition(": ")[2] + " " for line in path.read_text().splitlines())
            for path in self.here.iterdir()
        }

    def test_format(self) -> None:
        """A line has time, host, number, hook, plugin and text."""
        connection = Connection(number=7)
        rows = [
            ("", "Thu Jan 01 00:00:00 1970"),
            ("tsformat %H:%M", "00:00"),
            ('tsformat "%F %T"', "1970-01-01 00:00:00"),
        ]
        for words, stamp in rows:
            plugin = self.load(f"{words} {self.here}/log")
            self.log("pass", connection, "rcpt_ok")
            self.log("pass")
            one = f"{stamp} {plugin.host}[7]: (rcpt) rcpt_ok: pass\n"
            two = f"{stamp} {plugin.host}[{os.getpid()}]: pass\n"
            self.assertEqual(one + two, (self.here / "log").read_text())
            (self.here / "log").unlink()

    def test_bare(self) -> None:
        """With bare a line has neither hook nor plugin, as upstream's."""
        plugin = self.load(f"bare {self.here}/log")
        self.log("pass", Connection(number=7), "rcpt_ok")
        stamp = "Thu Jan 01 00:00:00 1970"
        self.assertEqual(f"{stamp} {plugin.host}[7]: pass\n", (self.here / "log").read_text())

    def test_own_lines(self) -> None:
        """Lines about itself are not written."""
        self.load(f"{self.here}/log")
        self.log("x", plugin="logging::file")
        self.assertEqual({}, self.files())

    def test_early(self) -> None:
        """Nothing is opened before the server runs; what was logged until then is written then."""
        self.load(f"{self.here}/log", start=False)
        self.log("early")
        self.assertEqual({}, self.files())
        self.clock.advance(0)
        self.log("late")
        self.assertEqual({"log": "early late "}, self.files())

    @property
    def clock(self) -> Clock:
        """The clock of the server."""
        assert self.tried is not None
        return self.tried.clock

    def test_rename(self) -> None:
        """A name with time fields follows the time, and the old file is closed."""
        plugin = self.load(f"{self.here}/log-%j")
        for text in ("a", "b"):
            self.log(text, Connection())
            self.clock.advance(DAY / 2)
        self.log("c", Connection())
        self.assertEqual({"log-001": "a b ", "log-002": "c "}, self.files())
        self.assertEqual([f"{self.here}/log-002"], list(plugin.outputs))

    def test_nosplit(self) -> None:
        """With nosplit a session stays in its file, which is closed behind the last line."""
        plugin = self.load(f"nosplit {self.here}/log-%j")
        old, new = Connection(number=1), Connection(number=2)
        self.log("a", old)
        self.clock.advance(DAY)
        self.log("b", old)
        self.log("c", new)
        self.log("d")
        self.finish(old)
        self.assertEqual({"log-001": "a b cleaning up ", "log-002": "c d "}, self.files())
        self.assertEqual([f"{self.here}/log-002"], list(plugin.outputs))
        self.log("after all", old)
        self.assertEqual("c d after all ", self.files()["log-002"])

    def test_session_id(self) -> None:
        """A name may hold the session's id; lines of none are the parent's."""
        plugin = self.load(f"{self.here}/%i.%%i")
        sessions = [Connection(number=1), Connection(number=2)]
        for connection in sessions:
            self.log("a", connection)
        self.log("b")
        ids = [connection.notes["logging-session-id"] for connection in sessions]
        self.assertEqual([f"00000000-{os.getpid():04}-{number}" for number in (1, 2)], ids)
        self.finish(sessions[0])
        self.assertEqual(
            {f"{ids[0]}.%i": "a cleaning up ", f"{ids[1]}.%i": "a ", "parent.%i": "b "}, self.files()
        )
        self.assertEqual(2, len(plugin.outputs))

    def test_reopen(self) -> None:
        """With reopen a session opens the file again, so that one that was moved away is let go."""
        self.load(f"reopen {self.here}/log")
        first, second = Connection(), Connection()
        self.log("a", first)
        (self.here / "log").rename(self.here / "old")
        self.log("b", first)
        self.log("c", second)
        self.assertEqual({"old": "a b ", "log": "c "}, self.files())

    def test_reload(self) -> None:
        """SIGHUP opens the file again."""
        plugin = self.load(f"{self.here}/log")
        self.log("a")
        (self.here / "log").rename(self.here / "old")
        plugin.reload()
        self.log("b")
        self.assertEqual({"old": "a ", "log": "b "}, self.files())

    def test_program(self) -> None:
        """Behind | is a program; its name follows the time, and the old one gets an end."""
        started: list[list[str]] = []
        readers: list[int] = []

        def open_program(_: Any, words: list[str]) -> int:
            reader, writer = os.pipe()
            started.append(words)
            readers.append(reader)
            self.addCleanup(os.close, reader)
            return writer

        plugin = self.load("| multilog t 'a b' ./log-%j")
        self.patch(sys.modules[type(plugin).__module__], "open_program", open_program)
        self.log("a")
        self.clock.advance(DAY)
        self.log("b")
        self.assertEqual([["multilog", "t", "a b", f"./log-00{day}"] for day in (1, 2)], started)
        self.assertTrue(os.read(readers[0], 1000).endswith(b"]: a\n"))
        self.assertEqual(b"", os.read(readers[0], 1000))

    def test_lost(self) -> None:
        """What cannot be opened is tried again, and the lines that were lost are counted."""
        self.load(f"{self.here}/%j/log")
        self.patch(lines._log, "error", lambda *_, **__: None)
        self.log("a")
        self.log("b")
        (self.here / "001").mkdir()
        self.clock.advance(1)
        self.log("c")
        one, two = (self.here / "001/log").read_text().splitlines()
        self.assertTrue(one.endswith(": logging::file: 2 lines lost"))
        self.assertTrue(two.endswith(": c"))

    def test_levels(self) -> None:
        """The level is a number or a name, WARN if there is none."""
        for words, level in (("", 4), ("loglevel 6", 6), ("loglevel LOGDEBUG", 7), ("loglevel RADAR", 0)):
            self.assertEqual(level, self.load(f"{words} {self.here}/log").threshold)

    def test_bad_arguments(self) -> None:
        """Bad arguments stop the start."""
        rows = ["", "loglevel 6", "loglevel loud /tmp/x", "/no/such/directory/log", "|", "|a 'b", "| "]
        for words in rows:
            self.assertRaises(ConfigError, Tried, f"logging/file {words}")

    def test_path_with_blanks(self) -> None:
        """The output is the rest of the line."""
        self.load(f"loglevel 6 {self.here}/a log")
        self.log("x")
        self.assertEqual({"a log": "x "}, self.files())
