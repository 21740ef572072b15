"""``qpsmtpd hooks``: who is called when."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator

from ..building import Built
from ..hooks import HOOKS
from ..implementation import Implementation
from .finding import Findings, shown
from .rehearsal import rehearse

HELP = "list the plugins of each hook in calling order"


def run(arguments: Namespace) -> int:
    """Print all chains; 1 if a plugin is missing there because of an error."""
    built = rehearse(arguments.directories).built
    findings = Findings(built.config)
    for error in built.errors:
        findings.add_exception(error)
    for line in chains(built):
        print(line)
    for finding in findings.sorted():
        print(finding, file=sys.stderr)
    return int(bool(built.errors))


def chains(built: Built) -> Iterator[str]:
    """Give each hook that has plugins, and below it one plugin a line with the place of its own line."""
    width = max((len(plugin.name) for plugin in built.lines), default=0)
    for name, hook in HOOKS.items():
        chain = built.registry.chain(name)
        if chain:
            yield f"{name} ({hook.kind.value})"
        for implementation in chain:
            yield f"  {_entry(implementation, built, width)}"


def _entry(implementation: Implementation, built: Built, width: int) -> str:
    plugin = implementation.plugin
    line = built.lines[plugin]
    shadow = " shadow" if plugin.shadow else ""
    return f"{plugin.name:<{width}}  {shown(line.file)}:{line.number}{shadow}"
