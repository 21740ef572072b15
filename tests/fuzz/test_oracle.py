"""Whole sessions against an oracle of RFC 5321, LMTP and PRDR: which reply a command must get in which state.

Commands are queued with the replies that the oracle foretells, sent in segments of any size, and compared.
The oracle also foretells which hooks are asked: one that is asked without need fails the session. Always
the same examples, unless QPSMTPD_FUZZ says how many others to try.
"""

import os
import re
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OUTCOMES, Transaction
from qpsmtpd.testing import Client, Server
from qpsmtpd.testing.dialogue import VERDICTS

EXAMPLES = int(os.environ.get("QPSMTPD_FUZZ", "400"))
FIXED = "QPSMTPD_FUZZ" not in os.environ
MAX_ERRORS = 6
MAX_RECIPIENTS = 3

# The codes of OK, DECLINED, DENY and DENYSOFT. DENYSOFT_DISCONNECT is 421 everywhere, a failure 451.
CODES = {
    "connect": (220, 220, 554, 421),
    "helo": (250, 250, 550, 450),
    "ehlo": (250, 250, 550, 450),
    "mail": (250, 250, 550, 450),
    "rcpt": (250, 450, 550, 450),
    "data": (354, 354, 554, 451),
    "queue": (250, 451, 552, 452),
    "noop": (250, 250, 500, 450),
    "vrfy": (250, 252, 554, 450),
    "help": (214, 214, 500, 450),
    "unrecognized_command": (500, 500, 500, 500),
}
WORDS = ("OK", "DECLINED", "DENY", "DENYSOFT")
FAILURES = ("raise", "rubbish", "never")
COUNTED = {500, 501, 502, 503, 504, 521, 530, 535, 538, 553, 555}

# Mostly OK, for otherwise no session gets far.
slow = st.sampled_from(("", "", "", "after 1 "))
verdicts = st.one_of(
    st.just("OK"),
    st.just("OK"),
    st.just("OK"),
    st.builds(str.__add__, slow, st.sampled_from((*WORDS, *FAILURES))),
    st.builds(str.__add__, slow, st.sampled_from((*WORDS, "DENY_DISCONNECT", "DENYSOFT_DISCONNECT"))),
)
# Whatever looks like a command, or like an end of the message, must not be taken for one.
content = st.lists(st.sampled_from(["text", ".", "..", "QUIT", "RSET", "", "Subject: x", ".x"]), max_size=4)
smuggled = st.sampled_from(["", "", "", "a\n.\nQUIT", "a\n.\r\nQUIT", "a\r.\r\nQUIT", "a\r\n.\nRSET", "a\rb"])
# What single recipients are answered; most have no answer of their own.
marks = st.lists(st.sampled_from(["", "", "", "OK", "DENY", "DENYSOFT"]), max_size=3)
cuts = st.lists(st.integers(0, 300), max_size=6)


