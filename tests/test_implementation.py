"""One plugin's method for one hook: which arguments it is called with."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.hooks import HOOKS
from qpsmtpd.implementation import adapt
from qpsmtpd.setting import SettingError


class AdapterTests(SynchronousTestCase):
    """Arguments are given by name, in the order that the method wants."""

    def call(self, method: Callable[..., Any]) -> Any:
        return adapt(HOOKS["rcpt"], method)(("connection", "transaction", "recipient", "parameters"))

    def test_all(self) -> None:
        self.assertEqual(
            "recipient", self.call(lambda connection, transaction, recipient, parameters: recipient)
        )

    def test_none(self) -> None:
        self.assertEqual(1, self.call(lambda: 1))

    def test_one(self) -> None:
        self.assertEqual("recipient", self.call(lambda recipient: recipient))

    def test_other_order(self) -> None:
        given = self.call(lambda recipient, connection: (recipient, connection))
        self.assertEqual(("recipient", "connection"), given)

    def test_default(self) -> None:
        """What has a default may be called anything, wherever it stands."""
        given = self.call(lambda connection, extra=3, recipient=None: (connection, extra, recipient))
        self.assertEqual(("connection", 3, "recipient"), given)

    def test_keyword_only(self) -> None:
        def method(*, recipient: str, connection: str) -> tuple[str, str]:
            return recipient, connection

        self.assertEqual(("recipient", "connection"), self.call(method))

    def test_everything(self) -> None:
        given = self.call(lambda recipient, **rest: (recipient, sorted(rest)))
        self.assertEqual(("recipient", ["connection", "parameters", "transaction"]), given)

    def test_unknown(self) -> None:
        """An argument that the hook does not offer is an error that names those on offer."""
        with self.assertRaises(SettingError) as caught:
            adapt(HOOKS["rcpt"], lambda sender: None)
        self.assertEqual(
            "hook_rcpt asks for 'sender'; the hook offers connection, transaction, recipient, parameters",
            str(caught.exception),
        )

    def test_every_hook(self) -> None:
        """Every hook can be implemented with all that it offers."""
        for hook in HOOKS.values():
            names = ", ".join(hook.arguments)
            method = eval(f"lambda {names}: ({names},)")
            self.assertEqual(hook.arguments, adapt(hook, method)(hook.arguments))
