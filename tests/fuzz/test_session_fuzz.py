"""Whole sessions of random input against random plugins: well-formed replies, and nothing left behind.

More examples than the other tests have time for; QPSMTPD_FUZZ sets how many.
"""

import os
import random
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.hooks import HOOKS, Kind
from qpsmtpd.outcome import OUTCOMES
from qpsmtpd.testing import Server
from qpsmtpd.testing.dialogue import add_hook

EXAMPLES = int(os.environ.get("QPSMTPD_FUZZ", "1500"))

LINES = [
    b"EHLO x", b"HELO x", b"MAIL FROM:<a@b>", b"MAIL FROM:<>",
    b"MAIL FROM:<a@b> SIZE=9999999999 BODY=8BITMIME",
    b"RCPT TO:<c@d>", b"RCPT TO:<postmaster>", b"DATA", b"BDAT 7", b"BDAT 30 LAST", b"BDAT 0 LAST",
    b"MAIL FROM:<a@b> BODY=BINARYMIME", b"RSET", b"NOOP", b"VRFY x", b"HELP", b"QUIT", b"FOO",
    b"STARTTLS", b"AUTH PLAIN AGEAYg==", b"AUTH LOGIN", b"YQ==", b"*", b".", b"..", b"",
    b"Subject: x", b" folded", b"x" * 5000, b"\xff\x00\xc3\xa9",
]  # fmt: skip
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""]
VERDICTS = [*OUTCOMES, "raise oops", "rubbish", "never", *(f"after 1 {name}" for name in OUTCOMES)]
ASKED = [hook.name for hook in HOOKS.values() if hook.kind is not Kind.SYNC and hook.name != "user_config"]

pieces = st.one_of(
    st.builds(bytes.__add__, st.sampled_from(LINES), st.sampled_from(ENDS)), st.binary(max_size=20)
)
sessions = st.lists(pieces, max_size=25)
hooks = st.dictionaries(st.sampled_from(ASKED), st.sampled_from(VERDICTS), max_size=4)
envelope = st.sampled_from([[], [b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"]])
COMPLETE = re.compile(r"(?:(?:[2-5]\d\d-[ -~]*\r\n)*[2-5]\d\d [ -~]*\r\n)*")


class SessionFuzz(SynchronousTestCase):
    """No input and no plugin makes the server stumble."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(hooks, envelope, sessions, st.integers(0, 2**32), st.booleans(), st.booleans())
    def test_any_session(
        self,
        verdicts: dict[str, str],
        start: list[bytes],
        said: list[bytes],
        seed: int,
        drops: bool,
        normal: bool,
    ) -> None:
        dice = random.Random(seed)
        config = {
            "bare_newline": "normalize" if normal else "reject",
            "databytes": "3000",
            "max_header": "2000",
        }
        server = Server(hooks={}, config=config)
        for name, verdict in verdicts.items():
            add_hook(server, f"{name}: {verdict}")
        client = server.connect()
        heard = client.read()
        octets = b"".join(start + said)
        while octets:
            cut = dice.randint(1, max(1, len(octets) // 2))
            client.send(octets[:cut])
            octets = octets[cut:]
            if dice.random() < 0.2:
                server.clock.advance(0.5)
            heard += client.read()
        if drops:
            client.drop()
        for _ in range(200):
            server.clock.advance(31)
        heard += client.read()
        self.assertIsNotNone(COMPLETE.fullmatch(heard), heard)
        self.assertTrue(client.closed, "an idle client is still there")
        self.assertEqual(server.clock.getDelayedCalls(), [])
        self.assertEqual(len(server.factory.connections), 0)
        self.assertFalse(server.logged("session failed"))
