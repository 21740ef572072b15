"""Calling plugins: which arguments they get, in which order, and what becomes of what they return."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import (
    DECLINED,
    DENY,
    DENY_DISCONNECT,
    DENYSOFT,
    OK,
    Connection,
    Outcome,
    Plugin,
    Reply,
    Secret,
    Transaction,
)
from qpsmtpd.connection import MAX_JOURNAL
from qpsmtpd.factory import Functions
from qpsmtpd.hooks import HOOKS
from qpsmtpd.log import CALL, Event, Level
from qpsmtpd.outcome import Code, Given, Policy
from qpsmtpd.registry import ON_ERROR, Registry
from qpsmtpd.settling import MAX_REASONS
from qpsmtpd.smtp.reply import Next
from qpsmtpd.testing.server import make_services
from qpsmtpd.waiting import start


class Case(SynchronousTestCase):
    """A registry with a connection to ask it about."""

    def setUp(self) -> None:
        self.services = make_services({"plugin_timeout": "7"})
        self.clock = self.services.reactor
        self.events: list[Event] = []
        self.services.log.observe(Level.DEBUG, self.events.append)
        self.registry = Registry(self.services)
        self.connection = Connection(number=5)
        self.transaction = Transaction()

    def tearDown(self) -> None:
        """No call is left behind, be it a timer or what the log knows of the caller."""
        self.assertIsNone(CALL.get())
        self.assertEqual([], self.clock.getDelayedCalls())

    def add(self, hook: str, function: Callable[..., Any], **settings: Any) -> Functions:
        plugin = Functions(self.services, {hook: function})
        for name, value in settings.items():
            setattr(plugin, name, value)
        self.registry.add(plugin)
        return plugin

    def begin(self, hook: str = "noop", argument: Any = "x") -> Any:
        arguments = (self.connection, self.transaction, argument)[: len(HOOKS[hook].arguments)]
        return start(self.registry.ask(hook, self.connection, arguments))

    def ask(self, hook: str = "noop", argument: Any = "x") -> Any:
        """Ask; the answer must be there."""
        answer = self.begin(hook, argument)
        return self.successResultOf(answer) if isinstance(answer, Deferred) else answer

    def logged(self, plugin: str = "functions") -> list[str]:
        return [event.text for event in self.events if event.plugin == plugin and event.hook]


class OrderTests(Case):
    def test_first_answer(self) -> None:
        """Plugins are asked in the order of the configuration until one answers."""
        for answer in (None, DECLINED, OK("second"), DENY("never asked")):
            self.add("noop", lambda answer=answer: answer)
        self.assertEqual(OK("second"), self.ask())

    def test_first_place(self) -> None:
        """``first`` puts a hook before those that are there."""
        self.add("noop", lambda: OK("there"))
        plugin = Plugin(self.services, "late")
        plugin.register_hook("noop", lambda: OK("first"), first=True)
        self.registry.add(plugin)
        self.assertEqual("first", self.ask().text)

    def test_nobody(self) -> None:
        self.assertEqual(DECLINED, self.ask())
        self.assertFalse(self.registry.has("noop"))
        self.assertEqual([], list(self.registry.chain("noop")))

    def test_declined_text(self) -> None:
        """A text of DECLINED is kept for the reply, but others are still asked."""
        self.add("noop", lambda: DECLINED("because"))
        self.add("noop", lambda: None)
        self.assertEqual(DECLINED("because"), self.ask())
        self.add("noop", lambda: OK)
        self.assertEqual(OK, self.ask())

    def test_told(self) -> None:
        """Every plugin is told, whatever the others answer or raise."""
        told: list[int] = []
        for number, answer in enumerate((DENY, None, OK)):
            self.add("disconnect", lambda number=number, answer=answer: (told.append(number), answer)[1])
        self.add("disconnect", lambda: 1 / 0)
        self.add("disconnect", lambda: told.append(4))
        start(self.registry.tell("disconnect", self.connection, (self.connection, self.transaction)))
        self.assertEqual([0, 1, 2, 4], told)


class FailureTests(Case):
    def test_raises(self) -> None:
        """A plugin that raises delays the mail, and the client learns nothing of it."""
        self.add("noop", lambda: {}["secret"])
        answer = self.ask()
        self.assertEqual((451, "4.3.0"), (answer.code, answer.status))
        self.assertNotIn("secret", answer.text)

    def test_log(self) -> None:
        """The failure is logged with the plugin's name and a traceback."""
        self.add("noop", lambda: {}["secret"])
        self.ask()
        lines = self.logged()
        self.assertEqual("FATAL PLUGIN ERROR [functions]: KeyError: 'secret'", lines[0])
        self.assertIn("Traceback", lines[1])
        self.assertEqual({Level.CRIT}, {event.level for event in self.events if event.hook})

    def test_on_error(self) -> None:
        """The plugin's line says what becomes of the command."""
        for policy, code in (("tempfail", 451), ("reject", 554), ("disconnect", 421)):
            self.setUp()
            self.add("noop", lambda: 1 / 0, on_error=policy)
            self.assertEqual(code, self.ask().code)
        self.assertIs(Next.CLOSE, ON_ERROR["disconnect"].next)  # type: ignore[union-attr]

    def test_continue(self) -> None:
        """With ``continue`` the others are asked."""
        self.add("noop", lambda: 1 / 0, on_error="continue")
        self.add("noop", lambda: OK)
        self.assertEqual(OK, self.ask())

    def test_rubbish(self) -> None:
        """What is no answer is a failure: numbers, names, true and false, empty lists."""
        for rubbish in (900, "DENY", True, False, 0, "", [], Code.OK, object()):
            self.setUp()
            self.add("noop", lambda rubbish=rubbish: rubbish)
            self.assertEqual(451, self.ask().code, rubbish)

    def test_unfit_for_a_reply(self) -> None:
        """A text or status that no reply can hold is the plugin's failure, not the session's."""
        for answer in (DENY("x", "5.7"), DENY(42), OK("x", "no"), Reply(354, "x", next=Next.DATA)):  # type: ignore[arg-type]
            self.setUp()
            self.add("noop", lambda answer=answer: answer)
            self.assertEqual(451, self.ask().code, answer)
            self.assertIn("FATAL", self.logged()[0])

    def test_unprintable(self) -> None:
        """An exception that cannot be printed is one more failure."""

        class Mute(Exception):
            def __str__(self) -> str:
                raise ZeroDivisionError

        def raises() -> None:
            raise Mute

        self.add("noop", raises)
        self.assertEqual(451, self.ask().code)


