"""Lines are written or counted; nothing waits."""

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit import lines as module
from qpsmtpd.kit.lines import MAX_LINE, Lines, open_file, open_program, standard_error


class LinesTests(SynchronousTestCase):
    """On a pipe whose reader is the test."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.reader, self.opened = -1, 0
        self.trouble: OSError | None = None
        self.lines = Lines("a plugin", self.open, "{} lost".format, self.clock.seconds)
        self.addCleanup(self.lines.close)
        self.readers: list[int] = []
        self.addCleanup(self.close_readers)

    def open(self) -> int:
        """Make a new pipe and give its writing end."""
        if self.trouble:
            raise self.trouble
        self.reader, writer = os.pipe()
        self.opened += 1
        self.readers.append(self.reader)
        return writer

    def close_readers(self) -> None:
        """Read no more."""
        while self.readers:
            os.close(self.readers.pop())

    def read(self) -> bytes:
        """Give what the reader finds."""
        return os.read(self.reader, 10_000_000)

    def fill(self) -> int:
        """Write as long as there is room; give the number of lines that found some."""
        lines = 0
        while self.lines._lost == 0:
            self.lines.write("x" * 1000)
            lines += 1
        return lines - 1

    def test_written(self) -> None:
        """A line is there at once, with LF; the descriptor stays open."""
        self.lines.write("one")
        self.assertEqual(b"one\n", self.read())
        self.lines.write("zwölf \udcff")
        self.assertEqual("zwölf \\udcff\n".encode(), self.read())
        self.assertEqual(1, self.opened)

    def test_cut(self) -> None:
        """A line is no longer than what a pipe takes at once."""
        for length in (MAX_LINE - 2, MAX_LINE - 1, MAX_LINE, 100_000):
            self.lines.write("x" * length)
            line = self.read()
            self.assertEqual(min(length + 1, MAX_LINE), len(line))
            self.assertEqual(length >= MAX_LINE, line.endswith(b" ...\n"))

    def test_no_room(self) -> None:
        """What finds no room is lost; their number comes before the next line that finds some."""
        written = self.fill()
        for _ in range(3):
            self.lines.write("lost")
        self.assertEqual((b"x" * 1000 + b"\n") * written, self.read())
        self.lines.write("back")
        self.assertEqual(b"4 lost\nback\n", self.read())
        self.lines.write("again")
        self.assertEqual(b"again\n", self.read())

    def test_patience(self) -> None:
        """The first line without room waits a little, those behind it do not."""
        self.fill()
        waits: list[int] = []
        self.lines._patience = 7

        class Poll:
            def poll(self, milliseconds: int) -> list[Any]:
                waits.append(milliseconds)
                return []

            def unregister(self, _: int) -> None: ...

        self.lines._poll = Poll()  # type: ignore[assignment]
        self.lines._lost = 0
        for _ in range(2):
            self.lines.write("x")
        self.assertEqual([7, 0], waits)

    def test_cannot_open(self) -> None:
        """What cannot be opened is tried again after a second; the trouble is logged once."""
        self.trouble = OSError(errno.EACCES, "Permission denied", "/log")
        told: list[str] = []
        self.patch(module._log, "error", lambda _, name, reason: told.append(f"{name}: {reason}"))
        self.lines.write("1")
        self.clock.advance(1)
        self.lines.write("1")
        self.assertEqual(["a plugin: [Errno 13] Permission denied: '/log'"], told)
        self.trouble = None
        self.lines.write("2")
        self.assertEqual(0, self.opened)
        self.clock.advance(1)
        self.lines.write("3")
        self.assertEqual(b"3 lost\n3\n", self.read())

    def test_broken(self) -> None:
        """A reader that is gone is replaced after a second."""
        self.lines.write("1")
        self.close_readers()
        self.lines.write("2")
        self.lines.write("3")
        self.clock.advance(1)
        self.lines.write("4")
        self.assertEqual(b"2 lost\n4\n", self.read())
        self.assertEqual(2, self.opened)

    def test_close(self) -> None:
        """A closed descriptor is opened again by the next line, at once."""
        self.lines.write("1")
        self.lines.close()
        self.lines.close()
        self.assertEqual(b"1\n", self.read())
        self.assertEqual(b"", self.read())
        self.lines.write("2")
        self.assertEqual(b"2\n", self.read())

    def test_standard_error(self) -> None:
        """Standard error is descriptor 2, whatever stands in its place, and is never closed."""
        written: list[tuple[int, bytes]] = []
        closed: list[int] = []

        def write(descriptor: int, octets: bytes) -> int:
            written.append((descriptor, octets))
            return len(octets)

        lines = standard_error("x", str, self.clock.seconds)
        self.patch(sys, "stderr", None)
        self.patch(module, "os", type("os", (), {"write": write, "close": closed.append}))
        lines.write("text")
        lines.close()
        self.assertEqual(([(2, b"text\n")], []), (written, closed))


class OpenTests(SynchronousTestCase):
    def test_file(self) -> None:
        """A file is appended to, and nobody else's to read."""
        path = Path(self.mktemp())
        for text in (b"1", b"2"):
            descriptor = open_file(str(path))
            os.write(descriptor, text)
            os.close(descriptor)
        self.assertEqual(b"12", path.read_bytes())
        self.assertEqual(0, stat.S_IMODE(path.stat().st_mode) & 0o027)

    def test_named_pipe(self) -> None:
        """A named pipe without a reader is an error, not a wait."""
        path = self.mktemp()
        os.mkfifo(path)
        self.assertRaises(OSError, open_file, path)

    def test_program(self) -> None:
        """A program gets the lines at its standard input, and the server's environment."""

        class Reactor:
            def spawnProcess(self, _: Any, program: str, words: list[str], **options: Any) -> None:
                self.given = program, words, options["env"]
                self.input = os.dup(options["childFDs"][0])

        reactor = Reactor()
        descriptor = open_program(reactor, ["logger", "-t", "x"])
        os.write(descriptor, b"line\n")
        os.close(descriptor)
        self.assertEqual(("logger", ["logger", "-t", "x"], os.environ), reactor.given)
        with os.fdopen(reactor.input, "rb") as reader:
            self.assertEqual(b"line\n", reader.read())

    def test_no_program(self) -> None:
        """A program that cannot be started leaves no descriptor open."""

        class Reactor:
            def spawnProcess(self, *_: Any, **options: Any) -> None:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory")

        pipe = os.pipe()
        self.patch(os, "pipe", lambda: pipe)
        self.assertRaises(FileNotFoundError, open_program, Reactor(), ["nothing"])
        for descriptor in pipe:
            self.assertRaises(OSError, os.fstat, descriptor)
