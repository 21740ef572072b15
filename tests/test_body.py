"""A body gives back what was written, from memory or from a file, and says when it could not keep it."""

import errno
import secrets
import stat
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from qpsmtpd import body as module
from qpsmtpd.body import Body

TEXT = b"line 1\r\nline 2\r\n\r\nlast"


class BodyTest(SynchronousTestCase):
    """Bodies in memory and in a file."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def body(self, threshold: int, *pieces: bytes) -> Body:
        """Make a body and write it."""
        body = Body(self.directory, threshold)
        self.addCleanup(body.close)
        for piece in pieces:
            body.write(piece)
        return body

    def bodies(self, *pieces: bytes) -> list[Body]:
        """Make the same body in memory, in a file from the start, and in a file later."""
        return [self.body(threshold, *pieces) for threshold in (1000, 0, 10)]

    def test_read(self) -> None:
        """What was written is read, any number of times, in pieces or in lines."""
        for body in self.bodies(TEXT[:5], TEXT[5:9], TEXT[9:]):
            body.finish()
            for _ in range(2):
                self.assertEqual(TEXT, b"".join(body.chunks()))
                self.assertEqual([TEXT[:10], TEXT[10:20], TEXT[20:]], list(body.chunks(10)))
                self.assertEqual([b"line 1\r\n", b"line 2\r\n", b"\r\n", b"last"], list(body.lines()))
            self.assertEqual(len(TEXT), body.size)

    def test_open(self) -> None:
        """Readers have places of their own."""
        for body in self.bodies(TEXT):
            with body.open() as one, body.open() as two:
                self.assertEqual(b"line", one.read(4))
                self.assertEqual(TEXT, two.read())
                self.assertEqual(b" 1", one.read(2))
                one.seek(0)
                self.assertEqual(b"line 1\r\n", one.readline())

    def test_read_while_writing(self) -> None:
        """A reader finds what was written before it was opened."""
        for body in self.bodies(b"some octets"):
            self.assertEqual(b"some octets", b"".join(body.chunks()))
            body.write(b", more")
            self.assertEqual(b"some octets, more", b"".join(body.chunks()))

    def test_empty(self) -> None:
        """An empty body needs no file."""
        for body in self.bodies(b""):
            body.finish()
            self.assertEqual((0, False, []), (body.size, body.spooled, list(body.chunks())))

    def test_small_pieces(self) -> None:
        """However small the pieces, they take hardly more memory than their octets."""
        body = self.body(10**6, b"x" * 2000, *[b"%02d" % (n % 100) for n in range(1000)], b"y" * 2000, b"zz")
        self.assertLess(sum(map(sys.getsizeof, body._pieces)), 2 * body.size)
        whole = b"x" * 2000 + b"%02d" * 1000 % tuple(n % 100 for n in range(1000)) + b"y" * 2000 + b"zz"
        self.assertEqual(whole, b"".join(body.chunks()))

    def test_threshold(self) -> None:
        """The file is made when the threshold is reached, and told of once."""
        told: list[int] = []
        body = Body(self.directory, 10, on_spool=lambda: told.append(body.size))
        self.addCleanup(body.close)
        for piece, spooled in ((b"123456789", False), (b"0", True), (b"more", True)):
            body.write(piece)
            self.assertEqual(spooled, body.spooled)
        self.assertEqual([10], told)

    def test_spool(self) -> None:
        """A reader that needs a file gets one, and only one."""
        body = self.body(1000, b"abc")
        body.spool()
        body.spool()
        body.write(b"def")
        body.finish()
        assert body.path
        self.assertEqual(b"abcdef", body.path.read_bytes())
        self.assertEqual([body.path], list(self.directory.iterdir()))

    def test_file(self) -> None:
        """The file is in the spool directory, for its owner only, and complete after finish."""
        body = self.body(0, b"abc")
        body.finish()
        assert body.path
        self.assertEqual(self.directory, body.path.parent)
        self.assertEqual(0o600, stat.S_IMODE(body.path.stat().st_mode))
        self.assertEqual(b"abc", body.path.read_bytes())
        self.assertNotEqual(body.path, self.body(0, b"abc").path)

    def test_close(self) -> None:
        """Closing removes the file and forgets the octets; open readers may go on; twice is once."""
        for body in self.bodies(TEXT):
            with body.open() as reader:
                body.close()
                body.close()
                self.assertEqual(TEXT, reader.read())
            self.assertEqual([], list(body.chunks()))
        self.assertEqual([], list(self.directory.iterdir()))

    def test_close_without_file(self) -> None:
        """A file that is gone, with its directory, is no error."""
        body = self.body(0, TEXT)
        assert body.path
        body.path.unlink()
        self.directory.rmdir()
        body.close()
        self.assertIsNone(body.path)

    def test_8bit(self) -> None:
        """One octet with the high bit makes the body 8-bit."""
        for pieces, is_8bit in (((TEXT,), False), ((b"a", b"\xe9", b"b"), True), ((b"\x7f\0",), False)):
            for body in self.bodies(*pieces):
                self.assertEqual(is_8bit, body.is_8bit)


class FailureTest(SynchronousTestCase):
    """What cannot be stored is remembered, not raised (Q28)."""

    def assert_dropped(self, body: Body, number: int) -> None:
        """The error is known, nothing is kept, more may come."""
        body.write(b"more")
        body.finish()
        body.spool()
        assert body.failed
        self.assertEqual(number, body.failed.errno)
        self.assertEqual(([], None, 8), (list(body.chunks()), body.path, body.size))

    def test_no_directory(self) -> None:
        """The spool file could not be made."""
        body = Body(Path(self.mktemp()), 0)
        body.write(b"text")
        self.assert_dropped(body, errno.ENOENT)

    def test_disk_full(self) -> None:
        """The octets could not be written; the file is removed."""
        if not Path("/dev/full").exists():
            raise SkipTest("no /dev/full")
        for buffering in (0, -1):  # the error comes with the write, or with the flush
            directory = Path(self.mktemp())
            directory.mkdir()

            def create(path: Path, buffering: int = buffering) -> object:
                path.touch()
                return Path("/dev/full").open("wb", buffering)

            self.patch(module, "_create", create)
            body = Body(directory, 0)
            body.write(b"text")
            self.assertEqual(buffering == 0, body.failed is not None)
            body.finish()
            self.assert_dropped(body, errno.ENOSPC)
            self.assertEqual([], list(directory.iterdir()))

    def test_name_taken(self) -> None:
        """A file that is there already is never written to."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.patch(secrets, "token_hex", lambda size: "same")
        self.patch(time, "time", lambda: 0)
        first, second = Body(directory, 0), Body(directory, 0)
        self.addCleanup(first.close)
        first.write(b"first")
        second.write(b"text")
        self.assert_dropped(second, errno.EEXIST)
        self.assertEqual(b"first", b"".join(first.chunks()))
