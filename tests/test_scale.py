"""What one more costs beside many, counted instead of timed: lines of Python, here and in libraries.

One more session, recipient, piece of a message, entry of a list, question must not cost more because there
are many already; else what each of them costs grows with all of them. What C code does, as `list.remove`,
is not seen unless it compares what is `Compared`: think of it where you write it.
"""

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

from twisted.internet.base import DelayedCall, ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

import qpsmtpd.kit.dns
from qpsmtpd import DECLINED, OK, Address, Recipient, Transaction
from qpsmtpd.config import Config
from qpsmtpd.connection import Connection
from qpsmtpd.engine import Engine
from qpsmtpd.factory import Connections, SMTPFactory
from qpsmtpd.header import Header
from qpsmtpd.kit import dns_exchange
from qpsmtpd.kit.batches import Batches
from qpsmtpd.kit.clients import Clients
from qpsmtpd.kit.dns import Resolver
from qpsmtpd.kit.match import AddressPatterns, HostPatterns, Networks
from qpsmtpd.kit.store import Row
from qpsmtpd.kit.storememory import MemoryTable
from qpsmtpd.ledger import Ledger
from qpsmtpd.registry import Registry
from qpsmtpd.testing import Server
from qpsmtpd.testing.server import make_services
from qpsmtpd.trace import MAX_NESTED, rename_foreign_results
from qpsmtpd.verdicts import Verdicts

FEW, MANY = 20, 1000
ROOM = 1.2
"""How much more one may cost beside many; a step for each of them is more than that."""

Act = Callable[[], object]


class Steps:
    """Counts lines while it is entered; within one, each round of a loop."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Steps":
        self._before = sys.gettrace()
        sys.settrace(self._step)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.settrace(self._before)

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        self.count += 1
        return self._step


class Compared:
    """Lets it be seen when a list is looked through for something: in C each comparison is a call."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class ComparedRecipient(Compared, Recipient):
    pass


class ComparedDeferred(Compared, Deferred[Any]):
    pass


class Reactor(ReactorBase):
    """A reactor's timers, as the real one has them; its time stands still."""

    def installWaker(self) -> None:
        """Sleep never."""

    def seconds(self) -> float:
        return 0.0

    def settle(self) -> None:
        """Have no timer wait for the next turn."""
        self._insertNewDelayedCalls()

    def _moveCallLaterSooner(self, delayedCall: DelayedCall) -> None:
        for other in self._pendingTimedCalls:  # Twisted looks for it in C
            if other is delayedCall:
                break


class ScaleTests(SynchronousTestCase):
    def judge(self, prepare: Callable[[int], Act]) -> None:
        """Fail if what is prepared for a number costs more for a large one; it is done twice."""
        few, many = self.steps(prepare(FEW)), self.steps(prepare(MANY))
        self.assertLessEqual(many, few * ROOM, f"{few} steps beside {FEW}, {many} beside {MANY}")

    def steps(self, act: Act) -> int:
        act()  # what the first one has to look up is kept for the others
        with Steps() as steps:
            act()
        return steps.count


class StepTests(ScaleTests):
    def test_seen(self) -> None:
        """What looks through everything is seen, in an expression and within a library."""

        def prepare(number: int) -> Act:
            return lambda: any(one < 0 for one in range(number))

        self.assertRaises(self.failureException, self.judge, prepare)
        self.assertRaises(
            self.failureException, self.judge, lambda number: lambda: textwrap.indent("x\n" * number, ">")
        )
        self.judge(lambda number: lambda: len(range(number)))


