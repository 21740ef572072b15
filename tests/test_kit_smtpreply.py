"""Replies of a next hop are read however they are cut, and nothing is read without a bound."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.smtpreply import (
    MAX_REPLY_LINE,
    MAX_REPLY_LINES,
    BadReplyError,
    ReplyParser,
    SMTPOutError,
)
from qpsmtpd.smtp.reply import Reply

# octets -> (code, status, text) of each reply
GOOD = [
    (b"250 ok\r\n", [(250, "", "ok")]),
    (b"250\r\n", [(250, "", "")]),
    (b"250 \r\n", [(250, "", "")]),
    (b"250 ok\n", [(250, "", "ok")]),
    (b"250-one\r\n250 two\r\n", [(250, "", "one\ntwo")]),
    (b"250-one\r\n250\r\n", [(250, "", "one")]),
    (b"250 ok\r\n550 no\r\n", [(250, "", "ok"), (550, "", "no")]),
    (b"250 2.1.5 ok\r\n", [(250, "2.1.5", "ok")]),
    (b"250 2.1.5\r\n", [(250, "2.1.5", "")]),
    (b"550-5.1.1 no\r\n550 5.1.1 such user\r\n", [(550, "5.1.1", "no\nsuch user")]),
    (b"550-hear\r\n550 5.7.1 this\r\n", [(550, "5.7.1", "hear\nthis")]),
    (b"550 4.1.1 classes differ\r\n", [(550, "", "4.1.1 classes differ")]),
    (b"550 5.1.1bis\r\n", [(550, "", "5.1.1bis")]),
    (b"550 5.01.1 x\r\n", [(550, "", "5.01.1 x")]),
    (b"550 5.1.1 no\r\n250 ok\r\n", [(550, "5.1.1", "no"), (250, "", "ok")]),
    (b"250 caf\xc3\xa9 \xff\r\n", [(250, "", "caf\\xe9 \\ufffd")]),
    (b"550 a\x1b[1mb\rc\x00\r\n", [(550, "", "a [1mb c ")]),
]
LARGEST = [
    b"550 " + b"x" * (MAX_REPLY_LINE - 5) + b"\r\n",
    b"250-x\r\n" * (MAX_REPLY_LINES - 1) + b"250 x\r\n",
]
BAD = [
    b"\r\n",
    b"hello\r\n",
    b"25\r\n",
    b"150 preliminary\r\n",
    b"650 beyond\r\n",
    b"250ok\r\n",
    b"250\tok\r\n",
    b"2500 ok\r\n",
    b"\xb2\xb5\xb0 ok\r\n",
    b"\xd9\xa2\xd9\xa5\xd9\xa0 arabic digits\r\n",
    b" 250 ok\r\n",
    b"250-one\r\n550 two\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    b"x" * (MAX_REPLY_LINE + 1),
    b"250 " + b"x" * MAX_REPLY_LINE + b"\r\n",
    b"250-x\r\n" * MAX_REPLY_LINES + b"250 x\r\n",
]


def steps(octets: bytes, step: int) -> list[bytes]:
    """Cut octets into segments of some length."""
    return [octets[start : start + step] for start in range(0, len(octets), step)]


def replies(*segments: bytes) -> list[Reply]:
    """Feed segments and take what comes."""
    parser = ReplyParser()
    taken: list[Reply] = []
    for segment in segments:
        parser.feed(segment)
        taken += iter(parser.next_reply, None)
    return taken


class ReplyParserTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Code, status and text come out, wherever a segment ends."""
        for octets, expected in GOOD:
            for cut in range(len(octets)):
                taken = replies(octets[:cut], octets[cut:])
                with self.subTest(octets=octets, cut=cut):
                    self.assertEqual(expected, [(reply.code, reply.status, reply.text) for reply in taken])

    def test_octet_by_octet(self) -> None:
        """Octet by octet the replies are the same."""
        for octets in [octets for octets, _ in GOOD] + LARGEST:
            with self.subTest(octets=octets[:40]):
                whole = replies(octets)
                self.assertTrue(whole)
                self.assertEqual(whole, replies(*steps(octets, 1)))

    def test_bad(self) -> None:
        """What is no reply, or too much of one, is an error."""
        for octets in BAD:
            for step in (1, 3, len(octets)):
                with self.subTest(octets=octets[:40], step=step):
                    self.assertRaises(BadReplyError, replies, *steps(octets, step))

    def test_clear(self) -> None:
        """After clear nothing is left of a reply half read."""
        parser = ReplyParser()
        parser.feed(b"550-5.7.1 one\r\n550 tw")
        self.assertIsNone(parser.next_reply())
        parser.clear()
        parser.feed(b"250 ok\r\n")
        self.assertEqual(Reply(250, "ok"), parser.next_reply())

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(st.lists(st.one_of(st.binary(), st.sampled_from([b"250", b"-", b" ", b"2.1.1", b"\r\n"]))))
    def test_any_input(self, parts: list[bytes]) -> None:
        """Any octets give replies or BadReplyError, the same however they are cut."""
        octets = b"".join(parts)
        results: list[object] = []
        for segments in ([octets], steps(octets, 1)):
            try:
                results.append(replies(*segments))
            except BadReplyError:
                results.append("bad")
        self.assertEqual(results[0], results[1])


class SMTPOutErrorTests(SynchronousTestCase):
    def test_facts(self) -> None:
        """The error tells code, status, text, and whether to try again."""
        error = SMTPOutError(Reply(550, "no\nway", "5.7.1"))
        self.assertEqual(
            (550, "5.7.1", "no\nway", False), (error.code, error.status, error.text, error.temporary)
        )
        self.assertTrue(SMTPOutError(Reply(421, "bye")).temporary)

    def test_message(self) -> None:
        """As text it is the reply."""
        self.assertEqual("550 5.7.1 no", str(SMTPOutError(Reply(550, "no", "5.7.1"))))
        self.assertEqual("421 bye", str(SMTPOutError(Reply(421, "bye"))))
