"""The disconnect gate finds what a plugin, or the server, leaves behind."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.factory import Connections
from qpsmtpd.session import Session
from qpsmtpd.smtp.reply import Reply
from qpsmtpd.testing import GateError, parse, play_disconnects

PLUGIN = '''"""A plugin that forgets to clean up."""

from twisted.internet.defer import Deferred, fail

from qpsmtpd import OK, Plugin


class Leaky(Plugin):
    """Leaks."""

    def register(self):
        self.kept = []

    def hook_{hook}(self, connection, transaction):
        {code}
'''

DIALOGUE = """config plugin_dirs: {directory}
plugin leaky
dns slow.example silent
hook rcpt: OK
hook queue: OK
S: 220 ...
C: HELO x
S: 250 ...
C: MAIL FROM:<a@b>
C: RCPT TO:<c@d>
C: DATA
S: 250 ...
S: 250 ...
S: 354 ...
C: text
C: .
S: 250 ...
"""

LEAKS = [
    ("disconnect", "self.clock.callLater(3600, int)", "a delayed call: <DelayedCall"),
    ("helo", "self.kept.append(connection)", "in memory: <qpsmtpd.connection.Connection object"),
    ("mail", "self.kept.append(transaction)", "in memory: <qpsmtpd.transaction.Transaction object"),
    ("rcpt", "self.kept.append(transaction.recipients)", "in memory: Recipient(<c@d>)"),
    ("mail", "self.kept.append(Deferred())", "in memory: <Deferred at"),
    ("mail", "self.dns.a('slow.example')", "a question that waits: ('slow.example', 'A')"),
    ("mail", "self.run_in_thread(int)", "a question that waits: <class 'int'>"),
    ("data_post", "(transaction.body.path.parent / 'copy').touch()", "a file: copy"),
    ("data_post", "fail(ValueError('lost'))", "ValueError: lost"),
    ("data_post", "transaction.body.path.unlink()", ""),
    ("disconnect", "connection.hello[0]", "FATAL PLUGIN ERROR [leaky]: IndexError"),
]


class GateTests(SynchronousTestCase):
    """play_disconnects"""

    def left(self, hook: str = "noop", code: str = "return OK") -> str:
        """Play with a plugin; give the gate's complaint."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "leaky.py").write_text(PLUGIN.format(hook=hook, code=code))
        dialogue = parse(DIALOGUE.format(directory=directory), "leaky.smtp")
        try:
            play_disconnects(dialogue)
        except GateError as error:
            return str(error)
        return ""

    def test_leaks(self) -> None:
        """Each kind is found, and named; what does no harm is not."""
        for hook, code, expected in LEAKS:
            found = self.left(hook, code)
            self.assertIn(expected, found, code)
            self.assertEqual(bool(expected), bool(found), found)
            self.flushLoggedErrors(ValueError)

    def test_moment(self) -> None:
        """The complaint says when the session ended, and how."""
        found = self.left("mail", "self.kept.append(transaction)")
        self.assertTrue(
            found.startswith("leaky.smtp: the client vanishes, in the middle of the segment of line 9"), found
        )

    def test_clean(self) -> None:
        """Two halves of three segments and the connect with its question for a name, in three ways."""
        self.assertEqual("", self.left())
        dialogue = parse("S: 220 ...\nC: HELO x\nS: 250 ...\nwait 1\nC: QUIT\nS: 221 ...\nnew\ndrop\n")
        self.assertEqual(4 * (2 + 2 + 1 + 2 + 2 + 1), play_disconnects(dialogue))

    def test_connections(self) -> None:
        """The server must count its connections out."""
        self.patch(Connections, "remove", lambda *_: None)
        self.assertIn("connections: 1\n  a count of connections from: 192.0.2.1", self.left())

    def test_told(self) -> None:
        """Both hooks of the end are told, once."""
        tell = Session.tell

        async def twice(session: Session, hook: str) -> None:
            await tell(session, hook)
            if hook == "post-connection":
                await tell(session, hook)

        self.patch(Session, "tell", twice)
        self.assertIn("hook post-connection of connection 1 was told 2 times", self.left())
        self.patch(Session, "tell", lambda *_: _nothing())
        self.assertIn("hook disconnect of connection 1 was told 0 times", self.left())

    def test_session_fails(self) -> None:
        """An error of the server's own is not forgiven."""

        async def fail(_: Session) -> Reply:
            raise RuntimeError("oops")

        self.patch(Session, "greet", fail)
        self.assertIn("RuntimeError: oops", self.left())
        self.flushLoggedErrors(RuntimeError)


async def _nothing() -> None:
    pass
