"""Whether something can be made or written at a path, found out without trying."""

from __future__ import annotations

import os
from pathlib import Path


def place_trouble(path: Path) -> str:
    """Tell what keeps this user from making a file or directory there, "" for nothing.

    Directories that are missing can be made.
    """
    if path.is_symlink() and not path.exists():
        return f"{path} is a link that leads nowhere"
    directory = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    return directory_trouble(directory)


def directory_trouble(directory: Path) -> str:
    """Tell what keeps this user from making files in a directory, "" for nothing."""
    return writing_trouble(directory) if directory.is_dir() else f"{directory} is not a directory"


def writing_trouble(path: Path) -> str:
    """Tell whether this user may read and write what is at a path, "" if so."""
    effective = os.access in os.supports_effective_ids
    allowed = os.access(path, os.R_OK | os.W_OK, effective_ids=effective)
    return "" if allowed else f"{path} cannot be written by this user"
