"""The ordered implementations of each hook, and the one loop that calls them.

Results are settled here: coroutines and Deferreds are waited for with a time limit, rejections become
outcomes, failures become what the plugin's ``on_error`` says. Nothing here knows SMTP commands.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Coroutine, Sequence
from time import perf_counter
from traceback import format_exception, format_exception_only
from typing import Any

from twisted.internet.defer import Deferred

from .connection import Connection
from .hooks import HOOKS, Kind
from .implementation import Implementation
from .log import CALL, Level, Log
from .outcome import DECLINED, OK, Code, Given, Outcome, Rejection
from .plugin import Plugin, Services
from .settling import Answer, noted, settled
from .smtp.reply import Next, Reply
from .waiting import start, wait

DEFAULT_HOOK_TIMEOUT = 30.0
"""Seconds that a hook may take, unless config/plugin_timeout or the plugin's line says otherwise."""

_DECLINED = Code.DECLINED  # looking up a member of an Enum costs as much as calling a plugin
_WAITS = (Deferred, Coroutine)
_ANSWERS = (Outcome, Reply)
_ALLOWED = (Next.COMMAND, Next.CLOSE)
"""What a plugin's own reply may let the client do next."""

ON_ERROR: dict[str, Answer] = {
    "continue": DECLINED,
    "tempfail": Reply(451, "internal error, please try again later", "4.3.0"),
    "reject": Reply(554, "internal error", "5.3.0"),
    "disconnect": Reply(421, "internal error, please try again later", "4.3.0", Next.CLOSE),
}
"""What the client is told when a plugin fails, by the plugin's ``on_error``."""

Judge = Callable[[Implementation, Answer], Answer]


