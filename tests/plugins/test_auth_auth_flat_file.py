"""auth/auth_flat_file lets in who knows the password of the file, and tells nobody else why not."""

import base64
import hmac
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, ConfigError, Level, Secret
from qpsmtpd.building import Built
from qpsmtpd.config import Config
from qpsmtpd.testing import Server, Tried

ACCOUNTS = ("good@example.com:good_pass", "bad@example.com:bad_pass", "Colon@x:a:b c", "none@x:")
TICKET = "<1.2@mail.example.com>"


def answer(user: str, hook: str = "auth-plain", **secrets: Any) -> tuple[str, str]:
    """Give the verdict and the last line of the log."""
    tried = Tried("auth/auth_flat_file", config={"flat_auth_pw": ACCOUNTS})
    given = {"password": None, "digest": None, "ticket": None, **secrets}
    outcome = tried.ask(hook, mechanism=hook.removeprefix("auth-"), user=user, **given)
    return outcome.code.name, tried.log[-1]  # type: ignore[union-attr]


def digest(password: str) -> str:
    """Answer the ticket."""
    return hmac.new(password.encode(), TICKET.encode(), "md5").hexdigest()


class AnswerTests(SynchronousTestCase):
    def test_passwords(self) -> None:
        """Passwords as upstream's tests have them, and some more."""
        rows = [
            ("good@example.com", "good_pass", "OK", "pass: clear match"),
            ("GOOD@Example.com", "good_pass", "OK", "pass: clear match"),
            ("colon@x", "a:b c", "OK", "pass: clear match"),
            ("bad@example.com", "not_bad_pass", "DENY", "fail: wrong password"),
            ("good@example.com", "GOOD_PASS", "DENY", "fail: wrong password"),
            ("good@example.com", "", "DENY", "fail: wrong password"),
            ("none@x", "", "DENY", "fail: missing password"),
            ("none@example.com", "", "DECLINED", "fail: no such user"),
            ("unknown@example.com", "the password of nobody", "DECLINED", "fail: no such user"),
            (".*@.*", "good_pass", "DECLINED", "fail: no such user"),
            ("good@example.com@x", "good_pass", "DECLINED", "fail: no such user"),
            ("good", "good_pass", "DECLINED", "fail: no domain in the user's name"),
            ("good@", "good_pass", "DECLINED", "fail: no domain in the user's name"),
        ]
        for hook in ("auth-plain", "auth-login"):
            for user, password, verdict, line in rows:
                self.assertEqual((verdict, line), answer(user, hook, password=password), user)

    def test_digests(self) -> None:
        """CRAM-MD5 needs a ticket, and the digest that was made from it."""
        rows = [
            ("good_pass", TICKET, "OK", "pass: hash match"),
            ("bad_pass", TICKET, "DENY", "fail: wrong password"),
            ("good_pass", "<another@x>", "DENY", "fail: wrong password"),
            ("good_pass", None, "DECLINED", "skip: missing ticket"),
        ]
        for password, ticket, verdict, line in rows:
            found = answer("good@example.com", "auth-cram-md5", digest=digest(password), ticket=ticket)
            self.assertEqual((verdict, line), found)

    def test_credentials(self) -> None:
        """For SCRAM the engine is given the password, of those who have one."""
        tried = Tried("auth/auth_flat_file", config={"flat_auth_pw": ACCOUNTS})
        for user, password in (("Good@Example.com", "good_pass"), ("colon@x", "a:b c"), ("none@x", "")):
            given: Any = tried.ask("credentials", user=user, mechanism="scram-sha-256")
            self.assertEqual(Secret(password=password), given.value)
        for user in ("lost@example.com", "good", "@", ""):
            self.assertIs(DECLINED, tried.ask("credentials", user=user, mechanism="scram-sha-256"))

    def test_same_reply(self) -> None:
        """An unknown user and a wrong password get the same reply, authdeny loaded or not."""
        for plugins in (["auth/auth_flat_file"], ["auth/auth_flat_file", "auth/authdeny"]):
            replies = set()
            for user in ("good@example.com", "lost@example.com"):
                client = Server(plugins, config={"flat_auth_pw": ACCOUNTS}).connect()
                client.say("EHLO me")
                initial = base64.b64encode(f"\0{user}\0wrong".encode()).decode()
                replies.add(client.say(f"AUTH PLAIN {initial}").replace(user, "USER"))
            self.assertEqual({"535 5.7.8 PLAIN authentication failed for USER from 192.0.2.1"}, replies)


class FileTests(SynchronousTestCase):
    def test_bad_lines(self) -> None:
        """A line that is no account stops the start; the error does not show it, for it may be a password."""
        for line in ("secret", "user:secret", ":secret", "@:secret", "user@:secret"):
            config = {"flat_auth_pw": ["a@b:c", line]}
            error = self.assertRaises(ConfigError, Tried, "auth/auth_flat_file", config=config)
            self.assertIn("flat_auth_pw>:2: ", str(error))
            self.assertNotIn("secret", str(error))

    def test_first_counts(self) -> None:
        """Of two lines for a user the first counts."""
        tried = Tried("auth/auth_flat_file", config={"flat_auth_pw": ["a@b:1", "A@B:2"]})
        plugin: Any = tried.plugin
        self.assertEqual({"a@b": "1"}, plugin.accounts())

    def test_mode(self) -> None:
        """A file that everybody can read is warned of, at the start and at reload."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "plugins").write_text("auth/auth_flat_file\n")
        path = directory / "flat_auth_pw"
        path.write_text("a@b:c\n")
        for mode, warned in ((0o644, True), (0o640, False), (0o600, False)):
            path.chmod(mode)
            self.assertEqual([warned] * 2, self.warned(directory))
        path.chmod(0o644)
        path.write_text("# nobody yet\n")
        self.assertEqual([False] * 2, self.warned(directory))

    def warned(self, directory: Path) -> list[bool]:
        """Load the plugin, then do what SIGHUP does; tell whether each step warns."""
        built = Built(Config([directory]), Clock(), directory)
        seen: list[str] = []
        built.log.observe(Level.WARN, lambda event: seen.append(event.text))
        line = built.config.numbered("plugins")[0]
        plugin = built.loader.load(line, built.services)
        at_start = bool(seen)
        seen.clear()
        plugin.reload()
        return [at_start, bool(seen)]
