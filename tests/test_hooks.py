"""The table of hooks."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK
from qpsmtpd.hooks import HOOKS, METHODS, Kind
from qpsmtpd.testing import Server

DOCUMENT = Path(__file__).parents[1] / "docs" / "hooks.md"

UPSTREAM = """
logging config user_config pre-connection connect ehlo_parse ehlo helo_parse helo auth_parse auth
auth-plain auth-login auth-cram-md5 rcpt_parse rcpt_pre rcpt mail_parse mail mail_pre data
data_headers_end data_post_headers data_post queue_pre queue queue_post vrfy noop quit
reset_transaction disconnect post-connection unrecognized_command deny ok received_line help
"""

OURS = "auth-oauthbearer auth-xoauth2 credentials"


class HookTests(SynchronousTestCase):
    def test_names(self) -> None:
        """All hooks of upstream's are there but post-fork, which upstream never called; and some of ours."""
        self.assertEqual(set(UPSTREAM.split()) | set(OURS.split()), set(HOOKS))

    def test_methods(self) -> None:
        """A hook is implemented by the method of its name, dashes being underscores."""
        self.assertEqual("hook_auth_cram_md5", HOOKS["auth-cram-md5"].method)
        self.assertIs(HOOKS["post-connection"], METHODS["hook_post_connection"])
        self.assertEqual(len(HOOKS), len(METHODS))

    def test_session(self) -> None:
        """Hooks of a session offer connection and transaction first."""
        for hook in HOOKS.values():
            if hook.name not in ("logging", "config", "user_config"):
                self.assertEqual(("connection", "transaction"), hook.arguments[:2], hook.name)

    def test_arguments(self) -> None:
        """An argument is a name, given once."""
        for hook in HOOKS.values():
            self.assertTrue(all(name.isidentifier() for name in hook.arguments))
            self.assertEqual(len(hook.arguments), len(set(hook.arguments)))

    def test_told(self) -> None:
        told = {hook.name for hook in HOOKS.values() if hook.kind is Kind.TOLD}
        expected = {"queue_post", "reset_transaction", "disconnect", "post-connection", "deny", "ok"}
        self.assertEqual(expected, told)


class OrderTests(SynchronousTestCase):
    def test_documented(self) -> None:
        """A session that delivers a message calls the hooks in the order of docs/hooks.md."""
        called: list[str] = []

        def answer(name: str) -> Any:
            called.append(name)
            return OK if name in ("rcpt", "queue") else None

        asked = set(HOOKS) - {"ok", "deny", "logging", "config", "user_config"}
        client = Server(hooks={name: lambda name=name: answer(name) for name in asked}).connect()
        client.mail()
        client.say("QUIT")
        self.assertEqual(DOCUMENT.read_text().split("```")[-2].split(), called)
