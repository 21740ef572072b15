"""Log to a file, or to a program.

``logging/file [loglevel LEVEL] [nosplit] [reopen] [tsformat FORMAT] [bare] OUTPUT``; OUTPUT is a path or
``|COMMAND ARGUMENT...``

Settings: ``loglevel``, the highest level to log (default WARN). A path may hold strftime fields, in local
time, and ``%i``, the id of the session, or ``parent`` for lines that belong to none:
``/var/log/qpsmtpd/%F`` is a file a day. ``nosplit`` keeps a session in the file in which it began.
``reopen`` opens the file again when a session begins, SIGHUP always does. ``tsformat`` is the strftime
format of the time (default ``%a %b %d %T %Y``); in quotes it may hold blanks. A COMMAND is started
without a shell and reads the lines at its standard input.

A line is ``TIME HOST[NUMBER]: (HOOK) PLUGIN: TEXT``; NUMBER is the connection's, or the process id for
lines that belong to none. ``bare`` leaves hook and plugin away, as upstream did. A line is cut after
4096 octets.

Nothing waits for a disk that is full or a program that does not read: lines are lost, and counted when
there is room again. What does not open, or breaks, is tried again after a second; the trouble is in
Twisted's log. Files are opened by the user that the server runs as, with mode 0640 and the umask.

Hooks: logging, post-connection. Notes: ``logging-session-id``, on the connection.

Differences from upstream: bad arguments stop the start; lines have hook and plugin; a session is a
connection, not a message; a program is not run by a shell.
"""

import os
import re
import shlex
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from qpsmtpd import Connection, Event, Level, Plugin, Setting, SettingError
from qpsmtpd.kit.lines import Lines, open_file, open_program

EARLY = 1000
"""Lines kept until the server runs."""


class LogFile(Plugin):
    """Write lines to a file or program that may change its name."""

    loglevel = ""  # on this plugin's line the word means another thing
    level = Setting.level(Level.WARN, keyword="loglevel", help="the highest level to log")
    reopen = Setting.switch(help="open the file again when a session begins")
    nosplit = Setting.switch(help="keep a session in the file in which it began")
    bare = Setting.switch(help="leave hook and plugin away")
    tsformat = Setting.text("%a %b %d %T %Y", allowed="a strftime format", help="the form of the time")
    output = Setting.text(
        position=True, required=True, rest=True, allowed="a path or |command", help="where lines go"
    )

    def register(self) -> None:
        """Check the output; it is opened when the server runs, as its user."""
        self.threshold = self.level
        self.command = self.output.startswith("|")
        path = str(Path(self.output).expanduser().absolute())
        self.pattern = self.output[1:].strip() if self.command else path
        self.check()
        self.by_session = self.nosplit or self.reopen or "%i" in self.pattern
        self.host = socket.gethostname()
        self.note = f"{self.log_name} output"
        self.own: dict[str, Any] = {}
        self.outputs: dict[str, Lines] = {}
        self.users: Counter[str] = Counter()
        self.early: deque[Event] | None = deque(maxlen=EARLY)
        if self.by_session:
            self.register_hook("post-connection", self.finish)
        self.clock.callLater(0, self.start)

    def check(self) -> None:
        """Stop the start where an output can never be opened."""
        if self.command:
            try:
                if not shlex.split(self.pattern):
                    raise ValueError("no command")
            except ValueError as error:
                raise SettingError(f"{self.output}: {error}") from None
            return
        directory = Path(self.pattern).parent
        if "%" not in str(directory) and not directory.is_dir():
            raise SettingError(f"{directory}: there is no such directory")

    def start(self) -> None:
        """Write what was logged before the server ran."""
        early, self.early = self.early, None
        for event in early or ():
            self.write(event)

    def reload(self) -> None:
        """Open everything again."""
        for output in self.outputs.values():
            output.close()

    def hook_logging(self, event: Event) -> None:
        """Write a line, unless it is about this plugin."""
        if event.plugin == self.log_name:
            return
        if self.early is not None:
            self.early.append(event)
        else:
            self.write(event)

    def write(self, event: Event) -> None:
        """Write a line where its session's lines go at this moment."""
        self.output_of(event.connection).write(self.line_of(event))

    def line_of(self, event: Event) -> str:
        """Write an event."""
        stamp = at(self.tsformat, int(self.clock.seconds()))
        origin = "" if self.bare else event.origin
        return f"{stamp} {self.host}[{event.number}]: {origin}{event.text}"

    def lost_line(self, number: int) -> str:
        """Say how many lines are not there."""
        return self.line_of(Event(Level.WARN, f"{number} lines lost", "", self.log_name, None))

    def output_of(self, connection: Connection | None) -> Lines:
        """Give a session's output, opened if it is not."""
        if not self.by_session or connection is None or connection.notes.get(self.note) == "":
            return self.outputs[self.name_for(self.own, "parent")]
        notes = connection.notes
        begins = self.note not in notes
        if not (self.nosplit and notes.get(self.note)):
            session = notes.setdefault("logging-session-id", self.session_id(connection))
            self.name_for(notes, session)
        output = self.outputs[notes[self.note]]
        if begins and self.reopen:
            output.close()
        return output

    def session_id(self, connection: Connection) -> str:
        """Make the id of a session: time, process, number."""
        return f"{int(self.clock.seconds()):08}-{os.getpid():04}-{connection.number}"

    def name_for(self, notes: dict[str, Any], session: str) -> str:
        """Give the name of the moment, and have its output instead of the one that the notes held."""
        pattern = re.sub("%(.)", lambda match: session if match[1] == "i" else match[0], self.pattern)
        name, held = at(pattern, int(self.clock.seconds())), notes.get(self.note)
        if name != held:
            if not self.users[name]:
                self.outputs[name] = Lines(
                    self.log_name, self.opener(name), self.lost_line, self.clock.seconds
                )
            self.users[name] += 1
            notes[self.note] = name
            self.release(held)
        return name

    def release(self, name: str | None) -> None:
        """Close an output that nobody has any more."""
        if name:
            self.users[name] -= 1
            if not self.users[name]:
                del self.users[name]
                self.outputs.pop(name).close()

    def finish(self, connection: Connection) -> None:
        """Let go of a session's output, when the last lines about it are logged."""

        def release() -> None:
            held, connection.notes[self.note] = connection.notes.get(self.note), ""
            self.release(held)

        self.clock.callLater(0, release)

    def opener(self, name: str) -> Callable[[], int]:
        """Give the function that opens an output."""
        if self.command:
            return lambda: open_program(self.services.reactor, shlex.split(name))
        return lambda: open_file(name)


@lru_cache(maxsize=16)
def at(pattern: str, second: int) -> str:
    """Write a time, which is the same for many lines."""
    return time.strftime(pattern, time.localtime(second))
