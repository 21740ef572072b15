"""The tests of Python's smtplib, with our server in the place of theirs.

Their servers, of smtpd, hand out the port where ours listens (SERVER_PORT), and what it has delivered into
SERVER_MAIL is what they have received. A reply is as expected if its code is: the words are everybody's own.
A line of SERVER_EXCLUDED begins with the name of a class or of a test, and says why that is left out. The
tests are in the working directory.
"""

import json
import os
import re
import smtpd
import sys
import threading
import unittest
from functools import cached_property
from pathlib import Path

import test

# Debian packs the tests apart from the rest of the package.
test.__path__.insert(0, str(Path.cwd()))

from test import test_smtplib as suite  # noqa: E402

FIELDS = rb"Return-Path|Delivered-To|X-Record|Authentication-Results|Received"
ADDED = re.compile(rb"\A(?:(?:" + FIELDS + rb"):.*\n(?:[ \t].*\n)*)+\n?")
"""The fields that we write on top, and the empty line behind them where the client sent no header."""
RECORD = re.compile(rb"^X-Record: (.*)\n", re.MULTILINE)


class Delivered:
    """A message and its envelope; addresses are as sent, before the plugin qualify."""

    def __init__(self, message: bytes) -> None:
        record = json.loads(RECORD.search(message)[1].decode())
        self.content = ADDED.sub(b"", message)
        self.sender, *self.recipients = (
            one.removesuffix("@unqualified.example") for one in (record["sender"], *record["to"])
        )
        self.mail_options = [f"{name}={value}" if value else name for name, value in record["mail"].items()]
        self.rcpt_options = [name for parameters in record["to"].values() for name in parameters]


class Server:
    """Stands for a server that runs already; the attributes are those that the tests look at."""

    def __init__(self, *_: object, **__: object) -> None:
        self.socket = self
        take()

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", int(os.environ["SERVER_PORT"])

    def add_feature(self, feature: str) -> None:
        """Do nothing: ours offers it."""

    @cached_property
    def _last(self) -> Delivered:
        (message,) = take()
        return message

    @property
    def _addresses(self) -> dict[str, object]:
        return {"from": self._last.sender, "tos": self._last.recipients}

    last_mailfrom = property(lambda self: self._last.sender)
    last_rcpttos = property(lambda self: self._last.recipients)
    last_mail_options = property(lambda self: self._last.mail_options)
    last_rcpt_options = property(lambda self: self._last.rcpt_options)
    last_message = property(lambda self: self._last.content.removesuffix(b"\n"))


def take() -> list[Delivered]:
    """Give what has been delivered since."""
    files = list(Path(os.environ["SERVER_MAIL"]).glob("*"))
    messages = [Delivered(path.read_bytes()) for path in files]
    for path in files:
        path.unlink()
    return messages


def tell(server: Server, ready: threading.Event, client_done: threading.Event) -> None:
    """Stand for the thread of their server: print what came, as DebuggingServer does."""
    ready.set()
    client_done.wait()
    for message in take():
        sys.stdout.write(f"{suite.MSG_BEGIN}{message.content.decode()}{suite.MSG_END}")
        print(f"sender: {message.sender or '<>'}\nrecips: {message.recipients}", file=smtpd.DEBUGSTREAM)
    ready.set()


def same_code(self: unittest.TestCase, first: tuple, second: tuple, msg: object = None) -> None:
    """Compare the codes of replies, all of other tuples."""
    replies = all(len(one) == 2 and isinstance(one[1], bytes) for one in (first, second))
    self.assertSequenceEqual(first[:1] if replies else first, second[:1] if replies else second, msg)


def chosen(tests: unittest.TestSuite, excluded: set[str]) -> unittest.TestSuite:
    """Leave out what the list names; a name that is nobody's is a mistake."""
    cases = [case for group in tests for case in group]
    names = {case: {type(case).__name__, case.id().split(".", 2)[2]} for case in cases}
    if stray := excluded.difference(*names.values()):
        raise SystemExit(f"no such tests: {', '.join(sorted(stray))}")
    return unittest.TestSuite(case for case in cases if not names[case] & excluded)


def main() -> None:
    smtpd.DebuggingServer = suite.SimSMTPServer = suite.SimSMTPUTF8Server = Server
    suite.SimSMTPAUTHInitialResponseServer = Server
    suite.debugging_server = tell
    unittest.TestCase.assertTupleEqual = same_code
    lines = Path(os.environ["SERVER_EXCLUDED"]).read_text().splitlines()
    excluded = {line.split()[0] for line in lines if line and not line.startswith("#")}
    tests = chosen(unittest.defaultTestLoader.loadTestsFromModule(suite), excluded)
    done = unittest.TextTestRunner(verbosity=1).run(tests)
    raise SystemExit(not done.wasSuccessful())


if __name__ == "__main__":
    main()
