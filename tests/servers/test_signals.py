"""HUP, TERM and twistd's own options."""

from __future__ import annotations

import os
import pwd
import signal
import smtplib
import socket
import ssl
import subprocess
import unittest
from pathlib import Path
from typing import BinaryIO

from harness import TWISTD, Server, answers, run, running, wait_until

ENVELOPE = b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"


class SignalTests(unittest.TestCase):
    """What signals do to a server at work."""

    def setUp(self) -> None:
        self.server = self.enterContext(running())

    def connect(self) -> tuple[socket.socket, BinaryIO]:
        client = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
        self.addCleanup(client.close)
        replies = client.makefile("rb")
        self.addCleanup(replies.close)
        self.assertTrue(replies.readline().startswith(b"220 "))
        return client, replies

    def read_to(self, replies: BinaryIO, start: bytes) -> None:
        for line in replies:
            if line.startswith(start):
                return
        self.fail(f"the server never said {start!r}")

    def certificate(self) -> bytes:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", self.server.smtps_port))
        with plain, context.wrap_socket(plain) as encrypted:
            return encrypted.getpeercert(binary_form=True) or b""

    def test_term_lets_a_message_finish(self) -> None:
        _idle, idle_replies = self.connect()
        busy, replies = self.connect()
        busy.sendall(ENVELOPE)
        self.read_to(replies, b"354 ")
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGTERM)
        self.read_to(idle_replies, b"421 4.3.2 ")
        wait_until(lambda: not answers(self.server.port), "the port is closed")
        busy.sendall(b"Subject: last\r\n\r\nx\r\n.\r\n")
        self.read_to(replies, b"250 2.0.0 Queued!")
        self.read_to(replies, b"421 4.3.2 ")
        self.assertEqual(self.server.process.wait(30), -signal.SIGTERM)
        self.assertEqual(len(self.server.messages()), 1)

    def test_term_twice(self) -> None:
        """Who cannot wait says it again; the message stays with the client."""
        busy, replies = self.connect()
        busy.sendall(ENVELOPE)
        self.read_to(replies, b"354 ")
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not answers(self.server.port), "the port is closed")
        self.server.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.process.wait(10), -signal.SIGTERM)
        self.assertEqual([], self.server.messages())

    def test_term_does_not_wait_for_ever(self) -> None:
        self.server.stop()
        self.server.write("shutdown_grace", "1\n")
        self.server.start()
        busy, replies = self.connect()
        busy.sendall(ENVELOPE)
        self.read_to(replies, b"354 ")
        self.assertEqual(self.server.stop(), -signal.SIGTERM)

    def test_hup_reads_settings_and_certificates(self) -> None:
        before = self.certificate()
        for name in ("crt", "key"):
            (path,) = self.server.config.rglob(f"*.{name}")
            path.unlink()
        self.server.write("me", "other.example.com\n")
        files = ["-keyout", path.with_suffix(".key"), "-out", path.with_suffix(".crt")]
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", *files)
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.certificate() != before, "the new certificate is in use")
        with smtplib.SMTP("127.0.0.1", self.server.port) as client:
            self.assertIn(b"other.example.com", client.ehlo()[1])

    def test_hup_keeps_what_was_good(self) -> None:
        self.server.write("databytes", "many\n")
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "databytes:1: 'many' is not" in self.server.log.read_text(), "the log names it")
        with smtplib.SMTP("127.0.0.1", self.server.port) as client:
            self.assertIn(b"SIZE 50000000", client.ehlo()[1])


class PrivilegeTests(unittest.TestCase):
    """twistd's options: daemon, user, pid file, log file."""

    @unittest.skipUnless(os.getuid() == 0, "needs root, which CI is")
    def test_daemon_of_another_user(self) -> None:
        nobody = pwd.getpwnam("nobody")
        server = Server({"size_threshold": "10\n"})
        self.addCleanup(server.close)
        server.directory.chmod(0o755)
        work = server.directory / "work"
        work.mkdir()
        os.chown(work, nobody.pw_uid, nobody.pw_gid)
        pid = work / "pid"
        options = ["--pidfile", pid, "--logfile", work / "log", "--rundir", work]
        options += ["--uid", str(nobody.pw_uid), "--gid", str(nobody.pw_gid)]
        command = [TWISTD, *options, "qpsmtpd", "--config", server.config, "--spool", work / "spool"]
        subprocess.run([*command, "--listen", "127.0.0.1:925"], check=True, cwd=work)
        try:
            wait_until(lambda: answers(925), "the server listens")
            number = int(pid.read_text())
            self.assertEqual(Path(f"/proc/{number}").stat().st_uid, nobody.pw_uid)
            with smtplib.SMTP("127.0.0.1", 925) as client:
                client.sendmail("a@example.com", ["b@example.org"], "Subject: x\n\n" + "spooled\n" * 100)
            self.assertEqual(len(list((work / "mail" / "new").iterdir())), 1)
        finally:
            os.kill(int(pid.read_text()), signal.SIGTERM)
            wait_until(lambda: not pid.exists(), "the server ends and removes its pid file")


if __name__ == "__main__":
    unittest.main()
