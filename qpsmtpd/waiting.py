"""Run coroutines without a Deferred as long as nothing waits, and wait with a time limit.

Most hooks answer at once, and a Deferred for each command would cost more than the commands
themselves: `start` steps a coroutine by hand and hands it to Twisted only when it really waits.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

_log = Logger(namespace="qpsmtpd")


class ClientGone(BaseException):
    """The client left while a plugin was waiting; not an Exception, so that no plugin mistakes it for one."""


class TimeLimit(Exception):  # noqa: N818 - says what happened
    """A plugin took longer than its time limit."""


def start(coroutine: Coroutine[Any, Any, T]) -> T | Deferred[T]:
    """Run a coroutine until it ends or waits; give its result, or a Deferred of it if it waits."""
    try:
        waiting = coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    return Deferred.fromCoroutine(_resume(coroutine, waiting))


@types.coroutine
def _resume(coroutine: Coroutine[Any, Any, T], waiting: Deferred[Any]) -> Generator[Any, Any, T]:
    """Go on with a coroutine that has already begun and waits on a Deferred."""
    while True:
        try:
            try:
                result = yield waiting
            except GeneratorExit:
                coroutine.close()  # nobody waits for it any more
                raise
            except BaseException as error:
                waiting = coroutine.throw(error)
            else:
                waiting = coroutine.send(result)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


async def wait(inner: Deferred[T], seconds: float, clock: IReactorTime) -> T:
    """Wait for a Deferred, but no longer than a time in seconds, even if it ignores its cancellation.

    Raises TimeLimit when the time is over and ClientGone when the wait itself is cancelled; in both
    cases `inner` is cancelled, and what it gives later is ignored.
    """

    def cut_short(error: BaseException) -> None:
        if timer.active():
            timer.cancel()
        outer.errback(Failure(error))
        try:
            inner.cancel()
        except Exception:
            _log.failure("a plugin cannot be cancelled")

    def settle(result: T | Failure) -> None:
        if outer.called:
            return
        timer.cancel()
        if isinstance(result, Failure):
            outer.errback(result)
        else:
            outer.callback(result)

    outer: Deferred[T] = Deferred(lambda _: cut_short(ClientGone()))
    timer = clock.callLater(seconds, lambda: cut_short(TimeLimit(f"no answer within {seconds:g} s")))
    inner.addBoth(settle)
    return await outer


async def pause(seconds: float, clock: IReactorTime) -> None:
    """Wait for a time in seconds; raises ClientGone when the wait is cancelled."""
    try:
        await deferLater(clock, seconds)
    except CancelledError:
        raise ClientGone from None


def threads_of(reactor: Any) -> Callable[..., Deferred[Any]]:
    """Make the function that runs blocking work in a reactor's threads: ``run(function, *arguments)``."""

    def run(function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)

    return run
