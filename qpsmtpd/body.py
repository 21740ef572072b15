"""The body of a message, what comes behind the separator: in memory, or in a spool file when it grows.

Knows octets and a directory. It must not know what they mean, nor who reads them.
"""

import io
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

CHUNK: Final = 65536
"""Octets handed out at a time."""

SMALL: Final = 512
"""Octets of a piece that is not kept as it is: Python takes 40 octets more for each."""


class Body:
    """Take octets, keep them, and give them back any number of times.

    Less than ``threshold`` octets are held in memory; with 0 every body is spooled. ``on_spool`` is called
    once, when a file is needed. Nothing here raises OSError while writing: the first one is kept in
    ``failed``, what was stored is dropped, and so is all that follows (the message must be read to its
    end before it can be refused). ``path`` is the spool file, which ``close`` removes.
    """

    __slots__ = (
        "_directory",
        "_file",
        "_on_spool",
        "_pieces",
        "failed",
        "is_8bit",
        "path",
        "size",
        "threshold",
    )

    def __init__(self, directory: Path, threshold: int, on_spool: Callable[[], None] | None = None) -> None:
        self._directory = directory
        self._on_spool = on_spool
        self._pieces: list[bytes | bytearray] = []
        self._file: BinaryIO | None = None
        self.threshold = threshold
        self.path: Path | None = None
        self.size = 0  # octets written, whether they could be kept or not
        self.is_8bit = False
        self.failed: OSError | None = None

    @property
    def spooled(self) -> bool:
        """Tell whether the octets are in a file."""
        return self.path is not None

    def write(self, octets: bytes) -> None:
        """Append octets."""
        self.size += len(octets)
        if not (self.is_8bit or octets.isascii()):
            self.is_8bit = True
        if self.failed or not octets:
            return
        if self._file is None:
            self._keep(octets)
            if self.size >= self.threshold:
                self.spool()
        else:
            self._write_file(octets)

    def spool(self) -> None:
        """Move to a spool file now, for a reader that needs one."""
        if self.path or self.failed:
            return
        if self._on_spool:
            self._on_spool()
        name = f"{int(time.time())}:{os.getpid()}:{secrets.token_hex(8)}"
        path = self._directory / name
        try:
            self._file = _create(path)
        except OSError as error:
            self._fail(error)
            return
        self.path = path
        pieces, self._pieces = self._pieces, []
        self._write_file(b"".join(pieces))

    def finish(self) -> None:
        """Make sure that all octets are where readers look for them."""
        if self._file:
            try:
                self._file.flush()
            except OSError as error:
                self._fail(error)
        elif len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]

    def open(self) -> BinaryIO:
        """Return a new reader, at the start; the caller closes it."""
        self.finish()
        return self.path.open("rb") if self.path else io.BytesIO(b"".join(self._pieces))

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """Iterate over the octets, at most ``size`` at a time."""
        with self.open() as reader:
            while octets := reader.read(size):
                yield octets

    def lines(self) -> Iterator[bytes]:
        """Iterate over the lines with their line ends; a line has no limit but the size of the body."""
        with self.open() as reader:
            yield from reader

    def close(self) -> None:
        """Forget the octets and remove the file; readers that are open may go on."""
        file, self._file = self._file, None
        path, self.path = self.path, None
        self._pieces = []
        # A disk that failed may fail again, or be read-only by now; what is lost here is nobody's.
        if file:
            with suppress(OSError):
                file.close()
        if path:
            with suppress(OSError):
                path.unlink()

    def _keep(self, octets: bytes) -> None:
        """Hold a piece in memory; however small they come, all take hardly more than their octets."""
        if len(octets) >= SMALL or not self._pieces:
            self._pieces.append(octets)
            return
        last = self._pieces[-1]
        if isinstance(last, bytes):
            last = self._pieces[-1] = bytearray(last)
        last += octets

    def _write_file(self, octets: bytes) -> None:
        assert self._file
        try:
            self._file.write(octets)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failed = error
        self.close()


def _create(path: Path) -> BinaryIO:
    """Create a file that was not there and that nobody else may read."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb", CHUNK)
