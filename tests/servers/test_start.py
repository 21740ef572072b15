"""Mistakes of the administrator: one line for each, a status that is not 0, no traceback."""

from __future__ import annotations

import subprocess
import unittest

from harness import TWISTD, Server, running


def start(server: Server) -> subprocess.CompletedProcess[str]:
    """Run the server, which is expected to end by itself."""
    return subprocess.run(
        [TWISTD, "-n", "--pidfile=", "qpsmtpd", "--config", server.config],
        cwd=server.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class StartTests(unittest.TestCase):
    """The server does not start with a configuration that is wrong, and says what is."""

    def refuse(self, plugins: str, **private: str) -> str:
        server = Server(shipped=False)
        self.addCleanup(server.close)
        directory = server.directory / "plugins"
        directory.mkdir()
        for name, text in private.items():
            (directory / f"{name}.py").write_text(text)
        server.write("plugin_dirs", f"{directory}\n")
        server.write("plugins", plugins)
        done = start(server)
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("Traceback", done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_syntax_error_in_a_plugin(self) -> None:
        said = self.refuse("broken\n", broken="class Broken(:\n")
        self.assertIn("config/plugins:1: ", said)
        self.assertIn("broken.py:1: invalid syntax", said)

    def test_bad_argument(self) -> None:
        said = self.refuse("# comment\nearlytalker wait soon\n")
        self.assertIn("config/plugins:2: earlytalker: wait (seconds): 'soon' is not a number", said)

    def test_unknown_argument_and_plugin_are_both_named(self) -> None:
        said = self.refuse("relay maybe\nno_such_plugin\n")
        self.assertIn("config/plugins:1: relay: unknown argument 'maybe'; allowed are ", said)
        self.assertIn("config/plugins:2: no plugin is called 'no_such_plugin'", said)

    def test_a_port_that_is_taken(self) -> None:
        with running() as server:
            done = start(server)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("cannot listen: ", done.stdout + done.stderr)
        self.assertIn("Address already in use", done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
