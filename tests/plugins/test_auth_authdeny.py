"""auth/authdeny makes the mechanisms known and lets nobody in."""

import base64

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, OK
from qpsmtpd.testing import Server, Tried

INITIAL = base64.b64encode(b"\0bogus\0x").decode()


class AuthDenyTests(SynchronousTestCase):
    def test_declines(self) -> None:
        """A bogus user is declined, and the log warns."""
        tried = Tried("auth/authdeny")
        self.assertEqual(DECLINED, tried.ask("auth", user="bogus@example.com"))
        self.assertEqual(["fail: cannot authenticate bogus@example.com"], tried.log)
        self.assertEqual(4, tried.events[-1].level)

    def test_wire(self) -> None:
        """It makes all configured mechanisms known; users are refused unless another plugin lets them in."""
        config = {"auth_mechanisms": "PLAIN LOGIN CRAM-MD5"}
        client = Server(["auth/authdeny"], config=config).connect()
        self.assertIn("AUTH PLAIN LOGIN CRAM-MD5", client.say("EHLO me"))
        self.assertEqual(
            "535 5.7.8 PLAIN authentication failed for bogus from 192.0.2.1",
            client.say(f"AUTH PLAIN {INITIAL}"),
        )
        server = Server(["auth/authdeny"], hooks={"auth": lambda: OK})
        client = server.connect()
        self.assertTrue(client.say("EHLO me", f"AUTH PLAIN {INITIAL}").rpartition("\n")[2].startswith("235 "))
