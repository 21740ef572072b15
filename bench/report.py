"""From samples to one Markdown table: medians, and our engine in proportion to each peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from loads import LOADS, Idle, Sample

ENGINE = "qpsmtpd"
WORKERS = "qpsmtpd, 2 workers"
CPU_GOALS = {
    "A": {"Haraka": 0.20, "aiosmtpd": 0.33, "smtp-sink": 2.0},
    "B": {"Haraka": 0.20, "aiosmtpd": 0.20, "smtp-sink": 1.5},
    "C": {"Haraka": 0.33, "aiosmtpd": 0.12, "smtp-sink": 0.65},
    "D": {"Haraka": 0.25, "aiosmtpd": 0.15, "smtp-sink": 1.0},
    "T": {"Haraka": 1.0, "aiosmtpd": 1.0},
    "M": {"Postfix": 0.5},
    "P": {"Haraka": 1.0},
}
"""The CPU time of our engine for a message, in proportion to a peer's: not more than this."""

CPU_FLOORS = {"WB": {WORKERS: 0.91}, "WD": {WORKERS: 0.91}}
"""The CPU time of one process, in proportion to that of workers: not less than this."""

SPEED_GOALS = {"I": {"qpsmtpd, uncrowded": 0.8}, "IA": {"qpsmtpd, uncrowded": 0.8}, "M": {"Postfix": 1.0}}
"""The messages a second of our engine, in proportion to a peer's: not less than this."""

MEMORY_GOALS = {"C": 80.0}
"""MB of our engine's process: not more than this."""

SESSION_GOALS = {"E": 8.0, "S": 20.0}
"""KiB of our engine for each idle session: not more than this."""

_MISSED = "**"

HEADINGS = (
    "load",
    "server",
    "messages/s",
    "handshakes/s",
    "CPU ms each",
    "of it system",
    "spread",
    "MB/s",
    "memory MB",
    "KiB per session",
    "engine's CPU ÷ this",
    "engine's speed ÷ this",
)

Results = Mapping[tuple[str, str], Sequence[Sample] | Idle]
"""By load and server."""


def cpu_each(samples: Sequence[Sample]) -> float:
    """Give the median of the CPU time for a message, in milliseconds."""
    return median(1000 * sample.cpu.total / sample.count for sample in samples)


def speed(samples: Sequence[Sample]) -> float:
    """Give the median of the messages a second."""
    return median(sample.count / sample.seconds for sample in samples)


def table(results: Results) -> str:
    """Write the table."""
    rows = [HEADINGS, tuple("---" for _ in HEADINGS)]
    rows += [_row(letter, name, results) for letter, name in results]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(letter: str, name: str, results: Results) -> tuple[str, ...]:
    found, engine = results[letter, name], results.get((letter, ENGINE))
    if isinstance(found, Idle):
        ratio = f"{engine.each / found.each:.2f} (memory)" if isinstance(engine, Idle) and found.each else ""
        memory = f"{_megabytes(found.with_them):.0f} ({found.sessions})"
        each = _judged(found.each, ".1f", most=SESSION_GOALS.get(letter) if name == ENGINE else None)
        return (letter, name, *[""] * 6, memory, each, "" if name == ENGINE else ratio, "")
    load = LOADS[letter]
    rate = speed(found)
    cpus = [1000 * sample.cpu.total / sample.count for sample in found]
    system = median(sample.cpu.system / (sample.cpu.total or 1) for sample in found)
    memory = _megabytes(max(sample.peak for sample in found))
    return (
        letter,
        name,
        _short(rate) if load.size else "",
        "" if load.size else _short(rate),
        _short(cpu_each(found)),
        f"{system:.0%}",
        f"±{(max(cpus) - min(cpus)) / 2 / (median(cpus) or 1):.0%}",
        f"{rate * load.size / 1e6:.1f}" if load.size else "",
        _judged(memory, ".0f", most=MEMORY_GOALS.get(letter) if name == ENGINE else None),
        "",
        *_ratios(letter, name, found, engine),
    )


def _ratios(letter: str, name: str, found: Sequence[Sample], engine: object) -> tuple[str, str]:
    if name == ENGINE or not isinstance(engine, Sequence):
        return "", ""
    cpu = cpu_each(engine) / (cpu_each(found) or 1)
    most, floor = (goals.get(letter, {}).get(name) for goals in (CPU_GOALS, CPU_FLOORS))
    least = SPEED_GOALS.get(letter, {}).get(name)
    return _judged(cpu, ".2f", most, floor), _judged(speed(engine) / speed(found), ".2f", least=least)


def _judged(value: float, form: str, most: float | None = None, least: float | None = None) -> str:
    """Write a figure with its goal behind it, in bold when it is missed."""
    text = format(value, form)
    if most is not None:
        return f"{text} ≤ {most:g}" if value <= most else f"{_MISSED}{text} > {most:g}{_MISSED}"
    if least is not None:
        return f"{text} ≥ {least:g}" if value >= least else f"{_MISSED}{text} < {least:g}{_MISSED}"
    return text


def verdict(results: Results) -> str:
    """Name the goals that are missed."""
    missed = [
        f"{letter}, {name}: {heading} {cell.strip(_MISSED)}"
        for letter, name in results
        for heading, cell in zip(HEADINGS, _row(letter, name, results), strict=True)
        if cell.startswith(_MISSED)
    ]
    return f"Missed goals: {'; '.join(missed)}." if missed else "All goals of these loads are reached."


def _short(value: float) -> str:
    """Write three digits that matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _megabytes(kibibytes: float) -> float:
    return kibibytes * 1024 / 1e6


def noise(results: Results) -> str:
    """Say how much of the machine went to others."""
    shares = [sample.others for found in results.values() if isinstance(found, Sequence) for sample in found]
    if not shares:
        return ""
    return f"Processes of others took {median(shares):.0%} of the machine, at worst {max(shares):.0%} of it."
