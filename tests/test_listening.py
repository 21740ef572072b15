"""Lines of listen, smtps and lmtp: the place and the policy."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.listening import Listener, read_listener


class ListenerTests(SynchronousTestCase):
    def test_policy(self) -> None:
        """Words behind the endpoint say what holds there."""
        rows = {
            "25": Listener("tcp:25"),
            "587 starttls=required": Listener("tcp:587", starttls="required"),
            "127.0.0.1:25  client=ask starttls=off": Listener(
                "tcp:25:interface=127.0.0.1", starttls="off", client="ask"
            ),
            "[::1]:25 client=off": Listener(r"tcp6:25:interface=\:\:1", client="off"),
            "unix:/run/a b starttls=offered": Listener("unix:/run/a b", starttls="offered"),
            "tcp:25:interface=::1": Listener("tcp:25:interface=::1"),
        }
        self.assertEqual(rows, {text: read_listener(text) for text in rows})

    def test_implicit(self) -> None:
        """Where TLS comes first there is only the client's certificate to talk about."""
        self.assertEqual(
            Listener("tcp:465", True, client="require"), read_listener("465 client=require", "smtps")
        )
        error = self.assertRaises(ValueError, read_listener, "465 starttls=required", "smtps")
        self.assertIn("where TLS comes first", str(error))

    def test_mistakes(self) -> None:
        """What is no policy is named."""
        for text, expected in (
            ("25 starttls=maybe", "starttls=maybe is none of offered, required, off"),
            ("25 client=", "client= is none of off, ask, require"),
            ("25 tls=1", "tls= is not known here"),
            ("25 client=ask client=off", "client= is given twice"),
        ):
            self.assertIn(expected, str(self.assertRaises(ValueError, read_listener, text)))

    def test_needs_tls(self) -> None:
        """Who demands TLS, or offers it expressly, needs a certificate."""
        for text, needs in (
            ("25", False),
            ("25 starttls=off", False),
            ("25 client=off", False),
            ("25 starttls=offered", True),
            ("25 starttls=required", True),
            ("25 client=ask", True),
        ):
            self.assertEqual(needs, read_listener(text).needs_tls, text)
        self.assertTrue(read_listener("465", "smtps").needs_tls)

    def test_lmtp(self) -> None:
        """LMTP has the same places and words, but not the port of SMTP (RFC 2033 section 5)."""
        self.assertEqual(
            Listener("unix:/run/lmtp:mode=660", starttls="off", lmtp=True),
            read_listener("unix:/run/lmtp:mode=660 starttls=off", "lmtp"),
        )
        for text in ("24", "250", "127.0.0.1:2525", "unix:/run/25", "unix:25", "tcp:24:backlog=25"):
            self.assertTrue(read_listener(text, "lmtp").lmtp, text)
        for text in (
            "25",
            "[::1]:25",
            "localhost:25 starttls=off",
            "tcp:25:backlog=9",
            "tcp:interface=127.0.0.1:port=25",
            "haproxy:tcp6:025",
        ):
            error = self.assertRaises(ValueError, read_listener, text, "lmtp")
            self.assertIn("not be spoken on port 25", str(error))
