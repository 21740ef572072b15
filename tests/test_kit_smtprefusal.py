"""Many refusals become one reply, that names who was refused and never makes a temporary one permanent."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.smtpout import Delivery
from qpsmtpd.kit.smtprefusal import one_refusal
from qpsmtpd.kit.smtptransaction import NOT_SENT
from qpsmtpd.smtp.address import Address
from qpsmtpd.smtp.reply import Reply

TAKEN = Reply(250, "ok", "2.1.5")
UNKNOWN = Reply(550, "no such user\nnor ever was", "5.1.1")
FULL = Reply(552, "mailbox full", "5.2.2")
LATER = Reply(450, "greylisted", "4.7.1")
BARE = Reply(550)
SPAM = Reply(554, "spam\nreally", "5.7.1")

# replies to a, b and c; code, status and lines of the one reply
ROWS: list[tuple[list[Reply], int, str, list[str]]] = [
    ([SPAM, SPAM, SPAM], 554, "5.7.1", ["spam", "really"]),
    ([UNKNOWN, NOT_SENT, NOT_SENT], 550, "5.1.1", ["<a@x>: 550 5.1.1 no such user nor ever was"]),
    (
        [NOT_SENT, UNKNOWN, FULL],
        550,
        "5.1.1",
        ["<b@x>: 550 5.1.1 no such user nor ever was", "<c@x>: 552 5.2.2 mailbox full"],
    ),
    (
        [FULL, NOT_SENT, LATER],
        450,
        "4.7.1",
        ["<a@x>: 552 5.2.2 mailbox full", "<c@x>: 450 4.7.1 greylisted"],
    ),
    ([BARE, NOT_SENT, NOT_SENT], 550, "", ["<a@x>: 550"]),
    ([TAKEN, TAKEN, LATER], 450, "4.7.1", ["<c@x>: 450 4.7.1 greylisted"]),
    # The same words to each are still the words to each.
    ([Reply(550, "no"), Reply(550, "no"), NOT_SENT], 550, "", ["<a@x>: 550 no", "<b@x>: 550 no"]),
]


class RefusalTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """The first temporary refusal decides, else the first; what nobody refused is not named."""
        recipients = [Address(name, "x") for name in "abc"]
        for replies, code, status, lines in ROWS:
            with self.subTest(replies=replies):
                reply = one_refusal(recipients, Delivery(tuple(replies)))
                self.assertEqual((code, status, lines), (reply.code, reply.status, list(reply.lines)))

    def test_many_recipients(self) -> None:
        """Ten recipients are named, and the others counted."""
        recipients = [Address(str(number), "x") for number in range(99)]
        reply = one_refusal(recipients, Delivery((*[Reply(550, "no") for _ in range(98)], LATER)))
        self.assertEqual((450, 11), (reply.code, len(reply.lines)))
        self.assertEqual("and 89 more recipients", reply.lines[-1])

    def test_long_replies(self) -> None:
        """However much the next hop says, the client gets a little of it."""
        long = Reply(550, "\n".join(["word " * 90] * 100))
        whole = one_refusal([Address("a", "x")], Delivery((long,)))
        self.assertEqual((10, long.lines[:10]), (len(whole.lines), whole.lines))
        listed = one_refusal([Address("a", "x"), Address("b", "x")], Delivery((long, NOT_SENT)))
        self.assertTrue(400 < len(listed.text) < 450, listed)

    def test_nothing_refused(self) -> None:
        """To ask about a message that was taken is a mistake."""
        self.assertRaises(ValueError, one_refusal, [Address("a", "x")], Delivery((TAKEN,)))
