"""The plugin greylisting."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, Address, Code, ConfigError, Level, Recipient, SettingError
from qpsmtpd.kit import storedatabase
from qpsmtpd.kit.storesqlite import SQLiteStores
from qpsmtpd.testing import Server, Tried

MINUTE, DAY = 60, 86400
ME = "<me@example.org>"
YOU = "<you@example.com>"


def warnings(tried: Tried) -> list[str]:
    return [event.text for event in tried.events if event.level == Level.WARN]


class Case(SynchronousTestCase):
    def make(self, line: str = "greylisting", **config: Sequence[str]) -> Tried:
        self.tried = Tried(line, config=config)
        self.tried.clock.advance(1_800_000_000)
        return self.tried

    def mail(self, sender: str = YOU, ip: str = "192.0.2.1") -> bool:
        """Tell whether a client passes."""
        self.tried.connection.remote_ip = ip
        return self.passes(self.tried.ask("mail", sender=sender))

    def rcpt(self, recipient: str | Recipient = "me@example.org", sender: str = YOU) -> bool:
        self.tried.transaction.sender = Address.parse(sender)
        return self.passes(self.tried.ask("rcpt", recipient=recipient))

    def passes(self, answer: Any) -> bool:
        if answer is not DECLINED:
            self.assertEqual((Code.DENYSOFT, "4.7.1"), (answer.code, answer.status))
            self.assertIn("try again later", answer.text)
        return answer is DECLINED


class TimeTests(Case):
    """Unknown, then known, then forgotten."""

    def test_sequence(self) -> None:
        """Refused for 50 minutes, known for 36 days after each message, and then unknown again."""
        self.make()
        rows = [
            (0, False),
            (49 * MINUTE, False),
            (2 * MINUTE, True),
            (0, True),
            (35 * DAY, True),
            (35 * DAY, True),
            (36 * DAY, False),
            (51 * MINUTE, True),
        ]
        for seconds, expected in rows:
            self.tried.clock.advance(seconds)
            self.assertEqual(expected, self.mail(), (seconds, self.tried.log))

    def test_too_late(self) -> None:
        """Who does not come again within a day, however often it came too early, is new then."""
        self.make()
        for seconds, expected in [(0, False), (49 * MINUTE, False), (DAY - 49 * MINUTE, False), (3000, True)]:
            self.tried.clock.advance(seconds)
            self.assertEqual(expected, self.mail())

    def test_edges(self) -> None:
        self.make("greylisting black_timeout 10 grey_timeout 20 white_timeout 30")
        for seconds, expected in [
            (0, False),
            (9, False),
            (1, True),
            (29, True),
            (30, False),
            (20, False),
            (19, True),
        ]:
            self.tried.clock.advance(seconds)
            self.assertEqual(expected, self.mail(), seconds)

    def test_clock_set_back(self) -> None:
        """Nobody who is known suffers from it."""
        self.make()
        self.mail()
        self.tried.clock.advance(3000)
        self.mail()
        self.tried.clock.rightNow -= DAY
        self.assertTrue(self.mail())

    def test_nobody_could_pass(self) -> None:
        """Settings by which nobody would ever get through stop the start."""
        for line in ("grey_timeout 3000", "remote_ip 0", "black_timeout 86400"):
            self.assertRaises(ConfigError, self.make, f"greylisting {line}")

    def test_log(self) -> None:
        self.make()
        self.mail()
        self.tried.clock.advance(1000)
        self.mail()
        self.tried.clock.advance(2000)
        self.mail()
        self.assertEqual(
            [
                "fail, refused 1 times, 3000 seconds to wait",
                "fail, refused 2 times, 2000 seconds to wait",
                "pass, refused 2 times, passed 1 times",
            ],
            self.tried.log,
        )

    def test_reject_0(self) -> None:
        """Recorded all the same."""
        self.make("greylisting reject 0")
        self.assertTrue(self.mail())
        self.tried.clock.advance(3000)
        self.assertTrue(self.mail())
        self.assertEqual("fail, tolerated", self.tried.log[0].rpartition(", refused")[0])
        self.assertEqual("pass, refused 1 times, passed 1 times", self.tried.log[1])


class KeyTests(Case):
    """What makes somebody known."""

    def key(self, line: str, ip: str = "192.0.2.77", sender: str = "<You@Example.COM>") -> str:
        self.make(f"greylisting {line}")
        self.tried.connection.remote_ip = ip
        plugin: Any = self.tried.plugin
        key: str = plugin.key(self.tried.connection, Address.parse(sender), Address.parse(ME))
        return key

    def test_keys(self) -> None:
        rows = [
            ("", "192.0.2.77/32"),
            ("ipv4_bits 24", "192.0.2.0/24"),
            ("sender 1", "192.0.2.77/32 <You@example.com>"),
            ("sender 1 recipient 1", "192.0.2.77/32 <You@example.com> <me@example.org>"),
            ("remote_ip 0 recipient 1", "<me@example.org>"),
            ("per_recipient 1", "192.0.2.77/32"),
        ]
        for line, expected in rows:
            self.assertEqual(expected, self.key(line), line)
        self.assertEqual("2001:db8:1:2::/64", self.key("", "2001:db8:1:2:3::4"))
        self.assertEqual("2001:db8:1:2:3::4/128", self.key("ipv6_bits 128", "2001:db8:1:2:3::4"))
        self.assertEqual("<@>", self.key("remote_ip 0 sender 1", sender="<>"))

    def test_apart(self) -> None:
        """Another address is another client, unless it is of the same network."""
        self.make("greylisting ipv4_bits 24")
        self.mail(ip="192.0.2.1")
        self.mail(ip="2001:db8::1")
        self.tried.clock.advance(3000)
        rows = [
            ("192.0.2.250", True),
            ("192.0.3.1", False),
            ("2001:db8::ffff:1", True),
            ("2001:db8:0:1::1", False),
        ]
        for ip, expected in rows:
            self.assertEqual(expected, self.mail(ip=ip), ip)

    def test_senders(self) -> None:
        self.make("greylisting sender 1")
        self.mail()
        self.tried.clock.advance(3000)
        rows = [("<you@EXAMPLE.com>", True), ("<You@example.com>", False), ("<>", False)]
        self.assertEqual([e for _, e in rows], [self.mail(sender) for sender, _ in rows])


class PlaceTests(Case):
    """MAIL, RCPT, DATA."""

    def hooks(self) -> set[str]:
        return {name for name, _, _ in self.tried.plugin.registrations}

    def test_hooks(self) -> None:
        for line, expected in [
            ("", "mail"),
            ("sender", "mail"),
            ("recipient", "rcpt"),
            ("per_recipient", "rcpt"),
        ]:
            self.make(f"greylisting {line}")
            self.assertEqual({expected, "data"}, self.hooks())

    def test_late(self) -> None:
        """With deny_late DATA is refused; a client that is known passes there, too."""
        self.make("greylisting deny_late")
        self.assertTrue(self.mail())
        self.assertEqual("refused 1 times, 3000 seconds to wait", self.tried.transaction.notes["greylist"])
        self.assertFalse(self.passes(self.tried.ask("data")))
        self.tried.transaction.notes.clear()
        self.tried.clock.advance(3000)
        self.assertTrue(self.mail())
        self.assertTrue(self.passes(self.tried.ask("data")))

    def test_sender_probes(self) -> None:
        """The null sender is let pass until DATA."""
        self.make("greylisting recipient")
        self.assertTrue(self.rcpt(sender="<>"))
        self.assertFalse(self.passes(self.tried.ask("data")))
        self.assertFalse(self.rcpt("other@example.org"))

    def test_whitelisted_recipients(self) -> None:
        """If all of them are, the mail passes."""
        self.make("greylisting deny_late")
        self.mail()
        self.tried.transaction.recipients = [Recipient(Address.parse(ME))]
        for count, expected in [(2, False), (1, True)]:
            self.tried.transaction.notes["whitelistrcpt"] = count
            self.assertEqual(expected, self.passes(self.tried.ask("data")))
        self.assertEqual("skip, all recipients are whitelisted", self.tried.log[-1])

    def test_own_timeouts(self) -> None:
        """A recipient's own; what is wrong with them is reported, and everybody's count."""
        self.make("greylisting per_recipient recipient black_timeout 100")
        files = {
            "fast@example.org": ["black_timeout 10"],
            "never@example.org": ["grey_timeout 50"],
            "odd@example.org": ["black_timeout x"],
            "me@example.org": [],
        }

        async def lookup(address: Address, name: str) -> Sequence[str]:
            return files[address.mailbox] if name == "denysoft_greylist" else ()

        recipients = [Recipient(Address.from_mailbox(name), lookup=lookup) for name in files]
        self.assertEqual([False] * 4, [self.rcpt(recipient) for recipient in recipients])
        self.tried.clock.advance(50)
        self.assertEqual([True, False, False, False], [self.rcpt(recipient) for recipient in recipients])
        self.tried.clock.advance(50)
        self.assertEqual([True] * 4, [self.rcpt(recipient) for recipient in recipients])
        errors = [line for line in self.tried.log if line.startswith("error, ")]
        self.assertEqual(6, len(errors))
        self.assertTrue(errors[0].startswith("error, denysoft_greylist of never@example.org: grey_timeout"))
        self.assertIn("odd@example.org: black_timeout (seconds): 'x' is not", errors[1])


class ExemptTests(Case):
    """Who always passes."""

    def test_immune(self) -> None:
        self.make()
        self.tried.connection.relay_client = True
        self.assertTrue(self.mail())
        self.tried.connection.relay_client = False
        self.tried.transaction.notes["whitelistsender"] = 1
        self.assertTrue(self.mail())
        self.assertEqual(["skip, relay client", "skip, whitelisted sender"], self.tried.log)
        self.make("greylisting recipient")
        self.tried.connection.relay_client = True
        self.assertTrue(self.rcpt())

    def test_countries(self) -> None:
        for country in ("US", "us", "UK", "hu", "PK", "RU", ""):
            self.make("greylisting geoip US,uk,HU")
            self.tried.connection.notes["geoip_country"] = country
            self.assertEqual(country.lower() in ("us", "uk", "hu"), self.mail(), country)

    def test_lists(self) -> None:
        """Addresses, hosts and patterns of several files; a missing one is told of, a mistake is fatal."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        one, two, none = (directory / name for name in ("one", "two", "none"))
        one.write_text("192.0.2.5 # ours\nexample.com\n")
        two.write_text("/\\.pool\\.example\\.net$/\n")
        self.make(greylist_exclude_files=[str(one), str(two), str(none)])
        self.assertEqual([f"there is no {none}, which greylist_exclude_files names"], warnings(self.tried))
        rows = [
            ("192.0.2.5", "x", True),
            ("192.0.2.6", "mx.example.com", True),
            ("192.0.2.6", "a.pool.example.net", True),
        ]
        for ip, host, expected in [*rows, ("192.0.2.6", "example.org", False)]:
            self.tried.connection.remote_host = host
            self.assertEqual(expected, self.mail(ip=ip), host)
        self.assertEqual("skip, exempt client", self.tried.log[0])
        two.write_text("/(/\n")
        self.assertRaises(ConfigError, self.make, greylist_exclude_files=[str(two)])


