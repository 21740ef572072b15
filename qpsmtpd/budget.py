"""What a session may waste: commands, bad ones, refused recipients. Knows no verb and no plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .smtp.reply import Next, Reply

if TYPE_CHECKING:
    from .limits import Limits

ERRORS: Final = frozenset({500, 501, 502, 503, 504, 521, 530, 535, 538, 553, 555})
"""Codes that count as bad commands; refusals of mail do not."""

TOO_MANY_ERRORS: Final = Reply(421, "too many errors, closing the connection", "4.7.0", Next.CLOSE)
TOO_MANY_COMMANDS: Final = Reply(421, "too many commands, closing the connection", "4.7.0", Next.CLOSE)
TOO_MANY_REFUSED: Final = Reply(421, "too many refused recipients, closing", "4.7.0", Next.CLOSE)


class Budget:
    """Counts of one session; ``penalty`` is the time in seconds that the next reply shall wait."""

    __slots__ = ("_limits", "commands", "errors", "penalty", "refused")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.commands = 0
        self.errors = 0
        self.refused = 0
        self.penalty = 0.0

    def spend_command(self) -> Reply | None:
        """Count a command; a reply if it is one too many."""
        self.commands += 1
        return TOO_MANY_COMMANDS if 0 < self._limits.max_commands < self.commands else None

    def judged(self, reply: Reply, *, recipient: bool = False) -> Reply:
        """Count a reply if it is to a bad command, or refuses a recipient for good; give what to say."""
        # A 4yz, as of greylisting, says nothing about the client.
        if recipient and reply.code >= 500:
            self.refused += 1
            if 0 < self._limits.max_bad_recipients < self.refused:
                return TOO_MANY_REFUSED
            self.penalty = self._limits.error_delay
        if reply.code in ERRORS:
            self.errors += 1
            if self.errors > self._limits.max_errors:
                return TOO_MANY_ERRORS
            self.penalty = self._limits.error_delay
        return reply

    def take_penalty(self) -> float:
        """Give the seconds that this reply shall wait, and forget them."""
        penalty, self.penalty = self.penalty, 0.0
        return penalty
