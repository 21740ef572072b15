"""What an administrator is told about a wrong value, of every setting of every plugin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.config import Config, ConfigError, Line
from qpsmtpd.loader import Loader
from qpsmtpd.plugin import Plugin
from qpsmtpd.setting import Setting, settings_of
from qpsmtpd.testing.plugins import make_services

WORDS = ("maybe", "-1", "?", "9" * 400)
"""Words that mean nothing to most settings."""
BEFORE = {
    "queue/smtp_forward": {"port": ["next.example"]},
    "queue/maildir": {"template": ["mail"], "mode": ["mail", "%u"]},
}
"""What must stand on the line before a positional setting."""
FREE = {
    "a word",
    "a path",
    "words separated by commas",
    "a strftime format",
    "a path or |command",
    "COMMAND FILE",
}
"""Forms that any word has."""


def settings() -> Iterator[tuple[str, Setting[Any]]]:
    """Give each setting of each shipped plugin, and those that all have once."""
    loader = Loader(Config(()))
    shared = settings_of(Plugin)
    yield from (("rcpt_ok", setting) for setting in shared.values())
    for name in loader.available():
        own = settings_of(loader.plugin_class(name))
        yield from ((name, setting) for key, setting in own.items() if setting is not shared.get(key))


def wrong_word(name: str, setting: Setting[Any]) -> str:
    """Give a word that the setting refuses, "" if there is none, or if another setting would take it."""
    owner = Loader(Config(())).plugin_class(name)
    if setting.flag and any(other.position for other in settings_of(owner).values()):
        return ""
    for word in WORDS:
        try:
            setting.read(word)
        except Exception:
            return word
    return ""


class MessageTests(SynchronousTestCase):
    def told(self, name: str, *words: str) -> str:
        line = Line(" ".join([name, *words]), Path("/etc/qpsmtpd/plugins"), 7)
        services = make_services()
        return str(self.assertRaises(ConfigError, Loader(services.config).load, line, services))

    def test_wrong_value(self) -> None:
        """The message has file and line, plugin, setting, unit, the value, and what is allowed."""
        tried = 0
        for name, setting in settings():
            word = wrong_word(name, setting)
            if not word:
                continue
            before = BEFORE.get(name, {}).get(setting.name, []) if setting.position else [setting.keyword]
            unit = f" ({setting.unit})" if setting.unit else ""
            self.assertIn(
                f"/etc/qpsmtpd/plugins:7: {name}: {setting.keyword}{unit}: {word!r} is not {setting.allowed}",
                self.told(name, *before, word),
            )
            tried += 1
        self.assertGreater(tried, 50)

    def test_free(self) -> None:
        """What refuses none of the wrong words takes any, and says so."""
        free = {
            setting.allowed for name, setting in settings() if not (setting.flag or wrong_word(name, setting))
        }
        self.assertEqual(set(), free - FREE)

    def test_no_value(self) -> None:
        """The message names the setting and what it wants; a flag wants none."""
        for name, setting in settings():
            if not (setting.position or setting.flag):
                said = self.told(name, setting.keyword)
                self.assertIn(f"plugins:7: {name}: {setting.keyword} needs a value: {setting.allowed}", said)

    def test_flag(self) -> None:
        """What stands behind a flag and cannot be meant for another setting is its value."""
        self.assertEqual(
            "/etc/qpsmtpd/plugins:7: greylisting: sender: 'maybe' is not 0 or 1",
            self.told("greylisting", "sender", "maybe"),
        )
