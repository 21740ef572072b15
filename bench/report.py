"""From samples to one Markdown table: medians, and our engine in proportion to each peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from loads import LOADS, Idle, Sample

ENGINE = "qpsmtpd"
GOALS = {
    ("A", "aiosmtpd"): 0.33,
    ("A", "smtp-sink"): 2.0,
    ("B", "aiosmtpd"): 0.20,
    ("B", "smtp-sink"): 1.5,
    ("C", "aiosmtpd"): 0.12,
    ("C", "smtp-sink"): 0.65,
    ("D", "aiosmtpd"): 0.15,
}
"""The CPU time of our engine for a message, in proportion to a peer's: not more than this."""

MEMORY_GOALS = {"C": 80.0}
"""MB of our engine's process."""

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
        return (letter, name, *[""] * 6, memory, f"{found.each:.1f}", "" if name == ENGINE else ratio, "")
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
        _judged(memory, MEMORY_GOALS.get(letter) if name == ENGINE else None, ".0f"),
        "",
        *_ratios(letter, name, found, engine),
    )


def _ratios(letter: str, name: str, found: Sequence[Sample], engine: object) -> tuple[str, str]:
    if name == ENGINE or not isinstance(engine, Sequence):
        return "", ""
    ratio = cpu_each(engine) / (cpu_each(found) or 1)
    return _judged(ratio, GOALS.get((letter, name)), ".2f"), f"{speed(engine) / speed(found):.2f}"


def _judged(value: float, goal: float | None, form: str) -> str:
    """Write a figure with its goal behind it, in bold when it is missed."""
    text = format(value, form)
    if goal is None:
        return text
    return f"{text} ≤ {goal:g}" if value <= goal else f"**{text} > {goal:g}**"


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
