"""Answers for single recipients: which are possible, in which hooks, and what becomes of them."""

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import (
    DECLINED,
    DENY,
    DENY_DISCONNECT,
    DENYSOFT,
    OK,
    Address,
    Connection,
    Plugin,
    Recipient,
    Rejection,
    Transaction,
)
from qpsmtpd.factory import Functions
from qpsmtpd.outcome import Outcome
from qpsmtpd.testing import Client, Server

Hooks = dict[str, Callable[..., Any]]


def refusing(mailbox: str, outcome: Outcome | Rejection, then: Any = None) -> Callable[[Transaction], Any]:
    """Make a hook that answers one recipient, and then something for all."""

    def hook(transaction: Transaction) -> Any:
        for recipient in transaction.recipients:
            if recipient.address.mailbox == mailbox:
                transaction.answer(recipient, outcome)
        return then

    return hook


class Case(SynchronousTestCase):
    """Messages to a@x, b@x and c@x over LMTP, unless a test wants something else."""

    def begin(self, hooks: Hooks, *, lmtp: bool = True, recipients: str = "abc") -> Client:
        self.server = Server(hooks={"rcpt": lambda: OK, **hooks}, lmtp=lmtp)
        client = self.server.connect()
        client.say("LHLO x" if lmtp else "EHLO x", "MAIL FROM:<s@y>")
        client.say(*[f"RCPT TO:<{name}@x>" for name in recipients], "DATA")
        return client

    def replies(self, hooks: Hooks, *, lmtp: bool = True, recipients: str = "abc") -> list[str]:
        """Send a message; give what is said to its end."""
        client = self.begin(hooks, lmtp=lmtp, recipients=recipients)
        return client.say("Subject: x", "", ".").split("\r\n")

    def codes(self, hooks: Hooks, **options: Any) -> list[str]:
        return [line[:3] for line in self.replies(hooks, **options)]

    def failure(self, hooks: Hooks, **options: Any) -> str:
        """Send a message on which a plugin fails; give the reason from the log."""
        self.assertIn("451", self.codes(hooks, **options))
        (line,) = [event.text for event in self.server.log if event.text.startswith("FATAL PLUGIN ERROR")]
        return line.partition(": ")[2]


class AnswerTests(Case):
    """What a plugin may say, and where."""

    def test_text_and_status(self) -> None:
        """What the answer leaves away is filled in as for one to the whole message."""
        replies = self.replies({"data_post": refusing("b@x", DENY("full", "5.2.2")), "queue": lambda: OK})
        self.assertEqual(["250 2.0.0 Queued!", "552 5.2.2 full", "250 2.0.0 Queued!"], replies)
        self.assertEqual(
            ["452 4.3.0 message not queued"] * 2 + ["250 2.0.0 as 7"],
            self.replies({"queue": refusing("c@x", OK("as 7"), DENYSOFT)}),
        )

    def test_mistakes(self) -> None:
        """What no answer can be is the plugin's failure; who has an answer keeps it."""
        stranger = Recipient(Address.parse("<z@x>"))

        def twice(transaction: Transaction) -> None:
            for _ in range(2):
                transaction.answer(transaction.recipients[0], DENY)

        rows: list[tuple[str, Callable[[Transaction], Any], str]] = [
            ("data_post", refusing("a@x", OK), "a recipient is answered OK when the message is stored"),
            ("queue", refusing("a@x", DECLINED), "a recipient is answered DENY, DENYSOFT or OK"),
            ("queue", refusing("a@x", DENY_DISCONNECT), "a recipient is answered DENY, DENYSOFT or OK"),
            ("queue", refusing("a@x", DENY("no", "rubbish")), "'rubbish' is not an enhanced status"),
            ("queue", refusing("a@x", cast(Outcome, 1)), "a recipient is answered with an outcome"),
            ("queue", lambda transaction: transaction.answer(stranger, DENY), "<z@x>) is nobody to whom"),
            ("queue", twice, "Recipient(<a@x>) has been answered already"),
        ]
        for hook, method, expected in rows:
            self.assertIn(expected, self.failure({hook: method}))

    def test_too_early(self) -> None:
        """Before the message is there nobody is answered."""
        server = Server(hooks={"rcpt": lambda: OK, "data": refusing("a@x", DENY)}, lmtp=True)
        client = server.connect()
        client.say("LHLO x", "MAIL FROM:<s@y>", "RCPT TO:<a@x>")
        self.assertTrue(client.say("DATA").startswith("451 "))
        self.assertTrue(server.logged("Recipient(<a@x>) is nobody to whom the client wants an answer now"))

    def test_failure_afterwards(self) -> None:
        """A plugin that fails having answered for one has failed for the others only."""

        def stored_and_broken(transaction: Transaction) -> None:
            transaction.answer(transaction.recipients[1], OK)
            raise RuntimeError("oops")

        self.assertEqual(["451", "250", "451"], self.codes({"queue": stored_and_broken}))

    def test_other_hooks(self) -> None:
        """Told hooks, and those in between, answer nobody."""
        mark = refusing("a@x", DENY)
        for hook in ("queue_post", "ok", "received_line"):
            hooks: Hooks = {"queue": lambda: OK, hook: lambda transaction: transaction and mark(transaction)}
            self.assertEqual(["250"] * 3, self.codes(hooks))
            self.assertTrue(self.server.logged("FATAL PLUGIN ERROR"), hook)

    def test_waiting(self) -> None:
        """A coroutine and a Deferred may answer when they have waited."""
        waiting: list[Deferred[None]] = []

        async def asked(transaction: Transaction) -> Outcome:
            waiting.append(Deferred())
            await waiting[0]
            transaction.answer(transaction.recipients[0], DENY)
            return DECLINED

        def promised(transaction: Transaction) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[1].addCallback(lambda _: transaction.answer(transaction.recipients[0], DENYSOFT))

        client = self.begin({"data_post": asked, "queue_pre": promised, "queue": lambda: OK})
        self.assertEqual("", client.say("Subject: x", "", "."))
        waiting[0].callback(None)
        waiting[1].callback(None)
        self.assertEqual(["552", "452", "250"], [line[:3] for line in client.read().splitlines()])

    def test_added_and_removed(self) -> None:
        """Recipients that a plugin adds or removes do not change who is answered."""

        def expand(transaction: Transaction) -> None:
            del transaction.recipients[0]
            transaction.recipients.append(Recipient(Address.parse("<z@x>")))

        seen: list[bool] = []

        def queue(transaction: Transaction) -> Outcome:
            seen.append(transaction.all_or_none)
            return OK

        for hook in ("data", "data_post"):
            self.assertEqual(["250"] * 3, self.codes({hook: expand, "queue": queue}))
        self.assertEqual([True, True], seen)

    def test_dropped_beside_refused(self) -> None:
        """Whom a plugin drops is answered as the message is, though all others are refused."""

        def drop(transaction: Transaction) -> None:
            transaction.recipients = [one for one in transaction.recipients if one.address.local == "b"]

        deny = refusing("b@x", DENY)
        rows: list[Hooks] = [
            {"data_post_headers": drop, "data_post": deny},
            {"data_post_headers": deny, "data_post": drop},
            {"data_post": drop, "queue": deny},
        ]
        for hooks in rows:
            hooks.setdefault("queue", lambda: OK)
            self.assertEqual(["250", "552", "250"], self.codes(hooks))


