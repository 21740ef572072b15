"""One line to try a plugin's hook: ``Tried("badrcptto", config={...}).ask("rcpt", recipient="a@b")``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ..body import Body
from ..config import Line
from ..connection import Connection
from ..header import Header
from ..hooks import HOOKS
from ..implementation import Implementation
from ..loader import Loader
from ..log import Event, Level
from ..plugin import Plugin
from ..registry import Registry
from ..settling import Answer
from ..smtp.address import Address
from ..smtp.reply import Reply
from ..transaction import Recipient, Transaction
from ..verdicts import BEFORE_QUEUE, Verdicts
from ..waiting import start
from .dns import MemoryResolver
from .server import Values, make_services


class StrictRegistry(Registry):
    """Lets a plugin's failure come out, where a server would go by its ``on_error``."""

    def _failed(
        self, implementation: Implementation, connection: Connection | None, error: Exception
    ) -> Answer:
        super()._failed(implementation, connection, error)
        raise error


class Tried:
    """A plugin under test with a connection and a transaction to ask it about.

    What its hooks raise, and what is no answer, comes out of `ask`; `Server` tells what a client hears then.
    ``line`` is the plugin's line of config/plugins. Change ``connection`` and ``transaction`` as the case
    wants; ``log`` holds what was logged, as texts. ``reactor`` is a Clock that can do more, as spawn or
    connect.
    """

    def __init__(
        self,
        line: str,
        *,
        config: Values | None = None,
        dns: MemoryResolver | None = None,
        reactor: Clock | None = None,
        ip: str = "192.0.2.1",
    ) -> None:
        self.services = make_services(config, dns, reactor)
        self.clock: Clock = self.services.reactor
        self.events: list[Event] = []
        self.services.log.observe(Level.DEBUG, self.events.append)
        self.plugin: Plugin = Loader(self.services.config).load(Line(line, Path("plugins"), 1), self.services)
        self.registry = StrictRegistry(self.services)
        self.registry.add(self.plugin)
        self.connection = Connection(ip, 54321, "192.0.2.25", 25, number=1)
        self.transaction = Transaction()

    @property
    def log(self) -> list[str]:
        """The texts that were logged for a hook, without their origin."""
        return [event.text for event in self.events if event.hook]

    @property
    def answers(self) -> dict[str, Reply]:
        """What single recipients of the message were answered, by mailbox."""
        replies = self.transaction.verdicts.replies if self.transaction.verdicts else {}
        return {recipient.address.mailbox: reply for recipient, reply in replies.items()}

    def begin(self, hook: str, **arguments: Any) -> Answer | Deferred[Answer]:
        """Ask the plugin; give its answer, or a Deferred if it waits."""
        given = {"connection": self.connection, "transaction": self.transaction, **_made(arguments)}
        values = tuple(given.get(name, "") for name in HOOKS[hook].arguments)
        verdicts = self.transaction.verdicts
        if verdicts is not None and hook in (*BEFORE_QUEUE, "queue"):
            return start(verdicts.ask(hook, self.registry, self.connection, self.transaction))
        return start(self.registry.ask(hook, self.connection, values))

    def ask(self, hook: str, **arguments: Any) -> Answer:
        """Ask the plugin; give its answer, which must come at once."""
        answer = self.begin(hook, **arguments)
        if isinstance(answer, Deferred):
            raise AssertionError(f"{self.plugin.name} waits in {hook}")
        return answer

    def message(
        self, text: str, *, sender: str = "<a@example.com>", recipients: tuple[str, ...] = ()
    ) -> None:
        """Put a message (LF line ends) with its envelope into the transaction."""
        octets = text.replace("\n", "\r\n").encode()
        self.transaction.header, rest = Header.parse(octets)
        self.transaction.body = Body(self.services.spool, 1_000_000)
        self.transaction.body.write(rest)
        self.transaction.size = len(octets)
        self.transaction.sender = Address.parse(sender)
        self.transaction.recipients = [Recipient(Address.parse(path)) for path in recipients]
        self.transaction.accepted = list(self.transaction.recipients)
        self.transaction.verdicts = Verdicts()


def _made(arguments: dict[str, Any]) -> dict[str, Any]:
    """Let a test write addresses as text."""
    made = dict(arguments)
    if isinstance(made.get("recipient"), str):
        made["recipient"] = Recipient(Address.from_mailbox(made["recipient"]))
    if isinstance(made.get("sender"), str):
        made["sender"] = Address.parse(made["sender"])
    made.setdefault("parameters", {})
    made.setdefault("words", [])
    return made
