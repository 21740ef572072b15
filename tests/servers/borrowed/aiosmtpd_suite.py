"""A plugin of pytest: the tests of aiosmtpd, with our server in the place of theirs.

Their controllers hand out the port where ours listens (SERVER_PORT). A reply is as expected if its code is:
the words are everybody's own. A line of SERVER_EXCLUDED is the beginning of names of tests, and why they are
left out.
"""

import os
import signal
from pathlib import Path

import aiosmtpd.controller
from aiosmtpd.testing.statuscodes import StatusCode

PATIENCE = 10
"""Seconds a test may wait; test_data_354 does so, for it says QUIT within DATA."""


class Controller:
    """Stands for a server that runs already."""

    def __init__(self, handler: object, **_: object) -> None:
        self.handler = handler
        self.hostname, self.port = "127.0.0.1", int(os.environ["SERVER_PORT"])

    def start(self) -> None:
        """Do nothing."""

    stop = start


def same_code(self: StatusCode, other: object) -> bool:
    """Compare the code only."""
    return isinstance(other, tuple) and self[0] == other[0]


aiosmtpd.controller.Controller = Controller
StatusCode.__eq__ = same_code
StatusCode.__ne__ = lambda self, other: not same_code(self, other)


def pytest_collection_modifyitems(config: object, items: list) -> None:
    """Leave out what the list names."""
    lines = Path(os.environ["SERVER_EXCLUDED"]).read_text().splitlines()
    excluded = tuple(line.split()[0] for line in lines if line and not line.startswith("#"))
    named = [item for item in items if item.nodeid.partition("::")[2].startswith(excluded)]
    config.hook.pytest_deselected(items=named)
    items[:] = [item for item in items if item not in named]


def give_up(*_: object) -> None:
    """End a test that waits for what never comes."""
    raise TimeoutError("in vain")


def pytest_runtest_logstart() -> None:
    """Begin to wait."""
    signal.alarm(PATIENCE)


signal.signal(signal.SIGALRM, give_up)
