"""LMTP and PRDR with real clients and servers: smtplib, swaks, Postfix; Dovecot as the next hop."""

from __future__ import annotations

import os
import signal
import smtplib
import ssl
import unittest
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from dovecot import Dovecot
from harness import Server, free_port, need, run, sent_part, wait_until
from postfix import Postfix, swaks
from processes import children, lives

MESSAGE = "Subject: hello\nFrom: a@example.com\nMessage-Id: <1@example.com>\n\nFirst line\n.dot\n"
SELECTIVE = '''\
"""Refuse mail for some, as long as there is a file of that name."""

from pathlib import Path

from qpsmtpd import DENY, DENYSOFT, Plugin


class Selective(Plugin):
    """Refuse mail for full and later."""

    def hook_data_post(self, transaction):
        for recipient in transaction.recipients:
            if recipient.address.local == "full":
                transaction.answer(recipient, DENY("mailbox full", "5.2.2"))
            elif recipient.address.local == "later" and Path("refuse-later").exists():
                transaction.answer(recipient, DENYSOFT("not now", "4.2.1"))
'''
STORE = "tls self_signed\nselective\nrcpt_ok\nqueue/maildir mail %l\n"


class LMTPServer(Server):
    """A server that speaks LMTP at a port and at a socket, and stores for each recipient."""

    def __init__(self, config: Mapping[str, str]) -> None:
        super().__init__({"plugins": STORE, **config})
        self.lmtp_port = free_port()
        self.socket = self.directory / "lmtp"
        self.write("lmtp", f"127.0.0.1:{self.lmtp_port}\nunix:{self.socket}:mode=666\n")
        self.write("own/selective.py", SELECTIVE)
        self.write("plugin_dirs", f"{self.config / 'own'}\n")
        self.directory.chmod(0o755)
        (self.directory / "refuse-later").touch()

    def stored(self, local: str) -> list[bytes]:
        """Give the messages of one recipient."""
        return [path.read_bytes() for path in self.directory.glob(f"mail/{local}/new/*")]


@contextmanager
def serving(**config: str) -> Iterator[LMTPServer]:
    """Run such a server."""
    server = LMTPServer(config)
    try:
        server.start()
        yield server
    finally:
        server.close()


def send(client: smtplib.SMTP, *recipients: str, domain: str = "example.org") -> list[str]:
    """Send a message; give the replies to its end, of which smtplib itself would read the first only."""
    client.docmd("MAIL FROM:<a@example.com>")
    accepted = [client.docmd(f"RCPT TO:<{local}@{domain}>")[0] for local in recipients].count(250)
    assert client.docmd("DATA")[0] == 354
    client.send(MESSAGE.replace("\n.", "\n..").replace("\n", "\r\n").encode() + b".\r\n")
    replies = [client.getreply() for _ in range(accepted)]
    return [f"{code} {text.decode()}" for code, text in replies]


