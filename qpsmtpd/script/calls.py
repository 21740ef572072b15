"""Doubts about who is called: nobody accepts recipients, nobody stores mail, somebody is never asked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from ..building import Built
from ..plugin import Plugin
from .finding import Findings

ACCEPTING = frozenset({"OK", "OUTCOMES", "Reply"})
"""Names that a function mentions if it may accept."""

LAST = "rcpt_ok"
"""The plugin that always has an answer."""


def check(findings: Findings, built: Built) -> None:
    """Look at the chains of the hooks without which no mail comes in."""
    # What a plugin that could not be loaded leads to is not worth a word.
    failed = " ".join(line.text.split()[0] for line in built.failed)
    asked = [one.plugin for one in built.registry.chain("rcpt") if not one.plugin.shadow]
    if not any(map(may_accept, asked)) and LAST not in failed:
        findings.add(f"no plugin accepts recipients: load {LAST}", "plugins")
    if all(one.plugin.shadow for one in built.registry.chain("queue")) and "queue/" not in failed:
        findings.add("no queue plugin is loaded: nothing stores the mail", "plugins")
    for late, last in never_asked(asked):
        text = f"{late.name} is never asked about a recipient: {last.name} answers first"
        findings.warn(text, built.lines[late])


def never_asked(chain: Sequence[Plugin]) -> Iterator[tuple[Plugin, Plugin]]:
    """Give the plugins behind the first that answers always, and that one."""
    last: Plugin | None = None
    for plugin in chain:
        if last is not None and plugin is not last:
            yield plugin, last
        elif any(_file(base).stem == LAST for base in type(plugin).__mro__):
            last = plugin


def _file(owner: type) -> Path:
    return Path(getattr(sys.modules.get(owner.__module__), "__file__", None) or "")


def may_accept(plugin: Plugin) -> bool:
    """Tell whether a plugin may answer OK to a recipient: its code for it mentions a name that says so."""
    todo: list[Any] = [method for hook, method, _ in plugin.registrations if hook == "rcpt"]
    todo.append(plugin.register)  # tables of answers are made there
    seen = set()
    while todo:
        function = todo.pop()
        function = getattr(function, "__func__", function)
        if not isinstance(function, FunctionType):
            return True  # nothing is known of it, and a false alarm is worse than none
        if function not in seen:
            seen.add(function)
            names = set(_names(function.__code__))
            if names & ACCEPTING:
                return True
            todo += _called(function, names, type(plugin))
    return False


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _called(function: FunctionType, names: Iterable[str], owner: type) -> Iterator[FunctionType]:
    """Give the functions and methods that a function mentions, the plugin's and ours."""
    for name in names:
        for value in (function.__globals__.get(name), getattr(owner, name, None)):
            if isinstance(value, FunctionType) and (
                value.__module__ == function.__module__ or value.__module__.startswith("qpsmtpd")
            ):
                yield value
