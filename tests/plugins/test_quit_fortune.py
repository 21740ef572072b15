"""The plugin quit_fortune, with a program that is told what to do."""

import sys
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, Reply
from qpsmtpd.testing import Server, Tried

LINE = f"quit_fortune program {sys.executable}"
GOODBYE = "mail.example.com closing connection. Have a wonderful day."


class Spawner(Clock):
    """A reactor whose only process is this test."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[Any] = []
        self.signals: list[str] = []
        self.gone = False

    def spawnProcess(self, protocol: Any, executable: str, args: list[str], env: dict[str, str]) -> None:
        """Note what is run."""
        self.spawned.append((executable, args, env))
        self.protocol = protocol
        protocol.makeConnection(self)

    def signalProcess(self, name: str) -> None:
        """Note what would end it."""
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(name)

    def end(self, output: bytes = b"", reason: Exception | None = None) -> None:
        """Print and end."""
        self.protocol.outReceived(output)
        self.gone = True
        self.protocol.processEnded(Failure(reason or ProcessDone(0)))


class QuitFortuneTests(SynchronousTestCase):
    """What a client reads, and when."""

    def begin(self, hello: str = "helo") -> Any:
        """Say QUIT."""
        self.reactor = Spawner()
        tried = Tried(LINE, reactor=self.reactor)
        tried.connection.hello = hello
        return tried.begin("quit")

    def answer(self, output: bytes, reason: Exception | None = None) -> Any:
        """Give the answer to a program that prints and ends."""
        waiting = self.begin()
        self.reactor.end(output, reason)
        return self.successResultOf(waiting)

    def test_fortune(self) -> None:
        """The cookie stands below our name, in lines that begin alike."""
        answer = self.answer(b"You will meet\n\n\ta stranger. \n")
        expected = f"{GOODBYE}\n  / You will meet\n  /         a stranger."
        self.assertEqual(Reply(221, expected, "2.0.0"), answer)
        self.assertEqual([(sys.executable, [sys.executable, "-s"], {})], self.reactor.spawned)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_others(self) -> None:
        """Who said EHLO, or nothing, has no time for it."""
        for hello in ("ehlo", ""):
            self.assertEqual(DECLINED, self.begin(hello))
            self.assertEqual([], self.reactor.spawned)

    def test_controls(self) -> None:
        """Nothing in a cookie moves the terminal's cursor, or makes a line of its own."""
        answer = self.answer(b"a\x1b[2Jb\x07\rc\x0cd\n\xff\n")
        self.assertTrue(all(32 <= octet < 127 for octet in answer.octets if octet not in b"\r\n"))
        self.assertEqual(5, answer.octets.count(b"\r\n"))

    def test_failure(self) -> None:
        """A program that fails, or has nothing to say, is not heard."""
        self.assertEqual(DECLINED, self.answer(b"no fortunes found\n", ProcessTerminated(1)))
        self.assertEqual(DECLINED, self.answer(b"half", ProcessTerminated(None, 9)))
        self.assertEqual(DECLINED, self.answer(b" \n"))

    def test_size(self) -> None:
        """A program that does not stop talking is not listened to for ever."""
        waiting = self.begin()
        for _ in range(100):
            self.reactor.protocol.outReceived(b"x" * 300)
        self.reactor.end(b"end")
        answer = self.successResultOf(waiting)
        self.assertEqual(4096, "".join(answer.lines[1:]).count("x"))

    def test_time_limit(self) -> None:
        """A program that is too slow is killed after two seconds."""
        waiting = self.begin()
        self.reactor.advance(1.9)
        self.assertNoResult(waiting)
        self.reactor.advance(0.2)
        self.assertEqual(DECLINED, self.successResultOf(waiting))
        self.assertEqual(["KILL"], self.reactor.signals)
        self.reactor.end(b"too late")

    def test_client_gone(self) -> None:
        """Nobody waits for the program of a client that has left."""
        waiting = self.begin()
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        self.assertEqual(["KILL"], self.reactor.signals)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_exited_already(self) -> None:
        """A program that has just ended need not be killed."""
        waiting = self.begin()
        self.reactor.gone = True
        self.reactor.advance(2)
        self.assertEqual(DECLINED, self.successResultOf(waiting))

    def test_no_program(self) -> None:
        """Without the program there is no hook, and the start goes on."""
        tried = Tried("quit_fortune program /nonexistent/fortune")
        self.assertIn("skip, /nonexistent/fortune is not there", [event.text for event in tried.events])
        self.assertFalse(tried.registry.has("quit"))
        self.assertEqual(DECLINED, tried.ask("quit"))

    def test_on_the_wire(self) -> None:
        """The reply has several lines, and then the connection is closed."""
        reactor = Spawner()
        client = Server([LINE], reactor=reactor).connect()
        client.say("HELO x")
        self.assertEqual("", client.say("QUIT"))
        reactor.end(b"Bye.\n")
        self.assertEqual(f"221-2.0.0 {GOODBYE}\r\n221 2.0.0   / Bye.\r\n", client.read())
        self.assertTrue(client.closed)
