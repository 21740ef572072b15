"""What a killed server leaves of its UNIX socket does not stop the next one; a live socket stays."""

import os
import socket
from errno import EADDRINUSE
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.unixsocket import clear_socket


class ClearTests(SynchronousTestCase):
    def setUp(self) -> None:
        # The path of a socket is short (108 octets), and that of a test is not.
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name, "lmtp")
        self.lock = Path(directory.name, "lmtp.lock")
        self.lock.symlink_to(str(os.getpid()))

    def clear(self) -> list[str]:
        clear_socket(UNIXServerEndpoint(MemoryReactorClock(), str(self.path)))
        return sorted(path.name for path in self.path.parent.iterdir())

    def bound(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        self.addCleanup(made.close)
        made.bind(str(self.path))
        return made

    def test_dead(self) -> None:
        """Where nobody listens any more, socket and lock go, whoever has the number in the lock now."""
        self.bound().close()
        self.assertEqual([], self.clear())

    def test_alive(self) -> None:
        """Where somebody listens all stays, whoever is in the lock, and the error says so."""
        self.bound().listen()
        self.refused()

    def test_busy(self) -> None:
        """Somebody whose backlog is full lives, too."""
        self.bound().listen(0)
        waiting = socket.socket(socket.AF_UNIX)
        self.addCleanup(waiting.close)
        waiting.connect(str(self.path))
        self.refused()

    def test_other_file(self) -> None:
        """What is no socket is none of ours."""
        self.path.write_text("mail")
        self.assertEqual(["lmtp", "lmtp.lock"], self.clear())

    def refused(self) -> None:
        error = self.assertRaises(OSError, self.clear)
        self.assertEqual(f"[Errno {EADDRINUSE}] somebody listens there already: '{self.path}'", str(error))
        self.assertEqual({self.path, self.lock}, set(self.path.parent.iterdir()))

    def test_nothing(self) -> None:
        """A lock without a socket is nobody's, whoever has the number in it now."""
        self.assertEqual([], self.clear())

    def test_no_directory(self) -> None:
        """A directory that is missing is named."""
        self.path = self.path.parent / "missing" / "lmtp"
        endpoint = UNIXServerEndpoint(MemoryReactorClock(), str(self.path))
        error = self.assertRaises(FileNotFoundError, clear_socket, endpoint)
        self.assertIn(f"'{self.path.parent}'", str(error))

    def test_other_endpoint(self) -> None:
        clear_socket(TCP4ServerEndpoint(MemoryReactorClock(), 24))
        self.assertTrue(self.lock.is_symlink())
