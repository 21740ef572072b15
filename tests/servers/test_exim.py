"""Exim as a client: BDAT in chunks, DSN, SMTPUTF8, TLS, AUTH, pipelining, several messages a connection."""

from __future__ import annotations

import re
import unittest

from exim import Exim
from harness import Server, free_port, sent_part
from recording import PASSWORD, USER, record_of, recording

HEADER = b"Subject: hello\nFrom: a@example.com\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nMessage-Id: <1@x>\n"
DOTS = b".\n..\n.dot\n" * 300
MESSAGES = {
    "dots": HEADER + b"\n" + DOTS,
    "8 bit": HEADER + b"\n" + bytes(range(128, 256)) + b"\nh\xc3\xa9\n",
    "long lines": HEADER + b"\n" + b"x" * 998 + b"\n" + b"y" * 9000 + b"\n.\n",
    "empty lines": HEADER + b"\n\n\n\n.\n\n",
    "no body": HEADER + b"\n",
    "chunk borders": HEADER + b"\n" + b"".join(b"." * (n % 80) + b"\n" for n in range(2000)),
}
SHORT = HEADER + b"\nx\n"
LARGE = HEADER + b"\n" + (b"." * 70 + b"\n") * 75000
CLEAR, SECRET = {"hosts_avoid_tls": "*"}, {"hosts_require_tls": "*"}
CHUNKS, LINES = {**CLEAR, "hosts_try_chunking": "*"}, {**CLEAR, "hosts_try_chunking": ""}


