"""From plugin lines to plugins: names, files, packages, inheritance, arguments, and what errors say."""

import os
import sys
from pathlib import Path
from textwrap import dedent
from unittest import mock

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

    def test_shipped_by_default(self):
        """Without plugin_dirs the shipped plugins are used."""
        self.assertEqual([shipped("plugins")], Loader(Config()).directories)
        self.assertTrue((shipped("plugins") / "rcpt_ok.py").is_file())

    def test_available(self):
        """All files are listed by name, those that begin with an underscore are not plugins."""
        for name in ("z", "queue/a_b", "_private", "queue/_too"):
            self.write(name)
        self.use("x" * 300, self.directory / "none", self.directory)
        self.assertEqual(["queue/a_b", "z"], sorted(self.loader.available()))

    def test_unknown(self):
        """The error names what was asked for, where it was looked for, and all there is."""
        self.write("queue/maildir")
        self.write("rcpt_ok")
        self.assertEqual(
            f"no plugin is called 'zz:1' in {self.directory}; there are queue/maildir, rcpt_ok",
            self.error("zz:1"),
        )

    def test_similar(self):
        """The error offers the name that is most like it."""
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


class FileTests(LoaderCase):
    """What may be wrong with a plugin's file; the error names its file and line."""

    def test_broken_files(self):
        """Each mistake is named."""
        for body, expected in [
            ("def f(:\n", "{}:2: invalid syntax"),
            ("\nif:\n", "{}:3: invalid syntax"),
            ("\n\n1/0\n", "{}:4: ZeroDivisionError: division by zero"),
            ("import re\nre.compile('(')\n", "{}:3: error: missing )"),
            ("raise ValueError('two\\nlines')\n", "{}:2: ValueError: two lines"),
            ("", "{}: a plugin's file holds one subclass of Plugin, this one has 0"),
            (
                f"{EMPTY}class Q(Plugin):\n    pass\n",
                "{}: a plugin's file holds one subclass of Plugin, this one has 2",
            ),
            (
                "class P(Plugin):\n    def hook_rctp(self): pass\n",
                "{}:3: Invalid hook: hook_rctp; methods are",
            ),
            ("\0", "{}: "),
            (b"# \xff\n", "{}:"),
        ]:
            path = self.write("broken", body)
            self.use(self.directory)
            self.assertIn(expected.format(path), self.error("broken x y"), body)

    def test_broken_module_is_forgotten(self):
        """A file that failed leaves no module behind."""
        self.write("broken", "1/0\n")
        before = set(sys.modules)
        self.error("broken")
        self.assertEqual(before, set(sys.modules))

    def test_unreadable(self):
        """A file that cannot be opened is an error of the line."""
        path = self.write("p")
        with mock.patch.object(Path, "is_file", side_effect=PermissionError(13, "Permission denied")):
            self.assertEqual(f"{path}: cannot be read: Permission denied", self.error("p"))

    def test_alias(self):
        """A second name for the class is no second class."""
        self.write("p", f"{EMPTY}Alias = P\n")
        self.load("p")

    def test_foreign_classes(self):
        """Classes that were imported or inherited from do not count."""
        self.write("p", "from qpsmtpd.factory import Functions\nclass P(Plugin):\n    pass\n")
        self.assertEqual("P", type(self.load("p")).__name__)

    def test_unknown_hook_lists_methods(self):
        """The error about a method lists what it may be called."""
        self.write("p", "class P(Plugin):\n    def hook_rctp(self): pass\n")
        self.assertIn("hook_rcpt,", self.error("p"))

    def test_attribute_is_no_method(self):
        """What is called hook_* and cannot be called is nobody's hook."""
        self.write("p", "class P(Plugin):\n    hook_count = 3\n")
        self.assertEqual([], self.load("p").registrations)

    def test_missing_module(self):
        """The error names the line that installs it, if the plugin says which extra brings it."""
        for requires, hint in [
            ('{"no_such_module_x": "geo"}', "; pip install 'qpsmtpd[geo]'"),
            ('{"other": "geo"}', ""),
            ("{}", ""),
        ]:
            path = self.write(
                "p", f"import no_such_module_x.y\nclass P(Plugin):\n    requires = {requires}\n"
            )
            self.use(self.directory)
            expected = f"{path}:2: ModuleNotFoundError: No module named 'no_such_module_x'{hint}"
            self.assertEqual(expected, self.error("p"))

    def test_missing_module_of_register(self):
        """A module that is imported late has the same hint, by its full name too."""
        body = """\
            class P(Plugin):
                requires = {"no_such_module_x": "geo", "xml.no_such": "other"}
                name_of_module = Setting.text(position=True)
                def register(self):
                    __import__(self.name_of_module)
            """
        path = self.write("p", body)
        for module, extra in (("no_such_module_x", "geo"), ("xml.no_such", "other")):
            text = f"p: {path}:6: ModuleNotFoundError: No module named '{module}'"
            self.assertEqual(f"{text}; pip install 'qpsmtpd[{extra}]'", self.error(f"p {module}"))


