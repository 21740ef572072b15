"""What a message costs, counted instead of timed: calls of our functions, and of built-in ones by ours.

The numbers are exact, the same on every machine and from Python 3.11 to 3.13 at least. When a test fails,
`bench/profile B --with cprofile` shows the calls for each message, function by function. Work that most
messages do not need goes elsewhere: behind a check that is made once, or to whoever uses the feature. If it
is worth its cost, raise the bound and say why in the commit; if calls have become fewer, lower it. A bound is
one percent above what was counted.
"""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

import qpsmtpd
from qpsmtpd import OK
from qpsmtpd.factory import SMTPFactory

OURS = str(Path(qpsmtpd.__file__).parent)
MESSAGES = 100
SEGMENT = 4096
ROOM = 0.1
"""The part of a bound that may be left; more, and it would not notice the next calls."""


def segments(size: int, recipients: int) -> list[bytes]:
    """Give what smtp-source sends of a message, which waits for each reply."""
    content = (b"Subject: test\r\n\r\n" + (b"X" * 78 + b"\r\n") * (size // 80))[: size - 5] + b"\r\n.\r\n"
    return [
        b"MAIL FROM:<sender@example.com>\r\n",
        *[b"RCPT TO:<%duser@example.com>\r\n" % number for number in range(recipients)],
        b"DATA\r\n",
        *[content[start : start + SEGMENT] for start in range(0, len(content), SEGMENT)],
    ]


class Counter:
    """Counts calls while it is entered."""

    def __init__(self) -> None:
        self.functions = self.builtins = 0

    def __enter__(self) -> "Counter":
        self._before = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.setprofile(self._before)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename.startswith(OURS):
            self.functions += event == "call"
            self.builtins += event == "c_call"


class CallTests(SynchronousTestCase):
    def calls(self, parts: list[bytes]) -> tuple[float, float]:
        """Count the calls for a message of many over one connection, whose plugin accepts all at once."""
        config = {"me": "bench.example.com", "reverse_dns": "0"}
        hooks = {"rcpt": lambda: OK, "queue": lambda: OK}
        protocol: Any = SMTPFactory(Clock(), hooks=hooks, config=config).buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(b"EHLO client.example.com\r\n")
        for part in parts:  # what the first one has to look up is kept for the others
            protocol.dataReceived(part)
        with Counter() as counter:
            for part in parts * MESSAGES:
                protocol.dataReceived(part)
        self.assertEqual(1 + MESSAGES, transport.value().count(b"250 2.0.0 Queued"), transport.value()[-200:])
        return counter.functions / MESSAGES, counter.builtins / MESSAGES

    def judge(self, parts: list[bytes], functions: int, builtins: int) -> None:
        """Fail when there are more calls than the bounds allow, or so few that these bound nothing."""
        for kind, found, bound in zip(
            ("functions", "built-in functions"), self.calls(parts), (functions, builtins), strict=True
        ):
            self.assertLessEqual(found, bound, f"a message calls more {kind} than before")
            self.assertGreaterEqual(
                found, bound * (1 - ROOM), f"a message calls fewer {kind}: lower the bound"
            )

    def test_small_messages(self) -> None:
        """As in load B of bench/."""
        self.judge(segments(4096, recipients=1), functions=143, builtins=141)

    def test_messages_to_many(self) -> None:
        """As in load D of bench/."""
        self.judge(segments(20_000, recipients=5), functions=357, builtins=409)
