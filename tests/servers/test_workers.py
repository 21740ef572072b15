"""Several workers on one socket: served, limited, restarted and ended as one server."""

from __future__ import annotations

import os
import pwd
import re
import signal
import smtplib
import socket
import subprocess
import unittest
from collections.abc import Mapping
from pathlib import Path

from harness import TWISTD, Server, answers, wait_until
from processes import NOBODY_RUNS_PYTHON, children, lives, wait_for_workers

WORKERS = 3


class Case(unittest.TestCase):
    def start(self, config: Mapping[str, str] | None = None, workers: int = WORKERS) -> Server:
        files = {"workers": f"{workers}\n", "logging": "logging/warn LOGINFO\n"} | dict(config or {})
        server = Server(files)
        self.addCleanup(server.close)
        server.start()
        wait_for_workers(server, workers)
        return server

    def connect(self, server: Server, address: str = "127.0.0.1") -> tuple[socket.socket, bytes]:
        client = socket.create_connection(("127.0.0.1", server.port), 30, (address, 0))
        self.addCleanup(client.close)
        return client, client.recv(1000)


class ServingTests(Case):
    def test_limits(self) -> None:
        """Limits hold over all workers, and what a killed one had is free again."""
        limits = {"max_connections": "6\n", "max_from_ip": "4\n"}
        server = self.start(limits | {"plugins": "rcpt_ok\nqueue/maildir mail\n", "smtps": ""})
        held = [self.connect(server)[1][:3] for _ in range(5)]
        self.assertEqual(held, [b"220"] * 4 + [b"421"])
        others = [self.connect(server, "127.0.0.2")[1] for _ in range(3)]
        self.assertEqual([reply[:3] for reply in others], [b"220", b"220", b"421"])
        self.assertIn(b"too many connections (6)", others[2])
        for pid in children(server.pid):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.connect(server)[1].startswith(b"220"), "it serves again")

    def test_numbers(self) -> None:
        """No two connections have the same number in the log, before and after a restart."""
        server = self.start()
        for _ in range(2):
            for _ in range(8):
                with smtplib.SMTP("127.0.0.1", server.port, timeout=30) as client:
                    client.noop()
            victim = children(server.pid)[0]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda v=victim: f"({v}) was killed" in server.log.read_text(), "the log says so")
        log = server.log.read_text()
        numbers = re.findall(r"^(\d+) Accepted connection \d/\d+ from 127.0.0.1", log, re.MULTILINE)
        self.assertGreaterEqual(len(numbers), 16)
        self.assertEqual(len(numbers), len(set(numbers)))
        restarts = re.findall(r"^\d+ worker \d .*", log, re.MULTILINE)
        self.assertEqual(2, len(restarts), restarts)

    def test_hup(self) -> None:
        """All workers read the configuration again."""
        server = self.start()
        server.write("smtpgreeting", "another ESMTP\n")
        os.kill(server.pid, signal.SIGHUP)
        wait_until(
            lambda: server.log.read_text().count("reloading the configuration") == WORKERS + 1, "all reload"
        )
        for _ in range(10):
            self.assertEqual(self.connect(server)[1], b"220 another ESMTP\r\n")

    def test_one_is_no_parent(self) -> None:
        server = Server({"workers": "1\n"})
        self.addCleanup(server.close)
        server.start()
        self.assertEqual([], children(server.pid))


