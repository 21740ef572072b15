"""Every hook with every outcome: code, enhanced status, what becomes of session and transaction."""

import re
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import (
    DECLINED,
    DENY,
    DENY_DISCONNECT,
    DENYSOFT,
    DENYSOFT_DISCONNECT,
    OK,
    Outcome,
    Reply,
)
from qpsmtpd.answers import DENIALS, denial
from qpsmtpd.hooks import HOOKS, Kind
from qpsmtpd.session import LMTP_VERBS, VERBS
from qpsmtpd.testing import Server

HELLO = ("EHLO client.example",)
MAIL = (*HELLO, "MAIL FROM:<a@example.com>")
RCPT = (*MAIL, "RCPT TO:<b@example.org>")
DATA = (*RCPT, "DATA")
PLAIN = "AUTH PLAIN " + b64encode(b"\0joe\0secret").decode()
MESSAGE = "Subject: x\r\n\r\nhello\r\n."

ANSWERS = (DECLINED, OK, DENY, DENYSOFT, DENY_DISCONNECT, DENYSOFT_DISCONNECT, Reply(250, "done", "2.0.0"))


class Row(NamedTuple):
    """How to reach a hook, and what the client is told by each of ANSWERS.

    "x" behind code and status: the session is closed; "t": there is a transaction afterwards.
    """

    before: tuple[str, ...]
    trigger: str
    expected: tuple[str, ...]


