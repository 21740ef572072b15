"""What stands in clear behind STARTTLS counts for nothing, in the server and in its SMTP client."""

from __future__ import annotations

import socket
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import BinaryIO

from harness import PATIENCE, Server, free_port, need, running
from scanning import BadServer, certify
from test_leaks import talk

EVIL = b"EHLO evil\r\nMAIL FROM:<evil@example.com>\r\n"
PROXY = b"PROXY TCP4 192.0.2.7 192.0.2.25 5555 25\r\n"


class ServerTests(unittest.TestCase):
    """Commands in clear behind STARTTLS are never executed (RFC 3207 section 4.2)."""

    server: Server
    proxied: int

    @classmethod
    def setUpClass(cls) -> None:
        need("openssl")
        port, cls.proxied = free_port(), free_port()
        config = {
            "flat_auth_pw": "user@example.org:secret\n",
            "trusted_proxies": "127.0.0.1\n",
            "reverse_dns": "0\n",
            "listen": f"127.0.0.1:{port}\nhaproxy:tcp:{cls.proxied}:interface=127.0.0.1\n",
        }
        cls.server = cls.enterClassContext(running(config, port=port))

    def within(self, client: socket.socket) -> list[bytes]:
        """Shake hands, and give what is said within TLS to three commands."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(client) as secret:
            secret.sendall(b"NOOP\r\nMAIL FROM:<a@example.com>\r\nQUIT\r\n")
            return [line[:9] for line in secret.makefile("rb")]

    def inject(self, *before: bytes, evil: bytes = EVIL) -> list[bytes]:
        """Inject commands behind STARTTLS, in one segment."""
        client = self.enterContext(talk(self.server))
        for command in before:
            client.sendall(command)
            self.assertTrue(client.recv(4096))
        client.sendall(b"STARTTLS\r\n" + evil)
        self.assertEqual(client.recv(4096), b"220 2.0.0 go ahead\r\n")
        return self.within(client)

    def test_paths(self) -> None:
        """Behind the greeting, EHLO, a message begun, AUTH, XCLIENT: the injected EHLO and MAIL are gone."""
        hello, xclient = b"EHLO x\r\n", b"XCLIENT ADDR=192.0.2.7 NAME=client.example\r\n"
        paths: list[tuple[bytes, ...]] = [(), (hello,), (hello, b"MAIL FROM:<a@example.com>\r\n")]
        paths += [(hello, b"AUTH LOGIN\r\n", b"*\r\n"), (hello, b"AUTH PLAIN AGEAYg==\r\n")]
        paths += [(hello, xclient), (hello, xclient, hello)]
        for path in paths:
            with self.subTest(path):
                self.assertEqual([b"250 2.0.0", b"503 5.5.1", b"221 2.0.0"], self.inject(*path))

    def test_halves(self) -> None:
        """Half a command, a login, a BDAT and its chunk are gone, too."""
        for evil in (
            b"EHLO ev",
            b"RSET\r\nAUTH PLAIN ",
            b"BDAT 1000\r\nx",
            b"\0" * 1000,
            b"\r\n" * 100,
            b"x" * 5000,
        ):
            with self.subTest(evil):
                self.assertEqual([b"250 2.0.0", b"503 5.5.1", b"221 2.0.0"], self.inject(evil=evil))

    def test_proxy(self) -> None:
        """All in one segment with a PROXY header."""
        for before in (b"", b"EHLO x\r\n", b"EHLO x\r\nMAIL FROM:<a@example.com>\r\n"):
            with socket.create_connection(("127.0.0.1", self.proxied), timeout=PATIENCE) as client:
                client.sendall(PROXY + before + b"STARTTLS\r\n" + EVIL)
                said = b""
                while not said.endswith(b"220 2.0.0 go ahead\r\n"):
                    octets = client.recv(4096)
                    self.assertTrue(octets, said)
                    said += octets
                self.assertEqual([b"250 2.0.0", b"503 5.5.1", b"221 2.0.0"], self.within(client))

    def test_next_segment(self) -> None:
        """After the go-ahead, clear text ends the connection."""
        client = self.enterContext(talk(self.server, b"STARTTLS\r\n"))
        self.assertEqual(client.recv(4096), b"220 2.0.0 go ahead\r\n")
        client.sendall(EVIL)
        said = b"".join(iter(lambda: client.recv(4096), b""))
        self.assertNotIn(b"250", said)

    def test_openssl(self) -> None:
        """openssl's own STARTTLS meets a session that has forgotten its EHLO."""
        address = f"127.0.0.1:{self.server.port}"
        done = subprocess.run(
            ["openssl", "s_client", "-quiet", "-starttls", "smtp", "-connect", address],
            input=b"MAIL FROM:<a@example.com>\r\nquit\r\n",
            capture_output=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        self.assertIn(b"503 5.5.1 say EHLO first", done.stdout)


class MaliciousHop(BadServer):
    """A next hop, or somebody between, that says more in clear than it was asked; it takes one message."""

    def __init__(self, place: Path, injected: bytes) -> None:
        self.injected = injected
        self.said: list[bytes] = []
        self.content = b""
        super().__init__(place)

    def serve(self) -> None:
        client, _ = self.listener.accept()
        client.sendall(b"220 hop\r\n")
        with client.makefile("rb") as heard:
            while self.hear(client, heard) != b"STARTTLS":
                client.sendall(b"250-hop\r\n250 STARTTLS\r\n")
        client.sendall(b"220 go\r\n" + self.injected)
        with self.context.wrap_socket(client, server_side=True) as secret, secret.makefile("rb") as heard:
            while line := self.hear(secret, heard):
                if line == b"DATA":
                    secret.sendall(b"354 go\r\n")
                    self.content = b"".join(iter(heard.readline, b".\r\n"))
                secret.sendall(b"250-hop\r\n250 ok as secret\r\n")

    def hear(self, client: socket.socket, heard: BinaryIO) -> bytes:
        line = heard.readline().rstrip()
        self.said.append(line)
        return line


class ClientTests(unittest.TestCase):
    """Replies in clear behind the go-ahead answer nothing (RFC 3207 section 6)."""

    def setUp(self) -> None:
        self.place = Path(self.enterContext(tempfile.TemporaryDirectory()))
        certify(self.place)

    def forward(self, injected: bytes) -> MaliciousHop:
        """Send a message through the server to the hop."""
        hop = MaliciousHop(self.place, injected)
        self.addCleanup(hop.listener.close)
        server = Server()
        self.addCleanup(server.close)
        plugins = (server.config / "plugins").read_text()
        line = f"queue/smtp-forward 127.0.0.1 {hop.port} tls encrypt"
        server.write("plugins", plugins.replace("queue/maildir mail", line))
        server.start()
        with talk(
            server, b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
        ) as client:
            client.sendall(b"Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n")
            replies = client.makefile("rb").read()
        self.assertIn(b"250 2.0.0 Queued! as secret\r\n", replies)
        return hop

    def test_replies(self) -> None:
        """Whole replies and beginnings are forgotten: within TLS all is in step, and no promise counts."""
        for injected in (
            b"250-evil\r\n250-XCLIENT NAME\r\n250 SIZE 1\r\n",
            b"250 ok as evil\r\n" * 20,
            b"250-evil",
        ):
            with self.subTest(injected):
                hop = self.forward(injected)
                self.assertTrue(hop.content.endswith(b"\r\n\r\nhello\r\n"))
                after = hop.said[hop.said.index(b"STARTTLS") + 1 :]
                self.assertEqual([b"EHLO", b"MAIL", b"RCPT", b"DATA"], [line[:4] for line in after[:4]])
                self.assertEqual(b"MAIL FROM:<a@example.com>", after[1])


if __name__ == "__main__":
    unittest.main()
