"""SMTP smuggling: no sequence of octets makes one message of a client two, here or at the next hop."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK, Address
from qpsmtpd.config import Config
from qpsmtpd.loader import Loader
from qpsmtpd.testing import Server

from .nexthop import MemoryEndpoint
from .plugins.forwarding import PlayedHop
from .smuggling import SEQUENCES, is_clean

ENVELOPE = b"EHLO x\r\nMAIL FROM:<good@a.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
EVIL = b"MAIL FROM:<evil@a.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n.\r\n"
# With NUL, content is binary, and not sent on.
TEXT = [sequence for sequence in SEQUENCES if b"\0" not in sequence]

# A next hop as careless as any: each kind of line end, before and behind the dot, ends a message.
CARELESS = re.compile(rb"(?:\r\n|\r|\n)\.(?:\r\n|\r|\n)")


class CarelessHop:
    """A next hop that records who sends; it has SMTP's least words, believes every dot and sees no NUL."""

    def __init__(self) -> None:
        self.senders: list[bytes] = []
        self.received = b""
        self.within = False

    def hear(self, octets: bytes) -> bytes:
        """Take octets, give the replies to them."""
        self.received += octets.replace(b"\0", b"")
        said = b""
        while (
            found := (CARELESS if self.within else re.compile(rb"\r\n|\r|\n")).search(self.received)
        ) is not None:
            line, self.received = self.received[: found.start()], self.received[found.end() :]
            if line.startswith(b"MAIL"):
                self.senders.append(line.split()[1])
            self.within = line == b"DATA"
            said += b"354 go\r\n" if self.within else b"250-hop\r\n250 8BITMIME\r\n"
        return said


class Case(SynchronousTestCase):
    check: Callable[[bytes, str, int], None]

    def run_all(self, policy: str, size: int) -> None:
        for sequence in SEQUENCES:
            self.check(sequence, policy, size)

    def play(self, server: Server, octets: bytes, size: int) -> list[str]:
        self.client = client = server.connect()
        client.send(ENVELOPE)
        client.read()
        for start in range(0, len(octets), size):
            client.send(octets[start : start + size])
        return client.read().splitlines()


class ServerTests(Case):
    def check(self, sequence: bytes, policy: str, size: int) -> None:
        senders: list[str] = []

        def mail(sender: Address) -> None:
            senders.append(sender.local)

        hooks: dict[str, Any] = {"mail": mail, "rcpt": lambda: OK, "queue": lambda: OK}
        server = Server(hooks=hooks, config={"reverse_dns": "0", "bare_newline": policy})
        replies = self.play(server, b"Subject: x\r\n\r\nx" + sequence + EVIL, size)
        refused = policy == "reject" and not is_clean(sequence)
        self.assertEqual((["good"], 1), (senders, len(replies)), sequence)
        self.assertEqual("550 5.6.11" if refused else "250 2.0.0 ", replies[0][:10], sequence)

    def test_reject(self) -> None:
        """One message, refused, whatever the segmentation."""
        for size in (1, 2, 3, 5, 1000):
            self.run_all("reject", size)

    def test_normalize(self) -> None:
        """One message, taken, whatever the segmentation."""
        for size in (1, 2, 3, 5, 1000):
            self.run_all("normalize", size)


class ForwardTests(Case):
    """The next hop hears of one sender, however careless it is."""

    heard = 0

    def check(self, sequence: bytes, policy: str, size: int) -> None:
        server = Server(
            ["queue/smtp-forward hop.example tls none helo me"],
            hooks={"rcpt": lambda: OK},
            config={"reverse_dns": "0", "bare_newline": policy},
            reactor=MemoryReactorClock(),
            loader=Loader(Config((), {})),
        )
        endpoint, hop = MemoryEndpoint(), CarelessHop()
        (plugin,) = [one for one in server.registry.plugins if one.name == "queue/smtp-forward"]
        PlayedHop(plugin, endpoint)
        replies = self.play(server, b"Subject: x\r\n\r\nx" + sequence + EVIL, size)
        if not endpoint.transports:
            self.assertEqual(["550"], [reply[:3] for reply in replies], sequence)
            return
        (transport,) = endpoint.transports
        said = b"220 hop\r\n"
        while said:
            transport.protocol.dataReceived(said)
            octets = transport.value()
            transport.clear()
            said = hop.hear(octets)
        self.assertEqual([b"FROM:<good@a.example>"], hop.senders, sequence)
        if b"\0" in sequence:
            self.assertEqual("552 5.6.0 ", self.client.read()[:10], sequence)
            self.assertTrue(hop.within and transport.disconnected, "the message is not ended")
        else:
            self.assertEqual((b"", False), (hop.received, hop.within), sequence)
            self.heard += 1

    def test_reject(self) -> None:
        self.run_all("reject", 1000)
        self.assertEqual(len([one for one in TEXT if is_clean(one)]), self.heard)

    def test_normalize(self) -> None:
        for size in (1, 1000):
            self.run_all("normalize", size)
        self.assertEqual(2 * len(TEXT), self.heard)

    def test_the_hop_is_careless(self) -> None:
        """The hop would fall for it."""
        for sequence in (b"\n.\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n"):
            hop = CarelessHop()
            hop.hear(b"MAIL FROM:<good@a.example>\r\nDATA\r\nx" + sequence + EVIL)
            self.assertEqual(2, len(hop.senders))
