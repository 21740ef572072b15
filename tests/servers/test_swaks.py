"""swaks with its transports, protocols, AUTH types, and what it says for proxies: one row each."""

from __future__ import annotations

import smtplib
import ssl
import unittest

from harness import Server, free_port, need, run, sent_part
from recording import PASSWORD, USER, record_of, recording

MESSAGE = "Subject: hello\nFrom: a@example.com\n\nFirst line\n.dot\n..two dots\n" + "x" * 2000 + "\nlast\n"
LOGIN = ("--auth-user", USER, "--auth-password", PASSWORD)
PROXY = (
    "--proxy-family TCP4 --proxy-source 192.0.2.7 --proxy-source-port 5555"
    " --proxy-dest 192.0.2.25 --proxy-dest-port 25"
)

PROXY2 = PROXY.replace("TCP4", "AF_INET --proxy-protocol STREAM")

# where to connect, options, what Received says of it
TAKEN = [
    ("smtp", "", "with ESMTP id"),
    ("smtp", "--protocol SMTP", "with SMTP id"),
    ("smtp", "--protocol ESMTP --pipeline", "with ESMTP id"),
    ("smtp", "--protocol ESMTPS", "with ESMTPS (TLSv1.3"),
    ("smtp", "--tls --tls-protocol tlsv1_2", "with ESMTPS (TLSv1.2"),
    ("smtp", "--tls --pipeline", "with ESMTPS (TLSv1.3"),
    ("smtp", "--tls-optional", "with ESMTPS (TLSv1.3"),
    ("smtps", "--tlsc", "with ESMTPS (TLSv1.3"),
    ("smtps", "--tlsc --pipeline", "with ESMTPS (TLSv1.3"),
    ("smtps", "--protocol SSMTP", "with ESMTPS (TLSv1.3"),
    ("smtp", "--tls --auth PLAIN", "with ESMTPSA (TLSv1.3"),
    ("smtp", "--tls --auth LOGIN", "with ESMTPSA (TLSv1.3"),
    ("smtp", "--tls --auth CRAM-MD5", "with ESMTPSA (TLSv1.3"),
    ("smtps", "--tlsc --auth PLAIN", "with ESMTPSA (TLSv1.3"),
    ("smtps", "--tlsc --auth LOGIN", "with ESMTPSA (TLSv1.3"),
    ("smtps", "--tlsc --auth CRAM-MD5", "with ESMTPSA (TLSv1.3"),
    ("smtp", "--protocol ESMTPSA --auth PLAIN", "with ESMTPSA (TLSv1.3"),
    ("smtp", "--tls --auth-optional DIGEST-MD5", "with ESMTPS (TLSv1.3"),
    ("smtp", "--prdr", "with ESMTP id"),
    ("smtp", "--prdr --tls --pipeline", "with ESMTPS (TLSv1.3"),
    ("ipv6", "-6", "with ESMTP id"),
    ("ipv6", "-6 --tls --auth PLAIN", "with ESMTPSA (TLSv1.3"),
    ("unix", "", "with ESMTP id"),
    ("unix", "--tls --auth PLAIN", "with ESMTPSA (TLSv1.3"),
    ("unix", "--pipeline", "with ESMTP id"),
    ("pipe", "", "with ESMTPS (TLSv1.3"),
    ("lmtp", "--protocol LMTP", "with LMTP id"),
    ("lmtp", "--protocol LMTPS", "with LMTPS (TLSv1.3"),
    ("lmtp", "--protocol LMTPSA --auth PLAIN", "with LMTPSA (TLSv1.3"),
    ("proxied", f"--proxy-version 1 {PROXY}", "from client.example ([192.0.2.7])"),
    ("proxied", f"--proxy-version 2 {PROXY2}", "from client.example ([192.0.2.7])"),
    ("proxied", f"--proxy-version 2 {PROXY2} --tls --auth PLAIN", "with ESMTPSA (TLSv1.3"),
    (
        "smtp",
        "--xclient-addr 192.0.2.7 --xclient-name seven.example --xclient-helo seven --xclient-proto ESMTP"
        " --xclient-port 5555 --xclient-destaddr 192.0.2.25 --xclient-destport 25",
        "from client.example (seven.example [192.0.2.7])",
    ),
    ("smtp", "--tls --xclient-addr 192.0.2.7", "with ESMTPS (TLSv1.3"),
    ("smtp", "--tls --xclient-addr 192.0.2.7 --xclient-before-starttls", "with ESMTPS (TLSv1.3"),
    ("smtp", f"--xclient-addr 192.0.2.7 --xclient-login {USER}", "with ESMTPA id"),
]
# Not --proxy-command LOCAL: swaks writes 2 for it, and 0 is right; HAProxy does so in test_haproxy.

