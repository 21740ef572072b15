"""queue/smtp-forward keeps a connection for a session, replaces a dead one, and leaves none behind."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock

from qpsmtpd import OK
from qpsmtpd.testing import Server
from qpsmtpd.waiting import ClientGone, TimeLimit

from ..nexthop import turns
from .forwarding import DONE, HELLO, LINE, MAIL, MESSAGE, ONE, SENT, ForwardCase, PlayedHop

LOST = ("DENYSOFT", "4.4.2", "Connection with the next hop was lost")

# how a connection ends that was used before: if in a message, after what, and with which words
DEATHS = [
    (False, "", ""),
    (False, "", "421 4.4.2 idle too long\r\n"),
    (True, MAIL, ""),
    (True, MAIL, "421 4.7.0 too many messages\r\n"),
    (True, MAIL + "S: 250 ok\n", "421 4.7.0 too many errors\r\n"),
]


class ReuseTests(ForwardCase):
    def test_reuse(self) -> None:
        """A session's messages go over one connection, with RSET where it must be, and QUIT at the end."""
        self.assertEqual(DONE, self.forward(HELLO + ONE))
        self.assertEqual(DONE, self.forward(ONE))
        self.assertEqual("DENY", self.forward(MAIL + "S: 250 ok\nS: 550 who?\n")[0])
        self.assertEqual(DONE, self.forward("C: RSET\nS: 250 ok\n" + ONE))
        self.tried.ask("disconnect")
        self.hop.play(self, "C: QUIT\nS: 221 bye\n")
        self.assertEqual(1, len(self.hop.endpoint.transports))
        self.over()

    def test_silent_farewell(self) -> None:
        """Nobody waits for the answer to QUIT, and not for long."""
        self.forward(HELLO + ONE)
        self.tried.ask("disconnect")
        self.tried.clock.advance(10)
        self.over()

    def test_nothing_forwarded(self) -> None:
        """A session without mail connects to nobody."""
        self.tried.ask("disconnect")
        self.assertEqual([], self.hop.endpoint.transports)

    def test_replaced(self) -> None:
        """A connection that died before it was sent anything of the message is replaced; nobody notices."""
        for within, script, farewell in DEATHS:
            with self.subTest(script=script, farewell=farewell):
                self.load()
                self.forward(HELLO + ONE)
                first = self.hop.transport
                answer = self.begin() if within else None
                self.hop.play(self, script)
                self.hop.says(farewell)
                first.loseConnection()
                answer = answer or self.begin()
                self.hop.play_last(self, HELLO + ONE)
                self.assertEqual(DONE, self.told(answer))
                self.assertEqual(2, len(self.hop.endpoint.transports))

    def test_rset_refused(self) -> None:
        """A next hop that does not even take RSET gets a new connection too."""
        self.forward(HELLO + MAIL + "S: 250 ok\nS: 550 who?\n")
        answer = self.begin()
        self.hop.play(self, "C: RSET\nS: 554 no\n")
        self.hop.play_last(self, HELLO + ONE)
        self.assertEqual(DONE, self.told(answer))

    def test_replaced_once(self) -> None:
        """If the new one dies too, it is enough for now; the next message has another chance."""
        self.forward(HELLO + ONE)
        self.hop.transport.loseConnection()
        answer = self.begin()
        self.hop.play(self, HELLO + MAIL)
        self.hop.transport.loseConnection()
        self.assertEqual(LOST, self.told(answer))
        self.assertEqual(2, len(self.hop.endpoint.transports))
        self.assertEqual(DONE, self.forward(HELLO + ONE))

    def test_no_duplicates(self) -> None:
        """What may have been taken is not sent a second time."""
        self.forward(HELLO + ONE)
        answer = self.begin()
        self.hop.play(self, SENT)
        self.hop.transport.loseConnection()
        self.assertEqual(LOST, self.told(answer))
        self.assertEqual(1, len(self.hop.endpoint.transports))
        self.over()

    def test_new_one_refused(self) -> None:
        """A next hop that does not answer any more delays the message."""
        self.forward(HELLO + ONE)
        self.hop.transport.loseConnection()
        self.assertEqual("4.4.1", self.forward("S: 554 no\nC: QUIT\nS: 221 bye\n")[1])
        self.over()

    def test_two_instances(self) -> None:
        """Two lines of config/plugins do not share a connection."""
        self.load("queue/smtp-forward:1 hop.example tls none helo me")
        self.tried.connection.notes["queue/smtp-forward"] = mark = object()
        self.forward(HELLO + ONE)
        self.tried.ask("disconnect")
        self.assertEqual({"queue/smtp-forward": mark}, self.tried.connection.notes)