class ClientTests(unittest.TestCase):
    """Clients that speak LMTP to us."""

    server: LMTPServer

    @classmethod
    def setUpClass(cls) -> None:
        need("swaks")
        cls.server = cls.enterClassContext(serving())

    def test_smtplib(self) -> None:
        """Over TCP and over the socket each recipient has a reply, and its copy."""
        for host, port in (("127.0.0.1", self.server.lmtp_port), (str(self.server.socket), 0)):
            with self.subTest(host=host), smtplib.LMTP(host, port) as client:
                client.ehlo("x")
                self.assertEqual(
                    ["250 2.0.0 Queued! <1@example.com>", "552 5.2.2 mailbox full", "452 4.2.1 not now"],
                    send(client, "py", "full", "later"),
                )
                self.assertEqual(250, client.noop()[0])
        messages = self.server.stored("py")
        self.assertEqual([MESSAGE.encode()] * 2, [sent_part(one, b"Subject:") for one in messages])
        for message in messages:
            self.assertRegex(message, rb"from x \(localhost \[127\.0\.0\.1\]\)\n by .* with LMTP id ")
        self.assertEqual(([], []), (self.server.stored("full"), self.server.stored("later")))

    def test_swaks(self) -> None:
        places = (["--server", f"127.0.0.1:{self.server.lmtp_port}"], ["--socket", str(self.server.socket)])
        for number, place in enumerate(places):
            done = run(
                "swaks", "--protocol", "LMTP", *place, "--from", "a@example.com",
                "--to", f"swaks{number}@example.org,full@example.org", "--data", "-",
                stdin=MESSAGE.replace("\n", "\r\n"), check=False,
            )  # fmt: skip
            self.assertRegex(done.stdout, r"<-  250 2\.0\.0 Queued![^\n]*\n<\*\* 552 5\.2\.2 mailbox full\n")
            self.assertEqual(1, len(self.server.stored(f"swaks{number}")))

    def test_starttls(self) -> None:
        """TLS works over either."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for host, port in (("127.0.0.1", self.server.lmtp_port), (str(self.server.socket), 0)):
            with smtplib.LMTP(host, port) as client:
                client.starttls(context=context)
                client.ehlo("x")
                self.assertEqual(1, len(send(client, "tls")))
        for message in self.server.stored("tls"):
            self.assertIn(b" with LMTPS (TLSv1.3 ", message)

    def test_prdr(self) -> None:
        """Over SMTP a client that asks for it hears as much."""
        everybody = "prdr@example.org,full@example.org"
        said = swaks(self.server.port, MESSAGE, "--prdr", recipient=everybody, check=False)
        single = r"<-  250 2\.0\.0 Queued![^\n]*\n<\*\* 552 5\.2\.2 mailbox full\n"
        self.assertRegex(said, rf"<-  353 [^\n]*\n{single}<-  250 2\.0\.0 Queued!")
        self.assertEqual(1, len(self.server.stored("prdr")))

    def test_one_reply_for_all(self) -> None:
        """Others hear a refusal, and nobody gets the message."""
        everybody = "plain@example.org,full@example.org"
        said = swaks(self.server.port, MESSAGE, recipient=everybody, check=False)
        self.assertIn("552 5.2.2 <full@example.org>: 552 5.2.2 mailbox full", said)
        self.assertEqual([], self.server.stored("plain"))


class PostfixTests(unittest.TestCase):
    """Postfix hands over what it has queued."""

    def test_each_recipient(self) -> None:
        """One gets the message, one is bounced, and one waits in the queue; nobody gets it twice."""
        with serving() as server:
            transport = f"lmtp:unix:{server.socket}"
            with Postfix(1, default_transport=transport, relayhost="") as postfix:
                everybody = ",".join(f"{local}@example.org" for local in ("b", "full", "later", "c"))
                swaks(postfix.port, MESSAGE, recipient=everybody)
                ends = {
                    "b": r"dsn=2\.0\.0, status=sent \(250 2\.0\.0 Queued!",
                    "c": r"dsn=2\.0\.0, status=sent \(250 2\.0\.0 Queued!",
                    "full": r"dsn=5\.2\.2, status=bounced .*said: 552 5\.2\.2 mailbox full \(in reply to end",
                    "later": r"dsn=4\.2\.1, status=deferred .*said: 452 4\.2\.1 not now",
                }
                for local, end in ends.items():
                    postfix.log_line(rf"to=<{local}@example\.org>, .*{end}")
                queue = postfix.queued()
                self.assertIn("later@example.org", queue)
                self.assertNotIn("b@example.org", queue)
                (server.directory / "refuse-later").unlink()
                postfix.flush()
                postfix.log_line(r"to=<later@example\.org>, .*status=sent")
            stored = [len(server.stored(local)) for local in ("b", "c", "later", "full")]
        self.assertEqual([1, 1, 1, 0], stored)


class SocketTests(unittest.TestCase):
    """The socket comes and goes with the server."""

    def test_lives_of_a_socket(self) -> None:
        with serving() as server:
            self.assertEqual(0o666, server.socket.stat().st_mode & 0o777)
            self.assertEqual(-signal.SIGKILL, server.stop(signal.SIGKILL))
            self.assertTrue(server.socket.is_socket())
            # As in a container, where the next server has the number of the killed one.
            lock = Path(f"{server.socket}.lock")
            lock.unlink()
            lock.symlink_to("1")
            server.start()
            with smtplib.LMTP(str(server.socket)) as client:
                client.ehlo("x")
                self.assertEqual(1, len(send(client, "b")))
            self.assertEqual(-signal.SIGTERM, server.stop())
            self.assertFalse(server.socket.exists() or lock.is_symlink())

    def test_worker_ends(self) -> None:
        """A worker that ends leaves the socket to the others, and to the one that follows it."""
        with serving(workers="2\n") as server:
            with smtplib.LMTP(str(server.socket)):  # somebody serves
                before = children(server.pid)
            first = before[0]
            os.kill(first, signal.SIGTERM)
            wait_until(lambda: not lives(first), "the worker has ended")
            for _ in range(5):
                with smtplib.LMTP(str(server.socket)) as client:
                    client.ehlo("x")
                    self.assertEqual(1, len(send(client, "b")))
            wait_until(lambda: len(set(children(server.pid)) - set(before)) == 1, "another is started")
            server.stop()
            self.assertEqual([], list(server.directory.glob("lmtp*")))

    def test_second_server(self) -> None:
        """Who lives is not driven away."""
        with serving() as server:
            second = LMTPServer({})
            self.addCleanup(second.close)
            second.write("lmtp", f"unix:{server.socket}\n")
            with suppress(AssertionError):  # its other port may answer for a moment
                second.start()
            assert second.process is not None
            self.assertEqual(1, second.process.wait(60))
            self.assertIn("lmtp:1: unix:", second.log.read_text())
            self.assertIn(": cannot listen: ", second.log.read_text())
            with smtplib.LMTP(str(server.socket)) as client:
                self.assertEqual(250, client.ehlo("x")[0])


class DovecotTests(unittest.TestCase):
    """Dovecot's LMTP is the next hop of queue/smtp-forward."""

    def test_each_recipient(self) -> None:
        with Dovecot() as dovecot:
            for place in (str(dovecot.socket), f"127.0.0.1 {dovecot.port}"):
                plugins = f"tls self_signed\nrelay\nrcpt_ok\nqueue/smtp-forward {place} lmtp\n"
                with self.subTest(place=place), serving(plugins=plugins) as server:
                    with smtplib.LMTP(str(server.socket)) as client:
                        client.ehlo("x")
                        replies = send(client, "b", "full", "nobody", "c", domain="far.example")
                    with smtplib.SMTP("127.0.0.1", server.port) as client:
                        client.ehlo("x")
                        client.docmd("MAIL FROM:<a@example.com>")
                        codes = [client.docmd(f"RCPT TO:<{local}@far.example>")[0] for local in "bc"]
                self.assertRegex(replies[0], r"^250 2\.0\.0 Queued! <b@far\.example> \S+ Saved")
                self.assertRegex(replies[1], r"^552 5\.2\.2 <full@far\.example> Quota exceeded")
                self.assertRegex(replies[2], r"^552 5\.1\.1 <nobody@far\.example> User doesn't exist")
                self.assertRegex(replies[3], r"^250 2\.0\.0 Queued! <c@far\.example>")
                self.assertEqual([250, 452], codes)
            self.assertEqual([2, 2, 0], [len(dovecot.messages(user)) for user in ("b", "c", "full")])
