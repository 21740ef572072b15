"""TLS as openssl s_client sees it: names, clients' certificates, resumption, policies, new certificates."""

from __future__ import annotations

import re
import socket
import unittest
from functools import partial

from harness import Server, answers, free_port, run, sent_part, wait_until

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
SEE = """\
from qpsmtpd import Connection, Plugin

class See(Plugin):
    def hook_ehlo(self, connection: Connection) -> None:
        if connection.tls:
            connection.capabilities.append(f"X-SEEN {connection.tls.client_names} {connection.tls.sni}")
"""


class TLSTests(unittest.TestCase):
    """One server with several certificates, and listeners of several kinds."""

    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.close)
        self.place = self.server.directory
        (self.place / "sni").mkdir()
        (self.place / "own").mkdir()
        (self.place / "own/see.py").write_text(SEE)
        self.make_ca("ca")
        self.make_server("main", "mail.example.com")
        for name in ("one.example", "two.example"):
            self.put(name)
        config = self.server.config
        lines = (config / "plugins").read_text().splitlines()
        tls = "tls main.crt main.key sni sni client_ca ca.crt"
        lines = [tls if re.match(r"tls\b", line) else line for line in lines]
        self.server.write("plugins", "\n".join(["see", *lines]) + "\n")
        self.server.write("plugin_dirs", f"{self.place / 'own'}\n")
        self.asking, self.insisting, self.required = free_port(), free_port(), free_port()
        with (config / "listen").open("a") as listen:
            listen.write(f"127.0.0.1:{self.asking} client=ask\n127.0.0.1:{self.required} starttls=required\n")
        with (config / "smtps").open("a") as smtps:
            smtps.write(f"127.0.0.1:{self.insisting} client=require\n")
        self.server.start()
        for port in (self.asking, self.insisting, self.required):
            wait_until(partial(answers, port), "all listeners listen")

    def openssl(self, *words: object) -> None:
        run("openssl", *words)

    def make_ca(self, name: str) -> None:
        path = self.place / name
        self.openssl(
            "req", "-x509", *CURVE, "-subj", f"/CN={name}", "-keyout", f"{path}.key", "-out", f"{path}.crt"
        )

    def make_server(self, name: str, host: str) -> None:
        path = self.place / name
        names = ("-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")
        self.openssl("req", "-x509", *CURVE, *names, "-keyout", f"{path}.key", "-out", f"{path}.crt")

    def put(self, name: str) -> None:
        """Put a certificate into the directory of names, in one step."""
        self.make_server("new", name)
        text = (self.place / "new.key").read_text() + (self.place / "new.crt").read_text()
        (self.place / "new.pem").write_text(text)
        (self.place / "new.pem").rename(self.place / "sni" / f"{name}.pem")

    def make_client(self, name: str, ca: str) -> list[object]:
        """Make a client's certificate; give the options with which s_client shows it."""
        path, by = self.place / name, self.place / ca
        self.openssl(
            "req", "-new", *CURVE, "-subj", f"/CN={name}", "-keyout", f"{path}.key", "-out", f"{path}.csr"
        )
        signer = ("-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-CAcreateserial")
        self.openssl("x509", "-req", "-in", f"{path}.csr", *signer, "-out", f"{path}.crt")
        return ["-cert", f"{path}.crt", "-key", f"{path}.key"]

    def s_client(self, port: int, *options: object, say: str = "", implicit: bool = False) -> str:
        start = () if implicit else ("-starttls", "smtp")
        command = ("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-crlf", *start, *options)
        # -ign_eof: s_client leaves when the server does, not at the end of its input.
        done = run(*command, "-ign_eof", stdin=(say + "EHLO x\nQUIT\n").replace("\r", ""), check=False)
        return done.stdout + done.stderr

    def subject(self, *options: object) -> str:
        found = re.search(r"subject=(.*)", self.s_client(self.server.port, *options))
        assert found is not None
        return found[1].replace(" ", "")

    def test_names(self) -> None:
        """Each name has its certificate; unknown names, and none, have the main one."""
        for version in ("-tls1_2", "-tls1_3"):
            for name in ("one.example", "two.example"):
                self.assertEqual(f"CN={name}", self.subject(version, "-servername", name))
            for words in (["-servername", "three.example"], ["-noservername"]):
                self.assertEqual("CN=mail.example.com", self.subject(version, *words))

    def test_new_certificates(self) -> None:
        """HUP brings new certificates to new handshakes, and ends no session."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as client:
            replies = client.makefile("rb")
            self.assertEqual(b"220", replies.readline()[:3])
            self.make_server("main", "new.example.com")
            self.put("three.example")
            (self.place / "sni/one.example.pem").unlink()
            run("kill", "-HUP", self.server.pid)
            wait_until(lambda: self.subject("-noservername") == "CN=new.example.com", "the new certificate")
            self.assertEqual("CN=three.example", self.subject("-servername", "three.example"))
            self.assertEqual("CN=new.example.com", self.subject("-servername", "one.example"))
            client.sendall(b"NOOP\r\n")
            self.assertEqual(b"250", replies.readline()[:3])
        self.assertIn("main.crt: certificate is not for mail.example.com", self.server.log.read_text())

    def test_client_certificates(self) -> None:
        """A verified certificate has a name; others have none, and no entry where one is required."""
        self.make_ca("other")
        good, bad = self.make_client("joe", "ca"), self.make_client("eve", "other")
        for version in ("-tls1_2", "-tls1_3"):
            for name in ("one.example", "unknown.example"):
                sni = (version, "-servername", name)
                self.assertIn(f"X-SEEN ('joe',) {name}", self.s_client(self.asking, *sni, *good))
                for options in ([], bad):
                    self.assertIn(f"X-SEEN () {name}", self.s_client(self.asking, *sni, *options))
                    self.assertNotIn("X-SEEN", self.s_client(self.insisting, *sni, *options, implicit=True))
                said = self.s_client(self.insisting, *sni, *good, implicit=True)
                self.assertIn(f"X-SEEN ('joe',) {name}", said)
        self.assertIn("No client certificate CA names sent", self.s_client(self.server.port, *good))

    def resumed(self, port: int, version: str, *options: object) -> bool:
        """Tell whether a second connection goes on with the session of the first one."""
        session = self.place / "session"
        implicit = port in (self.insisting, self.server.smtps_port)
        session.unlink(missing_ok=True)
        self.s_client(port, version, "-sess_out", session, *options, implicit=implicit)
        if not session.exists():
            return False
        said = self.s_client(port, version, "-sess_in", session, *options, implicit=implicit)
        self.assertIn("X-SEEN", said)
        return "Reused, TLSv1" in said

    def test_resumption(self) -> None:
        """Sessions are resumed, also under another name, but never where certificates are asked for."""
        good = self.make_client("joe", "ca")
        for version in ("-tls1_2", "-tls1_3"):
            self.assertTrue(self.resumed(self.server.port, version))
            self.assertTrue(self.resumed(self.server.smtps_port, version, "-servername", "one.example"))
            self.assertFalse(self.resumed(self.asking, version, *good))
        said = run(
            "openssl", "s_client", "-connect", f"127.0.0.1:{self.server.smtps_port}", "-tls1_2", "-reconnect",
            stdin="QUIT\n", check=False,
        ).stdout  # fmt: skip
        self.assertEqual(5, said.count("Reused, TLSv1.2"))

    def test_required(self) -> None:
        """RFC 3207 section 4: no mail in clear; within TLS it is taken, and Received tells how."""
        with socket.create_connection(("127.0.0.1", self.required), timeout=30) as client:
            client.sendall(b"MAIL FROM:<a@example.com>\r\nQUIT\r\n")
            said = b"".join(iter(lambda: client.recv(4096), b"")).decode()
        self.assertIn("530 5.7.0 Must issue a STARTTLS command first\r\n221", said)
        run(
            "swaks", "--server", "127.0.0.1", "--port", self.required, "--tls",
            "--from", "a@example.com", "--to", "b@example.org", "--ehlo", "client.example",
        )  # fmt: skip
        (message,) = self.server.take_messages(1)
        self.assertRegex(message, rb"with ESMTPS \(TLSv1\.3 TLS_AES_256_GCM_SHA384\)")
        self.assertIn(b"This is a test", sent_part(message, b"Date:"))


if __name__ == "__main__":
    unittest.main()
