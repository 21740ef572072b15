"""NOOP, VRFY and HELP: commands that change nothing (RFC 5321 sections 4.1.1.6 to 4.1.1.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answers import denial
from .outcome import DECLINED, Code, Outcome
from .smtp.reply import Reply

if TYPE_CHECKING:
    from .session import Session

NOOP_DONE = Reply(250, "OK", "2.0.0")
WHOM = Reply(501, "VRFY needs a user name or address", "5.5.4")
CANNOT_VERIFY = Reply(252, "just try a delivery and find out", "2.5.2")


async def noop(session: Session, argument: str) -> Reply:
    """Answer."""
    answer = await session.ask("noop", argument) if "noop" in session.heard else DECLINED
    return denial("noop", answer) or NOOP_DONE


def check_vrfy(session: Session, argument: str) -> Reply | None:
    """Refuse it without whom to verify (RFC 5321 section 4.1.1.6)."""
    return None if argument else WHOM


async def vrfy(session: Session, argument: str) -> Reply:
    """Say that only a delivery will tell, unless a plugin knows better."""
    answer = await session.ask("vrfy", argument)
    if refused := denial("vrfy", answer):
        if isinstance(answer, Outcome) and answer.code is Code.DENY:
            await session.reset()  # as upstream has it
        return refused
    if isinstance(answer, Outcome) and answer.code is Code.OK:
        return Reply(250, answer.text or argument, "2.1.5")
    return CANNOT_VERIFY


async def show_help(session: Session, argument: str) -> Reply:
    """Give the text of a plugin, or our own."""
    answer = await session.ask("help", argument)
    if refused := denial("help", answer):
        return refused
    text = answer.text if isinstance(answer, Outcome) else ""
    return Reply(214, text or session.engine.help_text, "2.0.0")
