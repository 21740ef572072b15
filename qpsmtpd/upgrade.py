"""Handing the sockets to a server that is started from the code and the configuration on the disk.

The old server starts the new one with its own command line, and goes on. When the new one serves, it says
so, is made nobody's child, is told ``go``, takes the pid file over and says ``taken``; then the old one
accepts no more, and ends with its sessions. If the new one ends before that, the old one is still the server;
if the old one does, none is.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from twisted.python.failure import Failure

from .child import Child
from .inheritance import Inheritance
from .log import Level
from .notify import notify
from .options import Options
from .parent import Parent
from .service import MailService

PATIENCE: Final = 120.0
"""Seconds that a new server may take until it serves."""

BETWEEN: Final = """\
import os, signal, sys
pid = os.fork()
if not pid:
    os.execv(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGINT, signal.SIG_IGN)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)"""
"""A process between the old server and the new one, which ends as that does.

Killed, it leaves the new server to systemd. Of a main process that is not its child systemd does not hear the
end, nor does it wait for it: `systemctl stop` would kill the server at once.
"""

_NO_PIDFILE: Final = "--pidfile="


class Upgrade:
    """The old server's part."""

    def __init__(self, service: MailService, options: Options) -> None:
        self._service = service
        self._options = options
        self._child: Child | None = None
        self._over = False
        self._pidfile = ""
        self._timer: Any = None

    def begin(self) -> None:
        """Start the new server, unless one is on its way."""
        if self._over or self._child is not None:
            self._log(Level.WARN, "an upgrade is under way already")
            return
        try:
            self._start()
        except (LookupError, OSError) as error:
            self._child = None
            self._log(Level.ERROR, "cannot upgrade: %s", error.args[0] if len(error.args) == 1 else error)

    def _start(self) -> None:
        options, service = self._options, self._service
        if os.getpid() == 1:
            raise LookupError("process 1 cannot be replaced: its end is that of the container")
        command = [sys.executable, "-ISc", BETWEEN, *command_of_successor(options)]
        self._pidfile = pidfile_of(options)
        sockets = {port.description: port.share() for port in service.ports}
        append_to_log(options)
        self._child = Child(self._ready, self._ended, self._taken, self._exited)
        self._log(Level.NOTICE, "starting another server to take over")
        path, _ = options.way_back()
        self._child.start(service.reactor, command, Inheritance(sockets, pidfile=self._pidfile), path)
        self._timer = service.reactor.callLater(PATIENCE, self._child.leave)

    def _ready(self, child: Child) -> None:
        if self._service.ending:
            child.leave()
        elif child.has_exited:  # a daemon is nobody's child already
            child.tell("go")
        else:
            child.kill(signal.SIGKILL)

    def _exited(self, child: Child) -> None:
        if child.is_ready:
            child.tell("go")

    def _taken(self, child: Child) -> None:
        self._timer.cancel()
        self._over = True
        self._options.parent["pidfile"] = ""
        notify(f"MAINPID={child.pid}")
        self._log(Level.NOTICE, "process %d has taken over", child.pid)
        self._service.finish()

    def _ended(self, child: Child) -> None:
        if self._over:
            return
        self._child = None
        if self._timer.active():
            self._timer.cancel()
        if child.is_ready and self._pidfile:
            write_pid(Path(self._pidfile))  # it may have been told to go
        why = "ended before it had taken over" if child.is_ready else child.why
        self._log(Level.ERROR, "the upgrade failed, and this server goes on: the new one %s", why)

    def _log(self, level: Level, text: str, *values: object) -> None:
        self._service.engine.log.emit(level, text, *values)


class Successor:
    """The new server's part."""

    def __init__(self, service: MailService, options: Options, parent: Parent) -> None:
        self._service = service
        self._options = options
        self._parent = parent
        service.failing = self._fail
        service.reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        append_to_log(self._options)
        self._parent.listen(self._service.reactor, self._take_over, self._give_up)
        self._service.serving.addCallbacks(lambda _: self._parent.ready(), self._stop)

    def _fail(self, why: str) -> None:
        self._parent.say(f"failed {why}")

    def _stop(self, why: Failure) -> None:
        self._fail(why.getErrorMessage())
        self._service.end()

    def _take_over(self, word: str) -> None:
        assert word == "go"
        path = self._service.inheritance.pidfile
        if path:
            self._options.parent["pidfile"] = path
            write_pid(Path(path))
        for port in self._service.ports:
            port.own()
        self._parent.leave()

    def _give_up(self) -> None:
        self._service.engine.log.emit(Level.ERROR, "the server to take over from has ended: ending")
        self._service.end()


def command_of_successor(options: Options) -> list[str]:
    """Give the command line of this process, but for the pid file, which the new one owns later."""
    words = sys.orig_argv
    at = len(words) - len(options.words) - 1
    if options.parent is None or at < 1 or words[at + 1 :] != options.words:
        raise LookupError("this server was not started as twistd qpsmtpd")
    before = words[1:at]
    if before[-1:] != [_NO_PIDFILE]:
        before.append(_NO_PIDFILE)
    return [sys.executable, *before, *words[at:]]


def pidfile_of(options: Options) -> str:
    """Give twistd's pid file, "" for none; LookupError if this user could not write it anew."""
    name = options.parent["pidfile"]
    if not name:
        return ""
    path = Path(name).absolute()
    if not os.access(path.parent, os.W_OK) and not os.access(path, os.W_OK):
        raise LookupError(f"the pid file {path} cannot be written by this user")
    return str(path)


def write_pid(path: Path) -> None:
    """Put the number of this process into a file that never is without one."""
    text = f"{os.getpid()}\n"
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_text(text)
        new.replace(path)
    except PermissionError:
        path.write_text(text)


def append_to_log(options: Options) -> None:
    """Keep two processes that write twistd's log file from writing over each other's lines."""
    twistd = options.parent or {}
    name = twistd.get("logfile") or ("" if twistd.get("nodaemon") else "twistd.log")
    if not name or name == "-":
        return
    with suppress(OSError):
        wanted = Path(options.started_in, name).stat()  # opened before twistd went elsewhere
        for entry in Path("/dev/fd").iterdir():
            with suppress(OSError):
                descriptor = int(entry.name)
                if os.path.samestat(os.fstat(descriptor), wanted):
                    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
                    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
