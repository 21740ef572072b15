"""250 means stored: a server that is killed at any moment under load has lost nothing that it accepted."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import smtplib
import threading
import time
import unittest
from collections import Counter

from harness import Server

KILLS = int(os.environ.get("QPSMTPD_KILLS", "200"))
CLIENTS = 6
SEED = 20261123


class Load:
    """Clients that send messages without end and remember which were accepted."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.accepted: set[str] = set()
        self.sent = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        dice = random.Random(SEED + number)
        count = 0
        while not self._over.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as client:
                    while not self._over.is_set():
                        count += 1
                        self.sent += 1
                        self._deliver(client, f"{number}-{count}", dice)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.02)

    def _deliver(self, client: smtplib.SMTP, name: str, dice: random.Random) -> None:
        body = "".join(f"{dice.random()}\n" for _ in range(dice.choice([1, 50, 2000])))
        digest = hashlib.sha256(body.encode()).hexdigest()
        client.sendmail("a@example.com", ["b@example.org"], f"X-Test: {name} {digest}\n\n{body}")
        self.accepted.add(name)


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
        found: Counter[str] = Counter()
        for message in server.messages():
            match = re.search(rb"^X-Test: (\S+) (\S+)\n\n", message, re.MULTILINE)
            assert match is not None, "a message in new/ is not whole"
            body = message[match.end() :]
            self.assertEqual(hashlib.sha256(body).hexdigest(), match[2].decode(), "a message is not whole")
            found[match[1].decode()] += 1
        self.assertGreater(len(load.accepted), KILLS)
        self.assertEqual(load.accepted - found.keys(), set(), "accepted, but not in new/")
        self.assertEqual({name for name, count in found.items() if count > 1}, set(), "delivered twice")
        print(f"{KILLS} kills, {load.sent} messages, {len(load.accepted)} accepted, {len(found)} stored")


if __name__ == "__main__":
    unittest.main()
