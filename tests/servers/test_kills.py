"""250 means stored: a server that is killed at any moment under load has lost nothing that it accepted."""

from __future__ import annotations

import os
import random
import signal
import time
import unittest
from contextlib import suppress

from harness import Server
from load import SEED, Load, check_stored
from processes import children, wait_for_workers

KILLS = int(os.environ.get("QPSMTPD_KILLS", "200"))


class KillTests(unittest.TestCase):
    """Exactly once and whole, for every message that got its 250."""

    def test_nothing_is_lost(self) -> None:
        dice = random.Random(SEED)
        server = Server({"size_threshold": "5000\n"})
        self.addCleanup(server.close)
        server.start()
        load = Load(server.port)
        try:
            for _ in range(KILLS):
                time.sleep(dice.uniform(0.0, 1.0))
                server.stop(signal.SIGKILL)
                server.start()
        finally:
            load.end()
        server.stop()
        said = check_stored(self, server, load)
        self.assertGreater(len(load.accepted), KILLS)
        print(f"{KILLS} kills, {said}")

    def test_workers_and_parent(self) -> None:
        """Workers are killed in turn, and their parent before they wait long to be started again."""
        dice = random.Random(SEED)
        server = Server({"size_threshold": "5000\n", "workers": "2\n"})
        self.addCleanup(server.close)
        server.start()
        load = Load(server.port)
        kills = parents = 0
        try:
            while kills < KILLS // 2:
                wait_for_workers(server, 2)
                for pid in children(server.pid):
                    time.sleep(dice.uniform(0.0, 0.5))
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        kills += 1
                if kills % 6 == 0:
                    server.stop(signal.SIGKILL)
                    parents += 1
                    server.start()
        finally:
            load.end()
        server.stop()
        said = check_stored(self, server, load)
        self.assertGreater(len(load.accepted), kills)
        print(f"{kills} kills of workers, {parents} of parents, {said}")


if __name__ == "__main__":
    unittest.main()
