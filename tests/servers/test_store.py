"""The store with several real processes: nothing is counted twice or lost, whoever is killed."""

from __future__ import annotations

import shutil
import signal
import smtplib
import subprocess
import sys
import tempfile
import unittest
from contextlib import suppress
from pathlib import Path

from harness import Server, running, wait_until

from qpsmtpd.kit.storedatabase import Database

WORKERS = 4
ADDS = 2000
AT_ONCE = 20
KEYS = 3
CONFIG = {"plugins": "greylisting black_timeout 1\nrcpt_ok\nqueue/maildir mail\n", "smtps": ""}

COUNTER = """\
import sys, time
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from qpsmtpd.kit.store import Entry
from qpsmtpd.kit.storesqlite import SQLiteStores
from qpsmtpd.waiting import threads_of

path, name, adds, at_once, keys = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
stores = SQLiteStores(Path(path), time.time, threads_of(reactor))
store = stores.of("counts")

def more(old):
    return Entry((old or 0) + 1, 1000)

async def count():
    done = 0
    while done < adds or name == "victim":
        work = [store.add(f"shared{number % keys}" if name != "victim" else name, lifetime=1000)
                for number in range(at_once - 1)]
        work.append(store.update("changed" if name != "victim" else "victim", more))
        await gatherResults(work)
        done += at_once
        print(done, flush=True)
    await stores.close()

def over(failure):
    print(failure, file=sys.stderr)

def begin():
    Deferred.fromCoroutine(count()).addErrback(over).addBoth(lambda _: reactor.stop())

reactor.callWhenRunning(begin)
reactor.run()
"""


class CountTests(unittest.TestCase):
    """Processes that count the same things at the same time."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="qpsmtpd-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.path = self.directory / "store.sqlite"

    def start(self, name: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", COUNTER, self.path, name, ADDS, AT_ONCE, KEYS]
        process = subprocess.Popen(
            list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(process.kill)
        return process

    def found(self) -> dict[str, int]:
        """Give what was counted, from a file that is whole."""
        database = Database(self.path, 1000)
        self.addCleanup(database.close)
        database.check()
        (rows,) = database.run([lambda table: table.rows("counts", b"", 100)], False)
        return {key.decode(): int(row.text) for key, row in rows}

    def test_exact(self) -> None:
        """All begin at once, so they make the file together; the sums are exact, though others are killed."""
        workers = [self.start(f"worker{number}") for number in range(WORKERS)]
        victims = [self.start("victim") for _ in range(3)]
        acknowledged = 0
        for count, victim in enumerate(victims, 1):
            assert victim.stdout is not None
            lines = [victim.stdout.readline() for _ in range(5 * count)]
            victim.kill()
            lines += [line for line in victim.stdout if line.endswith("\n")]
            acknowledged += int(lines[-1])
        for worker in workers:
            self.assertEqual("", worker.communicate(timeout=120)[1])
        found = self.found()
        each = [len(range(key, AT_ONCE - 1, KEYS)) for key in range(KEYS)]
        batches = WORKERS * ADDS // AT_ONCE
        self.assertEqual(
            [each[key] * batches for key in range(KEYS)], [found[f"shared{key}"] for key in range(KEYS)]
        )
        self.assertEqual(batches, found["changed"])
        # What a victim was told is there; what it was never told may be.
        self.assertGreaterEqual(found["victim"], acknowledged)
        self.assertLessEqual(found["victim"], acknowledged + AT_ONCE * len(victims))


class GreylistingTests(unittest.TestCase):
    """Two servers of one configuration, as behind a balancer."""

    def reply(self, server: Server) -> int:
        with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client:
            client.ehlo("client.example")
            return client.mail("a@example.com")[0]

    def test_known_to_all(self) -> None:
        """Who was refused by one passes at the other, and after a kill, too; the store is a private file."""
        directory = Path(tempfile.mkdtemp(prefix="qpsmtpd-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        path = directory / "store.sqlite"
        config = {**CONFIG, "store": f"sqlite {path}\n"}
        with running(config) as one, running(config) as other:
            self.assertEqual(450, self.reply(one))
            wait_until(lambda: self.reply(other) == 250, "the other server lets it pass")
            self.assertEqual(250, self.reply(one))
            one.stop(signal.SIGKILL)
            self.assertEqual(250, self.reply(one.start()))
            self.assertEqual(0o600, path.stat().st_mode & 0o777)
            one.stop()
            other.stop()
        self.assertEqual([path], list(directory.iterdir()))

    def test_broken(self) -> None:
        """A file that is no store stops the start with one line."""
        server = Server(CONFIG)
        self.addCleanup(server.close)
        (server.directory / "store.sqlite").write_text("rubbish" * 1000)
        with suppress(AssertionError):  # the port may be open for a moment
            server.start()
        assert server.process is not None
        self.assertEqual(1, server.process.wait(60))
        self.assertIn(
            f"qpsmtpd: {server.config}/store: store store.sqlite: file is not a database; allowed is ",
            server.log.read_text(),
        )
        self.assertNotIn("Traceback", server.log.read_text())


if __name__ == "__main__":
    unittest.main()
