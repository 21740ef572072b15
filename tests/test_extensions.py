"""What is offered beyond the engine's own extensions, and what a client may ask for therefore."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK
from qpsmtpd.connection import TLSInfo
from qpsmtpd.smtp.parameters import PROMISES
from qpsmtpd.testing import Server
from qpsmtpd.testing.server import START, make_services

from .keeper import Keeper

ALL = " ".join(PROMISES[1:])
WEEK = 604800

# parameters of MAIL after EHLO, reply; the time is 2027-01-15T08:00:00Z
MAIL = [
    ("RET=FULL ENVID=a+2Bb", "250 2.1.0"),
    ("RET=ALL", "501 5.5.4"),
    ("ENVID=a=b", "501 5.5.4"),
    ("RET=FULL RET=FULL", "501 5.5.4"),
    ("NOTIFY=NEVER", "555 5.5.4"),
    ("REQUIRETLS", "250 2.1.0"),
    ("REQUIRETLS=1", "501 5.5.4"),
    ("MT-PRIORITY=-3", "250 2.1.0"),
    ("MT-PRIORITY=10", "501 5.5.4"),
    ("BY=120;R", "250 2.1.0"),
    ("BY=0;R", "501 5.5.4"),
    (f"HOLDFOR={WEEK}", "250 2.1.0"),
    (f"HOLDFOR={WEEK + 1}", "501 5.5.4"),
    ("HOLDUNTIL=2027-01-22T08:00:00Z", "250 2.1.0"),
    ("HOLDUNTIL=2027-01-22T08:00:01Z", "501 5.5.4"),
    ("HOLDUNTIL=2000-01-01T00:00:00Z", "250 2.1.0"),
    ("HOLDFOR=1 HOLDUNTIL=2027-01-16T00:00:00Z", "501 5.5.4"),
    ("AUTH=e+3Dmc2@example.com", "250 2.1.0"),
    ("AUTH=a=b", "501 5.5.4"),
    ("X=1", "555 5.5.4"),
]
# parameters of RCPT without and with SMTPUTF8, reply
RCPT = [
    ("", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@x", "250 2.1.5"),
    ("", "NOTIFY=NEVER,DELAY", "501 5.5.4"),
    ("", "ORCPT=Bob@x", "501 5.5.4"),
    ("", "RET=FULL", "555 5.5.4"),
    ("", "ORCPT=utf-8;\u00e9@x", "501 5.5.4"),
    ("", "ORCPT=utf-8;\\x{E9}@x", "250 2.1.5"),
    (" SMTPUTF8", "ORCPT=utf-8;\u00e9@x", "250 2.1.5"),
    (" SMTPUTF8", "ORCPT=rfc822;\u00e9@x", "501 5.5.4"),
]


def queue(honours: str = " ".join(PROMISES), **settings: Any) -> Keeper:
    keeper = Keeper(make_services(), "queue", **settings)
    keeper.honours = frozenset(honours.split())
    return keeper


class Case(SynchronousTestCase):
    def connect(self, *queues: Keeper, tls: bool = True, **config: str) -> Any:
        given = {"reverse_dns": "0", "extensions": ALL, **config}
        client = Server(queues or [queue()], hooks={"rcpt": lambda: OK}, config=given).connect()
        client.read()
        if tls:
            client.connection.tls = TLSInfo("TLSv1.3", "AES", 256)
        return client

    def offered(self, *queues: Keeper, **options: Any) -> list[str]:
        lines = self.connect(*queues, **options).say("EHLO x").splitlines()
        return [line[4:] for line in lines if line[4:].split()[0] in PROMISES]

    def said(self, client: Any, *lines: str) -> str:
        last: str = client.say(*lines).splitlines()[-1]
        return last[:9]


class OfferTests(Case):
    def test_all(self) -> None:
        """What is configured and honoured is offered; DSN needs no configuration."""
        hold = f"FUTURERELEASE {WEEK} 2027-01-22T08:00:00Z"
        self.assertEqual(START, 1_800_000_000.0)
        self.assertEqual(["DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", hold], self.offered())
        self.assertEqual(["DSN"], self.offered(extensions=""))
        self.assertEqual(["DSN", "DELIVERBY"], self.offered(extensions="deliverby"))

    def test_honoured(self) -> None:
        """Nothing is offered that one of the plugins that may queue a message does not honour."""
        self.assertEqual([], self.offered(queue("")))
        self.assertEqual(
            ["MT-PRIORITY"], self.offered(queue("DSN MT-PRIORITY"), queue("DELIVERBY MT-PRIORITY"))
        )
        self.assertEqual([], self.offered(queue(), queue("")))
        self.assertEqual(["DSN"], self.offered(queue("DSN"), queue("", shadow=True)))

    def test_nobody_queues(self) -> None:
        client = Server(hooks={"rcpt": lambda: OK}, config={"extensions": ALL}).connect()
        self.assertNotIn("DSN", client.say("EHLO x"))

    def test_tls(self) -> None:
        """REQUIRETLS is offered over TLS only (RFC 8689 section 2)."""
        self.assertEqual([], self.offered(queue("REQUIRETLS"), tls=False))
        self.assertEqual(
            "555 5.5.4", self.said(self.connect(tls=False), "EHLO x", "MAIL FROM:<a@b> REQUIRETLS")
        )

    def test_longest_hold(self) -> None:
        """An interval has at most nine digits."""
        self.assertEqual(
            ["FUTURERELEASE 999999999 2058-09-23T09:46:39Z"],
            self.offered(queue("FUTURERELEASE"), max_hold="99999999999999"),
        )

    def test_kept(self) -> None:
        """What was offered is taken, though the plugin has learned something else since."""
        keeper = queue("DSN")
        client = self.connect(keeper)
        client.say("EHLO x")
        keeper.honours = frozenset({"MT-PRIORITY"})
        self.assertEqual("555 5.5.4", self.said(client, "MAIL FROM:<a@b> MT-PRIORITY=1"))
        self.assertEqual("250 2.1.0", self.said(client, "MAIL FROM:<a@b> RET=FULL"))
        self.assertEqual("250 2.1.0", self.said(client, "EHLO x", "MAIL FROM:<a@b> MT-PRIORITY=1"))

    def test_limits(self) -> None:
        """The limits are announced as far as they can be (RFC 9422 section 3)."""
        rows = (
            ({}, "LIMITS RCPTMAX=1000"),
            ({"max_recipients": "5", "max_messages": "3"}, "LIMITS MAILMAX=3 RCPTMAX=5"),
            ({"max_recipients": "1000000", "max_messages": "999999"}, "LIMITS MAILMAX=999999"),
        )
        for config, expected in rows:
            self.assertIn(f"250-{expected}\r\n", self.connect(**config).say("EHLO x"))
        self.assertNotIn("LIMITS", self.connect(max_recipients="1000000").say("EHLO x"))


class ParameterTests(Case):
    def test_mail(self) -> None:
        for parameters, expected in MAIL:
            client = self.connect()
            self.assertEqual(
                expected, self.said(client, "EHLO x", f"MAIL FROM:<a@b> {parameters}"), parameters
            )

    def test_rcpt(self) -> None:
        for smtputf8, parameters, expected in RCPT:
            client = self.connect()
            client.say("EHLO x", f"MAIL FROM:<a@b>{smtputf8}")
            self.assertEqual(expected, self.said(client, f"RCPT TO:<c@d> {parameters}"), parameters)

    def test_not_offered(self) -> None:
        """What was not offered is not known, good value or bad."""
        client = self.connect(queue(""))
        client.say("EHLO x")
        for words in ("RET=FULL", "RET=x", "REQUIRETLS", "MT-PRIORITY=1", "BY=1;R", "HOLDFOR=1"):
            self.assertEqual("555 5.5.4", self.said(client, f"MAIL FROM:<a@b> {words}"), words)
        client.say("MAIL FROM:<a@b>")
        for words in ("NOTIFY=NEVER", "ORCPT=rfc822;a@b"):
            self.assertEqual("555 5.5.4", self.said(client, f"RCPT TO:<a@b> {words}"), words)

    def test_helo(self) -> None:
        """Who says HELO was offered nothing, whatever EHLO was told before."""
        client = self.connect()
        client.say("EHLO x", "HELO x", "MAIL FROM:<a@b>")
        self.assertEqual("555 5.5.4", self.said(client, "RCPT TO:<c@d> NOTIFY=NEVER"))

    def test_reach_the_queue(self) -> None:
        """The queue plugin is given the parameters as they were written, each with its command."""
        keeper = queue()
        client = self.connect(keeper)
        client.say(
            "EHLO x", "MAIL FROM:<a@b> ret=hdrs ENVID=a+2Bb", "RCPT TO:<c@d> NOTIFY=delay", "RCPT TO:<e@f>"
        )
        client.say("DATA", "x", ".")
        self.assertEqual([({"RET": "hdrs", "ENVID": "a+2Bb"}, [{"NOTIFY": "delay"}, {}])], keeper.asked)


class MessageLimitTests(Case):
    def test_messages(self) -> None:
        """Every MAIL counts, refused ones too; past the limit the session ends (RFC 9422 section 4.1)."""
        client = self.connect(max_messages="3")
        client.say("EHLO x", "MAIL FROM:<a@b>", "MAIL FROM:<a@b>", "RSET")
        self.assertEqual("250 2.1.0", self.said(client, "MAIL FROM:<a@b>"))
        self.assertEqual("421 4.7.0", self.said(client, "MAIL FROM:<a@b>"))
        self.assertTrue(client.closed)

    def test_unlimited(self) -> None:
        client = self.connect()
        client.say("EHLO x")
        replies = [self.said(client, "MAIL FROM:<a@b>", "RSET") for _ in range(50)]
        self.assertEqual({"250 2.0.0"}, set(replies))
