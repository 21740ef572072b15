"""Lines go to syslog in its form, by the first way that works, and are counted when there is none."""

import shutil
import socket
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit import syslog as module
from qpsmtpd.kit.syslog import FACILITIES, Channel, Line, Sender, open_channel, opener


class LineTests(SynchronousTestCase):
    def test_form(self) -> None:
        """RFC 3164: priority, time with the day padded by a blank, maybe the host, tag and text."""
        self.patch(time, "localtime", time.gmtime)
        line = Line(22, 1_800_000_000.9, "qpsmtpd[7]: zwölf")
        self.assertEqual("<22>Jan 15 08:00:00 qpsmtpd[7]: zwölf".encode(), line.octets())
        line = Line(22, 1_799_000_000, "qpsmtpd[7]: x")
        self.assertEqual(b"<22>Jan  3 18:13:20 mail qpsmtpd[7]: x", line.octets("mail"))

    def test_facilities(self) -> None:
        """The numbers of RFC 3164 section 4.1.1."""
        rows = {"kern": 0, "mail": 2, "authpriv": 10, "ftp": 11, "local0": 16, "local7": 23}
        self.assertEqual(rows, {name: FACILITIES[name] for name in rows})
        self.assertEqual(20, len(FACILITIES))


class SenderTests(SynchronousTestCase):
    """Without a thread, into a list."""

    def setUp(self) -> None:
        self.sent: list[str] = []
        self.closed = self.opened = 0
        self.cannot_open = self.cannot_send = False
        self.now = 1000.0
        self.told: list[str] = []
        self.patch(module.time, "monotonic", lambda: self.now)
        self.patch(module._log, "error", lambda _, reason: self.told.append(str(reason)))
        self.sender = Sender(self.open, lambda number: Line(1, 0, f"{number} lost"))

    def open(self) -> Channel:
        """Open a way into the list."""
        if self.cannot_open:
            raise OSError("no way")
        self.opened += 1
        return Channel(self.take, self.close, remote=False)

    def take(self, octets: bytes) -> None:
        """Take a line, if lines are taken."""
        if self.cannot_send:
            self.cannot_send = False
            raise OSError("refused")
        self.sent.append(octets.decode().split(maxsplit=3)[3])

    def close(self) -> None:
        """Count closings."""
        self.closed += 1

    def send(self, *texts: str) -> None:
        """Send lines."""
        for text in texts:
            self.sender.send(Line(1, 0, text))

    def test_sent(self) -> None:
        """One way is enough for many lines."""
        self.send("a", "b")
        self.assertEqual((["a", "b"], 1), (self.sent, self.opened))

    def test_restart(self) -> None:
        """If syslog was restarted, the line is sent over a new way."""
        self.send("a")
        self.cannot_send = True
        self.send("b", "c")
        self.assertEqual((["a", "b", "c"], 2, 1), (self.sent, self.opened, self.closed))
        self.assertEqual(["refused"], self.told)

    def test_lost(self) -> None:
        """Without syslog lines are counted; it is looked for once a second, and the trouble told once."""
        self.cannot_open = True
        self.send("a", "b")
        self.now += 1
        self.send("c")
        self.cannot_open = False
        self.send("d")
        self.now += 1
        self.send("e", "f")
        self.assertEqual(["4 lost", "e", "f"], self.sent)
        self.assertEqual(["no way"], self.told)

    def test_overflow(self) -> None:
        """What does not fit into the queue is counted, too."""
        self.patch(module, "MAX_QUEUE", 2)
        sender = Sender(self.open, lambda number: Line(1, 0, f"{number} lost"))
        for text in "abcd":
            sender.put(Line(1, 0, text))
        sender.stop()
        sender._queue.get()
        sender.put(Line(1, 0, "e"))
        sender._queue.get()
        sender.start()
        sender.stop(10)
        self.assertEqual(["2 lost", "e"], self.sent)

    def test_thread(self) -> None:
        """The thread sends what was put before and after its start, then ends."""
        self.sender.put(Line(1, 0, "a"))
        self.sender.start()
        self.sender.put(Line(1, 0, "b"))
        self.sender.stop(10)
        self.assertEqual((["a", "b"], 1), (self.sent, self.closed))


class ChannelTests(SynchronousTestCase):
    """Sockets in a directory with a short name."""

    def setUp(self) -> None:
        self.here = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.here)
        self.patch(module, "LOCAL_SOCKET", f"{self.here}/log")
        self.console = Path(self.here, "console")
        self.patch(module, "CONSOLE", str(self.console))

    def test_unix(self) -> None:
        """A datagram is a line."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(f"{self.here}/log")
            channel = open_channel("unix", "", 0)
            self.addCleanup(channel.close)
            channel.send(b"<1>x")
            self.assertEqual((b"<1>x", False), (receiver.recv(100), channel.remote))

    def test_streams(self) -> None:
        """In a stream LF ends a line."""
        for kind in ("stream", "tcp"):
            local = kind == "stream"
            with socket.socket(socket.AF_UNIX if local else socket.AF_INET) as receiver:
                receiver.bind(f"{self.here}/log" if local else ("127.0.0.1", 0))
                receiver.listen()
                port = 0 if local else receiver.getsockname()[1]
                channel = open_channel(kind, "127.0.0.1", port)
                channel.send(b"<1>x")
                channel.close()
                connection, _ = receiver.accept()
                with connection, connection.makefile("rb") as reader:
                    self.assertEqual((b"<1>x\n", local), (reader.read(), not channel.remote))

    def test_udp(self) -> None:
        """A datagram to a host."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            channel = open_channel("udp", "127.0.0.1", receiver.getsockname()[1])
            self.addCleanup(channel.close)
            channel.send(b"<1>x")
            self.assertEqual((b"<1>x", True), (receiver.recv(100), channel.remote))

    def test_console(self) -> None:
        """The console gets whole lines."""
        self.console.touch()
        channel = open_channel("console", "", 0)
        channel.send(b"<1>x")
        channel.close()
        self.assertEqual(b"<1>x\r\n", self.console.read_bytes())

    def test_first_that_works(self) -> None:
        """The first way that works is taken; without one there is the last one's error."""
        self.assertRaises(FileNotFoundError, opener(["unix", "stream"], "", 0))
        self.console.touch()
        channel = opener(["unix", "stream", "console"], "", 0)()
        channel.send(b"x")
        channel.close()
        self.assertEqual(b"x\r\n", self.console.read_bytes())
