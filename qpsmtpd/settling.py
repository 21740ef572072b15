"""What becomes of a plugin's answer: a rejection is tolerated, deferred or given; the journal notes it all.

Knows nothing of how plugins are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .connection import Connection, JournalEntry
from .log import CALL
from .outcome import DECLINED, Code, Outcome, Policy, Rejection
from .plugin import verdict_of
from .smtp.reply import Reply

if TYPE_CHECKING:
    from .implementation import Implementation

Answer = Outcome | Reply

_NAMES = {int(code): code.name for code in Code}  # a member takes its time to name itself

MAX_REASONS = 10
"""Reasons that are kept of what makes a client naughty."""

_WORDS = {Policy.TOLERATE: "fail, tolerated", Policy.NAUGHTY: "fail, NAUGHTY", Policy.REJECT: "fail"}


def settled(implementation: Implementation, connection: Connection, rejection: Rejection) -> Outcome:
    """Log a rejection, and tell what the plugin's arguments make of it."""
    text = _WORDS[rejection.policy]
    if rejection.log:
        text += f", {rejection.log}"
    implementation.plugin.log.info("%s", text, connection=connection)
    if rejection.policy is Policy.REJECT:
        return verdict_of(rejection)
    if rejection.policy is Policy.NAUGHTY and not implementation.plugin.shadow:
        reason = f"({implementation.log_name}) {rejection.outcome.text}"
        known = connection.naughty
        if reason not in known and known.count("\n") < MAX_REASONS:
            connection.naughty = f"{known}\n{reason}" if known else reason
        connection.naughty_reject_type = connection.naughty_reject_type or rejection.reject_type
    return DECLINED


def noted(
    implementation: Implementation,
    connection: Connection,
    answer: Answer,
    milliseconds: float,
    recipient: str = "",
) -> Answer:
    """Note an answer on the connection; a shadowed plugin's is noted and ignored.

    ``recipient`` is the path of the only one that it is for.
    """
    text = answer.text
    verdict = _NAMES[answer.code] if isinstance(answer, Outcome) else f"reply {answer.code}"
    if recipient:
        text = f"{recipient} {text}".rstrip()
    shadow = implementation.plugin.shadow
    if shadow:
        verdict = f"would have {verdict}"
        called_for = CALL.set((connection, implementation.hook))
        implementation.plugin.log.info("%s %s", verdict, text)
        CALL.reset(called_for)
    journal = connection.journal or connection.begin_journal()
    journal.append(JournalEntry(implementation.hook, implementation.log_name, verdict, text, milliseconds))
    return DECLINED if shadow else answer