class DeliveryTests(unittest.TestCase):
    """What arrives is what was sent, octet for octet, however Exim sends it."""

    server: Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = cls.enterClassContext(recording())

    def exim(self, login: tuple[str, str] | None = None, **options: str) -> Exim:
        return self.enterContext(Exim(self.server.port, login=login, **options))

    def check(self, exim: Exim, *texts: bytes) -> list[bytes]:
        """Expect these messages and no other, and nothing that failed or waits."""
        messages = self.server.take_messages(len(texts))
        self.assertEqual(
            sorted(texts), sorted(sent_part(message, b"Subject: ") for message in messages), exim.log()
        )
        self.assertNotRegex(exim.log(), r" (\*\*|==) ")
        return messages

    def test_content(self) -> None:
        """By BDAT and by DATA, in clear and in TLS."""
        for tls in (CLEAR, SECRET):
            for chunking in ("", "*"):
                exim = self.exim(hosts_try_chunking=chunking, **tls)
                for name, text in MESSAGES.items():
                    with self.subTest(name, **tls, chunking=chunking):
                        exim.send(text, "<b@example.org>", sender="<a@example.com> BODY=8BITMIME")
                        (message,) = self.check(exim, text)
                        record = record_of(message)
                        self.assertEqual(bool(chunking), record["chunked"])
                        self.assertEqual("TLSv1.3" if tls is SECRET else "", record["tls"])

    def test_large(self) -> None:
        """5 MB come in many chunks, and as one DATA."""
        for chunking in ("*", ""):
            exim = self.exim(hosts_try_chunking=chunking, **SECRET)
            exim.send(LARGE, "<b@example.org>")
            (message,) = self.check(exim, LARGE)
            self.assertEqual(bool(chunking), record_of(message)["chunked"])

    def test_many_recipients(self) -> None:
        """More than Exim names in one transaction, each once."""
        exim = self.exim(**CHUNKS, max_rcpt="150")
        everybody = [f"r{number}@example.org" for number in range(400)]
        exim.send(MESSAGES["dots"], *(f"<{one}>" for one in everybody))
        messages = self.check(exim, *[MESSAGES["dots"]] * 3)
        named = [one for message in messages for one in record_of(message)["to"]]
        self.assertEqual(sorted(everybody), sorted(named))
        self.assertEqual(set(everybody), set(exim.fates()))

    def test_several_messages_over_one_connection(self) -> None:
        exim = self.exim(**CHUNKS)
        texts = [HEADER + b"\n%d\n" % number for number in range(5)]
        exim.send_all(*((text, ["<b@example.org>"]) for text in texts), when="-odq")
        exim.run("-qq")
        messages = self.check(exim, *texts)
        self.assertEqual(1, len({record_of(message)["connection"] for message in messages}))

    def test_dsn(self) -> None:
        """RET, ENVID, NOTIFY and ORCPT come through; RFC 3461 section 4."""
        exim = self.exim(**CHUNKS)
        exim.send(
            MESSAGES["dots"],
            "<b@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first+2Bb@example.org",
            "<c@example.org> NOTIFY=NEVER",
            sender="<a@example.com> RET=HDRS ENVID=QQ+3D1",
        )
        (message,) = self.check(exim, MESSAGES["dots"])
        record = record_of(message)
        self.assertEqual("HDRS", record["mail"]["RET"])
        self.assertEqual("QQ+3D1", record["mail"]["ENVID"])
        self.assertEqual("SUCCESS,DELAY", record["to"]["b@example.org"]["NOTIFY"])
        self.assertEqual("rfc822;first+2Bb@example.org", record["to"]["b@example.org"]["ORCPT"])
        self.assertEqual("NEVER", record["to"]["c@example.org"]["NOTIFY"])

    def test_smtputf8(self) -> None:
        exim = self.exim(**CHUNKS)
        exim.send(
            MESSAGES["8 bit"],
            "<\u03b4\u03bf\u03ba\u03b9\u03bc\u03ae@example.org>",
            sender="<\u00fc@example.com> SMTPUTF8 BODY=8BITMIME",
        )
        (message,) = self.check(exim, MESSAGES["8 bit"])
        record = record_of(message)
        self.assertIn("SMTPUTF8", record["mail"])
        self.assertEqual("\u00fc@example.com", record["sender"])
        self.assertEqual(["\u03b4\u03bf\u03ba\u03b9\u03bc\u03ae@example.org"], list(record["to"]))
        self.assertIn(b"with UTF8SMTP", message)

    def test_auth(self) -> None:
        """With AUTH= of MAIL, which Exim adds."""
        exim = self.exim(
            (USER, PASSWORD), hosts_require_auth="*", authenticated_sender="a+b@example.com", **SECRET
        )
        exim.send(MESSAGES["dots"], "<b@example.org>")
        (message,) = self.check(exim, MESSAGES["dots"])
        record = record_of(message)
        self.assertEqual(USER, record["user"])
        self.assertEqual(
            "a+2bb@example.com", record["mail"]["AUTH"]
        )  # Exim's hexadecimal digits are lower case
        self.assertIn(b"with ESMTPSA", message)

    def test_wrong_password(self) -> None:
        exim = self.exim((USER, "wrong"), hosts_require_auth="*", **SECRET)
        exim.send(MESSAGES["dots"], "<b@example.org>")
        self.assertIn("535 5.7.8", exim.log())
        self.assertEqual({"b@example.org": "=="}, exim.fates())
        self.assertEqual([], self.server.messages())

    def test_half_closed(self) -> None:
        """Without TLS, Exim pipelines QUIT behind the message, shuts its side, and waits for the replies."""
        exim = self.exim(**CHUNKS)
        said = exim.run("-d-all+transport", "-odf", "-i", "-f", "a@example.com", "b@example.org", stdin=SHORT)
        self.assertIn("will pipeline QUIT", said)
        self.check(exim, SHORT)
        self.assertRegex(exim.log(), r"=> b@example\.org .* L K ")  # pipelining, chunking

    def test_no_final_newline(self) -> None:
        """Exim adds it to what a user writes, and passes on as it is what came to it by BDAT."""
        for options in (CHUNKS, LINES):
            exim = self.exim(**options)
            exim.run("-odf", "-i", "-f", "a@example.com", "b@example.org", stdin=SHORT.removesuffix(b"\n"))
            self.check(exim, SHORT)
        exim = self.exim(**CHUNKS)
        open_ended = MESSAGES["8 bit"] + b"no newline"
        content = open_ended.replace(b"\n", b"\r\n")
        envelope = b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n"
        exim.run("-odf", "-bs", stdin=b"%bBDAT %d LAST\r\n%bQUIT\r\n" % (envelope, len(content), content))
        self.check(exim, open_ended)

    def test_early_pipelining(self) -> None:
        """We do not offer PIPECONNECT, so Exim waits for the greeting."""
        exim = self.exim(**CHUNKS, hosts_pipe_connect="*")
        for _ in range(2):
            exim.send(SHORT, "<b@example.org>")
            self.check(exim, SHORT)
        self.assertEqual(2, len(re.findall(r"=> b@.* L K ", exim.log())))

    def test_early_pipelining_remembered(self) -> None:
        """Who was here before us did offer it: Exim says all before our greeting, even QUIT, once."""
        port = free_port()
        exim = self.enterContext(Exim(port, **CHUNKS, hosts_pipe_connect="*"))
        with Exim(port) as other, other.serving(port):
            exim.send(SHORT, "<b@example.org>")
        with recording(port=port) as server:
            for early in (True, False):
                said = exim.run(
                    "-d-all+transport", "-odf", "-i", "-f", "a@example.com", "b@example.org", stdin=SHORT
                )
                self.assertEqual(early, "Using cached cleartext PIPECONNECT" in said, said)
                (message,) = server.take_messages(1)
                self.assertEqual(SHORT, sent_part(message, b"Subject: "))
        self.assertEqual({"b@example.org": "=>"}, exim.fates())
        self.assertNotRegex(exim.log(), r" (\*\*|==) ")