class OrderTests(Case):
    """Who has an answer is no recipient for those who are asked after."""

    def seen(self, hooks: Hooks, **options: Any) -> list[tuple[str, str]]:
        """Send a message; give the recipients that each hook saw, by their first letter."""
        seen: list[tuple[str, str]] = []

        def look(hook: str) -> Callable[[Transaction], None]:
            return lambda transaction: seen.append(
                (hook, "".join(one.address.local for one in transaction.recipients))
            )

        self.begin(hooks, **options)
        for hook in ("data_post_headers", "data_post", "queue_pre", "queue", "queue_post"):
            self.server.registry.add(Functions(self.server.services, {hook: look(hook)}))
        client = self.server.connect()
        client.say("LHLO x" if self.server.factory._lmtp else "EHLO x", "MAIL FROM:<s@y>")
        client.say("RCPT TO:<a@x>", "RCPT TO:<b@x>", "RCPT TO:<c@x>", "DATA")
        client.say(".")
        return seen

    def test_plugins_after(self) -> None:
        seen = self.seen(
            {
                "data_post_headers": refusing("a@x", DENY),
                "queue_pre": refusing("b@x", DENY),
            }
        )
        expected = ["bc", "bc", "c", "c", "c"]
        self.assertEqual(expected, [recipients for _, recipients in seen])

    def test_queue(self) -> None:
        """The next queue plugin gets those for whom the first has not spoken; queue_post hears of all."""
        seen = self.seen({"queue": refusing("a@x", OK)})
        self.assertEqual([("queue", "bc"), ("queue_post", "abc")], seen[-2:])

    def test_nobody_left(self) -> None:
        """Nobody is asked for nobody, though a queue plugin that has answered all forgets to say OK."""

        def answering(outcome: Outcome) -> Callable[[Transaction], None]:
            def answer(transaction: Transaction) -> None:
                for recipient in transaction.recipients:
                    transaction.answer(recipient, outcome)

            return answer

        self.assertEqual(
            ["data_post_headers"], [hook for hook, _ in self.seen({"data_post": answering(DENY)})]
        )
        seen = self.seen({"queue": answering(OK)})
        self.assertEqual([("queue_pre", "abc"), ("queue_post", "abc")], seen[-2:])

    def test_one_for_all(self) -> None:
        """Where one reply is for all, the first refusal is the end."""
        seen = self.seen({"data_post": refusing("b@x", DENY)}, lmtp=False)
        self.assertEqual(["data_post_headers", "data_post"], [hook for hook, _ in seen])


