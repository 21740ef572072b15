"""An SMTP session: commands in, replies out. Knows no transport, no octets beyond a line, no clock.

The rules (RFC 5321 section 4.1.4):

1. Each verb is one row of VERBS: `check` refuses what is out of order or malformed before any plugin is
   asked, `proceed` asks the hook and acts on its outcome. A verb without a row is unrecognized.
2. The state is what the facts say: a hello on the connection, a sender and recipients on the transaction,
   an exchange of AUTH, a message being read. There is no other state.
3. A handler returns its reply; what may come next is part of the reply. Only BDAT has none: `chunk` tells
   what comes before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple

from . import auth, chunking, content, envelope, hello, inquiry, starttls, xclient
from .answers import NO_ARGUMENT, NOT_IMPLEMENTED, denial, text_of
from .budget import Budget
from .connection import Connection
from .log import Level
from .outcome import DECLINED
from .settling import Answer
from .smtp.command import SyntaxFault, split_command
from .smtp.foreign import NOT_SMTP, foreign_protocol
from .smtp.receiver import Chunk, Content, Event, Fault
from .smtp.reply import Next, Reply
from .transaction import Transaction

if TYPE_CHECKING:
    from .engine import Engine
    from .sasl import Exchange

_INFO = Level.INFO  # looking up a member of an Enum costs as much as a hook
RESET_DONE = Reply(250, "OK", "2.0.0")
UNRECOGNIZED = Reply(500, "unrecognized command", "5.5.1")


class Session:
    """One client's conversation with the engine."""

    __slots__ = (
        "after_auth",
        "auth_failures",
        "budget",
        "chunk",
        "connection",
        "engine",
        "exchange",
        "heard",
        "limits",
        "lmtp",
        "mails",
        "me",
        "message",
        "offers_tls",
        "promised",
        "queued",
        "regreet",
        "requires_tls",
        "transaction",
        "trusted",
        "verbs",
    )

    def __init__(
        self,
        engine: Engine,
        connection: Connection,
        *,
        offers_tls: bool = False,
        requires_tls: bool = False,
        lmtp: bool = False,
    ) -> None:
        self.engine = engine
        self.lmtp = lmtp  # RFC 2033
        self.verbs = LMTP_VERBS if lmtp else VERBS
        self.offers_tls = offers_tls
        self.requires_tls = requires_tls
        self.connection = connection
        self.heard = engine.registry.heard  # whoever asks a hook in vain pays for it with every message
        self.limits = engine.limits
        self.me = engine.me
        self.trusted = engine.trusts(connection)  # to speak for others
        self.regreet: Callable[[Session, str], Awaitable[Reply]] | None = None  # given by who greeted
        self.promised: frozenset[str] = frozenset()  # to the client, in the reply to its EHLO
        self.transaction = Transaction()
        self.exchange: Exchange | None = None
        self.message: content.Incoming | None = None
        self.chunk: chunking.Pending | None = None
        self.queued = False  # the message was handed to the queue, and that is not settled yet
        self.mails = 0
        self.budget = Budget(engine.limits)
        self.auth_failures = 0
        self.after_auth = False  # what looks like no command may be the secret of a refused AUTH

    def handle(self, event: Event) -> Coroutine[Any, Any, Reply | None]:
        """Begin to handle what the receiver read; the coroutine gives the reply.

        It gives None if more of the message must come first, and after a command that is the chunk that
        ``chunk`` describes.
        """
        if isinstance(event, bytes):
            return self._command(event) if self.exchange is None else self._go_on(event)
        if isinstance(event, Content):
            return content.take(self, event)
        if isinstance(event, Chunk):
            # Not counted as errors: many chunks may be on their way when one is refused (RFC 3030 section 2).
            return chunking.take(self, event)
        return self._fault(event)

    async def _fault(self, fault: Fault) -> Reply:
        bdat = self.exchange is None and fault.began.upper() == b"BDAT"
        self.exchange = None
        return self.budget.judged(chunking.NO_COUNT if bdat else fault.reply)

    async def _go_on(self, line: bytes) -> Reply:
        return self.budget.judged(await auth.go_on(self, line))

    async def _command(self, line: bytes) -> Reply | None:
        if spent := self.budget.spend_command():
            return spent
        verb, argument = split_command(line)
        row = self.verbs.get(verb)
        if row is None or self.after_auth or verb == "AUTH" or self.engine.log.threshold >= _INFO:
            if row is None and (protocol := foreign_protocol(line)):
                self.log(Level.NOTICE, "closing: the client speaks %s", protocol)
                return NOT_SMTP
            self._note_command(row is not None, verb, argument)
        if self.requires_tls and (refused := starttls.too_clear(self, verb)):
            return self.budget.judged(refused)
        try:
            if row is None:
                reply: Reply | None = await _unrecognized(self, verb, argument)
            else:
                reply = row.check(self, argument) or await row.proceed(self, argument)
        except SyntaxFault as fault:
            reply = fault.reply
        if reply is None or reply.code < 500:
            return reply
        return self.budget.judged(reply, recipient=verb == "RCPT")

    def _note_command(self, known: bool, verb: str, argument: str) -> None:
        """Log a command; what follows a refused AUTH may be its secret, and looks like no command."""
        secret = not known and self.after_auth
        self.log(_INFO, "dispatching %s", "<redacted>" if secret else auth.redacted(verb, argument))
        self.after_auth = verb.startswith("AUTH") or secret

    def note_early(self) -> None:
        """Note that the client spoke before the greeting."""
        if not self.connection.early_talker:
            self.connection.early_talker = True
            self.log(_INFO, "early talker: spoke before the greeting")

    def log(self, level: Level, text: str, *values: object) -> None:
        """Log a line of the engine's own about this connection."""
        log = self.engine.log
        if level <= log.threshold:
            log.emit(level, text, *values, connection=self.connection)

    def log_tls(self) -> None:
        """Log a STARTTLS in the words, and under the names, that upstream's log tools know."""
        origin = {"hook": "unrecognized_command", "plugin": "tls"}
        self.engine.log.emit(_INFO, "TLS setup returning", connection=self.connection, **origin)

    def ask(self, hook: str, *arguments: Any) -> Awaitable[Answer]:
        """Ask a hook that takes connection and transaction first."""
        connection = self.connection
        return self.engine.registry.ask(hook, connection, (connection, self.transaction, *arguments))

    async def tell(self, hook: str) -> None:
        """Tell a hook that takes connection and transaction only."""
        connection = self.connection
        await self.engine.registry.tell(hook, connection, (connection, self.transaction))

    async def reset(self) -> None:
        """Drop the transaction, telling the plugins first."""
        if "reset_transaction" in self.heard:
            await self.tell("reset_transaction")
        if self.trusted and self.transaction.sender is not None:
            self.connection.notes.pop("xforward", None)  # it was about this message
        self.transaction.close()
        self.transaction = Transaction()
        self.message = None

    @property
    def tells_end(self) -> bool:
        """Tell whether any plugin hears of the end of a message, for which the client need not wait."""
        return "queue_post" in self.heard or "reset_transaction" in self.heard

    async def settle(self) -> None:
        """Do what is left to do for a message when the client has its answer."""
        try:
            if "queue_post" in self.heard:
                await self.tell("queue_post")
            await self.reset()
        finally:
            self.queued = False

    async def greet(self) -> Reply:
        """Ask the plugins whether to talk to this client at all, and say hello."""
        connection = self.connection
        self.log(Level.NOTICE, "Connection from %s [%s]", connection.log_name, connection.remote_ip)
        answer = await self.ask("connect") if "connect" in self.heard else DECLINED
        greeting = self.engine.lmtp_greeting if self.lmtp else self.engine.greeting
        return denial("connect", answer) or greeting

    async def finish(self) -> None:
        """Tell the plugins that the client is gone; nothing of the message stays."""
        await (self.settle() if self.queued else self.reset())
        for hook in ("disconnect", "post-connection"):
            if hook in self.heard:
                await self.tell(hook)
        self.log(_INFO, "cleaning up after %d", self.connection.number)

    def begin_again(self, connection: Connection) -> None:
        """Go on with another client, who has said nothing yet (XCLIENT)."""
        self.connection = connection
        self.promised = frozenset()
        self.exchange = None

    def forget_client(self) -> None:
        """Forget what was said in clear; RFC 3207 section 4.2."""
        self.connection.forget_client()
        self.exchange = None