class SessionTests(ScaleTests):
    """Beside open sessions."""

    def beside(self, end: Callable[[Any], object], counts: Callable[[], Any] = lambda: None) -> None:
        """Judge a session, with its end."""

        def prepare(number: int) -> Act:
            reactor: Any = Reactor()
            hooks = {"rcpt": lambda: OK, "queue": lambda: OK}
            config = {"me": "mail.example.com", "reverse_dns": "0", "max_from_ip": "1"}
            factory = SMTPFactory(
                reactor, hooks=hooks, config=config, tls_context=object(), shared=Connections(counts())
            )
            for _ in range(number):
                self.begin(factory)
            reactor.settle()

            def act() -> None:
                protocol = self.begin(factory)
                reactor.settle()
                end(protocol)
                protocol.connectionLost(Failure(ConnectionLost()))

            return act

        self.judge(prepare)

    def begin(self, factory: SMTPFactory) -> Any:
        """Connect and say hello."""
        protocol: Any = factory.buildProtocol(None)
        transport: Any = StringTransport()
        transport.startTLS = lambda context: None
        transport.abortConnection = lambda: None
        protocol.makeConnection(transport)
        protocol.dataReceived(b"EHLO client.example.com\r\n")
        self.assertIn(b"250", transport.value())
        return protocol

    def test_quit(self) -> None:
        self.beside(lambda protocol: protocol.dataReceived(b"QUIT\r\n"))

    def test_lost(self) -> None:
        self.beside(lambda protocol: None)

    def test_handshake(self) -> None:
        self.beside(lambda protocol: protocol.dataReceived(b"STARTTLS\r\n"))

    def test_time_out(self) -> None:
        self.beside(lambda protocol: protocol._time_out())

    def test_message(self) -> None:
        message = b"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nA: b\r\n.\r\n"
        self.beside(lambda protocol: protocol.dataReceived(message))

    def test_shared_counts(self) -> None:
        """Workers count them together."""

        def counts() -> Ledger:
            ledger = Ledger.create(2, MANY + 10)
            return Ledger(ledger.descriptor, 2, MANY + 10, column=0)

        self.beside(lambda protocol: None, counts)


class MessageTests(ScaleTests):
    """Beside parts of one message."""

    def talk(self, *before: str, plugins: tuple[str, ...] = (), hooks: dict[str, Any] | None = None) -> Any:
        config = {
            "rcpthosts": "example.org",
            "badrcptto": "x@example.org",
            "dnsbl_zones": "zen.example",
            "max_recipients": "2000",
        }
        server = Server(plugins, hooks={"queue": lambda: OK, **(hooks or {})}, config=config)
        client = server.connect()
        client.say("EHLO me", "MAIL FROM:<a@example.com>", *before)
        return client

    def test_recipients(self) -> None:
        plugins = ("relay", "dnsbl reject naughty", "badrcptto", "rcpt_ok")

        def prepare(number: int) -> Act:
            client = self.talk(*["RCPT TO:<b@example.org>"] * number, plugins=plugins)
            return lambda: self.assertIn("250 ", client.say("RCPT TO:<c@example.org>"))

        self.judge(prepare)

    def test_answers(self) -> None:
        """To single recipients."""

        def prepare(number: int) -> Act:
            transaction = Transaction()
            recipients = [ComparedRecipient(Address("a", "example.org")) for _ in range(number)]
            transaction.accepted += recipients
            transaction.verdicts = Verdicts()
            transaction.verdicts._hook = "queue"
            return lambda: transaction.answer(recipients.pop(), OK)

        self.judge(prepare)

    def test_segments(self) -> None:
        """In the header, in a line, and in the body."""
        for start in ("", "A: ", "A: b\r\n\r\n"):

            def prepare(number: int, start: str = start) -> Act:
                client = self.talk("RCPT TO:<b@example.org>", "DATA", hooks={"rcpt": lambda: OK})
                client.send(start.encode())
                for _ in range(number):
                    client.send(b"ab")
                return lambda: client.send(b"ab")

            self.judge(prepare)

    def test_chunks(self) -> None:
        def prepare(number: int) -> Act:
            client = self.talk("RCPT TO:<b@example.org>", hooks={"rcpt": lambda: OK})
            client.send(b"BDAT 1\r\na" * number)
            return lambda: client.send(b"BDAT 1\r\na")

        self.judge(prepare)

    def test_waiting_commands(self) -> None:
        """What comes while a plugin waits is only put behind what has come before."""

        def prepare(number: int) -> Act:
            client = self.talk("RCPT TO:<b@example.org>", hooks={"rcpt": lambda recipient: Deferred()})
            for _ in range(number):
                client.send(b"NOOP\r\n")
            return lambda: client.send(b"NOOP\r\n")

        self.judge(prepare)

    def test_journal(self) -> None:
        def prepare(number: int) -> Act:
            client = self.talk(hooks={"noop": lambda: OK, "rcpt": lambda: DECLINED})
            for _ in range(number):
                client.say("NOOP")
            return lambda: client.say("NOOP")

        self.judge(prepare)

    def test_fields(self) -> None:
        """Beside fields of the header, taken apart or not."""
        for ask in (lambda header: header, Header.names):

            def prepare(number: int, ask: Callable[[Header], object] = ask) -> Act:
                header = Header(b"a: b\r\n" * number)
                ask(header)
                return lambda: (header.add("c", "d"), header.put_on_top(b"e: f\r\n"))

            self.judge(prepare)

    def test_comments(self) -> None:
        """Within comments, in a field that may claim to be ours."""

        def prepare(number: int) -> Act:
            depth = MAX_NESTED + number // 4
            field = "Authentication-Results: " + "(" * depth + ")" * depth + " x; y\r\n"
            return lambda: rename_foreign_results(Header(field.encode()), ("mail.example.com",))

        self.judge(prepare)


