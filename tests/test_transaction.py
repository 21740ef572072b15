"""Facts about one message."""

from pathlib import Path

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.body import Body
from qpsmtpd.smtp.address import NULL_PATH, Address
from qpsmtpd.transaction import Recipient, Transaction
from qpsmtpd.waiting import start


class RecipientTests(SynchronousTestCase):
    def test_own_notes(self) -> None:
        """Recipients share nothing, even if their addresses are equal."""
        address = Address.parse("<a@b>")
        first, second = Recipient(address), Recipient(address)
        first.notes["x"] = 1
        first.parameters["Y"] = None
        self.assertEqual(({}, {}), (second.notes, second.parameters))

    def test_config(self) -> None:
        """Its configuration is asked for by address and name."""
        recipient = Recipient(
            Address.parse("<a@b>"), lookup=lambda address, name: succeed((address.mailbox, name))
        )
        self.assertEqual(("a@b", "spam"), start(recipient.config("spam")))

    def test_no_config(self) -> None:
        self.assertEqual((), start(Recipient(Address.parse("<a@b>")).config("spam")))

    def test_shown(self) -> None:
        self.assertEqual("Recipient(<a@b>)", repr(Recipient(Address.parse("<a@b>"))))


class TransactionTests(SynchronousTestCase):
    def test_empty(self) -> None:
        """A transaction that has not begun has no sender, but a reverse path to speak of."""
        transaction = Transaction()
        self.assertIsNone(transaction.sender)
        self.assertEqual(NULL_PATH, transaction.reverse_path)
        self.assertEqual((0, [], {}), (transaction.size, transaction.recipients, transaction.notes))

    def test_null_sender(self) -> None:
        """The null sender is a sender."""
        transaction = Transaction()
        transaction.sender = NULL_PATH
        self.assertIsNotNone(transaction.sender)

    def test_smtputf8(self) -> None:
        transaction = Transaction()
        self.assertFalse(transaction.smtputf8)
        transaction.parameters["SMTPUTF8"] = None
        self.assertTrue(transaction.smtputf8)

    def test_remove_recipient(self) -> None:
        """Every recipient with the address goes, the others stay in order."""
        transaction = Transaction()
        transaction.recipients = [
            Recipient(Address.parse(path)) for path in ("<a@b>", "<c@d>", "<a@b>", "<e@f>")
        ]
        transaction.remove_recipient(Address.parse("<a@b>"))
        self.assertEqual(["<c@d>", "<e@f>"], [recipient.address.path for recipient in transaction.recipients])

    def test_close(self) -> None:
        """To close it, once or twice, removes what the message left on disk."""
        spool = Path(self.mktemp())
        spool.mkdir(parents=True)
        transaction = Transaction()
        transaction.body = Body(spool, 0)
        transaction.body.write(b"x")
        self.assertEqual(1, len(list(spool.iterdir())))
        transaction.close()
        transaction.close()
        self.assertEqual([], list(spool.iterdir()))
