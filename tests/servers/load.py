"""Clients that send messages without end and remember which were accepted, and what went wrong."""

from __future__ import annotations

import hashlib
import random
import re
import smtplib
import threading
import time
from collections import Counter
from unittest import TestCase

from harness import Server

SEED = 20261123
CLIENTS = 6


class Load:
    """Starts at once. ``kept`` is the most messages of one connection, 0 for as many as the server takes."""

    def __init__(self, port: int, kept: int = 0) -> None:
        self.port = port
        self.accepted: set[str] = set()
        self.failures: Counter[str] = Counter()
        self.sent = self.connections = 0
        self._kept = kept
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let each client end its message."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        dice = random.Random(SEED + number)
        count = 0
        while not self._over.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as client:
                    self.connections += 1
                    left = dice.randint(1, self._kept) if self._kept else -1
                    while left and not self._over.is_set():
                        count += 1
                        left -= 1
                        self.sent += 1
                        self._deliver(client, f"{number}-{count}", dice)
            except (OSError, smtplib.SMTPException) as error:
                self.failures[repr(error)] += 1
                time.sleep(0.02)

    def _deliver(self, client: smtplib.SMTP, name: str, dice: random.Random) -> None:
        body = "".join(f"{dice.random()}\n" for _ in range(dice.choice([1, 50, 2000])))
        digest = hashlib.sha256(body.encode()).hexdigest()
        client.sendmail("a@example.com", ["b@example.org"], f"X-Test: {name} {digest}\n\n{body}")
        self.accepted.add(name)


def check_stored(test: TestCase, server: Server, load: Load) -> str:
    """Find each accepted message once and whole; give a line about it."""
    found: Counter[str] = Counter()
    for message in server.messages():
        match = re.search(rb"^X-Test: (\S+) (\S+)\n\n", message, re.MULTILINE)
        assert match is not None, "a message in new/ is not whole"
        body = message[match.end() :]
        test.assertEqual(hashlib.sha256(body).hexdigest(), match[2].decode(), "a message is not whole")
        found[match[1].decode()] += 1
    lost = load.accepted - found.keys()
    test.assertEqual(lost, set(), "accepted, but not in new/")
    test.assertEqual({name for name, count in found.items() if count > 1}, set(), "delivered twice")
    return (
        f"{load.connections} connections, {load.sent} messages, {len(load.accepted)} accepted,"
        f" {len(found)} stored, {len(lost)} lost"
    )
