"""The workers: started, started again, told to end. Time is a Clock's, processes are recorded."""

import os
import signal
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, eventAsJSON, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.child import Child
from qpsmtpd.inheritance import FROM_PARENT, TO_PARENT
from qpsmtpd.ledger import Ledger
from qpsmtpd.log import Event, Level, Log
from qpsmtpd.workers import LONGEST, Workers

FIRST = 4000


class Process:
    """What spawnProcess gives; it ends when the test says so."""

    def __init__(self, child: Child, pid: int, given: dict[str, Any]) -> None:
        self.child = child
        self.pid = pid
        self.given = given
        self.signals: list[int] = []
        self.told: list[bytes] = []
        self.over = self.deaf = False
        child.makeConnection(self)  # type: ignore[arg-type]

    def signalProcess(self, number: int) -> None:
        if self.over:
            raise ProcessExitedAlready
        self.signals.append(number)

    def writeToChild(self, descriptor: int, octets: bytes) -> None:
        assert descriptor == FROM_PARENT
        if self.deaf:
            raise KeyError(descriptor)  # as Twisted does
        self.told.append(octets)

    def says(self, text: str) -> None:
        self.child.childDataReceived(TO_PARENT, text.encode() + b"\n")

    def ready(self) -> None:
        self.says(f"ready {self.pid}")

    def end(self, status: int | None = 0, number: int | None = None) -> None:
        self.over = True
        reason = ProcessDone(0) if status == 0 else ProcessTerminated(status, number)
        self.child.processEnded(Failure(reason))


class Recorder(Clock):
    """A reactor that starts no process, but says it did."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.broken = False

    def spawnProcess(self, child: Child, executable: str, command: list[str], **given: Any) -> Process:
        if self.broken:
            raise OSError(11, "no more processes")
        self.processes.append(Process(child, FIRST + len(self.processes), given))
        return self.processes[-1]


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Recorder()
        self.events: list[Event] = []
        self.ledger = Ledger.create(2, 10)
        self.addCleanup(os.close, self.ledger.descriptor)
        self.workers = Workers(self.reactor, Log(Level.DEBUG, self.events.append), ["python"], self.ledger)
        self.told: list[str] = []
        self.workers.ready = lambda: self.told.append("ready")
        self.workers.failed = self.told.append
        self.processes = self.reactor.processes

    def start(self) -> None:
        self.workers.start({"tcp:25": 7})
        for process in self.processes:
            process.ready()

    def lines(self) -> list[str]:
        return [event.text for event in self.events]


class StartTests(Case):
    def test_given(self) -> None:
        """Each has the sockets, the ledger and a number of its own."""
        self.start()
        self.assertEqual(2, len(self.processes))
        descriptors = self.processes[0].given["childFDs"]
        self.assertEqual({7, self.ledger.descriptor}, {descriptors[6], descriptors[7]})
        given = [process.given["env"]["QPSMTPD_INHERITED"] for process in self.processes]
        self.assertIn('"worker": 0', given[0])
        self.assertIn('"worker": 1', given[1])

    def test_ready(self) -> None:
        """The server is ready when all are."""
        self.workers.start({})
        self.processes[0].ready()
        self.assertEqual([], self.told)
        self.processes[1].ready()
        self.assertEqual(["ready"], self.told)

    def test_failed(self) -> None:
        """What keeps one from serving is told, in its own words, and it is tried again."""
        self.workers.start({})
        self.processes[0].says("failed qpsmtpd: plugins:1: bogus")
        self.processes[0].end(1)
        self.assertEqual(["ended with status 1: qpsmtpd: plugins:1: bogus"], self.told)
        self.assertEqual(
            ["worker 1 (4000) ended with status 1: qpsmtpd: plugins:1: bogus; starting it again in 1 s"],
            self.lines(),
        )

    def test_cannot_start(self) -> None:
        """A system without room for a process is asked again."""
        self.reactor.broken = True
        self.workers.start({})
        self.assertEqual(2, len(self.lines()))
        self.reactor.broken = False
        self.reactor.advance(1)
        self.assertEqual(2, len(self.processes))

    def test_log(self) -> None:
        """What a worker logs is in the parent's log; half a line and nonsense do no harm."""
        self.start()
        child = self.processes[0].child
        child.childDataReceived(TO_PARENT, b'log {"log_level": {"name": "info", "__class_uuid__":')
        child.childDataReceived(TO_PARENT, b"\nlog what\nbogus\n" + b"x" * 600000 + b"\n")
        heard: list[LogEvent] = []
        globalLogPublisher.addObserver(heard.append)
        self.addCleanup(globalLogPublisher.removeObserver, heard.append)
        events: list[LogEvent] = []
        Logger(observer=events.append).info("{name} here", name="worker")
        self.processes[0].says(f"log {eventAsJSON(events[0])}")
        self.assertEqual(["worker here"], [formatEvent(event) for event in heard])