# Each verb's check: None lets the command proceed.


def _nothing(session: Session, argument: str) -> Reply | None:
    return None


def _no_argument(session: Session, argument: str) -> Reply | None:
    return NO_ARGUMENT if argument else None


async def _rset(session: Session, argument: str) -> Reply:
    await session.reset()
    return RESET_DONE


async def _quit(session: Session, argument: str) -> Reply:
    answer = await session.ask("quit") if "quit" in session.heard else DECLINED
    if isinstance(answer, Reply) and answer.code < 400:
        return answer.closing()
    if text := text_of(answer):
        return Reply(221, text, "2.0.0", Next.CLOSE)
    return session.engine.farewell


async def _not_implemented(session: Session, argument: str) -> Reply:
    return NOT_IMPLEMENTED


async def _unrecognized(session: Session, verb: str, argument: str) -> Reply:
    answer = await session.ask("unrecognized_command", verb.lower(), argument, session.after_auth)
    return denial("unrecognized_command", answer) or UNRECOGNIZED


class Verb(NamedTuple):
    """What a verb does: refuse before any plugin is asked, then ask and act."""

    check: Callable[[Session, str], Reply | None]
    proceed: Callable[[Session, str], Awaitable[Reply | None]]


VERBS: dict[str, Verb] = {
    "HELO": Verb(_nothing, hello.helo),
    "EHLO": Verb(_nothing, hello.ehlo),
    "MAIL": Verb(envelope.check_mail, envelope.mail),
    "RCPT": Verb(envelope.check_rcpt, envelope.rcpt),
    "DATA": Verb(content.check_data, content.data),
    "BDAT": Verb(_nothing, chunking.bdat),
    "RSET": Verb(_no_argument, _rset),
    "NOOP": Verb(_nothing, inquiry.noop),
    "VRFY": Verb(inquiry.check_vrfy, inquiry.vrfy),
    "HELP": Verb(_nothing, inquiry.show_help),
    "XCLIENT": Verb(xclient.check, xclient.become),
    "XFORWARD": Verb(xclient.check, xclient.forward),
    "QUIT": Verb(_no_argument, _quit),
    "AUTH": Verb(auth.check, auth.begin),
    "STARTTLS": Verb(starttls.check, starttls.begin),
    "EXPN": Verb(_nothing, _not_implemented),
    "ETRN": Verb(_nothing, _not_implemented),
    "TURN": Verb(_nothing, _not_implemented),
    "SEND": Verb(_nothing, _not_implemented),
    "SOML": Verb(_nothing, _not_implemented),
    "SAML": Verb(_nothing, _not_implemented),
}

# RFC 2033 section 4.1: LHLO stands for HELO and EHLO, which are no commands of LMTP.
LMTP_VERBS = {verb: row for verb, row in VERBS.items() if verb not in ("HELO", "EHLO")}
LMTP_VERBS["LHLO"] = Verb(_nothing, hello.lhlo)
