"""The ``qpsmtpd`` command: set up and look at configurations. The server itself is ``twistd qpsmtpd``."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from ..config import ConfigError, config_directories
from ..version import VERSION
from . import check, hooks, init, plugins

EPILOG = """\
DIR is the configuration directory: $QPSMTPD_CONFIG, ./config or /etc/qpsmtpd if not given.
To run the server: twistd -n qpsmtpd --config DIR
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit status.

    0, 1 for what the command finds wrong, 2 for wrong usage and what the system does not allow.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name may be in no encoding at all
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        if hasattr(arguments, "config"):
            arguments.directories = _directories(arguments.config, must_exist=arguments.needs_config)
        status = arguments.run(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        print(f"qpsmtpd: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, head perhaps, has seen enough; the interpreter must not write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"qpsmtpd: {place}{error.strerror}", file=sys.stderr)
        return 2
    return int(status)


def make_parser() -> ArgumentParser:
    """Make the parser of the command line."""
    parser = ArgumentParser(
        prog="qpsmtpd",
        description="Set up and look at the configuration of a qpsmtpd mail server.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"qpsmtpd {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    command = _command(commands, "init", init, init.run)
    command.add_argument("directory", metavar="DIR", type=Path, help="where; no file is written over")
    command.add_argument(
        "--state", metavar="DIR", type=Path, help="where mail, certificate and spool will be [DIR]"
    )

    for name, module in (("check", check), ("hooks", hooks)):
        command = _command(commands, name, module, module.run)
        command.add_argument("config", metavar="DIR", nargs="?", help="the configuration directory")
        command.set_defaults(needs_config=True)

    command = _command(commands, "plugins", plugins, plugins.run)
    command.add_argument("--config", metavar="DIR", help="whose plugin_dirs to search")
    command.set_defaults(needs_config=False)
    show = command.add_subparsers(metavar="show NAME").add_parser("show", help="print the manual of a plugin")
    show.add_argument("name", metavar="NAME", help="a name as in config/plugins")
    show.set_defaults(run=plugins.show)
    return parser


def _command(commands: Any, name: str, module: Any, run: Any) -> ArgumentParser:
    command: ArgumentParser = commands.add_parser(
        name, help=module.HELP, description=f"{module.HELP[0].upper()}{module.HELP[1:]}."
    )
    command.set_defaults(run=run)
    return command


def _directories(option: str | None, *, must_exist: bool) -> list[Path]:
    directories = config_directories(option, os.environ)
    if must_exist and not directories[0].is_dir():
        raise ConfigError("no such configuration directory", directories[0])
    return directories
