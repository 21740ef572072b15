"""MAIL and RCPT are written for what the next hop can do, and never say more than they were given."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.smtpcontent import EIGHT_BIT
from qpsmtpd.kit.smtpenvelope import (
    BAD_ADDRESS,
    BAD_PARAMETER,
    NO_UTF8_ADDRESS,
    NO_UTF8_HEADER,
    TOO_BIG,
    Delivery,
    Envelope,
    commands,
)
from qpsmtpd.kit.smtpreply import SMTPOutError
from qpsmtpd.smtp.address import NULL_PATH, Address
from qpsmtpd.smtp.reply import Reply

ALICE = Address("alice", "a.example")
BOB = Address("bob", "b.example")
ZOE = Address("zoë", "b.example")
ALL = {"SIZE": "1000", "8BITMIME": "", "SMTPUTF8": ""}

# envelope (sender, recipients, the rest), extensions, MAIL, RCPT
WRITTEN = [
    ((NULL_PATH, {}), {}, "MAIL FROM:<>", "RCPT TO:<bob@b.example>"),
    ((Address("a b", "a.example"), {}), {}, 'MAIL FROM:<"a b"@a.example>', "RCPT TO:<bob@b.example>"),
    ((ALICE, {"size": 10}), {}, "MAIL FROM:<alice@a.example>", "RCPT TO:<bob@b.example>"),
    ((ALICE, {"size": 10}), {"SIZE": ""}, "MAIL FROM:<alice@a.example> SIZE=10", "RCPT TO:<bob@b.example>"),
    (
        (
            ALICE,
            {
                "size": 10,
                "is_8bit": True,
                "smtputf8": True,
                "parameters": {"RET": "HDRS", "REQUIRETLS": None},
            },
        ),
        ALL,
        "MAIL FROM:<alice@a.example> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS REQUIRETLS",
        "RCPT TO:<bob@b.example>",
    ),
    (
        (ALICE, {"recipients": [(ZOE, {"NOTIFY": "NEVER", "ORCPT": "rfc822;a+2Bb"})]}),
        ALL,
        "MAIL FROM:<alice@a.example> SMTPUTF8",
        "RCPT TO:<zoë@b.example> NOTIFY=NEVER ORCPT=rfc822;a+2Bb",
    ),
]
# the same without MAIL and RCPT, but with the refusal
REFUSED = [
    ((ALICE, {"size": 1001}), ALL, TOO_BIG),
    ((ALICE, {"is_8bit": True}), {"SMTPUTF8": ""}, EIGHT_BIT),
    ((ALICE, {"smtputf8": True}), {}, NO_UTF8_HEADER),
    ((ZOE, {}), {}, NO_UTF8_ADDRESS),
    ((ALICE, {"recipients": [(BOB, {}), (ZOE, {})]}), {}, NO_UTF8_ADDRESS),
    ((Address("a", "b>\r\nRCPT TO:<c@d"), {}), {}, BAD_ADDRESS),
    ((Address("a", "b.example> SIZE=1"), {}), {}, BAD_ADDRESS),
    ((Address('a\r\nb"', "b.example"), {}), {}, BAD_ADDRESS),
    ((ALICE, {"recipients": [(Address("a", "b c"), {})]}), {}, BAD_ADDRESS),
    ((ALICE, {"parameters": {"RET": "HDRS BODY=7BIT"}}), {}, BAD_PARAMETER),
    ((ALICE, {"parameters": {"RET": "a\r\nDATA"}}), {}, BAD_PARAMETER),
    ((ALICE, {"parameters": {"A B": None}}), {}, BAD_PARAMETER),
    ((ALICE, {"recipients": [(BOB, {"ORCPT": "a=b"})]}), {}, BAD_PARAMETER),
]


def envelope(sender, rest) -> Envelope:
    return Envelope(**{"sender": sender, "recipients": [(BOB, {})], **rest})


class CommandsTests(SynchronousTestCase):
    def test_written(self) -> None:
        """Only what the next hop offers is added, in one order."""
        for (sender, rest), extensions, mail, rcpt in WRITTEN:
            with self.subTest(mail=mail):
                lines = [f"{mail}\r\n".encode(), f"{rcpt}\r\n".encode()]
                self.assertEqual(lines, commands(envelope(sender, rest), extensions))

    def test_refused(self) -> None:
        """What the next hop cannot take, or would misread, is not sent."""
        for (sender, rest), extensions, reply in REFUSED:
            with self.subTest(sender=sender, rest=rest):
                error = self.assertRaises(SMTPOutError, commands, envelope(sender, rest), extensions)
                self.assertIs(reply, error.reply)

    def test_size_limit(self) -> None:
        """A message may be as large as the limit; 0, nothing or nonsense is none (RFC 1870 section 3)."""
        for limit in ("1000", "0", "", "lots", "-1", "\u00b2"):
            with self.subTest(limit=limit):
                self.assertIn(
                    b" SIZE=1000\r\n", commands(envelope(ALICE, {"size": 1000}), {"SIZE": limit})[0]
                )

    def test_nobody(self) -> None:
        """An envelope without recipients cannot be made, for it would count as delivered."""
        self.assertRaises(ValueError, Envelope, ALICE, [])


class DeliveryTests(SynchronousTestCase):
    def test_accepted(self) -> None:
        """Accepted means by every recipient."""
        yes, no, later = Reply(250, "ok"), Reply(550, "no"), Reply(354, "go")
        self.assertTrue(Delivery((yes, yes)).accepted)
        self.assertFalse(Delivery((yes, no)).accepted)
        self.assertFalse(Delivery((later,)).accepted)
