"""The client connects as it is told, takes leave, and survives the loss of the other at any point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.smtpout import Delivery, SMTPOutError

from .nexthop import (
    CONTENT,
    LMTP,
    LOST,
    ONE_BY_ONE,
    OPEN,
    PIPE,
    ClientCase,
    Hop,
    MemoryEndpoint,
    send,
    turns,
    written,
)

# what the server says (and the client hears and says in between), what connect() fails with
REFUSALS = {
    "greeting": ("S: 554 5.7.1 no\nC: QUIT\nS: 221 bye\n", "554 5.7.1 no"),
    "leave at once": ("S: 421 too busy\n", "421 too busy"),
    "EHLO, for now": ("S: 220 hop\nC: EHLO me\nS: 450 4.7.1 later\nC: QUIT\nS: 221 bye\n", "450 4.7.1 later"),
    "EHLO and HELO": (
        "S: 220 hop\nC: EHLO me\nS: 554 no\nC: HELO me\nS: 550 5.7.1 really\nC: QUIT\nS: 221 bye\n",
        "550 5.7.1 really",
    ),
    "another protocol": (
        "S: SSH-2.0-OpenSSH\n",
        "451 4.5.0 Next hop does not speak SMTP: a line is not an SMTP reply",
    ),
    "354 for greeting": ("S: 354 go\n", "451 4.5.0 Next hop sent a reply that fits no command"),
    "endless line": (
        "S: 220 " + "x" * 3000,
        "451 4.5.0 Next hop does not speak SMTP: a reply line is too long",
    ),
    "endless reply": (
        "S: 220-x\n" * 200,
        "451 4.5.0 Next hop does not speak SMTP: a reply has too many lines",
    ),
}


class ConnectTests(SynchronousTestCase):
    def test_refusals(self) -> None:
        """Whoever is not let in is told so by the server's own reply, and takes leave."""
        for name, (script, error) in REFUSALS.items():
            for bytewise in (False, True):
                with self.subTest(name, bytewise=bytewise):
                    hop = Hop(bytewise=bytewise)
                    hop.play(self, script)
                    self.assertEqual(error, str(self.failureResultOf(hop.client, SMTPOutError).value))
                    self.assertEqual((False, []), (hop.transport.connected, hop.clock.getDelayedCalls()))

    def test_unreachable(self) -> None:
        """A host that refuses or is unknown is a temporary failure."""
        for error in (ConnectionRefusedError("by hop"), DNSLookupError("no such host"), OSError("no route")):
            hop = Hop(MemoryEndpoint(fail(error)))
            reason = self.failureResultOf(hop.client, SMTPOutError).value
            self.assertEqual((451, "4.4.1", True), (reason.code, reason.status, reason.temporary))
            self.assertIn(str(error), reason.text)

    def test_connect_timeout(self) -> None:
        """A connection that is not made in time is given up."""
        pending: Deferred[Any] = Deferred()
        hop = Hop(MemoryEndpoint(pending))
        hop.clock.advance(59)
        self.assertNoResult(hop.client)
        hop.clock.advance(1)
        self.assertEqual("4.4.2", self.failureResultOf(hop.client, SMTPOutError).value.status)

    def test_early_reply(self) -> None:
        """A reply that came before its command is not taken for the answer."""
        hop = Hop()
        hop.says("220 hop\r\n250-hop\r\n250 PIPELINING\r\n")
        self.assertEqual("4.5.0", self.failureResultOf(hop.client, SMTPOutError).value.status)

    def test_lhlo_refused(self) -> None:
        """LMTP has no HELO to fall back on."""
        hop = Hop(lmtp=True)
        hop.play(self, "S: 220 hop\nC: LHLO me\nS: 500 what\nC: QUIT\nS: 221 bye\n")
        self.assertEqual(500, self.failureResultOf(hop.client, SMTPOutError).value.code)

    def test_extensions(self) -> None:
        """Extensions are known by their upper-case keyword."""
        hop = Hop()
        hop.says("220 hop\r\n")
        hop.says("250-hop says SIZE\r\n250-size 10\r\n250-Auth PLAIN LOGIN\r\n250 DSN\r\n")
        self.assertEqual(
            {"SIZE": "10", "AUTH": "PLAIN LOGIN", "DSN": ""}, self.successResultOf(hop.client).extensions
        )


