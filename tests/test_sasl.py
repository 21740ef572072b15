"""AUTH exchanges: what each mechanism asks, and what becomes of every answer."""

from __future__ import annotations

import base64
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.mechanisms import MECHANISMS
from qpsmtpd.sasl import Channel, Credentials, SASLFault, Wanted, challenge_reply, decode_response
from qpsmtpd.secret import Secret
from qpsmtpd.smtp.reply import Next, Reply

ME = "mx.example.com"
DIGEST = "b913a602c7eda7a495b4e6e7334d3890"
quick = settings(max_examples=100, derandomize=True, deadline=None)
# Names and passwords that any client may have.
texts = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1)


class SASLTestCase(SynchronousTestCase):
    def play(self, mechanism: str, *responses: bytes | None) -> bytes | Wanted | Credentials:
        """Give all responses to a new exchange and return its last word."""
        exchange = MECHANISMS[mechanism].begin(Channel(ME))
        for response in responses[:-1]:
            self.assertIsInstance(exchange.respond(response), bytes)
        return exchange.respond(responses[-1])

    def assert_refused(self, code: int, status: str, mechanism: str, *responses: bytes | None) -> None:
        """The last response ends the exchange with this reply."""
        fault = self.assertRaises(SASLFault, self.play, mechanism, *responses)
        self.assertEqual((code, status), (fault.reply.code, fault.reply.status), responses)
        self.assertEqual(Next.COMMAND, fault.reply.next)
        self.assertTrue(fault.reply.text)


class MechanismsTests(SynchronousTestCase):
    def test_names(self) -> None:
        """These are all there are."""
        expected = "CRAM-MD5 LOGIN OAUTHBEARER PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS XOAUTH2"
        self.assertEqual(expected.split(), sorted(MECHANISMS))

    def test_own_state(self) -> None:
        """Two clients do not share an exchange."""
        for name, mechanism in MECHANISMS.items():
            self.assertIsNot(mechanism.begin(Channel(ME)), mechanism.begin(Channel(ME)), name)

    @quick
    @given(st.sampled_from(list(MECHANISMS)), st.lists(st.one_of(st.none(), st.binary()), min_size=1))
    def test_any_input(self, name: str, responses: list[bytes | None]) -> None:
        """Whatever comes, an exchange asks on, gives usable credentials, or says why not."""
        exchange = MECHANISMS[name].begin(Channel(ME))
        for response in responses:
            try:
                answer = exchange.respond(response)
            except SASLFault:
                return
            if isinstance(answer, Wanted):
                answer = answer.proceed(Secret.derive("x", iterations=1))
            if isinstance(answer, Credentials):
                self.assertTrue(answer.user.isprintable() and (answer.user or answer.token))
                self.assertTrue(answer.password or (answer.digest and answer.ticket) or answer.token)
                return


class PlainTests(SASLTestCase):
    def test_initial_response(self) -> None:
        """RFC 4616: the message holds authorization identity, user and password."""
        expected = Credentials("plain", "good@example.com", password="good_pass")
        self.assertEqual(expected, self.play("PLAIN", b"\0good@example.com\0good_pass"))

    def test_asked(self) -> None:
        """Without initial response the client is asked with an empty challenge."""
        self.assertEqual(b"", self.play("PLAIN", None))
        self.assertEqual(Credentials("plain", "u", password="p"), self.play("PLAIN", None, b"\0u\0p"))

    def test_same_authzid(self) -> None:
        """A user may say twice who it is."""
        self.assertEqual(Credentials("plain", "u", password="p", authzid="u"), self.play("PLAIN", b"u\0u\0p"))

    def test_zero_password(self) -> None:
        """The password 0 is a password."""
        self.assertEqual(Credentials("plain", "0", password="0"), self.play("PLAIN", b"\x000\x000"))

    def test_refused(self) -> None:
        """What is not a message of RFC 4616 for oneself is refused, never left without reply."""
        for message in (
            b"",
            b"u",
            b"u\0p",
            b"\0\0p",  # no user
            b"\0u\0",  # no password
            b"\0u\0p\0",
            b"\0u\0p\0more",
            b"loginas\0user@foo\0p",
            b"\xff\0u\0p",
            b"\0\xff\0p",
            b"\0u\0\xff",
            b"\0u\r\n250 forged\0p",
            b"\0u\n\0p",
            b"\0u\t\0p",
            b"\0u\x7f\0p",
            "\0u\u0085\0p".encode(),
            "\0u\u2028\0p".encode(),
            b"\0u\0p\r\nquit",
        ):
            self.assert_refused(535, "5.7.8", "PLAIN", message)

    @quick
    @given(texts, texts)
    def test_any_name(self, user: str, password: str) -> None:
        """Every printable name and password arrives as it was sent, in UTF-8."""
        message = f"\0{user}\0{password}".encode()
        self.assertEqual(Credentials("plain", user, password=password), self.play("PLAIN", message))


class LoginTests(SASLTestCase):
    def test_asked(self) -> None:
        """The client is asked for user and password with the prompts that all clients know."""
        exchange = MECHANISMS["LOGIN"].begin(Channel(ME))
        self.assertEqual(b"Username:", exchange.respond(None))
        self.assertEqual(b"Password:", exchange.respond(b"u"))
        self.assertEqual(Credentials("login", "u", password="p"), exchange.respond(b"p"))

    def test_initial_response(self) -> None:
        """An initial response is the user name."""
        self.assertEqual(b"Password:", self.play("LOGIN", b"u"))
        self.assertEqual(Credentials("login", "u", password="p"), self.play("LOGIN", b"u", b"p"))

    def test_refused(self) -> None:
        """An empty or unusable user or password is refused, never left without reply."""
        for user in (b"", b"\xff", b"u\0v", b"u\r\n235 forged"):
            self.assert_refused(535, "5.7.8", "LOGIN", None, user)
            self.assert_refused(535, "5.7.8", "LOGIN", user)
        for password in (b"", b"\xff", b"p\0q", b"p\nq", b"p\rq"):
            self.assert_refused(535, "5.7.8", "LOGIN", b"u", password)


