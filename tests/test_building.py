"""From a configuration directory to an engine: what is built, and that every mistake is named."""

import os
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.building import BuildError, Built, read_server
from qpsmtpd.config import Config, ConfigError, Line
from qpsmtpd.kit.dns import Resolver
from qpsmtpd.log import Level
from qpsmtpd.testing.dns import MemoryResolver

LOGGER = """\
from qpsmtpd import Plugin

class Logger(Plugin):
    threshold = {threshold}
    heard = []

    def hook_logging(self, text):
        self.heard.append(text)
"""
QUEUE = (
    "from qpsmtpd import OK, Plugin\n\nclass Queue(Plugin):\n    def hook_queue(self):\n        return OK\n"
)


class BuildingCase(SynchronousTestCase):
    """A configuration directory, with a directory of plugins beside the shipped one."""

    def setUp(self):
        self.directory = Path(self.mktemp()).absolute()
        self.plugins = self.directory / "own"
        self.plugins.mkdir(parents=True)
        self.write("plugin_dirs", str(self.plugins))
        self.write("own/queue_all.py", QUEUE)
        self.write("own/logger.py", LOGGER.format(threshold=7))
        self.write("own/quiet.py", LOGGER.format(threshold=3))
        self.write("me", "mail.example.org")

    def write(self, name, text):
        (self.directory / name).write_text(text + "\n")

    def built(self, dns_servers=(), spool=None, dns=None, **options):
        built = Built(Config([self.directory]), MemoryReactorClock(), spool, dns)
        built.build(dns_servers, **options)
        return built

    def errors(self, *arguments, **options):
        """Give the errors, with places relative to the directory."""
        return [
            str(error).removeprefix(f"{self.directory}/")
            for error in self.built(*arguments, **options).errors
        ]


class StoreTests(BuildingCase):
    """What plugins keep is each one's own."""

    def test_one_name_twice(self):
        """Two that keep something need two names; the message has both lines, and a name that is allowed."""
        what = "is loaded by line {} already, and both would keep the same; allowed is greylisting:N, with"
        rows = {
            "greylisting\ngreylisting:1\ngreylisting:2 recipient": [],
            "greylisting\n# again\ngreylisting recipient": [f"plugins:3: greylisting {what.format(1)}"],
            "loop\ngreylisting:1\ngreylisting:1": [f"plugins:3: greylisting:1 {what.format(2)}"],
            "loop\nloop\nqueue_all\nqueue_all": [],
        }
        for plugins, expected in rows.items():
            self.write("plugins", plugins)
            found = self.errors()
            self.assertEqual(len(expected), len(found), found)
            for text, error in zip(expected, found, strict=True):
                self.assertIn(text, error)


class BuildTests(BuildingCase):
    """What is made of a directory without mistakes."""

    def test_empty(self):
        """No file at all makes an engine with defaults; that it is of no use is for others to say."""
        built = Built(Config([]), MemoryReactorClock(), None)
        built.build()
        self.assertEqual([], built.errors)
        self.assertIsNotNone(built.engine)
        self.assertIsNone(built.tls)
        self.assertEqual([], built.registry.plugins)

    def test_plugins_with_their_lines(self):
        """Loggers come before plugins, both in their order, each with the line that loaded it."""
        self.write("logging", "# none\nlogger")
        self.write("plugins", "rcpt_ok\n\nqueue_all")
        built = self.built()
        found = [(plugin.name, line.file.name, line.number) for plugin, line in built.lines.items()]
        self.assertEqual(
            [("logger", "logging", 2), ("rcpt_ok", "plugins", 1), ("queue_all", "plugins", 3)], found
        )
        self.assertEqual(list(built.lines), built.registry.plugins)
        self.assertIsNone(built.loading)

    def test_spool(self):
        """The option wins over spool_dir, which may begin with ~; without both it is ./spool."""
        self.patch(os, "environ", {**os.environ, "HOME": "/home/me"})
        self.assertEqual(Path("spool"), self.built().services.spool)
        self.write("spool_dir", "~/tmp")
        self.assertEqual(Path("/home/me/tmp"), self.built().services.spool)
        self.assertEqual(Path("/x"), self.built(spool=Path("/x")).services.spool)

    def test_name_servers(self):
        """Options win over dns_servers; without both the resolver that was given stays."""
        dns = MemoryResolver()
        self.assertIs(dns, self.built(dns=dns).services.dns)
        self.write("dns_servers", "192.0.2.1\n[2001:db8::1]:5353")
        resolver = self.built(dns=dns).services.dns
        self.assertIsInstance(resolver, Resolver)
        self.assertEqual([("192.0.2.1", 53), ("2001:db8::1", 5353)], resolver._servers)
        self.assertEqual([("192.0.2.9", 53)], self.built(["192.0.2.9"]).services.dns._servers)
        self.assertIs(dns, self.built(dns=dns, dry=True).services.dns)

    def test_read_server(self):
        """A name server is an address, with or without port."""
        for text, expected in [
            ("192.0.2.1", ("192.0.2.1", 53)),
            ("192.0.2.1:5353", ("192.0.2.1", 5353)),
            ("2001:DB8::1", ("2001:db8::1", 53)),
            ("[2001:db8::1]", ("2001:db8::1", 53)),
            ("[2001:db8::1]:65535", ("2001:db8::1", 65535)),
        ]:
            self.assertEqual(expected, read_server(Line(text, Path("x"), 1)))
        for text in (
            "",
            "ns.example",
            "1.2.3.4:0",
            "1.2.3.4:65536",
            "1.2.3.4:x",
            "1.2.3",
            "[::1",
            "[::1]5",
            "1:2:",
        ):
            error = self.assertRaises(ConfigError, read_server, Line(text, Path("x"), 4))
            self.assertIn(f"x:4: {text!r} is no name server", str(error))