# name of the limit, seconds, what the server has said so far
LIMITS = [
    ("greeting", 300, ""),
    ("hello", 300, "S: 220 hop\nC: EHLO me\n"),
    ("hello, HELO", 300, "S: 220 hop\nC: EHLO me\nS: 500 what\nC: HELO me\n"),
    ("mail", 300, PIPE + OPEN),
    ("rcpt", 300, PIPE + OPEN + "S: 250 ok\n"),
    ("rcpt, next", 300, PIPE + OPEN + "S: 250 ok\nS: 250 ok\n"),
    ("data", 120, PIPE + OPEN + "S: 250 ok\nS: 250 ok\nS: 250 ok\n"),
    ("end", 600, PIPE + OPEN + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" + CONTENT),
    ("end, nobody", 600, PIPE + OPEN + "S: 250 ok\nS: 550 no\nS: 450 no\nS: 354 go\nC: .\n"),
]


class LossTests(SynchronousTestCase):
    def outcome(self, hop: Hop, result: Deferred[Any]) -> None:
        """The result is there, it is temporary, and nothing is left."""
        outcome: list[Any] = []
        result.addBoth(outcome.append)
        self.assertEqual(1, len(outcome))
        if isinstance(outcome[0], Delivery):
            self.assertTrue(all(400 <= reply.code < 500 for reply in outcome[0].replies), outcome)
        else:
            self.assertTrue(outcome[0].check(SMTPOutError) and outcome[0].value.temporary, outcome)
        self.assertEqual((False, []), (hop.transport.connected, hop.clock.getDelayedCalls()))

    def each_point(self, loss: Callable[[Hop, Deferred[Any]], None]) -> None:
        """Let a dialogue go well up to each of its octets in turn, then break."""
        said = "".join(text for mark, text in turns(ONE_BY_ONE) if mark == "S")
        for end in range(len(said) - 1):
            with self.subTest(end=end):
                hop = Hop(bytewise=True)
                result = hop.client.addCallback(send)
                hop.says(said[:end])
                loss(hop, result)

    def test_lost(self) -> None:
        """Wherever the connection is lost, the failure is temporary and nothing is left."""

        def lose(hop: Hop, result: Deferred[Any]) -> None:
            hop.transport.loseConnection()
            self.outcome(hop, result)

        self.each_point(lose)

    def test_silent(self) -> None:
        """Wherever the server falls silent, the failure is temporary and nothing is left."""

        def wait(hop: Hop, result: Deferred[Any]) -> None:
            hop.clock.advance(600)
            self.outcome(hop, result)

        self.each_point(wait)

    def test_cancelled(self) -> None:
        """Wherever the caller gives up, the connection is dropped and nothing is left."""

        def cancel(hop: Hop, result: Deferred[Any]) -> None:
            result.cancel()
            self.failureResultOf(result)
            self.assertEqual((False, []), (hop.transport.connected, hop.clock.getDelayedCalls()))

        self.each_point(cancel)

    def test_limits(self) -> None:
        """Each wait has the limit of RFC 5321 section 4.5.3.2."""
        for name, seconds, script in LIMITS:
            with self.subTest(name):
                hop = Hop()
                result = hop.client.addCallback(send)
                hop.play(self, script)
                hop.clock.advance(seconds - 1)
                self.assertNoResult(result)
                hop.clock.advance(1)
                result.addErrback(lambda reason: reason.trap(SMTPOutError))
                self.successResultOf(result)
                self.assertEqual((False, []), (hop.transport.connected, hop.clock.getDelayedCalls()))

    def test_lmtp_lost_between(self) -> None:
        """A recipient whose message was stored before the loss stays so."""
        hop = Hop(lmtp=True)
        delivery = hop.client.addCallback(send)
        hop.play(self, LMTP + OPEN + "S: 250 ok\n" * 3 + "S: 354 go\n" + CONTENT + "S: 250 stored\n")
        hop.transport.loseConnection()
        self.assertEqual(["250  stored", LOST], written(self.successResultOf(delivery)))


class QuitTests(ClientCase):
    def quit(self, *turns: str) -> None:
        self.start()
        done = self.client.quit()
        self.assertEqual("QUIT\r\n", self.hop.heard())
        for turn in turns:
            self.hop.says(turn)
        if not turns:
            self.hop.clock.advance(10)
        self.assertIsNone(self.successResultOf(done))
        self.over()

    def test_answered(self) -> None:
        """QUIT closes when it is answered, however."""
        for reply in ("221 2.0.0 bye\r\n", "500 what\r\n", "bye\r\n"):
            self.quit(reply)

    def test_silent(self) -> None:
        """QUIT waits only for a moment."""
        self.quit()

    def test_twice(self) -> None:
        """After the end there is nothing to say."""
        self.quit("221 bye\r\n")
        self.assertIsNone(self.successResultOf(self.client.quit()))
        self.assertEqual("", self.hop.heard())

    def test_hanging(self) -> None:
        """A transport that does not close is cut off."""
        self.start()
        self.hop.transport.loseConnection = lambda: None
        done = self.client.quit()
        self.hop.says("221 bye\r\n")
        self.assertNoResult(done)
        self.hop.clock.advance(10)
        self.successResultOf(done)
        self.assertTrue(self.hop.transport.disconnected)

    def test_abort(self) -> None:
        """The connection can be dropped at once; whoever waits is told."""
        self.start()
        delivery = self.send()
        self.client.abort()
        self.assertEqual("4.4.2", self.successResultOf(delivery).replies[0].status)
        self.over()


XCLIENT = "S: 220 hop\nC: EHLO me\nS: 250-hop\nS: 250 xclient NAME ADDR HELO\n"


class XclientTests(ClientCase):
    def test_attributes(self) -> None:
        """Only what is listed is sent, in xtext, and then hello by the client's name."""
        self.start(XCLIENT)
        done = self.client.xclient({"NAME": "a b+c", "PORT": "9", "ADDR": "IPv6:::1"}, helo="them")
        self.hop.play(
            self,
            "C: XCLIENT NAME=a+20b+2Bc ADDR=IPv6:::1\nS: 220 hop\nC: EHLO them\nS: 250-hop\nS: 250 DSN\n",
        )
        self.successResultOf(done)
        self.assertEqual({"DSN": ""}, self.client.extensions)

    def test_long(self) -> None:
        """Attributes are spread over commands of bounded length."""
        self.start(XCLIENT)
        self.client.xclient({"NAME": "n" * 200, "HELO": "h" * 300, "ADDR": "192.0.2.1"})
        self.hop.play(
            self, f"C: XCLIENT NAME={'n' * 200}\nS: 220 hop\nC: XCLIENT HELO={'h' * 300} ADDR=192.0.2.1\n"
        )

    def test_not_offered(self) -> None:
        """Without the extension nothing is sent."""
        self.start()
        error = self.failureResultOf(self.client.xclient({"NAME": "n"}), SMTPOutError)
        self.assertEqual("4.7.0", error.value.status)
        self.assertEqual("", self.hop.heard())

    def test_refused(self) -> None:
        """The refusal of the next hop is told."""
        self.start(XCLIENT)
        done = self.client.xclient({"NAME": "n"})
        self.hop.play(self, "C: XCLIENT NAME=n\nS: 550 5.7.0 not you\n")
        self.assertEqual("5.7.0", self.failureResultOf(done, SMTPOutError).value.status)

    def test_forged_hello(self) -> None:
        """A name with a line end does not become two commands."""
        self.start(XCLIENT)
        done = self.client.xclient({}, helo="them\r\nMAIL FROM:<>")
        self.assertEqual("5.5.4", self.failureResultOf(done, SMTPOutError).value.status)
        self.assertEqual("", self.hop.heard())
