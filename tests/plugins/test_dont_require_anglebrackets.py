"""The plugin dont_require_anglebrackets."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK
from qpsmtpd.testing import Server, Tried


class DontRequireAnglebracketsTests(SynchronousTestCase):
    """Addresses without their brackets."""

    def test_brackets(self) -> None:
        """They are added where they lack, and what has them stays as it is."""
        for hook in ("mail_pre", "rcpt_pre"):
            for path, expected in [("a@b", "<a@b>"), ("a@b>", "<a@b>>"), ("<a@b>", "<a@b>"), ("<>", "<>")]:
                self.assertEqual(OK(expected), Tried("dont_require_anglebrackets").ask(hook, path=path))

    def test_karma_and_log(self) -> None:
        """Each lack costs two points and a line; an address as it should be costs nothing."""
        tried = Tried("dont_require_anglebrackets")
        tried.ask("mail_pre", path="<a@b.example>")
        self.assertEqual((0, []), (tried.connection.karma, tried.log))
        tried.ask("rcpt_pre", path="a@b.example")
        self.assertEqual(-2, tried.connection.karma)
        self.assertEqual("fail, added angle brackets to a@b.example", tried.log[0])

    def test_on_the_wire(self) -> None:
        """The engine then takes an address or a literal for what it is, and refuses what is none."""
        for mailbox in ("a@b.example", "a@[192.0.2.3]"):
            client = Server(["dont_require_anglebrackets"]).connect()
            client.say("EHLO x")
            self.assertTrue(client.say(f"MAIL FROM:{mailbox} SIZE=1").startswith("250 "))
            self.assertEqual(f"<{mailbox}>", client.protocol.session.transaction.reverse_path.path)
        self.assertTrue(client.say("RCPT TO:a@b@c").startswith("501 5.1.3 "))
