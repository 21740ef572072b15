"""Programs with which people send mail: each over STARTTLS and over SMTPS, with AUTH."""

from __future__ import annotations

import unittest
from pathlib import Path

from apart import program
from harness import Server, need, run, sent_part
from recording import record_of, recording

USER, PASSWORD = "joe@example.org", "simple"
BODY = "First line\n.dot\n..two dots\nlast\n"
MESSAGE = (
    "Subject: hello\nFrom: a@example.com\nTo: b@example.org\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n"
    f"Message-Id: <1@x>\n\n{BODY}"
)
MUTTRC = """\
set smtp_url="{scheme}://joe%40example.org@127.0.0.1:{port}"
set smtp_pass={password}
set ssl_starttls=yes
set ssl_force_tls=yes
set ssl_verify_host=no
set certificate_file="{certificate}"
set copy=no
set from="a@example.com"
set use_envelope_from=yes
"""


class SubmissionTests(unittest.TestCase):
    """What was sent arrives, from the user who has proved who it is."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        config = {
            "flat_auth_pw": f"{USER}:{PASSWORD}\n",
            "auth_mechanisms": "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 OAUTHBEARER XOAUTH2\n",
        }
        cls.server = cls.enterClassContext(recording(config, more="tokens\n"))
        cls.places = ((cls.server.port, True), (cls.server.smtps_port, False))

    def write(self, name: str, text: str) -> Path:
        path = self.server.directory / name
        path.write_text(text)
        return path

    def check(self, text: str = MESSAGE) -> None:
        (message,) = self.server.take_messages(1)
        record = record_of(message)
        self.assertEqual(
            ("TLSv1.3", USER, "a@example.com", ["b@example.org"]),
            (record["tls"], record["user"], record["sender"], list(record["to"])),
        )
        if text == BODY:
            self.assertEqual(BODY.encode(), message.partition(b"\n\n")[2])
        else:
            self.assertEqual(text.encode(), sent_part(message, b"Subject:"))

    def test_msmtp(self) -> None:
        need("msmtp")
        login = ("--auth=plain", f"--user={USER}", f"--passwordeval=echo {PASSWORD}")
        for mechanism in ("plain", "login", "cram-md5", "scram-sha-256", "oauthbearer", "xoauth2"):
            for port, starttls in self.places:
                with self.subTest(mechanism, port=port):
                    secret = "token" if "oauth" in mechanism else PASSWORD
                    login = (f"--auth={mechanism}", f"--user={USER}", f"--passwordeval=echo {secret}")
                    tls = ("--tls=on", f"--tls-starttls={'on' if starttls else 'off'}", "--tls-certcheck=off")
                    place = ("--host=127.0.0.1", f"--port={port}", "--from=a@example.com")
                    run("msmtp", *place, *tls, *login, "--", "b@example.org", stdin=MESSAGE)
                    self.check()

    def test_curl(self) -> None:
        """With the response at once, and after the challenge."""
        need("curl")
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "OAUTHBEARER", "XOAUTH2"):
            for first in ((), ("--sasl-ir",)):
                for port, starttls in self.places:
                    with self.subTest(mechanism, first=first, port=port):
                        where = f"{'smtp' if starttls else 'smtps'}://127.0.0.1:{port}/client.example"
                        who = ("--user", f"{USER}:{PASSWORD}", "--login-options", f"AUTH={mechanism}")
                        if "OAUTH" in mechanism:
                            who = ("--user", f"{USER}:", "--oauth2-bearer", "token")
                            who += ("--login-options", f"AUTH={mechanism}")
                        mail = ("--mail-from", "a@example.com", "--mail-rcpt", "b@example.org", "-T", "-")
                        text = MESSAGE.replace("\n", "\r\n")
                        known = ("--mail-auth", "a@example.com")
                        run("curl", "-sSk", "--ssl-reqd", where, *who, *first, *mail, *known, stdin=text)
                        self.check()

    def test_nullmailer(self) -> None:
        smtp = program("nullmailer", "usr/lib/nullmailer/smtp")
        queued = self.write("queued", f"a@example.com\nb@example.org\n\n{MESSAGE}")
        for login in ((), ("--auth-login",)):
            for port, starttls in self.places:
                options = (f"--port={port}", "--starttls" if starttls else "--ssl", "--insecure", *login)
                who = (f"--user={USER}", f"--pass={PASSWORD}")
                words = f'HELOHOST=client.example exec "$0" "$@" 3<{queued}'
                run("sh", "-c", words, smtp, "--host=127.0.0.1", *options, *who)
                self.check()

    def test_ssmtp(self) -> None:
        ssmtp = program("ssmtp", "usr/sbin/ssmtp")
        for port, starttls in self.places:
            lines = f"mailhub=127.0.0.1:{port}\nUseTLS=YES\nUseSTARTTLS={'YES' if starttls else 'NO'}\n"
            config = self.write("ssmtp.conf", f"{lines}FromLineOverride=YES\nhostname=client.example\n")
            who = (f"-au{USER}", f"-ap{PASSWORD}", "-fa@example.com", "b@example.org")
            run(ssmtp, "-C", config, *who, stdin=MESSAGE)
            self.check()

    def test_opensmtpd(self) -> None:
        smtp = program("opensmtpd", "usr/bin/smtp")
        for port, starttls in self.places:
            url = f"{'smtp+tls' if starttls else 'smtps'}://{USER}:{PASSWORD}@127.0.0.1:{port}"
            mail = ("-F", "a@example.com", "-H", "client.example", "-s", url, "b@example.org")
            run(smtp, "-C", *mail, stdin=MESSAGE)
            self.check()

    def test_mutt(self) -> None:
        need("mutt")
        certificate = self.server.config / "ssl" / "qpsmtpd-server.crt"
        for port, starttls in self.places:
            scheme = "smtp" if starttls else "smtps"
            text = MUTTRC.format(scheme=scheme, port=port, password=PASSWORD, certificate=certificate)
            config = self.write("muttrc", text)
            run("mutt", "-n", "-F", config, "-s", "hello", "--", "b@example.org", stdin=BODY)
            self.check(BODY)

    def test_git_send_email(self) -> None:
        need("git")
        patch = self.write("patch", MESSAGE)
        for port, starttls in self.places:
            secure = f"--smtp-encryption={'tls' if starttls else 'ssl'}"
            place = ("--smtp-server=127.0.0.1", f"--smtp-server-port={port}", secure)
            who = (f"--smtp-user={USER}", f"--smtp-pass={PASSWORD}", "--smtp-auth=PLAIN")
            mail = ("--from=a@example.com", "--to=b@example.org", "--confirm=never", "--suppress-cc=all")
            run("git", "-c", "sendemail.smtpsslcertpath=", "send-email", *place, *who, *mail, patch)
            self.check(BODY)


if __name__ == "__main__":
    unittest.main()
