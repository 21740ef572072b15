"""A next hop played by hand, in memory: dialogues have S for what it says and C for what it hears."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from qpsmtpd.kit.smtpout import Delivery, Envelope, NextHop, SMTPClient, TLSPolicy
from qpsmtpd.smtp.address import Address

ALICE = Address("alice", "a.example")
BOB = Address("bob", "b.example")
CARL = Address("carl", "c.example")
MESSAGE = b"Subject: x\r\n\r\n.hi\r\n"


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Connect to nobody, in memory; ``answers`` are failures, or Deferreds, to give instead."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.transports: list[Any] = []

    def transport(self) -> Any:
        return StringTransportWithDisconnection()

    def connect(self, factory: Factory) -> Any:
        if self.answers:
            return self.answers.pop(0)
        protocol: Any = factory.buildProtocol(None)  # type: ignore[arg-type]
        transport = self.transport()
        transport.protocol = protocol
        self.transports.append(transport)
        protocol.makeConnection(transport)
        return succeed(protocol)


class Hop:
    """Play the next hop by hand, over connections in memory."""

    def __init__(
        self, endpoint: MemoryEndpoint | None = None, *, bytewise: bool = False, **settings: Any
    ) -> None:
        self.clock = Clock()
        self.endpoint = endpoint or MemoryEndpoint()
        self.bytewise = bytewise
        settings = {"tls": TLSPolicy.NONE, **settings}
        self.client = SMTPClient.connect(self.clock, NextHop(self.endpoint, "me", **settings))

    @property
    def transport(self) -> Any:
        return self.endpoint.transports[-1]

    def says(self, text: str | bytes) -> None:
        octets = text if isinstance(text, bytes) else text.encode()
        step = 1 if self.bytewise else len(octets) or 1
        for start in range(0, len(octets), step):
            if self.transport.connected:
                self.transport.protocol.dataReceived(octets[start : start + step])

    def heard(self) -> str:
        octets: bytes = self.transport.value()
        self.transport.clear()
        return octets.decode()

    def play(self, test: SynchronousTestCase, script: str, name: str = "") -> None:
        """Say the lines marked S, all that stand together at once; expect exactly the lines marked C."""
        for mark, text in turns(script):
            if mark == "S":
                self.says(text)
            else:
                test.assertEqual(text, self.heard(), name)
        test.assertEqual("", self.heard(), name)


def turns(script: str) -> Iterator[tuple[str, str]]:
    mark, text = "", ""
    for line in [*script.splitlines(), ""]:
        if line[:1] != mark:
            if mark:
                yield mark, text
            mark, text = line[:1], ""
        text += line[3:] + "\r\n"


def written(delivery: Delivery) -> list[str]:
    return [f"{reply.code} {reply.status} {reply.text}" for reply in delivery.replies]


PLAIN = "S: 220 hop\nC: EHLO me\nS: 250 hop\n"
PIPE = "S: 220 hop\nC: EHLO me\nS: 250-hop\nS: 250-8bitmime\nS: 250 PIPELINING\n"
LMTP = "S: 220 hop\nC: LHLO me\nS: 250-hop\nS: 250 PIPELINING\n"
OPEN = "C: MAIL FROM:<alice@a.example>\nC: RCPT TO:<bob@b.example>\nC: RCPT TO:<carl@c.example>\nC: DATA\n"
CONTENT = "C: Subject: x\nC: \nC: ..hi\nC: .\n"
LOST = "451 4.4.2 Connection with the next hop was lost"
ONE_BY_ONE = (
    PLAIN + "C: MAIL FROM:<alice@a.example>\nS: 250 ok\nC: RCPT TO:<bob@b.example>\nS: 250 ok\n"
    "C: RCPT TO:<carl@c.example>\nS: 251 will forward\nC: DATA\nS: 354 go\n" + CONTENT + "S: 250 2.0.0 id 7\n"
)
MAIL = "C: MAIL FROM:<alice@a.example>\nC: RCPT TO:<bob@b.example>\nC: DATA\n"
GO = "S: 250 ok\nS: 250 ok\nS: 354 go\n"


def send(client: SMTPClient, content: bytes = MESSAGE, all_or_none: bool = False, **needs: Any) -> Any:
    """Send a message to bob and carl."""
    return client.send(Envelope(ALICE, [(BOB, {}), (CARL, {})], **needs), [content], all_or_none=all_or_none)


class ClientCase(SynchronousTestCase):
    def start(self, hello: str = PIPE, **settings: Any) -> None:
        self.hop = Hop(**settings)
        self.hop.play(self, hello)
        self.client = self.successResultOf(self.hop.client)

    def send(self, *content: bytes) -> Deferred[Delivery]:
        return self.client.send(Envelope(ALICE, [(BOB, {})]), content or [MESSAGE])

    def over(self) -> None:
        """Nothing is left: no connection, no delayed call."""
        self.assertEqual((False, False), (self.client.connected, self.hop.transport.connected))
        self.assertEqual([], self.hop.clock.getDelayedCalls())
