"""queue/smtp-forward with a next hop that is played by hand, in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import Outcome, Plugin
from qpsmtpd.testing import Tried

from ..nexthop import Hop, MemoryEndpoint

LINE = "queue/smtp-forward hop.example tls none helo me"
MESSAGE = "Subject: x\n\n.hi\n"

HELLO = "S: 220 hop\nC: EHLO me\nS: 250-hop\nS: 250 PIPELINING\n"
MAIL = "C: MAIL FROM:<a@example.com>\nC: RCPT TO:<b@example.org>\n"
CONTENT = "C: DATA\nS: 354 go\nC: Subject: x\nC: \nC: ..hi\nC: .\n"
SENT = MAIL + "S: 250 ok\nS: 250 ok\n" + CONTENT
ONE = SENT + "S: 250 2.0.0 Ok: queued as 7\n"
DONE = ("OK", "", "Queued! as 7")


class PlayedHop(Hop):
    """Next hop of a plugin; the last connection is the one that is played."""

    def __init__(self, plugin: Plugin, endpoint: MemoryEndpoint | None = None) -> None:
        forward: Any = plugin
        self.bytewise = False
        self.endpoint = endpoint or MemoryEndpoint()
        forward.hop = replace(forward.hop, endpoint=self.endpoint)

    def play_last(self, test: SynchronousTestCase, script: str) -> None:
        """Play over the last connection; the ones before must be closed."""
        test.assertFalse([one for one in self.endpoint.transports[:-1] if one.connected])
        self.play(test, script)


class ForwardCase(SynchronousTestCase):
    """One plugin and one session; `begin` sends its next message."""

    def setUp(self) -> None:
        self.load()

    def load(self, line: str = LINE, endpoint: MemoryEndpoint | None = None, **options: Any) -> None:
        """Load the plugin anew, for a new session."""
        self.tried = Tried(line, reactor=MemoryReactorClock(), **options)
        self.hop = PlayedHop(self.tried.plugin, endpoint)

    def begin(self, *recipients: str, text: str = MESSAGE, **envelope: Any) -> Deferred[Any]:
        """Have the plugin queue a message."""
        self.tried.message(text, recipients=recipients or ("<b@example.org>",), **envelope)
        return self.ask()

    def ask(self) -> Deferred[Any]:
        """Have the plugin queue the message that is there."""
        answer = self.tried.begin("queue")
        assert isinstance(answer, Deferred)
        return answer

    def forward(self, script: str, *recipients: str, **message: Any) -> tuple[str, str, str]:
        """Have a message queued while this is said; give verdict, status and text."""
        answer = self.begin(*recipients, **message)
        self.hop.play_last(self, script)
        return self.told(answer)

    def told(self, answer: Deferred[Any]) -> tuple[str, str, str]:
        """Give verdict, status and text of an answer that is there."""
        outcome = self.successResultOf(answer)
        assert isinstance(outcome, Outcome)
        return outcome.code.name, outcome.status, outcome.text

    def over(self) -> None:
        """Nothing is left: no connection, no delayed call, nothing in the notes."""
        self.assertEqual([], [one for one in self.hop.endpoint.transports if one.connected])
        self.assertEqual([], self.tried.clock.getDelayedCalls())
        self.assertEqual({}, self.tried.connection.notes)
