"""Log to standard error, each line with the id of its connection.

With ``[LEVEL]`` it is like logging/warn, for a log that several processes write: connections have the
same numbers in each. A line is ``ID TEXT``, with ``PLUGIN plugin:`` or ``running plugin (HOOK):``
between the two. ID is process and connection, ``1f2e.17``, as in the id of a message's Received field;
lines that belong to no connection have the number 0.

Hooks: logging. Differences from upstream, where it stopped the server: it works.
"""

import os

from qpsmtpd import Event, Level, Plugin, Setting
from qpsmtpd.kit.lines import standard_error


class ConnectionId(Plugin):
    """Write lines to standard error under the connection's id."""

    level = Setting.level(Level.WARN, position=True, help="the highest level to log")

    def register(self) -> None:
        """Prepare to write."""
        self.threshold = self.level
        self.lines = standard_error(self.log_name, self.lost_line, self.clock.seconds)

    def lost_line(self, number: int) -> str:
        """Say how many lines are not there."""
        return line_of(Event(Level.WARN, f"{number} lines lost", "", self.log_name, None))

    def hook_logging(self, event: Event) -> None:
        """Write a line, unless it is about this plugin."""
        if event.plugin != self.log_name:
            self.lines.write(line_of(event))


def line_of(event: Event) -> str:
    """Write an event as upstream's plugin of this name would have."""
    number = event.connection.number if event.connection is not None else 0
    origin = f" running plugin ({event.hook}):" if event.hook else ""
    if event.plugin:
        origin = f" {event.plugin} plugin:"
    return f"{os.getpid():x}.{number}{origin} {event.text}"
