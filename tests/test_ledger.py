"""The ledger: counts over all workers, exact and safe against the death of any of them."""

import os
import random
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.counts import Limit
from qpsmtpd.ledger import ROOM, WAYS, Ledger, buckets_for

TAKER = """
import os, sys
from qpsmtpd.ledger import Ledger

ledger = Ledger(int(sys.argv[1]), 4, 1000, int(sys.argv[2]))
taken = 0
for _ in range(2000):
    if ledger.take("192.0.2.1", 1000, 700) is None:
        taken += 1
print(taken, flush=True)
"""
CHURNER = """
import random, sys
from qpsmtpd.ledger import Ledger

ledger = Ledger(int(sys.argv[1]), 2, 100, int(sys.argv[2]))
held = []
print("begun", flush=True)
while True:
    if len(held) < 40 and ledger.take(address := f"192.0.2.{random.randrange(99)}", 0, 0) is None:
        held.append(address)
    elif held:
        ledger.give_back(held.pop(random.randrange(len(held))))
"""


class Case(SynchronousTestCase):
    def ledger(self, columns: int = 2, capacity: int = 100) -> Ledger:
        ledger = Ledger.create(columns, capacity)
        self.addCleanup(os.close, ledger.descriptor)
        return ledger

    def workers(self, columns: int = 2, capacity: int = 100) -> list[Ledger]:
        whole = self.ledger(columns, capacity)
        return [Ledger(whole.descriptor, columns, capacity, column) for column in range(columns)]

    def program(self, text: str, ledger: Ledger, column: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", text, str(ledger.descriptor), str(column)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, pass_fds=[ledger.descriptor], env=environment
        )
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process


class CountTests(Case):
    def test_limits(self) -> None:
        """Limits hold over all workers."""
        one, two = self.workers()
        self.assertIsNone(one.take("192.0.2.1", 3, 2))
        self.assertIsNone(two.take("192.0.2.1", 3, 2))
        self.assertIs(Limit.ADDRESS, one.take("192.0.2.1", 3, 2))
        self.assertIsNone(one.take("2001:db8::1", 3, 2))
        self.assertIs(Limit.ALL, two.take("192.0.2.9", 3, 2))
        self.assertEqual((3, 2, 1, 0), (one.total, *map(two.of, ("192.0.2.1", "2001:db8::1", "192.0.2.9"))))

    def test_give_back(self) -> None:
        one, two = self.workers()
        one.take("192.0.2.1", 0, 0)
        two.take("192.0.2.1", 0, 0)
        one.give_back("192.0.2.1")
        self.assertEqual((1, 1), (one.total, one.of("192.0.2.1")))
        self.assertIsNone(one.take("192.0.2.1", 2, 2))

    def test_move(self) -> None:
        """A client that turns out to be another one is counted once."""
        one, two = self.workers()
        one.take("192.0.2.1", 0, 0)
        self.assertTrue(one.move("192.0.2.1", "192.0.2.2"))
        self.assertEqual((1, 0, 1), (two.total, two.of("192.0.2.1"), two.of("192.0.2.2")))
        one.give_back("192.0.2.2")
        self.assertEqual((0, 0), (two.total, two.of("192.0.2.2")))

    def test_same_as_a_counter(self) -> None:
        """Whatever comes and goes, the table agrees with what simple counters say."""
        dice = random.Random(1)
        workers = self.workers(3, 50)
        held: list[tuple[Ledger, str]] = []
        for _ in range(3000):
            worker, address = dice.choice(workers), f"192.0.2.{dice.randrange(30)}"
            from_it = sum(1 for _, other in held if other == address)
            if dice.random() < 0.5:
                expected = Limit.ALL if len(held) >= 20 else Limit.ADDRESS if from_it >= 3 else None
                self.assertIs(expected, worker.take(address, 20, 3))
                if expected is None:
                    held.append((worker, address))
            elif held:
                owner, address = held.pop(dice.randrange(len(held)))
                owner.give_back(address)
        for number in range(30):
            address = f"192.0.2.{number}"
            self.assertEqual(sum(1 for _, other in held if other == address), workers[0].of(address))
        self.assertEqual(len(held), workers[0].total)

    def test_no_room(self) -> None:
        """An address without room is refused and not counted; no limit is exceeded, no count goes wrong."""
        one, two = self.workers(2, 1)
        self.assertEqual(1, buckets_for(1))
        addresses = [f"192.0.2.{number}" for number in range(WAYS + 1)]
        answers = [one.take(address, 0, 0) for address in addresses]
        self.assertEqual([None] * WAYS + [Limit.TABLE], answers)
        self.assertEqual((WAYS, 0), (two.total, two.of(addresses[-1])))
        self.assertFalse(one.move(addresses[0], addresses[-1]))
        self.assertEqual((WAYS, 0, 0), (two.total, two.of(addresses[0]), two.of(addresses[-1])))
        # There is room now, for somebody else: what is given back is the one that found none.
        self.assertIsNone(two.take(addresses[-1], 0, 0))
        one.give_back(addresses[-1])
        self.assertEqual((WAYS, 1), (two.total, two.of(addresses[-1])))

    def test_room(self) -> None:
        """So many different addresses as connections are allowed find room."""
        (one,) = self.workers(1, 2000)
        answers = {one.take(f"2001:db8::{number:x}", 0, 0) for number in range(2000)}
        self.assertEqual({None}, answers)
        self.assertEqual(2000 * ROOM // WAYS, buckets_for(2000))

    def test_numbers(self) -> None:
        """Connections have numbers that no other worker gives, nor one that comes later."""
        numbers: list[int] = []
        workers = self.workers(3)
        for worker in workers * 2:
            numbering = worker.numbers()
            numbers += [next(numbering) for _ in range(5)]
        self.assertEqual(list(range(1, 31)), sorted(numbers))


class DeathTests(Case):
    def test_forget(self) -> None:
        """What a dead worker had is counted out; the others' connections are not."""
        one, two = self.workers()
        for worker in (one, one, two):
            worker.take("192.0.2.1", 0, 0)
        two.forget(0)
        self.assertEqual((1, 1), (two.total, two.of("192.0.2.1")))
        two.forget(1)
        self.assertEqual((0, 0), (two.total, two.of("192.0.2.1")))

    def test_never_too_many(self) -> None:
        """Processes that count in at the same time exceed no limit, and reach it."""
        ledger = self.ledger(4, 1000)
        takers = [self.program(TAKER, ledger, column) for column in range(4)]
        taken = [int(taker.communicate()[0]) for taker in takers]
        self.assertEqual((700, 700, 700), (sum(taken), ledger.total, ledger.of("192.0.2.1")))

    def test_killed_anywhere(self) -> None:
        """A process that is killed at any moment leaves no lock, and no count that cannot be forgotten."""
        ledger = self.ledger(2, 100)
        dice = random.Random(2)
        other = Ledger(ledger.descriptor, 2, 100, 1)
        for _ in range(10):
            churner = self.program(CHURNER, ledger, 0)
            assert churner.stdout is not None
            churner.stdout.readline()
            for _ in range(dice.randrange(3000)):
                if other.take("192.0.2.7", 0, 0) is None:
                    other.give_back("192.0.2.7")
            churner.send_signal(signal.SIGKILL)
            churner.wait()
            ledger.forget(0)
            counts = [ledger.of(f"192.0.2.{number}") for number in range(99)]
            self.assertEqual((0, 0), (ledger.total, sum(counts)))
        self.assertEqual({None}, {other.take(f"192.0.2.{number}", 0, 0) for number in range(99)})
