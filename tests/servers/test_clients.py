"""Real clients: curl, Python's smtplib, openssl, smtp-source."""

from __future__ import annotations

import smtplib
import ssl
import unittest

from harness import Server, need, run, running, sent_part

MESSAGE = "Subject: hello\nFrom: a@example.com\n\nFirst line\n.dot\n..two dots\n" + "x" * 2000 + "\nlast\n"
ACCOUNT = "user@example.org:secret word\n"


class ClientTests(unittest.TestCase):
    """Each client delivers, and what it sent is in the Maildir octet for octet under the added fields."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        need("curl", "openssl", "smtp-source")
        context = running({"flat_auth_pw": ACCOUNT, "auth_mechanisms": "PLAIN LOGIN CRAM-MD5\n"})
        cls.server = cls.enterClassContext(context)

    def check_delivery(self, text: str = MESSAGE) -> bytes:
        (message,) = self.server.take_messages(1)
        self.assertEqual(sent_part(message, text.encode()[:8]), text.encode())
        return message

    def test_curl(self) -> None:
        for scheme, options in (("smtp", []), ("smtp", ["--ssl-reqd", "-k"]), ("smtps", ["-k"])):
            port = self.server.smtps_port if scheme == "smtps" else self.server.port
            with self.subTest(scheme, options=options):
                envelope = ["--mail-from", "a@example.com", "--mail-rcpt", "b@example.org", "-T", "-"]
                text = MESSAGE.replace("\n", "\r\n")
                run("curl", "-sS", f"{scheme}://127.0.0.1:{port}", *envelope, *options, stdin=text)
                self.check_delivery()

    def test_smtplib(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP("127.0.0.1", self.server.port) as client:
            client.starttls(context=context)
            client.login("user@example.org", "secret word")
            client.sendmail("a@example.com", ["b@example.org", "c@example.net"], MESSAGE)
            client.sendmail("", ["b@example.org"], MESSAGE)
        for message in self.server.take_messages(2):
            self.assertEqual(sent_part(message, b"Subject:"), MESSAGE.encode())

    def test_openssl_speaks_both_versions(self) -> None:
        for version in ("-tls1_2", "-tls1_3"):
            for where, port in ((["-starttls", "smtp"], self.server.port), ([], self.server.smtps_port)):
                address = ["-connect", f"127.0.0.1:{port}"]
                done = run("openssl", "s_client", version, *where, *address, stdin="QUIT\r\n")
                self.assertIn("Verification error: self-signed certificate", done.stdout)

    def test_smtp_source_2000(self) -> None:
        where = f"127.0.0.1:{self.server.port}"
        options = ["-s", "20", "-m", "2000", "-l", "4096", "-f", "a@example.com", "-t", "b@example.org"]
        run("smtp-source", *options, where)
        messages = self.server.take_messages(2000)
        self.assertEqual(len(messages), 2000)
        texts = [sent_part(message, b"From: <a@example.com>") for message in messages]
        bodies = {text.partition(b"\n\n")[2] for text in texts}
        self.assertEqual(len(bodies), 1)
        self.assertGreaterEqual(len(texts[0].replace(b"\n", b"\r\n")), 4096)


if __name__ == "__main__":
    unittest.main()
