"""The processes of a server, and who may be one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness import Server, wait_until

NOBODY_RUNS_PYTHON = (
    os.getuid() == 0
    and not subprocess.run(
        ["/bin/sh", "-c", '"$0" -c 1 2>/dev/null', sys.executable], user="nobody", check=False
    ).returncode
)


def children(pid: int) -> list[int]:
    """List the processes that a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_for_workers(server: Server, number: int) -> None:
    """Wait until so many are ready: they have left the standard error behind that they began with."""
    wait_until(lambda: len(_ready(server.pid)) == number, "all workers are ready")


def _ready(parent: int) -> list[int]:
    found = []
    for pid in children(parent):
        try:
            same = Path(f"/proc/{pid}/fd/2").readlink() == Path(f"/proc/{parent}/fd/2").readlink()
        except OSError:
            continue
        found += [pid] if same else []
    return found
