"""From a hook's outcome to the reply: one table, so that no verb can drift from the others.

A soft denial with disconnect is 421 everywhere (RFC 5321 section 3.8); a hard one keeps its 5yz code
and closes. What a plugin leaves away, text or enhanced status, the table fills in.
"""

from __future__ import annotations

from typing import NamedTuple

from .outcome import DECLINED, OK, Code, Outcome
from .settling import Answer
from .smtp.reply import Next, Reply

# What more than one verb answers.
HELLO_FIRST = Reply(503, "say EHLO first", "5.5.1")
LHLO_FIRST = Reply(503, "say LHLO first", "5.5.1")
NO_SENDER = Reply(503, "say MAIL first", "5.5.1")
NO_ARGUMENT = Reply(501, "no argument allowed", "5.5.4")
NOT_IMPLEMENTED = Reply(502, "command not implemented", "5.5.1")
TOO_BIG = Reply(552, "the message is larger than allowed here", "5.3.4")
QUEUED = Reply(250, "Queued!", "2.0.0")
NOT_QUEUED = Reply(451, "the message could not be queued, please try again later", "4.3.0")


class Denial(NamedTuple):
    """How a hook refuses: code and enhanced status for hard and soft denials, and the text without one."""

    hard: int
    hard_status: str
    soft: int
    soft_status: str
    text: str
    closing: bool = False
    """whether every denial ends the session"""
    hard_disconnect: int = 0
    """the code of a hard denial with disconnect, where it differs"""


_CONNECT = Denial(554, "5.7.1", 421, "4.7.1", "connection denied", closing=True)
_HELLO = Denial(550, "5.7.1", 450, "4.7.1", "your greeting is not accepted")
_CONTENT = Denial(552, "5.7.1", 452, "4.7.1", "message denied")
_SYNTAX = Denial(501, "5.5.2", 501, "5.5.2", "syntax error")

DENIALS: dict[str, Denial] = {
    "pre-connection": _CONNECT,
    "connect": _CONNECT,
    "helo": _HELLO,
    "ehlo": _HELLO,
    "helo_parse": _SYNTAX,
    "ehlo_parse": _SYNTAX,
    "mail_parse": _SYNTAX,
    "rcpt_parse": _SYNTAX,
    "auth_parse": _SYNTAX,
    "mail_pre": Denial(550, "5.7.1", 450, "4.7.1", "sender denied"),
    "rcpt_pre": Denial(550, "5.7.1", 450, "4.7.1", "recipient denied"),
    "mail": Denial(550, "5.7.1", 450, "4.7.1", "sender denied"),
    "rcpt": Denial(550, "5.7.1", 450, "4.7.1", "relaying denied"),
    "data": Denial(554, "5.7.1", 451, "4.7.1", "message denied"),
    "data_headers_end": Denial(554, "5.7.1", 451, "4.7.1", "message denied"),
    "data_post_headers": _CONTENT,
    "data_post": _CONTENT,
    "queue_pre": _CONTENT,
    "queue": Denial(552, "5.3.0", 452, "4.3.0", "message not queued"),
    "auth": Denial(535, "5.7.8", 454, "4.7.0", ""),
    "vrfy": Denial(554, "5.7.1", 450, "4.7.1", "access denied"),
    "noop": Denial(500, "5.7.1", 450, "4.7.1", "stop wasting my time"),
    "help": Denial(500, "5.7.1", 450, "4.7.1", "no help for you"),
    "unrecognized_command": Denial(500, "5.5.1", 500, "5.5.1", "unrecognized command", hard_disconnect=521),
}


def hello_first(lmtp: bool) -> Reply:
    """Ask for the hello of the client's language (RFC 2033 section 4.1)."""
    return LHLO_FIRST if lmtp else HELLO_FIRST


def denial(hook: str, answer: Answer) -> Reply | None:
    """Give the reply of an answer that ends the command: a denial, or the plugin's own reply.

    None means that the command goes on: OK or DECLINED.
    """
    if answer is DECLINED or answer is OK:
        return None
    if isinstance(answer, Reply):
        return _greeting(answer) if DENIALS[hook].closing else answer
    if not answer.code.denies:
        return None
    return refuse(DENIALS[hook], answer)


def text_of(answer: Answer) -> str:
    """Give the text of an OK, "" if it has none and for anything else."""
    return answer.text if isinstance(answer, Outcome) and answer.code is Code.OK else ""


def refuse(row: Denial, outcome: Outcome) -> Reply:
    """Make the reply of a denial."""
    text = outcome.text or row.text
    code, status = (row.soft, row.soft_status) if outcome.code.soft else (row.hard, row.hard_status)
    if outcome.code is Code.DENYSOFT_DISCONNECT:
        code = 421
    elif outcome.code is Code.DENY_DISCONNECT and row.hard_disconnect:
        code = row.hard_disconnect
    closes = row.closing or outcome.code.disconnects
    return Reply(code, text, outcome.status or status, Next.CLOSE if closes else Next.COMMAND)


def queued(answer: Answer) -> Reply:
    """Make the reply of an answer of the hook ``queue``; only OK means that the message is stored."""
    if refused := denial("queue", answer):
        return refused
    assert isinstance(answer, Outcome)
    if answer is OK:
        return QUEUED
    if answer.code is Code.OK:
        return Reply(250, answer.text or QUEUED.text, answer.status or QUEUED.status)
    if not answer.text:
        return NOT_QUEUED
    return Reply(451, answer.text, answer.status or NOT_QUEUED.status)


def _greeting(answer: Reply) -> Reply:
    """Make a plugin's own reply fit for a greeting: 220, 554 or 421 (RFC 5321 section 4.3.2)."""
    if answer.code < 400:
        return answer
    return Reply(421 if answer.code < 500 else 554, answer.text, answer.status, Next.CLOSE)