class CramMD5Tests(SASLTestCase):
    def test_ticket(self) -> None:
        """RFC 2195: the challenge has the form of a message id of this host."""
        with patch("qpsmtpd.sasl.time.time", return_value=255.9):
            ticket = self.play("CRAM-MD5", None)
        assert isinstance(ticket, bytes)
        self.assertRegex(ticket.decode(), r"\A<[0-9a-f]{32}\.ff@mx\.example\.com>\Z")

    def test_fresh(self) -> None:
        """No ticket is given out twice."""
        self.assertEqual(50, len({self.play("CRAM-MD5", None) for _ in range(50)}))

    def test_credentials(self) -> None:
        """The digest is the last word, and goes with the ticket of this exchange."""
        for user in ("tim", "tim o tool", "tïm", "tim "):
            exchange = MECHANISMS["CRAM-MD5"].begin(Channel(ME))
            ticket = exchange.respond(None)
            assert isinstance(ticket, bytes)
            expected = Credentials("cram-md5", user, digest=DIGEST, ticket=ticket.decode())
            self.assertEqual(expected, exchange.respond(f"{user} {DIGEST}".encode()))

    def test_upper_case(self) -> None:
        """The case of the hexadecimal digits does not matter."""
        credentials = self.play("CRAM-MD5", None, b"u " + DIGEST.upper().encode())
        assert isinstance(credentials, Credentials)
        self.assertEqual(DIGEST, credentials.digest)

    def test_initial_response(self) -> None:
        """RFC 4954 section 4: the client must not begin."""
        for response in (b"", f"tim {DIGEST}".encode()):
            self.assert_refused(501, "5.7.0", "CRAM-MD5", response)

    def test_refused(self) -> None:
        """What is not user, blank, digest is refused."""
        digest = DIGEST.encode()
        for response in (
            b"",
            b"u",
            b"u ",
            digest,
            b" " + digest,
            b"u " + digest[:-1],
            b"u " + digest + b"0",
            b"u " + digest + b" ",
            b"u " + digest + b"\n",
            b"u " + b"g" * 32,
            b"u\r\n " + digest,
            b"\xff " + digest,
            b"u \xff" + digest[1:],
        ):
            self.assert_refused(535, "5.7.8", "CRAM-MD5", None, response)


class CredentialsTests(SynchronousTestCase):
    def test_no_secret_shown(self) -> None:
        """Neither a log line nor a traceback shows a secret."""
        hush = dict.fromkeys(("password", "digest", "ticket", "token"), "hush")
        shown = repr(Credentials("plain", "u", **hush))
        self.assertEqual("Credentials(mechanism='plain', user='u', authzid='', proven=None)", shown)
        self.assertEqual(shown, str(Credentials("plain", "u", password="hush")))


class DecodeResponseTests(SynchronousTestCase):
    def test_decoded(self) -> None:
        """A response is base64; an empty one is an empty line, or = after the mechanism."""
        for line, octets in ((b"", b""), (b"=", b""), (b"Zm9v", b"foo"), (b"Zm8=", b"fo"), (b"AA==", b"\0")):
            self.assertEqual(octets, decode_response(line), line)

    def test_cancelled(self) -> None:
        """RFC 4954 section 4: * ends any exchange with 501."""
        fault = self.assertRaises(SASLFault, decode_response, b"*")
        self.assertEqual((501, "5.7.0"), (fault.reply.code, fault.reply.status))

    def test_only_a_bare_star_cancels(self) -> None:
        """The user name * is a name."""
        self.assertEqual(b"*", decode_response(base64.b64encode(b"*")))

    def test_undecodable(self) -> None:
        """RFC 4954 section 4: what is not base64 gets 501; nothing is skipped."""
        for line in (
            b"Z",
            b"Zm9",
            b"Zm9vZ",
            b"==",
            b"Zm8=x",
            b"Zm8==",
            b"Zm9v Zm9v",
            b" Zm9v",
            b"Zm9v\r",
            b"Zm-_",
            b"**",
            b"\xff\xff\xff\xff",
            b"Zm8=Zm8=",
        ):
            fault = self.assertRaises(SASLFault, decode_response, line)
            self.assertEqual((501, "5.5.2"), (fault.reply.code, fault.reply.status), line)

    @quick
    @given(st.binary())
    def test_round_trip(self, octets: bytes) -> None:
        """Every response can be sent."""
        self.assertEqual(octets, decode_response(base64.b64encode(octets)))

    @quick
    @given(st.binary())
    def test_any_line(self, line: bytes) -> None:
        """Every line is decoded or refused with a reply."""
        try:
            self.assertIsInstance(decode_response(line), bytes)
        except SASLFault as fault:
            self.assertEqual(501, fault.reply.code)


class ChallengeReplyTests(SynchronousTestCase):
    def test_wire(self) -> None:
        """A challenge is base64 after 334, and a line is read next."""
        reply = challenge_reply(b"Username:")
        self.assertEqual(Reply.challenge("VXNlcm5hbWU6"), reply)
        self.assertIs(Next.LINE, reply.next)
        self.assertEqual(b"334 VXNlcm5hbWU6\r\n", reply.octets)

    def test_empty(self) -> None:
        """RFC 4954 section 4: an empty challenge keeps the blank."""
        self.assertEqual(b"334 \r\n", challenge_reply(b"").octets)
