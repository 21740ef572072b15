"""What each recipient of a message is answered: by a hook for all of them, or by a plugin for one.

Who hears one reply for all (plain SMTP) must take it as it is: were some recipients refused and the message
stored for the others, then a 2yz would lose it for those, and a 4yz would bring it twice to these. So one
refusal is for all there, before anything is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .answers import DENIALS, QUEUED, queued, refuse
from .connection import Connection
from .implementation import Implementation
from .log import CALL, Level
from .outcome import DECLINED, OK, Code, Outcome, Rejection
from .registry import Registry
from .settling import Answer, noted, settled
from .smtp.refusal import one_refusal
from .smtp.reply import Next, Replies, Reply
from .transaction import Recipient, Transaction

if TYPE_CHECKING:
    from .session import Session

BEFORE_QUEUE = ("data_post_headers", "data_post", "queue_pre")
"""Hooks in which single recipients may be refused; in ``queue`` they may be accepted, too."""

PRDR_BEGINS = Reply(353, "the answers for each recipient follow, and then the one for the message")

_ALONE = {Code.DENY_DISCONNECT: Code.DENY, Code.DENYSOFT_DISCONNECT: Code.DENYSOFT}
"""What becomes of ``reject_type disconnect``: the others still want to hear something."""


class Verdicts:
    """The answers that single recipients of a message have got; ``replies`` are those that count."""

    __slots__ = ("_accepted", "_hook", "_pending", "judge", "replies")

    def __init__(self) -> None:
        self.replies: dict[Recipient, Reply] = {}
        self.judge = ""  # the plugin that spoke last
        self._accepted: frozenset[Recipient] | None = None  # the transaction's, when anybody is answered
        self._hook = ""  # that is being asked
        self._pending: dict[Recipient, Outcome | Rejection] = {}  # of the plugin that is being asked

    def concern(self, recipient: Recipient, accepted: Sequence[Recipient]) -> bool:
        """Tell whether a recipient is one of the accepted ones, which stay the same."""
        if self._accepted is None:
            self._accepted = frozenset(accepted)
        return recipient in self._accepted

    def note(self, recipient: Recipient, answer: Outcome | Rejection) -> None:
        """Take what a plugin says; see `Transaction.answer`."""
        called_for = CALL.get()
        if not self._hook or (called_for and called_for[1] != self._hook):
            raise ValueError(f"a recipient is answered in the hooks {', '.join(BEFORE_QUEUE)} and queue only")
        if recipient in self.replies or recipient in self._pending:
            raise ValueError(f"{recipient!r} has been answered already")
        outcome = answer.outcome if isinstance(answer, Rejection) else answer
        if not isinstance(outcome, Outcome):
            raise TypeError(f"a recipient is answered with an outcome, not with {type(outcome).__name__}")
        if outcome.code not in (Code.DENY, Code.DENYSOFT):
            if outcome.code is not Code.OK:
                raise ValueError(f"a recipient is answered DENY, DENYSOFT or OK, not {outcome.code.name}")
            if self._hook != "queue":
                raise ValueError("a recipient is answered OK when the message is stored, in the hook queue")
        # What no reply can hold is this plugin's failure.
        Reply(451, outcome.text, outcome.status)
        self._pending[recipient] = answer

    async def ask(
        self, hook: str, registry: Registry, connection: Connection, transaction: Transaction
    ) -> Answer:
        """Ask a hook, and let its plugins answer for single recipients meanwhile."""

        def judge(implementation: Implementation, answer: Answer) -> Answer:
            return self._settle(implementation, connection, transaction, answer) if self._pending else answer

        self._hook = hook
        try:
            return await registry.ask(hook, connection, (connection, transaction), judge)
        finally:
            self._hook = ""

    def _settle(
        self, implementation: Implementation, connection: Connection, transaction: Transaction, answer: Answer
    ) -> Answer:
        """Make what a plugin has said count: who has an answer is no recipient for the plugins after it."""
        pending, self._pending = self._pending, {}
        called_for = CALL.set((connection, implementation.hook))
        for recipient, said in pending.items():
            if (outcome := _judged(implementation, connection, recipient, said)) is not DECLINED:
                self.judge = implementation.log_name
                self.replies[recipient] = _reply(implementation.hook, outcome)
        CALL.reset(called_for)
        transaction.recipients = [one for one in transaction.recipients if one not in self.replies]
        declined = isinstance(answer, Outcome) and answer.code is Code.DECLINED
        return OK if declined and self.replies and not transaction.recipients else answer

    def decided(self, transaction: Transaction) -> bool:
        """Tell whether nobody is to be asked any more: all are refused, or one is, and that is for all.

        Whom a plugin has dropped waits for the answer to the message, though nobody is left.
        """
        if not self.replies or not transaction.each:
            return bool(self.replies)
        return all(one in self.replies for one in transaction.accepted)


def _judged(
    implementation: Implementation, connection: Connection, recipient: Recipient, said: Outcome | Rejection
) -> Outcome:
    """Note what a plugin says; DECLINED if its arguments make nothing of it."""
    outcome = settled(implementation, connection, said) if isinstance(said, Rejection) else said
    if outcome is DECLINED:
        return DECLINED
    outcome = Outcome(_ALONE.get(outcome.code, outcome.code), outcome.text, outcome.status)
    counts = noted(implementation, connection, outcome, 0.0, recipient.address.path) is not DECLINED
    return outcome if counts else DECLINED


def _reply(hook: str, outcome: Outcome) -> Reply:
    return queued(outcome) if outcome.code is Code.OK else refuse(DENIALS[hook], outcome)


def reply_to_all(session: Session, whole: Reply | None) -> Reply:
    """Make what is said to the end of a message; ``whole`` is for the recipients without an answer."""
    transaction = session.transaction
    own = transaction.verdicts.replies if transaction.verdicts is not None else {}
    accepted = transaction.accepted
    if not own and (not transaction.each or not accepted):
        assert whole is not None
        return whole
    if not transaction.each:
        return _one_for_all(session, own, whole)
    replies = [own.get(recipient) or _given(whole) for recipient in accepted]
    if session.lmtp:
        # RFC 2033 section 4.2: in the order of RCPT, and no other one.
        return Replies(replies) if len(replies) > 1 else replies[0]
    # A sole recipient is answered as ever, which clients of PRDR understand.
    return Replies([PRDR_BEGINS, *replies, _overall(accepted, replies)]) if len(replies) > 1 else replies[0]


def _given(whole: Reply | None) -> Reply:
    assert whole is not None
    return whole


def _overall(recipients: Sequence[Recipient], replies: Sequence[Reply]) -> Reply:
    """Sum up: a refusal is for all, so that a message which was stored for anybody is accepted."""
    accepted = next((reply for reply in replies if reply.code < 400), None)
    return accepted or one_refusal([recipient.address for recipient in recipients], replies)


def _one_for_all(session: Session, own: dict[Recipient, Reply], whole: Reply | None) -> Reply:
    """Refuse the message for all recipients if one is refused."""
    recipients = session.transaction.accepted
    # Who was not asked about is refused for the others' sake.
    replies = [own.get(one) or whole or QUEUED for one in recipients]
    refused = [reply for reply in replies if reply.code >= 400]
    if not refused:
        return replies[0]
    if session.queued and len(refused) < len(replies):
        verdicts = session.transaction.verdicts
        assert verdicts is not None
        session.engine.log.emit(
            Level.ERROR,
            "error, stored for some recipients where all_or_none is demanded; the client will send it again",
            hook="queue",
            plugin=verdicts.judge,
            connection=session.connection,
        )
    reply = one_refusal([one.address for one in recipients], replies)
    return reply.closing() if any(one.next is Next.CLOSE for one in refused) else reply
