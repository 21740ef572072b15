"""The AUTH command (RFC 4954): who may try, the exchange, and what success means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .answers import DENIALS, hello_first, refuse
from .credentials import verifiers, verify
from .log import Level
from .mechanisms import MECHANISMS
from .outcome import DECLINED, DENY, OK, Code, Outcome
from .sasl import Channel, Credentials, SASLFault, Wanted, challenge_reply, decode_response
from .sasl_oauth import Refusal
from .secret import Secret
from .settling import Answer
from .smtp.reply import Next, Reply

if TYPE_CHECKING:
    from .session import Session

NOT_OFFERED = Reply(502, "AUTH is not available here", "5.5.1")
NEEDS_TLS = Reply(538, "encryption required, say STARTTLS first", "5.7.11")
NO_MECHANISM = Reply(501, "AUTH needs a mechanism", "5.5.4")
UNKNOWN_MECHANISM = Reply(504, "this mechanism is not offered", "5.5.4")
ALREADY = Reply(503, "you are authenticated already", "5.5.1")
IN_TRANSACTION = Reply(503, "AUTH is not allowed within a mail transaction", "5.5.1")
TOO_MANY_FAILURES = Reply(421, "too many failed attempts, closing the connection", "4.7.0", Next.CLOSE)


def redacted(verb: str, argument: str) -> str:
    """Give a command line as the log may see it: the initial response of AUTH is a secret."""
    if verb == "AUTH" and argument:
        mechanism, _, secret = argument.partition(" ")
        shown = mechanism if mechanism.upper() in MECHANISMS else "<unknown>"
        return f"AUTH {shown} <redacted>" if secret else f"AUTH {shown}"
    if verb.startswith("AUTH") and verb != "AUTH":
        return "AUTH <redacted>"  # some other white space than a blank
    return f"{verb} {argument}" if argument else verb


def configured(session: Session) -> list[str]:
    """Name the mechanisms that are switched on and that a plugin can check, TLS or not."""
    registry = session.engine.registry
    names = session.limits.auth_mechanisms
    return [name for name in names if name in MECHANISMS and MECHANISMS[name].checked(registry)]


def offered(session: Session) -> list[str]:
    """Name the mechanisms to announce now: none in clear if ``tls_before_auth`` is on."""
    connection = session.connection
    if (session.requires_tls or session.limits.tls_before_auth) and connection.tls is None:
        return []
    return [name for name in configured(session) if MECHANISMS[name].usable(connection)]


def check(session: Session, argument: str) -> Reply | None:
    """Refuse an AUTH that is out of order."""
    connection = session.connection
    if connection.hello != "ehlo":
        return hello_first(session.lmtp)
    if not configured(session):
        return NOT_OFFERED
    if connection.user:
        return ALREADY
    if session.transaction.sender is not None:
        return IN_TRANSACTION
    if not offered(session):
        return NEEDS_TLS
    return None


async def begin(session: Session, argument: str) -> Reply:
    """Start an exchange, with the initial response if the client gave one."""
    answer = await session.ask("auth_parse", argument)
    if isinstance(answer, Reply):
        return answer
    if answer.code.denies:
        return refuse(DENIALS["auth_parse"], answer)
    if answer.code is Code.OK and answer.text:
        argument = answer.text
    name, _, initial = argument.partition(" ")
    if not name:
        return NO_MECHANISM
    name = name.upper()
    usable = offered(session)
    if name not in usable:
        in_clear = session.connection.tls is None
        return NEEDS_TLS if in_clear and name in configured(session) else UNKNOWN_MECHANISM
    tls = session.connection.tls
    offers_binding = any(MECHANISMS[other].binding for other in usable)
    channel = Channel(session.me, tls.exporter if tls else b"", offers_binding)
    session.exchange = MECHANISMS[name].begin(channel)
    session.connection.auth_attempted = True
    return await _step(session, initial.strip().encode("utf-8", "surrogateescape") if initial else None)


async def go_on(session: Session, line: bytes) -> Reply:
    """Take the client's answer to a challenge."""
    return await _step(session, line)