class FileTests(Case):
    """denysoft_greylist."""

    def test_settings(self) -> None:
        """They stand for what the plugin's line does not say."""
        self.make(
            "greylisting black_timeout 20", denysoft_greylist=["black_timeout 10", "sender 1", "deny_late 1"]
        )
        plugin: Any = self.tried.plugin
        self.assertEqual((20, True, True), (plugin.black_timeout, plugin.sender, plugin.deny_late))

    def test_mistakes(self) -> None:
        """File and line are named, and what is allowed."""
        for text, expected in [
            ("bogus 1", "unknown setting 'bogus'; allowed are"),
            ("sender", "sender: '' is not 0 or 1"),
        ]:
            error = self.assertRaises(ConfigError, self.make, denysoft_greylist=["recipient 1", text])
            self.assertIn(f"<given denysoft_greylist>:2: {expected}", str(error))

    def test_arguments_that_are_gone(self) -> None:
        error = self.assertRaises((ConfigError, SettingError), self.make, "greylisting db_dir /var/lib")
        self.assertIn("unknown argument 'db_dir'", str(error))


class StoreTests(Case):
    """Where it is recorded."""

    def sqlite(self) -> Path:
        path = Path(self.mktemp()).absolute()
        stores = SQLiteStores(path, self.tried.clock.seconds, maybeDeferred)
        self.addCleanup(stores.close)
        plugin: Any = self.tried.plugin
        plugin.records = stores.of("greylisting")
        return path

    def test_sqlite(self) -> None:
        """Records outlive the server, and serve all others."""
        self.make()
        path = self.sqlite()
        self.assertFalse(self.mail())
        self.tried.clock.advance(3000)
        self.assertTrue(self.mail())
        other = SQLiteStores(path, self.tried.clock.seconds, maybeDeferred)
        (item,) = self.successResultOf(other.of("greylisting").items())
        self.assertEqual(("192.0.2.1/32", [1_800_003_000, 1, 1], 3110400), item)
        self.successResultOf(other.close())

    def test_the_store_hangs(self) -> None:
        """The mail is delayed; what was asked meanwhile is forgotten."""
        server = Server(["greylisting hook_timeout 5"])
        client = server.connect()
        client.say("HELO client.example")
        server.threads.on = True
        self.assertEqual("", client.say("MAIL FROM:<a@example.com>"))
        server.advance(5)
        self.assertEqual("451 4.3.0 internal error, please try again later\r\n", client.read())
        self.assertEqual([], server.threads.waiting)

    def test_the_store_fails(self) -> None:
        """The mail passes, and the log says why."""
        self.patch(storedatabase, "PATIENCE", 0.0)
        self.make()
        path = self.sqlite()
        self.mail()
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        self.assertTrue(self.mail())
        locker.close()
        self.assertEqual(f"error, store {path}: database is locked", self.tried.log[-1])
        self.assertFalse(self.mail())
