"""``qpsmtpd init``: write a working configuration directory."""

from __future__ import annotations

import re
import shlex
import sys
from argparse import Namespace
from pathlib import Path

from ..config import ConfigError
from ..loader import shipped
from ..setting import split_words
from .finding import shown

HELP = "write a working configuration directory"

LEFT = frozenset({"ssl"})
"""Directories that a server makes in its configuration, with a private key: never a pattern for another."""

SECRET = frozenset({"flat_auth_pw"})
"""Files that will hold passwords."""


def run(arguments: Namespace) -> int:
    """Write everything, or nothing if a file is there already; say what was written and what comes next."""
    directory: Path = arguments.directory.absolute()
    state: Path = (arguments.state or directory).absolute()
    _check(directory)
    _check(state)
    files = contents(shipped("config"), directory, state)
    existing = [path for path in files if path.exists() or path.is_symlink()]
    for path in existing:
        print(f"qpsmtpd: {shown(path)} exists; nothing was written", file=sys.stderr)
    if existing:
        return 1
    write(files)
    for path in files:
        print(f"wrote {shown(path)}")
    place = shlex.quote(shown(directory))
    print(f"Edit what you like, then:\n  qpsmtpd check {place}\n  twistd -n qpsmtpd --config {place}")
    return 0


def _check(directory: Path) -> None:
    text = str(directory)
    if not (text.isascii() and text.isprintable()) or '"' in text:
        raise ConfigError(
            f"{text!a}: plugin lines will name this directory, so it must be printable ASCII without quotes"
        )
    if directory.exists() and not directory.is_dir():
        raise ConfigError("not a directory", directory)


def contents(source: Path, directory: Path, state: Path) -> dict[Path, str]:
    """Give the text of every file to write, by its path; what the server writes will be in ``state``."""
    texts = {
        path.relative_to(source): path.read_text("utf-8")
        for path in sorted(source.rglob("*"))
        if path.is_file()
        and not re.fullmatch(r"\..*|.*~", path.name)
        and path.relative_to(source).parts[0] not in LEFT
    }
    plugins, spool = Path("plugins"), Path("spool_dir")
    lines = texts[plugins].splitlines(keepends=True)
    texts[plugins] = "".join(settled(line, state) for line in lines)
    texts[spool] = f"{texts.get(spool, '')}{state / 'spool'}\n"
    return {directory / name: text for name, text in texts.items()}


def settled(line: str, directory: Path) -> str:
    """Make what a plugin line leaves to the working directory a place below a directory."""
    match split_words(line):
        case ["queue/maildir", mail, *rest]:
            words = ["queue/maildir", str(directory / mail), *rest]
        case ["tls"] | ["tls", "self_signed", *_] as tls:
            names = ("qpsmtpd-server.crt", "qpsmtpd-server.key")
            words = ["tls", *(str(directory / "ssl" / name) for name in names), *tls[1:]]
        case _:
            return line
    return " ".join(f'"{word}"' if " " in word else word for word in words) + "\n"


def write(files: dict[Path, str]) -> None:
    """Write all files; none is written over."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        if path.name in SECRET:
            path.chmod(0o640)
