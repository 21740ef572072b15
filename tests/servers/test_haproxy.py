"""Behind real proxies: HAProxy (PROXY, both versions), swaks (XCLIENT), Postfix (XFORWARD)."""

from __future__ import annotations

import smtplib
import socket
import ssl
import unittest

from haproxy import HAProxy
from harness import free_port, need, running, wait_until
from postfix import Postfix, swaks

VERSIONS = ("send-proxy", "send-proxy-v2")
QUIET = {"reverse_dns": "0\n", "trusted_proxies": "127.0.0.1\n"}


class HAProxyTests(unittest.TestCase):
    """The client comes from 127.0.0.9, and HAProxy from 127.0.0.1."""

    def connect(self, kind: type[smtplib.SMTP], port: int, **options: object) -> smtplib.SMTP:
        source = ("127.0.0.9", 0)
        client = kind("127.0.0.1", port, source_address=source, timeout=30, **options)  # type: ignore[arg-type]
        self.addCleanup(client.close)
        return client

    def test_versions(self) -> None:
        """The server greets the client by its own address, over STARTTLS and implicit TLS too."""
        behind, within = free_port(), free_port()
        config = {
            **QUIET,
            "listen": f"haproxy:tcp:{behind}:interface=127.0.0.1\n",
            "smtps": f"haproxy:tcp:{within}:interface=127.0.0.1\n",
        }
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with running(config, port=behind) as server:
            for version in VERSIONS:
                with self.subTest(version), HAProxy((behind, version), (within, version)) as proxy:
                    plain = self.connect(smtplib.SMTP, proxy.ports[0])
                    self.assertIn(b"[127.0.0.9]", plain.ehlo()[1])
                    plain.starttls(context=context)
                    self.assertNotIn("xclient", plain.esmtp_features)
                    self.assertIn(b"[127.0.0.9]", plain.ehlo()[1])
                    plain.sendmail("a@example.com", ["b@example.org"], "Subject: x\r\n\r\nx\r\n")
                    (message,) = server.take_messages(1)
                    self.assertIn(b"[127.0.0.9]", message)
                    secret = self.connect(smtplib.SMTP_SSL, proxy.ports[1], context=context)
                    self.assertIn(b"[127.0.0.9]", secret.ehlo()[1])
                    secret.quit()

    def test_both_families(self) -> None:
        """Where HAProxy listens for IPv6 and IPv4 at one socket, a client of IPv4 has its usual address."""
        behind = free_port()
        config = {**QUIET, "listen": f"haproxy:tcp:{behind}:interface=127.0.0.1\n", "reverse_dns": "1\n"}
        with running(config, port=behind):
            for version in VERSIONS:
                with (
                    self.subTest(version),
                    HAProxy((behind, version), address="ipv6@::ffff:127.0.0.1") as proxy,
                ):
                    client = self.connect(smtplib.SMTP, proxy.ports[0])
                    self.assertIn(b"[127.0.0.9]", client.ehlo()[1])

    def test_health_check(self) -> None:
        """HAProxy finds the server alive by its own SMTP check, announced by LOCAL."""
        behind = free_port()
        config = {**QUIET, "listen": f"haproxy:tcp:{behind}:interface=127.0.0.1\n", "loglevel": "INFO\n"}
        option = "send-proxy-v2 check inter 200ms check-send-proxy\n    option smtpchk EHLO check.example"
        with running(config, port=behind) as server, HAProxy((behind, option)) as proxy:
            heard = "dispatching EHLO check.example"
            wait_until(lambda: heard in server.log.read_text(), "HAProxy checks")
            client = self.connect(smtplib.SMTP, proxy.ports[0])
            self.assertEqual(250, client.ehlo()[0])

    def test_strangers(self) -> None:
        """Who is not HAProxy is closed without a word; who does not say PROXY, too."""
        behind = free_port()
        config = {**QUIET, "listen": f"haproxy:tcp:{behind}:interface=127.0.0.1\n"}
        header = b"PROXY TCP4 192.0.2.7 192.0.2.25 5555 25\r\n"
        with running(config, port=behind), HAProxy((behind, "")) as proxy:
            for port, source, said in (
                (behind, "127.0.0.2", header),
                (behind, "127.0.0.1", b"EHLO x\r\n"),
                (proxy.ports[0], "127.0.0.1", b"EHLO x\r\n"),
            ):
                self.assertEqual(b"", heard_after(port, source, said))


def heard_after(port: int, source: str, said: bytes) -> bytes:
    """Give all that is heard until the end; a connection that is cut, be it at once, has said nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), 30, (source, 0)) as client:
            client.sendall(said)
            return client.recv(1000)
    except ConnectionError:
        return b""


class CommandTests(unittest.TestCase):
    """Proxies that speak SMTP say who their client is by commands."""

    def test_xclient(self) -> None:
        """The client that swaks claims to have stands in the Received field."""
        need("swaks")
        with running(QUIET) as server:
            said = swaks(
                server.port,
                "Subject: x\n\nx\n",
                "--xclient",
                "NAME=seven.example ADDR=192.0.2.7",
                "--helo",
                "seven",
            )
            (message,) = server.take_messages(1)
        self.assertIn("<-  220 mail.example.com", said)
        self.assertIn(b"from seven (seven.example [192.0.2.7])", message)

    def test_stranger(self) -> None:
        """Others are not offered it, and swaks takes that for an end."""
        need("swaks")
        with running({"reverse_dns": "0\n"}) as server:
            said = swaks(server.port, "Subject: x\n\nx\n", "--xclient", "ADDR=192.0.2.7", check=False)
        self.assertNotIn("250-XCLIENT", said)
        self.assertNotIn("Queued", said)

    def test_xforward(self) -> None:
        """Postfix forwards what it knows of its client."""
        config = {**QUIET, "loglevel": "INFO\n", "logging": "", "rcpthosts": "example.org\n"}
        with running(config) as server, Postfix(server.port, smtp_send_xforward_command="yes") as postfix:
            swaks(postfix.port, "Subject: x\n\nx\n")
            server.take_messages(1)
            log = server.log.read_text()
        self.assertRegex(log, r"dispatching XFORWARD .*ADDR=127\.0\.0\.1")
        self.assertNotRegex(log, r"dispatching XFORWARD.*\n.* 5\d\d ")
