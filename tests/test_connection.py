"""Facts about a client."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.connection import MAX_FINDINGS, Connection, Results, TLSInfo


class ConnectionTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Nothing is believed of a client at first."""
        connection = Connection("192.0.2.1", 5)
        self.assertEqual(
            ("", "", "", None), (connection.hello, connection.user, connection.naughty, connection.tls)
        )
        self.assertFalse(connection.relay_client)
        self.assertEqual(0, connection.karma)

    def test_name(self) -> None:
        """The log names a client by host and, if known, identity."""
        connection = Connection("192.0.2.1")
        self.assertEqual("[192.0.2.1]", connection.log_name)
        connection.remote_host, connection.remote_info = "host.example", "joe"
        self.assertEqual("joe@host.example", connection.log_name)

    def test_forget(self) -> None:
        """What was said in clear is forgotten: hello and authentication, and what that allowed."""
        connection = Connection()
        connection.hello, connection.hello_host, connection.user = "ehlo", "x", "joe"
        connection.auth_mechanism, connection.auth_attempted = "plain", True
        connection.relay_client = True
        connection.capabilities.append("X")
        connection.forget_client()
        self.assertEqual(
            ("", "", "", ""),
            (connection.hello, connection.hello_host, connection.user, connection.auth_mechanism),
        )
        self.assertFalse(connection.auth_attempted or connection.relay_client or connection.capabilities)

    def test_keep(self) -> None:
        """What the address allows, or a plugin found out, is kept."""
        connection = Connection()
        connection.relay_client, connection.karma, connection.naughty = True, -1, "x"
        connection.forget_client()
        self.assertEqual((True, -1, "x"), (connection.relay_client, connection.karma, connection.naughty))

    def test_slots(self) -> None:
        """A misspelled fact is an error."""
        self.assertRaises(AttributeError, setattr, Connection(), "relay_cleint", True)

    def test_tls(self) -> None:
        self.assertEqual("", TLSInfo("TLSv1.3", "AES", 256).sni)


class ResultTests(SynchronousTestCase):
    def test_findings(self) -> None:
        """Findings are kept by plugin and kind."""
        results = Results()
        results.add("helo", passed="a", failed="b")
        results.add("helo", passed="c")
        self.assertEqual(("a", "c"), results.of("helo", "passed"))
        self.assertTrue(results.has("helo", "failed"))
        self.assertFalse(results.has("helo", "skipped") or results.has("spf", "passed"))
        self.assertEqual((), results.of("spf", "passed"))
        self.assertEqual(
            [("helo", "passed", "a"), ("helo", "passed", "c"), ("helo", "failed", "b")], list(results)
        )

    def test_plugin(self) -> None:
        """A plugin is known by its name."""
        results = Results()
        results.add(type("P", (), {"name": "queue/x"})(), passed="a")
        self.assertTrue(results.has("queue/x", "passed"))

    def test_bound(self) -> None:
        """A client that goes on and on loses the oldest findings."""
        results = Results()
        for number in range(MAX_FINDINGS + 5):
            results.add("x", failed=str(number))
        self.assertEqual(MAX_FINDINGS, len(results.of("x", "failed")))
        self.assertEqual("5", results.of("x", "failed")[0])
