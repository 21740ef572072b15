"""How long a client may take, and how slowly it may send."""

from typing import Any

from twisted.internet.defer import Deferred

from qpsmtpd import OK
from qpsmtpd.pace import RATE_WINDOW

from .test_protocol import Case

SLOW = "421 4.4.2 the message comes too slowly, closing the connection\r\n"


class RateTests(Case):
    def begin(self, command: str = "DATA", hooks: dict[str, Any] | None = None, rate: str = "10") -> Any:
        client = self.connect({"rcpt": lambda: OK, **(hooks or {})}, timeout="1000", min_data_rate=rate)
        client.say("EHLO x", "MAIL FROM:<a@b>", "RCPT TO:<a@b>", command)
        return client

    def drip(self, client: Any, octets: int) -> None:
        """Send so many octets in each of the thirty parts of a window."""
        for _ in range(30):
            self.clock.advance(RATE_WINDOW / 30)
            client.send(b"x" * octets)

    def test_too_slow(self) -> None:
        """Who sends less than the rate is told to go when the window is over, not before."""
        client = self.begin()
        self.drip(client, 99)
        self.assertEqual(SLOW, client.read())
        self.assertTrue(client.closed)
        client = self.begin()
        self.clock.advance(RATE_WINDOW - 1)
        self.assertFalse(client.closed)

    def test_fast_enough(self) -> None:
        """Who sends as much goes on, window after window."""
        client = self.begin()
        for _ in range(3):
            self.drip(client, 104)
        self.assertFalse(client.closed)

    def test_every_window(self) -> None:
        """What came in one window does not help in the next."""
        client = self.begin()
        client.send(b"x" * 1_000_000)
        self.clock.advance(RATE_WINDOW)
        self.assertFalse(client.closed)
        self.clock.advance(RATE_WINDOW)
        self.assertEqual(SLOW, client.read())

    def test_average(self) -> None:
        """A silence of nearly five minutes is allowed to who makes up for it (RFC 5321 section 4.5.3.2)."""
        client = self.begin()
        self.clock.advance(RATE_WINDOW - 1)
        client.send(b"x" * 4000)
        self.clock.advance(1)
        self.assertFalse(client.closed)

    def test_our_time(self) -> None:
        """Time in which the client waits for a plugin is not held against it."""
        slow: Deferred[Any] = Deferred()
        client = self.begin(hooks={"data_headers_end": lambda: slow})
        client.send(b"A: b\r\n\r\nx")
        self.clock.advance(20)
        slow.callback(None)
        self.clock.advance(RATE_WINDOW - 1)
        self.assertFalse(client.closed)
        self.clock.advance(1)
        self.assertEqual(SLOW, client.read())

    def test_waits_for_354(self) -> None:
        """The measure begins with the 354, however long that took."""
        slow: Deferred[Any] = Deferred()
        client = self.begin(hooks={"data": lambda: slow})
        self.clock.advance(25)
        slow.callback(None)
        client.read()
        self.clock.advance(RATE_WINDOW - 1)
        self.assertFalse(client.closed)
        self.clock.advance(1)
        self.assertEqual(SLOW, client.read())

    def test_chunk(self) -> None:
        """A chunk is measured as a message is, and the time between chunks is not."""
        client = self.begin("BDAT 5000")
        client.send(b"x" * 5000)
        self.clock.advance(RATE_WINDOW + 1)
        self.assertFalse(client.closed)
        client.say("BDAT 5000")
        self.clock.advance(RATE_WINDOW)
        self.assertEqual(SLOW, client.read().splitlines(keepends=True)[-1])

    def test_commands(self) -> None:
        """Commands have no rate."""
        client = self.connect(timeout="1000", min_data_rate="10")
        client.say("HELO x")
        self.clock.advance(RATE_WINDOW * 3)
        self.assertFalse(client.closed)

    def test_off(self) -> None:
        """0 is any rate; the time limit of each piece stays."""
        client = self.begin(rate="0")
        self.clock.advance(999)
        self.assertFalse(client.closed)
        self.clock.advance(1)
        self.assertIn("Connection Timed Out", client.read())
