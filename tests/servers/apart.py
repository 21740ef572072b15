"""Programs of Debian packages that cannot be installed beside Postfix; `.ci/run` unpacks them."""

from __future__ import annotations

from pathlib import Path

from harness import ROOT


def program(package: str, path: str) -> Path:
    """Give the program at this path of a package; fail, not skip, when it is missing."""
    found = ROOT / ".cache" / "apart" / package / path
    if not found.exists():
        raise AssertionError(f"{package} is not unpacked; .ci/run does so")
    return found
