"""SIGUSR2: another server takes over, and no client notices."""

from __future__ import annotations

import os
import pwd
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from harness import TWISTD, Server, answers, wait_until
from load import Load, check_stored
from processes import NOBODY_RUNS_PYTHON, children, lives

UPGRADES = int(os.environ.get("QPSMTPD_UPGRADES", "6"))
QUICK = {"plugins": "rcpt_ok\nqueue/maildir mail\n", "smtps": "", "shutdown_grace": "20\n"}


QUIET = {"logging": "", "loglevel": "LOGINFO\n"}
"""For daemons, which have no standard error."""


class Knocking:
    """Connects again and again, and counts the connections that were not greeted."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.tried = 0
        self.failures: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._knock)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _knock(self) -> None:
        while not self._over.is_set():
            self.tried += 1
            try:
                with socket.create_connection(("127.0.0.1", self.port), 20) as client:
                    said = client.recv(1000)
                    client.sendall(b"QUIT\r\n")
                    said += client.recv(1000)
            except OSError as error:
                self.failures.append(repr(error))
                continue
            if not said.startswith(b"220 ") or b"221 " not in said:
                self.failures.append(repr(said))


def reached(port: int) -> bool:
    """Connect; a port that takes connections for nobody is an error of its own."""
    with socket.create_connection(("127.0.0.1", port), 5) as client, suppress(ConnectionResetError):
        return bool(client.recv(1000))
    return True  # it was closed at this moment


class Case(unittest.TestCase):
    options: tuple[str, ...] = ("--nodaemon",)

    def start(
        self,
        config: Mapping[str, str] | None = None,
        *more: object,
        port: int = 0,
        pidfile: Path | None = None,
        owner: int = -1,
    ) -> Server:
        """Start a server with a pid file, which says who it is at the moment."""
        server = Server(QUICK | dict(config or {}), port=port)
        self.addCleanup(server.close)
        server.directory.chmod(0o755)  # for servers of other users
        self.pidfile = pidfile or server.directory / "pid"
        self.log = server.log
        server.log.touch()
        os.chown(server.log, owner, -1)
        with server.log.open("ab") as log:
            twistd = [TWISTD, *self.options, "--pidfile", self.pidfile, *map(str, more)]
            self.process = subprocess.Popen(
                [*twistd, "qpsmtpd", "--config", server.config],
                cwd=server.directory,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(self.process.wait)
        self.addCleanup(self.kill_all, server)
        wait_until(lambda: self.process.poll() or answers(server.port), "the server listens")
        wait_until(self.pidfile.exists, "there is a pid file")
        return server

    def kill_all(self, server: Server) -> None:
        """Kill whoever runs in the server's directory."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if str(server.directory) in (entry / "cmdline").read_text():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue

    @property
    def pid(self) -> int:
        return int(self.pidfile.read_text())

    def upgrade(self) -> int:
        """Have another server take over; give the old one's number."""
        old = self.pid
        os.kill(old, signal.SIGUSR2)
        try:
            wait_until(lambda: self.pid != old, "the pid file names another process")
        except AssertionError:
            print(self.log.read_text()[-3000:])
            raise
        return old

    def end(self, server: Server) -> None:
        os.kill(self.pid, signal.SIGTERM)
        wait_until(lambda: not self.pidfile.exists(), "the last server ends and removes its pid file")
        wait_until(lambda: not answers(server.port), "the port is closed")
        self.assertNotIn("Traceback", self.log.read_text())


class LoadTests(Case):
    def under_load(self, config: Mapping[str, str]) -> None:
        server = self.start({"size_threshold": "5000\n"} | dict(config))
        load, knocking = Load(server.port, kept=5), Knocking(server.port)
        gone = []
        try:
            for _ in range(UPGRADES):
                time.sleep(0.5)
                gone.append(self.upgrade())
        finally:
            knocking.end()
            load.end()
        wait_until(lambda: not any(map(lives, gone)), "no old server is left")
        self.assertEqual(([], {}), (knocking.failures, dict(load.failures)))
        said = check_stored(self, server, load)
        self.assertEqual(load.sent, len(load.accepted))
        self.end(server)
        print(f"{UPGRADES} upgrades, {said}; {knocking.tried} greeted, {len(knocking.failures)} not")

    def test_one_process(self) -> None:
        self.under_load({})

    def test_workers(self) -> None:
        self.under_load({"workers": "2\n"})


