"""From plugin lines to plugins: names, files, packages, inheritance, arguments, and what errors say."""

import os
import sys
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import loader
from qpsmtpd.config import Config, ConfigError, Line
from qpsmtpd.loader import Loader, declared, isa_plugin, shipped
from qpsmtpd.plugin import Plugin
from qpsmtpd.setting import SettingError
from qpsmtpd.testing.server import make_services

HEAD = "from qpsmtpd import ConfigError, OK, Plugin, Setting, SettingError, isa_plugin\n"
EMPTY = "class P(Plugin):\n    pass\n"


class LoaderCase(SynchronousTestCase):
    """A directory for plugins, and a loader that looks there."""

    def setUp(self):
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.use(self.directory)

    def use(self, *directories, **config):
        self.services = make_services({"plugin_dirs": [str(each) for each in directories], **config})
        self.loader = Loader(self.services.config)

    def ship_nothing(self):
        self.patch(loader, "shipped", lambda name: self.directory / "shipped" / name)

    def write(self, name, body=EMPTY, directory=None):
        """Write a plugin below a line of imports, so that its own first line is the second."""
        path = (directory or self.directory) / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(body if isinstance(body, bytes) else (HEAD + dedent(body)).encode())
        return path

    def load(self, text):
        return self.loader.load(Line(text, Path("plugins"), 7), self.services)

    def error(self, text):
        """Load a line that must fail; give the error without the place of the line, which must be right."""
        error = str(self.assertRaises(ConfigError, self.load, text))
        self.assertEqual("plugins:7: ", error[:11])
        self.assertNotIn("\n", error)
        return error[11:]


class NameTests(LoaderCase):
    """Where a plugin of a name is looked for, and what it is called then."""

    def test_names(self):
        """A configured name leads to a file; as it is written it is the plugin's, mangled in the log."""
        for name, file, log_name in [
            ("plain", "plain", "plain"),
            ("with-dash", "with_dash", "with_2ddash"),
            ("plain:1", "plain", "plain_3a1"),
            ("queue/with-dash", "queue/with_dash", "queue::with_2ddash"),
            ("a/b/c:12", "a/b/c", "a::b::c_3a12"),
            ("dot.ted:1", "dot.ted", "dot_2eted_3a1"),
        ]:
            self.write(file)
            plugin = self.load(name)
            self.assertEqual((name, log_name), (plugin.name, plugin.log_name))

    def test_two_instances(self):
        """name:1 is a second instance of one class, with its own settings."""
        self.write("p", "class P(Plugin):\n    limit = Setting.integer(3)\n")
        one, two = self.load("p limit 1"), self.load("p:1")
        self.assertIs(type(one), type(two))
        self.assertEqual((1, 3), (one.limit, two.limit))

    def test_first_directory_wins(self):
        """Directories are searched in their order."""
        other = self.directory / "other"
        self.write("both", "class First(Plugin):\n    pass\n", other)
        self.write("both", "class Second(Plugin):\n    pass\n")
        self.write("second")
        self.use(other, self.directory)
        self.assertEqual("First", type(self.load("both")).__name__)
        self.load("second")

    def test_home(self):
        """A directory may begin with ~."""
        self.write("p")
        self.patch(os, "environ", {**os.environ, "HOME": str(self.directory.parent)})
        self.use(f"~/{self.directory.name}")
        self.load("p")

    def test_no_such_home(self):
        """A ~ of nobody is an error of plugin_dirs, with its line."""
        self.use(self.directory, "~no-such-user-here/plugins")
        error = self.assertRaises(ConfigError, self.load, "p")
        self.assertEqual(2, error.line)
        self.assertIn("plugin_dirs", str(error.file))
        self.assertIn("~no-such-user-here/plugins", str(error))

    def test_shipped(self):
        """The shipped plugins come last, but where plugin_dirs names their directory."""
        place = shipped("plugins")
        self.assertTrue((place / "rcpt_ok.py").is_file())
        self.assertEqual([place], Loader(Config()).directories)
        self.assertEqual([self.directory, place], self.loader.directories)
        self.use(place, self.directory)
        self.assertEqual([place, self.directory], self.loader.directories)

    def test_available(self):
        """All files are listed by name, but those for others (an underscore) and of tests."""
        self.ship_nothing()
        for name in ("z", "queue/a_b", "_private", "queue/_too", "test_z"):
            self.write(name)
        self.use("x" * 300, self.directory / "none", self.directory)
        self.assertEqual(["queue/a_b", "z"], sorted(self.loader.available()))

    def test_unknown(self):
        """The error names what was asked for, where it was looked for, and all there is."""
        self.ship_nothing()
        self.write("queue/maildir")
        self.write("rcpt_ok")
        places = f"{self.directory}, {self.directory}/shipped/plugins"
        expected = f"no plugin is called 'zz:1' in {places}; there are queue/maildir, rcpt_ok"
        self.assertEqual(expected, self.error("zz:1"))

    def test_similar(self):
        """The error offers the name that is most like it."""
        self.ship_nothing()
        self.write("rcpt_ok")
        self.assertIn("; did you mean rcpt_ok? There are rcpt_ok", self.error("rcpt-okk"))

    def test_impossible_names(self):
        """No name is so strange that it is not simply unknown."""
        for name in ('""', "/", "..", ".", ":1", "x/", '"', "a:b", "a:", "\\", "*"):
            self.assertIn("no plugin is called", self.error(name), name)

    def test_name_too_long(self):
        """What the file system refuses is an error of the line."""
        self.assertIn("cannot be read", self.error("x" * 5000))


