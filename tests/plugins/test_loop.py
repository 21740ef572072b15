"""The plugin loop: too many hops."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, OK, ConfigError, dsn
from qpsmtpd.testing import Server, Tried

REFUSED = dsn.too_many_hops()


class LoopTests(SynchronousTestCase):
    """Mail that goes round in circles."""

    def test_limit(self) -> None:
        """Received and Delivered-To count together, and the limit itself is too many."""
        for line, received, delivered, expected in [
            ("loop 3", 2, 0, DECLINED),
            ("loop 3", 3, 0, REFUSED),
            ("loop 3", 0, 3, REFUSED),
            ("loop 3", 2, 1, REFUSED),
            ("loop 3", 1, 1, DECLINED),
            ("loop", 99, 0, DECLINED),
            ("loop", 60, 40, REFUSED),
            ("loop 0", 99, 0, DECLINED),
            ("loop 0", 100, 0, REFUSED),
        ]:
            tried = Tried(line)
            tried.message("Received: x\n" * received + "delivered-to: y\n" * delivered + "\n")
            self.assertEqual(expected, tried.ask("data_post"), (line, received, delivered))

    def test_log(self) -> None:
        """A line says how many there are."""
        tried = Tried("loop 2")
        tried.message("Received: x\n\n")
        tried.ask("data_post")
        tried.message("Received: x\nReceived: x\n\n")
        tried.ask("data_post")
        self.assertEqual(["pass, 1 hops", "fail, 2 hops"], tried.log)

    def test_without_header(self) -> None:
        """A message without any field has made no hop."""
        self.assertEqual(DECLINED, Tried("loop").ask("data_post"))

    def test_argument(self) -> None:
        """What is no number, and a second word, stop the start."""
        for words in ("many", "-1", "4 5"):
            self.assertIn("loop: ", str(self.assertRaises(ConfigError, Tried, f"loop {words}")))

    def test_on_the_wire(self) -> None:
        """Our own Received field counts: with a limit of two, one foreign hop is too many."""
        server = Server(["loop 2"], hooks={"rcpt": lambda: OK, "queue": lambda: OK})
        self.assertTrue(server.connect().mail(text="Subject: x\n").startswith("250 "))
        self.assertEqual("552 5.4.6 Too many hops", server.connect().mail(text="Received: x\n"))