class EndTests(ForwardCase):
    def test_client_gone(self) -> None:
        """Wherever the client leaves, the next hop is left too, at once."""
        said = [text for mark, text in turns(HELLO + ONE) if mark == "S"]
        for end in range(len(said)):
            with self.subTest(end=end):
                self.load()
                answer = self.begin()
                for text in said[:end]:
                    self.hop.says(text)
                answer.cancel()
                self.failureResultOf(answer, ClientGone)
                self.over()

    def test_client_vanishes(self) -> None:
        """So it is in a real session, whether a message is on its way or not."""
        for script in (HELLO + SENT, HELLO + ONE):
            server = Server([LINE], hooks={"rcpt": lambda: OK}, reactor=MemoryReactorClock())
            hop = PlayedHop(server.registry.plugins[0])
            client = server.connect()
            client.mail(text=MESSAGE.removesuffix("\n"))
            for mark, text in turns(script):
                if mark == "S":
                    hop.says(text)
            self.assertEqual(script == HELLO + ONE, "250 2.0.0 Queued! as 7" in client.read())
            client.drop()
            server.clock.advance(10)
            self.assertEqual((False, []), (hop.transport.connected, server.clock.getDelayedCalls()))

    def test_hook_timeout(self) -> None:
        """The hook outlasts the patience of its next hop's final reply, unless the line says otherwise."""
        answer = self.begin()
        self.hop.play(self, HELLO + SENT)
        self.tried.clock.advance(599)
        self.hop.says("250 2.0.0 Ok: queued as 7\r\n")
        self.assertEqual(DONE, self.told(answer))
        self.load(f"{LINE} hook_timeout 60")
        answer = self.begin()
        self.tried.clock.advance(60)
        self.failureResultOf(answer, TimeLimit)
        self.over()

    def test_limits(self) -> None:
        """Each wait has a limit that the line sets, and a message is delayed when it is over."""
        words = "connect_timeout 1 command_timeout 2 data_timeout 3 end_timeout 4"
        said = [text for mark, text in turns(HELLO + ONE) if mark == "S"]
        for end, seconds in enumerate((2, 2, 2, 2, 4)):
            with self.subTest(end=end):
                self.load(f"{LINE} {words}")
                answer = self.begin()
                for text in said[:end]:
                    self.hop.says(text)
                self.tried.clock.advance(seconds - 0.1)
                self.assertNoResult(answer)
                self.tried.clock.advance(0.1)
                self.assertEqual("DENYSOFT", self.told(answer)[0])
                self.tried.clock.advance(10)
                self.over()

    def test_limits_of_connecting_and_content(self) -> None:
        """So have connecting and each piece of content."""
        plugin: Any = self.tried.plugin
        self.assertEqual((60, 180), (plugin.hop.timeouts.connect, plugin.hop.timeouts.block))
        self.load(f"{LINE} connect_timeout 5 data_timeout 6")
        plugin = self.tried.plugin
        self.assertEqual((5, 6), (plugin.hop.timeouts.connect, plugin.hop.timeouts.block))
        self.assertEqual(5, self.plugin_connects_within(plugin))

    def plugin_connects_within(self, plugin: Any) -> float:
        plugin.host = "hop_1"
        plugin.reload()
        plugin.hop.endpoint.connect(None)
        seconds: float = plugin.services.reactor.tcpClients[0][3]
        return seconds