def said(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


GREETING = said("220 | 220 | 554 5.7.1 x | 421 4.7.1 x | 554 5.7.1 x | 421 4.7.1 x | 250 2.0.0")
HELO = said("250 | 250 | 550 5.7.1 | 450 4.7.1 | 550 5.7.1 x | 421 4.7.1 x | 250 2.0.0")
SYNTAX = "501 5.5.2 | 501 5.5.2 | 501 5.5.2 x | 421 4.5.2 x"
POLICY = "550 5.7.1 | 450 4.7.1 | 550 5.7.1 x | 421 4.7.1 x"
CONTENT = said("250 2.0.0 | 250 2.0.0 | 552 5.7.1 | 452 4.7.1 | 552 5.7.1 x | 421 4.7.1 x | 250 2.0.0")
AUTH = said("535 5.7.8 | 235 2.7.0 | 535 5.7.8 | 454 4.7.0 | 535 5.7.8 x | 421 4.7.0 x | 250 2.0.0")
ALWAYS = ("250 2.0.0",) * 7

ROWS: dict[str, Row] = {
    "pre-connection": Row((), "", GREETING),
    "connect": Row((), "", GREETING),
    "helo": Row((), "HELO x", HELO),
    "ehlo": Row((), "EHLO x", HELO),
    "helo_parse": Row((), "HELO x", said(f"250 | 250 | {SYNTAX} | 250 2.0.0")),
    "ehlo_parse": Row((), "EHLO x", said(f"250 | 250 | {SYNTAX} | 250 2.0.0")),
    "mail_parse": Row(HELLO, MAIL[-1], said(f"250 2.1.0 t | 250 2.1.0 t | {SYNTAX} | 250 2.0.0")),
    "mail_pre": Row(HELLO, MAIL[-1], said(f"250 2.1.0 t | 250 2.1.0 t | {POLICY} | 250 2.0.0")),
    "mail": Row(HELLO, MAIL[-1], said(f"250 2.1.0 t | 250 2.1.0 t | {POLICY} | 250 2.0.0")),
    "rcpt_parse": Row(
        MAIL,
        RCPT[-1],
        said(
            "250 2.1.5 t | 250 2.1.5 t | 501 5.5.2 t | 501 5.5.2 t | 501 5.5.2 x | 421 4.5.2 x | 250 2.0.0 t"
        ),
    ),
    "rcpt_pre": Row(
        MAIL,
        RCPT[-1],
        said(
            "250 2.1.5 t | 250 2.1.5 t | 550 5.7.1 t | 450 4.7.1 t | 550 5.7.1 x | 421 4.7.1 x | 250 2.0.0 t"
        ),
    ),
    "rcpt": Row(
        MAIL,
        RCPT[-1],
        said(
            "450 4.7.1 t | 250 2.1.5 t | 550 5.7.1 t | 450 4.7.1 t | 550 5.7.1 x | 421 4.7.1 x | 250 2.0.0 t"
        ),
    ),
    "data": Row(
        RCPT,
        "DATA",
        said("354 t | 354 t | 554 5.7.1 | 451 4.7.1 | 554 5.7.1 x | 421 4.7.1 x | 250 2.0.0"),
    ),
    "data_headers_end": Row(
        DATA,
        MESSAGE,
        said("250 2.0.0 | 250 2.0.0 | 554 5.7.1 | 451 4.7.1 | 554 5.7.1 x | 421 4.7.1 x | 250 2.0.0"),
    ),
    "data_post_headers": Row(DATA, MESSAGE, CONTENT),
    "data_post": Row(DATA, MESSAGE, CONTENT),
    "queue_pre": Row(DATA, MESSAGE, CONTENT),
    "queue": Row(
        DATA,
        MESSAGE,
        said("451 4.3.0 | 250 2.0.0 | 552 5.3.0 | 452 4.3.0 | 552 5.3.0 x | 421 4.3.0 x | 250 2.0.0"),
    ),
    "received_line": Row(DATA, MESSAGE, ALWAYS),
    "queue_post": Row(DATA, MESSAGE, ALWAYS),
    "auth_parse": Row(HELLO, PLAIN, said(f"535 5.7.8 | 535 5.7.8 | {SYNTAX} | 250 2.0.0")),
    "auth": Row(HELLO, PLAIN, AUTH),
    "auth-plain": Row(HELLO, PLAIN, AUTH),
    "vrfy": Row(
        (),
        "VRFY joe",
        said("252 2.5.2 | 250 2.1.5 | 554 5.7.1 | 450 4.7.1 | 554 5.7.1 x | 421 4.7.1 x | 250 2.0.0"),
    ),
    "noop": Row(
        (),
        "NOOP",
        said("250 2.0.0 | 250 2.0.0 | 500 5.7.1 | 450 4.7.1 | 500 5.7.1 x | 421 4.7.1 x | 250 2.0.0"),
    ),
    "help": Row(
        (),
        "HELP",
        said("214 2.0.0 | 214 2.0.0 | 500 5.7.1 | 450 4.7.1 | 500 5.7.1 x | 421 4.7.1 x | 250 2.0.0"),
    ),
    "quit": Row((), "QUIT", (*("221 2.0.0 x",) * 6, "250 2.0.0 x")),
    "unrecognized_command": Row(
        (),
        "XYZZY",
        said("500 5.5.1 | 500 5.5.1 | 500 5.5.1 | 500 5.5.1 | 521 5.5.1 x | 421 4.5.1 x | 250 2.0.0"),
    ),
    "reset_transaction": Row((), "RSET", ALWAYS),
    "ok": Row(MAIL, "RSET", ALWAYS),
    "deny": Row(MAIL, "RSET", ALWAYS),
    "disconnect": Row((), "QUIT", ("221 2.0.0 x",) * 7),
    "post-connection": Row((), "QUIT", ("221 2.0.0 x",) * 7),
}

ELSEWHERE = {"logging", "config", "user_config", "auth-login", "auth-cram-md5"}
"""Hooks that answer with lines or not at all, or like auth-plain; other files test them."""
ELSEWHERE |= {"auth-oauthbearer", "auth-xoauth2", "credentials"}


class MatrixTests(SynchronousTestCase):
    """One test a hook; each tries all answers."""

    def play(self, hook: str, row: Row, answer: Outcome | Reply) -> str:
        """Give what the client was told, as in a Row."""
        # A plugin of its own, so that what the others need to come this far does not answer before it.
        hooks: dict[str, Callable[[], Any]] = {"rcpt": lambda: OK, "queue": lambda: OK}
        if hook == "auth_parse":
            hooks["auth"] = lambda: DENY
        hooks[hook] = lambda: answer
        client = Server(hooks=hooks, config={"reverse_dns": "0"}).connect()
        reply = client.read()
        for line in row.before:
            client.say(line)
        if row.trigger:
            reply = client.say(row.trigger)
        last = reply.splitlines()[-1]
        self.assertEqual(1, sum(line[3:4] != "-" for line in reply.splitlines()), reply)
        code, _, text = last.partition(" ")
        status = text.partition(" ")[0]
        told = f"{code} {status}" if status[1:2] == "." and status[0].isdigit() else code
        if client.closed:
            told += " x"
        elif client.protocol.session.transaction.sender is not None:
            told += " t"
        return told


def add(hook: str, row: Row) -> None:
    def test(self: MatrixTests) -> None:
        told = tuple(self.play(hook, row, answer) for answer in ANSWERS)
        self.assertEqual(row.expected, told)

    setattr(MatrixTests, "test_" + hook.replace("-", "_"), test)


for name, found in ROWS.items():
    add(name, found)


class CompleteTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """Every hook has a row."""
        self.assertEqual(set(HOOKS), set(ROWS) | ELSEWHERE)

    def test_denials(self) -> None:
        """Every hook that may refuse has a line in the table, and no other."""
        asked = {name for name, hook in HOOKS.items() if hook.kind is Kind.ASKED}
        mechanisms = {name for name in asked if name.startswith("auth-") or name == "credentials"}
        self.assertEqual(asked - mechanisms - {"quit", "received_line", "user_config"}, set(DENIALS))


class TextTests(SynchronousTestCase):
    def test_given(self) -> None:
        """The plugin's text and status are told, whatever the hook."""
        for hook in DENIALS:
            reply = denial(hook, DENY("go\naway", "5.1.1"))
            assert reply is not None
            self.assertEqual((("go", "away"), "5.1.1"), (reply.lines, reply.status), hook)

    def test_default(self) -> None:
        """A refusal without text gets one, but AUTH's, which names the user."""
        for hook in set(DENIALS) - {"auth"}:
            reply = denial(hook, DENY)
            assert reply is not None
            self.assertTrue(reply.text, hook)

    def test_class_agrees(self) -> None:
        """A status of another class than the code is mended (RFC 2034 section 4)."""
        reply = denial("rcpt", DENYSOFT("later", "5.1.1"))
        assert reply is not None
        self.assertEqual("4.1.1", reply.status)

    def test_names_no_other_language(self) -> None:
        """No reply to a client of LMTP, in order or out of it, speaks of HELO and EHLO, nor the other way."""
        for lmtp, others in ((True, r"\b(HELO|EHLO|ESMTP|SMTP)\b"), (False, r"\b(LHLO|LMTP)\b")):
            server = Server(
                ["helo"], config={"badhelo": "bad.example"}, hooks={"rcpt": lambda: OK}, lmtp=lmtp
            )
            hello = "LHLO" if lmtp else "EHLO"
            verbs = set(LMTP_VERBS if lmtp else VERBS) - {"HELO", "DATA", "BDAT"}
            arguments = ("", "x", "FROM:<a@b> X=1", "TO:<a@b>")
            lines = [f"{verb} {argument}".strip() for verb in sorted(verbs) for argument in arguments]
            said = []
            for prefix in ([], [f"{hello} x"], [f"{hello} x", "MAIL FROM:<a@b>"], [f"{hello} bad.example"]):
                for line in [*lines, "GET / HTTP/1.0", "DATA", "BDAT x"]:
                    client = server.connect()
                    said += [client.read(), client.say(*prefix, line)]
                    client.drop()
            self.assertEqual([], [text for text in said if re.search(others, text)])
            self.assertGreater(len(said), 500)

    def test_go_on(self) -> None:
        """OK and DECLINED end no command."""
        self.assertEqual([None, None], [denial("rcpt", OK("fine")), denial("rcpt", DECLINED("hm"))])

    def test_own_reply(self) -> None:
        """A plugin's own reply is sent as it is."""
        own = Reply(559, "own", "5.9.9")
        self.assertIs(own, denial("rcpt", own))

    def test_own_reply_at_connect(self) -> None:
        """As greeting it becomes one of the codes that may stand there (RFC 5321 section 4.3.2)."""
        for code, expected in ((250, 250), (451, 421), (550, 554)):
            reply = denial("connect", Reply(code, "own"))
            assert reply is not None
            self.assertEqual(expected, reply.code)
