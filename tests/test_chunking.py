"""BDAT: what DATA would make of the same message, however it is cut into chunks."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, DENY, DENY_DISCONNECT, DENYSOFT, OK, Plugin, Reply
from qpsmtpd.testing import Server

MAIL = ("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>")
BINARY = ("MAIL FROM:<a@example.com> BODY=BINARYMIME", "RCPT TO:<b@example.org>")
BARE = "550 5.6.11"
NO_MAIL = "503 5.5.1 say MAIL first"
MESSAGE = b"X: 1\r\n y\r\n\r\nbody\r\n.\r\n..\r\nmore\r\n"

TEXTS = st.lists(
    st.sampled_from([b"X: 1", b"\r\n", b"\r", b"\n", b".", b" ", b"\0", b"\xff", b"text", b"\r\n\r\n"]),
    max_size=12,
)


def bdat(*chunks: bytes, last: bool = True) -> bytes:
    """Write chunks with their commands, the last one as the end of the message."""
    lines = [b"BDAT %d\r\n%b" % (len(chunk), chunk) for chunk in chunks]
    if last:
        lines[-1] = lines[-1].replace(b"\r\n", b" LAST\r\n", 1)
    return b"".join(lines)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.spool = Path(self.mktemp())
        self.spool.mkdir(parents=True)
        self.hooks: dict[str, Any] = {"rcpt": lambda: OK, "queue": self.keep}
        self.kept: list[tuple[bytes, bytes, int]] = []

    def tearDown(self) -> None:
        """No message leaves a file behind."""
        self.assertEqual([], list(self.spool.iterdir()))

    def keep(self, transaction: Any) -> Any:
        header = b"".join(transaction.header.raw("X"))
        self.kept.append((header, b"".join(transaction.body.chunks()), transaction.size))
        return OK("Queued!")

    def connect(self, *envelope: str, **config: str) -> Any:
        self.server = Server(hooks=self.hooks, config={"reverse_dns": "0", **config}, spool=self.spool)
        client = self.server.connect()
        client.say("EHLO client.example", *(envelope or MAIL))
        return client

    def replies(self, client: Any, octets: bytes) -> list[str]:
        client.send(octets)
        found: list[str] = client.read().splitlines()
        return found


class SameAsDataTests(Case):
    """DATA with dots doubled and BDAT with octets counted are two spellings of one message."""

    def by_data(self, octets: bytes, policy: str) -> tuple[str, list[Any]]:
        self.kept.clear()
        client = self.connect(bare_newline=policy)
        client.say("DATA")
        stuffed = (b"\r\n" + octets).replace(b"\r\n.", b"\r\n..")[2:]
        return self.replies(client, stuffed + b".\r\n")[-1], self.kept[:]

    def by_bdat(self, chunks: list[bytes], policy: str) -> tuple[str, list[Any]]:
        self.kept.clear()
        client = self.connect(bare_newline=policy)
        *_, reply = [
            line for line in self.replies(client, bdat(*chunks)) if "received" not in line and line != NO_MAIL
        ]
        return reply, self.kept[:]

    def test_every_cut(self) -> None:
        """In two chunks at every place, octet by octet, and with empty chunks."""
        expected = self.by_data(MESSAGE, "reject")
        self.assertEqual(("250 2.0.0 Queued!", 1), (expected[0], len(expected[1])))
        cuts = [[MESSAGE[:place], MESSAGE[place:]] for place in range(len(MESSAGE) + 1)]
        for chunks in [*cuts, [MESSAGE[i : i + 1] for i in range(len(MESSAGE))] + [b""]]:
            self.assertEqual(expected, self.by_bdat(chunks, "reject"), chunks)

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(
        TEXTS, st.lists(st.integers(0, 30), max_size=4).map(sorted), st.sampled_from(["reject", "normalize"])
    )
    def test_any(self, texts: list[bytes], places: list[int], policy: str) -> None:
        """Any text that ends a line, in any chunks."""
        octets = b"".join(texts) + b"x\r\n"
        edges = [0, *places, len(octets) + 30]
        chunks = [octets[a:b] for a, b in pairwise(edges)]
        self.assertEqual(self.by_data(octets, policy), self.by_bdat(chunks, policy))


class ContentTests(Case):
    def body(self, octets: bytes, *envelope: str, **config: str) -> bytes | str:
        """Send a message in one chunk; give its body, or the reply."""
        reply = self.replies(self.connect(*envelope, **config), bdat(octets))[-1]
        return self.kept.pop()[1] if reply == "250 2.0.0 Queued!" else reply[:10]

    def test_no_line_end(self) -> None:
        """A message may end within a line, in its header too."""
        self.assertEqual(b"text", self.body(b"\r\ntext"))
        self.assertEqual(b"", self.body(b"X: 1"))
        self.assertEqual(b"", self.body(b""))

    def test_binary(self) -> None:
        """All octets are kept, under either policy."""
        octets = bytes(range(256)) + b"\r\r\n\n\r\n.\r\n\r"
        for policy in ("reject", "normalize"):
            self.assertEqual(octets, self.body(b"X: 1\r\n\r\n" + octets, *BINARY, bare_newline=policy))

    def test_binary_header(self) -> None:
        """The header of a binary message is lines (RFC 3030 section 3)."""
        for octets in (b"X: 1\nY: 2\r\n\r\nx", b"X: 1\rY\r\n\r\nx", b"X: 1\n\nx", b"X: 1\n"):
            self.assertEqual(BARE, self.body(octets, *BINARY), octets)

    def test_bare(self) -> None:
        """Without BINARYMIME the policy holds, in the header and in the body."""
        for octets in (b"X: 1\nY: 2\r\n\r\nx", b"\r\nx\ny", b"\r\nx\ry", b"\r\nx\r", b"\r\n\n"):
            self.assertEqual(BARE, self.body(octets), octets)
        self.assertEqual(b"x\r\ny \r\n ", self.body(b"\r\nx\ny\r\r\n\r", bare_newline="normalize"))

    def test_bare_between_chunks(self) -> None:
        """CRLF may be cut in two; the chunk that shows a CR to be bare is refused."""
        client = self.connect()
        self.assertIn("Queued!", self.replies(client, bdat(b"\r\nx\r", b"\ny\r\n"))[-1])
        client.say(*MAIL)
        replies = self.replies(client, bdat(b"\r\nx\r", b"y", b"z"))
        self.assertEqual(["250 2.0.0 ", BARE, NO_MAIL[:10]], [reply[:10] for reply in replies])

    def test_spool(self) -> None:
        """A large message goes to a file; what does not fit is read to its end, and refused."""
        client = self.connect(size_threshold="10")
        self.assertIn("Queued!", self.replies(client, bdat(b"\r\n" + b"x" * 20, b"y"))[-1])
        self.server.engine.spool = self.spool / "missing"
        client.say(*MAIL)
        replies = self.replies(client, bdat(b"\r\n" + b"x" * 20, b"QUIT\r\n"))
        self.assertEqual(["452 4.3.1 insufficient system storage", NO_MAIL], replies)


class LimitTests(Case):
    def test_size(self) -> None:
        """All chunks together have the size of a message, with nothing kept past it."""
        for size, expected in ((30, "250 2.0.0"), (31, "552 5.3.4")):
            client = self.connect(databytes="30")
            replies = self.replies(client, bdat(b"\r\n" + b"x" * 18, b"x" * (size - 20)))
            self.assertEqual(["250 2.0.0", expected], [reply[:9] for reply in replies])

    def test_too_big_keeps_nothing(self) -> None:
        client = self.connect(databytes="100", size_threshold="0")
        client.send(b"BDAT 1000\r\n\r\n" + b"x" * 50)
        self.assertEqual(1, len(list(self.spool.iterdir())))
        client.send(b"x" * 100)
        self.assertEqual([], list(self.spool.iterdir()))
        self.assertEqual("552 5.3.4", self.replies(client, b"x" * 848)[0][:9])

    def test_header(self) -> None:
        client = self.connect(max_header="1000")
        replies = self.replies(client, bdat(b"X: 1\r\n" * 100, b"X: 1\r\n" * 100, b"\r\nx"))
        self.assertEqual(["250 2.0.0", "552 5.3.4", "503 5.5.1"], [reply[:9] for reply in replies])

    def test_many_refused(self) -> None:
        """What was in the pipeline behind a refused chunk does not end the session (RFC 3030 section 2)."""
        client = self.connect(databytes="10", max_errors="2")
        replies = self.replies(client, bdat(*[b"x" * 100] * 50))
        self.assertEqual({NO_MAIL}, set(replies[1:]))
        self.assertEqual(["250 2.0.0 OK"], self.replies(client, b"NOOP\r\n"))


class SyntaxTests(Case):
    def test_counts(self) -> None:
        """A count is digits; with anything else nobody knows what follows, and the session ends."""
        for argument in (
            "",
            " ",
            " x",
            " -1",
            " +1",
            " 1x",
            " 0x1",
            " LAST",
            " \u0661",
            " 1_0",
            " " + "1" * 21,
        ):
            client = self.connect()
            client.send(f"BDAT{argument}\r\nNOOP\r\n".encode())
            self.assertEqual(
                "421 4.5.4 Syntax: BDAT OCTETS [LAST]; closing the connection\r\n", client.read()
            )
            self.assertTrue(client.closed, argument)

    def test_broken_line(self) -> None:
        """A BDAT that is no command line has no count either."""
        for line in (b"BDAT 6\n", b"bdat 6\r\r\n", b"BDAT\r6\r\n", b"BDAT " + b" " * 5000 + b"6\r\n"):
            for pieces in ([line + b"NOOP\r\n"], [line[i : i + 1] for i in range(len(line))]):
                client = self.connect()
                for piece in pieces:
                    client.send(piece)
                self.assertEqual("421 4.5.4 Syntax", client.read()[:16], line)
                self.assertTrue(client.closed)

    def test_words(self) -> None:
        """With a count the chunk is read, whatever else is wrong."""
        for argument in ("4 FIRST", "4 LAST LAST", "4 LAST x", "04 -"):
            replies = self.replies(self.connect(), f"BDAT {argument}\r\nQUITNOOP\r\n".encode())
            self.assertEqual(["501 5.5.4 Syntax: BDAT OCTETS [LAST]", "250 2.0.0 OK"], replies, argument)

    def test_lenient(self) -> None:
        for line in ("BDAT 4 LAST", "bdat 4 last", "BDAT  04  Last ", "BDAT 4\tLAST"):
            self.assertIn("Queued!", self.replies(self.connect(), line.encode() + b"\r\n\r\nxx")[-1], line)

    def test_broken_message(self) -> None:
        """A message that lacks a chunk is never delivered."""
        replies = self.replies(self.connect(), b"BDAT 3\r\n\r\nxBDAT 3 FIRST\r\nyyyBDAT 1 LAST\r\nz")
        self.assertEqual(["250 2.0.0", "501 5.5.4", "503 5.5.1"], [reply[:9] for reply in replies])
        self.assertEqual([], self.kept)


class OrderTests(Case):
    def test_data(self) -> None:
        """DATA comes neither behind BDAT nor with BINARYMIME; the chunks that have come stay."""
        client = self.connect()
        replies = self.replies(client, bdat(b"\r\nx", last=False) + b"DATA\r\n" + bdat(b"y"))
        self.assertEqual(["250 2.0.0", "503 5.5.1", "250 2.0.0"], [reply[:9] for reply in replies])
        self.assertEqual(b"xy", self.kept[0][1])
        self.assertEqual(
            "503 5.5.1 BODY=BINARYMIME needs BDAT; RSET first", self.connect(*BINARY).say("DATA")
        )

    def test_both(self) -> None:
        """A session may have both, a message each."""
        client = self.connect()
        for octets in (bdat(b"\r\n1"), b"DATA\r\n\r\n2\r\n.\r\n", bdat(b"\r\n3")):
            self.assertIn("Queued!", self.replies(client, octets)[-1])
            client.say(*MAIL)
        self.assertEqual([b"1", b"2\r\n", b"3"], [body for _, body, _ in self.kept])

    def test_dropped(self) -> None:
        """RSET and a hello drop the chunks that have come."""
        for line in (b"RSET\r\n", b"HELO x\r\n"):
            client = self.connect(size_threshold="0")
            client.send(bdat(b"\r\nx", last=False) + line)
            self.assertEqual([], list(self.spool.iterdir()))
            client.read()
            self.assertEqual([NO_MAIL], self.replies(client, bdat(b"y")))

    def test_after_helo(self) -> None:
        """A chunk is a chunk, whatever the client was told of extensions."""
        client = self.connect()
        client.say("HELO x", *MAIL)
        self.assertIn("Queued!", self.replies(client, bdat(b"\r\nx"))[-1])

    def test_vanished(self) -> None:
        """A client that leaves within a chunk, or between two, leaves nothing."""
        for octets in (bdat(b"\r\nx", last=False), b"BDAT 100 LAST\r\n\r\nx"):
            client = self.connect(size_threshold="0")
            client.send(octets)
            self.assertEqual(1, len(list(self.spool.iterdir())))
            client.drop()
            self.assertEqual([], list(self.spool.iterdir()))
        self.assertEqual([], self.kept)

    def test_shutdown(self) -> None:
        """A server that ends waits for the rest of a message."""
        client = self.connect()
        client.send(bdat(b"\r\nx", last=False))
        client.read()
        client.protocol.shut_down()
        self.assertEqual("", client.read())
        self.assertIn("Queued!", self.replies(client, bdat(b"y"))[0])


class HookTests(Case):
    def test_order(self) -> None:
        """The hooks of DATA, each once."""
        names = "data data_headers_end data_post_headers received_line data_post queue_pre queue_post"
        called: list[str] = []
        for name in (*names.split(), "reset_transaction"):
            self.hooks[name] = lambda name=name: called.append(name)
        client = self.connect()
        called.clear()
        client.send(bdat(b"X: 1\r\n", b"\r\nx", b"y", b""))
        self.assertEqual([*names.split(), "reset_transaction"], called)

    def test_refused(self) -> None:
        """Each refusal comes when its chunk has, and the rest of the pipeline is no message."""
        rows = [
            ("data", DENY("no"), ["554 5.7.1 no", NO_MAIL, NO_MAIL]),
            ("data", DENYSOFT("no"), ["451 4.7.1 no", NO_MAIL, NO_MAIL]),
            ("data", Reply(250, "mine"), ["250 mine", NO_MAIL, NO_MAIL]),
            ("data_headers_end", DENY("no"), ["250 2.0.0 6 octets received", "554 5.7.1 no", NO_MAIL]),
            (
                "data_post",
                DENY("no"),
                ["250 2.0.0 6 octets received", "250 2.0.0 6 octets received", "552 5.7.1 no"],
            ),
        ]
        for hook, answer, expected in rows:
            self.hooks[hook] = lambda answer=answer: answer
            replies = self.replies(self.connect(), bdat(b"X: 1\r\n", b"\r\nQUIT", b"QUIT\r\n"))
            self.assertEqual(expected, replies, hook)
            del self.hooks[hook]
        self.assertEqual([], self.kept)

    def test_disconnect(self) -> None:
        """A refusal that ends the session waits for the chunk, too."""
        self.hooks["data"] = lambda: DENY_DISCONNECT("no")
        client = self.connect()
        self.assertEqual([], self.replies(client, b"BDAT 10\r\nxxx"))
        self.assertEqual(["554 5.7.1 no"], self.replies(client, b"xxxxxxxNOOP\r\n"))
        self.assertTrue(client.closed)

    def test_waiting(self) -> None:
        """A chunk that comes while a plugin waits is not lost."""
        promise: Deferred[None] = Deferred()
        self.hooks["data"] = lambda: promise
        client = self.connect()
        client.send(b"BDAT 7\r\n\r\nfi")
        client.send(b"rstBDAT 6 LAST\r\nsecond")
        self.assertEqual("", client.read())
        promise.callback(None)
        self.assertEqual("250 2.0.0 Queued!", client.read().splitlines()[-1])
        self.assertEqual(b"firstsecond", self.kept[0][1])

    def test_knows(self) -> None:
        """A plugin can tell BDAT from DATA."""
        seen: list[bool] = []
        self.hooks["data"] = lambda transaction: seen.append(transaction.chunked)
        client = self.connect()
        client.send(bdat(b"\r\n"))
        client.say(*MAIL, "DATA")
        self.assertEqual([True, False], seen)

    def test_received(self) -> None:
        """The protocol's name in Received stays (RFC 3848)."""
        self.hooks["queue"] = lambda transaction: OK(
            transaction.header.get("Received").partition(" with ")[2][:9]
        )
        self.assertEqual(
            ["250 2.0.0 ESMTP id"], [r[:18] for r in self.replies(self.connect(), bdat(b"\r\n"))]
        )


class OfferTests(Case):
    def test_offered(self) -> None:
        client = self.connect()
        self.assertLessEqual({"250-CHUNKING", "250-BINARYMIME"}, set(client.say("EHLO x").splitlines()))

    def test_not_offered(self) -> None:
        """With a plugin that needs lines BINARYMIME is neither offered nor taken."""

        class Lines(Plugin):
            takes_binary = False

            def hook_data(self) -> Any:
                return DECLINED

        server = Server(config={"reverse_dns": "0"})
        server = Server([Lines(server.services)], config={"reverse_dns": "0"})
        client = server.connect()
        offered = client.say("EHLO x").splitlines()
        self.assertEqual((True, False), ("250-CHUNKING" in offered, "250-BINARYMIME" in offered))
        self.assertEqual("501 5.5.4 BODY is 7BIT or 8BITMIME", client.say(BINARY[0]))
