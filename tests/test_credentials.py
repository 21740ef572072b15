"""The hook ``credentials``: one plugin for all mechanisms, and nobody learns who has an account."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENYSOFT, OK, Reply, Secret
from qpsmtpd.connection import TLSInfo
from qpsmtpd.credentials import salt_of
from qpsmtpd.kit.password import check_password
from qpsmtpd.limits import Limits
from qpsmtpd.outcome import Code, Given
from qpsmtpd.secret import ITERATIONS
from qpsmtpd.testing import Server

from .test_sasl_scram import answer
from .test_secret import PENCIL

ALL = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5"
EXPORTER = bytes(range(32))


def b64(octets: bytes | str) -> str:
    return b64encode(octets.encode() if isinstance(octets, str) else octets).decode()


class Case(SynchronousTestCase):
    def connect(self, answers: Any = None, hooks: dict[str, Any] | None = None, **config: str) -> Any:
        """Connect to a server whose plugin answers with the value, or by user from a table."""
        self.asked: list[tuple[str, str]] = []

        def credentials(user: str, mechanism: str) -> Any:
            self.asked.append((user, mechanism))
            return answers.get(user) if isinstance(answers, dict) else answers

        values = {"reverse_dns": "0", "auth_mechanisms": ALL, "scram_iterations": "4096", **config}
        self.server = Server(hooks={"credentials": credentials, **(hooks or {})}, config=values)
        client = self.server.connect()
        client.say("EHLO x")
        return client

    def scram(self, client: Any, first: str = "n,,n=user,r=abc", *, plus: bool = False) -> list[str]:
        """Play SCRAM with the password pencil; give all replies."""
        name = "SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256"
        replies = [client.say(f"AUTH {name} {b64(first)}")]
        if replies[-1].startswith("334 "):
            challenge = b64decode(replies[-1].removeprefix("334 "))
            replies.append(client.say(b64(answer(first.encode(), challenge, EXPORTER if plus else b""))))
        if replies[-1].startswith("334 "):
            replies.append(client.say(""))
        return replies

    def plain(self, client: Any, user: str = "user", password: str = "pencil") -> str:
        reply: str = client.say("AUTH PLAIN " + b64(f"\0{user}\0{password}"))
        return reply


CLEAR = Secret(password="pencil")


class OfferTests(Case):
    def test_offered(self) -> None:
        """The hook offers all mechanisms that it can check; binding needs TLS 1.3."""
        client = self.connect()
        self.assertEqual("AUTH SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5", client.say("EHLO x").splitlines()[-1][4:])
        client.connection.tls = TLSInfo("TLSv1.2", "AES", 256)
        self.assertNotIn("PLUS", client.say("EHLO x"))
        client.connection.tls = TLSInfo("TLSv1.3", "AES", 256, exporter=EXPORTER)
        self.assertEqual(f"AUTH {ALL}", client.say("EHLO x").splitlines()[-1][4:])

    def test_default(self) -> None:
        """Nothing but PLAIN and LOGIN unless it is configured."""
        self.assertEqual(("PLAIN", "LOGIN"), Limits().auth_mechanisms)
        self.assertEqual(ITERATIONS, Limits().scram_iterations)

    def test_other_hooks(self) -> None:
        """A plugin that compares passwords cannot check SCRAM."""
        server = Server(hooks={"auth": lambda: OK}, config={"auth_mechanisms": ALL})
        client = server.connect()
        self.assertEqual("AUTH PLAIN LOGIN CRAM-MD5", client.say("EHLO x").splitlines()[-1][4:])
        self.assertEqual("504", client.say("AUTH SCRAM-SHA-256")[:3])


class PasswordTests(Case):
    def test_plain_and_login(self) -> None:
        """A password is checked with either kind of secret."""
        for secret in (CLEAR, PENCIL):
            client = self.connect(secret)
            self.assertEqual("235 2.7.0 PLAIN authentication successful for user", self.plain(client))
            self.assertEqual([("user", "plain")], self.asked)
            client = self.connect(secret)
            self.assertEqual("235", client.say("AUTH LOGIN", b64("user"), b64("pencil")).splitlines()[-1][:3])
            client = self.connect(secret)
            failed = "535 5.7.8 PLAIN authentication failed for user from 192.0.2.1"
            self.assertEqual(failed, self.plain(client, password="Pencil"))
            self.assertTrue(self.server.logged("fail: wrong password"))

    def test_spelling(self) -> None:
        """Passwords that look alike are alike."""
        for secret in (Secret(password="IX"), Secret.derive("IX", iterations=1)):
            self.assertEqual("235", self.plain(self.connect(secret), password="I\u00adX")[:3])

    def test_cram_md5(self) -> None:
        """A digest needs the password in clear."""
        for secret, code in (
            (CLEAR, "235"),
            (Secret(password="other"), "535"),
            (PENCIL, "535"),
            (None, "535"),
        ):
            client = self.connect(secret)
            ticket = b64decode(client.say("AUTH CRAM-MD5").removeprefix("334 ")).decode()
            digest = hmac.new(b"pencil", ticket.encode(), "md5").hexdigest()
            self.assertEqual(code, client.say(b64(f"user {digest}"))[:3])

    def test_nobody(self) -> None:
        """An unknown user, an empty password and a plugin that only says OK let nobody in."""
        for given in (None, DECLINED, OK, OK("fine"), Secret(password="")):
            for password in ("pencil", "x"):
                self.assertEqual("535", self.plain(self.connect(given), password=password)[:3], given)
            self.assertEqual("535", self.scram(self.connect(given))[-1][:3], given)

    def test_denied(self) -> None:
        """A plugin may refuse, for now or for good, or answer itself."""
        for given, reply in (
            (DENY("expired"), "535 5.7.8 MECH authentication failed for user from 192.0.2.1 - expired"),
            (DENYSOFT, "454 4.7.0 MECH authentication failed for user from 192.0.2.1"),
            (Reply(454, "later", "4.7.0"), "454 4.7.0 later"),
        ):
            self.assertEqual(reply.replace("MECH", "PLAIN"), self.plain(self.connect(given)))
            self.assertEqual([reply.replace("MECH", "SCRAM-SHA-256")], self.scram(self.connect(given)))

    def test_broken(self) -> None:
        """A plugin that fails, or gives what is no secret, is no wrong password."""
        for given in ("pencil", b"", 7):
            self.assertEqual("451", self.plain(self.connect(given))[:3])
            self.assertEqual("451", self.scram(self.connect(given))[-1][:3])


class OrderTests(Case):
    def test_others_first(self) -> None:
        """The hooks of upstream come first: their yes and no hold, and without one the secret counts."""
        for hook in ("auth-plain", "auth"):
            for verdict, code in ((OK, "235"), (DENY, "535"), (DENYSOFT, "454"), (None, "235")):
                client = self.connect(CLEAR, {hook: lambda verdict=verdict: verdict})
                self.assertEqual(code, self.plain(client)[:3], (hook, verdict))
        self.assertEqual("535", self.plain(self.connect(None, {"auth": lambda: None}))[:3])

    def test_value_is_for_the_engine(self) -> None:
        """Plugins that are told of every answer do not see the secret; nor does the journal."""
        told: list[Any] = []
        client = self.connect(CLEAR, {"ok": lambda plugin, outcome: told.append(outcome)})
        self.plain(client)
        self.assertIn(OK, told)
        self.assertFalse([outcome for outcome in told if isinstance(outcome, Given)])
        self.assertNotIn("pencil", repr(client.connection.journal))
        self.assertNotIn("pencil", repr(Given(Code.OK, value="pencil")))


class ScramTests(Case):
    def test_success(self) -> None:
        """Either kind of secret proves the user to us, and us to the user."""
        for secret in (CLEAR, PENCIL):
            client = self.connect(secret)
            _, final, done = self.scram(client)
            self.assertEqual("235 2.7.0 SCRAM-SHA-256 authentication successful for user", done)
            self.assertTrue(b64decode(final.removeprefix("334 ")).startswith(b"v="))
            facts = client.connection
            self.assertEqual((True, "user"), (facts.relay_client, facts.user))
            self.assertEqual("scram-sha-256", facts.auth_mechanism)
            self.assertEqual([("user", "scram-sha-256")], self.asked)

    def test_wrong(self) -> None:
        client = self.connect(Secret(password="another"))
        failed = "535 5.7.8 SCRAM-SHA-256 authentication failed for user from 192.0.2.1"
        self.assertEqual(failed, self.scram(client)[-1])
        self.assertFalse(client.connection.user)

    def test_bound(self) -> None:
        """With TLS 1.3 the proof is about the connection; who says that this was not offered is refused."""
        rows = (
            ("p=tls-exporter,,n=user,r=x", True, "235 2.7.0 SCRAM-SHA-256-PLUS"),
            ("n,,n=user,r=x", True, "535 5.7.8 authentication credentials invalid: server-does"),
            ("y,,n=user,r=x", False, "535 5.7.8 authentication credentials invalid: server-does"),
            ("n,,n=user,r=x", False, "235 2.7.0 SCRAM-SHA-256 "),
        )
        for first, plus, expected in rows:
            client = self.connect(PENCIL)
            client.connection.tls = TLSInfo("TLSv1.3", "AES", 256, exporter=EXPORTER)
            self.assertTrue(self.scram(client, first, plus=plus)[-1].startswith(expected), first)
        without = self.connect(PENCIL, auth_mechanisms="SCRAM-SHA-256")
        without.connection.tls = TLSInfo("TLSv1.3", "AES", 256, exporter=EXPORTER)
        self.assertEqual("235", self.scram(without, "y,,n=user,r=x")[-1][:3])

    def test_cancelled(self) -> None:
        """The client may end it at any time, even behind our last word."""
        client = self.connect(CLEAR)
        challenge = b64decode(client.say("AUTH SCRAM-SHA-256 " + b64("n,,n=user,r=x")).removeprefix("334 "))
        client.say(b64(answer(b"n,,n=user,r=x", challenge)))
        self.assertEqual("501", client.say("*")[:3])
        self.assertFalse(client.connection.user)
        self.assertEqual("250", client.say("NOOP")[:3])

    def test_counted(self) -> None:
        client = self.connect(None, max_auth_failures="1")
        self.scram(client)
        self.assertEqual("421", self.scram(client)[-1][:3])

    def test_long(self) -> None:
        """A challenge is one line, however long the client's nonce."""
        client = self.connect(CLEAR)
        replies = self.scram(client, "n,,n=user,r=" + "x" * 1000)
        self.assertGreater(len(replies[0]), 1300)
        self.assertNotIn("\n", replies[0])
        self.assertEqual("235", replies[-1][:3])


