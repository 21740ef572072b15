"""Log to standard error, one line at a time.

The argument is the highest level to log: a number from 0 to 7 or a name like LOGINFO (default WARN). A
line is ``NUMBER (HOOK) PLUGIN: TEXT``, the form that the log tools read; NUMBER is the connection's, or
the process id for lines that belong to none.

A daemon has no standard error: run ``twistd --nodaemon`` under a supervisor that keeps it, or load
logging/file or logging/syslog. If the supervisor stops reading, the server goes on: lines are lost, and
counted when it reads again. A line is cut after 4096 octets.

Hooks: logging. Differences from upstream: a level that is none stops the start.
"""

from qpsmtpd import Event, Level, Plugin, Setting
from qpsmtpd.kit.lines import standard_error


class Warn(Plugin):
    """Write lines to standard error."""

    level = Setting.level(Level.WARN, position=True, help="the highest level to log")

    def register(self) -> None:
        """Prepare to write."""
        self.threshold = self.level
        self.lines = standard_error(self.log_name, self.lost_line, self.clock.seconds)

    def lost_line(self, number: int) -> str:
        """Say how many lines are not there."""
        return str(Event(Level.WARN, f"{number} lines lost", "", self.log_name, None))

    def hook_logging(self, event: Event) -> None:
        """Write a line, unless it is about this plugin."""
        if event.plugin != self.log_name:
            self.lines.write(str(event))