class ListTests(ScaleTests):
    """Beside entries of a list."""

    def beside(self, make: Callable[[list[str]], Any], form: str, find: Callable[[Any], object]) -> None:
        """Judge a question to a list of what has a form."""

        def prepare(number: int) -> Act:
            made = make([form % (n // 256, n % 256) for n in range(number)])
            return lambda: find(made)

        self.judge(prepare)

    def test_networks(self) -> None:
        self.beside(Networks, "10.0.%d.%d", lambda made: made.find("192.0.2.1"))

    def test_clients(self) -> None:
        """Exempt from greylisting."""
        for form in ("10.0.%d.%d", "h%d-%d.example"):
            self.beside(Clients, form, lambda made: made.has("192.0.2.1", "client.example"))

    def test_hosts(self) -> None:
        for form in ("h%d-%d.example", ".h%d-%d.example"):
            self.beside(HostPatterns, form, lambda made: made.find("client.example"))

    def test_addresses(self) -> None:
        for form in ("u%d-%d@example.org", "@h%d-%d.example"):
            self.beside(AddressPatterns, form, lambda made: made.find("u@client.example"))

    def test_refresh(self) -> None:
        """Each second, when nothing has changed."""
        names = ("trusted_proxies", "rcpthosts", "badmailfrom")

        def prepare(number: int) -> Act:
            clock = Clock()
            directory = Path(self.mktemp())
            directory.mkdir()
            for name in names:
                path = directory / name
                path.write_text("".join(f"10.0.{n // 256}.{n % 256}\n" for n in range(number)))
                os.utime(path, (0, 0))  # else it is so young that it is read again
            services = make_services()
            services.config = Config([directory], now=clock.seconds)
            engine = Engine(Registry(services), services)

            def act() -> None:
                clock.advance(2)
                engine.refresh()
                for name in names:
                    services.config.lines(name)

            return act

        self.judge(prepare)


class KeptTests(ScaleTests):
    """Beside what is kept, and what waits."""

    def test_entries(self) -> None:
        """Of a store in memory."""

        def prepare(number: int) -> Act:
            table = MemoryTable(number)
            for n in range(number):
                table.put("space", b"%d" % n, Row("1", 5.0), 0.0)
            keys = iter(range(number, 2 * number))
            return lambda: table.put("space", b"%d" % next(keys), Row("1", 5.0), 0.0)

        self.judge(prepare)

    def test_batches(self) -> None:
        """Waiting for a thread."""

        def prepare(number: int) -> Act:
            batches: Batches[int] = Batches(lambda *_: Deferred(), lambda _: None, 10)
            for n in range(number):
                batches.add(n)
            return lambda: batches.add(0)

        self.judge(prepare)

    def test_findings(self) -> None:
        """Of plugins about a client."""

        def prepare(number: int) -> Act:
            results = Connection().results
            for _ in range(number):
                results.add("plugin", passed="x")
            return lambda: results.add("plugin", passed="x")

        self.judge(prepare)

    def test_questions(self) -> None:
        """To the DNS, one that is answered nowhere."""

        def prepare(number: int) -> Act:
            resolver = self.resolver()
            for n in range(number):
                resolver.a(f"h{n}.example")
            return lambda: resolver.a("more.example").addErrback(lambda _: None).cancel()

        self.judge(prepare)

    def test_same_question(self) -> None:
        """To the DNS, that is answered nowhere."""
        self.patch(qpsmtpd.kit.dns, "Deferred", ComparedDeferred)

        def prepare(number: int) -> Act:
            resolver = self.resolver()
            for _ in range(number):
                resolver.a("a.example")
            return lambda: resolver.a("a.example").addErrback(lambda _: None).cancel()

        self.judge(prepare)

    def resolver(self) -> Resolver:
        """Make a resolver whose servers are silent."""
        self.patch(dns_exchange, "socket", lambda family, kind: mock.Mock())
        reactor: Any = Reactor()
        directlyProvides(reactor, IReactorFDSet)
        reactor.addReader = reactor.removeReader = lambda reader: None
        return Resolver(reactor, [("192.0.2.53", 53)], hosts="/none", resolv_conf="/none", max_queries=2000)
