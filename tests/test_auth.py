"""AUTH: who may try, the exchange, what success means and what failure costs."""

from base64 import b64encode
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DENY, DENYSOFT, OK, Reply
from qpsmtpd.auth import redacted
from qpsmtpd.connection import TLSInfo
from qpsmtpd.testing import Server


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


LISTENERS = [
    path.stem
    for path in Path(__file__).parents[1].glob("plugins/*.py")
    if "hook_unrecognized_command" in path.read_text()
]
PLAIN = "AUTH PLAIN " + encoded("\0joe\0secret")


class Case(SynchronousTestCase):
    def connect(self, hooks: dict[str, Any] | None = None, hello: str = "EHLO x", **config: str) -> Any:
        self.server = Server(
            hooks={"auth": lambda: OK} if hooks is None else hooks, config={"reverse_dns": "0", **config}
        )
        client = self.server.connect()
        client.say(hello)
        return client


class OfferTests(Case):
    def offered(self, client: Any) -> str:
        last: str = client.say("EHLO x").splitlines()[-1]
        return last.removeprefix("250 ")

    def test_generic(self) -> None:
        """A plugin for all mechanisms offers those that are configured, in their order."""
        self.assertEqual("AUTH PLAIN LOGIN", self.offered(self.connect()))
        client = self.connect(auth_mechanisms="CRAM-MD5 LOGIN UNHEARD-OF")
        self.assertEqual("AUTH CRAM-MD5 LOGIN", self.offered(client))

    def test_special(self) -> None:
        """A plugin for one mechanism offers that, if it is configured."""
        self.assertEqual("AUTH LOGIN", self.offered(self.connect({"auth-login": lambda: OK})))
        self.assertEqual("ENHANCEDSTATUSCODES", self.offered(self.connect({"auth-cram-md5": lambda: OK})))

    def test_parser(self) -> None:
        """A plugin that parses makes no mechanism."""
        self.assertEqual("ENHANCEDSTATUSCODES", self.offered(self.connect({"auth_parse": lambda: None})))

    def test_in_clear(self) -> None:
        """With tls_before_auth AUTH is offered on an encrypted connection only; RSET changes nothing."""
        client = self.connect(tls_before_auth="1")
        self.assertEqual("ENHANCEDSTATUSCODES", self.offered(client))
        client.say("RSET")
        self.assertEqual("538 5.7.11", client.say(PLAIN)[:10])
        client.connection.tls = TLSInfo("TLSv1.3", "AES", 256)
        self.assertEqual("AUTH PLAIN LOGIN", self.offered(client))
        self.assertEqual("235", client.say(PLAIN)[:3])


class OrderTests(Case):
    def test_helo(self) -> None:
        """AUTH needs EHLO."""
        self.assertEqual("503", self.connect(hello="NOOP").say(PLAIN)[:3])
        self.assertEqual("503", self.connect(hello="HELO x").say(PLAIN)[:3])

    def test_nobody(self) -> None:
        self.assertEqual("502", self.connect({}).say(PLAIN)[:3])

    def test_again(self) -> None:
        client = self.connect()
        self.assertEqual(["235", "503"], [line[:3] for line in client.say(PLAIN, PLAIN).splitlines()])

    def test_in_transaction(self) -> None:
        """RFC 4954 section 4."""
        client = self.connect()
        client.say("MAIL FROM:<a@b>")
        self.assertEqual("503", client.say(PLAIN)[:3])


