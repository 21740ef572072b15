"""Postfix as a client and as the next hop."""

from __future__ import annotations

import unittest

from harness import running, sent_part
from postfix import Postfix, swaks

MESSAGE = "Subject: hello\nFrom: a@example.com\n\nFirst line\n.dot\n..\n" + "x" * 900 + "\n" + "long\n" * 20000
FORWARD = "tls self_signed\nrelay\nrcpt_ok\nqueue/smtp-forward 127.0.0.1 {port}\n"


class ClientTests(unittest.TestCase):
    """Postfix relays to us."""

    def test_relay(self) -> None:
        for level in ("none", "encrypt"):
            with self.subTest(tls=level), running() as server:
                with Postfix(server.port, smtp_tls_security_level=level) as postfix:
                    swaks(postfix.port, MESSAGE)
                    (message,) = server.take_messages(1)
                self.assertEqual(sent_part(message, b"Subject:"), MESSAGE.encode())
                self.assertIn(b"with ESMTPS (TLSv1.3" if level == "encrypt" else b"with ESMTP id", message)


class NextHopTests(unittest.TestCase):
    """queue/smtp-forward delivers to Postfix."""

    def test_delivery_to_the_far_end(self) -> None:
        with Postfix() as postfix, running({"plugins": FORWARD.format(port=postfix.port)}) as server:
            said = swaks(server.port, MESSAGE, recipient="b@far.example")
            self.assertIn("250 2.0.0 Queued! as ", said)
            (message,) = postfix.take_messages(1)
        self.assertEqual(sent_part(message, b"Subject:"), MESSAGE.encode())

    def test_refusals_come_back(self) -> None:
        with Postfix() as postfix, running({"plugins": FORWARD.format(port=postfix.port)}) as server:
            said = swaks(server.port, MESSAGE, recipient="b@elsewhere.example", check=False)
        self.assertRegex(said, r"5\d\d 5\.\d\.\d ")

    def test_a_next_hop_that_is_down_delays_mail(self) -> None:
        with Postfix() as postfix:
            port = postfix.port
        with running({"plugins": FORWARD.format(port=port)}) as server:
            said = swaks(server.port, MESSAGE, recipient="b@far.example", check=False)
        self.assertRegex(said, r"4\d\d 4\.\d\.\d ")


if __name__ == "__main__":
    unittest.main()
