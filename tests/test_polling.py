"""A set of sockets of our own within the reactor's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorTCP
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from qpsmtpd.polling import EPOLLIN, EPOLLOUT, LOOKS, MOST, Poller, PollingReactor, polling


class Watching:
    """A reactor that watches the poller's set."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.ends: list[Callable[..., Any]] = []

    @property
    def watches(self) -> bool:
        """Whether it calls the poller, which it may not do in two ways."""
        assert len(self.readers) < 2
        return bool(self.readers)

    def serve(self) -> None:
        """Let the poller serve once."""
        for reader in self.readers[:]:
            reader.doRead()

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def addSystemEventTrigger(self, phase: str, event: str, what: Callable[..., Any], *values: Any) -> None:
        self.ends.append(lambda: what(*values))

    def end(self) -> None:
        """Tell whoever wants to know that the reactor ends."""
        for end in self.ends:
            end()


class Waiting(EPollReactor):
    """A real one, whose waiting is left to the poller; it takes turn after turn as the test wants."""

    _registerAsIOThread = False

    def __init__(self) -> None:
        super().__init__()
        self.startRunning(installSignalHandlers=False)

    @property
    def watches(self) -> bool:
        """Whether it lets the poller wait."""
        return "doIteration" in vars(self)

    def serve(self) -> None:
        """Take a turn that waits for nothing."""
        self.iterate()

    def turn(self) -> None:
        """Take a turn of the main loop, which waits."""
        self.runUntilCurrent()
        self.doIteration(self.running and self.timeout())

    def end(self) -> None:
        """End in order."""
        self.stop()
        self.serve()

    def close(self) -> None:
        self.waker.connectionLost(None)
        self._poller.close()


class Selectable:
    """One end of a pair of sockets; remembers what it was told, and answers as the test wants."""

    def __init__(self) -> None:
        self.socket, self.peer = socket.socketpair()
        self.told: list[str] = []
        self.answer: Any = None
        self.reasons: list[Any] = []

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:
        return "one"

    def doRead(self) -> Any:
        self.told.append("read")
        self.socket.recv(100)
        return self.result()

    def doWrite(self) -> Any:
        self.told.append("write")
        return self.result()

    def result(self) -> Any:
        if isinstance(self.answer, ZeroDivisionError):
            raise self.answer
        return self.answer

    def connectionLost(self, reason: Any) -> None:
        self.reasons.append(reason.type)
        self.close()

    def readConnectionLost(self, reason: Any) -> None:
        self.told.append("half closed")

    def close(self) -> None:
        self.socket.close()
        self.peer.close()


class PollerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = self.make_reactor()
        self.poller = Poller(self.reactor)
        self.one = Selectable()
        self.addCleanup(self.one.close)
        self.slowly = 0

    def make_reactor(self) -> Watching | Waiting:
        return Watching()

    def write(self, act: Callable[[bytes], Any], octets: bytes) -> None:
        """Have that done with the octets behind what is read."""
        self.poller.behind(lambda _, what: act(what), None, octets)

    def slow(self) -> None:
        self.slowly += 1

    def test_read(self) -> None:
        """Who has something to read reads it."""
        self.poller.change(self.one, EPOLLIN, 0)
        self.reactor.serve()
        self.assertEqual([], self.one.told)
        self.one.peer.send(b"x")
        self.reactor.serve()
        self.assertEqual(["read"], self.one.told)

    def test_read_and_write(self) -> None:
        self.poller.change(self.one, EPOLLIN, 0)
        self.poller.change(self.one, EPOLLOUT, 0)
        self.one.peer.send(b"x")
        self.reactor.serve()
        self.assertEqual(["read", "write"], self.one.told)
        self.poller.change(self.one, 0, EPOLLOUT)
        self.reactor.serve()
        self.assertEqual(["read", "write"], self.one.told)

    def test_watched_while_it_holds_anything(self) -> None:
        """The reactor watches a set that holds something, once."""
        other = Selectable()
        self.addCleanup(other.close)
        self.assertFalse(self.reactor.watches)
        for one in (self.one, other):
            self.poller.change(one, EPOLLIN, 0)
            self.poller.change(one, EPOLLOUT, 0)
        self.assertTrue(self.reactor.watches)
        for one in (self.one, other):
            self.poller.change(one, 0, EPOLLIN | EPOLLOUT)
            self.poller.change(one, 0, EPOLLIN)
        self.assertFalse(self.reactor.watches)

    def test_end(self) -> None:
        """Who says that the connection has ended is told so, and waited for no more."""
        self.poller.change(self.one, EPOLLIN, 0)
        self.one.answer = CONNECTION_DONE
        self.one.peer.send(b"x")
        self.reactor.serve()
        self.assertEqual([ConnectionDone], self.one.reasons)
        self.assertFalse(self.reactor.watches)

    def test_half_closed(self) -> None:
        """Who can do with one direction keeps the other."""
        alsoProvides(self.one, IHalfCloseableDescriptor)
        self.poller.change(self.one, EPOLLIN | EPOLLOUT, 0)
        self.one.answer = CONNECTION_DONE
        self.one.peer.send(b"x")
        self.reactor.serve()
        self.assertEqual(["read", "half closed"], self.one.told)
        self.one.answer = None
        self.reactor.serve()
        self.assertEqual("write", self.one.told[-1])

    def test_hung_up(self) -> None:
        """A peer that has gone ends who waits for nothing but room."""
        self.poller.change(self.one, EPOLLOUT, 0)
        self.one.peer.close()
        self.reactor.serve()
        self.assertEqual([ConnectionLost], self.one.reasons)

    def test_failure(self) -> None:
        """One that fails is ended; the others go on."""
        other = Selectable()
        self.addCleanup(other.close)
        for one in (self.one, other):
            self.poller.change(one, EPOLLIN, 0)
            one.peer.send(b"x")
        self.one.answer = ZeroDivisionError()
        self.reactor.serve()
        self.assertEqual([ZeroDivisionError], self.one.reasons)
        self.assertEqual(["read"], other.told)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_ended_by_another(self) -> None:
        """Whom another ends while both are ready is not asked any more."""
        other = Selectable()
        self.addCleanup(other.close)
        pair = (self.one, other)
        for one, second in (pair, pair[::-1]):
            self.poller.change(one, EPOLLIN, 0)
            one.peer.send(b"x")
            one.result = lambda second=second: self.poller.change(second, 0, EPOLLIN)  # type: ignore[assignment]
        self.reactor.serve()
        self.assertEqual(1, len(self.one.told) + len(other.told))

    def test_written_when_all_has_been_read(self) -> None:
        """What is said while others are still to be read is written behind that, in order."""
        done: list[str] = []
        other = Selectable()
        self.addCleanup(other.close)

        def say(octets: bytes) -> None:
            done.append(f"write {octets.decode()}")

        def answer() -> None:
            done.append("read")
            self.write(say, b"1")
            self.write(say, b"2")

        for one in (self.one, other):
            one.result = answer  # type: ignore[method-assign]
            self.poller.change(one, EPOLLIN, 0)
            one.peer.send(b"x")
        self.reactor.serve()
        self.assertEqual(["read", "read", "write 1", "write 2", "write 1", "write 2"], done)
        self.write(say, b"3")
        self.assertEqual("write 3", done[-1])

    def test_written_now(self) -> None:
        """Who cannot wait has written what was said before."""
        done: list[bytes] = []

        def answer() -> None:
            self.write(done.append, b"1")
            self.poller.flush()
            self.assertEqual([b"1"], done)

        self.one.result = answer  # type: ignore[method-assign]
        self.poller.change(self.one, EPOLLIN, 0)
        self.one.peer.send(b"x")
        self.reactor.serve()
        self.assertEqual([b"1"], done)

    def test_failures(self) -> None:
        """Whatever fails, and however, the others go on and replies are written, then and later."""
        for error in (ZeroDivisionError, SystemExit):

            def fail(*_: Any, error: type[BaseException] = error) -> Any:
                raise error

            done: list[bytes] = []
            crowd = [Selectable() for _ in range(4)]
            answering, failing, ending, closing = crowd
            answering.result = lambda done=done: self.write(done.append, b"1")  # type: ignore
            failing.result = fail  # type: ignore[method-assign]
            ending.answer = CONNECTION_DONE
            vars(ending)["connectionLost"] = fail
            vars(closing).update(connected=True, dataBuffer=b"", _tempDataBuffer=[], connectionLost=fail)

            def broken(done: list[bytes] = done, fail: Any = fail, closing: Any = closing) -> None:
                self.poller.close(closing, self.slow)
                self.write(fail, b"")
                self.write(done.append, b"2")

            closing.result = broken  # type: ignore[method-assign]
            for one in crowd:
                self.addCleanup(one.close)
                self.poller.change(one, EPOLLIN, 0)
                one.peer.send(b"x")
            self.reactor.serve()
            self.write(done.append, b"3")
            self.assertEqual(([b"1", b"2", b"3"], [error]), (done, failing.reasons))
            self.assertEqual(4, len(self.flushLoggedErrors(error)))
            self.poller.change(answering, 0, EPOLLIN)
            self.assertFalse(self.reactor.watches)

    def test_nothing_overtakes_what_is_due(self) -> None:
        """A client that goes lets others go on, as a plugin does that counts: in order."""
        done: list[bytes] = []
        facts = {"connected": True, "dataBuffer": b"", "_tempDataBuffer": []}
        vars(self.one).update(facts, connectionLost=lambda _: self.write(done.append, b"2"))

        def answer() -> None:
            self.poller.close(self.one, self.slow)
            self.write(done.append, b"1")

        self.one.result = answer  # type: ignore[method-assign]
        self.poller.change(self.one, EPOLLIN, 0)
        self.one.peer.send(b"x")
        self.reactor.serve()
        self.write(done.append, b"3")
        self.assertEqual([b"1", b"2", b"3"], done)

    def test_closed_behind_what_is_due(self) -> None:
        """Who hangs up while something is read is closed when all is written, and told so once."""
        done: list[bytes] = []
        vars(self.one).update(connected=True, dataBuffer=b"", _tempDataBuffer=[])

        def answer() -> None:
            self.write(done.append, b"221")
            self.assertTrue(self.poller.close(self.one, self.slow))
            self.assertEqual(([], []), (done, self.one.reasons))

        self.one.result = answer  # type: ignore[method-assign]
        self.poller.change(self.one, EPOLLIN, 0)
        self.one.peer.send(b"x")
        self.reactor.serve()
        self.assertEqual(([b"221"], [ConnectionDone], 0), (done, self.one.reasons, self.slowly))

    def hang_up(self) -> None:
        self.assertTrue(self.poller.close(self.one, self.slow))

    def test_close_with_something_to_write(self) -> None:
        """Where the socket has no room the transport closes when it has."""
        lost: list[bool] = []
        late = {"connected": True, "dataBuffer": b"x", "loseConnection": lambda: lost.append(True)}
        vars(self.one).update(late)
        self.one.result = self.hang_up  # type: ignore[method-assign]
        self.poller.change(self.one, EPOLLIN, 0)
        self.one.peer.send(b"x")
        self.reactor.serve()
        self.assertEqual(([True], [], 1), (lost, self.one.reasons, self.slowly))

    def test_close_of_the_lost(self) -> None:
        """Who is lost meanwhile is not told twice."""
        vars(self.one).update(connected=False, dataBuffer=b"", _tempDataBuffer=[])
        self.one.result = self.hang_up  # type: ignore[method-assign]
        self.poller.change(self.one, EPOLLIN, 0)
        self.one.peer.send(b"x")
        self.reactor.serve()
        self.assertEqual([], self.one.reasons)

    def test_not_closed_while_nothing_is_read(self) -> None:
        """Outside, the transport closes itself in its own time."""
        self.assertFalse(self.poller.close(self.one, self.slow))

    def test_closed_before_it_is_dropped(self) -> None:
        self.poller.change(self.one, EPOLLIN, 0)
        self.one.close()
        self.poller.change(self.one, 0, EPOLLIN)
        self.assertFalse(self.reactor.watches)

    def test_reactor_ends(self) -> None:
        """Everything is ended with the reactor."""
        other = Selectable()
        self.addCleanup(other.close)
        vars(other)["connectionLost"] = lambda reason: 1 / 0
        for one in (other, self.one):
            self.poller.change(one, EPOLLIN, 0)
        self.reactor.end()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual([ConnectionLost], self.one.reasons)
        self.assertFalse(self.reactor.watches)


