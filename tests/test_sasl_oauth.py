"""OAUTHBEARER and XOAUTH2: how a token is shown."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.sasl import Channel, Credentials, SASLFault
from qpsmtpd.sasl_oauth import OAuthBearer, Refusal, XOAuth2
from qpsmtpd.smtp.reply import Reply

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