class ExchangeTests(Case):
    def heard(self, *lines: str, **config: str) -> tuple[list[Any], str]:
        """Give what the plugin was asked, and the last reply."""
        asked: list[Any] = []

        def auth(mechanism: str, user: str, password: str, digest: str, ticket: str) -> Any:
            asked.append((mechanism, user, password, digest, bool(ticket)))
            return OK

        reply = self.connect({"auth": auth}, **config).say(*lines)
        return asked, reply.splitlines()[-1]

    def test_plain(self) -> None:
        for lines in (
            [PLAIN],
            ["auth plain " + encoded("joe\0joe\0secret")],
            ["AUTH PLAIN", encoded("\0joe\0secret")],
        ):
            asked, reply = self.heard(*lines)
            self.assertEqual([("plain", "joe", "secret", None, False)], asked)
            self.assertEqual("235 2.7.0 PLAIN authentication successful for joe", reply)

    def test_login(self) -> None:
        """The user may come with the command."""
        user, password = encoded("joe"), encoded("secret")
        for lines in (["AUTH LOGIN", user, password], [f"AUTH LOGIN {user}", password]):
            asked, reply = self.heard(*lines)
            self.assertEqual([("login", "joe", "secret", None, False)], asked)
            self.assertEqual("235", reply[:3])

    def test_cram_md5(self) -> None:
        answer = encoded("joe smith " + "ab" * 16)
        asked, _ = self.heard("AUTH CRAM-MD5", answer, auth_mechanisms="CRAM-MD5")
        self.assertEqual([("cram-md5", "joe smith", None, "ab" * 16, True)], asked)

    def test_wrong(self) -> None:
        """Every way to go wrong has one reply, and asks nobody."""
        rows = (
            (["AUTH PLAIN *"], "501"),
            (["AUTH PLAIN", "*"], "501"),
            (["AUTH LOGIN", "*"], "501"),
            (["AUTH PLAIN !"], "501"),
            (["AUTH PLAIN \xff"], "501"),
            (["AUTH PLAIN ="], "535"),
            (["AUTH PLAIN " + encoded("joe")], "535"),
            (["AUTH PLAIN " + encoded("\0\0secret")], "535"),
            (["AUTH PLAIN " + encoded("\0joe\0")], "535"),
            (["AUTH PLAIN " + encoded("jim\0joe\0secret")], "535"),
            (["AUTH PLAIN " + encoded("\0joe\r\n250 ok\0secret")], "535"),
            (["AUTH LOGIN", ""], "535"),
            (["AUTH LOGIN", encoded("joe"), ""], "535"),
            (["AUTH LOGIN", encoded("joe"), "="], "535"),
            (["AUTH"], "501"),
            (["AUTH X"], "504"),
            (["AUTH CRAM-MD5"], "504"),
        )
        for lines, code in rows:
            asked, reply = self.heard(*lines)
            self.assertEqual(([], code), (asked, reply[:3]), lines)

    def test_octets(self) -> None:
        """Octets that are no text are undecodable, not our failure."""
        client = self.connect()
        client.send(b"AUTH PLAIN \xff\xfe\r\n")
        self.assertEqual("501", client.read()[:3])

    def test_go_on(self) -> None:
        """An exchange that failed is over: what follows is a command."""
        for lines in (["AUTH LOGIN", "*"], ["AUTH LOGIN", "!"], ["AUTH LOGIN", "x" * 20000]):
            client = self.connect()
            client.say(*lines)
            self.assertEqual("250 2.0.0 OK", client.say("NOOP"), lines[1][:5])

    def test_replaced(self) -> None:
        """auth_parse may replace the argument."""
        client = self.connect({"auth": lambda: OK, "auth_parse": lambda: OK(PLAIN.removeprefix("AUTH "))})
        self.assertEqual("235", client.say("AUTH WHATEVER")[:3])


class OutcomeTests(Case):
    def test_success(self) -> None:
        """Success allows relaying and clears what made the client naughty."""
        client = self.connect()
        client.connection.naughty = "on a list"
        client.say(PLAIN)
        facts = client.connection
        self.assertEqual(
            (True, "joe", "plain", ""), (facts.relay_client, facts.user, facts.auth_mechanism, facts.naughty)
        )
        self.assertTrue(self.server.logged("auth success cleared naughty"))

    def test_failure(self) -> None:
        """The words are those that fail2ban's filters match."""
        for answer in (DENY, None):
            client = self.connect({"auth": lambda answer=answer: answer})
            self.assertEqual(
                "535 5.7.8 PLAIN authentication failed for joe from 192.0.2.1", client.say(PLAIN)
            )
            self.assertEqual((False, ""), (client.connection.relay_client, client.connection.user))
            self.assertTrue(client.connection.auth_attempted)

    def test_remark(self) -> None:
        """The first line of the plugin's text follows."""
        client = self.connect({"auth": lambda: DENY("expired\nlong ago")})
        self.assertEqual("expired", client.say(PLAIN).rpartition(" - ")[2])
        client = self.connect({"auth": lambda: OK("welcome\nback")})
        self.assertEqual("welcome", client.say(PLAIN).rpartition(" - ")[2])

    def test_temporary(self) -> None:
        self.assertEqual("454 4.7.0", self.connect({"auth": lambda: DENYSOFT}).say(PLAIN)[:9])

    def test_special_first(self) -> None:
        """The plugins of the mechanism are asked first, the general ones if they have no opinion."""
        asked: list[str] = []
        answers: dict[str, Any] = {"auth-plain": DENY, "auth": OK}
        hooks = {name: lambda name=name: (asked.append(name), answers[name])[1] for name in answers}
        self.assertEqual("535", self.connect(hooks).say(PLAIN)[:3])
        answers["auth-plain"] = None
        self.assertEqual("235", self.connect(hooks).say(PLAIN)[:3])
        self.assertEqual(["auth-plain", "auth-plain", "auth"], asked)

    def test_failing_plugin(self) -> None:
        """A plugin that fails is no wrong password."""
        self.assertEqual("451", self.connect({"auth": lambda: 1 / 0}).say(PLAIN)[:3])

    def test_forgotten(self) -> None:
        """Authentication survives RSET and a new hello."""
        client = self.connect()
        client.say(PLAIN, "RSET", "EHLO y")
        self.assertEqual("joe", client.connection.user)


