"""MAIL and RCPT: what the plugins see, and may change."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DENY, OK
from qpsmtpd.testing import Server


class Case(SynchronousTestCase):
    def connect(self, hooks: dict[str, Any] | None = None, hello: str = "EHLO x", **config: str) -> Any:
        self.server = Server(
            hooks={"rcpt": lambda: OK, **(hooks or {})}, config={"reverse_dns": "0", **config}
        )
        client = self.server.connect()
        client.say(hello)
        return client

    def said(self, client: Any, line: str) -> str:
        words = client.say(line).split()
        return " ".join(words[:2])


class MailTests(Case):
    def test_arguments(self) -> None:
        """The plugins are shown address and parameters."""
        seen: list[Any] = []
        client = self.connect({"mail": lambda sender, parameters: seen.append((sender.mailbox, parameters))})
        client.say("MAIL FROM:<a@b> SIZE=10 body=8bitmime AUTH=<>")
        self.assertEqual([("a@b", {"SIZE": "10", "BODY": "8bitmime", "AUTH": "<>"})], seen)

    def test_raw(self) -> None:
        """What the client wrote is noted as it is."""
        client = self.connect()
        client.say("MAIL FROM: <a@b>", "RCPT TO:<c@d> X=1")
        self.assertEqual("FROM: <a@b>", client.connection.notes["envelope_from"])
        self.assertEqual("TO:<c@d> X=1", client.connection.notes["envelope_rcpt"])

    def test_not_yet(self) -> None:
        """While the plugins are asked there is no sender yet."""
        seen: list[Any] = []
        self.connect({"mail": lambda transaction: seen.append(transaction.sender)}).say("MAIL FROM:<a@b>")
        self.assertEqual([None], seen)

    def test_null(self) -> None:
        client = self.connect()
        self.assertEqual("250 2.1.0", self.said(client, "MAIL FROM:<>"))
        self.assertEqual("503 5.5.1", self.said(client, "MAIL FROM:<>"))

    def test_parameters(self) -> None:
        """Parameters are those that were offered, and make sense."""
        rows = (
            ("SIZE=100", "250 2.1.0"),
            ("SIZE=101", "552 5.3.4"),
            ("SIZE", "501 5.5.4"),
            ("SIZE=-1", "501 5.5.4"),
            ("SIZE=" + "9" * 21, "501 5.5.4"),
            ("SIZE=1 SIZE=2", "501 5.5.4"),
            ("BODY=7BIT", "250 2.1.0"),
            ("BODY", "501 5.5.4"),
            ("BODY=binaryMIME", "250 2.1.0"),
            ("BODY=9BITMIME", "501 5.5.4"),
            ("SMTPUTF8", "250 2.1.0"),
            ("SMTPUTF8=1", "501 5.5.4"),
            ("AUTH=<>", "250 2.1.0"),
            ("AUTH", "501 5.5.4"),
            ("AUTH=<a@b", "501 5.5.4"),
            ("ENVID=x", "555 5.5.4"),
        )
        for parameters, expected in rows:
            client = self.connect(databytes="100")
            self.assertEqual(expected, self.said(client, f"MAIL FROM:<a@b> {parameters}"), parameters)

    def test_helo(self) -> None:
        """Parameters need EHLO."""
        self.assertEqual("555 5.5.4", self.said(self.connect(hello="HELO x"), "MAIL FROM:<a@b> SIZE=1"))

    def test_handled(self) -> None:
        """A parameter that a plugin takes out is known."""
        hooks = {"mail_pre": lambda parameters: parameters.pop("XVERP", None) and None}
        self.assertEqual("250 2.1.0", self.said(self.connect(hooks), "MAIL FROM:<a@b> XVERP=1"))

    def test_replaced(self) -> None:
        """The parse hook may replace the argument, the one behind it the path."""
        seen: list[str] = []
        hooks = {
            "mail_parse": lambda argument: OK(argument.replace("of", "FROM:")),
            "mail_pre": lambda path: OK(f"<{path}>"),
            "mail": lambda sender: seen.append(sender.mailbox),
        }
        self.assertEqual("250 2.1.0", self.said(self.connect(hooks), "MAIL of a@b"))
        self.assertEqual(["a@b"], seen)

    def test_notes(self) -> None:
        """Notes that plugins make while MAIL is parsed are those of its transaction; older ones are gone."""
        seen: list[Any] = []
        hooks = {
            "connect": lambda transaction: transaction.notes.update(old=1),
            "mail_parse": lambda transaction: transaction.notes.update(parse=1),
            "mail_pre": lambda transaction: transaction.notes.update(pre=1),
            "mail": lambda transaction: seen.append(dict(transaction.notes)),
        }
        self.connect(hooks).say("MAIL FROM:<a@b>")
        self.assertEqual([{"parse": 1, "pre": 1}], seen)

    def test_refused(self) -> None:
        """A refused sender is none, and nothing of its parameters is left."""
        client = self.connect({"mail": lambda: DENY})
        client.say("MAIL FROM:<a@b> SMTPUTF8")
        self.assertEqual((None, False), self.facts(client))
        self.assertEqual("503 5.5.1", self.said(client, "RCPT TO:<a@b>"))

    def facts(self, client: Any) -> tuple[Any, bool]:
        transaction = client.protocol.session.transaction
        return transaction.sender, transaction.smtputf8


class RcptTests(Case):
    def begin(self, hooks: dict[str, Any] | None = None, mail: str = "MAIL FROM:<a@b>", **config: str) -> Any:
        client = self.connect(hooks, **config)
        client.say(mail)
        return client

    def recipients(self, client: Any) -> list[str]:
        return [
            str(recipient.address.mailbox) for recipient in client.protocol.session.transaction.recipients
        ]

    def test_accepted(self) -> None:
        """Accepted ones are kept in order, also twice; others are not."""
        client = self.begin({"rcpt": lambda recipient: OK if recipient.address.domain == "ok" else DENY})
        client.say("RCPT TO:<a@ok>", "RCPT TO:<b@no>", "RCPT TO:<c@ok>", "RCPT TO:<a@ok>")
        self.assertEqual(["a@ok", "c@ok", "a@ok"], self.recipients(client))

    def test_nobody_decides(self) -> None:
        """Nobody relays by default."""
        self.assertEqual("450 4.7.1", self.said(self.begin({"rcpt": lambda: None}), "RCPT TO:<a@b>"))

    def test_limit(self) -> None:
        client = self.begin(max_recipients="2")
        codes = [self.said(client, "RCPT TO:<a@b>") for _ in range(3)]
        self.assertEqual(["250 2.1.5", "250 2.1.5", "452 4.5.3"], codes)

    def test_syntax(self) -> None:
        rows = (
            ("RCPT", "501"),
            ("RCPT TO:", "501"),
            ("RCPT TO:<>", "501"),
            ("RCPT TO:a@b", "501"),
            ("RCPT FROM:<a@b>", "501"),
            ("RCPT TO:<a@b> <c@d>", "501"),
            ("RCPT TO:<a b@c>", "501"),
            ("RCPT TO:<postmaster>", "250"),
            ("RCPT TO:<@x,@y:a@b>", "250"),
            ('RCPT TO:<"a b"@c>', "250"),
            ("RCPT TO:<a@b> NOTIFY=NEVER", "555"),
        )
        client = self.begin()
        for line, code in rows:
            self.assertEqual(code, self.said(client, line)[:3], line)

    def test_internationalized(self) -> None:
        """An address that is not ASCII needs the parameter of MAIL (RFC 6531)."""
        for mail, code in (("MAIL FROM:<a@b>", "553"), ("MAIL FROM:<a@b> SMTPUTF8", "250")):
            self.assertEqual(code, self.said(self.begin(mail=mail), "RCPT TO:<\u00fc@b>")[:3])

    def test_config(self) -> None:
        """A recipient knows its own settings, or else everybody's."""
        seen: list[Any] = []

        async def rcpt(recipient: Any) -> Any:
            seen.append(tuple(await recipient.config("threshold")))
            return OK

        def user_config(address: Any, name: str) -> Any:
            return ["9"] if address.local == "a" else None

        client = self.begin({"rcpt": rcpt, "user_config": user_config}, threshold="5")
        client.say("RCPT TO:<a@b>", "RCPT TO:<c@d>")
        self.assertEqual([("9",), ("5",)], seen)
