"""The plugin count_unrecognized_commands."""

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import ConfigError, Outcome
from qpsmtpd.testing import Tried


class CountUnrecognizedCommandsTests(SynchronousTestCase):
    """Too many commands that nobody knows."""

    def ask(self, line: str, count: int) -> str:
        """Let a client that has sent some send one more; give the verdict."""
        self.tried = Tried(line)
        self.tried.connection.notes["unrec_cmd_count"] = count
        answer = self.tried.ask("unrecognized_command", command="foo", argument="bar")
        assert isinstance(answer, Outcome)
        return answer.code.name

    def test_limit(self) -> None:
        """The command with the number of the limit disconnects, and every later one."""
        for line, count, expected in [
            ("count_unrecognized_commands 2", 0, "DECLINED"),
            ("count_unrecognized_commands 2", 1, "DENY_DISCONNECT"),
            ("count_unrecognized_commands 2", 2, "DENY_DISCONNECT"),
            ("count_unrecognized_commands", 2, "DECLINED"),
            ("count_unrecognized_commands", 3, "DENY_DISCONNECT"),
            ("count_unrecognized_commands 0", 2, "DECLINED"),
            ("count_unrecognized_commands 0", 3, "DENY_DISCONNECT"),
        ]:
            self.assertEqual(expected, self.ask(line, count), (line, count))
            self.assertEqual(count + 1, self.tried.connection.notes["unrec_cmd_count"])

    def test_counter(self) -> None:
        """The count goes on past the limit."""
        self.ask("count_unrecognized_commands 2", 2)
        self.tried.ask("unrecognized_command", command="foo")
        self.assertEqual(4, self.tried.connection.notes["unrec_cmd_count"])

    def test_log(self) -> None:
        """A line names the command and the count, or the failure."""
        self.ask("count_unrecognized_commands 2", 0)
        self.tried.ask("unrecognized_command", command="foo")
        self.assertEqual(["'foo', (1)", "fail, 2 unrecognized commands"], self.tried.log)

    def test_secret(self) -> None:
        """What may be a password is not shown."""
        tried = Tried("count_unrecognized_commands")
        tried.ask("unrecognized_command", command="c2vjcmv0", secret=True)
        self.assertEqual(["'<redacted>', (1)"], tried.log)

    def test_argument(self) -> None:
        """What is no number, and a second word, stop the start."""
        for words in ("four", "-1", "4 5"):
            error = self.assertRaises(ConfigError, Tried, f"count_unrecognized_commands {words}")
            self.assertIn("count_unrecognized_commands: ", str(error))
