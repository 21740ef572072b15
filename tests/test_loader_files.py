"""What may be wrong with a plugin's file, and what a plugin may say while it is loaded."""

import re
import sys
from pathlib import Path
from unittest import mock

from qpsmtpd.config import ConfigError, Line
from qpsmtpd.plugin import GIVEN, Plugin

from .test_loader import EMPTY, LoaderCase


class FileTests(LoaderCase):
    """What may be wrong with a plugin's file; the error names its file and line."""

    def test_broken_files(self):
        """Each mistake is named."""
        for body, expected in [
            ("def f(:\n", "{}:2: invalid syntax"),
            ("\nif:\n", "{}:3: invalid syntax"),
            ("\n\n1/0\n", "{}:4: ZeroDivisionError: division by zero"),
            ("import re\nre.compile('(')\n", f"{{}}:3: {re.error.__name__}: missing )"),
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
        """What is called hook_* and cannot be called is nobody's hook; so an heir drops an inherited one."""
        self.write("p", "class P(Plugin):\n    hook_count = 3\n    hook_rcpt = None\n")
        self.assertEqual([], self.load("p").registrations)

    def test_setting_in_the_way(self):
        """A setting called like something that every plugin has would replace it."""
        self.assertEqual(set(), vars(Plugin(self.services)).keys() - GIVEN)
        for name in ("config", "store", "rejection"):
            path = self.write("p", f"class P(Plugin):\n    {name} = Setting.text()\n")
            self.use(self.directory)
            expected = f"{path}: no setting may be called {name}: every plugin has one"
            self.assertEqual(expected, self.error("p"))

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

    def test_self_forgotten(self):
        """A method without self would be given the plugin for its first argument."""
        for arguments in ("connection, recipient", ""):
            path = self.write("p", f"class P(Plugin):\n    def hook_rcpt({arguments}): pass\n")
            self.use(self.directory)
            expected = f"p: {path}:3: the first argument of hook_rcpt must be self"
            self.assertEqual(expected, self.error("p"))

    def test_static_method(self):
        """A hook may do without self, if it says so."""
        self.write("p", "class P(Plugin):\n    @staticmethod\n    def hook_rcpt(recipient): pass\n")
        self.load("p")