class PromiseTests(Case):
    def test_deferred(self) -> None:
        self.add("noop", lambda: succeed(OK))
        self.assertEqual(OK, self.ask())

    def test_coroutine(self) -> None:
        async def hook() -> Outcome:
            return DENY("x")

        self.add("noop", hook)
        self.assertEqual(DENY("x"), self.ask())

    def test_nested(self) -> None:
        """A promise of a promise is waited for, too."""
        inner: Deferred[Outcome] = Deferred()

        async def hook() -> Any:
            async def deeper() -> Outcome:
                return await inner

            return deeper()

        self.add("noop", lambda: succeed(hook()))
        answer = self.begin()
        inner.callback(OK)
        self.assertEqual(OK, self.successResultOf(answer))

    def test_fails(self) -> None:
        """A Deferred that fails is a failure of the plugin."""
        self.add("noop", lambda: fail(ZeroDivisionError()))
        self.assertEqual(451, self.ask().code)

    def test_cancels_itself(self) -> None:
        promise: Deferred[Any] = Deferred()
        self.add("noop", lambda: promise)
        answer = self.begin()
        promise.cancel()
        self.assertEqual(451, self.successResultOf(answer).code)

    def test_time_limit(self) -> None:
        """A plugin that never answers has failed when its time is over; what it says later is not heard."""
        late: Deferred[Any] = Deferred()
        self.add("noop", lambda: late)
        answer = self.begin()
        self.clock.advance(6.9)
        self.assertNoResult(answer)
        self.clock.advance(0.2)
        self.assertEqual(451, self.successResultOf(answer).code)
        self.assertIn("no answer within 7 s", self.logged()[0])
        late.callback(OK)

    def test_own_time_limit(self) -> None:
        """The plugin's line may give it another limit."""
        self.add("noop", Deferred, hook_timeout=1)
        answer = self.begin()
        self.clock.advance(1)
        self.assertEqual(451, self.successResultOf(answer).code)

    def test_told_go_on(self) -> None:
        """One that never ends does not keep the others from being told."""
        told: list[str] = []
        self.add("disconnect", Deferred)
        self.add("disconnect", lambda: told.append("other"))
        done = start(self.registry.tell("disconnect", self.connection, (self.connection, self.transaction)))
        self.clock.advance(7)
        self.successResultOf(done)  # type: ignore[arg-type]
        self.assertEqual(["other"], told)


