"""Maildirs as directories: made durably, with names for their files, and rid of what died.

It must not know what a message is; `maildirdelivery` does. All of it blocks: run it in a thread.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

STALE: Final = 36 * 3600
"""Seconds after which a file in ``tmp`` is a delivery that died."""

_NAME: Final = re.compile(r"\d+\.P\d+M\d{6}Q\d+\..+")
_deliveries = itertools.count(1)
_making = threading.Lock()


def unique_name() -> str:
    """Make a name that no other delivery on this host, nor on another, has: second, process, count, host."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{seconds}.P{os.getpid()}M{nanoseconds // 1000:06}Q{next(_deliveries)}.{_host()}"


def _host() -> str:
    # The separators of directories, and of a file's flags, in the spelling of Maildir's author.
    return socket.gethostname().replace("/", r"\057").replace(":", r"\072")


def make_maildir(directory: Path, mode: int) -> None:
    """Create what is missing of a Maildir, and the directories above it, durably."""
    # Who finds tmp delivers: it comes last, when all others are durable.
    with _making:
        for name in ("cur", "new", "tmp"):
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


def sync_directory(path: str | Path) -> None:
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
