"""qpsmtpd plugins: what there is, and the manual of each."""

from pathlib import Path

from qpsmtpd import loader
from qpsmtpd.log import Level
from qpsmtpd.outcome import Policy
from qpsmtpd.script import plugins

from .scriptcase import ScriptCase

MANUAL = '''
    """Do a thing.

    Reads ``things``.
    """
'''
THING = '''\
"""Do a thing, which
takes two lines. And more.

All about it.
"""
from typing import ClassVar
from qpsmtpd import Plugin, Setting


class Thing(Plugin):
    where = Setting.path(position=True, required=True, help="the place")
    wait = Setting.seconds(1.5, help="how long")
    names = Setting.words(["a", "b"])
    host = Setting.text(many=True)
    files: ClassVar = {"things": "a thing"}
    requires: ClassVar = {"twisted": "none", "no_such_module_x": "geo"}

    def hook_rcpt(self):
        pass

    def hook_post_connection(self):
        pass
'''


class ListTests(ScriptCase):
    def lines(self):
        status, output, error = self.run_command("plugins", "--config", self.directory)
        self.assertEqual((0, ""), (status, error))
        return output.splitlines()

    def test_list(self):
        """One line a plugin: the name that loads it, and the first sentence of its manual."""
        self.patch(loader, "shipped", lambda name: self.directory / "shipped" / name)
        for path in self.plugins.iterdir():
            path.unlink()
        (self.plugins / "queue").mkdir()
        self.plugin("queue/far_away", "1/0")
        (self.plugins / "short.py").write_text('"""Be short."""\n1/0\n')
        (self.plugins / "broken.py").write_text("def f(:\n")
        (self.plugins / "bare.py").write_text("1\n")
        self.assertEqual(
            [
                "bare            ",
                "broken          cannot be read: invalid syntax (<unknown>, line 1)",
                "queue/far_away  ",
                "short           Be short.",
            ],
            self.lines(),
        )

    def test_missing_package(self):
        """What it takes to load a plugin is named if it is missing here."""
        (self.plugins / "thing.py").write_text(THING)
        (self.plugins / "thong.py").write_text(
            'class P:\n    requires = {"no_such_x.y": "a", "no_such_x": "a", "": "b"}\n'
        )
        lines = [line.split(None, 1)[1] for line in self.lines() if line.startswith("th")]
        self.assertEqual(
            [
                "Do a thing, which takes two lines. (pip install 'qpsmtpd[geo]')",
                "(pip install 'qpsmtpd[a,b]')",
            ],
            lines,
        )

    def test_shipped(self):
        """Without a directory the shipped plugins are listed, each with a sentence."""
        self.patch(plugins, "Config", lambda _: __import__("qpsmtpd.config").config.Config(()))
        lines = self.lines()
        self.assertTrue(any(line.startswith("rcpt_ok ") for line in lines))
        for line in lines:
            self.assertRegex(line, r"^[a-z0-9_/]+ +[A-Z]")

    def test_empty(self):
        """Directories without plugins give an empty list."""
        self.patch(loader, "shipped", lambda name: self.directory / "shipped" / name)
        self.write("plugin_dirs", self.directory / "none")
        self.assertEqual([], self.lines())


class ShowTests(ScriptCase):
    def show(self, name):
        return self.run_command("plugins", "--config", self.directory, "show", name)

    def test_manual(self):
        """The manual is the file's docstring, then arguments, files, hooks and packages."""
        (self.plugins / "thing.py").write_text(THING)
        expected = """\
Do a thing, which
takes two lines. And more.

All about it.

Arguments:
  WHERE: a path, required; the place
  wait: a number of at least 0, seconds, default 1.5; how long
  names: words separated by commas, default a,b
  host: a word, repeatable
  of every plugin: reject, reject_type, loglevel, on_error, hook_timeout, shadow

Files:
  things: a thing

Hooks:
  rcpt, post-connection

Packages:
  twisted: pip install 'qpsmtpd[none]'
  no_such_module_x: pip install 'qpsmtpd[geo]'
"""
        for name in ("thing", "thing:1"):
            self.assertEqual((0, expected, ""), self.show(name))

    def test_inherited(self):
        """A child has its parent's files and arguments, too."""
        self.plugin(
            "child",
            "class Child(isa_plugin('rcpt_ok')):\n    \"\"\"Be a child.\"\"\"\n    files = {'more': 'x'}\n",
        )
        _, output, _ = self.show("child")
        self.assertTrue(output.startswith("Be a child.\n\nArguments:\n  of every plugin:"), output)
        self.assertIn("Files:\n  rcpthosts: host\n  more: x\n", output)

    def test_changed_common_setting(self):
        """A setting of every plugin that this one declares anew is shown with its own default."""
        self.plugin("soft", "class Soft(Plugin):\n    reject = Setting.reject(default=False)\n")
        _, output, _ = self.show("soft")
        self.assertIn("  reject: 0, 1 or naughty, default 0; 1 rejects", output)
        self.assertIn("of every plugin: reject_type, loglevel", output)

    def test_unknown(self):
        """A name that is none gives the list of those that are: status 1."""
        status, output, error = self.show("no-such")
        self.assertEqual((1, ""), (status, output))
        self.assertIn("qpsmtpd: no plugin is called 'no-such'", error)

    def test_cannot_be_loaded(self):
        """Of a plugin that cannot be loaded the docstring is shown, and the reason."""
        for name in ("far_away", "far-away", "far-away:2"):
            (self.plugins / "far_away.py").write_text('"""Be far."""\nimport no_such_module_x\n')
            status, output, error = self.show(name)
            self.assertEqual((1, "Be far.\n"), (status, output))
            self.assertIn("far_away.py:2: ModuleNotFoundError", error)

    def test_every_shipped_plugin(self):
        """Each shipped plugin has a manual, or says what it takes to load it."""
        available = plugins.Loader(plugins.Config(())).available()
        self.assertIn("rcpt_ok", available)
        for name in available:
            status, output, error = self.show(name)
            self.assertGreater(len(output.splitlines()), 5, name)
            self.assertEqual(status, int("pip install" in error), (name, error))

    def test_defaults(self):
        """A default is shown as it would stand on the line."""
        for value, expected in [
            (True, "1"),
            (False, "0"),
            (Policy.NAUGHTY, "naughty"),
            (Policy.REJECT, "1"),
            (Level.WARN, "warn"),
            (("a", "b"), "a,b"),
            ((), ""),
            (Path("/x"), "/x"),
            (Path(), ""),
            (2.0, "2"),
            (0, "0"),
            ("text", "text"),
            (None, ""),
        ]:
            self.assertEqual(expected, plugins._shown(value), repr(value))
