"""Test hourly_limit: the store is in memory, and its time is the clock's."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENYSOFT, Address, Code
from qpsmtpd.testing import Tried


class HourlyLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tried = Tried("hourly_limit 2", config={"plugin_dirs": [str(Path(__file__).parent)]})

    def codes(self, *senders: str) -> list[Code]:
        codes = []
        for sender in senders:
            self.tried.transaction.sender = Address.from_mailbox(sender)
            codes.append(self.tried.ask("data").code)
        return codes

    def test_the_third_is_too_much(self) -> None:
        codes = self.codes("a@example.com", "A@example.com", "b@example.com", "a@example.com")
        self.assertEqual(codes, [DECLINED.code, DECLINED.code, DECLINED.code, DENYSOFT.code])

    def test_an_hour_later_all_is_forgotten(self) -> None:
        self.codes("a@example.com", "a@example.com")
        self.tried.clock.advance(3600)
        self.assertEqual(self.codes("a@example.com"), [DECLINED.code])
