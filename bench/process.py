"""What /proc knows about a server and all its descendants: CPU time and memory. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PPID, _UTIME, _CHILD_STIME = 1, 11, 14  # of the fields behind the command's name, see proc(5)


@dataclass(frozen=True, slots=True)
class CPU:
    """CPU time in seconds."""

    user: float = 0.0
    system: float = 0.0

    @property
    def total(self) -> float:
        """Both together."""
        return self.user + self.system

    def since(self, before: CPU) -> CPU:
        """Tell what was used since then."""
        return CPU(self.user - before.user, self.system - before.system)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """List a process and its descendants, as far as they still run."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a thousand Path objects, ten times a second
        if entry.isdigit():
            with suppress(OSError):  # it has ended in between
                children.setdefault(int(_stat(int(entry))[_PPID]), []).append(int(entry))
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, ())
    return found


def cpu(pids: Iterable[int]) -> CPU:
    """Sum what the processes used, and what those of their children that have ended used."""
    user = system = 0.0
    for pid in pids:
        with suppress(OSError):
            times = [int(field) / _TICKS for field in _stat(pid)[_UTIME : _CHILD_STIME + 1]]
            exactly = _exactly(pid, times[0] + times[1])
            user += times[0] * exactly + times[2]
            system += times[1] * exactly + times[3]
    return CPU(user, system)


def _exactly(pid: int, seconds: float) -> float:
    """Give the factor that makes of a time in ticks the one that the scheduler has counted, to the ns."""
    counted = (
        sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    )
    # A thread that has ended is in the ticks only.
    return counted / seconds if seconds and abs(counted - seconds) < 2 / _TICKS else 1.0


def machine_cpu() -> float:
    """Give the seconds that all CPUs together were busy, with whatever work, since the start."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _field(pid: int, file: str, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0


def resident(pids: list[int]) -> int:
    """Give the KiB of memory in use; what several processes share counts once."""
    if len(pids) == 1:
        return _field(pids[0], "status", "VmRSS:")
    return sum(_field(pid, "smaps_rollup", "Pss:") for pid in pids)


def peak(pids: list[int]) -> int:
    """Give the most KiB a process ever used since `forget_peak`; of several processes, what they use now."""
    return _field(pids[0], "status", "VmHWM:") if len(pids) == 1 else resident(pids)


def forget_peak(pids: list[int]) -> None:
    """Let the peak begin anew."""
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")