class Judging(Plugin):
    """Refuses a@x in data_post, as its arguments want it."""

    def hook_data_post(self, transaction: Transaction) -> None:
        for recipient in transaction.recipients:
            if recipient.address.local == "a":
                transaction.answer(recipient, self.rejection(DENY("spam", "5.7.1"), log="score 9"))


class ArgumentTests(Case):
    """The arguments that every plugin has, where it answers for one recipient."""

    def judged(self, **arguments: Any) -> list[str]:
        server = Server(hooks={"rcpt": lambda: OK, "queue": lambda: OK}, lmtp=True)
        server.registry.add(Judging(server.services, "judging", **arguments))
        client = server.connect()
        client.say("LHLO x", "MAIL FROM:<s@y>", "RCPT TO:<a@x>", "RCPT TO:<b@x>", "DATA")
        self.server, self.connection = server, client.connection
        replies = client.say(".").split("\r\n")
        self.assertFalse(client.closed)
        return replies

    def journal(self) -> list[tuple[str, str]]:
        return [(entry.verdict, entry.text) for entry in self.connection.journal if entry.plugin == "judging"]

    def test_reject(self) -> None:
        self.assertEqual(["552 5.7.1 spam", "250 2.0.0 Queued!"], self.judged())
        self.assertEqual([("DENY", "<a@x> spam")], self.journal())
        self.assertTrue(self.server.logged("(data_post) judging: fail, score 9"))

    def test_tolerate(self) -> None:
        self.assertEqual(["250 2.0.0 Queued!"] * 2, self.judged(reject=0))
        self.assertTrue(self.server.logged("fail, tolerated, score 9"))

    def test_type(self) -> None:
        """A rejection with disconnect of one recipient leaves the others their replies."""
        self.assertEqual(["452 4.7.1 spam", "250 2.0.0 Queued!"], self.judged(reject_type="temp_disconnect"))
        self.assertEqual(["552 5.7.1 spam", "250 2.0.0 Queued!"], self.judged(reject_type="disconnect"))

    def test_shadow(self) -> None:
        """What a shadowed plugin would have said is noted, and that is all."""
        self.assertEqual(["250 2.0.0 Queued!"] * 2, self.judged(shadow=True))
        self.assertEqual([("would have DENY", "<a@x> spam")], self.journal())


class OneForAllTests(Case):
    """Plain SMTP: one reply, and nothing is lost."""

    def test_no_plugin_answers(self) -> None:
        self.assertEqual(["250 2.0.0 Queued!"], self.replies({"queue": lambda: OK}, lmtp=False))

    def test_whole_and_single(self) -> None:
        """A temporary refusal of the others makes the whole temporary."""
        replies = self.replies({"data_post": refusing("b@x", DENY("no"), DENYSOFT("later"))}, lmtp=False)
        self.assertEqual(
            [
                "452-4.7.1 <a@x>: 452 4.7.1 later",
                "452-4.7.1 <b@x>: 552 5.7.1 no",
                "452 4.7.1 <c@x>: 452 4.7.1 later",
            ],
            replies,
        )

    def test_disconnect(self) -> None:
        """A denial with disconnect closes, even where it is but a part of the reply."""
        client = self.begin(
            {"data_post": refusing("b@x", DENYSOFT("full"), DENY_DISCONNECT("go"))}, lmtp=False
        )
        self.assertTrue(client.say("x", ".").startswith("452-4.7.1 <a@x>: 552 5.7.1 go"))
        self.assertTrue(client.closed)

    def test_stored_for_some(self) -> None:
        """Who stores for some only is named in the log, as the reply makes the client send it again."""
        self.assertEqual(["452"], self.codes({"queue": refusing("b@x", DENYSOFT, OK)}, lmtp=False))
        self.assertTrue(self.server.logged("(queue) functions: error, stored for some recipients"))

    def test_stored_for_none(self) -> None:
        self.assertEqual(
            ["452", "452"], self.codes({"queue": refusing("b@x", DENYSOFT, DENY)}, lmtp=False)[:2]
        )
        self.assertFalse(self.server.logged("stored for some"))

    def test_all_or_none(self) -> None:
        """Queue plugins can tell, and so can all from MAIL on."""
        seen: list[bool] = []

        def look(connection: Connection, transaction: Transaction) -> Outcome:
            seen.append(transaction.all_or_none)
            return OK

        self.codes({"queue": look, "rcpt": look}, recipients="a")
        self.codes({"queue": look, "rcpt": look}, recipients="a", lmtp=False)
        self.assertEqual([False, False, True, True], seen)
