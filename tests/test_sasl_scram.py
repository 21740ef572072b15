"""SCRAM: the exchange of the RFC, and every way to cheat."""

from __future__ import annotations

import base64
from hashlib import pbkdf2_hmac, sha256
from hmac import digest
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.sasl import Channel, Credentials, SASLFault, Wanted
from qpsmtpd.sasl_scram import Scram

from .test_secret import PENCIL

quick = settings(max_examples=100, derandomize=True, deadline=None)

EXPORTER = bytes(range(32))
PLAIN_TLS = Channel("mx", EXPORTER, offers_binding=True)
CLEAR = Channel("mx")

# RFC 7677 section 3
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def answer(first: bytes, server_first: bytes, binding: bytes = b"", *, more: bytes = b"") -> bytes:
    """Make a client's final message for the password pencil."""
    attributes = dict(part.split(b"=", 1) for part in server_first.split(b","))
    bare = first.split(b",", 2)[2]
    header = first[: len(first) - len(bare)]
    salt, iterations = base64.b64decode(attributes[b"s"]), int(attributes[b"i"])
    salted = pbkdf2_hmac("sha256", b"pencil", salt, iterations)
    key = digest(salted, b"Client Key", "sha256")
    unproven = b"c=" + base64.b64encode(header + binding) + b",r=" + attributes[b"r"] + more
    signature = digest(sha256(key).digest(), b",".join([bare, server_first, unproven]), "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    return unproven + b",p=" + base64.b64encode(proof)


class Case(SynchronousTestCase):
    def begin(self, first: bytes, channel: Channel = CLEAR, *, plus: bool = False) -> tuple[Scram, bytes]:
        """Send a first message; give the exchange and the server's first."""
        exchange = Scram(channel, plus=plus)
        wanted = exchange.respond(first)
        assert isinstance(wanted, Wanted)
        self.wanted = wanted
        return exchange, wanted.proceed(PENCIL)

    def finish(self, first: bytes, channel: Channel, binding: bytes, *, plus: bool) -> Credentials:
        """Play a whole exchange; give what comes of it."""
        exchange, challenge = self.begin(first, channel, plus=plus)
        answered = exchange.respond(answer(first, challenge, binding))
        if isinstance(answered, bytes):
            self.assertEqual(b"v=", answered[:2])
            answered = exchange.respond(b"")
        assert isinstance(answered, Credentials)
        return answered

    def assert_refused(self, error: str, exchange: Scram, message: bytes) -> None:
        fault = self.assertRaises(SASLFault, exchange.respond, message)
        self.assertEqual((535, "5.7.8"), (fault.reply.code, fault.reply.status))
        expected = "authentication credentials invalid" + (f": {error}" if error else "")
        self.assertEqual(expected, fault.reply.text, message)


class VectorTests(Case):
    def test_rfc_7677(self) -> None:
        """The example of RFC 7677 section 3, octet by octet."""
        with patch("qpsmtpd.sasl_scram.token_urlsafe", return_value=NONCE):
            exchange, challenge = self.begin(FIRST)
        self.assertEqual(("scram-sha-256", "user"), (self.wanted.mechanism, self.wanted.user))
        self.assertEqual(SERVER_FIRST, challenge)
        self.assertEqual(SERVER_FINAL, exchange.respond(FINAL))
        self.assertEqual(Credentials("scram-sha-256", "user", proven=True), exchange.respond(b""))

    def test_asked(self) -> None:
        """Without initial response the client is asked with an empty challenge."""
        self.assertEqual(b"", Scram(CLEAR, plus=False).respond(None))

    def test_fresh(self) -> None:
        """No nonce is given out twice, and each begins with the client's."""
        challenges = {self.begin(FIRST)[1] for _ in range(20)}
        self.assertEqual(20, len(challenges))
        self.assertTrue(all(one.startswith(b"r=rOprNGfwEbeRWgbNEkqO") for one in challenges))

    def test_replay(self) -> None:
        """The answer to one exchange is none to another."""
        exchange, challenge = self.begin(FIRST)
        final = answer(FIRST, challenge)
        self.assertIsInstance(exchange.respond(final), bytes)
        self.assert_refused("", self.begin(FIRST)[0], final)


class FirstTests(Case):
    def test_user(self) -> None:
        """RFC 5802 section 5.1: comma and equals sign are escaped, names are prepared."""
        rows = (
            ("=2C=3D", ",="),
            ("a b", "a b"),
            ("u\u0308@x", "\u00fc@x"),
            ("I\u00adX", "IX"),
            ("=3D2C", "=2C"),
        )
        for sent, meant in rows:
            self.begin(f"n,,n={sent},r=x".encode())
            self.assertEqual(meant, self.wanted.user)

    def test_same_authzid(self) -> None:
        """A user may say twice who it is, and nobody may act for somebody else."""
        self.begin(b"n,a=us=2Cer,n=us=2Cer,r=x")
        self.assert_refused("", Scram(CLEAR, plus=False), b"n,a=root,n=user,r=x")

    def test_extensions(self) -> None:
        """Unknown extensions are ignored, mandatory ones refused."""
        self.begin(b"n,,n=user,r=x,z=y")
        error = "extensions-not-supported"
        self.assert_refused(error, Scram(CLEAR, plus=False), b"n,,m=a,n=user,r=x")

    def test_malformed(self) -> None:
        for message in (
            b"",
            b"n",
            b"n,",
            b"n,,",
            b",,n=user,r=x",
            b"N,,n=user,r=x",
            b"n,user,n=user,r=x",
            b"n,a=,n=user,r=x",
            b"n,,r=x,n=user",
            b"n,,n=user",
            b"n,,n=user,r=",
            b"n,,n=user,r=x y",
            b"n,,n=user,r=\x7f",
            b"n,,n=user,r=x,",
            b"n,,n=user,r=x,zz",
            b"n,,n=,r=x",
            b"n,,n=a=b,r=x",
            b"n,,n=a=2c,r=x",
            b"n,,n=\xff,r=x",
            b"n,,n=a\n,r=x",
            b"n,,n=\xc2\xad,r=x",  # nothing is left
            b"n,,n=\xd8\xa71,r=x",  # mixed directions
            b"n,,n=user,r=" + b"x" * 1025,
        ):
            self.assert_refused("", Scram(CLEAR, plus=False), message)

    def test_longest_nonce(self) -> None:
        """The server's first message fits on a line whatever the client sends."""
        self.assertLess(len(base64.b64encode(self.begin(b"n,,n=u,r=" + b"x" * 1024)[1])), 12000)


class FinalTests(Case):
    def test_wrong(self) -> None:
        """A wrong proof, or one of another length, is no proof; the exchange is over."""
        for proof in (b"", b"AAAA", b"A" * 43 + b"="):
            exchange, challenge = self.begin(FIRST)
            wrong = answer(FIRST, challenge).rpartition(b",p=")[0] + b",p=" + proof
            self.assertEqual(Credentials("scram-sha-256", "user", proven=False), exchange.respond(wrong))

    def test_each_bit(self) -> None:
        """Every octet of the proof counts."""
        with patch("qpsmtpd.sasl_scram.token_urlsafe", return_value=NONCE):
            exchanges = [self.begin(FIRST)[0] for _ in range(32)]
        unproven, _, proof = FINAL.rpartition(b",p=")
        for position, exchange in enumerate(exchanges):
            octets = bytearray(base64.b64decode(proof))
            octets[position] ^= 1
            result = exchange.respond(unproven + b",p=" + base64.b64encode(octets))
            self.assertEqual(Credentials("scram-sha-256", "user", proven=False), result)

    def test_malformed(self) -> None:
        for change in (
            lambda m: b"",
            lambda m: m.rpartition(b",p=")[0],
            lambda m: m + b"!",
            lambda m: m + b",z=y",
            lambda m: m.replace(b"c=", b"d="),
            lambda m: m.replace(b"c=biws", b"c=biw"),
            lambda m: m.replace(b",r=", b",r=x"),
            lambda m: m.replace(b",r=rO", b",r="),
            lambda m: m.replace(b",r=", b",,r="),
        ):
            exchange, challenge = self.begin(FIRST)
            self.assert_refused("", exchange, change(answer(FIRST, challenge)))

    def test_extension(self) -> None:
        """An extension is signed like all the rest, and else ignored."""
        exchange, challenge = self.begin(FIRST)
        self.assertIsInstance(exchange.respond(answer(FIRST, challenge, more=b",z=y")), bytes)

    def test_last_word(self) -> None:
        """RFC 4954 section 4: the server's last challenge is answered with nothing."""
        exchange, challenge = self.begin(FIRST)
        exchange.respond(answer(FIRST, challenge))
        self.assert_refused("", exchange, b"more")


class BindingTests(Case):
    def test_bound(self) -> None:
        """RFC 9266: the proof is about this TLS connection."""
        first = FIRST.replace(b"n,,", b"p=tls-exporter,,")
        self.assertIs(True, self.finish(first, PLAIN_TLS, EXPORTER, plus=True).proven)
        other, challenge = self.begin(first, PLAIN_TLS, plus=True)
        self.assert_refused(
            "channel-bindings-dont-match", other, answer(first, challenge, bytes(reversed(EXPORTER)))
        )

    def test_unbound(self) -> None:
        """A client without channel binding says n; one that was not offered any says y."""
        self.assertIs(True, self.finish(FIRST, PLAIN_TLS, b"", plus=False).proven)
        self.assertIs(True, self.finish(FIRST.replace(b"n,,", b"y,,"), CLEAR, b"", plus=False).proven)

    def test_flag_is_signed(self) -> None:
        """Who changes n to y or back is found out in the final message."""
        exchange, challenge = self.begin(FIRST)
        forged = answer(FIRST.replace(b"n,,", b"y,,"), challenge)
        self.assert_refused("channel-bindings-dont-match", exchange, forged)

    def test_flags(self) -> None:
        """RFC 5802 section 6: a downgrade, and what does not agree with the mechanism, is refused."""
        mismatch = "server-does-support-channel-binding"
        for flag, channel, plus, error in (
            (b"y", PLAIN_TLS, False, mismatch),
            (b"y", PLAIN_TLS, True, mismatch),
            (b"n", PLAIN_TLS, True, mismatch),
            (b"p=tls-exporter", PLAIN_TLS, False, "channel-binding-not-supported"),
            (b"p=tls-exporter", CLEAR, False, "channel-binding-not-supported"),
            (b"p=tls-unique", PLAIN_TLS, True, "unsupported-channel-binding-type"),
            (b"p=", PLAIN_TLS, True, "unsupported-channel-binding-type"),
            (b"p", PLAIN_TLS, True, ""),
            (b"x", PLAIN_TLS, False, ""),
        ):
            self.assert_refused(error, Scram(channel, plus=plus), FIRST.replace(b"n,,", flag + b",,"))


class AnyInputTests(Case):
    @quick
    @given(st.binary(max_size=80) | st.from_regex(rb"\A[nyp=],(a=.)?,n=.*,r=.*\Z", fullmatch=True))
    def test_first(self, message: bytes) -> None:
        """Whatever comes first is a user's name or refused."""
        try:
            wanted = Scram(CLEAR, plus=False).respond(message)
        except SASLFault:
            return
        assert isinstance(wanted, Wanted)
        self.assertTrue(wanted.user and wanted.user.isprintable())

    @quick
    @given(st.binary(max_size=80))
    def test_final(self, proof: bytes) -> None:
        """Nothing but the proof is one."""
        exchange, challenge = self.begin(FIRST)
        unproven = answer(FIRST, challenge).rpartition(b",p=")[0]
        result = exchange.respond(unproven + b",p=" + base64.b64encode(proof))
        self.assertEqual(Credentials("scram-sha-256", "user", proven=False), result)


class SecretTests(Case):
    def test_verifiers_prove_nothing(self) -> None:
        """Who has stolen the stored key cannot log in with it."""
        exchange, challenge = self.begin(FIRST)
        unproven, _, _ = answer(FIRST, challenge).rpartition(b",p=")
        about = b",".join([FIRST.split(b",", 2)[2], challenge, unproven])
        signature = digest(PENCIL.stored_key, about, "sha256")
        proof = bytes(a ^ b for a, b in zip(PENCIL.stored_key, signature, strict=True))
        result = exchange.respond(unproven + b",p=" + base64.b64encode(proof))
        self.assertEqual(Credentials("scram-sha-256", "user", proven=False), result)

    def test_hidden(self) -> None:
        """What the exchange wants shows no more than the user."""
        self.begin(FIRST)
        self.assertEqual("Wanted(mechanism='scram-sha-256', user='user')", repr(self.wanted))
        self.assertEqual("Channel(me='mx', offers_binding=True)", repr(PLAIN_TLS))
