"""Deliver into Maildirs: a message is in ``new`` as a whole or not at all, and stays once that was said.

Knows directories and octets. It must not know whose message it is. All of it blocks: run it in a thread.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

CHUNK: Final = 65536
"""Octets read at a time."""

STALE: Final = 36 * 3600
"""Seconds after which a file in ``tmp`` is a delivery that died."""

_NAME: Final = re.compile(r"\d+\.P\d+M\d{6}Q\d+\..+")
_deliveries = itertools.count(1)
_making = threading.Lock()


class Abandoned(Exception):  # noqa: N818 - says what happened
    """Nobody waits for the delivery any more, so it was not made."""


class Delivery:
    """One message on its way into Maildirs: for each copy a directory and the octets on top of the body.

    ``mode`` is that of the directories, files lack its execute bits. ``body`` is read from its start for each
    copy and closed in the end. CRLF becomes LF unless ``crlf`` is set. Set ``abandoned`` when nobody waits.
    """

    __slots__ = ("_body", "_copies", "_crlf", "_mode", "_written", "abandoned")

    def __init__(
        self, copies: Sequence[tuple[Path, bytes]], body: BinaryIO, *, mode: int = 0o700, crlf: bool = False
    ) -> None:
        self._copies = copies
        self._body = body
        self._mode = mode
        self._crlf = crlf
        self._written: list[Path] = []
        self.abandoned = False

    def run(self) -> list[Path]:
        """Deliver all copies and give their files; on OSError or Abandoned none is left."""
        try:
            with self._body:
                paths = [self._write(directory, head) for directory, head in self._copies]
            self._go_on()
            return _link(paths)
        finally:
            _remove(self._written)

    def run_each(self) -> list[Path | OSError]:
        """Deliver each copy by itself; give its file, or why there is none. On Abandoned none is left."""
        try:
            with self._body:
                written = [_try(self._write, directory, head) for directory, head in self._copies]
            self._go_on()
            return [path if isinstance(path, OSError) else _try(_link_one, path) for path in written]
        finally:
            _remove(self._written)

    def _go_on(self) -> None:
        if self.abandoned:
            raise Abandoned

    def _write(self, directory: Path, head: bytes) -> Path:
        """Write a copy that nobody sees yet, durably."""
        self._go_on()
        make_maildir(directory, self._mode)
        path = directory / "tmp" / unique_name()
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._written.append(path)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, self._mode & 0o666)
            self._body.seek(0)
            pieces = itertools.chain([head], iter(lambda: self._body.read(CHUNK), b""))
            file.writelines(pieces if self._crlf else to_lf(pieces))
            file.flush()
            os.fsync(descriptor)
        return path


def _link(paths: Sequence[Path]) -> list[Path]:
    """Make copies visible, when each is whole, and their names durable; on OSError none is left."""
    linked: list[Path] = []
    try:
        for path in paths:
            new = path.parent.parent / "new" / path.name
            os.link(path, new)
            linked.append(new)
        for directory in {path.parent for path in linked}:
            sync_directory(directory)
    except BaseException:
        _remove(linked)
        raise
    return linked


def _link_one(path: Path) -> Path:
    return _link([path])[0]


def _try(step: Callable[..., Path], *arguments: object) -> Path | OSError:
    try:
        return step(*arguments)
    except OSError as error:
        return error


def to_lf(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Turn each CRLF into LF, also one that two pieces share."""
    held = b""
    for piece in pieces:
        octets = held + piece if held else piece
        held = b"\r" if octets.endswith(b"\r") else b""
        yield octets[: len(octets) - len(held)].replace(b"\r\n", b"\n")
    yield held


def unique_name() -> str:
    """Make a name that no other delivery on this host, nor on another, has: second, process, count, host."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{seconds}.P{os.getpid()}M{nanoseconds // 1000:06}Q{next(_deliveries)}.{_host()}"


def _host() -> str:
    # The separators of directories, and of a file's flags, in the spelling of Maildir's author.
    return socket.gethostname().replace("/", r"\057").replace(":", r"\072")


def make_maildir(directory: Path, mode: int) -> None:
    """Create what is missing of a Maildir, and the directories above it, durably."""
    # The lock keeps others from delivering into a directory that is there, but not yet durable.
    with _making:
        for name in ("cur", "tmp", "new"):
            _make_directory(directory / name, mode)


def _make_directory(path: Path, mode: int) -> None:
    if path.is_dir():
        return
    _make_directory(path.parent, mode)
    try:
        path.mkdir(mode)
    except FileExistsError:  # another process was faster, if it is a directory
        if not path.is_dir():
            raise
    else:
        # Whatever the umask; the group that a directory hands down stays.
        path.chmod(mode | (path.stat().st_mode & stat.S_ISGID))
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(directory: Path) -> int:
    """Remove what deliveries of ours that died long ago left in a ``tmp`` directory; tell how many."""
    removed, limit = 0, time.time() - STALE
    for path in directory.iterdir():
        with suppress(OSError):
            if _NAME.fullmatch(path.name) and path.stat().st_mtime < limit:
                path.unlink()
                removed += 1
    return removed


def _remove(paths: list[Path]) -> None:
    for path in paths:
        # What stays in tmp is nobody's message; a reader may have moved what was in new.
        with suppress(OSError):
            path.unlink()
