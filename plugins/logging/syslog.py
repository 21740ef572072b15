"""Log to syslog.

Settings: ``loglevel``, the highest level to log (default WARN). ``facility``, as ``LOG_LOCAL0`` or
``local0``. ``priority`` gives all lines one severity, otherwise each has that of its level. ``logsock``
is a list of ways to syslog, of which the first that works is taken: ``unix`` and ``stream`` for
/dev/log, ``udp`` and ``tcp`` for HOST and port (default localhost and 514), ``console`` (default
``unix,stream,udp``).

A line is ``IDENT[NUMBER]: (HOOK) PLUGIN: TEXT``; NUMBER is the connection's, or the process id for
lines that belong to none. ``bare`` leaves hook and plugin away, as upstream did.

A thread sends the lines, so nothing waits for syslog. What it does not take is lost, and counted when
it does again; the trouble is in Twisted's log.

Hooks: logging. Differences from upstream: bad arguments stop the start; lines have hook and plugin;
LOG_EMERG is a level like others; ``host``, ``port`` and ``bare``.
"""

import atexit

from qpsmtpd import Event, Level, Plugin, Setting, SettingError
from qpsmtpd.kit.syslog import FACILITIES, KINDS, Line, Sender, opener


def read_facility(word: str) -> int:
    """Read a facility's name, with or without LOG_ before it; ValueError otherwise."""
    name = word.lower().removeprefix("log_")
    if name not in FACILITIES:
        raise ValueError
    return FACILITIES[name]


class Syslog(Plugin):
    """Hand lines to a thread that sends them."""

    loglevel = ""  # on this plugin's line the word means another thing
    level = Setting.level(Level.WARN, keyword="loglevel", help="the highest level to log")
    priority: Setting[Level | None] = Setting(
        Level.parse, None, allowed=level.allowed, help="the severity of all lines"
    )
    ident = Setting.text("qpsmtpd", pattern="[A-Za-z0-9_.-]+", allowed="a name", help="who logs")
    facility = Setting(
        read_facility, FACILITIES["mail"], allowed="one of " + ", ".join(FACILITIES), help="what logs"
    )
    logsock = Setting.words(("unix", "stream", "udp"), help="ways to syslog, tried in this order")
    host = Setting.text("localhost", help="where udp and tcp lead")
    port = Setting.integer(514, minimum=1, maximum=65535, help="where udp and tcp lead")
    bare = Setting.switch(help="leave hook and plugin away")

    def register(self) -> None:
        """Check the ways; the thread starts when the server runs."""
        self.threshold = self.level
        unknown = set(self.logsock) - set(KINDS)
        if unknown or not self.logsock:
            raise SettingError(f"logsock {','.join(self.logsock)}: allowed are {', '.join(KINDS)}")
        self.sender = Sender(opener(self.logsock, self.host, self.port), self.lost_line)
        self.clock.callLater(0, self.start)

    def start(self) -> None:
        """Begin to send, and send the rest at the end."""
        self.sender.start()
        atexit.register(self.sender.stop)

    def hook_logging(self, event: Event) -> None:
        """Have a line sent, unless it is about this plugin."""
        if event.plugin != self.log_name:
            self.sender.put(self.line_of(event))

    def line_of(self, event: Event) -> Line:
        """Write an event."""
        severity = event.level if self.priority is None else self.priority
        origin = "" if self.bare else event.origin
        text = f"{self.ident}[{event.number}]: {origin}{event.text}"
        return Line(self.facility * 8 + severity, self.clock.seconds(), text)

    def lost_line(self, number: int) -> Line:
        """Say how many lines are not there."""
        return self.line_of(Event(Level.WARN, f"{number} lines lost", "", self.log_name, None))
