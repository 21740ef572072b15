"""The spool directory: made when the server starts, rid of what a killed server left."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

NAME = re.compile(r"\d+:(\d+):[0-9a-f]{16}")
"""A spool file: time, process id, and what makes it unique."""


def prepare_spool(directory: Path, mode: int, warn: Callable[[str], None]) -> None:
    """Make the directory for nobody else to read, and remove files whose process is gone. Raises OSError."""
    if not directory.is_dir():
        directory.mkdir(mode=mode, parents=True)
        directory.chmod(mode)
    elif directory.stat().st_mode & 0o777 != mode:
        warn(f"Permissions on spool_dir {directory} are not 0{mode:o}")
    for path in directory.iterdir():
        match = NAME.fullmatch(path.name)
        if match and not _lives(int(match[1])):
            path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is somebody else's
    return process != os.getpid()  # nothing is ours yet: the number was used before
