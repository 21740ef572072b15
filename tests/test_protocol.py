"""The pump between transport and session: order, time limits, pausing, loss, TLS, the end."""

import gc
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import ISSLTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from qpsmtpd import OK
from qpsmtpd.log import Level
from qpsmtpd.pace import CLOSE_GRACE, HANDSHAKE_TIMEOUT
from qpsmtpd.protocol import HIGH_WATER
from qpsmtpd.testing import Server

from .test_kit_smtpout_tls import certificate
from .wires import PausingTransport, TLSClient, TLSTransport


class Waiting:
    """A hook that answers when the test wants it to, and remembers that it was cancelled."""

    def __init__(self) -> None:
        self.deferreds: list[Deferred[Any]] = []
        self.cancelled = 0

    def __call__(self) -> Deferred[Any]:
        self.deferreds.append(Deferred(self.cancel))
        return self.deferreds[-1]

    def cancel(self, _: Deferred[Any]) -> None:
        self.cancelled += 1


def patient(client: Any) -> PausingTransport:
    """Give the client a transport that does not close at once."""
    transport = client.transport
    transport.__class__ = PausingTransport
    return transport


def count_objects() -> dict[str, int]:
    """Count what there is of each kind that a session is made of."""
    kinds = (
        "SMTPProtocol",
        "Session",
        "Transaction",
        "Receiver",
        "Alarm",
        "Pace",
        "Budget",
        "Body",
    )
    names = Counter(type(one).__name__ for one in gc.get_objects())
    return {kind: names[kind] for kind in kinds}


class Case(SynchronousTestCase):
    config: ClassVar = {"timeout": "100", "reverse_dns": "0"}

    def connect(self, hooks: dict[str, Any] | None = None, **config: str) -> Any:
        self.server = Server(hooks=hooks, config={**self.config, **config})
        self.clock = self.server.clock
        client = self.server.connect()
        self.greeting = client.read()
        return client

    def tearDown(self) -> None:
        """Nobody leaves a delayed call behind."""
        self.clock.advance(0)
        for protocol in list(self.server.factory.connections._protocols):
            protocol.connectionLost()
        self.assertEqual([], self.clock.getDelayedCalls())


class PumpTests(Case):
    def test_order(self) -> None:
        """Pipelined commands are answered in order, however slow a plugin is."""
        slow = Waiting()
        client = self.connect({"noop": slow})
        self.assertEqual("", client.say("NOOP", "RSET x"))
        slow.deferreds[0].callback(None)
        self.assertEqual(["250", "501"], [line[:3] for line in client.read().splitlines()])

    def test_one_brings_what_another_waits_for(self) -> None:
        """A plugin's lines are its own session's, though it let another session go on before."""
        shared: Deferred[Any] = Deferred()
        lines: list[tuple[int, str, str]] = []

        async def bring(connection: Any) -> None:
            shared.callback(None)
            self.server.registry.plugins[0].log.info("brought")

        client = self.connect({"noop": lambda: shared, "vrfy": bring})
        self.server.engine.log.observe(
            Level.INFO, lambda event: lines.append((event.number, event.hook, event.text))
        )
        other = self.server.connect()
        client.say("NOOP")
        other.say("VRFY x")
        self.assertEqual("250 2.0.0 OK\r\n", client.read())
        [brought] = [line for line in lines if line[2] == "brought"]
        self.assertEqual((2, "vrfy", "brought"), brought)

    def test_flushed_before_waiting(self) -> None:
        """What is answered is written before a plugin waits."""
        client = self.connect({"vrfy": Waiting()})
        self.assertEqual("250 2.0.0 OK", client.say("NOOP", "VRFY x", "NOOP"))

    def test_one_write(self) -> None:
        """The replies of a burst go out together."""
        client = self.connect()
        writes: list[bytes] = []
        client.protocol._write = writes.append
        client.send(b"NOOP\r\nNOOP\r\n")
        self.assertEqual(1, len(writes))

    def test_idle_holds_nothing(self) -> None:
        """An idle connection holds its timer and no Deferred."""
        client = self.connect()
        self.assertIsNone(client.protocol._waiting)
        self.assertEqual(1, len(self.clock.getDelayedCalls()))

    def test_session_fails(self) -> None:
        """A failure of ours ends this session with 421 and a traceback in the log, no more."""
        client = self.connect()
        client.protocol.session.limits = None
        self.assertEqual("421 4.3.0 internal error, please try again later", client.say("EHLO x"))
        self.assertTrue(client.closed)
        self.assertEqual(1, len(self.flushLoggedErrors(AttributeError)))

    def test_last_word(self) -> None:
        """A plugin that answers behind the last reply is not heard."""
        slow = Waiting()
        client = self.connect({"noop": slow})
        transport = patient(client)
        client.say("NOOP")
        self.server.factory.drain(5)
        slow.deferreds[0].callback(None)
        self.assertEqual(["421"], [line[:3] for line in client.read().splitlines()])
        transport.end()

    def test_ignored_after_closing(self) -> None:
        """What comes behind QUIT is not read."""
        client = self.connect()
        transport = patient(client)
        client.say("QUIT")
        client.protocol.dataReceived(b"NOOP\r\n")
        self.assertEqual("", client.read())
        transport.end()


