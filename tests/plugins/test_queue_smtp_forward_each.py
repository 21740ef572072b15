"""queue/smtp-forward where each recipient has an answer: from the client's side, and from the next hop's."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock

from qpsmtpd import OK, Reply
from qpsmtpd.kit.smtpplace import shown
from qpsmtpd.testing import Tried

from .forwarding import LINE, ForwardCase

LMTP_LINE = LINE.replace("tls none", "lmtp tls none")
RECIPIENTS = ("<b@example.org>", "<c@example.org>", "<d@example.org>")
OPEN = (
    "S: 220 hop\nC: EHLO me\nS: 250-hop\nS: 250 PIPELINING\nC: MAIL FROM:<a@example.com>\n"
    "C: RCPT TO:<b@example.org>\nC: RCPT TO:<c@example.org>\nC: RCPT TO:<d@example.org>\nC: DATA\n"
)
CONTENT = "C: Subject: x\nC: \nC: ..hi\nC: .\n"


class EachCase(ForwardCase):
    def forward_each(self, script: str) -> list[str]:
        """Have a message queued for three, while this is said; give what each is answered."""
        self.tried.message("Subject: x\n\n.hi\n", recipients=RECIPIENTS)
        self.tried.transaction.each = True
        answer = self.ask()
        self.hop.play_last(self, script)
        self.assertIs(OK, self.successResultOf(answer))
        verdicts = self.tried.transaction.verdicts
        assert verdicts is not None
        accepted = self.tried.transaction.accepted
        return [verdicts.replies[one].octets.decode().rstrip() for one in accepted]


class SMTPTests(EachCase):
    """A next hop that speaks SMTP."""

    def test_one_refused(self) -> None:
        """A recipient that it refuses keeps the message from nobody else."""
        said = "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 who?\nS: 250 ok\nS: 354 go\n"
        replies = self.forward_each(f"{OPEN}{said}{CONTENT}S: 250 2.0.0 Ok: queued as 7\n")
        self.assertEqual(
            ["250 2.0.0 Queued! as 7", "552 5.1.1 who?", "250 2.0.0 Queued! as 7"],
            replies,
        )
        self.assertEqual(
            ["pass, queued as 7 by hop.example:25", "fail, hop.example:25: 550 who?"], self.tried.log
        )

    def test_message_refused(self) -> None:
        """What it says to the message is for those whom it has accepted."""
        said = "S: 250 ok\nS: 450 4.2.0 later\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        replies = self.forward_each(f"{OPEN}{said}{CONTENT}S: 554 5.7.1 spam\n")
        self.assertEqual(["452 4.2.0 later", "552 5.7.1 spam", "552 5.7.1 spam"], replies)

    def test_all_refused(self) -> None:
        """Nobody gets a message that has no recipient left."""
        said = "S: 250 ok\nS: 550 a\nS: 550 b\nS: 550 c\nS: 503 no\n"
        self.assertEqual(["552 5.3.0 a", "552 5.3.0 b", "552 5.3.0 c"], self.forward_each(OPEN + said))

    def test_long_replies(self) -> None:
        """However much the next hop says, ten lines of it or so are given."""
        long = "".join(f"S: 550-{number}\n" for number in range(100)) + "S: 550 end\n"
        said = f"S: 250 ok\n{long}S: 250 ok\nS: 250 ok\nS: 354 go\n"
        replies = self.forward_each(f"{OPEN}{said}{CONTENT}S: 250 7\n")
        self.assertLess(replies[0].count("\n"), 12)


class LMTPTests(EachCase):
    """A next hop that speaks LMTP."""

    def setUp(self) -> None:
        self.load(LMTP_LINE)

    def test_replies(self) -> None:
        """It says something for each recipient, and each hears that."""
        said = "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 550 5.1.1 who?\nS: 354 go\n"
        end = "S: 250 2.0.0 <b> 7 Saved\nS: 452 4.2.2 <c> quota\n"
        replies = self.forward_each(OPEN.replace("EHLO", "LHLO") + said + CONTENT + end)
        self.assertEqual(["250 2.0.0 Queued! <b> 7 Saved", "452 4.2.2 <c> quota", "552 5.1.1 who?"], replies)

    def one_more(self, recipients: int, *, each: bool) -> Any:
        self.tried.message("x", recipients=RECIPIENTS[:recipients])
        self.tried.transaction.each = each
        return self.tried.ask("rcpt", recipient="e@example.org")

    def test_one_at_a_time(self) -> None:
        """A client that hears one reply for all names one recipient, lest that be wrong for another."""
        answer = self.one_more(1, each=False)
        assert isinstance(answer, Reply)
        self.assertEqual((452, "4.5.3"), (answer.code, answer.status))
        for recipients, each in ((0, False), (2, True)):
            self.assertNotIsInstance(self.one_more(recipients, each=each), Reply)
        self.load()
        self.assertNotIsInstance(self.one_more(1, each=False), Reply)

    def test_socket(self) -> None:
        """It may listen at a UNIX socket, whose path is its name in the log."""
        self.tried = Tried("queue/smtp-forward /run/dovecot/lmtp lmtp", reactor=MemoryReactorClock())
        self.tried.message("x", recipients=RECIPIENTS[:1])
        self.ask()
        reactor: Any = self.tried.clock
        self.assertEqual("/run/dovecot/lmtp", reactor.unixClients[0][0])
        self.assertEqual("/run/dovecot/lmtp", shown("/run/dovecot/lmtp", 24))