class PackageTests(LoaderCase):
    """Plugins in Python packages: module:Class."""

    def setUp(self):
        super().setUp()
        self.patch(sys, "path", [str(self.directory), *sys.path])
        self.package = f"pkg_{id(self):x}"
        self.addCleanup(self.forget)

    def forget(self):
        for name in [name for name in sys.modules if name.startswith(self.package)]:
            del sys.modules[name]

    def test_class(self):
        """A class of a module of a package is loaded, with arguments, also as a second instance."""
        self.write(f"{self.package}/module", "class Mine(Plugin):\n    word = Setting.text(position=True)\n")
        for suffix in ("", ":1"):
            plugin = self.load(f"{self.package}.module:Mine{suffix} x")
            self.assertEqual(("Mine", "x"), (type(plugin).__name__, plugin.word))

    def test_errors(self):
        """What cannot be loaded is said, with the place in the module if that is where the mistake is."""
        self.write(
            f"{self.package}/module",
            "number = 1\nclass Other: pass\nclass P(Plugin):\n    def hook_x(self): 0\n",
        )
        broken = self.write(f"{self.package}/broken", "def f(:\n")
        raising = self.write(f"{self.package}/raising", "\n1/0\n")
        for name, expected in [
            (".missing:P", f"cannot load {self.package}.missing:P: No module named"),
            (
                ".module:Q",
                f"cannot load {self.package}.module:Q: module '{self.package}.module' has no attribute",
            ),
            (".module:number", "is not a subclass of qpsmtpd.Plugin"),
            (".module:Other", "is not a subclass of qpsmtpd.Plugin"),
            (".module:P", "Invalid hook: hook_x"),
            (".broken:P", f"{broken}:2: invalid syntax"),
            (".raising:P", f"{raising}:3: ZeroDivisionError"),
        ]:
            self.assertIn(expected, self.error(self.package + name), name)


class InheritanceTests(LoaderCase):
    """isa_plugin."""

    CHILD = "class Child(isa_plugin('parent')):\n    more = Setting.integer(2)\n"

    def test_inherits(self):
        """A child has its parent's hooks, settings and methods, and is counted as the file's only class."""
        self.write(
            "parent", "class P(Plugin):\n    some = Setting.integer(1)\n    def hook_rcpt(self): pass\n"
        )
        self.write("child", self.CHILD)
        plugin = self.load("child some 5")
        self.assertEqual(
            (5, 2, ["rcpt"]), (plugin.some, plugin.more, [hook for hook, *_ in plugin.registrations])
        )
        self.assertIsInstance(plugin, self.loader.plugin_class("parent"))

    def test_errors_of_the_parent(self):
        """A parent that is unknown or broken is named."""
        self.write("child", self.CHILD)
        self.assertIn("no plugin is called 'parent'", self.error("child"))
        path = self.write("parent", "1/0\n")
        self.assertIn(f"{path}:2: ZeroDivisionError", self.error("child"))

    def test_itself(self):
        """Two files that inherit from each other are refused."""
        path = self.write("parent", "class P(isa_plugin('child')):\n    pass\n")
        self.write("child", self.CHILD)
        self.assertIn(f"{path}: this plugin inherits from itself", self.error("parent"))

    def test_outside_a_loader(self):
        """A file that is imported without a loader finds the shipped plugins."""
        self.assertTrue(issubclass(isa_plugin("rcpt_ok"), Plugin))
        self.assertRaises(SettingError, isa_plugin, "no_such")


class DeclaredTests(LoaderCase):
    """Reading a declaration without running the file."""

    def test_declared(self):
        """Literals of a class are read, annotated or not; what is computed, or no mapping, is not."""
        for body, expected in [
            ("class P:\n    files = {'a': 'b' 'c'}\n", {"a": "bc"}),
            ("class P:\n    files: ClassVar[Mapping[str, str]] = {'a': 'b'}\n1/0\n", {"a": "b"}),
            ("class P:\n    files = {'a': 'b'}\nclass Q:\n    files = {'c': 'd'}\n", {"a": "b", "c": "d"}),
            ("class P:\n    files = {'a': f()}\n", {}),
            ("class P:\n    files = 3\n", {}),
            ("class P:\n    files: dict\n", {}),
            ("class P:\n    files, other = {'a': 'b'}, 1\n", {}),
            ("class P:\n    other = {'a': 'b'}\n", {}),
            ("files = {'a': 'b'}\n", {}),
            ("class P(:\n", {}),
            ("\0", {}),
        ]:
            self.assertEqual(expected, declared(self.write("p", body), "files"), body)
        self.assertEqual({}, declared(self.directory / "absent.py", "files"))


class ShippedTests(SynchronousTestCase):
    """Where plugins/ and config/ are."""

    def setUp(self):
        self.base = Path(self.mktemp()).absolute()
        package = self.base / "lib" / "qpsmtpd"
        package.mkdir(parents=True)
        self.patch(loader, "__file__", str(package / "loader.py"))
        self.patch(loader.sysconfig, "get_path", lambda _: str(self.base / "prefix"))
        self.patch(loader.site, "getuserbase", lambda: str(self.base / "user"))

    def test_checkout(self):
        """Beside the package if that is a checkout, not if another project's directory has that name."""
        beside = self.base / "lib" / "plugins"
        beside.mkdir()
        self.assertEqual(self.base / "prefix/share/qpsmtpd/plugins", shipped("plugins"))
        (self.base / "lib" / "setup.cfg").touch()
        self.assertEqual(beside, shipped("plugins"))

    def test_installed(self):
        """Where pip puts data, for everybody or for a user."""
        for base in ("user", "prefix"):
            path = self.base / base / "share/qpsmtpd/plugins"
            path.mkdir(parents=True)
            self.assertEqual(path, shipped("plugins"))
