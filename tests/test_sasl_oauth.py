"""OAUTHBEARER and XOAUTH2: how a token is shown."""

from base64 import b64decode, b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENY_DISCONNECT, DENYSOFT, OK
from qpsmtpd.connection import TLSInfo
from qpsmtpd.sasl import Channel, Credentials, SASLFault
from qpsmtpd.sasl_oauth import OAuthBearer, Refusal, XOAuth2
from qpsmtpd.smtp.reply import Reply
from qpsmtpd.testing import Server

quick = settings(max_examples=100, derandomize=True, deadline=None)

ME = Channel("mx")
TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
# RFC 7628 section 4.1
EXAMPLE = (
    b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
    b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
)


class Case(SynchronousTestCase):
    def assert_refused(self, kind: type[OAuthBearer | XOAuth2], *messages: bytes) -> None:
        for message in messages:
            fault = self.assertRaises(SASLFault, kind(ME).respond, message)
            self.assertEqual((535, "5.7.8"), (fault.reply.code, fault.reply.status), message)


class OAuthBearerTests(Case):
    def test_rfc_7628(self) -> None:
        """The example of RFC 7628 section 4.1; without initial response the client is asked."""
        self.assertEqual(b"", OAuthBearer(ME).respond(None))
        expected = Credentials("oauthbearer", "user@example.com", token=TOKEN)
        self.assertEqual(expected, OAuthBearer(ME).respond(EXAMPLE))

    def test_forms(self) -> None:
        """The user may be left to the token, the flag may be y, the word Bearer in any case."""
        for message, user in (
            (b"n,,\x01auth=Bearer t\x01\x01", ""),
            (b"y,a=u,\x01auth=bearer  t\x01\x01", "u"),
            (b"n,a=a=2Cb=3Dc,\x01auth=BEARER t\x01port=25\x01\x01", "a,b=c"),
        ):
            self.assertEqual(Credentials("oauthbearer", user, token="t"), OAuthBearer(ME).respond(message))

    def test_refused(self) -> None:
        self.assert_refused(
            OAuthBearer,
            b"",
            b"\x01",
            b"\x01\x01",
            EXAMPLE[:-1],
            EXAMPLE.replace(b"n,", b"p=tls-exporter,"),
            EXAMPLE.replace(b"n,a=", b"n,"),
            EXAMPLE.replace(b"user@", b"us=er@"),
            EXAMPLE.replace(b"user@", b"\xff@"),
            EXAMPLE.replace(b"user@", b"\n@"),
            EXAMPLE.replace(b"Bearer ", b"Basic "),
            EXAMPLE.replace(b"Bearer ", b"Bearer"),
            EXAMPLE.replace(b"vF9", b"vF\xff"),
            EXAMPLE.replace(b"vF9", b"v F9"),
            EXAMPLE.replace(b"vF9", b"v\r\nF9"),
            EXAMPLE.replace(b"auth=", b"auto="),
            EXAMPLE.replace(b"host=", b"auth="),
            b"n,,\x01auth=Bearer \x01\x01",
        )


class XOAuth2Tests(Case):
    def test_form(self) -> None:
        self.assertEqual(b"", XOAuth2(ME).respond(None))
        message = b"user=u@x\x01auth=Bearer t-._~+/1==\x01\x01"
        expected = Credentials("xoauth2", "u@x", token="t-._~+/1==")
        self.assertEqual(expected, XOAuth2(ME).respond(message))

    def test_refused(self) -> None:
        """A user has to be named."""
        self.assert_refused(
            XOAuth2,
            b"",
            b"user=\x01auth=Bearer t\x01\x01",
            b"auth=Bearer t\x01\x01",
            b"user=u\x01auth=Bearer t\x01",
            b"user=u\x01auth=Bearer t",
            b"user=u\x01\x01",
            b"user=u\r\n\x01auth=Bearer t\x01\x01",
            EXAMPLE,
        )


class RefusalTests(SynchronousTestCase):
    def test_whatever(self) -> None:
        """After the error only the reply is left, whatever the client says."""
        reply = Reply(535, "no", "5.7.8")
        for response in (b"", b"\x01", EXAMPLE):
            self.assertIs(reply, self.assertRaises(SASLFault, Refusal(reply).respond, response).reply)

    @quick
    @given(st.sampled_from([OAuthBearer, XOAuth2]), st.binary() | st.binary().map(lambda b: b + b"\x01\x01"))
    def test_any_input(self, kind: type[OAuthBearer | XOAuth2], message: bytes) -> None:
        """Whatever comes is a token or refused."""
        try:
            credentials = kind(ME).respond(message)
        except SASLFault:
            return
        assert isinstance(credentials, Credentials)
        self.assertTrue(credentials.token)