class ValueTests(Case):
    """A hook may ask for a value."""

    def credentials(self, function: Callable[..., Any], **settings: Any) -> Any:
        self.add("credentials", function, **settings)
        arguments = self.connection, self.transaction, "joe", "plain"
        return start(self.registry.ask("credentials", self.connection, arguments))

    def test_given(self) -> None:
        """It is given at once or later, and the journal does not show it."""
        secret = Secret(password="hush")
        for function in (lambda: secret, lambda: succeed(secret)):
            self.setUp()
            self.assertEqual(Given(Code.OK, value=secret), self.credentials(function))
            entry = self.connection.journal[-1]
            self.assertEqual(("credentials", "OK", ""), (entry.hook, entry.verdict, entry.text))

    def test_shadow(self) -> None:
        self.assertIs(DECLINED, self.credentials(lambda: Secret(password="x"), shadow=True))

    def test_other_values(self) -> None:
        """Another value is a failure, and so is this one in a hook that does not ask for it."""
        self.assertEqual(ON_ERROR["tempfail"], self.credentials(lambda: "hush"))
        self.add("noop", lambda: Secret(password="x"))
        self.assertEqual(ON_ERROR["tempfail"], self.begin())


class RejectionTests(Case):
    def reject(self, policy: Policy = Policy.REJECT, kind: str = "", log: str = "why") -> Any:
        """Have a plugin reject with its arguments ``reject`` and ``reject_type``."""
        plugin = self.add("noop", lambda: plugin.rejection(DENY("no", "5.7.1"), log=log))
        plugin.reject, plugin.reject_type = policy, kind  # type: ignore[assignment]
        return self.ask()

    def test_reject(self) -> None:
        self.assertEqual(DENY("no", "5.7.1"), self.reject())
        self.assertEqual(["fail, why"], self.logged())

    def test_tolerate(self) -> None:
        self.assertEqual(DECLINED, self.reject(Policy.TOLERATE))
        self.assertEqual(["fail, tolerated, why"], self.logged())

    def test_naughty(self) -> None:
        """The naughty plugin shall decide: reason and type are left on the connection."""
        self.assertEqual(DECLINED, self.reject(Policy.NAUGHTY, "disconnect"))
        self.assertEqual(["fail, NAUGHTY, why"], self.logged())
        self.assertEqual("(functions) no", self.connection.naughty)
        self.assertEqual("disconnect", self.connection.naughty_reject_type)

    def test_naughty_again(self) -> None:
        """Reasons are gathered, each once, and not without end."""
        plugin = self.add("noop", lambda argument: plugin.rejection(DENY(argument)))
        plugin.reject = Policy.NAUGHTY  # type: ignore[assignment]
        for argument in ("a", "b", "a", *map(str, range(100))):
            self.ask("noop", argument)
        reasons = self.connection.naughty.split("\n")
        self.assertEqual(["(functions) a", "(functions) b"], reasons[:2])
        self.assertEqual(MAX_REASONS + 1, len(reasons))

    def test_types(self) -> None:
        """``reject_type`` chooses the verdict; the status follows."""
        rows = (
            ("temp", DENYSOFT("no", "4.7.1")),
            ("soft", DENYSOFT("no", "4.7.1")),
            ("perm", DENY("no", "5.7.1")),
            ("disconnect", DENY_DISCONNECT("no", "5.7.1")),
        )
        for kind, expected in rows:
            self.setUp()
            self.assertEqual(expected, self.reject(kind=kind), kind)

    def test_log_default(self) -> None:
        """Without a text for the log the client's is used."""
        self.reject(log="")
        self.assertEqual(["fail, no"], self.logged())