class LoggingTests(BuildingCase):
    """Who hears the log."""

    def heard(self, built):
        return next(plugin.heard for plugin in built.lines if plugin.name == "logger")

    def test_plugins_hear(self):
        """A logging plugin hears the log from its own loading on."""
        self.write("logging", "logger")
        self.write("plugins", "queue_all\nno_such")
        built = self.built()
        self.assertEqual(["hooking queue", "Loaded logger", "Loaded queue_all"], self.heard(built))
        built.config.report("a remark")
        self.assertEqual("a remark", self.heard(built)[-1])

    def test_threshold(self):
        """What no plugin wants to hear is not even built."""
        for lines, expected in [("quiet", 3), ("quiet\nlogger", 7)]:
            self.write("logging", lines)
            self.assertEqual(expected, self.built().log.threshold)

    def test_each_hears_its_own(self):
        """Each logging plugin hears what it wants to."""
        self.write("logging", "quiet\nlogger")
        built = self.built()
        built.log.emit(Level.WARN, "a warning")
        built.log.emit(Level.ERROR, "an error")
        quiet, logger = (plugin.heard for plugin in built.lines)
        self.assertEqual((["an error"], ["a warning", "an error"]), (quiet, logger[-2:]))

    def test_level_without_plugins(self):
        """Twisted's log takes warnings, or what loglevel says."""
        self.assertEqual(Level.WARN, self.built().log.threshold)
        for text, level in [("6", 6), ("debug", 7), ("LOGNOTICE", 5)]:
            self.write("loglevel", text)
            self.assertEqual(level, self.built().log.threshold)

    def test_dry(self):
        """In a dry build nobody hears the log."""
        self.write("logging", "logger")
        self.write("plugins", "queue_all")
        self.assertEqual([], self.heard(self.built(dry=True)))


