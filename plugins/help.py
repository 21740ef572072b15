"""Answer HELP with texts from files.

``HELP`` alone gets a hint. ``HELP COMMAND`` gets the file of that command: the one given on the plugin's
line, else the file of that name, in lower case, in the help directory; without one, a line that says so.
Only the first word counts. A file is sent as it is, a line of reply for each of its lines; edits are in
force at once.

Settings: ``not_implemented`` answers every HELP with 502; ``help_dir``, the directory (default help, within
the configuration directory); and any number of pairs COMMAND FILE, where a FILE without a slash is in the
help directory, and one with a slash in the configuration directory, unless it begins with a slash. A FILE
that is not there is reported at the start.

Hooks: help. Replies 214, or 502 to what is no word.

Differences from upstream: the help directory is in the configuration directory and not where the server
was started, and it is looked at even if pairs are given; settings cannot be asked for; empty lines do not
end the text.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

from qpsmtpd import OK, ConfigError, Outcome, Plugin, Reply, Setting, SettingError

HINT = "Say HELP and a command for more. The commands are those of RFC 5321."
NOT_IMPLEMENTED = Reply(502, "command not implemented", "5.5.1")
WORD = re.compile(r"[A-Za-z0-9_]+")
FILE = r"[A-Za-z0-9_./-]+"


class Help(Plugin):
    """Answer HELP."""

    not_implemented = Setting.switch(help="answer every HELP with 502")
    help_dir = Setting.text("help", pattern=FILE, allowed="a directory", help="one file a command")
    pairs: Setting[tuple[str, ...]] = Setting(
        str, (), allowed="COMMAND FILE", position=True, many=True, help="commands and their files"
    )

    files: ClassVar[Mapping[str, str]] = {"help/": "a text for each command, by its name in lower case"}

    def register(self) -> None:
        """Check the pairs."""
        if len(self.pairs) % 2:
            raise SettingError(f"{self.pairs[-1]!r} has no file; allowed are pairs COMMAND FILE")
        self.pages: dict[str, str] = {}
        for command, file in zip(self.pairs[::2], self.pairs[1::2], strict=True):
            if not (WORD.fullmatch(command) and re.fullmatch(FILE, file)):
                raise SettingError(f"'{command} {file}' is no pair of a word and a file ({FILE})")
            self.pages[command.lower()] = file if "/" in file else f"{self.help_dir}/{file}"
        for page in self.pages.values():
            if self.read(page) is None:
                self.log.warn("error, %s is not there", page)

    def hook_help(self, argument: str) -> Outcome | Reply:
        """Give the text about a command."""
        if self.not_implemented:
            return NOT_IMPLEMENTED
        if not argument:
            return OK(HINT)
        word = argument.split(maxsplit=1)[0]
        if not WORD.fullmatch(word):
            return NOT_IMPLEMENTED
        page = self.pages.get(word.lower(), f"{self.help_dir}/{word.lower()}")
        return OK(self.read(page) or f"no help available for {word}")

    def read(self, page: str) -> str | None:
        """Read a page; None if it is not there or cannot be read."""
        try:
            path = self.config.find(page)
            return path.read_text("utf-8", "replace").rstrip() if path is not None else None
        except (ConfigError, OSError):
            return None
