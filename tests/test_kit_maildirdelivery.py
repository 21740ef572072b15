"""A delivery is made as a whole or not at all, whatever fails and whenever the server dies."""

import errno
import io
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit import maildirdelivery
from qpsmtpd.kit.maildir import make_maildir
from qpsmtpd.kit.maildirdelivery import Delivery, deliver, to_lf

HEAD, HEADER, BODY = b"Delivered-To: b\r\n", b"Subject: x\r\n\r\n", b"line\r\n\r\nlast\r\n"
WHOLE = b"Delivered-To: b\nSubject: x\n\nline\n\nlast\n"
STEPS = ("open", "write", "fsync", "rename", "unlink", "mkdir")


def count_files() -> int:
    """Count the files that are open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def failing(number: int, error: Exception) -> Callable[[str], None]:
    """Make a function that fails when it is called for the so many-th time."""
    calls = itertools.count(1)

    def fail(name: str) -> None:
        if next(calls) == number:
            raise error

    return fail


class Killed(BaseException):
    """The end of the process: no system call after it."""


class DeliveryTests(SynchronousTestCase):
    """Into two Maildirs, ``a`` and ``b``."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()

    def delivery(self, *names: str, **options: Any) -> Delivery:
        """Begin a delivery into these Maildirs."""
        copies = [(self.base / name, HEAD) for name in names or ("a", "b")]
        return Delivery(copies, HEADER, io.BytesIO(BODY), **options)

    def stored(self, part: str = "new") -> list[bytes]:
        """Give the messages that readers see."""
        return [path.read_bytes() for path in self.base.glob(f"*/{part}/*")]

    def delivered(self, *deliveries: Delivery) -> list[Path]:
        """Deliver; give the files, or raise the first error."""
        deliver(deliveries)
        results = [result for delivery in deliveries for result in delivery.results]
        for result in results:
            if isinstance(result, OSError):
                raise result
        return [Path(result) for result in results if isinstance(result, str)]

    def run_with(self, step: Callable[[str], None], *deliveries: Delivery) -> list[Path]:
        """Deliver into Maildirs that are there; call a function before each step that changes something."""
        for name in "ab":
            make_maildir(self.base / name, 0o700)

        def observed(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                step(name)
                return real(*args, **kwargs)

            return call

        patches = [(os, name, observed(name, getattr(os, name))) for name in STEPS]
        run: Any = MonkeyPatcher(*patches).runWithPatches
        return run(self.delivered, *(deliveries or (self.delivery(),)))  # type: ignore[no-any-return]

    def count_steps(self) -> int:
        """Count the steps of a delivery."""
        steps: list[str] = []
        for path in self.run_with(steps.append):
            path.unlink()
        return len(steps)

    def test_delivered(self) -> None:
        """Each Maildir has the message, with LF, and nothing is left in tmp."""
        files = self.delivered(self.delivery())
        self.assertEqual([WHOLE, WHOLE], [path.read_bytes() for path in files])
        self.assertEqual(["a", "b"], [path.parent.parent.name for path in files])
        self.assertEqual([], self.stored("tmp"))

    def test_crlf(self) -> None:
        """With crlf the octets stay."""
        self.delivered(self.delivery("a", crlf=True))
        self.assertEqual([HEAD + HEADER + BODY], self.stored())

    def test_synced(self) -> None:
        """Each file is synced before one is moved, and each directory once after that, for all deliveries."""
        written, synced = ["open", "write"], ["open", "fsync"]
        for number in (1, 3):
            steps: list[str] = []
            self.run_with(steps.append, *(self.delivery() for _ in range(number)))
            files = 2 * number
            self.assertEqual(
                [*written * files, *["fsync"] * files, *["rename"] * files, *synced * 2], steps, number
            )

    def test_short_writes(self) -> None:
        """What the system writes in pieces is written to its end, with the line ends that it should have."""
        write = os.write
        self.patch(os, "write", lambda descriptor, octets: write(descriptor, octets[:3]))
        self.patch(maildirdelivery, "CHUNK", 5)
        self.assertEqual([WHOLE, WHOLE], [path.read_bytes() for path in self.delivered(self.delivery())])

    def test_many(self) -> None:
        """However many copies there are, few are open at a time."""
        before, most = count_files(), []

        def count(name: str) -> None:
            if name == "fsync":
                most.append(count_files())

        self.patch(maildirdelivery, "MAX_OPEN", 3)
        files = self.run_with(count, self.delivery(*"ab" * 4), self.delivery(*"ab"))
        self.assertEqual([WHOLE] * 10, [file.read_bytes() for file in files])
        self.assertEqual(3, max(most) - before)

    def test_modes(self) -> None:
        """Directories have the mode, files lack its execute bits; the umask does not matter."""
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        for mode, file_mode in ((0o700, 0o600), (0o770, 0o660), (0o755, 0o644)):
            file = self.delivered(self.delivery(f"{mode:o}/user", mode=mode))[0]
            modes = [stat.S_IMODE(path.stat().st_mode) for path in (file, *list(file.parents)[:3])]
            self.assertEqual([file_mode, mode, mode, mode], modes)

    def test_group(self) -> None:
        """The group that a directory hands down stays."""
        self.base.chmod(0o2700)
        make_maildir(self.base / "a", 0o770)
        self.assertEqual(0o2770, stat.S_IMODE((self.base / "a/new").stat().st_mode))

    def test_failure(self) -> None:
        """Whichever step fails, no copy is left, not even in tmp."""
        total = self.count_steps()
        for number in range(1, total + 1):
            fail = failing(number, OSError(errno.ENOSPC, "No space left on device"))
            self.assertRaises(OSError, self.run_with, fail)
            self.assertEqual([], self.stored() + self.stored("tmp"), number)

    def test_each(self) -> None:
        """One by one, whichever step fails costs one copy at most, and leaves nothing of it."""
        total = self.count_steps()
        for number in range(1, total + 1):
            delivery = self.delivery(each=True)
            fail = failing(number, OSError(errno.ENOSPC, "No space left on device"))
            self.assertRaises(OSError, self.run_with, fail, delivery)
            files = delivery.results
            self.assertEqual([True, False], sorted(isinstance(one, str) for one in files)[::-1], number)
            self.assertEqual(([WHOLE], []), (self.stored(), self.stored("tmp")), number)
            for file in files:
                if isinstance(file, str):
                    Path(file).unlink()

    def test_together(self) -> None:
        """Of deliveries made together one fails alone, whichever step fails; but a directory is for all."""
        make_maildir(self.base / "c", 0o700)
        steps: list[str] = []
        self.run_with(steps.append, self.delivery("a"), self.delivery("c"))
        for number in range(1, len(steps) + 1):
            for file in self.base.glob("*/new/*"):
                file.unlink()
            one, other = self.delivery("a"), self.delivery("c")
            fail = failing(number, OSError(errno.EIO, "Input/output error"))
            self.assertRaises(OSError, self.run_with, fail, one, other)
            results = [*one.results, *other.results]
            self.assertEqual(1, sum(isinstance(result, str) for result in results), number)
            self.assertEqual(([WHOLE], []), (self.stored(), self.stored("tmp")), number)

    def test_directory_for_all(self) -> None:
        """A directory that cannot be synced keeps nobody's message."""
        synced = itertools.count(1)

        def fail(name: str) -> None:
            if name == "fsync" and next(synced) == 3:
                raise OSError(errno.EIO, "Input/output error")

        one, other = self.delivery("a"), self.delivery("a")
        self.assertRaises(OSError, self.run_with, fail, one, other)
        self.assertEqual(["EIO"] * 2, [errno.errorcode[found.errno] for found in one.results + other.results])
        self.assertEqual([], self.stored() + self.stored("tmp"))

    def test_directory_removed(self) -> None:
        """A part of a Maildir that somebody removes meanwhile is made again."""

        steps: list[str] = []

        def remove(name: str) -> None:
            steps.append(name)
            if steps.count("rename") == 1 and name == "rename":
                (self.base / "a/new").rmdir()

        self.assertEqual([WHOLE], [file.read_bytes() for file in self.run_with(remove, self.delivery("a"))])

    def test_no_advice(self) -> None:
        """A file system that takes no advice, or a system without it, stores as well."""

        def refuse(*_: int) -> None:
            raise OSError(errno.ENOSYS, "Function not implemented")

        self.patch(os, "posix_fadvise", refuse)
        self.delivered(self.delivery())
        del os.posix_fadvise
        self.delivered(self.delivery())
        self.assertEqual([WHOLE] * 4, self.stored())

    def test_broken(self) -> None:
        """What is no failure of a file is raised, and leaves nothing of any delivery, wherever it happens."""
        total = self.count_steps()
        for number in range(1, total + 1):
            self.assertRaises(MemoryError, self.run_with, failing(number, MemoryError()))
            self.assertEqual([], self.stored() + self.stored("tmp"), number)

    def test_kill(self) -> None:
        """Killed before any step, a server leaves whole messages only, and none before it has synced them."""
        for number in range(1, self.count_steps() + 1):
            steps = itertools.count(1)

            def kill(name: str, number: int = number, steps: Any = steps) -> None:
                if next(steps) >= number:
                    raise Killed

            self.assertRaises(Killed, self.run_with, kill)
            messages = self.stored()
            self.assertEqual([WHOLE] * len(messages), messages)
            self.assertEqual(number > 7, bool(messages), number)

    def test_abandoned(self) -> None:
        """Who waits no more gets nothing: neither before nor behind the writing."""
        early, late = self.delivery(), self.delivery()
        early.abandon()

        def leave(name: str) -> None:
            if name == "fsync":
                late.abandon()

        self.assertRaises(OSError, self.delivered, early)
        self.assertRaises(OSError, self.run_with, leave, late)
        self.assertEqual([], self.stored() + self.stored("tmp"))

    def test_closes_body(self) -> None:
        """The reader is closed, also when the delivery fails."""
        (self.base / "file").touch()
        for name, fails in (("a", False), ("file/b", True)):
            body = io.BytesIO(BODY)
            delivery = Delivery([(self.base / name, HEAD)], HEADER, body)
            if fails:
                self.assertRaises(OSError, self.delivered, delivery)
            else:
                self.delivered(delivery)
            self.assertTrue(body.closed)


class LineEndTests(SynchronousTestCase):
    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"", b"\r\r\n"]), max_size=8))
    def test_pieces(self, pieces: list[bytes]) -> None:
        """The pieces in which a message comes make no difference."""
        self.assertEqual(b"".join(pieces).replace(b"\r\n", b"\n"), b"".join(to_lf(iter(pieces))))