class RegisterTests(LoaderCase):
    """What a plugin may say while it is loaded."""

    def test_called_with_settings(self):
        """register comes after the settings; the hooks it registers come after the methods."""
        body = """\
            class P(Plugin):
                name_of_hook = Setting.text(position=True)
                def hook_mail(self): pass
                def register(self):
                    self.register_hook(self.name_of_hook, self.other, first=True)
                def other(self): pass
            """
        self.write("p", body)
        plugin = self.load("p rcpt")
        self.assertEqual(
            [("mail", plugin.hook_mail, False), ("rcpt", plugin.other, True)], plugin.registrations
        )
        self.assertIn("p: Invalid hook: rctp; hooks are logging, config", self.error("p rctp"))

    def test_not_called(self):
        """Whoever only wants to look at a plugin can keep it from registering."""
        self.write("p", "class P(Plugin):\n    def register(self):\n        1/0\n")
        line = Line("p", Path("plugins"), 7)
        self.assertEqual("p", self.loader.load(line, self.services, register=False).name)

    def test_errors(self):
        """Each kind of error has the place of the line; a crash also that in the plugin."""
        path = self.directory / "p.py"
        for statement, expected in [
            ("raise SettingError('so not')", "p: so not"),
            ("raise ConfigError('so not')", "so not"),
            ("1/0", f"p: {path}:4: ZeroDivisionError: division by zero"),
            ("int('x')", f"p: {path}:4: ValueError: invalid literal"),
            ("open('/nowhere/at/all')", f"p: {path}:4: FileNotFoundError"),
        ]:
            self.write("p", f"class P(Plugin):\n    def register(self):\n        {statement}\n")
            self.use(self.directory)
            self.assertIn(expected, self.error("p"), statement)

    def test_place_in_another_file(self):
        """An error that knows its own place keeps it."""
        self.write(
            "p", "class P(Plugin):\n    def register(self):\n        self.config.number('databytes', 0)\n"
        )
        self.use(self.directory, databytes="x")
        error = self.assertRaises(ConfigError, self.load, "p")
        self.assertEqual(("<given databytes>", 1), (str(error.file), error.line))

    def test_argument_of_hook(self):
        """A method that asks for what its hook does not offer is refused, with its place."""
        path = self.write("p", "class P(Plugin):\n\n    def hook_rcpt(self, sender): pass\n")
        expected = (
            f"p: {path}:4: hook_rcpt asks for 'sender'; the hook offers connection, transaction, recipient"
        )
        self.assertIn(expected, self.error("p"))


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


class ArgumentTests(LoaderCase):
    """The words behind a plugin's name."""

    BODY = """\
        class P(Plugin):
            first = Setting.text("one", position=True)
            second = Setting.integer(2, position=True, maximum=9)
            wait = Setting.seconds(1.5)
            loud = Setting.switch()
            host = Setting.text(many=True)
            at_end = Setting.text(keyword="at-end")
        """

    def values(self, text):
        plugin = self.load(text)
        names = ("first", "second", "wait", "loud", "host", "at_end", "on_error", "reject")
        values = {name: getattr(plugin, name) for name in names}
        return {name: value for name, value in values.items() if value != getattr(type(plugin), name).default}

    def test_values(self):
        """Words become settings by place and by keyword, in any order; the rest keeps its default."""
        self.write("p", self.BODY)
        for text, expected in [
            ("p", {}),
            ("p a", {"first": "a"}),
            ("p a 3", {"first": "a", "second": 3}),
            ("p wait 3", {"wait": 3.0}),
            ("p wait 0.25 a 3", {"wait": 0.25, "first": "a", "second": 3}),
            ("p a wait 3 4", {"wait": 3.0, "first": "a", "second": 4}),
            ("p loud", {"loud": True}),
            ("p loud wait 3", {"loud": True, "wait": 3.0}),
            ("p loud no a", {"first": "a"}),
            ("p loud 1 a", {"loud": True, "first": "a"}),
            ("p host a host b", {"host": ("a", "b")}),
            ("p at-end x", {"at_end": "x"}),
            ("p on_error reject reject 0", {"on_error": "reject", "reject": 0}),
            ('p "a b"  wait\t3', {"first": "a b", "wait": 3.0}),
            ('p ""', {"first": ""}),
            ('p a"b', {"first": 'a"b'}),
        ]:
            self.assertEqual(expected, self.values(text), text)

    def test_wrong(self):
        """The error names the plugin, the word, and what is allowed."""
        self.write("p", self.BODY)
        common = "[reject] [reject_type] [loglevel] [on_error] [hook_timeout] [shadow]"
        for text, expected in [
            ("p a x", "p: second: 'x' is not a whole number of at least 0 and at most 9"),
            ("p a 10", "p: second: '10' is not a whole number"),
            ("p a 1 b", f"p: unknown argument 'b'; allowed are {common} [FIRST] [SECOND] [wait]"),
            ("p wait", "p: wait needs a value: a number of at least 0"),
            ("p wait soon", "p: wait (seconds): 'soon' is not a number of at least 0"),
            ("p wait 1 wait 2", "p: wait is given twice"),
            ("p on_error panic", "p: on_error: 'panic' is not one of tempfail, continue, reject, disconnect"),
            ("p loglevel LOUD", "p: loglevel: not a log level: 'LOUD'; allowed are 0 to 7"),
        ]:
            self.assertIn(expected, self.error(text), text)

    def test_rest_and_required(self):
        """rest takes all words that are left; what is required must be there."""
        self.write(
            "p", "class P(Plugin):\n    text = Setting.text(position=True, rest=True, required=True)\n"
        )
        self.assertEqual("a  wait b", self.load('p "a " wait b').text)
        self.assertIn("p: missing argument text; allowed are", self.error("p"))
        self.assertTrue(self.error("p").endswith("[shadow] TEXT"))

    def test_many_by_place(self):
        """A positional setting may take many words."""
        self.write("p", "class P(Plugin):\n    names = Setting.text(position=True, many=True)\n")
        self.assertEqual(("a", "b"), self.load("p a b").names)

    def test_characters(self):
        """Only printable ASCII and tabs are allowed; the error shows the others as escapes."""
        self.write("p", self.BODY)
        for text, shown in [("p ü", r"'p \xfc'"), ("p \x07", r"'p \x07'"), ("p \u2028", r"'p \u2028'")]:
            self.assertEqual(f"{shown}: only printable ASCII characters are allowed", self.error(text))


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