class EndTests(Case):
    def message(self, server: Server) -> socket.socket:
        """Begin a message."""
        client, _ = self.connect(server)
        client.sendall(b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
        said = b""
        while b"354 " not in said:
            said += client.recv(1000)
        return client

    def test_term(self) -> None:
        """The socket closes at once, and a message that is held may end."""
        server = self.start()
        workers = children(server.pid)
        clients = [self.message(server) for _ in range(6)]
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: not answers(server.port), "the port is closed")
        for client in clients:
            client.sendall(b"Subject: last\r\n\r\nx\r\n.\r\n")
            self.assertIn(b"250 2.0.0 Queued!", client.recv(1000))
        assert server.process is not None
        self.assertEqual(server.process.wait(30), -signal.SIGTERM)
        self.assertEqual([], [pid for pid in workers if lives(pid)])
        self.assertEqual(6, len(server.messages()))
        self.assertNotIn("starting it again", server.log.read_text())
        self.assertNotIn("Traceback", server.log.read_text())

    def test_term_twice(self) -> None:
        """Who cannot wait says it again."""
        server = self.start()
        workers = children(server.pid)
        self.message(server)
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: not answers(server.port), "the port is closed")
        os.kill(server.pid, signal.SIGTERM)
        assert server.process is not None
        self.assertEqual(server.process.wait(5), -signal.SIGTERM)
        wait_until(lambda: not any(map(lives, workers)), "no worker is left")

    def test_parent_is_killed(self) -> None:
        """Without a parent, workers end as if they had been told to, and nobody is left."""
        server = self.start()
        workers = children(server.pid)
        client = self.message(server)
        server.stop(signal.SIGKILL)
        wait_until(lambda: not answers(server.port), "the port is closed")
        client.sendall(b"Subject: last\r\n\r\nx\r\n.\r\n")
        self.assertIn(b"250 2.0.0 Queued!", client.recv(1000))
        wait_until(lambda: not any(map(lives, workers)), "no worker is left")


class StartTests(Case):
    def test_mistake(self) -> None:
        """A mistake ends the start, with its line and no process."""
        server = Server({"workers": "2\n", "databytes": "many\n"})
        self.addCleanup(server.close)
        with self.assertRaisesRegex(AssertionError, "databytes:1: 'many' is not a number"):
            server.start()

    def test_number(self) -> None:
        server = Server({"workers": "two\n"})
        self.addCleanup(server.close)
        with self.assertRaisesRegex(AssertionError, "workers:.*'two' is not auto or a number from 1 to"):
            server.start()

    def test_worker_that_cannot_start(self) -> None:
        """A line says why, each time, and the others go on."""
        server = self.start()
        server.write("databytes", "many\n")
        os.kill(children(server.pid)[0], signal.SIGKILL)
        wait_until(lambda: "starting it again in 2 s" in server.log.read_text(), "it is tried again")
        self.assertRegex(
            server.log.read_text(),
            r"worker \d \(\d+\) ended with status 1: qpsmtpd: \S+databytes:1: 'many' is not a number.*in 2 s",
        )
        self.assertTrue(self.connect(server)[1].startswith(b"220 "))

    @unittest.skipUnless(NOBODY_RUNS_PYTHON, "needs root, and a Python that everybody may run")
    def test_daemon_of_another_user(self) -> None:
        """Workers are of the user that twistd became, on a port that only root may bind."""
        nobody = pwd.getpwnam("nobody")
        server = Server()
        self.addCleanup(server.close)
        server.directory.chmod(0o755)
        work = server.directory / "work"
        work.mkdir()
        os.chown(work, nobody.pw_uid, nobody.pw_gid)
        server.write("plugins", f"rcpt_ok\nqueue/maildir {work}/mail\n")
        server.write("smtps", "")
        server.write("logging", "")
        pid = work / "pid"
        options = ["--pidfile", pid, "--logfile", work / "log", "--rundir", work]
        options += ["--uid", str(nobody.pw_uid), "--gid", str(nobody.pw_gid)]
        command = [TWISTD, *options, "qpsmtpd", "--config", "../config", "--spool", work / "spool"]
        subprocess.run(
            [*command, "--listen", "127.0.0.1:926", "--workers", "2"], check=True, cwd=server.config
        )
        try:
            with smtplib.SMTP("127.0.0.1", 926, timeout=30) as client:
                client.sendmail("a@example.com", ["b@example.org"], "Subject: x\n\nx\n")
            number = int(pid.read_text())
            workers = children(number)
            self.assertEqual({nobody.pw_uid}, {Path(f"/proc/{each}").stat().st_uid for each in workers})
            os.kill(workers[0], signal.SIGKILL)
            wait_until(
                lambda: f"({workers[0]}) was killed by SIGKILL" in (work / "log").read_text(), "logged"
            )
        finally:
            os.kill(int(pid.read_text()), signal.SIGTERM)
            wait_until(lambda: not pid.exists(), "the server ends and removes its pid file")


if __name__ == "__main__":
    unittest.main()