class DeathTests(Case):
    def test_again(self) -> None:
        """One that dies is started again after a second, with one line; what it had is forgotten."""
        self.start()
        Ledger(self.ledger.descriptor, 2, 10, 0).take("192.0.2.1", 0, 0)
        self.processes[0].end(None, signal.SIGKILL)
        self.assertEqual(0, self.ledger.total)
        self.assertEqual(["worker 1 (4000) was killed by SIGKILL; starting it again in 1 s"], self.lines())
        self.reactor.advance(0.9)
        self.assertEqual(2, len(self.processes))
        self.reactor.advance(0.1)
        self.assertEqual(3, len(self.processes))
        self.assertEqual(["ready"], self.told)

    def test_back_off(self) -> None:
        """The wait is doubled up to a minute, and begins anew for one that lived long."""
        self.start()
        waits = []
        for _ in range(8):
            self.processes[-1].end(1)
            (call,) = self.reactor.getDelayedCalls()
            waits.append(call.getTime() - self.reactor.seconds())
            self.reactor.advance(waits[-1])
        self.assertEqual([1, 2, 4, 8, 16, 32, 60, 60], waits)
        self.reactor.advance(LONGEST)
        self.processes[-1].end(1)
        self.assertTrue(self.lines()[-1].endswith("in 1 s"))


class EndTests(Case):
    def stop(self) -> Deferred[None]:
        return self.workers.stop(35)

    def test_stop(self) -> None:
        """All are told at once, none is started again, and the end is that of the last."""
        self.start()
        stopped = self.stop()
        self.assertEqual([[signal.SIGTERM]] * 2, [process.signals for process in self.processes])
        self.processes[0].end()
        self.assertNoResult(stopped)
        self.processes[1].end()
        self.successResultOf(stopped)
        self.assertEqual(([], []), (self.reactor.getDelayedCalls(), self.lines()))

    def test_force(self) -> None:
        """One that does not end is killed when the time is over."""
        self.start()
        self.stop()
        self.processes[0].end()
        self.reactor.advance(35)
        self.assertEqual([signal.SIGTERM, signal.SIGKILL], self.processes[1].signals)

    def test_none_left(self) -> None:
        """One that waits to be started again is not."""
        self.start()
        for process in self.processes:
            process.end(1)
        self.successResultOf(self.stop())
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_finish_dying(self) -> None:
        """One whose pipe has ended, but whose end was not heard yet, keeps nobody from finishing."""
        self.start()
        self.processes[0].deaf = True
        finished = self.workers.finish()
        self.assertEqual([b"finish\n"], self.processes[1].told)
        for process in self.processes:
            process.end()
        self.successResultOf(finished)

    def test_finish(self) -> None:
        """They may finish their sessions; TERM may follow."""
        self.start()
        finished = self.workers.finish()
        self.assertEqual([[b"finish\n"]] * 2, [process.told for process in self.processes])
        stopped = self.stop()
        for process in self.processes:
            process.end()
        self.successResultOf(finished)
        self.successResultOf(stopped)

    def test_signal(self) -> None:
        """Signals are passed on to those that live."""
        self.start()
        self.processes[0].over = True
        self.workers.signal(signal.SIGHUP)
        self.assertEqual([[], [signal.SIGHUP]], [process.signals for process in self.processes])
