"""Answers that the test kit holds back."""

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.testing import MemoryResolver, Server
from qpsmtpd.testing.held import Held


class HeldTests(SynchronousTestCase):
    """Held."""

    def test_at_once(self) -> None:
        """Nothing waits unless it shall; a failure is the answer's."""
        held = Held()
        self.assertEqual(3, self.successResultOf(held(sum, [1, 2])))
        self.failureResultOf(held(int, "x"), ValueError)
        self.assertEqual([], held.waiting)

    def test_release(self) -> None:
        """Answers come one by one, the oldest first; what has no answer is passed over."""
        held = Held()
        held.on = True
        never, first, second = held.ask("never", None), held.ask("a", lambda: 1), held.ask("b", lambda: 2)
        self.assertEqual(["never", "a", "b"], held.waiting)
        self.assertTrue(held.release())
        self.assertEqual(1, self.successResultOf(first))
        self.assertNoResult(second)
        self.assertTrue(held.release())
        self.assertFalse(held.release())
        self.assertNoResult(never)
        self.assertEqual(["never"], held.waiting)

    def test_cancelled(self) -> None:
        """Nobody waits for what was cancelled."""
        held = Held()
        held.on = True
        asked = held.ask("a", lambda: 1)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual([], held.waiting)
        self.assertFalse(held.release())

    def test_dns(self) -> None:
        """The resolver of a server knows its questions."""
        server = Server(dns=MemoryResolver({"192.0.2.1": {"PTR": ["a.example"]}}))
        server.dns.held.on = True
        client = server.connect()
        self.assertEqual("", client.read())
        self.assertEqual([("192.0.2.1", "PTR")], server.dns.held.waiting)
        self.assertTrue(server.dns.held.release())
        self.assertTrue(client.read().startswith("220 "))