class MistakeTests(BuildingCase):
    """All mistakes are collected, and there is no engine then."""

    def test_every_core_file(self):
        """Every malformed value is named, each once."""
        mistakes = {
            "databytes": ("many", "'many' is not a number"),
            "max_connections": ("-1", "'-1' is not a number"),
            "max_from_ip": ("1.5", "'1.5' is not a number"),
            "timeout": ("soon", "'soon' is not a time"),
            "plugin_timeout": ("inf", "'inf' is not a time"),
            "shutdown_grace": ("1m", "'1m' is not a time"),
            "reverse_dns": ("maybe", "'maybe' is not a switch"),
            "bare_newline": ("allow", "'allow' is not one of reject, normalize"),
            "loglevel": ("LOUD", "'LOUD' is not a log level: 0 to 7 or EMERG,"),
            "spool_dir": ("~no-such-user-here", "~no-such-user-here: no such home directory"),
            "dns_servers": ("ns", "'ns' is no name server"),
        }
        for name, (value, _) in mistakes.items():
            self.write(name, f"# comment\n{value}")
        errors = self.errors()
        for name, (_, text) in mistakes.items():
            self.assertEqual(1, sum(error.startswith(f"{name}:2: {text}") for error in errors), name)
        self.assertEqual(len(mistakes), len(errors))

    def test_every_line(self):
        """Every line of logging, plugins and dns_servers that is wrong is named."""
        self.write("logging", "no_such\nlogger")
        self.write("plugins", "no_such\nqueue_all x\nrcpt_ok")
        self.write("dns_servers", "a\n192.0.2.1\nb")
        built = self.built()
        places = [(error.file.name, error.line) for error in built.errors]
        self.assertEqual(
            [("dns_servers", 1), ("dns_servers", 3), ("logging", 1), ("plugins", 1), ("plugins", 2)], places
        )
        self.assertIsNone(built.engine)
        self.assertEqual(["logger", "rcpt_ok"], [plugin.name for plugin in built.registry.plugins])

    def test_unreadable_file(self):
        """A file that cannot be read is named once, though it is read more than once."""
        for name in ("plugins", "plugin_dirs", "loglevel", "spool_dir", "dns_servers"):
            (self.directory / name).unlink(missing_ok=True)
            (self.directory / name).symlink_to(self.directory / name)
        errors = self.errors()
        self.assertEqual(5, len(errors))
        self.assertTrue(all("cannot be read: Too many levels" in error for error in errors), errors)

    def test_option(self):
        """A bad name server of the command line is named as such."""
        self.assertIn("--dns:2: 'x' is no name server", self.errors(["192.0.2.1", "x"])[0])

    def test_build_error(self):
        """The exception has a line for each mistake."""
        self.assertEqual("a\nb", str(BuildError([ValueError("a"), ValueError("b")])))


class CertificateTests(BuildingCase):
    """What becomes of the plugin tls."""

    def setUp(self):
        super().setUp()
        self.ssl = self.directory / "new" / "ssl"
        self.crt, self.key = self.ssl / "server.crt", self.ssl / "server.key"
        self.write("plugins", f"tls {self.crt} {self.key} self_signed")

    def test_made(self):
        """A missing certificate is made, with its directory, and used; the next start finds it."""
        for _ in range(2):
            built = self.built()
            self.assertEqual([], built.errors)
            self.assertIsNotNone(built.tls)
            self.assertIsNotNone(built.tls)
        self.assertIn("self-signed", built.tls.warnings()[0])

    def test_dry(self):
        """A dry build makes nothing, and that is no mistake."""
        built = self.built(dry=True)
        self.assertEqual([], built.errors)
        self.assertIsNone(built.tls)
        self.assertFalse(self.ssl.exists())

    def test_settings_before_the_first_start(self):
        """What will keep the first start from success is found by a dry build."""
        for name, value, expected in [
            ("tls_ciphers", "nonsense", "tls_ciphers: no cipher matches 'nonsense'"),
            ("tls_protocols", "SSLv9", "tls_protocols: 'SSLv9' is not one of"),
            ("me", "x" * 70 + ".example", "me:1: cannot make a certificate for this name"),
        ]:
            self.write(name, value)
            self.assertIn(expected, self.errors(dry=True)[0])
            (self.directory / name).unlink()
        self.assertFalse(self.ssl.exists())

    def test_found_by_dry_build(self):
        """A dry build looks at a certificate that is there."""
        self.built()
        self.assertIsNotNone(self.built(dry=True).tls)

    def test_key_alone(self):
        """A key without certificate is not written over, and the error says which."""
        self.ssl.mkdir(parents=True)
        self.key.touch()
        for dry in (False, True):
            self.assertEqual(
                [f"new/ssl/server.key: a key without its certificate {self.crt}"], self.errors(dry=dry)
            )

    def test_impossible_directory(self):
        """What the file system refuses is an error, not a crash."""
        self.write("new", "a file where a directory should be")
        self.assertEqual(1, len(self.errors()))

    def test_name_without_certificate(self):
        """A name that no certificate can have is an error of me."""
        self.write("me", "x" * 70 + ".example")
        self.assertIn("me:1: cannot make a certificate for this name", self.errors()[0])

    def test_bad_certificate(self):
        """Files that hold no certificate, and wrong settings, are errors."""
        self.ssl.mkdir(parents=True)
        self.crt.touch()
        self.assertIn("holds no certificate", self.errors()[0])
        self.crt.unlink()
        self.write("tls_protocols", "SSLv9")
        self.assertIn("tls_protocols: 'SSLv9' is not one of", self.errors()[0])