class ShadowTests(Case):
    def test_ignored(self) -> None:
        """A shadowed plugin is run and journaled, and what it says is ignored."""
        self.add("noop", lambda: DENY("no"), shadow=True)
        self.add("noop", lambda: OK)
        self.assertEqual(OK, self.ask())
        self.assertEqual(["would have DENY", "OK"], [entry.verdict for entry in self.connection.journal])
        self.assertEqual(["would have DENY no"], self.logged())

    def test_naughty(self) -> None:
        """A shadowed plugin makes nobody naughty."""
        plugin = self.add("noop", lambda: plugin.rejection(DENY("no")), shadow=True)
        plugin.reject = Policy.NAUGHTY  # type: ignore[assignment]
        self.ask()
        self.assertEqual("", self.connection.naughty)

    def test_failure(self) -> None:
        """A shadowed plugin that fails does not delay the mail."""
        self.add("noop", lambda: 1 / 0, shadow=True)
        self.assertEqual(DECLINED, self.ask())


class MetaTests(Case):
    """The hooks ``ok`` and ``deny`` hear of every answer of every plugin."""

    def test_told(self) -> None:
        heard: list[tuple[str, str, str]] = []
        for hook in ("ok", "deny"):
            self.add(
                hook,
                lambda plugin, outcome, hook=hook: heard.append((hook, outcome.code.name, outcome.text)),
            )
        for answer in (None, OK("a"), DENY("b"), Reply(250, "c"), Reply(450, "d"), Reply(550, "e")):
            chain = self.registry._chains.pop("noop", None)
            self.assertTrue(chain is None or len(chain) == 1)
            self.add("noop", lambda answer=answer: answer)
            self.ask()
        self.assertEqual(
            [
                ("ok", "DECLINED", ""),
                ("ok", "OK", "a"),
                ("deny", "DENY", "b"),
                ("ok", "DONE", "c"),
                ("deny", "DENYSOFT", "d"),
                ("deny", "DENY", "e"),
            ],
            heard,
        )

    def test_who(self) -> None:
        """They learn who answered, in the spelling of the log, and about which transaction."""
        heard: list[Any] = []
        self.add("ok", lambda plugin, transaction: heard.append((plugin, transaction)))
        self.add("noop", lambda: OK)
        self.ask()
        self.assertEqual([("functions", self.transaction)], heard)


class JournalTests(Case):
    def test_answers(self) -> None:
        """Every answer but DECLINED is noted, with who gave it."""
        self.add("noop", lambda: None)
        self.add("noop", lambda: DENY("no"))
        self.ask()
        (entry,) = self.connection.journal
        self.assertEqual(
            ("noop", "functions", "DENY", "no"), (entry.hook, entry.plugin, entry.verdict, entry.text)
        )
        self.assertGreaterEqual(entry.milliseconds, 0)

    def test_failure(self) -> None:
        self.add("noop", lambda: 1 / 0)
        self.ask()
        self.assertEqual(["reply 451"], [entry.verdict for entry in self.connection.journal])

    def test_bound(self) -> None:
        """A client that goes on and on loses the oldest entries."""
        self.add("noop", lambda argument: DENY(argument))  # noqa: PLW0108
        for number in range(MAX_JOURNAL + 3):
            self.ask("noop", str(number))
        self.assertEqual(MAX_JOURNAL, len(self.connection.journal))
        self.assertEqual("3", self.connection.journal[0].text)


