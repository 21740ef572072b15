"""queue/smtp-forward passes on what clients ask for, and promises only what the next hop offers."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock

from qpsmtpd import OK
from qpsmtpd.testing import Server, Tried

from .forwarding import CONTENT, DONE, HELLO, LINE, MAIL, ONE, ForwardCase, PlayedHop

OFFERS = "S: 220 hop\nC: EHLO me\nS: 250-hop\nS: 250-{}\nS: 250 PIPELINING\n"
DSN = OFFERS.format("DSN")
LATER = ("DENYSOFT", "4.4.1", "the next hop takes no mail now, please try again later")

# parameters of MAIL and RCPT, what the next hop offers, what is sent to it
PASSED: list[tuple[dict[str, str | None], dict[str, str | None], str, str, str]] = [
    ({"RET": "hdrs", "ENVID": "a+2Bb"}, {}, "DSN", " RET=hdrs ENVID=a+2Bb", ""),
    ({}, {"NOTIFY": "SUCCESS,DELAY"}, "DSN", "", " NOTIFY=SUCCESS,DELAY"),
    ({}, {"ORCPT": "rfc822;a+2Bb@c"}, "DSN", "", " ORCPT=rfc822;a+2Bb@c"),
    ({"SMTPUTF8": None}, {"ORCPT": "utf-8;\u00e9@c"}, "DSN", "", " ORCPT=utf-8;\\x{E9}@c"),
    ({"MT-PRIORITY": "-3"}, {}, "MT-PRIORITY MIXER", " MT-PRIORITY=-3", ""),
    ({"HOLDFOR": "60"}, {}, "FUTURERELEASE 90 2030-01-01T00:00:00Z", " HOLDFOR=60", ""),
    ({"REQUIRETLS": None}, {}, "REQUIRETLS", " REQUIRETLS", ""),
    ({"AUTH": "<>", "BY": "9;N"}, {}, "AUTH PLAIN", "", ""),
]

# what the next hop offers, what clients are promised
PROMISED = [
    ("DSN", {"DSN"}),
    ("8BITMIME", set()),
    ("DELIVERBY", set()),
    ("MT-PRIORITY\nS: 250-FUTURERELEASE 1 x\nS: 250-DSN", {"DSN", "MT-PRIORITY", "FUTURERELEASE"}),
    ("REQUIRETLS", set()),
]


class PromiseTests(ForwardCase):
    def ask_for(self, mail: dict[str, str | None], rcpt: dict[str, str | None]) -> Any:
        """Queue a message that came with parameters."""
        self.tried.message("Subject: x\n\n.hi\n", recipients=("<b@example.org>",))
        self.tried.transaction.parameters = mail
        self.tried.transaction.recipients[0].parameters = rcpt
        return self.ask()

    def test_passed(self) -> None:
        """What was asked for goes on as it came."""
        for mail, rcpt, offered, sent_mail, sent_rcpt in PASSED:
            with self.subTest(mail=mail, rcpt=rcpt):
                self.load()
                answer = self.ask_for(mail, rcpt)
                commands = f"C: MAIL FROM:<a@example.com>{sent_mail}\nC: RCPT TO:<b@example.org>{sent_rcpt}\n"
                script = OFFERS.format(offered) + commands + "S: 250 ok\nS: 250 ok\n" + CONTENT
                self.hop.play_last(self, script + "S: 250 2.0.0 Ok: queued as 7\n")
                self.assertEqual(DONE, self.told(answer))

    def test_each_recipient(self) -> None:
        """Each recipient has its own."""
        self.tried.message("\n", recipients=("<b@example.org>", "<c@example.org>"))
        self.tried.transaction.recipients[1].parameters = {"NOTIFY": "NEVER"}
        answer = self.ask()
        self.hop.play(self, DSN + MAIL + "C: RCPT TO:<c@example.org> NOTIFY=NEVER\n")
        answer.addErrback(lambda _: None).cancel()

    def test_broken_promise(self) -> None:
        """A message with what the next hop does not offer is delayed, and the connection closed."""
        for mail, rcpt in (({"RET": "FULL"}, {}), ({}, {"NOTIFY": "NEVER"}), ({"REQUIRETLS": None}, {})):
            with self.subTest(mail=mail):
                self.load()
                self.tried.plugin.honours = frozenset({"DSN"})
                answer = self.ask_for(mail, rcpt)
                self.hop.play(self, HELLO + "C: QUIT\nS: 221 bye\n")
                self.assertEqual(LATER, self.told(answer))
                self.assertEqual(frozenset(), self.tried.plugin.honours)
                self.over()

    def test_old_connection(self) -> None:
        """A connection that does not offer it is not kept; the next message has a new one."""
        self.forward(HELLO + ONE)
        self.tried.transaction.parameters = {"RET": "FULL"}
        self.assertEqual(LATER[1], getattr(self.tried.ask("queue"), "status", None))
        self.hop.play(self, "C: QUIT\nS: 221 bye\n")
        answer = self.ask_for({"RET": "FULL"}, {})
        self.hop.play_last(self, DSN + "C: MAIL FROM:<a@example.com> RET=FULL\nC: RCPT TO:<b@example.org>\n")
        answer.addErrback(lambda _: None).cancel()

    def test_promised(self) -> None:
        """Clients are promised what the next hop offered, as far as it is passed on."""
        for offered, expected in PROMISED:
            with self.subTest(offered=offered):
                self.load()
                self.forward(OFFERS.format(offered) + ONE)
                self.assertEqual(expected, self.tried.plugin.honours)

    def test_verified(self) -> None:
        """REQUIRETLS is promised only where the next hop's certificate is verified (RFC 8689)."""
        for policy, expected in (("encrypt", {"DSN"}), ("verify", {"DSN", "REQUIRETLS"})):
            line = f"queue/smtp-forward hop.example tls {policy}"
            plugin: Any = Tried(line, reactor=MemoryReactorClock()).plugin
            plugin.learn({"REQUIRETLS": "", "DSN": "", "SIZE": "9"})
            self.assertEqual(expected, plugin.honours)

    def test_session(self) -> None:
        """DSN is offered to every client, once the next hop has offered it."""
        server = Server([LINE], hooks={"rcpt": lambda: OK}, reactor=MemoryReactorClock())
        hop = PlayedHop(server.registry.plugins[0])
        client = server.connect()
        self.assertNotIn("DSN", client.say("EHLO x"))
        client.say("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA", "x", ".")
        hop.play(self, DSN + MAIL)
        self.assertIn("250-DSN\r\n", server.connect().say("EHLO x"))
        client.drop()
