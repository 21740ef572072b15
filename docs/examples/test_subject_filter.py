"""Test subject_filter: one line a case, and one whole session."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import DECLINED, OK
from qpsmtpd.testing import Server, Tried

CONFIG = {"badsubjects": ["cheap watches"], "plugin_dirs": [str(Path(__file__).parent)]}


class SubjectFilterTests(SynchronousTestCase):
    """A listed phrase in the subject refuses the message."""

    def ask(self, line: str, subject: str) -> object:
        tried = Tried(line, config=CONFIG)
        tried.message(f"Subject: {subject}\n\nHello\n")
        return tried.ask("data_post")

    def test_other_subjects_pass(self) -> None:
        self.assertIs(self.ask("subject_filter", "watch out"), DECLINED)

    def test_a_listed_phrase_in_any_case_is_refused(self) -> None:
        self.assertEqual(self.ask("subject_filter", "Cheap Watches!").code.name, "DENY")

    def test_the_administrator_may_tolerate_it(self) -> None:
        self.assertIs(self.ask("subject_filter reject 0", "cheap watches"), DECLINED)

    def test_on_the_wire(self) -> None:
        server = Server(["subject_filter"], config=CONFIG, hooks={"rcpt": lambda: OK, "queue": lambda: OK})
        reply = server.connect().mail(text="Subject: cheap watches\n\nHello")
        self.assertEqual(reply, "552 5.7.1 we do not want to read about that")
