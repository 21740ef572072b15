"""Events, their rendering, and who hears them."""

import os
from typing import Any

from twisted.logger import LogLevel
from twisted.logger import globalLogPublisher as publisher
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import Reply
from qpsmtpd.connection import Connection
from qpsmtpd.log import CALL, Event, Level, Log


class LevelTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """Numbers and names are read, with or without LOG, in any case."""
        rows = {"0": 0, "7": 7, "LOGINFO": 6, "info": 6, "Emerg": 0, "LOGRADAR": 0, "warn": 4}
        self.assertEqual(rows, {text: int(Level.parse(text)) for text in rows})

    def test_refused(self) -> None:
        for text in ("", "8", "-1", "x", "LOG", "1.0", "\u0661", "LOGLOGINFO"):
            self.assertRaises(ValueError, Level.parse, text)


class EventTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """The lines are those that log tools parse: number, hook, plugin, text."""
        connection = Connection(number=7)
        rows = (
            (("", "", None), f"{os.getpid()} text"),
            (("", "", connection), "7 text"),
            (("rcpt", "badrcptto", connection), "7 (rcpt) badrcptto: text"),
            (("", "badrcptto", None), f"{os.getpid()} badrcptto: text"),
            (("rcpt", "", connection), "7 (rcpt) running plugin: text"),
        )
        for (hook, plugin, client), line in rows:
            self.assertEqual(line, str(Event(Level.INFO, "text", hook, plugin, client)))


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.events: list[Event] = []
        self.log = Log(Level.DEBUG, self.events.append)

    def texts(self) -> list[str]:
        return [event.text for event in self.events]


class LogTests(Case):
    def test_threshold(self) -> None:
        """What nobody wants is not even rendered."""

        class Costly:
            def __str__(self) -> str:
                raise AssertionError

        self.log.threshold = Level.WARN
        self.log.emit(Level.NOTICE, "%s", Costly())
        self.log.emit(Level.WARN, "heard")
        self.assertEqual(["heard"], self.texts())

    def test_places(self) -> None:
        """Values are put in their places; without values a percent sign is one."""
        self.log.emit(Level.INFO, "%s of %d", "a", 3)
        self.log.emit(Level.INFO, "100%")
        self.assertEqual(["a of 3", "100%"], self.texts())

    def test_one_line(self) -> None:
        """What a client sent forges no line, and moves no cursor."""
        self.log.emit(Level.INFO, "%s", "a\r\n1 250 Queued!\x1b[2J\tb\u2028c\udcffd")
        self.assertEqual(["a\\r\\n1 250 Queued!\\x1b[2J\tb\\u2028c\\udcffd"], self.texts())

    def test_failing_logger(self) -> None:
        """A logger that fails stops neither the mail nor the loggers after it."""

        def fail(_: Event) -> None:
            raise ZeroDivisionError

        self.log.observe(Level.DEBUG, fail, self.events.append)
        self.log.emit(Level.INFO, "x")
        self.log.emit(Level.INFO, "y")
        self.assertEqual(["x", "y"], self.texts())
        self.assertEqual(2, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_logging_logger(self) -> None:
        """What a logger logs while it logs is dropped."""
        self.log.observe(Level.DEBUG, lambda _: self.log.emit(Level.INFO, "again"), self.events.append)
        self.log.emit(Level.INFO, "x")
        self.assertEqual(["x"], self.texts())

    def test_twisted(self) -> None:
        """Without loggers Twisted's log has the line, at its own level."""
        heard: list[Any] = []
        publisher.addObserver(heard.append)
        self.addCleanup(publisher.removeObserver, heard.append)
        self.log.observe(Level.WARN)
        self.log.emit(Level.WARN, "x")
        self.log.emit(Level.INFO, "y")
        self.assertEqual([(LogLevel.warn, f"{os.getpid()} x")], [(e["log_level"], e["line"]) for e in heard])

    def test_reply(self) -> None:
        """A reply's lines are logged as upstream's tools know them: a refusal's status behind the text."""
        connection = Connection(number=1)
        self.log.show_reply(Reply(250, "Queued!", "2.0.0"), connection)
        self.log.show_reply(Reply(550, "no\nnever", "5.7.1"), connection)
        self.assertEqual(["250 Queued!", "550-no (#5.7.1)", "550 never (#5.7.1)"], self.texts())


class LoggerTests(Case):
    """A plugin's access to the log."""

    def levels(self, loglevel: str) -> list[int]:
        logger = self.log.scoped("p", loglevel)
        for method in (logger.error, logger.warn, logger.notice, logger.info, logger.debug):
            method("x")
        return [int(event.level) for event in self.events]

    def test_levels(self) -> None:
        self.assertEqual([3, 4, 5, 6, 7], self.levels(""))

    def test_fixed(self) -> None:
        self.assertEqual([6] * 5, self.levels("LOGINFO"))

    def test_fixed_zero(self) -> None:
        self.assertEqual([0] * 5, self.levels("0"))

    def test_shifted(self) -> None:
        """The shift stays within the levels."""
        self.assertEqual([5, 6, 7, 7, 7], self.levels("+2"))

    def test_shifted_up(self) -> None:
        self.assertEqual([0, 0, 1, 2, 3], self.levels("-4"))

    def test_wrong(self) -> None:
        self.assertRaises(ValueError, self.log.scoped, "p", "loud")

    def test_dropped(self) -> None:
        """What is shifted past the threshold is dropped."""
        self.log.threshold = Level.INFO
        self.assertEqual([5, 6], self.levels("+2"))

    def test_called_for(self) -> None:
        """A line carries the connection and hook of the call that it comes from, unless one is given."""
        one, other = Connection(number=1), Connection(number=2)
        token = CALL.set((one, "rcpt"))
        self.addCleanup(CALL.reset, token)
        logger = self.log.scoped("p")
        logger.info("x")
        logger.info("x", connection=other)
        self.assertEqual([(1, "rcpt"), (2, "rcpt")], [(event.number, event.hook) for event in self.events])
