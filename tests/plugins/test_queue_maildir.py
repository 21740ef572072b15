"""queue/maildir stores what was sent under its own fields, and answers 250 for nothing else."""

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, OK, ConfigError, Outcome
from qpsmtpd.kit.maildir import make_maildir
from qpsmtpd.testing import Server, Tried
from qpsmtpd.waiting import ClientGone, TimeLimit

MESSAGE = "Subject: x\nMessage-Id: <1@example.com>\n\nline\n.\n\nlast\n"


class MaildirTests(SynchronousTestCase):
    """Below a directory of its own."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute() / "mail"

    def tried(self, words: str = "", *recipients: str, text: str = MESSAGE, **envelope: Any) -> Tried:
        """Load the plugin, start it, and have a message ready."""
        tried = Tried(f"queue/maildir {self.base} {words}")
        tried.clock.advance(0)
        tried.message(text, recipients=recipients or ("<b@example.org>",), **envelope)
        return tried

    def stored(self) -> dict[str, str]:
        """Give the messages in all Maildirs by directory."""
        found = {}
        for path in self.base.rglob("new/*"):
            key = str(path.parent.parent.relative_to(self.base))
            self.assertNotIn(key, found)
            found[key] = path.read_bytes().decode()
        self.assertEqual([], list(self.base.rglob("tmp/*")))
        return found

    def test_one_maildir(self) -> None:
        """Without a template one file is for all recipients, the last on top."""
        tried = self.tried("", "<b@example.org>", "<c@example.org>", "<b@EXAMPLE.org>")
        self.assertEqual(OK("Queued! <1@example.com>"), tried.ask("queue"))
        top = "Return-Path: <a@example.com>\nDelivered-To: c@example.org\nDelivered-To: b@example.org\n"
        self.assertEqual({".": top + MESSAGE}, self.stored())
        self.assertEqual([f"pass, {next((self.base / 'new').iterdir())}"], tried.log)

    def test_template(self) -> None:
        """With a template each recipient has a file of his own."""
        tried = self.tried("%d/%l", "<b@example.org>", "<c@EXAMPLE.org>", sender="<>")
        self.assertEqual(OK("Queued! <1@example.com>"), tried.ask("queue"))
        top = "Return-Path: <>\nDelivered-To: "
        self.assertEqual(
            {
                "example.org/b": f"{top}b@example.org\n{MESSAGE}",
                "example.org/c": f"{top}c@EXAMPLE.org\n{MESSAGE}",
            },
            self.stored(),
        )
        self.assertEqual(["pass, 2 copies"], tried.log)

    def test_one_header_for_all(self) -> None:
        """While copies wait for a thread, the header is in memory once, however many recipients there are."""
        tried = self.tried("%d/%l", *[f"<{n}@example.org>" for n in range(9)], text=f"A: {'x' * 1000}\n\n")
        copies = tried.plugin.copies(tried.transaction).values()
        self.assertLess(sum(len(head) for _, head in copies), 1000)
        tried.ask("queue")
        self.assertEqual(9, "".join(self.stored().values()).count("x" * 1000))

    def test_mailboxes(self) -> None:
        """Addresses become directories, and never others than the template says."""
        rows = [
            ("%d/%l", "<b@example.org>", "example.org/b"),
            ("%d/%l", "<B+x=1@Example.ORG>", "example.org/B+x=1"),
            ("%u", "<b@example.org>", "b@example.org"),
            ("/%d/mail/%l/", "<b@example.org>", "example.org/mail/b"),
            ("u.%l", "<b@example.org>", "u.b"),
            ("%d/%l", "<postmaster>", "mail.example.com/postmaster"),
            ("%d/%l", "<o'b/c@example.org>", "example.org/o_b_c"),
            ("%d/%l", '<"../../b"@example.org>', "example.org/.._.._b"),
            ("%d/%l", "<b@[192.0.2.1]>", "_192.0.2.1_/b"),
            ("%d/%l", '<".."@example.org>', None),
            ("%d/%l", '<"."@example.org>', None),
            ("%d/%l", '<""@example.org>', None),
            ("u%l", '<".."@example.org>', "u.."),
        ]
        for template, path, expected in rows:
            tried = self.tried(template, path)
            (recipient,) = tried.transaction.recipients
            plugin: Any = tried.plugin
            wanted = None if expected is None else self.base / expected
            self.assertEqual(wanted, plugin.mailbox(recipient.address), (template, path))

    def answers(self, tried: Tried) -> dict[str, str]:
        """Give what single recipients were answered: code and status."""
        return {mailbox: f"{reply.code} {reply.status}" for mailbox, reply in tried.answers.items()}

    def test_each(self) -> None:
        """Where each recipient is answered, only those are refused whose Maildir fails, in any step."""
        tried = self.tried("%l", "<a@x>", "<b@x>", "<c@x>", '<".."@x>', "<b@x>", "<d@x>")
        tried.transaction.each = True
        self.base.mkdir(parents=True, exist_ok=True)
        (self.base / "a").touch()
        rename, fsync = os.rename, os.fsync

        def fail(*arguments: Any) -> None:
            if "/c/" in str(arguments[0]):
                raise OSError(errno.EDQUOT, "Disk quota exceeded")
            rename(*arguments)

        def fail_to_sync(descriptor: int) -> None:
            if "/d/new" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(errno.EIO, "Input/output error")
            fsync(descriptor)

        self.patch(os, "rename", fail)
        self.patch(os, "fsync", fail_to_sync)
        # What is made first is synced, too; so it must be there.
        for name in "bcd":
            make_maildir(self.base / name, 0o700)
        answer = tried.ask("queue")
        self.assertEqual(OK("Queued! <1@example.com>"), answer)
        self.assertEqual(
            {"a@x": "452 4.3.0", "c@x": "452 4.3.1", "d@x": "452 4.3.0", '".."@x': "552 5.1.3"},
            self.answers(tried),
        )
        self.assertEqual(["b"], list(self.stored()))
        self.assertTrue(tried.log[-1].startswith(f"pass, {self.base}/b/new/"))

    def test_each_abandoned(self) -> None:
        """A delivery that nobody waits for any more leaves nothing, whoever is answered."""
        tried = self.tried("%l", "<a@x>", "<b@x>")
        tried.transaction.each = True
        answer, deliver = self.waiting(tried)
        answer.cancel()
        self.failureResultOf(answer, ClientGone)
        deliver()
        self.assertEqual({}, self.stored())

    def test_all_or_none(self) -> None:
        """Where one reply is for all, one Maildir that fails is a refusal for all."""
        tried = self.tried("%l", "<b@x>", "<a@x>")
        self.base.mkdir(parents=True, exist_ok=True)
        (self.base / "a").touch()
        answer = tried.ask("queue")
        assert isinstance(answer, Outcome)
        self.assertEqual(("DENYSOFT", {}, {}), (answer.code.name, self.answers(tried), self.stored()))

    def test_bad_directory(self) -> None:
        """A message for an address that cannot be a directory is refused, and stored for nobody."""
        tried = self.tried("%d/%l", "<b@example.org>", '<".."@example.org>')
        answer = tried.ask("queue")
        assert isinstance(answer, Outcome)
        self.assertEqual(("DENY", "5.1.3"), (answer.code.name, answer.status))
        self.assertEqual({}, self.stored())

    def test_return_path(self) -> None:
        """A Return-Path that was there is dropped, folded or not; Delivered-To stays."""
        text = "return-PATH : <x@\n y>\nDelivered-To: z\nReturn-Path: <q>\nX: Return-Path: no\n\nbody\n"
        self.tried("", text=text).ask("queue")
        kept = "Delivered-To: z\nX: Return-Path: no\n\nbody\n"
        top = "Return-Path: <a@example.com>\nDelivered-To: b@example.org\n"
        self.assertEqual({".": top + kept}, self.stored())

    def test_crlf(self) -> None:
        """With crlf the message keeps the line ends with which it came."""
        self.tried("crlf").ask("queue")
        (stored,) = self.stored().values()
        self.assertTrue(stored.endswith("Delivered-To: b@example.org\r\n" + MESSAGE.replace("\n", "\r\n")))

    def test_binary(self) -> None:
        """A message that is not lines keeps all its octets (RFC 3030 section 3)."""
        tried = self.tried()
        assert tried.transaction.body is not None
        tried.transaction.body.write(b"\n\r\r\n\0")
        tried.transaction.parameters = {"BODY": "BinaryMIME"}
        tried.ask("queue")
        (path,) = self.base.glob("new/*")
        self.assertTrue(path.read_bytes().endswith(MESSAGE.replace("\n", "\r\n").encode() + b"\n\r\r\n\0"))

    def test_no_message_id(self) -> None:
        """The reply names no Message-Id that is none."""
        for field in ("X: y", "Message-Id: none", "Message-Id: <a b@c>"):
            self.assertEqual(OK("Queued!"), self.tried("", text=f"{field}\n\n").ask("queue"))

    def test_transaction_unchanged(self) -> None:
        """Whether it is delivered or not, the next plugin sees the message as it was."""
        for fails in (False, True):
            tried = self.tried()
            assert tried.transaction.header is not None
            assert tried.transaction.body is not None
            if fails:
                self.patch(os, "rename", _disk_full)
            tried.ask("queue")
            message = bytes(tried.transaction.header), b"".join(tried.transaction.body.chunks())
            header, _, body = MESSAGE.replace("\n", "\r\n").encode().partition(b"\r\n\r\n")
            self.assertEqual((header + b"\r\n", body), message)

    def test_failures(self) -> None:
        """Any failure delays the message; the client does not learn our directories."""
        for number, status in ((errno.ENOSPC, "4.3.1"), (errno.EDQUOT, "4.3.1"), (errno.EACCES, "4.3.0")):

            def fail(*_: Any, number: int = number) -> None:
                raise OSError(number, "no", str(self.base))

            self.patch(os, "fsync", fail)
            tried = self.tried("%l")
            answer = tried.ask("queue")
            assert isinstance(answer, Outcome)
            self.assertEqual(("DENYSOFT", status), (answer.code.name, answer.status))
            self.assertNotIn(str(self.base), answer.text)
            self.assertIn(str(self.base), tried.log[-1])
            self.assertEqual({}, self.stored())

    def waiting(self, tried: Tried) -> tuple[Deferred[Any], Callable[[], object]]:
        """Ask the plugin with threads that wait; give its answer and what the thread will run."""
        jobs: list[Callable[[], object]] = []

        def run_in_thread(function: Callable[..., object], *arguments: object) -> Deferred[Any]:
            jobs.append(partial(function, *arguments))
            return Deferred()

        plugin: Any = tried.plugin
        plugin.run_in_thread = plugin.batches.run_in_thread = run_in_thread
        answer = tried.begin("queue")
        assert isinstance(answer, Deferred)
        return answer, jobs[0]

    def test_client_gone(self) -> None:
        """What nobody waits for any more, because of the client or of the time limit, is not stored."""
        for limit in (False, True):
            tried = self.tried()
            answer, deliver = self.waiting(tried)
            if limit:
                tried.clock.advance(31)
                self.failureResultOf(answer, TimeLimit)
            else:
                answer.cancel()
                self.failureResultOf(answer, ClientGone)
            deliver()
            self.assertEqual({}, self.stored())

    def test_spool_file_gone(self) -> None:
        """A thread that comes late has the whole message, even if the session has ended."""
        for threshold in (0, 1_000_000):
            tried = self.tried("%l", f"<b{threshold}@example.org>")
            body = tried.transaction.body
            assert body is not None
            body.threshold = threshold
            body.write(b"more\r\n")
            answer, deliver = self.waiting(tried)
            tried.transaction.close()
            deliver()
            self.assertTrue(self.stored()[f"b{threshold}"].endswith(MESSAGE + "more\n"))
            answer.cancel()
            self.failureResultOf(answer, ClientGone)

    def test_start(self) -> None:
        """At the start the Maildir is made, and dead deliveries are removed, below a template too."""
        dead = "1700000000.P1M000001Q1.mail"
        for words, directory in (("", self.base), ("%d/%l", self.base / "example.org/b")):
            self.tried(words).ask("queue")
            path = directory / "tmp" / dead
            path.touch()
            os.utime(path, (0, 0))
            tried = self.tried(words)
            self.assertFalse(path.exists())
            self.assertTrue(any("removed 1 files" in event.text for event in tried.events))

    def test_cannot_start(self) -> None:
        """A Maildir that cannot be made is logged, and made when it can."""
        self.base.parent.mkdir()
        self.base.parent.chmod(0o500)
        self.addCleanup(self.base.parent.chmod, 0o700)
        if os.geteuid() == 0:
            self.patch(Path, "mkdir", _disk_full)
        tried = self.tried()
        self.assertTrue(any("cannot prepare" in event.text for event in tried.events))

    def test_bad_arguments(self) -> None:
        """Bad arguments stop the start."""
        (self.base.parent / "file").mkdir(parents=True)
        (self.base.parent / "file/x").touch()
        rows = ["", "/x y", "/x %l 70", "/x %l 0700", "/x %l 077", "/x ../%l", "/x %l/./x", "/x %l;", "/x %s"]
        for words in [*rows, f"{self.base.parent}/file/x"]:
            self.assertRaises(ConfigError, Tried, f"queue/maildir {words}")

    def test_wire(self) -> None:
        """From the final dot to the file: what was sent, dots and all, under the added fields."""
        server = Server([f"queue/maildir {self.base}"], hooks={"rcpt": lambda: OK})
        reply = server.connect().mail(text="Message-Id: <2@x>\n\n..dot\n  blank \n")
        self.assertEqual("250 2.0.0 Queued! <2@x>", reply.rpartition("\n")[2])
        (stored,) = self.stored().values()
        self.assertTrue(stored.endswith("Message-Id: <2@x>\n\n.dot\n  blank \n\n"))
        self.assertEqual(1, stored.count("Return-Path: <a@example.com>"))

    def test_declines_nothing(self) -> None:
        """Nothing is left to the next queue plugin."""
        self.assertNotEqual(DECLINED, self.tried().ask("queue"))


def _disk_full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
