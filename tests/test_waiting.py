"""Coroutines without a Deferred while nothing waits, and waiting with a time limit."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.waiting import ClientGone, TimeLimit, start, threads_of, wait


class StartTests(SynchronousTestCase):
    def test_at_once(self) -> None:
        """A coroutine that does not wait gives its result itself."""

        async def quick() -> int:
            return 1 + await succeed(1)

        self.assertEqual(2, start(quick()))

    def test_fails_at_once(self) -> None:
        """Its exception is raised."""

        async def quick() -> None:
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, start, quick())

    def test_waits(self) -> None:
        """One that waits gives a Deferred of its result."""
        promises = [Deferred(), Deferred()]

        async def slow() -> Any:
            return await promises[0] + await promises[1]

        result = start(slow())
        promises[0].callback(1)
        self.assertNoResult(result)
        promises[1].callback(2)
        self.assertEqual(3, self.successResultOf(result))

    def test_failure_is_thrown_in(self) -> None:
        """A Deferred that fails raises where it is awaited."""
        promise: Deferred[None] = Deferred()

        async def slow() -> str:
            try:
                await promise
            except ZeroDivisionError:
                return "caught"
            return ""

        result = start(slow())
        promise.errback(ZeroDivisionError())
        self.assertEqual("caught", self.successResultOf(result))

    def test_fails_later(self) -> None:
        promise: Deferred[None] = Deferred()

        async def slow() -> float:
            await promise
            return 1 / 0

        result = start(slow())
        promise.callback(None)
        self.failureResultOf(result, ZeroDivisionError)

    def test_cancel(self) -> None:
        """To cancel it is to cancel what it waits for."""
        promise: Deferred[None] = Deferred()

        async def slow() -> None:
            await promise

        result = start(slow())
        assert isinstance(result, Deferred)
        result.cancel()
        self.failureResultOf(result, CancelledError)


class WaitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.inner: Deferred[str] = Deferred()

    def tearDown(self) -> None:
        self.assertEqual([], self.clock.getDelayedCalls())

    def begin(self) -> Any:
        return start(wait(self.inner, 5, self.clock))

    def test_result(self) -> None:
        waiting = self.begin()
        self.inner.callback("x")
        self.assertEqual("x", self.successResultOf(waiting))

    def test_there_already(self) -> None:
        """A result that is there is not waited for."""
        self.assertEqual("x", start(wait(succeed("x"), 5, self.clock)))

    def test_failure(self) -> None:
        self.assertRaises(ZeroDivisionError, start, wait(fail(ZeroDivisionError()), 5, self.clock))

    def test_time_over(self) -> None:
        """When the time is over what is waited for is cancelled, and its late result ignored."""
        waiting = self.begin()
        self.clock.advance(5)
        self.assertEqual("no answer within 5 s", str(self.failureResultOf(waiting, TimeLimit).value))
        self.assertTrue(self.inner.called)

    def test_ignores_cancellation(self) -> None:
        """What ignores its cancellation is not waited for."""
        stubborn: Deferred[str] = Deferred()
        self.inner = Deferred(lambda _: None)
        self.inner.addErrback(lambda _: stubborn)
        waiting = self.begin()
        self.clock.advance(5)
        self.failureResultOf(waiting, TimeLimit)
        stubborn.callback("late")

    def test_client_gone(self) -> None:
        """To cancel the wait is to say that the client has gone."""
        waiting = self.begin()
        waiting.cancel()
        self.failureResultOf(waiting, ClientGone)
        self.assertTrue(self.inner.called)

    def test_canceller_fails(self) -> None:
        """A canceller that fails is logged."""

        def raises(_: Any) -> None:
            raise ZeroDivisionError

        self.inner = Deferred(raises)
        waiting = self.begin()
        waiting.cancel()
        self.failureResultOf(waiting, ClientGone)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_not_mistaken(self) -> None:
        """No plugin that catches every Exception catches that the client has gone."""
        self.assertFalse(issubclass(ClientGone, Exception))


class ThreadTests(SynchronousTestCase):
    def test_threads(self) -> None:
        """The reactor's pool runs the function; its result comes back by way of the reactor."""
        calls: list[Any] = []

        class Pool:
            def callInThreadWithCallback(self, done: Any, function: Any, *arguments: Any) -> None:
                done(True, function(*arguments))

        class Reactor:
            def getThreadPool(self) -> Pool:
                return Pool()

            def callFromThread(self, function: Any, *arguments: Any) -> None:
                calls.append(arguments)
                function(*arguments)

        self.assertEqual(3, self.successResultOf(threads_of(Reactor())(max, 1, 3)))
        self.assertEqual(1, len(calls))