class CountTests(Case):
    def test_limit(self) -> None:
        """One attempt more than allowed ends the session, whatever made it fail."""
        client = self.connect({"auth": lambda: DENY}, max_auth_failures="3")
        client.say(PLAIN, "AUTH PLAIN *", "AUTH PLAIN !")
        self.assertFalse(client.closed)
        self.assertEqual("421 4.7.0", client.say(PLAIN)[:9])
        self.assertTrue(client.closed)

    def test_own_reply(self) -> None:
        """A plugin's own reply counts if it refuses."""
        client = self.connect({"auth": lambda: Reply(250, "hm")}, max_auth_failures="1")
        client.say(PLAIN, PLAIN, PLAIN)
        self.assertFalse(client.closed)
        client = self.connect({"auth": lambda: Reply(535, "no")}, max_auth_failures="1")
        client.say(PLAIN, PLAIN)
        self.assertTrue(client.closed)


class RedactedTests(SynchronousTestCase):
    def test_rows(self) -> None:
        rows = (
            ("AUTH", "PLAIN c2Vj", "AUTH PLAIN <redacted>"),
            ("AUTH", "plain", "AUTH plain"),
            ("AUTH", "c2Vj", "AUTH <unknown>"),
            ("AUTH", "", "AUTH"),
            ("AUTH\tPLAIN\tC2VJ", "", "AUTH <redacted>"),
            ("MAIL", "FROM:<a@b>", "MAIL FROM:<a@b>"),
            ("NOOP", "", "NOOP"),
        )
        for verb, argument, shown in rows:
            self.assertEqual(shown, redacted(verb, argument))


class SecretTests(SynchronousTestCase):
    """What a client goes on to say when its AUTH was refused is its password, and nobody logs it."""

    def log(self, *lines: str) -> list[str]:
        """Give all that the plugins which hear of unknown commands log of a session, in lower case."""
        self.told: list[bool] = []

        def hear(secret: bool) -> None:
            self.told.append(secret)

        server = Server(
            [f"{name} loglevel 0" for name in LISTENERS],
            hooks={"auth": lambda: DENY, "unrecognized_command": hear},
            config={"reverse_dns": "0"},
        )
        server.connect().say("EHLO x", *lines)
        return [str(line).lower() for line in server.log]

    def test_no_plugin_logs_it(self) -> None:
        """Nor do plugins, who are told; a command after the next good one may be seen."""
        self.assertIn("count_unrecognized_commands", LISTENERS)
        secret = encoded("secret")
        for refused in (
            ["AUTH LOGIN", encoded("joe") + "!"],
            ["AUTH LOGIN", encoded("joe"), encoded("wrong")],
            ["AUTH UNHEARD-OF"],
            [f"AUTH\tPLAIN\t{secret}"],
        ):
            log = self.log(*refused, secret, "NOOP", "foo")
            self.assertEqual([], [line for line in log if secret.lower() in line])
            self.assertTrue(any("'foo'" in line for line in log), log)
            self.assertEqual([True, False], self.told[-2:])