class Sessions(RuleBasedStateMachine):
    """One server, one client after another."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, deque[str]] = {name: deque() for name in CODES}
        self.told: Counter[str] = Counter()
        self.surprises: list[str] = []
        hooks: dict[str, Callable[..., Any]] = {name: partial(self.answer, name) for name in CODES}
        hooks["queue"] = self.answer_queue
        self.marks: deque[list[str]] = deque()
        for name in ("disconnect", "post-connection"):
            hooks[name] = partial(self.tell, name)
        config = {"plugin_timeout": "5", "max_errors": str(MAX_ERRORS), "reverse_dns": "0"}
        self.server = Server(hooks=hooks, config={**config, "max_recipients": str(MAX_RECIPIENTS)})
        self.clients = 0

    def answer(self, hook: str) -> Any:
        if not self.asked[hook]:
            self.surprises.append(hook)
            return None
        return VERDICTS(self.asked[hook].popleft(), self.server.clock)()

    def answer_queue(self, transaction: Transaction) -> Any:
        """Answer single recipients, and then all."""
        waiting = self.marks.popleft() if self.marks else []
        for recipient, word in zip(transaction.recipients, waiting, strict=False):
            if word:
                transaction.answer(recipient, OUTCOMES[word])
        return self.answer("queue")

    def tell(self, hook: str) -> None:
        self.told[hook] += 1

    # What the client has said and what is foretold of it.

    @initialize(verdict=verdicts, lmtp=st.booleans())
    def connect(self, verdict: str = "OK", lmtp: bool | None = None) -> None:
        self.lmtp = self.lmtp if lmtp is None else lmtp
        self.server.factory._lmtp = self.lmtp
        self.hello = ""
        self.errors = self.recipients = 0
        self.sender = self.chunks = self.gone = self.prdr = False
        self.octets = b""
        self.replies: list[int] = []
        self.expect(self.ask("connect", verdict))
        if self.replies[-1] >= 400:
            self.gone = True
        self.client: Client = self.server.connect()
        self.clients += 1

    def reset(self) -> None:
        self.sender = self.chunks = self.prdr = False
        self.recipients = 0

    def send(self, line: str) -> None:
        if not self.gone:
            self.octets += line.encode() + b"\r\n"

    def expect(self, code: int, *, counted: bool = True) -> int:
        """Foretell a reply; 421 and errors that are too many end the session."""
        if self.gone:
            return 0
        if counted and abs(code) in COUNTED:
            self.errors += 1
            if self.errors > MAX_ERRORS:
                code = 421
        self.replies.append(abs(code))
        if code in (421, 221) or code < 0:
            self.gone = True
        return code

    def expect_end(self, whole: int, own: list[str]) -> None:
        """Foretell what is said to the end of a message: one reply for all, or one for each recipient."""
        if self.gone:
            return
        own = [*own, *[""] * self.recipients][: self.recipients]
        codes = [CODES["queue"][WORDS.index(word)] if word else whole for word in own]
        refused = [code for code in codes if abs(code) >= 400]
        worst = next((code for code in refused if abs(code) < 500), refused[0] if refused else 250)
        if self.lmtp:
            said = codes
        elif self.prdr and len(codes) > 1:
            said = [353, *codes, 250 if len(refused) < len(codes) else worst]
        else:
            said = [worst]
        self.replies += map(abs, said)
        self.gone = any(code < 0 or code == 421 for code in codes)

    def ask_queue(self, verdict: str, own: list[str]) -> int:
        """Foretell that queue is asked."""
        if not self.gone:
            self.marks.append(own)
        return self.ask("queue", verdict)

    def ask(self, hook: str, verdict: str) -> int:
        """Foretell that a hook is asked, and the code of its answer; below 0 if the session ends then."""
        if self.gone:
            return 0
        self.asked[hook].append(verdict)
        word = verdict.removeprefix("after 1 ")
        if word in FAILURES:
            return 421 if hook == "connect" else 451
        if word == "DENYSOFT_DISCONNECT":
            return 421
        if word == "DENY_DISCONNECT":
            return -521 if hook == "unrecognized_command" else -CODES[hook][2]
        return CODES[hook][WORDS.index(word)]

    # The commands.

    @rule(verb=st.sampled_from(["HELO", "EHLO", "ehlo", "LHLO", "lhlo"]), verdict=verdicts)
    def greet(self, verb: str, verdict: str) -> None:
        hook = verb.lower()
        if self.lmtp != (hook == "lhlo"):
            self.unknown(verdict, f"{verb} client.example")
            return
        hook = hook.replace("lhlo", "ehlo")
        self.send(f"{verb} client.example")
        if self.expect(self.ask(hook, verdict)) == 250:
            self.reset()
            self.hello = hook

    @rule(
        verdict=verdicts,
        path=st.sampled_from(["<>", "<a@b.example>", '<"a b"@[192.0.2.1]>']),
        prdr=st.booleans(),
    )
    def mail(self, verdict: str, path: str, prdr: bool = False) -> None:
        self.send(f"MAIL FROM:{path}{' PRDR' if prdr else ''}")
        if not self.hello or self.sender:
            self.expect(503)
        elif prdr and (self.lmtp or self.hello != "ehlo"):
            self.expect(555)
        elif self.expect(self.ask("mail", verdict)) == 250:
            self.sender, self.prdr = True, prdr

    @rule(prdr=st.booleans(), recipients=st.integers(1, 2))
    def envelope(self, prdr: bool = False, recipients: int = 1) -> None:
        """Go as far as DATA with plugins that like it all: the interesting states are many commands away."""
        if not self.hello:
            self.greet("LHLO" if self.lmtp else "EHLO", "OK")
        if not self.sender:
            self.mail("OK", "<a@b.example>", prdr and self.hello == "ehlo" and not self.lmtp)
        for _ in range(recipients):
            self.rcpt("OK", "<c@d.example>")

    @rule(
        argument=st.sampled_from(["", "FROM:", "TO:<a@b>", "FROM:<a", "FROM:a@b", "FROM:<a@>", "FROM:<a@b>x"])
    )
    def bad_mail(self, argument: str) -> None:
        self.send(f"MAIL {argument}")
        self.expect(501 if self.hello and not self.sender else 503)

    @rule(line=st.sampled_from(["MAIL FROM:<a@b> SIZE=x", "AUTH PLAIN AGEAYg==", "RSET", "RSET"]))
    def depends(self, line: str) -> None:
        """What needs no plugin, but another state."""
        self.send(line)
        if line == "RSET":
            if self.expect(250):
                self.reset()
        elif line.startswith("AUTH"):
            self.expect(502 if self.hello == "ehlo" else 503)
        elif self.hello and not self.sender:
            self.expect(501 if self.hello == "ehlo" else 555)
        else:
            self.expect(503)

    @rule(verdict=verdicts, path=st.sampled_from(["<c@d.example>", "<Postmaster>", "<@x,@y:c@d.example>"]))
    def rcpt(self, verdict: str, path: str) -> None:
        self.send(f"RCPT TO:{path}")
        if not self.sender or self.chunks:
            self.expect(503)
        elif self.recipients == MAX_RECIPIENTS:
            self.expect(452)
        elif self.expect(self.ask("rcpt", verdict)) == 250:
            self.recipients += 1

    @rule(verdict=verdicts, lines=content, trick=smuggled, stored=verdicts, own=marks)
    def data(self, verdict: str, lines: list[str], trick: str, stored: str, own: list[str]) -> None:
        self.send("DATA")
        if not self.recipients or self.chunks:
            self.expect(503)
            return
        if self.expect(self.ask("data", verdict)) != 354:
            self.reset()
            return
        for line in (*lines, *([trick] if trick else [])):
            self.send("." + line if line.startswith(".") else line)
        self.send(".")
        if trick:
            self.expect_end(550, [])
        else:
            self.expect_end(self.ask_queue(stored, own), own)
        self.reset()

    @rule(
        verdict=verdicts,
        text=st.sampled_from(["", "QUIT\r\n", ".\r\n", "x" * 50]),
        last=st.booleans(),
        stored=verdicts,
        own=marks,
    )
    def bdat(self, verdict: str, text: str, last: bool, stored: str, own: list[str]) -> None:
        if self.gone:
            return
        self.octets += f"BDAT {len(text)}{' LAST' if last else ''}\r\n{text}".encode()
        if not self.recipients:
            code = 503
        else:
            code = 354 if self.chunks else self.ask("data", verdict)
            if code == 354:
                self.chunks = not last
                if last:
                    self.expect_end(self.ask_queue(stored, own), own)
                    self.reset()
                else:
                    self.expect(250)
                return
            if last:
                self.expect_end(code, [])
                self.reset()
                return
        # Many chunks may be on their way when one is refused (RFC 3030 section 2): no errors, unless empty.
        self.expect(code, counted=not text)
        self.reset()

    @rule(verdict=verdicts, hook=st.sampled_from(["noop", "vrfy", "help"]))
    def anytime(self, verdict: str, hook: str) -> None:
        self.send(f"{hook} x")
        # Upstream drops the transaction then, though RFC 5321 section 4.1.1.6 gives VRFY no effect on it.
        if self.expect(self.ask(hook, verdict)) == 554:
            self.reset()

    @rule(verdict=verdicts, line=st.sampled_from(["FOO", "", " NOOP", "MAILFROM:<a@b>", "\tQUIT"]))
    def unknown(self, verdict: str, line: str) -> None:
        self.send(line)
        self.expect(self.ask("unrecognized_command", verdict))

    @rule(
        line=st.sampled_from(
            [("RSET x", 501), ("QUIT x", 501), ("EXPN x", 502), ("STARTTLS", 502), ("HELO", 501),
             ("EHLO ", 501), ("NOOP " + 5000 * "x", 500), ("VRFY\rx", 500), ("VRFY", 501),
             ("VRFY ", 501)]
        )
    )  # fmt: skip
    def refused(self, line: tuple[str, int]) -> None:
        if self.lmtp and line[0][1:4] in ("ELO", "HLO"):
            self.unknown("OK", line[0])
            return
        self.send(line[0])
        self.expect(line[1])

    # What the network does.

    @rule(places=cuts)
    def flush(self, places: list[int]) -> None:
        """Send what is queued, and hear all of what was foretold."""
        self.deliver(self.octets, places)
        assert self.heard() == self.replies, (self.heard(), self.replies)
        self.octets, self.replies = b"", []
        self.client.transport.clear()
        assert self.client.closed == self.gone
        if self.gone:
            self.leave()

    @rule(how=st.sampled_from(["quit", "silent", "patient", "gone"]), places=cuts, share=st.floats(0, 1))
    def end(self, how: str, places: list[int], share: float) -> None:
        """Say QUIT, fall silent, or send a part and go: one rule, lest all sessions be short."""
        match how:
            case "quit":
                self.send("QUIT")
                self.expect(221)
                self.flush(places)
            case "silent":
                self.fall_silent()
            case _:
                patience = 20 if how == "patient" else 0
                self.deliver(self.octets[: int(len(self.octets) * share)], places, patience)
                heard = self.heard()
                assert heard == self.replies[: len(heard)], (heard, self.replies)
                self.leave()

    def fall_silent(self) -> None:
        """Hear the server end the session."""
        if self.gone:
            return
        self.flush([])
        self.server.advance(1201)
        assert self.heard() == [421], self.heard()
        self.leave()

    def deliver(self, octets: bytes, places: list[int], patience: int = 300) -> None:
        """Send in segments, and wait for the replies that are foretold, a time in seconds at most."""
        begin = 0
        for place in [*sorted(places), len(octets)]:
            if octets[begin:place]:
                self.client.send(octets[begin:place])
                self.server.advance(0.4)
                begin = place
        for _ in range(patience):
            if len(self.heard()) >= len(self.replies):
                break
            self.server.advance(1)
        self.server.advance(0)

    def heard(self) -> list[int]:
        text = self.client.transport.value().decode("ascii")
        assert re.fullmatch(r"(?:[2-5]\d\d[ -][ -~]*\r\n)*", text), text
        return [int(line[:3]) for line in text.split("\r\n") if line[3:4] == " "]

    def leave(self) -> None:
        """Go, leave nothing behind, and let another one come."""
        self.client.drop()
        self.server.advance(60)
        assert self.server.clock.getDelayedCalls() == []
        assert len(self.server.factory.connections) == 0
        assert self.told == {"disconnect": self.clients, "post-connection": self.clients}, self.told
        for waiting in self.asked.values():
            waiting.clear()
        self.marks.clear()
        self.connect()

    @invariant()
    def nothing_was_asked_in_vain(self) -> None:
        assert self.surprises == []

    def teardown(self) -> None:
        self.flush([])


class OracleTests(SynchronousTestCase):
    """RFC 5321 sections 3.3, 4.1.4 and 4.3.2."""

    def test_sessions(self) -> None:
        """No order of commands, no segmentation and no plugin makes a reply differ from what is foretold."""
        run_state_machine_as_test(
            Sessions,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=40,
                deadline=None,
                derandomize=FIXED,
                database=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
                report_multiple_bugs=False,
            ),
        )

    def test_found(self) -> None:
        """What server and oracle once saw differently: which errors are counted, VRFY in a transaction."""
        rows: list[list[tuple[str, tuple[object, ...]]]] = [
            [("refused", (("HELO", 501),))] * 6 + [("bdat", ("OK", "QUIT\r\n", False, "OK", []))],
            [("refused", (("HELO", 501),))] * 6 + [("unknown", ("DENY_DISCONNECT", "FOO"))],
            [("envelope", ()), ("anytime", ("DENY", "vrfy")), ("rcpt", ("OK", "<c@d.example>"))],
        ]
        for row in rows:
            session = Sessions()
            session.connect("OK", lmtp=False)
            for name, arguments in row:
                getattr(session, name)(*arguments)
            session.teardown()