class SessionTests(SynchronousTestCase):
    """The hooks decide about the token."""

    def connect(self, verdict: Any = OK, *, tls: bool = True, **config: str) -> Any:
        self.asked: list[tuple[str, str, str]] = []

        def check(mechanism: str, user: str, token: str) -> Any:
            self.asked.append((mechanism, user, token))
            return verdict

        names = ("auth-oauthbearer", "auth-xoauth2")
        values = {"reverse_dns": "0", "auth_mechanisms": "OAUTHBEARER XOAUTH2", **config}
        self.server = Server(hooks=dict.fromkeys(names, check), config=values)
        client = self.server.connect()
        if tls:
            client.connection.tls = TLSInfo("TLSv1.2", "AES", 256)
        self.hello = client.say("EHLO x").splitlines()[-1]
        return client

    def show(self, client: Any, message: bytes = EXAMPLE) -> str:
        reply: str = client.say("AUTH OAUTHBEARER " + b64encode(message).decode())
        return reply

    def test_only_within_tls(self) -> None:
        """RFC 6750 section 5.3: nobody may show a token in clear."""
        client = self.connect(tls=False)
        self.assertNotIn("AUTH", self.hello)
        self.assertEqual("538", self.show(client)[:3])
        self.connect()
        self.assertEqual("250 AUTH OAUTHBEARER XOAUTH2", self.hello)

    def test_beside_others(self) -> None:
        """In clear a token is refused as such, though other mechanisms are offered."""
        hooks = {"auth": lambda: OK, "auth-xoauth2": lambda: OK}
        client = Server(hooks=hooks, config={"auth_mechanisms": "XOAUTH2 OAUTHBEARER PLAIN"}).connect()
        self.assertEqual("250 AUTH PLAIN", client.say("EHLO x").splitlines()[-1])
        self.assertEqual("538", client.say("AUTH XOAUTH2")[:3])
        self.assertEqual("504", client.say("AUTH OAUTHBEARER")[:3])

    def test_accepted(self) -> None:
        client = self.connect()
        reply = self.show(client)
        self.assertEqual("235 2.7.0 OAUTHBEARER authentication successful for user@example.com", reply)
        self.assertEqual([("oauthbearer", "user@example.com", TOKEN)], self.asked)
        self.assertEqual("user@example.com", client.connection.user)
        client = self.connect()
        message = b64encode(b"user=u\x01auth=Bearer t\x01\x01").decode()
        challenge, reply = client.say("AUTH XOAUTH2", message).split("\r\n")
        self.assertEqual(("334 ", "235"), (challenge, reply[:3]))
        self.assertEqual([("xoauth2", "u", "t")], self.asked)

    def test_refused(self) -> None:
        """RFC 7628 section 3.2.2: the error is a challenge; its answer gets the reply, whatever it is."""
        for verdict in (DENY("expired"), DECLINED, None):
            client = self.connect(verdict)
            self.assertEqual(b'{"status":"invalid_token"}', b64decode(self.show(client).removeprefix("334 ")))
            self.assertTrue(self.server.logged("fail: the token of user@example.com is refused"))
            failed = "535 5.7.8 OAUTHBEARER authentication failed for user@example.com from 192.0.2.1"
            self.assertEqual(failed, client.say("AQ==").partition(" - ")[0])
            self.assertFalse(client.connection.user)
            self.assertEqual("250", client.say("NOOP")[:3])

    def test_dummy(self) -> None:
        """The answer to the error may be empty, a cancellation, or the next try; it is one failure."""
        for dummy, code in (("", "535"), ("=", "535"), ("*", "501"), ("!", "501"), ("AUTH XOAUTH2", "501")):
            client = self.connect(DENY, max_auth_failures="1")
            self.show(client)
            self.assertEqual(code, client.say(dummy)[:3])
            self.show(client)
            self.assertEqual("421", client.say("")[:3])

    def test_for_now(self) -> None:
        """That nobody can tell now is not the token's fault."""
        self.assertEqual("454", self.show(self.connect(DENYSOFT))[:3])
        self.assertEqual("451", self.show(self.connect("rubbish"))[:3])

    def test_disconnected(self) -> None:
        client = self.connect(DENY_DISCONNECT)
        self.show(client)
        self.assertFalse(client.closed)
        self.assertEqual("535", client.say("AQ==")[:3])
        self.assertTrue(client.closed)

    def test_user_of_token(self) -> None:
        """Where the client names no user, the plugin does; without one nobody is let in."""
        nameless = b"n,,\x01auth=Bearer t\x01\x01"
        client = self.connect(OK("joe\nwelcome"))
        self.assertEqual(
            "235 2.7.0 OAUTHBEARER authentication successful for joe - welcome", self.show(client, nameless)
        )
        self.assertEqual("joe", client.connection.user)
        client = self.connect(OK)
        self.assertEqual("334", self.show(client, nameless)[:3])
        self.assertEqual("failed for - from 192.0.2.1", client.say("")[-27:])
        self.assertFalse(client.connection.relay_client)