# what swaks does not go on with, its exit status, and what it says
REFUSED = [
    ("smtp", "--auth PLAIN", 28, "Host did not advertise authentication"),
    ("smtp", "--tls --auth DIGEST-MD5", 28, "requested type not available"),
    ("smtp", "--tls --auth CRAM-SHA1", 28, "requested type not available"),
    ("smtp", "--tls --auth NTLM", 28, "requested type not available"),
    ("smtp", "--tls --auth SPA", 28, "requested type not available"),
    ("smtp", "--protocol LMTP", 22, "500 5.5.1"),
    ("lmtp", "--protocol ESMTP", 22, "500 5.5.1"),
]


class SwaksTests(unittest.TestCase):
    """Each row delivers, and what was sent is in the Maildir octet for octet."""

    server: Server
    where: dict[str, tuple[object, ...]]

    @classmethod
    def setUpClass(cls) -> None:
        need("swaks", "openssl")
        port, six, lmtp, proxied = (free_port() for _ in range(4))
        context = recording(
            {
                "listen": f"127.0.0.1:{port}\n[::1]:{six}\nunix:smtp.socket\n"
                f"haproxy:tcp:{proxied}:interface=127.0.0.1\n",
                "lmtp": f"127.0.0.1:{lmtp}\n",
                "trusted_proxies": "127.0.0.1\n",
            },
            port=port,
        )
        cls.server = cls.enterClassContext(context)
        smtps = cls.server.smtps_port
        cls.where = {
            "smtp": ("--server", f"127.0.0.1:{port}"),
            "smtps": ("--server", f"127.0.0.1:{smtps}"),
            "ipv6": ("--server", "::1", "--port", six),
            "unix": ("--socket", cls.server.directory / "smtp.socket"),
            "pipe": ("--pipe", f"openssl s_client -quiet -connect 127.0.0.1:{smtps}"),
            "lmtp": ("--server", f"127.0.0.1:{lmtp}"),
            "proxied": ("--server", f"127.0.0.1:{proxied}"),
        }

    def swaks(self, where: str, *options: str, check: bool = True) -> tuple[int, str]:
        envelope = (
            "--from",
            "a@example.com",
            "--to",
            "b@example.org,c@example.org",
            "--helo",
            "client.example",
        )
        # swaks adds the last line end itself.
        text = MESSAGE.removesuffix("\n").replace("\n", "\r\n")
        done = run("swaks", *self.where[where], *envelope, "--data", "-", *options, stdin=text, check=check)
        return done.returncode, done.stdout + done.stderr

    def check_delivery(self) -> bytes:
        (message,) = self.server.take_messages(1)
        self.assertEqual(MESSAGE.encode(), sent_part(message, b"Subject:"))
        return message

    def test_taken(self) -> None:
        for where, options, received in TAKEN:
            with self.subTest(where, options=options):
                words = options.split()
                _, said = self.swaks(where, *words, *(LOGIN if "--auth" in options else ()))
                message = self.check_delivery()
                self.assertIn(received, message.decode())
                self.assertEqual(USER if "A " in received else "", record_of(message)["user"])
                if "--prdr" in words:
                    self.assertIn("<-  353", said.replace("<~", "<-"))

    def test_refused(self) -> None:
        """swaks understands why, and nothing is delivered."""
        for where, options, status, reason in REFUSED:
            with self.subTest(where, options=options):
                login = LOGIN if "--auth" in options else ()
                ended, said = self.swaks(where, *options.split(), *login, check=False)
                self.assertEqual(status, ended, said)
                self.assertIn(reason, said)
                self.assertEqual([], self.server.messages())

    def test_wrong_passwords(self) -> None:
        """The reply names the mechanism and the user, never the password; nor does the log."""
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
            wrong = ("--auth-user", USER, "--auth-password", "wrong word")
            ended, said = self.swaks("smtp", "--tls", "--auth", mechanism, *wrong, check=False)
            self.assertEqual(28, ended)
            self.assertIn(f"535 5.7.8 {mechanism} authentication failed for {USER} from 127.0.0.1", said)
        log = self.server.log.read_text()
        for secret in ("wrong word", "d3Jvbmcgd29yZ", "c2VjcmV0IHdvcmQ", PASSWORD):
            self.assertNotIn(secret, log)

    def test_mechanisms_that_are_not_offered(self) -> None:
        """504, whatever the mechanism is and comes with, and the session goes on."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP_SSL("127.0.0.1", self.server.smtps_port, context=context) as client:
            client.ehlo()
            for words in (
                "NTLM",
                "NTLM TlRMTVNTUAABAAAA",
                "DIGEST-MD5",
                "GSSAPI",
                "SCRAM-SHA-1 biwsbj11",
                "X",
            ):
                code, text = client.docmd("AUTH", words)
                self.assertEqual((504, b"5.5.4"), (code, text[:5]))
            client.login(USER, PASSWORD)


if __name__ == "__main__":
    unittest.main()
