"""The table of the engine's files: complete, and right about defaults."""

import ast
import re
from dataclasses import fields
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import qpsmtpd
from qpsmtpd import registry, service
from qpsmtpd.config import Config, ConfigError
from qpsmtpd.corefiles import (
    CORE_FILES,
    check_core_file,
    doubts,
    read_loglevel,
    read_spool_mode,
    read_store,
)
from qpsmtpd.limits import Limits, read_limits
from qpsmtpd.log import DEFAULT_LEVEL, Level

FIRST = {"value", "number", "seconds", "flag"}
READS = FIRST | {"lines", "numbered", "map", "table"}


def names_read(path, methods=READS):
    """Give the names of files that a module reads from the configuration, as far as they are literals."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(attr=method, value=owner), args=[ast.Constant(value=str() as name), *_]
            ):
                if method in methods and "config" in ast.unparse(owner):
                    yield name


class CoreFileTests(SynchronousTestCase):
    def test_complete(self):
        """Every file that the engine's source reads by name, and every limit, is in the table."""
        package = Path(qpsmtpd.__file__).parent
        found = {name for path in package.glob("*.py") for name in names_read(path)}
        self.assertIn("spool_dir", found)
        self.assertEqual(set(), found - set(CORE_FILES))
        self.assertLessEqual({limit.name for limit in fields(Limits)}, set(CORE_FILES))

    def test_nothing_else(self):
        """Every file in the table is read somewhere in the package."""
        package = Path(qpsmtpd.__file__).parent
        source = "".join(path.read_text() for path in package.glob("*.py") if path.name != "corefiles.py")
        read = set(names_read(package / "corefiles.py"))
        limits = {limit.name for limit in fields(Limits)}
        quoted = set(re.findall(r'"([\w-]+)"', source))
        options = {name.replace("-", "_") for name in quoted}
        self.assertEqual(set(), set(CORE_FILES) - limits - quoted - options - read)

    def test_defaults(self):
        """The defaults are those of the code that reads the files."""
        for name, default in [
            ("listen", service.DEFAULT_LISTEN),
            ("shutdown_grace", service.SHUTDOWN_GRACE),
            ("plugin_timeout", registry.DEFAULT_HOOK_TIMEOUT),
            ("loglevel", DEFAULT_LEVEL.name),
            ("max_recipients", Limits().max_recipients),
        ]:
            self.assertEqual(default, CORE_FILES[name].default, name)

    def test_described(self):
        """Each file has a form and a meaning, in one line."""
        for name, file in CORE_FILES.items():
            self.assertTrue(file.unit and file.help, name)
            self.assertNotIn("\n", file.unit + file.help)

    def test_absent(self):
        """Without any file all is well, and the limits are the defaults."""
        config = Config(())
        for name in CORE_FILES:
            check_core_file(config, name)
        self.assertEqual(Limits(), read_limits(config))
        self.assertEqual(Level.WARN, read_loglevel(config))

    def test_values(self):
        """Each kind of value is read as what its default is."""
        given = {
            "databytes": "5",
            "timeout": "1.5",
            "tls_before_auth": "yes",
            "auth_mechanisms": ["plain", "x y"],
        }
        limits = read_limits(Config((), {**given, "bare_newline": "normalize"}))
        self.assertEqual((5, 1.5, True), (limits.databytes, limits.timeout, limits.tls_before_auth))
        self.assertEqual((("PLAIN", "X", "Y"), "normalize"), (limits.auth_mechanisms, limits.bare_newline))

    def test_malformed(self):
        """A value that is none is refused with its file and line; free text is not looked at."""
        for name, text in [
            ("databytes", "x"),
            ("bare_newline", "x"),
            ("loglevel", "9"),
            ("max_from_ip", "x"),
        ]:
            error = self.assertRaises(ConfigError, check_core_file, Config((), {name: [text]}), name)
            self.assertEqual((f"<given {name}>", 1), (str(error.file), error.line))
        check_core_file(Config((), {"smtpgreeting": ["any thing"]}), "smtpgreeting")

    def test_spool_mode(self):
        """The mode is octal, with or without 0, and the owner has everything."""
        for text, expected in [("0700", 0o700), ("750", 0o750), ("0777", 0o777)]:
            self.assertEqual(expected, read_spool_mode(Config((), {"spool_perms": text})))
        self.assertEqual(0o700, read_spool_mode(Config(())))
        for text in ("0600", "789", "rwx", "07000", "0o700", "70", "-700"):
            config = Config((), {"spool_perms": text})
            error = self.assertRaises(ConfigError, check_core_file, config, "spool_perms")
            self.assertIn(f"{text!r} is not an octal mode", str(error))

    def test_store(self):
        """It is beside the spool directory, at a path, or nowhere."""
        rows = {
            "sqlite": Path("/var/store.sqlite"),
            "sqlite /srv/a b.db": Path("/srv/a b.db"),
            "sqlite  ~/x": Path.home() / "x",
            "memory": None,
        }
        for text, expected in rows.items():
            self.assertEqual(expected, read_store(Config((), {"store": [text]}), Path("/var/spool")), text)
        self.assertEqual(Path("store.sqlite"), read_store(Config(())))
        for text in ("redis", "memory x", "SQLite", "sqlite3 /x", "/x"):
            error = self.assertRaises(ConfigError, check_core_file, Config((), {"store": [text]}), "store")
            self.assertIn(f"{text!r} is no store; allowed are memory, sqlite, or sqlite PATH", str(error))

    def test_many(self):
        """What is read as one value is no file of many lines."""
        package = Path(qpsmtpd.__file__).parent
        first = {name for path in package.glob("*.py") for name in names_read(path, FIRST)}
        self.assertLess({"me", "store", "workers", "tls_ciphers"}, first)
        first |= {"spool_dir"} | {limit.name for limit in fields(Limits) if limit.type != "tuple[str, ...]"}
        self.assertEqual([], [name for name in first if CORE_FILES[name].many])
        others = set(CORE_FILES) - first - {"max_connections", "max_from_ip"}
        self.assertEqual([], [name for name in others if not CORE_FILES[name].many])

    def test_surplus_lines(self):
        """Where one line counts another is worth a word, in every file of that kind and in no other."""
        config = Config((), dict.fromkeys(CORE_FILES, ("0", "1", "2")))
        self.assertEqual(
            [
                f"<given {name}>:2: only the first line counts, not this one"
                for name, file in CORE_FILES.items()
                if not file.many
            ],
            [str(doubt) for doubt in doubts(config, 1)],
        )

    def test_forgetful_workers(self):
        """Workers that each remember for themselves are worth a word, if there are several."""
        rows = [("memory", 1), ("sqlite", 2), ("sqlite memory", 2)]
        self.assertEqual([], [d for text, n in rows for d in doubts(Config((), {"store": text}), n)])
        (doubt,) = doubts(Config((), {"store": "memory"}), 2)
        self.assertEqual(
            "<given store>:1: each of 2 workers remembers for itself; one for all of them is sqlite",
            str(doubt),
        )

    def test_command_timeout(self):
        """timeoutsmtpd wins over timeout, unless it is 0."""
        for given, expected in [
            ({}, 1200),
            ({"timeout": "9"}, 9),
            ({"timeout": "9", "timeoutsmtpd": "5"}, 5),
        ]:
            self.assertEqual(expected, read_limits(Config((), given)).command_timeout)
