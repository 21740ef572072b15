"""earlytalker."""

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENY_DISCONNECT, DENYSOFT, OK, ConfigError
from qpsmtpd.testing import Server, Tried

TYPES = [("", DENY), ("reject_type temp", DENYSOFT), ("reject_type disconnect", DENY_DISCONNECT)]


def tried(arguments="", talks=True):
    """Try the plugin with a client that talks, or does not; `waits` has the times it was waited for."""
    plugin = Tried(f"earlytalker {arguments}")
    plugin.waits = []

    def wait(seconds):
        plugin.waits.append(seconds)
        return succeed(talks)

    plugin.connection.wait_for_input = wait
    return plugin


class GreetingTests(SynchronousTestCase):
    """At connect, and at DATA."""

    def test_reject_type(self):
        """A talker is refused as reject_type says, at both hooks."""
        for arguments, expected in TYPES:
            for hook in ("connect", "data"):
                plugin = tried(f"check-at CONNECT check-at data {arguments}")
                self.assertEqual(expected.code, plugin.ask(hook).code, (arguments, hook))
                self.assertEqual((1, -1), (plugin.connection.notes["earlytalker"], plugin.connection.karma))

    def test_pass(self):
        """Who waits passes."""
        plugin = tried("check-at CONNECT check-at DATA", talks=False)
        for hook in ("connect", "data"):
            self.assertEqual(DECLINED, plugin.ask(hook))
        self.assertEqual((["pass", "pass"], 0), (plugin.log, plugin.connection.karma))
        self.assertNotIn("earlytalker", plugin.connection.notes)

    def test_check_at(self):
        """Only the stages asked for are watched; the greeting if none is."""
        rows = [("", [True, False]), ("check-at CONNECT", [True, False]), ("check-at DATA", [False, True])]
        for arguments, expected in rows:
            plugin = tried(arguments)
            denied = [plugin.ask(hook).code.denies for hook in ("connect", "data")]
            self.assertEqual(expected, denied, arguments)

    def test_exempt(self):
        """Relay clients, whitelisted ones and those of good karma are not kept waiting."""
        for note, value, expected in [
            ("whitelisthost", 1, "skip, whitelisted host"),
            ("karma_history", 6, "skip, good karma"),
        ]:
            plugin = tried()
            plugin.connection.notes[note] = value
            self.assertEqual((DECLINED, []), (plugin.ask("connect"), plugin.waits))
            self.assertEqual([expected], plugin.log)

    def test_exempt_at_data(self):
        """At DATA whitelisted senders are exempt, too."""
        plugin = tried("check-at DATA")
        plugin.transaction.notes["whitelistsender"] = 1
        self.assertEqual((DECLINED, []), (plugin.ask("data"), plugin.waits))

    def test_bdat(self):
        """BDAT has no 354 to wait for."""
        plugin = tried("check-at DATA")
        plugin.transaction.chunked = True
        self.assertEqual((DECLINED, [], ["skip, BDAT"]), (plugin.ask("data"), plugin.waits, plugin.log))

    def test_some_karma(self):
        """5 good messages do not yet exempt."""
        plugin = tried()
        plugin.connection.notes["karma_history"] = 5
        self.assertTrue(plugin.ask("connect").code.denies)

    def test_wait(self):
        """The time is 1 second, or the argument, or the note."""
        for arguments, note, expected in [("", None, 1), ("wait 2.5", None, 2.5), ("wait 2", 7, 7)]:
            plugin = tried(arguments)
            plugin.connection.notes["earlytalker_wait"] = note
            plugin.ask("connect")
            self.assertEqual([expected], plugin.waits)

    def test_no_transport(self):
        """Who cannot be watched is let through."""
        plugin = Tried("earlytalker")
        self.assertEqual((DECLINED, ["skip, no transport"]), (plugin.ask("connect"), plugin.log))

    def test_action(self):
        """The old argument is read as the manual says."""
        rows = [
            ("action denysoft", DENYSOFT),
            ("action deny", DENY),
            ("action log", DECLINED),
            ("action log reject 1", DENY),
            ("action deny reject 0", DECLINED),
            ("action denysoft reject_type perm", DENY),
            ("action denysoft reject 1", DENYSOFT),
        ]
        for arguments, expected in rows:
            self.assertEqual(expected.code, tried(arguments).ask("connect").code, arguments)

    def test_bad_arguments(self):
        """Unknown stages and words stop the start."""
        for arguments in ("check-at HELO", "wait", "wait soon", "2"):
            self.assertRaises(ConfigError, tried, arguments)


class DeferredTests(SynchronousTestCase):
    """Refused at MAIL."""

    def ask(self, arguments, note=1):
        plugin = tried(f"defer-reject 1 {arguments}")
        plugin.connection.notes["earlytalker"] = note
        return plugin.ask("mail", sender="<a@example.com>")

    def test_mail(self):
        """Who was not caught goes on; who was is refused as reject_type says."""
        self.assertEqual(DECLINED, self.ask("", note=0))
        for arguments, expected in TYPES:
            self.assertEqual(expected.code, self.ask(arguments).code, arguments)

    def test_greeted(self):
        """At the greeting it is only noted, at the cost of karma, and at each MAIL again."""
        plugin = tried("defer-reject")
        self.assertEqual(DECLINED, plugin.ask("connect"))
        self.assertEqual(1, plugin.connection.notes["earlytalker"])
        self.assertIn("fail, tolerated until MAIL", plugin.log)
        self.assertTrue(plugin.ask("mail", sender="<a@example.com>").code.denies)
        self.assertEqual(-2, plugin.connection.karma)

    def test_authenticated(self):
        """Who may relay by then is exempt."""
        plugin = tried("defer-reject")
        plugin.ask("connect")
        plugin.connection.relay_client = True
        self.assertEqual(DECLINED, plugin.ask("mail", sender="<a@example.com>"))

    def test_not_deferred(self):
        """Without defer-reject, or with defer-reject 0, MAIL is not hooked."""
        for arguments in ("", "defer-reject 0"):
            self.assertFalse(tried(arguments).registry.has("mail"), arguments)


class ServerTests(SynchronousTestCase):
    """With a server."""

    def test_vanished(self):
        """A client that leaves while it is watched is no talker."""
        server = Server(["earlytalker"])
        client = server.connect()
        client.drop()
        server.clock.advance(2)
        self.assertFalse(server.logged("earlytalker: fail"))
        self.assertEqual(0, client.connection.karma)

    def test_data(self):
        """Text before the 354 ends the transaction; without it the message may come."""
        server = Server(["earlytalker check-at DATA"], hooks={"rcpt": lambda: OK, "queue": lambda: OK})
        for early, expected in [(["DATA", "Subject: x"], "554 5.7.1 "), (["DATA"], "354 ")]:
            client = server.connect()
            client.say("EHLO client.example", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>")
            reply = client.say(*early)
            server.clock.advance(1)
            self.assertTrue((reply + client.read()).startswith(expected), early)