class ExistenceTests(Case):
    """Whether there is a user does not show."""

    def first(self, client: Any, user: str) -> tuple[bytes, bytes]:
        """Give salt and iterations as a client is told."""
        challenge = client.say("AUTH SCRAM-SHA-256 " + b64(f"n,,n={user},r=x"))
        client.say("*")
        _, salt, iterations = b64decode(challenge.removeprefix("334 ")).split(b",")
        return b64decode(salt[2:]), iterations

    def test_salts(self) -> None:
        """Everybody has a salt, always the same, unlike others'; all have one form."""
        client = self.connect({"known": CLEAR, "kept": Secret.derive("x", iterations=4096)}, max_errors="90")
        salts = [self.first(client, user) for user in ("known", "kept", "unknown") for _ in range(2)]
        self.assertEqual(3, len(set(salts)))
        self.assertEqual({(16, b"i=4096")}, {(len(salt), iterations) for salt, iterations in salts})
        self.assertEqual(salt_of("unknown"), salts[-1][0])

    def test_same_work(self) -> None:
        """Each check derives one key, whoever the user is and whoever else has refused."""
        table = {"known": CLEAR, "kept": PENCIL}
        refusing = {"auth-plain": lambda user: DENY if user == "known" else None}
        for hooks in ({}, refusing):
            for user in ("known", "kept", "unknown"):
                for check in (
                    lambda client, user: self.plain(client, user, "wrong"),
                    lambda client, user: self.scram(client, f"n,,n={user},r=x"),
                ):
                    client = self.connect(table, hooks)
                    with patch("qpsmtpd.credentials.Secret.derive", side_effect=Secret.derive) as derive:
                        check(client, user)
                    self.assertEqual(1, derive.call_count, (user, hooks))
                    self.assertEqual(4096, derive.call_args.args[2])

    def test_same_compare(self) -> None:
        """A digest of an unknown user is compared, too."""
        for given in (CLEAR, None):
            client = self.connect(given)
            client.say("AUTH CRAM-MD5")
            with patch("qpsmtpd.credentials.check_password", side_effect=check_password) as compare:
                self.assertEqual("535", client.say(b64("user " + "0" * 32))[:3])
            self.assertEqual(1, compare.call_count)

    def test_only_the_log_tells(self) -> None:
        for given, line in ((None, "fail: no such user"), (CLEAR, "fail: wrong password")):
            client = self.connect(given)
            reply = self.plain(client, password="wrong")
            self.assertEqual("535 5.7.8 PLAIN authentication failed for user from 192.0.2.1", reply)
            self.assertTrue(self.server.logged(line))


class WaitingTests(Case):
    def test_thread(self) -> None:
        """Deriving a key does not hold up the others; without a thread it is the server's fault."""
        client = self.connect(CLEAR)
        self.server.services.run_in_thread = lambda *_: Deferred()
        self.assertEqual("", self.plain(client))
        self.assertTrue(self.server.connect().read().startswith("220"))
        self.server.clock.advance(30)
        self.assertEqual("454", client.read()[:3])
        self.assertEqual("250", client.say("NOOP")[:3])

    def test_gone(self) -> None:
        """A client that leaves meanwhile leaves nothing behind."""
        client = self.connect(CLEAR)
        held: Deferred[Any] = Deferred()
        self.server.services.run_in_thread = lambda *_: held
        self.scram(client)
        client.drop()
        self.assertTrue(held.called)
        self.assertEqual([], self.flushLoggedErrors())
