"""``qpsmtpd plugins``: what there is, and the manual of each."""

from __future__ import annotations

import ast
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..config import Config
from ..hooks import METHODS
from ..loader import Loader, declared
from ..log import Level
from ..outcome import Policy
from ..plugin import Plugin
from ..setting import Setting, SettingError, settings_of

HELP = "list the plugins that can be loaded; show NAME prints the manual of one"

POLICIES = {Policy.REJECT: "1", Policy.TOLERATE: "0", Policy.NAUGHTY: "naughty"}


def run(arguments: Namespace) -> int:
    """Print the list."""
    available = Loader(Config(arguments.directories)).available()
    width = max(map(len, available), default=0)
    for name, path in available.items():
        print(f"{name:<{width}}  {summary(path)}")
    return 0


def show(arguments: Namespace) -> int:
    """Print a manual; 1 if there is no such plugin or it cannot be loaded."""
    loader = Loader(Config(arguments.directories))
    try:
        print(manual(loader.plugin_class(arguments.name)))
    except SettingError as error:
        print(f"qpsmtpd: {error}", file=sys.stderr)
        with suppress(SettingError):
            if path := loader.find(arguments.name):
                print(docstring(path))
        return 1
    return 0


def summary(path: Path) -> str:
    """Give the first sentence of a plugin's manual, and what it takes to load it if that is missing."""
    missing = [extra for module, extra in declared(path, "requires").items() if not _is_there(module)]
    needs = f" (pip install 'qpsmtpd[{','.join(dict.fromkeys(missing))}]')" if missing else ""
    sentence = re.split(r"(?<=\.)\s|\n\n", docstring(path), maxsplit=1)[0]
    return " ".join(sentence.split()) + needs


def docstring(path: Path) -> str:
    """Read a plugin's manual from its source, which may be impossible to run here."""
    try:
        return ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (OSError, SyntaxError, ValueError) as error:
        return f"cannot be read: {error}"


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def manual(owner: type[Plugin]) -> str:
    """Give a plugin's manual page: its file's docstring, then settings, files, hooks, packages."""
    text = (sys.modules[owner.__module__].__doc__ or owner.__doc__ or "").strip()
    common = settings_of(Plugin)
    settings = settings_of(owner)
    own = [setting for name, setting in settings.items() if setting is not common.get(name)]
    shared = [setting.keyword for setting in settings.values() if setting not in own]
    sections = {
        "Arguments": [*map(_argument, own), f"of every plugin: {', '.join(shared)}"],
        "Files": [f"{name}: {form}" for name, form in _files(owner).items()],
        "Hooks": [", ".join(hook.name for method, hook in METHODS.items() if hasattr(owner, method))],
        "Packages": [f"{name}: pip install 'qpsmtpd[{extra}]'" for name, extra in owner.requires.items()],
    }
    return "\n\n".join([text, *_sections(sections)])


def _sections(sections: dict[str, list[str]]) -> Iterator[str]:
    for title, lines in sections.items():
        if any(lines):
            yield "\n  ".join([f"{title}:", *lines])


def _files(owner: type[Plugin]) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        found.update(vars(base).get("files", {}))
    return found


def _argument(setting: Setting[Any]) -> str:
    default = _shown(setting.default)
    facts = [
        setting.allowed,
        setting.unit,
        "required" if setting.required else f"default {default}" if default else "",
        "repeatable" if setting.many else "",
    ]
    shown = setting.keyword.upper() if setting.position else setting.keyword
    return f"{shown}: {', '.join(filter(None, facts))}" + (f"; {setting.help}" if setting.help else "")


def _shown(value: Any) -> str:
    """Write a default as it would stand on the line; "" for none."""
    match value:
        case bool():
            return str(int(value))
        case Policy():
            return POLICIES[value]
        case Level():
            return value.name.lower()
        case tuple():
            return ",".join(map(str, value))
        case Path():
            return "" if value == Path() else str(value)
        case float():
            return f"{value:g}"
    return "" if value is None else str(value)