class LogContextTests(Case):
    """A plugin's lines carry the connection and the hook that it was called for."""

    def lines(self) -> list[tuple[int, str, str]]:
        return [(event.number, event.hook, event.text) for event in self.events if event.level == Level.INFO]

    def test_at_once(self) -> None:
        plugin = self.add("noop", lambda: plugin.log.info("here"))
        self.ask()
        self.assertEqual([(5, "noop", "here")], self.lines())

    def test_parallel_coroutines(self) -> None:
        """Coroutines that wait at the same time do not mix up their connections."""
        promises: list[Deferred[None]] = []

        async def hook(argument: str) -> None:
            plugin.log.info("before %s", argument)
            promises.append(Deferred())
            await promises[-1]
            plugin.log.info("after %s", argument)

        plugin = self.add("noop", hook)
        first, second = Connection(number=1), Connection(number=2)
        for number, connection in enumerate((first, second), 1):
            start(self.registry.ask("noop", connection, (connection, self.transaction, str(number))))
        for promise in reversed(promises):
            promise.callback(None)
        self.assertEqual(
            [
                (1, "noop", "before 1"),
                (2, "noop", "before 2"),
                (2, "noop", "after 2"),
                (1, "noop", "after 1"),
            ],
            self.lines(),
        )

    def test_meanwhile(self) -> None:
        """What a plugin does on its own while another's hook waits belongs to no connection."""
        promise: Deferred[None] = Deferred()
        plugin = self.add("noop", lambda: promise)
        answer = self.begin()
        plugin.log.info("on my own")
        promise.callback(None)
        self.successResultOf(answer)
        self.assertEqual("", self.lines()[0][1])

    def test_nested_promises(self) -> None:
        """A coroutine that comes out of a Deferred has the context, too."""
        promise: Deferred[Any] = Deferred()

        async def later() -> None:
            plugin.log.info("late")

        plugin = self.add("noop", lambda: promise)
        answer = self.begin()
        promise.callback(later())
        self.successResultOf(answer)
        self.assertEqual([(5, "noop", "late")], self.lines())


class AtOnceTests(Case):
    """Hooks that answer at once, with lines."""

    def test_lines(self) -> None:
        self.add("config", lambda name: None)
        self.add("config", lambda name: [name, "x"])
        self.assertEqual(["me", "x"], self.registry.ask_now("config", ("me",)))

    def test_failure(self) -> None:
        """One that fails, answers with an outcome or wants to wait is passed over."""

        async def waits() -> list[str]:
            return ["never"]

        for function in (lambda: 1 / 0, lambda: DECLINED, waits, Deferred):
            self.add("config", function)
        self.assertIsNone(self.registry.ask_now("config", ("me",)))
        fatal = [event for event in self.events if event.text.startswith("FATAL")]
        self.assertEqual(3, len(fatal))

    def test_lines_that_wait(self) -> None:
        """``user_config`` may wait, and has a time limit."""
        promise: Deferred[Any] = Deferred()
        self.add("user_config", lambda address: None)
        self.add("user_config", lambda address, name: promise)
        answer = start(self.registry.ask_lines("user_config", ("a@b", "x")))
        promise.callback(["1"])
        self.assertEqual(["1"], self.successResultOf(answer))

    def test_no_lines(self) -> None:
        async def nothing() -> None:
            return None

        self.add("user_config", nothing)
        self.assertIsNone(start(self.registry.ask_lines("user_config", ("a@b", "x"))))