async def _step(session: Session, line: bytes | None) -> Reply:
    exchange = session.exchange
    assert exchange is not None
    try:
        result = exchange.respond(None if line is None else decode_response(line))
    except SASLFault as fault:
        session.exchange = None
        return _counted(session, fault.reply)
    if isinstance(result, Wanted):
        secret = await verifiers(session, result.user, result.mechanism)
        if not isinstance(secret, Secret):
            session.exchange = None
            return _conclude(session, Credentials(result.mechanism, result.user), secret)
        result = result.proceed(secret)
    if isinstance(result, bytes):
        return challenge_reply(result)
    session.exchange = None
    return _conclude(session, result, await _judge(session, result), exchange.error_challenge)


async def _judge(session: Session, credentials: Credentials) -> Answer:
    """Find out whether the credentials are good: by the exchange's own proof, or by asking plugins."""
    if credentials.proven is not None:
        return OK if credentials.proven else DENY
    if credentials.token is not None:
        facts = credentials.mechanism, credentials.user, credentials.token
        return await session.ask(f"auth-{credentials.mechanism}", *facts)
    return await _judge_password(session, credentials)


async def _judge_password(session: Session, credentials: Credentials) -> Answer:
    """Ask the plugins of the mechanism, then those of every mechanism, then for the user's secret."""
    facts = (
        credentials.mechanism,
        credentials.user,
        credentials.password,
        credentials.digest,
        credentials.ticket,
    )
    answer: Answer = await session.ask(f"auth-{credentials.mechanism}", *facts)
    if isinstance(answer, Outcome) and answer.code is Code.DECLINED:
        answer = await session.ask("auth", *facts)
    if isinstance(answer, Reply) or answer.code is Code.OK or not session.engine.registry.has("credentials"):
        return answer
    # Who was refused already is checked, too: the time must not tell whom the first plugin knows.
    checked = await verify(session, credentials, refused=answer.code.denies)
    if answer.code.denies or (isinstance(checked, Outcome) and checked.code is Code.DECLINED):
        return answer
    return checked


def _conclude(session: Session, credentials: Credentials, answer: Answer, error: bytes = b"") -> Reply:
    """Make the reply; an ``error`` is a challenge that comes before the one of a refusal."""
    if isinstance(answer, Reply):
        return _counted(session, answer) if answer.code >= 400 else answer
    if answer.code is Code.OK and not credentials.user:
        # RFC 7628 section 3.1: the client may leave it to the token who it is.
        name, _, remark = answer.text.partition("\n")
        credentials, answer = replace(credentials, user=name), OK(remark) if name else DENY
    if answer.code is Code.OK:
        return _accept(session, credentials, answer)
    reply = _failure(session, credentials, answer)
    if error and reply.code == 535:
        session.exchange = Refusal(reply)
        # Many clients leave here, and the reply that says it does not come to the log.
        session.log(Level.INFO, "fail: the token of %s is refused", credentials.user or "-")
        return challenge_reply(error)
    return _counted(session, reply)


def _accept(session: Session, credentials: Credentials, answer: Outcome) -> Reply:
    connection = session.connection
    connection.relay_client = True
    connection.user = credentials.user
    connection.auth_mechanism = credentials.mechanism
    if connection.naughty:
        connection.naughty = ""
        session.log(Level.INFO, "auth success cleared naughty")
    text = f"{credentials.mechanism.upper()} authentication successful for {credentials.user}"
    return Reply(235, text + _remark(answer), "2.7.0")


def _failure(session: Session, credentials: Credentials, answer: Outcome) -> Reply:
    """Refuse in the words that fail2ban's filters match."""
    verdict = answer if answer.code.denies else DENY
    mechanism, address = credentials.mechanism.upper(), session.connection.remote_ip
    user = credentials.user or "-"
    text = f"{mechanism} authentication failed for {user} from {address}{_remark(answer)}"
    return refuse(DENIALS["auth"], Outcome(verdict.code, text, verdict.status))


def _remark(answer: Outcome) -> str:
    first = answer.text.split("\n", 1)[0] if answer is not DECLINED else ""
    return f" - {first}" if first else ""


def _counted(session: Session, reply: Reply) -> Reply:
    """Count a failed attempt; the last one that is allowed ends the session after its reply."""
    session.auth_failures += 1
    if session.auth_failures > session.limits.max_auth_failures:
        return TOO_MANY_FAILURES
    return reply
