"""qpsmtpd hooks: who is called when."""

from pathlib import Path

from .scriptcase import ScriptCase


class HooksTests(ScriptCase):
    def hooks(self):
        status, output, error = self.run_command("hooks", self.directory)
        place = f"{self.directory.relative_to(Path.cwd())}/"
        return status, output.replace(place, "").splitlines(), error.replace(place, "").splitlines()

    def test_order(self):
        """Per hook, in the order of a session, the plugins in calling order, each with its line."""
        self.plugin(
            "front",
            "class Front(Plugin):\n    def register(self):\n"
            "        self.register_hook('rcpt', self.hook_logging, first=True)\n"
            "    def hook_disconnect(self): pass\n    def hook_logging(self): pass\n",
        )
        self.write("logging", "front:1")
        self.write("plugins", "slow\nslow:2 shadow\nrcpt_ok\nfront\nkeep m")
        expected = [
            "logging (sync)",
            "  front:1  logging:1",
            "  front    plugins:4",
            "connect (asked)",
            "  slow     plugins:1",
            "  slow:2   plugins:2 shadow",
            "rcpt (asked)",
            "  front    plugins:4",
            "  front:1  logging:1",
            "  slow     plugins:1",
            "  slow:2   plugins:2 shadow",
            "  rcpt_ok  plugins:3",
            "queue (asked)",
            "  keep     plugins:5",
            "disconnect (told)",
            "  front:1  logging:1",
            "  front    plugins:4",
        ]
        self.assertEqual((0, expected, []), self.hooks())

    def test_errors(self):
        """What is missing because of an error is told on standard error: status 1."""
        self.write("plugins", "rcpt_ok\nno_such")
        status, output, error = self.hooks()
        self.assertEqual((1, ["rcpt (asked)", "  rcpt_ok  plugins:1"]), (status, output))
        self.assertEqual(1, len(error))
        self.assertIn("plugins:2: error: no plugin is called 'no_such'", error[0])

    def test_nothing(self):
        """Without plugins there is nothing to list."""
        self.write("plugins", "")
        self.assertEqual((0, [], []), self.hooks())