class LossTests(Case):
    def test_cancels(self) -> None:
        """A client that vanishes cancels what its plugin waits for."""
        slow = Waiting()
        client = self.connect({"noop": slow})
        client.say("NOOP")
        client.drop()
        self.assertEqual(1, slow.cancelled)

    def test_uncancellable(self) -> None:
        """A Deferred whose canceller fails does not keep the others from hearing of the end."""

        def fail(_: Deferred[Any]) -> None:
            raise ZeroDivisionError

        told: list[str] = []
        client = self.connect({"noop": lambda: Deferred(fail), "disconnect": lambda: told.append("gone")})
        client.say("NOOP")
        client.drop()
        self.assertEqual(["gone"], told)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(0, len(self.server.factory.connections))

    def test_stubborn_coroutine(self) -> None:
        """A coroutine that catches its cancellation and goes on holds nobody up."""
        slow = Waiting()

        async def stubborn() -> None:
            try:
                await Deferred()
            except Exception:
                await slow()

        client = self.connect({"noop": stubborn})
        client.say("NOOP")
        client.drop()
        self.assertEqual(0, len(self.server.factory.connections))
        slow.deferreds[0].callback(None)

    def test_told_in_order(self) -> None:
        """The plugins hear of the end once, in order, whatever it interrupts."""
        told: list[str] = []
        names = ("reset_transaction", "disconnect", "post-connection")
        hooks: dict[str, Any] = {name: lambda name=name: told.append(name) for name in names}
        client = self.connect({**hooks, "rcpt": Waiting()})
        client.say("HELO x", "MAIL FROM:<a@b>", "RCPT TO:<a@b>")
        told.clear()
        client.drop()
        self.assertEqual(list(names), told)

    def test_waiting_end(self) -> None:
        """A plugin that waits at the end keeps the connection counted until it has done."""
        slow = Waiting()
        client = self.connect({"disconnect": slow})
        client.drop()
        self.assertEqual(1, len(self.server.factory.connections))
        slow.deferreds[0].callback(None)
        self.assertEqual(0, len(self.server.factory.connections))

    def test_endless_end(self) -> None:
        """A plugin that never has done at the end is left behind."""
        client = self.connect({"disconnect": Waiting()}, plugin_timeout="7")
        client.drop()
        self.clock.advance(7)
        self.assertEqual(0, len(self.server.factory.connections))

    def test_spool_file(self) -> None:
        """A message that does not end leaves no file."""
        spool = Path(self.mktemp())
        spool.mkdir(parents=True)
        client = self.connect({"rcpt": lambda: OK}, size_threshold="0")
        self.server.engine.spool = spool
        client.say("HELO x", "MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA", "", "x")
        self.assertEqual(1, len(list(spool.iterdir())))
        client.drop()
        self.assertEqual([], list(spool.iterdir()))

    def test_reason(self) -> None:
        """A loss that is no orderly end is logged with its reason."""
        client = self.connect()
        client.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(self.server.logged("Lost connection: "))

    def test_reason_behind_the_last_reply(self) -> None:
        """How a client that has its last reply closes is no news: many do not do so in order in TLS."""
        client = self.connect()
        transport = patient(client)
        client.say("QUIT")
        transport.end(ConnectionLost())
        self.assertTrue(self.server.logged("cleaning up after"))
        self.assertFalse(self.server.logged("Lost connection: "))

    def test_no_cycle(self) -> None:
        """What plugins keep of a connection does not hold its transport."""
        client = self.connect()
        self.assertIsNotNone(client.connection.wait_for_input)
        client.drop()
        self.assertIsNone(client.connection.wait_for_input)


