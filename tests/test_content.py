"""DATA: where header and body go, what is refused, and when."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DENY, OK, Reply, Transaction
from qpsmtpd.factory import Functions
from qpsmtpd.smtp.address import Address
from qpsmtpd.testing import Server

RCPT = ("EHLO client.example", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>")


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.spool = Path(self.mktemp())
        self.spool.mkdir(parents=True)
        self.hooks: dict[str, Any] = {"rcpt": lambda: OK, "queue": self.keep}
        self.kept: list[Any] = []

    def tearDown(self) -> None:
        """No message leaves a file behind."""
        self.assertEqual([], list(self.spool.iterdir()))

    def keep(self, transaction: Any) -> Any:
        fields = [octets for octets in bytes(transaction.header).split(b"\r\n") if octets[:1] == b"X"]
        body = b"".join(transaction.body.chunks())
        self.kept.append((fields, body, transaction.size, transaction.body.spooled))
        return OK("Queued!")

    def connect(self, **config: str) -> Any:
        self.server = Server(hooks=self.hooks, config={"reverse_dns": "0", **config}, spool=self.spool)
        client = self.server.connect()
        client.say(*RCPT)
        return client

    def send(self, octets: bytes, client: Any = None, **config: str) -> str:
        """Send content and the final dot; give the reply, which must be one."""
        client = client or self.connect(**config)
        client.say("DATA")
        client.send(octets + b".\r\n")
        reply: str = client.read()
        self.assertEqual(1, reply.count("\r\n"), reply)
        return reply.removesuffix("\r\n")


class SplitTests(Case):
    """Where the header ends and the body begins; the separator belongs to neither."""

    def split(self, octets: bytes) -> tuple[list[bytes], bytes]:
        self.assertEqual("250 2.0.0 Queued!", self.send(octets))
        fields, body, size, _ = self.kept[-1]
        self.assertEqual(len(octets.replace(b"\r\n..", b"\r\n.")), size)
        return fields, body

    def test_both(self) -> None:
        self.assertEqual(
            ([b"X: 1"], b"body\r\n\r\nmore\r\n"), self.split(b"X: 1\r\n\r\nbody\r\n\r\nmore\r\n")
        )

    def test_empty(self) -> None:
        self.assertEqual(([], b""), self.split(b""))

    def test_header_only(self) -> None:
        self.assertEqual(([b"X: 1"], b""), self.split(b"X: 1\r\n"))

    def test_body_only(self) -> None:
        """A message without a header loses nothing."""
        self.assertEqual(([], b"just text\r\nand more\r\n"), self.split(b"just text\r\nand more\r\n"))

    def test_empty_header(self) -> None:
        self.assertEqual(([], b"body\r\n"), self.split(b"\r\nbody\r\n"))

    def test_no_separator(self) -> None:
        """The first line that is no field begins the body."""
        self.assertEqual(([b"X: 1"], b"no field\r\nX: 2\r\n"), self.split(b"X: 1\r\nno field\r\nX: 2\r\n"))

    def test_octets(self) -> None:
        """All octets arrive as they were sent."""
        octets = bytes(octet for octet in range(256) if octet not in b"\r\n") * 9 + b"\r\n"
        self.assertEqual(([b"X: \xff"], octets), self.split(b"X: \xff\r\n\r\n" + octets))

    def test_dots(self) -> None:
        self.assertEqual(([], b".\r\n.x\r\n"), self.split(b"\r\n..\r\n..x\r\n"))

    def test_in_pieces(self) -> None:
        """Segments do not matter."""
        client = self.connect()
        client.say("DATA")
        for octet in b"X: 1\r\n\r\n..dot\r\n.\r\n":
            client.send(bytes([octet]))
        self.assertEqual("250 2.0.0 Queued!\r\n", client.read())
        self.assertEqual(([b"X: 1"], b".dot\r\n"), self.kept[0][:2])


class LimitTests(Case):
    def test_size(self) -> None:
        """A message of just the size is accepted, a larger one read to its end and refused."""
        message = b"X: 1\r\n\r\n12345678\r\n"
        self.assertEqual("250", self.send(message, databytes="18")[:3])
        self.assertEqual("552 5.3.4", self.send(message, databytes="17")[:9])
        self.assertTrue(self.server.logged("Message too big: size: 18 (max size: 17)"))

    def test_too_big_keeps_nothing(self) -> None:
        """Of a message that is too big nothing is kept while the rest still comes."""
        client = self.connect(databytes="100", size_threshold="0")
        client.say("DATA", "", "x" * 50)
        self.assertEqual(1, len(list(self.spool.iterdir())))
        client.say("x" * 100)
        self.assertEqual([], list(self.spool.iterdir()))
        self.assertEqual("552", client.say("NOOP", ".")[:3])

    def test_header(self) -> None:
        """A header that is too long is refused at the end of the message."""
        self.assertEqual("552 5.3.4", self.send(b"X: 1\r\n" * 170 + b"\r\nx\r\n", max_header="1000")[:9])
        self.assertEqual("250", self.send(b"X: 1\r\n\r\n" + b"x" * 5000 + b"\r\n", max_header="1000")[:3])

    def test_bare_newlines(self) -> None:
        """A message with a bare CR or LF is refused, and ends at its real end."""
        for octets in (b"\r\nx\ny\r\n", b"\r\nx\ry\r\n", b"\r\nx\n.\r\nNOOP\r\n", b"\r\nx\r\n.\nNOOP\r\n"):
            self.assertEqual("550 5.6.11", self.send(octets)[:10], octets)
        self.assertEqual([], self.kept)

    def test_spool_threshold(self) -> None:
        """A small message stays in memory, a larger one goes to a file."""
        self.send(b"\r\n" + b"x" * 97 + b"\r\n", size_threshold="100")
        self.send(b"\r\n" + b"x" * 98 + b"\r\n", size_threshold="100")
        self.assertEqual([False, True], [spooled for *_, spooled in self.kept])
        self.assertTrue(self.server.logged("spooling message to disk"))


class StorageTests(Case):
    def test_no_spool(self) -> None:
        """A message that cannot be spooled is read to its end, refused, and the next one tried."""
        client = self.connect(size_threshold="10")
        self.server.engine.spool = self.spool / "missing"
        client.say("DATA")
        self.assertEqual("", client.say("", "x" * 50, "QUIT", "NOOP"))
        self.assertEqual("452 4.3.1 insufficient system storage", client.say("."))
        self.assertTrue(self.server.logged("cannot spool the message: "))
        client.say(*RCPT[1:])
        self.assertEqual("250", self.send(b"\r\nx\r\n", client)[:3])

    def test_late_failure(self) -> None:
        """What the system reports only when the file is flushed is a failure, too."""
        client = self.connect(size_threshold="0")
        client.say("DATA", "", "x")

        class Full:
            def write(self, octets: bytes) -> None:
                pass

            def flush(self) -> None:
                raise OSError(28, "No space left on device")

            def close(self) -> None:
                pass

        client.protocol.session.transaction.body._file = Full()
        self.assertEqual("452 4.3.1", client.say(".")[:9])


class HookTests(Case):
    def test_order(self) -> None:
        """From DATA to the end of the transaction."""
        names = "data data_headers_end data_post_headers received_line data_post queue_pre queue_post"
        called: list[str] = []
        for name in (*names.split(), "reset_transaction"):
            self.hooks[name] = lambda name=name: called.append(name)
        client = self.connect()
        called.clear()
        self.send(b"X: 1\r\n\r\nx\r\n", client)
        self.assertEqual([*names.split(), "reset_transaction"], called)

    def test_early(self) -> None:
        """data_headers_end has the header while the body still comes."""
        seen: list[Any] = []
        self.hooks["data_headers_end"] = lambda transaction: seen.append(transaction.header.get("X"))
        client = self.connect()
        client.say("DATA", "X: 1", "", "x")
        self.assertEqual(["1"], seen)
        client.say(".")

    def test_refused_early(self) -> None:
        """A refusal there is told at the end of the message, even if it ends the session."""
        self.hooks["data_headers_end"] = lambda: DENY("no")
        client = self.connect()
        self.assertEqual("", client.say("DATA", "X: 1", "", "x").partition("\r\n")[2])
        self.assertEqual("554 5.7.1 no", client.say("."))

    def test_waiting_in_content(self) -> None:
        """Content that comes while data_headers_end waits is not lost."""
        promise: Deferred[None] = Deferred()
        self.hooks["data_headers_end"] = lambda: promise
        client = self.connect()
        client.say("DATA", "X: 1", "", "first")
        client.say("second", ".")
        promise.callback(None)
        self.assertEqual("250 2.0.0 Queued!\r\n", client.read())
        self.assertEqual(b"first\r\nsecond\r\n", self.kept[0][1])

    def test_reply_before_queue_post(self) -> None:
        """The client has its answer before queue_post, which may take its time."""
        promise: Deferred[None] = Deferred()
        seen: list[Any] = []
        self.hooks["queue_post"] = lambda transaction: (seen.append(transaction.sender), promise)[1]
        client = self.connect()
        self.assertEqual("250 2.0.0 Queued!", self.send(b"\r\nx\r\n", client))
        self.assertEqual([Address.parse("<a@example.com>")], seen)
        self.assertEqual("", client.say(RCPT[1]))
        promise.callback(None)
        self.assertEqual("250 2.1.0", client.read()[:9])

    def test_queue_post_told(self) -> None:
        """queue_post is told once, whatever came of the queue, even if the session ends with it."""
        for answer in (OK, DENY, None, Reply(421, "x").closing()):
            called: list[int] = []
            self.hooks["queue"] = lambda answer=answer: answer
            self.hooks["queue_post"] = lambda called=called: called.append(1)
            self.send(b"\r\nx\r\n")
            self.assertEqual([1], called, answer)

    def test_client_leaves(self) -> None:
        """What is told behind the reply is told to all and to its end, though the client has left."""
        for late in ("queue_post", "reset_transaction"):
            for moment in range(4):
                self.hooks = {"rcpt": lambda: OK, "queue": lambda: OK}
                told = self.settle(late, moment)
                self.assertEqual(["one", "one done", "two", "two done", "left"], told, (late, moment))

    def settle(self, hook: str, moment: int) -> list[str]:
        """Have two plugins wait behind a message; tell what happens if the client leaves at a moment."""
        client = self.connect()
        told: list[str] = []
        waits: list[Deferred[None]] = []
        transactions: list[Transaction] = []

        def tell(name: str, transaction: Transaction) -> Deferred[None] | None:
            if transaction.sender is None:
                return None  # it is another one, which nobody has begun
            told.append(name)
            transactions.append(transaction)
            waits.append(Deferred(lambda _: told.append(f"{name} cancelled")))
            return waits[-1].addCallback(lambda _: told.append(f"{name} done"))

        engine = self.server.factory.engine
        for hooks in (
            {hook: lambda transaction: tell("one", transaction)},
            {hook: lambda transaction: tell("two", transaction)},
            {"disconnect": lambda: told.append("left")},
        ):
            engine.registry.add(Functions(engine.services, hooks))
        self.assertEqual("250 2.0.0 Queued!", self.send(b"\r\nx\r\n", client))
        for step in range(4):
            if step == moment:
                client.drop()
            if step % 2:
                self.assertIsNotNone(transactions[-1].body)
                waits[step // 2].callback(None)
        if moment == 3:
            self.assertIn("left", told)
        return told

    def test_not_queued(self) -> None:
        """queue_post is not told of what never came to the queue."""
        called: list[int] = []
        self.hooks["data_post"] = lambda: DENY
        self.hooks["queue_post"] = lambda: called.append(1)
        self.send(b"\r\nx\r\n")
        self.assertEqual([], called)

    def test_second_message(self) -> None:
        """Nothing of a message is left for the next one."""
        client = self.connect()
        self.send(b"X: 1\r\n\r\nfirst\r\n", client)
        self.assertEqual("503 5.5.1 say MAIL first", client.say("DATA"))
        client.say(*RCPT[1:])
        self.send(b"X: 2\r\n\r\nsecond\r\n", client)
        self.assertEqual(
            [([b"X: 1"], b"first\r\n"), ([b"X: 2"], b"second\r\n")], [kept[:2] for kept in self.kept]
        )

    def test_queued_text(self) -> None:
        """The text that log tools look for, unless the plugin has one."""
        self.hooks["queue"] = lambda: OK
        self.assertEqual("250 2.0.0 Queued!", self.send(b"\r\nx\r\n"))
        self.hooks["queue"] = lambda: OK("Queued! as 4711", "2.6.0")
        self.assertEqual("250 2.6.0 Queued! as 4711", self.send(b"\r\nx\r\n"))
