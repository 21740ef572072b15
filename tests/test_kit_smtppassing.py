"""The parameters that go on to the next hop."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.smtppassing import PASSED, passed_on
from qpsmtpd.kit.smtpreply import SMTPOutError
from qpsmtpd.smtp.parameters import PROMISES

Parameters = dict[str, str | None]

# command, parameters, those that are passed on
PASSING: list[tuple[str, Parameters, Parameters]] = [
    ("MAIL", {}, {}),
    ("MAIL", {"RET": "hdrs", "ENVID": "a+2Bb"}, {"RET": "hdrs", "ENVID": "a+2Bb"}),
    ("MAIL", {"REQUIRETLS": None, "MT-PRIORITY": "-3"}, {"REQUIRETLS": None, "MT-PRIORITY": "-3"}),
    ("MAIL", {"HOLDFOR": "60"}, {"HOLDFOR": "60"}),
    ("MAIL", {"SIZE": "1", "BODY": "8BITMIME", "SMTPUTF8": None, "AUTH": "<>"}, {}),
    ("MAIL", {"BY": "1;R", "NOTIFY": "NEVER", "XVERP": None}, {}),
    ("RCPT", {"NOTIFY": "NEVER", "RET": "FULL"}, {"NOTIFY": "NEVER"}),
    ("RCPT", {"ORCPT": "rfc822;a+2Bb@c"}, {"ORCPT": "rfc822;a+2Bb@c"}),
    ("RCPT", {"ORCPT": "utf-8;\u00e9\U0001f600\\x{20}@c"}, {"ORCPT": "utf-8;\\x{E9}\\x{1F600}\\x{20}@c"}),
]


class PassedOnTests(SynchronousTestCase):
    def test_passed(self) -> None:
        """What we promised and the next hop offers goes on as it came, in ASCII; nothing else does."""
        for verb, parameters, expected in PASSING:
            with self.subTest(parameters=parameters):
                self.assertEqual(expected, passed_on(verb, parameters, PROMISES))

    def test_not_offered(self) -> None:
        """What the next hop does not offer cannot be passed on."""
        for verb, keyword, extension in (("MAIL", "RET", "DSN"), ("MAIL", "HOLDUNTIL", "FUTURERELEASE")):
            others = [name for name in PROMISES if name != extension]
            error = self.assertRaises(SMTPOutError, passed_on, verb, {keyword: "x"}, others)
            self.assertEqual(
                (451, f"Next hop does not offer {extension}"), (error.reply.code, error.reply.text)
            )

    def test_promises(self) -> None:
        self.assertLess(PASSED, set(PROMISES))