class Registry:
    """All that plugins registered, by hook, in calling order."""

    def __init__(self, services: Services) -> None:
        self.plugins: list[Plugin] = []
        self._services = services
        self._log: Log = services.log
        self._clock = services.reactor
        self._chains: dict[str, list[Implementation]] = {}
        self.heard: Container[str] = self._chains
        """The hooks that any plugin registered; to look here costs a fraction of a call."""
        self._meta = False

    def add(self, plugin: Plugin) -> None:
        """Register a plugin's hooks behind those that are there, but ``first`` ones before them."""
        self.plugins.append(plugin)
        for name, method, first in plugin.registrations:
            implementation = Implementation(HOOKS[name], plugin, method)
            chain = self._chains.setdefault(name, [])
            chain.insert(0 if first else len(chain), implementation)
            self._log.emit(Level.DEBUG, "hooking %s", name, plugin=plugin.log_name)
        self._meta = bool(self._chains.get("ok") or self._chains.get("deny"))

    def has(self, hook: str) -> bool:
        """Tell whether any plugin registered the hook."""
        return hook in self._chains

    def chain(self, hook: str) -> Sequence[Implementation]:
        """Give the implementations of a hook in calling order."""
        return self._chains.get(hook, ())

    async def ask(
        self, hook: str, connection: Connection, arguments: tuple[Any, ...], judge: Judge | None = None
    ) -> Answer:
        """Ask the plugins one after another; give the first answer that is not DECLINED.

        ``judge`` hears each answer and gives the one that counts.
        """
        last: Answer = DECLINED
        for implementation in self._chains.get(hook, ()):
            called = self._call(implementation, connection, arguments)
            answer = called if isinstance(called, _ANSWERS) else await called
            if judge is not None:
                answer = judge(implementation, answer)
            if self._meta:
                await self._tell_meta(implementation, connection, arguments, answer)
            if answer is DECLINED:
                continue
            if type(answer) is Outcome and answer.code is _DECLINED:
                last = answer
                continue
            return answer
        return last

    async def tell(self, hook: str, connection: Connection, arguments: tuple[Any, ...]) -> None:
        """Tell every plugin; their answers are ignored and their failures logged."""
        for implementation in self._chains.get(hook, ()):
            called = self._call(implementation, connection, arguments)
            if not isinstance(called, _ANSWERS):
                await called

    async def ask_lines(self, hook: str, arguments: tuple[Any, ...]) -> Any:
        """Ask a hook whose answer is a list of lines; None if no plugin has one."""
        for implementation in self._chains.get(hook, ()):
            result = implementation.call(arguments)
            if isinstance(result, Coroutine):
                result = start(result)
            if isinstance(result, Deferred):
                result = await wait(result, self._limit(implementation), self._clock)
            if result is not None and not isinstance(result, Outcome):
                return result
        return None

    def ask_now(self, hook: str, arguments: tuple[Any, ...]) -> Any:
        """Ask a hook that must answer at once; give the first answer that is neither None nor an outcome."""
        assert HOOKS[hook].kind is Kind.SYNC
        for implementation in self._chains.get(hook, ()):
            try:
                result = implementation.call(arguments)
                if isinstance(result, Coroutine):
                    result.close()
                if isinstance(result, _WAITS):
                    raise TypeError(f"hook {hook} must answer at once, not with {type(result).__name__}")
            except Exception as error:
                self._failed(implementation, None, error)
                continue
            if result is not None and not isinstance(result, Outcome):
                return result
        return None

    def _call(
        self, implementation: Implementation, connection: Connection, arguments: tuple[Any, ...]
    ) -> Answer | Coroutine[Any, Any, Answer]:
        """Call one plugin and judge what it returns, at once unless it waits: most do not."""
        began = perf_counter()
        CALL.set((connection, implementation.hook))
        try:
            result = implementation.call(arguments)
            if result is None or result is DECLINED:
                return DECLINED
            if type(result) is not Outcome and isinstance(result, _WAITS):
                if isinstance(result, Coroutine):
                    result = start(result)
                if isinstance(result, _WAITS):
                    return self._later(implementation, connection, result, began)
                if result is None or result is DECLINED:
                    return DECLINED
            answer = self._judge(implementation, connection, result)
        except Exception as error:
            answer = self._failed(implementation, connection, error)
        finally:
            CALL.set(None)
        return noted(implementation, connection, answer, (perf_counter() - began) * 1000)

    async def _later(
        self, implementation: Implementation, connection: Connection, result: object, began: float
    ) -> Answer:
        """Wait for what a plugin will say, and if that is a promise again, for what comes of it."""
        try:
            while isinstance(result, _WAITS):
                if isinstance(result, Coroutine):
                    CALL.set((connection, implementation.hook))
                    result = start(result)
                if isinstance(result, Deferred):
                    # While this call waits the log's lines belong to others; a coroutine has its own copy.
                    CALL.set(None)
                    result = await wait(result, self._limit(implementation), self._clock)
            if result is None or result is DECLINED:
                return DECLINED
            CALL.set((connection, implementation.hook))
            answer = self._judge(implementation, connection, result)
        except Exception as error:
            answer = self._failed(implementation, connection, error)
        finally:
            CALL.set(None)
        return noted(implementation, connection, answer, (perf_counter() - began) * 1000)

    def _limit(self, implementation: Implementation) -> float:
        return implementation.plugin.hook_timeout or self._services.config.seconds(
            "plugin_timeout", DEFAULT_HOOK_TIMEOUT
        )

    def _judge(self, implementation: Implementation, connection: Connection, result: object) -> Answer:
        """Check what a plugin returned, and turn a rejection into an answer."""
        if isinstance(result, Outcome):
            if result.text or result.status:
                # What no reply can hold is this plugin's failure; later it would be the session's.
                Reply(451, result.text, result.status)
            return result
        if isinstance(result, Rejection):
            return self._judge(implementation, connection, settled(implementation, connection, result))
        if isinstance(result, Reply):
            if result.next not in _ALLOWED:
                raise ValueError(f"hook {implementation.hook} may not ask for {result.next.name} next")
            return result
        gives = HOOKS[implementation.hook].gives
        if gives is not None and isinstance(result, gives):
            return Given(Code.OK, value=result)
        raise TypeError(f"hook {implementation.hook} returned {type(result).__name__}, not an outcome")

    def _failed(
        self, implementation: Implementation, connection: Connection | None, error: Exception
    ) -> Answer:
        """Log a failure with its traceback; the client learns nothing of it."""
        name, hook = implementation.log_name, implementation.hook
        what = format_exception_only(error)[0].strip().removeprefix(f"{type(error).__module__}.")
        trace = "".join(format_exception(error)).splitlines()
        for line in (f"FATAL PLUGIN ERROR [{name}]: {what}", *trace):
            self._log.emit(Level.CRIT, "%s", line, hook=hook, plugin=name, connection=connection)
        return ON_ERROR[implementation.plugin.on_error]

    async def _tell_meta(
        self,
        implementation: Implementation,
        connection: Connection,
        arguments: tuple[Any, ...],
        answer: Answer,
    ) -> None:
        """Tell the hooks ``deny`` and ``ok`` what a plugin said."""
        if isinstance(answer, Reply):
            outcome = Outcome(_verdict(answer.code), answer.text, answer.status)
        else:
            outcome = OK if isinstance(answer, Given) else answer  # a value is for who asked
        hook = "deny" if outcome.code.denies else "ok"
        transaction = arguments[1] if len(arguments) > 1 else None
        await self.tell(hook, connection, (connection, transaction, implementation.log_name, outcome))


def _verdict(code: int) -> Code:
    """Give the verdict that a plugin's own reply amounts to."""
    if code >= 500:
        return Code.DENY
    return Code.DENYSOFT if code >= 400 else Code.DONE
