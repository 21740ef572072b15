"""One reply for many: it names who was refused, and never makes a temporary refusal permanent."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp.address import Address
from qpsmtpd.smtp.refusal import MAX_LINES, MAX_TEXT, one_refusal
from qpsmtpd.smtp.reply import Reply

TAKEN = Reply(250, "ok", "2.0.0")
FULL = Reply(552, "mailbox\nfull", "5.2.2")
LATER = Reply(450, "greylisted", "4.7.1")

# replies to a, b and c; code, status and lines of the one reply
ROWS: list[tuple[list[Reply], int, str, list[str]]] = [
    ([FULL, FULL, FULL], 552, "5.2.2", ["mailbox", "full"]),
    ([TAKEN, FULL, TAKEN], 552, "5.2.2", ["<b@x>: 552 5.2.2 mailbox full"]),
    ([FULL, TAKEN, LATER], 450, "4.7.1", ["<a@x>: 552 5.2.2 mailbox full", "<c@x>: 450 4.7.1 greylisted"]),
    ([Reply(550), TAKEN, TAKEN], 550, "", ["<a@x>: 550"]),
]


class OneRefusalTests(SynchronousTestCase):
    def test_replies(self) -> None:
        recipients = [Address.parse(f"<{name}@x>") for name in "abc"]
        for replies, code, status, lines in ROWS:
            reply = one_refusal(recipients, replies)
            self.assertEqual((code, status, tuple(lines)), (reply.code, reply.status, reply.lines))

    def test_nothing_refused(self) -> None:
        self.assertRaises(ValueError, one_refusal, [Address.parse("<a@x>")], [TAKEN])

    def test_what_follows(self) -> None:
        """A reply that only follows from others is no refusal."""
        addresses = [Address.parse(f"<{name}@x>") for name in "ab"]
        reply = one_refusal(addresses, [LATER, FULL], follows=LATER)
        self.assertEqual(("<b@x>: 552 5.2.2 mailbox full",), reply.lines)
        self.assertRaises(ValueError, one_refusal, addresses, [LATER, TAKEN], follows=LATER)

    def test_bounds(self) -> None:
        """However many are refused, and whatever is said to them, the reply is short."""
        addresses = [Address.parse(f"<a{number}@x>") for number in range(1000)]
        replies = [Reply(550, "x" * 2000) for _ in addresses]
        reply = one_refusal(addresses, replies)
        self.assertEqual("and 990 more recipients", reply.lines[-1])
        self.assertLess(len(reply.octets), (MAX_LINES + 1) * (MAX_TEXT + 100))
        whole = Reply(550, "\n".join("x" * 100))
        self.assertEqual(MAX_LINES, len(one_refusal(addresses[:2], [whole, whole]).lines))
