"""The plugin help: texts from files."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK, ConfigError, Reply
from qpsmtpd.config import Config
from qpsmtpd.loader import shipped
from qpsmtpd.session import VERBS
from qpsmtpd.testing import Server, Tried


class HelpTests(SynchronousTestCase):
    """In a configuration directory of its own."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.write("help/rset", "RSET\n\nForget it.\n\n")
        self.write("help/empty", "\n")
        self.write("help/help_dir/x", "")
        self.write("texts/mine", "mine\n")
        self.write("secret", "secret\n")

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def ask(self, argument: str, line: str = "help") -> Any:
        """Ask for help."""
        self.tried = Tried(line)
        self.tried.plugin.config = Config([self.directory])
        return self.tried.ask("help", argument=argument)

    def test_hint(self) -> None:
        """Without a command there is a hint how to ask."""
        self.assertIn("HELP", self.ask("").text)

    def test_directory(self) -> None:
        """A command has the file of its name in lower case; only the first word counts."""
        for argument in ("RSET", "rset", "Rset now please"):
            self.assertEqual(OK("RSET\n\nForget it."), self.ask(argument), argument)
        self.write("help/rset", "edited")
        self.assertEqual(OK("edited"), self.tried.ask("help", argument="RSET"))

    def test_no_help(self) -> None:
        """What has no file, an empty one, or a directory, has no help; settings are no commands."""
        for word in ("VRFY", "EMPTY", "HELP_DIR", "NOT_IMPLEMENTED", "secret"):
            self.assertEqual(OK(f"no help available for {word}"), self.ask(word))

    def test_unreadable(self) -> None:
        """A file that cannot be read is as good as none."""
        page = self.directory / "help" / "round"
        page.symlink_to(page)
        self.assertEqual(OK("no help available for round"), self.ask("round"))

    def test_no_word(self) -> None:
        """What is no word is answered with 502, and no file is looked for."""
        for argument in ("../secret", "/etc/passwd", ".", "r.set", "\u00e9tat", "rset\0"):
            answer = self.ask(argument)
            self.assertEqual((Reply, 502), (type(answer), answer.code), argument)

    def test_not_implemented(self) -> None:
        """Every HELP can be answered with 502."""
        for line in ("help not_implemented 1", "help not_implemented"):
            self.assertEqual(502, self.ask("", line).code)
            self.assertEqual(502, self.ask("RSET", line).code)

    def test_pairs(self) -> None:
        """A command's own file: in the help directory, in the configuration directory, anywhere."""
        absolute = self.directory / "secret"
        line = f"help Foo rset not_implemented 0 bar texts/mine BAZ {absolute} gone gone"
        for argument, text in [
            ("FOO", "RSET\n\nForget it."),
            ("bar", "mine"),
            ("baz", "secret"),
            ("rset", "RSET\n\nForget it."),
            ("gone", "no help available for gone"),
        ]:
            self.assertEqual(OK(text), self.ask(argument, line), argument)

    def test_help_dir(self) -> None:
        """Another directory: in the configuration directory, or anywhere."""
        for directory in ("texts", "./texts/", self.directory / "texts"):
            self.assertEqual(OK("mine"), self.ask("mine", f"help help_dir {directory}"))
        self.assertEqual(OK("mine"), self.ask("x", "help help_dir texts x mine"))

    def test_missing_file(self) -> None:
        """A file that is not there is reported at the start."""
        tried = Tried("help foo bar")
        self.assertIn("error, help/bar is not there", [event.text for event in tried.events])

    def test_arguments(self) -> None:
        """A command without file, and names that are none, stop the start."""
        for words, reason in [
            ("foo", "help: 'foo' has no file"),
            ("foo bar baz", "help: 'baz' has no file"),
            ("r-set file", "help: 'r-set file' is no pair"),
            ("foo f*le", "help: 'foo f*le' is no pair"),
            ("help_dir x;y", "help: help_dir: 'x;y' is not a directory"),
        ]:
            self.assertIn(reason, str(self.assertRaises(ConfigError, Tried, f"help {words}")))

    def test_on_the_wire(self) -> None:
        """A reply has a line for each of the file's, empty ones too."""
        server = Server([f"help help_dir {self.directory}/help"])
        client = server.connect()
        client.read()
        expected = "214-2.0.0 RSET\r\n214-2.0.0 \r\n214 2.0.0 Forget it."
        self.assertEqual(expected, client.say("HELP RSET"))
        self.assertTrue(client.say("HELP ?").startswith("502 5.5.1 "))

    def test_shipped_texts(self) -> None:
        """Every command that this server knows has a text, and no text is about another one."""
        texts = {path.name.upper() for path in (shipped("config") / "help").iterdir()}
        self.assertEqual(set(), texts - VERBS.keys())
        unknown = {"EXPN", "ETRN", "TURN", "SEND", "SOML", "SAML"}
        self.assertEqual(unknown, VERBS.keys() - texts)
