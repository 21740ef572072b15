"""What an upgrade needs to know about this process; the upgrade itself is in tests/servers."""

import fcntl
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import parent
from qpsmtpd.inheritance import VARIABLE, Inheritance
from qpsmtpd.notify import notify
from qpsmtpd.options import Options
from qpsmtpd.upgrade import append_to_log, command_of_successor, pidfile_of, write_pid


class Case(SynchronousTestCase):
    def options(self, *words: str, **twistd: Any) -> Options:
        options = Options()
        options.parseOptions(list(words))
        options.parent = twistd
        return options


class CommandTests(Case):
    def command(self, *original: str, words: list[str]) -> list[str]:
        self.patch(sys, "orig_argv", ["python", *original])
        return command_of_successor(self.options(*words))

    def test_same(self) -> None:
        """It is the command line of this process, but with no pid file yet."""
        words = ["--listen", "25"]
        command = self.command("/bin/twistd", "-n", "qpsmtpd", *words, words=words)
        self.assertEqual([sys.executable, "/bin/twistd", "-n", "--pidfile=", "qpsmtpd", *words], command)

    def test_again(self) -> None:
        """It does not grow with each upgrade."""
        given = ["/bin/twistd", "--pidfile=/run/x", "--pidfile=", "qpsmtpd"]
        self.assertEqual([sys.executable, *given], self.command(*given, words=[]))

    def test_other(self) -> None:
        """Who serves in another way cannot be started again."""
        self.assertRaises(LookupError, self.command, "server.py", words=["--listen", "25"])


class PidfileTests(Case):
    def test_written(self) -> None:
        """It is never empty, and nothing else is left."""
        path = Path(self.mktemp())
        path.write_text("1\n")
        write_pid(path)
        self.assertEqual(f"{os.getpid()}\n", path.read_text())
        self.assertFalse(path.with_name(f"{path.name}.new").exists())

    def test_none(self) -> None:
        self.assertEqual("", pidfile_of(self.options(pidfile="")))

    def test_forbidden(self) -> None:
        """An upgrade that could not write it is not begun."""
        error = self.assertRaises(LookupError, pidfile_of, self.options(pidfile="/nowhere/pid"))
        self.assertIn("/nowhere/pid cannot be written", str(error))


class LogTests(Case):
    def test_append(self) -> None:
        """Both servers write behind what is there."""
        path = Path(self.mktemp())
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.addCleanup(os.close, descriptor)
        append_to_log(self.options(logfile=str(path)))
        self.assertTrue(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND)

    def test_nowhere(self) -> None:
        for given in ({"nodaemon": 1, "logfile": None}, {"logfile": "-"}, {"logfile": "/nowhere/log"}):
            append_to_log(self.options(**given))


class InheritanceTests(SynchronousTestCase):
    def test_round(self) -> None:
        """The child finds each descriptor where the plan puts it, and hands nothing of it on."""
        ours = Inheritance({"tcp:25": 71, "tcp:465": 72}, ledger=73, worker=1, workers=2, capacity=10)
        environment, descriptors = ours.plan()
        theirs = json.loads(environment[VARIABLE])
        self.assertEqual([71, 72], [descriptors[theirs["sockets"][name]] for name in ours.sockets])
        self.assertEqual(73, descriptors[theirs["ledger"]])
        for unread in ("sockets", "ledger", "worker", "workers", "capacity"):
            self.assertIn(unread, theirs)

    def test_nobody(self) -> None:
        self.assertIsNone(Inheritance.take({}))


class NotifyTests(SynchronousTestCase):
    def test_sent(self) -> None:
        path = self.mktemp()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(path)
            self.patch(os, "environ", {"NOTIFY_SOCKET": path})
            notify("READY=1")
            self.assertEqual(b"READY=1", systemd.recv(100))

    def test_nobody(self) -> None:
        """Who is not there does not keep the server from its work."""
        for environment in ({}, {"NOTIFY_SOCKET": "/nowhere"}, {"NOTIFY_SOCKET": "@nobody"}):
            self.patch(os, "environ", environment)
            notify("READY=1")


class ParentTests(SynchronousTestCase):
    def test_taken(self) -> None:
        """The old server knows that it is replaced before the reactor of the new one has another turn."""
        reading, writing = os.pipe()
        for descriptor in (reading, writing):
            self.addCleanup(os.close, descriptor)
        os.set_blocking(reading, False)
        self.patch(parent, "TO_PARENT", writing)
        old = parent.Parent()
        old.transport = StringTransport()
        old.transport.registerProducer(old, True)
        old.leave()
        self.assertEqual(b"taken\n", os.read(reading, 100))
        self.assertTrue(old.transport.disconnecting)