class UpgradeTests(Case):
    def test_new_configuration(self) -> None:
        """The new server has other settings, other listeners, another number of workers."""
        server = self.start()
        old = self.pid
        server.write("workers", "2\n")
        server.write("smtpgreeting", "new ESMTP\n")
        server.write("listen", f"127.0.0.1:{server.port}\n127.0.0.1:{server.smtps_port}\n")
        self.upgrade()
        self.assertEqual(2, len(children(self.pid)))
        wait_until(lambda: not lives(old), "the old server has ended")
        for port in (server.port, server.smtps_port):
            with socket.create_connection(("127.0.0.1", port), 30) as client:
                self.assertEqual(b"220 new ESMTP\r\n", client.recv(1000))
        server.write("workers", "1\n")
        server.write("listen", f"127.0.0.1:{server.port}\n")
        self.upgrade()
        self.assertEqual([], children(self.pid))
        with self.assertRaises(ConnectionRefusedError):
            wait_until(lambda: not reached(server.smtps_port), "the other port is closed")
        self.end(server)

    def test_sessions_go_on(self) -> None:
        """A session that was begun with the old server ends with it, message and all.

        The new server is no child of the old: systemd neither supervises nor stops well what is not its own.
        """
        server = self.start()
        with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
            client.ehlo()
            old = self.upgrade()
            self.assertEqual([], children(old))
            client.sendmail("a@example.com", ["b@example.org"], "Subject: x\n\nx\n")
            client.sendmail("a@example.com", ["b@example.org"], "Subject: x\n\nx\n")
            self.assertTrue(lives(old))
        wait_until(lambda: not lives(old), "the old server ends with its last session")
        self.assertEqual(2, len(server.messages()))
        self.end(server)

    def test_workers_log(self) -> None:
        """What workers write to standard error does not end with the old server."""
        server = self.start({"workers": "2\n"})
        for number in range(2):
            old = self.upgrade()
            wait_until(lambda o=old: not lives(o), "the old server has ended")
            with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
                client.ehlo(f"client{number}.example.com")
            line = f"dispatching EHLO client{number}.example.com"
            wait_until(lambda n=line: n in self.log.read_text(), "the log says so")
        self.end(server)

    def test_idle_sessions_end(self) -> None:
        """A session that does nothing is told to go when the time of grace is over."""
        server = self.start({"shutdown_grace": "1\n"})
        with socket.create_connection(("127.0.0.1", server.port), 30) as client:
            client.recv(1000)
            old = self.upgrade()
            self.assertIn(b"421 4.3.2", client.recv(1000))
        wait_until(lambda: not lives(old), "the old server has ended")
        self.end(server)

    def failing(self, config: Mapping[str, str], expected: str) -> None:
        server = self.start({"workers": "1\n"})
        old = self.pid
        for name, text in config.items():
            server.write(name, text)
        for _ in range(2):
            before = server.log.read_text().count("the upgrade failed")
            os.kill(old, signal.SIGUSR2)
            wait_until(
                lambda b=before: server.log.read_text().count("the upgrade failed") > b, "the log says so"
            )
        lines = [line for line in server.log.read_text().splitlines() if "the upgrade failed" in line]
        self.assertEqual(2, len(lines), lines)
        self.assertIn("and this server goes on: the new one ended with status 1: ", lines[0])
        self.assertIn(expected, lines[0])
        self.assertEqual(old, self.pid)
        with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
            client.sendmail("a@example.com", ["b@example.org"], "Subject: x\n\nx\n")
        for name in config:
            (server.config / name).unlink()
        server.write("plugins", QUICK["plugins"])
        server.write("listen", f"127.0.0.1:{server.port}\n")
        self.upgrade()
        self.end(server)

    def test_bad_configuration(self) -> None:
        self.failing({"databytes": "many\n"}, "databytes:1: 'many' is not a number")

    def test_bad_plugin(self) -> None:
        self.failing({"plugins": "bogus\n"}, "plugins:1: no plugin is called 'bogus'")

    def test_port_that_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            self.failing({"smtps": "", "listen": f"127.0.0.1:{port}\n"}, "cannot listen: ")

    def test_new_one_killed(self) -> None:
        """A new server that is killed while it starts leaves the old one as it was."""
        server = self.start()
        old = self.pid
        os.kill(old, signal.SIGUSR2)
        wait_until(lambda: children(old) and children(children(old)[0]), "the new server is on its way")
        os.kill(children(children(old)[0])[0], signal.SIGKILL)
        line = "the upgrade failed, and this server goes on: the new one was killed by SIGKILL"
        wait_until(lambda: line in self.log.read_text(), "the log says so")
        self.upgrade()
        self.end(server)

    def test_killed_while_it_starts(self) -> None:
        """TERM and KILL end both servers, whichever is on its way."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            server = self.start()
            old = self.pid
            os.kill(old, signal.SIGUSR2)
            wait_until(lambda o=old: children(o), "the new server is on its way")
            (between,) = children(old)
            wait_until(lambda b=between: children(b), "it has a process of its own")
            (new,) = children(between)
            os.kill(old, number)
            wait_until(lambda a=(old, between, new): not any(map(lives, a)), "all have ended")
            self.assertFalse(answers(server.port))


class DaemonTests(Case):
    options = ("--logfile=log",)

    def test_daemon(self) -> None:
        """The pid file always names a server that serves, and the log is one file."""
        server = self.start(QUIET | {"lmtp": "unix:lmtp\n"})
        self.assertEqual(0, self.process.wait(30))
        for _ in range(2):
            old = self.upgrade()
            wait_until(lambda o=old: not lives(o), "the old server has ended")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(server.directory / "lmtp"))
            self.assertTrue(client.recv(1000).startswith(b"220 "))
        self.assertEqual(str(self.pid), str((server.directory / "lmtp.lock").readlink()))
        self.end(server)
        self.assertEqual([], list(server.directory.glob("lmtp*")))

    @unittest.skipUnless(NOBODY_RUNS_PYTHON, "needs root, and a Python that everybody may run")
    def test_other_user(self) -> None:
        """A port that only root may bind is handed over by a server that is root no more."""
        nobody = pwd.getpwnam("nobody")
        for workers in ("1\n", "2\n"):
            work = Path(self.enterContext(tempfile.TemporaryDirectory()))
            os.chown(work, nobody.pw_uid, nobody.pw_gid)
            ids = ["--uid", str(nobody.pw_uid), "--gid", str(nobody.pw_gid), "--rundir", work]
            config = QUIET | {"workers": workers, "spool_dir": f"{work}/spool\n"}
            config["plugins"] = f"rcpt_ok\nqueue/maildir {work}/mail\n"
            server = self.start(config, *ids, port=927, pidfile=work / "pid", owner=nobody.pw_uid)
            for _ in range(2):
                old = self.upgrade()
                wait_until(lambda o=old: not lives(o), "the old server has ended")
            self.assertEqual(nobody.pw_uid, Path(f"/proc/{self.pid}").stat().st_uid)
            with smtplib.SMTP("127.0.0.1", 927, timeout=30) as client:
                client.sendmail("a@example.com", ["b@example.org"], "Subject: x\n\nx\n")
            self.assertEqual(1, len(list((work / "mail" / "new").iterdir())))
            self.end(server)

    @unittest.skipUnless(NOBODY_RUNS_PYTHON, "needs root, and a Python that everybody may run")
    def test_pid_file_of_root(self) -> None:
        """Without a pid file that it could write, the server stays as it is, and says so."""
        nobody = pwd.getpwnam("nobody")
        work = Path(self.enterContext(tempfile.TemporaryDirectory()))
        os.chown(work, nobody.pw_uid, nobody.pw_gid)
        self.start(QUIET | {"spool_dir": f"{work}/spool\n"}, "--uid", str(nobody.pw_uid))
        os.kill(self.pid, signal.SIGUSR2)
        line = f"cannot upgrade: the pid file {self.pidfile} cannot be written by this user"
        wait_until(lambda: line in self.log.read_text(), "the log says so")


class SystemdTests(Case):
    def test_notification(self) -> None:
        """systemd is told that the server is ready, and then who it is; by the main process only."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            path = f"{self.enterContext(tempfile.TemporaryDirectory())}/notify"
            systemd.bind(path)
            systemd.settimeout(30)
            os.environ["NOTIFY_SOCKET"] = path
            try:
                started = self.start()
            finally:
                del os.environ["NOTIFY_SOCKET"]
            self.assertEqual(b"READY=1", systemd.recv(1000))
            self.upgrade()
            self.assertEqual(f"MAINPID={self.pid}".encode(), systemd.recv(1000))
            self.end(started)
            systemd.setblocking(False)
            self.assertRaises(BlockingIOError, systemd.recv, 1000)

    def test_socket(self) -> None:
        """A socket that systemd gave serves workers and successors, keeps its mode, and outlives them."""
        for workers in ("1\n", "2\n"):
            listener = socket.socket(socket.AF_UNIX)
            path = Path(self.enterContext(tempfile.TemporaryDirectory()), "socket")
            listener.bind(str(path))
            listener.listen()
            path.chmod(0o600)
            server = Server(QUICK | {"workers": workers, "listen": "systemd:domain=UNIX:name=smtp\n"})
            self.addCleanup(server.close)
            self.pidfile, self.log = server.directory / "pid", server.log
            script = f'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=smtp exec "$0" "$@" 3<&{listener.fileno()}'
            command = [TWISTD, "-n", "--pidfile", self.pidfile, "qpsmtpd", "--config", server.config]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    ["/bin/sh", "-c", script, *command],
                    cwd=server.directory,
                    pass_fds=[listener.fileno()],
                    stdout=log,
                    stderr=log,
                )
            self.addCleanup(self.process.wait)
            self.addCleanup(self.kill_all, server)
            listener.close()
            wait_until(self.pidfile.exists, "there is a pid file")
            for _ in range(2):
                self.greeted(path)
                self.upgrade()
            self.greeted(path)
            self.end(server)
            self.assertEqual(0o600, path.stat().st_mode & 0o777)

    def greeted(self, path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(path))
            self.assertTrue(client.recv(1000).startswith(b"220 "), self.log.read_text())


if __name__ == "__main__":
    unittest.main()
