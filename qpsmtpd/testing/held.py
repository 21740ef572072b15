"""Answers that come at once, or when the test says so: what a name server or a thread would give later."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

T = TypeVar("T")


class Held:
    """Gives answers at once; while ``on`` each waits until `release` gives the oldest.

    Called with a function and its arguments it stands for the reactor's threads.
    """

    def __init__(self) -> None:
        self.on = False
        self._waiting: dict[Deferred[Any], tuple[Any, Callable[[], Any] | None]] = {}

    def __call__(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Call a function, as a thread would."""
        return self.ask(function, partial(function, *arguments))

    def ask(self, question: Any, answer: Callable[[], T] | None) -> Deferred[T]:
        """Give the answer, now or later; where there is None, never."""
        if answer is not None and not self.on:
            return maybeDeferred(answer)
        asked: Deferred[T] = Deferred()
        self._waiting[asked] = question, answer
        return asked.addBoth(self._over, asked)

    @property
    def waiting(self) -> list[Any]:
        """Questions that are neither answered nor cancelled yet, in order."""
        return [question for question, _ in self._waiting.values()]

    def release(self) -> bool:
        """Answer the oldest question that waits and has an answer; tell whether there was one."""
        for asked, (_, answer) in self._waiting.items():
            if answer is not None:
                maybeDeferred(answer).chainDeferred(asked)
                return True
        return False

    def _over(self, result: T, asked: Deferred[T]) -> T:
        del self._waiting[asked]
        return result
