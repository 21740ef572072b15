"""The plugin rcpt_ok: whose mail we take."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK, Address, Recipient, dsn
from qpsmtpd.smtp.address import AddressError
from qpsmtpd.testing import Server, Tried
from tests.plugins.test_badmailfrom import samples

CONFIG = {
    "rcpthosts": ["localhost", "Example.ORG and a remark", ".sub.example.org", "[192.0.2.99]"],
    "morercpthosts.cdb": ["more.example", ".wild.example"],
}
REFUSED = dsn.relaying_denied()


class RcptOkTests(SynchronousTestCase):
    """The last word about a recipient."""

    def ask(self, recipient: str | Recipient, line: str = "rcpt_ok", **facts: Any) -> Any:
        tried = Tried(line, config=CONFIG)
        tried.connection.relay_client = facts.get("relay_client", False)
        tried.connection.notes.update(facts.get("connection", {}))
        tried.transaction.notes.update(facts.get("transaction", {}))
        return tried.ask("rcpt", recipient=recipient)

    def test_domains(self) -> None:
        """me, rcpthosts and morercpthosts are ours, in any case; nothing else is."""
        rows = [
            ("user@localhost", OK),
            ("user@LocalHost", OK),
            ("user@mail.example.com", OK),
            ("user@Mail.Example.com", OK),
            ("user@example.org", OK),
            ("user@a.sub.example.org", OK),
            ("user@sub.example.org", REFUSED),
            ("user@notexample.org", REFUSED),
            ("user@example.com", REFUSED),
            ("user@more.example", OK),
            ("user@MORE.example", OK),
            ("user@a.more.example", REFUSED),
            ("user@a.b.wild.example", OK),
            ("user@wild.example", REFUSED),
            ("user@[192.0.2.99]", OK),
            ("root@", REFUSED),
        ]
        for mailbox, expected in rows:
            local, _, domain = mailbox.partition("@")
            self.assertEqual(expected, self.ask(Recipient(Address(local, domain))), mailbox)

    def test_relay_client(self) -> None:
        """A client that may relay sends to everywhere."""
        self.assertEqual(OK, self.ask("user@example.com", relay_client=True))

    def test_without_domain(self) -> None:
        """Postmaster and abuse belong to this host, other bare users to nobody."""
        for local, expected in [
            ("postmaster", OK),
            ("PostMaster", OK),
            ("abuse", OK),
            ("root", REFUSED),
            ("", REFUSED),
        ]:
            self.assertEqual(expected, self.ask(Recipient(Address(local, ""))), local)

    def test_me(self) -> None:
        """The name in me may be in any case."""
        tried = Tried("rcpt_ok", config={"me": "Mail.Example.NET"})
        for recipient in (Address("a", "mail.example.net"), Address("postmaster", "")):
            self.assertEqual(OK, tried.ask("rcpt", recipient=Recipient(recipient)))

    def test_host_of(self) -> None:
        """The domain in lower case; `me` for postmaster; what is no recipient the parser refuses."""
        plugin: Any = Tried("rcpt_ok").plugin
        for path, host in [
            ("<me@example.com>", "example.com"),
            ("<Me@EXAMPLE.com>", "example.com"),
            ("<root@example.com>", "example.com"),
            ("<postmaster>", "mail.example.com"),
            ("<>", ""),
        ]:
            self.assertEqual(host, plugin.host_of(Address.parse(path)), path)
        for path in ("<abuse>", "<@example.com>"):
            self.assertRaises(AddressError, Address.parse, path)

    def test_whitelists_do_not_relay(self) -> None:
        """A whitelisted host or sender may not relay, unless the administrator wants it to."""
        rows: list[dict[str, Any]] = [
            {"connection": {"whitelisthost": 1}},
            {"transaction": {"whitelistsender": 1}},
        ]
        for notes in rows:
            self.assertEqual(REFUSED, self.ask("user@example.com", **notes))
            self.assertEqual(OK, self.ask("user@example.com", "rcpt_ok whitelist_relays 1", **notes))
        self.assertEqual(REFUSED, self.ask("user@example.com", "rcpt_ok whitelist_relays 1"))

    def test_literals(self) -> None:
        """Recipients at the address that the client has connected to, if wanted."""
        self.assertEqual(REFUSED, self.ask("user@[192.0.2.25]"))
        for mailbox, expected in [
            ("user@[192.0.2.25]", OK),
            ("user@[192.0.2.26]", REFUSED),
            ("user@[IPv6:2001:db8::25]", REFUSED),
        ]:
            self.assertEqual(expected, self.ask(mailbox, "rcpt_ok literals 1"), mailbox)

    def test_literals_ipv6(self) -> None:
        """The same address may be spelled in several ways."""
        tried = Tried("rcpt_ok literals 1")
        tried.connection.local_ip = "2001:db8::25"
        self.assertEqual(OK, tried.ask("rcpt", recipient="user@[IPv6:2001:DB8:0::25]"))

    def test_tolerated_is_no_relay(self) -> None:
        """With reject 0 nobody has decided, and nobody's OK is no OK."""
        self.assertNotEqual(OK, self.ask("user@example.com", "rcpt_ok reject 0"))

    def test_log(self) -> None:
        """One line says what was decided."""
        tried = Tried("rcpt_ok", config=CONFIG)
        tried.ask("rcpt", recipient="a@localhost")
        tried.ask("rcpt", recipient="a@example.com")
        self.assertEqual(["pass: localhost", "fail, cannot relay to example.com"], tried.log)

    def test_edit(self) -> None:
        """An edit of rcpthosts is in force for the next recipient."""
        values = {"rcpthosts": ["a.example"]}
        tried = Tried("rcpt_ok")
        tried.services.config.overlay = values.get
        answers = [tried.ask("rcpt", recipient="u@b.example")]
        values["rcpthosts"] = ["b.example"]
        answers.append(tried.ask("rcpt", recipient="u@b.example"))
        self.assertEqual([REFUSED, OK], answers)

    def test_reject_type(self) -> None:
        """The enhanced status follows the kind of rejection."""
        answer = self.ask("user@example.com", "rcpt_ok reject_type disconnect")
        self.assertEqual(("DENY_DISCONNECT", "5.7.1"), (answer.code.name, answer.status))

    def test_shipped_list(self) -> None:
        """The shipped rcpthosts has nothing odd in it, not in its samples either."""
        tried = Tried("rcpt_ok", config={"rcpthosts": samples("rcpthosts")})
        plugin: Any = tried.plugin
        self.assertEqual([], plugin.rcpthosts().remarks)
        self.assertEqual(OK, tried.ask("rcpt", recipient="a@localhost"))

    def test_on_the_wire(self) -> None:
        """550 5.7.1, and 250 to who may relay."""
        client = Server(["rcpt_ok"]).connect()
        client.say("EHLO x", "MAIL FROM:<>")
        self.assertEqual("550 5.7.1 Relaying denied", client.say("RCPT TO:<a@example.com>"))
        client.connection.relay_client = True
        self.assertEqual("250 2.1.5 recipient OK", client.say("RCPT TO:<a@example.com>"))
