"""The test kit tells what a plugin's author did wrong."""

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DENYSOFT, OK
from qpsmtpd.testing import Server, Tried
from qpsmtpd.waiting import TimeLimit

PLUGIN = """\
from twisted.internet.defer import Deferred
from qpsmtpd import Plugin

class Careless(Plugin):
    def hook_connect(self, connection):
        return connection.notes["nothing"]

    def hook_mail(self):
        return "OK"

    async def hook_rcpt(self):
        await Deferred()
"""


class TriedTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "careless.py").write_text(PLUGIN)
        self.config = {"plugin_dirs": [str(directory)]}

    def test_failures_come_out(self) -> None:
        """A test sees what the plugin did, and not the 451 that a client hears."""
        tried = Tried("careless hook_timeout 5", config=self.config)
        self.assertRaises(KeyError, tried.ask, "connect")
        self.assertRaises(TypeError, tried.ask, "mail", sender="<a@b>")
        waiting = tried.begin("rcpt", recipient="a@b")
        assert isinstance(waiting, Deferred)
        tried.clock.advance(5)
        self.failureResultOf(waiting, TimeLimit)

    def test_server(self) -> None:
        """On the wire it is the 451, whatever the plugin did."""
        client = Server(["careless"], config=self.config).connect()
        self.assertEqual("421 4.3.0 internal error, please try again later\r\n", client.read())


class MailTests(SynchronousTestCase):
    def reply(self, **refusals: object) -> str:
        answers = {"rcpt": OK, "queue": OK, **refusals}
        server = Server([], hooks={name: lambda given=given: given for name, given in answers.items()})
        return server.connect().mail()

    def test_refused_before_the_dot(self) -> None:
        """The first refusal is told, and no content sent where the server takes commands."""
        self.assertEqual("250 2.0.0 Queued!", self.reply())
        self.assertEqual("451 4.7.1 later", self.reply(data=DENYSOFT("later", "4.7.1")))
        reply = self.reply(mail=DENYSOFT("not\nnow", "4.7.1"))
        self.assertEqual("450-4.7.1 not\r\n450 4.7.1 now", reply)