class RefusalTests(unittest.TestCase):
    """Exim understands what we refuse."""

    def test_recipients(self) -> None:
        """One refused for good, one for now, one taken; Exim knows which is which."""
        with recording(more="verdicts\n") as server, Exim(server.port, **CHUNKS) as exim:
            exim.send(MESSAGES["dots"], "<good@example.org>", "<never@example.org>", "<later@example.org>")
            marks = exim.fates()
            taken = [record_of(message) for message in server.messages()]
        self.assertEqual([["good@example.org"]], [list(one["to"]) for one in taken if one["sender"]])
        fates = {"good@example.org": "=>", "never@example.org": "**", "later@example.org": "=="}
        self.assertEqual(fates, {name: mark for name, mark in marks.items() if name in fates})

    def test_prdr(self) -> None:
        """Each recipient's verdict on the message is what Exim does with that recipient, by BDAT and DATA."""
        fates = {"b@example.org": "->", "full@example.org": "==", "picky@example.org": "**"}
        for options in (CHUNKS, LINES, {**SECRET, "hosts_try_chunking": "*"}):
            with (
                recording(more="verdicts\n") as server,
                Exim(server.port, **options, hosts_try_prdr="*") as exim,
            ):
                exim.send(SHORT, "<good@example.org>", *(f"<{one}>" for one in fates))
                (message,) = [one for one in server.messages() if record_of(one)["sender"]]
                self.assertEqual(SHORT, sent_part(message, b"Subject: "))
                self.assertIn("PRDR", record_of(message)["mail"])
                marks, log = exim.fates(), exim.log()
            self.assertEqual(
                {**fates, "good@example.org": "=>"},
                {one: marks[one] for one in marks if one != "a@example.com"},
                log,
            )
            self.assertRegex(log, r"=> good@.* PRDR")
            self.assertRegex(log, r"== full@.*452 4\.2\.2 mailbox full")
            self.assertRegex(log, r"\*\* picky@.*552 5\.7\.1 not this one")

    def test_too_big(self) -> None:
        """Nothing of it arrives, and Exim gives it up; so it does with the bounce, which holds it all."""
        for options in (CHUNKS, LINES):
            with recording({"databytes": "20000\n"}) as server, Exim(server.port, **options) as exim:
                exim.send(LARGE[:60000] + b"\n", "<b@example.org>")
                self.assertRegex(exim.log(), r"\*\* b@example\.org .*552 5\.3\.4")
                self.assertEqual([], server.messages())


if __name__ == "__main__":
    unittest.main()