class WaitingPollerTests(PollerTests):
    """The same, with a poller that waits; and when it has to stop that."""

    def make_reactor(self) -> Watching | Waiting:
        reactor = Waiting()
        self.addCleanup(reactor.close)
        return reactor

    def when_read(self, answer: Callable[[], Any]) -> None:
        """Have somebody with something to read do that."""
        self.one.result = answer  # type: ignore[method-assign]
        self.poller.change(self.one, EPOLLIN, 0)
        self.one.peer.send(b"x")

    def test_serves_again_and_again(self) -> None:
        """What comes is served until there is something for the reactor, from a thread say."""
        called: list[int] = []

        def answer() -> None:
            if len(self.one.told) < 5:
                self.one.peer.send(b"x")
            else:
                self.reactor.callFromThread(called.append, 1)

        self.when_read(answer)
        self.reactor.turn()
        self.assertEqual((5, []), (len(self.one.told), called))
        self.reactor.serve()
        self.assertEqual([1], called)

    def test_sockets_of_the_reactor(self) -> None:
        """They are served, in the same turn, though nobody of ours is ready."""
        other = Selectable()
        self.addCleanup(other.close)
        self.reactor.addReader(other)
        self.poller.change(self.one, EPOLLIN, 0)
        other.peer.send(b"x")
        self.reactor.turn()
        self.assertEqual((["read"], []), (other.told, self.one.told))

    def test_many_clients(self) -> None:
        """However many are ready, the reactor's have their turn after one look."""
        many = [Selectable() for _ in range(2 * MOST)]
        for one in many:
            self.addCleanup(one.close)
            self.poller.change(one, EPOLLIN, 0)
            one.peer.send(b"x")
        other = Selectable()
        self.addCleanup(other.close)
        self.reactor.addReader(other)
        other.peer.send(b"x")
        self.reactor.turn()
        self.assertEqual((MOST, ["read"]), (sum(len(one.told) for one in many), other.told))

    def test_timer(self) -> None:
        """It waits until a timer is due, and no longer."""
        called: list[int] = []
        self.poller.change(self.one, EPOLLIN, 0)
        self.reactor.callLater(0.001, called.append, 1)
        self.reactor.turn()
        self.reactor.serve()
        self.assertEqual(([1], []), (called, self.one.told))

    def test_timer_before_the_next_look(self) -> None:
        """One that is due meanwhile does not wait for what is ready then."""

        def answer() -> None:
            self.one.peer.send(b"x")
            self.reactor.callLater(0, lambda: None)

        self.when_read(answer)
        self.reactor.turn()
        self.assertEqual(["read"], self.one.told)

    def test_iterated(self) -> None:
        """A program with a loop of its own has its turn when it wants it, whoever was served meanwhile."""
        called: list[int] = []
        late = self.reactor.callLater(5, called.append, 1)
        self.when_read(lambda: None)
        self.reactor.iterate(0.001)
        self.reactor.runUntilCurrent()
        self.assertEqual((["read"], []), (self.one.told, called))
        late.cancel()

    def test_cancelled_timers(self) -> None:
        """The reactor can forget them, though nothing but clients keeps it busy."""

        def answer() -> None:
            self.one.peer.send(b"x")
            timers.append(self.reactor.callLater(300, lambda: None))
            if len(timers) > 1:
                timers[-2].cancel()

        timers: list[Any] = []
        self.when_read(answer)
        for _ in range(3):
            self.reactor.turn()
        self.assertEqual(3 * LOOKS, len(timers))
        self.reactor.runUntilCurrent()
        self.assertEqual([timers[-1]], self.reactor._pendingTimedCalls)

    def test_clock_set_back(self) -> None:
        """Mail does not wait for a clock, as timers of Twisted's do."""
        self.reactor.seconds = lambda: 0.0
        self.when_read(self.reactor.wakeUp)
        self.reactor.turn()
        self.assertEqual(["read"], self.one.told)

    def test_stopped(self) -> None:
        """A reactor that is told to stop is not kept from it."""
        self.when_read(self.reactor.stop)
        self.reactor.turn()
        self.reactor.turn()
        self.assertEqual([ConnectionLost], self.one.reasons)

    def test_crashed(self) -> None:
        """One that has ended its loop, as those of tests do, is not kept waiting."""
        self.when_read(self.reactor.crash)
        self.reactor.turn()
        self.assertTrue(self.reactor.watches)

    def test_turn_within_a_turn(self) -> None:
        """A plugin that has the reactor take one, and wait for nothing, does not wait."""

        def answer() -> None:
            self.reactor.iterate()
            self.reactor.wakeUp()

        self.when_read(answer)
        self.reactor.turn()
        self.assertEqual(["read"], self.one.told)

    def test_nobody_left(self) -> None:
        """With nobody left to wait for it lets the reactor wait, until somebody comes."""
        self.when_read(lambda: self.poller.change(self.one, 0, EPOLLIN))
        self.reactor.turn()
        self.assertFalse(self.reactor.watches)
        self.poller.change(self.one, EPOLLIN, 0)
        self.assertTrue(self.reactor.watches)

    def test_another_comes(self) -> None:
        """Who comes when the last one has left, in the same turn, is waited for."""
        other = Selectable()
        self.addCleanup(other.close)

        def change() -> None:
            self.poller.change(self.one, 0, EPOLLIN)
            self.poller.change(other, EPOLLIN, 0)

        self.when_read(change)
        other.peer.send(b"x")
        other.result = self.reactor.wakeUp  # type: ignore[method-assign]
        self.reactor.turn()
        self.assertEqual(["read"], other.told)

    def test_two(self) -> None:
        """Of two servers in one process one waits for the other's set too, and leaves it to the reactor."""
        second, other = Poller(self.reactor), Selectable()
        self.addCleanup(other.close)
        self.poller.change(self.one, EPOLLIN, 0)
        second.change(other, EPOLLIN, 0)
        for _ in range(2):
            other.peer.send(b"x")
            self.reactor.turn()
            self.poller.change(self.one, 0, EPOLLIN)
        self.assertEqual(["read", "read"], other.told)
        self.assertIn(second, self.reactor.getReaders())
        second.change(other, 0, EPOLLIN)
        self.assertNotIn(second, self.reactor.getReaders())


class PollingReactorTests(SynchronousTestCase):
    def test_which(self) -> None:
        """A real reactor is wrapped, one of tests is not."""
        memory = MemoryReactor()
        self.assertIs(memory, polling(memory))
        wrapped = polling(reactor)
        self.assertIsInstance(wrapped, PollingReactor)
        self.assertTrue(IReactorTCP.providedBy(wrapped))
        self.assertEqual(wrapped.seconds, reactor.seconds)  # type: ignore[attr-defined]
