"""Every limit: its file, default and what it may not be."""

from dataclasses import fields

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.config import Config, ConfigError
from qpsmtpd.limits import Limits, read_limits, read_value


def read(**values: str) -> Limits:
    return read_limits(Config((), {name: [value] for name, value in values.items()}))


class LimitTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Without files the defaults are in force."""
        self.assertEqual(Limits(), read())

    def test_every_file(self) -> None:
        """Each field is a file of its name, read as what its default is."""
        samples = {bool: ("1", True), int: ("7000", 7000), float: ("2.5", 2.5)}
        samples[str] = ("normalize", "normalize")
        for entry in fields(Limits):
            if isinstance(entry.default, tuple):
                continue
            text, value = samples[type(entry.default)]
            self.assertEqual(value, getattr(read(**{entry.name: text}), entry.name), entry.name)

    def test_refused(self) -> None:
        """What is none is an error that names the file."""
        rows = (
            ("databytes", "-1"),
            ("databytes", "1M"),
            ("timeout", "soon"),
            ("timeout", "0"),
            ("max_command", "511"),
            ("scram_iterations", "4095"),
            ("reverse_dns", "2"),
            ("bare_newline", "allow"),
        )
        for name, text in rows:
            self.assertRaisesRegex(ConfigError, name, read, **{name: text})

    def test_choice(self) -> None:
        self.assertRaisesRegex(
            ConfigError, "'allow' is not one of reject, normalize", read, bare_newline="allow"
        )

    def test_mechanisms(self) -> None:
        """Mechanisms are words in any case, on one line or several, in their order."""
        config = Config((), {"auth_mechanisms": ["cram-md5 plain", "LOGIN"]})
        self.assertEqual(("CRAM-MD5", "PLAIN", "LOGIN"), read_limits(config).auth_mechanisms)

    def test_extensions(self) -> None:
        """Extensions are words that are known, in any case; the error names the line."""
        config = Config((), {"extensions": ["requiretls mt-priority", "DELIVERBY"]})
        self.assertEqual(("REQUIRETLS", "MT-PRIORITY", "DELIVERBY"), read_limits(config).extensions)
        config = Config((), {"extensions": ["REQUIRETLS", "DELIVERBY DSN"]})
        error = self.assertRaises(ConfigError, read_limits, config)
        self.assertEqual(2, error.line)
        self.assertIn("'DSN' is not one of REQUIRETLS, MT-PRIORITY, DELIVERBY, FUTURERELEASE", str(error))

    def test_command_timeout(self) -> None:
        """Commands are waited for as long as content is, unless said otherwise."""
        self.assertEqual(1200, read().command_timeout)
        self.assertEqual(5, read(timeout="5").command_timeout)
        self.assertEqual(7, read(timeout="5", timeoutsmtpd="7").command_timeout)

    def test_explained(self) -> None:
        """Each has a unit and a help text."""
        self.assertTrue(all(entry.metadata["unit"] and entry.metadata["help"] for entry in fields(Limits)))

    def test_one(self) -> None:
        config = Config((), {"x": ["3"]})
        self.assertEqual(3, read_value(config, "x", 5))
