"""What nmap, a STARTTLS injection tester and every end of data but the right one find in SMTP."""

from __future__ import annotations

import re
import socket
import tempfile
import unittest
from pathlib import Path

from harness import Server, answers, running, wait_until
from scanning import BadServer, Scan, certify, nmap, scanned, script_results, tool
from test_leaks import talk, wait_for

from tests.smuggling import SEQUENCES, is_clean

SCRIPTS = "smtp-open-relay,smtp-commands,smtp-enum-users,smtp-ntlm-info,smtp-vuln-*"
RELAY_TESTS = 16


class NmapTests(unittest.TestCase):
    """nmap finds no relay, no user and no known flaw; and finds a relay where there is one."""

    def setUp(self) -> None:
        self.place = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def serve(self, server: Server) -> Server:
        self.addCleanup(server.close)
        return server.start()

    def scan(self, scripts: str, server: Server, *ports: int) -> dict[tuple[int, str], str]:
        arguments = "vulns.showall,smtp-enum-users.methods={VRFY,EXPN,RCPT}"
        scan = nmap(self.place, scripts, *(ports or (server.port,)), arguments=arguments)
        found = script_results(scan.output())
        print(f"{scripts}: {scan.seconds:.0f} s")
        return found

    def test_clean(self) -> None:
        server = self.serve(scanned())
        found = self.scan(SCRIPTS, server, server.port, server.smtps_port)
        for port in (server.port, server.smtps_port):
            with self.subTest(port=port):
                self.assertEqual("smtp qpsmtpd", found[port, "service"])
                self.assertIn("PIPELINING", found[port, "smtp-commands"])
                self.assertIn(
                    "doesn't seem to be an open relay, all tests failed", found[port, "smtp-open-relay"]
                )
                self.assertIn("Couldn't find any accounts", found[port, "smtp-enum-users"])
                vulnerable = {
                    key: said for key, said in found.items() if re.search(r"State: VULN|: VULN", said)
                }
                self.assertEqual({}, vulnerable)
                self.assertIn("NOT VULNERABLE", found[port, "smtp-vuln-cve2010-4344"])
        log = server.log.read_text()
        asked = re.findall(r"dispatching RCPT TO:<\S*nmap\.scanme\.org\S*>", log)
        self.assertGreaterEqual(len(asked), 2 * RELAY_TESTS, "each relay test was made on both ports")
        self.assertIn("dispatching VRFY", log)
        self.assertEqual([], server.messages())

    def test_relay(self) -> None:
        """The control: the shipped configuration relays for loopback, and nmap comes from there."""
        server = scanned({"relayclients": "127.0.0.1\n"})
        self.serve(server)
        said = self.scan("smtp-open-relay", server)[server.port, "smtp-open-relay"]
        self.assertRegex(said, r"Server is an open relay \(\d+/16 tests\)")

    def test_users(self) -> None:
        """The control: a server that refuses unknown recipients at RCPT is asked, and tells."""
        server = self.serve(
            scanned({"rcpthosts": "nmap.scanme.org\n", "badrcptto": "/^(?!root@)/ no such user\n"})
        )
        said = self.scan("smtp-enum-users", server)[server.port, "smtp-enum-users"]
        self.assertIn("root", said)


class Careless(BadServer):
    """A server that keeps what it has read in clear and takes it for said in TLS."""

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                self.talk(client)
            except OSError:
                client.close()

    def talk(self, client: socket.socket) -> None:
        client.sendall(b"220 careless\r\n")
        unread = b""
        while octets := client.recv(4096):
            unread += octets
            while b"\r\n" in unread:
                line, _, unread = unread.partition(b"\r\n")
                client.sendall(b"220 go\r\n" if line == b"STARTTLS" else b"250-careless\r\n250 STARTTLS\r\n")
                if line == b"STARTTLS":
                    client = self.context.wrap_socket(client, server_side=True)
        client.close()


class InjectionTests(unittest.TestCase):
    """The NO STARTTLS authors' tester finds no command injection; and finds one where there is one."""

    def setUp(self) -> None:
        self.place = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def scan(self, port: int) -> str:
        scan = Scan(
            self.place, tool("command-injection-tester"), "--smtp", "-s", port, "-t", 0.5, "127.0.0.1"
        )
        said = scan.output()
        print(f"command-injection-tester: {scan.seconds:.0f} s")
        self.assertIn("Sanity test done", said)
        return said

    def test_clean(self) -> None:
        server = scanned()
        self.addCleanup(server.close)
        said = self.scan(server.start().port)
        self.assertIn("Probably no command injection here!", said)
        self.assertNotRegex(said, r"(Possible|Probable) command injection|Command injection here")

    def test_careless(self) -> None:
        """The control."""
        certify(self.place)
        careless = Careless(self.place)
        self.addCleanup(careless.listener.close)
        wait_until(lambda: answers(careless.port), "the careless server listens")
        self.assertIn("Command injection here!", self.scan(careless.port))


class SmugglingTests(unittest.TestCase):
    """Over a socket, too, nothing but CRLF.CRLF ends a message."""

    BEGIN = b"EHLO x\r\nMAIL FROM:<good@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
    EVIL = (
        b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n.\r\n"
    )

    def smuggle(self, server: Server, sequence: bytes) -> list[bytes]:
        """Give the replies to all that follows 354."""
        with talk(server, self.BEGIN) as client, client.makefile("rb") as replies:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wait_for(replies, b"354")
            client.sendall(b"Subject: x\r\n\r\nx")
            client.sendall(sequence)
            client.sendall(self.EVIL + b"QUIT\r\n")
            return [line[:9] for line in replies]

    def play(self, policy: str) -> int:
        """Try each sequence; give how many messages were stored."""
        config = {"bare_newline": f"{policy}\n", "max_from_ip": "0\n"}
        with running(config) as server:
            server.stop()
            plugins = (server.config / "plugins").read_text().replace("earlytalker", "#earlytalker")
            server.write("plugins", plugins)
            server.start()
            for sequence in SEQUENCES:
                taken = policy == "normalize" or is_clean(sequence)
                expected = [b"250 2.0.0" if taken else b"550 5.6.1", b"221 2.0.0"]
                self.assertEqual(expected, self.smuggle(server, sequence), sequence)
            self.assertNotIn("dispatching MAIL FROM:<evil", server.log.read_text())
            return len(server.messages())

    def test_reject(self) -> None:
        self.assertEqual(len([one for one in SEQUENCES if is_clean(one)]), self.play("reject"))

    def test_normalize(self) -> None:
        self.assertEqual(len(SEQUENCES), self.play("normalize"))


if __name__ == "__main__":
    unittest.main()