class GarbageTests(Case):
    def test_no_cycles(self) -> None:
        """What a session was is freed when it ends, without a search for garbage."""

        def session() -> None:
            client = self.server.connect()
            client.say("EHLO client.example")
            client.mail(text="Subject: x\n\nhello")
            client.say("QUIT")
            self.clock.advance(1)

        self.connect(hooks={"rcpt": lambda: OK, "queue": lambda: OK})
        session()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = count_objects()
        session()
        self.assertEqual(before, count_objects())


class TimeTests(Case):
    def test_idle(self) -> None:
        """Who says nothing is told to go."""
        client = self.connect()
        self.clock.advance(99)
        self.assertFalse(client.closed)
        self.clock.advance(1)
        self.assertEqual("421 4.4.2 Connection Timed Out\r\n", client.read())
        self.assertTrue(client.closed)

    def test_sign_of_life(self) -> None:
        """Every command begins the time anew."""
        client = self.connect()
        for _ in range(5):
            self.clock.advance(60)
            client.say("NOOP")
        self.assertFalse(client.closed)

    def test_no_command(self) -> None:
        """Nobody lives on an octet now and then: a command has its time as a whole."""
        client = self.connect()
        for _ in range(4):
            self.clock.advance(24)
            client.send(b"N")
        self.assertFalse(client.closed)
        self.clock.advance(4)
        self.assertEqual("421 4.4.2 Connection Timed Out\r\n", client.read())

    def test_first_command(self) -> None:
        """The first command may have less time than the others."""
        client = self.connect(greeting_timeout="20")
        client.say("NOOP")
        self.clock.advance(20)
        self.assertFalse(client.closed)
        client = self.connect(greeting_timeout="20")
        self.clock.advance(20)
        self.assertTrue(client.closed)

    def test_busy(self) -> None:
        """Who waits for a plugin is not idle; the time begins with the answer."""
        slow = Waiting()
        client = self.connect({"noop": slow}, plugin_timeout="1000")
        client.say("NOOP")
        self.clock.advance(150)
        slow.deferreds[0].callback(None)
        self.clock.advance(99)
        self.assertFalse(client.closed)
        self.clock.advance(2)
        self.assertTrue(client.closed)

    def test_commands_and_content(self) -> None:
        """Commands and content have limits of their own."""
        client = self.connect({"rcpt": lambda: OK}, timeoutsmtpd="10")
        client.say("HELO x", "MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA")
        self.clock.advance(11)
        self.assertFalse(client.closed)
        client.say(".")
        self.clock.advance(11)
        self.assertTrue(client.closed)

    def test_auth(self) -> None:
        """A challenge is not waited on for ever."""
        client = self.connect({"auth": lambda: OK})
        client.say("EHLO x", "AUTH LOGIN")
        self.clock.advance(101)
        self.assertIn("421 4.4.2", client.read())

    def test_last_reply(self) -> None:
        """Who does not take the last reply is cut."""
        client = self.connect()
        transport = patient(client)
        client.say("QUIT")
        self.clock.advance(CLOSE_GRACE - 1)
        self.assertFalse(transport.aborted)
        self.clock.advance(1)
        self.assertTrue(transport.aborted)
        transport.end()

    def test_after_the_last_reply(self) -> None:
        """Who goes on behind it, as one may whose TLS is not closed yet, is cut."""
        client = self.connect()
        transport = patient(client)
        client.send(b"NOOP\r\n" * (HIGH_WATER // 12))
        client.say("QUIT")
        client.protocol.dataReceived(b"x" * HIGH_WATER)
        self.assertFalse(transport.aborted)
        client.protocol.dataReceived(b"x")
        self.assertTrue(transport.aborted)
        transport.end()


class PausingTests(Case):
    def paused(self, client: Any) -> bool:
        return client.transport.producerState == "paused"

    def test_slow_plugin(self) -> None:
        """A slow plugin pauses nobody: a paused transport does not notice that the client has gone."""
        client = self.connect({"noop": Waiting()})
        client.send(b"NOOP\r\n" * 100)
        self.assertFalse(self.paused(client))

    def test_high_water(self) -> None:
        """Too much unread input pauses, and reading resumes when it was handled."""
        slow = Waiting()
        client = self.connect({"vrfy": slow})
        client.send(b"VRFY x\r\n")
        client.send(b"NOOP\r\n" * (HIGH_WATER // 6 + 1))
        self.assertTrue(self.paused(client))
        slow.deferreds[0].callback(None)
        self.assertFalse(self.paused(client))

    def test_unread_output(self) -> None:
        """Who does not read replies is not read from; when it reads them it is answered."""
        client = self.connect()
        client.protocol.pauseProducing()
        client.send(b"NOOP\r\n")
        self.assertTrue(self.paused(client))
        self.assertEqual("", client.read())
        client.protocol.resumeProducing()
        self.assertEqual("250 2.0.0 OK\r\n", client.read())
        self.assertFalse(self.paused(client))

    def test_paused_within_burst(self) -> None:
        """A burst stops where its replies are not read any more, and goes on there."""
        slow = Waiting()
        client = self.connect({"vrfy": slow})
        client.send(b"VRFY x\r\nNOOP\r\n")
        client.protocol.pauseProducing()
        slow.deferreds[0].callback(None)
        self.assertEqual(1, client.read().count("\r\n"))
        client.protocol.resumeProducing()
        self.assertEqual(1, client.read().count("\r\n"))

    def test_closing_while_paused(self) -> None:
        """A client that is closed and never reads is cut, not resumed."""
        client = self.connect()
        transport = patient(client)
        client.say("QUIT")
        client.protocol.resumeProducing()
        self.clock.advance(CLOSE_GRACE)
        self.assertTrue(transport.aborted)
        transport.end()

    def test_never_read(self) -> None:
        """Who never reads is cut when its time is over."""
        client = self.connect()
        client.protocol.pauseProducing()
        self.clock.advance(100)
        self.assertTrue(client.closed)


class EarlyTests(Case):
    def test_early(self) -> None:
        """A plugin learns at once that the client talks before it was spoken to."""
        heard: list[bool] = []

        async def connect(connection: Any) -> None:
            heard.append(await connection.wait_for_input(5))

        client = self.connect({"connect": connect})
        self.assertEqual("", self.greeting)
        said = client.say("HELO x")
        self.assertEqual([True], heard)
        self.assertEqual(["220", "250"], [line[:3] for line in said.splitlines()])

    def test_patient(self) -> None:
        """A client that waits is let in when the time is over."""
        client = self.connect(
            {"connect": lambda connection: connection.wait_for_input(5).addCallback(lambda _: None)}
        )
        self.clock.advance(5)
        self.assertEqual("220", client.read()[:3])

    def test_vanishes(self) -> None:
        """A client that leaves meanwhile leaves no timer behind."""
        client = self.connect({"connect": lambda connection: connection.wait_for_input(5)})
        client.drop()
        self.assertEqual([], self.clock.getDelayedCalls())


class EndTests(Case):
    def test_idle(self) -> None:
        """Who holds no message is told to go at once."""
        client = self.connect()
        drained = self.server.factory.drain(30)
        self.assertEqual("421 4.3.2", client.read()[:9])
        self.successResultOf(drained)

    def test_message(self) -> None:
        """Who holds a message goes when it is answered, with the answer."""
        client = self.connect({"rcpt": lambda: OK, "queue": lambda: OK})
        client.say("HELO x", "MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA")
        drained = self.server.factory.drain(30)
        self.assertNoResult(drained)
        self.assertEqual(["250", "421"], [line[:3] for line in client.say("", "x", ".").splitlines()])
        self.successResultOf(drained)

    def test_queueing(self) -> None:
        """A message that is being queued is answered."""
        slow = Waiting()
        client = self.connect({"rcpt": lambda: OK, "queue": slow})
        client.mail()
        drained = self.server.factory.drain(30)
        slow.deferreds[0].callback(OK)
        self.assertEqual(["250", "421"], [line[:3] for line in client.read().splitlines()])
        self.successResultOf(drained)

    def test_grace(self) -> None:
        """Who does not end the message within the time of grace is cut."""
        client = self.connect({"rcpt": lambda: OK})
        client.say("HELO x", "MAIL FROM:<a@b>", "RCPT TO:<a@b>", "DATA")
        drained = self.server.factory.drain(30)
        self.clock.advance(30)
        self.clock.advance(0)
        self.assertTrue(client.closed)
        self.successResultOf(drained)

    def test_waiting_end(self) -> None:
        """A plugin that waits at disconnect is waited for."""
        slow = Waiting()
        self.connect({"disconnect": slow})
        drained = self.server.factory.drain(30)
        self.clock.advance(0)
        self.assertNoResult(drained)
        slow.deferreds[0].callback(None)
        self.successResultOf(drained)

    def test_nobody(self) -> None:
        """Without clients there is nothing to wait for."""
        self.connect().drop()
        self.successResultOf(self.server.factory.drain(30))

    def test_newcomer(self) -> None:
        """Who comes now is sent away."""
        self.connect()
        self.server.factory.drain(30)
        self.assertEqual("421 4.3.2", self.server.connect().read()[:9])


class TLSTests(Case):
    def secure(self, *, implicit: bool = False, hooks: dict[str, Any] | None = None) -> TLSClient:
        self.server = Server(hooks=hooks, config=self.config, tls_context=certificate().options())
        self.clock = self.server.clock
        return TLSClient(self.server, implicit=implicit)

    def test_starttls(self) -> None:
        """STARTTLS leads to TLS, and the client begins anew."""
        client = self.secure()
        client.read()
        self.assertIn("STARTTLS", client.say(b"EHLO a\r\n"))
        self.assertEqual("220 2.0.0 go ahead\r\n", client.say(b"STARTTLS\r\n"))
        client.handshake()
        self.assertEqual("503", client.secretly(b"MAIL FROM:<a@b>\r\n")[:3])
        self.assertNotIn("STARTTLS", client.secretly(b"EHLO a\r\n"))
        self.assertEqual("503", client.secretly(b"STARTTLS\r\n")[:3])

    def test_injection(self) -> None:
        """Commands in clear behind STARTTLS are never executed (RFC 3207 section 4.2)."""
        client = self.secure()
        client.read()
        self.assertEqual("220 2.0.0 go ahead\r\n", client.say(b"STARTTLS\r\nNOOP\r\n"))
        client.handshake()
        self.assertEqual("250 2.0.0 OK\r\n", client.secretly(b"NOOP\r\n"))

    def test_injected_half(self) -> None:
        """Half a command in clear is not the beginning of one in TLS."""
        client = self.secure()
        client.say(b"STARTTLS\r\nHELO ev")
        client.handshake()
        self.assertEqual("250 2.0.0 OK\r\n", client.secretly(b"NOOP\r\n"))

    def test_facts(self) -> None:
        """The session knows what the handshake agreed upon."""
        client = self.secure()
        client.say(b"STARTTLS\r\n")
        client.handshake()
        tls = client.protocol.session.connection.tls
        assert tls is not None
        self.assertEqual("TLSv1.3", tls.version)

    def test_implicit(self) -> None:
        """Implicit TLS greets behind the handshake only."""
        client = self.secure(implicit=True)
        self.assertEqual("", client.read())
        client.handshake()
        self.assertEqual("220", client.inner.data.decode()[:3])
        self.assertNotIn("STARTTLS", client.secretly(b"EHLO a\r\n"))

    def test_tls_transport(self) -> None:
        """An endpoint that does TLS itself is waited for, too."""
        self.server = Server(config=self.config)
        self.clock = self.server.clock
        client = TLSClient.__new__(TLSClient)
        client.transport = TLSTransport()
        alsoProvides(client.transport, ISSLTransport)
        protocol = self.server.factory.buildProtocol(None)
        protocol.makeConnection(client.transport)
        self.assertEqual("", client.read())

    def test_endless_handshake(self) -> None:
        """A handshake that does not end is cut."""
        client = self.secure(implicit=True)
        self.clock.advance(HANDSHAKE_TIMEOUT)
        self.assertTrue(client.transport.disconnecting)

    def test_not_offered(self) -> None:
        """Without a certificate STARTTLS is not implemented."""
        self.assertEqual("502 5.5.1 command not implemented", self.connect().say("STARTTLS"))

    def test_argument(self) -> None:
        """STARTTLS takes no argument."""
        client = self.secure()
        client.read()
        self.assertEqual("501", client.say(b"STARTTLS x\r\n")[:3])
