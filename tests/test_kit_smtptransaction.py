"""A message is offered, sent and answered for as the replies of the next hop demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.smtpout import Delivery, Envelope, SMTPClient

from .nexthop import (
    ALICE,
    BOB,
    CONTENT,
    GO,
    LMTP,
    LOST,
    MAIL,
    ONE_BY_ONE,
    OPEN,
    PIPE,
    PLAIN,
    ClientCase,
    Hop,
    send,
    written,
)


@dataclass
class Row:
    """One message, to bob and carl: what is said on the wire, and what the sender is told."""

    script: str
    told: list[str]
    message: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    connected: bool = True


DIALOGUES = {
    "one by one": Row(ONE_BY_ONE, ["250 2.0.0 id 7"] * 2),
    "pipelined": Row(
        PIPE
        + OPEN
        + "S: 250 2.1.0 ok\nS: 250-2.1.5 ok\nS: 250 2.1.5 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250 id 7\n",
        ["250  id 7"] * 2,
    ),
    "empty message": Row(
        PIPE + OPEN + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: .\nS: 250 id 7\n",
        ["250  id 7"] * 2,
        {"content": b""},
    ),
    "old server": Row(
        "S: 220 hop\nC: EHLO me\nS: 502 what\nC: HELO me\nS: 250 hop\n"
        "C: MAIL FROM:<alice@a.example>\nS: 550 no\n",
        ["550  no"] * 2,
        {"size": 9},
    ),
    "extensions are used": Row(
        "S: 220 hop\nC: EHLO me\nS: 250-hop\nS: 250-SIZE 99\nS: 250-SMTPUTF8\nS: 250-=bad= line\n"
        "S: 250 8BitMIME\n"
        "C: MAIL FROM:<alice@a.example> SIZE=99 BODY=8BITMIME SMTPUTF8\nS: 452 4.3.1 full\n",
        ["452 4.3.1 full"] * 2,
        {"size": 99, "is_8bit": True, "smtputf8": True},
    ),
    "too big": Row(
        "S: 220 hop\nC: EHLO me\nS: 250-hop\nS: 250 SIZE 98\n",
        ["552 5.3.4 Message is bigger than the next hop takes"] * 2,
        {"size": 99},
    ),
    "sender refused": Row(PLAIN + "C: MAIL FROM:<alice@a.example>\nS: 550 5.7.1 no\n", ["550 5.7.1 no"] * 2),
    "sender refused, pipelined": Row(
        PIPE + OPEN + "S: 450 4.7.1 grey\nS: 503 order\nS: 503 order\nS: 503 order\n", ["450 4.7.1 grey"] * 2
    ),
    "sender refused, but DATA taken": Row(
        PIPE + OPEN + "S: 550 no\nS: 503 order\nS: 250 ok\nS: 354 go\nC: .\nS: 250 empty, thanks\n",
        ["550  no"] * 2,
    ),
    "one refused": Row(
        PIPE
        + OPEN
        + "S: 250 ok\nS: 550-5.1.1 no\nS: 550 5.1.1 bob\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250 id 7\n",
        ["550 5.1.1 no\nbob", "250  id 7"],
    ),
    "all refused, one by one": Row(
        PLAIN + "C: MAIL FROM:<alice@a.example>\nS: 250 ok\nC: RCPT TO:<bob@b.example>\nS: 450 later\n"
        "C: RCPT TO:<carl@c.example>\nS: 550 never\n",
        ["450  later", "550  never"],
    ),
    "all refused, DATA too": Row(
        PIPE + OPEN + "S: 250 ok\nS: 450 later\nS: 550 never\nS: 503 no recipients\n",
        ["450  later", "550  never"],
    ),
    "all refused, but DATA taken": Row(
        PIPE + OPEN + "S: 250 ok\nS: 450 later\nS: 550 never\nS: 354 go\nC: .\nS: 554 no recipients\n",
        ["450  later", "550  never"],
    ),
    "all or none": Row(
        PIPE + OPEN.replace("C: DATA\n", "") + "S: 250 ok\nS: 550 never\nS: 250 ok\n",
        ["550  never", "451 4.3.0 Not sent, because the next hop refused another recipient"],
        {"all_or_none": True},
    ),
    "all": Row(
        PIPE
        + OPEN.replace("C: DATA\n", "")
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 354 go\n"
        + CONTENT
        + "S: 250 id 7\n",
        ["250  id 7"] * 2,
        {"all_or_none": True},
    ),
    "DATA refused": Row(
        PIPE + OPEN + "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 no\nS: 451 4.3.2 busy\n",
        ["451 4.3.2 busy", "550 5.1.1 no"],
    ),
    "content refused": Row(
        PIPE + OPEN + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" + CONTENT + "S: 554 5.7.1 spam\n",
        ["554 5.7.1 spam"] * 2,
    ),
    "leave at MAIL": Row(PIPE + OPEN + "S: 421 4.3.2 bye\n", ["421 4.3.2 bye"] * 2, connected=False),
    "leave at RCPT": Row(
        PIPE + OPEN + "S: 250 ok\nS: 550 never\nS: 421 4.3.2 bye\n",
        ["550  never", "421 4.3.2 bye"],
        connected=False,
    ),
    "leave at the end": Row(
        PIPE + OPEN + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n" + CONTENT + "S: 421 bye\n",
        ["421  bye"] * 2,
        connected=False,
    ),
    "positive, but not DATA's": Row(
        PIPE + OPEN + "S: 250 ok\nS: 250 ok\nS: 550 never\nS: 250 ok\n",
        ["451 4.5.0 Next hop sent a reply that fits no command", "550  never"],
        connected=False,
    ),
    "354 too soon": Row(
        PLAIN + "C: MAIL FROM:<alice@a.example>\nS: 354 go\n",
        ["451 4.5.0 Next hop sent a reply that fits no command"] * 2,
        connected=False,
    ),
    "garbage": Row(
        PLAIN + "C: MAIL FROM:<alice@a.example>\nS: OK\n",
        ["451 4.5.0 Next hop does not speak SMTP: a line is not an SMTP reply"] * 2,
        connected=False,
    ),
    "bare newline": Row(
        PIPE + OPEN + "S: 250 ok\nS: 250 ok\nS: 550 never\nS: 354 go\n",
        ["550 5.6.11 Message holds a bare CR or LF, which is not sent on", "550  never"],
        {"content": b"a\n"},
        connected=False,
    ),
    "LMTP": Row(
        LMTP
        + OPEN
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 452 4.2.2 full\nS: 250 2.1.5 stored\n",
        ["452 4.2.2 full", "250 2.1.5 stored"],
        settings={"lmtp": True},
    ),
    "LMTP, one refused": Row(
        LMTP + OPEN + "S: 250 ok\nS: 550 never\nS: 250 ok\nS: 354 go\n" + CONTENT + "S: 250 2.1.5 stored\n",
        ["550  never", "250 2.1.5 stored"],
        settings={"lmtp": True},
    ),
    "LMTP, leave between": Row(
        LMTP
        + OPEN
        + "S: 250 ok\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
        + CONTENT
        + "S: 250 stored\nS: 421 bye\n",
        ["250  stored", "421  bye"],
        settings={"lmtp": True},
        connected=False,
    ),
    "LMTP, DATA for nobody": Row(
        LMTP + OPEN + "S: 250 ok\nS: 550 never\nS: 550 never\nS: 354 go\n",
        ["550  never"] * 2,
        settings={"lmtp": True},
        connected=False,
    ),
}


class DialogueTests(SynchronousTestCase):
    def dialogue(self, name: str, bytewise: bool) -> None:
        row = DIALOGUES[name]
        hop = Hop(bytewise=bytewise, **row.settings)

        def begin(client: SMTPClient) -> Any:
            self.client = client
            return send(client, **row.message)

        delivery = hop.client.addCallback(begin)
        hop.play(self, row.script, name)
        self.assertEqual(row.told, written(self.successResultOf(delivery)), name)
        self.assertEqual((row.connected, []), (self.client.connected, hop.clock.getDelayedCalls()), name)

    def test_whole(self) -> None:
        """Each dialogue goes as written when replies that stand together come together."""
        for name in DIALOGUES:
            with self.subTest(name):
                self.dialogue(name, bytewise=False)

    def test_bytewise(self) -> None:
        """Each dialogue goes as written when replies come octet by octet."""
        for name in DIALOGUES:
            with self.subTest(name):
                self.dialogue(name, bytewise=True)


class ReuseTests(ClientCase):
    def test_next_message(self) -> None:
        """A finished message, taken or refused, needs no RSET after it."""
        self.start()
        for last in ("250 ok", "554 spam", "250 ok"):
            delivery = self.send()
            self.hop.play(self, MAIL + GO + CONTENT + f"S: {last}\n")
            self.assertEqual(int(last[:3]), self.successResultOf(delivery).replies[0].code)

    def test_rset(self) -> None:
        """An unfinished one does."""
        self.start()
        self.send()
        self.hop.play(self, MAIL + "S: 550 no\nS: 503 no\nS: 503 no\n")
        delivery = self.send()
        self.hop.play(self, "C: RSET\nS: 250 ok\n" + MAIL + GO + CONTENT + "S: 250 ok\n")
        self.assertTrue(self.successResultOf(delivery).accepted)

    def test_rset_refused(self) -> None:
        """Where not even RSET is taken, the message is not sent, and the connection is given up."""
        self.start(PLAIN)
        self.send()
        self.hop.play(self, "C: MAIL FROM:<alice@a.example>\nS: 550 no\n")
        delivery = self.send()
        self.hop.play(self, "C: RSET\nS: 450 later\n")
        self.assertEqual(["450  later"], written(self.successResultOf(delivery)))
        self.over()

    def test_rset_by_hand(self) -> None:
        """RSET may be sent by hand, and is then not sent again."""
        self.start(PLAIN)
        self.send()
        self.hop.play(self, "C: MAIL FROM:<alice@a.example>\nS: 550 no\n")
        done = self.client.rset()
        self.hop.play(self, "C: RSET\nS: 250 ok\n")
        self.assertIsNone(self.successResultOf(done))
        self.send()
        self.hop.play(self, "C: MAIL FROM:<alice@a.example>\n")

    def test_busy(self) -> None:
        """Two things at once are a mistake, and leave the first alone."""
        self.start()
        delivery = self.send()
        self.assertRaises(RuntimeError, self.client.quit)
        self.hop.play(self, MAIL + GO + CONTENT + "S: 250 ok\n")
        self.assertTrue(self.successResultOf(delivery).accepted)

    def test_idle_farewell(self) -> None:
        """A server that leaves between messages is not used again."""
        self.start()
        self.hop.says("421 4.4.2 idle too long\r\n")
        self.over()
        self.assertEqual(["421 4.4.2 idle too long"], written(self.successResultOf(self.send())))

    def test_idle_loss(self) -> None:
        """A connection lost between messages is not used again."""
        self.start()
        self.hop.transport.loseConnection()
        self.over()
        self.assertEqual([LOST], written(self.successResultOf(self.send())))

    def test_idle_chatter(self) -> None:
        """A reply to nothing ends the connection, lest it be taken for the next answer."""
        self.start()
        self.hop.says("250 queued as 7\r\n")
        self.over()


class ContentTests(ClientCase):
    def open(self, content: Iterator[bytes]) -> Deferred[Delivery]:
        self.start()
        delivery = self.client.send(Envelope(ALICE, [(BOB, {})]), content)
        self.hop.play(self, MAIL)
        self.hop.says("250 ok\r\n250 ok\r\n354 go\r\n")
        return delivery

    def endless(self) -> Iterator[bytes]:
        for self.taken in range(1, 1000):
            if self.taken % 3 == 0:
                self.hop.transport.producer.pauseProducing()
            yield b"x\r\n"

    def test_back_pressure(self) -> None:
        """Content is taken only as fast as it is sent."""
        self.open(self.endless())
        self.assertEqual(3, self.taken)
        self.hop.transport.producer.resumeProducing()
        self.assertEqual((6, True), (self.taken, self.hop.transport.streaming))

    def test_early_refusal(self) -> None:
        """A refusal in the middle of the content decides, and the rest is not sent."""
        delivery = self.open(self.endless())
        self.hop.heard()
        self.hop.says("552 5.3.4 too much\r\n")
        self.assertEqual(["552 5.3.4 too much"], written(self.successResultOf(delivery)))
        self.assertEqual("", self.hop.heard())
        self.over()

    def test_early_acceptance(self) -> None:
        """A 250 in the middle of the content is not one for the whole."""
        delivery = self.open(self.endless())
        self.hop.says("250 queued\r\n")
        self.assertEqual("4.5.0", self.successResultOf(delivery).replies[0].status)
        self.over()

    def test_acceptance_with_go_ahead(self) -> None:
        """A 250 in one segment with the 354 is not one for the content."""
        self.start()
        delivery = self.send()
        self.hop.says("250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n")
        self.assertEqual("4.5.0", self.successResultOf(delivery).replies[0].status)
        self.over()

    def test_stalled(self) -> None:
        """A server that stops reading has three minutes."""
        delivery = self.open(self.endless())
        self.hop.clock.advance(179)
        self.assertNoResult(delivery)
        self.hop.clock.advance(1)
        self.assertEqual("4.4.2", self.successResultOf(delivery).replies[0].status)
        self.over()

    def test_unreadable(self) -> None:
        """An error of the content is the sender's; the message does not end."""

        def content() -> Iterator[bytes]:
            yield b"a\r\n"
            raise OSError("disk")

        self.failureResultOf(self.open(content()), OSError)
        self.assertEqual("a\r\n", self.hop.heard())
        self.over()

    def test_eight_bit(self) -> None:
        """Undeclared 8-bit content is refused at the latest when it is read."""
        self.start(PIPE.replace("S: 250-8bitmime\n", ""))
        delivery = self.send(b"\xe9\r\n")
        self.hop.play(self, MAIL + GO)
        self.assertEqual("5.6.3", self.successResultOf(delivery).replies[0].status)
        self.over()
