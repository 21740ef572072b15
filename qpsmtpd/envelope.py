"""MAIL and RCPT: who sends and who shall receive (RFC 5321 sections 4.1.1.2 and 4.1.1.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .answers import NO_SENDER, denial, hello_first, text_of
from .extensions import check_parameters
from .log import Level
from .outcome import OK, Code, Outcome
from .smtp.address import Address, AddressError, NeedsSMTPUTF8
from .smtp.command import parse_mail, parse_rcpt
from .smtp.reply import Next, Reply
from .transaction import Parameters, Recipient

if TYPE_CHECKING:
    from .session import Session

NESTED = Reply(503, "there is a sender already; RSET first", "5.5.1")
SENDER_OK = Reply(250, "sender OK, how exciting to get mail from you!", "2.1.0")
RECIPIENT_OK = Reply(250, "recipient OK", "2.1.5")
# The plugins were told of the recipients at the first BDAT, and have judged the message for them.
AFTER_BDAT = Reply(503, "the message comes by BDAT; RSET first", "5.5.1")
TOO_MANY = Reply(452, "too many recipients", "4.5.3")
TOO_MANY_MESSAGES = Reply(421, "too many messages, closing the connection", "4.7.0", Next.CLOSE)
UNDECIDED = Reply(450, "no plugin decided whether relaying is allowed", "4.7.1")
NO_BRACKETS = Reply(501, "the address needs angle brackets", "5.5.2")
NEEDS_SMTPUTF8 = Reply(553, "an internationalized address needs the SMTPUTF8 parameter", "5.6.7")


def check_mail(session: Session, argument: str) -> Reply | None:
    """Refuse a MAIL before the hello, within a transaction or past the limit."""
    # RFC 9422 section 4.1: every MAIL counts, whatever comes of it.
    session.mails += 1
    if 0 < session.limits.max_messages < session.mails:
        return TOO_MANY_MESSAGES
    if not session.connection.hello:
        return hello_first(session.lmtp)
    return NESTED if session.transaction.sender is not None else None


def check_rcpt(session: Session, argument: str) -> Reply | None:
    """Refuse a RCPT before MAIL or past the limit."""
    if session.transaction.sender is None:
        return NO_SENDER if session.connection.hello else hello_first(session.lmtp)
    if session.message is not None:
        return AFTER_BDAT
    if len(session.transaction.recipients) >= session.limits.max_recipients:
        return TOO_MANY
    return None


async def mail(session: Session, argument: str) -> Reply:
    """Begin a transaction, if the plugins like the sender."""
    if session.transaction.touched or "reset_transaction" in session.heard:
        # Notes that plugins made on the idle transaction at connect or hello belong to no message.
        await session.reset()
    session.connection.notes["envelope_from"] = argument
    rewrite = "mail_parse" in session.heard or "mail_pre" in session.heard
    path, parameters = (
        await _rewritten(session, "mail", parse_mail, argument) if rewrite else parse_mail(argument)
    )
    if isinstance(path, Reply):
        return path
    if parameters and (refused := check_parameters(session, "MAIL", parameters)):
        return refused
    sender = _address(path, "SMTPUTF8" in parameters, "5.1.7")
    if isinstance(sender, Reply):
        return sender
    session.transaction.parameters = parameters
    session.transaction.each = session.lmtp or "PRDR" in parameters
    if "mail" in session.heard:
        answer = await session.ask("mail", sender, parameters)
        if refused := denial("mail", answer):
            _log_denial(session, answer, sender)
            session.transaction.parameters = {}
            return refused
    session.transaction.sender = sender
    return SENDER_OK


async def rcpt(session: Session, argument: str) -> Reply:
    """Add a recipient, if a plugin says OK; nobody relays by default."""
    session.connection.notes["envelope_rcpt"] = argument
    rewrite = "rcpt_parse" in session.heard or "rcpt_pre" in session.heard
    path, parameters = (
        await _rewritten(session, "rcpt", parse_rcpt, argument) if rewrite else parse_rcpt(argument)
    )
    if isinstance(path, Reply):
        return path
    if parameters and (refused := check_parameters(session, "RCPT", parameters)):
        return refused
    address = _address(path, session.transaction.smtputf8, "5.1.3")
    if isinstance(address, Reply):
        return address
    if not address:
        return Reply(501, "a recipient needs an address", "5.1.3")
    recipient = Recipient(address, parameters, session.engine.user_config)
    answer = await session.ask("rcpt", recipient, parameters)
    if answer is not OK:
        if refused := denial("rcpt", answer):
            return refused
        if isinstance(answer, Outcome) and answer.code is not Code.OK:
            return UNDECIDED
    session.transaction.recipients.append(recipient)
    session.transaction.accepted.append(recipient)
    return RECIPIENT_OK


async def _rewritten(
    session: Session, verb: str, parse: Callable[[str], tuple[str, Parameters]], argument: str
) -> tuple[str | Reply, Parameters]:
    """Split the argument into path and parameters; the hooks may rewrite either."""
    answer = await session.ask(f"{verb}_parse", argument)
    if refused := denial(f"{verb}_parse", answer):
        return refused, {}
    path, parameters = parse(text_of(answer) or argument)
    answer = await session.ask(f"{verb}_pre", path, parameters)
    if refused := denial(f"{verb}_pre", answer):
        return refused, {}
    return text_of(answer) or path, parameters


def _address(path: str, smtputf8: bool, status: str) -> Address | Reply:
    try:
        return Address.parse(path, smtputf8=smtputf8)
    except NeedsSMTPUTF8:
        return NEEDS_SMTPUTF8
    except AddressError as error:
        if not (path.startswith("<") and path.endswith(">")):
            return NO_BRACKETS
        return Reply(501, f"malformed address: {error}", status)


def _log_denial(session: Session, answer: Outcome | Reply, sender: Address) -> None:
    """Log a refused sender in the words that log tools know."""
    if isinstance(answer, Outcome):
        word = "denysoft" if answer.code.soft else "deny"
        session.log(Level.INFO, "%s mail from %s (%s)", word, sender.path, answer.text)
