"""What all sessions of a server share."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.config import Config
from qpsmtpd.connection import Connection
from qpsmtpd.engine import REFRESH
from qpsmtpd.testing import Server


class EngineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(config={"databytes": "5"})
        self.engine = self.server.engine

    def change(self, **values: str) -> None:
        self.engine.config = Config((), {name: [value] for name, value in {"me": "mx", **values}.items()})

    def test_edit(self) -> None:
        """An edit is in force for the next connection, a second later at most."""
        old = self.server.connect()
        self.change(databytes="7")
        self.server.connect()
        self.assertEqual(5, self.engine.limits.databytes)
        self.server.clock.advance(REFRESH)
        self.server.connect()
        self.assertEqual(7, self.engine.limits.databytes)
        self.assertEqual(5, old.protocol.session.limits.databytes)

    def test_bad_edit(self) -> None:
        """A mistake is logged, and the old values stay in force."""
        self.change(databytes="many")
        self.server.clock.advance(REFRESH)
        self.assertEqual("220", self.server.connect().read()[:3])
        self.assertEqual(5, self.engine.limits.databytes)
        self.assertTrue(self.server.logged("the old settings stay in force"))

    def test_numbers(self) -> None:
        """Connections and messages have numbers of their own."""
        self.assertNotEqual(self.engine.next_number(), self.engine.next_number())
        connection = Connection(number=3)
        self.assertNotEqual(self.engine.message_id(connection), self.engine.message_id(connection))

    def test_config_hook(self) -> None:
        """A plugin may answer for the files; it must do so at once."""
        server = Server(hooks={"config": lambda name: ["mx.example.net"] if name == "me" else None})
        self.assertEqual("mx.example.net", server.engine.config.value("me"))
        self.assertIn("220 mx.example.net ", server.connect().read())

    def test_config_hook_reads(self) -> None:
        """A plugin that answers for the configuration may read it."""
        server = Server(
            hooks={"config": lambda name: list(server.services.config.lines("me")) if name == "x" else None}
        )
        self.assertEqual(("mail.example.com",), server.engine.config.lines("x"))

    def test_clock_set_back(self) -> None:
        """A clock that is set back does not keep an edit out."""
        self.change(databytes="7")
        self.engine.now = lambda: 5.0
        self.server.connect()
        self.assertEqual(7, self.engine.limits.databytes)
